//! A link: one connection to one switch, from its first byte to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::core::Registered;
use super::reach::Reach;
use crate::client::openflow::{CloseReason, closed_by};
use crate::client::stream::{Exchange, Stream};
use crate::kit::{Connected, DatapathId, Event};
use crate::session::{self, Failure, Session};
use crate::wire::{
    ErrorCode, ErrorMessage, Features, Message, MultipartBody, MultipartRequest, PortDescription,
    SwitchConfig, Xid,
};

/// A connection, of this controller's many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkId(pub(super) u64);

/// What a link tells the core.
pub(super) enum Report {
    Up(DatapathId, Registered),
    Events(DatapathId, LinkId, Vec<Event>),
    Gone(DatapathId, LinkId),
}

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Events that a link holds while the core is busy; with more it stops reading.
const EVENTS: usize = 1024;

/// Runs a connection to its end.
pub(super) async fn run(stream: Stream, peer: String, reach: &Reach) -> CloseReason {
    let (sender, messages) = mpsc::unbounded_channel();
    let mut link = Link {
        id: reach.number(),
        session: Session::new(reach.options.session, Instant::now()),
        stream,
        reach,
        phase: Phase::Greeting(Some((peer, sender))),
        events: Vec::new(),
        dropped: Arc::new(AtomicUsize::new(0)),
    };
    let reason = link.follow(messages).await;
    link.stream.last_words(link.session.poll_transmit());
    if let Phase::Up(switch) = link.phase {
        // What it said last was said; without a core there is nobody to care.
        if !link.events.is_empty() {
            let _ = reach.reports.send(Report::Events(switch, link.id, link.events)).await;
        }
        let _ = reach.reports.send(Report::Gone(switch, link.id)).await;
    }
    reason
}

type Sender = mpsc::UnboundedSender<Vec<Message>>;

enum Phase {
    /// Before the hellos. The core's end of the queue waits with the name of the peer.
    Greeting(Option<(String, Sender)>),
    /// The switch describes itself.
    Asking(Questions),
    /// The core knows it.
    Up(DatapathId),
}

/// What a switch is asked when it connects.
struct Questions {
    features: (Xid, Option<Features>),
    /// How it treats fragments is to stay as it is. A switch need not say.
    config: (Xid, Option<Option<SwitchConfig>>),
    ports: (Xid, Option<Vec<PortDescription>>),
    core: Option<(String, Sender)>,
}

struct Link<'a> {
    id: LinkId,
    session: Session,
    stream: Stream,
    reach: &'a Reach,
    phase: Phase,
    events: Vec<Event>,
    dropped: Arc<AtomicUsize>,
}

impl Link<'_> {
    async fn follow(&mut self, mut messages: mpsc::UnboundedReceiver<Vec<Message>>) -> CloseReason {
        let mut buffer = vec![0; READ_BYTES];
        let mut wake_at = self.session.poll_timeout();
        let timer = tokio::time::sleep_until(wake_at.into());
        tokio::pin!(timer);
        loop {
            // Each byte that comes in moves the session's deadline on; the timer is only moved when it matters.
            let deadline = self.session.poll_timeout();
            if deadline < wake_at || wake_at <= Instant::now() && deadline > wake_at {
                wake_at = deadline;
                timer.as_mut().reset(wake_at.into());
            }
            let into = if self.events.len() < EVENTS { &mut buffer[..] } else { &mut [] };
            let up = match self.phase {
                Phase::Up(switch) => Some(switch),
                _ => None,
            };
            let turned = tokio::select! {
                biased;
                permit = self.reach.reports.reserve(), if up.is_some() && !self.events.is_empty() => {
                    let (Ok(permit), Some(switch)) = (permit, up) else { return CloseReason::Unused };
                    let events = std::mem::take(&mut self.events);
                    permit.send(Report::Events(switch, self.id, events));
                    Ok(())
                }
                batch = messages.recv() => match batch {
                    Some(batch) => self.send(&batch),
                    None => return CloseReason::Unused,
                },
                done = self.stream.exchange(self.session.poll_transmit(), into) => match done {
                    Ok(done) => self.take_exchanged(done, &buffer),
                    Err(error) => Err(closed_by(error)),
                },
                () = &mut timer => {
                    wake_at = Instant::now();
                    self.session.handle_timeout(wake_at).map_err(CloseReason::Session)
                }
            };
            let turned = match turned {
                Ok(()) => self.deliver().await,
                failed => failed,
            };
            if let Err(reason) = turned {
                return reason;
            }
        }
    }

    fn take_exchanged(&mut self, done: Exchange, buffer: &[u8]) -> Result<(), CloseReason> {
        self.session.transmitted(done.written);
        match done.read {
            Some(0) => Err(CloseReason::Peer),
            Some(n) => self.session.receive(&buffer[..n], Instant::now()).map_err(CloseReason::Session),
            None => Ok(()),
        }
    }

    /// Writes what the application says. Multipart requests are followed, so that the parts of their answers can be
    /// put together.
    fn send(&mut self, batch: &[Message]) -> Result<(), CloseReason> {
        for message in batch {
            let sent = match message {
                Message::MultipartRequest(_) => self.ask(message.clone()),
                message => self.session.send(message),
            };
            if let Err(error) = sent {
                tracing::warn!(%error, ?message, "the application said what OpenFlow cannot say");
            }
        }
        let unsent = self.session.poll_transmit().len();
        if unsent > self.reach.options.unsent_limit {
            return Err(CloseReason::NotTaken(unsent));
        }
        Ok(())
    }

    fn ask(&mut self, request: Message) -> Result<Xid, crate::wire::EncodeError> {
        self.session.request(request, Instant::now() + self.reach.options.session.silence_limit)
    }

    /// Takes what the session has to tell.
    async fn deliver(&mut self) -> Result<(), CloseReason> {
        while let Some(event) = self.session.poll_event() {
            match self.phase {
                Phase::Up(switch) => self.take_event(switch, event),
                _ => self.introduce(event).await?,
            }
        }
        Ok(())
    }

    fn take_event(&mut self, switch: DatapathId, event: session::Event) {
        use session::Event as Said;
        let event = match event {
            Said::PacketIn(packet) => {
                if self.session.poll_transmit().len() > self.reach.options.unsent_soft {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Event::PacketIn(switch, *packet)
            }
            Said::PortStatus(status) => Event::PortStatus(switch, *status),
            Said::FlowRemoved(removed) => Event::FlowRemoved(switch, *removed),
            Said::StrayError { error, .. } => Event::Error(switch, error),
            Said::Message { xid, message } => match *message {
                Message::Unknown { .. } => {
                    self.refuse(xid, &message);
                    return;
                }
                _ => Event::Message(switch, message),
            },
            Said::Reply { message, .. } => Event::Message(switch, message),
            Said::Failed { failure: Failure::Refused(refused), .. } => {
                let events = refused.into_iter().map(|refused| {
                    Event::Error(switch, ErrorMessage { error: refused.error, data: Vec::new() })
                });
                self.events.extend(events);
                return;
            }
            Said::Failed { failure, .. } => {
                tracing::warn!(%switch, %failure, "a request was not answered");
                return;
            }
            Said::Undecodable(error) => {
                tracing::debug!(%switch, %error, "a message of the switch was refused");
                return;
            }
            Said::Ready | Said::Applied { .. } => return,
        };
        self.events.push(event);
    }

    /// Answers a message of a type that OpenFlow 1.3 does not have.
    fn refuse(&mut self, xid: Xid, message: &Message) {
        let mut data = Vec::new();
        let refusal = message.encode(xid, &mut data).and_then(|()| {
            data.truncate(64);
            // OFPBRC_BAD_TYPE.
            let error = ErrorCode { experimenter: None, kind: 1, code: 1 };
            self.session.reply(xid, &Message::Error(ErrorMessage { error, data }))
        });
        if let Err(error) = refusal {
            tracing::warn!(%error, "a refusal cannot be written");
        }
    }

    /// Asks the switch what it is, until it is known.
    async fn introduce(&mut self, event: session::Event) -> Result<(), CloseReason> {
        use session::Event as Said;
        match (&mut self.phase, event) {
            (Phase::Greeting(core), Said::Ready) => {
                let core = core.take();
                let mut ask = |request| self.ask(request).map_err(|_| CloseReason::NotDescribed);
                self.phase = Phase::Asking(Questions {
                    features: (ask(Message::FeaturesRequest)?, None),
                    config: (ask(Message::GetConfigRequest)?, None),
                    ports: (ask(Message::MultipartRequest(MultipartRequest::PortDescription))?, None),
                    core,
                });
                return Ok(());
            }
            (Phase::Asking(questions), Said::Reply { xid, message }) => match *message {
                Message::FeaturesReply(features) if xid == questions.features.0 => {
                    questions.features.1 = Some(features);
                }
                Message::GetConfigReply(config) if xid == questions.config.0 => {
                    questions.config.1 = Some(Some(config));
                }
                Message::MultipartReply(reply) if xid == questions.ports.0 => {
                    let MultipartBody::PortDescription(ports) = reply.body else {
                        return Err(CloseReason::NotDescribed);
                    };
                    questions.ports.1 = Some(ports);
                }
                _ => return Err(CloseReason::NotDescribed),
            },
            (Phase::Asking(questions), Said::Failed { xid, failure }) => {
                if xid != questions.config.0 {
                    tracing::warn!(%failure, "a switch does not describe itself");
                    return Err(CloseReason::NotDescribed);
                }
                questions.config.1 = Some(None);
            }
            // What happens before the switch is known is in its description, or is lost as if before we connected.
            _ => return Ok(()),
        }
        self.register().await
    }

    /// Tells the core, once all is known.
    async fn register(&mut self) -> Result<(), CloseReason> {
        let Phase::Asking(questions) = &mut self.phase else { return Ok(()) };
        let Questions { features: (_, Some(features)), config: (_, Some(config)), ports: (_, ports), core } =
            questions
        else {
            return Ok(());
        };
        let (features, config) = (*features, *config);
        let Some(ports) = ports.take() else { return Ok(()) };
        let Some((peer, messages)) = core.take() else { return Err(CloseReason::Unused) };
        if features.auxiliary_id != 0 {
            tracing::info!(%peer, "an auxiliary connection is not taken");
            return Err(CloseReason::Unused);
        }
        if let Some(config) = config {
            // Open vSwitch sends packets to a connection of its .mgmt only once this is set.
            let config = SwitchConfig { miss_send_len: u16::MAX, ..config };
            if let Err(error) = self.session.send(&Message::SetConfig(config)) {
                tracing::warn!(%error, "a message cannot be written");
            }
        }
        let switch = DatapathId(features.datapath_id);
        let connected = Connected { features, ports };
        let dropped = self.dropped.clone();
        let registered = Registered { link: self.id, peer, connected, messages, dropped };
        self.phase = Phase::Up(switch);
        let told = self.reach.reports.send(Report::Up(switch, registered)).await;
        told.map_err(|_| CloseReason::Unused)
    }
}
