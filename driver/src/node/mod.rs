//! The effects on this node, and what is observed of it.

pub mod docker;
pub mod link;
