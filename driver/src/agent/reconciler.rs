//! Compares what this host owes Docker with what Docker lists, at the start and every now and then.
//!
//! dockerd never mentions again what went while the agent was away. Nothing here runs while a call of dockerd's is
//! being answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::driver::AgentDriver;
use super::registry::now;
use crate::api::libnetwork::{AddressSpace, CreateNetwork, PoolData};
use crate::model::DockerNetworkId;
use crate::node::docker::{Docker, DockerError, DockerNetwork, DockerNetworkSpec, Ipam, IpamPool};
use crate::reconcile::{DockerView, Finding, compare_with_docker};

/// The name under which Docker knows this driver. It is that of the plugin's socket.
const DRIVER: &str = "sluice";
/// How long a lease without an endpoint is kept, in seconds: dockerd asks for an address before it names the endpoint.
const LEASE_GRACE: u64 = 300;
/// How soon Docker is asked again after it did not answer.
const RETRY: Duration = Duration::from_secs(5);

/// What the last comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DockerState {
    /// Why Docker's lists cannot be read; `None` also before the first attempt.
    pub unreachable: Option<String>,
    /// Whether Docker has ever answered.
    pub heard: bool,
    /// Whether Docker is asked at all.
    pub watched: bool,
    /// What somebody should look at, with the cure.
    pub problems: Vec<(String, String)>,
    /// The engine's version.
    pub version: Option<String>,
    /// Docker's names of its networks.
    pub names: BTreeMap<DockerNetworkId, String>,
}

pub(super) struct Reconciler {
    driver: Arc<AgentDriver>,
    docker: Option<Docker>,
    interval: Duration,
    sync: bool,
    state: watch::Sender<DockerState>,
}

impl Reconciler {
    pub(super) fn new(
        driver: Arc<AgentDriver>,
        docker: Option<Docker>,
        interval: Duration,
        sync: bool,
    ) -> Reconciler {
        let (state, _) = watch::channel(DockerState { watched: docker.is_some(), ..DockerState::default() });
        Reconciler { driver, docker, interval, sync, state }
    }

    pub(super) fn state(&self) -> watch::Receiver<DockerState> {
        self.state.subscribe()
    }

    /// Compares for as long as the process lives.
    pub(super) async fn run(self) {
        loop {
            let compared = match &self.docker {
                Some(docker) => self.compare(docker).await,
                None => Ok(()),
            };
            // Also without Docker: what nobody has asked for is stale by what this host knows.
            self.collect().await;
            let again = match compared {
                Ok(()) => self.interval,
                Err(error) => {
                    let text = error.to_string();
                    self.state.send_modify(|state| state.unreachable = Some(text));
                    RETRY.min(self.interval)
                }
            };
            sleep(again).await;
        }
    }

    async fn collect(&self) {
        let local = self.driver.registry.local_endpoints();
        let live = local.iter().map(|local| local.endpoint.id.clone()).collect();
        if let Err(error) = self.driver.ipam.collect(now(), LEASE_GRACE, &live).await {
            warn!(%error, "stale leases could not be collected");
        }
    }

    async fn compare(&self, docker: &Docker) -> Result<(), DockerError> {
        // The ledger first: what is added meanwhile is in Docker's lists or young.
        let ledger = self.driver.registry.ledger_view();
        let version = docker.version().await?.version;
        let mut networks = BTreeMap::new();
        for listed in docker.networks_of_driver(DRIVER).await? {
            match docker.network(&listed.id).await {
                Ok(network) => {
                    networks.insert(network.id.clone(), network);
                }
                // Gone between the list and the look.
                Err(DockerError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let endpoints = |network: &DockerNetwork| -> BTreeSet<_> {
            network.endpoints.iter().map(|endpoint| endpoint.endpoint.clone()).collect()
        };
        let view =
            DockerView { networks: networks.iter().map(|(id, n)| (id.clone(), endpoints(n))).collect() };
        let mut problems = Vec::new();
        for finding in compare_with_docker(&ledger, &view, now()) {
            self.deal_with(finding, &networks, &mut problems).await;
        }
        if self.sync {
            self.create_missing(docker, &networks, &mut problems).await;
        }
        let names = networks.into_iter().map(|(id, network)| (id, network.name)).collect();
        self.state.send_modify(|state| {
            state.unreachable = None;
            state.heard = true;
            state.version = Some(version);
            state.problems = problems;
            state.names = names;
        });
        Ok(())
    }

    async fn deal_with(
        &self,
        finding: Finding,
        networks: &BTreeMap<DockerNetworkId, DockerNetwork>,
        problems: &mut Vec<(String, String)>,
    ) {
        let outcome = match &finding {
            Finding::ForgottenEndpoint(id) => {
                info!(endpoint = %id, "Docker has forgotten an endpoint; it is deleted");
                self.driver.drop_endpoint(id).await
            }
            Finding::ForgottenNetwork(id) => {
                info!(network = %id, "Docker has forgotten a network; it is deleted");
                self.driver.drop_network(id).await
            }
            Finding::UnknownNetwork(id) => {
                let Some(network) = networks.get(id) else { return };
                info!(network = %id, name = network.name, "Docker has a network that the ledger does not; it is adopted");
                self.driver.make_network(adoption(network)).await
            }
            // Made after the ledger was read.
            Finding::UnknownEndpoint(_, id) if self.driver.registry.local_endpoint(id).is_some() => Ok(()),
            Finding::UnknownEndpoint(network, id) => {
                let name = networks.get(network).map_or("?", |network| network.name.as_str());
                problems.push((
                    format!("endpoint {id} of Docker's network {name} is not known here: its container has no network"),
                    "restart the container; if it is gone, 'docker network disconnect -f NETWORK CONTAINER'".to_owned(),
                ));
                Ok(())
            }
        };
        if let Err(error) = outcome {
            warn!(?finding, %error, "a difference from Docker could not be mended");
            problems.push((
                format!("{finding:?}: {error}"),
                "it is tried again; see the error's own remedy".to_owned(),
            ));
        }
    }

    /// Creates the Docker networks of the cluster's networks that are marked for it.
    async fn create_missing(
        &self,
        docker: &Docker,
        networks: &BTreeMap<DockerNetworkId, DockerNetwork>,
        problems: &mut Vec<(String, String)>,
    ) {
        let wanted: Vec<_> = self.driver.registry.with_view(|view| {
            view.networks.values().filter(|network| network.docker_sync).cloned().collect()
        });
        let served: BTreeSet<_> =
            self.driver.registry.docker_networks().into_iter().map(|docker| docker.network).collect();
        for network in wanted.iter().filter(|network| !served.contains(&network.name)) {
            let name = network.name.as_str();
            let is_taken = networks.values().any(|there| there.name == name);
            if is_taken {
                continue;
            }
            let options = BTreeMap::from([("network".to_owned(), name.to_owned())]);
            let pools =
                network.subnets.iter().map(|subnet| IpamPool::new(subnet.prefix, subnet.gateway)).collect();
            let spec = DockerNetworkSpec {
                name: name.to_owned(),
                driver: DRIVER.to_owned(),
                options: options.clone(),
                ipam: Ipam { driver: DRIVER.to_owned(), options, pools },
                ..DockerNetworkSpec::default()
            };
            match docker.create_network(&spec).await {
                Ok(id) => info!(network = name, %id, "created Docker's network"),
                Err(error) => problems.push((
                    format!("Docker's network {name} could not be created: {error}"),
                    format!("create it by hand: docker network create -d {DRIVER} -o network={name} {name}"),
                )),
            }
        }
    }
}

/// The creation of a network as Docker must have sent it.
fn adoption(network: &DockerNetwork) -> CreateNetwork {
    let is_ours = network.ipam.driver == DRIVER;
    let pool = |pool: &IpamPool| {
        let prefix = pool.subnet?;
        let with_length = |address| IpNet::new(address, prefix.prefix_len()).ok();
        Some(PoolData {
            address_space: if is_ours { AddressSpace::LOCAL.to_owned() } else { String::new() },
            pool: prefix,
            gateway: pool.gateway.and_then(with_length),
            auxiliary: pool
                .auxiliary
                .iter()
                .filter_map(|(name, address)| Some((name.clone(), with_length(*address)?)))
                .collect(),
        })
    };
    let (ipv4, ipv6) =
        network.ipam.pools.iter().filter_map(pool).partition(|pool| pool.pool.addr().is_ipv4());
    CreateNetwork {
        network: network.id.clone(),
        options: network.options.clone(),
        internal: network.internal,
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipv4,
        ipv6,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Host, creation, endpoint};
    use super::*;

    #[tokio::test]
    async fn an_endpoint_made_after_the_ledger_was_read_is_not_unknown() {
        let dir = tempfile::TempDir::new().unwrap();
        let host = Host::start(&dir);
        host.driver.make_network(creation("aa", None, "10.1.0.0/24", false)).await.unwrap();
        host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
        let reconciler = Reconciler::new(host.driver.clone(), None, Duration::from_secs(1), false);
        let unknown = async |id: &str| {
            let mut problems = Vec::new();
            let finding = Finding::UnknownEndpoint("aa".parse().unwrap(), id.parse().unwrap());
            reconciler.deal_with(finding, &BTreeMap::new(), &mut problems).await;
            problems.len()
        };
        assert_eq!(unknown("e1").await, 0);
        assert_eq!(unknown("e2").await, 1);
    }

    /// What a lost ledger leaves: Docker's word alone makes the same network again.
    #[tokio::test]
    async fn an_adopted_network_is_as_it_was_created() {
        let listed = DockerNetwork {
            ipam: Ipam {
                driver: DRIVER.to_owned(),
                options: BTreeMap::new(),
                pools: vec![IpamPool::new("10.1.0.0/24".parse().unwrap(), Some("10.1.0.1".parse().unwrap()))],
            },
            id: "aa".parse().unwrap(),
            options: BTreeMap::from([("network".to_owned(), "blue".to_owned())]),
            ..serde_json::from_str(r#"{"Id":"aa","Name":"x","Driver":"sluice"}"#).unwrap()
        };
        let dir = tempfile::TempDir::new().unwrap();
        let host = Host::start(&dir);
        let mut created = creation("aa", Some("blue"), "10.1.0.0/24", true);
        created.ipv4[0].gateway = Some("10.1.0.1/24".parse().unwrap());
        assert_eq!(adoption(&listed), created);
        host.driver.make_network(adoption(&listed)).await.unwrap();
        assert!(host.driver.registry.docker_network(&listed.id).unwrap().own_ipam);
    }
}
