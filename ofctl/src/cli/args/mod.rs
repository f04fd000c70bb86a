//! The arguments, by ovs-ofctl's names.

mod reads;
mod settings;
mod vsctl;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ofctl::wire::versions::Version;
use ofctl::wire::{FragmentMode, PacketInFormat};

pub(crate) use reads::{Asked, Read};
pub(crate) use settings::{PortChange, Setting, WantedRole};
pub(crate) use vsctl::{Vsctl, VsctlCommand};

/// Says things to one OpenFlow switch: asks, changes its flows and groups, and follows packets through them.
/// What a switch that a file stands for has besides flows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub(crate) struct Beside {
    /// Groups, one a line as for add-groups
    #[arg(long, value_name = "FILE")]
    pub(crate) groups: Option<PathBuf>,
    /// Meters, one a line as for add-meter
    #[arg(long, value_name = "FILE")]
    pub(crate) meters: Option<PathBuf>,
    /// Ports, as in 1-4,7
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub(crate) ports: Vec<String>,
}

#[derive(Debug, Parser)]
#[command(name = "ofctl", version, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
SWITCH is a bridge's name, reached by its management socket RUNDIR/NAME.mgmt, or unix:PATH,
tcp:HOST[:PORT] or ssl:HOST[:PORT].
FLOW, GROUP and their files are in the syntax of ovs-ofctl(8); ports may stand by their names.
A FILE of - is standard input; # begins a comment.

Exit status: 0 done; 1 failed, and standard error says why; 2 diff-flows found a difference.";

/// How the switch is reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reaching the switch")]
pub(crate) struct Connect {
    /// Version of OpenFlow to speak
    #[arg(
        short = 'O',
        long = "protocols",
        global = true,
        value_name = "VERSION",
        default_value = "OpenFlow13"
    )]
    pub(crate) protocols: Protocol,
    /// Folder of the bridges' sockets
    #[arg(
        long,
        global = true,
        env = "OVS_RUNDIR",
        value_name = "FOLDER",
        default_value = "/var/run/openvswitch"
    )]
    pub(crate) rundir: PathBuf,
    /// Seconds that each request may take
    #[arg(short, long, global = true, value_name = "SECONDS", default_value_t = 600,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) timeout: u64,
    /// PEM file with our private key, for ssl:
    #[arg(short = 'p', long, global = true, value_name = "FILE", requires_all = ["certificate", "ca_cert"])]
    pub(crate) private_key: Option<PathBuf>,
    /// PEM file with our certificate, for ssl:
    #[arg(short = 'c', long, global = true, value_name = "FILE", requires_all = ["private_key", "ca_cert"])]
    pub(crate) certificate: Option<PathBuf>,
    /// PEM file with the certificate of the authority that signs ours and the switch's, for ssl:
    #[arg(short = 'C', long, global = true, value_name = "FILE", requires_all = ["private_key", "certificate"])]
    pub(crate) ca_cert: Option<PathBuf>,
    /// When to print in colour
    #[arg(long, alias = "colour", global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Colour,
    /// Print ports and tables of flows by their names
    #[arg(long = "names", global = true, overrides_with = "no_names")]
    pub(crate) show_names: bool,
    /// Print ports and tables by their numbers, which is usual
    #[arg(long, global = true, hide = true)]
    pub(crate) no_names: bool,
}

/// Where colour is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// Versions that this command speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// OpenFlow 1.0 with the Nicira extensions, for the filters alone
    #[value(name = "OpenFlow10")]
    OpenFlow10,
    /// OpenFlow 1.3
    #[value(name = "OpenFlow13")]
    OpenFlow13,
    /// OpenFlow 1.4, for the filters alone
    #[value(name = "OpenFlow14")]
    OpenFlow14,
    /// OpenFlow 1.5, for the filters alone
    #[value(name = "OpenFlow15")]
    OpenFlow15,
}

impl From<Protocol> for Version {
    fn from(protocol: Protocol) -> Version {
        match protocol {
            Protocol::OpenFlow10 => Version::OpenFlow10,
            Protocol::OpenFlow13 => Version::OpenFlow13,
            Protocol::OpenFlow14 => Version::OpenFlow14,
            Protocol::OpenFlow15 => Version::OpenFlow15,
        }
    }
}

/// Options of commands that change the switch.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Write {
    /// Carry out all of it as one transaction, or nothing
    #[arg(long)]
    pub(crate) bundle: bool,
    #[command(flatten)]
    pub(crate) dry: Dry,
}

/// Options of a try that changes nothing.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Dry {
    /// Print what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --dry-run: as hexadecimal, one message a line; transaction numbers are zero
    #[arg(long, requires = "dry_run")]
    pub(crate) hex: bool,
    /// With --dry-run: as JSON, one message a line
    #[arg(long, requires = "dry_run", conflicts_with = "hex")]
    pub(crate) json: bool,
}

/// Treatments of IP fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fragments {
    /// They pass, and their ports count as zero
    Normal,
    /// They are dropped
    Drop,
    /// They are put together, where the switch can
    Reassemble,
    /// The ports of first fragments count
    NxMatch,
}

impl From<Fragments> for FragmentMode {
    fn from(mode: Fragments) -> Self {
        match mode {
            Fragments::Normal => FragmentMode::Normal,
            Fragments::Drop => FragmentMode::Drop,
            Fragments::Reassemble => FragmentMode::Reassemble,
            Fragments::NxMatch => FragmentMode::NxMatch,
        }
    }
}

/// Applications of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    /// Every packet leaves by all other ports
    Hub,
    /// A learning switch, by packets that come to the controller
    Learn,
    /// A learning switch, by flows alone
    SelfLearn,
    /// Shortest paths between switches
    Route,
    /// Nothing, and print all that switches say
    Monitor,
}

/// What to do with an access list.
#[derive(Debug, Subcommand)]
pub(crate) enum AclCommand {
    /// Print the flows of a file of rules
    ///
    /// A rule is a line as in "200 allow tcp from 10.0.0.0/8 to any port 80,8080-8090"; the highest number counts.
    Compile {
        /// A file, or - for standard input
        file: PathBuf,
        /// The flows' table, which holds nothing else
        #[arg(long, default_value_t = 0)]
        table: u8,
        /// The flows' cookie
        #[arg(long, default_value_t = 0)]
        cookie: u64,
        /// What is done with packets that are allowed
        #[arg(long, value_name = "ACTIONS", default_value = "goto_table:1")]
        allow: String,
        /// Allow what no rule takes, too
        #[arg(long)]
        default_allow: bool,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// How messages are printed as they come.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Watching {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print when it came, too
    #[arg(long, conflicts_with = "json")]
    pub(crate) timestamp: bool,
}

/// Forms of packets to the controller, by ovs-ofctl's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Packets {
    /// As OpenFlow 1.3 has it
    #[value(alias = "openflow10")]
    Standard,
    /// `NXT_PACKET_IN`
    #[value(name = "nxt_packet_in", alias = "nxm")]
    Nxt,
    /// `NXT_PACKET_IN2`
    #[value(name = "nxt_packet_in2")]
    Nxt2,
}

impl From<Packets> for PacketInFormat {
    fn from(packets: Packets) -> Self {
        match packets {
            Packets::Standard => PacketInFormat::Standard,
            Packets::Nxt => PacketInFormat::Nxt,
            Packets::Nxt2 => PacketInFormat::Nxt2,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the switch's features, ports and configuration
    Show {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print what the switch says of itself
    DumpDesc {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the ports
    DumpPortsDesc {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Only this port, by number or name
        port: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the tables' counters
    DumpTables {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print flows
    DumpFlows {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Only flows as narrow as this: a match, and table, cookie=V/MASK, out_port, out_group
        flow: Option<String>,
        /// Leave counters out, as a file for add-flows is written
        #[arg(long)]
        no_stats: bool,
        /// Sort by a field, the smallest first; without a name by priority
        #[arg(long, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
        sort: Vec<String>,
        /// Sort by a field, the largest first
        #[arg(long, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
        rsort: Vec<String>,
        /// Print one JSON object a line, fields by their OXM names
        #[arg(long)]
        json: bool,
    },
    /// Print the sum of flows' counters
    DumpAggregate {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Only flows as narrow as this
        flow: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Add a flow, or change one that has the same table, priority and match
    ///
    /// As in: ofctl add-flow br0 "priority=9,in_port=west,ip,nw_dst=10.0.0.0/8,actions=dec_ttl,output:east"
    AddFlow {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The flow, or - for flows on standard input
        flow: String,
        #[command(flatten)]
        write: Write,
    },
    /// Carry out a file of flows; a line may begin with add, modify, modify_strict, delete or delete_strict
    AddFlows {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// A file, or - for standard input
        file: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// Change the actions of all flows that match
    ModFlows {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The flow, or - for flows on standard input
        flow: String,
        /// Only the flow of exactly this table, priority and match
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Delete all flows that match; all flows if none is given
    DelFlows {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Which flows, or - for lines of standard input
        flow: Option<String>,
        /// Only the flow of exactly this table, priority and match
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Make the switch's flows those of a file, by the fewest changes
    ReplaceFlows {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// A file, or - for standard input
        file: PathBuf,
        /// Add those again that are there already
        #[arg(long)]
        readd: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Compare the flows of two files or switches; exits with 2 if they differ
    DiffFlows {
        /// A file or a switch: a file if it begins with / or . or is there
        first: String,
        /// The other file or switch
        second: String,
    },
    /// Carry out a file of "flow …", "group …" and "packet-out …" lines as one transaction
    Bundle {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// A file, or - for standard input
        file: PathBuf,
        #[command(flatten)]
        dry: Dry,
    },
    /// Add a group
    AddGroup {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The group, or - for groups on standard input
        group: String,
        #[command(flatten)]
        write: Write,
    },
    /// Add the groups of a file; a line may begin with add, modify or delete
    AddGroups {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// A file, or - for standard input
        file: PathBuf,
        #[command(flatten)]
        write: Write,
    },
    /// Replace a group
    ModGroup {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The group, or - for groups on standard input
        group: String,
        /// Add it if it is not there
        #[arg(long)]
        may_create: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Delete a group, by group_id=N, or all of them
    DelGroups {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Which group, or - for lines of standard input
        group: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// Add buckets to a group, which OpenFlow 1.3 cannot say: replace the group by mod-group
    InsertBuckets {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The group and its new buckets
        group: String,
        #[command(flatten)]
        write: Write,
    },
    /// Remove buckets from a group, which OpenFlow 1.3 cannot say: replace the group by mod-group
    RemoveBuckets {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The group and which buckets
        group: String,
        #[command(flatten)]
        write: Write,
    },
    /// Send a packet through actions
    PacketOut {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// "in_port=PORT packet=HEX actions=ACTIONS", or IN_PORT ACTIONS PACKET...
        #[arg(required = true)]
        packet: Vec<String>,
        #[command(flatten)]
        dry: Dry,
    },
    /// Print what the switch says by itself: packets, ports, flows that went
    Monitor {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// A number: bytes of each packet to be sent, so that packets are told at all; watch:SPEC: flows that change
        #[arg(num_args = 0.., value_name = "MISSLEN|watch:SPEC")]
        wanted: Vec<String>,
        /// The form of packets to ask for
        #[arg(short = 'P', long, value_name = "FORMAT", default_value = "nxt_packet_in2")]
        packet_in_format: Packets,
        #[command(flatten)]
        how: Watching,
    },
    /// Print what a bridge and its controllers say to each other
    Snoop {
        /// A bridge's name, or unix:PATH of its snoop socket
        switch: String,
        #[command(flatten)]
        how: Watching,
    },
    /// Print flows as they come, go, change and count
    Watch {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Only flows as narrow as this
        flow: Option<String>,
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
        interval: f64,
        /// Looks to take; without it, until the process is stopped
        #[arg(long, value_name = "LOOKS")]
        count: Option<u64>,
        /// Leave out flows that only count
        #[arg(long)]
        no_stats: bool,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Read(Read),
    #[command(flatten)]
    Setting(Setting),
    /// Print how fragments are treated
    GetFrags {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Set how fragments are treated
    SetFrags {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// What becomes of them
        mode: Fragments,
        #[command(flatten)]
        dry: Dry,
    },
    /// Ask whether the switch answers, by one echo request
    Probe {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
    },
    /// Send echo requests, and print how long the answers take
    Ping {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Bytes that each request carries
        #[arg(default_value_t = 64, value_parser = clap::value_parser!(u16).range(..=65527))]
        length: u16,
        /// Requests to send
        #[arg(long, default_value_t = 10)]
        count: u32,
    },
    /// Measure how many echo requests go through in a second
    Benchmark {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Bytes that each request carries
        #[arg(value_parser = clap::value_parser!(u16).range(..=65527))]
        length: u16,
        /// Requests to send
        count: u32,
    },
    /// Print the messages in a file of OpenFlow's bytes, one after the other
    OfpParse {
        /// The file, or - for standard input
        file: PathBuf,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenFlow messages in the TCP connections of a capture
    ///
    /// The file is in the pcap format, as tcpdump -w writes it. Of what is encrypted nothing can be printed.
    OfpParsePcap {
        /// The capture, or - for standard input
        file: PathBuf,
        /// The TCP ports of OpenFlow; 6633 and 6653 if none are given
        ports: Vec<u16>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print a packet that has these fields, in hexadecimal
    ComposePacket {
        /// The packet's fields, as in "tcp,nw_src=10.0.0.1,tp_dst=80"
        flow: String,
    },
    /// Follow a packet through the flows of a switch or a file, in memory
    ///
    /// FLOW names the packet by its fields, as in "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80"; what it
    /// leaves open is zero. With PACKET, the packet's own bytes, FLOW says the rest: in_port, tunnel, registers.
    ///
    /// A switch says what groups, meters and ports it has; for a file the options do, and without --ports every port is
    /// taken for one that is there. Nothing is changed, counted or learned. What OpenFlow 1.3 cannot say of a switch is
    /// as if it were not there: selection methods of groups, tunnel ports, VLANs of ports, connections, and addresses
    /// that NORMAL has learned.
    Trace {
        /// A file or a switch: a file if it begins with / or . or is there
        source: String,
        /// The packet's fields
        flow: String,
        /// The packet, in hexadecimal
        packet: Option<String>,
        /// What is there besides the flows of a file
        #[command(flatten)]
        beside: Beside,
        /// Print the verdict as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Run scenarios: packets that arrive, and what becomes of them
    ///
    /// The language is described in the documentation of the library's module scenario. Without --ovs they run in the
    /// simulator and in virtual time. A step that fails is printed with what was observed instead and with the way
    /// of the packet. Exit status 1 tells that one failed.
    Test {
        /// Files of scenarios
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Run them on a private Open vSwitch, started for each scenario; needs openvswitch-switch, not root
        #[arg(long)]
        ovs: bool,
        /// Only those with this text in their name
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Print a JSON object a scenario
        #[arg(long)]
        json: bool,
    },
    /// Run an application over switches, and print what comes and goes
    ///
    /// As in: ofctl controller learn ptcp:6653:127.0.0.1 br0. A place of listening is punix:PATH, ptcp:[PORT][:ADDRESS]
    /// or pssl:[PORT][:ADDRESS].
    Controller {
        /// What to run
        app: App,
        /// Switches, and places where switches are waited for
        #[arg(required = true)]
        places: Vec<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the values with masks that hold exactly these ports
    PortRange {
        /// Ranges, as 8080-8090, or ports
        #[arg(required = true)]
        ports: Vec<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Access lists
    Acl {
        #[command(subcommand)]
        command: AclCommand,
    },
    /// Bridges and ports, and rows of any table, by OVSDB
    Vsctl(Vsctl),
    /// Filter: flow text to messages in hexadecimal, a line each
    Encode {
        /// Read messages in JSON
        #[arg(long)]
        json: bool,
        /// A file, or - for standard input
        #[arg(default_value = "-")]
        input: PathBuf,
    },
    /// Filter: messages in hexadecimal to text, a line each
    Decode {
        /// Write messages in JSON
        #[arg(long)]
        json: bool,
        /// A file, or - for standard input
        #[arg(default_value = "-")]
        input: PathBuf,
    },
    /// Print a script that completes these commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Options that take their value from the next argument, wherever they stand.
const WITH_VALUE: [&str; 17] = [
    "-O",
    "--protocols",
    "--rundir",
    "-t",
    "--timeout",
    "-p",
    "--private-key",
    "-c",
    "--certificate",
    "-C",
    "--ca-cert",
    "-P",
    "--packet-in-format",
    "--interval",
    "--color",
    "--db",
    "--database",
];

/// Moves options that stand before the command behind it, where ovs-ofctl takes them too.
pub(crate) fn commands_options_after_it(all: Vec<OsString>) -> Vec<OsString> {
    let mut place = 1;
    while let Some(argument) = all.get(place).and_then(|argument| argument.to_str()) {
        match argument {
            "--" | "-" | "-h" | "--help" | "-V" | "--version" => return all,
            _ if WITH_VALUE.contains(&argument) => place += 2,
            _ if argument.starts_with('-') => place += 1,
            _ => break,
        }
    }
    let Some(command) = all.get(place).cloned() else { return all };
    let mut moved = vec![all[0].clone(), command];
    moved.extend(all[1..place].iter().cloned());
    moved.extend(all[place + 1..].iter().cloned());
    moved
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let all = ["ofctl"].iter().chain(arguments).map(OsString::from).collect();
        Cli::try_parse_from(commands_options_after_it(all))
    }

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_the_command() {
        let cli = parse(&["-O", "OpenFlow13", "--strict", "del-flows", "br0", "table=1"]).unwrap();
        assert!(matches!(cli.command, Command::DelFlows { strict: true, .. }));
        let cli = parse(&[
            "-p", "k", "-c", "c", "-C", "ca", "--color", "never", "-P", "standard", "monitor", "br0",
        ]);
        assert!(matches!(cli.unwrap().command, Command::Monitor { .. }));
        let cli = parse(&["--sort=in_port", "--rsort", "dump-flows", "br0"]).unwrap();
        let Command::DumpFlows { sort, rsort, .. } = cli.command else { panic!() };
        assert_eq!((sort, rsort), (vec!["in_port".to_owned()], vec!["priority".to_owned()]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for wrong in [
            &["add-flow", "br0"][..],
            &["-O", "OpenFlow12", "encode"],
            &["add-flow", "--hex", "br0", "actions=drop"],
            &["dump-flow", "br0"],
            &["set-frags", "br0", "some"],
        ] {
            assert!(parse(wrong).unwrap_err().use_stderr(), "{wrong:?}");
        }
    }
}
