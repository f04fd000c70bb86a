//! Namespaces, entered on threads of their own so that no test ever changes the namespace it runs in.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::resume_unwind;
use std::process::{Child, Command, Stdio};
use std::thread;

/// What a finished command printed.
#[derive(Debug)]
pub struct Printed {
    pub success: bool,
    /// The exit status; none if a signal ended the command, or if it did not start.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Printed {
    pub(super) fn from(program: &OsStr, output: io::Result<std::process::Output>) -> Self {
        match output {
            Ok(output) => Self {
                success: output.status.success(),
                code: output.status.code(),
                stdout: String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
            },
            Err(error) => Self {
                success: false,
                code: None,
                stdout: String::new(),
                stderr: format!("{}: {error}", program.display()),
            },
        }
    }

    /// The standard output, or everything the command said when it failed.
    pub fn ok(self) -> Result<String, String> {
        if self.success { Ok(self.stdout) } else { Err(format!("{} {}", self.stdout, self.stderr)) }
    }

    /// The standard output of a command that must succeed.
    #[track_caller]
    pub fn expect(self, what: &str) -> String {
        match self.ok() {
            Ok(stdout) => stdout,
            Err(said) => panic!("{what}: {said}"),
        }
    }
}

/// A network namespace that lasts as long as this value, with no name and no mount to remove.
#[derive(Debug)]
pub struct NetNs(OwnedFd);

impl NetNs {
    /// A new, empty network namespace with its loopback up.
    pub fn new() -> Self {
        let fd = thread::spawn(|| {
            // SAFETY: unshare(2) takes no pointers; it moves this thread alone.
            cvt(unsafe { libc::unshare(libc::CLONE_NEWNET) }).expect("a new network namespace");
            File::open("/proc/thread-self/ns/net").expect("the namespace's own file")
        })
        .join()
        .expect("the namespace's thread");
        let ns = Self(fd.into());
        ns.exec(["ip", "link", "set", "lo", "up"]).expect("loopback up");
        ns
    }

    /// The network namespace that a process is in.
    pub fn of(pid: u32) -> Self {
        Self(open_ns(pid, "net"))
    }

    /// A path by which a command outside the lab's PID namespace can name this namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs a closure in the namespace. A socket that it makes stays in the namespace for good.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        in_namespaces(&[(&self.0, libc::CLONE_NEWNET)], f)
    }

    /// Runs a command in the namespace to its end.
    pub fn exec<S: AsRef<OsStr> + Sync>(&self, argv: impl AsRef<[S]>) -> Printed {
        let argv = argv.as_ref();
        let output = self.run(|| command(argv).stdin(Stdio::null()).output());
        Printed::from(argv[0].as_ref(), output)
    }
}

/// The PID, mount and network namespaces of a process in a lab: what a host's daemons run in.
#[derive(Debug)]
pub struct Space {
    pid: OwnedFd,
    mount: OwnedFd,
    net: OwnedFd,
}

impl Space {
    /// The namespaces that a process is in.
    pub fn of(pid: u32) -> Self {
        Self { pid: open_ns(pid, "pid"), mount: open_ns(pid, "mnt"), net: open_ns(pid, "net") }
    }

    /// The same once more, to be kept elsewhere.
    pub fn again(&self) -> Self {
        let again = |fd: &OwnedFd| fd.try_clone().expect("another handle on a namespace");
        Self { pid: again(&self.pid), mount: again(&self.mount), net: again(&self.net) }
    }

    /// Starts a command in the namespaces. The child's pid is the one seen by the test.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // The mount namespace comes last: it takes this thread's /proc away.
        let namespaces = [
            (&self.pid, libc::CLONE_NEWPID),
            (&self.net, libc::CLONE_NEWNET),
            (&self.mount, libc::CLONE_NEWNS),
        ];
        in_namespaces(&namespaces, || command.spawn())
    }

    /// Runs a command in the namespaces to its end.
    pub fn exec<S: AsRef<OsStr>>(&self, argv: impl AsRef<[S]>) -> Printed {
        let argv = argv.as_ref();
        let mut command = command(argv);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self.spawn(&mut command).and_then(Child::wait_with_output);
        Printed::from(argv[0].as_ref(), output)
    }
}

fn command<S: AsRef<OsStr>>(argv: &[S]) -> Command {
    let (program, arguments) = argv.split_first().expect("a command has a name");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn open_ns(pid: u32, kind: &str) -> OwnedFd {
    let path = format!("/proc/{pid}/ns/{kind}");
    File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

fn in_namespaces<T: Send>(namespaces: &[(&OwnedFd, libc::c_int)], f: impl FnOnce() -> T + Send) -> T {
    let outcome = thread::scope(|scope| {
        scope
            .spawn(|| {
                // A thread that shares its working directory with others may not change mount namespaces.
                // SAFETY: neither call takes a pointer; both concern this thread alone.
                cvt(unsafe { libc::unshare(libc::CLONE_FS) }).expect("a working directory of its own");
                for (fd, kind) in namespaces {
                    // SAFETY: as above; the descriptor is open for as long as it is borrowed.
                    cvt(unsafe { libc::setns(fd.as_raw_fd(), *kind) }).expect("entering a namespace");
                }
                f()
            })
            .join()
    });
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

pub fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
