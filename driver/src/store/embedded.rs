//! The store of a single host: a file of its own, no server.
//!
//! The same transactions, revisions, watches and presence as etcd, so that nothing above knows which one it has. One
//! process owns the file; watches are in that process. Commits are durable when they return and share fsyncs (see
//! [`file`](super::file)).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::file::{Job, StoreFile, Writer};
use super::interface::checked_writes;
use super::{Entry, Guard, MirrorEvent, Presence, Revision, Store, StoreError, TxnOutcome, Write};

/// Key to revision and value.
const ENTRIES: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("entries");
/// Keys that go with this process, each with the token of the [`Presence`] that holds it.
const PRESENCE: TableDefinition<&str, u64> = TableDefinition::new("presence");
/// Numbers of the store as a whole.
const STATE: TableDefinition<&str, u64> = TableDefinition::new("state");
const REVISION: &str = "revision";

/// A mirror that falls behind by more transactions than this starts again with a snapshot.
const FEED: usize = 1024;
/// Events that wait for a mirror's reader before the mirror's task does.
const MIRROR_QUEUE: usize = 64;
/// Only presence is not awaited, and that need not outlive the process.
const LINGER: Duration = Duration::from_secs(1);

/// A [`Store`] in a local file.
pub struct Embedded {
    writer: Writer<EmbeddedJob>,
    file: StoreFile,
    feed: broadcast::Sender<Arc<Committed>>,
    next_token: AtomicUsize,
}

/// What one transaction changed.
struct Committed {
    revision: Revision,
    changes: Vec<(String, Option<Entry>)>,
}

impl Embedded {
    /// Opens the store's file, or makes it. Keys that an earlier process kept present are gone.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if the file is another process's, damaged, or cannot be read and written.
    pub fn open(path: &Path) -> Result<Arc<Embedded>, StoreError> {
        let file = StoreFile::open("embedded store", path)?;
        file.write(|txn| {
            let mut stale = Vec::new();
            for row in txn.open_table(PRESENCE)?.iter()? {
                stale.push(row?.0.value().to_owned());
            }
            txn.open_table(ENTRIES)?;
            let mut edit = Edit::begin(txn)?;
            for key in stale {
                edit.write(txn, Write::Delete(key))?;
            }
            edit.finish(txn)?;
            Ok(())
        })?;
        let writer = Writer::start(file.clone(), None, LINGER)?;
        let feed = broadcast::Sender::new(FEED);
        Ok(Arc::new(Embedded { writer, file, feed, next_token: AtomicUsize::new(1) }))
    }

    /// Everything under a prefix, and the revision it is of.
    fn snapshot(&self, prefix: &str) -> Result<(Revision, Vec<Entry>), StoreError> {
        self.file.read(|txn| {
            let revision = txn.open_table(STATE)?.get(REVISION)?.map_or(0, |r| r.value());
            let mut entries = Vec::new();
            for row in txn.open_table(ENTRIES)?.range(prefix..)? {
                let (key, value) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                entries.push(entry(key.value(), value.value()));
            }
            Ok((Revision(revision), entries))
        })
    }
}

fn entry(key: &str, (revision, value): (u64, &[u8])) -> Entry {
    Entry { key: key.to_owned(), value: value.to_owned(), revision: Revision(revision) }
}

#[async_trait]
impl Store for Embedded {
    fn describe(&self) -> String {
        self.file.name.to_string()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.file.read(|txn| Ok(txn.open_table(ENTRIES)?.get(key)?.map(|found| entry(key, found.value()))))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        Ok(self.snapshot(prefix)?.1)
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<TxnOutcome, StoreError> {
        let writes = checked_writes(&self.file.name, &guards, writes)?;
        let (answer, answered) = oneshot::channel();
        let work = Work::Txn { guards, writes, answer };
        self.writer.send(EmbeddedJob { work, made: None, feed: self.feed.clone() });
        answered.await.unwrap_or_else(|_| Err(self.writer.gone()))
    }

    fn mirror(self: Arc<Self>, prefix: String) -> mpsc::Receiver<MirrorEvent> {
        let (events, receiver) = mpsc::channel(MIRROR_QUEUE);
        // Before the snapshot: what is committed in between is in both and told by its revision.
        let feed = self.feed.subscribe();
        tokio::spawn(follow(self, prefix, feed, events));
        receiver
    }

    fn keep_present(self: Arc<Self>, key: String, value: Vec<u8>, _ttl: Duration) -> Presence {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed) as u64;
        let work = Work::Present { key: key.clone(), value, token };
        self.writer.send(EmbeddedJob { work, made: None, feed: self.feed.clone() });
        Presence(Box::new(Held { store: self, key, token }))
    }
}

/// Follows the feed for one mirror.
async fn follow(
    store: Arc<Embedded>,
    prefix: String,
    mut feed: broadcast::Receiver<Arc<Committed>>,
    events: mpsc::Sender<MirrorEvent>,
) {
    'snapshot: loop {
        let seen = match store.snapshot(&prefix) {
            Ok((revision, entries)) => {
                if events.send(MirrorEvent::Snapshot(entries)).await.is_err() {
                    return;
                }
                revision
            }
            // A file does not come back by itself; the mirror's end is the reader's signal.
            Err(e) => {
                let _ = events.send(MirrorEvent::Offline(e)).await;
                return;
            }
        };
        loop {
            let committed = tokio::select! {
                () = events.closed() => return,
                committed = feed.recv() => committed,
            };
            match committed {
                Ok(committed) if committed.revision <= seen => {}
                Ok(committed) => {
                    let ours = committed.changes.iter().filter(|(key, _)| key.starts_with(&prefix));
                    let changes: Vec<_> = ours.cloned().collect();
                    if !changes.is_empty() && events.send(MirrorEvent::Changes(changes)).await.is_err() {
                        return;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => continue 'snapshot,
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

/// Lets a key go when dropped.
struct Held {
    store: Arc<Embedded>,
    key: String,
    token: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let work = Work::Absent { key: std::mem::take(&mut self.key), token: self.token };
        self.store.writer.send(EmbeddedJob { work, made: None, feed: self.store.feed.clone() });
    }
}

struct EmbeddedJob {
    work: Work,
    /// What `apply` did, for `done`.
    made: Option<(TxnOutcome, Committed)>,
    feed: broadcast::Sender<Arc<Committed>>,
}

enum Work {
    Txn { guards: Vec<Guard>, writes: Vec<Write>, answer: oneshot::Sender<Result<TxnOutcome, StoreError>> },
    Present { key: String, value: Vec<u8>, token: u64 },
    Absent { key: String, token: u64 },
}

impl Job for EmbeddedJob {
    fn apply(&mut self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        let mut edit = Edit::begin(txn)?;
        let mut conflict = None;
        match &mut self.work {
            Work::Txn { guards, writes, .. } => {
                conflict = check(txn, guards)?;
                if conflict.is_none() {
                    for write in std::mem::take(writes) {
                        edit.write(txn, write)?;
                    }
                }
            }
            Work::Present { key, value, token } => {
                edit.write(txn, Write::Put(key.clone(), std::mem::take(value)))?;
                txn.open_table(PRESENCE)?.insert(key.as_str(), *token)?;
            }
            Work::Absent { key, token } => {
                let held = txn.open_table(PRESENCE)?.get(key.as_str())?.map(|t| t.value());
                if held == Some(*token) {
                    edit.write(txn, Write::Delete(key.clone()))?;
                }
            }
        }
        let committed = edit.finish(txn)?;
        let outcome = conflict.map_or(TxnOutcome::Committed(committed.revision), TxnOutcome::Conflict);
        self.made = Some((outcome, committed));
        Ok(())
    }

    fn durable(&self) -> bool {
        matches!(self.work, Work::Txn { .. })
    }

    fn done(self, result: Result<(), StoreError>) {
        let answered = result.map(|()| {
            let (outcome, committed) = self.made.expect("set by apply, which came before a commit");
            if !committed.changes.is_empty() {
                // No mirror at the moment is no error.
                let _ = self.feed.send(Arc::new(committed));
            }
            outcome
        });
        if let Work::Txn { answer, .. } = self.work {
            // The caller may have given up waiting; the transaction stands.
            let _ = answer.send(answered);
        }
    }
}

/// The entries of the guards' keys if a guard does not hold.
fn check(txn: &WriteTransaction, guards: &[Guard]) -> Result<Option<Vec<Entry>>, redb::Error> {
    let entries = txn.open_table(ENTRIES)?;
    let mut found: Vec<Entry> = Vec::new();
    let mut all_hold = true;
    for guard in guards {
        let (Guard::Absent(key) | Guard::Unchanged(key, _) | Guard::Present(key)) = guard;
        let now = entries.get(key.as_str())?.map(|v| entry(key, v.value()));
        all_hold &= match (guard, &now) {
            (Guard::Absent(_), now) => now.is_none(),
            (Guard::Present(_), now) => now.is_some(),
            (Guard::Unchanged(_, revision), now) => now.as_ref().is_some_and(|e| e.revision == *revision),
        };
        if let Some(now) = now
            && !found.iter().any(|e| e.key == now.key)
        {
            found.push(now);
        }
    }
    Ok(if all_hold { None } else { Some(found) })
}

/// The changes of one transaction, all of one revision.
struct Edit {
    before: u64,
    changes: Vec<(String, Option<Entry>)>,
}

impl Edit {
    fn begin(txn: &WriteTransaction) -> Result<Edit, redb::Error> {
        let before = txn.open_table(STATE)?.get(REVISION)?.map_or(0, |r| r.value());
        Ok(Edit { before, changes: Vec::new() })
    }

    fn write(&mut self, txn: &WriteTransaction, write: Write) -> Result<(), redb::Error> {
        let mut entries = txn.open_table(ENTRIES)?;
        // An ordinary write takes a key out of the hands of whoever kept it present, as it does in etcd.
        let mut presence = txn.open_table(PRESENCE)?;
        match write {
            Write::Put(key, value) => {
                let revision = self.before + 1;
                entries.insert(key.as_str(), (revision, value.as_slice()))?;
                presence.remove(key.as_str())?;
                let entry = Entry { key: key.clone(), value, revision: Revision(revision) };
                self.changes.push((key, Some(entry)));
            }
            Write::Delete(key) => {
                let existed = entries.remove(key.as_str())?.is_some();
                presence.remove(key.as_str())?;
                if existed {
                    self.changes.push((key, None));
                }
            }
        }
        Ok(())
    }

    fn finish(self, txn: &WriteTransaction) -> Result<Committed, redb::Error> {
        let revision = self.before + u64::from(!self.changes.is_empty());
        txn.open_table(STATE)?.insert(REVISION, revision)?;
        Ok(Committed { revision: Revision(revision), changes: self.changes })
    }
}
