//! Reading a request's JSON: every refusal names the field, the value and what is wanted.
//!
//! Unknown fields are ignored, and `null` is the same as absent, as in Go's decoder, which is on the other side.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

/// A request that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No body at all. dockerd sends that when it repeats a call whose answer was lost: taking it for a request
    /// makes `docker run` succeed with an endpoint that nobody has heard of.
    #[error(
        "the request has no body; Docker sends that when it repeats a call whose answer was lost: \
         run the docker command again"
    )]
    Empty,
    /// The body is not JSON, or is cut off.
    #[error("the request's body is not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// A field that is needed is absent.
    #[error("{field} is missing: {wanted}")]
    Missing {
        /// The field's path.
        field: String,
        /// What is wanted in it.
        wanted: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("{field} is {value}: {wanted}")]
    Invalid {
        /// The field's path.
        field: String,
        /// The value as JSON, shortened.
        value: String,
        /// What is wanted in it.
        wanted: String,
    },
}

/// The longest part of a value that an error repeats, in characters.
const SHOWN: usize = 100;

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// An object of a request, with its path in the request.
#[derive(Debug)]
pub(super) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads a whole request body.
    pub(super) fn from_body(body: &[u8]) -> Result<Fields, RequestError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(RequestError::Empty);
        }
        match serde_json::from_slice(body).map_err(RequestError::Syntax)? {
            Value::Object(map) => Ok(Fields { path: String::new(), map }),
            other => Err(RequestError::Invalid {
                field: "the request".to_owned(),
                value: shown(&other),
                wanted: "a JSON object is wanted".to_owned(),
            }),
        }
    }

    fn path(&self, key: &str) -> String {
        // Docker's option keys have dots themselves.
        let quoted = key.contains('.');
        match (self.path.is_empty(), quoted) {
            (true, _) => key.to_owned(),
            (false, true) => format!("{}[{key:?}]", self.path),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    /// The error for a value of this object.
    pub(super) fn invalid(&self, key: &str, value: &Value, wanted: impl fmt::Display) -> RequestError {
        RequestError::Invalid { field: self.path(key), value: shown(value), wanted: wanted.to_string() }
    }

    /// Takes a value out; `null` is absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// A string; absent is empty, which is what Go sends for "none".
    pub(super) fn text(&mut self, key: &str, wanted: &str) -> Result<Option<String>, RequestError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(key, &other, wanted)),
        }
    }

    /// A string that parses, or none if it is absent or empty.
    pub(super) fn parsed<T>(&mut self, key: &str, wanted: &'static str) -> Result<Option<T>, RequestError>
    where
        T: FromStr,
    {
        let Some(text) = self.text(key, wanted)? else { return Ok(None) };
        match text.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => Err(self.invalid(key, &Value::String(text), wanted)),
        }
    }

    /// A string that is there and parses.
    pub(super) fn required<T>(&mut self, key: &str, wanted: &'static str) -> Result<T, RequestError>
    where
        T: FromStr,
    {
        self.parsed(key, wanted)?.ok_or_else(|| RequestError::Missing { field: self.path(key), wanted })
    }

    /// A truth value, if it is there. Docker's API clients write some of them as text.
    pub(super) fn truth(&mut self, key: &str) -> Result<Option<bool>, RequestError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(truth)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(self.invalid(key, &other, "true or false is wanted")),
        }
    }

    /// A number in the range of `T`; absent is zero.
    pub(super) fn number<T>(&mut self, key: &str, wanted: &'static str) -> Result<T, RequestError>
    where
        T: TryFrom<u64> + Default,
    {
        let Some(value) = self.take(key) else { return Ok(T::default()) };
        value
            .as_u64()
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.invalid(key, &value, wanted))
    }

    /// An object; absent is empty.
    pub(super) fn object(&mut self, key: &str) -> Result<Fields, RequestError> {
        let path = self.path(key);
        match self.take(key) {
            None => Ok(Fields { path, map: Map::new() }),
            Some(Value::Object(map)) => Ok(Fields { path, map }),
            Some(other) => Err(self.invalid(key, &other, "an object is wanted")),
        }
    }

    /// An array of objects; absent is empty.
    pub(super) fn objects(&mut self, key: &str) -> Result<Vec<Fields>, RequestError> {
        self.items(key, "an array of objects is wanted", |path, item| match item {
            Value::Object(map) => Ok(Fields { path, map }),
            other => Err(other),
        })
    }

    /// An array of strings; absent is empty.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, RequestError> {
        self.items(key, "an array of strings is wanted", |_, item| match item {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
    }

    fn items<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl Fn(String, Value) -> Result<T, Value>,
    ) -> Result<Vec<T>, RequestError> {
        let items = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.invalid(key, &other, wanted)),
        };
        let array = self.path(key);
        let mut read_items = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{array}[{index}]");
            read_items.push(read(path.clone(), item).map_err(|other| RequestError::Invalid {
                field: path,
                value: shown(&other),
                wanted: wanted.to_owned(),
            })?);
        }
        Ok(read_items)
    }

    /// What is left, each value parsed from its text.
    pub(super) fn into_parsed<T>(self, wanted: &'static str) -> Result<BTreeMap<String, T>, RequestError>
    where
        T: FromStr,
    {
        let mut parsed = BTreeMap::new();
        for (key, value) in &self.map {
            let item = value.as_str().and_then(|text| text.parse().ok());
            parsed.insert(key.clone(), item.ok_or_else(|| self.invalid(key, value, wanted))?);
        }
        Ok(parsed)
    }

    /// What is left, as strings.
    pub(super) fn into_texts(self) -> Result<BTreeMap<String, String>, RequestError> {
        self.into_parsed("a string is wanted")
    }

    /// Takes out what is under keys that `of` selects and is a string; leaves the rest.
    pub(super) fn take_texts(&mut self, of: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        self.map.retain(|key, value| match value {
            Value::String(text) if of(key) => {
                texts.insert(key.clone(), std::mem::take(text));
                false
            }
            _ => !of(key),
        });
        texts
    }
}
