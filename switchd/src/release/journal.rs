//! What is written down before a release goes on trial.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A release is on trial, or was when the power failed. Whether it was committed is for the `current` link to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The release that was committed when the trial began.
    pub from: Option<Digest>,
    /// The release on trial.
    pub to: Digest,
}
