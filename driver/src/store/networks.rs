//! Networks in the store: created once, agreed with ever after, removed when nobody uses them.
//!
//! A network and the claims of its id and of its VNI or VLAN are written and removed in one transaction, so that
//! neither a claim without its network nor two networks with one id can be.

use serde::{Deserialize, Serialize};

use super::{Entry, Guard, MAX_TXN_OPS, Store, StoreError, TxnOutcome, Write, keys};
use crate::model::{
    Disagreement, Encapsulation, Endpoint, LOCAL_PREFIX, Network, NetworkId, NetworkName, NetworkSpec,
    Origin, SpecError, SubnetError,
};

/// How often a transaction is tried again that others were faster than: each time one of them has succeeded.
const ATTEMPTS: usize = 256;

/// Why a network is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parts of what was asked do not go together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The name is that of a network of one host.
    #[error(
        "network name '{0}' begins with '{LOCAL_PREFIX}', which is kept for networks of one host: choose another name"
    )]
    ReservedName(NetworkName),
    /// A subnet's own gateway, which it gets if none is given, cannot be.
    #[error("network {network}: {source}")]
    Gateway {
        /// The network.
        network: NetworkName,
        /// Why.
        source: SubnetError,
    },
    /// The network exists and is another.
    #[error(transparent)]
    Disagreement(#[from] Box<Disagreement>),
    /// Another network has the VNI or VLAN.
    #[error(
        "network {network}: {}={segment} belongs to network {holder} (encap={encapsulation}): choose another one",
        segment_key(*.encapsulation)
    )]
    SegmentTaken {
        /// The network that asked.
        network: NetworkName,
        /// The encapsulation; each has segments of its own.
        encapsulation: Encapsulation,
        /// The VNI or VLAN.
        segment: u32,
        /// The network that has it.
        holder: String,
    },
    /// All ids are given out.
    #[error("network {0}: every network id is in use; remove a network first")]
    NoFreeId(NetworkName),
    /// A network that the store had lost cannot be put back.
    #[error(
        "network {network} was lost from the store, and network {holder} has {claim} now: remove {holder}, or the \
         endpoints of {network}"
    )]
    ClaimLost {
        /// The network that was lost.
        network: NetworkName,
        /// The key of its claim.
        claim: String,
        /// The network that has it now.
        holder: NetworkName,
    },
    /// There is no such network.
    #[error("network {0} does not exist: `sluice network ls` shows those that do")]
    Unknown(NetworkName),
    /// The network has endpoints.
    #[error(
        "network {network} has {} endpoint(s): {}; disconnect or remove these containers first",
        endpoints.len(), shorten(endpoints)
    )]
    InUse {
        /// The network.
        network: NetworkName,
        /// Its endpoints, each with its node.
        endpoints: Vec<String>,
    },
    /// The network has attached ports.
    #[error(
        "network {network} has {} attached port(s): {}; detach them first: sluice port detach PORT --node NODE",
        ports.len(), shorten(ports)
    )]
    HasPorts {
        /// The network.
        network: NetworkName,
        /// Its ports, each with its node.
        ports: Vec<String>,
    },
    /// Others changed the same keys all the time.
    #[error("network {0}: others kept changing it; try again")]
    Contended(NetworkName),
    /// A stored value cannot be understood.
    #[error(
        "{key} in {store} cannot be read ({reason}): it was damaged or written by something else; repair or remove it"
    )]
    Damaged {
        /// The store.
        store: String,
        /// The key.
        key: String,
        /// What is wrong with the value.
        reason: String,
    },
}

impl NetworkError {
    /// True if the same call may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Contended(_) => true,
            _ => false,
        }
    }
}

/// The option that chooses a network's segment.
fn segment_key(encapsulation: Encapsulation) -> &'static str {
    if encapsulation == Encapsulation::Vlan { "vlan" } else { "vni" }
}

fn shorten(endpoints: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = endpoints[..endpoints.len().min(SHOWN)].join(", ");
    if endpoints.len() > SHOWN {
        text += &format!(" and {} more", endpoints.len() - SHOWN);
    }
    text
}

/// The value of a claim.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    network: NetworkName,
}

/// The network of this name: made as asked if there is none, else the one there is, if it agrees.
///
/// A new network's subnets that have no gateway get their first address as gateway, so that it is the same one on
/// every host.
///
/// # Errors
/// It exists and disagrees, cannot be made as asked, or the store is away.
pub async fn create_or_agree(
    store: &dyn Store,
    name: &NetworkName,
    spec: &NetworkSpec,
    default_encapsulation: Encapsulation,
    origin: Origin,
) -> Result<Network, NetworkError> {
    create(store, name, spec, default_encapsulation, origin).await.map(|(network, _)| network)
}

/// As [`create_or_agree`]; also tells whether the network is new.
///
/// # Errors
/// As [`create_or_agree`].
pub async fn create(
    store: &dyn Store,
    name: &NetworkName,
    spec: &NetworkSpec,
    default_encapsulation: Encapsulation,
    origin: Origin,
) -> Result<(Network, bool), NetworkError> {
    if name.as_str().starts_with(LOCAL_PREFIX) {
        return Err(NetworkError::ReservedName(name.clone()));
    }
    let mut taken_segments = Vec::new();
    for _ in 0..ATTEMPTS {
        if let Some(network) = find(store, name).await? {
            network.agrees_with(spec)?;
            return Ok((network, false));
        }
        let id = free_id(store, name, &taken_segments).await?;
        let mut network = Network::new(name.clone(), id, spec, default_encapsulation, origin.clone())?;
        for subnet in &mut network.subnets {
            if subnet.gateway.is_none() {
                let gateway = subnet.default_gateway();
                *subnet = subnet
                    .clone()
                    .with_gateway(gateway)
                    .map_err(|source| NetworkError::Gateway { network: name.clone(), source })?;
            }
        }
        drop_leftovers(store, name).await?;

        let conflicts = match put(store, &network).await? {
            TxnOutcome::Committed(_) => return Ok((network, true)),
            TxnOutcome::Conflict(conflicts) => conflicts,
        };
        let Some((encapsulation, segment)) = segment(&network) else { continue };
        let lost = conflicts.iter().find(|entry| entry.key == keys::segment(encapsulation, segment));
        if let Some(entry) = lost.filter(|_| !conflicts.iter().any(|other| other.key == keys::network(name)))
        {
            let holder = decode::<Claim>(store, entry)?.network;
            if spec.vni.is_some() || spec.vlan.is_some() {
                let (network, holder) = (name.clone(), holder.to_string());
                return Err(NetworkError::SegmentTaken { network, encapsulation, segment, holder });
            }
            taken_segments.push(segment);
        }
    }
    Err(NetworkError::Contended(name.clone()))
}

/// Puts a network back that the store has lost while a node had endpoints of it, with its number and claims.
///
/// # Errors
/// The store is away, or another network has taken one of the claims.
pub async fn restore(store: &dyn Store, network: &Network) -> Result<(), NetworkError> {
    let TxnOutcome::Conflict(conflicts) = put(store, network).await? else { return Ok(()) };
    if conflicts.iter().any(|entry| entry.key == keys::network(&network.name)) {
        return Ok(());
    }
    match conflicts.first() {
        Some(entry) => Err(NetworkError::ClaimLost {
            network: network.name.clone(),
            claim: entry.key.clone(),
            holder: decode::<Claim>(store, entry)?.network,
        }),
        None => Err(NetworkError::Contended(network.name.clone())),
    }
}

/// Writes a network and its claims if none of them is there.
async fn put(store: &dyn Store, network: &Network) -> Result<TxnOutcome, NetworkError> {
    let key = keys::network(&network.name);
    let claims = claims(network);
    let claim = encode(&Claim { network: network.name.clone() });
    let guards = [key.clone()].into_iter().chain(claims.iter().cloned()).map(Guard::Absent).collect();
    let writes = [Write::Put(key, encode(network))]
        .into_iter()
        .chain(claims.into_iter().map(|key| Write::Put(key, claim.clone())))
        .collect();
    Ok(store.commit(guards, writes).await?)
}

/// The network of this name, if there is one.
///
/// # Errors
/// The store is away, or the stored value is damaged.
pub async fn find(store: &dyn Store, name: &NetworkName) -> Result<Option<Network>, NetworkError> {
    store.get(&keys::network(name)).await?.map(|entry| decode(store, &entry)).transpose()
}

/// All networks, by name.
///
/// # Errors
/// The store is away, or a stored value is damaged.
pub async fn list(store: &dyn Store) -> Result<Vec<Network>, NetworkError> {
    store.list(keys::NETWORKS).await?.iter().map(|entry| decode(store, entry)).collect()
}

/// The endpoints of one network, or of all, by key.
///
/// # Errors
/// The store is away, or a stored value is damaged.
pub async fn endpoints(
    store: &dyn Store,
    network: Option<&NetworkName>,
) -> Result<Vec<Endpoint>, NetworkError> {
    let prefix = network.map_or_else(|| keys::ENDPOINTS.to_owned(), keys::endpoints);
    store.list(&prefix).await?.iter().map(|entry| decode(store, entry)).collect()
}

/// Removes a network with its claims, its address blocks, demands and stations.
///
/// # Errors
/// There is no such network, it has endpoints or attached ports, or the store is away. An endpoint that was made, or a
/// port that was attached, at the same moment keeps its network.
pub async fn remove(store: &dyn Store, name: &NetworkName) -> Result<Network, NetworkError> {
    for _ in 0..ATTEMPTS {
        let Some(entry) = store.get(&keys::network(name)).await? else {
            return Err(NetworkError::Unknown(name.clone()));
        };
        let network: Network = decode(store, &entry)?;
        refuse_if_in_use(store, name).await?;
        let claims = claims(&network);
        let writes =
            [entry.key.clone()].into_iter().chain(claims.iter().cloned()).map(Write::Delete).collect();
        let guard = Guard::Unchanged(entry.key.clone(), entry.revision);
        if let TxnOutcome::Conflict(_) = store.commit(vec![guard], writes).await? {
            continue;
        }
        // Endpoints are written under the guard that their network exists, so that none comes from here on.
        if let Err(in_use) = refuse_if_in_use(store, name).await {
            put(store, &network).await?;
            return Err(in_use);
        }
        drop_leftovers(store, name).await?;
        return Ok(network);
    }
    Err(NetworkError::Contended(name.clone()))
}

async fn refuse_if_in_use(store: &dyn Store, name: &NetworkName) -> Result<(), NetworkError> {
    let ports = super::ports::list(store, Some(name), None).await?;
    if !ports.is_empty() {
        let ports = ports.iter().map(|port| format!("{} on node {}", port.at(), port.node)).collect();
        return Err(NetworkError::HasPorts { network: name.clone(), ports });
    }
    let endpoints = endpoints(store, Some(name)).await?;
    if endpoints.is_empty() {
        return Ok(());
    }
    let endpoints = endpoints
        .iter()
        .map(|endpoint| format!("{:.12} on node {}", endpoint.id.as_str(), endpoint.node))
        .collect();
    Err(NetworkError::InUse { network: name.clone(), endpoints })
}

/// Removes the blocks, demands and stations of a network that does not exist: a removal leaves them for a moment, and for
/// longer if it is interrupted.
async fn drop_leftovers(store: &dyn Store, name: &NetworkName) -> Result<(), NetworkError> {
    let mut leftovers = store.list(&keys::blocks(name)).await?;
    leftovers.extend(store.list(&keys::demands(name)).await?);
    leftovers.extend(store.list(&keys::stations(name)).await?);
    for chunk in leftovers.chunks(MAX_TXN_OPS) {
        let writes = chunk.iter().map(|entry| Write::Delete(entry.key.clone())).collect();
        let guard = Guard::Absent(keys::network(name));
        if let TxnOutcome::Conflict(_) = store.commit(vec![guard], writes).await? {
            // Somebody made the network again and saw to them.
            return Ok(());
        }
    }
    Ok(())
}

/// The least id that no network has, and that is nobody's VNI as far as is known.
async fn free_id(
    store: &dyn Store,
    name: &NetworkName,
    taken_segments: &[u32],
) -> Result<NetworkId, NetworkError> {
    let prefix = format!("{}network-ids/", keys::ROOT);
    let taken: std::collections::BTreeSet<u32> = store
        .list(&prefix)
        .await?
        .iter()
        .filter_map(|entry| entry.key[prefix.len()..].parse().ok())
        .chain(taken_segments.iter().copied())
        .collect();
    (1..NetworkId::FIRST_LOCAL)
        .find(|id| !taken.contains(id))
        .and_then(|id| NetworkId::try_from(id).ok())
        .ok_or_else(|| NetworkError::NoFreeId(name.clone()))
}

/// What a network claims beside its name.
fn claims(network: &Network) -> Vec<String> {
    let segment = segment(network).map(|(encapsulation, segment)| keys::segment(encapsulation, segment));
    [keys::network_id(network.id)].into_iter().chain(segment).collect()
}

fn segment(network: &Network) -> Option<(Encapsulation, u32)> {
    let segment = network.vni.map(u32::from).or(network.vlan.map(u32::from))?;
    Some((network.encapsulation, segment))
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the model's types have string keys only")
}

pub(super) fn decode<T: for<'de> Deserialize<'de>>(
    store: &dyn Store,
    entry: &Entry,
) -> Result<T, NetworkError> {
    serde_json::from_slice(&entry.value).map_err(|error| NetworkError::Damaged {
        store: store.describe(),
        key: entry.key.clone(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
