//! The effects on this node, and what is observed of it.
//!
//! - [`link`]: network links, by rtnetlink.
//! - `switch`: bridges and ports, by OVSDB.
//! - [`vtep`]: the way to the database of a `hardware_vtep` switch.
//! - [`programmer`]: the task that leads links, ports and flows to the plan.
//! - [`docker`]: what the Docker Engine lists.

pub mod docker;
pub mod link;
pub mod programmer;
mod switch;
pub mod vtep;
