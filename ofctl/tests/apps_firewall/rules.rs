//! Many rules, and the packets at which they change their mind.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ofctl::acl::{Headers, PortRange, Prefix, Protocol, Rule, Side, Verdict};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % limit
    }

    fn prefix(&mut self) -> Prefix {
        let address = [10, self.below(4) as u8, self.below(4) as u8, self.below(8) as u8];
        let length = [16, 22, 24, 29, 31, 32][self.below(6) as usize];
        Prefix::new(IpAddr::from(address), length).unwrap()
    }

    fn range(&mut self) -> PortRange {
        let (a, b) = match self.below(3) {
            0 => (self.below(65536), self.below(65536)),
            1 => (self.below(1100), self.below(1100)),
            _ => {
                let first = self.below(65000);
                (first, first + self.below(500))
            }
        };
        PortRange { first: a.min(b) as u16, last: a.max(b) as u16 }
    }

    fn side(&mut self, most_ranges: u64) -> Side {
        let prefixes = (0..self.below(4)).map(|_| self.prefix()).collect();
        Side { prefixes, ports: (0..self.below(most_ranges + 1)).map(|_| self.range()).collect() }
    }

    fn rule(&mut self) -> Rule {
        let protocol = [Protocol::TCP, Protocol::UDP, Protocol::UDP][self.below(3) as usize];
        let verdict = [Verdict::Allow, Verdict::Deny][self.below(2) as usize];
        let (source, mut destination) = (self.side(2), self.side(3));
        if source.prefixes.is_empty() && destination.prefixes.is_empty() {
            // Of IPv4 alone, and not of everything.
            destination.prefixes.push(self.prefix());
        }
        Rule { priority: self.below(100) as u16, verdict, protocol, source, destination }
    }
}

/// `count` rules, the same for the same seed.
pub(crate) fn rules(seed: u64, count: usize) -> Vec<Rule> {
    let mut random = Random(seed);
    (0..count).map(|_| random.rule()).collect()
}

/// The first and last port of each range, and those beside them.
fn port_edges(side: &Side) -> Vec<u16> {
    let edges = side.ports.iter().flat_map(|range| {
        [range.first.checked_sub(1), Some(range.first), Some(range.last), range.last.checked_add(1)]
    });
    edges.flatten().collect()
}

/// The first and last address of each prefix, and those beside them.
fn address_edges(side: &Side) -> Vec<IpAddr> {
    let mut edges = Vec::new();
    for prefix in &side.prefixes {
        let IpAddr::V4(first) = prefix.address() else { panic!("these rules are of IPv4") };
        let (first, last) = (first.to_bits(), first.to_bits() | !(prefix.mask() as u32));
        edges.extend([first - 1, first, last, last + 1].map(|address| IpAddr::V4(address.into())));
    }
    edges
}

/// The packets at every edge of every range and prefix of a rule, the other headers being such that it takes them.
pub(crate) fn edges(rule: &Rule) -> BTreeSet<Headers> {
    let Protocol::Number(protocol) = rule.protocol else { panic!("these rules name a protocol") };
    let inside =
        |side: &Side| side.prefixes.first().map_or(IpAddr::from([10, 1, 1, 1]), |prefix| prefix.address());
    let port = |side: &Side| side.ports.first().map_or(40_000, |range| range.first);
    let (source, destination) = (&rule.source, &rule.destination);
    let base = Headers {
        source: inside(source),
        destination: inside(destination),
        protocol,
        ports: Some((port(source), port(destination))),
    };
    let mut packets = BTreeSet::from([base]);
    packets.extend(address_edges(source).into_iter().map(|source| Headers { source, ..base }));
    packets.extend(address_edges(destination).into_iter().map(|destination| Headers { destination, ..base }));
    let with = |from: u16, to: u16| Headers { ports: Some((from, to)), ..base };
    packets.extend(port_edges(source).into_iter().map(|from| with(from, port(destination))));
    packets.extend(port_edges(destination).into_iter().map(|to| with(port(source), to)));
    // Corners, where both ports are at an edge.
    for from in port_edges(source) {
        packets.extend(port_edges(destination).into_iter().map(|to| with(from, to)));
    }
    packets
}
