//! Docker's calls, one node after another.

use std::collections::{BTreeMap, BTreeSet};

use sluice::ipam::{HostRoute, IpamError, PoolReply, Purpose, RequestPool, Scope, Source};
use sluice::model::EndpointId;

use crate::support::*;

fn request(network: Option<&str>, pool: Option<&str>) -> RequestPool {
    RequestPool {
        address_space: "sluice-local".into(),
        pool: pool.map(net),
        options: network.map(|name| ("network".to_owned(), name.to_owned())).into_iter().collect(),
        ..RequestPool::default()
    }
}

async fn pool(host: &Host, network: Option<&str>, pool: Option<&str>) -> Result<PoolReply, IpamError> {
    host.ipam.request_pool(request(network, pool)).await
}

fn assert_has(error: &IpamError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
    assert!(!text.contains('\n'), "{text}");
}

#[tokio::test]
async fn the_first_host_chooses_and_the_second_follows() {
    let cluster = Cluster::embedded();
    let (h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    // Before CreateNetwork: gateway and auxiliary addresses are Docker's to name.
    let reply = pool(&h1, Some("blue"), Some("10.5.0.0/24")).await.unwrap();
    assert_eq!((reply.id.to_string().as_str(), reply.gateway), ("network=blue,pool=10.5.0.0/24", None));
    let gateway = |asked: Option<&str>| (asked.map(ip), Purpose::Gateway);
    let ask =
        async |host: &Host, (asked, purpose)| host.ipam.request_address(&reply.id, asked, purpose).await;
    assert_eq!(ask(&h1, gateway(None)).await.unwrap(), net("10.5.0.1/24"));
    assert_eq!(ask(&h1, gateway(Some("10.5.0.254"))).await.unwrap(), net("10.5.0.254/24"));
    assert_eq!(h1.ask_for(&reply.id, "10.5.0.5").await.unwrap(), ip("10.5.0.5"));
    assert_has(&h1.request(&reply.id).await.unwrap_err(), &["no network blue yet", "CreateNetwork"]);
    assert!(h1.ipam.leases().is_empty());

    let made = sluice::model::Subnet::parse("10.5.0.0/24").unwrap();
    let made = made.with_gateway(ip("10.5.0.254")).unwrap().with_reserved("rtr", ip("10.5.0.5")).unwrap();
    cluster.blue(&[made]).await;

    // The second host: with and without the subnet, either address space, any time again.
    for subnet in [None, Some("10.5.0.0/24")] {
        let mut again = request(Some("blue"), subnet);
        again.address_space = "sluice-global".into();
        let again = h2.ipam.request_pool(again).await.unwrap();
        assert_eq!((again.id.clone(), again.gateway), (reply.id.clone(), Some(net("10.5.0.254/24"))));
    }
    for host in [&h1, &h2] {
        assert_eq!(ask(host, gateway(None)).await.unwrap(), net("10.5.0.254/24"));
        assert_eq!(ask(host, gateway(Some("10.5.0.254"))).await.unwrap(), net("10.5.0.254/24"));
        let error = ask(host, gateway(Some("10.5.0.1"))).await.unwrap_err();
        assert_has(&error, &["network blue already exists with gateway 10.5.0.254", "node h1", "10.5.0.1"]);
        assert_eq!(host.ask_for(&reply.id, "10.5.0.5").await.unwrap(), ip("10.5.0.5"));
        let endpoint: EndpointId = name("e1");
        let error = host.ipam.bind(Some(&name("blue")), ip("10.5.0.5"), &endpoint).await.unwrap_err();
        assert_has(&error, &["10.5.0.5", "auxiliary address 'rtr'", "choose another"]);
        let error = host.ask_for(&reply.id, "10.5.0.254").await.unwrap_err();
        assert_has(&error, &["10.5.0.254", "the network's gateway"]);
        let error = host.ask_for(&reply.id, "10.6.0.1").await.unwrap_err();
        assert_has(&error, &["10.6.0.1", "not in subnet 10.5.0.0/24"]);
        // Released as at `docker network rm`; nothing changes for others.
        for address in ["10.5.0.254", "10.5.0.5", "10.5.0.77"] {
            host.release(&reply.id, ip(address)).await;
        }
        host.ipam.release_pool(&reply.id).await.unwrap();
    }
    let (one, other) = (h1.request(&reply.id).await.unwrap(), h2.request(&reply.id).await.unwrap());
    assert_ne!(one, other);

    let error = pool(&h2, Some("blue"), Some("10.6.0.0/24")).await.unwrap_err();
    assert_has(&error, &["network blue already exists with subnet 10.5.0.0/24", "10.6.0.0/24", "node h1"]);
    let mut six = request(Some("blue"), None);
    six.v6 = true;
    assert_has(&h2.ipam.request_pool(six).await.unwrap_err(), &["network blue has no IPv6 subnet"]);
    let old = pool_id("network=blue,pool=10.9.0.0/24");
    assert_has(
        &h2.request(&old).await.unwrap_err(),
        &["10.9.0.0/24", "made anew", "remove the Docker network"],
    );
}

#[tokio::test]
async fn bad_requests_name_the_thing_and_the_remedy() {
    let cluster = Cluster::embedded();
    let h1 = cluster.host("h1").await;
    let mut wrong = request(None, None);
    wrong.options = BTreeMap::from([("netwrok".to_owned(), "blue".to_owned())]);
    assert_has(&h1.ipam.request_pool(wrong).await.unwrap_err(), &["'netwrok=blue'", "network=NAME"]);
    let error = pool(&h1, Some("a/b"), None).await.unwrap_err();
    assert_has(&error, &["network=a/b", "letters"]);
    let error = pool(&h1, Some("blue"), Some("10.5.0.9/24")).await.unwrap_err();
    assert_has(&error, &["10.5.0.9/24", "did you mean 10.5.0.0/24"]);
    assert_has(&pool(&h1, None, Some("224.0.0.0/8")).await.unwrap_err(), &["224.0.0.0/8", "multicast"]);
    for range in ["10.6.0.0/25", "10.5.0.1/25", "10.0.0.0/8"] {
        let mut wrong = request(Some("blue"), Some("10.5.0.0/24"));
        wrong.sub_pool = Some(net(range));
        let error = h1.ipam.request_pool(wrong).await.unwrap_err();
        assert_has(&error, &["--ip-range", range, "10.5.0.0/24"]);
    }
    assert_has(&h1.request(&pool_id("local=7,pool=10.5.0.0/24")).await.unwrap_err(), &["no pool local=7"]);
    h1.ipam.release_pool(&pool_id("local=7,pool=10.5.0.0/24")).await.unwrap();
    h1.release(&pool_id("local=7,pool=10.5.0.0/24"), ip("10.5.0.1")).await;
    assert!(h1.ipam.leases().is_empty());
}

#[tokio::test]
async fn docker_is_never_led_in_circles() {
    let cluster = Cluster::embedded();
    let (h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    // Two hosts that create one network at once choose alike, without a word to each other.
    let chosen = pool(&h1, Some("blue"), None).await.unwrap();
    assert_eq!(pool(&h2, Some("blue"), None).await.unwrap(), chosen);
    assert!(net("10.192.0.0/10").contains(&chosen.pool), "{}", chosen.pool);
    // A route in the way: another one is chosen, and default routes are not in the way.
    let route = |prefix| HostRoute { prefix, via: "link eth0".into() };
    *h1.routes.0.lock().unwrap() = vec![route(net("0.0.0.0/0")), route(chosen.pool)];
    let other = pool(&h1, Some("blue"), None).await.unwrap();
    assert_ne!(other.pool, chosen.pool);
    // The network exists: there is only the one, and Docker would ask for ever.
    cluster.blue(&[subnet(&chosen.pool.to_string())]).await;
    let error = pool(&h1, Some("blue"), None).await.unwrap_err();
    assert_has(&error, &[&chosen.pool.to_string(), "link eth0", &format!("--subnet {}", chosen.pool)]);
    pool(&h1, Some("blue"), Some(&chosen.pool.to_string())).await.unwrap();
    *h1.routes.0.lock().unwrap() = vec![route(net("10.0.0.0/8"))];
    assert_has(
        &pool(&h1, Some("green"), None).await.unwrap_err(),
        &["no subnet is left", "10.192.0.0/10", "--subnet"],
    );
    // Other networks' subnets are left alone too.
    h1.routes.0.lock().unwrap().clear();
    for index in 0..10 {
        assert_ne!(pool(&h1, Some(&format!("n{index}")), None).await.unwrap().pool, chosen.pool);
    }
    // Something that sluice cannot see is in the way.
    let mut error = None;
    for _ in 0..30 {
        error = pool(&h2, Some("red"), None).await.err().or(error);
    }
    assert_has(&error.unwrap(), &["Docker asked", "network red", "--subnet"]);
    // Asked with a subnet, there is no limit; nor for another network.
    pool(&h2, Some("red"), Some("10.7.0.0/24")).await.unwrap();
    pool(&h2, Some("orange"), None).await.unwrap();
}

#[tokio::test]
async fn a_local_pool_is_this_hosts_alone() {
    let cluster = Cluster::embedded();
    let mut h1 = cluster.host("h1").await;
    h1.gate.set_away(true);
    let first = pool(&h1, None, Some("10.9.0.0/29")).await.unwrap();
    let error = pool(&h1, None, Some("10.9.0.0/24")).await.unwrap_err();
    assert_has(&error, &["10.9.0.0/24 overlaps", &first.id.to_string(), "choose another subnet"]);
    let gateway = h1.ipam.request_address(&first.id, None, Purpose::Gateway).await.unwrap();
    assert_eq!(gateway, net("10.9.0.1/29"));
    let aux = h1.ask_for(&first.id, "10.9.0.3").await.unwrap();
    let made = subnet("10.9.0.0/29").with_reserved("rtr", aux).unwrap();
    h1.ipam.settle_local(&made).await.unwrap();
    h1.ipam.collect(u64::MAX, 1, &BTreeSet::new()).await.unwrap();
    h1.restart().await;
    let mut given = BTreeSet::new();
    for _ in 0..4 {
        given.insert(h1.request(&first.id).await.unwrap());
    }
    assert_eq!(given, ["10.9.0.2", "10.9.0.4", "10.9.0.5", "10.9.0.6"].map(ip).into());
    assert_has(&h1.request(&first.id).await.unwrap_err(), &["of 4, 4 are held (4 by h1)"]);
    let (one, other): (EndpointId, EndpointId) = (name("e1"), name("e2"));
    h1.ipam.bind(None, ip("10.9.0.2"), &one).await.unwrap();
    let error = h1.ipam.bind(None, ip("10.9.0.2"), &other).await.unwrap_err();
    assert_has(&error, &["10.9.0.2", "node h1 for endpoint e1"]);
    // An address of Docker's own IPAM in a network of this host alone is Docker's to look after.
    h1.ipam.bind(None, ip("172.20.0.2"), &other).await.unwrap();
    h1.ipam.unbind(None, ip("172.20.0.2"), &other).await.unwrap();

    h1.ipam.release_pool(&first.id).await.unwrap();
    h1.ipam.release_pool(&first.id).await.unwrap();
    h1.restart().await;
    assert!(h1.ipam.leases().is_empty());
    let second = pool(&h1, None, Some("10.9.0.0/29")).await.unwrap();
    assert_ne!(second.id, first.id, "a PoolID is not given twice");
    // Its network never came: it does not stay in the way.
    assert!(h1.ipam.collect(0, 60, &BTreeSet::new()).await.unwrap().is_empty());
    assert_has(&pool(&h1, None, Some("10.9.0.0/29")).await.unwrap_err(), &[&second.id.to_string()]);
    h1.ipam.collect(u64::MAX, 60, &BTreeSet::new()).await.unwrap();
    pool(&h1, None, Some("10.9.0.0/29")).await.unwrap();
}

#[tokio::test]
async fn an_address_lives_as_long_as_its_users() {
    let cluster = Cluster::embedded();
    cluster.blue(&[subnet("10.5.0.0/24")]).await;
    let mut h1 = cluster.host("h1").await;
    let id = blue("10.5.0.0/24");
    let blue = name("blue");
    let (e1, e2): (EndpointId, EndpointId) = (name("e1"), name("e2"));
    let address = ip("10.5.0.9");

    // The usual course, over a restart.
    h1.ask_for(&id, "10.5.0.9").await.unwrap();
    h1.ipam.bind(Some(&blue), address, &e1).await.unwrap();
    h1.restart().await;
    h1.ipam.bind(Some(&blue), address, &e1).await.unwrap();
    assert_has(&h1.ask_for(&id, "10.5.0.9").await.unwrap_err(), &["node h1 for endpoint e1"]);
    assert_has(&h1.ipam.bind(Some(&blue), address, &e2).await.unwrap_err(), &["node h1 for endpoint e1"]);
    h1.ipam.unbind(Some(&blue), address, &e2).await.unwrap();
    assert_eq!(h1.ipam.leases()[0].2.endpoint, Some(e1.clone()));
    h1.ipam.unbind(Some(&blue), address, &e1).await.unwrap();
    h1.ipam.unbind(Some(&blue), address, &e1).await.unwrap();
    assert_eq!(h1.ipam.leases().len(), 1);
    h1.release(&id, address).await;
    h1.release(&id, address).await;
    assert!(h1.ipam.leases().is_empty());

    // Two containers ask for one --ip at once. The loser's release must not free it for a third.
    h1.ask_for(&id, "10.5.0.9").await.unwrap();
    h1.ask_for(&id, "10.5.0.9").await.unwrap();
    h1.ipam.bind(Some(&blue), address, &e1).await.unwrap();
    h1.ipam.bind(Some(&blue), address, &e2).await.unwrap_err();
    h1.release(&id, address).await;
    h1.ipam.unbind(Some(&blue), address, &e1).await.unwrap();
    assert_eq!(h1.ipam.leases().len(), 1);
    h1.release(&id, address).await;
    assert!(h1.ipam.leases().is_empty());

    // Released while bound: freed when the endpoint goes.
    h1.ask_for(&id, "10.5.0.9").await.unwrap();
    h1.ipam.bind(Some(&blue), address, &e1).await.unwrap();
    h1.release(&id, address).await;
    assert_has(&h1.ask_for(&id, "10.5.0.9").await.unwrap_err(), &["e1"]);
    h1.ipam.unbind(Some(&blue), address, &e1).await.unwrap();
    assert!(h1.ipam.leases().is_empty());

    // What Docker forgot to release is collected, and nothing that is in use or young.
    h1.ask_for(&id, "10.5.0.9").await.unwrap();
    let live = h1.request(&id).await.unwrap();
    h1.ipam.bind(Some(&blue), live, &e1).await.unwrap();
    let since = h1.ipam.leases()[0].2.since;
    assert!(h1.ipam.collect(since + 5, 60, &[e1.clone()].into()).await.unwrap().is_empty());
    let freed = h1.ipam.collect(since + 100, 60, &[e1.clone()].into()).await.unwrap();
    assert_eq!(freed, vec![(Scope::Network(blue.clone()), address)]);
    h1.ipam.collect(since + 100, 60, &BTreeSet::new()).await.unwrap();
    assert!(h1.ipam.leases().is_empty());
    // An endpoint that Docker still has, whose lease was collected, gets it again.
    h1.ipam.bind(Some(&blue), live, &e1).await.unwrap();
    assert_eq!(h1.ipam.leases()[0].2.source, Source::Sluice);
}

#[tokio::test]
async fn addresses_of_dockers_own_ipam_are_claimed() {
    let cluster = Cluster::embedded();
    let made = subnet("10.5.0.0/24");
    cluster.blue(std::slice::from_ref(&made)).await;
    let (h1, h2) = (cluster.host("h1").await, cluster.host("h2").await);
    let blue = name("blue");
    let (e1, e2): (EndpointId, EndpointId) = (name("e1"), name("e2"));
    // Docker's IPAM begins at .2 on every host.
    h1.ipam.claim(&blue, &made, ip("10.5.0.2"), &e1).await.unwrap();
    h1.ipam.claim(&blue, &made, ip("10.5.0.2"), &e1).await.unwrap();
    for host in [&h1, &h2] {
        let error = host.ipam.claim(&blue, &made, ip("10.5.0.2"), &e2).await.unwrap_err();
        assert_has(
            &error,
            &["10.5.0.2", "node h1 for endpoint e1", "--ipam-driver sluice --ipam-opt network=blue"],
        );
    }
    let error = h2.ipam.claim(&blue, &made, ip("10.5.0.1"), &e2).await.unwrap_err();
    assert_has(&error, &["10.5.0.1", "the network's gateway"]);
    h2.ipam.claim(&blue, &made, ip("10.5.0.3"), &e2).await.unwrap();
    assert_eq!(h1.lent().await, 1);
    h1.ipam.unbind(Some(&blue), ip("10.5.0.2"), &e1).await.unwrap();
    h2.ipam.claim(&blue, &made, ip("10.5.0.2"), &e1).await.unwrap();
    h2.ipam.unbind(Some(&blue), ip("10.5.0.2"), &e1).await.unwrap();
    h2.ipam.unbind(Some(&blue), ip("10.5.0.3"), &e2).await.unwrap();
    assert_eq!(h1.lent().await, 0);
    assert!(h1.ipam.leases().is_empty() && h2.ipam.leases().is_empty());
}
