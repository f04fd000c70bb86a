//! What can go wrong with bytes, and what a switch says went wrong.

use std::fmt;

use super::cursor::{Put, Reader};
use super::error_names::ERROR_NAMES;

/// Bytes that are not what they should be. Reading the same bytes again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{what}: {wanted} bytes are wanted and {left} are left")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Bytes wanted.
        wanted: usize,
        /// Bytes left.
        left: usize,
    },
    /// Bytes are left after the end.
    #[error("{what}: {left} bytes are left after its end")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// Bytes left.
        left: usize,
    },
    /// A length that cannot be.
    #[error("{what}: a length of {length} cannot be")]
    BadLength {
        /// What was read.
        what: &'static str,
        /// The length.
        length: usize,
    },
    /// A value that means nothing.
    #[error("{what}: {value:#x} means nothing here")]
    BadValue {
        /// What was read.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// A field stands twice in a match, `OFPBMC_DUP_FIELD`.
    #[error("match: {field} stands there twice")]
    DuplicateField {
        /// Name of the field.
        field: &'static str,
    },
    /// A value has bits that its mask does not, `OFPBMC_BAD_WILDCARDS`.
    #[error("match: the value of {field} has bits outside its mask")]
    BadWildcards {
        /// Name of the field.
        field: &'static str,
    },
    /// An instruction stands twice, `OFPBIC_DUP_INST`.
    #[error("instructions: {what} stands there twice")]
    DuplicateInstruction {
        /// Name of the instruction.
        what: &'static str,
    },
    /// Something that a switch refuses with a certain error.
    #[error("{what}: {error}")]
    Refused {
        /// What was read.
        what: &'static str,
        /// Name of the error, such as `OFPBAC_BAD_ARGUMENT`.
        error: &'static str,
    },
    /// A part of a message is malformed, which is an error of that part and not of the message.
    #[error("{problem} ({error})")]
    Part {
        /// Name of the part's error, such as `OFPBAC_BAD_LEN`.
        error: &'static str,
        /// What is wrong with it.
        #[source]
        problem: Box<DecodeError>,
    },
    /// A version of OpenFlow that is not read: most messages are of 1.3 only, see [`versions`](super::versions).
    #[error("message of OpenFlow version {0:#04x}, which is not read here")]
    Version(u8),
}

impl DecodeError {
    /// Name of the error with which a switch answers such bytes, such as `OFPBAC_BAD_LEN`; the numbers are
    /// those of [`ErrorCode::from_name`].
    pub fn name(&self) -> &'static str {
        match self {
            DecodeError::Truncated { .. } | DecodeError::Trailing { .. } | DecodeError::BadLength { .. } => {
                "OFPBRC_BAD_LEN"
            }
            DecodeError::BadValue { .. } => "OFPBRC_BAD_TYPE",
            DecodeError::DuplicateField { .. } => "OFPBMC_DUP_FIELD",
            DecodeError::BadWildcards { .. } => "OFPBMC_BAD_WILDCARDS",
            DecodeError::DuplicateInstruction { .. } => "OFPBIC_DUP_INST",
            DecodeError::Refused { error, .. } | DecodeError::Part { error, .. } => error,
            DecodeError::Version(_) => "OFPBRC_BAD_VERSION",
        }
    }

    /// The same error, as one of a part of a message: a wrong length in there is called `bad_length`, a value
    /// that means nothing `bad_value`.
    #[cold]
    pub(super) fn in_part(self, bad_length: &'static str, bad_value: &'static str) -> DecodeError {
        let error = match self {
            DecodeError::Truncated { .. } | DecodeError::Trailing { .. } | DecodeError::BadLength { .. } => {
                bad_length
            }
            DecodeError::BadValue { .. } => bad_value,
            named => return named,
        };
        DecodeError::Part { error, problem: Box::new(self) }
    }
}

/// A value that the wire cannot carry. Nothing was appended to the buffer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Longer than a message can be.
    #[error("message of {0} bytes; OpenFlow's length field ends at 65535: split it")]
    TooLong(usize),
    /// The action's form has no room for an experimenter's field.
    #[error("field {field} cannot be used in action {action}: its header has an experimenter; use set_field")]
    FieldInAction {
        /// Name of the field.
        field: &'static str,
        /// Name of the action.
        action: &'static str,
    },
    /// More bits than the action's form can name.
    #[error(
        "action {action} takes at most 64 bits of a field, and more of {field} were given; use set_field"
    )]
    TooWide {
        /// Name of the field.
        field: &'static str,
        /// Name of the action.
        action: &'static str,
    },
}

/// `ofp_error_msg`, OpenFlow 1.3.5 §7.5.4: why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode {
    /// Whose numbers they are; `None` for OpenFlow's own.
    pub experimenter: Option<u32>,
    /// Type; an experimenter's code is all in here.
    pub kind: u16,
    /// Code; 0 for an experimenter.
    pub code: u16,
}

impl ErrorCode {
    /// `OFPET_EXPERIMENTER`.
    const EXPERIMENTER: u16 = 0xffff;

    /// The name by which specifications know it, such as `OFPFMFC_TABLE_FULL`.
    pub fn name(self) -> Option<&'static str> {
        let wanted = (self.experimenter, self.kind, self.code);
        let place = ERROR_NAMES
            .binary_search_by_key(&wanted, |&(vendor, kind, code, _)| (vendor, kind, code))
            .ok()?;
        Some(ERROR_NAMES[place].3)
    }

    /// The error of that name.
    pub fn from_name(name: &str) -> Option<ErrorCode> {
        let &(experimenter, kind, code, _) = ERROR_NAMES.iter().find(|(.., known)| *known == name)?;
        Some(ErrorCode { experimenter, kind, code })
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<ErrorCode, DecodeError> {
        let kind = input.u16()?;
        let code = input.u16()?;
        if kind == Self::EXPERIMENTER {
            return Ok(ErrorCode { experimenter: Some(input.u32()?), kind: code, code: 0 });
        }
        Ok(ErrorCode { experimenter: None, kind, code })
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        match self.experimenter {
            Some(experimenter) => {
                out.put_u16(Self::EXPERIMENTER);
                out.put_u16(self.kind);
                out.put_u32(experimenter);
            }
            None => {
                out.put_u16(self.kind);
                out.put_u16(self.code);
            }
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.experimenter) {
            (Some(name), _) => out.write_str(name),
            (None, Some(vendor)) => write!(out, "experimenter {vendor:#x} type {}", self.kind),
            (None, None) => write!(out, "type {} code {}", self.kind, self.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found_both_ways() {
        assert!(ERROR_NAMES.is_sorted_by_key(|&(vendor, kind, code, _)| (vendor, kind, code)));
        for &(experimenter, kind, code, name) in ERROR_NAMES {
            let error = ErrorCode { experimenter, kind, code };
            assert_eq!(error.name(), Some(name));
            assert_eq!(ErrorCode::from_name(name), Some(error));
            let mut bytes = Vec::new();
            error.encode(&mut bytes);
            assert_eq!(ErrorCode::take(&mut Reader::new("test", &bytes)), Ok(error));
        }
    }

    #[test]
    fn unknown_codes_are_shown_as_numbers() {
        let unknown = ErrorCode { experimenter: None, kind: 77, code: 3 };
        assert_eq!(unknown.to_string(), "type 77 code 3");
    }
}
