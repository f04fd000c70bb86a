//! What can bring containers to life.

use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::platform::{LIBCONTAINER, SystemCalls};
use super::{Check, ControlGroups, Finding, Needs, Place};

/// The runtimes, and what each depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtimes {
    /// The program that was asked for.
    pub program: String,
    /// The first line of what it says of itself.
    pub version: Option<String>,
    /// Why it says nothing.
    pub error: Option<String>,
    /// Whether this program has libcontainer in it and may use it.
    pub libcontainer: bool,
    /// What libcontainer needs and the kernel lacks.
    pub kernel_lacks: Vec<String>,
    /// Whether control groups are of both versions, which not every runtime accepts.
    pub hybrid: bool,
}

const CHECK: &str = "runtime";

impl Check for Runtimes {
    fn gather(place: &Place, needs: &Needs) -> Self {
        let asked = place
            .runc
            .as_ref()
            .map(|program| Command::new(program).arg("--version").stdin(Stdio::null()).output());
        let (version, error) = match asked {
            None => (None, Some("it was not asked for".to_owned())),
            Some(Ok(output)) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                (Some(text.lines().next().unwrap_or_default().to_owned()), None)
            }
            // There, but not for this machine, or without its libraries.
            Some(Ok(output)) => {
                let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                (None, Some(format!("it ended with {}: {text}", output.status)))
            }
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        let lacks = SystemCalls::probe().lacks(&LIBCONTAINER);
        Self {
            program: place.runc.as_ref().map_or("runc".to_owned(), |program| program.display().to_string()),
            version,
            error,
            libcontainer: cfg!(feature = "libcontainer") && place.libcontainer,
            kernel_lacks: lacks.into_iter().map(str::to_owned).collect(),
            hybrid: ControlGroups::gather(place, needs).hybrid(),
        }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let Self { program, version, error, libcontainer, kernel_lacks, hybrid } = self;
        let library = match (libcontainer, kernel_lacks.as_slice()) {
            (false, _) => "no libcontainer".to_owned(),
            (true, []) => "libcontainer would work as well".to_owned(),
            (true, lacks) => format!("libcontainer would not work: the kernel lacks {}", lacks.join(", ")),
        };
        if let Some(version) = version {
            if version.starts_with("crun") && *hybrid {
                return vec![Finding::fail(
                    CHECK,
                    format!("`{program}` is {version}, which refuses control groups of both versions"),
                    "use runc: name it with --runc",
                )];
            }
            return vec![Finding::ok(CHECK, format!("{version} (`{program}`); {library}"))];
        }
        let none = format!("no runc: `{program}`: {}", error.as_deref().unwrap_or("it was not tried"));
        if *libcontainer && kernel_lacks.is_empty() {
            if needs.private_command {
                return vec![Finding::fail(
                    CHECK,
                    format!(
                        "{none}; and libcontainer refuses the bundle's command, which others may not execute"
                    ),
                    "give the command mode 0755 in the image, or install runc",
                )];
            }
            return vec![Finding::ok(CHECK, format!("{none}; libcontainer in this program is used"))];
        }
        vec![Finding::fail(
            CHECK,
            format!("{none}; {library}"),
            "install runc, or copy a static one to the switch and name it with --runc",
        )]
    }
}
