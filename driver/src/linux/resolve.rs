//! Which links the desired networks need, and which of them cannot be had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ofctl::MacAddr;

use super::change::Refusal;
use super::desired::{Desired, Form, Member, Remote, Segment, VXLAN_PORT};
use super::observed::{Link, LinkKind, Observed, VlanMembership};
use crate::model::{LinkName, VlanId, Vni};

/// The networks that can be, and why others cannot.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) networks: Vec<Network>,
    pub(super) refusals: Vec<Refusal>,
}

/// A network with the names of its links.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) vni: Vni,
    pub(super) bridge: LinkName,
    pub(super) vxlan: LinkName,
    /// Its VLAN on the bridge, where the bridge has VLANs.
    pub(super) vlan: Option<VlanId>,
    pub(super) mtu: u16,
    pub(super) ports: Vec<Port>,
    pub(super) flood: BTreeSet<IpAddr>,
    pub(super) remotes: BTreeMap<MacAddr, Remote>,
    pub(super) neighbours: BTreeMap<IpAddr, MacAddr>,
    /// Where neighbours are kept, if there is such a link.
    pub(super) neighbour_link: Option<LinkName>,
}

/// A member port with the link that joins the bridge.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) link: LinkName,
    /// The port and VLAN of which the link has to be the sub-interface.
    pub(super) sub_interface: Option<(LinkName, VlanId)>,
    /// How the network's VLAN is carried, where the bridge has VLANs.
    pub(super) membership: VlanMembership,
}

/// Finds every network's links.
pub(super) fn resolve(desired: &Desired, observed: &Observed) -> Resolved {
    let mut resolver = Resolver {
        desired,
        observed,
        resolved: Resolved::default(),
        vlans: BTreeMap::new(),
        claims: BTreeMap::new(),
    };
    for (&vni, segment) in &desired.networks {
        match resolver.network(vni, segment) {
            Ok(network) => resolver.resolved.networks.push(network),
            Err(refusal) => resolver.resolved.refusals.push(refusal),
        }
    }
    resolver.resolved
}

struct Resolver<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    resolved: Resolved,
    /// The networks that have a VLAN of the shared bridge.
    vlans: BTreeMap<VlanId, Vni>,
    /// The networks that have a link, or on a bridge with VLANs its tagged or untagged frames.
    claims: BTreeMap<(LinkName, Option<VlanId>), Vni>,
}

impl Resolver<'_> {
    fn network(&mut self, vni: Vni, segment: &Segment) -> Result<Network, Refusal> {
        let form = &self.desired.form;
        let bridge = form.bridge(vni);
        let vlan = if form.has_vlans() { Some(self.vlan(vni, segment, &bridge)?) } else { None };
        let neighbour_link = form.neighbour_link(vni, vlan);
        let vxlan = match form.vxlan(vni) {
            Some(vxlan) => {
                let made = [Some(&bridge), Some(&vxlan), neighbour_link.as_ref()];
                self.names_are_free(vni, made.into_iter().flatten())?;
                self.vni_is_free(vni, &vxlan)?;
                vxlan
            }
            None => self.sonic_vxlan(vni, vlan)?,
        };
        let neighbour_link = match form {
            // SONiC's vlanmgrd makes a VLAN's link, and may not have done so yet.
            Form::Sonic { .. } => neighbour_link.filter(|link| self.observed.links.contains_key(link)),
            Form::Traditional | Form::VlanAware { .. } => neighbour_link,
        };
        let ports = match form {
            Form::Sonic { .. } => Vec::new(),
            Form::Traditional | Form::VlanAware { .. } => self.ports(vni, segment, vlan),
        };
        if let Some(vlan) = vlan {
            self.vlans.insert(vlan, vni);
        }
        Ok(Network {
            vni,
            bridge,
            vxlan,
            vlan,
            mtu: segment.mtu,
            ports,
            flood: self.flood(vni, segment),
            remotes: segment
                .remotes
                .iter()
                .filter(|(_, remote)| self.is_reachable(remote.vtep))
                .map(|(&mac, &remote)| (mac, remote))
                .collect(),
            neighbours: segment.neighbours.clone(),
            neighbour_link,
        })
    }

    fn vlan(&self, vni: Vni, segment: &Segment, bridge: &LinkName) -> Result<VlanId, Refusal> {
        let vlan = segment.vlan.ok_or_else(|| Refusal::NoVlan { vni, bridge: bridge.clone() })?;
        match self.vlans.get(&vlan) {
            Some(&other) => Err(Refusal::VlanTaken { vni, bridge: bridge.clone(), vlan, other }),
            None => Ok(vlan),
        }
    }

    fn names_are_free<'n>(&self, vni: Vni, names: impl Iterator<Item = &'n LinkName>) -> Result<(), Refusal> {
        for name in names {
            if self.observed.links.get(name).is_some_and(|link| !link.is_ours()) {
                return Err(Refusal::NameTaken { vni, link: name.clone() });
            }
        }
        Ok(())
    }

    fn vni_is_free(&self, vni: Vni, vxlan: &LinkName) -> Result<(), Refusal> {
        let stranger = self.observed.vxlan_links().find(|(name, other)| {
            *name != vxlan && other.key() == (vni.get(), VXLAN_PORT) && !self.observed.links[*name].is_ours()
        });
        match stranger {
            Some((link, _)) => Err(Refusal::VniTaken { vni, link: link.clone() }),
            None => Ok(()),
        }
    }

    fn sonic_vxlan(&self, vni: Vni, vlan: Option<VlanId>) -> Result<LinkName, Refusal> {
        let vlan = vlan.expect("a form with VLANs has refused a network without one");
        let found = self
            .observed
            .vxlan_links()
            .find(|(name, vxlan)| vxlan.vni == vni.get() && name.is_sonic_vxlan_of(vlan));
        found.map(|(name, _)| name.clone()).ok_or(Refusal::NotMapped { vni, vlan })
    }

    fn is_reachable(&self, vtep: IpAddr) -> bool {
        vtep != self.desired.vtep && vtep.is_ipv4() == self.desired.vtep.is_ipv4()
    }

    /// The VTEPs to flood to. Each one of the other family is refused, once.
    fn flood(&mut self, vni: Vni, segment: &Segment) -> BTreeSet<IpAddr> {
        let local = self.desired.vtep;
        let named: BTreeSet<IpAddr> =
            segment.flood.iter().copied().chain(segment.remotes.values().map(|remote| remote.vtep)).collect();
        let others = named.into_iter().filter(|vtep| vtep.is_ipv4() != local.is_ipv4());
        self.resolved.refusals.extend(others.map(|remote| Refusal::OtherFamily { vni, local, remote }));
        segment.flood.iter().copied().filter(|&vtep| self.is_reachable(vtep)).collect()
    }

    fn ports(&mut self, vni: Vni, segment: &Segment, vlan: Option<VlanId>) -> Vec<Port> {
        let mut ports = Vec::new();
        for member in &segment.members {
            match self.port(vni, member, vlan) {
                Ok(port) => ports.push(port),
                Err(refusal) => self.resolved.refusals.push(refusal),
            }
        }
        ports
    }

    fn port(&mut self, vni: Vni, member: &Member, vlan: Option<VlanId>) -> Result<Port, Refusal> {
        let port = self.possible_port(vni, member, vlan)?;
        let tag = if vlan.is_some() { member.vlan } else { None };
        // A port carries a VLAN tagged or untagged, not both: members are in order, untagged first.
        let untagged =
            self.claims.get(&(port.link.clone(), None)).filter(|&&other| tag.is_none() || other == vni);
        let claim = (port.link.clone(), tag);
        if let Some(&other) = untagged.or_else(|| self.claims.get(&claim)) {
            return Err(Refusal::AttachedTwice { vni, member: member.clone(), other });
        }
        self.claims.insert(claim, vni);
        Ok(port)
    }

    fn possible_port(&self, vni: Vni, member: &Member, vlan: Option<VlanId>) -> Result<Port, Refusal> {
        let physical = self.physical(vni, member)?;
        match (vlan, member.vlan) {
            (Some(vlan), tag) => {
                if tag.is_some_and(|tag| tag != vlan) {
                    let bridge = self.desired.form.bridge(vni);
                    return Err(Refusal::OtherTag { vni, member: member.clone(), bridge, vlan });
                }
                self.may_join(vni, member, &member.port, physical)?;
                let membership = match tag {
                    None => VlanMembership::ACCESS,
                    Some(_) => VlanMembership::TAGGED,
                };
                Ok(Port { link: member.port.clone(), sub_interface: None, membership })
            }
            (None, None) => {
                self.may_join(vni, member, &member.port, physical)?;
                Ok(Port {
                    link: member.port.clone(),
                    sub_interface: None,
                    membership: VlanMembership::default(),
                })
            }
            (None, Some(tag)) => self.sub_interface(vni, member, tag),
        }
    }

    fn physical(&self, vni: Vni, member: &Member) -> Result<&Link, Refusal> {
        let port = &member.port;
        let link = self.observed.links.get(port).ok_or_else(|| Refusal::NoSuchPort {
            vni,
            member: member.clone(),
            link: port.clone(),
        })?;
        let what = match &link.kind {
            _ if link.is_ours() => "a link that sluice made",
            _ if port.as_str() == "lo" => "the loopback link",
            LinkKind::Bridge { .. } => "a bridge",
            LinkKind::Vxlan(_) => "a tunnel",
            _ => return Ok(link),
        };
        Err(Refusal::NotAPort { vni, member: member.clone(), link: port.clone(), what })
    }

    fn sub_interface(&self, vni: Vni, member: &Member, tag: VlanId) -> Result<Port, Refusal> {
        let name = member.link().map_err(|_| Refusal::NameTooLong { vni, member: member.clone() })?;
        let kind = LinkKind::Vlan { parent: Some(member.port.clone()), vlan: tag };
        for (other, link) in &self.observed.links {
            let is_it = link.kind == kind;
            if *other == name && !is_it && !link.is_ours() {
                let what = "of another kind, and sluice did not make it";
                return Err(Refusal::NotAPort { vni, member: member.clone(), link: name, what });
            }
            if *other != name && is_it && !link.is_ours() {
                return Err(Refusal::VlanLinkTaken { vni, member: member.clone(), link: other.clone() });
            }
            if *other == name && is_it {
                self.may_join(vni, member, &name, link)?;
            }
        }
        let sub_interface = Some((member.port.clone(), tag));
        Ok(Port { link: name, sub_interface, membership: VlanMembership::default() })
    }

    fn may_join(&self, vni: Vni, member: &Member, name: &LinkName, link: &Link) -> Result<(), Refusal> {
        let member = member.clone();
        match &link.master {
            Some(master) if self.observed.links.get(master).is_some_and(Link::is_ours) => Ok(()),
            Some(master) => {
                Err(Refusal::PortInForeignMaster { vni, member, link: name.clone(), master: master.clone() })
            }
            None if link.addresses.is_empty() => Ok(()),
            None => Err(Refusal::RoutedPort { vni, member, addresses: link.addresses.clone() }),
        }
    }
}
