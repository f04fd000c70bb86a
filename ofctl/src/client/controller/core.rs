//! The core of a controller: the application, its timers, and its switches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::link::{LinkId, Report};
use super::reach::{self, Reach};
use super::{Options, SwitchStatus};
use crate::client::stream::Listener;
use crate::client::target::Target;
use crate::kit::{Application, Connected, DatapathId, Effects, Event, Timer};
use crate::wire::{Message, RoleRequest};

/// What the core is asked for.
pub(super) enum Command<A> {
    Connect(Target),
    Listen(Listener),
    Role(RoleRequest),
    Call(Box<dyn FnOnce(&mut A) -> Effects + Send>),
    Switches(oneshot::Sender<Vec<SwitchStatus>>),
    Stop,
}

/// A link whose switch is known.
pub(super) struct Registered {
    pub(super) link: LinkId,
    pub(super) peer: String,
    pub(super) connected: Connected,
    /// The link ends when this goes.
    pub(super) messages: mpsc::UnboundedSender<Vec<Message>>,
    pub(super) dropped: Arc<AtomicUsize>,
}

struct Switch {
    registered: Registered,
    /// What is to be sent when all events at hand are done with.
    outbox: Vec<Message>,
}

pub(super) struct Core<A: Application, F> {
    application: A,
    observer: F,
    begun: Instant,
    commands: mpsc::Receiver<Command<A>>,
    reports: mpsc::Receiver<Report>,
    reach: Reach,
    /// What each switch is asked for when it connects.
    role: Option<RoleRequest>,
    /// Whatever connects or listens; it ends with the core.
    tasks: JoinSet<()>,
    switches: HashMap<DatapathId, Switch>,
    /// Switches whose outbox is not empty.
    waiting: Vec<DatapathId>,
    timers: HashMap<Timer, (Instant, u64)>,
    due: BTreeMap<(Instant, u64), Timer>,
    sequence: u64,
}

/// Batches of events that may wait for the core; a link with one more waits itself.
const BATCHES: usize = 64;

impl<A: Application, F: FnMut(A::Notice)> Core<A, F> {
    pub(super) fn new(
        application: A,
        options: Options,
        observer: F,
        commands: mpsc::Receiver<Command<A>>,
    ) -> Self {
        let (reporter, reports) = mpsc::channel(BATCHES);
        Core {
            application,
            observer,
            begun: Instant::now(),
            commands,
            reports,
            reach: Reach::new(options, reporter),
            role: options.role,
            tasks: JoinSet::new(),
            switches: HashMap::new(),
            waiting: Vec::new(),
            timers: HashMap::new(),
            due: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(super) async fn run(mut self) -> A {
        self.tell(self.begun, &Event::Start);
        self.flush();
        loop {
            let next = self.due.keys().next().map(|(at, _)| *at);
            tokio::select! {
                report = self.reports.recv() => {
                    if let Some(report) = report {
                        self.take_report(report);
                    }
                }
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => return self.application,
                    Some(command) => self.take_command(command),
                },
                () = sleep_until(next) => self.run_timers(),
            }
            self.flush();
        }
    }

    fn take_command(&mut self, command: Command<A>) {
        match command {
            Command::Connect(target) => {
                self.tasks.spawn(reach::dial(target, self.reach.clone()));
            }
            Command::Listen(listener) => {
                self.tasks.spawn(reach::listen(listener, self.reach.clone()));
            }
            Command::Role(role) => {
                self.role = Some(role);
                let switches: Vec<DatapathId> = self.switches.keys().copied().collect();
                switches.into_iter().for_each(|switch| self.post(switch, Message::RoleRequest(role)));
            }
            Command::Call(call) => {
                let effects = call(&mut self.application);
                self.carry_out(Instant::now(), effects);
            }
            Command::Switches(answer) => {
                let status = self.switches.iter().map(|(switch, known)| SwitchStatus {
                    switch: *switch,
                    peer: known.registered.peer.clone(),
                    dropped: known.registered.dropped.load(Ordering::Relaxed) as u64,
                });
                // Whoever asked may have gone.
                let _ = answer.send(status.collect());
            }
            // The loop has seen to it.
            Command::Stop => {}
        }
    }

    fn take_report(&mut self, report: Report) {
        let now = Instant::now();
        match report {
            Report::Up(switch, registered) => {
                let event = Event::SwitchUp(switch, registered.connected.clone());
                tracing::info!(%switch, peer = %registered.peer, "switch connected");
                if let Some(old) = self.switches.remove(&switch) {
                    // It came back before its old connection was found to be dead.
                    tracing::info!(%switch, peer = %old.registered.peer, "an older connection is given up");
                    self.tell(now, &Event::SwitchGone(switch));
                }
                self.switches.insert(switch, Switch { registered, outbox: Vec::new() });
                if let Some(role) = self.role {
                    self.post(switch, Message::RoleRequest(role));
                }
                self.tell(now, &event);
            }
            Report::Events(switch, link, events) => {
                if self.is_current(switch, link) {
                    events.iter().for_each(|event| self.tell(now, event));
                }
            }
            Report::Gone(switch, link) => {
                if self.is_current(switch, link) {
                    self.switches.remove(&switch);
                    tracing::info!(%switch, "switch gone");
                    self.tell(now, &Event::SwitchGone(switch));
                }
            }
        }
    }

    fn is_current(&self, switch: DatapathId, link: LinkId) -> bool {
        self.switches.get(&switch).is_some_and(|known| known.registered.link == link)
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) {
            let timer = first.remove();
            self.timers.remove(&timer);
            self.tell(now, &Event::Timer(timer));
        }
    }

    fn tell(&mut self, now: Instant, event: &Event) {
        let effects = self.application.handle(now.saturating_duration_since(self.begun), event);
        let mut plain = Effects::none();
        let notices = plain.absorb(effects);
        notices.into_iter().for_each(&mut self.observer);
        self.carry_out(now, plain);
    }

    fn carry_out(&mut self, now: Instant, effects: Effects) {
        for (switch, message) in effects.messages {
            self.post(switch, message);
        }
        for change in effects.timers {
            self.set_timer(now, change.timer, change.after);
        }
    }

    fn set_timer(&mut self, now: Instant, timer: Timer, after: Option<Duration>) {
        if let Some(key) = self.timers.remove(&timer) {
            self.due.remove(&key);
        }
        // A time beyond what the clock can say never comes.
        if let Some(at) = after.and_then(|after| now.checked_add(after)) {
            self.sequence += 1;
            self.timers.insert(timer, (at, self.sequence));
            self.due.insert((at, self.sequence), timer);
        }
    }

    fn post(&mut self, switch: DatapathId, message: Message) {
        match self.switches.get_mut(&switch) {
            Some(known) => {
                if known.outbox.is_empty() {
                    self.waiting.push(switch);
                }
                known.outbox.push(message);
            }
            None => tracing::debug!(%switch, "a message is dropped: the switch is not connected"),
        }
    }

    fn flush(&mut self) {
        for switch in self.waiting.drain(..) {
            if let Some(known) = self.switches.get_mut(&switch) {
                // A link that has just ended will say so.
                let _ = known.registered.messages.send(std::mem::take(&mut known.outbox));
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
