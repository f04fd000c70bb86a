//! Facts in, table out. `debian-12` is what was recorded on the machine that this was written on; the four switches
//! are composed from what is publicly known of them and were not recorded on a box.

use std::collections::BTreeSet;

use super::*;
use crate::bundle::Limits;
use crate::image::Platform;
use crate::runtime::Cgroups;

macro_rules! fixture {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../tests/fixtures/preflight/", $name, ".json")),
            include_str!(concat!("../../tests/fixtures/preflight/", $name, ".txt")),
        )
    };
}

fn facts(text: &str) -> Facts {
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(value["facts"].take()).unwrap()
}

fn here() -> Facts {
    facts(fixture!("debian-12").1)
}

/// An agent of 30 MiB in 200 files.
fn agent(architecture: &str, port: &str) -> Needs {
    Needs {
        bundle: Some("agent 1.4".to_owned()),
        platform: Some(Platform { os: "linux".into(), architecture: architecture.into(), variant: None }),
        files: vec![(30 << 20) / 200; 200],
        limits: Limits { memory: Some(64 << 20), pids: Some(64), cpu_millis: Some(500) },
        dataplane: true,
        ports: BTreeSet::from([port.parse().unwrap()]),
        ..Needs::default()
    }
}

fn verdict(report: &Report, check: &str) -> Verdict {
    let of: Vec<Verdict> = report.findings.iter().filter(|f| f.check == check).map(|f| f.verdict).collect();
    *of.iter().max().unwrap_or_else(|| panic!("no finding of {check}"))
}

fn said(report: &Report, check: &str) -> String {
    let finding = report.findings.iter().find(|f| f.check == check).unwrap();
    format!("{} -> {}", finding.found, finding.remedy.as_deref().unwrap_or_default())
}

#[test]
fn the_table_of_each_switch_is_as_it_was_read_and_found_right() {
    for (needs, (name, json, table)) in [
        (agent("amd64", "eth0"), fixture!("debian-12")),
        (agent("ppc", "swp1"), fixture!("cumulus-2.5")),
        (agent("amd64", "swp1"), fixture!("cumulus-3.7")),
        (agent("amd64", "Ethernet0"), fixture!("sonic-202205")),
        (agent("arm64", "swp1"), fixture!("dent-3")),
    ] {
        let report = facts(json).judge(&needs);
        let is = format!("profile {}: {}\n{report}", report.profile, report.verdict());
        if let Some(directory) = std::env::var_os("SLUICE_RECORD") {
            std::fs::write(Path::new(&directory).join(format!("{name}.txt")), &is).unwrap();
        } else {
            assert_eq!(is, table, "{name}");
        }
        for finding in &report.findings {
            assert_eq!(finding.verdict == Verdict::Ok, finding.remedy.is_none(), "{name}: {finding:?}");
        }
    }
}

#[test]
fn consent_is_for_what_is_weaker_and_never_for_what_fails() {
    let mut report = Report { profile: Profile::Plain, findings: vec![Finding::ok("a", "x")] };
    assert!(report.passes(false));
    report.findings.push(Finding::degraded("b", "x", "y"));
    assert!(!report.passes(false) && report.passes(true));
    report.findings.push(Finding::fail("c", "x", "y"));
    assert!(!report.passes(true));
}

#[test]
fn a_bundle_for_another_processor_is_refused() {
    for (kernel, program, wanted, verdict_is) in [
        ("x86_64", "x86_64", "amd64", Verdict::Ok),
        ("x86_64", "x86_64", "arm64", Verdict::Fail),
        ("armv7l", "arm", "arm", Verdict::Ok),
        ("ppc", "powerpc", "ppc", Verdict::Ok),
        // A 32-bit program that runs on a 64-bit kernel shows that others will.
        ("aarch64", "arm", "arm", Verdict::Ok),
        ("aarch64", "aarch64", "arm", Verdict::Fail),
    ] {
        let mut facts = here();
        facts.machine = Machine { kernel: kernel.into(), program: program.into() };
        let report = facts.judge(&agent(wanted, "eth0"));
        assert_eq!(verdict(&report, "architecture"), verdict_is, "{kernel} {program} {wanted}");
    }
}

#[test]
fn without_runc_libcontainer_is_asked_for_what_it_needs() {
    let mut facts = here();
    let runtimes = &mut facts.runtimes;
    (runtimes.version, runtimes.error) = (None, Some("No such file".into()));
    runtimes.libcontainer = false;
    assert_eq!(verdict(&facts.judge(&Needs::default()), "runtime"), Verdict::Fail);
    facts.runtimes.libcontainer = true;
    assert_eq!(verdict(&facts.judge(&Needs::default()), "runtime"), Verdict::Ok);
    let private = Needs { private_command: true, ..agent("amd64", "eth0") };
    assert!(said(&facts.judge(&private), "runtime").contains("0755"));
    facts.runtimes.kernel_lacks = vec!["mount_setattr".into()];
    let report = facts.judge(&Needs::default());
    assert_eq!(verdict(&report, "runtime"), Verdict::Fail);
    assert!(
        said(&report, "runtime").contains("the kernel lacks mount_setattr"),
        "{}",
        said(&report, "runtime")
    );
    // crun is a runc in all but one thing.
    facts.runtimes.version = Some("crun version 1.8.1".into());
    facts.runtimes.hybrid = false;
    assert_eq!(verdict(&facts.judge(&Needs::default()), "runtime"), Verdict::Ok);
    facts.runtimes.hybrid = true;
    assert_eq!(verdict(&facts.judge(&Needs::default()), "runtime"), Verdict::Fail);
}

#[test]
fn the_disk_must_hold_the_bundle_and_a_tenth_more() {
    let mut facts = here();
    facts.disk.block = 4096;
    let needs = agent("amd64", "eth0");
    // 157,286 bytes are 39 blocks; 200 of them and a tenth.
    let needed = 200 * 39 * 4096 / 10 * 11;
    facts.disk.free = needed;
    assert_eq!(verdict(&facts.judge(&needs), "space"), Verdict::Ok);
    facts.disk.free = needed - 1;
    assert_eq!(verdict(&facts.judge(&needs), "space"), Verdict::Fail);
    assert!(said(&facts.judge(&needs), "space").contains("sluice-switch gc"));
    facts.disk.roomier = Some(disk::Roomier { mount: "/mnt/big".into(), free: 1 << 30 });
    assert!(said(&facts.judge(&needs), "space").contains("--state-dir /mnt/big/sluice-switch"));
    facts.disk.free = 1 << 30;
    for (inodes, is) in [(Some(224), Verdict::Ok), (Some(223), Verdict::Fail), (None, Verdict::Ok)] {
        facts.disk.inodes = inodes;
        assert_eq!(verdict(&facts.judge(&needs), "inodes"), is, "{inodes:?}");
    }
    for (kind, is) in [("tmpfs", Verdict::Degraded), ("vfat", Verdict::Fail), ("xfs", Verdict::Ok)] {
        facts.disk.kind = kind.into();
        assert_eq!(verdict(&facts.judge(&needs), "disk"), is, "{kind}");
    }
    facts.disk.read_only = true;
    assert_eq!(verdict(&facts.judge(&needs), "disk"), Verdict::Fail);
}

#[test]
fn a_missing_controller_is_told_with_what_brings_it() {
    let mut facts = here();
    facts.cgroups.mountinfo.retain(|line| !line.contains("/sys/fs/cgroup/memory"));
    let report = facts.judge(&agent("amd64", "eth0"));
    assert_eq!(verdict(&report, "memory limit"), Verdict::Degraded);
    let text = said(&report, "memory limit");
    assert!(text.contains("RLIMIT_AS") && text.contains("preflight --fix"), "{text}");
    assert_eq!(plan(&facts).first(), Some(&Repair::MountControllers(vec!["memory".into()])));

    let memory = facts.cgroups.subsystems.iter_mut().find(|s| s.name == "memory").unwrap();
    memory.enabled = false;
    let text = said(&facts.judge(&agent("amd64", "eth0")), "memory limit");
    assert!(text.contains("cgroup_enable=memory"), "{text}");
    assert!(plan(&facts).iter().all(|r| *r != Repair::MountControllers(vec!["memory".into()])));

    facts.cgroups.subsystems.retain(|s| s.name != "memory");
    let text = said(&facts.judge(&agent("amd64", "eth0")), "memory limit");
    assert!(text.contains("another kernel"), "{text}");
    // A bundle without that limit does not ask.
    let needs = Needs { limits: Limits::default(), ..agent("amd64", "eth0") };
    assert!(facts.judge(&needs).findings.iter().all(|f| f.check != "memory limit"));
}

#[test]
fn what_is_repaired_is_what_is_missing() {
    let mut facts = here();
    // Everything mounted and a directory: nothing to do.
    facts.disk.exists = true;
    facts.cgroups.subsystems.retain(|s| s.hierarchy != 0);
    assert_eq!(plan(&facts), []);

    facts.disk.exists = false;
    facts.disk.state = "/mnt/x".into();
    assert_eq!(plan(&facts), [Repair::MakeDirectory("/mnt/x".into())]);
    facts.disk.read_only = true;
    assert_eq!(plan(&facts), []);

    // Nothing mounted. Those that share a hierarchy, elsewhere or before, are mounted together.
    let row = |name: &str, hierarchy, enabled| Subsystem { name: name.into(), hierarchy, enabled };
    facts.cgroups = ControlGroups {
        subsystems: vec![
            row("cpu", 3, true),
            row("memory", 0, true),
            row("cpuacct", 3, true),
            row("pids", 0, true),
            row("hugetlb", 0, false),
        ],
        version_2: true,
        ..ControlGroups::default()
    };
    let mount = |names: &[&str]| Repair::MountControllers(names.iter().map(|n| (*n).to_owned()).collect());
    let wanted = [Repair::MountRoot, mount(&["cpu", "cpuacct"]), mount(&["memory"]), mount(&["pids"])];
    assert_eq!(plan(&facts), wanted);
    // With the root there already, only they.
    facts.cgroups.mountinfo = vec!["25 24 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755".into()];
    assert_eq!(plan(&facts), wanted[1..]);

    // A kernel without version 1, and one with version 2 mounted.
    facts.cgroups = ControlGroups { version_2: true, ..ControlGroups::default() };
    assert_eq!(plan(&facts), [Repair::MountVersion2]);
    facts.cgroups.mountinfo = vec!["30 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw".into()];
    assert_eq!(facts.cgroups.cgroups(), Cgroups::V2(BTreeSet::new()));
    assert_eq!(plan(&facts), []);
    facts.cgroups = ControlGroups::default();
    assert_eq!(plan(&facts), []);
    assert!(said(&facts.judge(&Needs::default()), "control groups").contains("CONFIG_CGROUPS"));
}

#[test]
fn names_like_ours_are_told_apart() {
    let mut facts = here();
    facts.names.switchd = vec!["/usr/sbin/switchd".into()];
    facts.names.runs = true;
    let report = facts.judge(&Needs::default());
    assert_eq!(verdict(&report, "names"), Verdict::Ok, "theirs is theirs");
    assert!(said(&report, "names").contains("/usr/sbin/switchd"));
    for needs in [
        Needs { command: Some("switchd".into()), ..agent("amd64", "eth0") },
        Needs { bundle: Some("switchd 2".into()), ..agent("amd64", "eth0") },
    ] {
        assert_eq!(verdict(&facts.judge(&needs), "names"), Verdict::Fail);
    }
    facts.names.taken = vec!["/etc/init.d/sluice-apps".into()];
    assert_eq!(verdict(&facts.judge(&Needs::default()), "names"), Verdict::Fail);
}

#[test]
fn what_the_kernel_lacks_matters_to_what_programs_it() {
    let mut facts = here();
    facts.netlink.tried.insert("vxlan".into(), Some("Operation not supported (os error 95)".into()));
    assert_eq!(verdict(&facts.judge(&agent("amd64", "eth0")), "vxlan"), Verdict::Fail);
    assert_eq!(verdict(&facts.judge(&Needs::default()), "vxlan"), Verdict::Degraded);
    let plain = Needs { dataplane: false, ..agent("amd64", "eth0") };
    assert_eq!(verdict(&facts.judge(&plain), "network"), Verdict::Ok);
    facts.netlink = Netlink { error: Some("Operation not permitted".into()), ..Netlink::default() };
    assert_eq!(verdict(&facts.judge(&agent("amd64", "eth0")), "network"), Verdict::Degraded);
    let mut facts = here();
    for (inode, is) in [(None, Verdict::Ok), (Some(0), Verdict::Ok), (Some(12), Verdict::Degraded)] {
        facts.netlink.vxlan_port = inode;
        assert_eq!(verdict(&facts.judge(&Needs::default()), "VXLAN port"), is);
    }
}

#[test]
fn ports_and_paths_that_a_bundle_names_must_be_there() {
    let mut facts = here();
    let report = facts.judge(&agent("amd64", "swp77"));
    assert_eq!(verdict(&report, "ports"), Verdict::Fail);
    assert!(said(&report, "ports").contains("swp77"));

    let needs = Needs { listens: [6640].into(), ..agent("amd64", "eth0") };
    assert_eq!(verdict(&facts.judge(&needs), "TCP port"), Verdict::Ok);
    facts.ports.listeners.insert(6640, "sluice/agent".into());
    assert_eq!(verdict(&facts.judge(&needs), "TCP port"), Verdict::Ok, "it is what is replaced");
    facts.ports.listeners.insert(6640, "ovsdb-server".into());
    assert_eq!(verdict(&facts.judge(&needs), "TCP port"), Verdict::Fail);

    let mounts = [("/run/ovs".to_owned(), false), ("/etc/hosts".to_owned(), true)].into();
    let needs = Needs { mounts, ..agent("amd64", "eth0") };
    assert_eq!(verdict(&facts.judge(&needs), "mounts"), Verdict::Degraded, "nobody looked");
    let kind = |kind: &str| Some(kind.to_owned());
    for (ovs, hosts, is) in [
        (kind("directory"), kind("file"), Verdict::Ok),
        (None, kind("file"), Verdict::Fail),
        (kind("directory"), kind("directory"), Verdict::Fail),
    ] {
        facts.paths.0 = [("/run/ovs".to_owned(), ovs), ("/etc/hosts".to_owned(), hosts)].into();
        assert_eq!(verdict(&facts.judge(&needs), "mounts"), is);
    }
}

#[test]
fn a_clock_before_the_bundle_or_after_the_century_is_told() {
    let mut facts = here();
    for (now, is) in [
        (0, Verdict::Degraded),
        (1_767_225_600, Verdict::Ok),
        (1_899_999_999, Verdict::Ok),
        (5_000_000_000, Verdict::Degraded),
    ] {
        facts.clock.now = now;
        assert_eq!(verdict(&facts.judge(&Needs::default()), "clock"), is, "{now}");
    }
    facts.clock.now = 1_900_000_000;
    let needs = Needs { made: Some(1_900_000_001), ..agent("amd64", "eth0") };
    assert_eq!(verdict(&facts.judge(&needs), "clock"), Verdict::Degraded);
}

/// A copy of some of a switch's files, and of nothing else.
#[test]
fn files_tell_which_switch_it_is() {
    let copy = |files: &[(&str, &str)]| {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    };
    let cumulus = "NAME=\"Cumulus Linux\"\nVERSION_ID=5.9.0\nID=cumulus-linux\nHOME_URL=x\n";
    let debian = "PRETTY_NAME=\"Debian GNU/Linux 11 (bullseye)\"\nID=debian\n";
    for (files, is) in [
        (vec![("etc/os-release", cumulus)], Profile::Cumulus),
        (vec![("etc/os-release", debian), ("etc/cumulus/switchd.conf", "")], Profile::Cumulus),
        (vec![("etc/os-release", debian), ("etc/sonic/sonic_version.yml", "")], Profile::Sonic),
        (vec![("etc/os-release", debian), ("etc/onl/platform", "arm64-accton-as4224-52p-r0")], Profile::Dent),
        (vec![("etc/os-release", debian)], Profile::Plain),
        (vec![], Profile::Plain),
    ] {
        let root = copy(&files);
        let place =
            Place { root: root.path().into(), state: "/nowhere".into(), runc: None, libcontainer: false };
        let os = SwitchOs::gather(&place, &Needs::default());
        assert_eq!(os.profile(), is, "{files:?}");
        assert!(!os.release.contains_key("HOME_URL"));
    }
    let root = copy(&[
        ("usr/sbin/switchd", "ELF"),
        ("lib/systemd/system/switchd.service", ""),
        ("etc/init.d/sluice-apps", "#!/bin/sh\n"),
        ("etc/rc2.d/README", ""),
        ("proc/7/comm", "switchd\n"),
        ("proc/1/comm", "init\n"),
    ]);
    let place = Place { root: root.path().into(), state: "/nowhere".into(), runc: None, libcontainer: false };
    let names = Names::gather(&place, &Needs::default());
    assert_eq!(names.switchd, ["/usr/sbin/switchd", "/lib/systemd/system/switchd.service"]);
    assert!(names.runs);
    assert_eq!(names.taken, ["/etc/init.d/sluice-apps"]);
    assert_eq!(Boot::gather(&place, &Needs::default()).init(), Init::Sysv);
}

#[test]
fn this_machine_can_be_asked_and_its_facts_are_kept() {
    let place = Place {
        root: "/".into(),
        state: "/var/lib/sluice-switch".into(),
        runc: Some("/no/such/runc".into()),
        libcontainer: true,
    };
    let facts = Facts::gather(&place, &Needs::default());
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    assert!(
        facts.runtimes.error.is_some() && !facts.machine.kernel.is_empty() && !facts.disk.mount.is_empty()
    );
    if rustix::process::geteuid().is_root() {
        assert!(facts.netlink.error.is_none() && facts.netlink.tried.len() == 5, "{:?}", facts.netlink);
    } else {
        eprintln!("skipped: trying the kernel's networking needs root");
    }
}
