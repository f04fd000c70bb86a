//! The simulated switch as a controller sees it: flows, groups, meters, ports, bundles and roles by messages, and
//! what happens by itself as time goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use ofctl::MacAddr;
use ofctl::flow::{FlowEntry, FlowFlags};
use ofctl::packet::Frame;
use ofctl::sim::{PacketInReason, Switch};
use ofctl::wire::{
    Action, AsyncConfig, BandKind, Bucket, BundleAdd, BundleControl, BundleControlType, BundleFlags,
    BundleId, Field, FlowMod, FlowModCommand, FlowRemovedReason, FlowStatsRequest, GroupId, GroupMod,
    GroupModCommand, GroupType, Message, MeterBand, MeterFlags, MeterId, MeterMod, MeterModCommand,
    MultipartBody, MultipartReply, MultipartRequest, NiciraMessage, OfPort, PacketInFormat, PacketOut,
    PortDescription, PortMod, Role, RoleRequest, TableId, TlvMap, TlvTableCommand, TlvTableMod,
};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn flow(text: &str) -> FlowEntry {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn switch() -> Switch {
    Switch::new().with_ports((1..=3).map(OfPort))
}

fn add(switch: &mut Switch, text: &str) {
    assert_eq!(switch.handle(Message::FlowMod(FlowMod::add(flow(text)))), [], "{text}");
}

fn command(command: FlowModCommand, text: &str) -> FlowMod {
    let entry = flow(text);
    let (cookie, mut flow_mod) = (entry.cookie, FlowMod::add(entry));
    flow_mod.command = command;
    flow_mod.cookie_mask = if cookie.0 == 0 { 0 } else { u64::MAX };
    flow_mod
}

/// The name of the error that the message is refused with.
fn refused(switch: &mut Switch, message: Message) -> &'static str {
    match &switch.handle(message)[..] {
        [Message::Error(error)] => error.error.name().unwrap(),
        other => panic!("not refused: {other:?}"),
    }
}

fn flows(switch: &Switch) -> Vec<String> {
    switch.flows(&FlowStatsRequest::default()).into_iter().map(|stats| stats.entry.to_string()).collect()
}

fn udp(port: u16) -> Vec<u8> {
    Frame::between(A, B).ip("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()).udp(1000, port).build()
}

fn counted(switch: &Switch) -> Vec<u64> {
    switch.flows(&FlowStatsRequest::default()).into_iter().map(|stats| stats.packets).collect()
}

#[test]
fn an_addition_replaces_and_keeps_counters_unless_told_otherwise() {
    let mut switch = switch();
    add(&mut switch, "priority=5,in_port=1 actions=output:2");
    for at in 1..=3 {
        let (outputs, messages) = switch.receive(OfPort(1), &udp(80), seconds(at));
        assert_eq!((outputs.len(), messages.len()), (1, 0));
    }
    add(&mut switch, "priority=5,in_port=1,cookie=0x7 actions=output:3");
    assert_eq!(flows(&switch), ["cookie=0x7, priority=5,in_port=1 actions=output:3"]);
    assert_eq!(counted(&switch), [3]);
    assert_eq!(switch.flows(&FlowStatsRequest::default())[0].duration, seconds(0));
    let mut reset = FlowMod::add(flow("priority=5,in_port=1 actions=output:3"));
    reset.flags = FlowFlags::RESET_COUNTS;
    assert_eq!(switch.handle(Message::FlowMod(reset)), []);
    assert_eq!(counted(&switch), [0]);
}

#[test]
fn overlaps_are_refused_only_when_asked_to_be() {
    let mut switch = switch();
    add(&mut switch, "priority=5,ip actions=drop");
    add(&mut switch, "priority=5,in_port=1 actions=drop");
    let mut checked = FlowMod::add(flow("priority=5,in_port=2 actions=drop"));
    checked.flags = FlowFlags::CHECK_OVERLAP;
    assert_eq!(refused(&mut switch, Message::FlowMod(checked.clone())), "OFPFMFC_OVERLAP");
    checked.priority = 6;
    assert_eq!(switch.handle(Message::FlowMod(checked)), []);
    // The same entry is no overlap, it is replaced.
    let mut same = FlowMod::add(flow("priority=5,in_port=1 actions=output:2"));
    same.flags = FlowFlags::CHECK_OVERLAP;
    assert_eq!(
        refused(&mut switch, Message::FlowMod(command(FlowModCommand::Add, "table=254,actions=drop"))),
        "OFPBRC_EPERM"
    );
    assert_eq!(switch.handle(Message::FlowMod(same)), []);
    assert_eq!(flows(&switch).len(), 3);
}

#[test]
fn modifications_change_actions_and_nothing_else() {
    let mut switch = switch();
    add(&mut switch, "priority=5,in_port=1,cookie=0x1,idle_timeout=50 actions=output:2");
    add(&mut switch, "priority=6,in_port=1,tcp,cookie=0x2 actions=output:2");
    add(&mut switch, "table=1,priority=6,in_port=2 actions=output:2");
    let loose = command(FlowModCommand::Modify, "in_port=1 actions=output:3");
    assert_eq!(switch.handle(Message::FlowMod(loose)), []);
    assert_eq!(
        flows(&switch),
        [
            "cookie=0x2, priority=6,tcp,in_port=1 actions=output:3",
            "cookie=0x1, idle_timeout=50, priority=5,in_port=1 actions=output:3",
            "table=1, priority=6,in_port=2 actions=output:2"
        ]
    );
    let strict = command(FlowModCommand::ModifyStrict, "priority=5,in_port=1 actions=drop");
    assert_eq!(switch.handle(Message::FlowMod(strict)), []);
    assert!(flows(&switch)[1].ends_with("actions=drop") && flows(&switch)[0].ends_with("output:3"));
    let by_cookie = command(FlowModCommand::Modify, "cookie=0x2 actions=output:1");
    assert_eq!(switch.handle(Message::FlowMod(by_cookie)), []);
    assert!(flows(&switch)[0].ends_with("output:1"));
    // OpenFlow 1.3 adds nothing where nothing is to be modified.
    let nothing = command(FlowModCommand::Modify, "in_port=3 actions=output:1");
    assert_eq!(switch.handle(Message::FlowMod(nothing)), []);
    assert_eq!(flows(&switch).len(), 3);
}

#[test]
fn deletions_look_at_outputs_groups_and_cookies_and_are_told() {
    let mut switch = switch();
    let group = Bucket::new(0, vec![Action::Output(OfPort(1))]);
    let group = GroupMod {
        command: GroupModCommand::Add,
        kind: GroupType::All,
        group: GroupId(7),
        buckets: vec![group],
    };
    assert_eq!(switch.handle(Message::GroupMod(group.clone())), []);
    assert_eq!(refused(&mut switch, Message::GroupMod(group)), "OFPGMFC_GROUP_EXISTS");
    add(&mut switch, "priority=1,send_flow_rem actions=output:2");
    add(&mut switch, "priority=2,cookie=0x5 actions=output:3");
    add(&mut switch, "priority=3,send_flow_rem actions=group:7");
    add(&mut switch, "priority=4,cookie=0x6 actions=drop");
    let missing = flow("priority=9 actions=group:8");
    assert_eq!(refused(&mut switch, Message::FlowMod(FlowMod::add(missing))), "OFPBAC_BAD_OUT_GROUP");
    switch.receive(OfPort(1), &udp(80), seconds(2));
    let mut to_two = FlowMod::new(FlowModCommand::Delete, TableId::ALL);
    to_two.out_port = OfPort(2);
    let told = switch.handle(Message::FlowMod(to_two));
    assert!(matches!(&told[..], [Message::FlowRemoved(gone)]
        if gone.key.priority == 1 && gone.reason == FlowRemovedReason::Delete && gone.duration == seconds(2)));
    let told = switch.handle(Message::GroupMod(GroupMod {
        command: GroupModCommand::Delete,
        kind: GroupType::All,
        group: GroupId::ALL,
        buckets: Vec::new(),
    }));
    assert!(matches!(&told[..], [Message::FlowRemoved(gone)]
        if gone.key.priority == 3 && gone.reason == FlowRemovedReason::GroupDelete));
    let by_cookie = FlowMod::delete_by_cookie(ofctl::wire::Cookie(0x5), u64::MAX);
    assert_eq!(switch.handle(Message::FlowMod(by_cookie)), []);
    assert_eq!(flows(&switch), ["cookie=0x6, priority=4 actions=drop"]);
}

#[test]
fn timeouts_run_out_in_virtual_time() {
    let mut switch = switch();
    add(&mut switch, "priority=1,idle_timeout=10,send_flow_rem actions=output:2");
    add(&mut switch, "priority=2,hard_timeout=15,udp,send_flow_rem actions=output:3");
    switch.receive(OfPort(1), &Frame::arp_request(A, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()), seconds(4));
    assert_eq!(switch.next_expiry(), Some(seconds(14)));
    assert_eq!(switch.next_expiry_by(seconds(14)), Some(seconds(14)));
    assert_eq!(switch.next_expiry_by(seconds(13)), None);
    assert_eq!(switch.advance(seconds(13)), []);
    let told = switch.advance(seconds(14));
    assert!(matches!(&told[..], [Message::FlowRemoved(gone)]
        if gone.reason == FlowRemovedReason::IdleTimeout && gone.packets == 1 && gone.bytes == 42));
    // A packet cannot keep what has a hard timeout.
    let (outputs, told) = switch.receive(OfPort(1), &udp(80), seconds(15));
    assert!(outputs.is_empty());
    assert!(
        matches!(&told[..], [Message::FlowRemoved(gone)] if gone.reason == FlowRemovedReason::HardTimeout)
    );
    assert_eq!(switch.next_expiry(), None);
}

#[test]
fn learned_flows_come_for_the_next_packet_and_go_with_their_teacher() {
    let mut switch = switch();
    add(
        &mut switch,
        "table=0,priority=1,cookie=0x1 actions=learn(table=1,delete_learned,cookie=0x9,idle_timeout=60,\
         NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),resubmit(,1)",
    );
    add(&mut switch, "table=1,priority=0 actions=FLOOD");
    let there = Frame::between(A, B).build();
    let (outputs, _) = switch.receive(OfPort(1), &there, seconds(1));
    assert_eq!(outputs.iter().map(|output| output.port).collect::<Vec<_>>(), [OfPort(2), OfPort(3)]);
    let back = Frame::between(B, A).build();
    let (outputs, _) = switch.receive(OfPort(2), &back, seconds(2));
    assert_eq!(outputs.iter().map(|output| output.port).collect::<Vec<_>>(), [OfPort(1)]);
    assert_eq!(flows(&switch).len(), 4);
    // What only evaluates learns nothing.
    let third = MacAddr([2, 0, 0, 0, 0, 3]);
    assert_eq!(switch.run(OfPort(3), None, &Frame::between(third, A).build()).ports(), [OfPort(1)]);
    assert_eq!(flows(&switch).len(), 4);
    let delete = command(FlowModCommand::DeleteStrict, "table=0,priority=1 actions=drop");
    assert_eq!(switch.handle(Message::FlowMod(delete)), []);
    assert_eq!(flows(&switch), ["table=1, priority=0 actions=FLOOD"]);
}

#[test]
fn a_miss_goes_to_the_controller_that_answers_with_a_packet_out() {
    let mut switch = switch();
    add(&mut switch, "priority=0,cookie=0x5 actions=CONTROLLER:128");
    let frame = udp(80);
    let (outputs, messages) = switch.receive(OfPort(1), &frame, seconds(1));
    assert!(outputs.is_empty());
    let [Message::PacketIn(packet)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((packet.reason, packet.cookie.0, &packet.data), (PacketInReason::NoMatch.number(), 5, &frame));
    let out = PacketOut::new(OfPort(1), vec![Action::Output(OfPort::FLOOD)], packet.data.clone());
    assert_eq!(switch.handle(Message::PacketOut(out)), []);
    let sent = switch.take_sent();
    assert_eq!(sent[0].ports(), [OfPort(2), OfPort(3)]);
    assert!(switch.take_sent().is_empty());
    let through = PacketOut::new(OfPort::CONTROLLER, vec![Action::Output(OfPort::TABLE)], frame);
    assert!(matches!(&switch.handle(Message::PacketOut(through))[..], [Message::PacketIn(_)]));
}

#[test]
fn a_bundle_is_applied_whole_or_not_at_all() {
    let mut switch = switch();
    let (bundle, flags) = (BundleId(1), BundleFlags::ATOMIC_ORDERED);
    let control = |kind| Message::BundleControl(BundleControl { bundle, kind, flags });
    let put = |text: &str| {
        let message = Box::new(Message::FlowMod(FlowMod::add(flow(text))));
        Message::BundleAdd(BundleAdd { bundle, flags, message })
    };
    assert_eq!(
        switch.handle(control(BundleControlType::OpenRequest)),
        [control(BundleControlType::OpenReply)]
    );
    assert_eq!(switch.handle(put("priority=1 actions=output:1")), []);
    assert_eq!(switch.handle(put("priority=2 actions=group:5")), []);
    let answers = switch.handle(control(BundleControlType::CommitRequest));
    let names: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Message::Error(error) => error.error.name().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["OFPBAC_BAD_OUT_GROUP", "OFPBFC_MSG_FAILED"]);
    assert!(flows(&switch).is_empty());
    switch.handle(control(BundleControlType::OpenRequest));
    switch.handle(put("priority=1 actions=output:1"));
    assert!(flows(&switch).is_empty());
    assert_eq!(
        switch.handle(control(BundleControlType::CommitRequest)),
        [control(BundleControlType::CommitReply)]
    );
    assert_eq!(flows(&switch), ["priority=1 actions=output:1"]);
    assert_eq!(refused(&mut switch, control(BundleControlType::CommitRequest)), "OFPBFC_BAD_ID");
}

#[test]
fn a_secondary_changes_nothing_and_stale_elections_are_refused() {
    let mut switch = switch();
    let ask = |role, generation| Message::RoleRequest(RoleRequest { role, generation });
    let answer = |role, generation| Message::RoleReply(RoleRequest { role, generation });
    assert_eq!(switch.handle(ask(Role::NoChange, 0)), [answer(Role::Equal, u64::MAX)]);
    assert_eq!(switch.handle(ask(Role::Secondary, 9)), [answer(Role::Secondary, 9)]);
    let change = Message::FlowMod(FlowMod::add(flow("actions=drop")));
    assert_eq!(refused(&mut switch, change.clone()), "OFPBRC_IS_SECONDARY");
    assert_eq!(refused(&mut switch, ask(Role::Primary, 8)), "OFPRRFC_STALE");
    assert_eq!(switch.handle(ask(Role::Primary, 10)), [answer(Role::Primary, 10)]);
    assert_eq!(switch.handle(change), []);
}

#[test]
fn meters_drop_above_their_rate_and_count() {
    let mut switch = switch();
    let band = |kind| MeterBand { kind, rate: 1, burst_size: 2 };
    let meter_mod = |kind| {
        Message::MeterMod(MeterMod {
            command: MeterModCommand::Add,
            flags: MeterFlags::PKTPS | MeterFlags::BURST | MeterFlags::STATS,
            meter: MeterId(4),
            bands: vec![band(kind)],
        })
    };
    assert_eq!(refused(&mut switch, meter_mod(BandKind::DscpRemark { levels: 1 })), "OFPMMFC_BAD_BAND");
    let metered = FlowEntry::new(TableId(0), 1).meter(4).apply([Action::Output(OfPort(2))]);
    assert_eq!(
        refused(&mut switch, Message::FlowMod(FlowMod::add(metered.clone()))),
        "OFPMMFC_INVALID_METER"
    );
    assert_eq!(switch.handle(meter_mod(BandKind::Drop)), []);
    assert_eq!(switch.handle(Message::FlowMod(FlowMod::add(metered))), []);
    let mut sent = 0;
    for half in 0..10 {
        let at = Duration::from_millis(500 * half);
        sent += switch.receive(OfPort(1), &udp(80), at).0.len();
    }
    // Two at once, and one a second.
    assert_eq!(sent, 2 + 4);
    let answer = switch.handle(Message::MultipartRequest(MultipartRequest::MeterStats(MeterId::ALL)));
    let [Message::MultipartReply(MultipartReply { body: MultipartBody::MeterStats(stats), .. })] =
        &answer[..]
    else {
        panic!("{answer:?}")
    };
    assert_eq!((stats[0].flows, stats[0].input.packets, stats[0].bands[0].packets), (1, 10, 4));
}

#[test]
fn failover_and_bundles_follow_the_links() {
    let mut switch = switch();
    let bucket =
        |port: u32| Bucket { watch_port: OfPort(port), ..Bucket::new(0, vec![Action::Output(OfPort(port))]) };
    let group = GroupMod {
        command: GroupModCommand::Add,
        kind: GroupType::FastFailover,
        group: GroupId(1),
        buckets: vec![bucket(2), bucket(3)],
    };
    assert_eq!(switch.handle(Message::GroupMod(group)), []);
    add(&mut switch, "priority=1,in_port=1,ip actions=group:1");
    let ports = |switch: &mut Switch| {
        let (outputs, _) = switch.receive(OfPort(1), &udp(80), seconds(1));
        outputs.into_iter().map(|output| output.port.0).collect::<Vec<_>>()
    };
    assert_eq!(ports(&mut switch), [2]);
    let told = switch.set_link(OfPort(2), false);
    assert!(matches!(&told[..], [Message::PortStatus(status)] if status.port.port == OfPort(2)));
    assert_eq!(switch.set_link(OfPort(2), false), []);
    assert_eq!(ports(&mut switch), [3]);
    let description = |switch: &mut Switch| {
        let answer = switch.handle(Message::MultipartRequest(MultipartRequest::PortDescription));
        match &answer[..] {
            [Message::MultipartReply(MultipartReply { body: MultipartBody::PortDescription(all), .. })] => {
                all.clone()
            }
            other => panic!("{other:?}"),
        }
    };
    let third = description(&mut switch)[2].clone();
    let down = PortMod {
        port: third.port,
        address: third.address,
        config: PortDescription::CONFIG_DOWN,
        mask: PortDescription::CONFIG_DOWN,
        advertise: 0,
    };
    assert!(matches!(&switch.handle(Message::PortMod(down))[..], [Message::PortStatus(_)]));
    assert!(ports(&mut switch).is_empty());
    assert_eq!(refused(&mut switch, Message::PortMod(PortMod { address: A, ..down })), "OFPPMFC_BAD_HW_ADDR");
    switch.set_link(OfPort(2), true);
    assert_eq!(ports(&mut switch), [2]);
}

#[test]
fn every_table_port_and_flow_is_counted() {
    let mut switch = switch();
    add(&mut switch, "priority=1,in_port=1 actions=output:2,goto_table:1");
    for n in 0..150 {
        add(&mut switch, &format!("table=1,priority=1,udp,udp_dst={n} actions=drop"));
    }
    switch.receive(OfPort(1), &udp(80), seconds(1));
    switch.receive(OfPort(1), &udp(8080), seconds(1));
    let ask = |switch: &mut Switch, request| -> Vec<MultipartBody> {
        let parts = switch.handle(Message::MultipartRequest(request));
        let count = parts.len();
        let parts = parts.into_iter().enumerate().map(|(i, part)| match part {
            Message::MultipartReply(reply) => {
                assert_eq!(reply.more, i + 1 < count);
                reply.body
            }
            other => panic!("{other:?}"),
        });
        parts.collect()
    };
    let tables = ask(&mut switch, MultipartRequest::Table);
    let MultipartBody::Table(tables) = &tables[0] else { panic!() };
    assert_eq!((tables[0].lookups, tables[0].matched), (2, 2));
    assert_eq!((tables[1].lookups, tables[1].matched, tables[1].active), (2, 1, 150));
    let ports = ask(&mut switch, MultipartRequest::PortStats(OfPort::ANY));
    let MultipartBody::PortStats(ports) = &ports[0] else { panic!() };
    assert_eq!((ports[0].rx_packets, ports[1].tx_packets), (2, 2));
    let flows = ask(&mut switch, MultipartRequest::Flow(FlowStatsRequest::default()));
    assert!(flows.len() > 1);
    let all = flows.iter().map(|part| match part {
        MultipartBody::Flow(flows) => flows.len(),
        _ => panic!(),
    });
    assert_eq!(all.sum::<usize>(), 151);
    let some = FlowStatsRequest { table: TableId(1), ..FlowStatsRequest::default() };
    let sum = ask(&mut switch, MultipartRequest::Aggregate(some));
    assert!(matches!(sum[0], MultipartBody::Aggregate(sum) if (sum.packets, sum.flows) == (1, 150)));
    // Every answer can be put on the wire.
    for request in [MultipartRequest::Table, MultipartRequest::Description, MultipartRequest::GroupFeatures] {
        for message in switch.handle(Message::MultipartRequest(request)) {
            message.encode(ofctl::wire::Xid(1), &mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn tunnel_options_are_mapped_once() {
    let mut switch = switch();
    let change = |command, index| {
        let maps = vec![TlvMap { class: 0x0102, kind: index as u8, length: 4, index }];
        Message::Nicira(NiciraMessage::TlvTableMod(TlvTableMod { command, maps }))
    };
    assert_eq!(switch.handle(change(TlvTableCommand::Add, 3)), []);
    assert_eq!(refused(&mut switch, change(TlvTableCommand::Add, 3)), "NXTTMFC_DUP_ENTRY");
    assert_eq!(switch.handle(change(TlvTableCommand::Add, 2)), []);
    let told = |switch: &mut Switch| match &switch.handle(Message::Nicira(NiciraMessage::TlvTableRequest))[..]
    {
        [Message::Nicira(NiciraMessage::TlvTableReply(table))] => {
            table.maps.iter().map(|map| map.index).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&mut switch), [2, 3]);
    assert_eq!(switch.handle(change(TlvTableCommand::Delete, 3)), []);
    assert_eq!(told(&mut switch), [2]);
}

#[test]
fn packet_ins_come_in_the_form_and_for_the_controller_that_were_asked_for() {
    let mut switch = switch();
    add(
        &mut switch,
        "priority=1,udp actions=load:0x9->NXM_NX_REG3[],controller(id=7,userdata=01.02,reason=invalid_ttl)",
    );
    add(&mut switch, "priority=1,arp actions=CONTROLLER:65535");
    // TTLs that ran out are not heard of unless asked for, nor what is for another controller.
    assert_eq!(switch.receive(OfPort(1), &udp(80), seconds(1)).1, []);
    assert_eq!(switch.handle(Message::Nicira(NiciraMessage::SetControllerId(7))), []);
    assert_eq!(switch.receive(OfPort(1), &udp(80), seconds(1)).1, []);
    let hears = AsyncConfig { packet_in: [0b111, 0], port_status: [0; 2], flow_removed: [0; 2] };
    assert_eq!(switch.handle(Message::SetAsync(hears)), []);
    assert_eq!(switch.handle(Message::GetAsyncRequest), [Message::GetAsyncReply(hears)]);
    let [Message::PacketIn(standard)] = &switch.receive(OfPort(1), &udp(80), seconds(1)).1[..] else {
        panic!()
    };
    assert_eq!(standard.matching.exact(Field::Reg3).unwrap().to_u64(), 9);
    assert_eq!(switch.handle(Message::Nicira(NiciraMessage::SetPacketInFormat(PacketInFormat::Nxt2))), []);
    let heard = switch.receive(OfPort(1), &udp(80), seconds(1)).1;
    let [Message::Nicira(NiciraMessage::PacketIn2(packet))] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((packet.reason, &packet.userdata[..], &packet.packet), (Some(2), &[1, 2][..], &udp(80)));
    // What is for the controller of number 0 is not for this one.
    let arp = Frame::arp_request(A, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    assert_eq!(switch.receive(OfPort(1), &arp, seconds(1)).1, []);
    assert_eq!(switch.set_link(OfPort(2), false), []);
}
