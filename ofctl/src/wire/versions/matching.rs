//! Matches of other versions: `ofp10_match` (OpenFlow 1.0 §5.2.3), NXM (ovs-fields(7)), and the OXM of 1.5, which has
//! other headers for some fields.

use super::super::borrowed::MatchEntries;
use super::super::cursor::{Nested, Padding, Put, Reader};
use super::super::error::DecodeError;
use super::super::field::{Class, Field, Header};
use super::super::ids::{Cookie, OfPort};
use super::super::matching::{FieldMatch, Match};
use super::super::oxm;
use super::super::value::FieldValue;
use super::{Version, VersionError};

/// A VLAN tag is there, `OFPVID_PRESENT`.
pub(super) const VLAN_PRESENT: u16 = 0x1000;
/// `OFPVID_NONE` in the 1.0 match: no tag.
const VLAN_NONE_10: u16 = 0xffff;

/// Header of a field in a version's OXM.
pub(super) fn header(version: Version, field: Field) -> Header {
    let number = match field {
        Field::TcpFlags => 42,
        Field::ActsetOutput => 43,
        _ => return field.spec().oxm,
    };
    if version < Version::OpenFlow15 {
        return field.spec().oxm;
    }
    // OpenFlow 1.5 §7.2.3.7 took them over from the ONF's extensions.
    Header { class: Class::OXM_OF, number, name: field.spec().oxm.name }
}

/// Appends a field with its value and perhaps a mask, under this header.
pub(super) fn put_entry(
    header: &Header,
    field: Field,
    value: FieldValue,
    mask: Option<FieldValue>,
    out: &mut Vec<u8>,
) {
    let length = oxm::value_length(field, value, mask);
    let masks = if mask.is_some() { 2 } else { 1 };
    oxm::put_header(header, mask.is_some(), masks * length, out);
    out.put(value.low_bytes(length));
    if let Some(mask) = mask {
        out.put(mask.low_bytes(length));
    }
}

/// Appends an `ofp_match` of 1.3 or later.
pub(super) fn put_oxm(version: Version, matching: &Match, out: &mut Vec<u8>) {
    if version < Version::OpenFlow15 {
        return matching.encode(out);
    }
    let mut out = Nested::begin(out, 2, Padding::Uncounted);
    out.put_u16(oxm::MATCH_TYPE_OXM);
    out.put_u16(0);
    let mut registers_done = false;
    for entry in matching {
        let &FieldMatch { field, value, mask } = entry;
        if register(field).is_some() {
            // Two registers of 32 bits are one of 64 there, OpenFlow 1.5 §7.2.3.10.
            if !registers_done {
                registers_done = true;
                put_packet_registers(matching, &mut out);
            }
            continue;
        }
        put_entry(&header(version, field), field, value, (!entry.is_exact()).then_some(mask), &mut out);
    }
    out.put(matching.unknown());
}

/// Which register of 32 bits a field is.
fn register(field: Field) -> Option<usize> {
    (field as usize).checked_sub(Field::Reg0 as usize).filter(|register| *register < 16)
}

fn put_packet_registers(matching: &Match, out: &mut Vec<u8>) {
    let mut values = [(0u64, 0u64); 8];
    for entry in matching {
        let Some(register) = register(entry.field) else { continue };
        let shift = if register % 2 == 0 { 32 } else { 0 };
        let (value, mask) = &mut values[register / 2];
        *value |= entry.value.to_u64() << shift;
        *mask |= entry.mask.to_u64() << shift;
    }
    for (place, (value, mask)) in values.into_iter().enumerate().filter(|(_, (_, mask))| *mask != 0) {
        let field = PACKET_REGISTERS[place];
        let mask = (mask != u64::MAX).then_some(mask.into());
        put_entry(&field.spec().oxm, field, value.into(), mask, out);
    }
}

const PACKET_REGISTERS: [Field; 8] = {
    use Field::*;
    [XReg0, XReg1, XReg2, XReg3, XReg4, XReg5, XReg6, XReg7]
};

/// Takes an `ofp_match` of 1.3 or later.
pub(super) fn take_oxm(version: Version, input: &mut Reader<'_>) -> Result<Match, DecodeError> {
    if version < Version::OpenFlow15 {
        return Match::take(input);
    }
    let [_, _, high, low, ..] = *input.peek() else { return Match::take(input) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let Some(entries) = input.peek().get(4..length) else { return Match::take(input) };
    if !entries_of_15(entries).any(|entry| entry.is_some()) {
        return Match::take(input);
    }
    // Those of 1.5 under the names of 1.3; the rest is for the decoder of 1.3 to judge.
    let mut as_13 = Vec::with_capacity(length + 16);
    as_13.put(&input.peek()[..4]);
    let mut at = 0;
    for entry in entries_of_15(entries) {
        match entry {
            Some((from, field, payload, has_mask)) => {
                as_13.put(&entries[at..from]);
                oxm::put_header(&field.spec().oxm, has_mask, payload.len(), &mut as_13);
                as_13.put(payload);
                at = from + 4 + payload.len();
            }
            None => continue,
        }
    }
    as_13.put(&entries[at..]);
    let new = as_13.len();
    as_13[2..4].copy_from_slice(&u16::try_from(new).unwrap_or(u16::MAX).to_be_bytes());
    as_13.put_zeros(new.next_multiple_of(8) - new);
    input.skip(length.next_multiple_of(8))?;
    Match::take(&mut Reader::new("match", &as_13))
}

/// The entries whose header is another in 1.5: place, field, what follows the header, and whether with a mask.
fn entries_of_15(entries: &[u8]) -> impl Iterator<Item = Option<(usize, Field, &[u8], bool)>> {
    let mut at = 0;
    MatchEntries::over(entries).map(move |entry| {
        let from = at;
        let length = entry.value.len() + entry.mask.map_or(0, <[u8]>::len);
        at += 4 + entry.experimenter.map_or(0, |_| 4) + length;
        let field = match (entry.class, entry.number) {
            (0x8000, 42) => Field::TcpFlags,
            (0x8000, 43) => Field::ActsetOutput,
            _ => return None,
        };
        Some((from, field, &entries[from + 4..at], entry.mask.is_some()))
    })
}

/// `OFPFW_*` of 1.0.
mod wildcard {
    pub(super) const IN_PORT: u32 = 1;
    pub(super) const DL_VLAN: u32 = 1 << 1;
    pub(super) const DL_SRC: u32 = 1 << 2;
    pub(super) const DL_DST: u32 = 1 << 3;
    pub(super) const DL_TYPE: u32 = 1 << 4;
    pub(super) const NW_PROTO: u32 = 1 << 5;
    pub(super) const TP_SRC: u32 = 1 << 6;
    pub(super) const TP_DST: u32 = 1 << 7;
    pub(super) const NW_SRC_SHIFT: u32 = 8;
    pub(super) const NW_DST_SHIFT: u32 = 14;
    pub(super) const DL_VLAN_PCP: u32 = 1 << 20;
    pub(super) const NW_TOS: u32 = 1 << 21;
    /// All of them, no bit of the addresses compared.
    pub(super) const ALL: u32 = 0xff | 32 << NW_SRC_SHIFT | 32 << NW_DST_SHIFT | DL_VLAN_PCP | NW_TOS;
}

/// `ofp10_match` in parts.
#[derive(Default)]
struct Match10 {
    wildcards: u32,
    in_port: u16,
    dl_src: [u8; 6],
    dl_dst: [u8; 6],
    dl_vlan: u16,
    dl_vlan_pcp: u8,
    dl_type: u16,
    nw_tos: u8,
    nw_proto: u8,
    nw_src: u32,
    nw_dst: u32,
    tp_src: u16,
    tp_dst: u16,
}

impl Match10 {
    fn bytes(&self) -> [u8; 40] {
        let mut out = Vec::with_capacity(40);
        out.put_u32(self.wildcards);
        out.put_u16(self.in_port);
        out.put(&self.dl_src);
        out.put(&self.dl_dst);
        out.put_u16(self.dl_vlan);
        out.put(&[self.dl_vlan_pcp, 0]);
        out.put_u16(self.dl_type);
        out.put(&[self.nw_tos, self.nw_proto, 0, 0]);
        out.put_u32(self.nw_src);
        out.put_u32(self.nw_dst);
        out.put_u16(self.tp_src);
        out.put_u16(self.tp_dst);
        out.try_into().expect("the fields are 40 bytes")
    }

    fn take(input: &mut Reader<'_>) -> Result<Match10, DecodeError> {
        let mut taken = Match10 { wildcards: input.u32()?, in_port: input.u16()?, ..Match10::default() };
        (taken.dl_src, taken.dl_dst) = (input.array()?, input.array()?);
        taken.dl_vlan = input.u16()?;
        [taken.dl_vlan_pcp, _] = input.array::<2>()?;
        taken.dl_type = input.u16()?;
        [taken.nw_tos, taken.nw_proto, _, _] = input.array::<4>()?;
        (taken.nw_src, taken.nw_dst) = (input.u32()?, input.u32()?);
        (taken.tp_src, taken.tp_dst) = (input.u16()?, input.u16()?);
        Ok(taken)
    }
}

/// Bits of an address that are not compared, if they are the low ones.
fn wildcard_bits(mask: FieldValue) -> Option<u32> {
    let mask = mask.to_u64() as u32;
    (mask.leading_ones() + mask.trailing_zeros() == 32).then_some(mask.trailing_zeros())
}

/// A match as `ofp10_match`, if that can say it.
pub(super) fn to_ofp10(matching: &Match) -> Option<[u8; 40]> {
    use wildcard::*;
    if !matching.unknown().is_empty() {
        return None;
    }
    let mut result = Match10 { wildcards: ALL, ..Match10::default() };
    let ethertype = matching.exact(Field::EthType).map(FieldValue::to_u64);
    for entry in matching {
        let number = entry.value.to_u64();
        let clear = match entry.field {
            Field::Ipv4Src | Field::ArpSpa => {
                result.wildcards &= !(63 << NW_SRC_SHIFT);
                result.wildcards |= wildcard_bits(entry.mask)? << NW_SRC_SHIFT;
                result.nw_src = number as u32;
                continue;
            }
            Field::Ipv4Dst | Field::ArpTpa => {
                result.wildcards &= !(63 << NW_DST_SHIFT);
                result.wildcards |= wildcard_bits(entry.mask)? << NW_DST_SHIFT;
                result.nw_dst = number as u32;
                continue;
            }
            Field::VlanVid => match (number as u16, entry.mask.to_u64() as u16) {
                (0, 0x1fff) => {
                    result.dl_vlan = VLAN_NONE_10;
                    // Nothing else can be said of a tag that is not there.
                    DL_VLAN | DL_VLAN_PCP
                }
                (vid, 0x1fff) if vid & VLAN_PRESENT != 0 => {
                    result.dl_vlan = vid & 0xfff;
                    DL_VLAN
                }
                // A tag, of whatever number: the priority says that.
                (VLAN_PRESENT, VLAN_PRESENT) if matching.get(Field::VlanPcp).is_some() => 0,
                _ => return None,
            },
            _ if !entry.is_exact() => return None,
            // Only NXM looks into an IPv6 packet.
            Field::IpProto
            | Field::IpDscp
            | Field::TcpSrc
            | Field::TcpDst
            | Field::UdpSrc
            | Field::UdpDst
                if ethertype == Some(0x86dd) =>
            {
                return None;
            }
            Field::InPort => {
                result.in_port = OfPort(number as u32).to_16()?;
                IN_PORT
            }
            Field::EthSrc => {
                result.dl_src = entry.value.to_mac().0;
                DL_SRC
            }
            Field::EthDst => {
                result.dl_dst = entry.value.to_mac().0;
                DL_DST
            }
            Field::VlanPcp => {
                result.dl_vlan_pcp = number as u8;
                DL_VLAN_PCP
            }
            Field::EthType => {
                result.dl_type = number as u16;
                DL_TYPE
            }
            Field::IpDscp => {
                result.nw_tos = (number as u8) << 2;
                NW_TOS
            }
            Field::IpProto => {
                result.nw_proto = number as u8;
                NW_PROTO
            }
            Field::ArpOp => {
                result.nw_proto = u8::try_from(number).ok()?;
                NW_PROTO
            }
            Field::TcpSrc | Field::UdpSrc | Field::Icmpv4Type => {
                result.tp_src = number as u16;
                TP_SRC
            }
            Field::TcpDst | Field::UdpDst | Field::Icmpv4Code => {
                result.tp_dst = number as u16;
                TP_DST
            }
            _ => return None,
        };
        result.wildcards &= !clear;
    }
    // A field without its prerequisite stands there and is not looked at.
    let bytes = result.bytes();
    (from_ofp10(&bytes) == *matching).then_some(bytes)
}

/// What an `ofp10_match` says; fields that mean nothing with its Ethernet type or protocol are left out of it, as the
/// specification has it (OpenFlow 1.0 §3.4).
pub(super) fn from_ofp10(bytes: &[u8; 40]) -> Match {
    use wildcard::*;
    let m = Match10::take(&mut Reader::new("match", bytes)).expect("it has its 40 bytes");
    let compares = |bit: u32| m.wildcards & bit == 0;
    let mut result = Match::new();
    if compares(IN_PORT) {
        result = result.with(Field::InPort, OfPort::from_16(m.in_port));
    }
    let mac = |bytes: [u8; 6]| FieldValue::from_low(&bytes);
    if compares(DL_SRC) {
        result = result.with(Field::EthSrc, mac(m.dl_src));
    }
    if compares(DL_DST) {
        result = result.with(Field::EthDst, mac(m.dl_dst));
    }
    match (compares(DL_VLAN), compares(DL_VLAN_PCP)) {
        (true, _) if m.dl_vlan == VLAN_NONE_10 => result = result.with(Field::VlanVid, 0u16),
        (vid, pcp) => {
            if vid {
                result = result.with(Field::VlanVid, m.dl_vlan & 0xfff | VLAN_PRESENT);
            } else if pcp {
                result = result.masked(Field::VlanVid, VLAN_PRESENT, VLAN_PRESENT);
            }
            if pcp {
                result = result.with(Field::VlanPcp, m.dl_vlan_pcp & 7);
            }
        }
    }
    if !compares(DL_TYPE) {
        return result;
    }
    result = result.with(Field::EthType, m.dl_type);
    let prefix = |shift: u32| match m.wildcards >> shift & 63 {
        bits @ 0..32 => Some(u32::MAX << bits),
        _ => None,
    };
    let (sources, targets) = match m.dl_type {
        0x0800 => (Field::Ipv4Src, Field::Ipv4Dst),
        0x0806 | 0x8035 => (Field::ArpSpa, Field::ArpTpa),
        _ => return result,
    };
    for (field, value, mask) in
        [(sources, m.nw_src, prefix(NW_SRC_SHIFT)), (targets, m.nw_dst, prefix(NW_DST_SHIFT))]
    {
        if let Some(mask) = mask {
            result = result.masked(field, value, mask);
        }
    }
    if m.dl_type != 0x0800 {
        if compares(NW_PROTO) {
            result = result.with(Field::ArpOp, u16::from(m.nw_proto));
        }
        return result;
    }
    if compares(NW_TOS) {
        result = result.with(Field::IpDscp, m.nw_tos >> 2);
    }
    if !compares(NW_PROTO) {
        return result;
    }
    result = result.with(Field::IpProto, m.nw_proto);
    let (src, dst) = match m.nw_proto {
        1 => (Field::Icmpv4Type, Field::Icmpv4Code),
        6 => (Field::TcpSrc, Field::TcpDst),
        17 => (Field::UdpSrc, Field::UdpDst),
        132 => (Field::SctpSrc, Field::SctpDst),
        _ => return result,
    };
    for (field, value, wildcard) in [(src, m.tp_src, TP_SRC), (dst, m.tp_dst, TP_DST)] {
        if compares(wildcard) {
            result = result.with(field, u128::from(value) & field.exact_mask().to_u128());
        }
    }
    result
}

/// Number of `NXM_NX_COOKIE`.
const NXM_NX_COOKIE: u8 = 30;

/// Appends NXM entries, without padding.
pub(super) fn put_nxm(
    matching: &Match,
    cookie: Option<(Cookie, u64)>,
    out: &mut Vec<u8>,
) -> Result<(), VersionError> {
    for entry in matching {
        let &FieldMatch { field, value, mask } = entry;
        let mask = (!entry.is_exact()).then_some(mask);
        match field {
            Field::InPort => {
                let port = OfPort(value.to_u64() as u32);
                let Some(port) = port.to_16() else {
                    let what = format!("in_port={port}");
                    return Err(Version::OpenFlow10.lacks(what, "its port numbers have 16 bits"));
                };
                put_entry(&Field::InPort16.spec().nxm, Field::InPort16, port.into(), None, out);
            }
            Field::VlanVid => put_tci(matching, out),
            // With the identifier, without which it cannot be matched.
            Field::VlanPcp if matching.get(Field::VlanVid).is_some() => {}
            Field::VlanPcp => put_tci(matching, out),
            Field::IpDscp => {
                let tos = FieldValue::from(value.to_u64() << 2);
                put_entry(&Field::IpTos.spec().nxm, Field::IpTos, tos, None, out);
            }
            _ => put_entry(&field.spec().nxm, field, value, mask, out),
        }
    }
    out.put(matching.unknown());
    if let Some((cookie, mask)) = cookie {
        let is_exact = mask == u64::MAX;
        out.put_u16(Class::NXM_NX.number());
        out.put(&[NXM_NX_COOKIE << 1 | u8::from(!is_exact), if is_exact { 8 } else { 16 }]);
        out.put_u64(cookie.0 & mask);
        if !is_exact {
            out.put_u64(mask);
        }
    }
    Ok(())
}

/// Appends the tag control field that identifier and priority are together.
fn put_tci(matching: &Match, out: &mut Vec<u8>) {
    let of = |field: Field| {
        matching.get(field).map_or((0, 0), |entry| (entry.value.to_u64() as u16, entry.mask.to_u64() as u16))
    };
    let (vid, pcp) = (of(Field::VlanVid), of(Field::VlanPcp));
    // What says that there is no tag says that its priority is zero.
    let no_tag = vid == (0, 0x1fff);
    let value = vid.0 | pcp.0 << 13;
    let mask = if no_tag { u16::MAX } else { vid.1 | pcp.1 << 13 };
    let mask = (mask != u16::MAX).then_some(mask.into());
    put_entry(&Field::VlanTci.spec().nxm, Field::VlanTci, value.into(), mask, out);
}

/// What an NXM match holds besides the fields: the wanted cookie and its mask.
type WantedCookie = Option<(Cookie, u64)>;

/// Takes NXM entries to the end of `entries`.
pub(super) fn take_nxm(entries: Reader<'_>) -> Result<(Match, WantedCookie), DecodeError> {
    let bytes = entries.peek();
    let mut rest = Vec::with_capacity(bytes.len());
    let mut wanted = None;
    let mut at = 0;
    for entry in MatchEntries::over(bytes) {
        let length = entry.value.len() + entry.mask.map_or(0, <[u8]>::len);
        let end = at + 4 + entry.experimenter.map_or(0, |_| 4) + length;
        let is_cookie = entry.class == Class::NXM_NX.number() && entry.number == NXM_NX_COOKIE;
        match (is_cookie && length % 8 == 0).then(|| (entry.number(), entry.mask_number())) {
            Some((Some(value), mask)) if entry.value.len() == 8 => {
                let mask = mask.map_or(u64::MAX, FieldValue::to_u64);
                if wanted.replace((Cookie(value.to_u64()), mask)).is_some() {
                    return Err(DecodeError::Refused { what: "cookie", error: "OFPBMC_DUP_FIELD" });
                }
            }
            _ => rest.put(&bytes[at..end]),
        }
        at = end;
    }
    // What is no whole entry is for the decoder to refuse.
    rest.put(&bytes[at..]);
    Ok((Match::take_entries(&mut Reader::new("match", &rest))?, wanted))
}
