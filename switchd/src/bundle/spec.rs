//! What the operator says of an application: a TOML file, beside what its image says.
//!
//! ```
//! let spec = r#"
//!     app = "agent"
//!     version = "1.4.0"
//!     args = ["/usr/bin/sluice", "agent"]
//!     capabilities = ["CAP_NET_ADMIN"]
//!     network = "host"
//!     tmpfs = ["/tmp", "/run"]
//!     ports = ["swp1", "swp2"]
//!     allow_degraded = false
//!     [limits]
//!     memory = "64M"
//!     pids = 64
//!     cpus = "0.5"
//!     [[mounts]]
//!     source = "/run/openvswitch"
//!     target = "/run/openvswitch"
//!     writable = true
//!     [health]
//!     exec = ["/usr/bin/sluice", "status"]
//!     timeout = "30s"
//!     soak = "10s"
//! "#;
//! let spec = sluice_switch::bundle::Spec::parse(spec).unwrap();
//! assert_eq!(spec.run.limits.memory, Some(64 << 20));
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use super::manifest::{AppName, Capability, Health, Limits, Mount, Network, PortName, Probe, Run, Version};
use crate::rootfs::RootPath;

/// The description of an application.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name.
    pub app: AppName,
    /// Its version.
    pub version: Version,
    /// The command, in place of the image's.
    pub args: Option<Vec<String>>,
    /// Environment, over the image's.
    pub env: BTreeMap<String, String>,
    /// The working directory, in place of the image's.
    pub cwd: Option<String>,
    /// The user, in place of the image's.
    pub user: Option<String>,
    /// How long it may take to end.
    pub stop_timeout_ms: u64,
    /// What it may do and use.
    pub run: Run,
    /// How to tell that it works.
    pub health: Option<Health>,
}

/// Why a description is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is no TOML, or a field is not known or not of its type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Several probes, or none.
    #[error("`health` has {0} of exec, tcp, http, file and running; give exactly one")]
    Probes(usize),
    /// Two mounts in one place.
    #[error("two of `mounts` and `tmpfs` have the target `/{0}`")]
    Target(RootPath),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    app: AppName,
    version: Version,
    args: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    user: Option<String>,
    #[serde(default = "ten_seconds")]
    stop_timeout: Duration,
    #[serde(default)]
    capabilities: BTreeSet<Capability>,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    tmpfs: Vec<Inside>,
    #[serde(default)]
    ports: BTreeSet<PortName>,
    #[serde(default)]
    allow_degraded: bool,
    #[serde(default)]
    limits: LimitsOf,
    #[serde(default)]
    mounts: Vec<MountOf>,
    health: Option<HealthOf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LimitsOf {
    memory: Option<Bytes>,
    pids: Option<u64>,
    cpus: Option<Cpus>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MountOf {
    source: String,
    target: Inside,
    #[serde(default)]
    writable: bool,
    #[serde(default)]
    file: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthOf {
    exec: Option<Vec<String>>,
    tcp: Option<String>,
    http: Option<String>,
    file: Option<String>,
    running: Option<bool>,
    #[serde(default = "thirty_seconds")]
    timeout: Duration,
    #[serde(default = "one_second")]
    interval: Duration,
    #[serde(default = "ten_seconds")]
    soak: Duration,
}

fn one_second() -> Duration {
    Duration(1_000)
}

fn ten_seconds() -> Duration {
    Duration(10_000)
}

fn thirty_seconds() -> Duration {
    Duration(30_000)
}

/// Milliseconds, from `10s`, `500ms` or `2m`.
#[derive(Clone, Copy)]
struct Duration(u64);

/// Bytes, from a number or `64M`.
struct Bytes(u64);

/// Thousandths of a processor, from `0.5`.
struct Cpus(u64);

/// An absolute path in the container.
struct Inside(RootPath);

/// A number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

fn duration(text: &str) -> Option<u64> {
    let (n, unit) = split(text)?;
    n.checked_mul(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    })
}

fn bytes(text: &str) -> Option<u64> {
    let (n, unit) = split(text)?;
    n.checked_mul(match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    })
}

/// `1`, `0.5`, `1.25`: exact, without a float.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || whole.is_empty() || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

macro_rules! from_text {
    ($type:ident, $parse:expr, $rule:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let wrong = || serde::de::Error::custom(format!("`{text}` is not {}", $rule));
                $parse(&text).map(Self).ok_or_else(wrong)
            }
        }
    };
}

from_text!(Duration, duration, "a time like \"500ms\", \"10s\" or \"2m\"");
from_text!(Bytes, bytes, "a size like \"65536\", \"64M\" or \"1G\"");
from_text!(Cpus, thousandths, "a number of processors like \"2\" or \"0.5\"");
from_text!(
    Inside,
    |text: &str| text.strip_prefix('/').and_then(|t| t.parse().ok()),
    "an absolute path without `.` and `..`"
);

impl Spec {
    /// Parses a description.
    ///
    /// # Errors
    /// With the line, the field and what it must be.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let file: File = toml::from_str(text)?;
        let mut mounts: Vec<Mount> = Vec::new();
        for mount in file.mounts {
            let MountOf { source, target, writable, file } = mount;
            mounts.push(Mount { target: target.0, source, writable, file });
        }
        mounts.sort();
        let tmpfs: BTreeSet<RootPath> = file.tmpfs.into_iter().map(|t| t.0).collect();
        let twice = mounts.windows(2).find(|pair| pair[0].target == pair[1].target).map(|pair| &pair[0]);
        if let Some(mount) = twice.or_else(|| mounts.iter().find(|m| tmpfs.contains(&m.target))) {
            return Err(SpecError::Target(mount.target.clone()));
        }
        let limits = Limits {
            memory: file.limits.memory.map(|b| b.0),
            pids: file.limits.pids,
            cpu_millis: file.limits.cpus.map(|c| c.0),
        };
        let run = Run {
            capabilities: file.capabilities,
            network: file.network,
            limits,
            mounts,
            tmpfs,
            ports: file.ports,
            allow_degraded: file.allow_degraded,
        };
        Ok(Self {
            app: file.app,
            version: file.version,
            args: file.args,
            env: file.env,
            cwd: file.cwd,
            user: file.user,
            stop_timeout_ms: file.stop_timeout.0,
            run,
            health: file.health.map(health).transpose()?,
        })
    }
}

fn health(of: HealthOf) -> Result<Health, SpecError> {
    let mut probes: Vec<Probe> = Vec::new();
    probes.extend(of.exec.map(Probe::Exec));
    probes.extend(of.tcp.map(Probe::Tcp));
    probes.extend(of.http.map(Probe::Http));
    probes.extend(of.file.map(Probe::File));
    probes.extend(of.running.filter(|r| *r).map(|_| Probe::Running));
    if probes.len() != 1 {
        return Err(SpecError::Probes(probes.len()));
    }
    let probe = probes.remove(0);
    Ok(Health { probe, timeout_ms: of.timeout.0, interval_ms: of.interval.0, soak_ms: of.soak.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(rest: &str) -> Result<Spec, String> {
        Spec::parse(&format!("app = \"a\"\nversion = \"1\"\n{rest}")).map_err(|e| e.to_string())
    }

    #[test]
    fn quantities_are_exact() {
        let spec = with("stop_timeout = \"2m\"\n[limits]\nmemory = \"64M\"\ncpus = \"1.25\"").unwrap();
        assert_eq!(spec.stop_timeout_ms, 120_000);
        assert_eq!(spec.run.limits, Limits { memory: Some(64 << 20), pids: None, cpu_millis: Some(1250) });
        for (bad, says) in [
            ("[limits]\nmemory = \"64X\"", "a size like"),
            ("[limits]\nmemory = \"99999999999G\"", "a size like"),
            ("[limits]\ncpus = \"0.1234\"", "a number of processors"),
            ("stop_timeout = \"1h\"", "a time like"),
            ("tmpfs = [\"tmp\"]", "an absolute path"),
            ("tmpfs = [\"/tmp/../etc\"]", "an absolute path"),
            ("capabilities = [\"NET_ADMIN\"]", "CAP_NET_ADMIN"),
            ("ports = [\"swp1/2\"]", "1 to 15 characters"),
            ("colour = 1", "unknown field `colour`"),
            ("[health]\ntimeout = \"1s\"", "0 of exec"),
            ("[health]\ntcp = \"a:1\"\nfile = \"/x\"", "2 of exec"),
            ("tmpfs = [\"/x\"]\n[[mounts]]\nsource = \"/y\"\ntarget = \"/x\"", "the target `/x`"),
        ] {
            let error = with(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn names_and_versions_have_rules() {
        for (app, version) in
            [("", "1"), ("A", "1"), ("1a", "1"), ("../x", "1"), ("a", ""), ("a", "-1"), ("a", "1/2")]
        {
            assert!(
                Spec::parse(&format!("app = \"{app}\"\nversion = \"{version}\"")).is_err(),
                "{app} {version}"
            );
        }
    }
}
