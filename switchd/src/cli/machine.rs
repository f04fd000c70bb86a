//! Commands that are run on the switch.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::bundle::open;
use super::fleet::FleetArgs;
use super::{Output, TrustArgs};
use crate::bundle::AppName;
use crate::digest::Digest;
use crate::preflight::{self, Facts, Place, Repair};
use crate::release::{Machine, Outcome, Step, Store, Tended};
use crate::runtime::{Cgroups, Runc, Runtime, Status, prepare};

type Result = anyhow::Result<ExitCode>;

/// What brings containers to life.
#[cfg(feature = "libcontainer")]
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Backend {
    Auto,
    Runc,
    Libcontainer,
}

/// The switch.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Where releases are kept
    #[arg(
        long,
        value_name = "DIRECTORY",
        env = "SLUICE_SWITCH_STATE",
        default_value = "/var/lib/sluice-switch"
    )]
    state_dir: PathBuf,
    /// Where what a reboot may clear is kept
    #[arg(long, value_name = "DIRECTORY", env = "SLUICE_SWITCH_RUN", default_value = "/run/sluice-switch")]
    run_dir: PathBuf,
    /// The runtime's program
    #[arg(long, value_name = "PROGRAM", env = "SLUICE_SWITCH_RUNC", default_value = "runc")]
    runc: PathBuf,
    /// Which runtime: runc, or libcontainer in this program; auto takes runc where there is one
    #[arg(long, value_enum, default_value_t = Backend::Auto, env = "SLUICE_SWITCH_RUNTIME")]
    #[cfg(feature = "libcontainer")]
    runtime: Backend,
    /// Agree to limits that this switch can hold only in a weaker way
    #[arg(long)]
    allow_degraded: bool,
}

impl MachineArgs {
    /// What of this is for another box too. Where things are there is for the inventory to say.
    fn words(&self) -> Option<String> {
        self.allow_degraded.then(|| "--allow-degraded".to_owned())
    }

    #[cfg(not(feature = "libcontainer"))]
    pub(super) fn runtime(&self) -> anyhow::Result<Runc> {
        Ok(Runc::new(&self.runc, self.run_dir.join("runc")))
    }

    #[cfg(feature = "libcontainer")]
    pub(super) fn runtime(&self) -> anyhow::Result<Runc> {
        let runc = Runc::new(&self.runc, self.run_dir.join("runc"));
        let own = std::env::current_exe().context("finding this program")?;
        // Each has its own place: neither can read the other's state.
        let libcontainer = Runc::libcontainer(&own, self.run_dir.join("libcontainer"));
        Ok(match self.runtime {
            Backend::Runc => runc,
            Backend::Libcontainer if Runc::kernel_can(&own) => libcontainer,
            Backend::Libcontainer => bail!(
                "this kernel lacks openat2, faccessat2 or mount_setattr, which libcontainer needs; use --runtime runc"
            ),
            Backend::Auto if runc.exists() => runc,
            Backend::Auto if Runc::kernel_can(&own) => libcontainer,
            Backend::Auto => bail!(
                "there is no runc `{}`, and this kernel lacks openat2, faccessat2 or mount_setattr, which libcontainer \
                 needs; install runc, or name it with --runc",
                self.runc.display()
            ),
        })
    }

    /// Where releases are kept.
    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Whether the operator agrees to weaker ways.
    pub(super) fn consents(&self) -> bool {
        self.allow_degraded
    }

    /// The switch as a place to gather facts at.
    pub(super) fn place(&self) -> Place {
        #[cfg(not(feature = "libcontainer"))]
        let (runc, libcontainer) = (true, false);
        #[cfg(feature = "libcontainer")]
        let (runc, libcontainer) = match self.runtime {
            Backend::Auto => (true, true),
            Backend::Runc => (true, false),
            Backend::Libcontainer => (false, true),
        };
        let state = self.state_dir.clone();
        Place { root: "/".into(), state, runc: runc.then(|| self.runc.clone()), libcontainer }
    }

    /// The arguments that make another call mean the same switch. Consent is not among them: it is written down with
    /// the release for which it was given.
    pub(super) fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let absolute =
            |path: &Path| std::path::absolute(path).with_context(|| format!("`{}`", path.display()));
        let mut words = Vec::new();
        for (flag, path, default) in [
            ("--state-dir", absolute(&self.state_dir)?, "/var/lib/sluice-switch"),
            ("--run-dir", absolute(&self.run_dir)?, "/run/sluice-switch"),
        ] {
            if path != Path::new(default) {
                words.extend([flag.to_owned(), path.display().to_string()]);
            }
        }
        if self.runc != Path::new("runc") {
            // A name without a slash is looked for.
            let named = self.runc.components().count() == 1;
            let path = if named { self.runc.clone() } else { absolute(&self.runc)? };
            words.extend(["--runc".to_owned(), path.display().to_string()]);
        }
        #[cfg(feature = "libcontainer")]
        match self.runtime {
            Backend::Auto => {}
            Backend::Runc => words.extend(["--runtime", "runc"].map(str::to_owned)),
            Backend::Libcontainer => words.extend(["--runtime", "libcontainer"].map(str::to_owned)),
        }
        Ok(words)
    }

    pub(super) fn machine<'a>(&self, runtime: &'a Runc) -> anyhow::Result<Machine<'a>> {
        Ok(Machine {
            state: self.state_dir.clone(),
            run: self.run_dir.clone(),
            runtime,
            cgroups: Cgroups::detect().context("reading /proc/self/mountinfo")?,
            consent: self.allow_degraded,
        })
    }
}

fn degraded(machine: &Machine<'_>, app: &AppName) -> anyhow::Result<Vec<String>> {
    Ok(machine.degraded(app)?.iter().map(ToString::to_string).collect())
}

/// Tells of steps on stderr, as they come.
fn told(step: Step) {
    eprintln!("sluice-switch: {step}");
}

fn show_outcome(output: &Output, machine: &Machine<'_>, app: &AppName, outcome: &Outcome) -> Result {
    let now = machine.store(app).current()?;
    let degraded = degraded(machine, app)?;
    for limit in &degraded {
        eprintln!("sluice-switch: {app}: {limit}");
    }
    let (changed, from, gap) = match outcome {
        Outcome::Unchanged => (false, now, None),
        // Without an old release nothing was interrupted.
        Outcome::Switched { from, gap } => (true, *from, from.map(|_| gap.as_millis() as u64)),
    };
    let shown = json!({ "app": app, "current": now, "changed": changed, "from": from, "gap_ms": gap, "degraded": degraded });
    output.show(&shown, || {
        let now = now.map_or("none".to_owned(), |d| d.to_string());
        match (changed, gap) {
            (false, _) => format!("{app} {now} (unchanged)"),
            (true, None) => format!("{app} {now}"),
            (true, Some(ms)) => format!("{app} {now}, interrupted for {ms} ms"),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
pub(super) struct Install {
    /// The bundle, or - for the standard input
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Install {
    pub(super) fn run(&self, output: &Output) -> Result {
        let trust = self.trust.trust()?;
        if self.bundle != Path::new("-") {
            open(&self.bundle, &trust)?
                .verify()
                .with_context(|| format!("bundle `{}`", self.bundle.display()))?;
        }
        let bundle = open(&self.bundle, &trust)?;
        let app = bundle.manifest.app.clone();
        let runtime = self.machine.runtime()?;
        let machine = self.machine.machine(&runtime)?;
        let outcome = machine.install(bundle, told)?;
        show_outcome(output, &machine, &app, &outcome)
    }
}

/// A command about one application.
#[derive(Debug, Args)]
pub(super) struct OneApp {
    /// The application
    app: AppName,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    pub(super) fleet: FleetArgs,
}

impl OneApp {
    /// The command as it is said to another box.
    pub(super) fn words(&self, command: &str) -> Vec<String> {
        [command.to_owned(), self.app.to_string()].into_iter().chain(self.machine.words()).collect()
    }

    pub(super) fn rollback(&self, output: &Output) -> Result {
        let runtime = self.machine.runtime()?;
        let machine = self.machine.machine(&runtime)?;
        let outcome = machine.rollback(&self.app, told)?;
        show_outcome(output, &machine, &self.app, &outcome)
    }

    pub(super) fn remove(&self, output: &Output) -> Result {
        let runtime = self.machine.runtime()?;
        self.machine.machine(&runtime)?.remove(&self.app)?;
        output.show(&json!({ "app": self.app, "removed": true }), || format!("{} removed", self.app))?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// The applications
    #[arg(required_unless_present = "all")]
    apps: Vec<AppName>,
    /// All applications
    #[arg(long, conflicts_with = "apps")]
    all: bool,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    pub(super) fleet: FleetArgs,
}

impl Stop {
    /// The command as it is said to another box.
    pub(super) fn words(&self) -> Vec<String> {
        let apps = self.apps.iter().map(ToString::to_string);
        let all = self.all.then(|| "--all".to_owned());
        ["stop".to_owned()].into_iter().chain(apps).chain(all).chain(self.machine.words()).collect()
    }

    pub(super) fn run(&self, output: &Output) -> Result {
        let runtime = self.machine.runtime()?;
        let machine = self.machine.machine(&runtime)?;
        let apps = if self.all { Store::apps(&self.machine.state_dir)? } else { self.apps.clone() };
        // One that cannot be stopped does not keep the others running.
        let (mut stopped, mut failed) = (Vec::new(), None);
        for app in apps {
            match machine.stop(&app) {
                Ok(()) => stopped.push(app),
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        eprintln!("sluice-switch: {:#}", anyhow::Error::from(before));
                    }
                }
            }
        }
        output.show(&json!({ "stopped": stopped }), || {
            stopped.iter().map(|app| format!("{app} stopped")).collect::<Vec<_>>().join("\n")
        })?;
        failed.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
    }
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    apps: SomeApps,
    /// First mount control groups where nobody has, as `preflight --fix` does
    #[arg(long)]
    fix: bool,
}

impl Up {
    /// Which boxes it is for.
    pub(super) fn fleet(&self) -> &FleetArgs {
        &self.apps.fleet
    }

    /// The command as it is said to another box.
    pub(super) fn words(&self) -> Vec<String> {
        let fix = self.fix.then(|| "--fix".to_owned());
        self.apps.words("up").into_iter().chain(fix).collect()
    }

    pub(super) fn run(&self, output: &Output) -> Result {
        if self.fix {
            let place = self.apps.machine.place();
            let cgroups = preflight::Check::gather(&place, &preflight::Needs::default());
            for fixed in fix(&Facts { cgroups, ..Facts::default() }) {
                let done = fixed.error.unwrap_or_else(|| format!("done: {}", fixed.repair));
                eprintln!("sluice-switch: {done}");
            }
        }
        self.apps.up(output)
    }
}

/// Repairs what can be, and goes on past what cannot.
pub(super) fn fix(facts: &Facts) -> Vec<preflight::Fixed> {
    let fixed = |repair: Repair| {
        let error = preflight::apply(&repair).err().map(|error| error.to_string());
        preflight::Fixed { repair, error }
    };
    preflight::plan(facts).into_iter().map(fixed).collect()
}

#[derive(Debug, Args)]
pub(super) struct Tend {
    #[command(flatten)]
    apps: SomeApps,
    /// Also start again what has ended by itself, but not what `stop` stopped
    #[arg(long)]
    restart: bool,
}

impl Tend {
    /// Says nothing when there was nothing to do: cron sends a mail for every line.
    pub(super) fn run(&self, output: &Output) -> Result {
        let runtime = self.apps.machine.runtime()?;
        let machine = self.apps.machine.machine(&runtime)?;
        let mut rows = Vec::new();
        let mut lines = Vec::new();
        let mut failed = false;
        for app in self.apps.apps()? {
            match machine.tend(&app, self.restart) {
                Ok(Tended { capped, restarted }) => {
                    let log = capped.map(|c| json!({ "size": c.size, "kept": c.kept }));
                    rows.push(json!({ "app": app, "log": log, "restarted": restarted, "error": null }));
                    lines.extend(
                        capped
                            .map(|c| format!("{app}: its log of {} bytes was cut, {} kept", c.size, c.kept)),
                    );
                    lines.extend(
                        restarted.map(|release| format!("{app}: had ended and was started again, {release}")),
                    );
                }
                Err(error) => {
                    failed = true;
                    let error = format!("{:#}", anyhow::Error::from(error));
                    eprintln!("sluice-switch: {app}: {error}");
                    rows.push(json!({ "app": app, "log": null, "restarted": null, "error": error }));
                }
            }
        }
        if output.json || !lines.is_empty() {
            output.show(&json!({ "apps": rows }), || lines.join("\n"))?;
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Cuts a log that is too long, in passing: that it cannot be cut is no reason not to do what was asked for.
fn cap(machine: &Machine<'_>, app: &AppName) {
    if let Err(error) = machine.store(app).cap_log() {
        eprintln!("sluice-switch: {app}: {:#}", anyhow::Error::from(error));
    }
}

/// A command about some applications, or all.
#[derive(Debug, Args)]
pub(super) struct SomeApps {
    /// The applications; all when none is named
    apps: Vec<AppName>,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    pub(super) fleet: FleetArgs,
}

impl SomeApps {
    /// The command as it is said to another box.
    pub(super) fn words(&self, command: &str) -> Vec<String> {
        let apps = self.apps.iter().map(ToString::to_string);
        [command.to_owned()].into_iter().chain(apps).chain(self.machine.words()).collect()
    }

    fn apps(&self) -> anyhow::Result<Vec<AppName>> {
        let known = Store::apps(&self.machine.state_dir)?;
        if let Some(unknown) = self.apps.iter().find(|app| !known.contains(app)) {
            bail!("there is no application {unknown} here; `sluice-switch status` lists those that are");
        }
        Ok(if self.apps.is_empty() { known } else { self.apps.clone() })
    }

    fn up(&self, output: &Output) -> Result {
        let runtime = self.machine.runtime()?;
        let machine = self.machine.machine(&runtime)?;
        let mut shown = Vec::new();
        let mut failed = 0;
        for app in self.apps()? {
            cap(&machine, &app);
            // One that cannot be started does not keep the others from it.
            match machine.recover(&app) {
                Ok(running) => shown.push(json!({ "app": app, "running": running, "error": null })),
                Err(error) => {
                    failed += 1;
                    eprintln!("sluice-switch: {app}: {:#}", anyhow::Error::from(error));
                    shown.push(json!({ "app": app, "running": null, "error": "see stderr" }));
                }
            }
        }
        output.show(&json!({ "apps": shown }), || {
            let line = |row: &Value| {
                let running = row["running"].as_str().unwrap_or("not running");
                format!("{} {running}", row["app"].as_str().unwrap_or_default())
            };
            shown.iter().map(line).collect::<Vec<_>>().join("\n")
        })?;
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    pub(super) fn status(&self, output: &Output) -> Result {
        let runtime = self.machine.runtime()?;
        let machine = self.machine.machine(&runtime)?;
        let mut rows = Vec::new();
        let mut wrong = false;
        for app in self.apps()? {
            cap(&machine, &app);
            let store = machine.store(&app);
            let (current, previous) = (store.current()?, store.previous()?);
            let manifest = current.map(|d| store.manifest(d)).transpose();
            let state = runtime.state(&app)?;
            let running = machine.running(&app)?;
            let status = match state.as_ref().map(|s| s.status) {
                _ if manifest.is_err() => "damaged",
                Some(Status::Running) if running == current => "running",
                Some(Status::Running) => "on trial",
                _ => "stopped",
            };
            if let Err(error) = &manifest {
                eprintln!("sluice-switch: {app}: {error}");
            }
            let version = manifest.as_ref().ok().and_then(|m| m.as_ref()).map(|m| &m.version);
            wrong |= status != "running";
            rows.push(json!({
                "app": app, "status": status, "current": current, "previous": previous,
                "version": version,
                "pid": state.and_then(|s| s.pid), "releases": store.releases()?.len(),
                "degraded": degraded(&machine, &app).unwrap_or_default(),
            }));
        }
        output.show(&json!({ "apps": rows }), || {
            let mut text =
                format!("{:<20} {:<10} {:<16} {:<14} {:>8}\n", "APP", "STATUS", "VERSION", "RELEASE", "PID");
            for row in &rows {
                let field = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
                let release =
                    field("current").strip_prefix("sha256:").map_or("-".to_owned(), |d| d[..12].to_owned());
                let pid = row["pid"].as_u64().map_or("-".to_owned(), |p| p.to_string());
                let (app, status, version) = (field("app"), field("status"), field("version"));
                text += &format!("{app:<20} {status:<10} {version:<16} {release:<14} {pid:>8}\n");
                for limit in row["degraded"].as_array().into_iter().flatten() {
                    text += &format!("  {}\n", limit.as_str().unwrap_or_default());
                }
            }
            text
        })?;
        Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    pub(super) fn gc(&self, output: &Output) -> Result {
        let mut gone = Vec::new();
        for app in self.apps()? {
            let store = Store::new(&self.machine.state_dir, &app);
            let lock = store.lock()?;
            gone.extend(store.gc(&lock)?.into_iter().map(|d| json!({ "app": app, "release": d })));
        }
        output.show(&json!({ "removed": gone }), || format!("{} releases removed", gone.len()))?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The application
    app: AppName,
    /// How many bytes of the end to show
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    tail: u64,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    pub(super) fleet: FleetArgs,
}

impl Logs {
    /// The command as it is said to another box.
    pub(super) fn words(&self) -> Vec<String> {
        vec!["logs".to_owned(), self.app.to_string(), "--tail".to_owned(), self.tail.to_string()]
    }

    pub(super) fn run(&self) -> Result {
        let path = Store::new(&self.machine.state_dir, &self.app).log_path();
        let mut file = fs::File::open(&path).with_context(|| format!("opening `{}`", path.display()))?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(self.tail)))?;
        io::copy(&mut file.take(self.tail), &mut io::stdout().lock())?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The application
    app: AppName,
    /// The command and its arguments, after --
    #[arg(last = true, required = true)]
    command: Vec<String>,
    /// How many seconds the command may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    pub(super) fleet: FleetArgs,
}

impl Exec {
    /// The command as it is said to another box.
    pub(super) fn words(&self) -> Vec<String> {
        let timeout = self.timeout.to_string();
        let words = ["exec", self.app.as_str(), "--timeout", &timeout, "--"].map(str::to_owned);
        words.into_iter().chain(self.command.iter().cloned()).collect()
    }

    pub(super) fn run(&self, output: &Output) -> Result {
        let runtime = self.machine.runtime()?;
        let ran = runtime.exec(&self.app, &self.command, Duration::from_secs(self.timeout))?;
        if output.json {
            output.show(&json!({ "code": ran.code, "output": ran.output }), String::new)?;
        } else {
            io::stdout().lock().write_all(ran.output.as_bytes())?;
        }
        Ok(ExitCode::from(u8::try_from(ran.code).unwrap_or(1)))
    }
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// A directory that `unpack` made
    directory: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Run {
    /// Runs in the foreground and gives the process's own exit status.
    pub(super) fn run(&self) -> Result {
        let path = self.directory.join("manifest.json");
        let bytes = fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
        let manifest: crate::bundle::Manifest =
            crate::canonical::from_slice(&bytes).with_context(|| format!("`{}`", path.display()))?;
        let runtime = self.machine.runtime()?;
        let directory = self.machine.run_dir.join("foreground").join(manifest.app.as_str());
        let degraded = prepare(
            &manifest,
            Digest::of(&bytes),
            &self.directory.join("rootfs"),
            &directory,
            &Cgroups::detect().context("reading /proc/self/mountinfo")?,
            self.machine.allow_degraded,
        )?;
        for limit in degraded {
            eprintln!("sluice-switch: {limit}");
        }
        // The container's first process is an orphan once runc has made it; as the reaper of our descendants we are
        // told how it ends.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("becoming the reaper")?;
        let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP]).context("waiting for signals")?;
        let stdout = fs::File::from(rustix::io::dup(rustix::stdio::stdout()).context("sharing stdout")?);
        // Refused when the application is installed and runs: that container is not ours to remove.
        let pid = runtime.create(&manifest.app, &directory, &stdout)?;
        let ran = (|| {
            runtime.start(&manifest.app)?;
            wait(&runtime, &manifest.app, pid, manifest.process.stop_signal, &mut signals)
        })();
        runtime.delete(&manifest.app)?;
        let _ = fs::remove_dir_all(&directory);
        Ok(ExitCode::from(ran?))
    }
}

/// Waits for the first process's end, and passes on the signals that come meanwhile: the stop signal for those that
/// ask us to end.
fn wait(
    runtime: &Runc,
    app: &AppName,
    pid: u32,
    stop_signal: u32,
    signals: &mut Signals,
) -> anyhow::Result<u8> {
    use rustix::process::{Pid, WaitOptions, waitpid};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("the runtime gave no process")?;
    loop {
        if let Some((_, status)) =
            waitpid(Some(pid), WaitOptions::NOHANG).context("waiting for the container")?
        {
            let code = status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s));
            return Ok(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1));
        }
        for signal in signals.wait() {
            let pass = match signal {
                SIGCHLD => continue,
                SIGHUP => SIGHUP as u32,
                _ => stop_signal,
            };
            // It may have ended meanwhile, which the next turn sees.
            let _ = runtime.signal(app, pass);
        }
    }
}
