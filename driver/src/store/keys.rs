//! The keys of the store, version 1. Every value is a JSON object.
//!
//! | key | value | written by |
//! |---|---|---|
//! | `/sluice/v1/networks/NAME` | [`Network`](crate::model::Network) | its first creator |
//! | `/sluice/v1/network-ids/ID` | the name of the network that has the id | with the network |
//! | `/sluice/v1/vnis/ENCAP/VNI` | the name of the network that has the VNI or VLAN | with the network |
//! | `/sluice/v1/nodes/NAME` | [`Node`](crate::model::Node) | the node's agent |
//! | `/sluice/v1/alive/NAME` | an empty object, on a lease | the node's agent |
//! | `/sluice/v1/endpoints/NETWORK/ID` | [`Endpoint`](crate::model::Endpoint) | the endpoint's node |
//! | `/sluice/v1/ports/NODE/PORT/TAG` | [`PortAttachment`] | who attached the port |
//! | `/sluice/v1/attached/NETWORK/ports/NODE/PORT/TAG` | the same, for those who follow the network | with the one above |
//! | `/sluice/v1/attached/NETWORK/stations/MAC` | [`Station`](crate::model::Station) | the node that learned it last |
//! | `/sluice/v1/blocks/NETWORK/PREFIX` | an address block | its owner, and those it lends to |
//! | `/sluice/v1/demands/NETWORK/NODE` | a node's wish for addresses of others' blocks | that node |
//!
//! `TAG` is a VLAN id or `untagged`. In `PREFIX` the '/' is written as '-': `10.5.0.0-28`.

use ipnet::IpNet;
use ofctl::MacAddr;

use crate::model::{Encapsulation, EndpointId, NetworkId, NetworkName, NodeName, PortAttachment, PortTag};

/// What all keys begin with.
pub const ROOT: &str = "/sluice/v1/";
/// What the keys of networks begin with.
pub const NETWORKS: &str = "/sluice/v1/networks/";
/// What the keys of nodes begin with.
pub const NODES: &str = "/sluice/v1/nodes/";
/// What the keys of living nodes begin with.
pub const ALIVE: &str = "/sluice/v1/alive/";
/// What the keys of all endpoints begin with.
pub const ENDPOINTS: &str = "/sluice/v1/endpoints/";
/// What the keys of all attached ports begin with.
pub const PORTS: &str = "/sluice/v1/ports/";
/// What the keys of what is attached to networks by ports begin with.
pub const ATTACHED: &str = "/sluice/v1/attached/";

/// A network.
pub fn network(name: &NetworkName) -> String {
    format!("{NETWORKS}{name}")
}

/// The claim of a network's id.
pub fn network_id(id: NetworkId) -> String {
    format!("{ROOT}network-ids/{id}")
}

/// The claim of a VNI, or of a VLAN, within one encapsulation.
pub fn segment(encapsulation: Encapsulation, segment: u32) -> String {
    format!("{ROOT}vnis/{encapsulation}/{segment}")
}

/// A node.
pub fn node(name: &NodeName) -> String {
    format!("{NODES}{name}")
}

/// A living node.
pub fn alive(name: &NodeName) -> String {
    format!("{ALIVE}{name}")
}

/// All endpoints of a network.
pub fn endpoints(network: &NetworkName) -> String {
    format!("{ENDPOINTS}{network}/")
}

/// An endpoint.
pub fn endpoint(network: &NetworkName, id: &EndpointId) -> String {
    format!("{ENDPOINTS}{network}/{id}")
}

fn tag(at: &PortTag) -> String {
    let vlan = at.vlan.map_or_else(|| "untagged".to_owned(), |vlan| vlan.to_string());
    format!("{}/{vlan}", at.port)
}

/// All attached ports of a node.
pub fn ports(node: &NodeName) -> String {
    format!("{PORTS}{node}/")
}

/// A node's port, or one VLAN of it: who has this key has the port.
pub fn port(node: &NodeName, at: &PortTag) -> String {
    format!("{PORTS}{node}/{}", tag(at))
}

/// The ports and stations of a network.
pub fn attached(network: &NetworkName) -> String {
    format!("{ATTACHED}{network}/")
}

/// The attached ports of a network.
pub fn attached_ports(network: &NetworkName) -> String {
    format!("{ATTACHED}{network}/ports/")
}

/// An attached port, where those look who follow its network.
pub fn attached_port(attachment: &PortAttachment) -> String {
    let PortAttachment { network, node, .. } = attachment;
    format!("{ATTACHED}{network}/ports/{node}/{}", tag(&attachment.at()))
}

/// The stations of a network.
pub fn stations(network: &NetworkName) -> String {
    format!("{ATTACHED}{network}/stations/")
}

/// A station.
pub fn station(network: &NetworkName, mac: MacAddr) -> String {
    format!("{ATTACHED}{network}/stations/{mac}")
}

/// All address blocks of a network.
pub fn blocks(network: &NetworkName) -> String {
    format!("{ROOT}blocks/{network}/")
}

/// An address block.
pub fn block(network: &NetworkName, prefix: IpNet) -> String {
    format!("{ROOT}blocks/{network}/{}-{}", prefix.network(), prefix.prefix_len())
}

/// All demands in a network.
pub fn demands(network: &NetworkName) -> String {
    format!("{ROOT}demands/{network}/")
}

/// A node's demand in a network.
pub fn demand(network: &NetworkName, node: &NodeName) -> String {
    format!("{ROOT}demands/{network}/{node}")
}
