//! What a switch's plan is made from, kept up to date by changes.

use std::collections::BTreeMap;

use super::Change;
use crate::model::NetworkName;
use crate::plan::attached::Claims;
use crate::plan::{Facts, View};

/// Takes note of a change.
pub(super) fn take(view: &mut View, facts: &mut Facts, claims: &mut Claims, change: Change) {
    match change {
        Change::SetNetwork(network) => {
            view.networks.insert(network.name.clone(), network);
        }
        Change::RemoveNetwork(name) => {
            view.networks.remove(&name);
        }
        Change::SetNode(node) => {
            view.nodes.insert(node.name.clone(), node);
        }
        Change::RemoveNode(name) => {
            view.nodes.remove(&name);
        }
        Change::SetEndpoint(endpoint) => {
            let of_network = view.endpoints.entry(endpoint.network.clone()).or_default();
            of_network.insert(endpoint.id.clone(), endpoint);
        }
        Change::RemoveEndpoint(network, id) => remove(&mut view.endpoints, &network, &id),
        Change::SetPort(port) => {
            let of_network = view.ports.entry(port.network.clone()).or_default();
            of_network.insert((port.node.clone(), port.at()), port);
        }
        Change::RemovePort(network, node, at) => remove(&mut view.ports, &network, &(node, at)),
        Change::SetStation(station) => {
            view.stations.entry(station.network.clone()).or_default().insert(station.mac, station);
        }
        Change::RemoveStation(network, mac) => remove(&mut view.stations, &network, &mac),
        Change::Claim(network, mac) => {
            claims.insert((network, mac));
        }
        Change::Unclaim(network, mac) => {
            claims.remove(&(network, mac));
        }
        Change::UnderlayMtu(mtu) => facts.underlay_mtu = mtu,
    }
}

fn remove<K: Ord, V>(objects: &mut BTreeMap<NetworkName, BTreeMap<K, V>>, network: &NetworkName, key: &K) {
    if let Some(of_network) = objects.get_mut(network) {
        of_network.remove(key);
        if of_network.is_empty() {
            objects.remove(network);
        }
    }
}
