//! An OpenFlow 1.3 session without I/O: bytes and the time go in, bytes and events come out.
//!
//! The caller writes what [`Session::poll_transmit`] shows, gives what it reads to [`Session::receive`], calls
//! [`Session::handle_timeout`] when [`Session::poll_timeout`] says so, and takes [`Session::poll_event`] until
//! there is none. Nothing here knows of sockets or clocks, so two sessions can be driven against each other in
//! virtual time. Both ends of a connection are the same type: what is a request to this end is an
//! [`Event::Message`], to be answered with [`Session::reply`].
//!
//! ```
//! use std::time::Instant;
//! use ofctl::session::{Config, Event, Session};
//!
//! let now = Instant::now();
//! let mut controller = Session::new(Config::default(), now);
//! let mut switch = Session::new(Config::default(), now);
//! let hello = switch.poll_transmit().to_vec();
//! controller.receive(&hello, now)?;
//! assert_eq!(controller.poll_event(), Some(Event::Ready));
//! # Ok::<(), ofctl::session::SessionError>(())
//! ```

mod operation;
mod transmit;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(crate) use operation::append;
pub use operation::{Failure, Refused};
use operation::{Operation, Step};
use transmit::Transmit;

use crate::wire::{
    BundleControl, BundleControlType, BundleFlags, BundleId, DecodeError, EncodeError, ErrorCode,
    ErrorMessage, FlowMod, FlowRemoved, Hello, Message, MessageHeader, PacketIn, PortStatus, Xid,
    encode_bundle_add,
};

/// What a session may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// Silence after which an echo request is sent.
    pub echo_interval: Duration,
    /// Silence after which the peer is held to be gone. A switch that applies a large bundle is silent for
    /// seconds.
    pub silence_limit: Duration,
    /// Bytes of all parts of one multipart reply.
    pub multipart_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            handshake_timeout: Duration::from_secs(5),
            echo_interval: Duration::from_secs(5),
            silence_limit: Duration::from_secs(30),
            multipart_limit: 256 << 20,
        }
    }
}

/// The session is over; a new connection is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The peer speaks other versions.
    #[error(
        "the peer does not speak OpenFlow 1.3 (its hello: {0:?}); enable OpenFlow13 in the bridge's protocols"
    )]
    Version(Hello),
    /// The peer's first message is no hello.
    #[error("the peer's first message is no hello")]
    NoHello,
    /// The peer refused our hello.
    #[error("the peer refused the handshake: {0}")]
    HelloRefused(ErrorCode),
    /// The bytes are no messages.
    #[error("the peer's bytes are not OpenFlow: {0}")]
    Framing(#[source] DecodeError),
    /// No hello in time.
    #[error("the peer sent no hello in time")]
    HandshakeTimeout,
    /// The peer does not answer echo requests.
    #[error("the peer has been silent for {0:?}")]
    Silent(Duration),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done.
    Ready,
    /// The answer to a request; of a multipart one, all parts in one.
    Reply {
        /// The request.
        xid: Xid,
        /// The answer.
        message: Box<Message>,
    },
    /// A batch or bundle was carried out in full.
    Applied {
        /// The batch or bundle.
        xid: Xid,
    },
    /// A request, batch or bundle failed.
    Failed {
        /// The request, batch or bundle.
        xid: Xid,
        /// Why.
        failure: Failure,
    },
    /// A packet from the switch.
    PacketIn(Box<PacketIn>),
    /// A port came, went or changed.
    PortStatus(Box<PortStatus>),
    /// A flow entry went.
    FlowRemoved(Box<FlowRemoved>),
    /// Any other message that is no answer: for an end that plays the switch, a request.
    Message {
        /// Its transaction number, for the answer.
        xid: Xid,
        /// The message.
        message: Box<Message>,
    },
    /// An error about something that was not asked for here, or no more.
    StrayError {
        /// Transaction number of what was refused.
        xid: Xid,
        /// The error, and what it is about.
        error: ErrorMessage,
    },
    /// A message that cannot be read, and that is no answer to anything; it was refused and passed over.
    Undecodable(DecodeError),
}

/// `OFPT_ERROR`.
const OFPT_ERROR: u8 = 1;

/// Bytes of a refused message that go back in an error, at least 64 by OpenFlow 1.3.5 §7.5.4.
const ERROR_DATA: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Hello,
    Ready,
}

/// One end of an OpenFlow connection.
#[derive(Debug)]
pub struct Session {
    config: Config,
    phase: Phase,
    begun: Instant,
    last_received: Instant,
    echo_sent: bool,
    next_xid: u32,
    next_bundle: u32,
    received: Vec<u8>,
    transmit: Transmit,
    operations: Vec<Operation>,
    events: VecDeque<Event>,
}

impl Session {
    /// Begins a session; its hello can be transmitted at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut session = Session {
            config,
            phase: Phase::Hello,
            begun: now,
            last_received: now,
            echo_sent: false,
            next_xid: 1,
            next_bundle: 1,
            received: Vec::new(),
            transmit: Transmit::default(),
            operations: Vec::new(),
            events: VecDeque::new(),
        };
        let xid = session.allocate(1);
        session.put(xid, &Message::Hello(Hello::OPENFLOW_13));
        session.transmit.hold_the_rest();
        session
    }

    /// True once both hellos are there.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Bytes to be written. Until the handshake is done that is the hello alone.
    pub fn poll_transmit(&self) -> &[u8] {
        self.transmit.pending()
    }

    /// Says that the first `n` bytes of [`Session::poll_transmit`] were written.
    pub fn transmitted(&mut self, n: usize) {
        self.transmit.advance(n);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        let liveness = match self.phase {
            Phase::Hello => self.begun + self.config.handshake_timeout,
            Phase::Ready if self.echo_sent => self.last_received + self.config.silence_limit,
            Phase::Ready => self.last_received + self.config.echo_interval.min(self.config.silence_limit),
        };
        self.operations
            .iter()
            .map(|operation| operation.deadline)
            .min()
            .map_or(liveness, |first| first.min(liveness))
    }

    /// Does what is due: fails requests that took too long, sends an echo request, or gives the peer up.
    ///
    /// # Errors
    /// If the peer is gone.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let (overdue, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.operations).into_iter().partition(|operation| operation.deadline <= now);
        self.operations = rest;
        for operation in overdue {
            if let Some((bundle, flags)) = operation.bundle() {
                // The switch keeps what is not discarded; its answer is passed over.
                let xid = self.allocate(1);
                let kind = BundleControlType::DiscardRequest;
                self.put(xid, &Message::BundleControl(BundleControl { bundle, kind, flags }));
            }
            self.events.push_back(Event::Failed { xid: operation.xid, failure: Failure::TimedOut });
        }
        let silence = now.saturating_duration_since(self.last_received);
        match self.phase {
            Phase::Hello if now >= self.begun + self.config.handshake_timeout => {
                return Err(SessionError::HandshakeTimeout);
            }
            Phase::Ready if silence >= self.config.silence_limit => {
                return Err(SessionError::Silent(silence));
            }
            Phase::Ready if silence >= self.config.echo_interval && !self.echo_sent => {
                let xid = self.allocate(1);
                self.put(xid, &Message::EchoRequest(Vec::new()));
                self.echo_sent = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes bytes as they came from the peer, cut anywhere.
    ///
    /// # Errors
    /// If the session is over. Bytes still to be transmitted may then hold a last word for the peer.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), SessionError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.last_received = now;
        self.echo_sent = false;
        let mut stream = std::mem::take(&mut self.received);
        stream.extend_from_slice(bytes);
        let mut rest = stream.as_slice();
        let result = loop {
            match MessageHeader::peek(rest) {
                Ok(Some(header)) => {
                    let Some((message, after)) = rest.split_at_checked(header.length.into()) else {
                        break Ok(());
                    };
                    rest = after;
                    if let Err(error) = self.take_message(header, message) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(SessionError::Framing(error)),
            }
        };
        let used = stream.len() - rest.len();
        stream.drain(..used);
        self.received = stream;
        result
    }

    fn take_message(&mut self, header: MessageHeader, bytes: &[u8]) -> Result<(), SessionError> {
        let decoded = Message::decode(bytes);
        if self.phase == Phase::Hello {
            return self.take_hello(header.xid, decoded);
        }
        let (xid, message) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                match self.operations.iter().position(|operation| operation.awaits(header.xid)) {
                    Some(place) => {
                        let xid = self.operations.swap_remove(place).xid;
                        self.events.push_back(Event::Failed { xid, failure: Failure::Undecodable(error) });
                    }
                    None => {
                        self.refuse(header, bytes, &error);
                        self.events.push_back(Event::Undecodable(error));
                    }
                }
                return Ok(());
            }
        };
        match message {
            // A second hello says nothing new.
            Message::Hello(_) | Message::EchoReply(_) => {}
            Message::EchoRequest(data) => self.put(xid, &Message::EchoReply(data)),
            Message::PacketIn(packet) => self.events.push_back(Event::PacketIn(Box::new(packet))),
            Message::PortStatus(status) => self.events.push_back(Event::PortStatus(Box::new(status))),
            Message::FlowRemoved(removed) => self.events.push_back(Event::FlowRemoved(Box::new(removed))),
            Message::Error(error) => self.take_error(xid, error),
            message => self.take_answer(xid, message, bytes.len()),
        }
        Ok(())
    }

    /// Answers a message that cannot be read as a switch would, with its beginning. An error is never answered,
    /// or two ends could go on for ever.
    fn refuse(&mut self, header: MessageHeader, bytes: &[u8], error: &DecodeError) {
        if header.kind == OFPT_ERROR {
            return;
        }
        if let Some(error) = ErrorCode::from_name(error.name()) {
            let data = bytes[..bytes.len().min(ERROR_DATA)].to_vec();
            self.put(header.xid, &Message::Error(ErrorMessage { error, data }));
        }
    }

    fn take_hello(
        &mut self,
        xid: Xid,
        decoded: Result<(Xid, Message), DecodeError>,
    ) -> Result<(), SessionError> {
        match decoded {
            Ok((_, Message::Hello(hello))) if hello.speaks_13() => {
                self.phase = Phase::Ready;
                self.transmit.release();
                self.events.push_back(Event::Ready);
                Ok(())
            }
            Ok((_, Message::Hello(hello))) => {
                let incompatible = ErrorCode { experimenter: None, kind: 0, code: 0 };
                let data = b"OpenFlow 1.3 only".to_vec();
                // What was held back can never be sent any more.
                self.transmit.drop_held();
                self.put(xid, &Message::Error(ErrorMessage { error: incompatible, data }));
                self.transmit.release();
                Err(SessionError::Version(hello))
            }
            Ok((_, Message::Error(error))) => Err(SessionError::HelloRefused(error.error)),
            Ok(_) => Err(SessionError::NoHello),
            Err(error) => Err(SessionError::Framing(error)),
        }
    }

    fn take_error(&mut self, xid: Xid, error: ErrorMessage) {
        let Some(place) = self.operations.iter().position(|operation| operation.covers(xid)) else {
            self.events.push_back(Event::StrayError { xid, error });
            return;
        };
        let step = self.operations[place].refused(xid, &error);
        self.carry_out(place, step);
    }

    fn take_answer(&mut self, xid: Xid, message: Message, length: usize) {
        match self.operations.iter().position(|operation| operation.awaits(xid)) {
            Some(place) => {
                let step = self.operations[place].answered(message, length, self.config.multipart_limit);
                self.carry_out(place, step);
            }
            None => self.events.push_back(Event::Message { xid, message: Box::new(message) }),
        }
    }

    fn carry_out(&mut self, place: usize, step: Step) {
        match step {
            Step::Wait => {}
            Step::Control { bundle, flags, kind } => {
                let xid = self.allocate(1);
                self.operations[place].await_instead(xid);
                self.put(xid, &Message::BundleControl(BundleControl { bundle, kind, flags }));
            }
            Step::Done(event) => {
                self.operations.swap_remove(place);
                self.events.push_back(event);
            }
        }
    }

    /// Reserves `n` consecutive transaction numbers, and gives the first.
    fn allocate(&mut self, n: u32) -> Xid {
        // A range never wraps, so that it can be compared by order; zero is for whoever answers nothing.
        if self.next_xid.checked_add(n).is_none() {
            self.next_xid = 1;
        }
        let first = self.next_xid;
        self.next_xid += n;
        Xid(first)
    }

    /// Appends one of the session's own messages, which are all short and free of actions.
    fn put(&mut self, xid: Xid, message: &Message) {
        let written = message.encode(xid, self.transmit.buffer());
        debug_assert!(written.is_ok(), "a short message was refused: {written:?}");
    }

    /// Sends a message to which an answer comes, and gives the number that the answer's event will carry.
    ///
    /// # Errors
    /// If the message cannot be written; nothing is sent then.
    pub fn request(&mut self, message: Message, deadline: Instant) -> Result<Xid, EncodeError> {
        let xid = self.allocate(1);
        message.encode(xid, self.transmit.buffer())?;
        self.operations.push(Operation::request(xid, deadline, message));
        Ok(xid)
    }

    /// Sends a message to which no answer comes, such as a packet-out. If the switch refuses it, that is an
    /// [`Event::StrayError`] with the number that is given here.
    ///
    /// # Errors
    /// If the message cannot be written; nothing is sent then.
    pub fn send(&mut self, message: &Message) -> Result<Xid, EncodeError> {
        let xid = self.allocate(1);
        message.encode(xid, self.transmit.buffer())?;
        Ok(xid)
    }

    /// Answers a message of the peer.
    ///
    /// # Errors
    /// If the message cannot be written; nothing is sent then.
    pub fn reply(&mut self, xid: Xid, message: &Message) -> Result<(), EncodeError> {
        message.encode(xid, self.transmit.buffer())
    }

    /// Sends messages one after the other without waiting, and a barrier: [`Event::Applied`] says that all were
    /// carried out, [`Event::Failed`] which ones were refused; the others were carried out.
    ///
    /// # Errors
    /// If a message cannot be written; nothing is sent then.
    pub fn batch(&mut self, messages: Vec<Message>, deadline: Instant) -> Result<Xid, EncodeError> {
        let mark = self.transmit.mark();
        let first = self.allocate(operation::count(&messages) + 1);
        let barrier = Xid(first.0 + operation::count(&messages));
        let buffer = self.transmit.buffer();
        let written =
            messages.iter().zip(first.0..).try_for_each(|(message, xid)| message.encode(Xid(xid), buffer));
        if let Err(error) = written {
            self.transmit.take_back(mark);
            return Err(error);
        }
        self.put(barrier, &Message::BarrierRequest);
        self.operations.push(Operation::batch(first, barrier, deadline, messages));
        Ok(first)
    }

    /// Sends messages as one bundle (ONF extension 230), which is committed only if none of them was refused.
    ///
    /// All goes out at once up to the request to close the bundle; when that is answered, every refusal has been
    /// heard, and the bundle is committed or discarded. [`Event::Applied`] is the answer to the commit, and as
    /// good as that to a barrier.
    ///
    /// # Errors
    /// If a message cannot be written; nothing is sent then.
    pub fn bundle(
        &mut self,
        messages: Vec<Message>,
        flags: BundleFlags,
        deadline: Instant,
    ) -> Result<Xid, EncodeError> {
        let mark = self.transmit.mark();
        let count = operation::count(&messages);
        // The request to open, the messages, the request to close.
        let open = self.allocate(count + 2);
        let close = Xid(open.0 + count + 1);
        let bundle = BundleId(self.next_bundle);
        self.next_bundle = self.next_bundle.wrapping_add(1);
        let control = |kind| Message::BundleControl(BundleControl { bundle, kind, flags });
        self.put(open, &control(BundleControlType::OpenRequest));
        let buffer = self.transmit.buffer();
        let written = messages.iter().zip(open.0 + 1..).try_for_each(|(message, xid)| {
            encode_bundle_add(bundle, flags, Xid(xid), buffer, |xid, out| message.encode(xid, out))
        });
        if let Err(error) = written {
            self.transmit.take_back(mark);
            return Err(error);
        }
        self.put(close, &control(BundleControlType::CloseRequest));
        self.operations.push(Operation::for_bundle(open, close, bundle, flags, deadline, messages));
        Ok(open)
    }

    /// [`Session::bundle`] of flow changes alone.
    ///
    /// # Errors
    /// If a message cannot be written; nothing is sent then.
    pub fn bundle_flows(
        &mut self,
        flows: Vec<FlowMod>,
        flags: BundleFlags,
        deadline: Instant,
    ) -> Result<Xid, EncodeError> {
        self.bundle(flows.into_iter().map(Message::FlowMod).collect(), flags, deadline)
    }
}

#[cfg(test)]
mod tests;
