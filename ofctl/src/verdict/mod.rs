//! What a switch answers to bytes: the message that they are, or the error of OpenFlow 1.3.5 §7.5.4 by which it
//! refuses them.
//!
//! [`of`] is about the bytes alone: their form, and what makes no sense whatever flows, groups and ports there are.
//! It is stricter than [`Message::decode`], which is for both ends and carries what it does not know: a switch refuses
//! a field or an action that it does not know, a port that cannot be, and what only switches say. [`Switch::hear`] is
//! about one switch: its groups, meters, bundles and roles too.
//!
//! Each [`Violation`] has one error, which the specification's table of codes or, where that leaves a choice, Open
//! vSwitch decides: the tests of this package hold them against what a live one answers.
//!
//! ```
//! use ofctl::flow::FlowEntry;
//! use ofctl::verdict;
//! use ofctl::wire::{FlowMod, Xid};
//!
//! let flow: FlowEntry = "tcp_dst=80,actions=output:2".parse()?;
//! let mut bytes = Vec::new();
//! FlowMod::add(flow).encode_message(Xid(7), &mut bytes)?;
//! let refused = verdict::of(&bytes).expect_err("what is no TCP has no port");
//! assert_eq!(refused.name(), "OFPBMC_BAD_PREREQ");
//! assert_eq!((refused.code().kind, refused.code().code), (4, 9));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod direction;
mod order;
mod unknown;

use crate::sim::{self, Switch};
use crate::wire::borrowed::FlowModRef;
use crate::wire::{
    DecodeError, ErrorCode, ErrorMessage, GroupModCommand, Message, MessageHeader, MeterModCommand, VERSION,
    Xid,
};

/// Bytes of a refused message that an error shows, OpenFlow 1.3.5 §7.5.4.
const ERROR_DATA: usize = 64;

/// Why a switch refuses a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The bytes are not a message.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// A message that a switch says, `OFPBRC_BAD_TYPE`.
    #[error("message type {kind} is said by a switch, and not to one")]
    Direction {
        /// `OFPT_*`.
        kind: u8,
    },
    /// Something that this crate carries and a switch does not know.
    #[error("{what} is not known to a switch ({error})")]
    Unknown {
        /// What it is, such as `action type 0x0099`.
        what: String,
        /// Name of the error.
        error: &'static str,
    },
    /// A port that is none.
    #[error("{what} names port {port:#x}, which cannot be ({error})")]
    Port {
        /// What names it.
        what: &'static str,
        /// The port.
        port: u32,
        /// Name of the error.
        error: &'static str,
    },
    /// It makes no sense, or this switch cannot do it.
    #[error(transparent)]
    Meaning(#[from] sim::Refusal),
}

impl Violation {
    /// Name of the error with which a switch answers, such as `OFPBMC_BAD_PREREQ`.
    pub fn name(&self) -> &'static str {
        match self {
            Violation::Bytes(error) => error.name(),
            Violation::Direction { .. } => "OFPBRC_BAD_TYPE",
            Violation::Unknown { error, .. } | Violation::Port { error, .. } => error,
            Violation::Meaning(refusal) => refusal.name(),
        }
    }

    /// That error's numbers.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::from_name(self.name()).expect("every name above is in the table of errors")
    }

    /// The answer to the message that these bytes are, or should have been.
    pub fn answer(&self, refused: &[u8]) -> (Xid, Message) {
        (xid(refused), error(self.code(), refused))
    }
}

/// The number that the bytes have if they have one.
fn xid(bytes: &[u8]) -> Xid {
    Xid(bytes.get(4..8).map_or(0, |number| number.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))))
}

fn error(error: ErrorCode, refused: &[u8]) -> Message {
    let data = refused[..refused.len().min(ERROR_DATA)].to_vec();
    Message::Error(ErrorMessage { error, data })
}

/// `OFPT_ERROR`.
const ERROR: u8 = 1;

/// Reads one message as a switch does that knows nothing but the message.
///
/// # Errors
/// If every switch refuses it.
pub fn of(bytes: &[u8]) -> Result<(Xid, Message), Violation> {
    let (xid, message) = form(bytes)?;
    meaning(&message)?;
    Ok((xid, message))
}

/// Reads one message that is for switches, and of which they know every part.
fn form(bytes: &[u8]) -> Result<(Xid, Message), Violation> {
    if let Ok(Some(header)) = MessageHeader::peek(bytes)
        && header.version == VERSION
        && usize::from(header.length) == bytes.len()
    {
        direction::check(header.kind, bytes)?;
    }
    let (xid, message) = Message::decode(bytes)?;
    if let Message::FlowMod(_) = message
        && let Ok((_, flow)) = FlowModRef::decode(bytes)
    {
        order::check(flow.matching())?;
    }
    unknown::check(&message)?;
    // A flow in a bundle is looked at now, and not when the bundle is committed.
    if let Message::BundleAdd(add) = &message
        && let flow @ Message::FlowMod(_) = &*add.message
    {
        meaning(flow)?;
    }
    Ok((xid, message))
}

/// Checks what a message says, as far as it can be wrong whatever is there.
fn meaning(message: &Message) -> Result<(), sim::Refusal> {
    let checked = match message {
        Message::FlowMod(flow) => Switch::new().with_flows([flow.entry()]),
        Message::GroupMod(change) if change.command != GroupModCommand::Delete => {
            Switch::new().with_group(change.group, change.kind, change.buckets.iter().cloned())
        }
        Message::MeterMod(change) if change.command != MeterModCommand::Delete => {
            Switch::new().with_meter(change.meter, change.flags, change.bands.iter().copied())
        }
        _ => return Ok(()),
    };
    checked.map(drop).map_err(|sim::Refused { reason, .. }| reason)
}

impl Switch {
    /// Hears the bytes of one message and answers as a switch does, with their transaction number: the error of what
    /// is wrong with them, or what [`Switch::handle`] answers.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<(Xid, Message)> {
        // An error is never answered by one.
        if bytes.get(1) == Some(&ERROR) {
            return Vec::new();
        }
        // What the message says is for the switch itself to judge, by what it has.
        let message = match form(bytes) {
            Ok((_, message)) => message,
            Err(violation) => return vec![violation.answer(bytes)],
        };
        let own = |answer| match answer {
            // The data of an error is the beginning of what was refused, as it came.
            Message::Error(refused) => error(refused.error, bytes),
            answer => answer,
        };
        self.handle(message).into_iter().map(|answer| (xid(bytes), own(answer))).collect()
    }
}
