//! The operator's view of this agent, and of the cluster through it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::watch;

use super::driver::AgentDriver;
use super::follower::StoreHealth;
use super::reconciler::DockerState;
use super::stations::StationState;
use crate::api::admin::{
    AdminError, AttachPort, AttachedPort, Backend, CreateNetwork, CreatedNetwork, DockerStatus,
    EndpointDetail, EndpointSummary, ErrorKind, LinuxPort, LinuxStatus, NetworkDetail, NetworkSummary,
    NodeDetail, NodeSummary, OpenflowStatus, OvsStatus, PortStatus, PortView, Problem, Removed, Severity,
    State, StationView, Status, StoreBackend, StoreStatus, VtepPort, VtepStatus,
};
use crate::model::{
    Dataplane, Encapsulation, Endpoint, EndpointId, LinkName, Network, NetworkName, NodeName, PortTag,
};
use crate::node::link::Links;
use crate::node::programmer::{self, Reachability};
use crate::plan::View;
use crate::reconcile::stations::MOST_ON_A_PORT;

/// What answers the operator's socket: the store where it answers, what this node knows of it where it does not, and
/// this node's own state.
pub(super) struct AdminBackend {
    pub driver: Arc<AgentDriver>,
    pub cluster: StoreBackend,
    pub store_kind: &'static str,
    pub bridge: LinkName,
    pub started: Instant,
    pub started_at: u64,
    pub links: Links,
    pub health: watch::Receiver<StoreHealth>,
    pub publish_problem: watch::Receiver<Option<String>>,
    pub underlay_problem: watch::Receiver<Option<String>>,
    pub docker: watch::Receiver<DockerState>,
    pub stations: watch::Receiver<StationState>,
}

fn reached(reachability: &Reachability) -> (State, Option<String>) {
    match reachability {
        Reachability::Up => (State::Ok, None),
        Reachability::Down(reason) => (State::Away, Some(reason.clone())),
    }
}

fn members(view: &View, network: &NetworkName) -> u64 {
    view.endpoints.get(network).map_or(0, |endpoints| endpoints.len() as u64)
}

fn summary(view: &View, network: &Network) -> NetworkSummary {
    NetworkSummary::new(network, members(view, &network.name))
}

/// What the store says, or what this node knows while the store is away.
fn known_or<T>(answer: Result<T, AdminError>, known: impl FnOnce() -> T) -> Result<T, AdminError> {
    match answer {
        Err(error) if error.kind == ErrorKind::Unavailable => Ok(known()),
        answer => answer,
    }
}

impl AdminBackend {
    fn view(&self) -> View {
        self.driver.registry.view()
    }

    /// Networks that are this host's alone: the store does not have them.
    fn local_networks(view: &View) -> impl Iterator<Item = &Arc<Network>> {
        view.networks.values().filter(|network| network.id.is_local())
    }

    fn local_endpoint(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.driver.registry.local_endpoint(id).map(|local| local.endpoint)
    }

    async fn port(&self, endpoint: &Endpoint) -> PortStatus {
        let state = self.driver.registry.programmer().state();
        let error = state.faults.get(&endpoint.id).cloned();
        let links = self.links.list_endpoint_links().await.unwrap_or_default();
        let link = links.into_iter().find(|link| link.endpoint.as_ref() == Some(endpoint.link_id()));
        PortStatus {
            ofport: state.ofports.get(&endpoint.host_link()).map(|port| port.0),
            mtu: link.as_ref().map(|link| link.mtu),
            up: link.is_some_and(|link| link.up),
            programmed: error.is_none()
                && state.revision >= self.driver.registry.revision_of(&endpoint.id)
                && state.ofports.contains_key(&endpoint.host_link()),
            error,
        }
    }

    /// Everything that somebody should look at.
    fn problems(&self, view: &View) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |severity, object: String, what: String, remedy: &str| {
            problems.push(Problem { severity, object, what, remedy: remedy.to_owned() });
        };
        let state = self.driver.registry.programmer().state();
        if state.dataplane.is_some_and(Dataplane::is_switch) {
            match state.dataplane {
                Some(Dataplane::HardwareVtep) => self.vtep_problems(&mut add),
                _ => self.kernel_problems(&mut add),
            }
            self.station_problems(&mut add);
        } else if let Reachability::Down(reason) = &state.switch {
            add(
                Severity::Error,
                "ovs".into(),
                reason.clone(),
                "start openvswitch-switch, or correct ovs-rundir",
            );
        } else if let Reachability::Down(reason) = &state.openflow {
            add(Severity::Error, "openflow".into(), reason.clone(), "see ovs-vswitchd's log");
        }
        if let Some((error, _)) = &self.health.borrow().away {
            add(
                Severity::Error,
                "store".into(),
                format!("{error}; traffic goes on with what is known"),
                if error.is_transient() {
                    "start the store; new networks have to wait for it"
                } else {
                    "correct what it names; new networks have to wait for it"
                },
            );
        }
        if let Some(problem) = &*self.publish_problem.borrow() {
            add(
                Severity::Error,
                format!("node {}", self.driver.registry.node()),
                problem.clone(),
                "as it says",
            );
        }
        if let Some(problem) = &*self.underlay_problem.borrow() {
            add(
                Severity::Error,
                "underlay".into(),
                problem.clone(),
                "give the address to a link, or start the agent with the right --underlay",
            );
        }
        for (id, fault) in &state.faults {
            add(Severity::Error, format!("endpoint {id}"), fault.clone(), "restart its container");
        }
        for (port, fault) in &state.port_faults {
            add(Severity::Error, format!("port {port}"), fault.clone(), "see ovs-vswitchd's log");
        }
        for (flow, reason) in &state.refused {
            add(
                Severity::Error,
                "openflow".into(),
                format!("the switch refuses a flow ({reason}): {flow}"),
                "report it with the version of Open vSwitch",
            );
        }
        let docker = self.docker.borrow();
        if let Some(reason) = &docker.unreachable {
            add(
                Severity::Warning,
                "docker".into(),
                reason.clone(),
                "start Docker; until then what it forgot is not collected",
            );
        }
        for (what, remedy) in &docker.problems {
            add(Severity::Warning, "docker".into(), what.clone(), remedy);
        }
        let alive = self.driver.registry.alive();
        let is_peer = |name: &&NodeName| **name != *self.driver.registry.node();
        if self.health.borrow().heard && self.health.borrow().away.is_none() {
            for name in view.nodes.keys().filter(is_peer).filter(|name| !alive.contains(*name)) {
                add(
                    Severity::Warning,
                    format!("node {name}"),
                    "its agent does not hold its lease; its containers may go on".into(),
                    "look at that host; if it is gone for good: sluice node rm",
                );
            }
        }
        self.underlay_problems(view, &mut add);
        problems.sort_by_key(|problem| problem.severity);
        problems
    }

    /// What is wrong with a switch that is told by its database.
    fn vtep_problems(&self, add: &mut impl FnMut(Severity, String, String, &str)) {
        let state = self.driver.registry.programmer().state();
        if let Reachability::Down(reason) = &state.switch {
            let remedy = "what the switch was told goes on; as it says, and see 'store'";
            add(Severity::Error, "switch".into(), reason.clone(), remedy);
        }
        let Some(vtep) = &state.vtep else { return };
        let switch = format!("switch {}", vtep.identity.switch);
        for fault in &vtep.faults {
            add(Severity::Error, switch.clone(), format!("it says: {fault}"), "see the switch's own log");
        }
        for refusal in &vtep.refusals {
            add(Severity::Error, switch.clone(), refusal.clone(), "as it says");
        }
        for member in &vtep.members {
            let port = format!("port {}", member.at);
            if let Some(problem) = &member.problem {
                add(Severity::Error, port.clone(), problem.clone(), "as it says");
            }
            for fault in member.faults.iter().flatten() {
                let what = format!("the switch says: {fault}");
                add(Severity::Error, port.clone(), what, "see the switch's own log");
            }
        }
    }

    /// What is wrong on a switch with a Linux kernel.
    fn kernel_problems(&self, add: &mut impl FnMut(Severity, String, String, &str)) {
        let state = self.driver.registry.programmer().state();
        if let Reachability::Down(reason) = &state.switch {
            let remedy = "what is programmed goes on; see 'store', and give the agent CAP_NET_ADMIN";
            add(Severity::Error, "kernel".into(), reason.clone(), remedy);
        }
        if let Some(linux) = &state.linux {
            for member in &linux.members {
                let port = format!("port {}", member.at);
                match (&member.problem, member.running) {
                    (Some(problem), _) => add(Severity::Error, port, problem.clone(), "as it says"),
                    (None, Some(false)) => add(
                        Severity::Warning,
                        port,
                        "its link passes no packets".into(),
                        "look at the cable and at what is behind it",
                    ),
                    (None, _) => {}
                }
            }
            for refusal in &linux.refusals {
                add(Severity::Error, "kernel".into(), refusal.clone(), "as it says");
            }
            for failure in &linux.failures {
                add(Severity::Error, "kernel".into(), failure.clone(), "as it says; it is tried again");
            }
        }
    }

    /// What is wrong with what is behind a switch's ports.
    fn station_problems(&self, add: &mut impl FnMut(Severity, String, String, &str)) {
        let stations = self.stations.borrow();
        for ((network, mac), node) in &stations.fought_over {
            add(
                Severity::Warning,
                format!("network {network}"),
                format!("{mac} moves to and fro between this switch and {node}; it stays there for now"),
                "two hosts have this MAC, or there is a loop behind the ports: find out which",
            );
        }
        for ((network, mac), spot) in &stations.of_endpoints {
            add(
                Severity::Warning,
                spot.to_string(),
                format!("something behind it sends from {mac}, which is an endpoint's of network {network}"),
                "give it a MAC of its own, or remove that container; its packets are not answered",
            );
        }
        for spot in &stations.crowded {
            add(
                Severity::Warning,
                spot.to_string(),
                format!("more than {MOST_ON_A_PORT} MACs are behind it; the rest is reached by flooding"),
                "attach fewer hosts to one port",
            );
        }
        if let Some(problem) = &stations.problem {
            let what = format!("what is behind its ports cannot be published: {problem}");
            add(Severity::Warning, "stations".into(), what, "as it says; it is tried again");
        }
    }

    fn linux(&self, state: &programmer::State) -> Option<LinuxStatus> {
        if state.dataplane != Some(Dataplane::Linux) {
            return None;
        }
        let (reached, error) = reached(&state.switch);
        let known = state.linux.as_ref();
        Some(LinuxStatus {
            state: reached,
            form: known.map(|known| known.form.clone()).unwrap_or_default(),
            networks: known.map_or(0, |known| known.networks as u64),
            remotes: known.map_or(0, |known| known.remotes as u64),
            offloaded: known.map_or(0, |known| known.offloaded as u64),
            neighbours: known.map_or(0, |known| known.neighbours as u64),
            repaired: state.repaired,
            ports: known
                .into_iter()
                .flat_map(|known| &known.members)
                .map(|member| LinuxPort {
                    at: member.at.clone(),
                    network: member.network.clone(),
                    running: member.running,
                    problem: member.problem.clone(),
                })
                .collect(),
            stations: self.stations(known.map(|known| &*known.stations)),
            error,
        })
    }

    fn vtep(&self, state: &programmer::State) -> Option<VtepStatus> {
        if state.dataplane != Some(Dataplane::HardwareVtep) {
            return None;
        }
        let (reached, error) = reached(&state.switch);
        let known = state.vtep.as_ref();
        let port = |member: &programmer::VtepMember| VtepPort {
            at: member.at.clone(),
            network: member.network.clone(),
            present: member.faults.is_some(),
            faults: member.faults.clone().unwrap_or_default(),
            problem: member.problem.clone(),
        };
        Some(VtepStatus {
            state: reached,
            switch: known.map(|known| known.identity.switch.clone()),
            tunnel: known.map(|known| known.identity.tunnel),
            networks: known.map_or(0, |known| known.networks as u64),
            remotes: known.map_or(0, |known| known.remotes as u64),
            flooded: known.map_or(0, |known| known.flooded as u64),
            repaired: state.repaired,
            ports: known.into_iter().flat_map(|known| &known.members).map(port).collect(),
            stations: self.stations(known.map(|known| &*known.stations)),
            others: known.map(|known| known.others.clone()).unwrap_or_default(),
            error,
        })
    }

    /// What is seen on the ports, with the addresses that the store knows.
    fn stations(&self, seen: Option<&[programmer::LocalStation]>) -> Vec<StationView> {
        self.driver.registry.with_view(|view| {
            let addresses = |station: &programmer::LocalStation| {
                let of_network = view.stations.get(&station.network)?;
                of_network.get(&station.mac).map(|station| station.addresses.clone())
            };
            let shown = |station: &programmer::LocalStation| StationView {
                network: station.network.clone(),
                mac: station.mac,
                at: station.at.clone(),
                addresses: addresses(station).unwrap_or_default(),
            };
            seen.into_iter().flatten().map(shown).collect()
        })
    }

    /// Why a port of this node is not in its network.
    fn port_problem(state: &programmer::State, network: &NetworkName, at: &PortTag) -> Option<String> {
        let of_kernel = state.linux.iter().flat_map(|linux| &linux.members);
        let mut of_kernel = of_kernel.filter(|member| (&member.network, &member.at) == (network, at));
        let of_database = state.vtep.iter().flat_map(|vtep| &vtep.members);
        let mut of_database = of_database.filter(|member| (&member.network, &member.at) == (network, at));
        of_kernel
            .find_map(|member| member.problem.clone())
            .or_else(|| of_database.find_map(|member| member.problem.clone()))
    }

    fn underlay_problems(&self, view: &View, add: &mut impl FnMut(Severity, String, String, &str)) {
        let facts = self.driver.facts.borrow();
        for network in view.networks.values() {
            let is_here = members(view, &network.name) > 0;
            if let (true, Some(asked), Some(most)) =
                (is_here, network.mtu, self.driver.registry.largest_mtu(&facts, network))
                && asked > most
            {
                add(
                    Severity::Warning,
                    format!("network {}", network.name),
                    format!("its MTU is {asked}, but the underlay leaves {most}: larger packets are lost"),
                    "raise the MTU of the underlay's links on every node",
                );
            }
            if is_here && network.encapsulation == Encapsulation::Vlan && facts.uplink_bridge.is_none() {
                add(
                    Severity::Error,
                    format!("network {}", network.name),
                    "it needs a trunk, and this node has no uplink bridge".into(),
                    "start the agent with --uplink-bridge",
                );
            }
        }
    }
}

#[async_trait]
impl Backend for AdminBackend {
    async fn status(&self) -> Result<Status, AdminError> {
        let view = self.view();
        let state = self.driver.registry.programmer().state();
        let health = self.health.borrow().clone();
        let docker = self.docker.borrow().clone();
        let (ovs, ovs_error) = reached(&state.switch);
        let (linux, vtep) = (self.linux(&state), self.vtep(&state));
        let is_switch = linux.is_some() || vtep.is_some();
        let of_ovs = |state| if is_switch { State::Off } else { state };
        let (ovs, ovs_error) = (of_ovs(ovs), ovs_error.filter(|_| !is_switch));
        let (openflow, openflow_error) = match ovs {
            State::Off => (State::Off, None),
            State::Ok => reached(&state.openflow),
            _ => (State::Away, ovs_error.clone()),
        };
        let (store, since, store_error) = match &health.away {
            Some((error, since)) => (State::Away, *since, Some(error.to_string())),
            None if health.heard => (State::Ok, health.since, None),
            None => (State::Away, self.started_at, Some("not heard yet".to_owned())),
        };
        Ok(Status {
            node: self.driver.registry.node().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            store: StoreStatus {
                kind: self.store_kind.to_owned(),
                address: self.driver.store.describe(),
                state: store,
                since,
                error: store_error,
            },
            ovs: OvsStatus {
                state: ovs,
                version: state.version.clone(),
                bridge: self.bridge.clone(),
                datapath: state.dataplane.and_then(|dataplane| match dataplane {
                    Dataplane::OvsSystem => Some("system".to_owned()),
                    Dataplane::OvsNetdev => Some("netdev".to_owned()),
                    Dataplane::Linux | Dataplane::HardwareVtep => None,
                }),
                error: ovs_error,
            },
            openflow: OpenflowStatus {
                state: openflow,
                generation: state.generation.map_or(0, |generation| u64::from(generation.0)),
                flows: state.flows as u64,
                repaired: state.repaired,
                refused: state.refused.len() as u64,
                error: openflow_error,
            },
            linux,
            vtep,
            docker: DockerStatus {
                state: match (docker.watched, docker.heard && docker.unreachable.is_none()) {
                    (false, _) => State::Off,
                    (true, true) => State::Ok,
                    (true, false) => State::Away,
                },
                version: docker.version,
                error: docker.unreachable,
            },
            networks: view.networks.len() as u64,
            endpoints: self.driver.registry.local_endpoints().len() as u64,
            problems: self.problems(&view),
        })
    }

    async fn networks(&self) -> Result<Vec<NetworkSummary>, AdminError> {
        let view = self.view();
        let is_cluster = |network: &&Arc<Network>| !network.id.is_local();
        let known =
            || view.networks.values().filter(is_cluster).map(|network| summary(&view, network)).collect();
        let mut networks: Vec<_> = known_or(self.cluster.networks().await, known)?;
        networks.extend(Self::local_networks(&view).map(|network| summary(&view, network)));
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(networks)
    }

    async fn network(&self, name: &NetworkName) -> Result<NetworkDetail, AdminError> {
        let view = self.view();
        let known = view.networks.get(name).map(|network| NetworkDetail {
            network: summary(&view, network),
            endpoints: view
                .endpoints
                .get(name)
                .into_iter()
                .flat_map(BTreeMap::values)
                .map(|endpoint| EndpointSummary::from(endpoint.as_ref()))
                .collect(),
        });
        match known {
            Some(local) if local.network.id.is_local() => Ok(local),
            Some(known) => known_or(self.cluster.network(name).await, || known),
            None => self.cluster.network(name).await,
        }
    }

    async fn create_network(&self, request: CreateNetwork) -> Result<CreatedNetwork, AdminError> {
        self.cluster.create_network(request).await
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<Removed, AdminError> {
        let served: Vec<_> = self
            .driver
            .registry
            .docker_networks()
            .into_iter()
            .filter(|docker| docker.network == *name)
            .collect();
        if let Some(docker) = served.first() {
            let names = &self.docker.borrow().names;
            let docker = names.get(&docker.id).map_or_else(|| docker.id.to_string(), Clone::clone);
            return Err(AdminError::new(
                ErrorKind::Conflict,
                format!(
                    "network {name} is used by this host's Docker network {docker}: docker network rm {docker}"
                ),
            ));
        }
        let removed = self.cluster.remove_network(name).await?;
        if let Err(error) = self.driver.ipam.forget_network(name).await {
            tracing::warn!(network = %name, %error, "leases of a removed network could not be forgotten");
        }
        Ok(removed)
    }

    async fn endpoints(&self, network: Option<&NetworkName>) -> Result<Vec<EndpointSummary>, AdminError> {
        let view = self.view();
        let is_wanted = |endpoint: &&Arc<Endpoint>| network.is_none_or(|name| endpoint.network == *name);
        let is_local = |endpoint: &&Arc<Endpoint>| {
            view.networks.get(&endpoint.network).is_some_and(|network| network.id.is_local())
        };
        let of_view = || view.endpoints.values().flat_map(BTreeMap::values).filter(is_wanted);
        if let Some(name) = network
            && let Some(local) = view.networks.get(name).filter(|network| network.id.is_local())
        {
            let endpoints = view.endpoints.get(&local.name).into_iter().flat_map(BTreeMap::values);
            return Ok(endpoints.map(|endpoint| endpoint.as_ref().into()).collect());
        }
        let known = || of_view().filter(|e| !is_local(e)).map(|endpoint| endpoint.as_ref().into()).collect();
        let mut endpoints: Vec<EndpointSummary> = known_or(self.cluster.endpoints(network).await, known)?;
        endpoints.extend(of_view().filter(is_local).map(|endpoint| EndpointSummary::from(endpoint.as_ref())));
        Ok(endpoints)
    }

    async fn endpoint(&self, id: &EndpointId) -> Result<EndpointDetail, AdminError> {
        match self.local_endpoint(id) {
            Some(endpoint) => {
                let mut detail = EndpointDetail::from(endpoint.as_ref());
                detail.port = Some(self.port(&endpoint).await);
                Ok(detail)
            }
            None => self.cluster.endpoint(id).await,
        }
    }

    async fn remove_endpoint(&self, id: &EndpointId) -> Result<Removed, AdminError> {
        if self.local_endpoint(id).is_none() {
            return self.cluster.remove_endpoint(id).await;
        }
        self.driver.drop_endpoint(id).await.map_err(|error| AdminError::new(ErrorKind::Internal, error))?;
        Ok(Removed { removed: vec![format!("endpoint {id}")] })
    }

    async fn nodes(&self) -> Result<Vec<NodeSummary>, AdminError> {
        let view = self.view();
        let alive = self.driver.registry.alive();
        let known = || {
            let of_node = |name: &NodeName| view.endpoints_of(name).count() as u64;
            view.nodes
                .values()
                .map(|node| NodeSummary::new(node, alive.contains(&node.name), of_node(&node.name)))
                .collect()
        };
        known_or(self.cluster.nodes().await, known)
    }

    async fn node(&self, name: &NodeName) -> Result<NodeDetail, AdminError> {
        self.cluster.node(name).await
    }

    async fn remove_node(&self, name: &NodeName, force: bool) -> Result<Removed, AdminError> {
        if name == self.driver.registry.node() {
            return Err(AdminError::new(
                ErrorKind::Conflict,
                format!("node {name} is the one whose agent you ask: stop that agent and ask another"),
            ));
        }
        self.cluster.remove_node(name, force).await
    }
    async fn ports(
        &self,
        network: Option<&NetworkName>,
        node: Option<&NodeName>,
    ) -> Result<Vec<PortView>, AdminError> {
        let known = || {
            self.driver.registry.with_view(|view| {
                let ports = view.ports.values().flat_map(BTreeMap::values);
                let wanted = ports.filter(|port| {
                    network.is_none_or(|network| port.network == *network)
                        && node.is_none_or(|node| port.node == *node)
                });
                let stations = |name| view.stations.get(name).into_iter().flat_map(BTreeMap::values);
                wanted.map(|port| PortView::new(port, stations(&port.network).map(AsRef::as_ref))).collect()
            })
        };
        let mut ports = known_or(self.cluster.ports(network, node).await, known)?;
        let state = self.driver.registry.programmer().state();
        for port in ports.iter_mut().filter(|port| port.node == *self.driver.registry.node()) {
            port.problem = Self::port_problem(&state, &port.network, &port.at);
        }
        Ok(ports)
    }

    async fn attach_port(&self, request: AttachPort) -> Result<AttachedPort, AdminError> {
        self.cluster.attach_port(request).await
    }

    async fn detach_port(&self, node: Option<&NodeName>, at: &PortTag) -> Result<Removed, AdminError> {
        self.cluster.detach_port(node, at).await
    }
}
