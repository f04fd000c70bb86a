//! Tables 4, 5 and 6: packets from other nodes and from the trunk.
//!
//! A tunnel packet counts only if its outer source is the underlay address of a node in the store, and if this node
//! has an endpoint of the network that it names. The tunnel's port is matched too: one number may be a VXLAN
//! network's VNI and another network's GRE key.
//!
//! ```text
//! table=4, priority=100,tun_src=172.31.0.2 actions=goto_table:5
//! table=5, priority=100,tun_id=0x7,in_port=1 actions=write_metadata:0x7/0xffffff,goto_table:40
//! table=6, priority=100,dl_vlan=100 actions=pop_vlan,write_metadata:0x8/0xffffff,goto_table:40
//! ```

use std::net::IpAddr;

use ofctl::flow::FlowEntry;
use ofctl::wire::{Action, Cookie, Field, Match};

use super::tables::{L2, METADATA_NETWORK, TUN_NET, TUN_SRC, UPLINK};
use super::view::Facts;
use crate::model::{Network, Node, VlanId};

/// `OFPVID_PRESENT`, OpenFlow 1.3.5 §7.2.3.7: set in `vlan_vid` when there is a tag.
const VLAN_PRESENT: u16 = 0x1000;

/// A VLAN id as `vlan_vid` holds it.
pub(super) fn vlan_vid(vlan: VlanId) -> u16 {
    VLAN_PRESENT | vlan.get()
}

/// The actions that address a packet to another node's tunnel end in a network.
pub(super) fn set_destination(network: &Network, node: IpAddr) -> [Action; 2] {
    let vni = network.vni.map_or(0, crate::model::Vni::get);
    [Action::set_field(Field::TunnelId, u64::from(vni)), destination(node)]
}

/// The action that sets the tunnel's far end.
pub(super) fn destination(node: IpAddr) -> Action {
    match node {
        IpAddr::V4(v4) => Action::set_field(Field::TunDst, v4),
        IpAddr::V6(v6) => Action::set_field(Field::TunIpv6Dst, v6),
    }
}

/// Another node's tunnel packets are let in.
pub(super) fn node(facts: &Facts, node: &Node, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    if node.name == facts.node {
        return;
    }
    let matching = match node.underlay {
        Some(IpAddr::V4(v4)) => Match::new().with(Field::TunSrc, v4),
        Some(IpAddr::V6(v6)) => Match::new().with(Field::TunIpv6Src, v6),
        None => return,
    };
    flows.push(FlowEntry::new(TUN_SRC, 100).cookie(cookie).matching(matching).goto(TUN_NET));
}

/// A network's packets from other nodes, or from the trunk.
pub(super) fn network(facts: &Facts, network: &Network, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    let Some(port) = facts.encapsulation_port(network.encapsulation) else { return };
    let id = u64::from(network.id.get());
    if let Some(vlan) = network.vlan {
        flows.push(
            FlowEntry::new(UPLINK, 100)
                .cookie(cookie)
                .matching(Match::new().with(Field::VlanVid, vlan_vid(vlan)))
                .apply([Action::PopVlan])
                .write_metadata(id, METADATA_NETWORK)
                .goto(L2),
        );
    } else if let Some(vni) = network.vni {
        flows.push(
            FlowEntry::new(TUN_NET, 100)
                .cookie(cookie)
                .matching(
                    Match::new().with(Field::InPort, port.0).with(Field::TunnelId, u64::from(vni.get())),
                )
                .write_metadata(id, METADATA_NETWORK)
                .goto(L2),
        );
    }
}
