//! etcd servers for tests: on loopback, on ports of their own, in folders of their own.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use sluice::store::EtcdConfig;
use tokio::sync::watch;

use crate::suite::DEADLINE;

/// A member. Killed when dropped.
pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) client: String,
    args: Vec<String>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    /// True once it serves clients, false for good when it has ended.
    ready: watch::Receiver<Option<bool>>,
    log: Arc<Mutex<Vec<String>>>,
}

/// False, with the reason printed, if there is no etcd; a failure if there must be.
pub(crate) fn available() -> bool {
    if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        return true;
    }
    assert!(std::env::var("SLUICE_REQUIRE_LIVE").as_deref() != Ok("1"), "etcd is not installed");
    eprintln!("skipped: etcd is not installed (Debian: etcd-server)");
    false
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All held until all are known, so that they differ.
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.each_ref().map(|l| l.local_addr().unwrap().port())
}

impl Server {
    /// One member without TLS, serving.
    pub(crate) async fn single() -> Option<Server> {
        Server::single_with(&[], "http").await
    }

    /// One member with more arguments, serving clients over this scheme.
    pub(crate) async fn single_with(more: &[String], scheme: &str) -> Option<Server> {
        if !available() {
            return None;
        }
        let [client, peer] = free_ports();
        let mut server = Server::prepare("m0", client, peer, &format!("m0=http://127.0.0.1:{peer}"), scheme);
        server.args.extend_from_slice(more);
        server.start();
        server.serving().await;
        Some(server)
    }

    /// Three members, serving.
    pub(crate) async fn cluster() -> Option<[Server; 3]> {
        if !available() {
            return None;
        }
        let [c0, c1, c2, p0, p1, p2] = free_ports();
        let members = format!("m0=http://127.0.0.1:{p0},m1=http://127.0.0.1:{p1},m2=http://127.0.0.1:{p2}");
        let mut servers = [("m0", c0, p0), ("m1", c1, p1), ("m2", c2, p2)]
            .map(|(n, c, p)| Server::prepare(n, c, p, &members, "http"));
        servers.iter_mut().for_each(Server::start);
        for server in &mut servers {
            server.serving().await;
        }
        Some(servers)
    }

    fn prepare(name: &str, client: u16, peer: u16, members: &str, scheme: &str) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let client = format!("{scheme}://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        let data = dir.path().join("data").display().to_string();
        let args = [
            ["--name", name],
            ["--data-dir", &data],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", members],
            ["--heartbeat-interval", "50"],
            ["--election-timeout", "500"],
            ["--logger", "zap"],
            ["--log-outputs", "stderr"],
        ];
        let args = args.into_iter().flatten().map(str::to_owned).collect();
        Server { dir, client, args, running: None }
    }

    /// Starts it, again on the same ports with the same data if it ran before.
    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let mut child = Command::new("etcd")
            .args(&self.args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, ready) = watch::channel(None);
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("serving client traffic") {
                    tell.send_replace(Some(true));
                }
                kept.lock().unwrap().push(line);
            }
            tell.send_replace(Some(false));
        });
        self.running = Some(Running { child, ready, log });
    }

    /// Waits until it serves clients.
    pub(crate) async fn serving(&mut self) {
        let running = self.running.as_mut().expect("started");
        let told = tokio::time::timeout(DEADLINE, running.ready.wait_for(Option::is_some)).await;
        let serves = matches!(told, Ok(Ok(ready)) if *ready == Some(true));
        assert!(serves, "etcd does not serve:\n{}", running.log.lock().unwrap().join("\n"));
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
    }

    /// Throws its data away.
    pub(crate) fn forget(&mut self) {
        assert!(self.running.is_none(), "it runs");
        std::fs::remove_dir_all(self.dir.path().join("data")).unwrap();
    }

    pub(crate) fn config(&self) -> EtcdConfig {
        EtcdConfig::new([&self.client])
    }

    /// Without its scheme.
    pub(crate) fn address(&self) -> &str {
        self.client.split_once("://").unwrap().1
    }

    /// A client beside the store under test.
    pub(crate) async fn raw(&self) -> etcd_client::Client {
        etcd_client::Client::connect([&self.client], None).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Certificates made for one test: an authority, what it signed for a server and for a client, and a stranger's.
pub(crate) struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn make() -> Certificates {
        let dir = tempfile::tempdir().unwrap();
        let made = Certificates { dir };
        for ca in ["ca", "stranger"] {
            made.openssl(&[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &format!("/CN={ca}"),
                "-keyout",
                &format!("{ca}.key"),
                "-out",
                &format!("{ca}.crt"),
            ]);
        }
        std::fs::write(made.file("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        for (name, ca) in [("server", "ca"), ("client", "ca"), ("intruder", "stranger")] {
            made.openssl(&[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.csr"),
            ]);
            made.openssl(&[
                "x509",
                "-req",
                "-days",
                "2",
                "-in",
                &format!("{name}.csr"),
                "-CA",
                &format!("{ca}.crt"),
                "-CAkey",
                &format!("{ca}.key"),
                "-CAcreateserial",
                "-extfile",
                "san",
                "-out",
                &format!("{name}.crt"),
            ]);
        }
        made
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What etcd is started with.
    pub(crate) fn server_args(&self, client_certificates: bool) -> Vec<String> {
        let file = |name: &str| Path::display(&self.file(name)).to_string();
        let mut args =
            vec!["--cert-file".into(), file("server.crt"), "--key-file".into(), file("server.key")];
        if client_certificates {
            args.extend(["--client-cert-auth".into(), "--trusted-ca-file".into(), file("ca.crt")]);
        }
        args
    }
}
