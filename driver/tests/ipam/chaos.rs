//! Stores that lose transactions, lose answers and carry out late; agents that die at any moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;

use crate::support::*;

const POOL: &str = "10.5.0.0/27";
/// Of 32 addresses the ends and the gateway are nobody's.
const USABLE: usize = 29;

/// Callers on three nodes ask and release while one transaction in ten goes wrong and agents are killed. No address
/// is ever two callers'; and when the trouble is over, none is missing.
#[tokio::test(flavor = "multi_thread")]
async fn no_address_twice_and_none_lost_whatever_goes_wrong() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(POOL)]).await;
    let pool = blue(POOL);
    let mut hosts = Vec::new();
    for node in ["h1", "h2", "h3"] {
        let host = cluster.host_with(node, Duration::from_millis(150)).await;
        host.gate.set_trouble(100);
        hosts.push((node, Arc::new(RwLock::new(host))));
    }
    let told = Arc::new(Told::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for (node, host) in &hosts {
        for caller in 0..8u64 {
            let (node, host, told, stop, pool) =
                (*node, host.clone(), told.clone(), stop.clone(), pool.clone());
            callers.push(tokio::spawn(async move {
                let (mut got, mut refused) = (0u32, 0u32);
                let mut held = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let host = host.read().await;
                    match host.request(&pool).await {
                        Ok(address) => {
                            told.given(address, node);
                            held.push(address);
                            got += 1;
                        }
                        Err(_) => refused += 1,
                    }
                    // More is wanted at times than there is, so that borrowing and refusing happen all the time.
                    while held.len() > ((got + refused) as usize + caller as usize) % 3 {
                        let address = held.swap_remove(0);
                        told.released(address);
                        host.release(&pool, address).await;
                    }
                    drop(host);
                    tokio::time::sleep(Duration::from_millis(caller % 3)).await;
                }
                (got, refused)
            }));
        }
    }
    let end = Instant::now() + Duration::from_secs(8);
    let mut restarts = 0;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(170)).await;
        // Calls under way end first: Docker's, whose answers the agent still owes, are not the point here.
        hosts[restarts % 3].1.write().await.restart().await;
        restarts += 1;
    }
    stop.store(true, Ordering::SeqCst);
    let (mut got, mut refused) = (0, 0);
    for caller in callers {
        let counts = caller.await.unwrap();
        got += counts.0;
        refused += counts.1;
    }
    println!("{got} given, {refused} refused, {restarts} restarts, {} held at the end", told.all().len());
    assert!(got > 200 && refused > 0, "{got} given and {refused} refused: nothing was tried");

    for (_, host) in &hosts {
        host.read().await.gate.set_trouble(0);
    }
    let mut held: BTreeSet<_> = BTreeSet::new();
    for (address, _) in told.all() {
        assert!(held.insert(address));
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
    for (_, host) in &hosts {
        assert!(host.read().await.request(&pool).await.is_err(), "more addresses than there are");
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
