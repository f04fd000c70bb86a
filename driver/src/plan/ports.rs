//! Links and switch ports: what must be there before flows can name it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ofctl::MacAddr;

use super::view::{Facts, View};
use crate::model::{Encapsulation, EndpointId, LinkName, Network, Phase, VlanId};

/// A local network's MTU when none was chosen: no underlay limits it.
pub const LOCAL_MTU: u16 = 1500;

/// One veth pair: a local endpoint's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPlan {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The id in whose name the pair is made.
    pub link: EndpointId,
    /// The MAC address of the sandbox's end.
    pub mac: MacAddr,
    /// The MTU of both ends, in bytes.
    pub mtu: u16,
    /// Whether to make it if it is not there. Once a sandbox has had it, a missing link is gone with its sandbox.
    pub create: bool,
}

/// What a port of the integration bridge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// The host's end of an endpoint's veth pair.
    Endpoint(EndpointId),
    /// A tunnel whose far end and key are set by flows.
    Tunnel {
        /// Which.
        encapsulation: Encapsulation,
        /// The near end.
        local: IpAddr,
    },
    /// A patch to the uplink bridge.
    Trunk {
        /// The uplink bridge.
        bridge: String,
        /// The patch port on the uplink bridge.
        peer: LinkName,
        /// The VLANs that it carries; never empty.
        vlans: Vec<VlanId>,
    },
}

/// One port of the integration bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// Its name.
    pub name: LinkName,
    /// What it is.
    pub kind: PortKind,
}

/// The links and ports that a node should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortsPlan {
    /// Endpoint links, by the id in whose name they are made.
    pub links: BTreeMap<EndpointId, LinkPlan>,
    /// Ports, by name.
    pub ports: BTreeMap<LinkName, PortPlan>,
}

fn link(name: &str) -> LinkName {
    name.parse().expect("the name is a constant of at most 15 bytes")
}

/// The port that an encapsulation's packets use on the integration bridge.
pub fn encapsulation_link(encapsulation: Encapsulation) -> Option<LinkName> {
    match encapsulation {
        Encapsulation::Vxlan => Some(link("sl-vxlan")),
        Encapsulation::Geneve => Some(link("sl-geneve")),
        Encapsulation::Gre => Some(link("sl-gre")),
        Encapsulation::Vlan => Some(link("sl-trunk")),
        Encapsulation::Local => None,
    }
}

/// The trunk's other end, on the uplink bridge.
pub fn trunk_peer() -> LinkName {
    link("sl-trunk-peer")
}

/// The MTU of a network's endpoints on this node, in bytes: the one chosen, or what is left of the smallest underlay
/// MTU that any node has told.
pub fn endpoint_mtu(view: &View, facts: &Facts, network: &Network) -> u16 {
    network.mtu.or_else(|| largest_mtu(view, facts, network.encapsulation)).unwrap_or(LOCAL_MTU)
}

/// The largest MTU that every underlay link carries with this encapsulation; `None` where nothing limits it.
pub fn largest_mtu(view: &View, facts: &Facts, encapsulation: Encapsulation) -> Option<u16> {
    if encapsulation == Encapsulation::Local {
        return None;
    }
    let others =
        view.nodes.values().filter(|node| node.name != facts.node).filter_map(|node| node.underlay_mtu);
    let smallest = others.chain(facts.underlay_mtu).min()?;
    let underlay = facts.underlay.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    Some(smallest.saturating_sub(encapsulation.overhead(underlay)))
}

/// The links and ports that follow from the view.
pub fn ports(view: &View, facts: &Facts) -> PortsPlan {
    let mut plan = PortsPlan::default();
    let mut vlans = Vec::new();
    for (name, endpoints) in &view.endpoints {
        let Some(network) = view.networks.get(name) else { continue };
        let mtu = endpoint_mtu(view, facts, network);
        let before = plan.ports.len();
        for endpoint in endpoints.values().filter(|endpoint| endpoint.node == facts.node) {
            let (id, link) = (&endpoint.id, endpoint.link_id());
            let create = endpoint.phase == Phase::Created;
            let planned =
                LinkPlan { endpoint: id.clone(), link: link.clone(), mac: endpoint.mac, mtu, create };
            plan.links.insert(link.clone(), planned);
            if endpoint.phase == Phase::Left {
                continue;
            }
            let name = endpoint.host_link();
            plan.ports.insert(name.clone(), PortPlan { name, kind: PortKind::Endpoint(id.clone()) });
        }
        if plan.ports.len() == before {
            continue;
        }
        let Some(name) = encapsulation_link(network.encapsulation) else { continue };
        match (network.vlan, facts.underlay) {
            (Some(vlan), _) => vlans.push(vlan),
            (None, Some(local)) => {
                let kind = PortKind::Tunnel { encapsulation: network.encapsulation, local };
                plan.ports.insert(name.clone(), PortPlan { name, kind });
            }
            (None, None) => {}
        }
    }
    if let (false, Some(bridge)) = (vlans.is_empty(), &facts.uplink_bridge) {
        vlans.sort_unstable();
        let name = link("sl-trunk");
        let kind = PortKind::Trunk { bridge: bridge.clone(), peer: trunk_peer(), vlans };
        plan.ports.insert(name.clone(), PortPlan { name, kind });
    }
    plan
}
