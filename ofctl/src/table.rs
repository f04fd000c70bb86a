//! The difference between the flow tables as they should be and as a switch reports them.

use std::collections::HashMap;

use crate::flow::{FlowEntry, FlowKey, FlowStats};
use crate::wire::{FlowMod, Match, TableId};

/// What must be done to a switch so that it holds exactly the desired entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableDifference {
    /// Entries that are missing.
    pub add: Vec<FlowEntry>,
    /// Entries that are there under the same key, but with other instructions, cookie, timeouts or flags; as
    /// they should be. They are sent as an addition, which replaces the whole entry: OpenFlow's modification
    /// leaves timeouts and flags as they were (OpenFlow 1.3.5 §6.4).
    pub modify: Vec<FlowEntry>,
    /// Entries that nobody wants, to be deleted strictly.
    pub delete: Vec<FlowKey>,
}

impl TableDifference {
    /// True if nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.modify.is_empty() && self.delete.is_empty()
    }

    /// The messages that do it: first what is to be there, then what is to go, so that in between nothing is
    /// missing that stays.
    pub fn into_flow_mods(self) -> impl Iterator<Item = FlowMod> {
        let present = self.add.into_iter().chain(self.modify).map(FlowMod::add);
        present.chain(self.delete.into_iter().map(FlowMod::delete_strict))
    }
}

/// Compares both sides in full, so that entries that nobody wants are found too.
///
/// Where two desired entries have one key the later counts, as it would on the switch. `modify` and `add` keep
/// the order of `desired`, `delete` that of `observed`.
pub fn difference<'a>(
    desired: impl IntoIterator<Item = &'a FlowEntry>,
    observed: &[FlowStats],
) -> TableDifference {
    type Key<'a> = (TableId, u16, &'a Match);
    fn key(entry: &FlowEntry) -> Key<'_> {
        (entry.table, entry.priority, &entry.matching)
    }

    let desired: Vec<&FlowEntry> = desired.into_iter().collect();
    let mut wanted: HashMap<Key<'_>, usize> = HashMap::with_capacity(desired.len());
    for (place, entry) in desired.iter().enumerate() {
        wanted.insert(key(entry), place);
    }

    let mut result = TableDifference::default();
    let mut present: Vec<Option<&FlowEntry>> = vec![None; desired.len()];
    for stats in observed {
        match wanted.get(&key(&stats.entry)) {
            Some(&place) => present[place] = Some(&stats.entry),
            None => result.delete.push(stats.entry.key()),
        }
    }
    for (place, entry) in desired.into_iter().enumerate() {
        if wanted[&key(entry)] != place {
            continue;
        }
        match present[place] {
            None => result.add.push(entry.clone()),
            Some(there) if there != entry => result.modify.push(entry.clone()),
            Some(_) => {}
        }
    }
    result
}
