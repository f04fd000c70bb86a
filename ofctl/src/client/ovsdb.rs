//! A client of ovsdb-server: one long-lived connection, a replica that follows it, and transactions.
//!
//! ```text
//!            commands (mpsc)                        bytes
//!  Client ───────────────────▶ connection task ◀──────────▶ ovsdb-server
//!    │  ▲                         │ replica (watch), closed (watch), feeds of subscribers
//!    │  └─────────────────────────┘
//!    │ plans (mpsc)                 transactions, one at a time
//!    └──────────────▶ writer task ─────────────────▶ as any other caller
//! ```
//!
//! Both tasks end when the last [`Client`] is dropped, the connection's also when the connection breaks. It is
//! not made again: the owner learns of it by [`Client::closed`] and connects anew, which is also its full
//! resynchronisation.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use ofctl::client::ovsdb::{Client, Options, Target};
//! use ofctl::ovsdb::vswitch::{PortSpec, VswitchTransaction};
//! use tokio::time::Instant;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let target = Target::Unix("/run/openvswitch/db.sock".into());
//! let client = Client::connect(target, Options::default(), deadline).await?;
//! let mut plan = VswitchTransaction::new();
//! plan.add_port(PortSpec::new("br-int", "veth7"));
//! let ofport = client.apply(plan, deadline).await?.ofport("veth7")?;
//! println!("veth7 is OpenFlow port {ofport}");
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

pub use self::writer::{Applied, InterfaceError};
use super::stream::{self, Stream};
pub use super::target::{Listen, Target, TargetParseError};
pub use super::tls::Tls;
use crate::ovsdb::operation::{OperationError, Results, Transaction};
use crate::ovsdb::replica::{Change, ChangeSet, Replica, ReplicaError};
use crate::ovsdb::session::{self, Event, MonitorTable, RequestId, Session, SessionError};
use crate::ovsdb::value::Uuid;
use crate::ovsdb::vswitch::{self, PlanError, VswitchTransaction};

/// The port of OVSDB, registered with IANA (RFC 7047 §8).
pub const OVSDB_PORT: u16 = 6640;

/// Reads `unix:PATH`, `tcp:HOST[:PORT]` or `ssl:HOST[:PORT]` as where an ovsdb-server listens; the port is
/// [`OVSDB_PORT`] unless it is given.
///
/// # Errors
///
/// If it is none of these, or the last without `tls`.
pub fn parse_target(text: &str, tls: Option<&Tls>) -> Result<Target, TargetParseError> {
    let has_port = |host: &str| match host.strip_prefix('[') {
        Some(bracketed) => bracketed.contains("]:"),
        None => host.contains(':'),
    };
    match text.split_once(':') {
        Some(("tcp" | "ssl", host)) if !has_port(host) => {
            Target::parse(&format!("{text}:{OVSDB_PORT}"), tls)
                // The text is named as it was given.
                .map_err(|error| match error {
                    TargetParseError::Target(_) => TargetParseError::Target(text.to_owned()),
                    TargetParseError::NoTls(_) => TargetParseError::NoTls(text.to_owned()),
                    other => other,
                })
        }
        _ => Target::parse(text, tls),
    }
}

/// Waits for servers that connect to us, as a switch does whose manager is `tcp:HOST:PORT` (RFC 7047 §3.1 lets
/// either side open the connection; requests go to the server whichever did).
///
/// ```no_run
/// use std::time::Duration;
///
/// use ofctl::client::ovsdb::{Listen, Listener, Options};
/// use tokio::time::Instant;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(Listen::parse("ptcp:6640:127.0.0.1", None)?).await?;
/// loop {
///     let incoming = listener.accept().await?;
///     let deadline = Instant::now() + Duration::from_secs(10);
///     let client = incoming.open(Options::default(), deadline).await?;
///     println!("{} has {} bridges", client.target(), client.read(|replica| replica.vswitch().bridges().count()));
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    place: Listen,
    listener: stream::Listener,
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    ///
    /// [`ClientError::Listen`].
    pub async fn bind(place: Listen) -> Result<Listener, ClientError> {
        match stream::Listener::bind(&place).await {
            Ok(listener) => Ok(Listener { place, listener }),
            Err(source) => Err(ClientError::Listen { place, source: Arc::new(source) }),
        }
    }

    /// The address with the port that it listens on; none for a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// The next server that connects. What it is and whether it is one at all, [`Incoming::open`] says: so one
    /// that is slow to say so keeps nobody waiting.
    ///
    /// # Errors
    ///
    /// [`ClientError::Listen`].
    pub async fn accept(&self) -> Result<Incoming, ClientError> {
        match self.listener.accept().await {
            Ok(stream) => Ok(Incoming { target: self.target_of(&stream), stream }),
            Err(source) => Err(ClientError::Listen { place: self.place.clone(), source: Arc::new(source) }),
        }
    }

    /// Whence a stream comes.
    fn target_of(&self, stream: &stream::Incoming) -> Target {
        match (stream, &self.place) {
            (stream::Incoming::Tcp(_, peer, _), Listen::Tls(_, tls)) => {
                Target::Tls(peer.ip().to_string(), peer.port(), tls.clone())
            }
            (stream::Incoming::Tcp(_, peer, _), _) => Target::Tcp(peer.ip().to_string(), peer.port()),
            (stream::Incoming::Unix(_), Listen::Unix(path)) => Target::Unix(path.clone()),
            // A listener of TCP takes no unix streams.
            (stream::Incoming::Unix(_), _) => Target::Unix(PathBuf::new()),
        }
    }
}

/// A server that has connected.
#[derive(Debug)]
pub struct Incoming {
    target: Target,
    stream: stream::Incoming,
}

impl Incoming {
    /// Where it comes from.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Shakes hands, if by TLS, and copies the monitored tables.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn open(self, options: Options, deadline: Instant) -> Result<Client, ClientError> {
        let Incoming { target, stream } = self;
        let open = async {
            let stream = stream.accept().await;
            Client::open(target.clone(), stream, options).await
        };
        timeout_at(deadline, open).await.map_err(|_| ClientError::first_copy_late(&target))?
    }
}

/// What to copy, and how the session behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database.
    pub database: String,
    /// The tables that the replica holds; [`Client::apply`] needs those of the default. Columns that the server's schema lacks are left out.
    pub tables: Vec<MonitorTable>,
    /// Limits and probing.
    pub session: session::Config,
}

impl Default for Options {
    /// What [`Vswitch`](crate::ovsdb::vswitch::Vswitch) reads of the Open_vSwitch database.
    fn default() -> Self {
        Options {
            database: vswitch::DATABASE.to_owned(),
            tables: vswitch::monitored(),
            session: session::Config::default(),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The last [`Client`] was dropped.
    #[error("this side dropped it")]
    Dropped,
    /// The server closed it.
    #[error("ovsdb-server closed the connection")]
    Eof,
    /// The socket failed.
    #[error("the connection to ovsdb-server failed: {0}")]
    Io(#[from] io::Error),
    /// The server broke the protocol, or was silent for too long.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The replica is out of step.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

/// A request to ovsdb-server did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("cannot connect to ovsdb-server at {target}: {}", connect_remedy(.target, .source))]
    Connect {
        /// Where.
        target: Target,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// Nobody can connect to us.
    #[error("cannot listen on {place}: {source}")]
    Listen {
        /// Where.
        place: Listen,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The database or its tables cannot be monitored.
    #[error("ovsdb-server at {target} does not serve database {database}: {source}")]
    Monitor {
        /// Where.
        target: Target,
        /// Which database.
        database: String,
        /// What the server says.
        #[source]
        source: OperationError,
    },
    /// The connection has ended. Whether a transaction under way took effect is not known.
    #[error("the connection to ovsdb-server at {target} has ended: {reason}")]
    Closed {
        /// Where it was.
        target: Target,
        /// Why.
        reason: Arc<CloseReason>,
    },
    /// The server refused the transaction.
    #[error(transparent)]
    Refused(#[from] OperationError),
    /// The plan does not fit what the switch holds.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The deadline passed. Whether a transaction under way takes effect is not known.
    #[error("ovsdb-server at {target} did not answer in time: {what}")]
    Deadline {
        /// Where.
        target: Target,
        /// What was waited for.
        what: String,
    },
    /// The transaction is in the database and ovs-vswitchd has not put it into effect.
    #[error(
        "ovs-vswitchd does not answer: the database is at configuration {next_cfg} and ovs-vswitchd at {cur_cfg} \
         when the deadline passed; is ovs-vswitchd running? the change stays in the database"
    )]
    NotInEffect {
        /// The configuration that was asked for.
        next_cfg: i64,
        /// The one that is in effect.
        cur_cfg: i64,
    },
}

fn connect_remedy(target: &Target, error: &io::Error) -> String {
    let is_unix = matches!(target, Target::Unix(_));
    match error.kind() {
        io::ErrorKind::NotFound if is_unix => {
            "the socket does not exist; is openvswitch-switch running? if its run directory \
                                    is another one, set ovs-rundir"
                .to_owned()
        }
        io::ErrorKind::ConnectionRefused if is_unix => {
            "nothing listens on the socket: ovsdb-server has stopped; restart openvswitch-switch".to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there; ovsdb-server listens on TCP and TLS only if it is told to, as by \
             'ovs-vsctl set-manager ptcp:6640:ADDRESS'"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied if is_unix => "only root may use the socket: run as root".to_owned(),
        _ => error.to_string(),
    }
}

impl ClientError {
    fn first_copy_late(target: &Target) -> ClientError {
        ClientError::Deadline { target: target.clone(), what: "the first copy of its tables".to_owned() }
    }
}

type Answer = oneshot::Sender<Result<Results, OperationError>>;

struct Command {
    transaction: Transaction,
    answer: Answer,
}

#[derive(Default)]
struct Feed {
    changes: Mutex<ChangeSet>,
    notify: Notify,
}

type Feeds = Arc<Mutex<Vec<Weak<Feed>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes hold is whole between any two statements, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What callers and the writer share.
struct Core {
    target: Target,
    commands: mpsc::UnboundedSender<Command>,
    replica: watch::Receiver<Replica>,
    closed: watch::Receiver<Option<Arc<CloseReason>>>,
    feeds: Feeds,
}

/// A connection to ovsdb-server. Clones share it.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    plans: mpsc::UnboundedSender<writer::Request>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("target", &self.core.target).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and copies the monitored tables.
    ///
    /// # Errors
    ///
    /// [`ClientError`] that says what to do, when there is no server, or it does not answer in time, or does
    /// not have the database.
    pub async fn connect(target: Target, options: Options, deadline: Instant) -> Result<Client, ClientError> {
        let open = async {
            let stream = Stream::connect(&target).await;
            Client::open(target.clone(), stream, options).await
        };
        timeout_at(deadline, open).await.map_err(|_| ClientError::first_copy_late(&target))?
    }

    async fn open(
        target: Target,
        stream: io::Result<Stream>,
        options: Options,
    ) -> Result<Client, ClientError> {
        let stream = stream
            .map_err(|source| ClientError::Connect { target: target.clone(), source: Arc::new(source) })?;
        let session = Session::new(Instant::now().into_std(), options.session);
        let mut wire = Wire { session, stream, received: vec![0; 64 << 10], unsent: Vec::new(), sent: 0 };
        let closed = |reason| ClientError::Closed { target: target.clone(), reason: Arc::new(reason) };
        let refused = |source| {
            let (target, database) = (target.clone(), options.database.clone());
            ClientError::Monitor { target, database, source }
        };

        wire.session.schema(&options.database);
        let schema = loop {
            if let Event::Schema { outcome, .. } = wire.next_event().await.map_err(closed)? {
                break Arc::new(outcome.map_err(refused)?);
            }
        };
        let mut tables = options.tables;
        for table in &mut tables {
            table.columns.retain(|column| schema.column(&table.table, column).is_some());
        }
        tables.retain(|table| schema.tables.contains_key(&table.table));
        wire.session.monitor(&options.database, tables, Uuid::ZERO);
        let monitored = loop {
            if let Event::Monitored { outcome, .. } = wire.next_event().await.map_err(closed)? {
                break outcome.map_err(refused)?;
            }
        };
        let mut replica = Replica::new(schema);
        replica
            .apply_initial(monitored.found, monitored.last_transaction, monitored.updates)
            .map_err(|error| closed(error.into()))?;
        tracing::debug!(%target, method = monitored.version.method(), "ovsdb replica copied");

        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (replica_sender, replica) = watch::channel(replica);
        let (closed_sender, closed) = watch::channel(None);
        let feeds = Feeds::default();
        let connection = Connection {
            wire,
            database: options.database,
            commands: command_receiver,
            replica: replica_sender,
            feeds: feeds.clone(),
            waiting: HashMap::new(),
        };
        tokio::spawn(connection.run(closed_sender));
        let core = Arc::new(Core { target, commands, replica, closed, feeds });
        let (plans, plan_receiver) = mpsc::unbounded_channel();
        tokio::spawn(writer::run(core.clone(), plan_receiver));
        Ok(Client { core, plans })
    }

    /// Where it is connected to.
    pub fn target(&self) -> &Target {
        &self.core.target
    }

    /// Reads the replica as it is. Updates wait meanwhile, so the closure should be short.
    pub fn read<T>(&self, reader: impl FnOnce(&Replica) -> T) -> T {
        self.core.read(reader)
    }

    /// Follows the replica's changes from now on.
    pub fn subscribe(&self) -> Subscription {
        let feed = Arc::new(Feed::default());
        // No update can come in between while the replica is borrowed.
        let replica = self.core.replica.borrow();
        lock(&self.core.feeds).push(Arc::downgrade(&feed));
        drop(replica);
        Subscription { feed, target: self.core.target.clone(), closed: self.core.closed.clone() }
    }

    /// Waits until the closure finds in the replica what it looks for. `what` says what that is, for the error.
    ///
    /// # Errors
    ///
    /// [`ClientError::Deadline`] or [`ClientError::Closed`].
    pub async fn wait_for<T>(
        &self,
        what: &str,
        deadline: Instant,
        find: impl FnMut(&Replica) -> Option<T>,
    ) -> Result<T, ClientError> {
        self.core.wait_for(what, deadline, find).await
    }

    /// Sends a transaction; when the answer is here, the replica has its changes.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`], [`ClientError::Deadline`] or [`ClientError::Closed`].
    pub async fn transact(
        &self,
        transaction: Transaction,
        deadline: Instant,
    ) -> Result<Results, ClientError> {
        self.core.transact(transaction, deadline).await
    }

    /// Sends a transaction with an increment of `next_cfg`, and waits until ovs-vswitchd has put it into effect.
    ///
    /// The results are those of the transaction's own operations.
    ///
    /// # Errors
    ///
    /// As [`Client::transact`], and [`ClientError::NotInEffect`] when the database has it and ovs-vswitchd has
    /// not.
    pub async fn transact_and_wait(
        &self,
        transaction: Transaction,
        deadline: Instant,
    ) -> Result<Results, ClientError> {
        let (next_cfg, results) = self.core.transact_cfg(transaction, deadline).await?;
        self.core.wait_in_effect(next_cfg, deadline).await?;
        Ok(results)
    }

    /// Makes bridges and ports as planned, and waits until ovs-vswitchd has put them into effect.
    ///
    /// Plans that come while another is on its way are put together into one transaction. A plan that is refused
    /// does not spoil the others: then each is tried on its own. A conflict with another writer is met by
    /// building the transaction anew.
    ///
    /// # Errors
    ///
    /// [`ClientError::Plan`], or as [`Client::transact_and_wait`]. That ovs-vswitchd could not make a port is
    /// said by [`Applied::ofport`].
    pub async fn apply(&self, plan: VswitchTransaction, deadline: Instant) -> Result<Applied, ClientError> {
        let (answer, applied) = oneshot::channel();
        let request = writer::Request { plan, deadline, answer };
        if self.plans.send(request).is_err() {
            return Err(self.core.closed_error().await);
        }
        match timeout_at(deadline + writer::GRACE, applied).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.core.closed_error().await),
            Err(_) => Err(self.core.late("the ports and bridges of a plan")),
        }
    }

    /// Waits for the end of the connection and says why.
    pub async fn closed(&self) -> ClientError {
        self.core.closed_error().await
    }
}

impl Core {
    fn read<T>(&self, reader: impl FnOnce(&Replica) -> T) -> T {
        reader(&self.replica.borrow())
    }

    fn late(&self, what: &str) -> ClientError {
        ClientError::Deadline { target: self.target.clone(), what: what.to_owned() }
    }

    async fn closed_error(&self) -> ClientError {
        closed_error(&self.target, self.closed.clone()).await
    }

    async fn transact(&self, transaction: Transaction, deadline: Instant) -> Result<Results, ClientError> {
        let (answer, outcome) = oneshot::channel();
        if self.commands.send(Command { transaction, answer }).is_err() {
            return Err(self.closed_error().await);
        }
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => Ok(outcome?),
            Ok(Err(_)) => Err(self.closed_error().await),
            Err(_) => Err(self.late("a transaction, which may yet take effect")),
        }
    }

    async fn transact_cfg(
        &self,
        mut transaction: Transaction,
        deadline: Instant,
    ) -> Result<(i64, Results), ClientError> {
        let root = self.read(|replica| replica.vswitch().root().map(|(root, _)| root));
        let own = transaction.operations().len();
        let index = vswitch::push_next_cfg(&mut transaction, root.ok_or(PlanError::NotInitialised)?);
        let mut results = self.transact(transaction, deadline).await?;
        let next_cfg = results.get(index).and_then(|select| select.rows.first()?.integer("next_cfg"));
        results.truncate(own);
        // No row: the root row was replaced meanwhile, and with it went the count.
        Ok((next_cfg.ok_or(PlanError::NotInitialised)?, results))
    }

    async fn wait_for<T>(
        &self,
        what: &str,
        deadline: Instant,
        mut find: impl FnMut(&Replica) -> Option<T>,
    ) -> Result<T, ClientError> {
        let mut replica = self.replica.clone();
        loop {
            if let Some(found) = find(&replica.borrow_and_update()) {
                return Ok(found);
            }
            match timeout_at(deadline, replica.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.closed_error().await),
                Err(_) => return Err(self.late(what)),
            }
        }
    }

    async fn wait_in_effect(&self, next_cfg: i64, deadline: Instant) -> Result<(), ClientError> {
        let reached = |replica: &Replica| (replica.vswitch().cur_cfg() >= next_cfg).then_some(());
        match self.wait_for("ovs-vswitchd", deadline, reached).await {
            Err(ClientError::Deadline { .. }) => {
                let cur_cfg = self.read(|replica| replica.vswitch().cur_cfg());
                Err(ClientError::NotInEffect { next_cfg, cur_cfg })
            }
            other => other,
        }
    }
}

async fn closed_error(target: &Target, mut closed: watch::Receiver<Option<Arc<CloseReason>>>) -> ClientError {
    let reason = match closed.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone(),
        Err(_) => None,
    };
    // The task says its reason before it ends, unless its end is ours.
    let reason = reason.unwrap_or_else(|| Arc::new(CloseReason::Dropped));
    ClientError::Closed { target: target.clone(), reason }
}

/// The changes of a replica since the subscription, or since they were last taken.
///
/// Several changes of one row are one change; what is not taken takes no more room than the rows themselves.
pub struct Subscription {
    feed: Arc<Feed>,
    target: Target,
    closed: watch::Receiver<Option<Arc<CloseReason>>>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscription").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Subscription {
    /// Waits for changes and takes all there are.
    ///
    /// # Errors
    ///
    /// [`ClientError::Closed`] when there will be no more.
    pub async fn next(&mut self) -> Result<Vec<Change>, ClientError> {
        loop {
            let changes = lock(&self.feed.changes).take();
            if !changes.is_empty() {
                return Ok(changes);
            }
            tokio::select! {
                biased;
                () = self.feed.notify.notified() => {}
                error = closed_error(&self.target, self.closed.clone()) => return Err(error),
            }
        }
    }
}

/// A session on a stream.
struct Wire {
    session: Session,
    stream: Stream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    sent: usize,
}

impl Wire {
    /// Moves bytes until the server has said something. Nothing is lost when it is dropped before that.
    async fn next_event(&mut self) -> Result<Event, CloseReason> {
        loop {
            while let Some(message) = self.session.poll_transmit() {
                self.unsent.extend_from_slice(&message);
            }
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            let timeout = Instant::from_std(self.session.poll_timeout());
            tokio::select! {
                done = self.stream.exchange(&self.unsent[self.sent..], &mut self.received) => {
                    let done = done?;
                    self.sent += done.written;
                    if self.sent == self.unsent.len() {
                        self.unsent.clear();
                        self.sent = 0;
                    }
                    match done.read {
                        Some(0) => return Err(CloseReason::Eof),
                        Some(count) => {
                            self.session.receive(Instant::now().into_std(), &self.received[..count])?;
                        }
                        None => {}
                    }
                }
                () = sleep_until(timeout) => self.session.handle_timeout(Instant::now().into_std())?,
            }
        }
    }
}

/// The state of the connection task.
struct Connection {
    wire: Wire,
    database: String,
    commands: mpsc::UnboundedReceiver<Command>,
    replica: watch::Sender<Replica>,
    feeds: Feeds,
    waiting: HashMap<RequestId, Answer>,
}

impl Connection {
    async fn run(mut self, closed: watch::Sender<Option<Arc<CloseReason>>>) {
        if let Err(reason) = self.follow().await {
            tracing::debug!(%reason, "ovsdb connection ended");
            // Before self goes and with it the callers' answers: who finds those gone asks for the reason.
            closed.send_replace(Some(Arc::new(reason)));
        }
    }

    async fn follow(&mut self) -> Result<(), CloseReason> {
        loop {
            tokio::select! {
                event = self.wire.next_event() => self.event(event?)?,
                command = self.commands.recv() => match command {
                    Some(Command { transaction, answer }) => {
                        let id = self.wire.session.transact(&self.database, &transaction);
                        self.waiting.insert(id, answer);
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), CloseReason> {
        match event {
            Event::Transacted { id, outcome } => {
                if let Some(answer) = self.waiting.remove(&id) {
                    // A caller whose deadline has passed does not listen any more.
                    let _ = answer.send(outcome);
                }
            }
            Event::Updated { last_transaction, updates, .. } => {
                let mut outcome = Ok(());
                self.replica.send_modify(|replica| match replica.apply(last_transaction, updates) {
                    Ok(changes) => publish(&self.feeds, changes),
                    Err(error) => outcome = Err(error),
                });
                outcome?;
            }
            // Asked for only while connecting.
            Event::Databases { .. } | Event::Schema { .. } | Event::Monitored { .. } => {}
            // A client asks for no locks.
            Event::Locked { .. } | Event::Unlocked { .. } | Event::LockChanged { .. } => {}
        }
        Ok(())
    }
}

fn publish(feeds: &Feeds, changes: Vec<Change>) {
    lock(feeds).retain(|feed| match feed.upgrade() {
        Some(feed) => {
            lock(&feed.changes).extend(changes.iter().cloned());
            feed.notify.notify_one();
            true
        }
        None => false,
    });
}
