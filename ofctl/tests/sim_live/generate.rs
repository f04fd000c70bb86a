//! Random flows, groups and packets from a seed, out of few values, so that they meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::packet::Frame;
use ofctl::sim::{Switch, Tunnel};
use ofctl::text::{GroupCommand, GroupText};
use ofctl::wire::{
    Action, BundleAlgorithm, BundleOutput, ControllerAction, Cookie, Field, FieldValue, GroupId, HashFields,
    Instructions, Learn, LearnFlags, LearnSpec, MaskedField, Match, MeterId, Multipath, MultipathAlgorithm,
    OfPort, SubField, TableId,
};

use crate::ovs::{PORTS, TUNNEL_PORT};

/// SplitMix64: good enough, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

pub(crate) const TABLES: u8 = 6;
pub(crate) const GROUPS: u32 = 4;
/// A meter that lets everything pass.
pub(crate) const METER: MeterId = MeterId(1);

/// Fields that flows match and change.
const FIELDS: &[Field] = {
    use Field::*;
    &[
        InPort,
        EthSrc,
        EthDst,
        EthType,
        VlanVid,
        VlanPcp,
        VlanTci,
        Ipv4Src,
        Ipv4Dst,
        Ipv6Src,
        Ipv6Dst,
        Ipv6Label,
        IpFrag,
        IpDscp,
        IpEcn,
        IpTtl,
        IpProto,
        TcpSrc,
        TcpDst,
        TcpFlags,
        MplsLabel,
        MplsTc,
        MplsTtl,
        UdpSrc,
        UdpDst,
        SctpSrc,
        SctpDst,
        Icmpv4Type,
        Icmpv4Code,
        Icmpv6Type,
        Icmpv6Code,
        NdTarget,
        NdReserved,
        NdOptionsType,
        NdSll,
        NdTll,
        ArpOp,
        ArpSpa,
        ArpTpa,
        ArpSha,
        ArpTha,
        TunnelId,
        TunSrc,
        TunDst,
        Reg0,
        Reg1,
        Reg2,
        Reg15,
        XReg0,
        XReg1,
        XxReg0,
        XxReg3,
        Metadata,
        PktMark,
        IpTos,
        InPort16,
    ]
};

fn mac(random: &mut Random) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, random.below(4) as u8])
}

fn ipv4(random: &mut Random) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, random.below(2) as u8, random.below(3) as u8 + 1)
}

fn ipv6(random: &mut Random) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, random.below(2) as u16, random.below(3) as u16 + 1)
}

fn port(random: &mut Random) -> u16 {
    random.pick(&[80, 443, 8080, 0, 53])
}

/// A value that packets are likely to have.
fn value(random: &mut Random, field: Field) -> FieldValue {
    use Field::*;
    match field {
        InPort => (random.below(PORTS as usize + 1) as u32).into(),
        InPort16 => (random.below(PORTS as usize + 1) as u16).into(),
        EthSrc | EthDst | NdSll | NdTll | ArpSha | ArpTha => mac(random).into(),
        EthType => random.pick(&[0x0800u16, 0x86dd, 0x0806, 0x88b5, 0x8847]).into(),
        MplsLabel => random.pick(&[0u32, 2, 16]).into(),
        MplsTc => random.pick(&[0u8, 3]).into(),
        MplsTtl => random.pick(&[1u8, 2, 64]).into(),
        VlanVid => random.pick(&[0u16, 0x1005, 0x1006]).into(),
        VlanTci => random.pick(&[0u16, 0x1005, 0x3006]).into(),
        Ipv4Src | Ipv4Dst | ArpSpa | ArpTpa => ipv4(random).into(),
        TunSrc | TunDst => Ipv4Addr::new(172, 31, 0, random.below(3) as u8).into(),
        Ipv6Src | Ipv6Dst | NdTarget => ipv6(random).into(),
        IpFrag => random.pick(&[0u8, 1, 3]).into(),
        IpTtl => random.pick(&[0u8, 1, 2, 64]).into(),
        IpTos => random.pick(&[0u8, 0xb8]).into(),
        IpDscp => random.pick(&[0u8, 0x2e]).into(),
        IpEcn => random.pick(&[0u8, 1, 3]).into(),
        IpProto => random.pick(&[1u8, 6, 17, 58, 132, 2]).into(),
        TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc | SctpDst => port(random).into(),
        TcpFlags => random.pick(&[0x02u16, 0x10, 0x12]).into(),
        Icmpv4Type => random.pick(&[0u8, 8, 3]).into(),
        Icmpv6Type => random.pick(&[128u8, 129, 135, 136]).into(),
        Icmpv4Code | Icmpv6Code => random.pick(&[0u8, 0, 1]).into(),
        NdReserved => random.pick(&[0u32, 0x6000_0000, 0xe000_0000]).into(),
        NdOptionsType => random.pick(&[0u8, 1, 2]).into(),
        ArpOp => random.pick(&[1u8, 2]).into(),
        TunnelId | Metadata => (random.below(4) as u64).into(),
        VlanPcp => random.pick(&[0u8, 1, 3]).into(),
        Ipv6Label => random.pick(&[0u32, 0x12345]).into(),
        _ => (random.below(4) as u32).into(),
    }
}

fn mask(random: &mut Random, field: Field) -> FieldValue {
    use Field::*;
    let exact = field.exact_mask();
    if !field.spec().maskable || !random.chance(25) {
        return exact;
    }
    match field {
        // What text can name; and the presence bit belongs to the identifier.
        IpFrag => exact,
        VlanVid => random.pick(&[0x1000u16, 0x1fff]).into(),
        VlanTci => random.pick(&[0x1000u16, 0x1fff]).into(),
        TcpFlags => random.pick(&[0x02u16, 0x12, 0x3f]).into(),
        _ => exact & FieldValue::from(u128::MAX << random.below(4)),
    }
}

/// Conditions that make others possible.
fn base(random: &mut Random) -> Match {
    let all = Match::new();
    let ip = |matching: Match, version: u16| matching.with(Field::EthType, version);
    let v4 = random.chance(50);
    let any_ip = if v4 { 0x0800 } else { 0x86dd };
    let protocol = |number: u8, version| ip(Match::new(), version).with(Field::IpProto, number);
    let neighbour =
        |kind: u8| protocol(58, 0x86dd).with(Field::Icmpv6Type, kind).with(Field::Icmpv6Code, 0u8);
    let matching = match random.below(12) {
        0 | 1 => all,
        2 => ip(all, 0x0806),
        3 if random.chance(40) => ip(all, 0x8847),
        3 => ip(all, 0x0800),
        4 => ip(all, 0x86dd),
        5 => protocol(6, any_ip),
        6 => protocol(17, any_ip),
        7 => protocol(132, any_ip),
        8 => protocol(1, 0x0800),
        9 => protocol(58, 0x86dd),
        10 => neighbour(135),
        _ => neighbour(136),
    };
    match random.below(6) {
        0 => matching.masked(Field::VlanVid, 0x1000u16, 0x1000u16),
        1 => matching.with(Field::VlanVid, 0x1005u16),
        _ => matching,
    }
}

fn accepted(entry: FlowEntry) -> bool {
    Switch::new().with_flows([entry]).is_ok()
}

/// Draws until a switch would take it.
fn entry_with(random: &mut Random, matching: &Match, draw: impl Fn(&mut Random) -> Action) -> Action {
    loop {
        let action = draw(random);
        let flow = FlowEntry::new(TableId(0), 1).matching(matching.clone()).apply([action.clone()]);
        if accepted(flow) {
            return action;
        }
    }
}

fn part(random: &mut Random, limit: u16) -> SubField {
    let field = random.pick(FIELDS);
    let wide = field.bits_wide().min(limit);
    if random.chance(60) && field.bits_wide() <= limit {
        return field.whole();
    }
    let n_bits = random.below(usize::from(wide)) as u16 + 1;
    let start = random.below(usize::from(field.bits_wide() - n_bits) + 1) as u16;
    SubField { field, start, n_bits }
}

/// What an action reads. Open vSwitch 3.1 matches and writes the type of a neighbour option, but reads it as zero: `move`
/// and `push` of an option that a flow has just found to be of type 2 come to 0.
fn source(random: &mut Random) -> SubField {
    loop {
        let part = part(random, 128);
        if part.field != Field::NdOptionsType {
            return part;
        }
    }
}

fn write(random: &mut Random) -> Action {
    match random.below(3) {
        0 => {
            let field = random.pick(FIELDS);
            Action::SetField(field, value(random, field))
        }
        1 => {
            let dst = part(random, 64);
            let likely = value(random, dst.field).to_u128() >> dst.start;
            let ones = if dst.n_bits == 64 { u64::MAX } else { (1 << dst.n_bits) - 1 };
            Action::RegLoad { dst, value: likely as u64 & ones }
        }
        _ => {
            let (src, mut dst) = (source(random), part(random, 128));
            let n_bits = src.n_bits.min(dst.n_bits);
            dst.n_bits = n_bits;
            Action::RegMove { src: SubField { n_bits, ..src }, dst }
        }
    }
}

fn output(random: &mut Random) -> Action {
    match random.below(14) {
        12 => Action::Output(random.pick(&[OfPort::FLOOD, OfPort::ALL])),
        13 => Action::Output(OfPort::NORMAL),
        0 => Action::Output(OfPort::IN_PORT),
        1 => Action::Controller { max_len: 128 },
        2 => Action::Output(OfPort(TUNNEL_PORT)),
        3 => Action::Output(OfPort(9)),
        _ => Action::Output(OfPort(random.below(PORTS as usize) as u32 + 1)),
    }
}

fn hash_fields(random: &mut Random) -> HashFields {
    random.pick(&HashFields::ALL)
}

fn register(random: &mut Random) -> Field {
    random.pick(&[Field::Reg0, Field::Reg1, Field::Reg2, Field::Reg15])
}

fn learn(random: &mut Random) -> Action {
    let table = TableId(1 + random.below(usize::from(TABLES)) as u8);
    let mut learn = Learn::new(table);
    learn.priority = 20 + random.below(3) as u16;
    learn.cookie = Cookie(100 + random.below(2) as u64);
    learn.idle_timeout = random.pick(&[0, 300]);
    learn.hard_timeout = random.pick(&[0, 300]);
    // Only one of the two has a clock that runs: nothing may time out.
    learn.fin_idle_timeout = random.pick(&[0, 0, 270]);
    if random.chance(20) {
        learn.limit = 1 + random.below(3) as u32;
    }
    if random.chance(20) {
        learn.result_dst = Some(register(random).bits(3..4));
    }
    if random.chance(15) {
        learn.flags = LearnFlags::DELETE_LEARNED;
    }
    if random.chance(15) {
        learn.flags = LearnFlags(learn.flags.0 | LearnFlags::SEND_FLOW_REM.0);
    }
    for _ in 0..1 + random.below(2) {
        learn.specs.push(match random.below(5) {
            0 => LearnSpec::MatchField { src: Field::EthSrc.whole(), dst: Field::EthDst.whole() },
            1 => LearnSpec::MatchField { src: Field::Reg0.bits(0..4), dst: Field::Reg1.bits(2..6) },
            2 => LearnSpec::MatchField { src: Field::VlanTci.bits(0..12), dst: Field::VlanTci.bits(0..12) },
            3 => LearnSpec::MatchValue { value: mac(random).into(), dst: Field::EthSrc.whole() },
            _ => LearnSpec::MatchField { src: Field::EthType.whole(), dst: Field::EthType.whole() },
        });
    }
    for _ in 0..1 + random.below(2) {
        learn.specs.push(match random.below(4) {
            0 => LearnSpec::LoadField { src: Field::InPort16.whole(), dst: Field::Reg2.bits(0..16) },
            1 => LearnSpec::LoadValue { value: 5u8.into(), dst: Field::Reg1.bits(4..8) },
            2 => LearnSpec::LoadField { src: Field::EthSrc.whole(), dst: Field::EthDst.whole() },
            _ => LearnSpec::Output(Field::InPort16.whole()),
        });
    }
    Action::Learn(Box::new(learn))
}

/// Actions that came later than the others; what they do depends on the packet alone.
fn further(random: &mut Random, table: u8) -> Action {
    match random.below(13) {
        0 => Action::Clone((0..1 + random.below(3)).map(|_| action(random, table)).collect()),
        1 if random.chance(40) => Action::Exit,
        1 | 2 => {
            let max_link = random.below(9) as u16;
            Action::Multipath(Box::new(Multipath {
                fields: hash_fields(random),
                basis: random.below(50) as u16,
                algorithm: random.pick(&MultipathAlgorithm::ALL),
                max_link,
                argument: random.pick(&[0, 1, 10, 16]),
                dst: register(random).bits(0..8),
            }))
        }
        3 | 4 => Action::Bundle(Box::new(BundleOutput {
            fields: hash_fields(random),
            basis: random.below(50) as u16,
            algorithm: random.pick(&BundleAlgorithm::ALL),
            dst: if random.chance(50) { Some(register(random).bits(0..16)) } else { None },
            members: (0..1 + random.below(4)).map(|_| random.below(6) as u16 + 1).collect(),
        })),
        5 => Action::OutputTrunc {
            port: random.below(PORTS as usize) as u16 + 1,
            max_len: random.pick(&[14, 20, 60, 1000]),
        },
        6 => Action::note(b"note"),
        7 | 8 => {
            let field = random.pick(FIELDS);
            let mask = field.exact_mask() & FieldValue::from(u128::MAX << random.below(5));
            let value = value(random, field) & mask;
            if mask == field.exact_mask() || mask.is_zero() {
                return Action::SetField(field, value);
            }
            Action::SetMasked(Box::new(MaskedField { field, value, mask }))
        }
        9 => Action::ControllerWith(Box::new(ControllerAction {
            max_len: 100,
            id: random.below(2) as u16,
            reason: random.pick(&[0, 1, 2]),
            ..ControllerAction::default()
        })),
        10 if random.chance(70) => match random.below(4) {
            0 => Action::PushMpls(random.pick(&[0x8847, 0x8848])),
            1 => Action::PopMpls(random.pick(&[0x0800, 0x86dd, 0x8847])),
            2 => Action::DecMplsTtl,
            _ => Action::SetMplsTtl(random.pick(&[1, 2, 7])),
        },
        10 => Action::FinTimeout { idle: 250, hard: 260 },
        11 => Action::DecTtlIds(Box::new([1, 2])),
        _ => learn(random),
    }
}

fn action(random: &mut Random, table: u8) -> Action {
    if random.chance(25) {
        return further(random, table);
    }
    match random.below(20) {
        0..=4 => output(random),
        5..=10 => write(random),
        11 => Action::PushVlan(random.pick(&[0x8100, 0x88a8])),
        12 => Action::PopVlan,
        13 => Action::DecTtl,
        14 => {
            // Now and then to an earlier table, so that limits are met too.
            let table =
                if random.chance(4) { table } else { (table + 1 + random.below(2) as u8).min(TABLES) };
            Action::ResubmitTable { table: TableId(table) }
        }
        15 => Action::ResubmitPort { port: random.below(5) as u16, table: TableId((table + 1).min(TABLES)) },
        16 => Action::OutputReg(random.pick(&[
            Field::Reg0.whole(),
            Field::Reg1.bits(0..2),
            Field::Reg2.whole(),
        ])),
        17 => Action::StackPush(source(random)),
        18 => Action::StackPop(part(random, 128)),
        _ => Action::Group(GroupId(random.below(GROUPS as usize) as u32 + 1)),
    }
}

/// A match that a switch takes.
fn matching(random: &mut Random) -> Match {
    loop {
        let mut matching = base(random);
        for _ in 0..random.below(3) {
            let field = random.pick(FIELDS);
            let wider = matching.clone().masked(field, value(random, field), mask(random, field));
            let flow = FlowEntry::new(TableId(0), 1).matching(wider.clone());
            if accepted(flow) && field != Field::EthType && field != Field::IpProto {
                matching = wider;
            }
        }
        if accepted(FlowEntry::new(TableId(0), 1).matching(matching.clone())) {
            return matching;
        }
    }
}

/// Flows and groups, these as text that both sides read.
pub(crate) struct Scenario {
    pub(crate) flows: Vec<FlowEntry>,
    pub(crate) groups: Vec<String>,
}

impl Scenario {
    pub(crate) fn draw(random: &mut Random) -> Scenario {
        let mut flows = Vec::new();
        for table in 0..=TABLES {
            for priority in 1..=14 {
                flows.push(flow(random, table, priority));
            }
        }
        if random.chance(60) {
            let table = random.below(usize::from(TABLES) + 1) as u8;
            conjunction(random, table, &mut flows);
        }
        let groups = (1..=GROUPS).map(|id| format!("group_id={id},{}", group(random))).collect();
        Scenario { flows, groups }
    }

    pub(crate) fn flow_text(&self) -> String {
        self.flows.iter().map(|flow| format!("{flow}\n")).collect()
    }

    pub(crate) fn group_text(&self) -> String {
        self.groups.iter().map(|group| format!("{group}\n")).collect()
    }

    pub(crate) fn switch(&self) -> Switch {
        with_groups(Switch::new(), &self.groups).with_flows(self.flows.iter().cloned()).unwrap()
    }
}

/// The switch with these groups.
pub(crate) fn with_groups(mut switch: Switch, groups: &[String]) -> Switch {
    for text in groups {
        let group = GroupText::parse(text, Some(GroupCommand::Add)).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(switch.change_group(&group.into()), [], "{text}");
    }
    switch
}

/// A way to choose a bucket that does not need the datapath, whose hash a trace does not know.
fn selection(random: &mut Random) -> String {
    const HASHED: [&str; 12] = [
        "eth_src",
        "eth_dst",
        "eth_type",
        "vlan_vid",
        "ip_src",
        "ip_dst=255.255.255.2",
        "nw_proto",
        "tcp_src",
        "tcp_dst",
        "udp_dst=0x00ff",
        "ipv6_src",
        "ipv6_dst",
    ];
    let mut fields: Vec<&str> = (0..1 + random.below(4)).map(|_| random.pick(&HASHED)).collect();
    fields.sort_unstable();
    fields.dedup();
    let basis = random.pick(&[0, 1, 0x1_2345_6789u64]);
    format!(",selection_method=hash,selection_method_param={basis},fields({})", fields.join(","))
}

fn group(random: &mut Random) -> String {
    let kind = random.pick(&["all", "indirect", "select", "ff"]);
    let mut text = format!("type={kind}");
    // Without a method, weights so different that no table of hash values could hold them.
    let is_hashed = kind == "select" && random.chance(70);
    if is_hashed {
        text += &selection(random);
    }
    let buckets = if kind == "indirect" { 1 } else { 1 + random.below(3) };
    for place in 0..buckets {
        text += ",bucket=";
        match kind {
            "select" if is_hashed => text += &format!("weight:{},", random.pick(&[1, 1, 2, 50])),
            "select" => text += &format!("weight:{},", if place == 0 { 1 } else { 1000 + place }),
            "ff" => text += &format!("watch_port:{},", random.pick(&[1, 2, 3, 9])),
            _ => {}
        }
        let write = |random: &mut Random| match is_hashed {
            // Later versions refuse some loads.
            true => Action::SetField(register(random), (random.below(4) as u32).into()),
            false => write_to_registers(random),
        };
        let mut apply: Vec<Action> = (0..random.below(3)).map(|_| write(random)).collect();
        apply.push(match random.below(4) {
            0 => Action::ResubmitTable { table: TableId(TABLES) },
            _ => output(random),
        });
        text += &format!("actions={}", Instructions { apply, ..Instructions::default() });
    }
    // One bucket alone can always be held by a table of hash values.
    if kind == "select" && !is_hashed && buckets == 1 {
        text += ",bucket=weight:2000,actions=output:2";
    }
    text
}

/// Two clauses of two or three choices each, the flow that they make, and perhaps a plain flow of one of their
/// matches.
fn conjunction(random: &mut Random, table: u8, flows: &mut Vec<FlowEntry>) {
    let priority = 15 + random.below(2) as u16;
    let flow = |priority: u16| FlowEntry::new(TableId(table), priority).cookie(Cookie(77));
    for id in 1..=2 {
        for (clause, field) in [(0, Field::EthSrc), (1, Field::EthDst)] {
            for _ in 0..2 {
                let matching = Match::new().with(field, value(random, field));
                let part = Action::Conjunction { id, clause, n_clauses: 2 };
                let same = |known: &&mut FlowEntry| {
                    known.table == TableId(table) && known.priority == priority && known.matching == matching
                };
                match flows.iter_mut().find(same) {
                    Some(known) if !known.instructions.apply.contains(&part) => {
                        known.instructions.apply.push(part)
                    }
                    Some(_) => {}
                    None => flows.push(flow(priority).matching(matching).apply([part])),
                }
            }
        }
        let found = Match::new().with(Field::ConjId, id);
        flows.push(flow(random.pick(&[3, 17])).matching(found).apply([output(random)]));
    }
    if random.chance(50) {
        let matching = Match::new().with(Field::EthSrc, value(random, Field::EthSrc));
        flows.push(flow(14).matching(matching).apply([output(random)]));
    }
}

fn write_to_registers(random: &mut Random) -> Action {
    loop {
        let action = write(random);
        let flow = FlowEntry::new(TableId(0), 1).apply([action.clone()]);
        if accepted(flow) {
            return action;
        }
    }
}

fn flow(random: &mut Random, table: u8, priority: u16) -> FlowEntry {
    loop {
        let matching = matching(random);
        let mut flow = FlowEntry::new(TableId(table), priority).cookie(Cookie(random.below(9) as u64));
        let count = random.below(5);
        let apply: Vec<_> =
            (0..count).map(|_| entry_with(random, &matching, |random| action(random, table))).collect();
        flow = flow.matching(matching.clone()).apply(apply);
        if random.chance(20) {
            for _ in 0..1 + random.below(3) {
                let later = TableId((table + 1).min(TABLES));
                let draw = |random: &mut Random| match random.below(10) {
                    0..=4 => output(random),
                    5 => Action::Group(GroupId(random.below(GROUPS as usize) as u32 + 1)),
                    6 if table < TABLES => Action::ResubmitTable { table: later },
                    _ => write(random),
                };
                let action = entry_with(random, &matching, draw);
                flow.instructions.write.push(action);
            }
        }
        flow.instructions.clear = random.chance(5);
        if random.chance(8) {
            flow.instructions.meter = Some(METER.0);
        }
        if random.chance(20) {
            flow = flow.write_metadata(random.below(4) as u64, random.pick(&[u64::MAX, 1, 3]));
        }
        if table < TABLES && random.chance(60) {
            flow = flow.goto(TableId(table + 1 + random.below(usize::from(TABLES - table)) as u8));
        }
        if accepted(flow.clone()) {
            return flow;
        }
    }
}

/// A flow that a switch may well refuse for its actions. Its match is right: ovs-ofctl drops what it finds wrong
/// in one, and the switch does not see it.
pub(crate) fn doubtful_flow(random: &mut Random) -> FlowEntry {
    let matching = matching(random);
    let actions: Vec<_> = (0..1 + random.below(2)).map(|_| action(random, 0)).collect();
    FlowEntry::new(TableId(0), 1).matching(matching).apply(actions)
}

/// A frame of any kind that the builders make.
pub(crate) fn frame(random: &mut Random) -> Vec<u8> {
    let (src, dst) = (mac(random), mac(random));
    let mut frame = Frame::between(src, dst);
    let (from, to): (IpAddr, IpAddr) = match random.chance(50) {
        true => (ipv4(random).into(), ipv4(random).into()),
        false => (ipv6(random).into(), ipv6(random).into()),
    };
    let kind = random.below(10);
    match kind {
        0 => {
            let operation = random.pick(&[1, 2]);
            frame = Frame::arp(src, dst, operation, (src, ipv4(random)), (mac(random), ipv4(random)));
        }
        1 => frame = Frame::neighbour_solicitation(src, ipv6(random), ipv6(random)),
        2 => {
            let flags = random.pick(&[0, 0x60, 0xe0]);
            frame =
                Frame::neighbour_advertisement((src, ipv6(random)), (dst, ipv6(random)), flags, ipv6(random));
        }
        3 => {
            let option = random.pick(&[None, Some((1, src)), Some((2, src)), Some((14, src))]);
            let addresses = (ipv6(random), ipv6(random));
            let kind = random.pick(&[135, 136]);
            frame = Frame::discovery(src, dst, addresses, kind, 0, ipv6(random), option);
        }
        4 if random.chance(60) => {
            // Labels above IPv4, and above nothing that is known.
            let inner =
                Frame::between(src, dst).ip(ipv4(random).into(), ipv4(random).into()).udp(1, 80).build();
            let mut labels = Vec::new();
            let count = random.below(4) + 1;
            for i in 1..=count {
                let (label, ttl) = (random.pick(&[0u32, 2, 16]), random.pick(&[1u32, 2, 64]));
                labels.extend_from_slice(&(label << 12 | u32::from(i == count) << 8 | ttl).to_be_bytes());
            }
            labels.extend_from_slice(&inner[14..]);
            frame = frame.eth_type(0x8847).payload(&labels);
        }
        4 => frame = frame.payload(b"something else"),
        _ => {
            frame = frame.ip(from, to).ttl(random.pick(&[0, 1, 2, 64])).tos(random.pick(&[0, 0xb8, 3]));
            if from.is_ipv6() {
                frame = frame.label(random.pick(&[0, 0x12345]));
            }
            let (tp_src, tp_dst) = (port(random), port(random));
            frame = match random.below(7) {
                0 | 1 => frame.tcp_flags(tp_src, tp_dst, random.pick(&[0x02, 0x10, 0x12])),
                2 | 3 => frame.udp(tp_src, tp_dst),
                4 => frame.sctp(tp_src, tp_dst),
                5 => frame.echo_request(7, 8),
                _ if from.is_ipv4() => frame.udp_without_checksum(tp_src, tp_dst),
                _ => frame.protocol(2),
            };
            frame = frame.payload(&b"0123456789abcdef"[..random.below(4) * 4]);
            if random.chance(8) {
                frame = frame.fragment(random.pick(&[0, 0, 100]), true);
            }
        }
    }
    if random.chance(30) {
        frame = frame.tag(0x8100, random.pick(&[5, 6, 0x2005]));
        if random.chance(15) {
            frame = frame.tag(0x8100, 7);
        }
    }
    frame.build()
}

/// An outer header that a packet may come with.
pub(crate) fn tunnel(random: &mut Random) -> Tunnel {
    let address = |last: usize| Ipv4Addr::new(172, 31, 0, last as u8).into();
    Tunnel { id: random.below(4) as u64, src: address(random.below(2) + 1), dst: address(1) }
}
