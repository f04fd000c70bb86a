//! The links of this node's endpoints, by rtnetlink.
//!
//! Each endpoint has one veth pair: the host end is a port of the bridge, the sandbox end is moved into the
//! container by dockerd. A name holds only the first eleven digits of an EndpointID, so the host end also carries
//! the whole id in its alias (`ip -d link` shows it): a link without our alias under one of our names is half-made,
//! and one with another endpoint's is left alone.
//!
//! The host end is made in four steps, the marking last but one: create both ends (names, MTU, MAC), turn IPv6 off
//! on the host end, turn checksum offload off on the sandbox end, then set alias and "up" in one message. Whatever
//! interrupts this leaves something that the next call recognises and makes anew.
//!
//! Checksum offload: a veth that sends to a userspace datapath must fill in checksums itself, since nobody behind
//! it will. Turning it off also ends segmentation offload, and both stay off when the link moves to another network
//! namespace.

mod error;
mod ethtool;
mod kernel;
mod observe;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ofctl::MacAddr;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rustix::io::Errno;

use crate::model::{EndpointId, LinkName};
use crate::netlink::{NetlinkError, Thread};
use kernel::Kernel;
use observe::Observed;

pub use error::LinkError;

/// What the alias of an endpoint's host link begins with; the EndpointID follows.
pub const MARK: &str = "sluice endpoint ";

/// What [`EndpointId::host_link`] begins with.
const HOST_PREFIX: &str = "slh-";

/// A second attempt is made after a leftover was removed; more only if somebody else works on the same names.
const CREATE_ATTEMPTS: usize = 4;

/// How an endpoint's pair of links is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// The sandbox end's MAC address; the kernel draws one if there is none.
    pub mac: Option<MacAddr>,
    /// Whether the sandbox end may leave checksums and segmentation to what is behind it. Off on the userspace
    /// datapath.
    pub checksum_offload: bool,
}

/// How the creation of a pair of links ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The pair is new.
    Made,
    /// The pair was there, with the right ends; its MTU and options are as asked for.
    Found,
}

/// An endpoint's host link that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointLink {
    /// The host link.
    pub host_link: LinkName,
    /// Its index.
    pub ifindex: u32,
    /// The endpoint in whose name it was made; none: it is half-made.
    pub endpoint: Option<EndpointId>,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether the sandbox end is in this namespace: not yet moved into a container, or moved back.
    pub peer_here: bool,
}

/// The link that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayLink {
    /// Its name.
    pub name: LinkName,
    /// Its index.
    pub ifindex: u32,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// What the kernel calls its kind (`veth`, `tun`, `vlan`); none for a physical device.
    pub kind: Option<String>,
    /// Whether it is administratively up.
    pub up: bool,
}

/// The links of one network namespace. Cheap to share; calls at the same time share one netlink socket.
#[derive(Clone)]
pub struct Links {
    thread: Arc<Thread>,
    kernel: Arc<Kernel>,
}

impl Links {
    async fn run<T: Send + 'static>(
        &self,
        job: impl Future<Output = Result<T, LinkError>> + Send + 'static,
    ) -> Result<T, LinkError> {
        self.thread.run(job).await?
    }

    /// Opens the links of the calling thread's network namespace.
    ///
    /// # Errors
    /// No netlink socket can be opened.
    pub fn new() -> Result<Links, LinkError> {
        let (thread, requests) = Thread::start("netlink")?;
        Ok(Links { thread: Arc::new(thread), kernel: Arc::new(Kernel::open(requests)?) })
    }

    /// Makes an endpoint's pair of links, or makes sure that it is there.
    ///
    /// A pair whose sandbox end is in a container already is left as it is, but for the host end's MTU.
    ///
    /// # Errors
    /// The kernel refuses, or one of the names is somebody else's. Nothing is left behind.
    pub async fn create_endpoint_links(
        &self,
        endpoint: &EndpointId,
        mtu: u16,
        options: LinkOptions,
    ) -> Result<Creation, LinkError> {
        let (kernel, pair) = (Arc::clone(&self.kernel), Pair::new(endpoint));
        self.run(async move {
            let _one_at_a_time = kernel.lock(&pair.host).await;
            pair.create(&kernel, mtu, options).await
        })
        .await
    }

    /// Removes an endpoint's pair of links; none is no error. True if there was something to remove.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn delete_endpoint_links(&self, endpoint: &EndpointId) -> Result<bool, LinkError> {
        let (kernel, pair) = (Arc::clone(&self.kernel), Pair::new(endpoint));
        self.run(async move {
            let _one_at_a_time = kernel.lock(&pair.host).await;
            pair.delete(&kernel).await
        })
        .await
    }

    /// Removes a host link that [`Links::list_endpoint_links`] showed, half-made ones included, unless it is
    /// another by now.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn delete_leftover(&self, leftover: &EndpointLink) -> Result<bool, LinkError> {
        let (kernel, leftover) = (Arc::clone(&self.kernel), leftover.clone());
        self.run(async move {
            match observe::link(&kernel, &leftover.host_link).await? {
                Some(link) if link.ifindex == leftover.ifindex && link.endpoint() == leftover.endpoint => {
                    remove(&kernel, &leftover.host_link, link.ifindex).await
                }
                _ => Ok(false),
            }
        })
        .await
    }

    /// The host links of all endpoints, half-made ones included, by name.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn list_endpoint_links(&self) -> Result<Vec<EndpointLink>, LinkError> {
        let kernel = Arc::clone(&self.kernel);
        let links = self.run(async move { observe::links(&kernel, Some(InfoKind::Veth)).await }).await?;
        let mut ours: Vec<EndpointLink> = links.into_iter().filter_map(endpoint_link).collect();
        ours.sort_by(|one, other| one.host_link.cmp(&other.host_link));
        Ok(ours)
    }

    /// The prefixes that this host has routes to, of both families and in every table, without default routes and
    /// groups: what a new subnet must not overlap.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn routes(&self) -> Result<Vec<IpNet>, LinkError> {
        let kernel = Arc::clone(&self.kernel);
        self.run(async move { observe::routes(&kernel).await }).await
    }

    /// The link that has an address, as the node's underlay address must be on one.
    ///
    /// # Errors
    /// No link has it: the error lists the addresses that there are.
    pub async fn address_owner(&self, address: IpAddr) -> Result<UnderlayLink, LinkError> {
        let kernel = Arc::clone(&self.kernel);
        self.run(async move { observe::address_owner(&kernel, address).await }).await
    }

    /// Whether a link leaves checksums of what it sends to its device.
    ///
    /// # Errors
    /// There is no such link.
    pub async fn checksum_offload(&self, link: &LinkName) -> Result<bool, LinkError> {
        let (kernel, link) = (Arc::clone(&self.kernel), link.clone());
        self.run(async move {
            kernel.ethtool.tx_checksum(&link).map_err(refused("read the checksum offload of", &link))
        })
        .await
    }

    /// Turns checksum offload of a link on or off. The port of a userspace bridge by which the host itself sends
    /// needs it off just as endpoints do.
    ///
    /// # Errors
    /// There is no such link, or its driver cannot do it.
    pub async fn set_checksum_offload(&self, link: &LinkName, on: bool) -> Result<(), LinkError> {
        let (kernel, link) = (Arc::clone(&self.kernel), link.clone());
        self.run(async move {
            kernel.ethtool.set_tx_checksum(&link, on).map_err(refused("set the checksum offload of", &link))
        })
        .await
    }
}

fn endpoint_link(link: Observed) -> Option<EndpointLink> {
    let endpoint = link.endpoint();
    let host_link: LinkName = link.name.parse().ok()?;
    let is_host_end = match &endpoint {
        Some(endpoint) => endpoint.host_link() == host_link,
        None => link.alias.is_none() && host_link.as_str().starts_with(HOST_PREFIX),
    };
    is_host_end.then(|| EndpointLink {
        host_link,
        ifindex: link.ifindex,
        endpoint,
        mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
        up: link.up,
        peer_here: link.peer_here.is_some(),
    })
}

fn refused(action: &'static str, link: &LinkName) -> impl FnOnce(io::Error) -> LinkError {
    let link = link.clone();
    move |errno| match NetlinkError::of_exchange(errno, || format!("{action} link {link}")) {
        Ok(error) => error.into(),
        Err(errno) => LinkError::Refused { action, link, errno },
    }
}

async fn remove(kernel: &Kernel, link: &LinkName, ifindex: u32) -> Result<bool, LinkError> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    match kernel.requests.change(RouteNetlinkMessage::DelLink(message), 0).await {
        Ok(()) => Ok(true),
        Err(errno) if Errno::from_io_error(&errno) == Some(Errno::NODEV) => Ok(false),
        Err(errno) => Err(refused("remove", link)(errno)),
    }
}

/// One endpoint's two links.
struct Pair {
    endpoint: EndpointId,
    host: LinkName,
    sandbox: LinkName,
}

/// What of a pair is there.
enum Found {
    /// Nothing.
    Nothing,
    /// The whole pair.
    Whole { sandbox_here: bool },
    /// Links of ours that do not make a pair, with their indices.
    Pieces(Vec<(LinkName, u32)>),
    /// A name is somebody else's.
    Stranger(LinkName, String),
}

impl Pair {
    fn new(endpoint: &EndpointId) -> Pair {
        Pair { endpoint: endpoint.clone(), host: endpoint.host_link(), sandbox: endpoint.sandbox_link() }
    }

    async fn create(&self, kernel: &Kernel, mtu: u16, options: LinkOptions) -> Result<Creation, LinkError> {
        for _ in 0..CREATE_ATTEMPTS {
            match self.add(kernel, mtu, options.mac).await {
                Ok(()) => {
                    if let Err(error) = self.configure(kernel, options).await {
                        // The error that counts is the first one.
                        let _ = self.delete(kernel).await;
                        return Err(error);
                    }
                    return Ok(Creation::Made);
                }
                Err(errno) if Errno::from_io_error(&errno) == Some(Errno::EXIST) => {}
                Err(errno) => return Err(refused("create", &self.host)(errno)),
            }
            match self.find(kernel).await? {
                Found::Whole { sandbox_here } => {
                    self.adjust(kernel, mtu, options, sandbox_here).await?;
                    return Ok(Creation::Found);
                }
                Found::Pieces(pieces) => {
                    for (link, ifindex) in pieces {
                        remove(kernel, &link, ifindex).await?;
                    }
                }
                Found::Stranger(link, holder) => {
                    return Err(LinkError::Taken { link, endpoint: self.endpoint.clone(), holder });
                }
                // Removed in between.
                Found::Nothing => {}
            }
        }
        Err(refused("create", &self.host)(Errno::EXIST.into()))
    }

    async fn delete(&self, kernel: &Kernel) -> Result<bool, LinkError> {
        // Removing the host end removes the sandbox end wherever it is: in a container, or parked back here. What
        // is left under the sandbox end's name after that is a piece of something half-made.
        let mut removed = false;
        for name in [&self.host, &self.sandbox] {
            match observe::link(kernel, name).await? {
                Some(link) if self.owns(&link) => removed |= remove(kernel, name, link.ifindex).await?,
                // Another endpoint whose id begins with the same digits: the sandbox end is its, too.
                Some(_) => break,
                None => {}
            }
        }
        Ok(removed)
    }

    /// True for a link under one of this pair's names that is this pair's, or nobody's: half-made.
    fn owns(&self, link: &Observed) -> bool {
        link.is_veth() && (link.alias.is_none() || link.endpoint().as_ref() == Some(&self.endpoint))
    }

    async fn find(&self, kernel: &Kernel) -> Result<Found, LinkError> {
        let host = observe::link(kernel, &self.host).await?;
        let sandbox = observe::link(kernel, &self.sandbox).await?;
        for (name, link) in [(&self.host, &host), (&self.sandbox, &sandbox)] {
            let Some(link) = link else { continue };
            if !self.owns(link) {
                return Ok(Found::Stranger(name.clone(), link.holder()));
            }
        }
        if let Some(host) = &host
            && host.alias.is_some()
            && host.peer_here == sandbox.as_ref().map(|sandbox| sandbox.ifindex)
        {
            return Ok(Found::Whole { sandbox_here: sandbox.is_some() });
        }
        let pieces: Vec<_> = [(&self.host, host), (&self.sandbox, sandbox)]
            .into_iter()
            .filter_map(|(name, link)| Some((name.clone(), link?.ifindex)))
            .collect();
        Ok(if pieces.is_empty() { Found::Nothing } else { Found::Pieces(pieces) })
    }

    /// Creates both ends, down.
    async fn add(&self, kernel: &Kernel, mtu: u16, mac: Option<MacAddr>) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes =
            vec![LinkAttribute::IfName(self.sandbox.to_string()), LinkAttribute::Mtu(u32::from(mtu))];
        peer.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(self.host.to_string()),
            LinkAttribute::Mtu(u32::from(mtu)),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        kernel.requests.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await
    }

    /// The steps after the creation; the mark comes last.
    async fn configure(&self, kernel: &Kernel, options: LinkOptions) -> Result<(), LinkError> {
        turn_ipv6_off(&self.host).map_err(refused("turn IPv6 off on", &self.host))?;
        if !options.checksum_offload {
            kernel
                .ethtool
                .set_tx_checksum(&self.sandbox, false)
                .map_err(refused("turn checksum offload off on", &self.sandbox))?;
        }
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(self.host.to_string()),
            LinkAttribute::IfAlias(format!("{MARK}{}", self.endpoint)),
        ];
        kernel
            .requests
            .change(RouteNetlinkMessage::SetLink(message), 0)
            .await
            .map_err(refused("set up", &self.host))
    }

    /// Makes a pair that is there what it is to be.
    async fn adjust(
        &self,
        kernel: &Kernel,
        mtu: u16,
        options: LinkOptions,
        sandbox_here: bool,
    ) -> Result<(), LinkError> {
        let set_mtu = |link: &LinkName, mac: Option<MacAddr>| {
            let mut message = LinkMessage::default();
            message.attributes =
                vec![LinkAttribute::IfName(link.to_string()), LinkAttribute::Mtu(u32::from(mtu))];
            message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
            RouteNetlinkMessage::SetLink(message)
        };
        if sandbox_here {
            kernel
                .requests
                .change(set_mtu(&self.sandbox, options.mac), 0)
                .await
                .map_err(refused("set the MTU and MAC of", &self.sandbox))?;
            kernel
                .ethtool
                .set_tx_checksum(&self.sandbox, options.checksum_offload)
                .map_err(refused("set the checksum offload of", &self.sandbox))?;
        }
        kernel
            .requests
            .change(set_mtu(&self.host, None), 0)
            .await
            .map_err(refused("set the MTU of", &self.host))?;
        self.configure(kernel, LinkOptions { checksum_offload: true, ..options }).await
    }
}

/// Keeps the kernel from sending neighbour and listener discovery of its own on a port of the bridge.
fn turn_ipv6_off(link: &LinkName) -> io::Result<()> {
    match std::fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "1") {
        // A kernel without IPv6 sends none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
