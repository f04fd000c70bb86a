//! Internet checksums: computed whole, updated in place, and verified over a frame.

use super::layout::{Layer3, Layout};

/// One's complement sum of big-endian words, an odd last byte padded with zero; RFC 1071 §1.
fn sum(bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let mut total = 0u64;
    for word in &mut words {
        total += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        total += u64::from(*last) << 8;
    }
    fold(total).into()
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The checksum of all these parts, one after the other; each but the last must be of even length.
pub(super) fn internet(parts: &[&[u8]]) -> u16 {
    !fold(parts.iter().map(|part| u64::from(sum(part))).sum())
}

/// The checksum after `old` was replaced by `new` under it, both of the same even length; RFC 1624 §3.
pub(super) fn updated(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let mut total = u64::from(!checksum) + u64::from(sum(new));
    for word in old.chunks_exact(2) {
        total += u64::from(!u16::from_be_bytes([word[0], word[1]]));
    }
    !fold(total)
}

/// CRC-32C as SCTP has it, RFC 9260 appendix A.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    // The register goes onto the wire least significant byte first.
    (!crc).swap_bytes()
}

/// Sum of the pseudo header and the upper layer, RFC 768, RFC 9293 §3.1 and RFC 8200 §8.1.
pub(super) fn upper_layer(addresses: &[u8], protocol: u8, segment: &[u8]) -> u16 {
    let length = (segment.len() as u32).to_be_bytes();
    internet(&[addresses, &length, &[0, protocol], segment])
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        assert_eq!(!internet(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_updates() {
        assert_eq!(updated(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0x0000);
    }

    #[test]
    fn crc32c_check_value() {
        assert_eq!(crc32c(&[b"123456789"]).swap_bytes(), 0xe306_9283);
    }
}
