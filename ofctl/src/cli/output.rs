//! Standard output, buffered.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _};

use super::args::Colour;
use super::error::CliError;

/// Standard output.
pub(crate) struct Output {
    inner: BufWriter<StdoutLock<'static>>,
    colour: bool,
}

/// What a line is, where colour shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Removed,
    Added,
    Verdict,
    Error,
    Remark,
}

impl Output {
    pub(crate) fn new(colour: Colour) -> Self {
        let stdout = io::stdout();
        let colour = match colour {
            Colour::Auto => {
                stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
            Colour::Always => true,
            Colour::Never => false,
        };
        Output { inner: BufWriter::with_capacity(64 << 10, stdout.lock()), colour }
    }

    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), CliError> {
        writeln!(self.inner, "{line}").map_err(CliError::Write)
    }

    /// Text that ends its own lines.
    pub(crate) fn text(&mut self, text: impl Display) -> Result<(), CliError> {
        write!(self.inner, "{text}").map_err(CliError::Write)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.inner.write_all(bytes).map_err(CliError::Write)
    }

    /// A line in the colour of its kind, on a terminal that wants colour.
    pub(crate) fn coloured(&mut self, kind: Kind, line: impl Display) -> Result<(), CliError> {
        let code = match kind {
            Kind::Removed | Kind::Error => 31,
            Kind::Added => 32,
            Kind::Verdict => 1,
            Kind::Remark => 2,
        };
        if self.colour { self.line(format_args!("\x1b[{code}m{line}\x1b[0m")) } else { self.line(line) }
    }

    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.inner.flush().map_err(CliError::Write)
    }
}
