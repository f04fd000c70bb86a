//! Applications to run, to learn from and to build on, each small.
//!
//! | application | who forwards | what comes to the controller |
//! |---|---|---|
//! | [`Hub`] | the controller | every packet |
//! | [`LearningSwitch`] | flows that it adds | the first packets of each conversation |
//! | [`SelfLearningSwitch`] | flows that the switch learns | nothing |
//! | [`IsolatedSwitch`] | the same, kept apart by port groups | nothing |
//! | [`SimpleRouter`] | flows, one for each neighbour | packets to neighbours that are not known yet |
//! | [`Topology`] | nobody: it finds the links between switches | its own LLDP frames |
//! | [`PathManager`] | nobody: it keeps shortest paths over them | the same |
//! | [`RoutingSwitch`] | flows along shortest paths | the same, the first packets of each conversation, and broadcasts |
//! | [`SliceableSwitch`] | the same, within a slice | the same |
//! | [`Firewall`] | the application behind it | what that wants |
//! | [`TrafficMonitor`] | the application beside it | what that wants |

mod firewall;
mod hub;
mod isolated;
mod learning;
mod paths;
mod router;
mod routing;
mod self_learning;
mod slices;
mod topology;
mod traffic;

pub use firewall::Firewall;
pub use hub::Hub;
pub use isolated::{IsolatedSwitch, PortGroup};
pub use learning::LearningSwitch;
pub use paths::{Graph, PathChange, PathId, PathManager};
pub use router::{Interface, Route, SimpleRouter};
pub use routing::{Everyone, Policy, RoutingChange, RoutingSwitch, Station};
pub use self_learning::SelfLearningSwitch;
pub use slices::{Member, Slice, SliceableSwitch, Slices};
pub use topology::{Link, SwitchPort, Topology, TopologyChange};
pub use traffic::{HostTraffic, TrafficMonitor, Volume};
