//! Docker's calls, answered.
//!
//! A handler parses, validates, persists, waits for this node to be programmed, and answers. None calls dockerd, and
//! none waits for another node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use ipnet::IpNet;
use tokio::time::{Instant, timeout};
use tracing::{Span, info, warn};

use super::registry::{DockerNetwork, LocalEndpoint, NameTaken, Registry, Taken, Turn, now};
use crate::api::libnetwork as edge;
use crate::api::libnetwork::{
    CreateEndpoint, CreateEndpointReply, CreateNetwork, Driver, EndpointRef, Join, JoinReply, NetworkRef,
    OperationalInfo, PoolData, ProgramExternal, Refusal, ReleaseAddress, ReleasePool, RequestAddress,
    RequestPool, RequestPoolReply,
};
use crate::ipam::{Ipam, IpamError};
use crate::model::{
    Disagreement, DockerNetworkId, Encapsulation, Endpoint, EndpointId, External, LOCAL_PREFIX, Network,
    NetworkName, NetworkOptions, NetworkSpec, OptionError, Origin, Phase, SpecError, Subnet, SubnetError,
    UnknownFields, mac_for,
};
use crate::node::programmer::NotProgrammed;
use crate::plan::Facts;
use crate::plan::ports::endpoint_mtu;
use crate::store::networks::{NetworkError, create_or_agree};
use crate::store::{Store, StoreError};

/// How long a first endpoint of a network waits to hear of the others, before it goes on with what is known.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(2);

/// Why Docker is refused something.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error("subnet of this network: {0}")]
    Subnet(#[from] SubnetError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Disagreement(#[from] Box<Disagreement>),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ipam(#[from] IpamError),
    #[error(transparent)]
    Taken(#[from] Taken),
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    #[error("endpoint {endpoint}: {source}")]
    NotProgrammed { endpoint: EndpointId, source: NotProgrammed },
    #[error(
        "option {0} joins hosts, so the network needs a name that is the same on all of them: add -o network=NAME, or \
         drop {0} for a network of this host alone"
    )]
    NeedsName(String),
    #[error("all ids for networks of this host alone are taken: remove one")]
    NoLocalId,
    #[error(
        "network {network} uses {encapsulation}, but this node has no underlay address: start the agent with --underlay \
         ADDRESS, or create the network with encap=vlan or encap=local"
    )]
    NoUnderlay { network: NetworkName, encapsulation: Encapsulation },
    #[error(
        "network {0} uses encap=vlan, but this node has no uplink bridge: start the agent with --uplink-bridge BRIDGE"
    )]
    NoUplink(NetworkName),
    #[error(
        "option mtu={asked} of network {network} is more than the underlay carries: {encapsulation} leaves {most}; give \
         at most {most}, or raise the MTU of the underlay's links"
    )]
    MtuTooLarge { network: NetworkName, encapsulation: Encapsulation, asked: u16, most: u16 },
    #[error(
        "network {0} is not known to sluice on this host: its state was lost, or it was removed; remove it with 'docker \
         network rm' and create it again"
    )]
    UnknownNetwork(DockerNetworkId),
    #[error(
        "network {0} does not exist in the cluster any more: remove it with 'docker network rm' and create it again"
    )]
    NetworkGone(NetworkName),
    #[error("unknown --driver-opt '{key}={value}': sluice's endpoints take none")]
    UnknownDriverOpt { key: String, value: String },
    #[error("address {address} is in no subnet of network {network} ({subnets}): choose one inside")]
    OutsideSubnets { address: IpAddr, network: NetworkName, subnets: String },
    #[error("address {address} is {reservation} in network {network}: choose another")]
    Reserved { address: IpAddr, reservation: String, network: NetworkName },
    #[error("MAC address {0} is a group address: the first octet must be even, as in 02:00:00:00:00:01")]
    GroupMac(ofctl::MacAddr),
    #[error("MAC address {0} is nobody's: give one such as 02:00:00:00:00:01, or leave --mac-address out")]
    ZeroMac(ofctl::MacAddr),
    #[error("endpoint {0} was not created here: the container must be started again")]
    UnknownEndpoint(EndpointId),
    #[error(
        "endpoint {0} exists already in another network or with other addresses: remove the container and create it \
         again"
    )]
    EndpointExists(EndpointId),
}

/// The driver behind Docker's protocol.
pub(super) struct AgentDriver {
    pub registry: Registry,
    pub store: Arc<dyn Store>,
    pub ipam: Arc<Ipam>,
    pub facts: tokio::sync::watch::Receiver<Facts>,
    pub default_encapsulation: Encapsulation,
    pub patience: Duration,
    /// Held while a network of this host alone is made, so that no two get one id, and while the pools of one go.
    pub making_local: tokio::sync::Mutex<()>,
}

fn subnets(pools: &[PoolData]) -> Result<Vec<Subnet>, SubnetError> {
    let of_pool = |pool: &PoolData| {
        let mut subnet = Subnet::new(pool.pool)?;
        if let Some(gateway) = pool.gateway {
            subnet = subnet.with_gateway(gateway.addr())?;
        }
        pool.auxiliary.iter().try_fold(subnet, |subnet, (name, net)| subnet.with_reserved(name, net.addr()))
    };
    pools.iter().filter(|pool| !pool.is_null()).map(of_pool).collect()
}

impl AgentDriver {
    fn origin(&self) -> Origin {
        Origin { node: self.registry.node().clone(), at: now() }
    }

    /// Checks that this node can carry a network.
    fn check_carried(&self, network: &Network) -> Result<(), CallError> {
        let facts = self.facts.borrow();
        let name = || network.name.clone();
        let encapsulation = network.encapsulation;
        if encapsulation.is_tunnel() && facts.underlay.is_none() {
            return Err(CallError::NoUnderlay { network: name(), encapsulation });
        }
        if encapsulation == Encapsulation::Vlan && facts.uplink_bridge.is_none() {
            return Err(CallError::NoUplink(name()));
        }
        if let (Some(asked), Some(most)) = (network.mtu, self.registry.largest_mtu(&facts, network))
            && asked > most
        {
            return Err(CallError::MtuTooLarge { network: name(), encapsulation, asked, most });
        }
        Ok(())
    }

    /// The cluster's network of this name: the one there is, if it agrees, or a new one.
    async fn cluster_network(&self, name: &NetworkName, spec: &NetworkSpec) -> Result<Network, CallError> {
        // What cannot be carried here must not be left in the store.
        let id = 1.try_into().expect("1 is a network id");
        match self.registry.network(name) {
            Some(known) => self.check_carried(&known)?,
            None => self.check_carried(&Network::new(
                name.clone(),
                id,
                spec,
                self.default_encapsulation,
                self.origin(),
            )?)?,
        }
        match create_or_agree(self.store.as_ref(), name, spec, self.default_encapsulation, self.origin())
            .await
        {
            Ok(network) => Ok(network),
            Err(NetworkError::Store(error)) if error.is_transient() => match self.registry.network(name) {
                // A known network can be used while the store is away.
                Some(known) => {
                    known.agrees_with(spec)?;
                    Ok(known.as_ref().clone())
                }
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// A network that only this host has.
    fn local_network(&self, id: &DockerNetworkId, spec: &mut NetworkSpec) -> Result<Network, CallError> {
        let joins = match (spec.encapsulation, spec.vni, spec.vlan) {
            (Some(encapsulation), ..) if encapsulation != Encapsulation::Local => {
                Some(format!("encap={encapsulation}"))
            }
            (_, Some(vni), _) => Some(format!("vni={vni}")),
            (.., Some(vlan)) => Some(format!("vlan={vlan}")),
            _ => None,
        };
        if let Some(option) = joins {
            return Err(CallError::NeedsName(option));
        }
        spec.encapsulation = Some(Encapsulation::Local);
        let short: String = id.as_str().chars().take(12).collect();
        let name =
            format!("{LOCAL_PREFIX}{short}").parse().expect("the prefix and twelve alphanumerics are a name");
        let number = self.registry.free_local_id().ok_or(CallError::NoLocalId)?;
        Ok(Network::new(name, number, spec, Encapsulation::Local, self.origin())?)
    }

    pub(super) async fn make_network(&self, request: CreateNetwork) -> Result<(), CallError> {
        let options = NetworkOptions::parse(&request.options)?;
        if self.registry.docker_network(&request.network).is_some() {
            return Ok(());
        }
        let mut all = subnets(&request.ipv4)?;
        all.extend(subnets(&request.ipv6)?);
        let mut spec = NetworkSpec::from_options(&options, all);
        let (network, _making) = match &options.network {
            Some(name) => (self.cluster_network(name, &spec).await?, None),
            None => {
                let making = self.making_local.lock().await;
                if self.registry.docker_network(&request.network).is_some() {
                    return Ok(());
                }
                (self.local_network(&request.network, &mut spec)?, Some(making))
            }
        };
        let is_ours = |pool: &PoolData| pool.is_of_sluice();
        let docker = DockerNetwork {
            id: request.network,
            network: network.name.clone(),
            local: network.id.is_local().then(|| network.clone()),
            internal: request.internal,
            external: options.external.unwrap_or(network.external),
            own_ipam: request.ipv4.iter().chain(&request.ipv6).any(is_ours),
            since: now(),
        };
        if network.id.is_local() && docker.own_ipam {
            for subnet in &network.subnets {
                self.ipam.settle_local(subnet).await?;
            }
        }
        info!(network = %network.name, id = %network.id, encap = %network.encapsulation, "network");
        self.registry.add_docker_network(docker, Arc::new(network)).await?;
        Ok(())
    }

    /// The network behind one of Docker's.
    fn find(&self, id: &DockerNetworkId) -> Result<(DockerNetwork, Arc<Network>), CallError> {
        let docker = self.registry.docker_network(id).ok_or_else(|| CallError::UnknownNetwork(id.clone()))?;
        let network = self
            .registry
            .network(&docker.network)
            .ok_or_else(|| CallError::NetworkGone(docker.network.clone()))?;
        Span::current().record("network_name", network.name.as_str());
        Ok((docker, network))
    }

    pub(super) async fn make_endpoint(
        &self,
        request: CreateEndpoint,
    ) -> Result<CreateEndpointReply, CallError> {
        let (docker, network) = self.find(&request.network)?;
        if let Some((key, value)) = request.options.first_key_value() {
            return Err(CallError::UnknownDriverOpt { key: key.clone(), value: value.clone() });
        }
        self.check_carried(&network)?;
        if docker.local.is_none() {
            self.registry.check_name()?;
        }
        let addresses = request.addresses();
        if let Some(mac) = request.mac.filter(|mac| mac.is_multicast()) {
            return Err(CallError::GroupMac(mac));
        }
        if let Some(mac) = request.mac.filter(|mac| mac.to_u64() == 0) {
            return Err(CallError::ZeroMac(mac));
        }
        let mac = request.mac.unwrap_or_else(|| {
            let seed = addresses.first().map(|net| net.addr().to_string());
            mac_for(&network.name, seed.as_deref().unwrap_or(request.endpoint.as_str()))
        });
        let reply = CreateEndpointReply { mac: request.mac.is_none().then_some(mac), ..Default::default() };

        let turn = self.registry.turn(&request.endpoint).await;
        if let Some(existing) = self.registry.local_endpoint(&request.endpoint) {
            let same = existing.docker_network == request.network
                && existing.endpoint.addresses == addresses
                && existing.endpoint.mac == mac;
            return if same { Ok(reply) } else { Err(CallError::EndpointExists(request.endpoint)) };
        }
        for address in addresses.iter().map(IpNet::addr) {
            self.check_address(&network, address)?;
        }
        let spare = self.take_spare(&network);
        let endpoint = Arc::new(Endpoint {
            id: request.endpoint,
            network: network.name.clone(),
            node: self.registry.node().clone(),
            mac,
            addresses,
            spare,
            phase: Phase::Created,
            options: BTreeMap::new(),
            unknown: UnknownFields::new(),
        });
        let kept = self.keep_endpoint(&turn, &docker, &network, &endpoint).await;
        if let (Err(_), Some(spare)) = (&kept, &endpoint.spare) {
            self.registry.programmer().give_up_spare(spare);
        }
        kept.map(|()| reply)
    }

    /// A link that is a port already, if there is one that suits the network.
    fn take_spare(&self, network: &Network) -> Option<EndpointId> {
        let mtu = self.registry.with_view(|view| endpoint_mtu(view, &self.facts.borrow(), network));
        self.registry.programmer().take_spare(mtu)
    }

    /// Takes an endpoint's addresses, and persists it.
    async fn keep_endpoint(
        &self,
        turn: &Turn,
        docker: &DockerNetwork,
        network: &Network,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(), CallError> {
        self.registry.reserve(turn, endpoint)?;
        self.take_addresses(docker, network, endpoint).await?;
        let local =
            LocalEndpoint { endpoint: endpoint.clone(), docker_network: docker.id.clone(), since: now() };
        let added = match self.registry.add_endpoint(turn, local).await {
            Ok(true) => return Ok(()),
            Ok(false) => CallError::UnknownNetwork(docker.id.clone()),
            Err(error) => error.into(),
        };
        self.give_up_addresses(endpoint).await;
        Err(added)
    }

    fn check_address(&self, network: &Network, address: IpAddr) -> Result<(), CallError> {
        let Some(subnet) = network.subnet_of(address) else {
            let subnets: Vec<String> =
                network.subnets.iter().map(|subnet| subnet.prefix.to_string()).collect();
            let (network, subnets) = (network.name.clone(), subnets.join(", "));
            return Err(CallError::OutsideSubnets { address, network, subnets });
        };
        match subnet.reservation(address) {
            Some(reservation) => {
                Err(CallError::Reserved { address, reservation, network: network.name.clone() })
            }
            None => Ok(()),
        }
    }

    /// Makes an endpoint's addresses its own: those that our IPAM gave out, and those that Docker's chose for a
    /// network that other hosts have as well.
    async fn take_addresses(
        &self,
        docker: &DockerNetwork,
        network: &Network,
        endpoint: &Endpoint,
    ) -> Result<(), CallError> {
        let take = async |address| {
            if docker.own_ipam {
                self.ipam.bind(docker.local.is_none().then_some(&network.name), address, &endpoint.id).await
            } else if docker.local.is_none() {
                let subnet = network.subnet_of(address).expect("the address was checked to be in a subnet");
                self.ipam.claim(&network.name, subnet, address, &endpoint.id).await
            } else {
                Ok(())
            }
        };
        // At once: both families share an fsync.
        let taken = join_all(endpoint.addresses.iter().map(IpNet::addr).map(take)).await;
        if let Err(error) = taken.into_iter().collect::<Result<(), _>>() {
            self.give_up_addresses(endpoint).await;
            return Err(error.into());
        }
        Ok(())
    }

    async fn give_up_addresses(&self, endpoint: &Endpoint) {
        let is_local = self.registry.network(&endpoint.network).is_some_and(|network| network.id.is_local());
        let network = (!is_local).then_some(&endpoint.network);
        for address in endpoint.addresses.iter().map(IpNet::addr) {
            if let Err(error) = self.ipam.unbind(network, address, &endpoint.id).await {
                warn!(endpoint = %endpoint.id, %error, "an address could not be given up; it will be collected");
            }
        }
    }

    pub(super) async fn join_endpoint(&self, request: Join) -> Result<JoinReply, CallError> {
        let (docker, network) = self.find(&request.network)?;
        let local = self
            .registry
            .local_endpoint(&request.endpoint)
            .ok_or_else(|| CallError::UnknownEndpoint(request.endpoint.clone()))?;
        let id = &local.endpoint.id;
        if local.endpoint.phase == Phase::Left {
            // Its link may have gone with the sandbox that it was in.
            self.registry.set_phase(id, Phase::Created);
        }
        let deadline = Instant::now() + self.patience;
        // Answering before the others are known would lose the container's first packets to them.
        let follow = FOLLOW_PATIENCE.min(self.patience);
        let others = timeout(follow, self.registry.known(&network)).await.unwrap_or_default();
        let revision = self.registry.revision_of(id).max(others);
        self.registry
            .programmer()
            .reached(revision, id, deadline.saturating_duration_since(Instant::now()))
            .await
            .map_err(|source| CallError::NotProgrammed { endpoint: id.clone(), source })?;
        self.registry.set_phase(id, Phase::Joined);
        let mut reply = JoinReply::new(local.endpoint.sandbox_link());
        // With --internal dockerd attaches no gateway bridge; the flag here would also take it from the container's
        // other networks.
        reply.disable_gateway_service = docker.external == External::None && !docker.internal;
        Ok(reply)
    }

    /// Removes all that an endpoint has; nothing if there is none.
    pub(super) async fn drop_endpoint(&self, id: &EndpointId) -> Result<(), CallError> {
        let turn = self.registry.turn(id).await;
        if let Some(local) = self.registry.remove_endpoint(&turn, id).await? {
            self.give_up_addresses(&local.endpoint).await;
        }
        Ok(())
    }

    pub(super) async fn drop_network(&self, id: &DockerNetworkId) -> Result<(), CallError> {
        let Some(docker) = self.registry.docker_network(id) else { return Ok(()) };
        // Before the network: a pool that its network does not need any more would stay for ever.
        if docker.local.is_some() {
            let _making = self.making_local.lock().await;
            for subnet in self.own_pools(&docker) {
                self.ipam.forget_local(subnet.prefix).await?;
            }
        }
        for local in self.registry.remove_docker_network(id).await? {
            self.give_up_addresses(&local.endpoint).await;
        }
        Ok(())
    }

    /// The subnets of a network of this host alone whose addresses are our IPAM's, and no other network's.
    fn own_pools(&self, docker: &DockerNetwork) -> Vec<Subnet> {
        let Some(network) = docker.local.as_ref().filter(|_| docker.own_ipam) else { return Vec::new() };
        let others = self.registry.docker_networks();
        let is_others = |subnet: &&Subnet| {
            let mut others = others.iter().filter(|other| other.id != docker.id && other.own_ipam);
            others.any(|other| {
                let subnets = other.local.iter().flat_map(|network| &network.subnets);
                subnets.into_iter().any(|theirs| theirs.prefix == subnet.prefix)
            })
        };
        network.subnets.iter().filter(|subnet| !is_others(subnet)).cloned().collect()
    }
}

#[async_trait]
impl Driver for AgentDriver {
    async fn create_network(&self, request: CreateNetwork) -> Result<(), Refusal> {
        Ok(self.make_network(request).await?)
    }

    async fn delete_network(&self, request: NetworkRef) -> Result<(), Refusal> {
        Ok(self.drop_network(&request.network).await?)
    }

    async fn create_endpoint(&self, request: CreateEndpoint) -> Result<CreateEndpointReply, Refusal> {
        Ok(self.make_endpoint(request).await?)
    }

    async fn delete_endpoint(&self, request: EndpointRef) -> Result<(), Refusal> {
        Ok(self.drop_endpoint(&request.endpoint).await?)
    }

    async fn operational_info(&self, _request: EndpointRef) -> Result<OperationalInfo, Refusal> {
        Ok(OperationalInfo::new())
    }

    async fn join(&self, request: Join) -> Result<JoinReply, Refusal> {
        Ok(self.join_endpoint(request).await?)
    }

    async fn leave(&self, request: EndpointRef) -> Result<(), Refusal> {
        self.registry.set_phase(&request.endpoint, Phase::Left);
        Ok(())
    }

    async fn program_external(&self, _request: ProgramExternal) -> Result<(), Refusal> {
        // No Join of ours returns a gateway, so dockerd has no reason to ask.
        Err(Refusal::not_implemented())
    }

    async fn revoke_external(&self, _request: EndpointRef) -> Result<(), Refusal> {
        Err(Refusal::not_implemented())
    }

    async fn request_pool(&self, request: RequestPool) -> Result<RequestPoolReply, Refusal> {
        let wanted = crate::ipam::RequestPool {
            address_space: request.address_space.as_str().to_owned(),
            pool: request.pool,
            sub_pool: request.sub_pool,
            options: request.options,
            v6: request.v6,
        };
        let reply = self.ipam.request_pool(wanted).await.map_err(CallError::from)?;
        let id = reply.id.to_string().parse::<edge::PoolId>().map_err(Refusal::new)?;
        Ok(RequestPoolReply { id, pool: reply.pool, gateway: reply.gateway })
    }

    async fn release_pool(&self, request: ReleasePool) -> Result<(), Refusal> {
        let pool = request.pool.as_str().parse().map_err(Refusal::new)?;
        Ok(self.ipam.release_pool(&pool).await.map_err(CallError::from)?)
    }

    async fn request_address(&self, request: RequestAddress) -> Result<IpNet, Refusal> {
        let pool: crate::ipam::PoolId = request.pool.as_str().parse().map_err(Refusal::new)?;
        if matches!(pool.scope, crate::ipam::Scope::Network(_)) {
            self.registry.check_name().map_err(CallError::from)?;
        }
        let purpose = match request.purpose {
            edge::Purpose::Gateway => crate::ipam::Purpose::Gateway,
            edge::Purpose::Endpoint => crate::ipam::Purpose::Endpoint,
        };
        Ok(self.ipam.request_address(&pool, request.address, purpose).await.map_err(CallError::from)?)
    }

    async fn release_address(&self, request: ReleaseAddress) -> Result<(), Refusal> {
        let pool = request.pool.as_str().parse().map_err(Refusal::new)?;
        Ok(self.ipam.release_address(&pool, request.address).await.map_err(CallError::from)?)
    }
}
