//! The only place with sockets: sessions driven over streams by tokio (feature `client`).

pub mod openflow;
pub mod ovsdb;
