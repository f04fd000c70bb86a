//! Random packets from a seed: honest and forged, out of few addresses, so that they meet.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::MacAddr;
use ofctl::packet::Frame;
use ofctl::sim::Tunnel;
use ofctl::wire::OfPort;

use super::bridge::{Bridge, Kind, hex};
use crate::lab::Endpoint;

/// SplitMix64: good enough, and the same everywhere.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[(self.next() % of.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// An endpoint, and where it lives.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) network: usize,
    pub(super) host: usize,
    /// Its port there.
    pub(super) port: OfPort,
    pub(super) endpoint: Endpoint,
}

/// The addresses that a packet may carry.
#[derive(Debug, Clone, Copy)]
struct Party {
    network: usize,
    mac: MacAddr,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

/// A frame, and where it comes in.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) in_port: OfPort,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) frame: Vec<u8>,
}

impl fmt::Display for Packet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "in_port={}, tunnel {:?}, {}", self.in_port, self.tunnel, hex(&self.frame))
    }
}

/// What packets for one bridge are drawn from.
#[derive(Debug)]
pub(super) struct Packets {
    /// The bridge's endpoints.
    local: Vec<(OfPort, Party)>,
    everybody: Vec<Party>,
    /// By network, for those that have one.
    tunnels: BTreeMap<usize, OfPort>,
    trunks: Vec<OfPort>,
    here: IpAddr,
    peer: IpAddr,
    outsider: IpAddr,
}

impl Packets {
    /// For the bridge of this host, between whose underlay address and its peer's tunnel packets go.
    pub(super) fn new(
        host: usize,
        residents: &[Resident],
        bridge: &Bridge,
        (here, peer): (IpAddr, IpAddr),
    ) -> Self {
        let party = |resident: &Resident| Party {
            network: resident.network,
            mac: MacAddr(resident.endpoint.mac),
            v4: resident.endpoint.v4(),
            v6: resident.endpoint.v6(),
        };
        let local = residents.iter().filter(|resident| resident.host == host);
        let networks = super::ENCAPSULATIONS.iter().enumerate();
        let tunnels = networks.filter_map(|(network, name)| Some((network, bridge.tunnel(name)?)));
        Packets {
            local: local.map(|resident| (resident.port, party(resident))).collect(),
            everybody: residents.iter().map(party).collect(),
            tunnels: tunnels.collect(),
            trunks: bridge.ports(Kind::Trunk),
            here,
            peer,
            outsider: IpAddr::from([172, 31, 0, 77]),
        }
    }

    /// One packet.
    pub(super) fn draw(&self, random: &mut Random) -> Packet {
        match random.next() % 100 {
            0..60 => {
                let (in_port, sender) = *random.pick(&self.local);
                Packet { in_port, tunnel: None, frame: self.frame(random, sender) }
            }
            60..83 => {
                let sender = *random.pick(&self.everybody);
                let own = self.tunnels.get(&sender.network);
                // The networks' keys are their numbers, from 1 on in the order in which they were made.
                let (in_port, id) = match own.filter(|_| random.chance(75)) {
                    Some(own) => (*own, sender.network as u64 + 1),
                    None => {
                        let ports: Vec<OfPort> = self.tunnels.values().copied().collect();
                        (*random.pick(&ports), *random.pick(&[1, 2, 3, 4, 5, 0xff_ffff]))
                    }
                };
                let src = if random.chance(85) { self.peer } else { self.outsider };
                let tunnel = Some(Tunnel { id, src, dst: self.here });
                Packet { in_port, tunnel, frame: self.frame(random, sender) }
            }
            83..97 => {
                let sender = *random.pick(&self.everybody);
                let mut frame = self.frame(random, sender);
                if random.chance(80) {
                    let vid = *random.pick(&[100u16, 100, 100, 101, 0]);
                    frame.splice(12..12, [0x81, 0x00].into_iter().chain(vid.to_be_bytes()));
                }
                Packet { in_port: *random.pick(&self.trunks), tunnel: None, frame }
            }
            _ => {
                // By a port that no flow knows.
                let sender = *random.pick(&self.everybody);
                Packet { in_port: OfPort::LOCAL, tunnel: None, frame: self.frame(random, sender) }
            }
        }
    }

    fn frame(&self, random: &mut Random, honest: Party) -> Vec<u8> {
        let stranger = Party {
            network: usize::MAX,
            mac: MacAddr([2, 0x66, 0x66, 0x66, 0x66, 0x66]),
            v4: Ipv4Addr::new(10, 5, 200, 66),
            v6: Ipv6Addr::new(0xfd00, 5, 0, 0, 0, 0, 0, 0x6666),
        };
        let other = |random: &mut Random, percent| match random.chance(percent) {
            true => stranger,
            false => *random.pick(&self.everybody),
        };
        let mut from = honest;
        if random.chance(8) {
            from.mac = other(random, 50).mac;
        }
        if random.chance(8) {
            (from.v4, from.v6) = (other(random, 50).v4, other(random, 50).v6);
        }
        let near: Vec<Party> =
            self.everybody.iter().copied().filter(|party| party.network == honest.network).collect();
        let to = if random.chance(88) { *random.pick(&near) } else { other(random, 30) };
        let dst = match random.next() % 100 {
            0..70 => to.mac,
            70..80 => MacAddr::BROADCAST,
            80..87 => MacAddr([0x01, 0x00, 0x5e, 1, 2, 3]),
            87..94 => MacAddr([0x33, 0x33, 0, 1, 2, 3]),
            _ => stranger.mac,
        };
        let between = Frame::between(from.mac, dst);
        let (v4, v6) = ((from.v4.into(), to.v4.into()), (from.v6.into(), to.v6.into()));
        match random.next() % 14 {
            0..3 => between.ip(v4.0, v4.1).udp(5000, *random.pick(&[53, 67, 68, 5000])).build(),
            3 => between.ip(v4.0, v4.1).tcp(40000, 80).build(),
            4 => between.ip(v4.0, v4.1).echo_request(1, 1).build(),
            5 => between.ip(v4.0, v4.1).fragment(185, false).protocol(17).payload(&[0; 32]).build(),
            6..8 => between.ip(v6.0, v6.1).udp(5000, *random.pick(&[53, 546, 547, 5000])).build(),
            8 => {
                let kind = *random.pick(&[128u8, 129, 133, 134, 137, 143]);
                between.ip(v6.0, v6.1).ttl(255).icmp(kind, 0, [0; 4]).build()
            }
            9 => {
                let mut request = Frame::arp_request(from.mac, from.v4, to.v4);
                if random.chance(20) {
                    request[22..28].copy_from_slice(&stranger.mac.0);
                }
                request
            }
            10 => Frame::arp_reply((from.mac, from.v4), (to.mac, to.v4)),
            11 => {
                let source = if random.chance(15) { Ipv6Addr::UNSPECIFIED } else { from.v6 };
                Frame::neighbour_solicitation(from.mac, source, to.v6).build()
            }
            12 => {
                let target = if random.chance(70) { from.v6 } else { other(random, 50).v6 };
                Frame::neighbour_advertisement((from.mac, from.v6), (dst, to.v6), 0x60, target).build()
            }
            _ => {
                let tagged = if random.chance(50) { between.vlan(100) } else { between };
                tagged.eth_type(*random.pick(&[0x88b5u16, 0x88cc, 0x8847])).payload(&[0; 46]).build()
            }
        }
    }
}
