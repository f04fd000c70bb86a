//! What CONFIG_DB has, and what a change does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::entry::{Fields, Key, Table};

/// What CONFIG_DB has, of the tables that concern us.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Observed {
    /// The entries.
    pub entries: BTreeMap<Key, Fields>,
    /// The keys that we noted as ours.
    pub ours: BTreeSet<Key>,
}

/// One step. All steps of a difference are one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write an entry that is not there, and note it as ours.
    Add {
        /// Its key.
        key: Key,
        /// Its fields.
        fields: Fields,
    },
    /// Remove an entry of ours, and the note.
    Remove {
        /// Its key.
        key: Key,
    },
    /// Strike out the note of an entry that somebody has removed.
    Forget {
        /// Its key.
        key: Key,
    },
}

impl Change {
    /// The entry that it concerns.
    pub const fn key(&self) -> &Key {
        match self {
            Change::Add { key, .. } | Change::Remove { key } | Change::Forget { key } => key,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Add { key, fields } => {
                write!(out, "add {key}")?;
                fields.iter().try_for_each(|(name, value)| write!(out, " {name}={value}"))
            }
            Change::Remove { key } => write!(out, "remove {key}"),
            Change::Forget { key } => write!(out, "forget {key}"),
        }
    }
}

/// A change that does not fit what there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {change}: {reason}")]
pub struct Impossible {
    change: Box<Change>,
    reason: &'static str,
}

impl Observed {
    /// Makes this what the database has after a change.
    ///
    /// # Errors
    /// Something else is there than the change was made for; nothing is changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), Impossible> {
        self.admits(change)?;
        match change {
            Change::Add { key, fields } => {
                self.entries.insert(key.clone(), fields.clone());
                self.ours.insert(key.clone());
            }
            Change::Remove { key } => {
                self.entries.remove(key);
                self.ours.remove(key);
            }
            Change::Forget { key } => {
                self.ours.remove(key);
            }
        }
        Ok(())
    }

    /// Whether a change can be made now.
    fn admits(&self, change: &Change) -> Result<(), Impossible> {
        let key = change.key();
        let (is_there, is_ours) = (self.entries.contains_key(key), self.ours.contains(key));
        let reason = match change {
            Change::Add { .. } if is_there => "the entry is there",
            Change::Remove { .. } if !is_there => "there is no such entry",
            Change::Remove { .. } if !is_ours => "sluice did not write it",
            Change::Forget { .. } if is_there => "the entry is there",
            _ => return Ok(()),
        };
        Err(Impossible { change: Box::new(change.clone()), reason })
    }

    /// True if we wrote an entry.
    pub fn is_ours(&self, key: &Key) -> bool {
        self.ours.contains(key)
    }

    /// The entries of a table.
    pub fn table(&self, table: Table) -> impl Iterator<Item = (&Key, &Fields)> {
        let from = Key::new(table, "");
        self.entries.range(from..).take_while(move |(key, _)| key.table == table)
    }

    /// A field of an entry.
    pub fn field(&self, key: &Key, field: &str) -> Option<&str> {
        self.entries.get(key)?.get(field).map(String::as_str)
    }
}
