//! From one release to the next, with real containers: what works is kept, what does not is undone, and whoever dies
//! in between leaves one of the two running.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Archive, SERVE, Switch, busybox, containers};
use sluice_switch::bundle::{Bundle, Trust};
use sluice_switch::digest::Digest;
use sluice_switch::release::{Machine, Step, SwitchError};
use sluice_switch::runtime::{Cgroups, Runc, Runtime};

/// What an application's releases are taken through.
trait Releases {
    /// Packs a version whose command is `script` and whose health is a short look at the process, or more.
    fn pack(&self, version: &str, script: &str, probe: &str) -> Digest;
    fn install(&self, version: &str) -> (i32, String);
    /// The version that runs, by a command in it.
    fn version(&self) -> String;
}

impl Releases for Switch {
    fn pack(&self, version: &str, script: &str, probe: &str) -> Digest {
        let spec = format!(
            "version = \"{version}\"\nstop_timeout = \"2s\"\ntmpfs = [\"/tmp\"]\n\
             [health]\n{probe}\ntimeout = \"2s\"\ninterval = \"50ms\"\nsoak = \"200ms\"\n"
        );
        let mut image = busybox(script);
        image.layers.push(Archive::new().file("etc/version", 0o644, version.as_bytes()).bytes());
        let bundle = self.pack_image(&image, &spec, &format!("{version}.slb"));
        Bundle::open(&bundle, &Trust::Anyone).unwrap().digest
    }

    fn install(&self, version: &str) -> (i32, String) {
        let bundle = format!("{version}.slb");
        let (code, _, error) = self.run(&["install", &bundle, "--trust", "key.pub"]);
        (code, error)
    }

    fn version(&self) -> String {
        self.ok(&["exec", &self.app, "--", "/bin/cat", "/etc/version"])
    }
}

#[test]
fn what_works_is_kept_and_what_does_not_is_rolled_back() {
    if !containers("what_works_is_kept_and_what_does_not_is_rolled_back") {
        return;
    }
    let s = Switch::new("story");
    let v1 = s.pack("1", SERVE, "running = true");
    s.pack("2", "exit 3", "running = true");
    s.pack("3", SERVE, "exec = [\"/bin/test\", \"-e\", \"/tmp/ready\"]");
    s.pack("4", "echo sick >&2; sleep 0.15; exit 4", "running = true");
    s.pack("5", "no-such-command", "running = true");
    let v6 =
        s.pack("6", &format!("touch /tmp/ready; {SERVE}"), "exec = [\"/bin/test\", \"-e\", \"/tmp/ready\"]");

    let (code, error) = s.install("2");
    assert!(code == 1 && error.contains("there was no release before it, so none runs"), "{error}");
    assert_eq!(s.status()["status"], "stopped");
    let (code, error) = s.install("1");
    assert_eq!(code, 0, "{error}");
    assert_eq!(s.version(), "1");
    for (bad, why) in [
        ("2", "its process has ended"),
        ("3", "it did not work within 2 s: the probe `/bin/test -e /tmp/ready` ended with status 1"),
        ("4", "it worked and then failed"),
        ("5", "its process has ended"),
    ] {
        let (code, error) = s.install(bad);
        assert_eq!(code, 1, "{bad}");
        assert!(
            error.contains(why) && error.contains(&format!("rolled back to {v1}, which runs")),
            "{bad}: {error}"
        );
        let status = s.status();
        assert_eq!((&status["status"], &status["version"]), (&"running".into(), &"1".into()), "after {bad}");
        assert_eq!(s.version(), "1", "after {bad}");
        assert!(!s.app_dir().join("journal.json").exists());
    }
    assert!(s.ok(&["logs", &s.app]).contains("sick"));
    let (code, error) = s.install("6");
    assert_eq!(code, 0, "{error}");
    assert_eq!(s.version(), "6");
    let status = s.status();
    assert_eq!(status["current"], v6.to_string());
    assert_eq!(status["previous"], v1.to_string());
    assert_eq!(status["releases"], 6);
    assert!(s.ok(&["gc"]).contains("4 releases removed"));
    assert_eq!(s.status()["releases"], 2);

    // Again is no change, and the container is the same.
    let pid = s.status()["pid"].clone();
    assert!(s.ok(&["install", "6.slb", "--trust", "key.pub"]).contains("unchanged"));
    assert_eq!(s.status()["pid"], pid);

    s.ok(&["rollback", &s.app]);
    assert_eq!(s.version(), "1");
    s.ok(&["rollback", &s.app]);
    assert_eq!(s.version(), "6");

    s.ok(&["stop", &s.app]);
    let (code, out, _) = s.run(&["status"]);
    assert!(code == 1 && out.contains("stopped"), "{out}");
    assert_eq!(fs::read_link(s.app_dir().join("current")).unwrap(), Path::new("releases").join(v6.hex()));
    s.ok(&["up"]);
    assert_eq!(s.version(), "6");
    s.power_cut();
    s.ok(&["up", &s.app]);
    assert_eq!(s.version(), "6");
    s.ok(&["rm", &s.app]);
    assert!(!s.app_dir().exists());
    assert_eq!(s.runtime().state(&s.id()).unwrap(), None);
    let (code, _, error) = s.run(&["up", &s.app]);
    assert!(code == 1 && error.contains("there is no application"), "{error}");
}

#[test]
fn a_bundle_that_is_not_believed_changes_nothing() {
    if !containers("a_bundle_that_is_not_believed_changes_nothing") {
        return;
    }
    let s = Switch::new("believed");
    s.pack("1", SERVE, "running = true");
    s.pack("2", SERVE, "running = true");
    assert_eq!(s.install("1").0, 0);
    let before = s.status();
    let mut bytes = fs::read(s.bench.path("2.slb")).unwrap();
    let last = bytes.len() - 2000;
    bytes[last] ^= 1;
    fs::write(s.bench.path("bad.slb"), &bytes).unwrap();
    assert_eq!(s.install("bad").0, 1);
    // From a pipe, where the damage is found only at its end.
    let pipe = s
        .command(&["install", "-", "--trust", "key.pub"])
        .stdin(fs::File::open(s.bench.path("bad.slb")).unwrap())
        .output()
        .unwrap();
    assert_eq!(pipe.status.code(), Some(1));
    s.bench.ok(&["keygen", "other"]);
    let (code, _, error) = s.run(&["install", "2.slb", "--trust", "other.pub"]);
    assert!(code == 1 && error.contains("no signature is by a trusted key"), "{error}");
    assert_eq!(s.status(), before, "the same release in the same process");
    // While someone else holds the lock.
    let store = sluice_switch::release::Store::new(&s.state(), &s.id());
    let lock = store.lock().unwrap();
    let (code, error) = s.install("2");
    assert!(code == 1 && error.contains("another sluice-switch is changing"), "{error}");
    drop(lock);
    assert_eq!(s.install("2").0, 0);
}

#[test]
fn run_gives_the_status_of_the_process_and_passes_signals_on() {
    if !containers("run_gives_the_status_of_the_process_and_passes_signals_on") {
        return;
    }
    let s = Switch::new("run");
    s.pack("1", "echo hello; exit 42", "running = true");
    s.bench.ok(&["unpack", "1.slb", "one", "--trust", "key.pub"]);
    let (code, out, error) = s.run(&["run", "one"]);
    assert_eq!((code, out.as_str()), (42, "hello\n"), "{error}");
    assert_eq!(s.runtime().state(&s.id()).unwrap(), None);

    s.pack("2", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done", "running = true");
    s.bench.ok(&["unpack", "2.slb", "two", "--trust", "key.pub"]);
    let out = s.bench.path("out");
    let mut child = s.command(&["run", "two"]).stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string(&out).unwrap().contains("up") {
        assert!(Instant::now() < end, "it did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(fs::read_to_string(&out).unwrap().ends_with("bye\n"));
}

#[test]
fn what_cannot_fit_is_refused_before_anything_is_written() {
    if !containers("what_cannot_fit_is_refused_before_anything_is_written") {
        return;
    }
    let s = Switch::new("small");
    s.pack("1", SERVE, "running = true");
    fs::create_dir(s.state()).unwrap();
    // In a mount namespace of its own, which goes with the shell.
    let unpack = format!("{} install 1.slb --trust key.pub", env!("CARGO_BIN_EXE_sluice-switch"));
    for (size, unit) in [("size=1m", "bytes free"), ("size=100m,nr_inodes=8", "inodes free")] {
        let script = format!("mount -t tmpfs -o {size} x state && {unpack}; find state -mindepth 4");
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .env("SLUICE_SWITCH_STATE", s.state())
            .env("SLUICE_SWITCH_RUN", s.run_dir())
            .current_dir(s.bench.dir.path())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(unit) && error.contains("the bundle needs"), "{error}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "nothing is left");
    }
}

/// Where a child is to die, and how it is told.
const DIE_AT: &str = "SLUICE_SWITCH_TEST_DIE_AT";
const DIE_DIR: &str = "SLUICE_SWITCH_TEST_DIR";
const DIE_BUNDLE: &str = "SLUICE_SWITCH_TEST_BUNDLE";

/// Installs a bundle and kills itself, as nothing else can be cleaned up after, once the given step is done. Tells the
/// steps on stdout.
#[test]
#[ignore = "a child of the test below"]
fn child_that_dies() {
    let Ok(at) = std::env::var(DIE_AT) else { return };
    let directory = PathBuf::from(std::env::var(DIE_DIR).unwrap());
    let runtime = Runc::new("runc", directory.join("run/runc"));
    let machine = Machine {
        state: directory.join("state"),
        run: directory.join("run"),
        runtime: &runtime,
        cgroups: Cgroups::detect().unwrap(),
        consent: false,
    };
    let bundle = Bundle::open(&directory.join(std::env::var(DIE_BUNDLE).unwrap()), &Trust::Anyone).unwrap();
    let died = machine.install(bundle, |step: Step| {
        if format!("{step:?}") == at {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        }
    });
    // Not reached when the step was.
    assert!(matches!(died, Ok(_) | Err(SwitchError::RolledBack { .. })), "{died:?}");
}

/// Lets a child die at a step of installing `bundle` and tells whether it did.
fn die(s: &Switch, bundle: &str, step: Step) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_dies", "--ignored"])
        .env(DIE_AT, format!("{step:?}"))
        .env(DIE_DIR, s.bench.dir.path())
        .env(DIE_BUNDLE, bundle)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.signal() == Some(9)
}

#[test]
fn whoever_is_killed_at_any_step_leaves_the_old_or_the_new_release() {
    if !containers("whoever_is_killed_at_any_step_leaves_the_old_or_the_new_release") {
        return;
    }
    use Step::{
        Committed, Done, Healthy, Journaled, NewStarted, NewStopped, OldStarted, OldStopped, PreviousKept,
        RolledBack, Soaked, Unpacked,
    };
    let s = Switch::new("killed");
    let v1 = s.pack("1", SERVE, "running = true");
    let v2 = s.pack("2", SERVE, "running = true");
    s.pack("3", "sleep 0.1; exit 1", "running = true");
    let good = [Unpacked, Journaled, OldStopped, NewStarted, Healthy, Soaked, Committed, PreviousKept, Done];
    let bad = [Unpacked, Journaled, OldStopped, NewStarted, NewStopped, OldStarted, RolledBack];
    let cases = good.map(|step| ("2", step)).into_iter().chain(bad.map(|step| ("3", step)));
    for (version, step) in cases {
        for power_cut in [false, true] {
            let case = format!("{version} killed after {step:?}, power cut: {power_cut}");
            s.reset();
            assert_eq!(s.install("1").0, 0);
            assert!(die(&s, &format!("{version}.slb"), step), "{case}: it did not come to that step");
            if power_cut {
                s.power_cut();
            }
            // What is named is whole, at every moment.
            let named = fs::read_link(s.app_dir().join("current")).unwrap();
            assert!(s.app_dir().join(&named).join("manifest.json").exists(), "{case}");
            // The boot script.
            s.ok(&["up"]);
            let expected = if version == "2" && step >= Committed { ("2", v2) } else { ("1", v1) };
            assert_eq!(s.version(), expected.0, "{case}");
            let status = s.status();
            assert_eq!(
                (&status["status"], &status["current"]),
                (&"running".into(), &expected.1.to_string().into()),
                "{case}"
            );
            assert!(!s.app_dir().join("journal.json").exists(), "{case}");
            if expected.0 == "2" {
                assert_eq!(status["previous"], v1.to_string(), "{case}: it can be rolled back");
            }
            // The same command once more completes.
            let (code, error) = s.install(version);
            assert_eq!(code, i32::from(version == "3"), "{case}: {error}");
            assert_eq!(s.version(), if version == "2" { "2" } else { "1" }, "{case}");
        }
    }
}

#[test]
fn a_kill_at_any_time_leaves_the_old_or_the_new_release() {
    if !containers("a_kill_at_any_time_leaves_the_old_or_the_new_release") {
        return;
    }
    let s = Switch::new("anytime");
    let v1 = s.pack("1", SERVE, "running = true");
    let v2 = s.pack("2", SERVE, "running = true");
    assert_eq!(s.install("1").0, 0);
    let begun = Instant::now();
    assert_eq!(s.install("2").0, 0);
    let whole = begun.elapsed();
    for n in 0..10_u32 {
        s.reset();
        assert_eq!(s.install("1").0, 0);
        // Spread over the time that a whole installation takes.
        let mut child = s.command(&["install", "-", "--trust", "key.pub"]);
        child
            .stdin(fs::File::open(s.bench.path("2.slb")).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        std::thread::sleep(whole * n / 10);
        child.kill().unwrap();
        child.wait().unwrap();
        // A runc that the dead one started may be at work for another moment.
        let end = Instant::now() + Duration::from_secs(10);
        while s.run(&["up"]).0 != 0 {
            assert!(Instant::now() < end, "killed after {n}/10: {:?}", s.run(&["up"]));
            std::thread::sleep(Duration::from_millis(50));
        }
        let current = s.status()["current"].clone();
        assert!(current == v1.to_string() || current == v2.to_string(), "killed after {n}/10: {current}");
        assert_eq!(s.status()["status"], "running", "killed after {n}/10");
        assert_eq!(s.install("2").0, 0, "killed after {n}/10");
        assert_eq!(s.version(), "2");
        s.ok(&["gc"]);
        let names = fs::read_dir(s.app_dir().join("releases")).unwrap().flatten().map(|e| e.file_name());
        assert!(!names.map(|n| n.into_string().unwrap()).any(|n| n.ends_with(".partial")));
    }
}

/// Bytes that compress well, so that packing them is quick, and take their whole size on a disk.
fn bytes(seed: u8, size: usize) -> Vec<u8> {
    (0..=255_u8).map(|i| i.wrapping_mul(seed)).cycle().take(size).collect()
}

#[test]
fn three_updates_of_thirty_megabytes_fit_on_a_disk_of_ninety_three() {
    let test = "three_updates_of_thirty_megabytes_fit_on_a_disk_of_ninety_three";
    if !containers(test) {
        return;
    }
    let s = Switch::new("disk");
    for version in ["1", "2", "3", "4"] {
        let n: u8 = version.parse().unwrap();
        let spec = format!(
            "version = \"{version}\"\n[health]\nrunning = true\nsoak = \"100ms\"\ninterval = \"50ms\"\n"
        );
        let mut image = busybox(SERVE);
        // 26 MB that stay and 4 MB that change.
        let layer = Archive::new().file("data/same", 0o644, &bytes(99, 26 << 20)).file(
            "data/new",
            0o644,
            &bytes(n, 4 << 20),
        );
        image.layers.push(layer.bytes());
        s.pack_image(&image, &spec, &format!("{version}.slb"));
    }
    let mut image = busybox(SERVE);
    image.layers.push(Archive::new().file("data/large", 0o644, &bytes(7, 60 << 20)).bytes());
    s.pack_image(&image, "version = \"4\"\n", "large.slb");

    fs::create_dir(s.state()).unwrap();
    let program = env!("CARGO_BIN_EXE_sluice-switch");
    let script = format!(
        "set -e; truncate -s 93M disk; mkfs.ext4 -q disk; mount -o loop disk state || exit 77
        for version in 1 2 3 4; do
            {program} install $version.slb --trust key.pub >&2
            {program} exec {app} -- /bin/test -e /data/new
            du -sm state | cut -f1
        done
        {program} gc >&2
        ! {program} install large.slb --trust key.pub
        {program} status
        find state -name '*.partial'
        {program} rm {app} >&2",
        app = s.app
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .env("SLUICE_SWITCH_STATE", s.state())
        .env("SLUICE_SWITCH_RUN", s.run_dir())
        .current_dir(s.bench.dir.path())
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if output.status.code() == Some(77) {
        eprintln!("skipped: {test} needs loop devices: {error}");
        return;
    }
    assert!(output.status.success(), "{out}\n{error}");
    let used: Vec<u64> = out.lines().take(4).map(|line| line.parse().unwrap()).collect();
    // Each update adds its 4 MB, and nothing else.
    assert!(used.windows(2).all(|pair| pair[1] - pair[0] <= 5), "{used:?} MB");
    assert!(used[3] < 50, "{used:?} MB");
    assert!(error.contains("bytes free and the bundle needs"), "{error}");
    assert!(out.contains("running") && !out.contains("partial"), "{out}");
}

#[test]
fn a_file_that_the_disk_has_damaged_is_not_shared() {
    if !containers("a_file_that_the_disk_has_damaged_is_not_shared") {
        return;
    }
    let s = Switch::new("damaged");
    let v1 = s.pack("1", SERVE, "running = true");
    let v2 = s.pack("2", SERVE, "running = true");
    assert_eq!(s.install("1").0, 0);
    let file = |release: Digest, name: &str| {
        s.app_dir().join("releases").join(release.hex()).join("rootfs").join(name)
    };
    let passwd = file(v1, "etc/passwd");
    let good = fs::read(&passwd).unwrap();
    fs::write(&passwd, vec![b'x'; good.len()]).unwrap();
    assert_eq!(s.install("2").0, 0);
    assert_eq!(fs::read(file(v2, "etc/passwd")).unwrap(), good);
    use std::os::unix::fs::MetadataExt;
    let inode = |release, name| fs::metadata(file(release, name)).unwrap().ino();
    assert_eq!(inode(v1, "bin/busybox"), inode(v2, "bin/busybox"));
    assert_ne!(inode(v1, "etc/passwd"), inode(v2, "etc/passwd"));
    assert_ne!(inode(v1, "etc/version"), inode(v2, "etc/version"));
}

#[test]
fn a_release_that_is_broken_can_be_replaced_and_repaired() {
    if !containers("a_release_that_is_broken_can_be_replaced_and_repaired") {
        return;
    }
    let s = Switch::new("broken");
    let v1 = s.pack("1", SERVE, "running = true");
    s.pack("2", SERVE, "running = true");
    let manifest = s.app_dir().join("releases").join(v1.hex()).join("manifest.json");
    let break_it = || {
        fs::write(&manifest, "{}").unwrap();
        s.power_cut();
        let (code, _, error) = s.run(&["up"]);
        assert!(code == 1 && error.contains("install the release again"), "{error}");
        assert_eq!(s.status()["status"], "damaged");
    };
    assert_eq!(s.install("1").0, 0);
    break_it();
    // As the message says.
    let (code, error) = s.install("1");
    assert_eq!(code, 0, "{error}");
    assert_eq!(s.version(), "1");
    break_it();
    // A journal that the disk has damaged is no obstacle either.
    fs::write(s.app_dir().join("journal.json"), "half a jour").unwrap();
    let (code, error) = s.install("2");
    assert_eq!(code, 0, "{error}");
    assert_eq!(s.version(), "2");
    assert!(!s.app_dir().join("journal.json").exists());
}
