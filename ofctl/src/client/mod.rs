//! The clients: the only modules with sockets.

pub mod ovsdb;
