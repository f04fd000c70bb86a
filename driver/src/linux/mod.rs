//! The `linux` dataplane: a white-box switch's networks as Linux bridges, VXLAN links and kernel tables.
//!
//! On a switch (Cumulus, DENT, SONiC) the kernel's bridge and its forwarding database are the interface to the
//! ASIC: what is written there by rtnetlink is what the hardware forwards by. This module knows nothing of the
//! store. Its caller says what shall be ([`Desired`]), asks the kernel what is ([`Observed`]), has [`difference()`]
//! say what to do, and hands each [`Change`] to the kernel.
//!
//! - [`desired`]: what shall be: networks, their member ports, remote VTEPs, MACs and neighbours. Pure.
//! - [`observed`]: what is: links, forwarding tables and neighbours, as the kernel lists them. Pure.
//! - [`change`]: one step from the one to the other, and why a network is refused. Pure.
//! - [`difference()`]: all the steps, in order. Pure.
//!
//! With the feature `agent` there is also the kernel itself:
//!
//! - `kernel`: reads what is, carries changes out, and reports what happens, by rtnetlink on a thread of its own.
//!
//! # Whose is what
//! A link is ours if its alias begins with [`ALIAS_PREFIX`]; only such links, and half-made ones under
//! [`UNFINISHED`], are ever deleted. A port of ours is a link that an operator attached: it joins and leaves our
//! bridges, is set up, and nothing else of it is touched. Foreign bridges, and ports in them, are left as they are
//! and named in a [`Refusal`].
//!
//! # What is known of learned MACs
//! The bridge learns which MAC is behind which port (and VLAN): that is reported, with moves and ageing. Which *IP*
//! address such a MAC has, a bridge does not know; it is reported only where the kernel's own neighbour table of
//! the bridge has it, that is, for hosts that the switch itself has spoken with. Without it nothing breaks: ARP and
//! ND for that host are flooded to the network's VTEPs and answered by the host.

pub mod change;
pub mod desired;
pub mod observed;

#[cfg(feature = "agent")]
mod decode;
mod difference;
mod effect;
#[cfg(feature = "agent")]
mod encode;
#[cfg(feature = "agent")]
mod error;
#[cfg(feature = "agent")]
mod kernel;
#[cfg(feature = "agent")]
mod notifications;
#[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "the kernel's watch is what uses it"))]
mod replica;
mod resolve;
#[cfg(test)]
mod tests;
#[cfg(feature = "agent")]
mod watch;

pub use change::{Change, Contested, Difference, Refusal};
pub use desired::{ALIAS_PREFIX, Desired, Form, Member, Remote, Segment, UNFINISHED, VXLAN_PORT};
pub use difference::difference;
pub use effect::Impossible;
#[cfg(feature = "agent")]
pub use error::KernelError;
#[cfg(feature = "agent")]
pub use kernel::{Applied, Kernel, Watch};
pub use observed::{
    BridgeEntry, Event, Learned, Link, LinkKind, LocalMac, Neighbour, Observed, PortSettings, VlanMembership,
    VtepEntry, Vxlan,
};
