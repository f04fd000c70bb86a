//! Packets that controllers and switches send to each other.

use std::fmt::{self, Write as _};

use crate::sim::Packet;
use crate::wire::{
    Cookie, Field, FieldValue, Instructions, Match, NO_BUFFER, OfPort, PacketIn, PacketIn2, PacketOut,
    TableId,
};

/// Ethernet types of VLAN tags.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const LENGTH_OF_ADDRESSES: usize = 12;

fn reason(reason: u8) -> String {
    match reason {
        0 => "no_match".to_owned(),
        1 => "action".to_owned(),
        2 => "invalid_ttl".to_owned(),
        3 => "action_set".to_owned(),
        4 => "group".to_owned(),
        5 => "packet_out".to_owned(),
        // Those that Open vSwitch keeps to itself have no name.
        6 | 7 => String::new(),
        other => other.to_string(),
    }
}

/// What all forms of a packet-in say.
struct Arrived<'a> {
    table: TableId,
    cookie: Cookie,
    total: usize,
    metadata: &'a Match,
    reason: u8,
    buffer: u32,
    data: &'a [u8],
    userdata: &'a [u8],
}

impl Arrived<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        if self.table != TableId(0) {
            write!(out, " table_id={}", self.table)?;
        }
        if self.cookie.0 != u64::MAX {
            write!(out, " cookie={:#x}", self.cookie.0)?;
        }
        let length = self.data.len();
        write!(
            out,
            " total_len={} {} (via {}) data_len={length}",
            self.total,
            self.metadata,
            reason(self.reason)
        )?;
        if self.buffer == NO_BUFFER {
            out.push_str(" (unbuffered)");
            if self.total != length {
                out.push_str(" (***total_len != data_len***)");
            }
        } else {
            write!(out, " buffer={:#010x}", self.buffer)?;
            if self.total < length {
                out.push_str(" (***total_len < data_len***)");
            }
        }
        out.push('\n');
        if !self.userdata.is_empty() {
            let bytes: Vec<String> = self.userdata.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, " userdata={}", bytes.join("."))?;
        }
        out.push_str(&frame(self.data));
        Ok(())
    }
}

pub(super) fn packet_in(packet: &PacketIn, out: &mut String) -> fmt::Result {
    Arrived {
        table: packet.table,
        cookie: packet.cookie,
        total: packet.total_len.into(),
        metadata: &packet.matching,
        reason: packet.reason,
        buffer: packet.buffer_id,
        data: &packet.data,
        userdata: &[],
    }
    .write(out)
}

pub(super) fn packet_in2(packet: &PacketIn2, out: &mut String) -> fmt::Result {
    Arrived {
        table: packet.table.unwrap_or(TableId(0)),
        cookie: packet.cookie.unwrap_or(Cookie(u64::MAX)),
        total: packet.full_length.map_or(packet.packet.len(), |length| length as usize),
        metadata: &packet.metadata,
        reason: packet.reason.unwrap_or(0),
        buffer: packet.buffer_id,
        data: &packet.packet,
        userdata: &packet.userdata,
    }
    .write(out)
}

pub(super) fn packet_out(packet: &PacketOut, out: &mut String) -> fmt::Result {
    let actions = Instructions { apply: packet.actions.clone(), ..Instructions::default() };
    let in_port = match packet.in_port {
        OfPort::ANY => String::new(),
        port => format!("in_port={port}"),
    };
    write!(out, " {in_port} actions={actions}")?;
    if packet.buffer_id != NO_BUFFER {
        return write!(out, " buffer={:#010x}", packet.buffer_id);
    }
    write!(out, " data_len={}", packet.data.len())?;
    if packet.data.is_empty() { Ok(()) } else { write!(out, "\n{}", frame(&packet.data)) }
}

/// The VLAN tags of a frame, outermost first: their Ethernet types and control words. More than two do not count.
fn tags(frame: &[u8]) -> Vec<(u16, u16)> {
    let word = |at: usize| frame.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut all = Vec::new();
    let mut at = LENGTH_OF_ADDRESSES;
    // A tag counts only with the Ethernet type that follows it.
    while let (Some(tpid), Some(tci), Some(_)) = (word(at), word(at + 2), word(at + 4))
        && TAGS.contains(&tpid)
        && all.len() < 2
    {
        all.push((tpid, tci));
        at += 4;
    }
    all
}

/// A frame as Open vSwitch describes it: every field that its headers have, and the checksum of the innermost.
pub fn frame(bytes: &[u8]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_frame(bytes, &mut out);
    out
}

fn write_frame(bytes: &[u8], out: &mut String) -> fmt::Result {
    use Field::*;
    let tags = tags(bytes);
    let l3 = LENGTH_OF_ADDRESSES + 4 * tags.len() + 2;
    // A switch looks behind so many tags only as it is told to; here all that count are taken off.
    let mut untagged = bytes.to_vec();
    untagged.drain(LENGTH_OF_ADDRESSES.min(bytes.len())..(l3 - 2).min(bytes.len()));
    let packet = Packet::new(OfPort::ANY, untagged);
    let number = |field| packet.get(field).to_u64();
    let shown = |field: Field| match field.spec().format {
        crate::wire::Format::Decimal => number(field).to_string(),
        crate::wire::Format::Ethernet => packet.get(field).to_mac().to_string(),
        crate::wire::Format::Ipv4 => packet.get(field).to_ipv4().to_string(),
        crate::wire::Format::Ipv6 => packet.get(field).to_ipv6().to_string(),
        _ => super::Hex(packet.get(field).to_u128()).to_string(),
    };
    let (eth_type, protocol) = (number(EthType), number(IpProto));
    let is_v4 = eth_type == 0x0800;
    let is_ip = is_v4 || eth_type == 0x86dd;
    let name = match (eth_type, protocol) {
        (0x0800, 6) => "tcp",
        (0x0800, 17) => "udp",
        (0x0800, 132) => "sctp",
        (0x0800, 1) => "icmp",
        (0x0800, _) => "ip",
        (0x86dd, 6) => "tcp6",
        (0x86dd, 17) => "udp6",
        (0x86dd, 132) => "sctp6",
        (0x86dd, 58) => "icmp6",
        (0x86dd, _) => "ipv6",
        (0x0806, _) => "arp",
        (0x8035, _) => "rarp",
        (0x8847, _) => "mpls",
        (0x8848, _) => "mplsm",
        _ => "",
    };
    let mut words = Vec::new();
    words.extend((!name.is_empty()).then(|| name.to_owned()));
    match tags[..] {
        [] => words.push("vlan_tci=0x0000".to_owned()),
        [(_, first), ref rest @ ..] => {
            let tag = |tci: u16, n: &str| format!("dl_vlan{n}={},dl_vlan_pcp{n}={}", tci & 0xfff, tci >> 13);
            words.push(tag(first, ""));
            words.push(rest.first().map_or("vlan_tci1=0x0000".to_owned(), |(_, tci)| tag(*tci, "1")));
        }
    }
    let mut put = |name: &str, field: Field| words.push(format!("{name}={}", shown(field)));
    put("dl_src", EthSrc);
    put("dl_dst", EthDst);
    if name.is_empty() {
        words.push(format!("dl_type={eth_type:#06x}"));
    }
    let mut put = |name: &str, field: Field| words.push(format!("{name}={}", shown(field)));
    if is_ip {
        if is_v4 {
            put("nw_src", Ipv4Src);
            put("nw_dst", Ipv4Dst);
        } else {
            put("ipv6_src", Ipv6Src);
            put("ipv6_dst", Ipv6Dst);
            words.push(format!("ipv6_label={:#07x}", number(Ipv6Label)));
        }
        if matches!(name, "ip" | "ipv6") {
            words.push(format!("nw_proto={protocol}"));
        }
        let fragment = match number(IpFrag) {
            0 => "no",
            1 => "first",
            _ => "later",
        };
        words.push(format!("nw_tos={},nw_ecn={}", number(IpDscp) << 2, number(IpEcn)));
        words.push(format!("nw_ttl={},nw_frag={fragment}", number(IpTtl)));
        transport(&packet, name, &mut words);
    } else if matches!(name, "arp" | "rarp") {
        for (name, field) in [
            ("arp_spa", ArpSpa),
            ("arp_tpa", ArpTpa),
            ("arp_op", ArpOp),
            ("arp_sha", ArpSha),
            ("arp_tha", ArpTha),
        ] {
            put(name, field);
        }
    } else if matches!(name, "mpls" | "mplsm") {
        for (name, field) in
            [("mpls_label", MplsLabel), ("mpls_tc", MplsTc), ("mpls_ttl", MplsTtl), ("mpls_bos", MplsBos)]
        {
            put(name, field);
        }
    }
    out.push_str(&words.join(","));
    if is_ip && let Some((name, checksum)) = checksum(bytes.get(l3..).unwrap_or_default(), protocol) {
        write!(out, " {name}:{checksum:x}")?;
    }
    Ok(())
}

fn transport(packet: &Packet, name: &str, words: &mut Vec<String>) {
    use Field::*;
    let number = |field| packet.get(field).to_u64();
    let ports = |src, dst| format!("tp_src={},tp_dst={}", number(src), number(dst));
    match name.trim_end_matches('6') {
        // A later fragment has none of this.
        _ if number(IpFrag) > 1 => {}
        "tcp" => {
            words.push(ports(TcpSrc, TcpDst));
            let flags = Match::new().with(TcpFlags, FieldValue::from(number(TcpFlags))).to_string();
            words.push(if number(TcpFlags) == 0 { "tcp_flags=0".to_owned() } else { flags });
        }
        "udp" => words.push(ports(UdpSrc, UdpDst)),
        "sctp" => words.push(ports(SctpSrc, SctpDst)),
        "icmp" if name == "icmp" => {
            words.push(format!("icmp_type={},icmp_code={}", number(Icmpv4Type), number(Icmpv4Code)));
        }
        "icmp" => {
            words.push(format!("icmp_type={},icmp_code={}", number(Icmpv6Type), number(Icmpv6Code)));
            if packet.has(NdTarget) {
                words.push(format!(
                    "nd_target={},nd_sll={},nd_tll={}",
                    packet.get(NdTarget).to_ipv6(),
                    packet.get(NdSll).to_mac(),
                    packet.get(NdTll).to_mac()
                ));
            }
        }
        _ => {}
    }
}

/// The checksum of what an IP packet carries, and its name; `None` if there is not enough of it.
fn checksum(ip: &[u8], protocol: u64) -> Option<(&'static str, u32)> {
    let header = match ip.first()? >> 4 {
        4 => usize::from(ip[0] & 15) * 4,
        _ => 40,
    };
    let body = ip.get(header..)?;
    let word = |at: usize| body.get(at..at + 2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    // Name, place, and how long the header must be.
    let (name, at, needed) = match protocol {
        6 => ("tcp_csum", 16, 20),
        17 => ("udp_csum", 6, 8),
        132 => ("sctp_csum", 8, 12),
        1 => ("icmp_csum", 2, 8),
        58 => ("icmp6_csum", 2, 4),
        _ => return None,
    };
    if body.len() < needed {
        return None;
    }
    let first = word(at)?;
    Some((name, if protocol == 132 { first << 16 | word(at + 2)? } else { first }))
}
