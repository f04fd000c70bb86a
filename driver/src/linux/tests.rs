//! What [`difference`] promises, over networks and kernels of every kind, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ofctl::MacAddr;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::effect::FLOOD;
use super::*;
use crate::model::{LinkName, VlanId, Vni};

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

fn vni(number: u32) -> Vni {
    number.try_into().unwrap()
}

fn vlan(number: u16) -> VlanId {
    u32::from(number).try_into().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn vtep(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// A switch as it comes: an underlay, four ports (one routed, one in the operator's own bridge), the operator's
/// VLAN and VXLAN links, and SONiC's.
fn switch() -> Observed {
    let mut observed = Observed::default();
    let mut add = |name: &str, kind: LinkKind| {
        let index = observed.links.len() as u32 + 1;
        observed.links.insert(link(name), Link { up: true, running: true, ..Link::new(index, kind) });
    };
    for port in ["lo", "uplink", "swp1", "swp2", "swp3", "swp4"] {
        add(port, LinkKind::Other(None));
    }
    add("br0", LinkKind::Bridge { vlan_filtering: false });
    add("vlan20", LinkKind::Vlan { parent: Some(link("swp2")), vlan: vlan(20) });
    let vxlan = Vxlan { vni: 9, local: None, port: VXLAN_PORT, learning: true, zero_checksum_rx6: false };
    add("vxlan9", LinkKind::Vxlan(vxlan));
    add("Bridge", LinkKind::Bridge { vlan_filtering: true });
    add("vtep1-10", LinkKind::Vxlan(Vxlan { vni: 1, port: 4790, ..vxlan }));
    add("Vlan10", LinkKind::Vlan { parent: Some(link("Bridge")), vlan: vlan(10) });
    for (port, master) in [("swp4", "br0"), ("vtep1-10", "Bridge")] {
        observed.apply(&Change::Join { link: link(port), bridge: link(master) }).unwrap();
    }
    observed.links.get_mut("uplink").unwrap().addresses.insert(vtep(100));
    observed.links.get_mut("swp3").unwrap().addresses.insert(ip("198.51.100.1"));
    let membership = VlanMembership::ACCESS;
    observed.apply(&Change::AddVlan { link: link("vtep1-10"), vlan: vlan(10), membership }).unwrap();
    observed
}

fn desired(form: Form, networks: impl IntoIterator<Item = (u32, Segment)>) -> Desired {
    Desired {
        form,
        vtep: vtep(100),
        networks: networks.into_iter().map(|(number, segment)| (vni(number), segment)).collect(),
    }
}

fn segment(members: &[Member]) -> Segment {
    Segment {
        vlan: Some(vlan(10)),
        mtu: 1450,
        members: members.iter().cloned().collect(),
        flood: [vtep(1), vtep(2)].into(),
        remotes: [(mac(1), Remote::new(vtep(1)))].into(),
        neighbours: [(ip("10.77.0.1"), mac(1))].into(),
    }
}

fn port(name: &str) -> Member {
    Member::untagged(link(name))
}

fn tagged(name: &str, tag: u16) -> Member {
    Member::tagged(link(name), vlan(tag))
}

fn vlan_aware() -> Form {
    Form::VlanAware { bridge: link("slbr") }
}

fn sonic() -> Form {
    Form::Sonic { bridge: link("Bridge") }
}

/// Carries out the difference; fails if a change of it is impossible.
fn settle(desired: &Desired, observed: &mut Observed) -> Difference {
    let difference = difference(desired, observed);
    for change in &difference.changes {
        observed.apply(change).unwrap();
    }
    difference
}

fn refusals(desired: &Desired, observed: &Observed) -> Vec<String> {
    difference(desired, observed).refusals.iter().map(Refusal::to_string).collect()
}

fn steps(difference: &Difference) -> Vec<String> {
    difference.changes.iter().map(Change::to_string).collect()
}

#[test]
fn a_network_is_made_tables_first_and_ports_last() {
    let wanted = desired(Form::Traditional, [(77, segment(&[port("swp1"), tagged("swp2", 30)]))]);
    let mut observed = switch();
    let made = settle(&wanted, &mut observed);
    assert_eq!(
        steps(&made),
        [
            "create bridge slbr77",
            "create VXLAN link slvx77 with VNI 77",
            "make slvx77 a port of slbr77",
            "set bridge port slvx77 to learning off, neighbour suppression on",
            "set slbr77 up",
            "set slvx77 up",
            "add VTEP 192.0.2.1 to the flood list of slvx77",
            "add VTEP 192.0.2.2 to the flood list of slvx77",
            "send 02:00:00:00:00:01 by slvx77 to VTEP 192.0.2.1",
            "set neighbour 10.77.0.1 on slbr77 to 02:00:00:00:00:01",
            "make swp1 a port of slbr77",
            "create VLAN link swp2.30 for VLAN 30 of swp2",
            "make swp2.30 a port of slbr77",
            "set swp2.30 up",
        ]
    );
    assert_eq!(made.refusals, []);
    assert_eq!(difference(&wanted, &observed), Difference::default());
    // And away again: nothing is left, and the ports are free.
    let gone = settle(&desired(Form::Traditional, []), &mut observed);
    assert_eq!(
        steps(&gone),
        ["take swp1 out of slbr77", "remove link slvx77", "remove link swp2.30", "remove link slbr77"]
    );
    assert_eq!(observed, switch());
}

#[test]
fn a_port_moves_to_another_network_in_one_step() {
    let mut observed = switch();
    settle(&desired(Form::Traditional, [(77, segment(&[port("swp1")])), (78, segment(&[]))]), &mut observed);
    let moved = settle(
        &desired(Form::Traditional, [(77, segment(&[])), (78, segment(&[port("swp1")]))]),
        &mut observed,
    );
    assert_eq!(steps(&moved), ["make swp1 a port of slbr78"]);
}

#[test]
fn a_bridge_with_vlans_carries_all_networks() {
    let mut green = segment(&[port("swp2"), tagged("swp1", 20)]);
    green.vlan = Some(vlan(20));
    let wanted = desired(vlan_aware(), [(77, segment(&[port("swp1")])), (78, green)]);
    let mut observed = switch();
    assert_eq!(settle(&wanted, &mut observed).refusals, []);
    let swp1 = &observed.links["swp1"];
    assert_eq!(swp1.vlans[&vlan(10)], VlanMembership::ACCESS);
    assert_eq!(swp1.vlans[&vlan(20)], VlanMembership::TAGGED);
    assert_eq!(observed.links["slvx78"].vlans, [(vlan(20), VlanMembership::ACCESS)].into());
    assert!(observed.neighbours[&link("slbr.20")].contains_key(&ip("10.77.0.1")));
    assert_eq!(difference(&wanted, &observed), Difference::default());
    assert_eq!(
        refusals(
            &desired(vlan_aware(), [(77, segment(&[tagged("swp1", 30)])), (78, segment(&[]))]),
            &observed
        ),
        [
            "port swp1 VLAN 30 cannot join network 77: on bridge slbr the network is VLAN 10, and a VLAN-aware \
             bridge does not translate tags: attach it with --vlan 10, or untagged",
            "network 78 cannot be VLAN 10 of bridge slbr: network 77 is: choose another VLAN",
        ]
    );
}

#[test]
fn on_sonic_only_tables_are_written() {
    let wanted = desired(sonic(), [(1, segment(&[port("swp1")])), (2, segment(&[]))]);
    let mut observed = switch();
    let made = settle(&wanted, &mut observed);
    assert_eq!(
        steps(&made),
        [
            "add VTEP 192.0.2.1 to the flood list of vtep1-10",
            "add VTEP 192.0.2.2 to the flood list of vtep1-10",
            "send 02:00:00:00:00:01 by vtep1-10 to VTEP 192.0.2.1",
            "set neighbour 10.77.0.1 on Vlan10 to 02:00:00:00:00:01",
        ]
    );
    let [Refusal::VlanTaken { .. }] = made.refusals.as_slice() else { panic!("{:?}", made.refusals) };
    assert_eq!(observed.links, switch().links);
    let entry = &observed.bridge_entries[&link("Bridge")][&(mac(1), Some(vlan(10)))];
    assert_eq!(entry.port, link("vtep1-10"));
    let unmapped = Segment { vlan: Some(vlan(20)), ..segment(&[]) };
    assert_eq!(
        refusals(&desired(sonic(), [(2, unmapped)]), &observed),
        ["network 2 has no VXLAN link on this switch: SONiC makes it from CONFIG_DB: config vxlan map add \
          <tunnel> 20 2, or let the agent write that (--sonic-config-db)"]
    );
}

#[test]
fn strangers_are_refused_by_name_with_a_remedy() {
    let mut observed = switch();
    let stranger = LinkKind::Bridge { vlan_filtering: false };
    observed.links.insert(link("slbr5"), Link::new(99, stranger));
    let members = [
        port("swp4"),
        port("swp3"),
        port("swp9"),
        port("lo"),
        port("br0"),
        tagged("swp2", 20),
        tagged("Ethernet100", 4094),
    ];
    let all = desired(Form::Traditional, [(5, segment(&[])), (7, segment(&members)), (9, segment(&[]))]);
    let refused = refusals(&all, &observed);
    for part in [
        "network 5 needs the name slbr5",
        "rename or remove that link",
        "port swp4 cannot join network 7: swp4 is a port of br0, which sluice did not make: take it out (ip link \
         set swp4 nomaster)",
        "port swp3 cannot join network 7: it has the address 198.51.100.1",
        "this switch has no link swp9",
        "lo is the loopback link",
        "br0 is a bridge",
        "that VLAN of the port is the link vlan20",
        "vxlan9, which sluice did not make, has its VNI",
    ] {
        assert!(refused.iter().any(|refusal| refusal.contains(part)), "{part}: {refused:#?}");
    }
    assert_eq!(refused.len(), 9, "{refused:#?}");
    // The rest of network 7 is made all the same.
    settle(&all, &mut observed);
    assert!(observed.links.contains_key("slvx7") && !observed.links.contains_key("slvx9"));

    let twice = desired(Form::Traditional, [(7, segment(&[port("swp1")])), (8, segment(&[port("swp1")]))]);
    assert_eq!(
        refusals(&twice, &observed),
        ["port swp1 cannot join network 8: it is attached to network 7: detach it there first"]
    );
    let long = desired(Form::Traditional, [(7, segment(&[tagged("swp1234567890", 4094)]))]);
    observed.links.insert(link("swp1234567890"), Link::new(98, LinkKind::Other(None)));
    assert!(refusals(&long, &observed)[0].contains("swp1234567890.4094 would have more than 15 bytes"));
    let mut other_family = segment(&[]);
    other_family.remotes.insert(mac(2), Remote::new(ip("2001:db8::1")));
    let refused = refusals(&desired(Form::Traditional, [(7, other_family)]), &observed);
    assert!(refused[0].contains("cannot reach VTEP 2001:db8::1 from 192.0.2.100"), "{refused:?}");
}

#[test]
fn a_mac_that_a_port_has_seen_is_contested_unless_the_store_knows_better() {
    let mut wanted = desired(Form::Traditional, [(77, segment(&[port("swp1")]))]);
    let mut observed = switch();
    settle(&wanted, &mut observed);
    let seen = BridgeEntry { port: link("swp1"), learned: Learned::FromPackets, offloaded: false };
    observed.bridge_entries.get_mut(&link("slbr77")).unwrap().insert((mac(1), None), seen);
    let contested = Contested { vni: vni(77), mac: mac(1), member: port("swp1"), vtep: vtep(1) };
    let quiet = Difference { contested: vec![contested], ..Difference::default() };
    assert_eq!(difference(&wanted, &observed), quiet);
    wanted.networks.get_mut(&vni(77)).unwrap().remotes.get_mut(&mac(1)).unwrap().overrule = true;
    assert_eq!(
        steps(&settle(&wanted, &mut observed)),
        ["send 02:00:00:00:00:01 by slvx77 to VTEP 192.0.2.1"]
    );
    assert_eq!(difference(&wanted, &observed), Difference::default());
}

#[test]
fn what_was_left_half_made_goes_first() {
    let mut observed = switch();
    observed.links.insert(link(UNFINISHED), Link::new(50, LinkKind::Bridge { vlan_filtering: false }));
    let wanted = desired(Form::Traditional, [(77, segment(&[]))]);
    assert_eq!(steps(&settle(&wanted, &mut observed))[0], "remove link sl-unfinished");
}

#[test]
fn another_underlay_address_makes_the_tunnels_anew() {
    let mut wanted = desired(Form::Traditional, [(77, segment(&[port("swp1")]))]);
    let mut observed = switch();
    settle(&wanted, &mut observed);
    wanted.vtep = vtep(101);
    let renewed = steps(&settle(&wanted, &mut observed));
    assert_eq!(renewed[..2], ["remove link slvx77", "create VXLAN link slvx77 with VNI 77"]);
    assert!(!renewed.iter().any(|step| step.contains("swp1")), "{renewed:?}");
}

fn some_member() -> impl Strategy<Value = Member> {
    let port = prop::sample::select(vec!["swp1", "swp2", "swp3", "swp4", "swp9", "br0", "vlan20", "swp1.10"]);
    let tag = prop::option::of(prop::sample::select(vec![10, 20]));
    (port, tag).prop_map(|(port, tag)| Member { port: link(port), vlan: tag.map(vlan) })
}

fn some_vtep() -> impl Strategy<Value = IpAddr> {
    prop_oneof![8 => (1u8..4).prop_map(vtep), 1 => Just(vtep(100)), 1 => Just(ip("2001:db8::1"))]
}

fn some_segment() -> impl Strategy<Value = Segment> {
    let remote = (some_vtep(), any::<bool>()).prop_map(|(vtep, overrule)| Remote { vtep, overrule });
    (
        prop::option::weighted(0.8, prop::sample::select(vec![10, 20])),
        prop::sample::select(vec![1450u16, 8950]),
        btree_set(some_member(), 0..4),
        btree_set(some_vtep(), 0..4),
        btree_map((1u8..5).prop_map(mac), remote, 0..4),
        btree_map((1u8..5).prop_map(|last| IpAddr::from([10, 77, 0, last])), (1u8..5).prop_map(mac), 0..3),
    )
        .prop_map(|(tag, mtu, members, flood, remotes, neighbours)| Segment {
            vlan: tag.map(vlan),
            mtu,
            members,
            flood,
            remotes,
            neighbours,
        })
}

fn some_desired() -> impl Strategy<Value = Desired> {
    let form = prop_oneof![3 => Just(Form::Traditional), 2 => Just(vlan_aware()), 1 => Just(sonic())];
    let numbers = prop::sample::select(vec![1, 2, 9]).prop_map(vni);
    let networks = btree_map(numbers, some_segment(), 0..4);
    (form, prop_oneof![4 => Just(vtep(100)), 1 => Just(vtep(101))], networks)
        .prop_map(|(form, vtep, networks)| Desired { form, vtep, networks })
}

/// What others, or an agent that was killed half-way, may have done.
fn some_disturbance() -> impl Strategy<Value = Change> {
    let names = || {
        prop::sample::select(vec![
            "slbr1", "slbr2", "slbr", "slvx1", "slvx2", "swp1", "swp2", "swp4", "swp1.10", "swp1.20",
            "slbr.10", "br0", UNFINISHED,
        ])
        .prop_map(link)
    };
    let alias =
        || prop::sample::select(vec!["sluice network 1", "sluice network bridge"]).prop_map(str::to_owned);
    let tag = || prop::sample::select(vec![10, 20]).prop_map(vlan);
    let key = || prop::option::of(tag());
    prop_oneof![
        (names(), alias(), any::<bool>()).prop_map(|(link, alias, vlan_filtering)| Change::CreateBridge {
            link,
            alias,
            vlan_filtering
        }),
        (names(), alias(), 1u32..4, some_vtep()).prop_map(|(link, alias, vni, local)| Change::CreateVxlan {
            link,
            alias,
            vxlan: Vxlan {
                vni,
                local: Some(local),
                port: VXLAN_PORT,
                learning: false,
                zero_checksum_rx6: false
            },
            mtu: 1450,
        }),
        (names(), alias(), names(), tag()).prop_map(|(link, alias, parent, vlan)| Change::CreateVlan {
            link,
            alias,
            parent,
            vlan
        }),
        names().prop_map(|link| Change::DeleteLink { link }),
        (names(), names()).prop_map(|(link, bridge)| Change::Join { link, bridge }),
        (names(), names()).prop_map(|(link, bridge)| Change::Leave { link, bridge }),
        (names(), any::<bool>(), any::<bool>()).prop_map(|(link, learning, suppress)| Change::SetPort {
            link,
            settings: PortSettings { learning, neigh_suppress: Some(suppress) },
        }),
        (names(), tag(), any::<bool>(), any::<bool>()).prop_map(|(link, vlan, pvid, untagged)| {
            Change::AddVlan { link, vlan, membership: VlanMembership { pvid, untagged } }
        }),
        (names(), tag()).prop_map(|(link, vlan)| Change::RemoveVlan { link, vlan }),
        (names(), some_vtep()).prop_map(|(vxlan, vtep)| Change::AddFlood { vxlan, vtep }),
        (names(), some_vtep()).prop_map(|(vxlan, vtep)| Change::RemoveFlood { vxlan, vtep }),
        (names(), 0u8..5, key(), some_vtep()).prop_map(|(vxlan, last, vlan, vtep)| Change::SetRemote {
            vxlan,
            mac: mac(last),
            vlan,
            vtep
        }),
        (names(), 1u8..5, key()).prop_map(|(vxlan, last, vlan)| Change::RemoveBridgeEntry {
            vxlan,
            mac: mac(last),
            vlan
        }),
        (names(), 1u8..5, 1u8..5).prop_map(|(link, address, last)| Change::SetNeighbour {
            link,
            address: IpAddr::from([10, 77, 0, address]),
            mac: mac(last),
        }),
    ]
}

/// A MAC seen on a port.
fn some_sighting() -> impl Strategy<Value = (LinkName, u8, Option<u16>)> {
    let ports = prop::sample::select(vec!["swp1", "swp2", "swp1.10", "swp4"]).prop_map(link);
    (ports, 1u8..5, prop::option::of(prop::sample::select(vec![10, 20])))
}

fn disturb(
    observed: &mut Observed,
    disturbances: &[Change],
    sightings: &[(LinkName, u8, Option<u16>)],
    extra: &[(u8, u8)],
) {
    for change in disturbances {
        // Sluice's own alias on a stranger's name is what an operator must not do.
        let _ = observed.apply(change);
    }
    for (port, last, tag) in sightings {
        let Some(bridge) = observed.links.get(port).and_then(|port| port.master.clone()) else { continue };
        let vlan_filtering = observed.links[&bridge].kind == LinkKind::Bridge { vlan_filtering: true };
        let key = (mac(*last), tag.filter(|_| vlan_filtering).map(vlan));
        let entry = BridgeEntry { port: port.clone(), learned: Learned::FromPackets, offloaded: false };
        observed.bridge_entries.entry(bridge).or_default().insert(key, entry);
    }
    // Second destinations of one MAC, which only NLM_F_APPEND by hand makes.
    let names: Vec<LinkName> = observed.vxlan_links().map(|(name, _)| name.clone()).collect();
    for (last, to) in extra {
        for name in &names {
            let table = observed.vtep_entries.entry(name.clone()).or_default();
            if let Some(vteps) = table.get_mut(&mac(*last)) {
                vteps.insert(vtep(*to), VtepEntry::default());
            }
        }
    }
}

/// The entries of a network's tunnel that are both there and wanted.
fn right_entries(desired: &Desired, observed: &Observed) -> BTreeSet<(LinkName, MacAddr, IpAddr)> {
    let mut right = BTreeSet::new();
    for (&vni, segment) in &desired.networks {
        let Some(vxlan) = desired.form.vxlan(vni) else { continue };
        let floods = segment.flood.iter().map(|&vtep| (FLOOD, vtep));
        let remotes = segment.remotes.iter().map(|(&mac, remote)| (mac, remote.vtep));
        // What goes to this switch itself, or to the other family, carries nothing.
        let carries =
            |(_, vtep): &(MacAddr, IpAddr)| *vtep != desired.vtep && vtep.is_ipv4() == desired.vtep.is_ipv4();
        for (mac, vtep) in floods.chain(remotes).filter(carries) {
            let vteps = observed.vtep_entries.get(&vxlan).and_then(|table| table.get(&mac));
            // More destinations than one are not what any change of ours makes: which of them a replacement
            // changes is the kernel's choice.
            if vteps.is_some_and(|vteps| vteps.contains_key(&vtep) && (mac == FLOOD || vteps.len() == 1)) {
                right.insert((vxlan.clone(), mac, vtep));
            }
        }
    }
    right
}

/// Asserts, without the code under test, that what can be is.
fn assert_reached(desired: &Desired, after: &Observed, difference: &Difference) {
    let refused = |vni: Vni| {
        difference.refusals.iter().any(|refusal| {
            refusal.vni() == vni
                && refusal.member().is_none()
                && !matches!(refusal, Refusal::OtherFamily { .. })
        })
    };
    for (&vni, segment) in desired.networks.iter().filter(|(vni, _)| !refused(**vni)) {
        let bridge = desired.form.bridge(vni);
        let name = desired.form.vxlan(vni).unwrap_or_else(|| link("vtep1-10"));
        let vxlan = &after.links[&name];
        assert_eq!(vxlan.master.as_ref(), Some(&bridge));
        let LinkKind::Vxlan(settings) = &vxlan.kind else { panic!("{name} is {:?}", vxlan.kind) };
        assert_eq!(settings.vni, vni.get());
        let reachable = |vtep: &IpAddr| *vtep != desired.vtep && vtep.is_ipv4();
        let flood: BTreeSet<IpAddr> = segment.flood.iter().copied().filter(reachable).collect();
        let mut table: BTreeMap<_, BTreeSet<IpAddr>> = after
            .vtep_entries
            .get(&name)
            .into_iter()
            .flatten()
            .map(|(mac, vteps)| (*mac, vteps.keys().copied().collect()))
            .collect();
        assert_eq!(table.remove(&FLOOD).unwrap_or_default(), flood);
        let key = |mac: MacAddr| (mac, segment.vlan.filter(|_| desired.form.has_vlans()));
        let entries = after.bridge_entries.get(&bridge).cloned().unwrap_or_default();
        for (&mac, remote) in segment.remotes.iter().filter(|(_, remote)| reachable(&remote.vtep)) {
            if difference.contested.iter().any(|contested| contested.vni == vni && contested.mac == mac) {
                table.remove(&mac);
                continue;
            }
            assert_eq!(table.remove(&mac), Some([remote.vtep].into()), "{mac}");
            assert_eq!(entries[&key(mac)].port, name);
        }
        assert!(table.is_empty(), "left over: {table:?}");
        for ((mac, _), entry) in &entries {
            assert!(entry.port != name || segment.remotes.contains_key(mac), "left over: {mac} {entry:?}");
        }
        if desired.form == sonic() {
            continue;
        }
        assert_eq!(settings.local, Some(desired.vtep));
        assert!(vxlan.is_ours() && vxlan.up && after.links[&bridge].up && after.links[&bridge].is_ours());
        assert_eq!(
            vxlan.port,
            Some(PortSettings { learning: false, neigh_suppress: Some(true) }),
            "no learning behind tunnels"
        );
        assert_eq!(vxlan.mtu, u32::from(segment.mtu));
        let neighbours = &desired.form.neighbour_link(vni, segment.vlan).unwrap();
        let kept = after.neighbours.get(neighbours).into_iter().flatten();
        let kept: BTreeMap<IpAddr, MacAddr> = kept.map(|(address, entry)| (*address, entry.mac)).collect();
        assert_eq!(kept, segment.neighbours);
        for member in &segment.members {
            if difference
                .refusals
                .iter()
                .any(|refusal| refusal.vni() == vni && refusal.member() == Some(member))
            {
                continue;
            }
            let joined = if desired.form.has_vlans() { member.port.clone() } else { member.link().unwrap() };
            let joined = &after.links[&joined];
            assert_eq!(joined.master.as_ref(), Some(&bridge), "{member}");
            assert!(joined.up && joined.port.unwrap().learning);
            if desired.form.has_vlans() {
                let untagged = member.vlan.is_none();
                let wanted = VlanMembership { pvid: untagged, untagged };
                assert_eq!(joined.vlans.get(&segment.vlan.unwrap()), Some(&wanted));
            }
        }
    }
    // Nothing of ours is there but what a network needs, and nobody else is in a bridge of ours.
    for (name, observed) in &after.links {
        let of_a_network = |vni: &Vni| {
            let segment = &desired.networks[vni];
            *name == desired.form.bridge(*vni)
                || desired.form.vxlan(*vni).as_ref() == Some(name)
                || desired.form.neighbour_link(*vni, segment.vlan).as_ref() == Some(name)
                || segment.members.iter().any(|member| member.link().as_ref() == Ok(name))
        };
        let in_ours =
            observed.master.as_ref().is_some_and(|master| after.links.get(master).unwrap().is_ours());
        if observed.is_ours() {
            assert!(desired.networks.keys().any(of_a_network), "{name} is left over");
        } else if in_ours {
            let members = desired.networks.values().flat_map(|segment| &segment.members);
            assert!(
                members.into_iter().any(|member| member.port == *name || member.link().as_ref() == Ok(name))
            );
        }
    }
}

/// Asserts that strangers' links are as they were.
fn assert_untouched(desired: &Desired, before: &Observed, after: &Observed) {
    let members: BTreeSet<LinkName> = desired
        .networks
        .values()
        .flat_map(|segment| &segment.members)
        .map(|member| member.port.clone())
        .collect();
    for (name, was) in before.links.iter().filter(|(name, was)| !was.is_ours() && name.as_str() != UNFINISHED)
    {
        let carried_by_ours = |kind: &LinkKind| match kind {
            LinkKind::Vlan { parent: Some(parent), .. } => before.links[parent].is_ours(),
            _ => false,
        };
        if carried_by_ours(&was.kind) {
            continue;
        }
        let is = after.links.get(name).unwrap_or_else(|| panic!("{name} is gone"));
        let was_ours = was.master.as_ref().is_some_and(|master| before.links[master].is_ours());
        if !was_ours && !members.contains(name) {
            assert_eq!(is, was, "{name}");
        }
        if was.master.is_some() && !was_ours {
            assert_eq!(is.master, was.master, "{name} was taken from a stranger");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn from_any_state_the_difference_leads_to_what_is_desired(
        earlier in some_desired(),
        wanted in some_desired(),
        disturbances in vec(some_disturbance(), 0..10),
        sightings in vec(some_sighting(), 0..4),
        extra in vec((1u8..5, 1u8..4), 0..2),
        killed_after in 0usize..40,
    ) {
        let mut observed = switch();
        for change in difference(&earlier, &observed).changes.iter().take(killed_after) {
            observed.apply(change).unwrap();
        }
        disturb(&mut observed, &disturbances, &sightings, &extra);
        let before = observed.clone();

        let made = difference(&wanted, &observed);
        // What carries traffic rightly goes on doing so through every step, unless its tunnel has to be made anew.
        let mut right = right_entries(&wanted, &observed);
        for change in &made.changes {
            if let Err(error) = observed.apply(change) {
                prop_assert!(false, "{error}: {:#?}", steps(&made));
            }
            if let Change::DeleteLink { link } = change {
                right.retain(|(vxlan, ..)| vxlan != link);
            }
            for (vxlan, mac, vtep) in &right {
                let vteps = &observed.vtep_entries.get(vxlan).and_then(|table| table.get(mac));
                prop_assert!(vteps.is_some_and(|vteps| vteps.contains_key(vtep)), "{mac} {vtep}: {change}");
            }
        }
        assert_reached(&wanted, &observed, &made);
        assert_untouched(&wanted, &before, &observed);
        let again = difference(&wanted, &observed);
        prop_assert!(again.changes.is_empty(), "{:#?} after {:#?}", steps(&again), steps(&made));
        // A port may be refused for another reason once what was in the way is gone, but not for none.
        let refused = |of: &Difference| -> BTreeSet<(Vni, Option<Member>)> {
            of.refusals.iter().map(|refusal| (refusal.vni(), refusal.member().cloned())).collect()
        };
        prop_assert_eq!(refused(&again), refused(&made));
    }
}
