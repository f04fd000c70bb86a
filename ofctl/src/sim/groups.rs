//! Groups: their table, which buckets are alive, and which one a packet takes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::Refusal;
use super::hash;
use super::key::Key;
use super::ports::Port;
use crate::wire::versions::{self, BucketId, SelectionMethod};
use crate::wire::{Bucket, Counters, Field, FieldValue, GroupId, GroupType, OfPort};

/// Largest group number, `OFPG_MAX`.
const MAX_GROUP: GroupId = GroupId(0xffff_ff00);
/// Groups that watch each other, as in Open vSwitch.
const MAX_WATCH_DEPTH: usize = 128;
/// Values that a datapath's hash is reduced to, as in Open vSwitch.
const MAX_DP_HASH: usize = 256;

/// One group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) kind: GroupType,
    pub(super) buckets: Vec<Bucket>,
    pub(super) created: Duration,
    pub(super) counters: Counters,
    pub(super) bucket_counters: Vec<Counters>,
    /// The buckets' own numbers.
    pub(super) ids: Vec<BucketId>,
    /// What was asked for.
    pub(super) selection: Option<SelectionMethod>,
    choice: Choice,
}

/// How a select group chooses, as Open vSwitch's `group_set_selection_method` finds it out.
#[derive(Debug, Clone)]
enum Choice {
    /// By weighted scores of a hash over Ethernet, IP and TCP.
    Default,
    /// By a hash that the datapath makes.
    Datapath {
        /// Bucket of each of its values.
        map: Vec<usize>,
        /// Which hash.
        algorithm: Algorithm,
        basis: u32,
    },
    /// By weighted scores of a hash over these fields, in this order, each with the bits that count.
    Fields { basis: u32, fields: Vec<(Field, FieldValue)> },
}

/// `enum ovs_hash_alg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    /// The five-tuple, another for each direction.
    L4,
    /// Addresses, protocol and ports, the same for both directions.
    SymmetricL4,
}

impl Choice {
    fn new(kind: GroupType, buckets: &[versions::Bucket], selection: Option<&SelectionMethod>) -> Choice {
        if kind != GroupType::Select {
            return Choice::Default;
        }
        let by_datapath = |algorithm, basis| match spread(buckets) {
            Some(map) => Choice::Datapath { map, algorithm, basis },
            None => Choice::Default,
        };
        match selection {
            None => by_datapath(Algorithm::SymmetricL4, 0),
            Some(selection) if selection.method == "dp_hash" => {
                let algorithm =
                    if selection.parameter >> 32 == 1 { Algorithm::SymmetricL4 } else { Algorithm::L4 };
                by_datapath(algorithm, selection.parameter as u32)
            }
            Some(selection) if selection.fields.is_empty() => Choice::Default,
            Some(selection) => {
                let mut fields = selection.fields.clone();
                fields.sort_by_key(|(field, _)| hash::rank(*field));
                Choice::Fields { basis: hash::of_64_bits(selection.parameter), fields }
            }
        }
    }
}

/// All groups of a switch.
pub(super) type Groups = BTreeMap<GroupId, Group>;

/// Checks a group as Open vSwitch does.
pub(super) fn check(id: GroupId, kind: GroupType, buckets: &[versions::Bucket]) -> Result<(), Refusal> {
    if kind == GroupType::Indirect && buckets.len() != 1 {
        return Err(Refusal::IndirectBuckets(buckets.len()));
    }
    for bucket in buckets.iter().map(|bucket| &bucket.bucket) {
        let watches = bucket.watch_port != OfPort::ANY || bucket.watch_group != GroupId::ANY;
        if bucket.weight != 0 && kind != GroupType::Select {
            return Err(Refusal::Weight(bucket.weight));
        }
        match kind {
            GroupType::All | GroupType::Indirect if watches => return Err(Refusal::Watches),
            GroupType::FastFailover if !watches => return Err(Refusal::WatchesNothing),
            _ => {}
        }
    }
    if id > MAX_GROUP { Err(Refusal::BadGroup(id)) } else { Ok(()) }
}

impl Group {
    pub(super) fn new(
        kind: GroupType,
        buckets: &[versions::Bucket],
        selection: Option<&SelectionMethod>,
        created: Duration,
    ) -> Self {
        Group {
            kind,
            bucket_counters: vec![Counters::default(); buckets.len()],
            choice: Choice::new(kind, buckets, selection),
            ids: buckets.iter().map(|bucket| bucket.id).collect(),
            buckets: buckets.iter().map(|bucket| bucket.bucket.clone()).collect(),
            created,
            counters: Counters::default(),
            selection: selection.cloned(),
        }
    }

    /// True if the choice of a bucket needs a hash that the datapath makes, for which Open vSwitch lets the packet
    /// go round once more.
    pub(super) fn hashes_in_datapath(&self) -> bool {
        matches!(self.choice, Choice::Datapath { .. })
    }

    fn is_alive(&self, place: usize, groups: &Groups, ports: &BTreeMap<OfPort, Port>, depth: usize) -> bool {
        let bucket = &self.buckets[place];
        if depth >= MAX_WATCH_DEPTH || (self.kind == GroupType::Select && bucket.weight == 0) {
            return false;
        }
        let watches_port = bucket.watch_port != OfPort::ANY;
        let watches_group = bucket.watch_group != GroupId::ANY;
        let port_lives = || match bucket.watch_port {
            OfPort::CONTROLLER => true,
            port => ports.get(&port).is_some_and(Port::is_alive) || ports.is_empty(),
        };
        let group_lives = || {
            groups.get(&bucket.watch_group).is_some_and(|group| {
                (0..group.buckets.len()).any(|place| group.is_alive(place, groups, ports, depth + 1))
            })
        };
        !(watches_port || watches_group) || watches_port && port_lives() || watches_group && group_lives()
    }

    /// The first bucket that is alive.
    pub(super) fn first_alive(&self, groups: &Groups, ports: &BTreeMap<OfPort, Port>) -> Option<usize> {
        (0..self.buckets.len()).find(|&place| self.is_alive(place, groups, ports, 0))
    }

    /// The bucket that a select group chooses for a packet.
    pub(super) fn select(&self, key: &Key, groups: &Groups, ports: &BTreeMap<OfPort, Port>) -> Option<usize> {
        let alive = |place: &usize| self.is_alive(*place, groups, ports, 0);
        let basis = match &self.choice {
            Choice::Datapath { map, algorithm, basis } => {
                let hash = match algorithm {
                    Algorithm::SymmetricL4 => hash::symmetric_l3l4(key, *basis, false),
                    Algorithm::L4 => hash::received_l4(key, *basis),
                };
                // Zero would say that there is no hash.
                let hash = hash.max(1) as usize;
                return (0..map.len()).map(|i| map[hash.wrapping_add(i) % map.len()]).find(alive);
            }
            Choice::Default => hash::symmetric_l4(key, 0),
            Choice::Fields { basis, fields } => hash::of_fields(key, *basis, fields),
        };
        let score = |place: usize| {
            let weight = self.buckets[place].weight.into();
            (hash::two_words(self.ids[place].0, basis) & 0xffff).wrapping_mul(weight)
        };
        (0..self.buckets.len()).filter(alive).max_by_key(|&place| score(place))
    }
}

/// Spreads hash values over the buckets by their weights, the Webster way; `None` if that takes too many values.
fn spread(buckets: &[versions::Bucket]) -> Option<Vec<usize>> {
    let weights = || buckets.iter().map(|bucket| u64::from(bucket.bucket.weight));
    let smallest = weights().filter(|&weight| weight > 0).min()?;
    let slots = usize::try_from(weights().sum::<u64>().div_ceil(smallest)).ok()?.next_power_of_two().max(16);
    if slots > MAX_DP_HASH {
        return None;
    }
    let mut divisors = vec![1u32; buckets.len()];
    let mut map = Vec::with_capacity(slots);
    for _ in 0..slots {
        let value = |place: usize| f64::from(buckets[place].bucket.weight) / f64::from(divisors[place]);
        let mut winner = 0;
        for place in 1..buckets.len() {
            if value(place) > value(winner) {
                winner = place;
            }
        }
        divisors[winner] += 2;
        map.push(winner);
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_values_are_spread_by_weight() {
        let buckets = |weights: &[u16]| -> Vec<versions::Bucket> {
            let bucket = |(id, weight): (u32, &u16)| versions::Bucket {
                id: BucketId(id),
                bucket: Bucket::new(*weight, Vec::new()),
                properties: Vec::new(),
            };
            (0..).zip(weights).map(bucket).collect()
        };
        let map = spread(&buckets(&[1, 3, 0])).unwrap();
        let share = |place| map.iter().filter(|&&winner| winner == place).count();
        assert_eq!((map.len(), share(0), share(1), share(2)), (16, 4, 12, 0));
        assert_eq!(spread(&buckets(&[0])), None);
        assert_eq!(spread(&buckets(&[1, 300])), None);
    }
}
