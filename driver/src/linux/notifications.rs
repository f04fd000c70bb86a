//! What the kernel tells unasked.
//!
//! On a socket of its own: when notifications overflow a socket's buffer, answers on the same socket would be lost
//! with them.

use std::io;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr};

/// What the notifications' receive buffer shall hold, in bytes: some ten thousand MACs that are learned at once.
const NOTIFICATION_BUFFER: u32 = 8 << 20;

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
    /// Opens the socket; to be called on the netlink thread. From here on nothing is missed without [`Notification::Lost`].
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
