//! The OVSDB protocol (RFC 7047, with the monitor methods of ovsdb-server(7)) and the databases Open_vSwitch and
//! hardware_vtep.
//!
//! Nothing here does I/O. Bottom up:
//!
//! - [`value`]: UUIDs, atoms, sets and maps, and their JSON.
//! - [`operation`]: transactions and what they answer.
//! - [`schema`]: the column types that a replica needs.
//! - [`frame`]: finds the ends of JSON-RPC messages in a byte stream.
//! - [`session`]: one connection: bytes in, bytes and events out.
//! - [`replica`]: a local copy of the monitored tables, with its changes.
//! - [`text`]: values as ovs-vsctl writes them.
//! - [`vswitch`]: the Open_vSwitch database: typed rows, and plans that become transactions.
//! - [`vtep`]: the hardware_vtep database, likewise.
//!
//! ```
//! use ofctl::ovsdb::vswitch::{BridgeSpec, PortSpec, VswitchTransaction};
//!
//! let mut plan = VswitchTransaction::new();
//! plan.ensure_bridge(BridgeSpec::new("br-int").datapath_type("netdev"));
//! plan.add_port(PortSpec::new("br-int", "vx0").interface_type("vxlan").option("remote_ip", "flow"));
//! assert!(!plan.is_empty());
//! ```

pub mod frame;
pub mod operation;
#[cfg(test)]
mod recorded;
pub mod replica;
pub mod schema;
pub mod session;
pub mod text;
pub mod value;
pub mod vswitch;
pub mod vtep;

pub use operation::{
    Condition, FailedAt, Function, Mutation, Mutator, Operation, OperationError, OperationResult, Results,
    Row, Transaction, Until,
};
pub use replica::{Change, Replica};
pub use schema::Schema;
pub use session::{Event, Session, SessionError};
pub use value::{Atom, Uuid, Value};
