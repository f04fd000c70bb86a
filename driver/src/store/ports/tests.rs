use std::sync::Arc;

use super::*;
use crate::model::{Dataplane, Encapsulation, NetworkSpec};
use crate::store::{Embedded, networks};

struct World {
    _dir: tempfile::TempDir,
    store: Arc<Embedded>,
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

fn swp(number: u8, vlan: Option<u32>) -> PortTag {
    PortTag { port: format!("swp{number}").parse().unwrap(), vlan: vlan.map(|vlan| vlan.try_into().unwrap()) }
}

fn origin() -> Origin {
    Origin { node: node("h1"), at: 5 }
}

impl World {
    /// Networks blue and red (VXLAN) and green (Geneve); the switches sw1 and sw2 and the host h1.
    async fn new() -> World {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(&dir.path().join("store.redb")).unwrap();
        for (name, encapsulation) in
            [("blue", Encapsulation::Vxlan), ("red", Encapsulation::Vxlan), ("green", Encapsulation::Geneve)]
        {
            let spec = NetworkSpec { encapsulation: Some(encapsulation), ..NetworkSpec::default() };
            networks::create(&*store, &network(name), &spec, Encapsulation::Vxlan, origin()).await.unwrap();
        }
        for (index, (name, dataplane)) in
            [("sw1", Dataplane::Linux), ("sw2", Dataplane::Linux), ("h1", Dataplane::OvsNetdev)]
                .into_iter()
                .enumerate()
        {
            let value = Node {
                name: node(name),
                installation: name.to_owned(),
                underlay: Some([192, 0, 2, index as u8 + 1].into()),
                underlay_mtu: None,
                encapsulations: dataplane.encapsulations().to_vec(),
                dataplane,
                version: String::new(),
                unknown: UnknownFields::new(),
            };
            store.commit(vec![], vec![Write::Put(keys::node(&node(name)), encode(&value))]).await.unwrap();
        }
        World { _dir: dir, store }
    }

    async fn attach(&self, on: &str, at: PortTag, to: &str) -> Result<bool, String> {
        attach(&*self.store, &node(on), &at, &network(to), origin())
            .await
            .map(|(_, is_new)| is_new)
            .map_err(|error| error.to_string())
    }

    async fn keys(&self) -> Vec<String> {
        let mut entries = self.store.list(keys::PORTS).await.unwrap();
        entries.extend(self.store.list(keys::ATTACHED).await.unwrap());
        entries.into_iter().map(|entry| entry.key).collect()
    }
}

#[tokio::test]
async fn a_port_has_one_network_and_a_vlan_of_it_another() {
    let world = World::new().await;
    assert_eq!(world.attach("sw1", swp(1, None), "blue").await, Ok(true));
    assert_eq!(world.attach("sw1", swp(1, None), "blue").await, Ok(false), "asked twice");
    let refusal = world.attach("sw1", swp(1, None), "red").await.unwrap_err();
    for part in ["swp1", "sw1", "network blue", "detach", "--vlan"] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert_eq!(world.attach("sw1", swp(1, Some(7)), "red").await, Ok(true));
    assert_eq!(world.attach("sw2", swp(1, None), "red").await, Ok(true), "another switch's port");
    let of = |network_name: Option<NetworkName>, node_name: Option<NodeName>| {
        let store = world.store.clone();
        async move {
            let ports = list(&*store, network_name.as_ref(), node_name.as_ref()).await.unwrap();
            ports.iter().map(|port| format!("{} {}", port.node, port.at())).collect::<Vec<_>>()
        }
    };
    assert_eq!(of(Some(network("red")), None).await, ["sw1 swp1 vlan 7", "sw2 swp1"]);
    assert_eq!(of(None, Some(node("sw1"))).await, ["sw1 swp1 vlan 7", "sw1 swp1"]);
    assert_eq!(of(Some(network("red")), Some(node("sw1"))).await, ["sw1 swp1 vlan 7"]);
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_with_the_cure_and_nothing_is_written() {
    let world = World::new().await;
    for (on, to, parts) in [
        ("sw1", "green", ["port swp1 of node sw1", "encap=geneve", "--encap vxlan"]),
        ("h1", "blue", ["port swp1 of node h1", "Open vSwitch", "--dataplane linux"]),
        ("sw9", "blue", ["node sw9 does not exist", "sluice node ls", "agent"]),
        ("sw1", "grey", ["network grey does not exist", "sluice network ls", "grey"]),
    ] {
        let refusal = world.attach(on, swp(1, None), to).await.unwrap_err();
        assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal}");
    }
    assert_eq!(world.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn detaching_leaves_nothing_and_is_refused_twice() {
    let world = World::new().await;
    world.attach("sw1", swp(1, Some(7)), "blue").await.unwrap();
    let behind = Station { at: Some(swp(1, Some(7))), ..station("sw1", 9) };
    world.store.commit(vec![], vec![put_station(&behind)]).await.unwrap();
    assert_eq!(world.keys().await.len(), 3);
    let gone = detach(&*world.store, &node("sw1"), &swp(1, Some(7))).await.unwrap();
    assert_eq!(gone.network, network("blue"));
    assert_eq!(world.keys().await, Vec::<String>::new());
    let refusal = detach(&*world.store, &node("sw1"), &swp(1, Some(7))).await.unwrap_err().to_string();
    assert!(refusal.contains("swp1 vlan 7") && refusal.contains("port ls --node sw1"), "{refusal}");
}

#[tokio::test]
async fn a_network_with_a_port_is_not_removed_and_takes_its_stations_with_it() {
    let world = World::new().await;
    world.attach("sw1", swp(1, None), "blue").await.unwrap();
    let refusal = networks::remove(&*world.store, &network("blue")).await.unwrap_err().to_string();
    assert!(refusal.contains("swp1 on node sw1") && refusal.contains("port detach"), "{refusal}");
    let station = station("sw1", 9);
    world.store.commit(vec![], vec![put_station(&station)]).await.unwrap();
    detach(&*world.store, &node("sw1"), &swp(1, None)).await.unwrap();
    networks::remove(&*world.store, &network("blue")).await.unwrap();
    assert_eq!(world.keys().await, Vec::<String>::new());
}

fn station(on: &str, last: u8) -> Station {
    Station {
        network: network("blue"),
        mac: MacAddr([2, 0, 0, 0, 0, last]),
        node: node(on),
        at: Some(swp(1, None)),
        addresses: Vec::new(),
        sequence: 0,
        since: 1,
    }
}

#[tokio::test]
async fn a_removed_node_leaves_neither_ports_nor_stations() {
    let world = World::new().await;
    world.attach("sw1", swp(1, None), "blue").await.unwrap();
    world.attach("sw2", swp(1, None), "blue").await.unwrap();
    let writes = vec![put_station(&station("sw1", 1)), put_station(&station("sw2", 2))];
    world.store.commit(vec![], writes).await.unwrap();
    assert_eq!(release_node(&*world.store, &node("sw1")).await.unwrap().len(), 1);
    let left = stations(&*world.store, &network("blue"), None).await.unwrap();
    assert_eq!(left.iter().map(|(station, _)| &station.node).collect::<Vec<_>>(), [&node("sw2")]);
    assert_eq!(list(&*world.store, None, None).await.unwrap().len(), 1);
    let key = keys::station(&network("blue"), station("sw2", 2).mac);
    assert_eq!(station_of_key(&key), Some((network("blue"), station("sw2", 2).mac)));
}
