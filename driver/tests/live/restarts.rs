//! What goes on while something is away, and what comes back by itself.

use std::time::{Duration, Instant};

use crate::lab::{Attach, NetworkSpec, PATIENCE, Plan, Store, eventually};
use crate::networks::{dual_stack, endpoint, on_every_host};

const PACE: Duration = Duration::from_millis(2);

#[test]
fn killing_or_stopping_the_agent_loses_no_packet() {
    let Some(mut lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let (first, beside, across) =
        (endpoint(&lab, 1, &networks), endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the endpoint across is reachable", PATIENCE, || first.ping(across.v4().into(), 1));
    let near = first.stream(&beside, beside.v4().into(), PACE);
    let far = first.stream(&across, across.v6().into(), PACE);
    for _ in 0..8 {
        lab.host_mut(1).kill_agent();
        lab.host_mut(1).start_agent();
        lab.host_mut(2).stop_agent();
        lab.host_mut(2).start_agent();
    }
    for (what, stream) in [("same host", near), ("across", far)] {
        let (sent, answered) = stream.stop();
        assert!(sent > 100, "{what}: only {sent} sent");
        assert_eq!(sent, answered, "{what}: lost");
    }
    // The restarted agent still serves: what it made before, and what is new.
    let new = endpoint(&lab, 1, &networks);
    eventually("a new endpoint", PATIENCE, || new.ping(across.v4().into(), 1));
    lab.host(1).engine().detach(&networks[0], first).expect("an endpoint from before the restarts");
}

#[test]
fn a_restarted_agent_changes_no_flow() {
    let Some(mut lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let (first, across) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the endpoint across is reachable", PATIENCE, || first.ping(across.v4().into(), 1));
    let flows = |lab: &crate::lab::Lab| {
        let mut flows: Vec<String> = lab
            .host(1)
            .flows("br-int")
            .lines()
            // A generation is part of the cookie, and a restart begins a new one.
            .map(|line| line.split_once(", ").map_or(line, |(_cookie, rest)| rest).trim().to_owned())
            .collect();
        flows.sort();
        flows
    };
    let before = flows(&lab);
    assert!(before.len() > 10, "{before:#?}");
    lab.host_mut(1).kill_agent();
    lab.host_mut(1).start_agent();
    eventually("the same flows", PATIENCE, || {
        let after = flows(&lab);
        if after == before { Ok(()) } else { Err(format!("{before:#?}\nbecame\n{after:#?}")) }
    });
}

#[test]
fn a_restarted_switch_forwards_again() {
    let Some(mut lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let (first, beside, across) =
        (endpoint(&lab, 1, &networks), endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the endpoint across is reachable", PATIENCE, || first.ping(across.v4().into(), 1));
    for round in 0..2 {
        lab.host_mut(1).restart_vswitchd();
        let back = Instant::now();
        eventually("traffic on the host after the switch restarted", PATIENCE, || {
            first.ping(beside.v4().into(), 1)
        });
        let took = back.elapsed();
        println!("round {round}: forwarding {took:?} after the switch came back");
        assert!(took < Duration::from_secs(2), "round {round}: forwarding only after {took:?}");
        eventually("traffic across", PATIENCE, || first.ping(across.v6().into(), 1));
    }
    lab.host_mut(1).kill_agent();
    lab.host_mut(1).restart_vswitchd();
    lab.host_mut(1).start_agent();
    eventually("agent and switch both restarted", PATIENCE, || first.ping(across.v4().into(), 1));
}

#[test]
fn the_store_may_be_away() {
    let Some(mut lab) = Plan::hosts(2).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let (first, across) = (endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks));
    eventually("the endpoint across is reachable", PATIENCE, || first.ping(across.v4().into(), 1));
    let far = first.stream(&across, across.v4().into(), PACE);
    lab.kill_etcd();
    let made = endpoint(&lab, 1, &networks);
    first.ping(made.v4().into(), 5).expect("an endpoint made while the store is away, on its own host");
    lab.start_etcd();
    eventually("it is published when the store is back", PATIENCE, || across.ping(made.v4().into(), 1));
    let (sent, answered) = far.stop();
    assert_eq!(sent, answered, "the store's absence lost packets");
}

#[test]
fn an_agent_starts_without_its_switch_and_its_store() {
    let Some(mut lab) = Plan::hosts(1).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let first = endpoint(&lab, 1, &networks);
    lab.host_mut(1).kill_agent();
    lab.host_mut(1).kill_vswitchd();
    lab.kill_etcd();
    lab.host_mut(1).launch_agent();
    let empty = serde_json::Value::Null;
    for (method, key) in [("Plugin.Activate", "Implements"), ("NetworkDriver.GetCapabilities", "Scope")] {
        eventually(method, Duration::from_secs(2), || {
            let socket = lab.host(1).seen("/run/docker/plugins/sluice.sock");
            let reply = crate::lab::call(&socket, method, "")?;
            reply.get(key).map(drop).ok_or(format!("{reply}"))
        });
    }
    let refused = lab.host(1).engine().call("NetworkDriver.CreateEndpoint", &empty);
    assert!(refused.is_err(), "an endpoint without a switch: {refused:?}");
    lab.start_etcd();
    lab.host_mut(1).restart_vswitchd();
    let second = eventually("endpoints again", PATIENCE, || {
        lab.host(1).engine().attach(&networks[0], &Attach::default())
    });
    eventually("the endpoint from before is still there", PATIENCE, || second.ping(first.v4().into(), 1));
}

#[test]
fn the_embedded_store_survives_a_kill() {
    let Some(mut lab) = Plan::hosts(1).store(Store::Embedded).start() else { return };
    let spec = NetworkSpec::cluster("blue", "local", Some("10.5.0.0/16"), None);
    let networks = on_every_host(&lab, &spec);
    let first = endpoint(&lab, 1, &networks);
    lab.host_mut(1).kill_agent();
    lab.host_mut(1).start_agent();
    let second = endpoint(&lab, 1, &networks);
    assert_ne!(first.v4(), second.v4(), "an address was given twice");
    second.ping(first.v4().into(), 3).expect("old and new reach each other");
}
