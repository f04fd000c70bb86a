//! Requests in, replies out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{AdminError, Backend, ErrorKind, ErrorReply, resolve_endpoint};
use crate::api::http::{self, Listener, Method, Request, Response, StatusCode};
use crate::model::PortTag;

/// The longest body of a request: a network with many subnets has a few kilobytes.
const LONGEST_BODY: usize = 256 * 1024;

/// How long requests in flight may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Answers the operator's requests on this socket until told to stop.
pub async fn serve(listener: Listener, backend: Arc<dyn Backend>, shutdown: impl Future<Output = ()>) {
    let handler = move |request| {
        let backend = Arc::clone(&backend);
        async move { answer(&*backend, request).await }
    };
    if http::serve(listener, handler, shutdown, GRACE).await == http::Ended::Abandoned {
        tracing::warn!("an operator's request was still running at shutdown");
    }
}

async fn answer(backend: &dyn Backend, request: Request) -> Response {
    match route(backend, request).await {
        Ok(response) => response,
        Err(error) => http::json(status_of(error.kind), &ErrorReply { error }),
    }
}

/// The HTTP status of a refusal, RFC 9110 §15.
pub(super) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn route(backend: &dyn Backend, request: Request) -> Result<Response, AdminError> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query())?;
    let segments: Vec<&str> = path.strip_prefix("/v1/").unwrap_or_default().split('/').collect();
    let (get, delete) = (method == Method::GET, method == Method::DELETE);
    query.allow(match segments.as_slice() {
        ["endpoints"] => &["network"],
        ["nodes", _] if delete => &["force"],
        ["ports"] => &["network", "node"],
        ["ports", _, _, ..] => &["vlan"],
        _ => &[],
    })?;
    match segments.as_slice() {
        ["status"] if get => ok(&backend.status().await?),
        ["networks"] if get => ok(&backend.networks().await?),
        ["networks"] if method == Method::POST => {
            let body = http::read_body(request.into_body(), LONGEST_BODY).await.map_err(invalid)?;
            let wanted = serde_json::from_slice(&body)
                .map_err(|error| invalid(format!("the body is not a network to create: {error}")))?;
            let created = backend.create_network(wanted).await?;
            let status = if created.created { StatusCode::CREATED } else { StatusCode::OK };
            Ok(http::json(status, &created))
        }
        ["networks", name] if get => ok(&backend.network(&name.parse().map_err(invalid)?).await?),
        ["networks", name] if delete => ok(&backend.remove_network(&name.parse().map_err(invalid)?).await?),
        ["endpoints"] if get => {
            let network = query.get("network").map(str::parse).transpose().map_err(invalid)?;
            ok(&backend.endpoints(network.as_ref()).await?)
        }
        ["endpoints", id] if get => {
            let id = resolve_endpoint(backend, id).await?;
            ok(&backend.endpoint(&id).await?)
        }
        ["endpoints", id] if delete => {
            let id = resolve_endpoint(backend, id).await?;
            ok(&backend.remove_endpoint(&id).await?)
        }
        ["nodes"] if get => ok(&backend.nodes().await?),
        ["nodes", name] if get => ok(&backend.node(&name.parse().map_err(invalid)?).await?),
        ["nodes", name] if delete => {
            let force = match query.get("force") {
                None | Some("false") => false,
                Some("true") => true,
                Some(other) => return Err(invalid(format!("force={other}: true or false is wanted"))),
            };
            ok(&backend.remove_node(&name.parse().map_err(invalid)?, force).await?)
        }
        ["ports"] if get => {
            let network = query.get("network").map(str::parse).transpose().map_err(invalid)?;
            let node = query.get("node").map(str::parse).transpose().map_err(invalid)?;
            ok(&backend.ports(network.as_ref(), node.as_ref()).await?)
        }
        ["ports"] if method == Method::POST => {
            let body = http::read_body(request.into_body(), LONGEST_BODY).await.map_err(invalid)?;
            let wanted = serde_json::from_slice(&body)
                .map_err(|error| invalid(format!("the body is not a port to attach: {error}")))?;
            let attached = backend.attach_port(wanted).await?;
            let status = if attached.created { StatusCode::CREATED } else { StatusCode::OK };
            Ok(http::json(status, &attached))
        }
        // A port's name may have slashes in it.
        ["ports", node, port @ ..] if delete && !port.is_empty() => {
            let node =
                Some(*node).filter(|node| *node != ".").map(str::parse).transpose().map_err(invalid)?;
            let vlan = query.get("vlan").map(str::parse).transpose().map_err(invalid)?;
            let at = PortTag { port: port.join("/").parse().map_err(invalid)?, vlan };
            ok(&backend.detach_port(node.as_ref(), &at).await?)
        }
        _ => Err(AdminError::new(
            ErrorKind::NotFound,
            format!(
                "{method} {path} is not part of this interface: there are GET /v1/status and, each with GET and \
                 DELETE of one by name, /v1/networks and /v1/ports (also POST), /v1/endpoints and /v1/nodes"
            ),
        )),
    }
}

fn invalid(error: impl std::fmt::Display) -> AdminError {
    AdminError::new(ErrorKind::Invalid, error)
}

fn ok(reply: &impl Serialize) -> Result<Response, AdminError> {
    Ok(http::json(StatusCode::OK, reply))
}

/// The query of a URI. No value that means anything needs percent-encoding.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: Option<&str>) -> Result<Query, AdminError> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None => Err(invalid(format!("query '{pair}' has no value: KEY=VALUE is wanted"))),
            })
            .collect::<Result<_, _>>()
            .map(Query)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn allow(&self, allowed: &[&str]) -> Result<(), AdminError> {
        match self.0.iter().find(|(name, _)| !allowed.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) if allowed.is_empty() => {
                Err(invalid(format!("unknown query '{name}': none is allowed here")))
            }
            Some((name, _)) => {
                Err(invalid(format!("unknown query '{name}': allowed is {}", allowed.join(", "))))
            }
        }
    }
}
