//! The flows that the agents of a lab really programmed, in the simulator: random packets fare there as
//! `ovs-appctl ofproto/trace` says of the live bridges.

mod bridge;
#[path = "../../../ofctl/tests/support/datapath.rs"]
mod datapath;
mod packets;

use std::net::IpAddr;

use bridge::{Bridge, Kind};
use ofctl::wire::OfPort;
use packets::{Packets, Random, Resident};

use crate::lab::{PATIENCE, Plan, eventually};
use crate::networks::{dual_stack, endpoint, on_every_host};

const PACKETS: usize = 500;

/// Where a frame leaves: by a port, and from a tunnel's port with this key to this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Exit {
    port: OfPort,
    tunnel: Option<(u64, IpAddr)>,
}

/// Networks of all kinds that leave a host, all with the same subnets, so that only the pipeline keeps them apart.
const ENCAPSULATIONS: [&str; 4] = ["vxlan", "geneve", "gre", "vlan"];

#[test]
fn the_pipeline_fares_in_the_simulator_as_on_the_bridges() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let mut made = Vec::new();
    for (network, encapsulation) in ENCAPSULATIONS.into_iter().enumerate() {
        let on_hosts = on_every_host(&lab, &dual_stack(encapsulation, encapsulation));
        let [first, beside, across] = [1, 1, 2].map(|host| endpoint(&lab, host, &on_hosts));
        for (from, to) in [(&first, &across), (&across, &first)] {
            for address in to.addresses() {
                eventually("the hosts reach each other", PATIENCE, || from.ping(address, 1));
            }
        }
        made.extend([(network, 1, first), (network, 1, beside), (network, 2, across)]);
    }
    let bridges = [Bridge::of(lab.host(1)), Bridge::of(lab.host(2))];
    let residents: Vec<Resident> = made
        .into_iter()
        .map(|(network, host, endpoint)| {
            let port = bridges[host - 1].endpoint(&endpoint);
            Resident { network, host, port, endpoint }
        })
        .collect();

    let mut random = Random(3);
    let (mut differences, mut exits) = (Vec::new(), Vec::new());
    for number in [1, 2] {
        let bridge = &bridges[number - 1];
        let ends = [number, 3 - number].map(|n| lab.host(n).underlay().parse().expect("an address"));
        let packets = Packets::new(number, &residents, bridge, ends.into());
        for _ in 0..PACKETS / 2 {
            let packet = packets.draw(&mut random);
            let (ours, way) = bridge.simulate(&packet);
            let (theirs, trace) = bridge.trace(&packet);
            if ours != theirs {
                differences.push(format!("{packet}\nwe {ours:?}, they {theirs:?}\n{way}\n----\n{trace}"));
            }
            exits.push(theirs);
        }
    }
    let differing = differences.len();
    let first: String = differences.into_iter().take(2).map(|text| format!("\n======== {text}")).collect();
    assert_eq!(differing, 0, "of {PACKETS} packets these many fare otherwise; the first:{first}");

    // What only dropped, or only went one way, would show little.
    let trunks = bridges.map(|bridge| bridge.ports(Kind::Trunk));
    let is_trunk = |exit: &Exit| trunks.iter().flatten().any(|trunk| *trunk == exit.port);
    let count = |wanted: &dyn Fn(&[Exit]) -> bool| exits.iter().filter(|exits| wanted(exits)).count();
    let dropped = count(&|exits| exits.is_empty());
    let tunnelled = count(&|exits| exits.iter().any(|exit| exit.tunnel.is_some()));
    let trunked = count(&|exits| exits.iter().any(is_trunk));
    let delivered = count(&|exits| exits.iter().any(|exit| exit.tunnel.is_none() && !is_trunk(exit)));
    let copied = count(&|exits| exits.len() > 1);
    eprintln!(
        "{PACKETS} packets fare alike: {dropped} dropped, {delivered} to endpoints, {tunnelled} into tunnels, \
         {trunked} into the trunk; {copied} in several copies"
    );
    let least = [dropped, delivered, tunnelled, trunked, copied].into_iter().min();
    assert!(least >= Some(25), "too few of some kind to show anything");
}
