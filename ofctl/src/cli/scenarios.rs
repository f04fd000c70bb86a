//! `test`: scenarios.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ofctl::scenario::{Document, Failure, MemoryWorld, OvsWorld, Scenario};
use serde_json::json;

use super::Outcome;
use super::error::CliError;
use super::flows::read_all;
use super::output::{Kind, Output};

/// Where scenarios take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    OpenVSwitch,
}

fn run_one(scenario: &Scenario, place: Place) -> Result<Option<Box<Failure>>, CliError> {
    let outcome = match place {
        Place::Memory => scenario.run(&mut MemoryWorld::new()),
        // Each has a switch of its own, so that nothing is left over from the one before.
        Place::OpenVSwitch => scenario.run(&mut OvsWorld::start().map_err(|error| CliError::World(error.0))?),
    };
    Ok(outcome.err())
}

fn document(file: &Path) -> Result<(String, Document), CliError> {
    let (name, text) = read_all(file)?;
    match text.parse() {
        Ok(document) => Ok((name, document)),
        Err(source) => Err(CliError::Scenario { file: name, source }),
    }
}

pub(crate) fn run(
    files: &[PathBuf],
    place: Place,
    only: Option<&str>,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    // None is run if one cannot be read.
    let documents: Vec<(String, Document)> =
        files.iter().map(|file| document(file)).collect::<Result<_, _>>()?;
    let (mut passed, mut failed) = (0, 0);
    for (file, document) in &documents {
        for scenario in &document.scenarios {
            if only.is_some_and(|only| !scenario.name.contains(only)) {
                continue;
            }
            let begin = Instant::now();
            let failure = run_one(scenario, place)?;
            let took = begin.elapsed();
            if failure.is_none() {
                passed += 1
            } else {
                failed += 1
            }
            if as_json {
                output.line(json!({
                    "file": file, "line": scenario.line, "scenario": scenario.name,
                    "passed": failure.is_none(), "seconds": took.as_secs_f64(),
                    "failure": failure.map(|failure| json!({
                        "line": failure.step.line, "step": failure.step.text, "problem": failure.problem,
                        "observed": failure.observed, "traces": failure.traces,
                    })),
                }))?;
                continue;
            }
            match failure {
                None => output.line(format!("ok    {}", scenario.name))?,
                Some(failure) => {
                    output.coloured(Kind::Verdict, format!("FAIL  {}", scenario.name))?;
                    output.line(format!("{file}, {failure}\n"))?;
                }
            }
        }
    }
    if passed + failed == 0 {
        let only = only.unwrap_or_default();
        return Err(CliError::Usage(format!("no scenario has '{only}' in its name")));
    }
    if !as_json {
        output.line(format!("{passed} passed, {failed} failed"))?;
    }
    if failed > 0 { Err(CliError::ScenariosFailed(failed, passed + failed)) } else { Ok(Outcome::Done) }
}
