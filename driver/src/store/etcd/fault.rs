//! What went wrong with a call, from what etcd, gRPC, TLS and TCP say of it.

use std::error::Error as StdError;
use std::io;

use etcd_client::Error;

use super::StoreError;

const CHECK_CA: &str =
    "etcd-ca, and that the endpoint's host is one of the names or addresses in etcd's certificate";
const CHECK_IDENTITY: &str =
    "etcd-cert and etcd-key, and that the authority which signed them is in etcd's --trusted-ca-file";
const CHECK_SCHEME: &str = "whether the endpoint is https:// or http://";
const CHECK_PASSWORD: &str = "etcd-user and etcd-password-file";
const CHECK_NO_USER: &str = "etcd-user: this etcd has no authentication enabled, so either leave the user away or \
                             enable it with `etcdctl auth enable`";
const CHECK_USER_MISSING: &str = "etcd-user and etcd-password-file: this etcd wants a user";
const CHECK_ROLE: &str = "that the user's role may read and write everything under /sluice/";

/// Why a call failed.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// etcd never saw it.
    NotSent(String),
    /// No answer, or none that says what happened: it may have been carried out.
    Lost(String),
    /// The history asked for is gone, or is not that of this cluster.
    NoHistory,
    /// Not let in.
    Refused { reason: String, remedy: &'static str },
    /// etcd will not do this.
    Unusable { reason: String, remedy: &'static str },
}

impl Fault {
    pub(super) fn into_error(self, store: &str) -> StoreError {
        let store = store.to_owned();
        match self {
            Fault::NotSent(reason) => StoreError::Unavailable { store, reason },
            Fault::Lost(reason) => StoreError::Unavailable { store, reason },
            Fault::NoHistory => {
                StoreError::Unavailable { store, reason: "etcd was compacted during the call".into() }
            }
            Fault::Refused { reason, remedy } => StoreError::Refused { store, reason, remedy },
            Fault::Unusable { reason, remedy } => StoreError::Unusable { store, reason, remedy },
        }
    }

    /// True if a connection broke before it said anything.
    ///
    /// A TLS 1.3 client is done before the server has looked at its certificate. When the server then says no and
    /// closes, the client may find the closed connection, in writing, before it reads why.
    pub(super) fn is_broken_at_once(&self) -> bool {
        let (Fault::NotSent(reason) | Fault::Lost(reason)) = self else { return false };
        ["broken pipe", "connection reset", "connection closed"]
            .iter()
            .any(|s| reason.to_lowercase().contains(s))
            && !reason.contains("handshake")
    }

    /// What it is when that happens over and over, with TLS.
    pub(super) fn of_identity(self) -> Fault {
        match self {
            Fault::NotSent(reason) | Fault::Lost(reason) => Fault::Refused {
                reason: format!("closed after the TLS handshake: {reason}"),
                remedy: CHECK_IDENTITY,
            },
            other => other,
        }
    }

    /// What it is without TLS: perhaps an etcd that is starting, perhaps one that speaks TLS only.
    pub(super) fn of_plain_text(self) -> Fault {
        match self {
            Fault::NotSent(reason) | Fault::Lost(reason) => {
                Fault::NotSent(format!("{reason}; an etcd that wants https:// hangs up like this"))
            }
            other => other,
        }
    }

    /// Adds what may be behind a connection that ended within the TLS handshake.
    pub(super) fn with_scheme_hint(self) -> Fault {
        match self {
            Fault::NotSent(reason) if reason.contains("handshake eof") => {
                Fault::NotSent(format!("{reason}; an etcd that wants http:// hangs up like this"))
            }
            other => other,
        }
    }

    /// True if another connection may do better.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Fault::NotSent(_) | Fault::Lost(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match &error {
            Error::GRpcStatus(status) => match of_message(status.message()) {
                Some(fault) => fault,
                None => of_chain(status.message().to_owned(), status.source()),
            },
            Error::TransportError(e) => of_chain(e.to_string(), e.source()),
            Error::IoError(e) => of_chain(String::new(), Some(e)),
            other => Fault::Lost(other.to_string()),
        }
    }
}

/// What etcd itself says. The texts are part of its API: its Go client goes by them too (`rpctypes/error.go`).
pub(super) fn of_message(message: &str) -> Option<Fault> {
    let reason = message.strip_prefix("etcdserver: ").unwrap_or(message).to_owned();
    let refused = |remedy| Some(Fault::Refused { reason: reason.clone(), remedy });
    let unusable = |remedy| Some(Fault::Unusable { reason: reason.clone(), remedy });
    if reason.contains("required revision") {
        // "… has been compacted", "… is a future revision"
        Some(Fault::NoHistory)
    } else if reason.contains("authentication failed") {
        refused(CHECK_PASSWORD)
    } else if reason.contains("authentication is not enabled") {
        refused(CHECK_NO_USER)
    } else if reason.contains("user name is empty") {
        refused(CHECK_USER_MISSING)
    } else if reason.contains("permission denied") {
        refused(CHECK_ROLE)
    } else if reason.contains("database space exceeded") {
        unusable(
            "compact and defragment etcd, or raise its --quota-backend-bytes; then `etcdctl alarm disarm`",
        )
    } else if reason.contains("request is too large") {
        unusable("raise etcd's --max-request-bytes")
    } else if reason.contains("too many operations in txn") {
        unusable("raise etcd's --max-txn-ops to 128 or more")
    } else if reason.contains("no leader") || reason.contains("not capable") {
        Some(Fault::NotSent(reason))
    } else {
        None
    }
}

/// What the transport says: the error and its causes, each with its own part of the story.
fn of_chain(outermost: String, causes: Option<&(dyn StdError + 'static)>) -> Fault {
    let mut reasons = vec![outermost];
    let mut never_sent = false;
    let mut next = causes;
    while let Some(e) = next {
        let text = e.to_string();
        if !reasons.iter().any(|r| r.contains(&text)) {
            reasons.push(text);
        }
        if let Some(e) = e.downcast_ref::<io::Error>() {
            use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
            never_sent |= matches!(
                e.kind(),
                ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable
            );
        }
        next = e.source();
    }
    reasons.retain(|r| !r.is_empty());
    let reason = reasons.join(": ");
    let refused = |remedy| Fault::Refused { reason: reason.clone(), remedy };
    if reason.contains("invalid peer certificate") {
        refused(CHECK_CA)
    } else if reason.contains("received fatal alert") {
        refused(CHECK_IDENTITY)
    } else if reason.contains("InvalidContentType") {
        refused(CHECK_SCHEME)
    } else if never_sent {
        Fault::NotSent(reason)
    } else {
        Fault::Lost(reason)
    }
}
