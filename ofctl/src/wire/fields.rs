//! The table of match fields: one row a field, and nothing about a field anywhere else.
//!
//! Sources: OpenFlow 1.3.5 §7.2.3.7 for the `OXM_OF_*` fields, ovs-fields(7) of Open vSwitch 3.1 for the rest.
//! Each row: text name and alias, width in bits, width in bytes on the wire, text format, prerequisite,
//! whether it can be masked, whether actions can write it, its header in OpenFlow 1.3 matches, and its header
//! in Nicira actions, which keep to the older NXM name where a field has both.
//!
//! The order of the rows is the canonical order of a match. Every field stands after its prerequisites
//! (OpenFlow 1.3.5 §7.2.3.6), and it is the order in which Open vSwitch itself writes a match.

use super::field::{Class, FieldSpec, Format, Header, Prerequisite};

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident: $name:literal $alias:literal, $bits:literal, $bytes:literal, $format:ident,
       $prerequisite:ident, $mask:ident, $access:ident,
       $oxm_class:ident $oxm_number:literal $oxm_name:literal,
       $nxm_class:ident $nxm_number:literal $nxm_name:literal;)*) => {
        /// A match field of OpenFlow 1.3 or of the Nicira extensions.
        ///
        /// The order of the variants is the canonical order of a match.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field { $($(#[$doc])* $variant,)* }

        pub(super) static FIELDS: &[FieldSpec] = &[$(FieldSpec {
            field: Field::$variant,
            name: $name,
            alias: $alias,
            bits: $bits,
            wire_bytes: $bytes,
            format: Format::$format,
            prerequisite: Prerequisite::$prerequisite,
            maskable: fields!(@$mask),
            writable: fields!(@$access),
            oxm: Header { class: Class::$oxm_class, number: $oxm_number, name: $oxm_name },
            nxm: Header { class: Class::$nxm_class, number: $nxm_number, name: $nxm_name },
        },)*];
    };
    (@masked) => { true };
    (@exact) => { false };
    (@writable) => { true };
    (@readonly) => { false };
}

fields! {
    /// Packet type (`OXM_OF_PACKET_TYPE`).
    PacketType: "packet_type" "", 32, 4, Hex, None, exact, readonly, OXM_OF 44 "OXM_OF_PACKET_TYPE", OXM_OF 44 "OXM_OF_PACKET_TYPE";
    /// Identifier of a conjunctive match (`NXM_NX_CONJ_ID`).
    ConjId: "conj_id" "", 32, 4, Decimal, None, exact, readonly, NXM_NX 37 "NXM_NX_CONJ_ID", NXM_NX 37 "NXM_NX_CONJ_ID";
    /// Ingress port, 32 bits (`OXM_OF_IN_PORT`).
    InPort: "in_port_oxm" "", 32, 4, Port, None, exact, writable, OXM_OF 0 "OXM_OF_IN_PORT", OXM_OF 0 "OXM_OF_IN_PORT";
    /// Ingress port as OpenFlow 1.0 numbers it, 16 bits; only Nicira actions refer to it (`NXM_OF_IN_PORT`).
    InPort16: "in_port" "", 16, 2, Decimal, None, exact, writable, NXM_OF 0 "NXM_OF_IN_PORT", NXM_OF 0 "NXM_OF_IN_PORT";
    /// Output port in the action set (`ONFOXM_ET_ACTSET_OUTPUT`).
    ActsetOutput: "actset_output" "", 32, 4, Port, None, exact, readonly, ONFOXM_ET 43 "ONFOXM_ET_ACTSET_OUTPUT", ONFOXM_ET 43 "ONFOXM_ET_ACTSET_OUTPUT";
    /// Ethernet source (`OXM_OF_ETH_SRC`).
    EthSrc: "eth_src" "dl_src", 48, 6, Ethernet, None, masked, writable, OXM_OF 4 "OXM_OF_ETH_SRC", NXM_OF 2 "NXM_OF_ETH_SRC";
    /// Ethernet destination (`OXM_OF_ETH_DST`).
    EthDst: "eth_dst" "dl_dst", 48, 6, Ethernet, None, masked, writable, OXM_OF 3 "OXM_OF_ETH_DST", NXM_OF 1 "NXM_OF_ETH_DST";
    /// Ethernet type (`OXM_OF_ETH_TYPE`).
    EthType: "eth_type" "dl_type", 16, 2, Hex, None, exact, readonly, OXM_OF 5 "OXM_OF_ETH_TYPE", NXM_OF 3 "NXM_OF_ETH_TYPE";
    /// VLAN identifier; bit 12 (0x1000) says that a tag is present (`OXM_OF_VLAN_VID`).
    VlanVid: "vlan_vid" "", 12, 2, Decimal, None, masked, writable, OXM_OF 6 "OXM_OF_VLAN_VID", OXM_OF 6 "OXM_OF_VLAN_VID";
    /// VLAN priority (`OXM_OF_VLAN_PCP`).
    VlanPcp: "vlan_pcp" "dl_vlan_pcp", 3, 1, Decimal, VlanVid, exact, writable, OXM_OF 7 "OXM_OF_VLAN_PCP", OXM_OF 7 "OXM_OF_VLAN_PCP";
    /// The whole VLAN tag control field; in a match it becomes `VlanVid` and `VlanPcp` (`NXM_OF_VLAN_TCI`).
    VlanTci: "vlan_tci" "", 16, 2, Hex, None, masked, writable, NXM_OF 4 "NXM_OF_VLAN_TCI", NXM_OF 4 "NXM_OF_VLAN_TCI";
    /// MPLS traffic class (`OXM_OF_MPLS_TC`).
    MplsTc: "mpls_tc" "", 3, 1, Decimal, Mpls, exact, writable, OXM_OF 35 "OXM_OF_MPLS_TC", OXM_OF 35 "OXM_OF_MPLS_TC";
    /// MPLS bottom-of-stack bit (`OXM_OF_MPLS_BOS`).
    MplsBos: "mpls_bos" "", 1, 1, Decimal, Mpls, exact, readonly, OXM_OF 36 "OXM_OF_MPLS_BOS", OXM_OF 36 "OXM_OF_MPLS_BOS";
    /// MPLS time to live (`NXM_NX_MPLS_TTL`).
    MplsTtl: "mpls_ttl" "", 8, 1, Decimal, Mpls, exact, writable, NXM_NX 30 "NXM_NX_MPLS_TTL", NXM_NX 30 "NXM_NX_MPLS_TTL";
    /// MPLS label (`OXM_OF_MPLS_LABEL`).
    MplsLabel: "mpls_label" "", 20, 4, Decimal, Mpls, exact, writable, OXM_OF 34 "OXM_OF_MPLS_LABEL", OXM_OF 34 "OXM_OF_MPLS_LABEL";
    /// IPv4 source (`OXM_OF_IPV4_SRC`).
    Ipv4Src: "ip_src" "nw_src", 32, 4, Ipv4, Ipv4, masked, writable, OXM_OF 11 "OXM_OF_IPV4_SRC", NXM_OF 7 "NXM_OF_IP_SRC";
    /// IPv4 destination (`OXM_OF_IPV4_DST`).
    Ipv4Dst: "ip_dst" "nw_dst", 32, 4, Ipv4, Ipv4, masked, writable, OXM_OF 12 "OXM_OF_IPV4_DST", NXM_OF 8 "NXM_OF_IP_DST";
    /// IPv6 source (`OXM_OF_IPV6_SRC`).
    Ipv6Src: "ipv6_src" "", 128, 16, Ipv6, Ipv6, masked, writable, OXM_OF 26 "OXM_OF_IPV6_SRC", NXM_NX 19 "NXM_NX_IPV6_SRC";
    /// IPv6 destination (`OXM_OF_IPV6_DST`).
    Ipv6Dst: "ipv6_dst" "", 128, 16, Ipv6, Ipv6, masked, writable, OXM_OF 27 "OXM_OF_IPV6_DST", NXM_NX 20 "NXM_NX_IPV6_DST";
    /// Fragment kind: bit 0 any fragment, bit 1 not the first (`NXM_NX_IP_FRAG`).
    IpFrag: "ip_frag" "nw_frag", 2, 1, Frag, Ip, masked, readonly, NXM_NX 26 "NXM_NX_IP_FRAG", NXM_NX 26 "NXM_NX_IP_FRAG";
    /// The DSCP bits where they stand in the IPv4 type of service; in a match it becomes `IpDscp` (`NXM_OF_IP_TOS`).
    IpTos: "nw_tos" "", 8, 1, Decimal, Ip, exact, writable, NXM_OF 5 "NXM_OF_IP_TOS", NXM_OF 5 "NXM_OF_IP_TOS";
    /// Differentiated services code point (`OXM_OF_IP_DSCP`).
    IpDscp: "ip_dscp" "", 6, 1, Decimal, Ip, exact, writable, OXM_OF 8 "OXM_OF_IP_DSCP", OXM_OF 8 "OXM_OF_IP_DSCP";
    /// Explicit congestion notification (`OXM_OF_IP_ECN`).
    IpEcn: "nw_ecn" "ip_ecn", 2, 1, Decimal, Ip, exact, writable, OXM_OF 9 "OXM_OF_IP_ECN", NXM_NX 28 "NXM_NX_IP_ECN";
    /// IP time to live or hop limit (`NXM_NX_IP_TTL`).
    IpTtl: "nw_ttl" "", 8, 1, Decimal, Ip, exact, writable, NXM_NX 29 "NXM_NX_IP_TTL", NXM_NX 29 "NXM_NX_IP_TTL";
    /// IPv6 flow label (`OXM_OF_IPV6_FLABEL`).
    Ipv6Label: "ipv6_label" "", 20, 4, Hex, Ipv6, masked, writable, OXM_OF 28 "OXM_OF_IPV6_FLABEL", NXM_NX 27 "NXM_NX_IPV6_LABEL";
    /// IP protocol (`OXM_OF_IP_PROTO`).
    IpProto: "nw_proto" "ip_proto", 8, 1, Decimal, Ip, exact, readonly, OXM_OF 10 "OXM_OF_IP_PROTO", NXM_OF 6 "NXM_OF_IP_PROTO";
    /// TCP source port (`OXM_OF_TCP_SRC`).
    TcpSrc: "tcp_src" "tp_src", 16, 2, Decimal, Tcp, masked, writable, OXM_OF 13 "OXM_OF_TCP_SRC", NXM_OF 9 "NXM_OF_TCP_SRC";
    /// TCP destination port (`OXM_OF_TCP_DST`).
    TcpDst: "tcp_dst" "tp_dst", 16, 2, Decimal, Tcp, masked, writable, OXM_OF 14 "OXM_OF_TCP_DST", NXM_OF 10 "NXM_OF_TCP_DST";
    /// TCP flags (`ONFOXM_ET_TCP_FLAGS`).
    TcpFlags: "tcp_flags" "", 12, 2, TcpFlags, Tcp, masked, readonly, ONFOXM_ET 42 "ONFOXM_ET_TCP_FLAGS", NXM_NX 34 "NXM_NX_TCP_FLAGS";
    /// UDP source port (`OXM_OF_UDP_SRC`).
    UdpSrc: "udp_src" "", 16, 2, Decimal, Udp, masked, writable, OXM_OF 15 "OXM_OF_UDP_SRC", NXM_OF 11 "NXM_OF_UDP_SRC";
    /// UDP destination port (`OXM_OF_UDP_DST`).
    UdpDst: "udp_dst" "", 16, 2, Decimal, Udp, masked, writable, OXM_OF 16 "OXM_OF_UDP_DST", NXM_OF 12 "NXM_OF_UDP_DST";
    /// SCTP source port (`OXM_OF_SCTP_SRC`).
    SctpSrc: "sctp_src" "", 16, 2, Decimal, Sctp, masked, writable, OXM_OF 17 "OXM_OF_SCTP_SRC", OXM_OF 17 "OXM_OF_SCTP_SRC";
    /// SCTP destination port (`OXM_OF_SCTP_DST`).
    SctpDst: "sctp_dst" "", 16, 2, Decimal, Sctp, masked, writable, OXM_OF 18 "OXM_OF_SCTP_DST", OXM_OF 18 "OXM_OF_SCTP_DST";
    /// ICMP type (`OXM_OF_ICMPV4_TYPE`).
    Icmpv4Type: "icmp_type" "", 8, 1, Decimal, Icmpv4, exact, writable, OXM_OF 19 "OXM_OF_ICMPV4_TYPE", NXM_OF 13 "NXM_OF_ICMP_TYPE";
    /// ICMP code (`OXM_OF_ICMPV4_CODE`).
    Icmpv4Code: "icmp_code" "", 8, 1, Decimal, Icmpv4, exact, writable, OXM_OF 20 "OXM_OF_ICMPV4_CODE", NXM_OF 14 "NXM_OF_ICMP_CODE";
    /// ICMPv6 type (`OXM_OF_ICMPV6_TYPE`).
    Icmpv6Type: "icmpv6_type" "", 8, 1, Decimal, Icmpv6, exact, writable, OXM_OF 29 "OXM_OF_ICMPV6_TYPE", NXM_NX 21 "NXM_NX_ICMPV6_TYPE";
    /// ICMPv6 code (`OXM_OF_ICMPV6_CODE`).
    Icmpv6Code: "icmpv6_code" "", 8, 1, Decimal, Icmpv6, exact, writable, OXM_OF 30 "OXM_OF_ICMPV6_CODE", NXM_NX 22 "NXM_NX_ICMPV6_CODE";
    /// Reserved word of neighbour discovery: R, S and O flags in its top bits (`ERICOXM_OF_ICMPV6_ND_RESERVED`).
    NdReserved: "nd_reserved" "", 32, 4, Decimal, Nd, exact, writable, ERICOXM 1 "ERICOXM_OF_ICMPV6_ND_RESERVED", ERICOXM 1 "ERICOXM_OF_ICMPV6_ND_RESERVED";
    /// Target address of neighbour discovery (`OXM_OF_IPV6_ND_TARGET`).
    NdTarget: "nd_target" "", 128, 16, Ipv6, Nd, masked, writable, OXM_OF 31 "OXM_OF_IPV6_ND_TARGET", NXM_NX 23 "NXM_NX_ND_TARGET";
    /// Type of the first neighbour discovery option (`ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE`).
    NdOptionsType: "nd_options_type" "", 8, 1, Decimal, Nd, exact, writable, ERICOXM 2 "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", ERICOXM 2 "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE";
    /// Source link-layer address option of a neighbour solicitation (`OXM_OF_IPV6_ND_SLL`).
    NdSll: "nd_sll" "", 48, 6, Ethernet, NdSolicit, masked, writable, OXM_OF 32 "OXM_OF_IPV6_ND_SLL", NXM_NX 24 "NXM_NX_ND_SLL";
    /// Target link-layer address option of a neighbour advertisement (`OXM_OF_IPV6_ND_TLL`).
    NdTll: "nd_tll" "", 48, 6, Ethernet, NdAdvert, masked, writable, OXM_OF 33 "OXM_OF_IPV6_ND_TLL", NXM_NX 25 "NXM_NX_ND_TLL";
    /// ARP operation (`OXM_OF_ARP_OP`).
    ArpOp: "arp_op" "", 16, 2, Decimal, Arp, exact, writable, OXM_OF 21 "OXM_OF_ARP_OP", NXM_OF 15 "NXM_OF_ARP_OP";
    /// ARP sender protocol address (`OXM_OF_ARP_SPA`).
    ArpSpa: "arp_spa" "", 32, 4, Ipv4, Arp, masked, writable, OXM_OF 22 "OXM_OF_ARP_SPA", NXM_OF 16 "NXM_OF_ARP_SPA";
    /// ARP target protocol address (`OXM_OF_ARP_TPA`).
    ArpTpa: "arp_tpa" "", 32, 4, Ipv4, Arp, masked, writable, OXM_OF 23 "OXM_OF_ARP_TPA", NXM_OF 17 "NXM_OF_ARP_TPA";
    /// ARP sender hardware address (`OXM_OF_ARP_SHA`).
    ArpSha: "arp_sha" "", 48, 6, Ethernet, Arp, masked, writable, OXM_OF 24 "OXM_OF_ARP_SHA", NXM_NX 17 "NXM_NX_ARP_SHA";
    /// ARP target hardware address (`OXM_OF_ARP_THA`).
    ArpTha: "arp_tha" "", 48, 6, Ethernet, Arp, masked, writable, OXM_OF 25 "OXM_OF_ARP_THA", NXM_NX 18 "NXM_NX_ARP_THA";
    /// Tunnel key, for example the VNI of VXLAN (`OXM_OF_TUNNEL_ID`).
    TunnelId: "tun_id" "tunnel_id", 64, 8, Hex, None, masked, writable, OXM_OF 38 "OXM_OF_TUNNEL_ID", NXM_NX 16 "NXM_NX_TUN_ID";
    /// Tunnel flags; bit 0 is OAM (`NXM_NX_TUN_FLAGS`).
    TunFlags: "tun_flags" "", 1, 2, TunFlags, None, masked, writable, NXM_NX 104 "NXM_NX_TUN_FLAGS", NXM_NX 104 "NXM_NX_TUN_FLAGS";
    /// Outer IPv4 source (`NXM_NX_TUN_IPV4_SRC`).
    TunSrc: "tun_src" "", 32, 4, Ipv4, None, masked, writable, NXM_NX 31 "NXM_NX_TUN_IPV4_SRC", NXM_NX 31 "NXM_NX_TUN_IPV4_SRC";
    /// Outer IPv4 destination (`NXM_NX_TUN_IPV4_DST`).
    TunDst: "tun_dst" "", 32, 4, Ipv4, None, masked, writable, NXM_NX 32 "NXM_NX_TUN_IPV4_DST", NXM_NX 32 "NXM_NX_TUN_IPV4_DST";
    /// Outer IPv6 source (`NXM_NX_TUN_IPV6_SRC`).
    TunIpv6Src: "tun_ipv6_src" "", 128, 16, Ipv6, None, masked, writable, NXM_NX 109 "NXM_NX_TUN_IPV6_SRC", NXM_NX 109 "NXM_NX_TUN_IPV6_SRC";
    /// Outer IPv6 destination (`NXM_NX_TUN_IPV6_DST`).
    TunIpv6Dst: "tun_ipv6_dst" "", 128, 16, Ipv6, None, masked, writable, NXM_NX 110 "NXM_NX_TUN_IPV6_DST", NXM_NX 110 "NXM_NX_TUN_IPV6_DST";
    /// VXLAN group policy identifier (`NXM_NX_TUN_GBP_ID`).
    TunGbpId: "tun_gbp_id" "", 16, 2, Decimal, None, masked, writable, NXM_NX 38 "NXM_NX_TUN_GBP_ID", NXM_NX 38 "NXM_NX_TUN_GBP_ID";
    /// VXLAN group policy flags (`NXM_NX_TUN_GBP_FLAGS`).
    TunGbpFlags: "tun_gbp_flags" "", 8, 1, Hex, None, masked, writable, NXM_NX 39 "NXM_NX_TUN_GBP_FLAGS", NXM_NX 39 "NXM_NX_TUN_GBP_FLAGS";
    /// Tunnel option 0, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA0`).
    TunMetadata0: "tun_metadata0" "", 992, 124, Hex, None, masked, writable, NXM_NX 40 "NXM_NX_TUN_METADATA0", NXM_NX 40 "NXM_NX_TUN_METADATA0";
    /// Tunnel option 1, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA1`).
    TunMetadata1: "tun_metadata1" "", 992, 124, Hex, None, masked, writable, NXM_NX 41 "NXM_NX_TUN_METADATA1", NXM_NX 41 "NXM_NX_TUN_METADATA1";
    /// Tunnel option 2, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA2`).
    TunMetadata2: "tun_metadata2" "", 992, 124, Hex, None, masked, writable, NXM_NX 42 "NXM_NX_TUN_METADATA2", NXM_NX 42 "NXM_NX_TUN_METADATA2";
    /// Tunnel option 3, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA3`).
    TunMetadata3: "tun_metadata3" "", 992, 124, Hex, None, masked, writable, NXM_NX 43 "NXM_NX_TUN_METADATA3", NXM_NX 43 "NXM_NX_TUN_METADATA3";
    /// Tunnel option 4, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA4`).
    TunMetadata4: "tun_metadata4" "", 992, 124, Hex, None, masked, writable, NXM_NX 44 "NXM_NX_TUN_METADATA4", NXM_NX 44 "NXM_NX_TUN_METADATA4";
    /// Tunnel option 5, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA5`).
    TunMetadata5: "tun_metadata5" "", 992, 124, Hex, None, masked, writable, NXM_NX 45 "NXM_NX_TUN_METADATA5", NXM_NX 45 "NXM_NX_TUN_METADATA5";
    /// Tunnel option 6, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA6`).
    TunMetadata6: "tun_metadata6" "", 992, 124, Hex, None, masked, writable, NXM_NX 46 "NXM_NX_TUN_METADATA6", NXM_NX 46 "NXM_NX_TUN_METADATA6";
    /// Tunnel option 7, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA7`).
    TunMetadata7: "tun_metadata7" "", 992, 124, Hex, None, masked, writable, NXM_NX 47 "NXM_NX_TUN_METADATA7", NXM_NX 47 "NXM_NX_TUN_METADATA7";
    /// Tunnel option 8, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA8`).
    TunMetadata8: "tun_metadata8" "", 992, 124, Hex, None, masked, writable, NXM_NX 48 "NXM_NX_TUN_METADATA8", NXM_NX 48 "NXM_NX_TUN_METADATA8";
    /// Tunnel option 9, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA9`).
    TunMetadata9: "tun_metadata9" "", 992, 124, Hex, None, masked, writable, NXM_NX 49 "NXM_NX_TUN_METADATA9", NXM_NX 49 "NXM_NX_TUN_METADATA9";
    /// Tunnel option 10, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA10`).
    TunMetadata10: "tun_metadata10" "", 992, 124, Hex, None, masked, writable, NXM_NX 50 "NXM_NX_TUN_METADATA10", NXM_NX 50 "NXM_NX_TUN_METADATA10";
    /// Tunnel option 11, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA11`).
    TunMetadata11: "tun_metadata11" "", 992, 124, Hex, None, masked, writable, NXM_NX 51 "NXM_NX_TUN_METADATA11", NXM_NX 51 "NXM_NX_TUN_METADATA11";
    /// Tunnel option 12, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA12`).
    TunMetadata12: "tun_metadata12" "", 992, 124, Hex, None, masked, writable, NXM_NX 52 "NXM_NX_TUN_METADATA12", NXM_NX 52 "NXM_NX_TUN_METADATA12";
    /// Tunnel option 13, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA13`).
    TunMetadata13: "tun_metadata13" "", 992, 124, Hex, None, masked, writable, NXM_NX 53 "NXM_NX_TUN_METADATA13", NXM_NX 53 "NXM_NX_TUN_METADATA13";
    /// Tunnel option 14, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA14`).
    TunMetadata14: "tun_metadata14" "", 992, 124, Hex, None, masked, writable, NXM_NX 54 "NXM_NX_TUN_METADATA14", NXM_NX 54 "NXM_NX_TUN_METADATA14";
    /// Tunnel option 15, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA15`).
    TunMetadata15: "tun_metadata15" "", 992, 124, Hex, None, masked, writable, NXM_NX 55 "NXM_NX_TUN_METADATA15", NXM_NX 55 "NXM_NX_TUN_METADATA15";
    /// Tunnel option 16, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA16`).
    TunMetadata16: "tun_metadata16" "", 992, 124, Hex, None, masked, writable, NXM_NX 56 "NXM_NX_TUN_METADATA16", NXM_NX 56 "NXM_NX_TUN_METADATA16";
    /// Tunnel option 17, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA17`).
    TunMetadata17: "tun_metadata17" "", 992, 124, Hex, None, masked, writable, NXM_NX 57 "NXM_NX_TUN_METADATA17", NXM_NX 57 "NXM_NX_TUN_METADATA17";
    /// Tunnel option 18, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA18`).
    TunMetadata18: "tun_metadata18" "", 992, 124, Hex, None, masked, writable, NXM_NX 58 "NXM_NX_TUN_METADATA18", NXM_NX 58 "NXM_NX_TUN_METADATA18";
    /// Tunnel option 19, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA19`).
    TunMetadata19: "tun_metadata19" "", 992, 124, Hex, None, masked, writable, NXM_NX 59 "NXM_NX_TUN_METADATA19", NXM_NX 59 "NXM_NX_TUN_METADATA19";
    /// Tunnel option 20, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA20`).
    TunMetadata20: "tun_metadata20" "", 992, 124, Hex, None, masked, writable, NXM_NX 60 "NXM_NX_TUN_METADATA20", NXM_NX 60 "NXM_NX_TUN_METADATA20";
    /// Tunnel option 21, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA21`).
    TunMetadata21: "tun_metadata21" "", 992, 124, Hex, None, masked, writable, NXM_NX 61 "NXM_NX_TUN_METADATA21", NXM_NX 61 "NXM_NX_TUN_METADATA21";
    /// Tunnel option 22, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA22`).
    TunMetadata22: "tun_metadata22" "", 992, 124, Hex, None, masked, writable, NXM_NX 62 "NXM_NX_TUN_METADATA22", NXM_NX 62 "NXM_NX_TUN_METADATA22";
    /// Tunnel option 23, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA23`).
    TunMetadata23: "tun_metadata23" "", 992, 124, Hex, None, masked, writable, NXM_NX 63 "NXM_NX_TUN_METADATA23", NXM_NX 63 "NXM_NX_TUN_METADATA23";
    /// Tunnel option 24, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA24`).
    TunMetadata24: "tun_metadata24" "", 992, 124, Hex, None, masked, writable, NXM_NX 64 "NXM_NX_TUN_METADATA24", NXM_NX 64 "NXM_NX_TUN_METADATA24";
    /// Tunnel option 25, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA25`).
    TunMetadata25: "tun_metadata25" "", 992, 124, Hex, None, masked, writable, NXM_NX 65 "NXM_NX_TUN_METADATA25", NXM_NX 65 "NXM_NX_TUN_METADATA25";
    /// Tunnel option 26, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA26`).
    TunMetadata26: "tun_metadata26" "", 992, 124, Hex, None, masked, writable, NXM_NX 66 "NXM_NX_TUN_METADATA26", NXM_NX 66 "NXM_NX_TUN_METADATA26";
    /// Tunnel option 27, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA27`).
    TunMetadata27: "tun_metadata27" "", 992, 124, Hex, None, masked, writable, NXM_NX 67 "NXM_NX_TUN_METADATA27", NXM_NX 67 "NXM_NX_TUN_METADATA27";
    /// Tunnel option 28, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA28`).
    TunMetadata28: "tun_metadata28" "", 992, 124, Hex, None, masked, writable, NXM_NX 68 "NXM_NX_TUN_METADATA28", NXM_NX 68 "NXM_NX_TUN_METADATA28";
    /// Tunnel option 29, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA29`).
    TunMetadata29: "tun_metadata29" "", 992, 124, Hex, None, masked, writable, NXM_NX 69 "NXM_NX_TUN_METADATA29", NXM_NX 69 "NXM_NX_TUN_METADATA29";
    /// Tunnel option 30, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA30`).
    TunMetadata30: "tun_metadata30" "", 992, 124, Hex, None, masked, writable, NXM_NX 70 "NXM_NX_TUN_METADATA30", NXM_NX 70 "NXM_NX_TUN_METADATA30";
    /// Tunnel option 31, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA31`).
    TunMetadata31: "tun_metadata31" "", 992, 124, Hex, None, masked, writable, NXM_NX 71 "NXM_NX_TUN_METADATA31", NXM_NX 71 "NXM_NX_TUN_METADATA31";
    /// Tunnel option 32, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA32`).
    TunMetadata32: "tun_metadata32" "", 992, 124, Hex, None, masked, writable, NXM_NX 72 "NXM_NX_TUN_METADATA32", NXM_NX 72 "NXM_NX_TUN_METADATA32";
    /// Tunnel option 33, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA33`).
    TunMetadata33: "tun_metadata33" "", 992, 124, Hex, None, masked, writable, NXM_NX 73 "NXM_NX_TUN_METADATA33", NXM_NX 73 "NXM_NX_TUN_METADATA33";
    /// Tunnel option 34, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA34`).
    TunMetadata34: "tun_metadata34" "", 992, 124, Hex, None, masked, writable, NXM_NX 74 "NXM_NX_TUN_METADATA34", NXM_NX 74 "NXM_NX_TUN_METADATA34";
    /// Tunnel option 35, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA35`).
    TunMetadata35: "tun_metadata35" "", 992, 124, Hex, None, masked, writable, NXM_NX 75 "NXM_NX_TUN_METADATA35", NXM_NX 75 "NXM_NX_TUN_METADATA35";
    /// Tunnel option 36, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA36`).
    TunMetadata36: "tun_metadata36" "", 992, 124, Hex, None, masked, writable, NXM_NX 76 "NXM_NX_TUN_METADATA36", NXM_NX 76 "NXM_NX_TUN_METADATA36";
    /// Tunnel option 37, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA37`).
    TunMetadata37: "tun_metadata37" "", 992, 124, Hex, None, masked, writable, NXM_NX 77 "NXM_NX_TUN_METADATA37", NXM_NX 77 "NXM_NX_TUN_METADATA37";
    /// Tunnel option 38, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA38`).
    TunMetadata38: "tun_metadata38" "", 992, 124, Hex, None, masked, writable, NXM_NX 78 "NXM_NX_TUN_METADATA38", NXM_NX 78 "NXM_NX_TUN_METADATA38";
    /// Tunnel option 39, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA39`).
    TunMetadata39: "tun_metadata39" "", 992, 124, Hex, None, masked, writable, NXM_NX 79 "NXM_NX_TUN_METADATA39", NXM_NX 79 "NXM_NX_TUN_METADATA39";
    /// Tunnel option 40, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA40`).
    TunMetadata40: "tun_metadata40" "", 992, 124, Hex, None, masked, writable, NXM_NX 80 "NXM_NX_TUN_METADATA40", NXM_NX 80 "NXM_NX_TUN_METADATA40";
    /// Tunnel option 41, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA41`).
    TunMetadata41: "tun_metadata41" "", 992, 124, Hex, None, masked, writable, NXM_NX 81 "NXM_NX_TUN_METADATA41", NXM_NX 81 "NXM_NX_TUN_METADATA41";
    /// Tunnel option 42, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA42`).
    TunMetadata42: "tun_metadata42" "", 992, 124, Hex, None, masked, writable, NXM_NX 82 "NXM_NX_TUN_METADATA42", NXM_NX 82 "NXM_NX_TUN_METADATA42";
    /// Tunnel option 43, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA43`).
    TunMetadata43: "tun_metadata43" "", 992, 124, Hex, None, masked, writable, NXM_NX 83 "NXM_NX_TUN_METADATA43", NXM_NX 83 "NXM_NX_TUN_METADATA43";
    /// Tunnel option 44, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA44`).
    TunMetadata44: "tun_metadata44" "", 992, 124, Hex, None, masked, writable, NXM_NX 84 "NXM_NX_TUN_METADATA44", NXM_NX 84 "NXM_NX_TUN_METADATA44";
    /// Tunnel option 45, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA45`).
    TunMetadata45: "tun_metadata45" "", 992, 124, Hex, None, masked, writable, NXM_NX 85 "NXM_NX_TUN_METADATA45", NXM_NX 85 "NXM_NX_TUN_METADATA45";
    /// Tunnel option 46, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA46`).
    TunMetadata46: "tun_metadata46" "", 992, 124, Hex, None, masked, writable, NXM_NX 86 "NXM_NX_TUN_METADATA46", NXM_NX 86 "NXM_NX_TUN_METADATA46";
    /// Tunnel option 47, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA47`).
    TunMetadata47: "tun_metadata47" "", 992, 124, Hex, None, masked, writable, NXM_NX 87 "NXM_NX_TUN_METADATA47", NXM_NX 87 "NXM_NX_TUN_METADATA47";
    /// Tunnel option 48, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA48`).
    TunMetadata48: "tun_metadata48" "", 992, 124, Hex, None, masked, writable, NXM_NX 88 "NXM_NX_TUN_METADATA48", NXM_NX 88 "NXM_NX_TUN_METADATA48";
    /// Tunnel option 49, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA49`).
    TunMetadata49: "tun_metadata49" "", 992, 124, Hex, None, masked, writable, NXM_NX 89 "NXM_NX_TUN_METADATA49", NXM_NX 89 "NXM_NX_TUN_METADATA49";
    /// Tunnel option 50, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA50`).
    TunMetadata50: "tun_metadata50" "", 992, 124, Hex, None, masked, writable, NXM_NX 90 "NXM_NX_TUN_METADATA50", NXM_NX 90 "NXM_NX_TUN_METADATA50";
    /// Tunnel option 51, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA51`).
    TunMetadata51: "tun_metadata51" "", 992, 124, Hex, None, masked, writable, NXM_NX 91 "NXM_NX_TUN_METADATA51", NXM_NX 91 "NXM_NX_TUN_METADATA51";
    /// Tunnel option 52, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA52`).
    TunMetadata52: "tun_metadata52" "", 992, 124, Hex, None, masked, writable, NXM_NX 92 "NXM_NX_TUN_METADATA52", NXM_NX 92 "NXM_NX_TUN_METADATA52";
    /// Tunnel option 53, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA53`).
    TunMetadata53: "tun_metadata53" "", 992, 124, Hex, None, masked, writable, NXM_NX 93 "NXM_NX_TUN_METADATA53", NXM_NX 93 "NXM_NX_TUN_METADATA53";
    /// Tunnel option 54, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA54`).
    TunMetadata54: "tun_metadata54" "", 992, 124, Hex, None, masked, writable, NXM_NX 94 "NXM_NX_TUN_METADATA54", NXM_NX 94 "NXM_NX_TUN_METADATA54";
    /// Tunnel option 55, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA55`).
    TunMetadata55: "tun_metadata55" "", 992, 124, Hex, None, masked, writable, NXM_NX 95 "NXM_NX_TUN_METADATA55", NXM_NX 95 "NXM_NX_TUN_METADATA55";
    /// Tunnel option 56, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA56`).
    TunMetadata56: "tun_metadata56" "", 992, 124, Hex, None, masked, writable, NXM_NX 96 "NXM_NX_TUN_METADATA56", NXM_NX 96 "NXM_NX_TUN_METADATA56";
    /// Tunnel option 57, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA57`).
    TunMetadata57: "tun_metadata57" "", 992, 124, Hex, None, masked, writable, NXM_NX 97 "NXM_NX_TUN_METADATA57", NXM_NX 97 "NXM_NX_TUN_METADATA57";
    /// Tunnel option 58, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA58`).
    TunMetadata58: "tun_metadata58" "", 992, 124, Hex, None, masked, writable, NXM_NX 98 "NXM_NX_TUN_METADATA58", NXM_NX 98 "NXM_NX_TUN_METADATA58";
    /// Tunnel option 59, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA59`).
    TunMetadata59: "tun_metadata59" "", 992, 124, Hex, None, masked, writable, NXM_NX 99 "NXM_NX_TUN_METADATA59", NXM_NX 99 "NXM_NX_TUN_METADATA59";
    /// Tunnel option 60, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA60`).
    TunMetadata60: "tun_metadata60" "", 992, 124, Hex, None, masked, writable, NXM_NX 100 "NXM_NX_TUN_METADATA60", NXM_NX 100 "NXM_NX_TUN_METADATA60";
    /// Tunnel option 61, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA61`).
    TunMetadata61: "tun_metadata61" "", 992, 124, Hex, None, masked, writable, NXM_NX 101 "NXM_NX_TUN_METADATA61", NXM_NX 101 "NXM_NX_TUN_METADATA61";
    /// Tunnel option 62, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA62`).
    TunMetadata62: "tun_metadata62" "", 992, 124, Hex, None, masked, writable, NXM_NX 102 "NXM_NX_TUN_METADATA62", NXM_NX 102 "NXM_NX_TUN_METADATA62";
    /// Tunnel option 63, as the TLV map of the bridge says (`NXM_NX_TUN_METADATA63`).
    TunMetadata63: "tun_metadata63" "", 992, 124, Hex, None, masked, writable, NXM_NX 103 "NXM_NX_TUN_METADATA63", NXM_NX 103 "NXM_NX_TUN_METADATA63";
    /// ERSPAN index (`NXOXM_ET_ERSPAN_IDX`).
    TunErspanIdx: "tun_erspan_idx" "", 20, 4, Hex, None, masked, writable, NXOXM_ET 11 "NXOXM_ET_ERSPAN_IDX", NXOXM_ET 11 "NXOXM_ET_ERSPAN_IDX";
    /// ERSPAN version (`NXOXM_ET_ERSPAN_VER`).
    TunErspanVer: "tun_erspan_ver" "", 4, 1, Decimal, None, masked, writable, NXOXM_ET 12 "NXOXM_ET_ERSPAN_VER", NXOXM_ET 12 "NXOXM_ET_ERSPAN_VER";
    /// ERSPAN direction (`NXOXM_ET_ERSPAN_DIR`).
    TunErspanDir: "tun_erspan_dir" "", 1, 1, Decimal, None, masked, writable, NXOXM_ET 13 "NXOXM_ET_ERSPAN_DIR", NXOXM_ET 13 "NXOXM_ET_ERSPAN_DIR";
    /// ERSPAN hardware identifier (`NXOXM_ET_ERSPAN_HWID`).
    TunErspanHwid: "tun_erspan_hwid" "", 6, 1, Hex, None, masked, writable, NXOXM_ET 14 "NXOXM_ET_ERSPAN_HWID", NXOXM_ET 14 "NXOXM_ET_ERSPAN_HWID";
    /// GTP-U flags (`NXOXM_ET_GTPU_FLAGS`).
    TunGtpuFlags: "tun_gtpu_flags" "", 8, 1, Hex, None, masked, readonly, NXOXM_ET 15 "NXOXM_ET_GTPU_FLAGS", NXOXM_ET 15 "NXOXM_ET_GTPU_FLAGS";
    /// GTP-U message type (`NXOXM_ET_GTPU_MSGTYPE`).
    TunGtpuMsgtype: "tun_gtpu_msgtype" "", 8, 1, Decimal, None, masked, readonly, NXOXM_ET 16 "NXOXM_ET_GTPU_MSGTYPE", NXOXM_ET 16 "NXOXM_ET_GTPU_MSGTYPE";
    /// Network service header: flags (`NXOXM_NSH_FLAGS`).
    NshFlags: "nsh_flags" "", 8, 1, Decimal, Nsh, masked, writable, NXOXM_NSH 1 "NXOXM_NSH_FLAGS", NXOXM_NSH 1 "NXOXM_NSH_FLAGS";
    /// Network service header: ttl (`NXOXM_NSH_TTL`).
    NshTtl: "nsh_ttl" "", 8, 1, Decimal, Nsh, exact, writable, NXOXM_NSH 10 "NXOXM_NSH_TTL", NXOXM_NSH 10 "NXOXM_NSH_TTL";
    /// Network service header: mdtype (`NXOXM_NSH_MDTYPE`).
    NshMdtype: "nsh_mdtype" "", 8, 1, Decimal, Nsh, exact, readonly, NXOXM_NSH 2 "NXOXM_NSH_MDTYPE", NXOXM_NSH 2 "NXOXM_NSH_MDTYPE";
    /// Network service header: np (`NXOXM_NSH_NP`).
    NshNp: "nsh_np" "", 8, 1, Decimal, Nsh, exact, readonly, NXOXM_NSH 3 "NXOXM_NSH_NP", NXOXM_NSH 3 "NXOXM_NSH_NP";
    /// Network service header: spi (`NXOXM_NSH_SPI`).
    NshSpi: "nsh_spi" "nsp", 24, 4, Hex, Nsh, exact, writable, NXOXM_NSH 4 "NXOXM_NSH_SPI", NXOXM_NSH 4 "NXOXM_NSH_SPI";
    /// Network service header: si (`NXOXM_NSH_SI`).
    NshSi: "nsh_si" "nsi", 8, 1, Decimal, Nsh, exact, writable, NXOXM_NSH 5 "NXOXM_NSH_SI", NXOXM_NSH 5 "NXOXM_NSH_SI";
    /// Network service header: c1 (`NXOXM_NSH_C1`).
    NshC1: "nsh_c1" "", 32, 4, Hex, Nsh, masked, writable, NXOXM_NSH 6 "NXOXM_NSH_C1", NXOXM_NSH 6 "NXOXM_NSH_C1";
    /// Network service header: c2 (`NXOXM_NSH_C2`).
    NshC2: "nsh_c2" "", 32, 4, Hex, Nsh, masked, writable, NXOXM_NSH 7 "NXOXM_NSH_C2", NXOXM_NSH 7 "NXOXM_NSH_C2";
    /// Network service header: c3 (`NXOXM_NSH_C3`).
    NshC3: "nsh_c3" "", 32, 4, Hex, Nsh, masked, writable, NXOXM_NSH 8 "NXOXM_NSH_C3", NXOXM_NSH 8 "NXOXM_NSH_C3";
    /// Network service header: c4 (`NXOXM_NSH_C4`).
    NshC4: "nsh_c4" "", 32, 4, Hex, Nsh, masked, writable, NXOXM_NSH 9 "NXOXM_NSH_C4", NXOXM_NSH 9 "NXOXM_NSH_C4";
    /// Register 0 (`NXM_NX_REG0`).
    Reg0: "reg0" "", 32, 4, Hex, None, masked, writable, NXM_NX 0 "NXM_NX_REG0", NXM_NX 0 "NXM_NX_REG0";
    /// Register 1 (`NXM_NX_REG1`).
    Reg1: "reg1" "", 32, 4, Hex, None, masked, writable, NXM_NX 1 "NXM_NX_REG1", NXM_NX 1 "NXM_NX_REG1";
    /// Register 2 (`NXM_NX_REG2`).
    Reg2: "reg2" "", 32, 4, Hex, None, masked, writable, NXM_NX 2 "NXM_NX_REG2", NXM_NX 2 "NXM_NX_REG2";
    /// Register 3 (`NXM_NX_REG3`).
    Reg3: "reg3" "", 32, 4, Hex, None, masked, writable, NXM_NX 3 "NXM_NX_REG3", NXM_NX 3 "NXM_NX_REG3";
    /// Register 4 (`NXM_NX_REG4`).
    Reg4: "reg4" "", 32, 4, Hex, None, masked, writable, NXM_NX 4 "NXM_NX_REG4", NXM_NX 4 "NXM_NX_REG4";
    /// Register 5 (`NXM_NX_REG5`).
    Reg5: "reg5" "", 32, 4, Hex, None, masked, writable, NXM_NX 5 "NXM_NX_REG5", NXM_NX 5 "NXM_NX_REG5";
    /// Register 6 (`NXM_NX_REG6`).
    Reg6: "reg6" "", 32, 4, Hex, None, masked, writable, NXM_NX 6 "NXM_NX_REG6", NXM_NX 6 "NXM_NX_REG6";
    /// Register 7 (`NXM_NX_REG7`).
    Reg7: "reg7" "", 32, 4, Hex, None, masked, writable, NXM_NX 7 "NXM_NX_REG7", NXM_NX 7 "NXM_NX_REG7";
    /// Register 8 (`NXM_NX_REG8`).
    Reg8: "reg8" "", 32, 4, Hex, None, masked, writable, NXM_NX 8 "NXM_NX_REG8", NXM_NX 8 "NXM_NX_REG8";
    /// Register 9 (`NXM_NX_REG9`).
    Reg9: "reg9" "", 32, 4, Hex, None, masked, writable, NXM_NX 9 "NXM_NX_REG9", NXM_NX 9 "NXM_NX_REG9";
    /// Register 10 (`NXM_NX_REG10`).
    Reg10: "reg10" "", 32, 4, Hex, None, masked, writable, NXM_NX 10 "NXM_NX_REG10", NXM_NX 10 "NXM_NX_REG10";
    /// Register 11 (`NXM_NX_REG11`).
    Reg11: "reg11" "", 32, 4, Hex, None, masked, writable, NXM_NX 11 "NXM_NX_REG11", NXM_NX 11 "NXM_NX_REG11";
    /// Register 12 (`NXM_NX_REG12`).
    Reg12: "reg12" "", 32, 4, Hex, None, masked, writable, NXM_NX 12 "NXM_NX_REG12", NXM_NX 12 "NXM_NX_REG12";
    /// Register 13 (`NXM_NX_REG13`).
    Reg13: "reg13" "", 32, 4, Hex, None, masked, writable, NXM_NX 13 "NXM_NX_REG13", NXM_NX 13 "NXM_NX_REG13";
    /// Register 14 (`NXM_NX_REG14`).
    Reg14: "reg14" "", 32, 4, Hex, None, masked, writable, NXM_NX 14 "NXM_NX_REG14", NXM_NX 14 "NXM_NX_REG14";
    /// Register 15 (`NXM_NX_REG15`).
    Reg15: "reg15" "", 32, 4, Hex, None, masked, writable, NXM_NX 15 "NXM_NX_REG15", NXM_NX 15 "NXM_NX_REG15";
    /// Registers 0 and 1 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG0`).
    XReg0: "xreg0" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 0 "OXM_OF_PKT_REG0", OXM_PKT_REG 0 "OXM_OF_PKT_REG0";
    /// Registers 2 and 3 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG1`).
    XReg1: "xreg1" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 1 "OXM_OF_PKT_REG1", OXM_PKT_REG 1 "OXM_OF_PKT_REG1";
    /// Registers 4 and 5 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG2`).
    XReg2: "xreg2" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 2 "OXM_OF_PKT_REG2", OXM_PKT_REG 2 "OXM_OF_PKT_REG2";
    /// Registers 6 and 7 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG3`).
    XReg3: "xreg3" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 3 "OXM_OF_PKT_REG3", OXM_PKT_REG 3 "OXM_OF_PKT_REG3";
    /// Registers 8 and 9 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG4`).
    XReg4: "xreg4" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 4 "OXM_OF_PKT_REG4", OXM_PKT_REG 4 "OXM_OF_PKT_REG4";
    /// Registers 10 and 11 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG5`).
    XReg5: "xreg5" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 5 "OXM_OF_PKT_REG5", OXM_PKT_REG 5 "OXM_OF_PKT_REG5";
    /// Registers 12 and 13 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG6`).
    XReg6: "xreg6" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 6 "OXM_OF_PKT_REG6", OXM_PKT_REG 6 "OXM_OF_PKT_REG6";
    /// Registers 14 and 15 as one of 64 bits; in a match it becomes these two (`OXM_OF_PKT_REG7`).
    XReg7: "xreg7" "", 64, 8, Hex, None, masked, writable, OXM_PKT_REG 7 "OXM_OF_PKT_REG7", OXM_PKT_REG 7 "OXM_OF_PKT_REG7";
    /// Registers 0 to 3 as one of 128 bits; in a match it becomes these four (`NXM_NX_XXREG0`).
    XxReg0: "xxreg0" "", 128, 16, Hex, None, masked, writable, NXM_NX 111 "NXM_NX_XXREG0", NXM_NX 111 "NXM_NX_XXREG0";
    /// Registers 4 to 7 as one of 128 bits; in a match it becomes these four (`NXM_NX_XXREG1`).
    XxReg1: "xxreg1" "", 128, 16, Hex, None, masked, writable, NXM_NX 112 "NXM_NX_XXREG1", NXM_NX 112 "NXM_NX_XXREG1";
    /// Registers 8 to 11 as one of 128 bits; in a match it becomes these four (`NXM_NX_XXREG2`).
    XxReg2: "xxreg2" "", 128, 16, Hex, None, masked, writable, NXM_NX 113 "NXM_NX_XXREG2", NXM_NX 113 "NXM_NX_XXREG2";
    /// Registers 12 to 15 as one of 128 bits; in a match it becomes these four (`NXM_NX_XXREG3`).
    XxReg3: "xxreg3" "", 128, 16, Hex, None, masked, writable, NXM_NX 114 "NXM_NX_XXREG3", NXM_NX 114 "NXM_NX_XXREG3";
    /// The packet mark (`skb->mark` on the kernel datapath) (`NXM_NX_PKT_MARK`).
    PktMark: "pkt_mark" "", 32, 4, Hex, None, masked, writable, NXM_NX 33 "NXM_NX_PKT_MARK", NXM_NX 33 "NXM_NX_PKT_MARK";
    /// Connection tracking state (`NXM_NX_CT_STATE`).
    CtState: "ct_state" "", 32, 4, CtState, None, masked, readonly, NXM_NX 105 "NXM_NX_CT_STATE", NXM_NX 105 "NXM_NX_CT_STATE";
    /// Connection tracking zone (`NXM_NX_CT_ZONE`).
    CtZone: "ct_zone" "", 16, 2, Decimal, None, exact, readonly, NXM_NX 106 "NXM_NX_CT_ZONE", NXM_NX 106 "NXM_NX_CT_ZONE";
    /// Connection mark (`NXM_NX_CT_MARK`).
    CtMark: "ct_mark" "", 32, 4, Hex, None, masked, writable, NXM_NX 107 "NXM_NX_CT_MARK", NXM_NX 107 "NXM_NX_CT_MARK";
    /// Connection label (`NXM_NX_CT_LABEL`).
    CtLabel: "ct_label" "", 128, 16, Hex, None, masked, writable, NXM_NX 108 "NXM_NX_CT_LABEL", NXM_NX 108 "NXM_NX_CT_LABEL";
    /// IPv4 source of the connection's first packet (`NXM_NX_CT_NW_SRC`).
    CtNwSrc: "ct_nw_src" "", 32, 4, Ipv4, Ct, masked, readonly, NXM_NX 120 "NXM_NX_CT_NW_SRC", NXM_NX 120 "NXM_NX_CT_NW_SRC";
    /// IPv6 source of the connection's first packet (`NXM_NX_CT_IPV6_SRC`).
    CtIpv6Src: "ct_ipv6_src" "", 128, 16, Ipv6, Ct, masked, readonly, NXM_NX 122 "NXM_NX_CT_IPV6_SRC", NXM_NX 122 "NXM_NX_CT_IPV6_SRC";
    /// IPv4 destination of the connection's first packet (`NXM_NX_CT_NW_DST`).
    CtNwDst: "ct_nw_dst" "", 32, 4, Ipv4, Ct, masked, readonly, NXM_NX 121 "NXM_NX_CT_NW_DST", NXM_NX 121 "NXM_NX_CT_NW_DST";
    /// IPv6 destination of the connection's first packet (`NXM_NX_CT_IPV6_DST`).
    CtIpv6Dst: "ct_ipv6_dst" "", 128, 16, Ipv6, Ct, masked, readonly, NXM_NX 123 "NXM_NX_CT_IPV6_DST", NXM_NX 123 "NXM_NX_CT_IPV6_DST";
    /// IP protocol of the connection's first packet (`NXM_NX_CT_NW_PROTO`).
    CtNwProto: "ct_nw_proto" "", 8, 1, Decimal, Ct, exact, readonly, NXM_NX 119 "NXM_NX_CT_NW_PROTO", NXM_NX 119 "NXM_NX_CT_NW_PROTO";
    /// Source port of the connection's first packet (`NXM_NX_CT_TP_SRC`).
    CtTpSrc: "ct_tp_src" "", 16, 2, Decimal, Ct, masked, readonly, NXM_NX 124 "NXM_NX_CT_TP_SRC", NXM_NX 124 "NXM_NX_CT_TP_SRC";
    /// Destination port of the connection's first packet (`NXM_NX_CT_TP_DST`).
    CtTpDst: "ct_tp_dst" "", 16, 2, Decimal, Ct, masked, readonly, NXM_NX 125 "NXM_NX_CT_TP_DST", NXM_NX 125 "NXM_NX_CT_TP_DST";
    /// OpenFlow metadata, carried between tables (`OXM_OF_METADATA`).
    Metadata: "metadata" "", 64, 8, Hex, None, masked, writable, OXM_OF 2 "OXM_OF_METADATA", OXM_OF 2 "OXM_OF_METADATA";
}
