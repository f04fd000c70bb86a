//! The plan as a whole: what it says, and that it stays right however it came about.

use std::collections::BTreeMap;
use std::sync::Arc;

use ofctl::flow::FlowKey;
use ofctl::packet::Frame;
use ofctl::wire::{Action, Field, OfPort};
use proptest::prelude::*;

use super::*;
use crate::model::{
    Dataplane, Encapsulation, Endpoint, EndpointId, LinkName, Network, NetworkName, NetworkSpec, Node,
    NodeName, Origin, Phase, PortAttachment, PortTag, Station, Subnet, UnknownFields, mac_for,
};

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn node(index: u8) -> Node {
    Node {
        name: name(&format!("h{index}")),
        installation: String::new(),
        underlay: Some([172, 31, 0, index].into()),
        underlay_mtu: Some(1500),
        encapsulations: Encapsulation::ALL.to_vec(),
        dataplane: Dataplane::OvsNetdev,
        version: String::new(),
        unknown: UnknownFields::new(),
    }
}

pub(super) fn network(text: &str, id: u32, encapsulation: Encapsulation) -> Network {
    let spec = NetworkSpec {
        vlan: (encapsulation == Encapsulation::Vlan).then(|| (id + 100).try_into().unwrap()),
        encapsulation: Some(encapsulation),
        subnets: vec![Subnet::parse("10.5.0.0/16").unwrap(), Subnet::parse("fd00:5::/64").unwrap()],
        ..NetworkSpec::default()
    };
    let origin = Origin { node: name("h1"), at: 0 };
    Network::new(name(text), id.try_into().unwrap(), &spec, Encapsulation::Vxlan, origin).unwrap()
}

pub(super) fn endpoint(network: &str, host: u8, number: u16) -> Endpoint {
    let [high, low] = number.to_be_bytes();
    let network: NetworkName = name(network);
    Endpoint {
        id: name(&format!("{}{host:x}{number:04x}{}", &network.as_str()[..1], "e".repeat(58))),
        mac: mac_for(&network, &format!("10.5.{high}.{low}")),
        network,
        node: name(&format!("h{host}")),
        addresses: vec![
            format!("10.5.{high}.{low}/16").parse().unwrap(),
            format!("fd00:5::{number:x}/64").parse().unwrap(),
        ],
        spare: None,
        phase: Phase::Joined,
        options: BTreeMap::new(),
        unknown: UnknownFields::new(),
    }
}

/// A switch, with the number of its underlay address.
pub(super) fn switch(index: u8) -> Node {
    Node {
        name: name(&format!("sw{index}")),
        encapsulations: Dataplane::Linux.encapsulations().to_vec(),
        dataplane: Dataplane::Linux,
        ..node(index)
    }
}

pub(super) fn swp(number: u8) -> PortTag {
    PortTag { port: name(&format!("swp{number}")), vlan: None }
}

/// A port of a switch in a network.
pub(super) fn port(network: &str, switch: u8, number: u8) -> PortAttachment {
    PortAttachment {
        node: name(&format!("sw{switch}")),
        port: swp(number).port,
        vlan: None,
        network: name(network),
        origin: Origin { node: name("h1"), at: 0 },
        unknown: UnknownFields::new(),
    }
}

/// A server behind a switch's first port, whose address is known or not.
pub(super) fn station(network: &str, switch: u8, number: u8, address: Option<&str>) -> Station {
    Station {
        network: name(network),
        mac: ofctl::MacAddr([0x00, 0x1b, 0x21, 0, 0, number]),
        node: name(&format!("sw{switch}")),
        at: Some(swp(1)),
        addresses: address.iter().map(|address| address.parse().unwrap()).collect(),
        sequence: 0,
        since: 0,
    }
}

pub(super) fn facts() -> Facts {
    let mut facts = Facts::new(name("h1"));
    facts.underlay = Some([172, 31, 0, 1].into());
    facts.underlay_mtu = Some(1500);
    facts.uplink_bridge = Some("br-phy".to_owned());
    facts
}

/// One change of the world, by small numbers.
#[derive(Clone, Debug)]
enum Event {
    Network(u8, Option<u8>),
    Node(u8, bool),
    Endpoint { network: u8, host: u8, number: u16, phase: Option<u8> },
    Port { host_link_of: (u8, u8, u16), port: Option<u32> },
    EncapsulationPort(u8, Option<u32>),
    Switch(u8, bool),
    SwitchPort { network: u8, switch: u8, number: u8, is_in: bool },
    Station { network: u8, switch: u8, number: u8, address: Option<u8>, is_in: bool },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u8..3, proptest::option::weighted(0.8, 0u8..5)).prop_map(|(n, e)| Event::Network(n, e)),
        (1u8..5, proptest::bool::weighted(0.8)).prop_map(|(n, present)| Event::Node(n, present)),
        (0u8..3, 1u8..5, 2u16..6, proptest::option::weighted(0.7, 0u8..3))
            .prop_map(|(network, host, number, phase)| Event::Endpoint { network, host, number, phase }),
        (0u8..3, 1u8..3, 2u16..6, proptest::option::weighted(0.8, 1u32..40)).prop_map(
            |(network, host, number, port)| Event::Port { host_link_of: (network, host, number), port }
        ),
        (0u8..4, proptest::option::weighted(0.8, 100u32..104))
            .prop_map(|(encapsulation, port)| Event::EncapsulationPort(encapsulation, port)),
        (8u8..10, proptest::bool::weighted(0.8)).prop_map(|(n, present)| Event::Switch(n, present)),
        (0u8..3, 8u8..10, 1u8..3, proptest::bool::weighted(0.7)).prop_map(
            |(network, switch, number, is_in)| Event::SwitchPort { network, switch, number, is_in }
        ),
        (0u8..3, 8u8..10, 1u8..3, proptest::option::of(2u8..6), proptest::bool::weighted(0.7)).prop_map(
            |(network, switch, number, address, is_in)| Event::Station {
                network,
                switch,
                number,
                address,
                is_in
            }
        ),
    ]
}

const NETWORKS: [&str; 3] = ["blue", "green", "red"];

fn happen(planner: &mut Planner, event: &Event) {
    match *event {
        Event::Network(index, encapsulation) => {
            let text = NETWORKS[usize::from(index)];
            match encapsulation {
                Some(e) => planner.set_network(Arc::new(network(
                    text,
                    u32::from(index) + 1,
                    Encapsulation::ALL[usize::from(e)],
                ))),
                None => planner.remove_network(&name(text)),
            }
        }
        Event::Node(index, true) => planner.set_node(Arc::new(node(index))),
        Event::Node(index, false) => planner.remove_node(&name::<NodeName>(&format!("h{index}"))),
        Event::Endpoint { network, host, number, phase } => {
            let mut endpoint = endpoint(NETWORKS[usize::from(network)], host, number);
            match phase {
                Some(phase) => {
                    endpoint.phase = [Phase::Created, Phase::Joined, Phase::Left][usize::from(phase)];
                    planner.set_endpoint(Arc::new(endpoint));
                }
                None => planner.remove_endpoint(&endpoint.network, &endpoint.id),
            }
        }
        Event::Port { host_link_of: (network, host, number), port } => {
            let link: LinkName = endpoint(NETWORKS[usize::from(network)], host, number).id.host_link();
            planner.set_ofport(&link, port.map(OfPort));
        }
        Event::Switch(index, true) => planner.set_node(Arc::new(switch(index))),
        Event::Switch(index, false) => planner.remove_node(&name::<NodeName>(&format!("sw{index}"))),
        Event::SwitchPort { network, switch, number, is_in } => {
            let port = port(NETWORKS[usize::from(network)], switch, number);
            if is_in {
                planner.set_port(Arc::new(port));
            } else {
                planner.remove_port(&port.network, &port.node, &port.at());
            }
        }
        Event::Station { network, switch, number, address, is_in } => {
            let address = address.map(|last| format!("10.5.0.{last}"));
            let station = station(NETWORKS[usize::from(network)], switch, number, address.as_deref());
            if is_in {
                planner.set_station(Arc::new(station));
            } else {
                planner.remove_station(&station.network, station.mac);
            }
        }
        Event::EncapsulationPort(index, port) => {
            let link = ports::encapsulation_link(Encapsulation::ALL[usize::from(index)]).unwrap();
            planner.set_ofport(&link, port.map(OfPort));
        }
    }
}

type Table = BTreeMap<FlowKey, ofctl::flow::FlowEntry>;

fn table(planner: &Planner) -> Table {
    planner.flows().map(|flow| (flow.key(), flow.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However the plan came about, it is the plan of the view; and the changes lead a switch to it.
    #[test]
    fn changes_lead_to_the_plan_from_scratch(events in proptest::collection::vec(event(), 1..60)) {
        let mut planner = Planner::new(facts());
        let mut switch = Table::new();
        for event in &events {
            happen(&mut planner, event);
            let changes = planner.refresh();
            for key in &changes.delete {
                prop_assert!(switch.remove(key).is_some(), "{key:?} deleted, but it was not there");
            }
            for flow in changes.set {
                prop_assert_ne!(switch.get(&flow.key()), Some(flow.as_ref()), "set again without a change");
                switch.insert(flow.key(), flow.as_ref().clone());
            }
            let scratch = table(&Planner::from_scratch(planner.view(), planner.facts().clone()));
            prop_assert!(switch == scratch, "after {:?} the changes do not lead to the plan", event);
            prop_assert!(table(&planner) == scratch, "after {:?} the plan is not that of its view", event);
        }
    }
}

fn two_nodes() -> Planner {
    let mut planner = Planner::new(facts());
    planner.set_node(Arc::new(node(1)));
    planner.set_node(Arc::new(node(2)));
    planner.set_network(Arc::new(network("blue", 7, Encapsulation::Vxlan)));
    planner.set_network(Arc::new(network("red", 8, Encapsulation::Vxlan)));
    planner.set_endpoint(Arc::new(endpoint("blue", 1, 2)));
    planner.set_endpoint(Arc::new(endpoint("blue", 2, 3)));
    planner.set_endpoint(Arc::new(endpoint("red", 2, 3)));
    planner.set_ofport(&endpoint("blue", 1, 2).id.host_link(), Some(OfPort(5)));
    planner.set_ofport(&name("sl-vxlan"), Some(OfPort(1)));
    planner.refresh();
    planner
}

/// The whole plan of a node with one endpoint and one neighbour on another node, as text.
#[test]
fn two_nodes_as_text() {
    let mut lines: Vec<_> = two_nodes().flows().cloned().collect();
    lines.sort_unstable();
    let text: String = lines.iter().map(|flow| format!("{flow}\n")).collect();
    let expected = include_str!("two_nodes.flows");
    assert!(text == expected, "the plan differs from two_nodes.flows:\n{text}");
}

/// What a switch's ports, and a server behind one whose address is known, add to the plan of [`two_nodes`], as text.
#[test]
fn a_switch_port_as_text() {
    let before = table(&two_nodes());
    let mut planner = two_nodes();
    planner.set_node(Arc::new(switch(9)));
    planner.set_port(Arc::new(port("blue", 9, 1)));
    planner.set_station(Arc::new(station("blue", 9, 1, Some("10.5.0.100"))));
    planner.refresh();
    let after = table(&planner);
    let missing = before.keys().filter(|key| !after.contains_key(key)).count();
    assert_eq!(missing, 0, "nothing goes");
    let mut lines: Vec<_> =
        after.iter().filter(|(key, flow)| before.get(key) != Some(flow)).map(|(_, flow)| flow).collect();
    lines.sort_unstable();
    let text: String = lines.iter().map(|flow| format!("{flow}\n")).collect();
    let expected = include_str!("switch_port.flows");
    assert!(text == expected, "the plan differs from switch_port.flows:\n{text}");
    planner.remove_station(&name("blue"), station("blue", 9, 1, None).mac);
    planner.remove_port(&name("blue"), &name("sw9"), &swp(1));
    planner.remove_node(&name("sw9"));
    planner.refresh();
    assert_eq!(table(&planner), before);
}

#[test]
fn a_network_without_local_members_has_no_flows() {
    let mut planner = two_nodes();
    let of_red =
        |planner: &Planner| planner.flows().filter(|flow| flow.to_string().contains("metadata=0x8")).count();
    assert_eq!(of_red(&planner), 0);
    let with_blue_alone = planner.flow_count();
    planner.set_endpoint(Arc::new(endpoint("red", 1, 9)));
    planner.refresh();
    assert!(of_red(&planner) > 0);
    planner.remove_endpoint(&name("red"), &endpoint("red", 1, 9).id);
    planner.refresh();
    assert_eq!(planner.flow_count(), with_blue_alone);
}

/// The number of flows is linear in what the node can reach.
#[test]
fn flows_grow_linearly() {
    let count = |members: u16| {
        let mut planner = two_nodes();
        for number in 10..10 + members {
            planner.set_endpoint(Arc::new(endpoint("blue", 2, number)));
        }
        planner.refresh();
        planner.flow_count()
    };
    let (none, hundred, thousand) = (count(0), count(100), count(1000));
    assert_eq!((thousand - none), 10 * (hundred - none));
    assert_eq!((hundred - none) / 100, 4, "ARP, two neighbour addresses, and forwarding");
}

#[test]
fn a_moved_address_is_its_new_holders_as_soon_as_the_old_one_is_gone() {
    let mut planner = two_nodes();
    let mut here = endpoint("blue", 1, 3);
    here.id = EndpointId::try_from("aa".repeat(32)).unwrap();
    planner.set_endpoint(Arc::new(here.clone()));
    planner.set_ofport(&here.id.host_link(), Some(OfPort(6)));
    planner.refresh();
    planner.remove_endpoint(&name("blue"), &endpoint("blue", 2, 3).id);
    planner.refresh();
    let scratch = Planner::from_scratch(planner.view(), planner.facts().clone());
    assert_eq!(table(&planner), table(&scratch));
    let towards = format!("dl_dst={}", here.mac);
    let flow = planner.flows().find(|flow| flow.to_string().contains(&towards)).unwrap().to_string();
    assert!(flow.contains("load:0x6->NXM_NX_REG5[]"), "{flow}");
}

/// An address that comes back with another MAC is announced to those who may remember the old one.
#[test]
fn a_changed_mac_is_announced_to_local_members() {
    let mut planner = two_nodes();
    assert_eq!(planner.take_announcements(), []);
    let moved = Endpoint { mac: "02:00:00:00:00:99".parse().unwrap(), ..endpoint("blue", 2, 3) };
    planner.remove_endpoint(&moved.network, &moved.id);
    planner.set_endpoint(Arc::new(endpoint("blue", 2, 3)));
    assert_eq!(planner.take_announcements(), [], "the same MAC as before");
    planner.set_endpoint(Arc::new(moved.clone()));
    let packets = planner.take_announcements();
    let (v4, v6) = ("10.5.0.3".parse().unwrap(), "fd00:5::3".parse().unwrap());
    let all_nodes = ("33:33:00:00:00:01".parse().unwrap(), "ff02::1".parse().unwrap());
    let expected = [
        Frame::arp_request(moved.mac, v4, v4),
        Frame::neighbour_advertisement((moved.mac, v6), all_nodes, 0x20, v6).build(),
    ];
    assert_eq!(packets.iter().map(|packet| packet.data.clone()).collect::<Vec<_>>(), expected);
    assert!(packets.iter().all(|packet| packet.actions == [Action::Output(OfPort(5))]));
    assert_eq!(planner.take_announcements(), []);
}

/// Physical switches learn where a VLAN's endpoint is as soon as it is there.
#[test]
fn an_endpoint_on_a_vlan_is_announced_to_the_trunk() {
    let mut planner = two_nodes();
    planner.set_network(Arc::new(network("green", 9, Encapsulation::Vlan)));
    planner.set_ofport(&name("sl-trunk"), Some(OfPort(4)));
    let newcomer = endpoint("green", 1, 4);
    planner.set_endpoint(Arc::new(newcomer.clone()));
    assert_eq!(planner.take_announcements(), []);
    planner.set_ofport(&newcomer.id.host_link(), Some(OfPort(8)));
    let packets = planner.take_announcements();
    assert_eq!(packets.len(), 2, "one of each family");
    let tagged = [
        Action::PushVlan(0x8100),
        Action::set_field(Field::VlanVid, 0x1000u16 | 109),
        Action::Output(OfPort(4)),
    ];
    assert!(packets.iter().all(|packet| packet.actions == tagged), "{packets:?}");
}

#[test]
fn mtu_follows_encapsulation_underlay_and_the_smallest_node() {
    let mut planner = two_nodes();
    let mtu = |planner: &Planner, encapsulation| {
        ports::endpoint_mtu(planner.view(), planner.facts(), &network("blue", 7, encapsulation))
    };
    for (encapsulation, expected) in [
        (Encapsulation::Vxlan, 1450),
        (Encapsulation::Geneve, 1442),
        (Encapsulation::Gre, 1458),
        (Encapsulation::Vlan, 1500),
        (Encapsulation::Local, 1500),
    ] {
        assert_eq!(mtu(&planner, encapsulation), expected, "{encapsulation}");
    }
    planner.set_node(Arc::new(Node { underlay_mtu: Some(1400), ..node(3) }));
    assert_eq!(mtu(&planner, Encapsulation::Vxlan), 1350);
}

#[test]
fn ports_are_there_only_for_what_is_used() {
    let plan = two_nodes().ports();
    let names: Vec<_> = plan.ports.keys().map(LinkName::as_str).collect();
    assert_eq!(names, ["sl-vxlan", endpoint("blue", 1, 2).id.host_link().as_str()]);
    let mut planner = two_nodes();
    planner.set_network(Arc::new(network("green", 9, Encapsulation::Vlan)));
    planner.set_endpoint(Arc::new(endpoint("green", 1, 4)));
    let trunk = planner.ports().ports.remove("sl-trunk").unwrap();
    assert!(
        matches!(&trunk.kind, ports::PortKind::Trunk { bridge, vlans, .. } if bridge == "br-phy" && vlans.len() == 1)
    );
}
