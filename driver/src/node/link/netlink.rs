//! The netlink socket, on a thread of its own.
//!
//! The kernel carries a request out inside `sendmsg`, holding a lock that is the whole host's, and removing a link
//! waits for a grace period of several milliseconds: on the agent's worker threads that would stall sessions that
//! have nothing to do with links. The thread also pins the network namespace: netlink sockets, ethtool ioctls and
//! `/proc/sys/net` all mean the namespace of the thread that uses them.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::Duration;

use futures::StreamExt;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::{Mutex, MutexGuard, Semaphore, oneshot};

use super::LinkError;
use super::ethtool::Ethtool;
use crate::model::LinkName;

/// No request takes nearly as long; an answer can be lost when the socket's buffer overflows.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// Answers to this many requests fit the socket's receive buffer of 212,992 bytes, in which even an empty answer
/// counts for some 800.
const IN_FLIGHT: usize = 64;
/// Operations on this many endpoints at most run at a time.
const NAME_LOCKS: usize = 64;
/// A list that changed while it was read is read again this often.
const DUMP_ATTEMPTS: usize = 20;

/// Everything with which a job on the thread talks to the kernel.
pub(super) struct Kernel {
    handle: rtnetlink::Handle,
    pub(super) ethtool: Ethtool,
    in_flight: Semaphore,
    /// The kernel refuses a second dump on one socket while the first is being read.
    dump: Mutex<()>,
    names: Vec<Mutex<()>>,
}

/// The thread. Ends when this is dropped.
#[derive(Debug)]
pub(super) struct Thread {
    runtime: tokio::runtime::Handle,
    _stop: oneshot::Sender<()>,
}

impl Thread {
    /// Starts the thread in the calling thread's network namespace.
    pub(super) fn start() -> Result<(Thread, std::sync::Arc<Kernel>), LinkError> {
        let (ready_tx, ready_rx) = std::sync::mpsc::sync_channel(1);
        let (stop_tx, stop_rx) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("netlink".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = ready_tx.send(Err(error));
                        return;
                    }
                };
                runtime.block_on(async move {
                    let opened = open();
                    let failed = opened.is_err();
                    let handle = tokio::runtime::Handle::current();
                    let _ = ready_tx.send(opened.map(|kernel| (handle, kernel)));
                    if !failed {
                        // Dropping the sender is the signal, so that an error is the expected result.
                        let _ = stop_rx.await;
                    }
                });
            })
            .map_err(|errno| LinkError::NoSocket { errno })?;
        let (runtime, kernel) =
            ready_rx.recv().map_err(|_| LinkError::Ended)?.map_err(|errno| LinkError::NoSocket { errno })?;
        Ok((Thread { runtime, _stop: stop_tx }, std::sync::Arc::new(kernel)))
    }

    /// Runs a job on the thread. It goes on to its end even if the caller stops waiting, so that nothing is left
    /// half-made.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl Future<Output = Result<T, LinkError>> + Send + 'static,
    ) -> Result<T, LinkError> {
        self.runtime.spawn(job).await.map_err(|_| LinkError::Ended)?
    }
}

fn open() -> io::Result<Kernel> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(Kernel {
        handle,
        ethtool: Ethtool::open()?,
        in_flight: Semaphore::new(IN_FLIGHT),
        dump: Mutex::new(()),
        names: (0..NAME_LOCKS).map(|_| Mutex::new(())).collect(),
    })
}

impl Kernel {
    /// Keeps other operations on the links of this name waiting: each takes several steps, and a second creation
    /// must not take the first one's for half-made.
    pub(super) async fn lock(&self, name: &LinkName) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.names[hasher.finish() as usize % NAME_LOCKS].lock().await
    }

    /// Carries out a change and waits for its acknowledgement.
    pub(super) async fn change(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags).await.map(drop)
    }

    /// Asks for one object.
    pub(super) async fn query(
        &self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        Ok(self.exchange(message, NLM_F_REQUEST).await?.0.pop())
    }

    /// Asks for all objects of a kind; asks again when they changed meanwhile.
    pub(super) async fn dump(&self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let _one_at_a_time = self.dump.lock().await;
        for _ in 1..DUMP_ATTEMPTS {
            let (objects, interrupted) = self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP).await?;
            if !interrupted {
                return Ok(objects);
            }
        }
        // On a host whose links never stand still a list that may lack a newcomer is the best there is.
        Ok(self.exchange(message, NLM_F_REQUEST | NLM_F_DUMP).await?.0)
    }

    async fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let _permit = self.in_flight.acquire().await.expect("the semaphore is never closed");
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut answers =
            self.handle.clone().request(request).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let collect = async {
            let (mut objects, mut interrupted) = (Vec::new(), false);
            while let Some(answer) = answers.next().await {
                interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Overrun(_) => return Err(rustix::io::Errno::NOBUFS.into()),
                    NetlinkPayload::InnerMessage(object) => objects.push(object),
                    _ => {}
                }
            }
            Ok((objects, interrupted))
        };
        tokio::time::timeout(DEADLINE, collect)
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
    }
}
