//! Docker's Engine API, as far as this bench calls it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Client;

/// The API socket of one dockerd.
#[derive(Debug)]
pub struct EngineApi {
    socket: PathBuf,
}

impl EngineApi {
    /// That at this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    fn post(&self, path: &str, body: &str) -> Duration {
        let begin = Instant::now();
        let reply = self.exchange(path, body).unwrap_or_else(|error| panic!("{path}: {error}"));
        let took = begin.elapsed();
        assert!(reply.starts_with("HTTP/1.1 200 "), "{path}: {reply}");
        took
    }

    fn exchange(&self, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    }
}

impl Client for EngineApi {
    fn connect(&self, network: &str, container: &str) -> Duration {
        self.post(&format!("/networks/{network}/connect"), &json!({ "Container": container }).to_string())
    }

    fn disconnect(&self, network: &str, container: &str) -> Duration {
        self.post(&format!("/networks/{network}/disconnect"), &json!({ "Container": container }).to_string())
    }
}
