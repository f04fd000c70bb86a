//! Database values and their JSON notation (RFC 7047 §5.1).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The identity of a row: its `_uuid` column (RFC 7047 §3.1, RFC 4122).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The all-zero UUID, which names no row. As a transaction id it means "nothing seen yet".
    pub const ZERO: Uuid = Uuid([0; 16]);
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                out.write_str("-")?;
            }
            write!(out, "{octet:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The text is not a UUID in the 8-4-4-4-12 notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a UUID: 32 hex digits in groups of 8-4-4-4-12 are wanted")]
pub struct UuidParseError(String);

impl FromStr for Uuid {
    type Err = UuidParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || UuidParseError(text.chars().take(64).collect());
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return Err(wrong());
        }
        let mut digits = [0u8; 32];
        let mut filled = 0;
        for (index, &byte) in bytes.iter().enumerate() {
            if matches!(index, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(wrong());
                }
                continue;
            }
            digits[filled] = (byte as char).to_digit(16).ok_or_else(wrong)? as u8;
            filled += 1;
        }
        let mut octets = [0; 16];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            *octet = pair[0] << 4 | pair[1];
        }
        Ok(Uuid(octets))
    }
}

/// The bare text, as a key of `<table-updates>`; a UUID *value* is an [`Atom::Uuid`].
impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Uuid;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a UUID")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Uuid, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A finite floating-point number, totally ordered. There is one zero.
#[derive(Clone, Copy, PartialEq, Default)]
pub struct Real(f64);

impl Real {
    /// The number as an OVSDB real; none for an infinity or NaN, which JSON cannot say.
    pub fn new(number: f64) -> Option<Real> {
        // Adding zero turns -0.0 into 0.0, so that equality and order agree.
        number.is_finite().then_some(Real(number + 0.0))
    }

    /// The number.
    pub const fn to_f64(self) -> f64 {
        self.0
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Debug for Real {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// One scalar (`<atom>`, RFC 7047 §5.1).
///
/// JSON does not tell an integer from a whole real: ovsdb-server writes the real 1.0 as `1`, which is read
/// as [`Atom::Integer`]. [`Atom::as_real`] takes both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    /// A 64-bit signed integer.
    Integer(i64),
    /// A finite real number.
    Real(Real),
    /// `true` or `false`.
    Boolean(bool),
    /// Text without NUL.
    String(String),
    /// `["uuid", …]`: a row that exists.
    Uuid(Uuid),
    /// `["named-uuid", …]`: a row that another operation of the same transaction inserts.
    NamedUuid(String),
}

impl Atom {
    /// The text of a string atom.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Atom::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer atom.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Atom::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The number of a real atom, or of an integer atom that stands for a whole real.
    pub fn as_real(&self) -> Option<f64> {
        match self {
            Atom::Integer(number) => Some(*number as f64),
            Atom::Real(number) => Some(number.to_f64()),
            _ => None,
        }
    }

    /// The truth of a boolean atom.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Atom::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The row that a UUID atom names.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Atom::Uuid(uuid) => Some(*uuid),
            _ => None,
        }
    }
}

impl From<i64> for Atom {
    fn from(number: i64) -> Self {
        Atom::Integer(number)
    }
}

impl From<bool> for Atom {
    fn from(truth: bool) -> Self {
        Atom::Boolean(truth)
    }
}

impl From<&str> for Atom {
    fn from(text: &str) -> Self {
        Atom::String(text.to_owned())
    }
}

impl From<String> for Atom {
    fn from(text: String) -> Self {
        Atom::String(text)
    }
}

impl From<Uuid> for Atom {
    fn from(uuid: Uuid) -> Self {
        Atom::Uuid(uuid)
    }
}

fn tagged<S: Serializer>(
    serializer: S,
    tag: &str,
    content: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    let mut pair = serializer.serialize_tuple(2)?;
    pair.serialize_element(tag)?;
    pair.serialize_element(content)?;
    pair.end()
}

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Atom::Integer(number) => serializer.serialize_i64(*number),
            Atom::Real(number) => serializer.serialize_f64(number.0),
            Atom::Boolean(truth) => serializer.serialize_bool(*truth),
            Atom::String(text) => serializer.serialize_str(text),
            Atom::Uuid(uuid) => tagged(serializer, "uuid", uuid),
            Atom::NamedUuid(name) => tagged(serializer, "named-uuid", name),
        }
    }
}

/// A set of atoms without duplicates, ordered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AtomSet(Vec<Atom>);

impl AtomSet {
    /// The atoms, ascending.
    pub fn as_slice(&self) -> &[Atom] {
        &self.0
    }
}

impl FromIterator<Atom> for AtomSet {
    fn from_iter<I: IntoIterator<Item = Atom>>(atoms: I) -> Self {
        let mut atoms: Vec<Atom> = atoms.into_iter().collect();
        atoms.sort_unstable();
        atoms.dedup();
        AtomSet(atoms)
    }
}

/// What a column holds (`<value>`, RFC 7047 §5.1): an atom, a set or a map.
///
/// An atom and the set of it alone are one value: they are equal and are written alike.
#[derive(Debug, Clone)]
pub enum Value {
    /// One atom.
    Atom(Atom),
    /// Any number of atoms.
    Set(AtomSet),
    /// Atoms by key.
    Map(BTreeMap<Atom, Atom>),
}

impl Value {
    /// The empty set: an optional column without a value.
    pub const fn empty() -> Value {
        Value::Set(AtomSet(Vec::new()))
    }

    /// The set of these atoms.
    pub fn set<A: Into<Atom>>(atoms: impl IntoIterator<Item = A>) -> Value {
        let mut set: AtomSet = atoms.into_iter().map(Into::into).collect();
        if set.0.len() == 1
            && let Some(atom) = set.0.pop()
        {
            return Value::Atom(atom);
        }
        Value::Set(set)
    }

    /// The map of these pairs; of equal keys the last one stays.
    pub fn map<K: Into<Atom>, V: Into<Atom>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
        Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// An optional column's value: one atom or the empty set.
    pub fn optional<A: Into<Atom>>(atom: Option<A>) -> Value {
        atom.map_or_else(Value::empty, |atom| Value::Atom(atom.into()))
    }

    /// The atoms of an atom or a set, ascending; none of a map.
    pub fn atoms(&self) -> &[Atom] {
        match self {
            Value::Atom(atom) => std::slice::from_ref(atom),
            Value::Set(set) => set.as_slice(),
            Value::Map(_) => &[],
        }
    }

    /// The only atom, of an atom or a set of one.
    pub fn as_atom(&self) -> Option<&Atom> {
        match self.atoms() {
            [atom] => Some(atom),
            _ => None,
        }
    }

    /// The only atom, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        self.as_atom()?.as_str()
    }

    /// The only atom, if it is an integer.
    pub fn as_integer(&self) -> Option<i64> {
        self.as_atom()?.as_integer()
    }

    /// The only atom, if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        self.as_atom()?.as_bool()
    }

    /// The only atom, if it is a UUID.
    pub fn as_uuid(&self) -> Option<Uuid> {
        self.as_atom()?.as_uuid()
    }

    /// The pairs of a map.
    pub fn as_map(&self) -> Option<&BTreeMap<Atom, Atom>> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The rows that a set of UUIDs names.
    pub fn uuids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.atoms().iter().filter_map(Atom::as_uuid)
    }

    /// The string pairs of a map.
    pub fn string_map(&self) -> BTreeMap<String, String> {
        let pairs = self.as_map().into_iter().flatten();
        pairs
            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value.as_str()?.to_owned())))
            .collect()
    }

    /// True when the set holds the atom.
    pub fn contains<Q: Borrow<Atom>>(&self, atom: Q) -> bool {
        self.atoms().binary_search(atom.borrow()).is_ok()
    }

    /// The value after a `modify` difference, for a column that may hold more than one element.
    ///
    /// ovsdb-server(7) §4.1.14: of a set the symmetric difference; of a map, a pair that is already there
    /// goes, any other is put in the place of its key's.
    pub(super) fn patched(&self, difference: &Value) -> Value {
        match (self, difference) {
            (Value::Map(old), Value::Map(difference)) => {
                let mut map = old.clone();
                for (key, value) in difference {
                    if map.get(key) == Some(value) {
                        map.remove(key);
                    } else {
                        map.insert(key.clone(), value.clone());
                    }
                }
                Value::Map(map)
            }
            // A column without a value yet is an empty set here, whatever its type.
            (_, Value::Map(_)) => difference.clone(),
            (_, _) => {
                let (old, difference) = (self.atoms(), difference.atoms());
                let kept = old.iter().filter(|atom| difference.binary_search(atom).is_err());
                let added = difference.iter().filter(|atom| old.binary_search(atom).is_err());
                Value::set(kept.chain(added).cloned())
            }
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Map(one), Value::Map(other)) => one == other,
            (Value::Map(_), _) | (_, Value::Map(_)) => false,
            _ => self.atoms() == other.atoms(),
        }
    }
}

impl Eq for Value {}

impl<A: Into<Atom>> From<A> for Value {
    fn from(atom: A) -> Self {
        Value::Atom(atom.into())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Pairs<'a>(&'a BTreeMap<Atom, Atom>);
        impl Serialize for Pairs<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0)
            }
        }
        match (self, self.as_atom()) {
            (_, Some(atom)) => atom.serialize(serializer),
            (Value::Map(map), _) => tagged(serializer, "map", &Pairs(map)),
            (_, None) => tagged(serializer, "set", self.atoms()),
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an OVSDB value: a number, boolean, string or [tag, content]")
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        let number = i64::try_from(number)
            .map_err(|_| E::custom(format_args!("{number} is beyond 64 signed bits")))?;
        Ok(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        let real = Real::new(number).ok_or_else(|| E::custom("a real is not finite"))?;
        Ok(Value::Atom(Atom::Real(real)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Value, A::Error> {
        fn content<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(pair: &mut A) -> Result<T, A::Error> {
            pair.next_element()?.ok_or_else(|| de::Error::custom("a tag has no content"))
        }
        let tag: Tag =
            pair.next_element()?.ok_or_else(|| de::Error::custom("an empty array is not a value"))?;
        let value = match tag {
            Tag::Uuid => Value::Atom(Atom::Uuid(content(&mut pair)?)),
            Tag::NamedUuid => Value::Atom(Atom::NamedUuid(content(&mut pair)?)),
            Tag::Set => {
                let atoms: Vec<Atom> = content(&mut pair)?;
                let length = atoms.len();
                let set = Value::set(atoms);
                if set.atoms().len() != length {
                    return Err(de::Error::custom("a set has an element twice"));
                }
                set
            }
            Tag::Map => {
                let pairs: Vec<(Atom, Atom)> = content(&mut pair)?;
                let length = pairs.len();
                let map: BTreeMap<Atom, Atom> = pairs.into_iter().collect();
                if map.len() != length {
                    return Err(de::Error::custom("a map has a key twice"));
                }
                Value::Map(map)
            }
        };
        if pair.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::custom("a [tag, content] pair has a third element"));
        }
        Ok(value)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Tag {
    Uuid,
    NamedUuid,
    Set,
    Map,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Only `["uuid", …]` and `["named-uuid", …]` are atoms: a nested set is refused before it is read,
        /// which also bounds the recursion.
        struct AtomVisitor;
        impl<'de> Visitor<'de> for AtomVisitor {
            type Value = Atom;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an OVSDB atom")
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Atom, E> {
                Ok(truth.into())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Atom, E> {
                Ok(number.into())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Atom, E> {
                let signed = i64::try_from(number);
                Ok(signed.map_err(|_| E::custom(format_args!("{number} is beyond 64 signed bits")))?.into())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Atom, E> {
                Real::new(number).map(Atom::Real).ok_or_else(|| E::custom("a real is not finite"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Atom, E> {
                Ok(text.into())
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Atom, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Atom, A::Error> {
                let missing = || de::Error::custom("an atom is a scalar or [\"uuid\", …]");
                let atom = match pair.next_element()?.ok_or_else(missing)? {
                    Tag::Uuid => Atom::Uuid(pair.next_element()?.ok_or_else(missing)?),
                    Tag::NamedUuid => Atom::NamedUuid(pair.next_element()?.ok_or_else(missing)?),
                    Tag::Set | Tag::Map => {
                        return Err(de::Error::custom("a set or map cannot be an element"));
                    }
                };
                if pair.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::custom("a [tag, content] pair has a third element"));
                }
                Ok(atom)
            }
        }
        deserializer.deserialize_any(AtomVisitor)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row() -> Uuid {
        "8dc9fa2c-715a-4cbc-8c9c-4083cb83219f".parse().unwrap()
    }

    #[test]
    fn json_is_exact_both_ways() {
        let uuid = Atom::Uuid(row());
        let cases = [
            (r#"0"#, Value::from(0)),
            (r#"-9223372036854775808"#, Value::from(i64::MIN)),
            (r#"1.5"#, Value::Atom(Atom::Real(Real::new(1.5).unwrap()))),
            (r#"true"#, Value::from(true)),
            (r#""""#, Value::from("")),
            (r#""a\"\\\n""#, Value::from("a\"\\\n")),
            (r#"["uuid","8dc9fa2c-715a-4cbc-8c9c-4083cb83219f"]"#, Value::Atom(uuid.clone())),
            (r#"["named-uuid","port0"]"#, Value::Atom(Atom::NamedUuid("port0".into()))),
            (r#"["set",[]]"#, Value::empty()),
            (r#"["set",[1,2]]"#, Value::set([2, 1])),
            (r#"["map",[]]"#, Value::Map(BTreeMap::new())),
            (
                r#"["map",[["key","flow"],["remote_ip","flow"]]]"#,
                Value::map([("remote_ip", "flow"), ("key", "flow")]),
            ),
            (r#"["map",[[1,["uuid","8dc9fa2c-715a-4cbc-8c9c-4083cb83219f"]]]]"#, Value::map([(1, uuid)])),
        ];
        for (json, value) in cases {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<Value>(json).unwrap(), value, "{json}");
        }
    }

    #[test]
    fn an_atom_and_its_set_are_one_value() {
        let set: Value = serde_json::from_str(r#"["set",["a"]]"#).unwrap();
        assert_eq!(set, Value::from("a"));
        assert_eq!(Value::Set([Atom::from("a")].into_iter().collect()), Value::from("a"));
        assert_eq!(serde_json::to_string(&set).unwrap(), r#""a""#);
        assert_ne!(Value::empty(), Value::Map(BTreeMap::new()));
    }

    #[test]
    fn wrong_json_is_refused() {
        let cases = [
            "null",
            "{}",
            "[]",
            "[\"set\"]",
            "[\"bag\",[]]",
            "[\"set\",[1,1]]",
            "[\"set\",[],[]]",
            "[\"set\",[[\"set\",[]]]]",
            "[\"map\",[[1]]]",
            "[\"map\",[[1,2,3]]]",
            "[\"map\",[[1,2],[1,3]]]",
            "[\"uuid\",\"8dc9\"]",
            "[\"uuid\"]",
            "[\"uuid\",\"8dc9fa2c-715a-4cbc-8c9c-4083cb83219f\",1]",
            "[\"uuid\",7]",
            "9223372036854775808",
            "1e999",
            "\"\\ud800\"",
            "[\"set\",[null]]",
            "[1,2]",
        ];
        for json in cases {
            assert!(serde_json::from_str::<Value>(json).is_err(), "{json} was taken");
        }
    }

    #[test]
    fn uuids_are_read_strictly() {
        assert_eq!(row().to_string(), "8dc9fa2c-715a-4cbc-8c9c-4083cb83219f");
        for text in [
            "",
            "8dc9fa2c-715a-4cbc-8c9c-4083cb83219",
            "8dc9fa2c-715a-4cbc-8c9c-4083cb83219g",
            "8dc9fa2c0715a-4cbc-8c9c-4083cb83219f",
            "8dc9fa2c-715a-4cbc-8c9c-4083cb8321\u{e9}",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text:?} was taken");
        }
    }

    pub(in crate::ovsdb) fn atom() -> impl Strategy<Value = Atom> {
        prop_oneof![
            any::<i64>().prop_map(Atom::Integer),
            any::<f64>().prop_filter_map("finite", |number| Real::new(number).map(Atom::Real)),
            any::<bool>().prop_map(Atom::Boolean),
            any::<String>().prop_map(Atom::String),
            any::<[u8; 16]>().prop_map(|octets| Atom::Uuid(Uuid(octets))),
            "[a-z_][a-z0-9_]{0,8}".prop_map(Atom::NamedUuid),
        ]
    }

    pub(in crate::ovsdb) fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            atom().prop_map(Value::Atom),
            prop::collection::vec(atom(), 0..6).prop_map(Value::set),
            prop::collection::btree_map(atom(), atom(), 0..6).prop_map(Value::Map),
        ]
    }

    fn small_set() -> impl Strategy<Value = Value> {
        prop::collection::btree_set(0i64..8, 0..6).prop_map(Value::set)
    }

    fn small_map() -> impl Strategy<Value = Value> {
        prop::collection::btree_map(0i64..6, 0i64..3, 0..6).prop_map(Value::map)
    }

    /// What ovsdb-server sends for a column that went from one value to another.
    fn difference(old: &Value, new: &Value) -> Value {
        match (old, new) {
            (Value::Map(old), Value::Map(new)) => {
                let gone = old.iter().filter(|(key, _)| !new.contains_key(key));
                let set = new.iter().filter(|(key, value)| old.get(key) != Some(value));
                Value::Map(gone.chain(set).map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            _ => {
                let gone = old.atoms().iter().filter(|atom| !new.contains(*atom));
                let come = new.atoms().iter().filter(|atom| !old.contains(*atom));
                Value::set(gone.chain(come).cloned())
            }
        }
    }

    proptest! {
        #[test]
        fn values_survive_json(value in value()) {
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }

        #[test]
        fn a_set_difference_leads_from_old_to_new(old in small_set(), new in small_set()) {
            prop_assert_eq!(old.patched(&difference(&old, &new)), new);
        }

        #[test]
        fn a_map_difference_leads_from_old_to_new(old in small_map(), new in small_map()) {
            prop_assert_eq!(old.patched(&difference(&old, &new)), new);
        }

        #[test]
        fn any_json_is_read_or_refused(text in "[\\[\\]{}\"a-z,0-9.e:\\\\ -]{0,60}") {
            let _ = serde_json::from_str::<Value>(&text);
        }
    }
}
