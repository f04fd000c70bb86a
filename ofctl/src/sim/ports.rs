//! Ports as the simulated switch has them.

use std::net::IpAddr;
use std::time::Duration;

use super::normal::PortVlan;
use crate::MacAddr;
use crate::wire::{OfPort, PortDescription, PortStats};

/// A tunnel port; what it leaves open, the packet's tunnel fields say (`=flow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TunnelPort {
    /// `options:local_ip`.
    pub local: Option<IpAddr>,
    /// `options:remote_ip`.
    pub remote: Option<IpAddr>,
    /// `options:key`.
    pub key: Option<u64>,
}

/// `OFPPC_NO_RECV`.
pub(super) const NO_RECV: u32 = 1 << 2;
/// `OFPPC_NO_FWD`.
pub(super) const NO_FWD: u32 = 1 << 5;
/// `OFPPC_NO_PACKET_IN`.
pub(super) const NO_PACKET_IN: u32 = 1 << 6;
/// Nicira's `OFPPC_NO_FLOOD`, which OpenFlow 1.3 has no number for but Open vSwitch keeps.
pub(super) const NO_FLOOD: u32 = 1 << 4;
/// The bits of `config` that OpenFlow 1.3 lets a controller change, OpenFlow 1.3.5 §7.2.1.
pub(super) const CHANGEABLE: u32 = PortDescription::CONFIG_DOWN | NO_RECV | NO_FWD | NO_PACKET_IN;
/// `OFPPS_LIVE`.
const STATE_LIVE: u32 = 1 << 2;

/// One port.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) description: PortDescription,
    pub(super) tunnel: Option<TunnelPort>,
    pub(super) vlan: PortVlan,
    pub(super) stats: PortStats,
    pub(super) created: Duration,
}

impl Port {
    pub(super) fn new(port: OfPort, tunnel: Option<TunnelPort>, created: Duration) -> Self {
        let [a, b, c, d] = port.0.to_be_bytes();
        let name = match port {
            OfPort::LOCAL => "br0".to_owned(),
            _ => format!("p{port}"),
        };
        let description = PortDescription {
            port,
            address: MacAddr([0xaa, 0x55, a, b, c, d]),
            name,
            config: 0,
            state: STATE_LIVE,
            current: 0,
            advertised: 0,
            supported: 0,
            peer: 0,
            current_speed: 0,
            max_speed: 0,
        };
        Port { description, tunnel, vlan: PortVlan::All, stats: no_packets(port), created }
    }

    /// True if frames can go in and out.
    pub(super) fn is_alive(&self) -> bool {
        self.description.config & PortDescription::CONFIG_DOWN == 0
            && self.description.state & PortDescription::STATE_LINK_DOWN == 0
    }

    /// Plugs the cable in or out; true if that is news.
    pub(super) fn set_link(&mut self, up: bool) -> bool {
        let before = self.description.state;
        self.description.state = if up { STATE_LIVE } else { PortDescription::STATE_LINK_DOWN };
        before != self.description.state
    }

    pub(super) fn has(&self, config: u32) -> bool {
        self.description.config & config != 0
    }
}

fn no_packets(port: OfPort) -> PortStats {
    PortStats {
        port,
        rx_packets: 0,
        tx_packets: 0,
        rx_bytes: 0,
        tx_bytes: 0,
        rx_dropped: 0,
        tx_dropped: 0,
        rx_errors: 0,
        tx_errors: 0,
        rx_frame_err: 0,
        rx_over_err: 0,
        rx_crc_err: 0,
        collisions: 0,
        duration: None,
    }
}
