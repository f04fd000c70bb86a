//! What Docker waits for: CreateEndpoint + Join, and Leave + DeleteEndpoint, from request to reply.
//!
//! A real agent process, Open vSwitch (userspace datapath) and, for one of the two stores, etcd, in network namespaces
//! of the bench's own: the lab of the live tests. The calls are those of dockerd; sandboxes are not made, since that
//! is dockerd's work. Needs root and what the live tests need; says so where something is missing.

#![allow(unreachable_pub, reason = "the lab is a module of this bench")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::{Attach, DockerNetwork, Host, Joined, NetworkSpec, Plan, Store};

/// How many endpoints the host has beside the one that comes and goes.
const PORTS: [usize; 3] = [0, 20, 100];

fn join(host: &Host, network: &DockerNetwork) -> Joined {
    host.engine().join(network, &Attach::default()).expect("CreateEndpoint and Join")
}

/// Leave and DeleteEndpoint, and then all that goes on in the background, so that the next measurement has the
/// machine to itself.
fn leave(host: &Host, network: &DockerNetwork, joined: &Joined) -> Duration {
    let took = host.engine().leave(network, joined).expect("Leave and DeleteEndpoint");
    host.await_no_link(&joined.link);
    // The kernel is not done with a link when its name is gone.
    std::thread::sleep(Duration::from_millis(50));
    took
}

fn attach(criterion: &mut Criterion) {
    for (store, store_name) in [(Store::Embedded, "embedded"), (Store::Etcd, "etcd")] {
        let Some(lab) = Plan::hosts(1).store(store).start() else { return };
        let host = lab.host(1);
        let spec = NetworkSpec::cluster("blue", "vxlan", Some("10.5.0.0/16"), Some("fd00:5::/64"));
        let network = host.engine().create_network(&spec).expect("a network");
        let mut standing = 0;
        for ports in PORTS {
            while standing < ports {
                join(host, &network);
                standing += 1;
            }
            let mut group = criterion.benchmark_group(format!("attach, {store_name}"));
            group.sample_size(15).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_secs(1));
            group.bench_function(BenchmarkId::new("CreateEndpoint + Join", ports), |bencher| {
                bencher.iter_custom(|count| {
                    let one = |_| {
                        let joined = join(host, &network);
                        leave(host, &network, &joined);
                        joined.took
                    };
                    (0..count).map(one).sum()
                });
            });
            group.bench_function(BenchmarkId::new("Leave + DeleteEndpoint", ports), |bencher| {
                bencher.iter_custom(|count| {
                    (0..count).map(|_| leave(host, &network, &join(host, &network))).sum()
                });
            });
        }
    }
}

criterion_group!(benches, attach);
criterion_main!(benches);
