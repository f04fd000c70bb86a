//! Connections to be forgotten: `NXT_CT_FLUSH` of `nicira-ext.h`, and `ct-flush` of ovs-ofctl(8).

use std::net::{IpAddr, Ipv6Addr};

use super::cursor::{Nested, Padding, Put, Reader};
use super::error::DecodeError;

/// `NXT_CT_FLUSH`: which connections to forget. What is not given matches any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CtFlush {
    /// IP protocol; 0 for any.
    pub ip_proto: u8,
    /// As the first packet of the connection went.
    pub original: CtTuple,
    /// As the answers come.
    pub reply: CtTuple,
    /// The zone; `None` for any.
    pub zone: Option<u16>,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CtTuple {
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// Source port.
    pub src_port: Option<u16>,
    /// Destination port.
    pub dst_port: Option<u16>,
    /// Identifier of an ICMP echo.
    pub icmp_id: Option<u16>,
    /// ICMP type.
    pub icmp_type: Option<u8>,
    /// ICMP code.
    pub icmp_code: Option<u8>,
}

/// `NXT_CT_*` of `nx_ct_flush_tlv_type`.
mod property {
    pub(super) const ORIG_TUPLE: u16 = 0;
    pub(super) const REPLY_TUPLE: u16 = 1;
    pub(super) const ZONE_ID: u16 = 2;
}

/// `NXT_CT_TUPLE_*` of `nx_ct_flush_tuple_tlv_type`.
mod tuple {
    pub(super) const SRC: u16 = 0;
    pub(super) const DST: u16 = 1;
    pub(super) const SRC_PORT: u16 = 2;
    pub(super) const DST_PORT: u16 = 3;
    pub(super) const ICMP_ID: u16 = 4;
    pub(super) const ICMP_TYPE: u16 = 5;
    pub(super) const ICMP_CODE: u16 = 6;
}

const WHAT: &str = "ct_flush property";

fn put_property(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let mut out = Nested::begin(out, 2, Padding::Uncounted);
    out.put_u16(kind);
    out.put_u16(0);
    out.put(value);
}

/// 16 bits are padded to 32, which the length counts.
fn put_number(kind: u16, number: u16, out: &mut Vec<u8>) {
    put_property(kind, &(u32::from(number) << 16).to_be_bytes(), out);
}

/// Takes a property's type and value, and the padding after it.
fn take_property<'a>(input: &mut Reader<'a>) -> Result<(u16, Reader<'a>), DecodeError> {
    let kind = input.u16()?;
    let length = usize::from(input.u16()?);
    let rest = length.checked_sub(4).ok_or(DecodeError::BadLength { what: WHAT, length })?;
    // An experimenter's property has its number and its own type.
    if kind >= 0xfffe && rest < 8 {
        return Err(DecodeError::BadLength { what: WHAT, length });
    }
    let value = input.sub(WHAT, rest)?;
    input.skip(length.next_multiple_of(8) - length)?;
    Ok((kind, value))
}

impl CtTuple {
    /// True if it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == CtTuple::default()
    }

    fn encode(&self, kind: u16, out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        let mut out = Nested::begin(out, 2, Padding::Uncounted);
        out.put_u16(kind);
        out.put_u16(0);
        // What is inside stands on a boundary of 8 bytes.
        out.put_u32(0);
        for (kind, address) in [(tuple::SRC, self.src), (tuple::DST, self.dst)] {
            let mapped = match address {
                Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
                Some(IpAddr::V6(address)) => address,
                None => continue,
            };
            put_property(kind, &mapped.octets(), &mut out);
        }
        let numbers = [
            (tuple::SRC_PORT, self.src_port),
            (tuple::DST_PORT, self.dst_port),
            (tuple::ICMP_ID, self.icmp_id),
        ];
        for (kind, number) in numbers {
            if let Some(number) = number {
                put_number(kind, number, &mut out);
            }
        }
        for (kind, number) in [(tuple::ICMP_TYPE, self.icmp_type), (tuple::ICMP_CODE, self.icmp_code)] {
            if let Some(number) = number {
                put_property(kind, &[number], &mut out);
            }
        }
    }

    fn take(mut input: Reader<'_>, is_v4: &mut Option<bool>) -> Result<Self, DecodeError> {
        let mut result = CtTuple::default();
        input.skip(4)?;
        while !input.is_empty() {
            let (kind, mut value) = take_property(&mut input)?;
            match kind {
                tuple::SRC => result.src = take_address(&mut value, is_v4)?,
                tuple::DST => result.dst = take_address(&mut value, is_v4)?,
                tuple::SRC_PORT => result.src_port = Some(value.u16()?),
                tuple::DST_PORT => result.dst_port = Some(value.u16()?),
                tuple::ICMP_ID => result.icmp_id = Some(value.u16()?),
                tuple::ICMP_TYPE => result.icmp_type = Some(value.u8()?),
                tuple::ICMP_CODE => result.icmp_code = Some(value.u8()?),
                // A switch passes over what it does not know, and what a value does not need.
                _ => {}
            }
        }
        Ok(result)
    }
}

/// An IPv6 address, or an IPv4 address mapped into one; all of one version. The address of all zeros is none.
fn take_address(value: &mut Reader<'_>, is_v4: &mut Option<bool>) -> Result<Option<IpAddr>, DecodeError> {
    let address = Ipv6Addr::from(value.array::<16>()?);
    if address.is_unspecified() {
        return Ok(None);
    }
    let mapped = address.to_ipv4_mapped();
    if is_v4.replace(mapped.is_some()).is_some_and(|before| before != mapped.is_some()) {
        return Err(DecodeError::Refused { what: WHAT, error: "OFPBPC_BAD_VALUE" });
    }
    Ok(Some(mapped.map_or(IpAddr::V6(address), IpAddr::V4)))
}

impl CtFlush {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.ip_proto);
        out.put_zeros(7);
        self.original.encode(property::ORIG_TUPLE, out);
        self.reply.encode(property::REPLY_TUPLE, out);
        if let Some(zone) = self.zone {
            put_number(property::ZONE_ID, zone, out);
        }
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ip_proto = input.u8()?;
        if input.array::<7>()? != [0; 7] {
            return Err(DecodeError::Refused { what: "ct_flush", error: "NXBRC_MUST_BE_ZERO" });
        }
        let mut result = CtFlush { ip_proto, ..CtFlush::default() };
        let mut is_v4 = None;
        while !input.is_empty() {
            result
                .take_part(input, &mut is_v4)
                .map_err(|error| error.in_part("OFPBPC_BAD_LEN", "OFPBPC_BAD_TYPE"))?;
        }
        Ok(result)
    }

    fn take_part(&mut self, input: &mut Reader<'_>, is_v4: &mut Option<bool>) -> Result<(), DecodeError> {
        let (kind, mut value) = take_property(input)?;
        match kind {
            property::ORIG_TUPLE => self.original = CtTuple::take(value, is_v4)?,
            property::REPLY_TUPLE => self.reply = CtTuple::take(value, is_v4)?,
            property::ZONE_ID => self.zone = Some(value.u16()?),
            // A switch passes over what it does not know.
            _ => {}
        }
        Ok(())
    }
}
