//! runc(8) as the runtime.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::{Ran, Runtime, RuntimeError, State, Status};
use crate::bundle::AppName;

/// The most of a command's output that is kept.
const MAX_OUTPUT: u64 = 64 << 10;
/// How long runc may take to notice that its command is dead.
const GRACE: Duration = Duration::from_secs(10);
/// How often a process is looked at that is waited for.
const POLL: Duration = Duration::from_millis(10);

/// Runs containers by runc(8).
#[derive(Debug, Clone)]
pub struct Runc {
    program: PathBuf,
    /// Arguments before all others.
    first: Vec<&'static str>,
    root: PathBuf,
}

/// What `runc state` prints.
#[derive(Deserialize)]
struct Wire {
    status: String,
    #[serde(default)]
    pid: u32,
    bundle: PathBuf,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A line of runc's log.
#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
}

impl Runc {
    /// With the program, by path or by name, and the directory for its state: one of our own, so that no other
    /// user of runc on the switch meets our containers.
    pub fn new(program: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), first: Vec::new(), root: root.into() }
    }

    /// With the helper in `program`, which is a `sluice-switch` of this version.
    #[cfg(feature = "libcontainer")]
    pub fn libcontainer(program: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), first: vec![super::helper::WORD], root: root.into() }
    }

    /// Whether libcontainer would work here: whether the kernel has the system calls that it needs.
    #[cfg(feature = "libcontainer")]
    pub fn kernel_can(program: &Path) -> bool {
        let mut command = Command::new(program);
        command.args([
            super::helper::WORD,
            "--root",
            "/",
            "--log",
            "/dev/null",
            "--log-format",
            "json",
            "probe",
        ]);
        command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Whether the program can be started.
    pub fn exists(&self) -> bool {
        let mut command = Command::new(&self.program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    }

    /// Where runc tells of an error: its stderr may be the container's.
    fn log(&self, id: &AppName) -> PathBuf {
        self.root.join(format!("{id}.log"))
    }

    fn command(&self, id: &AppName) -> Result<Command, RuntimeError> {
        fs::create_dir_all(&self.root).map_err(|source| RuntimeError::Io {
            what: "making the directory",
            path: self.root.clone(),
            source,
        })?;
        let log = self.log(id);
        // One call's log is enough.
        let _ = fs::remove_file(&log);
        let mut command = Command::new(&self.program);
        command
            .args(&self.first)
            .arg("--root")
            .arg(&self.root)
            .arg("--log")
            .arg(log)
            .args(["--log-format", "json"]);
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self, id: &AppName, what: &'static str, command: &mut Command) -> Result<(), RuntimeError> {
        let status = command.status().map_err(|source| self.no_runtime(source))?;
        if status.success() { Ok(()) } else { Err(self.refused(id, what, status)) }
    }

    fn ask(&self, id: &AppName) -> Result<Option<Wire>, RuntimeError> {
        if !self.root.join(id.as_str()).exists() {
            return Ok(None);
        }
        let mut command = self.command(id)?;
        let output =
            command.arg("state").arg(id.as_str()).output().map_err(|source| self.no_runtime(source))?;
        if !output.status.success() {
            return Err(self.refused(id, "tell the state of", output.status));
        }
        let answer = |source| RuntimeError::Answer { id: id.clone(), source };
        serde_json::from_slice(&output.stdout).map(Some).map_err(answer)
    }
    /// The process of `exec`: the container's own with other arguments, so that the user, the environment and the
    /// restrictions are the same. Without its limit of address space: that would bind runc's own first steps in the
    /// container, which need more than many limits allow.
    fn process(&self, id: &AppName, args: &[String]) -> Result<PathBuf, RuntimeError> {
        let gone = || RuntimeError::Refused {
            what: "exec",
            id: id.clone(),
            message: "there is no container".into(),
        };
        let bundle = self.ask(id)?.ok_or_else(gone)?.bundle;
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| RuntimeError::Io { what, path, source }
        };
        let path = bundle.join("config.json");
        let text = fs::read(&path).map_err(io("reading", &path))?;
        let mut config: Value = serde_json::from_slice(&text).map_err(|e| io("reading", &path)(e.into()))?;
        let mut process = config["process"].take();
        process["args"] = args.into();
        if let Some(limits) = process["rlimits"].as_array_mut() {
            limits.retain(|limit| limit["type"] != "RLIMIT_AS");
        }
        // Several commands may be run at once.
        let mut file = tempfile::Builder::new()
            .prefix("exec-")
            .suffix(".json")
            .tempfile_in(&bundle)
            .map_err(io("making a file in", &bundle))?;
        serde_json::to_writer(&mut file, &process).map_err(|e| io("writing", &bundle)(e.into()))?;
        let (_, path) = file.keep().map_err(|e| io("keeping", &bundle)(e.error))?;
        Ok(path)
    }

    fn no_runtime(&self, source: io::Error) -> RuntimeError {
        RuntimeError::NoRuntime { program: self.program.clone(), source }
    }

    fn refused(&self, id: &AppName, what: &'static str, status: ExitStatus) -> RuntimeError {
        let text = fs::read_to_string(self.log(id)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let errors: Vec<String> =
            lines.filter(|l| l.level == "error" || l.level == "fatal").map(|l| l.msg).collect();
        let message = if errors.is_empty() { format!("it ended with {status}") } else { errors.join("; ") };
        RuntimeError::Refused { what, id: id.clone(), message }
    }
}

fn kill(pid_file: &Path) {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    if let Some(pid) = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw) {
        // It may end at this very moment.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

impl Runtime for Runc {
    fn create(&self, id: &AppName, bundle: &Path, log: &File) -> Result<u32, RuntimeError> {
        let output = || {
            log.try_clone().map(Stdio::from).map_err(|source| RuntimeError::Io {
                what: "sharing the log of",
                path: bundle.to_owned(),
                source,
            })
        };
        let pid_file = bundle.join("pid");
        let mut command = self.command(id)?;
        command.arg("create").arg("--bundle").arg(bundle).arg("--pid-file").arg(&pid_file).arg(id.as_str());
        self.run(id, "create", command.stdout(output()?).stderr(output()?))?;
        let text = fs::read_to_string(&pid_file);
        let pid = text.and_then(|t| t.trim().parse().map_err(io::Error::other));
        pid.map_err(|source| RuntimeError::Io { what: "reading", path: pid_file, source })
    }

    fn start(&self, id: &AppName) -> Result<(), RuntimeError> {
        let mut command = self.command(id)?;
        self.run(
            id,
            "start",
            command.arg("start").arg(id.as_str()).stdout(Stdio::null()).stderr(Stdio::null()),
        )
    }

    fn state(&self, id: &AppName) -> Result<Option<State>, RuntimeError> {
        let Some(wire) = self.ask(id)? else { return Ok(None) };
        let status = match wire.status.as_str() {
            "creating" | "created" => Status::Created,
            "running" => Status::Running,
            "paused" => Status::Paused,
            "stopped" => Status::Stopped,
            other => {
                let source = serde::de::Error::custom(format!("the status `{other}`"));
                return Err(RuntimeError::Answer { id: id.clone(), source });
            }
        };
        Ok(Some(State { status, pid: (wire.pid != 0).then_some(wire.pid), annotations: wire.annotations }))
    }
    fn signal(&self, id: &AppName, signal: u32) -> Result<(), RuntimeError> {
        let mut command = self.command(id)?;
        command.args(["kill", id.as_str(), &signal.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        self.run(id, "kill", &mut command)
    }

    fn delete(&self, id: &AppName) -> Result<(), RuntimeError> {
        // --force is also for what a crash in the middle of a creation left.
        let mut command = self.command(id)?;
        command.args(["delete", "--force", id.as_str()]).stdout(Stdio::null()).stderr(Stdio::null());
        let done = self.run(id, "delete", &mut command);
        let _ = fs::remove_file(self.log(id));
        done
    }

    fn exec(&self, id: &AppName, args: &[String], timeout: Duration) -> Result<Ran, RuntimeError> {
        let process = self.process(id, args)?;
        let ran = self.exec_process(id, &process, args, timeout);
        let _ = fs::remove_file(process);
        ran
    }
}

impl Runc {
    fn exec_process(
        &self,
        id: &AppName,
        process: &Path,
        args: &[String],
        timeout: Duration,
    ) -> Result<Ran, RuntimeError> {
        let mut command = self.command(id)?;
        let pid_file = process.with_extension("pid");
        command.arg("exec").arg("--process").arg(process).arg("--pid-file").arg(&pid_file).arg(id.as_str());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.no_runtime(source))?;
        // Read beside the wait: a command that fills a pipe would never end.
        let read = |pipe: Option<Box<dyn Read + Send>>| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut pipe) = pipe {
                    let _ = Read::by_ref(&mut pipe).take(MAX_OUTPUT).read_to_end(&mut bytes);
                    let _ = io::copy(&mut pipe, &mut io::sink());
                }
                bytes
            })
        };
        let stdout = read(child.stdout.take().map(|p| Box::new(p) as _));
        let stderr = read(child.stderr.take().map(|p| Box::new(p) as _));
        let end = Instant::now() + timeout;
        let io = |source| RuntimeError::Io { what: "waiting for", path: self.program.clone(), source };
        let status = loop {
            match child.try_wait().map_err(io)? {
                Some(status) => break status,
                None if Instant::now() < end => thread::sleep(POLL),
                None => {
                    // Its first process is runc's child, so the number is its own as long as runc is there. A runc
                    // that is slow may not have written it down yet, and without runc nobody would know it.
                    let end = Instant::now() + GRACE;
                    while child.try_wait().map_err(io)?.is_none() && Instant::now() < end {
                        kill(&pid_file);
                        thread::sleep(POLL);
                    }
                    let _ = child.kill();
                    child.wait().map_err(io)?;
                    let _ = fs::remove_file(&pid_file);
                    let command = args.join(" ");
                    return Err(RuntimeError::Timeout {
                        id: id.clone(),
                        command,
                        seconds: timeout.as_secs(),
                    });
                }
            }
        };
        let _ = fs::remove_file(&pid_file);
        let bytes = [stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default()].concat();
        let output = String::from_utf8_lossy(&bytes).into_owned();
        // 255 is runc's own failure, and says so in its log.
        if status.code() == Some(255) && self.log(id).metadata().is_ok_and(|m| m.len() > 0) {
            return Err(self.refused(id, "run a command in", status));
        }
        Ok(Ran { code: status.code().unwrap_or(128), output })
    }
}
