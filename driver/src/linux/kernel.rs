//! The kernel of this network namespace: what it has, changes to it, and what it reports.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use futures::StreamExt;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::change::Change;
use super::decode::{self, Entry, Names};
use super::desired::{Form, UNFINISHED};
use super::encode;
use super::error::KernelError;
use super::notifications::Notifications;
use super::observed::{Event, LinkKind, Observed};
use super::watch;
use crate::model::LinkName;
use crate::netlink::{IN_FLIGHT, NetlinkError, Requests, Thread};

/// The kernel, over netlink. Cheap to share.
#[derive(Clone, Debug)]
pub struct Kernel {
    thread: Arc<Thread>,
    requests: Arc<Requests>,
}

/// How changes went.
#[derive(Debug, Default)]
pub struct Applied {
    /// What was refused; each names its change.
    pub failures: Vec<KernelError>,
    /// How many changes were left out since they need a link that could not be made, or could not join its bridge.
    pub left_out: usize,
}

/// What happens in the kernel, from [`Kernel::watch`]. It ends with the last [`Kernel`] that shares its thread.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::UnboundedReceiver<Event>,
}

impl Kernel {
    /// Opens the kernel of the calling thread's network namespace.
    ///
    /// # Errors
    /// No netlink socket can be opened.
    pub fn open() -> Result<Kernel, KernelError> {
        let (thread, requests) = Thread::start("switch-netlink")?;
        Ok(Kernel { thread: Arc::new(thread), requests })
    }

    /// Reads links, forwarding tables and neighbours.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn observe(&self) -> Result<Observed, KernelError> {
        let requests = Arc::clone(&self.requests);
        self.thread.run(async move { observe(&requests).await.map(|(observed, _)| observed) }).await?
    }

    /// Carries out changes in order, past those that fail.
    pub async fn apply(&self, changes: Vec<Change>) -> Applied {
        let requests = Arc::clone(&self.requests);
        let job = async move {
            let mut work = Work {
                requests: &requests,
                indices: BTreeMap::new(),
                lost: BTreeSet::new(),
                done: Applied::default(),
            };
            work.carry_out(&changes).await;
            work.done
        };
        self.thread
            .run(job)
            .await
            .unwrap_or_else(|error| Applied { failures: vec![error.into()], left_out: 0 })
    }

    /// Begins to watch. The first events are the MACs that are learned already; then comes what changes.
    ///
    /// # Errors
    /// No netlink socket can be opened, or the kernel refuses to list what there is.
    pub async fn watch(&self, form: Form) -> Result<Watch, KernelError> {
        let requests = Arc::clone(&self.requests);
        let (tx, events) = mpsc::unbounded_channel();
        let job = async move {
            // What changes while the kernel is read is in the notifications.
            let notifications = Notifications::open().map_err(|errno| NetlinkError::NoSocket { errno })?;
            let (observed, names) = observe(&requests).await?;
            tokio::spawn(watch::run(form, observed, names, notifications, requests, tx));
            Ok::<_, KernelError>(())
        };
        self.thread.run(job).await??;
        Ok(Watch { events })
    }
}

impl Watch {
    /// The next event; none if the watch has ended, and another is to be begun.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

/// Reads everything.
pub(super) async fn observe(requests: &Requests) -> Result<(Observed, Names), KernelError> {
    let mut observed = Observed::default();
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    let links = requests.dump("links", RouteNetlinkMessage::GetLink(message)).await?;
    let links: Vec<LinkMessage> = links
        .into_iter()
        .filter_map(|object| match object {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .collect();
    // Names first: a link's master may come after it.
    let names: Names = links.iter().filter_map(decode::name_of).collect();
    for message in &links {
        if let Some((_, name)) = decode::name_of(message) {
            observed.links.insert(name, decode::link(message, &names));
        }
    }
    let has_vlans =
        observed.links.values().any(|link| link.kind == LinkKind::Bridge { vlan_filtering: true });
    if has_vlans {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan])];
        for object in requests.dump("bridge VLANs", RouteNetlinkMessage::GetLink(message)).await? {
            if let RouteNetlinkMessage::NewLink(message) = object
                && let Some(link) =
                    names.get(&message.header.index).and_then(|name| observed.links.get_mut(name))
                && link.master.is_some()
            {
                link.vlans = decode::vlans(&message).unwrap_or_default();
            }
        }
    }
    let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    for object in requests.dump("addresses", addresses).await? {
        if let RouteNetlinkMessage::NewAddress(message) = object
            && let Some((index, address)) = decode::address(&message)
            && let Some(link) = names.get(&index).and_then(|name| observed.links.get_mut(name))
        {
            link.addresses.insert(address);
        }
    }
    for (what, family) in [
        ("forwarding tables", AddressFamily::Bridge),
        ("ARP table", AddressFamily::Inet),
        ("neighbour table", AddressFamily::Inet6),
    ] {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        for object in requests.dump(what, RouteNetlinkMessage::GetNeighbour(message)).await? {
            if let RouteNetlinkMessage::NewNeighbour(message) = object
                && let Some(entry) = decode::entry(&message, &names, &observed.links)
            {
                observed.insert(entry);
            }
        }
    }
    Ok((observed, names))
}

impl Observed {
    fn insert(&mut self, entry: Entry) {
        match entry {
            Entry::Bridge { bridge, mac, vlan, entry } => {
                self.bridge_entries.entry(bridge).or_default().insert((mac, vlan), entry);
            }
            Entry::Vtep { vxlan, mac, vtep, entry } => {
                self.vtep_entries.entry(vxlan).or_default().entry(mac).or_default().insert(vtep, entry);
            }
            Entry::Neighbour { link, address, neighbour: Some(neighbour) }
                if self.keeps_neighbours(&link) =>
            {
                self.neighbours.entry(link).or_default().insert(address, neighbour);
            }
            Entry::Neighbour { .. } => {}
        }
    }
}

/// Changes being carried out.
struct Work<'a> {
    requests: &'a Requests,
    /// The indices of links that were looked up.
    indices: BTreeMap<LinkName, u32>,
    /// Links that could not be made, or could not join their bridge.
    lost: BTreeSet<LinkName>,
    done: Applied,
}

impl Work<'_> {
    async fn carry_out(&mut self, changes: &[Change]) {
        let mut rest = changes;
        while let Some(change) = rest.first() {
            // Entries of tables do not depend on each other: many are under way at a time, in order.
            let run = rest.iter().take_while(|change| is_of_a_table(change)).count();
            if run > 0 {
                self.carry_out_at_once(&rest[..run]).await;
                rest = &rest[run..];
                continue;
            }
            rest = &rest[1..];
            if self.is_hopeless(change) {
                continue;
            }
            let done = match change {
                Change::CreateBridge { link, alias, .. }
                | Change::CreateVxlan { link, alias, .. }
                | Change::CreateVlan { link, alias, .. } => self.create(change, link, alias).await,
                Change::DeleteLink { link } => self.delete(change, link).await,
                _ => self.change(change).await,
            };
            if let Err(error) = done {
                self.lost.extend(made_useful(change).cloned());
                self.done.failures.push(error);
            }
        }
    }

    /// True, and counted, if a change needs a link that is lost.
    fn is_hopeless(&mut self, change: &Change) -> bool {
        let hopeless = encode::links(change).into_iter().any(|link| self.lost.contains(link));
        if hopeless {
            self.done.left_out += 1;
            self.lost.extend(made_useful(change).cloned());
        }
        hopeless
    }

    async fn carry_out_at_once(&mut self, changes: &[Change]) {
        let mut requests = Vec::with_capacity(changes.len());
        for change in changes {
            if self.is_hopeless(change) {
                continue;
            }
            match self.request(change).await {
                Ok(request) => requests.push((change, request)),
                Err(error) => self.done.failures.push(error),
            }
        }
        let (changes, requests): (Vec<&Change>, Vec<encode::Request>) = requests.into_iter().unzip();
        let kernel = self.requests;
        // Sent in this order, which the kernel keeps.
        let done: Vec<io::Result<()>> = futures::stream::iter(requests)
            .map(|(message, flags)| kernel.change(message, flags))
            .buffered(IN_FLIGHT)
            .collect()
            .await;
        let failures = changes.into_iter().zip(done).filter_map(|(change, done)| judge(change, done).err());
        self.done.failures.extend(failures);
    }

    async fn change(&mut self, change: &Change) -> Result<(), KernelError> {
        let (message, flags) = self.request(change).await?;
        judge(change, self.requests.change(message, flags).await)
    }

    async fn request(&mut self, change: &Change) -> Result<encode::Request, KernelError> {
        let mut indices = Vec::with_capacity(2);
        for link in encode::links(change) {
            indices.push(self.index(change, link).await?);
        }
        Ok(encode::request(change, &indices).expect("links are made and removed elsewhere"))
    }

    async fn index(&mut self, change: &Change, link: &LinkName) -> Result<u32, KernelError> {
        if let Some(index) = self.indices.get(link) {
            return Ok(*index);
        }
        let missing = || KernelError::NoSuchLink { change: Box::new(change.clone()), link: link.clone() };
        let message = self.lookup(change, link.as_str()).await?.ok_or_else(missing)?;
        self.indices.insert(link.clone(), message.header.index);
        Ok(message.header.index)
    }

    async fn lookup(&self, change: &Change, name: &str) -> Result<Option<LinkMessage>, KernelError> {
        match self.requests.query(encode::lookup(name)).await {
            Ok(Some(RouteNetlinkMessage::NewLink(message))) => Ok(Some(message)),
            Ok(_) => Ok(None),
            Err(errno) if Errno::from_io_error(&errno) == Some(Errno::NODEV) => Ok(None),
            Err(errno) => Err(refused(change, errno)),
        }
    }

    /// Makes a link in two steps: under the unfinished name first, then with its own name and alias at once, so that
    /// an agent that dies between leaves nothing that could be taken for somebody else's.
    async fn create(&mut self, change: &Change, link: &LinkName, alias: &str) -> Result<(), KernelError> {
        let parent = match change {
            Change::CreateVlan { parent, .. } => Some(self.index(change, parent).await?),
            _ => None,
        };
        let (message, flags) = encode::creation(change, parent).expect("the change makes a link");
        self.requests.change(message, flags).await.map_err(|errno| refused(change, errno))?;
        let gone = || KernelError::NoSuchLink { change: Box::new(change.clone()), link: link.clone() };
        let index = self.lookup(change, UNFINISHED).await?.ok_or_else(gone)?.header.index;
        // Kernels without IPv6, or before 3.17, do not know this; the link then says a few words into the network.
        let (message, flags) = encode::no_address_of_its_own(index);
        let _ = self.requests.change(message, flags).await;
        let (message, flags) = encode::finish(index, link, alias);
        if let Err(errno) = self.requests.change(message, flags).await {
            let (message, flags) = encode::deletion(index);
            // The error that counts is the first one.
            let _ = self.requests.change(message, flags).await;
            return Err(refused(change, errno));
        }
        self.indices.insert(link.clone(), index);
        Ok(())
    }

    /// Removes a link, unless it is somebody else's by now.
    async fn delete(&mut self, change: &Change, link: &LinkName) -> Result<(), KernelError> {
        let Some(message) = self.lookup(change, link.as_str()).await? else { return Ok(()) };
        let is_ours = decode::link(&message, &Names::new()).is_ours();
        if !is_ours && link.as_str() != UNFINISHED {
            return Err(KernelError::NotOurs { change: Box::new(change.clone()) });
        }
        // What it carried goes with it, and new links may take the names.
        self.indices.clear();
        let (message, flags) = encode::deletion(message.header.index);
        judge(change, self.requests.change(message, flags).await)
    }
}

/// The link that is of no use without a change.
fn made_useful(change: &Change) -> Option<&LinkName> {
    match change {
        Change::CreateBridge { link, .. }
        | Change::CreateVxlan { link, .. }
        | Change::CreateVlan { link, .. }
        | Change::Join { link, .. } => Some(link),
        _ => None,
    }
}

/// An entry of a forwarding or neighbour table.
const fn is_of_a_table(change: &Change) -> bool {
    matches!(
        change,
        Change::AddFlood { .. }
            | Change::RemoveFlood { .. }
            | Change::SetRemote { .. }
            | Change::RemoveVtep { .. }
            | Change::RemoveBridgeEntry { .. }
            | Change::SetNeighbour { .. }
            | Change::RemoveNeighbour { .. }
    )
}

fn judge(change: &Change, done: io::Result<()>) -> Result<(), KernelError> {
    let Err(errno) = done else { return Ok(()) };
    let is_removal = matches!(
        change,
        Change::RemoveFlood { .. }
            | Change::RemoveVtep { .. }
            | Change::RemoveBridgeEntry { .. }
            | Change::RemoveNeighbour { .. }
            | Change::RemoveVlan { .. }
            | Change::DeleteLink { .. }
    );
    match Errno::from_io_error(&errno) {
        Some(Errno::NOENT | Errno::NODEV) if is_removal => Ok(()),
        _ => Err(refused(change, errno)),
    }
}

fn refused(change: &Change, errno: io::Error) -> KernelError {
    match NetlinkError::of_exchange(errno, || change.to_string()) {
        Ok(error) => error.into(),
        Err(errno) => KernelError::Refused { change: Box::new(change.clone()), errno },
    }
}
