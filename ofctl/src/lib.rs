//! Everything that is said to one switch: OpenFlow 1.3 with the Nicira extensions, OVSDB, and the tables
//! themselves.
//!
//! The layers, bottom up:
//!
//! - [`wire`]: OpenFlow messages, OXM/NXM fields and actions, as bytes and as values. Pure.
//! - [`text`]: the flow syntax of ovs-ofctl(8). Pure.
//! - [`flow`] and [`table`]: flow entries, and the difference between desired and observed tables. Pure.
//! - [`acl`]: rules about addresses and ports, compiled to flows. Pure.
//! - [`session`]: an OpenFlow session without I/O: bytes in, bytes and events out. Pure.
//! - [`ovsdb`]: the OVSDB protocol of RFC 7047, with a local replica. Pure.
//! - [`packet`]: frames, layer by layer. Pure.
//! - [`sim`]: flow tables evaluated over packets, in memory. Pure.
//! - [`verdict`]: what a switch answers to bytes, right or wrong. Pure.
//! - [`kit`]: controller applications, and a testbed for them. Pure.
//! - [`scenario`]: tests of tables and applications in a text that operators write. Pure, but for real switches.
//! - `client`: the only place with sockets (feature `client`).
//!
//! To begin with: the [tutorial](docs::tutorial). What there is and what there is not: [`docs::implemented`].

pub mod acl;
#[cfg(feature = "client")]
pub mod client;
pub mod docs;
pub mod flow;
pub mod kit;
pub mod mac;
pub mod ovsdb;
pub mod packet;
pub mod scenario;
pub mod session;
pub mod sim;
pub mod table;
pub mod text;
pub mod verdict;
pub mod wire;
pub use mac::MacAddr;
