//! What an address costs: the decision alone, and with its records on the disk.

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use ipnet::IpNet;
use sluice::ipam::{
    HostRoute, HostRoutes, Ipam, IpamConfig, KnownBlock, Lease, Networks, Pool, PoolId, Purpose, Wanted,
};
use sluice::model::{Encapsulation, Network, NetworkName, NetworkSpec, NodeName, Origin, Subnet};
use sluice::store::{Embedded, Ledger, Store, StoreError, Write, keys};

struct One(Arc<Network>);

#[async_trait]
impl Networks for One {
    async fn find(&self, _: &NetworkName) -> Result<Option<Arc<Network>>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    async fn all_subnets(&self) -> Result<Vec<(NetworkName, IpNet)>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl HostRoutes for One {
    async fn in_use(&self) -> std::io::Result<Vec<HostRoute>> {
        Ok(Vec::new())
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the bench's own text")
}

fn decide(c: &mut Criterion) {
    let subnet = Subnet::parse("10.5.0.0/16").expect("a subnet");
    let node: NodeName = parse("h1");
    let mut pool = Pool::new(node.clone(), subnet.prefix);
    for block in 0..1024u32 {
        let owner = if block % 16 == 0 { node.clone() } else { parse("h2") };
        let network = std::net::Ipv4Addr::from(0x0a05_0000 + block * 64);
        let block = sluice::ipam::Block::new(owner);
        pool.restore_block(
            parse(&format!("{network}/26")),
            KnownBlock { block, revision: 1, leaving: false },
        );
    }
    c.bench_function("ipam: decide, take, release; all 1024 blocks of a /16 claimed", |b| {
        b.iter(|| {
            let wanted = Wanted::Any(subnet.prefix);
            let sluice::ipam::Decision::Use(address) = black_box(pool.decide(&subnet, wanted, 0)) else {
                panic!("own blocks are free")
            };
            pool.take(address, Lease::requested(subnet.prefix, 0));
            pool.begin_release(address);
            pool.finish_release(address);
        });
    });
}

fn durable(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let store = Embedded::open(&dir.path().join("store.redb")).expect("a store");
    let spec = NetworkSpec {
        subnets: vec![Subnet::parse("10.5.0.0/16").expect("a subnet")],
        ..NetworkSpec::default()
    };
    let origin = Origin { node: parse("h1"), at: 0 };
    let network =
        Network::new(parse("blue"), 7.try_into().expect("an id"), &spec, Encapsulation::Vxlan, origin)
            .expect("a network");
    let value = serde_json::to_vec(&network).expect("JSON");
    let put = Write::Put(keys::network(&network.name), value);
    runtime.block_on(store.commit(vec![], vec![put])).expect("a write");
    let ledger = Ledger::open(&dir.path().join("ledger.redb")).expect("a ledger");
    let one = Arc::new(One(Arc::new(network)));
    let ipam = Ipam::new(parse("h1"), store, ledger, one.clone(), one, IpamConfig::default()).expect("IPAM");
    let pool: PoolId = parse("network=blue,pool=10.5.0.0/16");
    let cycle = async |ipam: Arc<Ipam>, pool: PoolId| {
        let address = ipam.request_address(&pool, None, Purpose::Endpoint).await.expect("an address");
        ipam.release_address(&pool, address.addr()).await.expect("a release");
    };
    c.bench_function("ipam: request and release an address, durably", |b| {
        b.iter_async(&runtime, || cycle(ipam.clone(), pool.clone()));
    });
    c.bench_function("ipam: 16 callers request and release an address each, durably", |b| {
        b.iter_async(&runtime, || async {
            futures::future::join_all((0..16).map(|_| cycle(ipam.clone(), pool.clone()))).await;
        });
    });
}

/// criterion's own async support is a feature of it that nothing else needs.
trait IterAsync {
    fn iter_async<F: Future>(&mut self, runtime: &tokio::runtime::Runtime, work: impl FnMut() -> F);
}

impl IterAsync for criterion::Bencher<'_> {
    fn iter_async<F: Future>(&mut self, runtime: &tokio::runtime::Runtime, mut work: impl FnMut() -> F) {
        self.iter(|| runtime.block_on(work()));
    }
}

criterion_group!(benches, decide, durable);
criterion_main!(benches);
