//! OpenFlow 1.3 messages, OXM/NXM fields and actions, as bytes and as values.
//!
//! The contract of the whole layer: decoding takes any bytes and answers with a value or an error; it does not
//! panic, does not loop for ever, and does not allocate more than a small multiple of what it was given. Bytes
//! left over are an error. Encoding appends to a buffer that the caller keeps, and allocates nothing else.

mod action;
mod field;
mod fields;
mod ids;
mod matching;
mod value;

pub use action::{Action, Instructions};
pub use field::{Class, Field, FieldSpec, Format, Header, Prerequisite, SubField};
pub use ids::{BundleId, Cookie, GroupId, OfPort, TableId, Xid};
pub use matching::{FieldMatch, Match};
pub use value::FieldValue;

/// Nicira's experimenter number, of the extensions that Open vSwitch speaks.
pub const NICIRA_EXPERIMENTER: u32 = 0x0000_2320;
/// The Open Networking Foundation's experimenter number, of its extensions to OpenFlow 1.3.
pub const ONF_EXPERIMENTER: u32 = 0x4f4e_4600;
