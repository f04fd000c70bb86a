//! Flow entries: what a table should hold, and what it is observed to hold.

use std::time::Duration;

use crate::wire::{Action, Cookie, Instructions, Match, TableId};

/// `OFPFF_*`, OpenFlow 1.3.5 §7.3.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FlowFlags(pub u16);

impl FlowFlags {
    /// `OFPFF_SEND_FLOW_REM`: say so when the entry goes.
    pub const SEND_FLOW_REM: FlowFlags = FlowFlags(1);
    /// `OFPFF_CHECK_OVERLAP`: refuse an entry that overlaps another of its priority.
    pub const CHECK_OVERLAP: FlowFlags = FlowFlags(2);
    /// `OFPFF_RESET_COUNTS`: begin counting anew.
    pub const RESET_COUNTS: FlowFlags = FlowFlags(4);
    /// `OFPFF_NO_PKT_COUNTS`.
    pub const NO_PKT_COUNTS: FlowFlags = FlowFlags(8);
    /// `OFPFF_NO_BYT_COUNTS`.
    pub const NO_BYT_COUNTS: FlowFlags = FlowFlags(16);

    /// True if all of `other`'s flags are set.
    pub const fn contains(self, other: FlowFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for FlowFlags {
    type Output = FlowFlags;

    fn bitor(self, other: FlowFlags) -> FlowFlags {
        FlowFlags(self.0 | other.0)
    }
}

/// A flow entry as it is wanted or as a switch holds it, without counters.
///
/// ```
/// use ofctl::flow::FlowEntry;
/// use ofctl::wire::{Action, Cookie, Field, Match, OfPort, TableId};
///
/// let flow = FlowEntry::new(TableId(10), 100)
///     .cookie(Cookie(0x7))
///     .matching(Match::new().with(Field::InPort, OfPort(5)))
///     .apply([Action::load(Field::Reg0.bits(0..4), 1)])
///     .goto(TableId(14));
/// assert_eq!(
///     flow.to_string(),
///     "cookie=0x7, table=10, priority=100,in_port=5 actions=load:0x1->NXM_NX_REG0[0..3],goto_table:14"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowEntry {
    /// The table it stands in.
    pub table: TableId,
    /// The highest matching priority wins.
    pub priority: u16,
    /// The controller's number for it.
    pub cookie: Cookie,
    /// Which packets it takes.
    pub matching: Match,
    /// What it does with them.
    pub instructions: Instructions,
    /// Seconds without a packet after which it goes; 0 never.
    pub idle_timeout: u16,
    /// Seconds after which it goes; 0 never.
    pub hard_timeout: u16,
    /// Flags.
    pub flags: FlowFlags,
}

impl FlowEntry {
    /// An entry that drops every packet: cookie 0, no timeouts, no flags.
    pub const fn new(table: TableId, priority: u16) -> Self {
        FlowEntry {
            table,
            priority,
            cookie: Cookie(0),
            matching: Match::new(),
            instructions: Instructions {
                meter: None,
                apply: Vec::new(),
                clear: false,
                write: Vec::new(),
                write_metadata: None,
                goto: None,
            },
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags(0),
        }
    }

    /// Sets the cookie.
    #[must_use]
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.cookie = cookie;
        self
    }

    /// Sets the match.
    #[must_use]
    pub fn matching(mut self, matching: Match) -> Self {
        self.matching = matching;
        self
    }

    /// Appends actions that are done at once.
    #[must_use]
    pub fn apply(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.instructions.apply.extend(actions);
        self
    }

    /// Writes the bits of `mask` into the metadata, after the actions.
    #[must_use]
    pub fn write_metadata(mut self, value: u64, mask: u64) -> Self {
        self.instructions.write_metadata = Some((value, mask));
        self
    }

    /// Goes on in a later table.
    #[must_use]
    pub fn goto(mut self, table: TableId) -> Self {
        self.instructions.goto = Some(table);
        self
    }

    /// Sends the packets through a meter first.
    #[must_use]
    pub fn meter(mut self, meter: u32) -> Self {
        self.instructions.meter = Some(meter);
        self
    }

    /// Goes after this many seconds without a packet.
    #[must_use]
    pub fn idle_timeout(mut self, seconds: u16) -> Self {
        self.idle_timeout = seconds;
        self
    }

    /// Goes after this many seconds.
    #[must_use]
    pub fn hard_timeout(mut self, seconds: u16) -> Self {
        self.hard_timeout = seconds;
        self
    }

    /// Sets the flags.
    #[must_use]
    pub fn flags(mut self, flags: FlowFlags) -> Self {
        self.flags = flags;
        self
    }

    /// What identifies the entry on its switch.
    pub fn key(&self) -> FlowKey {
        FlowKey { table: self.table, priority: self.priority, matching: self.matching.clone() }
    }
}

/// What identifies a flow entry on its switch: an entry with the same key replaces it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Table.
    pub table: TableId,
    /// Priority.
    pub priority: u16,
    /// Match.
    pub matching: Match,
}

/// A flow entry with its counters, from a flow statistics reply, OpenFlow 1.3.5 §7.3.5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStats {
    /// The entry.
    pub entry: FlowEntry,
    /// How long it has been there.
    pub duration: Duration,
    /// Packets that it took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}
