//! Releases of applications on a switch, and the change from one to another.
//!
//! ```text
//! /var/lib/sluice-switch/apps/agent/
//!     releases/<digest>/   manifest.json, signatures.json, rootfs: whole or not there;
//!                          allow-degraded when the operator agreed to weaker limits for it
//!     current              -> releases/<digest>: what runs, also after a reboot
//!     previous             -> releases/<digest>: where `rollback` goes
//!     journal.json         there while a release is on trial
//!     log, log.1           what the application wrote, each kept to a size
//!     lock                 held by whoever changes something
//! /run/sluice-switch/      config.json and the runtime's state: gone with a reboot
//! ```
//!
//! A new release runs on trial *before* `current` names it. That link is the one commitment: until the rename that
//! changes it, a power cut brings back the old release, and after it the new one. There is no step at which
//! neither is named. The journal says only that what runs may not be what is committed, so that
//! [`Machine::recover`] sets it right.

mod health;
mod journal;
mod log;
mod machine;
mod store;

pub use health::{Unhealthy, default_health};
pub use journal::Journal;
pub use log::{Capped, MAX_LOG};
pub use machine::{Machine, Outcome, Step, SwitchError, Tended, TrialError};
pub use store::{Lock, ReleaseError, Store};
