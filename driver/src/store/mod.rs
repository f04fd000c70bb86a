//! The cluster's intent: one interface, over etcd and over a file.

mod interface;
pub mod keys;

pub use interface::{Entry, Guard, MirrorEvent, Presence, Revision, Store, StoreError, TxnOutcome, Write};
