//! Compiled flows against the rules themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::flow::{FlowEntry, FlowKey};
use crate::table::TableDifference;
use crate::wire::{Action, Field, FlowModCommand};

/// A packet's fields as a flow table sees them.
fn fields(headers: &Headers, conj_id: u128) -> HashMap<Field, u128> {
    let number = |address: IpAddr| Prefix::host(address).bits();
    let mut fields = HashMap::from([(Field::ConjId, conj_id), (Field::IpProto, headers.protocol.into())]);
    let (eth_type, source, destination) = match headers.source {
        IpAddr::V4(_) => (0x0800, Field::Ipv4Src, Field::Ipv4Dst),
        IpAddr::V6(_) => (0x86dd, Field::Ipv6Src, Field::Ipv6Dst),
    };
    fields.extend([(Field::EthType, eth_type), (source, number(headers.source))]);
    fields.insert(destination, number(headers.destination));
    let (source, destination) = match headers.protocol {
        6 => (Field::TcpSrc, Field::TcpDst),
        17 => (Field::UdpSrc, Field::UdpDst),
        132 => (Field::SctpSrc, Field::SctpDst),
        _ => return fields,
    };
    let ports = headers.ports.expect("these have ports");
    fields.extend([(source, ports.0.into()), (destination, ports.1.into())]);
    fields
}

fn matches(flow: &FlowEntry, fields: &HashMap<Field, u128>) -> bool {
    flow.matching.iter().all(|condition| {
        fields
            .get(&condition.field)
            .is_some_and(|v| v & condition.mask.to_u128() == condition.value.to_u128())
    })
}

fn is_clause(flow: &FlowEntry) -> bool {
    flow.instructions.apply.iter().any(|action| matches!(action, Action::Conjunction { .. }))
}

/// The lookup of ovs-fields(7), "Conjunctive match fields".
fn look_up<'a>(flows: &'a [FlowEntry], headers: &Headers) -> &'a FlowEntry {
    let hard = |conj_id: u32| {
        let fields = fields(headers, conj_id.into());
        let found = flows.iter().filter(|flow| !is_clause(flow) && matches(flow, &fields));
        found.max_by_key(|flow| flow.priority).expect("the default takes everything")
    };
    let plain = hard(0);
    let fields = fields(headers, 0);
    let mut soft: BTreeMap<u16, Vec<&FlowEntry>> = BTreeMap::new();
    for flow in flows.iter().filter(|flow| is_clause(flow) && matches(flow, &fields)) {
        soft.entry(flow.priority).or_default().push(flow);
    }
    for (_, flows) in soft.range(plain.priority + 1..).rev() {
        let mut held: BTreeMap<u32, (BTreeSet<u8>, u8)> = BTreeMap::new();
        for action in flows.iter().flat_map(|flow| &flow.instructions.apply) {
            let Action::Conjunction { id, clause, n_clauses } = *action else { panic!("{action:?}") };
            held.entry(id).or_insert((BTreeSet::new(), n_clauses)).0.insert(clause);
        }
        if let Some((id, _)) = held.iter().find(|(_, (clauses, n))| clauses.len() == usize::from(*n)) {
            return hard(*id);
        }
    }
    plain
}

fn verdict(flows: &[FlowEntry], headers: &Headers) -> Verdict {
    match look_up(flows, headers).instructions.is_drop() {
        true => Verdict::Deny,
        false => Verdict::Allow,
    }
}

/// What a switch would hold after the changes.
fn carry_out(table: &mut HashMap<FlowKey, FlowEntry>, difference: TableDifference) {
    let TableDifference { add, modify, delete } = difference;
    for flow in add {
        assert_eq!(table.insert(flow.key(), flow.clone()), None, "added twice: {flow}");
    }
    for flow in modify {
        assert!(table.insert(flow.key(), flow.clone()).is_some_and(|old| old != flow), "not changed: {flow}");
    }
    for key in delete {
        assert!(table.remove(&key).is_some(), "was not there: {key:?}");
    }
}

fn texts(acl: &Acl) -> Vec<String> {
    acl.flows().iter().map(ToString::to_string).collect()
}

fn acl(text: &str) -> Acl {
    let mut acl = Acl::new(Layout::default());
    for rule in parse_rules(text).unwrap() {
        acl.add(rule).unwrap();
    }
    acl
}

#[test]
fn masks_where_they_are_fewer_and_a_conjunction_where_that_is() {
    let cost = |text: &str| {
        let Cost { by_masks, by_conjunction, least } = Acl::cost(&text.parse().unwrap());
        (by_masks, by_conjunction, least)
    };
    let two = "1 allow ip from 10.0.0.1,10.0.0.9 to 10.1.0.1,10.1.0.8,10.1.0.16";
    assert_eq!(cost(two), (6, 6, 6));
    assert_eq!(cost(&two.replace(" to", ",10.0.0.17 to")), (9, 7, 7));
    assert_eq!(cost("1 allow tcp from 10.0.0.0/8 port 1-65534 to any port 1-65534"), (900, 61, 61));
    assert_eq!(cost("1 allow tcp from 10.0.0.0/8 port 1-65534 to any"), (30, 30, 30));
    // One port, or all, is no choice.
    assert_eq!(cost("1 allow tcp from any port 0-65535 to ::1 port 80"), (1, 1, 1));
    // Both versions of IP, each by the better way.
    assert_eq!(cost("1 deny tcp from any to any port 80-81"), (2, 2, 2));
    assert_eq!(cost(&two.replace(" to ", ",10.0.0.17,::1 to ::2,")), (10, 8, 8));
    for (text, flows) in [
        ("1 allow ip from 10.0.0.1,10.0.0.9 to 10.1.0.1,10.1.0.8,10.1.0.16", 6),
        ("1 allow ip from 10.0.0.1,10.0.0.9,10.0.0.17 to 10.1.0.1,10.1.0.8,10.1.0.16", 7),
        ("1 allow tcp from any port 1-65534 to any port 1-65534", 122),
    ] {
        assert_eq!(acl(text).flows().len(), flows + 1, "{text}");
    }
}

#[test]
fn a_conjunction_is_written_as_ovs_reads_it() {
    let acl = acl("9 deny udp from 10.0.0.1,10.0.0.9 port 53 to 10.1.0.1,10.1.0.8,10.1.0.16,10.1.0.32");
    assert_eq!(
        texts(&acl),
        [
            "priority=20,conj_id=1,ip actions=drop",
            "priority=20,udp,nw_src=10.0.0.1,tp_src=53 actions=conjunction(1,1/2)",
            "priority=20,udp,nw_src=10.0.0.9,tp_src=53 actions=conjunction(1,1/2)",
            "priority=20,ip,nw_dst=10.1.0.1 actions=conjunction(1,2/2)",
            "priority=20,ip,nw_dst=10.1.0.8 actions=conjunction(1,2/2)",
            "priority=20,ip,nw_dst=10.1.0.16 actions=conjunction(1,2/2)",
            "priority=20,ip,nw_dst=10.1.0.32 actions=conjunction(1,2/2)",
            "priority=0 actions=drop",
        ]
    );
}

#[test]
fn identical_clauses_are_one_flow_and_come_apart_again() {
    let servers = "10.1.0.1,10.1.0.8,10.1.0.16,10.1.0.32";
    let mut acl = acl(&format!("5 allow tcp from 10.0.0.1,10.0.0.9 to {servers}"));
    let before = texts(&acl);
    let second = format!("5 allow udp from 10.0.0.1,10.0.0.9,10.0.0.17 to {servers}");
    let (id, difference) = acl.add(second.parse().unwrap()).unwrap();
    // The last flow first, three sources, and four destinations that were there already.
    assert_eq!((difference.add.len(), difference.modify.len()), (4, 4));
    assert_eq!(difference.add[0].to_string(), "priority=11,conj_id=2,ip actions=goto_table:1");
    assert_eq!(
        difference.modify[0].to_string(),
        "priority=11,ip,nw_dst=10.1.0.1 actions=conjunction(1,2/2),conjunction(2,2/2)"
    );
    let difference = acl.remove(id).unwrap();
    assert_eq!((difference.modify.len(), difference.delete.len()), (4, 4));
    assert_eq!(difference.delete.last().unwrap().matching.exact(Field::ConjId), Some(2u32.into()));
    assert_eq!(texts(&acl), before);
    assert_eq!(acl.remove(id), None);
}

#[test]
fn a_clause_gives_way_to_a_verdict_and_comes_back() {
    let mut acl = acl("5 allow ip from 10.0.0.1,10.0.0.9,10.0.0.17 to 10.1.0.1,10.1.0.8,10.1.0.16");
    let before = texts(&acl);
    let (id, difference) = acl.add("5 allow ip from any to 10.1.0.1".parse().unwrap()).unwrap();
    let modified: Vec<String> = difference.modify.iter().map(ToString::to_string).collect();
    assert_eq!(modified, ["priority=11,ip,nw_dst=10.1.0.1 actions=goto_table:1"]);
    assert_eq!((difference.add.len(), difference.delete.len()), (0, 0), "{difference:?}");
    assert!(acl.remove(id).is_some());
    assert_eq!(texts(&acl), before);
}

#[test]
fn one_rule_twice_stays_until_both_are_gone() {
    let mut acl = Acl::new(Layout::default());
    let rule: Rule = "5 allow tcp from 10.0.0.1 to any port 22".parse().unwrap();
    let (first, difference) = acl.add(rule.clone()).unwrap();
    assert_eq!(difference.add.len(), 1);
    let (second, difference) = acl.add(rule).unwrap();
    assert!(difference.is_empty());
    assert!(acl.remove(first).unwrap().is_empty());
    assert_eq!(acl.remove(second).unwrap().delete.len(), 1);
    assert_eq!(texts(&acl), ["priority=0 actions=drop"]);
}

#[test]
fn denial_wins_a_tie_and_priority_wins_everything() {
    let acl = acl("7 allow tcp from any to any port 80
         7 deny  tcp from 10.9.0.0/16 to any
         8 allow tcp from 10.9.9.9 to any");
    let from = |source: &str| Headers {
        source: source.parse().unwrap(),
        destination: "10.1.1.1".parse().unwrap(),
        protocol: 6,
        ports: Some((1000, 80)),
    };
    for (source, wanted) in
        [("10.1.0.1", Verdict::Allow), ("10.9.0.1", Verdict::Deny), ("10.9.9.9", Verdict::Allow)]
    {
        assert_eq!(acl.decide(&from(source)).0, wanted, "{source}");
        assert_eq!(verdict(&acl.flows(), &from(source)), wanted, "{source}");
    }
}

#[test]
fn rules_that_cannot_be_change_nothing() {
    let mut acl = Acl::new(Layout::default());
    let ports = Rule::new(1, Verdict::Allow).protocol(Protocol::ICMP).to_ports([80]);
    assert_eq!(acl.add(ports), Err(InvalidRule::NoPorts(Protocol::ICMP)));
    assert_eq!(acl.add(Rule::new(0x7fff, Verdict::Deny)), Err(InvalidRule::Priority(0x7fff)));
    let family = Rule::new(1, Verdict::Deny).protocol(Protocol::ICMPV6);
    let family = family.from([Prefix::host([10, 0, 0, 1].into())]);
    assert_eq!(acl.add(family), Err(InvalidRule::NoFamily));
    assert_eq!((acl.rules().len(), acl.flows().len()), (0, 1));
}

// Few addresses, prefixes and edges, so that rules meet.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        3 => (0u8..4, 0u8..4).prop_map(|(net, host)| IpAddr::from([10, 0, net, host])),
        1 => (0u16..3).prop_map(|host| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host])),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (address(), prop::sample::select(vec![0u8, 8, 23, 24, 31, 32])).prop_map(|(address, length)| {
        let length = if address.is_ipv6() { length * 4 } else { length };
        Prefix::new(address, length).unwrap()
    })
}

fn edge() -> impl Strategy<Value = u16> {
    prop_oneof![prop::sample::select(vec![0u16, 1, 22, 80, 1023, 1024, 8080, 65534, 65535]), any::<u16>()]
}

fn side(ports: bool) -> impl Strategy<Value = Side> {
    let range = (edge(), edge()).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) });
    let ports = prop::collection::vec(range, 0..if ports { 3 } else { 1 });
    (prop::collection::vec(prefix(), 0..5), ports).prop_map(|(prefixes, ports)| Side { prefixes, ports })
}

fn rule() -> impl Strategy<Value = Rule> {
    let protocol = prop::sample::select(vec![
        Protocol::Any,
        Protocol::ICMP,
        Protocol::ICMPV6,
        Protocol::TCP,
        Protocol::TCP,
        Protocol::UDP,
        Protocol::Number(47),
    ]);
    let verdict = prop::sample::select(vec![Verdict::Allow, Verdict::Deny]);
    (0u16..3, verdict, protocol)
        .prop_flat_map(|(priority, verdict, protocol)| {
            let sides = (side(protocol.has_ports()), side(protocol.has_ports()));
            sides.prop_map(move |(source, destination)| Rule {
                priority,
                verdict,
                protocol,
                source,
                destination,
            })
        })
        .prop_filter("a rule that can be", |rule| rule.check().is_ok())
}

fn headers() -> impl Strategy<Value = Headers> {
    let protocol = prop::sample::select(vec![1u8, 6, 6, 6, 17, 47, 58, 132]);
    (address(), address(), protocol, edge(), edge())
        .prop_filter("one version of IP", |(source, destination, ..)| {
            source.is_ipv4() == destination.is_ipv4()
        })
        .prop_map(|(source, destination, protocol, from, to)| Headers {
            source,
            destination,
            protocol,
            ports: matches!(protocol, 6 | 17 | 132).then_some((from, to)),
        })
}

fn half_way(
    before: &Acl,
    after: &Acl,
    switch: &mut HashMap<FlowKey, FlowEntry>,
    difference: TableDifference,
    packets: &[Headers],
) -> Result<(), TestCaseError> {
    for flow in difference.into_flow_mods() {
        match flow.command {
            FlowModCommand::Add => switch.insert(flow.key(), flow.clone().into_entry()),
            _ => switch.remove(&flow.key()),
        };
        let flows: Vec<FlowEntry> = switch.values().cloned().collect();
        for packet in packets {
            let verdicts = [before.decide(packet).0, after.decide(packet).0];
            prop_assert!(verdicts.contains(&verdict(&flows, packet)), "{:?} after {:?}", packet, flow);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Added and removed in any order, the flows do what the rules say, the differences lead to them, and no flow
    /// depends on what was there before.
    #[test]
    fn flows_do_what_the_rules_say(
        rules in prop::collection::vec((rule(), any::<bool>()), 1..7),
        packets in prop::collection::vec(headers(), 60),
        default in prop::sample::select(vec![Verdict::Allow, Verdict::Deny]),
    ) {
        let mut acl = Acl::new(Layout { default, ..Layout::default() });
        let mut switch: HashMap<FlowKey, FlowEntry> =
            acl.flows().into_iter().map(|flow| (flow.key(), flow)).collect();
        let mut ids = Vec::new();
        for (rule, remove_one) in rules {
            if ids.is_empty() {
                let least = Acl::cost(&rule).least;
                let mut alone = Acl::new(Layout::default());
                alone.add(rule.clone()).unwrap();
                prop_assert_eq!(alone.flows().len(), least + 1);
            }
            let (id, difference) = acl.add(rule).unwrap();
            carry_out(&mut switch, difference);
            ids.push(id);
            if remove_one {
                carry_out(&mut switch, acl.remove(ids.remove(ids.len() / 2)).unwrap());
            }
            let flows = acl.flows();
            let expected: HashMap<_, _> = flows.iter().cloned().map(|flow| (flow.key(), flow)).collect();
            prop_assert_eq!(&switch, &expected);
            for packet in &packets {
                prop_assert_eq!(verdict(&flows, packet), acl.decide(packet).0, "{:?} by {:#?}", packet, texts(&acl));
            }
        }
        for id in ids {
            carry_out(&mut switch, acl.remove(id).unwrap());
        }
        prop_assert_eq!(switch.len(), 1);
    }

    /// One message after the other, a packet meets the rules before the change or those after it.
    #[test]
    fn no_packet_meets_half_a_rule(
        rules in prop::collection::vec(rule(), 1..5),
        packets in prop::collection::vec(headers(), 12),
        removed in any::<prop::sample::Index>(),
    ) {
        let mut acl = Acl::new(Layout::default());
        let mut ids = Vec::new();
        for rule in &rules[1..] {
            ids.push(acl.add(rule.clone()).unwrap().0);
        }
        let mut switch: HashMap<FlowKey, FlowEntry> =
            acl.flows().into_iter().map(|flow| (flow.key(), flow)).collect();
        let mut next = acl.clone();
        let (id, added) = next.add(rules[0].clone()).unwrap();
        half_way(&acl, &next, &mut switch, added, &packets)?;
        ids.push(id);
        acl = next;
        let mut next = acl.clone();
        let gone = next.remove(*removed.get(&ids)).unwrap();
        half_way(&acl, &next, &mut switch, gone, &packets)?;
    }

    #[test]
    fn rules_read_as_they_print(rule in rule()) {
        prop_assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9 ,./:-]{0,60}|[0-9]{1,2} (allow|deny) (ip|tcp) from [^ ]{0,9} to any( port [^ ]{0,9})?") {
        if let Err(error) = text.parse::<Rule>() {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{}", error);
        }
    }
}
