//! Commands that ask the switch for what it holds besides flows: groups, meters, queues, counters, options.

use clap::{Args, Subcommand};

/// A switch that is asked, and how its answer is printed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Asked {
    /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
    pub(crate) switch: String,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to ask for.
#[derive(Debug, Subcommand)]
pub(crate) enum Read {
    /// Print what each table can match and do
    DumpTableFeatures {
        #[command(flatten)]
        asked: Asked,
    },
    /// Print the ports' counters
    DumpPorts {
        #[command(flatten)]
        asked: Asked,
        /// Only this port, by number or name
        port: Option<String>,
    },
    /// Print the queues' counters
    QueueStats {
        #[command(flatten)]
        asked: Asked,
        /// Only this port, by number or name
        port: Option<String>,
        /// Only this queue
        #[arg(requires = "port")]
        queue: Option<u32>,
    },
    /// Print how the queues are set up
    QueueGetConfig {
        #[command(flatten)]
        asked: Asked,
        /// Only this port, by number or name
        port: Option<String>,
    },
    /// Print the groups
    DumpGroups {
        #[command(flatten)]
        asked: Asked,
        /// Only this group, as 7 or group_id=7
        group: Option<String>,
    },
    /// Print the groups' counters
    DumpGroupStats {
        #[command(flatten)]
        asked: Asked,
        /// Only this group, as 7 or group_id=7
        group: Option<String>,
    },
    /// Print what groups can do
    DumpGroupFeatures {
        #[command(flatten)]
        asked: Asked,
    },
    /// Print the meters
    #[command(visible_alias = "dump-meter")]
    DumpMeters {
        #[command(flatten)]
        asked: Asked,
        /// Only this meter, as 7 or meter=7
        meter: Option<String>,
    },
    /// Print the meters' counters
    MeterStats {
        #[command(flatten)]
        asked: Asked,
        /// Only this meter, as 7 or meter=7
        meter: Option<String>,
    },
    /// Print what meters can do
    MeterFeatures {
        #[command(flatten)]
        asked: Asked,
    },
    /// Print which tunnel options the tun_metadata fields hold
    DumpTlvMap {
        #[command(flatten)]
        asked: Asked,
    },
    /// Print what the bridge's IPFIX exporter has done
    DumpIpfixBridge {
        #[command(flatten)]
        asked: Asked,
    },
    /// Print what the IPFIX exporters of sample actions have done
    DumpIpfixFlow {
        #[command(flatten)]
        asked: Asked,
    },
}

impl Read {
    /// Whom it asks, and how the answer is printed.
    pub(crate) fn asked(&self) -> &Asked {
        match self {
            Read::DumpTableFeatures { asked }
            | Read::DumpPorts { asked, .. }
            | Read::QueueStats { asked, .. }
            | Read::QueueGetConfig { asked, .. }
            | Read::DumpGroups { asked, .. }
            | Read::DumpGroupStats { asked, .. }
            | Read::DumpGroupFeatures { asked }
            | Read::DumpMeters { asked, .. }
            | Read::MeterStats { asked, .. }
            | Read::MeterFeatures { asked }
            | Read::DumpTlvMap { asked }
            | Read::DumpIpfixBridge { asked }
            | Read::DumpIpfixFlow { asked } => asked,
        }
    }
}
