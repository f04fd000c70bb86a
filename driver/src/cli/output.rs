//! Where a command's result goes: tables for people, JSON lines for programs.

use std::io::{self, Write};

use serde::Serialize;

/// Standard output, in one of the two ways.
pub(super) struct Output<'a> {
    out: &'a mut dyn Write,
    json: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(out: &'a mut dyn Write, json: bool) -> Output<'a> {
        Output { out, json }
    }

    /// One object: as a line of JSON, or however `people` writes it.
    pub(super) fn object<T: Serialize>(
        &mut self,
        object: &T,
        people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json { self.json_line(object) } else { people(self.out) }
    }

    /// Many objects: a line of JSON each, or a table with a row each.
    pub(super) fn rows<T: Serialize, const N: usize>(
        &mut self,
        objects: &[T],
        head: [&str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> io::Result<()> {
        if self.json {
            objects.iter().try_for_each(|object| self.json_line(object))
        } else {
            table(self.out, head, objects.iter().map(row))
        }
    }

    /// What there is to say of some of them below the table; in JSON it is in the objects.
    pub(super) fn notes<T>(&mut self, objects: &[T], note: impl Fn(&T) -> Option<String>) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        objects.iter().filter_map(note).try_for_each(|note| writeln!(self.out, "\n{note}"))
    }

    fn json_line(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, object)?;
        self.out.write_all(b"\n")
    }
}

/// Columns as wide as their widest cell, two spaces apart; nothing after the last.
pub(super) fn table<const N: usize>(
    out: &mut dyn Write,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> io::Result<()> {
    let lines: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(widths) {
            text += &format!("{cell:width$}  ");
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// `KEY: value` lines with the values aligned; values that are empty are left out.
pub(super) fn fields(out: &mut dyn Write, fields: &[(&str, String)]) -> io::Result<()> {
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
    for (name, value) in shown() {
        writeln!(out, "{:width$} {value}", format!("{name}:"))?;
    }
    Ok(())
}

/// What stands in a cell that has no value.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The values with commas between, or a dash.
pub(super) fn joined<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_without_trailing_blanks() {
        let mut out = Vec::new();
        let rows = [["blue", "1", ""], ["a-long-name", "22", "x"]];
        table(&mut out, ["NAME", "ID", "NOTE"], rows.iter().map(|row| row.map(str::to_owned))).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME         ID  NOTE\nblue         1\na-long-name  22  x\n");
    }

    #[test]
    fn empty_fields_are_left_out() {
        let mut out = Vec::new();
        fields(&mut out, &[("a", "1".into()), ("none", String::new()), ("long", "2".into())]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a:    1\nlong: 2\n");
    }
}
