use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::tests::{endpoint, facts, name, network, node, port, station, switch};
use super::*;
use crate::model::{Dataplane, Encapsulation, Node};
use crate::vtep::Remote;

const SW: u8 = 9;

fn own_facts() -> Facts {
    Facts { node: name("sw9"), underlay: None, ..facts() }
}

fn underlay(last: u8) -> IpAddr {
    [172, 31, 0, last].into()
}

/// Host 1 with an endpoint of blue, host 2 with another and an IPv6 underlay; another switch with a server; this switch,
/// of which the store does not know yet where its tunnels end.
fn view() -> View {
    let mut view = View::default();
    let own = Node { underlay: None, dataplane: Dataplane::HardwareVtep, ..switch(SW) };
    let over_ipv6 = Node { underlay: Some("2001:db8::2".parse().unwrap()), ..node(2) };
    for node in [node(1), over_ipv6, switch(8), own] {
        view.nodes.insert(node.name.clone(), Arc::new(node));
    }
    for (text, id, encapsulation) in [("blue", 7, Encapsulation::Vxlan), ("green", 9, Encapsulation::Geneve)]
    {
        view.networks.insert(name(text), Arc::new(network(text, id, encapsulation)));
    }
    for endpoint in [endpoint("blue", 1, 2), endpoint("blue", 2, 3)] {
        view.endpoints
            .entry(endpoint.network.clone())
            .or_default()
            .insert(endpoint.id.clone(), Arc::new(endpoint));
    }
    let tagged = PortAttachment { vlan: Some("20".parse().unwrap()), ..port("blue", SW, 2) };
    for attachment in [port("blue", SW, 1), tagged, port("blue", 8, 1)] {
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

#[test]
fn a_switch_is_told_who_is_where_as_far_as_it_can_send_there() {
    let planned = plan(&view(), &own_facts(), "ps1", underlay(SW), &Claims::new());
    assert_eq!(planned.refused, [], "the switch has told where its tunnels end, if not the store");
    assert_eq!((planned.desired.switch.as_str(), planned.desired.tunnel), ("ps1", underlay(SW)));
    let blue = &planned.desired.networks[&"7".parse().unwrap()];
    assert_eq!(blue.name, name("blue"));
    let members: Vec<String> = blue.members.iter().map(ToString::to_string).collect();
    assert_eq!(members, ["swp1", "swp2 vlan 20"]);
    assert_eq!(blue.flood, BTreeSet::from([underlay(1), underlay(8)]));
    assert_eq!(blue.unreachable, BTreeSet::from(["2001:db8::2".parse().unwrap()]));
    let (first, server) = (endpoint("blue", 1, 2), station("blue", 8, 5, None));
    // Of an endpoint's addresses the one of IPv4, for which every switch can answer.
    let expected = [
        (first.mac, Remote { vtep: underlay(1), address: Some("10.5.0.2".parse().unwrap()) }),
        (server.mac, Remote { vtep: underlay(8), address: Some("10.5.0.50".parse().unwrap()) }),
    ];
    assert_eq!(blue.remotes, expected.into());
}

#[test]
fn what_the_switch_has_just_seen_is_not_elsewhere() {
    let seen = station("blue", 8, 5, None);
    let claims = Claims::from([(name("blue"), seen.mac), (name("blue"), endpoint("blue", 1, 2).mac)]);
    let planned = plan(&view(), &own_facts(), "ps1", underlay(SW), &claims);
    let blue = &planned.desired.networks[&"7".parse().unwrap()];
    assert!(!blue.remotes.contains_key(&seen.mac));
    assert!(blue.remotes.contains_key(&endpoint("blue", 1, 2).mac), "an endpoint's is");
}

#[test]
fn what_it_cannot_carry_is_named_and_the_rest_is_planned() {
    let mut view = view();
    attach(&mut view, port("green", SW, 3));
    attach(&mut view, port("grey", SW, 4));
    let planned = plan(&view, &own_facts(), "ps1", underlay(SW), &Claims::new());
    let said: Vec<String> =
        planned.refused.iter().map(|(port, reason)| format!("{}: {reason}", port.at())).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("swp3") && said[0].contains("encap=geneve"), "{said:?}");
    assert!(said[1].contains("swp4") && said[1].contains("grey"), "{said:?}");
    assert_eq!(planned.desired.networks.len(), 1);
    let over_ipv6 = plan(&view, &own_facts(), "ps1", "2001:db8::9".parse().unwrap(), &Claims::new());
    assert!(over_ipv6.desired.networks.is_empty());
    assert!(over_ipv6.refused.iter().any(|(_, reason)| reason.to_string().contains("2001:db8::9")));
}
