//! What [`difference`] promises, carried out on a database in memory, and what is read of one.

mod database;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ofctl::MacAddr;
use ofctl::ovsdb::operation::Row;
use ofctl::ovsdb::vtep::{ReplicationMode, Vtep, VtepError};
use ofctl::ovsdb::{Replica, Uuid, Value};
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

use self::database::Database;
use super::observed::{identify, local_macs, others, port_faults};
use super::*;
use crate::model::{NetworkName, NodeName, PortTag, Vni};

fn node() -> NodeName {
    "tor1".parse().unwrap()
}

fn name(number: u32) -> NetworkName {
    format!("net{number}").parse().unwrap()
}

fn vni(number: u32) -> Vni {
    number.try_into().unwrap()
}

fn at(port: &str, vlan: u16) -> PortTag {
    let vlan = (vlan > 0).then(|| u32::from(vlan).try_into().unwrap());
    PortTag { port: port.parse().unwrap(), vlan }
}

fn vtep(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

/// A switch with ports, and another controller's logical switch that has VLAN 9 of swp1.
struct Switch {
    database: Database,
    ports: BTreeMap<&'static str, Uuid>,
    foreign: Uuid,
}

impl Switch {
    fn new() -> Switch {
        let mut database = Database::new();
        let foreign =
            database.insert("Logical_Switch", Row::new().with("name", "ls0").with("tunnel_key", 900));
        let ports: BTreeMap<&str, Uuid> = ["swp1", "swp2", "swp3"]
            .map(|name| (name, database.insert("Physical_Port", Row::new().with("name", name))))
            .into();
        let bindings = Value::map([(9, foreign)]);
        database.row("Physical_Port", ports["swp1"]).set("vlan_bindings", bindings);
        let row = Row::new().with("name", "ps1").with("tunnel_ips", Value::set(["192.0.2.9"]));
        let row = row.with("ports", Value::set(ports.values().copied()));
        let switch = database.insert("Physical_Switch", row);
        database.insert("Global", Row::new().with("switches", Value::set([switch])));
        let locator = Row::new().with("encapsulation_type", "vxlan_over_ipv4").with("dst_ip", "192.0.2.200");
        let locator = database.insert("Physical_Locator", locator);
        let row = Row::new().with("MAC", mac(200).to_string()).with("logical_switch", foreign);
        database.insert("Ucast_Macs_Remote", row.with("locator", locator));
        Switch { database, ports, foreign }
    }

    /// Leads the database to what is desired, and tells what cannot be. Then nothing is left to do.
    fn lead_to(&mut self, desired: &Desired) -> Vec<Refusal> {
        let steps = difference(desired, &self.database.replica()).unwrap();
        assert_eq!(steps.changes() == 0, steps.transaction.is_empty());
        self.database.carry_out(&steps.transaction);
        let again = difference(desired, &self.database.replica()).unwrap();
        assert_eq!(again.changes(), 0, "{:?}", again.transaction);
        assert_eq!(again.refusals, steps.refusals);
        steps.refusals
    }

    /// What is not ours, row by row.
    fn foreign_rows(&self) -> Vec<(Uuid, Row)> {
        let of_foreign = |row: &Row| row.get("logical_switch").and_then(Value::as_uuid) == Some(self.foreign);
        let rows = |table| self.database.rows(table);
        let switch = rows("Logical_Switch").filter(|(uuid, _)| **uuid == self.foreign);
        let told = rows("Ucast_Macs_Remote").filter(|(_, row)| of_foreign(row));
        let bound = rows("Physical_Port").map(|(uuid, row)| {
            let bound = row.get("vlan_bindings").and_then(Value::as_map).cloned().unwrap_or_default();
            let bound = bound.into_iter().filter(|(_, logical)| logical.as_uuid() == Some(self.foreign));
            (*uuid, Row::new().with("vlan_bindings", Value::Map(bound.collect())))
        });
        switch.chain(told).map(|(uuid, row)| (*uuid, row.clone())).chain(bound).collect()
    }

    fn learn(&mut self, network: &NetworkName, last: u8) -> Uuid {
        let replica = self.database.replica();
        let mark = Mark { node: node(), network: network.clone() };
        let logical = Vtep::new(&replica).logical_switch(&mark.logical_switch()).unwrap().uuid;
        let own = Vtep::new(&replica).locators().find(|locator| locator.dst == vtep(9));
        let row = Row::new().with("encapsulation_type", "vxlan_over_ipv4").with("dst_ip", "192.0.2.9");
        let locator =
            own.map_or_else(|| self.database.insert("Physical_Locator", row), |locator| locator.uuid);
        let row = Row::new().with("MAC", mac(last).to_string()).with("logical_switch", logical);
        self.database.insert("Ucast_Macs_Local", row.with("locator", locator))
    }
}

fn desired<const N: usize>(networks: [(u32, Segment); N]) -> Desired {
    let networks = networks.into_iter().map(|(number, segment)| (vni(number), segment)).collect();
    Desired { node: node(), switch: "ps1".to_owned(), tunnel: vtep(9), networks }
}

fn segment(number: u32, members: &[PortTag]) -> Segment {
    let mut segment = Segment::new(name(number));
    segment.members = members.iter().cloned().collect();
    segment.flood = [vtep(1), vtep(2)].into();
    segment.remotes = [(mac(1), Remote { vtep: vtep(1), address: Some("10.5.0.1".parse().unwrap()) })].into();
    segment
}

/// What a database holds for us, in the shape of what is desired.
fn held(replica: &Replica) -> BTreeMap<Vni, Segment> {
    let vtep = Vtep::new(replica);
    let physical = vtep.physical_switch("ps1").unwrap();
    let mut held = BTreeMap::new();
    for logical in vtep.logical_switches() {
        let Some(mark) = Mark::read(logical.description()).filter(|mark| mark.node == node()) else {
            continue;
        };
        assert_eq!(logical.replication_mode(), Some(ReplicationMode::SourceNode));
        let mut segment = Segment::new(mark.network);
        for port in vtep.ports(&physical) {
            let of_this = port.vlan_bindings().into_iter().filter(|(_, bound)| *bound == logical.uuid);
            segment.members.extend(of_this.map(|(vlan, _)| at(port.name(), vlan)));
        }
        for row in vtep.remote_macs().filter(|row| row.logical_switch == logical.uuid) {
            let place = Remote { vtep: vtep.locator(row.locator).unwrap().dst, address: row.ip };
            assert_eq!(segment.remotes.insert(row.mac, place), None, "a second row");
        }
        for row in vtep.remote_groups().filter(|row| row.logical_switch == logical.uuid) {
            segment.flood.extend(vtep.locators_of(row.locator_set).map(|locator| locator.dst));
        }
        held.insert(vni(logical.vni().unwrap()), segment);
    }
    held
}

#[test]
fn a_network_is_told_and_taken_away_and_nothing_else_is_touched() {
    let mut switch = Switch::new();
    let (rows, tables) = (switch.foreign_rows(), switch.database.tables.clone());
    let wanted =
        desired([(7, segment(7, &[at("swp1", 0), at("swp2", 20)])), (8, segment(8, &[at("swp3", 0)]))]);
    assert_eq!(switch.lead_to(&wanted), []);
    assert_eq!(held(&switch.database.replica()), wanted.networks);
    assert_eq!(switch.foreign_rows(), rows);
    // What the switch itself has written there goes too: it would keep the logical switch.
    switch.learn(&name(7), 77);
    assert_eq!(switch.lead_to(&desired([])), []);
    // The database is as it was, but for columns that are now empty instead of left out.
    for rows in switch.database.tables.values_mut().flat_map(BTreeMap::values_mut) {
        rows.0.retain(|_, value| !value.as_map().is_some_and(BTreeMap::is_empty));
    }
    switch.database.tables.retain(|_, rows| !rows.is_empty());
    assert_eq!(switch.database.tables, tables);
}

#[test]
fn a_port_goes_over_to_another_network_in_one_step() {
    let mut switch = Switch::new();
    switch.lead_to(&desired([(7, segment(7, &[at("swp2", 0)])), (8, segment(8, &[at("swp3", 0)]))]));
    let wanted = desired([(7, segment(7, &[at("swp3", 0)])), (8, segment(8, &[at("swp2", 0)]))]);
    assert_eq!(switch.lead_to(&wanted), []);
    assert_eq!(held(&switch.database.replica()), wanted.networks);
    // As it does when its first network goes.
    let wanted = desired([(8, segment(8, &[at("swp2", 0), at("swp3", 0)]))]);
    assert_eq!(switch.lead_to(&wanted), []);
    assert_eq!(held(&switch.database.replica()), wanted.networks);
}

#[test]
fn what_others_have_is_refused_by_name_and_the_rest_is_told() {
    let mut switch = Switch::new();
    let foreign = switch.foreign_rows();
    let row = Row::new().with("name", "sluice-tor1-net5").with("tunnel_key", 5);
    switch.database.insert("Logical_Switch", row);
    let mut reaches_v6 = segment(7, &[at("swp1", 9), at("swp1", 0), at("swp8", 0)]);
    reaches_v6.unreachable.insert("2001:db8::1".parse().unwrap());
    let wanted = desired([
        (5, segment(5, &[at("swp2", 0)])),
        (7, reaches_v6),
        (8, segment(8, &[at("swp9", 0)])),
        (900, segment(9, &[at("swp3", 0)])),
    ]);
    let refusals = switch.lead_to(&wanted);
    let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    for (parts, is_of_ports) in [
        (["net5", "sluice-tor1-net5", "vtep-ctl del-ls"], true),
        (["net7", "swp1 vlan 9", "ls0"], true),
        (["net7", "no port swp8", "vtep-ctl list-ports ps1"], true),
        (["net7", "2001:db8::1", "IPv4"], false),
        (["net8", "no port swp9", "detach"], true),
        (["net9", "VNI 900", "ls0"], true),
    ] {
        let found = said.iter().position(|said| parts.iter().all(|part| said.contains(part)));
        let found = found.unwrap_or_else(|| panic!("{parts:?}: {said:#?}"));
        assert_eq!(refusals[found].is_of_ports(), is_of_ports, "{}", said[found]);
    }
    assert_eq!(said.len(), 6, "{said:#?}");
    assert!(refusals.iter().any(|refusal| refusal.concerns(&name(9), &at("swp3", 0))));
    assert!(!refusals.iter().any(|refusal| refusal.concerns(&name(7), &at("swp1", 0))));
    let held = held(&switch.database.replica());
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [vni(7)]);
    assert_eq!(held[&vni(7)].members, BTreeSet::from([at("swp1", 0)]));
    assert_eq!(switch.foreign_rows(), foreign);
    assert_eq!(others(&switch.database.replica(), &node()), ["ls0", "sluice-tor1-net5"]);
}

#[test]
fn what_runs_is_not_taken_down_for_a_vni_that_another_takes_later() {
    let mut switch = Switch::new();
    let wanted = desired([(7, segment(7, &[at("swp2", 0)]))]);
    switch.lead_to(&wanted);
    switch.database.row("Logical_Switch", switch.foreign).set("tunnel_key", 7);
    assert_eq!(switch.lead_to(&wanted), []);
    assert_eq!(held(&switch.database.replica()).len(), 1);
}

#[test]
fn another_nodes_logical_switch_is_a_strangers() {
    let mut switch = Switch::new();
    let mark = Mark { node: "tor2".parse().unwrap(), network: name(7) };
    let row = Row::new().with("name", mark.logical_switch()).with("tunnel_key", 7);
    let theirs = switch.database.insert("Logical_Switch", row.with("description", mark.to_string()));
    // The same network on the other switch of this database has the same VNI, on ports that are not ours.
    let wanted = desired([(7, segment(7, &[at("swp2", 0)]))]);
    assert_eq!(switch.lead_to(&wanted), []);
    switch.lead_to(&desired([]));
    assert!(switch.database.rows("Logical_Switch").any(|(uuid, _)| *uuid == theirs));
    assert_eq!(Mark::read(&mark.to_string()), Some(mark));
    for text in ["", "sluice node a", "sluice node a b network c", "mine", "sluice node  network "] {
        assert_eq!(Mark::read(text), None, "{text}");
    }
}

#[test]
fn a_node_that_was_another_switch_of_the_database_leaves_that_one() {
    let mut switch = Switch::new();
    let port = switch.database.insert("Physical_Port", Row::new().with("name", "swp2"));
    let row = Row::new().with("name", "ps2").with("tunnel_ips", Value::set(["192.0.2.10"]));
    let row = row.with("ports", Value::set([port]));
    let second = switch.database.insert("Physical_Switch", row);
    let global = *switch.database.rows("Global").next().unwrap().0;
    let first = *switch.database.rows("Physical_Switch").find(|(uuid, _)| **uuid != second).unwrap().0;
    switch.database.row("Global", global).set("switches", Value::set([first, second]));
    let before = Desired { switch: "ps2".to_owned(), ..desired([(7, segment(7, &[at("swp2", 0)]))]) };
    switch.lead_to(&before);
    assert!(
        !switch
            .database
            .row("Physical_Port", port)
            .get("vlan_bindings")
            .unwrap()
            .as_map()
            .unwrap()
            .is_empty()
    );
    let wanted = desired([(7, segment(7, &[at("swp3", 0)]))]);
    assert_eq!(switch.lead_to(&wanted), []);
    assert_eq!(held(&switch.database.replica()), wanted.networks);
    assert!(
        switch.database.row("Physical_Port", port).get("vlan_bindings").unwrap().as_map().unwrap().is_empty()
    );
}

#[test]
fn an_old_database_is_told_what_it_knows_and_the_rest_is_said() {
    let mut switch = Switch::new();
    switch.database = switch.database.without_column("Logical_Switch", "replication_mode");
    let wanted = desired([(7, segment(7, &[at("swp2", 0)]))]);
    let refusals = switch.lead_to(&wanted);
    assert!(matches!(refusals.as_slice(), [Refusal::OneCopy { nodes: 2, .. }]), "{refusals:?}");
    let mut alone = segment(7, &[at("swp2", 0)]);
    alone.flood = [vtep(1)].into();
    assert_eq!(switch.lead_to(&desired([(7, alone)])), [], "one copy is enough for one node");
    let gone = Desired { switch: "ps9".to_owned(), ..wanted };
    let error = difference(&gone, &switch.database.replica()).unwrap_err();
    assert_eq!(error, VtepError::NoPhysicalSwitch("ps9".to_owned()));
}

#[test]
fn what_the_switch_has_learned_is_read_with_its_port_where_that_is_certain() {
    let mut switch = Switch::new();
    let two = segment(7, &[at("swp1", 0), at("swp2", 20)]);
    switch.lead_to(&desired([(7, two.clone()), (8, segment(8, &[at("swp3", 30)]))]));
    let [first, ..] = [77, 78].map(|last| switch.learn(&name(7), last));
    switch.database.row("Ucast_Macs_Local", first).set("ipaddr", "10.5.0.77");
    switch.learn(&name(8), 80);
    // One that the switch is also told of: it has just come from elsewhere.
    switch.learn(&name(8), 1);
    let locals = |switch: &Switch| local_macs(&switch.database.replica(), &node(), "ps1");
    let seen = locals(&switch);
    assert_eq!(seen.len(), 4);
    let local = &seen[&(vni(7), mac(77))];
    assert_eq!((&local.at, local.address), (&None, Some("10.5.0.77".parse().unwrap())), "one of two ports");
    assert_eq!(seen[&(vni(8), mac(80))].at, Some(at("swp3", 30)));
    let told: Vec<_> =
        seen.iter().filter(|(_, local)| local.is_told_elsewhere).map(|(key, _)| *key).collect();
    assert_eq!(told, [(vni(8), mac(1))]);
    // With one port less it is certain.
    let one = Segment { members: [at("swp2", 20)].into(), ..two };
    switch.lead_to(&desired([(7, one)]));
    let seen = locals(&switch);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[&(vni(7), mac(78))].at, Some(at("swp2", 20)));
    // Others' are not ours to tell.
    assert!(local_macs(&switch.database.replica(), &"tor2".parse().unwrap(), "ps1").is_empty());
}

#[test]
fn it_is_known_which_switch_it_is_or_said_what_is_missing() {
    let mut switch = Switch::new();
    let found = |switch: &Switch, name: Option<&str>, underlay: Option<&str>| {
        let underlay = underlay.map(|text| text.parse().unwrap());
        identify(&switch.database.replica(), name, underlay).map_err(|error| error.to_string())
    };
    let expected = Identity { switch: "ps1".to_owned(), tunnel: vtep(9) };
    assert_eq!(found(&switch, None, None), Ok(expected.clone()));
    assert_eq!(found(&switch, Some("ps1"), Some("192.0.2.9")), Ok(expected.clone()));
    let refused = |found: Result<Identity, String>, parts: &[&str]| {
        let said = found.unwrap_err();
        assert!(parts.iter().all(|part| said.contains(part)), "{said} lacks one of {parts:?}");
    };
    refused(found(&switch, Some("ps7"), None), &["ps7", "ps1", "--vtep-switch"]);
    refused(found(&switch, None, Some("192.0.2.8")), &["--underlay 192.0.2.8", "192.0.2.9", "ps1"]);
    let ps1 = *switch.database.rows("Physical_Switch").next().unwrap().0;
    let both = Value::set(["192.0.2.9", "198.51.100.9"]);
    switch.database.row("Physical_Switch", ps1).set("tunnel_ips", both);
    refused(found(&switch, None, None), &["192.0.2.9, 198.51.100.9", "--underlay"]);
    assert_eq!(found(&switch, None, Some("192.0.2.9")), Ok(expected));
    switch.database.row("Physical_Switch", ps1).set("tunnel_ips", Value::empty());
    refused(found(&switch, None, Some("192.0.2.9")), &["ps1", "tunnel_ips is empty"]);
    switch.database.insert("Physical_Switch", Row::new().with("name", "ps2"));
    refused(found(&switch, None, None), &["ps1, ps2", "--vtep-switch"]);
    let empty = Switch { database: Database::new(), ..Switch::new() };
    refused(found(&empty, None, None), &["no Physical_Switch"]);
}

#[test]
fn faults_are_read() {
    let mut switch = Switch::new();
    let port = switch.ports["swp2"];
    switch.database.row("Physical_Port", port).set("port_fault_status", Value::set(["invalid_vlan_map"]));
    let replica = switch.database.replica();
    assert_eq!(port_faults(&replica, "ps1", &at("swp2", 7)), Some(vec!["invalid_vlan_map".to_owned()]));
    assert_eq!(port_faults(&replica, "ps1", &at("swp3", 0)), Some(Vec::new()));
    assert_eq!(port_faults(&replica, "ps1", &at("swp9", 0)), None);
}

/// Networks over the switch's ports, each port and VLAN in one at most.
fn any_desired() -> impl Strategy<Value = Desired> {
    let ports = btree_map((0_u8..3, prop::sample::select(vec![0_u16, 20, 30])), 1_u32..4, 0..7);
    let of_network = (btree_set(1_u8..5, 0..4), btree_map(1_u8..9, (1_u8..5, any::<bool>()), 0..8));
    (ports, prop::array::uniform3(of_network)).prop_map(|(ports, contents)| {
        let mut wanted = desired([]);
        for ((port, vlan), network) in ports {
            let (flood, remotes) = &contents[network as usize - 1];
            let segment = wanted.networks.entry(vni(network)).or_insert_with(|| Segment {
                flood: flood.iter().map(|last| vtep(*last)).collect(),
                remotes: remotes
                    .iter()
                    .map(|(last, (at, known))| {
                        let address = known.then(|| IpAddr::from([10, 5, 0, *last]));
                        (mac(*last), Remote { vtep: vtep(*at), address })
                    })
                    .collect(),
                ..Segment::new(name(network))
            });
            segment.members.insert(at(&format!("swp{}", port + 1), vlan));
        }
        wanted
    })
}

proptest! {
    #[test]
    fn whatever_was_told_before_one_step_leads_to_what_is_desired(
        steps in prop::collection::vec(any_desired(), 1..4),
    ) {
        let mut switch = Switch::new();
        let foreign = switch.foreign_rows();
        for wanted in &steps {
            prop_assert_eq!(switch.lead_to(wanted), []);
            prop_assert_eq!(&held(&switch.database.replica()), &wanted.networks);
            prop_assert_eq!(&switch.foreign_rows(), &foreign);
        }
    }
}
