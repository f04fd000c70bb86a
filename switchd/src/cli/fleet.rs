//! Commands about many boxes.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::machine::MachineArgs;
use super::{Output, TRUSTED_KEYS};
use crate::bundle::{PublicKey, Trust};
use crate::fleet::message::{Options, Strategy};
use crate::fleet::{
    Answered, Cache, Deployment, Display, Host, Inventory, Outcome, Parcels, Programs, Receiver, Report,
    Rules, Style, ask, deploy, enroll, hello, logs_of,
};

type Result = anyhow::Result<ExitCode>;

/// How much an operator's cache may hold.
const CACHE: u64 = 1 << 30;
/// How long a box waits for the next request. Workstations may be compressing meanwhile.
const SILENCE: Duration = Duration::from_secs(600);

/// Which boxes a command is for; this one when none is named.
#[derive(Debug, Args)]
#[command(next_help_heading = "Other boxes, over ssh")]
pub(super) struct FleetArgs {
    /// On the boxes of this inventory
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    inventory: Option<PathBuf>,
    /// On this box; may be given several times
    #[arg(long, value_name = "[USER@]HOST")]
    host: Vec<String>,
    /// Only these hosts and groups of the inventory
    #[arg(long, value_name = "NAME", requires = "inventory", value_delimiter = ',')]
    limit: Vec<String>,
    /// How many boxes at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    jobs: usize,
    /// A word of ssh's options, before those of the inventory; may be given several times
    #[arg(long = "ssh-option", value_name = "WORD", allow_hyphen_values = true)]
    ssh_options: Vec<String>,
    /// Give up a box that is silent for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    silence: u64,
}

impl FleetArgs {
    /// The boxes, if any were named.
    fn hosts(&self) -> anyhow::Result<Option<Vec<Host>>> {
        let inventory = match &self.inventory {
            Some(path) => Inventory::read(path)?.limit(&self.limit, path)?,
            None if self.host.is_empty() => return Ok(None),
            None => Inventory::of_destinations(&self.host)?,
        };
        Ok(Some(inventory.hosts))
    }

    fn named(&self) -> anyhow::Result<Vec<Host>> {
        self.hosts()?.context("which boxes? Name them with --inventory FILE or --host [USER@]HOST")
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.silence.max(1))
    }

    /// A directory for ssh's shared connections. Without one each session makes its own.
    fn control() -> Option<tempfile::TempDir> {
        tempfile::Builder::new().prefix("sluice-").tempdir().ok()
    }
}

/// Does a command on the named boxes, or here when none is named.
pub(super) fn either(
    fleet: &FleetArgs,
    words: impl FnOnce() -> Vec<String>,
    output: &Output,
    show: fn(&[Host], Vec<std::result::Result<Answered, String>>, &Output) -> Result,
    here: impl FnOnce() -> Result,
) -> Result {
    let Some(hosts) = fleet.hosts()? else { return here() };
    let control = FleetArgs::control();
    let control = control.as_ref().map(tempfile::TempDir::path);
    let answers = ask(&hosts, &words(), fleet.jobs, &fleet.ssh_options, control, fleet.patience());
    show(&hosts, answers, output)
}

/// A log as it is, or that of each box with its name before every line.
pub(super) fn either_logs(
    fleet: &FleetArgs,
    words: impl FnOnce() -> Vec<String>,
    output: &Output,
    here: impl FnOnce() -> Result,
) -> Result {
    let Some(hosts) = fleet.hosts()? else { return here() };
    let control = FleetArgs::control();
    let control = control.as_ref().map(tempfile::TempDir::path);
    let logs = logs_of(&hosts, &words(), fleet.jobs, &fleet.ssh_options, control, fleet.patience());
    let mut failed = false;
    let mut rows = Vec::new();
    for (host, log) in hosts.iter().zip(logs) {
        match log {
            Ok(bytes) => rows.push((host, String::from_utf8_lossy(&bytes).into_owned(), None)),
            Err(why) => {
                failed = true;
                eprintln!("sluice-switch: {}: {why}", host.name);
                rows.push((host, String::new(), Some(why)));
            }
        }
    }
    let value: Vec<Value> = rows
        .iter()
        .map(|(host, log, error)| json!({ "host": host.name, "log": log, "error": error }))
        .collect();
    output.show(&json!({ "hosts": value }), || {
        rows.iter().map(|(host, log, _)| prefixed(&host.name, log, hosts.len())).collect()
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// With a box's name before each line, when there are several boxes.
fn prefixed(name: &str, text: &str, hosts: usize) -> String {
    if hosts == 1 {
        return text.to_owned();
    }
    text.lines().map(|line| format!("{name} | {line}\n")).collect()
}

/// Rows of a table, with its columns as wide as what is in them.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What boxes answered, each with its name.
fn named(hosts: &[Host], answers: &[std::result::Result<Answered, String>]) -> Value {
    let rows: Vec<Value> = hosts
        .iter()
        .zip(answers)
        .map(|(host, answer)| match answer {
            Ok(Answered { code, value, said }) => {
                let error = (*code != 0 && !said.is_empty()).then_some(said);
                json!({ "host": host.name, "code": code, "answer": value, "error": error })
            }
            Err(why) => json!({ "host": host.name, "code": null, "answer": null, "error": why }),
        })
        .collect();
    json!({ "hosts": rows })
}

fn all_well(answers: &[std::result::Result<Answered, String>]) -> ExitCode {
    let well = answers.iter().all(|a| a.as_ref().is_ok_and(|a| a.code == 0));
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The status of a fleet as one table.
pub(super) fn show_status(
    hosts: &[Host],
    answers: Vec<std::result::Result<Answered, String>>,
    output: &Output,
) -> Result {
    let code = all_well(&answers);
    output.show(&named(hosts, &answers), || {
        let head = ["HOST", "APP", "STATUS", "VERSION", "RELEASE", "PREVIOUS", "PID", ""];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (host, answer) in hosts.iter().zip(&answers) {
            let alone = |status: &str, note: &str| {
                let mut row = vec![host.name.clone(), "-".to_owned(), status.to_owned()];
                row.extend(["-", "-", "-", "-", note].map(str::to_owned));
                row
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(why) => {
                    rows.push(alone("unreached", why));
                    continue;
                }
            };
            let apps = answer.value["apps"].as_array();
            match apps {
                None => rows.push(alone("unknown", &answer.said)),
                Some(apps) if apps.is_empty() => rows.push(alone("empty", "")),
                Some(apps) => rows.extend(apps.iter().map(|app| status_row(host, app))),
            }
        }
        table(&rows)
    })?;
    Ok(code)
}

fn status_row(host: &Host, app: &Value) -> Vec<String> {
    let text = |name: &str| app[name].as_str().unwrap_or("-").to_owned();
    let short = |name: &str| {
        let digest = app[name].as_str().and_then(|d| d.strip_prefix("sha256:"));
        digest.map_or("-".to_owned(), |d| d.chars().take(12).collect())
    };
    let pid = app["pid"].as_u64().map_or("-".to_owned(), |pid| pid.to_string());
    let degraded = app["degraded"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let degraded = degraded.collect::<Vec<_>>().join("; ");
    let (release, previous) = (short("current"), short("previous"));
    vec![host.name.clone(), text("app"), text("status"), text("version"), release, previous, pid, degraded]
}

/// What a command came to on each box, a line each.
pub(super) fn show_outcomes(
    hosts: &[Host],
    answers: Vec<std::result::Result<Answered, String>>,
    output: &Output,
) -> Result {
    let code = all_well(&answers);
    output.show(&named(hosts, &answers), || {
        let mut rows = vec![["HOST", "RESULT", ""].map(str::to_owned).to_vec()];
        for (host, answer) in hosts.iter().zip(&answers) {
            let (result, note) = match answer {
                Ok(Answered { code: 0, value, .. }) => ("ok", brief(value)),
                Ok(Answered { said, code, .. }) if said.is_empty() => ("failed", format!("status {code}")),
                Ok(Answered { said, .. }) => ("failed", said.clone()),
                Err(why) => ("unreached", why.clone()),
            };
            rows.push(vec![host.name.clone(), result.to_owned(), note]);
        }
        table(&rows)
    })?;
    Ok(code)
}

/// The plain fields of an object.
fn brief(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return String::new() };
    let field = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Some(format!("{name}={text}")),
        Value::Bool(_) | Value::Number(_) => Some(format!("{name}={value}")),
        Value::Array(items) if !items.is_empty() => Some(format!("{name}={}", items.len())),
        _ => None,
    };
    fields.iter().filter_map(field).collect::<Vec<_>>().join(" ")
}

/// What a command in an application printed on each box.
pub(super) fn show_exec(
    hosts: &[Host],
    answers: Vec<std::result::Result<Answered, String>>,
    output: &Output,
) -> Result {
    for (host, answer) in hosts.iter().zip(&answers) {
        match answer {
            Ok(Answered { value: Value::Object(_), .. }) => {}
            Ok(Answered { said, .. }) => eprintln!("sluice-switch: {}: {said}", host.name),
            Err(why) => eprintln!("sluice-switch: {}: {why}", host.name),
        }
    }
    output.show(&named(hosts, &answers), || {
        let text = |(host, answer): (&Host, &std::result::Result<Answered, String>)| {
            let printed = answer.as_ref().ok().and_then(|a| a.value["output"].as_str());
            prefixed(&host.name, printed.unwrap_or_default(), hosts.len())
        };
        hosts.iter().zip(&answers).map(text).collect()
    })?;
    // One box's status is the command's own.
    match &answers[..] {
        [Ok(Answered { code, .. })] => Ok(ExitCode::from(u8::try_from(*code).unwrap_or(1))),
        _ => Ok(all_well(&answers)),
    }
}

#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// The bundles: of several applications, and of one for several kinds of machines
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<PathBuf>,
    #[command(flatten)]
    fleet: FleetArgs,
    /// So many boxes go first; only when all of them are well do the others follow
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Rollout")]
    canary: usize,
    /// Begin no other box when so many have failed
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Rollout")]
    max_fail: usize,
    /// What may be removed on a box to make room
    #[arg(long, value_enum, default_value_t = Strategy::Keep, help_heading = "Rollout")]
    strategy: Strategy,
    /// Agree to limits that a box can hold only in a weaker way
    #[arg(long, help_heading = "Rollout")]
    allow_degraded: bool,
    /// Agree to a version that is older than the one that runs
    #[arg(long, help_heading = "Rollout")]
    allow_downgrade: bool,
    /// Change nothing; tell what would be sent and removed. This program is brought to boxes all the same
    #[arg(long, help_heading = "Rollout")]
    dry_run: bool,
    /// This program for another kind of machine; may be given several times
    #[arg(long, value_name = "FILE", help_heading = "Transfer")]
    program: Vec<PathBuf>,
    /// Use the program that is on the boxes, and bring none
    #[arg(long, help_heading = "Transfer")]
    no_push: bool,
    /// A bundle that was deployed before, for patches to refer to; may be given several times
    #[arg(long, value_name = "BUNDLE", help_heading = "Transfer")]
    base: Vec<PathBuf>,
    /// Where files that were deployed are kept for later patches; ~/.cache/sluice-switch unless given
    #[arg(long, value_name = "DIRECTORY", env = "SLUICE_SWITCH_CACHE", help_heading = "Transfer")]
    cache: Option<PathBuf>,
    /// Keep no files for later patches
    #[arg(long, conflicts_with = "cache", help_heading = "Transfer")]
    no_cache: bool,
}

impl Deploy {
    pub(super) fn run(&self, output: &Output) -> Result {
        let hosts = self.fleet.named()?;
        let programs = Programs::read(&self.program)?;
        let cache = self.cache.clone().or_else(Cache::default_directory).filter(|_| !self.no_cache);
        let cache = cache.map(|directory| Cache::new(&directory, CACHE));
        let parcels = Parcels::read(&self.bundles, &self.base, &std::env::temp_dir(), cache)?;
        let control = FleetArgs::control();
        let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
        let (style, out): (_, Box<dyn io::Write + Send>) = match output.json {
            true => (Style::Json, Box::new(io::stdout())),
            false => (Style::of_stderr(), Box::new(io::stderr())),
        };
        // The first interrupt begins no other box; the second ends this program, and boxes that are at a switch-over
        // finish it by themselves.
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, interrupted.clone())?;
            signal_hook::flag::register(signal, interrupted.clone())?;
        }
        let deployment = Deployment {
            parcels: &parcels,
            programs: &programs,
            hosts: &hosts,
            rules: Rules { jobs: self.fleet.jobs, canary: self.canary, max_fail: self.max_fail },
            options: Options {
                strategy: self.strategy,
                allow_degraded: self.allow_degraded,
                allow_downgrade: self.allow_downgrade,
            },
            dry_run: self.dry_run,
            push: !self.no_push,
            ssh_options: &self.fleet.ssh_options,
            control: control.as_ref().map(|directory| directory.path().to_owned()),
            patience: self.fleet.patience(),
        };
        let report = deploy(&deployment, &Display::new(style, names, out), &interrupted);
        if !self.dry_run
            && let Err(error) = parcels.remember()
        {
            eprintln!("sluice-switch: keeping files for later patches: {error}; the next update sends more");
        }
        show_report(&report, self.dry_run, output)
    }
}

fn show_report(report: &Report, dry_run: bool, output: &Output) -> Result {
    let mut counts = [0; 3];
    let mut values = Vec::new();
    let head = ["HOST", "RESULT", "APP", "VERSION", "FILES", "PATCHES", "PAYLOAD", "HAD", "GAP", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (host, done, outcome) in &report.rows {
        let (result, at, reason) = match outcome {
            Outcome::Ok(()) => ("ok", 0, None),
            Outcome::Failed(error) => ("failed", 1, Some(error.to_string())),
            Outcome::Skipped(why) => ("skipped", 2, Some(why.to_string())),
        };
        counts[at] += 1;
        values.push(json!({ "host": host, "result": result, "reason": reason, "done": done }));
        for app in &done.apps {
            let state = match (dry_run, app.changed) {
                (true, _) => "would get",
                (false, true) => "ok",
                (false, false) => "unchanged",
            };
            let notes = app.notes.join("; ");
            rows.push(vec![
                host.clone(),
                state.to_owned(),
                app.app.clone(),
                app.version.clone(),
                app.sent.files.to_string(),
                app.patches.to_string(),
                bytes(app.payload_bytes),
                app.had.files.to_string(),
                app.gap_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
                notes,
            ]);
        }
        if let Some(reason) = reason {
            let mut row = vec![host.clone(), result.to_owned()];
            row.extend(["-"; 7].map(str::to_owned));
            row.push(reason);
            rows.push(row);
        } else if done.apps.is_empty() {
            let mut row = vec![host.clone(), "ok".to_owned()];
            row.extend(["-"; 7].map(str::to_owned));
            row.push("takes none of these applications".to_owned());
            rows.push(row);
        }
    }
    let [ok, failed, skipped] = counts;
    let seconds = report.took.as_millis();
    let value = json!({
        "event": "summary", "ok": ok, "failed": failed, "skipped": skipped, "took_ms": seconds as u64, "hosts": values,
    });
    output.show(&value, || {
        let text = table(&rows);
        let took = report.took.as_secs_f64();
        format!("{text}{ok} ok, {failed} failed, {skipped} skipped, in {took:.1} s")
    })?;
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

#[derive(Debug, Args)]
pub(super) struct Enroll {
    /// Public keys, as `keygen` made them
    #[arg(required = true, value_name = "KEY.pub")]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    fleet: FleetArgs,
}

impl Enroll {
    pub(super) fn run(&self, output: &Output) -> Result {
        let hosts = self.fleet.named()?;
        let mut keys = Vec::new();
        for path in &self.keys {
            let id = PublicKey::read(path)?.id();
            let content = fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
            keys.push((id, content));
        }
        let control = FleetArgs::control();
        let control = control.as_ref().map(tempfile::TempDir::path);
        let fleet = &self.fleet;
        let done =
            enroll(&hosts, &keys, TRUSTED_KEYS, fleet.jobs, &fleet.ssh_options, control, fleet.patience());
        let ids: Vec<String> = keys.iter().map(|(id, _)| id.to_string()).collect();
        let answer = |done: std::result::Result<(), String>| {
            done.map(|()| Answered { code: 0, value: json!({ "trusts": ids }), said: String::new() })
        };
        show_outcomes(&hosts, done.into_iter().map(answer).collect(), output)
    }
}

#[derive(Debug, Args)]
pub(super) struct Receive {
    /// Where to look for public keys (*.pub)
    #[arg(long, value_name = "DIRECTORY", default_value = TRUSTED_KEYS)]
    keys: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Receive {
    pub(super) fn run(&self) -> Result {
        // sshd may tell us that the connection is gone; a switch-over goes on to its end all the same.
        signal_hook::flag::register(SIGHUP, Arc::default()).context("ignoring SIGHUP")?;
        // Frames alone go to whoever reads our output: what a runtime may print goes where errors go. Containers must
        // not inherit the stream, as the session would then last as long as they do.
        let frames = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).context("sharing stdout")?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr()).context("moving stdout")?;
        let runtime = self.machine.runtime()?;
        let machine = self.machine.machine(&runtime)?;
        let receiver = Receiver::new(machine, || Trust::directory(&self.keys));
        let stdin = fs::File::from(rustix::io::dup(rustix::stdio::stdin()).context("sharing stdin")?);
        let hello = hello().context("reading this program")?;
        receiver.serve(&hello, Patient(stdin), fs::File::from(frames))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A stream that fails when nothing comes for too long, so that a box is not locked by a workstation that is gone.
struct Patient(fs::File);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec { tv_sec: SILENCE.as_secs() as i64, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)], Some(&timeout));
        match ready {
            Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "the workstation is silent")),
            // Readable, at its end, or with an error that the read gives.
            Ok(_) | Err(rustix::io::Errno::INTR) => self.0.read(buffer),
            Err(error) => Err(error.into()),
        }
    }
}
