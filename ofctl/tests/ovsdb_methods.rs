//! The methods of RFC 7047 §4.1 and the operations that depend on others, said by the sans-IO session to a real
//! ovsdb-server over a unix socket.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::ovsdb::operation::Until;
use ofctl::ovsdb::session::{Config, Event, MonitorTable, MonitorVersion, RequestId, Session};
use ofctl::ovsdb::{Condition, Mutation, Operation, Replica, Row, Transaction, Uuid, Value};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const DATABASE: &str = "Open_vSwitch";
const PATIENCE: Duration = Duration::from_secs(20);

/// An ovsdb-server of the test's own; it goes when it is dropped.
struct Server {
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(arguments: &[&str]) {
    let output = Command::new("ovsdb-tool").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Server {
    /// Serves a new database with one row in its root table; a clustered one remembers its transactions. `None`, with
    /// the reason printed, if there is no Open vSwitch.
    fn start(clustered: bool) -> Option<Server> {
        let there = Command::new("ovsdb-server").arg("--version").stdout(Stdio::null()).status().is_ok();
        if !there || !Path::new(SCHEMA).exists() {
            let required = std::env::var("SLUICE_REQUIRE_LIVE").as_deref() == Ok("1");
            assert!(!required, "SLUICE_REQUIRE_LIVE=1, and Open vSwitch is not installed");
            eprintln!("SKIPPED: Open vSwitch is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let database = text(&folder.path().join("db"));
        if clustered {
            let address = format!("unix:{}", text(&folder.path().join("raft.sock")));
            run(&["create-cluster", &database, SCHEMA, &address]);
        } else {
            run(&["create", &database, SCHEMA]);
        }
        let socket = folder.path().join("db.sock");
        let process = Command::new("ovsdb-server")
            .arg(&database)
            .arg(format!("--remote=punix:{}", text(&socket)))
            .args(["--no-chdir", "-vconsole:off"])
            .arg(format!("--unixctl={}", text(&folder.path().join("ctl"))))
            .env("OVS_RUNDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { folder, process };
        let mut first = server.connect();
        // A server remembers no more of changes, rows and all, than its database is large.
        let ballast = Value::map((0..500).map(|n| (format!("key-{n}"), "value")));
        let root = Transaction::new()
            .with(Operation::insert(DATABASE, Row::new().with("system_type", "first")))
            .with(Operation::insert("Queue", Row::new().with("other_config", ballast)));
        // A cluster of one elects itself a moment after it has begun.
        let start = Instant::now();
        while let Err(error) = first.transact(&root) {
            assert!(start.elapsed() < PATIENCE, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("db.sock")
    }

    fn connect(&self) -> Connection {
        let start = Instant::now();
        let stream = loop {
            match UnixStream::connect(self.socket()) {
                Ok(stream) => break stream,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Connection { stream, session: Session::new(Instant::now(), Config::default()) }
    }
}

struct Connection {
    stream: UnixStream,
    session: Session,
}

type Outcome = Result<ofctl::ovsdb::operation::Results, ofctl::ovsdb::operation::OperationError>;

impl Connection {
    fn flush(&mut self) {
        while let Some(bytes) = self.session.poll_transmit() {
            self.stream.write_all(&bytes).unwrap();
        }
    }

    /// The next thing that the server says within a time.
    fn within(&mut self, time: Duration) -> Option<Event> {
        let deadline = Instant::now() + time;
        let mut chunk = [0; 1 << 16];
        loop {
            self.flush();
            if let Some(event) = self.session.poll_event() {
                return Some(event);
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the server has hung up"),
                Ok(n) => self.session.receive(Instant::now(), &chunk[..n]).unwrap(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn next(&mut self) -> Event {
        self.within(PATIENCE).expect("something said in time")
    }

    fn transacted(&mut self, wanted: RequestId) -> Outcome {
        loop {
            if let Event::Transacted { id, outcome } = self.next()
                && id == wanted
            {
                return outcome;
            }
        }
    }

    fn transact(&mut self, transaction: &Transaction) -> Outcome {
        let id = self.session.transact(DATABASE, transaction);
        self.transacted(id)
    }

    /// The root row, and what kind of system it says this is.
    fn root(&mut self) -> (Uuid, String) {
        let select = Operation::Select {
            table: DATABASE.to_owned(),
            r#where: Vec::new(),
            columns: Some(vec!["_uuid".to_owned(), "system_type".to_owned()]),
        };
        let results = self.transact(&Transaction::new().with(select)).unwrap();
        let row = &results[0].rows[0];
        (row.uuids("_uuid").next().unwrap(), row.str("system_type").unwrap_or_default().to_owned())
    }
}

fn set_type(root: Uuid, kind: &str) -> Transaction {
    let row = Row::new().with("system_type", kind);
    Transaction::new().with(Operation::update(DATABASE, root, row))
}

/// Waits until the system is of this kind, and then says so.
fn once_it_is(root: Uuid, kind: &str, timeout: Option<u64>) -> Transaction {
    Transaction::new()
        .with(Operation::Wait {
            timeout,
            table: DATABASE.to_owned(),
            r#where: vec![Condition::row(root)],
            columns: Some(vec!["system_type".to_owned()]),
            until: Until::Equal,
            rows: vec![Row::new().with("system_type", kind)],
        })
        .with(Operation::mutate(
            DATABASE,
            root,
            vec![Mutation::insert("external_ids", Value::map([("seen", kind)]))],
        ))
}

#[test]
fn databases_schemas_and_echoes_are_answered() {
    let Some(server) = Server::start(false) else { return };
    let mut one = server.connect();
    let wanted = one.session.list_databases();
    let Event::Databases { id, outcome } = one.next() else { panic!("another answer") };
    let databases = outcome.unwrap();
    assert!(id == wanted && databases.contains(&DATABASE.to_owned()), "{databases:?}");
    one.session.schema(DATABASE);
    let Event::Schema { outcome, .. } = one.next() else { panic!("another answer") };
    assert!(outcome.unwrap().column("Bridge", "fail_mode").is_some());
    one.session.schema("Nope");
    let Event::Schema { outcome, .. } = one.next() else { panic!("another answer") };
    assert_eq!(outcome.unwrap_err().error, "unknown database");
    // A probe that is answered is no event, and the session goes on.
    let late = one.session.poll_timeout();
    one.session.handle_timeout(late).unwrap();
    let again = one.session.list_databases();
    assert!(matches!(one.next(), Event::Databases { id, .. } if id == again));
    // Its answer was heard: so much later than this is when the next one is due.
    assert!(one.session.poll_timeout() > late - Duration::from_secs(1));
}

#[test]
fn a_wait_ends_when_it_is_so_when_its_time_is_over_or_when_it_is_canceled() {
    let Some(server) = Server::start(false) else { return };
    let (mut waiting, mut other) = (server.connect(), server.connect());
    let (root, _) = other.root();
    let id = waiting.session.transact(DATABASE, &once_it_is(root, "second", None));
    assert_eq!(waiting.within(Duration::from_millis(100)), None, "it waits");
    other.transact(&set_type(root, "second")).unwrap();
    let results = waiting.transacted(id).unwrap();
    assert_eq!(results[1].count, Some(1));

    let late = waiting.transact(&once_it_is(root, "third", Some(50))).unwrap_err();
    assert!(late.error == "timed out" && late.is_conflict(), "{late}");

    let id = waiting.session.transact(DATABASE, &once_it_is(root, "third", None));
    assert_eq!(waiting.within(Duration::from_millis(100)), None, "it waits");
    waiting.session.cancel(id);
    // RFC 7047 has it answered by `canceled`; ovsdb-server 3.1 says nothing.
    match waiting.within(Duration::from_millis(200)) {
        None => {}
        Some(Event::Transacted { id: canceled, outcome }) if canceled == id => {
            assert_eq!(outcome.unwrap_err().error, "canceled");
        }
        Some(other) => panic!("{other:?}"),
    }
    other.transact(&set_type(root, "third")).unwrap();
    // What was canceled does nothing any more, though it would be so now.
    let select = Operation::select(DATABASE, Condition::row(root), &["external_ids"]);
    let results = other.transact(&Transaction::new().with(select)).unwrap();
    assert_eq!(results[0].rows[0].map_str("external_ids", "seen"), Some("second"));
    // There is nothing to cancel in what is done; nothing is said of it.
    waiting.session.cancel(id);
    assert_eq!(waiting.root().1, "third");
}

#[test]
fn an_abort_undoes_and_a_commit_writes() {
    let Some(server) = Server::start(false) else { return };
    let mut one = server.connect();
    let (root, _) = one.root();
    let aborted = set_type(root, "never").with(Operation::Abort {});
    assert_eq!(one.transact(&aborted).unwrap_err().error, "aborted");
    assert_eq!(one.root().1, "first");
    let commented =
        set_type(root, "ever").with(Operation::comment("a test")).with(Operation::Commit { durable: true });
    one.transact(&commented).unwrap();
    assert_eq!(server.connect().root().1, "ever");
}

#[test]
fn a_lock_is_had_waited_for_stolen_and_given_back() {
    let Some(server) = Server::start(false) else { return };
    let (mut one, mut two) = (server.connect(), server.connect());
    let (root, _) = one.root();
    let mine = |kind: &str| {
        let assert = Operation::Assert { lock: "switches".to_owned() };
        Transaction::new().with(assert).with(Operation::update(
            DATABASE,
            root,
            Row::new().with("system_type", kind),
        ))
    };
    let changed = |owned| Event::LockChanged { lock: "switches".to_owned(), owned };
    assert_eq!(one.transact(&mine("nobody's")).unwrap_err().error, "not owner");

    let id = one.session.lock("switches");
    assert_eq!(one.next(), Event::Locked { id, outcome: Ok(true) });
    one.transact(&mine("the first's")).unwrap();
    let id = two.session.lock("switches");
    assert_eq!(two.next(), Event::Locked { id, outcome: Ok(false) });
    assert_eq!(two.transact(&mine("the second's")).unwrap_err().error, "not owner");

    let id = one.session.unlock("switches");
    assert_eq!(one.next(), Event::Unlocked { id, outcome: Ok(()) });
    assert_eq!(two.next(), changed(true));
    two.transact(&mine("the second's")).unwrap();

    let id = one.session.steal("switches");
    assert_eq!(one.next(), Event::Locked { id, outcome: Ok(true) });
    assert_eq!(two.next(), changed(false));
    assert_eq!(two.transact(&mine("the second's")).unwrap_err().error, "not owner");
    assert_eq!(one.root().1, "the second's");

    one.session.unlock("another");
    let Event::Unlocked { outcome, .. } = one.next() else { panic!("another answer") };
    assert!(outcome.is_err(), "a lock that nobody asked for");
    // Who goes gives back what he had.
    drop(one);
    assert_eq!(two.next(), changed(true));
}

/// What a monitor begins with, in a new replica or one that was kept.
fn monitored(connection: &mut Connection, since: Uuid) -> ofctl::ovsdb::session::Monitored {
    let tables = vec![MonitorTable::new(DATABASE, &["system_type"])];
    let wanted = connection.session.monitor(DATABASE, tables, since);
    let Event::Monitored { id, outcome } = connection.next() else { panic!("another answer") };
    assert_eq!(id, wanted);
    outcome.unwrap()
}

#[test]
fn a_monitor_goes_on_after_the_last_transaction_that_was_seen() {
    let Some(server) = Server::start(true) else { return };
    let mut one = server.connect();
    let begun = monitored(&mut one, Uuid::ZERO);
    assert_eq!((begun.version, begun.found), (MonitorVersion::MonitorCondSince, false));
    one.session.schema(DATABASE);
    let Event::Schema { outcome, .. } = one.next() else { panic!("another answer") };
    let mut replica = Replica::new(outcome.unwrap().into());
    replica.apply_initial(begun.found, begun.last_transaction, begun.updates).unwrap();
    let mut other = server.connect();
    let (root, _) = other.root();
    other.transact(&set_type(root, "second")).unwrap();
    let Event::Updated { last_transaction, updates, .. } = one.next() else { panic!("something else") };
    assert_ne!(last_transaction, begun.last_transaction);
    replica.apply(last_transaction, updates).unwrap();
    drop(one);

    // What happens meanwhile is all that is told when it goes on.
    other.transact(&set_type(root, "third")).unwrap();
    let mut again = server.connect();
    let resumed = monitored(&mut again, last_transaction);
    assert!(resumed.found, "the server remembers its transactions");
    let changes = replica.apply_initial(true, resumed.last_transaction, resumed.updates).unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    // Nothing happened since.
    let current = resumed.last_transaction;
    let nothing = monitored(&mut server.connect(), current);
    assert!(nothing.found && nothing.last_transaction == current);
    assert_eq!(replica.apply_initial(true, current, nothing.updates).unwrap().len(), 0);
    // Of a transaction that it never saw it gives everything.
    let unknown: Uuid = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    assert!(!monitored(&mut server.connect(), unknown).found);
}
