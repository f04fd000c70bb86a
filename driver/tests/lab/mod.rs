//! A lab for live tests: hosts in network namespaces, each with a real Open vSwitch, a sluice agent and, when
//! asked for, a real dockerd; one etcd; one wire between them.
//!
//! Whatever a lab starts runs in a PID and a mount namespace of its own, whose first process reads from a pipe
//! that the test holds. When the test ends, for whatever reason, the pipe closes, that process ends, and the
//! kernel ends all the others and drops their mounts and links. So nothing needs undoing, two labs can run at
//! once, and all names can be short.
//!
//! - [`Lab`], [`Host`]: the machines, and what one can do to them: commands, kills, restarts, captures.
//! - [`WhiteBox`], [`HardwareVtep`], [`Server`]: switches, and what is on their ports.
//! - [`Engine`] and [`Endpoint`]: containers without a dockerd. The engine makes the calls that dockerd makes, in
//!   its order, and the endpoint is a network namespace; a test can have hundreds.
//! - [`packet`]: whole frames, sent and seen.
//! - [`eventually`]: waiting for a fact, up to a deadline, in place of sleeping.

#![allow(dead_code, unused_imports, reason = "each test or bench that has the lab uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[cfg(target_arch = "x86_64")]
mod contained;
mod daemon;
mod endpoint;
mod engine;
mod fdb;
mod host;
mod namespace;
pub mod packet;
mod panel;
mod switch;
mod vtep;

#[cfg(target_arch = "x86_64")]
pub use contained::Contained;
pub use daemon::Daemon;
pub use endpoint::Endpoint;
pub use engine::{Attach, DockerNetwork, Joined, NetworkSpec, call};
pub use fdb::FdbWatch;
pub use host::Host;
pub use namespace::{NetNs, Printed};
pub use panel::{Panel, Server};
pub use switch::WhiteBox;
pub use vtep::HardwareVtep;

use namespace::Space;

/// How long a test waits for what should be there at once, on a machine that may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where etcd listens on the wire.
const ETCD: &str = "172.31.0.254";

/// Repeats an attempt until it succeeds; at the deadline, panics with what the last attempt said.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(said) if Instant::now() >= deadline => panic!("{what}: not within {limit:?}: {said}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The command under test: the one built with the tests, or the one that SLUICE_BIN names.
pub fn binary() -> String {
    std::env::var("SLUICE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_sluice").to_owned())
}

/// Why such a lab cannot run here, if it cannot.
fn obstacle(plan: &Plan) -> Option<String> {
    if !fs::metadata("/proc/self/ns/net").is_ok_and(|_| is_root()) {
        return Some("not root".to_owned());
    }
    if plan.hardware_vteps && !Path::new(vtep::EMULATOR).exists() {
        return Some(format!("{} is not installed", vtep::EMULATOR));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]).collect();
    const PROGRAMS: [&str; 11] = [
        "ovs-vswitchd",
        "ovsdb-server",
        "ovs-vsctl",
        "etcd",
        "ip",
        "ping",
        "ethtool",
        "unshare",
        "dockerd",
        "redis-server",
        "runc",
    ];
    PROGRAMS
        .into_iter()
        .find(|program| !directories.iter().any(|directory| directory.join(program).is_file()))
        .map(|program| format!("{program} is not installed"))
}

fn is_root() -> bool {
    // SAFETY: geteuid(2) takes no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Which store the agents of a lab use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// One etcd for all.
    Etcd,
    /// Each its own file.
    Embedded,
}

/// What a lab shall have.
#[derive(Debug, Clone)]
pub struct Plan {
    hosts: u8,
    store: Store,
    docker: bool,
    agents: bool,
    underlay_v6: bool,
    hardware_vteps: bool,
}

impl Plan {
    /// This many hosts with agents on one etcd, without dockerd.
    pub fn hosts(hosts: u8) -> Self {
        Self {
            hosts,
            store: Store::Etcd,
            docker: false,
            agents: true,
            underlay_v6: false,
            hardware_vteps: false,
        }
    }

    /// With a dockerd on each host.
    pub fn docker(self) -> Self {
        Self { docker: true, ..self }
    }

    /// With this store.
    pub fn store(self, store: Store) -> Self {
        Self { store, ..self }
    }

    /// With IPv6 addresses as the tunnels' ends.
    pub fn underlay_v6(self) -> Self {
        Self { underlay_v6: true, ..self }
    }

    /// With switches to come that speak `hardware_vtep`.
    pub fn hardware_vteps(self) -> Self {
        Self { hardware_vteps: true, ..self }
    }

    /// Without agents: the hosts, their switches and the wire alone.
    pub fn without_agents(self) -> Self {
        Self { agents: false, ..self }
    }

    /// Starts the lab. Where it cannot run, says why and returns nothing, so that the test is skipped;
    /// with SLUICE_REQUIRE_LIVE set, as in CI, that is a failure.
    #[track_caller]
    pub fn start(self) -> Option<Lab> {
        if let Some(reason) = obstacle(&self) {
            assert!(
                std::env::var_os("SLUICE_REQUIRE_LIVE").is_none(),
                "live tests are required, but: {reason}"
            );
            // Past the test harness's capture, so that a skip is never silent.
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            return None;
        }
        Some(Lab::new(&self))
    }
}

/// Machines on a wire.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<Host>,
    etcd: Option<Daemon>,
    space: Space,
    wire: NetNs,
    directory: PathBuf,
    name: String,
    init: Child,
}

impl Lab {
    fn new(plan: &Plan) -> Self {
        let directory = tempfile::Builder::new().prefix("sluice-lab.").tempdir().expect("a directory").keep();
        let name = directory.file_name().expect("it has a name").to_string_lossy().replace('.', "-");
        let mut init = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--net", "--uts", "--ipc", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "sh", "-c"])
            .arg(
                "mount -t tmpfs -o mode=755 tmpfs \"$0\" && mount -t tmpfs -o mode=755 tmpfs /run && \
                  mkdir -p /run/netns /run/lock && ip link set lo up && echo ready >\"$0/ready\" && exec cat",
            )
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let first = eventually("the lab's first process", PATIENCE, || {
            if let Some(status) = init.try_wait().map_err(|error| error.to_string())? {
                panic!("unshare ended with {status}");
            }
            let children = format!("/proc/{0}/task/{0}/children", init.id());
            let children = fs::read_to_string(children).map_err(|error| error.to_string())?;
            let first: u32 = children.trim().parse().map_err(|_| "no child yet".to_owned())?;
            match fs::read_to_string(inside(first, &directory).join("ready")) {
                Ok(text) if text == "ready\n" => Ok(first),
                _ => Err("its mounts are not there yet".to_owned()),
            }
        });
        let space = Space::of(first);
        let wire = NetNs::of(first);
        let mut lab = Self { hosts: Vec::new(), etcd: None, space, wire, directory, name, init };
        lab.build(plan, first);
        lab
    }

    fn build(&mut self, plan: &Plan, first: u32) {
        // With an address of its own choice the bridge would take another whenever a port with a lower one joins, and etcd
        // would be out of reach until everybody has asked for it again.
        let wire = "link add wire address 02:31:00:00:00:fe type bridge mcast_snooping 0\nlink set wire up\n";
        self.ip_batch(&format!("{wire}address add {ETCD}/24 dev wire\n"));
        // What reaches a userspace switch must carry finished checksums: nobody behind it will finish them.
        self.wire.exec(["ethtool", "-K", "wire", "tx", "off"]).expect("offload off");
        if plan.store == Store::Etcd && plan.agents {
            fs::create_dir(inside(first, &self.directory).join("etcd")).expect("a directory for etcd");
            self.start_etcd();
        }
        for number in 1..=plan.hosts {
            let host = Host::new(self, first, number, plan);
            self.hosts.push(host);
        }
        for host in &mut self.hosts {
            host.start(plan);
        }
    }

    /// Starts etcd, on the data that it had if it ran before.
    pub fn start_etcd(&mut self) {
        let data = self.directory.join("etcd/data");
        let client = format!("http://{ETCD}:2379");
        let peer = "http://127.0.0.1:2380";
        let mut command = Command::new("etcd");
        command
            .args(["--name", "store", "--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("store={peer}"), "--data-dir"])
            .arg(data);
        self.etcd = Some(Daemon::start(&self.space, "etcd", command));
        eventually("etcd", PATIENCE, || {
            let command = ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", &client, "endpoint", "health"];
            self.space.exec(command).ok()
        });
    }

    /// Kills etcd.
    pub fn kill_etcd(&mut self) {
        self.etcd = None;
    }

    /// Every key of the agents in etcd with its value, but those on a lease; none while etcd is away.
    pub fn store_dump(&self) -> BTreeMap<String, String> {
        if self.etcd.is_none() {
            return BTreeMap::new();
        }
        let endpoint = format!("http://{ETCD}:2379");
        let command =
            ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", &endpoint, "get", "--prefix", "/sluice/v1/"];
        let printed = self.space.exec(command).expect("the store's keys");
        let mut lines = printed.lines();
        // A key, and its value: JSON on one line.
        let pairs = std::iter::from_fn(|| Some((lines.next()?.to_owned(), lines.next()?.to_owned())));
        pairs.filter(|(key, _)| !key.starts_with("/sluice/v1/alive/")).collect()
    }

    /// Runs a closure on the wire, where etcd is, with the address of etcd.
    pub fn with_store<T: Send>(&self, f: impl FnOnce(String) -> T + Send) -> T {
        self.wire.run(|| f(format!("http://{ETCD}:2379")))
    }

    /// A name that no other lab has: its cgroups and its directory carry it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hosts, from `h1` on.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Host number `n`, from 1 on.
    #[track_caller]
    pub fn host(&self, n: usize) -> &Host {
        &self.hosts[n - 1]
    }

    /// Host number `n`, from 1 on, to kill or restart what it runs.
    #[track_caller]
    pub fn host_mut(&mut self, n: usize) -> &mut Host {
        &mut self.hosts[n - 1]
    }

    /// A packet socket on the cable of host `n`: sees all that the host sends and receives on the wire.
    pub fn cable(&self, n: usize) -> packet::PacketSocket {
        packet::PacketSocket::open(&self.wire, &format!("to-h{n}"))
    }

    /// A machine on the wire that is none of ours: an address, and no more.
    pub fn stranger(&self, address: &str) -> NetNs {
        let stranger = NetNs::new();
        let path = stranger.path();
        self.wire
            .exec(["ip", "link", "add", "stranger", "type", "veth", "peer", "name", "eth0"])
            .expect("a cable");
        self.wire.exec(["ip", "link", "set", "eth0", "netns", &path]).expect("moving the cable's end");
        self.wire.exec(["ip", "link", "set", "stranger", "master", "wire", "up"]).expect("plugging it in");
        stranger.exec(["ethtool", "-K", "eth0", "tx", "off"]).expect("offload off");
        stranger.exec(["ip", "link", "set", "eth0", "up"]).expect("link up");
        stranger.exec(["ip", "address", "add", address, "dev", "eth0"]).expect("its address");
        stranger
    }

    fn ip_batch(&self, lines: &str) {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.space.spawn(&mut command).expect("ip starts");
        child.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("ip reads");
        let output = child.wait_with_output().expect("ip ends");
        assert!(output.status.success(), "ip -batch {lines:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for daemon in self.etcd.iter().chain(self.hosts.iter().flat_map(Host::daemons)) {
                eprint!("{}", daemon.log_tail(if daemon.name().ends_with("agent") { 40 } else { 5 }));
            }
        }
        // A PID namespace cannot end while this process, outside it, has children there to wait for.
        self.hosts.clear();
        self.etcd = None;
        // The pipe's end is the sandbox's end.
        drop(self.init.stdin.take());
        let _ = self.init.wait();
        remove_cgroups(&self.name);
        let _ = fs::remove_dir(&self.directory);
    }
}

/// A path as the lab's processes see it, seen from the test.
fn inside(pid: u32, path: &Path) -> PathBuf {
    Path::new("/proc")
        .join(pid.to_string())
        .join("root")
        .join(path.strip_prefix("/").expect("an absolute path"))
}

/// Removes the directories that dockerd made for its containers in each cgroup hierarchy: the one trace that
/// namespaces do not take with them.
fn remove_cgroups(name: &str) {
    fn remove(directory: &Path) {
        let children = fs::read_dir(directory).into_iter().flatten().flatten();
        children.filter(|entry| entry.path().is_dir()).for_each(|entry| remove(&entry.path()));
        let _ = fs::remove_dir(directory);
    }
    let root = Path::new("/sys/fs/cgroup");
    remove(&root.join(name));
    for hierarchy in fs::read_dir(root).into_iter().flatten().flatten() {
        remove(&hierarchy.path().join(name));
    }
}
