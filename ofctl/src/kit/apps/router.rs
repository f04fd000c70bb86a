//! A simple IPv4 router on one switch.
//!
//! Three tables, of which the application fills the last as it goes:
//!
//! | table | | |
//! |---|---|---|
//! | 0 | classify | ARP requests for an interface are answered by the flow itself; answers to the router's own questions go to the controller; IP packets to an interface's MAC address go on |
//! | 1 | route | the longest prefix that matches writes the next hop's address into register 0; echo requests to the router are answered by the flow; a packet whose TTL ends goes to the controller |
//! | 2 | neighbour | a next hop that is known has a flow, which writes the MAC addresses, takes one from the TTL and sends; any other goes to the controller, which asks for it by ARP |

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::MacAddr;
use crate::acl::Prefix;
use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event, Timer};
use crate::packet::Frame;
use crate::wire::{Action, Field, FlowMod, FlowModCommand, Match, OfPort, PacketIn, PacketOut, TableId};

/// A port with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// The switch's port.
    pub port: OfPort,
    /// The router's MAC address there.
    pub mac: MacAddr,
    /// The router's IPv4 address there.
    pub address: Ipv4Addr,
    /// Bits that the addresses of the subnet have in common, at most 32.
    pub prefix_length: u8,
}

impl Interface {
    fn subnet(&self) -> Prefix {
        let length = self.prefix_length.min(32);
        Prefix::new(self.address.into(), length).expect("32 bits is as long as an address")
    }
}

/// A way to what is not next to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to; `0.0.0.0/0` for everything else.
    pub to: Prefix,
    /// The router there, next to one of our interfaces.
    pub via: Ipv4Addr,
}

/// Routes between the ports of a switch. What hosts send goes by flows; only packets to a next hop whose MAC address is
/// not known reach the controller, and those whose TTL ends.
///
/// ```
/// use ofctl::kit::apps::{Interface, SimpleRouter};
/// use ofctl::kit::testbed::{Host, Testbed};
/// use ofctl::kit::DatapathId;
/// use ofctl::wire::OfPort;
///
/// let interface = |port: u8| Interface {
///     port: OfPort(port.into()),
///     mac: ofctl::MacAddr([2, 0, 0, 0, 0, port]),
///     address: [10, 0, port, 254].into(),
///     prefix_length: 24,
/// };
/// let mut bed = Testbed::new(SimpleRouter::new(DatapathId(1), [interface(1), interface(2)], []));
/// let switch = bed.switch(1, 2);
/// let a = bed.host(switch, 1, Host::new([10, 0, 1, 1]).gateway([10, 0, 1, 254]));
/// let b = bed.host(switch, 2, Host::new([10, 0, 2, 1]).gateway([10, 0, 2, 254]));
/// assert!(bed.ping(a, b).is_some());
/// let unresolved = bed.packet_ins(switch);
/// assert!(bed.ping(a, b).is_some());
/// assert_eq!(bed.packet_ins(switch), unresolved);
/// ```
#[derive(Debug, Clone)]
pub struct SimpleRouter {
    switch: DatapathId,
    interfaces: Vec<Interface>,
    routes: Vec<Route>,
    neighbour_timeout: u16,
    asking: BTreeMap<Ipv4Addr, Question>,
}

/// A neighbour that was asked for, and what waits for the answer.
#[derive(Debug, Clone, Default)]
struct Question {
    attempts: u32,
    waiting: VecDeque<Vec<u8>>,
}

const CLASSIFY: TableId = TableId(0);
const ROUTE: TableId = TableId(1);
const NEIGHBOUR: TableId = TableId(2);

const NEXT_HOP: Field = Field::Reg0;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;

/// Times that a neighbour is asked for, one second apart.
const ATTEMPTS: u32 = 3;
/// Packets that wait for one neighbour; of more the oldest is dropped.
const WAITING: usize = 16;
const ASK: &str = "router: ask";

impl SimpleRouter {
    /// A router on this switch.
    pub fn new(
        switch: DatapathId,
        interfaces: impl IntoIterator<Item = Interface>,
        routes: impl IntoIterator<Item = Route>,
    ) -> Self {
        SimpleRouter {
            switch,
            interfaces: interfaces.into_iter().collect(),
            routes: routes.into_iter().collect(),
            neighbour_timeout: 300,
            asking: BTreeMap::new(),
        }
    }

    /// Sets after how many seconds a neighbour is asked for again; 300 if not set.
    #[must_use]
    pub fn neighbour_timeout(mut self, seconds: u16) -> Self {
        self.neighbour_timeout = seconds;
        self
    }

    /// The interface by which an address is reached, and who is asked for there: the address itself, or the router on the
    /// way; by the longest prefix.
    pub fn next_hop(&self, to: Ipv4Addr) -> Option<(Interface, Ipv4Addr)> {
        let direct = self.interfaces.iter().map(|interface| (interface.subnet(), to));
        let routes =
            self.routes.iter().filter(|route| self.is_used(route)).map(|route| (route.to, route.via));
        let matching = routes.chain(direct).filter(|(prefix, _)| prefix.contains(to.into()));
        // Of two of one length the last: a subnet of our own comes before a route to the same.
        let (_, hop) = matching.max_by_key(|(prefix, _)| prefix.length())?;
        Some((*self.interface_near(hop)?, hop))
    }

    fn interface_near(&self, hop: Ipv4Addr) -> Option<&Interface> {
        let near = self.interfaces.iter().filter(|interface| interface.subnet().contains(hop.into()));
        near.max_by_key(|interface| interface.prefix_length)
    }

    /// False if its router is not near, or another route to the same prefix came before.
    fn is_used(&self, route: &Route) -> bool {
        let near = |route: &&Route| self.interface_near(route.via).is_some();
        self.routes.iter().filter(near).find(|other| other.to == route.to) == Some(route)
    }

    /// Adds a route.
    pub fn add_route(&mut self, route: Route) -> Effects {
        self.routes.push(route);
        Effects::add_flows(self.switch, self.route_flow(&route))
    }

    /// Removes a route; what it was for goes by the next longest prefix.
    pub fn remove_route(&mut self, route: Route) -> Effects {
        let was_used = self.is_used(&route);
        self.routes.retain(|known| *known != route);
        // Another to the same prefix may have stood behind it.
        let next =
            self.routes.iter().filter(|other| other.to == route.to).find_map(|other| self.route_flow(other));
        match next {
            _ if !was_used => Effects::none(),
            Some(flow) => Effects::add_flows(self.switch, [flow]),
            None => Effects::send(self.switch, FlowMod::delete_strict(self.prefix_flow(route.to).key())),
        }
    }

    fn prefix_flow(&self, to: Prefix) -> FlowEntry {
        let matching = Match::new().with(Field::EthType, IPV4);
        let matching = matching.masked(Field::Ipv4Dst, to.bits() as u32, to.mask() as u32);
        FlowEntry::new(ROUTE, 100 + 2 * u16::from(to.length())).matching(matching)
    }

    fn route_flow(&self, route: &Route) -> Option<FlowEntry> {
        let hop = Action::load(NEXT_HOP.whole(), route.via.to_bits().into());
        self.is_used(route).then(|| self.prefix_flow(route.to).apply([hop]).goto(NEIGHBOUR))
    }

    fn flows(&self) -> Vec<FlowEntry> {
        let ip = || Match::new().with(Field::EthType, IPV4);
        let arp = || Match::new().with(Field::EthType, ARP);
        let to_controller = Action::Controller { max_len: u16::MAX };
        let mut flows = Vec::new();
        for Interface { port, mac, address, .. } in &self.interfaces {
            let here = arp().with(Field::InPort, *port).with(Field::ArpTpa, *address);
            flows.extend([
                FlowEntry::new(CLASSIFY, 100)
                    .matching(here.clone().with(Field::ArpOp, 1u16))
                    .apply(arp_answer(*mac, *address)),
                FlowEntry::new(CLASSIFY, 100)
                    .matching(here.with(Field::ArpOp, 2u16))
                    .apply([to_controller.clone()]),
                FlowEntry::new(CLASSIFY, 100)
                    .matching(ip().with(Field::InPort, *port).with(Field::EthDst, *mac))
                    .goto(ROUTE),
                FlowEntry::new(ROUTE, 300)
                    .matching(
                        ip().with(Field::Ipv4Dst, *address)
                            .with(Field::IpProto, 1u8)
                            .with(Field::Icmpv4Type, 8u8)
                            .with(Field::Icmpv4Code, 0u8),
                    )
                    .apply(echo_answer()),
                // Nothing else is for the router itself.
                FlowEntry::new(ROUTE, 250).matching(ip().with(Field::Ipv4Dst, *address)),
            ]);
        }
        for ttl in [0u8, 1] {
            let over = ip().with(Field::IpTtl, ttl);
            flows.push(FlowEntry::new(ROUTE, 200).matching(over).apply([to_controller.clone()]));
        }
        // What the controller sends by the tables is routed like anything else.
        let own = ip().with(Field::InPort, OfPort::CONTROLLER);
        flows.push(FlowEntry::new(CLASSIFY, 100).matching(own).goto(ROUTE));
        for interface in &self.interfaces {
            let same = Action::move_field(Field::Ipv4Dst, NEXT_HOP);
            let mut direct = self.prefix_flow(interface.subnet()).apply([same]).goto(NEIGHBOUR);
            direct.priority += 1;
            flows.push(direct);
        }
        flows.extend(self.routes.iter().filter_map(|route| self.route_flow(route)));
        flows.push(FlowEntry::new(NEIGHBOUR, 0).apply([to_controller]));
        flows
    }

    fn neighbour_flow(&self, hop: Ipv4Addr, interface: &Interface, mac: MacAddr) -> FlowEntry {
        let to_it = Match::new().with(Field::EthType, IPV4).with(NEXT_HOP, hop.to_bits());
        FlowEntry::new(NEIGHBOUR, 100).matching(to_it).hard_timeout(self.neighbour_timeout).apply([
            Action::DecTtl,
            Action::set_field(Field::EthSrc, interface.mac),
            Action::set_field(Field::EthDst, mac),
            // A packet may leave where it came in, towards a better router on the same subnet; a plain output would not.
            Action::load(Field::InPort16.whole(), 0),
            Action::Output(interface.port),
        ])
    }

    fn packet(&mut self, packet: &PacketIn) -> Option<Effects> {
        let ethernet = packet.ethernet()?;
        match ethernet.eth_type {
            ARP => self.arp_reply(packet.in_port(), ethernet.payload),
            IPV4 => {
                let source = ipv4_at(ethernet.payload, 12)?;
                let destination = ipv4_at(ethernet.payload, 16)?;
                match packet.table {
                    ROUTE => self.time_exceeded(source, ethernet.payload),
                    NEIGHBOUR => self.unresolved(destination, packet.data.clone()),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn unresolved(&mut self, destination: Ipv4Addr, frame: Vec<u8>) -> Option<Effects> {
        let (_, hop) = self.next_hop(destination)?;
        let is_new = !self.asking.contains_key(&hop);
        let question = self.asking.entry(hop).or_default();
        if question.waiting.len() == WAITING {
            question.waiting.pop_front();
        }
        question.waiting.push_back(frame);
        Some(if is_new { self.ask(hop) } else { Effects::none() })
    }

    fn ask(&mut self, hop: Ipv4Addr) -> Effects {
        let mut effects = Effects::none();
        let timer = Timer::numbered(ASK, hop.to_bits().into());
        let Some(question) = self.asking.get_mut(&hop).filter(|question| question.attempts < ATTEMPTS) else {
            self.asking.remove(&hop);
            return effects;
        };
        question.attempts += 1;
        effects.set_timer(timer, Duration::from_secs(1));
        if let Some(interface) = self.interface_near(hop) {
            let request = Frame::arp_request(interface.mac, interface.address, hop);
            let out = vec![Action::Output(interface.port)];
            effects.push(self.switch, PacketOut::new(OfPort::CONTROLLER, out, request));
        }
        effects
    }

    fn arp_reply(&mut self, port: OfPort, body: &[u8]) -> Option<Effects> {
        let (mac, hop) = (MacAddr(*body.get(8..)?.first_chunk()?), ipv4_at(body, 14)?);
        let interface = *self.interfaces.iter().find(|interface| interface.port == port)?;
        if mac.is_multicast() || !interface.subnet().contains(hop.into()) {
            return None;
        }
        // Nobody asked: it might be anybody who wants the traffic.
        let question = self.asking.remove(&hop)?;
        let mut effects = Effects::add_flows(self.switch, [self.neighbour_flow(hop, &interface, mac)]);
        effects.stop_timer(Timer::numbered(ASK, hop.to_bits().into()));
        for frame in question.waiting {
            let again = PacketOut::new(OfPort::CONTROLLER, vec![Action::Output(OfPort::TABLE)], frame);
            effects.push(self.switch, again);
        }
        Some(effects)
    }

    /// ICMP time exceeded in transit, RFC 792, with the header and eight bytes of what was dropped.
    fn time_exceeded(&self, source: Ipv4Addr, packet: &[u8]) -> Option<Effects> {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        let (protocol, kind) = (*packet.get(9)?, packet.get(header).copied());
        // About an error no error is sent, RFC 1122 §3.2.2.
        if protocol == 1 && !matches!(kind, Some(0 | 8 | 13 | 14)) {
            return None;
        }
        let (interface, _) = self.next_hop(source)?;
        let quoted = packet.get(..packet.len().min(header + 8))?;
        let (from, to): (IpAddr, IpAddr) = (interface.address.into(), source.into());
        let frame =
            Frame::between(interface.mac, interface.mac).ip(from, to).icmp(11, 0, [0; 4]).payload(quoted);
        let out = vec![Action::Output(OfPort::TABLE)];
        Some(Effects::send(self.switch, PacketOut::new(OfPort::CONTROLLER, out, frame.build())))
    }
}

/// Makes an ARP request its own answer.
fn arp_answer(mac: MacAddr, address: Ipv4Addr) -> [Action; 8] {
    [
        Action::move_field(Field::EthSrc, Field::EthDst),
        Action::set_field(Field::EthSrc, mac),
        Action::set_field(Field::ArpOp, 2u16),
        Action::move_field(Field::ArpSha, Field::ArpTha),
        Action::set_field(Field::ArpSha, mac),
        Action::move_field(Field::ArpSpa, Field::ArpTpa),
        Action::set_field(Field::ArpSpa, address),
        Action::Output(OfPort::IN_PORT),
    ]
}

/// Makes an echo request its own answer: both pairs of addresses change sides, by way of the stack.
fn echo_answer() -> [Action; 10] {
    let (ip_src, ip_dst) = (Field::Ipv4Src.whole(), Field::Ipv4Dst.whole());
    let (eth_src, eth_dst) = (Field::EthSrc.whole(), Field::EthDst.whole());
    [
        Action::StackPush(ip_src),
        Action::RegMove { src: ip_dst, dst: ip_src },
        Action::StackPop(ip_dst),
        Action::StackPush(eth_src),
        Action::RegMove { src: eth_dst, dst: eth_src },
        Action::StackPop(eth_dst),
        Action::set_field(Field::Icmpv4Type, 0u8),
        Action::set_field(Field::Icmpv4Code, 0u8),
        Action::SetNwTtl(64),
        Action::Output(OfPort::IN_PORT),
    ]
}

fn ipv4_at(bytes: &[u8], place: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(place..)?.first_chunk::<4>()?))
}

impl Application for SimpleRouter {
    type Notice = ();

    fn handle(&mut self, _now: Duration, event: &Event) -> Effects {
        match event {
            Event::SwitchUp(switch, _) if *switch == self.switch => {
                let forget = FlowMod::new(FlowModCommand::Delete, TableId::ALL);
                let mut effects = Effects::send(*switch, forget);
                effects.append(Effects::add_flows(*switch, self.flows()));
                effects
            }
            Event::PacketIn(switch, packet) if *switch == self.switch => {
                self.packet(packet).unwrap_or_default()
            }
            Event::Timer(Timer { name: ASK, number }) => self.ask(Ipv4Addr::from_bits(*number as u32)),
            _ => Effects::none(),
        }
    }
}
