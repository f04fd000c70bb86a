//! What depends on earlier packets: connection tracking, translation, learning, groups that choose, lengths, and
//! counters. Each packet goes into a real datapath and into the simulator; the frames that leave are compared byte
//! by byte, and in the end the flows with their counters.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ofctl::MacAddr;
use ofctl::flow::{FlowEntry, FlowFlags};
use ofctl::packet::Frame;
use ofctl::sim::Switch;
use ofctl::wire::{BandKind, FlowStatsRequest, MeterBand, MeterFlags, MeterId, OfPort};

use crate::generate::{Random, with_groups};
use crate::ovs::{self, Ovs, PORTS};
use crate::{live, setting};

const PACKETS: usize = 40;

/// Flows and groups as text, which both sides read.
struct Set {
    flows: Vec<String>,
    groups: Vec<String>,
}

fn address(random: &mut Random, v4: bool) -> IpAddr {
    // 10.0.0.9 and fd00::9 are what sources become.
    let last = random.pick(&[1u16, 2, 9]);
    match v4 {
        true => Ipv4Addr::new(10, 0, 0, last as u8).into(),
        false => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into(),
    }
}

fn nat(random: &mut Random, v4: bool) -> String {
    let address = if v4 { "10.0.0.9" } else { "fd00::9" };
    let bracketed = if v4 { address.to_owned() } else { format!("[{address}]") };
    match random.below(8) {
        0 => format!(",nat(src={address})"),
        1 => format!(",nat(dst={address})"),
        2 => format!(",nat(src={bracketed}:5000)"),
        3 => format!(",nat(dst={bracketed}:80)"),
        4 => format!(",nat(src={address},persistent)"),
        5 => format!(",nat(dst={bracketed}:443,hash)"),
        _ => String::new(),
    }
}

fn output(random: &mut Random) -> String {
    match random.below(6) {
        0 => "IN_PORT".to_owned(),
        1 => "group:1".to_owned(),
        2 => "group:2".to_owned(),
        _ => format!("output:{}", 1 + random.below(PORTS as usize)),
    }
}

/// A `ct` for packets of this version.
fn ct(random: &mut Random, v4: bool, tables: &[&str]) -> String {
    let zone = random.pick(&["1", "1", "2", "NXM_NX_REG5[0..15]"]);
    let table = random.pick(tables);
    let table = if table.is_empty() { String::new() } else { format!(",table={table}") };
    match random.below(3) {
        0 => {
            let exec = random.pick(&[
                "",
                ",exec(load:0x5->NXM_NX_CT_MARK[])",
                ",exec(load:0x1->NXM_NX_CT_MARK[4],move:NXM_NX_REG0[0..3]->NXM_NX_CT_MARK[8..11])",
                ",exec(set_field:0x77->ct_label)",
            ]);
            let force = if random.chance(10) { ",force" } else { "" };
            format!("ct(commit{force},zone={zone}{table}{}{exec})", nat(random, v4))
        }
        1 => format!("ct(zone={zone}{table},nat)"),
        _ => format!("ct(zone={zone}{table})"),
    }
}

fn draw(random: &mut Random) -> Set {
    let mut flows = Vec::new();
    for (v4, name) in [(true, "ip"), (false, "ipv6")] {
        for port in 1..=PORTS {
            let first = ct(random, v4, &["1", "1", "1", "2", ""]);
            let before = random.pick(&["", "load:0x3->NXM_NX_REG0[],", "load:1->NXM_NX_REG5[],"]);
            let after = random.pick(&["", ",output:3", ",resubmit(,3)"]);
            flows.push(format!("table=0,priority=10,{name},in_port={port} actions={before}{first}{after}"));
        }
        for state in
            ["+new-est+trk", "+est-rpl+trk", "+est+rpl+trk", "+inv+trk", "+rel+trk", "+dnat+trk", "+snat+trk"]
        {
            let again = ct(random, v4, &["2", "2", ""]);
            let out = output(random);
            let actions = match random.below(4) {
                _ if state.starts_with("+inv") => out,
                0 => out,
                1 => format!("{again},{out}"),
                2 => again,
                _ => format!("ct(commit,zone=1{}),{out}", nat(random, v4)),
            };
            let priority = 10 + random.below(3);
            flows.push(format!("table=1,priority={priority},ct_state={state},{name} actions={actions}"));
        }
        let out = output(random);
        flows.push(format!("table=2,priority=12,ct_mark=0x5,{name} actions=load:9->NXM_NX_REG0[],{out}"));
        flows.push(format!("table=2,priority=11,ct_zone=2,{name} actions=ct_clear,resubmit(,3),output:4"));
        flows.push(format!("table=2,priority=11,ct_label=0x77,ct_state=+trk,{name} actions=output:1"));
        let original = if v4 { "ct_nw_src=10.0.0.1" } else { "ct_ipv6_src=fd00::1" };
        flows.push(format!(
            "table=2,priority=10,ct_state=+trk-inv,{name},{original} actions=dec_ttl,{}",
            output(random)
        ));
        flows.push(format!("table=2,priority=9,ct_state=+trk-inv,{name},ct_nw_proto=17,ct_tp_dst=80 actions=resubmit(,1,ct),output:2"));
    }
    flows.push(format!("table=1,priority=1 actions={}", output(random)));
    flows.push(format!("table=2,priority=1 actions={}", output(random)));
    // Learning, lengths, and what is not IP.
    let learned = random.pick(&[
        "learn(table=4,hard_timeout=300,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
        "learn(table=4,idle_timeout=300,priority=9,cookie=0x5,limit=2,result_dst=NXM_NX_REG1[0],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
        "learn(table=4,delete_learned,cookie=0x6,fin_idle_timeout=100,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG3[0..15])",
    ]);
    flows.push(format!("table=0,priority=1 actions={learned},resubmit(,4)"));
    flows.push(format!("table=3,priority=5,tcp actions={learned},fin_timeout(idle_timeout=200)"));
    flows.push("table=3,priority=4 actions=note:01".to_owned());
    flows.push("table=4,priority=0 actions=check_pkt_larger(60)->NXM_NX_REG2[0],resubmit(,5)".to_owned());
    flows.push(format!("table=5,priority=2,reg2=0x1/0x1 actions={}", output(random)));
    flows.push("table=5,priority=1 actions=output:2".to_owned());
    if random.chance(50) {
        flows.push("table=0,priority=20,arp actions=group:3".to_owned());
    }
    let port = |random: &mut Random| 1 + random.below(PORTS as usize);
    let weights: Vec<u16> = (0..1 + random.below(4)).map(|_| random.pick(&[0, 1, 2, 5, 2000])).collect();
    let method = random.pick(&[
        "",
        ",selection_method=dp_hash",
        ",selection_method=dp_hash,selection_method_param=0x100000007",
        ",selection_method=dp_hash,selection_method_param=99",
        ",selection_method=hash,fields(ip_src,tcp_dst,ipv6_src)",
    ]);
    let select: String = weights
        .into_iter()
        .map(|weight| format!(",bucket=weight:{weight},actions=output:{}", port(random)))
        .collect();
    let groups = vec![
        format!("group_id=1,type=select{method}{select}"),
        format!(
            "group_id=2,type=ff,bucket=watch_group:9,actions=output:{},bucket=watch_port:{},actions=output:{},\
             bucket=watch_group:1,actions=output:{}",
            port(random),
            1 + random.below(6),
            port(random),
            port(random)
        ),
        format!(
            "group_id=3,type=all,bucket=actions=output:{},bucket=actions=output:{}",
            port(random),
            port(random)
        ),
    ];
    Set { flows, groups }
}

impl Set {
    fn group_text(&self) -> String {
        self.groups.join("\n")
    }

    fn switch(&self) -> Switch {
        let switch = Switch::new().with_ports((1..=PORTS).map(OfPort).chain([OfPort::LOCAL]));
        let switch = with_groups(switch, &self.groups);
        let flows =
            self.flows.iter().map(|flow| flow.parse::<FlowEntry>().unwrap_or_else(|e| panic!("{flow}: {e}")));
        switch.with_flows(flows).unwrap()
    }
}

/// True if a frame goes from an address to itself. Two connections can then have one tuple in both directions, and
/// which of them Open vSwitch finds depends on where its hash puts them.
fn talks_to_itself(frame: &[u8]) -> bool {
    let l3 = if frame.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
    match frame.get(l3 - 2..l3) {
        Some([0x08, 0x00]) => frame[l3 + 12..l3 + 16] == frame[l3 + 16..l3 + 20],
        Some([0x86, 0xdd]) => frame[l3 + 8..l3 + 24] == frame[l3 + 24..l3 + 40],
        _ => false,
    }
}

/// A packet of few conversations, in either direction.
fn packet(random: &mut Random) -> Frame {
    let mac = |random: &mut Random| MacAddr([2, 0, 0, 0, 0, random.below(3) as u8]);
    let (src_mac, dst_mac) = (mac(random), mac(random));
    let v4 = random.chance(60);
    let (src, dst) = (address(random, v4), address(random, v4));
    let frame = Frame::between(src_mac, dst_mac).ip(src, dst).ttl(random.pick(&[64, 64, 64, 1]));
    let (from, to) = random.pick(&[(1000, 80), (80, 1000), (1000, 443), (443, 1000), (5000, 80), (80, 5000)]);
    let payload = &b"0123456789abcdef0123456789abcdef"[..random.below(3) * 16];
    let frame = match random.below(12) {
        0..=4 => {
            // SYN, SYN and ACK, ACK, FIN and ACK, RST, and nonsense.
            let flags =
                random.pick(&[0x02, 0x02, 0x12, 0x12, 0x10, 0x10, 0x11, 0x04, 0x14, 0x18, 0x03, 0x00]);
            frame.tcp_flags(from, to, flags)
        }
        5..=7 => frame.udp(from, to),
        8 | 9 => {
            let (ask, answer) = if v4 { (8, 0) } else { (128, 129) };
            frame.icmp(random.pick(&[ask, answer]), 0, [0, 7, 0, 1])
        }
        10 => {
            // An error about a packet that the other end sent.
            let quoted = Frame::between(src_mac, dst_mac).ip(dst, src);
            // Translating an ICMPv6 error about TCP, Open vSwitch 3.1 takes the ICMPv6 header for TCP's, and updates a
            // checksum in the middle of the quoted addresses.
            let quoted = match !v4 || random.chance(50) {
                true => quoted.udp(from, to),
                false => quoted.tcp(from, to),
            };
            let kind = if v4 { 3 } else { 1 };
            return frame.icmp(kind, 1, [0; 4]).payload(&quoted.build()[14..]);
        }
        _ => {
            return match random.chance(50) {
                true => Frame::arp(
                    src_mac,
                    dst_mac,
                    1,
                    (src_mac, Ipv4Addr::new(10, 0, 0, 1)),
                    (dst_mac, Ipv4Addr::new(10, 0, 0, 2)),
                ),
                false => Frame::between(src_mac, dst_mac).payload(&[7; 60][..random.pick(&[40, 46, 47, 60])]),
            };
        }
    };
    let mut frame = frame.payload(payload);
    if random.chance(5) {
        // Too small to be one of a datagram's fragments.
        frame = frame.fragment(random.pick(&[0, 8]), true);
    }
    if random.chance(10) { frame.vlan(5) } else { frame }
}

/// Flows with the packets that they took, by our own text of them.
pub(crate) fn dumped(ovs: &Ovs) -> Vec<(String, u64)> {
    ovs.appctl("revalidator/purge", &[]);
    let text = ovs.ofctl("dump-flows", None).unwrap();
    let mut flows: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let (stats, rest) = line.trim().split_once("n_bytes=")?;
            let packets = stats.split("n_packets=").nth(1)?.split(',').next()?.parse().ok()?;
            let table = stats.split("table=").nth(1)?.split(',').next()?;
            let cookie = stats.split("cookie=").nth(1)?.split(',').next()?;
            let (_, rest) = rest.split_once(", ")?;
            let flow = format!("cookie={cookie},table={table},{rest}");
            let entry = flow.parse::<FlowEntry>().unwrap_or_else(|e| panic!("{flow}: {e}"));
            Some((entry.flags(FlowFlags(0)).to_string(), packets))
        })
        .collect();
    flows.sort();
    flows
}

pub(crate) fn simulated(switch: &Switch) -> Vec<(String, u64)> {
    let flows = switch.flows(&FlowStatsRequest::default());
    let mut flows: Vec<_> =
        flows.into_iter().map(|stats| (stats.entry.flags(FlowFlags(0)).to_string(), stats.packets)).collect();
    flows.sort();
    flows
}

#[test]
fn conversations_fare_as_in_open_vswitch() {
    let Some(mut ovs) = live() else { return };
    let (seed, rounds) = (setting("SLUICE_SIM_SEED", 1), setting("SLUICE_SIM_CONVERSATIONS", 10));
    let start = Instant::now();
    let (mut packets, mut frames, mut alone, mut differences) = (0, 0, 0, Vec::new());
    for round in 0..rounds {
        let mut random = Random(seed << 40 | round);
        let set = draw(&mut random);
        ovs.appctl("dpctl/flush-conntrack", &[]);
        ovs.load(&set.flows.join("\n"), &set.group_text());
        let mut switch = set.switch();
        let mut told = Vec::new();
        for number in 0..PACKETS {
            let frame = packet(&mut random).build();
            let port = 1 + random.below(PORTS as usize) as u32;
            let received = ofctl::sim::Packet::new(OfPort(port), frame.clone());
            let verdict = switch.receive_packet(received, start.elapsed()).verdict;
            if let Some(error) = &verdict.error {
                differences.push(format!("seed {seed} round {round} packet {number}: {error}\n{verdict}"));
                break;
            }
            let real = verdict.outputs.iter().filter(|output| (1..=PORTS).contains(&output.port.0));
            let mut wanted: Vec<_> = real.map(|output| (output.port.0, output.frame.clone())).collect();
            ovs.receive(port, &frame);
            ovs.appctl("version", &[]);
            let mut sent = ovs.sent(wanted.len());
            wanted.sort();
            sent.sort();
            told.push(format!("{port} {}\n{verdict}", ovs::hex(&frame)));
            if sent != wanted && sent.iter().chain(&wanted).any(|(_, frame)| talks_to_itself(frame)) {
                alone += 1;
                break;
            }
            if sent != wanted {
                let show = |frames: &[(u32, Vec<u8>)]| -> String {
                    frames.iter().map(|(port, frame)| format!("\n  {port}: {}", ovs::hex(frame))).collect()
                };
                let trace = ovs.appctl("dpctl/dump-conntrack", &[]);
                differences.push(format!(
                    "seed {seed} round {round} packet {number}: frames sent:{}\nsimulated:{}\n{}\n{trace}\n{}",
                    show(&sent),
                    show(&wanted),
                    told.join("\n----\n"),
                    set.flows.join("\n"),
                ));
                // What comes after would differ too.
                break;
            }
            packets += 1;
            frames += sent.len();
            if number + 1 == PACKETS {
                let (theirs, ours) = (dumped(&ovs), simulated(&switch));
                let only = |a: &[(String, u64)], b: &[(String, u64)]| -> String {
                    a.iter().filter(|flow| !b.contains(flow)).map(|flow| format!("\n  {flow:?}")).collect()
                };
                if theirs != ours {
                    differences.push(format!(
                        "seed {seed} round {round}: flows there:{}\nhere:{}",
                        only(&theirs, &ours),
                        only(&ours, &theirs)
                    ));
                }
            }
        }
    }
    eprintln!(
        "{packets} packets of {rounds} flow sets agree, with {frames} frames; {alone} sets ended at an address that \
         talks to itself"
    );
    assert!(alone * 10 <= rounds, "{alone} sets ended too early: too little was compared");
    let shown = setting("SLUICE_SIM_SHOW", 1) as usize;
    let first: String = differences.iter().take(shown).map(|text| format!("\n======== {text}")).collect();
    assert!(differences.is_empty(), "{} differ; the first:{first}", differences.len());
    assert!(frames > packets / 4, "only {frames} frames of {packets} packets");
}

#[test]
fn meters_drop_as_in_open_vswitch() {
    let Some(mut ovs) = live() else { return };
    let text = "meter=1,pktps,burst,stats,bands=type=drop,rate=1,burst_size=5";
    ovs.ofctl("add-meter", Some(text)).unwrap();
    let flow = "priority=1,in_port=1 actions=meter:1,output:2";
    ovs.load(flow, "");
    let bands = [MeterBand { kind: BandKind::Drop, rate: 1, burst_size: 5 }];
    let flags = MeterFlags::PKTPS | MeterFlags::BURST | MeterFlags::STATS;
    let mut switch = Switch::new()
        .with_ports((1..=PORTS).map(OfPort))
        .with_meter(MeterId(1), flags, bands)
        .unwrap()
        .with_flows([flow.parse::<FlowEntry>().unwrap()])
        .unwrap();
    let frame =
        Frame::between(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])).payload(&[0; 46]).build();
    let (start, mut ours, mut theirs) = (Instant::now(), 0, 0);
    for _ in 0..12 {
        ours += switch.receive(OfPort(1), &frame, start.elapsed()).0.len();
        ovs.receive(1, &frame);
        ovs.appctl("version", &[]);
        theirs += ovs.sent(0).len();
    }
    // A token comes a second; both clocks run while the packets do.
    let late = start.elapsed().as_secs() as usize + 1;
    eprintln!("of 12 packets {theirs} passed there and {ours} here");
    assert!(ours >= 5 && ours.abs_diff(theirs) <= late, "{theirs} there, {ours} here");
    assert!(theirs < 12, "nothing was dropped");
}
