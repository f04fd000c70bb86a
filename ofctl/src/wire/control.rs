//! What a controller sets besides flows: ports, tables, roles, and which messages it wants to hear.
//! OpenFlow 1.3.5 §7.3.3, §7.3.4.3, §7.3.6, §7.3.9 and §7.3.10.

use super::cursor::{Nested, Padding, Put, Reader};
use super::error::DecodeError;
use super::ids::{OfPort, TableId};
use super::stats::QueueId;
use crate::MacAddr;

/// `OFPT_PORT_MOD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortMod {
    /// The port.
    pub port: OfPort,
    /// Its address, which must be right.
    pub address: MacAddr,
    /// `OFPPC_*` that are set.
    pub config: u32,
    /// `OFPPC_*` that change.
    pub mask: u32,
    /// `OFPPF_*` to advertise; 0 leaves them.
    pub advertise: u32,
}

impl PortMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port.0);
        out.put_u32(0);
        out.put(&self.address.0);
        out.put_u16(0);
        out.put_u32(self.config);
        out.put_u32(self.mask);
        out.put_u32(self.advertise);
        out.put_u32(0);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = OfPort(input.u32()?);
        input.skip(4)?;
        let address = MacAddr(input.array()?);
        input.skip(2)?;
        let (config, mask, advertise) = (input.u32()?, input.u32()?, input.u32()?);
        input.skip(4)?;
        Ok(PortMod { port, address, config, mask, advertise })
    }
}

/// `OFPT_TABLE_MOD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableMod {
    /// The table, or [`TableId::ALL`].
    pub table: TableId,
    /// `OFPTC_*`; OpenFlow 1.3 has none that mean anything.
    pub config: u32,
}

impl TableMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(&[self.table.0, 0, 0, 0]);
        out.put_u32(self.config);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [table, _, _, _] = input.array()?;
        Ok(TableMod { table: TableId(table), config: input.u32()? })
    }
}

/// `ofp_packet_queue`: a queue and its properties.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueConfig {
    /// The queue.
    pub queue: QueueId,
    /// Its port.
    pub port: OfPort,
    /// `OFPQT_MIN_RATE` in tenths of a per cent.
    pub min_rate: Option<u16>,
    /// `OFPQT_MAX_RATE` in tenths of a per cent.
    pub max_rate: Option<u16>,
}

impl QueueConfig {
    const MIN_RATE: u16 = 1;
    const MAX_RATE: u16 = 2;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 8, Padding::None);
        out.put_u32(self.queue.0);
        out.put_u32(self.port.0);
        out.put_u64(0);
        for (kind, rate) in [(Self::MIN_RATE, self.min_rate), (Self::MAX_RATE, self.max_rate)] {
            if let Some(rate) = rate {
                out.put_u16(kind);
                out.put_u16(16);
                out.put_u32(0);
                out.put_u16(rate);
                out.put_zeros(6);
            }
        }
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (queue, port) = (QueueId(input.u32()?), OfPort(input.u32()?));
        let length = usize::from(input.u16()?);
        let rest = length.checked_sub(10).ok_or(DecodeError::BadLength { what: "queue", length })?;
        let mut input = input.sub("queue", rest)?;
        input.skip(6)?;
        let mut result = QueueConfig { queue, port, min_rate: None, max_rate: None };
        while !input.is_empty() {
            let kind = input.u16()?;
            let length = usize::from(input.u16()?);
            let rest =
                length.checked_sub(4).ok_or(DecodeError::BadLength { what: "queue property", length })?;
            let mut value = input.sub("queue property", rest)?;
            value.skip(4)?;
            match kind {
                Self::MIN_RATE => result.min_rate = Some(value.u16()?),
                Self::MAX_RATE => result.max_rate = Some(value.u16()?),
                _ => return Err(DecodeError::BadValue { what: "queue property", value: kind.into() }),
            }
        }
        Ok(result)
    }
}

/// `ofp_controller_role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `OFPCR_ROLE_NOCHANGE`: only asks.
    NoChange,
    /// `OFPCR_ROLE_EQUAL`.
    Equal,
    /// `OFPCR_ROLE_MASTER`: the only one that changes things.
    Primary,
    /// `OFPCR_ROLE_SLAVE`: changes nothing.
    Secondary,
}

impl Role {
    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u32()? {
            0 => Role::NoChange,
            1 => Role::Equal,
            2 => Role::Primary,
            3 => Role::Secondary,
            _ => return Err(DecodeError::Refused { what: "role", error: "OFPRRFC_BAD_ROLE" }),
        })
    }
}

/// `OFPT_ROLE_REQUEST` and its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoleRequest {
    /// The role.
    pub role: Role,
    /// Which election of a primary this is; an older one than the switch has seen is refused.
    pub generation: u64,
}

impl RoleRequest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.role as u32);
        out.put_u32(0);
        out.put_u64(self.generation);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let role = Role::take(input)?;
        input.skip(4)?;
        Ok(RoleRequest { role, generation: input.u64()? })
    }
}

/// `ofp_async_config`: which messages a controller hears unasked. Each pair is for a primary or equal controller,
/// and for a secondary; bit `n` stands for reason `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsyncConfig {
    /// `OFPR_*`.
    pub packet_in: [u32; 2],
    /// `OFPPR_*`.
    pub port_status: [u32; 2],
    /// `OFPRR_*`.
    pub flow_removed: [u32; 2],
}

impl AsyncConfig {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let all = [self.packet_in, self.port_status, self.flow_removed];
        all.as_flattened().iter().for_each(|mask| out.put_u32(*mask));
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut pair = || Ok([input.u32()?, input.u32()?]);
        Ok(AsyncConfig { packet_in: pair()?, port_status: pair()?, flow_removed: pair()? })
    }
}
