//! Which address a node may give out next, and who else may not.
//!
//! A subnet is cut into blocks ([`block_of`]). A node claims a block by compare-and-swap in the store and gives out its
//! addresses by itself, so that nobody waits for the store and a host that is cut off goes on. When no block is
//! free, the node asks the owners ([`Demand`]), and an owner lends a single address by compare-and-swap on its own
//! block. At every moment exactly one node controls an address: the node to which its block says it is lent, else
//! the block's owner. So a pool is exhausted when no address is free, and not before.
//!
//! [`Pool`] is what one node knows of one subnet and decides what to do next; it has no effects. With the feature
//! `agent`, [`Ipam`] carries the decisions out, over the store and this host's ledger.
//!
//! What survives a crash, whatever the moment: the ledger never promises more than the store does. So a loan is
//! noted in the ledger before it is written to the store, a claim after; a lease is noted before it is answered,
//! and erased before its address is given out again.

mod arith;
mod block;
mod defaults;
mod lease;
mod pool;
mod pool_id;

#[cfg(feature = "agent")]
mod service;
#[cfg(test)]
mod simulation;

pub use arith::{block_of, usable};
#[cfg(feature = "agent")]
use arith::{overlap, stable_hash};
pub use block::{Block, Demand, Loan, Refusal};
pub use defaults::{DefaultPools, DefaultPoolsError};
pub use lease::{Lease, Source};
pub use pool::{Decision, KnownBlock, Pool, Refused, Wanted};
pub use pool_id::{PoolId, PoolIdError, Scope};

#[cfg(feature = "agent")]
pub use service::*;
