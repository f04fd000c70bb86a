//! On a real Open vSwitch: a netdev bridge in a network namespace of its own, with its own ovsdb-server.

use std::process::{Child, Command};

use super::{missing, ofctl, run, text};

/// An ovsdb-server and an ovs-vswitchd with the bridge `br0`; they end with this, or with the thread that made it.
pub(crate) struct Ovs {
    folder: tempfile::TempDir,
    processes: Vec<Child>,
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Ovs {
    /// `None`, with the reason printed, if it cannot be done here.
    pub(crate) fn start() -> Option<Ovs> {
        let tools =
            ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "unshare", "setpriv"];
        if missing(&tools, true).is_some() {
            return None;
        }
        let mut ovs = Ovs { folder: tempfile::tempdir().unwrap(), processes: Vec::new() };
        let (database, socket) = (ovs.path("conf.db"), format!("unix:{}", ovs.path("db.sock")));
        ovs.theirs("ovsdb-tool", &["create", &database, "/usr/share/openvswitch/vswitch.ovsschema"]);
        ovs.spawn(&["ovsdb-server", &database, &format!("--remote=p{socket}")]);
        let vsctl = |ovs: &Ovs, arguments: &[&str]| {
            ovs.theirs("ovs-vsctl", &[&["--timeout=20", &format!("--db={socket}")], arguments].concat())
        };
        vsctl(&ovs, &["--retry", "--no-wait", "init"]);
        ovs.spawn(&["unshare", "--net", "ovs-vswitchd", &socket]);
        let bridge = "add-br br0 -- set bridge br0 datapath_type=netdev fail-mode=secure \
                      protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15 \
                      -- add-port br0 west -- set interface west type=internal ofport_request=2 \
                      -- add-port br0 east -- set interface east type=internal ofport_request=3";
        vsctl(&ovs, &bridge.split_whitespace().collect::<Vec<_>>());
        Some(ovs)
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.folder.path());
        }
        command
    }

    fn spawn(&mut self, arguments: &[&str]) {
        let log = format!("--log-file={}", self.path(&format!("{}.log", self.processes.len())));
        let mut process = self.command("setpriv");
        process.args(["--pdeathsig", "KILL"]).args(arguments).args(["-vconsole:off", &log]);
        self.processes.push(process.spawn().unwrap());
    }

    pub(crate) fn theirs(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn ovs_ofctl(&self, arguments: &[&str]) -> String {
        self.theirs("ovs-ofctl", &[&["-O", "OpenFlow13"], arguments].concat())
    }

    /// Output, errors and status of our command; the bridge is found by its name.
    pub(crate) fn ours(&self, arguments: &[&str], input: &str) -> (String, String, i32) {
        let mut command = ofctl(arguments);
        command.env("OVS_RUNDIR", self.folder.path());
        let output = run(command, input);
        (text(&output.stdout), text(&output.stderr), output.status.code().expect("no signal"))
    }

    pub(crate) fn ofctl(&self, arguments: &[&str]) -> String {
        let (out, errors, status) = self.ours(arguments, "");
        assert_eq!((status, errors.as_str()), (0, ""), "{arguments:?}");
        out
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What may differ between two looks: how long flows have been there, and transaction numbers.
fn still(text: &str) -> Vec<String> {
    let word = |word: &str| !word.starts_with("duration=") && !word.starts_with("(xid=");
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split(' ').filter(|w| word(w)).collect::<Vec<_>>().join(" ")).collect();
    lines.retain(|line| !line.is_empty());
    lines.sort();
    lines
}

#[test]
fn what_one_adds_the_other_dumps() {
    let Some(ovs) = Ovs::start() else { return };
    let pipeline = ovs.file("pipeline", include_str!("../vectors/pipeline.flows"));
    for bundle in [&["--bundle"][..], &[]] {
        ovs.ovs_ofctl(&["del-flows", "br0"]);
        ovs.ofctl(&[bundle, &["add-flows", "br0", &pipeline]].concat());
        assert!(ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]).lines().count() > 100);
        assert_eq!(ovs.ovs_ofctl(&["diff-flows", "br0", &pipeline]), "");
        let theirs = ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]);
        assert_eq!(sorted(&ovs.ofctl(&["dump-flows", "--no-stats", "br0"])), sorted(&theirs));
        let theirs = ovs.ovs_ofctl(&["dump-flows", "--sort", "br0"]);
        assert_eq!(still(&ovs.ofctl(&["dump-flows", "br0"])), still(&theirs));
    }
    // The reverse.
    ovs.ofctl(&["del-flows", "br0"]);
    assert_eq!(ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]), "");
    ovs.ovs_ofctl(&["add-flows", "br0", &pipeline]);
    assert_eq!(ovs.ofctl(&["diff-flows", "br0", &pipeline]), "");
    // What a dump prints is a file that adds the same.
    let dumped = ovs.file("dumped", &ovs.ofctl(&["dump-flows", "br0"]));
    assert_eq!(ovs.ofctl(&["diff-flows", &dumped, "br0"]), "");
}

#[test]
fn the_switch_is_shown_as_ovs_ofctl_shows_it() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.ofctl(&["add-flow", "br0", "table=3,ip,actions=drop"]);
    for (command, heads) in
        [("show", 0), ("dump-desc", 1), ("dump-ports-desc", 1), ("dump-tables", 1), ("get-frags", 0)]
    {
        let theirs = ovs.ovs_ofctl(&[command, "br0"]);
        let theirs: String = theirs.lines().skip(heads).map(|line| format!("{line}\n")).collect();
        assert_eq!(still(&ovs.ofctl(&[command, "br0"])), still(&theirs), "{command}");
    }
    let theirs = ovs.ovs_ofctl(&["dump-aggregate", "br0", "table=3"]);
    assert!(theirs.contains(ovs.ofctl(&["dump-aggregate", "br0", "table=3"]).trim()), "{theirs}");
    ovs.ofctl(&["set-frags", "br0", "nx-match"]);
    assert_eq!(ovs.ovs_ofctl(&["get-frags", "br0"]), "nx-match\n");
    ovs.ofctl(&["probe", "br0"]);
    assert_eq!(ovs.ofctl(&["ping", "--count", "3", "br0"]).lines().count(), 3);
    let east = ovs.ofctl(&["--json", "dump-ports-desc", "br0", "east"]);
    let east: serde_json::Value = serde_json::from_str(&east).unwrap();
    assert_eq!((&east["port"], &east["name"]), (&3.into(), &"east".into()));
}

#[test]
fn flows_are_found_changed_and_deleted_by_what_is_named() {
    let Some(ovs) = Ovs::start() else { return };
    let flows = "cookie=0x10,table=1,priority=5,in_port=west,actions=output:east\n\
                 cookie=0x11,table=1,priority=6,in_port=3,tcp,actions=output:west\n\
                 cookie=0x20,table=2,priority=7,tcp,tp_dst=80,actions=drop\n";
    let (_, errors, status) = ovs.ours(&["add-flows", "br0", "-"], flows);
    assert_eq!((status, errors.as_str()), (0, ""));
    let cookies = |arguments: &[&str]| -> Vec<String> {
        let out = ovs.ofctl(&[&["dump-flows", "--json", "br0"], arguments].concat());
        let all = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        all.map(|flow| flow["cookie"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(cookies(&["cookie=0x10/0xf0", "--sort"]), ["0x10", "0x11"]);
    assert_eq!(cookies(&["table=2"]), ["0x20"]);
    assert_eq!(cookies(&["out_port=east"]), ["0x10"]);
    assert_eq!(cookies(&["tcp", "--rsort=priority"]), ["0x20", "0x11"]);
    assert_eq!(cookies(&["--sort=in_port"]), ["0x10", "0x11", "0x20"]);

    ovs.ofctl(&["mod-flows", "br0", "table=1,actions=output:9"]);
    assert!(ovs.ovs_ofctl(&["dump-flows", "br0", "table=1"]).matches("actions=output:9").count() == 2);
    // Not strictly the one with a priority of 5.
    ovs.ofctl(&["--strict", "del-flows", "br0", "table=1,priority=4,in_port=west"]);
    assert_eq!(cookies(&["--sort"]), ["0x10", "0x11", "0x20"]);
    ovs.ofctl(&["--strict", "del-flows", "br0", "table=1,priority=5,in_port=west"]);
    ovs.ofctl(&["del-flows", "br0", "cookie=0x20/-1"]);
    assert_eq!(cookies(&[]), ["0x11"]);
}

#[test]
fn replace_makes_the_fewest_changes_and_diff_then_finds_none() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.ovs_ofctl(&["add-flow", "br0", "table=1,priority=1,actions=drop"]);
    ovs.ovs_ofctl(&["add-flow", "br0", "table=1,priority=2,actions=drop"]);
    let wanted =
        ovs.file("wanted", "table=1,priority=2,actions=drop\ntable=1,priority=3,actions=output:east\n");
    let (out, _, status) =
        ovs.ours(&["diff-flows", "br0", &ovs.file("numbers", "table=1,priority=2,actions=drop\n")], "");
    assert_eq!((out.as_str(), status), ("-table=1 priority=1 actions=drop\n", 2));
    let dry = ovs.ofctl(&["replace-flows", "br0", &wanted, "--dry-run"]);
    assert_eq!(
        dry.lines().collect::<Vec<_>>(),
        [
            "OFPT_FLOW_MOD (OF1.3) (xid=0x0): ADD table:1 priority=3 actions=output:3",
            "OFPT_FLOW_MOD (OF1.3) (xid=0x0): DEL_STRICT table:1 priority=1 actions=drop",
        ]
    );
    ovs.ofctl(&["--bundle", "replace-flows", "br0", &wanted]);
    let theirs = ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]);
    assert_eq!(
        sorted(&theirs),
        [" table=1, priority=2 actions=drop", " table=1, priority=3 actions=output:3"]
    );
}

#[test]
fn a_refusal_names_the_line_and_a_bundle_leaves_nothing() {
    let Some(ovs) = Ovs::start() else { return };
    let lines = "flow table=1,actions=drop\n\n# next\nflow table=9,actions=group:99\n";
    let (out, errors, status) = ovs.ours(&["bundle", "br0", "-"], lines);
    assert_eq!((out.as_str(), status), ("", 1));
    assert!(errors.contains("standard input, line 4") && errors.contains("OFPBAC_BAD_OUT_GROUP"), "{errors}");
    assert_eq!(ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]), "");
    // A text that cannot be read sends nothing at all.
    let (_, errors, status) =
        ovs.ours(&["add-flows", "br0", "-"], "actions=drop\nin_port=nowhere,actions=drop\n");
    assert_eq!(status, 1);
    assert!(errors.contains("standard input, line 2, column 9: 'nowhere'"), "{errors}");
    assert_eq!(ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]), "");
    let lines = "group group_id=5,type=all,bucket=output:2\nflow table=9,actions=group:5\n";
    let (_, errors, status) = ovs.ours(&["bundle", "br0", "-"], lines);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(ovs.ovs_ofctl(&["dump-groups", "br0"]).contains("group_id=5,type=all,bucket=actions=output:2"));
    ovs.ofctl(&["del-groups", "br0", "group_id=5"]);
    assert!(!ovs.ovs_ofctl(&["dump-groups", "br0"]).contains("group_id"));
    let packet = "in_port=west,packet=0102030405060708090a0b0c08004500,actions=group:99";
    let (_, errors, status) = ovs.ours(&["packet-out", "br0", packet], "");
    assert!(status == 1 && errors.contains("OFPBAC_BAD_OUT_GROUP"), "{errors}");
}

#[test]
fn a_live_switch_is_traced_by_its_own_flows() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.ofctl(&["add-flow", "br0", "in_port=west,ip,nw_dst=10.0.0.0/8,actions=dec_ttl,output:east"]);
    let trace = |flow: &str| ovs.ofctl(&["trace", "br0", flow]);
    assert!(trace("in_port=west,udp,nw_dst=10.1.2.3").ends_with("Verdict: output to 3 (east)\n"));
    assert!(trace("in_port=west,udp,nw_dst=10.1.2.3").contains(">> output to port 3 (east)\n"));
    assert!(trace("in_port=east,udp,nw_dst=10.1.2.3").contains("Verdict: drop: no flow of table 0 matches"));
}

#[test]
fn packets_for_the_controller_are_monitored() {
    use std::io::{BufRead as _, BufReader};
    let Some(ovs) = Ovs::start() else { return };
    let mut command = ofctl(&["monitor", "--json", "br0", "65535"]);
    command.env("OVS_RUNDIR", ovs.folder.path()).stdout(std::process::Stdio::piped());
    let mut monitor = command.spawn().unwrap();
    // The connection's settings are there once it shows port changes or packets; packets are sent until one shows.
    let (send, received) = std::sync::mpsc::channel();
    let lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
    let packet = "in_port=west,packet=0102030405060708090a0b0c08004500,actions=CONTROLLER:10";
    let seen = (0..100).find_map(|_| {
        ovs.ofctl(&["packet-out", "br0", packet]);
        received.recv_timeout(std::time::Duration::from_millis(100)).ok()
    });
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    let seen: serde_json::Value = serde_json::from_str(&seen.expect("a packet within ten seconds")).unwrap();
    assert_eq!(
        (&seen["type"], &seen["match"]["OXM_OF_IN_PORT"]),
        (&"nxt_packet_in2".into(), &2.into()),
        "{seen}"
    );
    assert!("0102030405060708090a0b0c08004500".starts_with(seen["data"].as_str().unwrap()), "{seen}");
}
