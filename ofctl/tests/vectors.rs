//! Against bytes and text that ovs-ofctl and Open vSwitch made; `vectors/*` say how each was made.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ofctl::flow::FlowEntry;
use ofctl::wire::{
    BandKind, BundleControlType, BundleFlags, CtFlush, CtTuple, Field, FlowEvent, FlowMod, FlowModCommand,
    FlowMonitor, FlowUpdate, FragmentMode, GroupType, Message, MeterBand, MeterFlags, MeterId,
    MeterModCommand, MonitorId, MultipartBody, MultipartReply, MultipartRequest, NiciraMessage, OfPort,
    TableId, TlvMap, TlvTableCommand, Xid,
};

const FLOW_MODS: &str = include_str!("vectors/flow_mods.txt");
const MESSAGES: &str = include_str!("vectors/messages.txt");

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two hex digits");
    (0..text.len()).step_by(2).map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

#[test]
fn flow_text_makes_the_bytes_of_ovs_ofctl() {
    let all: Vec<&str> = lines(FLOW_MODS).collect();
    let mut wrong = String::new();
    for pair in all.chunks(2) {
        let [text, wanted] = pair else { panic!("{pair:?}") };
        let entry: FlowEntry = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let flow_mod = FlowMod::add(entry);
        let mut bytes = Vec::new();
        flow_mod.encode_message(Xid(0), &mut bytes).unwrap();
        if hex(&bytes) != *wanted {
            wrong += &format!("\n{text}\nwanted {wanted}\n   got {}", hex(&bytes));
        }
        let (xid, decoded) =
            Message::decode(&unhex(wanted)).unwrap_or_else(|error| panic!("{text}: {error}"));
        if (xid, &decoded) != (Xid(0), &Message::FlowMod(flow_mod)) {
            wrong += &format!("\n{text}\ndecoded as {decoded:?}");
        }
    }
    assert!(all.len() > 80, "only {} lines", all.len());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn messages_of_ovs_ofctl_are_read_and_written_the_same() {
    for line in lines(MESSAGES) {
        let (xid, message) = Message::decode(&unhex(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut bytes = Vec::new();
        message.encode(xid, &mut bytes).unwrap();
        assert_eq!(hex(&bytes), line, "{message:?}");
    }
}

#[test]
fn every_message_that_was_recorded_is_known() {
    for line in lines(MESSAGES) {
        let message = Message::decode(&unhex(line)).unwrap().1;
        let carried = match &message {
            Message::Unknown { .. } => true,
            Message::Experimenter { .. } => true,
            Message::MultipartRequest(request) => {
                matches!(request, MultipartRequest::Unknown { .. } | MultipartRequest::Experimenter { .. })
            }
            Message::MultipartReply(reply) => {
                matches!(reply.body, MultipartBody::Unknown { .. } | MultipartBody::Experimenter { .. })
            }
            _ => false,
        };
        assert!(!carried, "{line}: {message:?}");
    }
}

#[test]
fn meters_and_tunnel_options_mean_what_was_asked_for() {
    let text = "meter=2,pktps,burst,stats,bands=type=drop,rate=100,burst_size=50 \
                type=dscp_remark,rate=200,burst_size=30,prec_level=3";
    let messages = sent(&format!("add-meter SWITCH {text}"));
    let [Message::MeterMod(meter)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((meter.command, meter.meter), (MeterModCommand::Add, MeterId(2)));
    assert_eq!(meter.flags, MeterFlags::PKTPS | MeterFlags::BURST | MeterFlags::STATS);
    let bands = [
        MeterBand { kind: BandKind::Drop, rate: 100, burst_size: 50 },
        MeterBand { kind: BandKind::DscpRemark { levels: 3 }, rate: 200, burst_size: 30 },
    ];
    assert_eq!(meter.bands, bands);
    let messages = sent("del-meters SWITCH");
    let [Message::MeterMod(meter)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((meter.command, meter.meter), (MeterModCommand::Delete, MeterId::ALL));
    let messages = sent("del-tlv-map SWITCH {class=0xffff,type=0,len=4}->tun_metadata0");
    let [Message::Nicira(NiciraMessage::TlvTableMod(change))] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(change.command, TlvTableCommand::Delete);
    assert_eq!(change.maps, [TlvMap { class: 0xffff, kind: 0, length: 4, index: 0 }]);
}

/// The messages that one command of `messages.txt` sent.
fn sent(command: &str) -> Vec<Message> {
    under(&format!("ovs-ofctl {command}"))
}

/// The messages that stand under a line of `messages.txt`.
fn under(command: &str) -> Vec<Message> {
    let mut all = MESSAGES.lines().skip_while(|line| *line != format!("# {command}"));
    assert!(all.next().is_some(), "no vector of {command}");
    let messages: Vec<Message> = all
        .take_while(|line| !line.starts_with('#'))
        .map(|line| Message::decode(&unhex(line)).unwrap().1)
        .collect();
    assert!(!messages.is_empty(), "{command} sent nothing");
    messages
}

#[test]
fn a_bundle_means_what_was_asked_for() {
    let messages = sent("--bundle add-flow SWITCH table=3,priority=7,in_port=1,actions=output:2");
    let [Message::BundleControl(open), Message::BundleAdd(add), Message::BundleControl(commit)] =
        &messages[..]
    else {
        panic!("{messages:?}")
    };
    assert_eq!((open.kind, open.flags), (BundleControlType::OpenRequest, BundleFlags::ATOMIC_ORDERED));
    assert_eq!((commit.kind, commit.bundle), (BundleControlType::CommitRequest, open.bundle));
    let Message::FlowMod(flow) = &*add.message else { panic!("{add:?}") };
    assert_eq!(flow.entry().to_string(), "table=3, priority=7,in_port=1 actions=output:2");
}

#[test]
fn a_group_means_what_was_asked_for() {
    let messages = sent(
        "add-group SWITCH group_id=7,type=select,bucket=weight:100,actions=output:1,bucket=watch_port:2,\
         actions=load:5->NXM_NX_REG0[],resubmit(,5)",
    );
    let [Message::GroupMod(group)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((group.kind, group.group.0, group.buckets.len()), (GroupType::Select, 7, 2));
    assert_eq!((group.buckets[0].weight, group.buckets[1].watch_port), (100, OfPort(2)));
    let actions: Vec<String> = group.buckets[1].actions.iter().map(ToString::to_string).collect();
    assert_eq!(actions, ["load:0x5->NXM_NX_REG0[]", "resubmit(,5)"]);
}

#[test]
fn deletes_and_changes_mean_what_was_asked_for() {
    for (command, wanted, table) in [
        (
            "del-flows SWITCH cookie=0x500000000000000/0xff00000000000000",
            FlowModCommand::Delete,
            TableId::ALL,
        ),
        ("--strict del-flows SWITCH table=3,priority=7,in_port=1", FlowModCommand::DeleteStrict, TableId(3)),
        ("mod-flows SWITCH table=3,in_port=1,actions=drop", FlowModCommand::Modify, TableId(3)),
        (
            "--strict mod-flows SWITCH table=3,priority=7,in_port=1,actions=meter:1,goto_table:9",
            FlowModCommand::ModifyStrict,
            TableId(3),
        ),
    ] {
        let messages = sent(command);
        let [Message::FlowMod(flow)] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!((flow.command, flow.table), (wanted, table), "{command}");
    }
}

#[test]
fn requests_mean_what_was_asked_for() {
    let messages = sent("dump-flows SWITCH table=1,cookie=1/2");
    let [Message::MultipartRequest(MultipartRequest::Flow(request))] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!((request.table, request.cookie.0, request.cookie_mask), (TableId(1), 1, 2));
    let messages = sent("set-frags SWITCH nx-match");
    let [Message::SetConfig(config)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(config.fragments, FragmentMode::NxMatch);
    let messages =
        sent("packet-out SWITCH in_port=5 packet=0102030405060708090a0b0c08004500 actions=output:1,IN_PORT");
    let [Message::PacketOut(packet)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((packet.in_port, packet.actions.len(), packet.data.len()), (OfPort(5), 2, 16));
}

#[test]
fn a_flush_means_what_was_asked_for() {
    let command =
        "ct-flush SWITCH zone=5 ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80 ct_nw_dst=10.0.0.2,ct_tp_src=9";
    let messages = sent(command);
    let [Message::Nicira(NiciraMessage::CtFlush(flush))] = &messages[..] else { panic!("{messages:?}") };
    let original =
        CtTuple { src: Some("10.0.0.1".parse().unwrap()), dst_port: Some(80), ..CtTuple::default() };
    let reply = CtTuple { dst: Some("10.0.0.2".parse().unwrap()), src_port: Some(9), ..CtTuple::default() };
    assert_eq!(**flush, CtFlush { ip_proto: 6, original, reply, zone: Some(5) });
}

#[test]
fn a_flow_monitor_means_what_happened() {
    let told = |line: &str| -> Vec<FlowUpdate> {
        let updates = under(line).into_iter().map(|message| match message {
            Message::MultipartReply(MultipartReply { body: MultipartBody::FlowMonitor(updates), .. }) => {
                updates
            }
            other => panic!("{other:?}"),
        });
        updates.flatten().collect()
    };
    let updates = told("flow monitor: another controller added, changed and deleted a flow");
    let events = updates.iter().map(|update| match update {
        FlowUpdate::Full(change) => (change.event, change.table, change.instructions.to_string()),
        FlowUpdate::Abbreviated(_) => panic!("{update:?}"),
    });
    let wanted = [
        (FlowEvent::Added, TableId(3), "output:2".to_owned()),
        (FlowEvent::Modified, TableId(3), "output:4".to_owned()),
        (FlowEvent::Deleted, TableId(3), "output:4".to_owned()),
    ];
    assert_eq!(events.collect::<Vec<_>>(), wanted);
    let own = told("flow monitor: this controller changed a flow, and had not asked for its own changes");
    assert_eq!(own, [FlowUpdate::Abbreviated(Xid(13))]);
    let request = FlowMonitor::new(MonitorId(5));
    let asked = Message::MultipartRequest(MultipartRequest::FlowMonitor(vec![request]));
    assert_eq!(under("flow monitor: the request"), [asked]);
}

/// What wrong messages found: values that were taken and then written as others.
#[test]
fn what_is_taken_is_written_as_the_same() {
    for hex in [
        // Seconds of all ones, which say that a duration is not known, with nanoseconds that overflow into them.
        "041300380000000000050000000000000000000100000002000000000000000300000000000000040000000000000005ffffffffffffffff",
        "041300380000000000050000000000000000000100000002000000000000000300000000000000040000000000000005ffffffffffff1234",
        "041300380000000000050000000000000000000100000002000000000000000300000000000000040000000000000005fffffffeffff1234",
        // A name that is no UTF-8, and a name without an end.
        "0413005000000000000d0000000000000000000100000000020000000001000061626361626361626361af31af31af31610000000000\
         0000000000000000000000000000000000000000000000000000",
    ] {
        let hex = hex.replace(' ', "");
        let read = Message::decode(&unhex(&hex)).unwrap_or_else(|error| panic!("{hex}: {error}"));
        let mut bytes = Vec::new();
        read.1.encode(read.0, &mut bytes).unwrap();
        assert_eq!(Message::decode(&bytes), Ok(read));
    }
}

#[test]
fn every_cut_and_every_wrong_length_is_refused_without_a_panic() {
    let hexes = lines(FLOW_MODS).skip(1).step_by(2).chain(lines(MESSAGES));
    for bytes in hexes.map(unhex) {
        for end in 0..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_err(), "{} was taken", hex(&bytes[..end]));
            // The same cut with a header that owns up to it must at least not panic.
            let mut cut = bytes[..end].to_vec();
            if let Some(length) = cut.get_mut(2..4) {
                length.copy_from_slice(&u16::try_from(end).unwrap().to_be_bytes());
            }
            let _ = Message::decode(&cut);
        }
    }
}

#[test]
fn the_field_table_agrees_with_what_was_recorded() {
    // Every field of the recorded matches was found by its header: none was carried as unknown.
    let mut seen = std::collections::BTreeSet::new();
    for line in lines(FLOW_MODS).skip(1).step_by(2) {
        let Message::FlowMod(flow) = Message::decode(&unhex(line)).unwrap().1 else { panic!("{line}") };
        assert!(flow.matching.unknown().is_empty(), "{line}");
        seen.extend(flow.matching.iter().map(|condition| condition.field));
    }
    for wanted in [Field::NdReserved, Field::NdOptionsType, Field::TcpFlags, Field::CtLabel, Field::VlanVid] {
        assert!(seen.contains(&wanted), "no vector has {wanted:?}");
    }
}

#[test]
fn the_flows_of_a_pipeline_are_printed_as_ovs_prints_them() {
    // The prototype gives some flows twice; the later replaces the earlier.
    let by_key: std::collections::HashMap<_, _> = lines(include_str!("vectors/pipeline.flows"))
        .map(|line| line.parse::<FlowEntry>().unwrap_or_else(|error| panic!("{line}: {error}")))
        .map(|flow| (flow.key(), flow.to_string()))
        .collect();
    let mut flows: Vec<String> = by_key.into_values().collect();
    flows.sort();
    let dumped: Vec<&str> = lines(include_str!("vectors/pipeline.dumped")).collect();
    assert!(dumped.len() > 100, "only {} flows", dumped.len());
    assert_eq!(flows, dumped);
}
