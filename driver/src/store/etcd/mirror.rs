//! Follows a prefix: a snapshot, a watch from the revision after it, and the same watch again after interruptions.
//!
//! What was seen is known by the cluster's id and a revision. After an interruption a read *at* that revision tells
//! whether the history since is still to be had: etcd refuses it if it was compacted, and if the cluster never came
//! that far, which is so after a restore from a backup. Only then is a new snapshot needed.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Error, EventType, GetOptions, WatchOptions, WatchResponse};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::connection::{Connection, PROBE_INTERVAL};
use super::fault::{self, Fault};
use super::{Entry, Etcd, MirrorEvent, entry, pages};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Nothing changes until somebody has corrected a setting.
const PAUSE_IF_REFUSED: Duration = Duration::from_secs(5);

/// How far a mirror has come.
#[derive(Clone, Copy)]
struct Seen {
    cluster: u64,
    revision: u64,
}

struct Mirror {
    store: Arc<Etcd>,
    prefix: String,
    events: mpsc::Sender<MirrorEvent>,
    seen: Option<Seen>,
    /// What `Offline` was told with, until the store is back.
    offline: Option<Fault>,
    pause: Duration,
    /// The watch has answered since the last connection was made.
    established: bool,
}

/// Why a session with one connection ended.
enum End {
    /// The reader is gone.
    Unread,
    Fault(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Fault(error.into())
    }
}

/// Runs until the receiver is dropped.
pub(super) async fn follow(store: Arc<Etcd>, prefix: String, events: mpsc::Sender<MirrorEvent>) {
    let reader = events.clone();
    let mirror =
        Mirror { store, prefix, events, seen: None, offline: None, pause: FIRST_PAUSE, established: false };
    tokio::select! {
        () = reader.closed() => {}
        () = mirror.run() => {}
    }
}

impl Mirror {
    async fn run(mut self) {
        loop {
            let deadline = Instant::now() + self.store.connections.call_timeout();
            let fault = match self.store.connections.current(deadline).await {
                Err(fault) => fault,
                Ok(connection) => match self.session(connection.clone()).await {
                    End::Unread => return,
                    End::Fault(Fault::NoHistory) => {
                        self.seen = None;
                        continue;
                    }
                    End::Fault(fault) => {
                        // Also when refused: the next connection authenticates again.
                        self.store.connections.give_up(&connection);
                        fault
                    }
                },
            };
            // The end of a connection is not yet the end of the store: another member may be there, or a renewed
            // token may do.
            if std::mem::take(&mut self.established) {
                tracing::debug!(prefix = self.prefix, ?fault, "a watch ended");
                continue;
            }
            if self.tell_offline(fault).await.is_err() {
                return;
            }
            tokio::time::sleep(jittered(self.pause)).await;
        }
    }

    async fn tell_offline(&mut self, fault: Fault) -> Result<(), End> {
        let told = self.offline.as_ref().map(std::mem::discriminant);
        let is_news = match &fault {
            Fault::NotSent(_) | Fault::Lost(_) => !self.offline.as_ref().is_some_and(Fault::is_of_connection),
            other => told != Some(std::mem::discriminant(other)),
        };
        self.pause = match &fault {
            Fault::Refused { .. } | Fault::Unusable { .. } => PAUSE_IF_REFUSED,
            _ => (self.pause * 2).min(LONGEST_PAUSE),
        };
        if is_news {
            let error = fault.clone().into_error(self.store.name());
            tracing::warn!(prefix = self.prefix, "{error}");
            self.send(MirrorEvent::Offline(error)).await?;
        }
        self.offline = Some(fault);
        Ok(())
    }

    async fn send(&self, event: MirrorEvent) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Unread)
    }

    /// Catches up and follows, on one connection.
    async fn session(&mut self, connection: Connection) -> End {
        match self.follow_on(connection).await {
            Err(end) => end,
        }
    }

    async fn follow_on(&mut self, mut connection: Connection) -> Result<std::convert::Infallible, End> {
        let limit = self.store.connections.call_timeout();
        let late = |_| Fault::Lost(format!("no answer in {limit:.1?}"));
        let seen = match self.seen {
            Some(seen) if seen.cluster == connection.cluster => {
                timeout(limit, self.is_to_be_had(&mut connection, seen.revision)).await.map_err(late)??;
                if self.offline.is_some() {
                    self.send(MirrorEvent::Online).await?;
                }
                seen
            }
            _ => {
                let read = pages(connection.clone(), &self.prefix);
                let (revision, entries) = timeout(limit, read).await.map_err(late)??;
                self.send(MirrorEvent::Snapshot(entries)).await?;
                Seen { cluster: connection.cluster, revision: revision.0 }
            }
        };
        self.seen = Some(seen);
        self.offline = None;

        let options = WatchOptions::new()
            .with_prefix()
            .with_progress_notify()
            .with_start_revision(seen.revision as i64 + 1);
        let mut watch = connection.watch.clone();
        let opening = watch.watch(self.prefix.as_str(), Some(options));
        let mut stream = timeout(limit, opening).await.map_err(late)??;
        let mut probes = interval_at(Instant::now() + PROBE_INTERVAL, PROBE_INTERVAL);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.message() => {
                    let Some(response) = message? else {
                        return Err(Fault::Lost("etcd ended the watch".into()).into());
                    };
                    self.take(response).await?;
                    (self.established, self.pause) = (true, FIRST_PAUSE);
                }
                _ = probes.tick() => {
                    timeout(limit, connection.probe()).await.map_err(late)??;
                }
                () = self.store.connections.until_given_up(&connection) => {
                    return Err(Fault::Lost("a call found the connection dead".into()).into());
                }
            }
        }
    }

    /// Fails with [`Fault::NoHistory`] if what happened after this revision cannot be told.
    async fn is_to_be_had(&self, connection: &mut Connection, revision: u64) -> Result<(), Error> {
        let at =
            GetOptions::new().with_revision(revision as i64).with_prefix().with_limit(1).with_keys_only();
        connection.kv.get(self.prefix.as_str(), Some(at)).await.map(|_| ())
    }

    async fn take(&mut self, response: WatchResponse) -> Result<(), End> {
        if response.compact_revision() > 0 {
            return Err(Fault::NoHistory.into());
        }
        if response.canceled() {
            let reason = response.cancel_reason();
            return Err(fault::of_message(reason).unwrap_or_else(|| Fault::Lost(reason.to_owned())).into());
        }
        let mut changes: Vec<(String, Option<Entry>)> = Vec::with_capacity(response.events().len());
        let mut latest = None;
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            latest = latest.max(Some(kv.mod_revision() as u64));
            match (event.event_type(), entry(kv)) {
                (EventType::Put, Some(entry)) => changes.push((entry.key.clone(), Some(entry))),
                (EventType::Delete, Some(entry)) => changes.push((entry.key, None)),
                (_, None) => tracing::warn!(prefix = self.prefix, "a key that is not UTF-8 is left alone"),
            }
        }
        if latest.is_none() && !response.created() {
            // A progress notification: nothing is missing up to its header's revision. A header with events may be
            // ahead of them while the watch is catching up.
            latest = response.header().map(|header| header.revision() as u64);
        }
        if !changes.is_empty() {
            self.send(MirrorEvent::Changes(changes)).await?;
        }
        if let (Some(seen), Some(latest)) = (&mut self.seen, latest) {
            seen.revision = seen.revision.max(latest);
        }
        Ok(())
    }
}

/// Between half and all of a pause: a thousand agents lose one etcd at the same moment.
pub(super) fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1000;
    pause / 2 + pause * random as u32 / 2000
}
