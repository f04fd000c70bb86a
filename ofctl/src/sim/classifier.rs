//! Flow lookup: one hash table for each set of fields and masks in use, searched from the highest priority down.

use std::collections::HashMap;
use std::sync::Arc;

use super::key::Key;
use crate::flow::FlowEntry;
use crate::wire::{Action, Field, Match, OfPort};

/// Number of a rule, never used again on the same switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RuleId(pub(super) u64);

/// A flow entry in its table. What changes with its packets is kept outside, by its number.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: RuleId,
    pub(super) entry: Arc<FlowEntry>,
}

impl Rule {
    /// The clauses that the entry is, if it is part of conjunctive matches.
    fn clauses(&self) -> impl Iterator<Item = (u32, u8, u8)> {
        self.entry.instructions.apply.iter().filter_map(|action| match *action {
            Action::Conjunction { id, clause, n_clauses } => Some((id, clause, n_clauses)),
            _ => None,
        })
    }

    fn is_clause(&self) -> bool {
        self.clauses().next().is_some()
    }
}

/// A packet's fields as one lookup sees them.
#[derive(Clone)]
pub(super) struct View<'a> {
    pub(super) key: &'a Key,
    /// A resubmit may look up as if the packet came in elsewhere.
    pub(super) in_port: OfPort,
    /// Fragments have no transport ports, so that all of a datagram matches alike.
    pub(super) hide_ports: bool,
    /// The conjunctive match that was found.
    pub(super) conjunction: Option<u32>,
}

impl View<'_> {
    fn value(&self, field: Field) -> u128 {
        use Field::*;
        match field {
            InPort => self.in_port.0.into(),
            ConjId if let Some(id) = self.conjunction => id.into(),
            TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc | SctpDst | Icmpv4Type | Icmpv4Code | Icmpv6Type
            | Icmpv6Code
                if self.hide_ports =>
            {
                0
            }
            _ => self.key.value(field),
        }
    }
}

/// The entries with one set of fields and masks.
#[derive(Debug, Clone)]
struct Subtable {
    fields: Vec<(Field, u128)>,
    /// Highest priority in here; it may be too high after a removal, which costs time only.
    max_priority: u16,
    /// By the masked values, in the order of `fields`; highest priority first.
    entries: HashMap<Box<[u128]>, Vec<Arc<Rule>>>,
}

impl Subtable {
    /// The entries that match, highest priority first.
    fn find(&self, view: &View<'_>, values: &mut Vec<u128>) -> &[Arc<Rule>] {
        values.clear();
        values.extend(self.fields.iter().map(|&(field, mask)| view.value(field) & mask));
        self.entries.get(values.as_slice()).map_or(&[], Vec::as_slice)
    }
}

fn fields_of(matching: &Match) -> Vec<(Field, u128)> {
    matching.iter().map(|condition| (condition.field, condition.mask.to_u128())).collect()
}

fn values_of(matching: &Match) -> Box<[u128]> {
    matching.iter().map(|condition| condition.value.to_u128()).collect()
}

/// True if some packet could be taken by both.
fn overlap(a: &Match, b: &Match) -> bool {
    a.iter().all(|x| {
        b.get(x.field).is_none_or(|y| {
            let both = x.mask.to_u128() & y.mask.to_u128();
            x.value.to_u128() & both == y.value.to_u128() & both
        })
    })
}

/// True if every packet that `narrow` takes is taken by `wide` for the same reasons: OpenFlow 1.3.5 §6.4.
pub(super) fn covers(wide: &Match, narrow: &Match) -> bool {
    wide.iter().all(|x| {
        narrow.get(x.field).is_some_and(|y| {
            let mask = x.mask.to_u128();
            mask & !y.mask.to_u128() == 0 && y.value.to_u128() & mask == x.value.to_u128()
        })
    })
}

/// One flow table.
#[derive(Debug, Clone, Default)]
pub(super) struct Classifier {
    /// Highest `max_priority` first.
    subtables: Vec<Subtable>,
    count: usize,
}

impl Classifier {
    /// Adds an entry; one of the same match and priority is replaced and comes back.
    pub(super) fn insert(&mut self, rule: Arc<Rule>) -> Option<Arc<Rule>> {
        let fields = fields_of(&rule.entry.matching);
        let values = values_of(&rule.entry.matching);
        let priority = rule.entry.priority;
        let known = self.subtables.iter().position(|subtable| subtable.fields == fields);
        let place = known.unwrap_or_else(|| {
            self.subtables.push(Subtable { fields, max_priority: priority, entries: HashMap::new() });
            self.subtables.len() - 1
        });
        let subtable = &mut self.subtables[place];
        let same = subtable.entries.entry(values).or_default();
        // The highest priority stands first.
        let place = same.partition_point(|known| known.entry.priority > priority);
        let replaced = match same.get_mut(place) {
            Some(known) if known.entry.priority == priority => Some(std::mem::replace(known, rule)),
            _ => {
                same.insert(place, rule);
                self.count += 1;
                None
            }
        };
        if known.is_none() || priority > subtable.max_priority {
            subtable.max_priority = subtable.max_priority.max(priority);
            self.subtables.sort_by_key(|subtable| std::cmp::Reverse(subtable.max_priority));
        }
        replaced
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, matching: &Match, priority: u16) -> Option<Arc<Rule>> {
        let fields = fields_of(matching);
        let place = self.subtables.iter().position(|subtable| subtable.fields == fields)?;
        let subtable = &mut self.subtables[place];
        let values = values_of(matching);
        let same = subtable.entries.get_mut(&values)?;
        let at = same.iter().position(|known| known.entry.priority == priority)?;
        let removed = same.remove(at);
        if same.is_empty() {
            subtable.entries.remove(&values);
        }
        if subtable.entries.is_empty() {
            self.subtables.remove(place);
        }
        self.count -= 1;
        Some(removed)
    }

    /// The entry of exactly this match and priority.
    pub(super) fn exact(&self, matching: &Match, priority: u16) -> Option<&Arc<Rule>> {
        let fields = fields_of(matching);
        let subtable = self.subtables.iter().find(|subtable| subtable.fields == fields)?;
        subtable.entries.get(&values_of(matching))?.iter().find(|known| known.entry.priority == priority)
    }

    /// True if an entry of this priority and another match could take the same packet.
    pub(super) fn overlaps(&self, matching: &Match, priority: u16) -> bool {
        self.iter().any(|rule| rule.entry.priority == priority && overlap(matching, &rule.entry.matching))
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.subtables.iter().flat_map(|subtable| subtable.entries.values().flatten())
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The matching entry of the highest priority. Which of several it is has no meaning, OpenFlow 1.3.5 §5.3.
    ///
    /// A conjunctive match counts once all its clauses match at one priority, and the entry is then the one that
    /// matches its `conj_id`; ovs-fields(7).
    pub(super) fn lookup(&self, view: &View<'_>) -> Option<&Arc<Rule>> {
        let mut best: Option<&Arc<Rule>> = None;
        let mut clauses: Vec<&[Arc<Rule>]> = Vec::new();
        let mut values = Vec::with_capacity(16);
        for subtable in &self.subtables {
            if best.is_some_and(|rule| rule.entry.priority >= subtable.max_priority) {
                break;
            }
            let found = subtable.find(view, &mut values);
            let Some(rule) = found.first() else { continue };
            if best.is_some_and(|known| rule.entry.priority <= known.entry.priority) {
                continue;
            }
            match rule.is_clause() {
                false => best = Some(rule),
                true if view.conjunction.is_none() => clauses.push(found),
                true => {}
            }
        }
        if clauses.is_empty() { best } else { self.conjunctive(view, best, clauses) }
    }

    /// Chooses between the best plain entry and the conjunctive matches whose clauses were found. Each list of
    /// clauses is of one match, highest priority first.
    fn conjunctive<'a>(
        &'a self,
        view: &View<'_>,
        mut best: Option<&'a Arc<Rule>>,
        mut clauses: Vec<&'a [Arc<Rule>]>,
    ) -> Option<&'a Arc<Rule>> {
        loop {
            let floor = best.map(|rule| rule.entry.priority);
            clauses.retain(|list| list.first().is_some_and(|rule| Some(rule.entry.priority) > floor));
            let Some(priority) = clauses.iter().map(|list| list[0].entry.priority).max() else { return best };
            let mut seen: HashMap<u32, u64> = HashMap::new();
            let current = clauses.iter().filter(|list| list[0].entry.priority == priority);
            // As Open vSwitch has it, no entry can be two clauses of one match.
            let count = current.clone().count();
            for list in current {
                for (id, clause, n_clauses) in list[0].clauses().filter(|&(.., n)| usize::from(n) <= count) {
                    let missing = u64::MAX.checked_shl(n_clauses.into()).unwrap_or(0);
                    let matched = seen.entry(id).or_insert(missing);
                    *matched |= 1 << (clause & 63);
                    if *matched == u64::MAX {
                        let found = View { conjunction: Some(id), ..view.clone() };
                        if let Some(rule) = self.lookup(&found) {
                            return Some(rule);
                        }
                        break;
                    }
                }
            }
            // Entries of the same match and a lower priority come into play.
            for list in clauses.iter_mut().filter(|list| list[0].entry.priority == priority) {
                *list = &list[1..];
                if let Some(rule) = list.first()
                    && !rule.is_clause()
                {
                    if best.is_none_or(|known| known.entry.priority < rule.entry.priority) {
                        best = Some(rule);
                    }
                    *list = &[];
                }
            }
        }
    }
}
