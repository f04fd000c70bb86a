//! What can go wrong between us and the kernel, and what its error numbers mean.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// Why the kernel was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The netlink socket could not be opened.
    #[error("cannot open a netlink socket: {}", meaning(errno))]
    NoSocket {
        /// What the kernel said.
        #[source]
        errno: io::Error,
    },
    /// The kernel refused to list something.
    #[error("cannot read the kernel's {what}: {}", meaning(errno))]
    Unreadable {
        /// What was asked for.
        what: &'static str,
        /// What the kernel said.
        #[source]
        errno: io::Error,
    },
    /// The kernel did not answer. Trying again helps.
    #[error("the kernel did not answer within {} s to: {action}; try again", deadline.as_secs())]
    NoAnswer {
        /// What was asked.
        action: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The thread that talks to the kernel has ended.
    #[error("the netlink thread has ended; restart the agent")]
    Ended,
}

impl NetlinkError {
    /// The error of an exchange that came to no end; otherwise the kernel's own answer is given back.
    pub(crate) fn of_exchange(
        errno: io::Error,
        action: impl FnOnce() -> String,
    ) -> Result<NetlinkError, io::Error> {
        match errno.kind() {
            // As `Requests::exchange` says them: the kernel answers no request so.
            io::ErrorKind::TimedOut => {
                Ok(NetlinkError::NoAnswer { action: action(), deadline: super::DEADLINE })
            }
            io::ErrorKind::BrokenPipe => Ok(NetlinkError::Ended),
            _ => Err(errno),
        }
    }

    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Unreadable { errno, .. } | Self::NoSocket { errno } => errno.raw_os_error(),
            Self::NoAnswer { .. } | Self::Ended => None,
        }
    }

    /// True if the same may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Unreadable { errno, .. } | Self::NoSocket { errno } => is_transient(errno),
            Self::Ended => false,
        }
    }
}

/// True if the kernel may say otherwise the next time, whatever it was asked.
pub(crate) fn is_transient(errno: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(errno),
        Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR | Errno::NODEV)
    )
}

/// What an error number means of its own, with the remedy where there is one.
pub(crate) fn meaning(errno: &io::Error) -> String {
    let remedy = match Errno::from_io_error(errno) {
        Some(Errno::PERM | Errno::ACCESS) => "the agent needs CAP_NET_ADMIN",
        Some(Errno::OPNOTSUPP) => "the kernel was built without it",
        Some(Errno::NODEV) => "the link is gone; try again",
        Some(Errno::BUSY | Errno::AGAIN) => "the kernel is busy; try again",
        Some(Errno::NOSPC) => "the kernel's table is full",
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
    fn an_exchange_without_an_end_is_no_answer_of_the_kernels() {
        let of = |errno: io::Error| NetlinkError::of_exchange(errno, || "set x up".to_owned());
        let late = of(io::ErrorKind::TimedOut.into()).unwrap();
        assert!(late.is_transient() && late.to_string().contains("10 s to: set x up"), "{late}");
        let ended = of(io::ErrorKind::BrokenPipe.into()).unwrap();
        assert!(!ended.is_transient() && ended.to_string().contains("restart the agent"), "{ended}");
        let refused = of(Errno::PERM.into()).unwrap_err();
        assert!(meaning(&refused).contains("CAP_NET_ADMIN"));
        let unreadable = NetlinkError::Unreadable { what: "links", errno: Errno::NOBUFS.into() };
        assert!(unreadable.is_transient() && unreadable.errno() == Some(105), "{unreadable}");
    }
}
