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

/// How long a write that nobody awaits may stay in the journal when no commit takes it along.
const LINGER: Duration = Duration::from_secs(30);

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

const TABLES: [Table; 6] =
    [Table::Networks, Table::Endpoints, Table::Leases, Table::Pools, Table::Cache, Table::Meta];

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
        let journal = file.journal(path, |txn, batch| {
            for write in decode(batch) {
                apply(txn, &write)?;
            }
            Ok(())
        })?;
        let writer = Arc::new(Writer::start(file.clone(), Some(journal), LINGER)?);
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

    /// Makes all writes, or none; ready when they are on the disk. Callers at the same time share an fsync.
    ///
    /// The writes are queued by the call itself, so that the order of calls is the order of writes, and happen even
    /// if the future is dropped.
    pub fn commit(
        &self,
        writes: Vec<LedgerWrite>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        self.writer.send(LedgerJob { writes, answer: Some(answer) });
        let writer = self.writer.clone();
        async move { answered.await.unwrap_or_else(|_| Err(writer.gone())) }
    }

    /// Makes the writes some time soon, after all that were asked for before and before all that are asked for later.
    /// Then they survive the process, and with the next commit, or half a minute later, the host.
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
        self.writes.iter().try_for_each(|write| apply(txn, write))
    }

    fn record(&self, journal: &mut Vec<u8>) {
        self.writes.iter().for_each(|write| encode(write, journal));
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

fn apply(txn: &WriteTransaction, write: &LedgerWrite) -> Result<(), redb::Error> {
    match write {
        LedgerWrite::Put(table, key, value) => {
            txn.open_table(table.definition())?.insert(key.as_str(), value.as_slice())?;
        }
        LedgerWrite::Delete(table, key) => {
            txn.open_table(table.definition())?.remove(key.as_str())?;
        }
    }
    Ok(())
}

/// A write in the journal: the table's place in [`TABLES`], the key, and the value if it is a put; each of the two
/// after its length, a little-endian u32, and a delete with `u32::MAX` for the value's.
fn encode(write: &LedgerWrite, into: &mut Vec<u8>) {
    let (LedgerWrite::Put(table, key, _) | LedgerWrite::Delete(table, key)) = write;
    into.push(*table as u8);
    into.extend_from_slice(&(key.len() as u32).to_le_bytes());
    into.extend_from_slice(key.as_bytes());
    match write {
        LedgerWrite::Put(_, _, value) => {
            into.extend_from_slice(&(value.len() as u32).to_le_bytes());
            into.extend_from_slice(value);
        }
        LedgerWrite::Delete(..) => into.extend_from_slice(&u32::MAX.to_le_bytes()),
    }
}

/// The writes of a journal record, as far as they make sense: its checksum has been found good.
fn decode(mut bytes: &[u8]) -> Vec<LedgerWrite> {
    let mut writes = Vec::new();
    while let Some(write) = decode_one(&mut bytes) {
        writes.push(write);
    }
    writes
}

fn decode_one(bytes: &mut &[u8]) -> Option<LedgerWrite> {
    let table = *TABLES.get(usize::from(*bytes.split_off_first()?))?;
    let length = take_length(bytes)?;
    let key = String::from_utf8(bytes.split_off(..length as usize)?.to_vec()).ok()?;
    Some(match take_length(bytes)? {
        u32::MAX => LedgerWrite::Delete(table, key),
        length => LedgerWrite::Put(table, key, bytes.split_off(..length as usize)?.to_vec()),
    })
}

fn take_length(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: Table, key: &str, value: &[u8]) -> LedgerWrite {
        LedgerWrite::Put(table, key.into(), value.into())
    }

    #[test]
    fn the_journal_knows_every_write_again() {
        for (place, table) in TABLES.into_iter().enumerate() {
            assert_eq!(table as usize, place);
        }
        let writes = vec![
            put(Table::Meta, "", b""),
            put(Table::Cache, "/käse", &[0, 255, 1]),
            LedgerWrite::delete(Table::Networks, "n"),
            put(Table::Pools, "p", b"1"),
        ];
        let mut bytes = Vec::new();
        writes.iter().for_each(|w| encode(w, &mut bytes));
        assert_eq!(decode(&bytes), writes);
        for at in 0..bytes.len() {
            let some = decode(&bytes[..at]);
            assert_eq!(some, writes[..some.len()]);
        }
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

    /// A copy of the files is what a kill would leave.
    #[tokio::test]
    async fn what_is_written_behind_survives_a_kill_in_order_with_commits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let ledger = Ledger::open(&path).unwrap();
        let left_after_kill = |name: &str| {
            let copy = dir.path().join(name);
            std::fs::copy(&path, &copy).unwrap();
            let journal = dir.path().join("ledger.redb.journal");
            std::fs::copy(journal, dir.path().join(format!("{name}.journal"))).unwrap();
            Ledger::open(&copy).unwrap().load(Table::Cache).unwrap()
        };
        let seen = async |key: &str, value: &[u8]| {
            let row = (key.to_owned(), value.to_vec());
            while !ledger.load(Table::Cache).unwrap().contains(&row) {
                tokio::task::yield_now().await;
            }
        };
        ledger.commit(vec![put(Table::Cache, "a", b"1")]).await.unwrap();
        ledger.write_behind(vec![put(Table::Cache, "a", b"2"), put(Table::Cache, "b", b"2")]);
        seen("b", b"2").await;
        ledger.write_behind(vec![LedgerWrite::delete(Table::Cache, "b")]);
        ledger.write_behind(vec![put(Table::Cache, "c", b"3")]);
        seen("c", b"3").await;
        // One more that is seen: the one before it is in the journal for certain.
        ledger.write_behind(vec![put(Table::Cache, "d", b"4")]);
        seen("d", b"4").await;
        let left = left_after_kill("first");
        let value = |rows: &[(String, Vec<u8>)], key: &str| {
            rows.iter().find(|(k, _)| k == key).map(|(_, v)| String::from_utf8(v.clone()).unwrap())
        };
        assert_eq!(value(&left, "a").as_deref(), Some("2"));
        assert_eq!(value(&left, "b"), None);
        assert_eq!(value(&left, "c").as_deref(), Some("3"));
        // A commit is newer than all that was journalled before it, even if the journal still had that.
        let journal = std::fs::read(dir.path().join("ledger.redb.journal")).unwrap();
        assert!(!journal.is_empty());
        ledger.commit(vec![put(Table::Cache, "a", b"5")]).await.unwrap();
        drop(ledger);
        std::fs::write(dir.path().join("ledger.redb.journal"), journal).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(value(&ledger.load(Table::Cache).unwrap(), "a").as_deref(), Some("5"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn commits_of_many_callers_keep_each_callers_order() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.redb")).unwrap();
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..16 {
            let ledger = ledger.clone();
            callers.spawn(async move {
                let key = format!("{caller:02}");
                for n in 0u32..30 {
                    ledger.write_behind(vec![put(Table::Leases, &key, b"overtaken")]);
                    ledger.commit(vec![put(Table::Leases, &key, &n.to_be_bytes())]).await.unwrap();
                    let mine = ledger.load(Table::Leases).unwrap().into_iter().find(|(k, _)| *k == key);
                    assert_eq!(mine.unwrap().1, n.to_be_bytes());
                }
            });
        }
        callers.join_all().await;
        assert_eq!(ledger.load(Table::Leases).unwrap().len(), 16);
    }

    #[tokio::test]
    async fn json_goes_in_and_comes_out_and_a_wrong_row_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.redb")).unwrap();
        let pair = ("blue".to_string(), 7u32);
        ledger.commit(vec![LedgerWrite::put_json(Table::Networks, "n", &pair)]).await.unwrap();
        assert_eq!(ledger.load_json(Table::Networks).unwrap(), vec![("n".to_string(), pair)]);
        let error = ledger.load_json::<u32>(Table::Networks).unwrap_err().to_string();
        assert!(error.contains("Networks n") && error.contains("ledger.redb"), "{error}");
    }

    fn refusal(path: &Path) -> String {
        match Ledger::open(path) {
            Err(e @ StoreError::Unusable { .. }) => e.to_string(),
            Err(e) => panic!("{e:?}"),
            Ok(_) => panic!("{} was opened", path.display()),
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let ledger = Ledger::open(&path).unwrap();
        let text = refusal(&path);
        assert!(text.contains("ledger.redb") && text.contains("another process"), "{text}");
        drop(ledger);

        let not_redb = dir.path().join("not.redb");
        std::fs::write(&not_redb, b"{\"some\": \"json\"}".repeat(1000)).unwrap();
        let text = refusal(&not_redb);
        assert!(text.contains("not.redb") && text.contains("move it away"), "{text}");

        let whole = std::fs::read(&path).unwrap();
        let cut = dir.path().join("cut.redb");
        std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
        let text = refusal(&cut);
        assert!(text.contains("cut.redb") && text.contains("move it away"), "{text}");

        let text = refusal(&path.join("below"));
        assert!(text.contains("ledger.redb/below") && text.contains("--state-dir"), "{text}");
    }

    #[test]
    fn a_file_of_a_later_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        drop(Ledger::open(&path).unwrap());
        let db = redb::Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(TableDefinition::<&str, u64>::new("format")).unwrap().insert("version", 2).unwrap();
        txn.commit().unwrap();
        drop(db);
        let text = refusal(&path);
        assert!(text.contains("version 2") && text.contains("later"), "{text}");
    }

    #[test]
    fn nobody_else_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/ledger.redb");
        let _ledger = Ledger::open(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("state/ledger.redb.journal")), 0o600);
        assert_eq!(mode(&dir.path().join("state")), 0o700);
    }
}
