//! The command line: what can be said, and which part carries it out.
//!
//! Each part reads its texts ([`syntax`], [`group`], [`json`]), asks or changes the switch by the library's
//! client ([`switch`]), and prints ([`print`]). Nothing is asked of the switch before all texts are read.

mod acl;
mod args;
mod capture;
mod conntrack;
mod controller;
mod error;
mod filter;
mod flows;
mod group;
mod groups;
mod json;
mod look;
mod monitor;
mod names;
mod output;
mod packet;
mod print;
mod progress;
mod raw;
mod reads;
mod scenarios;
mod settings;
mod switch;
mod syntax;
mod trace;
mod versions;
mod vsctl;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, Protocol};
use error::CliError;
use output::Output;

/// What a command that did not fail found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// Two sides differ.
    Different,
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(args::commands_options_after_it(std::env::args_os().collect())) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done if even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Different) => ExitCode::from(2),
        // Whoever read the output has seen enough.
        Err(CliError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "ofctl: {error}");
            ExitCode::from(1)
        }
    }
}

fn run(cli: Cli) -> Result<Outcome, CliError> {
    let mut output = Output::new(cli.connect.color);
    let is_filter = matches!(cli.command, Command::Encode { .. } | Command::Decode { .. });
    if cli.connect.protocols != Protocol::OpenFlow13 && !is_filter {
        let problem =
            "only encode and decode know other versions than OpenFlow13; with a switch this speaks 1.3";
        return Err(CliError::Usage(problem.to_owned()));
    }
    let outcome = match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ofctl", &mut script);
            output.bytes(&script).map(|()| Outcome::Done)
        }
        Command::Encode { json, input } => {
            filter::encode(cli.connect.protocols.into(), &input, json, &mut output)
        }
        Command::Decode { json, input } => filter::decode(&input, json, &mut output),
        Command::OfpParse { file, json } => filter::stream(&file, json, &mut output),
        Command::OfpParsePcap { file, ports, json } => filter::captured(&file, &ports, json, &mut output),
        Command::Test { files, ovs, only, json } => {
            let place = if ovs { scenarios::Place::OpenVSwitch } else { scenarios::Place::Memory };
            scenarios::run(&files, place, only.as_deref(), json, &mut output)
        }
        Command::PortRange { ports, json } => acl::ports(&ports, json, &mut output),
        Command::Acl { command } => acl::run(&command, &mut output),
        Command::ComposePacket { flow } => packet::compose(&flow, &mut output),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(CliError::Runtime)?.block_on(talk(command, &cli.connect, &mut output))
        }
    };
    let written = output.flush();
    let outcome = outcome?;
    written.map(|()| outcome)
}

/// The commands that hold a session with a switch.
async fn talk(command: Command, connect: &args::Connect, output: &mut Output) -> Result<Outcome, CliError> {
    match command {
        Command::Show { switch, json } => look::show(connect, &switch, json, output).await,
        Command::DumpDesc { switch, json } => look::description(connect, &switch, json, output).await,
        Command::DumpPortsDesc { switch, port, json } => {
            look::ports(connect, &switch, port.as_deref(), json, output).await
        }
        Command::DumpTables { switch, json } => look::tables(connect, &switch, json, output).await,
        Command::GetFrags { switch, json } => look::fragments(connect, &switch, json, output).await,
        Command::SetFrags { switch, mode, dry } => {
            look::set_fragments(connect, &switch, mode, dry, output).await
        }
        Command::DumpFlows { switch, flow, no_stats, sort, rsort, json } => {
            let order = flows::Order::new(&sort, &rsort)?;
            flows::dump(connect, &switch, flow.as_deref(), !no_stats, &order, json, output).await
        }
        Command::DumpAggregate { switch, flow, json } => {
            flows::aggregate(connect, &switch, flow.as_deref(), json, output).await
        }
        Command::AddFlow { switch, flow, write } => {
            flows::change(
                connect,
                &switch,
                flows::Texts::of(flow, "the flow")?,
                flows::Verb::Add,
                write,
                output,
            )
            .await
        }
        Command::AddFlows { switch, file, write } => {
            flows::change(connect, &switch, flows::Texts::read(&file)?, flows::Verb::Add, write, output).await
        }
        Command::ModFlows { switch, flow, strict, write } => {
            let verb = flows::Verb::Modify { strict };
            flows::change(connect, &switch, flows::Texts::of(flow, "the flow")?, verb, write, output).await
        }
        Command::DelFlows { switch, flow, strict, write } => {
            let texts = flows::Texts::of(flow.unwrap_or_default(), "the flow")?;
            flows::change(connect, &switch, texts, flows::Verb::Delete { strict }, write, output).await
        }
        Command::ReplaceFlows { switch, file, readd, write } => {
            flows::replace(connect, &switch, &file, readd, write, output).await
        }
        Command::DiffFlows { first, second } => flows::diff(connect, &first, &second, output).await,
        Command::Bundle { switch, file, dry } => flows::bundle(connect, &switch, &file, dry, output).await,
        Command::AddGroup { switch, group, write } => {
            groups::change(
                connect,
                &switch,
                flows::Texts::of(group, "the group")?,
                groups::Verb::Add,
                write,
                output,
            )
            .await
        }
        Command::AddGroups { switch, file, write } => {
            groups::change(connect, &switch, flows::Texts::read(&file)?, groups::Verb::Add, write, output)
                .await
        }
        Command::ModGroup { switch, group, may_create, write } => {
            let texts = flows::Texts::of(group, "the group")?;
            let verb = if may_create { groups::Verb::ModifyOrAdd } else { groups::Verb::Modify };
            groups::change(connect, &switch, texts, verb, write, output).await
        }
        Command::InsertBuckets { switch, group, write } => {
            let texts = flows::Texts::of(group, "the group")?;
            groups::change(connect, &switch, texts, groups::Verb::InsertBuckets, write, output).await
        }
        Command::RemoveBuckets { switch, group, write } => {
            let texts = flows::Texts::of(group, "the group")?;
            groups::change(connect, &switch, texts, groups::Verb::RemoveBuckets, write, output).await
        }
        Command::DelGroups { switch, group, write } => {
            let texts = flows::Texts::of(group.unwrap_or_default(), "the group")?;
            groups::change(connect, &switch, texts, groups::Verb::Delete, write, output).await
        }
        Command::PacketOut { switch, packet, dry } => {
            packet::out(connect, &switch, &packet, dry, output).await
        }
        Command::Probe { switch } => raw::probe(connect, &switch).await,
        Command::Ping { switch, count, length } => raw::ping(connect, &switch, count, length, output).await,
        Command::Benchmark { switch, length, count } => {
            raw::benchmark(connect, &switch, length, count, output).await
        }
        Command::Monitor { switch, wanted, packet_in_format, how } => {
            monitor::run(connect, &switch, &wanted, packet_in_format.into(), how, output).await
        }
        Command::Snoop { switch, how } => monitor::snoop(connect, &switch, how, output).await,
        Command::Watch { switch, flow, interval, count, no_stats, json } => {
            let looks = watch::Looks { interval, count, counters: !no_stats, json };
            watch::run(connect, &switch, flow.as_deref(), looks, output).await
        }
        Command::Controller { app, places, json } => {
            controller::run(connect, app, &places, json, output).await
        }
        Command::Vsctl(how) => vsctl::run(connect, &how, output).await,
        Command::Read(read) => reads::run(connect, &read, output).await,
        Command::Setting(setting) => settings::run(connect, setting, output).await,
        Command::Trace { source, flow, packet, beside, json } => {
            let wanted = trace::Wanted { source: &source, flow: &flow, packet: packet.as_deref(), beside };
            trace::run(connect, wanted, json, output).await
        }
        Command::Completions { .. }
        | Command::Encode { .. }
        | Command::Decode { .. }
        | Command::Test { .. }
        | Command::PortRange { .. }
        | Command::Acl { .. }
        | Command::ComposePacket { .. }
        | Command::OfpParse { .. }
        | Command::OfpParsePcap { .. } => unreachable!("they are carried out without a session"),
    }
}
