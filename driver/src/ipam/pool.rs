//! What one node knows of one subnet's addresses, and what it does next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::arith::{address, block_len, block_of, bounds, intersection, number, stable_hash, usable};
use super::{Block, Demand, Lease, Loan, Refusal};
use crate::model::{EndpointId, NodeName, Subnet};

/// A block as this node knows it.
///
/// Where a write of this node to the store ended without an answer, `block` is what the write would make of it and
/// `revision` is the one before: nothing is given out that the write, should it still arrive, gives to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBlock {
    /// The block.
    pub block: Block,
    /// The store's revision that it was read or written at.
    pub revision: u64,
    /// The node is giving the block back, and takes no address from it until it knows how that ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// Which address is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whichever is free within the range.
    Any(IpNet),
    /// This one.
    Address(IpAddr),
}

/// What to do for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take it: this node controls it and it is free, or already requested but in no endpoint's use.
    Use(IpAddr),
    /// Claim this block, then decide again.
    Claim(IpNet),
    /// Ask these owners to lend, then decide again.
    Ask(BTreeSet<NodeName>),
    /// A change that is under way decides; decide again in a moment.
    Wait,
    /// It cannot be had.
    Refused(Refused),
}

/// Why an address cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The subnet does not have it.
    Outside,
    /// It is nobody's to have.
    Reserved(String),
    /// Another has it.
    Held {
        /// The node.
        node: NodeName,
        /// The endpoint, if known.
        endpoint: Option<EndpointId>,
    },
    /// No node has an address to give. By node how many it holds, as far as this node can see.
    Exhausted(BTreeMap<NodeName, u64>),
}

/// What one node knows of one subnet's addresses.
#[derive(Clone, Debug)]
pub struct Pool {
    node: NodeName,
    prefix: IpNet,
    blocks: BTreeMap<IpNet, KnownBlock>,
    leases: BTreeMap<IpAddr, Lease>,
    /// Leases that are being erased from the ledger.
    releasing: BTreeSet<IpAddr>,
    /// Lent to this node for a demand of this process, and not leased yet.
    spare: BTreeSet<IpAddr>,
    /// The nonce of the demand that is out: what is lent for it is an answer that is not read yet.
    asking: Option<u64>,
    /// The address given out last. The search goes on behind it, so that an address rests as long as possible.
    cursor: Option<IpAddr>,
}

impl Pool {
    /// A pool of which nothing is known.
    pub fn new(node: NodeName, prefix: IpNet) -> Pool {
        Pool {
            node,
            prefix,
            blocks: BTreeMap::new(),
            leases: BTreeMap::new(),
            releasing: BTreeSet::new(),
            spare: BTreeSet::new(),
            asking: None,
            cursor: None,
        }
    }

    /// A pool of this host alone: one block that nobody else can own.
    pub fn local(node: NodeName, prefix: IpNet) -> Pool {
        let mut pool = Pool::new(node.clone(), prefix);
        pool.blocks.insert(prefix, KnownBlock { block: Block::new(node), revision: 0, leaving: false });
        pool
    }

    /// The subnet.
    pub fn prefix(&self) -> IpNet {
        self.prefix
    }

    /// The leases, those being released included.
    pub fn leases(&self) -> &BTreeMap<IpAddr, Lease> {
        &self.leases
    }

    /// The blocks that are known, of all nodes.
    pub fn blocks(&self) -> &BTreeMap<IpNet, KnownBlock> {
        &self.blocks
    }

    /// The blocks of this node.
    pub fn own_blocks(&self) -> impl Iterator<Item = (&IpNet, &KnownBlock)> {
        self.blocks.iter().filter(|(_, known)| known.block.owner == self.node)
    }

    /// The known block that has this address.
    pub fn block_at(&self, address: IpAddr) -> Option<(&IpNet, &KnownBlock)> {
        // Blocks do not overlap, so the last that begins at or before the address is the only candidate.
        let upper = IpNet::from(address);
        self.blocks.range(..=upper).next_back().filter(|(prefix, _)| prefix.contains(&address))
    }

    // ---- loading ----

    /// Puts a lease in that the ledger has.
    pub fn restore_lease(&mut self, address: IpAddr, lease: Lease) {
        let newest = self.cursor.and_then(|cursor| self.leases.get(&cursor)).map(|lease| lease.since);
        if newest.is_none_or(|newest| newest <= lease.since) {
            self.cursor = Some(address);
        }
        self.leases.insert(address, lease);
    }

    /// Puts a block in that the ledger has, or one that this node has just claimed.
    pub fn restore_block(&mut self, prefix: IpNet, known: KnownBlock) {
        self.blocks.insert(prefix, known);
    }

    // ---- deciding ----

    /// What to do for an address. `attempt` counts the claims that another node was quicker with.
    pub fn decide(&self, subnet: &Subnet, wanted: Wanted, attempt: u32) -> Decision {
        match wanted {
            Wanted::Any(range) => self.decide_any(subnet, range, attempt),
            Wanted::Address(address) => self.decide_address(subnet, address),
        }
    }

    fn decide_any(&self, subnet: &Subnet, range: IpNet, attempt: u32) -> Decision {
        let spare = self.spare.iter().find(|address| range.contains(*address));
        if let Some(address) = spare.copied().or_else(|| self.free_in_own(subnet, range)) {
            return Decision::Use(address);
        }
        if let Some(prefix) = self.unclaimed(subnet, range, attempt) {
            return Decision::Claim(prefix);
        }
        let owners: BTreeSet<NodeName> = self
            .blocks
            .iter()
            .filter(|(prefix, known)| {
                known.block.owner != self.node
                    && intersection(**prefix, range).is_some_and(|part| {
                        let lent = known.block.lent.keys().filter(|address| part.contains(*address));
                        (lent.count() as u128) < usable(subnet, part)
                    })
            })
            .map(|(_, known)| known.block.owner.clone())
            .collect();
        if !owners.is_empty() {
            return Decision::Ask(owners);
        }
        Decision::Refused(Refused::Exhausted(self.holders(range, &BTreeMap::new())))
    }

    fn decide_address(&self, subnet: &Subnet, address: IpAddr) -> Decision {
        if !self.prefix.contains(&address) {
            return Decision::Refused(Refused::Outside);
        }
        if let Some(reason) = subnet.reservation(address) {
            return Decision::Refused(Refused::Reserved(reason));
        }
        if self.releasing.contains(&address) {
            return Decision::Wait;
        }
        let held = |node: &NodeName, endpoint: Option<EndpointId>| {
            Decision::Refused(Refused::Held { node: node.clone(), endpoint })
        };
        if let Some(lease) = self.leases.get(&address) {
            return match &lease.endpoint {
                Some(endpoint) => held(&self.node, Some(endpoint.clone())),
                None => Decision::Use(address),
            };
        }
        if self.spare.contains(&address) {
            return Decision::Use(address);
        }
        let Some((_, known)) = self.block_at(address) else {
            return Decision::Claim(block_of(self.prefix, address));
        };
        let owner = &known.block.owner;
        match known.block.lent.get(&address) {
            // An answer to a demand that is being read, or on its way back.
            Some(loan) if loan.to == self.node => Decision::Wait,
            Some(loan) => held(&loan.to, None),
            None if *owner != self.node => Decision::Ask([owner.clone()].into()),
            None if known.leaving => Decision::Wait,
            None => Decision::Use(address),
        }
    }

    fn is_free(&self, known: &KnownBlock, address: IpAddr) -> bool {
        // A spare address is in an own block when the owner it was lent by has been removed since.
        !self.leases.contains_key(&address)
            && !known.block.lent.contains_key(&address)
            && !self.spare.contains(&address)
    }

    /// The free address of an own block, within the range, that rested longest as far as the cursor tells.
    fn free_in_own(&self, subnet: &Subnet, range: IpNet) -> Option<IpAddr> {
        let cursor = self.cursor.map(number);
        let (mut behind, mut before) = (None, None);
        for (prefix, known) in self.own_blocks().filter(|(_, known)| !known.leaving) {
            let Some(part) = intersection(*prefix, range) else { continue };
            let (first, last) = bounds(part);
            let search = |from: u128, to: u128| {
                (from..=to)
                    .map(|number| address(number, self.prefix.addr()))
                    .find(|address| self.is_free(known, *address) && subnet.reservation(*address).is_none())
            };
            match cursor {
                Some(cursor) if cursor < first => behind = behind.or_else(|| search(first, last)),
                Some(cursor) if cursor < last => {
                    behind = behind.or_else(|| search(cursor + 1, last));
                    before = before.or_else(|| search(first, cursor));
                }
                _ => before = before.or_else(|| search(first, last)),
            }
            if behind.is_some() {
                break;
            }
        }
        behind.or(before)
    }

    /// A block of the range that is nobody's, with an address that an endpoint can have: the first, so that small
    /// networks fill from the start; after a lost race one that depends on the node's name, so that many nodes that
    /// start at once do not go on racing for the same.
    fn unclaimed(&self, subnet: &Subnet, range: IpNet, attempt: u32) -> Option<IpNet> {
        let part = intersection(self.prefix, range)?;
        let len = block_len(self.prefix);
        let size = 1u128 << (self.prefix.max_prefix_len() - len);
        let (first, last) =
            (number(block_of(self.prefix, part.network()).network()), number(part.broadcast()));
        let count = (last - first) / size + 1;
        let start = match attempt {
            0 => 0,
            _ => u128::from(stable_hash(&[self.node.as_str().as_bytes(), &attempt.to_be_bytes()])) % count,
        };
        let candidates = (start..count).chain(0..start);
        candidates.map(|index| block_of(self.prefix, address(first + index * size, self.prefix.addr()))).find(
            |prefix| {
                let is_known = self.block_at(prefix.network()).is_some()
                    || self.blocks.range(*prefix..).next().is_some_and(|(next, _)| prefix.contains(next));
                !is_known && intersection(*prefix, range).is_some_and(|part| usable(subnet, part) > 0)
            },
        )
    }

    /// By node, how many addresses of the range are held: leased here, lent, and what owners said of themselves.
    pub fn holders(&self, range: IpNet, refused: &BTreeMap<NodeName, Refusal>) -> BTreeMap<NodeName, u64> {
        let mut holders = BTreeMap::new();
        let lent = self.blocks.values().flat_map(|known| &known.block.lent);
        for (_, loan) in lent.filter(|(address, _)| range.contains(*address)) {
            *holders.entry(loan.to.clone()).or_default() += 1;
        }
        for (node, refusal) in refused {
            *holders.entry(node.clone()).or_default() += refusal.used;
        }
        let used = self.used_in_own(range);
        if used > 0 {
            *holders.entry(self.node.clone()).or_default() += used;
        }
        holders
    }

    /// How many addresses of own blocks, within the range, this node uses itself.
    fn used_in_own(&self, range: IpNet) -> u64 {
        let is_own =
            |address| self.block_at(address).is_some_and(|(_, known)| known.block.owner == self.node);
        self.leases.keys().filter(|address| range.contains(*address) && is_own(**address)).count() as u64
    }

    // ---- leases ----

    /// Takes an address that was decided on, or adds a request or an endpoint to its lease. What it is now has to
    /// be in the ledger before it is answered.
    pub fn take(&mut self, address: IpAddr, lease: Lease) -> &Lease {
        self.spare.remove(&address);
        self.cursor = Some(address);
        self.leases
            .entry(address)
            .and_modify(|existing| {
                existing.requests += lease.requests;
                existing.since = lease.since;
                if lease.endpoint.is_some() {
                    existing.endpoint.clone_from(&lease.endpoint);
                    existing.source = lease.source;
                }
            })
            .or_insert(lease)
    }

    /// The lease of an address, to be changed; none if there is none or it is being erased.
    pub fn lease_mut(&mut self, address: IpAddr) -> Option<&mut Lease> {
        if self.releasing.contains(&address) { None } else { self.leases.get_mut(&address) }
    }

    /// Begins to release a lease: it is erased from the ledger now, and nobody gets the address meanwhile. False if
    /// there is no lease, or it is being released already.
    pub fn begin_release(&mut self, address: IpAddr) -> bool {
        self.leases.contains_key(&address) && self.releasing.insert(address)
    }

    /// The ledger has erased the lease. A borrowed address is idle then.
    pub fn finish_release(&mut self, address: IpAddr) {
        self.releasing.remove(&address);
        self.leases.remove(&address);
    }

    /// The ledger could not erase the lease: it stays.
    pub fn cancel_release(&mut self, address: IpAddr) {
        self.releasing.remove(&address);
    }

    // ---- the store's blocks ----

    /// Takes in what the store says of a block.
    ///
    /// At the revision that is known already, what this node noted stays: it may be ahead of the store by a write
    /// that has not arrived.
    pub fn observe(&mut self, prefix: IpNet, block: Block, revision: u64) {
        match self.blocks.get(&prefix) {
            Some(known) if known.revision == revision => {}
            _ => {
                self.blocks.insert(prefix, KnownBlock { block, revision, leaving: false });
            }
        }
    }

    /// Takes in that the store has no such block.
    pub fn observe_gone(&mut self, prefix: IpNet) {
        self.blocks.remove(&prefix);
    }

    /// Takes in all the subnet's blocks.
    pub fn observe_all(&mut self, blocks: Vec<(IpNet, Block, u64)>) {
        let there: BTreeSet<IpNet> = blocks.iter().map(|(prefix, ..)| *prefix).collect();
        self.blocks.retain(|prefix, _| there.contains(prefix));
        for (prefix, block, revision) in blocks {
            self.observe(prefix, block, revision);
        }
    }

    /// The leases whose address another node controls, or nobody: the block was taken away while this node could
    /// not see it. By address, the node that has it now.
    pub fn lost(&self) -> Vec<(IpAddr, Option<NodeName>)> {
        self.leases
            .keys()
            .filter_map(|address| match self.block_at(*address) {
                None => Some((*address, None)),
                Some((_, known)) => {
                    let controls = known.block.lent.get(address).map_or(&known.block.owner, |loan| &loan.to);
                    (*controls != self.node).then(|| (*address, Some(controls.clone())))
                }
            })
            .collect()
    }

    // ---- lending ----

    /// Own addresses that answer a demand: from one block, since a transaction lends from one.
    pub fn lendable(&self, subnet: &Subnet, demand: &Demand) -> Option<(IpNet, BTreeSet<IpAddr>)> {
        let wanted = (demand.count as usize).saturating_sub(demand.granted.len());
        if let Some(address) = demand.address {
            let (prefix, known) = self.block_at(address)?;
            let free = known.block.owner == self.node
                && !known.leaving
                && wanted > 0
                && subnet.reservation(address).is_none()
                && self.is_free(known, address);
            return free.then(|| (*prefix, [address].into()));
        }
        let range = intersection(self.prefix, demand.range.unwrap_or(self.prefix))?;
        let (prefix, known) = self.block_at(self.free_in_own(subnet, range)?)?;
        let (first, last) = bounds(intersection(*prefix, range)?);
        let free: BTreeSet<IpAddr> = (first..=last)
            .map(|number| address(number, self.prefix.addr()))
            .filter(|address| self.is_free(known, *address) && subnet.reservation(*address).is_none())
            .take(wanted)
            .collect();
        (!free.is_empty()).then_some((*prefix, free))
    }

    /// What this owner says when it lends nothing.
    pub fn refusal(&self, demand: &Demand) -> Refusal {
        let range = demand.range.unwrap_or(self.prefix);
        let endpoint = demand.address.and_then(|address| self.leases.get(&address)?.endpoint.clone());
        Refusal { used: self.used_in_own(range), endpoint, ..Refusal::default() }
    }

    /// Notes own addresses as lent, before the store is told. What the block is then has to be in the ledger first.
    pub fn lend(&mut self, prefix: IpNet, addresses: &BTreeSet<IpAddr>, loan: &Loan) -> Option<&KnownBlock> {
        let known = self.blocks.get_mut(&prefix)?;
        known.block.lent.extend(addresses.iter().map(|address| (*address, loan.clone())));
        Some(known)
    }

    /// The store has certainly not taken the loan.
    pub fn take_back(&mut self, prefix: IpNet, addresses: &BTreeSet<IpAddr>) {
        if let Some(known) = self.blocks.get_mut(&prefix) {
            known.block.lent.retain(|address, _| !addresses.contains(address));
        }
    }

    /// The store has a write of this node to the block.
    pub fn written(&mut self, prefix: IpNet, revision: u64) {
        if let Some(known) = self.blocks.get_mut(&prefix) {
            known.revision = revision;
        }
    }

    // ---- borrowing ----

    /// A demand goes out.
    pub fn begin_asking(&mut self, nonce: u64) {
        self.asking = Some(nonce);
    }

    /// True if the demand that is out has this nonce.
    pub fn is_asking(&self, nonce: u64) -> bool {
        self.asking == Some(nonce)
    }

    /// The demand is withdrawn; these addresses were lent for it, and are this node's until given back.
    pub fn finish_asking(&mut self, granted: &BTreeSet<IpAddr>) {
        let Some(nonce) = self.asking.take() else { return };
        for address in granted {
            let prefix = self.block_at(*address).map(|(prefix, _)| *prefix);
            if let Some(known) = prefix.and_then(|prefix| self.blocks.get_mut(&prefix)) {
                known.block.lent.insert(*address, Loan::new(self.node.clone(), nonce));
            }
            if !self.leases.contains_key(address) {
                self.spare.insert(*address);
            }
        }
    }

    /// What was lent for demands and nobody took is idle now, save so many addresses. True if there is any.
    pub fn drop_spare_but(&mut self, keep: usize) -> bool {
        let dropped = self.spare.len() > keep;
        while self.spare.len() > keep {
            self.spare.pop_last();
        }
        dropped
    }

    /// The addresses of a block that are lent to this node and that nobody here uses: to be given back.
    ///
    /// An idle loan never comes into use again: only [`Pool::finish_asking`] makes a loan usable, with the nonce of the
    /// demand that is out, and a loan with that nonce is not idle. So whoever writes the block without these, at the
    /// revision that it was read at, takes nothing from anybody, however late the write arrives.
    pub fn idle_loans(&self, block: &Block) -> BTreeSet<IpAddr> {
        let is_idle = |(address, loan): &(&IpAddr, &Loan)| {
            loan.to == self.node
                && !self.is_asking(loan.demand)
                && !self.leases.contains_key(*address)
                && !self.spare.contains(*address)
        };
        block.lent.iter().filter(is_idle).map(|(address, _)| *address).collect()
    }

    /// The blocks with idle loans, as far as this node knows.
    pub fn blocks_with_idle_loans(&self) -> impl Iterator<Item = &IpNet> {
        let known = self.blocks.iter();
        known.filter(|(_, known)| !self.idle_loans(&known.block).is_empty()).map(|(prefix, _)| prefix)
    }

    // ---- giving blocks back ----

    /// An own block in which nothing is used or lent, if the node has another with at least a free address.
    pub fn idle_block(&self, subnet: &Subnet) -> Option<(IpNet, u64)> {
        let is_idle = |prefix: &IpNet, known: &KnownBlock| {
            known.block.lent.is_empty() && !self.leases.keys().any(|address| prefix.contains(address))
        };
        let own: Vec<_> = self.own_blocks().filter(|(_, known)| !known.leaving).collect();
        let has_free = |(prefix, known): &(&IpNet, &KnownBlock)| {
            let used = self.leases.keys().filter(|address| prefix.contains(*address)).count();
            ((used + known.block.lent.len()) as u128) < usable(subnet, **prefix)
        };
        let spare = own.iter().filter(|block| has_free(block)).count() > 1;
        own.iter()
            .rev()
            .find(|(prefix, known)| spare && is_idle(prefix, known))
            .map(|(prefix, known)| (**prefix, known.revision))
    }

    /// The node begins to give a block back: no address is taken from it any more.
    pub fn leave(&mut self, prefix: IpNet) -> Option<&KnownBlock> {
        let known = self.blocks.get_mut(&prefix)?;
        known.leaving = true;
        Some(known)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const OLD: u64 = 1;
    const NEW: u64 = 2;

    /// A pool of h2, and a block of h1's in which an address is lent to h2 for a demand.
    fn borrower(demand: u64) -> (Pool, IpNet, Block, IpAddr) {
        let (h1, h2): (NodeName, NodeName) = ("h1".parse().unwrap(), "h2".parse().unwrap());
        let (prefix, address): (IpNet, IpAddr) =
            ("10.5.0.0/27".parse().unwrap(), "10.5.0.28".parse().unwrap());
        let mut block = Block::new(h1);
        block.lent.insert(address, Loan::new(h2.clone(), demand));
        let mut pool = Pool::new(h2, prefix);
        pool.observe_all(vec![(prefix, block.clone(), 7)]);
        (pool, prefix, block, address)
    }

    #[test]
    fn a_loan_of_a_former_process_is_idle_even_while_a_demand_is_out() {
        let (mut pool, prefix, block, address) = borrower(OLD);
        assert_eq!(pool.idle_loans(&block), [address].into());
        pool.begin_asking(NEW);
        assert_eq!(pool.idle_loans(&block), [address].into());
        assert_eq!(pool.blocks_with_idle_loans().collect::<Vec<_>>(), [&prefix]);
    }

    #[test]
    fn a_loan_for_the_demand_that_is_out_is_not_idle_until_it_is_dropped() {
        let (mut pool, _, block, address) = borrower(NEW);
        pool.begin_asking(NEW);
        assert!(pool.idle_loans(&block).is_empty(), "an answer that is not read yet");
        pool.finish_asking(&[address].into());
        assert!(pool.idle_loans(&block).is_empty(), "somebody asked for it");
        assert!(pool.drop_spare_but(0));
        assert_eq!(pool.idle_loans(&block), [address].into());
    }

    /// A demand whose caller went away: what is lent for it later is nobody's.
    #[test]
    fn a_loan_that_comes_after_its_demand_ended_is_idle() {
        let (mut pool, _, block, address) = borrower(NEW);
        pool.begin_asking(NEW);
        pool.finish_asking(&BTreeSet::new());
        assert_eq!(pool.idle_loans(&block), [address].into());
    }

    #[test]
    fn a_leased_loan_is_idle_once_the_ledger_has_erased_the_lease() {
        let (mut pool, prefix, block, address) = borrower(NEW);
        pool.begin_asking(NEW);
        pool.finish_asking(&[address].into());
        pool.take(address, Lease::requested(prefix, 1));
        pool.begin_release(address);
        assert!(pool.idle_loans(&block).is_empty(), "after a crash it would still be leased");
        pool.finish_release(address);
        assert_eq!(pool.idle_loans(&block), [address].into());
    }
}
