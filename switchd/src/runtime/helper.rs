//! libcontainer as a program that speaks the part of runc's command line that we use.
//!
//! libcontainer clones its caller without execve(2). In a program with threads the clone inherits locks that nobody
//! will ever open, and sometimes hangs for ever; it also changes its caller's directory, dumpability and OOM score.
//! So it never runs in our own process: the program starts itself again with [`WORD`] as its first argument and this
//! is all that the new process does, on one thread. A hang or an abort there costs a child and no more.
//!
//! The answers are runc's as well, so [`Runc`](super::Runc) drives both, and one suite of tests holds for both.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::error::LibcontainerError;
use libcontainer::signal::Signal;
use libcontainer::syscall::syscall::SyscallType;
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::json;

/// The first argument that makes the program this helper.
pub const WORD: &str = "__container-helper";

/// What runc itself ends with when a command in a container could not be begun.
const FAILED: u8 = 255;

#[derive(Parser)]
struct Cli {
    #[arg(long)]
    root: PathBuf,
    #[arg(long)]
    log: PathBuf,
    #[arg(long)]
    log_format: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Create {
        #[arg(long)]
        bundle: PathBuf,
        #[arg(long)]
        pid_file: PathBuf,
        id: String,
    },
    Start {
        id: String,
    },
    State {
        id: String,
    },
    Kill {
        id: String,
        signal: i32,
    },
    Delete {
        #[arg(long)]
        force: bool,
        id: String,
    },
    Exec {
        #[arg(long)]
        process: PathBuf,
        #[arg(long)]
        pid_file: PathBuf,
        id: String,
    },
    /// Ends with status 0 when this kernel has the system calls that libcontainer needs.
    Probe,
}

type Failure = Box<dyn std::error::Error>;

/// Does one command and gives the exit status. Only for a process that has done nothing else.
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("{error}");
            return FAILED;
        }
    };
    match act(&cli) {
        Ok(code) => code,
        Err(error) => {
            let line = json!({ "level": "error", "msg": chain(error.as_ref()) });
            let log = fs::OpenOptions::new().create(true).append(true).open(&cli.log);
            // There is nobody else to tell.
            let _ = log.and_then(|mut log| writeln!(log, "{line}"));
            FAILED
        }
    }
}

/// An error with what caused it, which libcontainer's texts leave out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn act(cli: &Cli) -> Result<u8, Failure> {
    let builder = |id: &str| -> Result<ContainerBuilder, LibcontainerError> {
        ContainerBuilder::new(id.to_owned(), SyscallType::default()).with_root_path(&cli.root)?.validate_id()
    };
    let load = |id: &str| Container::load(cli.root.join(id));
    match &cli.command {
        Command::Create { bundle, pid_file, id } => {
            let existed = cli.root.join(id).exists();
            let made = builder(id)?
                .with_pid_file(Some(pid_file))?
                .as_init(bundle)
                .with_systemd(false)
                .with_detach(true)
                .build();
            if let (Err(_), false) = (&made, existed) {
                // What a failed creation leaves would stand in the way of the next.
                let _ = fs::remove_file(pid_file);
                let _ = delete(&cli.root.join(id));
            }
            made?;
        }
        Command::Start { id } => load(id)?.start()?,
        Command::State { id } => {
            let container = load(id)?;
            let status = match container.status() {
                ContainerStatus::Creating => "creating",
                ContainerStatus::Created => "created",
                ContainerStatus::Running => "running",
                ContainerStatus::Stopped => "stopped",
                ContainerStatus::Paused => "paused",
            };
            let annotations: HashMap<String, String> =
                container.state.annotations.clone().unwrap_or_default();
            let pid = container.pid().map_or(0, |pid| pid.as_raw());
            let pid = if container.status() == ContainerStatus::Stopped { 0 } else { pid };
            let state = json!({ "status": status, "pid": pid, "bundle": container.bundle(), "annotations": annotations });
            println!("{state}");
        }
        Command::Kill { id, signal } => load(id)?.kill(Signal::try_from(*signal)?, false)?,
        Command::Delete { id, .. } => delete(&cli.root.join(id))?,
        Command::Exec { process, pid_file, id } => {
            let pid = builder(id)?
                .with_pid_file(Some(pid_file))?
                .as_tenant()
                .with_process(Some(process))
                .with_detach(false)
                .build()?;
            let pid = Pid::from_raw(pid.as_raw()).ok_or("libcontainer gave no process")?;
            let Some((_, status)) = waitpid(Some(pid), WaitOptions::empty())? else {
                return Err("waiting for the command gave nothing".into());
            };
            let code = status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s));
            return Ok(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(FAILED));
        }
        Command::Probe => return Ok(u8::from(!kernel_can())),
    }
    Ok(0)
}

/// Kills and removes; no error when there is nothing.
fn delete(root: &Path) -> Result<(), Failure> {
    if !root.exists() {
        return Ok(());
    }
    match Container::load(root.to_owned()) {
        Ok(mut container) => {
            container.delete(true)?;
        }
        // A creation that died before it wrote down what it made.
        Err(_) => fs::remove_dir_all(root)?,
    }
    Ok(())
}

/// Whether the system calls of libcontainer's mounts are there: by trying, as distributions carry features to older
/// version numbers.
fn kernel_can() -> bool {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let openat2 = openat2(rustix::fs::CWD, "/", flags, Mode::empty(), ResolveFlags::IN_ROOT);
    if openat2.err() == Some(Errno::NOSYS) {
        return false;
    }
    [libc::SYS_faccessat2, libc::SYS_mount_setattr].into_iter().all(|number| {
        // SAFETY: with a descriptor of -1 and null pointers the calls fail whether or not they exist.
        let answer = unsafe { libc::syscall(number, -1, 0, 0, 0, 0) };
        answer != -1 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
    })
}
