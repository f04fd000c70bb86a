//! Random flows as text, each of a field or an action whose turn it is.

use ofctl::wire::{Field, Format, Prerequisite};

use super::random::Random;

/// What a flow must say before it may name such a field.
fn prerequisite(prerequisite: Prerequisite, random: &mut Random) -> &'static str {
    match prerequisite {
        Prerequisite::None => "",
        Prerequisite::VlanVid => "vlan_tci=0x1000/0x1000",
        Prerequisite::Ipv4 => "ip",
        Prerequisite::Ipv6 => "ipv6",
        Prerequisite::Ip => random.pick(&["ip", "ipv6"]),
        Prerequisite::Arp => random.pick(&["arp", "rarp"]),
        Prerequisite::Mpls => random.pick(&["mpls", "mplsm"]),
        Prerequisite::Nsh => "dl_type=0x894f",
        Prerequisite::Tcp => random.pick(&["tcp", "tcp6"]),
        Prerequisite::Udp => random.pick(&["udp", "udp6"]),
        Prerequisite::Sctp => random.pick(&["sctp", "sctp6"]),
        Prerequisite::Icmpv4 => "icmp",
        Prerequisite::Icmpv6 => "icmp6",
        Prerequisite::Nd | Prerequisite::NdSolicit => "icmp6,icmp_type=135,icmp_code=0",
        Prerequisite::NdAdvert => "icmp6,icmp_type=136,icmp_code=0",
        Prerequisite::Ct => "ct_state=+trk+est,ip",
    }
}

fn number(format: Format, number: u128) -> String {
    match format {
        Format::Decimal | Format::Port => number.to_string(),
        Format::Ethernet => {
            let bytes = (number as u64).to_be_bytes();
            bytes[2..].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
        }
        Format::Ipv4 => std::net::Ipv4Addr::from_bits(number as u32).to_string(),
        Format::Ipv6 => std::net::Ipv6Addr::from_bits(number).to_string(),
        _ => format!("{number:#x}"),
    }
}

/// A value, and sometimes a mask.
fn value(field: Field, masked: bool, random: &mut Random) -> String {
    let spec = field.spec();
    // Only as wide as a value of this crate can be.
    let bits = if field == Field::VlanVid { 12 } else { spec.bits.min(128) };
    match spec.format {
        Format::Frag => return random.pick(&["no", "yes", "first", "later", "not_later"]).to_owned(),
        Format::CtState => return random.pick(&["+trk", "+trk+est-new", "-trk", "+trk+rpl"]).to_owned(),
        Format::TcpFlags => return random.pick(&["+syn-ack", "+fin", "-rst+psh", "syn|ack"]).to_owned(),
        Format::TunFlags => return if masked { random.pick(&["+oam", "-oam"]) } else { "oam" }.to_owned(),
        Format::Port => return (1 + random.below(0xfe00)).to_string(),
        _ => {}
    }
    let plain = match field {
        // A tag is there, and Open vSwitch writes eight bits of the operation.
        Field::VlanVid => random.bits(12) | 0x1000,
        Field::ArpOp => random.bits(8),
        Field::NshTtl => random.bits(6),
        Field::NshMdtype => 1,
        _ => random.bits(bits),
    };
    let mask = random.bits(bits);
    if masked && spec.maskable && random.below(2) == 0 && mask != 0 && field != Field::VlanVid {
        return format!("{}/{}", number(spec.format, plain & mask), number(spec.format, mask));
    }
    number(spec.format, plain)
}

/// Fields of which text has no plain form, or whose values are not any number.
fn has_plain_text(field: Field) -> bool {
    !matches!(field, Field::PacketType | Field::InPort16 | Field::EthType | Field::IpTos | Field::VlanTci)
}

fn name(field: Field) -> &'static str {
    match field {
        Field::InPort => "in_port",
        Field::Icmpv6Type => "icmpv6_type",
        _ => field.name(),
    }
}

/// A flow that matches on a field, and writes it if it can be written.
pub(crate) fn of_field(field: Field, random: &mut Random) -> String {
    let mut words = vec![format!("table={},priority={}", random.below(255), random.below(65536))];
    let needs = match field {
        Field::CtIpv6Src | Field::CtIpv6Dst => "ct_state=+trk+est,ipv6",
        Field::CtTpSrc | Field::CtTpDst => "ct_state=+trk+est,ip,ct_nw_proto=6",
        _ => prerequisite(field.spec().prerequisite, random),
    };
    words.extend((!needs.is_empty()).then(|| needs.to_owned()));
    let said = |words: &[String], name: &str| words.iter().any(|word| word.contains(name));
    let condition = |field: Field, words: &mut Vec<String>, random: &mut Random| {
        if has_plain_text(field) && !said(words, field.name()) {
            words.push(format!("{}={}", name(field), value(field, true, random)));
        }
    };
    condition(field, &mut words, random);
    let others: Vec<Field> =
        Field::all().filter(|other| other.spec().prerequisite == Prerequisite::None).collect();
    for _ in 0..random.below(3) {
        let other = random.pick(&others);
        // Long and short registers are the same registers, and tunnel options have one space together.
        let overlaps =
            other.name().contains("reg") || other.name().contains("tun_metadata") || other == field;
        if !overlaps
            && !matches!(other, Field::CtState | Field::VlanVid | Field::ConjId | Field::ActsetOutput)
        {
            condition(other, &mut words, random);
        }
    }
    let mut actions = vec![format!("output:{}", 1 + random.below(0xfe00))];
    // The fields of a connection are written in a ct, and the port under its shorter name.
    let elsewhere = matches!(field, Field::CtMark | Field::CtLabel | Field::InPort);
    if field.spec().writable && has_plain_text(field) && !elsewhere {
        let masked = random.below(2) == 0;
        actions.insert(0, format!("set_field:{}->{}", value(field, masked, random), field.name()));
    }
    if field.spec().nxm.class.experimenter().is_none() && field.bits_wide() <= 128 && has_plain_text(field) {
        let bits = field.bits_wide().min(32);
        let start = random.below(u64::from(field.bits_wide() - bits + 1)) as u16;
        let part = format!("{}[{start}..{}]", field.spec().nxm.name, start + bits - 1);
        actions.push(format!("move:{part}->NXM_NX_REG6[0..{}],push:{part}", bits - 1));
    }
    format!("{},actions={}", words.join(","), actions.join(","))
}

/// Patterns of actions: `#n` is a number of `n` bits, and what stands before the bar is the match that they need.
pub(crate) const ACTIONS: &[&str] = &[
    "|output:#15",
    "|output(port=#15,max_len=1#15)",
    "|controller:#16",
    "|controller(reason=no_match,max_len=#16,id=#16)",
    "|controller(userdata=0a.0b.0c,pause,meter_id=1#8)",
    "|enqueue:#15:#16",
    "|set_queue:#32,pop_queue",
    "|group:#16",
    "|load:#8->NXM_NX_REG0[3..10]",
    "|load:#32->NXM_NX_XXREG1[40..90]",
    "|set_field:#32/#32->reg3",
    "|set_field:#60/#60->xxreg2",
    "|move:NXM_OF_ETH_SRC[0..15]->NXM_NX_REG1[16..31]",
    "|push_vlan:0x8100,set_field:4#9->vlan_vid",
    "|push_vlan:0x88a8,pop_vlan",
    "|mod_vlan_vid:#12",
    "|mod_vlan_pcp:#3",
    "dl_vlan=7|mod_vlan_vid:#12,mod_vlan_pcp:#3,strip_vlan",
    "|mod_dl_src:02:00:00:00:00:01,mod_dl_dst:02:00:00:00:00:02",
    "ip|mod_nw_src:10.0.0.1,mod_nw_dst:10.0.0.2,mod_nw_tos:16,mod_nw_ecn:#2,mod_nw_ttl:#8",
    "tcp|mod_tp_src:#16,mod_tp_dst:#16",
    "udp6|mod_tp_src:#16,mod_tp_dst:#16",
    "|set_tunnel:#32,set_tunnel64:#60",
    "mpls|set_mpls_label:#20,set_mpls_tc:#3,set_mpls_ttl:#8,dec_mpls_ttl",
    "mpls|pop_mpls:0x8847",
    "ip|push_mpls:0x8848",
    "ip|dec_ttl",
    "ip|dec_ttl(#16,#16,#16)",
    "|resubmit(#15,#7)",
    "|resubmit(,#7)",
    "|resubmit:#15",
    "ct_state=+trk+est,tcp|resubmit(#15,#7,ct)",
    "ip|ct",
    "ip|ct(table=#7,zone=#16)",
    "ip|ct(commit,zone=NXM_NX_REG5[4..19],exec(set_field:#32->ct_mark,load:#8->NXM_NX_CT_LABEL[9..20]))",
    "tcp|ct(commit,force,alg=ftp,nat(src=10.0.0.1-10.0.0.9:1#3-1#5,random))",
    "ip|ct(commit,nat(dst=10.0.0.#7:1#9,hash,persistent)),ct(nat),ct_clear",
    "ipv6|ct(commit,nat(src=[fe80::1]-[fe80::9]:1#12))",
    "|learn(table=#7,priority=#16,idle_timeout=#16,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
    "|learn(table=#7,cookie=#60,hard_timeout=1#5,fin_idle_timeout=1#5,fin_hard_timeout=1#5,send_flow_rem,delete_learned,limit=#16,result_dst=NXM_NX_REG0[#4],reg1=#32,load:#16->NXM_NX_REG2[3..20],load:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[])",
    "|conjunction(#32,1/2),conjunction(#32,3/5)",
    "|multipath(eth_src,#16,modulo_n,1#4,#32,NXM_NX_REG0[])",
    "|multipath(symmetric_l3l4+udp,#16,iter_hash,1#7,#32,NXM_NX_REG0[5..20])",
    "|bundle(eth_src,#16,hrw,ofport,members:#12,#12,#12)",
    "|bundle_load(symmetric_l4,#16,active_backup,ofport,NXM_NX_REG0[],members:#12)",
    "|sample(probability=1#10,collector_set_id=#32,obs_domain_id=#32,obs_point_id=#32)",
    "|sample(probability=1#10,collector_set_id=#32,obs_domain_id=#32,obs_point_id=#32,sampling_port=#12,egress)",
    "|note:01.02.03.04.05.06.07.08.09",
    "tcp|fin_timeout(idle_timeout=#16,hard_timeout=1#4)",
    "|push:NXM_NX_REG3[0..#3],pop:NXM_NX_REG4[]",
    "|check_pkt_larger(#16)->NXM_NX_REG0[#4]",
    "|encap(ethernet)",
    "|encap(nsh(md_type=2,tlv(0x1000,#8,0x12345678)))",
    "packet_type=(1,0x894f)|decap()",
    "dl_type=0x894f|dec_nsh_ttl,load:#8->NXOXM_NSH_C1[4..20]",
    "|set_field:#32->tun_metadata#5,set_field:0x#3/0x7->tun_metadata4",
    "|delete_field:tun_metadata#5",
    "|clone(push_vlan:0x8100,output:#12,clone(exit))",
    "|output:NXM_NX_REG2[0..#4]",
    "|meter:1#7,output:#12,clear_actions,write_actions(group:#9,output:#12),write_metadata:#60/#60,goto_table:254",
    "|in_port,normal,flood,all,local,exit",
];

/// A flow with the actions of a pattern.
pub(crate) fn of_action(pattern: &str, random: &mut Random) -> String {
    let (needs, actions) = pattern.split_once('|').expect("a bar in each pattern");
    let mut text = format!("table=0,cookie={:#x},{needs},actions=", random.next());
    let mut rest = actions;
    while let Some((before, after)) = rest.split_once('#') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let bits: u16 = after[..digits].parse().expect("bits after #");
        text += &format!("{before}{}", random.bits(bits));
        rest = &after[digits..];
    }
    text + rest
}
