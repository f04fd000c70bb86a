//! Costs of the wire codec and of the flow text, each beside a floor: what a program written by hand for the one
//! reference flow takes on the same machine in the same run. The reference flow has six OXM fields, a load, a ct and
//! an output; its message has 176 bytes.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ofctl::flow::{FlowEntry, FlowStats};
use ofctl::table::difference;
use ofctl::wire::borrowed::{FlowModRef, Instruction};
use ofctl::wire::{
    Action, BundleFlags, BundleId, Cookie, Ct, CtFlags, CtZone, Field, FlowMod, Match, Message, OfPort,
    TableId, Xid, encode_bundle_add,
};

mod floor;

fn flow(number: u32) -> FlowEntry {
    let matching = Match::new()
        .with(Field::InPort, OfPort(5))
        .with(Field::EthType, 0x0800u16)
        .masked(Field::Ipv4Dst, 0x0a05_0000 | number, 0xffff_ff00u32 | number)
        .with(Field::IpProto, 6u8)
        .with(Field::TcpDst, 80u16)
        .masked(Field::Reg0, 1u32, 0xfu32);
    let ct = Ct { flags: CtFlags::COMMIT, zone: CtZone::Number(5), ..Ct::default() };
    FlowEntry::new(TableId(40), 100).cookie(Cookie(0x0800_0000_0000_000b)).matching(matching).apply([
        Action::load(Field::Reg5.whole(), 0xb),
        Action::Ct(Box::new(ct)),
        Action::Output(OfPort(11)),
    ])
}

fn codec(criterion: &mut Criterion) {
    let one = FlowMod::add(flow(7));
    let mut bytes = Vec::new();
    one.encode_message(Xid(1), &mut bytes).expect("a short flow");
    assert_eq!(bytes.len(), 176, "the reference flow has grown");

    let mut buffer = Vec::with_capacity(4096);
    floor::encode(black_box(&floor::REFERENCE), 1, &mut buffer);
    assert_eq!(buffer, bytes, "the floor writes something else");
    criterion.bench_function("encode: floor, by hand", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            floor::encode(black_box(&floor::REFERENCE), 1, &mut buffer);
            black_box(buffer.len())
        });
    });
    criterion.bench_function("encode: into a reused buffer", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            black_box(&one).encode_message(Xid(1), &mut buffer).expect("a short flow");
            black_box(buffer.len())
        });
    });
    criterion.bench_function("encode: into a fresh buffer", |bencher| {
        bencher.iter(|| {
            let mut buffer = Vec::new();
            black_box(&one).encode_message(Xid(1), &mut buffer).expect("a short flow");
            buffer
        });
    });
    assert_eq!(floor::walk(&bytes), Some(9), "six fields and three actions");
    criterion.bench_function("decode: floor, a validating walk", |bencher| {
        bencher.iter(|| floor::walk(black_box(&bytes)));
    });
    criterion.bench_function("decode: owned", |bencher| {
        bencher.iter(|| Message::decode(black_box(&bytes)).expect("what was encoded"));
    });

    criterion.bench_function("decode: borrowed", |bencher| {
        bencher.iter(|| FlowModRef::decode(black_box(&bytes)).expect("what was encoded"));
    });
    criterion.bench_function("decode: borrowed, and every field and action looked at", |bencher| {
        bencher.iter(|| {
            let (_, flow) = FlowModRef::decode(black_box(&bytes)).expect("what was encoded");
            for entry in flow.matching() {
                black_box((entry.field, entry.number(), entry.mask_number()));
            }
            for instruction in flow.instructions() {
                if let Instruction::Apply(actions) = instruction {
                    actions.for_each(|action| {
                        black_box(action.view());
                    });
                }
            }
        });
    });

    let many: Vec<FlowMod> = (0..10_000).map(|number| FlowMod::add(flow(number))).collect();
    let mut bundle = Vec::new();
    criterion.bench_function("encode a bundle of 10,000", |bencher| {
        bencher.iter(|| {
            bundle.clear();
            for (xid, flow) in (1..).zip(&many) {
                let flags = BundleFlags::ATOMIC_ORDERED;
                encode_bundle_add(BundleId(1), flags, Xid(xid), &mut bundle, |xid, out| {
                    flow.encode_message(xid, out)
                })
                .expect("a short flow");
            }
            black_box(bundle.len())
        });
    });

    criterion.bench_function("build a flow entry", |bencher| bencher.iter(|| flow(black_box(7))));
    let text = flow(7).to_string();
    let mut written = String::with_capacity(4096);
    criterion.bench_function("text: floor, a copy of it", |bencher| {
        bencher.iter(|| {
            written.clear();
            written.push_str(black_box(&text));
            black_box(written.len())
        });
    });
    criterion.bench_function("text: from bytes", |bencher| {
        bencher.iter(|| {
            let Ok((_, Message::FlowMod(flow))) = Message::decode(black_box(&bytes)) else { unreachable!() };
            written.clear();
            write!(written, "{}", flow.into_entry()).expect("a string takes anything");
            black_box(written.len())
        });
    });
    criterion.bench_function("text: to bytes", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            let entry: FlowEntry = black_box(&text).parse().expect("what was printed");
            FlowMod::add(entry).encode_message(Xid(1), &mut buffer).expect("a short flow");
            black_box(buffer.len())
        });
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
