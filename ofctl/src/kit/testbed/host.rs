//! Hosts that answer ARP and ping.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::MacAddr;
use crate::kit::Ethernet;
use crate::packet::Frame;

/// An IPv4 host: what it is called and whom it asks for the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    address: Ipv4Addr,
    prefix: u32,
    mac: MacAddr,
    gateway: Option<Ipv4Addr>,
}

impl Host {
    /// A host in a /24, whose MAC address is made of its address.
    pub fn new(address: impl Into<Ipv4Addr>) -> Self {
        let address = address.into();
        let [a, b, c, d] = address.octets();
        Host { address, prefix: 24, mac: MacAddr([2, 0, a, b, c, d]), gateway: None }
    }

    /// Sets the length of its subnet's prefix.
    #[must_use]
    pub fn prefix(mut self, length: u32) -> Self {
        self.prefix = length;
        self
    }

    /// Sets its MAC address.
    #[must_use]
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.mac = mac;
        self
    }

    /// Sets where it sends what is not in its subnet; without, nowhere.
    #[must_use]
    pub fn gateway(mut self, gateway: impl Into<Ipv4Addr>) -> Self {
        self.gateway = Some(gateway.into());
        self
    }

    fn next_hop(&self, target: Ipv4Addr) -> Option<Ipv4Addr> {
        let mask = u32::MAX.checked_shl(32 - self.prefix.min(32)).unwrap_or(0);
        let near = target.to_bits() & mask == self.address.to_bits() & mask;
        if near { Some(target) } else { self.gateway }
    }
}

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;

/// A host and what it knows.
#[derive(Debug)]
pub(super) struct Stack {
    host: Host,
    neighbours: HashMap<Ipv4Addr, MacAddr>,
    /// The ping that is under way: its sequence number and target.
    echo: Option<(u16, Ipv4Addr)>,
    sequence: u16,
    received: Vec<Vec<u8>>,
}

impl Stack {
    pub(super) fn new(host: Host) -> Self {
        Stack { host, neighbours: HashMap::new(), echo: None, sequence: 0, received: Vec::new() }
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.host.address
    }

    pub(super) fn received(&self) -> &[Vec<u8>] {
        &self.received
    }

    pub(super) fn forget_received(&mut self) {
        self.received.clear();
    }

    pub(super) fn awaits_echo(&self) -> bool {
        self.echo.is_some()
    }

    /// True if it still waited; what it knew of the way there is forgotten, so that it will ask again.
    pub(super) fn give_up_echo(&mut self) -> bool {
        let Some((_, target)) = self.echo.take() else { return false };
        if let Some(hop) = self.host.next_hop(target) {
            self.neighbours.remove(&hop);
        }
        true
    }

    pub(super) fn ping(&mut self, target: Ipv4Addr) -> Vec<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.echo = Some((self.sequence, target));
        match self.host.next_hop(target) {
            None => Vec::new(),
            Some(hop) => match self.neighbours.get(&hop) {
                Some(&mac) => vec![self.echo_request(mac, target)],
                None => vec![Frame::arp_request(self.host.mac, self.host.address, hop)],
            },
        }
    }

    fn echo_request(&self, mac: MacAddr, target: Ipv4Addr) -> Vec<u8> {
        let (src, dst) = (IpAddr::V4(self.host.address), IpAddr::V4(target));
        Frame::between(self.host.mac, mac).ip(src, dst).echo_request(1, self.sequence).build()
    }

    /// Takes a frame and gives those that it answers.
    pub(super) fn receive(&mut self, frame: Vec<u8>) -> Vec<Vec<u8>> {
        let answers = self.answer(&frame).unwrap_or_default();
        self.received.push(frame);
        answers
    }

    fn answer(&mut self, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
        let ethernet = Ethernet::parse(frame)?;
        if ethernet.vlan.is_some() || !(ethernet.dst == self.host.mac || ethernet.dst.is_multicast()) {
            return None;
        }
        match ethernet.eth_type {
            ARP => self.answer_arp(ethernet.payload),
            IPV4 => self.answer_ip(&ethernet),
            _ => None,
        }
    }

    fn answer_arp(&mut self, body: &[u8]) -> Option<Vec<Vec<u8>>> {
        let operation = *body.get(7)?;
        let sender = (MacAddr(*body.get(8..)?.first_chunk()?), ip_at(body, 14)?);
        if ip_at(body, 24)? != self.host.address {
            return None;
        }
        self.neighbours.insert(sender.1, sender.0);
        if operation == 1 {
            return Some(vec![Frame::arp_reply((self.host.mac, self.host.address), sender)]);
        }
        let (_, target) = self.echo?;
        (self.host.next_hop(target) == Some(sender.1)).then(|| vec![self.echo_request(sender.0, target)])
    }

    fn answer_ip(&mut self, ethernet: &Ethernet<'_>) -> Option<Vec<Vec<u8>>> {
        let packet = ethernet.payload;
        let length = usize::from(packet.first()? & 15) * 4;
        let (src, dst) = (ip_at(packet, 12)?, ip_at(packet, 16)?);
        if dst != self.host.address || *packet.get(9)? != 1 {
            return None;
        }
        let icmp = packet.get(length..)?;
        let sequence = u16::from_be_bytes(*icmp.get(6..)?.first_chunk()?);
        match icmp.first()? {
            8 => {
                let rest = *icmp.get(4..)?.first_chunk()?;
                let reply = Frame::between(self.host.mac, ethernet.src)
                    .ip(IpAddr::V4(dst), IpAddr::V4(src))
                    .icmp(0, 0, rest)
                    .payload(icmp.get(8..)?);
                Some(vec![reply.build()])
            }
            0 => {
                self.echo.take_if(|echo| *echo == (sequence, src));
                None
            }
            _ => None,
        }
    }
}

fn ip_at(bytes: &[u8], place: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(place..)?.first_chunk::<4>()?))
}
