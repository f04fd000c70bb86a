//! Subnets for networks whose creator named none.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::arith::{address, number, overlap, stable_hash};

/// The space from which subnets are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultPools {
    v4: Ipv4Net,
    v4_len: u8,
    v6: Ipv6Net,
    v6_len: u8,
}

/// A space that cannot be cut as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "default pool {space} cannot be cut into subnets of /{len}: a length from /{least} to /{most} is wanted"
)]
pub struct DefaultPoolsError {
    space: IpNet,
    len: u8,
    least: u8,
    most: u8,
}

impl Default for DefaultPools {
    /// 10.192.0.0/10 in subnets of /20, and a ULA /48 in subnets of /64.
    fn default() -> Self {
        DefaultPools {
            v4: Ipv4Net::new_assert([10, 192, 0, 0].into(), 10),
            v4_len: 20,
            v6: Ipv6Net::new_assert([0xfd5c, 0x1ce5, 0x10c4, 0, 0, 0, 0, 0].into(), 48),
            v6_len: 64,
        }
    }
}

impl DefaultPools {
    /// Spaces of one's own.
    ///
    /// # Errors
    /// A subnet's length is not between that of its space and two bits short of a host's.
    pub fn new(v4: Ipv4Net, v4_len: u8, v6: Ipv6Net, v6_len: u8) -> Result<DefaultPools, DefaultPoolsError> {
        for (space, len) in [(IpNet::V4(v4), v4_len), (IpNet::V6(v6), v6_len)] {
            let (least, most) = (space.prefix_len(), space.max_prefix_len() - 2);
            if !(least..=most).contains(&len) {
                return Err(DefaultPoolsError { space, len, least, most });
            }
        }
        Ok(DefaultPools { v4: v4.trunc(), v4_len, v6: v6.trunc(), v6_len })
    }

    /// The space of a family.
    pub fn space(&self, v6: bool) -> IpNet {
        if v6 { IpNet::V6(self.v6) } else { IpNet::V4(self.v4) }
    }

    /// A subnet for the network of this name that shares no address with those taken, the same for equal
    /// arguments, so that two hosts that create one network at once choose alike.
    pub fn choose(&self, seed: &str, v6: bool, taken: &[IpNet]) -> Option<IpNet> {
        let (space, len) = (self.space(v6), if v6 { self.v6_len } else { self.v4_len });
        let count = 1u128 << (len - space.prefix_len()).min(64);
        let step = 1u128 << (space.max_prefix_len() - len);
        let first = number(space.network());
        let start = u128::from(stable_hash(&[seed.as_bytes()])) % count;
        // Each taken prefix is stepped over once, however large it is.
        let mut index = start;
        let mut left = count;
        while left > 0 {
            let network = address(first + index * step, space.network());
            let candidate =
                IpNet::new(network, len).expect("the length was checked when the pools were made");
            let Some(obstacle) = taken.iter().find(|taken| overlap(**taken, candidate)) else {
                return Some(candidate);
            };
            let past = match number(obstacle.broadcast()).checked_sub(first) {
                Some(offset) => (offset / step + 1).clamp(index + 1, count),
                None => index + 1,
            };
            left = left.saturating_sub(past - index);
            index = past % count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn choice_is_stable_inside_and_apart() {
        let pools = DefaultPools::default();
        let mut taken = Vec::new();
        for name in 0..500 {
            let chosen = pools.choose(&format!("net-{name}"), false, &taken).unwrap();
            assert_eq!(pools.choose(&format!("net-{name}"), false, &taken), Some(chosen));
            assert!(net("10.192.0.0/10").contains(&chosen) && chosen.prefix_len() == 20);
            assert!(!taken.iter().any(|other| overlap(*other, chosen)));
            taken.push(chosen);
        }
        let six = pools.choose("blue", true, &[]).unwrap();
        assert_eq!(six.prefix_len(), 64);
        assert_ne!(pools.choose("green", true, &[]), Some(six));
    }

    #[test]
    fn every_subnet_is_found_and_then_none() {
        let pools =
            DefaultPools::new("10.0.0.0/24".parse().unwrap(), 28, "fd00::/48".parse().unwrap(), 64).unwrap();
        let mut taken =
            vec![net("10.0.0.64/26"), net("192.168.0.0/16"), net("10.0.0.5/32"), net("fd00::/16")];
        for _ in 0..11 {
            taken.push(pools.choose("blue", false, &taken).unwrap());
        }
        assert_eq!(pools.choose("blue", false, &taken), None);
        assert_eq!(pools.choose("blue", true, &taken), None);
        assert_eq!(pools.choose("blue", false, &[net("0.0.0.0/0")]), None);
    }

    #[test]
    fn spaces_that_cannot_be_cut_are_refused() {
        let error = DefaultPools::new("10.0.0.0/24".parse().unwrap(), 20, "fd00::/48".parse().unwrap(), 64)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("10.0.0.0/24") && error.contains("/20") && error.contains("/24 to /30"),
            "{error}"
        );
    }
}
