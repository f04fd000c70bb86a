//! Groups in messages.

use std::fmt::{self, Write as _};

use super::Seconds;
use super::table::actions;
use crate::text::group::write_group;
use crate::wire::{GroupFeatures, GroupId, GroupMod, GroupModCommand, GroupStats};

/// A group's number, or the name of a reserved one.
pub(super) struct Id(pub(super) GroupId);

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            GroupId::ALL => out.write_str("ALL"),
            GroupId::ANY => out.write_str("ANY"),
            GroupId(number) => number.fmt(out),
        }
    }
}

pub(super) fn change(change: &GroupMod, out: &mut String) -> fmt::Result {
    out.push_str(match change.command {
        GroupModCommand::Add => "\n ADD ",
        GroupModCommand::Modify => "\n MOD ",
        GroupModCommand::AddOrModify => "\n ADD_OR_MOD ",
        GroupModCommand::Delete => "\n DEL ",
    });
    write_group(change.group, change.kind, &change.buckets, out)
}

pub(super) fn stats(stats: &GroupStats, out: &mut String) -> fmt::Result {
    write!(out, "\n group_id={},", stats.group.0)?;
    // A switch that does not know since when says all ones.
    if stats.duration.as_secs() < u64::from(u32::MAX) {
        write!(out, "duration={},", Seconds(stats.duration))?;
    }
    write!(
        out,
        "ref_count={},packet_count={},byte_count={}",
        stats.references, stats.counters.packets, stats.counters.bytes
    )?;
    for (place, bucket) in stats.buckets.iter().enumerate() {
        if bucket.packets != u64::MAX {
            write!(out, ",bucket{place}:packet_count={},byte_count={}", bucket.packets, bucket.bytes)?;
        }
    }
    Ok(())
}

pub(super) fn features(features: &GroupFeatures, out: &mut String) -> fmt::Result {
    write!(
        out,
        "\n Group table:\n    Types:  0x{:x}\n    Capabilities:  0x{:x}\n",
        features.types, features.capabilities
    )?;
    for (kind, name) in ["all", "select", "indirect", "fast failover"].into_iter().enumerate() {
        if features.types & 1 << kind != 0 {
            let max = super::Hex(features.max_groups[kind].into());
            let actions = actions(features.actions[kind]);
            write!(out, "    {name} group:\n       max_groups={max}\n       actions: {actions}\n")?;
        }
    }
    Ok(())
}
