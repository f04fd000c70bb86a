//! The `hardware-vtep` dataplane: a switch that is told what to forward by its OVSDB database `hardware_vtep` (vtep(5)),
//! from an agent that runs elsewhere.
//!
//! Nothing here knows of the store, and nothing has effects. The caller says what shall be ([`Desired`]), has a replica
//! of the switch's database, and gets from [`difference()`] the transaction that leads the one to the other.
//!
//! - [`desired`]: what shall be: networks, their member ports, remote MACs and where copies go.
//! - [`difference()`]: the transaction, and what is refused.
//! - [`observed`]: which switch of the database it is, what it has learned, and what it complains of.
//!
//! # Whose is what
//! A logical switch is ours if its description is [`Mark`]'s for this node. What belongs to one of ours (bindings of
//! ports, remote addresses, where copies go) is led to the plan and goes with it. All else is another
//! controller's, or another node's whose switch is in the same database: it is left as it is and named.
//!
//! # What the database cannot say
//! - Behind which port a MAC is. With one port of a network that is known; with several, a station is behind one of them.
//! - That a MAC is not where the switch has just learned it. The store's word is written as a remote MAC; when the switch
//!   takes its own word back is its own affair. Hosts are not misled: to them an endpoint's MAC is where the store says.
//! - Whether what it holds is in force, other than by faults that it tells.
//! - Two addresses of one MAC: a row has room for one, and ARP for it is answered where the switch can.

pub mod desired;
mod difference;
pub mod observed;
#[cfg(test)]
mod tests;

pub use desired::{Desired, Mark, Remote, Segment};
pub use difference::{Difference, Refusal, difference};
pub use observed::{Identity, Local, WhichSwitch};
