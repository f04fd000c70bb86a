//! Messages for people, in the words of `ovs-ofctl ofp-print`.

use std::fmt::{self, Write as _};
use std::time::Duration;

use ofctl::flow::{FlowFlags, FlowStats};
use ofctl::text::DEFAULT_PRIORITY;
use ofctl::wire::{
    AggregateStats, BundleControlType, BundleFlags, FlowMod, FlowModCommand, FlowRemoved, FlowRemovedReason,
    FlowStatsRequest, FragmentMode, GroupModCommand, Instructions, Message, MultipartBody, MultipartRequest,
    OfPort, PacketIn, PortDescription, PortReason, SwitchDescription, TableId, TableStats, Xid,
};

use super::group;

/// Seconds as ovs-ofctl writes them.
fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 if duration.subsec_nanos() == 0 => format!("{}s", duration.as_secs()),
        millis => format!("{}.{millis:03}s", duration.as_secs()),
    }
}

/// A flow and its counters, as `ovs-ofctl dump-flows` prints them.
pub(crate) struct WithStats<'a>(pub(crate) &'a FlowStats);

impl fmt::Display for WithStats<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FlowStats { entry, duration, packets, bytes } = self.0;
        write!(
            out,
            "cookie={}, duration={}, table={}, n_packets={packets}, n_bytes={bytes}, ",
            cookie(entry.cookie.0),
            seconds(*duration),
            entry.table
        )?;
        for (name, value) in [("idle_timeout", entry.idle_timeout), ("hard_timeout", entry.hard_timeout)] {
            if value != 0 {
                write!(out, "{name}={value}, ")?;
            }
        }
        for (flag, name) in flag_names() {
            if entry.flags.contains(flag) {
                write!(out, "{name} ")?;
            }
        }
        let has_priority = entry.priority != DEFAULT_PRIORITY;
        if has_priority {
            write!(out, "priority={}", entry.priority)?;
        }
        if !entry.matching.is_empty() {
            write!(out, "{}{}", if has_priority { "," } else { "" }, entry.matching)?;
        }
        if has_priority || !entry.matching.is_empty() {
            out.write_str(" ")?;
        }
        write!(out, "actions={}", entry.instructions)
    }
}

fn cookie(cookie: u64) -> String {
    format!("{cookie:#x}")
}

/// Hexadecimal as C's `%#x` writes it: zero has no prefix.
fn c_hex(number: u32) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:#x}") }
}

pub(crate) fn fragment_mode(mode: FragmentMode) -> &'static str {
    match mode {
        FragmentMode::Normal => "normal",
        FragmentMode::Drop => "drop",
        FragmentMode::Reassemble => "reassemble",
        FragmentMode::NxMatch => "nx-match",
    }
}

const CAPABILITIES: [(u32, &str); 7] = [
    (1 << 0, "FLOW_STATS"),
    (1 << 1, "TABLE_STATS"),
    (1 << 2, "PORT_STATS"),
    (1 << 3, "GROUP_STATS"),
    (1 << 5, "IP_REASM"),
    (1 << 6, "QUEUE_STATS"),
    (1 << 8, "PORT_BLOCKED"),
];

const PORT_CONFIG: [(u32, &str); 4] =
    [(1 << 0, "PORT_DOWN"), (1 << 2, "NO_RECV"), (1 << 5, "NO_FWD"), (1 << 6, "NO_PACKET_IN")];

const PORT_STATE: [(u32, &str); 3] = [(1 << 0, "LINK_DOWN"), (1 << 1, "BLOCKED"), (1 << 2, "LIVE")];

const PORT_FEATURES: [(u32, &str); 16] = [
    (1 << 0, "10MB-HD"),
    (1 << 1, "10MB-FD"),
    (1 << 2, "100MB-HD"),
    (1 << 3, "100MB-FD"),
    (1 << 4, "1GB-HD"),
    (1 << 5, "1GB-FD"),
    (1 << 6, "10GB-FD"),
    (1 << 7, "40GB-FD"),
    (1 << 8, "100GB-FD"),
    (1 << 9, "1TB-FD"),
    (1 << 10, "OTHER"),
    (1 << 11, "COPPER"),
    (1 << 12, "FIBER"),
    (1 << 13, "AUTO_NEG"),
    (1 << 14, "AUTO_PAUSE"),
    (1 << 15, "AUTO_PAUSE_ASYM"),
];

/// The names of the bits that are set, and a number for those without a name; `0` for none.
fn bits(value: u32, names: &[(u32, &str)]) -> String {
    let mut words: Vec<String> =
        names.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let known = names.iter().fold(0, |all, (bit, _)| all | bit);
    if value & !known != 0 {
        words.push(format!("{:#x}", value & !known));
    }
    if words.is_empty() { "0".to_owned() } else { words.join(" ") }
}

/// A port, as `ovs-ofctl show` prints it: lines that each end with a line feed.
pub(crate) fn port(port: &PortDescription) -> String {
    let mut out = format!(
        " {}({}): addr:{}\n     config:     {}\n     state:      {}\n",
        port.port,
        port.name,
        port.address,
        bits(port.config, &PORT_CONFIG),
        bits(port.state, &PORT_STATE)
    );
    for (name, value) in [
        ("current:   ", port.current),
        ("advertised:", port.advertised),
        ("supported: ", port.supported),
        ("peer:      ", port.peer),
    ] {
        if value != 0 {
            let _ = writeln!(out, "     {name} {}", bits(value, &PORT_FEATURES));
        }
    }
    let _ = writeln!(
        out,
        "     speed: {} Mbps now, {} Mbps max",
        port.current_speed / 1000,
        port.max_speed / 1000
    );
    out
}

pub(crate) fn description(desc: &SwitchDescription) -> String {
    let SwitchDescription { manufacturer, hardware, software, serial, datapath } = desc;
    format!(
        "Manufacturer: {manufacturer}\nHardware: {hardware}\nSoftware: {software}\nSerial Num: {serial}\nDP Description: {datapath}\n"
    )
}

pub(crate) fn aggregate(stats: &AggregateStats) -> String {
    format!("packet_count={} byte_count={} flow_count={}", stats.packets, stats.bytes, stats.flows)
}

/// Tables, those that are like the one before in one line.
pub(crate) fn tables(tables: &[TableStats]) -> String {
    let same =
        |a: &TableStats, b: &TableStats| (a.active, a.lookups, a.matched) == (b.active, b.lookups, b.matched);
    let mut out = String::new();
    let mut rest = tables;
    let mut previous: Option<&TableStats> = None;
    while let Some(first) = rest.first() {
        let run = match previous {
            Some(previous) => rest.iter().take_while(|table| same(previous, table)).count(),
            None => 0,
        };
        if let Some(last) = run.checked_sub(1).and_then(|last| rest.get(last)) {
            let _ = match run {
                1 => writeln!(out, "  table {}: ditto", first.table),
                _ => writeln!(out, "  tables {}...{}: ditto", first.table, last.table),
            };
            rest = &rest[run..];
            continue;
        }
        let _ = writeln!(
            out,
            "  table {}:\n    active={}, lookup={}, matched={}\n",
            first.table, first.active, first.lookups, first.matched
        );
        previous = Some(first);
        rest = &rest[1..];
    }
    out
}

fn flow_mod(flow: &FlowMod) -> String {
    let command = match flow.command {
        FlowModCommand::Add => "ADD",
        FlowModCommand::Modify => "MOD",
        FlowModCommand::ModifyStrict => "MOD_STRICT",
        FlowModCommand::Delete => "DEL",
        FlowModCommand::DeleteStrict => "DEL_STRICT",
    };
    let mut out = command.to_owned();
    if flow.table != TableId(0) {
        let _ = write!(out, " table:{}", flow.table);
    }
    out.push(' ');
    if flow.priority != DEFAULT_PRIORITY {
        let _ = write!(out, "priority={}{}", flow.priority, if flow.matching.is_empty() { " " } else { "," });
    }
    if !flow.matching.is_empty() {
        let _ = write!(out, "{} ", flow.matching);
    }
    if flow.cookie_mask != 0 {
        let _ = write!(out, "cookie:{}/{:#x} ", cookie(flow.cookie.0), flow.cookie_mask);
    } else if flow.cookie.0 != 0 {
        let _ = write!(out, "cookie:{} ", cookie(flow.cookie.0));
    }
    for (name, value) in [("idle", flow.idle_timeout), ("hard", flow.hard_timeout)] {
        if value != 0 {
            let _ = write!(out, "{name}:{value} ");
        }
    }
    if flow.buffer_id != ofctl::wire::NO_BUFFER {
        let _ = write!(out, "buf:{:#x} ", flow.buffer_id);
    }
    if flow.out_port != OfPort::ANY {
        let _ = write!(out, "out_port:{} ", flow.out_port);
    }
    if flow.out_group != ofctl::wire::GroupId::ANY {
        let _ = write!(out, "out_group:{} ", flow.out_group);
    }
    for (flag, name) in flag_names() {
        if flow.flags.contains(flag) {
            let _ = write!(out, "{name} ");
        }
    }
    let _ = write!(out, "actions={}", flow.instructions);
    out
}

/// Flags by their names in flow text.
pub(crate) fn flag_names() -> [(FlowFlags, &'static str); 5] {
    [
        (FlowFlags::SEND_FLOW_REM, "send_flow_rem"),
        (FlowFlags::CHECK_OVERLAP, "check_overlap"),
        (FlowFlags::RESET_COUNTS, "reset_counts"),
        (FlowFlags::NO_PKT_COUNTS, "no_packet_counts"),
        (FlowFlags::NO_BYT_COUNTS, "no_byte_counts"),
    ]
}

fn request(request: &FlowStatsRequest) -> String {
    let mut words = Vec::new();
    if request.table != TableId::ALL {
        words.push(format!("table={}", request.table));
    }
    if request.out_port != OfPort::ANY {
        words.push(format!("out_port={}", request.out_port));
    }
    if !request.matching.is_empty() {
        words.push(request.matching.to_string());
    }
    words.join(" ")
}

fn bundle_flags(flags: BundleFlags) -> String {
    bits(flags.0.into(), &[(1, "atomic"), (2, "ordered")])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn packet_in_reason(reason: u8) -> String {
    match reason {
        0 => "no_match".to_owned(),
        1 => "action".to_owned(),
        2 => "invalid_ttl".to_owned(),
        other => other.to_string(),
    }
}

fn packet_in(packet: &PacketIn) -> String {
    let mut out = String::new();
    if packet.table != TableId(0) {
        let _ = write!(out, "table_id={} ", packet.table);
    }
    let _ = write!(out, "cookie={} total_len={} ", cookie(packet.cookie.0), packet.total_len);
    if !packet.matching.is_empty() {
        let _ = write!(out, "{} ", packet.matching);
    }
    let _ = write!(out, "(via {}) data_len={}", packet_in_reason(packet.reason), packet.data.len());
    if packet.buffer_id == ofctl::wire::NO_BUFFER {
        out.push_str(" (unbuffered)");
    } else {
        let _ = write!(out, " buffer={:#010x}", packet.buffer_id);
    }
    let _ = write!(out, "\n{}", hex(&packet.data));
    out
}

fn flow_removed(removed: &FlowRemoved) -> String {
    let reason = match removed.reason {
        FlowRemovedReason::IdleTimeout => "idle".to_owned(),
        FlowRemovedReason::HardTimeout => "hard".to_owned(),
        FlowRemovedReason::Delete => "delete".to_owned(),
        FlowRemovedReason::GroupDelete => "group_delete".to_owned(),
        FlowRemovedReason::Other(other) => other.to_string(),
    };
    let mut out = String::new();
    if removed.key.priority != DEFAULT_PRIORITY {
        let _ = write!(
            out,
            "priority={}{}",
            removed.key.priority,
            if removed.key.matching.is_empty() { "" } else { "," }
        );
    }
    let _ = write!(out, "{} reason={reason}", removed.key.matching);
    if removed.key.table != TableId(0) {
        let _ = write!(out, " table_id={}", removed.key.table);
    }
    if removed.cookie.0 != 0 {
        let _ = write!(out, " cookie:{}", cookie(removed.cookie.0));
    }
    let _ = write!(out, " duration{} ", seconds(removed.duration));
    if removed.idle_timeout != 0 {
        let _ = write!(out, "idle{} ", removed.idle_timeout);
    }
    if removed.hard_timeout != 0 {
        let _ = write!(out, "hard{} ", removed.hard_timeout);
    }
    let _ = write!(out, "pkts{} bytes{}", removed.packets, removed.bytes);
    out
}

/// A message's name, and what follows the transaction number.
fn parts(message: &Message) -> (String, String) {
    let (name, body): (&str, String) = match message {
        Message::Hello(hello) => {
            let versions: Vec<String> = match hello.bitmap {
                Some(bitmap) => {
                    (0..32).filter(|bit| bitmap & 1 << bit != 0).map(|bit| format!("0x{bit:02x}")).collect()
                }
                None => vec![format!("0x{:02x} or lower", hello.version)],
            };
            ("OFPT_HELLO", format!("\n version bitmap: {}", versions.join(", ")))
        }
        Message::Error(error) => ("OFPT_ERROR", format!(" {}\n{}", error.error, hex(&error.data))),
        Message::EchoRequest(data) => ("OFPT_ECHO_REQUEST", format!(" {} bytes of payload", data.len())),
        Message::EchoReply(data) => ("OFPT_ECHO_REPLY", format!(" {} bytes of payload", data.len())),
        Message::FeaturesRequest => ("OFPT_FEATURES_REQUEST", String::new()),
        Message::FeaturesReply(features) => (
            "OFPT_FEATURES_REPLY",
            format!(
                " dpid:{:016x}\nn_tables:{}, n_buffers:{}{}\ncapabilities: {}",
                features.datapath_id,
                features.n_tables,
                features.n_buffers,
                match features.auxiliary_id {
                    0 => String::new(),
                    id => format!(", auxiliary_id:{id}"),
                },
                bits(features.capabilities, &CAPABILITIES)
            ),
        ),
        Message::GetConfigRequest => ("OFPT_GET_CONFIG_REQUEST", String::new()),
        Message::GetConfigReply(config) | Message::SetConfig(config) => (
            if matches!(message, Message::SetConfig(_)) {
                "OFPT_SET_CONFIG"
            } else {
                "OFPT_GET_CONFIG_REPLY"
            },
            format!(" frags={} miss_send_len={}", fragment_mode(config.fragments), config.miss_send_len),
        ),
        Message::PacketIn(packet) => ("OFPT_PACKET_IN", format!(" {}", packet_in(packet))),
        Message::FlowRemoved(removed) => ("OFPT_FLOW_REMOVED", format!(" {}", flow_removed(removed))),
        Message::PortStatus(status) => {
            let reason = match status.reason {
                PortReason::Add => "ADD",
                PortReason::Delete => "DEL",
                PortReason::Modify => "MOD",
            };
            ("OFPT_PORT_STATUS", format!(" {reason}:{}", port(&status.port).trim_end()))
        }
        Message::PacketOut(packet) => {
            let actions = Instructions { apply: packet.actions.clone(), ..Instructions::default() };
            let mut body = format!(" in_port={} actions={actions}", packet.in_port);
            let _ = match packet.buffer_id {
                ofctl::wire::NO_BUFFER => {
                    write!(body, " data_len={}\n{}", packet.data.len(), hex(&packet.data))
                }
                buffer => write!(body, " buffer={buffer:#010x}"),
            };
            ("OFPT_PACKET_OUT", body)
        }
        Message::FlowMod(flow) => ("OFPT_FLOW_MOD", format!(" {}", flow_mod(flow))),
        Message::GroupMod(change) => {
            let command = match change.command {
                GroupModCommand::Add => "ADD",
                GroupModCommand::Modify => "MOD",
                GroupModCommand::Delete => "DEL",
            };
            (
                "OFPT_GROUP_MOD",
                format!("\n {command} {}", group::text(change.group, change.kind, &change.buckets)),
            )
        }
        Message::MultipartRequest(asked) => match asked {
            MultipartRequest::Description => ("OFPST_DESC request", String::new()),
            MultipartRequest::Flow(flows) => ("OFPST_FLOW request", format!(" {}", request(flows))),
            MultipartRequest::Aggregate(flows) => ("OFPST_AGGREGATE request", format!(" {}", request(flows))),
            MultipartRequest::Table => ("OFPST_TABLE request", String::new()),
            MultipartRequest::PortDescription => ("OFPST_PORT_DESC request", String::new()),
            other => ("multipart request", format!(" {other:?}")),
        },
        Message::MultipartReply(reply) => {
            let more = if reply.more { " flags=[more]" } else { "" };
            let (name, body) = match &reply.body {
                MultipartBody::Description(desc) => {
                    ("OFPST_DESC reply", format!("\n{}", description(desc).trim_end()))
                }
                MultipartBody::Flow(flows) => (
                    "OFPST_FLOW reply",
                    flows.iter().fold(String::new(), |all, flow| format!("{all}\n {}", WithStats(flow))),
                ),
                MultipartBody::Aggregate(stats) => {
                    ("OFPST_AGGREGATE reply", format!(" {}", aggregate(stats)))
                }
                MultipartBody::Table(all) => ("OFPST_TABLE reply", format!("\n{}", tables(all).trim_end())),
                MultipartBody::PortDescription(ports) => (
                    "OFPST_PORT_DESC reply",
                    format!("\n{}", ports.iter().map(port).collect::<String>().trim_end()),
                ),
                other => ("multipart reply", format!(" {other:?}")),
            };
            (name, format!("{more}{body}"))
        }
        Message::BarrierRequest => ("OFPT_BARRIER_REQUEST", String::new()),
        Message::BarrierReply => ("OFPT_BARRIER_REPLY", String::new()),
        Message::BundleControl(control) => {
            let kind = match control.kind {
                BundleControlType::OpenRequest => "OPEN_REQUEST",
                BundleControlType::OpenReply => "OPEN_REPLY",
                BundleControlType::CloseRequest => "CLOSE_REQUEST",
                BundleControlType::CloseReply => "CLOSE_REPLY",
                BundleControlType::CommitRequest => "COMMIT_REQUEST",
                BundleControlType::CommitReply => "COMMIT_REPLY",
                BundleControlType::DiscardRequest => "DISCARD_REQUEST",
                BundleControlType::DiscardReply => "DISCARD_REPLY",
            };
            let flags = bundle_flags(control.flags);
            (
                "ONFT_BUNDLE_CONTROL",
                format!("\n bundle_id={} type={kind} flags={flags}", c_hex(control.bundle.0)),
            )
        }
        Message::BundleAdd(add) => (
            "ONFT_BUNDLE_ADD_MESSAGE",
            format!(
                "\n bundle_id={} flags={}\n{}",
                c_hex(add.bundle.0),
                bundle_flags(add.flags),
                lines(Xid(0), &add.message)
            ),
        ),
        other => return ("message".to_owned(), format!(" {other:?}")),
    };
    (name.to_owned(), body)
}

/// A message as ovs-ofctl prints it, of several lines if it prints several.
pub(crate) fn lines(xid: Xid, message: &Message) -> String {
    let (name, body) = parts(message);
    format!("{name} (OF1.3) (xid={xid}):{body}")
}

/// The same in one line.
pub(crate) fn one(xid: Xid, message: &Message) -> String {
    join(&lines(xid, message))
}

/// What a message is, in one line without its number.
pub(crate) fn one_line(message: &Message) -> String {
    let (name, body) = parts(message);
    join(&format!("{name}{body}"))
}

fn join(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
