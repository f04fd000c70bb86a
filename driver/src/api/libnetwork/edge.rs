//! From HTTP to the [`Driver`] and back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hyper::header::{ALLOW, HeaderValue};
use serde_json::{Value, json};
use tracing::Instrument;

use super::fields::{Fields, RequestError};
use super::request::AllocateNetwork;
use super::{
    AddressSpace, CreateEndpoint, CreateNetwork, Driver, EndpointRef, Join, Method, NetworkRef,
    ProgramExternal, Refusal, ReleaseAddress, ReleasePool, RequestAddress, RequestPool,
};
use crate::api::http::{self, StatusCode};

/// The longest request that is taken, in bytes. The longest that Docker was seen to send has under a thousand;
/// a few hundred published ports make some tens of thousands.
const LONGEST: usize = 1 << 20;

/// The plugin protocol in front of a driver.
///
/// # Example
/// ```no_run
/// # use std::{path::Path, sync::Arc, time::Duration};
/// # use sluice::api::{http, libnetwork::{Driver, Edge}};
/// # async fn example(driver: Arc<dyn Driver>) -> Result<(), http::BindError> {
/// let edge = Edge::new(driver);
/// let listener = http::bind(Path::new("/run/docker/plugins/sluice.sock"))?;
/// let handler = move |request| edge.clone().answer(request);
/// http::serve(listener, handler, std::future::pending(), Duration::from_secs(10)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Edge {
    driver: Arc<dyn Driver>,
    requests: Arc<AtomicUsize>,
}

impl Edge {
    /// The protocol in front of this driver.
    pub fn new(driver: Arc<dyn Driver>) -> Edge {
        Edge { driver, requests: Arc::default() }
    }

    /// Answers one request.
    ///
    /// A refusal is status 200 with the line in both `Err`, which dockerd reads from network drivers, and `Error`,
    /// which it reads from IPAM drivers; it takes an answer with the other one for success.
    pub async fn answer(self, request: http::Request) -> http::Response {
        let (head, body) = request.into_parts();
        let Some(method) = Method::from_path(head.uri.path()) else {
            tracing::warn!(path = %head.uri.path(), "unknown method");
            return http::text(
                StatusCode::NOT_FOUND,
                format!("the sluice plugin has no method {}\n", head.uri.path().trim_start_matches('/')),
            );
        };
        if head.method != http::Method::POST {
            let mut response = http::text(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is called with POST, not {}\n", head.method),
            );
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let body = match http::read_body(body, LONGEST).await {
            Ok(body) => body,
            Err(error) => {
                let status = error.status();
                let refusal = Refusal::from(error);
                tracing::warn!(%method, %refusal, "unreadable request");
                return http::json(status, &refused(&refusal));
            }
        };
        let span = tracing::info_span!(
            "libnetwork",
            %method,
            request = self.requests.fetch_add(1, Ordering::Relaxed),
            network = tracing::field::Empty,
            endpoint = tracing::field::Empty,
            network_name = tracing::field::Empty,
        );
        self.call(method, &body).instrument(span).await
    }

    /// Answers one call whose body is read.
    pub(super) async fn call(&self, method: Method, body: &[u8]) -> http::Response {
        let started = Instant::now();
        let answered = self.dispatch(method, body).await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match answered {
            Ok(reply) => {
                tracing::debug!(micros, "answered");
                http::json(StatusCode::OK, &reply)
            }
            Err(refusal) if refusal.is_not_implemented() => {
                tracing::debug!(micros, "not implemented");
                http::text(StatusCode::NOT_FOUND, format!("{method} is not implemented\n"))
            }
            Err(refusal) => {
                tracing::warn!(micros, %refusal, "refused");
                http::json(StatusCode::OK, &refused(&refusal))
            }
        }
    }

    async fn dispatch(&self, method: Method, body: &[u8]) -> Result<Value, Refusal> {
        let driver = &self.driver;
        match method {
            Method::Activate => Ok(json!({ "Implements": ["NetworkDriver", "IpamDriver"] })),
            Method::NetworkCapabilities => Ok(network_capabilities()),
            Method::GwAllocCheck => Ok(json!({ "SkipIPv4": false, "SkipIPv6": false })),
            Method::DiscoverNew | Method::DiscoverDelete => Ok(json!({})),
            Method::IpamCapabilities => {
                Ok(json!({ "RequiresMACAddress": false, "RequiresRequestReplay": false }))
            }
            Method::DefaultAddressSpaces => Ok(json!({
                "LocalDefaultAddressSpace": AddressSpace::LOCAL,
                "GlobalDefaultAddressSpace": AddressSpace::GLOBAL,
            })),
            Method::AllocateNetwork => {
                // Swarm passes on to CreateNetwork only those options that come back here.
                let request = parsed(method, body, AllocateNetwork::parse)?;
                note_network(request.network.as_str());
                Ok(json!({ "Options": request.options }))
            }
            Method::FreeNetwork => {
                note_network(parsed(method, body, NetworkRef::parse)?.network.as_str());
                Ok(json!({}))
            }
            Method::CreateNetwork => {
                let request = parsed(method, body, CreateNetwork::parse)?;
                note_network(request.network.as_str());
                done(driver.create_network(request)).await
            }
            Method::DeleteNetwork => {
                let request = parsed(method, body, NetworkRef::parse)?;
                note_network(request.network.as_str());
                done(driver.delete_network(request)).await
            }
            Method::CreateEndpoint => {
                let (request, open) = parsed(method, body, CreateEndpoint::parse)?;
                note(request.network.as_str(), request.endpoint.as_str());
                Ok(driver.create_endpoint(request).await?.to_json(open))
            }
            Method::DeleteEndpoint => done(driver.delete_endpoint(endpoint(method, body)?)).await,
            Method::EndpointOperInfo => {
                let info = driver.operational_info(endpoint(method, body)?).await?;
                Ok(json!({ "Value": info }))
            }
            Method::Join => {
                let request = parsed(method, body, Join::parse)?;
                note(request.network.as_str(), request.endpoint.as_str());
                Ok(driver.join(request).await?.to_json())
            }
            Method::Leave => done(driver.leave(endpoint(method, body)?)).await,
            Method::ProgramExternalConnectivity => {
                let request = parsed(method, body, ProgramExternal::parse)?;
                note(request.network.as_str(), request.endpoint.as_str());
                done(driver.program_external(request)).await
            }
            Method::RevokeExternalConnectivity => done(driver.revoke_external(endpoint(method, body)?)).await,
            Method::RequestPool => {
                Ok(driver.request_pool(parsed(method, body, RequestPool::parse)?).await?.to_json())
            }
            Method::ReleasePool => done(driver.release_pool(parsed(method, body, ReleasePool::parse)?)).await,
            Method::RequestAddress => {
                let address = driver.request_address(parsed(method, body, RequestAddress::parse)?).await?;
                Ok(json!({ "Address": address.to_string(), "Data": {} }))
            }
            Method::ReleaseAddress => {
                done(driver.release_address(parsed(method, body, ReleaseAddress::parse)?)).await
            }
        }
    }
}

/// Scope `local`: Docker's other scopes need Swarm, or are refused by Docker 20.10. ConnectivityScope `global` says
/// that a network of ours reaches other hosts all the same.
///
/// GwAllocChecker `false`: Docker 28 would ask before it gives a network a gateway address, and without one the
/// first container would have the address that Docker 20.10 and 26.1 give to the gateway. One network is on hosts
/// with different engines, so all of them set the same address aside, and a network can be given a gateway of its
/// own later without renumbering anybody. `GwAllocCheck` itself, if asked, says the same.
fn network_capabilities() -> Value {
    json!({ "Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": false })
}

fn refused(refusal: &Refusal) -> Value {
    json!({ "Err": refusal.message(), "Error": refusal.message() })
}

fn parsed<T>(
    method: Method,
    body: &[u8],
    parse: impl FnOnce(Fields) -> Result<T, RequestError>,
) -> Result<T, Refusal> {
    // `docker` does not say which call was refused.
    Fields::from_body(body).and_then(parse).map_err(|error| Refusal::new(format!("{method}: {error}")))
}

fn endpoint(method: Method, body: &[u8]) -> Result<EndpointRef, Refusal> {
    let request = parsed(method, body, EndpointRef::parse)?;
    note(request.network.as_str(), request.endpoint.as_str());
    Ok(request)
}

async fn done(call: impl Future<Output = Result<(), Refusal>>) -> Result<Value, Refusal> {
    call.await?;
    Ok(json!({}))
}

fn note_network(network: &str) {
    tracing::Span::current().record("network", short(network));
}

fn note(network: &str, endpoint: &str) {
    note_network(network);
    tracing::Span::current().record("endpoint", short(endpoint));
}

/// As much of an id as `docker` shows. Ids are ASCII.
fn short(id: &str) -> &str {
    &id[..id.len().min(12)]
}
