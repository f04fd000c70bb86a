//! The actions of OpenFlow 1.5 that 1.3 says in another way: `OFPAT_SET_FIELD` with a mask, `OFPAT_COPY_FIELD` and
//! `OFPAT_METER`, OpenFlow 1.5 §7.2.6. Nicira's loads and moves are no longer there.

use super::super::action::Action;
use super::super::action_codec::{action_type, sub_field, subtype};
use super::super::cursor::{Nested, Padding, Put, Reader};
use super::super::error::{DecodeError, EncodeError};
use super::super::field::{Class, Field};
use super::super::nicira::MaskedField;
use super::super::oxm;
use super::super::value::FieldValue;
use super::actions::nicira_subtype;
use super::matching::{header, put_entry};
use super::{Version, VersionError};

/// `OFPAT_COPY_FIELD`.
pub(super) const COPY_FIELD: u8 = 28;
/// `OFPAT_METER`.
pub(super) const METER: u8 = 29;

const VERSION: Version = Version::OpenFlow15;

/// Appends what the first of these actions is in 1.5, if that is another than in 1.3; how many were used.
pub(super) fn put(actions: &[Action], out: &mut Vec<u8>) -> Result<usize, VersionError> {
    match &actions[0] {
        Action::RegLoad { dst, .. } => {
            let (value, mask, n) = gather(dst.field, actions)?;
            put_set_field(dst.field, value, mask, out);
            Ok(n)
        }
        Action::SetMasked(masked) => {
            put_set_field(masked.field, masked.value, masked.mask, out);
            Ok(1)
        }
        Action::SetField(field, value) => {
            put_set_field(*field, *value, FieldValue::new(u128::MAX), out);
            Ok(1)
        }
        Action::RegMove { src, dst } => {
            let mut out = Nested::begin(out, 2, Padding::Counted);
            out.put_u16(COPY_FIELD.into());
            out.put_u16(0);
            out.put_u16(src.n_bits);
            out.put_u16(src.start);
            out.put_u16(dst.start);
            out.put_u16(0);
            for field in [src.field, dst.field] {
                oxm::put_header(&header(VERSION, field), false, field.spec().wire_bytes.into(), &mut out);
            }
            Ok(1)
        }
        _ => Ok(0),
    }
}

/// The loads of ever higher bits of this field that come first: what they write together, and how many they are.
fn gather(field: Field, actions: &[Action]) -> Result<(FieldValue, FieldValue, usize), VersionError> {
    let (mut value, mut mask, mut end, mut n) = (0u128, 0u128, 0, 0);
    for action in actions {
        let Action::RegLoad { dst, value: part } = action else { break };
        if dst.field != field || dst.start < end {
            break;
        }
        end = dst.start + dst.n_bits;
        if end > 128 {
            // A tunnel option's higher bits.
            let what = format!("a load of bit {} of {}", end - 1, field.name());
            return Err(VERSION.lacks(what, "only the lowest 128 bits of an option can be written here"));
        }
        value |= u128::from(*part) << dst.start;
        mask |= ones(dst.n_bits) << dst.start;
        n += 1;
    }
    Ok((FieldValue::new(value), FieldValue::new(mask), n))
}

fn ones(n_bits: u16) -> u128 {
    if n_bits >= 128 { u128::MAX } else { (1 << n_bits) - 1 }
}

/// Appends a set-field; without a mask if it writes every byte of the field.
fn put_set_field(field: Field, value: FieldValue, mask: FieldValue, out: &mut Vec<u8>) {
    let mut out = Nested::begin(out, 2, Padding::Counted);
    out.put_u16(action_type::SET_FIELD);
    out.put_u16(0);
    let whole = FieldValue::new(ones(8 * u16::from(field.spec().wire_bytes)));
    let mask = mask & whole;
    put_entry(&header(VERSION, field), field, value, (mask != whole).then_some(mask), &mut out);
}

pub(super) fn put_meter(meter: u32, out: &mut Vec<u8>) {
    out.put_u16(METER.into());
    out.put_u16(8);
    out.put_u32(meter);
}

/// Takes a meter action, if one comes first.
pub(super) fn take_meter(actions: &mut Reader<'_>) -> Option<u32> {
    let &[0, METER, 0, 8, a, b, c, d] = actions.peek().first_chunk()? else { return None };
    actions.skip(8).ok()?;
    Some(u32::from_be_bytes([a, b, c, d]))
}

/// Appends an action of 1.5 as 1.3 has it; `false` if it is the same in both.
pub(super) fn translate(kind: u16, mut body: Reader<'_>, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
    let refused = |what, error| DecodeError::Refused { what, error };
    let written = match kind {
        action_type::SET_FIELD => {
            let has_mask = body.peek().get(2).is_some_and(|number| number & 1 == 1);
            if !has_mask {
                return Ok(false);
            }
            // Bits outside of the mask mean nothing, and Open vSwitch writes them.
            let mut entry = body.peek().to_vec();
            drop_unmasked(&mut entry);
            let mut entry = Reader::new("set_field", &entry);
            // A field that is not known goes through as it is.
            let Some((field, value, mask)) = oxm::take_masked(&mut entry)? else { return Ok(false) };
            if entry.peek().len() >= 8 {
                return Ok(false);
            }
            if mask.is_zero() {
                return Err(refused("set_field", "OFPBAC_BAD_SET_MASK"));
            }
            Action::SetMasked(Box::new(MaskedField { field, value, mask })).encode(out)
        }
        kind if kind == u16::from(COPY_FIELD) => {
            let (n_bits, src_start, dst_start) = (body.u16()?, body.u16()?, body.u16()?);
            body.skip(2)?;
            let (src, dst) = (take_field(&mut body)?, take_field(&mut body)?);
            let src = sub_field(src, src_start, n_bits)?;
            let dst = sub_field(dst, dst_start, n_bits)?;
            let Some((src, dst)) = src.zip(dst) else { return Ok(false) };
            if body.rest().iter().any(|&byte| byte != 0) {
                return Err(refused("copy_field", "NXBRC_MUST_BE_ZERO"));
            }
            Action::RegMove { src, dst }.encode(out)
        }
        action_type::EXPERIMENTER => {
            let mut whole = vec![0xff, 0xff, 0, 0];
            whole.put(body.peek());
            // They are not there any more: set_field and copy_field do what they did.
            let gone = [subtype::REG_LOAD, subtype::REG_LOAD2, subtype::REG_MOVE];
            if nicira_subtype(kind, &whole).is_some_and(|subtype| gone.contains(&subtype)) {
                return Err(refused("action", "OFPBAC_BAD_VENDOR_TYPE"));
            }
            return Ok(false);
        }
        _ => return Ok(false),
    };
    written.map(|()| true).map_err(|_: EncodeError| refused("action", "OFPBAC_BAD_LEN"))
}

/// Clears the bits of the first entry's value that its mask does not have.
fn drop_unmasked(entry: &mut [u8]) {
    let start = if entry.starts_with(&Class::EXPERIMENTER.to_be_bytes()) { 8 } else { 4 };
    let end = 4 + usize::from(entry.get(3).copied().unwrap_or_default());
    let Some(payload) = entry.get_mut(start..end) else { return };
    let (value, mask) = payload.split_at_mut(payload.len() / 2);
    value.iter_mut().zip(mask).for_each(|(value, mask)| *value &= *mask);
}

/// A field's header by the names of 1.5.
fn take_field(body: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
    for field in [Field::TcpFlags, Field::ActsetOutput] {
        let mut named = Vec::new();
        oxm::put_header(&header(VERSION, field), false, field.spec().wire_bytes.into(), &mut named);
        if body.peek().starts_with(&named) {
            body.skip(named.len())?;
            return Ok(Some(field));
        }
    }
    oxm::take_action_header(body)
}
