//! A daemon of the lab: started in a host's namespaces, ended by its pid.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::namespace::Space;

/// A running daemon, which ends with this value.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: File,
}

impl Daemon {
    /// Starts a daemon. Both its streams go to a file that no directory lists, and that ends with the test.
    pub fn start(space: &Space, name: impl Into<String>, mut command: Command) -> Self {
        let name = name.into();
        let log = tempfile::tempfile().expect("a file for the log");
        let stream = || Stdio::from(log.try_clone().expect("another handle on the log"));
        command.stdin(Stdio::null()).stdout(stream()).stderr(stream());
        let child = space.spawn(&mut command).unwrap_or_else(|error| panic!("starting {name}: {error}"));
        Self { name, child, log }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid, as the test sees it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the daemon has ended: no use in waiting for it.
    #[track_caller]
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("its state") {
            panic!("{} ended with {status}\n{}", self.name, self.log_tail(25));
        }
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        // SAFETY: kill(2) takes no pointers; the child is not waited for yet, so its pid is still its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        self.child.wait().expect("its end")
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        // The daemon writes where this handle stands, so it must not be moved.
        let mut text = vec![0; self.log.metadata().expect("its length").len() as usize];
        let read = self.log.read_at(&mut text, 0).expect("reading the log");
        String::from_utf8_lossy(&text[..read]).into_owned()
    }

    /// The last lines that it said, under its name.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        let tail = &all[all.len().saturating_sub(lines)..];
        format!("--- {}\n{}\n", self.name, tail.join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
