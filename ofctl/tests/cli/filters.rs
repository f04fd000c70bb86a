//! `encode` and `decode`, and the exit status.

use super::support::unhex;
use super::{missing, ofctl, run, text};

const FLOW_MODS: &str = include_str!("../vectors/flow_mods.txt");

fn pairs() -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> =
        FLOW_MODS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    lines.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

fn filter(arguments: &[&str], input: &str) -> (String, i32) {
    let output = run(ofctl(arguments), input);
    (text(&output.stdout), output.status.code().expect("an exit status, not a signal"))
}

#[test]
fn encode_gives_the_recorded_bytes() {
    let input: String = pairs().iter().map(|(flow, _)| format!("{flow}\n")).collect();
    let wanted: String = pairs().iter().map(|(_, hex)| format!("{hex}\n")).collect();
    assert_eq!(filter(&["-O", "OpenFlow13", "encode", "-"], &input), (wanted, 0));
}

#[test]
fn json_out_and_in_again_gives_the_same_bytes() {
    let hexes: String = pairs().iter().map(|(_, hex)| format!("{hex}\n")).collect();
    let (json, status) = filter(&["decode", "--json", "-"], &hexes);
    assert_eq!((json.lines().count(), status), (pairs().len(), 0));
    assert!(json.contains("\"OXM_OF_IPV4_DST\":\"10.0.0.0/255.255.255.0\""), "{json}");
    assert_eq!(filter(&["encode", "--json", "-"], &json), (hexes, 0));
}

#[test]
fn decode_says_what_ovs_ofctl_says() {
    if missing(&["ovs-ofctl"], false).is_some() {
        return;
    }
    let messages = include_str!("../vectors/messages.txt").lines().filter(|line| line.starts_with("04"));
    // ovs-ofctl describes a packet by its fields, where we show its bytes, and says nothing of what a request for
    // flows asks by cookie.
    let ours_alone = |line: &&str| line.starts_with("040d") || line.starts_with("0412");
    let hexes: Vec<&str> =
        pairs().into_iter().map(|(_, hex)| hex).chain(messages.filter(|line| !ours_alone(line))).collect();
    let (ours, status) = filter(&["decode", "-"], &hexes.join("\n"));
    assert_eq!(status, 0);
    let (mut wrong, mut compared) = (String::new(), 0);
    for (hex, ours) in hexes.iter().zip(ours.lines()) {
        // Messages that have no wording here yet (meters, statistics of groups and ports, …) are shown as values.
        if ours.starts_with(char::is_lowercase) {
            continue;
        }
        compared += 1;
        let theirs = std::process::Command::new("ovs-ofctl").args(["ofp-print", hex]).output().unwrap();
        let theirs = text(&theirs.stdout)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        // A cookie of all ones means none to ovs-ofctl, whatever the bytes say.
        let ours = ours.replace(" cookie:0xffffffffffffffff", "");
        // It prints no mask of a field of 8 bits that has no name for its bits.
        let ours = ours.replace("tun_gbp_flags=0/0x1", "tun_gbp_flags=0");
        if ours != theirs {
            wrong += &format!("\ntheirs {theirs}\n  ours {ours}");
        }
    }
    assert_eq!(ours.lines().count(), hexes.len());
    assert!(compared > 50, "only {compared} of {} have a wording", hexes.len());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_refused_line_says_where_and_why_and_the_others_go_through() {
    let (out, status) =
        filter(&["encode", "-"], "in_port=1,actions=output:2\nin_port=1,actions=nonsense\nactions=drop\n");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines.len(), status), (3, 1), "{out}");
    assert_eq!(lines[1], "error: line 2 column 19: action 'nonsense' is not known here");
    assert!(lines[0].starts_with("040e") && lines[2].starts_with("040e"), "{out}");

    // A field twice, a value outside its mask, a wrong version, a cut message, no hexadecimal.
    let twice = "040e0048000000000000000000000000000000000000000000000000000080\
                 00ffffffffffffffffffffffff00000000000100148000000400000001800000040000000200000000";
    let (out, status) =
        filter(&["decode", "-"], &format!("{twice}\n0914000800000000\n0414000900\n04xx\n0414000800000000\n"));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines.len(), status), (5, 1), "{out}");
    assert!(lines[0].contains("line 1") && lines[0].ends_with("(OFPBMC_DUP_FIELD)"), "{out}");
    assert!(lines[1].ends_with("(OFPBRC_BAD_VERSION)"), "{out}");
    assert!(lines[2].ends_with("(OFPBRC_BAD_LEN)"), "{out}");
    assert!(lines[3].starts_with("error: line 4 column 3: "), "{out}");
    assert_eq!(lines[4], "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x0):");
}

#[test]
fn the_exit_status_tells_failure_from_difference() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let first = file("first", "table=1,in_port=1,actions=output:2\nip,actions=drop\n");
    let second = file("second", "cookie=5,table=1,in_port=1,actions=output:2\nip,actions=drop\n");
    let (out, status) = filter(&["diff-flows", &first, &second], "");
    assert_eq!(out, "-table=1 in_port=1 actions=output:2\n+table=1 in_port=1 cookie=0x5 actions=output:2\n");
    assert_eq!(status, 2);
    assert_eq!(filter(&["diff-flows", &first, &first], ""), (String::new(), 0));
    for wrong in [
        &["diff-flows", &first, "/no/such/file"][..],
        &["no-such-command"],
        &["dump-flows"],
        &["dump-flows", "unix:/no/such/socket"],
        &["dump-flows", "tcp:127.0.0.1:6653"],
        &["probe", "unix:/no/such/socket"],
    ] {
        let output = run(ofctl(wrong), "");
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
    assert_eq!(filter(&["--help"], "").1, 0);
    assert!(filter(&["completions", "bash"], "").0.contains("dump-flows"));
}

#[test]
fn a_packet_is_followed_through_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows");
    let flows = "table=0,in_port=1,actions=load:7->NXM_NX_REG0[],goto_table:5\n\
                 table=5,priority=9,tcp,tp_dst=80,reg0=7,actions=dec_ttl,output:2\n\
                 table=5,priority=1,actions=drop\n";
    std::fs::write(&path, flows).unwrap();
    let path = path.display().to_string();
    let trace = |flow: &str| filter(&["trace", &path, flow], "");
    let (out, status) = trace("in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=7,tp_dst=80");
    assert_eq!(status, 0);
    assert!(out.contains("5. table=5, priority=9,tcp,reg0=0x7,tp_dst=80"), "{out}");
    assert_eq!(out.lines().last(), Some("Verdict: output to 2"));
    assert!(
        trace("in_port=1,tcp,tp_dst=81")
            .0
            .ends_with("Verdict: drop: table 5 priority 1 cookie 0x0 outputs nothing\n")
    );
    assert!(trace("in_port=2,tcp,tp_dst=80").0.ends_with("Verdict: drop: no flow of table 0 matches\n"));

    let ways = trace("in_port=1,tcp,nw_ttl=7,tp_dst=80").0;
    assert!(ways.contains("\nChanged: nw_ttl=6,reg0=0x7\nVerdict"), "{ways}");

    // With groups, meters and ports beside the flows.
    let file = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name).display().to_string()
    };
    let flows = file("grouped", "in_port=1,actions=meter:3,group:2\nin_port=2,actions=NORMAL\n");
    let method = "selection_method=hash,fields(ip_src)";
    let groups = file(
        "groups",
        &format!(
            "group_id=2,type=select,{method},bucket=weight:1,actions=output:3,bucket=weight:0,actions=output:4\n"
        ),
    );
    let meters = file("meters", "meter=3,pktps,bands=type=drop,rate=5\n");
    let beside = |flow: &str, ports: &str| {
        let options = ["--groups", &groups, "--meters", &meters, "--ports", ports];
        filter(&[&["trace"], &options[..], &[&flows, flow]].concat(), "")
    };
    let (out, status) = beside("in_port=1,ip", "1-4");
    assert!(status == 0 && out.contains("bucket 0 of group 2\n"), "{out}");
    assert!(out.contains("meter 3 lets it pass") && out.ends_with("Verdict: output to 3\n"), "{out}");
    assert!(
        beside("in_port=2,dl_dst=ff:ff:ff:ff:ff:ff", "1-3,7").0.ends_with("Verdict: output to 1, 3, 7\n")
    );
    assert_eq!(beside("in_port=1,ip", "4-1").1, 1);
    let coloured = filter(&["--color=always", "trace", &path, "in_port=2,udp"], "").0;
    assert!(coloured.contains("\x1b[31m0. no match: drop\x1b[0m"), "{coloured:?}");

    // The same packet as bytes.
    let packet = "0200000000020200000000010800450000280000000007069ff90a0000010a0000020001005000000000000000005002000000000000";
    let (out, status) = filter(&["trace", "--json", &path, "in_port=1", packet], "");
    let verdict: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&verdict["outputs"][0]["port"], status), (&serde_json::json!(2), 0), "{out}");
    let steps = verdict["steps"].as_array().unwrap();
    assert_eq!(steps[1]["event"], "lookup", "{out}");
    assert_eq!((&steps[1]["table"], &steps[1]["priority"]), (&0.into(), &32768.into()), "{out}");
    assert_eq!(steps.last().unwrap()["event"], "output", "{out}");
    assert_eq!(verdict["verdict"], "Verdict: output to 2", "{out}");
    // Its time to live is one less.
    assert_eq!(verdict["outputs"][0]["frame"].as_str().unwrap()[44..46], *"06", "{out}");
}

#[test]
fn what_makes_no_sense_together_is_refused_by_the_name_of_the_error() {
    for (flow, name) in [
        ("udp,actions=set_field:1->tcp_dst", "OFPBAC_MATCH_INCONSISTENT"),
        ("actions=dec_ttl", "OFPBAC_MATCH_INCONSISTENT"),
        ("tcp_dst=80,actions=drop", "OFPBMC_BAD_PREREQ"),
        ("table=5,actions=goto_table:3", "OFPBIC_BAD_TABLE_ID"),
        ("actions=push_vlan:0x1234", "OFPBAC_BAD_ARGUMENT"),
        ("actions=write_actions(learn(table=1))", "OFPBAC_BAD_TYPE"),
    ] {
        let (out, status) = filter(&["encode", "-"], &format!("{flow}\n"));
        assert!(status == 1 && out.starts_with("error: line 1: ") && out.contains(name), "{flow}: {out}");
    }
}

#[test]
fn ranges_of_ports_and_rules_become_flows() {
    assert_eq!(
        filter(&["port-range", "8080-8090"], ""),
        ("0x1f90/0xfff8\n0x1f98/0xfffe\n8090\n".to_owned(), 0)
    );
    assert_eq!(filter(&["port-range", "1-65534"], "").0.lines().count(), 30);
    assert_eq!(
        filter(&["port-range", "80,82-83", "81", "--json"], ""),
        ("{\"mask\":65532,\"value\":80}\n".to_owned(), 0)
    );
    for wrong in ["x", "9-8", "1-65536", ""] {
        assert_eq!(filter(&["port-range", wrong], "").1, 1, "{wrong}");
    }
    let rules =
        "# the web\n200 deny tcp from 10.9.0.0/16 to any port 80\n100 allow tcp from any to any port 80\n";
    let compile = ["acl", "compile", "-", "--table", "4", "--allow", "goto_table:9"];
    let (flows, status) = filter(&compile, rules);
    assert_eq!(status, 0);
    assert!(flows.contains("table=4, priority=402,tcp,nw_src=10.9.0.0/16,tp_dst=80 actions=drop"), "{flows}");
    assert!(flows.contains("table=4, priority=201,tcp,tp_dst=80 actions=goto_table:9"), "{flows}");
    // What it prints is a file that add-flows takes.
    assert_eq!(filter(&["encode", "-"], &flows).1, 0);
    let output = run(ofctl(&compile), "100 allow tcp from any to 10.0.0.0/33\n");
    assert!(text(&output.stderr).contains("standard input, line 1, column 27"), "{}", text(&output.stderr));
}

#[test]
fn colour_is_where_it_is_wanted() {
    let coloured =
        |arguments: &[&str]| filter(&[arguments, &["decode", "-"]].concat(), "zz\n").0.contains('\u{1b}');
    // Standard output is no terminal here.
    assert!(!coloured(&[]));
    assert!(!coloured(&["--color", "never"]));
    assert!(coloured(&["--color=always"]));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "fish", "zsh"] {
        let (script, status) = filter(&["completions", shell], "");
        assert_eq!(status, 0, "{shell}");
        for word in ["dump-group-stats", "ct-flush", "vsctl", "port-range", "may-create"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn a_stream_of_messages_is_printed_as_ovs_ofctl_prints_it() {
    let hexes = include_str!("../vectors/messages.txt").lines().filter(|line| line.starts_with("04"));
    let mut messages: Vec<Vec<u8>> = hexes.map(unhex).collect();
    messages.extend(pairs().into_iter().map(|(_, hex)| unhex(hex)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream").display().to_string();
    std::fs::write(&path, messages.concat()).unwrap();
    let (objects, status) = filter(&["ofp-parse", "--json", &path], "");
    assert_eq!((objects.lines().count(), status), (messages.len(), 0));
    assert!(objects.lines().all(|line| line.starts_with('{') && line.contains("\"xid\"")), "{objects}");
    let (ours, status) = filter(&["ofp-parse", &path], "");
    assert_eq!(status, 0);
    if missing(&["ovs-ofctl"], false).is_none() {
        let theirs = std::process::Command::new("ovs-ofctl")
            .args(["--no-names", "ofp-parse", &path])
            .output()
            .unwrap();
        let heads = |text: &str| -> Vec<String> {
            let heads = text
                .lines()
                .filter(|line| line.contains("(OF1.3) (xid="))
                .map(|line| line.split_once("):").map_or(line, |(head, _)| head).to_owned());
            heads.collect()
        };
        assert_eq!(heads(&ours), heads(&text(&theirs.stdout)));
    }
    // What is cut off is said, after what is whole.
    std::fs::write(&path, &messages.concat()[..messages[0].len() + 5]).unwrap();
    let (out, status) = filter(&["ofp-parse", &path], "");
    assert!(
        status == 1
            && out.lines().last().unwrap().starts_with(&format!("error: byte {}: ", messages[0].len())),
        "{out}"
    );
}

/// A TCP segment in an Ethernet frame, as a capture has it.
fn segment(ends: [(u8, u16); 2], sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [src, dst] = ends.map(|(last, _)| std::net::IpAddr::from([127, 0, 0, last]));
    let mac = ofctl::MacAddr([2, 0, 0, 0, 0, 1]);
    let frame = ofctl::packet::Frame::between(mac, mac).ip(src, dst);
    let mut bytes = frame.tcp_flags(ends[0].1, ends[1].1, flags).payload(payload).build();
    bytes[38..42].copy_from_slice(&sequence.to_be_bytes());
    bytes
}

/// A file in the pcap format.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for number in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65535, 1u32] {
        file.extend(number.to_le_bytes());
    }
    for frame in frames {
        let length = frame.len() as u32;
        for number in [1, 2, length, length] {
            file.extend(u32::to_le_bytes(number));
        }
        file.extend_from_slice(frame);
    }
    file
}

#[test]
fn the_messages_of_a_capture_are_printed_as_ovs_ofctl_prints_them() {
    const SYN: u8 = 2;
    const DATA: u8 = 0x18;
    let messages = include_str!("../vectors/messages.txt").lines().filter(|line| line.starts_with("04"));
    // ovs-ofctl describes packets, where we show bytes: see `decode_says_what_ovs_ofctl_says`.
    let messages = messages.filter(|line| !line.starts_with("040d") && !line.starts_with("0412"));
    let stream: Vec<u8> = messages.clone().flat_map(unhex).collect();
    let (controller, switch, web) = ((1, 6653), (2, 50000), (3, 80));
    let mut frames = vec![segment([switch, controller], 99, SYN, b"")];
    let mut sequence = 100;
    for piece in stream.chunks(50) {
        frames.push(segment([switch, controller], sequence, DATA, piece));
        // Sent again, and between the others something else.
        frames.push(segment([switch, controller], sequence, DATA, piece));
        frames.push(segment([switch, web], sequence, DATA, b"GET / HTTP/1.0"));
        sequence += piece.len() as u32;
    }
    // The other direction, of which the beginning was missed.
    let barrier = unhex("0415000800000007");
    frames.push(segment([controller, switch], 7, DATA, &barrier));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture").display().to_string();
    std::fs::write(&path, pcap(&frames)).unwrap();

    let (ours, status) = filter(&["ofp-parse-pcap", &path], "");
    assert_eq!(status, 0, "{ours}");
    let count = messages.count() + 1;
    assert_eq!(ours.matches("127.0.0.2.50000 > 127.0.0.1.6653:\n").count() + 1, count);
    assert!(
        ours.ends_with("\n\n127.0.0.1.6653 > 127.0.0.2.50000:\nOFPT_BARRIER_REPLY (OF1.3) (xid=0x7):\n"),
        "{ours}"
    );
    if missing(&["ovs-ofctl"], false).is_none() {
        let theirs = std::process::Command::new("ovs-ofctl")
            .args(["--no-names", "ofp-parse-pcap", &path])
            .output()
            .unwrap();
        let theirs = text(&theirs.stdout);
        let heads = |text: &str| -> Vec<String> {
            let heads = text.lines().filter(|line| line.contains(" > ") || line.contains("(OF1.3) (xid="));
            heads.map(|line| line.split_once("):").map_or(line, |(head, _)| head).to_owned()).collect()
        };
        assert_eq!(heads(&ours), heads(&theirs));
    }
    // By other ports; as objects; and what is not read is told.
    assert_eq!(filter(&["ofp-parse-pcap", &path, "6633"], ""), (String::new(), 0));
    let (objects, status) = filter(&["ofp-parse-pcap", "--json", &path, "50000"], "");
    assert!(status == 1 && objects.contains("error: 127.0.0.2.50000 > 127.0.0.3.80: "), "{objects}");
    let (objects, _) = filter(&["ofp-parse-pcap", "--json", &path, "6653"], "");
    assert_eq!(objects.lines().count(), count);
    assert!(objects.lines().all(|line| line.contains(r#""to":"127.0.0."#)), "{objects}");
    std::fs::write(&path, b"no capture, but long enough").unwrap();
    assert_eq!(filter(&["ofp-parse-pcap", &path], "").1, 1);
}
