//! Asks an agent over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{
    AdminError, AttachPort, AttachedPort, Backend, CreateNetwork, CreatedNetwork, EndpointDetail,
    EndpointSummary, ErrorKind, ErrorReply, NetworkDetail, NetworkSummary, NodeDetail, NodeSummary, PortView,
    Removed, Status,
};
use crate::api::http::Method;
use crate::model::{EndpointId, NetworkName, NodeName, PortTag};

/// Longer than the agent waits for anything that a request needs.
const DEADLINE: Duration = Duration::from_secs(30);
/// More than a list of a hundred thousand endpoints has.
const LONGEST_REPLY: usize = 64 * 1024 * 1024;

/// An agent, asked over its admin socket. Each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The agent behind this socket. Nothing is sent yet.
    pub fn new(socket: &Path) -> Client {
        Client { socket: socket.to_owned() }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: Option<Vec<u8>>,
    ) -> Result<T, AdminError> {
        let exchange = self.exchange(method, path, body);
        let (success, bytes) = tokio::time::timeout(DEADLINE, exchange).await.map_err(|_| {
            self.broken(format_args!(
                "gave no answer within {} s; `sluice doctor` may tell why",
                DEADLINE.as_secs()
            ))
        })??;
        if success {
            return serde_json::from_slice(&bytes).map_err(|error| {
                self.broken(format_args!(
                    "sent something else than was asked for ({error}); are both of one version?"
                ))
            });
        }
        match serde_json::from_slice::<ErrorReply>(&bytes) {
            Ok(reply) => Err(reply.error),
            Err(_) => Err(self.broken(format_args!("failed: {}", String::from_utf8_lossy(&bytes).trim()))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: String,
        body: Option<Vec<u8>>,
    ) -> Result<(bool, Bytes), AdminError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let broken =
            |error: &dyn std::fmt::Display| self.broken(format_args!("broke off ({error}); see its log"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let connection = tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let success = response.status().is_success();
        let bytes = Limited::new(response.into_body(), LONGEST_REPLY)
            .collect()
            .await
            .map_err(|error| broken(&error))?
            .to_bytes();
        connection.abort();
        Ok((success, bytes))
    }

    fn broken(&self, what: std::fmt::Arguments<'_>) -> AdminError {
        let message = format!("the agent behind {} {what}", self.socket.display());
        AdminError { kind: ErrorKind::Unavailable, message }
    }

    fn unreachable(&self, error: &io::Error) -> AdminError {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "is `sluice agent` running? Name its socket with --admin-socket, or a cluster's store with \
                 --store etcd://HOST:PORT"
            }
            io::ErrorKind::PermissionDenied => "the socket is root's alone: run this as root",
            _ => "`sluice doctor` may tell why",
        };
        let socket = self.socket.display();
        AdminError::new(
            ErrorKind::Unavailable,
            format!("cannot reach the agent at {socket} ({error}): {remedy}"),
        )
    }
}

#[async_trait]
impl Backend for Client {
    async fn status(&self) -> Result<Status, AdminError> {
        self.ask(Method::GET, "/v1/status".to_owned(), None).await
    }

    async fn networks(&self) -> Result<Vec<NetworkSummary>, AdminError> {
        self.ask(Method::GET, "/v1/networks".to_owned(), None).await
    }

    async fn network(&self, name: &NetworkName) -> Result<NetworkDetail, AdminError> {
        self.ask(Method::GET, format!("/v1/networks/{name}"), None).await
    }

    async fn create_network(&self, request: CreateNetwork) -> Result<CreatedNetwork, AdminError> {
        self.ask(Method::POST, "/v1/networks".to_owned(), Some(json(&request))).await
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<Removed, AdminError> {
        self.ask(Method::DELETE, format!("/v1/networks/{name}"), None).await
    }

    async fn endpoints(&self, network: Option<&NetworkName>) -> Result<Vec<EndpointSummary>, AdminError> {
        let query = network.map(|network| format!("?network={network}")).unwrap_or_default();
        self.ask(Method::GET, format!("/v1/endpoints{query}"), None).await
    }

    async fn endpoint(&self, id: &EndpointId) -> Result<EndpointDetail, AdminError> {
        self.ask(Method::GET, format!("/v1/endpoints/{id}"), None).await
    }

    async fn remove_endpoint(&self, id: &EndpointId) -> Result<Removed, AdminError> {
        self.ask(Method::DELETE, format!("/v1/endpoints/{id}"), None).await
    }

    async fn nodes(&self) -> Result<Vec<NodeSummary>, AdminError> {
        self.ask(Method::GET, "/v1/nodes".to_owned(), None).await
    }

    async fn node(&self, name: &NodeName) -> Result<NodeDetail, AdminError> {
        self.ask(Method::GET, format!("/v1/nodes/{name}"), None).await
    }

    async fn remove_node(&self, name: &NodeName, force: bool) -> Result<Removed, AdminError> {
        let query = if force { "?force=true" } else { "" };
        self.ask(Method::DELETE, format!("/v1/nodes/{name}{query}"), None).await
    }

    async fn ports(
        &self,
        network: Option<&NetworkName>,
        node: Option<&NodeName>,
    ) -> Result<Vec<PortView>, AdminError> {
        let network = network.map(|network| format!("network={network}"));
        let parts: Vec<String> = network.into_iter().chain(node.map(|node| format!("node={node}"))).collect();
        let query = if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) };
        self.ask(Method::GET, format!("/v1/ports{query}"), None).await
    }

    async fn attach_port(&self, request: AttachPort) -> Result<AttachedPort, AdminError> {
        self.ask(Method::POST, "/v1/ports".to_owned(), Some(json(&request))).await
    }

    async fn detach_port(&self, node: Option<&NodeName>, at: &PortTag) -> Result<Removed, AdminError> {
        let node = node.map_or(".", NodeName::as_str);
        let query = at.vlan.map(|vlan| format!("?vlan={vlan}")).unwrap_or_default();
        self.ask(Method::DELETE, format!("/v1/ports/{node}/{}{query}", at.port), None).await
    }
}

fn json(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("requests have string keys only")
}
