//! What a plan is made from.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ofctl::MacAddr;
use ofctl::wire::OfPort;

use crate::model::{
    Encapsulation, Endpoint, EndpointId, LinkName, Network, NetworkName, Node, NodeName, Phase,
    PortAttachment, PortTag, Station,
};

/// The cluster's intent, as far as this node follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Networks, the cluster's and this host's own.
    pub networks: BTreeMap<NetworkName, Arc<Network>>,
    /// Nodes, this one included.
    pub nodes: BTreeMap<NodeName, Arc<Node>>,
    /// Endpoints of the networks that this node follows.
    pub endpoints: BTreeMap<NetworkName, BTreeMap<EndpointId, Arc<Endpoint>>>,
    /// Attached switch ports of the networks that this node follows, and all of its own.
    pub ports: BTreeMap<NetworkName, BTreeMap<(NodeName, PortTag), Arc<PortAttachment>>>,
    /// Stations behind such ports, on nodes that are alive.
    pub stations: BTreeMap<NetworkName, BTreeMap<MacAddr, Arc<Station>>>,
}

impl View {
    /// All endpoints of a node.
    pub fn endpoints_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        self.endpoints.values().flat_map(BTreeMap::values).filter(move |endpoint| endpoint.node == *node)
    }

    /// The attached ports of a node.
    pub fn ports_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Arc<PortAttachment>> {
        self.ports.values().flat_map(BTreeMap::values).filter(move |port| port.node == *node)
    }

    /// One endpoint.
    pub fn endpoint(&self, network: &NetworkName, id: &EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(network)?.get(id)
    }
}

/// What this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub node: NodeName,
    /// The address of its tunnels' ends.
    pub underlay: Option<IpAddr>,
    /// The MTU of the link with that address, in bytes.
    pub underlay_mtu: Option<u16>,
    /// The OVS bridge that carries the trunk of VLAN networks.
    pub uplink_bridge: Option<String>,
    /// The OpenFlow port numbers of the ports that are there, on the integration bridge.
    pub ofports: HashMap<LinkName, OfPort>,
}

impl Facts {
    /// A node without ports.
    pub fn new(node: NodeName) -> Facts {
        Facts { node, underlay: None, underlay_mtu: None, uplink_bridge: None, ofports: HashMap::new() }
    }

    /// The port of an encapsulation: a tunnel, or the patch to the uplink bridge.
    pub fn encapsulation_port(&self, encapsulation: Encapsulation) -> Option<OfPort> {
        self.ofports.get(&super::ports::encapsulation_link(encapsulation)?).copied()
    }

    /// The port of a local endpoint that has a link.
    pub fn endpoint_port(&self, endpoint: &Endpoint) -> Option<OfPort> {
        self.ofports.get(&endpoint.host_link()).copied()
    }

    /// True if the endpoint is this node's and is or may soon be in a sandbox.
    pub fn is_local(&self, endpoint: &Endpoint) -> bool {
        endpoint.node == self.node && endpoint.phase != Phase::Left
    }
}
