//! The command against an agent's socket with a backend of the test's own, and against a store.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sluice::api::admin::{
    self, AdminError, AttachPort, AttachedPort, Backend, Client, CreateNetwork, CreatedNetwork, DockerStatus,
    EndpointDetail, EndpointSummary, ErrorKind, NetworkDetail, NetworkSummary, NodeDetail, NodeSummary,
    OpenflowStatus, OvsStatus, PortStatus, PortView, Problem, Removed, Severity, State, Status, StoreBackend,
    StoreSettings, StoreStatus,
};
use sluice::api::http;
use sluice::ipam::{Block, DefaultPools, Loan};
use sluice::model::{
    Dataplane, Encapsulation, Endpoint, EndpointId, NetworkName, Node, NodeName, Phase, PortTag, Station,
    UnknownFields,
};
use sluice::store::{Embedded, Store, Write, keys};

const ALICE: &str = "466a53675492466a53675492466a53675492466a53675492466a53675492aaaa";
const BOB: &str = "466b53675492466a53675492466a53675492466a53675492466a53675492bbbb";

/// The store's objects with a status made up: all that an agent adds.
struct TestBackend {
    cluster: StoreBackend,
    created: Mutex<Vec<CreateNetwork>>,
}

#[async_trait]
impl Backend for TestBackend {
    async fn status(&self) -> Result<Status, AdminError> {
        Ok(Status {
            node: "h1".parse().unwrap(),
            version: "0.1.0".to_owned(),
            uptime_seconds: 93_784,
            store: StoreStatus {
                kind: "etcd".to_owned(),
                address: "192.0.2.1:2379".to_owned(),
                state: State::Away,
                since: 1_700_000_000,
                error: Some("no answer".to_owned()),
            },
            ovs: OvsStatus {
                state: State::Ok,
                version: Some("3.1.0".to_owned()),
                bridge: "br-int".parse().unwrap(),
                datapath: Some("netdev".to_owned()),
                error: None,
            },
            openflow: OpenflowStatus {
                state: State::Ok,
                generation: 3,
                flows: 120,
                repaired: 1,
                refused: 0,
                error: None,
            },
            linux: None,
            vtep: None,
            docker: DockerStatus { state: State::Off, version: None, error: None },
            networks: 2,
            endpoints: 1,
            problems: vec![Problem {
                severity: Severity::Error,
                object: "store".to_owned(),
                what: "etcd does not answer".to_owned(),
                remedy: "start etcd".to_owned(),
            }],
        })
    }
    async fn networks(&self) -> Result<Vec<NetworkSummary>, AdminError> {
        self.cluster.networks().await
    }
    async fn network(&self, name: &NetworkName) -> Result<NetworkDetail, AdminError> {
        self.cluster.network(name).await
    }
    async fn create_network(&self, request: CreateNetwork) -> Result<CreatedNetwork, AdminError> {
        self.created.lock().unwrap().push(request.clone());
        self.cluster.create_network(request).await
    }
    async fn remove_network(&self, name: &NetworkName) -> Result<Removed, AdminError> {
        self.cluster.remove_network(name).await
    }
    async fn endpoints(&self, network: Option<&NetworkName>) -> Result<Vec<EndpointSummary>, AdminError> {
        self.cluster.endpoints(network).await
    }
    async fn endpoint(&self, id: &EndpointId) -> Result<EndpointDetail, AdminError> {
        let port = PortStatus { ofport: Some(7), mtu: Some(1450), up: true, programmed: true, error: None };
        Ok(EndpointDetail { port: Some(port), ..self.cluster.endpoint(id).await? })
    }
    async fn remove_endpoint(&self, id: &EndpointId) -> Result<Removed, AdminError> {
        self.cluster.remove_endpoint(id).await
    }
    async fn nodes(&self) -> Result<Vec<NodeSummary>, AdminError> {
        self.cluster.nodes().await
    }
    async fn node(&self, name: &NodeName) -> Result<NodeDetail, AdminError> {
        self.cluster.node(name).await
    }
    async fn remove_node(&self, name: &NodeName, force: bool) -> Result<Removed, AdminError> {
        self.cluster.remove_node(name, force).await
    }
    async fn ports(
        &self,
        network: Option<&NetworkName>,
        node: Option<&NodeName>,
    ) -> Result<Vec<PortView>, AdminError> {
        self.cluster.ports(network, node).await
    }
    async fn attach_port(&self, request: AttachPort) -> Result<AttachedPort, AdminError> {
        self.cluster.attach_port(request).await
    }
    async fn detach_port(&self, node: Option<&NodeName>, at: &PortTag) -> Result<Removed, AdminError> {
        self.cluster.detach_port(node, at).await
    }
}

/// An agent's socket with a store behind it: node h1 alive with Alice, node h2 dead with Bob.
struct World {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    backend: Arc<TestBackend>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let guard = runtime.enter();
        let store: Arc<dyn Store> = Embedded::open(&directory.path().join("store.redb")).unwrap();
        let settings = StoreSettings {
            node: "h1".parse().unwrap(),
            default_encapsulation: Encapsulation::Vxlan,
            default_pools: DefaultPools::default(),
        };
        let cluster = StoreBackend::new(Arc::clone(&store), settings);
        let backend = Arc::new(TestBackend { cluster, created: Mutex::default() });
        let listener = http::bind(&directory.path().join("admin.sock")).unwrap();
        let served: Arc<dyn Backend> = backend.clone();
        runtime.spawn(admin::serve(listener, served, std::future::pending()));
        drop(guard);
        World { directory, store, backend, runtime }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    fn write(&self, key: String, value: &impl serde::Serialize) {
        let write = Write::Put(key, serde_json::to_vec(value).unwrap());
        self.runtime.block_on(self.store.commit(vec![], vec![write])).unwrap();
    }

    fn has(&self, key: &str) -> bool {
        self.runtime.block_on(self.store.get(key)).unwrap().is_some()
    }

    /// Two nodes and two endpoints on network blue.
    fn with_members(self) -> World {
        self.sluice(&["network", "create", "blue", "--subnet", "10.5.0.0/16"]).succeeded();
        for (node, id, address) in [("h1", ALICE, "10.5.0.2/16"), ("h2", BOB, "10.5.0.3/16")] {
            let name: NodeName = node.parse().unwrap();
            self.write(
                keys::node(&name),
                &Node {
                    name: name.clone(),
                    installation: "x".to_owned(),
                    underlay: Some("192.0.2.1".parse().unwrap()),
                    underlay_mtu: Some(1500),
                    encapsulations: Encapsulation::ALL.to_vec(),
                    dataplane: Dataplane::OvsNetdev,
                    version: "0.1.0".to_owned(),
                    unknown: UnknownFields::new(),
                },
            );
            let endpoint = Endpoint {
                id: id.parse().unwrap(),
                network: "blue".parse().unwrap(),
                node: name,
                mac: "02:00:0a:05:00:02".parse().unwrap(),
                addresses: vec![address.parse().unwrap()],
                spare: None,
                phase: Phase::Joined,
                options: [("key".to_owned(), "value".to_owned())].into(),
                unknown: UnknownFields::new(),
            };
            self.write(keys::endpoint(&endpoint.network, &endpoint.id), &endpoint);
        }
        self.write(keys::alive(&"h1".parse().unwrap()), &json!({}));
        self
    }

    fn sluice(&self, arguments: &[&str]) -> Done {
        let socket = self.socket();
        run(&[arguments, &["--admin-socket", socket.to_str().unwrap()]].concat())
    }
}

struct Done {
    status: i32,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str]) -> Done {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .env_remove("SLUICE_STORE")
        .env_remove("SLUICE_CONFIG")
        .output()
        .unwrap();
    Done {
        status: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

impl Done {
    #[track_caller]
    fn succeeded(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }

    /// The one line on stderr of a command that ended so.
    #[track_caller]
    fn failed(self, status: i32, parts: &[&str]) {
        assert_eq!((self.status, self.stdout.as_str()), (status, ""), "{}", self.stderr);
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{:?}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{:?} lacks {part:?}", self.stderr);
        }
    }

    #[track_caller]
    fn json(self) -> Vec<Value> {
        self.succeeded().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn networks_are_created_listed_inspected_and_removed() {
    let world = World::new();
    let create = ["network", "create", "blue", "--subnet", "10.5.0.0/16", "--subnet", "fd00:5::/64"];
    let options = ["--gateway", "10.5.0.254", "--vni", "7001", "--mtu", "1400", "--external", "none"];
    let rest = ["--reserve", "router=10.5.0.9", "--docker-sync"];
    let all = [&create[..], &options, &rest].concat();
    assert_eq!(world.sluice(&all).succeeded(), "network blue created\n");
    assert_eq!(world.sluice(&all).succeeded(), "network blue was there already, and agrees\n");
    let asked = world.backend.created.lock().unwrap()[0].clone();
    assert_eq!(asked.subnets[1].gateway, None);
    assert!(asked.docker_sync && asked.encapsulation.is_none());

    let list = world.sluice(&["network", "ls"]).succeeded();
    assert_eq!(
        list,
        "NAME  ID  ENCAP  SEGMENT   SUBNETS                  MTU   EXTERNAL  ENDPOINTS\n\
         blue  1   vxlan  vni 7001  10.5.0.0/16,fd00:5::/64  1400  none      0\n"
    );
    let shown = world.sluice(&["network", "inspect", "blue"]).succeeded();
    for part in ["10.5.0.0/16 gateway 10.5.0.254", "fd00:5::/64 gateway fd00:5::1", "10.5.0.9 router"] {
        assert!(shown.contains(part), "{shown}");
    }

    // The names that --json prints are for programs to rely on.
    let mut summary = json!({
        "name": "blue", "id": 1, "encapsulation": "vxlan", "vni": 7001, "vlan": null,
        "subnets": [
            { "prefix": "10.5.0.0/16", "gateway": "10.5.0.254", "reserved": { "router": "10.5.0.9" } },
            { "prefix": "fd00:5::/64", "gateway": "fd00:5::1", "reserved": {} },
        ],
        "mtu": 1400, "external": "none", "docker_sync": true, "created_on": "h1", "endpoint_count": 0,
    });
    let mut listed = world.sluice(&["network", "ls", "--json"]).json();
    let created_at = listed[0].as_object_mut().unwrap().remove("created_at").unwrap();
    assert!(created_at.as_u64().unwrap() > 1_700_000_000);
    assert_eq!(listed, [summary.clone()]);
    summary["created_at"] = created_at;
    let again = world.sluice(&[&all[..], &["--json"]].concat()).json();
    assert_eq!(again, [json!({ "created": false, "network": summary })]);
    summary["endpoints"] = json!([]);
    assert_eq!(world.sluice(&["network", "inspect", "blue", "--json"]).json(), [summary]);

    assert_eq!(world.sluice(&["network", "rm", "blue"]).succeeded(), "removed network blue\n");
    world.sluice(&["network", "rm", "blue"]).failed(1, &["network blue does not exist", "network ls"]);
    assert_eq!(world.sluice(&["network", "ls", "--json"]).succeeded(), "");
}

#[test]
fn a_network_without_a_subnet_gets_one_that_is_free() {
    let world = World::new();
    for name in ["one", "two", "three"] {
        world.sluice(&["network", "create", name]).succeeded();
    }
    let networks = world.sluice(&["network", "ls", "--json"]).json();
    let prefixes: std::collections::BTreeSet<String> =
        networks.iter().map(|network| network["subnets"][0]["prefix"].to_string()).collect();
    assert!(prefixes.len() == 3 && prefixes.iter().all(|prefix| prefix.ends_with("/20\"")), "{prefixes:?}");
    world.sluice(&["network", "create", "one"]).succeeded();
}

#[test]
fn a_network_that_cannot_be_is_wrong_usage_and_one_that_clashes_a_failure() {
    let world = World::new();
    let create = |arguments: &[&str]| world.sluice(&[&["network", "create", "blue"], arguments].concat());
    for (arguments, parts) in [
        (vec!["--subnet", "10.5.0.1/16"], vec!["network blue", "did you mean 10.5.0.0/16"]),
        (vec!["--subnet", "ten"], vec!["network blue", "'ten' is not a subnet"]),
        (vec!["--gateway", "10.5.0.1"], vec!["gateway 10.5.0.1", "--subnet"]),
        (
            vec!["--subnet", "10.5.0.0/16", "--gateway", "10.5.0.1", "--gateway", "10.5.0.2"],
            vec!["10.5.0.1 and 10.5.0.2", "a subnet has one"],
        ),
        (vec!["--reserve", "x"], vec!["--reserve x", "NAME=ADDR"]),
        (vec!["--vni", "16777216"], vec!["vni=16777216", "1 to 16777215"]),
        (vec!["--encap", "stt"], vec!["encap=stt", "vxlan, geneve"]),
        (vec!["--encap", "vxlan", "--vlan", "5"], vec!["encap=vxlan", "vlan=5"]),
        (vec!["--mtu", "100"], vec!["mtu=100", "1280"]),
        (vec!["--external", "native"], vec!["external=native", "external=docker"]),
    ] {
        create(&arguments).failed(2, &parts);
    }
    assert!(world.backend.created.lock().unwrap().is_empty());
    create(&["--encap", "vlan"]).failed(1, &["encap=vlan needs the VLAN's id"]);
    create(&["--subnet", "10.5.0.0/16"]).succeeded();
    create(&["--subnet", "10.6.0.0/16"]).failed(1, &["subnet 10.5.0.0/16", "node h1", "10.6.0.0/16"]);
    let overlap = ["network", "create", "x", "--subnet", "10.7.0.0/16", "--subnet", "10.7.1.0/24"];
    world.sluice(&overlap).failed(1, &["10.7.0.0/16 and 10.7.1.0/24 overlap"]);
    assert_eq!(world.sluice(&["network", "ls", "--json"]).json().len(), 1);
}

#[test]
fn endpoints_are_found_by_the_beginning_of_their_id() {
    let world = World::new().with_members();
    let list = world.sluice(&["endpoint", "ls", "--network", "blue"]).succeeded();
    assert_eq!(
        list,
        "ENDPOINT      NETWORK  NODE  ADDRESSES  MAC                PHASE\n\
         466a53675492  blue     h1    10.5.0.2   02:00:0a:05:00:02  joined\n\
         466b53675492  blue     h2    10.5.0.3   02:00:0a:05:00:02  joined\n"
    );
    let alice = json!({
        "id": ALICE, "network": "blue", "node": "h1", "mac": "02:00:0a:05:00:02",
        "addresses": ["10.5.0.2/16"], "phase": "joined",
    });
    assert_eq!(world.sluice(&["endpoint", "ls", "--json"]).json()[0], alice);
    let mut detail = alice;
    detail["host_link"] = "slh-466a5367549".into();
    detail["options"] = json!({ "key": "value" });
    detail["port"] = json!({ "ofport": 7, "mtu": 1450, "up": true, "programmed": true, "error": null });
    for id in ["466a", ALICE] {
        assert_eq!(world.sluice(&["endpoint", "inspect", id, "--json"]).json(), [detail.clone()]);
    }
    let shown = world.sluice(&["endpoint", "inspect", "466a"]).succeeded();
    for part in [ALICE, "10.5.0.2/16", "key=value", "7 up, mtu 1450, programmed"] {
        assert!(shown.contains(part), "{shown}");
    }
    world
        .sluice(&["endpoint", "inspect", "466"])
        .failed(1, &["466 is not one but 2", "466a53675492466a", "digits"]);
    world
        .sluice(&["endpoint", "inspect", "beef"])
        .failed(1, &["endpoint beef does not exist", "endpoint ls"]);
    world.sluice(&["endpoint", "inspect", "a/b"]).failed(1, &["'a/b'", "EndpointID"]);
    world.sluice(&["endpoint", "ls", "--network", "red"]).failed(1, &["network red does not exist"]);

    world
        .sluice(&["endpoint", "rm", "466a"])
        .failed(1, &["on node h1", "run `sluice endpoint rm 466a53675492`"]);
    world.sluice(&["network", "rm", "blue"]).failed(1, &["network blue has 2 endpoint(s)", "on node h2"]);
    assert_eq!(world.sluice(&["endpoint", "rm", "466b"]).succeeded(), format!("removed endpoint {BOB}\n"));
    assert_eq!(world.sluice(&["endpoint", "ls", "--json"]).json().len(), 1);
}

#[test]
fn a_dead_node_is_removed_with_what_it_had_and_a_living_one_is_not() {
    let world = World::new().with_members();
    let (h1, h2): (NodeName, NodeName) = ("h1".parse().unwrap(), "h2".parse().unwrap());
    let blue = "blue".parse().unwrap();
    let block = |text: &str| keys::block(&blue, text.parse().unwrap());
    world.write(block("10.5.0.0/28"), &Block::new(h2.clone()));
    let mut lends = Block::new(h1.clone());
    lends.lent =
        [(20, &h2), (21, &h1)].map(|(host, to)| ([10, 5, 0, host].into(), Loan::new(to.clone(), 1))).into();
    world.write(block("10.5.0.16/28"), &lends);

    assert_eq!(
        world.sluice(&["node", "ls"]).succeeded(),
        "NAME  ALIVE  UNDERLAY   MTU   DATAPLANE   VERSION  ENDPOINTS\n\
         h1    yes    192.0.2.1  1500  ovs-netdev  0.1.0    1\n\
         h2    no     192.0.2.1  1500  ovs-netdev  0.1.0    1\n"
    );
    let inspected = world.sluice(&["node", "inspect", "h2", "--json"]).json();
    assert_eq!(
        inspected,
        [json!({
            "name": "h2", "alive": false, "underlay": "192.0.2.1", "underlay_mtu": 1500,
            "encapsulations": ["vxlan", "geneve", "gre", "vlan", "local"], "dataplane": "ovs-netdev",
            "version": "0.1.0", "endpoint_count": 1,
            "endpoints": [{
                "id": BOB, "network": "blue", "node": "h2", "mac": "02:00:0a:05:00:02",
                "addresses": ["10.5.0.3/16"], "phase": "joined",
            }],
        })]
    );
    world.sluice(&["node", "rm", "h1", "--force"]).failed(1, &["node h1 is alive", "stop its agent"]);
    world.sluice(&["node", "rm", "h2"]).failed(1, &["node h2 has 1 endpoint(s)", "--force"]);
    world.sluice(&["node", "rm", "h3"]).failed(1, &["node h3 does not exist", "node ls"]);
    let removed = world.sluice(&["node", "rm", "h2", "--force", "--json"]).json();
    assert_eq!(
        removed,
        [json!({ "removed": ["node h2", format!("endpoint {BOB}"), "address block blue/10.5.0.0-28"] })]
    );
    assert!(!world.has(&block("10.5.0.0/28")) && !world.has(&keys::node(&h2)));
    let left = world.runtime.block_on(world.store.get(&block("10.5.0.16/28"))).unwrap().unwrap();
    let left: Block = serde_json::from_slice(&left.value).unwrap();
    assert_eq!(left.lent.values().map(|loan| &loan.to).collect::<Vec<_>>(), [&h1]);
}

#[test]
fn ports_are_attached_listed_and_detached() {
    let world = World::new().with_members();
    let name: NodeName = "sw1".parse().unwrap();
    let switch = Node {
        name: name.clone(),
        installation: "y".to_owned(),
        underlay: Some("192.0.2.9".parse().unwrap()),
        underlay_mtu: Some(1500),
        encapsulations: Dataplane::Linux.encapsulations().to_vec(),
        dataplane: Dataplane::Linux,
        version: "0.1.0".to_owned(),
        unknown: UnknownFields::new(),
    };
    world.write(keys::node(&name), &switch);
    let attach = |more: &[&str]| world.sluice(&[&["port", "attach", "swp1", "--node", "sw1"], more].concat());
    let attached = attach(&["--network", "blue"]).succeeded();
    assert_eq!(attached, "port swp1 of node sw1 attached to network blue\n");
    assert!(attach(&["--network", "blue"]).succeeded().contains("was attached already"));
    world.sluice(&["network", "create", "red"]).succeeded();
    world.sluice(&["network", "create", "green", "--encap", "geneve"]).succeeded();
    attach(&["--network", "red"]).failed(1, &["port swp1 of node sw1", "network blue", "detach", "--vlan"]);
    attach(&["--network", "green"]).failed(1, &["encap=geneve", "VXLAN only", "--encap vxlan"]);
    let usage = attach(&["--network", "red", "--vlan", "4095"]);
    assert!(usage.status == 2 && usage.stderr.contains("1 to 4094"), "{}", usage.stderr);
    let json = attach(&["--network", "red", "--vlan", "7", "--json"]).json();
    assert_eq!((&json[0]["created"], &json[0]["port"]["vlan"]), (&json!(true), &json!(7)));
    // Without --node it is the one that is asked, a Docker host here.
    let here = world.sluice(&["port", "attach", "swp1", "--network", "blue"]);
    here.failed(1, &["node h1", "Open vSwitch", "--dataplane linux"]);

    let at = PortTag { port: "swp1".parse().unwrap(), vlan: None };
    let station = Station {
        network: "blue".parse().unwrap(),
        mac: "00:1b:21:00:00:01".parse().unwrap(),
        node: name,
        at: Some(at),
        addresses: vec!["10.5.0.100".parse().unwrap()],
        sequence: 0,
        since: 1,
    };
    world.write(keys::station(&station.network, station.mac), &station);
    let list = world.sluice(&["port", "ls"]).succeeded();
    let expected = "NODE  PORT  VLAN  NETWORK  STATIONS  ATTACHED ON\n\
                    sw1   swp1  7     red      0         h1\n\
                    sw1   swp1  -     blue     1         h1\n";
    assert_eq!(list, expected);
    let blue = world.sluice(&["port", "ls", "--network", "blue", "--node", "sw1", "--json"]).json();
    assert_eq!(blue.len(), 1);
    assert_eq!(
        blue[0]["stations"],
        json!([{
            "network": "blue", "mac": "00:1b:21:00:00:01", "port": "swp1", "addresses": ["10.5.0.100"],
        }])
    );
    world.sluice(&["network", "rm", "red"]).failed(1, &["swp1 vlan 7 on node sw1", "port detach"]);
    let detach = |more: &[&str]| world.sluice(&[&["port", "detach", "swp1", "--node", "sw1"], more].concat());
    assert_eq!(
        detach(&["--vlan", "7"]).succeeded(),
        "removed port swp1 vlan 7 of node sw1 from network red\n"
    );
    detach(&["--vlan", "7"]).failed(1, &["swp1 vlan 7", "not attached", "port ls --node sw1"]);
    detach(&[]).succeeded();
    assert!(!world.has(&keys::station(&station.network, station.mac)), "its stations go with it");
    // A switch that is gone for good leaves nothing behind.
    attach(&["--network", "blue"]).succeeded();
    let removed = world.sluice(&["node", "rm", "sw1"]).succeeded();
    assert!(removed.contains("attachment of port swp1 to network blue"), "{removed}");
    assert_eq!(world.sluice(&["port", "ls", "--json"]).succeeded(), "");
}

#[test]
fn status_shows_what_is_wrong() {
    let world = World::new();
    let text = world.sluice(&["status"]).succeeded();
    for part in [
        "0.1.0, up 1d2h",
        "away: etcd 192.0.2.1:2379 (no answer)",
        "ok: 3.1.0 bridge br-int datapath netdev",
        "generation 3, 120 flows, 1 repaired, 0 refused",
        "error: store: etcd does not answer\n  start etcd",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    assert_eq!(
        world.sluice(&["status", "--json"]).json(),
        [json!({
            "node": "h1", "version": "0.1.0", "uptime_seconds": 93784,
            "store": {
                "kind": "etcd", "address": "192.0.2.1:2379", "state": "away", "since": 1_700_000_000u64,
                "error": "no answer",
            },
            "ovs": {
                "state": "ok", "version": "3.1.0", "bridge": "br-int", "datapath": "netdev", "error": null,
            },
            "openflow": {
                "state": "ok", "generation": 3, "flows": 120, "repaired": 1, "refused": 0, "error": null,
            },
            "linux": null,
            "docker": { "state": "off", "version": null, "error": null },
            "networks": 2, "endpoints": 1,
            "problems": [{
                "severity": "error", "object": "store", "what": "etcd does not answer", "remedy": "start etcd",
            }],
        })]
    );
}

#[test]
fn wrong_usage_is_two_and_an_absent_agent_one() {
    for arguments in [&[][..], &["network"], &["network", "create"], &["frob"], &["status", "--frob"]] {
        assert_eq!(run(arguments).status, 2, "{arguments:?}");
    }
    assert_eq!(run(&["network", "inspect", "a b"]).status, 2);
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("none.sock");
    let absent = absent.to_str().unwrap();
    run(&["status", "--admin-socket", absent]).failed(1, &[absent, "is `sluice agent` running?"]);
    run(&["status", "--admin-socket", "relative"]).failed(2, &["admin-socket", "relative", "absolute path"]);
    run(&["network", "ls", "--store", "embedded"]).failed(2, &["store", "belongs to the agent"]);
    run(&["status", "--store", "etcd://127.0.0.1:1"])
        .failed(1, &["the status is an agent's", "leave --store out"]);
    let unreachable = run(&["network", "ls", "--store", "etcd://127.0.0.1:1"]);
    unreachable.failed(1, &["127.0.0.1:1", "is it running"]);
    assert_eq!(run(&["version"]).succeeded(), format!("sluice {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(&["version", "--json"]).json(), [json!({ "version": env!("CARGO_PKG_VERSION") })]);
}

#[test]
fn check_config_prints_what_counts_or_the_mistake() {
    let text = run(&["agent", "--node", "h1", "--bridge", "br-x", "--check-config"]).succeeded();
    assert!(text.contains("bridge = \"br-x\"  # flag --bridge"), "{text}");
    assert!(toml::from_str::<toml::Table>(&text).unwrap().contains_key("store"));
    run(&["agent", "--datapath", "kernel", "--check-config"])
        .failed(2, &["datapath", "auto, system or netdev"]);
    let absent = ["agent", "--store=etcd://192.0.2.1:2379", "--etcd-ca=/nonexistent/ca", "--check-config"];
    run(&absent).failed(2, &["etcd-ca", "/nonexistent/ca", "correct the path"]);
}

#[test]
fn doctor_checks_each_thing_by_itself_and_fails_if_one_does() {
    let world = World::new();
    let directory = world.directory.path().to_str().unwrap();
    let socket = world.socket();
    let config = Path::new(directory).join("sluice.toml");
    let text = format!(
        "node = \"h1\"\nunderlay = \"192.0.2.250\"\novs-rundir = \"{directory}/no-ovs\"\n\
         plugin-socket = \"{directory}/no-plugin.sock\"\ndocker-socket = \"{directory}/no-docker.sock\"\n\
         state-dir = \"{directory}\"\nadmin-socket = \"{}\"\n",
        socket.display()
    );
    std::fs::write(&config, text).unwrap();
    let done = run(&["doctor", "--json", "--config", config.to_str().unwrap()]);
    assert_eq!((done.status, done.stderr.as_str()), (1, ""));
    let findings: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |check: &'static str| findings.iter().filter(move |finding| finding["check"] == check);
    let verdict =
        |check: &'static str| of(check).map(|finding| finding["verdict"].clone()).collect::<Vec<_>>();
    assert_eq!(verdict("config"), ["ok"]);
    // The agent answers, and what its status complains of is here too.
    assert_eq!(verdict("agent"), ["ok", "fail"]);
    for check in ["plugin socket", "open vswitch", "underlay", "docker"] {
        assert_eq!(verdict(check), ["fail"], "{findings:?}");
        assert!(of(check).all(|finding| !finding["remedy"].as_str().unwrap().is_empty()));
    }
    assert_eq!(verdict("store"), ["ok"]);
    let people = run(&["doctor", "--config", config.to_str().unwrap()]);
    assert_eq!(people.status, 1);
    assert!(
        people.stdout.contains("fail  open vswitch") && people.stdout.contains("192.0.2.250"),
        "{}",
        people.stdout
    );
    let wrong = run(&["doctor", "--config", "/nonexistent"]);
    assert!(wrong.status == 1 && wrong.stdout.starts_with("fail  config"), "{}", wrong.stdout);
}

/// One request as another tool would send it; the status and the body.
fn raw(world: &World, request: &str) -> (u16, Value) {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(world.socket()).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

#[test]
fn the_socket_answers_other_tools_with_json_always() {
    let world = World::new().with_members();
    let request = |line: &str, body: &str| {
        let length = body.len();
        raw(
            &world,
            &format!("{line} HTTP/1.1\nHost: x\nConnection: close\nContent-Length: {length}\n\n{body}"),
        )
    };
    for (line, body, status, kind, part) in [
        ("GET /", "", 404, "not-found", "GET /v1/status"),
        ("PUT /v1/networks/blue", "", 404, "not-found", "PUT /v1/networks/blue"),
        ("GET /v1/networks/red", "", 404, "not-found", "network red does not exist"),
        ("GET /v1/networks/a%20b", "", 400, "invalid", "'a%20b' is not a network name"),
        ("GET /v1/networks?frob=1", "", 400, "invalid", "unknown query 'frob'"),
        ("GET /v1/endpoints?netwrok=blue", "", 400, "invalid", "allowed is network"),
        ("GET /v1/endpoints?network", "", 400, "invalid", "has no value"),
        ("DELETE /v1/nodes/h2?force=yes", "", 400, "invalid", "true or false"),
        ("DELETE /v1/networks/blue", "", 409, "conflict", "2 endpoint(s)"),
        ("POST /v1/networks", "", 400, "invalid", "the body is not a network to create"),
        ("POST /v1/networks", "{\"name\":\"x\",\"subnet\":1}", 400, "invalid", "unknown field `subnet`"),
        ("POST /v1/networks", "{\"name\":\"x\",\"vni\":0}", 400, "invalid", "'0' is not a VNI"),
        ("POST /v1/networks", "{\"name\":\"x\",\"mtu\":5}", 400, "invalid", "mtu 5"),
        (
            "POST /v1/networks",
            "{\"name\":\"x\",\"subnets\":[{\"prefix\":\"10.9.0.0/24\",\"gateway\":\"10.8.0.1\"}]}",
            400,
            "invalid",
            "gateway 10.8.0.1 is not in subnet 10.9.0.0/24",
        ),
    ] {
        let (code, reply) = request(line, body);
        assert_eq!((code, &reply["error"]["kind"]), (status, &json!(kind)), "{line} {body}: {reply}");
        assert!(reply["error"]["message"].as_str().unwrap().contains(part), "{line} {body}: {reply}");
    }
    let (code, reply) = request("POST /v1/networks", "{\"name\":\"green\"}");
    assert_eq!((code, &reply["created"]), (201, &json!(true)));
    assert_eq!(request("POST /v1/networks", "{\"name\":\"green\"}").0, 200);
    assert_eq!(request("GET /v1/endpoints/466b", "").1["node"], "h2");
    let long = "x".repeat(300_000);
    assert_eq!(request("POST /v1/networks", &long).0, 400);
}

#[test]
fn a_client_that_finds_something_else_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("other.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = http::bind(&socket).unwrap();
        let answer = |_| async { http::text(http::StatusCode::OK, "hello") };
        tokio::spawn(http::serve(listener, answer, std::future::pending(), Duration::from_secs(1)));
        let error = Client::new(&socket).networks().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("other.sock") && error.message.contains("one version"), "{error}");
    });
}

/// An etcd of this test's own, in the network namespace of the thread that starts it.
struct EtcdServer(std::process::Child);

impl EtcdServer {
    fn start(directory: &Path) -> EtcdServer {
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(directory)
            .args([
                "--listen-client-urls",
                "http://127.0.0.1:2379",
                "--listen-peer-urls",
                "http://127.0.0.1:2380",
            ])
            .args(["--advertise-client-urls", "http://127.0.0.1:2379"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let server = EtcdServer(child);
        for _ in 0..1000 {
            if std::net::TcpStream::connect("127.0.0.1:2379").is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("etcd did not listen within 10 s");
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn with_a_store_the_commands_need_no_agent() {
    let missing = [
        (!rustix::process::geteuid().is_root()).then_some("making a network namespace needs root"),
        Command::new("etcd").arg("--version").output().is_err().then_some("etcd is not installed"),
    ];
    if let Some(reason) = missing.into_iter().flatten().next() {
        assert!(std::env::var("SLUICE_REQUIRE_LIVE").as_deref() != Ok("1"), "{reason}");
        println!("skipped: {reason}");
        return;
    }
    let test = || {
        // SAFETY: only FILES, which is not asked for, affects other threads.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let directory = tempfile::tempdir().unwrap();
        let _server = EtcdServer::start(directory.path());
        let sluice = |arguments: &[&str]| run(&[arguments, &["--store", "etcd://127.0.0.1:2379"]].concat());

        assert_eq!(
            sluice(&["network", "create", "blue", "--subnet", "10.5.0.0/16", "--vni", "77"]).succeeded(),
            "network blue created\n"
        );
        sluice(&["network", "create", "blue", "--vni", "78"])
            .failed(1, &["network blue", "vni 77", "vni 78"]);
        sluice(&["network", "create", "red", "--vni", "77"]).failed(1, &["vni=77", "network blue"]);
        let blue = sluice(&["network", "inspect", "blue", "--json"]).json();
        assert_eq!((&blue[0]["vni"], &blue[0]["subnets"][0]["gateway"]), (&json!(77), &json!("10.5.0.1")));
        assert_eq!(sluice(&["node", "ls", "--json"]).json(), [] as [Value; 0]);
        assert_eq!(sluice(&["endpoint", "ls"]).succeeded().lines().count(), 1);
        assert_eq!(sluice(&["network", "rm", "blue"]).succeeded(), "removed network blue\n");
        assert_eq!(sluice(&["network", "ls", "--json"]).succeeded(), "");
        sluice(&["status"]).failed(1, &["the status is an agent's"]);
    };
    if let Err(panic) = std::thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}
