//! Each call's log lines have its method, a number, the network and the endpoint; refusals are warnings.
//!
//! Alone in its binary: what tracing remembers of a place that logs depends on which thread comes there first.

#![cfg(feature = "agent")]
// Clippy takes the functions that a test uses for production code.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use sluice::api::http;
use sluice::api::libnetwork::*;

/// A driver that leaves when asked to, once, and refuses everything else.
#[derive(Default)]
struct LeavesOnce {
    left: Mutex<bool>,
}

fn refused<T>() -> Result<T, Refusal> {
    Err(Refusal::new("tunnel down"))
}

#[async_trait]
impl Driver for LeavesOnce {
    async fn leave(&self, _: EndpointRef) -> Result<(), Refusal> {
        if std::mem::replace(&mut *self.left.lock().unwrap(), true) { refused() } else { Ok(()) }
    }
    async fn create_network(&self, _: CreateNetwork) -> Result<(), Refusal> {
        refused()
    }
    async fn delete_network(&self, _: NetworkRef) -> Result<(), Refusal> {
        refused()
    }
    async fn create_endpoint(&self, _: CreateEndpoint) -> Result<CreateEndpointReply, Refusal> {
        refused()
    }
    async fn delete_endpoint(&self, _: EndpointRef) -> Result<(), Refusal> {
        refused()
    }
    async fn operational_info(&self, _: EndpointRef) -> Result<OperationalInfo, Refusal> {
        refused()
    }
    async fn join(&self, _: Join) -> Result<JoinReply, Refusal> {
        refused()
    }
    async fn program_external(&self, _: ProgramExternal) -> Result<(), Refusal> {
        refused()
    }
    async fn revoke_external(&self, _: EndpointRef) -> Result<(), Refusal> {
        refused()
    }
    async fn request_pool(&self, _: RequestPool) -> Result<RequestPoolReply, Refusal> {
        refused()
    }
    async fn release_pool(&self, _: ReleasePool) -> Result<(), Refusal> {
        refused()
    }
    async fn request_address(&self, _: RequestAddress) -> Result<IpNet, Refusal> {
        refused()
    }
    async fn release_address(&self, _: ReleaseAddress) -> Result<(), Refusal> {
        refused()
    }
}

/// Where the log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_tells_calls_apart() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("sluice.sock");
    let body = format!(r#"{{"NetworkID":"{}","EndpointID":"{}"}}"#, "a1ff".repeat(16), "466a".repeat(16));
    let request = format!(
        "POST /NetworkDriver.Leave HTTP/1.1\r\nHost: \r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = http::bind(&socket).unwrap();
        let edge = Edge::new(Arc::new(LeavesOnce::default()));
        let calls = tokio::task::spawn_blocking(move || {
            for _ in 0..2 {
                let mut stream = UnixStream::connect(&socket).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
            }
        });
        let called = async { calls.await.unwrap() };
        http::serve(listener, move |request| edge.clone().answer(request), called, Duration::from_secs(5))
            .await;
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("libnetwork{")).collect();
    let [answered, refused] = lines[..] else { panic!("{text}") };
    for (line, wanted) in [
        (answered, ["DEBUG", "method=NetworkDriver.Leave", "request=0", "answered micros="]),
        (refused, ["WARN", "request=1", "refused micros=", "refusal=tunnel down"]),
    ] {
        for part in wanted.into_iter().chain(["network=\"a1ffa1ffa1ff\"", "endpoint=\"466a466a466a\""]) {
            assert!(line.contains(part), "{line} lacks {part}");
        }
    }
}
