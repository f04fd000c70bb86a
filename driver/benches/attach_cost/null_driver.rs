//! A driver that does nothing but make a link and count addresses: what any remote driver costs, before it has done
//! anything.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use rtnetlink::LinkVeth;
use rtnetlink::packet_route::link::LinkMessage;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sluice::api::http;
use sluice::api::libnetwork::{
    CreateEndpoint, CreateEndpointReply, CreateNetwork, Driver, Edge, EndpointRef, Join, JoinReply,
    NetworkRef, OperationalInfo, ProgramExternal, Refusal, ReleaseAddress, ReleasePool, RequestAddress,
    RequestPool, RequestPoolReply,
};
use sluice::model::{EndpointId, LinkName};

use crate::lab::Host;

struct NullDriver {
    /// Its links have names of their own: an agent on the same host takes those of `Links` for leftovers.
    netlink: rtnetlink::Handle,
    /// Addresses given.
    given: AtomicU32,
}

/// Serves Docker's protocol as driver `null-link` of a host, on a thread of its own, as long as the process lives.
pub fn serve(host: &Host) {
    let socket = host.seen("/run/docker/plugins/null-link.sock");
    let namespace = std::fs::File::open(host.net().path()).expect("the host's network namespace");
    let (bound, is_bound) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).expect("setns");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(answer(&socket, || bound.send(()).expect("the bench waits")));
    });
    is_bound.recv().expect("the plugin's socket");
}

async fn answer(socket: &Path, bound: impl FnOnce()) {
    let (connection, handle, _) = rtnetlink::new_connection().expect("a netlink socket");
    tokio::spawn(connection);
    let listener = http::bind(socket).expect("a socket");
    bound();
    let edge = Edge::new(Arc::new(NullDriver { netlink: handle, given: AtomicU32::new(1) }));
    let never = std::future::pending();
    http::serve(listener, move |request| edge.clone().answer(request), never, Duration::ZERO).await;
}

#[async_trait]
impl Driver for NullDriver {
    async fn create_network(&self, _request: CreateNetwork) -> Result<(), Refusal> {
        Ok(())
    }

    async fn delete_network(&self, _request: NetworkRef) -> Result<(), Refusal> {
        Ok(())
    }

    async fn create_endpoint(&self, request: CreateEndpoint) -> Result<CreateEndpointReply, Refusal> {
        let veth =
            LinkVeth::new(&host_link(&request.endpoint), sandbox_link(&request.endpoint).as_str()).up();
        self.netlink.link().add(veth.build()).execute().await?;
        Ok(CreateEndpointReply::default())
    }

    async fn delete_endpoint(&self, request: EndpointRef) -> Result<(), Refusal> {
        let mut link = LinkMessage::default();
        link.attributes
            .push(rtnetlink::packet_route::link::LinkAttribute::IfName(host_link(&request.endpoint)));
        Ok(self.netlink.link().del_with_message(link).execute().await?)
    }

    async fn operational_info(&self, _request: EndpointRef) -> Result<OperationalInfo, Refusal> {
        Ok(OperationalInfo::new())
    }

    async fn join(&self, request: Join) -> Result<JoinReply, Refusal> {
        Ok(JoinReply::new(sandbox_link(&request.endpoint)))
    }

    async fn leave(&self, _request: EndpointRef) -> Result<(), Refusal> {
        Ok(())
    }

    async fn program_external(&self, _request: ProgramExternal) -> Result<(), Refusal> {
        Err(Refusal::not_implemented())
    }

    async fn revoke_external(&self, _request: EndpointRef) -> Result<(), Refusal> {
        Err(Refusal::not_implemented())
    }

    async fn request_pool(&self, request: RequestPool) -> Result<RequestPoolReply, Refusal> {
        let pool = request.pool.ok_or_else(|| Refusal::new("a subnet is wanted"))?;
        Ok(RequestPoolReply { id: pool.to_string().parse().expect("not empty"), pool, gateway: None })
    }

    async fn release_pool(&self, _request: ReleasePool) -> Result<(), Refusal> {
        Ok(())
    }

    async fn request_address(&self, request: RequestAddress) -> Result<IpNet, Refusal> {
        let pool: IpNet = request.pool.to_string().parse().expect("one of ours");
        let next = || pool.hosts().nth(self.given.fetch_add(1, Ordering::Relaxed) as usize);
        let address = request.address.or_else(next).expect("a pool that is larger than the bench");
        Ok(IpNet::new(address, pool.prefix_len()).expect("the pool's own length"))
    }

    async fn release_address(&self, _request: ReleaseAddress) -> Result<(), Refusal> {
        Ok(())
    }
}

fn host_link(endpoint: &EndpointId) -> String {
    format!("nlh-{:.11}", endpoint.as_str())
}

fn sandbox_link(endpoint: &EndpointId) -> LinkName {
    format!("nlc-{:.11}", endpoint.as_str()).parse().expect("eleven digits and a prefix")
}
