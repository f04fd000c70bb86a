//! The firewall and the traffic monitor on switches in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rules;

use std::collections::HashMap;
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::acl::{Acl, Headers, Rule, RuleId, Verdict};
use ofctl::flow::{FlowEntry, FlowKey};
use ofctl::kit::apps::{
    Firewall, LearningSwitch, PathManager, RoutingSwitch, SelfLearningSwitch, Topology, TrafficMonitor,
};
use ofctl::kit::testbed::{Host, HostId, Testbed};
use ofctl::kit::{Application, Connected, DatapathId, Effects, Event};
use ofctl::packet::Frame;
use ofctl::sim::Switch;
use ofctl::wire::{Features, FlowMod, FlowModCommand, Message, OfPort, TableId};

fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 10, 0, 0, host])
}

/// One switch and a host 10.0.0.n on each of its ports.
fn star<A: Application>(application: A, n: u8) -> (Testbed<A>, DatapathId, Vec<HostId>) {
    let mut bed = Testbed::new(application);
    let switch = bed.switch(1, n.into());
    let hosts = (1..=n).map(|i| bed.host(switch, i.into(), Host::new([10, 0, 0, i]))).collect();
    (bed, switch, hosts)
}

fn frame(headers: &Headers) -> Vec<u8> {
    let (from, to) = headers.ports.unwrap();
    let frame = Frame::between(mac(1), mac(2)).ip(headers.source, headers.destination);
    match headers.protocol {
        6 => frame.tcp(from, to).build(),
        17 => frame.udp(from, to).build(),
        other => panic!("protocol {other}"),
    }
}

/// Carries out changes of flows as a switch does.
fn carry_out(flows: &mut HashMap<FlowKey, FlowEntry>, effects: Effects) {
    for (_, message) in effects.messages {
        match message {
            Message::FlowMod(flow) if flow.command == FlowModCommand::Add => {
                flows.insert(flow.key(), flow.into_entry());
            }
            Message::FlowMod(flow) if flow.command == FlowModCommand::DeleteStrict => {
                assert!(flows.remove(&flow.key()).is_some(), "was not there: {:?}", flow.key());
            }
            Message::FlowMod(flow) => {
                assert_eq!(flow.command, FlowModCommand::Delete);
                flows.retain(|key, _| flow.table != TableId::ALL && flow.table != key.table);
            }
            _ => {}
        }
    }
}

#[test]
fn five_hundred_rules_are_right_at_every_edge() {
    let features = Features {
        datapath_id: 1,
        n_buffers: 0,
        n_tables: 254,
        auxiliary_id: 0,
        capabilities: 0,
        reserved: 0,
    };
    let up = Event::SwitchUp(DatapathId(1), Connected { features, ports: Vec::new() });
    let mut firewall = Firewall::new(LearningSwitch::default(), Verdict::Deny);
    let mut flows = HashMap::new();
    carry_out(&mut flows, firewall.handle(Duration::ZERO, &up));
    // A hundred more than are wanted, and these taken out again between the others.
    let mut superfluous = Vec::new();
    for (n, rule) in rules::rules(1, 600).into_iter().enumerate() {
        let (id, effects) = firewall.add(rule).unwrap();
        carry_out(&mut flows, effects);
        if n % 6 == 5 {
            superfluous.push(id);
        }
        if n % 60 == 59 {
            for id in superfluous.drain(..).rev() {
                carry_out(&mut flows, firewall.remove(id).unwrap());
            }
        }
    }
    let acl = firewall.acl();
    assert_eq!(acl.rules().len(), 500);

    // What the switch holds after all these changes is what the rules are compiled to, and nothing else.
    let held = flows.values().filter(|flow| flow.table == TableId(0) && flow.priority != 0xffff);
    let mut held: Vec<String> = held.map(ToString::to_string).collect();
    let mut wanted: Vec<String> = acl.flows().iter().map(ToString::to_string).collect();
    held.sort();
    wanted.sort();
    assert_eq!(held, wanted);

    let next: FlowEntry = "table=1,actions=output:2".parse().unwrap();
    let flows = flows.into_values().filter(|flow| flow.table == TableId(0));
    let table = Switch::new().with_flows(flows.chain([next])).unwrap();
    let (mut packets, mut allowed) = (0, 0);
    for (id, rule) in acl.rules() {
        for headers in rules::edges(rule) {
            let verdict = table.run(OfPort(1), None, &frame(&headers));
            let (wanted, by) = acl.decide(&headers);
            let passes = verdict.ports() == [OfPort(2)];
            assert_eq!(
                passes,
                wanted == Verdict::Allow,
                "edge of rule {id}, {rule}: {headers:?} by {by:?}\n{verdict}"
            );
            packets += 1;
            allowed += usize::from(passes);
        }
    }
    let (by_masks, least) = acl.rules().fold((0, 0), |(masks, least), (_, rule)| {
        let cost = Acl::cost(rule);
        (masks + cost.by_masks, least + cost.least)
    });
    println!(
        "500 rules: {} flows ({by_masks} by masks alone, {least} without sharing); {packets} packets at edges, \
         {allowed} allowed",
        wanted.len()
    );
    assert!(wanted.len() <= least && least < by_masks);
    assert!(allowed > packets / 10 && allowed < packets * 9 / 10, "the rules decide something");
}

/// Adds a rule, and gives it the time to reach the switches.
fn add<A: Application>(bed: &mut Testbed<Firewall<A>>, text: &str) -> RuleId {
    let rule: Rule = text.parse().unwrap();
    let mut id = None;
    bed.command(|firewall| {
        let (new, effects) = firewall.add(rule).unwrap();
        id = Some(new);
        effects
    });
    bed.run_for(Duration::from_millis(1));
    id.unwrap()
}

#[test]
fn rules_come_and_go_while_hosts_talk_and_the_higher_priority_counts() {
    let (mut bed, _, hosts) = star(Firewall::new(LearningSwitch::default(), Verdict::Allow), 3);
    let reach = |bed: &mut Testbed<Firewall<LearningSwitch>>| {
        (bed.ping(hosts[0], hosts[1]).is_some(), bed.ping(hosts[0], hosts[2]).is_some())
    };
    assert_eq!(reach(&mut bed), (true, true));
    let none = add(&mut bed, "10 deny ip from 10.0.0.1 to any");
    assert_eq!(reach(&mut bed), (false, false));
    let third = add(&mut bed, "20 allow icmp from 10.0.0.1 to 10.0.0.3");
    assert_eq!(reach(&mut bed), (false, true));
    let tie = add(&mut bed, "20 deny ip from any to 10.0.0.0/29");
    assert_eq!(reach(&mut bed), (false, false));
    for (id, wanted) in [(tie, (false, true)), (none, (true, true)), (third, (true, true))] {
        bed.command(|firewall| firewall.remove(id).unwrap());
        bed.run_for(Duration::from_millis(1));
        assert_eq!(reach(&mut bed), wanted);
    }
    bed.command(|firewall| {
        assert!(firewall.remove(none).is_none());
        Effects::<()>::none()
    });
    assert!(bed.errors().is_empty());
}

#[test]
fn a_switch_that_comes_later_or_again_gets_the_rules() {
    let mut bed = Testbed::new(Firewall::new(LearningSwitch::default(), Verdict::Deny));
    add(&mut bed, "1 allow icmp from 10.0.0.0/24 to any");
    let switch = bed.switch(1, 2);
    let hosts = [1, 2].map(|n| bed.host(switch, n, Host::new([10, 0, 0, n as u8])));
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    bed.disconnect(switch);
    add(&mut bed, "2 deny ip from 10.0.0.2 to any");
    bed.connect(switch);
    assert!(bed.ping(hosts[0], hosts[1]).is_none());
}

#[test]
fn fragments_do_not_hide_their_ports() {
    let (mut bed, _, hosts) = star(Firewall::new(LearningSwitch::default(), Verdict::Allow), 2);
    add(&mut bed, "1 deny udp from any to any port 53");
    bed.forget_received();
    let udp = |port, first: bool| {
        let frame = Frame::between(mac(1), mac(2)).ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let frame = if first { frame.fragment(0, true) } else { frame.fragment(2, false) };
        frame.udp(40_000, port).payload(&[7; 8]).build()
    };
    for (port, first, passes) in [(53, true, false), (54, true, true), (54, false, true)] {
        bed.forget_received();
        bed.send(hosts[0], udp(port, first));
        bed.run_for(Duration::from_millis(5));
        assert_eq!(!bed.received(hosts[1]).is_empty(), passes, "port {port}, first {first}");
    }
}

#[test]
fn a_firewall_before_a_routing_switch() {
    let mut bed = Testbed::new(Firewall::new(RoutingSwitch::default(), Verdict::Deny));
    let (a, b) = (bed.switch(1, 2), bed.switch(2, 2));
    bed.link((a, 2), (b, 2));
    let hosts = [(a, 1), (b, 2)].map(|(switch, n)| bed.host(switch, 1, Host::new([10, 0, 0, n])));
    bed.run_for(Duration::from_secs(2));
    assert_eq!(bed.application().inner().paths().topology().links().count(), 2, "probes pass");
    assert!(bed.ping(hosts[0], hosts[1]).is_none());
    add(&mut bed, "1 allow icmp from any to any");
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    let tables: Vec<u8> = bed.flows(a).iter().map(|flow| flow.entry.table.0).collect();
    assert!(tables.contains(&0) && tables.contains(&1) && tables.iter().all(|table| *table < 2));
    assert!(bed.errors().is_empty());
}

#[test]
fn a_firewall_before_a_switch_that_learns_in_its_tables() {
    let (mut bed, switch, hosts) = star(Firewall::new(SelfLearningSwitch, Verdict::Deny), 3);
    assert!(bed.ping(hosts[0], hosts[1]).is_none());
    add(&mut bed, "1 allow icmp from 10.0.0.1,10.0.0.2 to 10.0.0.1,10.0.0.2");
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    assert!(bed.ping(hosts[0], hosts[2]).is_none());
    bed.forget_received();
    assert!(bed.ping(hosts[1], hosts[0]).is_some());
    assert!(bed.received(hosts[2]).is_empty(), "what is learned is sent to one port");
    // Its tables are all behind the firewall's, those that it learns into and resubmits to as well.
    let flows: Vec<FlowEntry> = bed.flows(switch).into_iter().map(|flow| flow.entry).collect();
    let (firewall, learned): (Vec<_>, Vec<_>) = flows.iter().partition(|flow| flow.table == TableId(0));
    // Four that pass, the default, and two sources times two destinations.
    assert_eq!((firewall.len(), learned.is_empty()), (4 + 1 + 4, false));
    assert_eq!(bed.packet_ins(switch), 0);
    assert!(bed.errors().is_empty(), "{:?}", bed.errors());
}

#[test]
fn a_monitor_behind_a_firewall_sees_its_own_flows() {
    let monitor = TrafficMonitor::new(LearningSwitch::default(), Duration::from_secs(1));
    let (mut bed, _, hosts) = star(Firewall::new(monitor, Verdict::Allow), 2);
    for _ in 0..4 {
        assert!(bed.ping(hosts[0], hosts[1]).is_some());
    }
    bed.run_for(Duration::from_secs(2));
    let traffic = bed.application().inner().traffic(mac(1));
    assert_eq!((traffic.sent.packets, traffic.received.packets), (3, 4));
    assert!(bed.errors().is_empty());
}

/// What `TrafficMonitor` counts for a host: packets sent and received.
fn packets<A>(bed: &Testbed<TrafficMonitor<A>>, host: u8) -> (u64, u64)
where
    A: Application,
{
    let traffic = bed.application().traffic(mac(host));
    (traffic.sent.packets, traffic.received.packets)
}

#[test]
fn traffic_is_counted_once_over_several_switches() {
    let mut bed = Testbed::new(TrafficMonitor::new(RoutingSwitch::default(), Duration::from_secs(1)));
    let switches: Vec<DatapathId> = (1..=3).map(|n| bed.switch(n, 3)).collect();
    bed.link((switches[0], 2), (switches[1], 3));
    bed.link((switches[1], 2), (switches[2], 3));
    let hosts: Vec<HostId> =
        (0..3).map(|n| bed.host(switches[n], 1, Host::new([10, 0, 0, n as u8 + 1]))).collect();
    bed.run_for(Duration::from_secs(2));
    assert!(bed.ping(hosts[0], hosts[2]).is_some() && bed.ping(hosts[1], hosts[2]).is_some());
    bed.run_for(Duration::from_secs(2));
    let before = [1, 2, 3].map(|host| packets(&bed, host));
    for _ in 0..10 {
        assert!(bed.ping(hosts[0], hosts[2]).is_some());
    }
    for _ in 0..5 {
        assert!(bed.ping(hosts[1], hosts[2]).is_some());
    }
    bed.run_for(Duration::from_secs(2));
    let after = [1, 2, 3].map(|host| packets(&bed, host));
    let more: Vec<(u64, u64)> =
        after.iter().zip(before).map(|(after, before)| (after.0 - before.0, after.1 - before.1)).collect();
    assert_eq!(more, [(10, 10), (5, 5), (15, 15)]);
    // A ping of this testbed without data has 42 bytes.
    let sent = bed.application().traffic(mac(1)).sent;
    assert_eq!(sent.bytes, 42 * sent.packets);
    assert!(bed.errors().is_empty());
}

#[test]
fn the_last_packets_of_a_flow_are_counted_when_it_goes() {
    let paths = PathManager::new(Topology::default()).idle_timeout(5);
    let routing = RoutingSwitch::with_paths(paths, ofctl::kit::apps::Everyone);
    // It never asks: all that it knows are flows that go.
    let mut bed = Testbed::new(TrafficMonitor::new(routing, Duration::from_secs(100_000)));
    let switch = bed.switch(1, 2);
    let hosts = [1, 2].map(|n| bed.host(switch, n, Host::new([10, 0, 0, n as u8])));
    bed.run_for(Duration::from_secs(1));
    for _ in 0..8 {
        assert!(bed.ping(hosts[0], hosts[1]).is_some());
    }
    assert_eq!(packets(&bed, 1), (0, 0));
    bed.run_for(Duration::from_secs(8));
    let (sent, received) = packets(&bed, 1);
    assert!((7..=8).contains(&sent) && (7..=8).contains(&received), "{sent} {received}");
    assert_eq!(packets(&bed, 2), (received, sent));
    assert!(bed.flows(switch).iter().all(|flow| flow.entry.priority != 100), "the idle paths are gone");
    assert_eq!(bed.application().inner().path(mac(1), mac(2)), None);
}

#[test]
fn a_flow_that_is_made_anew_is_counted_from_nothing() {
    let (mut bed, switch, hosts) =
        star(TrafficMonitor::new(LearningSwitch::default(), Duration::from_secs(1)), 2);
    for _ in 0..6 {
        assert!(bed.ping(hosts[0], hosts[1]).is_some());
    }
    bed.run_for(Duration::from_secs(2));
    let (sent, _) = packets(&bed, 1);
    assert_eq!(sent, 5);
    // Somebody deletes it; nobody says so.
    let flow = bed.flows(switch).into_iter().find(|flow| flow.packets == 5).unwrap();
    bed.command(|_| Effects::<()>::send(switch, FlowMod::delete_strict(flow.entry.key())));
    bed.run_for(Duration::from_millis(1));
    for _ in 0..3 {
        assert!(bed.ping(hosts[0], hosts[1]).is_some());
    }
    bed.run_for(Duration::from_secs(2));
    assert_eq!(packets(&bed, 1).0, 5 + 2);
}
