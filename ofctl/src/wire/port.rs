//! Ports and packets: OpenFlow 1.3.5 §7.2.1, §7.3.7, §7.4.1 and §7.4.3.

use super::action::Action;
use super::cursor::{Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::flow_mod::NO_BUFFER;
use super::ids::{Cookie, OfPort, TableId};
use super::matching::Match;
use crate::MacAddr;

/// A text in a field of fixed length, filled up with zeros.
pub(super) fn take_text<const N: usize>(input: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = input.array::<N>()?;
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(N).min(N - 1);
    let mut text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    // Bytes that are no text have become longer.
    text.truncate(text.floor_char_boundary(N - 1));
    Ok(text)
}

/// Cuts what is too long, and leaves a zero at the end as C wants it.
pub(super) fn put_text(text: &str, n: usize, out: &mut Vec<u8>) {
    let kept = text.floor_char_boundary(n - 1);
    out.put(&text.as_bytes()[..kept]);
    out.put_zeros(n - kept);
}

/// `ofp_port`: a port's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortDescription {
    /// Its number.
    pub port: OfPort,
    /// Its MAC address.
    pub address: MacAddr,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// `OFPPC_*`: what the administrator says.
    pub config: u32,
    /// `OFPPS_*`: what the link says.
    pub state: u32,
    /// `OFPPF_*`: current features.
    pub current: u32,
    /// Features advertised.
    pub advertised: u32,
    /// Features supported.
    pub supported: u32,
    /// Features that the peer advertises.
    pub peer: u32,
    /// Current speed in kbit/s.
    pub current_speed: u32,
    /// Largest speed in kbit/s.
    pub max_speed: u32,
}

impl PortDescription {
    /// `OFPPC_PORT_DOWN`, in `config`.
    pub const CONFIG_DOWN: u32 = 1;
    /// `OFPPS_LINK_DOWN`, in `state`.
    pub const STATE_LINK_DOWN: u32 = 1;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port.0);
        out.put_u32(0);
        out.put(&self.address.0);
        out.put_u16(0);
        put_text(&self.name, 16, out);
        for number in [
            self.config,
            self.state,
            self.current,
            self.advertised,
            self.supported,
            self.peer,
            self.current_speed,
            self.max_speed,
        ] {
            out.put_u32(number);
        }
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = OfPort(input.u32()?);
        input.skip(4)?;
        let address = MacAddr(input.array()?);
        input.skip(2)?;
        Ok(PortDescription {
            port,
            address,
            name: take_text::<16>(input)?,
            config: input.u32()?,
            state: input.u32()?,
            current: input.u32()?,
            advertised: input.u32()?,
            supported: input.u32()?,
            peer: input.u32()?,
            current_speed: input.u32()?,
            max_speed: input.u32()?,
        })
    }
}

/// `ofp_port_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortReason {
    /// `OFPPR_ADD`.
    Add,
    /// `OFPPR_DELETE`.
    Delete,
    /// `OFPPR_MODIFY`.
    Modify,
}

/// `OFPT_PORT_STATUS`, OpenFlow 1.3.5 §7.4.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortReason,
    /// The port, as it is now or last was.
    pub port: PortDescription,
}

impl PortStatus {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.reason as u8);
        out.put_zeros(7);
        self.port.encode(out);
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let reason = match input.u8()? {
            0 => PortReason::Add,
            1 => PortReason::Delete,
            2 => PortReason::Modify,
            _ => return Err(DecodeError::Refused { what: "port status", error: "NXBRC_BAD_REASON" }),
        };
        input.skip(7)?;
        Ok(PortStatus { reason, port: PortDescription::take(input)? })
    }
}

/// `OFPT_PACKET_IN`, OpenFlow 1.3.5 §7.4.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketIn {
    /// Where the switch keeps the packet, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// The packet's length; `data` may be shorter.
    pub total_len: u16,
    /// `OFPR_*`: why it was sent.
    pub reason: u8,
    /// The table that sent it.
    pub table: TableId,
    /// Cookie of the entry that sent it.
    pub cookie: Cookie,
    /// Ingress port, metadata and other fields that are not in the packet.
    pub matching: Match,
    /// The packet.
    pub data: Vec<u8>,
}

impl PacketIn {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.buffer_id);
        out.put_u16(self.total_len);
        out.put_u8(self.reason);
        out.put_u8(self.table.0);
        out.put_u64(self.cookie.0);
        self.matching.encode(out);
        out.put_u16(0);
        out.put(&self.data);
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let buffer_id = input.u32()?;
        let total_len = input.u16()?;
        let reason = input.u8()?;
        let table = TableId(input.u8()?);
        let cookie = Cookie(input.u64()?);
        let matching = Match::take(input)?;
        input.skip(2)?;
        Ok(PacketIn { buffer_id, total_len, reason, table, cookie, matching, data: input.rest().to_vec() })
    }
}

/// `OFPT_PACKET_OUT`, OpenFlow 1.3.5 §7.3.7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut {
    /// A packet that the switch kept, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// Ingress port that the actions see; [`OfPort::CONTROLLER`] for none.
    pub in_port: OfPort,
    /// What to do with the packet.
    pub actions: Vec<Action>,
    /// The packet; empty if the switch kept it.
    pub data: Vec<u8>,
}

impl PacketOut {
    /// Sends this packet through these actions.
    pub fn new(in_port: OfPort, actions: Vec<Action>, data: Vec<u8>) -> Self {
        PacketOut { buffer_id: NO_BUFFER, in_port, actions, data }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u32(self.buffer_id);
        out.put_u32(self.in_port.0);
        let length_at = out.len();
        out.put_zeros(8);
        let start = out.len();
        self.actions.iter().try_for_each(|action| action.encode(out))?;
        let length = u16::try_from(out.len() - start).map_err(|_| EncodeError::TooLong(out.len() - start))?;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        out.put(&self.data);
        Ok(())
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let buffer_id = input.u32()?;
        let in_port = OfPort(input.u32()?);
        let length = usize::from(input.u16()?);
        input.skip(6)?;
        let actions = Action::take_all(input.sub("packet_out actions", length)?)?;
        Ok(PacketOut { buffer_id, in_port, actions, data: input.rest().to_vec() })
    }
}
