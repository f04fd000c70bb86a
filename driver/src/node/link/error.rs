//! What can go wrong with a link, and what helps.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::model::{EndpointId, LinkName};
use crate::netlink::{NetlinkError, is_transient, meaning};

/// Why a link is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel refused an operation on a link.
    #[error("cannot {action} link {link}: {}", remedy(errno))]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The link.
        link: LinkName,
        /// The kernel's answer.
        #[source]
        errno: io::Error,
    },
    /// A link with the endpoint's name is not the endpoint's.
    #[error(
        "link name {link}, which endpoint {endpoint} needs, is taken by {holder}: remove that link first"
    )]
    Taken {
        /// The name.
        link: LinkName,
        /// The endpoint that needs it.
        endpoint: EndpointId,
        /// Whose it is.
        holder: String,
    },
    /// No link has the address.
    #[error(
        "address {address} is on no link of this host: choose one that is ({}), or add it to a link first",
        if there.is_empty() { "there is none".to_owned() } else { there.join(", ") }
    )]
    NoSuchAddress {
        /// The address.
        address: IpAddr,
        /// The addresses that there are, each with its link's name.
        there: Vec<String>,
    },
    /// The kernel was not asked, or did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl LinkError {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => errno.raw_os_error(),
            Self::Netlink(error) => error.errno(),
            Self::Taken { .. } | Self::NoSuchAddress { .. } => None,
        }
    }

    /// True if the same call may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { errno, .. } => {
                is_transient(errno) || Errno::from_io_error(errno) == Some(Errno::BUSY)
            }
            Self::Netlink(error) => error.is_transient(),
            Self::Taken { .. } | Self::NoSuchAddress { .. } => false,
        }
    }
}

/// What an error number means for an endpoint's link, with the remedy where there is one.
fn remedy(errno: &io::Error) -> String {
    let remedy = match Errno::from_io_error(errno) {
        Some(Errno::OPNOTSUPP) => "the kernel was built without it (is the veth driver there?)",
        Some(Errno::ROFS) => "/proc/sys is read-only: mount it writable for the agent",
        _ => return meaning(errno),
    };
    format!("{errno}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_link_errno_and_remedy() {
        let refused = |errno: i32| LinkError::Refused {
            action: "create",
            link: "slh-1".parse().unwrap(),
            errno: io::Error::from_raw_os_error(errno),
        };
        let error = refused(1);
        assert!(!error.is_transient());
        let text = error.to_string();
        assert!(text.contains("create link slh-1") && text.contains("CAP_NET_ADMIN"), "{text}");
        assert!(refused(16).is_transient() && refused(16).to_string().contains("try again"));
    }

    #[test]
    fn a_missing_address_lists_those_there_are() {
        let address = "192.0.2.1".parse().unwrap();
        let none = LinkError::NoSuchAddress { address, there: vec![] };
        assert!(none.to_string().contains("192.0.2.1 is on no link") && none.to_string().contains("none"));
        let some = LinkError::NoSuchAddress { address, there: vec!["198.51.100.1 on eth0".to_owned()] };
        assert!(some.to_string().contains("198.51.100.1 on eth0"), "{some}");
    }
}
