//! Table 10: a local endpoint sends with its own addresses or not at all.
//!
//! MAC, IPv4 and IPv6 sources, the sender's addresses in ARP and in neighbour discovery. Of IPv6 an endpoint may use
//! its address and the link-local one that follows from its MAC. Nobody advertises routers, redirects or answers
//! DHCP. ARP and neighbour discovery go to table 14, everything else to table 40; what matches nothing is dropped,
//! duplicate address detection too: addresses are assigned by the network.
//!
//! An endpoint without an address (`--ipam-driver null`) is held to its MAC alone.
//!
//! ```text
//! table=10, priority=100,arp,in_port=5,dl_src=M,arp_spa=10.5.0.2,arp_sha=M actions=goto_table:14
//! table=10, priority=100,icmp6,in_port=5,dl_src=M,ipv6_src=A,icmp_type=135,icmp_code=0,nd_sll=M actions=goto_table:14
//! table=10, priority=95,icmp6,icmp_type=134 actions=drop
//! table=10, priority=90,ip,in_port=5,dl_src=M,nw_src=10.5.0.2 actions=goto_table:40
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::flow::FlowEntry;
use ofctl::wire::{Cookie, Field, Match, OfPort, TableId};

use super::neighbour::Strangers;
use super::tables::{L2, NEIGHBOUR, SPOOF, in_network};
use crate::model::{Endpoint, Network};

pub(super) const ETH_TYPE_IPV4: u16 = 0x0800;
pub(super) const ETH_TYPE_ARP: u16 = 0x0806;
pub(super) const ETH_TYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// The packets of one ICMPv6 type, code 0, RFC 4861 §4.
pub(super) fn icmpv6(matching: Match, kind: u8) -> Match {
    matching
        .with(Field::EthType, ETH_TYPE_IPV6)
        .with(Field::IpProto, PROTOCOL_ICMPV6)
        .with(Field::Icmpv6Type, kind)
        .with(Field::Icmpv6Code, 0u8)
}

/// What a local endpoint may send.
pub(super) fn endpoint(
    endpoint: &Endpoint,
    strangers: Strangers,
    port: OfPort,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    let own = || Match::new().with(Field::InPort, port.0).with(Field::EthSrc, endpoint.mac);
    let mut allow = |priority, matching, table: TableId| {
        flows.push(FlowEntry::new(SPOOF, priority).cookie(cookie).matching(matching).goto(table));
    };
    if endpoint.addresses.is_empty() {
        allow(100, own(), L2);
        return;
    }
    for address in &endpoint.addresses {
        match address.addr() {
            IpAddr::V4(v4) => {
                // RFC 5227's probe asks from 0.0.0.0.
                for sender in [v4, Ipv4Addr::UNSPECIFIED] {
                    let arp = own()
                        .with(Field::EthType, ETH_TYPE_ARP)
                        .with(Field::ArpSpa, sender)
                        .with(Field::ArpSha, endpoint.mac);
                    allow(100, arp, NEIGHBOUR);
                }
                allow(90, own().with(Field::EthType, ETH_TYPE_IPV4).with(Field::Ipv4Src, v4), L2);
            }
            IpAddr::V6(v6) => {
                for source in [v6, endpoint.mac.link_local()] {
                    let from = |matching: Match| matching.with(Field::Ipv6Src, source);
                    let solicitation =
                        from(icmpv6(own(), NEIGHBOUR_SOLICITATION)).with(Field::NdSll, endpoint.mac);
                    allow(100, solicitation, NEIGHBOUR);
                    if strangers.exist() {
                        let advertisement = from(icmpv6(own(), NEIGHBOUR_ADVERTISEMENT))
                            .with(Field::NdTarget, source)
                            .with(Field::NdTll, endpoint.mac);
                        allow(100, advertisement, NEIGHBOUR);
                    }
                    allow(90, from(own().with(Field::EthType, ETH_TYPE_IPV6)), L2);
                }
            }
        }
    }
}

/// What nobody in a network whose addresses are ours may send.
pub(super) fn network(network: &Network, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    if network.subnets.is_empty() {
        return;
    }
    let packets = || in_network(network.id);
    let mut deny = |matching: Match| flows.push(FlowEntry::new(SPOOF, 95).cookie(cookie).matching(matching));
    for kind in
        [ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT, REDIRECT]
    {
        deny(
            packets()
                .with(Field::EthType, ETH_TYPE_IPV6)
                .with(Field::IpProto, PROTOCOL_ICMPV6)
                .with(Field::Icmpv6Type, kind),
        );
    }
    for (eth_type, server, client) in [(ETH_TYPE_IPV4, 67u16, 68u16), (ETH_TYPE_IPV6, 547, 546)] {
        deny(
            packets()
                .with(Field::EthType, eth_type)
                .with(Field::IpProto, PROTOCOL_UDP)
                .with(Field::UdpSrc, server)
                .with(Field::UdpDst, client),
        );
    }
}

/// The IPv6 addresses under which an endpoint is a neighbour.
pub(super) fn ipv6_addresses(endpoint: &Endpoint) -> impl Iterator<Item = Ipv6Addr> {
    let link_local = endpoint.mac.link_local();
    endpoint
        .addresses
        .iter()
        .filter_map(move |address| match address.addr() {
            IpAddr::V6(v6) => Some([v6, link_local]),
            IpAddr::V4(_) => None,
        })
        .flatten()
}
