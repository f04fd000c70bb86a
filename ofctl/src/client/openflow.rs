//! A connection to a switch.
//!
//! One task owns the socket and the [`Session`]; a [`Connection`] sends it what is asked, and waits.
//!
//! ```text
//!   Connection (cloned at will) ──commands──▶ task: Session + socket ◀──bytes──▶ switch
//!              ◀──an answer to each command──   │
//!   Events     ◀──packets, ports, the end───────┘
//! ```
//!
//! The task reads and writes by turns, whatever either side of the socket is ready for, so a bundle that is
//! larger than all socket buffers cannot lock up with a switch that answers meanwhile.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ofctl::client::openflow::{Connection, Options, Target};
//! use ofctl::wire::{FlowMod, FlowStatsRequest};
//!
//! let target = Target::Unix("/var/run/openvswitch/br-int.mgmt".into());
//! let (connection, _events) = Connection::connect(target, Options::default()).await?;
//! connection.bundle(vec![FlowMod::add("table=0,priority=0,actions=drop".parse()?)]).await?;
//! for flow in connection.dump_flows(FlowStatsRequest::default()).await? {
//!     println!("{}", flow.entry);
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::stream::{self, Exchange, Stream};
pub use super::target::{Listen, Target};
use crate::flow::FlowStats;
use crate::session::{Config, Event, Failure, Session, SessionError};
use crate::wire::{
    BundleFlags, EncodeError, ErrorCode, Features, FlowMod, FlowRemoved, FlowStatsRequest, FragmentMode,
    Message, MultipartBody, MultipartRequest, PacketIn, PacketOut, PortDescription, PortStatus, SwitchConfig,
    SwitchDescription, Xid,
};

/// How a connection behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The session's own times and limits.
    pub session: Config,
    /// How long each call may take.
    pub timeout: Duration,
    /// Events that may wait to be taken; packets beyond that are dropped, other events end the connection.
    pub event_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { session: Config::default(), timeout: Duration::from_secs(30), event_capacity: 4096 }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The switch closed it, as ovs-vswitchd does when it stops.
    #[error("the switch closed it")]
    Peer,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[source] io::Error),
    /// The session ended.
    #[error(transparent)]
    Session(SessionError),
    /// Events were not taken.
    #[error("{0} events were waiting to be taken")]
    EventsNotTaken(usize),
    /// Nobody holds the [`Connection`] any more.
    #[error("it is not used any more")]
    Unused,
    /// The peer does not take what is sent to it.
    #[error("{0} bytes are waiting, and the switch does not take them")]
    NotTaken(usize),
    /// The peer does not describe itself as a switch must.
    #[error("the peer does not say what switch it is, or what ports it has")]
    NotDescribed,
}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// There is no connection. Trying again helps once the switch is there.
    #[error("cannot connect to {target}: {source}; is ovs-vswitchd running, and does the bridge exist?")]
    Connect {
        /// Where to.
        target: Target,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// Who connected cannot be talked with.
    #[error("{peer} connected, and cannot be talked with: {source}")]
    Accept {
        /// Where it came from.
        peer: String,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The connection has ended; another one is needed. Whether the call was carried out is not known.
    #[error("{what}: the connection to the switch has ended: {reason}")]
    Closed {
        /// The call.
        what: &'static str,
        /// Why it ended.
        reason: Arc<CloseReason>,
    },
    /// The switch refused it, or did not answer as it should.
    #[error("{what}: {failure}")]
    Failed {
        /// The call.
        what: &'static str,
        /// Why.
        #[source]
        failure: Failure,
    },
    /// It cannot be said in OpenFlow. Nothing was sent.
    #[error("{what}: {source}")]
    Encode {
        /// The call.
        what: &'static str,
        /// Why not.
        source: EncodeError,
    },
}

/// A switch that hangs up while we write to it has closed the connection.
pub(super) fn closed_by(error: io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => CloseReason::Peer,
        _ => CloseReason::Socket(error),
    }
}

/// Something that the switch says by itself.
#[derive(Debug, Clone)]
pub enum Notification {
    /// A packet for the controller.
    PacketIn(Box<PacketIn>),
    /// A port came, went or changed.
    PortStatus(Box<PortStatus>),
    /// A flow entry went.
    FlowRemoved(Box<FlowRemoved>),
    /// An error about a message to which no answer comes, such as a packet-out.
    Error(ErrorCode),
    /// The connection has ended; nothing comes after this.
    Closed(Arc<CloseReason>),
}

/// What the switch says by itself, and the end of the connection.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Notification>,
    closed: Arc<OnceLock<Arc<CloseReason>>>,
    ended: bool,
}

impl Events {
    /// The next one; `None` after [`Notification::Closed`].
    pub async fn next(&mut self) -> Option<Notification> {
        if let Some(notification) = self.receiver.recv().await {
            return Some(notification);
        }
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        self.closed.get().cloned().map(Notification::Closed)
    }
}

/// What is asked of the task.
enum Ask {
    Request(Message),
    Batch(Vec<Message>),
    Bundle(Vec<Message>, BundleFlags),
    Send(Message),
}

enum Answer {
    Message(Box<Message>),
    Done,
}

enum Refusal {
    Failure(Failure),
    Encode(EncodeError),
}

type Answering = oneshot::Sender<Result<Answer, Refusal>>;

struct Command {
    ask: Ask,
    deadline: Instant,
    answer: Answering,
}

/// A connection to a switch. Clones share it; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Connection {
    commands: mpsc::Sender<Command>,
    closed: Arc<OnceLock<Arc<CloseReason>>>,
    timeout: Duration,
}

impl fmt::Debug for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Command").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// If there is nobody at the target, or it does not speak OpenFlow 1.3.
    pub async fn connect(target: Target, options: Options) -> Result<(Connection, Events), ClientError> {
        let connecting = tokio::time::timeout(options.timeout, Stream::connect(&target));
        let stream = connecting
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| ClientError::Connect { target: target.clone(), source: Arc::new(source) })?;
        Self::over(stream, target.to_string(), options).await
    }

    async fn over(
        stream: Stream,
        name: String,
        options: Options,
    ) -> Result<(Connection, Events), ClientError> {
        let (commands, command_receiver) = mpsc::channel(64);
        let (events, receiver) = mpsc::channel(options.event_capacity.max(1));
        let closed = Arc::new(OnceLock::new());
        let (ready, is_ready) = oneshot::channel();
        let task = Task {
            session: Session::new(options.session, Instant::now()),
            stream,
            commands: command_receiver,
            events,
            event_capacity: options.event_capacity,
            waiting: HashMap::new(),
            ready: Some(ready),
        };
        let end = Arc::clone(&closed);
        tokio::spawn(async move {
            let Err(reason) = task.run(&end).await;
            tracing::debug!(target = %name, %reason, "OpenFlow connection ended");
        });
        let connection = Connection { commands, closed: Arc::clone(&closed), timeout: options.timeout };
        match is_ready.await {
            Ok(()) => Ok((connection, Events { receiver, closed, ended: false })),
            Err(_) => Err(connection.closed_error("handshake")),
        }
    }

    /// The same connection, whose calls may take this long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Connection {
        Connection { timeout, ..self.clone() }
    }

    /// Why the connection ended, if it has.
    pub fn closed(&self) -> Option<Arc<CloseReason>> {
        self.closed.get().cloned()
    }

    fn closed_error(&self, what: &'static str) -> ClientError {
        let reason = self.closed().unwrap_or_else(|| Arc::new(CloseReason::Unused));
        ClientError::Closed { what, reason }
    }

    async fn ask(&self, what: &'static str, ask: Ask) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.timeout;
        let (answer, answered) = oneshot::channel();
        let command = Command { ask, deadline, answer };
        // The session keeps the deadline once it has the command; before that a full queue may delay it.
        match tokio::time::timeout_at(deadline.into(), self.commands.send(command)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(self.closed_error(what)),
            Err(_) => return Err(ClientError::Failed { what, failure: Failure::TimedOut }),
        }
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Refusal::Failure(failure))) => Err(ClientError::Failed { what, failure }),
            Ok(Err(Refusal::Encode(source))) => Err(ClientError::Encode { what, source }),
            Err(_) => Err(self.closed_error(what)),
        }
    }

    async fn request<T>(
        &self,
        what: &'static str,
        message: Message,
        take: impl FnOnce(Message) -> Option<T>,
    ) -> Result<T, ClientError> {
        let answer = match self.ask(what, Ask::Request(message)).await? {
            Answer::Message(message) => take(*message),
            Answer::Done => None,
        };
        answer.ok_or(ClientError::Failed { what, failure: Failure::WrongAnswer })
    }

    async fn multipart<T>(
        &self,
        what: &'static str,
        request: MultipartRequest,
        take: impl FnOnce(MultipartBody) -> Option<T>,
    ) -> Result<T, ClientError> {
        self.request(what, Message::MultipartRequest(request), |message| match message {
            Message::MultipartReply(reply) => take(reply.body),
            _ => None,
        })
        .await
    }

    /// Sends any request to which one answer comes, and gives the answer; of a multipart one, all parts in one.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`].
    pub async fn transact(&self, request: Message) -> Result<Message, ClientError> {
        self.request("request", request, Some).await
    }

    /// The flow entries that the request names.
    ///
    /// # Errors
    /// If the switch refuses, does not answer in time, or the connection has ended.
    pub async fn dump_flows(&self, request: FlowStatsRequest) -> Result<Vec<FlowStats>, ClientError> {
        self.multipart("dump flows", MultipartRequest::Flow(request), |body| match body {
            MultipartBody::Flow(flows) => Some(flows),
            _ => None,
        })
        .await
    }

    /// The switch's ports.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`].
    pub async fn port_desc(&self) -> Result<Vec<PortDescription>, ClientError> {
        self.multipart("describe ports", MultipartRequest::PortDescription, |body| match body {
            MultipartBody::PortDescription(ports) => Some(ports),
            _ => None,
        })
        .await
    }

    /// What the switch says of itself.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`].
    pub async fn description(&self) -> Result<SwitchDescription, ClientError> {
        self.multipart("describe switch", MultipartRequest::Description, |body| match body {
            MultipartBody::Description(description) => Some(*description),
            _ => None,
        })
        .await
    }

    /// The switch's number and abilities.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`].
    pub async fn features(&self) -> Result<Features, ClientError> {
        self.request("ask for features", Message::FeaturesRequest, |message| match message {
            Message::FeaturesReply(features) => Some(features),
            _ => None,
        })
        .await
    }

    /// Treatment of fragments, and how much of a packet that missed is sent.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`].
    pub async fn config(&self) -> Result<SwitchConfig, ClientError> {
        self.request("ask for configuration", Message::GetConfigRequest, |message| match message {
            Message::GetConfigReply(config) => Some(config),
            _ => None,
        })
        .await
    }

    /// Waits until the switch has carried out all that was sent before.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`].
    pub async fn barrier(&self) -> Result<(), ClientError> {
        self.request("barrier", Message::BarrierRequest, |message| {
            matches!(message, Message::BarrierReply).then_some(())
        })
        .await
    }

    /// Carries out all of these, in order, or none. When it returns, the switch has done it.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`]; a refusal shows the flow that was refused.
    pub async fn bundle(&self, flows: Vec<FlowMod>) -> Result<(), ClientError> {
        self.bundle_messages(flows.into_iter().map(Message::FlowMod).collect()).await
    }

    /// [`Connection::bundle`] of flow and group changes together.
    ///
    /// # Errors
    /// As [`Connection::bundle`].
    pub async fn bundle_messages(&self, messages: Vec<Message>) -> Result<(), ClientError> {
        self.ask("bundle", Ask::Bundle(messages, BundleFlags::ATOMIC_ORDERED)).await.map(drop)
    }

    /// Carries these out in order, each by itself: if one is refused, the others are still done.
    ///
    /// # Errors
    /// As [`Connection::bundle`].
    pub async fn send_flows(&self, flows: Vec<FlowMod>) -> Result<(), ClientError> {
        let messages = flows.into_iter().map(Message::FlowMod).collect();
        self.ask("send flows", Ask::Batch(messages)).await.map(drop)
    }

    /// [`Connection::send_flows`] of any messages to which no answer comes but an error.
    ///
    /// # Errors
    /// As [`Connection::bundle`].
    pub async fn send_messages(&self, messages: Vec<Message>) -> Result<(), ClientError> {
        self.ask("send", Ask::Batch(messages)).await.map(drop)
    }

    /// Sets the treatment of fragments, and how much of a packet that missed is sent. A restart of the switch
    /// forgets it.
    ///
    /// # Errors
    /// As [`Connection::dump_flows`].
    pub async fn set_config(&self, fragments: FragmentMode, miss_send_len: u16) -> Result<(), ClientError> {
        let message = Message::SetConfig(SwitchConfig { fragments, miss_send_len });
        self.ask("set configuration", Ask::Batch(vec![message])).await.map(drop)
    }

    /// Sends a packet. No answer comes; if the switch refuses, that is a [`Notification::Error`].
    ///
    /// # Errors
    /// If the packet cannot be encoded, or the connection has ended.
    pub async fn packet_out(&self, packet: PacketOut) -> Result<(), ClientError> {
        self.ask("packet out", Ask::Send(Message::PacketOut(packet))).await.map(drop)
    }
}

/// A place where switches connect by themselves, as those do that were told to by `ovs-vsctl set-controller`.
///
/// For one application over all of them there is [`Controller`](super::controller::Controller).
#[derive(Debug)]
pub struct Listener(stream::Listener);

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// If the place is taken or not ours.
    pub async fn bind(place: &Listen) -> io::Result<Listener> {
        stream::Listener::bind(place).await.map(Listener)
    }

    /// The address, with its port if any would do; none of a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address()
    }

    /// Waits for a switch to connect. Shaking hands with it is a matter of its own, so that one that is slow does
    /// not keep others waiting.
    ///
    /// # Errors
    /// If the system has no room, which passes when other connections end.
    pub async fn accept(&self) -> io::Result<Arrival> {
        self.0.accept().await.map(Arrival)
    }
}

/// A switch that has connected, and has not been spoken with.
#[derive(Debug)]
pub struct Arrival(stream::Incoming);

impl Arrival {
    /// Where it came from.
    pub fn peer(&self) -> String {
        self.0.peer()
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// If it does not show a certificate where one is wanted, or does not speak OpenFlow 1.3.
    pub async fn connection(self, options: Options) -> Result<(Connection, Events), ClientError> {
        let peer = self.0.peer();
        let accepted = tokio::time::timeout(options.timeout, self.0.accept()).await;
        let stream = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream =
            stream.map_err(|source| ClientError::Accept { peer: peer.clone(), source: Arc::new(source) })?;
        Connection::over(stream, peer, options).await
    }
}

struct Task {
    session: Session,
    stream: Stream,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Notification>,
    event_capacity: usize,
    waiting: HashMap<Xid, Answering>,
    ready: Option<oneshot::Sender<()>>,
}

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

impl Task {
    /// Runs to the end of the connection, and says why before anybody can notice.
    async fn run(
        mut self,
        closed: &OnceLock<Arc<CloseReason>>,
    ) -> Result<std::convert::Infallible, Arc<CloseReason>> {
        let mut buffer = vec![0; READ_BYTES];
        let reason = loop {
            if let Err(reason) = self.turn(&mut buffer).await {
                break Arc::new(reason);
            }
        };
        // The peer may want to know why.
        self.stream.last_words(self.session.poll_transmit());
        let reason = Arc::clone(closed.get_or_init(|| reason));
        Err(reason)
    }

    /// Waits for whatever comes first, and does it.
    async fn turn(&mut self, buffer: &mut [u8]) -> Result<(), CloseReason> {
        tokio::select! {
            exchanged = self.stream.exchange(self.session.poll_transmit(), buffer) => {
                self.take_exchanged(exchanged.map_err(closed_by)?, buffer)?;
            }
            command = self.commands.recv() => match command {
                Some(command) => self.carry_out(command),
                None => return Err(CloseReason::Unused),
            },
            () = tokio::time::sleep_until(self.session.poll_timeout().into()) => {
                self.session.handle_timeout(Instant::now()).map_err(CloseReason::Session)?;
            }
        }
        self.deliver()
    }

    fn take_exchanged(&mut self, done: Exchange, buffer: &[u8]) -> Result<(), CloseReason> {
        self.session.transmitted(done.written);
        match done.read {
            Some(0) => Err(CloseReason::Peer),
            Some(n) => self.session.receive(&buffer[..n], Instant::now()).map_err(CloseReason::Session),
            None => Ok(()),
        }
    }

    fn carry_out(&mut self, command: Command) {
        let Command { ask, deadline, answer } = command;
        let begun = match ask {
            Ask::Request(message) => self.session.request(message, deadline),
            Ask::Batch(messages) => self.session.batch(messages, deadline),
            Ask::Bundle(messages, flags) => self.session.bundle(messages, flags, deadline),
            Ask::Send(message) => {
                let sent = self.session.send(&message).map(|_| Answer::Done).map_err(Refusal::Encode);
                // The caller may have given up.
                let _ = answer.send(sent);
                return;
            }
        };
        match begun {
            Ok(xid) => {
                self.waiting.insert(xid, answer);
            }
            Err(error) => {
                let _ = answer.send(Err(Refusal::Encode(error)));
            }
        }
    }

    fn answer(&mut self, xid: Xid, result: Result<Answer, Refusal>) {
        if let Some(answer) = self.waiting.remove(&xid) {
            let _ = answer.send(result);
        }
    }

    fn deliver(&mut self) -> Result<(), CloseReason> {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Ready => {
                    if let Some(ready) = self.ready.take() {
                        let _ = ready.send(());
                    }
                }
                Event::Reply { xid, message } => self.answer(xid, Ok(Answer::Message(message))),
                Event::Applied { xid } => self.answer(xid, Ok(Answer::Done)),
                Event::Failed { xid, failure } => self.answer(xid, Err(Refusal::Failure(failure))),
                Event::PacketIn(packet) => {
                    if self.events.try_send(Notification::PacketIn(packet)).is_err() {
                        tracing::debug!("a packet-in was dropped: nobody takes events");
                    }
                }
                Event::PortStatus(status) => self.notify(Notification::PortStatus(status))?,
                Event::FlowRemoved(removed) => self.notify(Notification::FlowRemoved(removed))?,
                Event::StrayError { xid, error } => {
                    let error = error.error;
                    tracing::debug!(%xid, %error, "the switch refused a message to which no answer comes");
                    self.notify(Notification::Error(error))?;
                }
                // Late answers to what was given up, and what a switch does not ask of a controller.
                Event::Message { xid, message } => tracing::trace!(%xid, ?message, "passed over"),
                Event::Undecodable(error) => tracing::warn!(%error, "a message of the switch cannot be read"),
            }
        }
        Ok(())
    }

    fn notify(&self, notification: Notification) -> Result<(), CloseReason> {
        match self.events.try_send(notification) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(CloseReason::EventsNotTaken(self.event_capacity)),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}
