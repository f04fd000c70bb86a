//! A frame, layer by layer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::{crc32c, internet, upper_layer};
use crate::MacAddr;

/// What a frame is made from; [`Frame::build`] gives its bytes.
///
/// ```
/// use ofctl::packet::Frame;
/// use ofctl::sim::verify_checksums;
///
/// let frame = Frame::between("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?)
///     .vlan(7)
///     .ip("10.0.0.1".parse()?, "10.0.0.2".parse()?)
///     .ttl(3)
///     .tcp(40000, 80)
///     .payload(b"GET /")
///     .build();
/// assert_eq!(frame.len(), 14 + 4 + 20 + 20 + 5);
/// verify_checksums(&frame)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Frame {
    src: MacAddr,
    dst: MacAddr,
    tags: Vec<(u16, u16)>,
    eth_type: u16,
    network: Network,
    transport: Transport,
    payload: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Network {
    None,
    Ip { src: IpAddr, dst: IpAddr, ttl: u8, class: u8, label: u32, fragment: Option<(u16, bool)> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Transport {
    None,
    Protocol(u8),
    Tcp { src: u16, dst: u16, flags: u8 },
    Udp { src: u16, dst: u16, checksum: bool },
    Sctp { src: u16, dst: u16 },
    Icmp { kind: u8, code: u8, rest: [u8; 4] },
}

impl Frame {
    /// A frame of the experimental Ethernet type 0x88b5 without payload.
    pub fn between(src: MacAddr, dst: MacAddr) -> Self {
        Frame {
            src,
            dst,
            tags: Vec::new(),
            eth_type: 0x88b5,
            network: Network::None,
            transport: Transport::None,
            payload: Vec::new(),
        }
    }

    /// Adds a VLAN tag inside those that are there.
    pub fn vlan(self, vid: u16) -> Self {
        self.tag(0x8100, vid & 0x0fff)
    }

    /// Adds a tag of any type and control word inside those that are there.
    pub fn tag(mut self, tpid: u16, tci: u16) -> Self {
        self.tags.push((tpid, tci));
        self
    }

    /// Sets the Ethernet type; IP sets its own.
    pub fn eth_type(mut self, eth_type: u16) -> Self {
        self.eth_type = eth_type;
        self
    }

    /// An IP packet with TTL 64, of the version of both addresses.
    ///
    /// # Panics
    /// If the addresses are not of one version.
    pub fn ip(mut self, src: IpAddr, dst: IpAddr) -> Self {
        assert_eq!(src.is_ipv4(), dst.is_ipv4(), "{src} and {dst} are not of one IP version");
        self.network = Network::Ip { src, dst, ttl: 64, class: 0, label: 0, fragment: None };
        self
    }

    fn with_ip(mut self, change: impl FnOnce(&mut u8, &mut u8, &mut u32, &mut Option<(u16, bool)>)) -> Self {
        match &mut self.network {
            Network::Ip { ttl, class, label, fragment, .. } => change(ttl, class, label, fragment),
            Network::None => panic!("the frame has no IP header yet: call Frame::ip first"),
        }
        self
    }

    /// Time to live or hop limit.
    ///
    /// # Panics
    /// Without [`Frame::ip`], as all that follows here.
    pub fn ttl(self, value: u8) -> Self {
        self.with_ip(|ttl, _, _, _| *ttl = value)
    }

    /// Type of service or traffic class, all eight bits.
    pub fn tos(self, value: u8) -> Self {
        self.with_ip(|_, class, _, _| *class = value)
    }

    /// IPv6 flow label.
    pub fn label(self, value: u32) -> Self {
        self.with_ip(|_, _, label, _| *label = value & 0xf_ffff)
    }

    /// Makes it a fragment: offset in units of eight bytes, and whether more follow.
    pub fn fragment(self, offset: u16, more: bool) -> Self {
        self.with_ip(|_, _, _, fragment| *fragment = Some((offset & 0x1fff, more)))
    }

    /// The payload is of this IP protocol, and has no header that this builder makes.
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.transport = Transport::Protocol(protocol);
        self
    }

    /// A TCP segment with ACK set.
    pub fn tcp(self, src: u16, dst: u16) -> Self {
        self.tcp_flags(src, dst, 0x10)
    }

    /// A TCP segment with these flags.
    pub fn tcp_flags(mut self, src: u16, dst: u16, flags: u8) -> Self {
        self.transport = Transport::Tcp { src, dst, flags };
        self
    }

    /// A UDP datagram.
    pub fn udp(mut self, src: u16, dst: u16) -> Self {
        self.transport = Transport::Udp { src, dst, checksum: true };
        self
    }

    /// A UDP datagram without checksum, as IPv4 allows it.
    pub fn udp_without_checksum(mut self, src: u16, dst: u16) -> Self {
        self.transport = Transport::Udp { src, dst, checksum: false };
        self
    }

    /// An SCTP packet; its payload should be chunks.
    pub fn sctp(mut self, src: u16, dst: u16) -> Self {
        self.transport = Transport::Sctp { src, dst };
        self
    }

    /// ICMP or ICMPv6, by the version of the addresses, with the four bytes after the checksum.
    pub fn icmp(mut self, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        self.transport = Transport::Icmp { kind, code, rest };
        self
    }

    /// An echo request of the version of the addresses.
    pub fn echo_request(self, identifier: u16, sequence: u16) -> Self {
        let kind = match self.network {
            Network::Ip { src: IpAddr::V6(_), .. } => 128,
            _ => 8,
        };
        let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
        self.icmp(kind, 0, [a, b, c, d])
    }

    /// What stands behind the last header.
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.payload = bytes.to_vec();
        self
    }

    /// An ARP request of `sha` and `spa` to everybody.
    pub fn arp_request(sha: MacAddr, spa: Ipv4Addr, tpa: Ipv4Addr) -> Vec<u8> {
        Frame::arp(sha, MacAddr::BROADCAST, 1, (sha, spa), (MacAddr::default(), tpa)).build()
    }

    /// An ARP reply to `target`.
    pub fn arp_reply(sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Vec<u8> {
        Frame::arp(sender.0, target.0, 2, sender, target).build()
    }

    /// Any ARP packet: Ethernet source and destination, operation, and both pairs of addresses.
    pub fn arp(
        src: MacAddr,
        dst: MacAddr,
        operation: u16,
        sender: (MacAddr, Ipv4Addr),
        target: (MacAddr, Ipv4Addr),
    ) -> Self {
        let mut body = vec![0, 1, 8, 0, 6, 4];
        body.extend_from_slice(&operation.to_be_bytes());
        for (mac, ip) in [sender, target] {
            body.extend_from_slice(&mac.0);
            body.extend_from_slice(&ip.octets());
        }
        Frame::between(src, dst).eth_type(0x0806).payload(&body)
    }

    /// A neighbour solicitation to the target's solicited-node group, RFC 4861 §4.3, with the sender's address as
    /// source link-layer option, unless the source is unspecified (then it is an address probe, RFC 4862 §5.4).
    pub fn neighbour_solicitation(src_mac: MacAddr, src: Ipv6Addr, target: Ipv6Addr) -> Self {
        let [.., a, b, c] = target.octets();
        let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
        let option = (!src.is_unspecified()).then_some((1, src_mac));
        Frame::discovery(src_mac, MacAddr([0x33, 0x33, 0xff, a, b, c]), (src, group), 135, 0, target, option)
    }

    /// A neighbour advertisement, RFC 4861 §4.4: `flags` has R, S and O in its top three bits.
    pub fn neighbour_advertisement(
        sender: (MacAddr, Ipv6Addr),
        receiver: (MacAddr, Ipv6Addr),
        flags: u8,
        target: Ipv6Addr,
    ) -> Self {
        let option = Some((2, sender.0));
        Frame::discovery(sender.0, receiver.0, (sender.1, receiver.1), 136, flags, target, option)
    }

    /// Any neighbour message: addresses, ICMPv6 type, flags, target, and at most one link-layer address option.
    pub fn discovery(
        src_mac: MacAddr,
        dst_mac: MacAddr,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        kind: u8,
        flags: u8,
        target: Ipv6Addr,
        option: Option<(u8, MacAddr)>,
    ) -> Self {
        let mut body = target.octets().to_vec();
        if let Some((kind, mac)) = option {
            body.extend_from_slice(&[kind, 1]);
            body.extend_from_slice(&mac.0);
        }
        Frame::between(src_mac, dst_mac)
            .ip(src.into(), dst.into())
            .ttl(255)
            .icmp(kind, 0, [flags, 0, 0, 0])
            .payload(&body)
    }

    /// The bytes, without padding to Ethernet's 60 and without frame check sequence.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(64 + self.payload.len());
        frame.extend_from_slice(&self.dst.0);
        frame.extend_from_slice(&self.src.0);
        for (tpid, tci) in &self.tags {
            frame.extend_from_slice(&tpid.to_be_bytes());
            frame.extend_from_slice(&tci.to_be_bytes());
        }
        let Network::Ip { src, dst, ttl, class, label, fragment } = self.network else {
            frame.extend_from_slice(&self.eth_type.to_be_bytes());
            frame.extend_from_slice(&self.payload);
            return frame;
        };
        let mut addresses = Vec::with_capacity(32);
        for address in [src, dst] {
            match address {
                IpAddr::V4(address) => addresses.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => addresses.extend_from_slice(&address.octets()),
            }
        }
        let later = fragment.is_some_and(|(offset, _)| offset != 0);
        let (protocol, segment) = if later {
            (self.protocol_number(src.is_ipv6()), self.payload.clone())
        } else {
            self.segment(src.is_ipv6(), &addresses)
        };
        if src.is_ipv4() {
            frame.extend_from_slice(&[0x08, 0x00]);
            let total = (20 + segment.len()) as u16;
            let flags = fragment.map_or(0x4000, |(offset, more)| offset | u16::from(more) << 13);
            let mut header = vec![0x45, class];
            header.extend_from_slice(&total.to_be_bytes());
            header.extend_from_slice(&[0, 0]);
            header.extend_from_slice(&flags.to_be_bytes());
            header.extend_from_slice(&[ttl, protocol, 0, 0]);
            header.extend_from_slice(&addresses);
            let checksum = internet(&[&header]);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            frame.extend_from_slice(&header);
        } else {
            frame.extend_from_slice(&[0x86, 0xdd]);
            let extension = fragment.map(|(offset, more)| {
                let [a, b] = (offset << 3 | u16::from(more)).to_be_bytes();
                [protocol, 0, a, b, 0, 0, 0, 1]
            });
            let length = (segment.len() + 8 * usize::from(extension.is_some())) as u16;
            frame.extend_from_slice(&(6 << 28 | u32::from(class) << 20 | label).to_be_bytes());
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&[if extension.is_some() { 44 } else { protocol }, ttl]);
            frame.extend_from_slice(&addresses);
            frame.extend(extension.iter().flatten());
        }
        frame.extend_from_slice(&segment);
        frame
    }

    fn protocol_number(&self, v6: bool) -> u8 {
        match self.transport {
            Transport::None => 253,
            Transport::Protocol(number) => number,
            Transport::Tcp { .. } => 6,
            Transport::Udp { .. } => 17,
            Transport::Sctp { .. } => 132,
            Transport::Icmp { .. } => {
                if v6 {
                    58
                } else {
                    1
                }
            }
        }
    }

    fn segment(&self, v6: bool, addresses: &[u8]) -> (u8, Vec<u8>) {
        let protocol = self.protocol_number(v6);
        let mut segment = Vec::with_capacity(20 + self.payload.len());
        let ports = |segment: &mut Vec<u8>, src: u16, dst: u16| {
            segment.extend_from_slice(&src.to_be_bytes());
            segment.extend_from_slice(&dst.to_be_bytes());
        };
        let mut checksum_at = None;
        match self.transport {
            Transport::None | Transport::Protocol(_) => {}
            Transport::Tcp { src, dst, flags } => {
                ports(&mut segment, src, dst);
                segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
                checksum_at = Some(16);
            }
            Transport::Udp { src, dst, checksum } => {
                ports(&mut segment, src, dst);
                segment.extend_from_slice(&((8 + self.payload.len()) as u16).to_be_bytes());
                segment.extend_from_slice(&[0, 0]);
                checksum_at = checksum.then_some(6);
            }
            Transport::Sctp { src, dst } => {
                ports(&mut segment, src, dst);
                segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
            }
            Transport::Icmp { kind, code, rest } => {
                segment.extend_from_slice(&[kind, code, 0, 0]);
                segment.extend_from_slice(&rest);
                checksum_at = Some(2);
            }
        }
        segment.extend_from_slice(&self.payload);
        if let Some(at) = checksum_at {
            let checksum = match (upper_layer(addresses, protocol, &segment), protocol) {
                _ if protocol == 1 => internet(&[&segment]),
                (0, 17) => 0xffff,
                (checksum, _) => checksum,
            };
            segment[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        if let Transport::Sctp { .. } = self.transport {
            let checksum = crc32c(&[&segment]);
            segment[8..12].copy_from_slice(&checksum.to_be_bytes());
        }
        (protocol, segment)
    }
}
