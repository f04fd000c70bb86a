//! Flow monitors: a controller is told of each change of the flows that it watches. ONF extension 187 for OpenFlow
//! 1.3, which Open vSwitch speaks since 3.0, with the structures of `nicira-ext.h`.

use super::action::Instructions;
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::ids::{Cookie, OfPort, TableId, Xid};
use super::matching::Match;

/// A flow monitor, by a number of the controller's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorId(pub u32);

impl std::fmt::Display for MonitorId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// What a flow monitor tells of, `nx_flow_monitor_flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonitorFlags(pub u16);

impl MonitorFlags {
    /// The flows that are there already.
    pub const INITIAL: MonitorFlags = MonitorFlags(1);
    /// New flows.
    pub const ADD: MonitorFlags = MonitorFlags(2);
    /// Flows that went.
    pub const DELETE: MonitorFlags = MonitorFlags(4);
    /// Flows whose actions changed.
    pub const MODIFY: MonitorFlags = MonitorFlags(8);
    /// With their instructions.
    pub const ACTIONS: MonitorFlags = MonitorFlags(16);
    /// Also what this controller itself changed, in full.
    pub const OWN: MonitorFlags = MonitorFlags(32);
    /// All of them.
    pub const ALL: MonitorFlags = MonitorFlags(63);

    /// True if all of `other`'s flags are set.
    pub const fn contains(self, other: MonitorFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if a switch takes a request with these.
    const fn are_valid(self) -> bool {
        self.0 & (Self::ADD.0 | Self::DELETE.0 | Self::MODIFY.0) != 0 && self.0 & !Self::ALL.0 == 0
    }
}

impl std::ops::BitOr for MonitorFlags {
    type Output = MonitorFlags;

    fn bitor(self, other: MonitorFlags) -> MonitorFlags {
        MonitorFlags(self.0 | other.0)
    }
}

/// `onf_flow_monitor_request`: which flows to watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowMonitor {
    /// The monitor's number.
    pub id: MonitorId,
    /// What to tell of.
    pub flags: MonitorFlags,
    /// Only flows that output here, or [`OfPort::ANY`].
    pub out_port: OfPort,
    /// The table, or [`TableId::ALL`].
    pub table: TableId,
    /// Only flows whose match is as narrow as this or narrower.
    pub matching: Match,
}

impl FlowMonitor {
    /// A monitor of every change of every flow.
    pub fn new(id: MonitorId) -> Self {
        FlowMonitor {
            id,
            flags: MonitorFlags::ALL,
            out_port: OfPort::ANY,
            table: TableId::ALL,
            matching: Match::new(),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.id.0);
        out.put_u16(self.flags.0);
        let length_at = out.len();
        out.put_u16(0);
        out.put_u32(self.out_port.0);
        out.put(&[self.table.0, 0, 0, 0]);
        let start = out.len();
        self.matching.encode(out);
        // The length of the match without its padding, as its own header has it.
        out.copy_within(start + 2..start + 4, length_at);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (id, flags) = (MonitorId(input.u32()?), MonitorFlags(input.u16()?));
        input.skip(2)?;
        let out_port = OfPort(input.u32()?);
        let [table, zeros @ ..] = input.array::<4>()?;
        let refused = |error| DecodeError::Refused { what: "flow monitor", error };
        if !flags.are_valid() {
            return Err(refused("OFPMOFC_BAD_FLAGS"));
        }
        if zeros != [0; 3] {
            return Err(refused("NXBRC_MUST_BE_ZERO"));
        }
        Ok(FlowMonitor { id, flags, out_port, table: TableId(table), matching: Match::take(input)? })
    }
}

/// Appends the match of an update, and writes its length where an older structure wants it too.
fn put_match(matching: &Match, length_at: usize, out: &mut Vec<u8>) {
    let start = out.len();
    matching.encode(out);
    // The match's own header says it; a match longer than that makes the message too long.
    out.copy_within(start + 2..start + 4, length_at);
}

/// What happened to a flow, `nx_flow_update_event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowEvent {
    /// `NXFME_ADDED`: it is new, or was there when the monitor began.
    Added,
    /// `NXFME_DELETED`: it went.
    Deleted,
    /// `NXFME_MODIFIED`: its instructions changed.
    Modified,
}

/// One part of what a flow monitor tells, `nx_flow_update_full` and `nx_flow_update_abbrev`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FlowUpdate {
    /// Something happened to a flow.
    Full(Box<FlowChange>),
    /// `NXFME_ABBREV`: what this controller asked for under that number was done, and nobody else was in between.
    Abbreviated(Xid),
}

/// `nx_flow_update_full`: what happened to a flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowChange {
    /// What happened.
    pub event: FlowEvent,
    /// `OFPRR_*`, of a flow that went; 0 otherwise.
    pub reason: u16,
    /// Its priority.
    pub priority: u16,
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds.
    pub hard_timeout: u16,
    /// Its table.
    pub table: TableId,
    /// Its cookie.
    pub cookie: Cookie,
    /// Its match.
    pub matching: Match,
    /// Its instructions, if the monitor asked for them and it is still there.
    pub instructions: Instructions,
}

impl FlowUpdate {
    const ADDED: u16 = 0;
    const DELETED: u16 = 1;
    const MODIFIED: u16 = 2;
    const ABBREVIATED: u16 = 3;

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out = Nested::begin(out, 0, Padding::None);
        out.put_u16(0);
        let change = match self {
            FlowUpdate::Abbreviated(xid) => {
                out.put_u16(Self::ABBREVIATED);
                out.put_u32(xid.0);
                return Ok(());
            }
            FlowUpdate::Full(change) => change,
        };
        out.put_u16(match change.event {
            FlowEvent::Added => Self::ADDED,
            FlowEvent::Deleted => Self::DELETED,
            FlowEvent::Modified => Self::MODIFIED,
        });
        out.put_u16(change.reason);
        out.put_u16(change.priority);
        out.put_u16(change.idle_timeout);
        out.put_u16(change.hard_timeout);
        let length_at = out.len();
        out.put_u16(0);
        out.put(&[change.table.0, 0]);
        out.put_u64(change.cookie.0);
        put_match(&change.matching, length_at, &mut out);
        change.instructions.encode(&mut out)
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "flow update";
        let length = usize::from(input.u16()?);
        if length % 8 != 0 {
            return Err(DecodeError::BadLength { what, length });
        }
        let rest = length.checked_sub(2).ok_or(DecodeError::BadLength { what, length })?;
        let mut input = input.sub(what, rest)?;
        let event = match input.u16()? {
            Self::ADDED => FlowEvent::Added,
            Self::DELETED => FlowEvent::Deleted,
            Self::MODIFIED => FlowEvent::Modified,
            Self::ABBREVIATED => {
                let xid = Xid(input.u32()?);
                input.finish()?;
                return Ok(FlowUpdate::Abbreviated(xid));
            }
            _ => return Err(DecodeError::Refused { what, error: "NXBRC_FM_BAD_EVENT" }),
        };
        let (reason, priority) = (input.u16()?, input.u16()?);
        let (idle_timeout, hard_timeout) = (input.u16()?, input.u16()?);
        let match_length = usize::from(input.u16()?);
        let [table, _] = input.array::<2>()?;
        let cookie = Cookie(input.u64()?);
        if match_length > input.peek().len() {
            return Err(DecodeError::BadLength { what, length: match_length });
        }
        let matching = Match::take(&mut input)?;
        let instructions = Instructions::take(&mut input)?;
        Ok(FlowUpdate::Full(Box::new(FlowChange {
            event,
            reason,
            priority,
            idle_timeout,
            hard_timeout,
            table: TableId(table),
            cookie,
            matching,
            instructions,
        })))
    }
}
