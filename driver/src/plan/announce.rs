//! Announcements: frames that tell neighbours who has an address now.
//!
//! Neighbours learn from the flows of table 14, but keep what they learned. So when an address is seen with another
//! MAC than before, the local members of its network are told: by an ARP announcement, RFC 5227 §3, or an unsolicited
//! neighbour advertisement, RFC 4861 §7.2.6. And a VLAN's physical switches and hosts are told of each endpoint that
//! comes up here, which Docker before 28 does not do. Docker's own announcements do not pass: tables 10 and 14 end
//! them.
//!
//! [`wake_up`] is for the underlay: Open vSwitch's userspace datapath drops a tunnel packet while it resolves the far
//! end's MAC, so every far end is sent a packet before an endpoint's first one.

use std::net::{IpAddr, Ipv6Addr};

use ofctl::MacAddr;
use ofctl::packet::Frame;
use ofctl::wire::{Action, Field, OfPort, PacketOut};

use super::l2::tag;
use super::tunnel::destination;
use crate::model::{Network, NetworkName};

/// Who is to hear an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Audience {
    /// The network's members on this node.
    Members,
    /// Whoever is behind the trunk.
    Trunk,
}

/// That an address belongs to a MAC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Announcement {
    pub network: NetworkName,
    pub address: IpAddr,
    pub mac: MacAddr,
    pub audience: Audience,
}

impl Announcement {
    /// The packet, if there is somebody to hear it.
    pub(super) fn packet(
        &self,
        network: &Network,
        members: &[OfPort],
        trunk: Option<OfPort>,
    ) -> Option<PacketOut> {
        let actions: Vec<Action> = match self.audience {
            Audience::Members => members.iter().map(|port| Action::Output(*port)).collect(),
            Audience::Trunk => tag(network)?.into_iter().chain(trunk.map(Action::Output)).collect(),
        };
        let is_heard = actions.iter().any(|action| matches!(action, Action::Output(_)));
        is_heard.then(|| PacketOut::new(OfPort::CONTROLLER, actions, frame(self.mac, self.address)))
    }
}

/// The Ethernet type of frames that mean nothing, IEEE 802 local experimental 1.
const ETH_TYPE_EXPERIMENTAL: u16 = 0x88b5;

/// A packet to another node's tunnel end that the other end drops: key 0 is no network's.
pub(super) fn wake_up(far: IpAddr, tunnel: OfPort) -> PacketOut {
    let nobody = MacAddr([0x02, 0, 0, 0, 0, 0]);
    let frame = Frame::between(nobody, nobody).eth_type(ETH_TYPE_EXPERIMENTAL).payload(&[0; 46]).build();
    let actions = vec![Action::set_field(Field::TunnelId, 0u64), destination(far), Action::Output(tunnel)];
    PacketOut::new(OfPort::CONTROLLER, actions, frame)
}

fn frame(mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => Frame::arp_request(mac, v4, v4),
        IpAddr::V6(v6) => {
            let all_nodes = (MacAddr([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
            // The flag Override, RFC 4861 §4.4.
            Frame::neighbour_advertisement((mac, v6), all_nodes, 0x20, v6).build()
        }
    }
}
