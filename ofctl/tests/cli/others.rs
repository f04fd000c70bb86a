//! Groups, meters, ports, queues, options and roles on a real Open vSwitch, beside ovs-ofctl.

use serde_json::Value;

use super::live::Ovs;

/// What may differ between two looks: how long something has been there.
fn without_durations(text: &str) -> String {
    let mut parts = text.split("duration");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += part.trim_start_matches(|c: char| "=:. s".contains(c) || c.is_ascii_digit());
    }
    out
}

impl Ovs {
    /// What both print, but for the line in which ovs-ofctl names the message.
    fn same(&self, command: &str, arguments: &[&str]) -> String {
        let all = [&[command, "br0"], arguments].concat();
        let theirs = self.ovs_ofctl(&all);
        let is_head = |line: &&str| ["OFP", "NX"].iter().any(|start| line.starts_with(start));
        let theirs: String = theirs.lines().skip_while(is_head).map(|line| format!("{line}\n")).collect();
        let ours = self.ofctl(&all);
        assert_eq!(
            without_durations(ours.trim_end()),
            without_durations(theirs.trim_end()),
            "{command} {arguments:?}"
        );
        ours
    }

    /// The objects that a dump prints.
    fn json(&self, command: &str, arguments: &[&str]) -> Vec<Value> {
        let out = self.ofctl(&[&["--json", command, "br0"], arguments].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn groups_are_shown_changed_and_deleted() {
    let Some(ovs) = Ovs::start() else { return };
    let groups = "group_id=1,type=all,bucket=actions=output:2,bucket=output:3\n\
                  group_id=2,type=select,bucket=weight:7,actions=output:2,bucket=weight:3,actions=output:3\n\
                  group_id=3,type=ff,bucket=watch_port:2,actions=output:2\n";
    let (_, errors, status) = ovs.ours(&["add-groups", "br0", "-"], groups);
    assert_eq!((status, errors.as_str()), (0, ""));
    ovs.same("dump-groups", &[]);
    ovs.same("dump-group-stats", &[]);
    ovs.same("dump-group-stats", &["group_id=2"]);
    ovs.same("dump-group-features", &[]);
    let one = ovs.ofctl(&["dump-groups", "br0", "2"]);
    assert!(one.contains("group_id=2,type=select") && one.lines().count() == 1, "{one}");
    let two = &ovs.json("dump-groups", &["group_id=2"])[0];
    assert_eq!((&two["group_type"], &two["buckets"][0]["weight"]), (&"select".into(), &7.into()), "{two}");
    assert_eq!(ovs.json("dump-group-stats", &[]).len(), 3);

    let (_, errors, status) = ovs.ours(&["mod-group", "br0", "group_id=9,type=all"], "");
    assert!(status == 1 && errors.contains("OFPGMFC_UNKNOWN_GROUP"), "{errors}");
    ovs.ofctl(&["--may-create", "mod-group", "br0", "group_id=9,type=all,bucket=output:2"]);
    ovs.ofctl(&["--may-create", "mod-group", "br0", "group_id=1,type=all,bucket=output:3"]);
    ovs.same("dump-groups", &[]);
    ovs.ofctl(&["del-groups", "br0", "group_id=9"]);
    assert_eq!(ovs.json("dump-groups", &[]).len(), 3);
}

#[test]
fn meters_are_shown_changed_and_deleted() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.ofctl(&["add-meter", "br0", "meter=1,kbps,burst,stats,bands=type=drop,rate=1000,burst_size=100"]);
    ovs.ofctl(&["add-meter", "br0", "meter=2,pktps,band=type=drop,rate=50"]);
    ovs.same("dump-meters", &[]);
    ovs.same("dump-meters", &["meter=2"]);
    ovs.same("meter-stats", &["meter=1"]);
    ovs.same("meter-features", &[]);
    let one = &ovs.json("dump-meters", &["1"])[0];
    let wanted = (&serde_json::json!(["kbps", "burst", "stats"]), &serde_json::json!(1000));
    assert_eq!((&one["flags"], &one["bands"][0]["rate"]), wanted, "{one}");
    ovs.ofctl(&["mod-meter", "br0", "meter=2,pktps,bands=type=drop,rate=60"]);
    assert_eq!(ovs.json("dump-meters", &["2"])[0]["bands"][0]["rate"], 60);
    let (_, errors, status) = ovs.ours(&["add-meter", "br0", "meter=2,pktps,bands=type=drop,rate=60"], "");
    assert!(status == 1 && errors.contains("OFPMMFC_METER_EXISTS"), "{errors}");
    let (_, errors, status) = ovs.ours(&["add-meter", "br0", "meter=x,pktps,bands=type=drop,rate=60"], "");
    assert!(status == 1 && errors.contains("the meter, column 7"), "{errors}");
    ovs.ofctl(&["del-meters", "br0"]);
    assert_eq!(ovs.json("dump-meters", &[]), Vec::<Value>::new());
}

#[test]
fn ports_queues_and_tables_are_shown() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.same("dump-ports", &[]);
    ovs.same("dump-ports", &["west"]);
    ovs.same("dump-ports", &["LOCAL"]);
    ovs.same("queue-stats", &[]);
    ovs.same("queue-get-config", &["east"]);
    ovs.same("dump-table-features", &[]);
    for command in ["dump-ipfix-bridge", "dump-ipfix-flow"] {
        let (_, errors, status) = ovs.ours(&[command, "br0"], "");
        assert!(status == 1 && errors.contains("NXST_NOT_CONFIGURED"), "{command}: {errors}");
    }
    let west = &ovs.json("dump-ports", &["west"])[0];
    assert_eq!((&west["port"], west["rx_packets"].is_u64()), (&2.into(), true), "{west}");
    let first = &ovs.json("dump-table-features", &[])[0];
    let fields = first["match"].as_array().unwrap();
    let has = |name: &str| fields.iter().any(|field| field["field"] == name);
    assert!(has("OXM_OF_ETH_DST") && has("NXM_NX_REG0"), "{first}");
    for (change, state) in [("down", true), ("up", false)] {
        ovs.ofctl(&["mod-port", "br0", "west", change]);
        let shown = ovs.ovs_ofctl(&["dump-ports-desc", "br0"]);
        let west = shown.split("(west)").nth(1).and_then(|rest| rest.lines().nth(1)).unwrap_or_default();
        assert_eq!(west.contains("PORT_DOWN"), state, "{shown}");
    }
    let dry = ovs.ofctl(&["mod-port", "br0", "west", "no-forward", "--dry-run"]);
    assert!(dry.contains("OFPT_PORT_MOD") && dry.contains("NO_FWD"), "{dry}");
}

#[test]
fn options_connections_and_roles_are_set() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.ofctl(&["add-tlv-map", "br0", "{class=0x105,type=1,len=4}->tun_metadata0"]);
    ovs.same("dump-tlv-map", &[]);
    assert_eq!(ovs.json("dump-tlv-map", &[])[0]["field"], "tun_metadata0");
    let again = ["add-tlv-map", "br0", "{class=0x105,type=1,len=4}->tun_metadata1"];
    let (_, errors, status) = ovs.ours(&again, "");
    assert!(status == 1 && errors.contains("NXTTMFC_DUP_ENTRY"), "{errors}");
    assert!(errors.contains("NXT_TLV_TABLE_MOD ADD mapping table:"), "{errors}");
    ovs.ofctl(&["del-tlv-map", "br0"]);
    assert_eq!(ovs.json("dump-tlv-map", &[]), Vec::<Value>::new());

    ovs.ofctl(&["ct-flush-zone", "br0", "5"]);
    ovs.ofctl(&["ct-flush", "br0", "zone=5", "ct_nw_src=10.0.0.1,ct_nw_proto=6"]);
    ovs.ofctl(&["ct-flush", "br0"]);

    assert_eq!(ovs.ofctl(&["role", "br0"]), "equal\n");
    assert_eq!(ovs.ofctl(&["role", "br0", "primary", "--generation", "4"]), "primary generation=4\n");
    let (_, errors, status) = ovs.ours(&["role", "br0", "secondary", "--generation", "3"], "");
    assert!(status == 1 && errors.contains("OFPRRFC_STALE"), "{errors}");
    let shown = ovs.ofctl(&["set-async", "br0", "packet_in=0x7/0", "flow_removed=1"]);
    assert!(
        shown.starts_with("packet_in=0x7/0x0\nport_status=") && shown.contains("flow_removed=0x1/"),
        "{shown}"
    );

    let packet = ["packet-out", "br0", "west", "output:3", "0102030405060708090a0b0c08004500"];
    ovs.ofctl(&packet);
    assert!(ovs.ofctl(&[&packet[..], &["--dry-run"]].concat()).contains("in_port=2 actions=output:3"));
    let composed = ovs.ofctl(&["compose-packet", "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80"]);
    assert!(composed.trim().starts_with("0000000000000000000000000800450000"), "{composed}");
    assert!(ovs.ofctl(&["benchmark", "br0", "100", "50"]).contains("Finished in"));
}

#[test]
fn flows_are_shown_by_the_names_of_ports_and_tables() {
    let Some(ovs) = Ovs::start() else { return };
    for flow in [
        "table=0,in_port=west,tcp,tp_dst=2,actions=resubmit(west,3),output:east",
        "table=3,in_port=east,actions=output(port=2,max_len=64),enqueue:3:1,LOCAL,output:99",
        "table=3,priority=5,actions=learn(table=4,in_port=2,load:3->NXM_NX_REG0[]),output:NXM_NX_REG0[]",
    ] {
        ovs.ofctl(&["add-flow", "br0", flow]);
    }
    let db = format!("--db=unix:{}", ovs.path("db.sock"));
    let named =
        [&db, "--timeout=20", "--", "--id=@t", "create", "Flow_Table", "name=forward", "--", "set", "bridge"];
    ovs.theirs("ovs-vsctl", &[&named[..], &["br0", "flow_tables:3=@t"]].concat());
    let lines = |text: String| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    };
    let theirs = ovs.theirs(
        "ovs-ofctl",
        &[
            "-O",
            "OpenFlow13",
            "--names",
            "--no-stats",
            "dump-flows",
            &format!("unix:{}", ovs.path("br0.mgmt")),
        ],
    );
    let ours = ovs.ofctl(&["--names", "dump-flows", "--no-stats", "br0"]);
    assert_eq!(lines(ours.clone()), lines(theirs));
    assert!(ours.contains("in_port=west") && ours.contains("table=forward"), "{ours}");
    // What is printed is read again, but for the names of tables, and of ports within a learn.
    let without_learn = |text: &str| -> String {
        text.lines().filter(|line| !line.contains("learn(")).map(|line| format!("{line}\n")).collect()
    };
    let before = without_learn(&ovs.ofctl(&["dump-flows", "--no-stats", "br0"]));
    let file = ovs.file("named", &without_learn(&ours).replace("forward", "3"));
    ovs.ofctl(&["del-flows", "br0"]);
    ovs.ofctl(&["add-flows", "br0", &file]);
    assert_eq!(lines(ovs.ofctl(&["dump-flows", "--no-stats", "br0"])), lines(before));
    assert!(ovs.ofctl(&["dump-flows", "br0"]).contains("in_port=2"));
}
