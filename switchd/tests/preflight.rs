//! Preflight, its repairs and what starts at boot, against this machine's kernel: in private mount namespaces control
//! groups go away, disks are small, and the files of another system lie beside ours.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Bench, SERVE, Switch, alone, busybox, containers, root};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;
use sluice_switch::digest::Digest;
use sluice_switch::release::MAX_LOG;
use sluice_switch::runtime::Runtime;

const HEALTH: &str = "[health]\nrunning = true\ninterval = \"50ms\"\nsoak = \"100ms\"\n";

/// A switch with a bundle of one application.
fn switch(name: &str, script: &str, spec: &str) -> Switch {
    let switch = Switch::new(name);
    pack(&switch, script, spec);
    switch
}

fn pack(switch: &Switch, script: &str, spec: &str) {
    let spec = format!("version = \"1\"\nstop_timeout = \"2s\"\ntmpfs = [\"/tmp\"]\n{spec}\n{HEALTH}");
    switch.pack_image(&busybox(script), &spec, "app.slb");
}

/// The report, and whether it passes.
fn preflight(switch: &Switch, args: &[&str]) -> (bool, Value) {
    let args = [&["preflight", "--json", "app.slb", "--trust", "key.pub"], args].concat();
    let (code, out, error) = switch.run(&args);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {error}"));
    assert_eq!(code == 0, report["passes"] == true, "{out}");
    (code == 0, report)
}

fn log(switch: &Switch) -> PathBuf {
    switch.app_dir().join("log")
}

fn finding(report: &Value, check: &str) -> (String, String) {
    let all = report["findings"].as_array().unwrap();
    let finding = all.iter().find(|f| f["check"] == check).unwrap_or_else(|| panic!("no {check}: {report}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), format!("{} -> {}", text("found"), text("remedy")))
}

/// What of control groups version 1 is mounted here.
fn controllers() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let point = |line: &str| line.contains(" - cgroup ").then(|| line.split(' ').nth(4).unwrap().to_owned());
    mounts.lines().filter_map(point).collect()
}

/// Whether this machine has version 1 with a memory controller; otherwise says that the test cannot be.
fn version_1(test: &str) -> bool {
    let has = controllers().iter().any(|point| point == "/sys/fs/cgroup/memory");
    if !has {
        eprintln!("skipped: {test} needs control groups version 1 with a memory controller of its own");
    }
    has && containers(test)
}

#[test]
fn without_control_groups_a_repair_mounts_them_and_an_application_starts() {
    if !version_1("without_control_groups_a_repair_mounts_them_and_an_application_starts") {
        return;
    }
    unmount("/sys/fs/cgroup", UnmountFlags::DETACH).unwrap();
    assert!(controllers().is_empty());
    let s = switch("mount", SERVE, "allow_degraded = true\n[limits]\nmemory = \"64M\"\npids = 64\n");
    let (passes, report) = preflight(&s, &[]);
    assert!(!passes, "consent is not for what does not work at all");
    let (verdict, text) = finding(&report, "control groups");
    assert!(verdict == "fail" && text.contains("--fix"), "{text}");
    assert!(controllers().is_empty() && !s.state().exists(), "without --fix nothing is touched");

    let (passes, report) = preflight(&s, &["--fix"]);
    assert!(passes, "{report}");
    let fixed = report["fixed"].as_array().unwrap();
    assert!(fixed.len() > 3 && fixed.iter().all(|f| f["error"].is_null()), "{fixed:?}");
    for check in ["control groups", "memory limit", "pids limit"] {
        assert_eq!(finding(&report, check).0, "ok", "{check}");
    }
    assert!(controllers().contains(&"/sys/fs/cgroup/memory".to_owned()));
    assert!(s.state().is_dir());
    let before = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let (passes, report) = preflight(&s, &["--fix"]);
    assert!(passes && report["fixed"] == serde_json::json!([]), "twice is once: {}", report["fixed"]);
    assert_eq!(fs::read_to_string("/proc/thread-self/mountinfo").unwrap(), before);

    s.ok(&["install", "app.slb", "--trust", "key.pub"]);
    assert_eq!(s.status()["degraded"], serde_json::json!([]));
    let limit = format!("/sys/fs/cgroup/memory/sluice/{}/memory.limit_in_bytes", s.app);
    assert_eq!(fs::read_to_string(limit).unwrap().trim(), "67108864");
    s.ok(&["rm", &s.app]);
    // Hierarchies that were not mounted before would outlive the namespace as long as they have groups.
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        if ["net_cls", "net_prio", "perf_event", "hugetlb"].contains(&entry.file_name().to_str().unwrap()) {
            let _ = fs::remove_dir(entry.path().join("sluice"));
        }
    }
}

#[test]
fn at_boot_control_groups_are_mounted_before_applications_start() {
    if !version_1("at_boot_control_groups_are_mounted_before_applications_start") {
        return;
    }
    let s = switch("boot", SERVE, "[limits]\nmemory = \"64M\"\n");
    s.ok(&["install", "app.slb", "--trust", "key.pub"]);
    s.power_cut();
    // All that a boot without systemd has: the tmpfs is there, and in it only what somebody needed.
    unmount("/sys/fs/cgroup/memory", UnmountFlags::DETACH).unwrap();
    unmount("/sys/fs/cgroup/pids", UnmountFlags::DETACH).unwrap();
    let (code, _, error) = s.run(&["up"]);
    assert!(code == 1 && error.contains("preflight --fix"), "{error}");
    let (code, _, error) = s.run(&["up", "--fix"]);
    assert!(code == 0 && error.contains("done: mount the controller memory"), "{error}");
    let status = s.status();
    assert_eq!(status["status"], "running", "{status}");
    assert_eq!(status["degraded"], serde_json::json!([]));
    s.ok(&["rm", &s.app]);
    for name in ["net_cls", "net_prio", "perf_event", "hugetlb"] {
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(name).join("sluice"));
    }
}

#[test]
fn without_the_memory_controller_an_rlimit_holds_the_limit_after_consent() {
    if !version_1("without_the_memory_controller_an_rlimit_holds_the_limit_after_consent") {
        return;
    }
    unmount("/sys/fs/cgroup/memory", UnmountFlags::DETACH).unwrap();
    let script = format!("tail /dev/zero; echo \"tail: status $?\"; {SERVE}");
    let s = switch("rlimit", &script, "[limits]\nmemory = \"32M\"\n");
    let (passes, report) = preflight(&s, &[]);
    assert!(!passes && report["verdict"] == "degraded", "{report}");
    let (verdict, text) = finding(&report, "memory limit");
    assert!(verdict == "degraded" && text.contains("RLIMIT_AS holds it for each process"), "{text}");
    let (code, _, error) = s.run(&["install", "app.slb", "--trust", "key.pub"]);
    assert!(code == 1 && error.contains("agree with --allow-degraded"), "{error}");
    assert_eq!(s.status()["status"], "stopped");

    assert!(preflight(&s, &["--allow-degraded"]).0);
    s.ok(&["install", "app.slb", "--trust", "key.pub", "--allow-degraded"]);
    s.until("tail's end", || fs::read_to_string(log(&s)).unwrap().contains("tail: status"));
    let log = fs::read_to_string(log(&s)).unwrap();
    assert!(log.contains("out of memory") && !log.contains("status 0"), "{log}");
    let pid = s.status()["pid"].as_u64().unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let space = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    assert!(space.contains("33554432"), "{space}");
    let said = s.ok(&["status"]);
    assert!(said.contains("the memory limit") && said.contains("RLIMIT_AS"), "{said}");

    // At boot there is nobody to ask: the consent is written down.
    s.power_cut();
    s.ok(&["up"]);
    assert_eq!(s.status()["status"], "running");
    // What the container was started with stays true of it when the controller comes.
    let (_, report) = preflight(&s, &["--fix", "--allow-degraded"]);
    assert_eq!(finding(&report, "memory limit").0, "ok");
    assert!(s.status()["degraded"][0].as_str().unwrap().contains("RLIMIT_AS"), "{}", s.status());
    s.ok(&["stop", &s.app]);
    assert_eq!(s.status()["degraded"], serde_json::json!([]), "the next start will have it");
    unmount("/sys/fs/cgroup/memory", UnmountFlags::DETACH).unwrap();
    s.ok(&["rm", &s.app]);

    // The maker's consent, signed.
    pack(&s, SERVE, "allow_degraded = true\n[limits]\nmemory = \"32M\"\n");
    let (passes, report) = preflight(&s, &[]);
    assert!(passes && report["verdict"] == "degraded" && report["consent"] == true, "{report}");
    s.ok(&["install", "app.slb", "--trust", "key.pub"]);
    assert!(s.status()["degraded"][0].as_str().unwrap().contains("RLIMIT_AS"));
    s.ok(&["rm", &s.app]);
    for name in ["net_cls", "net_prio", "perf_event", "hugetlb"] {
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(name).join("sluice"));
    }
}

#[test]
fn a_disk_that_cannot_hold_the_bundle_is_told_before_anything_is_written() {
    if !root("a_disk_that_cannot_hold_the_bundle_is_told_before_anything_is_written") || !alone() {
        return;
    }
    let s = switch("disk", SERVE, "");
    fs::create_dir(s.state()).unwrap();
    let disk = |flags, options: &std::ffi::CStr| {
        mount("tmpfs", s.state(), "tmpfs", flags, Some(options)).unwrap();
    };
    disk(MountFlags::empty(), c"size=256k");
    let (passes, report) = preflight(&s, &["--allow-degraded"]);
    assert!(!passes);
    assert_eq!(finding(&report, "disk").0, "degraded");
    assert!(finding(&report, "disk").1.contains("is on tmpfs at"), "{report}");
    let (verdict, text) = finding(&report, "space");
    assert!(verdict == "fail" && text.starts_with("256 KiB free, and the bundle needs"), "{text}");
    unmount(s.state(), UnmountFlags::empty()).unwrap();

    disk(MountFlags::empty(), c"size=64m,nr_inodes=6");
    let (_, report) = preflight(&s, &["--allow-degraded"]);
    assert_eq!((finding(&report, "space").0, finding(&report, "inodes").0), ("ok".into(), "fail".into()));
    unmount(s.state(), UnmountFlags::empty()).unwrap();

    disk(MountFlags::RDONLY, c"size=64m");
    let (_, report) = preflight(&s, &["--allow-degraded"]);
    let (verdict, text) = finding(&report, "disk");
    assert!(verdict == "fail" && text.contains("read-only") && text.contains("--state-dir"), "{text}");
}

fn sums(paths: &[&str]) -> BTreeMap<String, (String, std::time::SystemTime)> {
    let sum = |path: &&str| {
        let content = Digest::of(&fs::read(path).unwrap()).to_string();
        ((*path).to_owned(), (content, fs::metadata(path).unwrap().modified().unwrap()))
    };
    paths.iter().map(sum).collect()
}

#[test]
fn beside_another_switchd_nothing_of_it_is_touched_and_nothing_of_ours_is_called_so() {
    let test = "beside_another_switchd_nothing_of_it_is_touched_and_nothing_of_ours_is_called_so";
    if !containers(test) {
        return;
    }
    let s = switch("names", SERVE, "allow_degraded = true\n");
    // This machine's files with Cumulus's over them, in memory.
    let over = s.bench.path("over");
    fs::create_dir(&over).unwrap();
    mount("tmpfs", &over, "tmpfs", MountFlags::empty(), None).unwrap();
    for directory in ["etc", "usr/sbin"] {
        let upper = over.join(directory);
        let work = over.join(format!("{directory}.work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        let lower = format!("/{directory}");
        let options = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
        let options = std::ffi::CString::new(options).unwrap();
        if let Err(error) = mount("overlay", &lower, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        {
            eprintln!("skipped: {test} needs overlayfs: {error}");
            return;
        }
    }
    fs::create_dir_all("/etc/cumulus").unwrap();
    fs::create_dir_all("/etc/systemd/system/multi-user.target.wants").unwrap();
    let unit = "[Unit]\nDescription=Cumulus Linux Switch Daemon\n[Service]\nExecStart=/usr/sbin/switchd\n";
    fs::write("/etc/systemd/system/switchd.service", unit).unwrap();
    fs::write("/usr/sbin/switchd", b"\x7fELF not ours").unwrap();
    fs::write("/etc/cumulus/switchd.conf", "stats.poll_interval = 2000\n").unwrap();
    let theirs = ["/etc/systemd/system/switchd.service", "/usr/sbin/switchd", "/etc/cumulus/switchd.conf"];
    let before = sums(&theirs);

    let (passes, report) = preflight(&s, &[]);
    assert!(passes && report["profile"] == "cumulus", "{report}");
    let (verdict, text) = finding(&report, "names");
    assert!(verdict == "ok" && theirs.iter().all(|path| text.contains(path)), "{text}");
    s.ok(&["install", "app.slb", "--trust", "key.pub"]);
    for init in ["sysv", "systemd"] {
        s.ok(&["autostart", "enable", "--init", init]);
    }
    s.ok(&["tend"]);
    assert!(s.ok(&["autostart", "status"]).contains("enabled for systemd"));
    let service = fs::read_to_string("/etc/systemd/system/sluice-apps.service").unwrap();
    assert!(service.contains("--state-dir") && service.contains("switchd.service"), "it starts after theirs");

    // Whatever was written since, and every process that runs below us.
    let mut walk = vec![over.clone(), s.state(), s.run_dir()];
    let mut seen = 0;
    while let Some(directory) = walk.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                walk.push(path.clone());
            }
            let shown = format!("/{}", path.strip_prefix(&over).unwrap_or(&path).display());
            let called = entry.file_name().to_string_lossy().starts_with("switchd");
            assert!(!called || theirs.contains(&shown.as_str()), "{shown} is ours");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
    let comm = fs::read_to_string(format!("/proc/{}/comm", s.status()["pid"])).unwrap();
    assert_ne!(comm.trim(), "switchd");
    assert_eq!(sums(&theirs), before);
    s.ok(&["autostart", "disable"]);
    s.ok(&["rm", &s.app]);
    assert_eq!(sums(&theirs), before, "and when we leave");

    // Somebody else's file in a place of ours.
    fs::write("/etc/init.d/sluice-apps", "#!/bin/sh\n").unwrap();
    let (passes, report) = preflight(&s, &[]);
    assert!(!passes && finding(&report, "names").1.contains("/etc/init.d/sluice-apps"), "{report}");
    let (code, _, error) = s.run(&["autostart", "enable", "--init", "sysv"]);
    assert!(code == 1 && error.contains("move it away"), "{error}");
    fs::remove_file("/etc/init.d/sluice-apps").unwrap();
    fs::write(s.bench.path("spec.toml"), "app = \"switchd\"\nversion = \"1\"\n").unwrap();
    s.bench.pack(&busybox(SERVE).docker_save(), "app.slb");
    let (passes, report) = preflight(&s, &[]);
    assert!(!passes && finding(&report, "names").1.contains("another name"), "{report}");
}

#[test]
fn what_is_written_for_boot_starts_and_stops_applications() {
    let test = "what_is_written_for_boot_starts_and_stops_applications";
    if !containers(test) {
        return;
    }
    let s = switch("script", SERVE, "");
    s.ok(&["install", "app.slb", "--trust", "key.pub"]);
    let there = s.bench.path("root with blanks");
    fs::create_dir_all(there.join("etc/init.d")).unwrap();
    fs::create_dir_all(there.join("etc/rc2.d")).unwrap();
    fs::create_dir_all(there.join("etc/cron.d")).unwrap();
    let there = there.to_str().unwrap();
    let said = s.ok(&["autostart", "enable", "--root", there]);
    assert!(said.starts_with("enabled for sysv") && said.contains("etc/cron.d/sluice-apps"), "{said}");
    s.power_cut();
    // As init does: without our environment, by the link of the run level.
    let script = |level: &str, what: &str| {
        let link = format!("{there}/etc/{level}sluice-apps");
        let output = Command::new(link).arg(what).env_clear().output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = script("rc2.d/S99", "start");
    assert_eq!((code, s.status()["status"].as_str().unwrap()), (0, "running"), "{error}");
    assert_eq!(script("rc2.d/S99", "status").0, 0);
    let first = s.status()["pid"].clone();
    assert_eq!(script("rc2.d/S99", "restart").0, 0);
    assert_ne!(s.status()["pid"], first);
    assert_eq!(script("rc6.d/K01", "stop").0, 0);
    assert_eq!(s.status()["status"], "stopped");
    assert_eq!(script("rc2.d/S99", "status").0, 1);
    assert_eq!(script("rc2.d/S99", "dance").0, 2);
    assert!(s.ok(&["autostart", "status", "--root", there]).contains("enabled for sysv"));

    // With neither, lines are printed and nothing is written, unless it is asked for.
    let there = s.bench.path("none");
    fs::create_dir(&there).unwrap();
    let there = there.to_str().unwrap();
    let (code, said, _) = s.run(&["autostart", "enable", "--root", there]);
    assert!(code == 1 && said.contains("\n@reboot ") && said.contains(" up --fix --state-dir"), "{said}");
    assert!(fs::read_dir(there).unwrap().next().is_none());
    assert_eq!(s.run(&["autostart", "status", "--root", there]).0, 1);
    s.ok(&["autostart", "enable", "--root", there, "--cron"]);
    let cron = fs::read_to_string(format!("{there}/etc/cron.d/sluice-apps")).unwrap();
    let line = cron.lines().find_map(|line| line.strip_prefix("@reboot root ")).unwrap();
    // As cron does.
    let done = Command::new("/bin/sh")
        .args(["-c", line])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/bin")
        .output();
    let done = done.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(s.status()["status"], "running");
    s.ok(&["rm", &s.app]);
}

#[test]
fn systemd_understands_the_units() {
    let dir = tempfile::tempdir().unwrap();
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: systemd_understands_the_units needs systemd-analyze");
        return;
    }
    let bench = Bench::new();
    let there = dir.path().to_str().unwrap();
    let state = dir.path().join("state with 100% blanks");
    let program = dir.path().join("a program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bench.ok(&[
        "autostart",
        "enable",
        "--root",
        there,
        "--init",
        "systemd",
        "--supervise",
        "--program",
        program.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ]);
    let units = dir.path().join("etc/systemd/system");
    let verify = || {
        let units = ["sluice-apps.service", "sluice-apps-tend.service", "sluice-apps-tend.timer"];
        let units = units.map(|unit| dir.path().join("etc/systemd/system").join(unit));
        let output = Command::new("systemd-analyze").arg("verify").args(units).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (good, said) = verify();
    assert!(good && !said.contains("sluice-apps"), "{said}");
    // And it would have said so: a line that it does not know, and a program that is not there.
    let service = units.join("sluice-apps.service");
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("a program", "no program")).unwrap();
    let (good, said) = verify();
    assert!(!good && said.contains("no program"), "{said}");
}

#[test]
fn logs_are_kept_within_bounds_while_they_are_written() {
    if !containers("logs_are_kept_within_bounds_while_they_are_written") {
        return;
    }
    // 5 MB of numbered lines at once, then one each time that a file appears.
    let script = "i=0; while [ $i -lt 50000 ]; do echo \"line $i \
                  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"; i=$((i+1)); done; \
                  touch /tmp/written; trap 'exit 0' TERM; \
                  while :; do [ -e /tmp/more ] && { echo more; rm -f /tmp/more; }; sleep 0.05; done";
    let s = switch("logs", &script.replace("rm -f", "/bin/busybox rm -f"), "");
    s.ok(&["install", "app.slb", "--trust", "key.pub"]);
    s.until("all lines", || s.run(&["exec", &s.app, "--", "/bin/test", "-e", "/tmp/written"]).0 == 0);
    let size = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    let old = log(&s).with_extension("1");
    assert!(size(&log(&s)) > 4 * MAX_LOG || size(&old) > 0, "it has written");
    let said: Value = serde_json::from_str(&s.ok(&["tend", "--json"])).unwrap();
    let row = &said["apps"][0];
    assert!(row["error"].is_null() && row["restarted"].is_null(), "{said}");
    assert!(size(&log(&s)) <= MAX_LOG && size(&old) <= 2 * MAX_LOG, "{} {}", size(&log(&s)), size(&old));
    assert!(fs::read_to_string(&old).unwrap().contains("line 49999 "), "the end is what is kept");
    assert_eq!(s.ok(&["tend"]), "", "nothing to say, nothing for cron to mail");
    s.ok(&["exec", &s.app, "--", "/bin/touch", "/tmp/more"]);
    s.until("one more line", || fs::read_to_string(log(&s)).unwrap().ends_with("more\n"));
    assert!(!fs::read(log(&s)).unwrap().contains(&0), "no hole where it was cut");
    assert!(s.ok(&["logs", &s.app]).ends_with("more\n"));
    s.ok(&["rm", &s.app]);
}

#[test]
fn what_ends_by_itself_is_started_again_where_supervision_is_asked_for() {
    if !containers("what_ends_by_itself_is_started_again_where_supervision_is_asked_for") {
        return;
    }
    let s = switch("tend", SERVE, "");
    s.ok(&["install", "app.slb", "--trust", "key.pub"]);
    let pid = |status: &Value| status["pid"].as_u64();
    let first = pid(&s.status()).unwrap();
    assert_eq!(s.ok(&["tend", "--restart"]), "", "it runs");
    assert_eq!(pid(&s.status()), Some(first));
    s.runtime().signal(&s.id(), 9).unwrap();
    s.until("its end", || s.status()["status"] == "stopped");
    assert_eq!(s.ok(&["tend"]), "", "nobody asked for it");
    assert_eq!(s.status()["status"], "stopped");
    let said = s.ok(&["tend", "--restart"]);
    assert!(said.contains("had ended and was started again"), "{said}");
    assert!(pid(&s.status()).unwrap() != first);
    // What the operator stopped stays stopped.
    s.ok(&["stop", &s.app]);
    assert_eq!(s.ok(&["tend", "--restart"]), "");
    assert_eq!(s.status()["status"], "stopped");
    s.ok(&["up"]);
    assert_eq!(s.status()["status"], "running");
    s.ok(&["stop", "--all"]);
    assert_eq!(s.status()["status"], "stopped");
    s.ok(&["rm", &s.app]);
}

#[test]
fn facts_of_another_switch_are_judged_here() {
    let bench = Bench::new();
    let fixture = |name: &str| format!("{}/tests/fixtures/preflight/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let run = |name: &str, more: &[&str]| {
        let file = fixture(name);
        let output = bench.run(&[&["preflight", "--facts", &file], more].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run("sonic-202205", &[]).0, 0);
    let (code, table) = run("cumulus-3.7", &[]);
    assert!(code == 1 && table.contains("cgroup_enable=memory"), "{table}");
    assert_eq!(run("cumulus-3.7", &["--allow-degraded"]).0, 0);
    let (code, table) = run("cumulus-2.5", &["--allow-degraded"]);
    assert!(code == 1 && table.contains("fail      runtime"), "{table}");
    fs::write(bench.path("none.json"), "{}").unwrap();
    assert!(bench.refused(&["preflight", "--facts", "none.json"]).contains("preflight --json"));
    // A bundle for this processor on a switch with another.
    let image = common::sample().docker_save();
    bench.pack(&image, "app.slb");
    let (code, table) = run("dent-3", &["--allow-degraded", "app.slb", "--trust", "key.pub"]);
    assert!(code == 1 && table.contains("fail      architecture"), "{table}");
}
