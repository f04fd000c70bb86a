//! What the agent knows: what this host owes Docker, and what the cluster's store said last.
//!
//! One place holds it, behind a lock that is never held across an await. What happens to an endpoint is queued for the
//! ledger under the lock, and answered for when it is on the disk; a new network goes to the ledger first, then into
//! memory. So the ledger's last word of an object is memory's, and the order of changes that the programmer sees is the
//! order in which they happened here.

mod attached;

pub(super) use self::attached::Word;

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ofctl::MacAddr;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};

use crate::model::{
    DockerNetworkId, Endpoint, EndpointId, External, Network, NetworkId, NetworkName, Node, NodeName, Phase,
    PortAttachment, Station,
};
use crate::node::programmer::{Change, PlanRevision, Programmer};
use crate::plan::{View, ports};
use crate::reconcile::LedgerView;
use crate::store::{Ledger, LedgerWrite, StoreError, Table, keys};

/// Seconds since 1970-01-01 00:00 UTC.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// A network of this host's Docker, in [`Table::Networks`] by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DockerNetwork {
    /// Docker's id.
    pub id: DockerNetworkId,
    /// The network behind it.
    pub network: NetworkName,
    /// That network, if it is this host's alone; the cluster's are in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Network>,
    /// Docker's `--internal`.
    #[serde(default)]
    pub internal: bool,
    /// How its containers reach what is outside.
    #[serde(default)]
    pub external: External,
    /// Whether the addresses come from our IPAM.
    #[serde(default)]
    pub own_ipam: bool,
    /// When it was created here, in seconds.
    pub since: u64,
}

/// An endpoint of this host, in [`Table::Endpoints`] by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LocalEndpoint {
    /// The endpoint, as it is published.
    pub endpoint: Arc<Endpoint>,
    /// Docker's network.
    pub docker_network: DockerNetworkId,
    /// When Docker last said something of it, in seconds.
    pub since: u64,
}

#[derive(Default)]
struct Inner {
    docker_networks: BTreeMap<DockerNetworkId, DockerNetwork>,
    local: BTreeMap<EndpointId, LocalEndpoint>,
    /// The revision of the plan that has a local endpoint as it was last set.
    revisions: BTreeMap<EndpointId, PlanRevision>,
    view: View,
    /// Endpoints that are being made or removed; one that is being made has its addresses already.
    turns: BTreeMap<EndpointId, Option<Arc<Endpoint>>>,
    followed: BTreeMap<NetworkName, PlanRevision>,
    alive: BTreeSet<NodeName>,
    /// Stations as the store has them; the view has those of living nodes.
    stations: BTreeMap<NetworkName, BTreeMap<MacAddr, Arc<Station>>>,
    /// Who is told what the store says of stations.
    words: Option<mpsc::UnboundedSender<attached::Word>>,
    /// Networks whose ports and stations were told, or cannot be for now.
    attached_heard: BTreeSet<NetworkName>,
    /// Whether this node's ports were told, or cannot be for now.
    ports_heard: bool,
    /// Another living host has this node's name.
    name_taken: Option<NameTaken>,
}

/// Another host has this node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the node name {name} is that of another living host (underlay {underlay}): start this agent with another --node, \
     or, if that host is gone for good, wait until it has expired and run 'sluice node rm {name}'"
)]
pub(super) struct NameTaken {
    pub(super) name: NodeName,
    pub(super) underlay: String,
}

/// What the agent knows. Clones share it.
#[derive(Clone)]
pub(super) struct Registry {
    node: NodeName,
    inner: Arc<Mutex<Inner>>,
    ledger: Ledger,
    programmer: Programmer,
    /// Cluster networks of which this node has an endpoint or a port.
    present: Arc<watch::Sender<BTreeSet<NetworkName>>>,
    /// Woken when this node's endpoints have changed.
    pub(super) changed: Arc<Notify>,
    /// Woken when a network becomes known.
    followed: Arc<Notify>,
    /// Woken when ports, networks or other nodes' endpoints have changed.
    pub(super) surroundings_changed: Arc<Notify>,
    /// Woken when a creation or removal of an endpoint has ended.
    turned: Arc<Notify>,
}

/// The right to make or remove an endpoint, while it lives. A repeated call waits, and a removal waits for the
/// creation that it overtook.
pub(super) struct Turn {
    registry: Registry,
    id: EndpointId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.registry.lock().turns.remove(&self.id);
        self.registry.turned.notify_waiters();
    }
}

/// What a ledger holds when the agent starts.
pub(super) struct Restored {
    docker_networks: Vec<DockerNetwork>,
    local: Vec<LocalEndpoint>,
    networks: Vec<Network>,
    nodes: Vec<Node>,
    remote: Vec<Endpoint>,
    ports: Vec<PortAttachment>,
}

fn cached<T: serde::de::DeserializeOwned>(entries: &[(String, Vec<u8>)], prefix: &str) -> Vec<T> {
    entries
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        // The cache is a copy; what cannot be read comes again from the store.
        .filter_map(|(_, value)| serde_json::from_slice(value).ok())
        .collect()
}

impl Restored {
    /// Reads a ledger.
    ///
    /// # Errors
    /// It cannot be read; the cache alone may be unreadable.
    pub(super) fn load(ledger: &Ledger, node: &NodeName) -> Result<Restored, StoreError> {
        let cache = ledger.load(Table::Cache)?;
        let local: Vec<LocalEndpoint> =
            ledger.load_json(Table::Endpoints)?.into_iter().map(|(_, value)| value).collect();
        let own_ports = cached::<PortAttachment>(&cache, keys::PORTS);
        let followed: BTreeSet<&NetworkName> = local
            .iter()
            .map(|local| &local.endpoint.network)
            .chain(own_ports.iter().filter(|port| port.node == *node).map(|port| &port.network))
            .collect();
        let (ports, stale_ports): (Vec<PortAttachment>, Vec<PortAttachment>) =
            cached::<PortAttachment>(&cache, keys::ATTACHED)
                .into_iter()
                .partition(|port| followed.contains(&port.network));
        // What is not followed is never put right, and would keep its addresses from being used here.
        let (remote, stale): (Vec<Endpoint>, Vec<Endpoint>) = cached::<Endpoint>(&cache, keys::ENDPOINTS)
            .into_iter()
            .partition(|endpoint| followed.contains(&endpoint.network));
        let key = |endpoint: &Endpoint| keys::endpoint(&endpoint.network, &endpoint.id);
        ledger.write_behind(
            stale
                .iter()
                .map(key)
                .chain(stale_ports.iter().map(keys::attached_port))
                .map(|key| LedgerWrite::delete(Table::Cache, key))
                .collect(),
        );
        let ports = own_ports.iter().cloned().chain(ports).collect();
        Ok(Restored {
            docker_networks: ledger.load_json(Table::Networks)?.into_iter().map(|(_, value)| value).collect(),
            local,
            networks: cached(&cache, keys::NETWORKS),
            nodes: cached(&cache, keys::NODES),
            remote,
            ports,
        })
    }

    /// The name under which the endpoints were made, if it is not this one.
    pub(super) fn other_node(&self, node: &NodeName) -> Option<NodeName> {
        self.local.iter().map(|local| &local.endpoint.node).find(|before| *before != node).cloned()
    }

    /// What the programmer begins with.
    pub(super) fn changes(&self) -> Vec<Change> {
        let local_networks = self.docker_networks.iter().filter_map(|docker| docker.local.clone());
        let networks = self.networks.iter().cloned().chain(local_networks);
        networks
            .map(|network| Change::SetNetwork(Arc::new(network)))
            .chain(self.nodes.iter().map(|node| Change::SetNode(Arc::new(node.clone()))))
            .chain(self.remote.iter().map(|endpoint| Change::SetEndpoint(Arc::new(endpoint.clone()))))
            .chain(self.local.iter().map(|local| Change::SetEndpoint(local.endpoint.clone())))
            .chain(self.ports.iter().map(|port| Change::SetPort(Arc::new(port.clone()))))
            .collect()
    }
}

/// Two endpoints that want the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} is already that of endpoint {holder} on node {node} in network {network}: choose another{hint}"
)]
pub(super) struct Taken {
    what: String,
    holder: String,
    node: NodeName,
    network: NetworkName,
    hint: &'static str,
}

impl Registry {
    pub(super) fn new(
        node: NodeName,
        ledger: Ledger,
        programmer: Programmer,
        restored: Restored,
    ) -> Registry {
        let mut inner = Inner::default();
        for network in restored.networks {
            inner.view.networks.insert(network.name.clone(), Arc::new(network));
        }
        for docker in restored.docker_networks {
            if let Some(network) = &docker.local {
                inner.view.networks.insert(network.name.clone(), Arc::new(network.clone()));
            }
            inner.docker_networks.insert(docker.id.clone(), docker);
        }
        for known in restored.nodes {
            inner.view.nodes.insert(known.name.clone(), Arc::new(known));
        }
        let locals = restored.local.iter().map(|local| local.endpoint.clone());
        for endpoint in restored.remote.into_iter().map(Arc::new).chain(locals) {
            let of_network = inner.view.endpoints.entry(endpoint.network.clone()).or_default();
            of_network.insert(endpoint.id.clone(), endpoint);
        }
        for port in restored.ports {
            let of_network = inner.view.ports.entry(port.network.clone()).or_default();
            of_network.insert((port.node.clone(), port.at()), Arc::new(port));
        }
        for local in restored.local {
            inner.local.insert(local.endpoint.id.clone(), local);
        }
        let (present, _) = watch::channel(BTreeSet::new());
        let registry = Registry {
            node,
            inner: Arc::new(Mutex::new(inner)),
            ledger,
            programmer,
            present: Arc::new(present),
            changed: Arc::new(Notify::new()),
            followed: Arc::new(Notify::new()),
            surroundings_changed: Arc::new(Notify::new()),
            turned: Arc::new(Notify::new()),
        };
        registry.update_present(&mut registry.lock());
        registry
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before the lock is let go, so a panic elsewhere does not spoil it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn programmer(&self) -> &Programmer {
        &self.programmer
    }

    pub(super) fn node(&self) -> &NodeName {
        &self.node
    }

    /// Follows the cluster networks of which this node has an endpoint or a port.
    pub(super) fn present(&self) -> watch::Receiver<BTreeSet<NetworkName>> {
        self.present.subscribe()
    }

    fn update_present(&self, inner: &mut Inner) {
        let is_cluster =
            |name: &NetworkName| !inner.view.networks.get(name).is_some_and(|network| network.id.is_local());
        let present: BTreeSet<_> = inner
            .local
            .values()
            .filter(|local| local.endpoint.phase != Phase::Left)
            .map(|local| local.endpoint.network.clone())
            .chain(inner.view.ports_of(&self.node).map(|port| port.network.clone()))
            .filter(is_cluster)
            .collect();
        self.present.send_if_modified(|before| {
            let differs = *before != present;
            if differs {
                *before = present;
            }
            differs
        });
    }

    // What Docker has.

    pub(super) fn docker_network(&self, id: &DockerNetworkId) -> Option<DockerNetwork> {
        self.lock().docker_networks.get(id).cloned()
    }

    pub(super) fn docker_networks(&self) -> Vec<DockerNetwork> {
        self.lock().docker_networks.values().cloned().collect()
    }

    /// A free id for a network that is this host's alone.
    pub(super) fn free_local_id(&self) -> Option<NetworkId> {
        let inner = self.lock();
        let taken: BTreeSet<u32> = inner.view.networks.values().map(|network| network.id.get()).collect();
        (NetworkId::FIRST_LOCAL..=0xff_fffe).find(|id| !taken.contains(id)).and_then(|id| id.try_into().ok())
    }

    /// Persists a network of Docker's and makes it known.
    pub(super) async fn add_docker_network(
        &self,
        docker: DockerNetwork,
        network: Arc<Network>,
    ) -> Result<(), StoreError> {
        let mut writes = vec![LedgerWrite::put_json(Table::Networks, docker.id.as_str(), &docker)];
        if docker.local.is_none() {
            writes.push(LedgerWrite::put_json(Table::Cache, keys::network(&network.name), network.as_ref()));
        }
        self.ledger.commit(writes).await?;
        let mut inner = self.lock();
        inner.docker_networks.insert(docker.id.clone(), docker);
        self.set_network(&mut inner, network);
        Ok(())
    }

    /// Forgets a network of Docker's with its endpoints, which are told, and a network that only this host had.
    pub(super) async fn remove_docker_network(
        &self,
        id: &DockerNetworkId,
    ) -> Result<Vec<LocalEndpoint>, StoreError> {
        let (docker, network, endpoints, recorded) = {
            let mut inner = self.lock();
            let Some(docker) = inner.docker_networks.remove(id) else { return Ok(Vec::new()) };
            let of_network = inner.local.values().filter(|local| local.docker_network == *id);
            let endpoints: Vec<LocalEndpoint> = of_network.cloned().collect();
            let mut writes = vec![LedgerWrite::delete(Table::Networks, id.as_str())];
            for local in &endpoints {
                writes.push(LedgerWrite::delete(Table::Endpoints, local.endpoint.id.as_str()));
                self.take_out(&mut inner, &local.endpoint);
            }
            let network =
                docker.local.is_some().then(|| inner.view.networks.remove(&docker.network)).flatten();
            if network.is_some() {
                self.programmer.apply(vec![Change::RemoveNetwork(docker.network.clone())]);
            }
            (docker, network, endpoints, self.ledger.commit(writes))
        };
        if let Err(error) = recorded.await {
            // Still owed, as after a restart: the reconciler tries again.
            let mut inner = self.lock();
            inner.docker_networks.insert(docker.id.clone(), docker);
            if let Some(network) = network {
                self.set_network(&mut inner, network);
            }
            for local in endpoints {
                self.put_in(&mut inner, local);
            }
            return Err(error);
        }
        Ok(endpoints)
    }

    pub(super) fn local_endpoint(&self, id: &EndpointId) -> Option<LocalEndpoint> {
        self.lock().local.get(id).cloned()
    }

    pub(super) fn local_endpoints(&self) -> Vec<LocalEndpoint> {
        self.lock().local.values().cloned().collect()
    }

    /// Waits until nobody else makes or removes this endpoint.
    pub(super) async fn turn(&self, id: &EndpointId) -> Turn {
        loop {
            let woken = self.turned.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let MapEntry::Vacant(free) = self.lock().turns.entry(id.clone()) {
                free.insert(None);
                return Turn { registry: self.clone(), id: id.clone() };
            }
            woken.await;
        }
    }

    /// Gives the endpoint of a turn its addresses and its MAC address, for as long as the turn lives; then the
    /// endpoint has to be there.
    ///
    /// # Errors
    /// Another endpoint of the network has one of them, which is named.
    pub(super) fn reserve(&self, turn: &Turn, wanted: &Arc<Endpoint>) -> Result<(), Taken> {
        let mut inner = self.lock();
        let known = inner.view.endpoints.get(&wanted.network).into_iter().flat_map(BTreeMap::values);
        let in_making = inner.turns.values().flatten().filter(|other| other.network == wanted.network);
        let others = known.chain(in_making);
        for other in others.filter(|other| other.id != wanted.id && other.phase != Phase::Left) {
            let taken = |what: String, hint| Taken {
                what,
                holder: other.id.as_str().chars().take(12).collect(),
                node: other.node.clone(),
                network: wanted.network.clone(),
                hint,
            };
            if let Some(address) = wanted.addresses.iter().find(|address| other.has_address(address.addr())) {
                return Err(taken(
                    format!("address {}", address.addr()),
                    ", or let sluice assign it: --ipam-driver sluice --ipam-opt network=NAME",
                ));
            }
            if other.mac == wanted.mac {
                return Err(taken(format!("MAC address {}", wanted.mac), " with --mac-address"));
            }
        }
        inner.turns.insert(turn.id.clone(), Some(wanted.clone()));
        Ok(())
    }

    /// Makes an endpoint known, and persists it; false if its network is gone, and with it the endpoint. The flows are
    /// programmed while the ledger writes.
    ///
    /// # Errors
    /// The ledger cannot be written; the endpoint is not known any more.
    pub(super) async fn add_endpoint(&self, _turn: &Turn, local: LocalEndpoint) -> Result<bool, StoreError> {
        let endpoint = local.endpoint.clone();
        let recorded = {
            let mut inner = self.lock();
            if !inner.docker_networks.contains_key(&local.docker_network) {
                return Ok(false);
            }
            let write = LedgerWrite::put_json(Table::Endpoints, endpoint.id.as_str(), &local);
            let recorded = self.ledger.commit(vec![write]);
            self.put_in(&mut inner, local);
            recorded
        };
        let recorded = recorded.await;
        let mut inner = self.lock();
        let is_there = inner.local.contains_key(&endpoint.id);
        if recorded.is_err() && is_there {
            self.take_out(&mut inner, &endpoint);
        }
        recorded.map(|()| is_there)
    }

    /// Sets an endpoint's phase. A loss of this by a power failure does no harm: its link is lost as well.
    pub(super) fn set_phase(&self, id: &EndpointId, phase: Phase) {
        let mut inner = self.lock();
        let known = inner.local.get(id).filter(|local| local.endpoint.phase != phase);
        let Some(mut local) = known.cloned() else { return };
        Arc::make_mut(&mut local.endpoint).phase = phase;
        local.since = now();
        // Under the lock: behind the removal of the endpoint, this would bring it back at the next start.
        self.ledger.write_behind(vec![LedgerWrite::put_json(Table::Endpoints, id.as_str(), &local)]);
        self.put_in(&mut inner, local);
    }

    fn put_in(&self, inner: &mut Inner, local: LocalEndpoint) {
        let endpoint = local.endpoint.clone();
        inner.local.insert(endpoint.id.clone(), local);
        let of_network = inner.view.endpoints.entry(endpoint.network.clone()).or_default();
        of_network.insert(endpoint.id.clone(), endpoint.clone());
        self.update_present(inner);
        let id = endpoint.id.clone();
        let revision = self.programmer.apply(vec![Change::SetEndpoint(endpoint)]);
        inner.revisions.insert(id, revision);
        self.changed.notify_one();
    }

    fn take_out(&self, inner: &mut Inner, endpoint: &Endpoint) {
        inner.revisions.remove(&endpoint.id);
        inner.local.remove(&endpoint.id);
        remove_from(&mut inner.view, &endpoint.network, &endpoint.id);
        self.update_present(inner);
        let change = Change::RemoveEndpoint(endpoint.network.clone(), endpoint.id.clone());
        self.programmer.apply(vec![change]);
        self.changed.notify_one();
    }

    /// The revision of the plan that has an endpoint; that of the start if it was restored.
    pub(super) fn revision_of(&self, id: &EndpointId) -> PlanRevision {
        self.lock().revisions.get(id).copied().unwrap_or(PlanRevision::INITIAL)
    }

    /// Forgets an endpoint; `None` if there is none.
    pub(super) async fn remove_endpoint(
        &self,
        _turn: &Turn,
        id: &EndpointId,
    ) -> Result<Option<LocalEndpoint>, StoreError> {
        let (local, recorded) = {
            let mut inner = self.lock();
            let Some(local) = inner.local.get(id).cloned() else { return Ok(None) };
            self.take_out(&mut inner, &local.endpoint);
            (local, self.ledger.commit(vec![LedgerWrite::delete(Table::Endpoints, id.as_str())]))
        };
        if let Err(error) = recorded.await {
            // Still owed, as after a restart: the reconciler tries again.
            self.put_in(&mut self.lock(), local);
            return Err(error);
        }
        Ok(Some(local))
    }

    /// What is compared with Docker's lists.
    pub(super) fn ledger_view(&self) -> LedgerView {
        let inner = self.lock();
        LedgerView {
            networks: inner.docker_networks.iter().map(|(id, docker)| (id.clone(), docker.since)).collect(),
            endpoints: inner
                .local
                .iter()
                .map(|(id, local)| (id.clone(), (local.docker_network.clone(), local.since)))
                .collect(),
        }
    }

    // What the cluster has.

    pub(super) fn network(&self, name: &NetworkName) -> Option<Arc<Network>> {
        self.lock().view.networks.get(name).cloned()
    }

    /// A copy of all that is known.
    pub(super) fn view(&self) -> View {
        self.lock().view.clone()
    }

    pub(super) fn alive(&self) -> BTreeSet<NodeName> {
        self.lock().alive.clone()
    }

    /// Reads what is known without a copy. Everything else waits meanwhile.
    pub(super) fn with_view<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        read(&self.lock().view)
    }

    fn set_network(&self, inner: &mut Inner, network: Arc<Network>) {
        let before = inner.view.networks.insert(network.name.clone(), network.clone());
        if before.as_ref() != Some(&network) {
            self.programmer.apply(vec![Change::SetNetwork(network)]);
        }
    }

    /// Takes over the cluster's networks, and tells those that have gone. A network that has endpoints here stays,
    /// whatever the store has lost.
    pub(super) fn follow_networks(
        &self,
        networks: Vec<Arc<Network>>,
        gone: Gone<NetworkName>,
    ) -> Vec<NetworkName> {
        let mut inner = self.lock();
        let mut cache = Vec::new();
        let names: BTreeSet<NetworkName> = networks.iter().map(|network| network.name.clone()).collect();
        for network in networks {
            let is_new = inner.view.networks.get(&network.name) != Some(&network);
            if is_new {
                cache.push(LedgerWrite::put_json(
                    Table::Cache,
                    keys::network(&network.name),
                    network.as_ref(),
                ));
            }
            self.set_network(&mut inner, network);
        }
        let gone: Vec<NetworkName> = match gone {
            Gone::These(names) => names,
            Gone::AllOthers => {
                let is_gone =
                    |network: &&Arc<Network>| !network.id.is_local() && !names.contains(&network.name);
                inner.view.networks.values().filter(is_gone).map(|network| network.name.clone()).collect()
            }
        };
        let mut forgotten = Vec::new();
        for name in gone {
            if inner.local.values().any(|local| local.endpoint.network == name) {
                tracing::warn!(network = %name, "the store has lost a network that has endpoints here; it is kept");
                continue;
            }
            if inner.view.networks.remove(&name).is_some() {
                cache.push(LedgerWrite::delete(Table::Cache, keys::network(&name)));
                self.programmer.apply(vec![Change::RemoveNetwork(name.clone())]);
                forgotten.push(name);
            }
        }
        self.ledger.write_behind(cache);
        self.update_present(&mut inner);
        self.surroundings_changed.notify_one();
        forgotten
    }

    /// Takes over the cluster's other nodes; what this one is it knows better. True if its name is gone from the
    /// store, or another host has it.
    pub(super) fn follow_nodes(&self, nodes: Vec<Arc<Node>>, gone: Gone<NodeName>) -> bool {
        let mut inner = self.lock();
        let (mut cache, mut changes) = (Vec::new(), Vec::new());
        let names: BTreeSet<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
        let own = inner.view.nodes.get(&self.node).map(|own| own.installation.clone());
        let is_others = |node: &Arc<Node>| {
            node.name == self.node && own.as_ref().is_some_and(|own| *own != node.installation)
        };
        let mut lost = nodes.iter().any(is_others);
        for node in nodes.into_iter().filter(|node| node.name != self.node) {
            if inner.view.nodes.get(&node.name) != Some(&node) {
                cache.push(LedgerWrite::put_json(Table::Cache, keys::node(&node.name), node.as_ref()));
                inner.view.nodes.insert(node.name.clone(), node.clone());
                changes.push(Change::SetNode(node));
            }
        }
        let gone = match gone {
            Gone::These(names) => {
                lost |= names.contains(&self.node);
                names
            }
            Gone::AllOthers => {
                inner.view.nodes.keys().filter(|name| !names.contains(*name)).cloned().collect()
            }
        };
        for name in gone.into_iter().filter(|name| *name != self.node) {
            if inner.view.nodes.remove(&name).is_some() {
                cache.push(LedgerWrite::delete(Table::Cache, keys::node(&name)));
                changes.push(Change::RemoveNode(name));
            }
        }
        self.apply(changes);
        self.ledger.write_behind(cache);
        lost
    }

    /// Makes this node known to its own plan.
    pub(super) fn set_own_node(&self, node: Node) {
        let node = Arc::new(node);
        let mut inner = self.lock();
        inner.view.nodes.insert(node.name.clone(), node.clone());
        self.programmer.apply(vec![Change::SetNode(node)]);
    }

    /// Notes whether another living host has this node's name.
    pub(super) fn set_name_taken(&self, taken: Option<NameTaken>) {
        self.lock().name_taken = taken;
    }

    /// Checks that this node's address blocks are its own.
    ///
    /// # Errors
    /// Another living host has its name, and gives out the same addresses.
    pub(super) fn check_name(&self) -> Result<(), NameTaken> {
        self.lock().name_taken.clone().map_or(Ok(()), Err)
    }

    pub(super) fn follow_alive(&self, alive: Vec<NodeName>, gone: Gone<NodeName>) {
        let mut inner = self.lock();
        let before = inner.alive.clone();
        match gone {
            Gone::AllOthers => inner.alive = alive.into_iter().collect(),
            Gone::These(names) => {
                inner.alive.extend(alive);
                inner.alive.retain(|name| !names.contains(name));
            }
        }
        self.stations_of_living(&mut inner, &before);
    }

    /// Takes over the endpoints that other nodes have in a network. True if somebody has removed one of this node's.
    pub(super) fn follow_endpoints(
        &self,
        network: &NetworkName,
        endpoints: Vec<Arc<Endpoint>>,
        gone: Gone<EndpointId>,
    ) -> bool {
        let mut inner = self.lock();
        let (mut cache, mut changes) = (Vec::new(), Vec::new());
        let is_published = |id| inner.local.get(id).is_some_and(|local| local.endpoint.phase != Phase::Left);
        let lost = matches!(&gone, Gone::These(ids) if ids.iter().any(is_published));
        let of_network = inner.view.endpoints.entry(network.clone()).or_default();
        let listed: BTreeSet<EndpointId> = endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
        // What this node has it knows better than the store.
        for endpoint in endpoints.into_iter().filter(|endpoint| endpoint.node != self.node) {
            if of_network.get(&endpoint.id) != Some(&endpoint) {
                let key = keys::endpoint(network, &endpoint.id);
                cache.push(LedgerWrite::put_json(Table::Cache, key, endpoint.as_ref()));
                of_network.insert(endpoint.id.clone(), endpoint.clone());
                changes.push(Change::SetEndpoint(endpoint));
            }
        }
        let gone = match gone {
            Gone::These(ids) => ids,
            Gone::AllOthers => of_network.keys().filter(|id| !listed.contains(*id)).cloned().collect(),
        };
        for id in gone {
            if of_network.get(&id).is_some_and(|endpoint| endpoint.node != self.node) {
                of_network.remove(&id);
                cache.push(LedgerWrite::delete(Table::Cache, keys::endpoint(network, &id)));
                changes.push(Change::RemoveEndpoint(network.clone(), id));
            }
        }
        if of_network.is_empty() {
            inner.view.endpoints.remove(network);
        }
        self.apply(changes);
        self.ledger.write_behind(cache);
        self.surroundings_changed.notify_one();
        lost
    }

    fn apply(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.programmer.apply(changes);
        }
    }

    /// A network's endpoints are known now, as well as they can be.
    pub(super) fn network_followed(&self, network: &NetworkName) {
        let revision = self.programmer.apply(Vec::new());
        let mut inner = self.lock();
        inner.followed.insert(network.clone(), revision);
        drop(inner);
        self.followed.notify_waiters();
    }

    /// Other nodes' endpoints of a network that is not followed any more.
    pub(super) fn unfollow(&self, network: &NetworkName) {
        self.lock().followed.remove(network);
        self.follow_endpoints(network, Vec::new(), Gone::AllOthers);
        self.forget_attached(network);
    }

    /// Waits until a network's endpoints on other nodes are known, and tells the revision that has them. Local
    /// networks have none.
    pub(super) async fn known(&self, network: &Network) -> PlanRevision {
        if network.id.is_local() {
            return PlanRevision(0);
        }
        loop {
            let woken = self.followed.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let Some(revision) = self.lock().followed.get(&network.name) {
                return *revision;
            }
            woken.await;
        }
    }

    /// The largest MTU of a network's endpoints that the underlay carries.
    pub(super) fn largest_mtu(&self, facts: &crate::plan::Facts, network: &Network) -> Option<u16> {
        ports::largest_mtu(&self.lock().view, facts, network.encapsulation)
    }
}

/// Which of the objects known so far are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gone<T> {
    /// These.
    These(Vec<T>),
    /// All that were not just listed.
    AllOthers,
}

fn remove_from(view: &mut View, network: &NetworkName, id: &EndpointId) {
    if let Some(of_network) = view.endpoints.get_mut(network) {
        of_network.remove(id);
        if of_network.is_empty() {
            view.endpoints.remove(network);
        }
    }
}
