//! One host of the lab, with what runs on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::daemon::Daemon;
use super::endpoint::Endpoint;
use super::engine::Engine;
use super::namespace::{NetNs, Printed, Space};
use super::packet::mac;
use super::{ETCD, Lab, PATIENCE, Plan, Store, binary, eventually, inside};

/// Where containerd listens, in the host's own /run.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// A host: a network namespace with a /run of its own, and daemons in them.
#[derive(Debug)]
pub struct Host {
    name: String,
    number: u8,
    store: Store,
    underlay_v6: bool,
    home: PathBuf,
    cgroup: String,
    agent: Option<Daemon>,
    dockerd: Option<Daemon>,
    containerd: Option<Daemon>,
    vswitchd: Option<Daemon>,
    ovsdb: Option<Daemon>,
    holder: Daemon,
    space: Space,
    net: NetNs,
}

impl Host {
    pub(super) fn new(lab: &Lab, first: u32, number: u8, plan: &Plan) -> Self {
        let name = format!("h{number}");
        let home = lab.directory.join(&name);
        for part in ["", "ovs", "docker"] {
            std::fs::create_dir(inside(first, &home).join(part)).expect("the host's directory");
        }
        lab.space.exec(["ip", "netns", "add", &name]).expect("a network namespace");
        lab.ip_batch(&format!(
            "link add to-{name} type veth peer name eth0 netns {name}\nlink set to-{name} master wire up\n"
        ));
        lab.space
            .exec(["ip", "netns", "exec", &name, "ethtool", "-K", "eth0", "tx", "off"])
            .expect("offload off");
        let mut holder = Command::new("nsenter");
        holder
            .arg(format!("--net=/run/netns/{name}"))
            .args(["unshare", "--mount", "--propagation", "private", "sh", "-c"])
            .arg(
                "mkdir \"$0/cgroup\" && mount --rbind /sys/fs/cgroup \"$0/cgroup\" && mount -t sysfs sysfs /sys && \
                  mount --rbind \"$0/cgroup\" /sys/fs/cgroup && mount -t tmpfs -o mode=755 tmpfs /run && \
                  mkdir -p /run/lock /run/docker/plugins && ip link set lo up && ip link set eth0 up && \
                  echo ready >\"$0/ready\" && exec sleep infinity",
            )
            .arg(&home);
        let mut holder = Daemon::start(&lab.space, format!("{name}: namespaces"), holder);
        eventually("the host's namespaces", PATIENCE, || {
            holder.assert_running();
            std::fs::read_to_string(inside(first, &home).join("ready")).map_err(|error| error.to_string())
        });
        let (space, net) = (Space::of(holder.pid()), NetNs::of(holder.pid()));
        Self {
            name,
            number,
            store: plan.store,
            underlay_v6: plan.underlay_v6,
            home,
            cgroup: format!("/{}", lab.name),
            agent: None,
            dockerd: None,
            containerd: None,
            vswitchd: None,
            ovsdb: None,
            holder,
            space,
            net,
        }
    }

    pub(super) fn start(&mut self, plan: &Plan) {
        self.space
            .exec([
                "ovsdb-tool",
                "create",
                &self.path("ovs/conf.db"),
                "/usr/share/openvswitch/vswitch.ovsschema",
            ])
            .expect("a switch database");
        self.start_ovsdb();
        self.start_vswitchd();
        self.vsctl("add-br br-phy -- set Bridge br-phy datapath_type=netdev fail_mode=standalone -- add-port br-phy eth0");
        self.configure_uplink();
        if plan.agents {
            self.start_agent();
        }
        if plan.docker {
            self.start_dockerd();
        }
    }

    /// What the host's own boot scripts would do once the switch has made the bridge's internal port.
    fn configure_uplink(&self) {
        let address = format!("{}/24", self.address());
        self.exec(["ip", "address", "replace", &address, "dev", "br-phy"]).expect("the underlay's address");
        if self.underlay_v6 {
            let address = format!("{}/64", self.underlay());
            self.exec(["ip", "-6", "address", "replace", &address, "dev", "br-phy", "nodad"])
                .expect("the underlay's IPv6 address");
        }
        self.exec(["ip", "link", "set", "br-phy", "up"]).expect("the underlay up");
        self.exec(["ethtool", "-K", "br-phy", "tx", "off"]).expect("offload off");
    }

    /// Its name, which is also the node's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the wire.
    pub fn address(&self) -> String {
        format!("172.31.0.{}", self.number)
    }

    /// The address of its tunnels' ends.
    pub fn underlay(&self) -> String {
        if self.underlay_v6 { format!("fd31::{}", self.number) } else { self.address() }
    }

    /// Its network namespace.
    pub fn net(&self) -> &NetNs {
        &self.net
    }

    /// A path in its own directory, as its processes see it.
    pub fn path(&self, relative: &str) -> String {
        self.home.join(relative).to_string_lossy().into_owned()
    }

    /// A path on the host, seen from the test.
    pub fn seen(&self, path: impl AsRef<Path>) -> PathBuf {
        inside(self.holder.pid(), path.as_ref())
    }

    /// Runs a command on the host.
    pub fn exec<S: AsRef<std::ffi::OsStr>>(&self, argv: impl AsRef<[S]>) -> Printed {
        self.space.exec(argv)
    }

    /// Runs ovs-vsctl with these words.
    #[track_caller]
    pub fn vsctl(&self, words: &str) -> String {
        let db = format!("--db=unix:{}", self.path("ovs/db.sock"));
        let argv: Vec<&str> =
            ["ovs-vsctl", "--timeout=10", &db].into_iter().chain(words.split_whitespace()).collect();
        self.exec(argv).expect(words)
    }

    /// The flows of a bridge, as ovs-ofctl prints them without counters.
    #[track_caller]
    pub fn flows(&self, bridge: &str) -> String {
        let management = format!("unix:{}", self.path(&format!("ovs/{bridge}.mgmt")));
        self.exec(["ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", &management])
            .expect("the flows")
    }

    /// Runs the sluice command against this host's agent.
    pub fn sluice(&self, words: &str) -> Printed {
        let (binary, socket) = (binary(), format!("SLUICE_ADMIN_SOCKET={}", self.path("sluice.sock")));
        let argv: Vec<&str> = ["env", &socket, &binary].into_iter().chain(words.split_whitespace()).collect();
        self.exec(argv)
    }

    /// Runs the docker command against this host's engine.
    pub fn docker(&self, words: &str) -> Printed {
        let config = format!("DOCKER_CONFIG={}", self.path("docker"));
        let argv: Vec<&str> =
            ["env", "-u", "DOCKER_CONTEXT", &config, "DOCKER_HOST=unix:///run/docker.sock", "docker"]
                .into_iter()
                .chain(words.split_whitespace())
                .collect();
        self.exec(argv)
    }

    /// An endpoint on br-phy, a plain learning switch, without any agent: what a test can do itself, so that it
    /// is known to see what it looks for.
    #[track_caller]
    pub fn plug(&self, number: u8) -> Endpoint {
        let ns = NetNs::new();
        let (link, v4, v6) =
            (format!("plain{number}"), format!("10.5.0.{number}/16"), format!("fd00:5::{number}/64"));
        let address = format!("02:05:00:00:00:{number:02}");
        let add = [
            "link",
            "add",
            &link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            &address,
            "netns",
            &ns.path(),
        ];
        self.net.exec([&["ip"][..], &add].concat()).expect("a pair of links");
        self.net.exec(["ip", "link", "set", &link, "up"]).expect("link up");
        ns.exec(["ethtool", "-K", "eth0", "tx", "off"]).expect("offload off");
        ns.exec(["ip", "address", "add", &v4, "dev", "eth0"]).expect("its IPv4 address");
        ns.exec(["ip", "-6", "address", "add", &v6, "dev", "eth0", "nodad"]).expect("its IPv6 address");
        ns.exec(["ip", "link", "set", "eth0", "up"]).expect("link up");
        self.vsctl(&format!("add-port br-phy {link}"));
        let nothing = String::new();
        Endpoint::new(ns, nothing.clone(), nothing, link, mac(&address), &v4, &v6, Duration::ZERO)
    }

    /// Waits until a link is gone, which is the end of what an agent does in the background for an endpoint.
    #[track_caller]
    pub fn await_no_link(&self, link: &str) {
        let path = self.seen(Path::new("/sys/class/net").join(link));
        eventually("the link is gone", PATIENCE, || match path.exists() {
            true => Err(format!("{link} is there")),
            false => Ok(()),
        });
    }

    /// Starts a daemon of the test's own on the host.
    pub fn daemon(&self, name: &str, command: Command) -> Daemon {
        Daemon::start(&self.space, format!("{}: {name}", self.name), command)
    }

    /// The calls that dockerd makes, made by the test.
    pub fn engine(&self) -> Engine<'_> {
        Engine::new(self)
    }

    /// Starts ovsdb-server.
    pub fn start_ovsdb(&mut self) {
        let mut command = self.ovs_command("ovsdb-server");
        command
            .arg(self.path("ovs/conf.db"))
            .arg(format!("--remote=punix:{}", self.path("ovs/db.sock")))
            .arg(format!("--pidfile={}", self.path("ovs/ovsdb-server.pid")))
            .arg(format!("--unixctl={}", self.path("ovs/ovsdb.ctl")));
        self.ovsdb = Some(Daemon::start(&self.space, format!("{}: ovsdb-server", self.name), command));
        let db = format!("--db=unix:{}", self.path("ovs/db.sock"));
        eventually("ovsdb-server", PATIENCE, || {
            self.space.exec(["ovs-vsctl", "--timeout=5", &db, "--no-wait", "init"]).ok()
        });
    }

    /// SIGKILL to ovsdb-server; its file stays.
    pub fn kill_ovsdb(&mut self) {
        self.ovsdb = None;
    }

    /// Starts ovs-vswitchd.
    pub fn start_vswitchd(&mut self) {
        let mut command = self.ovs_command("ovs-vswitchd");
        command
            .arg(format!("unix:{}", self.path("ovs/db.sock")))
            .arg("--disable-system")
            .arg(format!("--pidfile={}", self.path("ovs/ovs-vswitchd.pid")))
            .arg(format!("--unixctl={}", self.path("ovs/vswitchd.ctl")));
        self.vswitchd = Some(Daemon::start(&self.space, format!("{}: ovs-vswitchd", self.name), command));
    }

    /// SIGKILL to ovs-vswitchd; the database stays.
    pub fn kill_vswitchd(&mut self) {
        self.vswitchd = None;
    }

    /// Kills ovs-vswitchd and starts it again, and does what the host's boot scripts do for the underlay.
    pub fn restart_vswitchd(&mut self) {
        self.kill_vswitchd();
        self.start_vswitchd();
        eventually("br-phy after ovs-vswitchd came back", PATIENCE, || {
            let control = self.path("ovs/vswitchd.ctl");
            self.space.exec(["ovs-appctl", "-t", &control, "version"]).ok()?;
            self.space.exec(["ip", "link", "show", "br-phy"]).ok()
        });
        self.configure_uplink();
    }

    fn ovs_command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("OVS_RUNDIR", self.path("ovs")).env("OVS_LOGDIR", self.path("ovs")).arg("--no-chdir");
        command
    }

    /// Starts the agent and waits until it answers.
    pub fn start_agent(&mut self) {
        self.launch_agent();
        eventually("the agent", PATIENCE, || {
            self.agent.as_mut().expect("it was just started").assert_running();
            self.sluice("status").ok()
        });
    }

    /// Starts the agent and does not wait.
    pub fn launch_agent(&mut self) {
        let store = match self.store {
            Store::Etcd => format!("etcd://{ETCD}:2379"),
            Store::Embedded => "embedded".to_owned(),
        };
        let mut command = Command::new(binary());
        command
            .args(["agent", "--node", &self.name, "--underlay", &self.underlay(), "--datapath", "netdev"])
            .args(["--ovs-rundir", &self.path("ovs"), "--bridge", "br-int", "--uplink-bridge", "br-phy"])
            .args(["--store", &store, "--state-dir", &self.path("sluice")])
            .args(["--admin-socket", &self.path("sluice.sock")])
            .args(["--plugin-socket", "/run/docker/plugins/sluice.sock"])
            .args(["--docker-socket", if self.dockerd.is_some() { "/run/docker.sock" } else { "none" }])
            .env("RUST_BACKTRACE", "1");
        self.agent = Some(Daemon::start(&self.space, format!("{}: agent", self.name), command));
    }

    /// SIGKILL to the agent.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// SIGTERM to the agent; it must end well.
    #[track_caller]
    pub fn stop_agent(&mut self) {
        let status = self.agent.take().expect("the agent runs").terminate();
        assert!(status.success(), "the agent of {} ended with {status}", self.name);
    }

    /// The agent's resident memory, in KiB.
    #[track_caller]
    pub fn agent_memory(&self) -> u64 {
        let pid = self.agent.as_ref().expect("the agent runs").pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its resident size");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// The processor time that the agent has had.
    #[track_caller]
    pub fn agent_time(&self) -> Duration {
        processor_time(self.agent.as_ref().expect("the agent runs").pid())
    }

    /// The processor time that ovs-vswitchd has had.
    #[track_caller]
    pub fn vswitchd_time(&self) -> Duration {
        processor_time(self.vswitchd.as_ref().expect("ovs-vswitchd runs").pid())
    }

    /// Starts dockerd, waits until it answers, and imports the image `busybox` if it has none.
    pub fn start_dockerd(&mut self) {
        if self.containerd.is_none() {
            self.start_containerd();
        }
        let config = self.path("docker/daemon.json");
        std::fs::write(self.seen(&config), "{\"live-restore\": true}").expect("dockerd's configuration");
        let mut command = Command::new("dockerd");
        command
            .args(["--config-file", &config, "--data-root", &self.path("docker/data")])
            .args([
                "--containerd",
                CONTAINERD,
                "--host",
                "unix:///run/docker.sock",
                "--pidfile",
                "/run/docker.pid",
            ])
            .args(["--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--cgroup-parent", &self.cgroup]);
        self.dockerd = Some(Daemon::start(&self.space, format!("{}: dockerd", self.name), command));
        eventually("dockerd", PATIENCE * 3, || {
            self.dockerd.as_mut().expect("it was just started").assert_running();
            self.docker("version").ok()
        });
        if self.docker("image inspect busybox").ok().is_err() {
            self.import_busybox();
        }
    }

    /// A containerd that outlives dockerd, as an installed one does.
    fn start_containerd(&mut self) {
        let config = self.path("docker/containerd.toml");
        let root = self.path("docker/containerd");
        let text = format!(
            "version = 2\nroot = \"{root}\"\nstate = \"/run/containerd\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{CONTAINERD}\"\n"
        );
        std::fs::write(self.seen(&config), text).expect("containerd's configuration");
        let mut command = Command::new("containerd");
        command.args(["--config", &config]);
        self.containerd = Some(Daemon::start(&self.space, format!("{}: containerd", self.name), command));
        eventually("containerd", PATIENCE, || {
            let socket = self.seen(CONTAINERD);
            std::os::unix::net::UnixStream::connect(socket).map_err(|error| error.to_string())
        });
    }

    fn import_busybox(&self) {
        let script = "set -e; root=$0/rootfs; mkdir -p $root/bin $root/etc $root/proc $root/sys $root/dev $root/tmp; \
            cp \"$(command -v busybox)\" $root/bin/busybox; \
            for a in $(busybox --list); do [ $a = busybox ] || ln -sf busybox $root/bin/$a; done; \
            tar -C $root -c . | DOCKER_HOST=unix:///run/docker.sock docker import - busybox";
        self.exec(["sh", "-c", script, &self.path("docker")]).expect("importing busybox");
    }

    /// SIGKILL to dockerd. With live-restore, which the lab sets, its containers go on.
    pub fn kill_dockerd(&mut self) {
        self.dockerd = None;
    }

    /// The pids of its daemons.
    pub fn pids(&self) -> Vec<u32> {
        self.daemons().chain([&self.holder]).map(Daemon::pid).collect()
    }

    pub(super) fn daemons(&self) -> impl Iterator<Item = &Daemon> {
        self.ovsdb
            .iter()
            .chain(&self.vswitchd)
            .chain(&self.containerd)
            .chain(&self.dockerd)
            .chain(&self.agent)
    }
}

/// The processor time of a process's threads, to the nanosecond (proc(5), `schedstat`).
fn processor_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let stats =
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    let nanoseconds = stats.filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok());
    Duration::from_nanos(nanoseconds.sum())
}
