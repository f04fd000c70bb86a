//! Where releases are kept.

use rustix::fs::{StatVfsMountFlags, statvfs};
use serde::{Deserialize, Serialize};

use super::{Check, Finding, Needs, Place, nearest};

/// File systems of disks that a switch keeps files on.
const DISKS: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "ubifs"];
/// Those that a reboot empties.
const MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// Those without hard links, owners or symbolic links.
const POOR: [&str; 3] = ["vfat", "exfat", "msdos"];
/// Less than that holds hardly any application.
const LITTLE: u64 = 32 << 20;

/// The file system of the state directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The state directory.
    pub state: String,
    /// Whether it is there.
    pub exists: bool,
    /// Where its file system is mounted.
    pub mount: String,
    /// The kind of file system.
    pub kind: String,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// The size of a block.
    pub block: u64,
    /// Free bytes.
    pub free: u64,
    /// Free inodes; `None` where they are not counted.
    pub inodes: Option<u64>,
    /// The writable disk with the most room, if that is another.
    pub roomier: Option<Roomier>,
}

/// Another disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roomier {
    /// Where it is mounted.
    pub mount: String,
    /// Its free bytes.
    pub free: u64,
}

/// A line of mountinfo: the mount point and the kind (proc_pid_mountinfo(5)).
fn mounts(mountinfo: &str) -> Vec<(String, &str)> {
    let line = |line| {
        let (left, right): (&str, &str) = str::split_once(line, " - ")?;
        let point = left.split(' ').nth(4)?;
        // Blanks, tabs and backslashes in names are written in octal.
        let point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        Some((point, right.split(' ').next()?))
    };
    mountinfo.lines().filter_map(line).collect()
}

impl Check for Disk {
    fn gather(place: &Place, _: &Needs) -> Self {
        let state = place.state.display().to_string();
        let above = nearest(&place.state);
        let above = above.canonicalize().unwrap_or_else(|_| above.to_owned());
        let Ok(stat) = statvfs(&above) else { return Self { state, ..Self::default() } };
        let text = place.read("/proc/self/mountinfo");
        let mounts = mounts(&text);
        // Of several on one point, the last hides the others.
        let on = mounts.iter().enumerate().filter(|(_, (point, _))| above.starts_with(point));
        let on = on.max_by_key(|(n, (point, _))| (point.len(), *n)).map(|(_, mount)| mount.clone());
        let (mount, kind) = on.unwrap_or_default();
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let mut roomier: Option<Roomier> = None;
        for (point, kind) in &mounts {
            if !DISKS.contains(kind) || *point == mount || !std::path::Path::new(point).is_dir() {
                continue;
            }
            let Ok(other) = statvfs(point.as_str()) else { continue };
            let room = other.f_bavail.saturating_mul(other.f_frsize);
            if !other.f_flag.contains(StatVfsMountFlags::RDONLY)
                && room > roomier.as_ref().map_or(free, |r| r.free)
            {
                roomier = Some(Roomier { mount: point.clone(), free: room });
            }
        }
        Self {
            exists: place.state.is_dir(),
            state,
            mount,
            kind: kind.to_owned(),
            read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
            block: stat.f_frsize,
            free,
            inodes: (stat.f_files > 0).then_some(stat.f_favail),
            roomier,
        }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let Self { state, mount, kind, free, .. } = self;
        let elsewhere = match &self.roomier {
            Some(Roomier { mount, free }) => {
                let slash = if mount == "/" { "" } else { mount };
                format!("use --state-dir {slash}/sluice-switch, which has {} free", mib(*free))
            }
            None => "mount a disk there, or name another directory with --state-dir".to_owned(),
        };
        if mount.is_empty() {
            let found = format!("the file system of `{state}` cannot be asked");
            return vec![Finding::fail("disk", found, elsewhere)];
        }
        let place = format!("`{state}` is on {kind} at `{mount}`");
        if self.read_only {
            return vec![Finding::fail("disk", format!("{place}, which is read-only"), elsewhere)];
        }
        if POOR.contains(&kind.as_str()) {
            let found = format!("{place}, which has no owners and no links");
            return vec![Finding::fail("disk", found, elsewhere)];
        }
        let mut findings = vec![if MEMORY.contains(&kind.as_str()) {
            Finding::degraded("disk", format!("{place}, which a reboot empties"), elsewhere.clone())
        } else {
            Finding::ok("disk", place)
        }];
        let needed = needs.bytes(self.block);
        let room = match &self.roomier {
            Some(_) => elsewhere,
            None => "remove old releases with `sluice-switch gc`, or make room".to_owned(),
        };
        findings.push(if needed > *free {
            let found = format!("{} free, and the bundle needs {}", mib(*free), mib(needed));
            Finding::fail("space", found, room.clone())
        } else if needs.any() && *free < LITTLE {
            Finding::degraded(
                "space",
                format!("{} free, which holds hardly any bundle", mib(*free)),
                room.clone(),
            )
        } else if needs.any() {
            Finding::ok("space", format!("{} free", mib(*free)))
        } else {
            Finding::ok("space", format!("{} free, of which the bundle needs {}", mib(*free), mib(needed)))
        });
        let wanted = needs.inodes();
        findings.push(match self.inodes {
            Some(inodes) if wanted > inodes => {
                Finding::fail("inodes", format!("{inodes} free, and the bundle needs {wanted}"), room)
            }
            Some(inodes) => Finding::ok("inodes", format!("{inodes} free")),
            None => Finding::ok("inodes", format!("{kind} does not count them")),
        });
        findings
    }
}

/// Bytes for people.
fn mib(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_blanks() {
        let text = "36 35 98:0 / /mnt/a\\040b rw shared:1 master:2 - ext4 /dev/sda rw\nno mount\n";
        assert_eq!(mounts(text), [("/mnt/a b".to_owned(), "ext4")]);
    }

    #[test]
    fn sizes_are_told_to_a_tenth() {
        assert_eq!(
            [mib(1023), mib(1 << 20), mib((1 << 20) + (1 << 19)), mib(93 << 20)],
            ["0 KiB", "1.0 MiB", "1.5 MiB", "93.0 MiB"]
        );
    }
}
