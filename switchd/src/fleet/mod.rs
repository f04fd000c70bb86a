//! Many switches: releases are brought to them over the operator's own ssh, and they are asked about what runs.
//!
//! ```text
//!  workstation                                                  box: a POSIX shell, sshd, and nothing else
//!
//!  inventory ─▶ rollout ─▶ send ──transport (ssh)──▶ sshd ─▶ sluice-switch __receive
//!  which boxes  canaries,   │       stdin/stdout              receive: checks the signature, keeps files as
//!               jobs        │       codec: frames             │        they arrive, puts the release together
//!                           │       message: what is said     ▼
//!  bundles ──▶ parcel ──────┘                                 room: what it takes and shares here, before
//!  cache ─────▶ each file compressed                          │     anything is written
//!               once, whole and as                            ▼
//!               a patch                                       release: trial, commit or roll back
//! ```
//!
//! What a box has is not sent: it is asked for its releases' files by their digests, and a file that changed comes as
//! a patch to the one that was at its path when both sides have that. Nothing on a box has to be there before: the
//! first deployment brings this program to `/opt/sluice/bin/sluice-switch`, by `cat` in a shell.
//!
//! # What is trusted
//!
//! A box believes a bundle for a signature by one of its own keys, and every file for its digest; a workstation that
//! was taken over, or a patch that does not fit, can put nothing else there. The workstation does not believe a box:
//! its answers are bounded, are checked against the bundle, and can at worst waste its own transfer. Whoever can log
//! in to a box as root can of course do there what he likes.
//!
//! # Versions
//!
//! A box runs the very program of the workstation, compared by digest at the beginning of each session and replaced
//! when it differs; so there is one version of the messages at a time.

mod cache;
pub mod codec;
mod deploy;
mod inventory;
pub mod message;
mod parcel;
mod program;
mod progress;
mod receive;
mod remote;
mod rollout;
mod room;
mod send;
mod transport;
pub mod version;

pub use cache::Cache;
pub use deploy::{Deployment, HostDone, Report, deploy};
pub use inventory::{Host, Inventory, InventoryError};
pub use parcel::{Encoded, Parcel, ParcelError, Parcels};
pub use program::{Program, ProgramError, Programs};
pub use progress::{Display, Style};
pub use receive::{Receiver, hello};
pub use remote::{Answered, ask, enroll, logs_of};
pub use rollout::{Outcome, Rules, Skip, roll};
pub use room::{MAX_PATCH, MIN_PATCH, NoRoom};
pub use send::{Connection, Delivered, Event, Place, SendError, Session};
pub use transport::{Ended, Local, Ran, Running, Ssh, Transport, Watched, quote, quote_all, run};
