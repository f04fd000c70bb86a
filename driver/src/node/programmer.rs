//! The task that leads this node's links, ports and flows to the plan.
//!
//! ```text
//!   changes ──▶ inbox ─┐
//!   OVSDB updates ─────┤            ┌─▶ links    (rtnetlink)
//!   OpenFlow closed ───┼─▶ converge ┼─▶ ports    (OVSDB, one transaction)
//!   audit timer ───────┘            └─▶ flows    (OpenFlow, one atomic bundle)
//!                                         │
//!                        state (watch) ◀──┘  revision reached, faults, repairs
//! ```
//!
//! Everything that arrived while one round was under way is dealt with in the next, so that concurrent requests share
//! one transaction and one bundle. A restart of the agent, of ovs-vswitchd or of ovsdb-server is no special case: a
//! new connection is followed by a round that compares all of it.
//!
//! The order within a round: links, ports added, flows, ports removed, links removed. A port's number is therefore
//! known before flows name it, and no flow names a port that is gone. Endpoints' ports and links are removed while the
//! next rounds go on, since the kernel takes its time over a link; an EndpointID is never used again.

mod config_db;
mod flows;
mod intent;
mod linux;
mod sighted;
mod spares;
mod task;
mod vtep;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::wire::OfPort;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

pub use self::linux::{LinuxConfig, LinuxState, MemberState};
pub use self::sighted::{LocalStation, Sight, Sighted};
use self::spares::Spares;
use self::task::Task;
pub use self::vtep::{VtepConfig, VtepMember, VtepState};
use super::link::Links;
use crate::model::{
    Dataplane, Endpoint, EndpointId, LinkName, Network, NetworkName, Node, NodeName, PortAttachment, PortTag,
    Station,
};
use crate::plan::tables::Generation;
use crate::plan::{Facts, Planner};

/// Where the switch is and how patient to be with it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of OVS's sockets.
    pub ovs_rundir: PathBuf,
    /// The integration bridge.
    pub bridge: String,
    /// The datapath, if it was chosen; otherwise that of the bridge, or what the host can do.
    pub dataplane: Option<Dataplane>,
    /// How long one exchange with the switch may take.
    pub patience: Duration,
    /// How often the flows are compared with the plan.
    pub audit_interval: Duration,
}

/// A change of what the plan is made from.
#[derive(Clone, Debug)]
pub enum Change {
    /// A network is there, or is different.
    SetNetwork(Arc<Network>),
    /// A network is gone.
    RemoveNetwork(NetworkName),
    /// A node is there, or is different.
    SetNode(Arc<Node>),
    /// A node is gone.
    RemoveNode(NodeName),
    /// An endpoint is there, or is different.
    SetEndpoint(Arc<Endpoint>),
    /// An endpoint is gone.
    RemoveEndpoint(NetworkName, EndpointId),
    /// A switch port is attached.
    SetPort(Arc<PortAttachment>),
    /// A switch port is not attached any more.
    RemovePort(NetworkName, NodeName, PortTag),
    /// A station is there, or elsewhere.
    SetStation(Arc<Station>),
    /// A station is gone, or its node is.
    RemoveStation(NetworkName, MacAddr),
    /// This switch has seen a MAC on a port of its own, and the store does not know yet.
    Claim(NetworkName, MacAddr),
    /// The store knows, or it was not so.
    Unclaim(NetworkName, MacAddr),
    /// The MTU of the underlay's link was found out, in bytes.
    UnderlayMtu(Option<u16>),
}

/// Counts the changes that were handed to the programmer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PlanRevision(pub u64);

impl PlanRevision {
    /// That of what the programmer was started with.
    pub const INITIAL: PlanRevision = PlanRevision(1);
}

/// Whether something answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// It does.
    Up,
    /// It does not, or not yet.
    Down(String),
}

/// How far the node is.
#[derive(Clone, Debug)]
pub struct State {
    /// Every change up to this one has been dealt with.
    pub revision: PlanRevision,
    /// ovsdb-server and ovs-vswitchd.
    pub switch: Reachability,
    /// ovs-vswitchd's release.
    pub version: Option<String>,
    /// The datapath in use.
    pub dataplane: Option<Dataplane>,
    /// The OpenFlow connection.
    pub openflow: Reachability,
    /// The generation of the flows.
    pub generation: Option<Generation>,
    /// The OpenFlow numbers of this node's ports.
    pub ofports: HashMap<LinkName, OfPort>,
    /// How many flows there should be.
    pub flows: usize,
    /// How many flows audits have had to mend since the start.
    pub repaired: u64,
    /// Flows that the switch refused, and why.
    pub refused: BTreeMap<String, String>,
    /// Endpoints without their link or port, and why.
    pub faults: BTreeMap<EndpointId, String>,
    /// Other ports that could not be made, and why.
    pub port_faults: BTreeMap<LinkName, String>,
    /// What a switch without Open vSwitch has.
    pub linux: Option<LinuxState>,
    /// What a switch has that is told by its `hardware_vtep` database.
    pub vtep: Option<VtepState>,
}

impl State {
    /// That of a node of which nothing is known yet.
    fn unknown(dataplane: Option<Dataplane>) -> State {
        let waiting = || Reachability::Down("not connected yet".to_owned());
        State {
            revision: PlanRevision(0),
            switch: waiting(),
            version: None,
            dataplane,
            openflow: waiting(),
            generation: None,
            ofports: HashMap::new(),
            flows: 0,
            repaired: 0,
            refused: BTreeMap::new(),
            faults: BTreeMap::new(),
            port_faults: BTreeMap::new(),
            linux: None,
            vtep: None,
        }
    }
}

/// Why an endpoint is not programmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProgrammed {
    /// Its link or port could not be made.
    #[error("{0}")]
    Fault(String),
    /// The deadline passed.
    #[error("the switch was not programmed within {:.1} s: {reason}", .waited.as_secs_f64())]
    Late {
        /// How long was waited.
        waited: Duration,
        /// What is known of the cause.
        reason: String,
    },
}

type Batch = (PlanRevision, Vec<Change>);

/// Hands changes to the task and tells how far it is. Clones share it.
#[derive(Clone, Debug)]
pub struct Programmer {
    inbox: Arc<Mutex<(PlanRevision, mpsc::UnboundedSender<Batch>)>>,
    state: watch::Receiver<State>,
    spares: Spares,
}

impl Programmer {
    /// Starts the task. The first round makes the node as `initial` wants it, so everything known must be in.
    pub fn start(config: Config, facts: Facts, links: Links, initial: Vec<Change>) -> Programmer {
        let (programmer, inbox, state) = Programmer::handle(config.dataplane, initial);
        let spares = programmer.spares.clone();
        tokio::spawn(Task::new(config, Planner::new(facts), links, inbox, state, spares).run());
        programmer
    }

    /// Starts the task of a switch without Open vSwitch: Linux bridges and VXLAN links instead. It begins when `heard`
    /// says that everything known is in, and tells what is seen on the ports.
    pub fn start_linux(
        config: LinuxConfig,
        facts: Facts,
        initial: Vec<Change>,
        heard: watch::Receiver<bool>,
    ) -> (Programmer, mpsc::UnboundedReceiver<Sighted>) {
        let (programmer, inbox, state) = Programmer::handle(Some(Dataplane::Linux), initial);
        let (sighted, sightings) = mpsc::unbounded_channel();
        tokio::spawn(linux::Task::new(config, facts, inbox, state, heard, sighted).run());
        (programmer, sightings)
    }

    /// Starts the task of a switch that is told by its `hardware_vtep` database. As with
    /// [`start_linux`](Programmer::start_linux), it begins when `heard` says so.
    pub fn start_vtep(
        config: VtepConfig,
        facts: Facts,
        initial: Vec<Change>,
        heard: watch::Receiver<bool>,
    ) -> (Programmer, mpsc::UnboundedReceiver<Sighted>) {
        let (programmer, inbox, state) = Programmer::handle(Some(Dataplane::HardwareVtep), initial);
        let (sighted, sightings) = mpsc::unbounded_channel();
        tokio::spawn(vtep::Task::new(config, facts, inbox, state, heard, sighted).run());
        (programmer, sightings)
    }

    fn handle(
        dataplane: Option<Dataplane>,
        initial: Vec<Change>,
    ) -> (Programmer, mpsc::UnboundedReceiver<Batch>, watch::Sender<State>) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let (state, receiver) = watch::channel(State::unknown(dataplane));
        let programmer = Programmer {
            inbox: Arc::new(Mutex::new((PlanRevision(0), sender))),
            state: receiver,
            spares: Spares::default(),
        };
        programmer.apply(initial);
        (programmer, inbox, state)
    }

    /// Hands changes over, and tells the revision that will have them.
    pub fn apply(&self, changes: Vec<Change>) -> PlanRevision {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.0.0 += 1;
        let revision = inbox.0;
        // The task ends only with the process.
        let _ = inbox.1.send((revision, changes));
        revision
    }

    /// A link that is a port already, for an endpoint with this MTU: the id in whose name it was made. It is to be in a
    /// change soon, or given up.
    pub fn take_spare(&self, mtu: u16) -> Option<EndpointId> {
        self.spares.take(mtu)
    }

    /// A spare link is not used after all.
    pub fn give_up_spare(&self, spare: &EndpointId) {
        self.spares.give_up(spare);
    }

    /// How far the node is.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Follows the state.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until a revision is dealt with and this endpoint has its port and flows.
    ///
    /// # Errors
    /// Its port could not be made, or the deadline passed.
    pub async fn reached(
        &self,
        revision: PlanRevision,
        endpoint: &EndpointId,
        patience: Duration,
    ) -> Result<(), NotProgrammed> {
        let mut state = self.state.clone();
        let deadline = Instant::now() + patience;
        let reached = timeout_at(deadline, state.wait_for(|state| state.revision >= revision)).await;
        match reached {
            Ok(Ok(state)) => match state.faults.get(endpoint) {
                Some(fault) => Err(NotProgrammed::Fault(fault.clone())),
                None => Ok(()),
            },
            Ok(Err(_)) | Err(_) => {
                let state = self.state.borrow();
                let reason = match (&state.switch, &state.openflow) {
                    (Reachability::Down(reason), _) | (_, Reachability::Down(reason)) => reason.clone(),
                    _ => "ovs-vswitchd is slow; see 'sluice status'".to_owned(),
                };
                Err(NotProgrammed::Late { waited: patience, reason })
            }
        }
    }
}
