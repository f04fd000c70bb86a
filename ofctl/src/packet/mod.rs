//! Frames as bytes, made layer by layer with right lengths and checksums. Pure.

pub(crate) mod checksum;
mod frame;
pub mod lldp;

pub use frame::Frame;
