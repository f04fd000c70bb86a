//! What the kernel says about links, addresses and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ofctl::MacAddr;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::kernel::Kernel;
use super::{LinkError, MARK, UnderlayLink};
use crate::model::{EndpointId, LinkName};

/// A link as the kernel describes it.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) name: String,
    pub(super) ifindex: u32,
    pub(super) kind: Option<String>,
    pub(super) alias: Option<String>,
    pub(super) mtu: u32,
    pub(super) mac: Option<MacAddr>,
    pub(super) up: bool,
    /// The other end of a veth, if it is in this namespace.
    pub(super) peer_here: Option<u32>,
}

impl Observed {
    fn parse(message: LinkMessage) -> Observed {
        let mut observed = Observed {
            name: String::new(),
            ifindex: message.header.index,
            kind: None,
            alias: None,
            mtu: 0,
            mac: None,
            up: message.header.flags.contains(LinkFlags::Up),
            peer_here: None,
        };
        let mut elsewhere = false;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => observed.name = name,
                LinkAttribute::IfAlias(alias) => observed.alias = Some(alias),
                LinkAttribute::Mtu(mtu) => observed.mtu = mtu,
                LinkAttribute::Address(octets) => observed.mac = octets.try_into().ok().map(MacAddr),
                LinkAttribute::Link(index) => observed.peer_here = Some(index),
                LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                LinkAttribute::LinkInfo(details) => {
                    observed.kind = details.into_iter().find_map(|detail| match detail {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        if elsewhere {
            observed.peer_here = None;
        }
        observed
    }

    pub(super) fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }

    /// The endpoint in whose name the link was made.
    pub(super) fn endpoint(&self) -> Option<EndpointId> {
        self.alias.as_deref()?.strip_prefix(MARK)?.parse().ok()
    }

    /// Whose link this is, in words.
    pub(super) fn holder(&self) -> String {
        match (self.endpoint(), &self.kind) {
            (Some(endpoint), _) => format!("endpoint {endpoint}"),
            (None, Some(kind)) => format!("a {kind} link that sluice did not make"),
            (None, None) => "a link that sluice did not make".to_owned(),
        }
    }
}

fn no_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// The link of a name, if there is one.
pub(super) async fn link(kernel: &Kernel, name: &LinkName) -> Result<Option<Observed>, LinkError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_string()), no_statistics()];
    match kernel.requests.query(RouteNetlinkMessage::GetLink(message)).await {
        Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(Observed::parse(link))),
        Ok(_) => Ok(None),
        Err(errno) if Errno::from_io_error(&errno) == Some(Errno::NODEV) => Ok(None),
        Err(errno) => Err(super::refused("look up", name)(errno)),
    }
}

/// All links, or those of one kind.
pub(super) async fn links(kernel: &Kernel, kind: Option<InfoKind>) -> Result<Vec<Observed>, LinkError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![no_statistics()];
    if let Some(kind) = &kind {
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind.clone())]));
    }
    let wanted = kind.map(|kind| kind.to_string());
    let objects = kernel.requests.dump("links", RouteNetlinkMessage::GetLink(message)).await?;
    Ok(objects
        .into_iter()
        .filter_map(|object| match object {
            RouteNetlinkMessage::NewLink(link) => Some(Observed::parse(link)),
            _ => None,
        })
        .filter(|link| wanted.is_none() || link.kind == wanted)
        .collect())
}

/// The prefixes that this host has routes to, in every table, without the default routes.
pub(super) async fn routes(kernel: &Kernel) -> Result<Vec<IpNet>, LinkError> {
    let mut prefixes = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        for object in kernel.requests.dump("routes", RouteNetlinkMessage::GetRoute(message)).await? {
            if let RouteNetlinkMessage::NewRoute(route) = object {
                prefixes.extend(destination(&route));
            }
        }
    }
    Ok(prefixes.into_iter().collect())
}

/// Where a route leads, unless that is anywhere, or a group.
fn destination(route: &RouteMessage) -> Option<IpNet> {
    if !matches!(
        route.header.kind,
        RouteType::Unicast
            | RouteType::Local
            | RouteType::BlackHole
            | RouteType::Unreachable
            | RouteType::Prohibit
    ) {
        return None;
    }
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    let length = route.header.destination_prefix_length;
    IpNet::new(address, length).ok().filter(|_| length > 0 && !address.is_multicast())
}

/// The link that has an address.
pub(super) async fn address_owner(kernel: &Kernel, wanted: IpAddr) -> Result<UnderlayLink, LinkError> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Unspec;
    let addresses: Vec<(IpAddr, u32)> = kernel
        .requests
        .dump("addresses", RouteNetlinkMessage::GetAddress(message))
        .await?
        .into_iter()
        .filter_map(|object| match object {
            RouteNetlinkMessage::NewAddress(address) => own_address(&address),
            _ => None,
        })
        .collect();
    let links: BTreeMap<u32, Observed> =
        links(kernel, None).await?.into_iter().map(|link| (link.ifindex, link)).collect();
    let owner = addresses
        .iter()
        .find(|(address, _)| *address == wanted)
        .and_then(|(_, ifindex)| links.get(ifindex))
        .and_then(|link| {
            Some(UnderlayLink {
                name: link.name.parse().ok()?,
                ifindex: link.ifindex,
                // The loopback's MTU is 65536, one more than IP can use.
                mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
                kind: link.kind.clone(),
                up: link.up,
            })
        });
    owner.ok_or_else(|| LinkError::NoSuchAddress {
        address: wanted,
        there: addresses
            .iter()
            .filter(|(address, _)| !address.is_loopback() && !is_link_local(*address))
            .filter_map(|(address, ifindex)| Some(format!("{address} on {}", links.get(ifindex)?.name)))
            .collect(),
    })
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// A link's own address: on a point-to-point link, IFA_ADDRESS is the other side's and IFA_LOCAL its own.
fn own_address(message: &AddressMessage) -> Option<(IpAddr, u32)> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => return Some((*local, message.header.index)),
            AddressAttribute::Address(other) => address = Some(*other),
            _ => {}
        }
    }
    Some((address?, message.header.index))
}
