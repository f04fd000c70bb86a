//! What can go wrong with etcd, done to real ones.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Client, Permission, PermissionType, PutOptions};
use sluice::store::{
    Entry, Etcd, EtcdConfig, EtcdTls, EtcdUser, Guard, MirrorEvent, Store, StoreError, TxnOutcome,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use crate::server::{self, Certificates, Server};
use crate::suite::{DEADLINE, changes, next, put, set, snapshot};

async fn offline(mirror: &mut Receiver<MirrorEvent>) -> StoreError {
    match next(mirror).await {
        MirrorEvent::Offline(error) => error,
        other => panic!("expected to be told that etcd is away, got {other:?}"),
    }
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| e.key.as_str()).collect()
}

fn changed(changes: &[(String, Option<Entry>)]) -> Vec<&str> {
    changes.iter().map(|(key, _)| key.as_str()).collect()
}

/// A TCP relay before a server, which can be cut (connections refused and closed) or made silent.
struct Relay {
    address: String,
    mode: watch::Sender<Mode>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Open,
    Cut,
    Silent,
}

impl Relay {
    async fn before(server: &Server) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, watched) = watch::channel(Mode::Open);
        let to = server.address().to_owned();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut watched, to) = (watched.clone(), to.clone());
                tokio::spawn(async move {
                    if *watched.borrow() == Mode::Cut {
                        return;
                    }
                    let relaying = async {
                        let mut far = TcpStream::connect(to).await?;
                        copy_bidirectional(&mut near, &mut far).await
                    };
                    tokio::pin!(relaying);
                    loop {
                        // Silent: nothing is polled, so nothing is relayed, and nothing is closed.
                        let now = *watched.borrow_and_update();
                        tokio::select! {
                            _ = &mut relaying, if now == Mode::Open => return,
                            changed = watched.changed() => {
                                if changed.is_err() || *watched.borrow() == Mode::Cut {
                                    return;
                                }
                            }
                        }
                    }
                });
            }
        });
        Relay { address, mode }
    }

    fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_with_etcd_away_and_catches_up_when_it_comes() {
    let Some(mut server) = Server::single().await else { return };
    server.kill();
    let store = Etcd::connect(server.config()).unwrap();
    let begun = Instant::now();
    let error = store.get("/k").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(error.is_transient());
    assert!(error.to_string().contains(server.address()) && error.to_string().contains("refused"), "{error}");
    let mut mirror = store.clone().mirror("/k".into());
    assert!(offline(&mut mirror).await.is_transient());
    let held = store.clone().keep_present("/k/alive".into(), vec![], Duration::from_secs(3));
    server.start();
    assert!(keys(&snapshot(&mut mirror).await).len() <= 1);
    set(&store, vec![], vec![put("/k/1", "")]).await;
    let mut seen = Vec::new();
    while !seen.iter().any(|k| k == "/k/1") || store.get("/k/alive").await.unwrap().is_none() {
        seen.extend(changes(&mut mirror).await.into_iter().map(|(key, _)| key));
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_etcd_loses_no_change() {
    let Some(mut server) = Server::single().await else { return };
    let store = Etcd::connect(server.config()).unwrap();
    set(&store, vec![], vec![put("/k/1", "")]).await;
    let mut mirror = store.clone().mirror("/k/".into());
    assert_eq!(keys(&snapshot(&mut mirror).await), ["/k/1"]);
    for round in 2..5 {
        server.kill();
        assert!(offline(&mut mirror).await.is_transient());
        let error = store.commit(vec![], vec![put("/k/never", "")]).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        server.start();
        server.serving().await;
        // By another, perhaps before the mirror is back.
        let key = format!("/k/{round}");
        server.raw().await.put(key.as_str(), "", None).await.unwrap();
        assert_eq!(next(&mut mirror).await, MirrorEvent::Online);
        assert_eq!(changed(&changes(&mut mirror).await), [key.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_compacted_while_away_is_made_up_by_a_snapshot() {
    let Some(server) = Server::single().await else { return };
    let relay = Relay::before(&server).await;
    let store = Etcd::connect(EtcdConfig::new([&relay.address])).unwrap();
    let mut mirror = store.clone().mirror("/k/".into());
    assert_eq!(snapshot(&mut mirror).await, vec![]);
    set(&store, vec![], vec![put("/k/old", ""), put("/k/kept", "")]).await;
    assert_eq!(changes(&mut mirror).await.len(), 2);
    relay.set(Mode::Cut);
    offline(&mut mirror).await;
    let mut raw = server.raw().await;
    raw.delete("/k/old", None).await.unwrap();
    let last = raw.put("/k/new", "", None).await.unwrap().header().unwrap().revision();
    raw.compact(last, None).await.unwrap();
    relay.set(Mode::Open);
    assert_eq!(keys(&snapshot(&mut mirror).await), ["/k/kept", "/k/new"]);
    set(&store, vec![], vec![put("/k/after", "")]).await;
    assert_eq!(changed(&changes(&mut mirror).await), ["/k/after"]);
}

/// An etcd that was restored from an old backup, or made anew, is behind what the mirror has seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_behind_the_mirror_is_made_up_by_a_snapshot() {
    let Some(mut server) = Server::single().await else { return };
    let store = Etcd::connect(server.config()).unwrap();
    let mut mirror = store.clone().mirror("/k/".into());
    assert_eq!(snapshot(&mut mirror).await, vec![]);
    for n in 0..20 {
        set(&store, vec![], vec![put("/k/before", n.to_string())]).await;
        changes(&mut mirror).await;
    }
    server.kill();
    offline(&mut mirror).await;
    server.forget();
    server.start();
    assert_eq!(snapshot(&mut mirror).await, vec![]);
    set(&store, vec![], vec![put("/k/after", "")]).await;
    assert_eq!(changed(&changes(&mut mirror).await), ["/k/after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_gone_silent_is_noticed_within_seconds() {
    let Some(server) = Server::single().await else { return };
    let relay = Relay::before(&server).await;
    let store = Etcd::connect(EtcdConfig::new([&relay.address])).unwrap();
    let mut mirror = store.clone().mirror("/k/".into());
    snapshot(&mut mirror).await;
    relay.set(Mode::Silent);
    let silent = Instant::now();
    assert!(offline(&mut mirror).await.is_transient());
    assert!(silent.elapsed() < Duration::from_secs(7), "{:?}", silent.elapsed());
    let begun = Instant::now();
    assert!(store.get("/k/1").await.unwrap_err().is_transient());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    server.raw().await.put("/k/1", "", None).await.unwrap();
    relay.set(Mode::Open);
    assert_eq!(next(&mut mirror).await, MirrorEvent::Online);
    assert_eq!(changed(&changes(&mut mirror).await), ["/k/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_without_one_member_whichever() {
    let Some(mut servers) = Server::cluster().await else { return };
    let endpoints: Vec<String> = servers.iter().map(|s| s.client.clone()).collect();
    let store = Etcd::connect(EtcdConfig::new(endpoints)).unwrap();
    let mut mirror = store.clone().mirror("/k/".into());
    snapshot(&mut mirror).await;
    let held = store.clone().keep_present("/k/alive".into(), vec![], Duration::from_secs(2));
    let mut told = changed(&changes(&mut mirror).await).join(" ");
    for (round, server) in servers.iter_mut().enumerate() {
        server.kill();
        // A new leader may have to be found first: what a caller does with a transient error is to try again.
        let key = format!("/k/{round}");
        let begun = Instant::now();
        loop {
            match store.commit(vec![Guard::Absent(key.clone())], vec![put(&key, "")]).await {
                Ok(TxnOutcome::Committed(_)) => break,
                // An attempt that was answered by nobody was carried out.
                Ok(TxnOutcome::Conflict(found)) => break assert_eq!(keys(&found), [key.as_str()]),
                Err(e) => assert!(e.is_transient(), "{e}"),
            }
            assert!(begun.elapsed() < DEADLINE);
        }
        assert!(store.get(&key).await.unwrap().is_some());
        while !told.contains(&key) {
            match next(&mut mirror).await {
                MirrorEvent::Changes(changes) => told += &changed(&changes).join(" "),
                MirrorEvent::Snapshot(entries) => panic!("history was lost: {entries:?}"),
                MirrorEvent::Offline(_) | MirrorEvent::Online => {}
            }
        }
        assert!(store.get("/k/alive").await.unwrap().is_some());
        server.start();
        server.serving().await;
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presence_is_set_again_after_its_lease_was_lost() {
    let Some(server) = Server::single().await else { return };
    let store = Etcd::connect(server.config()).unwrap();
    let mut mirror = store.clone().mirror("/alive/".into());
    snapshot(&mut mirror).await;
    let _held = store.clone().keep_present("/alive/me".into(), b"{}".to_vec(), Duration::from_secs(3));
    changes(&mut mirror).await;
    let mut raw = server.raw().await;
    // As if it had run out while etcd could not be reached.
    let lease = raw.get("/alive/me", None).await.unwrap().kvs()[0].lease();
    raw.lease_revoke(lease).await.unwrap();
    assert_eq!(changes(&mut mirror).await, vec![("/alive/me".into(), None)]);
    assert_eq!(changes(&mut mirror).await[0].1.as_ref().unwrap().value, b"{}");
    // As if somebody had removed the key by hand.
    raw.delete("/alive/me", None).await.unwrap();
    assert_eq!(changes(&mut mirror).await, vec![("/alive/me".into(), None)]);
    assert_eq!(changes(&mut mirror).await[0].1.as_ref().unwrap().value, b"{}");
    let ttl = raw.get("/alive/me", None).await.unwrap().kvs()[0].lease();
    assert_ne!(ttl, 0, "it would stay for ever");
}

/// Nobody says good-bye when a host loses its power.
#[tokio::test(flavor = "multi_thread")]
async fn a_presence_goes_with_its_lease_when_its_holder_is_cut_off() {
    let Some(server) = Server::single().await else { return };
    let relay = Relay::before(&server).await;
    let far = Etcd::connect(EtcdConfig::new([&relay.address])).unwrap();
    let near = Etcd::connect(server.config()).unwrap();
    let mut mirror = near.mirror("/alive/".into());
    snapshot(&mut mirror).await;
    let _held = far.keep_present("/alive/far".into(), vec![], Duration::from_secs(2));
    assert!(changes(&mut mirror).await[0].1.is_some());
    relay.set(Mode::Cut);
    assert_eq!(changes(&mut mirror).await, vec![("/alive/far".into(), None)]);
    relay.set(Mode::Open);
    assert!(changes(&mut mirror).await[0].1.is_some());
}

fn tls(certificates: &Certificates, ca: &str, identity: Option<&str>) -> Option<EtcdTls> {
    let identity = identity
        .map(|name| (certificates.file(&format!("{name}.crt")), certificates.file(&format!("{name}.key"))));
    Some(EtcdTls { ca_file: certificates.file(ca), identity })
}

fn assert_refused(error: &StoreError, remedy: &str) {
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert!(!error.is_transient());
    assert!(error.to_string().contains(remedy), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_client_certificates() {
    if !server::available() {
        return;
    }
    let certificates = Certificates::make();
    let Some(server) = Server::single_with(&certificates.server_args(true), "https").await else { return };
    let with = |ca: &str, identity: Option<&str>| {
        let config = EtcdConfig { tls: tls(&certificates, ca, identity), ..server.config() };
        Etcd::connect(config).unwrap()
    };
    let store = with("ca.crt", Some("client"));
    let mut mirror = store.clone().mirror("/k/".into());
    snapshot(&mut mirror).await;
    set(&store, vec![], vec![put("/k/1", "")]).await;
    assert_eq!(changed(&changes(&mut mirror).await), ["/k/1"]);

    for (ca, identity, remedy) in [
        ("stranger.crt", Some("client"), "etcd-ca"),
        ("ca.crt", None, "etcd-cert"),
        ("ca.crt", Some("intruder"), "etcd-cert"),
    ] {
        let store = with(ca, identity);
        for _ in 0..3 {
            assert_refused(&store.get("/k/1").await.unwrap_err(), remedy);
        }
        let commit = store.commit(vec![], vec![put("/k/2", "")]).await;
        assert_refused(&commit.unwrap_err(), remedy);
        assert_refused(&offline(&mut store.mirror("/k/".into())).await, remedy);
    }
    // The wrong name for the right server.
    let localhost = server.client.replace("127.0.0.1", "localhost");
    let config =
        EtcdConfig { tls: tls(&certificates, "ca.crt", Some("client")), ..EtcdConfig::new([localhost]) };
    assert_refused(&Etcd::connect(config).unwrap().get("/k/1").await.unwrap_err(), "names or addresses");
    // http:// to a server that speaks TLS: it may be an etcd that is just starting, so only a hint.
    let plain = EtcdConfig::new([server.address()]);
    let error = Etcd::connect(plain).unwrap().get("/k/1").await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("wants https://"), "{error}");
    // https:// to a server that does not.
    let Some(server) = Server::single().await else { return };
    let config =
        EtcdConfig { tls: tls(&certificates, "ca.crt", None), ..EtcdConfig::new([server.address()]) };
    let error = Etcd::connect(config).unwrap().get("/k/1").await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("wants http://"), "{error}");
}

/// Files that nobody can use are told at the start, with the setting's name.
#[test]
fn unusable_settings_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let base = EtcdConfig::new(["127.0.0.1:1"]);
    let ca = |ca_file: &PathBuf| Some(EtcdTls { ca_file: ca_file.clone(), identity: None });
    let user = EtcdUser { name: "agent".into(), password_file: missing.clone() };
    let cases = [
        (EtcdConfig::new([""; 0]), vec!["no endpoint"]),
        (EtcdConfig::new(["ftp://x"]), vec!["ftp://x", "https://HOST:PORT"]),
        (EtcdConfig::new(["https://127.0.0.1:1"]), vec!["needs TLS", "etcd-ca"]),
        (EtcdConfig { tls: ca(&missing), ..base.clone() }, vec!["etcd-ca", "missing", "No such file"]),
        (EtcdConfig { tls: ca(&empty), ..base.clone() }, vec!["etcd-ca", "empty", "PEM"]),
        (
            EtcdConfig { tls: ca(&empty), ..EtcdConfig::new(["http://h:1"]) },
            vec!["http://h:1", "without TLS"],
        ),
        (EtcdConfig { user: Some(user), ..base }, vec!["etcd-password-file", "missing"]),
    ];
    for (config, words) in cases {
        let Err(error) = Etcd::connect(config.clone()) else { panic!("accepted: {config:?}") };
        assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
        for word in words {
            assert!(error.to_string().contains(word), "no {word:?} in: {error}");
        }
    }
}

/// Root, and `agent` who may use /sluice/ and /k/.
async fn enable_authentication(client: &mut Client) {
    client.user_add("root", "root's secret", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("agent", "sesame", None).await.unwrap();
    client.role_add("agent").await.unwrap();
    for prefix in ["/sluice/", "/k/"] {
        let permission = Permission::new(PermissionType::Readwrite, prefix).with_prefix();
        client.role_grant_permission("agent", permission).await.unwrap();
    }
    client.user_grant_role("agent", "agent").await.unwrap();
    client.auth_enable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password() {
    let Some(mut server) = Server::single().await else { return };
    let password_file = server.dir.path().join("password");
    let user = EtcdUser { name: "agent".into(), password_file: password_file.clone() };
    let config = EtcdConfig { user: Some(user), ..server.config() };
    std::fs::write(&password_file, "sesame\n").unwrap();

    // A user for an etcd that knows none.
    let error = Etcd::connect(config.clone()).unwrap().get("/k/1").await.unwrap_err();
    assert_refused(&error, "auth enable");

    enable_authentication(&mut server.raw().await).await;
    let store = Etcd::connect(config.clone()).unwrap();
    let mut mirror = store.clone().mirror("/k/".into());
    snapshot(&mut mirror).await;
    set(&store, vec![], vec![put("/k/1", "")]).await;
    assert_eq!(changed(&changes(&mut mirror).await), ["/k/1"]);
    let error = store.commit(vec![], vec![put("/elsewhere", "")]).await.unwrap_err();
    assert_refused(&error, "role");
    assert_refused(&offline(&mut store.clone().mirror("/elsewhere".into())).await, "role");

    // A restart makes all tokens invalid.
    server.kill();
    offline(&mut mirror).await;
    server.start();
    assert_eq!(next(&mut mirror).await, MirrorEvent::Online);
    set(&store, vec![], vec![put("/k/2", "")]).await;
    assert_eq!(changed(&changes(&mut mirror).await), ["/k/2"]);

    let nobody = Etcd::connect(server.config()).unwrap();
    assert_refused(&nobody.get("/k/1").await.unwrap_err(), "wants a user");

    std::fs::write(&password_file, "open barley\n").unwrap();
    let wrong = Etcd::connect(config.clone()).unwrap();
    let error = wrong.get("/k/1").await.unwrap_err();
    assert_refused(&error, "etcd-password-file");
    let mut refused = wrong.clone().mirror("/k/".into());
    assert_refused(&offline(&mut refused).await, "etcd-password-file");
    for shown in [format!("{config:?}"), wrong.describe(), format!("{error:?} {error}")] {
        assert!(!shown.contains("barley") && !shown.contains("sesame"), "{shown}");
    }
    // Corrected in the file: no restart of the agent is needed.
    std::fs::write(&password_file, "sesame").unwrap();
    assert_eq!(keys(&snapshot(&mut refused).await), ["/k/1", "/k/2"]);
}

/// Tokens run out; nobody may notice.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed() {
    let ttl = ["--auth-token-ttl".to_owned(), "1".to_owned()];
    let Some(server) = Server::single_with(&ttl, "http").await else { return };
    let password_file = server.dir.path().join("password");
    std::fs::write(&password_file, "sesame").unwrap();
    let user = EtcdUser { name: "agent".into(), password_file };
    let mut raw = server.raw().await;
    enable_authentication(&mut raw).await;
    let store = Etcd::connect(EtcdConfig { user: Some(user), ..server.config() }).unwrap();
    set(&store, vec![], vec![put("/k/1", "")]).await;
    // Until the token that the raw client took at the same time is refused, by etcd's own clock.
    let options = etcd_client::ConnectOptions::new().with_user("agent", "sesame");
    let mut other = Client::connect([&server.client], Some(options)).await.unwrap();
    let run_out = async {
        let pause = Duration::from_millis(1500);
        loop {
            // A use would renew it, so the pauses are longer than its life.
            tokio::time::sleep(pause).await;
            if other.put("/k/other", "", None::<PutOptions>).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, run_out).await.expect("etcd does not honour --auth-token-ttl");
    set(&store, vec![], vec![put("/k/2", "")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_of_one_moment_although_it_takes_many_pages() {
    let Some(server) = Server::single().await else { return };
    let store = Etcd::connect(server.config()).unwrap();
    let keys: Vec<String> = (0..1600).map(|n| format!("/k/{n:05}")).collect();
    for part in keys.chunks(100) {
        set(&store, vec![], part.iter().map(|key| put(key, "0")).collect()).await;
    }
    // The first and the last key are always changed together, and are on different pages.
    let writer = {
        let (store, first, last): (Arc<Etcd>, _, _) = (store.clone(), keys[0].clone(), keys[1599].clone());
        tokio::spawn(async move {
            for n in 0.. {
                let n: u64 = n;
                set(&store, vec![], vec![put(&first, n.to_string()), put(&last, n.to_string())]).await;
            }
        })
    };
    for _ in 0..30 {
        let listed = store.list("/k/").await.unwrap();
        assert_eq!(listed.len(), 1600);
        assert_eq!(listed[0].value, listed[1599].value);
    }
    writer.abort();
}
