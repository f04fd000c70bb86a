//! Bundles as images for engines that are not ours: for Docker, and for SONiC, which has a Docker and a package
//! manager of its own on the switch.
//!
//! [`export`] writes one archive that is two things at once, so that whoever reads it finds what they know:
//!
//! | member | read by |
//! |---|---|
//! | `manifest.json` | `docker load` of every age, skopeo as `docker-archive:`, `sonic-package-manager --from-tarball` |
//! | `oci-layout`, `index.json` | OCI tools (`oci-archive:`), containerd |
//! | `blobs/sha256/…` | both: the configuration, the manifest, one layer |
//!
//! The layer is as canonical as the bundle's own archive, so the same bundle always gives the same bytes, and the same
//! image id. What the image's configuration can hold of the [manifest](crate::bundle::Manifest) is in it: the
//! command, the environment, the user, the working directory, the stop signal. The rest is for whoever runs it; with
//! [`Form::Sonic`] it is in the label that SONiC's package manager reads, and what that cannot say is refused or
//! told ([`Weaker`]).

mod archive;
mod sonic;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::json;

pub use sonic::{
    Constraint, Dependency, LABEL, ServiceName, SonicOrder, SonicPackage, SonicRefusal, SonicService, Weaker,
};

use crate::bundle::{Bundle, BundleError, Health, Manifest, Probe};
use crate::canonical::{self, CanonicalError};
use crate::digest::Digest;

/// The label with the digest of the manifest that was signed: where an image came from.
pub const RELEASE_LABEL: &str = "sluice.release";

/// How often Docker is to try the health command. A bundle's own interval is for the seconds of a trial; a command
/// every second for ever would be a load on a switch.
const HEALTH_INTERVAL_MS: u64 = 30_000;

/// What an image is for.
#[derive(Debug, Clone)]
pub enum Form {
    /// Any engine.
    Oci,
    /// SONiC's package manager.
    Sonic {
        /// What SONiC asks of a package and a bundle does not know.
        package: Box<SonicPackage>,
        /// Consent to `privileged`, the only way to a capability that Docker does not give by itself.
        privileged: bool,
    },
}

/// An image that was written.
#[derive(Debug)]
pub struct Exported {
    /// What the bundle said of itself.
    pub manifest: Manifest,
    /// The digest of the image's configuration: Docker's image id.
    pub image: Digest,
    /// The names that `docker load` gives it.
    pub tags: [String; 2],
    /// The archive's size.
    pub size: u64,
    /// What holds in a weaker way than in a bundle, or not at all.
    pub weaker: Vec<Weaker>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// SONiC cannot run it as it is meant to be run.
    #[error("SONiC cannot run this: {0}")]
    Sonic(#[from] SonicRefusal),
    /// A text without a canonical form.
    #[error("the image's configuration: {0}")]
    Canonical(#[from] CanonicalError),
    /// A file.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes the image of a bundle to `output`, whole or not at all. `temporary` is a directory with room for the
/// compressed layer.
///
/// # Errors
/// When the bundle is damaged, when it cannot be run in this form, or when a file cannot be written.
pub fn export<R: Read>(
    bundle: Bundle<R>,
    form: &Form,
    temporary: &Path,
    output: &Path,
) -> Result<Exported, ExportError> {
    let release = bundle.digest;
    // Refused before anything is written.
    let (mut labels, mut weaker) = (BTreeMap::new(), Vec::new());
    if let Form::Sonic { package, privileged } = form {
        let described = sonic::describe(&bundle.manifest, package, *privileged)?;
        labels.insert(LABEL.to_owned(), canonical::to_string(&described.manifest)?);
        weaker = described.weaker;
    }
    labels.insert(RELEASE_LABEL.to_owned(), release.to_string());
    let dropped = add_labels(&mut labels, &bundle.manifest.labels);
    weaker.extend(dropped.into_iter().map(Weaker::Label));
    let failed = |source| ExportError::Io { what: "a temporary file in", path: temporary.to_owned(), source };
    let mut layer = archive::Layer::new(temporary).map_err(failed)?;
    let manifest = bundle.write_layer(layer.writer())?;
    let layer = layer.finish().map_err(failed)?;
    let config = canonical::to_string(&config(&manifest, &labels, layer.diff_id))?;
    // Docker's tags have no `+` (its reference grammar), and SONiC turns one into `_` as well.
    let version = manifest.version.as_str().replace(['+', '~'], "_");
    // Releases of SONiC start an image by its version or as `latest`.
    let tags = [version.as_str(), "latest"].map(|tag| format!("{}:{tag}", manifest.app));
    let size = archive::write(output, layer, &config, &tags).map_err(|source| ExportError::Io {
        what: "writing",
        path: output.to_owned(),
        source,
    })?;
    Ok(Exported { manifest, image: Digest::of(config.as_bytes()), tags, size, weaker })
}

/// Adds the image's own labels. SONiC reads names of labels as paths, so one name that is the beginning of another
/// is an error there; such names, and those that are ours, are left out and given back.
fn add_labels(labels: &mut BTreeMap<String, String>, own: &BTreeMap<String, String>) -> Vec<String> {
    let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
    let mut dropped = Vec::new();
    for (name, value) in own {
        if labels.keys().any(|other| name == other || below(name, other) || below(other, name)) {
            dropped.push(name.clone());
        } else {
            labels.insert(name.clone(), value.clone());
        }
    }
    dropped
}

/// The image's configuration (OCI image specification, config.md, with Docker's `Healthcheck`).
fn config(manifest: &Manifest, labels: &BTreeMap<String, String>, diff_id: Digest) -> serde_json::Value {
    let process = &manifest.process;
    let created = archive::time(manifest.mtime);
    let mut container = json!({
        "User": format!("{}:{}", process.uid, process.gid),
        "Env": process.env,
        "Entrypoint": process.args,
        "WorkingDir": process.cwd,
        "StopSignal": process.stop_signal.to_string(),
        "Labels": labels,
    });
    if let Some(Health { probe: Probe::Exec(command), timeout_ms, .. }) = &manifest.health {
        let nanoseconds = |ms: u64| ms.saturating_mul(1_000_000);
        let test = [&["CMD".to_owned()][..], command].concat();
        container["Healthcheck"] = json!({
            "Test": test,
            "Interval": nanoseconds(HEALTH_INTERVAL_MS),
            "StartPeriod": nanoseconds(*timeout_ms),
        });
    }
    let mut config = json!({
        "created": created,
        "architecture": manifest.platform.architecture,
        "os": manifest.platform.os,
        "config": container,
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": created, "created_by": "sluice-switch export" }],
    });
    if let Some(variant) = &manifest.platform.variant {
        config["variant"] = json!(variant);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_the_beginning_of_another() {
        let map = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "x".to_owned())).collect();
        let mut labels: BTreeMap<String, String> = map(&[LABEL]);
        let own = map(&["a", "a.b", "ab", "com.azure", LABEL, "com.azure.sonic.manifest.x", "org.me"]);
        assert_eq!(
            add_labels(&mut labels, &own),
            ["a.b", "com.azure", LABEL, "com.azure.sonic.manifest.x"].map(str::to_owned)
        );
        assert_eq!(labels.into_keys().collect::<Vec<_>>(), ["a", "ab", LABEL, "org.me"]);
    }
}
