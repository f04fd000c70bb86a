//! From a sighting on a port to the store and back, over a store of the test's own.

use std::time::Duration;

use ofctl::MacAddr;
use tempfile::TempDir;
use tokio::time::timeout;

use super::super::registry::{Gone, Restored};
use super::super::tests::{Host, blue};
use super::*;
use crate::model::{Encapsulation, NetworkSpec, Origin, PortAttachment, Station, UnknownFields};
use crate::store::{MirrorEvent, networks, ports};

const SERVER: MacAddr = MacAddr([0x00, 0x1b, 0x21, 0, 0, 1]);

fn swp(number: u8) -> PortTag {
    PortTag { port: format!("swp{number}").parse().unwrap(), vlan: None }
}

fn port(node: &str, number: u8) -> PortAttachment {
    PortAttachment {
        node: node.parse().unwrap(),
        port: swp(number).port,
        vlan: None,
        network: blue(),
        origin: Origin { node: "h1".parse().unwrap(), at: 0 },
        unknown: UnknownFields::new(),
    }
}

fn station(node: &str) -> Arc<Station> {
    Arc::new(Station {
        network: blue(),
        mac: SERVER,
        node: node.parse().unwrap(),
        at: Some(swp(1)),
        addresses: Vec::new(),
        sequence: 0,
        since: 0,
    })
}

/// Waits until the mirror has told of the server what is wanted.
async fn told(events: &mut mpsc::Receiver<MirrorEvent>, wanted: impl Fn(Option<&Station>) -> bool) {
    let key = keys::station(&blue(), SERVER);
    let tells = async {
        while let Some(event) = events.recv().await {
            let MirrorEvent::Changes(changes) = event else { continue };
            for (_, entry) in changes.into_iter().filter(|(changed, _)| *changed == key) {
                let station = entry.and_then(|entry| read_station(&entry.value));
                if wanted(station.as_ref()) {
                    return;
                }
            }
        }
        panic!("the mirror has ended");
    };
    timeout(Duration::from_secs(20), tells).await.expect("the store tells of the station");
}

#[tokio::test]
async fn a_sighting_is_in_the_store_until_its_port_is_detached() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    let store = host.store.clone();
    let origin = port("h1", 1).origin;
    let spec = NetworkSpec::default();
    let network =
        networks::create_or_agree(&*store, &blue(), &spec, Encapsulation::Vxlan, origin).await.unwrap();
    let mut writes = Vec::new();
    for port in [port("h1", 1), port("h1", 2)] {
        let value = serde_json::to_vec(&port).unwrap();
        writes.push(Write::Put(keys::port(&port.node, &port.at()), value.clone()));
        writes.push(Write::Put(keys::attached_port(&port), value));
    }
    store.commit(vec![], writes).await.unwrap();
    let mut events = store.clone().mirror(keys::stations(&blue()));
    let mut tasks = host.run("i");
    let (switch, sighted) = mpsc::unbounded_channel();
    tasks.spawn(Stations::new(host.registry().clone(), store.clone(), sighted).run());

    let seen = |number: u8| {
        let (vni, addresses) = (network.vni.unwrap(), Vec::new());
        let sight = Sight { vni, mac: SERVER, at: Some(swp(number)), addresses };
        Sighted::Learned { sight, was_remote: false }
    };
    switch.send(Sighted::All(Vec::new())).unwrap();
    switch.send(seen(1)).unwrap();
    told(&mut events, |station| station.is_some_and(|station| station.at == Some(swp(1)))).await;
    switch.send(seen(2)).unwrap();
    told(&mut events, |station| station.is_some_and(|station| station.at == Some(swp(2)))).await;
    ports::detach(&*store, host.registry().node(), &swp(2)).await.unwrap();
    told(&mut events, |station| station.is_none()).await;
}

#[tokio::test]
async fn stations_count_while_their_node_is_alive() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    let registry = host.registry();
    let known = || registry.view().stations.get(&blue()).map_or(0, BTreeMap::len);
    let mut words = registry.follow_words();
    registry.follow_stations(&blue(), vec![station("sw1")], Gone::AllOthers);
    assert_eq!(known(), 0, "nothing is known of its node");
    registry.follow_alive(vec!["sw1".parse().unwrap()], Gone::AllOthers);
    assert_eq!(known(), 1);
    registry.follow_alive(Vec::new(), Gone::These(vec!["sw1".parse().unwrap()]));
    assert_eq!(known(), 0);
    registry.follow_alive(vec!["sw1".parse().unwrap(), "sw2".parse().unwrap()], Gone::AllOthers);
    // It moves to a node that is alive, and to one that is not.
    registry.follow_stations(&blue(), vec![station("sw2")], Gone::These(Vec::new()));
    assert_eq!(registry.view().stations[&blue()][&SERVER].node, "sw2".parse().unwrap());
    registry.follow_stations(&blue(), vec![station("sw3")], Gone::These(Vec::new()));
    assert_eq!(known(), 0);
    registry.follow_stations(&blue(), Vec::new(), Gone::These(vec![SERVER]));
    let mut told = Vec::new();
    while let Ok((_, word)) = words.try_recv() {
        told.push(word.map(|station| station.node.to_string()));
    }
    assert_eq!(told, [Some("sw1".into()), Some("sw2".into()), Some("sw3".into()), None]);
}

#[tokio::test]
async fn a_switch_remembers_its_ports_and_those_of_their_networks() {
    let dir = TempDir::new().unwrap();
    let host = Host::start(&dir);
    let registry = host.registry();
    let (own, other) = (Arc::new(port("h1", 1)), Arc::new(port("sw2", 1)));
    registry.follow_own_ports(vec![own.clone()], Gone::AllOthers);
    assert!(registry.present().borrow().contains(&blue()), "its network is followed");
    registry.follow_ports(&blue(), vec![own.clone(), other.clone()], Gone::AllOthers);
    host.ledger.commit(Vec::new()).await.unwrap();
    let changes = Restored::load(&host.ledger, registry.node()).unwrap().changes();
    let ports: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::SetPort(port) => Some(port.node.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(ports, ["sw2", "h1"].map(str::to_owned).into_iter().rev().collect::<Vec<_>>());
    registry.follow_own_ports(Vec::new(), Gone::These(vec![keys::port(&own.node, &own.at())]));
    assert!(!registry.present().borrow().contains(&blue()));
    assert_eq!(registry.view().ports[&blue()].len(), 1, "until the network is not followed any more");
    registry.unfollow(&blue());
    assert!(registry.view().ports.is_empty());
    host.ledger.commit(Vec::new()).await.unwrap();
    let changes = Restored::load(&host.ledger, registry.node()).unwrap().changes();
    assert!(!changes.iter().any(|change| matches!(change, Change::SetPort(_))));
}
