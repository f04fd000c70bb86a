//! Topology, paths, the routing switch and the sliceable switch on switches in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use ofctl::MacAddr;
use ofctl::kit::apps::{
    Link, Member, PathChange, PathManager, RoutingChange, RoutingSwitch, SliceableSwitch, SwitchPort,
    Topology, TopologyChange,
};
use ofctl::kit::testbed::{Host, HostId, Testbed};
use ofctl::kit::{Application, DatapathId, Event, Timer};
use ofctl::packet::Frame;
use ofctl::packet::lldp::{ChassisId, Lldp, PortId};
use ofctl::wire::{Field, Match, OfPort};

fn port(switch: u64, port: u32) -> SwitchPort {
    SwitchPort::new(DatapathId(switch), OfPort(port))
}

/// Both directions between two ports.
fn both(a: SwitchPort, b: SwitchPort) -> [Link; 2] {
    [Link { from: a, to: b }, Link { from: b, to: a }]
}

fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 10, 0, 0, host])
}

/// Switches 1 to `n` in a ring, port 2 of each to port 3 of the next, and a host 10.0.0.i on port 1 of each.
fn ring<A: Application>(application: A, n: u64) -> (Testbed<A>, Vec<HostId>) {
    let mut bed = Testbed::new(application);
    let switches: Vec<DatapathId> = (1..=n).map(|i| bed.switch(i, 4)).collect();
    for i in 0..switches.len() {
        bed.link((switches[i], 2), (switches[(i + 1) % switches.len()], 3));
    }
    let hosts =
        (1..).zip(&switches).map(|(i, switch)| bed.host(*switch, 1, Host::new([10, 0, 0, i]))).collect();
    bed.run_for(Duration::from_secs(2));
    (bed, hosts)
}

#[test]
fn links_are_found_both_ways_and_go_with_their_port() {
    let (mut bed, _) = ring(Topology::default(), 3);
    let mut expected: Vec<Link> =
        [both(port(1, 2), port(2, 3)), both(port(2, 2), port(3, 3)), both(port(3, 2), port(1, 3))].concat();
    expected.sort();
    assert_eq!(bed.application().links().collect::<Vec<_>>(), expected);
    let edges: Vec<SwitchPort> = bed.application().edge_ports().collect();
    assert_eq!(edges, [port(1, 1), port(1, 4), port(2, 1), port(2, 4), port(3, 1), port(3, 4)]);
    let added = bed.take_notices();
    assert_eq!(
        added.iter().filter(|change| matches!(change, TopologyChange::LinkAdded(_))).count(),
        6,
        "{added:?}"
    );

    bed.cut(DatapathId(1), 2);
    // Noticed at once: not one probe later.
    bed.run_for(Duration::from_millis(1));
    let removed = both(port(1, 2), port(2, 3)).map(TopologyChange::LinkRemoved);
    assert_eq!(bed.take_notices(), removed);
    bed.run_for(Duration::from_secs(20));
    assert_eq!(bed.take_notices(), []);
    bed.mend(DatapathId(1), 2);
    bed.run_for(Duration::from_millis(1));
    let mut added = bed.take_notices();
    added.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(added, both(port(1, 2), port(2, 3)).map(TopologyChange::LinkAdded));
    assert!(bed.errors().is_empty());
}

#[test]
fn a_switch_that_goes_takes_its_links_and_brings_them_back() {
    let (mut bed, _) = ring(Topology::default(), 3);
    bed.take_notices();
    bed.disconnect(DatapathId(2));
    assert_eq!(bed.application().links().count(), 2);
    assert!(bed.take_notices().contains(&TopologyChange::SwitchRemoved(DatapathId(2))));
    bed.connect(DatapathId(2));
    bed.run_for(Duration::from_millis(5));
    assert_eq!(bed.application().links().count(), 6);
}

#[test]
fn silent_links_expire_without_a_port_going_down() {
    let (bed, _) = ring(Topology::default(), 3);
    let mut topology = bed.application().clone();
    assert_eq!(topology.links().count(), 6);
    // Every probe is lost from now on, and all ports stay up.
    let mut gone = Vec::new();
    for second in 1..=5 {
        let now = bed.now() + Duration::from_secs(second);
        gone.push(topology.handle(now, &Event::Timer(Timer::new("topology: probe"))).notices.len());
    }
    assert_eq!(gone[..3], [0, 0, 0]);
    assert_eq!(gone.iter().sum::<usize>(), 6, "{gone:?}");
}

#[test]
fn foreign_and_forged_lldp_make_no_link() {
    let (mut bed, hosts) = ring(Topology::default(), 3);
    bed.take_notices();
    let foreign = Lldp::new(ChassisId { subtype: 4, id: vec![2, 0, 0, 0, 0, 9] }, PortId::number(1), 120);
    let nowhere = Lldp::new(ChassisId::datapath(99), PortId::number(1), 120);
    let truncated =
        Frame::between(mac(1), Lldp::NEAREST_BRIDGE).eth_type(Lldp::ETH_TYPE).payload(&[2, 7]).build();
    for frame in [foreign.frame(mac(1)).unwrap(), nowhere.frame(mac(1)).unwrap(), truncated] {
        bed.send(hosts[0], frame);
    }
    bed.run_for(Duration::from_millis(10));
    assert_eq!(bed.take_notices(), []);
}

#[test]
fn a_host_that_repeats_a_probe_makes_a_link_unless_its_port_is_named() {
    let probe = Lldp::new(ChassisId::datapath(2), PortId::number(4), 120).frame(mac(1)).unwrap();
    for (named, links) in [(false, 7), (true, 6)] {
        let topology = Topology::default();
        let (mut bed, hosts) = ring(if named { topology.edge(port(1, 1)) } else { topology }, 3);
        bed.send(hosts[0], probe.clone());
        bed.run_for(Duration::from_millis(10));
        assert_eq!(bed.application().links().count(), links);
        assert_eq!(bed.application().is_edge(port(1, 1)), named);
        assert_eq!(bed.received(hosts[0]).is_empty(), named, "its probes do not reach the host");
    }
}

#[test]
fn paths_are_laid_moved_and_given_up() {
    let (mut bed, _) = ring(PathManager::new(Topology::default()), 5);
    let matching = Match::new().with(Field::EthDst, mac(4));
    let mut path = None;
    let notices = bed.command(|paths| {
        let (id, effects) = paths.request(matching, port(1, 1), port(4, 1));
        path = Some(id);
        effects
    });
    let id = path.unwrap();
    let short = [Link { from: port(1, 3), to: port(5, 2) }, Link { from: port(5, 3), to: port(4, 2) }];
    assert_eq!(notices, [PathChange::Found(id, short.to_vec())]);
    bed.run_for(Duration::from_millis(1));
    let path_flows = |bed: &Testbed<PathManager>, switch| -> Vec<String> {
        let flows = bed.flows(DatapathId(switch));
        flows
            .iter()
            .map(|flow| &flow.entry)
            .filter(|flow| flow.priority == 100)
            .map(ToString::to_string)
            .collect()
    };
    let flow = |in_port, out| {
        format!("cookie={:#x}, priority=100,in_port={in_port},dl_dst={} actions=output:{out}", id.0, mac(4))
    };
    let all = |bed: &Testbed<PathManager>| (1..=5).map(|n| path_flows(bed, n).concat()).collect::<Vec<_>>();
    assert_eq!(all(&bed), [flow(1, 3), String::new(), String::new(), flow(2, 1), flow(2, 3)]);

    bed.take_notices();
    bed.cut(DatapathId(5), 3);
    bed.run_for(Duration::from_millis(1));
    assert_eq!(all(&bed), [flow(1, 2), flow(3, 2), flow(3, 2), flow(3, 1), String::new()]);
    assert_eq!(bed.application().links(id).map(<[Link]>::len), Some(3));

    bed.cut(DatapathId(2), 2);
    bed.run_for(Duration::from_millis(1));
    assert_eq!(all(&bed).concat(), "");
    assert!(bed.take_notices().contains(&PathChange::Lost(id)));

    bed.mend(DatapathId(5), 3);
    bed.run_for(Duration::from_millis(1));
    assert_eq!(all(&bed), [flow(1, 3), String::new(), String::new(), flow(2, 1), flow(2, 3)]);
    bed.command(|paths| paths.release(id));
    bed.run_for(Duration::from_millis(1));
    assert_eq!(all(&bed).concat(), "");
    assert!(bed.errors().is_empty());
}

#[test]
fn a_ring_of_five_routes_without_loops_and_by_flows_alone() {
    let (mut bed, hosts) = ring(RoutingSwitch::default(), 5);
    for from in &hosts {
        for to in &hosts {
            assert!(from == to || bed.ping(*from, *to).is_some(), "{from:?} to {to:?}");
        }
    }
    let before: usize = (1..=5).map(|n| bed.packet_ins(DatapathId(n))).sum();
    let (first, rest) = hosts.split_first().unwrap();
    for host in rest {
        assert!(bed.ping(*first, *host).is_some());
    }
    // Probes aside: there is one a second on each of ten link ends, and this took less than one.
    let after: usize = (1..=5).map(|n| bed.packet_ins(DatapathId(n))).sum();
    assert!(after - before <= 10, "{} packets came to the controller", after - before);
    assert!(bed.errors().is_empty());
}

#[test]
fn a_broadcast_reaches_every_host_once() {
    let (mut bed, hosts) = ring(RoutingSwitch::default(), 5);
    bed.forget_received();
    bed.send(hosts[0], Frame::arp_request(mac(1), [10, 0, 0, 1].into(), [10, 0, 0, 77].into()));
    bed.run_for(Duration::from_millis(100));
    let arp = |host: &HostId| bed.received(*host).iter().filter(|frame| frame[12..14] == [8, 6]).count();
    assert_eq!(hosts.iter().map(arp).collect::<Vec<_>>(), [0, 1, 1, 1, 1]);
}

#[test]
fn a_cut_link_is_gone_round_and_a_second_cut_ends_it() {
    let (mut bed, hosts) = ring(RoutingSwitch::default(), 5);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    bed.cut(DatapathId(1), 2);
    // One control delay for the news, one for the flows, and there is no other wait.
    bed.run_for(Duration::from_micros(250));
    let before = bed.packet_ins(DatapathId(1));
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    assert_eq!(bed.packet_ins(DatapathId(1)), before, "the flows were there");
    bed.cut(DatapathId(3), 2);
    bed.run_for(Duration::from_secs(1));
    bed.forget_received();
    assert!(bed.ping(hosts[0], hosts[1]).is_none());
    // Neither the ping nor, as the address was forgotten, the question for it is carried over by the controller.
    assert!(bed.ping(hosts[0], hosts[1]).is_none());
    assert!(bed.received(hosts[1]).iter().all(|frame| frame[12..14] == [0x88, 0xcc]), "probes alone");
    assert!(bed.ping(hosts[0], hosts[4]).is_some());
    bed.mend(DatapathId(3), 2);
    bed.mend(DatapathId(1), 2);
    bed.run_for(Duration::from_secs(1));
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    let path = bed.application().path(mac(1), mac(2)).unwrap();
    assert_eq!(bed.application().paths().links(path).map(<[Link]>::len), Some(1));
    assert!(bed.errors().is_empty());
}

#[test]
fn a_host_that_moves_is_found_where_it_speaks() {
    let (mut bed, hosts) = ring(RoutingSwitch::default(), 3);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    bed.take_notices();
    // It comes up on switch 3 with the address that it had on switch 2.
    let moved = bed.host(DatapathId(3), 4, Host::new([10, 0, 0, 2]));
    assert!(bed.ping(moved, hosts[0]).is_some());
    assert!(bed.take_notices().iter().any(
        |change| matches!(change, RoutingChange::HostSeen(host) if host.address == mac(2) && host.at == port(3, 4))
    ));
    bed.forget_received();
    assert!(bed.ping(hosts[0], moved).is_some());
    assert!(bed.received(hosts[1]).is_empty(), "nothing goes to the old place");
}

#[test]
fn a_host_is_forgotten_with_its_port() {
    let (mut bed, hosts) = ring(RoutingSwitch::default(), 3);
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    bed.cut(DatapathId(2), 1);
    bed.run_for(Duration::from_millis(1));
    assert_eq!(bed.application().hosts().map(|host| host.address).collect::<Vec<_>>(), [mac(1)]);
    assert_eq!(bed.application().path(mac(1), mac(2)), None);
    assert!((1..=3).all(|n| bed.flows(DatapathId(n)).iter().all(|flow| flow.entry.priority != 100)));
}

/// SplitMix64.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) % below
}

/// The numbers of links from a switch to all others, over links that are up.
fn distances(n: usize, links: &[(usize, usize, bool)], from: usize) -> Vec<Option<usize>> {
    let mut distance = vec![None; n];
    distance[from] = Some(0);
    for _ in 0..n {
        for (a, b, _) in links.iter().filter(|(_, _, up)| *up) {
            for (a, b) in [(*a, *b), (*b, *a)] {
                if let Some(d) = distance[a].map(|d: usize| d + 1) {
                    distance[b] = Some(distance[b].map_or(d, |known: usize| known.min(d)));
                }
            }
        }
    }
    distance
}

#[test]
fn whatever_is_cut_and_mended_hosts_reach_each_other_exactly_if_there_is_a_way() {
    for seed in 1..=5 {
        let mut state = seed;
        let n = 6;
        let mut bed = Testbed::new(RoutingSwitch::default());
        let switches: Vec<DatapathId> = (1..=n).map(|i| bed.switch(i, 20)).collect();
        let hosts: Vec<HostId> =
            (0..n as usize).map(|i| bed.host(switches[i], 1, Host::new([10, 0, 0, i as u8 + 1]))).collect();
        // Up to nine links, also several between two switches: number i is on port i + 2 of both.
        let mut links: Vec<(usize, usize, bool)> = Vec::new();
        for _ in 0..9 {
            let (a, b) = (random(&mut state, n) as usize, random(&mut state, n) as usize);
            if a != b {
                let port = links.len() as u32 + 2;
                bed.link((switches[a], port), (switches[b], port));
                links.push((a, b, true));
            }
        }
        bed.run_for(Duration::from_secs(2));
        for round in 0..25 {
            let which = random(&mut state, links.len() as u64) as usize;
            let (a, _, up) = &mut links[which];
            let (switch, port) = (switches[*a], which as u32 + 2);
            if *up {
                bed.cut(switch, port)
            } else {
                bed.mend(switch, port)
            }
            *up = !*up;
            bed.run_for(Duration::from_millis(600));
            for _ in 0..4 {
                let (from, to) = (random(&mut state, n) as usize, random(&mut state, n) as usize);
                let distance = distances(n as usize, &links, from)[to];
                if from == to {
                    continue;
                }
                let case = format!("seed {seed}, round {round}: {} to {} over {links:?}", from + 1, to + 1);
                assert_eq!(bed.ping(hosts[from], hosts[to]).is_some(), distance.is_some(), "{case}");
                if let Some(distance) = distance {
                    let path =
                        bed.application().path(mac(from as u8 + 1), mac(to as u8 + 1)).expect("they talked");
                    let found = bed.application().paths().links(path).map(<[Link]>::len);
                    assert_eq!(found, Some(distance), "{case}");
                }
            }
            // Every flow of a path is on the path, and there is one on each of its switches.
            let paths = bed.application().paths();
            let mut expected = 0;
            for from in 1..=n as u8 {
                for path in (1..=n as u8).filter_map(|to| bed.application().path(mac(from), mac(to))) {
                    expected += paths.links(path).map_or(0, |links| links.len() + 1);
                }
            }
            let there = switches.iter().flat_map(|switch| bed.flows(*switch));
            assert_eq!(there.filter(|flow| flow.entry.priority == 100).count(), expected);
        }
        assert!(bed.errors().is_empty());
    }
}

/// Hosts 1 and 2 are red, 3 and 4 blue, 5 in none.
fn sliced() -> (Testbed<SliceableSwitch>, Vec<HostId>) {
    let (mut bed, hosts) = ring(SliceableSwitch::default(), 5);
    for (slice, n) in [("red", 1), ("red", 2), ("blue", 3), ("blue", 4)] {
        bed.command(|switch| switch.add(slice.into(), Member::Port(port(n, 1))));
    }
    (bed, hosts)
}

#[test]
fn only_hosts_of_one_slice_reach_each_other() {
    let (mut bed, hosts) = sliced();
    bed.forget_received();
    let mut reached = Vec::new();
    for from in 0..5 {
        for to in 0..5 {
            if from != to && bed.ping(hosts[from], hosts[to]).is_some() {
                reached.push((from + 1, to + 1));
            }
        }
    }
    assert_eq!(reached, [(1, 2), (2, 1), (3, 4), (4, 3)]);
    // Not even a question from another slice was heard.
    for (index, host) in hosts.iter().enumerate() {
        for frame in bed.received(*host).iter().filter(|frame| frame[12..14] != [0x88, 0xcc]) {
            let from = usize::from(frame[11]);
            assert_eq!((from - 1) / 2, index / 2, "host {} heard host {from}", index + 1);
        }
    }
    // Known addresses do not help: a frame sent straight to the other's address.
    bed.forget_received();
    let frame =
        Frame::between(mac(1), mac(3)).ip([10, 0, 0, 1].into(), [10, 0, 0, 3].into()).udp(1, 2).build();
    bed.send(hosts[0], frame.clone());
    bed.run_for(Duration::from_millis(10));
    assert!(hosts.iter().all(|host| !bed.received(*host).contains(&frame)));
    assert!(bed.errors().is_empty());
}

#[test]
fn a_refused_pair_does_not_keep_the_controller_busy() {
    let (mut bed, hosts) = sliced();
    // Both are known.
    assert!(bed.ping(hosts[0], hosts[1]).is_some() && bed.ping(hosts[2], hosts[3]).is_some());
    let frame =
        Frame::between(mac(1), mac(3)).ip([10, 0, 0, 1].into(), [10, 0, 0, 3].into()).udp(1, 2).build();
    let burst = |bed: &mut Testbed<SliceableSwitch>| {
        let before = bed.packet_ins(DatapathId(1));
        for _ in 0..20 {
            bed.send(hosts[0], frame.clone());
            bed.run_for(Duration::from_millis(5));
        }
        bed.packet_ins(DatapathId(1)) - before
    };
    bed.run_for(Duration::from_millis(200));
    assert_eq!(burst(&mut bed), 1);
    assert_eq!(burst(&mut bed), 0);
    // What is allowed later does not wait for the refusal to end.
    bed.command(|switch| switch.add("blue".into(), Member::Port(port(1, 1))));
    bed.run_for(Duration::from_millis(1));
    bed.forget_received();
    burst(&mut bed);
    assert_eq!(bed.received(hosts[2]).iter().filter(|received| **received == frame).count(), 20);
}

#[test]
fn membership_changes_while_hosts_talk() {
    let (mut bed, hosts) = sliced();
    assert!(bed.ping(hosts[0], hosts[1]).is_some());
    bed.command(|switch| switch.remove(&"red".into(), Member::Port(port(2, 1))));
    bed.run_for(Duration::from_millis(1));
    assert!((1..=5).all(|n| bed.flows(DatapathId(n)).iter().all(|flow| flow.entry.priority != 100)));
    assert!(bed.ping(hosts[0], hosts[1]).is_none());
    bed.command(|switch| switch.add("blue".into(), Member::Port(port(2, 1))));
    assert!(bed.ping(hosts[1], hosts[2]).is_some());
    // A host in both: a server for all.
    bed.command(|switch| switch.add("red".into(), Member::Port(port(2, 1))));
    assert!(bed.ping(hosts[0], hosts[1]).is_some() && bed.ping(hosts[2], hosts[1]).is_some());
    assert!(bed.ping(hosts[0], hosts[2]).is_none());
    // By its address, it is heard of once it has spoken.
    bed.command(|switch| switch.add("red".into(), Member::Host(mac(5))));
    assert!(bed.ping(hosts[0], hosts[4]).is_none());
    assert!(bed.ping(hosts[4], hosts[0]).is_some());
    assert!(bed.ping(hosts[0], hosts[4]).is_some());
}
