//! The tar format (POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Interchange Format").
//!
//! Two halves with different manners. [`Reader`] takes what others write, in ustar, pax and GNU form, and bounds
//! everything that a hostile archive could make large: extension records are read into memory, so they are capped
//! before the read. [`member`] writes one form only, for one member one sequence of bytes; our own bundles are
//! checked against those bytes and never parsed.

mod header;
mod read;

pub use header::{Attributes, BLOCK, Kind, TRAILER, member, padding, plain_member};
pub use read::{Entry, Limits, Reader, TarError};
