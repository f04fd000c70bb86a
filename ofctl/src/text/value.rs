//! Values and masks as text.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Hex, Span};
use crate::MacAddr;
use crate::wire::{Field, FieldValue, Format, OfPort};

/// Bits of `ct_state` by name, ovs-fields(7).
const CT_STATE: &[(u128, &str)] = &[
    (0x01, "new"),
    (0x02, "est"),
    (0x04, "rel"),
    (0x08, "rpl"),
    (0x10, "inv"),
    (0x20, "trk"),
    (0x40, "snat"),
    (0x80, "dnat"),
];

/// Bits of `tcp_flags` by name, ovs-fields(7).
const TCP_FLAGS: &[(u128, &str)] = &[
    (0x001, "fin"),
    (0x002, "syn"),
    (0x004, "rst"),
    (0x008, "psh"),
    (0x010, "ack"),
    (0x020, "urg"),
    (0x040, "ece"),
    (0x080, "cwr"),
    (0x100, "ns"),
    (0x200, "[200]"),
    (0x400, "[400]"),
    (0x800, "[800]"),
];

/// Bits of `tun_flags` by name, ovs-fields(7).
const TUN_FLAGS: &[(u128, &str)] = &[(0x1, "oam")];

/// `nw_frag`: name, value, mask.
const FRAGMENTS: &[(&str, u128, u128)] = &[
    ("no", 0, 1),
    ("no", 0, 3),
    ("yes", 1, 1),
    ("first", 1, 3),
    ("later", 3, 3),
    ("later", 2, 2),
    ("not_later", 0, 2),
];

fn flag_names(format: Format) -> Option<&'static [(u128, &'static str)]> {
    match format {
        Format::CtState => Some(CT_STATE),
        Format::TcpFlags => Some(TCP_FLAGS),
        Format::TunFlags => Some(TUN_FLAGS),
        _ => None,
    }
}

/// A value without a mask, as actions print it.
pub(super) struct Value(pub(super) Field, pub(super) FieldValue);

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Value(field, value) = *self;
        match field {
            Field::InPort16 => return OfPort::from_16(value.to_u64() as u16).fmt(out),
            Field::PacketType => {
                let number = value.to_u64();
                return write!(out, "({},{})", number >> 16, Hex((number & 0xffff).into()));
            }
            _ => {}
        }
        match field.spec().format {
            Format::Decimal => value.to_u128().fmt(out),
            Format::Ethernet => value.to_mac().fmt(out),
            Format::Ipv4 => value.to_ipv4().fmt(out),
            Format::Ipv6 => value.to_ipv6().fmt(out),
            Format::Port => OfPort(value.to_u64() as u32).fmt(out),
            Format::TunFlags => write_flags(TUN_FLAGS, value.to_u128(), None, out),
            Format::Hex | Format::Frag | Format::CtState | Format::TcpFlags => Hex(value.to_u128()).fmt(out),
        }
    }
}

/// A condition's value and mask, as matches print them.
pub(super) struct Masked(pub(super) Field, pub(super) FieldValue, pub(super) FieldValue);

impl fmt::Display for Masked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Masked(field, value, mask) = *self;
        let format = field.spec().format;
        if format == Format::Frag {
            let known = FRAGMENTS.iter().find(|&&(_, v, m)| (v, m) == (value.to_u128(), mask.to_u128()));
            return out.write_str(known.map_or("<error>", |(name, ..)| name));
        }
        if let Some(names) = flag_names(format) {
            let known = names.iter().fold(0, |all, (bit, _)| all | bit);
            let all = mask.to_u128() & known == known && format != Format::TunFlags;
            return write_flags(names, value.to_u128(), (!all).then(|| mask.to_u128()), out);
        }
        let exact = mask == field.exact_mask();
        if exact {
            return Value(field, value).fmt(out);
        }
        match format {
            Format::Ethernet => write!(out, "{}/{}", value.to_mac(), mask.to_mac()),
            Format::Ipv4 => {
                let bits = mask.to_u64() as u32;
                match prefix_length(bits.into(), 32) {
                    Some(length) => write!(out, "{}/{length}", value.to_ipv4()),
                    None => write!(out, "{}/{}", value.to_ipv4(), mask.to_ipv4()),
                }
            }
            Format::Ipv6 => match prefix_length(mask.to_u128(), 128) {
                Some(length) => write!(out, "{}/{length}", value.to_ipv6()),
                None => write!(out, "{}/{}", value.to_ipv6(), mask.to_ipv6()),
            },
            Format::Decimal if field.bits_wide() == 8 => {
                write!(out, "{:#04x}/{:#04x}", value.to_u128(), mask.to_u128())
            }
            // Masked 16-bit numbers always have the prefix, others only if they are not zero.
            Format::Decimal => write!(out, "{:#x}/{:#x}", value.to_u128(), mask.to_u128()),
            _ => write!(out, "{}/{}", Hex(value.to_u128()), Hex(mask.to_u128())),
        }
    }
}

fn write_flags(
    names: &[(u128, &str)],
    value: u128,
    mask: Option<u128>,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match mask {
        Some(mask) => names.iter().filter(|(bit, _)| mask & bit != 0).try_for_each(|(bit, name)| {
            let sign = if value & bit != 0 { '+' } else { '-' };
            write!(out, "{sign}{name}")
        }),
        None if value == 0 => out.write_str("0"),
        None => {
            let mut separator = "";
            names.iter().filter(|(bit, _)| value & bit != 0).try_for_each(|(_, name)| {
                let written = write!(out, "{separator}{name}");
                separator = "|";
                written
            })
        }
    }
}

/// The length of a mask that is a prefix.
fn prefix_length(mask: u128, bits: u32) -> Option<u32> {
    let length = mask.count_ones();
    (mask == prefix_mask(length, bits)).then_some(length)
}

fn prefix_mask(length: u32, bits: u32) -> u128 {
    let all = u128::MAX >> (128 - bits);
    all & !all.checked_shr(length).unwrap_or(0)
}

/// A decimal or, after `0x`, hexadecimal number.
pub(super) fn parse_number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u128::from_str_radix(digits, 16).ok()
        }
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// A number that must fit into the type.
pub(super) fn parse_sized<T: TryFrom<u128>>(span: Span<'_>, what: &str) -> Result<T, super::ParseError> {
    parse_number(span.text).and_then(|number| T::try_from(number).ok()).ok_or_else(|| span.bad_value(what))
}

/// A port: a number, or the name of a reserved one.
pub(super) fn parse_port(text: &str) -> Option<OfPort> {
    if let Some(port) = OfPort::from_reserved_name(text) {
        return Some(port);
    }
    let number = u32::try_from(parse_number(text)?).ok()?;
    // Reserved ports may be given by the numbers that OpenFlow 1.0 has for them.
    Some(OfPort(if (0xff00..=0xffff).contains(&number) { number | 0xffff_0000 } else { number }))
}

/// One value of a field, without a mask.
pub(super) fn parse_value(field: Field, span: Span<'_>) -> Result<FieldValue, super::ParseError> {
    let text = span.text;
    let parsed: Option<FieldValue> = match field.spec().format {
        Format::Ethernet => text.parse::<MacAddr>().ok().map(Into::into),
        Format::Ipv4 => text.parse::<Ipv4Addr>().ok().map(Into::into),
        Format::Ipv6 => text.parse::<Ipv6Addr>().ok().map(Into::into),
        Format::Port => parse_port(text).map(Into::into),
        _ if field == Field::InPort16 => parse_port(text).and_then(OfPort::to_16).map(Into::into),
        Format::TunFlags | Format::CtState | Format::TcpFlags
            if !text.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            return parse_flags(flag_names(field.spec().format).unwrap_or_default(), field, span)
                .map(|(value, _)| value);
        }
        _ => parse_number(text).map(Into::into),
    };
    // A load takes plain numbers for addresses too.
    let parsed = parsed.or_else(|| parse_number(text).map(Into::into));
    // Bits without a name are none that a switch takes.
    let allowed = match flag_names(field.spec().format) {
        Some(names) => names.iter().fold(0, |all, (bit, _)| all | bit).into(),
        None => field.exact_mask(),
    };
    parsed.filter(|&value| (value & allowed) == value).ok_or_else(|| span.bad_value(field.name()))
}

/// A value and mask of a field.
pub(super) fn parse_masked(
    field: Field,
    span: Span<'_>,
) -> Result<(FieldValue, FieldValue), super::ParseError> {
    let format = field.spec().format;
    if format == Format::Frag {
        // Where two masks mean the same the wider one is what ovs-ofctl sends.
        let known = FRAGMENTS.iter().filter(|(name, ..)| *name == span.text).max_by_key(|(_, _, mask)| *mask);
        let (_, value, mask) = known.ok_or_else(|| span.bad_value(field.name()))?;
        return Ok(((*value).into(), (*mask).into()));
    }
    if let Some(names) = flag_names(format)
        && !span.text.starts_with(|c: char| c.is_ascii_digit())
    {
        return parse_flags(names, field, span);
    }
    let Some((value, mask)) = span.split_once("/") else {
        return Ok((parse_value(field, span)?, field.exact_mask()));
    };
    let bits = match format {
        Format::Ipv4 => Some(32),
        Format::Ipv6 => Some(128),
        _ => None,
    };
    let length =
        mask.text.parse::<u32>().ok().filter(|_| mask.text.bytes().all(|byte| byte.is_ascii_digit()));
    let parsed = match (bits, length) {
        (Some(bits), Some(length)) if length <= bits => prefix_mask(length, bits).into(),
        (Some(_), Some(_)) => return Err(mask.bad_value(field.name())),
        _ => parse_value(field, mask)?,
    };
    if !field.spec().maskable && field != Field::VlanVid {
        return Err(mask.bad_value(&format!("{}, which takes no mask", field.name())));
    }
    Ok((parse_value(field, value)?, parsed))
}

/// `+new-est` or `new|trk`.
fn parse_flags(
    names: &[(u128, &str)],
    field: Field,
    span: Span<'_>,
) -> Result<(FieldValue, FieldValue), super::ParseError> {
    let bit = |name: &str| names.iter().find(|(_, known)| *known == name).map(|(bit, _)| *bit);
    let bad = || span.bad_value(field.name());
    if !span.text.starts_with(['+', '-']) {
        let value = span.text.split('|').try_fold(0, |all, name| Some(all | bit(name)?)).ok_or_else(bad)?;
        return Ok((value.into(), field.exact_mask()));
    }
    let (mut value, mut mask) = (0, 0);
    let mut rest = span.text;
    while let Some(sign) = rest.chars().next() {
        let end = rest[1..].find(['+', '-']).map_or(rest.len(), |place| place + 1);
        let bit = bit(&rest[1..end]).filter(|bit| mask & bit == 0).ok_or_else(bad)?;
        mask |= bit;
        if sign == '+' {
            value |= bit;
        }
        rest = &rest[end..];
    }
    Ok((value.into(), mask.into()))
}
