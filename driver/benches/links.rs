//! The cost of an endpoint's pair of links, in a network namespace of its own. Needs root.

mod namespace;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use sluice::model::EndpointId;
use sluice::node::link::{LinkOptions, Links};

const OPTIONS: LinkOptions = LinkOptions { mac: None, checksum_offload: false };

fn endpoint(number: u64) -> EndpointId {
    format!("{number:011x}{:053}", 0).parse().expect("digits make an EndpointID")
}

fn links(criterion: &mut Criterion) {
    let Some(runtime) = namespace::enter() else { return };
    let links = runtime.block_on(async { Links::new() }).expect("a netlink socket opens");

    let mut group = criterion.benchmark_group("links");
    group.sample_size(20).measurement_time(Duration::from_secs(6));
    let mut next = 0;
    group.bench_function("create one pair", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                next += 1;
                let id = endpoint(next);
                let start = Instant::now();
                runtime.block_on(links.create_endpoint_links(&id, 1400, OPTIONS)).expect("the pair is made");
                spent += start.elapsed();
                runtime.block_on(links.delete_endpoint_links(&id)).expect("the pair is removed");
            }
            spent
        });
    });
    group.bench_function("create a pair, sixteen at a time", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                let ids: Vec<_> = (0..16).map(|lane| endpoint(next + lane)).collect();
                let start = Instant::now();
                runtime.block_on(async {
                    let all = ids.iter().map(|id| links.create_endpoint_links(id, 1400, OPTIONS));
                    for done in futures::future::join_all(all).await {
                        done.expect("the pair is made");
                    }
                });
                spent += start.elapsed() / 16;
                for id in &ids {
                    runtime.block_on(links.delete_endpoint_links(id)).expect("the pair is removed");
                }
            }
            spent
        });
    });
    group.bench_function("remove one pair", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                next += 1;
                let id = endpoint(next);
                runtime.block_on(links.create_endpoint_links(&id, 1400, OPTIONS)).expect("the pair is made");
                let start = Instant::now();
                runtime.block_on(links.delete_endpoint_links(&id)).expect("the pair is removed");
                spent += start.elapsed();
            }
            spent
        });
    });
}

criterion_group!(benches, links);
criterion_main!(benches);
