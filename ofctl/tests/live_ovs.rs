//! Against a real Open vSwitch: a netdev bridge in a network namespace of its own, with its own ovsdb-server.
//!
//! Skipped, with the reason printed, where this is not root or Open vSwitch is not installed.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::client::openflow::{ClientError, CloseReason, Connection, Events, Notification, Options};
use ofctl::flow::FlowEntry;
use ofctl::scenario::{PrivateOvs, Setup};
use ofctl::table::difference;
use ofctl::wire::{
    Action, Cookie, Field, FlowMod, FlowModCommand, FlowStatsRequest, FragmentMode, GroupId, GroupMod,
    GroupModCommand, GroupType, Match, Message, OfPort, PacketOut, PortReason, TableId,
};

/// An Open vSwitch with the bridge `br0`; it ends with this, or with the thread that made it.
struct Ovs(PrivateOvs);

fn why_not() -> Option<String> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout != b"0\n" {
        return Some("this is not root".to_owned());
    }
    let tools =
        ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "unshare", "setpriv"];
    tools
        .into_iter()
        .find(|tool| Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_err())
        .map(|tool| format!("{tool} is not installed"))
}

impl Ovs {
    /// `None`, with the reason printed, if it cannot be done here.
    fn start() -> Option<Ovs> {
        if let Some(reason) = why_not() {
            eprintln!("SKIPPED, no live Open vSwitch: {reason}");
            return None;
        }
        let ovs = Ovs(PrivateOvs::start(Setup::default().in_new_network().with_this_thread()).unwrap());
        ovs.vsctl(&["add-br br0 -- set bridge br0 datapath_type=netdev fail_mode=secure"]);
        Some(ovs)
    }

    fn vsctl(&self, arguments: &[&str]) -> String {
        self.0.vsctl(&arguments.join(" ")).unwrap()
    }

    fn ofctl(&self, command: &str, arguments: &[&str]) -> String {
        self.0.ofctl(command, "br0", arguments).unwrap()
    }

    /// What ovs-ofctl shows, sorted.
    fn dumped(&self) -> Vec<String> {
        let text = self.ofctl("dump-flows", &["--no-stats"]);
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    }

    async fn connect(&self) -> (Connection, Events) {
        let target = self.0.target("br0");
        Connection::connect(target, Options::default()).await.unwrap()
    }
}

fn delete_all() -> FlowMod {
    FlowMod::new(FlowModCommand::Delete, TableId::ALL)
}

fn flows(text: &str) -> Vec<FlowEntry> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

async fn dump(connection: &Connection) -> Vec<ofctl::flow::FlowStats> {
    connection.dump_flows(FlowStatsRequest::default()).await.unwrap()
}

#[tokio::test]
async fn what_is_added_is_what_ovs_and_we_see() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    // One at a time, since some of them are the same but for their actions.
    for entry in flows(include_str!("vectors/dumped.flows")) {
        let text = entry.to_string();
        connection.bundle(vec![delete_all(), FlowMod::add(entry.clone())]).await.unwrap();
        assert_eq!(ovs.dumped(), [text]);
        let observed = dump(&connection).await;
        assert_eq!(observed.iter().map(|stats| &stats.entry).collect::<Vec<_>>(), [&entry]);
    }
}

#[tokio::test]
async fn a_whole_pipeline_goes_in_and_comes_back() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    let desired = flows(include_str!("vectors/pipeline.flows"));
    connection.bundle(desired.iter().cloned().map(FlowMod::add).collect()).await.unwrap();
    // The prototype gives some flows twice; the later replaces the earlier.
    let by_key: HashMap<_, _> = desired.iter().map(|flow| (flow.key(), flow.to_string())).collect();
    let mut texts: Vec<String> = by_key.into_values().collect();
    texts.sort();
    assert_eq!(ovs.dumped(), texts);
    let nothing = difference(&desired, &dump(&connection).await);
    assert!(nothing.is_empty(), "{nothing:?}");

    // Strangers and changes made behind our back are found and undone.
    ovs.ofctl("add-flow", &["table=3,priority=9,in_port=77,actions=drop"]);
    let (before, _) = texts[0].split_once("actions=").unwrap();
    ovs.ofctl("add-flow", &[&format!("{before}idle_timeout=7,actions=goto_table:250")]);
    let found = difference(&desired, &dump(&connection).await);
    assert_eq!((found.add.len(), found.modify.len(), found.delete.len()), (0, 1, 1), "{found:?}");
    connection.bundle(found.into_flow_mods().collect()).await.unwrap();
    assert_eq!(ovs.dumped(), texts);
}

#[tokio::test]
async fn a_generation_replaces_another_in_one_bundle() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    let generation = |number: u64, ports: std::ops::Range<u32>| {
        ports.map(move |port| {
            let matching = Match::new().with(Field::InPort, port);
            FlowMod::add(FlowEntry::new(TableId(0), 1).matching(matching).cookie(Cookie(number << 32 | 5)))
        })
    };
    connection.bundle(generation(1, 1..4).collect()).await.unwrap();
    let sweep = FlowMod::delete_by_cookie(Cookie(1 << 32), 0xffff << 32);
    connection.bundle(generation(2, 3..6).chain([sweep]).collect()).await.unwrap();
    assert_eq!(
        ovs.dumped(),
        ["3", "4", "5"].map(|port| format!("cookie=0x200000005, priority=1,in_port={port} actions=drop"))
    );
}

#[tokio::test]
async fn a_refusal_shows_the_flow_and_nothing_is_applied() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    let good = || FlowMod::add(FlowEntry::new(TableId(1), 1));
    let backwards = FlowMod::add(FlowEntry::new(TableId(9), 8).goto(TableId(3)));
    let error = connection.bundle(vec![good(), backwards.clone(), good()]).await.unwrap_err();
    assert!(error.to_string().contains("add table=9, priority=8 actions=goto_table:3': OFPB"), "{error}");
    assert!(ovs.dumped().is_empty());

    // Known to be wrong only when it is carried out: a group that is not there.
    let missing = FlowMod::add(FlowEntry::new(TableId(2), 1).apply([Action::Group(GroupId(99))]));
    let error = connection.bundle(vec![good(), missing.clone()]).await.unwrap_err();
    assert!(error.to_string().contains("actions=group:99': OFPBAC_BAD_OUT_GROUP"), "{error}");
    assert!(ovs.dumped().is_empty());

    // Without a bundle the rest is carried out.
    let error = connection.send_flows(vec![good(), backwards, missing]).await.unwrap_err();
    assert!(error.to_string().contains("(and 1 more)"), "{error}");
    assert_eq!(ovs.dumped(), ["table=1, priority=1 actions=drop"]);
    // The connection lives on.
    connection.barrier().await.unwrap();
}

#[tokio::test]
async fn a_group_and_the_flow_that_uses_it_go_into_one_bundle() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    let actions = vec![Action::load(Field::Reg8.whole(), 2), Action::ResubmitTable { table: TableId(5) }];
    let group = GroupMod {
        command: GroupModCommand::Add,
        kind: GroupType::Select,
        group: GroupId(7),
        buckets: vec![ofctl::wire::Bucket::new(100, actions)],
    };
    let flow = FlowMod::add(FlowEntry::new(TableId(0), 1).apply([Action::Group(GroupId(7))]));
    connection.bundle_messages(vec![Message::GroupMod(group), Message::FlowMod(flow)]).await.unwrap();
    let groups = ovs.ofctl("dump-groups", &[]);
    let wanted = "group_id=7,type=select,bucket=weight:100,actions=load:0x2->NXM_NX_REG8[],resubmit(,5)";
    assert!(groups.contains(wanted), "{groups}");
}

#[tokio::test]
async fn each_instruction_comes_back_as_it_was_written() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    ovs.ofctl("add-meter", &["meter=5,pktps,bands=type=drop,rate=50"]);
    let plain = || FlowEntry::new(TableId(3), 1);
    for entry in [
        plain().meter(5).apply([Action::Output(OfPort::IN_PORT)]).write_metadata(5, 0xff).goto(TableId(9)),
        plain().write_metadata(5, u64::MAX),
        plain().write_metadata(0, 0xffff << 32),
        plain().apply([Action::Output(OfPort::LOCAL), Action::OutputReg(Field::Reg5.whole())]),
        plain().apply([Action::note(b"endpoint 7")]).goto(TableId(253)),
    ] {
        connection.bundle(vec![delete_all(), FlowMod::add(entry.clone())]).await.unwrap();
        assert_eq!(ovs.dumped(), [entry.to_string()]);
        assert_eq!(dump(&connection).await[0].entry, entry);
    }
}

#[tokio::test]
async fn a_hundred_thousand_flows_go_in_and_come_back() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    let connection = connection.with_timeout(Duration::from_secs(120));
    let desired: Vec<FlowEntry> = (0..100_000u32)
        .map(|i| {
            let matching = Match::new()
                .with(Field::EthType, 0x0800u16)
                .with(Field::Ipv4Dst, 0x0a00_0000 | i)
                .masked(Field::Metadata, 7u64, 0xff_ffffu64);
            FlowEntry::new(TableId(30), 100)
                .matching(matching)
                .apply([Action::load(Field::Reg5.whole(), i.into())])
        })
        .collect();
    let begun = Instant::now();
    connection.bundle(desired.iter().cloned().map(FlowMod::add).collect()).await.unwrap();
    let added = begun.elapsed();
    let observed = dump(&connection).await;
    eprintln!("100,000 flows added in {added:?}, dumped in {:?}", begun.elapsed() - added);
    assert_eq!(observed.len(), desired.len());
    assert!(difference(&desired, &observed).is_empty());
}

#[tokio::test]
async fn the_switch_describes_itself_and_takes_settings() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    let features = connection.features().await.unwrap();
    assert_eq!(features.n_tables, 254);
    assert_eq!(connection.description().await.unwrap().manufacturer, "Nicira, Inc.");
    let ports = connection.port_desc().await.unwrap();
    assert!(ports.iter().any(|port| port.port == OfPort::LOCAL && port.name == "br0"), "{ports:?}");
    connection.set_config(FragmentMode::NxMatch, 128).await.unwrap();
    assert_eq!(connection.config().await.unwrap().fragments, FragmentMode::NxMatch);
    assert!(ovs.ofctl("get-frags", &[]).contains("nx-match"));
}

#[tokio::test]
async fn ports_and_packets_are_told() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, mut events) = ovs.connect().await;
    // A connection to .mgmt is told of ports at once, of packets once it says how much of them it wants.
    connection.set_config(FragmentMode::Normal, 0xffff).await.unwrap();
    ovs.vsctl(&[
        "add-port",
        "br0",
        "p1",
        "--",
        "set",
        "interface",
        "p1",
        "type=internal",
        "ofport_request=11",
    ]);
    let told = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match events.next().await {
                Some(Notification::PortStatus(status)) if status.reason == PortReason::Add => {
                    return status.port;
                }
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    });
    let port = told.await.unwrap();
    assert_eq!((port.port, port.name.as_str()), (OfPort(11), "p1"));

    let to_us =
        FlowEntry::new(TableId(0), 1).cookie(Cookie(0xabc)).apply([Action::Controller { max_len: 0xffff }]);
    connection.bundle(vec![FlowMod::add(to_us)]).await.unwrap();
    let packet: Vec<u8> = (0..60).collect();
    let out = PacketOut::new(OfPort(11), vec![Action::Output(OfPort::TABLE)], packet.clone());
    connection.packet_out(out).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match events.next().await {
                Some(Notification::PacketIn(packet)) => return packet,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    });
    let told = told.await.unwrap();
    assert_eq!((told.cookie, told.table, &told.data), (Cookie(0xabc), TableId(0), &packet));
    assert_eq!(told.matching.exact(Field::InPort), Some(11u32.into()));
}

#[tokio::test]
async fn the_end_of_the_switch_is_told() {
    let Some(mut ovs) = Ovs::start() else { return };
    let (connection, mut events) = ovs.connect().await;
    ovs.0.kill_vswitchd();
    let end = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match events.next().await {
                Some(Notification::Closed(reason)) => return reason,
                Some(_) => {}
                None => panic!("the end was not told"),
            }
        }
    });
    assert!(matches!(*end.await.unwrap(), CloseReason::Peer | CloseReason::Socket(_)));
    assert!(events.next().await.is_none());
    let error = connection.barrier().await.unwrap_err();
    assert!(matches!(error, ClientError::Closed { .. }), "{error}");
    let target = ovs.0.target("br0");
    let error = Connection::connect(target, Options::default()).await.unwrap_err();
    assert!(error.to_string().contains("is ovs-vswitchd running"), "{error}");
}

#[tokio::test]
async fn actions_that_are_not_known_are_carried_through() {
    let Some(ovs) = Ovs::start() else { return };
    let (connection, _events) = ovs.connect().await;
    ovs.ofctl("add-tlv-map", &["{class=0x0105,type=0x1,len=4}->tun_metadata0"]);
    for text in [
        "priority=3,ip actions=ct(commit,zone=OXM_OF_METADATA[32..47],nat(dst=10.1.0.13:80),exec(load:0x10->NXM_NX_CT_MARK[0..7]),table=30)",
        "priority=4 actions=learn(table=42,idle_timeout=60,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG5[0..15])",
        "priority=5,reg2=0x16 actions=conjunction(2,1/3),conjunction(3,1/3)",
        "priority=6,tun_metadata0=0x7 actions=move:NXM_NX_TUN_METADATA0[0..31]->NXM_NX_REG3[],set_queue:3",
        "priority=7 actions=move:NXM_NX_REG3[]->NXM_NX_TUN_METADATA0[0..31],output:1",
    ] {
        ovs.ofctl("add-flow", &[text]);
    }
    let there = ovs.dumped();
    let observed = dump(&connection).await;
    assert_eq!(observed.len(), 5);
    let again = observed.iter().map(|stats| FlowMod::add(stats.entry.clone()));
    connection.bundle([delete_all()].into_iter().chain(again).collect()).await.unwrap();
    assert_eq!(ovs.dumped(), there);
    let nothing = difference(observed.iter().map(|stats| &stats.entry), &dump(&connection).await);
    assert!(nothing.is_empty(), "{nothing:?}");
    // The planner's way to write such a move comes back as it was written.
    let identity = Action::RegMove { src: Field::Reg3.whole(), dst: Field::TunMetadata0.bits(0..32) };
    assert!(observed.iter().any(|stats| stats.entry.instructions.apply.contains(&identity)), "{observed:?}");
}
