//! Applications to run, to learn from and to build on, each small.

mod hub;
mod learning;
mod paths;
mod routing;
mod slices;
mod topology;

pub use hub::Hub;
pub use learning::LearningSwitch;
pub use paths::{Graph, PathChange, PathId, PathManager};
pub use routing::{Everyone, Policy, RoutingChange, RoutingSwitch, Station};
pub use slices::{Member, Slice, SliceableSwitch, Slices};
pub use topology::{Link, SwitchPort, Topology, TopologyChange};
