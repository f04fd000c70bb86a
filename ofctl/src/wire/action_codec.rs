//! Actions and instructions as bytes: OpenFlow 1.3.5 §7.2.4 and §7.2.5, ovs-actions(7).

use super::action::{Action, Instructions};
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::field::{Field, SubField};
use super::ids::{GroupId, OfPort, TableId};
use super::oxm;

/// `OFPAT_*`.
mod action_type {
    pub(super) const OUTPUT: u16 = 0;
    pub(super) const PUSH_VLAN: u16 = 17;
    pub(super) const POP_VLAN: u16 = 18;
    pub(super) const GROUP: u16 = 22;
    pub(super) const DEC_NW_TTL: u16 = 24;
    pub(super) const SET_FIELD: u16 = 25;
    pub(super) const EXPERIMENTER: u16 = 0xffff;
}

/// `NXAST_*`.
mod nicira {
    pub(super) const RESUBMIT: u16 = 1;
    pub(super) const REG_MOVE: u16 = 6;
    pub(super) const REG_LOAD: u16 = 7;
    pub(super) const NOTE: u16 = 8;
    pub(super) const RESUBMIT_TABLE: u16 = 14;
    pub(super) const OUTPUT_REG: u16 = 15;
    pub(super) const STACK_PUSH: u16 = 27;
    pub(super) const STACK_POP: u16 = 28;
}

/// `OFPIT_*`.
mod instruction_type {
    pub(super) const GOTO_TABLE: u16 = 1;
    pub(super) const WRITE_METADATA: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 3;
    pub(super) const APPLY_ACTIONS: u16 = 4;
    pub(super) const CLEAR_ACTIONS: u16 = 5;
    pub(super) const METER: u16 = 6;
}

/// `OFPP_IN_PORT` as 16 bits: in a resubmit, the ingress port stays what it is.
const IN_PORT_16: u16 = 0xfff8;
/// The `max_len` of an `OUTPUT_REG`, for a register that may hold `OFPP_CONTROLLER`.
const WHOLE_PACKET: u16 = 0xffff;

fn put_nicira<'a>(out: &'a mut Vec<u8>, subtype: u16) -> Nested<'a> {
    let mut out = Nested::begin(out, 2, Padding::Counted);
    out.put_u16(action_type::EXPERIMENTER);
    out.put_u16(0);
    out.put_u32(super::NICIRA_EXPERIMENTER);
    out.put_u16(subtype);
    out
}

/// Offset, width and header of bits in an action that has two bytes for the one and four for the other.
fn put_packed(bits: SubField, action: &'static str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let field = bits.field;
    if bits.n_bits > 64 {
        return Err(EncodeError::TooWide { field: field.name(), action });
    }
    if field.spec().nxm.class.experimenter().is_some() {
        return Err(EncodeError::FieldInAction { field: field.name(), action });
    }
    out.put_u16(pack_bits(bits));
    oxm::put_action_header(field, out);
    Ok(())
}

/// Offset and width in 16 bits, the width less one in the lower six.
fn pack_bits(bits: SubField) -> u16 {
    bits.start << 6 | (bits.n_bits.saturating_sub(1) & 0x3f)
}

fn unpack_bits(field: Option<Field>, packed: u16) -> Option<SubField> {
    sub_field(field?, packed >> 6, (packed & 0x3f) + 1)
}

fn sub_field(field: Field, start: u16, n_bits: u16) -> Option<SubField> {
    let end = start.checked_add(n_bits)?;
    (n_bits > 0 && end <= field.bits_wide()).then_some(SubField { field, start, n_bits })
}

impl Action {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Action::Output(port) => put_output(*port, 0, out),
            Action::Controller { max_len } => put_output(OfPort::CONTROLLER, *max_len, out),
            Action::SetField(field, value) => {
                let mut out = Nested::begin(out, 2, Padding::Counted);
                out.put_u16(action_type::SET_FIELD);
                out.put_u16(0);
                oxm::put_exact(*field, *value, &mut out);
            }
            Action::PushVlan(ethertype) => {
                out.put_u16(action_type::PUSH_VLAN);
                out.put_u16(8);
                out.put_u16(*ethertype);
                out.put_u16(0);
            }
            Action::PopVlan => put_bare(action_type::POP_VLAN, out),
            Action::DecTtl => put_bare(action_type::DEC_NW_TTL, out),
            Action::Group(group) => {
                out.put_u16(action_type::GROUP);
                out.put_u16(8);
                out.put_u32(group.0);
            }
            Action::RegLoad { dst, value } => {
                let mut out = put_nicira(out, nicira::REG_LOAD);
                put_packed(*dst, "load", &mut out)?;
                out.put_u64(*value);
            }
            Action::RegMove { src, dst } => {
                let mut out = put_nicira(out, nicira::REG_MOVE);
                out.put_u16(src.n_bits);
                out.put_u16(src.start);
                out.put_u16(dst.start);
                oxm::put_action_header(src.field, &mut out);
                oxm::put_action_header(dst.field, &mut out);
            }
            Action::ResubmitTable { table } => put_resubmit(IN_PORT_16, *table, out),
            Action::ResubmitPort { port, table } => put_resubmit(*port, *table, out),
            Action::OutputReg(src) => {
                let mut out = put_nicira(out, nicira::OUTPUT_REG);
                put_packed(*src, "output", &mut out)?;
                out.put_u16(WHOLE_PACKET);
                out.put_zeros(6);
            }
            Action::StackPush(bits) => put_stack(nicira::STACK_PUSH, *bits, out),
            Action::StackPop(bits) => put_stack(nicira::STACK_POP, *bits, out),
            Action::Note(bytes) => put_nicira(out, nicira::NOTE).put(bytes),
            Action::Unknown(bytes) => out.put(bytes),
        }
        Ok(())
    }

    /// Decodes exactly one action, header included.
    ///
    /// # Errors
    /// If the bytes are not one action.
    pub fn from_bytes(bytes: &[u8]) -> Result<Action, DecodeError> {
        let mut input = Reader::new("action", bytes);
        let action = Action::take(&mut input)?;
        input.finish()?;
        Ok(action)
    }

    /// Takes one action.
    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Action, DecodeError> {
        let whole = input.peek();
        let kind = input.u16()?;
        let length = usize::from(input.u16()?);
        if length < 8 || !length.is_multiple_of(8) {
            return Err(DecodeError::BadLength { what: "action", length });
        }
        let mut body = input.sub("action", length - 4)?;
        let known = take_known(kind, &mut body)?;
        match known {
            Some(action) => {
                body.finish()?;
                Ok(action)
            }
            // What was taken from the input is the beginning of what was there.
            None => Ok(Action::Unknown(whole[..length].into())),
        }
    }

    pub(crate) fn take_all(mut input: Reader<'_>) -> Result<Vec<Action>, DecodeError> {
        let mut actions = Vec::with_capacity(input.peek().len() / 16);
        while !input.is_empty() {
            actions.push(Action::take(&mut input)?);
        }
        Ok(actions)
    }
}

fn put_output(port: OfPort, max_len: u16, out: &mut Vec<u8>) {
    out.put_u16(action_type::OUTPUT);
    out.put_u16(16);
    out.put_u32(port.0);
    out.put_u16(max_len);
    out.put_zeros(6);
}

fn put_bare(kind: u16, out: &mut Vec<u8>) {
    out.put_u16(kind);
    out.put_u16(8);
    out.put_u32(0);
}

fn put_resubmit(port: u16, table: TableId, out: &mut Vec<u8>) {
    let mut out = put_nicira(out, nicira::RESUBMIT_TABLE);
    out.put_u16(port);
    out.put_u8(table.0);
}

fn put_stack(subtype: u16, bits: SubField, out: &mut Vec<u8>) {
    let mut out = put_nicira(out, subtype);
    out.put_u16(bits.start);
    oxm::put_action_header(bits.field, &mut out);
    out.put_u16(bits.n_bits);
}

/// Takes the body of an action; `None` if it is none that has a variant of its own.
fn take_known(kind: u16, body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match kind {
        action_type::OUTPUT => {
            let port = OfPort(body.u32()?);
            let max_len = body.u16()?;
            body.skip(6)?;
            if port == OfPort::CONTROLLER { Action::Controller { max_len } } else { Action::Output(port) }
        }
        action_type::SET_FIELD => match oxm::take_exact(body)? {
            Some((field, value)) => {
                let padding = body.rest();
                if padding.len() >= 8 {
                    return Err(DecodeError::Trailing { what: "set_field", left: padding.len() });
                }
                Action::SetField(field, value)
            }
            None => return Ok(None),
        },
        action_type::PUSH_VLAN => {
            let ethertype = body.u16()?;
            body.skip(2)?;
            Action::PushVlan(ethertype)
        }
        action_type::POP_VLAN => {
            body.skip(4)?;
            Action::PopVlan
        }
        action_type::DEC_NW_TTL => {
            body.skip(4)?;
            Action::DecTtl
        }
        action_type::GROUP => Action::Group(GroupId(body.u32()?)),
        action_type::EXPERIMENTER => {
            if body.u32()? != super::NICIRA_EXPERIMENTER || body.is_empty() {
                return Ok(None);
            }
            return take_nicira(body);
        }
        _ => return Ok(None),
    }))
}

fn take_nicira(body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let action = match body.u16()? {
        nicira::REG_LOAD => {
            let packed = body.u16()?;
            let field = oxm::take_action_header(body)?;
            let dst = unpack_bits(field, packed);
            // An experimenter's field makes it longer than the form that is written here.
            let value = if body.peek().len() == 8 { Some(body.u64()?) } else { None };
            dst.zip(value).map(|(dst, value)| Action::RegLoad { dst, value })
        }
        nicira::REG_MOVE => {
            let n_bits = body.u16()?;
            let (src_start, dst_start) = (body.u16()?, body.u16()?);
            let (src, dst) = (oxm::take_action_header(body)?, oxm::take_action_header(body)?);
            let src = src.and_then(|field| sub_field(field, src_start, n_bits));
            let dst = dst.and_then(|field| sub_field(field, dst_start, n_bits));
            let padding = body.rest();
            src.zip(dst).filter(|_| is_padding(padding)).map(|(src, dst)| Action::RegMove { src, dst })
        }
        nicira::RESUBMIT => {
            let port = body.u16()?;
            body.skip(4)?;
            Some(Action::ResubmitPort { port, table: TableId::ALL })
        }
        nicira::RESUBMIT_TABLE => {
            let port = body.u16()?;
            let table = TableId(body.u8()?);
            body.skip(3)?;
            Some(match port {
                IN_PORT_16 if table != TableId::ALL => Action::ResubmitTable { table },
                _ => Action::ResubmitPort { port, table },
            })
        }
        nicira::OUTPUT_REG => {
            let packed = body.u16()?;
            let src = unpack_bits(oxm::take_action_header(body)?, packed);
            let max_len = body.u16()?;
            let padding = body.rest();
            src.filter(|_| max_len == WHOLE_PACKET && padding.len() == 6).map(Action::OutputReg)
        }
        subtype @ (nicira::STACK_PUSH | nicira::STACK_POP) => {
            let start = body.u16()?;
            let field = oxm::take_action_header(body)?;
            let n_bits = body.u16()?;
            let padding = body.rest();
            let bits = field.and_then(|field| sub_field(field, start, n_bits));
            let wrap = if subtype == nicira::STACK_PUSH { Action::StackPush } else { Action::StackPop };
            bits.filter(|_| is_padding(padding)).map(wrap)
        }
        nicira::NOTE => Some(Action::Note(body.rest().into())),
        _ => None,
    };
    Ok(action)
}

fn is_padding(bytes: &[u8]) -> bool {
    bytes.len() < 8 && bytes.iter().all(|&byte| byte == 0)
}

fn put_actions(kind: u16, actions: &[Action], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut out = Nested::begin(out, 2, Padding::Counted);
    out.put_u16(kind);
    out.put_u16(0);
    out.put_u32(0);
    actions.iter().try_for_each(|action| action.encode(&mut out))
}

impl Instructions {
    /// Appends the instructions in the order in which they are carried out.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some(meter) = self.meter {
            out.put_u16(instruction_type::METER);
            out.put_u16(8);
            out.put_u32(meter);
        }
        if !self.apply.is_empty() {
            put_actions(instruction_type::APPLY_ACTIONS, &self.apply, out)?;
        }
        if self.clear {
            put_bare(instruction_type::CLEAR_ACTIONS, out);
        }
        if !self.write.is_empty() {
            put_actions(instruction_type::WRITE_ACTIONS, &self.write, out)?;
        }
        if let Some((value, mask)) = self.write_metadata {
            out.put_u16(instruction_type::WRITE_METADATA);
            out.put_u16(24);
            out.put_u32(0);
            out.put_u64(value);
            out.put_u64(mask);
        }
        if let Some(table) = self.goto {
            out.put_u16(instruction_type::GOTO_TABLE);
            out.put_u16(8);
            out.put_u8(table.0);
            out.put_zeros(3);
        }
        Ok(())
    }

    /// Takes instructions to the end of `input`.
    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Instructions, DecodeError> {
        let mut result = Instructions::default();
        let mut seen = 0u32;
        while !input.is_empty() {
            let kind = input.u16()?;
            let length = usize::from(input.u16()?);
            if length < 8 || !length.is_multiple_of(8) {
                return Err(DecodeError::BadLength { what: "instruction", length });
            }
            let mut body = input.sub("instruction", length - 4)?;
            let what = match kind {
                instruction_type::METER => {
                    result.meter = Some(body.u32()?);
                    "meter"
                }
                instruction_type::APPLY_ACTIONS => {
                    body.skip(4)?;
                    result.apply = Action::take_all(body.sub("apply_actions", length - 8)?)?;
                    "apply_actions"
                }
                instruction_type::CLEAR_ACTIONS => {
                    body.skip(4)?;
                    result.clear = true;
                    "clear_actions"
                }
                instruction_type::WRITE_ACTIONS => {
                    body.skip(4)?;
                    result.write = Action::take_all(body.sub("write_actions", length - 8)?)?;
                    "write_actions"
                }
                instruction_type::WRITE_METADATA => {
                    body.skip(4)?;
                    result.write_metadata = Some((body.u64()?, body.u64()?));
                    "write_metadata"
                }
                instruction_type::GOTO_TABLE => {
                    result.goto = Some(TableId(body.u8()?));
                    body.skip(3)?;
                    "goto_table"
                }
                _ => return Err(DecodeError::BadValue { what: "instruction type", value: kind.into() }),
            };
            body.finish()?;
            if seen & 1 << kind != 0 {
                return Err(DecodeError::DuplicateInstruction { what });
            }
            seen |= 1 << kind;
        }
        Ok(result)
    }
}
