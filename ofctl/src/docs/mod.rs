//! Documents: [`tutorial`] goes from a hub to a routing switch; [`implemented`] says what there is of OpenFlow, of
//! Open vSwitch's extensions and of OVSDB, and what there is not.
//!
//! Both are held to by tests: every listing of the tutorial is run, and every line of the tables is tried.

#[cfg(test)]
mod tests;

#[doc = include_str!("tutorial.md")]
#[cfg_attr(feature = "client", doc = include_str!("tutorial_switches.md"))]
pub mod tutorial {}

#[doc = include_str!("implemented.md")]
pub mod implemented {}
