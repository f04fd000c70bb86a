//! What the store holds for addresses: blocks, and demands for addresses of others' blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{EndpointId, NodeName, UnknownFields};

/// A block of addresses of one subnet. Its prefix is in its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The node that gives out the block's addresses, save those that it lent.
    pub owner: NodeName,
    /// Addresses that other nodes control. Only the owner adds one, only the borrower removes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lent: BTreeMap<IpAddr, Loan>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl Block {
    /// A block of which nothing is lent.
    pub fn new(owner: NodeName) -> Block {
        Block { owner, lent: BTreeMap::new(), unknown: UnknownFields::new() }
    }
}

/// An address of a block that another node than its owner controls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loan {
    /// The borrower.
    pub to: NodeName,
    /// The [`Demand::nonce`] that it answers. It tells this loan from every other of the same address to the same node,
    /// so that giving an old one back can never undo a new one.
    pub demand: u64,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl Loan {
    /// A loan that answers a demand.
    pub fn new(to: NodeName, demand: u64) -> Loan {
        Loan { to, demand, unknown: UnknownFields::new() }
    }
}

/// A node's wish for addresses of others' blocks, and the owners' answers to it.
///
/// An owner adds to `granted` in the transaction that lends the address in its block, so neither is without the
/// other; and it answers only once, so the wishing node knows when nobody is left to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Tells this demand from every other of the node, those of its former processes included.
    pub nonce: u64,
    /// The subnet.
    pub subnet: IpNet,
    /// This address and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Only addresses in this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<IpNet>,
    /// How many addresses are wanted.
    pub count: u32,
    /// The owners that are asked. Others stay quiet.
    pub asked: BTreeSet<NodeName>,
    /// The addresses that were lent for this demand.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub granted: BTreeSet<IpAddr>,
    /// The owners that have nothing (more) to lend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<NodeName, Refusal>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl Demand {
    /// True if nothing is left to be granted.
    pub fn is_met(&self) -> bool {
        self.granted.len() >= self.count as usize
    }

    /// The asked owners that have not refused.
    pub fn open(&self) -> impl Iterator<Item = &NodeName> {
        self.asked.iter().filter(|node| !self.refused.contains_key(*node))
    }
}

/// Why an owner lends nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusal {
    /// How many addresses of its own blocks, within the range, the owner has in use itself.
    pub used: u64,
    /// The endpoint that has the one address that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}
