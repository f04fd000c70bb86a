//! The processor and the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{Check, Finding, Needs, Place};

/// The processor's architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What the kernel calls it.
    pub kernel: String,
    /// That of this program, which runs here and so proves that it can: by Rust's name.
    pub program: String,
}

/// The name in images (GOARCH) of what kernels and Rust call an architecture.
fn goarch(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "i386" | "i486" | "i586" | "i686" | "x86" => "386",
        "aarch64" => "arm64",
        "powerpc" => "ppc",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        arm if arm.starts_with("armv") => "arm",
        other => other,
    }
}

impl Check for Machine {
    fn gather(_: &Place, _: &Needs) -> Self {
        let kernel = rustix::system::uname().machine().to_string_lossy().into_owned();
        Self { kernel, program: std::env::consts::ARCH.to_owned() }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let has: BTreeSet<&str> = [goarch(&self.kernel), goarch(&self.program)].into();
        let has = has.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>();
        let found = format!("this switch runs {}", has.join(" and "));
        if has.is_empty() {
            return vec![Finding::fail("architecture", "unknown", "run preflight on the switch")];
        }
        let Some(wanted) = &needs.platform else { return vec![Finding::ok("architecture", found)] };
        if wanted.os == "linux" && has.contains(&wanted.architecture.as_str()) {
            return vec![Finding::ok("architecture", found)];
        }
        vec![Finding::fail(
            "architecture",
            format!("{found}, and the bundle is for {wanted}"),
            format!("pack the image for linux/{}: `sluice-switch pack --platform`", has[0]),
        )]
    }
}

/// Calls by name, with their number: the same one on every architecture that Rust is for, as all are of Linux 5.1 or
/// later.
const CALLS: [(&str, libc::c_long); 5] =
    [("pidfd_open", 434), ("clone3", 435), ("openat2", 437), ("faccessat2", 439), ("mount_setattr", 442)];

/// Those without which libcontainer does not work.
pub(super) const LIBCONTAINER: [&str; 3] = ["openat2", "faccessat2", "mount_setattr"];

/// Which of the kernel's newer system calls are there, by trying.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SystemCalls(pub BTreeMap<String, bool>);

impl SystemCalls {
    /// Those of `names` that are missing.
    pub(super) fn lacks(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.0.get(*name) != Some(&true)).collect()
    }

    /// Tries every call. With a filter that kills instead of answering, only a child dies.
    pub(super) fn probe() -> Self {
        Self(CALLS.into_iter().map(|(name, number)| (name.to_owned(), exists(number))).collect())
    }
}

/// Tries a call in a child, which never becomes another program: what it finds is what starting it fails with.
fn exists(number: libc::c_long) -> bool {
    const NO: libc::c_long = 0;
    let mut command = Command::new("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork(2) and execve(2) only async-signal-safe functions may be called: syscall(2) is one, and
    // nothing is allocated. Every call fails, if it exists, before it does anything: descriptors of -1, null pointers
    // and sizes of 0 are refused first.
    unsafe {
        command.pre_exec(move || {
            let answer = libc::syscall(number, -1 as libc::c_long, NO, NO, NO, NO);
            let error = io::Error::last_os_error();
            // A call that succeeds all the same exists; execve of a directory says so by another error.
            if answer == -1 { Err(error) } else { Ok(()) }
        });
    }
    match command.spawn() {
        Err(error) => error.raw_os_error() != Some(libc::ENOSYS),
        // The child said nothing: it was killed for asking.
        Ok(mut child) => child.wait().is_ok_and(|status| status.signal().is_none()),
    }
}

impl Check for SystemCalls {
    fn gather(_: &Place, _: &Needs) -> Self {
        Self::probe()
    }

    fn judge(&self, _: &Needs) -> Vec<Finding> {
        let (has, lacks): (Vec<_>, Vec<_>) =
            CALLS.iter().map(|(name, _)| *name).partition(|name| self.0.get(*name) == Some(&true));
        let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let mut found = format!("has {}", list(&has));
        if !lacks.is_empty() {
            found += &format!("; lacks {}, which runc does without", list(&lacks));
        }
        vec![Finding::ok("system calls", found)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_has_is_found_by_trying() {
        // getpid, on every architecture, and a number that no kernel has.
        assert!(exists(libc::SYS_getpid as libc::c_long));
        assert!(!exists(100_000));
        assert!(exists(434) || !exists(435), "pidfd_open of 5.3 came no later than clone3");
    }
}
