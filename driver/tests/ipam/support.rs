//! A small cluster in one process.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use sluice::ipam::{HostRoute, HostRoutes, Ipam, IpamConfig, IpamError, Networks, PoolId, Purpose, Scope};
use sluice::model::{Encapsulation, Network, NetworkName, NetworkSpec, NodeName, Origin, Subnet};
use sluice::store::{
    Embedded, Entry, Etcd, EtcdConfig, Guard, Ledger, MirrorEvent, Presence, Store, StoreError, TxnOutcome,
    Write, keys,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A subnet with its usual gateway.
pub(crate) fn subnet(text: &str) -> Subnet {
    let subnet = Subnet::parse(text).unwrap();
    let gateway = subnet.default_gateway();
    subnet.with_gateway(gateway).unwrap()
}

pub(crate) fn pool_id(text: &str) -> PoolId {
    text.parse().unwrap()
}

pub(crate) fn blue(prefix: &str) -> PoolId {
    PoolId { scope: Scope::Network(name("blue")), prefix: net(prefix), range: None }
}

/// What a store does with a transaction while it is troubled.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    NotDone,
    DoneUnheard,
    DoneLate(Duration),
}

/// A store that can be cut off, or be troubled: transactions lost, their answers lost, or carried out late.
pub(crate) struct Gate {
    inner: Arc<dyn Store>,
    away: AtomicBool,
    /// Of 1000 transactions so many have trouble.
    trouble: AtomicU32,
    seed: AtomicU64,
    /// The next transaction's trouble.
    next: Mutex<Option<Trouble>>,
}

impl Gate {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Arc<Gate> {
        Arc::new(Gate {
            inner,
            away: AtomicBool::new(false),
            trouble: AtomicU32::new(0),
            seed: AtomicU64::new(1),
            next: Mutex::default(),
        })
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(crate) fn set_trouble(&self, per_mille: u32) {
        self.trouble.store(per_mille, Ordering::SeqCst);
    }

    /// The next transaction is carried out after so long, and nobody hears of it.
    pub(crate) fn delay_next(&self, delay: Duration) {
        *self.next.lock().unwrap() = Some(Trouble::DoneLate(delay));
    }

    /// The next transaction is carried out, and nobody hears of it.
    pub(crate) fn silence_next(&self) {
        *self.next.lock().unwrap() = Some(Trouble::DoneUnheard);
    }

    fn error(&self) -> StoreError {
        StoreError::Unavailable { store: "gated store".into(), reason: "cut off by the test".into() }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) { Err(self.error()) } else { Ok(()) }
    }

    fn roll(&self) -> Trouble {
        if let Some(next) = self.next.lock().unwrap().take() {
            return next;
        }
        let mut x = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        if x % 1000 >= u64::from(self.trouble.load(Ordering::SeqCst)) {
            return Trouble::None;
        }
        [Trouble::NotDone, Trouble::DoneUnheard, Trouble::DoneLate(Duration::from_millis(15))]
            [(x / 1000 % 3) as usize]
    }
}

#[async_trait]
impl Store for Gate {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.check()?;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.check()?;
        self.inner.list(prefix).await
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<TxnOutcome, StoreError> {
        self.check()?;
        match self.roll() {
            Trouble::None => self.inner.commit(guards, writes).await,
            Trouble::NotDone => Err(self.error()),
            Trouble::DoneUnheard => {
                self.inner.commit(guards, writes).await?;
                Err(self.error())
            }
            Trouble::DoneLate(delay) => {
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    inner.commit(guards, writes).await
                });
                Err(self.error())
            }
        }
    }

    fn mirror(self: Arc<Self>, prefix: String) -> mpsc::Receiver<MirrorEvent> {
        let (events, receiver) = mpsc::channel(64);
        let mut inner = self.inner.clone().mirror(prefix);
        tokio::spawn(async move {
            while let Some(event) = inner.recv().await {
                while self.check().is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    fn keep_present(self: Arc<Self>, key: String, value: Vec<u8>, ttl: Duration) -> Presence {
        self.inner.clone().keep_present(key, value, ttl)
    }
}

/// Networks as the store has them, and as it had them while it is away.
pub(crate) struct StoreNetworks {
    store: Arc<dyn Store>,
    cache: Mutex<HashMap<NetworkName, Option<Arc<Network>>>>,
}

#[async_trait]
impl Networks for StoreNetworks {
    async fn find(&self, name: &NetworkName) -> Result<Option<Arc<Network>>, StoreError> {
        match self.store.get(&keys::network(name)).await {
            Ok(entry) => {
                let network = entry.map(|entry| Arc::new(serde_json::from_slice(&entry.value).unwrap()));
                self.cache.lock().unwrap().insert(name.clone(), network.clone());
                Ok(network)
            }
            Err(error) => self.cache.lock().unwrap().get(name).cloned().ok_or(error),
        }
    }

    async fn all_subnets(&self) -> Result<Vec<(NetworkName, IpNet)>, StoreError> {
        let mut subnets = Vec::new();
        for entry in self.store.list(keys::NETWORKS).await? {
            let network: Network = serde_json::from_slice(&entry.value).unwrap();
            subnets.extend(network.subnets.into_iter().map(|subnet| (network.name.clone(), subnet.prefix)));
        }
        Ok(subnets)
    }
}

#[derive(Default)]
pub(crate) struct Routes(pub(crate) Mutex<Vec<HostRoute>>);

#[async_trait]
impl HostRoutes for Routes {
    async fn in_use(&self) -> std::io::Result<Vec<HostRoute>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// One node's agent, as far as addresses go.
pub(crate) struct Host {
    pub(crate) ipam: Arc<Ipam>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) ledger: Ledger,
    pub(crate) routes: Arc<Routes>,
    node: NodeName,
    config: IpamConfig,
    networks: Arc<StoreNetworks>,
    running: JoinHandle<()>,
}

impl Host {
    /// The agent is killed, and started again with the ledger as it is then.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.ipam = Ipam::new(
            self.node.clone(),
            self.gate.clone(),
            self.ledger.clone(),
            self.networks.clone(),
            self.routes.clone(),
            self.config.clone(),
        )
        .unwrap();
        self.running = tokio::spawn(self.ipam.clone().run());
    }

    /// The agent is killed: it answers nobody.
    pub(crate) async fn stop(&mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
        // A process that dies takes its tasks and its queued writes with it.
        while Arc::strong_count(&self.ipam) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.ledger.commit(vec![]).await.unwrap();
    }

    pub(crate) async fn request(&self, pool: &PoolId) -> Result<IpAddr, IpamError> {
        self.ipam.request_address(pool, None, Purpose::Endpoint).await.map(|net| net.addr())
    }

    pub(crate) async fn ask_for(&self, pool: &PoolId, address: &str) -> Result<IpAddr, IpamError> {
        self.ipam.request_address(pool, Some(ip(address)), Purpose::Endpoint).await.map(|net| net.addr())
    }

    pub(crate) async fn release(&self, pool: &PoolId, address: IpAddr) {
        self.ipam.release_address(pool, address).await.unwrap();
    }

    /// By node, how many of blue's blocks it owns.
    pub(crate) async fn blocks(&self) -> BTreeMap<NodeName, usize> {
        let mut blocks = BTreeMap::new();
        for usage in self.ipam.usage(&name("blue")).await.unwrap() {
            for block in usage.blocks {
                *blocks.entry(block.owner).or_default() += 1;
            }
        }
        blocks
    }

    /// How many addresses of blue's are lent by the store's account.
    pub(crate) async fn lent(&self) -> u64 {
        let usage = self.ipam.usage(&name("blue")).await.unwrap();
        usage.iter().flat_map(|usage| &usage.blocks).flat_map(|block| block.lent.values()).sum()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.running.abort();
    }
}

pub(crate) struct Cluster {
    pub(crate) store: Arc<dyn Store>,
    dir: TempDir,
    _server: Option<Server>,
}

impl Cluster {
    pub(crate) fn embedded() -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(&dir.path().join("store.redb")).unwrap();
        Cluster { store, dir, _server: None }
    }

    /// Over a real etcd; `None`, with a reason printed, where there is no etcd.
    pub(crate) async fn etcd() -> Option<Cluster> {
        let dir = tempfile::tempdir().unwrap();
        let server = match Server::start(dir.path()) {
            Ok(server) => server,
            Err(error) => {
                println!("SKIPPED: etcd does not start ({error}); install etcd-server");
                return None;
            }
        };
        let mut config = EtcdConfig::new([server.url.clone()]);
        // This machine's disks are shared; the default is for servers of their own.
        config.call_timeout = Duration::from_secs(10);
        let store = Etcd::connect(config).unwrap();
        for _ in 0..300 {
            if store.get("/").await.is_ok() {
                return Some(Cluster { store, dir, _server: Some(server) });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd started and does not answer");
    }

    pub(crate) async fn host(&self, node: &str) -> Host {
        self.host_with(node, Duration::from_secs(2)).await
    }

    /// The installation of `host` under another name.
    pub(crate) fn renamed(&self, mut host: Host, node: &str) -> Host {
        host.node = name(node);
        host.ipam = Ipam::new(
            host.node.clone(),
            host.gate.clone(),
            host.ledger.clone(),
            host.networks.clone(),
            host.routes.clone(),
            host.config.clone(),
        )
        .unwrap();
        host.running = tokio::spawn(host.ipam.clone().run());
        host
    }

    pub(crate) async fn host_with(&self, node: &str, answer_deadline: Duration) -> Host {
        let gate = Gate::new(self.store.clone());
        let ledger = Ledger::open(&self.dir.path().join(format!("{node}.redb"))).unwrap();
        let networks = Arc::new(StoreNetworks { store: gate.clone(), cache: Mutex::default() });
        let routes = Arc::new(Routes::default());
        let config = IpamConfig { answer_deadline, ..IpamConfig::default() };
        let ipam = Ipam::new(
            name(node),
            gate.clone(),
            ledger.clone(),
            networks.clone(),
            routes.clone(),
            config.clone(),
        )
        .unwrap();
        let running = tokio::spawn(ipam.clone().run());
        Host { ipam, gate, ledger, routes, node: name(node), config, networks, running }
    }

    /// Makes the network blue.
    pub(crate) async fn blue(&self, subnets: &[Subnet]) {
        let spec = NetworkSpec { subnets: subnets.to_vec(), ..NetworkSpec::default() };
        let origin = Origin { node: name("h1"), at: 0 };
        let network =
            Network::new(name("blue"), 7.try_into().unwrap(), &spec, Encapsulation::Vxlan, origin).unwrap();
        let key = keys::network(&network.name);
        let value = serde_json::to_vec(&network).unwrap();
        self.store.commit(vec![], vec![Write::Put(key, value)]).await.unwrap();
    }
}

/// An etcd of the test's own, gone with it.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(dir: &Path) -> std::io::Result<Server> {
        let port = || Ok::<_, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let url = format!("http://127.0.0.1:{}", port()?);
        let peers = format!("http://127.0.0.1:{}", port()?);
        let child = Command::new("etcd")
            .args(["--name", "t", "--log-level", "error", "--initial-cluster-state", "new"])
            .args(["--initial-cluster", &format!("t={peers}")])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .arg("--data-dir")
            .arg(dir.join("etcd"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Server { child, url })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which node has which address, as the test was told. It fails as soon as one is told twice.
#[derive(Default)]
pub(crate) struct Told(Mutex<HashMap<IpAddr, String>>);

impl Told {
    pub(crate) fn given(&self, address: IpAddr, to: &str) {
        if let Some(other) = self.0.lock().unwrap().insert(address, to.to_owned()) {
            panic!("{address} was given to {to} while {other} had it");
        }
    }

    pub(crate) fn released(&self, address: IpAddr) {
        self.0.lock().unwrap().remove(&address).unwrap();
    }

    pub(crate) fn all(&self) -> Vec<(IpAddr, String)> {
        self.0.lock().unwrap().iter().map(|(address, to)| (*address, to.clone())).collect()
    }
}
