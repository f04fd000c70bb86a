//! Costs of the wire codec and of the flow text, on the reference flow: six OXM fields, a load and an output.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ofctl::MacAddr;
use ofctl::flow::{FlowEntry, FlowStats};
use ofctl::table::difference;
use ofctl::wire::{
    Action, BundleFlags, BundleId, Cookie, Field, FlowMod, Match, Message, OfPort, TableId, Xid,
    encode_bundle_add,
};

fn flow(number: u32) -> FlowEntry {
    let matching = Match::new()
        .with(Field::InPort, OfPort(5))
        .with(Field::EthDst, MacAddr([2, 0, 0, 0, 1, 0x0b]))
        .with(Field::EthType, 0x0800u16)
        .with(Field::Ipv4Dst, 0x0a05_0000 | number)
        .masked(Field::Reg0, 1u32, 0xfu32)
        .masked(Field::Metadata, 1u64, 0xff_ffffu64);
    FlowEntry::new(TableId(40), 100)
        .cookie(Cookie(0x0800_0000_0000_000b))
        .matching(matching)
        .apply([Action::load(Field::Reg5.whole(), 0xb), Action::Output(OfPort(11))])
}

fn codec(criterion: &mut Criterion) {
    let one = FlowMod::add(flow(7));
    let mut buffer = Vec::with_capacity(4096);
    criterion.bench_function("encode flow_mod into a reused buffer", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            black_box(&one).encode_message(Xid(1), &mut buffer).expect("a short flow");
            black_box(buffer.len())
        });
    });
    let mut bytes = Vec::new();
    one.encode_message(Xid(1), &mut bytes).expect("a short flow");
    criterion.bench_function("decode flow_mod", |bencher| {
        bencher.iter(|| Message::decode(black_box(&bytes)).expect("what was encoded"));
    });

    let many: Vec<FlowMod> = (0..10_000).map(|number| FlowMod::add(flow(number))).collect();
    let mut buffer = Vec::new();
    criterion.bench_function("encode a bundle of 10,000", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            for (xid, flow) in (1..).zip(&many) {
                let flags = BundleFlags::ATOMIC_ORDERED;
                encode_bundle_add(BundleId(1), flags, Xid(xid), &mut buffer, |xid, out| {
                    flow.encode_message(xid, out)
                })
                .expect("a short flow");
            }
            black_box(buffer.len())
        });
    });

    criterion.bench_function("build a flow entry", |bencher| bencher.iter(|| flow(black_box(7))));
    let entry = flow(7);
    criterion.bench_function("flow to text", |bencher| bencher.iter(|| black_box(&entry).to_string()));
    let text = entry.to_string();
    criterion.bench_function("flow from text", |bencher| {
        bencher.iter(|| black_box(&text).parse::<FlowEntry>().expect("what was printed"));
    });

    let desired: Vec<FlowEntry> = (0..10_000).map(flow).collect();
    let stats = |entry: &FlowEntry| FlowStats {
        entry: entry.clone(),
        duration: Duration::ZERO,
        packets: 0,
        bytes: 0,
    };
    let observed: Vec<FlowStats> = desired.iter().map(stats).collect();
    criterion.bench_function("difference of two equal tables of 10,000", |bencher| {
        bencher.iter(|| difference(black_box(&desired), black_box(&observed)));
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
