//! The kit's applications on a real Open vSwitch with real hosts in network namespaces.
//!
//! Skipped, with the reason printed, where this is not root or a tool is not installed.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use std::time::Duration;

use lab::{Host, Lab};
use ofctl::client::controller::{Controller, Options};
use ofctl::kit::apps::{Hub, LearningSwitch};
use ofctl::kit::{Application, DatapathId, Effects, Event};
use ofctl::wire::OfPort;

/// An application, and how many packets it was asked about.
struct Counted<A> {
    application: A,
    packets: usize,
    errors: Vec<String>,
}

impl<A: Application> Application for Counted<A> {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<A::Notice> {
        self.packets += usize::from(matches!(event, Event::PacketIn(..)));
        if let Event::Error(switch, error) = event {
            self.errors.push(format!("{switch}: {}", error.error));
        }
        self.application.handle(now, event)
    }
}

/// A bridge with hosts 10.0.0.1 and so on at its ports 1 to `n`, run by an application.
struct Star<A: Application> {
    controller: Controller<Counted<A>>,
    hosts: Vec<Host>,
    lab: Lab,
}

impl<A: Application<Notice: Send> + Send + 'static> Star<A> {
    async fn start(application: A, n: u32) -> Option<Self> {
        let mut lab = Lab::start()?;
        let target = lab.bridge("br0", 1);
        let hosts = (1..=n).map(|port| lab.host("br0", port, &format!("10.0.0.{port}/24"))).collect();
        let counted = Counted { application, packets: 0, errors: Vec::new() };
        let controller = Controller::start(counted, Options::default());
        controller.connect(target).await.unwrap();
        wait_for_switch(&controller).await;
        Some(Star { controller, hosts, lab })
    }

    /// Pings between all hosts for which `allowed` says so, and no others.
    async fn check(&self, allowed: impl Fn(usize, usize) -> bool) {
        for from in 1..=self.hosts.len() {
            for to in (1..=self.hosts.len()).filter(|to| *to != from) {
                let host = &self.hosts[from - 1];
                let address = format!("10.0.0.{to}");
                // The controller goes on meanwhile on another thread.
                if allowed(from, to) {
                    let pings = tokio::task::block_in_place(|| host.pings(&address));
                    assert!(pings, "{from} to {to}: {}", self.lab.ofctl("dump-flows", "br0", ""));
                } else {
                    let cut_off = tokio::task::block_in_place(|| host.is_cut_off_from(&address));
                    assert!(cut_off, "{from} to {to}: {}", self.lab.ofctl("dump-flows", "br0", ""));
                }
            }
        }
    }

    async fn packets(&self) -> usize {
        self.controller.inspect(|counted| counted.packets).await.unwrap()
    }

    async fn stop(self) -> A {
        let counted = self.controller.stop().await.unwrap();
        assert!(counted.errors.is_empty(), "{:?}", counted.errors);
        counted.application
    }
}

async fn wait_for_switch<A: Application + Send + 'static>(controller: &Controller<A>) {
    let connected = async {
        while controller.switches().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What the application says first is carried out.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::time::timeout(Duration::from_secs(20), connected)
        .await
        .expect("the bridge should be there by now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_on_a_hub_reach_each_other() {
    let Some(star) = Star::start(Hub, 3).await else { return };
    star.check(|_, _| true).await;
    // Each packet of each ping came by here: two ways, at least a request and an answer.
    assert!(star.packets().await >= 6 * 3 * 2);
    star.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_on_a_learning_switch_reach_each_other_and_soon_without_the_controller() {
    let Some(star) = Star::start(LearningSwitch::default(), 3).await else { return };
    star.check(|_, _| true).await;
    let learned = star.packets().await;
    let flows = star.lab.ofctl("dump-flows", "br0", "--no-stats");
    // ARP of a host at once to another is answered by unicast: one flow for each direction of three pairs.
    assert_eq!(flows.lines().filter(|line| line.contains("dl_dst")).count(), 6, "{flows}");
    let pings = tokio::task::block_in_place(|| star.hosts[0].run("ping -n -q -c 20 -i 0.01 10.0.0.2"));
    assert!(pings.contains(" 0% packet loss"), "{pings}");
    assert!(star.packets().await <= learned + 1, "flows carry what is known");
    let learning = star.stop().await;
    let port = learning.port_of(DatapathId(1), "02:00:00:00:02:02".parse().unwrap());
    assert_eq!(port, Some(OfPort(2)));
}
