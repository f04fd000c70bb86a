//! What every switch has to know of the networks of its attached ports, whatever it forwards with.
//!
//! A switch has a network if one of its ports is attached to it. It then sends to the tunnel ends of all nodes that
//! have members or ports of the network, knows behind which of them each endpoint and each station of other switches
//! is, and answers ARP and neighbour solicitations for every address that the store knows.
//!
//! # Who has a MAC
//! An endpoint's MAC is where the store says; it becomes a server's when the endpoint is gone. A station's MAC is where
//! it was seen last: while this switch itself has seen it and the store does not know that yet ([`Claims`]), it is here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use ofctl::MacAddr;

use super::view::{Facts, View};
use crate::model::{
    CannotCarry, Endpoint, Network, NetworkName, Node, NodeName, Phase, PortAttachment, can_carry,
};

/// MACs that this switch has seen on its ports, and that it is about to tell the store.
pub type Claims = HashSet<(NetworkName, MacAddr)>;

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

/// The attached ports of this switch, each with its network, or why it has none.
pub(super) fn attached<'a>(
    view: &'a View,
    facts: &'a Facts,
    own: Option<&'a Node>,
) -> impl Iterator<Item = (&'a PortAttachment, Result<&'a Network, Refused>)> {
    view.ports_of(&facts.node).map(move |attachment| {
        let network = match view.networks.get(&attachment.network) {
            None => Err(Refused::NoNetwork(attachment.network.clone())),
            Some(network) => match own.map(|own| can_carry(own, network, &attachment.port)) {
                Some(Err(reason)) => Err(reason.into()),
                _ => Ok(network.as_ref()),
            },
        };
        (attachment.as_ref(), network)
    })
}

/// What is elsewhere of a network, seen from a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// The tunnel ends of all other nodes that have members or ports of it.
    pub(super) flood: BTreeSet<IpAddr>,
    /// The tunnel end behind which each MAC is.
    pub(super) macs: BTreeMap<MacAddr, IpAddr>,
    /// Whose MAC each known address is.
    pub(super) addresses: BTreeMap<IpAddr, MacAddr>,
}

/// What is elsewhere of a network.
pub(super) fn elsewhere(view: &View, node: &NodeName, claims: &Claims, network: &NetworkName) -> Elsewhere {
    let vtep = |other: &NodeName| (other != node).then(|| view.nodes.get(other)?.underlay).flatten();
    let endpoints = || view.endpoints.get(network).into_iter().flat_map(BTreeMap::values);
    let others = || endpoints().filter(|endpoint| endpoint.node != *node);
    let members: BTreeSet<&NodeName> = others()
        .map(|endpoint| &endpoint.node)
        .chain(view.ports.get(network).into_iter().flat_map(BTreeMap::keys).map(|(node, _)| node))
        .collect();
    let mut elsewhere =
        Elsewhere { flood: members.into_iter().filter_map(vtep).collect(), ..Elsewhere::default() };
    // What comes later counts: a station's word is less than an endpoint's.
    for station in view.stations.get(network).into_iter().flat_map(BTreeMap::values) {
        if claims.contains(&(network.clone(), station.mac)) {
            continue;
        }
        if let Some(vtep) = vtep(&station.node) {
            elsewhere.macs.insert(station.mac, vtep);
            elsewhere.addresses.extend(station.addresses.iter().map(|address| (*address, station.mac)));
        }
    }
    for endpoint in others().filter(|endpoint| endpoint.phase != Phase::Left) {
        if let Some(vtep) = vtep(&endpoint.node) {
            elsewhere.macs.insert(endpoint.mac, vtep);
            elsewhere.addresses.extend(addresses(endpoint).map(|address| (address, endpoint.mac)));
        }
    }
    elsewhere
}

/// The addresses for which an endpoint is asked, its link-local one among them.
fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> + '_ {
    let v4 = endpoint.addresses.iter().map(|net| net.addr()).filter(IpAddr::is_ipv4);
    v4.chain(super::spoof::ipv6_addresses(endpoint).map(IpAddr::V6))
}
