//! Byte streams of every kind, and a session's way over one.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::target::{Listen, Target};

/// A connected stream.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) async fn connect(target: &Target) -> io::Result<Stream> {
        match target {
            Target::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            Target::Tcp(host, port) => tcp(host, *port).await.map(Stream::Tcp),
            Target::Tls(host, port, tls) => {
                let stream = tcp(host, *port).await?;
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                let stream = tls.connector().connect(name, stream).await?;
                Ok(Stream::Tls(Box::new(stream.into())))
            }
        }
    }

    /// Reads, and writes of `bytes` what can be written, whichever comes first or both: how many bytes of each.
    /// With an empty buffer it only writes. Nothing is lost if it is dropped.
    pub(super) async fn exchange(&mut self, bytes: &[u8], buffer: &mut [u8]) -> io::Result<Exchange> {
        poll_fn(|cx| {
            let mut done = Exchange::default();
            // What the peer has to say comes first: it may be waiting to say it before it reads on.
            let mut read = ReadBuf::new(buffer);
            if read.capacity() > 0 && Pin::new(&mut *self).poll_read(cx, &mut read)?.is_ready() {
                done.read = Some(read.filled().len());
            }
            let written = if bytes.is_empty() {
                // TLS may still hold what it has taken.
                Pin::new(&mut *self).poll_flush(cx).map_ok(|()| 0)
            } else {
                Pin::new(&mut *self).poll_write(cx, bytes)
            };
            match written {
                Poll::Ready(Ok(count)) => done.written = count,
                // What the peer said before it hung up comes first; the failure comes again.
                Poll::Ready(Err(error)) if done.read.is_none() => return Poll::Ready(Err(error)),
                _ => {}
            }
            if done.read.is_none() && done.written == 0 { Poll::Pending } else { Poll::Ready(Ok(done)) }
        })
        .await
    }

    /// Writes what can be written at once.
    pub(super) fn last_words(&mut self, bytes: &[u8]) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // There is nobody to tell if that fails.
        if let Poll::Ready(Ok(_)) = Pin::new(&mut *self).poll_write(&mut cx, bytes) {
            let _ = Pin::new(&mut *self).poll_flush(&mut cx);
        }
    }
}

/// What [`Stream::exchange`] did.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Exchange {
    /// Bytes read; `Some(0)` at the end of the stream.
    pub(super) read: Option<usize>,
    /// Bytes written.
    pub(super) written: usize,
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A place where streams come in.
#[derive(Debug)]
pub(super) enum Listener {
    Unix { listener: UnixListener, _file: SocketFile },
    Tcp(TcpListener, Option<TlsSide>),
}

/// A socket's file, which goes with it.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What to do with a stream before it is one of OpenFlow.
#[derive(Clone)]
pub(super) struct TlsSide(TlsAcceptor);

impl std::fmt::Debug for TlsSide {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TlsSide").finish_non_exhaustive()
    }
}

/// A stream that has come in, and is not yet shaken hands with.
#[derive(Debug)]
pub(super) enum Incoming {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr, Option<TlsSide>),
}

impl Listener {
    pub(super) async fn bind(place: &Listen) -> io::Result<Listener> {
        match place {
            Listen::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                Ok(Listener::Unix { listener, _file: SocketFile(path.clone()) })
            }
            Listen::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?, None)),
            Listen::Tls(address, tls) => {
                Ok(Listener::Tcp(TcpListener::bind(address).await?, Some(TlsSide(tls.acceptor()))))
            }
        }
    }

    /// Where it listens; none for a unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Unix { .. } => None,
            Listener::Tcp(listener, _) => listener.local_addr().ok(),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Incoming> {
        match self {
            Listener::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| Incoming::Unix(stream))
            }
            Listener::Tcp(listener, tls) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Incoming::Tcp(stream, peer, tls.clone()))
            }
        }
    }
}

/// Removes a socket that nobody listens on any more.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody else listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Whatever else is wrong there, binding will say.
        Err(_) => Ok(()),
    }
}

impl Incoming {
    /// Where it comes from.
    pub(super) fn peer(&self) -> String {
        match self {
            Incoming::Unix(_) => "unix".to_owned(),
            Incoming::Tcp(_, peer, None) => format!("tcp:{peer}"),
            Incoming::Tcp(_, peer, Some(_)) => format!("ssl:{peer}"),
        }
    }

    pub(super) async fn accept(self) -> io::Result<Stream> {
        match self {
            Incoming::Unix(stream) => Ok(Stream::Unix(stream)),
            Incoming::Tcp(stream, _, tls) => {
                stream.set_nodelay(true)?;
                Ok(match tls {
                    None => Stream::Tcp(stream),
                    Some(TlsSide(acceptor)) => Stream::Tls(Box::new(acceptor.accept(stream).await?.into())),
                })
            }
        }
    }
}
