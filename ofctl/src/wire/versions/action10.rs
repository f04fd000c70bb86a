//! The actions of OpenFlow 1.0 (§5.2.4), and those of Nicira that stand in for actions of later versions there.

use super::super::NICIRA_EXPERIMENTER;
use super::super::action::Action;
use super::super::action_codec::{action_type, nicira_header, put_nicira};
use super::super::cursor::{Put, Reader};
use super::super::error::DecodeError;
use super::super::field::{Field, SubField};
use super::super::ids::{GroupId, OfPort};
use super::super::nicira::MaskedField;
use super::super::value::FieldValue;
use super::actions::Context;
use super::matching::VLAN_PRESENT;
use super::{Version, VersionError, Warning};

/// `OFPAT_*` of 1.0.
mod kind {
    pub(super) const OUTPUT: u16 = 0;
    pub(super) const SET_VLAN_VID: u16 = 1;
    pub(super) const SET_VLAN_PCP: u16 = 2;
    pub(super) const STRIP_VLAN: u16 = 3;
    pub(super) const SET_DL_SRC: u16 = 4;
    pub(super) const SET_DL_DST: u16 = 5;
    pub(super) const SET_NW_SRC: u16 = 6;
    pub(super) const SET_NW_DST: u16 = 7;
    pub(super) const SET_NW_TOS: u16 = 8;
    pub(super) const SET_TP_SRC: u16 = 9;
    pub(super) const SET_TP_DST: u16 = 10;
    pub(super) const ENQUEUE: u16 = 11;
}

/// `NXAST_*` that later versions have as actions of their own.
mod nxast {
    pub(super) const SET_TUNNEL: u16 = 2;
    pub(super) const SET_QUEUE: u16 = 4;
    pub(super) const SET_TUNNEL64: u16 = 9;
    pub(super) const DEC_TTL: u16 = 18;
    pub(super) const WRITE_METADATA: u16 = 22;
    pub(super) const PUSH_MPLS: u16 = 23;
    pub(super) const POP_MPLS: u16 = 24;
    pub(super) const SET_MPLS_TTL: u16 = 25;
    pub(super) const DEC_MPLS_TTL: u16 = 26;
    pub(super) const SET_MPLS_LABEL: u16 = 30;
    pub(super) const SET_MPLS_TC: u16 = 31;
    pub(super) const GROUP: u16 = 40;
}

const VERSION: Version = Version::OpenFlow10;
const VLAN: u16 = 0x8100;
/// `max_len` of the output that an enqueue becomes later.
const WHOLE_PACKET: u16 = 0xffff;

/// Appends what the first of these actions is in 1.0, if that is another than in 1.3; how many were used.
pub(super) fn put(
    context: &Context,
    actions: &[Action],
    out: &mut Vec<u8>,
    warnings: &mut Vec<Warning>,
) -> Result<usize, VersionError> {
    match actions {
        [
            Action::SetQueue(queue),
            Action::OutputWith { port, max_len: WHOLE_PACKET },
            Action::PopQueue,
            ..,
        ] => {
            put_header(kind::ENQUEUE, 16, out);
            out.put_u16(short(*port)?);
            out.put_zeros(6);
            out.put_u32(*queue);
            return Ok(3);
        }
        [Action::PushVlan(VLAN), Action::SetField(Field::VlanVid | Field::VlanPcp, _), ..] => {
            if context.tagged != Some(false) && !warnings.contains(&Warning::PushVlan) {
                warnings.push(Warning::PushVlan);
            }
            return Ok(1);
        }
        _ => {}
    }
    match &actions[0] {
        Action::Output(port) => put_output(*port, 0, out)?,
        Action::OutputWith { port, max_len } => put_output(*port, *max_len, out)?,
        Action::Controller { max_len } => put_output(OfPort::CONTROLLER, *max_len, out)?,
        Action::SetField(field, value) => put_set_field(*field, *value, out)?,
        Action::PopVlan => put_number(kind::STRIP_VLAN, [0; 4], out),
        Action::PushVlan(_) => {
            let remedy =
                "only a set_field of vlan_vid or vlan_pcp right after a push_vlan:0x8100 can be said";
            return Err(VERSION.lacks("push_vlan", remedy));
        }
        Action::Group(group) => put_nicira_u32(nxast::GROUP, group.0, out),
        Action::SetQueue(queue) => put_nicira_u32(nxast::SET_QUEUE, *queue, out),
        Action::PushMpls(ethertype) => put_nicira(out, nxast::PUSH_MPLS).put_u16(*ethertype),
        Action::PopMpls(ethertype) => put_nicira(out, nxast::POP_MPLS).put_u16(*ethertype),
        Action::SetMplsTtl(ttl) => put_nicira(out, nxast::SET_MPLS_TTL).put_u8(*ttl),
        Action::DecMplsTtl => drop(put_nicira(out, nxast::DEC_MPLS_TTL)),
        Action::DecTtl => drop(put_nicira(out, nxast::DEC_TTL)),
        Action::SetNwTtl(ttl) => Action::load(Field::IpTtl.whole(), (*ttl).into()).encode(out)?,
        _ => return Ok(0),
    }
    Ok(1)
}

fn put_header(kind: u16, length: u16, out: &mut Vec<u8>) {
    out.put_u16(kind);
    out.put_u16(length);
}

fn put_number(kind: u16, argument: [u8; 4], out: &mut Vec<u8>) {
    put_header(kind, 8, out);
    out.put(&argument);
}

fn put_nicira_u32(subtype: u16, argument: u32, out: &mut Vec<u8>) {
    let mut out = put_nicira(out, subtype);
    out.put_u16(0);
    out.put_u32(argument);
}

fn short(port: OfPort) -> Result<u16, VersionError> {
    port.to_16().ok_or_else(|| VERSION.lacks(format!("port {port}"), "its port numbers have 16 bits"))
}

fn put_output(port: OfPort, max_len: u16, out: &mut Vec<u8>) -> Result<(), VersionError> {
    let port = short(port)?;
    put_header(kind::OUTPUT, 8, out);
    out.put_u16(port);
    out.put_u16(max_len);
    Ok(())
}

/// Appends what writes a whole field.
fn put_set_field(field: Field, value: FieldValue, out: &mut Vec<u8>) -> Result<(), VersionError> {
    let number = value.to_u64();
    let [.., a, b] = number.to_be_bytes();
    let mac = |kind: u16, out: &mut Vec<u8>| {
        put_header(kind, 16, out);
        out.put(value.low_bytes(6));
        out.put_zeros(6);
    };
    let address = |kind: u16, out: &mut Vec<u8>| put_number(kind, (number as u32).to_be_bytes(), out);
    match field {
        Field::VlanVid => put_number(kind::SET_VLAN_VID, [a & 0xf, b, 0, 0], out),
        Field::VlanPcp => put_number(kind::SET_VLAN_PCP, [b, 0, 0, 0], out),
        Field::EthSrc => mac(kind::SET_DL_SRC, out),
        Field::EthDst => mac(kind::SET_DL_DST, out),
        Field::Ipv4Src => address(kind::SET_NW_SRC, out),
        Field::Ipv4Dst => address(kind::SET_NW_DST, out),
        Field::IpDscp => put_number(kind::SET_NW_TOS, [b << 2, 0, 0, 0], out),
        Field::IpTos => put_number(kind::SET_NW_TOS, [b, 0, 0, 0], out),
        Field::TcpSrc | Field::UdpSrc => put_number(kind::SET_TP_SRC, [a, b, 0, 0], out),
        Field::TcpDst | Field::UdpDst => put_number(kind::SET_TP_DST, [a, b, 0, 0], out),
        // Nor has a load room for an option, whose length the switch's TLV map says.
        _ if field.wire().nxm == 0 || usize::from(field.spec().wire_bytes) > FieldValue::MAX_BYTES => {
            Action::SetMasked(Box::new(MaskedField { field, value, mask: field.exact_mask() }))
                .encode(out)?;
        }
        _ => {
            let bits = field.bits_wide();
            for start in (0..bits).step_by(64) {
                let n_bits = (bits - start).min(64);
                let part = (value.to_u128() >> start) as u64;
                let part = if n_bits < 64 { part & ((1 << n_bits) - 1) } else { part };
                Action::load(SubField { field, start, n_bits }, part).encode(out)?;
            }
        }
    }
    Ok(())
}

/// Appends a `NXAST_WRITE_METADATA`.
pub(super) fn put_write_metadata(value: u64, mask: u64, out: &mut Vec<u8>) {
    out.put(&nicira_header(32, nxast::WRITE_METADATA));
    out.put_zeros(6);
    out.put_u64(value);
    out.put_u64(mask);
}

/// Value and mask of a `NXAST_WRITE_METADATA`, if it is one.
pub(super) fn take_write_metadata(action: &[u8; 32]) -> Option<(u64, u64)> {
    let mut body = Reader::new("write_metadata", action);
    let is_one = body.array::<10>().ok()? == nicira_header(32, nxast::WRITE_METADATA);
    let zeros = body.array::<6>().ok()? == [0; 6];
    if is_one && zeros { Some((body.u64().ok()?, body.u64().ok()?)) } else { None }
}

/// Appends an action of 1.0 as 1.3 has it; `false` if it is the same in both.
pub(super) fn translate(
    context: &Context,
    tagged: &mut bool,
    kind: u16,
    mut body: Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let length = body.peek().len() + 4;
    let wanted = match kind {
        kind::OUTPUT..=kind::STRIP_VLAN | kind::SET_NW_SRC..=kind::SET_TP_DST => 8,
        kind::SET_DL_SRC | kind::SET_DL_DST | kind::ENQUEUE => 16,
        action_type::EXPERIMENTER => length,
        _ => return Err(DecodeError::Refused { what: "action", error: "OFPBAC_BAD_TYPE" }),
    };
    if length != wanted {
        return Err(DecodeError::BadLength { what: "action", length });
    }
    let actions: Vec<Action> = match kind {
        kind::OUTPUT => match (OfPort::from_16(body.u16()?), body.u16()?) {
            (OfPort::CONTROLLER, max_len) => vec![Action::Controller { max_len }],
            (port, 0) => vec![Action::Output(port)],
            (port, max_len) => vec![Action::OutputWith { port, max_len }],
        },
        kind::SET_VLAN_VID => {
            let vid = body.u16()?;
            if vid & !0xfff != 0 {
                return Err(DecodeError::Refused { what: "set_vlan_vid", error: "OFPBAC_BAD_ARGUMENT" });
            }
            with_tag(tagged, Action::set_field(Field::VlanVid, vid | VLAN_PRESENT))
        }
        kind::SET_VLAN_PCP => {
            let pcp = body.u8()?;
            if pcp > 7 {
                return Err(DecodeError::Refused { what: "set_vlan_pcp", error: "OFPBAC_BAD_ARGUMENT" });
            }
            with_tag(tagged, Action::set_field(Field::VlanPcp, pcp))
        }
        kind::STRIP_VLAN => {
            *tagged = false;
            vec![Action::PopVlan]
        }
        kind::SET_DL_SRC => vec![Action::SetField(Field::EthSrc, FieldValue::from_low(&body.array::<6>()?))],
        kind::SET_DL_DST => vec![Action::SetField(Field::EthDst, FieldValue::from_low(&body.array::<6>()?))],
        kind::SET_NW_SRC => vec![Action::set_field(Field::Ipv4Src, body.u32()?)],
        kind::SET_NW_DST => vec![Action::set_field(Field::Ipv4Dst, body.u32()?)],
        kind::SET_NW_TOS => {
            let tos = body.u8()?;
            if tos & 3 != 0 {
                return Err(DecodeError::Refused { what: "set_nw_tos", error: "OFPBAC_BAD_ARGUMENT" });
            }
            vec![Action::set_field(Field::IpDscp, tos >> 2)]
        }
        kind::SET_TP_SRC => {
            vec![set_port(context, Field::TcpSrc, Field::UdpSrc, Field::SctpSrc, body.u16()?)?]
        }
        kind::SET_TP_DST => {
            vec![set_port(context, Field::TcpDst, Field::UdpDst, Field::SctpDst, body.u16()?)?]
        }
        kind::ENQUEUE => {
            let port = OfPort::from_16(body.u16()?);
            body.skip(6)?;
            let queue = Action::SetQueue(body.u32()?);
            vec![queue, Action::OutputWith { port, max_len: WHOLE_PACKET }, Action::PopQueue]
        }
        _ => match take_nicira(&mut body)? {
            Some(action) => vec![action],
            None => return Ok(false),
        },
    };
    for action in actions {
        action.encode(out).map_err(|_| DecodeError::BadLength { what: "action", length })?;
    }
    Ok(true)
}

/// What writes a tag's field, and adds the tag before it if there may be none: 1.0 does so by itself.
fn with_tag(tagged: &mut bool, set: Action) -> Vec<Action> {
    if std::mem::replace(tagged, true) { vec![set] } else { vec![Action::PushVlan(VLAN), set] }
}

/// What writes a port, whose field hangs on the protocol.
fn set_port(
    context: &Context,
    tcp: Field,
    udp: Field,
    sctp: Field,
    port: u16,
) -> Result<Action, DecodeError> {
    let field = match context.ip_proto {
        Some(6) => tcp,
        Some(17) => udp,
        Some(132) => sctp,
        // Open vSwitch asks for the same prerequisite.
        _ => return Err(DecodeError::Refused { what: "set_tp", error: "OFPBAC_MATCH_INCONSISTENT" }),
    };
    Ok(Action::set_field(field, port))
}

/// The action of 1.3 for one of Nicira's; `None` if that is the same.
fn take_nicira(body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    if body.u32()? != NICIRA_EXPERIMENTER || body.is_empty() {
        return Ok(None);
    }
    let number = |body: &mut Reader<'_>| -> Result<u32, DecodeError> {
        body.skip(2)?;
        body.u32()
    };
    let action = match body.u16()? {
        nxast::SET_TUNNEL => Action::set_field(Field::TunnelId, u64::from(number(body)?)),
        nxast::SET_TUNNEL64 => {
            body.skip(6)?;
            Action::set_field(Field::TunnelId, body.u64()?)
        }
        nxast::SET_QUEUE => Action::SetQueue(number(body)?),
        nxast::GROUP => Action::Group(GroupId(number(body)?)),
        nxast::SET_MPLS_LABEL => Action::set_field(Field::MplsLabel, number(body)?),
        nxast::SET_MPLS_TC => Action::set_field(Field::MplsTc, body.u8()?),
        nxast::SET_MPLS_TTL => Action::SetMplsTtl(body.u8()?),
        nxast::DEC_MPLS_TTL => Action::DecMplsTtl,
        nxast::DEC_TTL => Action::DecTtl,
        nxast::PUSH_MPLS => Action::PushMpls(body.u16()?),
        nxast::POP_MPLS => Action::PopMpls(body.u16()?),
        _ => return Ok(None),
    };
    Ok(Some(action))
}
