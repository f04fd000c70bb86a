//! What SONiC asks of a package and a bundle does not know: other packages, and the order at boot.
//!
//! ```
//! let text = r#"
//!     description = "sluice agent"
//!     depends = ["swss>=1.0.0,<2.0.0"]
//!     base-os = { libswsscommon = "^1.0.0" }
//!     [service]
//!     after = ["swss", "syncd"]
//!     warm-shutdown = { before = ["swss"] }
//! "#;
//! let package = sluice_switch::export::SonicPackage::parse(text).unwrap();
//! assert_eq!(package.depends[0].to_string(), "swss>=1.0.0,<2.0.0");
//! assert!(package.service.host_service);
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What only SONiC asks. The default is a package that needs no other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SonicPackage {
    /// For people; the name and the version when empty.
    pub description: String,
    /// Libraries of the base image, and which versions.
    pub base_os: BTreeMap<String, Constraint>,
    /// Packages that must be there.
    pub depends: Vec<Dependency>,
    /// Packages that must not be there.
    pub breaks: Vec<Dependency>,
    /// The unit.
    pub service: SonicService,
}

impl SonicPackage {
    /// Parses a TOML file.
    ///
    /// # Errors
    /// With the line, the field and what it must be.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// The unit of a package, by systemd's words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SonicService {
    /// `Requires=`.
    pub requires: Vec<ServiceName>,
    /// `Requisite=`.
    pub requisite: Vec<ServiceName>,
    /// `WantedBy=`, besides sonic.target.
    pub wanted_by: Vec<ServiceName>,
    /// `After=`.
    pub after: Vec<ServiceName>,
    /// `Before=`.
    pub before: Vec<ServiceName>,
    /// Services that start and stop with this one.
    pub dependent: Vec<ServiceName>,
    /// Services with which this one starts and stops, unless at a warm restart.
    pub dependent_of: Vec<ServiceName>,
    /// One instance for each ASIC, in its network namespace.
    pub asic_service: bool,
    /// One instance in the switch's own network namespace.
    pub host_service: bool,
    /// Not before the ports are up.
    pub delayed: bool,
    /// The order at a warm reboot.
    pub warm_shutdown: SonicOrder,
    /// The order at a fast reboot.
    pub fast_shutdown: SonicOrder,
}

impl Default for SonicService {
    fn default() -> Self {
        Self {
            requires: Vec::new(),
            requisite: Vec::new(),
            wanted_by: Vec::new(),
            after: Vec::new(),
            before: Vec::new(),
            dependent: Vec::new(),
            dependent_of: Vec::new(),
            asic_service: false,
            host_service: true,
            delayed: false,
            warm_shutdown: SonicOrder::default(),
            fast_shutdown: SonicOrder::default(),
        }
    }
}

/// When a service is stopped, with regard to others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SonicOrder {
    /// After these.
    pub after: Vec<ServiceName>,
    /// Before these.
    pub before: Vec<ServiceName>,
}

/// The name of a service, which SONiC puts into units and scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(String);

/// Another package, and which of its versions: `swss`, or `swss>=1.0.0,<2.0.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package.
    pub name: String,
    /// The versions.
    pub version: Constraint,
}

/// Which versions: `*`, or comparisons with commas between them, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint(String);

/// Two characters come before one: `>=` is not `>`.
const OPERATORS: [&str; 10] = ["==", ">=", "<=", "!=", "~=", ">", "<", "=", "^", "~"];

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
        if !text.is_empty()
            && !text.starts_with('-')
            && !text.ends_with(".service")
            && text.chars().all(plain)
        {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is no name of a service: write it without `.service`, like swss"))
    }
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let holds = |block: &str| {
            let operator = OPERATORS.iter().find(|operator| block.starts_with(**operator));
            comparable(&block[operator.map_or(0, |operator| operator.len())..])
        };
        if text == "*" || text.split(',').all(holds) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is no range of versions: write `*`, `>=1.0.0` or `>=1.0.0,<2.0.0`"))
    }
}

impl FromStr for Dependency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let end = text.find(|c: char| !plain(c)).unwrap_or(text.len());
        let (name, versions) = text.split_at(end);
        if name.is_empty() {
            return Err(format!("`{text}` names no package: write swss or swss>=1.0.0"));
        }
        let version = if versions.is_empty() { "*" } else { versions }.parse()?;
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.version.0 == "*" {
            f.write_str(&self.name)
        } else {
            write!(f, "{}{}", self.name, self.version)
        }
    }
}

macro_rules! from_text {
    ($($type:ident)*) => {
        $(impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}

from_text!(ServiceName Constraint Dependency);

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// As an object, the form of the design document.
impl Serialize for Dependency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("name", &self.name), ("version", &self.version.0)])
    }
}

/// Whether `text` is a version by Semantic Versioning 2.0.0: three numbers, then `-` and `+` with identifiers.
pub(super) fn semantic(text: &str) -> bool {
    let (numbers, before, build) = parts(text);
    let numbers: Vec<&str> = numbers.split('.').collect();
    // A number of a pre-release has no zero before it either (item 9); in a build's it may (item 10).
    let before =
        before.is_none_or(|list| list.split('.').all(|id| identifier(id) && (!digits(id) || number(id))));
    let build = build.is_none_or(|list| list.split('.').all(identifier));
    numbers.len() == 3 && numbers.into_iter().all(number) && before && build
}

/// Whether a version may be compared with `text`, which may leave out the last numbers.
fn comparable(text: &str) -> bool {
    let (numbers, before, build) = parts(text);
    let missing = 3_usize.saturating_sub(numbers.split('.').count());
    let whole = format!("{}{}{}", numbers, ".0".repeat(missing), &text[numbers.len()..]);
    semantic(&whole) && (missing == 0 || (before.is_none() && build.is_none()))
}

/// The numbers, what follows the first `-`, and what follows the first `+`.
fn parts(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    text.split_once('-').map_or((text, None, build), |(text, before)| (text, Some(before), build))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn number(text: &str) -> bool {
    digits(text) && (text == "0" || !text.starts_with('0'))
}

fn identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for good in ["0.0.0", "1.4.0", "1.0.0-rc.1", "1.0.0-0a", "1.0.0+0012", "1.0.0-a-b+c.d", "10.20.30"] {
            assert!(semantic(good), "{good}");
        }
        for bad in
            ["", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0+", "1.0.0-a..b", "v1.0.0"]
        {
            assert!(!semantic(bad), "{bad}");
        }
    }

    #[test]
    fn ranges_are_those_that_sonic_parses() {
        for good in ["*", "1", "=1.0", "^1.2.3", ">=1.0.0,<2.0.0", "!=1.2.2", "~=1.4", ">1.0.0-rc1"] {
            assert_eq!(good.parse::<Constraint>().unwrap().to_string(), good);
        }
        for bad in ["", "a", ">=", ">=a", "1.0.0,", ">= 1.0.0", "1.0-rc1", "=>1.0.0", "1.0.0.0"] {
            assert!(bad.parse::<Constraint>().is_err(), "{bad}");
        }
        let swss: Dependency = "swss>=1.0.0,!=1.2.2".parse().unwrap();
        assert_eq!((swss.name.as_str(), swss.version.0.as_str()), ("swss", ">=1.0.0,!=1.2.2"));
        assert_eq!("fpm-frr".parse::<Dependency>().unwrap().to_string(), "fpm-frr");
        assert!(">=1.0.0".parse::<Dependency>().is_err() && "swss 1".parse::<Dependency>().is_err());
    }

    #[test]
    fn names_of_services_need_no_quotes() {
        for bad in ["", "swss.service", "a b", "$(x)", "-x", "a;b", "ä"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
        assert!("interfaces-config".parse::<ServiceName>().is_ok());
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_place() {
        for (text, says) in [
            ("after = []", "unknown field `after`"),
            ("[service]\nafter = [\"a b\"]", "`a b` is no name of a service"),
            ("depends = [\"swss>a\"]", "`>a` is no range"),
            ("[service]\nprivileged = true", "unknown field `privileged`"),
        ] {
            let error = SonicPackage::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
