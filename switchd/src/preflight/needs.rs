//! What a bundle needs of a switch.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::{Entry, Limits, Manifest, Network, PortName, Probe, Shared};
use crate::image::Platform;

/// What a bundle needs of a switch. The default is what is needed before a bundle is chosen: whatever any could ask
/// for is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The application and its version; `None` before a bundle is chosen.
    pub bundle: Option<String>,
    /// What it runs on.
    pub platform: Option<Platform>,
    /// The files of the release that are not on the disk yet, by size.
    pub files: Vec<u64>,
    /// Its limits.
    pub limits: Limits,
    /// Whether it programs the switch's network: host network and CAP_NET_ADMIN.
    pub dataplane: bool,
    /// Interfaces that it names.
    pub ports: BTreeSet<PortName>,
    /// TCP ports of the switch on which its health is asked, and so on which it listens.
    pub listens: BTreeSet<u16>,
    /// Paths of the switch that it mounts, and whether each is a file.
    pub mounts: BTreeMap<String, bool>,
    /// The time of its files.
    pub made: Option<u64>,
    /// The command that it runs, without its directory.
    pub command: Option<String>,
    /// Whether others than the owner may not execute that command, which libcontainer insists on.
    pub private_command: bool,
    /// Whether its maker agrees to weaker ways.
    pub consent: bool,
}

impl Needs {
    /// Of a bundle, on a switch that has the files of `shared` already.
    pub fn of(manifest: &Manifest, shared: &Shared) -> Self {
        let run = &manifest.run;
        let size = |entry: &Entry| match entry {
            Entry::Hardlink { .. } => None,
            entry if shared.expects(entry, manifest.mtime) => None,
            entry => Some(entry.size()),
        };
        let command = manifest.process.args.first().map(String::as_str).unwrap_or_default();
        let private = |entry: &Entry| {
            matches!(entry, Entry::File { path, mode, .. }
                if path.as_str() == command.trim_start_matches('/') && mode.0 & 0o001 == 0)
        };
        let listens = match manifest.health.as_ref().map(|health| &health.probe) {
            Some(Probe::Tcp(address)) => port(address),
            Some(Probe::Http(target)) => {
                let rest = target.strip_prefix("http://").unwrap_or(target);
                port(rest.split('/').next().unwrap_or_default())
            }
            _ => None,
        };
        Self {
            bundle: Some(format!("{} {}", manifest.app, manifest.version)),
            platform: Some(manifest.platform.clone()),
            files: manifest.entries.iter().filter_map(size).collect(),
            limits: run.limits,
            dataplane: run.network == Network::Host
                && run.capabilities.iter().any(|c| c.as_str() == "CAP_NET_ADMIN"),
            ports: run.ports.clone(),
            listens: listens.into_iter().collect(),
            mounts: run.mounts.iter().map(|mount| (mount.source.clone(), mount.file)).collect(),
            made: Some(manifest.mtime),
            command: Some(command.rsplit('/').next().unwrap_or_default().to_owned()),
            private_command: manifest.entries.iter().any(private),
            consent: run.allow_degraded,
        }
    }

    /// Whether any bundle's needs are meant.
    pub(super) fn any(&self) -> bool {
        self.bundle.is_none()
    }

    /// Bytes on a file system with blocks of this size, with a tenth more: directories and the manifest want some.
    pub(super) fn bytes(&self, block: u64) -> u64 {
        let block = block.max(1);
        let sum = self.files.iter().map(|size| size.div_ceil(block).max(1).saturating_mul(block));
        let sum = sum.fold(0, u64::saturating_add);
        sum.saturating_add(sum / 10)
    }

    /// Inodes, with a tenth more.
    pub(super) fn inodes(&self) -> u64 {
        let files = self.files.len() as u64;
        if files == 0 { 0 } else { files + files / 10 + 4 }
    }
}

fn port(address: &str) -> Option<u16> {
    address.rsplit(':').next()?.parse().ok()
}
