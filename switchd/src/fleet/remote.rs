//! Commands on the boxes of a fleet: the program there is asked, and answers in JSON.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;

use super::deploy::transport;
use super::inventory::Host;
use super::rollout::{Outcome, Rules, roll};
use super::transport::{Transport as _, quote, quote_all, run};
use crate::bundle::KeyId;

/// The most that a box may answer.
const MAX_ANSWER: u64 = 16 << 20;

/// What a box answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The command's exit status there.
    pub code: i32,
    /// The JSON object that it printed, or what it printed as text.
    pub value: Value,
    /// What it said on stderr, in one line.
    pub said: String,
}

/// How boxes are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    pub(crate) jobs: usize,
    pub(crate) ssh_options: &'a [String],
    pub(crate) control: Option<&'a Path>,
    pub(crate) patience: Duration,
}

/// Runs the program with `words` on every host, and gives what each answered, or why there is no answer.
pub fn ask(
    hosts: &[Host],
    words: &[String],
    jobs: usize,
    ssh_options: &[String],
    control: Option<&Path>,
    patience: Duration,
) -> Vec<Result<Answered, String>> {
    let how = How { jobs, ssh_options, control, patience };
    each(hosts, how, |host| {
        let all = [&["--json".to_owned()][..], words].concat();
        let (code, stdout, said) = program(host, &all, how)?;
        let value = serde_json::from_slice(&stdout);
        // A command that failed at once printed nothing.
        let value = value.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&stdout).into_owned()));
        Ok(Answered { code, value, said })
    })
}

/// The end of an application's log on every host: so many bytes of it.
pub fn logs_of(
    hosts: &[Host],
    words: &[String],
    jobs: usize,
    ssh_options: &[String],
    control: Option<&Path>,
    patience: Duration,
) -> Vec<Result<Vec<u8>, String>> {
    let how = How { jobs, ssh_options, control, patience };
    each(hosts, how, |host| match program(host, words, how)? {
        (0, stdout, _) => Ok(stdout),
        (_, _, said) => Err(said),
    })
}

/// Makes every host trust keys. Each is a file of its own, so that this can be done again.
pub fn enroll(
    hosts: &[Host],
    keys: &[(KeyId, Vec<u8>)],
    default_directory: &str,
    jobs: usize,
    ssh_options: &[String],
    control: Option<&Path>,
    patience: Duration,
) -> Vec<Result<(), String>> {
    let how = How { jobs, ssh_options, control, patience };
    each(hosts, how, |host| {
        let directory = quote(host.keys.as_deref().unwrap_or(default_directory));
        for (id, content) in keys {
            let name: String = id.to_string().trim_start_matches("sha256:").chars().take(16).collect();
            let script = format!(
                "set -e; umask 022; d={directory}; mkdir -p \"$d\"; cat > \"$d/{name}.new\"; \
                 mv -f \"$d/{name}.new\" \"$d/{name}.pub\""
            );
            let (code, _, said) = script_on(host, &script, &mut &content[..], how)?;
            if code != 0 {
                return Err(format!("putting the key to {directory} failed with status {code}: {said}"));
            }
        }
        Ok(())
    })
}

/// Does something on every host, so many at once.
pub(crate) fn each<T: Send>(
    hosts: &[Host],
    how: How<'_>,
    work: impl Fn(&Host) -> Result<T, String> + Sync,
) -> Vec<Result<T, String>> {
    // Asking harms nobody: one failure is no reason to leave others out.
    let rules = Rules { jobs: how.jobs, canary: 0, max_fail: usize::MAX };
    let outcomes = roll(hosts.len(), rules, &AtomicBool::new(false), |at| work(&hosts[at]));
    let each = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Ok(done) => Ok(done),
        Outcome::Failed(why) => Err(why),
        Outcome::Skipped(why) => Err(why.to_string()),
    });
    each.collect()
}

fn program(host: &Host, words: &[String], how: How<'_>) -> Result<(i32, Vec<u8>, String), String> {
    let program = quote(&host.program);
    // Options come before the words after `--`.
    let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let ordered = [&words[..at], &host.places(), &words[at..]].concat();
    let missing = "there is no sluice-switch on the box; `sluice-switch deploy` brings it there";
    let script = format!(
        "if [ -x {program} ]; then exec {program} {}; else echo {} >&2; exit 127; fi",
        quote_all(&ordered),
        quote(missing)
    );
    script_on(host, &script, &mut io::empty(), how)
}

/// Runs a script on a host.
pub(crate) fn script_on(
    host: &Host,
    script: &str,
    input: &mut dyn io::Read,
    how: How<'_>,
) -> Result<(i32, Vec<u8>, String), String> {
    let transport = transport(host, how.ssh_options, how.control);
    let ran = run(&transport, script, input, MAX_ANSWER, how.patience)
        .map_err(|e| format!("starting ssh: {e}; is it installed?"))?;
    let said = ran.ended.stderr;
    match ran.ended.status.code() {
        _ if ran.ended.silent => Err("it said nothing for too long".to_owned()),
        code if code == transport.unreached() => Err(format!("ssh did not reach it: {said}")),
        Some(127) => Err(said),
        Some(code) => Ok((code, ran.stdout, said)),
        None => Err(format!("ssh ended with {}", ran.ended.status)),
    }
}
