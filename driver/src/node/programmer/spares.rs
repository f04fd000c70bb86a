//! Spare links: ports of the bridge before there is an endpoint for them.
//!
//! Making a link and having the switch take it up is most of what an attachment costs. So a few are kept ready, of each
//! MTU that endpoints here have, and an endpoint that comes takes one; what it took is made anew afterwards. They are
//! made in the name of ids that Docker never gives, and carry no traffic: no flow names their ports. A restarted agent
//! finds them again, since a switch has to stop for a moment for each port that comes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::EndpointId;

/// How many are made ready of each MTU.
const READY: usize = 4;

/// With how few of an MTU left more are made: not after every endpoint, because a switch that adds ports disturbs what
/// it forwards, and because the kernel's lock on links is wanted by Docker meanwhile.
const FEW: usize = 1;

#[derive(Debug)]
struct Inner {
    ready: BTreeMap<u16, Vec<EndpointId>>,
    /// Taken by a call, and not in the plan yet.
    taken: BTreeSet<EndpointId>,
    making: BTreeSet<EndpointId>,
    next: u64,
}

/// What no id of Docker's begins with: those are hexadecimal.
const PREFIX: char = 's';

/// Forty bits are ten digits, and with [`PREFIX`] as much of an id as a link's name has room for.
const NUMBERS: u64 = (1 << 40) - 1;

/// True for an id that stands for a spare link, or for one that an endpoint took.
fn is_spare(id: &EndpointId) -> bool {
    id.as_str().starts_with(PREFIX) && id.as_str().len() == 11
}

/// Spare links. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Spares(Arc<Mutex<Inner>>);

impl Default for Spares {
    fn default() -> Self {
        // Later than any number of a former agent, so that none is given twice.
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as u64);
        let (ready, taken, making) = Default::default();
        Spares(Arc::new(Mutex::new(Inner { ready, taken, making, next: now })))
    }
}

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before the lock is let go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over those that a former agent left, with their MTU.
    pub(super) fn adopt(&self, found: impl IntoIterator<Item = (EndpointId, u16)>) {
        let mut inner = self.lock();
        for (id, mtu) in found.into_iter().filter(|(id, _)| is_spare(id)) {
            inner.ready.entry(mtu).or_default().push(id);
        }
    }

    /// One of this MTU, if there is one.
    pub(super) fn take(&self, mtu: u16) -> Option<EndpointId> {
        let mut inner = self.lock();
        let spare = inner.ready.get_mut(&mtu)?.pop()?;
        inner.taken.insert(spare.clone());
        Some(spare)
    }

    /// One that was taken is not used after all; it is removed like any other that nobody wants.
    pub(super) fn give_up(&self, spare: &EndpointId) {
        self.lock().taken.remove(spare);
    }

    /// Which to make, with their MTU, where endpoints have these: those that are missing where few are left. What is
    /// ready of another MTU is let go.
    pub(super) fn missing(&self, mtus: &BTreeSet<u16>) -> Vec<(EndpointId, u16)> {
        let mut inner = self.lock();
        inner.ready.retain(|mtu, _| mtus.contains(mtu));
        if !inner.making.is_empty() {
            return Vec::new();
        }
        let mut missing = Vec::new();
        for mtu in mtus {
            let ready = inner.ready.get(mtu).map_or(0, Vec::len);
            if ready > FEW {
                continue;
            }
            for _ in ready..READY {
                inner.next += 1;
                let id = format!("{PREFIX}{:010x}", inner.next & NUMBERS);
                let id: EndpointId = id.parse().expect("eleven letters and digits are an id");
                inner.making.insert(id.clone());
                missing.push((id, *mtu));
            }
        }
        missing
    }

    /// These have been made, or could not be.
    pub(super) fn made(&self, outcome: Vec<(EndpointId, u16, bool)>) {
        let mut inner = self.lock();
        for (id, mtu, is_ready) in outcome {
            inner.making.remove(&id);
            if is_ready {
                inner.ready.entry(mtu).or_default().push(id);
            }
        }
    }

    /// Those that are not to be removed, although no endpoint of the plan has them. What the plan has is not spare any
    /// more.
    pub(super) fn kept(&self, is_planned: impl Fn(&EndpointId) -> bool) -> BTreeSet<EndpointId> {
        let mut inner = self.lock();
        inner.taken.retain(|id| !is_planned(id));
        let ready = inner.ready.values().flatten();
        ready.chain(&inner.taken).chain(&inner.making).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_is_kept_until_it_is_planned_or_given_up() {
        let spares = Spares::default();
        let mtus = BTreeSet::from([1450]);
        assert_eq!(spares.take(1450), None);
        let missing = spares.missing(&mtus);
        assert_eq!(missing.len(), READY);
        assert!(spares.missing(&mtus).is_empty(), "they are being made");
        assert_eq!(spares.kept(|_| false).len(), READY);
        spares.made(missing.iter().map(|(id, mtu)| (id.clone(), *mtu, true)).collect());
        assert_eq!(spares.take(1500), None);
        let (one, two) = (spares.take(1450).unwrap(), spares.take(1450).unwrap());
        assert_ne!(one, two);
        assert!(spares.kept(|_| false).is_superset(&BTreeSet::from([one.clone(), two.clone()])));
        spares.give_up(&two);
        let kept = spares.kept(|id| *id == one);
        assert!(!kept.contains(&one) && !kept.contains(&two) && kept.len() == READY - 2);
        assert!(spares.missing(&mtus).is_empty(), "enough are left");
        assert!(spares.take(1450).is_some());
        assert_eq!(spares.missing(&mtus).len(), READY - FEW);
    }

    #[test]
    fn those_of_a_former_agent_are_taken_over() {
        let spares = Spares::default();
        let (spare, endpoint) = ("s0123456789".parse().unwrap(), "0123456789ab".parse().unwrap());
        spares.adopt([(spare, 1450), (endpoint, 1450)]);
        assert_eq!(spares.take(1450).unwrap().as_str(), "s0123456789");
        assert_eq!(spares.take(1450), None);
    }

    #[test]
    fn none_is_kept_where_no_endpoint_is() {
        let spares = Spares::default();
        let missing = spares.missing(&BTreeSet::from([1450]));
        spares.made(missing.into_iter().map(|(id, mtu)| (id, mtu, true)).collect());
        assert!(spares.missing(&BTreeSet::new()).is_empty());
        assert!(spares.kept(|_| false).is_empty());
    }
}
