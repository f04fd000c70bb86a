use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::tests::{endpoint, facts, name, network, node, port, station, switch};
use super::*;
use crate::model::{Encapsulation, Node, Station};

const SW: u8 = 9;

fn own_facts() -> Facts {
    Facts { node: name("sw9"), underlay: Some([172, 31, 0, SW].into()), ..facts() }
}

/// Hosts 1 and 2 with endpoints of blue; the switch with one port of it; another switch with a server.
fn view() -> View {
    let mut view = View::default();
    for node in [node(1), node(2), node(3), switch(SW), switch(8)] {
        view.nodes.insert(node.name.clone(), Arc::new(node));
    }
    for (text, id, encapsulation) in [
        ("blue", 7, Encapsulation::Vxlan),
        ("red", 8, Encapsulation::Vxlan),
        ("green", 9, Encapsulation::Geneve),
    ] {
        view.networks.insert(name(text), Arc::new(network(text, id, encapsulation)));
    }
    for endpoint in [endpoint("blue", 1, 2), endpoint("blue", 2, 3), endpoint("red", 3, 4)] {
        view.endpoints
            .entry(endpoint.network.clone())
            .or_default()
            .insert(endpoint.id.clone(), Arc::new(endpoint));
    }
    for attachment in [port("blue", SW, 1), port("blue", 8, 1)] {
        attach(&mut view, attachment);
    }
    let there = station("blue", 8, 5, Some("10.5.0.50"));
    view.stations.entry(name("blue")).or_default().insert(there.mac, Arc::new(there));
    view
}

fn attach(view: &mut View, attachment: PortAttachment) {
    let of_network = view.ports.entry(attachment.network.clone()).or_default();
    of_network.insert((attachment.node.clone(), attachment.at()), Arc::new(attachment));
}

fn blue(plan: &LinuxPlan) -> &Segment {
    &plan.desired.as_ref().unwrap().networks[&"7".parse().unwrap()]
}

fn underlay(last: u8) -> IpAddr {
    [172, 31, 0, last].into()
}

#[test]
fn a_network_with_a_port_here_knows_everybody_else_and_others_are_not_here() {
    let plan = plan(&view(), &own_facts(), &Form::Traditional, &Claims::new());
    assert_eq!(plan.refused, []);
    let desired = plan.desired.as_ref().unwrap();
    assert_eq!(desired.vtep, underlay(SW));
    assert_eq!(desired.networks.len(), 1, "no port of red or green is here");
    let blue = blue(&plan);
    assert_eq!(blue.members, BTreeSet::from([Member::untagged(name("swp1"))]));
    assert_eq!(blue.flood, BTreeSet::from([underlay(1), underlay(2), underlay(8)]), "not host 3, not itself");
    assert_eq!(blue.mtu, 1450);
    let (first, server) = (endpoint("blue", 1, 2), station("blue", 8, 5, None));
    assert_eq!(blue.remotes[&first.mac].vtep, underlay(1));
    assert_eq!(blue.remotes[&server.mac].vtep, underlay(8));
    assert_eq!(blue.remotes.len(), 3);
    for (address, mac) in [
        ("10.5.0.2", first.mac),
        ("fd00:5::2", first.mac),
        (&first.mac.link_local().to_string(), first.mac),
        ("10.5.0.50", server.mac),
    ] {
        assert_eq!(blue.neighbours.get(&address.parse().unwrap()), Some(&mac), "{address}");
    }
}

#[test]
fn what_this_switch_has_just_seen_is_not_elsewhere_but_an_endpoints_mac_is() {
    let mut view = view();
    let seen = station("blue", 8, 5, None);
    let victim = endpoint("blue", 1, 2);
    let claims = Claims::from([(name("blue"), seen.mac), (name("blue"), victim.mac)]);
    let planned = plan(&view, &own_facts(), &Form::Traditional, &claims);
    assert!(!blue(&planned).remotes.contains_key(&seen.mac));
    assert_eq!(blue(&planned).remotes[&victim.mac], Remote { vtep: underlay(1), overrule: true });
    // A station with an endpoint's MAC does not take its place either.
    let thief = Station { mac: victim.mac, ..seen };
    view.stations.entry(name("blue")).or_default().insert(thief.mac, Arc::new(thief));
    let planned = plan(&view, &own_facts(), &Form::Traditional, &Claims::new());
    assert_eq!(blue(&planned).remotes[&victim.mac].vtep, underlay(1));
}

#[test]
fn ports_of_networks_that_a_switch_cannot_carry_are_named_and_the_rest_is_planned() {
    let mut view = view();
    attach(&mut view, port("green", SW, 2));
    attach(&mut view, port("grey", SW, 3));
    let planned = plan(&view, &own_facts(), &Form::Traditional, &Claims::new());
    let said: Vec<String> =
        planned.refused.iter().map(|(port, reason)| format!("{}: {reason}", port.at())).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("swp2") && said[0].contains("encap=geneve"), "{said:?}");
    assert!(said[1].contains("swp3") && said[1].contains("grey"), "{said:?}");
    assert_eq!(planned.desired.unwrap().networks.len(), 1);
}

#[test]
fn tags_are_member_vlans_or_the_vlan_of_a_bridge_that_has_vlans() {
    let mut view = view();
    let tagged = PortAttachment { vlan: Some("20".parse().unwrap()), ..port("red", SW, 1) };
    attach(&mut view, tagged);
    let red = |form: &Form| {
        let planned = plan(&view, &own_facts(), form, &Claims::new());
        planned.desired.unwrap().networks.remove(&"8".parse().unwrap()).unwrap()
    };
    let traditional = red(&Form::Traditional);
    assert_eq!(traditional.vlan, None);
    let member = Member::tagged(name("swp1"), "20".parse().unwrap());
    assert_eq!(traditional.members, BTreeSet::from([member]));
    let aware = Form::VlanAware { bridge: name("bridge") };
    assert_eq!(red(&aware).vlan, Some("20".parse().unwrap()));
    let planned = plan(&view, &own_facts(), &aware, &Claims::new());
    assert_eq!(blue(&planned).vlan, Some("7".parse().unwrap()), "the network's own number");
}

#[test]
fn without_an_underlay_nothing_is_desired() {
    let mut view = view();
    let own = Node { underlay: None, ..switch(SW) };
    view.nodes.insert(own.name.clone(), Arc::new(own));
    let facts = Facts { underlay: None, ..own_facts() };
    let planned = plan(&view, &facts, &Form::Traditional, &Claims::new());
    assert_eq!(planned.desired, None);
    assert!(planned.refused[0].1.to_string().contains("--underlay"));
}
