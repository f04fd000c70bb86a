//! A match over its bytes, OpenFlow 1.3.5 §7.2.3.

use super::super::cursor::Reader;
use super::super::field::{Class, Field};
use super::super::matching::Match;
use super::super::value::FieldValue;
use super::CHECKED;

/// The OXM entries of a match, as they stand there: in any order, and of fields by any of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchRef<'a>(&'a [u8]);

impl<'a> MatchRef<'a> {
    pub(super) fn new(entries: &'a [u8]) -> Self {
        MatchRef(entries)
    }

    /// The entries' bytes, one after the other.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// True if every packet matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries.
    #[inline]
    pub fn iter(&self) -> MatchEntries<'a> {
        MatchEntries(self.0)
    }

    /// The entry of this field under one of its own headers; a field may also stand there as part of another, which
    /// only [`MatchRef::to_match`] resolves.
    #[inline]
    pub fn entry(&self, field: Field) -> Option<MatchEntry<'a>> {
        self.iter().find(|entry| entry.field == Some(field))
    }

    /// The match as a value.
    pub fn to_match(&self) -> Match {
        Match::take_entries(&mut Reader::new("match", self.0)).expect(CHECKED)
    }
}

impl<'a> IntoIterator for MatchRef<'a> {
    type Item = MatchEntry<'a>;
    type IntoIter = MatchEntries<'a>;

    fn into_iter(self) -> MatchEntries<'a> {
        self.iter()
    }
}

/// One OXM entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchEntry<'a> {
    /// The field, if it is known.
    pub field: Option<Field>,
    /// Class of the header.
    pub class: u16,
    /// Number in the class.
    pub number: u8,
    /// Whose field it is, if the class is [`Class::EXPERIMENTER`].
    pub experimenter: Option<u32>,
    /// Wanted value.
    pub value: &'a [u8],
    /// Bits that are compared, if not all.
    pub mask: Option<&'a [u8]>,
}

impl MatchEntry<'_> {
    /// The value as a number; `None` if it has more than 16 bytes.
    #[inline]
    pub fn number(&self) -> Option<FieldValue> {
        FieldValue::from_be_slice(self.value)
    }

    /// The mask as a number; `None` if there is none, or it has more than 16 bytes.
    #[inline]
    pub fn mask_number(&self) -> Option<FieldValue> {
        FieldValue::from_be_slice(self.mask?)
    }
}

/// The entries of a match, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchEntries<'a>(&'a [u8]);

impl<'a> MatchEntries<'a> {
    /// Over entries that were not checked; it ends before the first that is not whole.
    pub(in crate::wire) fn over(entries: &'a [u8]) -> Self {
        MatchEntries(entries)
    }
}

impl<'a> Iterator for MatchEntries<'a> {
    type Item = MatchEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<MatchEntry<'a>> {
        let (&[high, low, number, length], rest) = self.0.split_first_chunk::<4>()?;
        let (mut payload, rest) = rest.split_at_checked(length.into())?;
        self.0 = rest;
        let class = u16::from_be_bytes([high, low]);
        let mut experimenter = None;
        if class == Class::EXPERIMENTER {
            let (vendor, after) = payload.split_first_chunk::<4>()?;
            (experimenter, payload) = (Some(u32::from_be_bytes(*vendor)), after);
        }
        let has_mask = number & 1 == 1;
        let (value, mask) = if has_mask { payload.split_at(payload.len() / 2) } else { (payload, &[][..]) };
        let number = number >> 1;
        let field = Field::from_header(class, number, experimenter);
        Some(MatchEntry { field, class, number, experimenter, value, mask: has_mask.then_some(mask) })
    }
}
