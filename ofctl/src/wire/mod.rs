//! OpenFlow 1.3 messages, OXM/NXM fields and actions, as bytes and as values.
//!
//! The contract of the whole layer: decoding takes any bytes and answers with a value or an error; it does not
//! panic, does not loop for ever, and does not allocate more than a small multiple of what it was given. Bytes
//! left over are an error. Encoding appends to a buffer that the caller keeps, and allocates nothing else.
//!
//! Three modules are about less usual needs: [`borrowed`] reads the hot messages where they lie, [`versions`] writes
//! and reads flow, group and meter changes and bundles of OpenFlow 1.0, 1.4 and 1.5, and [`experimenter`] lets another
//! crate type the extensions that are unknown here.
//!
//! ```
//! use ofctl::wire::{FlowMod, FlowModCommand, Message, TableId, Xid};
//!
//! let delete_all = FlowMod::new(FlowModCommand::Delete, TableId::ALL);
//! let mut bytes = Vec::new();
//! delete_all.encode_message(Xid(1), &mut bytes)?;
//! assert_eq!(Message::decode(&bytes)?, (Xid(1), Message::FlowMod(delete_all)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod action_codec;
mod async_config;
pub mod borrowed;
mod conntrack;
mod control;
mod ct;
mod cursor;
mod error;
mod error_names;
pub mod experimenter;
mod field;
mod fields;
mod flow_mod;
mod ids;
mod learn;
mod lengths;
mod matching;
mod message;
mod meter;
mod monitor;
mod multipart;
mod names;
mod nicira;
mod nxt;
mod onf;
mod oxm;
mod port;
mod stats;
mod table_features;
mod value;
pub mod versions;

pub use action::{Action, Instructions};
pub use async_config::{AsyncMessage, AsyncProperty};
pub use conntrack::{CtFlush, CtTuple};
pub use control::{AsyncConfig, PortMod, QueueConfig, Role, RoleRequest, TableMod};
pub use ct::{Ct, CtFlags, CtZone, Nat, NatFlags, NatRange};
pub use cursor::Reader;
pub use error::{DecodeError, EncodeError, ErrorCode};
pub use field::{Class, Field, FieldSpec, Format, Header, Prerequisite, SubField};
pub use flow_mod::{
    Bucket, FlowMod, FlowModCommand, FlowRemoved, FlowRemovedReason, GroupMod, GroupModCommand, GroupType,
    NO_BUFFER,
};
pub use ids::{BundleId, Cookie, GroupId, OfPort, TableId, Xid};
pub use learn::{Learn, LearnFlags, LearnSpec};
pub use matching::{FieldMatch, Match};
pub use message::{
    BundleAdd, BundleControl, BundleControlType, BundleFlags, ErrorMessage, Features, FragmentMode,
    HEADER_LENGTH, Hello, Message, MessageHeader, SwitchConfig, VERSION, encode_bundle_add,
};
pub use meter::{
    BandKind, Counters, MeterBand, MeterConfig, MeterFeatures, MeterFlags, MeterId, MeterMod,
    MeterModCommand, MeterStats,
};
pub use monitor::{FlowChange, FlowEvent, FlowMonitor, FlowUpdate, MonitorFlags, MonitorId};
pub use multipart::{
    AggregateStats, FlowStatsRequest, MultipartBody, MultipartReply, MultipartRequest, SwitchDescription,
    TableStats,
};
pub use nicira::{
    BundleAlgorithm, BundleOutput, ControllerAction, Encap, EncapProperty, HashFields, MaskedField,
    Multipath, MultipathAlgorithm, PacketType, Sample, SampleDirection,
};
pub use nxt::{NiciraMessage, PacketIn2, PacketInFormat, TlvMap, TlvTable, TlvTableCommand, TlvTableMod};
pub use onf::{ForwardedRequest, OnfMessage, RoleReason, RoleStatus};
pub use port::{PacketIn, PacketOut, PortDescription, PortReason, PortStatus};
pub use stats::{GroupDescription, GroupFeatures, GroupStats, IpfixStats, PortStats, QueueId, QueueStats};
pub use table_features::{ActionId, FieldId, InstructionId, TableFeatures, TableProperty, When};
pub use value::FieldValue;

/// Nicira's experimenter number, of the extensions that Open vSwitch speaks.
pub const NICIRA_EXPERIMENTER: u32 = 0x0000_2320;
/// The Open Networking Foundation's experimenter number, of its extensions to OpenFlow 1.3.
pub const ONF_EXPERIMENTER: u32 = 0x4f4e_4600;

#[cfg(test)]
pub(crate) mod tests {
    /// Bytes from hex digits; blanks between them do not matter.
    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
        digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }
}
