//! Lists of fields, in the order and with the abbreviations of Open vSwitch.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use crate::wire::FieldId;

/// Every field by its name, in the order of ovs-fields(7)'s sections.
const ORDER: &str = "\
    dp_hash recirc_id packet_type conj_id tun_id tun_src tun_dst tun_ipv6_src tun_ipv6_dst tun_flags \
    tun_gbp_id tun_gbp_flags tun_erspan_idx tun_erspan_ver tun_erspan_dir tun_erspan_hwid tun_gtpu_flags \
    tun_gtpu_msgtype tun_metadata0 tun_metadata1 tun_metadata2 tun_metadata3 tun_metadata4 tun_metadata5 \
    tun_metadata6 tun_metadata7 tun_metadata8 tun_metadata9 tun_metadata10 tun_metadata11 tun_metadata12 \
    tun_metadata13 tun_metadata14 tun_metadata15 tun_metadata16 tun_metadata17 tun_metadata18 tun_metadata19 \
    tun_metadata20 tun_metadata21 tun_metadata22 tun_metadata23 tun_metadata24 tun_metadata25 tun_metadata26 \
    tun_metadata27 tun_metadata28 tun_metadata29 tun_metadata30 tun_metadata31 tun_metadata32 tun_metadata33 \
    tun_metadata34 tun_metadata35 tun_metadata36 tun_metadata37 tun_metadata38 tun_metadata39 tun_metadata40 \
    tun_metadata41 tun_metadata42 tun_metadata43 tun_metadata44 tun_metadata45 tun_metadata46 tun_metadata47 \
    tun_metadata48 tun_metadata49 tun_metadata50 tun_metadata51 tun_metadata52 tun_metadata53 tun_metadata54 \
    tun_metadata55 tun_metadata56 tun_metadata57 tun_metadata58 tun_metadata59 tun_metadata60 tun_metadata61 \
    tun_metadata62 tun_metadata63 metadata in_port in_port_oxm actset_output pkt_mark ct_state ct_zone \
    ct_mark ct_label ct_nw_proto ct_nw_src ct_nw_dst ct_ipv6_src ct_ipv6_dst ct_tp_src ct_tp_dst reg0 reg1 \
    reg2 reg3 reg4 reg5 reg6 reg7 reg8 reg9 reg10 reg11 reg12 reg13 reg14 reg15 xreg0 xreg1 xreg2 xreg3 \
    xreg4 xreg5 xreg6 xreg7 xxreg0 xxreg1 xxreg2 xxreg3 eth_src eth_dst eth_type vlan_tci vlan_vid vlan_pcp \
    mpls_label mpls_tc mpls_bos mpls_ttl ip_src ip_dst ipv6_src ipv6_dst ipv6_label nw_proto nw_tos ip_dscp \
    nw_ecn nw_ttl ip_frag arp_op arp_spa arp_tpa arp_sha arp_tha tcp_src tcp_dst tcp_flags udp_src udp_dst \
    sctp_src sctp_dst icmp_type icmp_code icmpv6_type icmpv6_code nd_target nd_sll nd_tll nd_reserved \
    nd_options_type nsh_flags nsh_mdtype nsh_np nsh_spi nsh_si nsh_c1 nsh_c2 nsh_c3 nsh_c4 nsh_ttl";

static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| ORDER.split_ascii_whitespace().collect());

static PLACES: LazyLock<HashMap<&str, u8>> = LazyLock::new(|| NAMES.iter().copied().zip(0..).collect());

/// A set of fields.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct FieldSet(BTreeSet<u8>);

impl FieldSet {
    /// Those of the headers that have a name.
    pub(super) fn of<'a>(headers: impl IntoIterator<Item = &'a FieldId>) -> Self {
        let place = |id: &FieldId| PLACES.get(name(*id)?).copied();
        FieldSet(headers.into_iter().filter_map(place).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn extend(&mut self, other: &FieldSet) {
        self.0.extend(&other.0);
    }

    /// Those that are, or are not, in both of two others.
    pub(super) fn where_in(
        &self,
        (one, in_one): (&FieldSet, bool),
        (two, in_two): (&FieldSet, bool),
    ) -> FieldSet {
        let is = |place: &&u8| one.0.contains(place) == in_one && two.0.contains(place) == in_two;
        FieldSet(self.0.iter().filter(is).copied().collect())
    }

    /// Their names, common beginnings and counted ends written once: `tun_{id,src,dst} reg0...reg15`.
    pub(super) fn names(&self) -> String {
        let all: Vec<&str> =
            self.0.iter().filter_map(|place| NAMES.get(usize::from(*place)).copied()).collect();
        let mut out = String::new();
        abbreviate(&all, "", &mut out);
        out
    }
}

/// Fields of a packet's way through the datapath, which no flow can name: `NXM_NX_DP_HASH`, `NXM_NX_RECIRC_ID`.
const INTERNAL: [(u32, &str); 2] = [(0x0001 << 7 | 35, "dp_hash"), (0x0001 << 7 | 36, "recirc_id")];

fn name(id: FieldId) -> Option<&'static str> {
    let internal = || INTERNAL.iter().find(|(number, _)| *number == id.header >> 9).map(|(_, name)| *name);
    id.field().map(|field| field.name()).or_else(internal)
}

/// Length of the beginning that both have in common, up to and with an underscore.
fn common_prefix(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    a[..same].rfind('_').map_or(0, |place| place + 1)
}

/// True if the names differ only in a number at the end, which is one larger.
fn follows(a: &str, b: &str) -> bool {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let number = |text: &str| text[same..].parse::<u32>().ok();
    matches!((number(a), number(b)), (Some(a), Some(b)) if a + 1 == b)
}

fn abbreviate(mut names: &[&str], prefix: &str, out: &mut String) {
    let mut first = true;
    while let [head, rest @ ..] = names {
        if !std::mem::take(&mut first) {
            out.push(if prefix.is_empty() { ' ' } else { ',' });
        }
        let inside = |name: &str| name[prefix.len()..].to_owned();
        let common = rest.first().map_or(0, |next| common_prefix(&inside(head), &inside(next)));
        let prefix_run = match common {
            0 => 1,
            _ => 1 + rest.iter().take_while(|name| common_prefix(&inside(head), &inside(name)) > 0).count(),
        };
        let counted = 1 + names.windows(2).take_while(|pair| follows(pair[0], pair[1])).count();
        // Three dots between two names would not be shorter.
        let counted = if counted == 2 { 1 } else { counted };
        let run = prefix_run.max(counted);
        if counted >= prefix_run {
            out.push_str(&inside(head));
            if run > 1 {
                out.push_str("...");
                out.push_str(&inside(names[run - 1]));
            }
        } else {
            let longer = &head[..prefix.len() + common];
            out.push_str(&longer[prefix.len()..]);
            out.push('{');
            abbreviate(&names[..run], longer, out);
            out.push('}');
        }
        names = &names[run..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Field;

    #[test]
    fn every_field_has_a_place() {
        for field in Field::all() {
            let set = FieldSet::of(&[FieldId::new(field, false)]);
            assert_eq!(set.names(), field.name());
        }
    }

    #[test]
    fn names_are_abbreviated() {
        use Field::*;
        let fields =
            [TunSrc, TunDst, TunGbpId, TunGbpFlags, Reg0, Reg1, Reg2, Reg4, Reg5, NdReserved, NdOptionsType];
        let set = FieldSet::of(&fields.map(|field| FieldId::new(field, false)));
        assert_eq!(
            set.names(),
            "tun_{src,dst,gbp_{id,flags}} reg0...reg2 reg4 reg5 nd_{reserved,options_type}"
        );
    }
}
