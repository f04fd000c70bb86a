//! Follows the cluster's store: networks, nodes, this node's ports, and the endpoints, ports and stations of the
//! networks that have an endpoint or a port here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use super::registry::{Gone, Registry, now};
use crate::ipam::Ipam;
use crate::model::{Endpoint, EndpointId, Network, NetworkName, Node, NodeName, PortAttachment, Station};
use crate::store::{Entry, MirrorEvent, Store, StoreError, keys};

/// What the mirrors tell of the store itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct StoreHealth {
    /// Why it does not answer, and since when in seconds; `None`: it answers.
    pub away: Option<(StoreError, u64)>,
    /// Since when it has answered, in seconds.
    pub since: u64,
    /// Counts how often what was published may have gone: the store came back, or something of ours was lost.
    pub returns: u64,
    /// Whether the cluster's networks and nodes were heard at least once.
    pub heard: bool,
}

/// The objects of one prefix.
trait Followed: Send + 'static {
    /// One mirror event's worth: values, and what is gone. True if the store has lost what this node published.
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) -> bool;
    /// The store does not answer; what is known must do.
    fn offline(&mut self) {}
}

async fn mirror(
    mut events: mpsc::Receiver<MirrorEvent>,
    mut followed: impl Followed,
    health: watch::Sender<StoreHealth>,
) {
    let value = |entry: Entry| (entry.key, entry.value);
    let mut is_first = true;
    while let Some(event) = events.recv().await {
        match event {
            MirrorEvent::Snapshot(entries) => {
                let lost = followed.take(entries.into_iter().map(value).collect(), Gone::AllOthers);
                came_back(&health);
                // Another snapshot: the history is broken, as after a restore from a backup, absence or not.
                if lost || !std::mem::take(&mut is_first) {
                    health.send_modify(|health| health.returns += 1);
                }
            }
            MirrorEvent::Changes(changes) => {
                // The last change of a key counts; the order between keys does not matter to any of them.
                let last: BTreeMap<String, Option<Entry>> = changes.into_iter().collect();
                let (mut values, mut gone) = (Vec::new(), Vec::new());
                for (key, entry) in last {
                    match entry {
                        Some(entry) => values.push(value(entry)),
                        None => gone.push(key),
                    }
                }
                if followed.take(values, Gone::These(gone)) {
                    health.send_modify(|health| health.returns += 1);
                }
            }
            MirrorEvent::Offline(error) => {
                followed.offline();
                health.send_if_modified(|health| {
                    let is_new = health.away.is_none();
                    if is_new {
                        warn!(%error, "the store is away; going on with what is known");
                        health.away = Some((error, now()));
                    }
                    is_new
                });
            }
            MirrorEvent::Online => came_back(&health),
        }
    }
}

fn came_back(health: &watch::Sender<StoreHealth>) {
    health.send_if_modified(|health| {
        let was_away = health.away.take().is_some() || !health.heard;
        if was_away {
            debug!("the store answers");
            health.heard = true;
            health.since = now();
            health.returns += 1;
        }
        was_away
    });
}

fn parse<T: DeserializeOwned>(values: Vec<(String, Vec<u8>)>, key_of: impl Fn(&T) -> String) -> Vec<Arc<T>> {
    let remedy = "it is left out: repair or delete the key";
    let parse_one = |(key, value): (String, Vec<u8>)| match serde_json::from_slice(&value) {
        Ok(object) if key_of(&object) == key => Some(Arc::new(object)),
        Ok(_) => {
            warn!(key, "an object in the store has the key of another; {remedy}");
            None
        }
        Err(error) => {
            warn!(key, %error, "an object in the store cannot be read; {remedy}");
            None
        }
    };
    values.into_iter().filter_map(parse_one).collect()
}

/// The last parts of keys that are names.
fn names<T: std::str::FromStr>(keys: Gone<String>) -> Gone<T> {
    match keys {
        Gone::AllOthers => Gone::AllOthers,
        Gone::These(keys) => {
            Gone::These(keys.iter().filter_map(|key| key.rsplit('/').next()?.parse().ok()).collect())
        }
    }
}

struct Networks(Registry, Arc<Ipam>);
impl Followed for Networks {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) -> bool {
        let networks = parse(values, |network: &Network| keys::network(&network.name));
        // The network may be another one with the name of one that was removed, and with none of its blocks.
        networks.iter().for_each(|network| self.1.network_changed(&network.name));
        for name in self.0.follow_networks(networks, names(gone)) {
            let forgotten = self.1.forget_network(&name);
            tokio::spawn(async move {
                if let Err(error) = forgotten.await {
                    warn!(network = %name, %error, "leases of a removed network could not be forgotten");
                }
            });
        }
        false
    }
}

struct Nodes(Registry);
impl Followed for Nodes {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) -> bool {
        self.0.follow_nodes(parse(values, |node: &Node| keys::node(&node.name)), names(gone))
    }
}

struct Alive(Registry);
impl Followed for Alive {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) -> bool {
        let alive = values.iter().filter_map(|(key, _)| key.rsplit('/').next()?.parse::<NodeName>().ok());
        self.0.follow_alive(alive.collect(), names(gone));
        false
    }
}

struct Endpoints(Registry, NetworkName);
impl Followed for Endpoints {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) -> bool {
        let is_all = gone == Gone::AllOthers;
        let endpoints = parse(values, |endpoint: &Endpoint| keys::endpoint(&endpoint.network, &endpoint.id));
        let lost = self.0.follow_endpoints(&self.1, endpoints, names::<EndpointId>(gone));
        if is_all {
            self.0.network_followed(&self.1);
        }
        lost
    }

    fn offline(&mut self) {
        self.0.network_followed(&self.1);
    }
}

struct OwnPorts(Registry);
impl Followed for OwnPorts {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) -> bool {
        let ports = parse(values, |port: &PortAttachment| keys::port(&port.node, &port.at()));
        self.0.follow_own_ports(ports, gone);
        false
    }

    fn offline(&mut self) {
        self.0.own_ports_unheard();
    }
}

/// The ports and stations of a network.
struct Attached(Registry, NetworkName);
impl Followed for Attached {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) -> bool {
        let Attached(registry, network) = self;
        let (of_ports, of_stations) = (keys::attached_ports(network), keys::stations(network));
        let (ports, others): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|(key, _)| key.starts_with(&of_ports));
        // What is neither is a later version's.
        let stations = others.into_iter().filter(|(key, _)| key.starts_with(&of_stations)).collect();
        let macs = match &gone {
            Gone::AllOthers => Gone::AllOthers,
            Gone::These(keys) => {
                let mac = |key: &String| key.strip_prefix(&of_stations)?.parse().ok();
                Gone::These(keys.iter().filter_map(mac).collect())
            }
        };
        let is_all = gone == Gone::AllOthers;
        registry.follow_ports(network, parse(ports, |port: &PortAttachment| keys::attached_port(port)), gone);
        let key = |station: &Station| keys::station(&station.network, station.mac);
        registry.follow_stations(network, parse(stations, key), macs);
        if is_all {
            registry.attached_followed(network);
        }
        false
    }

    fn offline(&mut self) {
        self.0.attached_followed(&self.1);
    }
}

/// Follows the store for as long as the process lives.
pub(super) async fn run(
    registry: Registry,
    ipam: Arc<Ipam>,
    store: Arc<dyn Store>,
    health: watch::Sender<StoreHealth>,
) {
    let follow = |prefix: &str| store.clone().mirror(prefix.to_owned());
    let mut common = JoinSet::new();
    common.spawn(mirror(follow(keys::NETWORKS), Networks(registry.clone(), ipam), health.clone()));
    common.spawn(mirror(follow(keys::NODES), Nodes(registry.clone()), health.clone()));
    common.spawn(mirror(follow(keys::ALIVE), Alive(registry.clone()), health.clone()));
    let own_ports = follow(&keys::ports(registry.node()));
    common.spawn(mirror(own_ports, OwnPorts(registry.clone()), health.clone()));

    let mut present = registry.present();
    let mut tasks: BTreeMap<NetworkName, JoinHandle<()>> = BTreeMap::new();
    loop {
        let wanted: BTreeSet<NetworkName> = present.borrow_and_update().clone();
        for (network, task) in tasks.extract_if(.., |network, _| !wanted.contains(network)) {
            task.abort();
            // Until it has ended, it may take in what is forgotten here.
            let _ = task.await;
            registry.unfollow(&network);
        }
        for network in &wanted {
            tasks.entry(network.clone()).or_insert_with(|| {
                let endpoints = follow(&keys::endpoints(network));
                let endpoints =
                    mirror(endpoints, Endpoints(registry.clone(), network.clone()), health.clone());
                let attached = follow(&keys::attached(network));
                let attached = mirror(attached, Attached(registry.clone(), network.clone()), health.clone());
                tokio::spawn(async move {
                    tokio::join!(endpoints, attached);
                })
            });
        }
        tokio::select! {
            changed = present.changed() => if changed.is_err() { return },
            // A mirror that ends by itself has told of its store; one that panicked has not.
            Some(Err(error)) = common.join_next() => if error.is_panic() {
                std::panic::resume_unwind(error.into_panic());
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Host, blue, remote};
    use super::*;
    use crate::store::Revision;

    fn entry(key: String, endpoint: &Endpoint) -> Entry {
        Entry { key, value: serde_json::to_vec(endpoint).unwrap(), revision: Revision(1) }
    }

    /// What the mirror of one network's endpoints leaves behind, once it has told all of this.
    async fn follow(host: &Host, events: Vec<MirrorEvent>) -> StoreHealth {
        tell(Endpoints(host.registry().clone(), blue()), events).await
    }

    async fn tell(followed: impl Followed, events: Vec<MirrorEvent>) -> StoreHealth {
        let (sender, receiver) = mpsc::channel(events.len());
        for event in events {
            sender.send(event).await.unwrap();
        }
        drop(sender);
        let (health, seen) = watch::channel(StoreHealth::default());
        mirror(receiver, followed, health).await;
        seen.borrow().clone()
    }

    #[tokio::test]
    async fn a_second_snapshot_has_everything_of_ours_looked_for_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let host = Host::start(&dir);
        let snapshot = || MirrorEvent::Snapshot(Vec::new());
        let once = follow(&host, vec![snapshot()]).await.returns;
        let after_absence = StoreError::Unavailable { store: "etcd".into(), reason: "gone".into() };
        let events = vec![snapshot(), MirrorEvent::Offline(after_absence), MirrorEvent::Online];
        assert!(follow(&host, events).await.returns > once);
        // The store was restored from a backup, faster than anybody noticed its absence.
        assert!(follow(&host, vec![snapshot(), snapshot()]).await.returns > once);
    }

    #[tokio::test]
    async fn an_object_under_the_key_of_another_is_left_out() {
        let dir = tempfile::TempDir::new().unwrap();
        let host = Host::start(&dir);
        let (right, mut wrong) = (remote("e1", "10.1.0.2/24"), remote("e2", "10.1.0.3/24"));
        wrong.network = "red".parse().unwrap();
        let key = |endpoint: &Endpoint| keys::endpoint(&blue(), &endpoint.id);
        let entries = vec![entry(key(&right), &right), entry(key(&wrong), &wrong)];
        follow(&host, vec![MirrorEvent::Snapshot(entries)]).await;
        let view = host.registry().view();
        assert_eq!(view.endpoints.keys().collect::<Vec<_>>(), [&blue()]);
        assert_eq!(view.endpoints[&blue()].keys().collect::<Vec<_>>(), [&right.id]);
    }

    fn port(node: &str, port: &str, network: &str) -> PortAttachment {
        PortAttachment {
            node: node.parse().unwrap(),
            port: port.parse().unwrap(),
            vlan: None,
            network: network.parse().unwrap(),
            origin: crate::model::Origin { node: "h9".parse().unwrap(), at: 0 },
            unknown: crate::model::UnknownFields::new(),
        }
    }

    fn snapshot(key: impl Fn(&PortAttachment) -> String, ports: &[PortAttachment]) -> MirrorEvent {
        let entry = |port: &PortAttachment| Entry {
            key: key(port),
            value: serde_json::to_vec(port).unwrap(),
            revision: Revision(1),
        };
        MirrorEvent::Snapshot(ports.iter().map(entry).collect())
    }

    /// All ports that the agent plans for, as `node port network`.
    fn planned(host: &Host) -> BTreeSet<String> {
        let view = host.registry().view();
        let ports = view.ports.values().flat_map(BTreeMap::values);
        ports.map(|port| format!("{} {} {}", port.node, port.port, port.network)).collect()
    }

    /// What the agent would begin with if it were started again.
    async fn remembered(host: &Host) -> usize {
        host.ledger.commit(Vec::new()).await.unwrap();
        let rows = host.ledger.load(crate::store::Table::Cache).unwrap();
        let is_port = |key: &str| key.starts_with(keys::PORTS) || key.starts_with(keys::ATTACHED);
        rows.iter().filter(|(key, _)| is_port(key)).count()
    }

    /// Ports that were detached, or attached elsewhere, while the store's history was lost: the next snapshot tells,
    /// by not having them.
    #[tokio::test]
    async fn ports_that_a_snapshot_does_not_have_are_gone_at_once() {
        let dir = tempfile::TempDir::new().unwrap();
        let host = Host::start(&dir);
        let own = |ports: &[PortAttachment]| snapshot(|port| keys::port(&port.node, &port.at()), ports);
        let others = |ports: &[PortAttachment]| snapshot(keys::attached_port, ports);
        let away =
            || MirrorEvent::Offline(StoreError::Unavailable { store: "etcd".into(), reason: "".into() });
        let (gone, moved, stays) =
            (port("h1", "swp1", "blue"), port("h1", "swp2", "blue"), port("h1", "swp3", "blue"));
        let before = vec![gone, moved, stays.clone()];
        tell(OwnPorts(host.registry().clone()), vec![own(&before)]).await;
        let far = [port("sw2", "swp1", "blue"), port("sw2", "swp2", "blue"), port("sw3", "swp1", "blue")];
        tell(Attached(host.registry().clone(), blue()), vec![others(&far)]).await;
        assert_eq!((planned(&host).len(), remembered(&host).await), (6, 6));

        let after = [port("h1", "swp2", "red"), stays];
        tell(OwnPorts(host.registry().clone()), vec![away(), own(&after)]).await;
        tell(Attached(host.registry().clone(), blue()), vec![away(), others(&far[1..2])]).await;
        let left = ["h1 swp2 red", "h1 swp3 blue", "sw2 swp2 blue"].map(str::to_owned);
        assert_eq!(planned(&host), left.into());
        assert_eq!(remembered(&host).await, 3);
    }
}
