//! A client of the Docker Engine API: what the reconciler compares with, and what `docker_sync` creates.
//!
//! Never to be called from a handler of the plugin protocol. dockerd holds a container's lock while it waits for the
//! plugin, and some requests wait for that lock: the two would wait for each other.
//!
//! Requests have no version in their path, which every engine answers with the newest version that it has; the
//! fields used here have been the same from Docker 20.10 on. Each request has a connection and a deadline of its own.
//!
//! # Example
//! ```no_run
//! # use sluice::node::docker::{Docker, DockerError};
//! # async fn example() -> Result<(), DockerError> {
//! let docker = Docker::new("/run/docker.sock");
//! for network in docker.networks_of_driver("sluice").await? {
//!     let network = docker.network(&network.id).await?;
//!     println!("{} has {} endpoints", network.name, network.endpoints.len());
//! }
//! # Ok(()) }
//! ```

mod types;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::model::DockerNetworkId;
pub use types::{DockerEndpoint, DockerNetwork, DockerNetworkSpec, EngineVersion, Ipam, IpamPool};

/// A request to the engine that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// Nobody listens on the socket.
    #[error(
        "no Docker engine answers on {}: start it (systemctl start docker), give the right --docker-socket, \
         or give --docker-socket none to do without",
        socket.display()
    )]
    Absent {
        /// The socket's path.
        socket: PathBuf,
        /// What connecting said.
        #[source]
        source: io::Error,
    },
    /// The engine did not answer in time.
    #[error("the Docker engine on {} did not answer {request} within {deadline:?}: try again; if that does not help, see dockerd's log",
        socket.display())]
    Late {
        /// The socket's path.
        socket: PathBuf,
        /// The request.
        request: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The engine has no such object.
    #[error("the Docker engine has no {what}: {message}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// What the engine says.
        message: String,
    },
    /// The engine has another object of this name.
    #[error("the Docker engine already has a {what}: {message}")]
    Conflict {
        /// What was to be made.
        what: String,
        /// What the engine says.
        message: String,
    },
    /// The engine refuses the request.
    #[error("the Docker engine refuses {request} with status {status}: {message}")]
    Refused {
        /// The request.
        request: String,
        /// The HTTP status.
        status: u16,
        /// What the engine says.
        message: String,
    },
    /// The connection broke.
    #[error("the connection to the Docker engine on {} broke at {request}: try again", socket.display())]
    Broken {
        /// The socket's path.
        socket: PathBuf,
        /// The request.
        request: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not what the API describes.
    #[error("the Docker engine's answer to {request} is not understood")]
    Answer {
        /// The request.
        request: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl DockerError {
    /// True if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            DockerError::Absent { .. } | DockerError::Late { .. } | DockerError::Broken { .. } => true,
            DockerError::Refused { status, .. } => *status >= 500,
            DockerError::NotFound { .. } | DockerError::Conflict { .. } | DockerError::Answer { .. } => false,
        }
    }
}

/// How long the engine may take for what it answers from memory.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take for what makes it call plugins, ours or another, which may be retried for 15 s each.
const DEADLINE_WITH_PLUGINS: Duration = Duration::from_secs(60);
/// The longest answer that is taken, in bytes: some 100,000 endpoints.
const LONGEST: usize = 64 << 20;

/// An engine, by its socket.
#[derive(Clone, Debug)]
pub struct Docker {
    socket: PathBuf,
    deadline: Duration,
}

/// The object of a request, for errors: "network blue".
type What = String;

impl Docker {
    /// The engine that listens on this socket. Nothing is sent yet.
    pub fn new(socket: impl Into<PathBuf>) -> Docker {
        Docker { socket: socket.into(), deadline: DEADLINE }
    }

    /// The same engine, with another deadline for short requests.
    pub fn with_deadline(self, deadline: Duration) -> Docker {
        Docker { deadline, ..self }
    }

    /// The engine's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks whether the engine is there and serves.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), DockerError> {
        self.request(Method::GET, "/_ping", None, self.deadline, || "/_ping".to_owned()).await.map(drop)
    }

    /// The engine's version.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn version(&self) -> Result<EngineVersion, DockerError> {
        self.get("/version", || "/version".to_owned()).await
    }

    /// The networks of this driver, without their endpoints, which the engine does not list here.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn networks_of_driver(&self, driver: &str) -> Result<Vec<DockerNetwork>, DockerError> {
        let filters = serde_json::json!({ "driver": [driver] }).to_string();
        let path = format!("/networks?filters={}", percent_encoded(&filters));
        let mut networks: Vec<DockerNetwork> = self.get(&path, || "list of networks".to_owned()).await?;
        // The engine's filter matches more than the whole name in some versions.
        networks.retain(|network| network.driver == driver);
        Ok(networks)
    }

    /// A network with its endpoints: those of running containers, and those that are stuck.
    ///
    /// # Errors
    /// There is none, or the engine does not answer.
    pub async fn network(&self, id: &DockerNetworkId) -> Result<DockerNetwork, DockerError> {
        self.get(&format!("/networks/{id}"), || format!("network {id}")).await
    }

    /// Creates a network, which makes dockerd call its driver and its IPAM.
    ///
    /// # Errors
    /// [`DockerError::Conflict`] if there is one of this name; the driver or the engine refuses.
    pub async fn create_network(&self, spec: &DockerNetworkSpec) -> Result<DockerNetworkId, DockerError> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: DockerNetworkId,
        }
        let body = spec.to_json().to_string();
        let what = || format!("network {}", spec.name);
        let path = "/networks/create";
        let answer = self.request(Method::POST, path, Some(body), DEADLINE_WITH_PLUGINS, what).await?;
        let created: Created = decoded(&format!("POST {path}"), &answer)?;
        Ok(created.id)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, what: impl Fn() -> What) -> Result<T, DockerError> {
        let answer = self.request(Method::GET, path, None, self.deadline, what).await?;
        decoded(&format!("GET {path}"), &answer)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        deadline: Duration,
        what: impl Fn() -> What,
    ) -> Result<Bytes, DockerError> {
        let request = format!("{method} {path}");
        let (status, answer) = tokio::time::timeout(deadline, self.exchange(method, path, body, &request))
            .await
            .unwrap_or_else(|_| {
                Err(DockerError::Late { socket: self.socket.clone(), request: request.clone(), deadline })
            })?;
        if status.is_success() {
            return Ok(answer);
        }
        let message = engine_message(&answer);
        Err(match status {
            StatusCode::NOT_FOUND => DockerError::NotFound { what: what(), message },
            StatusCode::CONFLICT => DockerError::Conflict { what: what(), message },
            _ => DockerError::Refused { request, status: status.as_u16(), message },
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        request: &str,
    ) -> Result<(StatusCode, Bytes), DockerError> {
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| DockerError::Broken {
            socket: self.socket.clone(),
            request: request.to_owned(),
            source,
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| DockerError::Absent { socket: self.socket.clone(), source })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.into()))?;
        let mut message = Request::builder().method(method).uri(path).header(HOST, "docker");
        if body.is_some() {
            message = message.header(CONTENT_TYPE, "application/json");
        }
        let message = message
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| broken(error.into()))?;
        let answering = async {
            let response = sender.send_request(message).await.map_err(|error| broken(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(broken)?;
            Ok((status, body.to_bytes()))
        };
        // The connection is driven here and not by a task, so that a deadline drops it with the request.
        tokio::pin!(answering, connection);
        tokio::select! {
            answer = &mut answering => answer,
            _ = &mut connection => answering.await,
        }
    }
}

fn decoded<T: DeserializeOwned>(request: &str, answer: &[u8]) -> Result<T, DockerError> {
    serde_json::from_slice(answer)
        .map_err(|source| DockerError::Answer { request: request.to_owned(), source })
}

/// The engine's error: `{"message": …}`, on one line.
fn engine_message(answer: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    match serde_json::from_slice::<Message>(answer) {
        Ok(Message { message }) => message.trim().replace('\n', " "),
        Err(_) => String::from_utf8_lossy(answer).trim().chars().take(200).collect(),
    }
}

/// A query's value (RFC 3986 §2.1).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
