//! Flow matches: which packets a flow entry takes.

use super::field::Field;
use super::value::FieldValue;

/// One field of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldMatch {
    /// The field.
    pub field: Field,
    /// Wanted value; zero where the mask is.
    pub value: FieldValue,
    /// Bits that are compared; never zero.
    pub mask: FieldValue,
}

impl FieldMatch {
    /// True if every bit of the field is compared.
    pub fn is_exact(&self) -> bool {
        self.mask == self.field.exact_mask()
    }
}

/// A set of conditions on fields, OpenFlow 1.3.5 §7.2.3, in the one form that Open vSwitch reports.
///
/// Canonical, so that two matches are equal exactly if they take the same packets by the same fields: sorted in
/// field order, no field twice, no value bit outside its mask, no empty mask. Fields that are another name for
/// part of the packet become those by which Open vSwitch reports them: `XReg0` becomes `Reg0` and `Reg1`,
/// `VlanTci` becomes `VlanVid` and `VlanPcp`, `IpTos` becomes `IpDscp`, `InPort16` becomes `InPort`.
///
/// ```
/// use ofctl::wire::{Field, Match};
///
/// let web = Match::new().with(Field::TcpDst, 80u16).with(Field::IpProto, 6u8).with(Field::EthType, 0x0800u16);
/// let same = Match::new().with(Field::EthType, 0x0800u16).with(Field::IpProto, 6u8).with(Field::TcpDst, 80u16);
/// assert_eq!(web, same);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Match {
    fields: Vec<FieldMatch>,
    /// OXM entries that the field table does not know, as they came.
    unknown: Option<Box<[u8]>>,
}

impl Match {
    /// A match of every packet.
    pub const fn new() -> Self {
        Match { fields: Vec::new(), unknown: None }
    }

    /// A match of every packet, with room for conditions.
    pub(crate) fn with_capacity(n: usize) -> Self {
        Match { fields: Vec::with_capacity(n), unknown: None }
    }

    /// The same match, and the field has this value. An earlier condition on the field is replaced.
    #[must_use]
    pub fn with(self, field: Field, value: impl Into<FieldValue>) -> Self {
        self.masked(field, value, field.exact_mask())
    }

    /// The same match, and the field has this value in the bits of `mask`.
    ///
    /// An earlier condition on the field is replaced; an empty mask removes it. Whether the field can be masked
    /// is not checked here: the switch answers `OFPBMC_BAD_MASK`.
    #[must_use]
    pub fn masked(mut self, field: Field, value: impl Into<FieldValue>, mask: impl Into<FieldValue>) -> Self {
        self.set(field, value.into(), mask.into());
        self
    }

    /// Adds, replaces or (by an empty mask) removes a condition.
    pub fn set(&mut self, field: Field, value: FieldValue, mask: FieldValue) {
        let (v, m) = (value.to_u128(), mask.to_u128());
        if let Some((first, count)) = registers(field) {
            for i in 0..count {
                let shift = 32 * (count - 1 - i);
                let part = |number: u128| FieldValue::from((number >> shift) as u32);
                if !part(m).is_zero() {
                    self.set_plain(REGISTERS[first + i], part(v), part(m));
                }
            }
            return;
        }
        match field {
            Field::VlanTci => {
                self.set_plain(Field::VlanVid, FieldValue::from(v & 0x1fff), FieldValue::from(m & 0x1fff));
                // Open vSwitch reports no priority without a tag, and no part of one: any bit stands for all.
                let pcp_mask = if v & m & 0x1fff == 0 || m >> 13 == 0 { 0u8 } else { 7 };
                self.set_plain(Field::VlanPcp, FieldValue::from(v >> 13), FieldValue::from(pcp_mask));
            }
            // Open vSwitch matches these with a mask of the bits that it knows even where none was given.
            Field::TunFlags => self.set_plain(field, value, FieldValue::from(m & 1)),
            Field::CtState => self.set_plain(field, value, FieldValue::from(m & 0xff)),
            Field::IpTos => self.set_plain(Field::IpDscp, FieldValue::from(v >> 2), FieldValue::from(m >> 2)),
            Field::InPort16 => {
                let port = if v >= 0xff00 { v as u32 | 0xffff_0000 } else { v as u32 };
                self.set_plain(Field::InPort, port.into(), Field::InPort.exact_mask());
            }
            _ => self.set_plain(field, value, mask),
        }
    }

    /// Adds a condition that comes after all others, if it does and needs no change.
    #[inline]
    pub(super) fn push_in_order(&mut self, field: Field, value: FieldValue, mask: FieldValue) -> bool {
        let in_order = self.fields.last().is_none_or(|last| last.field < field);
        let plain =
            in_order && field.wire().is_canonical && !mask.is_zero() && (mask & field.exact_mask()) == mask;
        if plain {
            self.fields.push(FieldMatch { field, value: value & mask, mask });
        }
        plain
    }

    fn set_plain(&mut self, field: Field, value: FieldValue, mask: FieldValue) {
        let mask = mask & field.exact_mask();
        let entry = FieldMatch { field, value: value & mask, mask };
        // Planners and switches both give fields nearly in order, so the place is sought from the end.
        let place = self.fields.iter().rposition(|known| known.field <= field);
        match place {
            Some(i) if self.fields[i].field == field => {
                if mask.is_zero() {
                    self.fields.remove(i);
                } else {
                    self.fields[i] = entry;
                }
            }
            _ if mask.is_zero() => {}
            _ => self.fields.insert(place.map_or(0, |i| i + 1), entry),
        }
    }

    /// The conditions, in canonical order.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldMatch> {
        self.fields.iter()
    }

    /// The conditions, in canonical order.
    pub(crate) fn conditions(&self) -> &[FieldMatch] {
        &self.fields
    }

    /// The condition on one field.
    pub fn get(&self, field: Field) -> Option<&FieldMatch> {
        self.fields.iter().find(|condition| condition.field == field)
    }

    /// The value of a field that is matched exactly.
    pub fn exact(&self, field: Field) -> Option<FieldValue> {
        self.get(field).filter(|condition| condition.is_exact()).map(|condition| condition.value)
    }

    /// True if every packet matches.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.unknown.is_none()
    }

    /// OXM entries that the field table does not know: their bytes, one after the other.
    pub fn unknown(&self) -> &[u8] {
        self.unknown.as_deref().unwrap_or_default()
    }

    /// Sets the OXM entries that the field table does not know.
    pub(crate) fn set_unknown(&mut self, entries: Vec<u8>) {
        self.unknown = (!entries.is_empty()).then(|| entries.into_boxed_slice());
    }
}

impl<'a> IntoIterator for &'a Match {
    type Item = &'a FieldMatch;
    type IntoIter = std::slice::Iter<'a, FieldMatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

const REGISTERS: [Field; 16] = {
    use Field::*;
    [Reg0, Reg1, Reg2, Reg3, Reg4, Reg5, Reg6, Reg7, Reg8, Reg9, Reg10, Reg11, Reg12, Reg13, Reg14, Reg15]
};

/// False for the fields that a match holds as other fields, or not with every mask.
pub(super) const fn is_canonical(field: Field) -> bool {
    registers(field).is_none()
        && !matches!(
            field,
            Field::VlanTci | Field::TunFlags | Field::CtState | Field::IpTos | Field::InPort16
        )
}

/// First 32-bit register and number of registers that a long register stands for.
const fn registers(field: Field) -> Option<(usize, usize)> {
    match field {
        Field::XReg0
        | Field::XReg1
        | Field::XReg2
        | Field::XReg3
        | Field::XReg4
        | Field::XReg5
        | Field::XReg6
        | Field::XReg7 => Some((2 * (field as usize - Field::XReg0 as usize), 2)),
        Field::XxReg0 | Field::XxReg1 | Field::XxReg2 | Field::XxReg3 => {
            Some((4 * (field as usize - Field::XxReg0 as usize), 4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_registers_become_short_ones() {
        let long = Match::new().masked(Field::XReg1, 0x1_0000_0002u64, 0xffff_ffff_0000_00ffu64);
        let short = Match::new().with(Field::Reg2, 1u32).masked(Field::Reg3, 2u32, 0xffu32);
        assert_eq!(long, short);
        let long = Match::new().masked(Field::XxReg3, 7u128 << 32, 0xffff_ffffu128 << 32);
        assert_eq!(long, Match::new().with(Field::Reg14, 7u32));
    }

    #[test]
    fn tag_control_becomes_identifier_and_priority() {
        let tci = Match::new().with(Field::VlanTci, 0x7005u16);
        assert_eq!(tci, Match::new().with(Field::VlanVid, 0x1005u16).with(Field::VlanPcp, 3u8));
    }

    #[test]
    fn last_condition_on_a_field_counts_and_an_empty_mask_removes_it() {
        let twice = Match::new().with(Field::Reg0, 1u32).with(Field::Reg0, 2u32);
        assert_eq!(twice, Match::new().with(Field::Reg0, 2u32));
        assert!(twice.masked(Field::Reg0, 2u32, 0u32).is_empty());
    }

    #[test]
    fn values_are_cut_to_their_mask() {
        let sloppy = Match::new().masked(Field::Ipv4Dst, 0x0a01_0203u32, 0xffff_ff00u32);
        assert_eq!(sloppy.get(Field::Ipv4Dst).unwrap().value, FieldValue::from(0x0a01_0200u32));
    }
}
