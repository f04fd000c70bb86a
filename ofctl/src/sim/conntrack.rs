//! Connection tracking, as Open vSwitch's userspace datapath does it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::layout::{Layer3, Layout};
use super::nat::{self, NatSpec};
use super::tcp::{Segment, Tcp};
use super::verify::verify_checksums;

/// Bits of `ct_state`, ovs-fields(7).
pub(super) mod state {
    pub(in crate::sim) const NEW: u8 = 0x01;
    pub(in crate::sim) const ESTABLISHED: u8 = 0x02;
    pub(in crate::sim) const RELATED: u8 = 0x04;
    pub(in crate::sim) const REPLY: u8 = 0x08;
    pub(in crate::sim) const INVALID: u8 = 0x10;
    pub(in crate::sim) const TRACKED: u8 = 0x20;
    pub(in crate::sim) const SOURCE_NAT: u8 = 0x40;
    pub(in crate::sim) const DESTINATION_NAT: u8 = 0x80;
    pub(in crate::sim) const NAT: u8 = SOURCE_NAT | DESTINATION_NAT;
}

/// How long a connection lives after its last packet, by what it last did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    TcpFirst,
    TcpOpening,
    TcpEstablished,
    TcpClosing,
    TcpFinWait,
    TcpClosed,
    OtherFirst,
    OtherMultiple,
    OtherBidirectional,
    IcmpFirst,
    IcmpReply,
}

impl Lifetime {
    /// Open vSwitch's default timeout policy.
    fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Lifetime::TcpFirst | Lifetime::TcpOpening | Lifetime::TcpClosed => 30,
            Lifetime::TcpEstablished => 24 * 60 * 60,
            Lifetime::TcpClosing => 15 * 60,
            Lifetime::TcpFinWait => 45,
            Lifetime::OtherFirst | Lifetime::OtherMultiple | Lifetime::IcmpFirst => 60,
            Lifetime::OtherBidirectional | Lifetime::IcmpReply => 30,
        })
    }
}

/// What a packet means to the connection that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    Valid,
    /// The connection is as new as it was.
    StillNew,
    /// The connection was over, and this begins another.
    New,
    Invalid,
}

/// One end of a connection as a packet shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    /// Port, or identifier of an ICMP query.
    pub(super) port: u16,
    /// Type of an ICMP query as this end sends it.
    icmp_type: u8,
}

/// What identifies a connection in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    zone: u16,
    pub(super) protocol: u8,
    pub(super) src: Endpoint,
    pub(super) dst: Endpoint,
}

impl Tuple {
    pub(super) fn reversed(self) -> Tuple {
        Tuple { src: self.dst, dst: self.src, ..self }
    }

    /// As the fields `ct_tp_src` and `ct_tp_dst` show the ports: ICMP type and code.
    fn shown_ports(&self) -> (u16, u16) {
        match self.is_icmp() {
            true => (self.src.icmp_type.into(), 0),
            false => (self.src.port, self.dst.port),
        }
    }

    fn is_icmp(&self) -> bool {
        self.protocol == if self.src.address.is_ipv4() { 1 } else { 58 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp(Tcp),
    /// Whether the other end replied.
    Icmp(bool),
    Other {
        multiple: bool,
        replied: bool,
    },
}

#[derive(Debug, Clone)]
struct Connection {
    /// As the first packet was, and as replies are.
    forward: Tuple,
    backward: Tuple,
    protocol: Protocol,
    expires: Duration,
    mark: u32,
    label: u128,
    nat: Option<nat::Direction>,
}

/// What tracking said of a packet: its metadata in the datapath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tracked {
    /// `ct_state`; 0 if the packet was not tracked.
    pub(super) state: u8,
    pub(super) zone: u16,
    pub(super) mark: u32,
    pub(super) label: u128,
    /// The connection's first packet: protocol, addresses and ports.
    pub(super) original: Option<(u8, IpAddr, IpAddr, u16, u16)>,
    /// The connection that an earlier `ct` found, whether the packet replies, and whether it only relates to it.
    cached: Option<(ConnectionId, bool, bool)>,
}

/// What a `ct` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Request {
    pub(super) zone: u16,
    pub(super) commit: bool,
    pub(super) force: bool,
    /// Value and mask.
    pub(super) mark: Option<(u32, u32)>,
    pub(super) label: Option<(u128, u128)>,
    pub(super) nat: Option<NatSpec>,
}

/// Every connection that a switch knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {
    connections: BTreeMap<ConnectionId, Connection>,
    /// By both tuples; true for the replies'.
    tuples: HashMap<Tuple, (ConnectionId, bool)>,
    /// No connection goes before this; it may be too early, which costs time only.
    earliest: Option<Duration>,
    next: u64,
}

/// A packet as the tracker reads it.
struct Reading {
    tuple: Tuple,
    /// The packet is an ICMP error about a packet of the connection.
    related: bool,
    segment: Option<Segment>,
}

impl Connections {
    /// A time before which no connection goes.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.earliest
    }

    /// Forgets the connections whose time is over.
    pub(super) fn expire(&mut self, now: Duration) {
        self.retain(|connection| connection.expires > now);
        self.earliest = self.connections.values().map(|connection| connection.expires).min();
    }

    /// Forgets the connections of a zone.
    pub(super) fn flush(&mut self, zone: u16) {
        self.retain(|connection| connection.forward.zone != zone);
    }

    fn retain(&mut self, keep: impl Fn(&Connection) -> bool) {
        self.connections.retain(|_, connection| keep(connection));
        let connections = &self.connections;
        self.tuples.retain(|_, (id, _)| connections.contains_key(id));
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(gone) = self.connections.remove(&id) {
            self.tuples.remove(&gone.forward);
            self.tuples.remove(&gone.backward);
        }
    }

    pub(super) fn knows(&self, tuple: &Tuple) -> bool {
        self.tuples.contains_key(tuple)
    }

    /// Tracks a packet: its metadata changes, and its bytes too if it is translated.
    pub(super) fn track(
        &mut self,
        frame: &mut Vec<u8>,
        seen: &mut Tracked,
        request: &Request,
        now: Duration,
    ) {
        let zone = request.zone;
        if let Some((id, reply, related)) = seen.cached
            && !request.force
            && self.connections.get(&id).is_some_and(|connection| connection.forward.zone == zone)
        {
            // The packet was followed already; a second time would count it twice.
            return self.again(frame, seen, request, id, reply, related);
        }
        let Some(mut reading) = read(frame, zone) else {
            *seen = Tracked { state: state::INVALID | state::TRACKED, zone, ..Tracked::default() };
            return;
        };
        if seen.zone != zone {
            seen.state = 0;
        }
        seen.state &= !state::TRACKED;
        let (mut found, mut reply) = self.find(&mut reading.tuple, seen.state & state::NAT != 0);
        if let (true, true, Some(id)) = (request.force, reply, found) {
            self.remove(id);
            found = None;
        }
        let mut begins = false;
        if let Some(id) = found {
            begins = self.update(id, &reading, reply, seen, now);
            if request.nat.is_some() && !begins {
                self.translate(frame, seen, id, zone, reply, reading.related);
            }
        } else if let (Some(id), true) = (self.by_original(&reading, seen), request.nat.is_none()) {
            found = Some(id);
            begins = self.update(id, &reading, reply, seen, now);
        } else if reading.related {
            seen.state = state::INVALID;
        } else {
            begins = true;
        }
        if begins && !self.knows(&reading.tuple) {
            found = self.begin(frame, &reading, seen, request, now);
            reply = false;
        }
        seen.state |= state::TRACKED;
        seen.zone = zone;
        let connection = found.and_then(|id| self.connections.get_mut(&id));
        let tuple = connection.as_ref().map_or(reading.tuple, |connection| connection.forward);
        let (src, dst) = tuple.shown_ports();
        seen.original = Some((tuple.protocol, tuple.src.address, tuple.dst.address, src, dst));
        (seen.mark, seen.label) = connection.as_ref().map_or((0, 0), |known| (known.mark, known.label));
        if let Some(connection) = connection {
            connection.set(seen, request);
        }
        seen.cached = match request.nat {
            None => found.map(|id| (id, reply, reading.related)),
            Some(_) => None,
        };
    }

    /// A second `ct` of one zone.
    fn again(
        &mut self,
        frame: &mut Vec<u8>,
        seen: &mut Tracked,
        request: &Request,
        id: ConnectionId,
        reply: bool,
        related: bool,
    ) {
        if request.nat.is_some() {
            self.translate(frame, seen, id, request.zone, reply, related);
            seen.cached = None;
        }
        seen.zone = request.zone;
        if let Some(connection) = self.connections.get_mut(&id) {
            (seen.mark, seen.label) = (connection.mark, connection.label);
            connection.set(seen, request);
        }
    }

    /// The connection of a tuple, and whether the packet replies. A packet that was translated already is found
    /// by the tuple that its replies will have; the tuple becomes the one it had before.
    fn find(&self, tuple: &mut Tuple, translated: bool) -> (Option<ConnectionId>, bool) {
        if !translated {
            return self.tuples.get(tuple).map_or((None, false), |&(id, reply)| (Some(id), reply));
        }
        let Some(&(id, reply)) = self.tuples.get(&tuple.reversed()) else { return (None, false) };
        let connection = &self.connections[&id];
        *tuple = if reply { connection.forward } else { connection.backward };
        (Some(id), !reply)
    }

    /// The connection that a translated packet was of before its ports were changed.
    fn by_original(&self, reading: &Reading, seen: &Tracked) -> Option<ConnectionId> {
        let (protocol, src, dst, src_port, dst_port) =
            seen.original.filter(|_| seen.state & state::NAT != 0)?;
        let mut tuple = Tuple { zone: seen.zone, protocol, ..reading.tuple };
        (tuple.src.address, tuple.dst.address) = (src, dst);
        if tuple.is_icmp() {
            tuple.src.icmp_type = src_port as u8;
            tuple.dst.icmp_type = answer(src.is_ipv4(), src_port as u8)?;
        } else {
            (tuple.src.port, tuple.dst.port) = (src_port, dst_port);
        }
        self.tuples.get(&tuple).map(|&(id, _)| id)
    }

    /// Follows a packet of a known connection; true if it begins another.
    fn update(
        &mut self,
        id: ConnectionId,
        reading: &Reading,
        reply: bool,
        seen: &mut Tracked,
        now: Duration,
    ) -> bool {
        let direction = if reply { state::REPLY } else { 0 };
        if reading.related {
            seen.state |= state::RELATED | direction;
            return false;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let (update, lifetime) = connection.protocol.update(reading, reply);
        if let Some(lifetime) = lifetime {
            connection.expires = now + lifetime.duration();
            self.earliest = self.earliest.min(Some(connection.expires));
        }
        match update {
            Update::Valid => seen.state = (seen.state | state::ESTABLISHED | direction) & !state::NEW,
            Update::StillNew => seen.state |= state::NEW,
            Update::Invalid => seen.state = state::INVALID,
            Update::New => self.remove(id),
        }
        update == Update::New
    }

    /// Begins a connection, or only says that it is new.
    fn begin(
        &mut self,
        frame: &mut Vec<u8>,
        reading: &Reading,
        seen: &mut Tracked,
        request: &Request,
        now: Duration,
    ) -> Option<ConnectionId> {
        let Some((protocol, lifetime)) = Protocol::new(reading) else {
            seen.state = state::INVALID;
            return None;
        };
        seen.state = state::NEW;
        if !request.commit {
            return None;
        }
        let forward = reading.tuple;
        let mut backward = forward.reversed();
        if let Some(spec) = &request.nat {
            backward = nat::choose(self, &forward, spec)?;
        }
        let connection = Connection {
            forward,
            backward,
            protocol,
            expires: now + lifetime.duration(),
            mark: 0,
            label: 0,
            nat: request.nat.and_then(|spec| spec.direction),
        };
        let id = ConnectionId(self.next);
        self.next += 1;
        self.tuples.insert(forward, (id, false));
        self.tuples.insert(backward, (id, true));
        self.earliest = [self.earliest, Some(connection.expires)].into_iter().flatten().min();
        self.connections.insert(id, connection);
        if request.nat.is_some() {
            self.rewrite(frame, seen, id, false, false);
        }
        Some(id)
    }

    /// Translates a packet, unless that was done in this zone before.
    fn translate(
        &self,
        frame: &mut Vec<u8>,
        seen: &mut Tracked,
        id: ConnectionId,
        zone: u16,
        reply: bool,
        related: bool,
    ) {
        let translated = seen.state & state::NAT != 0;
        if !translated || seen.zone != zone {
            seen.state &= !state::NAT;
            self.rewrite(frame, seen, id, reply, related);
        }
    }

    fn rewrite(&self, frame: &mut Vec<u8>, seen: &mut Tracked, id: ConnectionId, reply: bool, related: bool) {
        let connection = &self.connections[&id];
        let Some(direction) = connection.nat else { return };
        let direction = if reply { direction.reversed() } else { direction };
        seen.state |= match direction {
            nat::Direction::Source => state::SOURCE_NAT,
            nat::Direction::Destination => state::DESTINATION_NAT,
        };
        // The packet becomes what the other end sends its replies to.
        let wanted = if reply { connection.forward } else { connection.backward }.reversed();
        nat::rewrite(frame, &wanted, direction, related);
    }
}

impl Connection {
    fn set(&mut self, seen: &mut Tracked, request: &Request) {
        if let Some((value, mask)) = request.mark {
            self.mark = value | seen.mark & !mask;
            seen.mark = self.mark;
        }
        if let Some((value, mask)) = request.label {
            self.label = value | seen.label & !mask;
            seen.label = self.label;
        }
    }
}

impl Protocol {
    /// What a first packet begins; `None` if it may not begin anything.
    fn new(reading: &Reading) -> Option<(Protocol, Lifetime)> {
        let tuple = &reading.tuple;
        Some(match reading.segment {
            Some(segment) if segment.may_begin() => (Protocol::Tcp(Tcp::new(&segment)), Lifetime::TcpFirst),
            Some(_) => return None,
            None if tuple.is_icmp() => {
                let asks: &[u8] = if tuple.src.address.is_ipv4() { &[8, 13, 15] } else { &[128] };
                if !asks.contains(&tuple.src.icmp_type) {
                    return None;
                }
                (Protocol::Icmp(false), Lifetime::IcmpFirst)
            }
            None => (Protocol::Other { multiple: false, replied: false }, Lifetime::OtherFirst),
        })
    }

    fn update(&mut self, reading: &Reading, reply: bool) -> (Update, Option<Lifetime>) {
        match self {
            Protocol::Tcp(tcp) => match &reading.segment {
                Some(segment) => tcp.update(segment, reply),
                None => (Update::Invalid, None),
            },
            Protocol::Icmp(replied) => {
                *replied |= reply;
                match *replied {
                    true => (Update::Valid, Some(Lifetime::IcmpReply)),
                    false => (Update::StillNew, Some(Lifetime::IcmpFirst)),
                }
            }
            Protocol::Other { multiple, replied } => {
                *replied |= reply;
                *multiple = true;
                match *replied {
                    true => (Update::Valid, Some(Lifetime::OtherBidirectional)),
                    false => (Update::StillNew, Some(Lifetime::OtherMultiple)),
                }
            }
        }
    }
}

/// The type of the answer to an ICMP query, or of the query to an answer.
fn answer(v4: bool, kind: u8) -> Option<u8> {
    Some(match (v4, kind) {
        (true, 0) => 8,
        (true, 8) => 0,
        (true, 13) => 14,
        (true, 14) => 13,
        (true, 15) => 16,
        (true, 16) => 15,
        (false, 128) => 129,
        (false, 129) => 128,
        _ => return None,
    })
}

/// Reads what identifies a packet's connection; `None` if the packet is not as it should be.
fn read(frame: &[u8], zone: u16) -> Option<Reading> {
    let (layout, key) = Layout::parse(frame);
    let l3 = layout.l3?;
    let (src, dst) = super::packet::addresses(&key)?;
    if !matches!(layout.layer3, Layer3::Ipv4 { .. } | Layer3::Ipv6) || key.is_fragment() {
        return None;
    }
    // Others than these have no checksum that the tracker looks at.
    if verify_checksums(frame).is_err_and(|wrong| wrong.header != "SCTP") {
        return None;
    }
    let protocol = layout.protocol;
    let plain = |address: IpAddr| Endpoint { address, port: 0, icmp_type: 0 };
    let mut tuple = Tuple { zone, protocol, src: plain(src), dst: plain(dst) };
    let l4 = layout.l4.map(|l4| &frame[l4..layout.end]);
    let mut segment = None;
    match protocol {
        6 | 17 => {
            let bytes = l4?;
            if protocol == 6 {
                segment = Some(Segment::read(bytes)?);
            } else if !(8..=bytes.len()).contains(&usize::from(u16::from_be_bytes([bytes[4], bytes[5]]))) {
                return None;
            }
            (tuple.src.port, tuple.dst.port) = ports(bytes)?;
        }
        _ if tuple.is_icmp() => {
            let bytes = l4?;
            let kind = bytes[0];
            let errors: &[u8] = if src.is_ipv4() { &[3, 4, 5, 11, 12] } else { &[1, 2, 3, 4] };
            if errors.contains(&kind) {
                let inner = inner_tuple(&frame[..layout.end], layout.l4? + 8, l3, zone)?;
                if inner.src.address != dst {
                    return None;
                }
                return Some(Reading { tuple: inner.reversed(), related: true, segment: None });
            }
            icmp(&mut tuple, bytes)?;
        }
        _ => {}
    }
    Some(Reading { tuple, related: false, segment })
}

/// Both ports; none of them may be 0.
fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d] = bytes.first_chunk()?;
    let (src, dst) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    (src != 0 && dst != 0).then_some((src, dst))
}

/// An ICMP query is known by its identifier.
fn icmp(tuple: &mut Tuple, bytes: &[u8]) -> Option<()> {
    let &[kind, code, _, _, a, b] = bytes.first_chunk()?;
    let other = answer(tuple.src.address.is_ipv4(), kind).filter(|_| code == 0)?;
    let identifier = u16::from_be_bytes([a, b]);
    (tuple.src.port, tuple.dst.port) = (identifier, identifier);
    (tuple.src.icmp_type, tuple.dst.icmp_type) = (kind, other);
    Some(())
}

/// The tuple of the packet that an ICMP error quotes; its last bytes may be missing.
fn inner_tuple(frame: &[u8], at: usize, outer: usize, zone: u16) -> Option<Tuple> {
    let quoted = frame.get(at..)?;
    let (v4, protocol, l4) = if frame[outer] >> 4 == 4 {
        let header = usize::from(quoted.first()? & 15) * 4;
        let fragment = u16::from_be_bytes([*quoted.get(6)?, *quoted.get(7)?]) & 0x3fff;
        if quoted[0] >> 4 != 4 || header < 20 || fragment != 0 {
            return None;
        }
        (true, *quoted.get(9)?, quoted.get(header..)?)
    } else {
        if quoted.first()? >> 4 != 6 {
            return None;
        }
        (false, *quoted.get(6)?, quoted.get(40..)?)
    };
    let address = |at: usize| -> Option<IpAddr> {
        Some(match v4 {
            true => IpAddr::from(*quoted.get(at..)?.first_chunk::<4>()?),
            false => IpAddr::from(*quoted.get(at..)?.first_chunk::<16>()?),
        })
    };
    let (src, dst) = if v4 { (address(12)?, address(16)?) } else { (address(8)?, address(24)?) };
    let plain = |address: IpAddr| Endpoint { address, port: 0, icmp_type: 0 };
    let mut tuple = Tuple { zone, protocol, src: plain(src), dst: plain(dst) };
    // RFC 792 quotes eight bytes at least.
    l4.get(..8)?;
    match protocol {
        6 | 17 => (tuple.src.port, tuple.dst.port) = ports(l4)?,
        _ if tuple.is_icmp() => icmp(&mut tuple, l4)?,
        _ => {}
    }
    Some(tuple)
}
