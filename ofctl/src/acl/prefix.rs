//! Address prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 prefix without bits beyond its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A prefix is longer than its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("/{length} is longer than the {} bits of {address}", width(*address))]
pub struct PrefixTooLong {
    /// The address.
    pub address: IpAddr,
    /// The length.
    pub length: u8,
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl Prefix {
    /// The first `length` bits of an address; what follows them is cut off.
    ///
    /// # Errors
    /// If the address has fewer bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Prefix, PrefixTooLong> {
        if length > width(address) {
            return Err(PrefixTooLong { address, length });
        }
        Ok(Prefix { address, length }.truncated(length))
    }

    /// One address.
    pub const fn host(address: IpAddr) -> Prefix {
        Prefix { address, length: width(address) }
    }

    /// The address, with zeros after the prefix.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Bits that count.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// True for IPv6.
    pub const fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }

    /// The bits that count, as a mask of the address's width.
    pub const fn mask(self) -> u128 {
        let host_bits = width(self.address) - self.length;
        let all = match self.address {
            IpAddr::V4(_) => u32::MAX as u128,
            IpAddr::V6(_) => u128::MAX,
        };
        if host_bits == 128 { 0 } else { (all >> host_bits) << host_bits }
    }

    /// The address as a number.
    pub const fn bits(self) -> u128 {
        match self.address {
            IpAddr::V4(address) => address.to_bits() as u128,
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    /// True if the address begins with this prefix.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6() && Prefix::host(address).truncated(self.length) == self
    }

    /// True if every address of `other` is in here.
    pub fn covers(self, other: Prefix) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// The prefix of `length` bits, which it must have, that holds this one.
    fn truncated(self, length: u8) -> Prefix {
        let shorter = Prefix { address: self.address, length };
        let bits = self.bits() & shorter.mask();
        let address = match self.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
        };
        Prefix { address, length }
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Prefix::host(address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            length if length == width(self.address) => self.address.fmt(out),
            length => write!(out, "{}/{length}", self.address),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The fewest prefixes that hold the same addresses, in ascending order.
pub fn merge_prefixes(prefixes: &[Prefix]) -> Vec<Prefix> {
    let mut sorted = prefixes.to_vec();
    // A prefix stands right before all that it covers.
    sorted.sort_unstable();
    let mut merged: Vec<Prefix> = Vec::with_capacity(sorted.len());
    for mut prefix in sorted {
        if merged.last().is_some_and(|last| last.covers(prefix)) {
            continue;
        }
        // Two halves make a whole, which may be half of another.
        while let Some(last) = merged.last().filter(|last| last.length == prefix.length && last.length > 0) {
            let whole = prefix.truncated(prefix.length - 1);
            if !whole.covers(*last) {
                break;
            }
            merged.pop();
            prefix = whole;
        }
        merged.push(prefix);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(text: &str) -> Vec<Prefix> {
        let one = |text: &str| match text.split_once('/') {
            Some((address, length)) => {
                Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
            }
            None => Prefix::host(text.parse().unwrap()),
        };
        text.split(' ').map(one).collect()
    }

    #[test]
    fn covered_prefixes_go_and_halves_join() {
        let merge = |text: &str| merge_prefixes(&prefixes(text));
        assert_eq!(merge("10.1.0.0/16 10.0.0.0/8 10.2.3.4"), prefixes("10.0.0.0/8"));
        assert_eq!(merge("10.0.0.0/25 10.0.1.0/24 10.0.0.128/25"), prefixes("10.0.0.0/23"));
        assert_eq!(merge("10.0.1.0/24 10.0.2.0/24"), prefixes("10.0.1.0/24 10.0.2.0/24"));
        assert_eq!(merge("128.0.0.0/1 0.0.0.0/1 ::1"), prefixes("0.0.0.0/0 ::1"));
        assert_eq!(merge("8000::/1 ::/1"), prefixes("::/0"));
    }

    #[test]
    fn bits_beyond_the_length_are_cut() {
        assert_eq!(prefixes("10.1.2.3/8")[0].to_string(), "10.0.0.0/8");
        assert_eq!(prefixes("10.1.2.3/32")[0].to_string(), "10.1.2.3");
        assert_eq!(prefixes("::ffff/0")[0].mask(), 0);
        let error = Prefix::new("10.0.0.0".parse().unwrap(), 33).unwrap_err();
        assert_eq!(error.to_string(), "/33 is longer than the 32 bits of 10.0.0.0");
    }

    #[test]
    fn an_address_is_in_its_prefix_only() {
        let [net] = prefixes("10.4.0.0/14")[..] else { panic!() };
        for (address, inside) in
            [("10.4.0.0", true), ("10.7.255.255", true), ("10.8.0.0", false), ("::", false)]
        {
            assert_eq!(net.contains(address.parse().unwrap()), inside, "{address}");
        }
    }
}
