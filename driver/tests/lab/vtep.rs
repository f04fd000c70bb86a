//! A hardware switch that speaks OVSDB `hardware_vtep`: Open vSwitch's own emulator of one, in a network namespace; and
//! its agent, which runs on another machine.

use std::path::PathBuf;
use std::process::Command;

use super::daemon::Daemon;
use super::namespace::{NetNs, Printed, Space};
use super::panel::{PORTS, Panel};
use super::{ETCD, Lab, PATIENCE, binary, eventually};

/// The emulator, of Debian's package openvswitch-vtep.
pub(super) const EMULATOR: &str = "/usr/share/openvswitch/scripts/ovs-vtep";

/// The name that the switch has in its database.
const SWITCH: &str = "ps1";

/// A switch, and its agent.
#[derive(Debug)]
pub struct HardwareVtep {
    name: String,
    number: u8,
    home: PathBuf,
    agent: Option<Daemon>,
    emulator: Option<Daemon>,
    vswitchd: Option<Daemon>,
    ovsdb: Option<Daemon>,
    // Its end takes the namespaces with it.
    _holder: Daemon,
    space: Space,
    panel: Panel,
    /// Where the agent runs: it reaches the store and, over TCP, the switch.
    elsewhere: Space,
}

impl Lab {
    /// A switch on the wire that is told by its database, with the ports swp1 and swp2 and nothing behind them, and
    /// without its agent yet.
    pub fn hardware_vtep(&self, number: u8) -> HardwareVtep {
        HardwareVtep::new(self, number)
    }
}

impl HardwareVtep {
    fn new(lab: &Lab, number: u8) -> Self {
        let name = format!("hw{number}");
        let home = lab.directory.join(&name);
        let path = home.to_string_lossy().into_owned();
        lab.space.exec(["mkdir", &path, &format!("{path}/ovs")]).expect("the switch's directory");
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
        net.exec(["ethtool", "-K", "eth0", "tx", "off"]).expect("offload off");
        let panel = Panel::new(&net);
        for port in PORTS {
            net.exec(["ip", "link", "set", port, "up"]).expect("a port");
        }
        let mut switch = Self {
            name,
            number,
            home,
            agent: None,
            emulator: None,
            vswitchd: None,
            ovsdb: None,
            _holder: holder,
            space,
            panel,
            elsewhere: lab.space.again(),
        };
        switch.boot();
        switch
    }

    /// What a switch does by itself: its database tells of it, and listens.
    fn boot(&mut self) {
        for (file, schema) in [("conf.db", "vswitch"), ("vtep.db", "vtep")] {
            let schema = format!("/usr/share/openvswitch/{schema}.ovsschema");
            self.ovs(&["ovsdb-tool", "create", &self.path(file), &schema]);
        }
        self.make_certificates();
        self.start_ovsdb();
        self.ovs(&["ovs-vsctl", "--no-wait", "init"]);
        let mut command = self.daemon("ovs-vswitchd");
        command.arg(format!("unix:{}", self.path("db.sock"))).arg("--disable-system");
        command.arg(format!("--unixctl={}", self.path("vswitchd.ctl")));
        self.vswitchd = Some(Daemon::start(&self.space, format!("{}: ovs-vswitchd", self.name), command));
        let bridge = |name: &str, ports: &[&str]| {
            let mut words = vec!["ovs-vsctl", "--timeout=20", "add-br", name, "--", "set", "bridge", name];
            words.push("datapath_type=netdev");
            for port in ports {
                words.extend(["--", "add-port", name, port]);
            }
            self.ovs(&words);
        };
        bridge("br-phy", &["eth0"]);
        self.ovs(&["ip", "address", "add", &format!("{}/24", self.tunnel_ip()), "dev", "br-phy"]);
        self.ovs(&["ip", "link", "set", "br-phy", "up"]);
        // What goes to a userspace switch must carry finished checksums.
        self.ovs(&["ethtool", "-K", "br-phy", "tx", "off"]);
        bridge(SWITCH, &PORTS);
        self.ovs(&["vtep-ctl", "add-ps", SWITCH]);
        for port in PORTS {
            self.ovs(&["vtep-ctl", "add-port", SWITCH, port]);
        }
        let tunnel_ips = format!("tunnel_ips={}", self.tunnel_ip());
        self.ovs(&["vtep-ctl", "set", "Physical_Switch", SWITCH, &tunnel_ips]);
        self.ovs(&["vtep-ctl", "set-manager", "ptcp:6640"]);
        let mut emulator = self.daemon(EMULATOR);
        emulator.arg(SWITCH);
        self.emulator = Some(Daemon::start(&self.space, format!("{}: ovs-vtep", self.name), emulator));
        eventually("the emulator", PATIENCE, || {
            self.emulator.as_mut().expect("it was just started").assert_running();
            let said = self.ovs(&["vtep-ctl", "get", "Physical_Switch", SWITCH, "description"]);
            if said.contains("Emulator") { Ok(()) } else { Err(said) }
        });
    }

    /// What ovsdb-server is told of TLS, by its options: an authority that has signed one certificate, for both sides.
    pub fn certificates(&self) -> [(&'static str, String); 3] {
        [("ca-cert", "ca.pem"), ("certificate", "both.pem"), ("private-key", "both.key")]
            .map(|(option, file)| (option, self.path(file)))
    }

    fn make_certificates(&self) {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let script = format!(
            "cd {} && umask 077 && echo basicConstraints=CA:FALSE >v3.cnf && \
             openssl req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2 && \
             openssl req -new {key} -keyout both.key -out both.csr -subj /CN=both && \
             openssl x509 -req -in both.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile v3.cnf \
             -out both.pem",
            self.path("")
        );
        self.space.exec(["sh", "-c", &script]).expect("certificates");
    }

    /// Starts ovsdb-server, with what its files hold.
    pub fn start_ovsdb(&mut self) {
        let mut command = self.daemon("ovsdb-server");
        command
            .args([self.path("conf.db"), self.path("vtep.db")])
            .arg(format!("--remote=punix:{}", self.path("db.sock")))
            .arg("--remote=db:hardware_vtep,Global,managers")
            .args(self.certificates().map(|(option, file)| format!("--{option}={file}")))
            .arg(format!("--unixctl={}", self.path("ovsdb.ctl")));
        self.ovsdb = Some(Daemon::start(&self.space, format!("{}: ovsdb-server", self.name), command));
        let socket = self.path("db.sock");
        eventually("ovsdb-server", PATIENCE, || {
            self.space.exec(["ovsdb-client", "list-dbs", &format!("unix:{socket}")]).ok()
        });
    }

    /// SIGKILL to ovsdb-server; its files stay.
    pub fn kill_ovsdb(&mut self) {
        self.ovsdb = None;
    }

    fn daemon(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("OVS_RUNDIR", self.path("")).env("OVS_LOGDIR", self.path("")).arg("--no-chdir");
        command
    }

    fn path(&self, relative: &str) -> String {
        self.home.join("ovs").join(relative).to_string_lossy().into_owned()
    }

    /// Runs a command on the switch, by which its operator looks at it and sets it up.
    #[track_caller]
    pub fn ovs(&self, words: &[&str]) -> String {
        let directory = format!("OVS_RUNDIR={}", self.home.join("ovs").display());
        self.space.exec([&["env", &directory], words].concat()).expect(words[0])
    }

    /// Runs vtep-ctl with these words.
    #[track_caller]
    pub fn vtep_ctl(&self, words: &str) -> String {
        self.ovs(
            &["vtep-ctl", "--timeout=20"].into_iter().chain(words.split_whitespace()).collect::<Vec<_>>(),
        )
    }

    /// Its node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its tunnels end.
    pub fn tunnel_ip(&self) -> String {
        format!("172.31.0.{}", self.number)
    }

    /// Starts its agent, elsewhere, which connects to the switch, and waits until it answers.
    pub fn start_agent(&mut self, more: &[&str]) {
        let database = format!("tcp:{}:6640", self.tunnel_ip());
        self.start_agent_at(&database, more);
    }

    /// Where the switch finds its agent, if that waits for it.
    pub fn agent_address(&self) -> &'static str {
        ETCD
    }

    /// As [`start_agent`](HardwareVtep::start_agent), with this way to the database.
    pub fn start_agent_at(&mut self, database: &str, more: &[&str]) {
        let (state, socket) = (self.home.join("sluice"), self.home.join("sluice.sock"));
        let mut command = Command::new(binary());
        command
            .args(["agent", "--node", &self.name, "--dataplane", "hardware-vtep"])
            .args(["--vtep-database", database])
            .args(["--store", &format!("etcd://{ETCD}:2379")])
            .arg(format!("--state-dir={}", state.display()))
            .arg(format!("--admin-socket={}", socket.display()))
            .args(["--log-level", "info,sluice=debug"])
            .args(more)
            .env("RUST_BACKTRACE", "1");
        self.agent = Some(Daemon::start(&self.elsewhere, format!("{}: agent", self.name), command));
        eventually("the switch's agent", PATIENCE, || {
            self.agent.as_mut().expect("it was just started").assert_running();
            self.sluice("status").ok()
        });
    }

    /// SIGKILL to the agent.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// Runs the sluice command against this switch's agent.
    pub fn sluice(&self, words: &str) -> Printed {
        let socket = format!("SLUICE_ADMIN_SOCKET={}", self.home.join("sluice.sock").display());
        let binary = binary();
        let argv: Vec<&str> = ["env", &socket, &binary].into_iter().chain(words.split_whitespace()).collect();
        self.elsewhere.exec(argv)
    }

    /// Its ports, and what is on them.
    pub fn panel(&self) -> &Panel {
        &self.panel
    }
}

impl Drop for HardwareVtep {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let daemons = [&self.agent, &self.emulator, &self.vswitchd, &self.ovsdb];
            daemons.into_iter().flatten().for_each(|daemon| eprint!("{}", daemon.log_tail(40)));
        }
    }
}
