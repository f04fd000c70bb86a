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
//! | 43 [`TO_PORTS`](tables::TO_PORTS) | [`flood`] | one copy to each switch that has ports of the network |
//! | 44 [`FLOOD_LOCAL`](tables::FLOOD_LOCAL) | [`flood`] | copies to members on this node |
//! | 45 [`FLOOD_REMOTE`](tables::FLOOD_REMOTE) | [`flood`] | one copy to each other node that has members |
//! | 60 [`OUTPUT`](tables::OUTPUT) | [`classify`] | the packet leaves |
//!
//! # Switch ports
//!
//! Servers behind the ports of a switch are members that the store does not know until they have sent something, and
//! forgets when they are silent. So the pipeline never depends on knowing them:
//!
//! - A *station*, a MAC that a switch has learned, is a destination like another node's endpoint, at a lesser priority:
//!   what an endpoint has, nobody takes by sending from its address.
//! - What an endpoint sends to a MAC that is neither an endpoint's nor a station's goes to the switches that have ports
//!   of the network, and to nobody else: every other member is known. Networks without ports drop it as before.
//! - An ARP request or neighbour solicitation without an answer goes the same way; where a station's address is known,
//!   it is answered as any other. What the asked server replies comes back as unicast.
//! - Broadcast and multicast reach switches as they reach other nodes with members, once each.
//! - From a switch come packets as from any node: to local members only. What a station may say is the switch's to
//!   decide; endpoints are held to their own addresses whoever they speak with, and may advertise them to stations.
//!
//! Unknown unicast is therefore at most one copy for each switch with ports, and only while a server is silent for
//! longer than its switch remembers it, or its switch's agent is gone.
//!
//! The gaps are for routing, services and policy. A table without a matching flow drops.

mod announce;
pub mod attached;
mod changes;
pub mod classify;
pub mod flood;
#[cfg(test)]
mod forwarding;
pub mod l2;
pub mod linux;
pub mod neighbour;
mod planner;
pub mod ports;
pub mod spoof;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod tunnel;
mod view;
pub mod vtep;

pub use changes::FlowChanges;
pub use planner::{Owner, Planner};
pub use view::{Facts, View};
