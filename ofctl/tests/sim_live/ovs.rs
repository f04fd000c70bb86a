//! A private Open vSwitch with dummy ports: frames go in by command and come out into capture files.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::sim::PortVlan;

/// Ordinary ports 1 to this.
pub(crate) const PORTS: u32 = 4;
/// The tunnel port.
pub(crate) const TUNNEL_PORT: u32 = 101;

/// What the ports carry for `NORMAL`; the others carry everything.
pub(crate) fn port_vlans() -> [(u32, PortVlan); 3] {
    [
        (2, PortVlan::Access(5)),
        (3, PortVlan::Trunk([5, 6].into())),
        (4, PortVlan::NativeUntagged(6, [5, 7].into())),
    ]
}

/// Says why live tests cannot run here, if they cannot.
pub(crate) fn missing() -> Option<String> {
    if std::fs::metadata("/proc/self").map_or(true, |process| process.uid() != 0) {
        return Some("not root".to_owned());
    }
    for tool in ["ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovsdb-tool", "unshare"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Some(format!("{tool} is not installed"));
        }
    }
    None
}

/// The daemons, in a network namespace that dies with them.
pub(crate) struct Ovs {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
    seen: Vec<usize>,
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Ovs {
    /// Starts a switch `br0` with [`PORTS`] dummy ports and a VXLAN port that the flows direct.
    pub(crate) fn start() -> Ovs {
        let folder = tempfile::Builder::new().prefix("sim-ovs-").tempdir().unwrap();
        let mut ovs = Ovs { folder, daemons: Vec::new(), seen: vec![24; PORTS as usize] };
        let (database, socket) = (ovs.path("conf.db"), ovs.path("db.sock"));
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        ovs.command("ovsdb-tool", &["create", &text(&database), schema]).unwrap();
        let remote = format!("--remote=punix:{}", text(&socket));
        ovs.daemon("ovsdb-server", &[&text(&database), &remote], "ovsdb.ctl");
        ovs.wait_for(&socket);
        ovs.daemon(
            "ovs-vswitchd",
            &[&format!("unix:{}", text(&socket)), "--enable-dummy", "--disable-system"],
            "vswitchd.ctl",
        );
        ovs.vsctl("-- init -- add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure");
        for port in 1..=PORTS {
            let capture = text(&ovs.capture(port));
            ovs.vsctl(&format!(
                "add-port br0 p{port} -- set interface p{port} type=dummy ofport_request={port} options:tx_pcap={capture}"
            ));
        }
        ovs.vsctl(&format!(
            "add-port br0 t1 -- set interface t1 type=vxlan ofport_request={TUNNEL_PORT} \
             options:remote_ip=flow options:key=flow options:local_ip=172.31.0.1"
        ));
        ovs.vsctl(
            "-- set port p2 tag=5 -- set port p3 trunks=5,6 -- set port p4 vlan_mode=native-untagged tag=6 trunks=5,7",
        );
        // Nothing is cached: each frame is translated by itself, and learns and counts once.
        ovs.vsctl("set open_vswitch . other_config:flow-limit=0");
        // Without this a tunnel output would show the outer frame that OVS builds, and want a route for it.
        ovs.appctl("dpif/set-dp-features", &["br0", "tnl_push_pop", "false"]);
        ovs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn capture(&self, port: u32) -> PathBuf {
        self.path(&format!("p{port}.pcap"))
    }

    fn prepared(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.folder.path());
        }
        command
    }

    fn daemon(&mut self, program: &str, arguments: &[&str], control: &str) {
        let mut command = self.prepared("unshare");
        command.args(["--net", "--", program]);
        command.args(arguments).arg(format!("--unixctl={}", text(&self.path(control)))).arg("--no-chdir");
        let log = std::fs::File::create(self.path(&format!("{program}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
        self.wait_for(&self.path(control));
    }

    fn wait_for(&self, path: &Path) {
        let start = Instant::now();
        while !path.exists() {
            assert!(start.elapsed() < Duration::from_secs(10), "{} does not appear", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.prepared(program).args(arguments).output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn vsctl(&self, words: &str) {
        let database = format!("--db=unix:{}", text(&self.path("db.sock")));
        let mut arguments = vec![database.as_str(), "--timeout=10"];
        arguments.extend(words.split_whitespace());
        self.command("ovs-vsctl", &arguments).unwrap();
    }

    /// Runs ovs-ofctl against the bridge by OpenFlow 1.3.
    pub(crate) fn ofctl(&self, command: &str, argument: Option<&str>) -> Result<String, String> {
        self.ofctl_with(&[], command, argument)
    }

    /// The same with options.
    pub(crate) fn ofctl_with(
        &self,
        options: &[&str],
        command: &str,
        argument: Option<&str>,
    ) -> Result<String, String> {
        let bridge = format!("unix:{}", text(&self.path("br0.mgmt")));
        let mut arguments = vec!["-O", "OpenFlow13"];
        arguments.extend(options);
        arguments.extend([command, bridge.as_str()]);
        arguments.extend(argument);
        self.command("ovs-ofctl", &arguments)
    }

    /// Replaces all flows and groups, given one a line in ovs-ofctl's syntax, in a bundle for each.
    pub(crate) fn load(&self, flows: &str, groups: &str) {
        self.try_load(flows, groups).unwrap_or_else(|| panic!("ovs-vswitchd died\n{}", self.log()));
    }

    /// The same; `None` if ovs-vswitchd dies of it, or has died before.
    pub(crate) fn try_load(&self, flows: &str, groups: &str) -> Option<()> {
        // Selection methods need a later version; in that, a load is another action.
        let (later, plain): (Vec<&str>, Vec<&str>) =
            groups.lines().partition(|group| group.contains("selection_method"));
        // Not in the bundle: Open vSwitch 3.1 does not survive that if it has just learned.
        self.ofctl("del-flows", None).ok()?;
        self.bundle("OpenFlow13", "group", "group delete\n", &plain)?;
        if !later.is_empty() {
            self.bundle("OpenFlow15", "group", "", &later)?;
        }
        self.bundle("OpenFlow13", "flow", "", &flows.lines().collect::<Vec<_>>())?;
        self.try_appctl("revalidator/purge", &[])?;
        self.try_appctl("fdb/flush", &["br0"])?;
        Some(())
    }

    fn bundle(&self, version: &str, kind: &str, first: &str, lines: &[&str]) -> Option<()> {
        let file = self.path(kind);
        let mut bundle = first.to_owned();
        bundle.extend(lines.iter().map(|line| format!("{kind} add {line}\n")));
        std::fs::write(&file, &bundle).unwrap();
        let bridge = format!("unix:{}", text(&self.path("br0.mgmt")));
        let outcome = self.command("ovs-ofctl", &["-O", version, "bundle", &bridge, &text(&file)]);
        if let Err(error) = outcome {
            self.try_appctl("version", &[])?;
            // The message names the line.
            let kept = std::env::temp_dir().join("sim-live-refused-bundle");
            let _ = std::fs::write(&kept, bundle);
            panic!("{error}\nthe bundle is in {}", kept.display())
        }
        Some(())
    }

    /// A command of ovs-appctl(8).
    pub(crate) fn appctl(&self, method: &str, parameters: &[&str]) -> String {
        self.try_appctl(method, parameters)
            .unwrap_or_else(|| panic!("ovs-vswitchd died of {method} {parameters:?}\n{}", self.log()))
    }

    /// The same; `None` if ovs-vswitchd dies of it, or has died before.
    pub(crate) fn try_appctl(&self, method: &str, parameters: &[&str]) -> Option<String> {
        let mut stream = UnixStream::connect(self.path("vswitchd.ctl")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = serde_json::json!({"id": 0, "method": method, "params": parameters});
        stream.write_all(request.to_string().as_bytes()).ok()?;
        let mut answers = serde_json::Deserializer::from_reader(stream).into_iter::<serde_json::Value>();
        let answer = answers.next()?.ok()?;
        assert!(answer["error"].is_null(), "{method} {parameters:?}: {}", answer["error"]);
        Some(answer["result"].as_str().unwrap().to_owned())
    }

    /// The end of what ovs-vswitchd said.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.path("ovs-vswitchd.log")).unwrap_or_default();
        log.lines().rev().take(5).map(|line| format!("{line}\n")).collect()
    }

    /// OpenFlow port by datapath port.
    pub(crate) fn datapath_ports(&self) -> Vec<(u32, u32)> {
        let shown = self.appctl("dpif/show", &[]);
        let pairs = shown
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1)?.trim_end_matches(':').split_once('/'));
        // The bridge's own port is shown by its number of 16 bits.
        let wide = |port: u32| if port >= 0xff00 { port | 0xffff_0000 } else { port };
        pairs
            .filter_map(|(openflow, datapath)| Some((datapath.parse().ok()?, wide(openflow.parse().ok()?))))
            .collect()
    }

    /// Lets a frame in by a dummy port.
    pub(crate) fn receive(&self, port: u32, frame: &[u8]) {
        self.appctl("netdev-dummy/receive", &[&format!("p{port}"), &hex(frame)]);
    }

    /// The same; `None` if ovs-vswitchd dies of it.
    pub(crate) fn try_receive(&self, port: u32, frame: &[u8]) -> Option<String> {
        self.try_appctl("netdev-dummy/receive", &[&format!("p{port}"), &hex(frame)])
    }

    /// What left since the last call, by port; waits until that many frames have. The frame that came in last has been
    /// dealt with when a command was answered after it: commands come after frames in a turn of the main loop.
    pub(crate) fn sent(&mut self, wanted: usize) -> Vec<(u32, Vec<u8>)> {
        let start = Instant::now();
        loop {
            let sent: Vec<_> = (1..=PORTS).flat_map(|port| self.sent_by(port)).collect();
            if sent.len() >= wanted || start.elapsed() > Duration::from_secs(2) {
                for (port, frame) in &sent {
                    self.seen[*port as usize - 1] += 16 + frame.len();
                }
                return sent;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Frames in a port's capture file after what was seen of it.
    fn sent_by(&self, port: u32) -> Vec<(u32, Vec<u8>)> {
        let capture = std::fs::read(self.capture(port)).unwrap();
        let mut left = capture.get(self.seen[port as usize - 1]..).unwrap_or_default();
        let mut frames = Vec::new();
        while left.len() >= 16 {
            let length = u32::from_ne_bytes(left[8..12].try_into().unwrap()) as usize;
            let Some(frame) = left.get(16..16 + length) else { break };
            frames.push((port, frame.to_vec()));
            left = &left[16 + length..];
        }
        frames
    }
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
