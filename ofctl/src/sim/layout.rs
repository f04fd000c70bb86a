//! Where the headers of a frame are, and what their fields say.

use super::key::{
    BOTTOM, ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_RARP, FRAGMENT_ANY, FRAGMENT_LATER, Key, TAG_PRESENT, Tag,
    is_mpls,
};
use crate::wire::{Field, FieldValue};

/// Tags that are looked behind: `other_config:vlan-limit`, which is 1 unless somebody changed it.
const TAG_LIMIT: usize = 1;
/// The Ethernet type of frames that have none (`OFP_DL_TYPE_NOT_ETH_TYPE`, OpenFlow 1.0 §5.2.3).
const ETH_TYPE_NONE: u16 = 0x05ff;

/// The network layer, where it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer3 {
    None,
    Arp,
    Ipv4 {
        /// Bytes, options included.
        header: usize,
    },
    Ipv6,
}

/// Offsets of the headers in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Start of the network layer, if [`Layout::layer3`] says that there is one.
    pub(super) l3: Option<usize>,
    pub(super) layer3: Layer3,
    /// Start of the transport layer, if all of its fixed header is there.
    pub(super) l4: Option<usize>,
    /// What the transport layer is, IPv6 extension headers skipped.
    pub(super) protocol: u8,
    /// End of the network layer's payload; padding follows.
    pub(super) end: usize,
    /// An IPv6 routing header: the destination is not the one that checksums are made with.
    pub(super) routing_header: bool,
}

/// Bytes that are taken one header at a time.
struct Reader<'a> {
    frame: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.end - self.at
    }

    fn peek(&self, n: usize) -> Option<&'a [u8]> {
        if n > self.left() { None } else { Some(&self.frame[self.at..self.at + n]) }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let bytes = self.peek(n)?;
        self.at += n;
        Some(bytes)
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn number(bytes: &[u8]) -> FieldValue {
    FieldValue::from_be_slice(bytes).expect("no header field is wider than 16 bytes")
}

impl Layout {
    /// Finds the headers of any bytes. What is malformed is left out, as Open vSwitch does.
    pub(super) fn parse(frame: &[u8]) -> (Layout, Key) {
        let mut key = Key::new();
        let mut layout = Layout {
            l3: None,
            layer3: Layer3::None,
            l4: None,
            protocol: 0,
            end: frame.len(),
            routing_header: false,
        };
        let mut reader = Reader { frame, at: 0, end: frame.len() };
        // None says that the rest cannot be read; what was found until there stays.
        let _ = layout.ethernet(&mut reader, &mut key);
        (layout, key)
    }

    fn ethernet(&mut self, reader: &mut Reader<'_>, key: &mut Key) -> Option<()> {
        reader.peek(14)?;
        let addresses = reader.take(12)?;
        key.put(Field::EthDst, number(&addresses[..6]));
        key.put(Field::EthSrc, number(&addresses[6..]));
        for tag in key.tags.iter_mut().take(TAG_LIMIT) {
            let tpid = word(reader.peek(2)?, 0);
            if !matches!(tpid, 0x8100 | 0x88a8) || reader.left() < 6 {
                break;
            }
            *tag = Tag { tpid, tci: word(reader.take(4)?, 2) | TAG_PRESENT };
        }
        let mut eth_type = word(reader.take(2)?, 0);
        if eth_type < 0x0600 {
            eth_type = match reader.peek(8) {
                Some(&[0xaa, 0xaa, 3, 0, 0, 0, a, b]) if u16::from_be_bytes([a, b]) >= 0x0600 => {
                    reader.take(8)?;
                    u16::from_be_bytes([a, b])
                }
                _ => ETH_TYPE_NONE,
            };
        }
        key.put(Field::EthType, eth_type);
        match eth_type {
            ETH_IPV4 => self.ipv4(reader, key),
            ETH_IPV6 => self.ipv6(reader, key),
            ETH_ARP | ETH_RARP => self.arp(reader, key),
            mpls if is_mpls(mpls) => {
                for label in &mut key.labels {
                    *label = u32::from_be_bytes(*reader.take(4)?.first_chunk()?);
                    if *label & BOTTOM != 0 {
                        break;
                    }
                }
                None
            }
            _ => None,
        }
    }

    fn arp(&mut self, reader: &mut Reader<'_>, key: &mut Key) -> Option<()> {
        let l3 = reader.at;
        let arp = reader.take(28)?;
        if arp[..6] != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        self.l3 = Some(l3);
        self.layer3 = Layer3::Arp;
        // Open vSwitch keeps the operation in eight bits, and takes none of more.
        if arp[6] == 0 {
            key.put(Field::ArpOp, arp[7]);
        }
        key.put(Field::ArpSha, number(&arp[8..14]));
        key.put(Field::ArpSpa, number(&arp[14..18]));
        key.put(Field::ArpTha, number(&arp[18..24]));
        key.put(Field::ArpTpa, number(&arp[24..28]));
        Some(())
    }

    fn ipv4(&mut self, reader: &mut Reader<'_>, key: &mut Key) -> Option<()> {
        let l3 = reader.at;
        let ip = reader.peek(20)?;
        let (header, total) = (usize::from(ip[0] & 15) * 4, usize::from(word(ip, 2)));
        if header < 20 || total < header || total > reader.left() {
            return None;
        }
        reader.end = l3 + total;
        self.end = reader.end;
        self.l3 = Some(l3);
        self.layer3 = Layer3::Ipv4 { header };
        self.protocol = ip[9];
        key.put(Field::Ipv4Src, number(&ip[12..16]));
        key.put(Field::Ipv4Dst, number(&ip[16..20]));
        key.put(Field::IpDscp, ip[1] >> 2);
        key.put(Field::IpEcn, ip[1] & 3);
        key.put(Field::IpTtl, ip[8]);
        key.put(Field::IpProto, ip[9]);
        let fragment = word(ip, 6);
        if fragment & 0x3fff != 0 {
            let later = if fragment & 0x1fff != 0 { FRAGMENT_LATER } else { 0 };
            key.put(Field::IpFrag, FRAGMENT_ANY | later);
        }
        reader.take(header)?;
        self.transport(reader, key)
    }

    fn ipv6(&mut self, reader: &mut Reader<'_>, key: &mut Key) -> Option<()> {
        let l3 = reader.at;
        let ip = reader.peek(40)?;
        let payload = usize::from(word(ip, 4));
        if payload > reader.left() - 40 {
            return None;
        }
        reader.take(40)?;
        reader.end = reader.at + payload;
        self.end = reader.end;
        key.put(Field::Ipv6Src, number(&ip[8..24]));
        key.put(Field::Ipv6Dst, number(&ip[24..40]));
        let mut protocol = ip[6];
        let mut fragment = 0;
        loop {
            match protocol {
                0 | 43 | 60 => {
                    let next = reader.peek(8)?;
                    reader.take((usize::from(next[1]) + 1) * 8)?;
                    self.routing_header |= protocol == 43;
                    protocol = next[0];
                }
                51 => {
                    let next = reader.peek(8)?;
                    reader.take((usize::from(next[1]) + 2) * 4)?;
                    protocol = next[0];
                }
                44 => {
                    let next = reader.take(8)?;
                    let offset = word(next, 2);
                    protocol = next[0];
                    if offset != 0 {
                        fragment = FRAGMENT_ANY;
                    }
                    if offset & 0xfff8 != 0 {
                        fragment |= FRAGMENT_LATER;
                        protocol = 44;
                        break;
                    }
                }
                _ => break,
            }
        }
        self.l3 = Some(l3);
        self.layer3 = Layer3::Ipv6;
        self.protocol = protocol;
        let first = u32::from_be_bytes([ip[0], ip[1], ip[2], ip[3]]);
        key.put(Field::Ipv6Label, first & 0xf_ffff);
        key.put(Field::IpDscp, (first >> 22 & 0x3f) as u8);
        key.put(Field::IpEcn, (first >> 20 & 3) as u8);
        key.put(Field::IpTtl, ip[7]);
        key.put(Field::IpProto, protocol);
        key.put(Field::IpFrag, fragment);
        self.transport(reader, key)
    }

    fn transport(&mut self, reader: &mut Reader<'_>, key: &mut Key) -> Option<()> {
        if key.is_later_fragment() {
            return None;
        }
        let l4 = reader.at;
        match (self.protocol, self.layer3) {
            (6, _) => {
                let tcp = reader.take(20)?;
                key.put(Field::TcpSrc, word(tcp, 0));
                key.put(Field::TcpDst, word(tcp, 2));
                key.put(Field::TcpFlags, word(tcp, 12) & 0x0fff);
            }
            (17, _) => {
                let udp = reader.take(8)?;
                key.put(Field::UdpSrc, word(udp, 0));
                key.put(Field::UdpDst, word(udp, 2));
            }
            (132, _) => {
                let sctp = reader.take(12)?;
                key.put(Field::SctpSrc, word(sctp, 0));
                key.put(Field::SctpDst, word(sctp, 2));
            }
            (1, Layer3::Ipv4 { .. }) => {
                let icmp = reader.take(8)?;
                key.put(Field::Icmpv4Type, icmp[0]);
                key.put(Field::Icmpv4Code, icmp[1]);
            }
            (58, Layer3::Ipv6) => {
                let icmp = reader.take(8)?;
                key.put(Field::Icmpv6Type, icmp[0]);
                key.put(Field::Icmpv6Code, icmp[1]);
                self.l4 = Some(l4);
                if matches!(icmp, [135 | 136, 0, ..]) {
                    key.put(Field::NdReserved, number(&icmp[4..8]));
                    neighbour_discovery(reader, key);
                }
            }
            _ => return None,
        }
        self.l4 = Some(l4);
        Some(())
    }
}

/// Target and link-layer address options, RFC 4861 §4.3, §4.4 and §4.6.1.
fn neighbour_discovery(reader: &mut Reader<'_>, key: &mut Key) -> Option<()> {
    let target = reader.take(16)?;
    let (mut source, mut destination, mut first) = (FieldValue::default(), FieldValue::default(), 0);
    while let Some(option) = reader.peek(8) {
        let length = usize::from(option[1]) * 8;
        if length == 0 || length > reader.left() {
            break;
        }
        let address = match option[0] {
            1 => Some(&mut source),
            2 => Some(&mut destination),
            _ => None,
        };
        if let (Some(address), 8) = (address, length) {
            // Open vSwitch refuses to understand a message that says an address twice.
            if !address.is_zero() {
                return None;
            }
            *address = number(&option[2..8]);
            if first == 0 {
                first = option[0];
            }
        }
        reader.take(length)?;
    }
    key.put(Field::NdTarget, number(target));
    key.put(Field::NdSll, source);
    key.put(Field::NdTll, destination);
    key.put(Field::NdOptionsType, first);
    Some(())
}
