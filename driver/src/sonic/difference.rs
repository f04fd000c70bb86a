//! From what CONFIG_DB has to what it shall have.
//!
//! SONiC's daemons take a change of a tunnel, map or member that they know for a repetition, so nothing is ever
//! changed in place: what is wrong and ours is removed and added. Three passes: what of ours stands in the way goes;
//! what is missing is added; what is left over goes. Nothing that is right is touched, so that a restarted agent
//! writes nothing at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::desired::{Desired, Mapping, Tagging};
use super::entry::{Fields, Key, Table};
use super::observed::{Change, Observed};
use super::refusal::Refusal;
use crate::model::{LinkName, VlanId, Vni};

/// What our tunnel and our NVO are called. The VXLAN links get their names from it: `sluice-<vlan>`.
const NAME: &str = "sluice";

/// What has to happen.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Difference {
    /// What to do, in this order.
    pub changes: Vec<Change>,
    /// What is desired and cannot be, with its remedy. The rest is done all the same.
    pub refusals: Vec<Refusal>,
    /// The networks that are in CONFIG_DB after the changes, by whomever.
    pub mapped: BTreeSet<Vni>,
}

/// What has to happen for CONFIG_DB to be as desired.
pub fn difference(desired: &Desired, observed: &Observed) -> Difference {
    let mut wanted = Wanted::of(desired, observed);
    let mut steps = Steps { now: observed.clone(), changes: Vec::new() };
    steps.clear_the_way(&wanted);
    for (key, fields) in &wanted.entries {
        if !steps.now.entries.contains_key(key) {
            steps.step(Change::Add { key: key.clone(), fields: fields.clone() });
        }
    }
    steps.remove(&mut wanted);
    Difference { changes: steps.changes, refusals: wanted.refusals, mapped: wanted.mapped }
}

fn fields<const N: usize>(fields: [(&str, String); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Why no network can be: SONiC has one tunnel and one NVO for all.
#[derive(Clone)]
enum Obstacle {
    Tunnel { tunnel: Key, what: String },
    Nvo { nvo: Key, source_vtep: String, tunnel: String },
}

impl Obstacle {
    fn refusal(&self, vni: Vni, vtep: IpAddr) -> Refusal {
        match self.clone() {
            Obstacle::Tunnel { tunnel, what } => Refusal::OtherTunnel { vni, tunnel, what, vtep },
            Obstacle::Nvo { nvo, source_vtep, tunnel } => Refusal::OtherNvo { vni, nvo, source_vtep, tunnel },
        }
    }
}

/// What shall be there and be ours; in the order of the tables.
struct Wanted<'a> {
    now: &'a Observed,
    entries: BTreeMap<Key, Fields>,
    /// What of ours stays though it is not wanted, since it is part of what was refused.
    spared: BTreeSet<Key>,
    refusals: Vec<Refusal>,
    mapped: BTreeSet<Vni>,
    vlans: BTreeMap<VlanId, Vni>,
    /// In which VLAN a port is untagged.
    untagged: BTreeMap<LinkName, Key>,
}

impl Wanted<'_> {
    fn of<'a>(desired: &Desired, now: &'a Observed) -> Wanted<'a> {
        let mut wanted = Wanted {
            now,
            entries: BTreeMap::new(),
            spared: BTreeSet::new(),
            refusals: Vec::new(),
            mapped: BTreeSet::new(),
            vlans: BTreeMap::new(),
            untagged: BTreeMap::new(),
        };
        if desired.networks.is_empty() {
            return wanted;
        }
        let tunnel = wanted.tunnel(desired.vtep);
        for (&vni, mapping) in &desired.networks {
            let done = match &tunnel {
                Ok(tunnel) => wanted.network(vni, mapping, tunnel),
                Err(obstacle) => Err(obstacle.refusal(vni, desired.vtep)),
            };
            match done {
                Ok(()) => {
                    wanted.mapped.insert(vni);
                }
                Err(refusal) => {
                    wanted.refusals.push(refusal);
                    if wanted.vlans.get(&mapping.vlan).is_none_or(|&holder| holder == vni) {
                        wanted.spare(mapping.vlan);
                    }
                }
            }
        }
        if wanted.mapped.is_empty() {
            // Nobody would use the tunnel and the NVO.
            wanted.entries.clear();
        }
        wanted
    }

    /// The tunnel to use, with an NVO; or why no network can be.
    fn tunnel(&mut self, vtep: IpAddr) -> Result<String, Obstacle> {
        let now = self.now;
        let carriers = now.table(Table::VxlanTunnel).chain(now.table(Table::VxlanEvpnNvo));
        self.spared.extend(carriers.map(|(key, _)| key.clone()));
        let (tunnel, is_ours) = self.tunnel_to(vtep)?;
        let nvo = now.table(Table::VxlanEvpnNvo).find(|(key, _)| !now.is_ours(key));
        match nvo {
            None => {
                let own = Key::new(Table::VxlanEvpnNvo, NAME);
                self.entries.insert(own, fields([("source_vtep", tunnel.clone())]));
            }
            Some((_, fields)) if fields.get("source_vtep") == Some(&tunnel) => {}
            Some((nvo, fields)) => {
                let source_vtep = fields.get("source_vtep").cloned().unwrap_or_default();
                return Err(Obstacle::Nvo { nvo: nvo.clone(), source_vtep, tunnel });
            }
        }
        if is_ours {
            let own = Key::new(Table::VxlanTunnel, NAME);
            self.entries.insert(own, fields([("src_ip", vtep.to_string())]));
        }
        Ok(tunnel)
    }

    /// The name of the tunnel with this address, and whether it is, or is going to be, ours.
    fn tunnel_to(&self, vtep: IpAddr) -> Result<(String, bool), Obstacle> {
        let now = self.now;
        let ends_here = |fields: &Fields| {
            let source = fields.get("src_ip").and_then(|source| source.parse().ok());
            source == Some(vtep) && !fields.contains_key("dst_ip")
        };
        let own = Key::new(Table::VxlanTunnel, NAME);
        if let Some(fields) = now.entries.get(&own).filter(|_| now.is_ours(&own)) {
            let by = referrers(now, &own).find(|by| !now.is_ours(by));
            return match by.filter(|_| !ends_here(fields)) {
                None => Ok((NAME.to_owned(), true)),
                Some(by) => {
                    let source = now.field(&own, "src_ip").unwrap_or("nowhere");
                    Err(Obstacle::Tunnel {
                        what: format!("ends at {source}, and {by} needs it"),
                        tunnel: own,
                    })
                }
            };
        }
        let foreign = || now.table(Table::VxlanTunnel).filter(|(key, _)| !now.is_ours(key));
        if let Some((tunnel, _)) = foreign().find(|(_, fields)| ends_here(fields)) {
            return Ok((tunnel.name.clone(), false));
        }
        let Some((tunnel, fields)) = foreign().next() else { return Ok((NAME.to_owned(), true)) };
        let what = match (fields.get("src_ip"), fields.get("dst_ip")) {
            (_, Some(remote)) => format!("goes to {remote} alone"),
            (Some(source), None) => format!("ends at {source}"),
            (None, None) => "ends nowhere".to_owned(),
        };
        Err(Obstacle::Tunnel { tunnel: tunnel.clone(), what })
    }

    fn network(&mut self, vni: Vni, mapping: &Mapping, tunnel: &str) -> Result<(), Refusal> {
        let (vlan, now) = (mapping.vlan, self.now);
        if vlan.get() == 1 {
            return Err(Refusal::ReservedVlan { vni, vlan });
        }
        if let Some(&other) = self.vlans.get(&vlan) {
            return Err(Refusal::VlanTaken { vni, vlan, other });
        }
        let name = format!("Vlan{vlan}");
        let wanted = fields([("vlan", name.clone()), ("vni", vni.to_string())]);
        let mut is_mapped = false;
        for (map, has) in now.table(Table::VxlanTunnelMap).filter(|(map, _)| !now.is_ours(map)) {
            let same = |field: &str| has.get(field) == wanted.get(field);
            match (same("vlan"), same("vni")) {
                (true, true) if map.first() == tunnel => is_mapped = true,
                (false, false) => {}
                _ => {
                    let value = |field: &str| has.get(field).map_or("nothing", String::as_str);
                    let has = format!("{} to VNI {}", value("vlan"), value("vni"));
                    return Err(Refusal::OtherMap { vni, vlan, map: map.clone(), has });
                }
            }
        }
        self.vlans.insert(vlan, vni);
        if !is_mapped {
            let key = Key::new(Table::VxlanTunnelMap, format!("{tunnel}|map_{vni}_{name}"));
            self.entries.insert(key, wanted);
        }
        self.want(Key::new(Table::Vlan, &name), fields([("vlanid", vlan.to_string())]));
        let suppress = fields([("suppress", "on".to_owned())]);
        self.want(Key::new(Table::SuppressVlanNeigh, &name), suppress);
        for (port, &tagging) in &mapping.members {
            let key = Key::new(Table::VlanMember, format!("{name}|{port}"));
            match self.member(vni, port, tagging, &key) {
                Ok(()) => {
                    self.want(key, fields([("tagging_mode", tagging.as_str().to_owned())]));
                }
                Err(refusal) => {
                    self.refusals.push(refusal);
                    self.spared.insert(key);
                }
            }
        }
        Ok(())
    }

    /// Takes an entry up, unless the operator has one: his serves.
    fn want(&mut self, key: Key, fields: Fields) {
        if !self.now.entries.contains_key(&key) || self.now.is_ours(&key) {
            self.entries.insert(key, fields);
        }
    }

    /// Whether a port can be a member.
    fn member(&mut self, vni: Vni, port: &LinkName, tagging: Tagging, key: &Key) -> Result<(), Refusal> {
        let (now, port) = (self.now, port.clone());
        let is_untagged = tagging == Tagging::Untagged;
        if let Some(by) = self.untagged.get(&port).filter(|_| is_untagged).cloned() {
            return Err(Refusal::UntaggedElsewhere { vni, port, by });
        }
        let has = now.entries.get(key).map(|has| has.get("tagging_mode").map_or("", String::as_str));
        match has {
            Some(has) if has == tagging.as_str() => {}
            Some(has) if !now.is_ours(key) => {
                let (wanted, by, has) = (tagging.as_str(), key.clone(), has.to_owned());
                return Err(Refusal::OtherTagging { vni, port, wanted, by, has });
            }
            _ => self.may_join(vni, &port, tagging, key)?,
        }
        if is_untagged {
            self.untagged.insert(port, key.clone());
        }
        Ok(())
    }

    fn may_join(&self, vni: Vni, port: &LinkName, tagging: Tagging, key: &Key) -> Result<(), Refusal> {
        let (now, name, port) = (self.now, port.as_str(), port.clone());
        let is_there = |table| now.entries.contains_key(&Key::new(table, name));
        if !is_there(Table::Port) && !is_there(Table::PortChannel) {
            return Err(Refusal::NoSuchPort { vni, port });
        }
        for table in [Table::Interface, Table::PortChannelInterface] {
            let mut routed: Vec<&Key> =
                now.table(table).map(|(key, _)| key).filter(|key| key.first() == name).collect();
            // The address, if there is one, is what has to go.
            routed.sort_by_key(|key| key.second().is_none());
            if let Some(by) = routed.first().copied() {
                let remedy = match by.second() {
                    Some(address) => format!("config interface ip remove {name} {address}"),
                    None => format!("it has no address, but is in no VLAN either: remove {by}"),
                };
                return Err(Refusal::PortInUse { vni, port, used: "routed", by: by.clone(), remedy });
            }
        }
        let mut bundled = now.table(Table::PortChannelMember).map(|(key, _)| key);
        if let Some(by) = bundled.find(|key| key.second() == Some(name)) {
            let used = "part of a link aggregation";
            let remedy = format!("attach {} instead", by.first());
            return Err(Refusal::PortInUse { vni, port, used, by: by.clone(), remedy });
        }
        let elsewhere = now.table(Table::VlanMember).find(|(other, has)| {
            *other != key
                && !now.is_ours(other)
                && other.second() == Some(name)
                && has.get("tagging_mode").is_some_and(|mode| mode == Tagging::Untagged.as_str())
        });
        match elsewhere {
            Some((by, _)) if tagging == Tagging::Untagged => {
                Err(Refusal::UntaggedElsewhere { vni, port, by: by.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Leaves all of a refused network's that is there already.
    fn spare(&mut self, vlan: VlanId) {
        let name = format!("Vlan{vlan}");
        let its_own = self.now.ours.iter().filter(|key| vlan_of(self.now, key) == Some(&name));
        self.spared.extend(its_own.cloned());
    }
}

struct Steps {
    /// What the database has after the changes so far.
    now: Observed,
    changes: Vec<Change>,
}

impl Steps {
    fn step(&mut self, change: Change) {
        let done = self.now.apply(&change);
        debug_assert!(done.is_ok(), "{done:?}");
        self.changes.push(change);
    }

    /// Removes what is ours and contradicts what is wanted; what refers to it first.
    fn clear_the_way(&mut self, wanted: &Wanted<'_>) {
        let differs = |now: &Observed, key: &Key| {
            // A VLAN is its name; what else an operator gave it is welcome.
            let compared = wanted.entries.get(key).filter(|_| key.table != Table::Vlan);
            compared.is_some_and(|shall| {
                let is = &now.entries[key];
                shall.iter().any(|(field, value)| is.get(field) != Some(value))
            })
        };
        let maps: Vec<&Fields> = of_table(wanted, Table::VxlanTunnelMap).map(|(_, fields)| fields).collect();
        let untagged: BTreeSet<&str> = of_table(wanted, Table::VlanMember)
            .filter(|(_, fields)| fields["tagging_mode"] == Tagging::Untagged.as_str())
            .filter_map(|(key, _)| key.second())
            .collect();
        let tunnel = Key::new(Table::VxlanTunnel, NAME);
        let tunnel_goes = self.is_there_and_ours(&tunnel) && differs(&self.now, &tunnel);
        let contradicts = |now: &Observed, key: &Key| {
            let fields = &now.entries[key];
            let on_the_tunnel = match key.table {
                Table::VxlanTunnelMap => key.first() == NAME,
                Table::VxlanEvpnNvo => fields.get("source_vtep").is_some_and(|source| source == NAME),
                _ => false,
            };
            let stands_in_the_way = !wanted.entries.contains_key(key)
                && match key.table {
                    Table::VxlanTunnelMap => maps
                        .iter()
                        .any(|map| ["vlan", "vni"].iter().any(|field| fields.get(*field) == map.get(*field))),
                    Table::VlanMember => {
                        key.second().is_some_and(|port| untagged.contains(port))
                            && fields.get("tagging_mode").is_some_and(|mode| mode == "untagged")
                    }
                    _ => false,
                };
            differs(now, key) || stands_in_the_way || (tunnel_goes && on_the_tunnel)
        };
        let doomed: Vec<Key> =
            self.ours_in_reverse().into_iter().filter(|key| contradicts(&self.now, key)).collect();
        doomed.into_iter().for_each(|key| self.step(Change::Remove { key }));
    }

    /// Removes what is ours and not wanted, unless something refers to it.
    fn remove(&mut self, wanted: &mut Wanted<'_>) {
        for key in self.ours_in_reverse() {
            if wanted.entries.contains_key(&key) || wanted.spared.contains(&key) {
                continue;
            }
            let by = referrers(&self.now, &key).next().cloned();
            match by {
                Some(by) => {
                    wanted.refusals.push(Refusal::StillNeeded { key, by });
                }
                None => self.step(Change::Remove { key }),
            }
        }
        let gone: Vec<Key> =
            self.now.ours.iter().filter(|key| !self.now.entries.contains_key(key)).cloned().collect();
        gone.into_iter().for_each(|key| self.step(Change::Forget { key }));
    }

    fn is_there_and_ours(&self, key: &Key) -> bool {
        self.now.is_ours(key) && self.now.entries.contains_key(key)
    }

    /// What is ours and there, so that what refers to others comes before them.
    fn ours_in_reverse(&self) -> Vec<Key> {
        let there = self.now.ours.iter().filter(|key| self.now.entries.contains_key(key));
        there.rev().cloned().collect()
    }
}

fn of_table<'w>(wanted: &'w Wanted<'_>, table: Table) -> impl Iterator<Item = (&'w Key, &'w Fields)> {
    wanted.entries.iter().filter(move |(key, _)| key.table == table)
}

/// The VLAN that an entry is of.
fn vlan_of<'o>(now: &'o Observed, key: &'o Key) -> Option<&'o str> {
    match key.table {
        Table::Vlan | Table::VlanMember | Table::SuppressVlanNeigh => Some(key.first()),
        Table::VxlanTunnelMap => now.field(key, "vlan"),
        _ => None,
    }
}

/// The entries that refer to this one.
fn referrers<'o>(now: &'o Observed, key: &Key) -> impl Iterator<Item = &'o Key> {
    let name = key.name.clone();
    let table = key.table;
    // An NVO carries what its tunnel does.
    let tunnel = match table {
        Table::VxlanEvpnNvo => now.field(key, "source_vtep").unwrap_or_default().to_owned(),
        _ => name.clone(),
    };
    now.entries.iter().filter_map(move |(other, fields)| {
        let says = |field: &str, value: &str| fields.get(field).is_some_and(|has| has == value);
        let refers = match (table, other.table) {
            (Table::Vlan, Table::VlanMember | Table::VlanInterface | Table::SuppressVlanNeigh) => {
                other.first() == name
            }
            (Table::Vlan, Table::VxlanTunnelMap) => says("vlan", &name),
            (Table::VxlanTunnel | Table::VxlanEvpnNvo, Table::VxlanTunnelMap) => other.first() == tunnel,
            (Table::VxlanTunnel, Table::VxlanEvpnNvo) => says("source_vtep", &name),
            (Table::VxlanTunnel, Table::Vnet) => says("vxlan_tunnel", &name),
            _ => false,
        };
        refers.then_some(other)
    })
}
