//! What an application wants done.

use std::time::Duration;

use super::{DatapathId, Timer};
use crate::flow::FlowEntry;
use crate::wire::{
    Action, FlowMod, GroupMod, Message, MeterMod, MultipartRequest, PacketOut, PortMod, TableId,
};

/// What an application wants done: messages to switches, timers, and notices to whoever holds it.
///
/// ```
/// use std::time::Duration;
/// use ofctl::kit::{DatapathId, Effects, Timer};
/// use ofctl::wire::Message;
///
/// let mut effects: Effects = Effects::send(DatapathId(1), Message::BarrierRequest);
/// effects.push(DatapathId(2), Message::BarrierRequest);
/// effects.set_timer(Timer::new("example"), Duration::from_secs(1));
/// assert_eq!(effects.messages.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what an application answers is to be done"]
pub struct Effects<N = ()> {
    /// Messages to switches; those to one switch are sent in this order.
    pub messages: Vec<(DatapathId, Message)>,
    /// Timers to set or to stop.
    pub timers: Vec<TimerChange>,
    /// What was noticed.
    pub notices: Vec<N>,
}

/// A timer to set or to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerChange {
    /// The timer.
    pub timer: Timer,
    /// When it runs out, from now; `None` stops it.
    pub after: Option<Duration>,
}

impl<N> Default for Effects<N> {
    fn default() -> Self {
        Effects::none()
    }
}

impl<N> Effects<N> {
    /// Nothing is to be done.
    pub const fn none() -> Self {
        Effects { messages: Vec::new(), timers: Vec::new(), notices: Vec::new() }
    }

    /// One message.
    pub fn send(switch: DatapathId, message: impl Into<Message>) -> Self {
        Effects { messages: vec![(switch, message.into())], ..Effects::none() }
    }

    /// Messages to one switch.
    pub fn send_all<M: Into<Message>>(switch: DatapathId, messages: impl IntoIterator<Item = M>) -> Self {
        let messages = messages.into_iter().map(|message| (switch, message.into())).collect();
        Effects { messages, ..Effects::none() }
    }

    /// Flow entries to be added, or put in place of those of the same table, match and priority.
    pub fn add_flows(switch: DatapathId, flows: impl IntoIterator<Item = FlowEntry>) -> Self {
        Effects::send_all(switch, flows.into_iter().map(FlowMod::add))
    }

    /// A timer to be set, anew if it was set.
    pub fn after(time: Duration, timer: Timer) -> Self {
        Effects { timers: vec![TimerChange { timer, after: Some(time) }], ..Effects::none() }
    }

    /// A notice.
    pub fn notice(notice: N) -> Self {
        Effects { notices: vec![notice], ..Effects::none() }
    }

    /// Appends a message.
    pub fn push(&mut self, switch: DatapathId, message: impl Into<Message>) {
        self.messages.push((switch, message.into()));
    }

    /// Appends a notice.
    pub fn push_notice(&mut self, notice: N) {
        self.notices.push(notice);
    }

    /// Sets a timer, anew if it was set.
    pub fn set_timer(&mut self, timer: Timer, after: Duration) {
        self.timers.push(TimerChange { timer, after: Some(after) });
    }

    /// Stops a timer, if it was set.
    pub fn stop_timer(&mut self, timer: Timer) {
        self.timers.push(TimerChange { timer, after: None });
    }

    /// Appends what another application of the same notices wants done, notices and all.
    pub fn append(&mut self, other: Effects<N>) {
        let notices = self.absorb(other);
        append(&mut self.notices, notices);
    }

    /// Appends the messages and timers of another application, and hands out its notices: what it noticed is for
    /// its holder to act on, to pass on or to drop.
    pub fn absorb<M>(&mut self, other: Effects<M>) -> Vec<M> {
        append(&mut self.messages, other.messages);
        append(&mut self.timers, other.timers);
        other.notices
    }

    /// True if there is nothing to be done and nothing to be told.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.timers.is_empty() && self.notices.is_empty()
    }
}

/// Appends, without a copy to an empty vector.
fn append<T>(all: &mut Vec<T>, more: Vec<T>) {
    if all.is_empty() {
        *all = more;
    } else {
        all.extend(more);
    }
}

/// The flow of lowest priority in table 0, that sends to the controller, whole, what no other flow takes: OpenFlow
/// 1.3 drops it without one (§5.4).
pub fn table_miss() -> FlowMod {
    FlowMod::add(FlowEntry::new(TableId(0), 0).apply([Action::Controller { max_len: u16::MAX }]))
}

impl From<FlowMod> for Message {
    fn from(flow: FlowMod) -> Message {
        Message::FlowMod(flow)
    }
}

impl From<PacketOut> for Message {
    fn from(packet: PacketOut) -> Message {
        Message::PacketOut(packet)
    }
}

impl From<GroupMod> for Message {
    fn from(group: GroupMod) -> Message {
        Message::GroupMod(group)
    }
}

impl From<MeterMod> for Message {
    fn from(meter: MeterMod) -> Message {
        Message::MeterMod(meter)
    }
}

impl From<PortMod> for Message {
    fn from(port: PortMod) -> Message {
        Message::PortMod(port)
    }
}

impl From<MultipartRequest> for Message {
    fn from(request: MultipartRequest) -> Message {
        Message::MultipartRequest(request)
    }
}
