//! The agent as switches run it: in a container of runc with one capability and a root that cannot be written, on a
//! kernel that lacks what is newer than 3.2.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::namespace::Printed;
use super::{ETCD, Lab, WhiteBox, binary};

/// Makes the system calls from number `first` on fail with ENOSYS, for this process and its descendants.
///
/// Safe to call between fork(2) and execve(2): it allocates nothing.
fn forget_calls_from(first: u32) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let is_newer = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    let mut program = [
        // The number is the first field of struct seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { code: is_newer, jt: 0, jf: 1, k: first },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program and its description live until the call returns, and the kernel copies them.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A container with an agent, which ends with this value.
#[derive(Debug)]
pub struct Contained {
    /// What it leaves outside its root: state, sockets and log.
    home: TempDir,
    id: String,
    runc: Child,
}

impl Contained {
    /// Starts a switch's agent on a kernel without the system calls from number `first` on.
    pub fn start(lab: &Lab, switch: &WhiteBox, first: u32) -> Self {
        let home = tempfile::Builder::new().prefix("sluice-runc.").tempdir().expect("a directory");
        let bundle = home.path().join("bundle");
        fs::create_dir_all(bundle.join("rootfs")).expect("a bundle");
        fs::create_dir(home.path().join("outside")).expect("a directory for state");
        let config = config(lab, switch, home.path(), &bundle.join("rootfs"));
        fs::write(bundle.join("config.json"), config.to_string()).expect("a bundle's configuration");
        let log = fs::File::create(home.path().join("log")).expect("a log");
        let id = format!("{}-{}", lab.name(), switch.name());
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(home.path().join("runc"))
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(&id)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another handle on the log"))
            .stderr(log);
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(move || forget_calls_from(first)) };
        let runc = command.spawn().expect("runc starts");
        Self { home, id, runc }
    }

    /// Runs the sluice command against the agent, from outside.
    pub fn sluice(&self, words: &str) -> Printed {
        let socket = self.home.path().join("outside/admin.sock");
        let mut command = Command::new(binary());
        command.args(words.split_whitespace()).env("SLUICE_ADMIN_SOCKET", socket);
        Printed::from(binary().as_ref(), command.output())
    }

    /// A line of `/proc/PID/status` of the agent.
    #[track_caller]
    pub fn status_line(&self, name: &str) -> String {
        let state = self.runc(&["state", &self.id]).expect("its state");
        let state: Value = serde_json::from_str(&state).expect("JSON");
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.expect(name).trim().to_owned()
    }

    /// Runs a command of the container's image in it.
    pub fn exec(&self, words: &str) -> Printed {
        let words: Vec<&str> = ["exec", &self.id].into_iter().chain(words.split(' ')).collect();
        self.runc(&words)
    }

    fn runc(&self, words: &[&str]) -> Printed {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.home.path().join("runc")).args(words);
        Printed::from("runc".as_ref(), command.output())
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.id, self.log());
        }
        let _ = self.runc(&["delete", "--force", &self.id]);
        let _ = self.runc.kill();
        let _ = self.runc.wait();
    }
}

/// The bundle's config.json: this machine's programs and libraries to read, and one directory to write.
fn config(lab: &Lab, switch: &WhiteBox, home: &Path, rootfs: &Path) -> Value {
    let outside = home.join("outside");
    let inside = |name: &str| outside.join(name).to_string_lossy().into_owned();
    let program = fs::canonicalize(binary()).expect("the agent's file");
    let directory = program.parent().expect("it is in a directory");
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}),
    ];
    let mut bind = |path: &Path, mode: &str| {
        mounts.push(json!({"destination": path, "type": "bind", "source": path, "options": ["rbind", mode]}));
    };
    bind(directory, "ro");
    bind(&outside, "rw");
    for name in ["usr", "bin", "sbin", "lib", "lib64"] {
        let path = Path::new("/").join(name);
        match fs::read_link(&path) {
            Ok(target) => std::os::unix::fs::symlink(target, rootfs.join(name)).expect("a link in the root"),
            Err(_) if path.exists() => bind(&path, "ro"),
            Err(_) => {}
        }
    }
    let args = [
        program.to_str().expect("a path of letters"),
        "agent",
        "--node",
        switch.name(),
        "--underlay",
        &switch.underlay(),
        "--dataplane",
        "linux",
        "--store",
        &format!("etcd://{ETCD}:2379"),
        "--state-dir",
        &inside("state"),
        "--admin-socket",
        &inside("admin.sock"),
    ];
    let capabilities = json!(["CAP_NET_ADMIN"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": mounts,
        "linux": {
            // Below the lab's own directory of each hierarchy, which goes with the lab.
            "cgroupsPath": format!("/{}/{}", lab.name(), switch.name()),
            "namespaces": [
                {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "network", "path": switch.net().path()},
            ],
        },
    })
}
