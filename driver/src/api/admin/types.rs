//! What goes over the operator's socket. The names of the fields are stable: tools depend on them, and `--json`
//! prints exactly these objects. Fields may be added.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use ofctl::MacAddr;
use serde::{Deserialize, Serialize};

use crate::linux::Form;
use crate::model::{
    Dataplane, Encapsulation, Endpoint, EndpointId, External, LinkName, Network, NetworkId, NetworkName,
    Node, NodeName, Phase, PortAttachment, PortTag, Station, Subnet, VlanId, Vni,
};

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that was asked for does not work.
    Error,
    /// It works, but not as it should, or not for long.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is wrong with: `network blue`, `endpoint 466a53675492`, `store`.
    pub object: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Whether something that the agent needs is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers.
    Ok,
    /// It does not answer.
    Away,
    /// It is not used, by configuration.
    Off,
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ok => "ok",
            Self::Away => "away",
            Self::Off => "off",
        })
    }
}

/// The store, as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// `embedded` or `etcd`.
    pub kind: String,
    /// The file, or the servers.
    pub address: String,
    /// Whether it answers.
    pub state: State,
    /// Since when it is in this state, in seconds since 1970-01-01 00:00 UTC.
    pub since: u64,
    /// What it last refused to do, while it is away.
    pub error: Option<String>,
}

/// Open vSwitch's database, as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsStatus {
    /// Whether it answers.
    pub state: State,
    /// Open vSwitch's version.
    pub version: Option<String>,
    /// The bridge.
    pub bridge: LinkName,
    /// The bridge's datapath: `system` or `netdev`.
    pub datapath: Option<String>,
    /// Why it is away.
    pub error: Option<String>,
}

/// The OpenFlow session with the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenflowStatus {
    /// Whether the session is up.
    pub state: State,
    /// The generation of the flows; it grows with every full resynchronisation.
    pub generation: u64,
    /// How many flows there are.
    pub flows: u64,
    /// How many flows were found missing or changed by an audit, and put right.
    pub repaired: u64,
    /// How many flows the switch refused.
    pub refused: u64,
    /// Why it is away.
    pub error: Option<String>,
}

/// The bridges and VXLAN links of a switch without Open vSwitch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxStatus {
    /// Whether the kernel is programmed.
    pub state: State,
    /// How networks are laid on bridges.
    #[serde(flatten)]
    pub form: Form,
    /// How many networks have a port here.
    pub networks: u64,
    /// How many MACs are behind other nodes.
    pub remotes: u64,
    /// How many of those the switching chip has, as the kernel says.
    pub offloaded: u64,
    /// How many addresses are answered for.
    pub neighbours: u64,
    /// How many changes by others audits have had to mend.
    pub repaired: u64,
    /// The attached ports.
    pub ports: Vec<LinuxPort>,
    /// The MACs seen on them.
    pub stations: Vec<StationView>,
    /// Why it is away.
    pub error: Option<String>,
}

/// An attached port of the switch that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxPort {
    /// The port.
    #[serde(flatten)]
    pub at: PortTag,
    /// The network.
    pub network: NetworkName,
    /// Whether its link passes packets; none: there is no such link.
    pub running: Option<bool>,
    /// Why it is not in its network.
    pub problem: Option<String>,
}

/// The `hardware_vtep` database of a switch that is told by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VtepStatus {
    /// Whether it is told.
    pub state: State,
    /// The switch's name in the database.
    pub switch: Option<String>,
    /// Where its tunnels end.
    pub tunnel: Option<IpAddr>,
    /// How many networks have a port here.
    pub networks: u64,
    /// How many MACs are behind other nodes.
    pub remotes: u64,
    /// To how many other nodes copies of broadcasts are sent.
    pub flooded: u64,
    /// How many changes by others had to be mended.
    pub repaired: u64,
    /// The attached ports.
    pub ports: Vec<VtepPort>,
    /// The MACs seen on them.
    pub stations: Vec<StationView>,
    /// Logical switches of other controllers, which are left alone.
    pub others: Vec<String>,
    /// Why it is away.
    pub error: Option<String>,
}

/// An attached port of such a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VtepPort {
    /// The port.
    #[serde(flatten)]
    pub at: PortTag,
    /// The network.
    pub network: NetworkName,
    /// Whether the switch has such a port.
    pub present: bool,
    /// What the switch says that it could not do with it.
    pub faults: Vec<String>,
    /// Why it is not in its network.
    pub problem: Option<String>,
}

/// A MAC behind a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationView {
    /// The network.
    pub network: NetworkName,
    /// The MAC address.
    pub mac: MacAddr,
    /// The port; none: one of the network's ports on its node, and the switch does not tell which.
    #[serde(flatten)]
    pub at: Option<PortTag>,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

impl From<&Station> for StationView {
    fn from(station: &Station) -> Self {
        StationView {
            network: station.network.clone(),
            mac: station.mac,
            at: station.at.clone(),
            addresses: station.addresses.clone(),
        }
    }
}

/// An attached port. `GET /v1/ports` has an array of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortView {
    /// The node that has the port.
    pub node: NodeName,
    /// The port, and the VLAN of it.
    #[serde(flatten)]
    pub at: PortTag,
    /// The network.
    pub network: NetworkName,
    /// The node on which this was asked for.
    pub attached_on: NodeName,
    /// When, in seconds since 1970-01-01 00:00 UTC.
    pub attached_at: u64,
    /// The stations that the store has behind it, and those of which the switch does not tell behind which of the
    /// network's ports they are.
    pub stations: Vec<StationView>,
    /// Why it is not in its network, if it is a port of the node that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl PortView {
    /// An attached port, with those of these stations that are behind it.
    pub fn new<'a>(port: &PortAttachment, stations: impl IntoIterator<Item = &'a Station>) -> PortView {
        let is_behind = |station: &&Station| {
            (&station.network, &station.node) == (&port.network, &port.node)
                && station.at.as_ref().is_none_or(|at| *at == port.at())
        };
        PortView {
            node: port.node.clone(),
            at: port.at(),
            network: port.network.clone(),
            attached_on: port.origin.node.clone(),
            attached_at: port.origin.at,
            stations: stations.into_iter().filter(is_behind).map(StationView::from).collect(),
            problem: None,
        }
    }
}

/// The body of `POST /v1/ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachPort {
    /// The node; the one that answers if left out.
    #[serde(default)]
    pub node: Option<NodeName>,
    /// The port's link, such as `swp1`.
    pub port: LinkName,
    /// The VLAN of it; without one, frames without a tag.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// The network.
    pub network: NetworkName,
}

/// The reply to `POST /v1/ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedPort {
    /// True if it is new, false if it was so before.
    pub created: bool,
    /// The port.
    pub port: PortView,
}

/// Docker's API, as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerStatus {
    /// Whether it answers; `off` with `docker-socket = "none"`.
    pub state: State,
    /// The engine's version.
    pub version: Option<String>,
    /// Why it is away.
    pub error: Option<String>,
}

/// How this node is. `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeName,
    /// The agent's version.
    pub version: String,
    /// How long the agent has run.
    pub uptime_seconds: u64,
    /// The store.
    pub store: StoreStatus,
    /// Open vSwitch.
    pub ovs: OvsStatus,
    /// The flows.
    pub openflow: OpenflowStatus,
    /// The kernel's bridges, on a switch; then Open vSwitch, the flows and Docker are `off`.
    #[serde(default)]
    pub linux: Option<LinuxStatus>,
    /// The switch's database, with the hardware-vtep dataplane; then Open vSwitch, the flows and Docker are `off`.
    #[serde(default)]
    pub vtep: Option<VtepStatus>,
    /// Docker.
    pub docker: DockerStatus,
    /// How many networks this node knows.
    pub networks: u64,
    /// How many endpoints this node has.
    pub endpoints: u64,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
}

/// A subnet in requests and replies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetView {
    /// The prefix.
    pub prefix: IpNet,
    /// The gateway's address; in a request, the subnet's first address if left out.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Addresses that no endpoint gets, by name.
    #[serde(default)]
    pub reserved: BTreeMap<String, IpAddr>,
}

impl From<&Subnet> for SubnetView {
    fn from(subnet: &Subnet) -> Self {
        SubnetView { prefix: subnet.prefix, gateway: subnet.gateway, reserved: subnet.reserved.clone() }
    }
}

/// A network, in short. `GET /v1/networks` has an array of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSummary {
    /// Its name.
    pub name: NetworkName,
    /// Its number.
    pub id: NetworkId,
    /// How its packets travel.
    pub encapsulation: Encapsulation,
    /// Its VNI, with tunnels.
    pub vni: Option<Vni>,
    /// Its VLAN, with `vlan`.
    pub vlan: Option<VlanId>,
    /// Its subnets.
    pub subnets: Vec<SubnetView>,
    /// Its MTU in bytes, if it was chosen.
    pub mtu: Option<u16>,
    /// How its containers reach what is outside.
    pub external: External,
    /// Whether agents make the Docker network by themselves.
    pub docker_sync: bool,
    /// The node that made it.
    pub created_on: NodeName,
    /// When, in seconds since 1970-01-01 00:00 UTC.
    pub created_at: u64,
    /// How many endpoints it has on all nodes.
    pub endpoint_count: u64,
}

impl NetworkSummary {
    /// The summary of a network that has so many endpoints.
    pub fn new(network: &Network, endpoint_count: u64) -> NetworkSummary {
        NetworkSummary {
            name: network.name.clone(),
            id: network.id,
            encapsulation: network.encapsulation,
            vni: network.vni,
            vlan: network.vlan,
            subnets: network.subnets.iter().map(SubnetView::from).collect(),
            mtu: network.mtu,
            external: network.external,
            docker_sync: network.docker_sync,
            created_on: network.origin.node.clone(),
            created_at: network.origin.at,
            endpoint_count,
        }
    }
}

/// A network with its endpoints. `GET /v1/networks/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDetail {
    /// The network.
    #[serde(flatten)]
    pub network: NetworkSummary,
    /// Its endpoints on all nodes.
    pub endpoints: Vec<EndpointSummary>,
}

/// The body of `POST /v1/networks`. What is left out agrees with the network that there is, or gets its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateNetwork {
    /// The name.
    pub name: NetworkName,
    /// The subnets; none: one IPv4 subnet out of the default pool.
    #[serde(default)]
    pub subnets: Vec<SubnetView>,
    /// The encapsulation.
    #[serde(default)]
    pub encapsulation: Option<Encapsulation>,
    /// The VNI.
    #[serde(default)]
    pub vni: Option<Vni>,
    /// The VLAN.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// The MTU in bytes, 1280 to 65535.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// How its containers reach what is outside.
    #[serde(default)]
    pub external: Option<External>,
    /// Whether agents make the Docker network by themselves.
    #[serde(default)]
    pub docker_sync: bool,
}

/// The reply to `POST /v1/networks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedNetwork {
    /// True if it is new, false if it was there and agrees.
    pub created: bool,
    /// The network.
    pub network: NetworkSummary,
}

/// An endpoint, in short. `GET /v1/endpoints` has an array of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSummary {
    /// Docker's EndpointID.
    pub id: EndpointId,
    /// Its network.
    pub network: NetworkName,
    /// Its node.
    pub node: NodeName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its addresses with the prefix length of their subnet.
    pub addresses: Vec<IpNet>,
    /// How far Docker has come with it.
    pub phase: Phase,
}

impl From<&Endpoint> for EndpointSummary {
    fn from(endpoint: &Endpoint) -> Self {
        EndpointSummary {
            id: endpoint.id.clone(),
            network: endpoint.network.clone(),
            node: endpoint.node.clone(),
            mac: endpoint.mac,
            addresses: endpoint.addresses.clone(),
            phase: endpoint.phase,
        }
    }
}

/// An endpoint's port on this node's bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// The OpenFlow port number, once the switch gave one.
    pub ofport: Option<u32>,
    /// The MTU of the links in bytes.
    pub mtu: Option<u16>,
    /// Whether the host link is up.
    pub up: bool,
    /// Whether the switch has the flows of the newest plan for it.
    pub programmed: bool,
    /// What the switch refused.
    pub error: Option<String>,
}

/// An endpoint with what this node knows of it. `GET /v1/endpoints/ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDetail {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: EndpointSummary,
    /// The link on its node that is a port of the bridge.
    pub host_link: LinkName,
    /// The options of the attachment.
    pub options: BTreeMap<String, String>,
    /// Its port, if it is on the node that answers.
    pub port: Option<PortStatus>,
}

impl From<&Endpoint> for EndpointDetail {
    fn from(endpoint: &Endpoint) -> Self {
        EndpointDetail {
            endpoint: endpoint.into(),
            host_link: endpoint.host_link(),
            options: endpoint.options.clone(),
            port: None,
        }
    }
}

/// A node, in short. `GET /v1/nodes` has an array of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its name.
    pub name: NodeName,
    /// Whether its agent holds its lease.
    pub alive: bool,
    /// The address at which it takes tunnel packets.
    pub underlay: Option<IpAddr>,
    /// The MTU of the link with that address.
    pub underlay_mtu: Option<u16>,
    /// The encapsulations that it can do.
    pub encapsulations: Vec<Encapsulation>,
    /// What forwards its packets.
    pub dataplane: Dataplane,
    /// Its agent's version.
    pub version: String,
    /// How many endpoints it has.
    pub endpoint_count: u64,
}

impl NodeSummary {
    /// The summary of a node.
    pub fn new(node: &Node, alive: bool, endpoint_count: u64) -> NodeSummary {
        NodeSummary {
            name: node.name.clone(),
            alive,
            underlay: node.underlay,
            underlay_mtu: node.underlay_mtu,
            encapsulations: node.encapsulations.clone(),
            dataplane: node.dataplane,
            version: node.version.clone(),
            endpoint_count,
        }
    }
}

/// A node with its endpoints. `GET /v1/nodes/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDetail {
    /// The node.
    #[serde(flatten)]
    pub node: NodeSummary,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSummary>,
}

/// The reply to a removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// What was removed: `network blue`, and what went with it.
    pub removed: Vec<String>,
}

/// Which kind of refusal a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request cannot be understood, or its parts do not go together. HTTP 400.
    Invalid,
    /// There is no such object. HTTP 404.
    NotFound,
    /// The object's state forbids it. HTTP 409.
    Conflict,
    /// Something that is needed is away; trying again may help. HTTP 503.
    Unavailable,
    /// It cannot be had here. HTTP 501.
    Unsupported,
    /// The agent failed. HTTP 500.
    Internal,
}

/// A refusal. Its message names the object and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// Which kind.
    pub kind: ErrorKind,
    /// What was refused, why, and what to do.
    pub message: String,
}

impl AdminError {
    /// A refusal.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> AdminError {
        AdminError { kind, message: message.to_string() }
    }
}

/// The body of every reply that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// The refusal.
    pub error: AdminError,
}
