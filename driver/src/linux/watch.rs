//! The task that turns the kernel's notifications into events.

use std::sync::Arc;

use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use tokio::sync::mpsc::UnboundedSender;

use super::decode::{self, Entry, Names};
use super::desired::Form;
use super::kernel::observe;
use super::notifications::{Notification, Notifications};
use super::observed::{Event, Observed};
use super::replica::{Notice, Replica};
use crate::model::LinkName;
use crate::netlink::Requests;

/// Runs until nobody listens or the socket is closed.
pub(super) async fn run(
    form: Form,
    observed: Observed,
    names: Names,
    mut notifications: Notifications,
    requests: Arc<Requests>,
    events: UnboundedSender<Event>,
) {
    let (replica, known) = Replica::new(form, observed);
    let mut watch = Watching { replica, names };
    if !send(&events, known) {
        return;
    }
    loop {
        let notification = tokio::select! {
            notification = notifications.next() => notification,
            () = events.closed() => return,
        };
        let new = match notification {
            None => return,
            Some(Notification::Object(object)) => watch.take_in(object),
            Some(Notification::Lost) => match observe(&requests).await {
                Ok((observed, names)) => {
                    watch.names = names;
                    watch.replica.resynchronise(observed)
                }
                Err(error) => {
                    tracing::warn!(%error, "notifications of the kernel were lost, and it cannot be read again");
                    return;
                }
            },
        };
        if !send(&events, new) {
            return;
        }
    }
}

fn send(events: &UnboundedSender<Event>, new: Vec<Event>) -> bool {
    new.into_iter().all(|event| events.send(event).is_ok())
}

struct Watching {
    replica: Replica,
    names: Names,
}

impl Watching {
    fn take_in(&mut self, object: RouteNetlinkMessage) -> Vec<Event> {
        match object {
            // The family AF_BRIDGE tells of a port; its end is that of the membership, not of the link.
            RouteNetlinkMessage::NewLink(message)
                if message.header.interface_family == AddressFamily::Bridge =>
            {
                let name = self.names.get(&message.header.index);
                match (name, decode::vlans(&message)) {
                    (Some(name), Some(vlans)) => {
                        self.replica.update(Notice::Vlans { name: name.clone(), vlans })
                    }
                    _ => Vec::new(),
                }
            }
            RouteNetlinkMessage::NewLink(message) => {
                let Some((index, name)) = decode::name_of(&message) else { return Vec::new() };
                let before = self.names.insert(index, name.clone());
                let mut events = match before {
                    Some(before) if before != name => self.replica.update(Notice::LinkGone { name: before }),
                    _ => Vec::new(),
                };
                let link = decode::link(&message, &self.names);
                events.extend(self.replica.update(Notice::Link { name, link }));
                events
            }
            RouteNetlinkMessage::DelLink(message)
                if message.header.interface_family != AddressFamily::Bridge =>
            {
                match self.names.remove(&message.header.index) {
                    Some(name) => self.replica.update(Notice::LinkGone { name }),
                    None => Vec::new(),
                }
            }
            RouteNetlinkMessage::NewNeighbour(message) => {
                match decode::entry(&message, &self.names, self.replica.links()) {
                    Some(Entry::Bridge { bridge, mac, vlan, entry }) => {
                        self.replica.update(Notice::Entry { bridge, mac, vlan, entry })
                    }
                    Some(Entry::Neighbour { link, address, neighbour }) => match neighbour {
                        Some(neighbour) if self.replica.keeps_neighbours(&link) => {
                            self.replica.update(Notice::Neighbour { link, address, neighbour })
                        }
                        Some(_) => Vec::new(),
                        None => self.neighbour_gone(link, address),
                    },
                    Some(Entry::Vtep { .. }) | None => Vec::new(),
                }
            }
            RouteNetlinkMessage::DelNeighbour(message) => {
                match decode::entry(&message, &self.names, self.replica.links()) {
                    Some(Entry::Bridge { bridge, mac, vlan, entry }) => {
                        let port = entry.port;
                        self.replica.update(Notice::EntryGone { bridge, mac, vlan, port })
                    }
                    Some(Entry::Neighbour { link, address, .. }) => self.neighbour_gone(link, address),
                    Some(Entry::Vtep { .. }) | None => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    fn neighbour_gone(&mut self, link: LinkName, address: std::net::IpAddr) -> Vec<Event> {
        self.replica.update(Notice::NeighbourGone { link, address })
    }
}
