//! The applications that live in the tables alone.

use std::time::Duration;

use ofctl::MacAddr;
use ofctl::kit::DatapathId;
use ofctl::kit::apps::{IsolatedSwitch, PortGroup, SelfLearningSwitch};
use ofctl::packet::Frame;
use ofctl::wire::OfPort;

use super::{counts, frame, mac, star};

#[test]
fn a_self_learning_switch_asks_nothing() {
    let (mut bed, switch, hosts) = star(SelfLearningSwitch, 4);
    bed.send(hosts[0], frame(1, 2));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 1, 1, 1], "not known: to all");
    bed.send(hosts[1], frame(2, 1));
    bed.send(hosts[0], frame(1, 2));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [1, 2, 1, 1], "known: there alone");
    // Host 2 moves to port 4, and is found there.
    bed.forget_received();
    bed.send(hosts[3], frame(2, 1));
    bed.send(hosts[0], frame(1, 2));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [1, 0, 0, 1]);
    // And is forgotten in time.
    bed.run_for(Duration::from_secs(301));
    assert_eq!(bed.flows(switch).len(), SelfLearningSwitch::flows().len());
    assert_eq!((bed.packet_ins(switch), bed.errors().len()), (0, 0));
}

#[test]
fn group_addresses_are_not_learned() {
    let (mut bed, switch, hosts) = star(SelfLearningSwitch, 3);
    let from_group = Frame::between(MacAddr([3, 0, 0, 0, 0, 1]), mac(2)).eth_type(0x88b5).build();
    bed.send(hosts[0], from_group);
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 0, 0]);
    assert_eq!(bed.flows(switch).len(), SelfLearningSwitch::flows().len());
}

#[test]
fn vlans_learn_apart() {
    let (mut bed, _, hosts) = star(SelfLearningSwitch, 3);
    let tagged = |from, to, vid| Frame::between(mac(from), mac(to)).vlan(vid).eth_type(0x88b5).build();
    bed.send(hosts[1], tagged(2, 9, 5));
    bed.run_for(Duration::from_millis(10));
    bed.forget_received();
    bed.send(hosts[0], tagged(1, 2, 5));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 1, 0], "known in its VLAN");
    bed.send(hosts[0], tagged(1, 2, 6));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 2, 1], "not known in another");
}

/// Ports 1 and 2 in group 1, 3 and 4 in group 2, 5 shared.
fn isolated() -> IsolatedSwitch {
    let group = |number| PortGroup::new(number).unwrap();
    let ports = |numbers: [u32; 2]| numbers.map(OfPort);
    IsolatedSwitch::default().group(DatapathId(1), group(1), ports([1, 2])).group(
        DatapathId(1),
        group(2),
        ports([3, 4]),
    )
}

#[test]
fn groups_talk_within_and_to_shared_ports_and_never_to_each_other() {
    let (mut bed, switch, hosts) = star(isolated(), 5);
    // Twice: before anything is known, and after.
    for _ in 0..2 {
        for from in 0..5 {
            for to in (0..5).filter(|to| *to != from) {
                let allowed = from == 4 || to == 4 || from / 2 == to / 2;
                assert_eq!(bed.ping(hosts[from], hosts[to]).is_some(), allowed, "{} to {}", from + 1, to + 1);
            }
        }
    }
    assert_eq!((bed.packet_ins(switch), bed.errors().len()), (0, 0));
}

#[test]
fn what_is_not_known_floods_no_further_than_it_may() {
    let (mut bed, _, hosts) = star(isolated(), 5);
    let broadcast = |from| Frame::between(mac(from), MacAddr::BROADCAST).eth_type(0x88b5).build();
    for (from, wanted) in [(1, [0, 1, 0, 0, 1]), (4, [0, 0, 1, 0, 1]), (5, [1, 1, 1, 1, 0])] {
        bed.forget_received();
        bed.send(hosts[from as usize - 1], broadcast(from));
        bed.run_for(Duration::from_millis(10));
        assert_eq!(counts(&bed, &hosts), wanted, "from {from}");
    }
}

#[test]
fn an_address_cannot_be_taken_from_another_group() {
    let (mut bed, _, hosts) = star(isolated(), 5);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    // Host 3, of group 2, sends as if it were host 2.
    bed.send(hosts[2], frame(2, 4));
    bed.run_for(Duration::from_millis(10));
    bed.forget_received();
    bed.send(hosts[0], frame(1, 2));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 1, 0, 0, 0]);
}

/// What a module's documentation shows is what a switch would show.
#[test]
fn flows_read_as_they_are_documented() {
    let texts = SelfLearningSwitch::flows().map(|flow| flow.to_string());
    let learn = "learn(table=1,idle_timeout=300,priority=10,NXM_OF_VLAN_TCI[0..11],\
                 NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])";
    assert_eq!(
        texts,
        [
            "priority=10,dl_src=01:00:00:00:00:00/01:00:00:00:00:00 actions=drop".to_owned(),
            format!("priority=0 actions={learn},goto_table:1"),
            "table=1, priority=0 actions=FLOOD".to_owned(),
        ]
    );
    let (bed, switch, _) = star(isolated(), 5);
    let texts: Vec<String> = bed.flows(switch).iter().map(|flow| flow.entry.to_string()).collect();
    for wanted in [
        "priority=10,in_port=1 actions=load:0x1->NXM_NX_REG1[],goto_table:1",
        "priority=0 actions=goto_table:1",
        "table=2, priority=1,reg1=0x1 actions=output:1,output:2,output:5",
        "table=2, priority=1,reg1=0x2 actions=output:3,output:4,output:5",
        "table=2, priority=0 actions=FLOOD",
    ] {
        assert!(texts.iter().any(|text| text == wanted), "{wanted} is not in {texts:#?}");
    }
}
