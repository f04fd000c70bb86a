//! A private Open vSwitch with several bridges, and hosts in network namespaces of their own.
//!
//! No namespace has a name: each lives as long as a process in it, and all processes end with the lab, or with the
//! thread that made it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::client::Target;
use ofctl::scenario::{PrivateOvs, Setup};

/// Says why this cannot run here, if it cannot.
pub(crate) fn missing() -> Option<String> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout != b"0\n" {
        return Some("this is not root".to_owned());
    }
    let tools = [
        ["ovsdb-tool", "--version"],
        ["ovsdb-server", "--version"],
        ["ovs-vswitchd", "--version"],
        ["ovs-vsctl", "--version"],
        ["ovs-ofctl", "--version"],
        ["ovs-appctl", "--version"],
        ["unshare", "--version"],
        ["nsenter", "--version"],
        ["setpriv", "--version"],
        ["ethtool", "--version"],
        ["ip", "-V"],
        ["ping", "-V"],
    ];
    let is_there = |[tool, flag]: [&str; 2]| {
        Command::new(tool).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    tools.into_iter().find(|tool| !is_there(*tool)).map(|[tool, _]| format!("{tool} is not installed"))
}

/// A process in a network namespace.
pub(crate) struct Namespace(Child);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Namespace {
    /// Runs a command in a new namespace.
    fn start(mut command: Command) -> Namespace {
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let namespace = Namespace(command.spawn().unwrap());
        let path = format!("/proc/{}/ns/net", namespace.0.id());
        wait_until("the namespace is there", || std::fs::read_link(&path).is_ok_and(|other| other != own));
        namespace
    }

    /// A command to be run in here.
    pub(crate) fn command(&self, program: &str) -> Command {
        at_process(self.0.id(), program)
    }

    /// Runs `ip` in here.
    pub(crate) fn ip(&self, words: &str) {
        self.run("ip", &words.split(' ').collect::<Vec<_>>());
    }

    /// Runs a command that must succeed, and gives what it says.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        finish(self.command(program).args(arguments))
    }
}

/// A command to be run in the network namespace of a process.
fn at_process(process: u32, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--net", "--target", &process.to_string(), program]);
    command
}

/// No IPv6 chatter, and no checksums left to a hardware that is not there.
fn quiet(name: &str, run: impl Fn(&str, &[&str])) {
    let file = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    run("sh", &["-c", &format!("! test -e {file} || echo 1 > {file}")]);
    run("ethtool", &["-K", name, "tx", "off"]);
}

fn finish(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The switch's daemons, and its hosts.
pub(crate) struct Lab {
    hosts: Vec<Namespace>,
    ovs: PrivateOvs,
}

impl Lab {
    /// Starts the daemons, without bridges; `None`, with the reason printed, if it cannot be done here.
    pub(crate) fn start() -> Option<Lab> {
        if let Some(reason) = missing() {
            eprintln!("SKIPPED, no live Open vSwitch: {reason}");
            return None;
        }
        let setup = Setup::default().in_new_network().with_this_thread().option("--disable-system");
        Some(Lab { hosts: Vec::new(), ovs: PrivateOvs::start(setup).unwrap() })
    }

    fn vsctl(&self, words: &str) {
        self.ovs.vsctl(words).unwrap();
    }

    /// A command to be run in the switches' namespace.
    fn inside(&self, program: &str, arguments: &[&str]) {
        finish(at_process(self.ovs.vswitchd_process(), program).args(arguments));
    }

    fn ip(&self, words: &str) {
        self.inside("ip", &words.split(' ').collect::<Vec<_>>());
    }

    /// Adds the bridge `s<number>`, of that datapath id.
    pub(crate) fn bridge(&self, number: u64) {
        self.vsctl(&format!(
            "add-br s{number} -- set bridge s{number} datapath_type=netdev fail_mode=secure \
             other_config:datapath-id={number:016x}"
        ));
    }

    /// Where a bridge is reached.
    pub(crate) fn target(&self, bridge: u64) -> Target {
        self.ovs.target(&format!("s{bridge}"))
    }

    /// Links two bridges by a cable whose ends are `s<bridge>p<port>`.
    pub(crate) fn link(&self, a: (u64, u32), b: (u64, u32)) {
        let [a_name, b_name] = [a, b].map(|(bridge, port)| format!("s{bridge}p{port}"));
        self.ip(&format!("link add {a_name} type veth peer name {b_name}"));
        for ((bridge, port), name) in [(a, a_name), (b, b_name)] {
            self.plug(bridge, port, &name);
        }
    }

    fn plug(&self, bridge: u64, port: u32, name: &str) {
        quiet(name, |program, arguments| self.inside(program, arguments));
        self.ip(&format!("link set {name} up"));
        self.vsctl(&format!("add-port s{bridge} {name} -- set interface {name} ofport_request={port}"));
    }

    /// Takes one end of a cable down, or up.
    pub(crate) fn set_port(&self, bridge: u64, port: u32, up: bool) {
        self.ip(&format!("link set s{bridge}p{port} {}", if up { "up" } else { "down" }));
    }

    /// Adds a host with these addresses on `eth0`, of which the last byte of the first is that of its MAC address, and
    /// gives its place in [`Lab::hosts`].
    pub(crate) fn host(&mut self, bridge: u64, port: u32, addresses: &[&str]) -> usize {
        let mut sleeper = Command::new("setpriv");
        sleeper.args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "3600"]);
        let host = Namespace::start(sleeper);
        let name = format!("s{bridge}p{port}");
        let process = host.0.id();
        self.ip(&format!("link add {name} type veth peer name eth0 netns {process}"));
        quiet("eth0", |program, arguments| drop(host.run(program, arguments)));
        host.ip("link set lo up");
        host.ip(&format!("link set eth0 address 02:00:00:00:{bridge:02x}:{port:02x}"));
        host.ip("link set eth0 up");
        let batch: String =
            addresses.iter().map(|address| format!("address add {address} dev eth0\n")).collect();
        let file = self.ovs.path(&format!("{name}.addresses"));
        std::fs::write(&file, batch).unwrap();
        host.run("ip", &["-batch", file.to_str().unwrap()]);
        self.plug(bridge, port, &name);
        self.hosts.push(host);
        self.hosts.len() - 1
    }

    /// Waits until a bridge has so many flows, and does as they say.
    pub(crate) fn wait_for_flows(&self, bridge: u64, count: usize) {
        let wanted = format!("flow_count={count}");
        wait_until(&wanted, || {
            let aggregate = self.ovs.ofctl("dump-aggregate", &format!("s{bridge}"), &[]).unwrap();
            let found = aggregate.split_whitespace().find(|word| word.starts_with("flow_count="));
            found == Some(&wanted)
        });
        // The datapath goes by what it has cached until that was looked at again.
        self.ovs.appctl("revalidator/wait", &[]).unwrap();
    }

    /// A host.
    pub(crate) fn at(&self, host: usize) -> &Namespace {
        &self.hosts[host]
    }

    /// True if `count` pings within a second each are answered, at least one.
    pub(crate) fn reaches(&self, from: usize, address: &str) -> bool {
        let mut ping = self.at(from).command("ping");
        ping.args(["-n", "-q", "-c", "2", "-i", "0.1", "-W", "0.6", address]).stdout(Stdio::null());
        ping.status().unwrap().success()
    }
}

/// Many pings in a row, and when they were answered.
pub(crate) struct Pinging(Child);

impl Pinging {
    /// A ping each ten milliseconds.
    pub(crate) fn start(from: &Namespace, address: &str, count: u32) -> Pinging {
        let mut ping = from.command("ping");
        ping.args(["-n", "-D", "-i", "0.01", "-c", &count.to_string(), "-W", "1", address]);
        Pinging(ping.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// How many were answered, and the longest time between two answers, with when it began (since the epoch).
    pub(crate) fn finish(self) -> Answers {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let times: Vec<f64> = text
            .lines()
            .filter(|line| line.contains("icmp_seq="))
            .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
            .collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = gaps.fold(0.0, f64::max);
        Answers { count: times.len(), longest: Duration::from_secs_f64(longest), times }
    }
}

/// What came of [`Pinging`].
pub(crate) struct Answers {
    pub(crate) count: usize,
    /// Between two answers.
    pub(crate) longest: Duration,
    /// In seconds since the epoch.
    pub(crate) times: Vec<f64>,
}
