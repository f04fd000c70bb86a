//! Table 40: forwarding by destination MAC within a network.
//!
//! A packet from another node goes to local endpoints only, so that no packet travels a second tunnel.
//!
//! ```text
//! table=40, priority=100,metadata=0x7/0xffffff,dl_dst=LOCAL actions=load:0x5->NXM_NX_REG5[],goto_table:60
//! table=40, priority=100,reg0=0x1/0xf,metadata=0x7/0xffffff,dl_dst=REMOTE
//!     actions=set_field:0x7->tun_id,set_field:172.31.0.2->tun_dst,load:0x1->NXM_NX_REG5[],goto_table:60
//! table=40, priority=90,reg0=0x1/0xf,metadata=0x7/0xffffff,dl_dst=STATION
//!     actions=set_field:0x7->tun_id,set_field:172.31.0.9->tun_dst,load:0x1->NXM_NX_REG5[],goto_table:60
//! table=40, priority=5,reg0=0x1/0xf,metadata=0x7/0xffffff actions=goto_table:43
//! ```

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::wire::{Action, Cookie, Field, OfPort};

use super::neighbour::Strangers;
use super::tables::{L2, OUT_PORT, OUTPUT, Source, TO_PORTS, in_network};
use super::tunnel::{set_destination, vlan_vid};
use super::view::Facts;
use crate::model::{Endpoint, Network, Node, Station};

/// IEEE 802.1Q's Ethernet type.
const ETH_TYPE_VLAN: u16 = 0x8100;

fn out_of(port: OfPort) -> Action {
    Action::load(OUT_PORT.whole(), u64::from(port.0))
}

/// Packets for a local endpoint.
pub(super) fn local(
    network: &Network,
    endpoint: &Endpoint,
    port: OfPort,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    flows.push(
        FlowEntry::new(L2, 100)
            .cookie(cookie)
            .matching(in_network(network.id).with(Field::EthDst, endpoint.mac))
            .apply([out_of(port)])
            .goto(OUTPUT),
    );
}

/// Packets for an endpoint of another node, through a tunnel.
pub(super) fn remote(
    facts: &Facts,
    network: &Network,
    endpoint: &Endpoint,
    node: &Node,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    behind(facts, network, (100, endpoint.mac), node, cookie, flows);
}

/// Packets for a station behind a switch port. An endpoint that has the same MAC comes first.
pub(super) fn station(
    facts: &Facts,
    network: &Network,
    station: &Station,
    node: &Node,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    behind(facts, network, (90, station.mac), node, cookie, flows);
}

fn behind(
    facts: &Facts,
    network: &Network,
    (priority, mac): (u16, MacAddr),
    node: &Node,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    if !network.encapsulation.is_tunnel() {
        return;
    }
    let (Some(port), Some(underlay)) = (facts.encapsulation_port(network.encapsulation), node.underlay)
    else {
        return;
    };
    flows.push(
        FlowEntry::new(L2, priority)
            .cookie(cookie)
            .matching(Source::Local.restrict(in_network(network.id)).with(Field::EthDst, mac))
            .apply(set_destination(network, underlay))
            .apply([out_of(port)])
            .goto(OUTPUT),
    );
}

/// The actions that tag a packet with a VLAN network's id.
pub(super) fn tag(network: &Network) -> Option<[Action; 2]> {
    let vlan = network.vlan?;
    Some([Action::PushVlan(ETH_TYPE_VLAN), Action::set_field(Field::VlanVid, vlan_vid(vlan))])
}

/// On a VLAN, what is not here is behind the trunk: other nodes' endpoints and physical hosts alike. Where switches
/// have ports of the network, what nobody is known to have is behind one of them.
pub(super) fn network(
    facts: &Facts,
    network: &Network,
    strangers: Strangers,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    if strangers.may_be_behind_ports() {
        let unknown = Source::Local.restrict(in_network(network.id));
        flows.push(FlowEntry::new(L2, 5).cookie(cookie).matching(unknown).goto(TO_PORTS));
    }
    let (Some(tag), Some(port)) = (tag(network), facts.encapsulation_port(network.encapsulation)) else {
        return;
    };
    flows.push(
        FlowEntry::new(L2, 10)
            .cookie(cookie)
            .matching(Source::Local.restrict(in_network(network.id)))
            .apply(tag)
            .apply([out_of(port)])
            .goto(OUTPUT),
    );
}
