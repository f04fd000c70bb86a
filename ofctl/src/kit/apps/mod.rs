//! Applications to run, to learn from and to build on, each small.
//!
//! | application | who forwards | what comes to the controller |
//! |---|---|---|
//! | [`Hub`] | the controller | every packet |
//! | [`LearningSwitch`] | flows that it adds | the first packets of each conversation |
//! | [`SelfLearningSwitch`] | flows that the switch learns | nothing |
//! | [`IsolatedSwitch`] | the same, kept apart by port groups | nothing |
//! | [`Topology`] | nobody: it finds the links between switches | its own LLDP frames |
//! | [`PathManager`] | nobody: it keeps shortest paths over them | the same |
//! | [`RoutingSwitch`] | flows along shortest paths | the same, and the first packets of each conversation |
//! | [`SliceableSwitch`] | the same, within a slice | the same |

mod hub;
mod isolated;
mod learning;
mod paths;
mod routing;
mod self_learning;
mod slices;
mod topology;

pub use hub::Hub;
pub use isolated::{IsolatedSwitch, PortGroup};
pub use learning::LearningSwitch;
pub use paths::{Graph, PathChange, PathId, PathManager};
pub use routing::{Everyone, Policy, RoutingChange, RoutingSwitch, Station};
pub use self_learning::SelfLearningSwitch;
pub use slices::{Member, Slice, SliceableSwitch, Slices};
pub use topology::{Link, SwitchPort, Topology, TopologyChange};
