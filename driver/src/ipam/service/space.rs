//! The pools of one network, or one local pool, with what serialises work on them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::ipam::{Demand, KnownBlock, Lease, Pool, PoolId, Scope};
use crate::model::{NetworkName, NodeName, Subnet};
use crate::store::{Ledger, LedgerWrite, Revision, StoreError, Table};

/// The pools of one network, one for each of its subnets that this node uses, or one local pool.
pub(super) struct Space {
    pub(super) scope: Scope,
    /// Held for decisions and for putting their records into the ledger's queue, never while waiting: the order of
    /// decisions is the order of records.
    pools: Mutex<BTreeMap<IpNet, Pool>>,
    /// None for a local pool.
    pub(super) shared: Option<Shared>,
}

/// What a space needs that has its blocks in the store.
pub(super) struct Shared {
    pub(super) network: NetworkName,
    /// One transaction of this node on the network's blocks at a time.
    pub(super) lane: tokio::sync::Mutex<()>,
    /// One demand of this node in the network at a time. Taken before `lane`, never inside it: an owner that waits
    /// for an address must still be able to lend one.
    pub(super) asking: tokio::sync::Mutex<()>,
    /// How many callers wait for `asking`, to demand for all of them at once.
    pub(super) waiting: AtomicU32,
    /// This node's demand as the store has it now.
    pub(super) answers: watch::Sender<Option<(Revision, Demand)>>,
    /// Something is to be put right in the store: addresses given back, a demand withdrawn, a write's end found out.
    pub(super) untidy: AtomicBool,
    pub(super) wake: Notify,
}

impl Space {
    pub(super) fn of_network(network: NetworkName) -> Space {
        let shared = Shared {
            network: network.clone(),
            lane: tokio::sync::Mutex::new(()),
            asking: tokio::sync::Mutex::new(()),
            waiting: AtomicU32::new(0),
            answers: watch::Sender::new(None),
            untidy: AtomicBool::new(false),
            wake: Notify::new(),
        };
        Space { scope: Scope::Network(network), pools: Mutex::default(), shared: Some(shared) }
    }

    pub(super) fn of_local(serial: u64, node: &NodeName, prefix: IpNet) -> Space {
        let pools = [(prefix, Pool::local(node.clone(), prefix))].into();
        Space { scope: Scope::Local(serial), pools: Mutex::new(pools), shared: None }
    }

    pub(super) fn pools(&self) -> MutexGuard<'_, BTreeMap<IpNet, Pool>> {
        self.pools.lock().expect("no decision panics, so the lock is never poisoned")
    }

    pub(super) fn with_pool<T>(
        &self,
        node: &NodeName,
        prefix: IpNet,
        work: impl FnOnce(&mut Pool) -> T,
    ) -> T {
        let mut pools = self.pools();
        work(pools.entry(prefix).or_insert_with(|| Pool::new(node.clone(), prefix)))
    }

    pub(super) fn pool_id(&self, prefix: IpNet, range: Option<IpNet>) -> PoolId {
        PoolId { scope: self.scope.clone(), prefix, range: range.filter(|range| *range != prefix) }
    }

    // ---- records ----

    pub(super) fn lease_key(&self, address: IpAddr) -> String {
        format!("{},{address}", self.scope)
    }

    pub(super) fn lease_record(&self, address: IpAddr, lease: &Lease) -> LedgerWrite {
        LedgerWrite::put_json(Table::Leases, self.lease_key(address), lease)
    }

    pub(super) fn block_key(&self, prefix: IpNet) -> String {
        format!("{},block={prefix}", self.scope)
    }

    pub(super) fn block_record(&self, subnet: IpNet, prefix: IpNet, known: &KnownBlock) -> LedgerWrite {
        let record = BlockRecord { subnet, known: known.clone() };
        LedgerWrite::put_json(Table::Pools, self.block_key(prefix), &record)
    }
}

impl Shared {
    /// Has the background task put things right soon.
    pub(super) fn mark_untidy(&self) {
        self.untidy.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// A block of this node, as the ledger has it.
#[derive(Serialize, Deserialize)]
pub(super) struct BlockRecord {
    /// The subnet that the block is of.
    pub(super) subnet: IpNet,
    /// The block.
    pub(super) known: KnownBlock,
}

/// A local pool, as the ledger has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LocalRecord {
    /// The subnet with its gateway and reservations, as far as Docker has told.
    pub(super) subnet: Subnet,
    /// CreateNetwork has come: the pool stays until it is released.
    pub(super) settled: bool,
    /// When it was made: seconds since 1970-01-01 00:00 UTC.
    pub(super) since: u64,
}

/// What a key of the ledger's tables speaks of.
pub(super) enum RecordKey {
    Lease(Scope, IpAddr),
    Block(Scope, IpNet),
    Local(u64),
}

impl RecordKey {
    pub(super) fn parse(table: Table, key: &str) -> Option<RecordKey> {
        match (table, key.split_once(',')) {
            (Table::Leases, Some((scope, address))) => {
                Some(RecordKey::Lease(scope.parse().ok()?, address.parse().ok()?))
            }
            (Table::Pools, Some((scope, rest))) => {
                Some(RecordKey::Block(scope.parse().ok()?, rest.strip_prefix("block=")?.parse().ok()?))
            }
            (Table::Pools, None) => match key.parse().ok()? {
                Scope::Local(serial) => Some(RecordKey::Local(serial)),
                Scope::Network(_) => None,
            },
            _ => None,
        }
    }
}

/// Puts writes into the ledger's queue now, so that the order of calls is the order of writes, and gives what to wait
/// for until they are on the disk.
pub(super) fn enqueue(
    ledger: &Ledger,
    writes: Vec<LedgerWrite>,
) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
    ledger.commit(writes)
}
