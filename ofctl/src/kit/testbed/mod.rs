//! A network in memory to try applications on: switches, links, hosts, and virtual time.
//!
//! Nothing sleeps and nothing is random, so a test of ten minutes of network life takes milliseconds and comes out
//! the same each time.
//!
//! ```
//! use ofctl::kit::apps::Hub;
//! use ofctl::kit::testbed::{Host, Testbed};
//!
//! let mut bed = Testbed::new(Hub);
//! let switch = bed.switch(1, 3);
//! let a = bed.host(switch, 1, Host::new([10, 0, 0, 1]));
//! let b = bed.host(switch, 2, Host::new([10, 0, 0, 2]));
//! let stranger = bed.host(switch, 3, Host::new([10, 0, 0, 3]));
//! assert!(bed.ping(a, b).is_some());
//! // A hub repeats to everybody: the question, the answer, and both packets of the ping.
//! assert_eq!(bed.received(stranger).len(), 4);
//! ```

mod host;
mod wiring;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub use host::Host;
use host::Stack;
use wiring::Wiring;
pub use wiring::{End, HostId};

use super::{Application, Connected, DatapathId, Effects, Event, Timer};
use crate::flow::FlowStats;
use crate::sim::{Packet, Switch, Verdict};
use crate::wire::versions::GroupMod;
use crate::wire::{ErrorMessage, FlowStatsRequest, Message, OfPort, PortDescription};

/// Time that a frame takes over a link, and to or from a host.
pub const LINK_DELAY: Duration = Duration::from_micros(10);
/// Time that a message takes between a switch and the application.
pub const CONTROL_DELAY: Duration = Duration::from_micros(100);

/// Things that may happen in one run.
const RUN_LIMIT: usize = 2_000_000;

/// Something that is on its way.
#[derive(Debug)]
enum Happening {
    /// To a port of a switch, from outside.
    Frame(End, Vec<u8>),
    /// To a host.
    Arrival(HostId, Vec<u8>),
    /// To a switch, on the connection of that number.
    ToSwitch(DatapathId, u64, Message),
    /// To the application.
    ToApplication(DatapathId, u64, Message),
    /// A timer of that setting.
    Timer(Timer, u64),
}

/// An application, and the network that it runs.
#[derive(Debug)]
pub struct Testbed<A: Application> {
    application: A,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Happening>,
    sequence: u64,
    switches: BTreeMap<DatapathId, Attached>,
    wiring: Wiring,
    hosts: Vec<Stack>,
    timers: HashMap<Timer, u64>,
    notices: Vec<A::Notice>,
    lost: Vec<(End, Vec<u8>)>,
    errors: Vec<(DatapathId, ErrorMessage)>,
}

/// A switch and its connection.
#[derive(Debug)]
struct Attached {
    node: Switch,
    /// Counts up at each end, so that what was under way is lost.
    connection: u64,
    connected: bool,
    packet_ins: usize,
}

impl<A: Application> Testbed<A> {
    /// An application without a network, at time zero.
    pub fn new(application: A) -> Self {
        let mut bed = Testbed {
            application,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            switches: BTreeMap::new(),
            wiring: Wiring::default(),
            hosts: Vec::new(),
            timers: HashMap::new(),
            notices: Vec::new(),
            lost: Vec::new(),
            errors: Vec::new(),
        };
        bed.tell(&Event::Start);
        bed
    }

    /// Adds a switch with ports 1 to `ports`, and [connects](Testbed::connect) it.
    ///
    /// # Panics
    /// If there is one of that number.
    pub fn switch(&mut self, number: u64, ports: u32) -> DatapathId {
        self.switch_with_ports(number, (1..=ports).map(OfPort))
    }

    /// Adds a switch with these ports, and [connects](Testbed::connect) it.
    ///
    /// # Panics
    /// If there is one of that number.
    pub fn switch_with_ports(&mut self, number: u64, ports: impl IntoIterator<Item = OfPort>) -> DatapathId {
        let id = DatapathId(number);
        let node = Switch::new().with_datapath_id(number).with_ports(ports);
        let attached = Attached { node, connection: 0, connected: false, packet_ins: 0 };
        assert!(self.switches.insert(id, attached).is_none(), "switch {id} is there already");
        self.connect(id);
        id
    }

    /// Links two ports of switches.
    ///
    /// # Panics
    /// If one of them is not there or has a link or a host.
    pub fn link(&mut self, a: (DatapathId, u32), b: (DatapathId, u32)) {
        let (a, b) = (self.end(a), self.end(b));
        self.wiring.link(a, b);
    }

    /// Puts a host on a port.
    ///
    /// # Panics
    /// If the port is not there or has a link or a host.
    pub fn host(&mut self, switch: DatapathId, port: u32, host: Host) -> HostId {
        let end = self.end((switch, port));
        let id = HostId(self.hosts.len());
        self.hosts.push(Stack::new(host));
        self.wiring.attach(end, id);
        id
    }

    fn end(&self, (switch, port): (DatapathId, u32)) -> End {
        let end = End { switch, port: OfPort(port) };
        assert!(self.switches.contains_key(&switch), "there is no switch {switch}");
        assert!(
            self.ports(switch).iter().any(|known| known.port == end.port),
            "switch {switch} has no port {port}"
        );
        end
    }

    /// True if a port has a link or a host.
    ///
    /// # Panics
    /// If the port is not there.
    pub fn is_wired(&self, switch: DatapathId, port: u32) -> bool {
        self.wiring.at(self.end((switch, port))).is_some()
    }

    /// Begins another application in place of the one that ran, whose timers are forgotten.
    pub fn begin(&mut self, application: A) {
        self.application = application;
        self.timers.clear();
        self.tell(&Event::Start);
    }

    /// Takes down the link or the host's cable at a port; switches on both sides notice.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn cut(&mut self, switch: DatapathId, port: u32) {
        self.set_link(switch, port, false);
    }

    /// Undoes [`Testbed::cut`].
    ///
    /// # Panics
    /// If there is no such port.
    pub fn mend(&mut self, switch: DatapathId, port: u32) {
        self.set_link(switch, port, true);
    }

    fn set_link(&mut self, switch: DatapathId, port: u32, up: bool) {
        let end = self.end((switch, port));
        for end in [Some(end), self.wiring.peer(end)].into_iter().flatten() {
            let Some(attached) = self.switches.get_mut(&end.switch) else { continue };
            attached.node.advance(self.now);
            let messages = attached.node.set_link(end.port, up);
            self.inform_all(end.switch, messages);
        }
    }

    /// Connects a switch, and lets a millisecond pass, in which what the application says first arrives.
    pub fn connect(&mut self, switch: DatapathId) {
        let Some(attached) = self.switches.get_mut(&switch).filter(|attached| !attached.connected) else {
            return;
        };
        attached.connected = true;
        let answer = attached.node.handle(Message::FeaturesRequest).pop();
        let Some(Message::FeaturesReply(features)) = answer else {
            unreachable!("a simulated switch answers a request for its features, not by {answer:?}")
        };
        let connected = Connected { features, ports: self.ports(switch) };
        self.tell(&Event::SwitchUp(switch, connected));
        self.run_for(Duration::from_millis(1));
    }

    /// Loses the connection to a switch, and all that is under way on it. The switch's flows stay.
    pub fn disconnect(&mut self, switch: DatapathId) {
        let Some(attached) = self.switches.get_mut(&switch).filter(|attached| attached.connected) else {
            return;
        };
        attached.connected = false;
        attached.connection += 1;
        self.tell(&Event::SwitchGone(switch));
    }

    /// A host sends a frame, whatever it is.
    pub fn send(&mut self, host: HostId, frame: Vec<u8>) {
        let end = self.wiring.place(host);
        self.after(LINK_DELAY, Happening::Frame(end, frame));
    }

    /// A frame comes in by a port, whatever is on it; gives the way that it takes through this switch.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn inject(&mut self, switch: DatapathId, port: u32, frame: &[u8]) -> Verdict {
        let end = self.end((switch, port));
        self.arrive(end, frame).expect("the port was looked up")
    }

    fn arrive(&mut self, end: End, frame: &[u8]) -> Option<Verdict> {
        let attached = self.switches.get_mut(&end.switch)?;
        let heard = attached.node.receive_packet(Packet::new(end.port, frame), self.now);
        self.take_verdict(end.switch, &heard.verdict);
        self.inform_all(end.switch, heard.messages);
        Some(heard.verdict)
    }

    /// Says something to a switch past the application, as an operator does; gives the answers.
    ///
    /// # Panics
    /// If there is no such switch.
    pub fn manage(&mut self, switch: DatapathId, message: Message) -> Vec<Message> {
        assert!(self.switches.contains_key(&switch), "there is no switch {switch}");
        self.hear(switch, message)
    }

    /// The same of a group-mod that OpenFlow 1.3 has no words for.
    ///
    /// # Panics
    /// If there is no such switch.
    pub fn manage_group(&mut self, switch: DatapathId, change: &GroupMod) -> Vec<Message> {
        let now = self.now;
        let attached =
            self.switches.get_mut(&switch).unwrap_or_else(|| panic!("there is no switch {switch}"));
        let mut messages = attached.node.advance(now);
        messages.extend(attached.node.change_group(change));
        messages
    }

    /// A switch hears a message; gives what it says.
    fn hear(&mut self, switch: DatapathId, message: Message) -> Vec<Message> {
        let Some(attached) = self.switches.get_mut(&switch) else { return Vec::new() };
        let mut messages = attached.node.advance(self.now);
        messages.extend(attached.node.handle(message));
        let sent = attached.node.take_sent();
        sent.iter().for_each(|verdict| self.take_verdict(switch, verdict));
        messages
    }

    /// A host pings another and waits a second: how long it took, or `None` if no answer came.
    pub fn ping(&mut self, from: HostId, to: HostId) -> Option<Duration> {
        let begun = self.now;
        let target = self.hosts[to.0].address();
        let frames = self.hosts[from.0].ping(target);
        self.transmit(from, frames);
        let limit = begun + Duration::from_secs(1);
        while self.hosts[from.0].awaits_echo() && self.step(limit) {}
        if self.hosts[from.0].give_up_echo() {
            self.now = limit;
            return None;
        }
        // What arrives elsewhere at the same moment belongs to it.
        let end = self.now;
        while self.step(end) {}
        Some(end - begun)
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// After two million happenings, since something goes round and round; and if a switch cannot follow a packet,
    /// with its trace.
    pub fn run_for(&mut self, time: Duration) {
        let limit = self.now + time;
        let mut count = 0;
        while self.step(limit) {
            count += 1;
            assert!(count < RUN_LIMIT, "{RUN_LIMIT} things happened within {time:?}: is there a loop?");
        }
        self.now = limit;
    }

    /// The time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The application.
    pub fn application(&self) -> &A {
        &self.application
    }

    /// Has the application do something by a method of its own, and carries that out.
    pub fn command<M>(&mut self, command: impl FnOnce(&mut A) -> Effects<M>) -> Vec<M> {
        let effects = command(&mut self.application);
        let mut plain = Effects::none();
        let told = plain.absorb(effects);
        self.carry_out(plain);
        told
    }

    /// All that the application noticed since this was last asked.
    pub fn take_notices(&mut self) -> Vec<A::Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What the switches refused. A test of an application that does nothing wrong ends with none.
    pub fn errors(&self) -> &[(DatapathId, ErrorMessage)] {
        &self.errors
    }

    /// A switch's flows with their counters, in order of table and falling priority.
    pub fn flows(&self, switch: DatapathId) -> Vec<FlowStats> {
        let all = FlowStatsRequest::default();
        self.switches.get(&switch).map(|attached| attached.node.flows(&all)).unwrap_or_default()
    }

    /// A switch's ports.
    pub fn ports(&self, switch: DatapathId) -> Vec<PortDescription> {
        let attached = self.switches.get(&switch);
        attached.map(|attached| attached.node.ports().cloned().collect()).unwrap_or_default()
    }

    /// How many packets a switch has sent to the application.
    pub fn packet_ins(&self, switch: DatapathId) -> usize {
        self.switches.get(&switch).map_or(0, |attached| attached.packet_ins)
    }

    /// Every frame that reached a host since [`Testbed::forget_received`], its own or not.
    pub fn received(&self, host: HostId) -> &[Vec<u8>] {
        self.hosts[host.0].received()
    }

    /// Frames that left by ports with neither a link nor a host, since this was last asked.
    pub fn take_lost(&mut self) -> Vec<(End, Vec<u8>)> {
        std::mem::take(&mut self.lost)
    }

    /// Forgets what all hosts received.
    pub fn forget_received(&mut self) {
        self.hosts.iter_mut().for_each(Stack::forget_received);
    }

    /// Does the next thing, unless it is later than `limit`; `false` if there is nothing to do.
    fn step(&mut self, limit: Duration) -> bool {
        let next = self.queue.keys().next().map(|(at, _)| *at);
        // Flows go before anything else that happens at the same time.
        let by = next.map_or(limit, |next| next.min(limit));
        let expiry = self.switches.iter_mut().filter_map(|(id, it)| Some((it.node.next_expiry_by(by)?, *id)));
        if let Some((at, id)) = expiry.min() {
            self.now = self.now.max(at);
            if let Some(attached) = self.switches.get_mut(&id) {
                let messages = attached.node.advance(self.now);
                self.inform_all(id, messages);
            }
            return true;
        }
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= limit) else {
            return false;
        };
        self.now = self.now.max(entry.key().0);
        match entry.remove() {
            Happening::Frame(end, frame) => {
                self.arrive(end, &frame);
            }
            Happening::Arrival(host, frame) => {
                let frames = self.hosts[host.0].receive(frame);
                self.transmit(host, frames);
            }
            Happening::ToSwitch(id, connection, message) => {
                if self.switches.get(&id).is_some_and(|attached| attached.connection == connection) {
                    let messages = self.hear(id, message);
                    self.inform_all(id, messages);
                }
            }
            Happening::ToApplication(id, connection, message) => {
                let current =
                    self.switches.get(&id).is_some_and(|attached| attached.connection == connection);
                if current {
                    let event = Event::from_message(id, message);
                    if let Event::Error(switch, error) = &event {
                        self.errors.push((*switch, error.clone()));
                    }
                    self.tell(&event);
                }
            }
            Happening::Timer(timer, setting) => {
                if self.timers.get(&timer) == Some(&setting) {
                    self.timers.remove(&timer);
                    self.tell(&Event::Timer(timer));
                }
            }
        }
        true
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), happening);
    }

    fn transmit(&mut self, host: HostId, frames: Vec<Vec<u8>>) {
        frames.into_iter().for_each(|frame| self.send(host, frame));
    }

    fn take_verdict(&mut self, switch: DatapathId, verdict: &Verdict) {
        if let Some(error) = &verdict.error {
            panic!("switch {switch} cannot follow a packet: {error}\n{verdict}");
        }
        for output in &verdict.outputs {
            let (end, frame) = (End { switch, port: output.port }, output.frame.clone());
            match self.wiring.at(end) {
                Some(wiring::Peer::Port(end)) => self.after(LINK_DELAY, Happening::Frame(end, frame)),
                Some(wiring::Peer::Host(host)) => self.after(LINK_DELAY, Happening::Arrival(host, frame)),
                None => self.lost.push((end, frame)),
            }
        }
    }

    fn inform_all(&mut self, switch: DatapathId, messages: Vec<Message>) {
        messages.into_iter().for_each(|message| self.inform(switch, message));
    }

    fn inform(&mut self, switch: DatapathId, message: Message) {
        let Some(attached) = self.switches.get_mut(&switch).filter(|attached| attached.connected) else {
            return;
        };
        attached.packet_ins += usize::from(matches!(message, Message::PacketIn(_)));
        let connection = attached.connection;
        self.after(CONTROL_DELAY, Happening::ToApplication(switch, connection, message));
    }

    fn tell(&mut self, event: &Event) {
        let effects = self.application.handle(self.now, event);
        let mut plain = Effects::none();
        let notices = plain.absorb(effects);
        self.notices.extend(notices);
        self.carry_out(plain);
    }

    fn carry_out(&mut self, effects: Effects) {
        for (switch, message) in effects.messages {
            let connection = self.switches.get(&switch).filter(|attached| attached.connected);
            if let Some(connection) = connection.map(|attached| attached.connection) {
                self.after(CONTROL_DELAY, Happening::ToSwitch(switch, connection, message));
            }
        }
        for change in effects.timers {
            match change.after {
                Some(delay) => {
                    self.after(delay, Happening::Timer(change.timer, self.sequence + 1));
                    self.timers.insert(change.timer, self.sequence);
                }
                None => {
                    self.timers.remove(&change.timer);
                }
            }
        }
    }
}
