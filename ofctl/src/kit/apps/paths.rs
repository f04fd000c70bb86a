//! Shortest paths: found over the topology, kept as flows, found anew when the topology changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use super::topology::{Link, SwitchPort, Topology, TopologyChange};
use crate::flow::{FlowEntry, FlowFlags};
use crate::kit::{Application, DatapathId, Effects, Event};
use crate::wire::{
    Action, Cookie, Field, FlowMod, FlowModCommand, FlowRemovedReason, Match, OfPort, TableId,
};

/// Switches and the links between them.
///
/// ```
/// use ofctl::kit::DatapathId;
/// use ofctl::kit::apps::{Graph, Link, SwitchPort};
/// use ofctl::wire::OfPort;
///
/// let port = |switch, port| SwitchPort::new(DatapathId(switch), OfPort(port));
/// let mut graph = Graph::default();
/// graph.add(Link { from: port(1, 1), to: port(2, 1) });
/// graph.add(Link { from: port(2, 2), to: port(3, 1) });
/// let path = graph.shortest_path(DatapathId(1), DatapathId(3)).expect("there is one");
/// assert_eq!(path.len(), 2);
/// assert_eq!(graph.shortest_path(DatapathId(3), DatapathId(1)), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    links: BTreeSet<Link>,
}

impl Graph {
    /// Adds a link, in its direction.
    pub fn add(&mut self, link: Link) {
        self.links.insert(link);
    }

    /// Removes a link, in its direction.
    pub fn remove(&mut self, link: Link) {
        self.links.remove(&link);
    }

    /// The links that leave a switch, by port.
    fn leaving(&self, switch: DatapathId) -> impl Iterator<Item = Link> {
        let lowest = SwitchPort::new(switch, OfPort(0));
        let first = Link { from: lowest, to: SwitchPort::new(DatapathId(0), OfPort(0)) };
        self.links.range(first..).copied().take_while(move |link| link.from.switch == switch)
    }

    /// The shortest ways from a switch to all others: by which link each is reached.
    fn tree(&self, root: DatapathId) -> BTreeMap<DatapathId, Link> {
        let mut reached_by = BTreeMap::new();
        let mut queue = VecDeque::from([root]);
        while let Some(switch) = queue.pop_front() {
            for link in self.leaving(switch) {
                let next = link.to.switch;
                if next != root && !reached_by.contains_key(&next) {
                    reached_by.insert(next, link);
                    queue.push_back(next);
                }
            }
        }
        reached_by
    }

    /// The links of a way with the fewest links; none if both are one switch. Of several ways always the same one:
    /// what matters at each parting is the number of the port.
    pub fn shortest_path(&self, from: DatapathId, to: DatapathId) -> Option<Vec<Link>> {
        climb(&self.tree(from), from, to)
    }
}

fn climb(tree: &BTreeMap<DatapathId, Link>, root: DatapathId, mut to: DatapathId) -> Option<Vec<Link>> {
    let mut links = Vec::new();
    while to != root {
        let link = *tree.get(&to)?;
        links.push(link);
        to = link.from.switch;
    }
    links.reverse();
    Some(links)
}

/// A path's number, also the cookie of its flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u64);

impl fmt::Display for PathId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What became of a path, or of the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathChange {
    /// It goes over these links now.
    Found(PathId, Vec<Link>),
    /// There is no way any more. It is found when there is one again.
    Lost(PathId),
    /// No packet has taken it for the idle timeout; it is given up.
    Idle(PathId),
    /// The topology changed.
    Topology(TopologyChange),
}

#[derive(Debug, Clone)]
struct Path {
    matching: Match,
    from: SwitchPort,
    to: SwitchPort,
    links: Option<Vec<Link>>,
    /// From the first switch to the last.
    flows: Vec<(DatapathId, FlowEntry)>,
}

/// Keeps paths, each from a port of one switch to a port of another, for the packets that match.
///
/// Each switch on the way has a flow that matches the ingress port also, so the old way and the new never meet in one
/// flow. When a link comes or goes all paths are computed anew. Of one that changes, the new flows are sent from the
/// last switch to the first, and then the old ones are deleted: a packet that meets a new flow finds the rest of its
/// way, as far as the switches are equally quick.
///
/// A switch that connects is cleared: what is in its tables may be of another time.
#[derive(Debug, Clone)]
pub struct PathManager {
    topology: Topology,
    graph: Graph,
    paths: BTreeMap<PathId, Path>,
    next: u64,
    priority: u16,
    idle_timeout: u16,
}

impl PathManager {
    /// Keeps paths over a topology, at priority 100, and until they are released.
    pub fn new(topology: Topology) -> PathManager {
        PathManager {
            topology,
            graph: Graph::default(),
            paths: BTreeMap::new(),
            next: 1,
            priority: 100,
            idle_timeout: 0,
        }
    }

    /// Gives up a path after this many seconds without a packet; 0 never.
    #[must_use]
    pub fn idle_timeout(mut self, seconds: u16) -> Self {
        self.idle_timeout = seconds;
        self
    }

    /// The topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The links of a path; `None` if there is no such path or no way for it.
    pub fn links(&self, path: PathId) -> Option<&[Link]> {
        self.paths.get(&path)?.links.as_deref()
    }

    /// The switches to which there is a way from this one, itself included.
    pub fn reachable(&self, from: DatapathId) -> BTreeSet<DatapathId> {
        self.graph.tree(from).into_keys().chain([from]).collect()
    }

    /// Asks for a path for what matches, from where it comes in to where it shall leave.
    pub fn request(
        &mut self,
        matching: Match,
        from: SwitchPort,
        to: SwitchPort,
    ) -> (PathId, Effects<PathChange>) {
        let id = PathId(self.next);
        self.next += 1;
        self.paths.insert(id, Path { matching, from, to, links: None, flows: Vec::new() });
        let tree = self.graph.tree(from.switch);
        (id, self.find(id, &tree))
    }

    /// Gives up a path.
    pub fn release(&mut self, id: PathId) -> Effects<PathChange> {
        let Some(path) = self.paths.remove(&id) else { return Effects::none() };
        delete(path.flows.iter().map(|(switch, flow)| (*switch, flow)))
    }

    fn flow(&self, id: PathId, matching: &Match, in_port: OfPort, out_port: OfPort) -> FlowEntry {
        FlowEntry::new(TableId(0), self.priority)
            .cookie(Cookie(id.0))
            .matching(matching.clone().with(Field::InPort, in_port))
            .apply([Action::Output(out_port)])
    }

    /// The flows of a path, from the first switch to the last.
    fn flows(&self, id: PathId, path: &Path, links: &[Link]) -> Vec<(DatapathId, FlowEntry)> {
        let arrivals = std::iter::once(path.from).chain(links.iter().map(|link| link.to));
        let departures = links.iter().map(|link| link.from).chain([path.to]);
        let flow = |(arrival, departure): (SwitchPort, SwitchPort)| {
            (arrival.switch, self.flow(id, &path.matching, arrival.port, departure.port))
        };
        let mut flows: Vec<_> = arrivals.zip(departures).map(flow).collect();
        if let (Some((_, first)), 1..) = (flows.first_mut(), self.idle_timeout) {
            // The first switch sees every packet; what it says holds for the whole path.
            first.idle_timeout = self.idle_timeout;
            first.flags = FlowFlags::SEND_FLOW_REM;
        }
        flows
    }

    /// Brings one path up to date.
    fn find(&mut self, id: PathId, tree: &BTreeMap<DatapathId, Link>) -> Effects<PathChange> {
        let Some(path) = self.paths.get(&id) else { return Effects::none() };
        let connected = self.topology.is_connected(path.from.switch);
        let links = climb(tree, path.from.switch, path.to.switch).filter(|_| connected);
        let flows = links.as_ref().map(|links| self.flows(id, path, links)).unwrap_or_default();
        let new = flows.iter().rev().filter(|flow| !path.flows.contains(flow));
        let mut effects = Effects::none();
        for (switch, flow) in new {
            effects.push(*switch, FlowMod::add(flow.clone()));
        }
        let stays = |switch: DatapathId, flow: &FlowEntry| {
            flows.iter().any(|(place, new)| *place == switch && new.key() == flow.key())
        };
        let old = path.flows.iter().map(|(switch, flow)| (*switch, flow));
        effects.append(delete(old.filter(|(switch, flow)| !stays(*switch, flow))));
        if links != path.links {
            effects.push_notice(match &links {
                Some(links) => PathChange::Found(id, links.clone()),
                None => PathChange::Lost(id),
            });
        }
        if let Some(path) = self.paths.get_mut(&id) {
            (path.links, path.flows) = (links, flows);
        }
        effects
    }

    fn topology_changed(&mut self, change: TopologyChange) {
        match change {
            TopologyChange::LinkAdded(link) => self.graph.add(link),
            TopologyChange::LinkRemoved(link) => self.graph.remove(link),
            // Nothing can be deleted there, and it is cleared when it connects again.
            TopologyChange::SwitchAdded(gone) | TopologyChange::SwitchRemoved(gone) => {
                for path in self.paths.values_mut() {
                    path.flows.retain(|(switch, _)| *switch != gone);
                }
            }
        }
    }

    fn find_all(&mut self) -> Effects<PathChange> {
        let mut effects = Effects::none();
        let mut trees = BTreeMap::new();
        let ids: Vec<(PathId, DatapathId)> =
            self.paths.iter().map(|(id, path)| (*id, path.from.switch)).collect();
        for (id, root) in ids {
            let tree = trees.entry(root).or_insert_with(|| self.graph.tree(root));
            effects.append(self.find(id, tree));
        }
        effects
    }
}

fn delete<'a>(flows: impl Iterator<Item = (DatapathId, &'a FlowEntry)>) -> Effects<PathChange> {
    let mut effects = Effects::none();
    for (switch, flow) in flows {
        effects.push(switch, FlowMod::delete_strict(flow.key()));
    }
    effects
}

impl Application for PathManager {
    type Notice = PathChange;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<PathChange> {
        let mut effects = Effects::none();
        if let Event::SwitchUp(switch, _) = event {
            effects.push(*switch, FlowMod::new(FlowModCommand::Delete, TableId::ALL));
        }
        let changes = effects.absorb(self.topology.handle(now, event));
        changes.iter().for_each(|change| self.topology_changed(*change));
        if !changes.is_empty() {
            effects.append(self.find_all());
        }
        changes.into_iter().for_each(|change| effects.push_notice(PathChange::Topology(change)));
        if let Event::FlowRemoved(_, removed) = event {
            let id = PathId(removed.cookie.0);
            let first = self.paths.get(&id).and_then(|path| path.flows.first());
            let is_first = first.is_some_and(|(_, flow)| flow.key() == removed.key);
            if removed.reason == FlowRemovedReason::IdleTimeout && is_first {
                effects.append(self.release(id));
                effects.push_notice(PathChange::Idle(id));
            }
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(u64, u64)]) -> Graph {
        let mut graph = Graph::default();
        // The port towards a switch has its number.
        let port = |at, towards: u64| SwitchPort::new(DatapathId(at), OfPort(towards as u32));
        for (a, b) in edges {
            graph.add(Link { from: port(*a, *b), to: port(*b, *a) });
            graph.add(Link { from: port(*b, *a), to: port(*a, *b) });
        }
        graph
    }

    fn way(graph: &Graph, from: u64, to: u64) -> Option<Vec<u64>> {
        let links = graph.shortest_path(DatapathId(from), DatapathId(to))?;
        Some(links.iter().map(|link| link.to.switch.0).collect())
    }

    #[test]
    fn of_equal_ways_the_lowest_ports_are_taken() {
        let square = [(1, 2), (2, 4), (1, 3), (3, 4), (4, 5)];
        assert_eq!(way(&graph(&square), 1, 5), Some(vec![2, 4, 5]));
        let mut reversed = square;
        reversed.reverse();
        assert_eq!(way(&graph(&reversed), 1, 5), Some(vec![2, 4, 5]));
        assert_eq!(way(&graph(&square[1..]), 1, 5), Some(vec![3, 4, 5]));
        assert_eq!(way(&graph(&square), 4, 4), Some(vec![]));
        assert_eq!(way(&graph(&square), 1, 6), None);
    }

    #[test]
    fn no_way_is_shorter() {
        // Against all-pairs distances by relaxation, over graphs drawn from a fixed sequence.
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..60 {
            let n = 2 + random(8);
            let edges: Vec<(u64, u64)> =
                (0..random(2 * n)).map(|_| (random(n), random(n))).filter(|(a, b)| a != b).collect();
            let graph = graph(&edges);
            let far = 1_000usize;
            let mut distance = vec![vec![far; n as usize]; n as usize];
            (0..n as usize).for_each(|i| distance[i][i] = 0);
            for (a, b) in edges.iter().map(|(a, b)| (*a as usize, *b as usize)) {
                (distance[a][b], distance[b][a]) = (1, 1);
            }
            for k in 0..n as usize {
                for i in 0..n as usize {
                    for j in 0..n as usize {
                        distance[i][j] = distance[i][j].min(distance[i][k] + distance[k][j]);
                    }
                }
            }
            for (i, row) in distance.iter().enumerate() {
                for (j, wanted) in row.iter().enumerate() {
                    let path = graph.shortest_path(DatapathId(i as u64), DatapathId(j as u64));
                    assert_eq!(path.as_ref().map_or(far, Vec::len), *wanted, "{i} to {j}: {edges:?}");
                    for pair in path.unwrap_or_default().windows(2) {
                        assert_eq!(pair[0].to.switch, pair[1].from.switch);
                    }
                }
            }
        }
    }
}
