//! Getting an address: from own blocks, from a new block, or from another node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::space::{Shared, Space, enqueue};
use super::{Ipam, IpamError};
use crate::ipam::{Block, Decision, Lease, PoolId, Refused, Scope, Wanted, usable};
use crate::model::{Endpoint, EndpointId, NetworkName, NodeName, Subnet};
use crate::store::{Entry, Guard, LedgerWrite, Store, StoreError, Table, TxnOutcome, Write, keys};

/// How often a claim or a demand may be overtaken by others before the caller is told.
const MOST_TRIES: u32 = 100;
/// How long a change that is under way is waited for, before deciding again.
const MOMENT: Duration = Duration::from_millis(5);

impl Ipam {
    /// Takes an address for a lease; it is in the ledger when this returns.
    pub(super) async fn allocate(
        &self,
        space: &Space,
        subnet: &Subnet,
        wanted: Wanted,
        lease: &Lease,
    ) -> Result<IpAddr, IpamError> {
        let give_up = Instant::now() + self.config.answer_deadline;
        let (mut lost_claims, mut refusals) = (0, 0);
        for tries in 0..MOST_TRIES {
            let mut decision = match self.take(space, subnet, wanted, lease, lost_claims).await? {
                Ok(address) => return Ok(address),
                Err(decision) => decision,
            };
            let Some(shared) = &space.shared else {
                return Err(self.refused(space, subnet, wanted, decision, tries));
            };
            // What this node knows for certain without the store.
            if let Decision::Refused(Refused::Outside | Refused::Reserved(_)) = decision {
                return Err(self.refused(space, subnet, wanted, decision, tries));
            }
            if let Decision::Refused(Refused::Held { node, .. }) = &decision
                && *node == self.node
            {
                return Err(self.refused(space, subnet, wanted, decision, tries));
            }
            {
                let _lane = shared.lane.lock().await;
                // Whoever had the lane before may have claimed a block that serves this caller too.
                match self.take(space, subnet, wanted, lease, lost_claims).await? {
                    Ok(address) => return Ok(address),
                    Err(_) => {
                        self.tidy_lane(space, shared)
                            .await
                            .map_err(|source| self.store_away(space, subnet, wanted, source))?;
                        decision = match self.take(space, subnet, wanted, lease, lost_claims).await? {
                            Ok(address) => return Ok(address),
                            Err(decision) => decision,
                        };
                    }
                }
                if let Decision::Claim(prefix) = decision {
                    let claimed = self.claim_block(space, shared, subnet.prefix, prefix).await;
                    if !claimed.map_err(|error| self.while_claiming(space, subnet, wanted, error))? {
                        lost_claims += 1;
                    }
                    continue;
                }
            }
            match decision {
                Decision::Ask(_) => {
                    // One refusal may cross an address that is just moving; two in a row are an answer.
                    refusals += 1;
                    self.ask(space, shared, subnet, wanted, refusals > 1).await?;
                }
                Decision::Wait if Instant::now() < give_up => tokio::time::sleep(MOMENT).await,
                Decision::Refused(Refused::Held { node, endpoint }) => {
                    let Wanted::Address(address) = wanted else { continue };
                    return Err(self.held(space, subnet.prefix, address, node, endpoint).await);
                }
                decision => return Err(self.refused(space, subnet, wanted, decision, tries)),
            }
        }
        Err(IpamError::Contended { pool: self.pool_of(space, subnet, wanted), tries: MOST_TRIES })
    }

    /// Takes the address if this node can decide on one by itself, else says what is to be done first.
    async fn take(
        &self,
        space: &Space,
        subnet: &Subnet,
        wanted: Wanted,
        lease: &Lease,
        lost_claims: u32,
    ) -> Result<Result<IpAddr, Decision>, IpamError> {
        let (address, before, recorded) = {
            let taken = space.with_pool(&self.node, subnet.prefix, |pool| {
                match pool.decide(subnet, wanted, lost_claims) {
                    Decision::Use(address) => {
                        let before = pool.leases().get(&address).cloned();
                        let record = space.lease_record(address, pool.take(address, lease.clone()));
                        Ok((address, before, enqueue(&self.ledger, vec![record])))
                    }
                    other => Err(other),
                }
            });
            match taken {
                Ok(taken) => taken,
                Err(decision) => return Ok(Err(decision)),
            }
        };
        match recorded.await {
            Ok(()) => Ok(Ok(address)),
            Err(error) => {
                // Not durable, so not given: the caller is told, and the address is as it was.
                space.with_pool(&self.node, subnet.prefix, |pool| match before {
                    Some(before) => pool.restore_lease(address, before),
                    None => {
                        pool.begin_release(address);
                        pool.finish_release(address);
                    }
                });
                Err(error.into())
            }
        }
    }

    /// Brings what this node knows of the network's blocks up to date, finds out how unanswered writes ended, and
    /// gives back what is to be given back. With the lane held.
    pub(super) async fn tidy_lane(&self, space: &Space, shared: &Shared) -> Result<(), StoreError> {
        self.refresh(space, shared).await?;
        let mut blocks = Vec::new();
        for (subnet, pool) in space.pools().iter() {
            blocks.extend(pool.blocks_with_idle_loans().map(|prefix| (*subnet, *prefix)));
        }
        for (subnet, prefix) in blocks {
            self.give_back(space, shared, subnet, prefix).await?;
        }
        Ok(())
    }

    async fn refresh(&self, space: &Space, shared: &Shared) -> Result<(), StoreError> {
        let listed = self.store.list(&keys::blocks(&shared.network)).await?;
        let found: Vec<(IpNet, Block, u64)> =
            listed.iter().filter_map(|entry| parse_block(&shared.network, entry)).collect();
        let mut unsettled = Vec::new();
        {
            let mut pools = space.pools();
            let mut records = Vec::new();
            for (subnet, pool) in pools.iter_mut() {
                let own: BTreeMap<_, _> =
                    pool.own_blocks().map(|(prefix, known)| (*prefix, known.clone())).collect();
                let of_subnet = found.iter().filter(|(prefix, ..)| subnet.contains(prefix));
                pool.observe_all(of_subnet.clone().cloned().collect());
                for (prefix, block, revision) in of_subnet {
                    let Some(known) = pool.blocks().get(prefix) else { continue };
                    if known.block.owner == self.node
                        && known.revision == *revision
                        && (known.leaving || known.block != *block)
                    {
                        unsettled.push((*subnet, *prefix, block.clone(), *revision, known.leaving));
                    }
                }
                for (prefix, known) in
                    pool.own_blocks().filter(|(prefix, known)| own.get(*prefix) != Some(*known))
                {
                    records.push(space.block_record(*subnet, *prefix, known));
                }
                let gone = own.keys().filter(|prefix| !pool.own_blocks().any(|(still, _)| still == *prefix));
                records
                    .extend(gone.map(|prefix| LedgerWrite::delete(Table::Pools, space.block_key(*prefix))));
            }
            if !records.is_empty() {
                self.ledger.write_behind(records);
            }
        }
        for (subnet, prefix, block, revision, leaving) in unsettled {
            self.settle(space, shared, (subnet, prefix), block, revision, leaving).await?;
        }
        Ok(())
    }

    /// Makes sure that an earlier write to an own block, whose end nobody told, either has arrived or never will:
    /// any new revision shuts it out.
    async fn settle(
        &self,
        space: &Space,
        shared: &Shared,
        (subnet, prefix): (IpNet, IpNet),
        block: Block,
        revision: u64,
        leaving: bool,
    ) -> Result<(), StoreError> {
        let key = keys::block(&shared.network, prefix);
        let write = if leaving { Write::Delete(key.clone()) } else { Write::Put(key.clone(), json(&block)) };
        let outcome = self.store.commit(vec![unchanged(&key, revision)], vec![write]).await?;
        match outcome {
            TxnOutcome::Committed(_) if leaving => self.forget_block(space, subnet, prefix),
            TxnOutcome::Committed(revision) => self.learn_block(space, subnet, prefix, block, revision.0),
            TxnOutcome::Conflict(entries) => {
                match entries.iter().find_map(|e| parse_block(&shared.network, e)) {
                    Some((_, block, revision)) => self.learn_block(space, subnet, prefix, block, revision),
                    None => self.forget_block(space, subnet, prefix),
                }
            }
        }
        Ok(())
    }

    /// Takes in what the store says of one own block.
    pub(super) fn learn_block(
        &self,
        space: &Space,
        subnet: IpNet,
        prefix: IpNet,
        block: Block,
        revision: u64,
    ) {
        space.with_pool(&self.node, subnet, |pool| {
            pool.observe(prefix, block, revision);
            if let Some((_, known)) = pool.own_blocks().find(|(own, _)| **own == prefix) {
                self.ledger.write_behind(vec![space.block_record(subnet, prefix, known)]);
            }
        });
    }

    /// Takes in that the store does not have an own block any more.
    pub(super) fn forget_block(&self, space: &Space, subnet: IpNet, prefix: IpNet) {
        space.with_pool(&self.node, subnet, |pool| {
            pool.observe_gone(prefix);
            self.ledger.write_behind(vec![LedgerWrite::delete(Table::Pools, space.block_key(prefix))]);
        });
    }

    /// Gives what is lent to this node of one block, and not in use, back to the block's owner. With the lane held.
    pub(super) async fn give_back(
        &self,
        space: &Space,
        shared: &Shared,
        subnet: IpNet,
        prefix: IpNet,
    ) -> Result<(), StoreError> {
        let key = keys::block(&shared.network, prefix);
        let mut entry = self.store.get(&key).await?;
        while let Some((_, mut block, revision)) =
            entry.as_ref().and_then(|entry| parse_block(&shared.network, entry))
        {
            let idle = space.with_pool(&self.node, subnet, |pool| pool.idle_loans(&block));
            if idle.is_empty() {
                space.with_pool(&self.node, subnet, |pool| pool.observe(prefix, block, revision));
                break;
            }
            // A release whose caller went away may still be in the ledger's queue. Given back before it is erased, an
            // address would be leased twice after a crash.
            self.ledger.commit(Vec::new()).await?;
            block.lent.retain(|address, _| !idle.contains(address));
            let write = Write::Put(key.clone(), json(&block));
            match self.store.commit(vec![unchanged(&key, revision)], vec![write]).await? {
                TxnOutcome::Committed(revision) => {
                    space.with_pool(&self.node, subnet, |pool| pool.observe(prefix, block, revision.0));
                    break;
                }
                TxnOutcome::Conflict(mut entries) => entry = entries.pop(),
            }
        }
        Ok(())
    }

    /// Claims a block; false if another node was quicker. With the lane held.
    pub(super) async fn claim_block(
        &self,
        space: &Space,
        shared: &Shared,
        subnet: IpNet,
        prefix: IpNet,
    ) -> Result<bool, IpamError> {
        let block = Block::new(self.node.clone());
        let key = keys::block(&shared.network, prefix);
        let network = keys::network(&shared.network);
        let outcome = self
            .store
            .commit(
                // A block of a network that is just being removed would outlive it.
                vec![Guard::Absent(key.clone()), Guard::Present(network.clone())],
                vec![Write::Put(key.clone(), json(&block))],
            )
            .await?;
        match outcome {
            TxnOutcome::Committed(revision) => {
                let recorded = space.with_pool(&self.node, subnet, |pool| {
                    pool.observe(prefix, block, revision.0);
                    pool.blocks()
                        .get(&prefix)
                        .map(|known| enqueue(&self.ledger, vec![space.block_record(subnet, prefix, known)]))
                });
                if let Some(recorded) = recorded {
                    recorded.await?;
                }
                tracing::info!(network = %shared.network, block = %prefix, "claimed an address block");
                Ok(true)
            }
            TxnOutcome::Conflict(entries) if !entries.iter().any(|entry| entry.key == network) => {
                Err(IpamError::NoNetwork { network: shared.network.clone() })
            }
            TxnOutcome::Conflict(_) => Ok(false),
        }
    }

    // ---- errors ----

    pub(super) fn pool_of(&self, space: &Space, subnet: &Subnet, wanted: Wanted) -> Box<PoolId> {
        let range = if let Wanted::Any(range) = wanted { Some(range) } else { None };
        Box::new(space.pool_id(subnet.prefix, range))
    }

    fn while_claiming(&self, space: &Space, subnet: &Subnet, wanted: Wanted, error: IpamError) -> IpamError {
        match error {
            IpamError::Store(source) => self.store_away(space, subnet, wanted, source),
            other => other,
        }
    }

    pub(super) fn store_away(
        &self,
        space: &Space,
        subnet: &Subnet,
        wanted: Wanted,
        source: StoreError,
    ) -> IpamError {
        if let Some(shared) = &space.shared {
            shared.mark_untidy();
        }
        IpamError::StoreAway {
            pool: self.pool_of(space, subnet, wanted),
            node: self.node.clone(),
            blocks: space.with_pool(&self.node, subnet.prefix, |pool| pool.own_blocks().count()),
            source,
        }
    }

    pub(super) fn exhausted(
        &self,
        space: &Space,
        subnet: &Subnet,
        wanted: Wanted,
        holders: BTreeMap<NodeName, u64>,
    ) -> IpamError {
        let range = if let Wanted::Any(range) = wanted { range } else { subnet.prefix };
        let remedy = if range == subnet.prefix {
            "remove containers, or make a network with a larger subnet"
        } else {
            "remove containers, or create the Docker network anew with a larger --ip-range"
        };
        IpamError::Exhausted {
            pool: self.pool_of(space, subnet, wanted),
            size: usable(subnet, range),
            holders,
            remedy,
        }
    }

    fn refused(
        &self,
        space: &Space,
        subnet: &Subnet,
        wanted: Wanted,
        decision: Decision,
        tries: u32,
    ) -> IpamError {
        match (decision, wanted) {
            (Decision::Refused(Refused::Outside), Wanted::Address(address)) => {
                IpamError::Outside { address, prefix: subnet.prefix }
            }
            (Decision::Refused(Refused::Reserved(reason)), Wanted::Address(address)) => {
                IpamError::Reserved { address, prefix: subnet.prefix, reason }
            }
            (Decision::Refused(Refused::Held { node, endpoint }), Wanted::Address(address)) => {
                held(space, subnet.prefix, address, node, endpoint)
            }
            (Decision::Refused(Refused::Exhausted(holders)), _) => {
                self.exhausted(space, subnet, wanted, holders)
            }
            _ => IpamError::Contended { pool: self.pool_of(space, subnet, wanted), tries: tries + 1 },
        }
    }

    /// The error for an address that another node has, with the endpoint if the store tells which.
    pub(super) async fn held(
        &self,
        space: &Space,
        subnet: IpNet,
        address: IpAddr,
        mut node: NodeName,
        mut endpoint: Option<EndpointId>,
    ) -> IpamError {
        if endpoint.is_none()
            && let Some(shared) = &space.shared
            && let Ok(entries) = self.store.list(&keys::endpoints(&shared.network)).await
        {
            let found = entries
                .iter()
                .filter_map(|entry| serde_json::from_slice::<Endpoint>(&entry.value).ok())
                .find(|endpoint| endpoint.has_address(address));
            if let Some(found) = found {
                node = found.node;
                endpoint = Some(found.id);
            }
        }
        held(space, subnet, address, node, endpoint)
    }
}

pub(super) fn held(
    space: &Space,
    subnet: IpNet,
    address: IpAddr,
    node: NodeName,
    endpoint: Option<EndpointId>,
) -> IpamError {
    let remedy = match &space.scope {
        Scope::Network(name) => format!(
            "choose another, or leave the choice to sluice: create the Docker network with --ipam-driver sluice \
             --ipam-opt network={name} and give no --ip"
        ),
        Scope::Local(_) => "choose another".to_owned(),
    };
    IpamError::Held { address, pool: Box::new(space.pool_id(subnet, None)), node, endpoint, remedy }
}

impl Shared {
    pub(super) fn is_untidy(&self) -> bool {
        self.untidy.load(Ordering::Acquire)
    }
}

pub(super) fn unchanged(key: &str, revision: u64) -> Guard {
    Guard::Unchanged(key.to_owned(), crate::store::Revision(revision))
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("blocks and demands have a JSON form")
}

/// A block from its entry; `None` (and a warning) if it is not one.
pub(super) fn parse_block(network: &NetworkName, entry: &Entry) -> Option<(IpNet, Block, u64)> {
    let prefix = entry.key.strip_prefix(&keys::blocks(network)).and_then(parse_prefix)?;
    match serde_json::from_slice(&entry.value) {
        Ok(block) => Some((prefix, block, entry.revision.0)),
        Err(error) => {
            tracing::warn!(key = entry.key, %error, "this is no address block; its addresses are left alone");
            None
        }
    }
}

/// A prefix as [`keys::block`] writes it.
pub(super) fn parse_prefix(text: &str) -> Option<IpNet> {
    let (network, len) = text.rsplit_once('-')?;
    IpNet::new(network.parse().ok()?, len.parse().ok()?).ok()
}

/// Deletes a key that nobody else writes, as often as it takes to say what is there.
pub(super) async fn delete_if_unchanged(
    store: &dyn Store,
    key: &str,
    revision: u64,
) -> Result<TxnOutcome, StoreError> {
    store.commit(vec![unchanged(key, revision)], vec![Write::Delete(key.to_owned())]).await
}
