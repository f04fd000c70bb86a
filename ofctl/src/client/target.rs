//! Where switches are reached, and where they are waited for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::tls::Tls;

/// The port of OpenFlow, registered with IANA.
pub const OPENFLOW_PORT: u16 = 6653;

/// Where a switch is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A unix socket, such as a bridge's `.mgmt`.
    Unix(PathBuf),
    /// TCP: a name or address, and a port.
    Tcp(String, u16),
    /// TLS over TCP.
    Tls(String, u16, Tls),
}

/// Where switches are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP; port 0 is any.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr, Tls),
}

/// A text that is no connection method of ovs-ofctl(8).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetParseError {
    /// No such method.
    #[error("'{0}' is no way to reach a switch: unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT] is wanted")]
    Target(String),
    /// No such method.
    #[error(
        "'{0}' is no place to wait for switches: punix:PATH, ptcp:[PORT][:ADDRESS] or pssl:[PORT][:ADDRESS] \
         is wanted"
    )]
    Listen(String),
    /// TLS without certificates.
    #[error("'{0}' needs a certificate, a private key and the authority's certificate")]
    NoTls(String),
}

impl Target {
    /// Reads `unix:PATH`, `tcp:HOST[:PORT]` or `ssl:HOST[:PORT]`; an IPv6 address stands in brackets.
    ///
    /// ```
    /// use ofctl::client::Target;
    ///
    /// let target = Target::parse("tcp:[::1]:6633", None)?;
    /// assert_eq!(target, Target::Tcp("::1".to_owned(), 6633));
    /// assert_eq!(Target::parse("tcp:leaf-1", None)?, Target::Tcp("leaf-1".to_owned(), 6653));
    /// # Ok::<(), ofctl::client::TargetParseError>(())
    /// ```
    ///
    /// # Errors
    /// If it is none of these, or the last without `tls`.
    pub fn parse(text: &str, tls: Option<&Tls>) -> Result<Target, TargetParseError> {
        let wrong = || TargetParseError::Target(text.to_owned());
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Target::Unix(path.into())),
            Some(("tcp", place)) => {
                let (host, port) = host_port(place).ok_or_else(wrong)?;
                Ok(Target::Tcp(host, port))
            }
            Some(("ssl", place)) => {
                let (host, port) = host_port(place).ok_or_else(wrong)?;
                let tls = tls.ok_or_else(|| TargetParseError::NoTls(text.to_owned()))?;
                Ok(Target::Tls(host, port, tls.clone()))
            }
            _ => Err(wrong()),
        }
    }
}

impl Listen {
    /// Reads `punix:PATH`, `ptcp:[PORT][:ADDRESS]` or `pssl:[PORT][:ADDRESS]`; without an address, all of IPv4.
    ///
    /// ```
    /// use ofctl::client::Listen;
    ///
    /// let place = Listen::parse("ptcp:6633:127.0.0.1", None)?;
    /// assert_eq!(place, Listen::Tcp("127.0.0.1:6633".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If it is none of these, or the last without `tls`.
    pub fn parse(text: &str, tls: Option<&Tls>) -> Result<Listen, TargetParseError> {
        let wrong = || TargetParseError::Listen(text.to_owned());
        match text.split_once(':') {
            Some(("punix", path)) if !path.is_empty() => Ok(Listen::Unix(path.into())),
            Some(("ptcp", place)) => Ok(Listen::Tcp(port_address(place).ok_or_else(wrong)?)),
            Some(("pssl", place)) => {
                let address = port_address(place).ok_or_else(wrong)?;
                let tls = tls.ok_or_else(|| TargetParseError::NoTls(text.to_owned()))?;
                Ok(Listen::Tls(address, tls.clone()))
            }
            _ => Err(wrong()),
        }
    }
}

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if rest.is_empty() => OPENFLOW_PORT,
        None => return None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn port_address(text: &str) -> Option<SocketAddr> {
    let (port, address) = match text.split_once(':') {
        Some((port, address)) => {
            let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
            (port, address.parse().ok()?)
        }
        None => (text, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
    };
    let port = if port.is_empty() { OPENFLOW_PORT } else { port.parse().ok()? };
    Some(SocketAddr::new(address, port))
}

/// A host as it stands before a port.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(out, "[{}]", self.0) } else { out.write_str(self.0) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(out, "unix:{}", path.display()),
            Target::Tcp(host, port) => write!(out, "tcp:{}:{port}", Bracketed(host)),
            Target::Tls(host, port, _) => write!(out, "ssl:{}:{port}", Bracketed(host)),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |method: &str, address: &SocketAddr, out: &mut fmt::Formatter<'_>| {
            write!(out, "{method}:{}:{}", address.port(), Bracketed(&address.ip().to_string()))
        };
        match self {
            Listen::Unix(path) => write!(out, "punix:{}", path.display()),
            Listen::Tcp(address) => place("ptcp", address, out),
            Listen::Tls(address, _) => place("pssl", address, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for text in ["unix:/run/br0.mgmt", "tcp:10.0.0.1:6633", "tcp:[fe80::1]:6653", "tcp:leaf-1:1"] {
            assert_eq!(Target::parse(text, None).unwrap().to_string(), text);
        }
        for text in ["punix:/run/c.sock", "ptcp:6633:10.0.0.1", "ptcp:6653:[::]"] {
            assert_eq!(Listen::parse(text, None).unwrap().to_string(), text);
        }
        assert_eq!(Listen::parse("ptcp:", None).unwrap().to_string(), "ptcp:6653:0.0.0.0");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in ["", "br0", "unix:", "tcp:", "tcp::1", "tcp:a:", "tcp:a:70000", "tcp:[::1", "tcp:[::1]6"]
        {
            assert!(matches!(Target::parse(text, None), Err(TargetParseError::Target(_))), "{text}");
        }
        for text in ["", "tcp:1", "punix:", "ptcp:x", "ptcp:1:host"] {
            assert!(matches!(Listen::parse(text, None), Err(TargetParseError::Listen(_))), "{text}");
        }
        assert!(matches!(Target::parse("ssl:a", None), Err(TargetParseError::NoTls(_))));
        assert!(matches!(Listen::parse("pssl:1", None), Err(TargetParseError::NoTls(_))));
    }
}
