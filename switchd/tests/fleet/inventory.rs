//! What an inventory says of a box, on the box; and what starts there at boot.

use std::fs;

use serde_json::Value;

use crate::boxes::{Fleet, SERVE, possible, text};

/// The rows of a command's JSON, by their host.
fn hosts(f: &Fleet, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = f.run(&[&["--json"], args, &["--inventory", "inv.toml"]].concat());
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
    (output.status.code(), value["hosts"].as_array().unwrap().clone())
}

#[test]
fn every_setting_of_an_inventory_reaches_its_box() {
    if !possible("every_setting_of_an_inventory_reaches_its_box") {
        return;
    }
    let f = Fleet::new(3, &[]);
    f.pack("1", SERVE, &[]);
    f.pack("2", SERVE, &[("data/two", b"2")]);
    let [first, second, third] = &f.boxes[..] else { unreachable!("three were asked for") };
    // Nothing of the first is where it is by default. What takes another's name is not found by its own.
    let runc = first.dir.join("bin/runc");
    fs::rename(&runc, first.dir.join("bin/crane")).unwrap();
    let inventory = format!(
        "[defaults]\nuser = \"root\"\nssh_options = {:?}\n\
         [groups.other]\napps = [\"something-else\"]\n\
         [groups.people]\nuser = \"admin\"\nsudo = true\n\
         [hosts.leaf1]\naddress = \"{}\"\ngroups = [\"people\"]\nport = 2222\nprogram = \"/opt/mine/deployer\"\n\
         state_dir = \"/var/lib/elsewhere/state\"\nrun_dir = \"/run/elsewhere\"\nkeys = \"/etc/elsewhere/keys\"\n\
         runc = \"{}\"\n\
         [hosts.leaf2]\naddress = \"{}\"\nuser = \"guest\"\ngroups = [\"people\"]\n\
         [hosts.leaf3]\naddress = \"{}\"\ngroups = [\"other\"]\n",
        f.ssh_options(),
        first.address,
        first.dir.join("bin/crane").display(),
        second.address,
        third.address,
    );
    fs::write(f.bench.path("inv.toml"), inventory).unwrap();

    // A guest is no superuser: his box says so, and the others go on.
    let (code, rows) = hosts(&f, &["enroll", "key.pub"]);
    assert_eq!(code, Some(1));
    let error = rows[1].to_string();
    assert!(error.contains("a password is required") && !rows[0].to_string().contains("sudo"), "{rows:?}");
    let (code, summary, _) = f.deploy(&["1.slb", "--max-fail", "9"]);
    let rows = summary["hosts"].as_array().unwrap();
    assert_eq!(
        (code, &rows[0]["result"], &rows[1]["result"]),
        (1, &"ok".into(), &"failed".into()),
        "{summary:#}"
    );
    assert!(rows[1]["reason"].as_str().unwrap().contains("a password is required"), "{summary:#}");
    // What is not for a box is not brought there, nor is the program.
    assert_eq!(rows[2]["result"], "ok", "{summary:#}");
    assert_eq!(rows[2]["done"]["wire_bytes"], 0, "{summary:#}");
    assert!(!third.inside("test -e /opt/sluice").status.success());

    let there = format!(
        "set -e; test -x /opt/mine/deployer; cat /etc/elsewhere/keys/*.pub >/dev/null; \
         test -d /run/elsewhere/runc/{}; test -e /var/lib/elsewhere/state/apps/{}/current; \
         for path in /opt/sluice /run/sluice-switch /var/lib/sluice-switch /etc/sluice-switch; do ! test -e $path; done",
        f.app, f.app
    );
    let output = first.inside(&there);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(f.version(0), "1", "commands find all of that as well");
    f.deployed(&["2.slb", "--limit", "leaf1"]);
    assert_eq!(f.version(0), "2");
    for command in [&["rollback", f.app.as_str()][..], &["gc"], &["stop", "--all"], &["rm", f.app.as_str()]] {
        let output = f.run(&[command, &["--inventory", "inv.toml", "--limit", "leaf1"]].concat());
        assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    }
    assert!(!first.dir.join("var/elsewhere/state/apps").join(&f.app).exists());
}

#[test]
fn applications_of_a_fleet_start_at_boot_when_told_to() {
    if !possible("applications_of_a_fleet_start_at_boot_when_told_to") {
        return;
    }
    let f = Fleet::new(2, &[]);
    f.pack("1", SERVE, &[]);
    f.enroll();
    f.deployed(&["1.slb"]);
    let (code, rows) = hosts(&f, &["autostart", "status"]);
    assert_eq!((code, rows.len()), (Some(1), 2), "nothing is there: {rows:?}");
    let (code, rows) = hosts(&f, &["autostart", "enable", "--init", "sysv", "--supervise"]);
    assert_eq!(code, Some(0), "{rows:?}");
    assert_eq!(hosts(&f, &["autostart", "status"]).0, Some(0));
    let running = |expected: bool| {
        let (_, rows) = hosts(&f, &["status"]);
        for row in rows {
            assert_eq!(row["answer"]["apps"][0]["status"] == "running", expected, "{row}");
        }
    };
    for b in &f.boxes {
        // The box's own program, by its init's own way.
        let script = fs::read_to_string(b.dir.join("etc/init.d/sluice-apps")).unwrap();
        assert!(script.contains("/opt/sluice/bin/sluice-switch"), "{script}");
        assert!(b.inside("/etc/init.d/sluice-apps stop").status.success());
    }
    running(false);
    for b in &f.boxes {
        let started = b.inside("/etc/init.d/sluice-apps start");
        assert!(started.status.success(), "{}", text(&started.stderr));
    }
    running(true);
    assert_eq!(hosts(&f, &["autostart", "disable"]).0, Some(0));
    assert_eq!(hosts(&f, &["autostart", "status"]).0, Some(1));
    for b in &f.boxes {
        assert!(!b.inside("test -e /etc/init.d/sluice-apps").status.success());
    }
    running(true);
}

#[test]
fn a_disk_without_inodes_is_refused_before_anything_is_sent() {
    if !possible("a_disk_without_inodes_is_refused_before_anything_is_sent") {
        return;
    }
    let f = Fleet::new(1, &[]);
    let b = &f.boxes[0];
    let names: Vec<String> = (0..200).map(|i| format!("data/{i}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"small"[..])).collect();
    f.pack("1", SERVE, &[]);
    f.pack("2", SERVE, &many);
    let mounted = b.inside("/bin/mount -t tmpfs -o size=64m,nr_inodes=150 tmpfs /var/lib");
    assert!(mounted.status.success(), "{}", text(&mounted.stderr));
    f.enroll();
    f.deployed(&["1.slb"]);
    let count = || text(&b.inside("/usr/bin/find /var/lib | wc -l").stdout);
    let before = count();
    let (code, summary, _) = f.deploy(&["2.slb"]);
    let row = &summary["hosts"][0];
    let reason = row["reason"].as_str().unwrap();
    assert!(
        code == 1 && reason.contains("inodes") && reason.contains("nothing was sent or removed"),
        "{reason}"
    );
    assert!(row["done"]["wire_bytes"].as_u64().unwrap() < 20_000, "{row}");
    assert_eq!((count(), f.version(0)), (before, "1".to_owned()));
}
