//! Ethernet MAC addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IEEE 802 MAC-48 address, in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// True for a group address (the I/G bit is set), broadcast included.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// The address as an integer below 2^48.
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The IPv6 link-local address that Linux derives from this MAC: modified EUI-64, RFC 4291 appendix A.
    pub const fn link_local(self) -> std::net::Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        std::net::Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The text is not six colon-separated pairs of hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a MAC address: six pairs of hex digits with colons are wanted, as in 02:00:0a:05:00:07"
)]
pub struct MacAddrParseError(String);

impl FromStr for MacAddr {
    type Err = MacAddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            *octet = pairs
                .next()
                .filter(|pair| matches!(pair.len(), 1 | 2) && pair.bytes().all(|c| c.is_ascii_hexdigit()))
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(|| MacAddrParseError(text.to_owned()))?;
        }
        if pairs.next().is_some() {
            return Err(MacAddrParseError(text.to_owned()));
        }
        Ok(MacAddr(octets))
    }
}

impl Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let mac: MacAddr = "02:00:0a:05:00:07".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:0a:05:00:07");
        assert_eq!(mac.to_u64(), 0x0200_0a05_0007);
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in [
            "",
            "02:00:0a:05:00",
            "02:00:0a:05:00:07:08",
            "02:00:0a:05:00:zz",
            "0200.0a05.0007",
            "+2:0:0:0:0:0",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn link_local_is_modified_eui_64() {
        let mac: MacAddr = "02:42:0a:05:00:07".parse().unwrap();
        assert_eq!(mac.link_local(), "fe80::42:aff:fe05:7".parse::<std::net::Ipv6Addr>().unwrap());
    }
}
