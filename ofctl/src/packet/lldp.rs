//! The Link Layer Discovery Protocol, IEEE Std 802.1AB-2016.

use super::Frame;
use crate::MacAddr;

/// What a station says of one of its ports, a LLDPDU of §8.2.
///
/// ```
/// use ofctl::packet::lldp::{ChassisId, Lldp, PortId};
///
/// let said = Lldp::new(ChassisId::datapath(0x17), PortId::number(3), 120);
/// let frame = said.frame("02:00:00:00:00:01".parse()?)?;
/// assert_eq!(frame[12..14], [0x88, 0xcc]);
/// let heard = Lldp::decode(&frame[14..])?;
/// assert_eq!((heard.chassis.datapath_id(), heard.port.as_number()), (Some(0x17), Some(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lldp {
    /// Who says it.
    pub chassis: ChassisId,
    /// By which port.
    pub port: PortId,
    /// Seconds for which it holds; 0 takes it back.
    pub ttl: u16,
    /// What else is said, in order.
    pub others: Vec<Tlv>,
}

/// A chassis ID, §8.5.2: 1 to 255 bytes of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChassisId {
    /// Chassis ID subtype of table 8-2; 4 a MAC address, 7 locally assigned.
    pub subtype: u8,
    /// The rest.
    pub id: Vec<u8>,
}

/// A port ID, §8.5.3: 1 to 255 bytes of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortId {
    /// Port ID subtype of table 8-3; 3 a MAC address, 5 an interface name, 7 locally assigned.
    pub subtype: u8,
    /// The rest.
    pub id: Vec<u8>,
}

/// Another item, §8.4.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tlv {
    /// Type, 4 to 127; 5 is the system's name, 127 an organization's own.
    pub kind: u8,
    /// Up to 511 bytes.
    pub value: Vec<u8>,
}

/// What cannot be said in a LLDPDU, or was not heard in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LldpError {
    /// It ends in the middle.
    #[error("an LLDP frame ends in the middle of an item")]
    Truncated,
    /// Chassis ID, port ID and time to live are not the first three items, in that order.
    #[error("item {place} of an LLDP frame is of type {found}, not {wanted}")]
    Order {
        /// Counted from 1.
        place: u8,
        /// Wanted type.
        wanted: u8,
        /// Its type.
        found: u8,
    },
    /// A length that the item cannot have.
    #[error("an LLDP item of type {kind} cannot have {length} bytes")]
    Length {
        /// Type.
        kind: u8,
        /// Length.
        length: usize,
    },
    /// A type that cannot stand among the others.
    #[error("an LLDP item of type {0} cannot stand here")]
    Kind(u8),
}

const END: u8 = 0;
const CHASSIS_ID: u8 = 1;
const PORT_ID: u8 = 2;
const TTL: u8 = 3;

/// The subtype of both IDs that the sender gives its own meaning.
const LOCAL: u8 = 7;

const DATAPATH_PREFIX: &[u8] = b"dpid:";

impl ChassisId {
    /// A switch's number as other controllers write it also: locally assigned, `dpid:` and 16 hex digits.
    pub fn datapath(datapath_id: u64) -> ChassisId {
        ChassisId { subtype: LOCAL, id: format!("dpid:{datapath_id:016x}").into_bytes() }
    }

    /// The number, if it is one of a switch.
    pub fn datapath_id(&self) -> Option<u64> {
        let digits = self.id.strip_prefix(DATAPATH_PREFIX).filter(|_| self.subtype == LOCAL)?;
        let digits = std::str::from_utf8(digits).ok()?;
        let plain = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16).ok().filter(|_| plain)
    }
}

impl PortId {
    /// An OpenFlow port: locally assigned, four bytes in network order.
    pub fn number(port: u32) -> PortId {
        PortId { subtype: LOCAL, id: port.to_be_bytes().to_vec() }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<u32> {
        let bytes = self.id.as_slice().try_into().ok().filter(|_| self.subtype == LOCAL)?;
        Some(u32::from_be_bytes(bytes))
    }
}

impl Lldp {
    /// The Ethernet type.
    pub const ETH_TYPE: u16 = 0x88cc;
    /// The nearest bridge's group address, which no bridge passes on (§7.1).
    pub const NEAREST_BRIDGE: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);

    /// What must be said, and nothing else.
    pub fn new(chassis: ChassisId, port: PortId, ttl: u16) -> Lldp {
        Lldp { chassis, port, ttl, others: Vec::new() }
    }

    /// The bytes after the Ethernet header.
    ///
    /// # Errors
    /// If an item has no length that it can have, or a type that cannot stand there.
    pub fn encode(&self) -> Result<Vec<u8>, LldpError> {
        let mut out = Vec::with_capacity(64);
        for (kind, subtype, id) in [
            (CHASSIS_ID, self.chassis.subtype, &self.chassis.id),
            (PORT_ID, self.port.subtype, &self.port.id),
        ] {
            check_id(kind, id.len())?;
            put_header(kind, id.len() + 1, &mut out);
            out.push(subtype);
            out.extend_from_slice(id);
        }
        put_header(TTL, 2, &mut out);
        out.extend_from_slice(&self.ttl.to_be_bytes());
        for Tlv { kind, value } in &self.others {
            if *kind <= TTL || *kind > 0x7f {
                return Err(LldpError::Kind(*kind));
            }
            if value.len() > 0x1ff {
                return Err(LldpError::Length { kind: *kind, length: value.len() });
            }
            put_header(*kind, value.len(), &mut out);
            out.extend_from_slice(value);
        }
        put_header(END, 0, &mut out);
        Ok(out)
    }

    /// The whole frame, to the nearest bridge.
    ///
    /// # Errors
    /// Those of [`Lldp::encode`].
    pub fn frame(&self, src: MacAddr) -> Result<Vec<u8>, LldpError> {
        let frame = Frame::between(src, Lldp::NEAREST_BRIDGE).eth_type(Lldp::ETH_TYPE);
        Ok(frame.payload(&self.encode()?).build())
    }

    /// Reads the bytes after the Ethernet header. What follows the end is padding.
    ///
    /// # Errors
    /// If they are no LLDPDU (§9.2.7.7.1).
    pub fn decode(mut bytes: &[u8]) -> Result<Lldp, LldpError> {
        let (subtype, id) = take_id(&mut bytes, 1, CHASSIS_ID)?;
        let chassis = ChassisId { subtype, id };
        let (subtype, id) = take_id(&mut bytes, 2, PORT_ID)?;
        let port = PortId { subtype, id };
        // Bytes beyond the two are for later versions.
        let ttl = take_wanted(&mut bytes, 3, TTL)?;
        let &ttl = ttl.first_chunk().ok_or(LldpError::Length { kind: TTL, length: ttl.len() })?;
        let mut lldp = Lldp::new(chassis, port, u16::from_be_bytes(ttl));
        // A frame may end without an end if its last byte is the last of an item.
        while !bytes.is_empty() {
            match take(&mut bytes)? {
                (END, _) => break,
                (kind @ CHASSIS_ID..=TTL, _) => return Err(LldpError::Kind(kind)),
                (kind, value) => lldp.others.push(Tlv { kind, value: value.to_vec() }),
            }
        }
        Ok(lldp)
    }
}

fn check_id(kind: u8, length: usize) -> Result<(), LldpError> {
    match length {
        1..=255 => Ok(()),
        length => Err(LldpError::Length { kind, length }),
    }
}

fn put_header(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(u16::from(kind) << 9 | length as u16).to_be_bytes());
}

/// Type and value of the next item.
fn take<'a>(bytes: &mut &'a [u8]) -> Result<(u8, &'a [u8]), LldpError> {
    let (&header, rest) = bytes.split_first_chunk().ok_or(LldpError::Truncated)?;
    let header = u16::from_be_bytes(header);
    let (value, rest) = rest.split_at_checked(usize::from(header & 0x1ff)).ok_or(LldpError::Truncated)?;
    *bytes = rest;
    Ok(((header >> 9) as u8, value))
}

fn take_wanted<'a>(bytes: &mut &'a [u8], place: u8, wanted: u8) -> Result<&'a [u8], LldpError> {
    match take(bytes)? {
        (kind, value) if kind == wanted => Ok(value),
        (found, _) => Err(LldpError::Order { place, wanted, found }),
    }
}

fn take_id(bytes: &mut &[u8], place: u8, kind: u8) -> Result<(u8, Vec<u8>), LldpError> {
    let value = take_wanted(bytes, place, kind)?;
    let (&subtype, id) = value.split_first().ok_or(LldpError::Length { kind, length: 0 })?;
    check_id(kind, id.len())?;
    Ok((subtype, id.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::unhex;
    use proptest::prelude::*;

    /// What stations usually say: MAC address, interface name, 120 s, the system's name, an organization's item.
    const HEARD: &str = "02 07 04 02 00 0a 05 00 07  04 05 05 65 74 68 30  06 02 00 78
                         0a 02 68 31  fe 05 00 12 0f 01 00  00 00";

    #[test]
    fn items_are_read_and_written_again() {
        let bytes = unhex(HEARD);
        let heard = Lldp::decode(&bytes).unwrap();
        assert_eq!((heard.chassis.subtype, &heard.chassis.id[..]), (4, &[2, 0, 0x0a, 5, 0, 7][..]));
        assert_eq!((heard.port.subtype, &heard.port.id[..]), (5, &b"eth0"[..]));
        assert_eq!(heard.ttl, 120);
        assert_eq!(heard.others[0], Tlv { kind: 5, value: b"h1".to_vec() });
        assert_eq!((heard.others[1].kind, heard.others.len()), (127, 2));
        assert_eq!(heard.encode().unwrap(), bytes);
        assert_eq!((heard.chassis.datapath_id(), heard.port.as_number()), (None, None));
        // Padding, or no end.
        assert_eq!(Lldp::decode(&[&bytes[..], &[0xff; 9]].concat()).unwrap(), heard);
        assert_eq!(Lldp::decode(&bytes[..bytes.len() - 2]).unwrap(), heard);
    }

    #[test]
    fn wrong_frames_are_refused() {
        for (hex, error) in [
            ("", LldpError::Truncated),
            ("02", LldpError::Truncated),
            ("02 07 04 02", LldpError::Truncated),
            ("04 02 07 01", LldpError::Order { place: 1, wanted: 1, found: 2 }),
            ("02 02 07 01 06 02 00 78", LldpError::Order { place: 2, wanted: 2, found: 3 }),
            ("02 00", LldpError::Length { kind: 1, length: 0 }),
            ("02 01 07", LldpError::Length { kind: 1, length: 0 }),
            ("02 02 07 01 04 02 07 01 06 01 00", LldpError::Length { kind: 3, length: 1 }),
            ("02 02 07 01 04 02 07 01 06 02 00 78 06 02 00 78", LldpError::Kind(3)),
            ("02 02 07 01 04 02 07 01 06 02 00 78 0a", LldpError::Truncated),
        ] {
            assert_eq!(Lldp::decode(&unhex(hex)), Err(error), "{hex}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let lldp = |id: usize| Lldp::new(ChassisId { subtype: 7, id: vec![1; id] }, PortId::number(1), 1);
        assert_eq!(lldp(0).encode(), Err(LldpError::Length { kind: 1, length: 0 }));
        assert_eq!(lldp(256).encode(), Err(LldpError::Length { kind: 1, length: 256 }));
        let with = |kind, length| Lldp { others: vec![Tlv { kind, value: vec![0; length] }], ..lldp(255) };
        assert!(with(4, 511).encode().is_ok());
        assert_eq!(with(4, 512).encode(), Err(LldpError::Length { kind: 4, length: 512 }));
        assert_eq!(with(3, 2).encode(), Err(LldpError::Kind(3)));
        assert_eq!(with(128, 2).encode(), Err(LldpError::Kind(128)));
    }

    #[test]
    fn only_what_was_written_so_is_a_switch() {
        assert_eq!(ChassisId::datapath(0xfeed).id, b"dpid:000000000000feed");
        for id in ["dpid:feed", "dpid:+00000000000feed", "000000000000feed", "dpid:00000000000000000"] {
            assert_eq!(ChassisId { subtype: 7, id: id.as_bytes().to_vec() }.datapath_id(), None, "{id}");
        }
        assert_eq!(ChassisId { subtype: 4, ..ChassisId::datapath(1) }.datapath_id(), None);
        assert_eq!(PortId { subtype: 7, id: vec![1] }.as_number(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Lldp::decode(&bytes);
        }

        #[test]
        fn a_changed_frame_is_refused_or_written_back(place in 0usize..33, value in any::<u8>()) {
            let mut bytes = unhex(HEARD);
            bytes[place % 33] = value;
            if let Ok(lldp) = Lldp::decode(&bytes) {
                let written = lldp.encode().unwrap();
                prop_assert_eq!(Lldp::decode(&written).unwrap(), lldp);
            }
        }
    }
}
