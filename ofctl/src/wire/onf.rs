//! Messages of later versions that the Open Networking Foundation brought to OpenFlow 1.3 as experimenter messages:
//! extensions 187 (flow monitors), 191 (role status) and 235 (requests that are forwarded).

use super::control::Role;
use super::cursor::{Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::flow_mod::GroupMod;
use super::ids::Xid;
use super::message::{Message, take_inside};
use super::meter::MeterMod;
use super::monitor::MonitorId;

/// `ONF_ET_*` and `ONFT_*`.
pub(super) mod subtype {
    pub(in crate::wire) const FLOW_MONITOR_CANCEL: u32 = 1870;
    pub(in crate::wire) const FLOW_MONITOR_PAUSED: u32 = 1871;
    pub(in crate::wire) const FLOW_MONITOR_RESUMED: u32 = 1872;
    pub(in crate::wire) const ROLE_STATUS: u32 = 1911;
    pub(in crate::wire) const REQUEST_FORWARD: u32 = 2350;
}

/// A message of the Open Networking Foundation's that is not about bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnfMessage {
    /// `ONFT_FLOW_MONITOR_CANCEL`: the monitor of that number ends.
    FlowMonitorCancel(MonitorId),
    /// `ONFT_FLOW_MONITOR_PAUSED`: the controller is too slow, and is told of nothing for now.
    FlowMonitorPaused,
    /// `ONFT_FLOW_MONITOR_RESUMED`: what was missed has been told, and all goes on as before.
    FlowMonitorResumed,
    /// `ONFT_ROLE_STATUS`: the switch changed this controller's role.
    RoleStatus(RoleStatus),
    /// `ONFT_REQUESTFORWARD`: another controller changed a group or a meter.
    RequestForward(Xid, Box<ForwardedRequest>),
}

/// Why a role changed, `ofp_controller_role_reason` of OpenFlow 1.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleReason {
    /// `OFPCRR_MASTER_REQUEST`: another controller became the primary one.
    PrimaryRequest,
    /// `OFPCRR_CONFIG`: the switch's configuration changed.
    Config,
    /// `OFPCRR_EXPERIMENTER`: an experimenter's data changed.
    Experimenter,
    /// Any other.
    Other(u8),
}

/// `ofp14_role_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoleStatus {
    /// The role now.
    pub role: Role,
    /// Why it changed.
    pub reason: RoleReason,
    /// The election that this is of.
    pub generation: u64,
}

/// What another controller asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedRequest {
    /// A change of a group.
    Group(GroupMod),
    /// A change of a meter.
    Meter(MeterMod),
}

impl RoleStatus {
    fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.role as u32);
        out.put_u8(match self.reason {
            RoleReason::PrimaryRequest => 0,
            RoleReason::Config => 1,
            RoleReason::Experimenter => 2,
            RoleReason::Other(other) => other,
        });
        out.put_zeros(3);
        out.put_u64(self.generation);
    }

    fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let role = Role::take(input)?;
        let reason = match input.u8()? {
            0 => RoleReason::PrimaryRequest,
            1 => RoleReason::Config,
            2 => RoleReason::Experimenter,
            other => RoleReason::Other(other),
        };
        input.skip(3)?;
        let generation = input.u64()?;
        // Properties are those of experimenters, and mean nothing to those who do not know them.
        input.rest();
        Ok(RoleStatus { role, reason, generation })
    }
}

impl OnfMessage {
    pub(super) fn subtype(&self) -> u32 {
        match self {
            OnfMessage::FlowMonitorCancel(_) => subtype::FLOW_MONITOR_CANCEL,
            OnfMessage::FlowMonitorPaused => subtype::FLOW_MONITOR_PAUSED,
            OnfMessage::FlowMonitorResumed => subtype::FLOW_MONITOR_RESUMED,
            OnfMessage::RoleStatus(_) => subtype::ROLE_STATUS,
            OnfMessage::RequestForward(..) => subtype::REQUEST_FORWARD,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            OnfMessage::FlowMonitorCancel(id) => out.put_u32(id.0),
            OnfMessage::FlowMonitorPaused | OnfMessage::FlowMonitorResumed => {}
            OnfMessage::RoleStatus(status) => status.encode(out),
            OnfMessage::RequestForward(xid, request) => {
                let message = match &**request {
                    ForwardedRequest::Group(change) => Message::GroupMod(change.clone()),
                    ForwardedRequest::Meter(change) => Message::MeterMod(change.clone()),
                };
                return message.encode(*xid, out);
            }
        }
        Ok(())
    }

    /// Takes a message of this subtype; `None` if it is not one that is known here.
    pub(super) fn take(
        kind: u32,
        input: &mut Reader<'_>,
        may_hold_message: bool,
    ) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            subtype::FLOW_MONITOR_CANCEL => OnfMessage::FlowMonitorCancel(MonitorId(input.u32()?)),
            subtype::FLOW_MONITOR_PAUSED => OnfMessage::FlowMonitorPaused,
            subtype::FLOW_MONITOR_RESUMED => OnfMessage::FlowMonitorResumed,
            subtype::ROLE_STATUS => OnfMessage::RoleStatus(RoleStatus::take(input)?),
            subtype::REQUEST_FORWARD => {
                let unsupported =
                    DecodeError::Refused { what: "forwarded request", error: "OFPBFC_MSG_UNSUP" };
                if !may_hold_message {
                    return Err(unsupported);
                }
                let (xid, request) = match Message::decode_within(take_inside(input)?, false)? {
                    (xid, Message::GroupMod(change)) => (xid, ForwardedRequest::Group(change)),
                    (xid, Message::MeterMod(change)) => (xid, ForwardedRequest::Meter(change)),
                    _ => return Err(unsupported),
                };
                OnfMessage::RequestForward(xid, Box::new(request))
            }
            _ => return Ok(None),
        }))
    }
}
