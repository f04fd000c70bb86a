//! The flow mods that lead a switch to the plan.

use ofctl::flow::{FlowEntry, FlowStats};
use ofctl::table::{TableDifference, difference};
use ofctl::wire::{Cookie, FlowMod};

use crate::plan::FlowChanges;
use crate::plan::tables::{COOKIE_GENERATION_MASK, COOKIE_MARK, COOKIE_MARK_MASK, Generation};

fn add(generation: Generation, entry: &FlowEntry) -> FlowMod {
    let mut entry = entry.clone();
    entry.cookie = generation.stamp(entry.cookie);
    FlowMod::add(entry)
}

/// Everything anew, in the order in which it must be sent as one atomic bundle: all of the plan in a generation that
/// no flow has, then the deletion of every other generation of ours that was observed. What stays the same keeps its
/// counters; other people's flows stay.
pub fn resync<'a>(
    plan: impl IntoIterator<Item = &'a FlowEntry>,
    observed: &[FlowStats],
) -> (Generation, Vec<FlowMod>) {
    let mut old: Vec<_> = observed.iter().filter_map(|stats| Generation::of(stats.entry.cookie)).collect();
    old.sort_unstable();
    old.dedup();
    let mut generation = old.last().copied().unwrap_or(Generation(0)).next();
    while old.contains(&generation) {
        generation = generation.next();
    }
    let mut mods: Vec<_> = plan.into_iter().map(|entry| add(generation, entry)).collect();
    mods.extend(old.into_iter().map(|old| {
        FlowMod::delete_by_cookie(old.stamp(Cookie(COOKIE_MARK)), COOKIE_MARK_MASK | COOKIE_GENERATION_MASK)
    }));
    (generation, mods)
}

/// A change of the plan.
pub fn changes(generation: Generation, changes: &FlowChanges) -> Vec<FlowMod> {
    let deletes = changes.delete.iter().cloned().map(FlowMod::delete_strict);
    changes.set.iter().map(|entry| add(generation, entry.as_ref())).chain(deletes).collect()
}

/// What differs between the plan and the switch in this generation, and the flow mods that mend it.
///
/// Flows without our mark are not looked at.
pub fn audit<'a>(
    plan: impl IntoIterator<Item = &'a FlowEntry>,
    observed: &[FlowStats],
    generation: Generation,
) -> (TableDifference, Vec<FlowMod>) {
    let plan: Vec<FlowEntry> = plan
        .into_iter()
        .map(|entry| FlowEntry { cookie: generation.stamp(entry.cookie), ..entry.clone() })
        .collect();
    let ours: Vec<FlowStats> =
        observed.iter().filter(|stats| Generation::of(stats.entry.cookie).is_some()).cloned().collect();
    let found = difference(&plan, &ours);
    let mut mods: Vec<_> = found.add.iter().chain(&found.modify).cloned().map(FlowMod::add).collect();
    mods.extend(found.delete.iter().cloned().map(FlowMod::delete_strict));
    (found, mods)
}
