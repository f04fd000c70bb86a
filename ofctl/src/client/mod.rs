//! The only place with sockets: sessions driven over streams by tokio (feature `client`).

pub mod controller;
pub mod openflow;
pub mod ovsdb;
mod stream;
mod target;
mod tls;

pub use target::{Listen, OPENFLOW_PORT, Target, TargetParseError};
pub use tls::{Tls, TlsError};
