//! What became of a packet, and the way that it took.

use std::fmt;
use std::sync::Arc;

use super::packet::{Packet, Tunnel};
use crate::flow::FlowEntry;
use crate::wire::{Action, Cookie, GroupId, Match, OfPort, TableId};

/// A frame that left the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// By this port; never [`OfPort::IN_PORT`], but the port that it stands for.
    pub port: OfPort,
    /// In this tunnel.
    pub tunnel: Option<Tunnel>,
    /// The frame as it left.
    pub frame: Vec<u8>,
}

/// Why a packet went to the controller, `ofp_packet_in_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketInReason {
    /// `OFPR_NO_MATCH`: the table-miss entry, which matches everything at priority 0, said so.
    NoMatch,
    /// `OFPR_ACTION`: an action said so.
    Action,
    /// `OFPR_INVALID_TTL`: its TTL ran out.
    InvalidTtl,
    /// Any other, that an action gave.
    Other(u8),
}

/// A packet-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToController {
    /// Why.
    pub reason: PacketInReason,
    /// Bytes that are sent at most.
    pub max_len: u16,
    /// Table that sent it.
    pub table: TableId,
    /// Cookie of the entry that sent it; all ones if none did.
    pub cookie: Cookie,
    /// Ingress port, tunnel, metadata and registers, those that are not zero.
    pub metadata: Match,
    /// Number of the controller that it is for.
    pub controller: u16,
    /// What the action has for the controller.
    pub userdata: Box<[u8]>,
    /// The whole frame.
    pub frame: Vec<u8>,
}

/// Why a packet could not be followed to its end. A switch would drop it at a limit; nothing is output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// More than [`super::MAX_DEPTH`] resubmits to earlier tables or buckets within each other.
    #[error("resubmits in table {0} are nested too deep: is there a loop?")]
    TooDeep(TableId),
    /// More than [`super::MAX_RESUBMITS`] lookups for one packet.
    #[error("too many lookups for one packet, the last in table {0}: is there a loop?")]
    TooManyResubmits(TableId),
    /// The stack holds more than 64 KiB.
    #[error("the stack overflows in table {0}")]
    StackOverflow(TableId),
    /// More MPLS labels than are looked into, where that matters.
    #[error("table {0} pushes or pops an MPLS label of a packet that has more of them than three")]
    TooManyLabels(TableId),
    /// An action that the simulator does not know.
    #[error("table {table} does '{action}', which the simulator cannot do")]
    Unsupported {
        /// Table.
        table: TableId,
        /// The action.
        action: String,
    },
}

/// A step of a packet's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How far the step is nested in resubmits and buckets.
    pub depth: usize,
    /// What happened.
    pub event: Event,
}

/// What happened in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The packet came in; its line.
    Received(String),
    /// A copy of the packet goes on from a table, with what connection tracking said; its line.
    Resumed(TableId, String),
    /// A lookup, and the entry that it found.
    Lookup {
        /// Table.
        table: TableId,
        /// The entry; none is a drop.
        entry: Option<Arc<FlowEntry>>,
    },
    /// An action was done.
    Action(Action),
    /// The entry's metadata instruction: value and mask.
    WriteMetadata(u64, u64),
    /// The action set is executed.
    ActionSet,
    /// A bucket of a group, by its place.
    Bucket(GroupId, usize),
    /// The frame left by this port.
    Output(OfPort, Option<Tunnel>),
    /// What an action did beyond the plain, or why it did nothing.
    Note(String),
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:width$}", "", width = 4 * self.depth)?;
        match &self.event {
            Event::Received(packet) => out.write_str(packet),
            Event::Resumed(table, packet) => write!(out, "resumed in table {table}: {packet}"),
            Event::Lookup { table, entry: Some(entry) } => write!(out, "{table}. {}", flow_text(entry)),
            Event::Lookup { table, entry: None } => write!(out, "{table}. no match: drop"),
            Event::Action(action) => write!(out, "  {}", action_text(action)),
            Event::WriteMetadata(value, mask) => write!(out, "  write_metadata:{value:#x}/{mask:#x}"),
            Event::ActionSet => write!(out, "action set"),
            Event::Bucket(group, place) => write!(out, "  bucket {place} of group {group}"),
            Event::Output(port, None) => write!(out, "  >> output to port {port}"),
            Event::Output(port, Some(tunnel)) => {
                let Tunnel { id, src, dst } = tunnel;
                write!(out, "  >> output to port {port}, tunnel {id:#x} {src} > {dst}")
            }
            Event::Note(text) => write!(out, "  >> {text}"),
        }
    }
}

/// What became of a packet. Shown as text it is the trace and a last line that says the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Frames that left, in order.
    pub outputs: Vec<Output>,
    /// Packets to the controller, in order.
    pub to_controller: Vec<ToController>,
    /// Why the packet could not be followed to its end; then nothing was output.
    pub error: Option<RunError>,
    /// The way.
    pub trace: Vec<Step>,
    /// The packet as the last action left it, registers and all. Its frame is that of the last output.
    pub packet: Packet,
}

impl Verdict {
    /// Nothing happened to the packet but that it was dropped.
    pub(super) fn dropped(packet: Packet, why: String) -> Self {
        let trace = vec![
            Step { depth: 0, event: Event::Received(packet.to_string()) },
            Step { depth: 0, event: Event::Note(why) },
        ];
        Verdict { outputs: Vec::new(), to_controller: Vec::new(), error: None, trace, packet }
    }

    /// The ports of the outputs, in order.
    pub fn ports(&self) -> Vec<OfPort> {
        self.outputs.iter().map(|output| output.port).collect()
    }

    /// True if nothing left, and nothing went wrong.
    pub fn is_drop(&self) -> bool {
        self.outputs.is_empty() && self.to_controller.is_empty() && self.error.is_none()
    }

    /// The only output; `None` if there is none or more than one.
    pub fn only(&self) -> Option<&Output> {
        match self.outputs.as_slice() {
            [output] if self.error.is_none() => Some(output),
            _ => None,
        }
    }

    /// The last line of the trace: what became of the packet, and why if nothing left.
    pub fn conclusion(&self) -> String {
        if let Some(error) = &self.error {
            return format!("Verdict: error: {error}");
        }
        if self.is_drop() {
            return format!("Verdict: drop: {}", self.drop_reason());
        }
        let ports = self.outputs.iter().map(|output| output.port.to_string());
        let controller = self.to_controller.iter().map(|packet| match packet.reason {
            PacketInReason::Action => "controller".to_owned(),
            PacketInReason::NoMatch => "controller (no match)".to_owned(),
            PacketInReason::Other(reason) => format!("controller (reason {reason})"),
            PacketInReason::InvalidTtl => "controller (TTL ran out)".to_owned(),
        });
        format!("Verdict: output to {}", ports.chain(controller).collect::<Vec<_>>().join(", "))
    }

    /// Why nothing left: the last thing that happened.
    fn drop_reason(&self) -> String {
        let table = self.trace.iter().rev().find_map(|step| match &step.event {
            Event::Lookup { table, entry } => Some((table, entry)),
            _ => None,
        });
        let note = self.trace.last().and_then(|step| match &step.event {
            Event::Note(text) => Some(format!(" ({text})")),
            _ => None,
        });
        let note = note.unwrap_or_default();
        match table {
            Some((table, None)) => format!("no flow of table {table} matches"),
            Some((table, Some(entry))) => {
                format!(
                    "table {table} priority {} cookie {} outputs nothing{note}",
                    entry.priority, entry.cookie
                )
            }
            None => format!("before the tables{note}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.trace {
            writeln!(out, "{step}")?;
        }
        out.write_str(&self.conclusion())
    }
}

pub(super) fn flow_text(entry: &FlowEntry) -> String {
    entry.to_string()
}

pub(super) fn action_text(action: &Action) -> String {
    action.to_string()
}
