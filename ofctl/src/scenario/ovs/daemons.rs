//! An Open vSwitch of our own, in a directory of its own: nothing that runs on the machine is touched.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::openflow::Target;
use crate::scenario::WorldError;

/// How long a daemon may take to start, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where packages put the schema.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

const SERVER: &str = "ovsdb-server";
const VSWITCHD: &str = "ovs-vswitchd";

/// How an Open vSwitch of one's own is run.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Words before the command of each daemon, which must become that command themselves: `setpriv --pdeathsig KILL`.
    pub before_daemons: Vec<String>,
    /// Words before those of `ovs-vswitchd`, such as `unshare --net` for a network namespace.
    pub before_vswitchd: Vec<String>,
    /// Options of `ovs-vswitchd`.
    pub options: Vec<String>,
}

impl Setup {
    /// With the datapath `dummy`, whose ports are there when they are added and which needs no privilege.
    pub fn dummy() -> Setup {
        Setup::default().option("--enable-dummy").option("--disable-system")
    }

    /// `ovs-vswitchd` in a network namespace, which ends with it.
    #[must_use]
    pub fn in_new_network(mut self) -> Setup {
        self.before_vswitchd = ["unshare", "--net", "--"].map(str::to_owned).into();
        self
    }

    /// `ovs-vswitchd` in the network namespace of that process.
    #[must_use]
    pub fn in_network_of(mut self, process: u32) -> Setup {
        self.before_vswitchd =
            ["nsenter", "--net", "--target", &process.to_string()].map(str::to_owned).into();
        self
    }

    /// The daemons are killed when the thread ends that started them, however it ends.
    #[must_use]
    pub fn with_this_thread(mut self) -> Setup {
        self.before_daemons = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned).into();
        self
    }

    /// Adds an option of `ovs-vswitchd`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Setup {
        self.options.push(option.to_owned());
        self
    }
}

/// `ovsdb-server` and `ovs-vswitchd`, started for a test: a scenario's, or one that is written otherwise. They end with
/// this.
#[derive(Debug)]
pub struct PrivateOvs {
    directory: PathBuf,
    setup: Setup,
    server: Option<Child>,
    vswitchd: Option<Child>,
}

impl Drop for PrivateOvs {
    fn drop(&mut self) {
        for child in [&mut self.vswitchd, &mut self.server].into_iter().flatten() {
            end(child);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn failed(what: impl std::fmt::Display, error: impl std::fmt::Display) -> WorldError {
    WorldError(format!("{what}: {error}"))
}

impl PrivateOvs {
    /// Starts the daemons, without bridges.
    ///
    /// # Errors
    /// If Open vSwitch is not installed or does not start; the text says which.
    pub fn start(setup: Setup) -> Result<PrivateOvs, WorldError> {
        let mut ovs = PrivateOvs { directory: new_directory()?, setup, server: None, vswitchd: None };
        let (database, socket) = (text(&ovs.path("conf.db")), text(&ovs.path("db.sock")));
        ovs.run("ovsdb-tool", ["create", &database, SCHEMA])?;
        let words = [database, format!("--remote=punix:{socket}")];
        ovs.server = Some(ovs.daemon(SERVER, &ovs.setup.before_daemons.clone(), &words)?);
        ovs.vsctl("--no-wait init")?;
        ovs.start_vswitchd()?;
        Ok(ovs)
    }

    fn start_vswitchd(&mut self) -> Result<(), WorldError> {
        let before = [&self.setup.before_daemons[..], &self.setup.before_vswitchd[..]].concat();
        let words = [&[format!("unix:{}", text(&self.path("db.sock")))], &self.setup.options[..]].concat();
        self.vswitchd = Some(self.daemon(VSWITCHD, &before, &words)?);
        Ok(())
    }

    /// Kills `ovs-vswitchd`, flows and all.
    pub fn kill_vswitchd(&mut self) {
        if let Some(mut old) = self.vswitchd.take() {
            end(&mut old);
        }
    }

    /// Kills `ovs-vswitchd`, and starts another.
    ///
    /// # Errors
    /// If that does not start.
    pub fn restart_vswitchd(&mut self) -> Result<(), WorldError> {
        self.kill_vswitchd();
        let _ = std::fs::remove_file(self.control(VSWITCHD));
        self.start_vswitchd()
    }

    /// The process of `ovs-vswitchd`; 0 if it was killed.
    pub fn vswitchd_process(&self) -> u32 {
        self.vswitchd.as_ref().map_or(0, Child::id)
    }

    /// The directory, which only we may enter, and which goes with this.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where a bridge is reached by OpenFlow.
    pub fn target(&self, bridge: &str) -> Target {
        Target::Unix(self.path(&format!("{bridge}.mgmt")))
    }

    /// A program that finds these daemons as it finds those of the machine, in the directory.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.directory);
        }
        command.stdin(Stdio::null());
        command
    }

    fn daemon(&self, program: &str, before: &[String], words: &[String]) -> Result<Child, WorldError> {
        let control = self.control(program);
        let log =
            File::create(self.path(&format!("{program}.err"))).map_err(|error| failed(program, error))?;
        let whole = before.iter().map(String::as_str).chain([program]).collect::<Vec<_>>();
        let mut command = self.command(whole[0]);
        command.args(&whole[1..]).args(words);
        command.arg(format!("--unixctl={}", text(&control))).arg("--no-chdir");
        let mut child =
            command.stdout(Stdio::null()).stderr(log).spawn().map_err(|error| missing(whole[0], &error))?;
        self.wait_for(&control, program, &mut child)?;
        Ok(child)
    }

    fn control(&self, program: &str) -> PathBuf {
        self.path(&format!("{program}.ctl"))
    }

    fn wait_for(&self, path: &Path, program: &str, child: &mut Child) -> Result<(), WorldError> {
        let start = Instant::now();
        while !path.exists() {
            let has_ended = !matches!(child.try_wait(), Ok(None));
            if has_ended || start.elapsed() > PATIENCE {
                end(child);
                return Err(failed(format!("{program} does not start"), self.last_words(program)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The end of what `ovs-vswitchd` said.
    pub fn log(&self) -> String {
        self.last_words(VSWITCHD)
    }

    fn last_words(&self, program: &str) -> String {
        let log = std::fs::read_to_string(self.path(&format!("{program}.err"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Runs a program to its end, and gives what it prints.
    ///
    /// # Errors
    /// If it is not there, or fails; with what it says then.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, WorldError> {
        let output =
            self.command(program).args(arguments).output().map_err(|error| missing(program, &error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(program, String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Commands of ovs-vsctl(8), in one transaction whose effect is waited for; words stand between blanks.
    ///
    /// # Errors
    /// If it refuses.
    pub fn vsctl(&self, words: &str) -> Result<String, WorldError> {
        let database = format!("--db=unix:{}", text(&self.path("db.sock")));
        self.run("ovs-vsctl", [database.as_str(), "--timeout=20"].into_iter().chain(words.split_whitespace()))
    }

    /// A command of ovs-ofctl(8) on a bridge, by OpenFlow 1.3.
    ///
    /// # Errors
    /// If it fails.
    pub fn ofctl(&self, command: &str, bridge: &str, arguments: &[&str]) -> Result<String, WorldError> {
        let target = format!("unix:{}", text(&self.path(&format!("{bridge}.mgmt"))));
        let first = ["-O", "OpenFlow13", command, target.as_str()];
        self.run("ovs-ofctl", first.iter().chain(arguments))
    }

    /// A command of ovs-appctl(8) to `ovs-vswitchd`, which has a turn of its main loop for itself.
    ///
    /// # Errors
    /// If it is refused, or `ovs-vswitchd` has ended.
    pub fn appctl(&self, method: &str, parameters: &[&str]) -> Result<String, WorldError> {
        let what = || format!("ovs-appctl {method}");
        let answer = self.exchange(method, parameters).map_err(|error| failed(what(), error))?;
        match (&answer["error"], &answer["result"]) {
            (Value::Null, Value::String(result)) => Ok(result.clone()),
            (error, _) => Err(failed(what(), error.as_str().unwrap_or("no answer").trim())),
        }
    }

    fn exchange(&self, method: &str, parameters: &[&str]) -> io::Result<Value> {
        let mut stream = UnixStream::connect(self.control(VSWITCHD))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = serde_json::json!({"id": 0, "method": method, "params": parameters});
        stream.write_all(request.to_string().as_bytes())?;
        let mut answers = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
        let ended = || io::Error::other(format!("{VSWITCHD} has ended: {}", self.log()));
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
