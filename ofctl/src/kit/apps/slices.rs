//! A sliceable switch: several networks on the same switches, that hear nothing of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::routing::{Policy, RoutingChange, RoutingSwitch, Station};
use super::topology::SwitchPort;
use crate::MacAddr;
use crate::kit::{Application, Effects, Event};

/// The name of a slice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice(pub String);

impl From<&str> for Slice {
    fn from(name: &str) -> Self {
        Slice(name.to_owned())
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What belongs to a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A port, and every host behind it.
    Port(SwitchPort),
    /// A host, wherever it is. Addresses can be forged; ports cannot.
    Host(MacAddr),
}

/// Who belongs to which slices. Hosts may talk if they have one in common; a host in none talks to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slices {
    members: BTreeMap<Member, BTreeSet<Slice>>,
}

impl Slices {
    /// Puts a member into a slice.
    pub fn add(&mut self, slice: Slice, member: Member) {
        self.members.entry(member).or_default().insert(slice);
    }

    /// Takes a member out of a slice; `false` if it was not in it.
    pub fn remove(&mut self, slice: &Slice, member: Member) -> bool {
        let Some(slices) = self.members.get_mut(&member) else { return false };
        let removed = slices.remove(slice);
        if slices.is_empty() {
            self.members.remove(&member);
        }
        removed
    }

    fn of(&self, address: MacAddr, at: SwitchPort) -> BTreeSet<&Slice> {
        let members = [Member::Host(address), Member::Port(at)];
        members.iter().filter_map(|member| self.members.get(member)).flatten().collect()
    }
}

impl Policy for Slices {
    fn allows(&self, from: &Station, to: &Station) -> bool {
        !self.of(from.address, from.at).is_disjoint(&self.of(to.address, to.at))
    }

    /// A port hears a slice if it belongs to it, or if all hosts known behind it do: a member by its address hears
    /// what is said to all once it has itself said something.
    fn spreads(&self, from: &Station, port: SwitchPort, there: &[MacAddr]) -> bool {
        let ours = self.of(from.address, from.at);
        if let Some(slices) = self.members.get(&Member::Port(port)) {
            return slices.iter().any(|slice| ours.contains(slice));
        }
        !there.is_empty() && there.iter().all(|host| !self.of(*host, port).is_disjoint(&ours))
    }
}

/// A [`RoutingSwitch`] on which only hosts of one slice reach each other.
///
/// ```
/// use std::time::Duration;
/// use ofctl::kit::apps::{Member, SliceableSwitch, SwitchPort};
/// use ofctl::kit::testbed::{Host, Testbed};
/// use ofctl::wire::OfPort;
///
/// let mut bed = Testbed::new(SliceableSwitch::default());
/// let switch = bed.switch(1, 3);
/// let [a, b, c] = [1, 2, 3].map(|n| bed.host(switch, n as u32, Host::new([10, 0, 0, n])));
/// let port = |n| Member::Port(SwitchPort::new(switch, OfPort(n)));
/// for (slice, n) in [("red", 1), ("red", 2), ("blue", 3)] {
///     bed.command(|application| application.add(slice.into(), port(n)));
/// }
/// bed.run_for(Duration::from_secs(1));
/// assert!(bed.ping(a, b).is_some());
/// assert!(bed.ping(a, c).is_none());
/// ```
#[derive(Debug, Clone)]
pub struct SliceableSwitch {
    routing: RoutingSwitch<Slices>,
}

impl Default for SliceableSwitch {
    fn default() -> Self {
        SliceableSwitch::new(RoutingSwitch::new(Slices::default()))
    }
}

impl SliceableSwitch {
    /// Slices this switch.
    pub fn new(routing: RoutingSwitch<Slices>) -> Self {
        SliceableSwitch { routing }
    }

    /// The switch below.
    pub fn routing(&self) -> &RoutingSwitch<Slices> {
        &self.routing
    }

    /// Puts a member into a slice.
    pub fn add(&mut self, slice: Slice, member: Member) -> Effects<RoutingChange> {
        self.routing.change_policy(|slices| slices.add(slice, member))
    }

    /// Takes a member out of a slice, and ends its conversations there at once.
    pub fn remove(&mut self, slice: &Slice, member: Member) -> Effects<RoutingChange> {
        self.routing.change_policy(|slices| {
            slices.remove(slice, member);
        })
    }
}

impl Application for SliceableSwitch {
    type Notice = RoutingChange;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<RoutingChange> {
        self.routing.handle(now, event)
    }
}
