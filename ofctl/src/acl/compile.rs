//! From rules to flows.
//!
//! A rule of priority `p` has flows of priority `2 p + 1` if it allows and `2 p + 2` if it denies, so that
//! - all flows of one priority have one verdict, and it does not matter which of them a packet finds;
//! - of an allowing and a denying rule with one priority the denying one counts;
//! - priority 0 is left for the default.
//!
//! OpenFlow has one flow for each table, priority and match, so rules may meet in a flow. Clauses of several
//! conjunctions become one flow with several `conjunction` actions; where a clause meets a flow with the verdict
//! itself, the verdict stands alone, since it is the clause's verdict too and needs no other clause.
//!
//! The flow that matches `conj_id` matches nothing else but the Ethernet type: once a conjunction is complete Open
//! vSwitch looks the packet up again with `conj_id` set and takes what it finds, even if that is an entry of a
//! lower priority, so that a further condition there would hide the conjunctions in between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::prefix::merge_prefixes;
use super::range::{merge_ranges, port_range};
use super::rule::{Family, Headers, InvalidRule, PortRange, Protocol, Rule, Side, Verdict};
use crate::flow::{FlowEntry, FlowKey};
use crate::table::TableDifference;
use crate::wire::{Action, Cookie, Field, FieldValue, Instructions, Match, TableId};

/// Where the flows stand, and what they do.
///
/// Ports of later fragments are no ports: a switch in its default fragment mode shows them as 0, in `nx-match` mode
/// (`OFPC_FRAG_NX_MATCH`) it shows those of first fragments as they are. Where a rule's ports hold 0, decide about
/// `nw_frag=later` in an earlier table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The table, which holds nothing else.
    pub table: TableId,
    /// The cookie of all flows.
    pub cookie: Cookie,
    /// What is done with packets that are allowed; those that are denied are dropped.
    pub allow: Instructions,
    /// What becomes of packets that no rule takes, those that are not IP included.
    pub default: Verdict,
}

impl Default for Layout {
    /// Table 0, going on in table 1; what no rule takes is denied.
    fn default() -> Self {
        Layout {
            table: TableId(0),
            cookie: Cookie(0),
            allow: Instructions { goto: Some(TableId(1)), ..Instructions::default() },
            default: Verdict::Deny,
        }
    }
}

/// A rule's number in its [`Acl`], never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

impl fmt::Display for RuleId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// How many flows a rule needs, not counting what it may share with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// One a combination.
    pub by_masks: usize,
    /// One an alternative, and one for the whole; by masks for a version of IP in which there are not two
    /// dimensions to choose in.
    pub by_conjunction: usize,
    /// By the better way for each version of IP, which is how the rule is compiled.
    pub least: usize,
}

/// What a rule wants of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// That it has the rule's verdict.
    Verdict,
    /// That it is a clause of a conjunction.
    Clause { id: u32, clause: u8, n_clauses: u8 },
}

/// What all rules want of a flow.
#[derive(Debug, Clone, Default)]
struct Wanted {
    verdicts: usize,
    clauses: BTreeSet<Part>,
}

/// A rule and what it wants of which flows.
#[derive(Debug, Clone)]
struct Compiled {
    rule: Rule,
    /// Those that match `conj_id` first.
    parts: Vec<(FlowKey, Part)>,
}

/// Rules, and the flows that carry them out.
#[derive(Debug, Clone)]
pub struct Acl {
    layout: Layout,
    rules: BTreeMap<RuleId, Compiled>,
    flows: HashMap<FlowKey, Wanted>,
    next_rule: u32,
    next_conjunction: u32,
}

impl Acl {
    /// No rules: everything is as the default says.
    pub fn new(layout: Layout) -> Acl {
        Acl { layout, rules: BTreeMap::new(), flows: HashMap::new(), next_rule: 1, next_conjunction: 1 }
    }

    /// The rules by their numbers.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = (RuleId, &Rule)> {
        self.rules.iter().map(|(id, compiled)| (*id, &compiled.rule))
    }

    /// What becomes of a packet, and by which rule; by the rules themselves, without regard to flows.
    pub fn decide(&self, headers: &Headers) -> (Verdict, Option<RuleId>) {
        let taking = self.rules().filter(|(_, rule)| rule.takes(headers));
        // Of equals the first.
        let best = taking.max_by_key(|(id, rule)| (rule.priority, rule.verdict, std::cmp::Reverse(*id)));
        best.map_or((self.layout.default, None), |(id, rule)| (rule.verdict, Some(id)))
    }

    /// How many flows a rule would need.
    pub fn cost(rule: &Rule) -> Cost {
        let mut cost = Cost::default();
        for family in rule.families() {
            let dimensions = Dimensions::of(rule, family);
            let by_masks = dimensions.combinations();
            let by_conjunction = dimensions.by_conjunction().unwrap_or(by_masks);
            cost.by_masks = cost.by_masks.saturating_add(by_masks);
            cost.by_conjunction = cost.by_conjunction.saturating_add(by_conjunction);
            cost.least = cost.least.saturating_add(by_masks.min(by_conjunction));
        }
        cost
    }

    /// Adds a rule, and says what must be done to the switch.
    ///
    /// The additions are in an order in which a switch may carry them out one by one: until the last of them a
    /// packet meets the rules as they were or as they will be.
    ///
    /// # Errors
    /// If the rule cannot be; then nothing changes.
    pub fn add(&mut self, rule: Rule) -> Result<(RuleId, TableDifference), InvalidRule> {
        rule.check()?;
        let id = RuleId(self.next_rule);
        self.next_rule += 1;
        let parts = self.compile(&rule);
        let difference = self.change(&parts, |wanted, part| match part {
            Part::Verdict => wanted.verdicts += 1,
            clause => {
                wanted.clauses.insert(clause);
            }
        });
        self.rules.insert(id, Compiled { rule, parts });
        Ok((id, difference))
    }

    /// Removes a rule, and says what must be done to the switch; `None` if there is no such rule.
    pub fn remove(&mut self, id: RuleId) -> Option<TableDifference> {
        let mut parts = self.rules.remove(&id)?.parts;
        // No clause may outlive the flow that its conjunction leads to.
        parts.reverse();
        Some(self.change(&parts, |wanted, part| match part {
            Part::Verdict => wanted.verdicts -= 1,
            clause => {
                wanted.clauses.remove(&clause);
            }
        }))
    }

    /// All flows, the default's included; the highest priority first.
    pub fn flows(&self) -> Vec<FlowEntry> {
        let mut flows: Vec<FlowEntry> =
            self.flows.iter().filter_map(|(key, wanted)| self.entry(key, Some(wanted))).collect();
        flows.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.matching.cmp(&b.matching)));
        flows.push(self.verdict_flow(0, Match::new(), self.layout.default));
        flows
    }

    fn verdict_flow(&self, priority: u16, matching: Match, verdict: Verdict) -> FlowEntry {
        let mut flow =
            FlowEntry::new(self.layout.table, priority).cookie(self.layout.cookie).matching(matching);
        if verdict == Verdict::Allow {
            flow.instructions = self.layout.allow.clone();
        }
        flow
    }

    /// The flow as it should be, if it should be.
    fn entry(&self, key: &FlowKey, wanted: Option<&Wanted>) -> Option<FlowEntry> {
        let wanted = wanted.filter(|wanted| wanted.verdicts > 0 || !wanted.clauses.is_empty())?;
        if wanted.verdicts > 0 {
            let verdict = if key.priority.is_multiple_of(2) { Verdict::Deny } else { Verdict::Allow };
            return Some(self.verdict_flow(key.priority, key.matching.clone(), verdict));
        }
        let clauses = wanted.clauses.iter().filter_map(|part| match *part {
            Part::Clause { id, clause, n_clauses } => Some(Action::Conjunction { id, clause, n_clauses }),
            Part::Verdict => None,
        });
        let flow = FlowEntry::new(key.table, key.priority).cookie(self.layout.cookie);
        Some(flow.matching(key.matching.clone()).apply(clauses))
    }

    fn change(&mut self, parts: &[(FlowKey, Part)], apply: impl Fn(&mut Wanted, Part)) -> TableDifference {
        let mut difference = TableDifference::default();
        for (key, part) in parts {
            let before = self.entry(key, self.flows.get(key));
            let wanted = self.flows.entry(key.clone()).or_default();
            apply(wanted, *part);
            let after = self.entry(key, self.flows.get(key));
            match (before, after) {
                (None, Some(flow)) => difference.add.push(flow),
                (Some(before), Some(after)) if before != after => difference.modify.push(after),
                (Some(_), None) => difference.delete.push(key.clone()),
                _ => {}
            }
            let gone = self.flows.get(key).is_some_and(|w| w.verdicts == 0 && w.clauses.is_empty());
            if gone {
                self.flows.remove(key);
            }
        }
        difference
    }

    fn compile(&mut self, rule: &Rule) -> Vec<(FlowKey, Part)> {
        let priority = 2 * rule.priority + 1 + u16::from(rule.verdict == Verdict::Deny);
        let table = self.layout.table;
        let key = |matching| FlowKey { table, priority, matching };
        let mut parts = Vec::new();
        for family in rule.families() {
            let dimensions = Dimensions::of(rule, family);
            match dimensions.by_conjunction() {
                Some(flows) if flows < dimensions.combinations() => {
                    let id = self.next_conjunction;
                    self.next_conjunction += 1;
                    parts.insert(0, (key(dimensions.base(None).with(Field::ConjId, id)), Part::Verdict));
                    parts.extend(dimensions.clauses().map(|(clause, n_clauses, matching)| {
                        (key(matching), Part::Clause { id, clause, n_clauses })
                    }));
                }
                _ => parts.extend(dimensions.products().map(|matching| (key(matching), Part::Verdict))),
            }
        }
        parts
    }
}

/// A field's value and mask.
#[derive(Debug, Clone, Copy)]
struct Condition {
    field: Field,
    value: FieldValue,
    mask: FieldValue,
}

/// The alternatives in each respect, for one version of IP.
struct Dimensions {
    family: Family,
    protocol: Protocol,
    /// Those with any condition at all; none is empty.
    alternatives: Vec<Vec<Condition>>,
}

impl Dimensions {
    fn of(rule: &Rule, family: Family) -> Dimensions {
        let (source, destination) = match family {
            Family::V4 => (Field::Ipv4Src, Field::Ipv4Dst),
            Family::V6 => (Field::Ipv6Src, Field::Ipv6Dst),
        };
        let (source_port, destination_port) = match rule.protocol {
            Protocol::UDP => (Field::UdpSrc, Field::UdpDst),
            Protocol::SCTP => (Field::SctpSrc, Field::SctpDst),
            _ => (Field::TcpSrc, Field::TcpDst),
        };
        let mut alternatives = vec![
            addresses(&rule.source, family, source),
            addresses(&rule.destination, family, destination),
            ports(&rule.source.ports, source_port),
            ports(&rule.destination.ports, destination_port),
        ];
        // An empty mask takes everything, and then it is the only one.
        alternatives.retain(|dimension| !dimension.is_empty() && !dimension[0].mask.is_zero());
        Dimensions { family, protocol: rule.protocol, alternatives }
    }

    /// Flows by masks.
    fn combinations(&self) -> usize {
        self.alternatives.iter().fold(1, |product, dimension| product.saturating_mul(dimension.len()))
    }

    /// The dimensions in which there is a choice.
    fn choices(&self) -> impl Iterator<Item = (usize, &Vec<Condition>)> {
        self.alternatives.iter().enumerate().filter(|(_, dimension)| dimension.len() > 1)
    }

    /// Flows by conjunction, which needs two clauses at least.
    fn by_conjunction(&self) -> Option<usize> {
        let lengths: Vec<usize> = self.choices().map(|(_, dimension)| dimension.len()).collect();
        (lengths.len() >= 2).then(|| lengths.iter().sum::<usize>() + 1)
    }

    /// What a match must hold before it can hold the field.
    fn base(&self, field: Option<Field>) -> Match {
        let eth_type = match self.family {
            Family::V4 => 0x0800u16,
            Family::V6 => 0x86dd,
        };
        let base = Match::new().with(Field::EthType, eth_type);
        let is_address =
            matches!(field, None | Some(Field::Ipv4Src | Field::Ipv4Dst | Field::Ipv6Src | Field::Ipv6Dst));
        if is_address { base } else { self.with_protocol(base) }
    }

    fn with_protocol(&self, matching: Match) -> Match {
        match self.protocol {
            Protocol::Any => matching,
            Protocol::Number(number) => matching.with(Field::IpProto, number),
        }
    }

    /// Every combination.
    fn products(&self) -> impl Iterator<Item = Match> {
        let mut matches = vec![self.with_protocol(self.base(None))];
        for dimension in &self.alternatives {
            let longer = matches
                .iter()
                .flat_map(|matching| dimension.iter().map(|condition| condition.add_to(matching.clone())));
            matches = longer.collect();
        }
        matches.into_iter()
    }

    /// Clause, number of clauses and match of every flow of the conjunction but the last.
    ///
    /// What has only one alternative goes into the smallest clause, the others hold nothing but their own field,
    /// so that rules about the same set of addresses share its flows.
    fn clauses(&self) -> impl Iterator<Item = (u8, u8, Match)> {
        let choices: Vec<_> = self.choices().map(|(_, dimension)| dimension).collect();
        let smallest = (0..choices.len()).min_by_key(|&place| choices[place].len());
        let n_clauses = choices.len() as u8;
        let mut fixed = self.with_protocol(self.base(None));
        for dimension in &self.alternatives {
            if let [only] = dimension[..] {
                fixed = only.add_to(fixed);
            }
        }
        choices.into_iter().enumerate().flat_map(move |(place, dimension)| {
            let base = match Some(place) == smallest {
                true => fixed.clone(),
                false => self.base(Some(dimension[0].field)),
            };
            dimension.iter().map(move |condition| (place as u8, n_clauses, condition.add_to(base.clone())))
        })
    }
}

impl Condition {
    fn add_to(self, matching: Match) -> Match {
        matching.masked(self.field, self.value, self.mask)
    }
}

fn addresses(side: &Side, family: Family, field: Field) -> Vec<Condition> {
    let prefixes: Vec<_> = side.prefixes.iter().copied().filter(|prefix| family.has(*prefix)).collect();
    let condition = |prefix: super::Prefix| Condition {
        field,
        value: FieldValue::new(prefix.bits()),
        mask: FieldValue::new(prefix.mask()),
    };
    merge_prefixes(&prefixes).into_iter().map(condition).collect()
}

fn ports(ranges: &[PortRange], field: Field) -> Vec<Condition> {
    let ranges: Vec<_> = ranges.iter().map(|range| (*range).into()).collect();
    let masks = merge_ranges(&ranges).into_iter().flat_map(port_range);
    masks.map(|mask| Condition { field, value: mask.value.into(), mask: mask.mask.into() }).collect()
}
