//! The applications on a real Open vSwitch, with real hosts.
//!
//! Skipped, with the reason printed, where this is not root or something is not installed.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod datagrams;
mod lab;
mod one_switch;
#[path = "../apps_firewall/rules.rs"]
mod rules;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::{Lab, Pinging};
use ofctl::client::controller::{Controller, Options};
use ofctl::kit::apps::{Member, RoutingSwitch, SliceableSwitch, SwitchPort};
use ofctl::kit::{Application, DatapathId};
use ofctl::wire::OfPort;

/// Waits until `look` is content with the application.
async fn until<A: Application + Send + 'static>(
    controller: &Controller<A>,
    what: &str,
    look: impl Fn(&A) -> bool + Clone + Send + 'static,
) {
    for _ in 0..400 {
        if controller.inspect(look.clone()).await.unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("waited in vain: {what}");
}

/// Five switches in a ring, port 2 of each to port 3 of the next, and a host 10.0.0.i on port 1 of each.
fn ring(lab: &mut Lab) -> Vec<usize> {
    (1..=5).for_each(|n| lab.bridge(n));
    (1..=5).for_each(|n| lab.link((n, 2), (n % 5 + 1, 3)));
    (1..=5).map(|n| lab.host(n, 1, &[&format!("10.0.0.{n}/24")])).collect()
}

fn address(host: usize) -> String {
    format!("10.0.0.{}", host + 1)
}

#[tokio::test]
async fn a_ring_of_five_switches_routes_and_heals() {
    let Some(mut lab) = Lab::start() else { return };
    let hosts = ring(&mut lab);
    let controller = Controller::start(RoutingSwitch::default(), Options::default());
    for n in 1..=5 {
        controller.connect(lab.target(n)).await.unwrap();
    }
    until(&controller, "ten links, one for each direction, and five edge ports", |routing| {
        let topology = routing.paths().topology();
        topology.links().count() == 10 && topology.edge_ports().count() == 5
    })
    .await;
    let lab = std::sync::Arc::new(lab);
    let reaches = |from: usize, to: usize| {
        let lab = lab.clone();
        tokio::task::spawn_blocking(move || lab.reaches(from, &address(to)))
    };
    for to in &hosts[1..] {
        assert!(reaches(hosts[0], *to).await.unwrap(), "host 1 does not reach host {}", to + 1);
    }
    assert_eq!(controller.inspect(|routing| routing.hosts().count()).await.unwrap(), 5);

    // Host 1 pings host 2, one link away; the link goes, and comes back.
    let mut longest = Duration::ZERO;
    for (bridge, port, what) in
        [(1, 2, "the port of the first switch"), (2, 3, "the port of the second switch")]
    {
        let pinging = Pinging::start(lab.at(0), &address(1), 400);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        lab.set_port(bridge, port, false);
        let answers = tokio::task::spawn_blocking(|| pinging.finish()).await.unwrap();
        let back = answers.times.iter().find(|time| **time > begun + 0.001).expect("pings come back");
        println!(
            "{what} down: {} of 400 pings answered, longest time without an answer {:.0} ms (one ping each 10 ms), \
             the next answer {:.0} ms after the command began",
            answers.count,
            answers.longest.as_secs_f64() * 1e3,
            (back - begun) * 1e3,
        );
        longest = longest.max(answers.longest);
        assert!(answers.longest < Duration::from_secs(1), "{:?} without an answer", answers.longest);
        let path = |routing: &RoutingSwitch| {
            let mac = |n: u8| ofctl::MacAddr([2, 0, 0, 0, n, 1]);
            let path = routing.path(mac(1), mac(2))?;
            Some(routing.paths().links(path)?.len())
        };
        assert_eq!(controller.inspect(path).await.unwrap(), Some(4), "round the other side");
        lab.set_port(bridge, port, true);
        until(&controller, "the link is back", |routing| routing.paths().topology().links().count() == 10)
            .await;
        until(&controller, "the short way is taken again", move |routing| path(routing) == Some(1)).await;
    }
    println!("longest gap of all: {:.0} ms", longest.as_secs_f64() * 1e3);

    // Two links gone: the ring falls apart, and nobody reaches over the gap.
    lab.set_port(1, 2, false);
    lab.set_port(3, 2, false);
    until(&controller, "six links", |routing| routing.paths().topology().links().count() == 6).await;
    assert!(!reaches(0, 1).await.unwrap(), "there is no way");
    assert!(reaches(0, 4).await.unwrap() && reaches(1, 2).await.unwrap(), "each part is whole");
    controller.stop().await.unwrap();
}

#[tokio::test]
async fn slices_do_not_reach_each_other() {
    let Some(mut lab) = Lab::start() else { return };
    ring(&mut lab);
    let controller = Controller::start(SliceableSwitch::default(), Options::default());
    for (slice, n) in [("red", 1), ("red", 3), ("blue", 2), ("blue", 4)] {
        let member = Member::Port(SwitchPort::new(DatapathId(n), OfPort(1)));
        controller.command(move |switch| switch.add(slice.into(), member)).await.unwrap();
    }
    for n in 1..=5 {
        controller.connect(lab.target(n)).await.unwrap();
    }
    until(&controller, "ten links and five edge ports", |switch| {
        let topology = switch.routing().paths().topology();
        topology.links().count() == 10 && topology.edge_ports().count() == 5
    })
    .await;
    let reached = tokio::task::spawn_blocking(move || {
        let pairs = (0..5).flat_map(|from| (0..5).map(move |to| (from, to))).filter(|(from, to)| from != to);
        // The neighbour's address is known, so that what is tried is not only the question for it.
        for (from, to) in pairs.clone() {
            let mac = format!("02:00:00:00:{:02x}:01", to + 1);
            lab.at(from)
                .ip(&format!("neighbour replace {} lladdr {mac} dev eth0 nud permanent", address(to)));
        }
        let reached: Vec<_> = pairs.filter(|(from, to)| lab.reaches(*from, &address(*to))).collect();
        (lab, reached)
    });
    let (lab, reached) = reached.await.unwrap();
    assert_eq!(reached, [(0, 2), (1, 3), (2, 0), (3, 1)]);

    // Host 5 joins the red ones, and host 3 leaves them.
    let port = |n| Member::Port(SwitchPort::new(DatapathId(n), OfPort(1)));
    controller.command(move |switch| switch.add("red".into(), port(5))).await.unwrap();
    controller.command(move |switch| switch.remove(&"red".into(), port(3))).await.unwrap();
    let reached = tokio::task::spawn_blocking(move || {
        [(0, 4), (4, 0), (0, 2), (2, 0), (1, 3)].map(|(from, to)| lab.reaches(from, &address(to)))
    });
    assert_eq!(reached.await.unwrap(), [true, true, false, false, true]);
    controller.stop().await.unwrap();
}
