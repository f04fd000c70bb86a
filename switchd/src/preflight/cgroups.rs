//! Control groups: what is mounted, and what the kernel could mount.

use serde::{Deserialize, Serialize};

use super::{Check, Finding, Needs, Place};
use crate::runtime::{Cgroups, Degraded};

const CHECK: &str = "control groups";

/// The control groups of a switch, as its own files tell of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlGroups {
    /// The lines of /proc/self/mountinfo about /sys/fs/cgroup and about file systems of control groups.
    pub mountinfo: Vec<String>,
    /// The rows of /proc/cgroups.
    pub subsystems: Vec<Subsystem>,
    /// cgroup.controllers of version 2's root.
    pub controllers: String,
    /// Whether the kernel has version 2.
    pub version_2: bool,
}

/// A row of /proc/cgroups (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subsystem {
    /// The controller.
    pub name: String,
    /// The hierarchy of version 1 that it is in; those in one can only be mounted together.
    pub hierarchy: u32,
    /// Whether the kernel was booted with it.
    pub enabled: bool,
}

impl Subsystem {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let name = fields.next().filter(|name| !name.starts_with('#'))?.to_owned();
        let hierarchy = fields.next()?.parse().ok()?;
        let enabled = fields.nth(1)? == "1";
        Some(Self { name, hierarchy, enabled })
    }
}

impl ControlGroups {
    /// What containers meet.
    pub fn cgroups(&self) -> Cgroups {
        Cgroups::parse(&self.mountinfo.join("\n"), &self.controllers)
    }

    /// Whether both versions are mounted.
    pub fn hybrid(&self) -> bool {
        matches!(self.cgroups(), Cgroups::V1(_)) && self.mounts().any(|(_, kind)| kind == "cgroup2")
    }

    /// Mount points and kinds.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mountinfo.iter().filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            Some((left.split(' ').nth(4)?, right.split(' ').next()?))
        })
    }

    /// What to do about a controller that is not there.
    fn remedy(&self, controller: &str) -> String {
        match self.subsystems.iter().find(|s| s.name == controller) {
            Some(s) if s.enabled && !matches!(self.cgroups(), Cgroups::V2(_)) => {
                "run `sluice-switch preflight --fix`, which mounts it, or agree with --allow-degraded"
                    .to_owned()
            }
            Some(s) if !s.enabled => format!(
                "/proc/cgroups says that the kernel was booted without it: add cgroup_enable={controller} to the \
                 kernel's command line and reboot, or agree with --allow-degraded"
            ),
            _ => "another kernel would have it; agree with --allow-degraded".to_owned(),
        }
    }
}

impl Check for ControlGroups {
    fn gather(place: &Place, _: &Needs) -> Self {
        let ours = |line: &&str| {
            line.split_once(" - ").is_some_and(|(left, right)| {
                right.starts_with("cgroup") || left.split(' ').nth(4) == Some("/sys/fs/cgroup")
            })
        };
        Self {
            mountinfo: place.read("/proc/self/mountinfo").lines().filter(ours).map(str::to_owned).collect(),
            subsystems: place.read("/proc/cgroups").lines().filter_map(Subsystem::parse).collect(),
            controllers: place.read("/sys/fs/cgroup/cgroup.controllers").trim().to_owned(),
            version_2: place.read("/proc/filesystems").lines().any(|line| line.trim() == "nodev\tcgroup2"),
        }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let cgroups = self.cgroups();
        let list = |set: &std::collections::BTreeSet<String>| {
            // In version 1 they are among other options of the mount.
            let known = |name: &&str| {
                matches!(cgroups, Cgroups::V2(_)) || self.subsystems.iter().any(|s| s.name == *name)
            };
            let names: Vec<&str> = set.iter().map(String::as_str).filter(known).collect();
            names.join(", ")
        };
        let mut findings = vec![match &cgroups {
            Cgroups::None if self.subsystems.iter().any(|s| s.enabled) || self.version_2 => {
                return vec![Finding::fail(
                    CHECK,
                    "none are mounted, and runtimes refuse to work without",
                    "run `sluice-switch preflight --fix`, which mounts them",
                )];
            }
            Cgroups::None => {
                return vec![Finding::fail(
                    CHECK,
                    "this kernel has none, and runtimes refuse to work without",
                    "use a kernel with CONFIG_CGROUPS",
                )];
            }
            Cgroups::V1(set) if self.hybrid() => {
                Finding::ok(CHECK, format!("version 1 beside version 2: {}", list(set)))
            }
            Cgroups::V1(set) => Finding::ok(CHECK, format!("version 1: {}", list(set))),
            Cgroups::V2(set) => Finding::ok(CHECK, format!("version 2: {}", list(set))),
        }];
        for (check, wanted, degraded) in [
            ("memory limit", needs.limits.memory, Degraded::MEMORY),
            ("pids limit", needs.limits.pids, Degraded::PIDS),
            ("cpu limit", needs.limits.cpu_millis, Degraded::CPU),
        ] {
            if wanted.is_none() && !needs.any() {
                continue;
            }
            findings.push(if cgroups.has(degraded.controller) {
                Finding::ok(check, format!("the {} controller holds it", degraded.controller))
            } else {
                Finding::degraded(check, degraded.to_string(), self.remedy(degraded.controller))
            });
        }
        findings
    }
}
