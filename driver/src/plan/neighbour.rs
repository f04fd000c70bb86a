//! Tables 14 and 15: ARP and neighbour solicitations are answered on the sender's host.
//!
//! For every endpoint of a network the answer is a flow, so that neither ARP nor neighbour discovery leaves the port
//! that asked. RFC 826 for ARP; RFC 4861 §7.2.4 for the advertisement, whose flags are Solicited and Override. The
//! option of the solicitation becomes that of the advertisement: its type is rewritten in table 14 and its address in
//! table 15, since a switch lets an action write `nd_tll` only where the match says that this is an advertisement.
//!
//! Where others than endpoints may be neighbours (a VLAN's physical hosts, or a network without subnets), what has
//! no answer goes on to table 40; elsewhere it ends here.
//!
//! ```text
//! table=14, priority=100,arp,metadata=0x7/0xffffff,arp_tpa=10.5.0.3,arp_op=1 actions=…,set_field:M->arp_sha,…,IN_PORT
//! table=15, priority=100,icmp6,icmp_type=136,icmp_code=0 actions=move:NXM_OF_ETH_SRC[]->NXM_NX_ND_TLL[],IN_PORT
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::wire::{Action, Cookie, Field, Match, OfPort};

use super::spoof::{ETH_TYPE_ARP, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, icmpv6, ipv6_addresses};
use super::tables::{ADVERTISE, CookieKind, L2, NEIGHBOUR, cookie, in_network};
use crate::model::{Encapsulation, Endpoint, Network, NetworkId};

const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
/// The option Target Link-Layer Address, RFC 4861 §4.6.1.
const OPTION_TARGET_LINK_LAYER: u8 = 2;
/// Solicited and Override, RFC 4861 §4.4.
const SOLICITED_OVERRIDE: u32 = 0x6000_0000;

/// True if not every neighbour is an endpoint that the store knows.
pub(super) fn has_strangers(network: &Network) -> bool {
    network.encapsulation == Encapsulation::Vlan || network.subnets.is_empty()
}

/// The answers that say where an endpoint is.
pub(super) fn endpoint(network: &Network, endpoint: &Endpoint, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    for address in &endpoint.addresses {
        if let IpAddr::V4(v4) = address.addr() {
            flows.push(arp_answer(network.id, v4, endpoint.mac).cookie(cookie));
        }
    }
    for v6 in ipv6_addresses(endpoint) {
        flows.push(solicitation_answer(network.id, v6, endpoint.mac).cookie(cookie));
    }
}

/// An endpoint that asks for its own address, to announce or to probe it, hears nothing.
pub(super) fn own_address(
    network: &Network,
    endpoint: &Endpoint,
    port: OfPort,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    for address in &endpoint.addresses {
        if let IpAddr::V4(v4) = address.addr() {
            let announcement = Match::new()
                .with(Field::InPort, port.0)
                .with(Field::EthType, ETH_TYPE_ARP)
                .with(Field::ArpTpa, v4);
            let flow = FlowEntry::new(NEIGHBOUR, 110).cookie(cookie).matching(announcement);
            flows.push(if has_strangers(network) { flow.goto(L2) } else { flow });
        }
    }
}

/// Where a network's unanswered questions go.
pub(super) fn network(network: &Network, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    if has_strangers(network) {
        flows.push(FlowEntry::new(NEIGHBOUR, 1).cookie(cookie).matching(in_network(network.id)).goto(L2));
    }
}

/// The second half of every advertisement.
pub(super) fn switch(flows: &mut Vec<FlowEntry>) {
    flows.push(
        FlowEntry::new(ADVERTISE, 100)
            .cookie(cookie(CookieKind::Switch, 0))
            .matching(icmpv6(Match::new(), NEIGHBOUR_ADVERTISEMENT))
            .apply([Action::move_field(Field::EthSrc, Field::NdTll), Action::Output(OfPort::IN_PORT)]),
    );
}

fn arp_answer(network: NetworkId, address: Ipv4Addr, mac: MacAddr) -> FlowEntry {
    let question = in_network(network)
        .with(Field::EthType, ETH_TYPE_ARP)
        .with(Field::ArpOp, ARP_REQUEST)
        .with(Field::ArpTpa, address);
    FlowEntry::new(NEIGHBOUR, 100).matching(question).apply([
        Action::move_field(Field::EthSrc, Field::EthDst),
        Action::set_field(Field::EthSrc, mac),
        Action::set_field(Field::ArpOp, ARP_REPLY),
        Action::move_field(Field::ArpSha, Field::ArpTha),
        Action::set_field(Field::ArpSha, mac),
        Action::move_field(Field::ArpSpa, Field::ArpTpa),
        Action::set_field(Field::ArpSpa, address),
        Action::Output(OfPort::IN_PORT),
    ])
}

fn solicitation_answer(network: NetworkId, address: Ipv6Addr, mac: MacAddr) -> FlowEntry {
    let question = icmpv6(in_network(network), NEIGHBOUR_SOLICITATION).with(Field::NdTarget, address);
    FlowEntry::new(NEIGHBOUR, 100)
        .matching(question)
        .apply([
            Action::move_field(Field::EthSrc, Field::EthDst),
            Action::set_field(Field::EthSrc, mac),
            Action::move_field(Field::Ipv6Src, Field::Ipv6Dst),
            Action::set_field(Field::Ipv6Src, address),
            Action::set_field(Field::IpTtl, 255u8),
            Action::set_field(Field::NdOptionsType, OPTION_TARGET_LINK_LAYER),
            Action::set_field(Field::NdReserved, SOLICITED_OVERRIDE),
            Action::set_field(Field::Icmpv6Type, NEIGHBOUR_ADVERTISEMENT),
        ])
        .goto(ADVERTISE)
}
