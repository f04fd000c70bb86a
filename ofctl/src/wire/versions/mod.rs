//! Flow-mods, group-mods, meter-mods and bundles of OpenFlow 1.0, 1.4 and 1.5, beside those of 1.3.
//!
//! Everything else of this crate speaks 1.3. This writes the same typed values in another version's bytes, and reads
//! them back, so that a tool can serve a switch that speaks nothing newer or nothing older. A [`Message`] says what
//! a version of it can: what a version cannot carry and what would change which packets are taken or what happens to
//! them is refused with a [`VersionError`]; what it can do without, or says in another way, is a [`Warning`]. Nothing
//! is dropped silently.
//!
//! OpenFlow 1.0 is 1.0 with Open vSwitch's extensions: a match that `ofp10_match` cannot say goes as a NXM match in a
//! `NXT_FLOW_MOD`, actions of later versions as Nicira actions, and groups as `NXT_GROUP_MOD`.
//!
//! ```
//! use ofctl::flow::FlowEntry;
//! use ofctl::wire::versions::{FlowMod, Message, Version};
//! use ofctl::wire::{Action, Field, Match, OfPort, TableId, Xid, FlowMod as FlowMod13};
//!
//! let web = FlowEntry::new(TableId(0), 100)
//!     .matching(Match::new().with(Field::EthType, 0x0800u16).with(Field::IpProto, 6u8).with(Field::TcpDst, 80u16))
//!     .apply([Action::set_field(Field::Ipv4Dst, 0x0a00_0001u32), Action::Output(OfPort(2))]);
//! let message = Message::FlowMod(FlowMod::from(FlowMod13::add(web)));
//! for version in Version::ALL {
//!     let mut bytes = Vec::new();
//!     let warnings = message.encode(version, Xid(1), &mut bytes)?;
//!     assert!(warnings.is_empty());
//!     assert_eq!(Message::decode(&bytes)?, (version, Xid(1), message.clone()));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action10;
mod action15;
mod actions;
mod bundle;
mod flow_mod;
mod group_mod;
mod matching;

pub use flow_mod::{FlowFormat10, FlowMod};
pub use group_mod::{Bucket, BucketId, GroupMod, GroupModCommand, Property, SelectionMethod};

use std::fmt;
use std::str::FromStr;

use super::cursor::{Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::ids::{BundleId, Xid};
use super::message::{self, BundleControl, BundleFlags, HEADER_LENGTH, MessageHeader, kind, put_message};
use super::meter::MeterMod;

/// A version of OpenFlow that messages can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// OpenFlow 1.0 with the Nicira extensions.
    OpenFlow10 = 1,
    /// OpenFlow 1.3.
    OpenFlow13 = 4,
    /// OpenFlow 1.4.
    OpenFlow14 = 5,
    /// OpenFlow 1.5.
    OpenFlow15 = 6,
}

impl Version {
    /// All, the oldest first.
    pub const ALL: [Version; 4] =
        [Version::OpenFlow10, Version::OpenFlow13, Version::OpenFlow14, Version::OpenFlow15];

    /// The number in message headers.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The version of this number in message headers.
    pub fn from_number(number: u8) -> Option<Version> {
        Self::ALL.into_iter().find(|version| version.number() == number)
    }

    /// Name as ovs-ofctl(8) has it after `-O`, such as `OpenFlow13`.
    pub const fn name(self) -> &'static str {
        match self {
            Version::OpenFlow10 => "OpenFlow10",
            Version::OpenFlow13 => "OpenFlow13",
            Version::OpenFlow14 => "OpenFlow14",
            Version::OpenFlow15 => "OpenFlow15",
        }
    }

    /// An error about something that this version has no word for.
    fn lacks(self, what: impl Into<String>, remedy: &'static str) -> VersionError {
        VersionError::Unsupported { version: self, what: what.into(), remedy }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A text that names no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version that is spoken here: OpenFlow10, OpenFlow13, OpenFlow14 or OpenFlow15")]
pub struct UnknownVersion(String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let named = Self::ALL.into_iter().find(|version| version.name().eq_ignore_ascii_case(text));
        named.ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

/// Why something cannot be written in a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The version has no word for it.
    #[error("{version} cannot say {what}: {remedy}")]
    Unsupported {
        /// The version.
        version: Version,
        /// What was to be said.
        what: String,
        /// What can be done about it.
        remedy: &'static str,
    },
    /// No version can write it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What is not in the bytes that were written, or is in them in another way, and what that means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Warning {
    /// Versions before 1.4 know no importance.
    #[error("importance={0} is left away: before OpenFlow 1.4 a full table evicts without regard to it")]
    Importance(u16),
    /// 1.0 has no `push_vlan`; setting the tag's fields adds a tag where there is none.
    #[error("push_vlan is left to set_vlan_vid and set_vlan_pcp: a packet that has a tag gets no second one")]
    PushVlan,
    /// 1.0 has no table in a flow-mod but by an extension that must be switched on.
    #[error("table={0} is in the command: the switch must have been sent NXT_FLOW_MOD_TABLE_ID before")]
    TableInCommand(u8),
    /// Buckets have identifiers since 1.5.
    #[error("bucket_id={0} is left away: before OpenFlow 1.5 buckets are only known by their place")]
    BucketId(BucketId),
    /// 1.0 has no `goto_table`; a resubmit does the same, and the packet comes back.
    #[error("goto_table:{0} is written as resubmit(,{0})")]
    GotoTable(u8),
}

/// A message of any version, without its version and its transaction number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `OFPT_FLOW_MOD`, and in 1.0 `NXT_FLOW_MOD`.
    FlowMod(FlowMod),
    /// `OFPT_GROUP_MOD`, and in 1.0 `NXT_GROUP_MOD`.
    GroupMod(GroupMod),
    /// `OFPT_METER_MOD`, since 1.3 and the same ever since.
    MeterMod(MeterMod),
    /// `OFPT_BUNDLE_CONTROL` since 1.4, and in 1.3 that of ONF extension 230.
    BundleControl(BundleControl),
    /// `OFPT_BUNDLE_ADD_MESSAGE` since 1.4, and in 1.3 that of ONF extension 230.
    BundleAdd {
        /// The bundle.
        bundle: BundleId,
        /// What the bundle promises; as in the request that opened it.
        flags: BundleFlags,
        /// The message to be carried out at the commit.
        message: Box<Message>,
    },
    /// `OFPT_BARRIER_REQUEST`.
    BarrierRequest,
    /// `OFPT_BARRIER_REPLY`.
    BarrierReply,
    /// Any other message, whose body is in the version the one that it is in 1.3: hello, error, echo, features
    /// request, experimenters, and since 1.3 the configuration. In 1.3 any other.
    Same(message::Message),
}

/// The numbers of 1.0 that another type has later.
mod kind10 {
    pub(super) const BARRIER_REQUEST: u8 = 18;
    pub(super) const BARRIER_REPLY: u8 = 19;
}

/// True if the body of such a message is the same in this version as in 1.3.
fn is_same(version: Version, number: u8) -> bool {
    match number {
        kind::HELLO | kind::ERROR | kind::ECHO_REQUEST | kind::ECHO_REPLY | kind::EXPERIMENTER => true,
        kind::FEATURES_REQUEST | kind::GET_CONFIG_REQUEST => true,
        kind::GET_CONFIG_REPLY | kind::SET_CONFIG => version != Version::OpenFlow10,
        _ => version == Version::OpenFlow13,
    }
}

impl Message {
    /// Appends the message in the words of this version.
    ///
    /// A flow-mod of 1.0 is written in the first of [`FlowFormat10::ALL`] that can say it.
    ///
    /// # Errors
    /// If the version cannot say it; then nothing is appended.
    pub fn encode(
        &self,
        version: Version,
        xid: Xid,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Warning>, VersionError> {
        let mut warnings = Vec::new();
        self.put(version, xid, out, &mut warnings)?;
        Ok(warnings)
    }

    fn put(
        &self,
        version: Version,
        xid: Xid,
        out: &mut Vec<u8>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), VersionError> {
        let start = out.len();
        let number = version.number();
        match self {
            Message::FlowMod(flow) => flow.put(version, xid, out, warnings),
            Message::GroupMod(group) => group.put(version, xid, out, warnings),
            Message::MeterMod(_) if version == Version::OpenFlow10 => {
                Err(version.lacks("a meter", "use OpenFlow 1.3 or later"))
            }
            Message::MeterMod(meter) => put_message(number, kind::METER_MOD, xid, out, |out| {
                meter.encode(out);
                Ok(())
            }),
            Message::BundleControl(control) => bundle::put_control(version, control, xid, out),
            Message::BundleAdd { bundle, flags, message } => {
                bundle::put_add(version, *bundle, *flags, xid, out, |out| {
                    message.put(version, xid, out, warnings)
                })
            }
            Message::BarrierRequest | Message::BarrierReply => {
                let request = *self == Message::BarrierRequest;
                let kind = match (version, request) {
                    (Version::OpenFlow10, true) => kind10::BARRIER_REQUEST,
                    (Version::OpenFlow10, false) => kind10::BARRIER_REPLY,
                    (_, true) => kind::BARRIER_REQUEST,
                    (_, false) => kind::BARRIER_REPLY,
                };
                put_message(number, kind, xid, out, |_| Ok::<(), VersionError>(()))
            }
            Message::Same(same) => {
                same.encode(xid, out)?;
                if !is_same(version, out[start + 1]) {
                    out.truncate(start);
                    return Err(version.lacks(
                        "a message of this type as OpenFlow 1.3 does",
                        "only hello, error, echo, barrier, flow, group and meter changes, bundles and \
                         experimenters go in another version than 1.3",
                    ));
                }
                if !matches!(same, message::Message::Hello(_)) {
                    out[start] = number;
                }
                Ok(())
            }
        }
    }

    /// Decodes exactly one message of any version, which its header names.
    ///
    /// # Errors
    /// If the bytes are not one message of a version that is known here, or one whose body is another than in 1.3
    /// and of no variant of [`Message`].
    pub fn decode(bytes: &[u8]) -> Result<(Version, Xid, Message), DecodeError> {
        Self::decode_within(bytes, true)
    }

    fn decode_within(bytes: &[u8], may_be_bundle: bool) -> Result<(Version, Xid, Message), DecodeError> {
        let Some(header) = MessageHeader::peek(bytes)? else {
            return Err(DecodeError::Truncated {
                what: "message header",
                wanted: HEADER_LENGTH,
                left: bytes.len(),
            });
        };
        let mut input = Reader::new("message", bytes);
        let mut body = input.sub("message", header.length.into())?;
        input.finish()?;
        body.skip(HEADER_LENGTH)?;
        let xid = header.xid;
        let version = Version::from_number(header.version).ok_or(DecodeError::Version(header.version));
        if header.kind == kind::HELLO {
            let (_, hello) = message::Message::decode(bytes)?;
            return Ok((version.unwrap_or(Version::OpenFlow15), xid, Message::Same(hello)));
        }
        let version = version?;
        let is10 = version == Version::OpenFlow10;
        let taken = match header.kind {
            kind::FLOW_MOD if is10 => Message::FlowMod(FlowMod::take_10(&mut body)?),
            kind::FLOW_MOD => Message::FlowMod(FlowMod::take(version, &mut body)?),
            kind::GROUP_MOD if !is10 => Message::GroupMod(GroupMod::take(version, &mut body)?),
            kind::METER_MOD if !is10 => Message::MeterMod(MeterMod::take(&mut body)?),
            kind10::BARRIER_REQUEST if is10 => Message::BarrierRequest,
            kind10::BARRIER_REPLY if is10 => Message::BarrierReply,
            kind::BARRIER_REQUEST if !is10 => Message::BarrierRequest,
            kind::BARRIER_REPLY if !is10 => Message::BarrierReply,
            kind::EXPERIMENTER if is10 && body.peek().starts_with(&flow_mod::NXT_FLOW_MOD) => {
                Message::FlowMod(FlowMod::take_nxm(&mut body)?)
            }
            kind::EXPERIMENTER if is10 && body.peek().starts_with(&group_mod::NXT_GROUP_MOD) => {
                body.skip(group_mod::NXT_GROUP_MOD.len())?;
                Message::GroupMod(GroupMod::take(version, &mut body)?)
            }
            _ => match bundle::take(version, header.kind, &mut body)? {
                Some(bundle::Taken::Control(control)) => Message::BundleControl(control),
                Some(bundle::Taken::Add(bundle, flags, inner)) => {
                    let (inner_version, inner_xid, message) = Self::decode_inner(inner, may_be_bundle)?;
                    if (inner_version, inner_xid) != (version, xid) {
                        return Err(DecodeError::Refused {
                            what: "message in a bundle",
                            error: "OFPBFC_MSG_BAD_XID",
                        });
                    }
                    Message::BundleAdd { bundle, flags, message: Box::new(message) }
                }
                None if is_same(version, header.kind) => {
                    let mut as_13 = bytes.to_vec();
                    as_13[0] = Version::OpenFlow13.number();
                    return Ok((version, xid, Message::Same(message::Message::decode(&as_13)?.1)));
                }
                // Of a type that is read in 1.3 alone.
                None => return Err(DecodeError::Version(header.version)),
            },
        };
        body.finish()?;
        Ok((version, xid, taken))
    }

    /// Decodes the message in a bundle, where there can be no other bundle, so that nesting has an end.
    fn decode_inner(inner: &[u8], may_be_bundle: bool) -> Result<(Version, Xid, Message), DecodeError> {
        if !may_be_bundle {
            return Err(DecodeError::Refused { what: "message in a bundle", error: "OFPBFC_MSG_UNSUP" });
        }
        Self::decode_within(inner, false)
    }
}

/// Appends a Nicira message's own header, before its body.
fn put_nicira_message(subtype: u32, out: &mut Vec<u8>) {
    out.put_u32(super::NICIRA_EXPERIMENTER);
    out.put_u32(subtype);
}
