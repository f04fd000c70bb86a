//! For each command that both have: the bytes that `ofctl` sends are those of ovs-ofctl.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::wire::versions::Version;
use ofctl::wire::{BundleControlType, Message};

use super::support::hex;
use super::support::recorder::{Received, Recorder};
use super::{missing, ofctl, run, text};

/// How much of what is sent must be the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    /// All messages, in order.
    All,
    /// All but barriers, in order: ovs-ofctl waits after each message of a file, `ofctl` once after all.
    ButBarriers,
    /// All but what stands between a bundle's messages and its commit: a barrier from ovs-ofctl, the bundle's close
    /// from `ofctl`; either lets the switch refuse first (ONF extension 230). The bundle's number is each side's own.
    ButClose,
    /// All but the bytes that an echo request carries, which are random in ovs-ofctl; their number is the same.
    ButEcho,
    /// All, from a command that goes on until it is stopped.
    AllUntilStopped,
}

impl Same {
    /// What the table says of a case that is as it should be.
    fn verdict(self) -> &'static str {
        match self {
            Same::All | Same::AllUntilStopped => "same",
            Same::ButBarriers => "same; one barrier after all, theirs after each",
            Same::ButClose => "same; the bundle is closed before the commit, theirs has a barrier there",
            Same::ButEcho => "same; the bytes of the echo are each side's own",
        }
    }
}

const FLOWS: &str = "\
# a comment
table=1,priority=5,in_port=1,actions=output:2
modify table=1,in_port=1,actions=output:3
modify_strict table=1,priority=5,in_port=1,actions=drop
delete table=2,cookie=0x5/-1
delete_strict table=1,priority=5,in_port=1   # and another
delete
add cookie=7 table=3 idle_timeout=5 hard_timeout=6 send_flow_rem,check_overlap tcp tp_dst=80 actions=dec_ttl,goto_table:9
";

const GROUPS: &str = "\
group_id=1,type=all,bucket=actions=output:1,bucket=output:2
group_id=2,type=select,bucket=weight:100,actions=output:1,bucket=weight:50,output:2
modify group_id=2,type=indirect,bucket=actions=resubmit(,5)
delete group_id=1
";

const BUNDLE: &str = "\
flow table=1,priority=5,in_port=1,actions=output:2
group group_id=1,type=all,bucket=actions=output:1
flow delete table=7
packet-out in_port=5 packet=0102030405060708090a0b0c08004500 actions=output:1
";

/// Arguments (`SWITCH` is the fake, `-` reads the input), the input, and how much is the same.
const CASES: &[(&str, &str, Same)] = &[
    ("show SWITCH", "", Same::All),
    ("dump-desc SWITCH", "", Same::All),
    ("dump-ports-desc SWITCH", "", Same::All),
    ("dump-tables SWITCH", "", Same::All),
    ("dump-flows SWITCH", "", Same::All),
    ("dump-flows SWITCH table=3,cookie=0x5/0xff,out_port=7,ip,nw_dst=10.0.0.0/8", "", Same::All),
    ("dump-flows SWITCH out_group=9,cookie=5/-1", "", Same::All),
    ("--no-stats dump-flows SWITCH table=255", "", Same::All),
    ("dump-aggregate SWITCH", "", Same::All),
    ("dump-aggregate SWITCH table=1,udp", "", Same::All),
    ("add-flow SWITCH cookie=7,table=3,priority=9,tcp,tp_dst=80,actions=output:2", "", Same::All),
    ("add-flow SWITCH actions=drop", "", Same::All),
    ("add-flow SWITCH -", FLOWS, Same::ButBarriers),
    ("add-flows SWITCH -", FLOWS, Same::ButBarriers),
    ("--bundle add-flow SWITCH table=3,priority=7,in_port=1,actions=output:2", "", Same::ButClose),
    ("--bundle add-flows SWITCH -", FLOWS, Same::ButClose),
    ("mod-flows SWITCH table=3,in_port=1,actions=drop", "", Same::All),
    ("mod-flows SWITCH in_port=1,actions=output:5", "", Same::All),
    ("mod-flows SWITCH cookie=1/3,in_port=1,actions=output:5", "", Same::All),
    ("--strict mod-flows SWITCH table=3,priority=7,in_port=1,actions=output:1", "", Same::All),
    ("del-flows SWITCH", "", Same::All),
    ("del-flows SWITCH table=3,in_port=1", "", Same::All),
    ("del-flows SWITCH cookie=0x500/0xff00", "", Same::All),
    ("del-flows SWITCH out_port=3", "", Same::All),
    ("del-flows SWITCH out_group=3,ip", "", Same::All),
    ("--strict del-flows SWITCH table=3,priority=7,in_port=1", "", Same::All),
    ("--strict del-flows SWITCH in_port=1", "", Same::All),
    ("--bundle --strict del-flows SWITCH table=3,priority=7,in_port=1", "", Same::ButClose),
    ("del-flows SWITCH -", "table=1\ntable=2,ip\n", Same::ButBarriers),
    ("replace-flows SWITCH -", "table=1,in_port=1,actions=output:2\n", Same::ButBarriers),
    ("diff-flows SWITCH /dev/null", "", Same::All),
    ("bundle SWITCH -", BUNDLE, Same::ButClose),
    (
        "add-group SWITCH group_id=7,type=select,bucket=weight:100,actions=output:1,bucket=watch_port:2,actions=load:5->NXM_NX_REG0[],resubmit(,5)",
        "",
        Same::All,
    ),
    (
        "add-group SWITCH group_id=8,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_group:3,output:2",
        "",
        Same::All,
    ),
    ("add-group SWITCH group_id=9,type=select,bucket=output:1", "", Same::All),
    ("add-groups SWITCH -", GROUPS, Same::ButBarriers),
    ("--bundle add-groups SWITCH -", GROUPS, Same::ButClose),
    ("mod-group SWITCH group_id=8,type=indirect,bucket=actions=output:1", "", Same::All),
    ("--may-create mod-group SWITCH group_id=8,type=all,bucket=actions=output:1", "", Same::All),
    ("del-groups SWITCH", "", Same::All),
    ("del-groups SWITCH group_id=8", "", Same::All),
    (
        "packet-out SWITCH in_port=5,packet=0102030405060708090a0b0c08004500,actions=output:1,IN_PORT",
        "",
        Same::All,
    ),
    (
        "packet-out SWITCH in_port=CONTROLLER,packet=0102030405060708090a0b0c08004500,actions=TABLE",
        "",
        Same::All,
    ),
    ("get-frags SWITCH", "", Same::All),
    ("set-frags SWITCH nx-match", "", Same::All),
    ("probe SWITCH", "", Same::All),
    ("ping SWITCH", "", Same::ButEcho),
    ("ping SWITCH 100", "", Same::ButEcho),
    ("benchmark SWITCH 10 3", "", Same::All),
    ("dump-table-features SWITCH", "", Same::All),
    ("mod-port SWITCH 1 up", "", Same::All),
    ("mod-port SWITCH p1 down", "", Same::All),
    ("mod-port SWITCH p1 no-receive", "", Same::All),
    ("mod-port SWITCH p1 receive", "", Same::All),
    ("mod-port SWITCH p1 no-forward", "", Same::All),
    ("mod-port SWITCH p1 forward", "", Same::All),
    ("mod-port SWITCH p1 no-packet-in", "", Same::All),
    ("mod-port SWITCH p1 packet-in", "", Same::All),
    ("dump-ports SWITCH", "", Same::All),
    ("dump-ports SWITCH 1", "", Same::All),
    ("dump-ports SWITCH LOCAL", "", Same::All),
    ("dump-ports-desc SWITCH 1", "", Same::All),
    ("queue-stats SWITCH", "", Same::All),
    ("queue-stats SWITCH 1", "", Same::All),
    ("queue-stats SWITCH 1 2", "", Same::All),
    ("queue-get-config SWITCH", "", Same::All),
    ("queue-get-config SWITCH 1", "", Same::All),
    ("dump-groups SWITCH", "", Same::All),
    ("dump-groups SWITCH 3", "", Same::All),
    ("dump-group-stats SWITCH", "", Same::All),
    ("dump-group-stats SWITCH group_id=3", "", Same::All),
    ("dump-group-features SWITCH", "", Same::All),
    ("dump-meters SWITCH", "", Same::All),
    ("dump-meter SWITCH meter=3", "", Same::All),
    ("meter-stats SWITCH", "", Same::All),
    ("meter-stats SWITCH meter=3", "", Same::All),
    ("meter-features SWITCH", "", Same::All),
    ("add-meter SWITCH meter=1,kbps,burst,stats,band=type=drop,rate=5,burst_size=9", "", Same::All),
    ("add-meter SWITCH meter=2,pktps,band=type=drop,rate=50000", "", Same::All),
    (
        "add-meter SWITCH meter=3,kbps,bands=type=dscp_remark,rate=5,prec_level=2,type=drop,rate=9",
        "",
        Same::All,
    ),
    ("mod-meter SWITCH meter=1,pktps,band=type=drop,rate=5", "", Same::All),
    ("del-meters SWITCH", "", Same::All),
    ("del-meters SWITCH meter=3", "", Same::All),
    ("del-meter SWITCH meter=3", "", Same::All),
    ("add-tlv-map SWITCH {class=0xffff,type=0,len=4}->tun_metadata0", "", Same::All),
    (
        "add-tlv-map SWITCH {class=0xffff,type=0,len=4}->tun_metadata0,{class=1,type=9,len=124}->tun_metadata63",
        "",
        Same::All,
    ),
    ("del-tlv-map SWITCH", "", Same::All),
    ("del-tlv-map SWITCH {class=0xffff,type=0,len=4}->tun_metadata0", "", Same::All),
    ("dump-tlv-map SWITCH", "", Same::All),
    ("dump-ipfix-bridge SWITCH", "", Same::All),
    ("dump-ipfix-flow SWITCH", "", Same::All),
    ("ct-flush-zone SWITCH 5", "", Same::All),
    ("ct-flush SWITCH", "", Same::All),
    ("ct-flush SWITCH zone=5", "", Same::All),
    ("ct-flush SWITCH zone=5 ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_src=5", "", Same::All),
    (
        "ct-flush SWITCH ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=17,ct_tp_src=1,ct_tp_dst=2",
        "",
        Same::All,
    ),
    ("ct-flush SWITCH ct_ipv6_src=fe80::1", "", Same::All),
    ("ct-flush SWITCH ct_nw_src=10.0.0.1,ct_nw_proto=6 ct_nw_dst=10.0.0.1,ct_nw_proto=6", "", Same::All),
    ("packet-out SWITCH 1 output:2,IN_PORT 0102030405060708090a0b0c08004500", "", Same::All),
    (
        "packet-out SWITCH none TABLE 0102030405060708090a0b0c0800 0102030405060708090a0b0c08004500",
        "",
        Same::ButBarriers,
    ),
    ("monitor SWITCH", "", Same::AllUntilStopped),
    ("monitor SWITCH 100", "", Same::AllUntilStopped),
    ("-P nxt_packet_in monitor SWITCH 65535", "", Same::AllUntilStopped),
    ("-P openflow10 monitor SWITCH", "", Same::AllUntilStopped),
    ("monitor SWITCH watch:", "", Same::AllUntilStopped),
    ("monitor SWITCH watch:!initial,table=3,out_port=4,tcp", "", Same::AllUntilStopped),
    ("monitor SWITCH watch:!own,!actions watch:table=2,!add,!delete", "", Same::AllUntilStopped),
    ("monitor SWITCH 100 watch:out_port=7", "", Same::AllUntilStopped),
    // An out_port=LOCAL is not among these: ovs-ofctl reads it as port 0.
    // Both say hello and nothing else: what is told comes unasked.
    ("snoop SWITCH", "", Same::AllUntilStopped),
];

/// Commands of ovs-ofctl of which no bytes can be compared, and why.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("dump-table-desc", "not here: a request of OpenFlow 1.4"),
    ("mod-table", "both refuse: OpenFlow 1.3 has no table settings; ofctl says which flow does the same"),
    ("insert-buckets", "both refuse: a command of OpenFlow 1.5"),
    ("remove-buckets", "both refuse: a command of OpenFlow 1.5"),
    ("ofp-parse", "sends nothing; prints the same of each recorded message, see `filters`"),
    ("ofp-parse-pcap", "sends nothing; prints the same of a capture, see `filters`"),
];

/// What a command sent, of that which must be the same.
fn sent(command: Command, input: &str, switch: &Recorder, same: Same, messages: usize) -> Vec<Vec<u8>> {
    let shown = format!("{command:?}");
    let received = if same == Same::AllUntilStopped {
        until_stopped(command, switch, messages)
    } else {
        let output = run(command, input);
        assert!(output.status.success(), "{shown}: {}", text(&output.stderr));
        switch.take()
    };
    let messages = received.into_iter().filter_map(|mut bytes| match read(&bytes) {
        Message::BarrierRequest if same == Same::ButBarriers || same == Same::ButClose => None,
        Message::EchoRequest(_) if same == Same::ButEcho => {
            bytes[8..].fill(0);
            Some(bytes)
        }
        Message::BundleControl(control) if control.kind == BundleControlType::CloseRequest => None,
        Message::BundleControl(_) | Message::BundleAdd(_) => {
            bytes[16..20].fill(0);
            Some(bytes)
        }
        _ => Some(bytes),
    });
    messages.collect()
}

/// Lets a command that does not end by itself send so many messages, or until it has been silent after a hello.
fn until_stopped(mut command: Command, switch: &Recorder, messages: usize) -> Received {
    let hellos = switch.hellos();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut received = Vec::new();
    while (received.len() < messages || switch.hellos() == hellos) && Instant::now() < deadline {
        received.extend(switch.take());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    received.extend(switch.take());
    received
}

/// The command in a case, which options may stand before.
fn verb(case: &str) -> &str {
    let words: Vec<&str> = case.split(' ').collect();
    let switch = words.iter().position(|word| *word == "SWITCH").unwrap();
    words[switch - 1]
}

/// The commands that `ovs-ofctl --help` lists.
fn their_commands() -> BTreeSet<String> {
    let help = text(&Command::new("ovs-ofctl").arg("--help").output().unwrap().stdout);
    let commands = help.lines().take_while(|line| !line.starts_with("Active OpenFlow connection methods"));
    let commands = commands.filter_map(|line| {
        let line = line.strip_prefix("  ")?.trim_start_matches("[--may-create] ");
        let mut words = line.split_whitespace();
        let (command, argument) = (words.next()?, words.next()?);
        let is_argument = ["SWITCH", "TARGET", "FILE", "PCAP", "SOURCE1"].contains(&argument);
        (is_argument && !line.starts_with(' ')).then(|| command.to_owned())
    });
    commands.collect()
}

/// A case's outcome: its name, and whether the bytes are the same.
struct Line {
    case: String,
    verdict: String,
    failed: bool,
}

#[test]
fn each_command_sends_what_ovs_ofctl_sends() {
    if missing(&["ovs-ofctl"], false).is_some() {
        return;
    }
    let switch = Recorder::start(Version::OpenFlow13);
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    for &(case, input, same) in CASES {
        let arguments: Vec<String> =
            case.split(' ').map(|word| word.replace("SWITCH", &switch.target)).collect();
        let mut theirs = Command::new("ovs-ofctl");
        theirs.args(["-O", "OpenFlow13", "--no-names"]).args(&arguments).env("OVS_RUNDIR", folder.path());
        let expected = match case {
            "snoop SWITCH" => 0,
            case => {
                let packets = if case.contains("SWITCH 1") || case.contains("SWITCH 6") { 3 } else { 0 };
                packets + case.matches("watch:").count() + 2
            }
        };
        let theirs = sent(theirs, input, &switch, same, expected);
        let ours = ofctl(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let ours = sent(ours, input, &switch, same, expected);
        assert!(!theirs.is_empty() || verb(case) == "snoop", "{case}: ovs-ofctl sent nothing");
        let show =
            |all: &[Vec<u8>]| all.iter().map(|bytes| format!("\n    {}", hex(bytes))).collect::<String>();
        let failed = ours != theirs;
        let verdict = match failed {
            true => format!("DIFFERS\n  theirs{}\n  ours{}", show(&theirs), show(&ours)),
            false => same.verdict().to_owned(),
        };
        lines.push(Line { case: case.to_owned(), verdict, failed });
    }
    let compared: BTreeSet<&str> = CASES.iter().map(|(case, ..)| verb(case)).collect();
    for (command, why) in NOT_COMPARED {
        assert!(!compared.contains(command), "{command} is compared");
        lines.push(Line { case: (*command).to_owned(), verdict: (*why).to_owned(), failed: false });
    }
    for command in their_commands() {
        let named = compared.contains(&*command) || NOT_COMPARED.iter().any(|(absent, _)| *absent == command);
        if !named {
            let verdict = "NOT IN THIS TABLE, and ovs-ofctl --help has it".to_owned();
            lines.push(Line { case: command, verdict, failed: true });
        }
    }
    for Line { case, verdict, .. } in &lines {
        let short: String = case.chars().take(64).collect();
        println!("{short:64} {verdict}");
    }
    let wrong: String = lines
        .iter()
        .filter(|line| line.failed)
        .map(|line| format!("\n{}: {}", line.case, line.verdict))
        .collect();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn over_tcp_a_switch_hears_the_same() {
    let (by_path, by_port) = (Recorder::start(Version::OpenFlow13), Recorder::start_tcp(Version::OpenFlow13));
    for case in ["show SWITCH", "add-flow SWITCH actions=drop", "ping --count 2 SWITCH", "dump-groups SWITCH"]
    {
        let heard = |switch: &Recorder| {
            let words: Vec<String> = case.split(' ').map(|w| w.replace("SWITCH", &switch.target)).collect();
            let output = run(ofctl(&words.iter().map(String::as_str).collect::<Vec<_>>()), "");
            assert!(output.status.success(), "{case}: {}", text(&output.stderr));
            switch.take()
        };
        assert_eq!(heard(&by_port), heard(&by_path), "{case}");
    }
    // Nobody listens on port 1.
    for (target, wanted) in [
        ("tcp:127.0.0.1:1", "cannot connect"),
        ("ssl:127.0.0.1:1", "--certificate, --private-key and --ca-cert"),
        ("udp:127.0.0.1", "tcp:HOST[:PORT]"),
    ] {
        for command in ["show", "probe"] {
            let output = run(ofctl(&[command, target]), "");
            assert_eq!(output.status.code(), Some(1), "{command} {target}");
            assert!(text(&output.stderr).contains(wanted), "{command} {target}: {}", text(&output.stderr));
        }
    }
}

#[test]
fn what_openflow_13_cannot_say_is_refused_and_sends_nothing() {
    let switch = Recorder::start(Version::OpenFlow13);
    for (case, wanted) in [
        ("mod-table SWITCH 3 drop", "table=3,priority=0,actions=drop"),
        ("mod-table SWITCH 3 evict", "came with 1.4"),
        ("insert-buckets SWITCH group_id=1,command_bucket_id=first,bucket=actions=output:1", "1.5"),
        ("remove-buckets SWITCH group_id=1,command_bucket_id=all", "1.5"),
        ("mod-port SWITCH p1 no-flood", "flooding"),
        ("mod-port SWITCH p9 up", "no port 'p9'"),
        ("monitor SWITCH invalid_ttl", "invalid_ttl"),
        ("dump-groups SWITCH x", "'x' is not a group"),
        ("add-tlv-map SWITCH {class=1}->tun_metadata0", "type= is missing"),
    ] {
        let words: Vec<String> = case.split(' ').map(|w| w.replace("SWITCH", &switch.target)).collect();
        let output = run(ofctl(&words.iter().map(String::as_str).collect::<Vec<_>>()), "");
        let errors = text(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains(wanted), "{case}: {errors}");
        assert!(switch.take().iter().all(|bytes| is_question(bytes)), "{case}: something was sent");
    }
}

#[test]
fn a_dry_run_shows_the_bytes_and_sends_nothing() {
    let switch = Recorder::start(Version::OpenFlow13);
    for &(case, input, _) in CASES {
        if !["add-", "mod-", "del-", "bundle", "packet-out", "ct-flush"]
            .iter()
            .any(|verb| case.contains(verb))
        {
            continue;
        }
        let arguments: Vec<String> =
            case.split(' ').map(|word| word.replace("SWITCH", &switch.target)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let real = run(ofctl(&arguments), input);
        assert!(real.status.success(), "{case}: {}", text(&real.stderr));
        let sent: Vec<String> =
            switch.take().into_iter().filter(|bytes| !is_question(bytes)).map(|bytes| hex(&bytes)).collect();
        let dry = run(ofctl(&[&arguments[..], &["--dry-run", "--hex"]].concat()), input);
        assert!(dry.status.success(), "{case}: {}", text(&dry.stderr));
        assert_eq!(text(&dry.stdout).lines().collect::<Vec<_>>(), sent, "{case}");
        let asked = switch.take();
        assert!(asked.iter().all(|bytes| is_question(bytes)), "{case}: something was sent");
    }
}

fn read(bytes: &[u8]) -> Message {
    Message::decode(bytes).unwrap().1
}

/// What changes nothing: a port's address is asked for even for a try.
fn is_question(bytes: &[u8]) -> bool {
    matches!(read(bytes), Message::BarrierRequest | Message::MultipartRequest(_))
}
