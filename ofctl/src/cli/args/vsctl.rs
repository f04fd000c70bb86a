//! `vsctl`: what ovs-vsctl does, over OVSDB.

use clap::{Args, Subcommand};

/// A database, and what to do with it.
#[derive(Debug, Args)]
pub(crate) struct Vsctl {
    /// Where ovsdb-server listens: unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT] [default: RUNDIR/db.sock]
    #[arg(long, global = true, value_name = "TARGET")]
    pub(crate) db: Option<String>,
    /// The database
    #[arg(long, global = true, default_value = "Open_vSwitch")]
    pub(crate) database: String,
    /// Do not wait until ovs-vswitchd has put a change into effect
    #[arg(long, global = true)]
    pub(crate) no_wait: bool,
    /// Print the operations that would be sent, one a line, and send none
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What is to be made may be there already
    #[arg(long, global = true)]
    pub(crate) may_exist: bool,
    /// What is to be deleted or looked at need not be there
    #[arg(long, global = true)]
    pub(crate) if_exists: bool,
    #[command(subcommand)]
    pub(crate) command: VsctlCommand,
}

/// What to do with a database.
#[derive(Debug, Subcommand)]
pub(crate) enum VsctlCommand {
    /// Print bridges, ports and interfaces
    Show,
    /// Make a bridge
    AddBr {
        /// Its name
        bridge: String,
        /// Its datapath: system or netdev
        #[arg(long, value_name = "TYPE")]
        datapath_type: Option<String>,
    },
    /// Delete a bridge and all its ports
    DelBr {
        /// Its name
        bridge: String,
    },
    /// Print the bridges' names
    ListBr,
    /// Exits with 2 if there is no such bridge
    BrExists {
        /// Its name
        bridge: String,
    },
    /// Make a port
    ///
    /// As in: ofctl vsctl add-port br0 vx0 --type vxlan --option remote_ip=flow --option key=flow
    AddPort {
        /// The bridge
        bridge: String,
        /// The port's name, and its interface's
        port: String,
        /// The interface's type
        #[arg(long = "type", value_name = "TYPE")]
        interface_type: Option<String>,
        /// One of the interface's options
        #[arg(long = "option", value_name = "KEY=VALUE")]
        options: Vec<String>,
        /// A mark
        #[arg(long = "external-id", value_name = "KEY=VALUE")]
        external_ids: Vec<String>,
        /// The OpenFlow number to ask for
        #[arg(long, value_name = "NUMBER")]
        ofport: Option<u16>,
        /// The VLAN of an access port
        #[arg(long, value_name = "VLAN", value_parser = clap::value_parser!(u16).range(..4096))]
        tag: Option<u16>,
    },
    /// Delete a port
    DelPort {
        /// The bridge, if the port must be in this one, and the port
        #[arg(required = true, num_args = 1..=2, value_names = ["BRIDGE", "PORT"])]
        names: Vec<String>,
    },
    /// Print the names of a bridge's ports
    ListPorts {
        /// The bridge
        bridge: String,
    },
    /// Print the bridge that a port is in
    PortToBr {
        /// The port
        port: String,
    },
    /// Print a table's rows, or those that are named
    List {
        /// The table
        table: String,
        /// Names or UUIDs of rows, or . for the only one
        records: Vec<String>,
        /// Only these columns
        #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
        columns: Vec<String>,
    },
    /// Print columns of a row
    Get {
        /// The table
        table: String,
        /// A row's name or UUID, or . for the only one
        record: String,
        /// Columns, or a key of a map
        #[arg(required = true, value_name = "COLUMN[:KEY]")]
        columns: Vec<String>,
    },
    /// Set columns of a row
    ///
    /// As in: ofctl vsctl set bridge br0 fail_mode=secure other_config:hwaddr=02:00:00:00:00:01
    Set {
        /// The table
        table: String,
        /// A row's name or UUID, or . for the only one
        record: String,
        /// What to set
        #[arg(required = true, value_name = "COLUMN[:KEY]=VALUE")]
        settings: Vec<String>,
    },
    /// Add elements to a set or a map
    Add {
        /// The table
        table: String,
        /// A row's name or UUID, or . for the only one
        record: String,
        /// The column
        column: String,
        /// Elements
        #[arg(required = true, value_name = "[KEY=]VALUE")]
        values: Vec<String>,
    },
    /// Take elements from a set or a map
    Remove {
        /// The table
        table: String,
        /// A row's name or UUID, or . for the only one
        record: String,
        /// The column
        column: String,
        /// Elements; of a map, keys
        #[arg(required = true, value_name = "VALUE|KEY")]
        values: Vec<String>,
    },
    /// Empty columns of a row
    Clear {
        /// The table
        table: String,
        /// A row's name or UUID, or . for the only one
        record: String,
        /// Columns
        #[arg(required = true)]
        columns: Vec<String>,
    },
}
