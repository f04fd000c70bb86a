//! `sluice-switch autostart`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::Output;
use super::machine::MachineArgs;
use crate::autostart::{self, EVERY};
use crate::preflight::{Boot, Init};

#[derive(Debug, Args)]
pub(super) struct Autostart {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start what is committed at boot, and look at logs from time to time
    Enable(Box<Enable>),
    /// Remove what `enable` wrote
    Disable(Root),
    /// Show what `enable` wrote; exit status 1 when nothing is there
    Status(Root),
}

#[derive(Debug, Args)]
struct Root {
    /// Write below this directory instead, and tell no init system
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
}

/// Which init system.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// The one that runs
    Auto,
    Systemd,
    Sysv,
    /// Neither: cron's lines are printed
    None,
}

#[derive(Debug, Args)]
struct Enable {
    #[command(flatten)]
    root: Root,
    /// Which init system starts things at boot
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    init: Choice,
    /// With neither systemd nor sysv, write /etc/cron.d/sluice-apps instead of printing its lines
    #[arg(long)]
    cron: bool,
    /// Start again what ends by itself, at the next look
    #[arg(long)]
    supervise: bool,
    /// How often to look, from 1 to 59; 0 for never
    #[arg(long, value_name = "MINUTES", default_value_t = EVERY)]
    every: u32,
    /// The program that is started at boot; this one when it is not named
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Autostart {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<ExitCode> {
        match &self.action {
            Action::Enable(enable) => enable.run(output),
            Action::Disable(Root { root }) => {
                let removed = autostart::disable(root)?;
                reload(root, None);
                output.show(&json!({ "removed": removed }), || match removed.len() {
                    0 => "nothing was enabled".to_owned(),
                    _ => list("removed", &removed),
                })?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Status(Root { root }) => {
                let enabled = autostart::enabled(root);
                let (init, paths) = enabled.as_ref().map(|(init, paths)| (init, paths)).unzip();
                output.show(
                    &json!({ "enabled": enabled.is_some(), "init": init, "files": paths }),
                    || match &enabled {
                        None => "not enabled".to_owned(),
                        Some((Init::None, paths)) => format!("enabled for cron\n{}", list("", paths)),
                        Some((init, paths)) => format!("enabled for {init}\n{}", list("", paths)),
                    },
                )?;
                Ok(if enabled.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}

impl Enable {
    fn run(&self, output: &Output) -> anyhow::Result<ExitCode> {
        let program = match &self.program {
            Some(program) => std::path::absolute(program)?,
            None => std::env::current_exe().context("finding this program")?,
        };
        let mut autostart = autostart::Autostart::new(&program, &self.machine.arguments()?)?;
        autostart.supervise = self.supervise;
        autostart.every = self.every;
        let root = &self.root.root;
        let boot = Boot::read(root);
        let init = match self.init {
            Choice::Auto => boot.init(),
            Choice::Systemd => Init::Systemd,
            Choice::Sysv => Init::Sysv,
            Choice::None => Init::None,
        };
        // sysv has no timers: cron's are used where it is.
        let cron = self.cron || (init == Init::Sysv && boot.cron);
        let changed = autostart.enable(root, init, cron)?;
        reload(root, (init == Init::Systemd && self.every > 0).then_some("sluice-apps-tend.timer"));
        let by_hand = match init {
            Init::None if !self.cron => Some(autostart.crontab()),
            _ => None,
        };
        let written = init != Init::None || self.cron;
        output.show(&json!({ "init": init, "changed": changed, "enabled": written, "crontab": by_hand }), || {
            match (&by_hand, changed.len()) {
                (Some(lines), _) => format!(
                    "Neither systemd nor sysv starts things here, so nothing is written. Add to root's crontab, or run\n\
                     `sluice-switch autostart enable --cron`:\n{lines}"
                ),
                (None, 0) => format!("enabled for {init} already"),
                (None, _) => format!("enabled for {init}\n{}", list("", &changed)),
            }
        })?;
        if init == Init::Sysv && self.every > 0 && !cron {
            eprintln!(
                "sluice-switch: there is no /etc/cron.d, so logs are cut only at `up`, `status` and `install`"
            );
        }
        // Nothing will start at boot until somebody has done the rest by hand.
        Ok(if written { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn list(what: &str, paths: &[PathBuf]) -> String {
    let line =
        |path: &PathBuf| format!("{what}{}{}", if what.is_empty() { "  " } else { " " }, path.display());
    paths.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Tells a running systemd. It reads the files at the next boot in any case.
fn reload(root: &Path, start: Option<&str>) {
    if root != Path::new("/") || !Path::new("/run/systemd/system").is_dir() {
        return;
    }
    let calls = [Some(vec!["daemon-reload"]), start.map(|unit| vec!["start", unit])];
    for words in calls.into_iter().flatten() {
        let done = Command::new("systemctl").args(&words).stdin(Stdio::null()).status();
        if !done.as_ref().is_ok_and(|status| status.success()) {
            eprintln!(
                "sluice-switch: `systemctl {}` failed: {done:?}; a reboot does the same",
                words.join(" ")
            );
        }
    }
}
