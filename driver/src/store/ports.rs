//! What attaching and detaching a switch port means in keys, and what is learned behind such ports.
//!
//! An attachment has two keys, written in one transaction: the port's, which only one network can have, and one
//! under its network, where every node with members of the network finds it. Both hold the same value.

use ofctl::MacAddr;

use super::networks::{NetworkError, decode, encode};
use super::{Entry, Guard, MAX_TXN_OPS, Revision, Store, StoreError, TxnOutcome, Write, keys};
use crate::model::{
    CannotCarry, NetworkName, Node, NodeName, Origin, PortAttachment, PortTag, Station, UnknownFields,
    can_carry,
};

/// How often an attachment is tried again while others change the same keys.
const ATTEMPTS: usize = 16;

/// Why a port is not attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The store or the network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// There is no such node.
    #[error("node {0} does not exist: 'sluice node ls' shows those that do; a switch's agent makes its own")]
    UnknownNode(NodeName),
    /// The node cannot carry the network to a port.
    #[error("port {port} of node {node} cannot be attached: {source}")]
    CannotCarry {
        /// The port.
        port: PortTag,
        /// The node.
        node: NodeName,
        /// Why, and the cure.
        #[source]
        source: CannotCarry,
    },
    /// Another network has the port.
    #[error(
        "port {port} of node {node} is attached to network {holder} (by node {by}): detach it first, or attach \
         another VLAN of it with --vlan"
    )]
    Taken {
        /// The port.
        port: PortTag,
        /// The node.
        node: NodeName,
        /// The network that has it.
        holder: NetworkName,
        /// Where that was asked for.
        by: NodeName,
    },
    /// The port is in no network.
    #[error(
        "port {port} of node {node} is not attached: 'sluice port ls --node {node}' shows those that are"
    )]
    NotAttached {
        /// The port.
        port: PortTag,
        /// The node.
        node: NodeName,
    },
}

impl From<StoreError> for PortError {
    fn from(error: StoreError) -> Self {
        PortError::Network(error.into())
    }
}

/// Makes a port a member of a network, or makes sure that it is. Tells whether that is new.
///
/// # Errors
/// Network or node do not exist, the node cannot carry the network, another network has the port, or the store is
/// away.
pub async fn attach(
    store: &dyn Store,
    node: &NodeName,
    at: &PortTag,
    network: &NetworkName,
    origin: Origin,
) -> Result<(PortAttachment, bool), PortError> {
    let attachment = PortAttachment {
        node: node.clone(),
        port: at.port.clone(),
        vlan: at.vlan,
        network: network.clone(),
        origin,
        unknown: UnknownFields::new(),
    };
    let (port_key, value) = (keys::port(node, at), encode(&attachment));
    for _ in 0..ATTEMPTS {
        let (found, carrier) = (store.get(&keys::network(network)).await?, find_node(store, node).await?);
        let Some(found) = found else { return Err(NetworkError::Unknown(network.clone()).into()) };
        can_carry(&carrier, &decode(store, &found)?, &at.port).map_err(|source| PortError::CannotCarry {
            port: at.clone(),
            node: node.clone(),
            source,
        })?;
        let guards = vec![
            Guard::Absent(port_key.clone()),
            Guard::Unchanged(found.key.clone(), found.revision),
            Guard::Present(keys::node(node)),
        ];
        let writes = vec![
            Write::Put(port_key.clone(), value.clone()),
            Write::Put(keys::attached_port(&attachment), value.clone()),
        ];
        let conflicts = match store.commit(guards, writes).await? {
            TxnOutcome::Committed(_) => return Ok((attachment, true)),
            TxnOutcome::Conflict(conflicts) => conflicts,
        };
        if let Some(entry) = conflicts.iter().find(|entry| entry.key == port_key) {
            let there: PortAttachment = decode(store, entry)?;
            if there.network == *network {
                return Ok((there, false));
            }
            return Err(PortError::Taken {
                port: at.clone(),
                node: node.clone(),
                holder: there.network,
                by: there.origin.node,
            });
        }
    }
    Err(NetworkError::Contended(network.clone()).into())
}

/// Takes a port out of its network.
///
/// # Errors
/// It is in none, or the store is away.
pub async fn detach(store: &dyn Store, node: &NodeName, at: &PortTag) -> Result<PortAttachment, PortError> {
    let key = keys::port(node, at);
    for _ in 0..ATTEMPTS {
        let Some(entry) = store.get(&key).await? else {
            return Err(PortError::NotAttached { port: at.clone(), node: node.clone() });
        };
        let attachment: PortAttachment = decode(store, &entry)?;
        let writes = vec![Write::Delete(key.clone()), Write::Delete(keys::attached_port(&attachment))];
        let guard = Guard::Unchanged(key.clone(), entry.revision);
        if let TxnOutcome::Committed(_) = store.commit(vec![guard], writes).await? {
            drop_stations(store, &attachment).await?;
            return Ok(attachment);
        }
    }
    Err(PortError::NotAttached { port: at.clone(), node: node.clone() })
}

/// Removes the stations behind a port that is not attached any more; with the last port of its network on its node, also
/// those of which the switch does not tell the port. None comes back: they are written under the guard that a port is
/// attached.
async fn drop_stations(store: &dyn Store, port: &PortAttachment) -> Result<(), NetworkError> {
    let of_node = stations(store, &port.network, Some(&port.node)).await?;
    let is_last = list(store, Some(&port.network), Some(&port.node)).await?.is_empty();
    let behind = of_node.iter().filter(|(station, _)| match &station.at {
        Some(at) => *at == port.at(),
        None => is_last,
    });
    let gone: Vec<Write> =
        behind.map(|(station, _)| Write::Delete(keys::station(&port.network, station.mac))).collect();
    for batch in gone.chunks(MAX_TXN_OPS) {
        store.commit(vec![Guard::Absent(keys::port(&port.node, &port.at()))], batch.to_vec()).await?;
    }
    Ok(())
}

async fn find_node(store: &dyn Store, name: &NodeName) -> Result<Node, PortError> {
    match store.get(&keys::node(name)).await? {
        Some(entry) => Ok(decode(store, &entry)?),
        None => Err(PortError::UnknownNode(name.clone())),
    }
}

/// The attached ports of one network or all, of one node or all.
///
/// # Errors
/// The store is away, or a stored value is damaged.
pub async fn list(
    store: &dyn Store,
    network: Option<&NetworkName>,
    node: Option<&NodeName>,
) -> Result<Vec<PortAttachment>, NetworkError> {
    let prefix = match (network, node) {
        (Some(network), _) => keys::attached_ports(network),
        (None, Some(node)) => keys::ports(node),
        (None, None) => keys::PORTS.to_owned(),
    };
    let entries = store.list(&prefix).await?;
    let ports =
        entries.iter().map(|entry| decode(store, entry)).collect::<Result<Vec<PortAttachment>, _>>()?;
    Ok(ports.into_iter().filter(|port| node.is_none_or(|node| port.node == *node)).collect())
}

/// The stations of a network, of one node or all, each with its revision.
///
/// # Errors
/// The store is away, or a stored value is damaged.
pub async fn stations(
    store: &dyn Store,
    network: &NetworkName,
    node: Option<&NodeName>,
) -> Result<Vec<(Station, Revision)>, NetworkError> {
    let entries = store.list(&keys::stations(network)).await?;
    let read = |entry: &Entry| decode::<Station>(store, entry).map(|station| (station, entry.revision));
    let stations = entries.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(stations.into_iter().filter(|(station, _)| node.is_none_or(|node| station.node == *node)).collect())
}

/// Removes the attached ports of a node that is gone, and its stations in their networks. Tells what went.
///
/// # Errors
/// The store is away, or a stored value is damaged.
pub async fn release_node(store: &dyn Store, node: &NodeName) -> Result<Vec<PortAttachment>, NetworkError> {
    let ports = list(store, None, Some(node)).await?;
    let networks: std::collections::BTreeSet<&NetworkName> = ports.iter().map(|port| &port.network).collect();
    let mut gone: Vec<String> = Vec::new();
    for network in networks {
        let of_node = stations(store, network, Some(node)).await?;
        gone.extend(of_node.iter().map(|(station, _)| keys::station(network, station.mac)));
    }
    // Ports last: by them an interrupted removal finds the rest again.
    for port in &ports {
        gone.extend([keys::attached_port(port), keys::port(node, &port.at())]);
    }
    for batch in gone.chunks(MAX_TXN_OPS) {
        store.commit(Vec::new(), batch.iter().cloned().map(Write::Delete).collect()).await?;
    }
    Ok(ports)
}

/// The key of a station with its value, for a transaction.
pub fn put_station(station: &Station) -> Write {
    Write::Put(keys::station(&station.network, station.mac), encode(station))
}

/// The station that an entry holds; `None` if it cannot be read.
pub fn read_station(value: &[u8]) -> Option<Station> {
    serde_json::from_slice(value).ok()
}

/// The network and MAC that a station's key names.
pub fn station_of_key(key: &str) -> Option<(NetworkName, MacAddr)> {
    let (network, rest) = key.strip_prefix(keys::ATTACHED)?.split_once('/')?;
    Some((network.parse().ok()?, rest.strip_prefix("stations/")?.parse().ok()?))
}

#[cfg(test)]
mod tests;
