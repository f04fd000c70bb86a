//! Docker's IPAM calls: pools and addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::space::{LocalRecord, Space, enqueue};
use super::{HostRoute, Ipam, IpamError, Local, SERIAL, now};
use crate::ipam::{Lease, PoolId, Scope, Wanted, overlap};
use crate::model::{Disagreement, Network, NetworkName, Subnet};
use crate::store::{LedgerWrite, Table};

/// How often Docker may ask for a pool of its own choice in a row. It takes the first that overlaps nothing on the
/// host, or asks for ever (measured, 700 times a second).
const MOST_UNASKED: u32 = 20;
/// What is a row.
const ROW: Duration = Duration::from_secs(5);

/// RequestPool, parsed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RequestPool {
    /// Either of the two address spaces: both denote the same pools.
    pub address_space: String,
    /// `--subnet`.
    pub pool: Option<IpNet>,
    /// `--ip-range`.
    pub sub_pool: Option<IpNet>,
    /// `--ipam-opt`.
    pub options: BTreeMap<String, String>,
    /// Whether an IPv6 pool is wanted, if none is named.
    pub v6: bool,
}

/// What RequestPool answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolReply {
    /// The handle for all that follows.
    pub id: PoolId,
    /// The subnet.
    pub pool: IpNet,
    /// The gateway, if the network exists and has one: sent as `com.docker.network.gateway`, it saves Docker the
    /// request for one.
    pub gateway: Option<IpNet>,
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `RequestAddressType: com.docker.network.gateway`.
    Gateway,
    /// An endpoint, or one of the network's auxiliary addresses: Docker does not tell them apart.
    Endpoint,
}

impl Ipam {
    /// A pool for a Docker network.
    ///
    /// # Errors
    /// An option is unknown; the network exists with other subnets; nothing is left; it overlaps what is there.
    pub async fn request_pool(&self, request: RequestPool) -> Result<PoolReply, IpamError> {
        let network = parse_options(&request.options)?;
        if let Some(prefix) = request.pool {
            Subnet::new(prefix)?;
            check_range(prefix, request.sub_pool)?;
        }
        let reply = match &network {
            Some(name) => self.cluster_pool(name, &request).await?,
            None => self.local_pool(&request).await?,
        };
        if request.pool.is_none()
            && let Err(error) = self.guard_against_loop(network, request.v6, reply.pool)
        {
            // Docker never hears of this pool, so nobody would give it back.
            if let Scope::Local(serial) = reply.id.scope {
                self.remove_local(serial).await?;
            }
            return Err(error);
        }
        Ok(reply)
    }

    async fn cluster_pool(&self, name: &NetworkName, request: &RequestPool) -> Result<PoolReply, IpamError> {
        let network = self.networks.find(name).await?;
        let (prefix, gateway) = match (&network, request.pool) {
            (Some(network), Some(prefix)) => {
                let subnet = subnet_of(network, prefix)?;
                (prefix, subnet.gateway)
            }
            (Some(network), None) => {
                let subnet = network
                    .subnets
                    .iter()
                    .find(|subnet| subnet.prefix.addr().is_ipv6() == request.v6)
                    .ok_or_else(|| IpamError::NoSubnet {
                        network: name.clone(),
                        family: family(request.v6),
                    })?;
                let routes = self.host_routes().await?;
                if let Some(route) = routes.into_iter().find(|route| subnet.overlaps(&route.prefix)) {
                    return Err(IpamError::RouteOverlap {
                        network: name.clone(),
                        prefix: subnet.prefix,
                        route: route.prefix,
                        via: route.via,
                    });
                }
                (subnet.prefix, subnet.gateway)
            }
            (None, Some(prefix)) => (prefix, None),
            (None, None) => (self.choose(name.as_str(), request.v6, Some(name)).await?, None),
        };
        check_range(prefix, request.sub_pool)?;
        Ok(PoolReply {
            id: PoolId {
                scope: Scope::Network(name.clone()),
                prefix,
                range: range_of(prefix, request.sub_pool),
            },
            pool: prefix,
            gateway: gateway.map(|gateway| with_len(gateway, prefix)),
        })
    }

    async fn local_pool(&self, request: &RequestPool) -> Result<PoolReply, IpamError> {
        let chosen = match request.pool {
            Some(prefix) => prefix,
            // Whatever is left; the seed only spreads hosts, so that a later merge has less to renumber.
            None => self.choose(self.node.as_str(), request.v6, None).await?,
        };
        check_range(chosen, request.sub_pool)?;
        let record = LocalRecord { subnet: Subnet::new(chosen)?, settled: false, since: now() };
        let (id, recorded) = {
            let mut state = self.state();
            let overlapping =
                state.locals.iter().find(|(_, local)| overlap(local.record.subnet.prefix, chosen));
            if let Some((serial, local)) = overlapping {
                let other =
                    PoolId { scope: Scope::Local(*serial), prefix: local.record.subnet.prefix, range: None };
                return Err(IpamError::LocalOverlap { prefix: chosen, other: Box::new(other) });
            }
            let serial = state.next_serial;
            state.next_serial += 1;
            let space = Arc::new(Space::of_local(serial, &self.node, chosen));
            let writes = vec![
                LedgerWrite::put_json(Table::Pools, Scope::Local(serial).to_string(), &record),
                LedgerWrite::put_json(Table::Meta, SERIAL, &serial),
            ];
            state.locals.insert(serial, Local { record, space });
            let id = PoolId {
                scope: Scope::Local(serial),
                prefix: chosen,
                range: range_of(chosen, request.sub_pool),
            };
            (id, enqueue(&self.ledger, writes))
        };
        if let Err(error) = recorded.await {
            if let Scope::Local(serial) = id.scope {
                self.state().locals.remove(&serial);
            }
            return Err(error.into());
        }
        Ok(PoolReply { id, pool: chosen, gateway: None })
    }

    async fn host_routes(&self) -> Result<Vec<HostRoute>, IpamError> {
        let routes = self.routes.in_use().await;
        let mut routes = routes.map_err(|error| IpamError::Routes { reason: error.to_string() })?;
        routes.retain(|route| route.prefix.prefix_len() > 0);
        Ok(routes)
    }

    /// A subnet of the default pools that overlaps nothing that is known of.
    async fn choose(&self, seed: &str, v6: bool, own: Option<&NetworkName>) -> Result<IpNet, IpamError> {
        let mut taken: Vec<IpNet> = self.host_routes().await?.into_iter().map(|route| route.prefix).collect();
        let subnets = self.networks.all_subnets().await?;
        taken.extend(subnets.into_iter().filter(|(name, _)| Some(name) != own).map(|(_, prefix)| prefix));
        taken.extend(self.state().locals.values().map(|local| local.record.subnet.prefix));
        let pools = &self.config.default_pools;
        pools.choose(seed, v6, &taken).ok_or_else(|| IpamError::NoDefaultLeft { space: pools.space(v6) })
    }

    fn guard_against_loop(
        &self,
        network: Option<NetworkName>,
        v6: bool,
        last: IpNet,
    ) -> Result<(), IpamError> {
        let mut state = self.state();
        state.unasked.retain(|_, (first, _)| first.elapsed() < ROW);
        let (_, times) = state.unasked.entry((network.clone(), v6)).or_insert((Instant::now(), 0));
        *times += 1;
        if *times <= MOST_UNASKED {
            return Ok(());
        }
        let what = match network {
            Some(name) => format!("network {name}"),
            None => "this host".to_owned(),
        };
        Err(IpamError::Loop { times: *times, what, last })
    }

    /// Docker has no more use for a pool. A network's own subnet stays; a local pool goes with all its leases.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn release_pool(&self, pool: &PoolId) -> Result<(), IpamError> {
        let Scope::Local(serial) = pool.scope else { return Ok(()) };
        self.remove_local(serial).await
    }

    pub(super) async fn remove_local(&self, serial: u64) -> Result<(), IpamError> {
        let recorded = {
            let mut state = self.state();
            let Some(local) = state.locals.remove(&serial) else { return Ok(()) };
            let space = local.space;
            let mut writes = vec![LedgerWrite::delete(Table::Pools, space.scope.to_string())];
            for pool in space.pools().values() {
                let leases = pool.leases().keys();
                writes.extend(leases.map(|a| LedgerWrite::delete(Table::Leases, space.lease_key(*a))));
            }
            enqueue(&self.ledger, writes)
        };
        Ok(recorded.await?)
    }

    /// An address of a pool, with the subnet's prefix length.
    ///
    /// # Errors
    /// It cannot be had, and why.
    pub async fn request_address(
        &self,
        pool: &PoolId,
        asked: Option<IpAddr>,
        purpose: Purpose,
    ) -> Result<IpNet, IpamError> {
        if let Some(address) = asked
            && !pool.prefix.contains(&address)
        {
            return Err(IpamError::Outside { address, prefix: pool.prefix });
        }
        let address = match &pool.scope {
            Scope::Network(name) => self.cluster_address(name, pool, asked, purpose).await?,
            Scope::Local(serial) => self.local_address(*serial, pool, asked, purpose).await?,
        };
        Ok(with_len(address, pool.prefix))
    }

    async fn cluster_address(
        &self,
        name: &NetworkName,
        pool: &PoolId,
        asked: Option<IpAddr>,
        purpose: Purpose,
    ) -> Result<IpAddr, IpamError> {
        let network = self.networks.find(name).await?;
        let Some(network) = network else {
            // CreateNetwork comes after this and decides; until then there are no endpoints, so an address that is
            // asked for is an auxiliary one.
            return match (purpose, asked) {
                (_, Some(address)) => Ok(address),
                (Purpose::Gateway, None) => Ok(Subnet::new(pool.prefix)?.default_gateway()),
                (Purpose::Endpoint, None) => Err(IpamError::NoNetwork { network: name.clone() }),
            };
        };
        let Some(subnet) = network.subnets.iter().find(|subnet| subnet.prefix == pool.prefix) else {
            return Err(IpamError::StalePool { pool: pool.clone(), network: name.clone() });
        };
        match (purpose, asked) {
            (Purpose::Gateway, asked) => match (subnet.gateway, asked) {
                (Some(gateway), Some(asked)) if gateway != asked => {
                    Err(disagreement(&network, "gateway", asked.to_string(), gateway.to_string()))
                }
                (Some(gateway), _) => Ok(gateway),
                (None, Some(asked)) => Ok(asked),
                (None, None) => Ok(subnet.default_gateway()),
            },
            // On each host that creates the Docker network the same again, and in no endpoint's use.
            (Purpose::Endpoint, Some(asked)) if subnet.reserved.values().any(|aux| *aux == asked) => {
                Ok(asked)
            }
            (Purpose::Endpoint, asked) => {
                let space = self.network_space(name);
                self.take_requested(&space, subnet, pool.range, asked).await
            }
        }
    }

    async fn local_address(
        &self,
        serial: u64,
        pool: &PoolId,
        asked: Option<IpAddr>,
        purpose: Purpose,
    ) -> Result<IpAddr, IpamError> {
        let local = self.state().locals.get(&serial).cloned();
        let local = local
            .filter(|local| local.record.subnet.prefix == pool.prefix)
            .ok_or_else(|| IpamError::NoPool { pool: pool.clone() })?;
        let subnet = &local.record.subnet;
        match purpose {
            Purpose::Endpoint
                if asked.is_some_and(|asked| subnet.reserved.values().any(|aux| *aux == asked)) =>
            {
                Ok(asked.expect("it was looked for among the reserved"))
            }
            Purpose::Endpoint => self.take_requested(&local.space, subnet, pool.range, asked).await,
            Purpose::Gateway => {
                let gateway = asked.or(subnet.gateway).unwrap_or_else(|| subnet.default_gateway());
                let settled = subnet.clone().with_gateway(gateway)?;
                self.amend_local(serial, |record| record.subnet = settled).await?;
                Ok(gateway)
            }
        }
    }

    async fn take_requested(
        &self,
        space: &Space,
        subnet: &Subnet,
        range: Option<IpNet>,
        asked: Option<IpAddr>,
    ) -> Result<IpAddr, IpamError> {
        let wanted = match asked {
            Some(address) => Wanted::Address(address),
            None => Wanted::Any(range.unwrap_or(subnet.prefix)),
        };
        self.allocate(space, subnet, wanted, &Lease::requested(subnet.prefix, now())).await
    }

    /// Changes what is known of a local pool; it is in the ledger when this returns.
    pub(super) async fn amend_local(
        &self,
        serial: u64,
        change: impl FnOnce(&mut LocalRecord),
    ) -> Result<(), IpamError> {
        let recorded = {
            let mut state = self.state();
            let Some(local) = state.locals.get_mut(&serial) else { return Ok(()) };
            change(&mut local.record);
            let key = local.space.scope.to_string();
            enqueue(&self.ledger, vec![LedgerWrite::put_json(Table::Pools, key, &local.record)])
        };
        Ok(recorded.await?)
    }
}

fn parse_options(options: &BTreeMap<String, String>) -> Result<Option<NetworkName>, IpamError> {
    let mut network = None;
    for (key, value) in options {
        match key.as_str() {
            "network" => {
                let name = value.parse();
                network =
                    Some(name.map_err(|source| IpamError::NetworkOption { value: value.clone(), source })?);
            }
            // Swarm's manager adds it for its own purposes.
            "com.docker.network.ipam.serial" => {}
            _ => return Err(IpamError::UnknownOption { key: key.clone(), value: value.clone() }),
        }
    }
    Ok(network)
}

fn check_range(prefix: IpNet, range: Option<IpNet>) -> Result<(), IpamError> {
    match range {
        Some(range) if !prefix.contains(&range) || range.trunc() != range => {
            Err(IpamError::Range { range, prefix })
        }
        _ => Ok(()),
    }
}

fn range_of(prefix: IpNet, range: Option<IpNet>) -> Option<IpNet> {
    range.filter(|range| *range != prefix)
}

fn with_len(address: IpAddr, prefix: IpNet) -> IpNet {
    IpNet::new(address, prefix.prefix_len()).expect("an address of the prefix has its family")
}

fn family(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}

fn subnet_of(network: &Network, prefix: IpNet) -> Result<&Subnet, IpamError> {
    network.subnets.iter().find(|subnet| subnet.prefix == prefix).ok_or_else(|| {
        let there: Vec<_> = network.subnets.iter().map(|subnet| subnet.prefix.to_string()).collect();
        disagreement(network, "subnet", prefix.to_string(), there.join(", "))
    })
}

fn disagreement(network: &Network, field: &'static str, here: String, there: String) -> IpamError {
    let (network, origin) = (network.name.clone(), network.origin.clone());
    let there = Some(there).filter(|there| !there.is_empty());
    IpamError::Disagreement(Box::new(Disagreement { network, field, here, there, origin }))
}
