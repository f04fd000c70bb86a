//! What attaching a container costs, beside Docker's other drivers on the same engine: prints tables.
//!
//!     cargo bench --bench attach_cost                all
//!     cargo bench --bench attach_cost -- api         docker network connect by the Engine API alone
//!     cargo bench --bench attach_cost -- command     the same by the docker command alone
//!     cargo bench --bench attach_cost -- agent       the second part alone
//!
//! Hosts of the live tests' lab, each with a real dockerd and an Open vSwitch on the userspace datapath: one whose
//! agent is on etcd, one whose agent is on the embedded store, and one with OVN and its Docker overlay driver in
//! place of an agent, for both want br-int. All have Docker's bridge and macvlan, so that every driver has its
//! measure beside it on its own engine.
//!
//! The first part measures `docker network connect`: as the Engine API's call, from request to reply, so that the
//! start of the docker command does not count; and as the docker command, from start to end, as a person waits for
//! it. The drivers take turns within every round, and in every second one in reverse, so that a busy machine and what a
//! turn leaves behind disturb all of them alike; what each takes more than the bridge of its own engine is told by the
//! differences within the rounds. The second part measures the agent by itself, and tells what processor time it and ovs-vswitchd had, which a busy machine hardly
//! changes.
//!
//! Beside them stands a remote driver that does nothing but make a link, with Docker's IPAM and as an IPAM driver
//! that only counts: the floor of every remote driver, and of every one that gives the addresses too.
//!
//! OVN's driver is Debian 12's, which as packaged does not start: it takes bytes for text, and its networks of global
//! scope are refused by a dockerd without a cluster store. A copy with these two things changed runs here (see
//! `ovn.rs`). Without its packages the bench says what to install and goes on. Its Join answers once the switch has
//! the port; the flows come later, while sluice's Join answers when they are there.
//!
//! All files are in memory (tmpfs), dockerd's and etcd's too. On a disk, CreateEndpoint costs one fsync more: see
//! `cargo bench --bench ledger`.
//!
//! Needs root and what the live tests need, and says so where something is missing.

#![allow(unreachable_pub, reason = "the lab is a module of this bench")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

mod docker_command;
mod engine_api;
#[path = "../../tests/lab/mod.rs"]
mod lab;
mod null_driver;
mod ovn;

use docker_command::DockerCommand;
use engine_api::EngineApi;
use lab::{Attach, DockerNetwork, Host, Joined, NetworkSpec, PATIENCE, Plan, Store, eventually};
use ovn::Ovn;

/// What an argument can choose.
const PARTS: [&str; 3] = ["api", "command", "agent"];
/// The containers that come and go: one that has another network, and one that has none.
const CONTAINERS: [&str; 2] = ["second", "only"];
/// The network of Docker's bridge driver.
const BRIDGE: &str = "bridged";
/// Measurements of each driver.
const ROUNDS: usize = 25;
/// Of the docker command: what it takes itself differs from one start to the next.
const COMMAND_ROUNDS: usize = 40;
/// What a detachment has left to do in the background must not fall into the next driver's time.
const SETTLE: Duration = Duration::from_millis(150);
/// Endpoints on the host while the agent alone is measured.
const STANDING: usize = 20;
const FLOOD: usize = 300;
const CALLERS: usize = 16;
/// The first and the last so many of a flood are compared.
const EDGE: usize = 30;

/// Durations of one kind.
#[derive(Debug, Default)]
struct Sample(Vec<Duration>);

impl Sample {
    fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn print(&self, what: &str) {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let least = self.0.iter().min().copied().unwrap_or_default();
        let most = self.0.iter().max().copied().unwrap_or_default();
        println!(
            "{what:<94} {:>8.1} {:>8.1} {:>8.1} {:>5}",
            millis(self.median()),
            millis(least),
            millis(most),
            self.0.len()
        );
    }
}

/// What one subject took more than another in the same rounds, in ms: the median, and an interval that has it with at
/// least 95 % (by order statistics: the binomial distribution's normal approximation, n >= 20).
fn print_difference(what: &str, sample: &Sample, bridge: &Sample) {
    let millis = |time: &Duration| time.as_secs_f64() * 1e3;
    let pairs = sample.0.iter().zip(&bridge.0);
    let mut differences: Vec<f64> = pairs.map(|(one, other)| millis(one) - millis(other)).collect();
    differences.sort_by(f64::total_cmp);
    let count = differences.len();
    let reach = (0.98 * (count as f64).sqrt()).ceil() as usize;
    let (low, high) = ((count / 2).saturating_sub(reach), (count / 2 + reach).min(count - 1));
    println!(
        "{what:<94} {:>+8.1} {:>+8.1} {:>+8.1} {count:>5}",
        differences[count / 2],
        differences[low],
        differences[high]
    );
}

fn heading(what: &str) {
    println!("\n{what:<94} {:>8} {:>8} {:>8} {:>5}", "median", "min", "max", "n");
}

/// A way to ask dockerd. Its methods tell how long it took until the answer was there.
trait Client {
    /// Connects a container to a network.
    fn connect(&self, network: &str, container: &str) -> Duration;
    /// Takes a container from a network.
    fn disconnect(&self, network: &str, container: &str) -> Duration;
}

/// A Docker network of one driver, on one engine, and how one asks that engine.
struct Subject<'s> {
    client: &'s dyn Client,
    host: &'s Host,
    network: &'static str,
    container: &'static str,
    what: String,
    connect: Sample,
    disconnect: Sample,
}

/// A host with its networks, each with what the tables call it.
struct Stand<'l> {
    host: &'l Host,
    networks: Vec<(&'static str, String)>,
}

fn main() {
    // `cargo test --benches` runs this too, and it is no test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("load average at the start: {}", load());
    let named: Vec<String> = std::env::args().filter(|argument| PARTS.contains(&argument.as_str())).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if wanted("api") || wanted("command") {
        let start = |store| Plan::hosts(1).store(store).docker().start();
        let (Some(etcd), Some(embedded)) = (start(Store::Etcd), start(Store::Embedded)) else { return };
        let mut stands = vec![sluice(etcd.host(1), "etcd"), sluice(embedded.host(1), "embedded store")];
        let lab;
        let _ovn = match ovn::adapted_driver() {
            Ok(driver) => {
                let Some(started) = Plan::hosts(1).without_agents().docker().start() else { return };
                lab = started;
                let ovn = Ovn::start(lab.host(1), &driver);
                stands.push(overlay(lab.host(1)));
                Some(ovn)
            }
            Err(why) => {
                println!("without OVN's Docker driver: {why}");
                None
            }
        };
        if wanted("api") {
            connect_by_api(&stands);
        }
        if wanted("command") {
            connect_by_command(&stands);
        }
    }
    if wanted("agent") {
        for (store, name) in [(Store::Embedded, "embedded store"), (Store::Etcd, "etcd")] {
            let Some(lab) = Plan::hosts(1).store(store).start() else { return };
            agent(lab.host(1), name);
        }
    }
    println!("\nload average at the end: {}", load());
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

fn socket(stand: &Stand<'_>) -> std::path::PathBuf {
    stand.host.seen("/run/docker.sock")
}

/// `docker network connect`, driver by driver, as the Engine API's call.
fn connect_by_api(stands: &[Stand<'_>]) {
    let apis: Vec<EngineApi> = stands.iter().map(|stand| EngineApi::new(socket(stand))).collect();
    let mut subjects = Vec::new();
    for (stand, api) in stands.iter().zip(&apis) {
        for container in CONTAINERS {
            subjects.extend(stand.subjects(api, container));
        }
    }
    take_turns(&mut subjects, ROUNDS);
    heading("docker network connect, Engine API, ms");
    subjects.iter().for_each(|subject| subject.connect.print(&subject.what));
    differences(&subjects);
    heading("docker network disconnect, Engine API, ms");
    subjects.iter().for_each(|subject| subject.disconnect.print(&subject.what));
}

/// `docker network connect`, driver by driver, as the docker command.
fn connect_by_command(stands: &[Stand<'_>]) {
    let commands: Vec<DockerCommand> = stands.iter().map(|stand| DockerCommand::new(socket(stand))).collect();
    let both = stands.iter().zip(&commands);
    let mut subjects: Vec<Subject<'_>> =
        both.flat_map(|(stand, command)| stand.subjects(command, "second")).collect();
    take_turns(&mut subjects, COMMAND_ROUNDS);
    heading("docker network connect, the docker command from start to end, ms");
    subjects.iter().for_each(|subject| subject.connect.print(&subject.what));
    differences(&subjects);
}

/// What connecting took more than to the bridge network of the same engine.
fn differences(subjects: &[Subject<'_>]) {
    println!(
        "\n{:<94} {:>8} {:>8} {:>8} {:>5}",
        "more than the same engine's bridge, ms", "median", "from", "to", "n"
    );
    for subject in subjects.iter().filter(|subject| subject.network != BRIDGE) {
        let is_its_bridge = |other: &&Subject<'_>| {
            other.network == BRIDGE
                && other.container == subject.container
                && std::ptr::eq(other.host, subject.host)
        };
        let bridge = subjects.iter().find(is_its_bridge).expect("every stand has a bridge network");
        print_difference(&subject.what, &subject.connect, &bridge.connect);
    }
}

/// One connection and one disconnection of every subject, then the next round.
fn take_turns(subjects: &mut [Subject<'_>], rounds: usize) {
    // The first round is not counted: dockerd makes docker_gwbridge, the agent the tunnel's port.
    for round in 0..=rounds {
        let turns = subjects.len();
        for turn in 0..turns {
            let subject = &mut subjects[if round % 2 == 0 { turn } else { turns - 1 - turn }];
            let Subject { client, network, container, .. } = subject;
            let connect = client.connect(network, container);
            std::thread::sleep(SETTLE);
            let disconnect = client.disconnect(network, container);
            std::thread::sleep(SETTLE);
            if round > 0 {
                subject.connect.0.push(connect);
                subject.disconnect.0.push(disconnect);
            }
        }
    }
}

impl<'l> Stand<'l> {
    /// A host with Docker's own networks, and two running containers that come and go: one that has a bridge network
    /// already, and one that has none.
    fn new(host: &'l Host, called: &str) -> Self {
        let mut stand = Self { host, networks: Vec::new() };
        host.exec(["ip", "link", "add", "parent", "type", "veth", "peer", "name", "far"]).expect("a parent");
        host.exec(["ip", "link", "set", "parent", "up"]).expect("the parent up");
        stand.docker("network create -d bridge --subnet 10.91.0.0/16 base");
        for container in CONTAINERS {
            stand.docker(&format!("run -d --name {container} --network base busybox sleep 100000"));
        }
        stand.docker("network disconnect base only");
        stand.add(BRIDGE, format!("bridge ({called} host)"), "-d bridge --subnet 10.92.0.0/16");
        let macvlan = "-d macvlan -o parent=parent --subnet 10.93.0.0/16";
        stand.add("macvlan", format!("macvlan ({called} host)"), macvlan);
        stand
    }

    /// Makes a network, with a container that stays.
    fn add(&mut self, network: &'static str, what: String, options: &str) {
        self.docker(&format!("network create {options} {network}"));
        self.docker(&format!("run -d --name {network} --network {network} busybox sleep 100000"));
        self.networks.push((network, what));
    }

    #[track_caller]
    fn docker(&self, words: &str) -> String {
        self.host.docker(words).expect(words)
    }

    fn subjects<'s>(
        &'s self,
        client: &'s dyn Client,
        container: &'static str,
    ) -> impl Iterator<Item = Subject<'s>> {
        self.networks.iter().map(move |(network, what)| Subject {
            client,
            host: self.host,
            network,
            container,
            what: format!("{what}, as the container's {container} network"),
            connect: Sample::default(),
            disconnect: Sample::default(),
        })
    }
}

/// The networks of a host with an agent.
fn sluice<'l>(host: &'l Host, store: &str) -> Stand<'l> {
    let mut stand = Stand::new(host, store);
    null_driver::serve(host);
    let link = format!("remote driver that only makes a link ({store} host)");
    stand.add("null", link, "-d null-link --subnet 10.94.0.0/16");
    let ipam = "-d null-link --ipam-driver null-link --subnet 10.95.0.0/16";
    stand.add("null-ipam", format!("the same, its own IPAM ({store} host)"), ipam);
    let blue = "-d sluice --ipam-driver sluice --ipam-opt network=blue -o network=blue -o encap=vxlan \
         --subnet 10.5.0.0/16";
    stand.add("blue", format!("sluice, vxlan, {store}"), blue);
    stand
}

/// The networks of a host with OVN.
fn overlay(host: &Host) -> Stand<'_> {
    let mut stand = Stand::new(host, "OVN");
    stand.add("ovn", "OVN's Docker overlay driver".to_owned(), "-d openvswitch --subnet 10.96.0.0/16");
    // What does not carry packets is nothing to compare with.
    stand.docker("network connect ovn second");
    let standing = stand.docker("inspect --format {{.NetworkSettings.Networks.ovn.IPAddress}} ovn");
    eventually("a ping over OVN's network", PATIENCE, || {
        host.docker(&format!("exec second ping -c 1 -W 1 {standing}")).ok()
    });
    stand.docker("network disconnect ovn second");
    stand
}

fn join(host: &Host, network: &DockerNetwork) -> Joined {
    host.engine().join(network, &Attach::default()).expect("CreateEndpoint and Join")
}

fn leave(host: &Host, network: &DockerNetwork, joined: &Joined) -> Duration {
    let took = host.engine().leave(network, joined).expect("Leave and DeleteEndpoint");
    host.await_no_link(&joined.link);
    // The kernel is not done with a link when its name is gone.
    std::thread::sleep(SETTLE);
    took
}

/// The agent by itself, called as dockerd calls it. Sandboxes are not made: they are dockerd's work.
fn agent(host: &Host, store: &str) {
    let spec = NetworkSpec::cluster("blue", "vxlan", Some("10.5.0.0/16"), Some("fd00:5::/64"));
    let network = host.engine().create_network(&spec).expect("a network");
    let come_and_go = |what: &str| {
        let (mut joins, mut leaves) = (Sample::default(), Sample::default());
        let before = [host.agent_time(), host.vswitchd_time()];
        for _ in 0..ROUNDS {
            let joined = join(host, &network);
            joins.0.push(joined.took);
            leaves.0.push(leave(host, &network, &joined));
        }
        joins.print(&format!("CreateEndpoint + Join, {what}"));
        leaves.print(&format!("Leave + DeleteEndpoint, {what}"));
        let after = [host.agent_time(), host.vswitchd_time()];
        let [agent, vswitchd] = [0, 1].map(|n| (after[n] - before[n]).as_secs_f64() * 1e3 / ROUNDS as f64);
        println!("  processor time of both together: agent {agent:.2}, ovs-vswitchd {vswitchd:.2}");
    };
    heading(&format!("the agent alone, {store}, dual stack, ms"));
    come_and_go("empty host");
    let standing: Vec<Joined> = (0..STANDING).map(|_| join(host, &network)).collect();
    come_and_go(&format!("{STANDING} others"));
    for joined in &standing {
        host.engine().leave(&network, joined).expect("Leave and DeleteEndpoint");
    }
    standing.iter().for_each(|joined| host.await_no_link(&joined.link));

    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::with_capacity(FLOOD));
    let begin = Instant::now();
    let before = [host.agent_time(), host.vswitchd_time()];
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < FLOOD {
                    let joined = join(host, &network);
                    made.lock().expect("no caller panicked").push(joined);
                }
            });
        }
    });
    let took = begin.elapsed();
    let after = [host.agent_time(), host.vswitchd_time()];
    let made = made.into_inner().expect("no caller panicked");
    let edge = |edge: &[Joined]| Sample(edge.iter().map(|joined| joined.took).collect());
    edge(&made[..EDGE]).print(&format!("{FLOOD} by {CALLERS} callers at once: the first {EDGE}"));
    edge(&made[FLOOD - EDGE..]).print(&format!("{FLOOD} by {CALLERS} callers at once: the last {EDGE}"));
    come_and_go(&format!("{FLOOD} others"));
    println!(
        "{FLOOD} by {CALLERS} callers at once took {:.2} s: {:.0} endpoints/s; processor time: agent {:.2} s, ovs-vswitchd \
         {:.2} s; the agent has {:.1} MiB",
        took.as_secs_f64(),
        FLOOD as f64 / took.as_secs_f64(),
        (after[0] - before[0]).as_secs_f64(),
        (after[1] - before[1]).as_secs_f64(),
        host.agent_memory() as f64 / 1024.0
    );
}
