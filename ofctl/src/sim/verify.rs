//! Verifies the checksums of a frame.

use super::layout::{Layer3, Layout};
use crate::packet::checksum::{crc32c, internet, upper_layer};

/// A checksum in a frame is not what its bytes sum up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {header} checksum is {found:#06x}, where the bytes want {wanted:#06x}")]
pub struct ChecksumError {
    /// Which header.
    pub header: &'static str,
    /// What the frame says.
    pub found: u32,
    /// What it should say.
    pub wanted: u32,
}

/// Verifies every checksum that a frame carries: IPv4 header, TCP, UDP, SCTP, ICMP and ICMPv6.
///
/// The upper layers of fragments are not checked, since their checksum covers the whole datagram; nor is a UDP
/// checksum of zero over IPv4, which says that there is none.
///
/// # Errors
/// The first checksum that is wrong.
pub fn verify_checksums(frame: &[u8]) -> Result<(), ChecksumError> {
    let (layout, key) = Layout::parse(frame);
    let check = |header, found: u16, wanted: u16| {
        // Both forms of zero are the same number in one's complement.
        if found == wanted || (found.is_multiple_of(0xffff) && wanted.is_multiple_of(0xffff)) {
            return Ok(());
        }
        Err(ChecksumError { header, found: found.into(), wanted: wanted.into() })
    };
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let Some(l3) = layout.l3 else { return Ok(()) };
    let addresses = match layout.layer3 {
        Layer3::Ipv4 { header } => {
            let bytes = &frame[l3..l3 + header];
            check("IPv4", word(l3 + 10), internet(&[&bytes[..10], &bytes[12..]]))?;
            &frame[l3 + 12..l3 + 20]
        }
        Layer3::Ipv6 => &frame[l3 + 8..l3 + 40],
        _ => return Ok(()),
    };
    let (Some(l4), false) = (layout.l4, key.is_fragment()) else { return Ok(()) };
    let segment = &frame[l4..layout.end];
    let without = |at: usize| {
        let mut copy = segment.to_vec();
        copy[at..at + 2].fill(0);
        copy
    };
    let v6 = layout.layer3 == Layer3::Ipv6;
    match layout.protocol {
        6 => check("TCP", word(l4 + 16), upper_layer(addresses, 6, &without(16))),
        17 if !v6 && word(l4 + 6) == 0 => Ok(()),
        17 => check("UDP", word(l4 + 6), upper_layer(addresses, 17, &without(6))),
        1 if !v6 => check("ICMP", word(l4 + 2), internet(&[&without(2)])),
        58 if v6 => check("ICMPv6", word(l4 + 2), upper_layer(addresses, 58, &without(2))),
        132 => {
            let found = u32::from_be_bytes([segment[8], segment[9], segment[10], segment[11]]);
            let wanted = crc32c(&[&segment[..8], &[0; 4], &segment[12..]]);
            if found == wanted { Ok(()) } else { Err(ChecksumError { header: "SCTP", found, wanted }) }
        }
        _ => Ok(()),
    }
}
