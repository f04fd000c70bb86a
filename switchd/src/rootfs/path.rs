//! Paths inside a root file system, as values that cannot leave it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest path, without its NUL: Linux's PATH_MAX is 4,096 with it.
pub const MAX_PATH: usize = 4095;
/// The longest name of one component: Linux's NAME_MAX.
pub const MAX_NAME: usize = 255;
/// The most components. It bounds recursion over a tree; deep paths of real images have some twenty.
pub const MAX_DEPTH: usize = 256;

/// A path below a root: relative, at least one component, none of them empty, `.` or `..`.
///
/// The order is by component, so that a directory comes directly before what it holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RootPath(String);

/// Why a path cannot be one inside a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path names the root itself.
    #[error("the path is empty")]
    Empty,
    /// A component is `..`.
    #[error("the path climbs with `..`")]
    Climbs,
    /// Absolute, or with empty or `.` components, where only the plain form is allowed.
    #[error("the path is not in its plain form (no leading, double or trailing `/`, no `.`)")]
    NotPlain,
    /// Not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// A NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
    /// Too long for Linux.
    #[error("the path has {0} bytes, more than {MAX_PATH}")]
    Long(usize),
    /// A component is too long for Linux.
    #[error("a component of the path has {0} bytes, more than {MAX_NAME}")]
    LongName(usize),
    /// Too many components.
    #[error("the path has {0} components, more than {MAX_DEPTH}")]
    Deep(usize),
}

impl RootPath {
    /// A path from an archive that others made: a leading `/` and `.` components are dropped, as every extractor
    /// does. `None` is the root itself.
    ///
    /// # Errors
    /// For `..`, for what is not UTF-8, and for what Linux could not hold.
    pub fn from_archive(bytes: &[u8]) -> Result<Option<Self>, PathError> {
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if bytes.len() > MAX_PATH {
            return Err(PathError::Long(bytes.len()));
        }
        let text = str::from_utf8(bytes).map_err(|_| PathError::NotUtf8)?;
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.is_empty() {
            return Ok(None);
        }
        parts.join("/").parse().map(Some)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().expect("a path has a component")
    }

    /// The path of the directory that holds this one; `None` is the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The path of `name` in this directory.
    ///
    /// # Errors
    /// When the name is no single component or the path becomes too long.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        format!("{}/{name}", self.0).parse()
    }
}

impl FromStr for RootPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > MAX_PATH {
            return Err(PathError::Long(text.len()));
        }
        let mut depth = 0;
        for part in text.split('/') {
            depth += 1;
            match part {
                "" | "." => return Err(PathError::NotPlain),
                ".." => return Err(PathError::Climbs),
                _ if part.len() > MAX_NAME => return Err(PathError::LongName(part.len())),
                _ if part.contains('\0') => return Err(PathError::Nul),
                _ => {}
            }
        }
        if depth > MAX_DEPTH { Err(PathError::Deep(depth)) } else { Ok(Self(text.to_owned())) }
    }
}

impl Ord for RootPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for RootPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for RootPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RootPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_paths_become_plain_or_are_refused() {
        let plain = |s: &str| RootPath::from_archive(s.as_bytes()).map(|p| p.map(|p| p.to_string()));
        assert_eq!(plain("./a//b/"), Ok(Some("a/b".to_owned())));
        assert_eq!(plain("/etc/x"), Ok(Some("etc/x".to_owned())));
        assert_eq!(plain("./"), Ok(None));
        assert_eq!(plain("../a"), Err(PathError::Climbs));
        assert_eq!(plain("a/../../b"), Err(PathError::Climbs));
        assert_eq!(plain("a/.."), Err(PathError::Climbs));
        assert_eq!(plain(&"n".repeat(256)), Err(PathError::LongName(256)));
        assert_eq!(plain(&"n/".repeat(2048)), Err(PathError::Long(4096)));
        assert_eq!(plain(&"n/".repeat(257)), Err(PathError::Deep(257)));
        assert_eq!(RootPath::from_archive(b"a\xff"), Err(PathError::NotUtf8));
        assert_eq!(RootPath::from_archive(b"a\0b"), Err(PathError::Nul));
    }

    #[test]
    fn only_the_plain_form_parses() {
        for text in ["", "/a", "a/", "a//b", ".", "./a", "a/./b", "..", "a/.."] {
            assert!(text.parse::<RootPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_directory_comes_directly_before_what_it_holds() {
        let mut paths: Vec<RootPath> =
            ["a.b", "a/b", "a", "a-b", "a/b/c"].iter().map(|p| p.parse().unwrap()).collect();
        paths.sort();
        let texts: Vec<&str> = paths.iter().map(RootPath::as_str).collect();
        assert_eq!(texts, ["a", "a/b", "a/b/c", "a-b", "a.b"]);
    }
}
