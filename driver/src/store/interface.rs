//! What every store can do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

/// A point in the store's history. Each committed transaction has a later one than those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A key with its value, as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The transaction that wrote this value.
    pub revision: Revision,
}

/// What must hold for a transaction to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(String),
    /// The key exists, with a value written by this revision.
    Unchanged(String, Revision),
    /// The key exists, whatever its value.
    Present(String),
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(String, Vec<u8>),
    /// Removes a key; one that does not exist is no error.
    Delete(String),
}

/// The most guards, and the most writes, of one transaction: etcd's default `--max-txn-ops`. All stores keep to it, so
/// that what works with one works with the other.
pub const MAX_TXN_OPS: usize = 128;

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All guards held and all writes were made.
    Committed(Revision),
    /// A guard did not hold and nothing was written. The entries that the guards' keys have now, those that exist.
    Conflict(Vec<Entry>),
}

/// What a mirror of a prefix tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorEvent {
    /// Everything under the prefix. Whatever was there before and is not in it is gone. Sent first (after `Offline`,
    /// if the store is away at the start), and again when the history in between is not to be had.
    Snapshot(Vec<Entry>),
    /// What one or more transactions changed, in order. `None`: the key was removed.
    Changes(Vec<(String, Option<Entry>)>),
    /// The store does not answer; what was told before stays true as far as anyone knows. The mirror goes on trying.
    Offline(StoreError),
    /// The store answers again; what happened in between follows as changes.
    Online,
}

/// Why a store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, or no answer in time. Trying again may help.
    #[error("{store} does not answer ({reason}): is it running, and is the address right?")]
    Unavailable {
        /// Which store: its endpoints or its file.
        store: String,
        /// What the transport said.
        reason: String,
    },
    /// TLS or authentication failed. Trying again does not help.
    #[error("{store} refuses this agent ({reason}): check {remedy}")]
    Refused {
        /// Which store.
        store: String,
        /// What it said.
        reason: String,
        /// The settings to check.
        remedy: &'static str,
    },
    /// The file or its content is not usable.
    #[error("{store} cannot be used ({reason}): {remedy}")]
    Unusable {
        /// Which store.
        store: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl StoreError {
    /// True if the same call may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }
}

/// Checks a transaction's size and leaves one write for each key, the last: etcd refuses a key written twice.
pub(super) fn checked_writes(
    store: &str,
    guards: &[Guard],
    writes: Vec<Write>,
) -> Result<Vec<Write>, StoreError> {
    if guards.len() > MAX_TXN_OPS || writes.len() > MAX_TXN_OPS {
        return Err(StoreError::Unusable {
            store: store.into(),
            reason: format!(
                "a transaction of {} guards and {} writes, {MAX_TXN_OPS} of each are allowed",
                guards.len(),
                writes.len()
            ),
            remedy: "report this: the caller should have split it",
        });
    }
    let mut later = HashSet::new();
    let mut last: Vec<Write> = Vec::with_capacity(writes.len());
    for write in writes.into_iter().rev() {
        let (Write::Put(key, _) | Write::Delete(key)) = &write;
        if later.insert(key.clone()) {
            last.push(write);
        }
    }
    last.reverse();
    Ok(last)
}

/// Keeps a key alive while it exists; dropping it lets the key go.
pub struct Presence(#[expect(dead_code, reason = "held for its Drop")] pub(super) Box<dyn Send + Sync>);

/// A store of keys and values with transactions and watches.
///
/// Every call has its own deadline inside and ends; none waits for a store that is away.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Which store this is, for messages: never with a password.
    fn describe(&self) -> String;

    /// The entry of one key.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All entries whose key begins with the prefix, by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;

    /// Makes all writes if all guards hold, atomically and durably. At most [`MAX_TXN_OPS`] guards and as many
    /// writes. Of several writes to one key the last counts.
    ///
    /// After [`StoreError::Unavailable`] the transaction may still have been carried out: read, then decide.
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<TxnOutcome, StoreError>;

    /// Follows a prefix: a snapshot, then changes, for as long as the receiver lives. Reconnects, resumes, and sends
    /// a fresh snapshot when history was compacted, by itself.
    fn mirror(self: Arc<Self>, prefix: String) -> mpsc::Receiver<MirrorEvent>;

    /// Keeps a key in the store for as long as the guard and this process live: gone at most `ttl` after both are.
    /// Set again by itself when the store was away for longer.
    fn keep_present(self: Arc<Self>, key: String, value: Vec<u8>, ttl: Duration) -> Presence;
}
