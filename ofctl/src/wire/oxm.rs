//! Matches as OXM entries, OpenFlow 1.3.5 §7.2.3.

use super::cursor::{Nested, Padding, Put, Reader};
use super::error::DecodeError;
use super::field::{Class, Field, Header};
use super::matching::Match;
use super::value::FieldValue;

/// `OFPMT_OXM`.
pub(super) const MATCH_TYPE_OXM: u16 = 1;

/// Appends a field's header for a payload of `length` bytes, experimenter not counted.
#[inline]
pub(crate) fn put_header(header: &Header, has_mask: bool, length: usize, out: &mut Vec<u8>) {
    let experimenter = header.class.experimenter();
    let length = length as u32 + if experimenter.is_some() { 4 } else { 0 };
    out.put_u32(
        u32::from(header.class.number()) << 16
            | u32::from(header.number) << 9
            | u32::from(has_mask) << 8
            | length,
    );
    if let Some(experimenter) = experimenter {
        out.put_u32(experimenter);
    }
}

/// Appends the low bytes of a value; the usual lengths without a loop.
#[inline]
fn put_value(value: FieldValue, length: usize, out: &mut Vec<u8>) {
    match length {
        1 => out.put_u8(value.to_u64() as u8),
        2 => out.put_u16(value.to_u64() as u16),
        4 => out.put_u32(value.to_u64() as u32),
        8 => out.put_u64(value.to_u64()),
        _ => out.put(value.low_bytes(length)),
    }
}

/// Bytes that a value takes on the wire. Tunnel options have no fixed length; a switch takes the shortest one.
#[inline]
pub(crate) fn value_length(field: Field, value: FieldValue, mask: Option<FieldValue>) -> usize {
    let fixed = usize::from(field.spec().wire_bytes);
    if fixed <= FieldValue::MAX_BYTES {
        return fixed;
    }
    let bits = value.to_u128() | mask.map_or(0, FieldValue::to_u128);
    (128 - bits.leading_zeros()).div_ceil(8).max(1) as usize
}

/// Appends a field with its value and perhaps a mask.
#[inline]
pub(crate) fn put_entry(field: Field, value: FieldValue, mask: Option<FieldValue>, out: &mut Vec<u8>) {
    /// One append an entry, of a length that is known when this is compiled.
    macro_rules! put {
        ($($n:literal)*) => {
            match (field.wire().header, mask) {
                $((header, None) if header & 0xff == $n => {
                    let mut entry = [0; 4 + $n];
                    entry[..4].copy_from_slice(&header.to_be_bytes());
                    entry[4..].copy_from_slice(value.low::<$n>());
                    return out.put(&entry);
                })*
                $((header, Some(mask)) if header & 0xff == $n => {
                    let mut entry = [0; 4 + 2 * $n];
                    // The bit that says so, and twice the length.
                    entry[..4].copy_from_slice(&(header + 0x100 + $n).to_be_bytes());
                    entry[4..4 + $n].copy_from_slice(value.low::<$n>());
                    entry[4 + $n..].copy_from_slice(mask.low::<$n>());
                    return out.put(&entry);
                })*
                _ => {}
            }
        };
    }
    put!(4 2 1 6 8 16);
    let header = &field.spec().oxm;
    let length = value_length(field, value, mask);
    match mask {
        None => {
            put_header(header, false, length, out);
            put_value(value, length, out);
        }
        Some(mask) => {
            put_header(header, true, 2 * length, out);
            put_value(value, length, out);
            put_value(mask, length, out);
        }
    }
}

/// A header as it came: the field if it is known, and the length of what follows it.
struct RawHeader {
    field: Option<Field>,
    has_mask: bool,
    length: usize,
}

fn take_header(input: &mut Reader<'_>) -> Result<RawHeader, DecodeError> {
    let class = input.u16()?;
    let number_and_mask = input.u8()?;
    let mut length = usize::from(input.u8()?);
    let experimenter = if class == Class::EXPERIMENTER {
        length = length.checked_sub(4).ok_or_else(|| input.bad_length(length))?;
        Some(input.u32()?)
    } else {
        None
    };
    let field = Field::from_header(class, number_and_mask >> 1, experimenter);
    Ok(RawHeader { field, has_mask: number_and_mask & 1 == 1, length })
}

/// A header inside of an action, where a cut is an error of a match nevertheless.
#[inline]
fn take_entry_header(input: &mut Reader<'_>) -> Result<RawHeader, DecodeError> {
    take_header(input).map_err(|error| error.in_part("OFPBMC_BAD_LEN", "OFPBMC_BAD_FIELD"))
}

/// What follows such a header.
#[inline]
fn take_payload<'a>(header: &RawHeader, input: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length = if header.has_mask { header.length / 2 } else { header.length };
    if let Some(field) = header.field.filter(|field| !length_fits(*field, length)) {
        let longer = usize::from(field.spec().wire_bytes) > FieldValue::MAX_BYTES;
        if !longer {
            // A header that says nothing follows is that of no field.
            let error = if header.length == 0 { "OFPBAC_BAD_SET_TYPE" } else { "OFPBAC_BAD_SET_LEN" };
            return Err(DecodeError::Refused { what: field.name(), error });
        }
    }
    input.take(header.length).map_err(|error| error.in_part("OFPBMC_BAD_LEN", "OFPBMC_BAD_FIELD"))
}

/// A field's header in a Nicira action, where no value follows: its length is that of the whole field, or for a
/// tunnel option whatever the switch's TLV map makes of it.
pub(crate) fn take_action_header(input: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
    let header = take_entry_header(input)?;
    let fits = |field: &Field| {
        let whole = usize::from(field.spec().wire_bytes);
        header.length == whole || (whole > FieldValue::MAX_BYTES && header.length <= whole)
    };
    Ok(header.field.filter(|field| !header.has_mask && fits(field)))
}

/// Appends a field's header as Nicira actions name it.
pub(crate) fn put_action_header(field: Field, out: &mut Vec<u8>) {
    let spec = field.spec();
    put_header(&spec.nxm, false, usize::from(spec.wire_bytes), out);
}

/// The field and value of one entry without a mask; `None` if it is not one that is known.
pub(crate) fn take_exact(input: &mut Reader<'_>) -> Result<Option<(Field, FieldValue)>, DecodeError> {
    let header = take_entry_header(input)?;
    let value = take_payload(&header, input)?;
    Ok(match (header.field, FieldValue::from_be_slice(value)) {
        (Some(field), Some(number)) if !header.has_mask && length_fits(field, value.len()) => {
            Some((field, number))
        }
        _ => None,
    })
}

/// The field, value and mask of one entry; `None` if it is not one that is known.
pub(crate) fn take_masked(
    input: &mut Reader<'_>,
) -> Result<Option<(Field, FieldValue, FieldValue)>, DecodeError> {
    let header = take_entry_header(input)?;
    let payload = take_payload(&header, input)?;
    let Some((field, value, mask)) = value_and_mask(&header, payload) else { return Ok(None) };
    if (value & mask) != (value & field.exact_mask()) {
        return Err(DecodeError::BadWildcards { field: field.name() });
    }
    Ok(Some((field, value, mask)))
}

/// Appends one entry without a mask, as set-field actions hold it.
pub(crate) fn put_exact(field: Field, value: FieldValue, out: &mut Vec<u8>) {
    let length = value_length(field, value, None);
    put_header(&field.spec().oxm, false, length, out);
    put_value(value, length, out);
}

fn length_fits(field: Field, length: usize) -> bool {
    let fixed = usize::from(field.spec().wire_bytes);
    if fixed <= FieldValue::MAX_BYTES {
        length == fixed
    } else {
        (1..=FieldValue::MAX_BYTES).contains(&length)
    }
}

impl Match {
    /// Appends the match with its own header (`ofp_match`), padded to a multiple of 8 bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 2, Padding::Uncounted);
        out.put_u16(MATCH_TYPE_OXM);
        out.put_u16(0);
        self.encode_entries(&mut out);
    }

    /// Appends the entries alone.
    pub(crate) fn encode_entries(&self, out: &mut Vec<u8>) {
        for entry in self {
            put_entry(entry.field, entry.value, (!entry.is_exact()).then_some(entry.mask), out);
        }
        out.put(self.unknown());
    }

    /// Takes a match with its own header and padding.
    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Match, DecodeError> {
        Self::take_any(input).map_err(|error| error.in_part("OFPBMC_BAD_LEN", "OFPBMC_BAD_TYPE"))
    }

    fn take_any(input: &mut Reader<'_>) -> Result<Match, DecodeError> {
        let kind = input.u16()?;
        if kind != MATCH_TYPE_OXM {
            return Err(DecodeError::BadValue { what: "match type", value: kind.into() });
        }
        let length = usize::from(input.u16()?);
        let entries = length.checked_sub(4).ok_or_else(|| input.bad_length(length))?;
        let mut entries = input.sub("match", entries)?;
        input.skip(length.next_multiple_of(8) - length)?;
        Self::take_entries(&mut entries)
    }

    /// Takes entries to the end of `entries`.
    pub(crate) fn take_entries(entries: &mut Reader<'_>) -> Result<Match, DecodeError> {
        let mut result = Match::with_capacity(entries.peek().len() / 6);
        let mut unknown = Vec::new();
        while !entries.is_empty() {
            take_entry(entries, &mut result, &mut unknown)?;
        }
        result.set_unknown(unknown);
        Ok(result)
    }
}

/// What a header's payload says, if the field is known and the length is right.
fn value_and_mask(header: &RawHeader, payload: &[u8]) -> Option<(Field, FieldValue, FieldValue)> {
    let field = header.field?;
    if !header.has_mask {
        let value = length_fits(field, payload.len()).then(|| FieldValue::from_be_slice(payload))??;
        return Some((field, value, field.exact_mask()));
    }
    let (value, mask) = payload.split_at(payload.len() / 2);
    if value.len() != mask.len() || !length_fits(field, value.len()) {
        return None;
    }
    Some((field, FieldValue::from_be_slice(value)?, FieldValue::from_be_slice(mask)?))
}

fn take_entry(input: &mut Reader<'_>, result: &mut Match, unknown: &mut Vec<u8>) -> Result<(), DecodeError> {
    let whole = input.peek();
    let header = take_header(input)?;
    let payload = input.take(header.length)?;
    let known = value_and_mask(&header, payload);
    match (known, header.field) {
        (Some((field, value, mask)), _) => {
            let (wire, exact) = (field.wire(), field.exact_mask());
            if (value & mask) != (value & exact) {
                return Err(DecodeError::BadWildcards { field: field.name() });
            }
            if (value & wire.value_mask) != value {
                return Err(DecodeError::Refused { what: field.name(), error: "OFPBMC_BAD_VALUE" });
            }
            // To compare all bits or none is no mask.
            let partial = header.has_mask && (mask & exact) != exact && !(mask & exact).is_zero();
            if partial && !wire.maskable {
                return Err(DecodeError::Refused { what: field.name(), error: "OFPBMC_BAD_MASK" });
            }
            if result.push_in_order(field, value, mask) {
                return Ok(());
            }
            if result.get(field).is_some() {
                return Err(DecodeError::DuplicateField { field: field.name() });
            }
            result.set(field, value, mask);
        }
        // A tunnel option that is too long for a value is carried as it came.
        (None, Some(field)) if usize::from(field.spec().wire_bytes) <= FieldValue::MAX_BYTES => {
            return Err(DecodeError::BadLength { what: field.name(), length: header.length });
        }
        (None, _) => {
            let used = whole.len() - input.peek().len();
            unknown.extend_from_slice(&whole[..used]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(hex: &str) -> Result<Match, DecodeError> {
        let bytes = crate::wire::tests::unhex(hex);
        let mut input = Reader::new("test", &bytes);
        let matching = Match::take(&mut input)?;
        input.finish()?;
        Ok(matching)
    }

    #[test]
    fn unknown_entries_are_carried_through() {
        // Class 0x8000, field 100, four bytes, after an in_port.
        let hex = "000100148000000400000005 8000c804deadbeef 00000000";
        let matching = decode(hex).unwrap();
        assert_eq!(matching.exact(Field::InPort), Some(5u32.into()));
        assert_eq!(matching.unknown().len(), 8);
        let mut out = Vec::new();
        matching.encode(&mut out);
        assert_eq!(out, crate::wire::tests::unhex(hex));
    }

    #[test]
    fn malformed_matches_are_refused() {
        for (hex, why) in [
            ("0000000400000000", "match type 0 is not OXM"),
            ("0001000300000000", "a length shorter than its header"),
            ("000100ff80000004", "a length beyond the end"),
            ("0001000b80000003 00000500 00000000", "a field of the wrong length"),
            ("0001001080000204 00000005 80000004", "trailing bytes"),
            ("00010016 8000000400000005 8000000400000006 000000000000", "a field twice"),
            ("00010010 80001908 0a000001 ffffff00", "value bits outside the mask"),
            ("0001000a 80000c02 2005 000000000000", "a VLAN above 4095"),
            ("0001000f 80000a02 0800 80001001 40 00", "a DSCP above 63"),
            ("00010012 80000a02 86dd 80003804 00100000 000000000000", "an IPv6 label above 20 bits"),
            ("00010010 80000108 00000001 0000000f", "a mask on a field that takes none"),
            ("00010008 ffff0003", "an experimenter entry without room for its number"),
        ] {
            assert!(decode(hex).is_err(), "{why}: {hex} was taken");
        }
    }
}
