//! A node: one host or switch that runs the agent.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Encapsulation, NodeName, UnknownFields};

/// What forwards packets on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataplane {
    /// Open vSwitch with the kernel's datapath.
    OvsSystem,
    /// Open vSwitch with the userspace datapath.
    OvsNetdev,
    /// Linux bridges and VXLAN devices: a white-box switch.
    Linux,
    /// A switch that is told what to forward by its OVSDB `hardware_vtep` database, from an agent elsewhere.
    HardwareVtep,
}

impl Dataplane {
    /// The name in the store, in flags and in what commands print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OvsSystem => "ovs-system",
            Self::OvsNetdev => "ovs-netdev",
            Self::Linux => "linux",
            Self::HardwareVtep => "hardware-vtep",
        }
    }

    /// The encapsulations that it can do.
    pub const fn encapsulations(self) -> &'static [Encapsulation] {
        match self {
            Self::OvsSystem | Self::OvsNetdev => &Encapsulation::ALL,
            Self::Linux | Self::HardwareVtep => &[Encapsulation::Vxlan],
        }
    }

    /// True for a switch, whose ports can be members of networks.
    pub const fn is_switch(self) -> bool {
        matches!(self, Self::Linux | Self::HardwareVtep)
    }
}

impl fmt::Display for Dataplane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A host or switch that runs the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique in the cluster.
    pub name: NodeName,
    /// What tells this installation from another that took the same name.
    pub installation: String,
    /// The address at which it takes tunnel packets; none: it takes part in no tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<IpAddr>,
    /// The MTU of the link that has the underlay address, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay_mtu: Option<u16>,
    /// The encapsulations that it can do.
    pub encapsulations: Vec<Encapsulation>,
    /// What forwards its packets.
    pub dataplane: Dataplane,
    /// The agent's version.
    pub version: String,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}
