//! Properties that hold for whatever flows, tables and bytes there are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ofctl::flow::{FlowEntry, FlowFlags, FlowKey, FlowStats};
use ofctl::session::{Config, Session};
use ofctl::table::{TableDifference, difference};
use ofctl::text::{GroupCommand, GroupText, Printed};
use ofctl::wire::{
    Action, Cookie, Field, FieldValue, FlowMod, FlowModCommand, GroupDescription, GroupId, GroupMod,
    GroupModCommand, Instructions, Match, Message, MeterConfig, MeterMod, MeterModCommand, MultipartBody,
    MultipartReply, OfPort, SubField, TableId, Xid,
};
use proptest::prelude::*;

#[path = "properties/nicira.rs"]
mod nicira;
mod support;

/// Fields whose values text can show, in groups that stand together in a match without contradiction.
fn arbitrary_match() -> impl Strategy<Value = Match> {
    use Field::*;
    const ANYWHERE: &[Field] = &[
        InPort, EthSrc, EthDst, TunnelId, TunSrc, TunDst, TunGbpId, Metadata, Reg0, Reg1, Reg7, Reg15, XReg3,
        XxReg2, PktMark, CtMark, CtLabel, CtZone, CtState, ConjId,
    ];
    const GROUPS: &[(u16, Option<u8>, &[Field])] = &[
        (0x0800, None, &[Ipv4Src, Ipv4Dst, IpDscp, IpEcn, IpTtl]),
        (0x0800, Some(6), &[Ipv4Src, TcpSrc, TcpDst, TcpFlags]),
        (0x0800, Some(17), &[Ipv4Dst, UdpSrc, UdpDst]),
        (0x0800, Some(132), &[SctpSrc, SctpDst]),
        (0x0800, Some(1), &[Icmpv4Type, Icmpv4Code]),
        (0x0800, Some(77), &[Ipv4Src]),
        (0x86dd, None, &[Ipv6Src, Ipv6Dst, IpTtl, Ipv6Label]),
        (0x86dd, Some(6), &[Ipv6Src, TcpDst]),
        (0x86dd, Some(58), &[Icmpv6Type, Icmpv6Code, NdTarget, NdSll, NdTll, NdReserved, NdOptionsType]),
        (0x0806, None, &[ArpOp, ArpSpa, ArpTpa, ArpSha, ArpTha]),
        (0x8847, None, &[MplsLabel, MplsTc, MplsBos, MplsTtl]),
        (0x1234, None, &[]),
    ];
    let conditions = |fields: &'static [Field]| {
        prop::collection::vec(
            (prop::sample::select(fields.to_vec()), any::<u128>(), any::<Option<u128>>()),
            0..4,
        )
    };
    let group = prop::option::of(prop::sample::select(GROUPS)).prop_flat_map(move |group| match group {
        None => Just((None, Vec::new())).boxed(),
        Some((_, _, [])) => Just((group, Vec::new())).boxed(),
        Some((_, _, fields)) => (Just(group), conditions(fields)).boxed(),
    });
    (conditions(ANYWHERE), group, any::<Option<u16>>()).prop_map(|(anywhere, (group, inside), vlan)| {
        let mut matching = Match::new();
        if let Some((eth_type, ip_proto, _)) = group {
            matching = matching.with(EthType, eth_type);
            if let Some(ip_proto) = ip_proto {
                matching = matching.with(IpProto, ip_proto);
            }
        }
        if let Some(vlan) = vlan {
            matching = matching.with(VlanVid, vlan & 0xfff | 0x1000).with(VlanPcp, vlan >> 13);
        }
        for (field, value, mask) in anywhere.into_iter().chain(inside) {
            // Masks that text shows only by the names of their bits, or not at all, stay whole.
            let named = matches!(field, CtState | TcpFlags);
            let whole = field.spec().maskable && !named;
            let value = if field == CtState {
                value & 0xff
            } else if field == TcpFlags {
                value & 0xfff
            } else {
                value
            };
            let value = if field == MplsLabel || field == Ipv6Label { value & 0xf_ffff } else { value };
            matching = match mask.filter(|_| whole && field != Ipv6Label) {
                Some(mask) => matching.masked(field, value, mask),
                None => matching.with(field, value),
            };
        }
        matching
    })
}

fn arbitrary_bits() -> impl Strategy<Value = SubField> {
    use Field::*;
    let fields = vec![Reg0, Reg5, Metadata, EthSrc, TunnelId, TunSrc, Ipv4Dst, ArpSpa, XReg1, CtMark];
    (prop::sample::select(fields), any::<u16>(), any::<u16>()).prop_map(|(field, start, n)| {
        let start = start % field.bits_wide();
        field.bits(start..start + 1 + n % (field.bits_wide() - start))
    })
}

fn arbitrary_action() -> impl Strategy<Value = Action> {
    use Field::*;
    let settable =
        vec![EthSrc, Ipv4Src, Ipv6Dst, ArpOp, ArpTha, TunnelId, Reg3, IpTtl, NdReserved, Metadata, XxReg1];
    prop_oneof![
        (1u32..0xff00).prop_map(|port| Action::Output(OfPort(port))),
        prop::sample::select(vec![OfPort::IN_PORT, OfPort::LOCAL, OfPort::NORMAL, OfPort::FLOOD])
            .prop_map(Action::Output),
        any::<u16>().prop_map(|max_len| Action::Controller { max_len }),
        (prop::sample::select(settable), any::<u128>()).prop_map(|(field, value)| {
            Action::SetField(field, FieldValue::from(value) & field.exact_mask())
        }),
        (arbitrary_bits(), any::<u64>())
            .prop_map(|(dst, value)| Action::RegLoad { dst, value: value >> (64 - dst.n_bits) }),
        (arbitrary_bits(), arbitrary_bits()).prop_map(|(src, dst)| {
            let n_bits = src.n_bits.min(dst.n_bits);
            Action::RegMove { src: SubField { n_bits, ..src }, dst: SubField { n_bits, ..dst } }
        }),
        prop::sample::select(vec![0x8100, 0x88a8]).prop_map(Action::PushVlan),
        Just(Action::PopVlan),
        Just(Action::DecTtl),
        (0u8..255).prop_map(|table| Action::ResubmitTable { table: TableId(table) }),
        (1u16..0xff00, any::<u8>())
            .prop_map(|(port, table)| Action::ResubmitPort { port, table: TableId(table) }),
        arbitrary_bits().prop_map(Action::OutputReg),
        any::<u32>().prop_map(|group| Action::Group(GroupId(group))),
        arbitrary_bits().prop_map(Action::StackPush),
        arbitrary_bits().prop_map(Action::StackPop),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Action::note(&bytes)),
        // A vendor's own action, which is only carried.
        any::<[u8; 8]>().prop_map(|bytes| {
            let mut action = vec![0xff, 0xff, 0, 16, 0, 1, 2, 3];
            action.extend(bytes);
            Action::Unknown(action.into())
        }),
        nicira::arbitrary_action(),
    ]
}

fn arbitrary_instructions() -> impl Strategy<Value = Instructions> {
    let actions = || prop::collection::vec(arbitrary_action(), 0..6);
    let rest = (any::<Option<u32>>(), any::<bool>(), any::<Option<(u64, u64)>>(), any::<Option<u8>>());
    (actions(), actions(), rest).prop_map(|(apply, write, (meter, clear, write_metadata, goto))| {
        Instructions { meter, apply, clear, write, write_metadata, goto: goto.map(TableId) }
    })
}

prop_compose! {
    fn arbitrary_flow()(
        table in any::<u8>(),
        priority in any::<u16>(),
        cookie in any::<u64>(),
        matching in arbitrary_match(),
        mut instructions in arbitrary_instructions(),
        timeouts in any::<(u16, u16)>(),
        flags in 0u16..32,
    ) -> FlowEntry {
        // A flow can go only to later tables.
        instructions.goto = instructions.goto.filter(|goto| goto.0 > table);
        let mut entry = FlowEntry::new(TableId(table), priority)
            .cookie(Cookie(cookie))
            .matching(matching)
            .idle_timeout(timeouts.0)
            .hard_timeout(timeouts.1)
            .flags(FlowFlags(flags));
        entry.instructions = instructions;
        entry
    }
}

fn stats(entry: FlowEntry) -> FlowStats {
    FlowStats { entry, duration: Duration::from_nanos(1_500_000_000), packets: 3, bytes: 180 }
}

/// Entries of few tables, priorities and matches, so that keys meet.
fn crowded_table() -> impl Strategy<Value = Vec<FlowEntry>> {
    let entry =
        (0u8..3, 0u16..3, 0u32..4, 0u64..2, 0u16..2).prop_map(|(table, priority, port, cookie, idle)| {
            FlowEntry::new(TableId(table), priority)
                .matching(Match::new().with(Field::InPort, port))
                .cookie(Cookie(cookie))
                .idle_timeout(idle)
                .apply([Action::Output(OfPort(port + 1))])
        });
    prop::collection::vec(entry, 0..40)
}

/// A switch's tables: the later of two entries with one key replaces the earlier.
fn install(entries: Vec<FlowEntry>) -> HashMap<FlowKey, FlowEntry> {
    entries.into_iter().map(|entry| (entry.key(), entry)).collect()
}

/// What a switch does with the messages of a difference.
fn apply(table: &mut HashMap<FlowKey, FlowEntry>, difference: TableDifference) {
    for flow in difference.into_flow_mods() {
        let entry = flow.entry();
        match flow.command {
            FlowModCommand::Add => drop(table.insert(entry.key(), entry)),
            FlowModCommand::DeleteStrict => {
                assert!(table.remove(&entry.key()).is_some(), "{entry} was not there")
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A message of any kind.
fn any_message() -> impl Strategy<Value = Message> {
    let kinds: Vec<_> = support::messages::kinds().into_iter().map(|(_, strategy)| strategy).collect();
    prop::sample::select(kinds).prop_flat_map(|strategy| strategy)
}

proptest! {
    #[test]
    fn a_flow_comes_back_from_bytes(entry in arbitrary_flow()) {
        let flow = FlowMod::add(entry);
        let mut bytes = vec![0xaa];
        flow.encode_message(Xid(7), &mut bytes).unwrap();
        prop_assert_eq!(bytes.len() % 8, 1, "not a multiple of eight");
        prop_assert_eq!(Message::decode(&bytes[1..]), Ok((Xid(7), Message::FlowMod(flow))));
    }

    #[test]
    fn every_kind_of_message_comes_back_from_bytes(message in any_message(), xid: u32) {
        let mut bytes = Vec::new();
        // Some table features are longer than a message can be.
        if message.encode(Xid(xid), &mut bytes).is_ok() {
            let read = Message::decode(&bytes);
            prop_assert_eq!(read.as_ref(), Ok(&(Xid(xid), message)));
            // And can be said, whatever it holds.
            prop_assert!(read.is_ok_and(|(xid, message)| !Printed(xid, &message).to_string().is_empty()));
        }
    }

    #[test]
    fn a_cut_message_is_refused(message in any_message(), cut: prop::sample::Index) {
        let mut bytes = Vec::new();
        if message.encode(Xid(0), &mut bytes).is_ok() {
            prop_assert!(Message::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_group_comes_back_from_text(group in support::messages::parts::group_mod()) {
        let GroupMod { kind, group, buckets, .. } = group;
        let wanted = GroupMod { command: GroupModCommand::Add, kind, group, buckets: buckets.clone() };
        let text = GroupDescription { kind, group, buckets }.to_string();
        let read = GroupText::parse(&text, Some(GroupCommand::Add)).and_then(GroupMod::try_from);
        prop_assert_eq!(read, Ok(wanted), "{}", text);
    }

    #[test]
    fn a_meter_comes_back_from_text(meter in support::messages::parts::meter()) {
        let text = meter.to_string();
        let read = MeterMod::parse(&text, MeterModCommand::Add);
        let MeterConfig { flags, meter, bands } = meter;
        let wanted = MeterMod { command: MeterModCommand::Add, flags, meter, bands };
        prop_assert_eq!(read, Ok(wanted), "{}", text);
    }

    #[test]
    fn no_text_of_a_group_or_meter_panics(text in "(add |delete )?(group_id=[0-9]{1,3},?)?(type=(all|select|ff),?)?\\PC{0,40}(bucket=|bands=)?\\PC{0,30}") {
        let _ = GroupText::parse(&text, None);
        let _ = MeterMod::parse(&text, MeterModCommand::Add);
    }

    #[test]
    fn a_flow_comes_back_from_text(entry in arbitrary_flow()) {
        let text = entry.to_string();
        let read: FlowEntry = text.parse().map_err(|error| TestCaseError::fail(format!("{text}\n{error}")))?;
        prop_assert_eq!(read, entry, "{}", text);
    }

    #[test]
    fn statistics_come_back_from_bytes(entries in prop::collection::vec(arbitrary_flow(), 0..8), more: bool) {
        let body = MultipartBody::Flow(entries.into_iter().map(stats).collect());
        let message = Message::MultipartReply(MultipartReply { more, body });
        let mut bytes = Vec::new();
        message.encode(Xid(7), &mut bytes).unwrap();
        prop_assert_eq!(Message::decode(&bytes), Ok((Xid(7), message)));
    }

    #[test]
    fn a_match_does_not_depend_on_the_order_of_its_fields(matching in arbitrary_match(), seed: u64) {
        let mut conditions: Vec<_> = matching.iter().copied().collect();
        conditions.sort_by_key(|c| (c.field as u64 + 1).wrapping_mul(seed | 1));
        let again = conditions.iter().fold(Match::new(), |m, c| m.masked(c.field, c.value, c.mask));
        prop_assert_eq!(again, matching);
    }

    #[test]
    fn random_bytes_do_no_harm(kind in 0u8..30, body in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = vec![4, kind, 0, 0, 0, 0, 0, 1];
        bytes.extend(body);
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        if let Ok((xid, message)) = Message::decode(&bytes) {
            // What was taken can be written, and is then taken as the same.
            let mut again = Vec::new();
            message.encode(xid, &mut again).unwrap();
            prop_assert_eq!(Message::decode(&again), Ok((xid, message)));
        }
    }

    #[test]
    fn changed_flows_do_no_harm(entry in arbitrary_flow(), changes in prop::collection::vec(any::<(u16, u8)>(), 1..6)) {
        let mut bytes = Vec::new();
        FlowMod::add(entry).encode_message(Xid(7), &mut bytes).unwrap();
        for (place, value) in changes {
            let place = 8 + usize::from(place) % (bytes.len() - 8);
            bytes[place] = value;
        }
        if let Ok((xid, message)) = Message::decode(&bytes) {
            let mut again = Vec::new();
            message.encode(xid, &mut again).unwrap();
            prop_assert_eq!(Message::decode(&again), Ok((xid, message)));
        }
    }

    #[test]
    fn random_text_does_no_harm(text in "[ -~]{0,80}", actions in "[ -~]{0,80}") {
        let _ = text.parse::<FlowEntry>();
        let _ = format!("{text}actions={actions}").parse::<FlowEntry>();
    }

    #[test]
    fn any_text_does_no_harm(text: String) {
        let _ = format!("actions={text}").parse::<FlowEntry>();
        let _ = format!("{text},actions=load:{text}->{text}").parse::<FlowEntry>();
    }

    #[test]
    fn a_session_takes_any_stream(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let now = Instant::now();
        let mut session = Session::new(Config::default(), now);
        let mut hello = Vec::new();
        Message::Hello(ofctl::wire::Hello::OPENFLOW_13).encode(Xid(0), &mut hello).unwrap();
        session.receive(&hello, now).unwrap();
        for piece in pieces {
            if session.receive(&piece, now).is_err() {
                break;
            }
            while session.poll_event().is_some() {}
        }
    }

    #[test]
    fn applying_the_difference_gives_exactly_what_is_desired(desired in crowded_table(), there in crowded_table()) {
        let mut table = install(there);
        let observed: Vec<FlowStats> = table.values().cloned().map(stats).collect();
        let found = difference(&desired, &observed);
        apply(&mut table, found);
        let wanted = install(desired.clone());
        prop_assert_eq!(&table, &wanted);
        let observed: Vec<FlowStats> = table.into_values().map(stats).collect();
        prop_assert!(difference(&desired, &observed).is_empty());
    }
}
