//! Address translation of tracked connections, as Open vSwitch's userspace datapath does it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::conntrack::{Connections, Tuple};
use super::hash;
use super::packet::Packet;
use crate::packet::checksum::{internet, updated, upper_layer};
use crate::wire::{Field, Nat, NatFlags, OfPort};

/// Ports tried for one connection at most, in a row.
const ATTEMPTS: u32 = 128;

/// Which address is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Source,
    Destination,
}

impl Direction {
    /// As replies are translated.
    pub(super) fn reversed(self) -> Direction {
        match self {
            Direction::Source => Direction::Destination,
            Direction::Destination => Direction::Source,
        }
    }
}

/// What a `nat` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NatSpec {
    /// `None` as the connection has it.
    pub(super) direction: Option<Direction>,
    /// First and last address.
    addresses: Option<(IpAddr, IpAddr)>,
    ports: Option<(u16, u16)>,
}

impl NatSpec {
    /// The flags `persistent`, `hash` and `random` change nothing: the userspace datapath always hashes, and what
    /// it hashes is the same for a connection.
    pub(super) fn new(nat: &Nat) -> Self {
        let direction = if nat.flags.contains(NatFlags::SRC) {
            Some(Direction::Source)
        } else if nat.flags.contains(NatFlags::DST) {
            Some(Direction::Destination)
        } else {
            None
        };
        let range = nat.range.as_ref();
        NatSpec {
            direction,
            addresses: range.map(|range| (range.first, range.last.unwrap_or(range.first))),
            ports: range.and_then(|range| range.ports).map(|(first, last)| (first, last.unwrap_or(first))),
        }
    }
}

/// A hash of a connection, by which addresses and ports are chosen. Open vSwitch begins it at random when it starts;
/// here it begins at zero, so that a test sees the same each time.
fn connection_hash(tuple: &Tuple) -> u32 {
    let words = |hash: u32, address: IpAddr| match address {
        IpAddr::V4(address) => hash::add(hash, address.to_bits()),
        IpAddr::V6(address) => address.octets().chunks_exact(4).fold(hash, |hash, word| {
            hash::add(hash, u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
        }),
    };
    let mut hash = words(words(0, tuple.src.address), tuple.dst.address);
    hash = hash::add(hash, u32::from(tuple.src.port) << 16 | u32::from(tuple.dst.port));
    hash::finish(hash::add(hash, tuple.protocol.into()), 0)
}

/// The address of a range that a hash names. Of IPv6 ranges the first 2³² addresses count.
fn pick((first, last): (IpAddr, IpAddr), hash: u32) -> IpAddr {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let size = u64::from(last.to_bits().saturating_sub(first.to_bits())) + 1;
            Ipv4Addr::from_bits(first.to_bits().wrapping_add((u64::from(hash) % size) as u32)).into()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let size = last.to_bits().saturating_sub(first.to_bits()).min(0xffff_fffe) + 1;
            Ipv6Addr::from_bits(first.to_bits().wrapping_add(u128::from(hash) % size)).into()
        }
        _ => first,
    }
}

/// The source ports among which another is sought if the packet's own is taken: those of its kind.
fn like(port: u16) -> (u16, u16) {
    match port {
        0..512 => (1, 511),
        512..1024 => (600, 1023),
        _ => (1024, 65535),
    }
}

/// The tuple that the replies of a new connection will have; `None` if no free one is found.
pub(super) fn choose(known: &Connections, forward: &Tuple, spec: &NatSpec) -> Option<Tuple> {
    let mut backward = forward.reversed();
    let Some(direction) = spec.direction else { return Some(backward) };
    let hash = connection_hash(forward);
    if let Some(range) = spec.addresses {
        let address = pick(range, hash);
        match direction {
            Direction::Source => backward.dst.address = address,
            Direction::Destination => backward.src.address = address,
        }
    }
    if !matches!(forward.protocol, 6 | 17) {
        return (!known.knows(&backward)).then_some(backward);
    }
    let within = |(first, last): (u16, u16)| first + (hash % (u32::from(last - first) + 1)) as u16;
    let own = (forward.src.port, like(forward.src.port));
    let (source, sources) = match (direction, spec.ports) {
        (Direction::Source, Some(range)) => (within(range), range),
        _ => own,
    };
    backward.dst.port = source;
    if let (Direction::Destination, Some(range)) = (direction, spec.ports) {
        backward.src.port = within(range);
        let free = free_port(known, range, within(range), |port| {
            let mut tried = backward;
            tried.src.port = port;
            tried
        });
        if free.is_some() {
            return free;
        }
    }
    free_port(known, sources, source, |port| {
        let mut tried = backward;
        tried.dst.port = port;
        tried
    })
}

/// Tries the ports of a range, from one of them on and round.
fn free_port(
    known: &Connections,
    (first, last): (u16, u16),
    start: u16,
    with: impl Fn(u16) -> Tuple,
) -> Option<Tuple> {
    let size = u32::from(last - first) + 1;
    let tuples = (0..size.min(ATTEMPTS)).map(|step| {
        let offset = (u32::from(start.wrapping_sub(first)) + step) % size;
        with(first + offset as u16)
    });
    tuples.into_iter().find(|tuple| !known.knows(tuple))
}

/// Gives a packet the wanted address, and the wanted ports if it has any. An ICMP error has the packet that it
/// quotes translated too, the other way round.
pub(super) fn rewrite(frame: &mut Vec<u8>, wanted: &Tuple, direction: Direction, related: bool) {
    let mut packet = Packet::new(OfPort(0), std::mem::take(frame));
    let (src, dst) = match wanted.src.address {
        IpAddr::V4(_) => (Field::Ipv4Src, Field::Ipv4Dst),
        IpAddr::V6(_) => (Field::Ipv6Src, Field::Ipv6Dst),
    };
    let mut set = |field: Field, address: IpAddr| match address {
        IpAddr::V4(address) => packet.key.put(field, address),
        IpAddr::V6(address) => packet.key.put(field, address),
    };
    match direction {
        Direction::Source => set(src, wanted.src.address),
        Direction::Destination => set(dst, wanted.dst.address),
    }
    let ports = match wanted.protocol {
        6 => Some((Field::TcpSrc, Field::TcpDst)),
        17 => Some((Field::UdpSrc, Field::UdpDst)),
        _ => None,
    };
    if let (Some((src, dst)), false) = (ports, related) {
        packet.key.put(src, wanted.src.port);
        packet.key.put(dst, wanted.dst.port);
    }
    packet.commit();
    let layout = packet.rewriter.layout;
    *frame = packet.rewriter.frame;
    if let (true, Some(l3), Some(l4)) = (related, layout.l3, layout.l4) {
        rewrite_quoted(&mut frame[..layout.end], l3, l4, wanted, direction.reversed());
    }
}

/// The packet that an ICMP error quotes went the other way.
fn rewrite_quoted(packet: &mut [u8], l3: usize, l4: usize, wanted: &Tuple, direction: Direction) {
    let quoted = l4 + 8;
    let v4 = wanted.src.address.is_ipv4();
    let (length, source) = if v4 { (4, 12) } else { (16, 8) };
    let (at, address) = match direction {
        Direction::Source => (source, wanted.dst.address),
        Direction::Destination => (source + length, wanted.src.address),
    };
    let inner = quoted + if v4 { usize::from(packet[quoted] & 15) * 4 } else { 40 };
    // The quoted packet's own checksums follow, as far as they are quoted.
    let checksum = match wanted.protocol {
        6 => Some(inner + 16).filter(|at| at + 4 <= packet.len()),
        17 => Some(inner + 6).filter(|&at| packet[at..at + 2] != [0, 0]),
        _ => None,
    };
    let mut replace = |at: usize, new: &[u8], sums: &[usize]| {
        let old = packet[at..at + new.len()].to_vec();
        packet[at..at + new.len()].copy_from_slice(new);
        for &sum in sums {
            let before = u16::from_be_bytes([packet[sum], packet[sum + 1]]);
            let after = match updated(before, &old, new) {
                // Of UDP zero would say that there is no checksum, RFC 768.
                0 if wanted.protocol == 17 && Some(sum) == checksum => 0xffff,
                other => other,
            };
            packet[sum..sum + 2].copy_from_slice(&after.to_be_bytes());
        }
    };
    let upper: Vec<usize> = checksum.into_iter().collect();
    if matches!(wanted.protocol, 6 | 17) {
        replace(inner, &wanted.dst.port.to_be_bytes(), &upper);
        replace(inner + 2, &wanted.src.port.to_be_bytes(), &upper);
    }
    match address {
        IpAddr::V4(address) => {
            let sums: Vec<usize> = upper.into_iter().chain([quoted + 10]).collect();
            replace(quoted + at, &address.octets(), &sums);
        }
        IpAddr::V6(address) => replace(quoted + at, &address.octets(), &upper),
    }
    packet[l4 + 2..l4 + 4].fill(0);
    let sum = if v4 {
        internet(&[&packet[l4..]])
    } else {
        upper_layer(&packet[l3 + 8..l3 + 40], 58, &packet[l4..])
    };
    packet[l4 + 2..l4 + 4].copy_from_slice(&sum.to_be_bytes());
}
