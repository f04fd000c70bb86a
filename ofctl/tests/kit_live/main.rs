//! The kit's applications on a real Open vSwitch with real hosts in network namespaces.
//!
//! Skipped, with the reason printed, where this is not root or a tool is not installed.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::{Host, Lab};
use ofctl::client::controller::{Controller, Options};
use ofctl::client::{Listen, Target, Tls};
use ofctl::kit::apps::{Hub, IsolatedSwitch, LearningSwitch, PortGroup, SelfLearningSwitch};
use ofctl::kit::{Application, DatapathId, Effects, Event};
use ofctl::wire::{OfPort, Role, RoleRequest};

/// An application, and how many packets it was asked about.
struct Counted<A> {
    application: A,
    packets: usize,
    errors: Vec<String>,
}

impl<A: Application> Application for Counted<A> {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<A::Notice> {
        self.packets += usize::from(matches!(event, Event::PacketIn(..)));
        if let Event::Error(switch, error) = event {
            self.errors.push(format!("{switch}: {}", error.error));
        }
        self.application.handle(now, event)
    }
}

/// A bridge with hosts 10.0.0.1 and so on at its ports 1 to `n`, run by an application.
struct Star<A: Application> {
    controller: Controller<Counted<A>>,
    hosts: Vec<Host>,
    lab: Lab,
}

impl<A: Application<Notice: Send> + Send + 'static> Star<A> {
    async fn start(application: A, n: u32) -> Option<Self> {
        let mut lab = Lab::start()?;
        let target = lab.bridge("br0", 1);
        let hosts = (1..=n).map(|port| lab.host("br0", port, &format!("10.0.0.{port}/24"))).collect();
        let counted = Counted { application, packets: 0, errors: Vec::new() };
        let controller = Controller::start(counted, Options::default());
        controller.connect(target).await.unwrap();
        wait_for_switch(&controller).await;
        Some(Star { controller, hosts, lab })
    }

    /// Pings between all hosts for which `allowed` says so, and no others.
    async fn check(&self, allowed: impl Fn(usize, usize) -> bool) {
        for from in 1..=self.hosts.len() {
            for to in (1..=self.hosts.len()).filter(|to| *to != from) {
                let host = &self.hosts[from - 1];
                let address = format!("10.0.0.{to}");
                // The controller goes on meanwhile on another thread.
                if allowed(from, to) {
                    let pings = tokio::task::block_in_place(|| host.pings(&address));
                    assert!(pings, "{from} to {to}: {}", self.lab.ofctl("dump-flows", "br0", ""));
                } else {
                    let cut_off = tokio::task::block_in_place(|| host.is_cut_off_from(&address));
                    assert!(cut_off, "{from} to {to}: {}", self.lab.ofctl("dump-flows", "br0", ""));
                }
            }
        }
    }

    fn has_flows(&self) -> bool {
        self.lab.try_ofctl("dump-flows", "br0").is_some_and(|flows| flows.contains("CONTROLLER"))
    }

    async fn packets(&self) -> usize {
        self.controller.inspect(|counted| counted.packets).await.unwrap()
    }

    async fn stop(self) -> A {
        let counted = self.controller.stop().await.unwrap();
        assert!(counted.errors.is_empty(), "{:?}", counted.errors);
        counted.application
    }
}

async fn wait_for_switch<A: Application + Send + 'static>(controller: &Controller<A>) {
    let connected = async {
        while controller.switches().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What the application says first is carried out.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::time::timeout(Duration::from_secs(20), connected)
        .await
        .expect("the bridge should be there by now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_on_a_hub_reach_each_other() {
    let Some(star) = Star::start(Hub, 3).await else { return };
    star.check(|_, _| true).await;
    // Each packet of each ping came by here: two ways, at least a request and an answer.
    assert!(star.packets().await >= 6 * 3 * 2);
    star.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_on_a_learning_switch_reach_each_other_and_soon_without_the_controller() {
    let Some(star) = Star::start(LearningSwitch::default(), 3).await else { return };
    star.check(|_, _| true).await;
    let learned = star.packets().await;
    let flows = star.lab.ofctl("dump-flows", "br0", "--no-stats");
    // ARP of a host at once to another is answered by unicast: one flow for each direction of three pairs.
    assert_eq!(flows.lines().filter(|line| line.contains("dl_dst")).count(), 6, "{flows}");
    let pings = tokio::task::block_in_place(|| star.hosts[0].run("ping -n -q -c 20 -i 0.01 10.0.0.2"));
    assert!(pings.contains(" 0% packet loss"), "{pings}");
    assert!(star.packets().await <= learned + 1, "flows carry what is known");
    let learning = star.stop().await;
    let port = learning.port_of(DatapathId(1), "02:00:00:00:02:02".parse().unwrap());
    assert_eq!(port, Some(OfPort(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_on_a_switch_that_learns_by_itself_reach_each_other_without_the_controller() {
    let Some(star) = Star::start(SelfLearningSwitch, 3).await else { return };
    star.check(|_, _| true).await;
    let flows = star.lab.ofctl("dump-flows", "br0", "--no-stats");
    assert_eq!(
        flows.lines().filter(|line| line.contains("table=1,") && line.contains("dl_dst=")).count(),
        3,
        "{flows}"
    );
    assert_eq!(star.packets().await, 0);
    star.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_groups_are_kept_apart_by_the_tables_alone() {
    let group = |number| PortGroup::new(number).unwrap();
    let isolated = IsolatedSwitch::default().group(DatapathId(1), group(1), [OfPort(1), OfPort(2)]).group(
        DatapathId(1),
        group(2),
        [OfPort(3), OfPort(4)],
    );
    let Some(star) = Star::start(isolated, 5).await else { return };
    star.check(|from, to| from == 5 || to == 5 || (from - 1) / 2 == (to - 1) / 2).await;
    assert_eq!(star.packets().await, 0);
    star.stop().await;
}

/// Runs a test once more inside the switches' namespace, where they can reach it by TCP.
fn again_inside(lab: &Lab, test: &str) {
    let program = std::env::current_exe().unwrap();
    let mut command = lab.inside(&program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, lab.folder());
    let status = tokio::task::block_in_place(|| command.status().unwrap());
    assert!(status.success(), "it failed inside of the namespace");
}

/// The folder of the lab that the process runs in.
const INSIDE: &str = "KIT_LIVE_INSIDE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_are_reached_and_come_by_tcp_and_tls() {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return inside_tcp_and_tls(Path::new(&folder)).await;
    }
    let Some(lab) = Lab::start() else { return };
    if !certificates(lab.folder()) {
        eprintln!("SKIPPED: openssl is not installed");
        return;
    }
    let file = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    lab.vsctl(&format!("set-ssl {} {} {}", file("switch.key"), file("switch.pem"), file("ca.pem")));
    let ways = ["ptcp:6654:127.0.0.1", "pssl:6655:127.0.0.1", "tcp:127.0.0.1:6656", "ssl:127.0.0.1:6657"];
    for (number, way) in (1..).zip(ways) {
        lab.bridge(&format!("br{number}"), number);
        lab.vsctl(&format!("set-controller br{number} {way}"));
    }
    again_inside(&lab, "switches_are_reached_and_come_by_tcp_and_tls");
}

/// An authority, and a certificate of it for the controller and for the switch; `false` without openssl.
fn certificates(folder: &Path) -> bool {
    let key = "-newkey rsa:2048 -nodes";
    let mut commands =
        vec![format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2")];
    std::fs::write(folder.join("v3.cnf"), "basicConstraints=CA:FALSE\n").unwrap();
    for name in ["controller", "switch"] {
        commands.push(format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        commands.push(format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile v3.cnf -out {name}.pem"
        ));
    }
    commands.iter().all(|command| {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(folder).args(command.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
        openssl.status().is_ok_and(|status| status.success())
    })
}

async fn inside_tcp_and_tls(folder: &Path) {
    let file = |name: &str| folder.join(name);
    let tls = Tls::from_files(&file("controller.pem"), &file("controller.key"), &file("ca.pem")).unwrap();
    let controller = Controller::start(Hub, Options::default());
    for target in ["tcp:127.0.0.1:6654", "ssl:127.0.0.1:6655"] {
        controller.connect(Target::parse(target, Some(&tls)).unwrap()).await.unwrap();
    }
    for place in ["ptcp:6656:127.0.0.1", "pssl:6657:127.0.0.1"] {
        controller.listen(Listen::parse(place, Some(&tls)).unwrap()).await.unwrap();
    }
    let all = async {
        while controller.switches().await.unwrap().len() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The hub's flow goes into each, over each way.
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), all).await;
    assert!(in_time.is_ok(), "{:?}", controller.switches().await);
    let mut peers: Vec<(u64, String)> = Vec::new();
    for status in controller.switches().await.unwrap() {
        let method = status.peer.split(':').next().unwrap().to_owned();
        peers.push((status.switch.0, method));
        let socket = format!("unix:{}", file(&format!("br{}.mgmt", status.switch.0)).display());
        let flows =
            Command::new("ovs-ofctl").args(["-O", "OpenFlow13", "dump-flows", &socket]).output().unwrap();
        let flows = String::from_utf8(flows.stdout).unwrap();
        assert!(flows.contains("actions=CONTROLLER:65535"), "{}: {flows}", status.switch);
    }
    peers.sort();
    let wanted = [(1, "tcp"), (2, "ssl"), (3, "tcp"), (4, "ssl")];
    assert_eq!(peers, wanted.map(|(number, method)| (number, method.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_controllers_the_primary_alone_runs_the_switch_until_the_other_takes_over() {
    let role =
        |role, generation| Options { role: Some(RoleRequest { role, generation }), ..Options::default() };
    let Some(mut lab) = Lab::start() else { return };
    let target = lab.bridge("br0", 1);
    let hosts: Vec<Host> = (1..=3).map(|port| lab.host("br0", port, &format!("10.0.0.{port}/24"))).collect();
    let start = async |options| {
        let counted = Counted { application: LearningSwitch::default(), packets: 0, errors: Vec::new() };
        let controller = Controller::start(counted, options);
        controller.connect(target.clone()).await.unwrap();
        wait_for_switch(&controller).await;
        controller
    };
    let first = start(role(Role::Primary, 1)).await;
    let second = start(role(Role::Secondary, 1)).await;
    let packets = async |controller: &Controller<Counted<LearningSwitch>>| {
        controller.inspect(|counted| counted.packets).await.unwrap()
    };
    let errors = async |controller: &Controller<Counted<LearningSwitch>>| {
        controller.inspect(|counted| counted.errors.clone()).await.unwrap()
    };
    let pings = |from: usize, to: &str| tokio::task::block_in_place(|| hosts[from].pings(to));
    assert!(pings(0, "10.0.0.2"));
    assert!(packets(&first).await > 0);
    assert_eq!(packets(&second).await, 0);
    // A secondary changes nothing: what its application said at first was refused.
    let refused = errors(&second).await;
    assert!(!refused.is_empty() && refused.iter().all(|error| error.contains("OFPBRC_IS_S")), "{refused:?}");
    assert!(errors(&first).await.is_empty());

    second.set_role(Role::Primary, 2).await.unwrap();
    // The new primary is asked about hosts that nobody knows yet.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = packets(&first).await;
    assert!(pings(2, "10.0.0.1"));
    assert_eq!(packets(&first).await, before);
    assert!(packets(&second).await > 0);
    // The first does not get it back by an election that is over.
    first.set_role(Role::Primary, 1).await.unwrap();
    let stale = async {
        while !errors(&first).await.iter().any(|error| error.contains("OFPRRFC_STALE")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stale).await.expect("it should have been refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_is_restarted_is_run_again() {
    let Some(mut star) = Star::start(LearningSwitch::default(), 2).await else { return };
    star.check(|_, _| true).await;
    star.lab.restart_vswitchd();
    let again = async {
        while !star.lab.path("br0.mgmt").exists() || !star.has_flows() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("its flows should be there again");
    star.check(|_, _| true).await;
    star.stop().await;
}
