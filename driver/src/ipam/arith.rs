//! Address arithmetic that is the same for IPv4 and IPv6.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::Subnet;

/// The address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address of this number in the family of `like`.
pub(super) fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4((number as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

/// The first and the last address of a prefix, as numbers.
pub(super) fn bounds(prefix: IpNet) -> (u128, u128) {
    (number(prefix.network()), number(prefix.broadcast()))
}

/// True if the prefixes share an address. Of two such prefixes one holds the other.
pub(super) fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// What two prefixes share: the longer one, if the other holds it.
pub(super) fn intersection(one: IpNet, other: IpNet) -> Option<IpNet> {
    if one.contains(&other) {
        Some(other)
    } else if other.contains(&one) {
        Some(one)
    } else {
        None
    }
}

/// The prefix length of the blocks into which a subnet is cut.
///
/// About as many blocks as addresses in a block, so that small subnets still serve several nodes; at most 64
/// addresses a block in IPv4, so that a /16 has a block for each of a thousand nodes, and at most 256 in IPv6,
/// where blocks are not scarce.
///
/// This is part of the store's format: nodes claim blocks by key, so all must cut alike.
pub(super) fn block_len(subnet: IpNet) -> u8 {
    let host_bits = subnet.max_prefix_len() - subnet.prefix_len();
    let most = if subnet.addr().is_ipv4() { 6 } else { 8 };
    subnet.max_prefix_len() - (host_bits / 2).min(most)
}

/// The block of a subnet that has this address.
///
/// ```
/// use sluice::ipam::block_of;
/// let subnet = "10.5.0.0/24".parse().unwrap();
/// assert_eq!(block_of(subnet, "10.5.0.77".parse().unwrap()), "10.5.0.64/28".parse().unwrap());
/// ```
pub fn block_of(subnet: IpNet, address: IpAddr) -> IpNet {
    IpNet::new(address, block_len(subnet)).expect("a block's prefix length fits its family").trunc()
}

/// How many addresses of a subnet, or of a range in it, endpoints can have.
pub fn usable(subnet: &Subnet, range: IpNet) -> u128 {
    let Some(part) = intersection(subnet.prefix, range) else { return 0 };
    let (first, last) = bounds(part);
    let ends = [subnet.prefix.network(), subnet.prefix.broadcast()];
    let special: BTreeSet<IpAddr> =
        ends.into_iter().chain(subnet.gateway).chain(subnet.reserved.values().copied()).collect();
    let reserved =
        special.into_iter().filter(|a| part.contains(a) && subnet.reservation(*a).is_some()).count() as u128;
    // The whole of IPv6 would overflow by one; no subnet is that large.
    (last - first).saturating_add(1) - reserved
}

/// FNV-1a with a final mix, for choices that every host must make alike.
pub(super) fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_the_subnet() {
        for (subnet, block) in [
            ("10.0.0.0/8", 26),
            ("10.5.0.0/16", 26),
            ("10.5.0.0/20", 26),
            ("10.5.0.0/24", 28),
            ("10.5.0.0/26", 29),
            ("10.5.0.0/29", 31),
            ("10.5.0.0/30", 31),
            ("10.5.0.0/31", 32),
            ("10.5.0.0/32", 32),
            ("fd00::/64", 120),
            ("fd00::/120", 124),
            ("fd00::/127", 128),
            ("fd00::/128", 128),
        ] {
            assert_eq!(block_len(subnet.parse().unwrap()), block, "{subnet}");
        }
    }

    #[test]
    fn usable_leaves_out_what_is_reserved_once() {
        let subnet = |text| Subnet::parse(text).unwrap();
        let gateway = |text| {
            let subnet = subnet(text);
            let gateway = subnet.default_gateway();
            subnet.with_gateway(gateway).unwrap()
        };
        // Nothing makes such a subnet, but a stored one can say the same twice.
        let mut twice = gateway("10.5.0.0/26");
        twice.reserved.insert("gw".to_owned(), "10.5.0.1".parse().unwrap());
        for (subnet, count) in [
            (subnet("10.5.0.0/26"), 62),
            (gateway("10.5.0.0/26"), 61),
            (twice, 61),
            (gateway("10.5.0.0/26").with_reserved("r", "10.5.0.9".parse().unwrap()).unwrap(), 60),
            (subnet("10.5.0.0/31"), 2),
            (gateway("10.5.0.0/31"), 1),
            (gateway("10.5.0.0/32"), 0),
            (gateway("fd00::/126"), 2),
        ] {
            assert_eq!(usable(&subnet, subnet.prefix), count, "{subnet:?}");
        }
        let subnet = gateway("10.5.0.0/24");
        assert_eq!(usable(&subnet, "10.5.0.128/25".parse().unwrap()), 127);
        assert_eq!(usable(&subnet, "10.6.0.0/25".parse().unwrap()), 0);
    }
}
