//! What an acknowledged write costs: the ledger's commit, alone and from 16 callers at once, and the embedded store's.
//!
//! Both are bounded by the disk's fsync: `fsync` measures that on the same file system, for comparison.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice::store::{Embedded, Guard, Ledger, LedgerWrite, Store, Table, Write};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// About what an endpoint takes.
const VALUE: usize = 400;
const CALLERS: u64 = 16;

fn endpoint(key: String) -> Vec<LedgerWrite> {
    vec![
        LedgerWrite::Put(Table::Endpoints, key.clone(), vec![b'x'; VALUE]),
        LedgerWrite::Put(Table::Leases, key, vec![b'x'; 60]),
    ]
}

fn fsync(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder for the bench");
    let mut file = File::create(dir.path().join("file")).expect("a file for the bench");
    c.bench_function("fsync of 4 KiB", |b| {
        b.iter(|| {
            file.write_all(&[1; 4096]).expect("space on the disk");
            file.sync_data().expect("a disk that syncs");
        });
    });
}

fn ledger(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder for the bench");
    let ledger = Ledger::open(&dir.path().join("ledger.redb")).expect("a new ledger");
    // A host with 300 endpoints, not an empty file.
    for n in 0..300 {
        runtime.block_on(ledger.commit(endpoint(format!("old {n}")))).expect("a commit");
    }
    let mut group = c.benchmark_group("ledger");
    let mut n = 0u64;
    group.bench_function("commit, one caller", |b| {
        b.iter(|| {
            n += 1;
            runtime.block_on(ledger.commit(endpoint((n % 300).to_string()))).expect("a commit");
        });
    });
    group.throughput(Throughput::Elements(CALLERS));
    group.bench_function("16 commits, 16 callers at once", |b| {
        b.iter_custom(|rounds| runtime.block_on(at_once(&ledger, rounds)));
    });
    group.finish();
}

/// 16 callers that each commit `rounds` times without a pause.
async fn at_once(ledger: &Ledger, rounds: u64) -> Duration {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let ledger = ledger.clone();
        callers.spawn(async move {
            for n in 0..rounds {
                ledger.commit(endpoint(format!("{caller} {}", n % 20))).await.expect("a commit");
            }
        });
    }
    callers.join_all().await;
    begun.elapsed()
}

fn embedded(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder for the bench");
    let store: Arc<Embedded> = Embedded::open(&dir.path().join("store.redb")).expect("a new store");
    let mut n = 0u64;
    c.bench_function("embedded store, a guarded transaction", |b| {
        b.iter(|| {
            n += 1;
            let key = format!("/k/{n}");
            let guards = vec![Guard::Absent(key.clone())];
            runtime
                .block_on(store.commit(guards, vec![Write::Put(key, vec![b'x'; VALUE])]))
                .expect("a commit");
        });
    });
}

criterion_group!(benches, fsync, ledger, embedded);
criterion_main!(benches);
