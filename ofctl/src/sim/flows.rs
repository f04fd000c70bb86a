//! The flow tables as messages change them: OpenFlow 1.3.5 §6.4 and §6.5, with Open vSwitch's answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::check::{self, Refusal};
use super::classifier::{Classifier, Rule, RuleId, View, covers};
use super::switch::N_TABLES;
use crate::flow::{FlowEntry, FlowFlags, FlowStats};
use crate::wire::{
    Action, Cookie, Counters, FlowMod, FlowModCommand, FlowRemoved, FlowRemovedReason, FlowStatsRequest,
    GroupId, Learn, LearnFlags, Match, OfPort, TableId,
};

/// What a rule's packets change.
#[derive(Debug, Clone)]
pub(super) struct RuleState {
    pub(super) created: Duration,
    /// When it was last added or changed; hard timeouts count from here.
    pub(super) modified: Duration,
    /// When it last took a packet, or was last changed.
    pub(super) used: Duration,
    pub(super) counters: Counters,
    /// As in the entry, until a FIN makes them shorter.
    pub(super) idle_timeout: u16,
    pub(super) hard_timeout: u16,
}

impl RuleState {
    /// When the entry goes if no packet comes.
    fn expiry(&self) -> Option<Duration> {
        let after = |since: Duration, seconds: u16| {
            (seconds != 0).then(|| since + Duration::from_secs(seconds.into()))
        };
        let both = [after(self.modified, self.hard_timeout), after(self.used, self.idle_timeout)];
        both.into_iter().flatten().min()
    }
}

/// Lookups and matches of one table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TableCounters {
    pub(super) lookups: u64,
    pub(super) matched: u64,
}

/// Which entries a message is about.
#[derive(Debug, Clone)]
pub(super) struct Criteria<'a> {
    pub(super) table: TableId,
    pub(super) matching: &'a Match,
    /// For the strict commands: exactly this match, at this priority.
    pub(super) strict: Option<u16>,
    pub(super) cookie: Cookie,
    pub(super) cookie_mask: u64,
    pub(super) out_port: OfPort,
    pub(super) out_group: GroupId,
}

impl<'a> Criteria<'a> {
    fn of(flow_mod: &'a FlowMod) -> Self {
        let strict = matches!(flow_mod.command, FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict);
        let deletes = matches!(flow_mod.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        Criteria {
            table: flow_mod.table,
            matching: &flow_mod.matching,
            strict: strict.then_some(flow_mod.priority),
            cookie: flow_mod.cookie,
            cookie_mask: flow_mod.cookie_mask,
            // Only the deletes look at these, OpenFlow 1.3.5 §7.3.4.1.
            out_port: if deletes { flow_mod.out_port } else { OfPort::ANY },
            out_group: if deletes { flow_mod.out_group } else { GroupId::ANY },
        }
    }

    pub(super) fn of_request(request: &'a FlowStatsRequest) -> Self {
        Criteria {
            table: request.table,
            matching: &request.matching,
            strict: None,
            cookie: request.cookie,
            cookie_mask: request.cookie_mask,
            out_port: request.out_port,
            out_group: request.out_group,
        }
    }

    fn takes(&self, entry: &FlowEntry) -> bool {
        (self.cookie.0 ^ entry.cookie.0) & self.cookie_mask == 0
            && (self.out_port == OfPort::ANY || outputs_to(entry, self.out_port))
            && (self.out_group == GroupId::ANY || uses_group(entry, self.out_group))
            && match self.strict {
                Some(priority) => entry.priority == priority && entry.matching == *self.matching,
                None => covers(self.matching, &entry.matching),
            }
    }
}

fn all_actions(entry: &FlowEntry) -> impl Iterator<Item = &Action> {
    entry.instructions.apply.iter().chain(&entry.instructions.write)
}

/// True if one of the actions, or of those within them, is as wanted.
fn any_action(actions: &[Action], wanted: &dyn Fn(&Action) -> bool) -> bool {
    actions.iter().any(|action| {
        wanted(action)
            || match action {
                Action::Clone(inner) => any_action(inner, wanted),
                Action::Ct(ct) => any_action(&ct.actions, wanted),
                _ => false,
            }
    })
}

fn outputs_to(entry: &FlowEntry, port: OfPort) -> bool {
    all_actions(entry).any(|action| match action {
        Action::Output(to) | Action::OutputWith { port: to, .. } => *to == port,
        Action::OutputTrunc { port: to, .. } => OfPort::from_16(*to) == port,
        Action::Controller { .. } | Action::ControllerWith(_) => port == OfPort::CONTROLLER,
        Action::Bundle(bundle) => bundle.members.iter().any(|member| OfPort::from_16(*member) == port),
        _ => false,
    })
}

/// True if an action of the entry is this group, those within other actions too.
pub(super) fn uses_group(entry: &FlowEntry, group: GroupId) -> bool {
    let is = |action: &Action| *action == Action::Group(group);
    any_action(&entry.instructions.apply, &is) || any_action(&entry.instructions.write, &is)
}

/// All tables of a switch, with what their packets change.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    tables: BTreeMap<TableId, Arc<Classifier>>,
    /// Shared until somebody counts, so that a switch that only evaluates is cheap to copy.
    states: Arc<HashMap<RuleId, RuleState>>,
    counters: BTreeMap<TableId, TableCounters>,
    /// No entry goes before this; it may be too early, which costs time only.
    earliest: Option<Duration>,
    next: u64,
}

impl Tables {
    pub(super) fn lookup(&self, table: TableId, view: &View<'_>) -> Option<&Arc<Rule>> {
        self.tables.get(&table)?.lookup(view)
    }

    /// The entries as they are now.
    pub(super) fn snapshot(&self) -> BTreeMap<TableId, Arc<Classifier>> {
        self.tables.clone()
    }

    pub(super) fn len(&self, table: TableId) -> usize {
        self.tables.get(&table).map_or(0, |classifier| classifier.len())
    }

    pub(super) fn counters(&self, table: TableId) -> TableCounters {
        self.counters.get(&table).copied().unwrap_or_default()
    }

    pub(super) fn count_lookup(&mut self, table: TableId, matched: bool) {
        let counters = self.counters.entry(table).or_default();
        counters.lookups += 1;
        counters.matched += u64::from(matched);
    }

    pub(super) fn state(&self, id: RuleId) -> Option<&RuleState> {
        self.states.get(&id)
    }

    pub(super) fn state_mut(&mut self, id: RuleId) -> Option<&mut RuleState> {
        // Nothing is copied for a rule that is gone.
        self.states.contains_key(&id).then(|| Arc::make_mut(&mut self.states).get_mut(&id)).flatten()
    }

    /// The state of a rule, or of the one that took its place.
    pub(super) fn current_state_mut(&mut self, rule: &Rule) -> Option<&mut RuleState> {
        let id = match self.states.contains_key(&rule.id) {
            true => rule.id,
            false => self.exact(&rule.entry)?.id,
        };
        self.state_mut(id)
    }

    /// Every rule, in no order.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.tables.values().flat_map(|classifier| classifier.iter())
    }

    /// Puts an entry in place of one of the same table, match and priority. Its counters begin at `counters`.
    fn put(
        &mut self,
        entry: FlowEntry,
        created: Duration,
        now: Duration,
        counters: Counters,
    ) -> Option<Arc<Rule>> {
        let id = RuleId(self.next);
        self.next += 1;
        let states = Arc::make_mut(&mut self.states);
        let state = RuleState {
            created,
            modified: now,
            used: now,
            counters,
            idle_timeout: entry.idle_timeout,
            hard_timeout: entry.hard_timeout,
        };
        self.earliest = [self.earliest, state.expiry()].into_iter().flatten().min();
        states.insert(id, state);
        let table = Arc::make_mut(self.tables.entry(entry.table).or_default());
        let replaced = table.insert(Arc::new(Rule { id, entry: Arc::new(entry) }));
        if let Some(old) = &replaced {
            states.remove(&old.id);
        }
        replaced
    }

    /// Adds an entry that was checked.
    pub(super) fn add(&mut self, entry: FlowEntry, now: Duration) -> Option<Arc<Rule>> {
        let kept = self
            .exact(&entry)
            .filter(|_| !entry.flags.contains(FlowFlags::RESET_COUNTS))
            .and_then(|rule| self.state(rule.id))
            .map(|state| state.counters);
        self.put(entry, now, now, kept.unwrap_or_default())
    }

    /// True if the table holds this very entry.
    pub(super) fn has_learned(&self, entry: &FlowEntry) -> bool {
        self.exact(entry).is_some_and(|rule| *rule.entry == *entry)
    }

    /// Puts a learned entry into its table. One that is there lives on, with new actions and cookie if they are new.
    pub(super) fn learn(&mut self, entry: FlowEntry, now: Duration, told: &mut Vec<FlowRemoved>) {
        let Some(old) = self.exact(&entry).cloned() else {
            self.put(entry, now, now, Counters::default());
            return;
        };
        if *old.entry == entry {
            if let Some(state) = self.state_mut(old.id) {
                state.modified = now;
            }
            return;
        }
        let Some(state) = self.state(old.id).cloned() else { return };
        let FlowEntry { idle_timeout, hard_timeout, flags, .. } = *old.entry;
        let changed = FlowEntry { idle_timeout, hard_timeout, flags, ..entry };
        self.put(changed, state.created, now, state.counters);
        self.forget_learned(&old.entry, now, told);
    }

    fn exact(&self, entry: &FlowEntry) -> Option<&Arc<Rule>> {
        self.tables.get(&entry.table)?.exact(&entry.matching, entry.priority)
    }

    /// Entries that a message is about, sorted by table, priority and match, so that answers have one order.
    pub(super) fn select(&self, criteria: &Criteria<'_>) -> Vec<Arc<Rule>> {
        let tables =
            self.tables.iter().filter(|(id, _)| criteria.table == TableId::ALL || **id == criteria.table);
        let mut found: Vec<Arc<Rule>> = match criteria.strict {
            Some(priority) => tables
                .filter_map(|(_, classifier)| classifier.exact(criteria.matching, priority))
                .filter(|rule| criteria.takes(&rule.entry))
                .cloned()
                .collect(),
            None => tables
                .flat_map(|(_, classifier)| classifier.iter())
                .filter(|rule| criteria.takes(&rule.entry))
                .cloned()
                .collect(),
        };
        found.sort_by(|a, b| {
            let order = |rule: &Rule| (rule.entry.table, std::cmp::Reverse(rule.entry.priority));
            order(a).cmp(&order(b)).then_with(|| a.entry.matching.cmp(&b.entry.matching))
        });
        found
    }

    /// True if there is an entry that a message is about.
    pub(super) fn has_any(&self, flow_mod: &FlowMod) -> bool {
        !self.select(&Criteria::of(flow_mod)).is_empty()
    }

    /// Takes a rule out, and says so if it wants that.
    pub(super) fn remove(
        &mut self,
        rule: &Rule,
        reason: FlowRemovedReason,
        now: Duration,
        told: &mut Vec<FlowRemoved>,
    ) {
        let Some(table) = self.tables.get_mut(&rule.entry.table) else { return };
        let removed = Arc::make_mut(table).remove(&rule.entry.matching, rule.entry.priority);
        if table.len() == 0 {
            self.tables.remove(&rule.entry.table);
        }
        if removed.is_none() {
            return;
        }
        let Some(state) = Arc::make_mut(&mut self.states).remove(&rule.id) else { return };
        if rule.entry.flags.contains(FlowFlags::SEND_FLOW_REM) {
            told.push(FlowRemoved {
                cookie: rule.entry.cookie,
                key: rule.entry.key(),
                reason,
                duration: now.saturating_sub(state.created),
                idle_timeout: state.idle_timeout,
                hard_timeout: state.hard_timeout,
                packets: state.counters.packets,
                bytes: state.counters.bytes,
            });
        }
        self.forget_learned(&rule.entry, now, told);
    }

    /// Removes what an entry that went has learned, if it was the last that learns with that cookie.
    fn forget_learned(&mut self, gone: &FlowEntry, now: Duration, told: &mut Vec<FlowRemoved>) {
        for learn in learns_with_delete(gone) {
            let same = |other: &Learn| other.cookie == learn.cookie && other.table == learn.table;
            if self.rules().any(|rule| learns_with_delete(&rule.entry).any(same)) {
                continue;
            }
            let everything = Match::new();
            let learned = self.select(&Criteria {
                table: learn.table,
                matching: &everything,
                strict: None,
                cookie: learn.cookie,
                cookie_mask: u64::MAX,
                out_port: OfPort::ANY,
                out_group: GroupId::ANY,
            });
            for rule in learned {
                self.remove(&rule, FlowRemovedReason::Delete, now, told);
            }
        }
    }

    /// Carries out a message.
    ///
    /// # Errors
    /// As a switch refuses it; then nothing is changed.
    pub(super) fn apply(
        &mut self,
        flow_mod: &FlowMod,
        now: Duration,
        told: &mut Vec<FlowRemoved>,
    ) -> Result<(), Refusal> {
        if flow_mod.table != TableId::ALL && flow_mod.table.0 >= N_TABLES {
            // The last table is there, and the switch keeps it for itself.
            return Err(Refusal::Named("OFPBRC_EPERM"));
        }
        check::matching(&flow_mod.matching)?;
        match flow_mod.command {
            FlowModCommand::Add => {
                let mut entry = flow_mod.entry();
                if entry.table == TableId::ALL {
                    entry.table = TableId(0);
                }
                check::flow(&entry)?;
                let overlaps = |table: &Arc<Classifier>| table.overlaps(&entry.matching, entry.priority);
                if entry.flags.contains(FlowFlags::CHECK_OVERLAP)
                    && self.exact(&entry).is_none()
                    && self.tables.get(&entry.table).is_some_and(overlaps)
                {
                    return Err(Refusal::Overlap);
                }
                if let Some(old) = self.add(entry, now) {
                    self.forget_learned(&old.entry, now, told);
                }
            }
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => {
                check::flow(&flow_mod.entry())?;
                let changed = self.select(&Criteria::of(flow_mod)).into_iter().map(|rule| {
                    let instructions = flow_mod.instructions.clone();
                    (FlowEntry { instructions, ..FlowEntry::clone(&rule.entry) }, rule)
                });
                for (entry, rule) in changed.collect::<Vec<_>>() {
                    let Some(old) = self.state(rule.id).cloned() else { continue };
                    let reset = flow_mod.flags.contains(FlowFlags::RESET_COUNTS);
                    let counters = if reset { Counters::default() } else { old.counters };
                    self.put(entry, old.created, now, counters);
                    self.forget_learned(&rule.entry, now, told);
                }
            }
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                for rule in self.select(&Criteria::of(flow_mod)) {
                    self.remove(&rule, FlowRemovedReason::Delete, now, told);
                }
            }
        }
        Ok(())
    }

    /// Removes the entries whose time is over.
    pub(super) fn expire(&mut self, now: Duration, told: &mut Vec<FlowRemoved>) {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return;
        }
        let over = |since: Duration, seconds: u16| {
            seconds != 0 && now.saturating_sub(since) >= Duration::from_secs(seconds.into())
        };
        let mut gone: Vec<_> = self
            .rules()
            .filter_map(|rule| {
                let state = self.state(rule.id)?;
                let (hard, idle) =
                    (over(state.modified, state.hard_timeout), over(state.used, state.idle_timeout));
                let reason = if hard {
                    FlowRemovedReason::HardTimeout
                } else if idle {
                    FlowRemovedReason::IdleTimeout
                } else {
                    return None;
                };
                Some((Arc::clone(rule), reason))
            })
            .collect();
        gone.sort_by(|(a, _), (b, _)| a.entry.cmp(&b.entry));
        for (rule, reason) in gone {
            self.remove(&rule, reason, now, told);
        }
        self.earliest = self.next_expiry();
    }

    /// When the next entry goes if no packet comes.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        // Only entries with a state can be in a table.
        self.states.values().filter_map(RuleState::expiry).min()
    }

    /// The same, if it is not after `limit`. Looks at the entries only where one may go by then.
    pub(super) fn next_expiry_by(&mut self, limit: Duration) -> Option<Duration> {
        if self.earliest.is_none_or(|earliest| earliest > limit) {
            return None;
        }
        self.earliest = self.next_expiry();
        self.earliest.filter(|earliest| *earliest <= limit)
    }

    /// Makes an entry's timeouts no longer than these; 0 leaves them.
    pub(super) fn shorten(&mut self, id: RuleId, idle: u16, hard: u16) {
        let Some(state) = self.state_mut(id) else { return };
        let shorter = |timeout: &mut u16, limit: u16| {
            if limit != 0 && (*timeout == 0 || *timeout > limit) {
                *timeout = limit;
            }
        };
        shorter(&mut state.idle_timeout, idle);
        shorter(&mut state.hard_timeout, hard);
        let expiry = state.expiry();
        self.earliest = [self.earliest, expiry].into_iter().flatten().min();
    }

    pub(super) fn stats(&self, criteria: &Criteria<'_>, now: Duration) -> Vec<FlowStats> {
        let stats = |rule: Arc<Rule>| {
            let state = self.state(rule.id)?;
            let mut entry = FlowEntry::clone(&rule.entry);
            (entry.idle_timeout, entry.hard_timeout) = (state.idle_timeout, state.hard_timeout);
            let Counters { packets, bytes } = state.counters;
            Some(FlowStats { entry, duration: now.saturating_sub(state.created), packets, bytes })
        };
        self.select(criteria).into_iter().filter_map(stats).collect()
    }
}

/// The entry's `learn` actions whose flows go with it.
fn learns_with_delete(entry: &FlowEntry) -> impl Iterator<Item = &Learn> {
    all_actions(entry).filter_map(|action| match action {
        Action::Learn(learn) if learn.flags.contains(LearnFlags::DELETE_LEARNED) => Some(&**learn),
        _ => None,
    })
}
