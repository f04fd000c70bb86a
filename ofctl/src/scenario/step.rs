//! What a scenario's steps say.

use std::time::Duration;

use crate::flow::{FlowEntry, FlowKey};
use crate::wire::{Match, OfPort};

/// A port of a switch; `None` is the scenario's only switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its switch's name.
    pub switch: Option<String>,
    /// Its number.
    pub port: OfPort,
}

/// Ports of one switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// Its switch's name.
    pub switch: Option<String>,
    /// Their numbers.
    pub ports: Vec<OfPort>,
}

/// How a step speaks of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketText {
    /// The one that arrived last.
    It,
    /// Any.
    Any,
    /// By its name, with fields that are changed.
    Named(String, Match),
    /// By its fields.
    Fields(Match),
    /// Its bytes.
    Bytes(Vec<u8>),
}

/// How many packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u64);

/// A step, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its line in the file, from 1.
    pub line: usize,
    /// As it was written, without blanks at its ends.
    pub text: String,
    /// What it says.
    pub kind: StepKind,
}

/// What a step says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// There is a switch.
    Switch {
        /// Its name.
        name: String,
        /// Its ports.
        ports: Vec<OfPort>,
    },
    /// Two ports are linked.
    Link(End, End),
    /// Flows are there.
    Flows {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        flows: Vec<FlowEntry>,
    },
    /// An application runs.
    Application(String),
    /// A packet gets a name.
    Packet {
        /// The name.
        name: String,
        /// What it is.
        packet: PacketText,
    },
    /// A packet comes in.
    Arrives {
        /// So many times.
        times: Count,
        /// Which.
        packet: PacketText,
        /// By this port.
        at: End,
    },
    /// A port's link comes or goes.
    PortLink {
        /// Whose.
        at: End,
        /// Whether it comes.
        up: bool,
    },
    /// Time goes by.
    Pass(Duration),
    /// A flow is added.
    Add {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        flow: FlowEntry,
    },
    /// Flows are deleted.
    Delete {
        /// On which switch.
        switch: Option<String>,
        /// Those that match this.
        matching: Match,
    },
    /// A packet left.
    Leaves {
        /// Which.
        packet: PacketText,
        /// By each of these.
        ends: Ends,
    },
    /// No packet left, or none by these ports.
    NothingLeaves(Option<Ends>),
    /// No packet left but those that steps before have named.
    NothingElseLeaves,
    /// Packets went to the controller.
    Controller {
        /// So many.
        count: Count,
        /// From which switch; `None` counts those of all.
        switch: Option<String>,
    },
    /// An entry is there.
    FlowExists {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        flow: FlowEntry,
    },
    /// No such entry is there.
    NoFlow {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        flow: FlowKey,
    },
    /// An entry has counted packets.
    Counted {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        flow: FlowKey,
        /// So many.
        packets: Count,
    },
}
