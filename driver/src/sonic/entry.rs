//! The entries of CONFIG_DB: a table, a key in it, and fields.

use std::collections::BTreeMap;
use std::fmt;

/// The fields of an entry, by name.
pub type Fields = BTreeMap<String, String>;

/// The key of the hash that lists the entries that we wrote.
pub const OURS: &str = "SLUICE|owned";

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident $name:literal)*) => {
        /// A table of CONFIG_DB. Those up to [`Table::VlanMember`] are written, in this order; the others say what a
        /// port or VLAN is used for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Table { $($(#[$doc])* $variant),* }

        impl Table {
            /// All of them.
            pub const ALL: &'static [Table] = &[$(Table::$variant),*];

            /// Its name in the database.
            pub const fn name(self) -> &'static str {
                match self { $(Table::$variant => $name),* }
            }
        }
    };
}

tables! {
    /// This switch's VTEP: `src_ip`.
    VxlanTunnel "VXLAN_TUNNEL"
    /// Which tunnel serves remote VTEPs that are told at run time: `source_vtep`. With it the VXLAN links do not learn.
    VxlanEvpnNvo "VXLAN_EVPN_NVO"
    /// A VLAN: `vlanid`.
    Vlan "VLAN"
    /// Which VNI a VLAN has in a tunnel: `vlan`, `vni`.
    VxlanTunnelMap "VXLAN_TUNNEL_MAP"
    /// Whether the switch answers ARP and ND in a VLAN: `suppress`.
    SuppressVlanNeigh "SUPPRESS_VLAN_NEIGH"
    /// A port of a VLAN: `tagging_mode`.
    VlanMember "VLAN_MEMBER"
    /// Addresses of a VLAN.
    VlanInterface "VLAN_INTERFACE"
    /// Routed networks over a tunnel.
    Vnet "VNET"
    /// The ports.
    Port "PORT"
    /// The link aggregations.
    PortChannel "PORTCHANNEL"
    /// The ports of a link aggregation.
    PortChannelMember "PORTCHANNEL_MEMBER"
    /// Routed ports, and their addresses.
    Interface "INTERFACE"
    /// Routed link aggregations, and their addresses.
    PortChannelInterface "PORTCHANNEL_INTERFACE"
}

/// The key of an entry, such as `VLAN_MEMBER|Vlan100|Ethernet4`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The key in it, of one part or of several with `|` between.
    pub name: String,
}

impl Key {
    /// The key with this name.
    pub fn new(table: Table, name: impl Into<String>) -> Key {
        Key { table, name: name.into() }
    }

    /// The key as the database has it; none for a table that does not concern us.
    pub fn parse(text: &str) -> Option<Key> {
        let (table, name) = text.split_once('|')?;
        let table = Table::ALL.iter().find(|known| known.name() == table)?;
        (!name.is_empty()).then(|| Key::new(*table, name))
    }

    /// The part before the first `|` of the name.
    pub fn first(&self) -> &str {
        self.name.split_once('|').map_or(&self.name, |(first, _)| first)
    }

    /// The part after the first `|` of the name.
    pub fn second(&self) -> Option<&str> {
        self.name.split_once('|').map(|(_, second)| second)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}|{}", self.table.name(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in ["VLAN|Vlan100", "VLAN_MEMBER|Vlan100|Ethernet4", "VXLAN_TUNNEL_MAP|sluice|map_7_Vlan100"]
        {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        let member = Key::parse("VLAN_MEMBER|Vlan100|Ethernet4").unwrap();
        assert_eq!((member.first(), member.second()), ("Vlan100", Some("Ethernet4")));
        for other in ["DEVICE_METADATA|localhost", "VLAN", "VLAN|", "CONFIG_DB_INITIALIZED", OURS] {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }
}
