//! The edges: Docker's plugin protocol, and the operator's socket.

pub mod admin;
pub mod http;
pub mod libnetwork;
