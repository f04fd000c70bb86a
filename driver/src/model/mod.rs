//! What there is: networks, nodes, endpoints and attached ports, as they are kept in the store.
//!
//! Values parse into these types once, at the edge, and are valid from then on. Every object keeps the fields
//! that it does not know, so that an older agent does not erase what a newer one wrote.

mod encapsulation;
mod endpoint;
mod ids;
mod network;
mod node;
mod options;
mod port;
mod subnet;

pub use encapsulation::{Encapsulation, EncapsulationParseError};
pub use endpoint::{Endpoint, Phase, mac_for};
pub use ids::{
    DockerNetworkId, EndpointId, IdError, LinkName, NetworkId, NetworkName, NodeName, PortName, VlanId, Vni,
};
pub use network::{Disagreement, LOCAL_PREFIX, Network, NetworkSpec, Origin, SpecError};
pub use node::{Dataplane, Node};
pub use options::{External, NetworkOptions, OptionError};
pub use port::{CannotCarry, PortAttachment, PortTag, Station, can_carry};
pub use subnet::{Subnet, SubnetError};

/// Fields of a stored object that this version does not know, kept as they came.
pub type UnknownFields = serde_json::Map<String, serde_json::Value>;
