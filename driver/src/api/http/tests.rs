use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, oneshot};

use super::*;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A server under test. Its `stop` is to be sent or dropped.
struct Server {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Ended>,
    _directory: tempfile::TempDir,
}

fn server<H, F>(grace: Duration, handler: H) -> Server
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let directory = directory();
    let path = directory.path().join("run/test.sock");
    let listener = bind(&path).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(serve(listener, handler, async { stopped.await.unwrap_or_default() }, grace));
    Server { path, stop, ended, _directory: directory }
}

/// Writes a request and reads one answer: status line and body.
async fn ask(path: &Path, request: &str) -> (String, String) {
    let (path, request) = (path.to_owned(), request.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut stream = StdStream::connect(path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        read_answer(&mut stream).unwrap()
    })
    .await
    .unwrap()
}

fn read_answer(stream: &mut StdStream) -> io::Result<(String, String)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body)?;
    Ok((head.lines().next().unwrap().to_owned(), String::from_utf8(body).unwrap()))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: \r\n\r\n";

#[tokio::test]
async fn a_socket_is_roots_alone_and_alone_in_its_directory() {
    let directory = directory();
    let path = directory.path().join("deep/er/test.sock");
    let listener = bind(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let names: Vec<_> =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["test.sock"]);
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_live_socket_is_left_alone_and_a_stale_one_replaced() {
    let directory = directory();
    let path = directory.path().join("test.sock");
    let first = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    assert!(error.to_string().contains("another agent is running on it"), "{error}");
    drop(first);

    // What a killed process leaves: a socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let second = bind(&path).unwrap();
    StdStream::connect(&path).unwrap();
    drop(second);
}

#[tokio::test]
async fn what_is_not_a_socket_is_not_touched() {
    let directory = directory();
    let path = directory.path().join("test.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, BindError::NotSocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

    let error = bind(&path.join("below.sock")).unwrap_err();
    assert!(error.to_string().contains("cannot create its directory"), "{error}");
    let long = directory.path().join("x".repeat(100));
    assert!(matches!(bind(&long).unwrap_err(), BindError::TooLong { .. }));
}

#[tokio::test]
async fn somebody_elses_socket_is_not_removed_at_the_end() {
    let directory = directory();
    let path = directory.path().join("test.sock");
    let first = bind(&path).unwrap();
    // An operator removes it under us, and a second agent takes the place.
    std::fs::remove_file(&path).unwrap();
    let second = bind(&path).unwrap();
    drop(first);
    StdStream::connect(&path).unwrap();
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn of_many_that_bind_at_once_one_wins() {
    let directory = directory();
    let path = directory.path().join("test.sock");
    let bound: Vec<_> = std::thread::scope(|scope| {
        let runtime = tokio::runtime::Handle::current();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (runtime, path) = (runtime.clone(), &path);
                scope.spawn(move || {
                    let _entered = runtime.enter();
                    bind(path)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(bound.iter().filter(|bound| bound.is_ok()).count(), 1);
    assert!(
        bound.iter().flat_map(|bound| bound.as_ref().err()).all(|e| matches!(e, BindError::InUse { .. }))
    );
    StdStream::connect(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_are_finished() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (in_handler, in_test) = ((entered.clone(), release.clone()), (entered, release));
    let server = server(Duration::from_secs(30), move |_| {
        let (entered, release) = in_handler.clone();
        async move {
            entered.notify_one();
            release.notified().await;
            text(StatusCode::OK, "done")
        }
    });
    let path = server.path.clone();
    let call = tokio::spawn(async move { ask(&path, GET).await });
    in_test.0.notified().await;
    server.stop.send(()).unwrap();
    while server.path.exists() {
        tokio::task::yield_now().await;
    }
    assert!(!server.ended.is_finished());
    in_test.1.notify_one();
    assert_eq!(call.await.unwrap(), ("http/1.1 200 ok".to_owned(), "done".to_owned()));
    assert_eq!(server.ended.await.unwrap(), Ended::Finished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_hangs_is_abandoned_at_the_deadline() {
    let entered = Arc::new(Notify::new());
    let in_handler = entered.clone();
    let server = server(Duration::from_millis(50), move |_| {
        in_handler.notify_one();
        std::future::pending()
    });
    let mut stream = StdStream::connect(&server.path).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    entered.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Ended::Abandoned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_though_the_client_hangs_up() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let finished = Arc::new(AtomicUsize::new(0));
    let in_handler = (entered.clone(), release.clone(), finished.clone());
    let server = server(Duration::from_secs(30), move |_| {
        let (entered, release, finished) = in_handler.clone();
        async move {
            entered.notify_one();
            release.notified().await;
            finished.fetch_add(1, Ordering::SeqCst);
            text(StatusCode::OK, "nobody reads this")
        }
    });
    let mut stream = StdStream::connect(&server.path).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    entered.notified().await;
    drop(stream);
    server.stop.send(()).unwrap();
    while server.path.exists() {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    // The end of serving waits for the call although its connection is gone.
    assert_eq!(server.ended.await.unwrap(), Ended::Finished);
    assert_eq!(finished.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = server(Duration::from_secs(30), |_| async { text(StatusCode::OK, "hello") });
    let mut idle = StdStream::connect(&server.path).unwrap();
    idle.write_all(GET.as_bytes()).unwrap();
    let mut idle = tokio::task::spawn_blocking(move || {
        read_answer(&mut idle).unwrap();
        idle
    })
    .await
    .unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Ended::Finished);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

/// Go dials ahead of need, and keeps such connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_never_asked_do_not_hold_up_the_end() {
    let server = server(Duration::from_secs(30), |_| async { text(StatusCode::OK, "hello") });
    let mut dialled = StdStream::connect(&server.path).unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Ended::Finished);
    assert_eq!(dialled.read(&mut [0]).unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_there_at_the_end_is_answered() {
    for _ in 0..50 {
        let directory = directory();
        let path = directory.path().join("test.sock");
        let listener = bind(&path).unwrap();
        let mut stream = StdStream::connect(&path).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
        let handler = |_| async { text(StatusCode::OK, "hello") };
        assert_eq!(serve(listener, handler, async {}, Duration::from_secs(30)).await, Ended::Finished);
        assert_eq!(read_answer(&mut stream).unwrap().1, "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_one_failed_call() {
    let server = server(Duration::from_secs(5), |request: Request| async move {
        assert!(request.uri().path() != "/panic", "told to panic");
        text(StatusCode::OK, "hello")
    });
    let (status, body) = ask(&server.path, "GET /panic HTTP/1.1\r\nHost: \r\n\r\n").await;
    assert!(status.contains(" 500 ") && body.contains("internal error"), "{status} {body}");
    assert_eq!(ask(&server.path, GET).await.1, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_capped() {
    let server = server(Duration::from_secs(5), |request: Request| async {
        match read_body(request.into_body(), 10).await {
            Ok(bytes) => text(StatusCode::OK, bytes.len().to_string()),
            Err(error) => text(error.status(), error.to_string()),
        }
    });
    for (length, status, answer) in
        [(0, "200", "0"), (10, "200", "10"), (11, "413", "longer than 10 bytes"), (500, "413", "longer than")]
    {
        let request =
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
        let (line, body) = ask(&server.path, &request).await;
        assert!(line.contains(status) && body.contains(answer), "{length}: {line} {body}");
    }
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    assert_eq!(ask(&server.path, chunked).await.1, "4");
}
