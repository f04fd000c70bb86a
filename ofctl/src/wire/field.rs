//! What a match field is, and how its headers are found; the fields themselves are rows in `fields.rs`.

use super::fields::FIELDS;
pub use super::fields::Field;
use super::value::FieldValue;

/// An OXM class: the top half of a field's header, OpenFlow 1.3.5 §7.2.3.2.
///
/// Classes that stand for an experimenter put `0xffff` into the header and the experimenter's number after it.
#[allow(non_camel_case_types)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Nicira's copy of the OpenFlow 1.0 fields.
    NXM_OF,
    /// Nicira's own fields.
    NXM_NX,
    /// `OFPXMC_OPENFLOW_BASIC`.
    OXM_OF,
    /// `OFPXMC_PACKET_REGS` of OpenFlow 1.5, which Open vSwitch takes since 1.3.
    OXM_PKT_REG,
    /// Ericsson's neighbour discovery fields; a plain class, not an experimenter.
    ERICOXM,
    /// The Open Networking Foundation as an experimenter.
    ONFOXM_ET,
    /// Nicira as an experimenter.
    NXOXM_ET,
    /// Network service header, an experimenter.
    NXOXM_NSH,
}

impl Class {
    /// The class number in the header.
    pub const fn number(self) -> u16 {
        match self {
            Class::NXM_OF => 0x0000,
            Class::NXM_NX => 0x0001,
            Class::OXM_OF => 0x8000,
            Class::OXM_PKT_REG => 0x8001,
            Class::ERICOXM => 0x1000,
            Class::ONFOXM_ET | Class::NXOXM_ET | Class::NXOXM_NSH => Self::EXPERIMENTER,
        }
    }

    /// The experimenter number that follows the header, if the class is one.
    pub const fn experimenter(self) -> Option<u32> {
        match self {
            Class::ONFOXM_ET => Some(super::ONF_EXPERIMENTER),
            Class::NXOXM_ET => Some(super::NICIRA_EXPERIMENTER),
            Class::NXOXM_NSH => Some(0x005a_d650),
            _ => None,
        }
    }

    /// `OFPXMC_EXPERIMENTER`.
    pub const EXPERIMENTER: u16 = 0xffff;
}

/// One name of a field on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// OXM class.
    pub class: Class,
    /// Field number in the class, 7 bits.
    pub number: u8,
    /// The name that text gives it, such as `NXM_NX_REG0`.
    pub name: &'static str,
}

/// How text writes a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Decimal.
    Decimal,
    /// Hexadecimal with `0x`.
    Hex,
    /// MAC address.
    Ethernet,
    /// Dotted quad.
    Ipv4,
    /// Colon groups.
    Ipv6,
    /// Port number or reserved port name.
    Port,
    /// `no`, `yes`, `first`, `later`, `not_later`.
    Frag,
    /// `+syn-ack`.
    TcpFlags,
    /// `+est-new+trk`.
    CtState,
    /// `oam`.
    TunFlags,
}

/// What a match must also hold before a field means anything, OpenFlow 1.3.5 §7.2.3.6 and ovs-fields(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prerequisite {
    /// Nothing.
    None,
    /// A VLAN tag.
    VlanVid,
    /// `eth_type=0x0800`.
    Ipv4,
    /// `eth_type=0x86dd`.
    Ipv6,
    /// Either IP version.
    Ip,
    /// `eth_type=0x0806` or `0x8035`.
    Arp,
    /// `eth_type=0x8847` or `0x8848`.
    Mpls,
    /// `eth_type=0x894f`.
    Nsh,
    /// IP with protocol 6.
    Tcp,
    /// IP with protocol 17.
    Udp,
    /// IP with protocol 132.
    Sctp,
    /// IPv4 with protocol 1.
    Icmpv4,
    /// IPv6 with protocol 58.
    Icmpv6,
    /// ICMPv6 type 135 or 136, code 0.
    Nd,
    /// ICMPv6 type 135, code 0.
    NdSolicit,
    /// ICMPv6 type 136, code 0.
    NdAdvert,
    /// A match on `ct_state=+trk`.
    Ct,
}

/// A row of the field table.
#[derive(Debug, Clone, Copy)]
pub struct FieldSpec {
    /// The field.
    pub field: Field,
    /// Name in ovs-ofctl's text.
    pub name: &'static str,
    /// Second name that text accepts, or empty.
    pub alias: &'static str,
    /// Bits that may be set.
    pub bits: u16,
    /// Bytes of the value on the wire.
    pub wire_bytes: u8,
    /// How text writes the value.
    pub format: Format,
    /// What else the match must hold.
    pub prerequisite: Prerequisite,
    /// Takes arbitrary bit masks.
    pub maskable: bool,
    /// Actions may write it.
    pub writable: bool,
    /// Header in OpenFlow 1.3 matches and set-field actions.
    pub oxm: Header,
    /// Header in Nicira actions.
    pub nxm: Header,
}

impl Field {
    /// Every field, in canonical order.
    pub fn all() -> impl ExactSizeIterator<Item = Field> {
        FIELDS.iter().map(|spec| spec.field)
    }

    /// The field's row of the table.
    pub fn spec(self) -> &'static FieldSpec {
        &FIELDS[self as usize]
    }

    /// Name in ovs-ofctl's text.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// True if its header in Nicira actions is an experimenter's, for which some actions have no room.
    pub fn is_experimenter(self) -> bool {
        self.spec().nxm.class.experimenter().is_some()
    }

    /// Width in bits.
    pub fn bits_wide(self) -> u16 {
        self.spec().bits
    }

    /// The mask of an exact match: every bit that the wire carries, even those that can only be zero.
    ///
    /// Open vSwitch tells a flow with a mask of all meaningful bits from one with no mask, except for the VLAN
    /// identifier and the fragment kind, whose spare bits it drops. Tunnel options are wider than a
    /// [`FieldValue`]; for them it is all 128 bits.
    #[inline]
    pub fn exact_mask(self) -> FieldValue {
        WIRE[self as usize].exact_mask
    }

    /// What the wire needs of the field, all of it in one place.
    #[inline]
    pub(super) fn wire(self) -> &'static WireSpec {
        &WIRE[self as usize]
    }

    /// All bits of the field.
    pub fn whole(self) -> SubField {
        SubField { field: self, start: 0, n_bits: self.spec().bits }
    }

    /// Some bits of the field, counted from the least significant: `Field::Reg0.bits(0..4)` is
    /// `NXM_NX_REG0[0..3]`.
    ///
    /// # Panics
    /// If the range is empty or reaches beyond the field: it is a constant of the program.
    pub fn bits(self, range: std::ops::Range<u16>) -> SubField {
        assert!(
            range.start < range.end && range.end <= self.spec().bits,
            "bits {range:?} are not in {} of {} bits",
            self.name(),
            self.spec().bits
        );
        SubField { field: self, start: range.start, n_bits: range.end - range.start }
    }

    /// Finds a field by either of its text names.
    pub fn from_name(name: &str) -> Option<Field> {
        super::names::by_name(name)
    }

    /// Finds a field by the name of one of its headers, such as `NXM_NX_REG0`.
    pub fn from_header_name(name: &str) -> Option<Field> {
        super::names::by_header_name(name)
    }

    /// Finds a field by class and number; `experimenter` where the class is [`Class::EXPERIMENTER`].
    pub fn from_header(class: u16, number: u8, experimenter: Option<u32>) -> Option<Field> {
        let index = match class {
            0x0000 => &LOOKUP.nxm_of,
            0x0001 => &LOOKUP.nxm_nx,
            0x8000 => &LOOKUP.oxm_of,
            _ => {
                let is = |h: &Header| {
                    h.class.number() == class && h.number == number && h.class.experimenter() == experimenter
                };
                return FIELDS.iter().find(|spec| is(&spec.oxm) || is(&spec.nxm)).map(|spec| spec.field);
            }
        };
        match index.get(usize::from(number)) {
            Some(&row) if row != NO_ROW => Some(FIELDS[usize::from(row)].field),
            _ => None,
        }
    }
}

/// What reading and writing a match need of a field: a few bytes, where a [`FieldSpec`] has many.
pub(super) struct WireSpec {
    /// Its header without a mask; 0 if the value has no fixed length or the header an experimenter.
    pub(super) header: u32,
    /// Its header in Nicira actions; 0 if it is an experimenter's.
    pub(super) nxm: u32,
    /// The mask of an exact match.
    pub(super) exact_mask: FieldValue,
    /// Bits that a value in a match may have.
    pub(super) value_mask: FieldValue,
    /// Bits that may be set.
    pub(super) bits: u16,
    /// A match may leave some of its bits open.
    pub(super) maskable: bool,
    /// A match may hold it as it came.
    pub(super) is_canonical: bool,
}

impl WireSpec {
    const fn header(header: &Header, bytes: u8) -> u32 {
        (header.class.number() as u32) << 16 | (header.number as u32) << 9 | bytes as u32
    }

    const fn ones(bits: u32) -> u128 {
        if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
    }

    const fn of(spec: &FieldSpec) -> WireSpec {
        let bits = match spec.field {
            Field::VlanVid => 13,
            Field::IpFrag => 2,
            _ if spec.maskable => 8 * spec.wire_bytes as u32,
            _ => spec.bits as u32,
        };
        let has_header = spec.oxm.class.experimenter().is_none() && spec.wire_bytes <= 16;
        WireSpec {
            header: if has_header { Self::header(&spec.oxm, spec.wire_bytes) } else { 0 },
            nxm: match spec.nxm.class.experimenter() {
                None => Self::header(&spec.nxm, spec.wire_bytes),
                Some(_) => 0,
            },
            exact_mask: FieldValue::new(Self::ones(bits)),
            value_mask: FieldValue::new(Self::ones(match spec.field {
                Field::Ipv6Label => 20,
                _ => bits,
            })),
            bits: spec.bits,
            maskable: spec.maskable,
            is_canonical: super::matching::is_canonical(spec.field),
        }
    }
}

static WIRE: [WireSpec; FIELDS.len()] = {
    let mut wire = [const {
        WireSpec {
            header: 0,
            nxm: 0,
            exact_mask: FieldValue::new(0),
            value_mask: FieldValue::new(0),
            bits: 0,
            maskable: false,
            is_canonical: false,
        }
    }; FIELDS.len()];
    let mut row = 0;
    while row < FIELDS.len() {
        wire[row] = WireSpec::of(&FIELDS[row]);
        row += 1;
    }
    wire
};

const NO_ROW: u8 = u8::MAX;

/// Row and needs of the field whose header this is, if it is of one of the three classes that nearly every header is
/// of.
#[inline]
pub(super) fn wire_of_header(header: u32) -> Option<(u8, &'static WireSpec)> {
    let index = match header >> 16 {
        0x8000 => &LOOKUP.oxm_of,
        0x0001 => &LOOKUP.nxm_nx,
        0x0000 => &LOOKUP.nxm_of,
        _ => return None,
    };
    let row = index[(header >> 9 & 0x7f) as usize];
    // There are fewer rows than `NO_ROW` says.
    WIRE.get(usize::from(row)).map(|wire| (row, wire))
}

/// Rows by field number for the three classes that nearly every header is of.
struct Lookup {
    nxm_of: [u8; 128],
    nxm_nx: [u8; 128],
    oxm_of: [u8; 128],
}

static LOOKUP: Lookup = {
    let mut lookup = Lookup { nxm_of: [NO_ROW; 128], nxm_nx: [NO_ROW; 128], oxm_of: [NO_ROW; 128] };
    let mut row = 0;
    while row < FIELDS.len() {
        let headers = [FIELDS[row].oxm, FIELDS[row].nxm];
        let mut i = 0;
        while i < 2 {
            let number = headers[i].number as usize;
            match headers[i].class {
                Class::NXM_OF => lookup.nxm_of[number] = row as u8,
                Class::NXM_NX => lookup.nxm_nx[number] = row as u8,
                Class::OXM_OF => lookup.oxm_of[number] = row as u8,
                _ => {}
            }
            i += 1;
        }
        row += 1;
    }
    lookup
};

/// Some consecutive bits of a field, as Nicira actions name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubField {
    /// The field.
    pub field: Field,
    /// Lowest bit, 0 the least significant.
    pub start: u16,
    /// How many bits, at least 1.
    pub n_bits: u16,
}

impl SubField {
    /// True if it is all of its field.
    pub fn is_whole(self) -> bool {
        self.start == 0 && self.n_bits == self.field.bits_wide()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_own_place_and_is_found_by_every_name() {
        for (row, spec) in FIELDS.iter().enumerate() {
            assert_eq!(spec.field as usize, row);
            assert_eq!(Field::from_name(spec.name), Some(spec.field));
            if !spec.alias.is_empty() {
                assert_eq!(Field::from_name(spec.alias), Some(spec.field));
            }
            for header in [spec.oxm, spec.nxm] {
                assert_eq!(Field::from_header_name(header.name), Some(spec.field));
                let found =
                    Field::from_header(header.class.number(), header.number, header.class.experimenter());
                assert_eq!(found, Some(spec.field), "{}", header.name);
            }
        }
    }

    #[test]
    fn unknown_headers_are_not_found() {
        for name in ["", "reg", "reg16", "NXM_NX_REG16", "Reg0", "reg0 "] {
            assert_eq!((Field::from_name(name), Field::from_header_name(name)), (None, None), "{name}");
        }
        assert_eq!(Field::from_header(0x8000, 127, None), None);
        assert_eq!(Field::from_header(0x8000, 200, None), None);
        assert_eq!(Field::from_header(0xffff, 42, Some(1)), None);
        assert_eq!(Field::from_header(0x1234, 0, None), None);
    }
}
