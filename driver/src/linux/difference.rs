//! From what is to what shall be.
//!
//! Three passes: links of ours that stand in the way go, since two cannot have one name or VNI; then all that is
//! missing is made, tables before the ports whose packets use them; then what is left over goes. Nothing that is
//! right is touched, so that a restarted agent changes nothing at all.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Contested, Difference};
use super::desired::{ALIAS_PREFIX, Desired, Form, Member, UNFINISHED, VXLAN_PORT};
use super::effect::FLOOD;
use super::observed::{Learned, Link, LinkKind, Observed, PortSettings, VlanMembership, Vxlan};
use super::resolve::{Network, Port, Resolved, resolve};
use crate::model::{LinkName, VlanId};

/// What has to happen for a switch to be as desired.
pub fn difference(desired: &Desired, observed: &Observed) -> Difference {
    let Resolved { networks, refusals } = resolve(desired, observed);
    let mut steps =
        Steps { desired, now: observed.clone(), out: Difference { refusals, ..Difference::default() } };
    let links_are_ours = !matches!(desired.form, Form::Sonic { .. });
    steps.clear_the_way(&networks, links_are_ours);
    for network in &networks {
        if links_are_ours {
            steps.make_links(network);
        }
        steps.fill_tables(network);
        if links_are_ours {
            steps.join_ports(network);
        }
    }
    for network in &networks {
        steps.empty_tables(network);
    }
    steps.remove_links(&networks, links_are_ours);
    steps.out
}

struct Steps<'a> {
    desired: &'a Desired,
    /// What the kernel will show after the changes so far.
    now: Observed,
    out: Difference,
}

impl Steps<'_> {
    fn step(&mut self, change: Change) {
        let done = self.now.apply(&change);
        debug_assert!(done.is_ok(), "{done:?}");
        self.out.changes.push(change);
    }

    fn vxlan(&self, network: &Network) -> Vxlan {
        Vxlan {
            vni: network.vni.get(),
            local: Some(self.desired.vtep),
            port: VXLAN_PORT,
            learning: false,
            zero_checksum_rx6: self.desired.vtep.is_ipv6(),
        }
    }

    /// What every link that the networks need has to be.
    fn wanted(&self, networks: &[Network]) -> BTreeMap<LinkName, LinkKind> {
        let vlan_filtering = self.desired.form.has_vlans();
        let mut wanted = BTreeMap::new();
        for network in networks {
            wanted.insert(network.bridge.clone(), LinkKind::Bridge { vlan_filtering });
            wanted.insert(network.vxlan.clone(), LinkKind::Vxlan(self.vxlan(network)));
            wanted.extend(vlan_link(network));
            for port in &network.ports {
                if let Some((parent, vlan)) = &port.sub_interface {
                    let kind = LinkKind::Vlan { parent: Some(parent.clone()), vlan: *vlan };
                    wanted.insert(port.link.clone(), kind);
                }
            }
        }
        wanted
    }

    /// Removes links of ours that have a wanted link's name, VNI or VLAN without being it.
    fn clear_the_way(&mut self, networks: &[Network], links_are_ours: bool) {
        if let Some(name) = self.now.links.keys().find(|name| name.as_str() == UNFINISHED).cloned() {
            self.step(Change::DeleteLink { link: name });
        }
        if !links_are_ours {
            return;
        }
        let wanted = self.wanted(networks);
        let vnis: BTreeMap<_, _> =
            wanted.iter().filter_map(|(name, kind)| Some((vxlan_key(kind)?, name))).collect();
        let vlans: BTreeMap<_, _> =
            wanted.iter().filter_map(|(name, kind)| Some((vlan_key(kind)?, name))).collect();
        let in_the_way: Vec<LinkName> = self
            .now
            .links
            .iter()
            .filter(|(name, link)| {
                link.is_ours()
                    && (wanted.get(*name).is_some_and(|kind| *kind != link.kind)
                        || vxlan_key(&link.kind)
                            .and_then(|key| vnis.get(&key))
                            .is_some_and(|wanted| wanted != name)
                        || vlan_key(&link.kind)
                            .and_then(|key| vlans.get(&key))
                            .is_some_and(|wanted| wanted != name))
            })
            .map(|(name, _)| name.clone())
            .collect();
        in_the_way.into_iter().for_each(|link| self.delete(link));
    }

    fn delete(&mut self, link: LinkName) {
        // It may have gone with the link that carried it.
        if self.now.links.contains_key(&link) {
            self.step(Change::DeleteLink { link });
        }
    }

    fn make_links(&mut self, network: &Network) {
        let (bridge, vxlan) = (&network.bridge, &network.vxlan);
        let alias = match self.desired.form {
            Form::Traditional => format!("{ALIAS_PREFIX}{}", network.vni),
            Form::VlanAware { .. } | Form::Sonic { .. } => format!("{ALIAS_PREFIX}bridge"),
        };
        if !self.now.links.contains_key(bridge) {
            let vlan_filtering = self.desired.form.has_vlans();
            self.step(Change::CreateBridge { link: bridge.clone(), alias, vlan_filtering });
        }
        let alias = format!("{ALIAS_PREFIX}{}", network.vni);
        match self.now.links.get(vxlan) {
            None => self.step(Change::CreateVxlan {
                link: vxlan.clone(),
                alias: alias.clone(),
                vxlan: self.vxlan(network),
                mtu: network.mtu,
            }),
            Some(link) if link.mtu != u32::from(network.mtu) => {
                self.step(Change::SetMtu { link: vxlan.clone(), mtu: network.mtu });
            }
            Some(_) => {}
        }
        // What is flooded must not leave by the tunnel before the port's settings are right: it is up last.
        let settings = PortSettings { learning: false, neigh_suppress: Some(true) };
        self.join(vxlan, bridge, settings, network.vlan.map(|vlan| (vlan, VlanMembership::ACCESS)));
        self.set_up(bridge);
        if let Some((link, LinkKind::Vlan { parent: Some(parent), vlan })) = vlan_link(network) {
            if !self.now.links.contains_key(&link) {
                self.step(Change::CreateVlan { link: link.clone(), alias, parent, vlan });
            }
            self.set_up(&link);
        }
        self.set_up(vxlan);
    }

    fn join_ports(&mut self, network: &Network) {
        for port in &network.ports {
            let Port { link, sub_interface, membership } = port;
            if let Some((parent, vlan)) = sub_interface {
                if !self.now.links.contains_key(link) {
                    let member = Member::tagged(parent.clone(), *vlan);
                    self.step(Change::CreateVlan {
                        link: link.clone(),
                        alias: format!("{ALIAS_PREFIX}member {member}"),
                        parent: parent.clone(),
                        vlan: *vlan,
                    });
                }
                self.set_up(parent);
            }
            let settings = PortSettings { learning: true, neigh_suppress: None };
            self.join(link, &network.bridge, settings, network.vlan.map(|vlan| (vlan, *membership)));
            self.set_up(link);
        }
    }

    fn join(
        &mut self,
        link: &LinkName,
        bridge: &LinkName,
        settings: PortSettings,
        vlan: Option<(VlanId, VlanMembership)>,
    ) {
        let Some(observed) = self.now.links.get(link) else { return };
        if observed.master.as_ref() != Some(bridge) {
            self.step(Change::Join { link: link.clone(), bridge: bridge.clone() });
        }
        let Some(Link { port: Some(port), vlans, .. }) = self.now.links.get(link) else { return };
        let suppress_differs = match (port.neigh_suppress, settings.neigh_suppress) {
            (Some(is), Some(shall)) => is != shall,
            _ => false,
        };
        let vlan = vlan.filter(|(vlan, membership)| vlans.get(vlan) != Some(membership));
        if port.learning != settings.learning || suppress_differs {
            self.step(Change::SetPort { link: link.clone(), settings });
        }
        if let Some((vlan, membership)) = vlan {
            self.step(Change::AddVlan { link: link.clone(), vlan, membership });
        }
    }

    fn set_up(&mut self, link: &LinkName) {
        if self.now.links.get(link).is_some_and(|observed| !observed.up) {
            self.step(Change::SetUp { link: link.clone() });
        }
    }

    fn fill_tables(&mut self, network: &Network) {
        let vxlan = &network.vxlan;
        for &vtep in &network.flood {
            let list = self.now.vtep_entries.get(vxlan).and_then(|table| table.get(&FLOOD));
            if !list.is_some_and(|list| list.contains_key(&vtep)) {
                self.step(Change::AddFlood { vxlan: vxlan.clone(), vtep });
            }
        }
        for (&mac, remote) in &network.remotes {
            let entry = self
                .now
                .bridge_entries
                .get(&network.bridge)
                .and_then(|table| table.get(&(mac, network.vlan)));
            let at_the_tunnel = match entry {
                Some(entry) if entry.port == *vxlan => {
                    matches!(entry.learned, Learned::Externally | Learned::Static)
                }
                Some(entry)
                    if network.ports.iter().any(|port| port.link == entry.port)
                        && (entry.learned != Learned::FromPackets || !remote.overrule) =>
                {
                    let member = self.now.member(&entry.port, network.vlan);
                    self.out.contested.push(Contested { vni: network.vni, mac, member, vtep: remote.vtep });
                    continue;
                }
                _ => false,
            };
            // An entry that ages out would be gone when it is wanted.
            let vteps = self.now.vtep_entries.get(vxlan).and_then(|table| table.get(&mac));
            let stays = vteps
                .and_then(|vteps| vteps.get(&remote.vtep))
                .is_some_and(|entry| entry.external || entry.permanent);
            if !at_the_tunnel || !stays {
                self.step(Change::SetRemote {
                    vxlan: vxlan.clone(),
                    mac,
                    vlan: network.vlan,
                    vtep: remote.vtep,
                });
            }
        }
        if let Some(link) = &network.neighbour_link {
            for (&address, &mac) in &network.neighbours {
                let observed = self.now.neighbours.get(link).and_then(|table| table.get(&address));
                if !observed.is_some_and(|observed| observed.mac == mac && observed.permanent) {
                    self.step(Change::SetNeighbour { link: link.clone(), address, mac });
                }
            }
        }
    }

    fn empty_tables(&mut self, network: &Network) {
        let mut changes = Vec::new();
        let vxlan = &network.vxlan;
        for (&(mac, vlan), entry) in self.now.bridge_entries.get(&network.bridge).into_iter().flatten() {
            let is_stale = !network.remotes.contains_key(&mac) || vlan != network.vlan;
            if entry.port == *vxlan && entry.learned != Learned::Own && is_stale {
                changes.push(Change::RemoveBridgeEntry { vxlan: vxlan.clone(), mac, vlan });
            }
        }
        for (&mac, vteps) in self.now.vtep_entries.get(vxlan).into_iter().flatten() {
            for &vtep in vteps.keys() {
                if mac == FLOOD && !network.flood.contains(&vtep) {
                    changes.push(Change::RemoveFlood { vxlan: vxlan.clone(), vtep });
                } else if mac != FLOOD && network.remotes.get(&mac).is_none_or(|remote| remote.vtep != vtep) {
                    changes.push(Change::RemoveVtep { vxlan: vxlan.clone(), mac, vtep });
                }
            }
        }
        if let Some(link) = &network.neighbour_link {
            let is_ours = self.now.links.get(link).is_some_and(Link::is_ours);
            for (&address, neighbour) in self.now.neighbours.get(link).into_iter().flatten() {
                // On a link that is SONiC's, what an operator put there by hand stays.
                let put_by_us = neighbour.permanent && (is_ours || neighbour.external);
                if put_by_us && !network.neighbours.contains_key(&address) {
                    changes.push(Change::RemoveNeighbour { link: link.clone(), address });
                }
            }
        }
        changes.into_iter().for_each(|change| self.step(change));
    }

    fn remove_links(&mut self, networks: &[Network], links_are_ours: bool) {
        let wanted = if links_are_ours { self.wanted(networks) } else { BTreeMap::new() };
        let mut ports: BTreeMap<&LinkName, (&LinkName, BTreeSet<VlanId>)> = BTreeMap::new();
        if links_are_ours {
            for network in networks {
                let links = network.ports.iter().map(|port| &port.link).chain([&network.vxlan]);
                for link in links {
                    ports.entry(link).or_insert((&network.bridge, BTreeSet::new())).1.extend(network.vlan);
                }
            }
        }
        let is_bridge_of_ours =
            |now: &Observed, link: &LinkName| now.links.get(link).is_some_and(Link::is_ours);
        let mut changes = Vec::new();
        for (name, link) in &self.now.links {
            let Some(bridge) = link.master.as_ref().filter(|master| is_bridge_of_ours(&self.now, master))
            else {
                continue;
            };
            match ports.get(name) {
                Some((wanted, vlans)) if *wanted == bridge => {
                    let stale = link.vlans.keys().filter(|vlan| !vlans.contains(vlan));
                    changes.extend(stale.map(|&vlan| Change::RemoveVlan { link: name.clone(), vlan }));
                }
                // A link of ours that is not wanted is removed below.
                _ if link.is_ours() && !wanted.contains_key(name) => {}
                _ => changes.push(Change::Leave { link: name.clone(), bridge: bridge.clone() }),
            }
        }
        changes.into_iter().for_each(|change| self.step(change));
        let mut doomed: Vec<(u8, LinkName)> = self
            .now
            .links
            .iter()
            .filter(|(name, link)| link.is_ours() && !wanted.contains_key(*name))
            .map(|(name, link)| {
                let bridges_last = u8::from(matches!(link.kind, LinkKind::Bridge { .. }));
                (bridges_last, name.clone())
            })
            .collect();
        doomed.sort();
        doomed.into_iter().for_each(|(_, link)| self.delete(link));
    }
}

/// The VLAN's link on a bridge with VLANs, on which its neighbours are kept.
fn vlan_link(network: &Network) -> Option<(LinkName, LinkKind)> {
    let vlan = network.vlan?;
    let link = network.neighbour_link.clone()?;
    Some((link, LinkKind::Vlan { parent: Some(network.bridge.clone()), vlan }))
}

fn vxlan_key(kind: &LinkKind) -> Option<(u32, u16)> {
    match kind {
        LinkKind::Vxlan(vxlan) => Some(vxlan.key()),
        _ => None,
    }
}

fn vlan_key(kind: &LinkKind) -> Option<(&LinkName, VlanId)> {
    match kind {
        LinkKind::Vlan { parent: Some(parent), vlan } => Some((parent, *vlan)),
        _ => None,
    }
}
