//! Three boxes: from nothing to a fleet, its commands, and an end when one is broken.

use std::fs;

use serde_json::Value;

use crate::boxes::{Fleet, SERVE, possible, text};

fn results(summary: &Value) -> Vec<(String, String)> {
    let row = |r: &Value| (r["host"].as_str().unwrap().to_owned(), r["result"].as_str().unwrap().to_owned());
    summary["hosts"].as_array().unwrap().iter().map(row).collect()
}

fn row(name: &str, result: &str) -> (String, String) {
    (name.to_owned(), result.to_owned())
}

#[test]
fn from_nothing_to_a_fleet_and_back() {
    if !possible("from_nothing_to_a_fleet_and_back") {
        return;
    }
    let f = Fleet::new(3, &[]);
    let v1 = f.pack("1.9", SERVE, &[]);
    f.pack("1.10", SERVE, &[("data/new", b"new")]);

    // There is a shell there and nothing of what is not needed.
    for b in &f.boxes {
        let there = b.inside("for p in docker python3 rsync scp tar; do command -v $p; done; command -v sh");
        assert_eq!(text(&there.stdout).lines().count(), 1, "{}", text(&there.stdout));
        assert!(!b.inside("test -e /opt/sluice").status.success());
    }

    // A box that trusts nobody takes nothing, and has no state after that.
    let (code, summary, _) = f.deploy(&["1.9.slb", "--jobs", "1"]);
    assert_eq!(code, 1);
    assert_eq!(results(&summary), [row("leaf1", "failed"), row("leaf2", "skipped"), row("leaf3", "skipped")]);
    let reason = summary["hosts"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("enroll"), "{reason}");
    assert!(!f.boxes[0].state().exists());
    f.enroll();

    let rows = f.deployed(&["1.9.slb", "--jobs", "2", "--canary", "1"]);
    for (i, r) in rows.iter().enumerate() {
        let app = &r["done"]["apps"][0];
        assert_eq!((&app["changed"], &app["release"]), (&true.into(), &v1.to_string().into()), "{r}");
        assert!(app["sent"]["files"].as_u64().unwrap() > 0 && app["payload_bytes"].as_u64().unwrap() > 0);
        // The first box had the program from the try that was refused.
        assert_eq!(r["done"]["program_bytes"].as_u64().unwrap() == 0, i == 0, "{r}");
        assert_eq!(f.version(i), "1.9");
    }

    // Once more: no byte of a file is sent, and the containers are the same.
    let pids = |f: &Fleet| text(&f.run(&["status", "--json", "--inventory", "inv.toml"]).stdout);
    let before = pids(&f);
    for r in f.deployed(&["1.9.slb"]) {
        let app = &r["done"]["apps"][0];
        assert_eq!((&app["changed"], &app["payload_bytes"]), (&false.into(), &0.into()), "{r}");
        assert_eq!(r["done"]["program_bytes"], 0);
        assert!(r["done"]["wire_bytes"].as_u64().unwrap() < 300, "{r}");
    }
    assert_eq!(pids(&f), before);

    // A dry run tells what an update would send, and changes nothing.
    for r in f.deployed(&["1.10.slb", "--dry-run"]) {
        let app = &r["done"]["apps"][0];
        assert_eq!((&app["sent"]["files"], &app["payload_bytes"]), (&2.into(), &0.into()), "{r}");
    }
    assert_eq!(pids(&f), before);
    for r in f.deployed(&["1.10.slb", "--limit", "leaf1,leaf3"]) {
        let app = &r["done"]["apps"][0];
        assert_eq!(app["sent"]["files"], 2, "{r}");
        assert!(app["gap_ms"].is_u64(), "{r}");
    }
    assert_eq!([f.version(0), f.version(1), f.version(2)], ["1.10", "1.9", "1.10"]);

    // An older version needs consent.
    let (code, summary, _) = f.deploy(&["1.9.slb", "--limit", "leaf1"]);
    let reason = summary["hosts"][0]["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("1.10 runs") && reason.contains("--allow-downgrade"), "{reason}");
    f.deployed(&["1.9.slb", "--limit", "leaf1", "--allow-downgrade"]);
    assert_eq!(f.version(0), "1.9");

    // The fleet's commands, as tables for people.
    let app = f.app.as_str();
    let ok = |args: &[&str]| {
        let output = f.run(&[args, &["--inventory", "inv.toml"]].concat());
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    ok(&["rollback", app, "--limit", "leaf3"]);
    let status = ok(&["status"]);
    let lines: Vec<Vec<&str>> = status.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..5], ["HOST", "APP", "STATUS", "VERSION", "RELEASE"]);
    for (i, name) in ["leaf1", "leaf2", "leaf3"].iter().enumerate() {
        assert_eq!(lines[i + 1][..4], [*name, app, "running", "1.9"], "{status}");
    }
    let exec = f.run(&["exec", app, "--inventory", "inv.toml", "--", "/bin/sh", "-c", "echo said; exit 7"]);
    assert_eq!(text(&exec.stdout), "leaf1 | said\nleaf2 | said\nleaf3 | said\n");
    assert_eq!(exec.status.code(), Some(1));
    ok(&["logs", app]);
    assert!(ok(&["gc"]).contains("leaf2"));
    ok(&["stop", app, "--limit", "leaf2"]);
    let status = f.run(&["status", "--json", "--inventory", "inv.toml"]);
    assert_eq!(status.status.code(), Some(1));
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["hosts"][1]["answer"]["apps"][0]["status"], "stopped");
    assert_eq!(status["hosts"][0]["answer"]["apps"][0]["status"], "running");
    // Deployed again, what was stopped runs.
    f.deployed(&["1.9.slb"]);
    assert_eq!(f.version(1), "1.9");
    ok(&["rm", app]);
    assert!(!f.boxes[0].state().join("apps").join(app).exists());

    // Without an inventory.
    let mut args = vec!["status", "--host", "root@10.71.0.2"];
    let options: Vec<String> = f.ssh_options().iter().map(|o| format!("--ssh-option={o}")).collect();
    args.extend(options.iter().map(String::as_str));
    let output = f.run(&args);
    assert!(text(&output.stdout).contains("empty"), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_broken_box_ends_the_rollout() {
    if !possible("a_broken_box_ends_the_rollout") {
        return;
    }
    let f = Fleet::new(3, &[]);
    f.pack("1", SERVE, &[]);
    f.pack("2", SERVE, &[("data/two", b"2")]);
    f.pack("3", "exit 3", &[]);
    f.enroll();
    f.deployed(&["1.slb"]);
    // A runtime that does not work: what is new there does not start, and neither does what is old.
    let runc = f.boxes[1].dir.join("bin/runc");
    let real = fs::read_link(&runc).unwrap();
    fs::remove_file(&runc).unwrap();
    fs::write(
        &runc,
        format!("#!/bin/sh\nfor a; do [ \"$a\" = create ] && exit 1; done\nexec {} \"$@\"\n", real.display()),
    )
    .unwrap();
    fs::set_permissions(&runc, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let output = f.run(&[
        "deploy",
        "2.slb",
        "--inventory",
        "inv.toml",
        "--canary",
        "1",
        "--max-fail",
        "1",
        "--jobs",
        "1",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("HOST"), "{table}");
    assert!(lines[1].starts_with("leaf1  ok"), "{table}");
    assert!(lines[2].starts_with("leaf2  failed"), "{table}");
    assert!(lines[3].starts_with("leaf3  skipped") && lines[3].ends_with("1 host had failed"), "{table}");
    assert!(lines[4].starts_with("1 ok, 1 failed, 1 skipped"), "{table}");
    println!("{table}");
    assert_eq!((f.version(0), f.version(2)), ("2".to_owned(), "1".to_owned()));

    // Mended, the same command does the rest.
    fs::remove_file(&runc).unwrap();
    std::os::unix::fs::symlink(real, &runc).unwrap();
    let rows = f.deployed(&["2.slb"]);
    let changed: Vec<bool> = rows.iter().map(|r| r["done"]["apps"][0]["changed"] == true).collect();
    assert_eq!(changed, [false, true, true]);
    assert_eq!([f.version(0), f.version(1), f.version(2)], ["2", "2", "2"]);

    // A version that does not work is rolled back on the canary, and goes nowhere else.
    let (code, summary, _) = f.deploy(&["3.slb", "--canary", "1", "--max-fail", "3"]);
    assert_eq!(code, 1);
    assert_eq!(results(&summary), [row("leaf1", "failed"), row("leaf2", "skipped"), row("leaf3", "skipped")]);
    let reason = summary["hosts"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("rolled back"), "{reason}");
    assert_eq!(summary["hosts"][1]["reason"], "a canary failed");
    assert_eq!(f.version(0), "2");

    // A box that is not there.
    let inventory = fs::read_to_string(f.bench.path("inv.toml")).unwrap();
    fs::write(f.bench.path("inv.toml"), inventory.replace("10.71.2.2", "10.71.2.3")).unwrap();
    let (code, summary, _) = f.deploy(&["2.slb", "--ssh-option=-oConnectTimeout=2", "--max-fail", "9"]);
    assert_eq!(code, 1);
    let reason = summary["hosts"][2]["reason"].as_str().unwrap();
    assert!(reason.starts_with("ssh did not reach it: ") && reason.contains("10.71.2.3"), "{reason}");
}

#[test]
fn two_deployers_do_not_meet_and_a_stranger_is_refused() {
    if !possible("two_deployers_do_not_meet_and_a_stranger_is_refused") {
        return;
    }
    let f = Fleet::new(1, &[]);
    f.pack("1", SERVE, &[]);
    f.enroll();
    f.deployed(&["1.slb"]);

    // Someone else holds the box's lock.
    let lock = fs::File::options().write(true).open(f.boxes[0].state().join("deploy.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    f.pack("2", SERVE, &[]);
    let (code, summary, _) = f.deploy(&["2.slb"]);
    let reason = summary["hosts"][0]["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("deploys to this box"), "{reason}");
    drop(lock);

    // A bundle by a key that the box does not trust, and one with a byte changed.
    f.bench.ok(&["keygen", "other"]);
    let spec = fs::read_to_string(f.bench.path("spec.toml")).unwrap().replace("\"2\"", "\"9\"");
    fs::write(f.bench.path("spec.toml"), spec).unwrap();
    f.bench.ok(&["pack", "image.tar", "--spec", "spec.toml", "--key", "other", "-o", "9.slb"]);
    let (code, summary, _) = f.deploy(&["9.slb"]);
    let reason = summary["hosts"][0]["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("no signature is by a trusted key"), "{reason}");
    let mut bytes = fs::read(f.bench.path("2.slb")).unwrap();
    let at = bytes.windows(9).position(|w| w == b"\"running\"").unwrap();
    bytes[at + 1] = b'R';
    fs::write(f.bench.path("bad.slb"), bytes).unwrap();
    let output = f.run(&["deploy", "bad.slb", "--inventory", "inv.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(f.version(0), "1");
    let apps = fs::read_dir(f.boxes[0].state().join("apps").join(&f.app).join("releases")).unwrap().count();
    assert_eq!(apps, 1, "nothing of those was unpacked");
    assert!(!f.boxes[0].state().join("apps").join(&f.app).join("incoming").exists());
}
