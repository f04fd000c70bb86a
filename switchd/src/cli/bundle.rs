//! Commands about bundles.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Output, TrustArgs};
use crate::bundle::{Bundle, Entry, Input, KeyId, Manifest, SecretKey, Shared, Spec, Trust, pack, unpack};
use crate::digest::Digest;
use crate::image::{Choice, Members, Platform};
use crate::rootfs::Skipped;
use crate::tar::Limits;

type Result = anyhow::Result<ExitCode>;

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// Where the secret key goes; the public one goes to FILE.pub
    file: PathBuf,
}

impl Keygen {
    pub(super) fn run(&self, output: &Output) -> Result {
        let key = SecretKey::generate()?;
        let public = key.write(&self.file)?;
        let id = key.public().id();
        let shown = json!({ "key": id, "secret": self.file, "public": public });
        output
            .show(&shown, || format!("{id}\nsecret {}\npublic {}", self.file.display(), public.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Pack {
    /// The image: a file, the directory of an OCI layout, or - for the standard input
    image: PathBuf,
    /// The description of the application
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
    /// A secret key to sign with; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// The bundle to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The configuration of a `docker export`: what `docker inspect CONTAINER` prints
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which image, where there are several
    #[arg(long = "image", value_name = "REFERENCE")]
    reference: Option<String>,
    /// Which platform, where there are several, as linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// The time of every file, in seconds since 1970
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", default_value_t = 0)]
    mtime: u64,
    /// How many bytes an image may have when unpacked
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes)]
    max_bytes: u64,
    /// How many files an image may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries)]
    max_entries: u64,
}

impl Pack {
    pub(super) fn run(&self, output: &Output) -> Result {
        let text =
            fs::read_to_string(&self.spec).with_context(|| format!("reading `{}`", self.spec.display()))?;
        let spec = Spec::parse(&text).with_context(|| format!("`{}`", self.spec.display()))?;
        let keys: Vec<SecretKey> =
            self.key.iter().map(|file| SecretKey::read(file)).collect::<std::result::Result<_, _>>()?;
        let config = match &self.config {
            Some(file) => Some(fs::read(file).with_context(|| format!("reading `{}`", file.display()))?),
            None => None,
        };
        let limits = Limits { entries: self.max_entries, bytes: self.max_bytes, ..Limits::default() };
        let temporary = std::env::temp_dir();
        let members = Members::open_path(&self.image, &temporary, limits)?;
        let choice = Choice { reference: self.reference.clone(), platform: self.platform.clone() };
        let input = Input {
            members: &members,
            choice: &choice,
            config: config.as_deref(),
            spec: &spec,
            mtime: self.mtime,
            keys: &keys,
            temporary: &temporary,
            limits,
        };
        let packed = pack(&input, &self.output)?;
        let size = fs::metadata(&self.output).map_or(0, |m| m.len());
        let skipped: Vec<_> = packed
            .skipped
            .iter()
            .map(|Skipped { path, what }| json!({ "path": path, "what": what }))
            .collect();
        let shown = json!({
            "bundle": self.output, "size": size, "digest": packed.digest, "app": packed.manifest.app,
            "version": packed.manifest.version, "skipped": skipped,
        });
        output.show(&shown, || {
            let mut text = format!("{} {size} bytes {}\n", self.output.display(), packed.digest);
            for Skipped { path, what } in &packed.skipped {
                let _ = writeln!(text, "left out: {what} /{path}");
            }
            text
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A bundle from a file, or from the standard input.
pub(super) fn open(path: &Path, trust: &Trust) -> anyhow::Result<Bundle<Box<dyn io::Read>>> {
    let source: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file =
            fs::File::open(path).with_context(|| format!("opening the bundle `{}`", path.display()))?;
        Box::new(io::BufReader::with_capacity(1 << 16, file))
    };
    Bundle::read(source, trust).with_context(|| format!("bundle `{}`", path.display()))
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The bundle, or - for the standard input
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    /// Print the manifest as it is signed
    #[arg(long)]
    manifest: bool,
}

impl Inspect {
    pub(super) fn run(&self, output: &Output) -> Result {
        let bundle = open(&self.bundle, &self.trust.trust()?)?;
        let manifest = &bundle.manifest;
        if self.manifest {
            let text = crate::canonical::to_string(manifest)?;
            Output { json: false }.show(&(), || text)?;
            return Ok(ExitCode::SUCCESS);
        }
        let shown = Summary::of(manifest, bundle.digest, bundle.signed_by);
        output.show(&shown.json(), || shown.text())?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The bundle, or - for the standard input
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

impl Verify {
    pub(super) fn run(&self, output: &Output) -> Result {
        let bundle = open(&self.bundle, &self.trust.trust()?)?;
        let (digest, signed_by) = (bundle.digest, bundle.signed_by);
        let manifest = bundle.verify().with_context(|| format!("bundle `{}`", self.bundle.display()))?;
        let summary = Summary::of(&manifest, digest, signed_by);
        output.show(&summary.json(), || {
            let by =
                summary.signed_by.map_or("by no trusted key (--insecure)".to_owned(), |k| format!("by {k}"));
            format!("{} {} {digest}: every file is as signed, {by}", manifest.app, manifest.version)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Unpack {
    /// The bundle, or - for the standard input
    bundle: PathBuf,
    /// The directory to make
    directory: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

impl Unpack {
    pub(super) fn run(&self, output: &Output) -> Result {
        let trust = self.trust.trust()?;
        if self.bundle != Path::new("-") {
            // A file can be read twice: so a damaged bundle is found out before anything is written.
            open(&self.bundle, &trust)?
                .verify()
                .with_context(|| format!("bundle `{}`", self.bundle.display()))?;
        }
        let bundle = open(&self.bundle, &trust)?;
        let digest = bundle.digest;
        let manifest = unpack(bundle, &self.directory, &Shared::default())?;
        let shown = json!({ "directory": self.directory, "digest": digest, "app": manifest.app });
        output.show(&shown, || format!("{} {} {digest}", manifest.app, manifest.version))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What of a manifest people want to see.
struct Summary<'a> {
    manifest: &'a Manifest,
    digest: Digest,
    signed_by: Option<KeyId>,
    privileged: Vec<String>,
}

impl<'a> Summary<'a> {
    fn of(manifest: &'a Manifest, digest: Digest, signed_by: Option<KeyId>) -> Self {
        let privileged = manifest.entries.iter().filter_map(|entry| match entry {
            Entry::File { path, mode, xattrs, .. } if mode.0 & 0o6000 != 0 || !xattrs.0.is_empty() => {
                Some(format!("/{path}"))
            }
            _ => None,
        });
        Self { manifest, digest, signed_by, privileged: privileged.collect() }
    }

    fn json(&self) -> serde_json::Value {
        let m = self.manifest;
        json!({
            "app": m.app, "version": m.version, "digest": self.digest, "signed_by": self.signed_by,
            "platform": m.platform.to_string(), "process": m.process, "run": m.run, "health": m.health,
            "source": m.source, "labels": m.labels, "entries": m.entries.len(), "payload": m.payload,
            "privileged_files": self.privileged,
        })
    }

    fn text(&self) -> String {
        let m = self.manifest;
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(text, "{name:<12} {value}");
            }
        };
        row("app", format!("{} {}", m.app, m.version));
        row("digest", self.digest.to_string());
        row("signed by", self.signed_by.map_or("no trusted key (--insecure)".to_owned(), |k| k.to_string()));
        row("platform", m.platform.to_string());
        row("command", m.process.args.join(" "));
        row("user", format!("{}:{}", m.process.uid, m.process.gid));
        let capabilities: BTreeSet<&str> = m.run.capabilities.iter().map(|c| c.as_str()).collect();
        row(
            "capabilities",
            if capabilities.is_empty() { "none".into() } else { Vec::from_iter(capabilities).join(" ") },
        );
        row("network", format!("{:?}", m.run.network).to_lowercase());
        let limits = &m.run.limits;
        let limit = |name: &str, value: Option<u64>| value.map(|v| format!("{name} {v}"));
        let limits = [
            limit("memory", limits.memory),
            limit("pids", limits.pids),
            limit("cpu_millis", limits.cpu_millis),
        ];
        row("limits", limits.into_iter().flatten().collect::<Vec<_>>().join(", "));
        for mount in &m.run.mounts {
            let how = if mount.writable { "writable" } else { "read-only" };
            row("mount", format!("{} on /{} {how}", mount.source, mount.target));
        }
        row("privileged", self.privileged.join(" "));
        row(
            "files",
            format!("{} with {} bytes, {} compressed", m.entries.len(), m.content_size(), m.payload.size),
        );
        text
    }
}
