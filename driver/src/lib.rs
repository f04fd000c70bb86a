//! sluice: networks across stand-alone Docker hosts, on Open vSwitch.
//!
//! The pure core, built with `--no-default-features`, without tokio:
//!
//! - [`model`]: what there is: networks, nodes, endpoints; parsing and validation.
//! - [`ipam`]: which address a node may give out next.
//! - [`plan`]: from the cluster's intent and a node's facts to links, ports, flows and groups.
//! - [`linux`]: the dataplane of white-box switches: Linux bridges and VXLAN; its effects are behind `agent`.
//! - [`sonic`]: what makes SONiC build the links of that dataplane: its CONFIG_DB.
//! - [`vtep`]: the dataplane of switches that are told what to do by OVSDB `hardware_vtep`: what their database should hold.
//! - [`reconcile`]: what has to change, in which order.
//!
//! The effects, behind the feature `agent`:
//!
//! - `store`: the cluster's intent, in etcd or in a file; the ledger of what this host owes Docker.
//! - `netlink`: the client of rtnetlink.
//! - `node`: links, switch ports and flows of this node, and what is observed of them.
//! - `api`: Docker's plugin protocol, and the operator's socket.
//! - `config`: flags, file and environment.
//! - `agent`: the tasks that tie them together.
//! - `cli`: the operator's commands.

pub mod ipam;
pub mod linux;
pub mod model;
pub mod plan;
pub mod reconcile;
pub mod sonic;
pub mod vtep;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "agent")]
pub mod api;
#[cfg(feature = "agent")]
pub mod cli;
#[cfg(feature = "agent")]
pub mod config;
#[cfg(feature = "agent")]
pub mod netlink;
#[cfg(feature = "agent")]
pub mod node;
#[cfg(feature = "agent")]
pub mod store;
