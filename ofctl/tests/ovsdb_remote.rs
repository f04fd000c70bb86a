//! The client against a real ovsdb-server over TCP and TLS, on connections that either side opens, with the databases
//! Open_vSwitch and hardware_vtep. All on the loopback interface.
#![cfg(feature = "client")]
// What surrounds the tests panics as they do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ofctl::client::ovsdb::{Client, Listen, Listener, Options, Target, Tls, parse_target};
use ofctl::ovsdb::vtep::{self, LogicalSwitchSpec, ReplicationMode, Vtep, VtepError, VtepTransaction};
use ofctl::ovsdb::{Operation, Row, Transaction, Value};
use tokio::time::Instant;

const VSWITCH: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// What the library reads of the schema that Open vSwitch 3.1 ships in package openvswitch-vtep.
const VTEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/hardware_vtep.json");

/// An ovsdb-server of the test's own. It and its folder go when it is dropped.
struct Server {
    _folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// True if the machine can run these tests; says why not.
fn can_run() -> bool {
    let missing = if !Path::new(VSWITCH).exists() || !run(Command::new("ovsdb-server").arg("--version")) {
        "Open vSwitch (Debian: openvswitch-switch) is not installed"
    } else {
        return true;
    };
    let required = std::env::var("SLUICE_REQUIRE_LIVE").as_deref() == Ok("1");
    assert!(!required, "SLUICE_REQUIRE_LIVE=1, and {missing}");
    eprintln!("SKIPPED: {missing}");
    false
}

impl Server {
    /// Serves a new database of this schema at these remotes.
    fn start(schema: &str, remotes: &[&str], options: &[String]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        assert!(run(Command::new("ovsdb-tool").arg("create").arg(&database).arg(schema)));
        let process = Command::new("ovsdb-server")
            .arg(&database)
            .args(remotes.iter().map(|remote| format!("--remote={remote}")))
            .args(options)
            .args(["--no-chdir", "-vconsole:off"])
            .arg(format!("--unixctl={}", folder.path().join("ctl").display()))
            .env("OVS_RUNDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Server { _folder: folder, process }
    }
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Connects as soon as the server listens.
async fn connect(target: Target, options: &Options) -> Client {
    let last = deadline();
    loop {
        match Client::connect(target.clone(), options.clone(), last).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < last, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes the root row, and sees it come.
async fn use_it(client: &Client) {
    let row = Row::new().with("external_ids", Value::map([("system-id", "h1")]));
    let transaction = Transaction::new().with(Operation::insert("Open_vSwitch", row));
    client.transact(transaction, deadline()).await.unwrap();
    let seen = client
        .wait_for("the root row", deadline(), |replica| replica.vswitch().system_id().map(str::to_owned));
    assert_eq!(seen.await.unwrap(), "h1");
}

#[tokio::test]
async fn a_server_is_used_over_tcp() {
    if !can_run() {
        return;
    }
    let port = free_port();
    let _server = Server::start(VSWITCH, &[&format!("ptcp:{port}:127.0.0.1")], &[]);
    let target = parse_target(&format!("tcp:127.0.0.1:{port}"), None).unwrap();
    use_it(&connect(target, &Options::default()).await).await;
    assert_eq!(parse_target("tcp:[::1]", None).unwrap(), Target::Tcp("::1".to_owned(), 6640));
    let refused =
        Client::connect(Target::Tcp("127.0.0.1".to_owned(), 1), Options::default(), deadline()).await;
    assert!(refused.unwrap_err().to_string().contains("set-manager ptcp:6640"));
}

#[tokio::test]
async fn servers_that_connect_to_us_are_used() {
    if !can_run() {
        return;
    }
    let listener = Listener::bind(Listen::parse("ptcp:0:127.0.0.1", None).unwrap()).await.unwrap();
    let remote = format!("tcp:{}", listener.address().unwrap());
    // Somebody who says nothing keeps nobody waiting.
    let silent = std::net::TcpStream::connect(listener.address().unwrap()).unwrap();
    let silent_one = listener.accept().await.unwrap();
    let _servers: Vec<Server> = (0..2).map(|_| Server::start(VSWITCH, &[&remote], &[])).collect();
    for _ in 0..2 {
        let incoming = tokio::time::timeout_at(deadline(), listener.accept()).await.unwrap().unwrap();
        let client = incoming.open(Options::default(), deadline()).await.unwrap();
        assert!(client.target().to_string().starts_with("tcp:127.0.0.1:"), "{}", client.target());
        use_it(&client).await;
    }
    let soon = Instant::now() + Duration::from_millis(50);
    let error = silent_one.open(Options::default(), soon).await.unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    drop(silent);
    let taken = Listener::bind(Listen::Tcp(listener.address().unwrap())).await.unwrap_err().to_string();
    assert!(taken.contains("cannot listen on ptcp:"), "{taken}");
}

/// An authority, and a certificate of it for each name; `false` without openssl.
fn certificates(folder: &Path, names: &[&str]) -> bool {
    let openssl =
        |arguments: &str| run(Command::new("openssl").current_dir(folder).args(arguments.split(' ')));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.join("v3.cnf"), "basicConstraints=CA:FALSE\n").unwrap();
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"))
        && names.iter().all(|name| {
            openssl(&format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"))
                && openssl(&format!(
                    "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                     -extfile v3.cnf -out {name}.pem"
                ))
        })
}

#[tokio::test]
async fn a_server_is_used_over_tls_whoever_connects() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if !certificates(folder.path(), &["server", "client"]) {
        eprintln!("SKIPPED: openssl is not installed");
        return;
    }
    let tls = Tls::from_files(&path("client.pem"), &path("client.key"), &path("ca.pem")).unwrap();
    let options = [
        format!("--certificate={}", path("server.pem").display()),
        format!("--private-key={}", path("server.key").display()),
        format!("--ca-cert={}", path("ca.pem").display()),
    ];
    let port = free_port();
    let listener = Listener::bind(Listen::parse("pssl:0:127.0.0.1", Some(&tls)).unwrap()).await.unwrap();
    let (passive, active) =
        (format!("pssl:{port}:127.0.0.1"), format!("ssl:{}", listener.address().unwrap()));
    let _server = Server::start(VSWITCH, &[&passive, &active], &options);
    let target = parse_target(&format!("ssl:localhost:{port}"), Some(&tls)).unwrap();
    use_it(&connect(target, &Options::default()).await).await;
    let incoming = tokio::time::timeout_at(deadline(), listener.accept()).await.unwrap().unwrap();
    let client = incoming.open(Options::default(), deadline()).await.unwrap();
    assert!(client.target().to_string().starts_with("ssl:127.0.0.1:"), "{}", client.target());
    let id = client.read(|replica| replica.vswitch().system_id().map(str::to_owned));
    assert_eq!(id.as_deref(), Some("h1"));
    // Without our certificate nobody answers.
    let plain = Client::connect(
        Target::Tcp("127.0.0.1".to_owned(), port),
        Options::default(),
        Instant::now() + Duration::from_millis(500),
    );
    plain.await.unwrap_err();
}

/// What a switch's agent tells of it: two ports, and an address that it has learned.
async fn a_switch_tells_of_itself(client: &Client) {
    let named = |name: &str| Value::Atom(ofctl::ovsdb::Atom::NamedUuid(name.to_owned()));
    let port = |name: &str| Operation::insert_named("Physical_Port", name, Row::new().with("name", name));
    let switch = Row::new().with("name", "leaf-1").with("tunnel_ips", Value::set(["192.0.2.1"])).with(
        "ports",
        Value::set(["swp1", "swp2"].map(|name| ofctl::ovsdb::Atom::NamedUuid(name.to_owned()))),
    );
    let transaction = Transaction::new()
        .with(port("swp1"))
        .with(port("swp2"))
        .with(Operation::insert_named("Physical_Switch", "leaf", switch))
        .with(Operation::insert("Global", Row::new().with("switches", named("leaf"))));
    client.transact(transaction, deadline()).await.unwrap();
}

/// Builds the plan, carries it out, and gives the number of its operations.
async fn carry_out(client: &Client, plan: &VtepTransaction) -> usize {
    let transaction = client.read(|replica| plan.build(replica)).unwrap();
    let count = transaction.operations().len();
    if count > 0 {
        client.transact(transaction, deadline()).await.unwrap();
    }
    // Once it is as planned, nothing is left to do.
    assert_eq!(client.read(|replica| plan.build(replica)).unwrap(), Transaction::new());
    count
}

#[tokio::test]
async fn a_hardware_switch_is_told_what_should_be() {
    if !can_run() {
        return;
    }
    // The whole schema, where it is installed.
    let installed = "/usr/share/openvswitch/vtep.ovsschema";
    let schema = if Path::new(installed).exists() { installed } else { VTEP };
    let given = std::env::var("VTEP_SCHEMA").unwrap_or_else(|_| schema.to_owned());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("db.sock");
    let server = Server::start(&given, &[&format!("punix:{}", socket.display())], &[]);
    let options =
        Options { database: vtep::DATABASE.to_owned(), tables: vtep::monitored(), ..Options::default() };
    let client = connect(Target::Unix(socket), &options).await;
    a_switch_tells_of_itself(&client).await;

    let mac = "02:00:00:00:00:05".parse().unwrap();
    let [first, second, third] =
        ["192.0.2.7", "192.0.2.8", "192.0.2.9"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let ip = Some("10.0.0.5".parse().unwrap());
    let mut plan = VtepTransaction::new();
    plan.ensure_logical_switch("blue", 5000)
        .ensure_logical_switch("red", 5001)
        .bind("leaf-1", "swp1", 100, "blue")
        .bind("leaf-1", "swp1", 0, "red")
        .bind("leaf-1", "swp2", 100, "blue")
        .remote_mac("blue", mac, first, ip)
        .flood_to("blue", [first, second]);
    assert!(carry_out(&client, &plan).await > 0);
    client.read(|replica| {
        let vtep = Vtep::new(replica);
        let leaf = vtep.physical_switch("leaf-1").unwrap();
        assert_eq!(leaf.tunnel_ips(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        let (blue, red) = (vtep.logical_switch("blue").unwrap(), vtep.logical_switch("red").unwrap());
        assert_eq!((blue.vni(), red.vni()), (Some(5000), Some(5001)));
        let port = vtep.ports(&leaf).find(|port| port.name() == "swp1").unwrap();
        assert_eq!(port.vlan_bindings(), [(0, red.uuid), (100, blue.uuid)].into());
        let remote: Vec<_> = vtep.remote_macs().collect();
        assert_eq!((remote.len(), remote[0].mac, remote[0].ip), (1, mac, ip));
        assert_eq!(vtep.locator(remote[0].locator).unwrap().dst, first);
        let flood = vtep.remote_groups().find(|one| one.logical_switch == blue.uuid).unwrap();
        let copies: BTreeSet<IpAddr> = vtep.locators_of(flood.locator_set).map(|one| one.dst).collect();
        assert_eq!((flood.mac, copies), (None, [first, second].into()));
        // The endpoint that both name is one row.
        assert_eq!(vtep.locators().count(), 2);
    });

    // The address moves, a port is unbound, another endpoint gets copies.
    let mut change = VtepTransaction::new();
    change
        .remote_mac("blue", mac, third, None)
        .unbind("leaf-1", "swp2", 100)
        .bind("leaf-1", "swp1", 100, "red")
        .flood_to("blue", [first, third]);
    carry_out(&client, &change).await;
    client.read(|replica| {
        let vtep = Vtep::new(replica);
        let remote = vtep.remote_macs().next().unwrap();
        assert_eq!((vtep.locator(remote.locator).unwrap().dst, remote.ip), (third, None));
        let red = vtep.logical_switch("red").unwrap().uuid;
        let leaf = vtep.physical_switch("leaf-1").unwrap();
        for port in vtep.ports(&leaf) {
            let wanted = if port.name() == "swp1" { vec![(0, red), (100, red)] } else { Vec::new() };
            assert_eq!(port.vlan_bindings().into_iter().collect::<Vec<_>>(), wanted, "{}", port.name());
        }
    });

    // What a logical switch is told of itself, at first and when it differs.
    let spec = |text| {
        LogicalSwitchSpec::new("red", 5001).description(text).replication_mode(ReplicationMode::SourceNode)
    };
    for text in ["first", "second"] {
        let mut described = VtepTransaction::new();
        described.logical_switch(spec(text));
        assert!(carry_out(&client, &described).await > 0);
        client.read(|replica| {
            let red = Vtep::new(replica).logical_switch("red").unwrap();
            assert_eq!((red.description(), red.vni()), (text, Some(5001)));
            assert_eq!(red.replication_mode(), Some(ReplicationMode::SourceNode));
        });
    }

    // Rows that somebody has made twice become one again.
    let (red, locator) = client.read(|replica| {
        let vtep = Vtep::new(replica);
        (vtep.logical_switch("red").unwrap().uuid, vtep.locators().next().unwrap().uuid)
    });
    let mut doubled = Transaction::new();
    for _ in 0..2 {
        let row =
            Row::new().with("MAC", mac.to_string()).with("logical_switch", red).with("locator", locator);
        doubled.push(Operation::insert(vtep::UCAST_MACS_REMOTE, row));
    }
    client.transact(doubled, deadline()).await.unwrap();
    let of_red = |replica: &ofctl::ovsdb::Replica| {
        Vtep::new(replica).remote_macs().filter(|row| row.logical_switch == red).count()
    };
    assert_eq!(client.read(of_red), 2);
    let mut single = VtepTransaction::new();
    single.remote_mac("red", mac, first, ip);
    carry_out(&client, &single).await;
    assert_eq!(client.read(of_red), 1);
    let mut none = VtepTransaction::new();
    none.remove_remote_mac("red", mac);
    carry_out(&client, &none).await;
    assert_eq!(client.read(of_red), 0);

    // What another writer changes meanwhile makes it fail, and lose nothing.
    let mut stale = VtepTransaction::new();
    stale.bind("leaf-1", "swp2", 7, "blue");
    let late = client.read(|replica| stale.build(replica)).unwrap();
    let mut other = VtepTransaction::new();
    other.bind("leaf-1", "swp2", 8, "red");
    carry_out(&client, &other).await;
    match client.transact(late, deadline()).await {
        Err(ofctl::client::ovsdb::ClientError::Refused(error)) => assert!(error.is_conflict(), "{error}"),
        other => panic!("{other:?}"),
    }

    // A logical switch goes with all that is said of it.
    let mut gone = VtepTransaction::new();
    gone.remove_logical_switch("blue").remove_remote_mac("blue", mac);
    carry_out(&client, &gone).await;
    client.read(|replica| {
        let vtep = Vtep::new(replica);
        let names: Vec<&str> = vtep.logical_switches().map(|one| one.name()).collect();
        assert_eq!((names, vtep.remote_macs().count(), vtep.remote_groups().count()), (vec!["red"], 0, 0));
    });

    let refused = |plan: &mut VtepTransaction| client.read(|replica| plan.build(replica)).unwrap_err();
    let new = VtepTransaction::new;
    assert_eq!(refused(new().flood_to("blue", [first])), VtepError::NoLogicalSwitch("blue".to_owned()));
    assert_eq!(refused(new().ensure_logical_switch("x", 1 << 24)), VtepError::Vni(1 << 24));
    assert_eq!(refused(new().bind("leaf-1", "swp1", 4095, "red")), VtepError::Vlan(4095));
    assert_eq!(
        refused(new().bind("leaf-2", "swp1", 1, "red")),
        VtepError::NoPhysicalSwitch("leaf-2".to_owned())
    );
    assert!(refused(new().bind("leaf-1", "swp9", 1, "red")).to_string().contains("no port swp9"));
    drop(server);
}
