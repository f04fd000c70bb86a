//! Boxes: each an sshd in a network namespace of its own, with its own /etc, /var/lib, /opt and control groups, and a
//! PATH with a shell and little else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_switch::bundle::{Bundle, Trust};
use sluice_switch::digest::Digest;

pub(crate) use crate::common::SERVE;
use crate::common::{Archive, Bench, alone, busybox, needed, root, unique};

/// Run by sh(1) in new mount and the box's network namespaces.
const BOX: &str = r#"
set -e
d=$1 name=$2
mount -t tmpfs tmpfs /root
mount -t tmpfs tmpfs /opt
mount -t tmpfs tmpfs /run
mkdir /run/sshd
mount --bind "$d/var" /var/lib
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$d/etc,workdir=$d/work" /etc
for c in /sys/fs/cgroup/*; do
    case ${c##*/} in
    cpu|memory|pids|devices|freezer|blkio) mkdir -p "$c/$name"; mount --bind "$c/$name" "$c" ;;
    # A directory that nothing is mounted on is a place for a mount that is gone.
    *) ! mountpoint -q "$c" || umount "$c" ;;
    esac
done
exec /usr/sbin/sshd -D -e -f "$d/sshd_config"
"#;

/// What a box has in its PATH: what a POSIX shell's script needs, and the runtime.
const PROGRAMS: [&str; 10] = ["sh", "cat", "mkdir", "mv", "rm", "chmod", "wc", "uname", "runc", "sudo"];

/// Whether a test may go on that needs boxes, in a process of its own.
pub(crate) fn possible(test: &str) -> bool {
    let programs = [
        "sshd",
        "ssh",
        "ssh-keygen",
        "sudo",
        "ip",
        "nsenter",
        "unshare",
        "runc",
        "busybox",
        "mkfs.ext4",
        "perl",
    ];
    if !root(test) || !programs.iter().all(|p| needed(test, find(p).is_some(), p)) {
        return false;
    }
    if !Path::new("/sys/fs/cgroup/memory").is_dir() {
        eprintln!("skipped: {test} gives each box its own control groups, which it can in version 1 only");
        return false;
    }
    let alone = alone();
    if alone {
        // Names of network namespaces are files in /run.
        must("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    }
    alone
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let all = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    all.map(|d| Path::new(d).join(program)).find(|p| p.is_file())
}

fn must(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
}

pub(crate) struct Box1 {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) address: String,
    sshd: Child,
}

/// A workstation and boxes, which are gone with the test's process.
pub(crate) struct Fleet {
    pub(crate) bench: Bench,
    pub(crate) boxes: Vec<Box1>,
    pub(crate) app: String,
    namespace: String,
}

impl Fleet {
    /// With so many boxes. Those whose place is in `small` have a disk of 93 MB.
    pub(crate) fn new(count: usize, small: &[usize]) -> Self {
        let bench = Bench::new();
        let namespace = "workstation".to_owned();
        must("ip", &["netns", "add", &namespace]);
        let keygen = |name: &str| {
            let path = bench.path(name);
            must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path.to_str().unwrap()]);
        };
        keygen("login");
        keygen("hostkey");
        let mut fleet = Self { bench, boxes: Vec::new(), app: format!("app-{}", unique()), namespace };
        for i in 0..count {
            let new = fleet.start(i, small.contains(&i));
            fleet.boxes.push(new);
        }
        let mut inventory = String::from("[defaults]\nuser = \"root\"\n");
        inventory += &format!("ssh_options = {:?}\n", fleet.ssh_options());
        for new in &fleet.boxes {
            inventory += &format!("[hosts.{}]\naddress = \"{}\"\n", new.name, new.address);
        }
        fs::write(fleet.bench.path("inv.toml"), inventory).unwrap();
        fleet
    }

    /// Of our own, so that nothing of whoever runs the tests is read or written.
    pub(crate) fn ssh_options(&self) -> Vec<String> {
        let known = format!("UserKnownHostsFile={}", self.bench.path("known").display());
        let login = self.bench.path("login").display().to_string();
        let options = ["-F", "none", "-i", &login, "-o", "IdentitiesOnly=yes", "-o", &known, "-o"];
        options.into_iter().chain(["StrictHostKeyChecking=accept-new"]).map(str::to_owned).collect()
    }

    fn start(&self, i: usize, small: bool) -> Box1 {
        let name = format!("leaf{}", i + 1);
        let dir = self.bench.path(&name);
        for sub in ["var", "etc", "work", "bin"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        // Two people besides root: one who may do all, and one who may not.
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (file, more) in [
            ("passwd", "admin:x:4242:4242::/:/bin/sh\nguest:x:4243:4243::/:/bin/sh\n"),
            ("shadow", "admin:*:19000:0:99999:7:::\nguest:*:19000:0:99999:7:::\n"),
        ] {
            fs::write(
                dir.join("etc").join(file),
                fs::read_to_string(Path::new("/etc").join(file)).unwrap() + more,
            )
            .unwrap();
        }
        mode(&dir.join("etc/shadow"), 0o600);
        let sudoers = format!(
            "Defaults secure_path=\"{}\"\nroot ALL=(ALL) ALL\nadmin ALL=(ALL) NOPASSWD: ALL\n",
            dir.join("bin").display()
        );
        fs::write(dir.join("etc/sudoers"), sudoers).unwrap();
        mode(&dir.join("etc/sudoers"), 0o440);
        // The way to their programs and keys.
        for above in dir.ancestors().take_while(|above| above.starts_with(std::env::temp_dir())) {
            mode(above, 0o711);
        }
        if small {
            let image = self.bench.path(&format!("{name}.img"));
            fs::File::create(&image).unwrap().set_len(93 << 20).unwrap();
            must("mkfs.ext4", &["-q", image.to_str().unwrap()]);
            must("mount", &["-o", "loop", image.to_str().unwrap(), dir.join("var").to_str().unwrap()]);
        }
        for program in PROGRAMS {
            std::os::unix::fs::symlink(find(program).unwrap(), dir.join("bin").join(program)).unwrap();
        }
        let (ours, theirs) = (format!("10.71.{i}.1/24"), format!("10.71.{i}.2/24"));
        let address = format!("10.71.{i}.2");
        let link = format!("v{i}");
        must("ip", &["netns", "add", &name]);
        let (w, n) = (self.namespace.as_str(), name.as_str());
        must("ip", &["link", "add", &link, "netns", w, "type", "veth", "peer", "name", "eth0", "netns", n]);
        must("ip", &["-n", w, "addr", "add", &ours, "dev", &link]);
        must("ip", &["-n", w, "link", "set", &link, "up"]);
        must("ip", &["-n", n, "addr", "add", &theirs, "dev", "eth0"]);
        must("ip", &["-n", n, "link", "set", "eth0", "up"]);
        must("ip", &["-n", n, "link", "set", "lo", "up"]);
        let config = format!(
            "Port 22\nPort 2222\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPidFile none\nSetEnv PATH={}\n",
            self.bench.path("hostkey").display(),
            self.bench.path("login.pub").display(),
            dir.join("bin").display(),
        );
        fs::write(dir.join("sshd_config"), config).unwrap();
        let log = fs::File::create(dir.join("sshd.log")).unwrap();
        let sshd = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{name}"))
            .args(["unshare", "--mount", "--propagation", "private", "sh", "-c", BOX, "box"])
            .arg(&dir)
            .arg(format!("{name}-{}", unique()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let new = Box1 { name, dir, address, sshd };
        let end = Instant::now() + Duration::from_secs(20);
        while !fs::read_to_string(new.dir.join("sshd.log")).unwrap().contains("listening") {
            let log = fs::read_to_string(new.dir.join("sshd.log")).unwrap();
            assert!(Instant::now() < end, "the sshd of {} does not listen: {log}", new.name);
            thread::sleep(Duration::from_millis(20));
        }
        new
    }

    /// Packs a version of the application, with `more` files in it. Its maker agrees to weaker ways: boxes here have
    /// no init system, of which preflight tells.
    pub(crate) fn pack(&self, version: &str, script: &str, more: &[(&str, &[u8])]) -> Digest {
        let spec = format!(
            "app = \"{}\"\nversion = \"{version}\"\nstop_timeout = \"2s\"\ntmpfs = [\"/tmp\"]\n\
             allow_degraded = true\n[health]\nrunning = true\ntimeout = \"2s\"\ninterval = \"50ms\"\nsoak = \"200ms\"\n",
            self.app
        );
        fs::write(self.bench.path("spec.toml"), spec).unwrap();
        let mut image = busybox(script);
        let mut layer = Archive::new().file("etc/version", 0o644, version.as_bytes());
        for (path, content) in more {
            layer = layer.file(path, 0o644, content);
        }
        image.layers.push(layer.bytes());
        let bundle = self.bench.pack(&image.docker_save(), &format!("{version}.slb"));
        Bundle::open(&bundle, &Trust::Anyone).unwrap().digest
    }

    pub(crate) fn size(&self, version: &str) -> u64 {
        fs::metadata(self.bench.path(&format!("{version}.slb"))).unwrap().len()
    }

    /// The command on the workstation.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, env!("CARGO_BIN_EXE_sluice-switch")]).args(args);
        command.current_dir(self.bench.dir.path()).env("SLUICE_SWITCH_CACHE", self.bench.path("cache"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Deploys to all, and gives the exit status, the last line's object, and all of stderr.
    pub(crate) fn deploy(&self, args: &[&str]) -> (i32, Value, String) {
        let output = self.run(&[&["deploy", "--json", "--inventory", "inv.toml"], args].concat());
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        let last = out.lines().last().unwrap_or_else(|| panic!("nothing was printed: {error}"));
        (output.status.code().unwrap(), serde_json::from_str(last).unwrap(), error)
    }

    /// Deploys to all, which must go well, and gives the rows.
    pub(crate) fn deployed(&self, args: &[&str]) -> Vec<Value> {
        let (code, summary, error) = self.deploy(args);
        assert_eq!(code, 0, "{summary:#} {error}");
        summary["hosts"].as_array().unwrap().clone()
    }

    pub(crate) fn enroll(&self) {
        let output = self.run(&["enroll", "key.pub", "--inventory", "inv.toml"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// The version that runs on a box, by a command in it.
    pub(crate) fn version(&self, at: usize) -> String {
        let args = ["exec", &self.app, "--inventory", "inv.toml", "--limit", &self.boxes[at].name];
        let output = self.run(&[&args[..], &["--", "/bin/cat", "/etc/version"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }
}

impl Box1 {
    /// Where it keeps the application, as seen from outside.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("var/sluice-switch")
    }

    /// A command in the box's namespaces.
    pub(crate) fn inside(&self, script: &str) -> Output {
        let mut command = Command::new(find("nsenter").unwrap());
        command.args(["--mount", "--net", "--target", &self.sshd.id().to_string(), "sh", "-c", script]);
        command.env("PATH", self.dir.join("bin"));
        command.output().unwrap()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend(x.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
