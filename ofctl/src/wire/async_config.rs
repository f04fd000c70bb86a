//! Which messages a controller hears unasked, as properties: `NXT_SET_ASYNC_CONFIG2`, which has those of OpenFlow
//! 1.4.1 §7.3.10.

use super::cursor::{Put, Reader};
use super::error::DecodeError;

/// A kind of message that a controller hears unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AsyncMessage {
    /// By `OFPR_*`.
    PacketIn,
    /// By `OFPPR_*`.
    PortStatus,
    /// By `OFPRR_*`.
    FlowRemoved,
    /// By `OFPCRR_*`.
    RoleStatus,
    /// By `OFPTR_*`.
    TableStatus,
    /// By `OFPRFR_*`.
    RequestForward,
}

impl AsyncMessage {
    /// All of them, by their numbers.
    pub const ALL: [AsyncMessage; 6] = [
        AsyncMessage::PacketIn,
        AsyncMessage::PortStatus,
        AsyncMessage::FlowRemoved,
        AsyncMessage::RoleStatus,
        AsyncMessage::TableStatus,
        AsyncMessage::RequestForward,
    ];

    /// Reasons that a switch of OpenFlow 1.3 takes; bit `n` stands for reason `n`.
    const fn reasons(self) -> u32 {
        match self {
            AsyncMessage::PacketIn => 0b111,
            AsyncMessage::PortStatus => 0b111,
            AsyncMessage::FlowRemoved => 0b11_1111,
            AsyncMessage::RoleStatus => 0b111,
            AsyncMessage::TableStatus => 0b1_1000,
            AsyncMessage::RequestForward => 0b11,
        }
    }
}

/// `ofp_async_config_prop_reasons`: of one kind of message, the reasons for which it is sent to a controller of one
/// role; bit `n` stands for reason `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsyncProperty {
    /// Which messages.
    pub message: AsyncMessage,
    /// To a primary or equal controller, and not to a secondary.
    pub primary: bool,
    /// Reasons.
    pub mask: u32,
}

impl AsyncProperty {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.message as u16 * 2 + u16::from(self.primary));
        out.put_u16(8);
        out.put_u32(self.mask);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::take_any(input).map_err(|error| error.in_part("OFPBPC_BAD_LEN", "OFPACFC_UNSUPPORTED"))
    }

    fn take_any(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "async config property";
        let (kind, length) = (input.u16()?, usize::from(input.u16()?));
        if length != 8 {
            return Err(DecodeError::BadLength { what, length });
        }
        let mask = input.u32()?;
        let message = AsyncMessage::ALL.get(usize::from(kind / 2)).copied();
        let message = message.ok_or(DecodeError::BadValue { what, value: kind.into() })?;
        if mask & !message.reasons() != 0 {
            return Err(DecodeError::Refused { what, error: "OFPACFC_INVALID" });
        }
        Ok(AsyncProperty { message, primary: kind & 1 == 1, mask })
    }
}
