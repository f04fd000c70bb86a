//! ARP and neighbour discovery answered by flows: the responders of a pipeline that was proved on a real switch.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, Ipv6Addr};

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::packet::Frame;
use ofctl::sim::{Packet, Switch, verify_checksums};
use ofctl::wire::{Field, OfPort, TableId};

const HOST: MacAddr = MacAddr([0x0a, 0, 0, 0, 1, 0x0b]);
const PEER: MacAddr = MacAddr([0x0a, 0, 0, 0, 1, 0x0c]);
const ROUTER: MacAddr = MacAddr([0x0a, 0, 0, 0, 0, 0xfe]);
const HOST_PORT: OfPort = OfPort(11);

fn flows() -> Vec<FlowEntry> {
    include_str!("vectors/sim-responders.flows").lines().map(|line| line.parse().unwrap()).collect()
}

fn switch() -> Switch {
    Switch::new().with_flows(flows()).unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn an_arp_request_is_answered_on_the_port_that_asked() {
    let switch = switch();
    let own = Ipv4Addr::new(10, 1, 0, 11);
    for (target, mac) in [(Ipv4Addr::new(10, 1, 0, 12), PEER), (Ipv4Addr::new(10, 1, 0, 254), ROUTER)] {
        let verdict = switch.run(HOST_PORT, None, &Frame::arp_request(HOST, own, target));
        let output = verdict.only().unwrap_or_else(|| panic!("no answer:\n{verdict}"));
        assert_eq!(output.port, HOST_PORT);
        assert_eq!(output.frame, Frame::arp_reply((mac, target), (HOST, own)), "{verdict}");
    }
}

#[test]
fn nobody_answers_for_strangers_for_oneself_or_to_a_liar() {
    let switch = switch();
    let (own, peer) = (Ipv4Addr::new(10, 1, 0, 11), Ipv4Addr::new(10, 1, 0, 12));
    for (why, frame) in [
        ("a stranger's address", Frame::arp_request(HOST, own, Ipv4Addr::new(10, 1, 0, 99))),
        ("an address probe for the own address", Frame::arp_request(HOST, Ipv4Addr::UNSPECIFIED, own)),
        ("another's address as sender", Frame::arp_request(HOST, Ipv4Addr::new(10, 1, 0, 13), peer)),
        ("another's MAC as sender", Frame::arp_request(PEER, own, peer)),
    ] {
        let verdict = switch.run(HOST_PORT, None, &frame);
        assert!(verdict.is_drop(), "{why}:\n{verdict}");
    }
}

#[test]
fn a_solicitation_is_answered_by_a_valid_advertisement() {
    let switch = switch();
    let own = v6("fd00:1::b");
    for (target, mac, flags) in [(v6("fd00:1::c"), PEER, 0x60), (v6("fd00:1::fe"), ROUTER, 0xe0)] {
        let verdict = switch.run(HOST_PORT, None, &Frame::neighbour_solicitation(HOST, own, target).build());
        let output = verdict.only().unwrap_or_else(|| panic!("no answer:\n{verdict}"));
        assert_eq!(output.port, HOST_PORT);
        let wanted = Frame::neighbour_advertisement((mac, target), (HOST, own), flags, target);
        assert_eq!(output.frame, wanted.build(), "{verdict}");
        verify_checksums(&output.frame).unwrap();
    }
}

/// Without an option in the question there is no room for one in the answer: flows cannot make frames longer.
#[test]
fn a_solicitation_without_option_gets_an_answer_without_one() {
    let (own, target) = (v6("fd00:1::b"), v6("fd00:1::c"));
    let addresses = (own, v6("ff02::1:ff00:c"));
    let group = MacAddr([0x33, 0x33, 0xff, 0, 0, 0x0c]);
    let question = Frame::discovery(HOST, group, addresses, 135, 0, target, None).build();
    let verdict = switch().run(HOST_PORT, None, &question);
    let output = verdict.only().unwrap_or_else(|| panic!("no answer:\n{verdict}"));
    let wanted = Frame::discovery(PEER, HOST, (target, own), 136, 0x60, target, None);
    assert_eq!(output.frame, wanted.build(), "{verdict}");
    verify_checksums(&output.frame).unwrap();
}

#[test]
fn a_router_advertisement_from_a_container_is_dropped() {
    let frame = Frame::between(HOST, MacAddr([0x33, 0x33, 0, 0, 0, 1]))
        .ip(v6("fe80::800:ff:fe00:10b").into(), v6("ff02::1").into())
        .ttl(255)
        .icmp(134, 0, [64, 0, 0, 0])
        .payload(&[0; 8]);
    let verdict = switch().run(HOST_PORT, None, &frame.build());
    assert!(verdict.is_drop(), "{verdict}");
    assert!(
        verdict.to_string().ends_with("table 10 priority 92 cookie 0x40000000000000b outputs nothing"),
        "{verdict}"
    );
}

/// The address is swapped over the stack here.
#[test]
fn a_whole_range_is_answered_by_one_flow() {
    let gateway = flows().into_iter().filter(|flow| flow.table == TableId(8)).map(|mut flow| {
        flow.table = TableId(0);
        flow
    });
    let switch = Switch::new().with_flows(gateway).unwrap();
    let (asker, target) = (Ipv4Addr::new(100, 64, 0, 1), Ipv4Addr::new(100, 64, 7, 9));
    let verdict = switch.run(OfPort(120), None, &Frame::arp_request(HOST, asker, target));
    let output = verdict.only().unwrap_or_else(|| panic!("no answer:\n{verdict}"));
    let mac = MacAddr([0x0a, 0, 0, 0, 0, 0xfd]);
    assert_eq!(output.frame, Frame::arp_reply((mac, target), (HOST, asker)), "{verdict}");
}

#[test]
fn the_trace_tells_the_way_table_by_table() {
    let frame = Frame::arp_request(HOST, Ipv4Addr::new(10, 1, 0, 11), Ipv4Addr::new(10, 1, 0, 12));
    let verdict = switch().run(HOST_PORT, None, &frame);
    let text = verdict.to_string();
    let places = [
        "in_port=11,",
        "\n0. ",
        "\n10. ",
        "\n14. ",
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
        ">> output to port 11",
    ]
    .map(|wanted| text.find(wanted).unwrap_or_else(|| panic!("'{wanted}' is missing in\n{text}")));
    assert!(places.is_sorted(), "{text}");
    assert!(text.ends_with("Verdict: output to 11"), "{text}");
    assert_eq!(Packet::new(HOST_PORT, frame).get(Field::ArpOp).to_u64(), 1);
    assert_eq!(verdict.packet.get(Field::ArpOp).to_u64(), 2);
}
