//! Matches as text, in the order and with the short names of `ovs-ofctl dump-flows`.

use std::fmt;

use super::parse_flow::Protocols;
use super::value::Masked;
use crate::wire::{Field, FieldMatch, Match};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ARP: u16 = 0x0806;
pub(super) const RARP: u16 = 0x8035;
pub(super) const MPLS: u16 = 0x8847;
pub(super) const MPLS_MULTICAST: u16 = 0x8848;

/// Short names of protocols: Ethernet type, and IP protocol where the name says one.
pub(super) const PROTOCOLS: &[(&str, u16, Option<u8>)] = &[
    ("tcp", IPV4, Some(6)),
    ("udp", IPV4, Some(17)),
    ("sctp", IPV4, Some(132)),
    ("icmp", IPV4, Some(1)),
    ("ip", IPV4, None),
    ("tcp6", IPV6, Some(6)),
    ("udp6", IPV6, Some(17)),
    ("sctp6", IPV6, Some(132)),
    ("icmp6", IPV6, Some(58)),
    ("ipv6", IPV6, None),
    ("arp", ARP, None),
    ("rarp", RARP, None),
    ("mpls", MPLS, None),
    ("mplsm", MPLS_MULTICAST, None),
];

/// The order in which conditions are printed. The protocol's short name stands after [`BEFORE_PROTOCOL`] of them.
const ORDER: &[Field] = {
    use Field::*;
    &[
        PktMark,
        ConjId,
        ActsetOutput,
        CtState,
        CtZone,
        CtMark,
        CtLabel,
        CtNwSrc,
        CtIpv6Src,
        CtNwDst,
        CtIpv6Dst,
        CtNwProto,
        CtTpSrc,
        CtTpDst,
        PacketType, // the protocol
        Reg0,
        Reg1,
        Reg2,
        Reg3,
        Reg4,
        Reg5,
        Reg6,
        Reg7,
        Reg8,
        Reg9,
        Reg10,
        Reg11,
        Reg12,
        Reg13,
        Reg14,
        Reg15,
        TunnelId,
        TunSrc,
        TunDst,
        TunIpv6Src,
        TunIpv6Dst,
        TunGbpId,
        TunGbpFlags,
        TunErspanVer,
        TunErspanIdx,
        TunErspanDir,
        TunErspanHwid,
        TunGtpuFlags,
        TunGtpuMsgtype,
        TunFlags,
        TunMetadata0,
        TunMetadata1,
        TunMetadata2,
        TunMetadata3,
        TunMetadata4,
        TunMetadata5,
        TunMetadata6,
        TunMetadata7,
        TunMetadata8,
        TunMetadata9,
        TunMetadata10,
        TunMetadata11,
        TunMetadata12,
        TunMetadata13,
        TunMetadata14,
        TunMetadata15,
        TunMetadata16,
        TunMetadata17,
        TunMetadata18,
        TunMetadata19,
        TunMetadata20,
        TunMetadata21,
        TunMetadata22,
        TunMetadata23,
        TunMetadata24,
        TunMetadata25,
        TunMetadata26,
        TunMetadata27,
        TunMetadata28,
        TunMetadata29,
        TunMetadata30,
        TunMetadata31,
        TunMetadata32,
        TunMetadata33,
        TunMetadata34,
        TunMetadata35,
        TunMetadata36,
        TunMetadata37,
        TunMetadata38,
        TunMetadata39,
        TunMetadata40,
        TunMetadata41,
        TunMetadata42,
        TunMetadata43,
        TunMetadata44,
        TunMetadata45,
        TunMetadata46,
        TunMetadata47,
        TunMetadata48,
        TunMetadata49,
        TunMetadata50,
        TunMetadata51,
        TunMetadata52,
        TunMetadata53,
        TunMetadata54,
        TunMetadata55,
        TunMetadata56,
        TunMetadata57,
        TunMetadata58,
        TunMetadata59,
        TunMetadata60,
        TunMetadata61,
        TunMetadata62,
        TunMetadata63,
        Metadata,
        InPort,
        VlanVid,
        VlanPcp,
        EthSrc,
        EthDst,
        EthType,
        Ipv6Src,
        Ipv6Dst,
        Ipv6Label,
        Ipv4Src,
        Ipv4Dst,
        ArpSpa,
        ArpTpa,
        IpProto,
        ArpOp,
        ArpSha,
        ArpTha,
        NshFlags,
        NshTtl,
        NshMdtype,
        NshNp,
        NshSpi,
        NshSi,
        NshC1,
        NshC2,
        NshC3,
        NshC4,
        IpDscp,
        IpEcn,
        IpTtl,
        MplsLabel,
        MplsTc,
        MplsTtl,
        MplsBos,
        IpFrag,
        Icmpv4Type,
        Icmpv4Code,
        Icmpv6Type,
        Icmpv6Code,
        NdTarget,
        NdSll,
        NdTll,
        NdReserved,
        NdOptionsType,
        TcpSrc,
        TcpDst,
        UdpSrc,
        UdpDst,
        SctpSrc,
        SctpDst,
        TcpFlags,
    ]
};

/// The place of each field in [`ORDER`].
static RANK: [u8; 256] = {
    let mut rank = [u8::MAX; 256];
    let mut place = 0;
    while place < ORDER.len() {
        rank[ORDER[place] as usize] = place as u8;
        place += 1;
    }
    rank
};

/// The conditions of a match in the order in which they are printed.
fn in_order(matching: &Match) -> impl Iterator<Item = (usize, &FieldMatch)> {
    // Few matches have more conditions than this; then the rest is sorted on the heap.
    let mut few = [(u8::MAX, 0u8); 16];
    let mut many = Vec::new();
    let n = matching.iter().len();
    let ranks: &mut [(u8, u8)] = if n <= few.len() {
        &mut few[..n]
    } else {
        many.resize(n, (u8::MAX, 0));
        &mut many
    };
    for (place, (rank, condition)) in ranks.iter_mut().zip(matching).enumerate() {
        *rank = (RANK[condition.field as usize], place as u8);
    }
    ranks.sort_unstable();
    let all = matching.conditions();
    (0..n).map(move |place| {
        let (rank, place) = if n <= few.len() { few[place] } else { many[place] };
        (usize::from(rank), &all[usize::from(place)])
    })
}

/// How many fields stand before the protocol's short name.
const BEFORE_PROTOCOL: usize = 15;

/// The name that a match of these protocols prints for a field: Open vSwitch's where that means this field here.
fn printed_name(field: Field, protocols: &Protocols) -> &'static str {
    let usual = match field {
        Field::InPort => return "in_port",
        Field::EthSrc => return "dl_src",
        Field::EthDst => return "dl_dst",
        Field::IpFrag => return "nw_frag",
        Field::Ipv4Src => "nw_src",
        Field::Ipv4Dst => "nw_dst",
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => "tp_src",
        Field::TcpDst | Field::UdpDst | Field::SctpDst => "tp_dst",
        Field::Icmpv6Type => "icmp_type",
        Field::Icmpv6Code => "icmp_code",
        Field::Icmpv4Type | Field::Icmpv4Code | Field::IpProto => field.name(),
        // Whatever the protocol, there is only one field of this name.
        _ => return field.name(),
    };
    // A field without its protocol is nothing that a switch takes, but it is to be shown as what it is.
    let own = [usual, field.name(), field.spec().alias];
    own.into_iter().find(|name| protocols.call(field, name)).unwrap_or(usual)
}

/// What the protocol's short name says, and so is not said again.
struct Protocol {
    name: Option<&'static str>,
    says_ip_proto: bool,
}

impl Protocol {
    fn of(matching: &Match) -> Protocol {
        let eth_type = matching.exact(Field::EthType).map(|value| value.to_u64() as u16);
        let ip_proto = matching.exact(Field::IpProto).map(|value| value.to_u64() as u8);
        let find = |wanted: Option<u8>| {
            PROTOCOLS
                .iter()
                .find(|&&(_, kind, proto)| Some(kind) == eth_type && proto == wanted)
                .map(|row| row.0)
        };
        match ip_proto.and_then(|proto| find(Some(proto))) {
            Some(name) => Protocol { name: Some(name), says_ip_proto: true },
            None => Protocol { name: find(None), says_ip_proto: false },
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = Protocol::of(self);
        let protocols = Protocols::matched(self);
        let mut separator = "";
        let mut comma = |out: &mut fmt::Formatter<'_>| {
            let written = out.write_str(separator);
            separator = ",";
            written
        };
        let mut name = protocol.name;
        for (place, condition) in in_order(self) {
            if place >= BEFORE_PROTOCOL
                && let Some(name) = name.take()
            {
                comma(out)?;
                out.write_str(name)?;
            }
            let field = condition.field;
            match field {
                Field::EthType if protocol.name.is_some() => {}
                Field::IpProto if protocol.says_ip_proto => {}
                Field::EthType => {
                    comma(out)?;
                    write!(out, "dl_type=0x{:04x}", condition.value.to_u64())?;
                }
                Field::VlanVid => {
                    if let Some(vid) = Vlan(self).identifier() {
                        comma(out)?;
                        vid.fmt(out)?;
                    }
                }
                Field::VlanPcp => {
                    if Vlan(self).tci().is_none() {
                        comma(out)?;
                        write!(out, "dl_vlan_pcp={}", condition.value.to_u64())?;
                    }
                }
                Field::IpDscp => {
                    comma(out)?;
                    write!(out, "nw_tos={}", condition.value.to_u64() << 2)?;
                }
                Field::Ipv6Label => {
                    comma(out)?;
                    write!(out, "ipv6_label=0x{:05x}", condition.value.to_u64())?;
                    if !condition.is_exact() {
                        write!(out, "/0x{:05x}", condition.mask.to_u64())?;
                    }
                }
                _ => {
                    comma(out)?;
                    write!(
                        out,
                        "{}={}",
                        printed_name(field, &protocols),
                        Masked(field, condition.value, condition.mask)
                    )?;
                }
            }
        }
        if !self.unknown().is_empty() {
            comma(out)?;
            out.write_str("oxm=")?;
            super::actions::write_hex(self.unknown(), out)?;
        }
        Ok(())
    }
}

/// The tag of a match, which is printed by identifier and priority where they say it all.
struct Vlan<'a>(&'a Match);

const PRESENT: u64 = 0x1000;
const IDENTIFIER: u64 = 0x0fff;

enum VlanText {
    Identifier(u64),
    Tci { value: u64, mask: u64 },
}

impl fmt::Display for VlanText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VlanText::Identifier(vid) => write!(out, "dl_vlan={vid}"),
            VlanText::Tci { value, mask: 0xffff } => write!(out, "vlan_tci=0x{value:04x}"),
            VlanText::Tci { value, mask } => write!(out, "vlan_tci=0x{value:04x}/0x{mask:04x}"),
        }
    }
}

impl Vlan<'_> {
    fn bits(&self) -> (u64, u64) {
        let vid = self.0.get(Field::VlanVid).map_or((0, 0), |c| (c.value.to_u64(), c.mask.to_u64()));
        let pcp = self.0.get(Field::VlanPcp).map_or((0, 0), |c| (c.value.to_u64() << 13, 0xe000));
        (vid.0 | pcp.0, vid.1 | pcp.1)
    }

    /// The whole tag control field, where identifier and priority do not say it all.
    fn tci(&self) -> Option<VlanText> {
        let (value, mask) = self.bits();
        let whole_identifier = matches!(mask & IDENTIFIER, 0 | IDENTIFIER);
        let plain = value & mask & PRESENT != 0 && whole_identifier && mask & !PRESENT != 0;
        (!plain).then_some(VlanText::Tci { value, mask })
    }

    fn identifier(&self) -> Option<VlanText> {
        let (value, mask) = self.bits();
        let plain = (mask & IDENTIFIER != 0).then_some(VlanText::Identifier(value & IDENTIFIER));
        self.tci().or(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_match_is_printed() {
        let normalised =
            |field: Field| Match::new().with(field, u128::MAX).iter().map(|c| c.field).collect::<Vec<_>>();
        for field in Field::all() {
            for field in normalised(field) {
                assert_eq!(ORDER.iter().filter(|&&known| known == field).count(), 1, "{field:?}");
            }
        }
        assert_eq!(ORDER[BEFORE_PROTOCOL], Field::Reg0);
    }
}
