//! Switch ports and the stations behind them, as far as this node follows them.
//!
//! A node follows its own ports, and the ports and stations of every network of which it has an endpoint or a port.
//! Ports are kept in the ledger's cache like endpoints. Stations are not: they come and go with traffic, a switch's
//! disk is small and wears, and without them packets still arrive, by way of all switches of the network.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ofctl::MacAddr;
use tokio::sync::mpsc;

use super::{Gone, Inner, Registry};
use crate::model::{NetworkName, NodeName, PortAttachment, PortTag, Station, Vni};
use crate::node::programmer::Change;
use crate::reconcile::stations::Key;
use crate::store::{LedgerWrite, Table, keys};

/// What the store says of a MAC; `None`: nothing any more.
pub(in crate::agent) type Word = (Key, Option<Station>);
type PortKey = (NodeName, PortTag);

fn insert(inner: &mut Inner, port: &Arc<PortAttachment>) -> bool {
    let of_network = inner.view.ports.entry(port.network.clone()).or_default();
    of_network.insert((port.node.clone(), port.at()), port.clone()).as_ref() != Some(port)
}

fn remove(inner: &mut Inner, network: &NetworkName, key: &PortKey) -> Option<Arc<PortAttachment>> {
    let of_network = inner.view.ports.get_mut(network)?;
    let port = of_network.remove(key);
    if of_network.is_empty() {
        inner.view.ports.remove(network);
    }
    port
}

fn removal(port: &PortAttachment) -> Change {
    Change::RemovePort(port.network.clone(), port.node.clone(), port.at())
}

impl Registry {
    /// Takes over this node's own attached ports.
    pub(in crate::agent) fn follow_own_ports(&self, ports: Vec<Arc<PortAttachment>>, gone: Gone<String>) {
        let mut inner = self.lock();
        let (mut cache, mut changes) = (Vec::new(), Vec::new());
        let key = |port: &PortAttachment| keys::port(&port.node, &port.at());
        let listed: BTreeMap<String, &Arc<PortAttachment>> =
            ports.iter().filter(|port| port.node == self.node).map(|port| (key(port), port)).collect();
        // A port that went over to another network leaves the first.
        let is_gone = |port: &&Arc<PortAttachment>| match listed.get(&key(port)) {
            Some(now) => now.network != port.network,
            None => match &gone {
                Gone::AllOthers => true,
                Gone::These(keys) => keys.contains(&key(port)),
            },
        };
        let left: Vec<_> = inner.view.ports_of(&self.node).filter(is_gone).cloned().collect();
        for port in left {
            remove(&mut inner, &port.network, &(port.node.clone(), port.at()));
            cache.push(LedgerWrite::delete(Table::Cache, key(&port)));
            changes.push(removal(&port));
        }
        for (key, port) in listed {
            if insert(&mut inner, port) {
                cache.push(LedgerWrite::put_json(Table::Cache, key, port.as_ref()));
                changes.push(Change::SetPort(port.clone()));
            }
        }
        inner.ports_heard = true;
        self.update_present(&mut inner);
        self.apply(changes);
        self.ledger.write_behind(cache);
        drop(inner);
        self.followed.notify_waiters();
        self.surroundings_changed.notify_one();
    }

    /// Takes over the ports that other nodes have in a network.
    pub(in crate::agent) fn follow_ports(
        &self,
        network: &NetworkName,
        ports: Vec<Arc<PortAttachment>>,
        gone: Gone<String>,
    ) {
        let mut inner = self.lock();
        let (mut cache, mut changes) = (Vec::new(), Vec::new());
        let others: Vec<_> = ports.into_iter().filter(|port| port.node != self.node).collect();
        let listed: BTreeSet<String> = others.iter().map(|port| keys::attached_port(port)).collect();
        let is_gone = |port: &&Arc<PortAttachment>| {
            let key = keys::attached_port(port);
            port.node != self.node
                && match &gone {
                    Gone::AllOthers => !listed.contains(&key),
                    Gone::These(keys) => keys.contains(&key),
                }
        };
        let known = inner.view.ports.get(network).into_iter().flat_map(BTreeMap::values);
        let left: Vec<_> = known.filter(is_gone).cloned().collect();
        for port in left {
            remove(&mut inner, network, &(port.node.clone(), port.at()));
            cache.push(LedgerWrite::delete(Table::Cache, keys::attached_port(&port)));
            changes.push(removal(&port));
        }
        for port in others {
            if insert(&mut inner, &port) {
                cache.push(LedgerWrite::put_json(Table::Cache, keys::attached_port(&port), port.as_ref()));
                changes.push(Change::SetPort(port));
            }
        }
        self.apply(changes);
        self.ledger.write_behind(cache);
    }

    /// Takes over the stations of a network. They count while their node is alive.
    pub(in crate::agent) fn follow_stations(
        &self,
        network: &NetworkName,
        stations: Vec<Arc<Station>>,
        gone: Gone<MacAddr>,
    ) {
        let mut inner = self.lock();
        let mut changes = Vec::new();
        let gone: Vec<MacAddr> = match gone {
            Gone::These(macs) => macs,
            Gone::AllOthers => {
                let listed: BTreeSet<MacAddr> = stations.iter().map(|station| station.mac).collect();
                let known = inner.stations.get(network).into_iter().flat_map(BTreeMap::keys);
                known.filter(|mac| !listed.contains(*mac)).copied().collect()
            }
        };
        for mac in gone {
            if let Some(of_network) = inner.stations.get_mut(network) {
                of_network.remove(&mac);
            }
            // Also of one that was not known here: it may have been written and removed since the last word.
            say(&inner, (network.clone(), mac), None);
            hide(&mut inner, network, mac, &mut changes);
        }
        for station in stations {
            let of_network = inner.stations.entry(network.clone()).or_default();
            if of_network.insert(station.mac, station.clone()).as_ref() != Some(&station) {
                say(&inner, (network.clone(), station.mac), Some(&station));
            }
            show(&mut inner, station, &mut changes);
        }
        if inner.stations.get(network).is_some_and(BTreeMap::is_empty) {
            inner.stations.remove(network);
        }
        self.apply(changes);
    }

    /// Shows the stations of nodes that came to life, and hides those of nodes that are not alive any more.
    pub(super) fn stations_of_living(&self, inner: &mut Inner, before: &BTreeSet<NodeName>) {
        let turned: BTreeSet<NodeName> = inner.alive.symmetric_difference(before).cloned().collect();
        let stations = inner.stations.values().flat_map(BTreeMap::values);
        let touched: Vec<_> = stations.filter(|station| turned.contains(&station.node)).cloned().collect();
        let mut changes = Vec::new();
        for station in touched {
            show(inner, station, &mut changes);
        }
        self.apply(changes);
    }

    /// The network's ports and stations are known now, as well as they can be.
    pub(in crate::agent) fn attached_followed(&self, network: &NetworkName) {
        self.lock().attached_heard.insert(network.clone());
        self.followed.notify_waiters();
    }

    /// The store is away; what is known of this node's ports must do.
    ///
    /// Without any it has to be asked: a switch whose state was lost must not take down what still runs.
    pub(in crate::agent) fn own_ports_unheard(&self) {
        let mut inner = self.lock();
        let has_ports = inner.view.ports_of(&self.node).next().is_some();
        inner.ports_heard |= has_ports;
        drop(inner);
        self.followed.notify_waiters();
    }

    /// Other nodes' ports, and the stations, of a network that is not followed any more.
    pub(super) fn forget_attached(&self, network: &NetworkName) {
        self.lock().attached_heard.remove(network);
        self.follow_ports(network, Vec::new(), Gone::AllOthers);
        self.follow_stations(network, Vec::new(), Gone::AllOthers);
    }

    /// Waits until this node's ports, and all that is in their networks, are known as well as they can be.
    pub(in crate::agent) async fn settled(&self) {
        loop {
            let woken = self.followed.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            {
                let inner = self.lock();
                let is_known = |name: &NetworkName| {
                    inner.followed.contains_key(name) && inner.attached_heard.contains(name)
                };
                if inner.ports_heard && self.present.borrow().iter().all(is_known) {
                    return;
                }
            }
            woken.await;
        }
    }

    /// Tells what the store says of stations from now on, in its order.
    pub(in crate::agent) fn follow_words(&self) -> mpsc::UnboundedReceiver<Word> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.lock();
        for station in inner.stations.values().flat_map(BTreeMap::values) {
            let _ = sender.send(((station.network.clone(), station.mac), Some(station.as_ref().clone())));
        }
        inner.words = Some(sender);
        receiver
    }

    /// The MACs of endpoints among these.
    pub(in crate::agent) fn endpoint_macs(&self, seen: &BTreeSet<Key>) -> BTreeSet<Key> {
        let networks: BTreeSet<&NetworkName> = seen.iter().map(|(network, _)| network).collect();
        let inner = self.lock();
        let endpoints = networks.into_iter().filter_map(|name| inner.view.endpoints.get(name));
        endpoints
            .flat_map(BTreeMap::values)
            .map(|endpoint| (endpoint.network.clone(), endpoint.mac))
            .filter(|key| seen.contains(key))
            .collect()
    }

    /// This node's ports, with the network of each and its VNI.
    pub(in crate::agent) fn own_ports(&self) -> Vec<(Arc<PortAttachment>, Option<Vni>)> {
        let inner = self.lock();
        let vni = |port: &Arc<PortAttachment>| inner.view.networks.get(&port.network)?.vni;
        inner.view.ports_of(&self.node).map(|port| (port.clone(), vni(port))).collect()
    }

    /// Tells the plan which MACs this switch has seen, and the store does not know yet, or does by now.
    pub(in crate::agent) fn claim(&self, changes: Vec<Change>) {
        self.apply(changes);
    }
}

fn say(inner: &Inner, key: Key, station: Option<&Arc<Station>>) {
    if let Some(words) = &inner.words {
        // Nobody listens only when the agent ends.
        let _ = words.send((key, station.map(|station| station.as_ref().clone())));
    }
}

/// Puts a station into the view if its node is alive, else takes it out.
fn show(inner: &mut Inner, station: Arc<Station>, changes: &mut Vec<Change>) {
    if !inner.alive.contains(&station.node) {
        return hide(inner, &station.network.clone(), station.mac, changes);
    }
    let of_network = inner.view.stations.entry(station.network.clone()).or_default();
    if of_network.insert(station.mac, station.clone()).as_ref() != Some(&station) {
        changes.push(Change::SetStation(station));
    }
}

fn hide(inner: &mut Inner, network: &NetworkName, mac: MacAddr, changes: &mut Vec<Change>) {
    let Some(of_network) = inner.view.stations.get_mut(network) else { return };
    if of_network.remove(&mac).is_some() {
        changes.push(Change::RemoveStation(network.clone(), mac));
    }
    if of_network.is_empty() {
        inner.view.stations.remove(network);
    }
}
