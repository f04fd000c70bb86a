//! For each command that both have: the bytes that `ofctl` sends are those of ovs-ofctl.

use std::process::Command;

use ofctl::wire::{BundleControlType, Message};

use super::fake::FakeSwitch;
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
];

/// What a command sent, of that which must be the same.
fn sent(command: Command, input: &str, switch: &FakeSwitch, same: Same) -> Vec<Vec<u8>> {
    let shown = format!("{command:?}");
    let output = run(command, input);
    assert!(output.status.success(), "{shown}: {}", text(&output.stderr));
    let messages = switch.take().into_iter().filter_map(|(message, mut bytes)| match message {
        Message::BarrierRequest if same == Same::ButBarriers || same == Same::ButClose => None,
        Message::EchoRequest(_) if same == Same::ButEcho => {
            bytes[8..].fill(0);
            Some(bytes)
        }
        Message::BundleControl(control) if control.kind == BundleControlType::CloseRequest => None,
        Message::BundleControl(_) | Message::BundleAdd(_) => {
            bytes[16..20].fill(0);
            // The message inside has a number of its own.
            if let Some(inside) = bytes.get_mut(28..32).filter(|_| matches!(message, Message::BundleAdd(_))) {
                inside.fill(0);
            }
            Some(bytes)
        }
        _ => Some(bytes),
    });
    messages.collect()
}

#[test]
fn each_command_sends_what_ovs_ofctl_sends() {
    if missing(&["ovs-ofctl"], false).is_some() {
        return;
    }
    let switch = FakeSwitch::start();
    let mut wrong = String::new();
    for &(case, input, same) in CASES {
        let arguments: Vec<String> =
            case.split(' ').map(|word| word.replace("SWITCH", &switch.target)).collect();
        let mut theirs = Command::new("ovs-ofctl");
        theirs.args(["-O", "OpenFlow13", "--no-names"]).args(&arguments);
        let theirs = sent(theirs, input, &switch, same);
        let ours = ofctl(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let ours = sent(ours, input, &switch, same);
        assert!(!theirs.is_empty(), "{case}: ovs-ofctl sent nothing");
        if ours != theirs {
            let show =
                |all: &[Vec<u8>]| all.iter().map(|bytes| format!("\n    {}", hex(bytes))).collect::<String>();
            wrong += &format!("\n{case}\n  theirs{}\n  ours{}", show(&theirs), show(&ours));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_dry_run_shows_the_bytes_and_sends_nothing() {
    let switch = FakeSwitch::start();
    for &(case, input, _) in CASES {
        if !["add-", "mod-", "del-", "bundle", "packet-out"].iter().any(|verb| case.contains(verb)) {
            continue;
        }
        let arguments: Vec<String> =
            case.split(' ').map(|word| word.replace("SWITCH", &switch.target)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let real = run(ofctl(&arguments), input);
        assert!(real.status.success(), "{case}: {}", text(&real.stderr));
        let sent: Vec<String> = switch
            .take()
            .into_iter()
            .filter(|(message, _)| !matches!(message, Message::BarrierRequest))
            .map(|(message, mut bytes)| {
                if let (Message::BundleAdd(_), Some(inside)) = (message, bytes.get_mut(28..32)) {
                    inside.fill(0);
                }
                hex(&bytes)
            })
            .collect();
        let dry = run(ofctl(&[&arguments[..], &["--dry-run", "--hex"]].concat()), input);
        assert!(dry.status.success(), "{case}: {}", text(&dry.stderr));
        assert_eq!(text(&dry.stdout).lines().collect::<Vec<_>>(), sent, "{case}");
        assert!(switch.take().is_empty(), "{case}: something was sent");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
