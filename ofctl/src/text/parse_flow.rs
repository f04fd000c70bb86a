//! Matches and whole flow entries from text.

use std::str::FromStr;

use super::matching::{ARP, IPV4, IPV6, PROTOCOLS, RARP};
use super::parse_actions::{Context, parse_instructions, split};
use super::value::{parse_masked, parse_number, parse_port, parse_sized};
use super::{DEFAULT_PRIORITY, FLAGS, ParseError, ParseProblem, Span};
use crate::flow::{FlowEntry, FlowFlags};
use crate::wire::{Cookie, Field, Match, TableId};

/// A word of a flow's text: a name, and perhaps a value.
#[derive(Clone, Copy)]
struct Word<'a> {
    name: Span<'a>,
    value: Option<Span<'a>>,
}

impl<'a> Word<'a> {
    fn value(self) -> Result<Span<'a>, ParseError> {
        self.value.ok_or_else(|| self.name.error(ParseProblem::Missing("a value")))
    }
}

fn words(span: Span<'_>) -> impl Iterator<Item = Word<'_>> {
    split(span).map(|word| match word.split_once("=") {
        Some((name, value)) => Word { name, value: Some(value) },
        None => Word { name: word, value: None },
    })
}

/// What the flow says of its protocols; some names mean other fields by it.
#[derive(Default)]
pub(super) struct Protocols {
    eth_type: Option<u16>,
    ip_proto: Option<u8>,
}

impl Protocols {
    fn of<'a>(words: impl Iterator<Item = Word<'a>>) -> Protocols {
        let mut result = Protocols::default();
        for word in words {
            if let Some((_, eth_type, ip_proto)) = PROTOCOLS.iter().find(|row| row.0 == word.name.text) {
                result.eth_type = Some(*eth_type);
                result.ip_proto = ip_proto.or(result.ip_proto);
            }
            let number = word.value.and_then(|value| parse_number(value.text));
            match (word.name.text, number) {
                ("dl_type" | "eth_type", Some(number)) => result.eth_type = u16::try_from(number).ok(),
                ("nw_proto" | "ip_proto", Some(number)) => result.ip_proto = u8::try_from(number).ok(),
                _ => {}
            }
        }
        result
    }

    fn is_arp(&self) -> bool {
        matches!(self.eth_type, Some(ARP | RARP))
    }

    fn is_ip(&self) -> bool {
        matches!(self.eth_type, Some(IPV4 | IPV6))
    }

    /// What a match says of them.
    pub(super) fn matched(matching: &Match) -> Protocols {
        Protocols {
            eth_type: matching.exact(Field::EthType).map(|value| value.to_u64() as u16),
            ip_proto: matching.exact(Field::IpProto).map(|value| value.to_u64() as u8),
        }
    }

    /// True if this is what the name means here.
    pub(super) fn call(&self, field: Field, name: &str) -> bool {
        self.named(name) == Ok(Some(field))
    }

    /// The field that a name means.
    fn field(&self, name: Span<'_>) -> Result<Option<Field>, ParseError> {
        let text = name.text;
        let needs = |needs| name.error(ParseProblem::NeedsProtocol { name: text.to_owned(), needs });
        self.named(text).map_err(needs)
    }

    /// The same; without a protocol of which the name needs one, what that may be.
    fn named(&self, name: &str) -> Result<Option<Field>, &'static str> {
        Ok(Some(match name {
            "in_port" => Field::InPort,
            "nw_src" if self.is_arp() => Field::ArpSpa,
            "nw_dst" if self.is_arp() => Field::ArpTpa,
            "nw_proto" if self.is_arp() => Field::ArpOp,
            "tp_src" | "tp_dst" => match (self.is_ip().then_some(self.ip_proto).flatten(), name) {
                (Some(6), "tp_src") => Field::TcpSrc,
                (Some(6), _) => Field::TcpDst,
                (Some(17), "tp_src") => Field::UdpSrc,
                (Some(17), _) => Field::UdpDst,
                (Some(132), "tp_src") => Field::SctpSrc,
                (Some(132), _) => Field::SctpDst,
                _ => return Err("tcp, udp or sctp"),
            },
            "icmp_type" if self.eth_type == Some(IPV6) => Field::Icmpv6Type,
            "icmp_code" if self.eth_type == Some(IPV6) => Field::Icmpv6Code,
            other => return Ok(Field::from_name(other)),
        }))
    }
}

fn set_once(
    matching: &mut Match,
    word: Word<'_>,
    field: Field,
    value: u128,
    mask: u128,
) -> Result<bool, ParseError> {
    if matching.get(field).is_some() {
        return Err(word.name.error(ParseProblem::Twice(word.name.text.to_owned())));
    }
    matching.set(field, value.into(), mask.into());
    Ok(true)
}

/// The bit of `vlan_vid` that says that there is a tag, `OFPVID_PRESENT`.
const PRESENT: u16 = 0x1000;

/// Sets a tag's identifier; a priority that came before it has said no more than that there is a tag.
fn set_tag(matching: &mut Match, word: Word<'_>, value: u16, mask: u16) -> Result<bool, ParseError> {
    let only_present = matching.get(Field::VlanVid).is_some_and(|known| known.mask == PRESENT.into());
    if !(only_present && matching.get(Field::VlanPcp).is_some()) {
        set_once(matching, word, Field::VlanVid, value.into(), mask.into())?;
    }
    matching.set(Field::VlanVid, value.into(), mask.into());
    if value & mask == 0 {
        // Open vSwitch, too, forgets the priority of a tag that need not be there.
        matching.set(Field::VlanPcp, 0u8.into(), 0u8.into());
    }
    Ok(true)
}

/// Sets a tag's priority, which says that there is a tag, whatever was said of that before.
fn set_priority(matching: &mut Match, word: Word<'_>, pcp: u8) -> Result<bool, ParseError> {
    set_once(matching, word, Field::VlanPcp, pcp.into(), 7)?;
    let known = matching.get(Field::VlanVid).map(|vid| (vid.value.to_u64() as u16, vid.mask.to_u64() as u16));
    let (value, mask) = known.unwrap_or_default();
    matching.set(Field::VlanVid, (value | PRESENT).into(), (mask | PRESENT).into());
    Ok(true)
}

/// True for the fields for which Open vSwitch writes and reports the value as the mask too, so that a flow with any
/// other mask would never be found again as it was added.
fn is_own_mask(field: Field) -> bool {
    use Field::*;
    matches!(field, TunErspanVer | TunErspanDir | TunErspanHwid | TunGtpuFlags | TunGtpuMsgtype)
}

/// Adds one word to the match; `false` if it is no field's name.
fn add_condition(matching: &mut Match, protocols: &Protocols, word: Word<'_>) -> Result<bool, ParseError> {
    let name = word.name.text;
    if let Some(&(_, eth_type, ip_proto)) = PROTOCOLS.iter().find(|row| row.0 == name && word.value.is_none())
    {
        set_once(matching, word, Field::EthType, eth_type.into(), 0xffff)?;
        if let Some(ip_proto) = ip_proto {
            set_once(matching, word, Field::IpProto, ip_proto.into(), 0xff)?;
        }
        return Ok(true);
    }
    match name {
        "dl_vlan" => {
            let vid: u16 = parse_sized(word.value()?, "a VLAN")?;
            match vid {
                // ovs-ofctl's way to say "no tag".
                0xffff => set_tag(matching, word, 0, 0x1fff),
                0..PRESENT => set_tag(matching, word, vid | PRESENT, 0x1fff),
                _ => Err(word.value()?.bad_value("a VLAN")),
            }
        }
        "dl_vlan_pcp" | "vlan_pcp" => {
            let pcp: u8 = parse_sized(word.value()?, "a VLAN priority")?;
            if pcp > 7 {
                return Err(word.value()?.bad_value("a VLAN priority"));
            }
            set_priority(matching, word, pcp)
        }
        "nw_tos" => {
            let tos: u8 = parse_sized(word.value()?, "a type of service")?;
            if tos & 3 != 0 {
                return Err(word.value()?.bad_value("a type of service, whose two low bits are nw_ecn"));
            }
            set_once(matching, word, Field::IpDscp, u128::from(tos >> 2), 0x3f)
        }
        "packet_type" => {
            let value = word.value()?;
            let (namespace, kind) = parse_packet_type(value)?;
            set_once(
                matching,
                word,
                Field::PacketType,
                u128::from(namespace) << 16 | u128::from(kind),
                u32::MAX.into(),
            )
        }
        "in_port" => {
            let value = word.value()?;
            let port = parse_port(value.text).ok_or_else(|| value.bad_value("a port"))?;
            set_once(matching, word, Field::InPort, port.0.into(), u32::MAX.into())
        }
        _ => {
            let Some(field) = protocols.field(word.name)? else { return Ok(false) };
            let (value, mut mask) = parse_masked(field, word.value()?)?;
            if is_own_mask(field) {
                mask = value & mask;
                if mask.is_zero() {
                    return Ok(true);
                }
            }
            match field {
                Field::VlanVid => set_tag(matching, word, value.to_u64() as u16, mask.to_u64() as u16),
                _ => set_once(matching, word, field, value.to_u128(), mask.to_u128()),
            }
        }
    }
}

/// `(1,0x894f)`, a name space and a type.
fn parse_packet_type(span: Span<'_>) -> Result<(u16, u16), ParseError> {
    let bad = || span.bad_value("a packet type, as in (1,0x894f)");
    let inside = span.text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).ok_or_else(bad)?;
    let (namespace, kind) = span.from(1).to(inside.len()).split_once(",").ok_or_else(bad)?;
    Ok((parse_sized(namespace.trim(), "a name space")?, parse_sized(kind.trim(), "a type")?))
}

impl FromStr for Match {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = || words(Span { text, at: 0 });
        let protocols = Protocols::of(words());
        let mut matching = Match::new();
        for word in words() {
            if !add_condition(&mut matching, &protocols, word)? {
                return Err(word.name.error(ParseProblem::UnknownField(word.name.text.to_owned())));
            }
        }
        Ok(matching)
    }
}

impl FromStr for FlowEntry {
    type Err = ParseError;

    /// Reads what this crate or ovs-ofctl prints, with or without statistics, which are passed over.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = Span { text, at: 0 };
        let (before, after) = whole
            .split_once("actions=")
            .ok_or_else(|| whole.from(text.len()).error(ParseProblem::Missing("actions=")))?;
        let words = || words(before);
        let protocols = Protocols::of(words());
        let mut entry = FlowEntry::new(TableId(0), DEFAULT_PRIORITY);
        let mut flags = FlowFlags::default();
        for word in words() {
            let name = word.name.text;
            match name {
                "table" => entry.table = TableId(parse_sized(word.value()?, "a table")?),
                "priority" => entry.priority = parse_sized(word.value()?, "a priority")?,
                "cookie" => entry.cookie = Cookie(parse_sized(word.value()?, "a cookie")?),
                "idle_timeout" => entry.idle_timeout = parse_sized(word.value()?, "seconds")?,
                "hard_timeout" => entry.hard_timeout = parse_sized(word.value()?, "seconds")?,
                "duration" | "n_packets" | "n_bytes" | "idle_age" | "hard_age" => {}
                _ => {
                    if let Some((flag, _)) = FLAGS.iter().find(|(_, known)| *known == name) {
                        flags = flags | *flag;
                    } else if !add_condition(&mut entry.matching, &protocols, word)? {
                        return Err(word.name.error(ParseProblem::UnknownField(name.to_owned())));
                    }
                }
            }
        }
        entry.flags = flags;
        entry.instructions = parse_instructions(after.trim(), &mut Context::of(&entry.matching))?;
        Ok(entry)
    }
}
