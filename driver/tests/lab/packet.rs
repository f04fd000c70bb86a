//! Frames as the wire has them: packet sockets to send and see them, and the few layers that tests look into.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::namespace::{NetNs, cvt};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Every station.
pub const BROADCAST: Mac = [0xff; 6];

/// Every IPv6 node.
pub const ALL_NODES: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Reads `02:00:..` into bytes.
pub fn mac(text: &str) -> Mac {
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hex")).collect();
    bytes.try_into().expect("six bytes")
}

/// A packet socket on one link: sends whole frames and sees those that pass.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket on a link of a namespace.
    pub fn open(ns: &NetNs, link: &str) -> Self {
        ns.run(|| Self::bind(link)).unwrap_or_else(|error| panic!("a packet socket on {link}: {error}"))
    }

    fn bind(link: &str) -> io::Result<Self> {
        let every_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: socket(2) takes no pointers, and a descriptor that it returns belongs to nobody else.
        let fd = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            OwnedFd::from_raw_fd(cvt(libc::socket(libc::AF_PACKET, kind, every_protocol.into()))?)
        };
        let name = CString::new(link)?;
        // SAFETY: the name is a C string that outlives the call; all-zero is a valid sockaddr_ll.
        let (index, mut address) =
            unsafe { (libc::if_nametoindex(name.as_ptr()), std::mem::zeroed::<libc::sockaddr_ll>()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = every_protocol;
        address.sll_ifindex = index as i32;
        let room: libc::c_int = 16 << 20;
        // SAFETY: both pointers are to live values of the sizes given.
        unsafe {
            cvt(libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const room).cast(),
                size_of_val(&room) as u32,
            ))?;
            cvt(libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32))?;
        }
        Ok(Self(fd))
    }

    /// Sends a whole frame.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the buffer is live and of that length.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "sending a frame: {}", io::Error::last_os_error());
    }

    /// The frames that wait to be read, both ways: those that came in and those that went out.
    pub fn pending(&self) -> Vec<Frame> {
        std::iter::from_fn(|| self.receive()).collect()
    }

    fn receive(&self) -> Option<Frame> {
        let mut buffer = vec![0; 65536];
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut from = unsafe { std::mem::zeroed::<libc::sockaddr_ll>() };
        let mut from_len = size_of_val(&from) as u32;
        // SAFETY: the buffer and the address are live, and their lengths are given.
        let length = unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
                (&raw mut from).cast(),
                &raw mut from_len,
            )
        };
        let length = usize::try_from(length).ok()?;
        buffer.truncate(length);
        Some(Frame { bytes: buffer, outgoing: from.sll_pkttype == libc::PACKET_OUTGOING })
    }

    /// Waits for a frame that came in and is as wanted; gives up after `limit`.
    pub fn wait_for(&self, limit: Duration, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(frame) = self.pending().into_iter().find(|frame| !frame.outgoing && wanted(frame)) {
                return Some(frame);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one live pollfd.
            unsafe { libc::poll(&raw mut poll, 1, left.as_millis().max(1) as i32) };
        }
    }
}

/// A frame that was seen.
#[derive(Debug, Clone)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub outgoing: bool,
}

impl Frame {
    /// Whether these bytes are somewhere in the frame: how a test knows its own packet.
    pub fn contains(&self, marker: &[u8]) -> bool {
        self.bytes.windows(marker.len()).any(|window| window == marker)
    }

    /// The Ethernet type, behind a VLAN tag if there is one.
    pub fn ethertype(&self) -> u16 {
        ethertype(&self.bytes)
    }

    /// What a tunnel carries, whichever the encapsulation; the frame itself when it is no tunnel packet.
    pub fn inner(&self) -> &[u8] {
        inner(&self.bytes).unwrap_or(&self.bytes)
    }

    /// The 24-bit network id of a VXLAN or Geneve packet.
    pub fn vni(&self) -> Option<u32> {
        let udp = udp_payload(&self.bytes)?;
        Some(u32::from_be_bytes([0, *udp.1.get(4)?, *udp.1.get(5)?, *udp.1.get(6)?]))
    }

    /// Whether the frame, or what it carries, is ARP or neighbour discovery.
    pub fn is_neighbour_traffic(&self) -> bool {
        let inner = self.inner();
        match ethertype(inner) {
            0x0806 => true,
            0x86dd => {
                let ip = &inner[network_offset(inner)..];
                ip.len() > 40 && ip[6] == 58 && (133..=137).contains(&ip[40])
            }
            _ => false,
        }
    }
}

fn network_offset(frame: &[u8]) -> usize {
    if frame.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 }
}

fn ethertype(frame: &[u8]) -> u16 {
    let at = network_offset(frame) - 2;
    frame.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The transport protocol and the transport bytes.
fn transport(frame: &[u8]) -> Option<(u8, &[u8])> {
    let ip = frame.get(network_offset(frame)..)?;
    match ethertype(frame) {
        0x0800 => Some((*ip.get(9)?, ip.get(usize::from(ip.first()? & 15) * 4..)?)),
        0x86dd => Some((*ip.get(6)?, ip.get(40..)?)),
        _ => None,
    }
}

fn udp_payload(frame: &[u8]) -> Option<(u16, &[u8])> {
    let (17, udp) = transport(frame)? else { return None };
    Some((u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]), udp.get(8..)?))
}

fn inner(frame: &[u8]) -> Option<&[u8]> {
    if let (47, gre) = transport(frame)? {
        // RFC 2890: four bytes, and four more for each of checksum, key and sequence number.
        let options = (gre.first()? & 0b1011_0000).count_ones() as usize;
        return gre.get(4 + 4 * options..);
    }
    match udp_payload(frame)? {
        (4789, vxlan) => vxlan.get(8..),
        (6081, geneve) => geneve.get(8 + usize::from(geneve.first()? & 0x3f) * 4..),
        _ => None,
    }
}

/// The Internet checksum (RFC 1071) of these parts, one behind the other.
fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An Ethernet frame.
pub fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// A UDP datagram in IPv4 or IPv6 in Ethernet, with its checksums right.
pub fn udp(eth: (Mac, Mac), ip: (IpAddr, IpAddr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut datagram =
        [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload]
            .concat();
    let sum = match checksum(&[&pseudo_header(ip, 17, length), &datagram]) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ip_packet(eth, ip, 17, &datagram)
}

fn pseudo_header(ip: (IpAddr, IpAddr), protocol: u8, length: u16) -> Vec<u8> {
    match ip {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            [&source.octets()[..], &destination.octets(), &[0, protocol], &length.to_be_bytes()].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = u32::from(length).to_be_bytes();
            [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, protocol]].concat()
        }
        _ => panic!("addresses of two families"),
    }
}

fn ip_packet(eth: (Mac, Mac), ip: (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = eth;
    match ip {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (20 + payload.len()) as u16;
            let mut header = vec![0x45, 0];
            header.extend(total.to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            ethernet(destination, source, 0x0800, &[&header[..], payload].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((payload.len() as u16).to_be_bytes());
            header.extend([protocol, 255]);
            header.extend(from.octets());
            header.extend(to.octets());
            ethernet(destination, source, 0x86dd, &[&header[..], payload].concat())
        }
        _ => panic!("addresses of two families"),
    }
}

/// An ARP reply (RFC 826), which is also what a gratuitous announcement looks like.
pub fn arp_reply(eth: (Mac, Mac), sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let body = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &sender.0, &sender.1.octets(), &target.0, &target.1.octets()]
        .concat();
    ethernet(eth.1, eth.0, 0x0806, &body)
}

/// An unsolicited neighbour advertisement (RFC 4861 §4.4) that claims `target` for `link`.
pub fn neighbour_advertisement(
    eth: (Mac, Mac),
    ip: (Ipv6Addr, Ipv6Addr),
    target: Ipv6Addr,
    link: Mac,
) -> Vec<u8> {
    let mut message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target.octets(), &[2, 1], &link].concat();
    let ip = (IpAddr::V6(ip.0), IpAddr::V6(ip.1));
    let sum = checksum(&[&pseudo_header(ip, 58, message.len() as u16), &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_packet(eth, ip, 58, &message)
}

/// A VXLAN packet (RFC 7348 §5).
pub fn vxlan(eth: (Mac, Mac), ip: (IpAddr, IpAddr), vni: u32, inner: &[u8]) -> Vec<u8> {
    let vni = vni.to_be_bytes();
    let header = [8, 0, 0, 0, vni[1], vni[2], vni[3], 0];
    udp(eth, ip, (49152, 4789), &[&header[..], inner].concat())
}
