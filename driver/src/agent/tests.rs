//! Calls that meet each other, and what is left when the agent ends between two steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, join};
use ipnet::IpNet;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use super::driver::{AgentDriver, CallError};
use super::registry::{Gone, LocalEndpoint, Registry, Restored};
use super::surroundings::{KnownNetworks, Routes};
use crate::api::libnetwork::{AddressSpace, CreateEndpoint, CreateNetwork, PoolData, Ports};
use crate::ipam::{Ipam, IpamConfig, Purpose, RequestPool};
use crate::model::{
    DockerNetworkId, Encapsulation, Endpoint, EndpointId, Network, NetworkName, NodeName, Phase,
    UnknownFields,
};
use crate::node::link::Links;
use crate::node::programmer::{self, Programmer};
use crate::plan::Facts;
use crate::store::{Embedded, Ledger, Store, Table, keys};

/// An agent without a switch: nothing answers where Open vSwitch should be.
pub(super) struct Host {
    pub driver: Arc<AgentDriver>,
    pub store: Arc<dyn Store>,
    pub ledger: Ledger,
}

impl Host {
    pub(super) fn start(dir: &TempDir) -> Host {
        let node: NodeName = "h1".parse().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.redb")).unwrap();
        let store: Arc<dyn Store> = Embedded::open(&dir.path().join("store.redb")).unwrap();
        let restored = Restored::load(&ledger).unwrap();
        let links = Links::new().unwrap();
        let mut facts = Facts::new(node.clone());
        facts.underlay = Some("192.0.2.1".parse().unwrap());
        let config = programmer::Config {
            ovs_rundir: dir.path().join("no-ovs"),
            bridge: "br-int".to_owned(),
            dataplane: None,
            patience: Duration::from_secs(1),
            audit_interval: Duration::from_secs(60),
        };
        let programmer = Programmer::start(config, facts.clone(), links.clone(), restored.changes());
        let registry = Registry::new(node.clone(), ledger.clone(), programmer, restored);
        let ipam = Ipam::new(
            node,
            store.clone(),
            ledger.clone(),
            Arc::new(KnownNetworks::new(registry.clone(), store.clone())),
            Arc::new(Routes::new(links)),
            IpamConfig::default(),
        )
        .unwrap();
        let driver = Arc::new(AgentDriver {
            registry,
            store: store.clone(),
            ipam,
            facts: watch::channel(facts).1,
            default_encapsulation: Encapsulation::Vxlan,
            patience: Duration::from_secs(1),
            making_local: tokio::sync::Mutex::default(),
        });
        Host { driver, store, ledger }
    }

    fn registry(&self) -> &Registry {
        &self.driver.registry
    }

    fn in_ledger(&self) -> Vec<String> {
        let rows = self.ledger.load_json::<LocalEndpoint>(Table::Endpoints).unwrap();
        rows.into_iter().map(|(id, _)| id).collect()
    }
}

fn docker_id(text: &str) -> DockerNetworkId {
    text.parse().unwrap()
}

fn endpoint_id(text: &str) -> EndpointId {
    text.parse().unwrap()
}

/// CreateNetwork; with our IPAM's pool if `own`.
fn creation(id: &str, network: Option<&str>, prefix: &str, own: bool) -> CreateNetwork {
    CreateNetwork {
        network: docker_id(id),
        options: network.map(|name| ("network".to_owned(), name.to_owned())).into_iter().collect(),
        internal: false,
        enable_ipv4: true,
        enable_ipv6: false,
        ipv4: vec![PoolData {
            address_space: if own { AddressSpace::LOCAL } else { "LocalDefault" }.to_owned(),
            pool: prefix.parse().unwrap(),
            gateway: None,
            auxiliary: BTreeMap::new(),
        }],
        ipv6: Vec::new(),
    }
}

fn endpoint(id: &str, network: &str, address: &str, mac: Option<&str>) -> CreateEndpoint {
    CreateEndpoint {
        network: docker_id(network),
        endpoint: endpoint_id(id),
        ipv4: Some(address.parse().unwrap()),
        ipv6: None,
        mac: mac.map(|mac| mac.parse().unwrap()),
        ports: Ports::default(),
        dns_servers: Vec::new(),
        options: BTreeMap::new(),
        docker_options: BTreeMap::new(),
    }
}

#[tokio::test]
async fn two_networks_of_this_host_made_at_once_have_different_ids() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    let (one, other) = join!(
        host.driver.make_network(creation("aa", None, "10.1.0.0/24", false)),
        host.driver.make_network(creation("bb", None, "10.2.0.0/24", false)),
    );
    one.unwrap();
    other.unwrap();
    let ids = |docker: &str| host.registry().docker_network(&docker_id(docker)).unwrap().local.unwrap().id;
    assert_ne!(ids("aa"), ids("bb"));
}

#[tokio::test]
async fn two_endpoints_made_at_once_do_not_both_get_one_mac_or_address() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", None, "10.1.0.0/24", false)).await.unwrap();
    let mac = Some("02:00:00:00:00:01");
    let (one, other) = join!(
        host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", mac)),
        host.driver.make_endpoint(endpoint("e2", "aa", "10.1.0.3/24", mac)),
    );
    assert!(one.is_ok());
    let refusal = other.unwrap_err().to_string();
    assert!(refusal.contains("02:00:00:00:00:01") && refusal.contains("e1"), "{refusal}");
    // What was refused holds nothing.
    host.driver.make_endpoint(endpoint("e3", "aa", "10.1.0.3/24", None)).await.unwrap();
    let (one, other) = join!(
        host.driver.make_endpoint(endpoint("e4", "aa", "10.1.0.4/24", None)),
        host.driver.make_endpoint(endpoint("e5", "aa", "10.1.0.4/24", None)),
    );
    assert!(one.is_ok() && matches!(other, Err(CallError::Taken(_))), "{other:?}");
    assert_eq!(host.in_ledger(), ["e1", "e3", "e4"]);
}

#[tokio::test]
async fn a_call_that_comes_again_while_it_is_carried_out_gets_the_same_answer() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    let call = || host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None));
    let (one, again) = join!(call(), call());
    assert_eq!(one.unwrap().mac, again.unwrap().mac);
    assert_eq!(host.registry().local_endpoints().len(), 1);
}

#[tokio::test]
async fn a_removal_that_overtakes_its_creation_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    let (id, call) = (endpoint_id("e1"), endpoint("e1", "aa", "10.1.0.2/24", None));
    let (made, dropped) = join!(host.driver.make_endpoint(call), host.driver.drop_endpoint(&id));
    made.unwrap();
    dropped.unwrap();
    assert!(host.registry().local_endpoints().is_empty());
    assert!(host.in_ledger().is_empty());
    assert!(host.driver.ipam.leases().is_empty());
}

#[tokio::test]
async fn an_endpoint_is_not_made_in_a_network_that_goes_meanwhile() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    let id = docker_id("aa");
    let late = host.driver.make_endpoint(endpoint("e2", "aa", "10.1.0.3/24", None));
    let (made, dropped) = join!(late, host.driver.drop_network(&id));
    dropped.unwrap();
    assert!(matches!(made, Err(CallError::UnknownNetwork(_))), "{made:?}");
    // The ledger's queue is in order: behind this, all of it is written.
    host.ledger.commit(Vec::new()).await.unwrap();
    assert!(host.in_ledger().is_empty());
    assert!(host.registry().view().endpoints.is_empty());
    assert!(host.driver.ipam.leases().is_empty());
}

#[tokio::test]
async fn a_late_change_of_phase_does_not_bring_an_endpoint_back() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", None, "10.1.0.0/24", false)).await.unwrap();
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    let id = endpoint_id("e1");
    let mut removal = Box::pin(host.driver.drop_endpoint(&id));
    assert!((&mut removal).now_or_never().is_none(), "the ledger's thread has not written yet");
    host.registry().set_phase(&id, Phase::Left);
    removal.await.unwrap();
    host.ledger.commit(Vec::new()).await.unwrap();
    assert!(host.in_ledger().is_empty());
    assert!(host.registry().local_endpoint(&id).is_none());
}

#[tokio::test]
async fn the_end_of_a_network_leaves_the_pool_of_the_next_alone() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    let ask = || RequestPool { pool: Some("10.1.0.0/24".parse().unwrap()), ..RequestPool::default() };
    let first = host.driver.ipam.request_pool(ask()).await.unwrap();
    host.driver.make_network(creation("aa", None, "10.1.0.0/24", true)).await.unwrap();
    host.driver.ipam.release_pool(&first.id).await.unwrap();

    // DeleteNetwork is late, or was lost; its subnet is in use again, first without and then with its network.
    let second = host.driver.ipam.request_pool(ask()).await.unwrap();
    let address = async || host.driver.ipam.request_address(&second.id, None, Purpose::Endpoint).await;
    address().await.unwrap();
    host.driver.drop_network(&docker_id("aa")).await.unwrap();
    address().await.unwrap();

    host.driver.make_network(creation("cc", None, "10.1.0.0/24", false)).await.unwrap();
    host.driver.make_network(creation("bb", None, "10.1.0.0/24", true)).await.unwrap();
    // Docker's own IPAM looks after this one's addresses, whatever its subnet.
    host.driver.drop_network(&docker_id("cc")).await.unwrap();
    address().await.unwrap();
    host.driver.drop_network(&docker_id("bb")).await.unwrap();
    assert!(address().await.is_err(), "the pool goes with its own network");
}

fn blue() -> NetworkName {
    "blue".parse().unwrap()
}

fn remote(id: &str, address: &str) -> Endpoint {
    let net: IpNet = address.parse().unwrap();
    Endpoint {
        id: endpoint_id(id),
        network: blue(),
        node: "h2".parse().unwrap(),
        mac: "02:00:00:00:00:99".parse().unwrap(),
        addresses: vec![net],
        phase: Phase::Joined,
        options: BTreeMap::new(),
        unknown: UnknownFields::new(),
    }
}

#[tokio::test]
async fn other_nodes_endpoints_that_nobody_follows_do_not_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    // As a kill leaves it between the removal of the last endpoint here and the end of following.
    let theirs = remote("e9", "10.1.0.9/24");
    host.registry().follow_endpoints(&blue(), vec![Arc::new(theirs)], Gone::These(Vec::new()));
    host.ledger.commit(Vec::new()).await.unwrap();
    let (weak, Host { driver, store, ledger }) = (Arc::downgrade(&host.store), host);
    drop((driver, store, ledger));
    // The programmer's task and the mirrors hold nothing of the files.
    while weak.strong_count() > 0 {
        tokio::task::yield_now().await;
    }

    let host = Host::start(&dir);
    assert!(host.registry().view().endpoints.is_empty());
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.9/24", None)).await.unwrap();
    host.ledger.commit(Vec::new()).await.unwrap();
    let cache = host.ledger.load(Table::Cache).unwrap();
    assert!(cache.iter().all(|(key, _)| !key.starts_with(keys::ENDPOINTS)), "{cache:?}");
}

#[tokio::test]
async fn a_network_that_is_left_and_entered_at_once_stays_known() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    let (health, _) = watch::channel(super::StoreHealth::default());
    let following = tokio::spawn(super::follower::run(host.registry().clone(), host.store.clone(), health));
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    let network: Arc<Network> = host.registry().network(&blue()).unwrap();
    let known = || timeout(Duration::from_secs(5), host.registry().known(&network));
    known().await.unwrap();
    // Before the follower has had its turn, this node is in the network again.
    host.registry().set_phase(&endpoint_id("e1"), Phase::Left);
    host.registry().set_phase(&endpoint_id("e1"), Phase::Joined);
    known().await.unwrap();
    // And after it.
    host.registry().set_phase(&endpoint_id("e1"), Phase::Left);
    while known().now_or_never().is_some() {
        tokio::task::yield_now().await;
    }
    host.registry().set_phase(&endpoint_id("e1"), Phase::Joined);
    known().await.unwrap();
    following.abort();
}
