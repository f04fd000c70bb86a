//! Stores that lose transactions, lose answers and carry out late; agents that die at any moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, RwLock};

use crate::support::*;

const POOL: &str = "10.5.0.0/27";
/// Of 32 addresses the ends and the gateway are nobody's.
const USABLE: usize = 29;

/// What callers have come to.
#[derive(Default)]
struct Tried {
    given: AtomicUsize,
    refused: AtomicUsize,
    cut_off: AtomicUsize,
}

impl Tried {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// Given, refused, cut off.
    fn all(&self) -> [usize; 3] {
        [&self.given, &self.refused, &self.cut_off].map(|counter| counter.load(Ordering::SeqCst))
    }
}

/// Callers on three nodes ask and release while one transaction in ten goes wrong and agents are killed in the midst
/// of calls. No address is ever two callers'; and when the trouble is over, none is missing.
#[tokio::test(flavor = "multi_thread")]
async fn no_address_twice_and_none_lost_whatever_goes_wrong() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(POOL)]).await;
    let pool = blue(POOL);
    let mut hosts = Vec::new();
    for node in ["h1", "h2", "h3"] {
        let host = cluster.host_with(node, Duration::from_millis(150)).await;
        host.gate.set_trouble(100);
        hosts.push((node, Arc::new(RwLock::new(host)), Arc::new(Notify::new())));
    }
    let told = Arc::new(Told::default());
    let tried = Arc::new(Tried::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for (node, host, killed) in &hosts {
        for caller in 0..8usize {
            let (node, host, killed) = (*node, host.clone(), killed.clone());
            let (told, tried, stop, pool) = (told.clone(), tried.clone(), stop.clone(), pool.clone());
            callers.push(tokio::spawn(async move {
                let (mut calls, mut held) = (0, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    let host = host.read().await;
                    tokio::select! {
                        answer = host.request(&pool) => match answer {
                            Ok(address) => {
                                told.given(address, node);
                                held.push(address);
                                Tried::count(&tried.given);
                            }
                            Err(_) => Tried::count(&tried.refused),
                        },
                        () = killed.notified() => Tried::count(&tried.cut_off),
                    }
                    calls += 1;
                    // More is wanted at times than there is, so that borrowing and refusing happen all the time.
                    while held.len() > (calls + caller) % 3 {
                        let address = held.swap_remove(0);
                        told.released(address);
                        tokio::select! {
                            () = host.release(&pool, address) => {}
                            () = killed.notified() => Tried::count(&tried.cut_off),
                        }
                    }
                    drop(host);
                    tokio::time::sleep(Duration::from_millis(caller as u64 % 3)).await;
                }
            }));
        }
    }
    // Eight seconds; on a busy machine until enough was tried.
    let begin = Instant::now();
    let is_enough = |[given, refused, cut_off]: [usize; 3]| given > 200 && refused > 0 && cut_off > 20;
    let mut kills = 0;
    while begin.elapsed() < Duration::from_secs(8) || !is_enough(tried.all()) {
        assert!(begin.elapsed() < Duration::from_secs(120), "too little was tried: {:?}", tried.all());
        tokio::time::sleep(Duration::from_millis(97)).await;
        let (_, host, killed) = &hosts[kills % 3];
        kills += 1;
        // Whoever comes next waits behind the writer; whoever is inside is cut off.
        let restart = async { host.write().await.restart().await };
        tokio::pin!(restart);
        while tokio::time::timeout(Duration::from_millis(1), &mut restart).await.is_err() {
            killed.notify_waiters();
        }
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let [given, refused, cut_off] = tried.all();
    println!(
        "{given} given, {refused} refused, {cut_off} cut off by {kills} kills, {} held",
        told.all().len()
    );

    for (_, host, _) in &hosts {
        host.read().await.gate.set_trouble(0);
    }
    // What callers still hold stays theirs; what nobody was told of is collected.
    let mut held: BTreeSet<_> = told.all().into_iter().map(|(address, _)| address).collect();
    let mut leased = BTreeSet::new();
    for (_, host, _) in &hosts {
        let host = host.read().await;
        for (_, address, _) in host.ipam.leases() {
            assert!(leased.insert(address), "{address} is leased by two nodes");
            if !held.contains(&address) {
                host.release(&pool, address).await;
            }
        }
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while held.len() < USABLE {
        assert!(Instant::now() < deadline, "{} of {USABLE} were found: {held:?}", held.len());
        let host = hosts[held.len() % 3].1.read().await;
        if let Ok(address) = host.request(&pool).await {
            assert!(held.insert(address), "{address} twice");
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for (_, host, _) in &hosts {
        assert!(host.read().await.request(&pool).await.is_err(), "more addresses than there are");
    }
}

/// An owner that does not hear whether its loan arrived does not give the address out itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_loan_without_an_answer_stays_a_loan() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet("10.5.0.0/29")]).await;
    let pool = blue("10.5.0.0/29");
    let (mut h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(h1.request(&pool).await.unwrap());
    }
    for address in &own[2..] {
        h1.release(&pool, *address).await;
    }
    h1.gate.silence_next();
    let borrowed = h2.request(&pool).await.unwrap();
    h1.gate.set_away(true);
    for _ in 0..2 {
        let error = h1.ask_for(&pool, &borrowed.to_string()).await.unwrap_err();
        assert!(error.to_string().contains("cannot get more"), "{error}");
        // The ledger knows as much.
        h1.restart().await;
    }
    for _ in 0..2 {
        assert_ne!(h1.request(&pool).await.unwrap(), borrowed);
    }
    h1.request(&pool).await.unwrap_err();
}

/// Nor does it before the loan can arrive no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_loan_and_the_owner_never_both_have_the_address() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet("10.5.0.0/29")]).await;
    let pool = blue("10.5.0.0/29");
    let (h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(h1.request(&pool).await.unwrap());
    }
    for address in &own[2..] {
        h1.release(&pool, *address).await;
    }
    h1.gate.delay_next(Duration::from_millis(300));
    let all_of_h1 = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut given = BTreeSet::new();
        while let Ok(address) = h1.request(&pool).await {
            given.insert(address);
        }
        given
    };
    let (borrowed, given) = tokio::join!(h2.request(&pool), all_of_h1);
    assert!(given.len() >= 2, "{given:?}");
    if let Ok(borrowed) = borrowed {
        assert!(!given.contains(&borrowed), "{borrowed} twice");
    }
}

/// Calls that are dropped half-way, as when Docker hangs up, lose nothing for good.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_dropped_lose_nothing() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(POOL)]).await;
    let pool = blue(POOL);
    let (h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    for host in [&h1, &h2] {
        for micros in 0..60 {
            let calls = (0..8).map(|_| host.request(&pool));
            let all = futures::future::join_all(calls);
            let _ = tokio::time::timeout(Duration::from_micros(micros * 100), all).await;
            let releases = host.ipam.leases().into_iter().map(|(_, address, _)| host.release(&pool, address));
            let all = futures::future::join_all(releases);
            let _ = tokio::time::timeout(Duration::from_micros(micros * 20), all).await;
            // What Docker never heard of is collected.
            host.ipam.collect(u64::MAX, 1, &BTreeSet::new()).await.unwrap();
        }
    }
    let mut given = BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while given.len() < USABLE {
        assert!(Instant::now() < deadline, "{given:?}");
        if let Ok(address) = h2.request(&pool).await {
            assert!(given.insert(address));
        }
    }
}
