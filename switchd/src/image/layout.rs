//! Finds an image in an OCI layout (image-layout.md) and in what `docker save` writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::config::{ImageConfig, Platform};
use super::{Choice, Image, ImageError, Kind, Layer, Members, same};
use crate::digest::Digest;

/// How deep indexes may be nested; in practice it is one index in another.
const MAX_NESTING: usize = 4;

/// A content descriptor (descriptor.md), as far as we use it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<PlatformOf>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformOf {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl From<PlatformOf> for Platform {
    fn from(of: PlatformOf) -> Self {
        Self { os: of.os, architecture: of.architecture, variant: of.variant }
    }
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// One image of `docker save`'s manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Json { name: name.to_owned(), source })
}

/// A digest from a document, and the name of its blob.
fn blob(text: &str, document: &str) -> Result<(Digest, String), ImageError> {
    let digest: Digest =
        text.parse().map_err(|source| ImageError::Digest { name: document.to_owned(), source })?;
    Ok((digest, format!("blobs/sha256/{}", digest.hex())))
}

/// A document that is named by its digest.
fn document<T: DeserializeOwned>(
    members: &Members,
    text: &str,
    from: &str,
) -> Result<(T, Digest), ImageError> {
    let (digest, name) = blob(text, from)?;
    let bytes = members.read(&name)?;
    same(&name, Some(digest), Digest::of(&bytes))?;
    Ok((parse(&name, &bytes)?, digest))
}

pub(super) fn oci(members: &Members, choice: &Choice) -> Result<Image, ImageError> {
    let index: Index = parse("index.json", &members.read("index.json")?)?;
    let names = |d: &Descriptor| {
        ["org.opencontainers.image.ref.name", "io.containerd.image.name"]
            .iter()
            .filter_map(|key| d.annotations.get(*key).cloned())
            .collect::<Vec<_>>()
    };
    let top = index.manifests.into_iter().filter(|d| match &choice.reference {
        Some(reference) => names(d).contains(reference),
        None => true,
    });
    let top: Vec<Descriptor> = top.collect();
    if top.is_empty() {
        let all: Index = parse("index.json", &members.read("index.json")?)?;
        return Err(which(0, all.manifests.iter().flat_map(names), "--image"));
    }
    let mut found = Vec::new();
    for descriptor in top {
        images(members, descriptor, "index.json", MAX_NESTING, &mut found)?;
    }
    // The same image under two references.
    found.dedup_by(|a, b| a.0.digest == b.0.digest);
    let platforms: Vec<String> = found.iter().map(|(_, image)| image.config.platform.to_string()).collect();
    found.retain(|(_, image)| choice.platform.as_ref().is_none_or(|p| p.covers(&image.config.platform)));
    match found.len() {
        1 => Ok(found.remove(0).1),
        n => Err(which(n, platforms.into_iter(), "--image and --platform")),
    }
}

/// All images at or below a descriptor.
fn images(
    members: &Members,
    descriptor: Descriptor,
    from: &str,
    nesting: usize,
    found: &mut Vec<(Descriptor, Image)>,
) -> Result<(), ImageError> {
    // Attestations stand beside images as manifests for the platform `unknown/unknown`.
    if descriptor.platform.as_ref().is_some_and(|p| p.os == "unknown") {
        return Ok(());
    }
    if descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
        let (index, _): (Index, _) = document(members, &descriptor.digest, from)?;
        for inner in index.manifests {
            let (_, name) = blob(&inner.digest, &descriptor.digest)?;
            // An index may name platforms whose blobs were not fetched with it.
            if nesting > 0 && members.has(&name) {
                images(members, inner, &descriptor.digest, nesting - 1, found)?;
            }
        }
        return Ok(());
    }
    let (manifest, _): (Manifest, _) = document(members, &descriptor.digest, from)?;
    let (mut config, id): (ImageConfig, _) = document(members, &manifest.config.digest, &descriptor.digest)?;
    if let (true, Some(platform)) = (config.platform.architecture.is_empty(), descriptor.platform.clone()) {
        config.platform = platform.into();
    }
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        let (digest, name) = blob(&layer.digest, &descriptor.digest)?;
        layers.push(Layer { name, digest: Some(digest), diff_id: None });
    }
    let layers = with_diff_ids(layers, &config)?;
    found.push((descriptor, Image { kind: Kind::Oci, config, id: Some(id), layers }));
    Ok(())
}

pub(super) fn docker_save(members: &Members, choice: &Choice) -> Result<Image, ImageError> {
    let saved: Vec<Saved> = parse("manifest.json", &members.read("manifest.json")?)?;
    let tags = |s: &Saved| s.repo_tags.clone().unwrap_or_default();
    let available: Vec<String> = saved.iter().flat_map(tags).collect();
    let mut fit: Vec<Saved> = saved
        .into_iter()
        .filter(|s| choice.reference.as_ref().is_none_or(|reference| tags(s).contains(reference)))
        .collect();
    if fit.len() != 1 {
        return Err(which(fit.len(), available.into_iter(), "--image"));
    }
    let saved = fit.remove(0);
    let bytes = members.read(&saved.config)?;
    let config: ImageConfig = parse(&saved.config, &bytes)?;
    if choice.platform.as_ref().is_some_and(|p| !p.covers(&config.platform)) {
        return Err(which(0, [config.platform.to_string()].into_iter(), "--platform"));
    }
    let id = Digest::of(&bytes);
    // The configuration's name is its digest: `<hex>.json`, and with docker 25 `blobs/sha256/<hex>`.
    let stem = saved.config.rsplit('/').next().unwrap_or_default();
    let wanted = format!("sha256:{}", stem.strip_suffix(".json").unwrap_or(stem)).parse().ok();
    same(&saved.config, wanted, id)?;
    let layers = saved.layers.into_iter().map(|name| Layer { name, digest: None, diff_id: None }).collect();
    let layers = with_diff_ids(layers, &config)?;
    Ok(Image { kind: Kind::DockerSave, config, id: Some(id), layers })
}

fn with_diff_ids(mut layers: Vec<Layer>, config: &ImageConfig) -> Result<Vec<Layer>, ImageError> {
    if layers.len() != config.diff_ids.len() {
        return Err(ImageError::Layers { layers: layers.len(), diff_ids: config.diff_ids.len() });
    }
    for (layer, diff_id) in layers.iter_mut().zip(&config.diff_ids) {
        layer.diff_id = Some(*diff_id);
    }
    Ok(layers)
}

fn which(found: usize, available: impl Iterator<Item = String>, option: &'static str) -> ImageError {
    let mut available: Vec<String> = available.collect();
    available.sort();
    available.dedup();
    let available = if available.is_empty() { "none with a name".to_owned() } else { available.join(", ") };
    ImageError::Choice { found, available, option }
}
