//! The client against a server that answers as the engines do, and, if there is one, a real engine.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::api::http;

/// A server on a socket that gives one answer and keeps the requests.
struct Engine {
    docker: Docker,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    _directory: tempfile::TempDir,
}

fn engine(status: u16, answer: impl Into<String>) -> Engine {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = http::bind(&socket).unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (kept, answer) = (requests.clone(), answer.into());
    let handler = move |request: http::Request| {
        let (kept, answer) = (kept.clone(), answer.clone());
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let body = http::read_body(request.into_body(), 1 << 20).await.unwrap();
            kept.lock().unwrap().push((line, serde_json::from_slice(&body).unwrap_or_default()));
            http::text(http::StatusCode::from_u16(status).unwrap(), answer)
        }
    };
    tokio::spawn(http::serve(listener, handler, std::future::pending(), Duration::ZERO));
    Engine { docker: Docker::new(socket), requests, _directory: directory }
}

const ID: &str = "a1ff532d0d87da657594b989ca68ae52bd60331aa2b261d8adf889937f13ae85";
const ENDPOINT: &str = "466a53675492466a53675492466a53675492466a53675492466a53675492aabb";
const CONTAINER: &str = "0d1e53675492466a53675492466a53675492466a53675492466a53675492aabb";

fn inspected() -> Value {
    json!({
        "Name": "blue", "Id": ID, "Created": "2026-01-05T10:00:00.0Z", "Scope": "local", "Driver": "sluice",
        "EnableIPv6": true,
        "IPAM": {
            "Driver": "default", "Options": null,
            "Config": [
                { "Subnet": "10.9.0.0/24", "IPRange": "10.9.0.128/25", "Gateway": "10.9.0.254",
                  "AuxiliaryAddresses": { "rtr": "10.9.0.5" } },
                { "Subnet": "fd00:9::/64", "Gateway": "fd00:9::1/64" },
            ],
        },
        "Internal": false, "Attachable": true, "Ingress": false,
        "ConfigFrom": { "Network": "" }, "ConfigOnly": false,
        "Containers": {
            CONTAINER: { "Name": "db", "EndpointID": ENDPOINT, "MacAddress": "02:42:0a:09:00:02",
                         "IPv4Address": "10.9.0.2/24", "IPv6Address": "" },
            format!("ep-{}", "b".repeat(64)): { "Name": "stuck", "EndpointID": "b".repeat(64), "MacAddress": "",
                         "IPv4Address": "", "IPv6Address": "fd00:9::2/64" },
        },
        "Options": { "network": "blue" }, "Labels": {},
    })
}

#[tokio::test]
async fn a_network_comes_with_its_endpoints() {
    let engine = engine(200, inspected().to_string());
    let network = engine.docker.network(&ID.parse().unwrap()).await.unwrap();
    assert_eq!(engine.requests.lock().unwrap()[0].0, format!("GET /networks/{ID}"));
    assert_eq!((network.name.as_str(), network.driver.as_str()), ("blue", "sluice"));
    assert!(network.enable_ipv4 && network.enable_ipv6 && network.attachable && !network.internal);
    assert_eq!(network.options["network"], "blue");
    let [v4, v6] = &network.ipam.pools[..] else { panic!("{:?}", network.ipam) };
    assert_eq!(v4.subnet, Some("10.9.0.0/24".parse().unwrap()));
    assert_eq!(v4.range, Some("10.9.0.128/25".parse().unwrap()));
    assert_eq!(v4.gateway, Some("10.9.0.254".parse().unwrap()));
    assert_eq!(v4.auxiliary["rtr"], "10.9.0.5".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(v6.gateway, Some("fd00:9::1".parse().unwrap()));
    let [db, stuck] = &network.endpoints[..] else { panic!("{:?}", network.endpoints) };
    assert_eq!((db.container.as_deref(), db.name.as_str(), db.ipv6), (Some(CONTAINER), "db", None));
    assert_eq!(db.endpoint.as_str(), ENDPOINT);
    assert_eq!(db.mac, Some("02:42:0a:09:00:02".parse().unwrap()));
    assert_eq!(db.ipv4, Some("10.9.0.2/24".parse().unwrap()));
    assert_eq!((stuck.container.as_deref(), stuck.mac, stuck.ipv4), (None, None, None));
}

#[tokio::test]
async fn networks_are_those_of_the_driver_alone() {
    let mut other = inspected();
    other["Driver"] = "sluice-old".into();
    let engine = engine(200, json!([inspected(), other]).to_string());
    let networks = engine.docker.networks_of_driver("sluice").await.unwrap();
    assert_eq!(networks.len(), 1);
    assert_eq!(
        engine.requests.lock().unwrap()[0].0,
        "GET /networks?filters=%7B%22driver%22%3A%5B%22sluice%22%5D%7D"
    );
}

#[tokio::test]
async fn what_go_writes_for_nothing_is_nothing() {
    let bare = json!({ "Name": "n", "Id": ID, "Driver": "null", "IPAM": { "Driver": "", "Options": null, "Config": null },
                       "Containers": null, "Options": null, "Labels": null });
    let engine = engine(200, bare.to_string());
    let network = engine.docker.network(&ID.parse().unwrap()).await.unwrap();
    assert!(network.endpoints.is_empty() && network.options.is_empty() && network.ipam.pools.is_empty());
}

fn spec(subnets: &[&str]) -> DockerNetworkSpec {
    DockerNetworkSpec {
        name: "blue".to_owned(),
        driver: "sluice".to_owned(),
        options: [("network".to_owned(), "blue".to_owned())].into(),
        ipam: Ipam {
            driver: "sluice".to_owned(),
            options: [("network".to_owned(), "blue".to_owned())].into(),
            pools: subnets.iter().map(|subnet| IpamPool::new(subnet.parse().unwrap(), None)).collect(),
        },
        ..DockerNetworkSpec::default()
    }
}

#[tokio::test]
async fn a_network_is_made_as_specified() {
    let engine = engine(201, json!({ "Id": ID, "Warning": "" }).to_string());
    assert_eq!(engine.docker.create_network(&spec(&["10.9.0.0/24"])).await.unwrap().as_str(), ID);
    let (line, body) = engine.requests.lock().unwrap().remove(0);
    assert_eq!(line, "POST /networks/create");
    let wanted = json!({
        "Name": "blue", "CheckDuplicate": true, "Driver": "sluice", "Internal": false, "Attachable": false,
        "EnableIPv6": false, "Options": { "network": "blue" }, "Labels": {},
        "IPAM": { "Driver": "sluice", "Options": { "network": "blue" }, "Config": [{ "Subnet": "10.9.0.0/24" }] },
    });
    assert_eq!(body, wanted);
    for (subnets, v4, v6) in [
        (&["10.9.0.0/24", "fd00:9::/64"][..], Value::Null, true),
        (&["fd00:9::/64"], json!(false), true),
        (&[], Value::Null, false),
    ] {
        let body = spec(subnets).to_json();
        assert_eq!((&body["EnableIPv4"], &body["EnableIPv6"]), (&v4, &v6.into()), "{subnets:?}");
    }
}

#[tokio::test]
async fn refusals_say_what_and_why() {
    let id: DockerNetworkId = ID.parse().unwrap();
    let message = json!({ "message": "network with name blue\nalready exists" }).to_string();
    let error = engine(409, message).docker.create_network(&spec(&[])).await.unwrap_err();
    assert!(matches!(error, DockerError::Conflict { .. }) && !error.is_transient());
    let text = "the Docker engine already has a network blue: network with name blue already exists";
    assert_eq!(error.to_string(), text);

    let error = engine(404, json!({ "message": "No such network" }).to_string())
        .docker
        .network(&id)
        .await
        .unwrap_err();
    assert!(matches!(error, DockerError::NotFound { .. }));
    assert_eq!(error.to_string(), format!("the Docker engine has no network {ID}: No such network"));

    let error = engine(500, "no JSON").docker.ping().await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.to_string(), "the Docker engine refuses GET /_ping with status 500: no JSON");

    let error = engine(200, "{}").docker.version().await.unwrap_err();
    assert!(error.to_string().contains("GET /version is not understood"), "{error}");
    let error = engine(200, "{}").docker.create_network(&spec(&[])).await.unwrap_err();
    assert!(error.to_string().contains("POST /networks/create is not understood"), "{error}");
}

#[tokio::test]
async fn an_absent_engine_is_told_with_its_socket_and_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    for stale in [false, true] {
        if stale {
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        }
        let error = Docker::new(&socket).ping().await.unwrap_err();
        assert!(matches!(error, DockerError::Absent { .. }) && error.is_transient());
        let text = error.to_string();
        assert!(text.contains(socket.to_str().unwrap()) && text.contains("systemctl start docker"), "{text}");
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("mute.sock");
    let _mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let docker = Docker::new(&socket).with_deadline(Duration::from_millis(50));
    let error = docker.version().await.unwrap_err();
    assert!(matches!(error, DockerError::Late { .. }) && error.is_transient());
    assert!(error.to_string().contains("did not answer GET /version within 50ms: try again"), "{error}");
}

#[tokio::test]
async fn an_engine_that_hangs_up_is_a_broken_connection() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("rude.sock");
    let rude = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let thread = std::thread::spawn(move || drop(rude.accept().unwrap()));
    let error = Docker::new(&socket).version().await.unwrap_err();
    thread.join().unwrap();
    assert!(matches!(error, DockerError::Broken { .. }) && error.is_transient(), "{error}");
}

/// With `SLUICE_TEST_DOCKER` set to the socket of an engine: makes a bridge network on it and removes it again.
#[tokio::test]
async fn a_real_engine() {
    let Some(socket) = std::env::var_os("SLUICE_TEST_DOCKER") else {
        eprintln!("skipped: SLUICE_TEST_DOCKER is not set to the socket of a Docker engine");
        return;
    };
    let docker = Docker::new(PathBuf::from(socket));
    docker.ping().await.unwrap();
    let version = docker.version().await.unwrap();
    assert!(version.api.starts_with("1."), "{version:?}");

    let name = format!("sluice-test-{}", std::process::id());
    let mut spec = spec(&["10.213.7.0/24"]);
    spec.name.clone_from(&name);
    spec.driver = "bridge".to_owned();
    spec.options =
        [("com.docker.network.bridge.name".to_owned(), format!("slt{}", std::process::id()))].into();
    spec.labels = [("sluice".to_owned(), "test".to_owned())].into();
    spec.internal = true;
    spec.ipam.driver = "default".to_owned();
    spec.ipam.options.clear();
    spec.ipam.pools[0].gateway = Some("10.213.7.254".parse().unwrap());
    let id = docker.create_network(&spec).await.unwrap();
    let again = docker.create_network(&spec).await;
    let listed = docker.networks_of_driver("bridge").await;
    let inspected = docker.network(&id).await;
    let path = format!("/networks/{id}");
    docker.request(Method::DELETE, &path, None, DEADLINE, || name.clone()).await.unwrap();

    assert!(matches!(again, Err(DockerError::Conflict { .. })), "{again:?}");
    let network = inspected.unwrap();
    assert_eq!((network.name.as_str(), network.internal), (name.as_str(), true));
    assert_eq!((&network.options, &network.labels), (&spec.options, &spec.labels));
    assert_eq!(network.ipam.pools, spec.ipam.pools);
    assert!(listed.unwrap().contains(&network));
    assert!(matches!(docker.network(&id).await, Err(DockerError::NotFound { .. })));
}
