//! What the flow tables can hold: OpenFlow 1.3.5 §7.3.5.5.

use super::cursor::{Nested, Padding, Put, Reader};
use super::error::DecodeError;
use super::field::{Class, Field};
use super::ids::TableId;
use super::multipart::take_each;
use super::port::{put_text, take_text};
use super::stats::take_bounded;

/// `OFPTFPT_*`; those of table-miss entries are one larger, where there are two.
mod kind {
    pub(super) const INSTRUCTIONS: u16 = 0;
    pub(super) const NEXT_TABLES: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 4;
    pub(super) const APPLY_ACTIONS: u16 = 6;
    pub(super) const MATCH: u16 = 8;
    pub(super) const WILDCARDS: u16 = 10;
    pub(super) const WRITE_SETFIELD: u16 = 12;
    pub(super) const APPLY_SETFIELD: u16 = 14;
}

/// Properties that a table must have, a bit each.
const REQUIRED: u32 = 1 << kind::INSTRUCTIONS
    | 1 << kind::NEXT_TABLES
    | 1 << kind::WRITE_ACTIONS
    | 1 << kind::APPLY_ACTIONS
    | 1 << kind::MATCH
    | 1 << kind::WILDCARDS
    | 1 << kind::WRITE_SETFIELD
    | 1 << kind::APPLY_SETFIELD;

/// An instruction's type, `OFPIT_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstructionId(pub u16);

/// An action's type, `OFPAT_*`, and what follows its header: nothing, or an experimenter's number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId {
    /// `OFPAT_*`.
    pub kind: u16,
    /// What follows.
    pub body: Box<[u8]>,
}

impl ActionId {
    /// An action of OpenFlow's own.
    pub fn new(kind: u16) -> Self {
        ActionId { kind, body: Box::default() }
    }
}

/// A field's header, OpenFlow 1.3.5 §7.2.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId {
    /// The header's 32 bits: class, number, whether it can be masked, and length.
    pub header: u32,
    /// Whose field it is, if the class is [`Class::EXPERIMENTER`].
    pub experimenter: Option<u32>,
}

impl FieldId {
    /// The header of a field that is known here, with a mask or without.
    pub fn new(field: Field, has_mask: bool) -> Self {
        let (spec, header) = (field.spec(), field.spec().oxm);
        let experimenter = header.class.experimenter();
        let bytes = u32::from(spec.wire_bytes) * if has_mask { 2 } else { 1 };
        let length = bytes + if experimenter.is_some() { 4 } else { 0 };
        let number = u32::from(header.class.number()) << 16
            | u32::from(header.number) << 9
            | u32::from(has_mask) << 8
            | length;
        FieldId { header: number, experimenter }
    }

    /// The field, if it is known here.
    pub fn field(self) -> Option<Field> {
        Field::from_header((self.header >> 16) as u16, (self.header >> 9) as u8 & 0x7f, self.experimenter)
    }

    /// True if it can be masked, bit by bit.
    pub const fn has_mask(self) -> bool {
        self.header & 0x100 != 0
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.header);
        if let Some(experimenter) = self.experimenter {
            out.put_u32(experimenter);
        }
    }

    fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = input.u32()?;
        let is_experimenter = (header >> 16) as u16 == Class::EXPERIMENTER;
        let experimenter = if is_experimenter { Some(input.u32()?) } else { None };
        Ok(FieldId { header, experimenter })
    }
}

/// When actions are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// At the end, by way of the action set: `write_actions`.
    Write,
    /// At once: `apply_actions`.
    Apply,
}

/// `ofp_table_feature_prop_header` and what follows it. Each says whether it is about table-miss entries, where there
/// are two of a kind; without the second, the first is about all entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TableProperty {
    /// `OFPTFPT_INSTRUCTIONS` and `_MISS`.
    Instructions {
        /// About table-miss entries.
        miss: bool,
        /// Instructions that entries can have.
        list: Vec<InstructionId>,
    },
    /// `OFPTFPT_NEXT_TABLES` and `_MISS`.
    NextTables {
        /// About table-miss entries.
        miss: bool,
        /// Tables that entries can go to.
        list: Vec<TableId>,
    },
    /// `OFPTFPT_WRITE_ACTIONS`, `OFPTFPT_APPLY_ACTIONS` and `_MISS`.
    Actions {
        /// When.
        when: When,
        /// About table-miss entries.
        miss: bool,
        /// Actions that entries can have.
        list: Vec<ActionId>,
    },
    /// `OFPTFPT_WRITE_SETFIELD`, `OFPTFPT_APPLY_SETFIELD` and `_MISS`.
    SetField {
        /// When.
        when: When,
        /// About table-miss entries.
        miss: bool,
        /// Fields that entries can set.
        list: Vec<FieldId>,
    },
    /// `OFPTFPT_MATCH`: fields that can be matched.
    Match(Vec<FieldId>),
    /// `OFPTFPT_WILDCARDS`: fields that need not be matched.
    Wildcards(Vec<FieldId>),
    /// Any other, such as an experimenter's.
    Unknown {
        /// `OFPTFPT_*`.
        kind: u16,
        /// What follows.
        body: Box<[u8]>,
    },
}

impl TableProperty {
    fn kind(&self) -> u16 {
        let or_miss = |kind, miss: &bool| kind + u16::from(*miss);
        match self {
            TableProperty::Instructions { miss, .. } => or_miss(kind::INSTRUCTIONS, miss),
            TableProperty::NextTables { miss, .. } => or_miss(kind::NEXT_TABLES, miss),
            TableProperty::Actions { when: When::Write, miss, .. } => or_miss(kind::WRITE_ACTIONS, miss),
            TableProperty::Actions { when: When::Apply, miss, .. } => or_miss(kind::APPLY_ACTIONS, miss),
            TableProperty::SetField { when: When::Write, miss, .. } => or_miss(kind::WRITE_SETFIELD, miss),
            TableProperty::SetField { when: When::Apply, miss, .. } => or_miss(kind::APPLY_SETFIELD, miss),
            TableProperty::Match(_) => kind::MATCH,
            TableProperty::Wildcards(_) => kind::WILDCARDS,
            TableProperty::Unknown { kind, .. } => *kind,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 2, Padding::Uncounted);
        out.put_u16(self.kind());
        out.put_u16(0);
        match self {
            TableProperty::Instructions { list, .. } => {
                for id in list {
                    out.put_u16(id.0);
                    out.put_u16(4);
                }
            }
            TableProperty::NextTables { list, .. } => list.iter().for_each(|table| out.put_u8(table.0)),
            TableProperty::Actions { list, .. } => {
                for id in list {
                    let mut out = Nested::begin(&mut out, 2, Padding::None);
                    out.put_u16(id.kind);
                    out.put_u16(0);
                    out.put(&id.body);
                }
            }
            TableProperty::SetField { list, .. }
            | TableProperty::Match(list)
            | TableProperty::Wildcards(list) => list.iter().for_each(|id| id.encode(&mut out)),
            TableProperty::Unknown { body, .. } => out.put(body),
        }
    }

    fn take(input: &mut Reader<'_>) -> Result<TableProperty, DecodeError> {
        let what = "table property";
        let kind = input.u16()?;
        let length = usize::from(input.u16()?);
        let rest = length.checked_sub(4).ok_or(DecodeError::BadLength { what, length })?;
        let mut body = input.sub(what, rest)?;
        input.skip(length.next_multiple_of(8) - length)?;
        let body = &mut body;
        let miss = kind & 1 == 1;
        let when = |write| if kind & !1 == write { When::Write } else { When::Apply };
        let unmasked = |list: Vec<FieldId>| {
            let masked = list.iter().any(|id| id.has_mask());
            if masked { Err(DecodeError::Refused { what, error: "OFPBMC_BAD_MASK" }) } else { Ok(list) }
        };
        Ok(match kind & !1 {
            _ if matches!(kind, 9 | 11) || kind > kind::APPLY_SETFIELD + 1 => {
                TableProperty::Unknown { kind, body: body.rest().into() }
            }
            kind::INSTRUCTIONS => {
                TableProperty::Instructions { miss, list: take_each(body, take_instruction)? }
            }
            kind::NEXT_TABLES => {
                if body.peek().contains(&TableId::ALL.0) {
                    return Err(DecodeError::Refused { what, error: "OFPBPC_BAD_VALUE" });
                }
                TableProperty::NextTables { miss, list: body.rest().iter().copied().map(TableId).collect() }
            }
            kind::WRITE_ACTIONS | kind::APPLY_ACTIONS => TableProperty::Actions {
                when: when(kind::WRITE_ACTIONS),
                miss,
                list: take_each(body, take_action)?,
            },
            kind::MATCH => TableProperty::Match(take_fields(body)?),
            kind::WILDCARDS => TableProperty::Wildcards(unmasked(take_fields(body)?)?),
            // What is left are the two kinds of fields that can be set.
            _ => TableProperty::SetField {
                when: when(kind::WRITE_SETFIELD),
                miss,
                list: unmasked(take_fields(body)?)?,
            },
        })
    }
}

fn take_fields(body: &mut Reader<'_>) -> Result<Vec<FieldId>, DecodeError> {
    take_each(body, FieldId::take).map_err(|error| error.in_part("OFPBMC_BAD_LEN", "OFPBMC_BAD_FIELD"))
}

/// A type and a length, and what that bounds.
fn take_id<'a>(input: &mut Reader<'a>) -> Result<(u16, &'a [u8]), DecodeError> {
    let (kind, length) = (input.u16()?, usize::from(input.u16()?));
    let rest = length.checked_sub(4).ok_or(DecodeError::BadLength { what: "table property", length })?;
    Ok((kind, input.take(rest)?))
}

fn take_instruction(input: &mut Reader<'_>) -> Result<InstructionId, DecodeError> {
    let (kind, _) = take_id(input)?;
    // `OFPIT_GOTO_TABLE` to `OFPIT_METER`.
    if !(1..=6).contains(&kind) {
        return Err(DecodeError::Refused { what: "table property", error: "OFPBIC_UNKNOWN_INST" });
    }
    Ok(InstructionId(kind))
}

fn take_action(input: &mut Reader<'_>) -> Result<ActionId, DecodeError> {
    let (kind, body) = take_id(input)?;
    Ok(ActionId { kind, body: body.into() })
}

/// `ofp_table_features`, OpenFlow 1.3.5 §7.3.5.5.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableFeatures {
    /// The table.
    pub table: TableId,
    /// Its name, at most 31 bytes.
    pub name: String,
    /// Bits of the metadata that can be matched.
    pub metadata_match: u64,
    /// Bits of the metadata that can be written.
    pub metadata_write: u64,
    /// `OFPTC_*`.
    pub config: u32,
    /// Entries at most.
    pub max_entries: u32,
    /// What its entries can hold.
    pub properties: Vec<TableProperty>,
}

impl TableFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 0, Padding::None);
        out.put_u16(0);
        out.put_u8(self.table.0);
        out.put_zeros(5);
        put_text(&self.name, 32, &mut out);
        out.put_u64(self.metadata_match);
        out.put_u64(self.metadata_write);
        out.put_u32(self.config);
        out.put_u32(self.max_entries);
        self.properties.iter().for_each(|property| property.encode(&mut out));
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let named = |error: DecodeError| error.in_part("OFPBPC_BAD_LEN", "OFPBPC_BAD_TYPE");
        Self::take_any(input).map_err(named)
    }

    fn take_any(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "table features";
        let mut input = take_bounded(what, input)?;
        if (input.peek().len() + 2) % 8 != 0 {
            return Err(DecodeError::BadLength { what, length: input.peek().len() + 2 });
        }
        let table = TableId(input.u8()?);
        input.skip(5)?;
        if table == TableId::ALL {
            return Err(DecodeError::Refused { what, error: "OFPTFFC_BAD_TABLE" });
        }
        let mut features = TableFeatures {
            table,
            name: take_text::<32>(&mut input)?,
            metadata_match: input.u64()?,
            metadata_write: input.u64()?,
            config: input.u32()?,
            max_entries: input.u32()?,
            properties: Vec::new(),
        };
        let mut seen = 0u32;
        while !input.is_empty() {
            let property = TableProperty::take(&mut input)?;
            let bit = 1u32.checked_shl(property.kind().into()).unwrap_or(0);
            if seen & bit != 0 {
                return Err(DecodeError::Refused { what, error: "OFPTFFC_BAD_FEATURES" });
            }
            seen |= bit;
            features.properties.push(property);
        }
        // Only those of table-miss entries and of experimenters may be left out.
        if seen & REQUIRED != REQUIRED {
            return Err(DecodeError::Refused { what, error: "OFPTFFC_BAD_FEATURES" });
        }
        Ok(features)
    }
}
