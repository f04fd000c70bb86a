//! What a thousand MACs behind other VTEPs cost a switch. The kernel's part needs root.

mod namespace;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ofctl::MacAddr;
use sluice::linux::{Desired, Form, Kernel, Observed, Remote, Segment, difference};

/// One network with this many MACs, behind up to 200 VTEPs.
fn desired(macs: u32) -> Desired {
    let mut segment = Segment { mtu: 1450, ..Segment::default() };
    for number in 0..macs {
        let [_, a, b, c] = number.to_be_bytes();
        let vtep = IpAddr::from([192, 0, 2, (number % 200) as u8 + 1]);
        segment.flood.insert(vtep);
        segment.remotes.insert(MacAddr([2, 0, 0, a, b, c]), Remote::new(vtep));
        segment.neighbours.insert(Ipv4Addr::from(0x0a4d_0000 + number).into(), MacAddr([2, 0, 0, a, b, c]));
    }
    let vtep = IpAddr::from([192, 0, 2, 250]);
    let vni = "77".parse().expect("77 is a VNI");
    Desired { form: Form::Traditional, vtep, networks: [(vni, segment)].into() }
}

fn nothing() -> Desired {
    Desired { networks: Default::default(), ..desired(0) }
}

fn pure(criterion: &mut Criterion) {
    let wanted = desired(1000);
    let mut settled = Observed::default();
    for change in difference(&wanted, &settled).changes {
        settled.apply(&change).expect("the difference is possible");
    }
    let mut group = criterion.benchmark_group("linux difference");
    group.bench_function("1000 MACs, from nothing", |bencher| {
        bencher.iter(|| difference(&wanted, &Observed::default()).changes.len());
    });
    group.bench_function("1000 MACs, nothing to do", |bencher| {
        bencher.iter(|| difference(&wanted, &settled).changes.len());
    });
}

fn kernel(criterion: &mut Criterion) {
    let Some(runtime) = namespace::enter() else { return };
    let kernel = Kernel::open().expect("a netlink socket opens");
    let settle = |wanted: &Desired| {
        runtime.block_on(async {
            let observed = kernel.observe().await.expect("the kernel is read");
            let applied = kernel.apply(difference(wanted, &observed).changes).await;
            assert!(applied.failures.is_empty(), "{:?}", applied.failures);
        });
    };
    let wanted = desired(1000);
    let mut group = criterion.benchmark_group("linux kernel");
    group.sample_size(10).measurement_time(Duration::from_secs(6));
    group.bench_function("1000 MACs, from nothing", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                let start = Instant::now();
                settle(&wanted);
                spent += start.elapsed();
                settle(&nothing());
            }
            spent
        });
    });
    settle(&wanted);
    group.bench_function("1000 MACs, nothing to do", |bencher| bencher.iter(|| settle(&wanted)));
}

criterion_group!(benches, pure, kernel);
criterion_main!(benches);
