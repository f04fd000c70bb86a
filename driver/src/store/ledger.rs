//! What this host owes Docker, in a local file.
//!
//! Docker never replays networks and endpoints, so whatever it was told has to be found again after a crash: a
//! handler answers only when [`Ledger::commit`] has returned, and then the answer's grounds are on the disk. The file
//! also keeps the last view of the cluster ([`Table::Cache`]), so that the agent starts with the store away; that is
//! written by [`Ledger::write_behind`], which costs no fsync.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::StoreError;
use super::file::{Job, StoreFile, Writer};

/// How long a write that nobody awaits may stay out of the file when no commit takes it along.
const LINGER: Duration = Duration::from_secs(1);

/// The ledger's tables; each maps a key to bytes, JSON by convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Docker's networks, by Docker's NetworkID.
    Networks,
    /// Docker's endpoints, by EndpointID.
    Endpoints,
    /// Addresses handed to Docker.
    Leases,
    /// Pools handed to Docker, by PoolID.
    Pools,
    /// The last known view of the cluster, by the store's keys.
    Cache,
    /// Facts of the ledger itself.
    Meta,
}

impl Table {
    fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(match self {
            Table::Networks => "networks",
            Table::Endpoints => "endpoints",
            Table::Leases => "leases",
            Table::Pools => "pools",
            Table::Cache => "cache",
            Table::Meta => "meta",
        })
    }
}

/// One change of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerWrite {
    /// Sets a key.
    Put(Table, String, Vec<u8>),
    /// Removes a key; one that does not exist is no error.
    Delete(Table, String),
}

impl LedgerWrite {
    /// Sets a key to a value's JSON.
    ///
    /// # Panics
    /// If the value has no JSON form (a map whose keys are not strings): a mistake in the type, not in its content.
    pub fn put_json<T: Serialize>(table: Table, key: impl Into<String>, value: &T) -> LedgerWrite {
        let json = serde_json::to_vec(value).expect("the ledger's types have a JSON form");
        LedgerWrite::Put(table, key.into(), json)
    }

    /// Removes a key.
    pub fn delete(table: Table, key: impl Into<String>) -> LedgerWrite {
        LedgerWrite::Delete(table, key.into())
    }
}

/// The open ledger. Clones share it; the last one to go waits until everything is on the disk.
#[derive(Clone)]
pub struct Ledger {
    // Before the file: joins the thread, which holds the file too, so that dropping a ledger closes its file.
    writer: Arc<Writer<LedgerJob>>,
    file: StoreFile,
}

impl Ledger {
    /// Opens the ledger's file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if the file is another process's, damaged, or cannot be read and written.
    pub fn open(path: &Path) -> Result<Ledger, StoreError> {
        let file = StoreFile::open("ledger", path)?;
        let writer = Arc::new(Writer::start(file.clone(), LINGER)?);
        Ok(Ledger { writer, file })
    }

    /// Everything in a table, by key.
    pub fn load(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.file.read(|txn| {
            let table = match txn.open_table(table.definition()) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(e) => return Err(e.into()),
            };
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                rows.push((key.value().to_owned(), value.value().to_owned()));
            }
            Ok(rows)
        })
    }

    /// Everything in a table whose values are JSON, by key.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] that names the key whose value is not a `T`.
    pub fn load_json<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(String, T)>, StoreError> {
        let parse = |(key, value): (String, Vec<u8>)| match serde_json::from_slice(&value) {
            Ok(value) => Ok((key, value)),
            Err(e) => Err(StoreError::Unusable {
                store: self.file.name.to_string(),
                reason: format!("{table:?} {key} does not parse: {e}"),
                remedy: "run the sluice that wrote it, or a later one",
            }),
        };
        self.load(table)?.into_iter().map(parse).collect()
    }

    /// Makes all writes, or none, and returns when they are on the disk. Callers at the same time share an fsync.
    ///
    /// The writes are queued by the first poll and happen even if the future is dropped after it.
    pub async fn commit(&self, writes: Vec<LedgerWrite>) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.writer.send(LedgerJob { writes, answer: Some(answer) });
        answered.await.unwrap_or_else(|_| Err(self.writer.gone()))
    }

    /// Makes the writes some time soon, after all that were asked for before and before all that are asked for later.
    /// They are in the file with the next commit, or within a second.
    pub fn write_behind(&self, writes: Vec<LedgerWrite>) {
        self.writer.send(LedgerJob { writes, answer: None });
    }
}

struct LedgerJob {
    writes: Vec<LedgerWrite>,
    answer: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Job for LedgerJob {
    fn apply(&mut self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        for write in &self.writes {
            match write {
                LedgerWrite::Put(table, key, value) => {
                    txn.open_table(table.definition())?.insert(key.as_str(), value.as_slice())?;
                }
                LedgerWrite::Delete(table, key) => {
                    txn.open_table(table.definition())?.remove(key.as_str())?;
                }
            }
        }
        Ok(())
    }

    fn durable(&self) -> bool {
        self.answer.is_some()
    }

    fn done(self, result: Result<(), StoreError>) {
        if let Some(answer) = self.answer {
            // The caller may have given up waiting; the write stands.
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn put(table: Table, key: &str, value: &[u8]) -> LedgerWrite {
        LedgerWrite::Put(table, key.into(), value.into())
    }

    #[tokio::test]
    async fn rows_are_sorted_and_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/ledger.redb");
        let ledger = Ledger::open(&path).unwrap();
        ledger
            .commit(vec![
                put(Table::Leases, "b", &[0, 255]),
                put(Table::Leases, "a", b"1"),
                put(Table::Pools, "p", b""),
            ])
            .await
            .unwrap();
        ledger.commit(vec![LedgerWrite::delete(Table::Pools, "p")]).await.unwrap();
        drop(ledger);
        let ledger = Ledger::open(&path).unwrap();
        let leases = ledger.load(Table::Leases).unwrap();
        assert_eq!(leases, vec![("a".into(), b"1".to_vec()), ("b".into(), vec![0, 255])]);
        assert_eq!(ledger.load(Table::Pools).unwrap(), vec![]);
        assert_eq!(ledger.load(Table::Networks).unwrap(), vec![]);
    }
}
