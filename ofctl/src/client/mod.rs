//! The only place with sockets: sessions driven over streams by tokio (feature `client`).

pub mod controller;
mod messages;
pub mod openflow;
pub mod ovsdb;
mod stream;
mod target;
mod tls;

pub use messages::{MessageStream, MessageStreamError};
pub use target::{Listen, OPENFLOW_PORT, Target, TargetParseError};
pub use tls::{Tls, TlsError};
