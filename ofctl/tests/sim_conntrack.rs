//! Connection tracking, translation and their time, without a switch to compare with: what a stateful firewall and
//! a gateway rely on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::packet::Frame;
use ofctl::sim::{RunError, Switch, verify_checksums};
use ofctl::wire::{Message, NiciraMessage, OfPort};

const INSIDE: OfPort = OfPort(1);
const OUTSIDE: OfPort = OfPort(2);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const RST_ACK: u8 = 0x14;

fn switch(flows: &[&str]) -> Switch {
    let flows = flows.iter().map(|text| text.parse::<FlowEntry>().unwrap_or_else(|e| panic!("{text}: {e}")));
    Switch::new().with_flows(flows).unwrap().with_ports([INSIDE, OUTSIDE])
}

/// Connections begin inside only.
fn firewall() -> Switch {
    switch(&[
        "table=0,ip actions=ct(zone=5,table=1)",
        "table=1,priority=3,ct_state=+trk+inv actions=drop",
        "table=1,priority=2,in_port=1,ip,ct_state=+trk+new actions=ct(commit,zone=5,exec(load:0x7->NXM_NX_CT_MARK[])),output:2",
        "table=1,priority=2,in_port=1,ct_state=+trk+est actions=output:2",
        "table=1,priority=2,in_port=2,ct_state=+trk+est,ct_mark=0x7 actions=output:1",
        "table=1,priority=2,in_port=2,ct_state=+trk+rel actions=output:1",
    ])
}

/// The same, and what leaves has the gateway's address.
fn gateway(nat: &str) -> Switch {
    switch(&[
        &format!("table=0,in_port=1,ip actions=ct(commit,zone=1,table=1,nat({nat}))"),
        "table=0,in_port=2,ip actions=ct(zone=1,table=1,nat)",
        "table=1,in_port=1,ct_state=-inv+trk actions=output:2",
        "table=1,in_port=2,ct_state=+est+trk actions=output:1",
        "table=1,in_port=2,ct_state=+rel+trk actions=output:1",
    ])
}

fn between(src: impl Into<IpAddr>, dst: impl Into<IpAddr>) -> Frame {
    Frame::between(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])).ip(src.into(), dst.into())
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The frame that leaves, if one does.
fn passed(switch: &mut Switch, port: OfPort, frame: &Frame, at: u64) -> Option<Vec<u8>> {
    let (mut outputs, _) = switch.receive(port, &frame.build(), seconds(at));
    assert!(outputs.len() <= 1);
    let frame = outputs.pop()?.frame;
    verify_checksums(&frame).unwrap();
    Some(frame)
}

fn passes(switch: &mut Switch, port: OfPort, frame: &Frame, at: u64) -> bool {
    passed(switch, port, frame, at).is_some()
}

fn out(flags: u8) -> Frame {
    between(HOST, SERVER).tcp_flags(40000, 80, flags)
}

fn back(flags: u8) -> Frame {
    between(SERVER, HOST).tcp_flags(80, 40000, flags)
}

#[test]
fn only_answers_come_in() {
    let mut firewall = firewall();
    assert!(!passes(&mut firewall, OUTSIDE, &back(SYN), 0));
    assert!(passes(&mut firewall, INSIDE, &out(SYN), 1));
    assert!(passes(&mut firewall, OUTSIDE, &back(SYN_ACK), 1));
    assert!(passes(&mut firewall, INSIDE, &out(ACK), 1));
    assert!(!passes(&mut firewall, OUTSIDE, &between(SERVER, HOST).tcp(81, 40000), 1));
    // Neither SYN nor ACK: no stack sends that.
    assert!(!passes(&mut firewall, INSIDE, &out(0), 1));
    let mut udp = between(HOST, SERVER).udp(1000, 53);
    assert!(passes(&mut firewall, INSIDE, &udp, 1));
    udp = between(SERVER, HOST).udp(53, 1000);
    assert!(passes(&mut firewall, OUTSIDE, &udp, 2));
}

#[test]
fn an_established_connection_lives_for_a_day_and_a_closed_one_for_half_a_minute() {
    let mut firewall = firewall();
    for (port, frame) in [(INSIDE, out(SYN)), (OUTSIDE, back(SYN_ACK)), (INSIDE, out(ACK))] {
        assert!(passes(&mut firewall, port, &frame, 1));
    }
    let day = 24 * 60 * 60;
    assert!(passes(&mut firewall, OUTSIDE, &back(ACK), day));
    assert!(!passes(&mut firewall, OUTSIDE, &back(ACK), 2 * day));
    let mut firewall = self::firewall();
    for (port, frame) in [
        (INSIDE, out(SYN)),
        (OUTSIDE, back(SYN_ACK)),
        (INSIDE, out(ACK)),
        (INSIDE, out(FIN_ACK)),
        (OUTSIDE, back(RST_ACK)),
    ] {
        assert!(passes(&mut firewall, port, &frame, 1));
    }
    assert!(passes(&mut firewall, OUTSIDE, &back(ACK), 30));
    assert!(!passes(&mut firewall, OUTSIDE, &back(ACK), 31 + 30));
    // An unanswered datagram has a minute.
    let (ask, answer) = (between(HOST, SERVER).udp(1000, 53), between(SERVER, HOST).udp(53, 1000));
    assert!(passes(&mut firewall, INSIDE, &ask, 100));
    assert!(passes(&mut firewall, OUTSIDE, &answer, 159));
    assert!(!passes(&mut firewall, OUTSIDE, &answer, 189));
}

#[test]
fn a_flushed_zone_knows_nothing_and_another_zone_still_does() {
    let mut firewall = firewall();
    assert!(passes(&mut firewall, INSIDE, &out(SYN), 1));
    assert_eq!(firewall.handle(Message::Nicira(NiciraMessage::CtFlushZone(4))), []);
    assert!(passes(&mut firewall, OUTSIDE, &back(SYN_ACK), 1));
    assert_eq!(firewall.handle(Message::Nicira(NiciraMessage::CtFlushZone(5))), []);
    assert!(!passes(&mut firewall, OUTSIDE, &back(ACK), 1));
}

#[test]
fn what_only_evaluates_commits_nothing() {
    let firewall = firewall();
    assert_eq!(firewall.run(INSIDE, None, &out(SYN).build()).ports(), [OUTSIDE]);
    assert!(firewall.run(OUTSIDE, None, &back(SYN_ACK).build()).is_drop());
}

#[test]
fn sources_are_translated_and_answers_find_back() {
    let mut gateway = gateway("src=203.0.113.1");
    let sent = passed(&mut gateway, INSIDE, &out(SYN), 1).unwrap();
    assert_eq!(sent, between(GATEWAY, SERVER).tcp_flags(40000, 80, SYN).build());
    let answer = between(SERVER, GATEWAY).tcp_flags(80, 40000, SYN_ACK);
    assert_eq!(passed(&mut gateway, OUTSIDE, &answer, 1).unwrap(), back(SYN_ACK).build());
    // A second host with the same port gets the next one.
    let second = between(Ipv4Addr::new(10, 0, 0, 2), SERVER).tcp_flags(40000, 80, SYN);
    let sent = passed(&mut gateway, INSIDE, &second, 1).unwrap();
    assert_eq!(sent, between(GATEWAY, SERVER).tcp_flags(40001, 80, SYN).build());
    let answer = between(SERVER, GATEWAY).tcp_flags(80, 40001, SYN_ACK);
    let wanted = between(SERVER, Ipv4Addr::new(10, 0, 0, 2)).tcp_flags(80, 40000, SYN_ACK);
    assert_eq!(passed(&mut gateway, OUTSIDE, &answer, 1).unwrap(), wanted.build());
    // Nobody asked for this.
    let stranger = between(SERVER, GATEWAY).tcp_flags(80, 40002, SYN_ACK);
    assert!(!passes(&mut gateway, OUTSIDE, &stranger, 1));
}

#[test]
fn ports_of_a_range_are_used_up() {
    let mut gateway = gateway("src=203.0.113.1:5000-5002");
    let mut used = Vec::new();
    for port in 1..=4 {
        let frame = between(HOST, SERVER).udp(port, 53);
        if let Some(sent) = passed(&mut gateway, INSIDE, &frame, 1)
            && sent[26..30] == GATEWAY.octets()
        {
            used.push(u16::from_be_bytes([sent[34], sent[35]]));
        }
    }
    used.sort_unstable();
    assert_eq!(used, [5000, 5001, 5002]);
}

#[test]
fn destinations_are_translated_too() {
    let mut gateway = gateway("dst=192.0.2.80:8080");
    let service = Ipv4Addr::new(198, 51, 100, 7);
    let sent = passed(&mut gateway, INSIDE, &between(HOST, service).udp(1000, 80), 1).unwrap();
    assert_eq!(sent, between(HOST, SERVER).udp(1000, 8080).build());
    let answer = passed(&mut gateway, OUTSIDE, &between(SERVER, HOST).udp(8080, 1000), 1).unwrap();
    assert_eq!(answer, between(service, HOST).udp(80, 1000).build());
}

#[test]
fn an_error_is_related_and_what_it_quotes_is_translated_back() {
    let mut gateway = gateway("src=203.0.113.1");
    let sent = passed(&mut gateway, INSIDE, &between(HOST, SERVER).udp(1000, 53), 1).unwrap();
    let router = Ipv4Addr::new(198, 51, 100, 1);
    let error = between(router, GATEWAY).icmp(3, 3, [0; 4]).payload(&sent[14..]);
    let passed_on = passed(&mut gateway, OUTSIDE, &error, 2).unwrap();
    let quoted = between(HOST, SERVER).udp(1000, 53).build();
    assert_eq!(&passed_on[30..34], HOST.octets());
    assert_eq!(&passed_on[42..], &quoted[14..]);
}

#[test]
fn the_trace_says_what_tracking_said() {
    let firewall = firewall();
    let text = firewall.run(INSIDE, None, &out(SYN).build()).to_string();
    assert!(text.contains(">> zone 5: new|trk"), "{text}");
    assert!(text.contains("resumed in table 1: in_port=1"), "{text}");
}

#[test]
fn an_algorithm_needs_its_protocol_and_is_told_in_the_trace() {
    let flow = |text: &str| text.parse::<FlowEntry>().unwrap();
    for refused in
        ["ip,actions=ct(commit,alg=ftp)", "udp,actions=ct(commit,alg=ftp)", "tcp,actions=ct(alg=tftp)"]
    {
        let error = Switch::new().with_flows([flow(refused)]).unwrap_err().to_string();
        assert!(error.contains("the match must hold"), "{refused}: {error}");
    }
    let mut switch = Switch::new()
        .with_ports([OfPort(1), OfPort(2)])
        .with_flows([
            flow("tcp,actions=ct(commit,alg=ftp,table=1)"),
            flow("table=1,ct_state=+new+trk,ip,actions=output:2"),
        ])
        .unwrap();
    let mac = ofctl::MacAddr([2, 0, 0, 0, 0, 1]);
    let frame = ofctl::packet::Frame::between(mac, mac).ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let frame = frame.tcp_flags(40000, 21, 2).build();
    let packet = ofctl::sim::Packet::new(OfPort(1), frame);
    let verdict = switch.receive_packet(packet, std::time::Duration::ZERO).verdict;
    assert_eq!(verdict.outputs.len(), 1, "{verdict}");
    assert!(verdict.to_string().contains("alg=ftp"), "{verdict}");
}

#[test]
fn a_fragment_too_small_to_be_put_together_is_invalid_and_others_wait() {
    let flow = |text: &str| text.parse::<FlowEntry>().unwrap();
    let switch = Switch::new()
        .with_ports([OfPort(1), OfPort(2)])
        .with_flows([
            flow("ip,actions=ct(table=1)"),
            flow("ipv6,actions=ct(table=1)"),
            flow("table=1,ct_state=+inv+trk,ip,actions=output:2"),
            flow("table=1,ct_state=+inv+trk,ipv6,actions=output:2"),
        ])
        .unwrap();
    let mac = ofctl::MacAddr([2, 0, 0, 0, 0, 1]);
    let ends: [[std::net::IpAddr; 2]; 2] =
        [["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]].map(|pair| pair.map(|end| end.parse().unwrap()));
    for (ends, least) in ends.into_iter().zip([1200, 1280]) {
        let fragment = |length: usize, more: bool| {
            let frame = ofctl::packet::Frame::between(mac, mac).ip(ends[0], ends[1]);
            frame.fragment(8, more).protocol(17).payload(&vec![7; length]).build()
        };
        let run = |length, more| switch.run(OfPort(1), None, &fragment(length, more));
        assert_eq!(run(64, true).outputs.len(), 1, "{}", run(64, true));
        // Large enough to be kept; and the last may be small.
        for waiting in [run(least, true), run(64, false)] {
            assert!(matches!(waiting.error, Some(RunError::Unsupported { .. })), "{waiting}");
        }
    }
}
