//! Internet checksums: computed whole, and updated in place.

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
pub(crate) fn internet(parts: &[&[u8]]) -> u16 {
    !fold(parts.iter().map(|part| u64::from(sum(part))).sum())
}

/// The checksum after `old` was replaced by `new` under it, both of the same even length; RFC 1624 §3.
pub(crate) fn updated(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let mut total = u64::from(!checksum) + u64::from(sum(new));
    for word in old.chunks_exact(2) {
        total += u64::from(!u16::from_be_bytes([word[0], word[1]]));
    }
    !fold(total)
}

/// CRC-32C as SCTP has it, RFC 9260 appendix A.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
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
pub(crate) fn upper_layer(addresses: &[u8], protocol: u8, segment: &[u8]) -> u16 {
    let length = (segment.len() as u32).to_be_bytes();
    internet(&[addresses, &length, &[0, protocol], segment])
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
