//! Views of the hot messages over their bytes: checked once, read without a copy or an allocation.
//!
//! A view exists only of bytes that [`Message::decode`] takes, and its `to_…` method makes the very value that
//! [`Message::decode`] makes. The checks go over the bytes once for what nearly every flow consists of; a message
//! with anything rarer in it is put before the owned decoder, whose verdict is then the view's, so that the two
//! cannot disagree.
//!
//! ```
//! use ofctl::flow::FlowEntry;
//! use ofctl::wire::borrowed::{ActionView, FlowModRef, Instruction};
//! use ofctl::wire::{Action, Field, FlowMod, Match, OfPort, TableId, Xid};
//!
//! let entry = FlowEntry::new(TableId(3), 100)
//!     .matching(Match::new().with(Field::InPort, OfPort(5)))
//!     .apply([Action::Output(OfPort(7))]);
//! let mut bytes = Vec::new();
//! FlowMod::add(entry.clone()).encode_message(Xid(9), &mut bytes)?;
//!
//! let (xid, flow) = FlowModRef::decode(&bytes)?;
//! assert_eq!((xid, flow.table(), flow.priority()), (Xid(9), TableId(3), 100));
//! let in_port = flow.matching().entry(Field::InPort).and_then(|entry| entry.number());
//! assert_eq!(in_port, Some(5u32.into()));
//! let Some(Instruction::Apply(actions)) = flow.instructions().next() else { panic!("it applies actions") };
//! let views: Vec<ActionView> = actions.map(|action| action.view()).collect();
//! assert_eq!(views, [ActionView::Output { port: OfPort(7), max_len: 0 }]);
//! assert_eq!(flow.to_flow_mod().into_entry(), entry);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Message::decode`]: super::Message::decode

mod action;
mod check;
mod matching;

pub use action::{ActionRef, ActionView, Actions, Instruction, InstructionsRef};
pub use matching::{MatchEntries, MatchEntry, MatchRef};

use std::time::Duration;

use super::cursor::Reader;
use super::error::DecodeError;
use super::flow_mod::{FlowMod, FlowModCommand, check_flags, take_duration};
use super::ids::{Cookie, GroupId, OfPort, TableId, Xid};
use super::message::{HEADER_LENGTH, Message, VERSION, kind};
use super::multipart::{MultipartBody, kind as multipart, take_flow_stats};
use super::port::PacketIn;
use crate::flow::{FlowFlags, FlowStats};

/// Why no bytes that were checked can fail to be read.
const CHECKED: &str = "the bytes were checked when the view was made";

/// The body of a message of 1.3 of this type and of exactly this length.
#[inline]
fn body_of(wanted: u8, bytes: &[u8]) -> Option<(Xid, &[u8])> {
    let (header, body) = bytes.split_first_chunk::<HEADER_LENGTH>()?;
    let [version, kind, high, low, xid @ ..] = *header;
    let right =
        version == VERSION && kind == wanted && usize::from(u16::from_be_bytes([high, low])) == bytes.len();
    right.then_some((Xid(u32::from_be_bytes(xid)), body))
}

/// An error about bytes that are a message of another type.
fn another_type(bytes: &[u8]) -> DecodeError {
    let value = bytes.get(1).copied().unwrap_or_default().into();
    DecodeError::BadValue { what: "type of the message", value }
}

/// Splits what begins with an `ofp_match`: its entries, and what follows its padding.
#[inline]
fn split_match(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_, _, high, low, ..] = *bytes else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let rest = bytes.get(length.next_multiple_of(8)..)?;
    Some((bytes.get(4..length)?, rest))
}

/// The number at this place of bytes that are long enough.
macro_rules! number {
    ($bytes:expr, $at:literal, $kind:ty) => {
        <$kind>::from_be_bytes(
            *$bytes[$at..].first_chunk().expect("the array is as long as the structure that it holds"),
        )
    };
}

/// `OFPT_FLOW_MOD` over its bytes, OpenFlow 1.3.5 §7.3.4.1; what the numbers mean is said at [`FlowMod`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowModRef<'a> {
    body: &'a [u8],
    fixed: &'a [u8; 40],
    entries: &'a [u8],
    instructions: &'a [u8],
}

impl<'a> FlowModRef<'a> {
    /// Checks exactly one message.
    ///
    /// # Errors
    /// Those of [`Message::decode`], and if it is another message.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<(Xid, FlowModRef<'a>), DecodeError> {
        if let Some((xid, body)) = body_of(kind::FLOW_MOD, bytes)
            && let Some(flow) = FlowModRef::over(body)
            && flow.is_common()
        {
            return Ok((xid, flow));
        }
        Self::ask_owned(bytes)
    }

    #[cold]
    fn ask_owned(bytes: &'a [u8]) -> Result<(Xid, FlowModRef<'a>), DecodeError> {
        match Message::decode(bytes)? {
            (_, Message::FlowMod(_)) => {}
            _ => return Err(another_type(bytes)),
        }
        let (xid, body) = body_of(kind::FLOW_MOD, bytes).expect(CHECKED);
        Ok((xid, FlowModRef::over(body).expect(CHECKED)))
    }

    #[inline]
    fn over(body: &'a [u8]) -> Option<FlowModRef<'a>> {
        let (fixed, rest) = body.split_first_chunk::<40>()?;
        let (entries, instructions) = split_match(rest)?;
        Some(FlowModRef { body, fixed, entries, instructions })
    }

    /// True if it holds only what is checked here, and is right; if not, it may be right nevertheless.
    #[inline]
    fn is_common(&self) -> bool {
        self.fixed[17] <= FlowModCommand::DeleteStrict as u8
            && self.body.len().is_multiple_of(8)
            && check_flags(self.flags()).is_ok()
            && self.body[40..42] == [0, 1]
            && check::entries(self.entries)
            && check::instructions(self.instructions, self.table())
    }

    /// Cookie of the new entry, or the wanted cookie of entries to change.
    pub fn cookie(&self) -> Cookie {
        Cookie(number!(self.fixed, 0, u64))
    }

    /// Bits of the cookie that must be as wanted.
    pub fn cookie_mask(&self) -> u64 {
        number!(self.fixed, 8, u64)
    }

    /// Table.
    pub fn table(&self) -> TableId {
        TableId(self.fixed[16])
    }

    /// What to do.
    pub fn command(&self) -> FlowModCommand {
        FlowModCommand::take(&mut Reader::new("flow_mod", &self.fixed[17..18])).expect(CHECKED)
    }

    /// Seconds without a packet after which the entry goes.
    pub fn idle_timeout(&self) -> u16 {
        number!(self.fixed, 18, u16)
    }

    /// Seconds after which the entry goes.
    pub fn hard_timeout(&self) -> u16 {
        number!(self.fixed, 20, u16)
    }

    /// Priority.
    pub fn priority(&self) -> u16 {
        number!(self.fixed, 22, u16)
    }

    /// A packet that the switch kept.
    pub fn buffer_id(&self) -> u32 {
        number!(self.fixed, 24, u32)
    }

    /// The port of the entries to delete.
    pub fn out_port(&self) -> OfPort {
        OfPort(number!(self.fixed, 28, u32))
    }

    /// The group of the entries to delete.
    pub fn out_group(&self) -> GroupId {
        GroupId(number!(self.fixed, 32, u32))
    }

    /// Flags.
    pub fn flags(&self) -> FlowFlags {
        FlowFlags(number!(self.fixed, 36, u16))
    }

    /// Match, as it stands there.
    pub fn matching(&self) -> MatchRef<'a> {
        MatchRef::new(self.entries)
    }

    /// Instructions, in the order in which they stand there.
    pub fn instructions(&self) -> InstructionsRef<'a> {
        InstructionsRef::new(self.instructions)
    }

    /// The value that [`Message::decode`] makes of the same bytes.
    pub fn to_flow_mod(&self) -> FlowMod {
        FlowMod::take(&mut Reader::new("flow_mod", self.body)).expect(CHECKED)
    }
}

/// `OFPT_PACKET_IN` over its bytes, OpenFlow 1.3.5 §7.4.1; what the numbers mean is said at [`PacketIn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInRef<'a> {
    body: &'a [u8],
    fixed: &'a [u8; 16],
    entries: &'a [u8],
    data: &'a [u8],
}

impl<'a> PacketInRef<'a> {
    /// Checks exactly one message.
    ///
    /// # Errors
    /// Those of [`Message::decode`], and if it is another message.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<(Xid, PacketInRef<'a>), DecodeError> {
        if let Some((xid, body)) = body_of(kind::PACKET_IN, bytes)
            && let Some(packet) = PacketInRef::over(body)
            && body[16..18] == [0, 1]
            && check::entries(packet.entries)
        {
            return Ok((xid, packet));
        }
        Self::ask_owned(bytes)
    }

    #[cold]
    fn ask_owned(bytes: &'a [u8]) -> Result<(Xid, PacketInRef<'a>), DecodeError> {
        match Message::decode(bytes)? {
            (_, Message::PacketIn(_)) => {}
            _ => return Err(another_type(bytes)),
        }
        let (xid, body) = body_of(kind::PACKET_IN, bytes).expect(CHECKED);
        Ok((xid, PacketInRef::over(body).expect(CHECKED)))
    }

    #[inline]
    fn over(body: &'a [u8]) -> Option<PacketInRef<'a>> {
        let (fixed, rest) = body.split_first_chunk::<16>()?;
        let (entries, rest) = split_match(rest)?;
        Some(PacketInRef { body, fixed, entries, data: rest.get(2..)? })
    }

    /// Where the switch keeps the packet.
    pub fn buffer_id(&self) -> u32 {
        number!(self.fixed, 0, u32)
    }

    /// The packet's length.
    pub fn total_len(&self) -> u16 {
        number!(self.fixed, 4, u16)
    }

    /// `OFPR_*`.
    pub fn reason(&self) -> u8 {
        self.fixed[6]
    }

    /// The table that sent it.
    pub fn table(&self) -> TableId {
        TableId(self.fixed[7])
    }

    /// Cookie of the entry that sent it.
    pub fn cookie(&self) -> Cookie {
        Cookie(number!(self.fixed, 8, u64))
    }

    /// Ingress port, metadata and other fields that are not in the packet.
    pub fn matching(&self) -> MatchRef<'a> {
        MatchRef::new(self.entries)
    }

    /// The packet.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The value that [`Message::decode`] makes of the same bytes.
    pub fn to_packet_in(&self) -> PacketIn {
        PacketIn::take(&mut Reader::new("packet_in", self.body)).expect(CHECKED)
    }
}

/// One part of a flow statistics reply over its bytes, OpenFlow 1.3.5 §7.3.5.2: an iterator over its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowStatsReplyRef<'a> {
    more: bool,
    left: &'a [u8],
}

impl<'a> FlowStatsReplyRef<'a> {
    /// Checks exactly one message.
    ///
    /// # Errors
    /// Those of [`Message::decode`], and if it is another message.
    pub fn decode(bytes: &'a [u8]) -> Result<(Xid, FlowStatsReplyRef<'a>), DecodeError> {
        if let Some((xid, reply)) = Self::over(bytes)
            && reply.are_common()
        {
            return Ok((xid, reply));
        }
        match Message::decode(bytes)? {
            (_, Message::MultipartReply(reply)) if matches!(reply.body, MultipartBody::Flow(_)) => {}
            _ => return Err(another_type(bytes)),
        }
        Ok(Self::over(bytes).expect(CHECKED))
    }

    fn over(bytes: &'a [u8]) -> Option<(Xid, FlowStatsReplyRef<'a>)> {
        let (xid, body) = body_of(kind::MULTIPART_REPLY, bytes)?;
        let ([high, low, _, flags, ..], left) = body.split_first_chunk::<8>()?;
        let is_flow = u16::from_be_bytes([*high, *low]) == multipart::FLOW;
        is_flow.then_some((xid, FlowStatsReplyRef { more: flags & 1 != 0, left }))
    }

    fn are_common(&self) -> bool {
        let mut left = *self;
        while !left.left.is_empty() {
            let common = left.split().is_some_and(|entry| {
                entry.body[46..48] == [0, 1]
                    && check::entries(entry.entries)
                    && check::instructions(entry.instructions, entry.table())
            });
            if !common {
                return false;
            }
        }
        true
    }

    /// More parts follow.
    pub fn more(&self) -> bool {
        self.more
    }

    #[inline]
    fn split(&mut self) -> Option<FlowStatsRef<'a>> {
        let [high, low, ..] = *self.left else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (entry, rest) = self.left.split_at_checked(length)?;
        let entry = FlowStatsRef::over(entry)?;
        self.left = rest;
        Some(entry)
    }
}

impl<'a> Iterator for FlowStatsReplyRef<'a> {
    type Item = FlowStatsRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<FlowStatsRef<'a>> {
        self.split()
    }
}

/// An entry of a flow statistics reply over its bytes; what the numbers mean is said at [`FlowStats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowStatsRef<'a> {
    /// All of it but the first two bytes.
    body: &'a [u8],
    fixed: &'a [u8; 46],
    entries: &'a [u8],
    instructions: &'a [u8],
}

impl<'a> FlowStatsRef<'a> {
    #[inline]
    fn over(entry: &'a [u8]) -> Option<FlowStatsRef<'a>> {
        let body = entry.get(2..)?;
        let (fixed, rest) = body.split_first_chunk::<46>()?;
        let (entries, instructions) = split_match(rest)?;
        Some(FlowStatsRef { body, fixed, entries, instructions })
    }

    /// Table.
    pub fn table(&self) -> TableId {
        TableId(self.fixed[0])
    }

    /// How long the entry has been there.
    pub fn duration(&self) -> Duration {
        take_duration(&mut Reader::new("duration", &self.fixed[2..10])).expect(CHECKED)
    }

    /// Priority.
    pub fn priority(&self) -> u16 {
        number!(self.fixed, 10, u16)
    }

    /// Seconds without a packet after which the entry goes.
    pub fn idle_timeout(&self) -> u16 {
        number!(self.fixed, 12, u16)
    }

    /// Seconds after which the entry goes.
    pub fn hard_timeout(&self) -> u16 {
        number!(self.fixed, 14, u16)
    }

    /// Flags.
    pub fn flags(&self) -> FlowFlags {
        FlowFlags(number!(self.fixed, 16, u16))
    }

    /// Cookie.
    pub fn cookie(&self) -> Cookie {
        Cookie(number!(self.fixed, 22, u64))
    }

    /// Packets that it took.
    pub fn packets(&self) -> u64 {
        number!(self.fixed, 30, u64)
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        number!(self.fixed, 38, u64)
    }

    /// Match, as it stands there.
    pub fn matching(&self) -> MatchRef<'a> {
        MatchRef::new(self.entries)
    }

    /// Instructions, in the order in which they stand there.
    pub fn instructions(&self) -> InstructionsRef<'a> {
        InstructionsRef::new(self.instructions)
    }

    /// The value that [`Message::decode`] makes of the same bytes.
    pub fn to_flow_stats(&self) -> FlowStats {
        let length = u16::try_from(self.body.len() + 2).expect("its length was read from 16 bits");
        let mut whole = length.to_be_bytes().to_vec();
        whole.extend_from_slice(self.body);
        take_flow_stats(&mut Reader::new("flow statistics", &whole)).expect(CHECKED)
    }
}
