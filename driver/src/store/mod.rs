//! What outlives the agent: the cluster's intent, and what this host owes Docker.
//!
//! - [`Store`]: keys and values with transactions, watches and presence; the intent of all hosts. [`keys`] says which
//!   keys there are. Two kinds, the same to all above them, held to it by one test suite:
//!   - [`Etcd`]: etcd, for clusters.
//!   - [`Embedded`]: a redb file of this process, for a single host.
//! - [`Ledger`]: this host's own redb file; never shared, never in the cluster's store.
//!
//! | file | what is in it |
//! |---|---|
//! | `interface` | the trait, and what it promises |
//! | `keys` | the layout of the cluster's keys |
//! | `networks` | what creating, finding and removing a network means in keys |
//! | `ports` | what attaching and detaching a switch port means in keys |
//! | `embedded` | transactions, revisions and mirrors over a file |
//! | `etcd/` | connections, mirrors, presence, and what errors mean |
//! | `ledger` | tables, awaited commits, writes behind |
//! | `file` | a redb file with one writing thread: group commit for `embedded` and `ledger` |
//! | `journal` | keeps the ledger's unsynced writes over a kill |
//!
//! # What is promised when something dies
//!
//! | | agent killed | power lost | etcd away |
//! |---|---|---|---|
//! | [`Ledger::commit`], [`Embedded`]'s commits | kept | kept | – |
//! | [`Ledger::write_behind`] | kept | may be lost since the last commit, oldest kept first | – |
//! | [`Etcd`]'s commits | kept | kept | fail within the call's deadline |
//! | mirrors | begin with a snapshot | begin with a snapshot | say so once, go on from where they were |
//! | presence | goes after its time to live; embedded: at the next start | the same | may lapse, is set again |

mod embedded;
mod etcd;
mod file;
mod interface;
mod journal;
pub mod keys;
mod ledger;
pub mod networks;
pub mod ports;

pub use embedded::Embedded;
pub use etcd::{DEFAULT_CALL_TIMEOUT, Etcd, EtcdConfig, EtcdTls, EtcdUser};
pub use interface::{
    Entry, Guard, MAX_TXN_OPS, MirrorEvent, Presence, Revision, Store, StoreError, TxnOutcome, Write,
};
pub use ledger::{Ledger, LedgerWrite, Table};
