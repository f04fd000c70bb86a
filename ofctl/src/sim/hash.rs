//! The hashes by which Open vSwitch chooses buckets, links and ports, bit for bit, so that the simulator chooses
//! the same: lookup3 where ovs-actions(7) promises it, MurmurHash3 elsewhere, as builds without SSE 4.2 have it.

use super::key::{ETH_IPV4, ETH_IPV6, Key};
use crate::wire::{Field, FieldValue, HashFields, Multipath, MultipathAlgorithm};

/// Adds a word, MurmurHash3's way.
pub(super) fn add(hash: u32, data: u32) -> u32 {
    let data = data.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    (hash ^ data).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// Ends it.
pub(super) fn finish(hash: u32, last: u32) -> u32 {
    let mut hash = hash ^ last;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// Of two words.
pub(super) fn two_words(x: u32, y: u32) -> u32 {
    finish(add(add(x, 0), y), 8)
}

/// Bob Jenkins's lookup3 of bytes, read as little-endian words.
fn jenkins(bytes: &[u8], basis: u32) -> u32 {
    let first = 0xdead_beef_u32.wrapping_add(bytes.len() as u32).wrapping_add(basis);
    let [mut a, mut b, mut c] = [first; 3];
    let mut chunks = bytes.chunks_exact(12);
    let take = |a: &mut u32, b: &mut u32, c: &mut u32, chunk: &[u8]| {
        let mut words = [0; 12];
        words[..chunk.len()].copy_from_slice(chunk);
        let word = |i: usize| u32::from_le_bytes([words[i], words[i + 1], words[i + 2], words[i + 3]]);
        *a = a.wrapping_add(word(0));
        *b = b.wrapping_add(word(4));
        *c = c.wrapping_add(word(8));
    };
    for chunk in &mut chunks {
        take(&mut a, &mut b, &mut c, chunk);
        for turn in [4, 6, 8, 16, 19, 4] {
            a = a.wrapping_sub(c) ^ c.rotate_left(turn);
            c = c.wrapping_add(b);
            // The three change places after each turn.
            (a, b, c) = (b, c, a);
        }
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        take(&mut a, &mut b, &mut c, rest);
        for turn in [14, 11, 25, 16, 4, 14, 24] {
            c = (c ^ b).wrapping_sub(b.rotate_left(turn));
            (a, b, c) = (b, c, a);
        }
        // Seven turns leave the result one place on.
        c = b;
    }
    c
}

fn bytes<const N: usize>(value: u128) -> [u8; N] {
    FieldValue::from(value).low_bytes(N).try_into().expect("N is at most 16")
}

/// What the protocol's port fields hold, ICMP's type and code included, as Open vSwitch keeps them in one place.
pub(super) fn ports(key: &Key) -> (u16, u16) {
    use Field::*;
    let pair = match (key.eth_type(), key.value(IpProto)) {
        (_, 6) => (TcpSrc, TcpDst),
        (_, 17) => (UdpSrc, UdpDst),
        (_, 132) => (SctpSrc, SctpDst),
        (ETH_IPV4, 1) => (Icmpv4Type, Icmpv4Code),
        (ETH_IPV6, 58) => (Icmpv6Type, Icmpv6Code),
        _ => return (0, 0),
    };
    (key.value(pair.0) as u16, key.value(pair.1) as u16)
}

fn ethernet(key: &Key) -> u128 {
    key.value(Field::EthSrc) ^ key.value(Field::EthDst)
}

fn vlans(key: &Key) -> u16 {
    key.tags.iter().fold(0, |all, tag| all ^ tag.tci & 0x0fff)
}

/// Both addresses folded into one, so that both directions have the same.
fn addresses(key: &Key) -> [u8; 16] {
    let mut folded = [0; 16];
    match key.eth_type() {
        ETH_IPV4 => {
            let both = key.value(Field::Ipv4Src) ^ key.value(Field::Ipv4Dst);
            folded[..4].copy_from_slice(&bytes::<4>(both));
        }
        ETH_IPV6 => folded = bytes(key.value(Field::Ipv6Src) ^ key.value(Field::Ipv6Dst)),
        _ => {}
    }
    folded
}

/// Ethernet, VLAN, IP and TCP or SCTP, the same for both directions. UDP ports do not count.
pub(super) fn symmetric_l4(key: &Key, basis: u32) -> u32 {
    let mut fields = [0; 32];
    fields[..16].copy_from_slice(&addresses(key));
    fields[16..18].copy_from_slice(&key.eth_type().to_be_bytes());
    fields[18..20].copy_from_slice(&vlans(key).to_be_bytes());
    if key.is_ip() {
        let protocol = key.value(Field::IpProto) as u8;
        if matches!(protocol, 6 | 132) {
            let (source, destination) = ports(key);
            fields[20..22].copy_from_slice(&(source ^ destination).to_be_bytes());
        }
        fields[28] = protocol;
    }
    fields[22..28].copy_from_slice(&bytes::<6>(ethernet(key)));
    jenkins(&fields, basis)
}

fn symmetric_l2(key: &Key, basis: u32) -> u32 {
    let mut fields = [0; 12];
    fields[..2].copy_from_slice(&key.eth_type().to_be_bytes());
    fields[2..4].copy_from_slice(&vlans(key).to_be_bytes());
    fields[4..10].copy_from_slice(&bytes::<6>(ethernet(key)));
    finish(fields.chunks_exact(4).fold(basis, |hash, word| add(hash, le_word(word))), basis)
}

fn le_word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(word)
}

/// IP and TCP or SCTP, and UDP too if wanted, the same for both directions.
pub(super) fn symmetric_l3l4(key: &Key, basis: u32, udp_ports: bool) -> u32 {
    let folded = addresses(key);
    let used = match key.eth_type() {
        ETH_IPV4 => &folded[..4],
        ETH_IPV6 => &folded[..],
        _ => return symmetric_l2(key, basis),
    };
    let mut hash = used.chunks_exact(4).fold(basis, |hash, word| add(hash, le_word(word)));
    let protocol = key.value(Field::IpProto) as u32;
    hash = add(hash, protocol);
    if !key.is_fragment() && (matches!(protocol, 6 | 132) || udp_ports && protocol == 17) {
        let (source, destination) = ports(key);
        hash = add(hash, (source ^ destination).swap_bytes().into());
    }
    finish(hash, basis)
}

/// Of a number of 64 bits.
pub(super) fn of_64_bits(number: u64) -> u32 {
    finish(add(add(0, number as u32), (number >> 32) as u32), 8)
}

/// Of bytes, MurmurHash3's way, with the rest that is no whole word.
fn murmur(bytes: &[u8], basis: u32) -> u32 {
    let hash = bytes.chunks(4).fold(basis, |hash, word| add(hash, le_word(word)));
    finish(hash, bytes.len() as u32)
}

/// Of the fields that a group's selection method names, those that the packet has, one upon the other.
pub(super) fn of_fields(key: &Key, basis: u32, fields: &[(Field, FieldValue)]) -> u32 {
    let there = fields.iter().filter(|(field, _)| key.meets(field.spec().prerequisite));
    there.fold(basis, |basis, (field, mask)| {
        let value = FieldValue::from(key.value(*field) & mask.to_u128());
        let hash = murmur(value.low_bytes(usize::from(field.bits_wide().div_ceil(8))), basis);
        match field.name().starts_with("tun_metadata") {
            // Whether the option is there counts too.
            true => two_words((!value.is_zero()).into(), hash),
            false => hash,
        }
    })
}

/// Where a field stands in the order in which Open vSwitch hashes several, that of its `enum mf_field_id`: ours within
/// each of these ranges, and one range after the other.
pub(super) fn rank(field: Field) -> (usize, usize) {
    use Field::*;
    const ORDER: [(Field, Field); 29] = [
        (PacketType, ConjId),
        (TunnelId, TunnelId),
        (TunSrc, TunIpv6Dst),
        (TunFlags, TunFlags),
        (TunGbpId, TunGtpuMsgtype),
        (Metadata, Metadata),
        (InPort16, InPort16),
        (InPort, InPort),
        (ActsetOutput, ActsetOutput),
        (PktMark, CtTpDst),
        (Reg0, XxReg3),
        (EthSrc, EthType),
        (VlanTci, VlanTci),
        (VlanVid, VlanPcp),
        (MplsLabel, MplsLabel),
        (MplsTc, MplsTtl),
        (Ipv4Src, Ipv6Dst),
        (Ipv6Label, Ipv6Label),
        (IpProto, IpProto),
        (IpTos, IpTtl),
        (IpFrag, IpFrag),
        (ArpOp, ArpTha),
        (TcpSrc, SctpDst),
        (Icmpv4Type, Icmpv6Code),
        (NdTarget, NdTarget),
        (NdSll, NdTll),
        (NdReserved, NdReserved),
        (NdOptionsType, NdOptionsType),
        (NshFlags, NshC4),
    ];
    let number = field as usize;
    let holds = |(first, last): &(Field, Field)| (*first as usize..=*last as usize).contains(&number);
    (ORDER.iter().position(holds).unwrap_or(ORDER.len()), number)
}

/// The five-tuple as the userspace datapath hashes a packet that it receives, `OVS_HASH_ALG_L4`.
pub(super) fn received_l4(key: &Key, basis: u32) -> u32 {
    let hash = match key.eth_type() {
        ETH_IPV4 => [Field::Ipv4Src, Field::Ipv4Dst]
            .iter()
            .fold(0, |hash, field| add(hash, le_word(&bytes::<4>(key.value(*field))))),
        ETH_IPV6 => [Field::Ipv6Src, Field::Ipv6Dst].iter().fold(0, |hash, field| {
            bytes::<16>(key.value(*field)).chunks(4).fold(hash, |hash, word| add(hash, le_word(word)))
        }),
        _ => return two_words(finish(0, 42), basis),
    };
    let protocol = key.value(Field::IpProto) as u32;
    let hash = add(hash, protocol);
    let hash = match protocol {
        1 | 6 | 17 | 58 | 132 => {
            let (source, destination) = ports(key);
            add(hash, u32::from(source.swap_bytes()) | u32::from(destination.swap_bytes()) << 16)
        }
        _ => hash,
    };
    two_words(finish(hash, 42), basis)
}

/// The hash of these fields, `nx_hash_fields`.
pub(super) fn fields(key: &Key, fields: HashFields, basis: u16) -> u32 {
    let basis = basis.into();
    let address = |v4: Field, v6: Field| match key.eth_type() {
        ETH_IPV4 => jenkins(&bytes::<4>(key.value(v4)), basis),
        ETH_IPV6 => jenkins(&bytes::<16>(key.value(v6)), basis),
        _ => basis,
    };
    match fields {
        HashFields::EthSrc => jenkins(&bytes::<6>(key.value(Field::EthSrc)), basis),
        HashFields::SymmetricL4 => symmetric_l4(key, basis),
        HashFields::SymmetricL3L4 => symmetric_l3l4(key, basis, false),
        HashFields::SymmetricL3L4Udp => symmetric_l3l4(key, basis, true),
        HashFields::NwSrc => address(Field::Ipv4Src, Field::Ipv6Src),
        HashFields::NwDst => address(Field::Ipv4Dst, Field::Ipv6Dst),
        HashFields::SymmetricL3 => {
            let mut fields = [0; 20];
            fields[..16].copy_from_slice(&addresses(key));
            fields[16..18].copy_from_slice(&key.eth_type().to_be_bytes());
            jenkins(&fields, basis)
        }
    }
}

/// The link that a `multipath` chooses, ovs-actions(7).
pub(super) fn multipath(key: &Key, multipath: &Multipath) -> u16 {
    let hash = fields(key, multipath.fields, multipath.basis);
    let links = u32::from(multipath.max_link) + 1;
    let chosen = match multipath.algorithm {
        MultipathAlgorithm::ModuloN => hash % links,
        MultipathAlgorithm::HashThreshold if links == 1 => 0,
        MultipathAlgorithm::HashThreshold => hash / (u32::MAX / links + 1),
        MultipathAlgorithm::Hrw if links <= 64 => {
            let weights = (0..links).map(|link| (two_words(hash, link), std::cmp::Reverse(link)));
            weights.max().map_or(0, |(_, link)| link.0)
        }
        MultipathAlgorithm::Hrw => repeated(hash, links, 0),
        MultipathAlgorithm::IterHash => repeated(hash, links, multipath.argument),
    };
    chosen as u16
}

/// Hashes the hash anew until it is the number of a link.
fn repeated(hash: u32, links: u32, argument: u32) -> u32 {
    let fits = (links..=links.saturating_mul(2) + 1).contains(&argument);
    let modulo = if fits { argument } else { links.next_power_of_two() };
    // At least half of the numbers are links: the end of the range is never met.
    (0..u32::MAX)
        .map(|turn| (two_words(hash, turn) % modulo) & 0xffff)
        .find(|&link| link < links)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_place_in_the_order_of_hashes() {
        let ranks: std::collections::BTreeSet<_> = Field::all().map(rank).collect();
        assert_eq!(ranks.len(), Field::all().len());
        assert!(ranks.iter().all(|(range, _)| *range < 29), "a field is in no range");
        assert!(rank(Field::IpProto) < rank(Field::TcpSrc) && rank(Field::Ipv4Dst) < rank(Field::IpProto));
    }

    /// The vectors of lookup3.c's own driver: hashlittle of this text, and of nothing.
    #[test]
    fn lookup3_by_its_authors_examples() {
        assert_eq!(jenkins(b"", 0), 0xdead_beef);
        assert_eq!(jenkins(b"", 0xdead_beef), 0xbd5b_7dde);
        assert_eq!(jenkins(b"Four score and seven years ago", 0), 0x1777_0551);
        assert_eq!(jenkins(b"Four score and seven years ago", 1), 0xcd62_8161);
    }

    /// MurmurHash3_x86_32 of four and eight bytes.
    #[test]
    fn murmur_by_known_examples() {
        assert_eq!(finish(add(0, 0), 4), 0x2362_f9de);
        assert_eq!(finish(add(0, u32::from_le_bytes([0x21, 0x43, 0x65, 0x87])), 4), 0xf55b_516b);
    }
}
