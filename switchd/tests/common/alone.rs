//! A test that mounts, runs containers or makes network namespaces does so in a process of its own, in namespaces that
//! end with it. So nothing of it is left behind, however it ends: also when the program of the tests is killed.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Set in a process that is one test's own, to what is unique about it.
const ALONE: &str = "SLUICE_TEST_ALONE";

/// Outlives everybody, and begins when whoever holds its standard input is gone: control groups and files do not end
/// with namespaces. What still uses them is being killed.
const SWEEP: &str = r#"
cat >/dev/null
groups() { find /sys/fs/cgroup -depth -type d -path "*$id*" "$@" 2>/dev/null; }
id=$1 directory=$2 tries=0
while [ $tries -lt 100 ]; do
    groups -exec rmdir {} +
    rm -rf --one-file-system "$directory" 2>/dev/null
    [ -n "$(groups)" ] || [ -e "$directory" ] || exit 0
    sleep 0.1
    tries=$((tries + 1))
done
echo "there is still: $directory $(groups)" >&2
exit 1
"#;

/// What nobody else has in a name, on the whole machine. A process's number is nothing of the kind in its own namespace.
pub(crate) fn unique() -> String {
    std::env::var(ALONE).expect("alone() was asked first")
}

/// Whether this process is the calling test's own. If not, the test is run in one, has to pass there, and is over.
pub(crate) fn alone() -> bool {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let thread = std::thread::current();
    let test = thread.name().expect("the harness names a test's thread after it");
    let id = format!("t{:x}n{}x", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = tempfile::Builder::new().prefix("slt").tempdir().unwrap();
    let mut sweeper = Command::new("setsid")
        .args(["sh", "-c", SWEEP, "sweep", &id])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"])
        // The shell collects what containers leave to the first process.
        .args(["--kill-child", "--mount-proc", "sh", "-c", "\"$@\"; exit $?", "first"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(ALONE, &id)
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    drop(sweeper.stdin.take());
    let swept = sweeper.wait().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{test} failed in its own process");
    assert!(swept.success(), "{test} left something behind");
    false
}
