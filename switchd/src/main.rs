//! The `sluice-switch` command.
fn main() {}
