//! The kit's applications on the testbed: who hears what.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pace;
mod tables;

use std::time::Duration;

use ofctl::MacAddr;
use ofctl::kit::apps::{Hub, LearningSwitch};
use ofctl::kit::testbed::{Host, HostId, Testbed};
use ofctl::kit::{Application, DatapathId};
use ofctl::packet::Frame;
use ofctl::wire::OfPort;

/// One switch and a host on each of its ports: 10.0.0.1 on port 1, and so on.
fn star<A: Application>(application: A, n: u32) -> (Testbed<A>, DatapathId, Vec<HostId>) {
    let mut bed = Testbed::new(application);
    let switch = bed.switch(1, n);
    let hosts = (1..=n).map(|port| bed.host(switch, port, Host::new([10, 0, 0, port as u8]))).collect();
    bed.run_for(Duration::from_millis(10));
    (bed, switch, hosts)
}

fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 10, 0, 0, host])
}

fn frame(from: u8, to: u8) -> Vec<u8> {
    let ip = |host| std::net::IpAddr::from([10, 0, 0, host]);
    Frame::between(mac(from), mac(to)).ip(ip(from), ip(to)).udp(1, 2).build()
}

fn counts<A: Application>(bed: &Testbed<A>, hosts: &[HostId]) -> Vec<usize> {
    hosts.iter().map(|host| bed.received(*host).len()).collect()
}

#[test]
fn a_hub_repeats_to_all_but_the_sender() {
    let (mut bed, switch, hosts) = star(Hub, 4);
    bed.send(hosts[1], frame(2, 3));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [1, 0, 1, 1]);
    assert_eq!(bed.received(hosts[2]), [frame(2, 3)]);
    assert!(bed.ping(hosts[0], hosts[3]).is_some());
    assert_eq!((bed.flows(switch).len(), bed.errors().len()), (1, 0));
}

#[test]
fn a_learning_switch_floods_until_it_knows_and_then_forwards_by_itself() {
    let (mut bed, switch, hosts) = star(LearningSwitch::default(), 4);
    bed.send(hosts[0], frame(1, 2));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 1, 1, 1]);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    let packet_ins = bed.packet_ins(switch);
    bed.forget_received();
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    assert_eq!(counts(&bed, &hosts), [1, 1, 0, 0]);
    assert_eq!(bed.packet_ins(switch), packet_ins, "flows carry what is known");
    assert!(bed.errors().is_empty());
}

#[test]
fn a_host_that_moves_is_found_at_its_new_port() {
    let (mut bed, switch, hosts) = star(LearningSwitch::default(), 4);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    // Host 2's address appears on port 4.
    bed.send(hosts[3], frame(2, 1));
    bed.run_for(Duration::from_millis(10));
    bed.forget_received();
    bed.send(hosts[0], frame(1, 2));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 0, 0, 1]);
    assert_eq!(bed.application().port_of(switch, mac(2)), Some(OfPort(4)));
}

#[test]
fn two_learning_switches_are_one_network() {
    let mut bed = Testbed::new(LearningSwitch::default());
    let (left, right) = (bed.switch(1, 3), bed.switch(2, 3));
    bed.link((left, 3), (right, 3));
    let a = bed.host(left, 1, Host::new([10, 0, 0, 1]));
    let b = bed.host(right, 1, Host::new([10, 0, 0, 2]));
    assert!(bed.ping(a, b).is_some());
    bed.cut(left, 3);
    assert!(bed.ping(a, b).is_none());
    bed.mend(left, 3);
    assert!(bed.ping(a, b).is_some());
}

#[test]
fn a_learned_flow_with_a_buffered_packet_needs_no_second_message() {
    use ofctl::kit::Event;
    use ofctl::wire::{Cookie, Field, Match, Message, PacketIn, TableId};
    let mut learning = LearningSwitch::default();
    let mut tell = |port: u32, from, to| {
        let packet = PacketIn {
            buffer_id: 77,
            total_len: 60,
            reason: 0,
            table: TableId(0),
            cookie: Cookie(0),
            matching: Match::new().with(Field::InPort, OfPort(port)),
            data: frame(from, to),
        };
        learning.handle(Duration::ZERO, &Event::PacketIn(DatapathId(1), packet)).messages
    };
    assert!(matches!(&tell(1, 1, 2)[..], [(_, Message::PacketOut(out))] if out.buffer_id == 77));
    assert!(matches!(&tell(2, 2, 1)[..], [(_, Message::FlowMod(flow))] if flow.buffer_id == 77));
}

#[test]
fn a_port_that_goes_down_takes_its_addresses_with_it() {
    let (mut bed, switch, hosts) = star(LearningSwitch::default(), 4);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    bed.cut(switch, 2);
    bed.run_for(Duration::from_millis(10));
    assert_eq!(bed.application().port_of(switch, mac(2)), None);
    assert!(!bed.flows(switch).iter().any(|flow| flow.entry.to_string().contains("output:2")));
    bed.forget_received();
    bed.send(hosts[0], frame(1, 2));
    bed.run_for(Duration::from_millis(10));
    assert_eq!(counts(&bed, &hosts), [0, 0, 1, 1], "it floods again");
}

#[test]
fn flows_of_the_learning_switch_idle_out() {
    let (mut bed, switch, hosts) = star(LearningSwitch::default().idle_timeout(10), 2);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    assert_eq!(bed.flows(switch).len(), 3);
    bed.run_for(Duration::from_secs(9));
    assert_eq!(bed.flows(switch).len(), 3);
    bed.run_for(Duration::from_secs(2));
    assert_eq!(bed.flows(switch).len(), 1);
}

#[test]
fn an_address_that_is_silent_is_forgotten() {
    let (mut bed, switch, hosts) = star(LearningSwitch::default(), 3);
    bed.send(hosts[0], frame(1, 9));
    bed.run_for(Duration::from_secs(200));
    bed.send(hosts[1], frame(2, 9));
    bed.run_for(Duration::from_secs(200));
    assert_eq!(bed.application().port_of(switch, mac(1)), None);
    assert_eq!(bed.application().port_of(switch, mac(2)), Some(OfPort(2)));
}
