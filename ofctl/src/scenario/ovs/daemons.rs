//! An Open vSwitch of our own, in a directory of its own: nothing that runs on the machine is touched.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scenario::WorldError;

/// How long a daemon may take to start, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where packages put the schema.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// ovsdb-server and ovs-vswitchd with dummy ports, which frames enter by command and leave into capture files.
#[derive(Debug)]
pub(super) struct Daemons {
    directory: PathBuf,
    children: Vec<Child>,
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn failed(what: impl std::fmt::Display, error: impl std::fmt::Display) -> WorldError {
    WorldError(format!("{what}: {error}"))
}

impl Daemons {
    pub(super) fn start() -> Result<Daemons, WorldError> {
        let mut daemons = Daemons { directory: new_directory()?, children: Vec::new() };
        let (database, socket) = (daemons.path("conf.db"), daemons.path("db.sock"));
        daemons.run("ovsdb-tool", &["create", &text(&database), SCHEMA])?;
        let remote = format!("--remote=punix:{}", text(&socket));
        daemons.daemon("ovsdb-server", &[&text(&database), &remote])?;
        daemons.run("ovs-vsctl", &[&daemons.database(), "--no-wait", "init"])?;
        daemons.daemon(
            "ovs-vswitchd",
            &[&format!("unix:{}", text(&socket)), "--enable-dummy", "--disable-system"],
        )?;
        Ok(daemons)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn database(&self) -> String {
        format!("--db=unix:{}", text(&self.path("db.sock")))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.directory);
        }
        command.stdin(Stdio::null());
        command
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) -> Result<(), WorldError> {
        let control = self.control(program);
        let log =
            File::create(self.path(&format!("{program}.err"))).map_err(|error| failed(program, error))?;
        let mut command = self.command(program);
        command.args(arguments).arg(format!("--unixctl={}", text(&control))).arg("--no-chdir");
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        self.children.push(child.map_err(|error| missing(program, &error))?);
        self.wait_for(&control, program)
    }

    fn control(&self, program: &str) -> PathBuf {
        self.path(&format!("{program}.ctl"))
    }

    fn wait_for(&mut self, path: &Path, program: &str) -> Result<(), WorldError> {
        let start = Instant::now();
        while !path.exists() {
            let has_ended =
                self.children.last_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if has_ended || start.elapsed() > PATIENCE {
                return Err(failed(format!("{program} does not start"), self.last_words(program)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The end of what a daemon said.
    fn last_words(&self, program: &str) -> String {
        let log = std::fs::read_to_string(self.path(&format!("{program}.err"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, WorldError> {
        let output =
            self.command(program).args(arguments).output().map_err(|error| missing(program, &error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(program, String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Commands of ovs-vsctl(8), in one transaction whose effect is waited for.
    pub(super) fn vsctl(&self, words: &[String]) -> Result<(), WorldError> {
        let database = self.database();
        let mut arguments = vec![database.as_str(), "--timeout=20"];
        arguments.extend(words.iter().map(String::as_str));
        self.run("ovs-vsctl", &arguments).map(drop)
    }

    /// A command of ovs-appctl(8) to ovs-vswitchd.
    pub(super) fn appctl(&self, method: &str, parameters: &[&str]) -> Result<String, WorldError> {
        let what = || format!("ovs-appctl {method}");
        let answer = self.exchange(method, parameters).map_err(|error| failed(what(), error))?;
        match (&answer["error"], &answer["result"]) {
            (Value::Null, Value::String(result)) => Ok(result.clone()),
            (error, _) => Err(failed(what(), error.as_str().unwrap_or("no answer").trim())),
        }
    }

    fn exchange(&self, method: &str, parameters: &[&str]) -> io::Result<Value> {
        let mut stream = UnixStream::connect(self.control("ovs-vswitchd"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = serde_json::json!({"id": 0, "method": method, "params": parameters});
        stream.write_all(request.to_string().as_bytes())?;
        let mut answers = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
        let ended =
            || io::Error::other(format!("ovs-vswitchd has ended: {}", self.last_words("ovs-vswitchd")));
        answers.next().ok_or_else(ended)?.map_err(io::Error::from)
    }
}

fn missing(program: &str, error: &io::Error) -> WorldError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            WorldError(format!("{program} is not installed; Debian has it in the package openvswitch-switch"))
        }
        _ => failed(program, error),
    }
}

/// A directory that only we may enter.
fn new_directory() -> Result<PathBuf, WorldError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ofctl-test.{}.{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(path.display(), error)),
        }
    }
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
