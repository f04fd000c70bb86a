//! The difference over databases that an operator and we have written to.

use proptest::prelude::*;

use super::*;
use crate::model::{LinkName, VlanId, Vni};

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn fields(text: &str) -> Fields {
    let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split_whitespace().map(|word| pair(word).unwrap()).collect()
}

/// A database with these entries, none of them ours: `KEY field=value …` each.
fn database<'a>(entries: impl IntoIterator<Item = &'a str>) -> Observed {
    let split = |text: &'a str| text.split_once(' ').unwrap_or((text, ""));
    let entries = entries.into_iter().map(split).map(|(name, rest)| (key(name), fields(rest)));
    Observed { entries: entries.collect(), ..Observed::default() }
}

/// The ports of the switch, and the first four in nobody's use.
fn factory<'a>(more: impl IntoIterator<Item = &'a str>) -> Observed {
    let ports = ["PORT|Ethernet0", "PORT|Ethernet4", "PORT|Ethernet8", "PORT|Ethernet12", "PORT|Ethernet16"];
    let used = ["INTERFACE|Ethernet16", "INTERFACE|Ethernet16|10.0.0.0/31", "VLAN|Vlan1000 vlanid=1000"];
    database(ports.into_iter().chain(used).chain(more))
}

fn vni(number: u32) -> Vni {
    number.try_into().unwrap()
}

fn vlan(number: u32) -> VlanId {
    VlanId::try_from(number).unwrap()
}

fn mapping(number: u32, members: &[(&str, Tagging)]) -> Mapping {
    let members = members.iter().map(|(port, tagging)| (port.parse::<LinkName>().unwrap(), *tagging));
    Mapping { vlan: vlan(number), members: members.collect() }
}

fn desired(networks: impl IntoIterator<Item = (u32, Mapping)>) -> Desired {
    let networks = networks.into_iter().map(|(number, mapping)| (vni(number), mapping));
    Desired { vtep: "10.1.0.32".parse().unwrap(), networks: networks.collect() }
}

fn one_network() -> Desired {
    desired([(77, mapping(100, &[("Ethernet0", Tagging::Untagged), ("Ethernet4", Tagging::Tagged)]))])
}

fn said(difference: &Difference) -> Vec<String> {
    difference.changes.iter().map(Change::to_string).collect()
}

/// Carries a difference out; nothing must be left to do after it.
#[track_caller]
fn settle(desired: &Desired, observed: &mut Observed) -> Difference {
    let made = difference(desired, observed);
    for change in &made.changes {
        observed.apply(change).unwrap();
    }
    let again = difference(desired, observed);
    assert_eq!(said(&again), Vec::<String>::new(), "after {:#?}", said(&made));
    assert_eq!(again.refusals, made.refusals);
    assert_eq!(again.mapped, made.mapped);
    made
}

#[track_caller]
fn refusal(desired: &Desired, observed: &mut Observed) -> String {
    let made = settle(desired, observed);
    assert_eq!(made.refusals.len(), 1, "{:#?}", made.refusals);
    made.refusals[0].to_string()
}

const ALL_OF_ONE: [&str; 7] = [
    "add VXLAN_TUNNEL|sluice src_ip=10.1.0.32",
    "add VXLAN_EVPN_NVO|sluice source_vtep=sluice",
    "add VLAN|Vlan100 vlanid=100",
    "add VXLAN_TUNNEL_MAP|sluice|map_77_Vlan100 vlan=Vlan100 vni=77",
    "add SUPPRESS_VLAN_NEIGH|Vlan100 suppress=on",
    "add VLAN_MEMBER|Vlan100|Ethernet0 tagging_mode=untagged",
    "add VLAN_MEMBER|Vlan100|Ethernet4 tagging_mode=tagged",
];

#[test]
fn a_network_is_written_in_the_order_of_references_and_removed_in_reverse() {
    let before = factory([]);
    let mut database = before.clone();
    let made = settle(&one_network(), &mut database);
    assert_eq!(said(&made), ALL_OF_ONE);
    assert_eq!((made.refusals.len(), made.mapped), (0, [vni(77)].into()));
    let gone = settle(&desired([]), &mut database);
    let mut reverse = ALL_OF_ONE.map(|step| step.split(' ').nth(1).unwrap().to_owned());
    reverse.reverse();
    assert_eq!(said(&gone), reverse.map(|name| format!("remove {name}")));
    assert_eq!(database, before);
}

#[test]
fn what_the_operator_configured_serves_and_stays() {
    let mut database = factory([
        "VXLAN_TUNNEL|vtep1 src_ip=10.1.0.32",
        "VXLAN_EVPN_NVO|nvo1 source_vtep=vtep1",
        "VLAN|Vlan100 vlanid=100 description=servers",
        "VXLAN_TUNNEL_MAP|vtep1|his vlan=Vlan100 vni=77",
        "SUPPRESS_VLAN_NEIGH|Vlan100 suppress=off",
        "VLAN_MEMBER|Vlan100|Ethernet0 tagging_mode=untagged",
    ]);
    let before = database.clone();
    let made = settle(&one_network(), &mut database);
    assert_eq!(said(&made), ["add VLAN_MEMBER|Vlan100|Ethernet4 tagging_mode=tagged"]);
    assert!(made.mapped.contains(&vni(77)));
    settle(&desired([]), &mut database);
    assert_eq!(database, before);
    // His tunnel alone: the rest is ours, on his tunnel.
    let mut database = factory(["VXLAN_TUNNEL|vtep1 src_ip=10.1.0.32"]);
    let made = said(&settle(&one_network(), &mut database));
    assert!(made.contains(&"add VXLAN_TUNNEL_MAP|vtep1|map_77_Vlan100 vlan=Vlan100 vni=77".to_owned()));
    assert!(made.contains(&"add VXLAN_EVPN_NVO|sluice source_vtep=vtep1".to_owned()), "{made:?}");
    assert!(!database.entries.contains_key(&key("VXLAN_TUNNEL|sluice")));
}

#[test]
fn another_tunnel_nvo_or_map_is_refused_with_the_cure_and_nothing_is_written() {
    for (entries, says) in [
        (&["VXLAN_TUNNEL|vtep1 src_ip=10.9.9.9"][..], ["ends at 10.9.9.9", "config vxlan del vtep1"]),
        (&["VXLAN_TUNNEL|p2p src_ip=10.1.0.32 dst_ip=10.9.9.9"], ["goes to 10.9.9.9 alone", "--underlay"]),
        (
            &[
                "VXLAN_TUNNEL|vtep1 src_ip=10.1.0.32",
                "VXLAN_TUNNEL|vtep2 src_ip=10.9.9.9",
                "VXLAN_EVPN_NVO|nvo source_vtep=vtep2",
            ],
            ["that of tunnel vtep2", "config vxlan evpn_nvo del nvo"],
        ),
        (&["VXLAN_EVPN_NVO|nvo source_vtep=gone"], ["that of tunnel gone", "not of sluice"]),
    ] {
        let mut database = factory(entries.iter().copied());
        let before = database.clone();
        let text = refusal(&one_network(), &mut database);
        assert!(says.iter().all(|part| text.contains(part)) && text.contains("network 77"), "{text}");
        assert_eq!(database, before);
    }
    for map in ["vlan=Vlan100 vni=78", "vlan=Vlan200 vni=77"] {
        let entry = format!("VXLAN_TUNNEL_MAP|vtep1|his {map}");
        let mut database = factory(["VXLAN_TUNNEL|vtep1 src_ip=10.1.0.32", &entry]);
        let text = refusal(&one_network(), &mut database);
        assert!(text.contains("config vxlan map del") && text.contains("vtep1|his maps Vlan"), "{text}");
        assert!(!database.entries.contains_key(&key("VLAN|Vlan100")));
    }
}

#[test]
fn ports_that_cannot_join_are_refused_and_the_rest_is_done() {
    let more = [
        "PORTCHANNEL|PortChannel1",
        "PORTCHANNEL_MEMBER|PortChannel1|Ethernet12",
        "VLAN_MEMBER|Vlan1000|Ethernet0 tagging_mode=untagged",
        "VLAN|Vlan100 vlanid=100",
        "VLAN_MEMBER|Vlan100|Ethernet8 tagging_mode=untagged",
    ];
    for (port, tagging, says) in [
        ("Ethernet99", Tagging::Tagged, "neither PORT|Ethernet99"),
        ("Ethernet16", Tagging::Tagged, "config interface ip remove Ethernet16 10.0.0.0/31"),
        ("Ethernet12", Tagging::Tagged, "attach PortChannel1 instead"),
        ("Ethernet0", Tagging::Untagged, "untagged in VLAN_MEMBER|Vlan1000|Ethernet0"),
        ("Ethernet8", Tagging::Tagged, "VLAN_MEMBER|Vlan100|Ethernet8 has it untagged"),
    ] {
        let mut database = factory(more);
        let before = database.clone();
        let wanted = desired([(77, mapping(100, &[(port, tagging), ("PortChannel1", Tagging::Untagged)]))]);
        let text = refusal(&wanted, &mut database);
        assert!(text.contains(says) && text.contains(port) && text.contains("network 77"), "{text}");
        assert!(database.entries.contains_key(&key("VLAN_MEMBER|Vlan100|PortChannel1")));
        for (name, entry) in &before.entries {
            assert_eq!(database.entries.get(name), Some(entry));
        }
    }
    // Tagged elsewhere is no obstacle, nor is untagged elsewhere to a tagged member.
    let mut database = factory(more);
    let wanted = desired([(77, mapping(100, &[("Ethernet0", Tagging::Tagged)]))]);
    assert_eq!(settle(&wanted, &mut database).refusals, []);
}

#[test]
fn vlans_that_cannot_be_are_refused() {
    let reserved = desired([(1, mapping(1, &[]))]);
    let mut database = factory([]);
    let text = refusal(&reserved, &mut database);
    assert!(text.contains("--vlan N, from 2"), "{text}");
    assert_eq!(database, factory([]), "a tunnel for nobody");
    let twice = desired([
        (7, mapping(100, &[("Ethernet0", Tagging::Untagged)])),
        (8, mapping(100, &[("Ethernet4", Tagging::Untagged)])),
    ]);
    let mut database = factory([]);
    let text = refusal(&twice, &mut database);
    assert!(text.contains("network 8 cannot be VLAN 100: network 7 is"), "{text}");
    let two = desired([
        (7, mapping(100, &[("Ethernet0", Tagging::Untagged)])),
        (8, mapping(200, &[("Ethernet0", Tagging::Untagged)])),
    ]);
    let text = refusal(&two, &mut factory([]));
    assert!(text.contains("untagged in VLAN_MEMBER|Vlan100|Ethernet0"), "{text}");
}

#[test]
fn what_changes_is_removed_and_added_since_sonic_changes_nothing_in_place() {
    let mut database = factory([]);
    settle(&one_network(), &mut database);
    // Another VLAN for the network, and the port is tagged now.
    let moved = desired([(77, mapping(200, &[("Ethernet0", Tagging::Tagged)]))]);
    let steps = said(&settle(&moved, &mut database));
    let at = |step: &str| {
        steps.iter().position(|other| other.starts_with(step)).unwrap_or_else(|| panic!("{step} {steps:?}"))
    };
    assert!(
        at("remove VXLAN_TUNNEL_MAP|sluice|map_77_Vlan100")
            < at("add VXLAN_TUNNEL_MAP|sluice|map_77_Vlan200")
    );
    assert!(!database.entries.contains_key(&key("VLAN|Vlan100")));
    // Another address of ours: everything on the tunnel goes before it.
    let mut readdressed = moved.clone();
    readdressed.vtep = "10.1.0.33".parse().unwrap();
    assert_eq!(
        said(&settle(&readdressed, &mut database)),
        [
            "remove VXLAN_TUNNEL_MAP|sluice|map_77_Vlan200",
            "remove VXLAN_EVPN_NVO|sluice",
            "remove VXLAN_TUNNEL|sluice",
            "add VXLAN_TUNNEL|sluice src_ip=10.1.0.33",
            "add VXLAN_EVPN_NVO|sluice source_vtep=sluice",
            "add VXLAN_TUNNEL_MAP|sluice|map_77_Vlan200 vlan=Vlan200 vni=77",
        ]
    );
    // Unless an operator's map is on it.
    let his = "VXLAN_TUNNEL_MAP|sluice|his";
    database.entries.insert(key(his), fields("vlan=Vlan1000 vni=9"));
    let text = refusal(&moved, &mut database);
    assert!(text.contains("ends at 10.1.0.33") && text.contains(his), "{text}");
    assert!(database.entries.contains_key(&key("VXLAN_TUNNEL_MAP|sluice|map_77_Vlan200")), "what is stays");
}

#[test]
fn a_vlan_of_ours_that_an_operator_uses_stays_until_he_is_done() {
    let mut database = factory([]);
    settle(&one_network(), &mut database);
    let address = key("VLAN_INTERFACE|Vlan100|10.5.0.1/16");
    database.entries.insert(address.clone(), Fields::new());
    let text = refusal(&desired([]), &mut database);
    assert!(text.contains("VLAN|Vlan100") && text.contains("VLAN_INTERFACE|Vlan100|10.5.0.1/16"), "{text}");
    assert!(!database.entries.contains_key(&key("VXLAN_TUNNEL|sluice")), "the rest is gone");
    database.entries.remove(&address);
    settle(&desired([]), &mut database);
    assert_eq!(database, factory([]));
}

#[test]
fn what_somebody_removed_is_written_again_or_forgotten() {
    let mut database = factory([]);
    settle(&one_network(), &mut database);
    database.entries.remove(&key("VXLAN_TUNNEL_MAP|sluice|map_77_Vlan100"));
    assert_eq!(said(&settle(&one_network(), &mut database)), [ALL_OF_ONE[3]]);
    // `config reload` from a file that was saved without the network, but with the list of what is ours.
    database.entries.retain(|key, _| !database.ours.contains(key));
    let steps = said(&settle(&desired([]), &mut database));
    assert!(steps.iter().all(|step| step.starts_with("forget ")) && steps.len() == 7, "{steps:?}");
}

fn arbitrary_desired() -> impl Strategy<Value = Desired> {
    let tagging = prop_oneof![Just(Tagging::Tagged), Just(Tagging::Untagged)];
    let members = prop::collection::btree_map(0_u32..6, tagging, 0..4);
    let mapping = (1_u32..4, members).prop_map(|(number, members)| Mapping {
        vlan: vlan(number * 100),
        members: members
            .into_iter()
            .map(|(port, tagging)| (format!("Ethernet{}", port * 4).parse().unwrap(), tagging))
            .collect(),
    });
    let address = prop_oneof![Just("10.1.0.32"), Just("10.1.0.33")];
    (address, prop::collection::btree_map((1_u32..4).prop_map(vni), mapping, 0..4))
        .prop_map(|(vtep, networks)| Desired { vtep: vtep.parse().unwrap(), networks })
}

/// Anything that an operator may have typed.
fn arbitrary_database() -> impl Strategy<Value = Observed> {
    let candidates = [
        "VXLAN_TUNNEL|vtep1 src_ip=10.1.0.32",
        "VXLAN_TUNNEL|vtep2 src_ip=10.1.0.33",
        "VXLAN_TUNNEL|sluice src_ip=10.1.0.32",
        "VXLAN_EVPN_NVO|nvo source_vtep=vtep1",
        "VXLAN_EVPN_NVO|sluice source_vtep=sluice",
        "VLAN|Vlan100 vlanid=100",
        "VLAN|Vlan200 vlanid=200",
        "VXLAN_TUNNEL_MAP|vtep1|map_1_Vlan100 vlan=Vlan100 vni=1",
        "VXLAN_TUNNEL_MAP|sluice|map_2_Vlan200 vlan=Vlan200 vni=2",
        "SUPPRESS_VLAN_NEIGH|Vlan100 suppress=off",
        "VLAN_MEMBER|Vlan100|Ethernet0 tagging_mode=untagged",
        "VLAN_MEMBER|Vlan200|Ethernet4 tagging_mode=tagged",
        "VLAN_INTERFACE|Vlan200|10.0.0.1/24",
        "INTERFACE|Ethernet12",
        "PORTCHANNEL_MEMBER|PortChannel1|Ethernet8",
    ];
    prop::collection::vec(any::<bool>(), candidates.len()).prop_map(move |there| {
        factory(candidates.iter().zip(there).filter(|(_, there)| *there).map(|(entry, _)| *entry))
    })
}

proptest! {
    #[test]
    fn any_way_leads_to_the_desired_and_back_and_the_operators_entries_never_change(
        before in arbitrary_database(),
        ways in prop::collection::vec(arbitrary_desired(), 1..4),
    ) {
        let mut database = before.clone();
        for desired in &ways {
            settle(desired, &mut database);
            for (key, fields) in &before.entries {
                prop_assert_eq!(database.entries.get(key), Some(fields));
            }
            let referred: Vec<_> = database.table(Table::VxlanTunnelMap).collect();
            for (map, fields) in referred {
                if database.is_ours(map) {
                    let vlan = Key::new(Table::Vlan, &fields["vlan"]);
                    let tunnel = Key::new(Table::VxlanTunnel, map.first());
                    prop_assert!(database.entries.contains_key(&vlan), "{} dangles", map);
                    prop_assert!(database.entries.contains_key(&tunnel), "{} dangles", map);
                }
            }
        }
        let nothing = Desired { networks: Default::default(), ..ways[0].clone() };
        let left = settle(&nothing, &mut database);
        // All of ours is gone but what an operator's entry refers to.
        let kept = left.refusals.len();
        prop_assert_eq!(database.ours.len(), kept);
        prop_assert_eq!(database.entries.len(), before.entries.len() + kept);
    }
}
