//! Values as ovs-vsctl(8) writes them, both ways.
//!
//! ```
//! use ofctl::ovsdb::schema::{AtomicType, ColumnType};
//!
//! let options = ColumnType { key: AtomicType::String, value: Some(AtomicType::String), min: 0, max: None };
//! let value = options.parse("remote_ip=flow,key=\"a b\"")?;
//! assert_eq!(value.to_string(), "{key=\"a b\", remote_ip=flow}");
//! # Ok::<(), ofctl::ovsdb::text::ValueTextError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::schema::{AtomicType, ColumnType};
use super::value::{Atom, Real, Value};

/// Text that is no value of a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueTextError {
    /// A word that is no atom of its type.
    #[error("'{text}' is not {wanted}")]
    Atom {
        /// The word.
        text: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A map's element without its value.
    #[error("'{0}' is not KEY=VALUE")]
    NoPair(String),
    /// A text in quotation marks that is not JSON's.
    #[error("{0} is not a text in quotation marks")]
    Quotes(String),
    /// More or fewer elements than the column takes.
    #[error("{found} values were given, and the column takes {min} to {}", .max.map_or("any number".to_owned(), |max| max.to_string()))]
    Count {
        /// Elements given.
        found: usize,
        /// The fewest.
        min: u64,
        /// The most; none for no limit.
        max: Option<u64>,
    },
}

/// True for a text that reads back as itself without quotation marks.
fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        && !matches!(text, "true" | "false")
        && text.parse::<super::value::Uuid>().is_err()
}

impl fmt::Display for Atom {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Integer(number) => write!(out, "{number}"),
            Atom::Real(number) => write!(out, "{}", number.to_f64()),
            Atom::Boolean(truth) => write!(out, "{truth}"),
            Atom::String(text) if is_plain(text) => out.write_str(text),
            Atom::String(text) => write!(out, "{}", serde_json::Value::from(text.as_str())),
            Atom::Uuid(uuid) => write!(out, "{uuid}"),
            Atom::NamedUuid(name) => write!(out, "@{name}"),
        }
    }
}

/// An atom as itself, a set as `[a, b]`, a map as `{k=v, l=w}`.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Atom(atom) => write!(out, "{atom}"),
            Value::Set(set) => {
                out.write_str("[")?;
                for (place, atom) in set.as_slice().iter().enumerate() {
                    write!(out, "{}{atom}", if place > 0 { ", " } else { "" })?;
                }
                out.write_str("]")
            }
            Value::Map(map) => {
                out.write_str("{")?;
                for (place, (key, value)) in map.iter().enumerate() {
                    write!(out, "{}{key}={value}", if place > 0 { ", " } else { "" })?;
                }
                out.write_str("}")
            }
        }
    }
}

impl AtomicType {
    /// Reads an atom; a text may stand in quotation marks.
    ///
    /// # Errors
    ///
    /// [`ValueTextError`].
    pub fn parse(self, text: &str) -> Result<Atom, ValueTextError> {
        let wrong = |wanted| ValueTextError::Atom { text: text.to_owned(), wanted };
        Ok(match self {
            AtomicType::Integer => Atom::Integer(text.parse().map_err(|_| wrong("an integer"))?),
            AtomicType::Real => {
                let real = text.parse().ok().and_then(Real::new);
                Atom::Real(real.ok_or_else(|| wrong("a number"))?)
            }
            AtomicType::Boolean => Atom::Boolean(match text {
                "true" | "yes" | "on" | "1" => true,
                "false" | "no" | "off" | "0" => false,
                _ => return Err(wrong("true or false")),
            }),
            AtomicType::String if text.starts_with('"') => {
                let unquoted = serde_json::from_str(text);
                Atom::String(unquoted.map_err(|_| ValueTextError::Quotes(text.to_owned()))?)
            }
            AtomicType::String => Atom::String(text.to_owned()),
            AtomicType::Uuid => match text.strip_prefix('@') {
                Some(name) => Atom::NamedUuid(name.to_owned()),
                None => Atom::Uuid(text.parse().map_err(|_| wrong("a UUID"))?),
            },
        })
    }
}

/// Splits at commas and blanks outside quotation marks; brackets or braces around all of it do not count.
fn elements(text: &str) -> Vec<&str> {
    let text = text.trim();
    let inner = ['[', '{']
        .iter()
        .zip([']', '}'])
        .find_map(|(open, close)| text.strip_prefix(*open).and_then(|rest| rest.strip_suffix(close)));
    let text = inner.unwrap_or(text);
    let mut all = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (place, character) in text.char_indices().chain([(text.len(), ',')]) {
        let end = place == text.len();
        if !end && (escaped || character == '"' || quoted) {
            quoted ^= character == '"' && !escaped;
            escaped = quoted && character == '\\' && !escaped;
            continue;
        }
        if end || character == ',' || character.is_whitespace() {
            if place > start {
                all.push(&text[start..place]);
            }
            start = place + character.len_utf8();
        }
    }
    all
}

/// Both sides of the first `=` outside quotation marks.
pub(crate) fn pair(element: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, character) in element.char_indices() {
        match character {
            '=' if !quoted => return Some((&element[..place], &element[place + 1..])),
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
    }
    None
}

impl ColumnType {
    /// Reads a value of the column: an atom, a set with or without its brackets, a map with or without its braces.
    /// A column of one text takes all of it.
    ///
    /// # Errors
    ///
    /// [`ValueTextError`].
    pub fn parse(&self, text: &str) -> Result<Value, ValueTextError> {
        let value = self.parse_part(text)?;
        let found = match &value {
            Value::Map(map) => map.len(),
            value => value.atoms().len(),
        };
        if (found as u64) < self.min || self.max.is_some_and(|max| found as u64 > max) {
            return Err(ValueTextError::Count { found, min: self.min, max: self.max });
        }
        Ok(value)
    }

    /// As [`ColumnType::parse`], of elements to be added to the column's or taken from them, however many.
    ///
    /// # Errors
    ///
    /// [`ValueTextError`].
    pub fn parse_part(&self, text: &str) -> Result<Value, ValueTextError> {
        if let Some(value_type) = self.value {
            let one = |element: &&str| {
                let (key, value) =
                    pair(element).ok_or_else(|| ValueTextError::NoPair((*element).to_owned()))?;
                Ok((self.key.parse(key)?, value_type.parse(value)?))
            };
            let map = elements(text).iter().map(one).collect::<Result<BTreeMap<_, _>, _>>()?;
            return Ok(Value::Map(map));
        }
        let is_list = text.trim_start().starts_with(['[', '{']);
        if self.max == Some(1) && !is_list {
            return self.key.parse(text).map(Value::Atom);
        }
        let atoms = elements(text).into_iter().map(|element| self.key.parse(element));
        Ok(Value::set(atoms.collect::<Result<Vec<_>, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: ColumnType = ColumnType { key: AtomicType::String, value: None, min: 0, max: None };
    const NUMBER: ColumnType = ColumnType { key: AtomicType::Integer, value: None, min: 0, max: Some(1) };
    const MAP: ColumnType =
        ColumnType { key: AtomicType::String, value: Some(AtomicType::String), min: 0, max: None };

    #[test]
    fn values_are_read_and_written_as_ovs_vsctl_does() {
        for (column, given, wanted) in [
            (TEXTS, "a,b", "[a, b]"),
            (TEXTS, "[b, a]", "[a, b]"),
            (TEXTS, "one", "one"),
            (TEXTS, "\"a,b\",c", "[\"a,b\", c]"),
            (TEXTS, "\"a\\\"b\"", "\"a\\\"b\""),
            (TEXTS, "10.0.0.1", "\"10.0.0.1\""),
            (TEXTS, "true", "\"true\""),
            (TEXTS, "[]", "[]"),
            (NUMBER, "7", "7"),
            (NUMBER, "[]", "[]"),
            (MAP, "a=b,c=d", "{a=b, c=d}"),
            (MAP, "{remote_ip=\"10.0.0.1\", key=flow}", "{key=flow, remote_ip=\"10.0.0.1\"}"),
            (MAP, "\"a=b\"=c", "{\"a=b\"=c}"),
            (MAP, "url=http://x?y=z", "{url=\"http://x?y=z\"}"),
            (MAP, "", "{}"),
        ] {
            assert_eq!(column.parse(given).map(|value| value.to_string()), Ok(wanted.to_owned()), "{given}");
        }
        // A column of one text takes blanks and commas as they are.
        let text = ColumnType { max: Some(1), ..TEXTS };
        assert_eq!(text.parse("a, b"), Ok(Value::Atom(Atom::String("a, b".to_owned()))));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        assert!(matches!(NUMBER.parse("x"), Err(ValueTextError::Atom { .. })));
        assert!(matches!(NUMBER.parse("[1,2]"), Err(ValueTextError::Count { found: 2, .. })));
        assert!(matches!(MAP.parse("a"), Err(ValueTextError::NoPair(_))));
        assert!(matches!(TEXTS.parse("\"a"), Err(ValueTextError::Quotes(_))));
        let needed = ColumnType { min: 1, ..NUMBER };
        assert!(matches!(needed.parse("[]"), Err(ValueTextError::Count { found: 0, .. })));
    }
}
