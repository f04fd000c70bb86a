//! Commands other than an addition of a flow: other flow-mods, groups, meters and bundles, each said by hand as a value
//! and in ovs-ofctl's words.

use ofctl::wire::versions::{
    Bucket, BucketId, FlowMod, GroupMod, GroupModCommand, Message, SelectionMethod, Version,
};
use ofctl::wire::{
    Action, BandKind, Bucket as Bucket13, BundleControlType, Cookie, Field, FlowMod as FlowMod13,
    FlowModCommand, GroupId, GroupType, Match, MeterBand, MeterFlags, MeterId, MeterMod, MeterModCommand,
    OfPort, TableId, Xid,
};

use super::encode;
use super::support::random::Random;
use super::support::recorder::Recorder;
use super::support::{hex, ovs_ofctl};

/// One exchange in a version: what ovs-ofctl sends is what is written here, and is read as what was said.
fn assert_same(version: Version, command: &[&str], argument: &str, message: &Message) {
    let switch = Recorder::start(version);
    let arguments: &[&str] = if argument.is_empty() { &[] } else { &[argument] };
    let sent = switch
        .sent(command, arguments)
        .unwrap_or_else(|why| panic!("{version} {command:?} {argument}: {why}"));
    let wanted = sent.last().unwrap();
    let got =
        encode(version, message).unwrap_or_else(|why| panic!("{version} {command:?} {argument}: {why}"));
    assert_eq!(hex(&got), hex(wanted), "{version} {command:?} {argument}");
    assert_eq!(
        Message::decode(wanted).as_ref(),
        Ok(&(version, Xid(0), message.clone())),
        "{command:?} {argument}"
    );
}

#[test]
fn other_flow_mods_are_those_of_ovs_ofctl() {
    if !ovs_ofctl::is_there() {
        return;
    }
    let web =
        Match::new().with(Field::EthType, 0x0800u16).with(Field::IpProto, 6u8).with(Field::TcpDst, 80u16);
    let delete = FlowMod13::new(FlowModCommand::Delete, TableId::ALL);
    let strict = FlowMod13 { priority: 7, ..FlowMod13::new(FlowModCommand::DeleteStrict, TableId::ALL) };
    let mut modify = FlowMod13::new(FlowModCommand::Modify, TableId(0));
    modify.instructions.apply = vec![Action::Output(OfPort(3))];
    for version in Version::ALL {
        let same = |command: &[&str], text: &str, flow: &FlowMod13| {
            assert_same(version, command, text, &Message::FlowMod(FlowMod::from(flow.clone())));
        };
        same(&["del-flows"], "", &delete);
        same(&["del-flows"], "tcp,tp_dst=80", &FlowMod13 { matching: web.clone(), ..delete.clone() });
        let by_cookie = FlowMod13 { cookie: Cookie(0x50), cookie_mask: 0xf0, ..delete.clone() };
        same(&["del-flows"], "cookie=0x50/0xf0", &by_cookie);
        let by_whole = FlowMod13 { cookie: Cookie(5), cookie_mask: u64::MAX, ..delete.clone() };
        same(&["del-flows"], "cookie=5/-1", &by_whole);
        same(&["del-flows"], "out_port=9", &FlowMod13 { out_port: OfPort(9), ..delete.clone() });
        same(&["--strict", "del-flows"], "priority=7", &strict);
        let in_table = FlowMod13 { table: TableId(3), matching: web.clone(), ..strict.clone() };
        same(&["--strict", "del-flows"], "table=3,priority=7,tcp,tp_dst=80", &in_table);
        same(&["mod-flows"], "actions=output:3", &modify);
        let some = FlowMod13 { cookie: Cookie(1), cookie_mask: 3, table: TableId(2), ..modify.clone() };
        same(&["mod-flows"], "cookie=1/3,table=2,actions=output:3", &some);
    }
}

fn bucket(id: u32, weight: u16, actions: Vec<Action>) -> Bucket {
    Bucket { id: BucketId(id), bucket: Bucket13::new(weight, actions), properties: Vec::new() }
}

fn group(command: GroupModCommand, kind: GroupType, group: u32, buckets: Vec<Bucket>) -> GroupMod {
    GroupMod {
        command,
        kind,
        group: GroupId(group),
        command_bucket: BucketId::ALL,
        buckets,
        selection: None,
        properties: Vec::new(),
    }
}

#[test]
fn groups_are_those_of_ovs_ofctl() {
    if !ovs_ofctl::is_there() {
        return;
    }
    let output = |port: u32| Action::Output(OfPort(port));
    for version in Version::ALL {
        let same = |command: &str, text: &str, group: &GroupMod| {
            assert_same(version, &[command], text, &Message::GroupMod(group.clone()));
        };
        let all = group(
            GroupModCommand::Add,
            GroupType::All,
            5,
            vec![
                bucket(0, 0, vec![Action::set_field(Field::EthSrc, 0x0200_0000_0001u64), output(1)]),
                bucket(1, 0, vec![Action::PopVlan, output(0xff00 - 1)]),
            ],
        );
        let text = "group_id=5,type=all,bucket=actions=set_field:02:00:00:00:00:01->eth_src,output:1,\
                    bucket=actions=pop_vlan,output:65279";
        same("add-group", text, &all);
        let select = group(
            GroupModCommand::Modify,
            GroupType::Select,
            9,
            vec![bucket(0, 100, vec![output(1)]), bucket(1, 0, vec![Action::SetQueue(5)])],
        );
        let text = "group_id=9,type=select,bucket=weight:100,actions=output:1,\
                    bucket=weight:0,actions=set_queue:5";
        same("mod-group", text, &select);
        let mut failover = group(GroupModCommand::AddOrModify, GroupType::FastFailover, 7, Vec::new());
        for (id, port) in [(0, 1), (1, 2)] {
            let mut one = bucket(id, 0, vec![output(port)]);
            one.bucket.watch_port = OfPort(port);
            one.bucket.watch_group = if id == 0 { GroupId(12) } else { GroupId::ANY };
            failover.buckets.push(one);
        }
        let text = "group_id=7,type=ff,bucket=watch_port:1,watch_group:12,actions=output:1,\
                    bucket=watch_port:2,actions=output:2";
        let text: &[&str] = &["--may-create", "mod-group", text];
        assert_same(version, &text[..2], text[2], &Message::GroupMod(failover));
        same("del-groups", "group_id=5", &group(GroupModCommand::Delete, GroupType::All, 5, Vec::new()));
        same("del-groups", "", &group(GroupModCommand::Delete, GroupType::All, GroupId::ALL.0, Vec::new()));
    }
}

/// Groups that only 1.5, and 1.0 by Nicira's message, can say; earlier versions refuse them.
#[test]
fn groups_with_buckets_and_methods_are_those_of_ovs_ofctl() {
    if !ovs_ofctl::is_there() {
        return;
    }
    let output = |port: u32| Action::Output(OfPort(port));
    let mut insert =
        group(GroupModCommand::InsertBucket, GroupType::All, 5, vec![bucket(4, 0, vec![output(1)])]);
    insert.command_bucket = BucketId(2);
    let mut last = insert.clone();
    last.command_bucket = BucketId::LAST;
    let mut remove = group(GroupModCommand::RemoveBucket, GroupType::All, 5, Vec::new());
    remove.command_bucket = BucketId(8);
    let remove_all = group(GroupModCommand::RemoveBucket, GroupType::All, 5, Vec::new());
    let mut hash = group(GroupModCommand::Add, GroupType::Select, 6, vec![bucket(3, 5, vec![output(1)])]);
    hash.selection = Some(SelectionMethod {
        method: "hash".to_owned(),
        parameter: 77,
        fields: vec![(Field::EthDst, Field::EthDst.exact_mask()), (Field::Ipv4Src, 0xffff_ff00u32.into())],
    });
    let mut dp_hash = group(GroupModCommand::Add, GroupType::Select, 6, vec![bucket(0, 1, vec![output(1)])]);
    dp_hash.selection =
        Some(SelectionMethod { method: "dp_hash".to_owned(), parameter: 0, fields: Vec::new() });
    let cases: [(&str, &str, &GroupMod); 6] = [
        ("insert-buckets", "group_id=5,command_bucket_id=2,bucket=bucket_id=4,actions=output:1", &insert),
        ("insert-buckets", "group_id=5,command_bucket_id=last,bucket=bucket_id=4,actions=output:1", &last),
        ("remove-buckets", "group_id=5,command_bucket_id=8", &remove),
        ("remove-buckets", "group_id=5,command_bucket_id=all", &remove_all),
        (
            "add-group",
            "group_id=6,type=select,selection_method=hash,selection_method_param=77,\
             fields(eth_dst,ip_src=255.255.255.0),bucket=bucket_id=3,weight=5,actions=output:1",
            &hash,
        ),
        ("add-group", "group_id=6,type=select,selection_method=dp_hash,bucket=actions=output:1", &dp_hash),
    ];
    for (command, text, group) in cases {
        let message = Message::GroupMod(group.clone());
        for version in [Version::OpenFlow10, Version::OpenFlow15] {
            // ovs-ofctl takes selection methods only where it may send 1.5.
            if version == Version::OpenFlow10 && group.selection.is_some() {
                continue;
            }
            assert_same(version, &[command], text, &message);
        }
        for version in [Version::OpenFlow13, Version::OpenFlow14] {
            encode(version, &message).expect_err(text);
        }
    }
}

#[test]
fn meters_are_those_of_ovs_ofctl() {
    if !ovs_ofctl::is_there() {
        return;
    }
    let mut random = Random(3);
    for version in [Version::OpenFlow13, Version::OpenFlow14, Version::OpenFlow15] {
        for _ in 0..5 {
            let (id, rate, burst) = (1 + random.below(1000), random.below(1 << 32), random.below(1 << 32));
            let levels = 1 + random.below(3) as u8;
            let meter = MeterMod {
                command: MeterModCommand::Add,
                flags: MeterFlags::KBPS | MeterFlags::BURST | MeterFlags::STATS,
                meter: MeterId(id as u32),
                bands: vec![
                    MeterBand { kind: BandKind::Drop, rate: rate as u32, burst_size: burst as u32 },
                    MeterBand { kind: BandKind::DscpRemark { levels }, rate: 5, burst_size: 6 },
                ],
            };
            let text = format!(
                "meter={id},kbps,burst,stats,bands=type=drop,rate={rate},burst_size={burst},\
                 type=dscp_remark,rate=5,burst_size=6,prec_level={levels}"
            );
            assert_same(version, &["add-meter"], &text, &Message::MeterMod(meter.clone()));
            encode(Version::OpenFlow10, &Message::MeterMod(meter)).expect_err("1.0 has no meters");
        }
    }
}

#[test]
fn bundles_are_those_of_ovs_ofctl() {
    if !ovs_ofctl::is_there() {
        return;
    }
    for version in [Version::OpenFlow13, Version::OpenFlow14, Version::OpenFlow15] {
        let switch = Recorder::start(version);
        let text = "table=2,ip,reg1=5,actions=load:3->NXM_NX_REG2[],output:4";
        let sent = switch.sent(&["--bundle", "add-flow"], &[text]).unwrap();
        let mut kinds = Vec::new();
        for bytes in &sent {
            let (read, _, message) = Message::decode(bytes).unwrap();
            assert_eq!(read, version);
            match &message {
                Message::BundleControl(control) => kinds.push(Some(control.kind)),
                Message::BundleAdd { message, .. } => {
                    let Message::FlowMod(flow) = &**message else { panic!("{message:?}") };
                    let wanted = text.parse::<ofctl::flow::FlowEntry>().unwrap();
                    // 1.5 has no load: it comes back as what it writes.
                    let as_15 = flow
                        .flow
                        .entry()
                        .to_string()
                        .replace("set_field:0x3->reg2", "load:0x3->NXM_NX_REG2[]");
                    assert_eq!(as_15, wanted.to_string());
                    kinds.push(None);
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(hex(&encode(version, &message).unwrap()), hex(bytes));
        }
        let first = kinds.first().unwrap();
        assert_eq!(*first, Some(BundleControlType::OpenRequest));
        assert!(
            kinds.contains(&None) && kinds.contains(&Some(BundleControlType::CommitRequest)),
            "{kinds:?}"
        );
        encode(Version::OpenFlow10, &Message::decode(&sent[0]).unwrap().2).expect_err("1.0 has no bundles");
    }
}
