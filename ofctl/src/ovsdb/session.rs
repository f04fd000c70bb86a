//! One OVSDB connection without I/O: bytes and the time in, bytes and events out (RFC 7047 §4).
//!
//! ```
//! use std::time::Instant;
//!
//! use ofctl::ovsdb::session::{Config, Event, Session};
//!
//! let now = Instant::now();
//! let mut session = Session::new(now, Config::default());
//! let id = session.list_databases();
//! assert_eq!(session.poll_transmit().unwrap(), br#"{"id":1,"method":"list_dbs","params":[]}"#);
//! session.receive(now, br#"{"id":1,"result":["Open_vSwitch"],"error":null}"#)?;
//! let outcome = Ok(vec!["Open_vSwitch".to_owned()]);
//! assert_eq!(session.poll_event(), Some(Event::Databases { id, outcome }));
//! # Ok::<(), ofctl::ovsdb::SessionError>(())
//! ```

mod locks;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::frame::{FrameError, Limits, Splitter};
use super::operation::{FailedAt, Operation, OperationError, Results, Transaction, WireError, read_results};
use super::replica::TableUpdates;
use super::schema::Schema;
use super::value::Uuid;

/// Names a request of this session; its answer carries the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(u64);

/// A table to monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorTable {
    /// Its name.
    pub table: String,
    /// The columns wanted.
    pub columns: Vec<String>,
}

impl MonitorTable {
    /// These columns of this table.
    pub fn new(table: &str, columns: &[&str]) -> MonitorTable {
        MonitorTable {
            table: table.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        }
    }
}

/// Which monitor method the server took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MonitorVersion {
    /// `monitor`, RFC 7047 §4.1.5.
    Monitor,
    /// `monitor_cond`, ovsdb-server(7) §4.1.12.
    MonitorCond,
    /// `monitor_cond_since`, ovsdb-server(7) §4.1.15.
    MonitorCondSince,
}

impl MonitorVersion {
    /// The method's name.
    pub const fn method(self) -> &'static str {
        match self {
            MonitorVersion::Monitor => "monitor",
            MonitorVersion::MonitorCond => "monitor_cond",
            MonitorVersion::MonitorCondSince => "monitor_cond_since",
        }
    }

    const fn older(self) -> Option<MonitorVersion> {
        match self {
            MonitorVersion::MonitorCondSince => Some(MonitorVersion::MonitorCond),
            MonitorVersion::MonitorCond => Some(MonitorVersion::Monitor),
            MonitorVersion::Monitor => None,
        }
    }
}

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The answer to [`Session::transact`].
    Transacted {
        /// The request.
        id: RequestId,
        /// What its operations answered.
        outcome: Result<Results, OperationError>,
    },
    /// The answer to [`Session::list_databases`].
    Databases {
        /// The request.
        id: RequestId,
        /// The databases' names.
        outcome: Result<Vec<String>, OperationError>,
    },
    /// The answer to [`Session::schema`].
    Schema {
        /// The request.
        id: RequestId,
        /// The schema.
        outcome: Result<Schema, OperationError>,
    },
    /// The answer to [`Session::monitor`].
    Monitored {
        /// The request, which also names the monitor.
        id: RequestId,
        /// The first contents.
        outcome: Result<Monitored, OperationError>,
    },
    /// The answer to [`Session::lock`] or [`Session::steal`].
    Locked {
        /// The request.
        id: RequestId,
        /// True if the lock is this session's, false if it must wait for it.
        outcome: Result<bool, OperationError>,
    },
    /// The answer to [`Session::unlock`].
    Unlocked {
        /// The request.
        id: RequestId,
        /// An error if this session did not ask for the lock.
        outcome: Result<(), OperationError>,
    },
    /// A lock that was waited for is this session's, or one that it had was stolen.
    LockChanged {
        /// The lock.
        lock: String,
        /// True if this session has it now.
        owned: bool,
    },
    /// A monitored table changed.
    Updated {
        /// The monitor.
        id: RequestId,
        /// The transaction after which it is so; zero where the server does not number them.
        last_transaction: Uuid,
        /// The changes.
        updates: TableUpdates,
    },
}

/// What a monitor starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitored {
    /// The method that the server took.
    pub version: MonitorVersion,
    /// True when `updates` are the changes after `since`, and not the whole contents.
    pub found: bool,
    /// The transaction after which it is so; zero where the server does not number them.
    pub last_transaction: Uuid,
    /// The rows.
    pub updates: TableUpdates,
}

/// The connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The stream cannot be cut into messages.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message is not what the protocol says.
    #[error("cannot read {what} from ovsdb-server: {source}")]
    Message {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A reply to nothing that is outstanding.
    #[error("ovsdb-server answered request {id}, which is not outstanding")]
    UnexpectedReply {
        /// The id as it came.
        id: String,
    },
    /// The server ended the monitor: the database is being removed or gets another schema.
    #[error("ovsdb-server ended the monitor: its database is being removed or converted")]
    MonitorCanceled,
    /// Nothing came for too long, not even the answer to a probe.
    #[error("ovsdb-server has been silent for {} s and did not answer a probe", silence.as_secs())]
    Silent {
        /// For how long.
        silence: Duration,
    },
}

enum Pending {
    /// The operations' names, to say which failed.
    Transact(Vec<(&'static str, Option<String>)>),
    Databases,
    Schema,
    Monitor(MonitorRequest),
    Echo,
    Lock,
    Unlock,
}

struct MonitorRequest {
    id: RequestId,
    database: String,
    tables: Vec<MonitorTable>,
    since: Uuid,
    version: MonitorVersion,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

/// How a session behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// What a message may be at most.
    pub limits: Limits,
    /// After this much silence the server is probed; after as much again the connection is given up.
    pub probe_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config { limits: Limits::default(), probe_interval: Duration::from_secs(5) }
    }
}

/// The client's end of one connection.
///
/// Feed it with [`receive`](Session::receive), then send what [`poll_transmit`](Session::poll_transmit) gives
/// and react to what [`poll_event`](Session::poll_event) gives. After an error the connection must be closed.
pub struct Session {
    config: Config,
    splitter: Splitter,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    pending: BTreeMap<u64, Pending>,
    monitors: Vec<RequestId>,
    last_id: u64,
    heard: Instant,
    probed: bool,
}

impl Session {
    /// A session on a connection just made.
    pub fn new(now: Instant, config: Config) -> Session {
        Session {
            config,
            splitter: Splitter::new(config.limits),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            pending: BTreeMap::new(),
            monitors: Vec::new(),
            last_id: 0,
            heard: now,
            probed: false,
        }
    }

    /// Asks which databases there are (RFC 7047 §4.1.1).
    pub fn list_databases(&mut self) -> RequestId {
        self.request("list_dbs", &[] as &[(); 0], Pending::Databases)
    }

    /// Asks for a database's schema (RFC 7047 §4.1.2).
    pub fn schema(&mut self, database: &str) -> RequestId {
        self.request("get_schema", &[database], Pending::Schema)
    }

    /// Asks for a transaction (RFC 7047 §4.1.3).
    pub fn transact(&mut self, database: &str, transaction: &Transaction) -> RequestId {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Param<'a> {
            Database(&'a str),
            Operation(&'a Operation),
        }
        let operations = transaction.operations();
        let mut params = vec![Param::Database(database)];
        params.extend(operations.iter().map(Param::Operation));
        let describe = |operation: &Operation| {
            let (name, table) = operation.describe();
            (name, table.map(str::to_owned))
        };
        self.request("transact", &params, Pending::Transact(operations.iter().map(describe).collect()))
    }

    /// Asks for the contents of tables and their changes from then on, by the newest method that the server has.
    ///
    /// `since` is [`Uuid::ZERO`], or the last transaction of an earlier replica that shall be brought up to date.
    pub fn monitor(&mut self, database: &str, tables: Vec<MonitorTable>, since: Uuid) -> RequestId {
        let id = RequestId(self.last_id + 1);
        let version = MonitorVersion::MonitorCondSince;
        self.request_monitor(MonitorRequest { id, database: database.to_owned(), tables, since, version });
        id
    }

    fn request_monitor(&mut self, monitor: MonitorRequest) {
        #[derive(Serialize)]
        struct Columns<'a> {
            columns: &'a [String],
        }
        let tables: BTreeMap<&str, [Columns<'_>; 1]> = monitor
            .tables
            .iter()
            .map(|table| (table.table.as_str(), [Columns { columns: &table.columns }]))
            .collect();
        let (database, id, method) = (monitor.database.clone(), monitor.id, monitor.version.method());
        let params = if monitor.version == MonitorVersion::MonitorCondSince {
            serde_json::to_vec(&(database, id, tables, monitor.since))
        } else {
            serde_json::to_vec(&(database, id, tables))
        };
        self.request_raw(method, &params.expect("strings and numbers have JSON"), Pending::Monitor(monitor));
    }

    fn request<P: Serialize + ?Sized>(&mut self, method: &str, params: &P, pending: Pending) -> RequestId {
        let params =
            serde_json::to_vec(params).expect("every request type has JSON: its map keys are strings");
        self.request_raw(method, &params, pending)
    }

    fn request_raw(&mut self, method: &str, params: &[u8], pending: Pending) -> RequestId {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":").into_bytes();
        message.extend_from_slice(params);
        message.push(b'}');
        self.transmit.push_back(message);
        self.pending.insert(id, pending);
        RequestId(id)
    }

    /// Takes bytes that came from the server.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when they break the protocol; the connection must then be closed.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        self.heard = now;
        self.probed = false;
        // Out of the session while its messages, which borrow it, are worked on.
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(bytes);
        let outcome = loop {
            match splitter.next_message() {
                Ok(Some(message)) => {
                    if let Err(error) = self.message(message) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.splitter = splitter;
        outcome
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    /// The next thing that the server said.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Session::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.heard + self.config.probe_interval * if self.probed { 2 } else { 1 }
    }

    /// Probes a silent server with an echo (RFC 7047 §4.1.11), and gives up one that does not answer.
    ///
    /// # Errors
    ///
    /// [`SessionError::Silent`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        if now < self.poll_timeout() {
            return Ok(());
        }
        if self.probed {
            return Err(SessionError::Silent { silence: now - self.heard });
        }
        self.probed = true;
        self.request("echo", &[] as &[(); 0], Pending::Echo);
        Ok(())
    }

    fn message(&mut self, message: &[u8]) -> Result<(), SessionError> {
        let envelope: Envelope<'_> = read("a JSON-RPC message", message)?;
        match (envelope.method.as_deref(), envelope.id) {
            (Some("echo"), Some(id)) => {
                let params = envelope.params.map_or("[]", RawValue::get);
                self.answer(id, params, "null");
                Ok(())
            }
            (Some(_), Some(id)) => {
                self.answer(id, "null", "\"unknown method\"");
                Ok(())
            }
            (Some(method @ ("update" | "update2" | "update3")), None) => {
                let params = envelope.params.map_or("[]", RawValue::get).as_bytes();
                let (id, last_transaction, updates) = if method == "update3" {
                    read("an update3 notification", params)?
                } else {
                    let (id, updates) = read("an update notification", params)?;
                    (id, Uuid::ZERO, updates)
                };
                // The last updates of a monitor may cross with its end.
                if self.monitors.contains(&id) {
                    self.events.push_back(Event::Updated { id, last_transaction, updates });
                }
                Ok(())
            }
            // ovsdb-server(7) §4.1.17.
            (Some("monitor_canceled"), None) => Err(SessionError::MonitorCanceled),
            (Some("locked"), None) => self.lock_changed(envelope.params, true),
            (Some("stolen"), None) => self.lock_changed(envelope.params, false),
            // Notifications of later versions.
            (Some(_), None) => Ok(()),
            (None, id) => self.reply(id, envelope.result, envelope.error),
        }
    }

    fn answer(&mut self, id: &RawValue, result: &str, error: &str) {
        let message = format!("{{\"id\":{},\"result\":{result},\"error\":{error}}}", id.get());
        self.transmit.push_back(message.into_bytes());
    }

    fn reply(
        &mut self,
        id: Option<&RawValue>,
        result: Option<&RawValue>,
        error: Option<&RawValue>,
    ) -> Result<(), SessionError> {
        let text = id.map_or("null", RawValue::get);
        let number = text.parse().ok();
        let Some((number, pending)) = number.and_then(|id: u64| Some((id, self.pending.remove(&id)?))) else {
            return Err(SessionError::UnexpectedReply { id: text.chars().take(40).collect() });
        };
        let id = RequestId(number);
        let refused = match error {
            Some(error) => Some(read::<WireError>("an error", error.get().as_bytes())?),
            None => None,
        };
        let result = result.map_or("null", RawValue::get);
        let event = match (pending, refused) {
            (Pending::Echo, _) => return Ok(()),
            (Pending::Monitor(mut monitor), Some(error)) if error.is_unknown_method() => {
                match monitor.version.older() {
                    Some(version) => {
                        monitor.version = version;
                        self.request_monitor(monitor);
                        return Ok(());
                    }
                    None => Event::Monitored { id: monitor.id, outcome: Err(error.at(FailedAt::Request)) },
                }
            }
            (Pending::Monitor(monitor), Some(error)) => {
                Event::Monitored { id: monitor.id, outcome: Err(error.at(FailedAt::Request)) }
            }
            (Pending::Monitor(monitor), None) => {
                self.monitors.push(monitor.id);
                Event::Monitored { id: monitor.id, outcome: Ok(read_monitored(monitor.version, result)?) }
            }
            (Pending::Transact(_), Some(error)) => {
                Event::Transacted { id, outcome: Err(error.at(FailedAt::Request)) }
            }
            (Pending::Transact(operations), None) => {
                let outcome = read_results(result, &operations).map_err(|source| SessionError::Message {
                    what: "the results of a transaction",
                    source,
                })?;
                Event::Transacted { id, outcome }
            }
            (Pending::Databases, Some(error)) => {
                Event::Databases { id, outcome: Err(error.at(FailedAt::Request)) }
            }
            (Pending::Databases, None) => {
                Event::Databases { id, outcome: Ok(read("a list of databases", result.as_bytes())?) }
            }
            (Pending::Lock, Some(error)) => Event::Locked { id, outcome: Err(error.at(FailedAt::Request)) },
            (Pending::Lock, None) => {
                let locks::Locked { locked } = read("the answer about a lock", result.as_bytes())?;
                Event::Locked { id, outcome: Ok(locked) }
            }
            (Pending::Unlock, Some(error)) => {
                Event::Unlocked { id, outcome: Err(error.at(FailedAt::Request)) }
            }
            (Pending::Unlock, None) => Event::Unlocked { id, outcome: Ok(()) },
            (Pending::Schema, Some(error)) => Event::Schema { id, outcome: Err(error.at(FailedAt::Request)) },
            (Pending::Schema, None) => {
                Event::Schema { id, outcome: Ok(read("a schema", result.as_bytes())?) }
            }
        };
        self.events.push_back(event);
        Ok(())
    }
}

fn read<'a, T: Deserialize<'a>>(what: &'static str, json: &'a [u8]) -> Result<T, SessionError> {
    serde_json::from_slice(json).map_err(|source| SessionError::Message { what, source })
}

fn read_monitored(version: MonitorVersion, result: &str) -> Result<Monitored, SessionError> {
    let json = result.as_bytes();
    let (found, last_transaction, updates) = match version {
        MonitorVersion::MonitorCondSince => read("the answer to monitor_cond_since", json)?,
        MonitorVersion::MonitorCond | MonitorVersion::Monitor => {
            (false, Uuid::ZERO, read("the answer to a monitor request", json)?)
        }
    };
    Ok(Monitored { version, found, last_transaction, updates })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::super::frame::Limits;
    use super::super::operation::Row;
    use super::super::replica::RowUpdate;
    use super::*;

    fn session() -> (Session, Instant) {
        let now = Instant::now();
        (Session::new(now, Config::default()), now)
    }

    fn sent(session: &mut Session) -> Vec<Json> {
        std::iter::from_fn(|| session.poll_transmit())
            .map(|bytes| serde_json::from_slice(&bytes).unwrap())
            .collect()
    }

    fn events(session: &mut Session) -> Vec<Event> {
        std::iter::from_fn(|| session.poll_event()).collect()
    }

    fn say(session: &mut Session, now: Instant, message: &Json) {
        session.receive(now, message.to_string().as_bytes()).unwrap();
    }

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let (mut session, now) = session();
        let transaction = Transaction::new().with(Operation::comment("one"));
        let one = session.transact("Open_vSwitch", &transaction);
        let databases = session.list_databases();
        assert_eq!(
            sent(&mut session),
            [
                json!({"id": 1, "method": "transact", "params": ["Open_vSwitch", {"op": "comment", "comment": "one"}]}),
                json!({"id": 2, "method": "list_dbs", "params": []}),
            ]
        );
        say(&mut session, now, &json!({"id": 2, "result": ["Open_vSwitch", "_Server"], "error": null}));
        say(&mut session, now, &json!({"id": 1, "result": [{}], "error": null}));
        let names = vec!["Open_vSwitch".to_owned(), "_Server".to_owned()];
        assert_eq!(
            events(&mut session),
            [
                Event::Databases { id: databases, outcome: Ok(names) },
                Event::Transacted { id: one, outcome: Ok(vec![Default::default()]) },
            ]
        );
        // As recorded: an error reply of ovsdb-server 3.1 has no member `result`.
        let two = session.transact("Nodb", &transaction);
        let error = json!({"details": "transact request specifies unknown database Nodb", "error": "unknown database"});
        say(&mut session, now, &json!({"id": 3, "error": error}));
        let outcome = Err(OperationError {
            at: FailedAt::Request,
            error: "unknown database".into(),
            details: Some("transact request specifies unknown database Nodb".into()),
        });
        assert_eq!(events(&mut session), [Event::Transacted { id: two, outcome }]);
    }

    #[test]
    fn an_echo_is_answered_and_other_requests_refused() {
        let (mut session, now) = session();
        say(&mut session, now, &json!({"id": "echo", "method": "echo", "params": ["a", {"b": [1]}]}));
        say(&mut session, now, &json!({"id": [7], "method": "dance", "params": []}));
        say(&mut session, now, &json!({"id": null, "method": "locked", "params": ["l"]}));
        assert_eq!(
            sent(&mut session),
            [
                json!({"id": "echo", "result": ["a", {"b": [1]}], "error": null}),
                json!({"id": [7], "result": null, "error": "unknown method"}),
            ]
        );
        assert_eq!(events(&mut session), [Event::LockChanged { lock: "l".to_owned(), owned: true }]);
    }

    /// Each older server refuses the newer methods; the monitor keeps its id through them.
    #[test]
    fn a_monitor_falls_back_to_what_the_server_has() {
        let uuid: Uuid = "8dc9fa2c-715a-4cbc-8c9c-4083cb83219f".parse().unwrap();
        let zero = "00000000-0000-0000-0000-000000000000";
        let put = RowUpdate::Put(Row::new().with("name", "br0"));
        let updates: TableUpdates = [("Bridge".to_owned(), [(uuid, put)].into())].into();
        for refusals in 0..=3 {
            let (mut session, now) = session();
            let id =
                session.monitor("Open_vSwitch", vec![MonitorTable::new("Bridge", &["name"])], Uuid::ZERO);
            let tables = json!({"Bridge": [{"columns": ["name"]}]});
            let methods = ["monitor_cond_since", "monitor_cond", "monitor"];
            for (number, method) in methods.iter().enumerate().take(refusals + 1) {
                let mut params = json!(["Open_vSwitch", 1, tables]);
                if number == 0 {
                    params.as_array_mut().unwrap().push(json!(zero));
                }
                let request = json!({"id": number + 1, "method": method, "params": params});
                assert_eq!(sent(&mut session), [request]);
                if number < refusals {
                    say(&mut session, now, &json!({"id": number + 1, "error": "unknown method"}));
                }
            }
            let (version, result, update) = match refusals {
                0 => (
                    MonitorVersion::MonitorCondSince,
                    json!([false, zero, {"Bridge": {uuid.to_string(): {"initial": {"name": "br0"}}}}]),
                    json!({"method": "update3", "params": [1, zero, {"Bridge": {uuid.to_string(): {"delete": null}}}]}),
                ),
                1 => (
                    MonitorVersion::MonitorCond,
                    json!({"Bridge": {uuid.to_string(): {"initial": {"name": "br0"}}}}),
                    json!({"method": "update2", "params": [1, {"Bridge": {uuid.to_string(): {"delete": null}}}]}),
                ),
                2 => (
                    MonitorVersion::Monitor,
                    json!({"Bridge": {uuid.to_string(): {"new": {"name": "br0"}}}}),
                    json!({"method": "update", "params": [1, {"Bridge": {uuid.to_string(): {"old": {"name": "br0"}}}}]}),
                ),
                _ => {
                    let events = events(&mut session);
                    assert!(matches!(&events[..], [Event::Monitored { outcome: Err(_), .. }]), "{events:?}");
                    continue;
                }
            };
            say(&mut session, now, &json!({"id": refusals + 1, "result": result, "error": null}));
            let monitored =
                Monitored { version, found: false, last_transaction: Uuid::ZERO, updates: updates.clone() };
            assert_eq!(events(&mut session), [Event::Monitored { id, outcome: Ok(monitored) }]);
            say(&mut session, now, &update);
            let updates = [("Bridge".to_owned(), [(uuid, RowUpdate::Delete)].into())].into();
            assert_eq!(events(&mut session), [Event::Updated { id, last_transaction: Uuid::ZERO, updates }]);
        }
    }

    #[test]
    fn a_silent_server_is_probed_then_given_up() {
        let (mut session, start) = session();
        let interval = Config::default().probe_interval;
        assert_eq!(session.poll_timeout(), start + interval);
        session.handle_timeout(start + interval / 2).unwrap();
        assert_eq!(sent(&mut session), [] as [Json; 0]);
        session.handle_timeout(start + interval).unwrap();
        assert_eq!(sent(&mut session), [json!({"id": 1, "method": "echo", "params": []})]);
        // Its answer is a sign of life, and no event.
        let heard = start + interval + interval / 2;
        say(&mut session, heard, &json!({"id": 1, "result": [], "error": null}));
        assert_eq!(events(&mut session), []);
        assert_eq!(session.poll_timeout(), heard + interval);
        session.handle_timeout(heard + interval).unwrap();
        let error = session.handle_timeout(heard + interval * 2).unwrap_err();
        assert_eq!(error.to_string(), "ovsdb-server has been silent for 10 s and did not answer a probe");
    }

    #[test]
    fn a_broken_protocol_is_an_error() {
        let cases = [
            (
                r#"{"id":9,"result":[],"error":null}"#,
                "ovsdb-server answered request 9, which is not outstanding",
            ),
            (r#"{"result":[]}"#, "ovsdb-server answered request null, which is not outstanding"),
            (r#"{"id":"x"}"#, "ovsdb-server answered request \"x\", which is not outstanding"),
            (
                r#"{"id":1,"result":[],"error":null}"#,
                "cannot read the results of a transaction from ovsdb-server",
            ),
            (
                r#"{"id":1,"result":[{},{}],"error":null}"#,
                "cannot read the results of a transaction from ovsdb-server",
            ),
            (
                r#"{"id":1,"result":[null],"error":null}"#,
                "cannot read the results of a transaction from ovsdb-server",
            ),
            (
                r#"{"id":1,"result":null,"error":null}"#,
                "cannot read the results of a transaction from ovsdb-server",
            ),
            (r#"{"id":1,"error":7}"#, "cannot read an error from ovsdb-server"),
            (r#"{"id":]}"#, "cannot read a JSON-RPC message from ovsdb-server"),
            (r#"{"method":3}"#, "cannot read a JSON-RPC message from ovsdb-server"),
            (r#"{"method":"update2","params":[1]}"#, "cannot read an update notification from ovsdb-server"),
            (
                r#"{"method":"update3","params":[1,"x",{}]}"#,
                "cannot read an update3 notification from ovsdb-server",
            ),
            (
                r#"{"method":"update2","params":[1,{"T":{"x":{}}}]}"#,
                "cannot read an update notification from ovsdb-server",
            ),
            (r#"{"id":null,"method":"monitor_canceled","params":[1]}"#, "ovsdb-server ended the monitor"),
            ("SSH-2.0-x", "a message starts with byte 0x53 and not with '{': the peer does not speak OVSDB"),
        ];
        for (text, wanted) in cases {
            let (mut session, now) = session();
            session.transact("Open_vSwitch", &Transaction::new().with(Operation::comment("x")));
            let error = session.receive(now, text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(wanted), "{text}: {error}");
        }
        let config = Config { limits: Limits { length: 10, depth: 2 }, ..Config::default() };
        let mut small = Session::new(Instant::now(), config);
        assert!(small.receive(Instant::now(), br#"{"id":"01234567"}"#).is_err());
    }

    proptest! {
        /// Broken messages are errors and never panics: valid ones with a few bytes changed.
        #[test]
        fn broken_messages_are_harmless(
            which in 0usize..4,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let valid = [
                r#"{"id":null,"method":"update2","params":[2,{"Port":{"c36bbdee-4c8a-4df2-9469-dec332cf8043":{"modify":{"trunks":["set",[1,3]],"m":["map",[["a",1.5]]]}}}}]}"#,
                r#"{"id":2,"result":[false,"00000000-0000-0000-0000-000000000000",{"T":{"c36bbdee-4c8a-4df2-9469-dec332cf8043":{"initial":{"n":"p1"}}}}],"error":null}"#,
                r#"{"id":1,"result":[{"count":1},{"details":"d","error":"e"},null],"error":null}"#,
                r#"{"id":"echo","method":"echo","params":[]}"#,
            ];
            let (mut session, now) = session();
            let nothing = Transaction::new().with(Operation::comment("a")).with(Operation::comment("b"));
            session.transact("Open_vSwitch", &nothing);
            session.monitor("Open_vSwitch", vec![MonitorTable::new("T", &["n"])], Uuid::ZERO);
            let mut bytes = valid[which].as_bytes().to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let _ = session.receive(now, &bytes);
        }
    }
}
