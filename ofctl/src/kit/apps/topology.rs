//! Topology discovery: each switch says by LLDP who it is, by every port, and what another hears is a link.
//!
//! ```
//! use std::time::Duration;
//! use ofctl::kit::apps::{Link, Topology};
//! use ofctl::kit::testbed::Testbed;
//!
//! let mut bed = Testbed::new(Topology::default());
//! let (a, b) = (bed.switch(1, 2), bed.switch(2, 2));
//! bed.link((a, 2), (b, 1));
//! bed.run_for(Duration::from_secs(2));
//! let links: Vec<String> = bed.application().links().map(|link| link.to_string()).collect();
//! assert_eq!(links, ["0000000000000001:2 -> 0000000000000002:1", "0000000000000002:1 -> 0000000000000001:2"]);
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::MacAddr;
use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event, Timer};
use crate::packet::lldp::{ChassisId, Lldp, PortId};
use crate::wire::{
    Action, Field, FlowMod, Match, OfPort, PacketIn, PacketOut, PortDescription, PortReason, TableId,
};

/// A port of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwitchPort {
    /// The switch.
    pub switch: DatapathId,
    /// Its port.
    pub port: OfPort,
}

impl SwitchPort {
    /// A port of a switch.
    pub const fn new(switch: DatapathId, port: OfPort) -> SwitchPort {
        SwitchPort { switch, port }
    }
}

impl fmt::Display for SwitchPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.switch, self.port)
    }
}

/// A way from a switch's port to another's, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Where frames leave.
    pub from: SwitchPort,
    /// Where they arrive.
    pub to: SwitchPort,
}

impl fmt::Display for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} -> {}", self.from, self.to)
    }
}

/// A change of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopologyChange {
    /// A switch is connected.
    SwitchAdded(DatapathId),
    /// A switch is not connected any more.
    SwitchRemoved(DatapathId),
    /// A link was heard for the first time.
    LinkAdded(Link),
    /// One of its ports went down, or it was silent for too long.
    LinkRemoved(Link),
}

#[derive(Debug, Clone, Copy)]
struct Port {
    address: MacAddr,
    /// Since when it has been up.
    up: Option<Duration>,
}

/// Finds the links between switches, and notices when they go.
///
/// A port that goes down takes its links with it at once. A link that dies without a port going down, behind a media
/// converter for example, is missed after three probes.
///
/// Probes are not secret: a host that repeats one that it heard makes a link appear, as with any discovery by LLDP.
/// [`Topology::edge`] names ports where that is not believed.
#[derive(Debug, Clone)]
pub struct Topology {
    ports: BTreeMap<SwitchPort, Port>,
    switches: BTreeSet<DatapathId>,
    /// By where they arrive, since a port hears one other: from where, and when it was last heard.
    links: BTreeMap<SwitchPort, (SwitchPort, Duration)>,
    /// Ports where no link is believed.
    fixed: BTreeSet<SwitchPort>,
    interval: Duration,
    now: Duration,
}

impl Default for Topology {
    /// One probe a second.
    fn default() -> Self {
        Topology::new(Duration::from_secs(1))
    }
}

const PROBE: Timer = Timer::new("topology: probe");

/// LLDP is for this application, whatever others do.
const PRIORITY: u16 = 0xffff;

impl Topology {
    /// Sends probes at this interval.
    pub fn new(interval: Duration) -> Topology {
        Topology {
            ports: BTreeMap::new(),
            switches: BTreeSet::new(),
            links: BTreeMap::new(),
            fixed: BTreeSet::new(),
            interval,
            now: Duration::ZERO,
        }
    }

    /// Has a port be one for hosts, whatever they say: there no probes are sent, and none are believed.
    #[must_use]
    pub fn edge(mut self, port: SwitchPort) -> Self {
        self.fixed.insert(port);
        self
    }

    /// The links, by where they arrive.
    pub fn links(&self) -> impl Iterator<Item = Link> {
        let mut links: Vec<Link> =
            self.links.iter().map(|(to, (from, _))| Link { from: *from, to: *to }).collect();
        links.sort();
        links.into_iter()
    }

    /// The switches that are connected.
    pub fn switches(&self) -> impl Iterator<Item = DatapathId> {
        self.switches.iter().copied()
    }

    /// True if the switch is connected.
    pub fn is_connected(&self, switch: DatapathId) -> bool {
        self.switches.contains(&switch)
    }

    /// The ports that lead out of the network: they are up, have been for half a probe's interval, and no link has
    /// been heard there. Until then a port may be one between switches, where a flood would go round in circles.
    pub fn edge_ports(&self) -> impl Iterator<Item = SwitchPort> {
        self.ports.keys().copied().filter(|port| self.is_edge(*port))
    }

    /// True if the port is one of the [edge ports](Topology::edge_ports).
    pub fn is_edge(&self, port: SwitchPort) -> bool {
        let known = self.ports.get(&port).and_then(|port| port.up);
        let is_settled = |since| self.fixed.contains(&port) || self.now >= since + self.interval / 2;
        known.is_some_and(is_settled) && !self.has_link(port)
    }

    fn has_link(&self, port: SwitchPort) -> bool {
        self.links.contains_key(&port) || self.links.values().any(|(from, _)| *from == port)
    }

    fn is_up(&self, port: SwitchPort) -> bool {
        self.ports.get(&port).is_some_and(|port| port.up.is_some())
    }

    fn probe(&self, port: SwitchPort) -> Effects<TopologyChange> {
        let Some(known) =
            self.ports.get(&port).filter(|known| known.up.is_some() && !self.fixed.contains(&port))
        else {
            return Effects::none();
        };
        let (chassis, id) = (ChassisId::datapath(port.switch.0), PortId::number(port.port.0));
        let lifetime = self.lifetime().as_secs().clamp(1, u64::from(u16::MAX)) as u16;
        let frame = Lldp::new(chassis, id, lifetime).frame(known.address);
        let frame = frame.expect("both IDs have less than 255 bytes");
        let actions = vec![Action::Output(port.port)];
        Effects::send(port.switch, PacketOut::new(OfPort::CONTROLLER, actions, frame))
    }

    fn lifetime(&self) -> Duration {
        self.interval * 7 / 2
    }

    /// What is known of a port now, and the first probe if it came up.
    fn port(&mut self, switch: DatapathId, port: &PortDescription) -> Effects<TopologyChange> {
        let place = SwitchPort::new(switch, port.port);
        // OpenFlow reserves numbers for ports that lead nowhere else, the bridge's own for one.
        if port.port > OfPort::MAX {
            return Effects::none();
        }
        let up = port.state & PortDescription::STATE_LINK_DOWN == 0
            && port.config & PortDescription::CONFIG_DOWN == 0;
        let was_up = self.ports.get(&place).and_then(|port| port.up);
        let since = up.then(|| was_up.unwrap_or(self.now));
        self.ports.insert(place, Port { address: port.address, up: since });
        match (was_up, up) {
            (None, true) => self.probe(place),
            (Some(_), false) => self.remove_links(|link| link.from == place || link.to == place),
            _ => Effects::none(),
        }
    }

    fn remove_links(&mut self, gone: impl Fn(Link) -> bool) -> Effects<TopologyChange> {
        let links: Vec<Link> = self.links().filter(|link| gone(*link)).collect();
        let mut effects = Effects::none();
        for link in links {
            self.links.remove(&link.to);
            effects.push_notice(TopologyChange::LinkRemoved(link));
        }
        effects
    }

    fn switch_up(&mut self, switch: DatapathId, ports: &[PortDescription]) -> Effects<TopologyChange> {
        let lldp = Match::new().with(Field::EthType, Lldp::ETH_TYPE);
        let flow = FlowEntry::new(TableId(0), PRIORITY).matching(lldp);
        let flow = flow.apply([Action::Controller { max_len: u16::MAX }]);
        let mut effects = Effects::send(switch, FlowMod::add(flow));
        self.switches.insert(switch);
        effects.push_notice(TopologyChange::SwitchAdded(switch));
        for port in ports {
            effects.append(self.port(switch, port));
        }
        effects
    }

    fn switch_gone(&mut self, switch: DatapathId) -> Effects<TopologyChange> {
        let mut effects = self.remove_links(|link| link.from.switch == switch || link.to.switch == switch);
        self.ports.retain(|port, _| port.switch != switch);
        if self.switches.remove(&switch) {
            effects.push_notice(TopologyChange::SwitchRemoved(switch));
        }
        effects
    }

    fn heard(&mut self, switch: DatapathId, packet: &PacketIn) -> Option<Effects<TopologyChange>> {
        let from = sender(packet)?;
        let to = SwitchPort::new(switch, packet.in_port());
        let mut effects = Effects::none();
        // What was under way when a port went down must not bring the link back.
        let is_believed = |port| self.is_up(port) && !self.fixed.contains(&port);
        if !is_believed(from) || !is_believed(to) {
            return Some(effects);
        }
        let before = self.links.insert(to, (from, self.now)).map(|(from, _)| from);
        if before != Some(from) {
            if let Some(from) = before {
                effects.push_notice(TopologyChange::LinkRemoved(Link { from, to }));
            }
            effects.push_notice(TopologyChange::LinkAdded(Link { from, to }));
            // The way back is likely as new, and need not wait for the next round.
            effects.append(self.probe(to));
        }
        Some(effects)
    }
}

/// True if the packet is LLDP, which is between neighbours and not to be forwarded.
pub(super) fn is_lldp(packet: &PacketIn) -> bool {
    packet.ethernet().is_some_and(|ethernet| ethernet.eth_type == Lldp::ETH_TYPE)
}

/// The switch's port that sent a probe; `None` if the packet is none.
fn sender(packet: &PacketIn) -> Option<SwitchPort> {
    let ethernet = packet.ethernet().filter(|ethernet| ethernet.eth_type == Lldp::ETH_TYPE)?;
    let lldp = Lldp::decode(ethernet.payload).ok()?;
    let (switch, port) = (lldp.chassis.datapath_id()?, lldp.port.as_number()?);
    Some(SwitchPort::new(DatapathId(switch), OfPort(port)))
}

impl Application for Topology {
    type Notice = TopologyChange;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<TopologyChange> {
        self.now = now;
        match event {
            Event::Start => {
                let mut effects = Effects::none();
                effects.set_timer(PROBE, self.interval);
                effects
            }
            Event::Timer(PROBE) => {
                let lifetime = self.lifetime();
                let silent: BTreeSet<SwitchPort> = self
                    .links
                    .iter()
                    .filter(|(_, (_, heard))| *heard + lifetime < now)
                    .map(|(to, _)| *to)
                    .collect();
                let mut effects = self.remove_links(|link| silent.contains(&link.to));
                for port in self.ports.keys() {
                    effects.append(self.probe(*port));
                }
                effects.set_timer(PROBE, self.interval);
                effects
            }
            Event::SwitchUp(switch, connected) => self.switch_up(*switch, &connected.ports),
            Event::SwitchGone(switch) => self.switch_gone(*switch),
            Event::PortStatus(switch, status) => match status.reason {
                PortReason::Delete => {
                    let gone = SwitchPort::new(*switch, status.port.port);
                    self.ports.remove(&gone);
                    self.remove_links(|link| link.from == gone || link.to == gone)
                }
                PortReason::Add | PortReason::Modify => self.port(*switch, &status.port),
            },
            Event::PacketIn(switch, packet) => self.heard(*switch, packet).unwrap_or_default(),
            _ => Effects::none(),
        }
    }
}
