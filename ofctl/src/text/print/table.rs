//! Flow tables in messages.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::field_set::FieldSet;
use crate::wire::{TableFeatures, TableId, TableMod, TableProperty, TableStats, When};

/// A run of tables that are like the one before.
#[derive(Default)]
struct Ditto(Option<(TableId, TableId)>);

impl Ditto {
    fn add(&mut self, table: TableId) {
        self.0 = Some((self.0.map_or(table, |(first, _)| first), table));
    }

    fn finish(&mut self, out: &mut String) -> fmt::Result {
        match self.0.take() {
            None => Ok(()),
            Some((first, last)) if first == last => write!(out, "\n  table {first}: ditto\n"),
            Some((first, last)) => write!(out, "\n  tables {first}...{last}: ditto\n"),
        }
    }
}

/// Statistics of tables, those that are like the one before in one line; each line ends with a line feed.
pub fn tables(tables: &[TableStats]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_stats(tables, &mut out);
    out.strip_prefix('\n').unwrap_or(&out).to_owned()
}

fn write_stats(tables: &[TableStats], out: &mut String) -> fmt::Result {
    let key = |stats: &TableStats| (stats.active, stats.lookups, stats.matched);
    let mut ditto = Ditto::default();
    let mut previous = None;
    for stats in tables {
        if previous.replace(key(stats)) == Some(key(stats)) {
            ditto.add(stats.table);
            continue;
        }
        ditto.finish(out)?;
        write!(
            out,
            "\n  table {}:\n    active={}, lookup={}, matched={}\n",
            stats.table, stats.active, stats.lookups, stats.matched
        )?;
    }
    ditto.finish(out)
}

pub(super) fn change(change: &TableMod, out: &mut String) -> fmt::Result {
    // OpenFlow 1.3 has nothing to configure.
    match change.table {
        TableId::ALL => out.write_str(" table_id: ALL_TABLES"),
        table => write!(out, " table_id={table}"),
    }
}

/// Kinds of action by their bits in a mask of `OFPAT_*`, in the order in which Open vSwitch names them.
const ACTIONS: [(u32, &str); 12] = [
    (1 << 0, "output"),
    (1 << 22, "group"),
    (1 << 25, "set_field"),
    (1 << 18, "strip_vlan"),
    (1 << 17, "push_vlan"),
    (1 << 23, "mod_nw_ttl"),
    (1 << 24, "dec_ttl"),
    (1 << 15, "set_mpls_ttl"),
    (1 << 16, "dec_mpls_ttl"),
    (1 << 19, "push_mpls"),
    (1 << 20, "pop_mpls"),
    (1 << 21, "set_queue"),
];

/// Instructions by `OFPIT_*`, in the order in which they are carried out.
const INSTRUCTIONS: [(u16, &str); 6] = [
    (6, "meter"),
    (4, "apply_actions"),
    (5, "clear_actions"),
    (3, "write_actions"),
    (2, "write_metadata"),
    (1, "goto_table"),
];

/// The names of kinds of action; others than Open vSwitch has are not named.
pub(super) fn actions(mask: u32) -> String {
    let names: Vec<&str> = ACTIONS.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "<none>".to_owned() } else { names.join(" ") }
}

/// What entries, or table-miss entries, can do.
#[derive(Default, Clone, PartialEq, Eq)]
struct Abilities {
    instructions: BTreeSet<u16>,
    next: BTreeSet<TableId>,
    write: ActionAbilities,
    apply: ActionAbilities,
}

#[derive(Default, Clone, PartialEq, Eq)]
struct ActionAbilities {
    /// Only those that have a name.
    actions: u32,
    fields: FieldSet,
}

impl Abilities {
    fn side(&mut self, when: When) -> &mut ActionAbilities {
        match when {
            When::Write => &mut self.write,
            When::Apply => &mut self.apply,
        }
    }

    /// Takes what the property says, if it is about table-miss entries or not as `of_miss` says.
    fn add(&mut self, property: &TableProperty, of_miss: bool) {
        let known = ACTIONS.iter().fold(0, |all, (bit, _)| all | bit);
        match property {
            TableProperty::Instructions { miss, list } if *miss == of_miss => {
                self.instructions = list.iter().map(|id| id.0).collect();
            }
            TableProperty::NextTables { miss, list } if *miss == of_miss => {
                self.next = list.iter().copied().collect();
            }
            TableProperty::Actions { when, miss, list } if *miss == of_miss => {
                let numbers = list.iter().filter(|id| id.kind < 32);
                self.side(*when).actions = numbers.fold(0, |all, id| all | 1 << id.kind) & known;
            }
            TableProperty::SetField { when, miss, list } if *miss == of_miss => {
                self.side(*when).fields = FieldSet::of(list);
            }
            _ => {}
        }
    }

    /// True if the abilities are the same; the next table may be one to which only the earlier can go.
    fn is_like(&self, table: TableId, other: &Abilities, other_table: TableId) -> bool {
        let (earlier, later, next) = match (table.0.checked_add(1), other_table.0.checked_add(1)) {
            (Some(next), _) if next == other_table.0 => (&self.next, &other.next, other_table),
            (_, Some(next)) if next == table.0 => (&other.next, &self.next, table),
            _ => (&self.next, &other.next, TableId::ALL),
        };
        let same_next = if earlier.contains(&next) && !later.contains(&next) {
            earlier.iter().filter(|id| **id != next).eq(later)
        } else {
            earlier == later
        };
        same_next
            && (&self.instructions, &self.write, &self.apply)
                == (&other.instructions, &other.write, &other.apply)
    }

    fn write(&self, previous: Option<&Abilities>, out: &mut String) -> fmt::Result {
        if !self.next.is_empty() {
            let numbers: Vec<u8> = self.next.iter().map(|id| id.0).collect();
            let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
                [first, .., last] => format!("{first}-{last}"),
                _ => run.iter().map(u8::to_string).collect(),
            });
            writeln!(out, "      next tables: {}", runs.collect::<Vec<_>>().join(","))?;
        }
        if !self.instructions.is_empty() {
            if previous.is_some_and(|previous| previous.instructions == self.instructions) {
                out.push_str("      (same instructions)\n");
            } else {
                let names = INSTRUCTIONS.iter().filter(|(number, _)| self.instructions.contains(number));
                let names: Vec<&str> = names.map(|(_, name)| *name).collect();
                writeln!(out, "      instructions: {}", names.join(" "))?;
            }
        }
        let same = |previous: &Abilities| (&previous.write, &previous.apply) == (&self.write, &self.apply);
        if previous.is_some_and(same) && !self.write.fields.is_empty() {
            out.push_str("      (same actions)\n");
        } else if self.write != self.apply {
            out.push_str("      Write-Actions features:\n");
            self.write.write(out)?;
            out.push_str("      Apply-Actions features:\n");
            self.apply.write(out)?;
        } else if self.write != ActionAbilities::default() {
            out.push_str("      Write-Actions and Apply-Actions features:\n");
            self.write.write(out)?;
        }
        Ok(())
    }
}

impl ActionAbilities {
    fn write(&self, out: &mut String) -> fmt::Result {
        if self.actions != 0 {
            writeln!(out, "        actions: {}", actions(self.actions))?;
        }
        if !self.fields.is_empty() {
            writeln!(out, "        supported on Set-Field: {}", self.fields.names())?;
        }
        Ok(())
    }
}

/// Table features, by what they are about.
struct Table<'a> {
    features: &'a TableFeatures,
    entries: Abilities,
    miss: Abilities,
    matched: FieldSet,
    maskable: FieldSet,
    wildcards: FieldSet,
}

impl<'a> Table<'a> {
    fn of(features: &'a TableFeatures) -> Self {
        let mut entries = Abilities::default();
        features.properties.iter().for_each(|property| entries.add(property, false));
        // What is not said of table-miss entries is the same as of others.
        let mut miss = entries.clone();
        features.properties.iter().for_each(|property| miss.add(property, true));
        let (mut matched, mut maskable, mut wildcards) =
            (FieldSet::default(), FieldSet::default(), FieldSet::default());
        for property in &features.properties {
            match property {
                TableProperty::Match(list) => {
                    matched = FieldSet::of(list);
                    maskable = FieldSet::of(list.iter().filter(|id| id.has_mask()));
                }
                TableProperty::Wildcards(list) => wildcards = FieldSet::of(list),
                _ => {}
            }
        }
        // What can be masked bit by bit can be left out.
        wildcards.extend(&maskable);
        Table { features, entries, miss, matched, maskable, wildcards }
    }

    fn id(&self) -> TableId {
        self.features.table
    }

    fn has_like_abilities(&self, other: &Table<'_>) -> bool {
        self.entries.is_like(self.id(), &other.entries, other.id())
            && self.miss.is_like(self.id(), &other.miss, other.id())
    }

    fn is_like(&self, other: &Table<'_>) -> bool {
        let numbers = |table: &Table<'_>| {
            let TableFeatures { metadata_match, metadata_write, max_entries, .. } = *table.features;
            (metadata_match, metadata_write, max_entries)
        };
        numbers(self) == numbers(other) && self.has_like_abilities(other) && self.matched == other.matched
    }

    fn write(&self, previous: Option<&Table<'_>>, out: &mut String) -> fmt::Result {
        let TableFeatures { metadata_match, metadata_write, max_entries, .. } = *self.features;
        if (metadata_match, metadata_write) != (0, 0) {
            let (matched, written) = (super::Hex(metadata_match.into()), super::Hex(metadata_write.into()));
            writeln!(out, "    metadata: match={matched} write={written}")?;
        }
        if max_entries != 0 {
            writeln!(out, "    max_entries={max_entries}")?;
        }
        if previous.is_some_and(|previous| self.has_like_abilities(previous)) {
            if self.entries != Abilities::default() {
                out.push_str("    (same instructions)\n");
            }
        } else if self.entries != self.miss {
            out.push_str("    instructions (other than table miss):\n");
            self.entries.write(previous.map(|table| &table.entries), out)?;
            out.push_str("    instructions (table miss):\n");
            self.miss.write(previous.map(|table| &table.miss), out)?;
        } else if self.entries != Abilities::default() {
            out.push_str("    instructions (table miss and others):\n");
            self.entries.write(previous.map(|table| &table.entries), out)?;
        }
        if self.matched.is_empty() {
            return Ok(());
        }
        if previous.is_some_and(|previous| previous.matched == self.matched) {
            out.push_str("    (same matching)\n");
            return Ok(());
        }
        out.push_str("    matching:\n");
        for (title, masked, optional) in [
            ("arbitrary mask", true, true),
            ("exact match or wildcard", false, true),
            ("must exact match", false, false),
        ] {
            let some = self.matched.where_in((&self.maskable, masked), (&self.wildcards, optional));
            if !some.is_empty() {
                writeln!(out, "      {title}: {}", some.names())?;
            }
        }
        Ok(())
    }
}

pub(super) fn features(tables: &[TableFeatures], out: &mut String) -> fmt::Result {
    let mut ditto = Ditto::default();
    let mut previous: Option<Table<'_>> = None;
    for features in tables {
        let table = Table::of(features);
        let same = previous.as_ref().is_some_and(|previous| table.is_like(previous));
        if same && features.name.is_empty() {
            ditto.add(features.table);
        } else {
            ditto.finish(out)?;
            write!(out, "\n  table {}", features.table)?;
            if !features.name.is_empty() {
                write!(out, " (\"{}\")", features.name)?;
            }
            if same {
                out.push_str(": ditto");
            } else {
                out.push_str(":\n");
                table.write(previous.as_ref(), out)?;
            }
        }
        previous = Some(table);
    }
    ditto.finish(out)
}
