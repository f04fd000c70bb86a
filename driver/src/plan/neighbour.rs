//! Tables 14 and 15: ARP and neighbour solicitations are answered on the sender's host.
//!
//! For every endpoint of a network the answer is a flow, so that neither ARP nor neighbour discovery leaves the port
//! that asked. RFC 826 for ARP; RFC 4861 §7.2.4 for the advertisement, whose flags are Solicited and Override. The
//! option of the solicitation becomes that of the advertisement: its type is rewritten in table 14 and its address in
//! table 15, since a switch lets an action write `nd_tll` only where the match says that this is an advertisement.
//!
//! Where others than endpoints may be neighbours (a VLAN's physical hosts, or a network without subnets), what has
//! no answer goes on to table 40. Where they can only be behind switch ports, a question goes to table 43, which asks
//! those switches and nobody else, and a reply to table 40. Elsewhere it ends here.
//!
//! ```text
//! table=14, priority=100,arp,metadata=0x7/0xffffff,arp_tpa=10.5.0.3,arp_op=1 actions=…,set_field:M->arp_sha,…,IN_PORT
//! table=15, priority=100,icmp6,icmp_type=136,icmp_code=0 actions=move:NXM_OF_ETH_SRC[]->NXM_NX_ND_TLL[],IN_PORT
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::wire::{Action, Cookie, Field, Match, OfPort, TableId};

use super::spoof::{ETH_TYPE_ARP, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, icmpv6, ipv6_addresses};
use super::tables::{ADVERTISE, CookieKind, L2, NEIGHBOUR, TO_PORTS, cookie, in_network};
use crate::model::{Encapsulation, Endpoint, Network, NetworkId, Station};

const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
/// The option Target Link-Layer Address, RFC 4861 §4.6.1.
const OPTION_TARGET_LINK_LAYER: u8 = 2;
/// Solicited and Override, RFC 4861 §4.4.
const SOLICITED_OVERRIDE: u32 = 0x6000_0000;

/// Where neighbours may be that are no endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// Every neighbour is an endpoint.
    Nowhere,
    /// Behind the ports of switches.
    BehindPorts,
    /// Anywhere. The flag: some may be behind the ports of switches.
    Anywhere(bool),
}

impl Strangers {
    /// Those of a network, of which switches have ports or not.
    pub(super) fn of(network: &Network, has_ports: bool) -> Strangers {
        let has_ports = has_ports && network.encapsulation == Encapsulation::Vxlan;
        if network.encapsulation == Encapsulation::Vlan || network.subnets.is_empty() {
            Strangers::Anywhere(has_ports)
        } else if has_ports {
            Strangers::BehindPorts
        } else {
            Strangers::Nowhere
        }
    }

    /// True if a neighbour may be one that the store does not know.
    pub(super) fn exist(self) -> bool {
        self != Strangers::Nowhere
    }

    /// True if a neighbour may be behind a port of a switch.
    pub(super) fn may_be_behind_ports(self) -> bool {
        matches!(self, Strangers::BehindPorts | Strangers::Anywhere(true))
    }

    /// Where a question goes that nobody here answers.
    fn asked_at(self) -> Option<TableId> {
        match self {
            Strangers::Nowhere => None,
            Strangers::BehindPorts => Some(TO_PORTS),
            Strangers::Anywhere(_) => Some(L2),
        }
    }
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

/// The answers that say where a station is, as far as its addresses are known. An endpoint's come first.
pub(super) fn station(network: &Network, station: &Station, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    for address in &station.addresses {
        let answer = match address {
            IpAddr::V4(v4) => arp_answer(network.id, *v4, station.mac),
            IpAddr::V6(v6) => solicitation_answer(network.id, *v6, station.mac),
        };
        flows.push(FlowEntry { priority: 90, ..answer.cookie(cookie) });
    }
}

/// An endpoint that asks for its own address, to announce or to probe it, hears nothing. Strangers are told.
pub(super) fn own_address(
    strangers: Strangers,
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
            flows.push(match strangers.asked_at() {
                Some(table) => flow.goto(table),
                None => flow,
            });
        }
    }
}

/// Where a network's unanswered questions and its replies go.
pub(super) fn network(network: &Network, strangers: Strangers, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    let onwards = |priority, matching| FlowEntry::new(NEIGHBOUR, priority).cookie(cookie).matching(matching);
    if strangers == Strangers::BehindPorts {
        // Everybody else is known, and need not be asked.
        let bit = MacAddr([1, 0, 0, 0, 0, 0]);
        flows.push(onwards(5, in_network(network.id).masked(Field::EthDst, bit, bit)).goto(TO_PORTS));
    }
    if strangers.exist() {
        flows.push(onwards(1, in_network(network.id)).goto(L2));
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
