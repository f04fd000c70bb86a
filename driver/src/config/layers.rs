//! Flags over environment over file over defaults: which value of a key counts, and where it came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys::{self, CONFIG, KEYS, Key, Shape};
use super::{ConfigError, Origin};

/// The texts that a key was given, with their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) texts: Vec<String>,
    pub(super) origin: Origin,
}

/// The value that counts for each key; a key that nobody gave and that has no default is absent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Layers {
    values: BTreeMap<&'static str, Given>,
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// Puts the layers together. `flags` has the texts of the flags that were given, by key.
    pub(super) fn collect(
        flags: &BTreeMap<&'static str, Vec<String>>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Layers, ConfigError> {
        let mut layers = Layers::default();
        for key in KEYS {
            if !key.default.is_empty() {
                let texts = key.default.iter().map(|text| (*text).to_owned()).collect();
                layers.values.insert(key.name, Given { texts, origin: Origin::Default });
            }
        }
        let (variables, config_variable) = layers.read_environment(environment)?;
        let file = match (flags.get(CONFIG).and_then(|texts| texts.first()), config_variable) {
            (Some(path), _) => Some((PathBuf::from(path), Origin::Flag(CONFIG.to_owned()))),
            (None, Some(path)) => Some((path, Origin::Variable("SLUICE_CONFIG".to_owned()))),
            (None, None) => None,
        };
        if let Some((path, origin)) = file {
            let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable {
                path: path.clone(),
                origin,
                source,
            })?;
            layers.values.extend(parse_file(&path, &text)?);
        }
        layers.values.extend(variables);
        for (name, texts) in flags {
            if let Some(key) = keys::key(name) {
                let given = Given { texts: texts.clone(), origin: Origin::Flag((*name).to_owned()) };
                layers.values.insert(key.name, given);
            }
        }
        Ok(layers)
    }

    /// The variables that are keys. An empty one counts as not set, as service managers write it.
    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(BTreeMap<&'static str, Given>, Option<PathBuf>), ConfigError> {
        let (mut values, mut config) = (BTreeMap::new(), None);
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with("SLUICE_")) else { continue };
            if value.is_empty() {
                continue;
            }
            if name == "SLUICE_CONFIG" {
                config = Some(PathBuf::from(value));
                continue;
            }
            let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
                if let Some(meant) = keys::nearest(&name["SLUICE_".len()..]) {
                    let meant = meant.variable();
                    self.warnings.push(format!(
                        "environment variable {name} means nothing to sluice: did you mean {meant}?"
                    ));
                }
                continue;
            };
            let origin = Origin::Variable(name.to_owned());
            let text = value.into_string().map_err(|value| ConfigError::Value {
                key: key.name,
                value: value.to_string_lossy().into_owned(),
                wanted: "text in UTF-8 is wanted".to_owned(),
                origin: origin.clone(),
            })?;
            let texts = match key.shape {
                Shape::List => text.split(',').map(|part| part.trim().to_owned()).collect(),
                Shape::Text | Shape::Switch => vec![text],
            };
            values.insert(key.name, Given { texts, origin });
        }
        Ok((values, config))
    }

    /// The value that counts, if there is one.
    pub(super) fn given(&self, key: &'static str) -> Option<&Given> {
        debug_assert!(keys::key(key).is_some(), "{key} is not in the table of keys");
        self.values.get(key)
    }

    /// Sets what a key has when nobody gave it anything.
    pub(super) fn set_default(&mut self, key: &'static str, text: String, origin: Origin) {
        self.values.entry(key).or_insert(Given { texts: vec![text], origin });
    }

    /// True if a flag or a variable gave the key its value.
    pub(super) fn is_from_caller(&self, key: &'static str) -> bool {
        self.given(key).is_some_and(|given| matches!(given.origin, Origin::Flag(_) | Origin::Variable(_)))
    }

    /// All values as a TOML document that means the same, with the origins as comments.
    pub(super) fn to_toml(&self) -> String {
        let mut document = String::new();
        for key in KEYS {
            match self.values.get(key.name) {
                Some(given) => {
                    let value = to_toml_value(key, &given.texts);
                    document += &format!("{} = {value}  # {}\n", key.name, given.origin);
                }
                None => document += &format!("# {} is not set\n", key.name),
            }
        }
        document
    }
}

fn to_toml_value(key: &Key, texts: &[String]) -> String {
    let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
    match key.shape {
        Shape::Text => texts.first().map(quoted).unwrap_or_default(),
        Shape::Switch => texts.first().cloned().unwrap_or_default(),
        Shape::List => format!("[{}]", texts.iter().map(quoted).collect::<Vec<_>>().join(", ")),
    }
}

fn parse_file(path: &Path, text: &str) -> Result<BTreeMap<&'static str, Given>, ConfigError> {
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(span.start)),
        message: error.message().to_owned(),
    })?;
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    // The first mistake in the file is told first.
    entries.sort_by_key(|(name, _)| name.span().start);
    let mut values = BTreeMap::new();
    for (name, value) in entries {
        let line = line_of(name.span().start);
        let key = keys::key(name.get_ref()).ok_or_else(|| ConfigError::UnknownKey {
            path: path.to_owned(),
            line,
            key: name.get_ref().to_string(),
        })?;
        let origin = Origin::File(path.to_owned(), line);
        let texts = texts_of(key, value.get_ref()).ok_or_else(|| ConfigError::Value {
            key: key.name,
            value: text[value.span()].trim().to_owned(),
            wanted: match key.shape {
                Shape::Text => "a string in quotes is wanted",
                Shape::Switch => "true or false is wanted, without quotes",
                Shape::List => "an array of strings is wanted, as in [\"10.192.0.0/10/20\"]",
            }
            .to_owned(),
            origin: origin.clone(),
        })?;
        values.insert(key.name, Given { texts, origin });
    }
    Ok(values)
}

fn texts_of(key: &Key, value: &DeValue<'_>) -> Option<Vec<String>> {
    match (key.shape, value) {
        (Shape::Text, DeValue::String(text)) => Some(vec![text.to_string()]),
        (Shape::Switch, DeValue::Boolean(on)) => Some(vec![on.to_string()]),
        (Shape::List, DeValue::Array(elements)) => elements
            .iter()
            .map(|element| match element.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}
