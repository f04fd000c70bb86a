//! Bytes on the socket as dockerd writes them, and as it does not.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::api::http;

struct Plugin {
    socket: PathBuf,
    driver: Arc<Yes>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<http::Ended>>,
    _directory: tempfile::TempDir,
}

impl Plugin {
    fn start() -> Plugin {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("plugins/sluice.sock");
        let driver = Arc::new(Yes::default());
        let edge = Edge::new(driver.clone());
        let (stop, stopped) = oneshot::channel();
        let (bound, wait) = std::sync::mpsc::channel();
        let path = socket.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = http::bind(&path).unwrap();
                bound.send(()).unwrap();
                let handler = move |request| edge.clone().answer(request);
                http::serve(
                    listener,
                    handler,
                    async { stopped.await.unwrap_or_default() },
                    Duration::from_secs(5),
                )
                .await
            })
        });
        wait.recv().unwrap();
        Plugin { socket, driver, stop: Some(stop), thread: Some(thread), _directory: directory }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn ask(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        answer(&mut stream)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join().unwrap();
        if !std::thread::panicking() {
            assert_eq!(ended, http::Ended::Finished);
            assert!(!Path::exists(&self.socket));
        }
    }
}

/// Reads one answer.
fn answer(stream: &mut UnixStream) -> (u16, String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

/// A request as Docker 20.10 writes it: with an empty Host, and no Content-Type.
fn request(method: Method, body: &str) -> Vec<u8> {
    format!(
        "POST /{method} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
         Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn leave() -> String {
    format!("{}\n", least(Method::Leave))
}

#[test]
fn an_empty_host_and_no_content_type_are_taken() {
    let plugin = Plugin::start();
    let (status, body) = plugin.ask(&request(Method::Activate, ""));
    assert_eq!((status, body.trim()), (200, r#"{"Implements":["NetworkDriver","IpamDriver"]}"#));
    assert_eq!(plugin.ask(&request(Method::Leave, &leave())), (200, "{}\n".to_owned()));
}

#[test]
fn no_content_is_a_refusal() {
    let plugin = Plugin::start();
    let (status, body) = plugin.ask(&request(Method::CreateEndpoint, ""));
    assert_eq!(status, 200);
    for key in ["Err", "Error"] {
        let wanted = format!(r#""{key}":"NetworkDriver.CreateEndpoint: the request has no body"#);
        assert!(body.contains(&wanted), "{body}");
    }
    // Without Content-Length there is no body either, RFC 9112 §6.3.
    let (_, body) = plugin.ask(b"POST /NetworkDriver.Join HTTP/1.1\r\nHost: \r\n\r\n");
    assert!(body.contains("the request has no body"), "{body}");
    assert!(plugin.driver.asked.lock().unwrap().is_empty());
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let plugin = Plugin::start();
    let mut stream = plugin.connect();
    for byte in request(Method::Leave, &leave()) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(answer(&mut stream), (200, "{}\n".to_owned()));
}

#[test]
fn a_connection_serves_many_calls_even_at_once() {
    let plugin = Plugin::start();
    let mut stream = plugin.connect();
    let pipelined = request(Method::Leave, &leave()).repeat(50);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&pipelined).unwrap());
    for _ in 0..50 {
        assert_eq!(answer(&mut stream), (200, "{}\n".to_owned()));
    }
    writing.join().unwrap();
    stream.write_all(&request(Method::EndpointOperInfo, &leave())).unwrap();
    assert_eq!(answer(&mut stream), (200, "{\"Value\":{}}\n".to_owned()));
    assert_eq!(plugin.driver.asked.lock().unwrap().len(), 51);
}

#[test]
fn a_hundred_connections_at_once() {
    let plugin = Plugin::start();
    std::thread::scope(|scope| {
        for number in 0..100 {
            let plugin = &plugin;
            scope.spawn(move || {
                let id = format!("{number:064x}");
                let body = format!(r#"{{"NetworkID":"{NETWORK}","EndpointID":"{id}","SandboxKey":"/x"}}"#);
                let (status, answer) = plugin.ask(&request(Method::Join, &body));
                assert!(status == 200 && answer.contains("slc-00000000000"), "{answer}");
            });
        }
    });
    let asked = plugin.driver.asked.lock().unwrap();
    let apart: std::collections::BTreeSet<_> = asked.iter().collect();
    assert_eq!(apart.len(), 100);
}

#[test]
fn a_slow_client_holds_up_nobody() {
    let plugin = Plugin::start();
    let mut slow = plugin.connect();
    let whole = request(Method::Leave, &leave());
    let (start, end) = whole.split_at(whole.len() - 10);
    slow.write_all(start).unwrap();
    assert_eq!(plugin.ask(&whole).0, 200);
    slow.write_all(end).unwrap();
    assert_eq!(answer(&mut slow).0, 200);
}

#[test]
fn a_body_that_breaks_off_does_not_reach_the_driver() {
    let plugin = Plugin::start();
    let whole = request(Method::DeleteNetwork, &format!(r#"{{"NetworkID":"{NETWORK}"}}"#));
    let mut stream = plugin.connect();
    stream.write_all(&whole[..whole.len() - 1]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {
            assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 200"), "taken for a whole one")
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(plugin.driver.asked.lock().unwrap().is_empty());
}

#[test]
fn a_huge_body_is_refused_and_the_refusal_is_read() {
    let plugin = Plugin::start();
    let body = format!(r#"{{"NetworkID":"{NETWORK}","Later":"{}"}}"#, "x".repeat(2 << 20));
    let (status, answer) = plugin.ask(&request(Method::DeleteNetwork, &body));
    assert!(status == 413 && answer.contains("longer than 1048576 bytes"), "{status} {answer}");
    let body = format!(r#"{{"NetworkID":"{NETWORK}","Later":"{}"}}"#, "x".repeat(1_000_000));
    assert_eq!(plugin.ask(&request(Method::DeleteNetwork, &body)).0, 200);
    assert_eq!(plugin.driver.asked.lock().unwrap().len(), 1);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let plugin = Plugin::start();
    let mut bytes =
        b"POST /NetworkDriver.DeleteNetwork HTTP/1.1\r\nHost: \r\nContent-Length: 20\r\n\r\n".to_vec();
    bytes.extend(b"{\"NetworkID\":\"\xff\xfe\xfd\"}  ");
    let (status, answer) = plugin.ask(&bytes);
    assert!(status == 200 && answer.contains("not JSON"), "{status} {answer}");
}

#[test]
fn what_is_not_a_call_is_told_so() {
    let plugin = Plugin::start();
    for (bytes, status, wanted) in [
        (
            &b"POST /NetworkDriver.Fly HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n"[..],
            404,
            "no method NetworkDriver.Fly",
        ),
        (b"POST / HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n", 404, "no method"),
        (b"POST /networkdriver.join HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n", 404, "no method"),
        (b"GET /NetworkDriver.Join HTTP/1.1\r\nHost: \r\n\r\n", 405, "called with POST, not GET"),
        (b"PUT /Plugin.Activate HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n", 405, "not PUT"),
    ] {
        let (got, answer) = plugin.ask(bytes);
        assert!(got == status && answer.contains(wanted), "{got} {answer}");
    }
    let mut stream = plugin.connect();
    stream.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(plugin.ask(&request(Method::Leave, &leave())).0, 200);
}
