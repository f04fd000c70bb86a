//! Several nodes' pools against one store in memory, in any order of steps: transactions that are lost, not heard of
//! or late, and crashes between any two writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::model::{NodeName, Subnet, UnknownFields};

/// How a transaction ends for the node that sent it.
#[derive(Clone, Copy, Debug)]
enum End {
    Heard,
    Unheard,
    Late,
    Lost,
}

#[derive(Clone, Debug)]
enum Step {
    Request(usize, Option<u8>, End),
    /// An owner answers what a node asks for.
    Answer(usize, usize, End),
    Withdraw(usize),
    Release(usize, usize),
    /// A node reads a block, to give back what it finds idle in it later.
    Read(usize, usize),
    GiveBack(usize, End),
    Refresh(usize, End),
    GiveUp(usize, End),
    Crash(usize),
    /// A late transaction arrives.
    Arrive(usize),
}

/// A write to one block, and with it to the demand that it answers.
#[derive(Clone, Debug)]
struct Txn {
    prefix: IpNet,
    guard: Option<u64>,
    write: Option<Block>,
    grant: Option<(usize, u64, BTreeSet<IpAddr>)>,
}

struct Node {
    name: NodeName,
    pool: Pool,
    leases: BTreeMap<IpAddr, Lease>,
    blocks: BTreeMap<IpNet, KnownBlock>,
    /// In the store; a former process may have left it there.
    demand: Option<Demand>,
    /// The nonce of this process's demand.
    asking: Option<u64>,
    /// What this process read last of a block that it gives loans of back.
    read: Option<(IpNet, Block, u64)>,
}

struct Sim {
    subnet: Subnet,
    nodes: Vec<Node>,
    store: BTreeMap<IpNet, (Block, u64)>,
    revision: u64,
    late: Vec<Txn>,
    told: BTreeMap<IpAddr, usize>,
}

impl Sim {
    fn new(prefix: &str, count: usize) -> Sim {
        let subnet = Subnet::parse(prefix).unwrap();
        let gateway = subnet.default_gateway();
        let subnet = subnet.with_gateway(gateway).unwrap();
        let node = |index| {
            let name: NodeName = format!("h{index}").parse().unwrap();
            let pool = Pool::new(name.clone(), subnet.prefix);
            Node {
                name,
                pool,
                leases: BTreeMap::new(),
                blocks: BTreeMap::new(),
                demand: None,
                asking: None,
                read: None,
            }
        };
        let nodes = (0..count).map(node).collect();
        Sim { subnet, nodes, store: BTreeMap::new(), revision: 0, late: Vec::new(), told: BTreeMap::new() }
    }

    fn apply(&mut self, txn: &Txn) -> Option<u64> {
        let current = self.store.get(&txn.prefix).map(|(_, revision)| *revision);
        let asks = |(node, nonce, _): &(usize, u64, _)| {
            self.nodes[*node].demand.as_ref().is_some_and(|demand| demand.nonce == *nonce && !demand.is_met())
        };
        if current != txn.guard || !txn.grant.as_ref().is_none_or(asks) {
            return None;
        }
        self.revision += 1;
        match &txn.write {
            Some(block) => self.store.insert(txn.prefix, (block.clone(), self.revision)),
            None => self.store.remove(&txn.prefix),
        };
        if let Some((node, _, granted)) = &txn.grant {
            let demand = self.nodes[*node].demand.as_mut().expect("the guard saw it");
            demand.granted.extend(granted);
        }
        Some(self.revision)
    }

    /// `Some`: what the store said, a revision or a conflict.
    fn send(&mut self, txn: Txn, end: End) -> Option<Option<u64>> {
        match end {
            End::Heard => Some(self.apply(&txn)),
            End::Unheard => {
                self.apply(&txn);
                None
            }
            End::Late => {
                self.late.push(txn);
                None
            }
            End::Lost => None,
        }
    }

    /// What the store says of an own block goes into memory, then into the ledger.
    fn learn(&mut self, node: usize, prefix: IpNet) {
        let now = self.store.get(&prefix).cloned();
        let node = &mut self.nodes[node];
        match now {
            Some((block, revision)) => node.pool.observe(prefix, block, revision),
            None => node.pool.observe_gone(prefix),
        }
        node.record(prefix);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Request(node, address, end) => self.request(node, address, end),
            Step::Answer(owner, node, end) => self.answer(owner, node, end),
            Step::Withdraw(node) => self.withdraw(node),
            Step::Release(node, which) => {
                let of_node: Vec<IpAddr> =
                    self.told.iter().filter(|(_, n)| **n == node).map(|(address, _)| *address).collect();
                if let Some(address) = of_node.get(which % of_node.len().max(1)) {
                    self.told.remove(address);
                    let node = &mut self.nodes[node];
                    assert!(node.pool.begin_release(*address), "{address} is told and not leased");
                    node.leases.remove(address);
                    node.pool.finish_release(*address);
                }
            }
            Step::Read(node, which) => {
                let found = self.store.iter().nth(which % self.store.len().max(1));
                self.nodes[node].read = found.map(|(prefix, (block, at))| (*prefix, block.clone(), *at));
            }
            Step::GiveBack(node, end) => {
                if let Some(read) = self.nodes[node].read.take() {
                    self.give_back(node, read, end);
                }
            }
            Step::Refresh(node, end) => self.refresh(node, end),
            Step::GiveUp(node, end) => {
                let at = &mut self.nodes[node];
                let Some((prefix, revision)) = at.pool.idle_block(&self.subnet) else { return };
                at.pool.leave(prefix);
                at.record(prefix);
                let txn = Txn { prefix, guard: Some(revision), write: None, grant: None };
                if self.send(txn, end).is_some() {
                    self.learn(node, prefix);
                }
            }
            Step::Crash(node) => {
                let prefix = self.subnet.prefix;
                let node = &mut self.nodes[node];
                node.pool = Pool::new(node.name.clone(), prefix);
                node.blocks.iter().for_each(|(p, known)| node.pool.restore_block(*p, known.clone()));
                node.leases.iter().for_each(|(a, lease)| node.pool.restore_lease(*a, lease.clone()));
                (node.asking, node.read) = (None, None);
            }
            Step::Arrive(which) => {
                if !self.late.is_empty() {
                    let txn = self.late.swap_remove(which % self.late.len());
                    self.apply(&txn);
                }
            }
        }
    }

    fn request(&mut self, index: usize, address: Option<u8>, end: End) {
        let wanted = match address {
            Some(offset) => Wanted::Address(arith::address(
                arith::number(self.subnet.prefix.network()) + u128::from(offset),
                self.subnet.prefix.network(),
            )),
            None => Wanted::Any(self.subnet.prefix),
        };
        let node = &mut self.nodes[index];
        match node.pool.decide(&self.subnet, wanted, 0) {
            Decision::Use(address) => {
                if let Some(other) = self.told.get(&address) {
                    // `--ip` again on the node that has it is for CreateEndpoint to refuse.
                    assert_eq!(*other, index, "{address} was given to {index} while {other} had it");
                    assert_eq!(wanted, Wanted::Address(address));
                }
                let lease = node.pool.take(address, Lease::requested(self.subnet.prefix, 0)).clone();
                node.leases.insert(address, lease);
                self.told.insert(address, index);
            }
            Decision::Claim(prefix) => {
                let write = Some(Block::new(node.name.clone()));
                if self.send(Txn { prefix, guard: None, write, grant: None }, end).is_some() {
                    self.learn(index, prefix);
                }
            }
            Decision::Ask(owners) if node.asking.is_none() => {
                self.revision += 1;
                node.pool.begin_asking(self.revision);
                node.asking = Some(self.revision);
                node.demand = Some(Demand {
                    nonce: self.revision,
                    subnet: self.subnet.prefix,
                    address: if let Wanted::Address(address) = wanted { Some(address) } else { None },
                    range: None,
                    count: 1 + (self.revision % 3) as u32 * u32::from(address.is_none()),
                    asked: owners,
                    granted: BTreeSet::new(),
                    refused: BTreeMap::new(),
                    unknown: UnknownFields::new(),
                });
            }
            Decision::Ask(_) | Decision::Wait | Decision::Refused(_) => {}
        }
    }

    fn answer(&mut self, owner: usize, asker: usize, end: End) {
        let Some(demand) = self.nodes[asker].demand.clone().filter(|_| owner != asker) else { return };
        let to = self.nodes[asker].name.clone();
        let node = &mut self.nodes[owner];
        let Some((prefix, addresses)) = node.pool.lendable(&self.subnet, &demand) else { return };
        let guard = node.pool.blocks()[&prefix].revision;
        node.pool.lend(prefix, &addresses, &Loan::new(to, demand.nonce));
        node.record(prefix);
        let write = Some(node.pool.blocks()[&prefix].block.clone());
        let grant = Some((asker, demand.nonce, addresses.clone()));
        match self.send(Txn { prefix, guard: Some(guard), write, grant }, end) {
            Some(Some(revision)) => self.nodes[owner].pool.written(prefix, revision),
            Some(None) => {
                self.nodes[owner].pool.take_back(prefix, &addresses);
                self.learn(owner, prefix);
            }
            None => {}
        }
    }

    fn withdraw(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let demand = node.demand.take();
        if let Some(nonce) = node.asking.take() {
            let own = demand.filter(|demand| demand.nonce == nonce);
            node.pool.finish_asking(&own.map(|demand| demand.granted).unwrap_or_default());
            node.pool.drop_spare_but(1);
        }
    }

    fn give_back(&mut self, index: usize, (prefix, mut block, at): (IpNet, Block, u64), end: End) {
        let idle = self.nodes[index].pool.idle_loans(&block);
        if !idle.is_empty() {
            block.lent.retain(|address, _| !idle.contains(address));
            let txn = Txn { prefix, guard: Some(at), write: Some(block), grant: None };
            if self.send(txn, end).is_some() {
                self.learn(index, prefix);
            }
        }
    }

    fn give_all_back(&mut self, index: usize) {
        let blocks: Vec<_> =
            self.store.iter().map(|(prefix, (block, at))| (*prefix, block.clone(), *at)).collect();
        for read in blocks {
            self.give_back(index, read, End::Heard);
        }
    }

    fn refresh(&mut self, index: usize, end: End) {
        let found: Vec<_> =
            self.store.iter().map(|(p, (block, revision))| (*p, block.clone(), *revision)).collect();
        let node = &mut self.nodes[index];
        node.pool.observe_all(found.clone());
        node.blocks = node.pool.own_blocks().map(|(p, known)| (*p, known.clone())).collect();
        for (prefix, block, revision) in found {
            let Some(known) = self.nodes[index].pool.blocks().get(&prefix) else { continue };
            let unsettled = known.block.owner == self.nodes[index].name
                && known.revision == revision
                && (known.leaving || known.block != block);
            if unsettled {
                let write = (!known.leaving).then_some(block);
                if self.send(Txn { prefix, guard: Some(revision), write, grant: None }, end).is_some() {
                    self.learn(index, prefix);
                }
            }
        }
    }

    /// One node controls an address, and nobody else has it leased.
    fn check(&self) {
        let mut leased = BTreeSet::new();
        for node in &self.nodes {
            for address in node.pool.leases().keys() {
                assert!(leased.insert(*address), "{address} is leased twice");
                let (block, _) = &self.store[&block_of(self.subnet.prefix, *address)];
                let controls = block.lent.get(address).map_or(&block.owner, |loan| &loan.to);
                assert_eq!(controls, &node.name, "control of {address}");
            }
        }
    }

    /// The trouble is over: everything that is free can be had.
    fn heal(&mut self) {
        self.late.clear();
        for _ in 0..2 {
            for index in 0..self.nodes.len() {
                self.withdraw(index);
                self.refresh(index, End::Heard);
                self.nodes[index].pool.drop_spare_but(0);
                self.give_all_back(index);
            }
        }
        let usable = usable(&self.subnet, self.subnet.prefix) as usize;
        for round in 0..usable * 40 {
            if self.told.len() == usable {
                return;
            }
            let index = round % self.nodes.len();
            self.request(index, None, End::Heard);
            for owner in 0..self.nodes.len() {
                self.answer(owner, index, End::Heard);
            }
            self.withdraw(index);
            self.request(index, None, End::Heard);
            self.nodes[index].pool.drop_spare_but(0);
            self.give_all_back(index);
            self.refresh(index, End::Heard);
            self.check();
        }
        panic!("{} of {usable} addresses could be had: {:?}", self.told.len(), self.store);
    }
}

impl Node {
    /// The ledger's copy of an own block follows the memory's.
    fn record(&mut self, prefix: IpNet) {
        match self.pool.blocks().get(&prefix).filter(|known| known.block.owner == self.name) {
            Some(known) => self.blocks.insert(prefix, known.clone()),
            None => self.blocks.remove(&prefix),
        };
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![6 => Just(End::Heard), 1 => Just(End::Unheard), 1 => Just(End::Late), 1 => Just(End::Lost)]
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    let node = move || 0..nodes;
    prop_oneof![
        6 => (node(), proptest::option::weighted(0.3, 0..20u8), end()).prop_map(|(n, a, e)| Step::Request(n, a, e)),
        5 => (node(), node(), end()).prop_map(|(o, n, e)| Step::Answer(o, n, e)),
        2 => node().prop_map(Step::Withdraw),
        5 => (node(), 0..16usize).prop_map(|(n, which)| Step::Release(n, which)),
        3 => (node(), 0..4usize).prop_map(|(n, which)| Step::Read(n, which)),
        4 => (node(), end()).prop_map(|(n, e)| Step::GiveBack(n, e)),
        3 => (node(), end()).prop_map(|(n, e)| Step::Refresh(n, e)),
        1 => (node(), end()).prop_map(|(n, e)| Step::GiveUp(n, e)),
        1 => node().prop_map(Step::Crash),
        2 => (0..8usize).prop_map(Step::Arrive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_address_twice_and_none_lost(
        prefix in prop_oneof![Just("10.5.0.0/29"), Just("10.5.0.0/28"), Just("fd00:5::/125"), Just("10.5.0.0/31")],
        steps in proptest::collection::vec(step(3), 0..250),
    ) {
        let mut sim = Sim::new(prefix, 3);
        for step in &steps {
            sim.step(step);
            sim.check();
        }
        sim.heal();
    }
}
