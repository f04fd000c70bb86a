//! One connection to one endpoint at a time, and calls over it within a deadline.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, Identity, KvClient, LeaseClient, TlsOptions, WatchClient,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::{StoreError, keys};
use super::EtcdConfig;
use super::fault::Fault;

/// How often a mirror asks whether its connection and the member behind it still answer.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// A page of [`PAGE`](super::PAGE) values, or a watch's catching up, may be larger than gRPC's default of 4 MB.
const LARGEST_MESSAGE: usize = 1 << 30;

/// Connections that must break in the same way before it is put down to the client certificate.
const TLS_ATTEMPTS: usize = 3;

/// Whether a call may be made again after it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or is the same done twice.
    Freely,
    /// Only if etcd cannot have seen it.
    IfNotSent,
}

/// A connection that has answered once, with authentication.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) kv: KvClient,
    pub(super) watch: WatchClient,
    pub(super) lease: LeaseClient,
    /// Which cluster: another one after a restore from a backup, although its revisions may look the same.
    pub(super) cluster: u64,
    serial: u64,
}

impl Connection {
    /// Asks the member something that it can only answer with a quorum behind it.
    pub(super) async fn probe(&mut self) -> Result<u64, etcd_client::Error> {
        probe(&mut self.kv).await
    }
}

async fn probe(kv: &mut KvClient) -> Result<u64, etcd_client::Error> {
    let response = kv.get(keys::ROOT, Some(GetOptions::new().with_count_only())).await?;
    Ok(response.header().map_or(0, |header| header.cluster_id()))
}

/// Makes connections, one at a time, and hands them out.
pub(super) struct Connections {
    config: EtcdConfig,
    endpoints: Vec<String>,
    name: String,
    state: Mutex<State>,
    /// Held by whoever makes a connection; never across a caller's own call.
    connecting: tokio::sync::Mutex<()>,
    /// The serial of the last connection that was given up.
    given_up: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    current: Option<Connection>,
    /// The endpoint to try first, modulo their number.
    endpoint: usize,
    serial: u64,
    /// When the last attempt ended and how, if it failed.
    failed: Option<(Instant, Fault)>,
}

impl Connections {
    pub(super) fn new(config: EtcdConfig) -> Result<Connections, StoreError> {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let endpoints: Vec<String> = config
            .endpoints
            .iter()
            .map(|e| if e.contains("://") { e.clone() } else { format!("{scheme}://{e}") })
            .collect();
        let name = format!("etcd {}", endpoints.join(","));
        let connections = Connections {
            config,
            endpoints,
            name,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            given_up: watch::Sender::new(0),
        };
        connections.check().map_err(|fault| fault.into_error(&connections.name))?;
        Ok(connections)
    }

    /// Which store, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How long a call may take.
    pub(super) fn call_timeout(&self) -> Duration {
        self.config.call_timeout
    }

    /// What can be told wrong without a server.
    fn check(&self) -> Result<(), Fault> {
        let unusable = |reason: String, remedy| Err(Fault::Unusable { reason, remedy });
        if self.endpoints.is_empty() {
            return unusable("no endpoint is given".into(), "write --store etcd://HOST:PORT[,HOST:PORT]");
        }
        for endpoint in &self.endpoints {
            let tls = match endpoint.split_once("://") {
                Some(("https", host)) if !host.is_empty() => true,
                Some(("http", host)) if !host.is_empty() => false,
                _ => {
                    let reason = format!("{endpoint:?} is no endpoint");
                    return unusable(reason, "write https://HOST:PORT, http://HOST:PORT or HOST:PORT");
                }
            };
            if tls && self.config.tls.is_none() {
                return unusable(format!("{endpoint} needs TLS"), "set etcd-ca");
            }
            if !tls && self.config.tls.is_some() {
                let reason = format!("{endpoint} is without TLS, but TLS files are set");
                return unusable(reason, "write https:// or leave the TLS files away");
            }
        }
        self.options().map(|_| ())
    }

    fn options(&self) -> Result<ConnectOptions, Fault> {
        // Without a leader a member would keep a watch open in silence.
        let mut options =
            ConnectOptions::new().with_require_leader(true).with_connect_timeout(self.config.call_timeout);
        if let Some(tls) = &self.config.tls {
            let ca = pem(&tls.ca_file, "CERTIFICATE", "etcd-ca")?;
            let mut tls_options = TlsOptions::new().ca_certificate(Certificate::from_pem(ca));
            if let Some((cert, key)) = &tls.identity {
                let cert = pem(cert, "CERTIFICATE", "etcd-cert")?;
                let key = pem(key, "PRIVATE KEY", "etcd-key")?;
                tls_options = tls_options.identity(Identity::from_pem(cert, key));
            }
            options = options.with_tls(tls_options);
        }
        if let Some(user) = &self.config.user {
            let password = read(&user.password_file, "etcd-password-file")?;
            options = options.with_user(&user.name, password.trim_end()).with_auto_token_refresh(true);
        }
        Ok(options)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there is left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, or a new one, within the deadline.
    pub(super) async fn current(&self, deadline: Instant) -> Result<Connection, Fault> {
        let asked = Instant::now();
        if let Some(connection) = &self.state().current {
            return Ok(connection.clone());
        }
        let late = |_| Fault::NotSent("no connection in time".into());
        let _connecting = timeout_at(deadline, self.connecting.lock()).await.map_err(late)?;
        {
            let state = self.state();
            if let Some(connection) = &state.current {
                return Ok(connection.clone());
            }
            // Others waited for the same attempt: its failure is theirs too.
            if let Some((at, fault)) = &state.failed
                && *at >= asked
            {
                return Err(fault.clone());
            }
        }
        let made = self.connect(deadline).await;
        let mut state = self.state();
        match &made {
            Ok(connection) => state.current = Some(connection.clone()),
            Err(fault) => state.failed = Some((Instant::now(), fault.clone())),
        }
        made
    }

    /// Tries each endpoint once.
    async fn connect(&self, deadline: Instant) -> Result<Connection, Fault> {
        let mut worst: Option<Fault> = None;
        for left in (1..=self.endpoints.len() as u32).rev() {
            let endpoint = &self.endpoints[self.state().endpoint % self.endpoints.len()];
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            let made = match timeout(share, self.connect_to(endpoint)).await {
                Ok(made) => made,
                Err(_) => Err(Fault::NotSent(format!("{endpoint} did not answer in {share:.1?}"))),
            };
            match made {
                Ok((client, cluster, kv)) => {
                    let mut state = self.state();
                    state.serial += 1;
                    tracing::info!(store = %self.name, endpoint, "connected");
                    return Ok(Connection {
                        kv,
                        watch: client.watch_client().max_decoding_message_size(LARGEST_MESSAGE),
                        lease: client.lease_client(),
                        cluster,
                        serial: state.serial,
                    });
                }
                Err(fault) => {
                    tracing::debug!(store = %self.name, endpoint, ?fault, "not connected");
                    self.state().endpoint += 1;
                    // Whoever refuses needs a hand, whatever the others do.
                    if worst.as_ref().is_none_or(Fault::is_of_connection) {
                        worst = Some(fault);
                    }
                }
            }
        }
        Err(worst.expect("check() saw to it that there is an endpoint"))
    }

    async fn connect_to(&self, endpoint: &str) -> Result<(Client, u64, KvClient), Fault> {
        let mut made = self.connect_once(endpoint).await;
        // Whoever ends three TLS connections in a row, each after a good handshake, means it: an etcd that is
        // stopping or starting refuses the second.
        let mut attempts = if self.config.tls.is_some() { TLS_ATTEMPTS - 1 } else { 0 };
        while attempts > 0 && made.as_ref().is_err_and(Fault::is_broken_at_once) {
            made = self.connect_once(endpoint).await;
            attempts -= 1;
        }
        made.map_err(|fault| match fault {
            fault if !fault.is_broken_at_once() => fault.with_scheme_hint(),
            fault if self.config.tls.is_some() => fault.of_identity(),
            fault => fault.of_plain_text(),
        })
    }

    async fn connect_once(&self, endpoint: &str) -> Result<(Client, u64, KvClient), Fault> {
        let client = Client::connect([endpoint], Some(self.options()?)).await.map_err(unreached)?;
        let mut kv = client.kv_client().max_decoding_message_size(LARGEST_MESSAGE);
        let cluster = probe(&mut kv).await.map_err(unreached)?;
        Ok((client, cluster, kv))
    }

    /// Gives a connection up: the next call makes another, to the next endpoint.
    pub(super) fn give_up(&self, connection: &Connection) {
        let mut state = self.state();
        if state.current.as_ref().is_some_and(|c| c.serial == connection.serial) {
            state.current = None;
            state.endpoint += 1;
            self.given_up.send_replace(connection.serial);
        }
    }

    /// Returns when this connection is given up.
    pub(super) async fn until_given_up(&self, connection: &Connection) {
        let mut given_up = self.given_up.subscribe();
        // The sender lives as long as self.
        let _ = given_up.wait_for(|serial| *serial >= connection.serial).await;
    }

    /// Makes a call, on another connection too if that is allowed and the first fails.
    pub(super) async fn call<T, F, R>(&self, repeat: Repeat, call: F) -> Result<T, Fault>
    where
        F: Fn(Connection) -> R,
        R: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + self.config.call_timeout;
        let mut attempts = self.endpoints.len() + 1;
        loop {
            attempts -= 1;
            let connection = self.current(deadline).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            // Leaves time for another endpoint.
            let share = if repeat == Repeat::Freely && self.endpoints.len() > 1 { left / 2 } else { left };
            let fault = match timeout(share, call(connection.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(e)) => Fault::from(e),
                Err(_) => Fault::Lost(format!("no answer in {share:.1?}")),
            };
            let again = match &fault {
                Fault::NotSent(_) => true,
                // A list whose pages' revision was compacted away begins anew.
                Fault::Lost(_) | Fault::NoHistory => repeat == Repeat::Freely,
                _ => false,
            };
            if fault.is_of_connection() {
                self.give_up(&connection);
            }
            if !again || attempts == 0 {
                return Err(fault);
            }
        }
    }
}

/// Nothing of a caller's was sent before there was a connection.
fn unreached(error: etcd_client::Error) -> Fault {
    match Fault::from(error) {
        Fault::Lost(reason) => Fault::NotSent(reason),
        other => other,
    }
}

fn read(path: &Path, setting: &str) -> Result<String, Fault> {
    fs::read_to_string(path).map_err(|e| Fault::Unusable {
        reason: format!("{setting} {}: {e}", path.display()),
        remedy: "check that the file is there and that the agent's user may read it",
    })
}

/// A PEM file that has at least one block of a kind: the TLS library would say less of one that has not.
fn pem(path: &Path, kind: &str, setting: &str) -> Result<String, Fault> {
    let text = read(path, setting)?;
    let has_block =
        text.lines().any(|l| l.starts_with("-----BEGIN ") && l.trim_end().ends_with(&format!("{kind}-----")));
    if has_block {
        Ok(text)
    } else {
        let reason = format!("{setting} {} has no PEM block of a {kind}", path.display());
        Err(Fault::Unusable { reason, remedy: "check that it is the right file, in PEM" })
    }
}
