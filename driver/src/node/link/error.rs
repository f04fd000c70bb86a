//! What can go wrong with a link, and what helps.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::{EndpointId, LinkName};

/// Why a link is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel refused an operation on a link.
    #[error("cannot {action} link {link}: {}", meaning(errno))]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The link.
        link: LinkName,
        /// The kernel's answer.
        #[source]
        errno: io::Error,
    },
    /// The kernel refused to tell about links, addresses or routes.
    #[error("cannot read this host's {what}: {}", meaning(errno))]
    Unreadable {
        /// What was asked for.
        what: &'static str,
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
    /// The kernel did not answer. Trying again helps.
    #[error("the kernel did not answer within {} s to: {action}; try again", deadline.as_secs())]
    NoAnswer {
        /// What was asked.
        action: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The netlink socket could not be opened.
    #[error("cannot open a netlink socket: {}", meaning(errno))]
    NoSocket {
        /// What the kernel said.
        #[source]
        errno: io::Error,
    },
    /// The thread that talks to the kernel has ended.
    #[error("the netlink thread has ended; restart the agent")]
    Ended,
}

impl LinkError {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } | Self::Unreadable { errno, .. } | Self::NoSocket { errno } => {
                errno.raw_os_error()
            }
            _ => None,
        }
    }

    /// True if the same call may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        use rustix::io::Errno;
        matches!(self, Self::NoAnswer { .. })
            || self.errno().is_some_and(|errno| {
                [Errno::AGAIN, Errno::BUSY, Errno::NOBUFS, Errno::NOMEM, Errno::INTR]
                    .iter()
                    .any(|transient| transient.raw_os_error() == errno)
            })
    }
}

/// What an error number means here, with the remedy where there is one.
fn meaning(errno: &io::Error) -> String {
    use rustix::io::Errno;
    let remedy = match Errno::from_io_error(errno) {
        Some(Errno::PERM | Errno::ACCESS) => "the agent needs CAP_NET_ADMIN: run it as root",
        Some(Errno::OPNOTSUPP) => "the kernel was built without it (is the veth driver there?)",
        Some(Errno::ROFS) => "/proc/sys is read-only: mount it writable for the agent",
        Some(Errno::NODEV) => "the link is gone; try again",
        Some(Errno::BUSY | Errno::AGAIN) => "the kernel is busy; try again",
        Some(Errno::NOMEM | Errno::NOBUFS) => "the kernel is out of memory; try again",
        Some(Errno::INVAL | Errno::RANGE) => "the kernel does not take this value",
        _ => return errno.to_string(),
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
