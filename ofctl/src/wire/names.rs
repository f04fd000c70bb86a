//! Fields by their names, without a search: tables of hashes that are made when this is compiled.

use super::fields::{FIELDS, Field};

/// Twice as many as there are names and a power of two, so that a search ends soon.
const SLOTS: usize = 1024;
const EMPTY: u8 = u8::MAX;

struct Table([u8; SLOTS]);

/// FNV-1a of 32 bits.
const fn slot(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    ((hash >> 16) ^ hash) as usize % SLOTS
}

impl Table {
    const fn insert(mut self, name: &str, row: usize) -> Table {
        let mut place = slot(name.as_bytes());
        // Two names of one row may be the same.
        while self.0[place] != EMPTY && self.0[place] as usize != row {
            place = (place + 1) % SLOTS;
        }
        self.0[place] = row as u8;
        self
    }

    fn find(&self, name: &str, is: impl Fn(usize) -> bool) -> Option<Field> {
        let mut place = slot(name.as_bytes());
        loop {
            match self.0[place] {
                EMPTY => return None,
                row if is(row.into()) => return Some(FIELDS[usize::from(row)].field),
                _ => place = (place + 1) % SLOTS,
            }
        }
    }
}

static BY_NAME: Table = {
    let mut table = Table([EMPTY; SLOTS]);
    let mut row = 0;
    while row < FIELDS.len() {
        table = table.insert(FIELDS[row].name, row);
        if !FIELDS[row].alias.is_empty() {
            table = table.insert(FIELDS[row].alias, row);
        }
        row += 1;
    }
    table
};

static BY_HEADER_NAME: Table = {
    let mut table = Table([EMPTY; SLOTS]);
    let mut row = 0;
    while row < FIELDS.len() {
        table = table.insert(FIELDS[row].oxm.name, row).insert(FIELDS[row].nxm.name, row);
        row += 1;
    }
    table
};

/// The field of this name or alias.
pub(super) fn by_name(name: &str) -> Option<Field> {
    BY_NAME.find(name, |row| {
        let spec = &FIELDS[row];
        spec.name == name || (!spec.alias.is_empty() && spec.alias == name)
    })
}

/// The field one of whose headers has this name.
pub(super) fn by_header_name(name: &str) -> Option<Field> {
    BY_HEADER_NAME.find(name, |row| FIELDS[row].oxm.name == name || FIELDS[row].nxm.name == name)
}
