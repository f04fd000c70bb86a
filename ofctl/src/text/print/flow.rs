//! Flows in messages.

use std::fmt::{self, Write as _};

use super::{Hex, Known, Seconds, bits};
use crate::flow::FlowStats;
use crate::text::{DEFAULT_PRIORITY, FLAGS};
use crate::wire::{
    FlowChange, FlowEvent, FlowMod, FlowModCommand, FlowMonitor, FlowRemoved, FlowRemovedReason,
    FlowStatsRequest, FlowUpdate, Match, NO_BUFFER, OfPort, TableId,
};

/// A flow and its counters, as `ovs-ofctl dump-flows` prints them.
#[derive(Debug, Clone, Copy)]
pub struct WithStats<'a>(pub &'a FlowStats);

impl fmt::Display for WithStats<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FlowStats { entry, duration, packets, bytes } = self.0;
        write!(
            out,
            "cookie={:#x}, duration={}, table={}, ",
            entry.cookie.0,
            Seconds(*duration),
            entry.table
        )?;
        write!(out, "n_packets={}, n_bytes={}, ", Known(*packets), Known(*bytes))?;
        for (name, value) in [("idle_timeout", entry.idle_timeout), ("hard_timeout", entry.hard_timeout)] {
            if value != 0 {
                write!(out, "{name}={value}, ")?;
            }
        }
        for (flag, name) in FLAGS {
            if entry.flags.contains(flag) {
                write!(out, "{name} ")?;
            }
        }
        let matching = with_priority(entry.priority, &entry.matching);
        if !matching.is_empty() {
            write!(out, "{matching} ")?;
        }
        write!(out, "actions={}", entry.instructions)
    }
}

/// The priority if it is not the default, and the match.
fn with_priority(priority: u16, matching: &Match) -> String {
    match (priority, matching.is_empty()) {
        (DEFAULT_PRIORITY, _) => matching.to_string(),
        (_, true) => format!("priority={priority}"),
        (_, false) => format!("priority={priority},{matching}"),
    }
}

pub(super) fn change(flow: &FlowMod, out: &mut String) -> fmt::Result {
    out.push_str(match flow.command {
        FlowModCommand::Add => " ADD",
        FlowModCommand::Modify => " MOD",
        FlowModCommand::ModifyStrict => " MOD_STRICT",
        FlowModCommand::Delete => " DEL",
        FlowModCommand::DeleteStrict => " DEL_STRICT",
    });
    if flow.table != TableId(0) {
        write!(out, " table:{}", flow.table)?;
    }
    out.push(' ');
    let matching = with_priority(flow.priority, &flow.matching);
    if !matching.is_empty() {
        write!(out, "{matching} ")?;
    }
    // A change that looks for no cookie sets a new one, unless that is all ones.
    let deletes = matches!(flow.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
    let adds = flow.command == FlowModCommand::Add;
    if adds || !deletes && flow.cookie_mask == 0 {
        if flow.cookie.0 != 0 && flow.cookie.0 != u64::MAX {
            write!(out, "cookie:{:#x} ", flow.cookie.0)?;
        }
    } else if flow.cookie_mask != 0 {
        write!(out, "cookie:{:#x}/{:#x} ", flow.cookie.0, flow.cookie_mask)?;
    }
    for (name, value) in [("idle", flow.idle_timeout), ("hard", flow.hard_timeout)] {
        if value != 0 {
            write!(out, "{name}:{value} ")?;
        }
    }
    if flow.buffer_id != NO_BUFFER {
        write!(out, "buf:{:#x} ", flow.buffer_id)?;
    }
    // Only a delete is restricted by where flows output.
    if deletes && flow.out_port != OfPort::ANY {
        write!(out, "out_port:{} ", flow.out_port)?;
    }
    for (flag, name) in FLAGS {
        if flow.flags.contains(flag) {
            write!(out, "{name} ")?;
        }
    }
    write!(out, "actions={}", flow.instructions)
}

pub(super) fn removed_reason(reason: u16) -> String {
    match reason {
        0 => "idle".to_owned(),
        1 => "hard".to_owned(),
        2 => "delete".to_owned(),
        3 => "group_delete".to_owned(),
        4 => "meter_delete".to_owned(),
        5 => "eviction".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn removed(removed: &FlowRemoved, out: &mut String) -> fmt::Result {
    let reason = match removed.reason {
        FlowRemovedReason::IdleTimeout => 0,
        FlowRemovedReason::HardTimeout => 1,
        FlowRemovedReason::Delete => 2,
        FlowRemovedReason::GroupDelete => 3,
        FlowRemovedReason::Other(other) => other.into(),
    };
    let matching = with_priority(removed.key.priority, &removed.key.matching);
    write!(out, " {matching} reason={}", removed_reason(reason))?;
    if removed.key.table != TableId::ALL {
        write!(out, " table_id={}", removed.key.table)?;
    }
    if removed.cookie.0 != 0 {
        write!(out, " cookie:{:#x}", removed.cookie.0)?;
    }
    write!(out, " duration{} idle{}", Seconds(removed.duration), removed.idle_timeout)?;
    if removed.hard_timeout != 0 {
        write!(out, " hard{}", removed.hard_timeout)?;
    }
    write!(out, " pkts{} bytes{}", removed.packets, removed.bytes)
}

pub(super) fn request(request: &FlowStatsRequest, out: &mut String) -> fmt::Result {
    if request.table != TableId::ALL {
        write!(out, " table={}", request.table)?;
    }
    if request.out_port != OfPort::ANY {
        write!(out, " out_port={}", request.out_port)?;
    }
    write!(out, " {}", request.matching)
}

const MONITOR_FLAGS: [(u32, &str); 6] =
    [(1, "initial"), (2, "add"), (4, "delete"), (8, "modify"), (16, "actions"), (32, "own")];

pub(super) fn monitor(monitor: &FlowMonitor, out: &mut String) -> fmt::Result {
    write!(out, "\n id={} flags={}", monitor.id, bits(monitor.flags.0.into(), &MONITOR_FLAGS, ","))?;
    if monitor.out_port != OfPort::ANY {
        write!(out, " out_port={}", monitor.out_port)?;
    }
    if monitor.table != TableId::ALL {
        write!(out, " table={}", monitor.table)?;
    }
    if !monitor.matching.is_empty() {
        write!(out, " {}", monitor.matching)?;
    }
    Ok(())
}

pub(super) fn update(update: &FlowUpdate, out: &mut String) -> fmt::Result {
    out.push_str("\n event=");
    let change: &FlowChange = match update {
        FlowUpdate::Abbreviated(xid) => return write!(out, "ABBREV xid={:#x}", xid.0),
        FlowUpdate::Full(change) => change,
    };
    match change.event {
        FlowEvent::Added => out.push_str("ADDED"),
        FlowEvent::Modified => out.push_str("MODIFIED"),
        FlowEvent::Deleted => write!(out, "DELETED reason={}", removed_reason(change.reason))?,
    }
    write!(out, " table={}", change.table)?;
    for (name, value) in [("idle_timeout", change.idle_timeout), ("hard_timeout", change.hard_timeout)] {
        if value != 0 {
            write!(out, " {name}={value}")?;
        }
    }
    write!(out, " cookie={} {}", Hex(change.cookie.0.into()), change.matching)?;
    let instructions = change.instructions.to_string();
    if instructions != "drop" {
        let space = if change.matching.is_empty() { "" } else { " " };
        write!(out, "{space}actions={instructions}")?;
    }
    Ok(())
}
