//! Open vSwitch away: endpoints are refused with the socket's path, and all works again when it is back, without a
//! restart of the agent.

use serde_json::json;

use super::{Trial, bare_agent, difference, endpoint, held, id, network, own_pool, run};
use crate::lab::{Host, Lab, PATIENCE, Plan, eventually};

const POOL: &str = "network=blue,pool=10.5.0.0/24";

fn blue(host: &Host) {
    let body =
        network("b1", &[("network", "blue"), ("encap", "local")], &[own_pool("10.5.0.0/24", "10.5.0.1")]);
    host.engine().call("NetworkDriver.CreateNetwork", &body).expect("a network needs no switch");
}

/// `docker run`: what dockerd calls, and what it takes back when Join is refused.
fn docker_run(host: &Host, begin: &str) -> Result<(), String> {
    let address = run(host, POOL, "", |v4| endpoint("b1", begin, v4, ""))?;
    let ids = json!({"NetworkID": id("b1"), "EndpointID": id(begin)});
    let mut join = ids.clone();
    join["SandboxKey"] = json!("/x");
    let joined = host.engine().call("NetworkDriver.Join", &join);
    joined.map(drop).inspect_err(|_| {
        host.engine().call("NetworkDriver.DeleteEndpoint", &ids).expect("deleting");
        let bare = address.split('/').next().expect("a first part");
        let back = json!({"PoolID": POOL, "Address": bare});
        host.engine().call("IpamDriver.ReleaseAddress", &back).expect("releasing");
    })
}

/// What `sluice status` says of this object.
fn problem(host: &Host, object: &str) -> String {
    let status: serde_json::Value =
        serde_json::from_str(&host.sluice("status --json").expect("status")).expect("JSON");
    let problems = status["problems"].as_array().expect("a list");
    let of_object: Vec<String> =
        problems.iter().filter(|problem| problem["object"] == object).map(ToString::to_string).collect();
    of_object.join(" ")
}

/// Waits until `sluice status` says these words of this object.
#[track_caller]
fn status_says(host: &Host, object: &str, words: &[&str]) {
    eventually("status tells", PATIENCE, || {
        let seen = problem(host, object);
        if words.iter().all(|word| seen.contains(word)) { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn an_endpoint_without_its_switch() {
    let Some(mut lab) = Plan::hosts(1).without_agents().start() else { return };
    let _agent = bare_agent(lab.host(1), &["--program-deadline", "1s"]);
    blue(lab.host(1));
    docker_run(lab.host(1), "1").expect("a first endpoint");
    let db = lab.host(1).path("ovs/db.sock");
    let management = lab.host(1).path("ovs/br-int.mgmt");

    lab.host_mut(1).kill_ovsdb();
    status_says(lab.host(1), "ovs", &[&db, "openvswitch-switch"]);
    let trial = Trial::of(&lab);
    trial.refused(
        "an endpoint while ovsdb-server is down",
        &["endpoint e1", "within 1.0 s", &db],
        "restart openvswitch-switch",
        || docker_run(lab.host(1), "e1"),
    );
    trial.end();
    lab.host_mut(1).start_ovsdb();
    eventually("an endpoint after ovsdb-server is back", PATIENCE, || docker_run(lab.host(1), "2"));
    assert_eq!(problem(lab.host(1), "ovs"), "");

    // Flows go before the ports that they name, so what a refused endpoint had stays until the switch takes flows
    // again: numbers of ports may be others then, and flows are not compared.
    let without_flows = |lab: &Lab| {
        let mut held = held(lab);
        held.retain(|what, _| !what.contains(": flow "));
        held
    };
    let before = without_flows(&lab);
    lab.host_mut(1).kill_vswitchd();
    status_says(lab.host(1), "openflow", &[&management, "ovs-vswitchd"]);
    let answer = docker_run(lab.host(1), "e2").expect_err("ovs-vswitchd is down");
    println!("an endpoint while ovs-vswitchd is down: {answer}");
    for words in ["endpoint e2", "within 1.0 s", &management, "is ovs-vswitchd running"] {
        assert!(answer.contains(words), "{words:?} is not in {answer:?}");
    }
    lab.host_mut(1).restart_vswitchd();
    eventually("nothing is left once ovs-vswitchd is back", PATIENCE, || {
        let after = without_flows(&lab);
        if after == before { Ok(()) } else { Err(difference(&before, &after)) }
    });
    eventually("an endpoint after ovs-vswitchd is back", PATIENCE, || docker_run(lab.host(1), "3"));
    // Each endpoint has one flow that takes its packets in, untagged; a spare link has none.
    let flows = lab.host(1).flows("br-int");
    let entrances =
        flows.lines().filter(|flow| flow.contains("in_port=") && flow.contains("vlan_tci=0x0000"));
    assert_eq!(entrances.count(), 3, "{flows}");
}

#[test]
fn an_endpoint_with_a_wrong_run_directory() {
    let Some(lab) = Plan::hosts(1).without_agents().start() else { return };
    let host = lab.host(1);
    let _agent = super::agent(host, &host.path("elsewhere"), &["--program-deadline", "1s"]);
    blue(host);
    let trial = Trial::of(&lab);
    let socket = host.path("elsewhere/db.sock");
    let names = ["endpoint e1", &socket, "does not exist"];
    trial.refused("an endpoint with a wrong run directory", &names, "set ovs-rundir", || {
        docker_run(host, "e1")
    });
    trial.end();
    status_says(host, "ovs", &[&socket, "ovs-rundir"]);
}
