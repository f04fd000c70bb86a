//! Bundles as images.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::bundle::open;
use super::{Output, TrustArgs};
use crate::export::{Exported, Form, SonicPackage, export};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The bundle, or - for the standard input
    bundle: PathBuf,
    /// The image to write: an archive for `docker load`, which is an OCI archive as well
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// For `sonic-package-manager install --from-tarball FILE`
    #[arg(long, required_unless_present = "oci", conflicts_with = "oci")]
    sonic: bool,
    /// For any engine; what the application may do and use is left to who runs it
    #[arg(long)]
    oci: bool,
    /// What only SONiC asks of a package: other packages, the order at boot
    #[arg(long, value_name = "FILE", conflicts_with = "oci")]
    package: Option<PathBuf>,
    /// Agree to all capabilities where the application needs one that Docker does not give by itself
    #[arg(long, conflicts_with = "oci")]
    privileged: bool,
    #[command(flatten)]
    trust: TrustArgs,
}

impl Export {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<ExitCode> {
        let form = if self.sonic {
            let package = match &self.package {
                Some(file) => {
                    let text =
                        fs::read_to_string(file).with_context(|| format!("reading `{}`", file.display()))?;
                    SonicPackage::parse(&text).with_context(|| format!("`{}`", file.display()))?
                }
                None => SonicPackage::default(),
            };
            Form::Sonic { package: Box::new(package), privileged: self.privileged }
        } else {
            Form::Oci
        };
        let bundle = open(&self.bundle, &self.trust.trust()?)?;
        let done = export(bundle, &form, &std::env::temp_dir(), &self.output)
            .with_context(|| format!("bundle `{}`", self.bundle.display()))?;
        let Exported { manifest, image, tags, size, weaker } = &done;
        let told: Vec<_> =
            weaker.iter().map(|w| json!({ "field": w.field(), "what": w.to_string() })).collect();
        let shown = json!({
            "image": self.output, "id": image, "tags": tags, "size": size, "app": manifest.app,
            "version": manifest.version, "weaker": told,
        });
        output.show(&shown, || {
            let mut text = format!("{} {size} bytes {image} {}\n", self.output.display(), tags[0]);
            for weaker in weaker {
                let _ = writeln!(text, "weaker: {weaker}");
            }
            text
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
