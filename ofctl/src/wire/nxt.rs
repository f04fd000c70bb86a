//! Nicira's own messages: `nicira-ext.h` of Open vSwitch, and ovs-ofctl(8).

use super::async_config::AsyncProperty;
use super::conntrack::CtFlush;
use super::control::{AsyncConfig, Role};
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::DecodeError;
use super::flow_mod::{FlowRemoved, FlowRemovedReason, NO_BUFFER, put_duration, take_duration};
use super::ids::{Cookie, TableId};
use super::matching::Match;
use super::multipart::take_each;
use super::port::PacketIn;
use crate::flow::FlowKey;

/// `NXT_*`.
pub(super) mod subtype {
    pub(in crate::wire) const ROLE_REQUEST: u32 = 10;
    pub(in crate::wire) const ROLE_REPLY: u32 = 11;
    pub(in crate::wire) const FLOW_REMOVED: u32 = 14;
    pub(in crate::wire) const FLOW_MOD_TABLE_ID: u32 = 15;
    pub(in crate::wire) const SET_PACKET_IN_FORMAT: u32 = 16;
    pub(in crate::wire) const PACKET_IN: u32 = 17;
    pub(in crate::wire) const FLOW_AGE: u32 = 18;
    pub(in crate::wire) const SET_ASYNC_CONFIG: u32 = 19;
    pub(in crate::wire) const SET_CONTROLLER_ID: u32 = 20;
    pub(in crate::wire) const TLV_TABLE_MOD: u32 = 24;
    pub(in crate::wire) const TLV_TABLE_REQUEST: u32 = 25;
    pub(in crate::wire) const TLV_TABLE_REPLY: u32 = 26;
    pub(in crate::wire) const SET_ASYNC_CONFIG2: u32 = 27;
    pub(in crate::wire) const RESUME: u32 = 28;
    pub(in crate::wire) const CT_FLUSH_ZONE: u32 = 29;
    pub(in crate::wire) const PACKET_IN2: u32 = 30;
    pub(in crate::wire) const CT_FLUSH: u32 = 32;
}

/// A message of Nicira's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NiciraMessage {
    /// `NXT_ROLE_REQUEST`: as `OFPT_ROLE_REQUEST`, without elections.
    RoleRequest(Role),
    /// `NXT_ROLE_REPLY`.
    RoleReply(Role),
    /// `NXT_FLOW_REMOVED`: as `OFPT_FLOW_REMOVED`, without the hard timeout.
    FlowRemoved(Box<FlowRemoved>),
    /// `NXT_FLOW_MOD_TABLE_ID`: whether flow-mods of OpenFlow 1.0 name a table.
    FlowModTableId(bool),
    /// `NXT_PACKET_IN`: as `OFPT_PACKET_IN`.
    PacketIn(Box<PacketIn>),
    /// `NXT_FLOW_AGE`: asks for idle ages in replies of OpenFlow 1.0.
    FlowAge,
    /// `NXT_SET_ASYNC_CONFIG`: as `OFPT_SET_ASYNC`.
    SetAsyncConfig(AsyncConfig),
    /// `NXT_SET_ASYNC_CONFIG2`: changes these and leaves the others.
    SetAsyncConfig2(Vec<AsyncProperty>),
    /// `NXT_SET_PACKET_IN_FORMAT`.
    SetPacketInFormat(PacketInFormat),
    /// `NXT_SET_CONTROLLER_ID`: the number by which actions can name this controller.
    SetControllerId(u16),
    /// `NXT_TLV_TABLE_MOD`.
    TlvTableMod(TlvTableMod),
    /// `NXT_TLV_TABLE_REQUEST`.
    TlvTableRequest,
    /// `NXT_TLV_TABLE_REPLY`.
    TlvTableReply(TlvTable),
    /// `NXT_CT_FLUSH_ZONE`: forget the connections of a zone.
    CtFlushZone(u16),
    /// `NXT_CT_FLUSH`: forget certain connections.
    CtFlush(Box<CtFlush>),
    /// `NXT_PACKET_IN2`.
    PacketIn2(Box<PacketIn2>),
    /// `NXT_RESUME`: a packet that was paused goes on, as the controller left it.
    Resume(Box<PacketIn2>),
}

/// How packet-ins look, `nx_packet_in_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketInFormat {
    /// As the version of OpenFlow has it.
    Standard,
    /// `NXT_PACKET_IN`.
    Nxt,
    /// `NXT_PACKET_IN2`.
    Nxt2,
}

/// `nx_tlv_map`: which tunnel option a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlvMap {
    /// The option's class.
    pub class: u16,
    /// The option's type.
    pub kind: u8,
    /// Bytes of its value, a multiple of 4.
    pub length: u8,
    /// The field is `tun_metadata` of this number.
    pub index: u16,
}

impl TlvMap {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.class);
        out.put(&[self.kind, self.length]);
        out.put_u16(self.index);
        out.put_u16(0);
    }

    fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (class, kind, length, index) = (input.u16()?, input.u8()?, input.u8()?, input.u16()?);
        let refused = |error| DecodeError::Refused { what: "tlv map", error };
        if length % 4 != 0 || length > 124 {
            return Err(refused("NXTTMFC_BAD_OPT_LEN"));
        }
        if index >= 64 {
            return Err(refused("NXTTMFC_BAD_FIELD_IDX"));
        }
        input.skip(2)?;
        Ok(TlvMap { class, kind, length, index })
    }
}

/// `nx_tlv_table_mod_command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlvTableCommand {
    /// `NXTTMC_ADD`.
    Add,
    /// `NXTTMC_DELETE`.
    Delete,
    /// `NXTTMC_CLEAR`: all of them.
    Clear,
}

/// `NXT_TLV_TABLE_MOD`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlvTableMod {
    /// What to do.
    pub command: TlvTableCommand,
    /// With these; none for a clear.
    pub maps: Vec<TlvMap>,
}

/// `NXT_TLV_TABLE_REPLY`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlvTable {
    /// Bytes of all options together, at most.
    pub max_option_space: u32,
    /// Fields that there are.
    pub max_fields: u16,
    /// Those that are used.
    pub maps: Vec<TlvMap>,
}

/// `NXT_PACKET_IN2` or `NXT_RESUME`: a packet with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketIn2 {
    /// The packet, perhaps cut.
    pub packet: Vec<u8>,
    /// Its length, if it was cut.
    pub full_length: Option<u32>,
    /// Where the switch keeps it, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// The table that sent it.
    pub table: Option<TableId>,
    /// Cookie of the entry that sent it.
    pub cookie: Option<Cookie>,
    /// `OFPR_*`: why it was sent.
    pub reason: Option<u8>,
    /// Ingress port, registers and other fields that are not in the packet.
    pub metadata: Match,
    /// What the action that sent it had for the controller.
    pub userdata: Vec<u8>,
    /// What a resume must bring back, if the packet waits.
    pub continuation: Option<Vec<u8>>,
}

/// `NXPINT_*`.
mod property {
    pub(super) const PACKET: u16 = 0;
    pub(super) const FULL_LEN: u16 = 1;
    pub(super) const BUFFER_ID: u16 = 2;
    pub(super) const TABLE_ID: u16 = 3;
    pub(super) const COOKIE: u16 = 4;
    pub(super) const REASON: u16 = 5;
    pub(super) const METADATA: u16 = 6;
    pub(super) const USERDATA: u16 = 7;
    pub(super) const CONTINUATION: u16 = 8;
}

impl PacketIn2 {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u16, value: &[u8]| {
            let mut out = Nested::begin(out, 2, Padding::Uncounted);
            out.put_u16(kind);
            out.put_u16(0);
            out.put(value);
        };
        put(property::PACKET, &self.packet);
        if let Some(length) = self.full_length {
            put(property::FULL_LEN, &length.to_be_bytes());
        }
        if self.buffer_id != NO_BUFFER {
            put(property::BUFFER_ID, &self.buffer_id.to_be_bytes());
        }
        if let Some(table) = self.table {
            put(property::TABLE_ID, &[table.0]);
        }
        if let Some(cookie) = self.cookie {
            // 64 bits stand on a boundary of their own.
            let mut value = [0; 12];
            value[4..].copy_from_slice(&cookie.0.to_be_bytes());
            put(property::COOKIE, &value);
        }
        if let Some(reason) = self.reason {
            put(property::REASON, &[reason]);
        }
        if !self.metadata.is_empty() {
            let mut entries = Vec::new();
            self.metadata.encode_entries(&mut entries);
            put(property::METADATA, &entries);
        }
        if !self.userdata.is_empty() {
            put(property::USERDATA, &self.userdata);
        }
        if let Some(continuation) = &self.continuation {
            put(property::CONTINUATION, continuation);
        }
    }

    fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut result = PacketIn2 {
            packet: Vec::new(),
            full_length: None,
            buffer_id: NO_BUFFER,
            table: None,
            cookie: None,
            reason: None,
            metadata: Match::new(),
            userdata: Vec::new(),
            continuation: None,
        };
        while !input.is_empty() {
            result
                .take_property(input)
                .map_err(|error| error.in_part("OFPBPC_BAD_LEN", "OFPBPC_BAD_TYPE"))?;
        }
        match result.full_length {
            // Nothing was cut off.
            Some(0) => result.full_length = None,
            Some(length) if (length as usize) < result.packet.len() => {
                return Err(DecodeError::BadLength { what: "packet-in", length: length as usize });
            }
            _ => {}
        }
        Ok(result)
    }

    fn take_property(&mut self, input: &mut Reader<'_>) -> Result<(), DecodeError> {
        let what = "packet-in property";
        let kind = input.u16()?;
        let length = usize::from(input.u16()?);
        let rest = length.checked_sub(4).ok_or(DecodeError::BadLength { what, length })?;
        let mut value = input.sub(what, rest)?;
        input.skip(length.next_multiple_of(8) - length)?;
        match kind {
            property::PACKET => self.packet = value.rest().to_vec(),
            property::FULL_LEN => self.full_length = Some(value.u32()?),
            property::BUFFER_ID => self.buffer_id = value.u32()?,
            property::TABLE_ID => {
                self.table = Some(TableId(value.u8()?));
                // More room than 8 bits need does no harm.
                value.rest();
            }
            property::COOKIE => {
                value.skip(4)?;
                self.cookie = Some(Cookie(value.u64()?));
            }
            property::REASON => {
                self.reason = Some(value.u8()?);
                value.rest();
            }
            property::METADATA => self.metadata = Match::take_entries(&mut value)?,
            property::USERDATA => self.userdata = value.rest().to_vec(),
            property::CONTINUATION => self.continuation = Some(value.rest().to_vec()),
            // What a later switch has to say besides does no harm.
            _ => drop(value.rest()),
        }
        value.finish()
    }
}

impl NiciraMessage {
    /// `NXT_*`.
    pub(super) fn subtype(&self) -> u32 {
        match self {
            NiciraMessage::RoleRequest(_) => subtype::ROLE_REQUEST,
            NiciraMessage::RoleReply(_) => subtype::ROLE_REPLY,
            NiciraMessage::FlowRemoved(_) => subtype::FLOW_REMOVED,
            NiciraMessage::FlowModTableId(_) => subtype::FLOW_MOD_TABLE_ID,
            NiciraMessage::PacketIn(_) => subtype::PACKET_IN,
            NiciraMessage::FlowAge => subtype::FLOW_AGE,
            NiciraMessage::SetAsyncConfig(_) => subtype::SET_ASYNC_CONFIG,
            NiciraMessage::SetAsyncConfig2(_) => subtype::SET_ASYNC_CONFIG2,
            NiciraMessage::CtFlush(_) => subtype::CT_FLUSH,
            NiciraMessage::SetPacketInFormat(_) => subtype::SET_PACKET_IN_FORMAT,
            NiciraMessage::SetControllerId(_) => subtype::SET_CONTROLLER_ID,
            NiciraMessage::TlvTableMod(_) => subtype::TLV_TABLE_MOD,
            NiciraMessage::TlvTableRequest => subtype::TLV_TABLE_REQUEST,
            NiciraMessage::TlvTableReply(_) => subtype::TLV_TABLE_REPLY,
            NiciraMessage::CtFlushZone(_) => subtype::CT_FLUSH_ZONE,
            NiciraMessage::PacketIn2(_) => subtype::PACKET_IN2,
            NiciraMessage::Resume(_) => subtype::RESUME,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            NiciraMessage::RoleRequest(role) | NiciraMessage::RoleReply(role) => {
                // There is no role that only asks, so the others are one less than in OpenFlow.
                out.put_u32((*role as u32).saturating_sub(1));
            }
            NiciraMessage::FlowRemoved(removed) => put_flow_removed(removed, out),
            NiciraMessage::FlowModTableId(set) => out.put(&[u8::from(*set), 0, 0, 0, 0, 0, 0, 0]),
            NiciraMessage::PacketIn(packet) => put_packet_in(packet, out),
            NiciraMessage::FlowAge => {}
            NiciraMessage::SetAsyncConfig(config) => config.encode(out),
            NiciraMessage::SetAsyncConfig2(properties) => {
                properties.iter().for_each(|property| property.encode(out));
            }
            NiciraMessage::CtFlush(flush) => flush.encode(out),
            NiciraMessage::SetPacketInFormat(format) => out.put_u32(*format as u32),
            NiciraMessage::SetControllerId(number) | NiciraMessage::CtFlushZone(number) => {
                out.put_zeros(6);
                out.put_u16(*number);
            }
            NiciraMessage::TlvTableMod(change) => {
                out.put_u16(change.command as u16);
                out.put_zeros(6);
                change.maps.iter().for_each(|map| map.encode(out));
            }
            NiciraMessage::TlvTableRequest => {}
            NiciraMessage::TlvTableReply(table) => {
                out.put_u32(table.max_option_space);
                out.put_u16(table.max_fields);
                out.put_zeros(10);
                table.maps.iter().for_each(|map| map.encode(out));
            }
            NiciraMessage::PacketIn2(packet) | NiciraMessage::Resume(packet) => packet.encode(out),
        }
    }

    /// Takes a message of this subtype; `None` if it is not one that is known here.
    pub(super) fn take(kind: u32, input: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let number = |input: &mut Reader<'_>| {
            if input.array::<6>()? != [0; 6] {
                return Err(DecodeError::Refused { what: "message", error: "NXBRC_MUST_BE_ZERO" });
            }
            input.u16()
        };
        Ok(Some(match kind {
            subtype::ROLE_REQUEST => NiciraMessage::RoleRequest(take_role(input)?),
            subtype::ROLE_REPLY => NiciraMessage::RoleReply(take_role(input)?),
            subtype::FLOW_REMOVED => NiciraMessage::FlowRemoved(Box::new(take_flow_removed(input)?)),
            subtype::FLOW_MOD_TABLE_ID => NiciraMessage::FlowModTableId(input.array::<8>()?[0] != 0),
            subtype::PACKET_IN => NiciraMessage::PacketIn(Box::new(take_packet_in(input)?)),
            subtype::FLOW_AGE => NiciraMessage::FlowAge,
            subtype::SET_ASYNC_CONFIG => NiciraMessage::SetAsyncConfig(AsyncConfig::take(input)?),
            subtype::SET_ASYNC_CONFIG2 => {
                NiciraMessage::SetAsyncConfig2(take_each(input, AsyncProperty::take)?)
            }
            subtype::CT_FLUSH => NiciraMessage::CtFlush(Box::new(CtFlush::take(input)?)),
            subtype::SET_PACKET_IN_FORMAT => NiciraMessage::SetPacketInFormat(match input.u32()? {
                0 => PacketInFormat::Standard,
                1 => PacketInFormat::Nxt,
                2 => PacketInFormat::Nxt2,
                _ => return Err(DecodeError::Refused { what: "packet-in format", error: "OFPBRC_EPERM" }),
            }),
            subtype::SET_CONTROLLER_ID => NiciraMessage::SetControllerId(number(input)?),
            subtype::CT_FLUSH_ZONE => NiciraMessage::CtFlushZone(number(input)?),
            subtype::TLV_TABLE_REQUEST => NiciraMessage::TlvTableRequest,
            subtype::TLV_TABLE_MOD => {
                let command = match input.u16()? {
                    0 => TlvTableCommand::Add,
                    1 => TlvTableCommand::Delete,
                    2 => TlvTableCommand::Clear,
                    _ => {
                        return Err(DecodeError::Refused { what: "tlv table", error: "NXTTMFC_BAD_COMMAND" });
                    }
                };
                input.skip(6)?;
                NiciraMessage::TlvTableMod(TlvTableMod { command, maps: take_each(input, TlvMap::take)? })
            }
            subtype::TLV_TABLE_REPLY => {
                let (max_option_space, max_fields) = (input.u32()?, input.u16()?);
                input.skip(10)?;
                let maps = take_each(input, TlvMap::take)?;
                NiciraMessage::TlvTableReply(TlvTable { max_option_space, max_fields, maps })
            }
            subtype::PACKET_IN2 => NiciraMessage::PacketIn2(Box::new(PacketIn2::take(input)?)),
            subtype::RESUME => NiciraMessage::Resume(Box::new(PacketIn2::take(input)?)),
            _ => return Ok(None),
        }))
    }
}

fn take_role(input: &mut Reader<'_>) -> Result<Role, DecodeError> {
    Ok(match input.u32()? {
        0 => Role::Equal,
        1 => Role::Primary,
        2 => Role::Secondary,
        _ => return Err(DecodeError::Refused { what: "role", error: "OFPRRFC_BAD_ROLE" }),
    })
}

/// Appends a match without a header of its own, and writes its length where the message has it.
fn put_nx_match(matching: &Match, length_at: usize, out: &mut Vec<u8>) {
    let start = out.len();
    matching.encode_entries(out);
    let length = out.len() - start;
    // One that does not fit makes the message too long, too.
    let number = u16::try_from(length).unwrap_or(u16::MAX);
    out[length_at..length_at + 2].copy_from_slice(&number.to_be_bytes());
    out.put_zeros(length.next_multiple_of(8) - length);
}

fn take_nx_match(length: usize, input: &mut Reader<'_>) -> Result<Match, DecodeError> {
    let mut take = || {
        let mut entries = input.sub("match", length)?;
        input.skip(length.next_multiple_of(8) - length)?;
        Match::take_entries(&mut entries)
    };
    take().map_err(|error| error.in_part("OFPBMC_BAD_LEN", "OFPBMC_BAD_FIELD"))
}

/// `nx_packet_in`.
fn put_packet_in(packet: &PacketIn, out: &mut Vec<u8>) {
    out.put_u32(packet.buffer_id);
    out.put_u16(packet.total_len);
    out.put(&[packet.reason, packet.table.0]);
    out.put_u64(packet.cookie.0);
    let length_at = out.len();
    out.put_zeros(8);
    put_nx_match(&packet.matching, length_at, out);
    out.put_u16(0);
    out.put(&packet.data);
}

fn take_packet_in(input: &mut Reader<'_>) -> Result<PacketIn, DecodeError> {
    let (buffer_id, total_len) = (input.u32()?, input.u16()?);
    let [reason, table] = input.array::<2>()?;
    let cookie = Cookie(input.u64()?);
    let length = usize::from(input.u16()?);
    input.skip(6)?;
    let matching = take_nx_match(length, input)?;
    input.skip(2)?;
    let data = input.rest().to_vec();
    Ok(PacketIn { buffer_id, total_len, reason, table: TableId(table), cookie, matching, data })
}

/// `nx_flow_removed`; its tables are one larger, and 0 is none.
fn put_flow_removed(removed: &FlowRemoved, out: &mut Vec<u8>) {
    out.put_u64(removed.cookie.0);
    out.put_u16(removed.key.priority);
    out.put(&[removed.reason.number(), removed.key.table.0.wrapping_add(1)]);
    put_duration(removed.duration, out);
    out.put_u16(removed.idle_timeout);
    let length_at = out.len();
    out.put_u16(0);
    out.put_u64(removed.packets);
    out.put_u64(removed.bytes);
    put_nx_match(&removed.key.matching, length_at, out);
}

fn take_flow_removed(input: &mut Reader<'_>) -> Result<FlowRemoved, DecodeError> {
    let cookie = Cookie(input.u64()?);
    let priority = input.u16()?;
    let [reason, table] = input.array::<2>()?;
    let duration = take_duration(input)?;
    let idle_timeout = input.u16()?;
    let length = usize::from(input.u16()?);
    let (packets, bytes) = (input.u64()?, input.u64()?);
    let matching = take_nx_match(length, input)?;
    Ok(FlowRemoved {
        cookie,
        key: FlowKey { table: TableId(table.wrapping_sub(1)), priority, matching },
        reason: FlowRemovedReason::from_number(reason),
        duration,
        idle_timeout,
        hard_timeout: 0,
        packets,
        bytes,
    })
}
