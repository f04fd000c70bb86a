//! What an operation on links talks to, on the netlink thread.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use super::LinkError;
use super::ethtool::Ethtool;
use crate::model::LinkName;
use crate::netlink::{NetlinkError, Requests};

/// Operations on this many endpoints at most run at a time.
const NAME_LOCKS: usize = 64;

/// Everything with which a job on the thread talks to the kernel.
pub(super) struct Kernel {
    pub(super) requests: Arc<Requests>,
    pub(super) ethtool: Ethtool,
    names: Vec<Mutex<()>>,
}

impl Kernel {
    /// With the calling thread's network namespace, which has to be that of the requests.
    pub(super) fn open(requests: Arc<Requests>) -> Result<Kernel, LinkError> {
        let ethtool = Ethtool::open().map_err(|errno| NetlinkError::NoSocket { errno })?;
        Ok(Kernel { requests, ethtool, names: (0..NAME_LOCKS).map(|_| Mutex::new(())).collect() })
    }

    /// Keeps other operations on the links of this name waiting: each takes several steps, and a second creation
    /// must not take the first one's for half-made.
    pub(super) async fn lock(&self, name: &LinkName) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.names[hasher.finish() as usize % NAME_LOCKS].lock().await
    }
}
