//! What a bridge and a port should be.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::MacAddr;

/// What a bridge does without a controller (`Bridge.fail_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailMode {
    /// Nothing but its flows.
    Secure,
    /// It learns and forwards as an ordinary switch.
    Standalone,
}

impl FailMode {
    /// The database's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailMode::Secure => "secure",
            FailMode::Standalone => "standalone",
        }
    }
}

/// The word is not one of this column's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is none of {allowed}")]
pub struct UnknownWord {
    word: String,
    allowed: &'static str,
}

impl FromStr for FailMode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "secure" => Ok(FailMode::Secure),
            "standalone" => Ok(FailMode::Standalone),
            _ => Err(UnknownWord { word: word.to_owned(), allowed: "secure, standalone" }),
        }
    }
}

impl fmt::Display for FailMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// How a port treats 802.1Q tags (`Port.vlan_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VlanMode {
    /// One VLAN, untagged.
    Access,
    /// Several, tagged.
    Trunk,
    /// As trunk, with `tag` accepted untagged and sent tagged.
    NativeTagged,
    /// As trunk, with `tag` untagged.
    NativeUntagged,
    /// 802.1ad customer tags inside `tag`.
    Dot1qTunnel,
}

impl VlanMode {
    /// The database's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            VlanMode::Access => "access",
            VlanMode::Trunk => "trunk",
            VlanMode::NativeTagged => "native-tagged",
            VlanMode::NativeUntagged => "native-untagged",
            VlanMode::Dot1qTunnel => "dot1q-tunnel",
        }
    }
}

impl fmt::Display for VlanMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A bridge as it should be. A member left at none, or empty, is left as it is.
///
/// `external_ids` and `other_config` are kept key by key: the keys of others stay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BridgeSpec {
    /// Its name, which is also its local port's.
    pub name: String,
    /// `system` or `netdev`.
    pub datapath_type: Option<String>,
    /// What it does without a controller.
    pub fail_mode: Option<FailMode>,
    /// Marks for the control plane.
    pub external_ids: BTreeMap<String, String>,
    /// Settings, as `hwaddr`.
    pub other_config: BTreeMap<String, String>,
    /// OpenFlow versions that its sockets speak, as `OpenFlow13`.
    pub protocols: Vec<String>,
}

impl BridgeSpec {
    /// A bridge of this name.
    pub fn new(name: impl Into<String>) -> BridgeSpec {
        BridgeSpec { name: name.into(), ..BridgeSpec::default() }
    }

    /// Its datapath, `system` or `netdev`.
    #[must_use]
    pub fn datapath_type(mut self, datapath_type: impl Into<String>) -> BridgeSpec {
        self.datapath_type = Some(datapath_type.into());
        self
    }

    /// What it does without a controller.
    #[must_use]
    pub fn fail_mode(mut self, fail_mode: FailMode) -> BridgeSpec {
        self.fail_mode = Some(fail_mode);
        self
    }

    /// One more mark.
    #[must_use]
    pub fn external_id(mut self, key: impl Into<String>, value: impl Into<String>) -> BridgeSpec {
        self.external_ids.insert(key.into(), value.into());
        self
    }

    /// One more setting.
    #[must_use]
    pub fn other_config(mut self, key: impl Into<String>, value: impl Into<String>) -> BridgeSpec {
        self.other_config.insert(key.into(), value.into());
        self
    }
}

/// A port of one interface as it should be.
///
/// The interface's type and options are exactly these. `external_ids` (of the port and of the interface
/// alike) and `other_config` are kept key by key: the keys of others stay. Every other member left at none,
/// or empty, is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortSpec {
    /// The bridge that it is a port of.
    pub bridge: String,
    /// Its name, which is also its interface's.
    pub name: String,
    /// The interface's type: empty for a device that exists, `internal`, `patch`, `vxlan`, `geneve`, …
    pub interface_type: String,
    /// The interface's options, as `remote_ip`.
    pub options: BTreeMap<String, String>,
    /// The OpenFlow port number wanted.
    pub ofport_request: Option<u16>,
    /// Marks for the control plane, put on the port and on its interface.
    pub external_ids: BTreeMap<String, String>,
    /// Settings of the interface.
    pub other_config: BTreeMap<String, String>,
    /// The VLAN of an access port.
    pub tag: Option<u16>,
    /// The VLANs of a trunk port.
    pub trunks: Vec<u16>,
    /// How it treats tags.
    pub vlan_mode: Option<VlanMode>,
    /// The MTU that ovs-vswitchd should set.
    pub mtu_request: Option<u32>,
    /// The MAC address of an internal interface.
    pub mac: Option<MacAddr>,
}

impl PortSpec {
    /// A port for a device that exists.
    pub fn new(bridge: impl Into<String>, name: impl Into<String>) -> PortSpec {
        PortSpec { bridge: bridge.into(), name: name.into(), ..PortSpec::default() }
    }

    /// The interface's type.
    #[must_use]
    pub fn interface_type(mut self, interface_type: impl Into<String>) -> PortSpec {
        self.interface_type = interface_type.into();
        self
    }

    /// One more option of the interface.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> PortSpec {
        self.options.insert(key.into(), value.into());
        self
    }

    /// One more mark.
    #[must_use]
    pub fn external_id(mut self, key: impl Into<String>, value: impl Into<String>) -> PortSpec {
        self.external_ids.insert(key.into(), value.into());
        self
    }

    /// The OpenFlow port number wanted.
    #[must_use]
    pub fn ofport_request(mut self, ofport: u16) -> PortSpec {
        self.ofport_request = Some(ofport);
        self
    }

    /// The MTU that ovs-vswitchd should set.
    #[must_use]
    pub fn mtu_request(mut self, mtu: u32) -> PortSpec {
        self.mtu_request = Some(mtu);
        self
    }

    /// The VLANs that it carries, tagged.
    #[must_use]
    pub fn trunks(mut self, vlans: impl IntoIterator<Item = u16>) -> PortSpec {
        self.trunks = vlans.into_iter().collect();
        self
    }

    /// The VLAN that it is in, untagged.
    #[must_use]
    pub fn tag(mut self, vlan: u16) -> PortSpec {
        self.tag = Some(vlan);
        self
    }

    /// How it treats tags.
    #[must_use]
    pub fn vlan_mode(mut self, mode: VlanMode) -> PortSpec {
        self.vlan_mode = Some(mode);
        self
    }

    /// The MAC address of an internal interface.
    #[must_use]
    pub fn mac(mut self, mac: MacAddr) -> PortSpec {
        self.mac = Some(mac);
        self
    }

    /// One more setting of the interface.
    #[must_use]
    pub fn other_config(mut self, key: impl Into<String>, value: impl Into<String>) -> PortSpec {
        self.other_config.insert(key.into(), value.into());
        self
    }
}
