//! Every decoder and parser of the library on inputs made wrong: nothing panics, nothing takes long, and what is taken
//! is written and read again as the same.
//!
//! `SLUICE_EXECUTIONS` says how many inputs in all (40,000 otherwise), `SLUICE_SEED` which, `SLUICE_SHOWN` how many of a
//! target's failures are shown (3 otherwise). Twenty million, a million for each target, take minutes in a release build:
//!
//! ```sh
//! SLUICE_EXECUTIONS=20000000 cargo test --release -p ofctl --no-default-features --test fuzz -- --nocapture
//! ```
//!
//! Inputs that once broke something stand in `KEPT_MESSAGES` and `KEPT_TEXTS`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ofctl::MacAddr;
use ofctl::acl::parse_rules;
use ofctl::flow::FlowEntry;
use ofctl::ovsdb::schema::{AtomicType, ColumnType};
use ofctl::ovsdb::{self, Schema, Value};
use ofctl::packet::Frame;
use ofctl::packet::lldp::{ChassisId, Lldp, PortId};
use ofctl::scenario::Document;
use ofctl::session::{Config, Session};
use ofctl::sim::{Packet, Switch, verify_checksums};
use ofctl::text::{GroupText, Printed};
use ofctl::wire::borrowed::{FlowModRef, FlowStatsReplyRef, PacketInRef};
use ofctl::wire::versions::{self, Version};
use ofctl::wire::{Action, FlowMod, Instructions, Match, Message, MeterMod, MeterModCommand, OfPort, Xid};
use support::flows::{ACTIONS, of_action, of_field};
use support::mutations;
use support::random::Random;
use support::{hex, seed, setting, unhex};

/// The most that one input may take, in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// What becomes of an input.
type Run = dyn Fn(&[u8]) -> Result<Verdict, String>;

/// A decoder or parser, with inputs that it takes; `Err` says how it contradicts itself.
struct Target {
    name: &'static str,
    corpus: Vec<Vec<u8>>,
    /// Makes an input wrong.
    mutate: fn(&mut Vec<u8>, &[Vec<u8>], &mut Random),
    run: Box<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Refused,
}

use Verdict::{Refused, Taken};

/// Messages that once made a target contradict itself, by the target's name.
const KEPT_MESSAGES: &[(&str, &str)] = &[
    // A port of 32 bits went into the 16 of a NXM match.
    (
        "OpenFlow 1.0",
        "0104004800000001000023200000000ddc6fddacb3ddb0640000000000008000ffffffffffff00000008000000000000\
         800000040001894fffff001000002320002f00000000fffe",
    ),
    // A `ct` of a field that is not known is carried as bytes, but not a masked write within it in 1.3's words.
    (
        "OpenFlow 1.5",
        "062200a8000000010000000100040000060e009800000001aee06d4f13263a4f00000000000000000000000000008000\
         ffffffffffffffffffffffff000000000001000a80000a0208000000000000000004005800000000ffff005000002320\
         0023000100050a04010fff0000000001001900100001d60421bf793000000000001900280001d9200000000000000000\
         000000000001aa00000000000000000000000000001ffe00",
    ),
];

/// Texts that once made a target contradict itself.
const KEPT_TEXTS: &[(&str, &str)] = &[
    // The longest output is only an output as text.
    ("flow text", "actions=enqueue:19971:29427"),
    ("action text", "clone(enqueue:1:2),ct(commit,exec(set_field:1->ct_mark)),enqueue:1:2"),
    // The mask was not shown.
    ("flow text", "tun_gbp_flags=0x80/0x93,actions=drop"),
    // Names that mean another field, or none, without their protocol.
    ("match text", "udp_dst=22701"),
    ("match text", "tcp_src=2178/47491"),
    ("match text", "ip,sctp_dst=5,nw_proto=1"),
    ("match text", "tcp,udp_dst=5"),
    ("match text", "icmp,icmpv6_type=222"),
    ("match text", "icmpv6_code=182"),
    ("match text", "ipv6,icmp_type=1"),
    ("match text", "arp,ip_src=10.0.0.1,ip_dst=10.0.0.0/8,ip_proto=1"),
    // A priority is of a tag.
    ("match text", "vlan_tci=0x100/0x1000,vlan_pcp=0"),
    ("match text", "vlan_tci=0x1000/0000,vlan_pcp=0"),
    ("match text", "vlan_tci=0x1000/0x100,vlan_pcp=0"),
    ("match text", "vlan_pcp=2,vlan_vid=0"),
    // The third argument was not shown.
    ("action text", "resubmit(21875,,ct)"),
    // Bytes of zero in front were not shown.
    ("action text", "encap(nsh(md_type=2,tlv(0x1000,66,0x012345678)))"),
    ("action text", "encap(nsh(md_type=2,tlv(0x1000,66,0x00)))"),
    ("action text", "encap(nsh(md_type=2,tlv(0x1000,66,0x)))"),
    // A range of one.
    ("action text", "ct(commit,nat(src=10.0.0.1-10.0.0.9:11-11,random))"),
    ("action text", "ct(commit,nat(dst=10.0.0.1-10.0.0.1))"),
    // Bits that no flag has; ovs-ofctl refuses them.
    ("action text", "set_field:0x2d->tun_flags"),
    ("action text", "set_field:0x22/0x72->tun_flags"),
];

/// A message wrong in a few places, its length right more often than not.
fn wrong_message(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let keep_length = random.below(8) == 0;
    let length = [bytes[2], bytes[3]];
    for _ in 0..=random.below(3) {
        mutations::mutate(bytes, corpus, random);
    }
    mutations::frame(bytes);
    if keep_length {
        bytes[2..4].copy_from_slice(&length);
    }
}

/// Bytes wrong anywhere.
fn wrong_bytes(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 if at < bytes.len() => {
                let n = (1 + random.below(8) as usize).min(bytes.len() - at);
                bytes.drain(at..at + n);
            }
            4 => bytes.insert(at, random.next() as u8),
            _ => splice(bytes, at, corpus, random),
        }
    }
}

fn splice(bytes: &mut Vec<u8>, at: usize, corpus: &[Vec<u8>], random: &mut Random) {
    let other = &corpus[random.below(corpus.len() as u64) as usize];
    let from = random.below(other.len() as u64 + 1) as usize;
    let to = (from + 1 + random.below(16) as usize).min(other.len());
    bytes.splice(at..at, other[from..to].iter().copied());
}

/// Text wrong anywhere: signs that mean something, numbers that are too large, pieces of other texts.
fn wrong_text(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    const SIGNS: &[&str] = &[
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        "=",
        ":",
        "/",
        "->",
        "..",
        "-",
        "+",
        "\"",
        "\\",
        " ",
        "\n",
        "0x",
        "0",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "65536",
        "-1",
        "1e999",
        "é",
        "\u{0}",
        "fe80::1",
        "/33",
        "[]",
        "null",
        "actions=",
        "learn(",
        "ct(",
        "clone(",
        "nat(",
        "->reg0",
    ];
    for _ in 0..=random.below(2) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(5) {
            0 => bytes.splice(at..at, random.pick(SIGNS).bytes()).for_each(drop),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => {
                let n = (1 + random.below(6) as usize).min(bytes.len() - at);
                bytes.drain(at..at + n);
            }
            3 => splice(bytes, at, corpus, random),
            _ => bytes.insert(at, b'0' + random.below(10) as u8),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What has a text.
trait Textual: std::str::FromStr + ToString + PartialEq {
    /// The same as far as text tells it.
    fn told(self) -> Self {
        self
    }
}

impl Textual for Match {}

impl Textual for FlowEntry {
    fn told(self) -> Self {
        FlowEntry { instructions: self.instructions.told(), ..self }
    }
}

impl Textual for Instructions {
    /// Two things that mean nothing are not shown, as by Open vSwitch: how much of a packet an output may send, which is
    /// for a controller's port and which `enqueue` says; and the end of a range that ends where it begins.
    fn told(mut self) -> Self {
        fn tell(actions: &mut [Action]) {
            for action in actions {
                match action {
                    Action::OutputWith { port, .. } => *action = Action::Output(*port),
                    Action::Clone(nested) => tell(nested),
                    Action::Ct(ct) => tell(&mut ct.actions),
                    Action::Nat(nat) => {
                        if let Some(range) = &mut nat.range {
                            range.last = range.last.filter(|last| *last != range.first);
                            let ports = |(first, last): (u16, Option<u16>)| {
                                (first, last.filter(|last| *last != first))
                            };
                            range.ports = range.ports.map(ports);
                        }
                    }
                    _ => {}
                }
            }
        }
        tell(&mut self.apply);
        tell(&mut self.write);
        self
    }
}

/// What is read of a text is shown as a text that reads as the same.
fn parsed<T: Textual>(bytes: &[u8]) -> Result<Verdict, String> {
    let text = text(bytes);
    let Ok(value) = text.parse::<T>() else { return Ok(Refused) };
    let shown = value.to_string();
    let Ok(again) = shown.parse::<T>() else {
        return Err(format!("shown as {shown:?}, which does not read"));
    };
    // As Open vSwitch has it, a load of a whole NSH context is shown as the set_field that does the same.
    let is_nsh_context = shown.contains("->nsh_c") && again.to_string() == shown;
    if is_nsh_context || again.told() == value.told() {
        Ok(Taken)
    } else {
        Err(format!("shown as {shown:?}, which reads otherwise"))
    }
}

fn decoded(bytes: &[u8]) -> Result<Verdict, String> {
    let Ok((xid, message)) = Message::decode(bytes) else { return Ok(Refused) };
    let mut again = Vec::new();
    message.encode(xid, &mut again).map_err(|error| error.to_string())?;
    if Message::decode(&again).as_ref() != Ok(&(xid, message.clone())) {
        return Err(format!("written as {}, which reads otherwise", hex(&again)));
    }
    let _ = Printed(xid, &message).to_string();
    Ok(Taken)
}

fn decoded_in_any_version(bytes: &[u8]) -> Result<Verdict, String> {
    let Ok((version, xid, message)) = versions::Message::decode(bytes) else { return Ok(Refused) };
    let mut again = Vec::new();
    // What is carried as it came can be longer in a version than where it came from.
    if message.encode(version, xid, &mut again).is_err() {
        return Ok(Taken);
    }
    let (.., second) =
        versions::Message::decode(&again).map_err(|error| format!("{error}: {}", hex(&again)))?;
    let mut third = Vec::new();
    second.encode(version, xid, &mut third).map_err(|error| error.to_string())?;
    if third != again {
        Err(format!("written as {} and then as {}", hex(&again), hex(&third)))
    } else {
        Ok(Taken)
    }
}

fn borrowed(bytes: &[u8]) -> Result<Verdict, String> {
    let owned = Message::decode(bytes);
    let flow = FlowModRef::decode(bytes).map(|(_, view)| Message::FlowMod(view.to_flow_mod()));
    let packet = PacketInRef::decode(bytes).map(|(_, view)| Message::PacketIn(view.to_packet_in()));
    let _ = FlowStatsReplyRef::decode(bytes)
        .map(|(_, view)| view.into_iter().for_each(|one| drop(one.to_flow_stats())));
    for viewed in [flow, packet].into_iter().flatten() {
        if owned.as_ref().map(|(_, message)| message) != Ok(&viewed) {
            return Err(format!("the view has {viewed:?}, and owned it is {owned:?}"));
        }
    }
    Ok(if owned.is_ok() { Taken } else { Refused })
}

/// A session of each side takes the bytes in pieces.
fn in_session(bytes: &[u8]) -> Result<Verdict, String> {
    let now = Instant::now();
    let mut session = Session::new(Config::default(), now);
    session.receive(&[4, 0, 0, 8, 0, 0, 0, 0], now).map_err(|error| error.to_string())?;
    let verdict = bytes.chunks(7).try_for_each(|piece| session.receive(piece, now));
    while session.poll_event().is_some() {}
    Ok(if verdict.is_ok() { Taken } else { Refused })
}

fn in_ovsdb_session(bytes: &[u8]) -> Result<Verdict, String> {
    let now = Instant::now();
    let mut session = ovsdb::Session::new(now, Default::default());
    // Requests of each kind, so that answers are for one.
    let tables = vec![ovsdb::session::MonitorTable::new("Bridge", &["name", "ports"])];
    session.list_databases();
    session.schema("Open_vSwitch");
    session.monitor("Open_vSwitch", tables, ovsdb::Uuid::default());
    session.transact("Open_vSwitch", &ovsdb::Transaction::default());
    let verdict = bytes.chunks(11).try_for_each(|piece| session.receive(now, piece));
    while session.poll_event().is_some() {}
    Ok(if verdict.is_ok() { Taken } else { Refused })
}

fn json_value(bytes: &[u8]) -> Result<Verdict, String> {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(Refused) };
    let shown = serde_json::to_string(&value).map_err(|error| error.to_string())?;
    match serde_json::from_str::<Value>(&shown) {
        Ok(again) if again == value => Ok(Taken),
        other => Err(format!("shown as {shown}, which is {other:?}")),
    }
}

fn column_text(bytes: &[u8]) -> Result<Verdict, String> {
    let columns = [
        ColumnType { key: AtomicType::String, value: Some(AtomicType::String), min: 0, max: None },
        ColumnType { key: AtomicType::Integer, value: None, min: 0, max: Some(3) },
        ColumnType { key: AtomicType::Real, value: None, min: 1, max: Some(1) },
        ColumnType { key: AtomicType::String, value: None, min: 0, max: None },
    ];
    let text = text(bytes);
    let mut verdict = Refused;
    for column in columns {
        let Ok(value) = column.parse(&text) else { continue };
        verdict = Taken;
        let shown = value.to_string();
        if column.parse(&shown).as_ref() != Ok(&value) {
            return Err(format!("shown as {shown:?}, which reads otherwise"));
        }
    }
    Ok(verdict)
}

fn packet(bytes: &[u8]) -> Result<Verdict, String> {
    let _ = Packet::new(OfPort(1), bytes);
    let _ = ofctl::text::frame(bytes).to_string();
    let learns: FlowEntry =
        "actions=dec_ttl,learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]),normal".parse().unwrap();
    let untagged: FlowEntry = "table=1,ip,actions=ct(table=2),output:2".parse().unwrap();
    let switch = Switch::new()
        .with_flows([FlowEntry { instructions: instructions("output:1,resubmit(,1)"), ..learns }, untagged]);
    let _ = switch.map_err(|error| error.to_string())?.run(OfPort(1), None, bytes);
    let lldp = Lldp::decode(bytes).is_ok();
    Ok(if verify_checksums(bytes).is_ok() || lldp { Taken } else { Refused })
}

fn instructions(text: &str) -> Instructions {
    text.parse().unwrap()
}

fn frames() -> Vec<Vec<u8>> {
    let (a, b) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let v4 = |n: u8| std::net::IpAddr::from([10, 0, 0, n]);
    let v6 = |n: u16| std::net::IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]);
    vec![
        Frame::between(a, b).ip(v4(1), v4(2)).tcp(40000, 80).payload(b"GET /").build(),
        Frame::between(a, b).vlan(7).ip(v4(1), v4(2)).udp(53, 5353).build(),
        Frame::between(a, b).tag(0x88a8, 5).vlan(7).ip(v6(1), v6(2)).tcp(1, 2).build(),
        Frame::between(a, b).ip(v4(1), v4(2)).fragment(8, true).udp(1, 2).build(),
        Frame::between(a, b).ip(v4(1), v4(2)).sctp(1, 2).build(),
        Frame::between(a, b).ip(v4(1), v4(2)).echo_request(1, 2).build(),
        Frame::arp_request(a, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
        Frame::neighbour_solicitation(
            a,
            [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
            [0xfd00, 0, 0, 0, 0, 0, 0, 2].into(),
        )
        .build(),
        Lldp::new(ChassisId::datapath(7), PortId::number(3), 120).frame(a).unwrap(),
        Lldp::new(ChassisId::datapath(7), PortId::number(3), 120).encode().unwrap(),
    ]
}

/// Flow-mods, group-mods and bundles of one version.
fn in_version(version: Version, texts: &[String]) -> Vec<Vec<u8>> {
    let entries = texts.iter().filter_map(|text| text.parse::<FlowEntry>().ok());
    let mut all = Vec::new();
    for (place, entry) in entries.enumerate() {
        let flow = versions::FlowMod { flow: FlowMod::add(entry), importance: 0 };
        let flow = versions::Message::FlowMod(flow);
        let message = match place % 3 {
            0 => versions::Message::BundleAdd {
                bundle: ofctl::wire::BundleId(1),
                flags: Default::default(),
                message: Box::new(flow),
            },
            _ => flow,
        };
        let mut bytes = Vec::new();
        if message.encode(version, Xid(1), &mut bytes).is_ok() {
            all.push(bytes);
        }
    }
    let group = "group_id=1,type=select,selection_method=hash,fields(ip_dst),bucket=bucket_id=5,weight:2,actions=output:1";
    let group = GroupText::parse(group, Some(ofctl::text::GroupCommand::Add)).unwrap();
    let mut bytes = Vec::new();
    if versions::Message::GroupMod(group.into()).encode(version, Xid(1), &mut bytes).is_ok() {
        all.push(bytes);
    }
    all
}

fn lines(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn targets(random: &mut Random) -> Vec<Target> {
    let mut flows: Vec<String> = ofctl::wire::Field::all().map(|field| of_field(field, random)).collect();
    flows.extend(ACTIONS.iter().map(|pattern| of_action(pattern, random)));
    let flow_texts: Vec<Vec<u8>> = flows.iter().map(|flow| flow.clone().into_bytes()).collect();
    let part = |after: bool| -> Vec<Vec<u8>> {
        let parts = flows.iter().filter_map(|flow| flow.split_once("actions="));
        parts
            .map(|(matching, actions)| if after { actions } else { matching.trim_end_matches(',') }.into())
            .collect()
    };
    let openflow = mutations::corpus(random);
    let actions: Vec<Vec<u8>> = flows
        .iter()
        .filter_map(|flow| flow.parse::<FlowEntry>().ok())
        .flat_map(|flow| flow.instructions.apply)
        .filter_map(|action| {
            let mut bytes = Vec::new();
            let out = ofctl::wire::PacketOut::new(OfPort::ANY, vec![action], Vec::new());
            Message::PacketOut(out).encode(Xid(0), &mut bytes).ok()?;
            Some(bytes[24..].to_vec())
        })
        .collect();
    let groups = lines(&[
        "group_id=1,type=all,bucket=actions=output:1,bucket=output:2",
        "group_id=0x10,type=select,selection_method=hash,selection_method_param=7,fields(ip_dst,tcp_dst=0xff00),bucket=bucket_id=3,weight:5,output:1",
        "modify group_id=1,type=ff,bucket=watch_port:1,watch_group:2,actions=drop",
        "group_id=5,command_bucket_id=first,bucket=bucket_id:4,actions=set_field:1->reg0",
    ]);
    let meters = lines(&[
        "meter=1,kbps,burst,stats,bands=type=drop,rate=100,burst_size=9",
        "meter=controller,pktps,band=type=dscp_remark,rate=0x10,prec_level=2,type=drop,rate=9",
    ]);
    let rules = lines(&[
        "200 deny tcp from 10.9.0.0/16 to any port 80,443,8000-8999\n100 allow tcp from any to any port 80\n",
        "# six\n1 allow udp from fd00::/8 port 1-1023 to fd01::1\n",
    ]);
    let scenarios = [
        include_bytes!("scenarios/isolated.scenario").to_vec(),
        include_bytes!("scenarios/rewriting.scenario").to_vec(),
        include_bytes!("scenarios/two-switches.scenario").to_vec(),
    ];
    let answers = lines(&[
        r#"{"id":1,"result":["Open_vSwitch"],"error":null}"#,
        r#"{"id":3,"result":[false,"00000000-0000-0000-0000-000000000000",{"Bridge":{"8f6a7b9e-8d3c-4a63-9a3f-0d4f4a1b2c3d":{"initial":{"name":"br0","ports":["set",[["uuid","8f6a7b9e-8d3c-4a63-9a3f-0d4f4a1b2c3d"]]]}}}}],"error":null}"#,
        r#"{"id":null,"method":"update3","params":[3,"8f6a7b9e-8d3c-4a63-9a3f-0d4f4a1b2c3d",{"Bridge":{"8f6a7b9e-8d3c-4a63-9a3f-0d4f4a1b2c3d":{"modify":{"name":"br1"}}}}]}"#,
        r#"{"id":4,"result":[{"uuid":["uuid","8f6a7b9e-8d3c-4a63-9a3f-0d4f4a1b2c3d"]},{"count":1},{"rows":[{"name":"x"}]},null,{"error":"constraint violation","details":"…"}],"error":null}"#,
        r#"{"id":2,"result":null,"error":{"error":"unknown database","details":"no"}}"#,
        r#"{"id":"echo","method":"echo","params":[]}"#,
    ]);
    let values = lines(&[
        r#"["set",[1,2,["uuid","8f6a7b9e-8d3c-4a63-9a3f-0d4f4a1b2c3d"]]]"#,
        r#"["map",[["a","b"],["c",1.5]]]"#,
        r#"["named-uuid","row1"]"#,
        "true",
        "-9223372036854775808",
        "1e300",
        r#""text""#,
    ]);
    let columns = lines(&[
        "remote_ip=flow,key=\"a b\"",
        "{a=b, c=\"d,e\"}",
        "[1, 2, 3]",
        "1.5",
        "\"quoted \\\"text\\\"\"",
        "[]",
        "{}",
    ]);
    let schema = lines(&[include_str!("vectors/hardware_vtep.json")]);
    fn target(
        name: &'static str,
        corpus: Vec<Vec<u8>>,
        mutate: fn(&mut Vec<u8>, &[Vec<u8>], &mut Random),
        run: impl Fn(&[u8]) -> Result<Verdict, String> + 'static,
    ) -> Target {
        Target { name, corpus, mutate, run: Box::new(run) }
    }
    let ok = |right: bool| if right { Taken } else { Refused };
    vec![
        target("OpenFlow 1.3", openflow.clone(), wrong_message, decoded),
        target("OpenFlow 1.3, views", openflow.clone(), wrong_message, borrowed),
        target(
            "OpenFlow 1.0",
            in_version(Version::OpenFlow10, &flows),
            wrong_message,
            decoded_in_any_version,
        ),
        target(
            "OpenFlow 1.4",
            in_version(Version::OpenFlow14, &flows),
            wrong_message,
            decoded_in_any_version,
        ),
        target(
            "OpenFlow 1.5",
            in_version(Version::OpenFlow15, &flows),
            wrong_message,
            decoded_in_any_version,
        ),
        target("OpenFlow session", openflow.clone(), wrong_message, in_session),
        target("a switch's verdict", openflow, wrong_message, move |bytes| {
            let mut switch = Switch::new().with_ports((1..5).map(OfPort));
            Ok(ok(!switch.hear(bytes).iter().any(|(_, answer)| matches!(answer, Message::Error(_)))))
        }),
        target("actions", actions, wrong_bytes, move |bytes| {
            let Ok(action) = Action::from_bytes(bytes) else { return Ok(Refused) };
            let _ = action.to_string();
            Ok(Taken)
        }),
        target("flow text", flow_texts, wrong_text, parsed::<FlowEntry>),
        target("match text", part(false), wrong_text, parsed::<Match>),
        target("action text", part(true), wrong_text, parsed::<Instructions>),
        target("group text", groups, wrong_text, move |bytes| {
            Ok(ok(GroupText::parse(&text(bytes), None).is_ok()))
        }),
        target("meter text", meters, wrong_text, move |bytes| {
            Ok(ok(MeterMod::parse(&text(bytes), MeterModCommand::Add).is_ok()))
        }),
        target("access lists", rules, wrong_text, move |bytes| Ok(ok(parse_rules(&text(bytes)).is_ok()))),
        target("scenarios", scenarios.to_vec(), wrong_text, move |bytes| {
            Ok(ok(text(bytes).parse::<Document>().is_ok()))
        }),
        target("packets", frames(), wrong_bytes, packet),
        target("OVSDB session", answers, wrong_text, in_ovsdb_session),
        target("OVSDB values", values, wrong_text, json_value),
        target("OVSDB column text", columns, wrong_text, column_text),
        target("OVSDB schemas", schema, wrong_text, move |bytes| {
            Ok(ok(serde_json::from_slice::<Schema>(bytes).is_ok()))
        }),
    ]
}

#[test]
fn no_input_breaks_a_decoder_or_parser() {
    let executions = setting("SLUICE_EXECUTIONS").unwrap_or(40_000);
    let shown = setting("SLUICE_SHOWN").unwrap_or(3);
    let mut random = Random::seeded(seed());
    let targets = targets(&mut random);
    let each = executions / targets.len() as u64;
    let start = Instant::now();
    let mut broken = String::new();
    let mut done = 0;
    for Target { name, corpus, mutate, run } in &targets {
        let of_target = |(target, input): &(&str, &'static str)| (target == name).then_some(*input);
        let kept = KEPT_MESSAGES.iter().filter_map(of_target).map(unhex);
        let kept = kept.chain(KEPT_TEXTS.iter().filter_map(of_target).map(|text| text.as_bytes().to_vec()));
        let kept: Vec<Vec<u8>> = kept.collect();
        let (mut taken, mut refused, mut failures) = (0u64, 0u64, 0u64);
        let mut slowest = Duration::ZERO;
        let begun = Instant::now();
        for turn in 0..each + kept.len() as u64 {
            let input = match kept.get(turn as usize) {
                Some(kept) => kept.clone(),
                None => {
                    let mut input = corpus[random.below(corpus.len() as u64) as usize].clone();
                    mutate(&mut input, corpus, &mut random);
                    input
                }
            };
            let before = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&input)));
            slowest = slowest.max(before.elapsed());
            done += 1;
            let problem = match outcome {
                Ok(Ok(Taken)) => {
                    taken += 1;
                    continue;
                }
                Ok(Ok(Refused)) => {
                    refused += 1;
                    continue;
                }
                Ok(Err(problem)) => problem,
                Err(_) => "a panic".to_owned(),
            };
            failures += 1;
            if failures <= shown {
                broken += &format!("\n{name}: {problem}\n  {}\n  {:?}", hex(&input), text(&input));
            }
        }
        println!(
            "{name:22} {taken:8} taken {refused:8} refused {failures:4} broken, in {:.1} s, the slowest in {slowest:?}",
            begun.elapsed().as_secs_f64()
        );
        assert!(slowest < PATIENCE, "{name}: one input took {slowest:?}");
        assert!(refused > 0 && taken > 0, "{name}: {taken} taken and {refused} refused show nothing");
    }
    println!("{done} executions in {:.1} s", start.elapsed().as_secs_f64());
    assert!(broken.is_empty(), "{broken}");
}
