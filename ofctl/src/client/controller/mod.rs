//! A controller: an [`Application`] over many switches.
//!
//! ```text
//!  Controller ──commands──▶ core: owns the application, its timers, and which link is which switch
//!                             │  ▲
//!       messages to a switch, │  │ events, all that one read brought, in one batch;
//!                    in order ▼  │ when the core is behind, the link stops reading
//!                           link: owns a session and its stream, one for each connection
//!                             ▲
//!      dial, one a target ────┤  connects, and again when the connection ends, later each time
//!      listen, one a place ───┘  waits for switches that connect by themselves
//! ```
//!
//! The core never waits for a link. A switch that does not take what is sent to it loses its packet-ins beyond
//! [`Options::unsent_soft`], which the application would only answer with more, and its connection beyond
//! [`Options::unsent_limit`]; the other switches do not notice.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ofctl::client::controller::{Controller, Options};
//! use ofctl::client::{Listen, Target};
//! use ofctl::kit::apps::LearningSwitch;
//!
//! let controller = Controller::start(LearningSwitch::default(), Options::default());
//! controller.listen(Listen::parse("ptcp:6653:127.0.0.1", None)?).await?;
//! controller.connect(Target::parse("unix:/var/run/openvswitch/br0.mgmt", None)?).await?;
//! tokio::signal::ctrl_c().await?;
//! controller.stop().await?;
//! # Ok(())
//! # }
//! ```

mod core;
mod link;
mod reach;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::core::{Command, Core};
use super::stream::Listener;
use super::target::{Listen, Target};
use crate::kit::{Application, DatapathId, Effects};
use crate::session;
use crate::wire::{Role, RoleRequest};

/// How a controller behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Times and limits of each session; its echo requests find out switches that are gone.
    pub session: session::Config,
    /// Wait before the second attempt to connect; it doubles with each that fails.
    pub backoff_first: Duration,
    /// The longest wait between attempts to connect.
    pub backoff_most: Duration,
    /// Role that each switch is asked for when it connects. Without, it is `Equal`, as a switch begins.
    pub role: Option<RoleRequest>,
    /// Bytes waiting for one switch beyond which its packet-ins are dropped.
    pub unsent_soft: usize,
    /// Bytes waiting for one switch beyond which its connection is closed.
    pub unsent_limit: usize,
    /// Connections that one place of listening holds; others wait.
    pub connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            session: session::Config::default(),
            backoff_first: Duration::from_millis(500),
            backoff_most: Duration::from_secs(8),
            role: None,
            unsent_soft: 1 << 20,
            unsent_limit: 256 << 20,
            connections: 4096,
        }
    }
}

/// The controller has ended: it was stopped, or its application panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the controller has ended; if nobody stopped it, its application panicked, and the log says where")]
pub struct Ended;

/// Why a place cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refused.
    #[error("cannot wait for switches at {place}: {source}")]
    Bind {
        /// The place.
        place: Listen,
        /// Why not.
        source: io::Error,
    },
    /// The controller is gone.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// A switch that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchStatus {
    /// The switch.
    pub switch: DatapathId,
    /// Where it is reached or came from.
    pub peer: String,
    /// Packet-ins that were dropped because it did not take what was sent to it.
    pub dropped: u64,
}

/// A running controller; it stops when this goes.
pub struct Controller<A: Application> {
    commands: mpsc::Sender<Command<A>>,
    core: JoinHandle<A>,
}

impl<A: Application> fmt::Debug for Controller<A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Controller").finish_non_exhaustive()
    }
}

impl<A: Application> Drop for Controller<A> {
    fn drop(&mut self) {
        self.core.abort();
    }
}

impl<A: Application + Send + 'static> Controller<A> {
    /// Starts an application, with no switches yet. What it notices is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(application: A, options: Options) -> Controller<A> {
        Self::observed(application, options, |_| {})
    }

    /// Starts an application, and has what it notices told to `observer`, which must not block.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn observed(
        application: A,
        options: Options,
        observer: impl FnMut(A::Notice) + Send + 'static,
    ) -> Controller<A> {
        let (commands, receiver) = mpsc::channel(16);
        let core = tokio::spawn(Core::new(application, options, observer, receiver).run());
        Controller { commands, core }
    }

    async fn tell(&self, command: Command<A>) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }

    /// Connects to a switch, and keeps connecting whenever the connection ends.
    ///
    /// # Errors
    /// If the controller has ended. A switch that is not there is tried again, and logged.
    pub async fn connect(&self, target: Target) -> Result<(), Ended> {
        self.tell(Command::Connect(target)).await
    }

    /// Waits for switches that connect by themselves. Gives the address, with its port if any would do; none for a
    /// unix socket.
    ///
    /// # Errors
    /// If the place is taken or not ours.
    pub async fn listen(&self, place: Listen) -> Result<Option<SocketAddr>, ListenError> {
        let listener = Listener::bind(&place).await;
        let listener = listener.map_err(|source| ListenError::Bind { place, source })?;
        let address = listener.address();
        self.tell(Command::Listen(listener)).await?;
        Ok(address)
    }

    /// Asks all switches, now and when they connect, for a role. A generation that is older than one that a switch
    /// has seen is refused by it, which is an event for the application, as is the answer.
    ///
    /// # Errors
    /// If the controller has ended.
    pub async fn set_role(&self, role: Role, generation: u64) -> Result<(), Ended> {
        self.tell(Command::Role(RoleRequest { role, generation })).await
    }

    /// Has the application do something by a method of its own, carries that out, and gives what it noticed.
    ///
    /// # Errors
    /// If the controller has ended.
    pub async fn command<M: Send + 'static>(
        &self,
        command: impl FnOnce(&mut A) -> Effects<M> + Send + 'static,
    ) -> Result<Vec<M>, Ended> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Call(Box::new(move |application| {
            let mut effects = Effects::none();
            let notices = effects.absorb(command(application));
            // Whoever asked may have gone.
            let _ = answer.send(notices);
            effects
        }));
        self.tell(command).await?;
        answered.await.map_err(|_| Ended)
    }

    /// Looks at the application.
    ///
    /// # Errors
    /// If the controller has ended.
    pub async fn inspect<R: Send + 'static>(
        &self,
        look: impl FnOnce(&A) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        let mut seen = self.command(|application| Effects::notice(look(application))).await?;
        seen.pop().ok_or(Ended)
    }

    /// The switches that are connected.
    ///
    /// # Errors
    /// If the controller has ended.
    pub async fn switches(&self) -> Result<Vec<SwitchStatus>, Ended> {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Switches(answer)).await?;
        answered.await.map_err(|_| Ended)
    }

    /// Ends all connections, and gives the application back.
    ///
    /// # Errors
    /// If it has ended before.
    pub async fn stop(mut self) -> Result<A, Ended> {
        self.tell(Command::Stop).await?;
        (&mut self.core).await.map_err(|_| Ended)
    }
}
