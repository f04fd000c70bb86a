//! The `sluice` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice::cli::run(std::env::args_os(), std::env::vars_os(), sluice::agent::run)
}
