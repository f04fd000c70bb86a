//! The `ofctl` command: everything that is said to one OpenFlow switch, by the names of ovs-ofctl(8).

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
