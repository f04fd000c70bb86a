//! Messages that change flow and group tables, OpenFlow 1.3.5 §7.3.4.

use std::time::Duration;

use super::action::{Action, Instructions};
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::ids::{Cookie, GroupId, OfPort, TableId};
use super::matching::Match;
use super::multipart::take_each;
use crate::flow::{FlowEntry, FlowFlags, FlowKey};

/// `OFP_NO_BUFFER`: the switch keeps no packet for this.
pub const NO_BUFFER: u32 = 0xffff_ffff;

/// `ofp_flow_mod_command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowModCommand {
    /// `OFPFC_ADD`.
    Add,
    /// `OFPFC_MODIFY`.
    Modify,
    /// `OFPFC_MODIFY_STRICT`.
    ModifyStrict,
    /// `OFPFC_DELETE`.
    Delete,
    /// `OFPFC_DELETE_STRICT`.
    DeleteStrict,
}

impl FlowModCommand {
    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => Self::Add,
            1 => Self::Modify,
            2 => Self::ModifyStrict,
            3 => Self::Delete,
            4 => Self::DeleteStrict,
            _ => return Err(DecodeError::Refused { what: "flow_mod", error: "OFPFMFC_BAD_COMMAND" }),
        })
    }
}

/// `OFPT_FLOW_MOD`, OpenFlow 1.3.5 §7.3.4.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowModCommand,
    /// Cookie of the new entry, or the wanted cookie of entries to change.
    pub cookie: Cookie,
    /// Bits of the cookie that must be as wanted, for all commands but `Add`; 0 for any cookie.
    pub cookie_mask: u64,
    /// Table; [`TableId::ALL`] with the deletes.
    pub table: TableId,
    /// Priority; without meaning for `Modify` and `Delete`.
    pub priority: u16,
    /// Match.
    pub matching: Match,
    /// Instructions; without meaning for the deletes.
    pub instructions: Instructions,
    /// Seconds without a packet after which the entry goes; 0 never.
    pub idle_timeout: u16,
    /// Seconds after which the entry goes; 0 never.
    pub hard_timeout: u16,
    /// Flags.
    pub flags: FlowFlags,
    /// A packet that the switch kept, to be sent through the new entry, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// The deletes take only entries that output here, or [`OfPort::ANY`].
    pub out_port: OfPort,
    /// The deletes take only entries that output to this group, or [`GroupId::ANY`].
    pub out_group: GroupId,
}

impl FlowMod {
    /// A message of this command that names every entry of the table.
    pub fn new(command: FlowModCommand, table: TableId) -> Self {
        FlowMod {
            command,
            cookie: Cookie(0),
            cookie_mask: 0,
            table,
            priority: 0x8000,
            matching: Match::new(),
            instructions: Instructions::default(),
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::default(),
            buffer_id: NO_BUFFER,
            out_port: OfPort::ANY,
            out_group: GroupId::ANY,
        }
    }

    /// Adds an entry, or replaces the one with its key.
    pub fn add(entry: FlowEntry) -> Self {
        FlowMod {
            cookie: entry.cookie,
            priority: entry.priority,
            matching: entry.matching,
            instructions: entry.instructions,
            idle_timeout: entry.idle_timeout,
            hard_timeout: entry.hard_timeout,
            flags: entry.flags,
            ..FlowMod::new(FlowModCommand::Add, entry.table)
        }
    }

    /// Deletes exactly one entry.
    pub fn delete_strict(key: FlowKey) -> Self {
        FlowMod {
            priority: key.priority,
            matching: key.matching,
            ..FlowMod::new(FlowModCommand::DeleteStrict, key.table)
        }
    }

    /// Deletes all entries, in all tables, whose cookie is `cookie` in the bits of `mask`.
    pub fn delete_by_cookie(cookie: Cookie, mask: u64) -> Self {
        FlowMod { cookie, cookie_mask: mask, ..FlowMod::new(FlowModCommand::Delete, TableId::ALL) }
    }

    /// What identifies the entry that it is about, unless it is a delete of many.
    pub fn key(&self) -> FlowKey {
        FlowKey { table: self.table, priority: self.priority, matching: self.matching.clone() }
    }

    /// The entry that an addition makes, without a copy.
    pub fn into_entry(self) -> FlowEntry {
        FlowEntry {
            table: self.table,
            priority: self.priority,
            cookie: self.cookie,
            matching: self.matching,
            instructions: self.instructions,
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            flags: self.flags,
        }
    }

    /// The entry that an addition makes.
    pub fn entry(&self) -> FlowEntry {
        FlowEntry {
            table: self.table,
            priority: self.priority,
            cookie: self.cookie,
            matching: self.matching.clone(),
            instructions: self.instructions.clone(),
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            flags: self.flags,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode_fixed(out);
        self.matching.encode(out);
        self.instructions.encode(out)
    }

    /// Appends what stands before the match.
    #[inline]
    pub(super) fn encode_fixed(&self, out: &mut Vec<u8>) {
        let mut fixed = [0; 40];
        let mut left = &mut fixed[..];
        let mut put = |bytes: &[u8]| {
            let (place, rest) = std::mem::take(&mut left).split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            left = rest;
        };
        put(&self.cookie.0.to_be_bytes());
        put(&self.cookie_mask.to_be_bytes());
        put(&[self.table.0, self.command as u8]);
        put(&self.idle_timeout.to_be_bytes());
        put(&self.hard_timeout.to_be_bytes());
        put(&self.priority.to_be_bytes());
        put(&self.buffer_id.to_be_bytes());
        put(&self.out_port.0.to_be_bytes());
        put(&self.out_group.0.to_be_bytes());
        put(&self.flags.0.to_be_bytes());
        out.put(&fixed);
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<FlowMod, DecodeError> {
        let (flow, _) = Self::take_as(input, Match::take, |_, input| Instructions::take(input))?;
        Ok(flow)
    }

    /// Takes a body whose match and instructions are read in this way, and the number that stands before the match.
    #[inline]
    pub(super) fn take_as<'a>(
        input: &mut Reader<'a>,
        matching: impl FnOnce(&mut Reader<'a>) -> Result<Match, DecodeError>,
        instructions: impl FnOnce(&Match, &mut Reader<'a>) -> Result<Instructions, DecodeError>,
    ) -> Result<(FlowMod, u16), DecodeError> {
        let mut flow = Self::take_fixed(input)?;
        let last = input.u16()?;
        flow.matching = matching(input)?;
        flow.instructions = instructions(&flow.matching, input)?;
        flow.check_goto()?;
        check_flags(flow.flags)?;
        Ok((flow, last))
    }

    /// A packet only ever goes on.
    fn check_goto(&self) -> Result<(), DecodeError> {
        match self.instructions.goto {
            Some(goto) if self.table != TableId::ALL && goto <= self.table => {
                Err(DecodeError::Refused { what: "goto_table", error: "OFPBIC_BAD_TABLE_ID" })
            }
            _ => Ok(()),
        }
    }

    /// Takes what stands before the match, but for the padding there.
    #[inline]
    fn take_fixed(input: &mut Reader<'_>) -> Result<FlowMod, DecodeError> {
        let cookie = Cookie(input.u64()?);
        let cookie_mask = input.u64()?;
        let table = TableId(input.u8()?);
        let command = FlowModCommand::take(input)?;
        Ok(FlowMod {
            command,
            cookie,
            cookie_mask,
            table,
            idle_timeout: input.u16()?,
            hard_timeout: input.u16()?,
            priority: input.u16()?,
            buffer_id: input.u32()?,
            out_port: OfPort(input.u32()?),
            out_group: GroupId(input.u32()?),
            flags: FlowFlags(input.u16()?),
            matching: Match::new(),
            instructions: Instructions::default(),
        })
    }
}

/// Flags that mean nothing are not passed over.
pub(super) fn check_flags(flags: FlowFlags) -> Result<(), DecodeError> {
    if flags.0 & !0x1f == 0 {
        Ok(())
    } else {
        Err(DecodeError::Refused { what: "flow_mod", error: "OFPFMFC_BAD_FLAGS" })
    }
}

/// `ofp_group_mod_command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupModCommand {
    /// `OFPGC_ADD`.
    Add,
    /// `OFPGC_MODIFY`.
    Modify,
    /// `OFPGC_DELETE`.
    Delete,
    /// `OFPGC_ADD_OR_MOD` of Open vSwitch: a modify, or an addition if there is no such group.
    AddOrModify,
}

impl GroupModCommand {
    const ADD_OR_MODIFY: u16 = 0x8000;
}

/// `ofp_group_type`, OpenFlow 1.3.5 §5.6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupType {
    /// `OFPGT_ALL`: a copy to every bucket.
    All,
    /// `OFPGT_SELECT`: to one bucket, by hash and weight.
    Select,
    /// `OFPGT_INDIRECT`: to the only bucket.
    Indirect,
    /// `OFPGT_FF`: to the first bucket that is alive.
    FastFailover,
}

impl GroupType {
    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => GroupType::All,
            1 => GroupType::Select,
            2 => GroupType::Indirect,
            3 => GroupType::FastFailover,
            _ => return Err(DecodeError::Refused { what: "group", error: "OFPGMFC_BAD_TYPE" }),
        })
    }
}

/// `ofp_bucket`: one set of actions of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// Share of a select group's packets; 0 in other groups.
    pub weight: u16,
    /// The bucket is alive while this port is, or [`OfPort::ANY`].
    pub watch_port: OfPort,
    /// The bucket is alive while this group is, or [`GroupId::ANY`].
    pub watch_group: GroupId,
    /// Actions.
    pub actions: Vec<Action>,
}

impl Bucket {
    /// A bucket of these actions that watches nothing.
    pub fn new(weight: u16, actions: Vec<Action>) -> Self {
        Bucket { weight, watch_port: OfPort::ANY, watch_group: GroupId::ANY, actions }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out = Nested::begin(out, 0, Padding::Counted);
        out.put_u16(0);
        out.put_u16(self.weight);
        out.put_u32(self.watch_port.0);
        out.put_u32(self.watch_group.0);
        out.put_u32(0);
        self.actions.iter().try_for_each(|action| action.encode(&mut out))
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Bucket, DecodeError> {
        let length = usize::from(input.u16()?);
        if length < 16 || length - 2 > input.peek().len() {
            return Err(DecodeError::Refused { what: "bucket", error: "OFPGMFC_BAD_BUCKET" });
        }
        let mut body = input.sub("bucket", length - 2)?;
        let weight = body.u16()?;
        let watch_port = OfPort(body.u32()?);
        let watch_group = GroupId(body.u32()?);
        body.skip(4)?;
        Ok(Bucket { weight, watch_port, watch_group, actions: Action::take_all(body)? })
    }
}

/// `OFPT_GROUP_MOD`, OpenFlow 1.3.5 §7.3.4.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupModCommand,
    /// Type; without meaning for a delete.
    pub kind: GroupType,
    /// The group; [`GroupId::ALL`] with a delete.
    pub group: GroupId,
    /// Buckets.
    pub buckets: Vec<Bucket>,
}

impl GroupMod {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(match self.command {
            GroupModCommand::AddOrModify => GroupModCommand::ADD_OR_MODIFY,
            command => command as u16,
        });
        out.put_u8(self.kind as u8);
        out.put_u8(0);
        out.put_u32(self.group.0);
        self.buckets.iter().try_for_each(|bucket| bucket.encode(out))
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<GroupMod, DecodeError> {
        let command = match input.u16()? {
            0 => GroupModCommand::Add,
            1 => GroupModCommand::Modify,
            2 => GroupModCommand::Delete,
            GroupModCommand::ADD_OR_MODIFY => GroupModCommand::AddOrModify,
            _ => return Err(DecodeError::Refused { what: "group_mod", error: "OFPGMFC_BAD_COMMAND" }),
        };
        let kind = GroupType::take(input)?;
        input.skip(1)?;
        let group = GroupId(input.u32()?);
        let buckets = take_each(input, Bucket::take)?;
        let change = GroupMod { command, kind, group, buckets };
        match change.problem() {
            Some(error) => Err(DecodeError::Refused { what: "group_mod", error }),
            None => Ok(change),
        }
    }

    /// The error for which a switch refuses it, whatever groups there are.
    fn problem(&self) -> Option<&'static str> {
        const INVALID: Option<&str> = Some("OFPGMFC_INVALID_GROUP");
        let (kind, buckets) = (self.kind, &self.buckets);
        if self.command == GroupModCommand::Delete {
            return if buckets.is_empty() { None } else { INVALID };
        }
        if kind == GroupType::Indirect && buckets.len() != 1 {
            return INVALID;
        }
        buckets.iter().find_map(|bucket| {
            let watches = (bucket.watch_port, bucket.watch_group) != (OfPort::ANY, GroupId::ANY);
            match kind {
                _ if bucket.weight != 0 && kind != GroupType::Select => INVALID,
                GroupType::All | GroupType::Indirect if watches => Some("OFPGMFC_WATCH_UNSUPPORTED"),
                GroupType::FastFailover if !watches => INVALID,
                _ => None,
            }
        })
    }
}

/// Why an entry went, `ofp_flow_removed_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowRemovedReason {
    /// `OFPRR_IDLE_TIMEOUT`.
    IdleTimeout,
    /// `OFPRR_HARD_TIMEOUT`.
    HardTimeout,
    /// `OFPRR_DELETE`.
    Delete,
    /// `OFPRR_GROUP_DELETE`.
    GroupDelete,
    /// Any other.
    Other(u8),
}

impl FlowRemovedReason {
    /// `OFPRR_*`.
    pub(super) fn number(self) -> u8 {
        match self {
            FlowRemovedReason::IdleTimeout => 0,
            FlowRemovedReason::HardTimeout => 1,
            FlowRemovedReason::Delete => 2,
            FlowRemovedReason::GroupDelete => 3,
            FlowRemovedReason::Other(other) => other,
        }
    }

    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => FlowRemovedReason::IdleTimeout,
            1 => FlowRemovedReason::HardTimeout,
            2 => FlowRemovedReason::Delete,
            3 => FlowRemovedReason::GroupDelete,
            other => FlowRemovedReason::Other(other),
        }
    }
}

/// `OFPT_FLOW_REMOVED`, OpenFlow 1.3.5 §7.4.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowRemoved {
    /// The entry's cookie.
    pub cookie: Cookie,
    /// What identified it.
    pub key: FlowKey,
    /// Why it went.
    pub reason: FlowRemovedReason,
    /// How long it was there.
    pub duration: Duration,
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds.
    pub hard_timeout: u16,
    /// Packets that it took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl FlowRemoved {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.cookie.0);
        out.put_u16(self.key.priority);
        out.put_u8(self.reason.number());
        out.put_u8(self.key.table.0);
        put_duration(self.duration, out);
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u64(self.packets);
        out.put_u64(self.bytes);
        self.key.matching.encode(out);
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<FlowRemoved, DecodeError> {
        let cookie = Cookie(input.u64()?);
        let priority = input.u16()?;
        let reason = FlowRemovedReason::from_number(input.u8()?);
        let table = TableId(input.u8()?);
        let duration = take_duration(input)?;
        let idle_timeout = input.u16()?;
        let hard_timeout = input.u16()?;
        let packets = input.u64()?;
        let bytes = input.u64()?;
        let key = FlowKey { table, priority, matching: Match::take(input)? };
        Ok(FlowRemoved { cookie, key, reason, duration, idle_timeout, hard_timeout, packets, bytes })
    }
}

pub(super) fn put_duration(duration: Duration, out: &mut Vec<u8>) {
    out.put_u32(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX));
    out.put_u32(duration.subsec_nanos());
}

pub(super) fn take_duration(input: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    Ok(duration(input.u32()?, input.u32()?))
}

/// A second has no more than 999,999,999 nanoseconds; what says so must not overflow into the seconds.
pub(super) fn duration(seconds: u32, nanoseconds: u32) -> Duration {
    Duration::new(seconds.into(), nanoseconds.min(999_999_999))
}
