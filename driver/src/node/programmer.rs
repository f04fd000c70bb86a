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

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use ofctl::client::openflow::{self, Connection, Events, Notification};
use ofctl::client::ovsdb;
use ofctl::flow::FlowKey;
use ofctl::ovsdb::vswitch::VswitchTransaction;
use ofctl::session::Failure;
use ofctl::wire::{FlowMod, FlowStatsRequest, FragmentMode, OfPort};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use super::link::{LinkOptions, Links};
use super::switch;
use crate::model::{Dataplane, Endpoint, EndpointId, LinkName, Network, NetworkName, Node, NodeName};
use crate::plan::ports::{PortKind, PortPlan};
use crate::plan::tables::Generation;
use crate::plan::{Facts, Planner};
use crate::reconcile::{self, ObservedPort};

/// How long a link that could not be removed is left alone.
const REMOVAL_PAUSE: Duration = Duration::from_secs(1);

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
}

impl Programmer {
    /// Starts the task. The first round makes the node as `initial` wants it, so everything known must be in.
    pub fn start(config: Config, facts: Facts, links: Links, initial: Vec<Change>) -> Programmer {
        let (sender, inbox) = mpsc::unbounded_channel();
        let waiting = || Reachability::Down("not connected yet".to_owned());
        let (state, receiver) = watch::channel(State {
            revision: PlanRevision(0),
            switch: waiting(),
            version: None,
            dataplane: config.dataplane,
            openflow: waiting(),
            generation: None,
            ofports: HashMap::new(),
            flows: 0,
            repaired: 0,
            refused: BTreeMap::new(),
            faults: BTreeMap::new(),
            port_faults: BTreeMap::new(),
        });
        let programmer =
            Programmer { inbox: Arc::new(Mutex::new((PlanRevision(0), sender))), state: receiver };
        programmer.apply(initial);
        let task = Task {
            planner: Planner::new(facts),
            config,
            links,
            inbox,
            state,
            present_links: None,
            ovsdb: None,
            openflow: None,
            seen: PlanRevision(0),
            refused: HashMap::new(),
            retry: Backoff::default(),
            removals: JoinSet::new(),
            leaving_ports: HashSet::new(),
            leaving_links: HashSet::new(),
        };
        tokio::spawn(task.run());
        programmer
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

/// When to try again what has failed.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    at: Option<Instant>,
}

impl Backoff {
    /// The first attempts follow quickly, so that a restarted switch is not left without flows.
    fn failed(&mut self) {
        let delay = Duration::from_millis(20 << self.failures.min(6));
        self.failures += 1;
        self.at = Some(Instant::now() + delay);
    }

    fn succeeded(&mut self) {
        *self = Backoff::default();
    }
}

/// A connection whose flows are those of the plan but for changes not yet sent.
struct Programmed {
    connection: Connection,
    events: Events,
    generation: Generation,
    audited: Instant,
    /// The switch's own word for its release.
    version: String,
    /// Tunnel ends whose MAC the switch was made to resolve since the last audit.
    woken: BTreeSet<IpAddr>,
}

/// Why a round did not come to its end. It is tried again.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Ovsdb(#[from] ovsdb::ClientError),
    #[error(transparent)]
    OpenFlow(#[from] openflow::ClientError),
    #[error(transparent)]
    Link(#[from] super::link::LinkError),
}

struct Task {
    config: Config,
    planner: Planner,
    links: Links,
    inbox: mpsc::UnboundedReceiver<Batch>,
    state: watch::Sender<State>,
    /// Endpoints whose host link is there; read once, then kept by what we do.
    present_links: Option<BTreeSet<EndpointId>>,
    ovsdb: Option<(ovsdb::Client, ovsdb::Subscription)>,
    openflow: Option<Programmed>,
    seen: PlanRevision,
    /// Flows that the switch does not take, so that one of them does not keep all others away.
    refused: HashMap<FlowKey, (String, String)>,
    retry: Backoff,
    /// What is being removed.
    removals: JoinSet<Removed>,
    leaving_ports: HashSet<LinkName>,
    leaving_links: HashSet<EndpointId>,
}

/// What a removal in the background has come to.
struct Removed {
    ports: Vec<LinkName>,
    /// Endpoints whose links were to go, and whether they have.
    links: Vec<(EndpointId, bool)>,
}

impl Task {
    async fn run(mut self) {
        loop {
            if !self.next_cause().await {
                return;
            }
            while let Ok(batch) = self.inbox.try_recv() {
                self.take(batch);
            }
            match self.round().await {
                Ok(()) => self.retry.succeeded(),
                Err(error) => self.round_failed(&error),
            }
        }
    }

    /// Waits for a reason to begin a round. False when there will be none.
    async fn next_cause(&mut self) -> bool {
        let audit_at = match &self.openflow {
            Some(programmed) => programmed.audited + self.config.audit_interval,
            None => Instant::now() + self.config.audit_interval,
        };
        let at = self.retry.at.map_or(audit_at, |retry| retry.min(audit_at));
        tokio::select! {
            batch = self.inbox.recv() => {
                match batch {
                    Some(batch) => self.take(batch),
                    None => return false,
                }
            }
            changed = changed(&mut self.ovsdb, self.retry.at.is_some()) => {
                if let Err(error) = changed {
                    warn!(%error, "the connection to ovsdb-server is lost");
                    self.ovsdb = None;
                }
            }
            reason = closed(&mut self.openflow) => {
                warn!(reason, bridge = self.config.bridge, "the OpenFlow connection is lost");
                self.openflow = None;
            }
            Some(Ok(removed)) = self.removals.join_next() => self.removed(removed),
            () = sleep_until(at) => {}
        }
        true
    }

    fn take(&mut self, (revision, changes): Batch) {
        self.seen = revision;
        for change in changes {
            match change {
                Change::SetNetwork(network) => self.planner.set_network(network),
                Change::RemoveNetwork(name) => self.planner.remove_network(&name),
                Change::SetNode(node) => self.planner.set_node(node),
                Change::RemoveNode(name) => self.planner.remove_node(&name),
                Change::SetEndpoint(endpoint) => self.planner.set_endpoint(endpoint),
                Change::RemoveEndpoint(network, id) => self.planner.remove_endpoint(&network, &id),
                Change::UnderlayMtu(mtu) => self.planner.set_underlay_mtu(mtu),
            }
        }
    }

    fn round_failed(&mut self, error: &RoundError) {
        let reason = error.to_string();
        debug!(%error, "a round of programming failed");
        let is_switch = !matches!(error, RoundError::OpenFlow(_));
        self.state.send_modify(|state| {
            let reachability = if is_switch { &mut state.switch } else { &mut state.openflow };
            if *reachability != Reachability::Down(reason.clone()) {
                warn!(%error, "the switch cannot be programmed; trying again");
                *reachability = Reachability::Down(reason);
            }
        });
        match error {
            // The connection is good; ovs-vswitchd is slow or away.
            RoundError::Ovsdb(ovsdb::ClientError::NotInEffect { .. }) | RoundError::Link(_) => {}
            RoundError::Ovsdb(_) => self.ovsdb = None,
            RoundError::OpenFlow(_) => self.openflow = None,
        }
        self.retry.failed();
    }

    /// Compares everything with the plan, and mends it.
    async fn round(&mut self) -> Result<(), RoundError> {
        let revision = self.seen;
        let started = Instant::now();
        let client = self.connect_ovsdb().await?;
        let seen = self.observe(&client);
        let offload = seen.dataplane != Some(Dataplane::OvsNetdev) || seen.userspace_tso;

        let plan = self.planner.ports();
        self.read_links().await?;
        let present = self.present_links.get_or_insert_default();
        let steps = reconcile::steps(&plan, present, &seen.ports, &self.config.bridge);
        let mut faults: BTreeMap<EndpointId, String> =
            steps.refused.iter().map(|(id, refusal)| (id.clone(), refusal.to_string())).collect();
        let creations = steps.create_links.iter().map(|link| {
            let options = LinkOptions { mac: Some(link.mac), checksum_offload: offload };
            let links = &self.links;
            async move { (link, links.create_endpoint_links(&link.endpoint, link.mtu, options).await) }
        });
        let created = join_all(creations).await;
        for (link, outcome) in created {
            match outcome {
                Ok(_) => {
                    self.present_links.get_or_insert_default().insert(link.endpoint.clone());
                }
                Err(error) => {
                    faults.insert(link.endpoint.clone(), error.to_string());
                }
            }
        }
        let linked = Instant::now();

        let missing = |port: &&PortPlan| match &port.kind {
            PortKind::Endpoint(id) => !faults.contains_key(id) && !seen.ofports.contains_key(&port.name),
            _ => true,
        };
        let wanted: Vec<&PortPlan> = steps.add_ports.iter().filter(missing).collect();
        let mut port_faults = self.add_ports(&client, wanted).await?;
        let seen = self.observe(&client);
        for port in &steps.add_ports {
            let ofport = seen.ofports.get(&port.name).copied();
            self.planner.set_ofport(&port.name, ofport);
            match (&port.kind, ofport) {
                (_, Some(_)) => {}
                (PortKind::Endpoint(id), None) => {
                    let fault = port_faults.remove(&port.name);
                    faults
                        .entry(id.clone())
                        .or_insert_with(|| fault.unwrap_or_else(|| port_fault(&seen, &port.name)));
                }
                (_, None) => {
                    port_faults.entry(port.name.clone()).or_insert_with(|| port_fault(&seen, &port.name));
                }
            }
        }
        for gone in steps.remove_ports.iter().filter(|port| port.bridge == self.config.bridge) {
            self.planner.set_ofport(&gone.name, None);
        }
        let plugged = Instant::now();

        self.program_flows().await?;
        self.announce().await;
        let programmed = Instant::now();

        let (links, others) =
            steps.remove_ports.into_iter().partition::<Vec<_>, _>(|port| port.name.is_of_an_endpoint());
        let mut removal = self.transaction();
        for port in &others {
            removal.remove_port(&port.bridge, port.name.as_str());
        }
        if !removal.is_empty() {
            client.apply(removal, self.deadline()).await?;
        }
        self.remove_endpoints(&client, links, steps.delete_links);

        debug!(
            revision = revision.0,
            links_us = (linked - started).as_micros() as u64,
            ports_us = (plugged - linked).as_micros() as u64,
            flows_us = (programmed - plugged).as_micros() as u64,
            cleanup_us = programmed.elapsed().as_micros() as u64,
            "round"
        );
        self.report(revision, seen, faults, port_faults);
        Ok(())
    }

    /// Adds ports in one transaction, without those that do not fit what is there; tells why they do not.
    async fn add_ports(
        &self,
        client: &ovsdb::Client,
        mut wanted: Vec<&PortPlan>,
    ) -> Result<BTreeMap<LinkName, String>, RoundError> {
        let mut faults = BTreeMap::new();
        loop {
            let mut transaction = self.transaction();
            for spec in wanted.iter().flat_map(|port| switch::port_specs(port, &self.config.bridge)) {
                transaction.add_port(spec);
            }
            if transaction.is_empty() {
                return Ok(faults);
            }
            match client.apply(transaction, self.deadline()).await {
                Ok(_) => return Ok(faults),
                Err(ovsdb::ClientError::Plan(error)) => {
                    let refused = switch::port_of(&error, &self.config.bridge)
                        .and_then(|name| wanted.iter().position(|port| switch::has_port(port, name)));
                    match refused {
                        Some(index) => {
                            faults.insert(wanted.swap_remove(index).name.clone(), error.to_string());
                        }
                        None => return Err(ovsdb::ClientError::Plan(error).into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes what endpoints have left behind, in the background.
    fn remove_endpoints(
        &mut self,
        client: &ovsdb::Client,
        mut ports: Vec<ObservedPort>,
        mut links: Vec<EndpointId>,
    ) {
        ports.retain(|port| self.leaving_ports.insert(port.name.clone()));
        links.retain(|id| self.leaving_links.insert(id.clone()));
        if ports.is_empty() && links.is_empty() {
            return;
        }
        let mut transaction = self.transaction();
        for port in &ports {
            transaction.remove_port(&port.bridge, port.name.as_str());
        }
        let (client, netlink, deadline) = (client.clone(), self.links.clone(), self.deadline());
        self.removals.spawn(async move {
            if !transaction.is_empty()
                && let Err(error) = client.apply(transaction, deadline).await
            {
                warn!(%error, "ports of endpoints that are gone could not be removed; trying again");
            }
            let deletions = links.into_iter().map(|id| async {
                let outcome = netlink.delete_endpoint_links(&id).await;
                if let Err(error) = &outcome {
                    warn!(endpoint = %id, %error, "a link could not be removed; trying again");
                }
                (id, outcome.is_ok())
            });
            let links = join_all(deletions).await;
            if links.iter().any(|(_, is_gone)| !is_gone) {
                // Until it is told, no round tries again: each would at once.
                sleep(REMOVAL_PAUSE).await;
            }
            Removed { ports: ports.into_iter().map(|port| port.name).collect(), links }
        });
    }

    /// Takes note of what is gone. What could not be removed is tried again by the next round that sees it.
    fn removed(&mut self, removed: Removed) {
        for name in &removed.ports {
            self.leaving_ports.remove(name);
        }
        for (id, is_gone) in &removed.links {
            self.leaving_links.remove(id);
            if *is_gone && let Some(present) = &mut self.present_links {
                present.remove(id);
            }
        }
    }

    fn report(
        &self,
        revision: PlanRevision,
        seen: switch::Observation,
        faults: BTreeMap<EndpointId, String>,
        port_faults: BTreeMap<LinkName, String>,
    ) {
        let flows = self.planner.flow_count();
        let generation = self.openflow.as_ref().map(|programmed| programmed.generation);
        let version =
            seen.version.or_else(|| self.openflow.as_ref().map(|programmed| programmed.version.clone()));
        let refused = self.refused.values().cloned().collect();
        self.state.send_modify(|state| {
            for (id, fault) in faults.iter().filter(|(id, _)| !state.faults.contains_key(*id)) {
                warn!(endpoint = %id, fault, "an endpoint has no port");
            }
            state.revision = revision;
            state.switch = Reachability::Up;
            state.version = version;
            state.dataplane = seen.dataplane;
            state.openflow = Reachability::Up;
            state.generation = generation;
            state.ofports = seen.ofports;
            state.flows = flows;
            state.refused = refused;
            state.faults = faults;
            state.port_faults = port_faults;
        });
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.config.patience
    }

    fn observe(&self, client: &ovsdb::Client) -> switch::Observation {
        let node = self.planner.facts().node.as_str();
        client.read(|replica| switch::observe(replica, node, &self.config.bridge))
    }

    fn transaction(&self) -> VswitchTransaction {
        let mut transaction = VswitchTransaction::new();
        transaction.owned_by(switch::MARK, self.planner.facts().node.as_str());
        transaction
    }

    /// Reads the links that are there, unless they are known.
    async fn read_links(&mut self) -> Result<(), RoundError> {
        if self.present_links.is_none() {
            let mut present = BTreeSet::new();
            for link in self.links.list_endpoint_links().await? {
                match link.endpoint.clone() {
                    Some(endpoint) => {
                        present.insert(endpoint);
                    }
                    None => {
                        self.links.delete_leftover(&link).await?;
                    }
                }
            }
            self.present_links = Some(present);
        }
        Ok(())
    }

    /// The connection to ovsdb-server; a new one makes sure of the bridge, as does one that misses it.
    async fn connect_ovsdb(&mut self) -> Result<ovsdb::Client, RoundError> {
        if let Some((client, _)) = &self.ovsdb {
            if self.observe(client).dataplane.is_some() {
                return Ok(client.clone());
            }
            warn!(bridge = self.config.bridge, "the bridge is gone; it is made again");
            self.ovsdb = None;
        }
        let target = ovsdb::Target::Unix(self.config.ovs_rundir.join("db.sock"));
        let client = ovsdb::Client::connect(target, ovsdb::Options::default(), self.deadline()).await?;
        let subscription = client.subscribe();
        let node = self.planner.facts().node.clone();
        let seen = self.observe(&client);
        let dataplane = self.config.dataplane.or(seen.dataplane).unwrap_or_else(switch::likely_dataplane);
        let mut transaction = VswitchTransaction::new();
        transaction.ensure_bridge(switch::integration_bridge(&self.config.bridge, dataplane, node.as_str()));
        client.apply(transaction, self.deadline()).await?;
        info!(bridge = self.config.bridge, ?dataplane, version = seen.version, "connected to Open vSwitch");
        // Links may have changed while nobody looked.
        self.present_links = None;
        self.ovsdb = Some((client.clone(), subscription));
        Ok(client)
    }

    /// Sends what changed in the plan, or, on a new connection, all of it.
    async fn program_flows(&mut self) -> Result<(), RoundError> {
        let changes = self.planner.refresh();
        for key in changes.set.iter().map(|flow| flow.key()).chain(changes.delete.iter().cloned()) {
            self.refused.remove(&key);
        }
        let Some(programmed) = &mut self.openflow else {
            let programmed = self.resync().await?;
            self.openflow = Some(programmed);
            return Ok(());
        };
        if !changes.is_empty() {
            let mods = reconcile::changes(programmed.generation, &changes);
            let connection = programmed.connection.clone();
            if let Err(error) = self.send(&connection, mods).await {
                // What part of the plan the switch has is not known any more.
                self.openflow = None;
                return Err(error);
            }
        }
        if let Some(programmed) = &self.openflow
            && programmed.audited.elapsed() >= self.config.audit_interval
        {
            self.audit().await?;
        }
        Ok(())
    }

    /// Tells neighbours what has changed for them, and wakes up new far ends. That they hear it is not certain on any
    /// network.
    async fn announce(&mut self) {
        let mut packets = self.planner.take_announcements();
        let Some(programmed) = &mut self.openflow else { return };
        let far_ends = self.planner.far_ends();
        programmed.woken.retain(|far| far_ends.contains(far));
        for far in far_ends {
            if !programmed.woken.contains(&far)
                && let Some(packet) = self.planner.wake_up(far)
            {
                packets.push(packet);
                programmed.woken.insert(far);
            }
        }
        for packet in packets {
            if let Err(error) = programmed.connection.packet_out(packet).await {
                debug!(%error, "neighbours could not be told of a change");
            }
        }
    }

    async fn resync(&mut self) -> Result<Programmed, RoundError> {
        let started = Instant::now();
        let path = self.config.ovs_rundir.join(format!("{}.mgmt", self.config.bridge));
        let (connection, events) =
            Connection::connect(openflow::Target::Unix(path), openflow::Options::default()).await?;
        // Fragments keep their ports out of the match: ovs-ofctl(8), set-frags.
        connection.set_config(FragmentMode::NxMatch, 128).await?;
        let version = connection.description().await?.software;
        let observed = connection.dump_flows(FlowStatsRequest::default()).await?;
        let (generation, mods) = reconcile::resync(self.planner.flows(), &observed);
        let sent = mods.len();
        self.send(&connection, mods).await?;
        info!(
            generation = generation.0,
            flow_mods = sent,
            milliseconds = started.elapsed().as_millis() as u64,
            "the switch has the whole plan"
        );
        Ok(Programmed {
            connection,
            events,
            generation,
            audited: Instant::now(),
            version,
            woken: BTreeSet::new(),
        })
    }

    /// Sends flow mods as one atomic bundle. Those that the switch refuses are left out and remembered, so that the
    /// others take effect.
    async fn send(&mut self, connection: &Connection, mut mods: Vec<FlowMod>) -> Result<(), RoundError> {
        loop {
            mods.retain(|flow_mod| !self.refused.contains_key(&flow_mod.key()));
            if mods.is_empty() {
                return Ok(());
            }
            match connection.bundle(mods.clone()).await {
                Ok(()) => return Ok(()),
                Err(openflow::ClientError::Failed { what, failure: Failure::Refused(refusals) })
                    if !refusals.is_empty() =>
                {
                    for refusal in refusals {
                        warn!(flow = refusal.offending, error = %refusal.error, "the switch refuses a flow");
                        let Some(flow_mod) = refusal.index.and_then(|index| mods.get(index)) else {
                            let failure = Failure::Refused(vec![refusal]);
                            return Err(openflow::ClientError::Failed { what, failure }.into());
                        };
                        let reason = (refusal.offending.clone(), refusal.error.to_string());
                        self.refused.insert(flow_mod.key(), reason);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Compares the switch's flows with the plan, and mends what differs.
    async fn audit(&mut self) -> Result<(), RoundError> {
        let Some(programmed) = &mut self.openflow else { return Ok(()) };
        programmed.audited = Instant::now();
        // The switch forgets what it has not used for a quarter of an hour.
        programmed.woken.clear();
        // Links are read once and then known by what is done to them; another hand may have done something else.
        self.present_links = None;
        let (connection, generation) = (programmed.connection.clone(), programmed.generation);
        let observed = connection.dump_flows(FlowStatsRequest::default()).await?;
        let plan = self.planner.flows().filter(|flow| !self.refused.contains_key(&flow.key()));
        let (found, mods) = reconcile::audit(plan, &observed, generation);
        if found.is_empty() {
            return Ok(());
        }
        for flow in found.add.iter().chain(&found.modify) {
            warn!(%flow, "a flow was missing or changed on the switch");
        }
        let repaired = (found.add.len() + found.modify.len() + found.delete.len()) as u64;
        warn!(repaired, "the switch's flows were not those of the plan");
        self.send(&connection, mods).await?;
        self.state.send_modify(|state| state.repaired += repaired);
        Ok(())
    }
}

fn port_fault(seen: &switch::Observation, name: &LinkName) -> String {
    match seen.errors.get(name) {
        Some(error) => format!("ovs-vswitchd could not make port {name}: {error}"),
        None => format!("ovs-vswitchd has not made port {name}; see its log"),
    }
}

/// Waits for changes of the database that call for a round: after a failure `any`, because the cause of it may have
/// gone. Pends for ever without a connection.
async fn changed(
    ovsdb: &mut Option<(ovsdb::Client, ovsdb::Subscription)>,
    any: bool,
) -> Result<(), ovsdb::ClientError> {
    match ovsdb {
        Some((_, subscription)) => loop {
            let changes = subscription.next().await?;
            if any || changes.iter().any(switch::concerns_ports) {
                return Ok(());
            }
        },
        None => std::future::pending().await,
    }
}

/// Why the OpenFlow connection ended; pends for ever while it is there or there is none.
async fn closed(openflow: &mut Option<Programmed>) -> String {
    match openflow {
        Some(programmed) => loop {
            match programmed.events.next().await {
                Some(Notification::Closed(reason)) => return reason.to_string(),
                Some(_) => {}
                None => std::future::pending().await,
            }
        },
        None => std::future::pending().await,
    }
}
