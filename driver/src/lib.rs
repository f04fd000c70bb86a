//! sluice: networks across stand-alone Docker hosts, on Open vSwitch.
//!
//! The pure core (always built):
//!
//! - [`model`]: what there is: networks, nodes, endpoints; parsing and validation.
