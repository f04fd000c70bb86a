//! What can go wrong in a command, each with the thing that it is about and, where there is one, the remedy.

use std::path::PathBuf;
use std::sync::Arc;

use ofctl::client::openflow::ClientError;
use ofctl::text::{ParseError, ParseProblem};
use ofctl::wire::{EncodeError, Message};

/// Text that is not what it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub(crate) struct SyntaxError {
    /// In bytes from 1.
    pub(crate) column: usize,
    pub(crate) problem: String,
    /// The word in question, which may be the name of a port.
    pub(crate) word: Option<String>,
}

impl SyntaxError {
    pub(crate) fn new(offset: usize, problem: impl Into<String>) -> Self {
        SyntaxError { column: offset + 1, problem: problem.into(), word: None }
    }

    /// The same error in a text that stands `offset` bytes into another.
    pub(crate) fn shifted(mut self, offset: usize) -> Self {
        self.column += offset;
        self
    }
}

impl From<ParseError> for SyntaxError {
    fn from(error: ParseError) -> Self {
        let word = match &error.problem {
            ParseProblem::Value { what, value } if what.starts_with("a port") => Some(value.clone()),
            ParseProblem::UnknownAction(name) => Some(name.clone()),
            _ => None,
        };
        SyntaxError { column: error.column, problem: error.problem.to_string(), word }
    }
}

/// Where a text came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An argument of the command line.
    Argument(&'static str),
    /// A line of a file, from 1.
    Line { file: Arc<str>, line: usize },
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Argument(what) => write!(out, "{what}"),
            Place::Line { file, line } => write!(out, "{file}, line {line}"),
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{place}, {source}\n  {text}\n  {:>width$}", "^", width = source.column)]
    Syntax { place: Place, text: String, source: SyntaxError },
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}", path = path.display())]
    Capture { path: PathBuf, source: super::capture::CaptureError },
    #[error("the capture was not read whole; each line printed above as 'error: …' says why")]
    CaptureUnread,
    #[error("cannot write the output: {0}")]
    Write(#[source] std::io::Error),
    #[error(
        "'{0}' is neither a bridge's name nor unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]; a bridge is reached by its management socket, see --rundir"
    )]
    Target(String),
    #[error("'{0}' needs --certificate, --private-key and --ca-cert, as ovs-ofctl does")]
    NoTls(String),
    #[error(transparent)]
    Tls(#[from] ofctl::client::TlsError),
    #[error("{target}: {source}")]
    Stream { target: String, source: ofctl::client::MessageStreamError },
    #[error("{target}: {source}")]
    Client { target: String, source: ClientError },
    #[error("{target}: {what}: {source}")]
    Socket { target: String, what: &'static str, source: std::io::Error },
    #[error("{target}: it answered {what} with another message: {got}")]
    WrongAnswer { target: String, what: &'static str, got: String },
    #[error("{what} cannot be written to the wire: {source}")]
    Encode { what: String, source: EncodeError },
    #[error("{target}: the packet-out was refused: {error}")]
    PacketRefused { target: String, error: ofctl::wire::ErrorCode },
    #[error("{target}: it refused {request}: {error}")]
    RequestRefused { target: String, request: String, error: ofctl::wire::ErrorCode },
    #[error("{target}: {reason}")]
    Closed { target: String, reason: String },
    #[error("{0}; the simulator takes only flows that a switch takes")]
    Simulator(#[from] ofctl::sim::Refused),
    #[error("{0} of {1} lines were refused; each line printed above as 'error: …' says why")]
    LinesRefused(usize, usize),
    #[error("{file}, {source}")]
    Scenario { file: String, source: ofctl::scenario::ParseError },
    #[error("{0} of {1} scenarios failed")]
    ScenariosFailed(usize, usize),
    #[error("{0}")]
    World(String),
    #[error("{0}")]
    Ovsdb(#[source] Box<ofctl::client::ovsdb::ClientError>),
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
    #[error("{0}")]
    Usage(String),
}

impl CliError {
    pub(crate) fn no_port(switch: &str, wanted: &str) -> Self {
        CliError::Usage(format!("{switch} has no port '{wanted}'; dump-ports-desc {switch} lists its ports"))
    }

    pub(crate) fn encode(message: &Message, source: EncodeError) -> Self {
        CliError::Encode { what: super::print::one_line(message), source }
    }
}
