//! HTTP/1.1 over a Unix socket that is root's alone: the server under both of the agent's sockets.
//!
//! [`bind`] puts a socket in its place, [`serve`] answers on it with a function until it is told to stop. A handler
//! runs as a task of its own: it comes to its end even when the client hangs up half-way, so that a call is never
//! half done, and a panic in it is one failed call. Idle connections are never closed while serving: a client that
//! writes on one at that moment would lose its request, and dockerd repeats such a request without its body.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use sluice::api::http;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let listener = http::bind(&dir.path().join("example.sock"))?;
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let server = tokio::spawn(http::serve(
//!     listener,
//!     |_request| async { http::text(http::StatusCode::OK, "hello\n") },
//!     async { stopped.await.unwrap_or_default() },
//!     Duration::from_secs(5),
//! ));
//! stop.send(()).expect("the server waits for it");
//! assert_eq!(server.await?, http::Ended::Finished);
//! # Ok(()) }
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

pub use hyper::{Method, StatusCode};

/// A request whose body is yet to be read, with [`read_body`].
pub type Request = hyper::Request<Incoming>;
/// A response.
pub type Response = hyper::Response<BoxBody<Bytes, Infallible>>;

/// A socket that cannot be put in its place.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error(
        "cannot listen on {}: another agent is running on it; stop that one first, or choose another path",
        path.display()
    )]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Something that is not a socket has its name.
    #[error("cannot listen on {}: there is a file that is not a socket; remove it, or choose another path", path.display())]
    NotSocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The path is longer than Linux allows, unix(7).
    #[error("cannot listen on {}: the path is too long for a Unix socket; choose one of at most 90 bytes", path.display())]
    TooLong {
        /// The socket's path.
        path: PathBuf,
    },
    /// A step failed.
    #[error("cannot listen on {}: cannot {step}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What came of it.
        #[source]
        source: io::Error,
    },
}

/// A socket in its place. Dropping it removes it from the file system, if it is still ours.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    place: Place,
}

impl Listener {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.place.path
    }
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Device and inode, by which we know it again.
    identity: (u64, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// The longest path: `sun_path` has 108 bytes, and the socket's name before it is in its place needs some.
const LONGEST: usize = 90;

/// Puts a socket at this path, with mode 0600, creating the directories that it needs.
///
/// It appears there ready: it is made in a directory of its own beside its place and renamed over whatever stale
/// socket a dead process left. (Not under a temporary name in the same directory: `docker volume ls` calls every
/// socket that it finds among Docker's plugins.)
///
/// To be called in a tokio runtime.
///
/// # Errors
/// A live socket or a file is there, or a step failed.
pub fn bind(path: &Path) -> Result<Listener, BindError> {
    let failed = |step| move |source| BindError::Io { path: path.to_owned(), step, source };
    if path.as_os_str().len() > LONGEST {
        return Err(BindError::TooLong { path: path.to_owned() });
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(failed("create its directory"))?;

    // Of two agents that start at once one waits here and then finds the other's socket alive.
    let lock = std::fs::File::open(directory).map_err(failed("open its directory"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed("lock its directory")(error.into()))?;

    match occupant(path).map_err(failed("examine the socket that is there"))? {
        Occupant::Nobody | Occupant::Stale => {}
        Occupant::Alive => return Err(BindError::InUse { path: path.to_owned() }),
        Occupant::File => return Err(BindError::NotSocket { path: path.to_owned() }),
    }
    let nursery = Nursery::new(directory).map_err(failed("create a directory beside it"))?;
    let born = nursery.0.join("s");
    let inner = std::os::unix::net::UnixListener::bind(&born).map_err(failed("create it"))?;
    inner.set_nonblocking(true).map_err(failed("make it non-blocking"))?;
    std::fs::set_permissions(&born, PermissionsExt::from_mode(0o600)).map_err(failed("set its mode"))?;
    let meta = std::fs::symlink_metadata(&born).map_err(failed("read its inode"))?;
    let inner = UnixListener::from_std(inner).map_err(failed("register it"))?;
    std::fs::rename(&born, path).map_err(failed("rename it into its place"))?;
    Ok(Listener { inner, place: Place { path: path.to_owned(), identity: (meta.dev(), meta.ino()) } })
}

/// A directory of our own in which a socket is made, gone when dropped.
struct Nursery(PathBuf);

impl Nursery {
    fn new(directory: &Path) -> io::Result<Nursery> {
        let path = directory.join(format!(".{}", std::process::id()));
        let nursery = Nursery(path);
        // One of a dead process with our number; the lock keeps living ones of other namespaces out.
        nursery.clear();
        std::fs::DirBuilder::new().mode(0o700).create(&nursery.0)?;
        Ok(nursery)
    }

    fn clear(&self) {
        let _ = std::fs::remove_file(self.0.join("s"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        self.clear();
    }
}

enum Occupant {
    Nobody,
    Stale,
    Alive,
    File,
}

fn occupant(path: &Path) -> io::Result<Occupant> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        Err(error) => return Err(error),
        Ok(meta) if !meta.file_type().is_socket() => return Ok(Occupant::File),
        Ok(_) => {}
    }
    // Non-blocking, as connecting to a socket with a full backlog waits for ever.
    let probe = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Ok(Occupant::Alive),
        Err(rustix::io::Errno::CONNREFUSED) => Ok(Occupant::Stale),
        Err(rustix::io::Errno::NOENT) => Ok(Occupant::Nobody),
        Err(error) => Err(error.into()),
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every call was answered.
    Finished,
    /// The deadline came first. What still runs goes on until the runtime ends.
    Abandoned,
}

/// Answers requests until `shutdown` resolves.
///
/// Then the socket is removed, clients that have connected by then are served, idle connections are closed, and
/// calls in flight have `grace` to end.
pub async fn serve<H, F>(
    listener: Listener,
    handler: H,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Ended
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let Listener { inner, place } = listener;
    let handler = Arc::new(handler);
    let (stop, stopping) = watch::channel(false);
    // Every connection and every call holds a clone of `busy`; the receiver sees the end when the last is gone.
    let (busy, mut idle) = mpsc::channel::<Infallible>(1);
    let tasks = Tasks { handler, stopping, busy };
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = inner.accept() => match accepted {
                Ok((stream, _)) => tasks.connection(stream),
                Err(error) => {
                    // Out of descriptors, most likely: trying again at once would spin.
                    tracing::error!(path = %place.path.display(), %error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(place);
    // Straight from the kernel: tokio does not know of a connection before it has polled for it.
    if let Ok(inner) = inner.into_std() {
        while let Ok((stream, _)) = inner.accept() {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)) {
                tasks.connection(stream);
            }
        }
    }
    let _ = stop.send(true);
    drop(tasks);
    match tokio::time::timeout(grace, idle.recv()).await {
        Ok(_) => Ended::Finished,
        Err(_) => {
            drop(idle);
            Ended::Abandoned
        }
    }
}

struct Tasks<H> {
    handler: Arc<H>,
    stopping: watch::Receiver<bool>,
    busy: mpsc::Sender<Infallible>,
}

impl<H, F> Tasks<H>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    fn connection(&self, stream: UnixStream) {
        let handler = Arc::clone(&self.handler);
        let mut stopping = self.stopping.clone();
        let busy = self.busy.clone();
        let service = service_fn(move |request| {
            let (handler, busy) = (Arc::clone(&handler), busy.clone());
            let call = tokio::spawn(async move {
                let response = handler(request).await;
                drop(busy);
                response
            });
            async move {
                let response = call.await.unwrap_or_else(|_| {
                    // The panic's message is in the log by the panic hook.
                    text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "internal error; see the log of the sluice agent\n",
                    )
                });
                Ok::<_, Infallible>(response)
            }
        });
        let busy = self.busy.clone();
        tokio::spawn(async move {
            let _busy = busy;
            // The protocol begins with the first byte: told to end before it, hyper closes at once, even on a client
            // that has written its request by then.
            tokio::select! {
                biased;
                _ = stream.readable() => {}
                () = stopped(&mut stopping) => {
                    if !has_bytes(&stream) {
                        return;
                    }
                    let _ = stream.readable().await;
                }
            }
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = stopped(&mut stopping) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error is a server that is gone, which is the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn has_bytes(stream: &UnixStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    rustix::net::recv(stream, &mut [0u8; 1], flags).is_ok_and(|(_, length)| length > 0)
}

/// A body that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is too long.
    #[error("the request's body is longer than {0} bytes")]
    TooLong(usize),
    /// It stopped coming.
    #[error("the request's body did not arrive within {} s", .0.as_secs())]
    Late(Duration),
    /// The connection broke, or the framing is wrong.
    #[error("the request's body could not be read")]
    Broken(#[source] hyper::Error),
}

impl BodyError {
    /// The status that says so (RFC 9110 §15.5).
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Late(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// How many times the longest body is read and thrown away, so that the client comes to read the refusal.
const DISCARDED: usize = 16;

/// Reads a request's body, of at most `longest` bytes.
///
/// # Errors
/// It is longer, late or broken off.
pub async fn read_body(mut body: Incoming, longest: usize) -> Result<Bytes, BodyError> {
    let reading = async {
        let mut bytes = Vec::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
            length += data.len();
            if length > longest.saturating_mul(DISCARDED) {
                break;
            }
            if length <= longest {
                bytes.extend_from_slice(&data);
            }
        }
        if length > longest { Err(BodyError::TooLong(longest)) } else { Ok(bytes.into()) }
    };
    tokio::time::timeout(BODY_DEADLINE, reading).await.unwrap_or(Err(BodyError::Late(BODY_DEADLINE)))
}

/// A response of plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    response(status, "text/plain; charset=utf-8", Bytes::from(text.into()))
}

/// A response of one JSON value.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            response(status, "application/json", bytes.into())
        }
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("internal error: the answer cannot be written as JSON: {error}\n"),
        ),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = hyper::Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
