//! The client against a real ovsdb-server and ovs-vswitchd (netdev datapath), in a network namespace and run
//! directory of the test's own. Skipped, saying so, without root or Open vSwitch.
#![cfg(feature = "client")]
// What surrounds the tests panics as they do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ofctl::client::ovsdb::{Client, ClientError, Options, Target};
use ofctl::ovsdb::vswitch::{BridgeSpec, FailMode, PlanError, PortSpec, VswitchTransaction};
use ofctl::ovsdb::{Change, Condition, FailedAt, Mutation, Operation, Row, Transaction, Value};
use tokio::time::Instant;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// One Open vSwitch of its own. Everything of it goes when it is dropped.
struct Switch {
    namespace: String,
    folder: tempfile::TempDir,
    server: Option<Child>,
    vswitchd: Option<Child>,
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn run_ok(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

impl Switch {
    /// A running switch, or none when the machine cannot run one.
    fn start(test: &str) -> Option<Switch> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let reason = if run_ok("id", &["-u"]).trim() != "0" {
            "it needs root, for a network namespace"
        } else if !Path::new(SCHEMA).exists()
            || Command::new("ovs-vswitchd").arg("--version").output().is_err()
        {
            "Open vSwitch (Debian: openvswitch-switch) is not installed"
        } else {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let namespace = format!("ofctl-{}-{number}", std::process::id());
            let folder = tempfile::tempdir().unwrap();
            run_ok("ip", &["netns", "add", &namespace]);
            let mut switch = Switch { namespace, folder, server: None, vswitchd: None };
            let database = switch.path("conf.db");
            run_ok("ovsdb-tool", &["create", database.to_str().unwrap(), SCHEMA]);
            switch.start_server();
            switch.vsctl(&["--no-wait", "init"]);
            switch.vsctl(&[
                "--no-wait",
                "set",
                "Open_vSwitch",
                ".",
                "external_ids:system-id=test-host",
                "ovs_version=3.1.0",
            ]);
            switch.start_vswitchd();
            return Some(switch);
        };
        println!("{test} skipped: {reason}");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn target(&self) -> Target {
        Target::Unix(self.path("db.sock"))
    }

    fn daemon(&self, program: &str, arguments: &[String]) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.namespace, program, "--no-chdir"])
            .args(arguments)
            .env("OVS_RUNDIR", self.folder.path())
            .env("OVS_LOGDIR", self.folder.path())
            .env("OVS_DBDIR", self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn start_server(&mut self) {
        let socket = self.path("db.sock");
        let arguments = [
            self.path("conf.db").display().to_string(),
            format!("--remote=punix:{}", socket.display()),
            format!("--unixctl={}", self.path("server.ctl").display()),
        ];
        self.server = Some(self.daemon("ovsdb-server", &arguments));
        eventually("ovsdb-server listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    fn start_vswitchd(&mut self) {
        let arguments = [
            format!("unix:{}", self.path("db.sock").display()),
            format!("--unixctl={}", self.path("vswitchd.ctl").display()),
        ];
        self.vswitchd = Some(self.daemon("ovs-vswitchd", &arguments));
    }

    fn stop(child: &mut Option<Child>) {
        if let Some(mut child) = child.take() {
            // SIGTERM, so that the daemon removes its socket.
            run("kill", &[&child.id().to_string()]);
            child.wait().unwrap();
        }
    }

    fn vsctl(&self, arguments: &[&str]) -> String {
        let database = format!("--db=unix:{}", self.path("db.sock").display());
        run_ok("ovs-vsctl", &[&[database.as_str(), "--timeout=20"], arguments].concat())
    }

    fn veth(&self, one: &str, other: &str) {
        run_ok("ip", &["-n", &self.namespace, "link", "add", one, "type", "veth", "peer", "name", other]);
    }

    async fn client(&self) -> Client {
        Client::connect(self.target(), Options::default(), soon()).await.unwrap()
    }

    async fn client_with_bridge(&self) -> Client {
        let client = self.client().await;
        let mut plan = VswitchTransaction::new();
        plan.ensure_bridge(BridgeSpec::new("br0").datapath_type("netdev").fail_mode(FailMode::Secure));
        client.apply(plan, soon()).await.unwrap();
        client
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        Switch::stop(&mut self.vswitchd);
        Switch::stop(&mut self.server);
        run("ip", &["netns", "del", &self.namespace]);
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn marked() -> VswitchTransaction {
    let mut plan = VswitchTransaction::new();
    plan.owned_by("owner", "test");
    plan
}

/// A port for a device that exists.
fn device(name: &str) -> VswitchTransaction {
    let mut plan = marked();
    plan.add_port(PortSpec::new("br0", name));
    plan
}

fn internal(name: &str) -> VswitchTransaction {
    let mut plan = marked();
    plan.add_port(PortSpec::new("br0", name).interface_type("internal"));
    plan
}

fn removal(name: &str) -> VswitchTransaction {
    let mut plan = marked();
    plan.remove_port("br0", name);
    plan
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn concurrent_ports_go_together_and_have_numbers() {
    let Some(switch) = Switch::start("concurrent_ports_go_together_and_have_numbers") else { return };
    let names: Vec<String> = (0..50).flat_map(|pair| [format!("va{pair}"), format!("vb{pair}")]).collect();
    for pair in names.chunks(2) {
        switch.veth(&pair[0], &pair[1]);
    }
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        switch.vsctl(&["add-port", "br0", "stranger", "--", "set", "interface", "stranger", "type=internal"]);
        let next_cfg = || client.read(|replica| replica.vswitch().next_cfg());
        let before = next_cfg();
        let began = Instant::now();
        let adds: Vec<_> = names
            .iter()
            .map(|name| {
                let (client, name) = (client.clone(), name.clone());
                tokio::spawn(async move {
                    client.apply(device(&name), soon()).await.unwrap().ofport(&name).unwrap()
                })
            })
            .collect();
        let mut ofports = Vec::new();
        for add in adds {
            ofports.push(add.await.unwrap());
        }
        let (commits, took) = (next_cfg() - before, began.elapsed());
        println!("100 ports by 100 callers: {commits} transactions, {took:?}");
        assert!(commits <= 25, "100 concurrent ports took {commits} transactions");
        assert_eq!(ofports.iter().collect::<BTreeSet<_>>().len(), 100, "each port has a number of its own");
        for (name, ofport) in names.iter().zip(&ofports) {
            assert_eq!(switch.vsctl(&["get", "interface", name, "ofport"]).trim(), ofport.to_string());
        }

        // By many callers too; the rows of the ports and of their interfaces go with them.
        let removals: Vec<_> = names
            .iter()
            .map(|name| {
                let (client, plan) = (client.clone(), removal(name));
                tokio::spawn(async move { client.apply(plan, soon()).await.unwrap() })
            })
            .collect();
        for removal in removals {
            removal.await.unwrap();
        }
        assert_eq!(words(&switch.vsctl(&["list-ports", "br0"])), words("stranger"));
        let interfaces = words(&switch.vsctl(&["--bare", "--columns=name", "list", "interface"]));
        assert_eq!(interfaces, words("br0 stranger"));
        assert!(client.read(|replica| names.iter().all(|name| replica.vswitch().interface(name).is_none())));
    });
}

/// What one caller pays, one port after another; the bound is far off so that a busy machine keeps it.
#[test]
fn one_port_takes_milliseconds() {
    let Some(switch) = Switch::start("one_port_takes_milliseconds") else { return };
    for pair in 0..20 {
        switch.veth(&format!("va{pair}"), &format!("vb{pair}"));
    }
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        let mut times = Vec::new();
        for name in (0..20).flat_map(|pair| [format!("va{pair}"), format!("vb{pair}")]) {
            let began = Instant::now();
            client.apply(device(&name), soon()).await.unwrap().ofport(&name).unwrap();
            times.push(began.elapsed());
        }
        times.sort();
        println!("one port at a time: median {:?}, slowest {:?} of {}", times[20], times[39], times.len());
        assert!(times[20] < Duration::from_millis(250), "{times:?}");
    });
}

#[test]
fn a_bridge_and_its_ports_are_as_planned() {
    let Some(switch) = Switch::start("a_bridge_and_its_ports_are_as_planned") else { return };
    runtime().block_on(async {
        let client = switch.client().await;
        let vxlan = || PortSpec::new("br0", "vx0").interface_type("vxlan").option("remote_ip", "flow");
        let mut plan = marked();
        plan.comment("made by a test")
            .ensure_bridge(
                BridgeSpec::new("br0")
                    .datapath_type("netdev")
                    .fail_mode(FailMode::Secure)
                    .external_id("purpose", "test")
                    .other_config("hwaddr", "02:00:00:00:00:17"),
            )
            .add_port(vxlan().option("key", "flow"))
            .add_port(
                PortSpec::new("br0", "in0")
                    .interface_type("internal")
                    .ofport_request(77)
                    .mtu_request(1400)
                    .trunks([5, 7]),
            );
        let applied = client.apply(plan.clone(), soon()).await.unwrap();
        assert_eq!(applied.ofport("in0").unwrap(), 77);
        assert!(applied.ofport("vx0").is_ok());
        let vsctl = |arguments: &str| switch.vsctl(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!(words(&vsctl("list-ports br0")), words("in0 vx0"));
        assert_eq!(vsctl("get bridge br0 fail_mode external_ids"), "secure\n{owner=test, purpose=test}\n");
        assert_eq!(vsctl("get port in0 trunks external_ids"), "[5, 7]\n{owner=test}\n");
        let interface = client
            .wait_for("the MTU of in0", soon(), |replica| {
                replica.vswitch().interface("in0").filter(|interface| interface.mtu == Some(1400))
            })
            .await
            .unwrap();
        assert_eq!((interface.interface_type.as_str(), interface.ofport), ("internal", Some(77)));
        assert!(interface.mac_in_use.is_some());
        client.read(|replica| {
            let vswitch = replica.vswitch();
            assert_eq!(vswitch.system_id(), Some("test-host"));
            assert!(vswitch.datapath_types().contains(&"netdev"));
            assert_eq!(vswitch.ovs_version(), Some("3.1.0"));
            assert_eq!(vswitch.bridges().map(|bridge| bridge.name()).collect::<Vec<_>>(), ["br0"]);
            let bridge = vswitch.bridge("br0").unwrap();
            assert_eq!(bridge.fail_mode(), Some(FailMode::Secure));
            assert_eq!(bridge.datapath_id(), Some("0000020000000017"));
            let ports: BTreeSet<&str> = vswitch.ports(&bridge).map(|port| port.name()).collect();
            assert_eq!(ports, BTreeSet::from(["br0", "in0", "vx0"]));
        });

        // The same again is nothing; another spec is an update that leaves the keys of others.
        assert!(client.read(|replica| plan.build(replica)).unwrap().is_empty());
        vsctl("set interface vx0 external_ids:theirs=t");
        let mut update = marked();
        update.update_port(vxlan().external_id("step", "two"));
        client.apply(update, soon()).await.unwrap();
        assert_eq!(
            vsctl("get interface vx0 options external_ids"),
            "{remote_ip=flow}\n{owner=test, step=two, theirs=t}\n"
        );

        let mut gone = marked();
        gone.remove_bridge("br0");
        client.apply(gone, soon()).await.unwrap();
        assert_eq!(vsctl("list-br"), "");
        assert_eq!(vsctl("--bare --columns=name list interface"), "");
    });
}

#[test]
fn what_others_made_is_left_alone() {
    let Some(switch) = Switch::start("what_others_made_is_left_alone") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        switch.vsctl(&["add-port", "br0", "theirs", "--", "set", "interface", "theirs", "type=internal"]);
        client
            .wait_for("theirs", soon(), |replica| replica.vswitch().port("theirs").map(drop))
            .await
            .unwrap();
        for plan in [device("theirs"), removal("theirs")] {
            let error = client.apply(plan, soon()).await.unwrap_err();
            assert!(matches!(error, ClientError::Plan(PlanError::Foreign { kind: "port", .. })), "{error}");
        }
        assert_eq!(words(&switch.vsctl(&["list-ports", "br0"])), words("theirs"));
        let mut elsewhere = VswitchTransaction::new();
        elsewhere.add_port(PortSpec::new("br9", "p9"));
        let error = client.apply(elsewhere, soon()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "port p9 wants bridge br9, which does not exist: create the bridge first"
        );
    });
}

/// ovs-vsctl and plans change one bridge's ports at the same time, and each keeps its own.
#[test]
fn concurrent_writers_lose_no_port() {
    let Some(switch) = Switch::start("concurrent_writers_lose_no_port") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        let ours = {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..40 {
                    client.apply(internal(&format!("our{number}")), soon()).await.unwrap();
                }
            })
        };
        for number in 0..20 {
            let name = format!("their{number}");
            switch.vsctl(&[
                "--no-wait",
                "add-port",
                "br0",
                &name,
                "--",
                "set",
                "interface",
                &name,
                "type=internal",
            ]);
        }
        ours.await.unwrap();
        let mut wanted: BTreeSet<String> = (0..40).map(|number| format!("our{number}")).collect();
        wanted.extend((0..20).map(|number| format!("their{number}")));
        assert_eq!(words(&switch.vsctl(&["list-ports", "br0"])), wanted);

        // Two clients that want one port: one makes it, the other finds it there.
        let second = switch.client().await;
        for number in 0..10 {
            let name = format!("both{number}");
            let (one, other) =
                tokio::join!(client.apply(internal(&name), soon()), second.apply(internal(&name), soon()));
            assert_eq!(one.unwrap().ofport(&name).unwrap(), other.unwrap().ofport(&name).unwrap());
        }
    });
}

/// A plan built from a replica that is out of date is a conflict, and not a lost bridge or port.
#[test]
fn a_stale_plan_is_a_conflict() {
    let Some(switch) = Switch::start("a_stale_plan_is_a_conflict") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        let stale = client.read(Clone::clone);
        client.apply(internal("in0"), soon()).await.unwrap();
        let again = internal("in0").build(&stale).unwrap();
        let Err(ClientError::Refused(error)) = client.transact(again, soon()).await else {
            panic!("not refused")
        };
        assert!(error.is_conflict(), "{error}");
        assert!(matches!(error.at, FailedAt::Operation { .. }), "{error}");
        switch.vsctl(&["del-br", "br0"]);
        let orphan = internal("in1").build(&stale).unwrap();
        let Err(ClientError::Refused(error)) = client.transact(orphan, soon()).await else {
            panic!("not refused")
        };
        assert!(error.is_conflict(), "{error}");
    });
}

#[test]
fn a_port_without_a_device_says_so() {
    let Some(switch) = Switch::start("a_port_without_a_device_says_so") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        let (bad, good) =
            tokio::join!(client.apply(device("absent0"), soon()), client.apply(internal("in0"), soon()));
        assert!(good.unwrap().ofport("in0").is_ok());
        let error = bad.unwrap().ofport("absent0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "ovs-vswitchd could not make port absent0: could not open network device absent0 (No such device)"
        );
    });
}

/// One refused plan among many does not spoil the others.
#[test]
fn a_refused_plan_fails_alone() {
    let Some(switch) = Switch::start("a_refused_plan_fails_alone") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        let callers: Vec<_> = (0..10)
            .map(|number| {
                let mut spec = PortSpec::new("br0", format!("in{number}")).interface_type("internal");
                // Not a VLAN: the schema's range is 0 to 4,095.
                spec.tag = (number == 5).then_some(5000);
                let mut plan = VswitchTransaction::new();
                plan.add_port(spec);
                let client = client.clone();
                tokio::spawn(async move { client.apply(plan, soon()).await })
            })
            .collect();
        for (number, caller) in callers.into_iter().enumerate() {
            match (number, caller.await.unwrap()) {
                (5, Err(ClientError::Refused(error))) => assert_eq!(error.error, "constraint violation"),
                (5, other) => panic!("the bad port: {other:?}"),
                (_, other) => assert!(other.unwrap().ofport(&format!("in{number}")).is_ok()),
            }
        }
    });
}

#[test]
fn a_subscription_says_each_row_once() {
    let Some(switch) = Switch::start("a_subscription_says_each_row_once") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        let mut changes = client.subscribe();
        client.apply(internal("in0"), soon()).await.unwrap();
        let seen = changes.next().await.unwrap();
        let rows: BTreeSet<_> = seen.iter().map(|change| (&change.table, change.uuid)).collect();
        assert_eq!(rows.len(), seen.len(), "{seen:?}");
        let named = |table: &str, name: &str| {
            let of_name = |change: &&Change| {
                &*change.table == table
                    && change.new.as_ref().is_some_and(|row| row.str("name") == Some(name))
            };
            seen.iter().find(of_name).unwrap_or_else(|| panic!("no {name} in {seen:?}"))
        };
        let interface = named("Interface", "in0");
        assert!(interface.old.is_none());
        let ofport = interface.new.as_ref().unwrap().integer("ofport");
        assert!(ofport.is_some(), "the number came later and is one change with the row");
        let bridge = named("Bridge", "br0");
        assert!(bridge.old.is_some() && bridge.touches("ports") && !bridge.touches("name"));
    });
}

#[test]
fn a_stopped_vswitchd_is_named() {
    let Some(mut switch) = Switch::start("a_stopped_vswitchd_is_named") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        Switch::stop(&mut switch.vswitchd);
        let error =
            client.apply(internal("in0"), Instant::now() + Duration::from_millis(300)).await.unwrap_err();
        assert!(
            matches!(error, ClientError::NotInEffect { next_cfg, cur_cfg } if next_cfg > cur_cfg),
            "{error}"
        );
        assert!(error.to_string().contains("is ovs-vswitchd running?"), "{error}");
        let comment = Transaction::new().with(Operation::comment("nothing"));
        let deadline = Instant::now() + Duration::from_millis(300);
        let error = client.transact_and_wait(comment, deadline).await.unwrap_err();
        assert!(matches!(error, ClientError::NotInEffect { .. }), "{error}");
        // Back again, it does what the database says.
        switch.start_vswitchd();
        assert!(client.apply(internal("in0"), soon()).await.unwrap().ofport("in0").is_ok());
    });
}

#[test]
fn a_restart_of_the_server_is_seen() {
    let Some(mut switch) = Switch::start("a_restart_of_the_server_is_seen") else { return };
    runtime().block_on(async {
        let client = switch.client_with_bridge().await;
        let mut changes = client.subscribe();
        let closed = {
            let client = client.clone();
            tokio::spawn(async move { client.closed().await })
        };
        Switch::stop(&mut switch.server);
        let error = closed.await.unwrap();
        assert!(error.to_string().ends_with("has ended: ovsdb-server closed the connection"), "{error}");
        let error = loop {
            if let Err(error) = changes.next().await {
                break error;
            }
        };
        assert!(matches!(error, ClientError::Closed { .. }), "{error}");
        assert!(matches!(client.apply(internal("in0"), soon()).await, Err(ClientError::Closed { .. })));
        assert!(matches!(client.transact(Transaction::new(), soon()).await, Err(ClientError::Closed { .. })));

        let error =
            Client::connect(switch.target(), Options::default(), soon()).await.unwrap_err().to_string();
        assert!(error.contains("is openvswitch-switch running?") && error.contains("ovs-rundir"), "{error}");
        assert!(error.contains("db.sock"), "{error}");
        switch.start_server();
        let client = switch.client().await;
        assert!(client.read(|replica| replica.vswitch().bridge("br0").is_some()), "the database is a file");
        assert!(client.apply(internal("in0"), soon()).await.unwrap().ofport("in0").is_ok());
    });
}

#[test]
fn every_operation_is_answered() {
    let Some(switch) = Switch::start("every_operation_is_answered") else { return };
    runtime().block_on(async {
        let client = switch.client().await;
        let root = client.read(|replica| replica.vswitch().root().unwrap().0);
        let no_bridges = Row::new().with("bridges", Value::empty());
        let transaction = Transaction::new()
            .with(Operation::require("Open_vSwitch", Condition::row(root), no_bridges))
            .with(Operation::insert("Bridge", Row::new().with("name", "b")))
            .with(Operation::update("Open_vSwitch", root, Row::new().with("system_type", "test")))
            .with(Operation::mutate(
                "Open_vSwitch",
                root,
                vec![Mutation::insert("external_ids", Value::map([("k", "v")]))],
            ))
            .with(Operation::select("Open_vSwitch", Condition::row(root), &["system_type", "external_ids"]))
            .with(Operation::delete("Flow_Table", root))
            .with(Operation::Commit { durable: true });
        let results = client.transact(transaction, soon()).await.unwrap();
        assert!(results[1].uuid().is_some());
        assert_eq!((results[2].count, results[3].count, results[5].count), (Some(1), Some(1), Some(0)));
        assert_eq!(results[4].rows[0].str("system_type"), Some("test"));
        assert_eq!(results[4].rows[0].map_str("external_ids", "system-id"), Some("test-host"));
        // The replica has it when the answer is here.
        client.read(|replica| {
            let (_, row) = replica.vswitch().root().unwrap();
            assert_eq!(row.map_str("external_ids", "k"), Some("v"));
        });

        let wrong =
            Transaction::new().with(Operation::comment("x")).with(Operation::insert("Nope", Row::new()));
        let Err(ClientError::Refused(error)) = client.transact(wrong, soon()).await else {
            panic!("not refused")
        };
        assert_eq!(error.at, FailedAt::Operation { index: 1, operation: "insert on Nope".into() });
        assert!(error.details.unwrap().contains("No table named Nope"));

        let missing = Options { database: "Nope".into(), ..Options::default() };
        let error = Client::connect(switch.target(), missing, soon()).await.unwrap_err();
        assert!(matches!(error, ClientError::Monitor { .. }), "{error}");
    });
}
