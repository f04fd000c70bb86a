//! Which messages a switch hears, and which it only says; of those the length is looked at first.

use super::Violation;
use crate::wire::{DecodeError, NICIRA_EXPERIMENTER, ONF_EXPERIMENTER};

/// How long a body can be.
#[derive(Clone, Copy)]
struct Size {
    least: usize,
    /// What follows `least` is of so many bytes each; 0 if nothing follows.
    each: usize,
}

const fn exactly(least: usize) -> Size {
    Size { least, each: 0 }
}

const fn several(least: usize, each: usize) -> Size {
    Size { least, each }
}

impl Size {
    fn fits(self, length: usize) -> bool {
        match (length.checked_sub(self.least), self.each) {
            (None, _) => false,
            (Some(more), 0) => more == 0,
            (Some(more), each) => more % each == 0,
        }
    }
}

/// `OFPT_EXPERIMENTER` and `OFPT_MULTIPART_REPLY`.
const EXPERIMENTER: u8 = 4;
const MULTIPART_REPLY: u8 = 19;
/// `OFPMP_EXPERIMENTER`.
const EXPERIMENTERS_MULTIPART: u16 = 0xffff;

/// What follows the header of a message that a switch says, by `OFPT_*`: features, configuration, packet-in,
/// flow-removed, port-status, barrier, queues, role, async.
const SAID: [(u8, Size); 9] = [
    (6, exactly(24)),
    (8, exactly(4)),
    (10, several(24, 1)),
    (11, several(40, 8)),
    (12, exactly(72)),
    (21, exactly(0)),
    (23, several(8, 8)),
    (25, exactly(16)),
    (27, exactly(24)),
];

/// What follows the head of a multipart reply, by `OFPMP_*`.
const REPLIES: [(u16, Size); 14] = [
    (0, exactly(1056)),
    (1, several(0, 1)),
    (2, exactly(24)),
    (3, several(0, 24)),
    (4, several(0, 112)),
    (5, several(0, 40)),
    (6, several(0, 8)),
    (7, several(0, 8)),
    (8, exactly(40)),
    (9, several(0, 8)),
    (10, several(0, 8)),
    (11, exactly(16)),
    (12, several(0, 8)),
    (13, several(0, 64)),
];

/// `NXT_ROLE_REPLY`, `NXT_FLOW_REMOVED`, `NXT_PACKET_IN`, `NXT_TLV_TABLE_REPLY` and `NXT_PACKET_IN2`.
const SAID_BY_NICIRA: [u32; 5] = [11, 14, 17, 26, 30];
/// `ONFT_FLOW_MONITOR_PAUSED` and `_RESUMED`, `ONFT_ROLE_STATUS` and `ONFT_REQUESTFORWARD`.
const SAID_BY_ONF: [u32; 4] = [1871, 1872, 1911, 2350];

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

/// Refuses what a switch says.
pub(super) fn check(kind: u8, bytes: &[u8]) -> Result<(), Violation> {
    let size = match kind {
        EXPERIMENTER => {
            let said = match u32_at(bytes, 8) {
                NICIRA_EXPERIMENTER => SAID_BY_NICIRA.contains(&u32_at(bytes, 12)),
                ONF_EXPERIMENTER => SAID_BY_ONF.contains(&u32_at(bytes, 12)),
                _ => false,
            };
            said.then_some((16, several(0, 1)))
        }
        MULTIPART_REPLY if bytes.len() >= 16 => {
            let wanted = u16_at(bytes, 8);
            match REPLIES.iter().find(|(kind, _)| *kind == wanted) {
                Some((_, size)) => Some((16, *size)),
                None if wanted == EXPERIMENTERS_MULTIPART => Some((16, several(8, 1))),
                None => {
                    let (what, error) = (format!("multipart {wanted}"), "OFPBRC_BAD_STAT");
                    return Err(Violation::Unknown { what, error });
                }
            }
        }
        MULTIPART_REPLY => Some((8, several(8, 1))),
        kind => SAID.iter().find(|(known, _)| *known == kind).map(|(_, size)| (8, *size)),
    };
    match size {
        None => Ok(()),
        Some((head, size)) if size.fits(bytes.len().saturating_sub(head)) => {
            Err(Violation::Direction { kind })
        }
        Some(_) => Err(DecodeError::BadLength { what: "message of a switch", length: bytes.len() }.into()),
    }
}
