//! What a workstation and a box say to one another.
//!
//! ```text
//! workstation                                box
//!                                            Hello
//! Offer   a release by its digest            Offered   what is there
//! Open    the manifest and its signatures    Plan | Refused     nothing is written yet
//! Begin                                      Ready | Refused    the lock is taken, room is made
//! File    one for each that is missing
//! Sent                                       Arrived   which patches did not fit: sent again, whole
//! Switch                                     Step …, Switched | Refused
//! ```
//!
//! A box answers each request but `File`, so that files follow one another without a pause. After `Refused` the
//! session is over. The workstation may leave at any time; what has arrived stays for the next try.

use serde::{Deserialize, Serialize};

use crate::bundle::{AppName, Version};
use crate::digest::Digest;

/// The version of these messages. The program on a box is the workstation's own, by its digest, so two versions meet
/// only where the operator brought the program there himself.
pub const PROTOCOL: u32 = 1;

/// The first message: who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// SHA-256 of the program that speaks.
    pub program: Digest,
    /// Its version.
    pub version: String,
    /// The machine, as `uname -m` names it.
    pub machine: String,
    /// The box's name for itself.
    pub hostname: String,
}

/// What a workstation asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Is this release there?
    Offer {
        /// The application.
        app: AppName,
        /// The release.
        release: Digest,
    },
    /// Could it come? Two contents follow: the manifest and the signatures, each compressed.
    Open {
        /// What the operator agreed to.
        options: Options,
        /// Only the answer is wanted.
        dry_run: bool,
        /// Who asks, for whoever finds the box locked.
        who: String,
    },
    /// It comes.
    Begin,
    /// A file's content follows, compressed.
    File {
        /// Which entry of the manifest.
        entry: u32,
        /// The file that the compressed content refers to; without it, the content is whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<Digest>,
    },
    /// All that were missing have been sent.
    Sent,
    /// Put it on trial.
    Switch,
}

/// What an operator agreed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What may be removed to make room.
    pub strategy: Strategy,
    /// Limits may be held in a weaker way.
    pub allow_degraded: bool,
    /// The version may be older than the one that runs.
    pub allow_downgrade: bool,
}

/// What may be removed to make room for a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Releases that are neither current nor previous: there is always a way back
    #[default]
    Keep,
    /// Where room is short, also the previous release, and then the current one, which is stopped first
    DeleteFirst,
}

/// What a box answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To an offer.
    Offered(Offered),
    /// To an opening: what would be done.
    Plan(Plan),
    /// To a beginning.
    Ready,
    /// To the end of the files: the entries whose patches did not give the right file.
    Arrived {
        /// Which entries.
        again: Vec<u32>,
    },
    /// Something of the switch-over is done.
    Step(String),
    /// The switch-over is done.
    Switched(Switched),
    /// The session is over.
    Refused(Refusal),
}

/// What a box has of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Whether the offered release is current, runs, and no trial is under way: then there is nothing to do.
    pub current: bool,
    /// Whether it is on the box.
    pub stored: bool,
    /// The version that is current.
    pub version: Option<Version>,
}

/// What a release would need and use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The entries whose contents are missing, by their place in the manifest, each content once.
    pub need: Vec<Need>,
    /// Files that the box has already, in other releases.
    pub shared: Amount,
    /// Files that arrived in an earlier try.
    pub arrived: Amount,
    /// Bytes of disk that it takes.
    pub takes: u64,
    /// Bytes of disk that are free.
    pub free: u64,
    /// The releases that are removed first.
    pub removes: Vec<Digest>,
    /// Whether the application is stopped, and what runs is removed, before anything is sent.
    pub stops: bool,
    /// What the box can do only in a weaker way, and other things to know.
    pub notes: Vec<String>,
}

/// A content that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Which entry of the manifest has it.
    pub entry: u32,
    /// Files that stay on the box and may resemble it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<Digest>,
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Amount {
    /// Counts one more.
    pub fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What a switch-over came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// Whether another release runs than before.
    pub changed: bool,
    /// What was current before.
    pub from: Option<Digest>,
    /// For how many milliseconds none ran.
    pub gap_ms: Option<u64>,
    /// Limits that are held in a weaker way.
    pub degraded: Vec<String>,
}

/// Why a box does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For machines.
    pub reason: Reason,
    /// For people: what, on which object, and the remedy.
    pub message: String,
}

/// Why a box does not go on, for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Someone else deploys to the box or changes the application.
    Busy,
    /// The signature.
    Untrusted,
    /// The manifest or its platform.
    Unsuitable,
    /// An older version.
    Downgrade,
    /// It does not fit on the disk.
    NoRoom,
    /// The preflight found something that keeps it from running.
    Preflight,
    /// A message that makes no sense here.
    Protocol,
    /// The box's disk.
    Disk,
    /// It did not work, and what was before runs again.
    RolledBack,
    /// Anything else that failed.
    Failed,
}
