//! Whether an application works.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use crate::bundle::{AppName, Health, Probe};
use crate::runtime::{Runtime, RuntimeError, Status};

/// How long one try may take.
const ONE_TRY: Duration = Duration::from_secs(5);

/// Why an application does not work.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Its process is gone.
    #[error("its process has ended; `sluice-switch logs` shows what it wrote")]
    Ended,
    /// The runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A command in it failed.
    #[error("the probe `{command}` ended with status {code}: {output}")]
    Exec {
        /// The command.
        command: String,
        /// Its status.
        code: i32,
        /// What it wrote.
        output: String,
    },
    /// Nothing answers.
    #[error("the probe of {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The answer is not a good one.
    #[error("the probe of http://{address} was answered with `{answer}`")]
    Answer {
        /// The address and path.
        address: String,
        /// The first line.
        answer: String,
    },
    /// A file is not there.
    #[error("the probe's file `{path}`: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It did not work in time.
    #[error("it did not work within {seconds} s: {last}")]
    Timeout {
        /// How long it was given.
        seconds: u64,
        /// The last failure.
        last: Box<Unhealthy>,
    },
    /// It worked and then did not.
    #[error("it worked and then failed: {0}")]
    Relapsed(Box<Unhealthy>),
}

/// What is asked of an application that says nothing itself: that its process stays for five seconds.
pub fn default_health() -> Health {
    Health { probe: Probe::Running, timeout_ms: 10_000, interval_ms: 500, soak_ms: 5_000 }
}

/// Tries once.
pub(super) fn try_once(runtime: &dyn Runtime, app: &AppName, probe: &Probe) -> Result<(), Unhealthy> {
    if runtime.state(app)?.map(|s| s.status) != Some(Status::Running) {
        return Err(Unhealthy::Ended);
    }
    match probe {
        Probe::Running => Ok(()),
        Probe::Exec(args) => {
            let ran = runtime.exec(app, args, ONE_TRY)?;
            if ran.code == 0 {
                return Ok(());
            }
            let output = ran.output.trim().to_owned();
            Err(Unhealthy::Exec { command: args.join(" "), code: ran.code, output })
        }
        Probe::Tcp(address) => connect(address).map(drop),
        Probe::Http(target) => http(target),
        Probe::File(path) => match fs::symlink_metadata(path) {
            Ok(_) => Ok(()),
            Err(source) => Err(Unhealthy::File { path: path.clone(), source }),
        },
    }
}

fn connect(address: &str) -> Result<TcpStream, Unhealthy> {
    let failed = |source| Unhealthy::Connect { address: address.to_owned(), source };
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "it has no address");
    for address in address.to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, ONE_TRY) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn http(target: &str) -> Result<(), Unhealthy> {
    let rest = target.strip_prefix("http://").unwrap_or(target);
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let failed = |source| Unhealthy::Connect { address: address.to_owned(), source };
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(ONE_TRY)).map_err(failed)?;
    stream.set_write_timeout(Some(ONE_TRY)).map_err(failed)?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(failed)?;
    let mut bytes = Vec::new();
    // The status line is all that is wanted.
    while !bytes.contains(&b'\n') && bytes.len() < 1024 {
        let mut byte = [0; 1];
        if stream.read(&mut byte).map_err(failed)? == 0 {
            break;
        }
        bytes.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&bytes).trim().to_owned();
    let status =
        answer.strip_prefix("HTTP/1.").and_then(|a| a.split(' ').nth(1)).and_then(|s| s.parse().ok());
    match status {
        Some(200..=399) => Ok(()),
        _ => Err(Unhealthy::Answer { address: rest.to_owned(), answer }),
    }
}

/// Waits until it works for the first time.
pub(super) fn wait(runtime: &dyn Runtime, app: &AppName, health: &Health) -> Result<(), Unhealthy> {
    let end = Instant::now() + Duration::from_millis(health.timeout_ms);
    loop {
        match try_once(runtime, app, &health.probe) {
            Ok(()) => return Ok(()),
            // What has ended does not begin to work.
            Err(Unhealthy::Ended) => return Err(Unhealthy::Ended),
            Err(last) if Instant::now() >= end => {
                return Err(Unhealthy::Timeout { seconds: health.timeout_ms / 1000, last: Box::new(last) });
            }
            Err(_) => thread::sleep(Duration::from_millis(health.interval_ms)),
        }
    }
}

/// Sees that it goes on working.
pub(super) fn soak(runtime: &dyn Runtime, app: &AppName, health: &Health) -> Result<(), Unhealthy> {
    let end = Instant::now() + Duration::from_millis(health.soak_ms);
    loop {
        try_once(runtime, app, &health.probe).map_err(|e| Unhealthy::Relapsed(Box::new(e)))?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(health.interval_ms)));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn http_answers_are_judged_by_their_status() {
        for good in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 302 Found\r\n\r\n"] {
            http(&format!("http://{}/health", server(good))).unwrap();
        }
        for bad in ["HTTP/1.1 503 Busy\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "SSH-2.0-x\r\n", ""] {
            let error = http(&server(bad)).unwrap_err();
            assert!(matches!(error, Unhealthy::Answer { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn a_port_without_a_listener_is_told_with_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        connect(&address).unwrap();
        drop(listener);
        assert!(connect(&address).unwrap_err().to_string().contains(&address));
    }
}
