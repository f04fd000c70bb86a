//! The controller kit: applications over many switches, without a socket in sight.
//!
//! An [`Application`] is a value that is told of [`Event`]s and answers with [`Effects`]: messages to switches,
//! timers, and notices to whoever holds it. It does no I/O and reads no clock, so the same application runs
//! against real switches (`client::controller`, feature `client`) and against switches in memory, in virtual time
//! ([`testbed`]).
//!
//! A whole application, and a test of it:
//!
//! ```
//! use std::time::Duration;
//! use ofctl::kit::testbed::{Host, Testbed};
//! use ofctl::kit::{Application, Effects, Event, table_miss};
//! use ofctl::wire::{Action, OfPort};
//!
//! /// Sends every packet out of all ports but the one that it came in by.
//! struct Hub;
//!
//! impl Application for Hub {
//!     type Notice = ();
//!
//!     fn handle(&mut self, _now: Duration, event: &Event) -> Effects {
//!         match event {
//!             Event::SwitchUp(switch, _) => Effects::send(*switch, table_miss()),
//!             Event::PacketIn(switch, packet) => {
//!                 Effects::send(*switch, packet.resend([Action::Output(OfPort::FLOOD)]))
//!             }
//!             _ => Effects::none(),
//!         }
//!     }
//! }
//!
//! let mut bed = Testbed::new(Hub);
//! let switch = bed.switch(1, 2);
//! let a = bed.host(switch, 1, Host::new([10, 0, 0, 1]));
//! let b = bed.host(switch, 2, Host::new([10, 0, 0, 2]));
//! assert!(bed.ping(a, b).is_some());
//! ```
//!
//! # Applications out of applications
//!
//! By *delegation*, one holds another and hands it events, all or those that it chooses; [`Effects::absorb`] takes
//! over what the other wants done. By *observation*, one acts on what another noticed, which `absorb` hands out:
//!
//! ```
//! # use std::time::Duration;
//! # use ofctl::kit::{Application, Effects, Event};
//! struct Counting<A> {
//!     inner: A,
//!     notices: usize,
//! }
//!
//! impl<A: Application> Application for Counting<A> {
//!     type Notice = A::Notice;
//!
//!     fn handle(&mut self, now: Duration, event: &Event) -> Effects<A::Notice> {
//!         let mut effects = Effects::none();
//!         for notice in effects.absorb(self.inner.handle(now, event)) {
//!             self.notices += 1;
//!             effects.push_notice(notice);
//!         }
//!         effects
//!     }
//! }
//! ```

pub mod apps;
mod effects;
mod packet;
pub mod testbed;

use std::fmt;
use std::time::Duration;

pub use effects::{Effects, TimerChange, table_miss};
pub use packet::Ethernet;

use crate::wire::{ErrorMessage, Features, FlowRemoved, Message, PacketIn, PortDescription, PortStatus};

/// Something that runs networks: told of events, it answers with what is to be done.
pub trait Application {
    /// What it tells whoever holds it, such as a link that it found; `()` if it has nothing to tell.
    type Notice;

    /// Something happened at `now`, the time since [`Event::Start`], which never runs backwards.
    ///
    /// Messages to one switch arrive in the order in which they were returned. What is said to a switch that is not
    /// connected is dropped; [`Event::SwitchUp`] is the time to say it again.
    fn handle(&mut self, now: Duration, event: &Event) -> Effects<Self::Notice>;
}

impl<A: Application + ?Sized> Application for Box<A> {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<Self::Notice> {
        (**self).handle(now, event)
    }
}

impl<A: Application + ?Sized> Application for &mut A {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<Self::Notice> {
        (**self).handle(now, event)
    }
}

/// Side by side: each is told of everything, in order.
impl<A: Application> Application for Vec<A> {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<Self::Notice> {
        let mut effects = Effects::none();
        self.iter_mut().for_each(|application| effects.append(application.handle(now, event)));
        effects
    }
}

/// Something that an application is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It begins; the first event of all.
    Start,
    /// A timer that it set has run out.
    Timer(Timer),
    /// A switch is connected: shaken hands with, and asked for its ports. Again for the same switch if the
    /// connection was lost, after [`Event::SwitchGone`].
    SwitchUp(DatapathId, Connected),
    /// A switch's connection has ended. Its flows may live on.
    SwitchGone(DatapathId),
    /// A port came, went or changed.
    PortStatus(DatapathId, PortStatus),
    /// A packet for the controller.
    PacketIn(DatapathId, PacketIn),
    /// A flow entry went, one with `SEND_FLOW_REM`.
    FlowRemoved(DatapathId, FlowRemoved),
    /// The switch refused a message, whose first bytes are in the error's data.
    Error(DatapathId, ErrorMessage),
    /// Any other message: the answer to a request that an application made, in the order of the requests; of a
    /// multipart one, all parts in one.
    Message(DatapathId, Box<Message>),
}

impl Event {
    /// The event of a message that came from a switch.
    pub fn from_message(switch: DatapathId, message: Message) -> Event {
        match message {
            Message::PacketIn(packet) => Event::PacketIn(switch, packet),
            Message::PortStatus(status) => Event::PortStatus(switch, status),
            Message::FlowRemoved(removed) => Event::FlowRemoved(switch, removed),
            Message::Error(error) => Event::Error(switch, error),
            message => Event::Message(switch, Box::new(message)),
        }
    }

    /// The switch that it is about.
    pub fn switch(&self) -> Option<DatapathId> {
        match self {
            Event::Start | Event::Timer(_) => None,
            Event::SwitchUp(switch, _)
            | Event::SwitchGone(switch)
            | Event::PortStatus(switch, _)
            | Event::PacketIn(switch, _)
            | Event::FlowRemoved(switch, _)
            | Event::Error(switch, _)
            | Event::Message(switch, _) => Some(*switch),
        }
    }
}

/// What is known of a switch when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Its number and abilities.
    pub features: Features,
    /// Its ports.
    pub ports: Vec<PortDescription>,
}

/// A switch's number, `datapath_id` of OpenFlow 1.3.5 §7.3.1, which all its connections share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatapathId(pub u64);

impl fmt::Display for DatapathId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// The name of a timer. Set again before it has run out, it starts anew.
///
/// All applications that run together hear of all timers, so each names its own after itself and passes over the
/// others; the number tells apart many of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// Whose it is and what for, such as `"topology: probe"`.
    pub name: &'static str,
    /// Which of them.
    pub number: u64,
}

impl Timer {
    /// The only timer of that name.
    pub const fn new(name: &'static str) -> Timer {
        Timer { name, number: 0 }
    }

    /// One of many of that name.
    pub const fn numbered(name: &'static str, number: u64) -> Timer {
        Timer { name, number }
    }
}
