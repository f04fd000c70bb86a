//! Which switch this is, and what on it has names like ours.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Check, Finding, Needs, Place};
use crate::autostart;

/// The kind of system on the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Cumulus Linux: its own `switchd` moves kernel state to the ASIC.
    Cumulus,
    /// SONiC: links and VLANs are its database's.
    Sonic,
    /// DENT: the kernel's switchdev drivers.
    Dent,
    /// Linux.
    Plain,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cumulus => "cumulus",
            Self::Sonic => "sonic",
            Self::Dent => "dent",
            Self::Plain => "plain",
        })
    }
}

/// Files that only one kind of switch has.
const SIGNS: [&str; 6] = [
    "/etc/cumulus",
    "/cumulus/switchd",
    "/etc/sonic/sonic_version.yml",
    "/etc/sonic/config_db.json",
    "/etc/onl/platform",
    "/etc/dent-release",
];

/// The system on the switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwitchOs {
    /// ID, NAME, VERSION_ID and PRETTY_NAME of os-release(5).
    pub release: BTreeMap<String, String>,
    /// Those of the known files that are there.
    pub files: Vec<String>,
}

impl SwitchOs {
    /// What kind of switch it is.
    pub fn profile(&self) -> Profile {
        let file = |start: &str| self.files.iter().any(|f| f.starts_with(start));
        let named = |name: &str| {
            ["ID", "NAME"]
                .iter()
                .any(|key| self.release.get(*key).is_some_and(|v| v.to_ascii_lowercase().contains(name)))
        };
        if file("/etc/sonic") || named("sonic") {
            Profile::Sonic
        } else if file("/etc/cumulus") || file("/cumulus") || named("cumulus") {
            Profile::Cumulus
        // DENT is Open Network Linux with switchdev drivers.
        } else if file("/etc/dent") || file("/etc/onl") || named("dent") {
            Profile::Dent
        } else {
            Profile::Plain
        }
    }
}

impl Check for SwitchOs {
    fn gather(place: &Place, _: &Needs) -> Self {
        let text = place.read("/etc/os-release");
        let field = |line: &str| {
            let (key, value) = line.split_once('=')?;
            let wanted = ["ID", "NAME", "VERSION_ID", "PRETTY_NAME"].contains(&key);
            wanted.then(|| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        };
        Self { release: text.lines().filter_map(field).collect(), files: place.existing(&SIGNS) }
    }

    fn judge(&self, _: &Needs) -> Vec<Finding> {
        let name = self.release.get("PRETTY_NAME").or_else(|| self.release.get("NAME"));
        let name = name.map_or("a system without os-release(5)", String::as_str);
        let means = match self.profile() {
            Profile::Cumulus => "its switchd moves bridges and tunnels of the kernel to the ASIC",
            Profile::Sonic => {
                "networks are made through its CONFIG_DB, and its fdbsyncd takes the kernel's FDB entries"
            }
            Profile::Dent => "switchdev drivers move bridges and tunnels of the kernel to the ASIC",
            Profile::Plain => "no network system of a switch; the kernel itself forwards",
        };
        vec![Finding::ok("system", format!("{name}, profile {}: {means}", self.profile()))]
    }
}

/// Where Cumulus has what is called `switchd`, and where others may have it.
const SWITCHD: [&str; 8] = [
    "/usr/sbin/switchd",
    "/sbin/switchd",
    "/lib/systemd/system/switchd.service",
    "/usr/lib/systemd/system/switchd.service",
    "/etc/systemd/system/switchd.service",
    "/etc/init.d/switchd",
    "/etc/cumulus/switchd.conf",
    "/cumulus/switchd",
];

/// What has names like ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Names {
    /// Where a `switchd` is that is not ours, as none is.
    pub switchd: Vec<String>,
    /// Whether a process of that name runs.
    pub runs: bool,
    /// Files in places of ours that we did not write.
    pub taken: Vec<String>,
}

impl Check for Names {
    fn gather(place: &Place, _: &Needs) -> Self {
        let name = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("comm")).ok();
        let processes = std::fs::read_dir(place.path("/proc")).into_iter().flatten().flatten();
        Self {
            switchd: place.existing(&SWITCHD),
            runs: processes.filter_map(name).any(|name| name.trim() == "switchd"),
            taken: autostart::taken(&place.root),
        }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let app = needs.bundle.as_deref().and_then(|b| b.split(' ').next());
        if app == Some("switchd") || needs.command.as_deref() == Some("switchd") {
            return vec![Finding::fail(
                "names",
                "the bundle's application or its command is called `switchd`, as Cumulus's own daemon is",
                "give it another name",
            )];
        }
        if let [path, ..] = self.taken.as_slice() {
            return vec![Finding::fail(
                "names",
                format!("`{path}` is there, and sluice-switch did not write it"),
                "move it away: `sluice-switch autostart` would write there",
            )];
        }
        vec![match (self.switchd.as_slice(), self.runs) {
            ([], false) => Finding::ok("names", "nothing has a name of ours"),
            ([], true) => {
                Finding::ok("names", "a process switchd of the switch's own; nothing of ours is called so")
            }
            (paths, _) => {
                let paths = paths.join(", ");
                Finding::ok(
                    "names",
                    format!("a switchd of the switch's own ({paths}); nothing of ours is called so"),
                )
            }
        }]
    }
}
