//! Docker's handle of a pool.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use crate::model::NetworkName;

/// Whose pool it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A network of the cluster.
    Network(NetworkName),
    /// This host alone; the number tells its pools apart and is not given twice.
    Local(u64),
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Network(name) => write!(out, "network={name}"),
            Scope::Local(serial) => write!(out, "local={serial}"),
        }
    }
}

impl FromStr for Scope {
    type Err = PoolIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PoolIdError(text.to_owned());
        match text.split_once('=').ok_or_else(error)? {
            ("network", name) => name.parse().map(Scope::Network).map_err(|_| error()),
            ("local", serial) => serial.parse().map(Scope::Local).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}

/// Docker's PoolID. It says everything about the pool, so that it means the same on every host, in both address
/// spaces, and after any restart, without a table behind it.
///
/// ```
/// use sluice::ipam::PoolId;
/// let text = "network=blue,pool=10.5.0.0/16,range=10.5.9.0/24";
/// assert_eq!(text.parse::<PoolId>().unwrap().to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId {
    /// Whose.
    pub scope: Scope,
    /// The subnet.
    pub prefix: IpNet,
    /// `--ip-range`: where this Docker network's addresses are taken from, unless one is asked for.
    pub range: Option<IpNet>,
}

impl fmt::Display for PoolId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{},pool={}", self.scope, self.prefix)?;
        match self.range {
            Some(range) => write!(out, ",range={range}"),
            None => Ok(()),
        }
    }
}

/// The text is no PoolID of this driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no PoolID of sluice: one such as network=blue,pool=10.5.0.0/16 is wanted, as RequestPool answered it"
)]
pub struct PoolIdError(String);

impl FromStr for PoolId {
    type Err = PoolIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split(',');
            let scope = parts.next()?.parse().ok()?;
            let prefix: IpNet = parts.next()?.strip_prefix("pool=")?.parse().ok()?;
            let range: Option<IpNet> = match parts.next() {
                Some(part) => Some(part.strip_prefix("range=")?.parse().ok()?),
                None => None,
            };
            let valid = parts.next().is_none()
                && prefix.trunc() == prefix
                && range.is_none_or(|range| prefix.contains(&range) && range.trunc() == range);
            valid.then_some(PoolId { scope, prefix, range })
        };
        parse().ok_or_else(|| PoolIdError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        for text in [
            "network=blue,pool=10.5.0.0/16",
            "network=local-3,pool=fd00:5::/64,range=fd00:5::100/120",
            "local=3,pool=10.5.0.0/16,range=10.5.9.0/24",
        ] {
            assert_eq!(text.parse::<PoolId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn foreign_ids_are_refused_and_named() {
        for text in [
            "",
            "LocalDefault/10.5.0.0/16",
            "network=,pool=10.5.0.0/16",
            "network=blue",
            "network=blue,pool=10.5.0.1/16",
            "network=blue,pool=10.5.0.0/16,range=10.6.0.0/24",
            "network=blue,pool=10.5.0.0/16,range=10.5.0.0/24,x",
            "local=-1,pool=10.5.0.0/16",
        ] {
            let error = text.parse::<PoolId>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")) && error.contains("such as"), "{error}");
        }
    }
}
