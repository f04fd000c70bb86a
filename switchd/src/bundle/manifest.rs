//! What a bundle says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, hex, unhex};
use crate::image::Platform;
use crate::rootfs::{RootPath, XATTRS};
use crate::tar;

/// The format that this module reads and writes. Another number is another format, and is refused.
pub const FORMAT: &str = "sluice-switch.bundle/1";

/// Everything about a bundle; the one document that is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The application's name.
    pub app: AppName,
    /// Its version, for people: releases are told apart by the manifest's digest.
    pub version: Version,
    /// What it runs on.
    pub platform: Platform,
    /// The process.
    pub process: Process,
    /// What the process may do and use.
    pub run: Run,
    /// How to tell that it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
    /// What it was made from.
    pub source: Source,
    /// The time of every file, in seconds since 1970.
    pub mtime: u64,
    /// The archive of the files.
    pub payload: Payload,
    /// Every file and directory, in the order of [`RootPath`].
    pub entries: Vec<Entry>,
}

/// The process of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The command.
    pub args: Vec<String>,
    /// `NAME=value`; PATH is always among them.
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: String,
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Further groups.
    pub additional_gids: Vec<u32>,
    /// The signal that ends it, by its number on Linux.
    pub stop_signal: u32,
    /// How long it may take to end, in milliseconds; then it is killed.
    pub stop_timeout_ms: u64,
}

/// What a process may do and use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Capabilities; no others are ever to be had.
    pub capabilities: BTreeSet<Capability>,
    /// The network namespace.
    pub network: Network,
    /// Limits of resources.
    pub limits: Limits,
    /// Paths of the switch inside the container.
    pub mounts: Vec<Mount>,
    /// Directories that are writable and empty at each start.
    pub tmpfs: BTreeSet<RootPath>,
    /// Network interfaces of the switch without which the application is of no use.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ports: BTreeSet<PortName>,
    /// Whether the application's maker agrees to a switch that can do some of this only in a weaker way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_degraded: bool,
}

/// A network namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One of its own, with no interface but `lo`.
    #[default]
    None,
    /// The switch's.
    Host,
}

/// Limits of resources; without a value there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Thousandths of a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
}

/// A path of the switch that is bound into the container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where in the container.
    pub target: RootPath,
    /// Which path of the switch, absolute.
    pub source: String,
    /// Whether the container may write.
    pub writable: bool,
    /// Whether it is a file, and not a directory: the place in the container must be of the same kind.
    pub file: bool,
}

/// How to tell that an application works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is tried.
    pub probe: Probe,
    /// How long the first success may take.
    pub timeout_ms: u64,
    /// The pause between two tries.
    pub interval_ms: u64,
    /// How long it must then go on working.
    pub soak_ms: u64,
}

/// What is tried to tell that an application works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Probe {
    /// The process is there.
    Running,
    /// A command in the container ends with status 0.
    Exec(Vec<String>),
    /// A TCP connection to `address:port` is accepted.
    Tcp(String),
    /// `http://address:port/path` is answered with a status from 200 to 399.
    Http(String),
    /// A file of the switch exists.
    File(String),
}

/// What a bundle was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `oci`, `docker-save` or `rootfs`.
    pub kind: String,
    /// The image's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// The digests of its uncompressed layers.
    pub layers: Vec<Digest>,
}

/// The archive of the files' contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// SHA-256 of the compressed archive.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// The size of the archive uncompressed.
    pub unpacked_size: u64,
}

/// Extended attributes; their values are bytes and are written in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Xattrs(pub BTreeMap<String, Vec<u8>>);

impl Xattrs {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Xattrs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, hex(value))))
    }
}

impl<'de> Deserialize<'de> for Xattrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let bytes = texts.into_iter().map(|(name, text)| unhex(&text).map(|value| (name, value)));
        let bytes: Option<_> = bytes.collect();
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("an attribute's value is not hexadecimal"))
    }
}

/// One name below the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry {
    /// A directory.
    Directory {
        /// Its path.
        path: RootPath,
        /// Its permissions.
        mode: Mode,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its extended attributes.
        #[serde(default, skip_serializing_if = "Xattrs::is_empty")]
        xattrs: Xattrs,
    },
    /// A file, at the first of its names.
    File {
        /// Its path.
        path: RootPath,
        /// Its permissions.
        mode: Mode,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its extended attributes.
        #[serde(default, skip_serializing_if = "Xattrs::is_empty")]
        xattrs: Xattrs,
        /// Its size.
        size: u64,
        /// The digest of its content.
        digest: Digest,
    },
    /// A further name of a file.
    Hardlink {
        /// The further name.
        path: RootPath,
        /// The first name.
        target: RootPath,
    },
    /// A symbolic link.
    Symlink {
        /// Its path.
        path: RootPath,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Where it leads.
        target: String,
    },
}

impl Entry {
    /// The entry's path.
    pub fn path(&self) -> &RootPath {
        match self {
            Self::Directory { path, .. }
            | Self::File { path, .. }
            | Self::Hardlink { path, .. }
            | Self::Symlink { path, .. } => path,
        }
    }

    /// The bytes of content that follow its header.
    pub fn size(&self) -> u64 {
        if let Self::File { size, .. } = self { *size } else { 0 }
    }

    /// The bytes before its content in the archive.
    pub fn header(&self, mtime: u64) -> Vec<u8> {
        let none = BTreeMap::new();
        let (kind, mode, uid, gid, link, xattrs) = match self {
            Self::Directory { mode, uid, gid, xattrs, .. } => {
                (tar::Kind::Directory, mode.0, *uid, *gid, "", &xattrs.0)
            }
            Self::File { mode, uid, gid, xattrs, .. } => (tar::Kind::File, mode.0, *uid, *gid, "", &xattrs.0),
            Self::Hardlink { target, .. } => (tar::Kind::Hardlink, 0o644, 0, 0, target.as_str(), &none),
            Self::Symlink { uid, gid, target, .. } => {
                (tar::Kind::Symlink, 0o777, *uid, *gid, target.as_str(), &none)
            }
        };
        let attributes = tar::Attributes { kind, mode, uid, gid, size: self.size(), mtime, link, xattrs };
        tar::member(self.path().as_str(), &attributes)
    }
}

/// Permission bits, written as four octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| text.len() == 4 && *mode <= 0o7777);
        mode.map(Self).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not four octal digits")))
    }
}

/// A text with rules for its characters.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $holds:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let holds: fn(&str) -> bool = $holds;
                if holds(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(format!("`{text}` is no {}: {}", $what, $rule))
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// An application's name, which becomes a directory, a container's id and a cgroup.
    AppName,
    "application name",
    "1 to 48 of a-z, 0-9 and -, beginning with a letter",
    |text| {
        (1..=48).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    }
);

name!(
    /// A version, as its makers write it.
    Version,
    "version",
    "1 to 64 of A-Z, a-z, 0-9 and . _ + - ~, beginning with a letter or digit",
    |text| {
        (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._+-~".contains(c))
    }
);

name!(
    /// A network interface's name.
    PortName,
    "interface's name",
    "1 to 15 characters without blanks, `/` and `:`",
    |text| {
        (1..=15).contains(&text.len())
            && text != "."
            && text != ".."
            && text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':')
    }
);

name!(
    /// A capability by its full name (capabilities(7)).
    Capability,
    "capability",
    "write it as capabilities(7) does, for instance CAP_NET_ADMIN",
    |text| KNOWN_CAPABILITIES.contains(&text)
);

/// Those of capabilities(7), by number.
const KNOWN_CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Why a manifest is refused, although it is well formed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Another format.
    #[error(
        "the bundle's format is `{0}`, and this sluice-switch reads {FORMAT}; use the sluice-switch that made it"
    )]
    Format(String),
    /// Two entries in the wrong order, or the same twice.
    #[error("the entry `{0}` is not in its place: twice, or out of order")]
    Order(RootPath),
    /// The entry's parent is no directory of this manifest.
    #[error("the entry `{0}` lies in no directory of the bundle")]
    Parent(RootPath),
    /// A hard link that leads to no file before it.
    #[error("the hard link `{path}` leads to `{target}`, which is no file before it")]
    Hardlink {
        /// The link.
        path: RootPath,
        /// Its target.
        target: RootPath,
    },
    /// A symbolic link that Linux could not hold.
    #[error("the symbolic link `{0}` has a target that is empty, too long or has a NUL byte")]
    Symlink(RootPath),
    /// An extended attribute that bundles do not carry.
    #[error("the entry `{path}` has the extended attribute `{name}`, which bundles do not carry")]
    Xattr {
        /// The entry.
        path: RootPath,
        /// The attribute.
        name: String,
    },
    /// The sizes do not fit one another.
    #[error("the entries make an archive of {is} bytes, and the manifest says {said}")]
    Size {
        /// By the entries.
        is: u64,
        /// By the manifest.
        said: u64,
    },
    /// A field of the process or of what it may do.
    #[error("`{field}` is {value}: {rule}")]
    Field {
        /// By its path in the manifest.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}

impl Manifest {
    /// Checks everything that the types do not: after this, unpacking in order can neither leave the root nor
    /// overwrite anything, and what is needed to run is there.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format(self.format.clone()));
        }
        self.check_entries()?;
        let said = self.payload.unpacked_size;
        match self.archive_size() {
            Some(is) if is == said => {}
            is => return Err(ManifestError::Size { is: is.unwrap_or(u64::MAX), said }),
        }
        let field = |field, value: &dyn fmt::Display, rule| {
            Err(ManifestError::Field { field, value: format!("`{value}`"), rule })
        };
        let process = &self.process;
        if process.args.first().is_none_or(String::is_empty) {
            return field("process.args", &"", "a command is needed");
        }
        if let Some(bad) = process.args.iter().chain(&process.env).find(|text| text.contains('\0')) {
            return field(
                "process",
                &bad.escape_default(),
                "arguments and environment cannot hold a NUL byte",
            );
        }
        if let Some(bad) =
            process.env.iter().find(|e| e.split_once('=').is_none_or(|(name, _)| name.is_empty()))
        {
            return field("process.env", bad, "write NAME=value");
        }
        if !process.env.iter().any(|e| e.starts_with("PATH=")) {
            return field("process.env", &process.env.join(" "), "PATH is needed");
        }
        if !process.cwd.starts_with('/') {
            return field("process.cwd", &process.cwd, "an absolute path is needed");
        }
        if !(1..=64).contains(&process.stop_signal) {
            return field("process.stop_signal", &process.stop_signal, "signals are 1 to 64");
        }
        for mount in &self.run.mounts {
            let source = &mount.source;
            let plain =
                source == "/" || source.strip_prefix('/').is_some_and(|s| s.parse::<RootPath>().is_ok());
            if !plain {
                return field("run.mounts.source", source, "an absolute path without `.` and `..` is needed");
            }
        }
        if !self.run.mounts.is_sorted_by(|a, b| a.target < b.target) {
            return field("run.mounts.target", &"?", "targets are sorted and each is there once");
        }
        if let Some(Health { probe: Probe::Tcp(address) | Probe::Http(address), .. }) = &self.health
            && self.run.network == Network::None
        {
            return field(
                "health",
                address,
                "only an application in the host's network can be reached; use exec",
            );
        }
        let limits = &self.run.limits;
        for (name, value) in [
            ("run.limits.memory", limits.memory),
            ("run.limits.pids", limits.pids),
            ("run.limits.cpu_millis", limits.cpu_millis),
        ] {
            if value.is_some_and(|v| v == 0 || v > i64::MAX as u64) {
                return field(name, &value.unwrap_or(0), "leave it out for no limit");
            }
        }
        Ok(())
    }

    fn check_entries(&self) -> Result<(), ManifestError> {
        // The directories that lead to the entry before, from the root down: as entries are in order, an entry's
        // parent is among them or nowhere.
        let mut above: Vec<&RootPath> = Vec::new();
        let mut files = BTreeSet::new();
        let mut before: Option<&RootPath> = None;
        for entry in &self.entries {
            let path = entry.path();
            if before.is_some_and(|before| before >= path) {
                return Err(ManifestError::Order(path.clone()));
            }
            before = Some(path);
            let parent = path.parent();
            while above.last().is_some_and(|last| Some(*last) != parent.as_ref()) {
                above.pop();
            }
            if above.last().copied() != parent.as_ref() {
                return Err(ManifestError::Parent(path.clone()));
            }
            match entry {
                Entry::Directory { xattrs, .. } => {
                    check_xattrs(path, xattrs)?;
                    above.push(path);
                }
                Entry::File { xattrs, .. } => {
                    check_xattrs(path, xattrs)?;
                    files.insert(path);
                }
                Entry::Hardlink { target, .. } => {
                    if !files.contains(target) {
                        return Err(ManifestError::Hardlink { path: path.clone(), target: target.clone() });
                    }
                }
                Entry::Symlink { target, .. } => {
                    if target.is_empty() || target.len() > crate::rootfs::MAX_PATH || target.contains('\0') {
                        return Err(ManifestError::Symlink(path.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    /// The size of the archive that the entries make, unless it is beyond all measure.
    pub fn archive_size(&self) -> Option<u64> {
        self.entries.iter().try_fold(tar::TRAILER.len() as u64, |sum, entry| {
            let header = entry.header(self.mtime).len() as u64;
            sum.checked_add(header)?.checked_add(entry.size())?.checked_add(tar::padding(entry.size()) as u64)
        })
    }

    /// The sum of the sizes of the files.
    pub fn content_size(&self) -> u64 {
        self.entries.iter().map(Entry::size).sum()
    }
}

fn check_xattrs(path: &RootPath, xattrs: &Xattrs) -> Result<(), ManifestError> {
    match xattrs.0.keys().find(|name| !XATTRS.contains(&name.as_str())) {
        Some(name) => Err(ManifestError::Xattr { path: path.clone(), name: name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
