//! What the agent asks its host and its store on behalf of others.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;

use super::registry::Registry;
use crate::ipam::{HostRoute, HostRoutes, Networks};
use crate::model::{Network, NetworkName};
use crate::node::link::{LinkError, Links};
use crate::store::networks::{NetworkError, find};
use crate::store::{Store, StoreError};

/// The MTU of the link that has the underlay address; `None` without an underlay.
pub(super) async fn underlay_mtu(links: &Links, underlay: Option<IpAddr>) -> Result<Option<u16>, LinkError> {
    match underlay {
        Some(address) => Ok(Some(links.address_owner(address).await?.mtu)),
        None => Ok(None),
    }
}

/// The networks that IPAM may ask for: those of the store, or what is known of them while it is away.
pub(super) struct KnownNetworks {
    registry: Registry,
    store: Arc<dyn Store>,
}

impl KnownNetworks {
    pub(super) fn new(registry: Registry, store: Arc<dyn Store>) -> KnownNetworks {
        KnownNetworks { registry, store }
    }
}

#[async_trait]
impl Networks for KnownNetworks {
    async fn find(&self, name: &NetworkName) -> Result<Option<Arc<Network>>, StoreError> {
        // A network does not change, so what is known need not be read again.
        if let Some(known) = self.registry.network(name) {
            return Ok(Some(known));
        }
        match find(self.store.as_ref(), name).await {
            Ok(found) => Ok(found.map(Arc::new)),
            Err(NetworkError::Store(error)) => Err(error),
            Err(other) => Err(StoreError::Unusable {
                store: self.store.describe(),
                reason: other.to_string(),
                remedy: "repair or delete the key",
            }),
        }
    }

    async fn all_subnets(&self) -> Result<Vec<(NetworkName, IpNet)>, StoreError> {
        Ok(self.registry.with_view(|view| {
            let of_network = |network: &Arc<Network>| {
                let name = network.name.clone();
                network.subnets.iter().map(move |subnet| (name.clone(), subnet.prefix)).collect::<Vec<_>>()
            };
            view.networks.values().flat_map(of_network).collect()
        }))
    }
}

/// This host's routes, as Docker sees them.
pub(super) struct Routes {
    links: Links,
}

impl Routes {
    pub(super) fn new(links: Links) -> Routes {
        Routes { links }
    }
}

#[async_trait]
impl HostRoutes for Routes {
    async fn in_use(&self) -> io::Result<Vec<HostRoute>> {
        let routes = self.links.routes().await.map_err(io::Error::other)?;
        let via = "a route that 'ip route show table all' lists";
        Ok(routes.into_iter().map(|prefix| HostRoute { prefix, via: via.to_owned() }).collect())
    }
}
