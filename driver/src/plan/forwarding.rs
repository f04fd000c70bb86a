//! Forwarding, end to end in memory: three nodes plan from one view, and frames go from port to port over their
//! switches and what joins them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ofctl::MacAddr;
use ofctl::packet::Frame;
use ofctl::sim::{Switch, Tunnel, verify_checksums};
use ofctl::wire::OfPort;

use super::tests::{endpoint, facts, name, network, node, port as switch_port, station, switch};
use super::{Facts, Planner, ports};
use crate::model::{Encapsulation, Endpoint, NetworkName, Station};

const HOSTS: [u8; 3] = [1, 2, 3];
/// An address that no node has.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 0, 99));

fn underlay(host: u8) -> IpAddr {
    [172, 31, 0, host].into()
}

/// Endpoints' ports by host: unique in the lab, so that one number says which endpoint got a frame.
fn port(host: u8, index: usize) -> OfPort {
    OfPort(u32::from(host) * 100 + index as u32)
}

fn encapsulation_port(encapsulation: Encapsulation) -> OfPort {
    OfPort(1 + Encapsulation::ALL.iter().position(|e| *e == encapsulation).unwrap() as u32)
}

struct Lab {
    endpoints: Vec<Endpoint>,
    switches: Vec<Switch>,
}

/// The number of a white-box switch with ports of `blue`, and of its underlay address. What is sent to it counts as
/// delivered at this port.
const WHITE_BOX: u8 = 9;
const TO_WHITE_BOX: OfPort = OfPort(999);

/// A frame that reached an endpoint's port.
type Delivery = (OfPort, Vec<u8>);

impl Lab {
    /// Networks `blue` and `red` are twins: the same subnets, endpoints with the same addresses.
    fn new(encapsulation: Encapsulation) -> Lab {
        Lab::with(encapsulation, |_| {})
    }

    /// As [`Lab::new`], with `blue` on a port of a white-box switch, and this server known behind it.
    fn with_switch(server: Option<Station>) -> Lab {
        Lab::with(Encapsulation::Vxlan, |planner| {
            planner.set_node(Arc::new(switch(WHITE_BOX)));
            planner.set_port(Arc::new(switch_port("blue", WHITE_BOX, 1)));
            if let Some(server) = &server {
                planner.set_station(Arc::new(server.clone()));
            }
        })
    }

    fn with(encapsulation: Encapsulation, also: impl Fn(&mut Planner)) -> Lab {
        let networks = [network("blue", 7, encapsulation), network("red", 8, encapsulation)];
        let mut endpoints = Vec::new();
        for network in ["blue", "red"] {
            endpoints.extend([endpoint(network, 1, 2), endpoint(network, 1, 3), endpoint(network, 2, 4)]);
        }
        endpoints.push(endpoint("red", 3, 5));
        // Twins to the last bit.
        for index in 0..3 {
            endpoints[3 + index].mac = endpoints[index].mac;
        }
        let switches = HOSTS
            .map(|host| {
                let facts =
                    Facts { node: name(&format!("h{host}")), underlay: Some(underlay(host)), ..facts() };
                let mut planner = Planner::new(facts);
                HOSTS.into_iter().for_each(|host| planner.set_node(Arc::new(node(host))));
                networks.iter().for_each(|network| planner.set_network(Arc::new(network.clone())));
                for (index, endpoint) in endpoints.iter().enumerate() {
                    planner.set_endpoint(Arc::new(endpoint.clone()));
                    if endpoint.node == planner.facts().node {
                        planner.set_ofport(&endpoint.id.host_link(), Some(port(host, index)));
                    }
                }
                if let Some(link) = ports::encapsulation_link(encapsulation) {
                    planner.set_ofport(&link, Some(encapsulation_port(encapsulation)));
                }
                also(&mut planner);
                planner.refresh();
                Switch::new().with_flows(planner.flows().cloned()).unwrap()
            })
            .into();
        Lab { endpoints, switches }
    }

    fn index(&self, network: &str, number: u16) -> usize {
        let address = IpAddr::from([10, 5, 0, number as u8]);
        let is_it = |e: &Endpoint| e.network == name::<NetworkName>(network) && e.has_address(address);
        self.endpoints.iter().position(is_it).unwrap()
    }

    fn endpoint(&self, network: &str, number: u16) -> &Endpoint {
        &self.endpoints[self.index(network, number)]
    }

    fn host(&self, index: usize) -> u8 {
        self.endpoints[index].node.as_str()[1..].parse().unwrap()
    }

    fn port(&self, network: &str, number: u16) -> OfPort {
        let index = self.index(network, number);
        port(self.host(index), index)
    }

    /// What becomes of a frame that an endpoint sends.
    fn send(&self, network: &str, number: u16, frame: &[u8]) -> Vec<Delivery> {
        let index = self.index(network, number);
        let mut delivered = Vec::new();
        self.run(self.host(index), port(self.host(index), index), None, frame, &mut delivered);
        delivered
    }

    fn run(
        &self,
        host: u8,
        in_port: OfPort,
        tunnel: Option<Tunnel>,
        frame: &[u8],
        delivered: &mut Vec<Delivery>,
    ) {
        let verdict = self.switches[usize::from(host) - 1].run(in_port, tunnel, frame);
        assert!(verdict.error.is_none() && verdict.to_controller.is_empty(), "{verdict}");
        for output in &verdict.outputs {
            verify_checksums(&output.frame).unwrap();
            if output.port.0 >= 100 {
                delivered.push((output.port, output.frame.clone()));
            } else if let Some(tunnel) = output.tunnel.filter(|tunnel| tunnel.dst == underlay(WHITE_BOX)) {
                assert_eq!(tunnel.id, 7, "blue's VNI");
                delivered.push((TO_WHITE_BOX, output.frame.clone()));
            } else if let Some(tunnel) = output.tunnel {
                let far = HOSTS.into_iter().find(|far| underlay(*far) == tunnel.dst).unwrap();
                assert_ne!(far, host, "a node sends to itself:\n{verdict}");
                let received = Tunnel { src: underlay(host), ..tunnel };
                self.run(far, output.port, Some(received), &output.frame, delivered);
            } else {
                for far in HOSTS.into_iter().filter(|far| *far != host) {
                    self.run(far, output.port, None, &output.frame, delivered);
                }
            }
        }
    }

    fn v4(&self, network: &str, number: u16) -> (MacAddr, IpAddr) {
        let endpoint = self.endpoint(network, number);
        (endpoint.mac, endpoint.addresses[0].addr())
    }

    fn v6(&self, network: &str, number: u16) -> (MacAddr, IpAddr) {
        let endpoint = self.endpoint(network, number);
        (endpoint.mac, endpoint.addresses[1].addr())
    }
}

fn udp((src_mac, src): (MacAddr, IpAddr), (dst_mac, dst): (MacAddr, IpAddr)) -> Vec<u8> {
    Frame::between(src_mac, dst_mac).ip(src, dst).udp(1000, 2000).payload(b"hello").build()
}

fn group(address: &str) -> (MacAddr, IpAddr) {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            (MacAddr([1, 0, 0x5e, b & 0x7f, c, d]), v4.into())
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            (MacAddr([0x33, 0x33, a, b, c, d]), v6.into())
        }
    }
}

const JOINING: [Encapsulation; 4] =
    [Encapsulation::Vxlan, Encapsulation::Geneve, Encapsulation::Gre, Encapsulation::Vlan];

#[test]
fn unicast_reaches_its_endpoint_unchanged_and_nobody_else() {
    for encapsulation in JOINING {
        let lab = Lab::new(encapsulation);
        for network in ["blue", "red"] {
            for (from, to) in [(2, 3), (3, 2), (2, 4), (4, 2), (4, 3)] {
                for frame in [
                    udp(lab.v4(network, from), lab.v4(network, to)),
                    udp(lab.v6(network, from), lab.v6(network, to)),
                ] {
                    let delivered = lab.send(network, from, &frame);
                    assert_eq!(
                        delivered,
                        [(lab.port(network, to), frame)],
                        "{encapsulation} {network} {from}->{to}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_local_network_stays_on_its_host() {
    let lab = Lab::new(Encapsulation::Local);
    let frame = udp(lab.v4("blue", 2), lab.v4("blue", 3));
    assert_eq!(lab.send("blue", 2, &frame), [(lab.port("blue", 3), frame)]);
    assert_eq!(lab.send("blue", 2, &udp(lab.v4("blue", 2), lab.v4("blue", 4))), []);
    let everybody = udp(lab.v4("blue", 2), group("224.0.0.251"));
    assert_eq!(lab.send("blue", 2, &everybody), [(lab.port("blue", 3), everybody)]);
}

#[test]
fn multicast_and_broadcast_reach_every_member_once_and_nobody_else() {
    for encapsulation in JOINING {
        let lab = Lab::new(encapsulation);
        let broadcast = (MacAddr::BROADCAST, IpAddr::from([10, 5, 255, 255]));
        for (from, to) in [
            (lab.v4("blue", 2), group("239.1.2.3")),
            (lab.v4("blue", 2), broadcast),
            (lab.v6("blue", 2), group("ff0e::42")),
        ] {
            let frame = udp(from, to);
            let mut ports: Vec<_> = lab
                .send("blue", 2, &frame)
                .into_iter()
                .map(|(port, got)| {
                    assert_eq!(got, frame);
                    port
                })
                .collect();
            ports.sort_unstable();
            assert_eq!(ports, [lab.port("blue", 3), lab.port("blue", 4)], "{encapsulation}");
        }
        // Red has a member on the third host; blue has none there.
        assert_eq!(
            lab.send("red", 4, &udp(lab.v4("red", 4), group("239.1.2.3"))).len(),
            3,
            "{encapsulation}"
        );
    }
}

#[test]
fn arp_is_answered_where_it_is_asked() {
    for encapsulation in [Encapsulation::Vxlan, Encapsulation::Vlan, Encapsulation::Local] {
        let lab = Lab::new(encapsulation);
        let (mac, IpAddr::V4(address)) = lab.v4("blue", 2) else { unreachable!() };
        let asked = |number| {
            let (its_mac, IpAddr::V4(its_address)) = lab.v4("blue", number) else { unreachable!() };
            let answer = Frame::arp_reply((its_mac, its_address), (mac, address));
            (Frame::arp_request(mac, address, its_address), answer)
        };
        let known: &[u16] = if encapsulation == Encapsulation::Local { &[3] } else { &[3, 4] };
        for &number in known {
            let (question, answer) = asked(number);
            assert_eq!(lab.send("blue", 2, &question), [(lab.port("blue", 2), answer)], "{encapsulation}");
        }
        let unknown = Frame::arp_request(mac, address, [10, 5, 9, 9].into());
        let heard_by_others = lab.send("blue", 2, &unknown).len();
        // On a VLAN the neighbour may be a physical host.
        assert_eq!(
            heard_by_others,
            if encapsulation == Encapsulation::Vlan { 2 } else { 0 },
            "{encapsulation}"
        );
        let own = Frame::arp_request(mac, address, address);
        assert_eq!(lab.send("blue", 2, &own).len(), if encapsulation == Encapsulation::Vlan { 2 } else { 0 });
    }
}

#[test]
fn neighbour_solicitations_are_answered_where_they_are_asked() {
    let lab = Lab::new(Encapsulation::Geneve);
    let (mac, IpAddr::V6(address)) = lab.v6("blue", 2) else { unreachable!() };
    for number in [3, 4] {
        let (its_mac, IpAddr::V6(its_address)) = lab.v6("blue", number) else { unreachable!() };
        for (source, target) in [
            (address, its_address),
            (mac.link_local(), its_address),
            (mac.link_local(), its_mac.link_local()),
        ] {
            let question = Frame::neighbour_solicitation(mac, source, target).build();
            let answer =
                Frame::neighbour_advertisement((its_mac, target), (mac, source), 0x60, target).build();
            assert_eq!(lab.send("blue", 2, &question), [(lab.port("blue", 2), answer)], "{target}");
        }
    }
    let unknown = Frame::neighbour_solicitation(mac, address, "fd00:5::999".parse().unwrap()).build();
    assert_eq!(lab.send("blue", 2, &unknown), []);
}

#[test]
fn nobody_sends_with_anothers_addresses() {
    for encapsulation in JOINING {
        let lab = Lab::new(encapsulation);
        let (mac, ip) = lab.v4("blue", 2);
        let (_, ip6) = lab.v6("blue", 2);
        let victim = lab.v4("blue", 4);
        let victim6 = lab.v6("blue", 4);
        let (other_mac, other_ip) = lab.v4("blue", 3);
        let (_, other_ip6) = lab.v6("blue", 3);
        let (IpAddr::V4(v4), IpAddr::V4(other_v4), IpAddr::V4(victim_v4)) = (ip, other_ip, victim.1) else {
            unreachable!()
        };
        let (IpAddr::V6(v6), IpAddr::V6(other_v6)) = (ip6, other_ip6) else { unreachable!() };
        let all_nodes: (MacAddr, Ipv6Addr) = (MacAddr([0x33, 0x33, 0, 0, 0, 1]), "ff02::1".parse().unwrap());
        for (what, frame) in [
            ("MAC", udp((other_mac, ip), victim)),
            ("IPv4", udp((mac, other_ip), victim)),
            ("IPv4 outside", udp((mac, [8, 8, 8, 8].into()), victim)),
            ("IPv6", udp((mac, other_ip6), victim6)),
            ("another's link-local", udp((mac, other_mac.link_local().into()), victim6)),
            ("multicast with another's MAC", udp((other_mac, ip), group("239.1.2.3"))),
            ("ARP for another", Frame::arp_reply((mac, other_v4), (victim.0, victim_v4))),
            ("ARP with another's MAC", Frame::arp_reply((other_mac, v4), (victim.0, victim_v4))),
            ("ARP request for another", Frame::arp_request(mac, other_v4, victim_v4)),
            (
                "advertisement for another",
                Frame::neighbour_advertisement((mac, v6), all_nodes, 0x20, other_v6).build(),
            ),
            (
                "solicitation as another",
                Frame::neighbour_solicitation(mac, other_v6, "fd00:5::4".parse().unwrap()).build(),
            ),
            (
                "router advertisement",
                Frame::between(mac, all_nodes.0)
                    .ip(mac.link_local().into(), all_nodes.1.into())
                    .ttl(255)
                    .icmp(134, 0, [64, 0, 7, 8])
                    .payload(&[0; 8])
                    .build(),
            ),
            (
                "DHCP server",
                Frame::between(mac, victim.0).ip(ip, victim.1).udp(67, 68).payload(&[0; 240]).build(),
            ),
            ("own tag", Frame::between(mac, victim.0).vlan(107).ip(ip, victim.1).udp(1, 2).build()),
            ("no IP", Frame::between(mac, victim.0).eth_type(0x88b5).payload(b"raw").build()),
        ] {
            let delivered = lab.send("blue", 2, &frame);
            assert_eq!(delivered, [], "{what} passed on {encapsulation}");
        }
    }
}

#[test]
fn tunnel_packets_of_strangers_are_dropped() {
    for encapsulation in Encapsulation::TUNNELS {
        let lab = Lab::new(encapsulation);
        let frame = udp(lab.v4("blue", 4), lab.v4("blue", 2));
        let from = |src, id| {
            let mut delivered = Vec::new();
            let tunnel = Tunnel { id, src, dst: underlay(1) };
            lab.run(1, encapsulation_port(encapsulation), Some(tunnel), &frame, &mut delivered);
            delivered.len()
        };
        assert_eq!(from(underlay(2), 7), 1);
        assert_eq!(from(STRANGER, 7), 0);
        assert_eq!(from(underlay(1), 7), 0, "this node's own address is no peer's");
        assert_eq!(from(underlay(2), 9), 0, "a network that is not here");
    }
}

/// What came out of a tunnel goes into none.
#[test]
fn nothing_travels_two_tunnels() {
    let lab = Lab::new(Encapsulation::Vxlan);
    let tunnel = Tunnel { id: 8, src: underlay(3), dst: underlay(1) };
    for frame in [udp(lab.v4("red", 5), lab.v4("red", 4)), udp(lab.v4("red", 5), group("239.1.2.3"))] {
        let verdict = lab.switches[0].run(encapsulation_port(Encapsulation::Vxlan), Some(tunnel), &frame);
        assert!(verdict.outputs.iter().all(|output| output.tunnel.is_none()), "{verdict}");
    }
}

/// A physical host on the VLAN is a neighbour like any other.
#[test]
fn a_vlan_reaches_physical_hosts() {
    let lab = Lab::new(Encapsulation::Vlan);
    let switch = &lab.switches[0];
    let trunk = encapsulation_port(Encapsulation::Vlan);
    let physical: (MacAddr, IpAddr) = ("00:1b:21:00:00:01".parse().unwrap(), [10, 5, 0, 200].into());
    let out = switch.run(lab.port("blue", 2), None, &udp(lab.v4("blue", 2), physical));
    let tagged = Frame::between(lab.v4("blue", 2).0, physical.0)
        .vlan(107)
        .ip(lab.v4("blue", 2).1, physical.1)
        .udp(1000, 2000)
        .payload(b"hello")
        .build();
    assert_eq!(out.only().map(|output| (output.port, output.frame.clone())), Some((trunk, tagged)));
    let back = Frame::between(physical.0, lab.v4("blue", 2).0).vlan(107).ip(physical.1, lab.v4("blue", 2).1);
    let back = switch.run(trunk, None, &back.udp(2000, 1000).build());
    assert_eq!(back.ports(), [lab.port("blue", 2)]);
    let other_vlan =
        Frame::between(physical.0, lab.v4("blue", 2).0).vlan(999).ip(physical.1, lab.v4("blue", 2).1);
    assert!(switch.run(trunk, None, &other_vlan.udp(2000, 1000).build()).is_drop());
}

const SERVER: MacAddr = MacAddr([0x00, 0x1b, 0x21, 0, 0, 1]);

fn server_address() -> (MacAddr, IpAddr) {
    (SERVER, [10, 5, 0, 100].into())
}

/// What comes from the switch in blue, at a host's tunnel.
fn from_switch(lab: &Lab, host: u8, frame: &[u8]) -> Vec<Delivery> {
    let mut delivered = Vec::new();
    let tunnel = Tunnel { id: 7, src: underlay(WHITE_BOX), dst: underlay(host) };
    lab.run(host, encapsulation_port(Encapsulation::Vxlan), Some(tunnel), frame, &mut delivered);
    delivered
}

#[test]
fn a_server_behind_a_switch_port_is_reached_and_reaches() {
    for known in [None, Some(station("blue", WHITE_BOX, 1, None))] {
        let lab = Lab::with_switch(known.clone());
        for endpoint in [2, 3, 4] {
            let there = udp(lab.v4("blue", endpoint), server_address());
            // Known or not, it goes to the switch alone.
            assert_eq!(lab.send("blue", endpoint, &there), [(TO_WHITE_BOX, there)], "{known:?}");
            let back = udp(server_address(), lab.v4("blue", endpoint));
            let host = lab.host(lab.index("blue", endpoint));
            assert_eq!(from_switch(&lab, host, &back), [(lab.port("blue", endpoint), back)]);
        }
        // Red has no port on the switch.
        assert_eq!(lab.send("red", 2, &udp(lab.v4("red", 2), server_address())), []);
    }
}

#[test]
fn a_broadcast_reaches_the_switch_once_and_one_from_it_the_local_members() {
    let lab = Lab::with_switch(None);
    let everybody = (MacAddr::BROADCAST, IpAddr::from([10, 5, 255, 255]));
    let mut ports: Vec<_> =
        lab.send("blue", 2, &udp(lab.v4("blue", 2), everybody)).into_iter().map(|(port, _)| port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [lab.port("blue", 3), lab.port("blue", 4), TO_WHITE_BOX]);
    let from_server = udp(server_address(), everybody);
    let mut ports: Vec<_> = from_switch(&lab, 1, &from_server).into_iter().map(|(port, _)| port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [lab.port("blue", 2), lab.port("blue", 3)], "no second tunnel");
    // A host without members takes nothing.
    assert_eq!(from_switch(&lab, 3, &from_server), []);
}

#[test]
fn a_question_that_nobody_here_answers_is_put_to_the_switches_alone() {
    let (mac, address) = {
        let lab = Lab::new(Encapsulation::Vxlan);
        let (mac, IpAddr::V4(address)) = lab.v4("blue", 2) else { unreachable!() };
        (mac, address)
    };
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => unreachable!(),
    };
    let question = Frame::arp_request(mac, address, v4(server_address().1));
    let silent = Lab::with_switch(Some(station("blue", WHITE_BOX, 1, None)));
    assert_eq!(silent.send("blue", 2, &question), [(TO_WHITE_BOX, question.clone())]);
    // Where the address is known nothing is sent.
    let known = Lab::with_switch(Some(station("blue", WHITE_BOX, 1, Some("10.5.0.100"))));
    let answer = Frame::arp_reply((SERVER, v4(server_address().1)), (mac, address));
    assert_eq!(known.send("blue", 2, &question), [(known.port("blue", 2), answer)]);
    // Endpoints are answered for as ever.
    let (its_mac, its_address) = silent.v4("blue", 4);
    let answer = Frame::arp_reply((its_mac, v4(its_address)), (mac, address));
    let about_endpoint = Frame::arp_request(mac, address, v4(its_address));
    assert_eq!(silent.send("blue", 2, &about_endpoint), [(silent.port("blue", 2), answer)]);
    // An announcement of one's own address is for the switches too.
    let own = Frame::arp_request(mac, address, address);
    assert_eq!(silent.send("blue", 2, &own), [(TO_WHITE_BOX, own)]);
    // And the same of neighbour discovery.
    let lab = silent;
    let (mac, IpAddr::V6(address)) = lab.v6("blue", 2) else { unreachable!() };
    let unknown = Frame::neighbour_solicitation(mac, address, "fd00:5::999".parse().unwrap()).build();
    assert_eq!(lab.send("blue", 2, &unknown), [(TO_WHITE_BOX, unknown)]);
    // A network without ports keeps its silence.
    let (mac, red) = lab.v4("red", 2);
    assert_eq!(lab.send("red", 2, &Frame::arp_request(mac, v4(red), v4(server_address().1))), []);
}

#[test]
fn a_servers_questions_reach_endpoints_and_their_replies_the_server() {
    let lab = Lab::with_switch(Some(station("blue", WHITE_BOX, 1, None)));
    let (mac, IpAddr::V4(address)) = lab.v4("blue", 2) else { unreachable!() };
    let (_, IpAddr::V4(server)) = server_address() else { unreachable!() };
    let question = Frame::arp_request(SERVER, server, address);
    assert!(from_switch(&lab, 1, &question).contains(&(lab.port("blue", 2), question)));
    let reply = Frame::arp_reply((mac, address), (SERVER, server));
    assert_eq!(lab.send("blue", 2, &reply), [(TO_WHITE_BOX, reply)]);
    let (mac, IpAddr::V6(v6)) = lab.v6("blue", 2) else { unreachable!() };
    let advertisement =
        Frame::neighbour_advertisement((mac, v6), (SERVER, SERVER.link_local()), 0x60, v6).build();
    assert_eq!(lab.send("blue", 2, &advertisement), [(TO_WHITE_BOX, advertisement)]);
}

/// A server cannot take a container's traffic by sending from its MAC, nor can an endpoint pose as another to servers.
#[test]
fn an_endpoints_mac_stays_its_own() {
    let lab = Lab::new(Encapsulation::Vxlan);
    for (victim, from) in [(3, 2), (4, 2)] {
        let (mac, address) = lab.v4("blue", victim);
        let thief = Station { mac, addresses: vec![address], ..station("blue", WHITE_BOX, 1, None) };
        let lab = Lab::with_switch(Some(thief));
        let frame = udp(lab.v4("blue", from), lab.v4("blue", victim));
        assert_eq!(lab.send("blue", from, &frame), [(lab.port("blue", victim), frame)]);
    }
    let lab = Lab::with_switch(None);
    let (mac, _) = lab.v4("blue", 2);
    let (other, other_ip) = lab.v4("blue", 3);
    for frame in [udp((mac, other_ip), server_address()), udp((other, other_ip), server_address())] {
        assert_eq!(lab.send("blue", 2, &frame), []);
    }
}
