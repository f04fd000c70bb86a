//! The difference between the flow tables as they should be and as a switch reports them.
//!
//! ```
//! use ofctl::flow::FlowEntry;
//! use ofctl::table::difference;
//!
//! let desired: Vec<FlowEntry> = vec!["table=0,priority=1,in_port=1,actions=output:2".parse()?];
//! let change = difference(&desired, &[]);
//! assert_eq!(change.add, desired);
//! assert_eq!(change.into_flow_mods().count(), 1);
//! # Ok::<(), ofctl::text::ParseError>(())
//! ```

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

/// What is known of a desired entry.
#[derive(Debug, Clone, Copy)]
enum State {
    Missing,
    Different,
    Same,
    /// A later one has the same key.
    Superseded,
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
    let mut state = vec![State::Missing; desired.len()];
    let mut wanted: HashMap<Key<'_>, usize> = HashMap::with_capacity(desired.len());
    for (place, entry) in desired.iter().enumerate() {
        if let Some(earlier) = wanted.insert(key(entry), place) {
            state[earlier] = State::Superseded;
        }
    }

    let mut result = TableDifference::default();
    for FlowStats { entry, .. } in observed {
        match wanted.get(&key(entry)) {
            Some(&place) => {
                state[place] = if entry == desired[place] { State::Same } else { State::Different }
            }
            None => result.delete.push(entry.key()),
        }
    }
    for (entry, state) in desired.into_iter().zip(state) {
        match state {
            State::Missing => result.add.push(entry.clone()),
            State::Different => result.modify.push(entry.clone()),
            State::Same | State::Superseded => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Cookie;

    fn observed(entry: FlowEntry) -> FlowStats {
        FlowStats { entry, duration: std::time::Duration::ZERO, packets: 0, bytes: 0 }
    }

    fn flow(text: &str) -> FlowEntry {
        text.parse().unwrap()
    }

    #[test]
    fn orphans_strangers_and_changes_are_found() {
        let desired = [
            flow("table=1,priority=5,in_port=1,actions=output:2"),
            flow("table=1,priority=5,in_port=2,actions=output:1"),
            flow("table=1,priority=5,in_port=3,actions=output:9"),
        ];
        let there = [
            observed(flow("table=1,priority=5,in_port=1,actions=output:2")),
            observed(flow("table=1,priority=5,in_port=2,actions=drop")),
            observed(flow("table=1,priority=6,in_port=3,actions=output:9")),
        ];
        let found = difference(&desired, &there);
        assert_eq!(found.add, [desired[2].clone()]);
        assert_eq!(found.modify, [desired[1].clone()]);
        assert_eq!(found.delete, [there[2].entry.key()]);
        let texts: Vec<String> =
            found.into_flow_mods().map(|flow| format!("{:?} {}", flow.command, flow.priority)).collect();
        assert_eq!(texts, ["Add 5", "Add 5", "DeleteStrict 6"]);
    }

    #[test]
    fn a_cookie_alone_is_a_change() {
        let desired = [flow("cookie=0x2,actions=drop")];
        let there = [observed(desired[0].clone().cookie(Cookie(1)))];
        assert_eq!(difference(&desired, &there).modify, desired);
    }

    #[test]
    fn of_two_entries_with_one_key_the_later_counts() {
        let desired = [flow("in_port=1,actions=drop"), flow("in_port=1,actions=output:2")];
        assert_eq!(difference(&desired, &[]).add, [desired[1].clone()]);
        assert!(difference(&desired, &[observed(desired[1].clone())]).is_empty());
    }
}
