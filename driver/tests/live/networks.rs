//! Every encapsulation, in both families: small and large packets, one to one and one to many.

use std::net::IpAddr;
use std::time::Duration;

use crate::lab::packet::{self, BROADCAST, PacketSocket};
use crate::lab::{Attach, DockerNetwork, Endpoint, Lab, NetworkSpec, PATIENCE, Plan, eventually};

const MEGABYTE: usize = 1 << 20;

/// A network on every host of a lab, the same one, dual stack.
#[track_caller]
pub fn on_every_host(lab: &Lab, spec: &NetworkSpec) -> Vec<DockerNetwork> {
    let create = |host: &crate::lab::Host| {
        host.engine().create_network(spec).unwrap_or_else(|error| panic!("{}: {error}", host.name()))
    };
    lab.hosts().iter().map(create).collect()
}

/// An endpoint on host `n` (from 1 on).
#[track_caller]
pub fn endpoint(lab: &Lab, n: usize, networks: &[DockerNetwork]) -> Endpoint {
    lab.host(n)
        .engine()
        .attach(&networks[n - 1], &Attach::default())
        .unwrap_or_else(|error| panic!("an endpoint on h{n}: {error}"))
}

/// A dual-stack network of one encapsulation.
pub fn dual_stack(name: &str, encap: &str) -> NetworkSpec {
    let spec = NetworkSpec::cluster(name, encap, Some("10.5.0.0/16"), Some("fd00:5::/64"));
    if encap == "vlan" { spec.option("vlan", "100") } else { spec }
}

/// All that two endpoints of one network can do with each other, in both families.
#[track_caller]
pub fn converse(from: &Endpoint, to: &Endpoint) {
    let addresses: Vec<IpAddr> = to.addresses().collect();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    for address in addresses {
        from.ping(address, 20).unwrap_or_else(|said| panic!("ping {address}: {said}"));
        from.ping_full_size(address).unwrap_or_else(|said| panic!("full size, DF, to {address}: {said}"));
        from.udp(to, address, 50).unwrap_or_else(|said| panic!("{said}"));
        from.tcp(to, address, 20 * MEGABYTE).unwrap_or_else(|said| panic!("{said}"));
    }
}

/// A multicast and a broadcast reach every member and nobody else.
pub fn reaches_members_only(sender: &Endpoint, members: &[&Endpoint], others: &[&Endpoint]) {
    let groups = [
        ([0x01, 0x00, 0x5e, 1, 2, 3], IpAddr::from([239, 1, 2, 3])),
        ([0x33, 0x33, 0, 1, 2, 3], IpAddr::from([0xff02, 0, 0, 0, 0, 0, 1, 0x203])),
        (BROADCAST, IpAddr::from([255, 255, 255, 255])),
    ];
    let ears = |endpoints: &[&Endpoint]| -> Vec<PacketSocket> {
        endpoints.iter().map(|endpoint| endpoint.sniff()).collect()
    };
    let (within, without) = (ears(members), ears(others));
    let mouth = sender.sniff();
    for (destination, group) in groups {
        let source = if group.is_ipv4() { sender.v4().into() } else { sender.v6().into() };
        let marker = format!("to the group {group} of {}", sender.network);
        mouth.send(&packet::udp((sender.mac, destination), (source, group), (5000, 5000), marker.as_bytes()));
        for (ear, member) in within.iter().zip(members) {
            let heard = ear.wait_for(PATIENCE, |frame| frame.contains(marker.as_bytes()));
            assert!(heard.is_some(), "{group}: not heard by member {}", member.v4());
        }
        for (ear, other) in without.iter().zip(others) {
            let leak = ear.wait_for(Duration::from_millis(50), |frame| frame.contains(marker.as_bytes()));
            assert!(leak.is_none(), "{group}: heard outside the network, by {}", other.v4());
        }
        let echo = mouth.wait_for(Duration::from_millis(50), |frame| frame.contains(marker.as_bytes()));
        assert!(echo.is_none(), "{group}: came back to its sender");
    }
}

/// Three hosts: members on two, and on the third a stranger network with the same subnets.
fn carries_everything(encap: &str) {
    let Some(lab) = Plan::hosts(3).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", encap));
    let twin = if encap == "vlan" {
        NetworkSpec::cluster("green", encap, Some("10.5.0.0/16"), Some("fd00:5::/64")).option("vlan", "101")
    } else {
        dual_stack("green", encap)
    };
    let twins = on_every_host(&lab, &twin);
    let first = endpoint(&lab, 1, &networks);
    let beside = endpoint(&lab, 1, &networks);
    let across = endpoint(&lab, 2, &networks);
    let others = [endpoint(&lab, 1, &twins), endpoint(&lab, 2, &twins), endpoint(&lab, 3, &twins)];
    // Another host's endpoint is known here as soon as the store says so, which is not at once.
    eventually("the endpoint across is reachable", PATIENCE, || first.ping(across.v4().into(), 1));
    converse(&first, &beside);
    converse(&first, &across);
    converse(&across, &first);
    reaches_members_only(&first, &[&beside, &across], &[&others[0], &others[1], &others[2]]);
}

/// The tunnels' ends may have IPv6 addresses as well.
#[test]
fn vxlan_and_geneve_over_an_ipv6_underlay() {
    let Some(lab) = Plan::hosts(2).underlay_v6().start() else { return };
    for encap in ["vxlan", "geneve"] {
        let networks = on_every_host(&lab, &dual_stack(encap, encap));
        let (one, two) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
        eventually("the hosts reach each other", PATIENCE, || one.ping(two.v4().into(), 1));
        converse(&one, &two);
    }
}

#[test]
fn vxlan_carries_everything() {
    carries_everything("vxlan");
}

#[test]
fn geneve_carries_everything() {
    carries_everything("geneve");
}

#[test]
fn gre_carries_everything() {
    carries_everything("gre");
}

#[test]
fn vlan_carries_everything() {
    carries_everything("vlan");
}

#[test]
fn local_stays_on_its_host() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "local"));
    let first = endpoint(&lab, 1, &networks);
    let beside = endpoint(&lab, 1, &networks);
    let across = endpoint(&lab, 2, &networks);
    converse(&first, &beside);
    reaches_members_only(&first, &[&beside], &[&across]);
    assert!(first.ping(across.v4().into(), 2).is_err(), "a local network crossed hosts");
}

#[test]
fn a_host_without_members_gets_no_copy_of_a_multicast() {
    let Some(lab) = Plan::hosts(3).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let (first, across) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the endpoint across is reachable", PATIENCE, || first.ping(across.v4().into(), 1));
    let (with, without) = (lab.cable(2), lab.cable(3));
    let group = IpAddr::from([239, 9, 9, 9]);
    let frame = packet::udp(
        (first.mac, [0x01, 0x00, 0x5e, 9, 9, 9]),
        (first.v4().into(), group),
        (1, 1),
        b"for members only",
    );
    let heard = across.sniff();
    first.sniff().send(&frame);
    assert!(
        heard.wait_for(PATIENCE, |frame| frame.contains(b"for members only")).is_some(),
        "the member heard it"
    );
    let copies = |socket: &PacketSocket| {
        socket.pending().iter().filter(|frame| frame.contains(b"for members only")).count()
    };
    assert_eq!(copies(&with), 1, "one copy to the host with a member");
    assert_eq!(copies(&without), 0, "none to the host without");
}

#[test]
fn the_first_packet_is_answered() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let (beside, across) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the hosts reach each other", PATIENCE, || beside.ping(across.v4().into(), 1));
    let mut lost = Vec::new();
    for number in 0..50 {
        let new = endpoint(&lab, 1, &networks);
        for (place, to) in [("same host", &beside), ("across", &across)] {
            if let Err(said) = new.ping(to.v4().into(), 1) {
                let there = to.exec(["ip", "neigh"]).stdout;
                let own = new.exec(["ip", "-br", "link", "show", "eth0"]).stdout;
                lost.push(format!("{number}, {place}, {own}: {said}; neighbours there: {there}"));
            }
        }
        lab.host(1).engine().detach(&networks[0], new).expect("detaching");
    }
    assert!(lost.is_empty(), "{} of 100 lost: {lost:?}", lost.len());
}

#[test]
fn a_removed_network_leaves_nothing_on_the_switch() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let ports = |lab: &Lab| lab.host(1).vsctl("list-ports br-int");
    let flows = |lab: &Lab| lab.host(1).flows("br-int").lines().count();
    // The first network brings the tunnel port with it, which stays for the next.
    let spec = dual_stack("red", "vxlan");
    let networks = on_every_host(&lab, &spec);
    drop_network(&lab, &networks, Vec::new());
    let (ports_before, flows_before) = (ports(&lab), flows(&lab));
    for _ in 0..3 {
        let networks = on_every_host(&lab, &spec);
        let endpoints = vec![endpoint(&lab, 1, &networks), endpoint(&lab, 1, &networks)];
        assert!(flows(&lab) > flows_before, "endpoints bring flows");
        drop_network(&lab, &networks, endpoints);
        eventually("ports and flows are as before", PATIENCE, || match (ports(&lab), flows(&lab)) {
            (ports, flows) if ports == ports_before && flows == flows_before => Ok(()),
            (ports, flows) => Err(format!("{flows} flows (were {flows_before}), ports {ports}")),
        });
    }
}

fn drop_network(lab: &Lab, networks: &[DockerNetwork], endpoints: Vec<Endpoint>) {
    for endpoint in endpoints {
        lab.host(1).engine().detach(&networks[0], endpoint).expect("detaching");
    }
    for (host, network) in lab.hosts().iter().zip(networks) {
        host.engine().remove_network(network).expect("removing the network");
    }
}
