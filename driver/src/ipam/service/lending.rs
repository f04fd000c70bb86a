//! Asking other nodes for addresses, and lending them one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::blocks::{delete_if_unchanged, json, parse_block, parse_prefix, unchanged};
use super::space::{Shared, Space, enqueue};
use super::{Ipam, IpamError};
use crate::ipam::{Block, Decision, Demand, Loan, Wanted, block_of, usable};
use crate::model::{NetworkName, NodeName, Subnet, UnknownFields};
use crate::store::{Entry, MirrorEvent, Revision, StoreError, TxnOutcome, Write, keys};

/// How many owners are asked at first; then twice as many each time. An exhausted network of a thousand nodes is
/// found out in few rounds, and a common demand disturbs few.
const FIRST_WAVE: usize = 8;
/// How long a wave has, before the next is asked too.
const WAVE: Duration = Duration::from_millis(250);
/// The most addresses that one demand asks for.
const MOST_AT_ONCE: u32 = 16;
/// How long to leave the store alone after it failed.
const REST: Duration = Duration::from_secs(1);

/// Counts a caller among those that wait for a demand, while it lives.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicU32) -> Waiting<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// While it lives, addresses lent to this node count as answers that are being read.
struct Asking<'a> {
    ipam: &'a Ipam,
    space: &'a Space,
    shared: &'a Shared,
    subnet: IpNet,
    granted: Option<BTreeSet<std::net::IpAddr>>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let withdrawn = self.granted.take();
        let granted = withdrawn.clone().unwrap_or_default();
        self.space.with_pool(&self.ipam.node, self.subnet, |pool| pool.finish_asking(&granted));
        // Dropped before the demand was withdrawn: the caller went away. What is lent for it is given back.
        if withdrawn.is_none() {
            self.shared.mark_untidy();
        }
    }
}

impl Ipam {
    // ---- the node that asks ----

    /// Asks the owners of blocks to lend. `Ok`: something changed, decide again. With `last`, a refusal by all is
    /// the caller's error.
    pub(super) async fn ask(
        &self,
        space: &Space,
        shared: &Shared,
        subnet: &Subnet,
        wanted: Wanted,
        last: bool,
    ) -> Result<(), IpamError> {
        let waiting = Waiting::enter(&shared.waiting);
        let _turn = shared.asking.lock().await;
        let decide = || space.with_pool(&self.node, subnet.prefix, |pool| pool.decide(subnet, wanted, 0));
        // Whoever asked before may have asked for this caller too.
        let Decision::Ask(owners) = decide() else {
            drop(waiting);
            self.trim_spare(space, shared, subnet.prefix);
            return Ok(());
        };
        let waiters = shared.waiting.load(Ordering::Acquire).clamp(1, MOST_AT_ONCE);
        let mut demand = Demand {
            nonce: RandomState::new().hash_one(0u8),
            subnet: subnet.prefix,
            address: None,
            range: None,
            count: 1,
            asked: BTreeSet::new(),
            granted: BTreeSet::new(),
            refused: BTreeMap::new(),
            unknown: UnknownFields::new(),
        };
        match wanted {
            Wanted::Address(address) => demand.address = Some(address),
            Wanted::Any(range) => {
                demand.range = (range != subnet.prefix).then_some(range);
                demand.count = waiters;
            }
        }
        let asked = self.demand(space, shared, subnet, demand, owners).await;
        drop(waiting);
        self.trim_spare(space, shared, subnet.prefix);
        let mut demand = asked.map_err(|source| self.store_away(space, subnet, wanted, source))?;
        if !demand.granted.is_empty() {
            return Ok(());
        }
        let silent: Vec<NodeName> = demand.open().cloned().collect();
        if !silent.is_empty() {
            return Err(IpamError::Silent {
                pool: self.pool_of(space, subnet, wanted),
                nodes: silent,
                within: self.config.answer_deadline,
            });
        }
        if !last {
            return Ok(());
        }
        match wanted {
            Wanted::Address(address) => {
                let (node, refusal) =
                    demand.refused.pop_first().unwrap_or_else(|| (self.node.clone(), Default::default()));
                Err(self.held(space, subnet.prefix, address, node, refusal.endpoint).await)
            }
            Wanted::Any(range) => {
                let holders =
                    space.with_pool(&self.node, subnet.prefix, |pool| pool.holders(range, &demand.refused));
                let held: u128 = holders.values().map(|count| u128::from(*count)).sum();
                if held < usable(subnet, range) {
                    // Some address is on its way between nodes: it will be found in a moment.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    return Ok(());
                }
                Err(self.exhausted(space, subnet, wanted, holders))
            }
        }
    }

    /// When nobody is left to take what was lent, all goes back save what the caller itself is about to take.
    fn trim_spare(&self, space: &Space, shared: &Shared, subnet: IpNet) {
        if shared.waiting.load(Ordering::Acquire) == 0
            && space.with_pool(&self.node, subnet, |pool| pool.drop_spare_but(1))
        {
            shared.mark_untidy();
        }
    }

    /// Writes a demand, waits for the answers, withdraws it, and gives it as it was then.
    async fn demand(
        &self,
        space: &Space,
        shared: &Shared,
        subnet: &Subnet,
        mut demand: Demand,
        owners: BTreeSet<NodeName>,
    ) -> Result<Demand, StoreError> {
        let key = keys::demand(&shared.network, &self.node);
        let mut to_ask: Vec<NodeName> = owners.into_iter().collect();
        // Another order each time, so that the first by name are not everybody's bank.
        to_ask.sort_by_key(|node| {
            crate::ipam::stable_hash(&[node.as_str().as_bytes(), &demand.nonce.to_be_bytes()])
        });
        let mut wave = FIRST_WAVE;
        let first = wave.min(to_ask.len());
        demand.asked.extend(to_ask.drain(..first));

        let mut answers = shared.answers.subscribe();
        space.with_pool(&self.node, subnet.prefix, |pool| pool.begin_asking(demand.nonce));
        let mut asking = Asking { ipam: self, space, shared, subnet: subnet.prefix, granted: None };
        let mut revision =
            match self.store.commit(vec![], vec![Write::Put(key.clone(), json(&demand))]).await? {
                TxnOutcome::Committed(revision) => revision,
                TxnOutcome::Conflict(_) => unreachable!("a transaction without guards has no conflict"),
            };

        let mut deadline = Instant::now() + self.config.answer_deadline;
        let mut next_wave = Instant::now() + WAVE;
        loop {
            if let Some((at, answer)) = answers.borrow_and_update().clone()
                && answer.nonce == demand.nonce
                && at > revision
            {
                (revision, demand) = (at, answer);
            }
            let now = Instant::now();
            let answered = demand.open().next().is_none();
            if !demand.granted.is_empty() || (answered && to_ask.is_empty()) || now >= deadline {
                break;
            }
            if !to_ask.is_empty() && (answered || now >= next_wave) {
                let mut wider = demand.clone();
                wave *= 2;
                wider.asked.extend(to_ask.iter().take(wave).cloned());
                let write = Write::Put(key.clone(), json(&wider));
                match self.store.commit(vec![unchanged(&key, revision.0)], vec![write]).await? {
                    TxnOutcome::Committed(at) => {
                        to_ask.drain(..wave.min(to_ask.len())).for_each(drop);
                        (revision, demand) = (at, wider);
                        deadline = Instant::now() + self.config.answer_deadline;
                        next_wave = Instant::now() + WAVE;
                    }
                    TxnOutcome::Conflict(entries) => match parse_demand(&entries) {
                        Some((at, answer)) => (revision, demand) = (at, answer),
                        None => break,
                    },
                }
                continue;
            }
            let until = if to_ask.is_empty() { deadline } else { deadline.min(next_wave) };
            // Either way the loop looks again.
            let _ = tokio::time::timeout_at(until, answers.changed()).await;
        }
        // Only the demand's last state says what was lent for it.
        loop {
            match delete_if_unchanged(self.store.as_ref(), &key, revision.0).await {
                Ok(TxnOutcome::Committed(_)) => break,
                Ok(TxnOutcome::Conflict(entries)) => match parse_demand(&entries) {
                    Some((at, answer)) if answer.nonce == demand.nonce => (revision, demand) = (at, answer),
                    // An earlier demand arrived late and took its place. What was lent unseen is given back.
                    _ => {
                        shared.mark_untidy();
                        break;
                    }
                },
                Err(error) => {
                    tracing::warn!(network = %shared.network, %error, "a demand stays in the store for now");
                    shared.mark_untidy();
                    break;
                }
            }
        }
        asking.granted = Some(demand.granted.clone());
        Ok(demand)
    }

    // ---- the node that owns ----

    /// Answers another node's demand: lends, or says what is in the way.
    async fn answer(
        &self,
        space: &Space,
        shared: &Shared,
        from: &NodeName,
        mut revision: Revision,
        mut demand: Demand,
    ) -> Result<(), StoreError> {
        let network = self.networks.find(&shared.network).await?;
        let Some(subnet) =
            network.iter().flat_map(|network| &network.subnets).find(|subnet| subnet.prefix == demand.subnet)
        else {
            return Ok(());
        };
        let demand_key = keys::demand(&shared.network, from);
        let _lane = shared.lane.lock().await;
        let mut tidied = false;
        while !demand.is_met()
            && demand.asked.contains(&self.node)
            && !demand.refused.contains_key(&self.node)
        {
            let loan = {
                space.with_pool(&self.node, subnet.prefix, |pool| {
                    let (prefix, addresses) = pool.lendable(subnet, &demand)?;
                    let before = pool.blocks().get(&prefix)?.revision;
                    let known = pool.lend(prefix, &addresses, &Loan::new(from.clone(), demand.nonce))?;
                    let recorded =
                        enqueue(&self.ledger, vec![space.block_record(subnet.prefix, prefix, known)]);
                    Some((prefix, addresses, before, known.block.clone(), recorded))
                })
            };
            let Some((prefix, addresses, before, block, recorded)) = loan else {
                if !tidied {
                    // A borrower may have given an address back since this node looked last; and what this node
                    // borrowed and does not need may be what others wait for.
                    tidied = true;
                    self.tidy_lane(space, shared).await?;
                    continue;
                }
                let refusal = space.with_pool(&self.node, subnet.prefix, |pool| pool.refusal(&demand));
                let mut answer = demand.clone();
                answer.refused.insert(self.node.clone(), refusal);
                let write = Write::Put(demand_key.clone(), json(&answer));
                match self.store.commit(vec![unchanged(&demand_key, revision.0)], vec![write]).await? {
                    TxnOutcome::Committed(_) => return Ok(()),
                    TxnOutcome::Conflict(entries) => match parse_demand(&entries) {
                        Some((at, now)) => (revision, demand) = (at, now),
                        None => return Ok(()),
                    },
                }
                continue;
            };
            // The ledger before the store: after a crash this node must not think the address its own.
            if let Err(error) = recorded.await {
                space.with_pool(&self.node, subnet.prefix, |pool| pool.take_back(prefix, &addresses));
                return Err(error);
            }
            let block_key = keys::block(&shared.network, prefix);
            let mut answer = demand.clone();
            answer.granted.extend(&addresses);
            let outcome = self
                .store
                .commit(
                    vec![unchanged(&block_key, before), unchanged(&demand_key, revision.0)],
                    vec![
                        Write::Put(block_key.clone(), json(&block)),
                        Write::Put(demand_key.clone(), json(&answer)),
                    ],
                )
                .await;
            match outcome {
                Ok(TxnOutcome::Committed(at)) => {
                    space.with_pool(&self.node, subnet.prefix, |pool| pool.written(prefix, at.0));
                    tracing::debug!(network = %shared.network, to = %from, ?addresses, "lent");
                    (revision, demand) = (at, answer);
                }
                Ok(TxnOutcome::Conflict(entries)) => {
                    space.with_pool(&self.node, subnet.prefix, |pool| pool.take_back(prefix, &addresses));
                    match entries.iter().find_map(|entry| parse_block(&shared.network, entry)) {
                        Some((_, block, at)) => self.learn_block(space, subnet.prefix, prefix, block, at),
                        None => self.forget_block(space, subnet.prefix, prefix),
                    }
                    match parse_demand(
                        &entries.into_iter().filter(|e| e.key == demand_key).collect::<Vec<_>>(),
                    ) {
                        Some((at, now)) => (revision, demand) = (at, now),
                        None => return Ok(()),
                    }
                }
                // It may have arrived: the address stays lent until a later revision says otherwise.
                Err(error) => {
                    shared.mark_untidy();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    // ---- the background ----

    /// Answers demands, hears answers, and puts right in the store what could not be when it was away. Runs for as
    /// long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut changed = self.spaces_changed.subscribe();
        let mut tasks = JoinSet::new();
        let mut followed: BTreeMap<NetworkName, (Arc<Space>, AbortHandle)> = BTreeMap::new();
        tasks.spawn(self.clone().find_own());
        loop {
            let spaces = self.state().networks.clone();
            followed.retain(|name, (space, task)| {
                let stays = spaces.get(name).is_some_and(|now| Arc::ptr_eq(now, space));
                if !stays {
                    task.abort();
                }
                stays
            });
            for (name, space) in spaces {
                followed
                    .entry(name)
                    .or_insert_with(|| (space.clone(), tasks.spawn(self.clone().follow(space))));
            }
            tokio::select! {
                changed = changed.changed() => if changed.is_err() { return },
                Some(ended) = tasks.join_next() => if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                },
            }
        }
    }

    /// Finds what is this node's although its ledger does not know it: after a crash just behind a claim or a
    /// release, or with the ledger lost. Without this nobody could ever have those addresses.
    async fn find_own(self: Arc<Self>) {
        let prefix = format!("{}blocks/", keys::ROOT);
        let entries = loop {
            match self.store.list(&prefix).await {
                Ok(entries) => break entries,
                Err(_) => tokio::time::sleep(REST).await,
            }
        };
        for entry in entries {
            let Some((network, block)) = entry.key.strip_prefix(&prefix).and_then(|key| key.split_once('/'))
            else {
                continue;
            };
            let Ok(network) = network.parse::<NetworkName>() else { continue };
            let concerns = serde_json::from_slice::<Block>(&entry.value)
                .is_ok_and(|b| b.owner == self.node || b.lent.values().any(|loan| loan.to == self.node));
            let Some(block) = parse_prefix(block).filter(|_| concerns) else { continue };
            let Ok(Some(found)) = self.networks.find(&network).await else { continue };
            if let Some(subnet) = found.subnet_of(block.addr()) {
                let space = self.network_space(&network);
                space.with_pool(&self.node, subnet.prefix, |_| ());
                if let Some(shared) = &space.shared {
                    shared.mark_untidy();
                }
            }
        }
    }

    async fn follow(self: Arc<Self>, space: Arc<Space>) {
        let Some(shared) = &space.shared else { return };
        let mut events = self.store.clone().mirror(keys::demands(&shared.network));
        let mut retry = Instant::now();
        shared.mark_untidy();
        loop {
            let rest = async {
                if !shared.is_untidy() {
                    shared.wake.notified().await;
                }
                tokio::time::sleep_until(retry).await;
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(MirrorEvent::Snapshot(entries)) => {
                        self.hear(&space, shared, entries).await;
                        shared.mark_untidy();
                    }
                    Some(MirrorEvent::Changes(changes)) => {
                        self.hear(&space, shared, changes.into_iter().filter_map(|(_, now)| now).collect()).await;
                    }
                    Some(MirrorEvent::Online) => shared.mark_untidy(),
                    Some(MirrorEvent::Offline(_)) => {}
                    None => return,
                },
                () = rest => {
                    shared.untidy.store(false, Ordering::Release);
                    if let Err(error) = self.put_right(&space, shared).await {
                        tracing::debug!(network = %shared.network, %error, "addresses are put right later");
                        shared.untidy.store(true, Ordering::Release);
                        retry = Instant::now() + REST;
                    }
                }
            }
        }
    }

    async fn hear(&self, space: &Space, shared: &Shared, entries: Vec<Entry>) {
        let prefix = keys::demands(&shared.network);
        let heard: Vec<(NodeName, Revision, Demand)> = entries
            .into_iter()
            .filter_map(|entry| {
                let node = entry.key.strip_prefix(&prefix)?.parse().ok()?;
                Some((node, entry.revision, serde_json::from_slice(&entry.value).ok()?))
            })
            .collect();
        // First what somebody here waits for.
        for (_, revision, demand) in heard.iter().filter(|(node, ..)| *node == self.node) {
            shared.answers.send_replace(Some((*revision, demand.clone())));
            // One that arrived when nobody waited for it any more. What is lent for it nobody here takes.
            if !space.pools().values().any(|pool| pool.is_asking(demand.nonce)) {
                shared.mark_untidy();
            }
        }
        for (node, revision, demand) in heard.into_iter().filter(|(node, ..)| *node != self.node) {
            if let Err(error) = self.answer(space, shared, &node, revision, demand).await {
                tracing::warn!(network = %shared.network, from = %node, %error, "a demand is not answered");
            }
        }
    }

    /// Makes the store say what this node's memory says.
    async fn put_right(&self, space: &Space, shared: &Shared) -> Result<(), StoreError> {
        // With a demand of this process out, its end will do it.
        if let Ok(_turn) = shared.asking.try_lock() {
            let key = keys::demand(&shared.network, &self.node);
            if let Some(left) = self.store.get(&key).await? {
                delete_if_unchanged(self.store.as_ref(), &key, left.revision.0).await?;
            }
        }
        let _lane = shared.lane.lock().await;
        self.tidy_lane(space, shared).await?;
        self.reclaim_lost(space, shared).await
    }

    /// Claims again what this node has leases in and nobody owns, and tells of leases that another node has now.
    async fn reclaim_lost(&self, space: &Space, shared: &Shared) -> Result<(), StoreError> {
        let lost: Vec<(IpNet, _)> = {
            let pools = space.pools();
            pools.iter().flat_map(|(subnet, pool)| pool.lost().into_iter().map(|l| (*subnet, l))).collect()
        };
        for (subnet, (address, holder)) in lost {
            match holder {
                Some(node) => tracing::error!(
                    network = %shared.network, %address, %node,
                    "an address in use on this host is another node's now: was this node removed from the cluster? \
                     Make the container anew"
                ),
                None => {
                    let still_nobodys =
                        space.with_pool(&self.node, subnet, |pool| pool.block_at(address).is_none());
                    if still_nobodys
                        && let Err(IpamError::Store(error)) =
                            self.claim_block(space, shared, subnet, block_of(subnet, address)).await
                    {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

fn parse_demand(entries: &[Entry]) -> Option<(Revision, Demand)> {
    entries.iter().find_map(|entry| Some((entry.revision, serde_json::from_slice(&entry.value).ok()?)))
}
