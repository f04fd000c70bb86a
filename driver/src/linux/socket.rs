//! Netlink sockets on a thread of their own.
//!
//! The kernel carries a request out inside `sendmsg`, under a lock of the whole host, and removing a link waits
//! there for a grace period: on the agent's worker threads that would stall everything else. The sockets belong to
//! the network namespace of the thread that opened them.
//!
//! Requests and notifications have a socket each: when notifications overflow a socket's buffer, answers on the same
//! socket would be lost with them.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rustix::io::Errno;
use tokio::sync::{Mutex, oneshot};

use super::error::KernelError;

/// No request takes nearly as long; an answer can be lost when the socket's buffer overflows.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// Answers to this many requests fit the socket's receive buffer of 212,992 bytes, in which even an empty answer
/// counts for some 800.
pub(super) const IN_FLIGHT: usize = 64;
/// A list that changed while it was read is read again this often.
const DUMP_ATTEMPTS: usize = 20;
/// What the notifications' receive buffer shall hold, in bytes: some ten thousand MACs that are learned at once.
const NOTIFICATION_BUFFER: u32 = 8 << 20;

/// The thread. Ends, with everything that runs on it, when this is dropped.
#[derive(Debug)]
pub(super) struct Thread {
    runtime: tokio::runtime::Handle,
    _stop: oneshot::Sender<()>,
}

impl Thread {
    /// Starts the thread in the calling thread's network namespace and opens the socket for requests.
    pub(super) fn start() -> Result<(Thread, Requests), KernelError> {
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
        let no_socket = |errno| KernelError::NoSocket { errno };
        std::thread::Builder::new().name("switch-netlink".to_owned()).spawn(body).map_err(no_socket)?;
        let (runtime, requests) = ready_rx.recv().map_err(|_| KernelError::Ended)?.map_err(no_socket)?;
        Ok((Thread { runtime, _stop: stop_tx }, requests))
    }

    /// Runs a job on the thread. It goes on to its end even if the caller stops waiting, so that nothing is left
    /// half-made.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, KernelError> {
        self.runtime.spawn(job).await.map_err(|_| KernelError::Ended)
    }
}

/// The socket for requests.
#[derive(Debug)]
pub(super) struct Requests {
    handle: rtnetlink::Handle,
    /// The kernel refuses a second dump on one socket while the first is being read.
    dump: Mutex<()>,
}

impl Requests {
    fn open() -> io::Result<Requests> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Requests { handle, dump: Mutex::new(()) })
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
    pub(super) async fn dump(
        &self,
        what: &'static str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        let _one_at_a_time = self.dump.lock().await;
        let mut objects = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            let (listed, interrupted) = self
                .exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)
                .await
                .map_err(|errno| KernelError::Unreadable { what, errno })?;
            objects = listed;
            if !interrupted {
                break;
            }
        }
        // On a switch that never stands still a list that may lack a newcomer is the best there is.
        Ok(objects)
    }

    async fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
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

/// The socket for notifications.
pub(super) struct Notifications {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
}

/// What came on the socket for notifications.
pub(super) enum Notification {
    /// An object appeared, changed or went.
    Object(RouteNetlinkMessage),
    /// The buffer was full: others are lost.
    Lost,
}

impl Notifications {
    /// Opens the socket; to be called on the thread. From here on nothing is missed without [`Notification::Lost`].
    pub(super) fn open() -> io::Result<Notifications> {
        let groups = [MulticastGroup::Link, MulticastGroup::Neigh];
        let (mut connection, _, messages) = rtnetlink::new_multicast_connection(&groups)?;
        // The kernel caps it at net.core.rmem_max; a full buffer is made up for, so that less is no error.
        let _ = connection.socket_mut().socket_mut().set_rx_buf_sz(NOTIFICATION_BUFFER);
        tokio::spawn(connection);
        Ok(Notifications { messages })
    }

    /// The next one; none if the socket is closed.
    pub(super) async fn next(&mut self) -> Option<Notification> {
        loop {
            match self.messages.next().await?.0.payload {
                NetlinkPayload::InnerMessage(object) => return Some(Notification::Object(object)),
                NetlinkPayload::Overrun(_) => return Some(Notification::Lost),
                _ => {}
            }
        }
    }
}
