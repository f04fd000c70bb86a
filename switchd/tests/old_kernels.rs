//! Switches run kernels back to 3.2. Here an old kernel is played by a seccomp filter: system calls whose numbers it
//! does not have fail with ENOSYS, for us, for runc and for the application alike. This shows which calls are made;
//! it is not a test on such a kernel.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Archive, Bench, Image, SERVE, Switch, busybox, containers, ended};

/// Makes the calls from number `first` on fail with ENOSYS, for this process and its descendants.
fn forget_calls_from(first: u32) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let mut program = [
        // The number is the first field of struct seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: first,
        },
        statement(libc::BPF_RET | libc::BPF_K, enosys),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program and its description live until the call returns, and the kernel copies them.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a command and its descendants meet a kernel without the calls from number `first` on.
fn old(command: &mut Command, first: u32) -> &mut Command {
    // SAFETY: prctl(2) is safe to call between fork(2) and execve(2), and nothing there allocates.
    unsafe { command.pre_exec(move || forget_calls_from(first)) }
}

/// Kernels, and for each the first call that it does not have (arch/x86/entry/syscalls/syscall_64.tbl): faccessat2 of
/// 5.8 and openat2 of 5.6 are gone with it, then clone3, statx, renameat2.
const KERNELS: [(&str, u32); 6] =
    [("5.7", 439), ("5.5", 437), ("5.2", 435), ("4.10", 332), ("3.14", 316), ("3.2", 312)];

#[test]
fn a_release_is_installed_on_kernels_without_new_system_calls() {
    if !containers("a_release_is_installed_on_kernels_without_new_system_calls") {
        return;
    }
    let s = Switch::new("old");
    let spec = "version = \"1\"\n[health]\nexec = [\"/bin/test\", \"-e\", \"/etc/passwd\"]\ninterval = \"50ms\"\n\
                soak = \"100ms\"\n";
    s.pack_image(&busybox(SERVE), spec, "app.slb");
    for (kernel, first) in KERNELS {
        let run = |args: &[&str]| {
            let (code, out, error) = ended(old(&mut s.command(args), first));
            assert_eq!(code, 0, "Linux {kernel}, {args:?}: {out}{error}");
            out
        };
        run(&["install", "app.slb", "--trust", "key.pub"]);
        assert!(run(&["status"]).contains("running"), "Linux {kernel}");
        run(&["rm", &s.app]);
    }
}

/// The agent as switches get it, which is not of this package: images/check names the binary.
#[test]
#[ignore = "images/check runs it, with SLUICE_AGENT set to the static agent"]
fn the_agent_serves_on_kernels_without_new_system_calls() {
    let agent = std::env::var_os("SLUICE_AGENT").expect("SLUICE_AGENT names the agent");
    for (kernel, first) in KERNELS {
        let here = tempfile::tempdir().unwrap();
        let path = |name: &str| here.path().join(name);
        let run = |args: &[&str]| {
            let mut command = Command::new(&agent);
            command.args(args).current_dir(here.path()).env("SLUICE_ADMIN_SOCKET", path("admin.sock"));
            // In a network namespace of its own: what it does to links is none of this machine's business.
            // SAFETY: unshare(2) takes no pointers.
            let begin = move || match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
                0 => forget_calls_from(first),
                _ => Err(io::Error::last_os_error()),
            };
            // SAFETY: unshare(2) and prctl(2) are safe to call between fork(2) and execve(2), and nothing allocates.
            unsafe { command.pre_exec(begin) };
            command
        };
        let log = fs::File::create(path("log")).unwrap();
        let mut serving =
            run(&["agent", "--node", "old", "--underlay", "192.0.2.1", "--docker-socket", "none"])
                .args(["--store", "embedded", "--log-level", "warn", "--ovs-rundir"])
                .arg(here.path())
                .env("SLUICE_STATE_DIR", path("state"))
                .env("SLUICE_PLUGIN_SOCKET", path("plugin.sock"))
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
        let said = |output: std::process::Output| {
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        };
        let end = Instant::now() + Duration::from_secs(20);
        while !path("admin.sock").exists() && Instant::now() < end && serving.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let made = said(run(&["network", "create", "blue", "--subnet", "10.5.0.0/16"]).output().unwrap());
        let listed = run(&["network", "ls"]).output().unwrap();
        let _ = serving.kill();
        let _ = serving.wait();
        let log = fs::read_to_string(path("log")).unwrap_or_default();
        let ok = listed.status.success();
        let listed = said(listed);
        assert!(ok && listed.contains("blue"), "Linux {kernel}: {made}{listed}{log}");
    }
}

/// A switch's network: a cable to the other switch, and a port with a server's end of a cable.
fn wired(name: &str, address: &str) {
    let ip = |args: &str| {
        let output = Command::new("ip").args(args.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    ip(&format!("-n {name} link set lo up"));
    ip(&format!("-n {name} address add {address}/24 dev eth0"));
    ip(&format!("-n {name} link set eth0 up"));
    ip(&format!("-n {name} link add swp1 type veth peer name server"));
    for end in ["swp1", "server"] {
        ip(&format!("-n {name} link set {end} up"));
    }
}

/// Ends a process with the test's scope.
struct Ending(std::process::Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The agent as a bundle under runc, on Linux 3.2 as far as system calls go: all that it programs on a switch is there.
/// The other switch is an agent on this kernel.
#[test]
#[ignore = "images/check runs it, with SLUICE_AGENT set to the static agent"]
fn the_agent_in_runc_programs_a_switch_on_an_old_kernel() {
    if !containers("the_agent_in_runc_programs_a_switch_on_an_old_kernel") {
        return;
    }
    let agent = std::env::var_os("SLUICE_AGENT").expect("SLUICE_AGENT names the agent");
    let s = Switch::new("agent");
    let here = s.bench.dir.path().display().to_string();
    rustix::mount::mount("tmpfs", "/run", "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    for args in
        ["netns add sw1", "netns add sw2", "link add eth0 netns sw1 type veth peer name eth0 netns sw2"]
    {
        assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
    }
    wired("sw1", "172.31.0.1");
    wired("sw2", "172.31.0.2");
    let within = |name: &str, program: &std::ffi::OsStr| {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{name}"))
            .arg("--")
            .arg(program)
            .current_dir(s.bench.dir.path());
        command
    };
    let log = |name: &str| fs::File::create(s.bench.path(name)).unwrap();
    let url = "http://172.31.0.1:2379";
    let mut etcd = within("sw1", "etcd".as_ref());
    etcd.args(["--data-dir", "etcd", "--listen-client-urls", url, "--advertise-client-urls", url]);
    etcd.args(["--listen-peer-urls", "http://127.0.0.1:2380"])
        .stdout(log("etcd.log"))
        .stderr(log("etcd.err"));
    let _etcd = Ending(etcd.spawn().unwrap());
    let settings = "dataplane = \"linux\"\ndocker-socket = \"none\"\nstore = \"etcd://172.31.0.1:2379\"\n";
    let mut second = within("sw2", &agent);
    fs::write(s.bench.path("sw2.toml"), settings).unwrap();
    second.args(["agent", "--config", "sw2.toml", "--node", "sw2", "--underlay", "172.31.0.2"]);
    for what in ["state-dir", "plugin-socket", "admin-socket"] {
        second.arg(format!("--{what}={here}/sw2.{what}"));
    }
    let _second = Ending(second.stdout(log("sw2.log")).stderr(log("sw2.err")).spawn().unwrap());

    // As images/agent/bundle.toml has it, but for where its files are and how long it is looked at.
    let described = concat!(env!("CARGO_MANIFEST_DIR"), "/../images/agent/bundle.toml");
    let described = fs::read_to_string(described).unwrap();
    let spec = described
        .replace("app = \"sluice-agent\"\n", "")
        .replace("source = \"/etc/sluice\"", &format!("source = \"{here}/etc\""))
        .replace("source = \"/var/lib/sluice\"", &format!("source = \"{here}/var\""))
        .replace("soak = \"10s\"", "soak = \"1s\"");
    assert!(spec.contains(&format!("{here}/etc")) && spec.contains(&format!("{here}/var")), "{spec}");
    fs::create_dir(s.bench.path("etc")).unwrap();
    fs::create_dir(s.bench.path("var")).unwrap();
    fs::write(
        s.bench.path("etc/sluice.toml"),
        format!("{settings}node = \"sw1\"\nunderlay = \"172.31.0.1\"\n"),
    )
    .unwrap();
    let binary = fs::read(&agent).unwrap();
    let layer = Archive::new().dir("usr/bin").file("usr/bin/sluice", 0o755, &binary);
    let image = Image { layers: vec![layer.bytes()], config: serde_json::json!({}) };
    s.pack_image(&image, &spec, "agent.slb");
    let program = env!("CARGO_BIN_EXE_sluice-switch");
    let run = |args: &[&str]| {
        let mut command = within("sw1", program.as_ref());
        command.env("SLUICE_SWITCH_STATE", s.state()).env("SLUICE_SWITCH_RUN", s.run_dir()).args(args);
        ended(old(&mut command, 312))
    };
    let (code, out, error) =
        run(&["install", "agent.slb", "--trust", "key.pub", "--allow-degraded", "--runtime", "runc"]);
    assert_eq!(code, 0, "{out}{error}");
    let sluice = |args: &str| {
        let words = ["exec", s.app.as_str(), "--", "/usr/bin/sluice"].into_iter().chain(args.split(' '));
        let (code, out, error) = run(&words.collect::<Vec<_>>());
        assert_eq!(code, 0, "sluice {args}: {out}{error}");
        out
    };
    let status = s.status();
    let filter = fs::read_to_string(format!("/proc/{}/status", status["pid"])).unwrap();
    assert!(filter.contains("Seccomp:\t2"), "the agent itself meets the old kernel");
    sluice("network create blue --subnet 10.5.0.0/16");
    for node in ["sw1", "sw2"] {
        sluice(&format!("port attach swp1 --network blue --node {node}"));
    }
    let told = |args: &str| {
        let mut words = args.split(' ');
        let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The server behind the other switch says something, so that its address is learned there.
    let mac = told("ip -n sw2 -br link show dev server").split_whitespace().nth(2).unwrap().to_owned();
    told("ip -n sw2 address add 10.5.255.2/16 dev server");
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        told("ip -n sw2 neigh flush dev server");
        told("ip netns exec sw2 busybox ping -c 1 -W 1 -I server 10.5.255.1");
        let (links, fdb) = (told("ip -n sw1 -d link"), told("bridge -n sw1 fdb show"));
        let has = |parts: &[&str]| fdb.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        let links_there =
            ["vxlan id ", "local 172.31.0.1", "nolearning"].iter().all(|part| links.contains(part));
        let member = told("ip -n sw1 link show dev swp1").contains(" master ");
        let flooded = has(&["00:00:00:00:00:00", "dst 172.31.0.2", "self"]);
        let (outer, inner) = (has(&[&mac, "dst 172.31.0.2", "self"]), has(&[&mac, "master"]));
        if links_there && member && flooded && outer && inner {
            println!("{links}\n{fdb}");
            break;
        }
        assert!(
            Instant::now() < end,
            "links {links_there}, member {member}, flooded {flooded}, outer {outer}, inner {inner}:\n{links}\n{fdb}\n{}",
            fs::read_to_string(s.app_dir().join("log")).unwrap_or_default(),
        );
    }
    let (code, _, error) = run(&["rm", &s.app]);
    assert_eq!(code, 0, "{error}");
}

#[test]
fn preflight_finds_system_calls_by_trying_them() {
    let bench = Bench::new();
    let calls =
        [("pidfd_open", 434), ("clone3", 435), ("openat2", 437), ("faccessat2", 439), ("mount_setattr", 442)];
    for first in [1_000, 442, 439, 437, 435, 434, 332, 312] {
        let args = ["preflight", "--json", "--state-dir", "state", "--allow-degraded"];
        let (_, out, error) = ended(old(&mut bench.command(&args), first));
        let report: serde_json::Value =
            serde_json::from_str(&out).unwrap_or_else(|e| panic!("{first}: {e}: {error}"));
        for (name, number) in calls {
            assert_eq!(report["facts"]["calls"][name], number < first, "{name} of a kernel without {first}");
        }
        let lacks = report["facts"]["runtimes"]["kernel_lacks"].as_array().unwrap().len();
        assert_eq!(lacks, calls[2..].iter().filter(|(_, number)| *number >= first).count(), "{first}");
    }
}

/// By the directory of the runtime's state, which each has of its own.
#[cfg(feature = "libcontainer")]
#[test]
fn on_an_old_kernel_runc_is_taken_and_without_it_the_reason_is_told() {
    if !containers("on_an_old_kernel_runc_is_taken_and_without_it_the_reason_is_told") {
        return;
    }
    let s = Switch::new("auto");
    let spec = "version = \"1\"\n[health]\nrunning = true\ninterval = \"50ms\"\nsoak = \"100ms\"\n";
    s.pack_image(&busybox(SERVE), spec, "app.slb");
    for first in [442, 439, 335, 313] {
        let run = |args: &[&str]| ended(old(&mut s.command(args), first));
        let install = ["install", "app.slb", "--trust", "key.pub"];
        let (code, _, error) = run(&install);
        assert_eq!(code, 0, "{first}: {error}");
        let of = |runtime: &str| s.run_dir().join(runtime).join(&s.app);
        assert!(of("runc").exists() && !of("libcontainer").exists());
        assert_eq!(run(&["rm", &s.app]).0, 0);
        for runtime in ["auto", "libcontainer"] {
            let (code, _, error) =
                run(&[&install[..], &["--runc", "/no/runc", "--runtime", runtime]].concat());
            // An abort has no code.
            assert_eq!(code, 1, "{first} {runtime}: {error}");
            assert!(error.contains("mount_setattr, which libcontainer needs"), "{error}");
        }
        let (_, table, _) = run(&["preflight", "--runc", "/no/runc"]);
        assert!(table.contains("libcontainer would not work: the kernel lacks"), "{table}");
    }
}

#[test]
fn the_filter_does_what_it_says() {
    // uname(2) is number 63.
    let mut command = Command::new("uname");
    assert!(old(&mut command, 1_000).output().unwrap().status.success());
    let mut command = Command::new("statx-probe");
    // statx(2), number 332, with arguments that would give EFAULT or EBADF.
    // SAFETY: as above; the call has no effect whatever it answers.
    unsafe {
        command.pre_exec(|| {
            forget_calls_from(332)?;
            let answer = libc::syscall(libc::SYS_statx, -1, 0, 0, 0, 0);
            let error = io::Error::last_os_error();
            assert!(answer == -1);
            Err(error)
        });
    }
    assert_eq!(command.output().unwrap_err().raw_os_error(), Some(libc::ENOSYS));
}
