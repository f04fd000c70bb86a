//! Packets under any bytes and any writes, and tables of many flows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::packet::Frame;
use ofctl::sim::{Packet, RunError, Switch, verify_checksums};
use ofctl::wire::{
    Action, Bucket, Field, FieldValue, GroupId, GroupType, Match, OfPort, Prerequisite, TableId,
};
use proptest::prelude::*;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// A frame of every kind, all with their checksums right.
fn frames() -> Vec<Frame> {
    let v4 = |frame: Frame| frame.ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let v6 = |frame: Frame| frame.ip("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let (one, two) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let plain = || Frame::between(A, B);
    let mut frames = vec![
        Frame::arp(A, B, 1, (A, [10, 0, 0, 1].into()), (B, [10, 0, 0, 2].into())),
        Frame::neighbour_solicitation(A, one, two),
        Frame::neighbour_advertisement((A, one), (B, two), 0x60, one),
        plain().payload(b"hello"),
    ];
    for ip in [v4, v6] {
        frames.push(ip(plain()).tcp(1000, 80).payload(b"hello"));
        frames.push(ip(plain()).udp(1000, 53).payload(b"hello"));
        frames.push(ip(plain()).sctp(1000, 53).payload(b"a chunk."));
        frames.push(ip(plain()).echo_request(1, 2).payload(b"hello"));
        frames.push(ip(plain()).fragment(0, true).udp(1000, 53).payload(b"hello"));
        frames.push(ip(plain()).fragment(5, false).udp(1000, 53).payload(b"hello"));
    }
    let tagged = frames.iter().map(|frame| frame.clone().vlan(7)).collect::<Vec<_>>();
    frames.extend(tagged);
    frames
}

/// Fields whose values a frame or its metadata can hold whole.
fn settable() -> Vec<Field> {
    let known = |field: &Field| !field.name().starts_with("tun_metadata");
    Field::all().filter(|field| field.spec().writable).filter(known).collect()
}

fn stands_in_frame(field: Field) -> bool {
    use Field::*;
    let bare = matches!(field, EthSrc | EthDst | VlanVid | VlanPcp | VlanTci);
    bare || field.spec().prerequisite != Prerequisite::None
}

fn in_field(field: Field, value: u128) -> FieldValue {
    let bits = match field {
        // The tag must stay, and a port number of 16 bits is one of 32 too.
        Field::VlanVid => return FieldValue::from(value & 0xfff | 0x1000),
        Field::VlanTci => return FieldValue::from(value & 0xefff | 0x1000),
        Field::ArpOp => 8,
        Field::IpTos => return FieldValue::from(value & 0xfc),
        _ => field.bits_wide().min(128),
    };
    FieldValue::from(if bits == 128 { value } else { value & ((1 << bits) - 1) })
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..120), value in any::<u128>()) {
        let mut packet = Packet::new(OfPort(1), bytes.clone());
        let _ = verify_checksums(&bytes);
        let _ = packet.to_string();
        for field in Field::all() {
            let _ = packet.set(field, FieldValue::from(value));
        }
        packet.push_vlan(0x8100);
        packet.pop_vlan();
        packet.pop_vlan();
    }

    /// Broken from right ones, which reach further into the parsers than random bytes.
    #[test]
    fn broken_frames_are_taken(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        value in any::<u128>(),
    ) {
        let all = frames();
        let mut bytes = all[which.index(all.len())].build();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = verify_checksums(&bytes);
        let mut packet = Packet::new(OfPort(1), bytes);
        for field in Field::all() {
            let _ = packet.set(field, FieldValue::from(value));
        }
    }

    /// What is written is read back, by a second reading of the frame as well, whose checksums are right.
    #[test]
    fn what_is_set_is_read_back(which in any::<prop::sample::Index>(), value in any::<u128>()) {
        let all = frames();
        let bytes = all[which.index(all.len())].build();
        for field in settable() {
            let mut packet = Packet::new(OfPort(1), bytes.clone());
            let value = in_field(field, value);
            if !packet.has(field) || (field == Field::VlanVid && packet.get(field).is_zero()) {
                continue;
            }
            packet.set(field, value).unwrap();
            prop_assert_eq!(packet.get(field), value, "{}", field.name());
            // Open vSwitch leaves the ports alone if both are to be zero, and an ARP packet if its operation is.
            let ports_zero = value.is_zero() && field.name().ends_with("_src");
            if ports_zero || (field == Field::ArpOp && value.is_zero()) {
                continue;
            }
            let again = Packet::new(OfPort(1), packet.frame());
            // Only the two types of link-layer address options are seen as such.
            let unseen = field == Field::NdOptionsType && !matches!(value.to_u64(), 1 | 2);
            if stands_in_frame(field) && !unseen {
                prop_assert_eq!(again.get(field), value, "{} in the frame", field.name());
            }
            prop_assert!(verify_checksums(packet.frame()).is_ok(), "{}: {:?}", field.name(), verify_checksums(packet.frame()));
        }
    }
}

#[test]
fn builders_make_right_checksums() {
    for frame in frames() {
        verify_checksums(&frame.build()).unwrap_or_else(|error| panic!("{frame:?}: {error}"));
        let mut broken = frame.build();
        let last = broken.len() - 1;
        broken[last] ^= 1;
        let packet = Packet::new(OfPort(1), broken.clone());
        let carries = packet.has(Field::IpProto) && packet.get(Field::IpFrag).is_zero();
        assert_eq!(verify_checksums(&broken).is_err(), carries, "{frame:?}");
    }
}

#[test]
fn tags_go_on_and_come_off() {
    let bytes = Frame::between(A, B).payload(b"hello").build();
    let mut packet = Packet::new(OfPort(1), bytes.clone());
    packet.push_vlan(0x8100);
    packet.set(Field::VlanVid, 0x1005u16).unwrap();
    packet.set(Field::VlanPcp, 3u8).unwrap();
    assert_eq!(packet.frame(), Frame::between(A, B).tag(0x8100, 0x6005).payload(b"hello").build());
    packet.push_vlan(0x88a8);
    packet.set(Field::VlanVid, 0x1009u16).unwrap();
    let both = Frame::between(A, B).tag(0x88a8, 9).tag(0x8100, 0x6005).payload(b"hello");
    assert_eq!(packet.frame(), both.build());
    packet.pop_vlan();
    packet.pop_vlan();
    assert_eq!(packet.frame(), bytes);
}

#[test]
fn resubmit_comes_back_and_loops_end() {
    let output = |port| Action::Output(OfPort(port));
    let resubmit = |table| Action::ResubmitTable { table: TableId(table) };
    let frame = Frame::between(A, B).build();
    let there_and_back = [
        FlowEntry::new(TableId(0), 1).apply([output(2), resubmit(5), output(4)]),
        FlowEntry::new(TableId(5), 1).apply([output(3)]),
    ];
    let verdict = Switch::new().with_flows(there_and_back).unwrap().run(OfPort(1), None, &frame);
    assert_eq!(verdict.ports(), [OfPort(2), OfPort(3), OfPort(4)], "{verdict}");

    let endless = [FlowEntry::new(TableId(0), 1).apply([output(2), resubmit(0)])];
    let verdict = Switch::new().with_flows(endless).unwrap().run(OfPort(1), None, &frame);
    assert_eq!((verdict.error, verdict.outputs.len()), (Some(RunError::TooDeep(TableId(0))), 0));

    // Each table looks twice into the next: 2^14 lookups.
    let wide = (0..14)
        .map(|table| FlowEntry::new(TableId(table), 1).apply([resubmit(table + 1), resubmit(table + 1)]));
    let verdict = Switch::new().with_flows(wide).unwrap().run(OfPort(1), None, &frame);
    assert!(matches!(verdict.error, Some(RunError::TooManyResubmits(_))), "{:?}", verdict.error);
}

#[test]
fn what_is_not_simulated_is_an_error() {
    let flows =
        [FlowEntry::new(TableId(0), 1).apply([Action::Output(OfPort(2)), Action::Output(OfPort::NORMAL)])];
    let verdict =
        Switch::new().with_flows(flows).unwrap().run(OfPort(1), None, &Frame::between(A, B).build());
    assert!(matches!(verdict.error, Some(RunError::Unsupported { .. })), "{verdict}");
    assert!(verdict.outputs.is_empty() && !verdict.is_drop());
}

#[test]
fn a_select_group_keeps_a_connection_and_spreads_many() {
    let bucket = |weight, port| Bucket::new(weight, vec![Action::Output(OfPort(port))]);
    let switch = Switch::new()
        .with_group(GroupId(1), GroupType::Select, [bucket(100, 2), bucket(300, 3), bucket(0, 4)])
        .unwrap()
        .with_flows([FlowEntry::new(TableId(0), 1).apply([Action::Group(GroupId(1))])])
        .unwrap();
    let run = |port| {
        let frame = Frame::between(A, B).ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).tcp(port, 80).build();
        let verdict = switch.run(OfPort(1), None, &frame);
        assert_eq!(verdict.ports(), switch.run(OfPort(1), None, &frame).ports());
        verdict.only().unwrap().port.0
    };
    let chosen: Vec<u32> = (0..1000).map(run).collect();
    let share = |port| chosen.iter().filter(|&&chosen| chosen == port).count();
    assert_eq!(share(4), 0);
    assert!((150..350).contains(&share(2)), "{} of 1000 where 250 are due", share(2));
}

/// 60,000 flows with a few sets of masks, as a host with many endpoints has.
#[test]
fn many_flows_are_looked_up_fast() {
    let flows = (0..60_000u32).map(|i| {
        let network = Match::new().masked(Field::Metadata, u64::from(i % 100), 0xff_ffffu64);
        let mac = MacAddr([2, 0, 0, (i >> 16) as u8, (i >> 8) as u8, i as u8]);
        let matching = match i % 3 {
            0 => network.with(Field::EthDst, mac),
            1 => network.with(Field::EthType, 0x0800u16).with(Field::Ipv4Dst, 0x0a00_0000 | i),
            _ => Match::new().with(Field::EthDst, mac).with(Field::InPort, OfPort(i)),
        };
        FlowEntry::new(TableId(0), 100 + (i % 3) as u16).matching(matching).apply([Action::Output(OfPort(i))])
    });
    let switch = Switch::new().with_flows(flows).unwrap();
    let wanted = 59_999 / 3 * 3 - 3;
    let mac = MacAddr([2, 0, 0, 0, (wanted >> 8) as u8, wanted as u8]);
    let frame = Frame::between(A, mac).ip([10, 0, 0, 1].into(), [10, 9, 0, 2].into()).udp(1, 2).build();
    let mut packet = Packet::new(OfPort(7), frame);
    packet.set(Field::Metadata, u64::from(wanted % 100u32)).unwrap();
    let start = Instant::now();
    for _ in 0..200 {
        let verdict = switch.run_packet(packet.clone());
        assert_eq!(verdict.ports(), [OfPort(wanted)]);
    }
    let each = start.elapsed() / 200;
    assert!(each < Duration::from_millis(1), "a packet takes {each:?}");
}
