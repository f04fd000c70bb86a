//! Leases and the endpoints that use them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::blocks::held;
use super::space::{Space, enqueue};
use super::{Ipam, IpamError, now};
use crate::ipam::{Lease, PoolId, Scope, Source, Wanted, block_of};
use crate::model::{EndpointId, NetworkName, Subnet};
use crate::store::{LedgerWrite, Table};

/// What a change leaves of a lease.
enum Then {
    /// It was not changed.
    Leave,
    Keep,
    Free,
}

/// A release under way. Its end must be noted even when the caller goes away while the ledger writes.
struct Releasing<'a> {
    ipam: &'a Ipam,
    space: &'a Space,
    subnet: IpNet,
    address: IpAddr,
    /// Whether the ledger has erased the lease; none: the caller went away first, and it will.
    ended: Option<bool>,
}

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        self.space.with_pool(&self.ipam.node, self.subnet, |pool| match self.ended {
            Some(false) => pool.cancel_release(self.address),
            Some(true) | None => pool.finish_release(self.address),
        });
        if self.ended.is_none()
            && let Some(shared) = &self.space.shared
        {
            shared.mark_untidy();
        }
    }
}

impl Ipam {
    /// Docker has no more use for an address. Idempotent. An endpoint that is still bound keeps it.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn release_address(&self, pool: &PoolId, address: IpAddr) -> Result<(), IpamError> {
        let space = match &pool.scope {
            Scope::Network(name) => self.state().networks.get(name).cloned(),
            Scope::Local(serial) => self.state().locals.get(serial).map(|local| local.space.clone()),
        };
        let Some(space) = space else { return Ok(()) };
        self.change_lease(&space, address, |lease| {
            lease.requests = lease.requests.saturating_sub(1);
            if lease.is_over() { Then::Free } else { Then::Keep }
        })
        .await
    }

    /// CreateEndpoint uses an address that RequestAddress gave. `network`: the cluster's, or none for one of this
    /// host alone; an address of no pool of this host is then Docker's own to look after. It is on the disk with the
    /// next commit of the ledger.
    ///
    /// # Errors
    /// Another endpoint has it, which is named; or it is no address for endpoints.
    pub async fn bind(
        &self,
        network: Option<&NetworkName>,
        address: IpAddr,
        endpoint: &EndpointId,
    ) -> Result<(), IpamError> {
        let (space, subnet) = match network {
            Some(name) => {
                let found = self.networks.find(name).await?;
                let found = found.ok_or_else(|| IpamError::NoNetwork { network: name.clone() })?;
                let Some(subnet) = found.subnet_of(address).cloned() else { return Ok(()) };
                (self.network_space(name), subnet)
            }
            None => {
                let Some(space) = self.space_of(None, address) else { return Ok(()) };
                let Scope::Local(serial) = space.scope else { return Ok(()) };
                let Some(local) = self.state().locals.get(&serial).cloned() else { return Ok(()) };
                (space, local.record.subnet)
            }
        };
        if let Some(reason) = subnet.reservation(address) {
            return Err(IpamError::Reserved { address, prefix: subnet.prefix, reason });
        }
        // Normally there is a lease, from RequestAddress.
        if self.attach(&space, subnet.prefix, address, endpoint)? {
            return Ok(());
        }
        let mut lease = Lease::requested(subnet.prefix, now());
        lease.endpoint = Some(endpoint.clone());
        self.allocate(&space, &subnet, Wanted::Address(address), &lease).await?;
        Ok(())
    }

    /// Puts the endpoint into an existing lease; false if there is none.
    ///
    /// Nobody waits until this is on the disk: the endpoint's own record comes later in the ledger, so that whoever
    /// waits for that waits for both. A lease whose endpoint was never recorded is collected.
    fn attach(
        &self,
        space: &Space,
        subnet: IpNet,
        address: IpAddr,
        endpoint: &EndpointId,
    ) -> Result<bool, IpamError> {
        let attached = space.with_pool(&self.node, subnet, |pool| {
            let Some(lease) = pool.lease_mut(address) else { return Ok(false) };
            match &lease.endpoint {
                Some(other) if other != endpoint => Err(other.clone()),
                Some(_) => Ok(true),
                None => {
                    lease.endpoint = Some(endpoint.clone());
                    lease.since = now();
                    self.ledger.write_behind(vec![space.lease_record(address, lease)]);
                    Ok(true)
                }
            }
        });
        attached.map_err(|other| held(space, subnet, address, self.node.clone(), Some(other)))
    }

    /// CreateEndpoint uses an address that Docker's own IPAM chose, in a network of the cluster. The address is the
    /// endpoint's until [`Ipam::unbind`]. Idempotent.
    ///
    /// # Errors
    /// Somebody else has it, who is named; or it is no address for endpoints.
    pub async fn claim(
        &self,
        network: &NetworkName,
        subnet: &Subnet,
        address: IpAddr,
        endpoint: &EndpointId,
    ) -> Result<(), IpamError> {
        let space = self.network_space(network);
        if subnet.reservation(address).is_none() && self.attach(&space, subnet.prefix, address, endpoint)? {
            return Ok(());
        }
        let lease = Lease::claimed(subnet.prefix, endpoint.clone(), now());
        self.allocate(&space, subnet, Wanted::Address(address), &lease).await?;
        Ok(())
    }

    /// DeleteEndpoint: the endpoint uses the address no more. Idempotent. What Docker's own IPAM chose is free then,
    /// what it requested from this one when it releases it.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn unbind(
        &self,
        network: Option<&NetworkName>,
        address: IpAddr,
        endpoint: &EndpointId,
    ) -> Result<(), IpamError> {
        let Some(space) = self.space_of(network, address) else { return Ok(()) };
        self.change_lease(&space, address, |lease| {
            if lease.endpoint.as_ref() == Some(endpoint) {
                lease.endpoint = None;
                lease.since = now();
                if lease.source == Source::Docker {
                    lease.requests = 0;
                }
            }
            if lease.is_over() { Then::Free } else { Then::Keep }
        })
        .await
    }

    /// Frees a lease whatever is said of it.
    pub(super) async fn free(&self, space: &Space, address: IpAddr) -> Result<(), IpamError> {
        self.change_lease(space, address, |_| Then::Free).await
    }

    /// Frees a lease that is as it is thought to be; false if it is not, or is gone.
    pub(super) async fn free_if(
        &self,
        space: &Space,
        address: IpAddr,
        is_so: impl FnOnce(&Lease) -> bool,
    ) -> Result<bool, IpamError> {
        let mut freed = false;
        let change = |lease: &mut Lease| {
            freed = is_so(lease);
            if freed { Then::Free } else { Then::Leave }
        };
        self.change_lease(space, address, change).await?;
        Ok(freed)
    }

    async fn change_lease(
        &self,
        space: &Space,
        address: IpAddr,
        change: impl FnOnce(&mut Lease) -> Then,
    ) -> Result<(), IpamError> {
        let (subnet, freed, recorded) = {
            let mut pools = space.pools();
            let Some((subnet, pool)) = pools.iter_mut().find(|(subnet, _)| subnet.contains(&address)) else {
                return Ok(());
            };
            let Some(lease) = pool.lease_mut(address) else { return Ok(()) };
            match change(lease) {
                Then::Leave => return Ok(()),
                Then::Keep => {
                    let record = space.lease_record(address, lease);
                    (*subnet, false, enqueue(&self.ledger, vec![record]))
                }
                Then::Free => {
                    pool.begin_release(address);
                    let erased = LedgerWrite::delete(Table::Leases, space.lease_key(address));
                    (*subnet, true, enqueue(&self.ledger, vec![erased]))
                }
            }
        };
        let mut releasing = freed.then(|| Releasing { ipam: self, space, subnet, address, ended: None });
        let result = recorded.await;
        if let Some(releasing) = &mut releasing {
            releasing.ended = Some(result.is_ok());
        }
        drop(releasing);
        let lender = space.with_pool(&self.node, subnet, |pool| {
            let block = pool.block_at(address);
            let is_own = block.is_some_and(|(_, known)| known.block.owner == self.node);
            (freed && !is_own).then(|| block_of(subnet, address))
        });
        if let Some(block) = lender {
            self.hand_back(space, subnet, block).await;
        }
        Ok(result?)
    }

    /// Gives borrowed addresses back now, so that whoever is told that an address is released can have it anywhere;
    /// in the background if the store is away.
    async fn hand_back(&self, space: &Space, subnet: IpNet, block: IpNet) {
        let Some(shared) = &space.shared else { return };
        let _lane = shared.lane.lock().await;
        if let Err(error) = self.give_back(space, shared, subnet, block).await {
            tracing::debug!(network = %shared.network, %error, "borrowed addresses are given back later");
            shared.mark_untidy();
        }
    }
}
