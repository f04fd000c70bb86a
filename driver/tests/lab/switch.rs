//! A white-box switch: a machine on the wire with ports, Linux bridges and an agent, and neither Docker nor Open
//! vSwitch.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::daemon::Daemon;
use super::namespace::{NetNs, Printed, Space};
use super::panel::{Panel, Server};
use super::{ETCD, Lab, PATIENCE, binary, eventually};

/// A switch.
#[derive(Debug)]
pub struct WhiteBox {
    name: String,
    number: u8,
    home: PathBuf,
    agent: Option<Daemon>,
    /// What its agent is told besides.
    options: Vec<String>,
    // Its end takes the namespaces with it.
    _holder: Daemon,
    space: Space,
    net: NetNs,
    panel: Panel,
}

impl Lab {
    /// A switch on the wire, with the ports swp1 and swp2 and nothing behind them, and without its agent yet.
    pub fn white_box(&self, number: u8) -> WhiteBox {
        WhiteBox::new(self, number)
    }
}

impl WhiteBox {
    fn new(lab: &Lab, number: u8) -> Self {
        let name = format!("sw{number}");
        let home = lab.directory.join(&name);
        let path = home.to_string_lossy().into_owned();
        lab.space.exec(["mkdir", &path]).expect("the switch's directory");
        lab.space.exec(["ip", "netns", "add", &name]).expect("a network namespace");
        lab.ip_batch(&format!(
            "link add to-{name} type veth peer name eth0 netns {name}\nlink set to-{name} master wire up\n"
        ));
        let mut holder = Command::new("nsenter");
        holder
            .arg(format!("--net=/run/netns/{name}"))
            .args(["unshare", "--mount", "--propagation", "private", "sh", "-c"])
            .arg(
                "mount -t sysfs sysfs /sys && mount -t tmpfs -o mode=755 tmpfs /run && ip link set lo up && \
                  ip link set eth0 up && echo ready >\"$0/ready\" && exec sleep infinity",
            )
            .arg(&home);
        let mut holder = Daemon::start(&lab.space, format!("{name}: namespaces"), holder);
        eventually("the switch's namespaces", PATIENCE, || {
            holder.assert_running();
            lab.space.exec(["cat", &format!("{path}/ready")]).ok()
        });
        let (space, net) = (Space::of(holder.pid()), NetNs::of(holder.pid()));
        let underlay = format!("172.31.0.{number}/24");
        net.exec(["ip", "address", "add", &underlay, "dev", "eth0"]).expect("the underlay's address");
        // What goes to a userspace switch must carry finished checksums.
        net.exec(["ethtool", "-K", "eth0", "tx", "off"]).expect("offload off");
        let panel = Panel::new(&net);
        Self { name, number, home, agent: None, options: Vec::new(), _holder: holder, space, net, panel }
    }

    /// Its node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of its tunnels' ends.
    pub fn underlay(&self) -> String {
        format!("172.31.0.{}", self.number)
    }

    /// Its network namespace.
    pub fn net(&self) -> &NetNs {
        &self.net
    }

    /// What its agent is told besides, from the next start on.
    pub fn set_options(&mut self, words: &str) {
        self.options = words.split_whitespace().map(str::to_owned).collect();
    }

    /// The namespaces of its daemons.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// A path in its own directory.
    pub fn path(&self, relative: &str) -> String {
        self.home.join(relative).to_string_lossy().into_owned()
    }

    /// Starts the agent and waits until it answers.
    pub fn start_agent(&mut self) {
        let mut command = Command::new(binary());
        command
            .args(["agent", "--node", &self.name, "--underlay", &self.underlay(), "--dataplane", "linux"])
            .args(["--store", &format!("etcd://{ETCD}:2379"), "--state-dir", &self.path("sluice")])
            .args(["--admin-socket", &self.path("sluice.sock")])
            .args(["--log-level", "info,sluice=debug"])
            .args(&self.options)
            .env("RUST_BACKTRACE", "1");
        self.agent = Some(Daemon::start(&self.space, format!("{}: agent", self.name), command));
        eventually("the switch's agent", PATIENCE, || {
            self.agent.as_mut().expect("it was just started").assert_running();
            self.sluice("status").ok()
        });
    }

    /// SIGKILL to the agent.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// Its agent's resident memory: all of it, what is its own, and what it shares with its file.
    #[track_caller]
    pub fn agent_memory(&self) -> String {
        let pid = self.agent.as_ref().expect("the agent runs").pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let part = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.split_whitespace().find_map(|word| word.parse().ok()).expect("a number")
        };
        let [all, own, file] = ["VmRSS:", "RssAnon:", "RssFile:"].map(part);
        format!("{all} KiB, {own} of them its own, {file} of its file")
    }

    /// Runs the sluice command against this switch's agent.
    pub fn sluice(&self, words: &str) -> Printed {
        let (binary, socket) = (binary(), format!("SLUICE_ADMIN_SOCKET={}", self.path("sluice.sock")));
        let argv: Vec<&str> = ["env", &socket, &binary].into_iter().chain(words.split_whitespace()).collect();
        self.space.exec(argv)
    }

    /// Runs a command on the switch, given as words.
    #[track_caller]
    pub fn run(&self, words: &str) -> String {
        self.net.exec(words.split_whitespace().collect::<Vec<_>>()).expect(words)
    }

    /// Its ports, and what is on them.
    pub fn panel(&self) -> &Panel {
        &self.panel
    }

    /// A server with these last bytes of its addresses, on one of the ports.
    #[track_caller]
    pub fn server(&self, number: u8, port: &str, mtu: u16) -> Server {
        self.panel.server(number, port, mtu)
    }

    /// Puts a server's cable into a port, and tells when the port was about to get its carrier.
    #[track_caller]
    pub fn plug(&self, server: &Server, port: &str) -> Instant {
        self.panel.plug(server, port)
    }

    /// Takes a server's cable out of a port, which loses its carrier.
    #[track_caller]
    pub fn unplug(&self, server: &Server, port: &str) {
        self.panel.unplug(server, port);
    }

    /// The last lines of its agent's log.
    pub fn log_tail(&self) -> String {
        self.agent.as_ref().map(|agent| agent.log_tail(60)).unwrap_or_default()
    }
}

impl Drop for WhiteBox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint!("{}", self.log_tail());
        }
    }
}
