//! What a scenario's steps say.

use std::time::Duration;

use crate::flow::{FlowEntry, FlowKey};
use crate::wire::versions::GroupMod;
use crate::wire::{GroupId, Match, MeterId, MeterMod, OfPort};

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

/// A number that something must have, or be above or below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// This number.
    Exactly(u64),
    /// This or more.
    AtLeast(u64),
    /// This or less.
    AtMost(u64),
}

impl Amount {
    /// True if a number is one of those that are meant.
    pub fn takes(self, number: u64) -> bool {
        match self {
            Amount::Exactly(wanted) => number == wanted,
            Amount::AtLeast(least) => number >= least,
            Amount::AtMost(most) => number <= most,
        }
    }
}

/// Packets and bytes as far as a step names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Volume {
    /// So many packets.
    pub packets: Option<Amount>,
    /// So many bytes.
    pub bytes: Option<Amount>,
}

/// Something that counts packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counter {
    /// A flow entry, of what it matched.
    Flow(FlowKey),
    /// A group, of what came to it.
    Group(GroupId),
    /// A bucket of a group by its place, from 0, of what it took.
    Bucket(GroupId, usize),
    /// A meter, of what came to it.
    Meter(MeterId),
    /// A meter, of what its bands dropped.
    MeterDrops(MeterId),
    /// A port, of what came in.
    Received(OfPort),
    /// A port, of what left.
    Sent(OfPort),
}

/// An application by its name, with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationText {
    /// Its name.
    pub name: String,
    /// Its settings, a line each.
    pub settings: Vec<String>,
}

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
    /// Groups are there.
    Groups {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        groups: Vec<GroupMod>,
    },
    /// Meters are there.
    Meters {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        meters: Vec<MeterMod>,
    },
    /// An application runs.
    Application(ApplicationText),
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
    /// A flow is modified: what the entries do that its match and table hold, as `ovs-ofctl mod-flows` has it.
    Modify {
        /// On which switch.
        switch: Option<String>,
        /// Which, and what they do from now on.
        flow: FlowEntry,
    },
    /// A group is added, modified or deleted.
    ChangeGroup {
        /// On which switch.
        switch: Option<String>,
        /// How.
        change: GroupMod,
    },
    /// A meter is added, modified or deleted.
    ChangeMeter {
        /// On which switch.
        switch: Option<String>,
        /// How.
        change: MeterMod,
    },
    /// A packet left.
    Leaves {
        /// Which.
        packet: PacketText,
        /// By each of these.
        ends: Ends,
    },
    /// A packet did not leave.
    DoesNotLeave {
        /// Which.
        packet: PacketText,
        /// By none of these; `None`: by no port at all.
        ends: Option<Ends>,
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
    /// A group is there.
    GroupExists {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        group: GroupMod,
    },
    /// No such group is there.
    NoGroup {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        group: GroupId,
    },
    /// A meter is there.
    MeterExists {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        meter: MeterMod,
    },
    /// No such meter is there.
    NoMeter {
        /// On which switch.
        switch: Option<String>,
        /// Which.
        meter: MeterId,
    },
    /// Something has counted packets.
    Counted {
        /// On which switch.
        switch: Option<String>,
        /// What.
        counter: Counter,
        /// So much.
        volume: Volume,
    },
    /// The application says this of itself, or does not.
    Reports {
        /// The line.
        line: String,
        /// Whether it is there.
        is_there: bool,
    },
}
