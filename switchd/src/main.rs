//! The `sluice-switch` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_switch::cli::run(std::env::args_os())
}
