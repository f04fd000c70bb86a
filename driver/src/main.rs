//! The `sluice` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice::cli::run(std::env::args_os(), std::env::vars_os(), |_config, _stop| async {
        Err::<(), _>("this build has no agent")
    })
}
