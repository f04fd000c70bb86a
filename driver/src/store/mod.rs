//! The cluster's intent, in one of two stores behind one interface; and what this host owes Docker.
//!
//! - [`Store`]: keys and values with transactions, watches and presence. [`keys`] says which keys there are.
//! - [`Ledger`]: this host's own file; never shared, never in the cluster's store.

mod embedded;
mod etcd;
mod file;
mod interface;
mod journal;
pub mod keys;
mod ledger;
pub mod networks;

pub use embedded::Embedded;
pub use etcd::{DEFAULT_CALL_TIMEOUT, Etcd, EtcdConfig, EtcdTls, EtcdUser};
pub use interface::{
    Entry, Guard, MAX_TXN_OPS, MirrorEvent, Presence, Revision, Store, StoreError, TxnOutcome, Write,
};
pub use ledger::{Ledger, LedgerWrite, Table};
