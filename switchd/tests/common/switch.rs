//! A switch of a test: the command with directories of its own, and one application.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_switch::bundle::AppName;
use sluice_switch::runtime::{Runc, Runtime};

use super::{Bench, Image, unique};

/// What serves as an application: a shell's script.
pub(crate) const SERVE: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

pub(crate) struct Switch {
    pub(crate) bench: Bench,
    pub(crate) app: String,
}

impl Switch {
    pub(crate) fn new(name: &str) -> Self {
        Self { bench: Bench::new(), app: format!("{name}-{}", unique()) }
    }

    /// Packs the application's image, with `spec` in its description besides the name, to `file`.
    pub(crate) fn pack_image(&self, image: &Image, spec: &str, file: &str) -> PathBuf {
        fs::write(self.bench.path("spec.toml"), format!("app = \"{}\"\n{spec}", self.app)).unwrap();
        self.bench.pack(&image.docker_save(), file)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bench.command(args);
        command.env("SLUICE_SWITCH_STATE", self.state()).env("SLUICE_SWITCH_RUN", self.run_dir());
        command
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.bench.path("state")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.bench.path("run")
    }

    pub(crate) fn app_dir(&self) -> PathBuf {
        self.state().join("apps").join(&self.app)
    }

    /// A command's status, and what it said on stdout and stderr.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        ended(&mut self.command(args))
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let (code, out, error) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {out}{error}");
        out
    }

    pub(crate) fn status(&self) -> Value {
        let (_, out, error) = self.run(&["status", "--json"]);
        let all: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {error}"));
        all["apps"][0].clone()
    }

    pub(crate) fn id(&self) -> AppName {
        self.app.parse().unwrap()
    }

    pub(crate) fn runtime(&self) -> Runc {
        Runc::new("runc", self.run_dir().join("runc"))
    }

    /// Everything that a reboot takes away.
    pub(crate) fn power_cut(&self) {
        self.runtime().delete(&self.id()).unwrap();
        fs::remove_dir_all(self.run_dir()).unwrap();
    }

    /// The application as if it had never been.
    pub(crate) fn reset(&self) {
        let _ = self.runtime().delete(&self.id());
        let _ = fs::remove_dir_all(self.run_dir());
        let _ = fs::remove_dir_all(self.state());
    }

    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < end, "waited in vain for: {what}; {}", self.status());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Runs a command to its end: its status, or -1 when a signal ended it, and what it said on stdout and stderr.
pub(crate) fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
