//! Flows that make flows: `NXAST_LEARN` and `NXAST_LEARN2`, ovs-actions(7).

use super::action_codec::{put_nicira, sub_field, subtype};
use super::cursor::{Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::field::{Field, SubField};
use super::ids::{Cookie, TableId};
use super::oxm;
use super::value::FieldValue;

/// `NX_LEARN_F_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LearnFlags(pub u16);

impl LearnFlags {
    /// `NX_LEARN_F_SEND_FLOW_REM`: the learned flow says when it goes.
    pub const SEND_FLOW_REM: LearnFlags = LearnFlags(1);
    /// `NX_LEARN_F_DELETE_LEARNED`: the learned flows go when this flow goes.
    pub const DELETE_LEARNED: LearnFlags = LearnFlags(2);
    /// `NX_LEARN_F_WRITE_RESULT`; on the wire only, where it says that [`Learn::result_dst`] is there.
    const WRITE_RESULT: u16 = 4;

    /// True if all of `other`'s flags are set.
    pub const fn contains(self, other: LearnFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A condition or an action of the learned flow. The fields on both sides have the same number of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LearnSpec {
    /// It matches `dst` on what `src` holds in this packet.
    MatchField {
        /// Of this packet.
        src: SubField,
        /// Of the packets to come.
        dst: SubField,
    },
    /// It matches `dst` on `value`.
    MatchValue {
        /// The value.
        value: FieldValue,
        /// Of the packets to come.
        dst: SubField,
    },
    /// It loads into `dst` what `src` holds in this packet.
    LoadField {
        /// Of this packet.
        src: SubField,
        /// Of the packets to come.
        dst: SubField,
    },
    /// It loads `value` into `dst`.
    LoadValue {
        /// The value.
        value: FieldValue,
        /// Of the packets to come.
        dst: SubField,
    },
    /// It outputs to the port whose number `src` holds in this packet.
    Output(SubField),
}

/// Bits of the header of a specification on the wire.
mod header {
    pub(super) const FROM_VALUE: u16 = 1 << 13;
    pub(super) const TO_MATCH: u16 = 0 << 11;
    pub(super) const TO_LOAD: u16 = 1 << 11;
    pub(super) const TO_OUTPUT: u16 = 2 << 11;
    /// What says where to.
    pub(super) const TO: u16 = 3 << 11;
    pub(super) const N_BITS: u16 = 0x07ff;
    /// The top bits mean nothing.
    pub(super) const KNOWN: u16 = 0x3fff;
}

fn bad(error: &'static str) -> DecodeError {
    DecodeError::Refused { what: "learn", error }
}

fn put_bits(bits: SubField, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let field = bits.field;
    if field.is_experimenter() {
        return Err(EncodeError::FieldInAction { field: field.name(), action: "learn" });
    }
    oxm::put_action_header(field, out);
    out.put_u16(bits.start);
    Ok(())
}

fn take_bits(n_bits: u16, input: &mut Reader<'_>) -> Result<Option<SubField>, DecodeError> {
    let mut bits = input.sub("learn", 6)?;
    let field = oxm::take_action_header(&mut bits)?;
    let start = bits.u16()?;
    sub_field(field, start, n_bits)
}

impl LearnSpec {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut put_value = |to: u16, value: FieldValue, dst: SubField| {
            out.put_u16(header::FROM_VALUE | to | dst.n_bits);
            let length = 2 * usize::from(dst.n_bits.div_ceil(16));
            if length > FieldValue::MAX_BYTES {
                return Err(EncodeError::TooWide { field: dst.field.name(), action: "learn" });
            }
            out.put(value.low_bytes(length));
            put_bits(dst, out)
        };
        match *self {
            LearnSpec::MatchValue { value, dst } => put_value(header::TO_MATCH, value, dst),
            LearnSpec::LoadValue { value, dst } => put_value(header::TO_LOAD, value, dst),
            LearnSpec::MatchField { src, dst } => {
                out.put_u16(header::TO_MATCH | src.n_bits);
                put_bits(src, out)?;
                put_bits(dst, out)
            }
            LearnSpec::LoadField { src, dst } => {
                out.put_u16(header::TO_LOAD | src.n_bits);
                put_bits(src, out)?;
                put_bits(dst, out)
            }
            LearnSpec::Output(src) => {
                out.put_u16(header::TO_OUTPUT | src.n_bits);
                put_bits(src, out)
            }
        }
    }

    /// Takes one; `None` if there is something that is not known here.
    fn take(head: u16, input: &mut Reader<'_>) -> Result<Option<LearnSpec>, DecodeError> {
        let n_bits = head & header::N_BITS;
        let (from_value, to) = (head & header::FROM_VALUE != 0, head & header::TO);
        let to_field = matches!(to, header::TO_MATCH | header::TO_LOAD);
        if !to_field && (to != header::TO_OUTPUT || from_value) {
            return Err(bad("OFPBAC_BAD_ARGUMENT"));
        }
        if from_value {
            let value = FieldValue::from_be_slice(input.take(2 * usize::from(n_bits.div_ceil(16)))?);
            let dst = take_bits(n_bits, input)?;
            return Ok(value.zip(dst).map(|(value, dst)| match to {
                header::TO_MATCH => LearnSpec::MatchValue { value, dst },
                _ => LearnSpec::LoadValue { value, dst },
            }));
        }
        let src = take_bits(n_bits, input)?;
        if to == header::TO_OUTPUT {
            return Ok(src.map(LearnSpec::Output));
        }
        let dst = take_bits(n_bits, input)?;
        Ok(src.zip(dst).map(|(src, dst)| match to {
            header::TO_MATCH => LearnSpec::MatchField { src, dst },
            _ => LearnSpec::LoadField { src, dst },
        }))
    }
}

/// `NXAST_LEARN`, or `NXAST_LEARN2` where there is a limit or a result: make a flow out of this packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Learn {
    /// Table of the new flow.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: Cookie,
    /// Its idle timeout; 0 for none.
    pub idle_timeout: u16,
    /// Its hard timeout; 0 for none.
    pub hard_timeout: u16,
    /// Its idle timeout once TCP finishes; 0 leaves it.
    pub fin_idle_timeout: u16,
    /// Its hard timeout once TCP finishes; 0 leaves it.
    pub fin_hard_timeout: u16,
    /// Flags.
    pub flags: LearnFlags,
    /// No more flows than this in the table with this cookie; 0 for no limit.
    pub limit: u32,
    /// A bit that says whether the limit left room.
    pub result_dst: Option<SubField>,
    /// The flow's match and actions.
    pub specs: Vec<LearnSpec>,
}

impl Learn {
    /// A flow of this table, with the default priority and nothing else.
    pub const fn new(table: TableId) -> Learn {
        Learn {
            table,
            priority: 0x8000,
            cookie: Cookie(0),
            idle_timeout: 0,
            hard_timeout: 0,
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            flags: LearnFlags(0),
            limit: 0,
            result_dst: None,
            specs: Vec::new(),
        }
    }

    fn is_second_form(&self) -> bool {
        self.limit != 0 || self.result_dst.is_some()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let second = self.is_second_form();
        let mut out = put_nicira(out, if second { subtype::LEARN2 } else { subtype::LEARN });
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u16(self.priority);
        out.put_u64(self.cookie.0);
        out.put_u16(self.flags.0 | self.result_dst.map_or(0, |_| LearnFlags::WRITE_RESULT));
        out.put_u8(self.table.0);
        out.put_u8(0);
        out.put_u16(self.fin_idle_timeout);
        out.put_u16(self.fin_hard_timeout);
        if second {
            out.put_u32(self.limit);
            out.put_u16(self.result_dst.map_or(0, |bit| bit.start));
            out.put_u16(0);
            if let Some(bit) = self.result_dst {
                oxm::put_action_header(bit.field, &mut out);
            }
        }
        self.specs.iter().try_for_each(|spec| spec.encode(&mut out))
    }

    pub(super) fn take(body: &mut Reader<'_>, second: bool) -> Result<Option<Learn>, DecodeError> {
        let mut learn = Learn::new(TableId::ALL);
        learn.idle_timeout = body.u16()?;
        learn.hard_timeout = body.u16()?;
        learn.priority = body.u16()?;
        learn.cookie = Cookie(body.u64()?);
        let flags = body.u16()?;
        learn.table = TableId(body.u8()?);
        let pad = body.u8()?;
        learn.fin_idle_timeout = body.u16()?;
        learn.fin_hard_timeout = body.u16()?;
        let known = if second { 7 } else { 3 };
        if pad != 0 || learn.table == TableId::ALL || flags & !known != 0 {
            return Err(bad("OFPBAC_BAD_ARGUMENT"));
        }
        learn.flags = LearnFlags(flags & !LearnFlags::WRITE_RESULT);
        if second {
            learn.limit = body.u32()?;
            let start = body.u16()?;
            if body.u16()? != 0 {
                return Err(bad("NXBAC_MUST_BE_ZERO"));
            }
            if flags & LearnFlags::WRITE_RESULT != 0 {
                let Some(field) = oxm::take_action_header(body)? else { return Ok(None) };
                learn.result_dst = result_bit(field, start)?;
                if learn.result_dst.is_none() {
                    return Ok(None);
                }
            } else if start != 0 {
                return Err(bad("OFPBAC_BAD_ARGUMENT"));
            }
        }
        // A header of zero, or less than a header, is the padding at the end.
        while body.peek().len() >= 2 {
            let head = body.u16()?;
            if head == 0 {
                break;
            }
            match LearnSpec::take(head, body)? {
                Some(spec) if head & !header::KNOWN == 0 => learn.specs.push(spec),
                _ => return Ok(None),
            }
        }
        if body.rest().iter().any(|&byte| byte != 0) {
            return Err(bad("OFPBAC_BAD_ARGUMENT"));
        }
        Ok(Some(learn))
    }
}

/// The bit for the result; `None` if it is outside of its field, at which Open vSwitch does not look.
fn result_bit(field: Field, start: u16) -> Result<Option<SubField>, DecodeError> {
    if !field.spec().writable {
        return Err(bad("OFPBAC_BAD_SET_ARGUMENT"));
    }
    Ok((start < field.bits_wide()).then_some(SubField { field, start, n_bits: 1 }))
}
