//! The `sluice-switch` command.
//!
//! | command | what it does |
//! |---|---|
//! | `sluice-switch keygen FILE` | makes a key that signs bundles, and its public half |
//! | `sluice-switch pack IMAGE --spec FILE --key FILE -o FILE` | makes a bundle of an image |
//! | `sluice-switch inspect BUNDLE` | shows what a bundle says of itself |
//! | `sluice-switch verify BUNDLE` | checks a bundle's signature and every file in it |
//! | `sluice-switch unpack BUNDLE DIRECTORY` | unpacks a bundle, whole or not at all |
//! | `sluice-switch export --sonic BUNDLE -o FILE` | writes a bundle as an image for SONiC's package manager, or, with `--oci`, for any engine |
//! | `sluice-switch run DIRECTORY` | runs what was unpacked, in the foreground |
//! | `sluice-switch install BUNDLE` | puts a release on trial in place of the one that runs; commits it or rolls back |
//! | `sluice-switch rollback APP` | puts the previous release on trial in the same way |
//! | `sluice-switch up [APP…]` | sets right what a power cut left and starts what is committed: for boot scripts |
//! | `sluice-switch stop APP`, `rm APP` | stops an application; removes all of it |
//! | `sluice-switch status [APP…]` | what runs, what is committed; status 1 when they differ |
//! | `sluice-switch logs APP`, `exec APP -- COMMAND` | what it wrote; a command inside it |
//! | `sluice-switch preflight [BUNDLE]` | what the switch has and lacks; `--fix` makes good what is safe to |
//! | `sluice-switch autostart enable\|disable\|status` | starts applications at boot |
//! | `sluice-switch tend [APP…]` | keeps logs within bounds, starts again what has ended: for timers |
//! | `sluice-switch gc [APP…]` | removes releases that are neither current nor previous |
//! | `sluice-switch deploy BUNDLE… --inventory FILE` | brings bundles to boxes over ssh and puts them on trial there |
//! | `sluice-switch enroll KEY.pub --inventory FILE` | makes boxes trust a key |
//!
//! `rollback`, `up`, `stop`, `rm`, `status`, `logs`, `exec` and `gc` are for this machine, or, with `--inventory FILE`
//! or `--host [USER@]HOST`, for others over ssh, as one table.
//!
//! With `--json` a command prints one JSON object; `deploy` prints one a line, as things happen, and at last one whose
//! `event` is `summary`. Errors are one line on stderr. The exit status is 0 for success,
//! 1 for failure and 2 for wrong usage.

mod autostart;
mod bundle;
mod export;
mod fleet;
mod machine;
mod preflight;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::bundle::{KeyError, PublicKey, Trust};

/// Where the keys are whose bundles this switch installs.
const TRUSTED_KEYS: &str = "/etc/sluice-switch/keys";

#[derive(Debug, Parser)]
#[command(
    name = "sluice-switch",
    version,
    about = "Applications on white-box switches: bundles, runc, switch-over"
)]
struct Cli {
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key that signs bundles, in FILE, and its public half, in FILE.pub
    Keygen(bundle::Keygen),
    /// Make a bundle of an image: docker save, an OCI layout or archive, or docker export with --config
    Pack(Box<bundle::Pack>),
    /// Show what a bundle says of itself, after checking its signature
    Inspect(bundle::Inspect),
    /// Check a bundle's signature and every file in it
    Verify(bundle::Verify),
    /// Unpack a bundle into a new directory, whole or not at all
    Unpack(bundle::Unpack),
    /// Write a bundle as an image: for SONiC's package manager, or for any engine
    Export(export::Export),
    /// Run what `unpack` made, in the foreground, until it ends
    Run(machine::Run),
    /// Put a release on trial in place of the one that runs; commit it when it works, or roll back
    Install(machine::Install),
    /// Put the previous release on trial, in the same way
    Rollback(machine::OneApp),
    /// Set right what a power cut left, and start what is committed: for boot scripts
    Up(machine::Up),
    /// Stop an application until `up` or a reboot
    Stop(machine::Stop),
    /// Stop an application and remove all of it
    Rm(machine::OneApp),
    /// Show what runs and what is committed; exit status 1 when they differ
    Status(machine::SomeApps),
    /// Show the end of what an application wrote
    Logs(machine::Logs),
    /// Run a command in an application and wait for its end
    Exec(machine::Exec),
    /// Remove releases that are neither current nor previous
    Gc(machine::SomeApps),
    /// Bring bundles to boxes over ssh and put them on trial there
    Deploy(Box<fleet::Deploy>),
    /// Make boxes trust a key: what it signed can then be deployed to them
    Enroll(fleet::Enroll),
    /// The box's side of `deploy`, which begins it over ssh
    #[command(name = "__receive", hide = true)]
    Receive(fleet::Receive),
    /// Show what the switch has and lacks, for a bundle or for any; exit status 1 when something is missing
    Preflight(preflight::Preflight),
    /// Start what is committed at boot, under systemd, sysv scripts or cron
    Autostart(autostart::Autostart),
    /// Cut long logs; with --restart also start again what has ended by itself: for timers
    Tend(machine::Tend),
}

/// Whose bundles are believed.
#[derive(Debug, Args)]
struct TrustArgs {
    /// A public key whose signature is believed; may be given several times
    #[arg(long = "trust", value_name = "FILE", conflicts_with = "insecure")]
    trust: Vec<PathBuf>,
    /// Where to look for public keys (*.pub) when no --trust is given
    #[arg(long, value_name = "DIRECTORY", default_value = TRUSTED_KEYS)]
    keys: PathBuf,
    /// Believe bundles of anyone, signed or not
    #[arg(long)]
    insecure: bool,
}

impl TrustArgs {
    fn trust(&self) -> Result<Trust, KeyError> {
        match (self.insecure, self.trust.as_slice()) {
            (true, _) => Ok(Trust::Anyone),
            (false, []) => Trust::directory(&self.keys),
            (false, files) => {
                files.iter().map(|f| PublicKey::read(f)).collect::<Result<_, _>>().map(Trust::Keys)
            }
        }
    }
}

/// Prints a command's result.
struct Output {
    json: bool,
}

impl Output {
    fn show(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", text().trim_end())?;
        }
        Ok(())
    }
}

/// Runs the command with these arguments.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Before anything that could begin a thread.
    #[cfg(feature = "libcontainer")]
    if args.get(1).is_some_and(|word| word == crate::runtime::helper::WORD) {
        return ExitCode::from(crate::runtime::helper::run(args.into_iter().skip(1)));
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let output = Output { json: cli.json };
    let result = match cli.command {
        Command::Keygen(command) => command.run(&output),
        Command::Pack(command) => command.run(&output),
        Command::Inspect(command) => command.run(&output),
        Command::Verify(command) => command.run(&output),
        Command::Unpack(command) => command.run(&output),
        Command::Export(command) => command.run(&output),
        Command::Run(command) => command.run(),
        Command::Install(command) => command.run(&output),
        Command::Rollback(command) => fleet::either(
            &command.fleet,
            || command.words("rollback"),
            &output,
            fleet::show_outcomes,
            || command.rollback(&output),
        ),
        Command::Up(command) => fleet::either(
            command.fleet(),
            || command.words(),
            &output,
            fleet::show_outcomes,
            || command.run(&output),
        ),
        Command::Stop(command) => fleet::either(
            &command.fleet,
            || command.words(),
            &output,
            fleet::show_outcomes,
            || command.run(&output),
        ),
        Command::Rm(command) => fleet::either(
            &command.fleet,
            || command.words("rm"),
            &output,
            fleet::show_outcomes,
            || command.remove(&output),
        ),
        Command::Status(command) => fleet::either(
            &command.fleet,
            || command.words("status"),
            &output,
            fleet::show_status,
            || command.status(&output),
        ),
        Command::Logs(command) => {
            fleet::either_logs(&command.fleet, || command.words(), &output, || command.run())
        }
        Command::Exec(command) => fleet::either(
            &command.fleet,
            || command.words(),
            &output,
            fleet::show_exec,
            || command.run(&output),
        ),
        Command::Deploy(command) => command.run(&output),
        Command::Enroll(command) => command.run(&output),
        Command::Receive(command) => command.run(),
        Command::Gc(command) => fleet::either(
            &command.fleet,
            || command.words("gc"),
            &output,
            fleet::show_outcomes,
            || command.gc(&output),
        ),
        Command::Preflight(command) => command.run(&output),
        Command::Autostart(command) => command.run(&output),
        Command::Tend(command) => command.run(&output),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sluice-switch: {}", crate::errors::chain(&*error));
            ExitCode::FAILURE
        }
    }
}
