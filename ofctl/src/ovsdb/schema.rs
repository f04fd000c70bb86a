//! As much of a database's schema as a replica needs (RFC 7047 §3.2).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::value::{Atom, Real, Uuid, Value};

/// A database's tables (`<database-schema>`, RFC 7047 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Schema {
    /// The database's name.
    pub name: String,
    /// The schema's version, x.y.z.
    #[serde(default)]
    pub version: String,
    /// The tables by name.
    pub tables: BTreeMap<String, TableSchema>,
}

impl Schema {
    /// A column's type, if this version of the database has it.
    pub fn column(&self, table: &str, column: &str) -> Option<&ColumnType> {
        self.tables.get(table)?.columns.get(column).map(|column| &column.r#type)
    }
}

/// A table's columns (`<table-schema>`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TableSchema {
    /// The columns by name.
    pub columns: BTreeMap<String, ColumnSchema>,
}

/// A column (`<column-schema>`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ColumnSchema {
    /// What it holds.
    pub r#type: ColumnType,
}

/// An atom's type (`<atomic-type>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtomicType {
    /// 64-bit signed.
    Integer,
    /// Floating point.
    Real,
    /// Truth.
    Boolean,
    /// Text.
    String,
    /// A row.
    Uuid,
}

impl AtomicType {
    /// What a new row's column holds if nothing is said (RFC 7047 §5.2.1).
    pub fn default_atom(self) -> Atom {
        match self {
            AtomicType::Integer => Atom::Integer(0),
            AtomicType::Real => Atom::Real(Real::default()),
            AtomicType::Boolean => Atom::Boolean(false),
            AtomicType::String => Atom::String(String::new()),
            AtomicType::Uuid => Atom::Uuid(Uuid::ZERO),
        }
    }
}

/// What a column holds (`<type>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "WireType")]
pub struct ColumnType {
    /// The type of its elements, or of its keys.
    pub key: AtomicType,
    /// The type of a map's values; none if it is no map.
    pub value: Option<AtomicType>,
    /// The fewest elements.
    pub min: u64,
    /// The most elements; none for no limit.
    pub max: Option<u64>,
}

impl ColumnType {
    /// True when it may hold more than one element: a `modify` then says the difference, not the new value.
    pub fn is_composite(&self) -> bool {
        self.max != Some(1)
    }

    /// True for the value that a new row has if nothing is said; `update2` leaves such columns out.
    pub fn is_default(&self, value: &Value) -> bool {
        match value {
            Value::Map(map) => map.is_empty(),
            _ if self.min == 0 => value.atoms().is_empty(),
            _ => value.as_atom().is_some_and(|atom| match (atom, self.key) {
                // A real zero may be written as an integer.
                (Atom::Integer(number), AtomicType::Integer | AtomicType::Real) => *number == 0,
                (atom, key) => *atom == key.default_atom(),
            }),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireType {
    Atomic(AtomicType),
    Object {
        key: WireBase,
        #[serde(default)]
        value: Option<WireBase>,
        #[serde(default = "one")]
        min: u64,
        #[serde(default)]
        max: Option<WireMax>,
    },
}

const fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireBase {
    Atomic(AtomicType),
    Object { r#type: AtomicType },
}

impl WireBase {
    fn atomic(self) -> AtomicType {
        let (WireBase::Atomic(atomic) | WireBase::Object { r#type: atomic }) = self;
        atomic
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireMax {
    Number(u64),
    Unlimited(Unlimited),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unlimited {
    Unlimited,
}

impl From<WireType> for ColumnType {
    fn from(wire: WireType) -> Self {
        match wire {
            WireType::Atomic(key) => ColumnType { key, value: None, min: 1, max: Some(1) },
            WireType::Object { key, value, min, max } => ColumnType {
                key: key.atomic(),
                value: value.map(WireBase::atomic),
                min,
                max: match max {
                    None => Some(1),
                    Some(WireMax::Number(number)) => Some(number),
                    Some(WireMax::Unlimited(Unlimited::Unlimited)) => None,
                },
            },
        }
    }
}
