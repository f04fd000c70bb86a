use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::model::{NodeName, Subnet, UnknownFields};
use crate::store::Embedded;

fn name(text: &str) -> NetworkName {
    text.parse().unwrap()
}

fn origin(node: &str) -> Origin {
    Origin { node: node.parse::<NodeName>().unwrap(), at: 7 }
}

fn subnet(text: &str) -> NetworkSpec {
    NetworkSpec { subnets: vec![Subnet::parse(text).unwrap()], ..Default::default() }
}

async fn make(store: &dyn Store, network: &str, spec: &NetworkSpec) -> Result<Network, NetworkError> {
    create_or_agree(store, &name(network), spec, Encapsulation::Vxlan, origin("h1")).await
}

async fn keys_of(store: &dyn Store) -> Vec<String> {
    store.list(keys::ROOT).await.unwrap().into_iter().map(|entry| entry.key).collect()
}

fn endpoint(network: &str, id: &str) -> Write {
    let endpoint = Endpoint {
        id: id.parse().unwrap(),
        network: name(network),
        node: "h2".parse().unwrap(),
        mac: "02:00:00:00:00:01".parse().unwrap(),
        addresses: vec!["10.5.0.2/16".parse().unwrap()],
        phase: crate::model::Phase::Joined,
        options: Default::default(),
        unknown: UnknownFields::new(),
    };
    Write::Put(keys::endpoint(&endpoint.network, &endpoint.id), encode(&endpoint))
}

fn store() -> (tempfile::TempDir, Arc<Embedded>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
    (directory, store)
}

#[tokio::test]
async fn a_network_is_made_once_with_its_claims_and_a_gateway() {
    let (_directory, store) = store();
    let blue = make(&*store, "blue", &subnet("10.5.0.0/16")).await.unwrap();
    assert_eq!((blue.id.get(), blue.vni.unwrap().get()), (1, 1));
    assert_eq!(blue.subnets[0].gateway, Some("10.5.0.1".parse().unwrap()));
    assert_eq!(
        keys_of(&*store).await,
        ["/sluice/v1/network-ids/1", "/sluice/v1/networks/blue", "/sluice/v1/vnis/vxlan/1"]
    );
    let again =
        create(&*store, &name("blue"), &subnet("10.5.0.0/16"), Encapsulation::Gre, origin("h2")).await;
    assert_eq!(again.unwrap(), (blue.clone(), false));
    assert_eq!(make(&*store, "blue", &NetworkSpec::default()).await.unwrap(), blue);

    let error = make(&*store, "blue", &subnet("10.6.0.0/16")).await.unwrap_err();
    assert!(matches!(&error, NetworkError::Disagreement(d) if d.field == "subnet"), "{error}");
    assert_eq!(find(&*store, &name("blue")).await.unwrap(), Some(blue.clone()));
    assert_eq!(list(&*store).await.unwrap(), [blue]);
}

#[tokio::test]
async fn segments_are_one_networks_each_within_an_encapsulation() {
    let (_directory, store) = store();
    let vni = |number: u32| NetworkSpec { vni: Some(number.try_into().unwrap()), ..Default::default() };
    make(&*store, "red", &vni(2)).await.unwrap();
    let error = make(&*store, "green", &vni(2)).await.unwrap_err().to_string();
    for part in ["green", "vni=2", "encap=vxlan", "belongs to network red"] {
        assert!(error.contains(part), "{error}");
    }
    let geneve = NetworkSpec { encapsulation: Some(Encapsulation::Geneve), ..vni(2) };
    make(&*store, "green", &geneve).await.unwrap();
    // Ids 1 and 2 are taken by now; VNI 3 is free, and 4 somebody's.
    make(&*store, "four", &vni(4)).await.unwrap();
    let next = make(&*store, "next", &NetworkSpec::default()).await.unwrap();
    assert_eq!((next.id.get(), next.vni.unwrap().get()), (5, 5));

    let vlan = |id: &str| NetworkSpec { vlan: Some(id.parse().unwrap()), ..Default::default() };
    make(&*store, "trunk", &vlan("100")).await.unwrap();
    let error = make(&*store, "other", &vlan("100")).await.unwrap_err().to_string();
    assert!(error.contains("vlan=100 belongs to network trunk"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creations_at_once_get_different_ids_or_one_network() {
    let (_directory, store) = store();
    let jobs: Vec<_> = (0..60)
        .map(|job| {
            let store = Arc::clone(&store);
            // Thirty networks, each asked for by two.
            tokio::spawn(
                async move { make(&*store, &format!("n{}", job % 30), &NetworkSpec::default()).await },
            )
        })
        .collect();
    let mut made = BTreeSet::new();
    for job in jobs {
        let network = job.await.unwrap().unwrap();
        made.insert((network.name.clone(), network.id.get()));
    }
    assert_eq!(made.len(), 30);
    assert_eq!(made.iter().map(|(_, id)| *id).collect::<BTreeSet<_>>().len(), 30);
    assert_eq!(keys_of(&*store).await.len(), 90);
}

#[tokio::test]
async fn removal_takes_everything_and_is_refused_while_endpoints_are() {
    let (_directory, store) = store();
    make(&*store, "blue", &subnet("10.5.0.0/16")).await.unwrap();
    make(&*store, "green", &subnet("10.5.0.0/16")).await.unwrap();
    let before = keys_of(&*store).await;
    let id = "ab".repeat(32);
    let prefixes = (0..200).map(|n| format!("10.5.{n}.0/28"));
    for prefix in prefixes {
        let key = keys::block(&name("blue"), prefix.parse().unwrap());
        store.commit(vec![], vec![Write::Put(key, b"{}".to_vec())]).await.unwrap();
    }
    store.commit(vec![], vec![endpoint("blue", &id)]).await.unwrap();

    let error = remove(&*store, &name("blue")).await.unwrap_err().to_string();
    for part in ["network blue has 1 endpoint(s)", "abababababab on node h2", "first"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(keys_of(&*store).await.len(), before.len() + 201);

    let gone = Write::Delete(keys::endpoint(&name("blue"), &id.parse().unwrap()));
    store.commit(vec![], vec![gone]).await.unwrap();
    remove(&*store, &name("blue")).await.unwrap();
    let left = keys_of(&*store).await;
    assert!(left.iter().all(|key| !key.contains("blue")) && left.len() == 3, "{left:?}");
    let error = remove(&*store, &name("blue")).await.unwrap_err();
    assert!(matches!(error, NetworkError::Unknown(_)));
    // The id and the VNI are free again.
    assert_eq!(make(&*store, "blue", &NetworkSpec::default()).await.unwrap().id.get(), 1);
}

#[tokio::test]
async fn a_new_network_does_not_inherit_an_old_ones_blocks() {
    let (_directory, store) = store();
    let key = keys::block(&name("blue"), "10.5.0.0/28".parse().unwrap());
    store.commit(vec![], vec![Write::Put(key.clone(), b"{}".to_vec())]).await.unwrap();
    make(&*store, "blue", &subnet("10.5.0.0/16")).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_value_is_named() {
    let (_directory, store) = store();
    store
        .commit(vec![], vec![Write::Put(keys::network(&name("blue")), b"{\"name\":".to_vec())])
        .await
        .unwrap();
    for error in [
        find(&*store, &name("blue")).await.unwrap_err(),
        list(&*store).await.unwrap_err(),
        remove(&*store, &name("blue")).await.unwrap_err(),
        make(&*store, "blue", &NetworkSpec::default()).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("/sluice/v1/networks/blue") && text.contains("repair"), "{text}");
        assert!(!error.is_transient());
    }
}

/// A store in which an endpoint appears between a removal's look at the endpoints and its transaction.
struct Racing {
    store: Arc<Embedded>,
    intruder: std::sync::Mutex<Option<Write>>,
}

#[async_trait::async_trait]
impl Store for Racing {
    fn describe(&self) -> String {
        self.store.describe()
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.store.list(prefix).await
    }
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<TxnOutcome, StoreError> {
        let intruder = self.intruder.lock().unwrap().take();
        if let Some(write) = intruder {
            let present = Guard::Present(keys::network(&name("blue")));
            self.store.commit(vec![present], vec![write]).await?;
        }
        self.store.commit(guards, writes).await
    }
    fn mirror(self: Arc<Self>, prefix: String) -> tokio::sync::mpsc::Receiver<crate::store::MirrorEvent> {
        Arc::clone(&self.store).mirror(prefix)
    }
    fn keep_present(
        self: Arc<Self>,
        key: String,
        value: Vec<u8>,
        ttl: std::time::Duration,
    ) -> crate::store::Presence {
        Arc::clone(&self.store).keep_present(key, value, ttl)
    }
}

#[tokio::test]
async fn an_endpoint_made_during_a_removal_keeps_its_network() {
    let (_directory, store) = store();
    let blue = make(&*store, "blue", &subnet("10.5.0.0/16")).await.unwrap();
    let before = keys_of(&*store).await;
    let id = "ab".repeat(32);
    let racing = Racing { store: Arc::clone(&store), intruder: Some(endpoint("blue", &id)).into() };
    let error = remove(&racing, &name("blue")).await.unwrap_err();
    assert!(matches!(error, NetworkError::InUse { .. }), "{error}");
    assert_eq!(find(&*store, &name("blue")).await.unwrap(), Some(blue));
    let mut after = keys_of(&*store).await;
    after.retain(|key| !key.starts_with(keys::ENDPOINTS));
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_gateway_that_nobody_chose_is_not_what_was_reserved() {
    let (_directory, store) = store();
    let first = "10.5.0.1".parse().unwrap();
    let reserved = Subnet::parse("10.5.0.0/16").unwrap().with_reserved("rtr", first).unwrap();
    let spec = NetworkSpec { subnets: vec![reserved], ..Default::default() };
    let error = make(&*store, "blue", &spec).await.unwrap_err().to_string();
    for part in ["network blue", "gateway 10.5.0.1", "'rtr'", "choose another"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(keys_of(&*store).await.is_empty());
}
