//! The simple router on switches in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::acl::Prefix;
use ofctl::flow::FlowEntry;
use ofctl::kit::apps::{Interface, Route, SimpleRouter};
use ofctl::kit::testbed::{Host, HostId, Testbed};
use ofctl::kit::{Application, DatapathId};
use ofctl::packet::Frame;
use ofctl::sim::{Switch, verify_checksums};
use ofctl::wire::{OfPort, TableId};

/// Port `port` of router `router`, which is 10.0.<subnet>.<250 + router>/24.
fn interface(router: u8, port: u8, subnet: u8) -> Interface {
    Interface {
        port: OfPort(port.into()),
        mac: MacAddr([2, 0, 0, 0, router, port]),
        address: [10, 0, subnet, 250 + router].into(),
        prefix_length: 24,
    }
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn route(to: &str, via: [u8; 4]) -> Route {
    Route { to: prefix(to), via: via.into() }
}

/// A router with subnets 1 and 2 on its ports, and hosts 10.0.1.1 and 10.0.2.1 there.
fn lab() -> (Testbed<SimpleRouter>, DatapathId, HostId, HostId) {
    let mut bed =
        Testbed::new(SimpleRouter::new(DatapathId(1), [interface(1, 1, 1), interface(1, 2, 2)], []));
    let switch = bed.switch(1, 2);
    let host = |n: u8| Host::new([10, 0, n, 1]).gateway([10, 0, n, 251]);
    let (a, b) = (bed.host(switch, 1, host(1)), bed.host(switch, 2, host(2)));
    (bed, switch, a, b)
}

fn mac_of(subnet: u8) -> MacAddr {
    MacAddr([2, 0, 10, 0, subnet, 1])
}

fn ip(subnet: u8, host: u8) -> IpAddr {
    IpAddr::from([10, 0, subnet, host])
}

/// Frames for a host that begin with its address.
fn own(bed: &Testbed<SimpleRouter>, host: HostId, mac: MacAddr) -> Vec<Vec<u8>> {
    bed.received(host).iter().filter(|frame| frame[..6] == mac.0).cloned().collect()
}

#[test]
fn packets_are_rewritten_once_and_only_the_first_reach_the_controller() {
    let (mut bed, switch, a, b) = lab();
    assert!(bed.ping(a, b).is_some());
    // One for each neighbour that was not known, and one for each answer to the question for it.
    assert_eq!(bed.packet_ins(switch), 4);
    bed.forget_received();
    let sent = Frame::between(mac_of(1), interface(1, 1, 1).mac)
        .ip(ip(1, 1), ip(2, 1))
        .udp(1000, 2000)
        .payload(b"x");
    bed.send(a, sent.build());
    bed.run_for(Duration::from_millis(1));
    let wanted =
        Frame::between(interface(1, 2, 2).mac, mac_of(2)).ip(ip(1, 1), ip(2, 1)).ttl(63).udp(1000, 2000);
    assert_eq!(bed.received(b), [wanted.payload(b"x").build()]);
    for _ in 0..20 {
        assert!(bed.ping(a, b).is_some() && bed.ping(b, a).is_some());
    }
    assert_eq!(bed.packet_ins(switch), 4);
    assert!(bed.errors().is_empty());
}

#[test]
fn arp_and_pings_for_the_router_are_answered_by_flows() {
    let (mut bed, switch, a, _) = lab();
    let router = interface(1, 1, 1);
    bed.send(a, Frame::arp_request(mac_of(1), [10, 0, 1, 1].into(), router.address));
    for target in [[10, 0, 1, 251], [10, 0, 2, 251]] {
        let ping = Frame::between(mac_of(1), router.mac).ip(ip(1, 1), IpAddr::from(target)).ttl(1);
        bed.send(a, ping.echo_request(7, 8).payload(b"echo").build());
    }
    // Not for the router: another's address, and another's MAC address.
    bed.send(a, Frame::arp_request(mac_of(1), [10, 0, 1, 1].into(), [10, 0, 1, 9].into()));
    bed.send(a, Frame::between(mac_of(1), mac_of(9)).ip(ip(1, 1), ip(2, 1)).udp(1, 2).build());
    // For the router itself, which has nothing to say to it.
    bed.send(a, Frame::between(mac_of(1), router.mac).ip(ip(1, 1), ip(2, 251)).tcp(1, 179).build());
    bed.run_for(Duration::from_millis(1));
    let reply = |from: [u8; 4]| {
        let frame = Frame::between(router.mac, mac_of(1)).ip(from.into(), ip(1, 1));
        frame.icmp(0, 0, [0, 7, 0, 8]).payload(b"echo").build()
    };
    let arp = Frame::arp_reply((router.mac, router.address), (mac_of(1), [10, 0, 1, 1].into()));
    assert_eq!(bed.received(a), [arp, reply([10, 0, 1, 251]), reply([10, 0, 2, 251])]);
    assert_eq!(bed.packet_ins(switch), 0);
}

#[test]
fn a_packet_whose_ttl_ends_is_answered_with_an_error_that_quotes_it() {
    let (mut bed, _, a, b) = lab();
    assert!(bed.ping(a, b).is_some());
    bed.forget_received();
    let probe =
        Frame::between(mac_of(1), interface(1, 1, 1).mac).ip(ip(1, 1), ip(2, 1)).ttl(1).udp(33_434, 33_435);
    let probe = probe.payload(&[5; 40]).build();
    bed.send(a, probe.clone());
    // About an error there is none.
    let error =
        Frame::between(mac_of(1), interface(1, 1, 1).mac).ip(ip(1, 1), ip(2, 1)).ttl(1).icmp(3, 1, [0; 4]);
    bed.send(a, error.build());
    bed.run_for(Duration::from_millis(5));
    let [answer] = &own(&bed, a, mac_of(1))[..] else { panic!("{:?}", bed.received(a)) };
    verify_checksums(answer).unwrap();
    // Source, type and code, and the quotation.
    assert_eq!((&answer[26..30], &answer[34..36]), (&[10, 0, 1, 251][..], &[11, 0][..]));
    assert_eq!(answer[42..], probe[14..14 + 28]);
    assert!(bed.received(b).is_empty());
}

#[test]
fn a_neighbour_that_is_not_there_is_asked_for_three_times() {
    let (mut bed, switch, a, b) = lab();
    let send = |bed: &mut Testbed<SimpleRouter>, port: u16| {
        let frame = Frame::between(mac_of(1), interface(1, 1, 1).mac).ip(ip(1, 1), ip(2, 77));
        bed.send(a, frame.udp(1, port).build());
        bed.run_for(Duration::from_millis(1));
    };
    (0..5).for_each(|port| send(&mut bed, port));
    bed.run_for(Duration::from_secs(10));
    let question = Frame::arp_request(interface(1, 2, 2).mac, [10, 0, 2, 251].into(), [10, 0, 2, 77].into());
    assert_eq!(bed.received(b), [question.clone(), question.clone(), question]);
    // Later it is there, and gets what is sent while it is asked for: of many packets the last.
    (100..130).for_each(|port| send(&mut bed, port));
    let late = MacAddr([2, 9, 9, 9, 9, 9]);
    let answer = |mac| {
        Frame::arp_reply((mac, [10, 0, 2, 77].into()), (interface(1, 2, 2).mac, [10, 0, 2, 251].into()))
    };
    bed.send(b, answer(late));
    bed.run_for(Duration::from_millis(5));
    let ports: Vec<u16> = own_ports(&bed, b, late);
    assert_eq!(ports, (114..130).collect::<Vec<u16>>());
    // An answer to no question changes nothing.
    bed.send(b, answer(mac_of(2)));
    bed.run_for(Duration::from_millis(5));
    send(&mut bed, 200);
    assert_eq!(own_ports(&bed, b, late).last(), Some(&200));
    assert_eq!(bed.flows(switch).iter().filter(|flow| flow.entry.hard_timeout == 300).count(), 1);
    // After the timeout it is asked for again, and the packet waits.
    bed.run_for(Duration::from_secs(301));
    bed.forget_received();
    send(&mut bed, 201);
    bed.send(b, answer(late));
    bed.run_for(Duration::from_millis(5));
    assert_eq!(own_ports(&bed, b, late), [201]);
}

/// The UDP destination ports of the frames to that address.
fn own_ports(bed: &Testbed<SimpleRouter>, host: HostId, mac: MacAddr) -> Vec<u16> {
    own(bed, host, mac).iter().map(|frame| u16::from_be_bytes([frame[36], frame[37]])).collect()
}

#[test]
fn three_routers_in_a_row_route_and_lose_their_routes() {
    // 10.0.1/24 - router 1 - 10.0.8/24 - router 2 - 10.0.9/24 - router 3 - 10.0.2/24
    let routers = vec![
        SimpleRouter::new(
            DatapathId(1),
            [interface(1, 1, 1), interface(1, 2, 8)],
            [route("0.0.0.0/0", [10, 0, 8, 252])],
        ),
        SimpleRouter::new(
            DatapathId(2),
            [interface(2, 1, 8), interface(2, 2, 9)],
            [route("10.0.1.0/24", [10, 0, 8, 251]), route("10.0.2.0/24", [10, 0, 9, 253])],
        ),
        SimpleRouter::new(
            DatapathId(3),
            [interface(3, 1, 9), interface(3, 2, 2)],
            [route("10.0.0.0/16", [10, 0, 9, 252])],
        ),
    ];
    let mut bed = Testbed::new(routers);
    let switches: Vec<DatapathId> = (1..=3).map(|n| bed.switch(n, 2)).collect();
    bed.link((switches[0], 2), (switches[1], 1));
    bed.link((switches[1], 2), (switches[2], 1));
    let a = bed.host(switches[0], 1, Host::new([10, 0, 1, 1]).gateway([10, 0, 1, 251]));
    let b = bed.host(switches[2], 2, Host::new([10, 0, 2, 1]).gateway([10, 0, 2, 253]));
    assert!(bed.ping(a, b).is_some());
    let ttl = |bed: &Testbed<Vec<SimpleRouter>>| bed.received(b).last().unwrap()[22];
    assert_eq!(ttl(&bed), 61);
    assert!(bed.ping(b, a).is_some());
    let lost = route("10.0.2.0/24", [10, 0, 9, 253]);
    assert_eq!(change(&mut bed, |routers| routers[1].remove_route(lost)), 1);
    assert!(bed.ping(a, b).is_none());
    change(&mut bed, |routers| routers[1].add_route(lost));
    assert!(bed.ping(a, b).is_some());
    assert!(bed.errors().is_empty());
}

/// Does something to an application, and says how many messages that made.
fn change<A: Application>(bed: &mut Testbed<A>, change: impl FnOnce(&mut A) -> ofctl::kit::Effects) -> usize {
    let mut count = 0;
    bed.command(|application| {
        let effects = change(application);
        count = effects.messages.len();
        effects
    });
    bed.run_for(Duration::from_millis(1));
    count
}

#[test]
fn a_route_behind_another_takes_its_place() {
    let mut router = SimpleRouter::new(DatapathId(1), [interface(1, 1, 1), interface(1, 2, 2)], []);
    let [first, second, far] =
        [[10, 0, 1, 5], [10, 0, 2, 5], [10, 0, 3, 5]].map(|via| route("10.9.0.0/16", via));
    let flows = |effects: ofctl::kit::Effects| effects.messages.len();
    let hop = |router: &SimpleRouter| router.next_hop([10, 9, 0, 1].into()).map(|(_, hop)| hop);
    // A router that is not near is of no use.
    assert_eq!((flows(router.add_route(far)), hop(&router)), (0, None));
    assert_eq!((flows(router.add_route(first)), hop(&router)), (1, Some(first.via)));
    assert_eq!((flows(router.add_route(second)), hop(&router)), (0, Some(first.via)));
    assert_eq!((flows(router.remove_route(first)), hop(&router)), (1, Some(second.via)));
    assert_eq!((flows(router.remove_route(first)), hop(&router)), (0, Some(second.via)));
    assert_eq!((flows(router.remove_route(second)), hop(&router)), (1, None));
}

#[test]
fn flows_choose_the_next_hop_that_the_table_of_routes_says() {
    let routes = [
        route("0.0.0.0/0", [10, 0, 1, 2]),
        route("10.0.0.0/8", [10, 0, 2, 2]),
        route("10.128.0.0/9", [10, 0, 3, 2]),
        route("10.128.7.0/24", [10, 0, 1, 3]),
        route("10.128.7.7/32", [10, 0, 2, 3]),
        route("10.0.2.0/24", [10, 0, 3, 3]),
        route("10.0.3.128/25", [10, 0, 1, 4]),
        route("192.168.0.0/16", [10, 0, 3, 4]),
        route("192.168.0.0/16", [10, 0, 1, 5]),
    ];
    let interfaces = [interface(1, 1, 1), interface(1, 2, 2), interface(1, 3, 3)];
    let router = SimpleRouter::new(DatapathId(1), interfaces, routes);
    let mut bed = Testbed::new(router.clone());
    let switch = bed.switch(1, 3);
    let mut flows: Vec<FlowEntry> = bed.flows(switch).into_iter().map(|flow| flow.entry).collect();
    // Each neighbour that can be is known, by a MAC address made of its address.
    let known = |hop: Ipv4Addr, port: OfPort| -> FlowEntry {
        let mac = u64::from(hop.to_bits());
        let text = format!(
            "table=2,priority=9,ip,reg0={:#x},actions=load:{mac:#x}->NXM_OF_ETH_DST[],output:{port}",
            hop.to_bits()
        );
        text.parse().unwrap()
    };
    let mut targets: Vec<Ipv4Addr> = Vec::new();
    for route in &routes {
        let IpAddr::V4(first) = route.to.address() else { panic!() };
        let (first, last) = (first.to_bits(), first.to_bits() | !(route.to.mask() as u32));
        targets.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)].map(Ipv4Addr::from_bits));
    }
    targets.extend(
        (1..=3).flat_map(|subnet| [0u8, 1, 127, 128, 254, 255].map(|n| Ipv4Addr::new(10, 0, subnet, n))),
    );
    for target in &targets {
        let (interface, hop) = router.next_hop(*target).unwrap();
        flows.push(known(hop, interface.port));
    }
    flows.retain(|flow| flow.table != TableId(2) || flow.priority == 9);
    let table = Switch::new().with_flows(flows).unwrap();
    for target in targets {
        let (interface, hop) = router.next_hop(target).unwrap();
        let frame =
            Frame::between(mac_of(1), MacAddr([2, 0, 0, 0, 1, 1])).ip(ip(1, 9), target.into()).udp(1, 2);
        let in_port = if interface.port == OfPort(1) { None } else { Some(OfPort(1)) };
        // A plain output does not go back where the packet came from: that one comes from the controller.
        let verdict = table.run(in_port.unwrap_or(OfPort::CONTROLLER), None, &frame.build());
        let output = verdict.only().unwrap_or_else(|| panic!("{target}:\n{verdict}"));
        assert_eq!(output.port, interface.port, "{target}:\n{verdict}");
        let [.., a, b, c, d] = MacAddr(*output.frame.first_chunk().unwrap()).0;
        assert_eq!(Ipv4Addr::new(a, b, c, d), hop, "{target}:\n{verdict}");
    }
    assert!(bed.errors().is_empty());
}

#[test]
fn a_packet_may_leave_by_the_port_that_it_came_in_by() {
    let better = route("10.7.0.0/16", [10, 0, 1, 9]);
    let mut bed = Testbed::new(SimpleRouter::new(DatapathId(1), [interface(1, 1, 1)], [better]));
    let switch = bed.switch(1, 1);
    let a = bed.host(switch, 1, Host::new([10, 0, 1, 1]));
    let send = |bed: &mut Testbed<SimpleRouter>| {
        let frame =
            Frame::between(mac_of(1), interface(1, 1, 1).mac).ip(ip(1, 1), IpAddr::from([10, 7, 0, 1]));
        bed.send(a, frame.udp(1, 2).build());
        bed.run_for(Duration::from_millis(1));
    };
    send(&mut bed);
    let other = MacAddr([2, 7, 7, 7, 7, 7]);
    let router = interface(1, 1, 1);
    bed.send(a, Frame::arp_reply((other, better.via), (router.mac, router.address)));
    bed.run_for(Duration::from_millis(1));
    send(&mut bed);
    assert_eq!(own_ports(&bed, a, other), [2, 2], "one that waited, and one that found the flow");
}
