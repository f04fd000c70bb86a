//! A real Open vSwitch with real hosts: a namespace for the switches, and one for each host.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::client::Target;
use ofctl::scenario::{PrivateOvs, Setup};

/// Open vSwitch in a network namespace of its own. Everything ends with this, or with the thread that made it.
pub(crate) struct Lab {
    ovs: PrivateOvs,
    /// Holds the switches' namespace.
    switches: Child,
    hosts: u32,
}

/// A host in a network namespace of its own.
pub(crate) struct Host {
    process: Child,
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.ovs.kill_vswitchd();
        end(&mut self.switches);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn why_not() -> Option<String> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout != b"0\n" {
        return Some("this is not root".to_owned());
    }
    let tools =
        ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "unshare", "nsenter"];
    let more = ["setpriv", "ip", "ping"];
    let there = |tool: &str| {
        let version = if matches!(tool, "ip" | "ping") { "-V" } else { "--version" };
        Command::new(tool).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let missing = tools.into_iter().chain(more).find(|tool| !there(tool));
    missing.map(|tool| format!("{tool} is not installed"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A process that does nothing in a network namespace of its own, until it is killed or this thread ends.
fn namespace() -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]);
    let process = command.spawn().unwrap();
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    let limit = Instant::now() + Duration::from_secs(10);
    let theirs = format!("/proc/{}/ns/net", process.id());
    while std::fs::read_link(&theirs).is_ok_and(|theirs| theirs == ours) {
        assert!(Instant::now() < limit, "unshare does not");
        std::thread::sleep(Duration::from_millis(2));
    }
    let process_id = process.id().to_string();
    run(Command::new("nsenter").args(["-n", "-t", &process_id, "ip", "link", "set", "lo", "up"]));
    process
}

impl Lab {
    /// `None`, with the reason printed, if it cannot be done here.
    pub(crate) fn start() -> Option<Lab> {
        if let Some(reason) = why_not() {
            eprintln!("SKIPPED, no live Open vSwitch: {reason}");
            return None;
        }
        let switches = namespace();
        let setup = Setup::default().in_network_of(switches.id()).with_this_thread();
        Some(Lab { ovs: PrivateOvs::start(setup).unwrap(), switches, hosts: 0 })
    }

    /// Kills ovs-vswitchd, flows and all, and starts another.
    pub(crate) fn restart_vswitchd(&mut self) {
        self.ovs.restart_vswitchd().unwrap();
    }

    /// A file of the lab.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.ovs.path(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.ovs.directory()
    }

    /// Runs ovs-vsctl with these words.
    pub(crate) fn vsctl(&self, words: &str) -> String {
        self.ovs.vsctl(words).unwrap()
    }

    /// Runs ovs-ofctl on a bridge, with these words after it.
    pub(crate) fn ofctl(&self, command: &str, bridge: &str, words: &str) -> String {
        self.ovs.ofctl(command, bridge, &words.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    /// Runs ovs-ofctl on a bridge that may not be there.
    pub(crate) fn try_ofctl(&self, command: &str, bridge: &str) -> Option<String> {
        self.ovs.ofctl(command, bridge, &[]).ok()
    }

    /// Adds a bridge of this number that does nothing by itself.
    pub(crate) fn bridge(&self, name: &str, number: u64) -> Target {
        self.vsctl(&format!(
            "add-br {name} -- set bridge {name} datapath_type=netdev fail_mode=secure \
             other-config:datapath-id={number:016x} other-config:disable-in-band=true"
        ));
        self.ovs.target(name)
    }

    /// Puts a host on a port of a bridge.
    pub(crate) fn host(&mut self, bridge: &str, port: u32, address: &str) -> Host {
        let host = Host { process: namespace() };
        self.hosts += 1;
        let (name, id) = (format!("{bridge}-{port}"), host.process.id());
        let switches = self.switches.id().to_string();
        let add = format!("ip link add {name} type veth peer name eth0 netns {id}");
        run(Command::new("nsenter").args(["-n", "-t", &switches]).args(add.split(' ')));
        let up = format!("ip link set {name} up");
        run(Command::new("nsenter").args(["-n", "-t", &switches]).args(up.split(' ')));
        let mac = format!("02:00:00:00:{:02x}:{:02x}", self.hosts, port);
        host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
        host.run(&format!("ip link set eth0 address {mac} up"));
        host.run(&format!("ip address add {address} dev eth0"));
        self.vsctl(&format!("add-port {bridge} {name} -- set interface {name} ofport_request={port}"));
        host
    }

    /// Runs a program in the switches' namespace.
    pub(crate) fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-n", "-t", &self.switches.id().to_string()]).arg(program);
        command
    }
}

impl Host {
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-n", "-t", &self.process.id().to_string()]).args(words.split(' '));
        command
    }

    /// Runs a program there.
    pub(crate) fn run(&self, words: &str) -> String {
        run(&mut self.command(words))
    }

    /// Sends three echo requests; each must be answered.
    pub(crate) fn pings(&self, address: &str) -> bool {
        let ping = format!("ping -n -q -c 3 -i 0.2 -W 1 {address}");
        let output = self.command(&ping).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains(" 0% packet loss")
    }

    /// Sends an echo request; it must not be answered.
    pub(crate) fn is_cut_off_from(&self, address: &str) -> bool {
        let output = self.command(&format!("ping -n -q -c 1 -W 0.5 {address}")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("100% packet loss")
    }
}
