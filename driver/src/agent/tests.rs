//! Calls that meet each other, and what is left when the agent ends between two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, join};
use ipnet::IpNet;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::driver::{AgentDriver, CallError};
use super::follower::{self, StoreHealth};
use super::publisher::Publisher;
use super::registry::{Gone, LocalEndpoint, Registry, Restored};
use super::surroundings::{KnownNetworks, Routes};
use crate::api::libnetwork::{AddressSpace, CreateEndpoint, CreateNetwork, Join, PoolData, Ports};
use crate::ipam::{Ipam, IpamConfig, PoolId, Purpose, RequestPool, Scope, block_of};
use crate::model::{
    Dataplane, DockerNetworkId, Encapsulation, Endpoint, EndpointId, Network, NetworkName, Node, NodeName,
    Phase, UnknownFields,
};
use crate::node::link::Links;
use crate::node::programmer::{self, Programmer};
use crate::plan::Facts;
use crate::store::{Embedded, Ledger, Store, Table, Write, keys, networks};

/// An agent without a switch: nothing answers where Open vSwitch should be.
pub(super) struct Host {
    pub driver: Arc<AgentDriver>,
    pub store: Arc<dyn Store>,
    pub ledger: Ledger,
}

impl Host {
    pub(super) fn start(dir: &TempDir) -> Host {
        Host::of_cluster("h1", dir, Embedded::open(&dir.path().join("store.redb")).unwrap())
    }

    fn of_cluster(name: &str, dir: &TempDir, store: Arc<dyn Store>) -> Host {
        let node: NodeName = name.parse().unwrap();
        let ledger = Ledger::open(&dir.path().join(format!("ledger-{name}.redb"))).unwrap();
        let restored = Restored::load(&ledger, &node).unwrap();
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

    /// Follows the store, publishes, and looks after addresses, until the set is dropped.
    pub(super) fn run(&self, installation: &str) -> JoinSet<()> {
        let node = Node {
            name: self.registry().node().clone(),
            installation: installation.to_owned(),
            underlay: None,
            underlay_mtu: None,
            encapsulations: Encapsulation::ALL.to_vec(),
            dataplane: Dataplane::OvsNetdev,
            version: String::new(),
            unknown: UnknownFields::new(),
        };
        self.registry().set_own_node(node.clone());
        let (health, health_seen) = watch::channel(StoreHealth::default());
        let (node, node_seen) = watch::channel(node);
        let problem = watch::channel(None).0;
        let (registry, store, ipam) = (self.registry().clone(), self.store.clone(), self.driver.ipam.clone());
        let publisher = Publisher::new(registry.clone(), store.clone(), node_seen, health_seen, problem);
        let mut tasks = JoinSet::new();
        tasks.spawn(follower::run(registry, ipam.clone(), store, health));
        tasks.spawn(async move {
            let _node = node;
            publisher.run().await;
        });
        tasks.spawn(ipam.run());
        tasks
    }

    pub(super) fn registry(&self) -> &Registry {
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
pub(super) fn creation(id: &str, network: Option<&str>, prefix: &str, own: bool) -> CreateNetwork {
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

pub(super) fn endpoint(id: &str, network: &str, address: &str, mac: Option<&str>) -> CreateEndpoint {
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

/// A directory on a disk of some megabytes, which goes with its last open file, and a file that can fill it.
fn small_disk(open: impl FnOnce(&TempDir) -> Host) -> Option<(Host, std::fs::File)> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("SLUICE_REQUIRE_LIVE").is_none(), "mounting a small disk needs root");
        eprintln!("skipped: mounting a small disk needs root");
        return None;
    }
    let dir = TempDir::new().unwrap();
    let run =
        |command: &mut std::process::Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "small"]).arg(dir.path()));
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (open(&dir), std::fs::File::create(dir.path().join("filler")).unwrap())
    }));
    run(std::process::Command::new("umount").arg("--lazy").arg(dir.path()));
    Some(opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

#[tokio::test]
async fn an_endpoint_that_the_disk_does_not_take_is_refused_and_nowhere() {
    use std::io::Write as _;
    let elsewhere = TempDir::new().unwrap();
    let store = Embedded::open(&elsewhere.path().join("store.redb")).unwrap();
    let Some((host, mut filler)) = small_disk(|disk| Host::of_cluster("h1", disk, store)) else { return };
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    while filler.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
    // The ledger's file has room of its own, which is used up first.
    let mut refusal = None;
    for last in 3..=250 {
        let id = format!("e{last}");
        let call = endpoint(&id, "aa", &format!("10.1.0.{last}/24"), None);
        if let Err(error) = host.driver.make_endpoint(call).await {
            refusal = Some((id, error.to_string()));
            break;
        }
    }
    let (id, refusal) = refusal.expect("the disk is full");
    assert!(refusal.contains("ledger-h1.redb") && refusal.contains("free space"), "{refusal}");
    let known = host.registry().local_endpoints();
    assert!(known.iter().all(|local| local.endpoint.id.as_str() != id), "{id} is known");
    let view = host.registry().view();
    assert_eq!(view.endpoints.values().map(BTreeMap::len).sum::<usize>(), known.len());
    assert!(!host.in_ledger().contains(&id));
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

pub(super) fn blue() -> NetworkName {
    "blue".parse().unwrap()
}

pub(super) fn remote(id: &str, address: &str) -> Endpoint {
    let net: IpNet = address.parse().unwrap();
    Endpoint {
        id: endpoint_id(id),
        network: blue(),
        node: "h2".parse().unwrap(),
        mac: "02:00:00:00:00:99".parse().unwrap(),
        addresses: vec![net],
        spare: None,
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
    let (health, _) = watch::channel(StoreHealth::default());
    let ipam = host.driver.ipam.clone();
    let following = tokio::spawn(follower::run(host.registry().clone(), ipam, host.store.clone(), health));
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

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_network_made_again_does_not_revive_the_address_blocks_of_the_first() {
    let dir = TempDir::new().unwrap();
    let store: Arc<dyn Store> = Embedded::open(&dir.path().join("store.redb")).unwrap();
    let hosts = ["h1", "h2"].map(|name| Host::of_cluster(name, &dir, store.clone()));
    let _tasks = hosts.each_ref().map(|host| host.run(host.registry().node().as_str()));
    let [h1, h2] = &hosts;
    let create = || creation("aa", Some("blue"), "10.1.0.0/16", true);
    let addresses = async |host: &Host, count| {
        let options = BTreeMap::from([("network".to_owned(), "blue".to_owned())]);
        let ask = RequestPool { options, ..RequestPool::default() };
        let pool = host.driver.ipam.request_pool(ask).await.unwrap().id;
        let mut given = BTreeSet::new();
        for _ in 0..count {
            let address = host.driver.ipam.request_address(&pool, None, Purpose::Endpoint).await.unwrap();
            given.insert(address.addr());
        }
        (pool, given)
    };
    h1.driver.make_network(create()).await.unwrap();
    let (pool, given) = addresses(h1, 1).await;
    for address in given {
        h1.driver.ipam.release_address(&pool, address).await.unwrap();
    }
    h1.driver.drop_network(&docker_id("aa")).await.unwrap();

    networks::remove(store.as_ref(), &blue()).await.unwrap();
    until("h1 hears of the removal", async || h1.registry().network(&blue()).is_none()).await;
    h2.driver.make_network(create()).await.unwrap();
    // Enough of them that where in a block the search begins does not keep them apart.
    let (_, theirs) = addresses(h2, 12).await;
    until("h1 hears of the network", async || h1.registry().network(&blue()).is_some()).await;
    h1.driver.make_network(create()).await.unwrap();
    let (_, ours) = addresses(h1, 12).await;
    assert!(ours.is_disjoint(&theirs), "{ours:?} {theirs:?}");
}

/// The removal of a network and the making of the next with its name may be one event.
#[tokio::test]
async fn a_network_that_is_heard_of_again_has_its_blocks_compared() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    let _tasks = host.run("one");
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/16", true)).await.unwrap();
    let pool = PoolId { scope: Scope::Network(blue()), prefix: "10.1.0.0/16".parse().unwrap(), range: None };
    let address = host.driver.ipam.request_address(&pool, None, Purpose::Endpoint).await.unwrap().addr();
    host.driver.ipam.release_address(&pool, address).await.unwrap();
    let block = host.store.list(&keys::blocks(&blue())).await.unwrap().remove(0);
    // Of the next network it is another node's.
    let theirs = Write::Put(block.key, br#"{"owner":"h2"}"#.to_vec());
    host.store.commit(Vec::new(), vec![theirs]).await.unwrap();
    host.driver.ipam.network_changed(&blue());
    let key = format!("network=blue,block={}", block_of(pool.prefix, address));
    until("the block is not this node's any more", async || {
        host.ledger.load(Table::Pools).unwrap().iter().all(|(other, _)| *other != key)
    })
    .await;
}

#[tokio::test]
async fn what_another_hand_removes_from_the_store_returns() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    let _tasks = host.run("one");
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    let own = [keys::node(host.registry().node()), keys::endpoint(&blue(), &endpoint_id("e1"))];
    let published = async || {
        let there = [host.store.get(&own[0]).await.unwrap(), host.store.get(&own[1]).await.unwrap()];
        there.iter().all(Option::is_some)
    };
    until("it is published", published).await;
    host.driver.registry.known(&host.registry().network(&blue()).unwrap()).await;
    for key in own.clone() {
        host.store.commit(Vec::new(), vec![Write::Delete(key)]).await.unwrap();
        until("it is published again", published).await;
    }
}

#[tokio::test]
async fn a_network_that_cannot_be_put_back_does_not_keep_the_others_away() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    for (docker, name, prefix) in [("aa", "blue", "10.1.0.0/24"), ("bb", "red", "10.2.0.0/24")] {
        host.driver.make_network(creation(docker, Some(name), prefix, false)).await.unwrap();
    }
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    host.driver.make_endpoint(endpoint("e2", "bb", "10.2.0.2/24", None)).await.unwrap();
    // Another network has blue's number by now.
    let lost = host.registry().network(&blue()).unwrap();
    let claim = Write::Put(keys::network_id(lost.id), br#"{"network":"green"}"#.to_vec());
    host.store.commit(Vec::new(), vec![Write::Delete(keys::network(&blue())), claim]).await.unwrap();
    let _tasks = host.run("one");
    let red = keys::endpoint(&"red".parse().unwrap(), &endpoint_id("e2"));
    until("red is published", async || host.store.get(&red).await.unwrap().is_some()).await;
    let alive = keys::alive(host.registry().node());
    until("the node is alive", async || host.store.get(&alive).await.unwrap().is_some()).await;
}

#[tokio::test]
async fn a_node_whose_name_is_anothers_gives_out_no_addresses() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", Some("blue"), "10.1.0.0/24", false)).await.unwrap();
    host.driver.make_network(creation("bb", None, "10.2.0.0/24", false)).await.unwrap();
    let _tasks = host.run("one");
    let name = host.registry().node().clone();
    let alive = keys::alive(&name);
    until("the node is alive", async || host.store.get(&alive).await.unwrap().is_some()).await;
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    // Both came up at the same moment, and the other wrote last.
    let mut other: serde_json::Value =
        serde_json::from_slice(&host.store.get(&keys::node(&name)).await.unwrap().unwrap().value).unwrap();
    other["installation"] = "two".into();
    let write = Write::Put(keys::node(&name), serde_json::to_vec(&other).unwrap());
    host.store.commit(Vec::new(), vec![write]).await.unwrap();
    until("it is noticed", async || host.registry().check_name().is_err()).await;
    let refused = host.driver.make_endpoint(endpoint("e2", "aa", "10.1.0.3/24", None)).await;
    assert!(matches!(refused, Err(CallError::NameTaken(_))), "{refused:?}");
    host.driver.make_endpoint(endpoint("e3", "bb", "10.2.0.3/24", None)).await.unwrap();
    until("the name is left to the other", async || host.store.get(&alive).await.unwrap().is_none()).await;
}

/// An endpoint keeps its id when it is joined again, but its link may have gone with the sandbox that it was in.
#[tokio::test]
async fn a_join_after_a_leave_asks_for_the_link_anew() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    host.driver.make_network(creation("aa", None, "10.1.0.0/24", false)).await.unwrap();
    host.driver.make_endpoint(endpoint("e1", "aa", "10.1.0.2/24", None)).await.unwrap();
    let id = endpoint_id("e1");
    host.registry().set_phase(&id, Phase::Left);
    let join = Join {
        network: docker_id("aa"),
        endpoint: id.clone(),
        sandbox_key: "/var/run/docker/netns/0".to_owned(),
        ports: Ports::default(),
    };
    // There is no switch, so that it cannot be answered.
    let refused = host.driver.join_endpoint(join).await;
    assert!(matches!(refused, Err(CallError::NotProgrammed { .. })), "{refused:?}");
    assert_eq!(host.registry().local_endpoint(&id).unwrap().endpoint.phase, Phase::Created);
}
