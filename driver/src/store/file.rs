//! A redb file with one owner and one writing thread, under both the ledger and the embedded store.
//!
//! A disk makes some hundred to some ten thousand fsyncs a second, and each durable commit needs one. So the thread
//! takes every job that waits, makes them all in one redb transaction, commits it, and only then answers them:
//! callers that come at once share an fsync (group commit). Jobs of one sender are made in the order of sending.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Builder, Database, DatabaseError, Durability, ReadableTable, TableDefinition, WriteTransaction};

use super::StoreError;
use super::journal::Journal;

/// How a file's content is laid out. A file of a later version is refused rather than misread.
const FORMAT: u64 = 1;
const FORMAT_TABLE: TableDefinition<&str, u64> = TableDefinition::new("format");
/// In the same table: the number of the last journal record that is in a durable commit.
const FOLDED: &str = "journal";

/// More than any burst of container starts; bounds the memory of one redb transaction.
const LARGEST_BATCH: usize = 1024;

/// redb's own default of 1 GiB is for servers; a ledger is some megabytes.
const CACHE_BYTES: usize = 8 << 20;

/// A redb file and how messages call it.
#[derive(Clone)]
pub(super) struct StoreFile {
    pub(super) db: Arc<Database>,
    pub(super) name: Arc<str>,
}

impl StoreFile {
    /// Opens the file, or makes it (mode 0600, its directory 0700).
    pub(super) fn open(what: &str, path: &Path) -> Result<StoreFile, StoreError> {
        let name: Arc<str> = format!("{what} {}", path.display()).into();
        let failed = |e: io::Error| io_error(&name, "open it", &e);
        let dir: PathBuf = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.into(),
            _ => ".".into(),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        // Without this the file itself, with all that was acknowledged, may be gone after a power loss.
        File::open(&dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        let db =
            Builder::new().set_cache_size(CACHE_BYTES).create_file(file).map_err(|e| open_error(&name, e))?;
        let file = StoreFile { db: Arc::new(db), name };
        file.check_format()?;
        Ok(file)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.write(|txn| {
            let mut table = txn.open_table(FORMAT_TABLE)?;
            let found = table.get("version")?.map(|v| v.value());
            if found.is_none() {
                table.insert("version", FORMAT)?;
            }
            Ok(found)
        })?;
        match found {
            None | Some(FORMAT) => Ok(()),
            Some(other) => Err(StoreError::Unusable {
                store: self.name.to_string(),
                reason: format!("its format is version {other}, this sluice knows {FORMAT}"),
                remedy: "run the sluice that wrote it, or a later one",
            }),
        }
    }

    /// One durable transaction outside the writing thread, for opening.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || {
            let txn = self.db.begin_write()?;
            let made = work(&txn)?;
            txn.commit()?;
            Ok(made)
        };
        run().map_err(|e| redb_error(&self.name, "write", &e))
    }

    /// Opens the file's journal, and makes what a killed process left in it part of the file.
    pub(super) fn journal(
        &self,
        path: &Path,
        mut replay: impl FnMut(&WriteTransaction, &[u8]) -> Result<(), redb::Error>,
    ) -> Result<Journal, StoreError> {
        let mut path = path.as_os_str().to_owned();
        path.push(".journal");
        let failed = |e: io::Error| io_error(&self.name, "open its journal", &e);
        let (mut journal, records) = Journal::open(Path::new(&path)).map_err(failed)?;
        self.write(|txn| {
            let folded = txn.open_table(FORMAT_TABLE)?.get(FOLDED)?.map_or(0, |n| n.value());
            journal.count_from(folded);
            for (_, batch) in records.iter().filter(|(number, _)| *number > folded) {
                replay(txn, batch)?;
            }
            fold(txn, &journal)
        })?;
        journal.clear().map_err(failed)?;
        Ok(journal)
    }

    /// Reads one consistent state.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        use redb::ReadableDatabase;
        self.db
            .begin_read()
            .map_err(redb::Error::from)
            .and_then(|txn| work(&txn))
            .map_err(|e| redb_error(&self.name, "read", &e))
    }
}

/// Something that the writing thread does.
pub(super) trait Job: Send + 'static {
    /// Makes the job's changes. An error undoes the whole batch.
    fn apply(&mut self, txn: &WriteTransaction) -> Result<(), redb::Error>;

    /// False: nobody waits for it to be on the disk.
    fn durable(&self) -> bool {
        true
    }

    /// Writes what is not durable for the journal.
    fn record(&self, _journal: &mut Vec<u8>) {}

    /// Called after the commit, in order.
    fn done(self, result: Result<(), StoreError>);
}

/// The writing thread. Dropping it waits until everything sent is on the disk.
pub(super) struct Writer<J: Job> {
    jobs: Option<Sender<J>>,
    thread: Option<JoinHandle<()>>,
    name: Arc<str>,
}

impl<J: Job> Writer<J> {
    /// Starts the thread. What is not durable of itself is kept in the journal, if there is one, and reaches the disk
    /// with the next commit that is, at the latest after `linger`.
    pub(super) fn start(
        file: StoreFile,
        journal: Option<Journal>,
        linger: Duration,
    ) -> Result<Writer<J>, StoreError> {
        let (jobs, queue) = channel();
        let name = file.name.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&file, journal, &queue, linger))
            .map_err(|e| io_error(&name, "start its writing thread", &e))?;
        Ok(Writer { jobs: Some(jobs), thread: Some(thread), name })
    }

    /// Hands a job to the thread. If the thread is gone the job is dropped, and with it whatever it would answer on.
    pub(super) fn send(&self, job: J) {
        let jobs = self.jobs.as_ref().expect("taken in drop only");
        if jobs.send(job).is_err() {
            tracing::error!(store = %self.name, "the writing thread is gone, a write was lost");
        }
    }

    /// What to answer when the thread dropped a job.
    pub(super) fn gone(&self) -> StoreError {
        StoreError::Unusable {
            store: self.name.to_string(),
            reason: "its writing thread has ended".into(),
            remedy: "restart the agent, and report the panic in its log",
        }
    }
}

impl<J: Job> Drop for Writer<J> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been written to standard error by then.
            let _ = thread.join();
        }
    }
}

fn run<J: Job>(file: &StoreFile, mut journal: Option<Journal>, queue: &Receiver<J>, linger: Duration) {
    let mut flush_at: Option<Instant> = None;
    loop {
        let first = match flush_at {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => queue.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        let mut batch: Vec<J> = Vec::new();
        let ended = match first {
            Ok(job) => {
                batch.push(job);
                batch.extend(queue.try_iter().take(LARGEST_BATCH - 1));
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let due = flush_at.is_some_and(|at| ended || at <= Instant::now());
        if batch.is_empty() && !due {
            return;
        }
        let durable = due || batch.iter().any(J::durable) || journal.as_ref().is_some_and(Journal::is_full);
        let result = commit(file, journal.as_mut(), &mut batch, durable);
        let result = result.map_err(|e| redb_error(&file.name, "write", &e));
        if let Err(e) = &result {
            tracing::error!(store = %file.name, "a write failed: {e}");
        }
        flush_at = if durable { None } else { flush_at.or_else(|| Some(Instant::now() + linger)) };
        for job in batch {
            job.done(result.clone());
        }
        if ended {
            return;
        }
    }
}

fn commit<J: Job>(
    file: &StoreFile,
    journal: Option<&mut Journal>,
    batch: &mut [J],
    durable: bool,
) -> Result<(), redb::Error> {
    let mut txn = file.db.begin_write()?;
    txn.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
    let mut record = Vec::new();
    for job in batch {
        if !durable {
            job.record(&mut record);
        }
        job.apply(&txn)?;
    }
    let Some(journal) = journal else {
        txn.commit()?;
        return Ok(());
    };
    // The journal is a convenience: the commit stands without it.
    let kept = if durable {
        fold(&txn, journal)?;
        txn.commit()?;
        journal.clear()
    } else {
        txn.commit()?;
        journal.append(&record)
    };
    if let Err(e) = kept {
        tracing::warn!(store = %file.name, "its journal cannot be written, a kill may lose the last second: {e}");
    }
    Ok(())
}

/// Notes that everything in the journal is in this transaction.
fn fold(txn: &WriteTransaction, journal: &Journal) -> Result<(), redb::Error> {
    txn.open_table(FORMAT_TABLE)?.insert(FOLDED, journal.last())?;
    Ok(())
}

fn open_error(name: &str, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Unusable {
            store: name.into(),
            reason: "another process has it open".into(),
            remedy: "stop the other sluice agent, or give this one another --state-dir",
        },
        DatabaseError::UpgradeRequired(version) => StoreError::Unusable {
            store: name.into(),
            reason: format!("it is a redb file of the old format {version}"),
            remedy: "move it away and start again: the agent makes a new one",
        },
        other => redb_error(name, "open it", &other.into()),
    }
}

fn redb_error(name: &str, tried: &str, error: &redb::Error) -> StoreError {
    if let redb::Error::Io(e) = error
        && e.kind() != io::ErrorKind::InvalidData
    {
        return io_error(name, tried, e);
    }
    let remedy = match error {
        redb::Error::PreviousIo => "mend what the log's first error for this file says and restart the agent",
        _ => "move it away (keep it for a report) and start again: the agent makes a new one",
    };
    StoreError::Unusable { store: name.into(), reason: format!("tried to {tried}: {error}"), remedy }
}

fn io_error(name: &str, tried: &str, error: &io::Error) -> StoreError {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run the agent as root, or as the owner of the file and its directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on its disk and restart the agent"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose a --state-dir on a disk that can be written",
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
            "check --state-dir and the file's path"
        }
        _ => "check the disk and the path, and restart the agent",
    };
    StoreError::Unusable { store: name.into(), reason: format!("tried to {tried}: {error}"), remedy }
}
