//! What every runtime must do, asked of the kernel and not of the runtime.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Bench, busybox, containers, unique};
use sluice_switch::bundle::{AppName, Bundle, Manifest, Shared, Trust, unpack};
use sluice_switch::digest::Digest;
use sluice_switch::runtime::{Cgroups, Degraded, Runc, Runtime, RuntimeError, Status, prepare};

/// Long enough for an emulated processor (images/check-kernels); nothing takes that long where all is well.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The runtimes that pass this suite.
#[derive(Clone, Copy)]
enum With {
    Runc,
    #[cfg(feature = "libcontainer")]
    Libcontainer,
}

impl With {
    fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            #[cfg(feature = "libcontainer")]
            Self::Libcontainer => "lib",
        }
    }

    fn runtime(self, root: PathBuf) -> Runc {
        match self {
            Self::Runc => Runc::new("runc", root),
            #[cfg(feature = "libcontainer")]
            Self::Libcontainer => Runc::libcontainer(env!("CARGO_BIN_EXE_sluice-switch"), root),
        }
    }

    /// Whether it can be tested here; otherwise says why not.
    fn usable(self, test: &str) -> bool {
        match self {
            Self::Runc => containers(test),
            #[cfg(feature = "libcontainer")]
            Self::Libcontainer => {
                let kernel = Runc::kernel_can(std::path::Path::new(env!("CARGO_BIN_EXE_sluice-switch")));
                if !kernel {
                    eprintln!("skipped: {test} with libcontainer needs Linux 5.12");
                }
                kernel && containers(test)
            }
        }
    }
}

/// Every test, once for each runtime.
macro_rules! suite {
    ($($test:ident)*) => {
        mod runc {
            $(#[test]
            fn $test() {
                if super::With::Runc.usable(stringify!($test)) {
                    super::$test(super::With::Runc);
                }
            })*
        }

        #[cfg(feature = "libcontainer")]
        mod libcontainer {
            $(#[test]
            fn $test() {
                if super::With::Libcontainer.usable(stringify!($test)) {
                    super::$test(super::With::Libcontainer);
                }
            })*
        }
    };
}

suite! {
    a_container_goes_through_its_life
    the_process_is_confined
    the_host_network_mounts_and_another_user_are_given_when_asked_for
    limits_are_what_the_kernel_says_and_hold
    without_a_controller_the_limit_falls_back_after_consent
    what_the_runtime_refuses_is_told_in_its_words
}

/// A container of a test, removed at its end however that comes.
struct Box {
    bench: Bench,
    runtime: Runc,
    id: AppName,
    manifest: Manifest,
    digest: Digest,
}

impl Box {
    /// Unpacks a busybox image whose command is `script`, with more of a description.
    fn new(with: With, name: &str, script: &str, spec: &str) -> Self {
        let bench = Bench::new();
        // Tests of several programs may run at once.
        let id = format!("{name}-{}-{}", with.name(), unique());
        fs::write(bench.path("spec.toml"), format!("app = \"{id}\"\nversion = \"1\"\n{spec}")).unwrap();
        bench.pack(&busybox(script).docker_save(), "app.slb");
        let bundle = Bundle::open(&bench.path("app.slb"), &Trust::Anyone).unwrap();
        let digest = bundle.digest;
        let manifest = unpack(bundle, &bench.path("release"), &Shared::default()).unwrap();
        let runtime = with.runtime(bench.path("state"));
        Self { bench, runtime, id: id.parse().unwrap(), manifest, digest }
    }

    fn prepare(&self, cgroups: &Cgroups, consent: bool) -> Result<Vec<Degraded>, RuntimeError> {
        let (rootfs, into) = (self.bench.path("release/rootfs"), self.bench.path("run"));
        prepare(&self.manifest, self.digest, &rootfs, &into, cgroups, consent)
    }

    fn log_path(&self) -> PathBuf {
        self.bench.path("log")
    }

    fn create(&self) -> Result<u32, RuntimeError> {
        self.runtime.create(&self.id, &self.bench.path("run"), &File::create(self.log_path()).unwrap())
    }

    /// Prepares, creates and starts.
    fn up(with: With, name: &str, script: &str, spec: &str) -> Self {
        let this = Self::new(with, name, script, spec);
        this.prepare(&Cgroups::detect().unwrap(), false).unwrap();
        this.create().unwrap();
        this.runtime.start(&this.id).unwrap();
        this
    }

    fn status(&self) -> Option<Status> {
        self.runtime.state(&self.id).unwrap().map(|s| s.status)
    }

    /// Waits for a condition, with a deadline and not a pause.
    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !holds() {
            assert!(Instant::now() < end, "waited in vain for: {what}; log: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn exec(&self, command: &str) -> (i32, String) {
        let args = ["/bin/sh", "-c", command].map(str::to_owned);
        let ran = self.runtime.exec(&self.id, &args, TIMEOUT).unwrap();
        (ran.code, ran.output)
    }

    /// A file of the container's control group (version 1 or 2), by the kernel's own account of where that is.
    fn cgroup(&self, controller: &str, v1: &str, v2: &str) -> String {
        let pid = self.runtime.state(&self.id).unwrap().unwrap().pid.unwrap();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let of = |wanted: &str| {
            groups.lines().find_map(|line| {
                let fields: Vec<&str> = line.splitn(3, ':').collect();
                fields[1].split(',').any(|c| c == wanted).then(|| fields[2].to_owned())
            })
        };
        let path = match of(controller) {
            Some(path) => format!("/sys/fs/cgroup/{controller}{path}/{v1}"),
            None => format!("/sys/fs/cgroup{}/{v2}", of("").unwrap()),
        };
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        let _ = self.runtime.delete(&self.id);
    }
}

const FOREVER: &str = "trap 'echo got TERM; exit 0' TERM; echo up; while :; do sleep 0.05; done";

fn a_container_goes_through_its_life(with: With) {
    let b = Box::new(with, "life", FOREVER, "");
    assert_eq!(b.status(), None);
    b.prepare(&Cgroups::detect().unwrap(), false).unwrap();
    let pid = b.create().unwrap();
    assert_eq!(b.status(), Some(Status::Created));
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());
    b.runtime.start(&b.id).unwrap();
    b.until("its first line", || b.log().contains("up"));
    let state = b.runtime.state(&b.id).unwrap().unwrap();
    assert_eq!((state.status, state.pid), (Status::Running, Some(pid)));
    assert_eq!(state.annotations["sluice.release"], b.digest.to_string());
    let again = b.create().unwrap_err().to_string();
    assert!(again.contains("already"), "{again}");
    assert!(b.runtime.start(&b.id).is_err(), "it has begun");
    b.runtime.signal(&b.id, 15).unwrap();
    b.until("its end", || b.status() == Some(Status::Stopped));
    assert!(b.log().contains("got TERM"));
    assert!(b.runtime.signal(&b.id, 15).is_err(), "it has ended");
    b.runtime.delete(&b.id).unwrap();
    assert_eq!(b.status(), None);
    b.runtime.delete(&b.id).expect("to remove what is gone is no error");
    assert!(b.runtime.start(&b.id).is_err());
    // And once more, under the same name.
    b.create().unwrap();
    b.runtime.start(&b.id).unwrap();
    b.until("running again", || b.status() == Some(Status::Running));
    b.runtime.delete(&b.id).unwrap();
    assert_eq!(b.status(), None, "a running container is killed");
}

fn the_process_is_confined(with: With) {
    let spec = "capabilities = [\"CAP_NET_ADMIN\"]\ntmpfs = [\"/tmp\", \"/run\"]\n";
    let b = Box::up(with, "confined", FOREVER, spec);
    let pid = b.runtime.state(&b.id).unwrap().unwrap().pid.unwrap();
    b.until("its first line", || b.log().contains("up"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in [
        "CapEff:\t0000000000001000",
        "CapPrm:\t0000000000001000",
        "CapBnd:\t0000000000001000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let (code, said) = b.exec("touch /x");
    assert!(code != 0 && said.contains("Read-only file system"), "{said}");
    assert_eq!(b.exec("touch /tmp/x /run/x").0, 0);
    assert!(b.exec("mount -t tmpfs x /tmp").0 != 0);
    assert!(b.exec("echo 1 > /proc/sys/kernel/panic").0 != 0);
    assert_eq!(
        b.exec("cat /proc/1/cmdline | tail -c 1; kill -0 1").0,
        0,
        "its own processes are all it sees"
    );
    // A command in the container is confined as the container is.
    let (_, said) = b.exec("cat /proc/self/status");
    assert!(said.contains("CapEff:\t0000000000001000") && said.contains("NoNewPrivs:\t1"), "{said}");
    for namespace in ["pid", "mnt", "ipc", "uts", "net"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_ne!(of(&pid.to_string()), of("self"), "{namespace}");
    }
    let (_, links) = b.exec("ip -o link");
    assert!(links.contains("lo") && !links.contains("eth"), "{links}");
}

fn the_host_network_mounts_and_another_user_are_given_when_asked_for(with: With) {
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("f"), "from the switch").unwrap();
    let directory = shared.path().display();
    let spec = format!(
        "network = \"host\"\nuser = \"app\"\ncapabilities = [\"CAP_NET_RAW\"]\n\
         [[mounts]]\nsource = \"{directory}\"\ntarget = \"/shared\"\n\
         [[mounts]]\nsource = \"{directory}/f\"\ntarget = \"/etc/one\"\nfile = true\n\
         [[mounts]]\nsource = \"{directory}\"\ntarget = \"/writable\"\nwritable = true\n"
    );
    std::os::unix::fs::chown(shared.path(), Some(1000), None).unwrap();
    let b = Box::up(with, "hostnet", FOREVER, &spec);
    let pid = b.runtime.state(&b.id).unwrap().unwrap().pid.unwrap();
    let net = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(net(&pid.to_string()), net("self"));
    assert_eq!(b.exec("cat /shared/f /etc/one"), (0, "from the switchfrom the switch".to_owned()));
    assert!(b.exec("touch /shared/x").1.contains("Read-only"));
    assert_eq!(b.exec("touch /writable/x").0, 0);
    assert!(shared.path().join("x").exists());
    assert!(b.exec("id").1.starts_with("uid=1000(app) gid=1000"));
    assert!(b.exec("cat /sys/class/net/lo/mtu").0 == 0);
    // A user that is not root has the capability as well, over execve.
    let (_, said) = b.exec("cat /proc/self/status");
    assert!(said.contains("CapEff:\t0000000000002000"), "{said}");
}

fn limits_are_what_the_kernel_says_and_hold(with: With) {
    let cgroups = Cgroups::detect().unwrap();
    let spec = "[limits]\nmemory = \"32M\"\npids = 20\ncpus = \"0.5\"\n";
    let b = Box::new(with, "limits", FOREVER, spec);
    if let Err(error) = b.prepare(&cgroups, false) {
        eprintln!("skipped: limits_are_what_the_kernel_says_and_hold: {error}");
        return;
    }
    b.create().unwrap();
    b.runtime.start(&b.id).unwrap();
    assert_eq!(b.cgroup("memory", "memory.limit_in_bytes", "memory.max"), (32 << 20).to_string());
    assert_eq!(b.cgroup("pids", "pids.max", "pids.max"), "20");
    let cpu = b.cgroup("cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(cpu == "50000" || cpu == "50000 100000", "{cpu}");
    let (code, _) = b.exec("tail /dev/zero");
    assert_ne!(code, 0, "a process that takes all memory is killed");
    assert_eq!(b.status(), Some(Status::Running), "and the container is not");
    let (_, said) = b.exec("i=0; while [ $i -lt 40 ]; do sleep 1 & i=$((i+1)); done");
    assert!(said.contains("fork"), "{said}");
}

fn without_a_controller_the_limit_falls_back_after_consent(with: With) {
    let b = Box::new(
        with,
        "fallback",
        &format!("tail /dev/zero; echo survived; {FOREVER}"),
        "[limits]\nmemory = \"32M\"\n",
    );
    // This machine, as if nobody had mounted its memory controller.
    let without = match Cgroups::detect().unwrap() {
        Cgroups::V1(mut set) => {
            set.remove("memory");
            Cgroups::V1(set)
        }
        Cgroups::V2(mut set) => {
            set.remove("memory");
            Cgroups::V2(set)
        }
        Cgroups::None => Cgroups::None,
    };
    let refused = b.prepare(&without, false).unwrap_err().to_string();
    assert!(refused.contains("memory controller") && refused.contains("--allow-degraded"), "{refused}");
    assert!(!b.bench.path("run/config.json").exists(), "nothing is written without consent");
    let degraded = b.prepare(&without, true).unwrap();
    assert_eq!(degraded.len(), 1);
    b.create().unwrap();
    b.runtime.start(&b.id).unwrap();
    let pid = b.runtime.state(&b.id).unwrap().unwrap().pid.unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let space = limits.lines().find(|l| l.starts_with("Max address space")).unwrap();
    assert!(space.contains("33554432"), "{space}");
    b.until("tail's end", || b.log().contains("survived"));
    assert!(b.log().contains("out of memory"), "{}", b.log());
    assert_eq!(
        b.exec("echo yes"),
        (0, "yes\n".to_owned()),
        "commands can be run although the limit is small"
    );
}

fn what_the_runtime_refuses_is_told_in_its_words(with: With) {
    let cgroups = Cgroups::detect().unwrap();
    let spec = "[[mounts]]\nsource = \"/no/such/place\"\ntarget = \"/x\"\n";
    let b = Box::new(with, "mount", FOREVER, spec);
    let error = b.prepare(&cgroups, false).unwrap_err().to_string();
    assert!(error.contains("`/no/such/place` on `/x`") && error.contains("correct `mounts`"), "{error}");

    let b = Box::new(with, "refused", FOREVER, "");
    b.prepare(&cgroups, false).unwrap();
    // A root that goes away between the two.
    let config = b.bench.path("run/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("release/rootfs", "release/gone")).unwrap();
    let error = b.create().unwrap_err().to_string();
    assert!(error.contains("failed to create refused-") && error.len() > 60, "{error}");
    b.runtime.delete(&b.id).unwrap();
    assert_eq!(b.status(), None, "a failed creation leaves nothing");

    let b = Box::up(with, "exec", FOREVER, "");
    let exec = |args: &[&str], timeout| {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        b.runtime.exec(&b.id, &args, timeout)
    };
    assert_eq!(exec(&["/bin/sh", "-c", "exit 42"], TIMEOUT).unwrap().code, 42);
    let error = exec(&["/bin/none"], TIMEOUT).unwrap_err().to_string();
    assert!(error.contains("/bin/none"), "{error}");
    // A command line that no other process has.
    let pause = format!("{}.125", 10_000 + std::process::id());
    let error = exec(&["/bin/sleep", &pause], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.contains(&pause) && error.contains("did not end within 1 s"), "{error}");
    b.until("its end: it is killed, not only given up", || {
        let lines = fs::read_dir("/proc").unwrap().flatten().map(|e| fs::read(e.path().join("cmdline")));
        !lines.flatten().any(|l| l.starts_with(b"/bin/sleep\0") && l[11..].starts_with(pause.as_bytes()))
    });
    let error = Runc::new("/no/runc", b.bench.path("other")).start(&b.id).unwrap_err().to_string();
    assert!(error.contains("--runc"), "{error}");
}

/// libcontainer clones its caller, and the clone inherits locks that nobody will open when another thread holds them.
/// With musl that is the allocator's one lock; so these tests are run with musl as well (images/check).
#[cfg(feature = "libcontainer")]
mod threads {
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{self, JoinHandle};

    use super::*;

    /// Four threads that allocate, as the threads of a busy program do.
    struct Allocating {
        done: Arc<AtomicBool>,
        threads: Vec<JoinHandle<()>>,
    }

    impl Allocating {
        fn start() -> Self {
            let done = Arc::new(AtomicBool::new(false));
            let thread = |done: Arc<AtomicBool>| {
                thread::spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        // Of sizes for which musl asks the kernel, and holds its lock meanwhile.
                        let sizes = (20_000..120_000).step_by(10_000);
                        std::hint::black_box(sizes.map(Vec::<u8>::with_capacity).collect::<Vec<_>>());
                    }
                })
            };
            Self { threads: (0..4).map(|_| thread(Arc::clone(&done))).collect(), done }
        }
    }

    impl Drop for Allocating {
        fn drop(&mut self) {
            self.done.store(true, Ordering::Relaxed);
            for thread in self.threads.drain(..) {
                thread.join().unwrap();
            }
        }
    }

    #[test]
    fn two_hundred_creations_while_other_threads_allocate() {
        if !With::Libcontainer.usable("two_hundred_creations_while_other_threads_allocate") {
            return;
        }
        let _allocating = Allocating::start();
        let b = Box::new(With::Libcontainer, "threads", FOREVER, "");
        b.prepare(&Cgroups::detect().unwrap(), false).unwrap();
        let begin = Instant::now();
        for n in 0..200 {
            b.create().unwrap_or_else(|e| panic!("creation {n}: {e}"));
            b.runtime.delete(&b.id).unwrap();
        }
        println!("200 creations in {:?}, none hung", begin.elapsed());
    }

    /// How many creations there are at most in the caller's own process.
    const MOST: u32 = 400;

    /// Set to the container's id in the process that [`in_the_callers_own_process_creations_hang`] starts.
    const VICTIM: &str = "SLUICE_TEST_VICTIM";

    /// The negative control: what the helper is for. In a process with threads that allocate, a creation never returns:
    /// mostly one of the first 40, but that is chance, so there are ten times as many.
    #[test]
    #[cfg_attr(
        not(target_env = "musl"),
        ignore = "glibc's allocator has more than one lock, and hangs seldom"
    )]
    fn in_the_callers_own_process_creations_hang() {
        let name = "in_the_callers_own_process_creations_hang";
        if let Some(directory) = std::env::var_os(VICTIM) {
            return create_until_it_hangs(&PathBuf::from(directory));
        }
        if !With::Libcontainer.usable(name) {
            return;
        }
        let b = Box::new(With::Libcontainer, "victim", FOREVER, "");
        b.prepare(&Cgroups::detect().unwrap(), false).unwrap();
        fs::create_dir(b.bench.path("state")).unwrap();
        fs::write(b.bench.path("id"), b.id.as_str()).unwrap();
        // A process group of its own, as the hanging clone is to end with it.
        let mut victim = std::os::unix::process::CommandExt::process_group(
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", &format!("threads::{name}"), "--nocapture"])
                .env(VICTIM, b.bench.dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
            0,
        )
        .spawn()
        .unwrap();
        let group = rustix::process::Pid::from_child(&victim);
        let count = || fs::read_to_string(b.bench.path("count")).unwrap_or_default();
        let (mut last, mut since) = (count(), Instant::now());
        let hung = loop {
            if victim.try_wait().unwrap().is_some() {
                break false;
            }
            if count() != last {
                (last, since) = (count(), Instant::now());
            }
            if since.elapsed() > Duration::from_secs(10) {
                break true;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = victim.wait();
        println!(
            "in its own process: creation {last} of {MOST} {}",
            if hung { "never returned" } else { "was the last" }
        );
        assert!(hung, "none of {MOST} hung: the helper would not be needed");
    }

    fn create_until_it_hangs(directory: &std::path::Path) {
        let _allocating = Allocating::start();
        let id = fs::read_to_string(directory.join("id")).unwrap();
        for n in 1..=MOST {
            fs::write(directory.join("count"), n.to_string()).unwrap();
            let path = |name: &str| directory.join(name).into_os_string();
            let helper = |more: Vec<std::ffi::OsString>| {
                let first = ["helper", "--root"].map(Into::into);
                let log = ["--log".into(), path("helper.log"), "--log-format".into(), "json".into()];
                let args = first.into_iter().chain([path("state")]).chain(log).chain(more);
                sluice_switch::runtime::helper::run(args)
            };
            let words = |words: &[&str]| words.iter().map(|word| (*word).into()).collect::<Vec<_>>();
            let mut create = words(&["create", "--bundle"]);
            create.extend([path("run"), "--pid-file".into(), path("pid"), id.clone().into()]);
            assert_eq!(
                helper(create),
                0,
                "creation {n}: {:?}",
                fs::read_to_string(directory.join("helper.log"))
            );
            assert_eq!(helper(words(&["delete", "--force", &id])), 0, "deletion {n}");
        }
    }
}
