//! Docker's remote-driver and IPAM plugin protocol.
//!
//! dockerd speaks HTTP/1.1 over a Unix socket: one POST a call, a JSON object each way. This is the whole of its
//! NetworkDriver and IpamDriver interfaces. What is said here of dockerd's behaviour was measured with Docker
//! 20.10.24, 26.1.5 and 28.5.2, whose recorded calls are among the tests.
//!
//! - [`Edge`] reads a request, parses it into the types of this module, asks a [`Driver`], and writes the reply.
//! - [`Driver`] is what stands behind it. It sees only requests that make sense.
//! - [`Refusal`] is the line that Docker shows its user.
//!
//! Answered by the edge alone, so that they work with the store and Open vSwitch both down: `Plugin.Activate`, both
//! `GetCapabilities`, `GetDefaultAddressSpaces`, `GwAllocCheck`, `AllocateNetwork`, `FreeNetwork`, `DiscoverNew`,
//! `DiscoverDelete`. dockerd asks for capabilities once and remembers a failure until it is restarted.

mod edge;
mod fields;
mod method;
mod refusal;
mod reply;
mod request;

use async_trait::async_trait;
use ipnet::IpNet;

pub use edge::Edge;
pub use fields::RequestError;
pub use method::Method;
pub use refusal::Refusal;
pub use reply::{
    CreateEndpointReply, InterfacePrefix, InterfacePrefixError, JoinReply, OperationalInfo, RequestPoolReply,
    StaticRoute, StaticRouteError,
};
pub use request::{
    AddressSpace, CreateEndpoint, CreateNetwork, EndpointRef, ExposedPort, IpProtocol, Join, NetworkRef,
    PoolData, PoolId, PoolIdError, PortBinding, Ports, ProgramExternal, Purpose, ReleaseAddress, ReleasePool,
    RequestAddress, RequestPool,
};

/// A network and IPAM driver, behind the protocol.
///
/// Every method is idempotent, since dockerd repeats calls, and persists what it promises before it returns, since
/// dockerd never repeats networks or endpoints after a restart. None calls dockerd, which may hold the lock of the
/// container that the call is about. A call runs to its end even if dockerd hangs up.
///
/// A refusal of `create_network`, `create_endpoint`, `join`, `program_external` and the two IPAM requests stops what
/// the user does. A refusal of the others is only logged by dockerd, which forgets the object all the same; they
/// succeed for objects that the driver does not know.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Creates a network. The only place where its options can be refused.
    async fn create_network(&self, request: CreateNetwork) -> Result<(), Refusal>;

    /// Forgets a network.
    async fn delete_network(&self, request: NetworkRef) -> Result<(), Refusal>;

    /// Creates an endpoint. The only place where its `--driver-opt` are seen and can be refused.
    async fn create_endpoint(&self, request: CreateEndpoint) -> Result<CreateEndpointReply, Refusal>;

    /// Removes all that an endpoint has. It may come without [`Driver::leave`], and with the sandbox's link back on
    /// the host under the name that [`JoinReply`] gave it.
    async fn delete_endpoint(&self, request: EndpointRef) -> Result<(), Refusal>;

    /// What is known of an endpoint; called often, so it takes no time. Nothing, for an unknown one.
    async fn operational_info(&self, request: EndpointRef) -> Result<OperationalInfo, Refusal>;

    /// Makes the link of an endpoint ready to be moved into a sandbox.
    async fn join(&self, request: Join) -> Result<JoinReply, Refusal>;

    /// The sandbox is going away.
    async fn leave(&self, request: EndpointRef) -> Result<(), Refusal>;

    /// Publishes ports of an endpoint whose network has the sandbox's default gateway. Called after Join, before
    /// Docker 28 with the link not yet in the sandbox.
    async fn program_external(&self, request: ProgramExternal) -> Result<(), Refusal>;

    /// Takes back [`Driver::program_external`].
    async fn revoke_external(&self, request: EndpointRef) -> Result<(), Refusal>;

    /// Gives out a pool of addresses.
    async fn request_pool(&self, request: RequestPool) -> Result<RequestPoolReply, Refusal>;

    /// Takes a pool back.
    async fn release_pool(&self, request: ReleasePool) -> Result<(), Refusal>;

    /// Gives out an address, with the prefix length that the interface is to have.
    async fn request_address(&self, request: RequestAddress) -> Result<IpNet, Refusal>;

    /// Takes an address back.
    async fn release_address(&self, request: ReleaseAddress) -> Result<(), Refusal>;
}

#[cfg(test)]
mod tests;
