//! `vsctl` beside ovs-vsctl, on one Open vSwitch.

use super::live::Ovs;
use super::{ofctl, run, text};

impl Ovs {
    fn vsctl(&self, arguments: &[&str]) -> String {
        self.ofctl(&[&["vsctl"], arguments].concat())
    }

    fn ovs_vsctl(&self, arguments: &[&str]) -> String {
        let db = format!("--db=unix:{}", self.path("db.sock"));
        self.theirs("ovs-vsctl", &[&[db.as_str(), "--timeout=20"], arguments].concat())
    }

    fn refused(&self, arguments: &[&str], wanted: &str) {
        let (out, errors, status) = self.ours(&[&["vsctl"], arguments].concat(), "");
        assert_eq!((out.as_str(), status), ("", 1), "{arguments:?}");
        assert!(errors.contains(wanted), "{arguments:?}: {errors}");
    }
}

/// The blocks of a listing, whatever their order.
fn blocks(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text.split("\n\n").map(|block| block.trim().to_owned()).collect();
    all.sort();
    all
}

#[test]
fn bridges_and_ports_come_and_go() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.vsctl(&["add-br", "br1", "--datapath-type", "netdev"]);
    assert_eq!(ovs.vsctl(&["list-br"]), ovs.ovs_vsctl(&["list-br"]));
    assert_eq!(ovs.ovs_vsctl(&["get", "bridge", "br1", "datapath_type"]), "netdev\n");
    ovs.refused(&["add-br", "br1"], "there is a bridge br1 already");
    ovs.vsctl(&["--may-exist", "add-br", "br1"]);
    assert_eq!(ovs.ours(&["vsctl", "br-exists", "br1"], "").2, 0);
    assert_eq!(ovs.ours(&["vsctl", "br-exists", "br9"], "").2, 2);

    let vxlan =
        ["add-port", "br1", "vx0", "--type", "vxlan", "--option", "remote_ip=flow", "--option", "key=7"];
    // A try makes nothing.
    let dry = ovs.vsctl(&[&vxlan[..], &["--dry-run"]].concat());
    assert!(dry.contains(r#""op":"insert","table":"Interface""#), "{dry}");
    assert_eq!(ovs.ovs_vsctl(&["list-ports", "br1"]), "");
    ovs.vsctl(&vxlan);
    ovs.vsctl(&["add-port", "br1", "in0", "--type", "internal", "--tag", "9", "--external-id", "who=we"]);
    assert_eq!(ovs.vsctl(&["list-ports", "br1"]), "in0\nvx0\n");
    assert_eq!(ovs.vsctl(&["port-to-br", "in0"]), "br1\n");
    assert_eq!(ovs.ovs_vsctl(&["get", "interface", "vx0", "options"]), "{key=\"7\", remote_ip=flow}\n");
    assert_eq!(ovs.ovs_vsctl(&["get", "port", "in0", "tag"]), "9\n");
    ovs.refused(&["add-port", "br0", "in0"], "port in0 is in bridge br1 already");
    ovs.refused(&["--may-exist", "add-port", "br0", "in0"], "port in0 is in bridge br1 already");
    ovs.refused(&["add-port", "br9", "x"], "there is no bridge br9");
    // ovs-vswitchd says why it cannot, as soon as it has tried.
    ovs.refused(&["add-port", "br1", "nodevice"], "could not open network device nodevice");
    ovs.vsctl(&["del-port", "nodevice"]);

    // Both show the same tree but for managers; ours is sorted.
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(ovs.vsctl(&["show"])), sorted(ovs.ovs_vsctl(&["show"])));
    let shown = ovs.vsctl(&["show", "--json"]);
    let shown: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&shown[1]["bridge"], &shown[1]["ports"][1]["tag"]), (&"br1".into(), &9.into()));

    ovs.refused(&["del-port", "br0", "in0"], "port in0 is in bridge br1, not in br0");
    ovs.vsctl(&["del-port", "br1", "in0"]);
    ovs.refused(&["del-port", "in0"], "there is no port in0");
    ovs.vsctl(&["--if-exists", "del-port", "in0"]);
    assert_eq!(ovs.ovs_vsctl(&["list-ports", "br1"]), "vx0\n");
    ovs.vsctl(&["del-br", "br1"]);
    ovs.refused(&["del-br", "br1"], "there is no bridge br1");
    ovs.vsctl(&["--if-exists", "del-br", "br1"]);
    assert_eq!(ovs.ovs_vsctl(&["list-br"]), "br0\n");
}

#[test]
fn rows_are_listed_read_and_set_as_ovs_vsctl_does() {
    let Some(ovs) = Ovs::start() else { return };
    let both = |ours: &[&str], theirs: &[&str]| {
        assert_eq!(blocks(&ovs.vsctl(ours)), blocks(&ovs.ovs_vsctl(theirs)), "{ours:?}");
    };
    for set in [
        &["set", "bridge", "br0", "other_config:hwaddr=02:00:00:00:00:01", "fail_mode=standalone"][..],
        &["set", "port", "west", "tag=5", "trunks=1,2", "external_ids={a=b,\"c d\"=\"e,f\"}"],
        &["set", "Open_vSwitch", ".", "external_ids:system-id=me", "other_config:x=http://y?z=1"],
        &["set", "Interface", "east", "mtu_request=1400"],
    ] {
        ovs.vsctl(set);
        let table = set[1];
        both(&["list", table], &["list", table]);
    }
    // A key that is there gets another value, and the others stay.
    ovs.vsctl(&["set", "port", "west", "external_ids:a=g"]);
    assert_eq!(ovs.ovs_vsctl(&["get", "port", "west", "external_ids"]), "{a=g, \"c d\"=\"e,f\"}\n");
    both(
        &["get", "port", "west", "external_ids:a", "tag", "trunks"],
        &["get", "port", "west", "external_ids:a", "tag", "trunks"],
    );
    both(&["list", "port", "west", "--columns", "name,tag"], &["--columns=name,tag", "list", "port", "west"]);
    ovs.vsctl(&["add", "port", "west", "trunks", "3"]);
    ovs.vsctl(&["remove", "port", "west", "trunks", "1"]);
    ovs.vsctl(&["add", "port", "west", "external_ids", "h=i"]);
    ovs.vsctl(&["remove", "port", "west", "external_ids", "a"]);
    assert_eq!(ovs.ovs_vsctl(&["get", "port", "west", "trunks"]), "[2, 3]\n");
    assert_eq!(ovs.ovs_vsctl(&["get", "port", "west", "external_ids"]), "{\"c d\"=\"e,f\", h=i}\n");
    ovs.vsctl(&["clear", "port", "west", "trunks", "tag"]);
    assert_eq!(ovs.vsctl(&["get", "port", "west", "trunks", "tag"]), "[]\n[]\n");
    let json = ovs.vsctl(&["--json", "get", "port", "west", "external_ids"]);
    assert_eq!(json, "{\"external_ids\":{\"c d\":\"e,f\",\"h\":\"i\"}}\n");

    let dry = ovs.vsctl(&["set", "port", "west", "tag=6", "--dry-run"]);
    assert!(dry.contains(r#""op":"update","table":"Port""#) && dry.contains(r#""row":{"tag":6}"#), "{dry}");
    assert_eq!(ovs.vsctl(&["get", "port", "west", "tag"]), "[]\n");
    for (arguments, wanted) in [
        (&["get", "port", "nobody", "tag"][..], "table Port has no row 'nobody'"),
        (&["get", "prot", "west", "tag"], "Open_vSwitch has no table 'prot'"),
        (&["get", "port", "west", "nonsense"], "table Port has no column 'nonsense'"),
        (&["get", "port", "west", "external_ids:z"], "has no key z"),
        (&["get", "port", "west", "tag:z"], "is no map"),
        (&["set", "port", "west", "tag=x"], "'x' is not an integer"),
        (&["set", "port", "west", "tag=[1,2]"], "2 values were given"),
        (&["set", "port", "west", "tag"], "COLUMN=VALUE"),
        // The database's own refusal.
        (&["set", "port", "west", "tag=5000"], "constraint violation"),
    ] {
        ovs.refused(arguments, wanted);
    }
    ovs.vsctl(&["--if-exists", "get", "port", "nobody", "tag"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    for (db, wanted) in [
        ("unix:/nonexistent/db.sock", "the socket does not exist"),
        ("tcp:127.0.0.1:1", "set-manager ptcp:6640:ADDRESS"),
        ("ssl:127.0.0.1", "needs a certificate"),
        ("nonsense", "tcp:HOST[:PORT]"),
    ] {
        let output = run(ofctl(&["vsctl", "--db", db, "list-br"]), "");
        let errors = text(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains(wanted), "{db}: {errors}");
    }
}
