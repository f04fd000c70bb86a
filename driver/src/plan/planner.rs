//! The plan, kept up to date change by change.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::wire::{OfPort, PacketOut};

use super::announce::{self, Announcement, Audience};
use super::changes::FlowChanges;
use super::flood::{self, Chunks, chunk_of_node, chunk_of_port, chunk_of_switch};
use super::neighbour::Strangers;
use super::ports::{PortsPlan, encapsulation_link, ports};
use super::tables::{CookieKind, cookie, object_of};
use super::view::{Facts, View};
use super::{classify, l2, neighbour, spoof, tunnel};
use crate::model::{
    Encapsulation, Endpoint, EndpointId, LinkName, Network, NetworkName, Node, NodeName, Phase,
    PortAttachment, PortTag, Station,
};

/// How far a flood reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Members on this node.
    Local,
    /// Other nodes.
    Remote,
    /// Switches that have ports of the network.
    Ports,
}

/// The object that a flow exists for.
///
/// If two objects ask for flows under one key (two endpoints with one address, while a container moves from host to
/// host), the lesser owner's flow counts: this node's own endpoint first, then whatever comes first by name. The other
/// takes its place when it goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The switch itself.
    Switch,
    /// Another node.
    Node(NodeName),
    /// A network with local members.
    Network(NetworkName),
    /// One chunk of a network's floods.
    Flood(NetworkName, Reach, u8),
    /// An endpoint of this node.
    LocalEndpoint(NetworkName, EndpointId),
    /// An endpoint of another node.
    RemoteEndpoint(NetworkName, EndpointId),
    /// A station behind a switch port.
    Station(NetworkName, MacAddr),
}

/// Who is in a network, as far as floods need it.
#[derive(Debug, Default)]
struct Members {
    local: BTreeSet<EndpointId>,
    remote: BTreeMap<NodeName, usize>,
    /// How many ports other nodes have attached.
    ports: BTreeMap<NodeName, usize>,
}

impl Members {
    fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty() && self.ports.is_empty()
    }
}

/// The flows under one key: the first counts.
type Claims = Vec<(Owner, Arc<FlowEntry>)>;

/// A flow as the key of a table: compared by table, priority and match, and hashed once.
#[derive(Clone, Debug)]
struct Key {
    hash: u64,
    flow: Arc<FlowEntry>,
}

impl Key {
    fn new(flow: FlowEntry) -> Key {
        let mut hasher = DefaultHasher::new();
        (flow.table, flow.priority, &flow.matching).hash(&mut hasher);
        Key { hash: hasher.finish(), flow: Arc::new(flow) }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        let (one, other) = (&self.flow, &other.flow);
        (one.table, one.priority, &one.matching) == (other.table, other.priority, &other.matching)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

/// Gives back what [`Key`] has hashed already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a key writes one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type KeyMap<T> = HashMap<Key, T, BuildHasherDefault<Hashed>>;

/// The plan of one node.
#[derive(Debug)]
pub struct Planner {
    view: View,
    facts: Facts,
    members: HashMap<NetworkName, Members>,
    /// Networks of this node's endpoints, by the name of their host link.
    links: HashMap<LinkName, (NetworkName, EndpointId)>,
    /// The MAC that each address of a network with local members was last seen with.
    neighbours: HashMap<NetworkName, HashMap<IpAddr, MacAddr>>,
    announcements: BTreeSet<Announcement>,
    dirty: HashSet<Owner>,
    owned: HashMap<Owner, Vec<Key>>,
    table: KeyMap<Claims>,
}

impl Planner {
    /// The plan of a node that knows nothing yet.
    pub fn new(facts: Facts) -> Planner {
        Planner {
            view: View::default(),
            facts,
            members: HashMap::new(),
            links: HashMap::new(),
            neighbours: HashMap::new(),
            announcements: BTreeSet::new(),
            dirty: HashSet::from([Owner::Switch]),
            owned: HashMap::new(),
            table: KeyMap::default(),
        }
    }

    /// The plan that follows from a view, computed from nothing.
    pub fn from_scratch(view: &View, facts: Facts) -> Planner {
        let mut planner = Planner::new(facts);
        for node in view.nodes.values() {
            planner.set_node(node.clone());
        }
        for network in view.networks.values() {
            planner.set_network(network.clone());
        }
        for endpoint in view.endpoints.values().flat_map(BTreeMap::values) {
            planner.set_endpoint(endpoint.clone());
        }
        for port in view.ports.values().flat_map(BTreeMap::values) {
            planner.set_port(port.clone());
        }
        for station in view.stations.values().flat_map(BTreeMap::values) {
            planner.set_station(station.clone());
        }
        planner.refresh();
        planner
    }

    /// What the plan is made from.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What this node has.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The links and ports that this node should have.
    pub fn ports(&self) -> PortsPlan {
        ports(&self.view, &self.facts)
    }

    /// Every flow that should be there, generation 0. Changes that were not taken by [`Planner::refresh`] are not in.
    pub fn flows(&self) -> impl Iterator<Item = &FlowEntry> {
        self.table.values().filter_map(|claims| claims.first()).map(|(_, flow)| flow.as_ref())
    }

    /// How many flows there should be.
    pub fn flow_count(&self) -> usize {
        self.table.len()
    }

    /// Networks of which this node has an endpoint.
    pub fn present(&self) -> impl Iterator<Item = &NetworkName> {
        self.members.iter().filter(|(_, members)| !members.local.is_empty()).map(|(name, _)| name)
    }

    /// Adds or replaces a network.
    pub fn set_network(&mut self, network: Arc<Network>) {
        let name = network.name.clone();
        if self.view.networks.get(&name) == Some(&network) {
            return;
        }
        self.view.networks.insert(name.clone(), network);
        self.touch_network(&name);
    }

    /// Removes a network.
    pub fn remove_network(&mut self, name: &NetworkName) {
        if self.view.networks.remove(name).is_some() {
            self.touch_network(name);
        }
    }

    /// Adds or replaces a node.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.name.clone();
        let before = self.view.nodes.insert(name.clone(), node.clone());
        if before.as_ref().is_none_or(|before| before.underlay != node.underlay) {
            self.touch_node(&name);
        }
    }

    /// Removes a node.
    pub fn remove_node(&mut self, name: &NodeName) {
        if self.view.nodes.remove(name).is_some() {
            self.touch_node(name);
        }
    }

    /// Adds or replaces an endpoint.
    pub fn set_endpoint(&mut self, endpoint: Arc<Endpoint>) {
        let of_network = self.view.endpoints.entry(endpoint.network.clone()).or_default();
        if of_network.get(&endpoint.id) == Some(&endpoint) {
            return;
        }
        let before = of_network.insert(endpoint.id.clone(), endpoint.clone());
        if before.as_ref().is_some_and(|before| has_same_flows(before, &endpoint)) {
            return;
        }
        self.count(before.as_deref(), Some(&endpoint));
        self.note_neighbour(&endpoint);
    }

    /// Removes an endpoint.
    pub fn remove_endpoint(&mut self, network: &NetworkName, id: &EndpointId) {
        let Some(of_network) = self.view.endpoints.get_mut(network) else { return };
        let before = of_network.remove(id);
        if of_network.is_empty() {
            self.view.endpoints.remove(network);
        }
        self.count(before.as_deref(), None);
    }

    /// Adds or replaces an attached port.
    pub fn set_port(&mut self, port: Arc<PortAttachment>) {
        let (network, node) = (port.network.clone(), port.node.clone());
        let of_network = self.view.ports.entry(network.clone()).or_default();
        if of_network.insert((node.clone(), port.at()), port).is_none() {
            self.count_port(&network, &node, true);
        }
    }

    /// Removes an attached port.
    pub fn remove_port(&mut self, network: &NetworkName, node: &NodeName, at: &PortTag) {
        let Some(of_network) = self.view.ports.get_mut(network) else { return };
        let before = of_network.remove(&(node.clone(), at.clone()));
        if of_network.is_empty() {
            self.view.ports.remove(network);
        }
        if before.is_some() {
            self.count_port(network, node, false);
        }
    }

    /// Adds or replaces a station.
    pub fn set_station(&mut self, station: Arc<Station>) {
        let (network, mac) = (station.network.clone(), station.mac);
        let of_network = self.view.stations.entry(network.clone()).or_default();
        let before = of_network.insert(mac, station.clone());
        let has_same_flows =
            |before: &Arc<Station>| before.node == station.node && before.addresses == station.addresses;
        if !before.as_ref().is_some_and(has_same_flows) {
            self.dirty.insert(Owner::Station(network, mac));
        }
    }

    /// Removes a station.
    pub fn remove_station(&mut self, network: &NetworkName, mac: MacAddr) {
        let Some(of_network) = self.view.stations.get_mut(network) else { return };
        if of_network.remove(&mac).is_some() {
            self.dirty.insert(Owner::Station(network.clone(), mac));
        }
        if of_network.is_empty() {
            self.view.stations.remove(network);
        }
    }

    /// Tells which port a link has become on the integration bridge, or that it is gone.
    pub fn set_ofport(&mut self, link: &LinkName, port: Option<OfPort>) {
        let before = self.facts.ofports.get(link).copied();
        if before == port {
            return;
        }
        match port {
            Some(port) => self.facts.ofports.insert(link.clone(), port),
            None => self.facts.ofports.remove(link),
        };
        if let Some((network, id)) = self.links.get(link).cloned() {
            for port in before.into_iter().chain(port) {
                self.dirty.insert(Owner::Flood(network.clone(), Reach::Local, chunk_of_port(port)));
            }
            if before.is_none() {
                self.announce_to_trunk(&network, &id);
            }
            self.dirty.insert(Owner::LocalEndpoint(network.clone(), id));
            self.dirty.insert(Owner::Network(network));
        } else if Encapsulation::ALL.into_iter().any(|e| encapsulation_link(e).as_ref() == Some(link)) {
            self.dirty.insert(Owner::Switch);
            let networks: Vec<_> = self.members.keys().cloned().collect();
            for network in networks {
                self.touch_network(&network);
            }
        }
    }

    /// Tells the MTU of the underlay's link, in bytes. It counts for links that are made from now on.
    pub fn set_underlay_mtu(&mut self, mtu: Option<u16>) {
        self.facts.underlay_mtu = mtu;
    }

    /// Sees whether an endpoint's addresses have come from another MAC.
    fn note_neighbour(&mut self, endpoint: &Endpoint) {
        if endpoint.phase == Phase::Left {
            return;
        }
        let known = self.neighbours.entry(endpoint.network.clone()).or_default();
        for address in endpoint.addresses.iter().map(|net| net.addr()) {
            let before = known.insert(address, endpoint.mac);
            if before.is_some_and(|before| before != endpoint.mac) {
                self.announcements.insert(Announcement {
                    network: endpoint.network.clone(),
                    address,
                    mac: endpoint.mac,
                    audience: Audience::Members,
                });
            }
        }
    }

    fn announce_to_trunk(&mut self, network: &NetworkName, id: &EndpointId) {
        let is_vlan = self.view.networks.get(network).is_some_and(|network| network.vlan.is_some());
        let Some(endpoint) = self.view.endpoint(network, id).filter(|_| is_vlan) else { return };
        self.announcements.extend(endpoint.addresses.iter().map(|net| Announcement {
            network: network.clone(),
            address: net.addr(),
            mac: endpoint.mac,
            audience: Audience::Trunk,
        }));
    }

    /// What neighbours are to be told, now that the flows of the plan are in place.
    pub fn take_announcements(&mut self) -> Vec<PacketOut> {
        let announcements = std::mem::take(&mut self.announcements);
        let packet = |announcement: &Announcement| {
            let network = self.view.networks.get(&announcement.network)?;
            let members: Vec<OfPort> = {
                let members = self.members_of(&announcement.network)?;
                self.local_ports(&announcement.network, members).collect()
            };
            let trunk = self.facts.encapsulation_port(Encapsulation::Vlan);
            announcement.packet(network, &members, trunk)
        };
        announcements.iter().filter_map(packet).collect()
    }

    /// The tunnel ends of other nodes that have members of this node's networks.
    pub fn far_ends(&self) -> BTreeSet<IpAddr> {
        let is_tunnelled = |name: &NetworkName| {
            self.view.networks.get(name).is_some_and(|network| network.encapsulation.is_tunnel())
        };
        let members =
            self.members.iter().filter(|(name, members)| !members.local.is_empty() && is_tunnelled(name));
        members.flat_map(|(_, members)| self.remote_nodes(members)).map(|(_, underlay)| underlay).collect()
    }

    /// A packet that makes the switch resolve a tunnel's far end; the far end drops it.
    pub fn wake_up(&self, far: IpAddr) -> Option<PacketOut> {
        let tunnel =
            Encapsulation::TUNNELS.into_iter().find_map(|tunnel| self.facts.encapsulation_port(tunnel))?;
        Some(announce::wake_up(far, tunnel))
    }

    fn touch_network(&mut self, name: &NetworkName) {
        self.dirty.insert(Owner::Network(name.clone()));
        for chunk in 0..flood::CHUNKS {
            self.dirty.insert(Owner::Flood(name.clone(), Reach::Local, chunk));
            self.dirty.insert(Owner::Flood(name.clone(), Reach::Remote, chunk));
            self.dirty.insert(Owner::Flood(name.clone(), Reach::Ports, flood::CHUNKS + chunk));
        }
        for mac in self.view.stations.get(name).into_iter().flat_map(BTreeMap::keys) {
            self.dirty.insert(Owner::Station(name.clone(), *mac));
        }
        for endpoint in self.view.endpoints.get(name).into_iter().flat_map(BTreeMap::values) {
            self.dirty.insert(owner_of(&self.facts, endpoint));
        }
    }

    fn touch_node(&mut self, name: &NodeName) {
        self.dirty.insert(Owner::Node(name.clone()));
        for (network, members) in &self.members {
            if members.remote.contains_key(name) || members.ports.contains_key(name) {
                self.dirty.insert(Owner::Network(network.clone()));
                self.dirty.insert(Owner::Flood(network.clone(), Reach::Remote, chunk_of_node(name)));
                self.dirty.insert(Owner::Flood(network.clone(), Reach::Ports, chunk_of_switch(name)));
            }
        }
        for station in self.view.stations.values().flat_map(BTreeMap::values) {
            if station.node == *name {
                self.dirty.insert(Owner::Station(station.network.clone(), station.mac));
            }
        }
        for endpoint in self.view.endpoints_of(name) {
            self.dirty.insert(owner_of(&self.facts, endpoint));
        }
    }

    /// Counts an attached port in or out, and marks what depends on it.
    fn count_port(&mut self, name: &NetworkName, node: &NodeName, is_in: bool) {
        if *node == self.facts.node {
            return;
        }
        let members = self.members.entry(name.clone()).or_default();
        let had_ports = !members.ports.is_empty();
        let ports = members.ports.entry(node.clone()).or_default();
        *ports = if is_in { *ports + 1 } else { *ports - 1 };
        let is_edge = *ports <= 1;
        if *ports == 0 {
            members.ports.remove(node);
        }
        let has_ports = !members.ports.is_empty();
        if members.is_empty() {
            self.members.remove(name);
        }
        if had_ports != has_ports {
            // Whether there are strangers changes what every endpoint may ask and answer.
            self.touch_network(name);
        } else if is_edge {
            self.dirty.insert(Owner::Network(name.clone()));
            self.dirty.insert(Owner::Flood(name.clone(), Reach::Remote, chunk_of_node(node)));
            self.dirty.insert(Owner::Flood(name.clone(), Reach::Ports, chunk_of_switch(node)));
        }
    }

    /// Takes an endpoint out of the counts and another in, and marks what depends on them.
    fn count(&mut self, before: Option<&Endpoint>, after: Option<&Endpoint>) {
        for (endpoint, is_in) in before.map(|e| (e, false)).into_iter().chain(after.map(|e| (e, true))) {
            let name = &endpoint.network;
            let members = self.members.entry(name.clone()).or_default();
            let was_present = !members.local.is_empty();
            if endpoint.node != self.facts.node {
                let others = members.remote.entry(endpoint.node.clone()).or_default();
                if is_in {
                    *others += 1;
                } else {
                    *others -= 1;
                }
                let is_edge = *others <= 1;
                if *others == 0 {
                    members.remote.remove(&endpoint.node);
                }
                if is_edge {
                    let chunk = chunk_of_node(&endpoint.node);
                    self.dirty.insert(Owner::Flood(name.clone(), Reach::Remote, chunk));
                    self.dirty.insert(Owner::Network(name.clone()));
                }
            } else if endpoint.phase != Phase::Left {
                let link = endpoint.host_link();
                if let Some(port) = self.facts.ofports.get(&link) {
                    self.dirty.insert(Owner::Flood(name.clone(), Reach::Local, chunk_of_port(*port)));
                }
                self.dirty.insert(Owner::Network(name.clone()));
                if is_in {
                    members.local.insert(endpoint.id.clone());
                    self.links.insert(link, (name.clone(), endpoint.id.clone()));
                } else {
                    members.local.remove(&endpoint.id);
                    self.links.remove(&link);
                }
            }
            let is_present = !members.local.is_empty();
            if !is_present {
                self.neighbours.remove(name);
            }
            if members.is_empty() {
                self.members.remove(name);
            }
            let owner = owner_of(&self.facts, endpoint);
            self.dirty.insert(owner);
            if was_present != is_present {
                let name = name.clone();
                self.touch_network(&name);
            }
        }
    }

    /// Computes the flows of everything that was touched, and tells what changed.
    pub fn refresh(&mut self) -> FlowChanges {
        let mut touched: KeyMap<Option<Arc<FlowEntry>>> = KeyMap::default();
        let mut flows = Vec::new();
        let dirty = std::mem::take(&mut self.dirty);
        self.table.reserve(dirty.len());
        for owner in dirty {
            for key in self.owned.remove(&owner).unwrap_or_default() {
                let MapEntry::Occupied(mut claims) = self.table.entry(key.clone()) else { continue };
                touched.entry(key).or_insert_with(|| claims.get().first().map(|(_, flow)| flow.clone()));
                claims.get_mut().retain(|(claimant, _)| *claimant != owner);
                if claims.get().is_empty() {
                    claims.remove();
                }
            }
            self.plan(&owner, &mut flows);
            if flows.is_empty() {
                continue;
            }
            let mut keys = Vec::with_capacity(flows.len());
            for flow in flows.drain(..) {
                let key = Key::new(flow);
                let claims = self.table.entry(key.clone()).or_default();
                touched.entry(key.clone()).or_insert_with(|| claims.first().map(|(_, flow)| flow.clone()));
                let place = claims.partition_point(|(claimant, _)| *claimant < owner);
                claims.insert(place, (owner.clone(), key.flow.clone()));
                keys.push(key);
            }
            self.owned.insert(owner, keys);
        }
        let mut changes = FlowChanges::default();
        for (key, before) in touched {
            match (before, self.table.get(&key).and_then(|claims| claims.first())) {
                (before, Some((_, after))) if before.as_ref() != Some(after) => {
                    changes.set.push(after.clone());
                }
                (Some(_), None) => changes.delete.push(key.flow.key()),
                _ => {}
            }
        }
        changes
    }

    fn members_of(&self, name: &NetworkName) -> Option<&Members> {
        self.members.get(name).filter(|members| !members.local.is_empty())
    }

    fn local_ports<'a>(
        &'a self,
        name: &'a NetworkName,
        members: &'a Members,
    ) -> impl Iterator<Item = OfPort> + 'a {
        let endpoint = |id| self.view.endpoint(name, id);
        members.local.iter().filter_map(endpoint).filter_map(|endpoint| self.facts.endpoint_port(endpoint))
    }

    /// Other nodes that have members or ports, with their tunnel ends.
    fn remote_nodes<'a>(&'a self, members: &'a Members) -> impl Iterator<Item = (&'a NodeName, IpAddr)> + 'a {
        let ports_alone = members.ports.keys().filter(|name| !members.remote.contains_key(*name));
        self.tunnel_ends(members.remote.keys().chain(ports_alone))
    }

    fn tunnel_ends<'a>(
        &'a self,
        names: impl Iterator<Item = &'a NodeName> + 'a,
    ) -> impl Iterator<Item = (&'a NodeName, IpAddr)> + 'a {
        names.filter_map(|name| Some((name, self.view.nodes.get(name)?.underlay?)))
    }

    fn strangers(&self, network: &Network) -> Strangers {
        let has_ports = self.members.get(&network.name).is_some_and(|members| !members.ports.is_empty());
        Strangers::of(network, has_ports)
    }

    fn chunks(&self, network: &Network, members: &Members) -> Chunks {
        let remote = match (network.encapsulation, self.facts.encapsulation_port(network.encapsulation)) {
            (_, None) => BTreeSet::new(),
            (Encapsulation::Vlan, Some(_)) => BTreeSet::from([0]),
            (_, Some(_)) => self.remote_nodes(members).map(|(name, _)| chunk_of_node(name)).collect(),
        };
        let switches = match self.facts.encapsulation_port(network.encapsulation) {
            Some(_) if self.strangers(network).may_be_behind_ports() => {
                self.tunnel_ends(members.ports.keys()).map(|(name, _)| chunk_of_switch(name)).collect()
            }
            _ => BTreeSet::new(),
        };
        let local = self.local_ports(&network.name, members).map(chunk_of_port).collect();
        Chunks { local, remote, switches }
    }

    /// The flows of one owner, by the stages in the order of their tables.
    fn plan(&self, owner: &Owner, flows: &mut Vec<FlowEntry>) {
        match owner {
            Owner::Switch => {
                classify::switch(&self.facts, flows);
                neighbour::switch(flows);
            }
            Owner::Node(name) => {
                if let Some(node) = self.view.nodes.get(name) {
                    let cookie = cookie(CookieKind::Node, object_of(name.as_str()));
                    tunnel::node(&self.facts, node, cookie, flows);
                }
            }
            Owner::Network(name) => {
                if let (Some(network), Some(members)) = (self.view.networks.get(name), self.members_of(name))
                {
                    let cookie = cookie(CookieKind::Network, network.id.get());
                    tunnel::network(&self.facts, network, cookie, flows);
                    spoof::network(network, cookie, flows);
                    let strangers = self.strangers(network);
                    neighbour::network(network, strangers, cookie, flows);
                    l2::network(&self.facts, network, strangers, cookie, flows);
                    flood::network(network, &self.chunks(network, members), cookie, flows);
                }
            }
            Owner::Flood(name, reach, chunk) => {
                if let (Some(network), Some(members)) = (self.view.networks.get(name), self.members_of(name))
                {
                    self.plan_flood(network, members, *reach, *chunk, flows);
                }
            }
            Owner::Station(name, mac) => self.plan_station(name, *mac, flows),
            Owner::LocalEndpoint(name, id) | Owner::RemoteEndpoint(name, id) => {
                let (Some(network), Some(endpoint)) =
                    (self.view.networks.get(name), self.view.endpoint(name, id))
                else {
                    return;
                };
                // An endpoint may have changed sides since it was marked.
                if self.members_of(name).is_some() && owner_of(&self.facts, endpoint) == *owner {
                    self.plan_endpoint(network, endpoint, flows);
                }
            }
        }
    }

    fn plan_flood(
        &self,
        network: &Network,
        members: &Members,
        reach: Reach,
        chunk: u8,
        flows: &mut Vec<FlowEntry>,
    ) {
        let cookie = cookie(CookieKind::Flood, network.id.get());
        match reach {
            Reach::Local => {
                let ports = self
                    .local_ports(&network.name, members)
                    .filter(|port| chunk_of_port(*port) == chunk)
                    .collect();
                flood::local(network, chunk, &ports, cookie, flows);
            }
            Reach::Remote => {
                let Some(port) = self.facts.encapsulation_port(network.encapsulation) else { return };
                if network.encapsulation == Encapsulation::Vlan && chunk != 0 {
                    return;
                }
                let nodes: Vec<_> = self
                    .remote_nodes(members)
                    .filter(|(name, _)| chunk_of_node(name) == chunk)
                    .map(|(_, underlay)| underlay)
                    .collect();
                flood::remote(network, chunk, port, &nodes, cookie, flows);
            }
            Reach::Ports => {
                let Some(port) = self.facts.encapsulation_port(network.encapsulation) else { return };
                if !self.strangers(network).may_be_behind_ports() {
                    return;
                }
                let nodes: Vec<_> = self
                    .tunnel_ends(members.ports.keys())
                    .filter(|(name, _)| chunk_of_switch(name) == chunk)
                    .map(|(_, underlay)| underlay)
                    .collect();
                flood::remote(network, chunk, port, &nodes, cookie, flows);
            }
        }
    }

    fn plan_station(&self, name: &NetworkName, mac: MacAddr, flows: &mut Vec<FlowEntry>) {
        let station = self.view.stations.get(name).and_then(|of_network| of_network.get(&mac));
        let (Some(network), Some(station), true) =
            (self.view.networks.get(name), station, self.members_of(name).is_some())
        else {
            return;
        };
        let Some(node) = self.view.nodes.get(&station.node).filter(|node| node.name != self.facts.node)
        else {
            return;
        };
        let cookie = cookie(CookieKind::Station, object_of(&mac.to_string()));
        if network.encapsulation == Encapsulation::Vxlan {
            neighbour::station(network, station, cookie, flows);
            l2::station(&self.facts, network, station, node, cookie, flows);
        }
    }

    fn plan_endpoint(&self, network: &Network, endpoint: &Endpoint, flows: &mut Vec<FlowEntry>) {
        let cookie = cookie(CookieKind::Endpoint, object_of(endpoint.id.as_str()));
        if endpoint.node != self.facts.node {
            if network.encapsulation == Encapsulation::Local {
                return;
            }
            let Some(node) = self.view.nodes.get(&endpoint.node) else { return };
            neighbour::endpoint(network, endpoint, cookie, flows);
            l2::remote(&self.facts, network, endpoint, node, cookie, flows);
        } else if endpoint.phase != Phase::Left {
            neighbour::endpoint(network, endpoint, cookie, flows);
            if let Some(port) = self.facts.endpoint_port(endpoint) {
                classify::endpoint(network, port, cookie, flows);
                let strangers = self.strangers(network);
                spoof::endpoint(endpoint, strangers, port, cookie, flows);
                neighbour::own_address(strangers, endpoint, port, cookie, flows);
                l2::local(network, endpoint, port, cookie, flows);
            }
        }
    }
}

/// Whether two states of an endpoint have the same flows: nothing in them tells whether Docker has joined it.
fn has_same_flows(one: &Endpoint, other: &Endpoint) -> bool {
    let has_flows = one.phase != Phase::Left && other.phase != Phase::Left;
    has_flows && Endpoint { phase: other.phase, ..one.clone() } == *other
}

fn owner_of(facts: &Facts, endpoint: &Endpoint) -> Owner {
    if endpoint.node == facts.node {
        Owner::LocalEndpoint(endpoint.network.clone(), endpoint.id.clone())
    } else {
        Owner::RemoteEndpoint(endpoint.network.clone(), endpoint.id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{endpoint, facts, network};

    /// Join comes with every container; with the only endpoint of a network it would touch all of the network.
    #[test]
    fn a_join_plans_nothing_anew() {
        let mut planner = Planner::new(facts());
        planner.set_network(Arc::new(network("blue", 1, Encapsulation::Vxlan)));
        let with_phase = |phase| Arc::new(Endpoint { phase, ..endpoint("blue", 1, 1) });
        planner.set_endpoint(with_phase(Phase::Created));
        planner.refresh();
        planner.set_endpoint(with_phase(Phase::Joined));
        assert!(planner.dirty.is_empty(), "{:?}", planner.dirty);
        let phases: Vec<_> = planner.view.endpoints.values().flat_map(BTreeMap::values).collect();
        assert_eq!(phases[0].phase, Phase::Joined, "the plan of links depends on it");
        planner.set_endpoint(with_phase(Phase::Left));
        assert!(!planner.dirty.is_empty());
    }
}
