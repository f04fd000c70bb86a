//! Several nodes on one pool.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sluice::ipam::{IpamError, PoolId, Scope, release_network, release_node};
use sluice::model::EndpointId;

use crate::support::*;

const SMALL: &str = "10.5.0.0/26";

/// Two nodes ask at once, 10,000 times in all, for more than either owns and for less than there is.
async fn ten_thousand(cluster: Cluster, what: &str) {
    const REQUESTS: usize = 10_000;
    const CALLERS: usize = 28;
    cluster.blue(&[subnet(SMALL)]).await;
    let pool = blue(SMALL);
    let hosts = [Arc::new(cluster.host("h1").await), Arc::new(cluster.host("h2").await)];
    let told = Arc::new(Told::default());
    let left = Arc::new(AtomicUsize::new(REQUESTS));
    let start = Instant::now();
    let mut callers = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        for _ in 0..CALLERS {
            let (host, told, left, pool) = (host.clone(), told.clone(), left.clone(), pool.clone());
            callers.push(tokio::spawn(async move {
                let node = format!("h{}", index + 1);
                while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                    // 56 callers hold at most 56 of 61 addresses: there is always a free one.
                    let address = host.request(&pool).await.unwrap();
                    told.given(address, &node);
                    tokio::task::yield_now().await;
                    told.released(address);
                    host.release(&pool, address).await;
                }
            }));
        }
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let took = start.elapsed();
    println!(
        "{what}: {REQUESTS} requests and releases by 2 nodes in {took:.2?}: {:.0}/s",
        10_000.0 / took.as_secs_f64()
    );
    all_61_and_no_more(&hosts[0], &hosts[1], &pool).await;
}

/// All 61 usable addresses can be given out, each once; the next request is told who has them.
async fn all_61_and_no_more(h1: &Host, h2: &Host, pool: &PoolId) {
    let told = Told::default();
    let mut h1_has = 0;
    for index in 0..61 {
        let (host, node) = if index % 2 == 0 { (h1, "h1") } else { (h2, "h2") };
        let address = host.request(pool).await.unwrap_or_else(|e| panic!("after {index}: {e}"));
        told.given(address, node);
        h1_has += usize::from(node == "h1");
    }
    for host in [h1, h2] {
        let error = host.request(pool).await.unwrap_err().to_string();
        for part in [
            "no address is left in network=blue,pool=10.5.0.0/26",
            "of 61, 61 are held",
            "30 by h2",
            "larger subnet",
        ] {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
        assert!(error.contains(&format!("{h1_has} by h1")), "{error}");
    }
    let given: BTreeSet<_> = told.all().into_iter().map(|(address, _)| address).collect();
    let expected: BTreeSet<_> = (2..63).map(|host| ip(&format!("10.5.0.{host}"))).collect();
    assert_eq!(given, expected);
    for (address, node) in told.all() {
        if node == "h1" { h1 } else { h2 }.release(pool, address).await;
    }
    assert_eq!(h1.lent().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_over_the_embedded_store() {
    ten_thousand(Cluster::embedded(), "embedded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_over_etcd() {
    if let Some(cluster) = Cluster::etcd().await {
        ten_thousand(cluster, "etcd").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_can_have_all_that_another_owns() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(SMALL)]).await;
    let (h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    let pool = blue(SMALL);
    let mut given = Vec::new();
    for _ in 0..61 {
        given.push(h1.request(&pool).await.unwrap());
    }
    assert_eq!(h1.blocks().await.values().sum::<usize>(), 8);
    for address in given.drain(..) {
        h1.release(&pool, address).await;
    }
    // h1 owns every block, and uses nothing of it.
    for _ in 0..61 {
        given.push(h2.request(&pool).await.unwrap());
    }
    assert_eq!(h1.lent().await, 61);
    assert!(matches!(h1.request(&pool).await, Err(IpamError::Exhausted { .. })));
    for address in given {
        h2.release(&pool, address).await;
    }
    assert_eq!(h1.lent().await, 0);
    h1.request(&pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_anothers_block_is_lent_or_its_holder_named() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(SMALL)]).await;
    let (h1, h2, h3) = (cluster.host("h1").await, cluster.host("h2").await, cluster.host("h3").await);
    let pool = blue(SMALL);
    let first = h1.request(&pool).await.unwrap();
    assert_eq!(first, ip("10.5.0.2"));
    let endpoint: EndpointId = name("466a53675492");
    h1.ipam.bind(Some(&name("blue")), first, &endpoint).await.unwrap();

    assert_eq!(h2.ask_for(&pool, "10.5.0.5").await.unwrap(), ip("10.5.0.5"));
    assert_eq!(h1.lent().await, 1);
    let error = h2.ask_for(&pool, "10.5.0.2").await.unwrap_err().to_string();
    for part in ["10.5.0.2", "held by node h1 for endpoint 466a53675492", "--ipam-opt network=blue"] {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
    // The owner itself, and a third node, are told of the borrower.
    for host in [&h1, &h3] {
        let error = host.ask_for(&pool, "10.5.0.5").await.unwrap_err().to_string();
        assert!(error.contains("10.5.0.5") && error.contains("held by node h2"), "{error}");
    }
    // Given back, it is the owner's again, and a third node's for the asking.
    h2.release(&pool, ip("10.5.0.5")).await;
    assert_eq!(h1.lent().await, 0);
    h3.ask_for(&pool, "10.5.0.5").await.unwrap();
    h3.release(&pool, ip("10.5.0.5")).await;
    h1.ask_for(&pool, "10.5.0.5").await.unwrap();
    // An address in a block of nobody's is claimed with its block.
    h2.ask_for(&pool, "10.5.0.60").await.unwrap();
    assert_eq!(h1.blocks().await["h2"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_owner_is_named_and_its_node_can_be_removed() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet("10.5.0.0/29")]).await;
    let pool = blue("10.5.0.0/29");
    let deadline = Duration::from_millis(300);
    let mut h1 = cluster.host_with("h1", deadline).await;
    let (h2, h3) = (cluster.host_with("h2", deadline).await, cluster.host_with("h3", deadline).await);
    let all: Vec<_> = {
        let mut all = Vec::new();
        while let Ok(address) = h1.request(&pool).await {
            all.push(address);
        }
        all
    };
    assert_eq!(all.len(), 5);
    for address in &all[1..] {
        h1.release(&pool, *address).await;
    }
    let borrowed = h3.request(&pool).await.unwrap();
    h1.stop().await;

    let start = Instant::now();
    let error = h2.request(&pool).await.unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    for part in ["node h1", "did not answer within 300 ms", "sluice node rm", "network=blue,pool=10.5.0.0/29"]
    {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
    let error = h2.ask_for(&pool, &all[0].to_string()).await.unwrap_err().to_string();
    assert!(error.contains("node h1"), "{error}");

    // The dead node's addresses are free; what it had lent stays its borrower's.
    release_node(cluster.store.as_ref(), &name("h1")).await.unwrap();
    release_node(cluster.store.as_ref(), &name("h1")).await.unwrap();
    let mut given = BTreeSet::from([borrowed]);
    for _ in 0..4 {
        assert!(given.insert(h2.request(&pool).await.unwrap()));
    }
    assert!(matches!(h2.request(&pool).await, Err(IpamError::Exhausted { .. })));
    h3.release(&pool, borrowed).await;
    h2.request(&pool).await.unwrap();
    assert!(!h2.blocks().await.contains_key("h1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn claimed_blocks_serve_while_the_store_is_away_and_through_a_restart() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(SMALL)]).await;
    let (mut h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    let pool = blue(SMALL);
    let first = h1.request(&pool).await.unwrap();
    h1.gate.set_away(true);
    // .2 to .7 are h1's block, less the gateway.
    let mut given = BTreeSet::from([first]);
    for _ in 0..2 {
        assert!(given.insert(h1.request(&pool).await.unwrap()));
    }
    h1.restart().await;
    for _ in 0..3 {
        assert!(given.insert(h1.request(&pool).await.unwrap()), "{given:?}");
    }
    let error = h1.request(&pool).await.unwrap_err().to_string();
    for part in
        ["node h1 has no free address in the 1 blocks", "cannot get more", "gated store does not answer"]
    {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
    h1.release(&pool, first).await;
    assert_eq!(h1.request(&pool).await.unwrap(), first);
    // Another's address cannot be lent meanwhile, nor given.
    let others = h2.request(&pool).await.unwrap();
    assert!(!given.contains(&others));
    h1.gate.set_away(false);
    assert!(given.insert(h1.request(&pool).await.unwrap()));
    assert_eq!(h1.ipam.leases().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_borrowed_goes_back_when_the_store_does() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet("10.5.0.0/29")]).await;
    let pool = blue("10.5.0.0/29");
    let (h1, mut h2) = (cluster.host("h1").await, cluster.host("h2").await);
    for _ in 0..5 {
        h1.request(&pool).await.unwrap();
    }
    h1.release(&pool, ip("10.5.0.4")).await;
    assert_eq!(h2.request(&pool).await.unwrap(), ip("10.5.0.4"));
    h2.gate.set_away(true);
    h2.release(&pool, ip("10.5.0.4")).await;
    assert_eq!(h1.lent().await, 1);
    // Not even a restart loses it.
    h2.restart().await;
    h2.gate.set_away(false);
    let deadline = Instant::now() + Duration::from_secs(5);
    while h1.lent().await != 0 {
        assert!(Instant::now() < deadline, "the address was not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(h1.request(&pool).await.unwrap(), ip("10.5.0.4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_lost_its_ledger_still_lends() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet("10.5.0.0/29")]).await;
    let pool = blue("10.5.0.0/29");
    {
        let lost = cluster.host("h1").await;
        for _ in 0..5 {
            lost.request(&pool).await.unwrap();
        }
        lost.ipam.forget_network(&name("blue")).await.unwrap();
    }
    let mut h1 = cluster.host("h1-again").await;
    h1.stop().await;
    // The same node with an empty ledger.
    let h1 = cluster.renamed(h1, "h1");
    let h2 = cluster.host("h2").await;
    h2.request(&pool).await.unwrap();
    assert_eq!(h1.lent().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_subnet_is_used_up_exactly() {
    let bare = |text| sluice::model::Subnet::parse(text).unwrap();
    for (of, range, usable) in [
        (bare("10.5.0.0/31"), None, vec!["10.5.0.0", "10.5.0.1"]),
        (subnet("10.5.0.0/31"), None, vec!["10.5.0.1"]),
        (bare("10.5.0.7/32"), None, vec!["10.5.0.7"]),
        (subnet("10.5.0.0/32"), None, vec![]),
        (subnet("10.5.0.0/30"), None, vec!["10.5.0.2"]),
        (subnet("fd00:5::/126"), None, vec!["fd00:5::2", "fd00:5::3"]),
        (
            subnet("10.5.0.0/16"),
            Some("10.5.9.64/30"),
            vec!["10.5.9.64", "10.5.9.65", "10.5.9.66", "10.5.9.67"],
        ),
        (subnet("10.5.0.0/24"), Some("10.5.0.252/30"), vec!["10.5.0.252", "10.5.0.253", "10.5.0.254"]),
        (subnet("fd00:5::/64"), Some("fd00:5::4:0/127"), vec!["fd00:5::4:0", "fd00:5::4:1"]),
    ] {
        let cluster = Cluster::embedded();
        cluster.blue(std::slice::from_ref(&of)).await;
        let hosts = [cluster.host("h1").await, cluster.host("h2").await];
        let pool = PoolId { scope: Scope::Network(name("blue")), prefix: of.prefix, range: range.map(net) };
        let mut given = BTreeSet::new();
        for index in 0..usable.len() {
            let address = hosts[index % 2].request(&pool).await.unwrap_or_else(|e| panic!("{pool}: {e}"));
            assert!(given.insert(address));
        }
        assert_eq!(given, usable.into_iter().map(ip).collect(), "{pool}");
        for host in &hosts {
            let error = host.request(&pool).await.unwrap_err().to_string();
            assert!(error.contains("no address is left") && error.contains(&pool.to_string()), "{error}");
            assert_eq!(error.contains("--ip-range"), range.is_some(), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_of_one_network_serve_side_by_side() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(SMALL), subnet("fd00:5::/64")]).await;
    let hosts = [cluster.host("h1").await, cluster.host("h2").await];
    let told = Told::default();
    for host in &hosts {
        for pool in [blue(SMALL), blue("fd00:5::/64")] {
            for _ in 0..10 {
                told.given(host.request(&pool).await.unwrap(), "");
            }
        }
    }
    assert!(told.all().iter().any(|(address, _)| *address == ip("fd00:5::2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freed_address_rests_and_an_idle_block_goes_back() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet("10.5.0.0/24")]).await;
    let pool = blue("10.5.0.0/24");
    let h1 = cluster.host("h1").await;
    let mut last = h1.request(&pool).await.unwrap();
    for _ in 0..12 {
        h1.release(&pool, last).await;
        let next = h1.request(&pool).await.unwrap();
        assert_ne!(next, last);
        last = next;
    }
    assert_eq!(
        h1.ask_for(&pool, "10.5.0.3").await.unwrap(),
        ip("10.5.0.3"),
        "asked for, it is given at once"
    );
    let mut given = Vec::new();
    for _ in 0..30 {
        given.push(h1.request(&pool).await.unwrap());
    }
    assert_eq!(h1.blocks().await["h1"], 3);
    for address in given {
        h1.release(&pool, address).await;
    }
    for _ in 0..5 {
        h1.ipam.collect(0, 1, &BTreeSet::new()).await.unwrap();
    }
    assert_eq!(h1.blocks().await["h1"], 1);
    h1.request(&pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_network_leaves_nothing() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet(SMALL)]).await;
    let pool = blue(SMALL);
    let (mut h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    h1.request(&pool).await.unwrap();
    h2.ask_for(&pool, "10.5.0.3").await.unwrap();
    for host in [&h1, &h2] {
        host.ipam.forget_network(&name("blue")).await.unwrap();
    }
    release_network(cluster.store.as_ref(), &name("blue")).await.unwrap();
    assert!(cluster.store.list("/sluice/v1/blocks/").await.unwrap().is_empty());
    h1.restart().await;
    assert!(h1.ipam.leases().is_empty());
    assert_eq!(h1.request(&pool).await.unwrap(), ip("10.5.0.2"));
}
