//! What attaching a container costs, beside Docker's other drivers on the same engines: prints tables.
//!
//!     cargo bench --bench attach_cost              all
//!     cargo bench --bench attach_cost -- agent     the second part alone
//!
//! Two hosts of the live tests' lab, one on etcd and one on the embedded store, each with a real dockerd, an Open
//! vSwitch on the userspace datapath and an agent. `docker network connect` is measured as the Engine API's call, from
//! request to reply, so that the start of the docker command does not count. The drivers take turns within every
//! round, so that a busy machine disturbs all of them alike. A second part measures the agent by itself, and tells what
//! processor time it and ovs-vswitchd had, which a busy machine hardly changes.
//!
//! Beside them stands a remote driver that does nothing but make a link, with Docker's IPAM and as an IPAM driver that
//! only counts: the floor of every remote driver, and of every one that gives the addresses too.
//!
//! OVN's Docker driver is not among them: as packaged in Debian 12 it does not start (it takes bytes for text), and it
//! needs a dockerd with a cluster store.
//!
//! All files are in memory (tmpfs), dockerd's and etcd's too. On a disk, CreateEndpoint costs one fsync more: see
//! `cargo bench --bench ledger`.
//!
//! Needs root and what the live tests need, and says so where something is missing.

#![allow(unreachable_pub, reason = "the lab is a module of this bench")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

mod engine_api;
#[path = "../../tests/lab/mod.rs"]
mod lab;
mod null_driver;

use engine_api::EngineApi;
use lab::{Attach, DockerNetwork, Host, Joined, Lab, NetworkSpec, Plan, Store};

/// Measurements of each driver.
const ROUNDS: usize = 25;
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
            "{what:<88} {:>8.1} {:>8.1} {:>8.1} {:>5}",
            millis(self.median()),
            millis(least),
            millis(most),
            self.0.len()
        );
    }
}

fn heading(what: &str) {
    println!("\n{what:<88} {:>8} {:>8} {:>8} {:>5}", "median", "min", "max", "n");
}

/// A Docker network of one driver, on one engine.
struct Subject<'l> {
    api: &'l EngineApi,
    network: &'static str,
    container: &'static str,
    what: String,
    connect: Sample,
    disconnect: Sample,
}

fn main() {
    // `cargo test --benches` runs this too, and it is no test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("load average at the start: {}", load());
    if !std::env::args().any(|argument| argument == "agent") {
        let start = |store| Plan::hosts(1).store(store).docker().start();
        let (Some(etcd), Some(embedded)) = (start(Store::Etcd), start(Store::Embedded)) else { return };
        connect(&etcd, &embedded);
    }
    for (store, name) in [(Store::Embedded, "embedded store"), (Store::Etcd, "etcd")] {
        let Some(lab) = Plan::hosts(1).store(store).start() else { return };
        agent(lab.host(1), name);
    }
    println!("\nload average at the end: {}", load());
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

/// `docker network connect`, driver by driver.
fn connect(etcd: &Lab, embedded: &Lab) {
    let hosts = [(etcd.host(1), "etcd"), (embedded.host(1), "embedded store")];
    let apis = hosts.map(|(host, _)| EngineApi::new(host.seen("/run/docker.sock")));
    let mut subjects = Vec::new();
    for ((host, store), api) in hosts.into_iter().zip(&apis) {
        prepare(host);
        for container in ["second", "only"] {
            let networks = [
                ("bridged", format!("bridge ({store} host)")),
                ("macvlan", format!("macvlan ({store} host)")),
                ("null", format!("remote driver that only makes a link ({store} host)")),
                ("null-ipam", format!("the same, its own IPAM ({store} host)")),
                ("blue", format!("sluice, vxlan, {store}")),
            ];
            subjects.extend(networks.map(|(network, what)| Subject {
                api,
                network,
                container,
                what: format!("{what}, as the container's {container} network"),
                connect: Sample::default(),
                disconnect: Sample::default(),
            }));
        }
    }
    // The first round is not counted: dockerd makes docker_gwbridge, the agent the tunnel's port.
    for round in 0..=ROUNDS {
        for subject in &mut subjects {
            let Subject { api, network, container, .. } = subject;
            let (connect, disconnect) = (api.connect(network, container), {
                std::thread::sleep(SETTLE);
                api.disconnect(network, container)
            });
            std::thread::sleep(SETTLE);
            if round > 0 {
                subject.connect.0.push(connect);
                subject.disconnect.0.push(disconnect);
            }
        }
    }
    heading("docker network connect, Engine API, ms");
    subjects.iter().for_each(|subject| subject.connect.print(&subject.what));
    heading("docker network disconnect, Engine API, ms");
    subjects.iter().for_each(|subject| subject.disconnect.print(&subject.what));
}

/// The networks, each with a container that stays, and two running containers that come and go: one that has a bridge
/// network already, and one that has none.
fn prepare(host: &Host) {
    let docker = |words: &str| host.docker(words).expect(words);
    host.exec(["ip", "link", "add", "parent", "type", "veth", "peer", "name", "far"]).expect("a parent");
    host.exec(["ip", "link", "set", "parent", "up"]).expect("the parent up");
    docker("network create -d bridge --subnet 10.91.0.0/16 base");
    docker("network create -d bridge --subnet 10.92.0.0/16 bridged");
    null_driver::serve(host);
    docker("network create -d null-link --subnet 10.94.0.0/16 null");
    docker("network create -d null-link --ipam-driver null-link --subnet 10.95.0.0/16 null-ipam");
    docker("network create -d macvlan -o parent=parent --subnet 10.93.0.0/16 macvlan");
    docker(
        "network create -d sluice --ipam-driver sluice --ipam-opt network=blue -o network=blue -o encap=vxlan \
         --subnet 10.5.0.0/16 blue",
    );
    for network in ["bridged", "macvlan", "null", "null-ipam", "blue"] {
        docker(&format!("run -d --network {network} busybox sleep 100000"));
    }
    for container in ["second", "only"] {
        docker(&format!("run -d --name {container} --network base busybox sleep 100000"));
    }
    docker("network disconnect base only");
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
