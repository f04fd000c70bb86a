//! Plays what three Docker engines really sent, over HTTP on a Unix socket, against the plugin protocol's edge.
//!
//! Each recorded call must reach the driver with every field that it had, and be answered with what dockerd's decoder
//! takes; only the calls whose body dockerd lost are refused. See `recordings/README.md` for the files.

#![cfg(feature = "agent")]
// Clippy takes the functions that the tests share for production code.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use serde_json::{Map, Value, json};
use sluice::api::http;
use sluice::api::libnetwork::*;
use sluice::model::{DockerNetworkId, EndpointId};
use tokio::sync::oneshot;

/// One engine's file.
struct Recording {
    text: &'static str,
    scenarios: usize,
    calls: usize,
}

const DOCKER_20_10: Recording =
    Recording { text: include_str!("recordings/docker-20.10.24.calls"), scenarios: 305, calls: 1163 };
const DOCKER_26_1: Recording =
    Recording { text: include_str!("recordings/docker-26.1.5.calls"), scenarios: 301, calls: 1161 };
const DOCKER_28_5: Recording =
    Recording { text: include_str!("recordings/docker-28.5.2.calls"), scenarios: 308, calls: 1148 };

struct Call {
    scenario: &'static str,
    method: &'static str,
    /// Empty if the request had none.
    body: String,
}

impl Recording {
    /// The headers of all requests, and the calls in order.
    fn read(&self) -> (&'static str, Vec<Call>) {
        let (headers, lines) = self.text.split_once("\n\n").expect("an empty line ends the headers");
        let (mut calls, mut scenario, mut scenarios) = (Vec::new(), "", 0);
        for line in lines.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                (scenario, scenarios) = (name, scenarios + 1);
                continue;
            }
            let (method, body) = match line.split_once(' ') {
                Some((method, body)) => (method, format!("{body}\n")),
                None => (line, String::new()),
            };
            calls.push(Call { scenario, method, body });
        }
        assert_eq!((scenarios, calls.len()), (self.scenarios, self.calls), "the recording is not whole");
        (headers, calls)
    }
}

/// A driver that keeps networks, endpoints and leases in memory, and what it was asked last by each object.
#[derive(Default)]
struct InMemory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    networks: BTreeMap<DockerNetworkId, CreateNetwork>,
    endpoints: BTreeMap<EndpointId, Phase>,
    leases: BTreeSet<(String, IpAddr)>,
    /// The requests as they were parsed, written as Docker writes them.
    asked: Vec<(&'static str, Value)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Created,
    Joined,
    Left,
}

impl InMemory {
    fn with<T>(&self, method: &'static str, request: Value, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        state.asked.push((method, request));
        act(&mut state)
    }

    /// The prefix that a recorded PoolID names; the mock that was recorded also gave the ids `p` and `p2`.
    fn prefix(pool: &PoolId) -> IpNet {
        let text = pool.as_str().split_once('/').map_or("10.230.0.0/24", |(_, prefix)| prefix);
        text.parse().unwrap()
    }
}

#[async_trait]
impl Driver for InMemory {
    async fn create_network(&self, request: CreateNetwork) -> Result<(), Refusal> {
        self.with("NetworkDriver.CreateNetwork", network_json(&request), |state| {
            match state.networks.get(&request.network) {
                Some(known) if *known != request => Err(Refusal::new("another network has this id")),
                _ => {
                    state.networks.insert(request.network.clone(), request);
                    Ok(())
                }
            }
        })
    }

    async fn delete_network(&self, request: NetworkRef) -> Result<(), Refusal> {
        let asked = json!({ "NetworkID": request.network.as_str() });
        self.with("NetworkDriver.DeleteNetwork", asked, |state| {
            state.networks.remove(&request.network);
            Ok(())
        })
    }

    async fn create_endpoint(&self, request: CreateEndpoint) -> Result<CreateEndpointReply, Refusal> {
        self.with("NetworkDriver.CreateEndpoint", endpoint_json(&request), |state| {
            if !state.networks.contains_key(&request.network) {
                return Err(Refusal::new(format!("network {} is not known", request.network)));
            }
            state.endpoints.insert(request.endpoint.clone(), Phase::Created);
            let mac = request.mac.unwrap_or("02:00:00:00:00:07".parse()?);
            Ok(CreateEndpointReply { mac: Some(mac), ipv4: request.ipv4, ipv6: request.ipv6 })
        })
    }

    async fn delete_endpoint(&self, request: EndpointRef) -> Result<(), Refusal> {
        self.with("NetworkDriver.DeleteEndpoint", ref_json(&request), |state| {
            state.endpoints.remove(&request.endpoint);
            Ok(())
        })
    }

    async fn operational_info(&self, request: EndpointRef) -> Result<OperationalInfo, Refusal> {
        self.with("NetworkDriver.EndpointOperInfo", ref_json(&request), |_| Ok(OperationalInfo::new()))
    }

    async fn join(&self, request: Join) -> Result<JoinReply, Refusal> {
        let asked = json!({
            "NetworkID": request.network.as_str(),
            "EndpointID": request.endpoint.as_str(),
            "SandboxKey": request.sandbox_key,
            "Options": ports_json(&request.ports),
        });
        self.with("NetworkDriver.Join", asked, |state| match state.endpoints.get_mut(&request.endpoint) {
            None => Err(Refusal::new(format!("endpoint {} is not known", request.endpoint))),
            Some(phase) => {
                *phase = Phase::Joined;
                Ok(JoinReply::new(request.endpoint.sandbox_link()))
            }
        })
    }

    async fn leave(&self, request: EndpointRef) -> Result<(), Refusal> {
        self.with("NetworkDriver.Leave", ref_json(&request), |state| {
            if let Some(phase) = state.endpoints.get_mut(&request.endpoint) {
                *phase = Phase::Left;
            }
            Ok(())
        })
    }

    async fn program_external(&self, request: ProgramExternal) -> Result<(), Refusal> {
        let asked = json!({
            "NetworkID": request.network.as_str(),
            "EndpointID": request.endpoint.as_str(),
            "Options": ports_json(&request.ports),
        });
        self.with("NetworkDriver.ProgramExternalConnectivity", asked, |state| {
            match state.endpoints.get(&request.endpoint) {
                Some(Phase::Joined) => Ok(()),
                _ => Err(Refusal::new(format!("endpoint {} has not joined", request.endpoint))),
            }
        })
    }

    async fn revoke_external(&self, request: EndpointRef) -> Result<(), Refusal> {
        self.with("NetworkDriver.RevokeExternalConnectivity", ref_json(&request), |_| Ok(()))
    }

    async fn request_pool(&self, request: RequestPool) -> Result<RequestPoolReply, Refusal> {
        let AddressSpace::Other(space) = &request.address_space else {
            return Err(Refusal::new("no recorded call names an address space of ours"));
        };
        let mut asked = json!({ "AddressSpace": space, "Options": request.options, "V6": request.v6 });
        insert(&mut asked, "Pool", request.pool);
        insert(&mut asked, "SubPool", request.sub_pool);
        let default = if request.v6 { "fd00:230::/64" } else { "10.230.0.0/24" };
        let pool = request.pool.unwrap_or(default.parse()?);
        self.with("IpamDriver.RequestPool", asked, |_| {
            Ok(RequestPoolReply { id: format!("host/{pool}").parse()?, pool, gateway: None })
        })
    }

    async fn release_pool(&self, request: ReleasePool) -> Result<(), Refusal> {
        self.with("IpamDriver.ReleasePool", json!({ "PoolID": request.pool.as_str() }), |_| Ok(()))
    }

    async fn request_address(&self, request: RequestAddress) -> Result<IpNet, Refusal> {
        let mut asked = json!({ "PoolID": request.pool.as_str() });
        insert(&mut asked, "Address", request.address);
        if request.purpose == Purpose::Gateway {
            asked["Options"] = json!({ "RequestAddressType": "com.docker.network.gateway" });
        }
        assert!(request.options.is_empty() && request.mac.is_none(), "nothing else was recorded");
        let prefix = Self::prefix(&request.pool);
        self.with("IpamDriver.RequestAddress", asked, |state| {
            let pool = request.pool.to_string();
            let address = request
                .address
                .or_else(|| prefix.hosts().find(|address| !state.leases.contains(&(pool.clone(), *address))));
            let address = address.ok_or_else(|| Refusal::new("the pool is exhausted"))?;
            state.leases.insert((pool, address));
            Ok(IpNet::new(address, prefix.prefix_len())?)
        })
    }

    async fn release_address(&self, request: ReleaseAddress) -> Result<(), Refusal> {
        let asked = json!({ "PoolID": request.pool.as_str(), "Address": request.address.to_string() });
        self.with("IpamDriver.ReleaseAddress", asked, |state| {
            state.leases.remove(&(request.pool.to_string(), request.address));
            Ok(())
        })
    }
}

// What was parsed, written as Docker writes it, with nothing where it has nothing to say.

fn insert(object: &mut Value, key: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        object[key] = value.to_string().into();
    }
}

fn network_json(request: &CreateNetwork) -> Value {
    let pools = |pools: &[PoolData]| -> Value {
        let pool_json = |data: &PoolData| {
            let mut pool = json!({ "AddressSpace": data.address_space, "Pool": data.pool.to_string() });
            insert(&mut pool, "Gateway", data.gateway);
            if !data.auxiliary.is_empty() {
                let auxiliary: Map<_, _> =
                    data.auxiliary.iter().map(|(name, net)| (name.clone(), net.to_string().into())).collect();
                pool["AuxAddresses"] = auxiliary.into();
            }
            pool
        };
        pools.iter().map(pool_json).collect()
    };
    json!({
        "NetworkID": request.network.as_str(),
        "Options": {
            "com.docker.network.enable_ipv4": request.enable_ipv4,
            "com.docker.network.enable_ipv6": request.enable_ipv6,
            "com.docker.network.internal": request.internal,
            "com.docker.network.generic": request.options,
        },
        "IPv4Data": pools(&request.ipv4),
        "IPv6Data": pools(&request.ipv6),
    })
}

fn ref_json(request: &EndpointRef) -> Value {
    json!({ "NetworkID": request.network.as_str(), "EndpointID": request.endpoint.as_str() })
}

fn ports_json(ports: &Ports) -> Value {
    let text = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let exposed: Value =
        ports.exposed.iter().map(|port| json!({ "Proto": port.protocol.0, "Port": port.port })).collect();
    let published: Value = ports
        .published
        .iter()
        .map(|port| {
            json!({
                "Proto": port.protocol.0, "Port": port.port, "IP": text(port.address),
                "HostIP": text(port.host_address), "HostPort": port.host_port, "HostPortEnd": port.host_port_end,
            })
        })
        .collect();
    json!({ EXPOSED: sorted(exposed), PORTMAP: sorted(published) })
}

fn endpoint_json(request: &CreateEndpoint) -> Value {
    let text = |value: Option<String>| value.unwrap_or_default();
    let mut options = ports_json(&request.ports);
    for (key, value) in request.options.iter().chain(&request.docker_options) {
        options[key] = value.clone().into();
    }
    if !request.dns_servers.is_empty() {
        options["com.docker.network.endpoint.dnsservers"] = request.dns_servers.clone().into();
    }
    json!({
        "NetworkID": request.network.as_str(),
        "EndpointID": request.endpoint.as_str(),
        "Interface": {
            "Address": text(request.ipv4.map(|net| net.to_string())),
            "AddressIPv6": text(request.ipv6.map(|net| net.to_string())),
            "MacAddress": text(request.mac.map(|mac| mac.to_string())),
        },
        "Options": options,
    })
}

const EXPOSED: &str = "com.docker.network.endpoint.exposedports";
const PORTMAP: &str = "com.docker.network.portmap";

/// Docker keeps no order in its arrays.
fn sorted(array: Value) -> Value {
    let Value::Array(mut items) = array else { panic!("{array} is not an array") };
    items.sort_by_key(Value::to_string);
    items.dedup();
    items.into()
}

/// A recorded request without what says nothing, or what this driver does not need. Whatever else it has must come
/// out of the parsed request again.
fn meaning(method: &str, recorded: &Value) -> Value {
    let mut request = recorded.clone();
    let object = request.as_object_mut().unwrap();
    match method {
        "NetworkDriver.CreateNetwork" => {
            let options = object["Options"].as_object_mut().unwrap();
            options.entry("com.docker.network.internal").or_insert(false.into());
            options.entry("com.docker.network.enable_ipv4").or_insert(true.into());
        }
        "NetworkDriver.CreateEndpoint"
        | "NetworkDriver.Join"
        | "NetworkDriver.ProgramExternalConnectivity" => {
            let options = object["Options"].as_object_mut().unwrap();
            // `docker run --link`, which is for Docker's own bridge; and a switch for Docker's own proxy.
            if method == "NetworkDriver.Join" {
                options.remove("com.docker.network.generic");
            }
            options.remove("com.docker.network.driver.private.no_proxy_6to4");
            for key in [EXPOSED, PORTMAP] {
                let ports = options.remove(key).unwrap_or(json!([]));
                options.insert(key.to_owned(), sorted(ports));
            }
            // The same address as in Interface, in base64.
            if let Some(mac) = options.remove("com.docker.network.endpoint.macaddress") {
                assert_eq!(mac.as_str().unwrap().len(), 8);
                assert_ne!(object["Interface"]["MacAddress"], "");
            }
        }
        "IpamDriver.RequestPool" | "IpamDriver.RequestAddress" => {
            object.retain(|_, value| !value.is_null() && value != "");
        }
        _ => {}
    }
    request
}

/// What dockerd's decoder of this call's answer takes: the fields that it has, each of its type.
fn check_answer(method: &str, request: &Value, answer: &Value) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let only = |value: &Value, allowed: &[&str]| {
        let unknown: Vec<String> = keys(value).into_iter().filter(|key| !allowed.contains(&&**key)).collect();
        assert!(unknown.is_empty(), "{method} is answered with {unknown:?}: {answer}");
    };
    let parses = |value: &Value| value.as_str().unwrap().parse::<IpNet>().unwrap();
    match method {
        "Plugin.Activate" => assert_eq!(answer["Implements"], json!(["NetworkDriver", "IpamDriver"])),
        "NetworkDriver.GetCapabilities" => {
            only(answer, &["Scope", "ConnectivityScope", "GwAllocChecker"]);
            assert_eq!((&answer["Scope"], &answer["ConnectivityScope"]), (&json!("local"), &json!("global")));
        }
        "IpamDriver.GetCapabilities" => {
            assert_eq!(answer, &json!({ "RequiresMACAddress": false, "RequiresRequestReplay": false }));
        }
        "IpamDriver.GetDefaultAddressSpaces" => {
            only(answer, &["LocalDefaultAddressSpace", "GlobalDefaultAddressSpace"]);
            assert_ne!(answer["LocalDefaultAddressSpace"], answer["GlobalDefaultAddressSpace"]);
        }
        "NetworkDriver.CreateEndpoint" => {
            only(answer, &["Interface"]);
            // The driver under test answers with all that the endpoint has: what was given must not come back.
            let given = request["Interface"]["MacAddress"] != "";
            let wanted =
                if given { json!({}) } else { json!({ "Interface": { "MacAddress": "02:00:00:00:00:07" } }) };
            assert_eq!(answer, &wanted);
        }
        "NetworkDriver.Join" => {
            only(
                answer,
                &["InterfaceName", "Gateway", "GatewayIPv6", "StaticRoutes", "DisableGatewayService"],
            );
            let name = &answer["InterfaceName"];
            only(name, &["SrcName", "DstPrefix"]);
            let link = name["SrcName"].as_str().unwrap();
            assert!(
                link.len() <= 15 && link.ends_with(&request["EndpointID"].as_str().unwrap()[..11]),
                "{link}"
            );
            assert_eq!(name["DstPrefix"], "eth");
        }
        "NetworkDriver.EndpointOperInfo" => assert_eq!(answer, &json!({ "Value": {} })),
        "IpamDriver.RequestPool" => {
            only(answer, &["PoolID", "Pool", "Data"]);
            assert_ne!(answer["PoolID"], "");
            assert_eq!(parses(&answer["Pool"]).addr().is_ipv6(), request["V6"] == true);
            assert!(answer["Data"].is_object());
        }
        "IpamDriver.RequestAddress" => {
            only(answer, &["Address", "Data"]);
            let address = parses(&answer["Address"]);
            if request["Address"] != "" {
                assert_eq!(request["Address"], address.addr().to_string());
            }
        }
        _ => assert_eq!(answer, &json!({}), "{method}"),
    }
}

/// The edge on a socket, and the driver behind it.
struct Plugin {
    socket: PathBuf,
    driver: Arc<InMemory>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<http::Ended>>,
    _directory: tempfile::TempDir,
}

impl Plugin {
    fn start() -> Plugin {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("sluice.sock");
        let driver = Arc::new(InMemory::default());
        let edge = Edge::new(driver.clone());
        let (stop, stopped) = oneshot::channel();
        let (bound, wait) = std::sync::mpsc::channel();
        let path = socket.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = http::bind(&path).unwrap();
                bound.send(()).unwrap();
                let handler = move |request| edge.clone().answer(request);
                let stopped = async { stopped.await.unwrap_or_default() };
                http::serve(listener, handler, stopped, Duration::from_secs(5)).await
            })
        });
        wait.recv().unwrap();
        Plugin { socket, driver, stop: Some(stop), thread: Some(thread), _directory: directory }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join().unwrap();
        if !std::thread::panicking() {
            assert_eq!(ended, http::Ended::Finished);
        }
    }
}

/// One connection to the plugin, kept open as dockerd keeps it.
struct Dockerd {
    stream: UnixStream,
    headers: String,
}

impl Dockerd {
    fn connect(plugin: &Plugin, headers: &str) -> Dockerd {
        let stream = UnixStream::connect(&plugin.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Dockerd { stream, headers: headers.replace('\n', "\r\n") }
    }

    fn call(&mut self, method: &str, body: &str) -> (u16, Value) {
        let Dockerd { stream, headers } = self;
        let length = body.len();
        let request =
            format!("POST /{method} HTTP/1.1\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let mut answer = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut answer).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_slice(&answer).unwrap())
    }
}

/// Plays one recording; says how many calls were refused for want of a body.
fn play(plugin: &Plugin, recording: &Recording, check_asked: bool) -> usize {
    let (headers, calls) = recording.read();
    let mut dockerd = Dockerd::connect(plugin, headers);
    let mut without_body = 0;
    for Call { scenario, method, body } in calls {
        let known = Method::from_path(&format!("/{method}"));
        assert!(known.is_some(), "{scenario}: {method} is not known");
        let (status, answer) = dockerd.call(method, &body);
        assert_eq!(status, 200, "{scenario}: {method} {body}");
        assert_eq!(answer.get("Err"), answer.get("Error"), "{scenario}: {method}");
        let bodiless = method.starts_with("Plugin.") || method.contains(".Get");
        if body.is_empty() && !bodiless {
            let line = answer["Err"].as_str().unwrap_or_default();
            assert!(line.contains("no body"), "{scenario}: {method} without a body is answered {answer}");
            without_body += 1;
            continue;
        }
        assert_eq!(answer.get("Err"), None, "{scenario}: {method} {body}");
        let request = if body.is_empty() { json!({}) } else { serde_json::from_str(&body).unwrap() };
        check_answer(method, &request, &answer);
        if check_asked {
            let asked = std::mem::take(&mut plugin.driver.state.lock().unwrap().asked);
            let wanted: Vec<_> =
                if bodiless { vec![] } else { vec![(known.unwrap().name(), meaning(method, &request))] };
            assert_eq!(asked, wanted, "{scenario}: {method}");
        }
    }
    without_body
}

#[test]
fn docker_20_10() {
    assert_eq!(play(&Plugin::start(), &DOCKER_20_10, true), 3);
}

#[test]
fn docker_26_1() {
    assert_eq!(play(&Plugin::start(), &DOCKER_26_1, true), 3);
}

#[test]
fn docker_28_5() {
    assert_eq!(play(&Plugin::start(), &DOCKER_28_5, true), 3);
}

#[test]
fn three_engines_at_once() {
    let plugin = Plugin::start();
    std::thread::scope(|scope| {
        for recording in [&DOCKER_20_10, &DOCKER_26_1, &DOCKER_28_5] {
            scope.spawn(|| play(&plugin, recording, false));
        }
    });
    let asked = plugin.driver.state.lock().unwrap().asked.len();
    let expected: usize = [&DOCKER_20_10, &DOCKER_26_1, &DOCKER_28_5]
        .into_iter()
        .flat_map(|recording| recording.read().1)
        .filter(|call| !call.body.is_empty())
        .count();
    assert_eq!(asked, expected);
}

#[test]
fn a_lost_body_never_makes_an_endpoint() {
    let plugin = Plugin::start();
    let (headers, calls) = DOCKER_28_5.read();
    let mut dockerd = Dockerd::connect(&plugin, headers);
    for call in calls.iter().filter(|call| !call.body.is_empty()) {
        let (status, answer) = dockerd.call(call.method, "");
        assert_eq!(status, 200);
        assert!(
            answer["Error"].as_str().is_some_and(|line| line.contains("no body")),
            "{}: {answer}",
            call.method
        );
    }
    let state = plugin.driver.state.lock().unwrap();
    assert!(state.asked.is_empty() && state.networks.is_empty() && state.endpoints.is_empty());
}
