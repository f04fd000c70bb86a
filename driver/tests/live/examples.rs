//! The examples print what their readers are told they print, and leave nothing behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::{Plan, binary, eventually};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Whether this machine can run them: an example makes its own hosts, with what a lab needs.
fn can_run() -> bool {
    Plan::hosts(0).without_agents().start().is_some()
}

fn as_expected(example: &str) {
    if !can_run() {
        return;
    }
    let output = Command::new(examples().join("check"))
        .arg(example)
        .env("SLUICE_BIN", binary())
        .stdin(Stdio::null())
        .output()
        .expect("the check starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// The processes whose command line names this directory.
fn processes_in(directory: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(directory))
        .collect()
}

/// Runs an example up to the given step, sends it a signal, and looks for what is left.
fn interrupted(example: &str, step: &str, signal: libc::c_int) {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(examples().join(example).join("run"))
        .env("SLUICE_BIN", binary())
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the example starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let reached = lines.map_while(Result::ok).any(|line| line.starts_with(step));
    assert!(reached, "{example} never said {step:?}");
    let directory =
        fs::read_dir(temporary.path()).expect("its directory").flatten().next().expect("one entry");
    let directory = directory.path().to_string_lossy().into_owned();
    // SAFETY: kill(2) takes no pointers, and the child is not waited for yet.
    unsafe { libc::kill(child.id() as i32, signal) };
    let status = child.wait().expect("its end");
    assert!(!status.success(), "{example} went on to its end");
    // After SIGKILL nobody waits for the sandbox's processes; the kernel ends them all the same.
    eventually("the example's processes are gone", Duration::from_secs(5), || {
        let left = processes_in(&directory);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    });
    if signal != libc::SIGKILL {
        assert!(!Path::new(&directory).exists(), "{directory} is left");
        let name = directory.rsplit('/').next().expect("a last part").replace('.', "-");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
            assert!(
                !hierarchy.path().join(&name).exists(),
                "{name} is left in {}",
                hierarchy.path().display()
            );
        }
    }
}

#[test]
fn two_hosts_prints_what_is_expected() {
    as_expected("two-hosts");
}

#[test]
fn quickstart_prints_what_is_expected() {
    as_expected("quickstart");
}

#[test]
fn an_interrupted_example_leaves_nothing() {
    if !can_run() {
        return;
    }
    for (step, signal) in [
        ("==> Two hosts", libc::SIGINT),
        ("==> A sluice agent", libc::SIGTERM),
        ("==> A sluice agent", libc::SIGKILL),
        ("==> A container on each", libc::SIGTERM),
        ("==> Ping", libc::SIGHUP),
    ] {
        interrupted("two-hosts", step, signal);
    }
}
