//! What a change does to what is observed: as much of the kernel's behaviour as [`difference`](super::difference)
//! relies on.

use std::collections::{BTreeMap, BTreeSet};

use ofctl::MacAddr;

use super::change::Change;
use super::observed::{
    BridgeEntry, Learned, Link, LinkKind, Neighbour, Observed, PortSettings, VlanMembership, VtepEntry, Vxlan,
};
use crate::model::LinkName;

/// The MAC under which a VXLAN link keeps its head-end replication list.
pub(super) const FLOOD: MacAddr = MacAddr([0; 6]);

/// A change that the kernel would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {change}: {reason}")]
pub struct Impossible {
    change: Box<Change>,
    reason: &'static str,
}

const MISSING: &str = "there is no such link";

impl Observed {
    /// Makes this what the kernel would show after a change.
    ///
    /// # Errors
    /// The kernel would refuse the change; nothing is changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), Impossible> {
        self.carry_out(change).map_err(|reason| Impossible { change: Box::new(change.clone()), reason })
    }

    fn carry_out(&mut self, change: &Change) -> Result<(), &'static str> {
        match change {
            Change::CreateBridge { link, alias, vlan_filtering } => {
                self.create(link, LinkKind::Bridge { vlan_filtering: *vlan_filtering }, alias, 1500)
            }
            Change::CreateVxlan { link, alias, vxlan, mtu } => {
                if self.vxlan_links().any(|(_, other)| other.key() == vxlan.key()) {
                    return Err("another VXLAN link has its VNI and port");
                }
                self.create(link, LinkKind::Vxlan(*vxlan), alias, u32::from(*mtu))
            }
            Change::CreateVlan { link, alias, parent, vlan } => {
                let mtu = self.links.get(parent).ok_or(MISSING)?.mtu;
                let kind = LinkKind::Vlan { parent: Some(parent.clone()), vlan: *vlan };
                if self.links.values().any(|other| other.kind == kind) {
                    return Err("another link is that VLAN");
                }
                self.create(link, kind, alias, mtu)
            }
            Change::DeleteLink { link } => {
                self.links.get(link).ok_or(MISSING)?;
                self.delete(link);
                Ok(())
            }
            Change::SetMtu { link, mtu } => {
                self.link_mut(link)?.mtu = u32::from(*mtu);
                Ok(())
            }
            Change::SetUp { link } => {
                if let LinkKind::Vlan { parent: Some(parent), .. } =
                    &self.links.get(link).ok_or(MISSING)?.kind
                    && !self.links.get(parent).is_some_and(|parent| parent.up)
                {
                    return Err("the link that carries it is down");
                }
                let link = self.link_mut(link)?;
                (link.up, link.running) = (true, true);
                Ok(())
            }
            Change::Join { link, bridge } => self.join(link, bridge),
            Change::Leave { link, .. } => {
                self.links.get(link).ok_or(MISSING)?;
                self.release(link);
                Ok(())
            }
            Change::SetPort { link, settings } => {
                let port = self.link_mut(link)?.port.as_mut().ok_or("it is in no bridge")?;
                port.learning = settings.learning;
                if let (Some(_), Some(suppress)) = (port.neigh_suppress, settings.neigh_suppress) {
                    port.neigh_suppress = Some(suppress);
                }
                Ok(())
            }
            Change::AddVlan { link, vlan, membership } => {
                let port = self.link_mut(link)?;
                port.port.ok_or("it is in no bridge")?;
                if membership.pvid {
                    port.vlans.values_mut().for_each(|other| other.pvid = false);
                }
                port.vlans.insert(*vlan, *membership);
                Ok(())
            }
            Change::RemoveVlan { link, vlan } => {
                let port = self.link_mut(link)?;
                port.vlans.remove(vlan);
                let link = link.clone();
                self.forget_entries(|(_, entry_vlan), entry| {
                    entry.port == link && *entry_vlan == Some(*vlan)
                });
                Ok(())
            }
            Change::AddFlood { vxlan, vtep } => {
                let entry = VtepEntry { external: false, permanent: true, offloaded: false };
                self.vtep_table(vxlan)?.entry(FLOOD).or_default().entry(*vtep).or_insert(entry);
                Ok(())
            }
            Change::RemoveFlood { vxlan, vtep } => self.remove_vtep(vxlan, FLOOD, *vtep),
            Change::RemoveVtep { vxlan, mac, vtep } => self.remove_vtep(vxlan, *mac, *vtep),
            Change::SetRemote { vxlan, mac, vlan, vtep } => {
                let vteps = self.vtep_table(vxlan)?.entry(*mac).or_default();
                if !vteps.contains_key(vtep) {
                    // NLM_F_REPLACE changes the first destination and leaves further ones.
                    vteps.pop_first();
                }
                vteps.insert(*vtep, VtepEntry { external: true, permanent: true, offloaded: false });
                if let Some(bridge) = self.links.get(vxlan).and_then(|link| link.master.clone()) {
                    let entry =
                        BridgeEntry { port: vxlan.clone(), learned: Learned::Externally, offloaded: false };
                    self.bridge_entries.entry(bridge).or_default().insert((*mac, *vlan), entry);
                }
                Ok(())
            }
            Change::RemoveBridgeEntry { vxlan, mac, vlan } => {
                self.forget_entries(|key, entry| *key == (*mac, *vlan) && entry.port == *vxlan);
                Ok(())
            }
            Change::SetNeighbour { link, address, mac } => {
                self.links.get(link).ok_or(MISSING)?;
                let neighbour = Neighbour { mac: *mac, permanent: true, external: true };
                self.neighbours.entry(link.clone()).or_default().insert(*address, neighbour);
                Ok(())
            }
            Change::RemoveNeighbour { link, address } => {
                if let Some(neighbours) = self.neighbours.get_mut(link) {
                    neighbours.remove(address);
                }
                Ok(())
            }
        }
    }

    /// Every VXLAN link.
    pub(super) fn vxlan_links(&self) -> impl Iterator<Item = (&LinkName, &Vxlan)> {
        self.links.iter().filter_map(|(name, link)| match &link.kind {
            LinkKind::Vxlan(vxlan) => Some((name, vxlan)),
            _ => None,
        })
    }

    fn link_mut(&mut self, link: &LinkName) -> Result<&mut Link, &'static str> {
        self.links.get_mut(link).ok_or(MISSING)
    }

    fn create(&mut self, name: &LinkName, kind: LinkKind, alias: &str, mtu: u32) -> Result<(), &'static str> {
        if self.links.contains_key(name) {
            return Err("a link has that name");
        }
        let index = self.links.values().map(|link| link.index).max().unwrap_or(0) + 1;
        let link = Link { alias: Some(alias.to_owned()), mtu, ..Link::new(index, kind) };
        self.links.insert(name.clone(), link);
        Ok(())
    }

    fn delete(&mut self, name: &LinkName) {
        let ports: Vec<LinkName> = self.ports_of(name).cloned().collect();
        ports.iter().for_each(|port| self.release(port));
        self.release(name);
        self.links.remove(name);
        self.bridge_entries.remove(name);
        self.vtep_entries.remove(name);
        self.neighbours.remove(name);
        let carried: Vec<LinkName> = self
            .links
            .iter()
            .filter(
                |(_, link)| matches!(&link.kind, LinkKind::Vlan { parent: Some(parent), .. } if parent == name),
            )
            .map(|(carried, _)| carried.clone())
            .collect();
        carried.iter().for_each(|carried| self.delete(carried));
    }

    /// The links whose master is a link.
    pub(super) fn ports_of<'a>(&'a self, master: &'a LinkName) -> impl Iterator<Item = &'a LinkName> {
        self.links.iter().filter(move |(_, link)| link.master.as_ref() == Some(master)).map(|(name, _)| name)
    }

    fn join(&mut self, name: &LinkName, bridge: &LinkName) -> Result<(), &'static str> {
        if !matches!(self.links.get(bridge).ok_or(MISSING)?.kind, LinkKind::Bridge { .. }) {
            return Err("that is no bridge");
        }
        let link = self.links.get(name).ok_or(MISSING)?;
        if matches!(link.kind, LinkKind::Bridge { .. }) {
            return Err("a bridge cannot be a port");
        }
        if link.master.as_ref() == Some(bridge) {
            return Ok(());
        }
        self.release(name);
        let link = self.link_mut(name)?;
        link.master = Some(bridge.clone());
        link.port = Some(PortSettings { learning: true, neigh_suppress: Some(false) });
        Ok(())
    }

    /// Takes a link from its master.
    fn release(&mut self, name: &LinkName) {
        if let Some(link) = self.links.get_mut(name) {
            (link.master, link.port) = (None, None);
            link.vlans.clear();
        }
        self.forget_entries(|_, entry| entry.port == *name);
    }

    fn forget_entries(
        &mut self,
        mut gone: impl FnMut(&(MacAddr, Option<crate::model::VlanId>), &BridgeEntry) -> bool,
    ) {
        for entries in self.bridge_entries.values_mut() {
            entries.retain(|key, entry| !gone(key, entry));
        }
    }

    fn vtep_table(
        &mut self,
        vxlan: &LinkName,
    ) -> Result<&mut BTreeMap<MacAddr, BTreeMap<std::net::IpAddr, VtepEntry>>, &'static str> {
        match self.links.get(vxlan).ok_or(MISSING)?.kind {
            LinkKind::Vxlan(_) => Ok(self.vtep_entries.entry(vxlan.clone()).or_default()),
            _ => Err("it is no VXLAN link"),
        }
    }

    fn remove_vtep(
        &mut self,
        vxlan: &LinkName,
        mac: MacAddr,
        vtep: std::net::IpAddr,
    ) -> Result<(), &'static str> {
        let table = self.vtep_table(vxlan)?;
        if let Some(vteps) = table.get_mut(&mac) {
            vteps.remove(&vtep);
            if vteps.is_empty() {
                table.remove(&mac);
            }
        }
        Ok(())
    }
}

impl Link {
    /// A link that is down, with nothing set.
    pub(super) fn new(index: u32, kind: LinkKind) -> Link {
        Link {
            index,
            kind,
            alias: None,
            mtu: 1500,
            up: false,
            running: false,
            master: None,
            port: None,
            vlans: BTreeMap::new(),
            addresses: BTreeSet::new(),
        }
    }
}

impl VlanMembership {
    /// Frames of the VLAN are untagged both ways.
    pub(super) const ACCESS: VlanMembership = VlanMembership { pvid: true, untagged: true };
    /// Frames of the VLAN are tagged both ways.
    pub(super) const TAGGED: VlanMembership = VlanMembership { pvid: false, untagged: false };
}
