//! A little of rtnetlink(7), for trying what a kernel can: one request, one answer, nothing asynchronous.
//!
//! The agent that programs a switch has a whole library for it. The deliverer is copied to every switch and runs
//! for a second; this is all that it needs.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

// netlink(7), rtnetlink(7); <linux/netlink.h>, <linux/rtnetlink.h>
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_DUMP: u16 = 0x300;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
/// The length of struct nlmsghdr.
const HEADER: usize = 16;
/// The length of struct ifinfomsg.
const IFINFO: usize = 16;
/// The length of struct ndmsg.
const NDMSG: usize = 12;
const AF_BRIDGE: u8 = 7;

// <linux/if_link.h>, <linux/neighbour.h>
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// The attributes of a link's kind.
pub(super) const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// The attributes of a port.
pub(super) const IFLA_INFO_SLAVE_DATA: u16 = 5;
/// Of a bridge, u8.
pub(super) const IFLA_BR_VLAN_FILTERING: u16 = 7;
/// Of a bridge's port, u8.
pub(super) const IFLA_BRPORT_NEIGH_SUPPRESS: u16 = 32;
/// Of a VXLAN link, u32.
pub(super) const IFLA_VXLAN_ID: u16 = 1;
/// Of a VXLAN link, u8.
pub(super) const IFLA_VXLAN_LEARNING: u16 = 7;
/// Of a VXLAN link, u16 in network order.
pub(super) const IFLA_VXLAN_PORT: u16 = 15;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// NUD_NOARP | NUD_REACHABLE, which is what `static` means.
const STATIC: u16 = 0x42;
const NTF_SELF: u8 = 0x02;
/// An entry that a control plane made and that may move.
pub(super) const NTF_EXT_LEARNED: u8 = 0x10;

/// Attributes (struct rtattr), one after the other.
#[derive(Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        // No value here comes near 64 KiB.
        let length = (4 + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// The value of an attribute, if it is among `bytes`.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        // The two highest bits say how the value is written.
        if kind & 0x3fff == wanted {
            return bytes.get(4..length);
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// A socket in the network namespace of the thread that opened it.
pub(super) struct Rtnl {
    socket: OwnedFd,
    sequence: u32,
}

impl Rtnl {
    pub(super) fn open() -> io::Result<Self> {
        // No protocol is 0, which is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request and gives the messages that answer it, without their headers.
    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let length = (HEADER + body.len()) as u32;
        let mut message = Vec::with_capacity(length as usize);
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        send(&self.socket, &message, SendFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (size, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut rest = &buffer[..size];
            while rest.len() >= HEADER {
                let short = || io::Error::new(io::ErrorKind::InvalidData, "a short netlink message");
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                let body = rest.get(HEADER..length).ok_or_else(short)?;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                match kind {
                    NLMSG_DONE => return Ok(answers),
                    NLMSG_ERROR => {
                        let code = body.get(..4).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
                        return match i32::from_ne_bytes(code) {
                            0 => Ok(answers),
                            code => Err(io::Error::from_raw_os_error(-code)),
                        };
                    }
                    _ => answers.push(body.to_vec()),
                }
            }
        }
    }

    /// The start of a message about a link (struct ifinfomsg).
    fn link(index: u32) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.resize(IFINFO, 0);
        body
    }

    /// Makes a link and gives its index.
    pub(super) fn add(&mut self, name: &str, kind: &str, data: Attributes) -> io::Result<u32> {
        let linkinfo =
            Attributes::default().with(IFLA_INFO_KIND, kind.as_bytes()).with(IFLA_INFO_DATA, &data.0);
        let name = [name.as_bytes(), b"\0"].concat();
        let attributes = Attributes::default().with(IFLA_IFNAME, &name).with(IFLA_LINKINFO, &linkinfo.0);
        let body = [Self::link(0), attributes.0].concat();
        self.request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &body)?;
        let body = [Self::link(0), Attributes::default().with(IFLA_IFNAME, &name).0].concat();
        let answer = self.request(RTM_GETLINK, NLM_F_ACK, &body)?;
        let index = answer.first().and_then(|link| link.get(4..8)?.try_into().ok());
        index
            .map(u32::from_ne_bytes)
            .ok_or_else(|| io::Error::other("the kernel does not tell of the link that it made"))
    }

    /// Makes a link the port of a bridge.
    pub(super) fn join(&mut self, port: u32, bridge: u32) -> io::Result<()> {
        let attributes = Attributes::default().with(IFLA_MASTER, &bridge.to_ne_bytes());
        self.request(RTM_NEWLINK, NLM_F_ACK, &[Self::link(port), attributes.0].concat()).map(drop)
    }

    /// Changes an attribute of a bridge or of its port.
    pub(super) fn set(&mut self, index: u32, of: u16, attribute: u16, value: u8) -> io::Result<()> {
        let kind = if of == IFLA_INFO_DATA { IFLA_INFO_KIND } else { IFLA_INFO_SLAVE_KIND };
        let data = Attributes::default().with(attribute, &[value]);
        let linkinfo = Attributes::default().with(kind, b"bridge").with(of, &data.0);
        let attributes = Attributes::default().with(IFLA_LINKINFO, &linkinfo.0);
        self.request(RTM_NEWLINK, NLM_F_ACK, &[Self::link(index), attributes.0].concat()).map(drop)
    }

    /// An attribute of a link's kind or of a port.
    pub(super) fn read(&mut self, index: u32, of: u16, wanted: u16) -> io::Result<Option<Vec<u8>>> {
        let answer = self.request(RTM_GETLINK, NLM_F_ACK, &Self::link(index))?;
        let value = answer.first().and_then(|link| {
            attribute(attribute(attribute(link.get(IFINFO..)?, IFLA_LINKINFO)?, of)?, wanted)
        });
        Ok(value.map(<[u8]>::to_vec))
    }

    /// Adds an entry with flags to a VXLAN link's forwarding table.
    pub(super) fn forward(&mut self, link: u32, mac: [u8; 6], to: [u8; 4], flags: u8) -> io::Result<()> {
        let mut body = vec![AF_BRIDGE, 0, 0, 0];
        body.extend(link.to_ne_bytes());
        body.extend(STATIC.to_ne_bytes());
        body.extend([NTF_SELF | flags, 0]);
        let attributes = Attributes::default().with(NDA_LLADDR, &mac).with(NDA_DST, &to);
        body.extend(attributes.0);
        self.request(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &body).map(drop)
    }

    /// The flags of an entry of a link's forwarding table.
    pub(super) fn forwarded(&mut self, link: u32, mac: [u8; 6]) -> io::Result<Option<u8>> {
        let mut body = vec![0; NDMSG];
        body[0] = AF_BRIDGE;
        let entries = self.request(RTM_GETNEIGH, NLM_F_DUMP, &body)?;
        Ok(entries.iter().find_map(|entry| {
            let of = u32::from_ne_bytes(entry.get(4..8)?.try_into().ok()?);
            let found = of == link && attribute(entry.get(NDMSG..)?, NDA_LLADDR)? == mac;
            found.then(|| entry[10])
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_among_others_and_never_beyond_the_end() {
        let inner = Attributes::default().with(7, &[1]).with(9, b"abcde");
        let bytes = Attributes::default().with(3, b"x\0").with(18, &inner.0).0;
        let nested = attribute(&bytes, 18).unwrap();
        assert_eq!(attribute(nested, 7), Some(&[1][..]));
        assert_eq!(attribute(nested, 9), Some(&b"abcde"[..]));
        assert_eq!(attribute(&bytes, 19), None);
        for end in 0..bytes.len() {
            let found = attribute(&bytes[..end], 18);
            assert!(found.is_none(), "{end}: a value must be whole");
        }
        // A length of nothing must not be walked for ever.
        assert_eq!(attribute(&[0, 0, 1, 0, 0, 0, 1, 0], 5), None);
    }
}
