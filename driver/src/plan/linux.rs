//! The plan of a switch: from the same view as the hosts' flows to what its Linux bridges should hold.
//!
//! A switch has a network if one of its ports is attached to it. It then sends to the tunnel ends of all nodes that
//! have members or ports of the network, knows behind which of them each endpoint and each station of other switches
//! is, and answers ARP and neighbour solicitations for every address that the store knows.
//!
//! # Who has a MAC
//! An endpoint's MAC is where the store says: a server that sends from it is overruled, since else any server could
//! take a container's traffic. It becomes the server's when the endpoint is gone. A station's MAC is where it was seen
//! last: while this switch itself has seen it and the store does not know that yet ([`Claims`]), it is here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use ofctl::MacAddr;

use super::ports::endpoint_mtu;
use super::view::{Facts, View};
use crate::linux::{Desired, Form, Member, Remote, Segment};
use crate::model::{
    CannotCarry, Endpoint, Network, NetworkName, NodeName, Phase, PortAttachment, VlanId, can_carry,
};

/// MACs that this switch has seen on its ports, and that it is about to tell the store.
pub type Claims = HashSet<(NetworkName, MacAddr)>;

/// What a switch should hold, and what it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxPlan {
    /// What it should hold; none without an underlay address, which leaves everything as it is.
    pub desired: Option<Desired>,
    /// Attached ports whose network cannot be carried, and why.
    pub refused: Vec<(PortAttachment, Refused)>,
}

/// Why an attached port gets no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// This kind of network, or node, cannot.
    #[error(transparent)]
    CannotCarry(#[from] CannotCarry),
    /// The store has no such network.
    #[error("network {0} does not exist: create it, or detach the port")]
    NoNetwork(NetworkName),
}

/// The plan that follows from the view.
pub fn plan(view: &View, facts: &Facts, form: &Form, claims: &Claims) -> LinuxPlan {
    let mut networks: BTreeMap<_, Segment> = BTreeMap::new();
    let mut refused = Vec::new();
    let own = view.nodes.get(&facts.node);
    for attachment in view.ports_of(&facts.node) {
        let Some(network) = view.networks.get(&attachment.network) else {
            refused.push((attachment.as_ref().clone(), Refused::NoNetwork(attachment.network.clone())));
            continue;
        };
        if let Some(Err(reason)) = own.map(|own| can_carry(own, network, &attachment.port)) {
            refused.push((attachment.as_ref().clone(), reason.into()));
            continue;
        }
        let Some(vni) = network.vni else { continue };
        let segment = networks.entry(vni).or_insert_with(|| segment(view, facts, form, claims, network));
        if form.has_vlans() && attachment.vlan.is_some() {
            // On a bridge with VLANs the port's tag is the network's.
            segment.vlan = attachment.vlan;
        }
        segment.members.insert(Member { port: attachment.port.clone(), vlan: attachment.vlan });
    }
    LinuxPlan { desired: facts.underlay.map(|vtep| Desired { form: form.clone(), vtep, networks }), refused }
}

/// A network's part on this switch, without its member ports.
fn segment(view: &View, facts: &Facts, form: &Form, claims: &Claims, network: &Network) -> Segment {
    let name = &network.name;
    let vtep = |node: &NodeName| (*node != facts.node).then(|| view.nodes.get(node)?.underlay).flatten();
    let endpoints = || view.endpoints.get(name).into_iter().flat_map(BTreeMap::values);
    let others = || endpoints().filter(|endpoint| endpoint.node != facts.node);
    let members: BTreeSet<&NodeName> = others()
        .map(|endpoint| &endpoint.node)
        .chain(view.ports.get(name).into_iter().flat_map(BTreeMap::keys).map(|(node, _)| node))
        .collect();
    let mut segment = Segment {
        vlan: form.has_vlans().then(|| VlanId::try_from(network.id.get()).ok()).flatten(),
        mtu: endpoint_mtu(view, facts, network),
        flood: members.into_iter().filter_map(vtep).collect(),
        ..Segment::default()
    };
    // What comes later counts: a station's word is less than an endpoint's.
    for station in view.stations.get(name).into_iter().flat_map(BTreeMap::values) {
        if claims.contains(&(name.clone(), station.mac)) {
            continue;
        }
        if let Some(vtep) = vtep(&station.node) {
            segment.remotes.insert(station.mac, Remote { vtep, overrule: true });
            segment.neighbours.extend(station.addresses.iter().map(|address| (*address, station.mac)));
        }
    }
    for endpoint in others().filter(|endpoint| endpoint.phase != Phase::Left) {
        if let Some(vtep) = vtep(&endpoint.node) {
            segment.remotes.insert(endpoint.mac, Remote { vtep, overrule: true });
            segment.neighbours.extend(addresses(endpoint).map(|address| (address, endpoint.mac)));
        }
    }
    segment
}

/// The addresses for which an endpoint is asked, its link-local one among them.
fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> + '_ {
    let v4 = endpoint.addresses.iter().map(|net| net.addr()).filter(IpAddr::is_ipv4);
    v4.chain(super::spoof::ipv6_addresses(endpoint).map(IpAddr::V6))
}

#[cfg(test)]
mod tests;
