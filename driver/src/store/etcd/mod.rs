//! The store of a cluster: etcd, 3.4 or later.
//!
//! - `connection`: one connection to one endpoint at a time; the next endpoint when it fails; deadlines.
//! - `mirror`: a snapshot and then a watch, resumed after every interruption.
//! - `presence`: a key on a lease.
//! - `fault`: what etcd, gRPC, TLS and TCP say, and what it means to the caller.
//!
//! Two things the client library does are not used here. Its balancer spreads calls over all endpoints and hands a
//! dead one's errors to the caller; one endpoint at a time, with the whole error, is easier to reason about. And its
//! HTTP/2 keep-alive would have to be slower than etcd's `--grpc-keepalive-min-time` (5 s) or be cut off for it; a
//! small linearizable read every [`PROBE_INTERVAL`](connection::PROBE_INTERVAL) finds dead connections sooner, and
//! members that lost their quorum too.

mod connection;
mod fault;
mod mirror;
mod presence;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{mpsc, oneshot};

use self::connection::{Connection, Connections, Repeat};
use super::interface::checked_writes;
use super::{Entry, Guard, MirrorEvent, Presence, Revision, Store, StoreError, TxnOutcome, Write};

/// The default of [`EtcdConfig::call_timeout`].
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Entries of one page of a list. A page of the largest values etcd takes (1.5 MB) still fits into a message.
const PAGE: i64 = 500;
/// Events that wait for a mirror's reader before the mirror's task does.
const MIRROR_QUEUE: usize = 64;

/// Where etcd is and how to be let in. Files are read again for every connection, so that they can be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConfig {
    /// The members, each `https://HOST:PORT`, `http://HOST:PORT`, or `HOST:PORT` (https if `tls` is there).
    pub endpoints: Vec<String>,
    /// TLS; needed for https.
    pub tls: Option<EtcdTls>,
    /// Who this agent is to etcd, if etcd has authentication enabled.
    pub user: Option<EtcdUser>,
    /// How long one call may take, with all its attempts.
    pub call_timeout: Duration,
}

/// The TLS files, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTls {
    /// The certificates of the authorities that sign etcd's certificate.
    pub ca_file: PathBuf,
    /// This agent's certificate and its key, if etcd wants one (`--client-cert-auth`).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A user of etcd. The password is in a file only, and in memory only while a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The file with the password; white space at its end is not part of it.
    pub password_file: PathBuf,
}

impl EtcdConfig {
    /// These endpoints, without TLS, without a user.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> EtcdConfig {
        EtcdConfig {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            user: None,
            call_timeout: DEFAULT_CALL_TIMEOUT,
        }
    }
}

/// A [`Store`] in etcd.
pub struct Etcd {
    connections: Connections,
}

impl Etcd {
    /// Checks the configuration. Connections are made when needed: etcd may be away.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if an endpoint does not parse or a file cannot be read.
    pub fn connect(config: EtcdConfig) -> Result<Arc<Etcd>, StoreError> {
        Ok(Arc::new(Etcd { connections: Connections::new(config)? }))
    }

    fn name(&self) -> &str {
        self.connections.name()
    }
}

#[async_trait]
impl Store for Etcd {
    fn describe(&self) -> String {
        self.name().to_owned()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let call = |mut c: Connection| async move { c.kv.get(key, None).await };
        let response = self.connections.call(Repeat::Freely, call).await;
        let response = response.map_err(|fault| fault.into_error(self.name()))?;
        Ok(response.kvs().first().and_then(entry))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let call = |c: Connection| async move { pages(c, prefix).await };
        let (_, entries) = self
            .connections
            .call(Repeat::Freely, call)
            .await
            .map_err(|fault| fault.into_error(self.name()))?;
        Ok(entries)
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<TxnOutcome, StoreError> {
        let writes = checked_writes(self.name(), &guards, writes)?;
        let txn = transaction(&guards, writes);
        let call = |mut c: Connection| {
            let txn = txn.clone();
            async move { c.kv.txn(txn).await }
        };
        let response = self
            .connections
            .call(Repeat::IfNotSent, call)
            .await
            .map_err(|fault| fault.into_error(self.name()))?;
        if response.succeeded() {
            return Ok(TxnOutcome::Committed(Revision(response.header().map_or(0, |h| h.revision() as u64))));
        }
        let mut entries = Vec::new();
        for op in response.op_responses() {
            if let TxnOpResponse::Get(found) = op {
                entries.extend(found.kvs().iter().filter_map(entry));
            }
        }
        Ok(TxnOutcome::Conflict(entries))
    }

    fn mirror(self: Arc<Self>, prefix: String) -> mpsc::Receiver<MirrorEvent> {
        let (events, receiver) = mpsc::channel(MIRROR_QUEUE);
        tokio::spawn(mirror::follow(self, prefix, events));
        receiver
    }

    fn keep_present(self: Arc<Self>, key: String, value: Vec<u8>, ttl: Duration) -> Presence {
        let (held, let_go) = oneshot::channel::<()>();
        tokio::spawn(presence::keep(self, key, value, ttl, let_go));
        Presence(Box::new(held))
    }
}

fn transaction(guards: &[Guard], writes: Vec<Write>) -> Txn {
    let compares: Vec<Compare> = guards
        .iter()
        .map(|guard| match guard {
            Guard::Absent(key) => Compare::create_revision(key.as_str(), CompareOp::Equal, 0),
            Guard::Unchanged(key, revision) => {
                Compare::mod_revision(key.as_str(), CompareOp::Equal, revision.0 as i64)
            }
            Guard::Present(key) => Compare::create_revision(key.as_str(), CompareOp::Greater, 0),
        })
        .collect();
    let puts: Vec<TxnOp> = writes
        .into_iter()
        .map(|write| match write {
            Write::Put(key, value) => TxnOp::put(key, value, None),
            Write::Delete(key) => TxnOp::delete(key, None),
        })
        .collect();
    let keys: BTreeSet<&str> = guards
        .iter()
        .map(|guard| {
            let (Guard::Absent(key) | Guard::Unchanged(key, _) | Guard::Present(key)) = guard;
            key.as_str()
        })
        .collect();
    let reads: Vec<TxnOp> = keys.into_iter().map(|key| TxnOp::get(key, None)).collect();
    Txn::new().when(compares).and_then(puts).or_else(reads)
}

/// Everything under a prefix, at one revision, page by page.
async fn pages(mut c: Connection, prefix: &str) -> Result<(Revision, Vec<Entry>), etcd_client::Error> {
    let end = after_prefix(prefix);
    let mut entries = Vec::new();
    let mut from = prefix.as_bytes().to_vec();
    let mut at = 0;
    loop {
        let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(at);
        // An empty key means "the smallest".
        let key = if from.is_empty() { vec![0] } else { from };
        let response = c.kv.get(key, Some(options)).await?;
        if at == 0 {
            at = response.header().map_or(0, |header| header.revision());
        }
        entries.extend(response.kvs().iter().filter_map(entry));
        match response.kvs().last() {
            Some(last) if response.more() => {
                from = last.key().to_vec();
                from.push(0);
            }
            _ => return Ok((Revision(at as u64), entries)),
        }
    }
}

/// The first key after all keys with this prefix, as etcd wants a range's end: `\0` for none.
fn after_prefix(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// An entry, if its key is text. All keys of ours are; a stranger's under our prefix is left alone.
fn entry(kv: &KeyValue) -> Option<Entry> {
    let key = std::str::from_utf8(kv.key()).ok()?.to_owned();
    Some(Entry { key, value: kv.value().to_vec(), revision: Revision(kv.mod_revision() as u64) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_sibling() {
        assert_eq!(after_prefix("/a/b/"), b"/a/b0");
        assert_eq!(after_prefix(""), [0]);
        assert_eq!(after_prefix("a\u{7f}"), b"a\x80");
    }
}
