//! The order of a match: a field stands after those without which it is not there, OpenFlow 1.3.5 §7.2.3.

use crate::sim::Refusal;
use crate::wire::borrowed::MatchRef;
use crate::wire::{Field, Prerequisite};

/// The fields that establish what others need, as bits.
mod seen {
    pub(super) const ETH_TYPE: u8 = 1;
    pub(super) const IP_PROTO: u8 = 2;
    pub(super) const ICMPV6: u8 = 4;
    pub(super) const VLAN: u8 = 8;
    pub(super) const CONNECTION: u8 = 16;
}

fn establishes(field: Field) -> u8 {
    match field {
        Field::EthType | Field::PacketType => seen::ETH_TYPE,
        Field::IpProto => seen::IP_PROTO,
        Field::Icmpv6Type => seen::ICMPV6,
        Field::VlanVid | Field::VlanTci => seen::VLAN,
        Field::CtState => seen::CONNECTION,
        _ => 0,
    }
}

fn needed(prerequisite: Prerequisite) -> u8 {
    use Prerequisite::*;
    match prerequisite {
        None => 0,
        VlanVid => seen::VLAN,
        Ipv4 | Ipv6 | Ip | Arp | Mpls | Nsh => seen::ETH_TYPE,
        Tcp | Udp | Sctp | Icmpv4 | Icmpv6 => seen::ETH_TYPE | seen::IP_PROTO,
        Nd | NdSolicit | NdAdvert => seen::ETH_TYPE | seen::IP_PROTO | seen::ICMPV6,
        Ct => seen::CONNECTION,
    }
}

/// Checks which fields stand before which; what values they have is checked elsewhere.
pub(super) fn check(matching: MatchRef<'_>) -> Result<(), Refusal> {
    let mut established = 0;
    for field in matching.iter().filter_map(|entry| entry.field) {
        let needs = field.spec().prerequisite;
        if needed(needs) & !established != 0 {
            return Err(Refusal::MatchPrerequisite { field, needs });
        }
        established |= establishes(field);
    }
    Ok(())
}
