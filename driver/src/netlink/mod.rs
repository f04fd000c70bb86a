//! rtnetlink: one client for all that speaks to the kernel about links, addresses, routes and forwarding tables.
//!
//! The kernel carries a request out inside `sendmsg`, under a lock of the whole host, and removing a link waits there
//! for a grace period of several milliseconds: on the agent's worker threads that would stall sessions that have
//! nothing to do with links. So the sockets live on a thread of their own, which also pins the network namespace:
//! netlink sockets, ethtool ioctls and `/proc/sys/net` all mean the namespace of the thread that uses them.

mod error;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use tokio::sync::{Mutex, Semaphore, oneshot};

pub use error::NetlinkError;
pub(crate) use error::{is_transient, meaning};

/// No request takes nearly as long; an answer can be lost when the socket's buffer overflows.
const DEADLINE: Duration = Duration::from_secs(10);
/// Answers to this many requests fit the socket's receive buffer of 212,992 bytes, in which even an empty answer
/// counts for some 800.
pub(crate) const IN_FLIGHT: usize = 64;
/// A list that changed while it was read is read again this often.
const DUMP_ATTEMPTS: usize = 20;

/// The thread. Ends, with everything that runs on it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Thread {
    runtime: tokio::runtime::Handle,
    _stop: oneshot::Sender<()>,
}

impl Thread {
    /// Starts the thread in the calling thread's network namespace and opens a socket for requests.
    pub(crate) fn start(name: &'static str) -> Result<(Thread, Arc<Requests>), NetlinkError> {
        let (ready_tx, ready_rx) = std::sync::mpsc::sync_channel(1);
        let (stop_tx, stop_rx) = oneshot::channel::<()>();
        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready_tx.send(Err(error));
                    return;
                }
            };
            runtime.block_on(async move {
                let opened = Requests::open();
                let failed = opened.is_err();
                let handle = tokio::runtime::Handle::current();
                let _ = ready_tx.send(opened.map(|requests| (handle, requests)));
                if !failed {
                    // Dropping the sender is the signal, so that an error is the expected result.
                    let _ = stop_rx.await;
                }
            });
        };
        let no_socket = |errno| NetlinkError::NoSocket { errno };
        std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(no_socket)?;
        let (runtime, requests) = ready_rx.recv().map_err(|_| NetlinkError::Ended)?.map_err(no_socket)?;
        Ok((Thread { runtime, _stop: stop_tx }, Arc::new(requests)))
    }

    /// Runs a job on the thread. It goes on to its end even if the caller stops waiting, so that nothing is left
    /// half-made.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NetlinkError> {
        self.runtime.spawn(job).await.map_err(|_| NetlinkError::Ended)
    }
}

/// The socket for requests.
#[derive(Debug)]
pub(crate) struct Requests {
    handle: rtnetlink::Handle,
    /// Fair, so that requests go out in the order in which they were made.
    in_flight: Semaphore,
    /// The kernel refuses a second dump on one socket while the first is being read.
    dump: Mutex<()>,
}

impl Requests {
    fn open() -> io::Result<Requests> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Requests { handle, in_flight: Semaphore::new(IN_FLIGHT), dump: Mutex::new(()) })
    }

    /// Carries out a change and waits for its acknowledgement.
    pub(crate) async fn change(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags).await.map(drop)
    }

    /// Asks for one object.
    pub(crate) async fn query(
        &self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        Ok(self.exchange(message, NLM_F_REQUEST).await?.0.pop())
    }

    /// Asks for all objects of a kind; asks again when they changed meanwhile.
    pub(crate) async fn dump(
        &self,
        what: &'static str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let unreadable = |errno| match NetlinkError::of_exchange(errno, || format!("list {what}")) {
            Ok(error) => error,
            Err(errno) => NetlinkError::Unreadable { what, errno },
        };
        let _one_at_a_time = self.dump.lock().await;
        let mut objects = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            let flags = NLM_F_REQUEST | NLM_F_DUMP;
            let (listed, interrupted) = self.exchange(message.clone(), flags).await.map_err(unreadable)?;
            objects = listed;
            if !interrupted {
                break;
            }
        }
        // Where links never stand still a list that may lack a newcomer is the best there is.
        Ok(objects)
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
                    NetlinkPayload::Overrun(_) => return Err(Errno::NOBUFS.into()),
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
