//! The operator's socket: HTTP/1.1 and JSON on a Unix socket that is root's alone. An interface for tools too.
//!
//! | request | reply |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/networks` | array of [`NetworkSummary`] |
//! | `GET /v1/networks/NAME` | [`NetworkDetail`] |
//! | `POST /v1/networks` with [`CreateNetwork`] | 201 or, if it was there and agrees, 200, with [`CreatedNetwork`] |
//! | `DELETE /v1/networks/NAME` | [`Removed`]; refused while it has endpoints |
//! | `GET /v1/endpoints[?network=NAME]` | array of [`EndpointSummary`] |
//! | `GET /v1/endpoints/ID` | [`EndpointDetail`] |
//! | `DELETE /v1/endpoints/ID` | [`Removed`]; for one that Docker has forgotten |
//! | `GET /v1/nodes` | array of [`NodeSummary`] |
//! | `GET /v1/nodes/NAME` | [`NodeDetail`] |
//! | `DELETE /v1/nodes/NAME[?force=true]` | [`Removed`]; refused while its agent runs, and without `force` while it has endpoints |
//!
//! | `GET /v1/ports[?network=NAME][&node=NAME]` | array of [`PortView`]: attached switch ports |
//! | `POST /v1/ports` with [`AttachPort`] | 201 or, if it was so, 200, with [`AttachedPort`] |
//! | `DELETE /v1/ports/NODE/PORT[?vlan=N]` | [`Removed`]; `.` for the node that answers |
//!
//! Where an `ID` is wanted, the beginning of one does if it is only one endpoint's. Every other reply has a status
//! of 4xx or 5xx and an [`ErrorReply`]: `{"error":{"kind":"not-found","message":"…"}}`.
//!
//! ```text
//! curl --unix-socket /run/sluice/admin.sock http://localhost/v1/status
//! ```
//!
//! [`Backend`] is what answers: the agent; [`Client`], which asks an agent; or [`StoreBackend`], which works on a
//! cluster's store where no agent runs.

mod client;
mod server;
mod store_backend;
mod types;

use async_trait::async_trait;

use crate::model::{EndpointId, NetworkName, NodeName, PortTag};

pub use client::Client;
pub use server::serve;
pub use store_backend::{StoreBackend, StoreSettings};
pub use types::{
    AdminError, AttachPort, AttachedPort, CreateNetwork, CreatedNetwork, DockerStatus, EndpointDetail,
    EndpointSummary, ErrorKind, ErrorReply, LinuxPort, LinuxStatus, NetworkDetail, NetworkSummary,
    NodeDetail, NodeSummary, OpenflowStatus, OvsStatus, PortStatus, PortView, Problem, Removed, Severity,
    State, StationView, Status, StoreStatus, SubnetView, VtepPort, VtepStatus,
};

/// What the operator can see and do. Each method is one request of the table above.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// How this node is.
    async fn status(&self) -> Result<Status, AdminError>;

    /// All networks, by name.
    async fn networks(&self) -> Result<Vec<NetworkSummary>, AdminError>;

    /// One network.
    async fn network(&self, name: &NetworkName) -> Result<NetworkDetail, AdminError>;

    /// Makes a network, or makes sure that the one there is agrees.
    async fn create_network(&self, request: CreateNetwork) -> Result<CreatedNetwork, AdminError>;

    /// Removes a network that has no endpoints.
    async fn remove_network(&self, name: &NetworkName) -> Result<Removed, AdminError>;

    /// The endpoints of all networks, or of one.
    async fn endpoints(&self, network: Option<&NetworkName>) -> Result<Vec<EndpointSummary>, AdminError>;

    /// One endpoint.
    async fn endpoint(&self, id: &EndpointId) -> Result<EndpointDetail, AdminError>;

    /// Removes an endpoint that Docker has forgotten.
    async fn remove_endpoint(&self, id: &EndpointId) -> Result<Removed, AdminError>;

    /// All nodes, by name.
    async fn nodes(&self) -> Result<Vec<NodeSummary>, AdminError>;

    /// One node.
    async fn node(&self, name: &NodeName) -> Result<NodeDetail, AdminError>;

    /// Removes a node whose agent does not run; with `force`, its endpoints too.
    async fn remove_node(&self, name: &NodeName, force: bool) -> Result<Removed, AdminError>;

    /// The attached switch ports of all networks or one, of all nodes or one.
    async fn ports(
        &self,
        network: Option<&NetworkName>,
        node: Option<&NodeName>,
    ) -> Result<Vec<PortView>, AdminError>;

    /// Makes a switch port a member of a network, or makes sure that it is.
    async fn attach_port(&self, request: AttachPort) -> Result<AttachedPort, AdminError>;

    /// Takes a switch port out of its network. Without a node it is this one's.
    async fn detach_port(&self, node: Option<&NodeName>, at: &PortTag) -> Result<Removed, AdminError>;
}

/// The endpoint whose id is this, or begins with it.
///
/// # Errors
/// None has, or several have such an id.
pub async fn resolve_endpoint(backend: &dyn Backend, text: &str) -> Result<EndpointId, AdminError> {
    let start: EndpointId = text.parse().map_err(|error| AdminError::new(ErrorKind::Invalid, error))?;
    let ids = backend.endpoints(None).await?.into_iter().map(|endpoint| endpoint.id);
    let mut found: Vec<EndpointId> = ids.filter(|id| id.as_str().starts_with(start.as_str())).collect();
    if let Some(exact) = found.iter().position(|id| *id == start) {
        return Ok(found.swap_remove(exact));
    }
    match found.as_slice() {
        [id] => Ok(id.clone()),
        [] => Err(AdminError::new(
            ErrorKind::NotFound,
            format!("endpoint {text} does not exist: `sluice endpoint ls` shows those that do"),
        )),
        several => {
            let ids: Vec<_> = several.iter().map(|id| format!("{:.16}", id.as_str())).collect();
            Err(AdminError::new(
                ErrorKind::Invalid,
                format!(
                    "endpoint {text} is not one but {}: {}; give more digits",
                    several.len(),
                    ids.join(", ")
                ),
            ))
        }
    }
}
