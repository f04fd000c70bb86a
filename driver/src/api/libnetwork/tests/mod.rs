//! The edge in front of a driver that says yes: what reaches the driver, what does not, and what comes back.

mod malformed;
mod raw;
mod replies;

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::api::http::StatusCode;

const NETWORK: &str = "a1ff532d0d87da657594b989ca68ae52bd60331aa2b261d8adf889937f13ae85";
const ENDPOINT: &str = "466a53675492466a53675492466a53675492466a53675492466a53675492aabb";

/// A driver that says yes and remembers what it was asked; some answers can be set.
#[derive(Default)]
struct Yes {
    asked: Mutex<Vec<String>>,
    created: Mutex<Option<CreateEndpoint>>,
    networks: Mutex<Vec<CreateNetwork>>,
    endpoint: Mutex<CreateEndpointReply>,
    join: Mutex<Option<JoinReply>>,
    refusal: Mutex<Option<Refusal>>,
}

impl Yes {
    fn note(&self, what: impl std::fmt::Debug) -> Result<(), Refusal> {
        self.asked.lock().unwrap().push(format!("{what:?}"));
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Driver for Yes {
    async fn create_network(&self, request: CreateNetwork) -> Result<(), Refusal> {
        self.note(&request)?;
        self.networks.lock().unwrap().push(request);
        Ok(())
    }
    async fn delete_network(&self, request: NetworkRef) -> Result<(), Refusal> {
        self.note(request)
    }
    async fn create_endpoint(&self, request: CreateEndpoint) -> Result<CreateEndpointReply, Refusal> {
        self.note(&request)?;
        *self.created.lock().unwrap() = Some(request);
        Ok(*self.endpoint.lock().unwrap())
    }
    async fn delete_endpoint(&self, request: EndpointRef) -> Result<(), Refusal> {
        self.note(request)
    }
    async fn operational_info(&self, request: EndpointRef) -> Result<OperationalInfo, Refusal> {
        self.note(request)?;
        Ok(OperationalInfo::new())
    }
    async fn join(&self, request: Join) -> Result<JoinReply, Refusal> {
        self.note(&request)?;
        let set = self.join.lock().unwrap().clone();
        Ok(set.unwrap_or_else(|| JoinReply::new(request.endpoint.sandbox_link())))
    }
    async fn leave(&self, request: EndpointRef) -> Result<(), Refusal> {
        self.note(request)
    }
    async fn program_external(&self, request: ProgramExternal) -> Result<(), Refusal> {
        self.note(request)
    }
    async fn revoke_external(&self, request: EndpointRef) -> Result<(), Refusal> {
        self.note(request)
    }
    async fn request_pool(&self, request: RequestPool) -> Result<RequestPoolReply, Refusal> {
        self.note(&request)?;
        let pool = request.pool.unwrap_or("10.5.0.0/16".parse()?);
        Ok(RequestPoolReply { id: format!("host/{pool}").parse()?, pool, gateway: None })
    }
    async fn release_pool(&self, request: ReleasePool) -> Result<(), Refusal> {
        self.note(request)
    }
    async fn request_address(&self, request: RequestAddress) -> Result<IpNet, Refusal> {
        self.note(&request)?;
        Ok(IpNet::from(request.address.unwrap_or("10.5.0.7".parse()?)))
    }
    async fn release_address(&self, request: ReleaseAddress) -> Result<(), Refusal> {
        self.note(request)
    }
}

/// One call, without HTTP.
async fn call(driver: &Arc<Yes>, method: Method, body: &[u8]) -> (StatusCode, Value) {
    let response = Edge::new(driver.clone()).call(method, body).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

/// A request with nothing but what it must have.
fn least(method: Method) -> Value {
    use serde_json::json;
    match method {
        Method::AllocateNetwork | Method::FreeNetwork | Method::CreateNetwork | Method::DeleteNetwork => {
            json!({ "NetworkID": NETWORK })
        }
        Method::CreateEndpoint
        | Method::DeleteEndpoint
        | Method::EndpointOperInfo
        | Method::Leave
        | Method::ProgramExternalConnectivity
        | Method::RevokeExternalConnectivity => json!({ "NetworkID": NETWORK, "EndpointID": ENDPOINT }),
        Method::Join => {
            json!({ "NetworkID": NETWORK, "EndpointID": ENDPOINT, "SandboxKey": "/var/run/docker/netns/c3f10484d415" })
        }
        Method::ReleasePool | Method::RequestAddress => json!({ "PoolID": "host/10.5.0.0/16" }),
        Method::ReleaseAddress => json!({ "PoolID": "host/10.5.0.0/16", "Address": "10.5.0.7" }),
        Method::RequestPool => json!({}),
        Method::Activate
        | Method::NetworkCapabilities
        | Method::GwAllocCheck
        | Method::DiscoverNew
        | Method::DiscoverDelete
        | Method::IpamCapabilities
        | Method::DefaultAddressSpaces => json!({}),
    }
}

/// The calls that mean something without a body.
const BODILESS: [Method; 7] = [
    Method::Activate,
    Method::NetworkCapabilities,
    Method::GwAllocCheck,
    Method::DiscoverNew,
    Method::DiscoverDelete,
    Method::IpamCapabilities,
    Method::DefaultAddressSpaces,
];
