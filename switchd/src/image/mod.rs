//! Images as others make them: `docker save`, OCI layouts and archives, `docker export`.
//!
//! ```text
//! path or stdin -> Members (named files in a directory or an archive)
//!               -> Image   (which layers, which configuration)
//!               -> Tree    (layers checked against their digests and applied)
//! ```

mod compression;
mod config;
mod layout;
mod members;

use std::io::{self, Read};

pub use compression::{Compression, decompress};
pub use config::{Container, ImageConfig, Platform, User, UserError};
pub use members::{Members, MembersError};

use crate::digest::{BadDigest, Digest, Hashing};
use crate::rootfs::{ApplyError, Flavour, Layers, Skipped, Spool, Tree};
use crate::tar::Limits;

/// The kinds of image that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An OCI image layout (image-layout.md), as a directory or an archive.
    Oci,
    /// `docker save`.
    DockerSave,
    /// A root file system (`docker export`), with a configuration from elsewhere.
    Flat,
}

impl Kind {
    /// The name that manifests and messages use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::DockerSave => "docker-save",
            Self::Flat => "rootfs",
        }
    }
}

/// Which image, where there are several.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The reference: `org.opencontainers.image.ref.name`, or docker's repository and tag.
    pub reference: Option<String>,
    /// The platform; without it there must be only one.
    pub platform: Option<Platform>,
}

/// One image, found and understood but not yet read.
#[derive(Debug)]
pub struct Image {
    /// Where it is from.
    pub kind: Kind,
    /// Its configuration.
    pub config: ImageConfig,
    /// The digest of the configuration: docker's image id. `None` for a bare root file system.
    pub id: Option<Digest>,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    name: String,
    /// Of the blob as stored.
    digest: Option<Digest>,
    /// Of the blob uncompressed.
    diff_id: Option<Digest>,
}

/// Why there is no image, or not that one.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The members could not be read.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// A document of the image is not what its specification says.
    #[error("`{name}` of the image: {source}")]
    Json {
        /// Which document.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A digest that is not SHA-256.
    #[error("`{name}` of the image: {source}")]
    Digest {
        /// Which document.
        name: String,
        /// Why.
        source: BadDigest,
    },
    /// Content that is not what its digest says.
    #[error(
        "`{name}` of the image has the digest {is}, but the image says {wanted}: it is damaged or was tampered with"
    )]
    Mismatch {
        /// Which member.
        name: String,
        /// The digest by the image.
        wanted: Digest,
        /// The digest of what is there.
        is: Digest,
    },
    /// More layers than configurations of layers, or the other way about.
    #[error("the image has {layers} layers, but its configuration names {diff_ids}")]
    Layers {
        /// Layers in the manifest.
        layers: usize,
        /// Entries of `rootfs.diff_ids`.
        diff_ids: usize,
    },
    /// Several images, or none, fit what was asked for.
    #[error("{found} images fit; there are: {available}. Choose one with {option}")]
    Choice {
        /// How many fit.
        found: usize,
        /// What there is.
        available: String,
        /// How to choose.
        option: &'static str,
    },
    /// A root file system without a configuration.
    #[error(
        "the archive is a root file system without a configuration; give the one that \
         `docker inspect CONTAINER > inspect.json` writes with --config inspect.json"
    )]
    NoConfig,
    /// The configuration names no architecture.
    #[error(
        "the configuration names no architecture; give it with --platform, for instance --platform linux/arm64"
    )]
    NoArchitecture,
    /// A layer cannot be applied.
    #[error("layer {number} (`{name}`): {source}")]
    Layer {
        /// Counted from 1.
        number: usize,
        /// Its name in the image.
        name: String,
        /// Why.
        source: ApplyError,
    },
    /// A layer's compressed bytes cannot be read.
    #[error("layer {number} (`{name}`): {source}")]
    Compression {
        /// Counted from 1.
        number: usize,
        /// Its name in the image.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl Image {
    /// Finds the image among the members. `config` is for archives that have none of their own.
    ///
    /// # Errors
    /// When there is no such image, or it is not well formed.
    pub fn find(members: &Members, choice: &Choice, config: Option<&[u8]>) -> Result<Self, ImageError> {
        if members.has("oci-layout") && members.has("index.json") {
            layout::oci(members, choice)
        } else if members.has("manifest.json") {
            layout::docker_save(members, choice)
        } else {
            let config = config.ok_or(ImageError::NoConfig)?;
            let json = |source| ImageError::Json { name: "--config".to_owned(), source };
            let mut config = ImageConfig::from_inspect(config).map_err(json)?;
            if let Some(platform) = &choice.platform {
                config.platform = platform.clone();
            }
            if config.platform.architecture.is_empty() {
                return Err(ImageError::NoArchitecture);
            }
            let layers = vec![Layer { name: String::new(), digest: None, diff_id: None }];
            Ok(Self { kind: Kind::Flat, config, id: None, layers })
        }
    }

    /// The digests of the uncompressed layers.
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().filter_map(|layer| layer.diff_id).collect()
    }

    /// Applies all layers, and checks that each is the one that the configuration names.
    ///
    /// # Errors
    /// When a layer is damaged or hostile.
    pub fn flatten(
        &self,
        members: &Members,
        spool: &mut Spool,
        limits: Limits,
    ) -> Result<(Tree, Vec<Skipped>), ImageError> {
        let mut layers = Layers::new(spool, limits);
        let flavour = if self.kind == Kind::Flat { Flavour::Flat } else { Flavour::Layer };
        for (i, layer) in self.layers.iter().enumerate() {
            let (number, name) = (i + 1, layer.name.clone());
            let compression = |source| ImageError::Compression { number, name: name.clone(), source };
            let stored = if self.kind == Kind::Flat { members.whole() } else { members.open(&layer.name) };
            let mut stored = Hashing::new(stored?);
            let mut plain = Hashing::new(decompress(&mut stored).map_err(compression)?);
            layers.apply(&mut plain, flavour).map_err(|source| ImageError::Layer {
                number,
                name: name.clone(),
                source,
            })?;
            let (diff_id, ..) = plain.finish();
            same(&layer.name, layer.diff_id, diff_id)?;
            // What follows the compressed stream is not the layer, but the digest covers it.
            io::copy(&mut stored.by_ref().take(limits.bytes), &mut io::sink()).map_err(compression)?;
            same(&layer.name, layer.digest, stored.finish().0)?;
        }
        Ok(layers.finish())
    }
}

fn same(name: &str, wanted: Option<Digest>, is: Digest) -> Result<(), ImageError> {
    match wanted {
        Some(wanted) if wanted != is => Err(ImageError::Mismatch { name: name.to_owned(), wanted, is }),
        _ => Ok(()),
    }
}
