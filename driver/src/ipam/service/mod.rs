//! IPAM's effects: decisions carried out over the store and this host's ledger.
//!
//! ```text
//!  handlers ──request, bind, release──▶ Space (a network's pools; lock held for decisions only)
//!                                        │ no free address in own blocks
//!                                        ├─ lane ────▶ store: refresh, claim a block, give an address back
//!                                        └─ asking ──▶ store: demand ──▶ owners' agents
//!  run() ── one task a network ── mirror of its demands ──▶ answers of others ──▶ whoever asks
//!                                                       └─▶ demands of others ──▶ lane: lend
//! ```

mod admin;
mod blocks;
mod collect;
mod error;
mod leases;
mod lending;
mod requests;
mod space;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use ipnet::IpNet;
use tokio::sync::watch;

pub use admin::{BlockUsage, Usage, release_network, release_node};
pub use error::IpamError;
pub use requests::{PoolReply, Purpose, RequestPool};

use self::space::{BlockRecord, LocalRecord, RecordKey, Space};
use crate::ipam::{DefaultPools, Lease, Scope};
use crate::model::{Network, NetworkName, NodeName};
use crate::store::{Ledger, Store, StoreError, Table};

/// The networks of the cluster, as far as this node knows them. It answers from what was known last when the store
/// is away.
#[async_trait]
pub trait Networks: Send + Sync + 'static {
    /// A network by name.
    ///
    /// # Errors
    /// It is not known whether there is one.
    async fn find(&self, name: &NetworkName) -> Result<Option<Arc<Network>>, StoreError>;

    /// The subnets of all networks, so that a new network's are apart from them.
    ///
    /// # Errors
    /// They are not known.
    async fn all_subnets(&self) -> Result<Vec<(NetworkName, IpNet)>, StoreError>;
}

/// A prefix that this host reaches without sluice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// The prefix.
    pub prefix: IpNet,
    /// Where it leads, for messages: `link eth0`, `nameserver of /etc/resolv.conf`.
    pub via: String,
}

/// What Docker compares a pool with before it takes one that the user did not name: this host's routes and name
/// servers. Default routes do not count.
#[async_trait]
pub trait HostRoutes: Send + Sync + 'static {
    /// The prefixes.
    ///
    /// # Errors
    /// They cannot be read.
    async fn in_use(&self) -> std::io::Result<Vec<HostRoute>>;
}

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct IpamConfig {
    /// Where subnets come from when nobody names one.
    pub default_pools: DefaultPools,
    /// How long owners of blocks have to answer a demand.
    pub answer_deadline: Duration,
}

impl Default for IpamConfig {
    fn default() -> Self {
        IpamConfig { default_pools: DefaultPools::default(), answer_deadline: Duration::from_secs(2) }
    }
}

/// The addresses of this node.
pub struct Ipam {
    node: NodeName,
    store: Arc<dyn Store>,
    ledger: Ledger,
    networks: Arc<dyn Networks>,
    routes: Arc<dyn HostRoutes>,
    config: IpamConfig,
    state: Mutex<State>,
    /// Counts changes of the set of spaces.
    spaces_changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    networks: BTreeMap<NetworkName, Arc<Space>>,
    locals: BTreeMap<u64, Local>,
    next_serial: u64,
    /// Pools asked for without a subnet: when the first of a row was, and how many followed.
    unasked: HashMap<(Option<NetworkName>, bool), (Instant, u32)>,
}

#[derive(Clone)]
struct Local {
    record: LocalRecord,
    space: Arc<Space>,
}

/// The key of the ledger's meta table that holds the last serial of a local pool.
const SERIAL: &str = "ipam.serial";

impl Ipam {
    /// The addresses of this node as its ledger has them. [`Ipam::run`] must run for others to get an answer, and
    /// for this node to get theirs.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn new(
        node: NodeName,
        store: Arc<dyn Store>,
        ledger: Ledger,
        networks: Arc<dyn Networks>,
        routes: Arc<dyn HostRoutes>,
        config: IpamConfig,
    ) -> Result<Arc<Ipam>, StoreError> {
        let state = load(&node, &ledger)?;
        Ok(Arc::new(Ipam {
            node,
            store,
            ledger,
            networks,
            routes,
            config,
            state: Mutex::new(state),
            spaces_changed: watch::Sender::new(0),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock, so it is never poisoned")
    }

    /// The space of a network, made if this node has none yet.
    fn network_space(&self, network: &NetworkName) -> Arc<Space> {
        let mut state = self.state();
        if let Some(space) = state.networks.get(network) {
            return space.clone();
        }
        let space = Arc::new(Space::of_network(network.clone()));
        state.networks.insert(network.clone(), space.clone());
        drop(state);
        self.spaces_changed.send_modify(|count| *count += 1);
        space
    }

    /// The space of a network's endpoints, or of the local pool that has this address.
    fn space_of(&self, network: Option<&NetworkName>, address: IpAddr) -> Option<Arc<Space>> {
        let state = self.state();
        match network {
            Some(network) => state.networks.get(network).cloned(),
            None => {
                let has = |local: &&Local| local.record.subnet.prefix.contains(&address);
                state.locals.values().find(has).map(|local| local.space.clone())
            }
        }
    }

    fn all_spaces(&self) -> Vec<Arc<Space>> {
        let state = self.state();
        state
            .networks
            .values()
            .cloned()
            .chain(state.locals.values().map(|local| local.space.clone()))
            .collect()
    }
}

fn load(node: &NodeName, ledger: &Ledger) -> Result<State, StoreError> {
    let unreadable = |table: Table, key: &str| StoreError::Unusable {
        store: "the ledger".to_owned(),
        reason: format!("{table:?} has the key '{key}', which this version does not know"),
        remedy: "run the sluice that wrote it, or a later one",
    };
    let mut state = State::default();
    if let Some((_, serial)) =
        ledger.load_json::<u64>(Table::Meta)?.into_iter().find(|(key, _)| key == SERIAL)
    {
        state.next_serial = serial + 1;
    }
    for (key, value) in ledger.load_json::<serde_json::Value>(Table::Pools)? {
        let parsed = RecordKey::parse(Table::Pools, &key).ok_or_else(|| unreadable(Table::Pools, &key))?;
        match parsed {
            RecordKey::Local(serial) => {
                let record: LocalRecord =
                    serde_json::from_value(value).map_err(|_| unreadable(Table::Pools, &key))?;
                let space = Arc::new(Space::of_local(serial, node, record.subnet.prefix));
                state.next_serial = state.next_serial.max(serial + 1);
                state.locals.insert(serial, Local { record, space });
            }
            RecordKey::Block(Scope::Network(network), prefix) => {
                let record: BlockRecord =
                    serde_json::from_value(value).map_err(|_| unreadable(Table::Pools, &key))?;
                let space = state
                    .networks
                    .entry(network.clone())
                    .or_insert_with(|| Arc::new(Space::of_network(network)));
                space.with_pool(node, record.subnet, |pool| pool.restore_block(prefix, record.known));
            }
            RecordKey::Block(Scope::Local(_), _) | RecordKey::Lease(..) => {
                return Err(unreadable(Table::Pools, &key));
            }
        }
    }
    for (key, lease) in ledger.load_json::<Lease>(Table::Leases)? {
        let Some(RecordKey::Lease(scope, address)) = RecordKey::parse(Table::Leases, &key) else {
            return Err(unreadable(Table::Leases, &key));
        };
        let space = match scope {
            Scope::Network(network) => Some(
                state
                    .networks
                    .entry(network.clone())
                    .or_insert_with(|| Arc::new(Space::of_network(network)))
                    .clone(),
            ),
            Scope::Local(serial) => state.locals.get(&serial).map(|local| local.space.clone()),
        };
        // A local pool and its leases are erased together, so that a lease without a pool cannot be.
        if let Some(space) = space {
            space.with_pool(node, lease.subnet, |pool| pool.restore_lease(address, lease));
        }
    }
    Ok(state)
}

/// Seconds since 1970-01-01 00:00 UTC.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
