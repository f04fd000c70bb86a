//! Publishes this node and its endpoints to the store.
//!
//! What should be there is compared with what was acknowledged, and the difference is written; when the store comes
//! back after an absence, what is really there is read again. So nothing is lost while the store is away, and what
//! another hand removed returns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::follower::StoreHealth;
use super::registry::{NameTaken, Registry};
use crate::model::{Endpoint, NetworkName, Node, Phase};
use crate::store::networks::{NetworkError, restore};
use crate::store::{Guard, Presence, Store, StoreError, TxnOutcome, Write, keys};

/// How long a node counts as alive after its agent has gone.
const ALIVE_TTL: Duration = Duration::from_secs(15);
/// Writes of one transaction; etcd's default limit is 128 operations.
const BATCH: usize = 100;
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

pub(super) struct Publisher {
    registry: Registry,
    store: Arc<dyn Store>,
    node: watch::Receiver<Node>,
    health: watch::Receiver<StoreHealth>,
    problem: watch::Sender<Option<String>>,
    /// What the store is known to hold of ours; `None`: to be read.
    published: Option<BTreeMap<String, Vec<u8>>>,
    presence: Option<Presence>,
}

impl Publisher {
    pub(super) fn new(
        registry: Registry,
        store: Arc<dyn Store>,
        node: watch::Receiver<Node>,
        health: watch::Receiver<StoreHealth>,
        problem: watch::Sender<Option<String>>,
    ) -> Publisher {
        Publisher { registry, store, node, health, problem, published: None, presence: None }
    }

    /// Publishes for as long as the process lives.
    pub(super) async fn run(mut self) {
        let mut returns = self.health.borrow().returns;
        loop {
            match self.publish().await {
                Ok(()) => {
                    self.problem.send_if_modified(|problem| problem.take().is_some());
                    let changed = self.registry.changed.clone();
                    tokio::select! {
                        () = changed.notified() => {}
                        _ = self.node.changed() => {}
                        _ = self.health.changed() => {}
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    self.problem.send_if_modified(|problem| {
                        let is_new = problem.as_ref() != Some(&text);
                        if is_new {
                            error!(%error, "this node cannot be published");
                            *problem = Some(text);
                        }
                        is_new
                    });
                    // The other host has that long to show that it is alive, now that this one does not.
                    let is_taken = matches!(error, PublishError::NameTaken(_));
                    sleep(if is_taken { ALIVE_TTL } else { RETRY }).await;
                }
            }
            let seen = self.health.borrow_and_update().returns;
            if seen != returns {
                returns = seen;
                self.published = None;
            }
        }
    }

    async fn publish(&mut self) -> Result<(), PublishError> {
        let node = self.node.borrow_and_update().clone();
        if self.published.is_none() {
            let read = self.read(&node).await;
            match &read {
                Ok(_) => self.registry.set_name_taken(None),
                Err(PublishError::NameTaken(taken)) => {
                    self.registry.set_name_taken(Some(taken.clone()));
                    self.presence = None;
                }
                Err(_) => {}
            }
            self.published = Some(read?);
        }
        let wanted = self.wanted(&node);
        let published = self.published.get_or_insert_default();
        let gone: Vec<Write> =
            published.keys().filter(|key| !wanted.contains_key(*key)).cloned().map(Write::Delete).collect();
        for batch in gone.chunks(BATCH) {
            self.store.commit(Vec::new(), batch.to_vec()).await?;
        }
        published.retain(|key, _| wanted.contains_key(key));
        let mut set: BTreeMap<Option<NetworkName>, Vec<Write>> = BTreeMap::new();
        for (key, (network, value)) in &wanted {
            if published.get(key) != Some(value) {
                set.entry(network.clone()).or_default().push(Write::Put(key.clone(), value.clone()));
            }
        }
        // A network that cannot be put back does not keep the others' endpoints away.
        let mut failed = None;
        for (network, writes) in set {
            for batch in writes.chunks(BATCH) {
                match put(self.store.as_ref(), &self.registry, network.as_ref(), batch).await {
                    Ok(()) => {
                        debug!(writes = batch.len(), "published");
                        published.extend(batch.iter().filter_map(|write| match write {
                            Write::Put(key, value) => Some((key.clone(), value.clone())),
                            Write::Delete(_) => None,
                        }));
                    }
                    Err(PublishError::Store(error) | PublishError::Network(NetworkError::Store(error))) => {
                        return Err(error.into());
                    }
                    Err(error) => failed = Some(error),
                }
            }
        }
        if self.presence.is_none() {
            let key = keys::alive(&node.name);
            self.presence = Some(self.store.clone().keep_present(key, b"{}".to_vec(), ALIVE_TTL));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Reads what the store holds of ours, and makes sure of the name.
    async fn read(&self, node: &Node) -> Result<BTreeMap<String, Vec<u8>>, PublishError> {
        let key = keys::node(&node.name);
        let value = serde_json::to_vec(node).expect("a node has no map with other keys than strings");
        loop {
            let there = self.store.get(&key).await?;
            let guard = match &there {
                None => Guard::Absent(key.clone()),
                Some(entry) => {
                    let other = serde_json::from_slice::<Node>(&entry.value).ok();
                    if let Some(other) = other.filter(|other| other.installation != node.installation) {
                        if self.store.get(&keys::alive(&node.name)).await?.is_some() {
                            let underlay =
                                other.underlay.map_or("none".to_owned(), |address| address.to_string());
                            return Err(NameTaken { name: node.name.clone(), underlay }.into());
                        }
                        info!(node = %node.name, "this host was installed anew; its name is taken over");
                    }
                    Guard::Unchanged(key.clone(), entry.revision)
                }
            };
            let writes = vec![Write::Put(key.clone(), value.clone())];
            if let TxnOutcome::Committed(_) = self.store.commit(vec![guard], writes).await? {
                break;
            }
        }
        let mut ours = BTreeMap::from([(key, value)]);
        for entry in self.store.list(keys::ENDPOINTS).await? {
            if serde_json::from_slice::<Endpoint>(&entry.value)
                .is_ok_and(|endpoint| endpoint.node == node.name)
            {
                ours.insert(entry.key, entry.value);
            }
        }
        Ok(ours)
    }

    /// What should be there, with the network that it needs.
    fn wanted(&self, node: &Node) -> BTreeMap<String, (Option<NetworkName>, Vec<u8>)> {
        let json = |value: serde_json::Result<Vec<u8>>| value.expect("the maps' keys are strings");
        let own = (None, json(serde_json::to_vec(node)));
        let mut wanted = BTreeMap::from([(keys::node(&node.name), own)]);
        let is_local = |endpoint: &Endpoint| {
            self.registry.network(&endpoint.network).is_some_and(|network| network.id.is_local())
        };
        for local in self.registry.local_endpoints() {
            let endpoint = &local.endpoint;
            if endpoint.phase != Phase::Left && !is_local(endpoint) {
                let key = keys::endpoint(&endpoint.network, &endpoint.id);
                let value = json(serde_json::to_vec(endpoint));
                wanted.insert(key, (Some(endpoint.network.clone()), value));
            }
        }
        wanted
    }
}

/// Writes endpoints under the guard that their network exists. One that the store has lost is put back: its endpoints
/// are alive.
async fn put(
    store: &dyn Store,
    registry: &Registry,
    network: Option<&NetworkName>,
    writes: &[Write],
) -> Result<(), PublishError> {
    let guards: Vec<_> = network.map(|name| Guard::Present(keys::network(name))).into_iter().collect();
    if let TxnOutcome::Committed(_) = store.commit(guards.clone(), writes.to_vec()).await? {
        return Ok(());
    }
    if let Some(lost) = network.and_then(|name| registry.network(name)) {
        warn!(network = %lost.name, "the store has lost a network that has endpoints here; it is put back");
        restore(store, &lost).await?;
        if let TxnOutcome::Committed(_) = store.commit(guards, writes.to_vec()).await? {
            return Ok(());
        }
    }
    // Somebody removed it at this moment; the next attempt sees what has become of it.
    Err(NetworkError::Contended(network.cloned().expect("without a network there is no guard to fail"))
        .into())
}
