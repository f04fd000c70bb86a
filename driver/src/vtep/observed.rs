//! What a switch's database tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ofctl::MacAddr;
use ofctl::ovsdb::vtep::{PhysicalSwitch, Vtep};
use ofctl::ovsdb::{Replica, Uuid};

use super::Mark;
use crate::model::{NodeName, PortTag, Vni};

/// Which switch of a database it is, and where its tunnels end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name in the database.
    pub switch: String,
    /// The address of its tunnels' ends.
    pub tunnel: IpAddr,
}

/// Why it is not known which switch it is, or where its tunnels end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhichSwitch {
    /// The database is empty.
    #[error(
        "its hardware_vtep database has no Physical_Switch: the switch's own software makes that row, so turn its VXLAN \
         and OVSDB on"
    )]
    None,
    /// There is more than one.
    #[error(
        "its hardware_vtep database has the switches {}: say which with --vtep-switch NAME, and give each of the others \
         an agent of its own",
        .0.join(", ")
    )]
    Several(Vec<String>),
    /// The one that is wanted is not there.
    #[error("its hardware_vtep database has no Physical_Switch {wanted}, only {}: correct --vtep-switch", .there.join(", "))]
    Other {
        /// Its name.
        wanted: String,
        /// Those that are there.
        there: Vec<String>,
    },
    /// It does not say where its tunnels end.
    #[error(
        "switch {0} tells no address of its tunnels (Physical_Switch.tunnel_ips is empty): configure its VTEP address on \
         the switch"
    )]
    NoTunnelIp(String),
    /// It says several.
    #[error(
        "switch {switch} has the tunnel addresses {}: say with --underlay which of them the other nodes reach",
        listed(.addresses)
    )]
    SeveralTunnelIps {
        /// The switch.
        switch: String,
        /// What it says.
        addresses: Vec<IpAddr>,
    },
    /// It says something else than the configuration.
    #[error(
        "--underlay {underlay} is not where the tunnels of switch {switch} end: it says {} \
         (Physical_Switch.tunnel_ips); leave --underlay out, or correct the one or the other",
        listed(.addresses)
    )]
    OtherUnderlay {
        /// The switch.
        switch: String,
        /// What is configured.
        underlay: IpAddr,
        /// What it says.
        addresses: Vec<IpAddr>,
    },
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Finds the switch, by its name unless it is the only one, and the address of its tunnels' ends.
///
/// # Errors
/// It is not there, or not alone, or what it says of its tunnels is not one address, or not the configured one.
pub fn identify(
    replica: &Replica,
    name: Option<&str>,
    underlay: Option<IpAddr>,
) -> Result<Identity, WhichSwitch> {
    let vtep = Vtep::new(replica);
    let mut there: Vec<String> = vtep.physical_switches().map(|switch| switch.name().to_owned()).collect();
    there.sort_unstable();
    let switch = match (name, there.as_slice()) {
        (_, []) => return Err(WhichSwitch::None),
        (None, [only]) => only.clone(),
        (None, _) => return Err(WhichSwitch::Several(there)),
        (Some(wanted), _) if there.iter().any(|name| name == wanted) => wanted.to_owned(),
        (Some(wanted), _) => return Err(WhichSwitch::Other { wanted: wanted.to_owned(), there }),
    };
    let addresses = vtep.physical_switch(&switch).map(|row| row.tunnel_ips()).unwrap_or_default();
    match (underlay, addresses.as_slice()) {
        (_, []) => Err(WhichSwitch::NoTunnelIp(switch)),
        (None, [tunnel]) => Ok(Identity { switch, tunnel: *tunnel }),
        (None, _) => Err(WhichSwitch::SeveralTunnelIps { switch, addresses }),
        (Some(underlay), told) if told.contains(&underlay) => Ok(Identity { switch, tunnel: underlay }),
        (Some(underlay), _) => Err(WhichSwitch::OtherUnderlay { switch, underlay, addresses }),
    }
}

/// A MAC that the switch has learned in a network of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The port, if the network has only one here.
    pub at: Option<PortTag>,
    /// The address that the switch knows it by.
    pub address: Option<IpAddr>,
    /// The switch is also told that it is elsewhere.
    pub is_told_elsewhere: bool,
}

/// The ports of this switch that are bound to each logical switch.
pub(super) fn bound(vtep: &Vtep<'_>, switch: &PhysicalSwitch<'_>) -> BTreeMap<Uuid, BTreeSet<PortTag>> {
    let mut bound: BTreeMap<Uuid, BTreeSet<PortTag>> = BTreeMap::new();
    for port in vtep.ports(switch) {
        let Ok(name) = port.name().parse::<crate::model::LinkName>() else { continue };
        for (vlan, logical) in port.vlan_bindings() {
            let at = match vlan {
                0 => PortTag { port: name.clone(), vlan: None },
                tag => match u32::from(tag).try_into() {
                    Ok(tag) => PortTag { port: name.clone(), vlan: Some(tag) },
                    // Nothing of ours has it.
                    Err(_) => continue,
                },
            };
            bound.entry(logical).or_default().insert(at);
        }
    }
    bound
}

/// The MACs that the switch has learned in networks of ours that have a port here.
pub fn local_macs(replica: &Replica, node: &NodeName, switch: &str) -> BTreeMap<(Vni, MacAddr), Local> {
    let vtep = Vtep::new(replica);
    let Some(physical) = vtep.physical_switch(switch) else { return BTreeMap::new() };
    let bound = bound(&vtep, &physical);
    let is_ours = |text| Mark::read(text).is_some_and(|mark| mark.node == *node);
    let ours = vtep.logical_switches().filter(|logical| is_ours(logical.description()));
    let networks: BTreeMap<Uuid, (Vni, Option<&PortTag>)> = ours
        .filter_map(|logical| {
            let ports = bound.get(&logical.uuid)?;
            let only = if ports.len() == 1 { ports.first() } else { None };
            Some((logical.uuid, (logical.vni()?.try_into().ok()?, only)))
        })
        .collect();
    let told: BTreeSet<(Uuid, MacAddr)> =
        vtep.remote_macs().map(|row| (row.logical_switch, row.mac)).collect();
    let mut locals: BTreeMap<(Vni, MacAddr), Local> = BTreeMap::new();
    for row in vtep.local_macs() {
        let Some((vni, at)) = networks.get(&row.logical_switch) else { continue };
        let local = locals.entry((*vni, row.mac)).or_insert_with(|| Local {
            at: at.cloned(),
            address: None,
            is_told_elsewhere: told.contains(&(row.logical_switch, row.mac)),
        });
        local.address = local.address.or(row.ip);
    }
    locals
}

/// What the switch says that it could not do.
pub fn faults(replica: &Replica, switch: &str) -> Vec<String> {
    let physical = Vtep::new(replica).physical_switch(switch);
    physical.iter().flat_map(PhysicalSwitch::faults).map(str::to_owned).collect()
}

/// What the switch says that it could not do with a port; none: it has no such port.
pub fn port_faults(replica: &Replica, switch: &str, at: &PortTag) -> Option<Vec<String>> {
    let vtep = Vtep::new(replica);
    let port = vtep.ports(&vtep.physical_switch(switch)?).find(|port| port.name() == at.port.as_str())?;
    Some(port.faults().into_iter().map(str::to_owned).collect())
}

/// The logical switches that are not this node's.
pub fn others(replica: &Replica, node: &NodeName) -> Vec<String> {
    let is_ours = |text| Mark::read(text).is_some_and(|mark| mark.node == *node);
    let vtep = Vtep::new(replica);
    let others = vtep.logical_switches().filter(|logical| !is_ours(logical.description()));
    let mut names: Vec<String> = others.map(|logical| logical.name().to_owned()).collect();
    names.sort_unstable();
    names
}
