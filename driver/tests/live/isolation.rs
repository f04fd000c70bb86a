//! What must not pass: other networks' packets, forged senders, strangers' tunnel packets, and on the wire any
//! ARP or neighbour discovery of the networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::lab::packet::{self, BROADCAST, Mac, PacketSocket, mac};
use crate::lab::{Attach, Endpoint, NetworkSpec, PATIENCE, Plan, eventually};
use crate::networks::{dual_stack, endpoint, on_every_host};

/// How long to listen for what must not come. A control that must come is heard first, on the same path.
const SILENCE: Duration = Duration::from_millis(100);

const MARKER: &[u8] = b"forged or not: look for these words";

#[test]
fn twins_with_equal_subnets_and_addresses_stay_apart() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let blue = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let green = on_every_host(&lab, &dual_stack("green", "vxlan"));
    let fixed = |last: u8, hardware: &str| Attach {
        v4: Some(Ipv4Addr::new(10, 5, 0, last)),
        v6: Some(Ipv6Addr::new(0xfd00, 5, 0, 0, 0, 0, 0, u16::from(last))),
        mac: Some(hardware.to_owned()),
    };
    let attach = |n: usize, networks: &[crate::lab::DockerNetwork], attach: &Attach| {
        lab.host(n).engine().attach(&networks[n - 1], attach).expect("an endpoint")
    };
    // Same addresses and same MACs in both.
    let (ten, eleven) = (fixed(10, "02:05:00:00:00:10"), fixed(11, "02:05:00:00:00:11"));
    let (blue_ten, blue_eleven) = (attach(1, &blue, &ten), attach(2, &blue, &eleven));
    let (green_ten, green_eleven) = (attach(1, &green, &ten), attach(2, &green, &eleven));
    for (from, to, others) in [
        (&blue_ten, &blue_eleven, [&green_ten, &green_eleven]),
        (&green_ten, &green_eleven, [&blue_ten, &blue_eleven]),
    ] {
        for address in [IpAddr::V4(to.v4()), IpAddr::V6(to.v6())] {
            eventually("the twin is reachable", PATIENCE, || from.ping(address, 1));
            let ears: Vec<PacketSocket> = others.iter().map(|other| other.sniff()).collect();
            let source = if address.is_ipv4() { from.v4().into() } else { from.v6().into() };
            for destination in [to.mac, BROADCAST] {
                let frame = marked((from.mac, destination), source, address);
                assert!(arrives(from, to, &frame, PATIENCE), "{address}: not heard within the network");
            }
            for ear in ears {
                let leak = ear.wait_for(SILENCE, |frame| frame.contains(MARKER));
                assert!(leak.is_none(), "{address}: heard in the other network");
            }
        }
    }
}

#[test]
fn a_forged_sender_gets_nothing_through() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let sender = endpoint(&lab, 1, &networks);
    let (beside, across) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the endpoint across is reachable", PATIENCE, || sender.ping(across.v4().into(), 1));

    for target in [&beside, &across] {
        let own = honest(&sender, target);
        for (what, frame) in &own {
            assert!(arrives(&sender, target, frame, PATIENCE), "{what} must pass");
        }
        for (what, frame) in forgeries(&sender, target) {
            assert!(!arrives(&sender, target, &frame, SILENCE), "forged {what} got through");
        }
        // And nothing of it has cut the sender off.
        for (what, frame) in &own {
            assert!(arrives(&sender, target, frame, PATIENCE), "{what} must pass afterwards");
        }
    }
}

/// The control of the test above: a plain switch lets every one of the forgeries through.
#[test]
fn a_plain_switch_passes_what_ours_must_drop() {
    let Some(lab) = Plan::hosts(2).without_agents().start() else { return };
    let (sender, across) = (lab.host(1).plug(11), lab.host(2).plug(12));
    let all = [honest(&sender, &across), forgeries(&sender, &across)].concat();
    for (what, frame) in all {
        assert!(arrives(&sender, &across, &frame, PATIENCE), "{what} did not get through");
    }
}

/// Sends a frame from one endpoint, and says whether the other sees it within the limit.
fn arrives(sender: &Endpoint, target: &Endpoint, frame: &[u8], limit: Duration) -> bool {
    let (mouth, ear) = (sender.sniff(), target.sniff());
    mouth.send(frame);
    // The tail identifies the frame, whatever becomes of its headers: a marker, or the addresses of ARP and ND.
    let tail = &frame[frame.len().saturating_sub(20)..];
    ear.wait_for(limit, |seen| seen.contains(tail)).is_some()
}

fn marked(eth: (Mac, Mac), from: IpAddr, to: IpAddr) -> Vec<u8> {
    packet::udp(eth, (from, to), (7, 7), MARKER)
}

/// What the sender may send.
fn honest(sender: &Endpoint, target: &Endpoint) -> Vec<(&'static str, Vec<u8>)> {
    let eth = (sender.mac, target.mac);
    vec![
        ("its own IPv4", marked(eth, sender.v4().into(), target.v4().into())),
        ("its own IPv6", marked(eth, sender.v6().into(), target.v6().into())),
    ]
}

/// What the sender may not send: others' addresses at every place where a packet has one.
fn forgeries(sender: &Endpoint, target: &Endpoint) -> Vec<(&'static str, Vec<u8>)> {
    let other: Mac = mac("02:66:66:66:66:66");
    let other4 = Ipv4Addr::new(10, 5, 200, 66);
    let other6 = Ipv6Addr::new(0xfd00, 5, 0, 0, 0, 0, 0, 0x6666);
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x6666);
    let all_nodes = (packet::ALL_NODES, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    let (own4, own6) = (IpAddr::V4(sender.v4()), IpAddr::V6(sender.v6()));
    let (to4, to6) = (IpAddr::V4(target.v4()), IpAddr::V6(target.v6()));
    let (eth, false_eth) = ((sender.mac, target.mac), (other, target.mac));
    let tagged = {
        let plain = marked(eth, other4.into(), to4);
        [&plain[..12], &[0x81, 0x00, 0x00, 0x64], &plain[12..]].concat()
    };
    let arp = |eth, hardware, address| packet::arp_reply(eth, (hardware, address), (target.mac, target.v4()));
    let advertise =
        |eth: (Mac, Mac), to| packet::neighbour_advertisement(eth, (sender.v6(), to), other6, sender.mac);
    vec![
        ("MAC under IPv4", marked(false_eth, own4, to4)),
        ("MAC under IPv6", marked(false_eth, own6, to6)),
        ("IPv4 source", marked(eth, other4.into(), to4)),
        ("the target's own IPv4 as source", marked(eth, to4, to4)),
        ("IPv6 source", marked(eth, other6.into(), to6)),
        ("link-local IPv6 source", marked(eth, link_local.into(), to6)),
        ("IPv4 source behind a VLAN tag", tagged),
        ("IPv4 source to everyone", marked((sender.mac, BROADCAST), other4.into(), [255; 4].into())),
        ("MAC under an unknown protocol", packet::ethernet(target.mac, other, 0x88b5, MARKER)),
        ("ARP sender address", arp(eth, sender.mac, other4)),
        ("ARP sender MAC", arp(eth, other, sender.v4())),
        ("ARP sender address to everyone", arp((sender.mac, BROADCAST), sender.mac, other4)),
        ("neighbour advertisement", advertise(eth, target.v6())),
        ("neighbour advertisement to everyone", advertise((sender.mac, all_nodes.0), all_nodes.1)),
    ]
}

#[test]
fn a_strangers_tunnel_packet_is_dropped() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let (inside, across) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the endpoint across is reachable", PATIENCE, || across.ping(inside.v4().into(), 1));

    // Learn the network's id and the outer MACs from a packet that the wire really carried.
    let cable = lab.cable(1);
    across.ping(inside.v4().into(), 1).expect("ping");
    let host1: IpAddr = lab.host(1).address().parse().expect("an address");
    let host2: IpAddr = lab.host(2).address().parse().expect("an address");
    let real = cable
        .pending()
        .into_iter()
        .find(|frame| frame.outgoing && frame.vni().is_some())
        .expect("a tunnel packet towards h1");
    let vni = real.vni().expect("its network id");
    let outer: (Mac, Mac) =
        (real.bytes[6..12].try_into().expect("six bytes"), real.bytes[..6].try_into().expect("six bytes"));

    let stranger = lab.stranger("172.31.0.77/24");
    let wire = PacketSocket::open(&stranger, "eth0");
    let ear = inside.sniff();
    let inner =
        packet::udp((across.mac, inside.mac), (across.v4().into(), inside.v4().into()), (7, 7), MARKER);
    let from = |source: IpAddr| packet::vxlan(outer, (source, host1), vni, &inner);
    wire.send(&from(IpAddr::from([172, 31, 0, 77])));
    assert!(ear.wait_for(SILENCE, |frame| frame.contains(MARKER)).is_none(), "a stranger's packet came in");
    // The same packet under a node's address comes in: it was the source that kept the first one out.
    wire.send(&from(host2));
    assert!(ear.wait_for(PATIENCE, |frame| frame.contains(MARKER)).is_some(), "the control must come in");
}

#[test]
fn after_a_neighbour_flush_neither_arp_nor_nd_is_on_the_wire() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    for encap in ["vxlan", "geneve", "gre", "vlan"] {
        let networks = on_every_host(
            &lab,
            &NetworkSpec { v4: Some("10.6.0.0/16".to_owned()), ..dual_stack(encap, encap) },
        );
        let (first, across) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
        eventually("the endpoint across is reachable", PATIENCE, || first.ping(across.v4().into(), 1));
        for endpoint in [&first, &across] {
            endpoint.exec(["ip", "neigh", "flush", "all"]).expect("flush");
        }
        let cable = lab.cable(1);
        for address in across.addresses() {
            first.ping(address, 3).expect("ping after the flush");
        }
        let frames = cable.pending();
        // The underlay has ARP of its own, between the hosts' MACs.
        let ours = [first.mac, across.mac];
        let carried = frames.iter().filter(|frame| ours.iter().any(|mac| frame.inner()[6..12] == mac[..]));
        let (neighbours, others): (Vec<_>, Vec<_>) = carried.partition(|frame| frame.is_neighbour_traffic());
        assert!(others.len() >= 12, "{encap}: only {} packets on the wire", others.len());
        assert!(neighbours.is_empty(), "{encap}: {} ARP or ND packets on the wire", neighbours.len());
    }
}
