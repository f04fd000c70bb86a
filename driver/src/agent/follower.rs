//! Follows the cluster's store: networks, nodes, and the endpoints of the networks that have one here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::registry::{Gone, Registry, now};
use crate::model::{EndpointId, NetworkName, NodeName};
use crate::store::{Entry, MirrorEvent, Store, StoreError, keys};

/// What the mirrors tell of the store itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct StoreHealth {
    /// Why it does not answer, and since when in seconds; `None`: it answers.
    pub away: Option<(StoreError, u64)>,
    /// Since when it has answered, in seconds.
    pub since: u64,
    /// Counts how often the store came back: what was published may be gone.
    pub returns: u64,
    /// Whether the cluster's networks and nodes were heard at least once.
    pub heard: bool,
}

/// The objects of one prefix.
trait Followed: Send + 'static {
    /// One mirror event's worth: values, and what is gone.
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>);
    /// The store does not answer; what is known must do.
    fn offline(&mut self) {}
}

async fn mirror(
    mut events: mpsc::Receiver<MirrorEvent>,
    mut followed: impl Followed,
    health: watch::Sender<StoreHealth>,
) {
    let value = |entry: Entry| (entry.key, entry.value);
    while let Some(event) = events.recv().await {
        match event {
            MirrorEvent::Snapshot(entries) => {
                followed.take(entries.into_iter().map(value).collect(), Gone::AllOthers);
                came_back(&health);
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
                followed.take(values, Gone::These(gone));
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

fn parse<T: DeserializeOwned>(values: Vec<(String, Vec<u8>)>) -> Vec<Arc<T>> {
    let parse_one = |(key, value): (String, Vec<u8>)| match serde_json::from_slice(&value) {
        Ok(object) => Some(Arc::new(object)),
        Err(error) => {
            warn!(key, %error, "an object in the store cannot be read; it is left out: repair or delete the key");
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

struct Networks(Registry);
impl Followed for Networks {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) {
        self.0.follow_networks(parse(values), names(gone));
    }
}

struct Nodes(Registry);
impl Followed for Nodes {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) {
        self.0.follow_nodes(parse(values), names(gone));
    }
}

struct Alive(Registry);
impl Followed for Alive {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) {
        let alive = values.iter().filter_map(|(key, _)| key.rsplit('/').next()?.parse::<NodeName>().ok());
        self.0.follow_alive(alive.collect(), names(gone));
    }
}

struct Endpoints(Registry, NetworkName);
impl Followed for Endpoints {
    fn take(&mut self, values: Vec<(String, Vec<u8>)>, gone: Gone<String>) {
        let is_all = gone == Gone::AllOthers;
        self.0.follow_endpoints(&self.1, parse(values), names::<EndpointId>(gone));
        if is_all {
            self.0.network_followed(&self.1);
        }
    }

    fn offline(&mut self) {
        self.0.network_followed(&self.1);
    }
}

/// Follows the store for as long as the process lives.
pub(super) async fn run(registry: Registry, store: Arc<dyn Store>, health: watch::Sender<StoreHealth>) {
    let follow = |prefix: &str| store.clone().mirror(prefix.to_owned());
    tokio::spawn(mirror(follow(keys::NETWORKS), Networks(registry.clone()), health.clone()));
    tokio::spawn(mirror(follow(keys::NODES), Nodes(registry.clone()), health.clone()));
    tokio::spawn(mirror(follow(keys::ALIVE), Alive(registry.clone()), health.clone()));

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
                let events = follow(&keys::endpoints(network));
                tokio::spawn(mirror(events, Endpoints(registry.clone(), network.clone()), health.clone()))
            });
        }
        if present.changed().await.is_err() {
            return;
        }
    }
}
