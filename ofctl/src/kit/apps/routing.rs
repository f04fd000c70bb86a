//! A routing switch: many switches that are, for their hosts, one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::paths::{PathChange, PathId, PathManager};
use super::topology::{SwitchPort, Topology, is_lldp};
use crate::MacAddr;
use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event, table_miss};
use crate::wire::{Action, Cookie, Field, FlowMod, Match, OfPort, PacketIn, PacketOut, TableId};

/// A host and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Station {
    /// Its address.
    pub address: MacAddr,
    /// The port that it is behind.
    pub at: SwitchPort,
}

/// Who may talk to whom.
pub trait Policy {
    /// True if packets may go from one to the other.
    fn allows(&self, from: &Station, to: &Station) -> bool;

    /// True if what `from` says to all may leave by a port, behind which those hosts are known.
    fn spreads(&self, from: &Station, port: SwitchPort, there: &[MacAddr]) -> bool;
}

/// Everybody may talk to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Everyone;

impl Policy for Everyone {
    fn allows(&self, _from: &Station, _to: &Station) -> bool {
        true
    }

    fn spreads(&self, _from: &Station, _port: SwitchPort, _there: &[MacAddr]) -> bool {
        true
    }
}

/// What a [`RoutingSwitch`] noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingChange {
    /// A host was heard for the first time, or elsewhere than before.
    HostSeen(Station),
    /// A host's port went down or became one between switches.
    HostGone(Station),
    /// A path or the topology changed.
    Path(PathChange),
}

/// Makes one switch of many: finds hosts by the packets that they send, and has a [`PathManager`] lay a path for each
/// pair of them that talks. Loops of links do no harm, and a link that goes is gone round.
///
/// What is meant for all, or for a host that has not been heard yet, goes from the controller to the edge ports and
/// never over links. A packet that came to the controller is sent out where it is going, not back on its way.
///
/// ```
/// use std::time::Duration;
/// use ofctl::kit::apps::RoutingSwitch;
/// use ofctl::kit::testbed::{Host, Testbed};
///
/// let mut bed = Testbed::new(RoutingSwitch::default());
/// let (a, b, c) = (bed.switch(1, 3), bed.switch(2, 3), bed.switch(3, 3));
/// for (from, to) in [(a, b), (b, c), (c, a)] {
///     bed.link((from, 2), (to, 3));
/// }
/// let alice = bed.host(a, 1, Host::new([10, 0, 0, 1]));
/// let bob = bed.host(c, 1, Host::new([10, 0, 0, 2]));
/// bed.run_for(Duration::from_secs(2));
/// assert!(bed.ping(alice, bob).is_some());
/// bed.cut(a, 3);
/// bed.run_for(Duration::from_millis(1));
/// assert!(bed.ping(alice, bob).is_some());
/// ```
#[derive(Debug, Clone)]
pub struct RoutingSwitch<P = Everyone> {
    paths: PathManager,
    policy: P,
    hosts: BTreeMap<MacAddr, SwitchPort>,
    conversations: BTreeMap<(MacAddr, MacAddr), PathId>,
}

impl Default for RoutingSwitch {
    fn default() -> Self {
        RoutingSwitch::new(Everyone)
    }
}

impl<P: Policy> RoutingSwitch<P> {
    /// With this policy, over a default [`Topology`], and with paths that go after a minute without a packet.
    pub fn new(policy: P) -> Self {
        RoutingSwitch::with_paths(PathManager::new(Topology::default()).idle_timeout(60), policy)
    }

    /// With this policy and this manager of paths.
    pub fn with_paths(paths: PathManager, policy: P) -> Self {
        RoutingSwitch { paths, policy, hosts: BTreeMap::new(), conversations: BTreeMap::new() }
    }

    /// The paths.
    pub fn paths(&self) -> &PathManager {
        &self.paths
    }

    /// The policy.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// The hosts that were heard.
    pub fn hosts(&self) -> impl Iterator<Item = Station> {
        self.hosts.iter().map(|(address, at)| Station { address: *address, at: *at })
    }

    /// The path between two hosts, if they have been talking.
    pub fn path(&self, from: MacAddr, to: MacAddr) -> Option<PathId> {
        self.conversations.get(&(from, to)).copied()
    }

    /// Changes the policy, and ends the conversations that it forbids now.
    pub fn change_policy(&mut self, change: impl FnOnce(&mut P)) -> Effects<RoutingChange> {
        change(&mut self.policy);
        let mut effects = self.forget_refusals();
        let forbidden: Vec<_> =
            self.conversations.keys().copied().filter(|pair| !self.allowed(*pair)).collect();
        effects.append(self.end(&forbidden));
        effects
    }

    fn station(&self, address: MacAddr) -> Option<Station> {
        self.hosts.get(&address).map(|at| Station { address, at: *at })
    }

    fn allowed(&self, (from, to): (MacAddr, MacAddr)) -> bool {
        let (from, to) = (self.station(from), self.station(to));
        from.zip(to).is_some_and(|(from, to)| self.policy.allows(&from, &to))
    }

    fn end(&mut self, pairs: &[(MacAddr, MacAddr)]) -> Effects<RoutingChange> {
        let mut effects = Effects::none();
        for pair in pairs {
            if let Some(path) = self.conversations.remove(pair) {
                let released = self.paths.release(path);
                self.take_over(&mut effects, released);
            }
        }
        effects
    }

    fn end_of_host(&mut self, host: MacAddr) -> Effects<RoutingChange> {
        let pairs = self.conversations.keys().copied();
        let pairs: Vec<_> = pairs.filter(|(from, to)| *from == host || *to == host).collect();
        self.end(&pairs)
    }

    fn take_over(&mut self, effects: &mut Effects<RoutingChange>, paths: Effects<PathChange>) {
        for change in effects.absorb(paths) {
            if let PathChange::Idle(idle) = change {
                self.conversations.retain(|_, path| *path != idle);
            }
            effects.push_notice(RoutingChange::Path(change));
        }
    }

    /// Forgets the hosts behind ports that are not at the edge any more.
    fn forget(&mut self) -> Effects<RoutingChange> {
        let gone: Vec<Station> =
            self.hosts().filter(|host| !self.paths.topology().is_edge(host.at)).collect();
        let mut effects = Effects::none();
        for host in gone {
            self.hosts.remove(&host.address);
            effects.append(self.end_of_host(host.address));
            effects.push_notice(RoutingChange::HostGone(host));
        }
        effects
    }

    fn forget_refusals(&self) -> Effects<RoutingChange> {
        let mut effects = Effects::none();
        for switch in self.paths.topology().switches() {
            effects.push(switch, FlowMod::delete_by_cookie(REFUSED, u64::MAX));
        }
        effects
    }

    fn learn(&mut self, host: Station) -> Effects<RoutingChange> {
        let before = self.hosts.insert(host.address, host.at);
        if before == Some(host.at) {
            return Effects::none();
        }
        let mut effects = self.end_of_host(host.address);
        if before.is_some() {
            // Where it is now it may be allowed.
            effects.append(self.forget_refusals());
        }
        effects.push_notice(RoutingChange::HostSeen(host));
        effects
    }

    fn packet(&mut self, switch: DatapathId, packet: &PacketIn) -> Effects<RoutingChange> {
        let Some(ethernet) = packet.ethernet().filter(|_| !is_lldp(packet)) else { return Effects::none() };
        let at = SwitchPort::new(switch, packet.in_port());
        let mut effects = Effects::none();
        if self.paths.topology().is_edge(at) && !ethernet.src.is_multicast() {
            effects = self.learn(Station { address: ethernet.src, at });
        }
        // On other ports it is one that lost its way when that changed, or a stranger.
        let Some(from) = self.station(ethernet.src) else { return effects };
        match self.station(ethernet.dst) {
            Some(to) if to.at == from.at => {}
            Some(to) if self.policy.allows(&from, &to) => {
                effects.append(self.connect(from, to));
                // The controller helps out where a way is about to be, and does not stand in for one.
                let path = self.path(from.address, to.address);
                if path.is_some_and(|path| self.paths.links(path).is_some()) {
                    let out = vec![Action::Output(to.at.port)];
                    effects.push(to.at.switch, PacketOut::new(OfPort::CONTROLLER, out, packet.data.clone()));
                }
            }
            Some(to) if from.at == at => effects.push(switch, FlowMod::add(refusal(&from, &to))),
            None if from.at == at => effects.append(self.spread(&from, &packet.data)),
            _ => {}
        }
        effects
    }

    fn connect(&mut self, from: Station, to: Station) -> Effects<RoutingChange> {
        let mut effects = Effects::none();
        let pair = (from.address, to.address);
        if !self.conversations.contains_key(&pair) {
            let matching = Match::new().with(Field::EthSrc, from.address).with(Field::EthDst, to.address);
            let (path, asked) = self.paths.request(matching, from.at, to.at);
            self.conversations.insert(pair, path);
            self.take_over(&mut effects, asked);
        }
        effects
    }

    /// To all edge ports that there is a way to and the policy has nothing against, but the one that it came by.
    fn spread(&self, from: &Station, frame: &[u8]) -> Effects<RoutingChange> {
        let mut there: BTreeMap<SwitchPort, Vec<MacAddr>> = BTreeMap::new();
        for host in self.hosts() {
            there.entry(host.at).or_default().push(host.address);
        }
        let mut outputs: BTreeMap<DatapathId, Vec<Action>> = BTreeMap::new();
        let reachable = self.paths.reachable(from.at.switch);
        let others = self.paths.topology().edge_ports().filter(|port| *port != from.at);
        for port in others.filter(|port| reachable.contains(&port.switch)) {
            let known = there.get(&port).map(Vec::as_slice).unwrap_or_default();
            if self.policy.spreads(from, port, known) {
                outputs.entry(port.switch).or_default().push(Action::Output(port.port));
            }
        }
        let mut effects = Effects::none();
        for (switch, actions) in outputs {
            effects.push(switch, PacketOut::new(OfPort::CONTROLLER, actions, frame.to_vec()));
        }
        effects
    }
}

/// The cookie of refusals, which is no path's number.
const REFUSED: Cookie = Cookie(u64::MAX);

/// Drops what the policy forbids where it comes in, for ten seconds, so that it does not keep the controller busy.
fn refusal(from: &Station, to: &Station) -> FlowEntry {
    let pair = Match::new().with(Field::EthSrc, from.address).with(Field::EthDst, to.address);
    let pair = pair.with(Field::InPort, from.at.port);
    FlowEntry::new(TableId(0), 90).cookie(REFUSED).matching(pair).hard_timeout(10)
}

impl<P: Policy> Application for RoutingSwitch<P> {
    type Notice = RoutingChange;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<RoutingChange> {
        let mut effects = Effects::none();
        let below = self.paths.handle(now, event);
        let changed = below.notices.iter().any(|change| matches!(change, PathChange::Topology(_)));
        self.take_over(&mut effects, below);
        if changed || matches!(event, Event::PortStatus(..)) {
            effects.append(self.forget());
        }
        match event {
            Event::SwitchUp(switch, _) => effects.push(*switch, table_miss()),
            Event::PacketIn(switch, packet) => effects.append(self.packet(*switch, packet)),
            _ => {}
        }
        effects
    }
}
