//! Nicira's own messages: `nicira-ext.h` of Open vSwitch, and ovs-ofctl(8).

use super::cursor::{Nested, Padding, Put, Reader};
use super::error::DecodeError;
use super::flow_mod::NO_BUFFER;
use super::ids::{Cookie, TableId};
use super::matching::Match;
use super::multipart::take_each;

/// `NXT_*`.
pub(super) mod subtype {
    pub(in crate::wire) const SET_PACKET_IN_FORMAT: u32 = 16;
    pub(in crate::wire) const SET_CONTROLLER_ID: u32 = 20;
    pub(in crate::wire) const TLV_TABLE_MOD: u32 = 24;
    pub(in crate::wire) const TLV_TABLE_REQUEST: u32 = 25;
    pub(in crate::wire) const TLV_TABLE_REPLY: u32 = 26;
    pub(in crate::wire) const RESUME: u32 = 28;
    pub(in crate::wire) const CT_FLUSH_ZONE: u32 = 29;
    pub(in crate::wire) const PACKET_IN2: u32 = 30;
}

/// A message of Nicira's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NiciraMessage {
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
            property::TABLE_ID => self.table = Some(TableId(value.u8()?)),
            property::COOKIE => {
                value.skip(4)?;
                self.cookie = Some(Cookie(value.u64()?));
            }
            property::REASON => self.reason = Some(value.u8()?),
            property::METADATA => self.metadata = Match::take_entries(&mut value)?,
            property::USERDATA => self.userdata = value.rest().to_vec(),
            property::CONTINUATION => self.continuation = Some(value.rest().to_vec()),
            _ => return Err(DecodeError::BadValue { what, value: kind.into() }),
        }
        value.finish()
    }
}

impl NiciraMessage {
    /// `NXT_*`.
    pub(super) fn subtype(&self) -> u32 {
        match self {
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
