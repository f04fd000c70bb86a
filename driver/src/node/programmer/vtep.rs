//! The rounds of a switch that is told by its `hardware_vtep` database, from wherever this agent runs.
//!
//! A round plans from the view as it is now, compares with the replica of the database, and sends the difference as one
//! transaction. The database tells of every change, also of those that others make, so that each is followed by a round.
//!
//! A restart, of this agent or of the switch's ovsdb-server, is no special case: a new connection is followed by a round
//! that compares all of it. The first round waits until the store, or this node's own memory of it, has told of every
//! port: nothing is taken down only to be made again.
//!
//! That the database holds a change does not mean that the switch forwards by it: the schema has no word for that. What
//! the switch could not do it says in its fault columns, which are in the state.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::client::ovsdb::{Client, ClientError, Subscription};
use ofctl::ovsdb::Replica;
use ofctl::ovsdb::vtep::VtepError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::intent::take;
use super::{Batch, LocalStation, PlanRevision, Reachability, Sight, Sighted, State};
use crate::model::{NetworkName, PortTag, Vni};
use crate::node::vtep::{Database, keep_connected};
use crate::plan::attached::Claims;
use crate::plan::vtep::{VtepPlan, plan};
use crate::plan::{Facts, View};
use crate::vtep::observed::{self, Identity, Local, WhichSwitch, identify};
use crate::vtep::{Desired, Difference, Refusal, difference};

/// How the switch is to be told.
#[derive(Clone, Debug)]
pub struct VtepConfig {
    /// Its database.
    pub database: Database,
    /// How long one exchange with it may take.
    pub patience: Duration,
    /// How often it is compared with the plan though nothing has changed.
    pub audit_interval: Duration,
}

/// An attached port, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VtepMember {
    /// The network.
    pub network: NetworkName,
    /// The port.
    pub at: PortTag,
    /// What the switch says that it could not do with the port; none: it has no such port.
    pub faults: Option<Vec<String>>,
    /// Why it is not in its network.
    pub problem: Option<String>,
}

/// What a switch's database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VtepState {
    /// Which switch it is.
    pub identity: Identity,
    /// How many networks have a port here.
    pub networks: usize,
    /// How many MACs are behind other nodes.
    pub remotes: usize,
    /// To how many other nodes copies are sent.
    pub flooded: usize,
    /// The attached ports.
    pub members: Vec<VtepMember>,
    /// The MACs on them.
    pub stations: Vec<LocalStation>,
    /// Logical switches that are not this node's, and are left alone.
    pub others: Vec<String>,
    /// What the switch says that it could not do.
    pub faults: Vec<String>,
    /// What else cannot be, and its cure.
    pub refusals: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Which(#[from] WhichSwitch),
    #[error(transparent)]
    Plan(#[from] VtepError),
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl RoundError {
    /// Another writer was faster: what it wrote is about to be told.
    fn is_conflict(&self) -> bool {
        matches!(self, RoundError::Client(ClientError::Refused(error)) if error.is_conflict())
    }
}

struct Connection {
    client: Client,
    changes: Subscription,
}

pub(super) struct Task {
    config: VtepConfig,
    facts: Facts,
    view: View,
    claims: Claims,
    inbox: mpsc::UnboundedReceiver<Batch>,
    state: watch::Sender<State>,
    heard: watch::Receiver<bool>,
    sighted: mpsc::UnboundedSender<Sighted>,
    connections: mpsc::Receiver<Result<Client, String>>,
    connection: Option<Connection>,
    /// MACs that the switch has learned; none: not told of since the connection was made.
    locals: Option<BTreeMap<(Vni, MacAddr), Local>>,
    /// What the last round led to, and what it could not do; none if it did not end well.
    reached: Option<(Desired, Vec<Refusal>)>,
    seen: PlanRevision,
    audited: Instant,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        config: VtepConfig,
        facts: Facts,
        inbox: mpsc::UnboundedReceiver<Batch>,
        state: watch::Sender<State>,
        heard: watch::Receiver<bool>,
        sighted: mpsc::UnboundedSender<Sighted>,
    ) -> Task {
        let (out, connections) = mpsc::channel(1);
        tokio::spawn(keep_connected(config.database.clone(), config.patience, out));
        Task {
            config,
            facts,
            view: View::default(),
            claims: Claims::new(),
            inbox,
            state,
            heard,
            sighted,
            connections,
            connection: None,
            locals: None,
            reached: None,
            seen: PlanRevision(0),
            audited: Instant::now(),
            failures: 0,
            retry_at: None,
        }
    }

    pub(super) async fn run(mut self) {
        self.down("waiting for the store to tell this switch's ports, to leave alone what runs".to_owned());
        if self.heard.wait_for(|heard| *heard).await.is_err() {
            return;
        }
        let address = &self.config.database.address;
        self.down(format!("not connected to its hardware_vtep database yet ({address})"));
        loop {
            while let Ok(batch) = self.inbox.try_recv() {
                self.take(batch);
            }
            match self.round().await {
                Ok(()) => self.failures = 0,
                Err(error) if error.is_conflict() => {
                    debug!(%error, "another writer was faster; once more");
                    self.try_later();
                }
                Err(error) => {
                    self.down(error.to_string());
                    self.try_later();
                }
            }
            if !self.next_cause().await {
                return;
            }
        }
    }

    /// Waits for a reason to begin a round. False when there will be none.
    async fn next_cause(&mut self) -> bool {
        let audit_at = self.audited + self.config.audit_interval;
        let at = self.retry_at.map_or(audit_at, |retry| retry.min(audit_at));
        tokio::select! {
            batch = self.inbox.recv() => match batch {
                Some(batch) => self.take(batch),
                None => return false,
            },
            connected = self.connections.recv() => match connected {
                Some(connected) => self.connected(connected),
                None => return false,
            },
            () = changed(&mut self.connection) => {}
            () = sleep_until(at) => {}
        }
        true
    }

    fn take(&mut self, (revision, changes): Batch) {
        self.seen = revision;
        for change in changes {
            take(&mut self.view, &mut self.facts, &mut self.claims, change);
        }
    }

    fn connected(&mut self, connected: Result<Client, String>) {
        (self.locals, self.reached, self.retry_at, self.failures) = (None, None, None, 0);
        self.connection = None;
        match connected {
            Ok(client) => self.connection = Some(Connection { changes: client.subscribe(), client }),
            Err(reason) => self.down(reason),
        }
    }

    fn down(&self, reason: String) {
        self.state.send_if_modified(|state| {
            let is_new = state.switch != Reachability::Down(reason.clone());
            if is_new {
                warn!(reason, "the switch cannot be told; what it holds goes on");
                state.switch = Reachability::Down(reason);
            }
            is_new
        });
    }

    fn try_later(&mut self) {
        let delay = Duration::from_millis(20 << self.failures.min(8));
        self.failures += 1;
        self.retry_at = Some(Instant::now() + delay);
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let client = connection.client.clone();
        let started = Instant::now();
        let revision = self.seen;
        self.retry_at = None;
        let name = self.config.database.switch.as_deref();
        let identity = client.read(|replica| identify(replica, name, self.facts.underlay))?;
        // What was seen goes first: it is older than what this round does.
        client.read(|replica| self.look(replica, &identity));
        let VtepPlan { desired, refused } =
            plan(&self.view, &self.facts, &identity.switch, identity.tunnel, &self.claims);
        let steps = client.read(|replica| difference(&desired, replica))?;
        let changes = steps.changes();
        let mut repaired = 0;
        let Difference { transaction, refusals } = steps;
        if changes > 0 {
            let is_same =
                |(before, refused): &(Desired, Vec<Refusal>)| (before, refused) == (&desired, &refusals);
            if self.reached.as_ref().is_some_and(is_same) {
                repaired = changes as u64;
                warn!(changes, "what somebody else changed in the switch's database is mended");
            }
            self.reached = None;
            client.transact(transaction, started + self.config.patience).await?;
            debug!(
                revision = revision.0,
                changes,
                took_us = started.elapsed().as_micros() as u64,
                "the switch's database holds the plan"
            );
        }
        let mut vtep = client.read(|replica| describe(&identity, &desired, &refusals, replica));
        for (port, reason) in refused {
            let at = port.at();
            vtep.members.push(VtepMember {
                network: port.network,
                faults: client.read(|replica| observed::port_faults(replica, &identity.switch, &at)),
                problem: Some(reason.to_string()),
                at,
            });
        }
        vtep.others = client.read(|replica| observed::others(replica, &self.facts.node));
        vtep.stations = self.stations(&desired);
        self.reached = Some((desired, refusals));
        self.audited = Instant::now();
        self.state.send_modify(|state| {
            state.revision = revision;
            state.switch = Reachability::Up;
            state.openflow = Reachability::Up;
            state.repaired += repaired;
            state.vtep = Some(vtep);
        });
        Ok(())
    }

    /// Tells what the switch has learned since the last look.
    fn look(&mut self, replica: &Replica, identity: &Identity) {
        let now = observed::local_macs(replica, &self.facts.node, &identity.switch);
        let sight = |((vni, mac), local): (&(Vni, MacAddr), &Local)| Sight {
            vni: *vni,
            mac: *mac,
            at: local.at.clone(),
            addresses: local.address.into_iter().collect::<Vec<IpAddr>>(),
        };
        let tell = |sighted| {
            // Nobody listens only when the agent ends.
            let _ = self.sighted.send(sighted);
        };
        match &self.locals {
            None => tell(Sighted::All(now.iter().map(sight).collect())),
            Some(before) => {
                for (vni, mac) in before.keys().filter(|key| !now.contains_key(*key)) {
                    tell(Sighted::Forgotten { vni: *vni, mac: *mac });
                }
                for (key, local) in &now {
                    let was_here = before.get(key);
                    let is_same =
                        was_here.is_some_and(|was| (&was.at, was.address) == (&local.at, local.address));
                    if !is_same {
                        let was_remote = was_here.is_none() && local.is_told_elsewhere;
                        tell(Sighted::Learned { sight: sight((key, local)), was_remote });
                    }
                }
            }
        }
        self.locals = Some(now);
    }

    fn stations(&self, desired: &Desired) -> Vec<LocalStation> {
        let locals = self.locals.iter().flatten();
        let station = |((vni, mac), local): (&(Vni, MacAddr), &Local)| {
            let network = desired.networks.get(vni)?.name.clone();
            Some(LocalStation { network, mac: *mac, at: local.at.clone() })
        };
        locals.filter_map(station).collect()
    }
}

/// What a round has left.
fn describe(identity: &Identity, desired: &Desired, refusals: &[Refusal], replica: &Replica) -> VtepState {
    let mut members = Vec::new();
    for segment in desired.networks.values() {
        for at in &segment.members {
            let problem = refusals.iter().find(|refusal| refusal.concerns(&segment.name, at));
            members.push(VtepMember {
                network: segment.name.clone(),
                at: at.clone(),
                faults: observed::port_faults(replica, &identity.switch, at),
                problem: problem.map(ToString::to_string),
            });
        }
    }
    let nodes: std::collections::BTreeSet<&IpAddr> =
        desired.networks.values().flat_map(|segment| &segment.flood).collect();
    VtepState {
        identity: identity.clone(),
        networks: desired.networks.len(),
        remotes: desired.networks.values().map(|segment| segment.remotes.len()).sum(),
        flooded: nodes.len(),
        members,
        stations: Vec::new(),
        others: Vec::new(),
        faults: observed::faults(replica, &identity.switch),
        refusals: refusals.iter().filter(|refusal| !refusal.is_of_ports()).map(ToString::to_string).collect(),
    }
}

/// Ready when the database has changed. Pends for ever without a connection, or when it has ended, which
/// [`keep_connected`] tells.
async fn changed(connection: &mut Option<Connection>) {
    let Some(Connection { changes, .. }) = connection else { return std::future::pending().await };
    if changes.next().await.is_err() {
        std::future::pending::<()>().await;
    }
}
