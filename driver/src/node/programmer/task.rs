//! The rounds: links, ports, flows, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures::future::join_all;
use ofctl::client::{openflow, ovsdb};
use ofctl::flow::FlowKey;
use ofctl::ovsdb::vswitch::VswitchTransaction;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::flows::{Programmed, closed};
use super::spares::Spares;
use super::{Batch, Change, Config, PlanRevision, Reachability, State};
use crate::model::{Dataplane, EndpointId, LinkName};
use crate::node::link::{LinkError, LinkOptions, Links};
use crate::node::switch;
use crate::plan::Planner;
use crate::plan::ports::{PortKind, PortPlan, PortsPlan};
use crate::reconcile::{self, ObservedPort};

/// How long a link that could not be removed is left alone.
const REMOVAL_PAUSE: Duration = Duration::from_secs(1);

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

/// Why a round did not come to its end. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    Ovsdb(#[from] ovsdb::ClientError),
    #[error(transparent)]
    OpenFlow(#[from] openflow::ClientError),
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Two agents would undo each other's flows for ever.
    #[error(
        "bridge {bridge} is node {owner}'s (external_ids:{mark}); give this agent a --bridge of its own, or, if there is \
         no such agent any more: ovs-vsctl remove Bridge {bridge} external_ids {mark}", mark = switch::MARK
    )]
    OthersBridge { bridge: String, owner: String },
}

pub(super) struct Task {
    pub(super) config: Config,
    pub(super) planner: Planner,
    links: Links,
    inbox: mpsc::UnboundedReceiver<Batch>,
    pub(super) state: watch::Sender<State>,
    /// Endpoints whose host link is there; read once, then kept by what we do.
    pub(super) present_links: Option<BTreeSet<EndpointId>>,
    ovsdb: Option<(ovsdb::Client, ovsdb::Subscription)>,
    pub(super) openflow: Option<Programmed>,
    seen: PlanRevision,
    /// Flows that the switch does not take, so that one of them does not keep all others away.
    pub(super) refused: HashMap<FlowKey, (String, String)>,
    retry: Backoff,
    /// What is being removed.
    removals: JoinSet<Removed>,
    leaving_ports: HashSet<LinkName>,
    leaving_links: HashSet<EndpointId>,
    spares: Spares,
    /// Whether those of a former agent were looked for.
    has_adopted: bool,
    /// Spares that are being made.
    makings: JoinSet<Vec<(EndpointId, u16, bool)>>,
}

/// What a removal in the background has come to.
struct Removed {
    ports: Vec<LinkName>,
    /// Endpoints whose links were to go, and whether they have.
    links: Vec<(EndpointId, bool)>,
}

impl Task {
    pub(super) fn new(
        config: Config,
        planner: Planner,
        links: Links,
        inbox: mpsc::UnboundedReceiver<Batch>,
        state: watch::Sender<State>,
        spares: Spares,
    ) -> Task {
        Task {
            planner,
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
            spares,
            has_adopted: false,
            makings: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
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
            Some(Ok(made)) = self.makings.join_next() => self.spares_made(made),
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
                Change::SetPort(port) => self.planner.set_port(port),
                Change::RemovePort(network, node, at) => self.planner.remove_port(&network, &node, &at),
                Change::SetStation(station) => self.planner.set_station(station),
                Change::RemoveStation(network, mac) => self.planner.remove_station(&network, mac),
                // A host has no ports of its own.
                Change::Claim(..) | Change::Unclaim(..) => {}
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
            RoundError::OthersBridge { .. } => {}
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
        self.read_links(&plan).await?;
        let present = self.present_links.get_or_insert_default();
        let spares = self.spares.kept(|id| plan.links.contains_key(id));
        let steps = reconcile::steps(&plan, present, &spares, &seen.ports, &self.config.bridge);
        let mut faults: BTreeMap<EndpointId, String> =
            steps.refused.iter().map(|(id, refusal)| (id.clone(), refusal.to_string())).collect();
        let creations = steps.create_links.iter().map(|link| {
            let options = LinkOptions { mac: Some(link.mac), checksum_offload: offload };
            let links = &self.links;
            async move { (link, links.create_endpoint_links(&link.link, link.mtu, options).await) }
        });
        let created = join_all(creations).await;
        for (link, outcome) in created {
            match outcome {
                Ok(_) => {
                    self.present_links.get_or_insert_default().insert(link.link.clone());
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
        self.make_spares(&client, plan.links.values().map(|link| link.mtu).collect(), offload);

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

    /// Makes the spare links that are missing, in the background.
    fn make_spares(&mut self, client: &ovsdb::Client, mtus: BTreeSet<u16>, checksum_offload: bool) {
        let missing = self.spares.missing(&mtus);
        if missing.is_empty() {
            return;
        }
        let mut transaction = self.transaction();
        for (id, _) in &missing {
            transaction.add_port(switch::spare_port(id, &self.config.bridge));
        }
        if let Some(present) = &mut self.present_links {
            present.extend(missing.iter().map(|(id, _)| id.clone()));
        }
        let (client, links, deadline) = (client.clone(), self.links.clone(), self.deadline());
        self.makings.spawn(async move {
            let options = LinkOptions { mac: None, checksum_offload };
            let creations = missing.iter().map(|(id, mtu)| links.create_endpoint_links(id, *mtu, options));
            let made = join_all(creations).await;
            let plugged = client.apply(transaction, deadline).await;
            if let Err(error) = &plugged {
                debug!(%error, "spare links could not be made");
            }
            let outcome = |((id, mtu), made): ((EndpointId, u16), Result<_, _>)| {
                (id, mtu, plugged.is_ok() && made.is_ok())
            };
            missing.into_iter().zip(made).map(outcome).collect()
        });
    }

    /// What has been made is ready; what could not be is removed by the next round, and made anew after that.
    fn spares_made(&mut self, made: Vec<(EndpointId, u16, bool)>) {
        if made.iter().any(|(_, _, is_ready)| !is_ready) {
            self.retry.failed();
        }
        self.spares.made(made);
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
    async fn read_links(&mut self, plan: &PortsPlan) -> Result<(), RoundError> {
        if self.present_links.is_none() {
            let mut present = BTreeSet::new();
            let mut unplanned = Vec::new();
            for link in self.links.list_endpoint_links().await? {
                match link.endpoint.clone() {
                    Some(endpoint) => {
                        if !plan.links.contains_key(&endpoint) && link.peer_here {
                            unplanned.push((endpoint.clone(), link.mtu));
                        }
                        present.insert(endpoint);
                    }
                    None => {
                        self.links.delete_leftover(&link).await?;
                    }
                }
            }
            if !std::mem::replace(&mut self.has_adopted, true) {
                self.spares.adopt(unplanned);
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
        if let Some(owner) = seen.owner.filter(|owner| owner != node.as_str()) {
            return Err(RoundError::OthersBridge { bridge: self.config.bridge.clone(), owner });
        }
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
