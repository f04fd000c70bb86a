//! What happens when the switch starts, and what time it is.

use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Check, Finding, Needs, Place};

/// What starts things at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// systemd.
    Systemd,
    /// Scripts in /etc/init.d, run by links in /etc/rc?.d.
    Sysv,
    /// Nothing that we know.
    None,
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Systemd => "systemd",
            Self::Sysv => "sysv",
            Self::None => "none",
        })
    }
}

/// The init system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Boot {
    /// The name of process 1; empty where there is no /proc, as in a copy of a switch's files.
    pub process: String,
    /// Whether systemd runs (sd_booted(3)), or, in a copy of files, is installed.
    pub systemd: bool,
    /// Whether there are /etc/init.d and directories of links to it.
    pub scripts: bool,
    /// Whether there is /etc/cron.d.
    pub cron: bool,
}

impl Boot {
    /// Reads it from the files below `root`.
    pub fn read(root: &Path) -> Self {
        let is = |path: &str| root.join(path).is_dir();
        let process = std::fs::read_to_string(root.join("proc/1/comm")).unwrap_or_default().trim().to_owned();
        let installed = process.is_empty() && (is("lib/systemd/system") || is("usr/lib/systemd/system"));
        Self {
            systemd: is("run/systemd/system") || installed,
            scripts: is("etc/init.d") && is("etc/rc2.d"),
            cron: is("etc/cron.d"),
            process,
        }
    }

    /// What starts things at boot.
    pub fn init(&self) -> Init {
        match self.process.as_str() {
            _ if self.systemd => Init::Systemd,
            // In a container the scripts may be there and nobody runs them.
            "" | "init" if self.scripts => Init::Sysv,
            _ => Init::None,
        }
    }
}

impl Check for Boot {
    fn gather(place: &Place, _: &Needs) -> Self {
        Self::read(&place.root)
    }

    fn judge(&self, _: &Needs) -> Vec<Finding> {
        let advice = "`sluice-switch autostart enable` starts applications at boot";
        vec![match self.init() {
            Init::Systemd => Finding::ok("init system", format!("systemd; {advice}")),
            Init::Sysv => Finding::ok("init system", format!("scripts in /etc/init.d; {advice}")),
            Init::None => Finding::degraded(
                "init system",
                format!("process 1 is `{}`, which we cannot ask to start anything at boot", self.process),
                "`sluice-switch autostart enable` prints lines for cron; or call `sluice-switch up` at boot",
            ),
        }]
    }
}

/// The clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Seconds since 1970.
    pub now: u64,
}

/// No earlier time is right: 2026-01-01, before which there was no such program.
const EARLIEST: u64 = 1_767_225_600;
/// Nor a later one: 2100-01-01.
const LATEST: u64 = 4_102_444_800;

impl Check for Clock {
    fn gather(_: &Place, _: &Needs) -> Self {
        Self { now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let Self { now } = self;
        let earliest = needs.made.unwrap_or(0).max(EARLIEST);
        vec![if (earliest..LATEST).contains(now) {
            Finding::ok("clock", date(*now))
        } else {
            let than =
                if *now < earliest { "earlier than the bundle or this program" } else { "beyond 2099" };
            Finding::degraded(
                "clock",
                format!("{}, {than}: logs and certificates will be judged by it", date(*now)),
                "set it with date(1) or a time server; and see to the battery",
            )
        }]
    }
}

/// The day, UTC.
fn date(seconds: u64) -> String {
    let mut days = seconds / 86_400;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        // By `date -u -d @SECONDS +%F`.
        for (seconds, is) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (EARLIEST, "2026-01-01"),
            (1_798_761_599, "2026-12-31"),
            (LATEST, "2100-01-01"),
        ] {
            assert_eq!(date(seconds), is);
        }
    }
}
