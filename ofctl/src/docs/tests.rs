//! What the page of what is implemented says is held against what is there.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::flow::FlowEntry;
use crate::ovsdb::Operation;
use crate::packet::Frame;
use crate::sim::{Packet, RunError, Switch};
use crate::wire::{
    Action, AsyncConfig, BundleAdd, BundleControl, BundleControlType, BundleFlags, BundleId, Field,
    FieldValue, FlowMod, FlowModCommand, FlowStatsRequest, FragmentMode, GroupId, GroupMod, GroupModCommand,
    GroupType, Hello, Match, Message, MeterFlags, MeterId, MeterMod, MeterModCommand, MultipartRequest,
    NiciraMessage, OfPort, OnfMessage, PacketIn2, PacketInFormat, PacketOut, PortMod, Prerequisite, QueueId,
    Role, RoleRequest, SwitchConfig, TableId, TableMod, TlvTableCommand, TlvTableMod, Xid,
};

const PAGE: &str = include_str!("implemented.md");

/// The rows of the table below a heading, cell by cell.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let after =
        PAGE.split_once(&format!("# {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}")).1;
    let section = after.split("\n# ").next().unwrap_or(after);
    let table = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let rows: Vec<Vec<&str>> =
        table.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "no table under {heading}");
    rows
}

/// A cell's first text in code font, or the cell.
fn code(cell: &'static str) -> &'static str {
    cell.strip_prefix('`').and_then(|rest| rest.split('`').next()).unwrap_or(cell)
}

/// The names in the first column must be these, each once.
fn compare(heading: &str, wanted: &[&str]) {
    let listed: Vec<&str> = rows(heading).iter().map(|row| code(row[0])).collect();
    let (set, wanted): (BTreeSet<&str>, BTreeSet<&str>) =
        (listed.iter().copied().collect(), wanted.iter().copied().collect());
    assert_eq!(set.len(), listed.len(), "{heading}: a row stands there twice");
    let missing: Vec<_> = wanted.difference(&set).collect();
    let strange: Vec<_> = set.difference(&wanted).collect();
    assert!(missing.is_empty(), "implemented.md, {heading}: rows are missing: {missing:?}");
    assert!(strange.is_empty(), "implemented.md, {heading}: there is nothing of these names: {strange:?}");
}

/// The names of an enum's variants, and of one value's. A new variant does not compile until it is here, and then the
/// page lacks it.
macro_rules! variants {
    ($all:ident, $one:ident, $kind:ident: $($variant:ident)*) => {
        const $all: &[&str] = &[$(stringify!($variant)),*];
        fn $one(value: &$kind) -> &'static str {
            match value {
                $($kind::$variant { .. } => stringify!($variant),)*
            }
        }
    };
}

variants! { ACTIONS, action_name, Action:
    Output OutputWith Controller SetField RegLoad RegMove PushVlan PopVlan ResubmitTable ResubmitPort OutputReg Group
    DecTtl StackPush StackPop Note OutputTrunc ControllerWith SetMasked SetQueue PopQueue PushMpls PopMpls SetMplsTtl
    DecMplsTtl SetNwTtl DecTtlIds DecNshTtl ResubmitCt Ct CtClear Nat Learn Conjunction Multipath Bundle Sample
    FinTimeout Exit Encap Decap CheckPktLarger DeleteField Clone Unknown
}

variants! { MESSAGES, message_name, Message:
    Hello Error EchoRequest EchoReply FeaturesRequest FeaturesReply GetConfigRequest GetConfigReply SetConfig PacketIn
    FlowRemoved PortStatus PacketOut FlowMod GroupMod MultipartRequest MultipartReply BarrierRequest BarrierReply
    PortMod TableMod MeterMod QueueGetConfigRequest QueueGetConfigReply RoleRequest RoleReply GetAsyncRequest
    GetAsyncReply SetAsync Nicira Onf BundleControl BundleAdd Experimenter Unknown
}

variants! { MULTIPARTS, multipart_name, MultipartRequest:
    Description Flow Aggregate Table PortDescription PortStats Queue GroupStats GroupDescription GroupFeatures
    MeterStats MeterConfig MeterFeatures TableFeatures FlowMonitor IpfixBridge IpfixFlow Experimenter Unknown
}

variants! { NICIRA, nicira_name, NiciraMessage:
    RoleRequest RoleReply FlowRemoved FlowModTableId PacketIn FlowAge SetAsyncConfig SetAsyncConfig2
    SetPacketInFormat SetControllerId TlvTableMod TlvTableRequest TlvTableReply CtFlushZone CtFlush PacketIn2 Resume
}

variants! { ONF, onf_name, OnfMessage:
    FlowMonitorCancel FlowMonitorPaused FlowMonitorResumed RoleStatus RequestForward
}

variants! { OPERATIONS, operation_name, Operation:
    Insert Select Update Mutate Delete Wait Commit Abort Comment Assert
}

/// The actions of a flow, and those within them.
fn actions(flow: &FlowEntry) -> Vec<&Action> {
    let mut all: Vec<&Action> = flow.instructions.apply.iter().chain(&flow.instructions.write).collect();
    let mut next = 0;
    while next < all.len() {
        match all[next] {
            Action::Ct(ct) => all.extend(&ct.actions),
            Action::Clone(inner) => all.extend(inner),
            _ => {}
        }
        next += 1;
    }
    all
}

/// An action that has no text of its own.
fn wordless(name: &str) -> Action {
    match name {
        "OutputWith" => Action::OutputWith { port: OfPort(1), max_len: 100 },
        _ => Action::Unknown([0xff, 0xff, 0, 16, 0, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0].into()),
    }
}

/// A packet that the flow matches, with zeros behind its headers.
fn packet(flow: &FlowEntry) -> Packet {
    let eth_type = flow.matching.get(Field::EthType).map_or(0, |condition| condition.value.to_u64() as u16);
    match eth_type {
        0x8847 | 0x894f => {
            let [src, dst] = [1, 2].map(|last| crate::MacAddr([2, 0, 0, 0, 0, last]));
            let frame = Frame::between(src, dst).eth_type(eth_type).payload(&[0; 64]);
            Packet::new(OfPort(1), frame.build())
        }
        _ => Packet::compose(&flow.matching.clone().with(Field::InPort, OfPort(1))).expect("a packet"),
    }
}

#[test]
fn every_action_is_listed_and_does_what_its_row_says() {
    compare("Actions", ACTIONS);
    let mut wrong = Vec::new();
    for row in rows("Actions") {
        let [name, text, simulated] = row[..] else { panic!("three cells: {row:?}") };
        let (name, text) = (code(name), code(text));
        let flow: FlowEntry = match name {
            "OutputWith" | "Unknown" => FlowEntry::new(TableId(0), 1).apply([wordless(name)]),
            _ => text.parse().unwrap_or_else(|error| panic!("{text}: {error}")),
        };
        if !actions(&flow).iter().any(|action| action_name(action) == name) {
            wrong.push(format!("{name}: {text} has {:?}", flow.instructions));
        }
        // Text and codec, both ways.
        if text != "–" {
            assert_eq!(flow.to_string().parse().as_ref(), Ok(&flow), "{text}");
        }
        let mut bytes = Vec::new();
        let message = Message::FlowMod(FlowMod::add(flow.clone()));
        message.encode(Xid(1), &mut bytes).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(Message::decode(&bytes), Ok((Xid(1), message)), "{text}");
        let ports = (1..=4).map(OfPort);
        let packet = packet(&flow);
        let switch = Switch::new().with_ports(ports).with_flows([flow]);
        let verdict = switch.map(|switch| switch.run_packet(packet));
        let is_simulated = match &verdict {
            Ok(verdict) => !matches!(verdict.error, Some(RunError::Unsupported { .. })),
            Err(_) => false,
        };
        if (simulated == "yes") != is_simulated {
            let said = verdict.map_or_else(|refused| refused.to_string(), |verdict| verdict.to_string());
            wrong.push(format!("{name}: {text} in the simulator: {is_simulated}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the simulator says to something that it does not know.
const REFUSALS: [&str; 5] =
    ["OFPBRC_BAD_TYPE", "OFPBRC_BAD_SUBTYPE", "OFPBRC_BAD_VENDOR", "OFPBRC_BAD_MULTIPART", "OFPBRC_BAD_STAT"];

fn is_known(message: Message) -> bool {
    let answers = Switch::new().with_ports([OfPort(1)]).handle(message);
    !answers.iter().any(|answer| match answer {
        Message::Error(error) => error.error.name().is_some_and(|name| REFUSALS.contains(&name)),
        _ => false,
    })
}

/// The rows of what a controller says: the simulator knows it, or not, as its sample shows. Those named `elsewhere` are
/// tried elsewhere.
fn compare_samples(heading: &str, samples: Vec<(&'static str, Message)>, elsewhere: &[&str]) {
    let mut wrong = Vec::new();
    let mut tried: BTreeSet<&str> = BTreeSet::new();
    let rows = rows(heading);
    for (name, message) in samples {
        tried.insert(name);
        let said = rows.iter().find(|row| code(row[0]) == name).and_then(|row| row.last().copied());
        let knows = is_known(message);
        if said != Some(if knows { "yes" } else { "no" }) {
            wrong.push(format!("{name}: the page says {said:?}, the simulator knows it: {knows}"));
        }
    }
    for row in &rows {
        if matches!(row.last(), Some(&("yes" | "no")))
            && !tried.contains(code(row[0]))
            && !elsewhere.contains(&code(row[0]))
        {
            wrong.push(format!("{}: nothing shows it", row[0]));
        }
    }
    assert!(wrong.is_empty(), "{heading}:\n{}", wrong.join("\n"));
}

#[test]
fn every_message_is_listed() {
    compare("Messages", MESSAGES);
    let bundle = |kind| BundleControl { bundle: BundleId(1), kind, flags: BundleFlags::ORDERED };
    let port = PortMod { port: OfPort(1), address: crate::MacAddr([0; 6]), config: 0, mask: 0, advertise: 0 };
    let meter = MeterMod {
        command: MeterModCommand::Delete,
        flags: MeterFlags::default(),
        meter: MeterId::ALL,
        bands: Vec::new(),
    };
    let hears = AsyncConfig { packet_in: [0; 2], port_status: [0; 2], flow_removed: [0; 2] };
    let samples = vec![
        Message::Hello(Hello::OPENFLOW_13),
        Message::EchoRequest(Vec::new()),
        Message::FeaturesRequest,
        Message::GetConfigRequest,
        Message::SetConfig(SwitchConfig { fragments: FragmentMode::Normal, miss_send_len: 128 }),
        Message::PacketOut(PacketOut::new(OfPort::CONTROLLER, Vec::new(), vec![0; 60])),
        Message::FlowMod(FlowMod::new(FlowModCommand::Delete, TableId::ALL)),
        Message::GroupMod(GroupMod {
            command: GroupModCommand::Delete,
            kind: GroupType::All,
            group: GroupId::ALL,
            buckets: Vec::new(),
        }),
        Message::MultipartRequest(MultipartRequest::Description),
        Message::BarrierRequest,
        Message::PortMod(port),
        Message::TableMod(TableMod { table: TableId(0), config: 0 }),
        Message::MeterMod(meter),
        Message::QueueGetConfigRequest(OfPort::ANY),
        Message::RoleRequest(RoleRequest { role: Role::Equal, generation: 0 }),
        Message::GetAsyncRequest,
        Message::SetAsync(hears),
        Message::BundleControl(bundle(BundleControlType::OpenRequest)),
        Message::BundleAdd(BundleAdd {
            bundle: BundleId(1),
            flags: BundleFlags::ORDERED,
            message: Box::new(Message::BarrierRequest),
        }),
    ];
    compare_samples(
        "Messages",
        samples.into_iter().map(|message| (message_name(&message), message)).collect(),
        &[],
    );
}

#[test]
fn every_multipart_is_listed() {
    compare("Multiparts", MULTIPARTS);
    let flows = FlowStatsRequest::default;
    let samples = [
        MultipartRequest::Description,
        MultipartRequest::Flow(flows()),
        MultipartRequest::Aggregate(flows()),
        MultipartRequest::Table,
        MultipartRequest::PortDescription,
        MultipartRequest::PortStats(OfPort::ANY),
        MultipartRequest::Queue(OfPort::ANY, QueueId::ALL),
        MultipartRequest::GroupStats(GroupId::ALL),
        MultipartRequest::GroupDescription,
        MultipartRequest::GroupFeatures,
        MultipartRequest::MeterStats(MeterId::ALL),
        MultipartRequest::MeterConfig(MeterId::ALL),
        MultipartRequest::MeterFeatures,
        MultipartRequest::TableFeatures(Vec::new()),
    ];
    let samples = samples.map(|request| (multipart_name(&request), Message::MultipartRequest(request)));
    compare_samples("Multiparts", samples.into(), &["FlowMonitor", "IpfixBridge", "IpfixFlow"]);
}

#[test]
fn multiparts_of_experimenters_are_refused() {
    let samples = [
        MultipartRequest::FlowMonitor(Vec::new()),
        MultipartRequest::IpfixBridge,
        MultipartRequest::IpfixFlow,
    ];
    for request in samples {
        assert!(!is_known(Message::MultipartRequest(request)));
    }
}

#[test]
fn every_extension_message_is_listed() {
    let all: Vec<&str> = NICIRA.iter().chain(ONF).copied().collect();
    compare("Extension messages", &all);
    let resumed = PacketIn2 {
        packet: vec![0; 60],
        full_length: None,
        buffer_id: crate::wire::NO_BUFFER,
        table: None,
        cookie: None,
        reason: None,
        metadata: Match::new(),
        userdata: Vec::new(),
        continuation: None,
    };
    let hears = AsyncConfig { packet_in: [0; 2], port_status: [0; 2], flow_removed: [0; 2] };
    let samples = [
        NiciraMessage::RoleRequest(Role::Equal),
        NiciraMessage::FlowModTableId(true),
        NiciraMessage::FlowAge,
        NiciraMessage::SetAsyncConfig(hears),
        NiciraMessage::SetAsyncConfig2(Vec::new()),
        NiciraMessage::SetPacketInFormat(PacketInFormat::Nxt2),
        NiciraMessage::SetControllerId(1),
        NiciraMessage::TlvTableMod(TlvTableMod { command: TlvTableCommand::Clear, maps: Vec::new() }),
        NiciraMessage::TlvTableRequest,
        NiciraMessage::CtFlushZone(1),
        NiciraMessage::CtFlush(Box::default()),
        NiciraMessage::Resume(Box::new(resumed)),
    ];
    let samples = samples.map(|message| (nicira_name(&message), Message::Nicira(message)));
    let cancel = OnfMessage::FlowMonitorCancel(crate::wire::MonitorId(1));
    let cancel = (onf_name(&cancel), Message::Onf(cancel));
    compare_samples("Extension messages", samples.into_iter().chain([cancel]).collect(), &[]);
}

/// `reg0-15`, `tun_metadata0-63`, `a`.
fn names_of(cell: &'static str) -> Vec<String> {
    cell.split(", ")
        .map(code)
        .flat_map(|name| match name.split_once('-') {
            Some((first, last)) => {
                let digits = first.trim_start_matches(|c: char| !c.is_ascii_digit()).len();
                let stem = &first[..first.len() - digits];
                let number =
                    |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{name} is no range"));
                (number(&first[stem.len()..])..=number(last)).map(|n| format!("{stem}{n}")).collect()
            }
            None => vec![name.to_owned()],
        })
        .collect()
}

#[test]
fn every_field_is_listed_and_simulated_as_its_row_says() {
    let mut listed = Vec::new();
    let mut wrong = Vec::new();
    for row in rows("Fields") {
        let [_, fields, simulated] = row[..] else { panic!("three cells: {row:?}") };
        for name in names_of(fields) {
            match Field::from_name(&name).filter(|field| field.name() == name) {
                Some(field) if is_held(field) != (simulated == "yes") => {
                    wrong.push(format!("{name} in the simulator: {}", is_held(field)));
                }
                Some(_) => {}
                None => wrong.push(format!("there is no field {name}")),
            }
            listed.push(name);
        }
    }
    let missing = Field::all().map(Field::name).filter(|name| !listed.iter().any(|listed| listed == name));
    wrong.extend(missing.map(|name| format!("{name} has no row")));
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a field stands there twice");
    assert!(wrong.is_empty(), "implemented.md, Fields:\n{}", wrong.join("\n"));
}

/// True if a packet of some kind has the field: in its bytes what is written there, among the switch's notes all else.
fn is_held(field: Field) -> bool {
    if field.name().starts_with("ct_") {
        return is_tracked(field);
    }
    let is_of_bytes = field.spec().prerequisite != Prerequisite::None
        || matches!(field, Field::EthSrc | Field::EthDst | Field::EthType | Field::VlanVid | Field::VlanTci);
    let of_bytes = |field: Field, packet: &Packet| match is_of_bytes {
        true => Packet::new(OfPort(1), packet.frame()).get(field),
        false => packet.get(field),
    };
    frames().into_iter().map(|frame| Packet::new(OfPort(1), frame)).any(|mut packet| {
        let is_there = !packet.get(field).is_zero();
        let written = field.exact_mask();
        is_there || (packet.set(field, written).is_ok() && !of_bytes(field, &packet).is_zero())
    })
}

/// A frame of each kind that has fields.
fn frames() -> Vec<Vec<u8>> {
    let [src, dst] = [1, 2].map(|last| crate::MacAddr([2, 0, 0, 0, 0, last]));
    let [src4, dst4] = [1, 2].map(|last| Ipv4Addr::new(10, 0, 0, last));
    let [src6, dst6] = [1, 2].map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
    let between = Frame::between(src, dst);
    let (v4, v6) =
        (between.clone().ip(src4.into(), dst4.into()), between.clone().ip(src6.into(), dst6.into()).label(7));
    let other = |eth_type| between.clone().eth_type(eth_type).payload(&[1; 64]).build();
    vec![
        v4.clone().tcp_flags(1, 2, 2).build(),
        v4.clone().fragment(0, true).udp(1, 2).build(),
        v4.clone().sctp(1, 2).build(),
        v4.icmp(8, 1, [0; 4]).build(),
        v6.clone().udp(1, 2).build(),
        v6.icmp(1, 1, [0; 4]).build(),
        Frame::neighbour_solicitation(src, src6, dst6).build(),
        Frame::neighbour_advertisement((src, src6), (dst, dst6), 0xe0, src6).build(),
        Frame::arp_reply((src, src4), (dst, dst4)),
        between.clone().vlan(7).payload(&[0; 46]).build(),
        other(0x8847),
        other(0x894f),
    ]
}

/// True if a packet of a connection has the field after it was tracked: it does not match zero.
fn is_tracked(field: Field) -> bool {
    let packets = [
        "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2",
        "udp6,ipv6_src=fd00::1,ipv6_dst=fd00::2,tp_src=1,tp_dst=2",
    ];
    packets.into_iter().any(|text| {
        let protocol: Match = text.split(',').next().and_then(|name| name.parse().ok()).expect("a protocol");
        let commit = "actions=ct(commit,zone=1,exec(set_field:1->ct_mark,set_field:1->ct_label),table=1)";
        let commit: FlowEntry = format!("{protocol},{commit}").parse().expect("a flow");
        let tracked = protocol.masked(Field::CtState, 0x21u32, 0x21u32);
        let zero = match field {
            Field::CtState => tracked.clone().with(field, 0u32),
            _ => tracked.clone().with(field, FieldValue::default()),
        };
        let zero = FlowEntry::new(TableId(1), 2).matching(zero);
        let tell = [Action::Controller { max_len: 64 }];
        let tell = FlowEntry::new(TableId(1), 1).matching(tracked).apply(tell);
        let Ok(switch) = Switch::new().with_ports([OfPort(1)]).with_flows([commit, zero, tell]) else {
            return false;
        };
        let packet = Packet::compose(&text.parse().expect("a match")).expect("a packet");
        !switch.run_packet(packet).to_controller.is_empty()
    })
}

#[test]
fn every_operation_of_the_database_is_listed() {
    compare("OVSDB operations", OPERATIONS);
    let abort = Operation::Abort {};
    assert_eq!(operation_name(&abort), "Abort");
}

#[test]
fn the_database_methods_that_are_there_are_said() {
    let now = std::time::Instant::now();
    let mut session = crate::ovsdb::Session::new(now, Default::default());
    session.list_databases();
    session.schema("Open_vSwitch");
    let id = session.transact("Open_vSwitch", &Default::default());
    session.cancel(id);
    session.lock("a");
    session.steal("a");
    session.unlock("a");
    session.handle_timeout(session.poll_timeout()).expect("a first probe");
    session.monitor("Open_vSwitch", Vec::new(), crate::ovsdb::Uuid::ZERO);
    // A server that knows no newer method is asked by the older ones.
    let mut said = BTreeSet::new();
    while let Some(request) = session.poll_transmit() {
        let request: serde_json::Value = serde_json::from_slice(&request).expect("a request");
        let method = request["method"].as_str().unwrap_or_default().to_owned();
        if method.starts_with("monitor") {
            let refusal = serde_json::json!({"id": request["id"], "result": null, "error": "unknown method"});
            session.receive(now, refusal.to_string().as_bytes()).expect("an answer");
        }
        said.insert(method);
    }
    let listed = rows("OVSDB methods");
    let there = listed.iter().filter(|row| row[1].starts_with("yes")).map(|row| code(row[0]).to_owned());
    assert_eq!(there.collect::<BTreeSet<_>>(), said);
}

#[test]
fn the_database_notifications_that_are_taken_are_said() {
    use serde_json::json;
    let now = std::time::Instant::now();
    let is_taken = |method: &str| {
        let mut session = crate::ovsdb::Session::new(now, Default::default());
        session.monitor("Open_vSwitch", Vec::new(), crate::ovsdb::Uuid::ZERO);
        session.lock("a");
        let zero = crate::ovsdb::Uuid::ZERO.to_string();
        for answer in [
            json!({"id": 1, "result": [false, zero, {}], "error": null}),
            json!({"id": 2, "result": {"locked": false}, "error": null}),
        ] {
            session.receive(now, answer.to_string().as_bytes()).expect("an answer");
        }
        while session.poll_event().is_some() {}
        let parameters = match method {
            "update" | "update2" => json!([1, {}]),
            "update3" => json!([1, zero, {}]),
            "locked" | "stolen" => json!(["a"]),
            _ => json!([1]),
        };
        let said = json!({"id": null, "method": method, "params": parameters}).to_string();
        session.receive(now, said.as_bytes()).is_err() || session.poll_event().is_some()
    };
    for row in rows("OVSDB notifications") {
        assert!(is_taken(code(row[0])), "{row:?}");
    }
    assert!(!is_taken("tomorrow"));
}

#[test]
fn every_application_is_listed() {
    let modules = include_str!("../kit/apps/mod.rs").lines();
    let modules: Vec<&str> =
        modules.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    assert!(modules.len() > 5, "{modules:?}");
    compare("Applications", &modules);
}
