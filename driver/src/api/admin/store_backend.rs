//! The cluster's objects in the store, for the agent and for an operator where no agent runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::{
    AdminError, AttachPort, AttachedPort, Backend, CreateNetwork, CreatedNetwork, EndpointDetail,
    EndpointSummary, ErrorKind, NetworkDetail, NetworkSummary, NodeDetail, NodeSummary, PortView, Removed,
    Status, SubnetView,
};
use crate::ipam::{DefaultPools, release_node};
use crate::model::{
    Encapsulation, Endpoint, EndpointId, NetworkName, NetworkSpec, Node, NodeName, Origin, PortTag, Station,
    Subnet, SubnetError,
};
use crate::store::networks::{self, NetworkError};
use crate::store::ports::{self, PortError};
use crate::store::{Entry, Guard, Store, StoreError, TxnOutcome, Write, keys};

/// What [`StoreBackend`] needs to know beside the store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The node in whose name networks are made.
    pub node: NodeName,
    /// The encapsulation of networks that ask for none.
    pub default_encapsulation: Encapsulation,
    /// Where subnets that nobody chose come from.
    pub default_pools: DefaultPools,
}

/// [`Backend`] over the store: everything but [`Status`], which only an agent has.
#[derive(Clone)]
pub struct StoreBackend {
    store: Arc<dyn Store>,
    settings: StoreSettings,
}

impl StoreBackend {
    /// The cluster's objects in this store.
    pub fn new(store: Arc<dyn Store>, settings: StoreSettings) -> StoreBackend {
        StoreBackend { store, settings }
    }

    /// That this is asked for here and now.
    fn origin(&self) -> Origin {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Origin { node: self.settings.node.clone(), at }
    }

    async fn list<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(Entry, T)>, AdminError> {
        let entries = self.store.list(prefix).await?;
        entries.into_iter().map(|entry| decode(&entry).map(|value| (entry, value))).collect()
    }

    async fn all_endpoints(&self) -> Result<Vec<Endpoint>, AdminError> {
        Ok(networks::endpoints(&*self.store, None).await?)
    }

    /// The names of the nodes whose agents hold their lease.
    async fn alive(&self) -> Result<BTreeSet<String>, AdminError> {
        let entries = self.store.list(keys::ALIVE).await?;
        Ok(entries.into_iter().map(|entry| entry.key[keys::ALIVE.len()..].to_owned()).collect())
    }

    async fn find_endpoint(&self, id: &EndpointId) -> Result<Endpoint, AdminError> {
        self.all_endpoints().await?.into_iter().find(|endpoint| endpoint.id == *id).ok_or_else(|| {
            not_found(format_args!("endpoint {id} does not exist: `sluice endpoint ls` shows those that do"))
        })
    }

    async fn find_node(&self, name: &NodeName) -> Result<Node, AdminError> {
        match self.store.get(&keys::node(name)).await? {
            Some(entry) => decode(&entry),
            None => Err(not_found(format_args!(
                "node {name} does not exist: `sluice node ls` shows those that do"
            ))),
        }
    }

    /// A free subnet out of the default pool, unless the network is there.
    async fn choose_subnet(&self, name: &NetworkName) -> Result<Vec<Subnet>, AdminError> {
        if networks::find(&*self.store, name).await?.is_some() {
            return Ok(Vec::new());
        }
        let others = networks::list(&*self.store).await?;
        let taken: Vec<_> =
            others.iter().flat_map(|other| &other.subnets).map(|subnet| subnet.prefix).collect();
        let prefix = self.settings.default_pools.choose(name.as_str(), false, &taken).ok_or_else(|| {
            let space = self.settings.default_pools.space(false);
            conflict(format_args!(
                "network {name}: the default pool {space} has no free subnet: give --subnet"
            ))
        })?;
        Ok(vec![Subnet::new(prefix).map_err(invalid)?])
    }
}

fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, AdminError> {
    serde_json::from_slice(&entry.value).map_err(|error| {
        internal(format_args!("{} in the store cannot be read ({error}): repair or remove it", entry.key))
    })
}

fn not_found(message: impl Display) -> AdminError {
    AdminError::new(ErrorKind::NotFound, message)
}

fn conflict(message: impl Display) -> AdminError {
    AdminError::new(ErrorKind::Conflict, message)
}

fn invalid(message: impl Display) -> AdminError {
    AdminError::new(ErrorKind::Invalid, message)
}

fn internal(message: impl Display) -> AdminError {
    AdminError::new(ErrorKind::Internal, message)
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        AdminError::new(ErrorKind::Unavailable, error)
    }
}

impl From<NetworkError> for AdminError {
    fn from(error: NetworkError) -> Self {
        let kind = match &error {
            NetworkError::Store(_) | NetworkError::Contended(_) => ErrorKind::Unavailable,
            NetworkError::Spec(_) | NetworkError::ReservedName(_) | NetworkError::Gateway { .. } => {
                ErrorKind::Invalid
            }
            NetworkError::Unknown(_) => ErrorKind::NotFound,
            NetworkError::Damaged { .. } => ErrorKind::Internal,
            NetworkError::Disagreement(_)
            | NetworkError::SegmentTaken { .. }
            | NetworkError::ClaimLost { .. }
            | NetworkError::NoFreeId(_)
            | NetworkError::InUse { .. }
            | NetworkError::HasPorts { .. } => ErrorKind::Conflict,
        };
        AdminError::new(kind, error)
    }
}

impl From<PortError> for AdminError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Network(error) => error.into(),
            PortError::UnknownNode(_) | PortError::NotAttached { .. } => not_found(error),
            PortError::CannotCarry { .. } => AdminError::new(ErrorKind::Unsupported, error),
            PortError::Taken { .. } => conflict(error),
        }
    }
}

impl CreateNetwork {
    /// What is asked for, checked as far as it can be without the store.
    ///
    /// # Errors
    /// A subnet cannot be one, or the MTU is out of its range.
    pub fn spec(&self) -> Result<NetworkSpec, AdminError> {
        let refuse = |error: SubnetError| invalid(format_args!("network {}: {error}", self.name));
        let subnet = |view: &SubnetView| {
            let mut subnet = Subnet::new(view.prefix)?;
            if let Some(gateway) = view.gateway {
                subnet = subnet.with_gateway(gateway)?;
            }
            view.reserved
                .iter()
                .try_fold(subnet, |subnet, (name, address)| subnet.with_reserved(name, *address))
        };
        if let Some(mtu) = self.mtu.filter(|mtu| *mtu < 1280) {
            return Err(invalid(format_args!(
                "network {}: mtu {mtu} is less than IPv6 allows: 1280 to 65535 is wanted",
                self.name
            )));
        }
        Ok(NetworkSpec {
            encapsulation: self.encapsulation,
            vni: self.vni,
            vlan: self.vlan,
            mtu: self.mtu,
            external: self.external,
            subnets: self.subnets.iter().map(subnet).collect::<Result<_, _>>().map_err(refuse)?,
            docker_sync: self.docker_sync,
        })
    }
}

#[async_trait]
impl Backend for StoreBackend {
    async fn status(&self) -> Result<Status, AdminError> {
        Err(AdminError::new(
            ErrorKind::Unsupported,
            "the status is an agent's, and the store has none: leave --store out where an agent runs",
        ))
    }

    async fn networks(&self) -> Result<Vec<NetworkSummary>, AdminError> {
        let mut counts: BTreeMap<NetworkName, u64> = BTreeMap::new();
        for endpoint in self.all_endpoints().await? {
            *counts.entry(endpoint.network).or_default() += 1;
        }
        let networks = networks::list(&*self.store).await?;
        Ok(networks
            .iter()
            .map(|network| NetworkSummary::new(network, counts.get(&network.name).copied().unwrap_or(0)))
            .collect())
    }

    async fn network(&self, name: &NetworkName) -> Result<NetworkDetail, AdminError> {
        let network =
            networks::find(&*self.store, name).await?.ok_or_else(|| NetworkError::Unknown(name.clone()))?;
        let endpoints = self.endpoints(Some(name)).await?;
        Ok(NetworkDetail { network: NetworkSummary::new(&network, endpoints.len() as u64), endpoints })
    }

    async fn create_network(&self, request: CreateNetwork) -> Result<CreatedNetwork, AdminError> {
        let name = &request.name;
        let mut spec = request.spec()?;
        if spec.subnets.is_empty() {
            spec.subnets = self.choose_subnet(name).await?;
        }
        let origin = self.origin();
        let encapsulation = self.settings.default_encapsulation;
        let (network, created) = networks::create(&*self.store, name, &spec, encapsulation, origin).await?;
        let endpoints =
            if created { 0 } else { networks::endpoints(&*self.store, Some(name)).await?.len() as u64 };
        Ok(CreatedNetwork { created, network: NetworkSummary::new(&network, endpoints) })
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<Removed, AdminError> {
        networks::remove(&*self.store, name).await?;
        Ok(Removed { removed: vec![format!("network {name}")] })
    }

    async fn endpoints(&self, network: Option<&NetworkName>) -> Result<Vec<EndpointSummary>, AdminError> {
        if let Some(name) = network
            && networks::find(&*self.store, name).await?.is_none()
        {
            return Err(NetworkError::Unknown(name.clone()).into());
        }
        Ok(networks::endpoints(&*self.store, network).await?.iter().map(EndpointSummary::from).collect())
    }

    async fn endpoint(&self, id: &EndpointId) -> Result<EndpointDetail, AdminError> {
        Ok(EndpointDetail::from(&self.find_endpoint(id).await?))
    }

    async fn remove_endpoint(&self, id: &EndpointId) -> Result<Removed, AdminError> {
        let endpoint = self.find_endpoint(id).await?;
        if self.alive().await?.contains(endpoint.node.as_str()) {
            return Err(conflict(format_args!(
                "endpoint {id} is on node {}, whose agent runs and owns it: run `sluice endpoint rm {id:.12}` there",
                endpoint.node,
                id = id.as_str(),
            )));
        }
        self.store.commit(vec![], vec![Write::Delete(keys::endpoint(&endpoint.network, id))]).await?;
        Ok(Removed { removed: vec![format!("endpoint {id}")] })
    }

    async fn nodes(&self) -> Result<Vec<NodeSummary>, AdminError> {
        let alive = self.alive().await?;
        let mut counts: BTreeMap<NodeName, u64> = BTreeMap::new();
        for endpoint in self.all_endpoints().await? {
            *counts.entry(endpoint.node).or_default() += 1;
        }
        let nodes = self.list::<Node>(keys::NODES).await?;
        Ok(nodes
            .iter()
            .map(|(_, node)| {
                let count = counts.get(&node.name).copied().unwrap_or(0);
                NodeSummary::new(node, alive.contains(node.name.as_str()), count)
            })
            .collect())
    }

    async fn node(&self, name: &NodeName) -> Result<NodeDetail, AdminError> {
        let node = self.find_node(name).await?;
        let alive = self.alive().await?.contains(name.as_str());
        let endpoints: Vec<EndpointSummary> = self
            .all_endpoints()
            .await?
            .iter()
            .filter(|endpoint| endpoint.node == *name)
            .map(EndpointSummary::from)
            .collect();
        Ok(NodeDetail { node: NodeSummary::new(&node, alive, endpoints.len() as u64), endpoints })
    }

    async fn remove_node(&self, name: &NodeName, force: bool) -> Result<Removed, AdminError> {
        let NodeDetail { node, endpoints } = self.node(name).await?;
        if node.alive {
            return Err(conflict(format_args!(
                "node {name} is alive: stop its agent first, or it will be back"
            )));
        }
        if !endpoints.is_empty() && !force {
            return Err(conflict(format_args!(
                "node {name} has {} endpoint(s), whose addresses would be given out again: stop its containers, and \
                 remove it with --force",
                endpoints.len()
            )));
        }
        let mut removed = Vec::new();
        for endpoint in endpoints {
            self.store
                .commit(vec![], vec![Write::Delete(keys::endpoint(&endpoint.network, &endpoint.id))])
                .await?;
            removed.push(format!("endpoint {}", endpoint.id));
        }
        for port in ports::release_node(&*self.store, name).await? {
            removed.push(format!("attachment of port {} to network {}", port.at(), port.network));
        }
        let blocks = release_node(&*self.store, name).await?;
        removed.extend(blocks.into_iter().map(|block| format!("address block {block}")));
        // Last, so that an interrupted removal can be found and done again.
        let guards = vec![Guard::Absent(keys::alive(name))];
        if let TxnOutcome::Conflict(_) =
            self.store.commit(guards, vec![Write::Delete(keys::node(name))]).await?
        {
            return Err(conflict(format_args!("node {name} has come back: stop its agent first")));
        }
        removed.insert(0, format!("node {name}"));
        Ok(Removed { removed })
    }

    async fn ports(
        &self,
        network: Option<&NetworkName>,
        node: Option<&NodeName>,
    ) -> Result<Vec<PortView>, AdminError> {
        if let Some(name) = network
            && networks::find(&*self.store, name).await?.is_none()
        {
            return Err(NetworkError::Unknown(name.clone()).into());
        }
        let attached = ports::list(&*self.store, network, node).await?;
        let of: BTreeSet<&NetworkName> = attached.iter().map(|port| &port.network).collect();
        let mut stations: Vec<Station> = Vec::new();
        for network in of {
            let there = ports::stations(&*self.store, network, node).await?;
            stations.extend(there.into_iter().map(|(station, _)| station));
        }
        Ok(attached.iter().map(|port| PortView::new(port, &stations)).collect())
    }

    async fn attach_port(&self, request: AttachPort) -> Result<AttachedPort, AdminError> {
        let AttachPort { node, port, vlan, network } = request;
        let node = node.unwrap_or_else(|| self.settings.node.clone());
        let at = PortTag { port, vlan };
        let (port, created) = ports::attach(&*self.store, &node, &at, &network, self.origin()).await?;
        Ok(AttachedPort { created, port: PortView::new(&port, []) })
    }

    async fn detach_port(&self, node: Option<&NodeName>, at: &PortTag) -> Result<Removed, AdminError> {
        let node = node.unwrap_or(&self.settings.node);
        let port = ports::detach(&*self.store, node, at).await?;
        Ok(Removed { removed: vec![format!("port {at} of node {node} from network {}", port.network)] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;

    fn backend(dir: &tempfile::TempDir) -> StoreBackend {
        let settings = StoreSettings {
            node: "h1".parse().unwrap(),
            default_encapsulation: Encapsulation::Vxlan,
            default_pools: DefaultPools::default(),
        };
        StoreBackend::new(Embedded::open(&dir.path().join("store.redb")).unwrap(), settings)
    }

    #[tokio::test]
    async fn the_blocks_of_a_removed_node_serve_others() {
        let dir = tempfile::TempDir::new().unwrap();
        let backend = backend(&dir);
        let node =
            br#"{"name":"h9","installation":"i","encapsulations":[],"dataplane":"ovs-netdev","version":"0"}"#;
        let block = |prefix: &str| keys::block(&"blue".parse().unwrap(), prefix.parse().unwrap());
        let (lent, idle) = (block("10.5.0.0/26"), block("10.5.0.64/26"));
        let writes = vec![
            Write::Put(keys::node(&"h9".parse().unwrap()), node.to_vec()),
            Write::Put(
                lent.clone(),
                br#"{"owner":"h9","lent":{"10.5.0.3":{"to":"h2","demand":1}}}"#.to_vec(),
            ),
            Write::Put(idle.clone(), br#"{"owner":"h9"}"#.to_vec()),
        ];
        backend.store.commit(vec![], writes).await.unwrap();
        let removed = backend.remove_node(&"h9".parse().unwrap(), false).await.unwrap().removed;
        assert_eq!(removed.len(), 3, "{removed:?}");
        assert_eq!(backend.store.get(&idle).await.unwrap(), None);
        // Without an owner nobody could have the rest of it.
        let heir: serde_json::Value =
            serde_json::from_slice(&backend.store.get(&lent).await.unwrap().unwrap().value).unwrap();
        assert_eq!(heir["owner"], "h2");
    }

    #[tokio::test]
    async fn the_cluster_has_no_network_with_the_name_of_a_local_one() {
        let dir = tempfile::TempDir::new().unwrap();
        let request = serde_json::from_str(r#"{"name":"local-0123456789ab"}"#).unwrap();
        let refusal = backend(&dir).create_network(request).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Invalid);
    }
}
