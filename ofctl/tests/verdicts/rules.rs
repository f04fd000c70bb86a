//! The rules one by one: a message that breaks each, the error by which it is refused, and that a real switch refuses
//! it by the same.

use ofctl::flow::FlowEntry;
use ofctl::sim::Switch;
use ofctl::text::{GroupCommand, GroupText};
use ofctl::verdict;
use ofctl::wire::{
    ErrorMessage, FlowMod, FlowModCommand, GroupMod, Message, MeterMod, MeterModCommand, TableId, Xid,
};

use super::support::{hex, unhex};
use super::switch::{Ovs, number, ports};

/// What breaks a rule.
#[derive(Clone, Copy)]
enum Case {
    /// A whole message, but for its length and number: type and body.
    Body(u8, &'static str),
    /// An addition of the flow of this text.
    Flow(&'static str),
    /// A flow-mod with this at the offset instead of what an addition of a flow has there.
    FlowMod(usize, &'static str),
    /// A flow-mod with these OXM entries.
    Match(&'static str),
    /// A flow-mod of IP packets with these instructions.
    Instructions(&'static str),
    /// A flow-mod of IP packets that applies these actions.
    Actions(&'static str),
    /// An addition, or what the text begins with, of a group.
    Group(&'static str),
    /// An addition of a meter.
    Meter(&'static str),
}

use Case::{Actions, Body, Flow, Group, Instructions, Match, Meter};

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![4, kind, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(body);
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    bytes[2..4].copy_from_slice(&length);
    bytes
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(Xid(0), &mut bytes).unwrap();
    bytes
}

/// Bytes of a flow-mod before the match.
const FIXED: usize = 48;

fn flow_mod(entries: &str, instructions: &str) -> Vec<u8> {
    let empty = FlowMod::new(FlowModCommand::Add, TableId(0));
    let mut body = encoded(&Message::FlowMod(empty))[8..FIXED].to_vec();
    let entries = digits(entries);
    body.extend([0, 1]);
    body.extend((entries.len() as u16 + 4).to_be_bytes());
    body.extend(&entries);
    body.resize(body.len().next_multiple_of(8), 0);
    body.extend(digits(instructions));
    message(14, &body)
}

fn digits(text: &str) -> Vec<u8> {
    unhex(&text.replace(' ', ""))
}

impl Case {
    fn bytes(self) -> Vec<u8> {
        match self {
            Body(kind, body) => message(kind, &digits(body)),
            Flow(text) => {
                let entry: FlowEntry = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
                encoded(&Message::FlowMod(FlowMod::add(entry)))
            }
            Case::FlowMod(at, patch) => {
                let mut bytes = flow_mod("80000a02 0800", "");
                let patch = digits(patch);
                bytes[at..at + patch.len()].copy_from_slice(&patch);
                bytes
            }
            Match(entries) => flow_mod(entries, ""),
            Instructions(instructions) => flow_mod("80000a02 0800", instructions),
            Actions(actions) => {
                let length = digits(actions).len() + 8;
                flow_mod("80000a02 0800", &format!("0004 {length:04x} 00000000 {actions}"))
            }
            Group(text) => {
                let group = GroupText::parse(text, Some(GroupCommand::Add)).and_then(GroupMod::try_from);
                encoded(&Message::GroupMod(group.unwrap_or_else(|error| panic!("{text}: {error}"))))
            }
            Meter(text) => {
                let meter = MeterMod::parse(text, MeterModCommand::Add);
                encoded(&Message::MeterMod(meter.unwrap_or_else(|error| panic!("{text}: {error}"))))
            }
        }
    }
}

/// The rule, the error, and the messages: the last one breaks it, and those before make the switch ready.
type Rule = (&'static str, &'static str, &'static [Case]);

/// A bucket of a group message: weight, watched port and group, and an output to port 1.
const BUCKET: &str = "0020 0000 ffffffff ffffffff 00000000 0000001000000001 0000000000000000";

/// Rules in which Open vSwitch 3.1 answers otherwise, what it answers, and why that is not taken over.
const OTHERWISE: &[(&str, &[&str], &str)] = &[
    ("a field of the wrong length", &["OFPBMC_BAD_FIELD"], "it looks fields up with their lengths"),
    ("a goto to no table", &[], "it does not look; no packet finds such a table"),
    ("a field to write that there is not", &["OFPBAC_BAD_SET_LEN"], "it looks fields up with their lengths"),
    ("a packet from a port that cannot be", &["OFPBAC_BAD_OUT_PORT"], "it has one error for all ports"),
];

const RULES: &[Rule] = &[
    // §7.1 and §7.5.4.2: the message itself.
    ("a type that there is not", "OFPBRC_BAD_TYPE", &[Body(99, "")]),
    ("a type that switches say", "OFPBRC_BAD_TYPE", &[Body(21, "")]),
    ("a flow-mod that ends in its head", "OFPBRC_BAD_LEN", &[Body(14, "00000000")]),
    ("a barrier with a body", "OFPBRC_BAD_LEN", &[Body(20, "00000000")]),
    ("a multipart that there is not", "OFPBRC_BAD_STAT", &[Body(18, "0063 0000 00000000")]),
    ("a message of an unknown experimenter", "OFPBRC_BAD_VENDOR", &[Body(4, "00c0ffee 00000001")]),
    ("a message of Nicira that there is not", "OFPBRC_BAD_SUBTYPE", &[Body(4, "00002320 00000fff")]),
    // §7.3.4.1: flow-mods.
    ("a command that there is not", "OFPFMFC_BAD_COMMAND", &[Case::FlowMod(25, "09")]),
    ("flags that there are not", "OFPFMFC_BAD_FLAGS", &[Case::FlowMod(44, "0100")]),
    ("a buffer that there is not", "OFPBRC_BUFFER_UNKNOWN", &[Case::FlowMod(32, "00000007")]),
    ("the table that a switch keeps for itself", "OFPBRC_EPERM", &[Case::FlowMod(24, "fe")]),
    ("an out_port that cannot be", "OFPBAC_BAD_OUT_PORT", &[Case::FlowMod(36, "00010000")]),
    (
        "an overlap that is checked for",
        "OFPFMFC_OVERLAP",
        &[Flow("priority=5,in_port=1,actions=drop"), Flow("priority=5,ip,check_overlap,actions=drop")],
    ),
    // §7.2.3: matches.
    ("a match of an old form", "OFPBMC_BAD_TYPE", &[Case::FlowMod(48, "0002")]),
    ("a match that is shorter than its head", "OFPBMC_BAD_LEN", &[Case::FlowMod(50, "0003")]),
    ("a match that goes beyond the end", "OFPBMC_BAD_LEN", &[Case::FlowMod(50, "0100")]),
    ("a field of the wrong length", "OFPBMC_BAD_LEN", &[Match("80000003 000001")]),
    ("a field that there is not", "OFPBMC_BAD_FIELD", &[Match("80007004 00000001")]),
    ("a field of a class that there is not", "OFPBMC_BAD_FIELD", &[Match("12340004 00000001")]),
    ("a field of an unknown experimenter", "OFPBMC_BAD_FIELD", &[Match("ffff0008 00c0ffee 00000001")]),
    ("a field twice", "OFPBMC_DUP_FIELD", &[Match("80000004 00000001 80000004 00000002")]),
    ("a port without its protocol", "OFPBMC_BAD_PREREQ", &[Match("80001a02 0050")]),
    ("a protocol without its ethertype", "OFPBMC_BAD_PREREQ", &[Match("80001401 06")]),
    ("an ethertype after what needs it", "OFPBMC_BAD_PREREQ", &[Match("80001604 0a000001 80000a02 0800")]),
    ("a port of the wrong protocol", "OFPBMC_BAD_PREREQ", &[Flow("udp,tcp_dst=80,actions=drop")]),
    ("a label of what is no MPLS", "OFPBMC_BAD_PREREQ", &[Match("80004404 00000007")]),
    ("a mask on a field that takes none", "OFPBMC_BAD_MASK", &[Match("80000108 00000001 0000000f")]),
    (
        "bits that the mask does not have",
        "OFPBMC_BAD_WILDCARDS",
        &[Match("80000a02 0800 80001908 0a000001 ffffff00")],
    ),
    ("a VLAN above 4095", "OFPBMC_BAD_VALUE", &[Match("80000c02 2005")]),
    ("a priority above 7", "OFPBMC_BAD_VALUE", &[Match("80000c02 1005 80000e01 08")]),
    ("a DSCP above 63", "OFPBMC_BAD_VALUE", &[Match("80000a02 0800 80001001 40")]),
    ("an ECN above 3", "OFPBMC_BAD_VALUE", &[Match("80000a02 0800 80001201 04")]),
    ("an MPLS label above 20 bits", "OFPBMC_BAD_VALUE", &[Match("80000a02 8847 80004404 00100000")]),
    ("a bottom of stack above 1", "OFPBMC_BAD_VALUE", &[Match("80000a02 8847 80004801 02")]),
    ("an IPv6 label above 20 bits", "OFPBMC_BAD_VALUE", &[Match("80000a02 86dd 80003804 00100000")]),
    ("an ARP operation above 255", "OFPBMC_BAD_VALUE", &[Match("80000a02 0806 80002a02 0100")]),
    ("an input port that cannot be", "OFPBMC_BAD_VALUE", &[Match("80000004 0000ff00")]),
    // §7.2.4: instructions.
    ("an instruction that there is not", "OFPBIC_UNKNOWN_INST", &[Instructions("0009 0008 00000000")]),
    (
        "an instruction of an unknown experimenter",
        "OFPBIC_BAD_EXPERIMENTER",
        &[Instructions("ffff 0008 00c0ffee")],
    ),
    ("an instruction of no length", "OFPBIC_BAD_LEN", &[Instructions("0001 0000 01000000")]),
    ("an instruction beyond the end", "OFPBIC_BAD_LEN", &[Instructions("0004 0010 00000000")]),
    ("an instruction twice", "OFPBIC_DUP_INST", &[Instructions("0001 0008 01000000 0001 0008 02000000")]),
    ("a goto to the same table", "OFPBIC_BAD_TABLE_ID", &[Instructions("0001 0008 00000000")]),
    ("a goto to no table", "OFPBIC_BAD_TABLE_ID", &[Instructions("0001 0008 ff000000")]),
    ("a meter that there is not", "OFPMMFC_INVALID_METER", &[Instructions("0006 0008 00000009")]),
    // §7.2.5: actions.
    ("an action that there is not", "OFPBAC_BAD_TYPE", &[Actions("0063 0008 00000000")]),
    ("an action of no length", "OFPBAC_BAD_LEN", &[Actions("0000 0000 00000001")]),
    ("an action of the wrong length", "OFPBAC_BAD_LEN", &[Actions("0000 0008 00000001")]),
    ("an action beyond the end", "OFPBAC_BAD_LEN", &[Actions("0000 0018 00000001 0000 000000000000")]),
    (
        "an action of an unknown experimenter",
        "OFPBAC_BAD_VENDOR",
        &[Actions("ffff 0010 00c0ffee 0000000000000000")],
    ),
    (
        "an action of Nicira that there is not",
        "OFPBAC_BAD_VENDOR_TYPE",
        &[Actions("ffff 0010 00002320 0fff 000000000000")],
    ),
    ("an output to port 0xff00", "OFPBAC_BAD_OUT_PORT", &[Actions("0000 0010 0000ff00 0000 000000000000")]),
    ("an output to no port", "OFPBAC_BAD_OUT_PORT", &[Actions("0000 0010 ffffffff 0000 000000000000")]),
    ("a group that there is not", "OFPBAC_BAD_OUT_GROUP", &[Flow("actions=group:7")]),
    (
        "a field that is not written",
        "OFPBAC_BAD_SET_ARGUMENT",
        &[Actions("0019 0010 80000a02 0800 0000 00000000")],
    ),
    (
        "a field to write that there is not",
        "OFPBAC_BAD_SET_TYPE",
        &[Actions("0019 0010 80007004 00000001 00000000")],
    ),
    (
        "a field to write of the wrong length",
        "OFPBAC_BAD_SET_LEN",
        &[Actions("0019 0010 80001603 0a0000 0000000000")],
    ),
    (
        "a value that the field cannot hold",
        "OFPBAC_BAD_SET_ARGUMENT",
        &[Actions("0019 0010 80001001 40 000000 00000000")],
    ),
    ("a tag of no VLAN", "OFPBAC_BAD_ARGUMENT", &[Actions("0011 0008 1234 0000")]),
    ("a label of no MPLS", "OFPBAC_BAD_ARGUMENT", &[Actions("0013 0008 1234 0000")]),
    (
        "a write to a port of another protocol",
        "OFPBAC_MATCH_INCONSISTENT",
        &[Flow("udp,actions=set_field:1->tcp_dst")],
    ),
    ("a time to live of what has none", "OFPBAC_MATCH_INCONSISTENT", &[Flow("arp,actions=dec_ttl")]),
    ("a tag taken off what has none", "OFPBAC_MATCH_INCONSISTENT", &[Flow("vlan_tci=0,actions=pop_vlan")]),
    ("a label taken off what has none", "OFPBAC_MATCH_INCONSISTENT", &[Flow("ip,actions=pop_mpls:0x0800")]),
    ("a connection of what is no IP", "OFPBAC_MATCH_INCONSISTENT", &[Flow("arp,actions=ct(commit)")]),
    (
        "an action that no action set holds",
        "OFPBAC_BAD_TYPE",
        &[Flow("actions=write_actions(learn(table=1))")],
    ),
    // §7.3.4.2: groups.
    ("a group command that there is not", "OFPGMFC_BAD_COMMAND", &[Body(15, "0009 00 00 00000001")]),
    ("a group type that there is not", "OFPGMFC_BAD_TYPE", &[Body(15, "0000 09 00 00000001")]),
    ("a reserved group", "OFPGMFC_INVALID_GROUP", &[Body(15, "0000 00 00 ffffff01")]),
    (
        "a group that exists",
        "OFPGMFC_GROUP_EXISTS",
        &[Group("group_id=1,type=all"), Group("group_id=1,type=all")],
    ),
    ("a group to modify that there is not", "OFPGMFC_UNKNOWN_GROUP", &[Body(15, "0001 00 00 00000001")]),
    ("an indirect group without a bucket", "OFPGMFC_INVALID_GROUP", &[Body(15, "0000 02 00 00000001")]),
    (
        "a bucket of no length",
        "OFPGMFC_BAD_BUCKET",
        &[Body(15, "0000 00 00 00000001 0000 0000 ffffffff ffffffff 00000000")],
    ),
    (
        "a weight in a group of all",
        "OFPGMFC_INVALID_GROUP",
        &[Body(15, "0000 00 00 00000001 0010 0005 ffffffff ffffffff 00000000")],
    ),
    (
        "a watched port in a group of all",
        "OFPGMFC_WATCH_UNSUPPORTED",
        &[Body(15, "0000 00 00 00000001 0010 0000 00000001 ffffffff 00000000")],
    ),
    (
        "a fast failover that watches nothing",
        "OFPGMFC_INVALID_GROUP",
        &[Body(15, "0000 03 00 00000001 0010 0000 ffffffff ffffffff 00000000")],
    ),
    // §7.3.4.4: meters.
    ("a meter of number 0", "OFPMMFC_INVALID_METER", &[Body(29, "0000 0001 00000000")]),
    ("a meter command that there is not", "OFPMMFC_BAD_COMMAND", &[Body(29, "0009 0001 00000001")]),
    ("a meter of two units", "OFPMMFC_BAD_FLAGS", &[Body(29, "0000 0003 00000001")]),
    (
        "a band that there is not",
        "OFPMMFC_BAD_BAND",
        &[Body(29, "0000 0001 00000001 0009 0010 00000001 00000000 00000000")],
    ),
    (
        "a meter that exists",
        "OFPMMFC_METER_EXISTS",
        &[Meter("meter=1,kbps,bands=type=drop,rate=1"), Meter("meter=1,kbps,bands=type=drop,rate=1")],
    ),
    (
        "a meter to modify that there is not",
        "OFPMMFC_UNKNOWN_METER",
        &[Body(29, "0001 0001 00000005 0001 0010 00000001 00000000 00000000")],
    ),
    // §7.3.4.3, §7.3.7, §7.3.9, §7.3.2: the others.
    (
        "a port to change that there is not",
        "OFPPMFC_BAD_PORT",
        &[Body(16, "00000063 00000000 020000000001 0000 00000000 00000000 00000000 00000000")],
    ),
    (
        "a port of another address",
        "OFPPMFC_BAD_HW_ADDR",
        &[Body(16, "00000001 00000000 0eeeeeeeeeee 0000 00000000 00000000 00000000 00000000")],
    ),
    (
        "a packet from a port that cannot be",
        "OFPBRC_BAD_PORT",
        &[Body(13, "ffffffff 0000ff00 0000 000000000000")],
    ),
    (
        "a packet in a buffer that there is not",
        "OFPBRC_BUFFER_UNKNOWN",
        &[Body(13, "00000007 00000001 0000 000000000000")],
    ),
    (
        "an election older than the newest",
        "OFPRRFC_STALE",
        &[Body(24, "00000002 00000000 0000000000000005"), Body(24, "00000002 00000000 0000000000000004")],
    ),
    ("a role that there is not", "OFPRRFC_BAD_ROLE", &[Body(24, "00000009 00000000 0000000000000005")]),
    (
        "a change by one who only looks",
        "OFPBRC_IS_SECONDARY",
        &[Body(24, "00000003 00000000 0000000000000005"), Flow("actions=drop")],
    ),
    ("a queue of a port that there is not", "OFPQOFC_BAD_PORT", &[Body(22, "00000063 00000000")]),
    ("fragments in a mode that there is not", "OFPSCFC_BAD_FLAGS", &[Body(9, "0010 0000")]),
    // ONF extension 230: bundles.
    (
        "a bundle to close that there is not",
        "OFPBFC_BAD_ID",
        &[Body(4, "4f4e4600 000008fc 00000001 0002 0003")],
    ),
    (
        "a bundle that is open",
        "OFPBFC_BAD_ID",
        &[Body(4, "4f4e4600 000008fc 00000001 0000 0003"), Body(4, "4f4e4600 000008fc 00000001 0000 0003")],
    ),
    (
        "an echo in a bundle",
        "OFPBFC_MSG_UNSUP",
        &[
            Body(4, "4f4e4600 000008fc 00000001 0000 0003"),
            Body(4, "4f4e4600 000008fd 00000001 0000 0003 0402000800000000"),
        ],
    ),
    // Nicira's TLV tables.
    (
        "an option that is mapped",
        "NXTTMFC_ALREADY_MAPPED",
        &[
            Body(4, "00002320 00000018 0000 000000000000 0105 01 04 0000 0000"),
            Body(4, "00002320 00000018 0000 000000000000 0105 02 04 0000 0000"),
        ],
    ),
];

/// What the simulated switch answers to the last of these messages.
fn simulated(messages: &[Vec<u8>]) -> Vec<String> {
    let mut switch = Switch::new().with_ports(ports());
    let mut last = Vec::new();
    for message in messages {
        last = switch.hear(message);
    }
    let errors = last.into_iter().filter_map(|(_, answer)| match answer {
        Message::Error(ErrorMessage { error, .. }) => Some(error.to_string()),
        _ => None,
    });
    errors.collect()
}

fn numbered((_, _, cases): &Rule) -> Vec<Vec<u8>> {
    let one = |(place, case): (usize, &Case)| {
        let mut bytes = case.bytes();
        number(&mut bytes, place as u32 + 1);
        bytes
    };
    cases.iter().enumerate().map(one).collect()
}

#[test]
fn each_rule_has_its_error() {
    let mut wrong = String::new();
    for rule in RULES {
        let (what, error, _) = rule;
        let messages = numbered(rule);
        let got = simulated(&messages);
        if got != [*error] {
            wrong += &format!("\n{what}: {got:?} and not {error}: {}", hex(messages.last().unwrap()));
        }
        // Where one message is enough, the verdict about the bytes alone is the same or waits for the switch.
        if let [one] = &messages[..]
            && let Err(violation) = verdict::of(one)
            && violation.name() != *error
        {
            wrong += &format!("\n{what}: by itself {} and not {error}", violation.name());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_real_switch_has_the_same_rules() {
    let Some(ovs) = Ovs::start() else { return };
    let mut wrong = String::new();
    for rule in RULES {
        let (what, error, cases) = rule;
        let said = ovs.connect().exchange(&[super::mutated::forget(), numbered(rule)].concat());
        let last = said.last().unwrap();
        let otherwise = OTHERWISE.iter().find(|(rule, ..)| rule == what);
        let usual = [*error];
        let wanted = otherwise.map_or(&usual[..], |(_, errors, _)| errors);
        if said.len() != super::mutated::forget().len() + cases.len() || last.errors != wanted {
            wrong += &format!("\n{what}: it says {last:?} and not {error}");
        }
    }
    println!("{} rules, {} of them answered otherwise:", RULES.len(), OTHERWISE.len());
    let page = include_str!("../../src/docs/implemented.md");
    for said in [format!("the {} rules of", RULES.len()), format!("otherwise to {},", OTHERWISE.len())] {
        assert!(page.contains(&said), "implemented.md does not say '{said}'");
    }
    OTHERWISE.iter().for_each(|(what, errors, why)| println!("  {what}: {errors:?}, since {why}"));
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_right_message_is_taken() {
    for case in [
        Flow("tcp,tcp_dst=80,actions=output:2"),
        Group("group_id=1,type=all"),
        Actions("0000 0010 00000001 0000 000000000000"),
    ] {
        assert_eq!(simulated(&[case.bytes()]), Vec::<String>::new());
        verdict::of(&case.bytes()).unwrap();
    }
    let bucket = format!("0000 00 00 00000001 {BUCKET}");
    let group = message(15, &digits(&bucket));
    verdict::of(&group).unwrap();
}
