//! Applications on white-box switches, without Docker on the switch.

pub mod canonical;
pub mod digest;
pub mod image;
pub mod rootfs;
pub mod tar;
