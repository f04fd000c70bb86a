//! What operators do to addresses, and see of them.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Serialize;

use super::blocks::{json, parse_block, parse_prefix, unchanged};
use super::{Ipam, IpamError};
use crate::ipam::{Block, usable};
use crate::model::{Endpoint, NetworkName, NodeName};
use crate::store::{MAX_TXN_OPS, Store, StoreError, TxnOutcome, Write, keys};

/// How full one subnet of a network is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The subnet.
    pub subnet: IpNet,
    /// How many addresses endpoints can have.
    pub size: u128,
    /// How many endpoints of the cluster have one.
    pub used: u64,
    /// How many addresses this host holds, those that no endpoint uses yet included.
    pub leased_here: u64,
    /// The claimed blocks.
    pub blocks: Vec<BlockUsage>,
}

/// One claimed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockUsage {
    /// The block.
    pub prefix: IpNet,
    /// The node that owns it.
    pub owner: NodeName,
    /// How many addresses each other node has borrowed.
    pub lent: BTreeMap<NodeName, u64>,
}

impl Ipam {
    /// How full a network's subnets are, by the store.
    ///
    /// # Errors
    /// The network is unknown, or the store is away.
    pub async fn usage(&self, network: &NetworkName) -> Result<Vec<Usage>, IpamError> {
        let found = self.networks.find(network).await?;
        let found = found.ok_or_else(|| IpamError::NoNetwork { network: network.clone() })?;
        let entries = self.store.list(&keys::blocks(network)).await?;
        let blocks: Vec<_> = entries.iter().filter_map(|entry| parse_block(network, entry)).collect();
        let endpoints: Vec<Endpoint> = self
            .store
            .list(&keys::endpoints(network))
            .await?
            .iter()
            .filter_map(|entry| serde_json::from_slice(&entry.value).ok())
            .collect();
        let space = self.state().networks.get(network).cloned();
        let usage = found.subnets.iter().map(|subnet| {
            let in_subnet = endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            let leased = |space: &super::Space| {
                space.pools().get(&subnet.prefix).map_or(0, |pool| pool.leases().len() as u64)
            };
            Usage {
                subnet: subnet.prefix,
                size: usable(subnet, subnet.prefix),
                used: in_subnet.filter(|net| subnet.prefix.contains(&net.addr())).count() as u64,
                leased_here: space.as_deref().map_or(0, leased),
                blocks: blocks
                    .iter()
                    .filter(|(prefix, ..)| subnet.prefix.contains(prefix))
                    .map(|(prefix, block, _)| {
                        let mut lent = BTreeMap::new();
                        for loan in block.lent.values() {
                            *lent.entry(loan.to.clone()).or_default() += 1;
                        }
                        BlockUsage { prefix: *prefix, owner: block.owner.clone(), lent }
                    })
                    .collect(),
            }
        });
        Ok(usage.collect())
    }
}

/// Frees the addresses of a node that is gone for good: its blocks, and what it borrowed. Idempotent.
///
/// A block of which others have borrowed becomes the first borrower's: if it were freed, its next owner would not
/// know that the addresses are in use. Only for a node whose containers run no more: nothing tells it. Gives the
/// blocks that the node has no more, as `NETWORK/BLOCK`.
///
/// # Errors
/// The store failed; what was done until then stays done.
pub async fn release_node(store: &dyn Store, node: &NodeName) -> Result<Vec<String>, StoreError> {
    let mut released = Vec::new();
    let root = format!("{}blocks/", keys::ROOT);
    for entry in store.list(&root).await? {
        let mut entry = Some(entry);
        // Until a transaction finds the block as it was read.
        while let Some(now) = entry.take() {
            let is_block = now.key.rsplit_once('/').is_some_and(|(_, prefix)| parse_prefix(prefix).is_some());
            let Ok(mut block) = serde_json::from_slice::<Block>(&now.value) else { break };
            let lent_to_it = block.lent.values().any(|loan| loan.to == *node);
            if !is_block || (block.owner != *node && !lent_to_it) {
                break;
            }
            let was_owner = block.owner == *node;
            block.lent.retain(|_, loan| loan.to != *node);
            if block.owner == *node
                && let Some(heir) = block.lent.values().next().map(|loan| loan.to.clone())
            {
                block.lent.retain(|_, loan| loan.to != heir);
                block.owner = heir;
            }
            let write = if block.owner == *node {
                Write::Delete(now.key.clone())
            } else {
                Write::Put(now.key.clone(), json(&block))
            };
            match store.commit(vec![unchanged(&now.key, now.revision.0)], vec![write]).await? {
                TxnOutcome::Conflict(mut entries) => entry = entries.pop(),
                TxnOutcome::Committed(_) if was_owner => released.push(now.key[root.len()..].to_owned()),
                TxnOutcome::Committed(_) => {}
            }
        }
    }
    let demands = format!("{}demands/", keys::ROOT);
    let of_node: Vec<Write> = store
        .list(&demands)
        .await?
        .into_iter()
        .filter(|entry| entry.key.rsplit_once('/').is_some_and(|(_, name)| name == node.as_str()))
        .map(|entry| Write::Delete(entry.key))
        .collect();
    delete_all(store, of_node).await?;
    Ok(released)
}

/// Removes all blocks and demands of a network that is gone. Idempotent.
///
/// # Errors
/// The store failed; what was done until then stays done.
pub async fn release_network(store: &dyn Store, network: &NetworkName) -> Result<(), StoreError> {
    let mut writes = Vec::new();
    for prefix in [keys::blocks(network), keys::demands(network)] {
        writes.extend(store.list(&prefix).await?.into_iter().map(|entry| Write::Delete(entry.key)));
    }
    delete_all(store, writes).await
}

async fn delete_all(store: &dyn Store, writes: Vec<Write>) -> Result<(), StoreError> {
    for part in writes.chunks(MAX_TXN_OPS) {
        store.commit(vec![], part.to_vec()).await?;
    }
    Ok(())
}
