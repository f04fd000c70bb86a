//! `sluice-switch preflight`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::bundle::open;
use super::machine::{MachineArgs, fix};
use super::{Output, TrustArgs};
use crate::bundle::Shared;
use crate::preflight::{Facts, Needs};
use crate::release::Store;

#[derive(Debug, Args)]
pub(super) struct Preflight {
    /// The bundle that is to be installed, or - for the standard input, of which the manifest is enough; without it,
    /// what any bundle could need
    bundle: Option<PathBuf>,
    /// Make good what is safe to: mount the kernel's cgroup controllers, make the state directory
    #[arg(long)]
    fix: bool,
    /// Judge the facts in FILE, which `preflight --json` printed on another switch
    #[arg(long, value_name = "FILE", conflicts_with = "fix")]
    facts: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Preflight {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<ExitCode> {
        let needs = self.needs()?;
        let place = self.machine.place();
        let mut facts = match &self.facts {
            Some(path) => recorded(path)?,
            None => Facts::gather(&place, &needs),
        };
        let fixed = if self.fix { fix(&facts) } else { Vec::new() };
        if !fixed.is_empty() {
            facts = Facts::gather(&place, &needs);
        }
        let report = facts.judge(&needs);
        let consent = self.machine.consents() || needs.consent;
        let passes = report.passes(consent);
        let shown = json!({
            "bundle": needs.bundle, "profile": report.profile, "verdict": report.verdict(), "consent": consent,
            "passes": passes, "findings": report.findings, "fixed": fixed, "facts": facts,
        });
        output.show(&shown, || {
            let fixed = fixed.iter().map(|f| match &f.error {
                None => format!("fixed     {}\n", f.repair),
                Some(error) => format!("not fixed {error}\n"),
            });
            let fixed: String = fixed.collect();
            format!("{fixed}{report}")
        })?;
        if !passes {
            let verdict = report.verdict();
            let agree = if report.passes(true) { "; agree with --allow-degraded" } else { "" };
            eprintln!("sluice-switch: the switch is not ready: {verdict}{agree}");
        }
        Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn needs(&self) -> anyhow::Result<Needs> {
        let Some(path) = &self.bundle else { return Ok(Needs::default()) };
        let bundle = open(path, &self.trust.trust()?)?;
        let store = Store::new(self.machine.state_dir(), &bundle.manifest.app);
        let mut shared = Shared::default();
        for release in store.releases()? {
            // One that is damaged has nothing to share.
            if let Ok(manifest) = store.manifest(release) {
                shared.add(&manifest, &store.release(release).join("rootfs"));
            }
        }
        Ok(Needs::of(&bundle.manifest, &shared))
    }
}

/// The facts alone, or the whole of what `--json` prints.
fn recorded(path: &PathBuf) -> anyhow::Result<Facts> {
    let what = || format!("the facts in `{}`", path.display());
    let text = fs::read(path).with_context(what)?;
    let mut value: serde_json::Value = serde_json::from_slice(&text).with_context(what)?;
    let Some(facts) = value.get_mut("facts").map(serde_json::Value::take) else {
        bail!("`{}` has no `facts`; make it with `sluice-switch preflight --json`", path.display());
    };
    serde_json::from_value(facts).with_context(what)
}
