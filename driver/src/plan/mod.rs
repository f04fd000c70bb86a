//! From the cluster's intent and a node's facts to links, ports and flows: one pure function, kept up to date.
//!
//! [`Planner`] holds the [`View`] (what the store says) and the [`Facts`] (what this node has), and the flows that
//! follow from them. Each flow has an [`Owner`]: the object that it exists for. A change marks the owners that it
//! touches, and only their flows are computed again, by the same functions that compute all of them from nothing;
//! the tests hold both results against each other after every change.
//!
//! A node plans only for networks of which it has an endpoint: of all others it holds nothing.
//!
//! # The pipeline
//!
//! | table | module | what it decides |
//! |---|---|---|
//! | 0 [`CLASSIFY`](tables::CLASSIFY) | [`classify`] | where the packet came from, and its network if a local endpoint sent it |
//! | 4 [`TUN_SRC`](tables::TUN_SRC) | [`tunnel`] | whether a known node sent the tunnel packet |
//! | 5 [`TUN_NET`](tables::TUN_NET) | [`tunnel`] | the tunnel packet's network |
//! | 6 [`UPLINK`](tables::UPLINK) | [`tunnel`] | the tagged packet's network |
//! | 10 [`SPOOF`](tables::SPOOF) | [`spoof`] | whether the endpoint may use these source addresses |
//! | 14 [`NEIGHBOUR`](tables::NEIGHBOUR) | [`neighbour`] | the answer to ARP and neighbour solicitations |
//! | 15 [`ADVERTISE`](tables::ADVERTISE) | [`neighbour`] | the neighbour advertisement's link-layer address |
//! | 40 [`L2`](tables::L2) | [`l2`] | the port, or the node, that has the destination |
//! | 44 [`FLOOD_LOCAL`](tables::FLOOD_LOCAL) | [`flood`] | copies to members on this node |
//! | 45 [`FLOOD_REMOTE`](tables::FLOOD_REMOTE) | [`flood`] | one copy to each other node that has members |
//! | 60 [`OUTPUT`](tables::OUTPUT) | [`classify`] | the packet leaves |
//!
//! The gaps are for routing, services and policy. A table without a matching flow drops.

mod announce;
mod changes;
pub mod classify;
pub mod flood;
#[cfg(test)]
mod forwarding;
pub mod l2;
pub mod neighbour;
mod planner;
pub mod ports;
pub mod spoof;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod tunnel;
mod view;

pub use changes::FlowChanges;
pub use planner::{Owner, Planner};
pub use view::{Facts, View};
