//! Repairs that harm nobody: what is missing is made, and nothing that is there is changed.
//!
//! Old boxes boot without control groups mounted, and runtimes refuse to work then. What systemd does elsewhere is
//! done here: a tmpfs on /sys/fs/cgroup and below it every controller that the kernel was booted with. A reboot undoes
//! it, so `up --fix`, which `autostart` writes into what runs at boot, does it again.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};
use serde::Serialize;

use super::Facts;
use crate::runtime::Cgroups;

const ROOT: &str = "/sys/fs/cgroup";

/// Something that can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// A tmpfs in which controllers are mounted.
    MountRoot,
    /// Controllers of version 1 that go together.
    MountControllers(Vec<String>),
    /// Version 2, where the kernel has no version 1.
    MountVersion2,
    /// The directory for releases.
    MakeDirectory(PathBuf),
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MountRoot => write!(f, "mount a tmpfs on {ROOT}"),
            Self::MountControllers(names) => {
                write!(f, "mount the controller {0} on {ROOT}/{0}", names.join(","))
            }
            Self::MountVersion2 => write!(f, "mount control groups, version 2, on {ROOT}"),
            Self::MakeDirectory(path) => write!(f, "make the directory `{}`", path.display()),
        }
    }
}

/// Why a repair failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {repair}: {source}; {}", match source.kind() {
    io::ErrorKind::PermissionDenied => "run it as root",
    io::ErrorKind::ResourceBusy => "another hierarchy of control groups has it",
    _ => "the kernel log may say more",
})]
pub struct RepairError {
    /// What was tried.
    pub repair: Repair,
    /// Why it failed.
    pub source: io::Error,
}

/// What became of a repair.
#[derive(Debug, Serialize)]
pub struct Fixed {
    /// What was tried.
    pub repair: Repair,
    /// Why it failed; `None` when it was done.
    pub error: Option<String>,
}

/// What can be made good. Nothing, when everything that can be is: repairing twice is repairing once.
pub fn plan(facts: &Facts) -> Vec<Repair> {
    let mut repairs = Vec::new();
    let cgroups = facts.cgroups.cgroups();
    // Version 2 alone is complete: its controllers need no mounts.
    if !matches!(cgroups, Cgroups::V2(_)) {
        let mut missing: Vec<_> =
            facts.cgroups.subsystems.iter().filter(|s| s.enabled && !cgroups.has(&s.name)).collect();
        let mut groups: Vec<Vec<String>> = Vec::new();
        while let Some(first) = missing.first().copied() {
            // Those of one hierarchy are mounted together or not at all; 0 is that of those which are in none.
            let (together, rest): (Vec<_>, Vec<_>) = missing
                .into_iter()
                .partition(|s| s.name == first.name || (s.hierarchy != 0 && s.hierarchy == first.hierarchy));
            groups.push(together.into_iter().map(|s| s.name.clone()).collect());
            missing = rest;
        }
        let root = facts.cgroups.mounts().any(|(point, _)| point == ROOT);
        if groups.is_empty() && cgroups == Cgroups::None && facts.cgroups.version_2 {
            repairs.push(Repair::MountVersion2);
        } else if !groups.is_empty() && !root {
            repairs.push(Repair::MountRoot);
        }
        repairs.extend(groups.into_iter().map(Repair::MountControllers));
    }
    let disk = &facts.disk;
    if !disk.state.is_empty() && !disk.exists && !disk.read_only {
        repairs.push(Repair::MakeDirectory(PathBuf::from(&disk.state)));
    }
    repairs
}

/// Does a repair.
///
/// # Errors
/// When the system refuses it. Nothing is then left of it.
pub fn apply(repair: &Repair) -> Result<(), RepairError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let done = match repair {
        Repair::MountRoot => mount("tmpfs", ROOT, "tmpfs", flags, Some(c"mode=755")).map_err(io::Error::from),
        Repair::MountVersion2 => mount("cgroup2", ROOT, "cgroup2", flags, None).map_err(io::Error::from),
        Repair::MountControllers(names) => controllers(names, flags),
        Repair::MakeDirectory(path) => fs::create_dir_all(path),
    };
    done.map_err(|source| RepairError { repair: repair.clone(), source })
}

fn controllers(names: &[String], flags: MountFlags) -> io::Result<()> {
    let together = names.join(",");
    let directory = Path::new(ROOT).join(&together);
    fs::create_dir_all(&directory)?;
    let options = CString::new(together.clone())?;
    if let Err(error) = mount("cgroup", &directory, "cgroup", flags, Some(options.as_c_str())) {
        let _ = fs::remove_dir(&directory);
        return Err(error.into());
    }
    if names.len() > 1 {
        for name in names {
            std::os::unix::fs::symlink(&together, Path::new(ROOT).join(name))?;
        }
    }
    Ok(())
}
