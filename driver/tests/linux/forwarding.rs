//! Packets between switches.

use std::time::Duration;

use sluice::linux::{Learned, Remote, difference};

use crate::namespace::NetNs;
use crate::switch::*;

/// Two switches, each with a server on swp1, and the network 77 on both.
fn two(family: Family) -> (Wire, [Switch; 2], [Server; 2]) {
    let wire = Wire::new(family);
    let switches = [Switch::new(&wire, 1), Switch::new(&wire, 2)];
    let servers = [Server::at(&switches[0], "swp1", 11), Server::at(&switches[1], "swp1", 12)];
    for (here, there) in [(0, 1), (1, 0)] {
        let remotes = [(servers[there].mac, switches[there].vtep)];
        let desired = switches[here].desired([(77, with_remotes(segment(&[port("swp1")]), &remotes))]);
        assert_eq!(switches[here].settle(&desired).refusals, []);
    }
    (wire, switches, servers)
}

#[test]
fn two_switches_carry_a_network_over_either_family() {
    if !is_live() {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let (_wire, switches, servers) = two(family);
        servers[0].must_reach("10.77.0.12");
        servers[1].must_reach("2001:db8:77::b");
        let table = switches[0].bridge("fdb show dev slvx77");
        for part in [
            format!("00:00:00:00:00:00 dst {} self permanent", switches[1].vtep),
            format!("{} dst {} self extern_learn", servers[1].mac, switches[1].vtep),
            format!("{} extern_learn master slbr77", servers[1].mac),
        ] {
            assert!(table.contains(&part), "{part}: {table}");
        }
        // The whole MTU and not a byte more.
        let ping = |size: &str| {
            servers[0].ns.exec(["ping", "-c", "1", "-W", "3", "-M", "do", "-s", size, "10.77.0.12"])
        };
        assert!(ping("1422").success && !ping("1423").success);
        // Our links have no addresses of their own and say nothing by themselves.
        let addresses = switches[0].ip("-6 -o address show");
        assert!(!addresses.contains("slbr77") && !addresses.contains("slvx77"), "{addresses}");
    }
}

#[test]
fn a_restarted_agent_changes_nothing_and_loses_nothing() {
    if !is_live() {
        return;
    }
    let (_wire, switches, servers) = two(Family::V4);
    servers[0].must_reach("10.77.0.12");
    let vlan_links = has_vlan_links();
    let ping = |ns: &NetNs| {
        ns.exec(["ping", "-n", "-q", "-i", "0.01", "-c", "400", "-W", "5", "10.77.0.12"]).expect("ping")
    };
    let said = std::thread::scope(|scope| {
        let pinging = scope.spawn(|| ping(&servers[0].ns));
        let both = [(servers[1].mac, switches[1].vtep)];
        let mut desired = switches[0].desired([(77, with_remotes(segment(&[port("swp1")]), &both))]);
        let mut round = 0;
        while !pinging.is_finished() {
            // A new process: new sockets, and nothing remembered.
            let kernel = open(&switches[0].ns);
            let observed = run(kernel.observe()).unwrap();
            assert_eq!(steps(&difference(&desired, &observed)), Vec::<String>::new());
            // Meanwhile other things change: another VTEP, another MAC, another network.
            round += 1;
            let blue = desired.networks.get_mut(&vni(77)).unwrap();
            let other = ip("192.0.2.99");
            if round % 2 == 1 {
                blue.flood.insert(other);
                blue.remotes.insert(mac(99), Remote::new(other));
                let tagged = [tagged("swp1", 78)];
                desired.networks.insert(vni(78), segment(if vlan_links { &tagged } else { &[] }));
            } else {
                blue.flood.remove(&other);
                blue.remotes.remove(&mac(99));
                desired.networks.remove(&vni(78));
            }
            switches[0].settle(&desired);
        }
        assert!(round >= 2, "only {round} rounds in four seconds");
        pinging.join().unwrap()
    });
    assert!(said.contains("400 received, 0% packet loss"), "{said}");
}

#[test]
fn what_is_flooded_reaches_every_vtep_of_the_list_once() {
    if !is_live() {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let wire = Wire::new(family);
        let switches: Vec<Switch> = (1..=4).map(|number| Switch::new(&wire, number)).collect();
        let servers: Vec<Server> =
            switches.iter().zip(11..).map(|(switch, last)| Server::at(switch, "swp1", last)).collect();
        let mut all = Vec::new();
        for switch in &switches {
            let others = switches.iter().map(|other| other.vtep).filter(|vtep| *vtep != switch.vtep);
            let mut part = segment(&[port("swp1")]);
            part.flood = others.collect();
            let desired = switch.desired([(77, part)]);
            switch.settle(&desired);
            all.push(desired);
        }
        let entries = &switches[0].observe().vtep_entries[&link("slvx77")][&ofctl::MacAddr([0; 6])];
        assert_eq!(entries.len(), 3);
        // No MAC is known anywhere: everything goes by the flood lists, and each gets what is sent once.
        for last in 12..=14 {
            servers[0].must_reach(&format!("10.77.0.{last}"));
        }
        let heard =
            || -> Vec<u64> { switches[1..].iter().map(|switch| switch.packets("slvx77", "rx")).collect() };
        let before = heard();
        servers[0].ns.exec(["ping", "-n", "-b", "-c", "3", "-i", "0.2", "-W", "1", "10.77.0.255"]);
        eventually("three broadcasts at three switches", || {
            let grown: Vec<u64> = heard().iter().zip(&before).map(|(now, then)| now - then).collect();
            // Each hears three requests; IPv6 and ARP of the servers may add a little.
            if grown.iter().all(|grown| (3..9).contains(grown)) { Ok(()) } else { Err(format!("{grown:?}")) }
        });

        // One leaves the list: the others go on.
        let gone = switches[3].vtep;
        all[0].networks.get_mut(&vni(77)).unwrap().flood.remove(&gone);
        assert_eq!(
            steps(&switches[0].settle(&all[0])),
            [format!("remove VTEP {gone} from the flood list of slvx77")]
        );
        servers[0].must_reach("10.77.0.13");
    }
}

#[test]
fn the_bridge_answers_for_known_neighbours() {
    if !is_live() {
        return;
    }
    let (_wire, switches, servers) = two(Family::V4);
    let remotes = [(servers[1].mac, switches[1].vtep)];
    let mut part = with_remotes(segment(&[port("swp1")]), &remotes);
    part.neighbours = [(ip("10.77.0.12"), servers[1].mac), (ip("2001:db8:77::c"), servers[1].mac)].into();
    let made = switches[0].settle(&switches[0].desired([(77, part)]));
    assert_eq!(made.changes.len(), 2, "{:?}", steps(&made));
    // The server at the other end is deaf: only the bridge can answer.
    switches[1].ip("link set swp1 down");
    let knows = |address: &str| {
        servers[0].ns.exec(["ip", "neigh", "flush", "all"]);
        servers[0].ns.exec(["ping", "-c", "1", "-W", "1", address]);
        servers[0].ns.exec(["ip", "neigh", "show", address]).expect("neighbours")
    };
    for address in ["10.77.0.12", "2001:db8:77::c"] {
        let neighbour = knows(address);
        assert!(neighbour.contains(&servers[1].mac.to_string()), "{neighbour}");
    }
    // An unknown one is asked for everywhere, in vain.
    let before = switches[0].packets("slvx77", "tx");
    assert!(!knows("10.77.0.99").contains("lladdr"));
    assert!(switches[0].packets("slvx77", "tx") > before);
}

#[test]
fn neighbours_outlast_a_port_that_comes_with_a_lower_address() {
    if !is_live() {
        return;
    }
    let (_wire, switches, servers) = two(Family::V4);
    let known = |ports: &[&str]| {
        let members: Vec<_> = ports.iter().map(|name| port(name)).collect();
        let mut part = with_remotes(segment(&members), &[(servers[1].mac, switches[1].vtep)]);
        part.neighbours = [(ip("10.77.0.12"), servers[1].mac)].into();
        switches[0].desired([(77, part)])
    };
    switches[0].settle(&known(&["swp1"]));
    switches[0].ip("link add swp2 address 00:00:00:00:00:01 type veth peer name far2");
    switches[0].settle(&known(&["swp1", "swp2"]));
    let neighbours = switches[0].observe().neighbours;
    assert!(neighbours[&link("slbr77")].contains_key(&ip("10.77.0.12")), "{neighbours:?}");
}

#[test]
fn tagged_members_are_kept_apart_and_carried() {
    if !is_live() || !has_vlan_links() {
        return;
    }
    let wire = Wire::new(Family::V4);
    let switches = [Switch::new(&wire, 1), Switch::new(&wire, 2)];
    let servers = [Server::at(&switches[0], "swp1", 11), Server::at(&switches[1], "swp1", 12)];
    servers[0].tag(20);
    for (here, there, member) in [(0, 1, tagged("swp1", 20)), (1, 0, port("swp1"))] {
        let remotes = [(servers[there].mac, switches[there].vtep)];
        let desired = switches[here].desired([(77, with_remotes(segment(&[member]), &remotes))]);
        switches[here].settle(&desired);
    }
    servers[0].must_reach("10.77.0.12");
    let learned = switches[0].observe().local_macs(&sluice::linux::Form::Traditional);
    assert!(learned.iter().any(|local| local.mac == servers[0].mac && local.member == tagged("swp1", 20)));
    // Detached, the sub-interface is gone and the port itself is as it was.
    let gone = switches[0].settle(&switches[0].desired([]));
    assert_eq!(steps(&gone), ["remove link slvx77", "remove link swp1.20", "remove link slbr77"],);
    assert!(!servers[0].reaches("10.77.0.12"));
    assert!(switches[0].ip("link show swp1").contains("state UP"));
}

#[test]
fn a_host_moves_between_switches_and_traffic_follows() {
    if !is_live() {
        return;
    }
    let (_wire, switches, servers) = two(Family::V4);
    let mover = Server::at(&switches[1], "swp2", 13);
    let peer = &servers[0];
    let members = [port("swp1"), port("swp2")];
    let part = |remotes: &[_]| with_remotes(segment(&members[..]), remotes);
    let vteps = [switches[0].vtep, switches[1].vtep];
    let home = (servers[1].mac, vteps[1]);
    // At first it is at switch 2.
    let one_port = |remotes: &[_]| with_remotes(segment(&[port("swp1")]), remotes);
    switches[0].settle(&switches[0].desired([(77, one_port(&[home, (mover.mac, vteps[1])]))]));
    switches[1].settle(&switches[1].desired([(77, part(&[(peer.mac, vteps[0])]))]));
    mover.must_reach("10.77.0.11");

    // It moves to switch 1, which hears it before the store does: the port keeps it.
    mover.unplug();
    mover.plug_in(&switches[0], "swp2");
    let mut desired = switches[0].desired([(77, part(&[home, (mover.mac, vteps[1])]))]);
    switches[0].settle(&desired);
    mover.must_reach("10.77.0.11");
    let observed = switches[0].observe();
    let entry = &observed.bridge_entries[&link("slbr77")][&(mover.mac, None)];
    assert_eq!((entry.port.as_str(), entry.learned), ("swp2", Learned::FromPackets));
    let contested = difference(&desired, &observed);
    assert_eq!(contested.contested.len(), 1, "{contested:?}");
    assert!(contested.changes.is_empty(), "{:?}", steps(&contested));

    // The store has heard of it.
    desired.networks.get_mut(&vni(77)).unwrap().remotes.remove(&mover.mac);
    let heard = steps(&switches[0].settle(&desired));
    assert_eq!(heard, [format!("remove {} to VTEP {} from the table of slvx77", mover.mac, vteps[1])]);
    switches[1].settle(&switches[1].desired([(77, part(&[(peer.mac, vteps[0]), (mover.mac, vteps[0])]))]));
    servers[1].must_reach("10.77.0.13");

    // It moves back unseen by switch 1, where the port's entry would last for minutes: the store overrules it.
    mover.silence();
    let stale = &switches[0].observe().bridge_entries[&link("slbr77")][&(mover.mac, None)];
    assert_eq!(stale.port.as_str(), "swp2");
    let remote = Remote { vtep: vteps[1], overrule: true };
    desired.networks.get_mut(&vni(77)).unwrap().remotes.insert(mover.mac, remote);
    assert_eq!(
        steps(&switches[0].settle(&desired)),
        [format!("send {} by slvx77 to VTEP {}", mover.mac, vteps[1])]
    );
    mover.unplug();
    mover.plug_in(&switches[1], "swp2");
    switches[1].settle(&switches[1].desired([(77, part(&[(peer.mac, vteps[0])]))]));
    mover.must_reach("10.77.0.11");
}

#[test]
fn a_thousand_remote_macs_from_nothing() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    let mut part = segment(&[]);
    for number in 0..1000u16 {
        let [high, low] = number.to_be_bytes();
        let vtep = ip(&format!("192.0.2.{}", number % 90 + 1));
        part.flood.insert(vtep);
        part.remotes.insert(ofctl::MacAddr([2, 0, 0, 1, high, low]), Remote::new(vtep));
    }
    let desired = switch.desired([(77, part)]);
    let start = std::time::Instant::now();
    let made = switch.settle(&desired);
    let took = start.elapsed();
    println!("1000 remote MACs and 90 VTEPs: {} changes, read twice, in {took:?}", made.changes.len());
    assert!(made.changes.len() > 1090 && took < Duration::from_secs(60));
    let entries = &switch.observe().bridge_entries[&link("slbr77")];
    assert_eq!(entries.values().filter(|entry| entry.learned == Learned::Externally).count(), 1000);
    // Half of them move to another VTEP, the rest go.
    let mut moved = desired;
    let remotes = &mut moved.networks.get_mut(&vni(77)).unwrap().remotes;
    remotes.retain(|mac, _| mac.0[5] % 2 == 0);
    remotes.values_mut().for_each(|remote| remote.vtep = ip("192.0.2.95"));
    assert_eq!(switch.settle(&moved).changes.len(), 500 + 2 * 500);
}
