//! `config.json` (OCI runtime specification 1.0.2, config.md and config-linux.md).

use std::path::Path;

use serde_json::{Value, json};

use super::cgroup::Enforcement;
use crate::bundle::{Manifest, Network};
use crate::digest::Digest;

/// The annotation that names the release which a container is of.
pub const RELEASE: &str = "sluice.release";

/// The annotation that names the limits which a container was started with in a weaker way, separated by commas: what
/// the machine can hold may be another thing by the time that somebody asks.
pub const DEGRADED: &str = "sluice.degraded";

/// The size of each tmpfs: switches have little memory, and what is in it counts as the container's.
const TMPFS: &str = "size=16m";

/// What in /proc is hidden from containers, and what is read-only: it tells of the host or changes it.
const MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The configuration of a release's container: a function of what was signed and of what this machine can hold.
pub fn config(manifest: &Manifest, digest: Digest, rootfs: &Path, enforcement: &Enforcement) -> Value {
    let (process, run) = (&manifest.process, &manifest.run);
    let capabilities: Vec<&str> = run.capabilities.iter().map(|c| c.as_str()).collect();
    let mut sets = json!({
        "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        "inheritable": [], "ambient": [],
    });
    // A process that is not root keeps capabilities over execve(2) only when they are ambient.
    if process.uid != 0 && !capabilities.is_empty() {
        sets["inheritable"] = json!(capabilities);
        sets["ambient"] = json!(capabilities);
    }
    let rlimit = |(name, value): &(&str, u64)| json!({ "type": name, "hard": value, "soft": value });
    let rlimits: Vec<Value> = enforcement.rlimits.iter().map(rlimit).collect();
    let mut namespaces = vec![
        json!({ "type": "pid" }),
        json!({ "type": "ipc" }),
        json!({ "type": "uts" }),
        json!({ "type": "mount" }),
    ];
    if run.network == Network::None {
        namespaces.push(json!({ "type": "network" }));
    }
    let mut resources = json!({});
    if enforcement.devices {
        // Nothing but what the runtime itself allows: null, zero, full, random, urandom, tty and terminals.
        resources["devices"] = json!([{ "allow": false, "access": "rwm" }]);
    }
    let limits = &enforcement.cgroup;
    if let Some(bytes) = limits.memory {
        resources["memory"] = json!({ "limit": bytes });
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    if let Some(millis) = limits.cpu_millis {
        resources["cpu"] = json!({ "period": 100_000, "quota": millis.saturating_mul(100) });
    }
    let mut linux = json!({
        "namespaces": namespaces, "resources": resources,
        "maskedPaths": MASKED, "readonlyPaths": READ_ONLY,
    });
    if enforcement.grouped {
        linux["cgroupsPath"] = json!(format!("/sluice/{}", manifest.app));
    }
    let mut annotations = json!({ RELEASE: digest.to_string() });
    if !enforcement.degraded.is_empty() {
        let limits: Vec<&str> = enforcement.degraded.iter().map(|degraded| degraded.limit).collect();
        annotations[DEGRADED] = json!(limits.join(","));
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": process.uid, "gid": process.gid, "additionalGids": process.additional_gids },
            "args": process.args,
            "env": process.env,
            "cwd": process.cwd,
            "capabilities": sets,
            "rlimits": rlimits,
            "noNewPrivileges": true,
        },
        "root": { "path": rootfs, "readonly": true },
        "hostname": manifest.app,
        "mounts": mounts(manifest),
        "linux": linux,
        "annotations": annotations,
    })
}

fn mounts(manifest: &Manifest) -> Vec<Value> {
    let run = &manifest.run;
    let mount = |to: &str, kind: &str, from: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": from, "options": options });
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=64k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", TMPFS]),
    ];
    // sysfs shows the network of the namespace that mounts it; the host's own is bound.
    mounts.push(match run.network {
        Network::None => mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        Network::Host => {
            mount("/sys", "bind", "/sys", &["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"])
        }
    });
    for path in &run.tmpfs {
        let options = ["nosuid", "nodev", "mode=1777", TMPFS];
        mounts.push(mount(&format!("/{path}"), "tmpfs", "tmpfs", &options));
    }
    for m in &run.mounts {
        let access = if m.writable { "rw" } else { "ro" };
        let options = ["rbind", "rprivate", "nosuid", "nodev", access];
        mounts.push(mount(&format!("/{}", m.target), "bind", &m.source, &options));
    }
    mounts
}
