//! What is not ours, what is half ours, and what this kernel cannot do.

use sluice::linux::{Change, Form, Refusal, UNFINISHED, difference};

use crate::switch::*;

#[test]
fn strangers_are_left_as_they_are() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    for command in [
        "link add br0 type bridge",
        "link add swp1 type veth peer name other1",
        "link add swp2 type veth peer name other2",
        "link add swp3 type veth peer name other3",
        "link set swp1 master br0 up",
        "link add vxlan78 type vxlan id 78 local 192.0.2.100 dstport 4789 nolearning",
        "link add slbr79 type bridge",
        "address add 198.51.100.1/24 dev swp3",
        "link set br0 up",
    ] {
        switch.ip(command);
    }
    switch.bridge("fdb append 00:00:00:00:00:00 dev vxlan78 dst 192.0.2.7 self permanent");
    let everything = || {
        let links: serde_json::Value = serde_json::from_str(&switch.ip("-d -j link show")).unwrap();
        let strangers = links.as_array().unwrap().iter().filter(|link| {
            ["br0", "swp1", "swp3", "vxlan78", "slbr79"].contains(&link["ifname"].as_str().unwrap())
        });
        let mut strangers: Vec<serde_json::Value> = strangers.cloned().collect();
        for link in &mut strangers {
            // The bridge's timers run on.
            if let Some(info) = link.pointer_mut("/linkinfo/info_data").and_then(|info| info.as_object_mut())
            {
                info.retain(|key, _| !key.ends_with("_timer"));
            }
            if let Some(info) =
                link.pointer_mut("/linkinfo/info_slave_data").and_then(|info| info.as_object_mut())
            {
                info.retain(|key, _| !key.ends_with("_timer"));
            }
        }
        (strangers, switch.bridge("fdb show dev vxlan78"))
    };
    let before = everything();
    let members = [port("swp1"), port("swp2"), port("swp3")];
    let desired = switch.desired([(77, segment(&members)), (78, segment(&[])), (79, segment(&[]))]);
    let made = switch.settle(&desired);
    let refused: Vec<String> = made.refusals.iter().map(Refusal::to_string).collect();
    for part in [
        "swp1 is a port of br0, which sluice did not make: take it out (ip link set swp1 nomaster)",
        "port swp3 cannot join network 77: it has the address 198.51.100.1",
        "vxlan78, which sluice did not make, has its VNI: remove that link (ip link del vxlan78)",
        "network 79 needs the name slbr79",
    ] {
        assert!(refused.iter().any(|refusal| refusal.contains(part)), "{part}: {refused:#?}");
    }
    assert_eq!(refused.len(), 4);
    assert!(switch.ip("link show swp2").contains("master slbr77"));
    switch.settle(&switch.desired([]));
    assert_eq!(everything(), before);
    assert!(!switch.ip("link show").contains("slbr77"));
}

#[test]
fn what_a_killed_agent_left_is_finished() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    for index in 1..=2 {
        switch.ip(&format!("link add swp{index} type veth peer name other{index}"));
    }
    let remotes = [(mac(1), ip("192.0.2.1")), (mac(2), ip("192.0.2.2"))];
    let second = if has_vlan_links() { tagged("swp2", 20) } else { port("swp2") };
    let wanted = switch.desired([(77, with_remotes(segment(&[port("swp1"), second]), &remotes))]);
    let all = difference(&wanted, &switch.observe()).changes;
    assert!(all.len() >= 12);
    for killed_after in 0..=all.len() {
        let applied = run(switch.kernel.apply(all[..killed_after].to_vec()));
        assert!(applied.failures.is_empty(), "{:#?}", applied.failures);
        // Between the two steps of a creation.
        switch.ip(&format!("link add {UNFINISHED} type bridge"));
        switch.settle(&wanted);
        switch.settle(&switch.desired([]));
        assert!(!switch.ip("link show").contains("sl"), "{}", switch.ip("link show"));
    }
}

#[test]
fn a_link_that_is_not_ours_any_more_is_not_removed() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    switch.ip("link add slbr77 type bridge");
    let applied = run(switch.kernel.apply(vec![Change::DeleteLink { link: link("slbr77") }]));
    let said = applied.failures[0].to_string();
    assert!(
        said.contains("cannot remove link slbr77") && said.contains("not one that sluice made"),
        "{said}"
    );
    assert!(switch.ip("link show").contains("slbr77"));
    // A change of a link that is gone names the link.
    let up = Change::SetUp { link: link("slvx9") };
    let said = run(switch.kernel.apply(vec![up])).failures[0].to_string();
    assert!(said.contains("cannot set slvx9 up: there is no link slvx9"), "{said}");
}

#[test]
fn a_name_that_is_taken_meanwhile_leaves_nothing_half_made() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    let wanted = switch.desired([(77, with_remotes(segment(&[]), &[(mac(1), ip("192.0.2.1"))]))]);
    let changes = difference(&wanted, &switch.observe()).changes;
    let all = changes.len();
    switch.ip("link add slbr77 type veth peer name other");
    let applied = run(switch.kernel.apply(changes));
    let said: Vec<String> = applied.failures.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("cannot create bridge slbr77") && said[0].contains("see 'ip link'"), "{said:?}");
    // The tunnel is made and all else left out, since it cannot join the bridge.
    assert_eq!(applied.left_out, all - 2);
    let links = switch.ip("link show");
    assert!(!links.contains(UNFINISHED) && links.contains("slvx77"), "{links}");
    switch.settle(&switch.desired([]));
    assert!(!switch.ip("link show").contains("slvx77"));
}

/// Whether this kernel's bridges keep VLANs apart.
fn has_vlan_filtering() -> bool {
    let switch = Switch::alone();
    switch.ns.exec("ip link add b type bridge vlan_filtering 1".split(' ').collect::<Vec<_>>()).success
}

#[test]
fn a_bridge_with_vlans_works_or_says_what_the_kernel_lacks() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    for index in 1..=2 {
        switch.ip(&format!("link add swp{index} type veth peer name other{index}"));
    }
    let mut part = with_remotes(segment(&[port("swp1"), tagged("swp2", 20)]), &[(mac(1), ip("192.0.2.1"))]);
    part.vlan = Some(vlan(20));
    part.neighbours = [(ip("10.77.0.1"), mac(1))].into();
    let mut wanted = switch.desired([(77, part)]);
    wanted.form = Form::VlanAware { bridge: link("slbr") };
    if has_vlan_filtering() {
        switch.settle(&wanted);
        let vlans = switch.bridge("vlan show");
        assert!(vlans.contains("slvx77") && !vlans.contains("1 PVID"), "{vlans}");
        wanted.networks.clear();
        switch.settle(&wanted);
        return;
    }
    println!("this kernel has no VLAN filtering: only its refusal is tested");
    let changes = difference(&wanted, &switch.observe()).changes;
    let all = changes.len();
    let applied = run(switch.kernel.apply(changes));
    let said: Vec<String> = applied.failures.iter().map(ToString::to_string).collect();
    assert!(
        said[0].contains("cannot create bridge slbr")
            && said[0].contains("CONFIG_BRIDGE_VLAN_FILTERING")
            && said[0].contains("use the traditional form"),
        "{said:#?}"
    );
    assert_eq!((said.len(), applied.left_out), (1, all - 2), "{said:#?}");
    switch.settle(&switch.desired([]));
    assert!(!switch.ip("link show").contains("sl"), "{}", switch.ip("link show"));
}

#[test]
fn on_sonic_only_the_tables_of_its_own_links_are_written() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    let filtering = has_vlan_filtering();
    if filtering {
        switch.ip("link add Bridge type bridge vlan_filtering 1 vlan_default_pvid 0");
    } else {
        switch.ip("link add Bridge type bridge");
    }
    for command in [
        "link add vtep1-100 type vxlan id 77 local 192.0.2.100 dstport 4789 nolearning",
        "link set vtep1-100 master Bridge",
        "link set Bridge up",
        "link set vtep1-100 up",
    ] {
        switch.ip(command);
    }
    let vlan_links = has_vlan_links();
    if vlan_links {
        switch.ip("link add link Bridge name Vlan100 up type vlan id 100");
        switch.ip("neigh add 10.77.0.9 lladdr 02:00:00:00:00:09 dev Vlan100 nud permanent");
    }
    if filtering {
        switch.bridge("vlan add vid 100 dev vtep1-100 pvid untagged");
    }
    let links = switch.ip("-o link show");
    let mut part = segment(&[port("swp1")]);
    part.vlan = Some(vlan(100));
    part.flood = [ip("192.0.2.1"), ip("192.0.2.2")].into();
    part.neighbours = [(ip("10.77.0.1"), mac(1))].into();
    if filtering {
        part.remotes = [(mac(1), sluice::linux::Remote::new(ip("192.0.2.1")))].into();
    } else {
        println!(
            "this kernel has no VLAN filtering: SONiC's unicast entries, which name a VLAN, are not tested"
        );
    }
    let mut wanted = switch.desired([(77, part)]);
    wanted.form = Form::Sonic { bridge: link("Bridge") };
    assert_eq!(switch.settle(&wanted).refusals, []);
    let table = switch.bridge("fdb show dev vtep1-100");
    for vtep in ["192.0.2.1", "192.0.2.2"] {
        assert!(table.contains(&format!("00:00:00:00:00:00 dst {vtep} self permanent")), "{table}");
    }
    // Its static neighbours stay when ours go.
    let empty = wanted.networks.get_mut(&vni(77)).unwrap();
    (empty.flood, empty.neighbours) = Default::default();
    empty.remotes.clear();
    switch.settle(&wanted);
    if vlan_links {
        let neighbours = switch.ip("neigh show dev Vlan100");
        assert!(neighbours.contains("10.77.0.9") && !neighbours.contains("10.77.0.1 "), "{neighbours}");
    }
    assert_eq!(switch.ip("-o link show"), links);
}

#[test]
fn without_the_capability_the_error_says_which() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    let wanted = switch.desired([(77, segment(&[]))]);
    let kernel = switch.ns.run(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        sets.permitted.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        sluice::linux::Kernel::open().unwrap()
    });
    let changes = difference(&wanted, &run(kernel.observe()).unwrap()).changes;
    let said = run(kernel.apply(changes)).failures[0].to_string();
    assert!(said.contains("cannot create bridge slbr77") && said.contains("CAP_NET_ADMIN"), "{said}");
}
