//! Groups: their table, which buckets are alive, and which one a packet takes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::Refusal;
use super::hash;
use super::key::Key;
use super::ports::Port;
use crate::wire::{Bucket, Counters, GroupId, GroupType, OfPort};

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
    /// Bucket of each value of the datapath's hash; `None` if the weights are too uneven for that.
    hash_map: Option<Vec<usize>>,
}

/// All groups of a switch.
pub(super) type Groups = BTreeMap<GroupId, Group>;

/// Checks a group as Open vSwitch does.
pub(super) fn check(id: GroupId, kind: GroupType, buckets: &[Bucket]) -> Result<(), Refusal> {
    if kind == GroupType::Indirect && buckets.len() != 1 {
        return Err(Refusal::IndirectBuckets(buckets.len()));
    }
    for bucket in buckets {
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
    pub(super) fn new(kind: GroupType, buckets: Vec<Bucket>, created: Duration) -> Self {
        let hash_map = if kind == GroupType::Select { spread(&buckets) } else { None };
        Group {
            kind,
            bucket_counters: vec![Counters::default(); buckets.len()],
            buckets,
            created,
            counters: Counters::default(),
            hash_map,
        }
    }

    /// True if the choice of a bucket needs a hash that the datapath makes, for which Open vSwitch lets the packet
    /// go round once more.
    pub(super) fn hashes_in_datapath(&self) -> bool {
        self.hash_map.is_some()
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

    /// The bucket that a select group chooses for a packet, as Open vSwitch without a selection method does: by
    /// the datapath's symmetric hash, or by weighted scores if the weights do not fit that.
    pub(super) fn select(&self, key: &Key, groups: &Groups, ports: &BTreeMap<OfPort, Port>) -> Option<usize> {
        let alive = |place: &usize| self.is_alive(*place, groups, ports, 0);
        if let Some(map) = &self.hash_map {
            let hash = hash::symmetric_l3l4(key, 0, false) as usize;
            // Zero would say that there is no hash.
            let hash = if hash == 0 { 1 } else { hash };
            return (0..map.len()).map(|i| map[hash.wrapping_add(i) % map.len()]).find(alive);
        }
        let basis = hash::symmetric_l4(key, 0);
        let score = |place: usize| {
            (hash::two_words(place as u32, basis) & 0xffff).wrapping_mul(self.buckets[place].weight.into())
        };
        (0..self.buckets.len()).filter(alive).max_by_key(|&place| score(place))
    }
}

/// Spreads hash values over the buckets by their weights, the Webster way; `None` if that takes too many values.
fn spread(buckets: &[Bucket]) -> Option<Vec<usize>> {
    let weights = || buckets.iter().map(|bucket| u64::from(bucket.weight));
    let smallest = weights().filter(|&weight| weight > 0).min()?;
    let slots = usize::try_from(weights().sum::<u64>().div_ceil(smallest)).ok()?.next_power_of_two().max(16);
    if slots > MAX_DP_HASH {
        return None;
    }
    let mut divisors = vec![1u32; buckets.len()];
    let mut map = Vec::with_capacity(slots);
    for _ in 0..slots {
        let value = |place: usize| f64::from(buckets[place].weight) / f64::from(divisors[place]);
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
        let buckets: Vec<_> = [1, 3, 0].map(|weight| Bucket::new(weight, Vec::new())).into();
        let map = spread(&buckets).unwrap();
        let share = |place| map.iter().filter(|&&winner| winner == place).count();
        assert_eq!((map.len(), share(0), share(1), share(2)), (16, 4, 12, 0));
        assert_eq!(spread(&[Bucket::new(0, Vec::new())]), None);
        assert_eq!(spread(&[Bucket::new(1, Vec::new()), Bucket::new(300, Vec::new())]), None);
    }
}
