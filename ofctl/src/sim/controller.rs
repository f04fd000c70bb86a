//! What the switch knows of its controller: role, which messages it wants to hear, and in which form.

use std::collections::BTreeMap;

use super::trace::{PacketInReason, ToController};
use crate::wire::{
    AsyncConfig, BundleFlags, BundleId, FlowRemoved, FlowRemovedReason, Message, NO_BUFFER, NiciraMessage,
    PacketIn, PacketIn2, PacketInFormat, PortReason, Role,
};

/// A bundle that is being filled.
#[derive(Debug, Clone)]
pub(super) struct OpenBundle {
    pub(super) flags: BundleFlags,
    pub(super) closed: bool,
    pub(super) messages: Vec<Message>,
}

/// The controller as the switch sees it.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    pub(super) role: Role,
    /// The newest election of a primary.
    pub(super) generation: Option<u64>,
    pub(super) hears: AsyncConfig,
    pub(super) miss_send_len: u16,
    pub(super) format: PacketInFormat,
    pub(super) id: u16,
    pub(super) bundles: BTreeMap<BundleId, OpenBundle>,
}

impl Default for Controller {
    /// What OpenFlow 1.3.5 §7.3.10 and Open vSwitch begin with: an equal or primary controller hears everything
    /// but of TTLs that ran out, a secondary one of ports only.
    fn default() -> Self {
        Controller {
            role: Role::Equal,
            generation: None,
            hears: AsyncConfig {
                packet_in: [0b011, 0],
                port_status: [0b111, 0b111],
                flow_removed: [0b1111, 0],
            },
            miss_send_len: 0,
            format: PacketInFormat::Standard,
            id: 0,
            bundles: BTreeMap::new(),
        }
    }
}

impl Controller {
    fn wants(&self, masks: [u32; 2], reason: u32) -> bool {
        let mask = masks[usize::from(self.role == Role::Secondary)];
        mask & 1u32.checked_shl(reason).unwrap_or(0) != 0
    }

    pub(super) fn hears_removed(&self, gone: &FlowRemoved) -> bool {
        let reason = match gone.reason {
            FlowRemovedReason::IdleTimeout => 0,
            FlowRemovedReason::HardTimeout => 1,
            FlowRemovedReason::Delete => 2,
            FlowRemovedReason::GroupDelete => 3,
            FlowRemovedReason::Other(other) => other.into(),
        };
        self.wants(self.hears.flow_removed, reason)
    }

    pub(super) fn hears_ports(&self, reason: PortReason) -> bool {
        self.wants(self.hears.port_status, reason as u32)
    }

    pub(super) fn hears_packet(&self, packet: &ToController) -> bool {
        packet.controller == self.id && self.wants(self.hears.packet_in, packet.reason.number().into())
    }

    /// The message of a packet, in the form that the controller wants.
    pub(super) fn packet_in(&self, packet: &ToController) -> Message {
        // A switch that keeps no packets, as Open vSwitch, sends all of each, OpenFlow 1.3.5 §7.4.1.
        let data = packet.frame.clone();
        match self.format {
            PacketInFormat::Standard | PacketInFormat::Nxt => Message::PacketIn(PacketIn {
                buffer_id: NO_BUFFER,
                total_len: u16::try_from(packet.frame.len()).unwrap_or(u16::MAX),
                reason: packet.reason.number(),
                table: packet.table,
                cookie: packet.cookie,
                matching: packet.metadata.clone(),
                data,
            }),
            PacketInFormat::Nxt2 => Message::Nicira(NiciraMessage::PacketIn2(Box::new(PacketIn2 {
                packet: data,
                full_length: None,
                buffer_id: NO_BUFFER,
                table: Some(packet.table),
                cookie: Some(packet.cookie),
                reason: Some(packet.reason.number()),
                metadata: packet.metadata.clone(),
                userdata: packet.userdata.to_vec(),
                continuation: None,
            }))),
        }
    }
}

impl PacketInReason {
    /// Number in OpenFlow 1.3, `OFPR_*`.
    pub const fn number(self) -> u8 {
        match self {
            PacketInReason::NoMatch => 0,
            PacketInReason::Action => 1,
            PacketInReason::InvalidTtl => 2,
            PacketInReason::Other(number) => number,
        }
    }

    /// The reason of that number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => PacketInReason::NoMatch,
            1 => PacketInReason::Action,
            2 => PacketInReason::InvalidTtl,
            other => PacketInReason::Other(other),
        }
    }
}
