//! On Cumulus Linux `switchd` is the daemon that programs the ASIC. Whatever we install or run there bears another name
//! and touches nothing of its.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::process::Command;

use common::{Bench, busybox, containers, unique};

/// A machine of its own: nothing can be written but in directories that begin empty, so that looking through these is
/// looking through all. A `switchd` is installed.
const MACHINE: &str = r#"
set -eu
mkdir -p "$BENCH/usr-sbin"
cp "$(command -v runc)" "$BENCH/usr-sbin/runc"
for directory in /etc /opt /run /srv /usr/local /var; do mount -t tmpfs tmpfs $directory; done
mkdir -p /etc/cumulus /etc/systemd/system /var/lib /var/log
printf '[Unit]\nDescription=Cumulus Linux Switch Daemon\n' >/etc/systemd/system/switchd.service
echo 'mode = hardware' >/etc/cumulus/switchd.conf
cp /bin/busybox "$BENCH/usr-sbin/switchd"
mount --bind "$BENCH/usr-sbin" /usr/sbin
mkdir /run/operator
cp "$BENCH/app.slb" "$BENCH/key.pub" /run/operator
cp "$PROGRAM" /run/operator/sluice-switch
mount -o remount,bind,ro /
cd /run/operator
# Everything writable is on file systems that were mounted here.
writable() { find /etc /opt /run /srv /usr/local /var /usr/sbin "$@"; }
sums() { sha256sum /etc/systemd/system/switchd.service /etc/cumulus/switchd.conf /usr/sbin/switchd; }
before=$(sums)
touch /run/stamp
# A file's time is in ticks of the clock.
busybox sleep 0.1
"#;

#[test]
fn nothing_that_is_installed_or_runs_is_called_switchd() {
    if !containers("nothing_that_is_installed_or_runs_is_called_switchd") {
        return;
    }
    let bench = Bench::new();
    let app = format!("named-{}", unique());
    let spec = format!(
        "app = \"{app}\"\nversion = \"1\"\n[health]\nrunning = true\ninterval = \"50ms\"\nsoak = \"100ms\"\n"
    );
    fs::write(bench.path("spec.toml"), spec).unwrap();
    bench
        .pack(&busybox("echo up; trap 'exit 0' TERM; while :; do sleep 0.05; done").docker_save(), "app.slb");
    let script = format!(
        r#"{MACHINE}
        ./sluice-switch install app.slb --trust key.pub >/dev/null 2>&1
        ./sluice-switch exec {app} -- /bin/sleep 1 &
        exec=$!
        busybox sleep 0.3
        comms() {{ cat /proc/[0-9]*/comm; }}
        comms | grep -qx sluice-switch || {{ echo "the command is not seen"; exit 1; }}
        echo "processes: $(comms | grep -cx switchd || true)"
        wait $exec
        ./sluice-switch status | grep -q running
        ./sluice-switch stop {app} >/dev/null
        ./sluice-switch up >/dev/null
        [ "$(writable -newer /run/stamp -type f | wc -l)" -gt 3 ] || {{ echo "what it made is not seen"; exit 1; }}
        echo "made: $(writable -newer /run/stamp -iname '*switchd*')"
        ./sluice-switch rm {app} >/dev/null
        [ "$(sums)" = "$before" ] && echo untouched"#
    );
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc", "bash", "-c", &script])
        .env("BENCH", bench.dir.path())
        .env("PROGRAM", env!("CARGO_BIN_EXE_sluice-switch"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(said.lines().collect::<Vec<_>>(), ["processes: 0", "made: ", "untouched"], "{error}");
}
