//! What has to change, in which order: pure differences between what should be and what is.
//!
//! Each difference walks both sides, so that what nobody wants is found as surely as what is missing. Nothing here
//! touches anything that does not carry this agent's mark.

mod docker;
mod flows;
mod ports;
pub mod stations;

pub use docker::{DockerView, Drift, Finding, LedgerView, compare_with_docker};
pub use flows::{audit, changes, resync};
pub use ports::{ObservedPort, PortSteps, Refusal, steps};
