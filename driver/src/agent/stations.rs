//! Publishes the MACs that this switch learns on its ports, as [`Book`] has it.
//!
//! A first sighting is written at once; what comes within [`PAUSE`] of a write waits for the next, together. So a
//! switch makes at most ten transactions a second, of at most [`BATCH`] stations each, whatever happens on its ports.
//! Each is written only if the store has what it was thought to have, and while the port is attached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::registry::{Registry, Word, now};
use crate::model::{NetworkName, NodeName, PortTag, Vni};
use crate::node::programmer::{Change, Sight, Sighted};
use crate::reconcile::stations::{Book, Entry, Key, Sighting, Spot};
use crate::store::ports::{put_station, read_station};
use crate::store::{Guard, Store, StoreError, TxnOutcome, Write, keys};

/// How long after a write the next one comes.
const PAUSE: Duration = Duration::from_millis(100);
/// Stations of one transaction, each with two guards at most.
const BATCH: usize = 60;
const RETRY: Duration = Duration::from_secs(1);

/// What somebody should look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StationState {
    /// MACs that move to and fro, with the other switch.
    pub fought_over: Vec<(Key, NodeName)>,
    /// Endpoints' MACs that were seen on a port.
    pub of_endpoints: Vec<(Key, Spot)>,
    /// Ports with more stations than are published.
    pub crowded: Vec<Spot>,
    /// Why the store does not take them.
    pub problem: Option<String>,
}

pub(super) struct Stations {
    registry: Registry,
    store: Arc<dyn Store>,
    sighted: mpsc::UnboundedReceiver<Sighted>,
    words: mpsc::UnboundedReceiver<Word>,
    state: watch::Sender<StationState>,
    book: Book,
    started: Instant,
    claims: BTreeSet<Key>,
    /// The networks that this switch has had, by VNI: what is forgotten in one is told after it is gone.
    networks: BTreeMap<Vni, NetworkName>,
    /// One of them for each network.
    ports: BTreeMap<NetworkName, PortTag>,
    next_write: Instant,
}

impl Stations {
    pub(super) fn new(
        registry: Registry,
        store: Arc<dyn Store>,
        sighted: mpsc::UnboundedReceiver<Sighted>,
    ) -> Stations {
        let started = Instant::now();
        Stations {
            words: registry.follow_words(),
            book: Book::new(registry.node().clone()),
            registry,
            store,
            sighted,
            state: watch::Sender::default(),
            started,
            claims: BTreeSet::new(),
            networks: BTreeMap::new(),
            ports: BTreeMap::new(),
            next_write: started,
        }
    }

    pub(super) fn state(&self) -> watch::Receiver<StationState> {
        self.state.subscribe()
    }

    /// Publishes for as long as the process lives.
    pub(super) async fn run(mut self) {
        // What is in the store is known before anything is written.
        self.registry.settled().await;
        self.look_around();
        let surroundings = self.registry.surroundings_changed.clone();
        loop {
            let due = self.book.due().map(|due| (self.started + due).max(self.next_write));
            let waiting = !self.book.batch(self.now(), 0, 1).is_empty();
            let wake = if waiting { Some(self.next_write) } else { due };
            tokio::select! {
                sighted = self.sighted.recv() => match sighted {
                    Some(sighted) => self.sighted(sighted),
                    None => return,
                },
                Some((key, word)) = self.words.recv() => self.book.word(&key, word, self.now()),
                () = surroundings.notified() => self.look_around(),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            // In the order of arrival as far as it is known: the store's word of what was seen before comes first.
            while let Ok((key, word)) = self.words.try_recv() {
                self.book.word(&key, word, self.now());
            }
            while let Ok(sighted) = self.sighted.try_recv() {
                self.sighted(sighted);
            }
            self.look_at_endpoints();
            self.tell_claims();
            if Instant::now() >= self.next_write {
                let written = self.write().await;
                let pause = if written.is_err() { RETRY } else { PAUSE };
                if !matches!(written, Ok(false)) {
                    self.next_write = Instant::now() + pause;
                }
                self.tell_claims();
                self.report(written.err());
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Which ports are attached, and which networks they have.
    fn look_around(&mut self) {
        let ports = self.registry.own_ports();
        self.book.attached(ports.iter().map(|(port, _)| (port.network.clone(), port.at())).collect());
        self.networks.extend(ports.iter().filter_map(|(port, vni)| Some(((*vni)?, port.network.clone()))));
        self.ports = ports.iter().map(|(port, _)| (port.network.clone(), port.at())).collect();
    }

    fn look_at_endpoints(&mut self) {
        let seen: BTreeSet<Key> = self.book.keys().cloned().collect();
        self.book.endpoints(&self.registry.endpoint_macs(&seen));
    }

    fn key(&mut self, vni: Vni, mac: ofctl::MacAddr) -> Option<Key> {
        if !self.networks.contains_key(&vni) {
            // The switch was faster with a new port than the word of it.
            self.look_around();
        }
        Some((self.networks.get(&vni)?.clone(), mac))
    }

    fn sighting(&mut self, sight: Sight, was_remote: bool) -> Option<Sighting> {
        let Sight { vni, mac, at, addresses } = sight;
        Some(Sighting { key: self.key(vni, mac)?, at, addresses, was_remote })
    }

    fn sighted(&mut self, sighted: Sighted) {
        let now = self.now();
        match sighted {
            Sighted::All(sights) => {
                let sightings = sights.into_iter().filter_map(|sight| self.sighting(sight, false)).collect();
                self.book.listed(sightings, now);
            }
            Sighted::Learned { sight, was_remote } => {
                if let Some(sighting) = self.sighting(sight, was_remote) {
                    debug!(mac = %sighting.key.1, port = ?sighting.at, was_remote, "learned");
                    self.book.learned(sighting);
                }
            }
            Sighted::Forgotten { vni, mac } => {
                if let Some(key) = self.key(vni, mac) {
                    self.book.forgotten(&key, now);
                }
            }
        }
    }

    /// Tells the plan what this switch has seen and the store does not know.
    fn tell_claims(&mut self) {
        let claims = self.book.claims();
        let came = claims.difference(&self.claims).map(|(network, mac)| Change::Claim(network.clone(), *mac));
        let went =
            self.claims.difference(&claims).map(|(network, mac)| Change::Unclaim(network.clone(), *mac));
        let changes: Vec<Change> = came.chain(went).collect();
        self.registry.claim(changes);
        self.claims = claims;
    }

    /// Writes what is due; tells whether anything was.
    async fn write(&mut self) -> Result<bool, StoreError> {
        let batch = self.book.batch(self.now(), now(), BATCH);
        if batch.is_empty() {
            return Ok(false);
        }
        let (mut guards, mut writes, mut attempted) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut unchanged = Vec::new();
        let current = join_all(batch.iter().map(|entry| async {
            let (network, mac) = entry.key();
            match entry.before() {
                None => Ok(None),
                Some(_) => self.store.get(&keys::station(&network, mac)).await,
            }
        }))
        .await;
        for (entry, current) in batch.into_iter().zip(current) {
            let (network, mac) = entry.key();
            let key = keys::station(&network, mac);
            let current = current?;
            let there = current.as_ref().and_then(|current| read_station(&current.value));
            if there.as_ref() != entry.before() {
                self.book.word(&entry.key(), there, self.now());
                continue;
            }
            unchanged.push(match current {
                Some(current) => Guard::Unchanged(key.clone(), current.revision),
                None => Guard::Absent(key.clone()),
            });
            match &entry {
                Entry::Put { station, .. } => {
                    // Without a port the switch learns nothing, whichever of them it was.
                    let at = station.at.as_ref().or_else(|| self.ports.get(&network));
                    guards.extend(at.map(|at| keys::port(&station.node, at)));
                    writes.push(put_station(station));
                }
                Entry::Delete { .. } => writes.push(Write::Delete(key)),
            }
            attempted.push(entry);
        }
        if attempted.is_empty() {
            return Ok(true);
        }
        let guards = guards.into_iter().map(Guard::Present).chain(unchanged).collect();
        match self.store.commit(guards, writes).await? {
            TxnOutcome::Committed(_) => {
                debug!(stations = attempted.len(), "stations published");
                self.book.written(&attempted, self.now());
            }
            TxnOutcome::Conflict(entries) => {
                // Another switch was faster, or a port was detached, which the mirror will tell.
                for entry in attempted {
                    let (network, mac) = entry.key();
                    let key = keys::station(&network, mac);
                    let there = entries.iter().find(|other| other.key == key);
                    let there = there.and_then(|there| read_station(&there.value));
                    self.book.word(&entry.key(), there, self.now());
                }
            }
        }
        Ok(true)
    }

    fn report(&self, failed: Option<StoreError>) {
        let state = StationState {
            fought_over: self.book.fought_over(),
            of_endpoints: self.book.of_endpoints(self.now()),
            crowded: self.book.crowded(),
            problem: failed.map(|error| error.to_string()),
        };
        self.state.send_if_modified(|before| {
            let differs = *before != state;
            if differs {
                for ((network, mac), node) in &state.fought_over {
                    warn!(%network, %mac, other = %node, "a MAC moves to and fro between switches");
                }
                *before = state;
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests;
