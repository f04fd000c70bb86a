//! A refusal: the one line that Docker shows its user.

use std::error::Error;
use std::fmt;

/// Why a call is refused: one line, shown by `docker` as `Error response from daemon: remote: LINE`.
///
/// Any error becomes one by `?`, with its sources. For that it is not an [`Error`] itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Refused,
    NotImplemented,
}

impl Refusal {
    /// A refusal with this message. Line breaks and other control characters become spaces.
    pub fn new(message: impl fmt::Display) -> Refusal {
        let mut line = String::new();
        for word in
            message.to_string().split(|c: char| c.is_control()).map(str::trim).filter(|w| !w.is_empty())
        {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if line.is_empty() {
            // An empty `Err` is success to Docker.
            line.push_str("refused without a reason; see the log of the sluice agent");
        }
        Refusal { kind: Kind::Refused, message: line }
    }

    /// The driver does not do this at all. Answered with status 404, which dockerd takes for "nothing to do" in
    /// ProgramExternalConnectivity and RevokeExternalConnectivity, and for an error elsewhere.
    pub fn not_implemented() -> Refusal {
        Refusal { kind: Kind::NotImplemented, message: "not implemented".to_owned() }
    }

    /// True for [`Refusal::not_implemented`].
    pub fn is_not_implemented(&self) -> bool {
        self.kind == Kind::NotImplemented
    }

    /// The line.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl<E: Error> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some errors repeat their source in their own text.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Refusal::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot claim {address}")]
    struct Outer {
        address: &'static str,
        #[source]
        source: std::io::Error,
    }

    #[test]
    fn an_error_comes_with_its_sources_on_one_line() {
        let source = std::io::Error::other("store at\nunix:/x is\taway ");
        let refusal = Refusal::from(Outer { address: "10.5.0.7", source });
        assert_eq!(refusal.message(), "cannot claim 10.5.0.7: store at unix:/x is away");
    }

    #[test]
    fn a_source_that_is_repeated_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Repeats(#[source] std::io::Error);
        assert_eq!(Refusal::from(Repeats(std::io::Error::other("inner"))).message(), "outer: inner");
    }

    #[test]
    fn a_refusal_is_never_empty() {
        assert!(Refusal::new("\n").message().contains("log of the sluice agent"));
    }
}
