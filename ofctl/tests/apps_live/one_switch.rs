//! Applications on one bridge: router, firewall, traffic monitor.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::acl::{Headers, Verdict};
use ofctl::client::controller::{Controller, Options};
use ofctl::kit::apps::{Firewall, Interface, LearningSwitch, SimpleRouter, TrafficMonitor};
use ofctl::kit::{Application, DatapathId, Effects, Event};
use ofctl::wire::OfPort;

use crate::datagrams::{self, Datagram, Receiver};
use crate::lab::{Lab, Pinging};
use crate::{rules, until};

/// Counts what comes to the controller of an application.
struct Counting<A> {
    inner: A,
    packet_ins: usize,
    errors: usize,
    switches: usize,
}

impl<A> Counting<A> {
    fn new(inner: A) -> Self {
        Counting { inner, packet_ins: 0, errors: 0, switches: 0 }
    }
}

impl<A: Application> Application for Counting<A> {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<A::Notice> {
        self.packet_ins += usize::from(matches!(event, Event::PacketIn(..)));
        self.errors += usize::from(matches!(event, Event::Error(..)));
        self.switches += usize::from(matches!(event, Event::SwitchUp(..)));
        self.inner.handle(now, event)
    }
}

/// Starts an application on bridge 1 of the lab, and waits until it is connected.
async fn start<A>(lab: &Lab, application: A) -> Controller<Counting<A>>
where
    A: Application + Send + 'static,
{
    let controller = Controller::start(Counting::new(application), Options::default());
    controller.connect(lab.target(1)).await.unwrap();
    until(&controller, "the switch is connected", |counting| counting.switches == 1).await;
    controller
}

#[tokio::test]
async fn a_router_routes_and_only_the_first_packets_reach_the_controller() {
    let Some(mut lab) = Lab::start() else { return };
    lab.bridge(1);
    let interface = |port: u8| Interface {
        port: OfPort(port.into()),
        mac: MacAddr([2, 0, 0, 1, 0, port]),
        address: [10, 0, port, 254].into(),
        prefix_length: 24,
    };
    for port in [1, 2] {
        let host = lab.host(1, port, &[&format!("10.0.{port}.1/24")]);
        lab.at(host).ip(&format!("route add default via 10.0.{port}.254"));
    }
    let router = SimpleRouter::new(DatapathId(1), [interface(1), interface(2)], []);
    let controller = start(&lab, router).await;
    let lab = tokio::task::spawn_blocking(move || {
        assert!(lab.reaches(0, "10.0.2.1"), "to the other host");
        assert!(lab.reaches(0, "10.0.1.254") && lab.reaches(0, "10.0.2.254"), "to the router itself");
        assert!(!lab.reaches(0, "10.0.2.9"), "there is no such host");
        lab
    });
    let lab = lab.await.unwrap();
    // The first ping and its answer, and an answer to the question for each of the two; the host that is not there.
    let before = controller.inspect(|counting| counting.packet_ins).await.unwrap();
    assert!((4..=10).contains(&before), "{before} packets came to the controller");
    let (lab, answers, text) = tokio::task::spawn_blocking(move || {
        let answers = Pinging::start(lab.at(1), "10.0.1.1", 100).finish();
        let expired =
            lab.at(0).command("ping").args(["-n", "-c", "1", "-W", "1", "-t", "1", "10.0.2.1"]).output();
        (lab, answers, String::from_utf8(expired.unwrap().stdout).unwrap())
    })
    .await
    .unwrap();
    assert_eq!(answers.count, 100);
    assert!(text.contains("From 10.0.1.254") && text.contains("Time to live exceeded"), "{text}");
    let (packets, errors) =
        controller.inspect(|counting| (counting.packet_ins, counting.errors)).await.unwrap();
    println!("router: {before} packets to the controller at first, {} for 101 pings", packets - before);
    // That with the TTL of 1, and questions for the host that is not there.
    assert!(packets - before <= 2, "{} packets came to the controller", packets - before);
    assert_eq!(errors, 0);
    drop(lab);
    controller.stop().await.unwrap();
}

#[tokio::test]
async fn five_hundred_rules_are_right_at_a_sample_of_their_edges() {
    let Some(mut lab) = Lab::start() else { return };
    lab.bridge(1);
    let mut firewall = Firewall::new(LearningSwitch::default(), Verdict::Deny);
    for rule in rules::rules(1, 500) {
        // Nothing is connected yet.
        assert!(firewall.add(rule).unwrap().1.is_empty());
    }
    let acl = firewall.acl().clone();

    // Each address belongs to one of the two hosts, and no socket has port 0.
    let (mut sources, mut destinations) = (BTreeSet::new(), BTreeSet::new());
    let mut sample: Vec<(Headers, Verdict)> = Vec::new();
    let mut by_verdict = [0, 0];
    for (count, (_, rule)) in acl.rules().enumerate() {
        let mut of_rule = 0;
        for headers in rules::edges(rule) {
            let Headers { source, destination, protocol: 17, ports: Some((1.., 1..)) } = headers else {
                continue;
            };
            let verdict = acl.decide(&headers).0;
            let enough = of_rule == 4 || by_verdict[verdict as usize] >= (count + 1) * 2;
            if enough
                || sources.contains(&destination)
                || destinations.contains(&source)
                || source == destination
            {
                continue;
            }
            sources.insert(source);
            destinations.insert(destination);
            sample.push((headers, verdict));
            by_verdict[verdict as usize] += 1;
            of_rule += 1;
        }
    }
    let at = |address: IpAddr, port| SocketAddr::new(address, port);
    let datagrams: Vec<Datagram> = (0..)
        .zip(&sample)
        .map(|(number, (headers, _))| {
            let ports = headers.ports.unwrap();
            (at(headers.source, ports.0), at(headers.destination, ports.1), number)
        })
        .collect();
    let wanted: BTreeSet<u32> =
        (0..).zip(&sample).filter(|(_, (_, verdict))| *verdict == Verdict::Allow).map(|(n, _)| n).collect();
    assert!(wanted.len() > 200 && sample.len() - wanted.len() > 200, "{} of {}", wanted.len(), sample.len());
    for (port, addresses) in [(1, &sources), (2, &destinations)] {
        let addresses: Vec<String> = addresses.iter().map(|address| format!("{address}/8")).collect();
        lab.host(1, port, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    }

    let controller = start(&lab, firewall).await;
    let flows = acl.flows().len();
    let total = sample.len();
    let (lab, datagrams) = (Arc::new(lab), Arc::new(datagrams));
    // On threads of their own, since the controller runs on this one.
    let wait_for = |count| {
        let lab = lab.clone();
        tokio::task::spawn_blocking(move || lab.wait_for_flows(1, count))
    };
    let received = || {
        let (lab, datagrams) = (lab.clone(), datagrams.clone());
        tokio::task::spawn_blocking(move || {
            let places: BTreeSet<SocketAddr> = datagrams.iter().map(|(_, to, _)| *to).collect();
            let receiver = Receiver::start(lab.at(1), places);
            datagrams::send(lab.at(0), &datagrams);
            receiver.finish()
        })
    };
    let assert_right = |received: BTreeSet<u32>, wanted: &BTreeSet<u32>| {
        let wrong: Vec<_> = received.symmetric_difference(wanted).map(|n| sample[*n as usize]).collect();
        assert!(wrong.is_empty(), "{} of {total} have another verdict: {wrong:?}", wrong.len());
    };
    // Behind the rules: four flows that let ARP and the like pass, and the one of the switch that learns.
    let others = 4 + 1;
    wait_for(flows + others).await.unwrap();
    assert_right(received().await.unwrap(), &wanted);

    // A rule above all, for both versions of IP, which comes and goes while the others stand. By now the switch that
    // learns has flows for two hosts.
    let rule = "32766 deny udp from any to any".parse().unwrap();
    let add = |counting: &mut Counting<Firewall<LearningSwitch>>| {
        let (id, effects) = counting.inner.add(rule).unwrap();
        let mut told = Effects::notice(id);
        told.absorb(effects);
        told
    };
    let [id] = controller.command(add).await.unwrap()[..] else { panic!("one rule") };
    wait_for(flows + others + 2 + 2).await.unwrap();
    assert_right(received().await.unwrap(), &BTreeSet::new());
    controller.command(move |counting| counting.inner.remove(id).unwrap()).await.unwrap();
    wait_for(flows + others + 2).await.unwrap();
    assert_right(received().await.unwrap(), &wanted);
    assert_eq!(controller.inspect(|counting| counting.errors).await.unwrap(), 0);
    println!(
        "firewall: {flows} flows, {total} datagrams at edges, {} allowed, all as the rules say",
        wanted.len()
    );
    controller.stop().await.unwrap();
}

#[tokio::test]
async fn the_monitor_counts_what_the_host_sends() {
    let Some(mut lab) = Lab::start() else { return };
    lab.bridge(1);
    for port in [1, 2] {
        lab.host(1, port, &[&format!("10.0.0.{port}/24")]);
    }
    let monitor = TrafficMonitor::new(LearningSwitch::default(), Duration::from_millis(200));
    let controller = start(&lab, monitor).await;
    let sent = tokio::task::spawn_blocking(move || {
        let answers = Pinging::start(lab.at(0), "10.0.0.2", 200).finish();
        assert_eq!(answers.count, 200);
        let counter = lab.at(0).run("cat", &["/sys/class/net/eth0/statistics/tx_packets"]);
        (lab, counter)
    });
    let (lab, _) = sent.await.unwrap();
    let host = MacAddr([2, 0, 0, 0, 1, 1]);
    // All but what came to the controller: the first ping at most, and questions by ARP.
    until(&controller, "two hundred pings are counted", move |counting| {
        counting.inner.traffic(host).sent.packets >= 199
    })
    .await;
    let traffic = controller.inspect(move |counting| counting.inner.traffic(host)).await.unwrap();
    println!("monitor: {traffic:?} of 200 pings and their answers");
    assert!((199..=204).contains(&traffic.sent.packets), "{traffic:?}");
    assert!((199..=204).contains(&traffic.received.packets), "{traffic:?}");
    // A ping has 98 bytes, a question by ARP 42.
    assert!(traffic.sent.bytes >= 199 * 98 && traffic.sent.bytes <= 200 * 98 + 4 * 42, "{traffic:?}");
    drop(lab);
    controller.stop().await.unwrap();
}
