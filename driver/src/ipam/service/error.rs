//! Why IPAM did not do what was asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::ipam::{PoolId, PoolIdError};
use crate::model::{Disagreement, EndpointId, IdError, NetworkName, NodeName, SubnetError};
use crate::store::StoreError;

/// Why IPAM did not do what was asked. The text goes to Docker's user as it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IpamError {
    /// The PoolID is not one of this driver's.
    #[error(transparent)]
    PoolId(#[from] PoolIdError),
    /// An `--ipam-opt` that is not known.
    #[error("unknown --ipam-opt '{key}={value}': allowed is network=NAME, the name of the cluster's network")]
    UnknownOption {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// `--ipam-opt network=` names no network.
    #[error("--ipam-opt network={value}: {source}")]
    NetworkOption {
        /// The value.
        value: String,
        /// Why.
        source: IdError,
    },
    /// The subnet cannot be one.
    #[error(transparent)]
    Subnet(#[from] SubnetError),
    /// `--ip-range` is not a part of the subnet.
    #[error(
        "--ip-range {range} is not inside subnet {prefix}: choose a prefix of the subnet, with no host bits set"
    )]
    Range {
        /// The range.
        range: IpNet,
        /// The subnet.
        prefix: IpNet,
    },
    /// The network exists and differs.
    #[error(transparent)]
    Disagreement(#[from] Box<Disagreement>),
    /// The network exists without a subnet of the family.
    #[error(
        "network {network} has no {family} subnet: leave {family} out, or make the network anew with a subnet of both \
         families"
    )]
    NoSubnet {
        /// The network.
        network: NetworkName,
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// The subnet of an existing network is on a route of this host. Docker would ask for another one for ever.
    #[error(
        "network {network}'s subnet {prefix} overlaps {route}, which this host reaches by {via}, and Docker does not \
         take it unasked: add --subnet {prefix} if that is meant, or remove the route"
    )]
    RouteOverlap {
        /// The network.
        network: NetworkName,
        /// Its subnet.
        prefix: IpNet,
        /// The route.
        route: IpNet,
        /// Where it leads.
        via: String,
    },
    /// All default subnets are taken.
    #[error(
        "no subnet is left in the default pool {space} that no network and no route of this host overlaps: give one \
         with --subnet, or enlarge the agent's default pools"
    )]
    NoDefaultLeft {
        /// The space.
        space: IpNet,
    },
    /// This host's routes cannot be read.
    #[error(
        "this host's routes cannot be read ({reason}), so no subnet can be chosen: give one with --subnet"
    )]
    Routes {
        /// Why.
        reason: String,
    },
    /// Docker does not take the pools that it is given and asks on.
    #[error(
        "Docker asked {times} times within seconds for a pool of {what} and took none: something on this host that \
         sluice cannot see overlaps them (last {last}); give a subnet with --subnet"
    )]
    Loop {
        /// How often.
        times: u32,
        /// For what.
        what: String,
        /// The last pool.
        last: IpNet,
    },
    /// A pool of this host overlaps another.
    #[error(
        "subnet {prefix} overlaps this host's pool {other}: choose another subnet, or remove the Docker network that \
         has it"
    )]
    LocalOverlap {
        /// The subnet that was asked for.
        prefix: IpNet,
        /// The pool that is there.
        other: Box<PoolId>,
    },
    /// The cluster has no such network.
    #[error(
        "there is no network {network} yet: its addresses can be given out when CreateNetwork has made it"
    )]
    NoNetwork {
        /// The network.
        network: NetworkName,
    },
    /// The network has no such subnet any more.
    #[error(
        "pool {pool} is of a network {network} that has been made anew with other subnets: remove the Docker network \
         on this host and create it again"
    )]
    StalePool {
        /// The pool.
        pool: PoolId,
        /// The network.
        network: NetworkName,
    },
    /// This host has no such pool.
    #[error("this host has no pool {pool}: remove the Docker network and create it again")]
    NoPool {
        /// The pool.
        pool: PoolId,
    },
    /// The address is not one of the pool's.
    #[error("address {address} is not in subnet {prefix}: choose one inside")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The subnet.
        prefix: IpNet,
    },
    /// No endpoint can have the address.
    #[error("address {address} of subnet {prefix} is {reason}: choose another")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// The subnet.
        prefix: IpNet,
        /// What it is.
        reason: String,
    },
    /// Somebody else has the address.
    #[error("address {address} of {pool} is held by node {node}{}: {remedy}", of_endpoint(.endpoint))]
    Held {
        /// The address.
        address: IpAddr,
        /// The network and subnet.
        pool: Box<PoolId>,
        /// Who has it.
        node: NodeName,
        /// For which endpoint, if that is known.
        endpoint: Option<EndpointId>,
        /// What to do.
        remedy: String,
    },
    /// No node has an address to give.
    #[error("no address is left in {pool}: of {size}, {}: {remedy}", held_by(.holders))]
    Exhausted {
        /// The pool.
        pool: Box<PoolId>,
        /// How many addresses endpoints can have.
        size: u128,
        /// How many each node holds.
        holders: BTreeMap<NodeName, u64>,
        /// What to do.
        remedy: &'static str,
    },
    /// Owners did not answer.
    #[error(
        "{pool}: the free addresses are in blocks of {}, which did not answer within {} ms: start the agent there, or \
         give its addresses back with 'sluice node rm' if the node is gone for good",
        list(.nodes), .within.as_millis()
    )]
    Silent {
        /// The pool.
        pool: Box<PoolId>,
        /// The owners.
        nodes: Vec<NodeName>,
        /// How long they had.
        within: std::time::Duration,
    },
    /// More addresses are in the store, and that is away.
    #[error(
        "{pool}: node {node} has no free address in the {blocks} blocks that it holds and cannot get more: {source}"
    )]
    StoreAway {
        /// The pool.
        pool: Box<PoolId>,
        /// This node.
        node: NodeName,
        /// How many blocks it has.
        blocks: usize,
        /// What the store said.
        source: StoreError,
    },
    /// Others were quicker each time.
    #[error("{pool}: other nodes were quicker {tries} times; try again")]
    Contended {
        /// The pool.
        pool: Box<PoolId>,
        /// How often.
        tries: u32,
    },
    /// The store or the ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn of_endpoint(endpoint: &Option<EndpointId>) -> String {
    endpoint.as_ref().map(|endpoint| format!(" for endpoint {endpoint}")).unwrap_or_default()
}

fn held_by(holders: &BTreeMap<NodeName, u64>) -> String {
    if holders.is_empty() {
        return "all are reserved".to_owned();
    }
    let mut parts: Vec<_> = holders.iter().collect();
    parts.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
    let total: u64 = holders.values().sum();
    let parts: Vec<String> = parts.into_iter().map(|(node, count)| format!("{count} by {node}")).collect();
    format!("{total} are held ({})", parts.join(", "))
}

fn list(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    format!("node {}", names.join(", node "))
}
