//! What can go wrong between us and the kernel, and what helps.

use std::io;

use rustix::io::Errno;

use super::change::Change;
use crate::model::LinkName;
use crate::netlink::{NetlinkError, is_transient, meaning};

/// Why the kernel was not asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel refused a change.
    #[error("cannot {change}: {}", remedy(change, errno))]
    Refused {
        /// The change.
        change: Box<Change>,
        /// What the kernel said.
        #[source]
        errno: io::Error,
    },
    /// A change is of a link that is not there any more.
    #[error("cannot {change}: there is no link {link}; it is looked for again at the next synchronisation")]
    NoSuchLink {
        /// The change.
        change: Box<Change>,
        /// The missing link.
        link: LinkName,
    },
    /// A link that was ours when it was observed is somebody else's now.
    #[error("cannot {change}: the link of that name is not one that sluice made")]
    NotOurs {
        /// The change.
        change: Box<Change>,
    },
    /// The kernel was not asked, or did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl KernelError {
    /// The change that it concerns, if it concerns one.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::Refused { change, .. } | Self::NoSuchLink { change, .. } | Self::NotOurs { change } => {
                Some(change)
            }
            Self::Netlink(_) => None,
        }
    }

    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => errno.raw_os_error(),
            Self::Netlink(error) => error.errno(),
            Self::NoSuchLink { .. } | Self::NotOurs { .. } => None,
        }
    }

    /// True if the same may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSuchLink { .. } => true,
            Self::Refused { errno, .. } => is_transient(errno),
            Self::Netlink(error) => error.is_transient(),
            Self::NotOurs { .. } => false,
        }
    }
}

/// What an error number means for a change, with the remedy.
fn remedy(change: &Change, errno: &io::Error) -> String {
    let remedy = match (change, Errno::from_io_error(errno)) {
        (
            Change::CreateBridge { vlan_filtering: true, .. } | Change::AddVlan { .. },
            Some(Errno::OPNOTSUPP),
        ) => {
            "this kernel's bridge has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING): use the traditional form, a \
             bridge for each network"
        }
        (Change::SetRemote { vlan: Some(_), .. }, Some(Errno::INVAL)) => {
            "the link does not carry this VLAN in the bridge yet ('bridge vlan show'), or the kernel's bridge has no \
             VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)"
        }
        (Change::CreateBridge { .. }, Some(Errno::OPNOTSUPP)) => {
            "the kernel has no bridges: load its module (modprobe bridge)"
        }
        (Change::CreateVxlan { .. }, Some(Errno::OPNOTSUPP)) => {
            "the kernel has no VXLAN links: load their module (modprobe vxlan)"
        }
        (Change::CreateVlan { .. }, Some(Errno::OPNOTSUPP)) => {
            "the kernel has no VLAN links: load their module (modprobe 8021q)"
        }
        (Change::CreateVxlan { .. }, Some(Errno::EXIST)) => {
            "another VXLAN link has this VNI and port: see 'ip -d link show type vxlan'"
        }
        (Change::CreateBridge { .. } | Change::CreateVlan { .. }, Some(Errno::EXIST)) => {
            "another link has this name: see 'ip link'"
        }
        (Change::SetUp { .. }, Some(Errno::ADDRINUSE)) => {
            "another program has UDP port 4789: see 'ss -lunp sport = 4789'"
        }
        (
            Change::SetUp { .. } | Change::CreateVxlan { .. },
            Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL),
        ) => "the kernel lacks the address family of the underlay address",
        (Change::SetUp { .. }, Some(Errno::NETDOWN)) => "the link that carries it is down",
        (Change::Join { .. }, Some(Errno::BUSY)) => {
            "something else handles the port's packets (a bond, Open vSwitch, macvlan): take it out there first"
        }
        (Change::Join { .. }, Some(Errno::LOOP)) => "the port carries the bridge itself",
        (Change::Join { .. }, Some(Errno::INVAL)) => {
            "the kernel does not take links of this kind into a bridge"
        }
        _ => return meaning(errno),
    };
    format!("{errno}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_change_the_number_and_the_remedy() {
        let refused = |change: Change, errno: Errno| KernelError::Refused {
            change: Box::new(change),
            errno: errno.into(),
        };
        let bridge = Change::CreateBridge {
            link: "slbr".parse().unwrap(),
            alias: String::new(),
            vlan_filtering: true,
        };
        let error = refused(bridge, Errno::OPNOTSUPP);
        let text = error.to_string();
        assert!(text.contains("create bridge slbr") && text.contains("traditional form"), "{text}");
        assert!(!error.is_transient() && error.errno() == Some(95));
        let up = Change::SetUp { link: "slvx77".parse().unwrap() };
        assert!(refused(up.clone(), Errno::ADDRINUSE).to_string().contains("UDP port 4789"));
        assert!(refused(up.clone(), Errno::PERM).to_string().contains("CAP_NET_ADMIN"));
        assert!(refused(up, Errno::NOMEM).is_transient());
    }
}
