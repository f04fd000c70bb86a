//! Which limits this machine can hold.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;

use crate::bundle::Limits;

/// The control groups of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cgroups {
    /// None are mounted.
    None,
    /// Version 1, alone or beside version 2 ("hybrid"), with the controllers that are mounted.
    V1(BTreeSet<String>),
    /// Version 2 alone, with the controllers of its root.
    V2(BTreeSet<String>),
}

/// A limit that holds only in a weaker way, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// Which limit.
    pub limit: &'static str,
    /// The controller that is missing.
    pub controller: &'static str,
    /// What holds it instead; `None` when nothing does.
    pub instead: Option<&'static str>,
}

impl Degraded {
    /// Without the memory controller each process has its own limit of address space.
    pub const MEMORY: Self = Self { limit: "memory", controller: "memory", instead: Some("RLIMIT_AS") };
    /// `RLIMIT_NPROC` counts all processes of a user on the machine and does not bind root: no replacement.
    pub const PIDS: Self = Self { limit: "pids", controller: "pids", instead: None };
    /// Nothing else divides processor time.
    pub const CPU: Self = Self { limit: "cpu", controller: "cpu", instead: None };

    /// By the name of the limit.
    pub fn named(limit: &str) -> Option<Self> {
        [Self::MEMORY, Self::PIDS, Self::CPU].into_iter().find(|degraded| degraded.limit == limit)
    }
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, controller, instead } = self;
        write!(
            f,
            "the {limit} limit cannot be held by a control group, as the {controller} controller is not mounted"
        )?;
        match instead {
            Some(instead) => write!(f, "; {instead} holds it for each process alone"),
            None => f.write_str("; nothing holds it"),
        }
    }
}

/// How limits are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// Those that control groups hold.
    pub cgroup: Limits,
    /// Resource limits (getrlimit(2)) by name.
    pub rlimits: Vec<(&'static str, u64)>,
    /// Whether access to devices can be controlled.
    pub devices: bool,
    /// Whether there are control groups to put the container in.
    pub grouped: bool,
    /// What is weaker than asked for.
    pub degraded: Vec<Degraded>,
}

impl Cgroups {
    /// Those of this machine.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn detect() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let root = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        Ok(Self::parse(&mounts, &root))
    }

    /// From mountinfo (proc_pid_mountinfo(5)) and the root's cgroup.controllers (cgroup-v2.rst).
    pub fn parse(mountinfo: &str, controllers: &str) -> Self {
        let mut v1 = BTreeSet::new();
        let mut v2 = false;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup"), Some(options)) => {
                    // Among the options are `rw` and `name=systemd`; no controller is called so.
                    v1.extend(options.split(',').filter(|o| !o.contains('=')).map(str::to_owned));
                }
                (Some("cgroup2"), _) => v2 |= left.split(' ').nth(4) == Some("/sys/fs/cgroup"),
                _ => {}
            }
        }
        match (v1.is_empty(), v2) {
            (false, _) => Self::V1(v1),
            (true, true) => Self::V2(controllers.split_whitespace().map(str::to_owned).collect()),
            (true, false) => Self::None,
        }
    }

    /// Whether a controller is there.
    pub fn has(&self, controller: &str) -> bool {
        match self {
            Self::None => false,
            Self::V1(controllers) | Self::V2(controllers) => controllers.contains(controller),
        }
    }

    /// How each limit is held here.
    pub fn enforce(&self, limits: &Limits) -> Enforcement {
        // In version 2, devices are controlled by a program and need no controller.
        let devices = matches!(self, Self::V2(_)) || self.has("devices");
        let grouped = *self != Self::None;
        let mut result = Enforcement { cgroup: *limits, devices, grouped, ..Enforcement::default() };
        if let (Some(bytes), false) = (limits.memory, self.has("memory")) {
            result.cgroup.memory = None;
            result.rlimits.push(("RLIMIT_AS", bytes));
            result.degraded.push(Degraded::MEMORY);
        }
        if limits.pids.is_some() && !self.has("pids") {
            result.cgroup.pids = None;
            result.degraded.push(Degraded::PIDS);
        }
        if limits.cpu_millis.is_some() && !self.has("cpu") {
            result.cgroup.cpu_millis = None;
            result.degraded.push(Degraded::CPU);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
24 1 0:21 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:22 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
26 24 0:23 / /sys/fs/cgroup/pids rw,relatime shared:3 - cgroup pids rw,pids
27 24 0:24 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
28 24 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    const ALL: Limits = Limits { memory: Some(64 << 20), pids: Some(64), cpu_millis: Some(500) };

    #[test]
    fn a_missing_memory_controller_falls_back_and_says_so() {
        let enforcement = Cgroups::parse(V1, "").enforce(&ALL);
        assert_eq!(enforcement.cgroup, Limits { memory: None, ..ALL });
        assert_eq!(enforcement.rlimits, [("RLIMIT_AS", 64 << 20)]);
        assert!(!enforcement.devices && enforcement.grouped);
        assert_eq!(enforcement.degraded.len(), 1);
        let said = enforcement.degraded[0].to_string();
        assert!(said.contains("memory limit") && said.contains("RLIMIT_AS"), "{said}");
    }

    #[test]
    fn version_2_alone_is_read_from_its_root() {
        let mounts = "30 1 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let enforcement = Cgroups::parse(mounts, "cpuset cpu io memory pids\n").enforce(&ALL);
        assert_eq!(enforcement.cgroup, ALL);
        assert!(enforcement.devices && enforcement.degraded.is_empty() && enforcement.rlimits.is_empty());
        let enforcement = Cgroups::parse(mounts, "cpu pids\n").enforce(&ALL);
        assert_eq!(enforcement.rlimits, [("RLIMIT_AS", 64 << 20)]);
    }

    #[test]
    fn without_control_groups_every_limit_is_told() {
        let cgroups = Cgroups::parse("22 1 0:20 / /proc rw - proc proc rw\n", "");
        assert_eq!(cgroups, Cgroups::None);
        let limits: Vec<_> = cgroups.enforce(&ALL).degraded.iter().map(|d| (d.limit, d.instead)).collect();
        assert_eq!(limits, [("memory", Some("RLIMIT_AS")), ("pids", None), ("cpu", None)]);
        assert!(cgroups.enforce(&Limits::default()).degraded.is_empty(), "nothing was asked for");
    }

    #[test]
    fn this_machine_can_be_asked() {
        Cgroups::detect().unwrap();
    }
}
