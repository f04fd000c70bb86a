//! The archive of an image: an OCI layout and what `docker save` writes, in one.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::bundle::sync_directory;
use crate::digest::{Digest, Hashing};
use crate::tar;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layer that is being written: compressed by gzip, as Docker before version 23 knows nothing newer.
pub(super) struct Layer(Hashing<GzEncoder<Hashing<BufWriter<File>>>>);

/// A layer that is written.
pub(super) struct Written {
    /// Of the archive uncompressed.
    pub(super) diff_id: Digest,
    digest: Digest,
    size: u64,
    file: File,
}

impl Layer {
    pub(super) fn new(temporary: &Path) -> io::Result<Self> {
        let file = BufWriter::new(tempfile::tempfile_in(temporary)?);
        // Without a time in its header: the same archive gives the same bytes.
        Ok(Self(Hashing::new(GzEncoder::new(Hashing::new(file), Compression::best()))))
    }

    pub(super) fn writer(&mut self) -> &mut impl Write {
        &mut self.0
    }

    pub(super) fn finish(self) -> io::Result<Written> {
        let (diff_id, _, compressed) = self.0.finish();
        let (digest, size, file) = compressed.finish()?.finish();
        let mut file = file.into_inner()?;
        file.rewind()?;
        Ok(Written { diff_id, digest, size, file })
    }
}

/// Writes the archive, whole or not at all, and gives its size.
pub(super) fn write(output: &Path, mut layer: Written, config: &str, tags: &[String]) -> io::Result<u64> {
    let descriptor = |media: &str, digest: Digest, size: usize| json!({ "mediaType": media, "digest": digest, "size": size });
    let blob = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
    let config_digest = Digest::of(config.as_bytes());
    let manifest = text(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, config_digest, config.len()),
        "layers": [{ "mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size }],
    }));
    let manifest_digest = Digest::of(manifest.as_bytes());
    let named = |tag: &String| {
        let mut descriptor = descriptor(MANIFEST_TYPE, manifest_digest, manifest.len());
        let short = tag.rsplit(':').next().unwrap_or(tag);
        descriptor["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/{tag}"),
            "org.opencontainers.image.ref.name": short,
        });
        descriptor
    };
    let named: Vec<Value> = tags.iter().map(named).collect();
    let index = text(&json!({ "schemaVersion": 2, "manifests": named }));
    let layout = text(&json!({ "imageLayoutVersion": "1.0.0" }));
    let saved = text(&json!([{
        "Config": blob(config_digest), "RepoTags": tags, "Layers": [blob(layer.digest)],
    }]));

    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new().prefix(".image-").tempfile_in(directory)?;
    let mut writer = BufWriter::new(Hashing::new(file));
    let pad = |size: u64| &[0; tar::BLOCK][..tar::padding(size)];
    // The small ones first: SONiC's package manager reads the label before it loads the image.
    for (name, content) in [
        ("manifest.json", saved.as_str()),
        ("oci-layout", &layout),
        ("index.json", &index),
        (&blob(manifest_digest), &manifest),
        (&blob(config_digest), config),
    ] {
        writer.write_all(&tar::plain_member(name, content.len() as u64))?;
        writer.write_all(content.as_bytes())?;
        writer.write_all(pad(content.len() as u64))?;
    }
    writer.write_all(&tar::plain_member(&blob(layer.digest), layer.size))?;
    io::copy(&mut layer.file, &mut writer)?;
    writer.write_all(pad(layer.size))?;
    writer.write_all(&tar::TRAILER)?;
    let (_, size, file) = writer.into_inner()?.finish();
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(output)?;
    sync_directory(directory)?;
    Ok(size)
}

/// A document's text: members sorted by name, so that it is the same in every build.
fn text(value: &Value) -> String {
    crate::canonical::to_string(value).expect("only integers, and names in ASCII")
}

/// `seconds` since 1970 as RFC 3339 has it, which images want.
pub(super) fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar, by eras of 400 years that begin on 1 March.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `date -u -d @N +%FT%TZ`.
    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
