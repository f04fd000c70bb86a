//! Canonical JSON: one value has one text, so that a signature over the text is a signature over the value.
//!
//! The rules are those of RFC 8785 for the values that we use: no white space, members sorted by name, the shortest
//! escapes. Numbers are integers; a fraction is refused, as its text would depend on how it was computed. Names of
//! members are ASCII, where RFC 8785's order by UTF-16 and ours by bytes are the same.
//!
//! ```
//! let value: serde_json::Value = serde_json::from_str(r#"{"b": [1, true], "a": "\u0041"}"#).unwrap();
//! assert_eq!(sluice_switch::canonical::to_string(&value).unwrap(), r#"{"a":"A","b":[1,true]}"#);
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value that has no canonical text, or a text that is not canonical.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The value is not JSON, or not of the type that was wanted.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A number with a fraction or an exponent.
    #[error("the number {0} is no integer, and canonical JSON has integers only")]
    Fraction(serde_json::Number),
    /// A member's name with characters whose order differs between encodings.
    #[error("the member name `{0}` is not ASCII")]
    Name(String),
    /// The text says the right thing in another way: white space, another order, a member twice.
    #[error("the text is not canonical JSON from byte {at} on; a signed text has exactly one form")]
    NotCanonical {
        /// The first byte that differs from the canonical text.
        at: usize,
    },
}

/// The canonical text of `value`.
///
/// # Errors
/// When the value holds a fraction or a member name that is not ASCII.
pub fn to_string(value: &impl Serialize) -> Result<String, CanonicalError> {
    let mut text = String::new();
    write(&serde_json::to_value(value)?, &mut text)?;
    Ok(text)
}

/// Parses a text that must be the canonical text of its value, so nothing in it is ignored.
///
/// # Errors
/// When the text is not JSON, not of type `T`, or not canonical.
pub fn from_slice<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes)?;
    let text = to_string(&value)?;
    if text.as_bytes() == bytes {
        return Ok(value);
    }
    let at = text.bytes().zip(bytes).take_while(|(ours, theirs)| ours == *theirs).count();
    Err(CanonicalError::NotCanonical { at })
}

fn write(value: &Value, text: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(b) => text.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) if n.is_i64() || n.is_u64() => text.push_str(&n.to_string()),
        Value::Number(n) => return Err(CanonicalError::Fraction(n.clone())),
        // serde_json's escapes are RFC 8785's: the two-character ones, \u00XX in lower case, and nothing else.
        Value::String(s) => text.push_str(&serde_json::to_string(s)?),
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(members) => {
            // Sorted here: another crate of the build may turn on serde_json's `preserve_order`.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (i, (name, member)) in sorted.into_iter().enumerate() {
                if !name.is_ascii() {
                    return Err(CanonicalError::Name(name.clone()));
                }
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&serde_json::to_string(name)?);
                text.push(':');
                write(member, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_in_another_form_is_refused_with_its_place() {
        type Map = BTreeMap<String, u64>;
        assert_eq!(from_slice::<Map>(br#"{"a":1,"b":2}"#).unwrap().len(), 2);
        for (text, place) in [
            (&br#"{"b":2,"a":1}"#[..], 2),
            (br#"{"a":1, "b":2}"#, 7),
            (br#"{"a":1,"a":1}"#, 6),
            (b"{\"a\":1}\n", 7),
            (br#"{"\u0061":1}"#, 2),
        ] {
            match from_slice::<Map>(text).unwrap_err() {
                CanonicalError::NotCanonical { at } => assert_eq!(at, place, "{}", text.escape_ascii()),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn fractions_are_refused() {
        assert!(matches!(to_string(&1.5), Err(CanonicalError::Fraction(_))));
    }

    proptest! {
        #[test]
        fn the_text_of_a_value_parses_to_that_value(map: BTreeMap<String, Vec<i64>>) {
            let map: BTreeMap<String, Vec<i64>> =
                map.into_iter().map(|(k, v)| (k.escape_default().to_string(), v)).collect();
            let text = to_string(&map).unwrap();
            prop_assert_eq!(from_slice::<BTreeMap<String, Vec<i64>>>(text.as_bytes()).unwrap(), map);
        }
    }
}
