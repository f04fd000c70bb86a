//! What a switch has and lacks, before anything is put on it.
//!
//! Each group of checks is a type that holds *facts*, what was read or tried on the switch, and judges them against
//! the [`Needs`] of a bundle. Facts are gathered on the switch ([`Check::gather`]); the judgement
//! ([`Check::judge`]) is a pure function, so facts that were recorded on one machine are judged on another:
//! `preflight --json` prints them, and `preflight --facts FILE` reads them.
//!
//! ```text
//! Place, Needs --gather--> Facts --judge(Needs)--> Report of Findings: ok, degraded or fail, with the remedy
//!                            \--plan--> Repairs --apply--> and again from the left
//! ```
//!
//! | group | what it looks at | how |
//! |---|---|---|
//! | [`Machine`] | processor architecture | uname(2), and this program's own |
//! | [`SystemCalls`] | what the kernel has | each is tried in a child: distributions carry calls to older versions |
//! | [`Runtimes`] | runc, libcontainer | runc is started; libcontainer depends on system calls |
//! | [`Disk`] | bytes, inodes, kind of file system | statvfs(3), mountinfo |
//! | [`ControlGroups`] | mode and controllers | mountinfo, /proc/cgroups |
//! | [`Boot`] | init system | files and process 1 |
//! | [`Clock`] | whether the time can be right | against the bundle's own time |
//! | [`SwitchOs`] | Cumulus, SONiC, DENT or plain | files |
//! | [`Names`] | what is there by names like ours | files and processes |
//! | [`Netlink`] | what the `linux` dataplane needs | tried in a network namespace of its own |
//! | [`Ports`] | interfaces and TCP ports that the bundle names | /sys/class/net, /proc/net |
//! | [`Paths`] | paths that the bundle mounts | looked at |
//!
//! ```
//! use sluice_switch::preflight::{Facts, Needs, Verdict};
//!
//! // Facts that were never gathered are those of a machine with nothing at all.
//! let report = Facts::default().judge(&Needs::default());
//! assert_eq!(report.verdict(), Verdict::Fail);
//! assert!(report.findings.iter().all(|f| f.verdict == Verdict::Ok || f.remedy.is_some()));
//! ```

mod boot;
mod cgroups;
mod disk;
mod fix;
mod names;
mod needs;
mod netlink;
mod platform;
mod ports;
mod rtnl;
mod runtimes;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use boot::{Boot, Clock, Init};
pub use cgroups::{ControlGroups, Subsystem};
pub use disk::Disk;
pub use fix::{Fixed, Repair, RepairError, apply, plan};
pub use names::{Names, Profile, SwitchOs};
pub use needs::Needs;
pub use netlink::Netlink;
pub use platform::{Machine, SystemCalls};
pub use ports::{Paths, Port, Ports};
pub use runtimes::Runtimes;

/// How good a finding is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    #[default]
    Ok,
    /// It works in a weaker way, which needs consent.
    Degraded,
    /// It does not work.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Fail => "fail",
        })
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; always there unless the verdict is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    fn degraded(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Degraded, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// Where facts are gathered.
#[derive(Debug, Clone)]
pub struct Place {
    /// The root of the files that are read: `/`, or a copy of a switch's.
    pub root: PathBuf,
    /// Where releases are kept.
    pub state: PathBuf,
    /// The runtime's program; `None` when libcontainer was asked for.
    pub runc: Option<PathBuf>,
    /// Whether libcontainer is used where there is no runc.
    pub libcontainer: bool,
}

impl Place {
    /// A path of the switch.
    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// A file's text; nothing when it cannot be read.
    fn read(&self, absolute: &str) -> String {
        std::fs::read_to_string(self.path(absolute)).unwrap_or_default()
    }

    /// Those of `paths` that exist.
    fn existing(&self, paths: &[&str]) -> Vec<String> {
        paths.iter().filter(|p| self.path(p).symlink_metadata().is_ok()).map(|p| (*p).to_owned()).collect()
    }
}

/// A group of checks: facts, and how they are judged.
pub trait Check: Serialize + DeserializeOwned + Default {
    /// Asks the machine. What cannot be found out is not there.
    fn gather(place: &Place, needs: &Needs) -> Self;

    /// What the facts mean for what is needed.
    fn judge(&self, needs: &Needs) -> Vec<Finding>;
}

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// Everything that was found out about a switch.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Facts {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Facts {
            /// Asks the machine.
            pub fn gather(place: &Place, needs: &Needs) -> Self {
                Self { $($name: Check::gather(place, needs),)* }
            }

            /// What the facts mean for what is needed.
            pub fn judge(&self, needs: &Needs) -> Report {
                let findings = [$(self.$name.judge(needs),)*].concat();
                Report { profile: self.os.profile(), findings }
            }
        }
    };
}

facts! {
    /// The architecture.
    machine: Machine,
    /// The kernel's system calls.
    calls: SystemCalls,
    /// The runtimes.
    runtimes: Runtimes,
    /// The disk.
    disk: Disk,
    /// The control groups.
    cgroups: ControlGroups,
    /// The init system.
    boot: Boot,
    /// The clock.
    clock: Clock,
    /// The switch's system.
    os: SwitchOs,
    /// What has names like ours.
    names: Names,
    /// The kernel's networking.
    netlink: Netlink,
    /// Interfaces and TCP ports.
    ports: Ports,
    /// Paths that are mounted.
    paths: Paths,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What kind of switch it is.
    pub profile: Profile,
    /// Line by line.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of the verdicts.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or_default()
    }

    /// Whether an application may be put on the switch.
    pub fn passes(&self, consent: bool) -> bool {
        match self.verdict() {
            Verdict::Ok => true,
            Verdict::Degraded => consent,
            Verdict::Fail => false,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, verdict, found, remedy } in &self.findings {
            writeln!(f, "{verdict:<9} {check:<14} {found}")?;
            if let Some(remedy) = remedy {
                writeln!(f, "{:<24} -> {remedy}", "")?;
            }
        }
        Ok(())
    }
}

/// The nearest directory above `path` that exists, or `path`.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests;
