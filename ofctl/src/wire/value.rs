//! Field values of any width.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::MacAddr;

/// The value or mask of a field: an unsigned number of up to 128 bits, whatever the field's width.
///
/// Kept big-endian without alignment, because planners hold hundreds of thousands of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldValue([u8; 16]);

impl FieldValue {
    /// Bytes of the widest value.
    pub const MAX_BYTES: usize = 16;

    /// This number.
    pub const fn new(number: u128) -> FieldValue {
        FieldValue(number.to_be_bytes())
    }

    /// The low `N` bytes, in network order; `N` is at most 16.
    #[inline]
    pub(super) fn low<const N: usize>(&self) -> &[u8; N] {
        self.0.last_chunk().expect("a value has 16 bytes")
    }

    /// The number that these bytes are.
    #[inline]
    pub(super) fn from_low<const N: usize>(bytes: &[u8; N]) -> FieldValue {
        let mut value = [0; 16];
        *value.last_chunk_mut().expect("a value has 16 bytes") = *bytes;
        FieldValue(value)
    }

    /// The number.
    pub const fn to_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The low 64 bits.
    pub const fn to_u64(self) -> u64 {
        self.to_u128() as u64
    }

    /// True if no bit is set.
    pub const fn is_zero(self) -> bool {
        self.to_u128() == 0
    }

    /// The low 48 bits as a MAC address.
    pub const fn to_mac(self) -> MacAddr {
        let [.., a, b, c, d, e, f] = self.0;
        MacAddr([a, b, c, d, e, f])
    }

    /// The low 32 bits as an IPv4 address.
    pub const fn to_ipv4(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.to_u128() as u32)
    }

    /// All bits as an IPv6 address.
    pub fn to_ipv6(self) -> Ipv6Addr {
        Ipv6Addr::from(self.0)
    }

    /// The low `n` bytes, in network order; `n` is at most 16.
    pub fn low_bytes(&self, n: usize) -> &[u8] {
        &self.0[Self::MAX_BYTES - n.min(Self::MAX_BYTES)..]
    }

    /// The number that these big-endian bytes are; `None` if there are more than 16.
    pub fn from_be_slice(bytes: &[u8]) -> Option<Self> {
        // The usual lengths without a copy of unknown length.
        Some(match *bytes {
            [a] => Self::from_low(&[a]),
            [a, b] => Self::from_low(&[a, b]),
            [a, b, c, d] => Self::from_low(&[a, b, c, d]),
            [a, b, c, d, e, f, g, h] => Self::from_low(&[a, b, c, d, e, f, g, h]),
            _ => {
                let mut value = [0; 16];
                value.get_mut(Self::MAX_BYTES.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
                FieldValue(value)
            }
        })
    }
}

impl std::ops::BitAnd for FieldValue {
    type Output = FieldValue;

    fn bitand(self, other: FieldValue) -> FieldValue {
        FieldValue::from(self.to_u128() & other.to_u128())
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.to_u128())
    }
}

macro_rules! from_unsigned {
    ($($t:ty),*) => {$(
        impl From<$t> for FieldValue {
            fn from(value: $t) -> Self {
                FieldValue((value as u128).to_be_bytes())
            }
        }
    )*};
}

from_unsigned!(u8, u16, u32, u64, u128);

impl From<MacAddr> for FieldValue {
    fn from(mac: MacAddr) -> Self {
        mac.to_u64().into()
    }
}

impl From<Ipv4Addr> for FieldValue {
    fn from(address: Ipv4Addr) -> Self {
        address.to_bits().into()
    }
}

impl From<Ipv6Addr> for FieldValue {
    fn from(address: Ipv6Addr) -> Self {
        FieldValue(address.octets())
    }
}

impl From<super::OfPort> for FieldValue {
    fn from(port: super::OfPort) -> Self {
        port.0.into()
    }
}
