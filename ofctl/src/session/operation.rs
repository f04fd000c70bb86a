//! What is under way: single requests, batches that end in a barrier, and bundles.

use std::fmt;
use std::time::Instant;

use super::Event;
use crate::wire::{
    BundleControl, BundleControlType, BundleFlags, BundleId, DecodeError, ErrorCode, ErrorMessage, FlowMod,
    FlowModCommand, Message, MultipartBody, MultipartReply, MultipartRequest, Xid,
};

/// A message that the switch refused. Sending the same again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the switch refused '{offending}': {error}")]
pub struct Refused {
    /// The switch's reason.
    pub error: ErrorCode,
    /// What was refused, a flow as its text.
    pub offending: String,
    /// Its place among the messages of the batch or bundle; none if it is not one of them.
    pub index: Option<usize>,
}

/// Why a request, a batch or a bundle failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The switch refused it, or these of its messages.
    #[error("{}", list(.0))]
    Refused(Vec<Refused>),
    /// No answer before the deadline. Whether it was carried out is not known.
    #[error("the switch did not answer in time; whether it did what was asked is not known")]
    TimedOut,
    /// The answer cannot be read.
    #[error("the switch's answer cannot be read: {0}")]
    Undecodable(#[source] DecodeError),
    /// The answer is not one to what was asked.
    #[error("the switch answered something else than was asked")]
    WrongAnswer,
    /// The parts of a multipart reply are too long together.
    #[error("the switch's answer is longer than {0} bytes; ask for less at once")]
    TooLong(usize),
}

fn list(refused: &[Refused]) -> String {
    match refused {
        [first, rest @ ..] if !rest.is_empty() => format!("{first} (and {} more)", rest.len()),
        [first, ..] => first.to_string(),
        [] => "the switch refused it".to_owned(),
    }
}

/// Refusals that are kept of one batch; a switch may refuse each of 100,000 flows.
const REFUSALS_KEPT: usize = 100;

/// How many transaction numbers messages take.
pub(super) fn count(messages: &[Message]) -> u32 {
    // More than four thousand million messages do not fit into memory.
    u32::try_from(messages.len()).unwrap_or(u32::MAX)
}

#[derive(Debug)]
enum Kind {
    Request { multipart: Option<(MultipartBody, usize)> },
    Batch,
    Bundle { bundle: BundleId, flags: BundleFlags, stage: Stage },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Filling,
    Committing,
    Discarding,
}

/// Something that was asked of the switch.
#[derive(Debug)]
pub(super) struct Operation {
    /// The number by which the caller knows it, and that of its first message.
    pub(super) xid: Xid,
    pub(super) deadline: Instant,
    /// Number of the answer that moves it on.
    awaited: Xid,
    /// Number of the first of `messages`.
    first: Xid,
    /// Kept to show what was refused.
    messages: Vec<Message>,
    refused: Vec<Refused>,
    kind: Kind,
}

/// What follows from a message of the switch.
pub(super) enum Step {
    Wait,
    Control { bundle: BundleId, flags: BundleFlags, kind: BundleControlType },
    Done(Event),
}

impl Operation {
    pub(super) fn request(xid: Xid, deadline: Instant, message: Message) -> Self {
        let kind = Kind::Request { multipart: None };
        let (messages, refused) = (vec![message], Vec::new());
        Operation { xid, deadline, awaited: xid, first: xid, messages, refused, kind }
    }

    pub(super) fn batch(first: Xid, barrier: Xid, deadline: Instant, messages: Vec<Message>) -> Self {
        let refused = Vec::new();
        Operation { xid: first, deadline, awaited: barrier, first, messages, refused, kind: Kind::Batch }
    }

    pub(super) fn for_bundle(
        open: Xid,
        close: Xid,
        bundle: BundleId,
        flags: BundleFlags,
        deadline: Instant,
        messages: Vec<Message>,
    ) -> Self {
        let kind = Kind::Bundle { bundle, flags, stage: Stage::Filling };
        let (first, refused) = (Xid(open.0 + 1), Vec::new());
        Operation { xid: open, deadline, awaited: close, first, messages, refused, kind }
    }

    /// The bundle that the switch holds for this.
    pub(super) fn bundle(&self) -> Option<(BundleId, BundleFlags)> {
        match self.kind {
            Kind::Bundle { bundle, flags, .. } => Some((bundle, flags)),
            _ => None,
        }
    }

    /// True if an answer of this number moves it on.
    pub(super) fn awaits(&self, xid: Xid) -> bool {
        self.awaited == xid || self.is_open_reply(xid)
    }

    fn is_open_reply(&self, xid: Xid) -> bool {
        matches!(self.kind, Kind::Bundle { stage: Stage::Filling, .. }) && xid == self.xid
    }

    /// True if an error of this number is about one of its messages.
    pub(super) fn covers(&self, xid: Xid) -> bool {
        xid == self.awaited
            || (self.xid..=Xid(self.first.0 + count(&self.messages).saturating_sub(1))).contains(&xid)
    }

    pub(super) fn await_instead(&mut self, xid: Xid) {
        self.awaited = xid;
    }

    fn index(&self, xid: Xid) -> Option<usize> {
        usize::try_from(xid.0.checked_sub(self.first.0)?).ok()
    }

    fn message(&self, xid: Xid) -> Option<&Message> {
        self.messages.get(self.index(xid)?)
    }

    /// The switch refused one of its messages.
    pub(super) fn refused(&mut self, xid: Xid, error: &ErrorMessage) -> Step {
        if let Kind::Bundle { bundle, flags, stage } = &mut self.kind {
            let (bundle, flags) = (*bundle, *flags);
            match stage {
                Stage::Filling if xid == self.awaited => {
                    // It cannot be closed, so something before it went wrong.
                    *stage = Stage::Discarding;
                    self.note(xid, error, "the bundle");
                    return Step::Control { bundle, flags, kind: BundleControlType::DiscardRequest };
                }
                Stage::Filling => {
                    self.note(xid, error, "the bundle");
                    return Step::Wait;
                }
                // Refused at the commit: the switch has dropped the bundle, and may say next which message it
                // was; Open vSwitch says that before, with the message's own number.
                Stage::Committing if xid == self.awaited => self.note_unless_noted(xid, error),
                Stage::Committing => {
                    self.note(xid, error, "the bundle");
                    return Step::Wait;
                }
                Stage::Discarding if xid == self.awaited => {}
                Stage::Discarding => {
                    self.note(xid, error, "the bundle");
                    return Step::Wait;
                }
            }
            return self.fail();
        }
        self.note(xid, error, "the barrier");
        if xid == self.awaited { self.fail() } else { Step::Wait }
    }

    fn note(&mut self, xid: Xid, error: &ErrorMessage, otherwise: &str) {
        if self.refused.len() < REFUSALS_KEPT {
            let offending =
                self.message(xid).map_or_else(|| otherwise.to_owned(), |m| Offending(m).to_string());
            let index = self.index(xid).filter(|index| *index < self.messages.len());
            self.refused.push(Refused { error: error.error, offending, index });
        }
    }

    fn note_unless_noted(&mut self, xid: Xid, error: &ErrorMessage) {
        if self.refused.is_empty() {
            self.note(xid, error, "the bundle");
        }
    }

    fn fail(&mut self) -> Step {
        let failure = Failure::Refused(std::mem::take(&mut self.refused));
        Step::Done(Event::Failed { xid: self.xid, failure })
    }

    /// The switch answered.
    pub(super) fn answered(&mut self, message: Message, length: usize, limit: usize) -> Step {
        let xid = self.xid;
        let failed = |failure| Step::Done(Event::Failed { xid, failure });
        match (&mut self.kind, message) {
            (Kind::Request { multipart }, Message::MultipartReply(part)) => {
                let (body, total) = match multipart.take() {
                    None => (part.body, length),
                    Some((mut body, total)) => {
                        if !append(&mut body, part.body) {
                            return failed(Failure::WrongAnswer);
                        }
                        (body, total.saturating_add(length))
                    }
                };
                if total > limit {
                    return failed(Failure::TooLong(limit));
                }
                if part.more {
                    *multipart = Some((body, total));
                    return Step::Wait;
                }
                let message = Box::new(Message::MultipartReply(MultipartReply { more: false, body }));
                Step::Done(Event::Reply { xid, message })
            }
            (Kind::Request { .. }, message) => Step::Done(Event::Reply { xid, message: Box::new(message) }),
            (Kind::Batch, Message::BarrierReply) if self.refused.is_empty() => {
                Step::Done(Event::Applied { xid })
            }
            (Kind::Batch, Message::BarrierReply) => self.fail(),
            (Kind::Bundle { bundle, flags, stage }, Message::BundleControl(control)) => {
                let (bundle, flags) = (*bundle, *flags);
                match (*stage, control) {
                    (Stage::Filling, BundleControl { kind: BundleControlType::OpenReply, .. }) => Step::Wait,
                    (Stage::Filling, BundleControl { kind: BundleControlType::CloseReply, .. }) => {
                        let all_taken = self.refused.is_empty();
                        let (next, kind) = if all_taken {
                            (Stage::Committing, BundleControlType::CommitRequest)
                        } else {
                            (Stage::Discarding, BundleControlType::DiscardRequest)
                        };
                        *stage = next;
                        Step::Control { bundle, flags, kind }
                    }
                    (Stage::Committing, BundleControl { kind: BundleControlType::CommitReply, .. })
                        if self.refused.is_empty() =>
                    {
                        Step::Done(Event::Applied { xid })
                    }
                    (Stage::Committing, BundleControl { kind: BundleControlType::CommitReply, .. })
                    | (Stage::Discarding, BundleControl { kind: BundleControlType::DiscardReply, .. }) => {
                        self.fail()
                    }
                    _ => failed(Failure::WrongAnswer),
                }
            }
            _ => failed(Failure::WrongAnswer),
        }
    }
}

/// Appends a part of a multipart reply; `false` if it is of another kind.
pub(crate) fn append(body: &mut MultipartBody, part: MultipartBody) -> bool {
    match (body, part) {
        (MultipartBody::Flow(all), MultipartBody::Flow(part)) => all.extend(part),
        (MultipartBody::Table(all), MultipartBody::Table(part)) => all.extend(part),
        (MultipartBody::PortDescription(all), MultipartBody::PortDescription(part)) => all.extend(part),
        (MultipartBody::PortStats(all), MultipartBody::PortStats(part)) => all.extend(part),
        (MultipartBody::Queue(all), MultipartBody::Queue(part)) => all.extend(part),
        (MultipartBody::GroupStats(all), MultipartBody::GroupStats(part)) => all.extend(part),
        (MultipartBody::GroupDescription(all), MultipartBody::GroupDescription(part)) => all.extend(part),
        (MultipartBody::MeterStats(all), MultipartBody::MeterStats(part)) => all.extend(part),
        (MultipartBody::MeterConfig(all), MultipartBody::MeterConfig(part)) => all.extend(part),
        (MultipartBody::TableFeatures(all), MultipartBody::TableFeatures(part)) => all.extend(part),
        (MultipartBody::FlowMonitor(all), MultipartBody::FlowMonitor(part)) => all.extend(part),
        (MultipartBody::IpfixFlow(all), MultipartBody::IpfixFlow(part)) => all.extend(part),
        (MultipartBody::Unknown { kind, body: all }, MultipartBody::Unknown { kind: same, body })
            if *kind == same =>
        {
            all.extend(body);
        }
        _ => return false,
    }
    true
}

/// A message as a person knows it.
struct Offending<'a>(&'a Message);

impl fmt::Display for Offending<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Message::FlowMod(flow) => write_flow_mod(flow, out),
            Message::GroupMod(group) => write!(out, "group_mod {:?} group {}", group.command, group.group),
            Message::PacketOut(_) => out.write_str("packet_out"),
            Message::SetConfig(config) => write!(out, "set_config {config:?}"),
            Message::FeaturesRequest => out.write_str("features_request"),
            Message::GetConfigRequest => out.write_str("get_config_request"),
            Message::BarrierRequest => out.write_str("barrier_request"),
            Message::MultipartRequest(request) => match request {
                MultipartRequest::Description => out.write_str("description request"),
                MultipartRequest::Flow(_) => out.write_str("flow statistics request"),
                MultipartRequest::Aggregate(_) => out.write_str("aggregate statistics request"),
                MultipartRequest::Table => out.write_str("table statistics request"),
                MultipartRequest::PortDescription => out.write_str("port description request"),
                MultipartRequest::PortStats(port) => write!(out, "statistics request of port {port}"),
                MultipartRequest::Queue(port, queue) => {
                    write!(out, "statistics request of port {port} queue {}", queue.0)
                }
                MultipartRequest::GroupStats(group) => write!(out, "statistics request of group {group}"),
                MultipartRequest::GroupDescription => out.write_str("group description request"),
                MultipartRequest::GroupFeatures => out.write_str("group features request"),
                MultipartRequest::MeterStats(meter) => write!(out, "statistics request of meter {meter}"),
                MultipartRequest::MeterConfig(meter) => write!(out, "config request of meter {meter}"),
                MultipartRequest::MeterFeatures => out.write_str("meter features request"),
                MultipartRequest::TableFeatures(_) => out.write_str("table features request"),
                MultipartRequest::FlowMonitor(_) => out.write_str("flow monitor request"),
                MultipartRequest::IpfixBridge => out.write_str("IPFIX statistics request of the bridge"),
                MultipartRequest::IpfixFlow => out.write_str("IPFIX statistics request of flows"),
                MultipartRequest::Experimenter { experimenter, kind, .. } => {
                    write!(out, "multipart request {kind} of experimenter {experimenter:#x}")
                }
                MultipartRequest::Unknown { kind, .. } => write!(out, "multipart request {kind}"),
            },
            other => write!(out, "{other:?}"),
        }
    }
}

fn write_flow_mod(flow: &FlowMod, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match flow.command {
        FlowModCommand::Add => write!(out, "add {}", flow.entry()),
        FlowModCommand::Modify => write!(out, "modify {}", flow.entry()),
        FlowModCommand::ModifyStrict => write!(out, "modify strictly {}", flow.entry()),
        FlowModCommand::Delete if flow.cookie_mask != 0 => {
            write!(out, "delete cookie={}/{:#x} {}", flow.cookie, flow.cookie_mask, flow.matching)
        }
        FlowModCommand::Delete => write!(out, "delete table={} {}", flow.table, flow.matching),
        FlowModCommand::DeleteStrict => write!(out, "delete strictly {}", flow.entry().key()),
    }
}
