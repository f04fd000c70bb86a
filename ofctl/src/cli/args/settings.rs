//! Commands that set what is not a flow or a group: ports, meters, tunnel options, roles.

use clap::{Subcommand, ValueEnum};

use super::Dry;

/// What to set.
#[derive(Debug, Subcommand)]
pub(crate) enum Setting {
    /// Change how a port behaves
    ModPort {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The port, by number or name
        port: String,
        /// What to change
        change: PortChange,
        #[command(flatten)]
        dry: Dry,
    },
    /// Change how a table behaves, which OpenFlow 1.3 does by flows: this says which
    ModTable {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The table, or all
        table: String,
        /// controller, continue, drop, evict, noevict, vacancy:LOW,HIGH or novacancy
        setting: String,
    },
    /// Add a meter
    ///
    /// As in: ofctl add-meter br0 meter=1,kbps,band=type=drop,rate=1000
    AddMeter {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The meter
        meter: String,
        #[command(flatten)]
        dry: Dry,
    },
    /// Replace a meter
    ModMeter {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The meter
        meter: String,
        #[command(flatten)]
        dry: Dry,
    },
    /// Delete a meter, by meter=N, or all of them
    #[command(visible_alias = "del-meter")]
    DelMeters {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// Which meter
        meter: Option<String>,
        #[command(flatten)]
        dry: Dry,
    },
    /// Map tunnel options to tun_metadata fields
    ///
    /// As in: ofctl add-tlv-map br0 "{class=0x0105,type=1,len=4}->tun_metadata0"
    AddTlvMap {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// "{class=C,type=T,len=L}->tun_metadataN", several separated by commas
        map: String,
        #[command(flatten)]
        dry: Dry,
    },
    /// Unmap tunnel options; all of them if none is given
    DelTlvMap {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// "{class=C,type=T,len=L}->tun_metadataN", several separated by commas
        map: Option<String>,
        #[command(flatten)]
        dry: Dry,
    },
    /// Forget the connections of a zone
    CtFlushZone {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The zone
        zone: u16,
        #[command(flatten)]
        dry: Dry,
    },
    /// Forget connections: all, those of a zone, those of addresses and ports
    ///
    /// As in: ofctl ct-flush br0 zone=5 ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80
    CtFlush {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// zone=N, then what their packets look like, then what the answers look like
        #[arg(num_args = 0..=3)]
        which: Vec<String>,
        #[command(flatten)]
        dry: Dry,
    },
    /// Ask for this connection's role, or ask the switch to take another
    ///
    /// The role is the connection's and ends with it; --hold keeps the connection until the switch ends it.
    Role {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// The wanted role; without it the switch says which one it gave
        role: Option<WantedRole>,
        /// Number of this election; the switch refuses one that is older than the last
        #[arg(long, default_value_t = 0)]
        generation: u64,
        /// Keep the connection, and so the role
        #[arg(long)]
        hold: bool,
        #[command(flatten)]
        dry: Dry,
    },
    /// Say which messages to hear unasked, and print them
    ///
    /// Masks of reasons, for a primary or equal controller and for a secondary, as in
    /// "packet_in=0x3/0 port_status=7/7 flow_removed=0xf/0". What is left out stays as the switch has it.
    SetAsync {
        /// A bridge's name, unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]
        switch: String,
        /// packet_in=MASK[/MASK], port_status=MASK[/MASK], flow_removed=MASK[/MASK]
        masks: Vec<String>,
        /// Print what comes, until the switch ends the connection
        #[arg(long)]
        listen: bool,
        /// With --listen: print when it came, too
        #[arg(long, requires = "listen")]
        timestamp: bool,
        #[command(flatten)]
        dry: Dry,
    },
}

/// Changes of a port, by ovs-ofctl's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortChange {
    /// Administratively up
    Up,
    /// Administratively down
    Down,
    /// Spanning tree, which OpenFlow 1.3 cannot say
    Stp,
    /// No spanning tree, which OpenFlow 1.3 cannot say
    NoStp,
    /// Packets that come are taken
    Receive,
    /// Packets that come are dropped
    NoReceive,
    /// Spanning tree packets that come are taken, which OpenFlow 1.3 cannot say
    ReceiveStp,
    /// Spanning tree packets that come are dropped, which OpenFlow 1.3 cannot say
    NoReceiveStp,
    /// The port takes part in floods, which OpenFlow 1.3 cannot say
    Flood,
    /// The port takes no part in floods, which OpenFlow 1.3 cannot say
    NoFlood,
    /// Packets for the port are sent
    Forward,
    /// Packets for the port are dropped
    NoForward,
    /// Packets that miss are sent to the controller
    PacketIn,
    /// Packets that miss are not sent to the controller
    NoPacketIn,
}

/// Roles of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WantedRole {
    /// Changes things, as others may
    Equal,
    /// Changes things, and others become secondary
    #[value(alias = "master")]
    Primary,
    /// Only looks
    #[value(alias = "slave")]
    Secondary,
}
