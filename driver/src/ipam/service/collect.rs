//! What nobody uses any more.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::blocks::{delete_if_unchanged, parse_block};
use super::space::{Shared, Space, enqueue};
use super::{Ipam, IpamError};
use crate::ipam::{Lease, Scope};
use crate::model::{EndpointId, NetworkName, Subnet};
use crate::store::{LedgerWrite, StoreError, Table, TxnOutcome, keys};

impl Ipam {
    /// Frees leases that have not changed for `older_than` seconds and that no endpoint in `live` uses, drops local
    /// pools that never got their network, and gives idle blocks back. `live`: every endpoint of this host that
    /// Docker still has. Gives what it freed.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn collect(
        &self,
        now: u64,
        older_than: u64,
        live: &BTreeSet<EndpointId>,
    ) -> Result<Vec<(Scope, IpAddr)>, IpamError> {
        let is_old = |since: u64| now.saturating_sub(since) >= older_than;
        let mut freed = Vec::new();
        for space in self.all_spaces() {
            let is_stale = |lease: &Lease| {
                is_old(lease.since) && lease.endpoint.as_ref().is_none_or(|endpoint| !live.contains(endpoint))
            };
            let stale: Vec<IpAddr> = {
                let reserved = self.local_reservations(&space.scope);
                let pools = space.pools();
                let leases = pools.values().flat_map(|pool| pool.leases());
                leases
                    .filter(|(address, lease)| is_stale(lease) && !reserved.contains(*address))
                    .map(|(address, _)| *address)
                    .collect()
            };
            for address in stale {
                // While those before it were freed, somebody may have taken it.
                if self.free_if(&space, address, is_stale).await? {
                    tracing::info!(scope = %space.scope, %address, "freed an address that nothing uses");
                    freed.push((space.scope.clone(), address));
                }
            }
            if let Some(shared) = &space.shared
                && let Err(error) = self.give_up_idle_block(&space, shared).await
            {
                tracing::debug!(network = %shared.network, %error, "an idle address block is kept for now");
                shared.mark_untidy();
            }
        }
        let orphans: Vec<u64> = {
            let state = self.state();
            let never_settled = state.locals.iter().filter(|(_, local)| {
                !local.record.settled
                    && is_old(local.record.since)
                    && local.space.pools().values().all(|pool| pool.leases().is_empty())
            });
            never_settled.map(|(serial, _)| *serial).collect()
        };
        for serial in orphans {
            tracing::info!(serial, "dropped a pool whose Docker network never came");
            self.remove_local(serial).await?;
        }
        Ok(freed)
    }

    fn local_reservations(&self, scope: &Scope) -> BTreeSet<IpAddr> {
        let Scope::Local(serial) = scope else { return BTreeSet::new() };
        let state = self.state();
        let subnet = state.locals.get(serial).map(|local| &local.record.subnet);
        subnet.map(|subnet| subnet.reserved.values().copied().collect()).unwrap_or_default()
    }

    async fn give_up_idle_block(&self, space: &Space, shared: &Shared) -> Result<(), StoreError> {
        let Some(network) = self.networks.find(&shared.network).await? else { return Ok(()) };
        let _lane = shared.lane.lock().await;
        for subnet in &network.subnets {
            self.give_up_idle(space, shared, subnet).await?;
        }
        Ok(())
    }

    async fn give_up_idle(&self, space: &Space, shared: &Shared, subnet: &Subnet) -> Result<(), StoreError> {
        let leaving = space.with_pool(&self.node, subnet.prefix, |pool| {
            let (prefix, revision) = pool.idle_block(subnet)?;
            let known = pool.leave(prefix)?;
            let record = space.block_record(subnet.prefix, prefix, known);
            Some((prefix, revision, enqueue(&self.ledger, vec![record])))
        });
        let Some((prefix, revision, recorded)) = leaving else { return Ok(()) };
        // The ledger before the store: after a crash this node must not take the block for its own.
        recorded.await?;
        let key = keys::block(&shared.network, prefix);
        match delete_if_unchanged(self.store.as_ref(), &key, revision).await? {
            TxnOutcome::Committed(_) => {
                tracing::info!(network = %shared.network, block = %prefix, "gave an idle address block back");
                self.forget_block(space, subnet.prefix, prefix);
            }
            TxnOutcome::Conflict(entries) => {
                match entries.iter().find_map(|entry| parse_block(&shared.network, entry)) {
                    Some((_, block, at)) => self.learn_block(space, subnet.prefix, prefix, block, at),
                    None => self.forget_block(space, subnet.prefix, prefix),
                }
            }
        }
        Ok(())
    }

    /// CreateNetwork of a network of this host alone: what is reserved in the local pool that has this subnet, so
    /// that auxiliary addresses are not collected, and that the pool stays. No pool: Docker's own IPAM has it.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn settle_local(&self, subnet: &Subnet) -> Result<(), IpamError> {
        let Some(serial) = self.local_serial(subnet.prefix) else { return Ok(()) };
        self.amend_local(serial, |record| {
            record.subnet.gateway = subnet.gateway.or(record.subnet.gateway);
            record.subnet.reserved.clone_from(&subnet.reserved);
            record.settled = true;
        })
        .await?;
        // Auxiliary addresses were requested like any other before Docker told that they are some.
        if let Some(space) = subnet.reserved.values().next().and_then(|first| self.space_of(None, *first)) {
            for address in subnet.reserved.values() {
                self.free(&space, *address).await?;
            }
        }
        Ok(())
    }

    /// A network of this host alone is gone, whether or not Docker released its pool. A pool whose network has yet to
    /// come is another network's.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn forget_local(&self, prefix: IpNet) -> Result<(), IpamError> {
        let serial = self.local_serial(prefix);
        let settled =
            serial.filter(|serial| self.state().locals.get(serial).is_some_and(|local| local.record.settled));
        match settled {
            Some(serial) => self.remove_local(serial).await,
            None => Ok(()),
        }
    }

    fn local_serial(&self, prefix: IpNet) -> Option<u64> {
        let state = self.state();
        state.locals.iter().find(|(_, local)| local.record.subnet.prefix == prefix).map(|(serial, _)| *serial)
    }

    /// A network of the cluster is gone: its leases and blocks are forgotten here, in memory by the call itself, and
    /// in the ledger when the future is ready.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn forget_network(
        &self,
        network: &NetworkName,
    ) -> impl Future<Output = Result<(), IpamError>> + Send + use<> {
        let mut writes = Vec::new();
        let space = self.state().networks.remove(network);
        if let Some(space) = space {
            self.spaces_changed.send_modify(|count| *count += 1);
            for pool in space.pools().values() {
                let leases = pool.leases().keys();
                writes.extend(
                    leases.map(|address| LedgerWrite::delete(Table::Leases, space.lease_key(*address))),
                );
                let blocks = pool.own_blocks().map(|(prefix, _)| *prefix);
                writes
                    .extend(blocks.map(|prefix| LedgerWrite::delete(Table::Pools, space.block_key(prefix))));
            }
        }
        let recorded = (!writes.is_empty()).then(|| enqueue(&self.ledger, writes));
        async move {
            match recorded {
                Some(recorded) => Ok(recorded.await?),
                None => Ok(()),
            }
        }
    }

    /// A network of the cluster is there, or there again: what is known here of its blocks may be of an earlier one
    /// with its name, and is compared with the store.
    pub fn network_changed(&self, network: &NetworkName) {
        let space = self.state().networks.get(network).cloned();
        if let Some(shared) = space.as_ref().and_then(|space| space.shared.as_ref()) {
            shared.mark_untidy();
        }
    }

    /// The leases of this host, for `endpoint inspect` and the reconciler.
    pub fn leases(&self) -> Vec<(Scope, IpAddr, crate::ipam::Lease)> {
        let mut leases = Vec::new();
        for space in self.all_spaces() {
            for pool in space.pools().values() {
                leases
                    .extend(pool.leases().iter().map(|(a, lease)| (space.scope.clone(), *a, lease.clone())));
            }
        }
        leases
    }
}
