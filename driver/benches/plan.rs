//! The planner: a node that can reach 10,000 endpoints on 100 nodes, 100 of them its own, dual stack.
//!
//! `from_scratch` is the whole plan from nothing; `one_endpoint_comes_and_goes` what one container costs a running
//! agent.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ofctl::wire::OfPort;
use sluice::model::{
    Dataplane, Encapsulation, Endpoint, Network, NetworkName, NetworkSpec, Node, Origin, Phase, Subnet,
    UnknownFields, mac_for,
};
use sluice::plan::{Facts, Planner, View};

const NODES: u32 = 100;
const ENDPOINTS: u32 = 10_000;
const NETWORKS: u32 = 10;

fn network(index: u32) -> Network {
    let spec = NetworkSpec {
        subnets: vec![Subnet::parse("10.0.0.0/8").unwrap(), Subnet::parse("fd00:5::/64").unwrap()],
        ..NetworkSpec::default()
    };
    let origin = Origin { node: "n0".parse().unwrap(), at: 0 };
    let name = format!("net{index}").parse().unwrap();
    Network::new(name, (index + 1).try_into().unwrap(), &spec, Encapsulation::Vxlan, origin).unwrap()
}

fn node(index: u32) -> Node {
    Node {
        name: format!("n{index}").parse().unwrap(),
        installation: String::new(),
        underlay: Some([172, 31, (index >> 8) as u8, index as u8].into()),
        underlay_mtu: Some(1500),
        encapsulations: Encapsulation::ALL.to_vec(),
        dataplane: Dataplane::OvsNetdev,
        version: String::new(),
        unknown: UnknownFields::new(),
    }
}

fn endpoint(index: u32) -> Endpoint {
    let network: NetworkName = format!("net{}", index / NODES % NETWORKS).parse().unwrap();
    let [_, b, c, d] = (index + 2).to_be_bytes();
    Endpoint {
        id: format!("{index:064x}").parse().unwrap(),
        mac: mac_for(&network, &index.to_string()),
        network,
        node: format!("n{}", index % NODES).parse().unwrap(),
        addresses: vec![
            format!("10.{b}.{c}.{d}/8").parse().unwrap(),
            format!("fd00:5::{:x}/64", index + 2).parse().unwrap(),
        ],
        spare: None,
        phase: Phase::Joined,
        options: std::collections::BTreeMap::new(),
        unknown: UnknownFields::new(),
    }
}

fn facts() -> Facts {
    let mut facts = Facts::new("n0".parse().unwrap());
    facts.underlay = Some([172, 31, 0, 0].into());
    facts.underlay_mtu = Some(1500);
    facts.ofports.insert("sl-vxlan".parse().unwrap(), OfPort(1));
    for (number, index) in (0..ENDPOINTS).step_by(NODES as usize).enumerate() {
        facts.ofports.insert(endpoint(index).id.host_link(), OfPort(10 + number as u32));
    }
    facts
}

fn view() -> View {
    let mut view = View::default();
    for network in (0..NETWORKS).map(network) {
        view.networks.insert(network.name.clone(), Arc::new(network));
    }
    for node in (0..NODES).map(node) {
        view.nodes.insert(node.name.clone(), Arc::new(node));
    }
    for endpoint in (0..ENDPOINTS).map(endpoint) {
        let of_network = view.endpoints.entry(endpoint.network.clone()).or_default();
        of_network.insert(endpoint.id.clone(), Arc::new(endpoint));
    }
    view
}

fn plan(criterion: &mut Criterion) {
    let (view, facts) = (view(), facts());
    let flows = Planner::from_scratch(&view, facts.clone()).flow_count();
    let mut group = criterion.benchmark_group(format!("plan_{ENDPOINTS}_endpoints_{flows}_flows"));
    group.sample_size(20);
    group.bench_function("from_scratch", |bencher| {
        bencher.iter_batched(
            || facts.clone(),
            |facts| black_box(Planner::from_scratch(&view, facts)),
            BatchSize::PerIteration,
        );
    });
    let mut planner = Planner::from_scratch(&view, facts);
    let newcomer = Arc::new(endpoint(ENDPOINTS + NODES));
    let link = newcomer.id.host_link();
    group.bench_function("one_endpoint_comes_and_goes", |bencher| {
        bencher.iter(|| {
            planner.set_endpoint(newcomer.clone());
            planner.set_ofport(&link, Some(OfPort(9)));
            black_box(planner.refresh());
            planner.remove_endpoint(&newcomer.network, &newcomer.id);
            planner.set_ofport(&link, None);
            black_box(planner.refresh());
        });
    });
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
