//! Messages that change flows, in a row: the tables are the same in the end, and what is refused is refused by the
//! same name.

use ofctl::flow::FlowFlags;
use ofctl::sim::Switch;
use ofctl::wire::{
    Bucket, Cookie, FlowMod, FlowModCommand, GroupId, GroupType, Instructions, Match, Message, OfPort,
    TableId,
};

use crate::generate::Random;
use crate::ovs::PORTS;
use crate::stateful::{dumped, simulated};
use crate::{live, setting};

struct Change {
    options: &'static [&'static str],
    command: &'static str,
    text: String,
    message: FlowMod,
}

fn draw(random: &mut Random) -> Change {
    let matching = random.pick(&[
        "",
        "in_port=1",
        "in_port=2",
        "ip",
        "in_port=1,ip",
        "ip,nw_src=10.0.0.0/8",
        "ip,nw_src=10.1.0.0/16",
        "ip,nw_src=10.1.0.0/16,nw_proto=6",
        "reg0=0x1/0x3",
        "reg0=0x2/0x2",
        "reg0=3",
    ]);
    let actions = random.pick(&[
        "output:1",
        "output:2",
        "group:1",
        "group:4",
        "goto_table:1",
        "resubmit(,1)",
        "clone(group:1),output:2",
        "write_actions(output:1)",
        "set_field:1->tcp_dst",
        "output:1,drop",
    ]);
    let actions = if actions.ends_with("drop") { "drop" } else { actions };
    let (table, cookie) = (random.below(3) as u8, random.below(3) as u64);
    let priority = random.below(3) as u16 + 1;
    let (options, command, kind): (&[&str], &str, FlowModCommand) = match random.below(10) {
        0..=4 => (&[], "add-flow", FlowModCommand::Add),
        5 => (&[], "mod-flows", FlowModCommand::Modify),
        6 => (&["--strict"], "mod-flows", FlowModCommand::ModifyStrict),
        7 | 8 => (&[], "del-flows", FlowModCommand::Delete),
        _ => (&["--strict"], "del-flows", FlowModCommand::DeleteStrict),
    };
    let mut message = FlowMod::new(kind, TableId(table));
    message.matching = matching.parse::<Match>().unwrap();
    let mut text = format!("table={table}");
    let adds = kind == FlowModCommand::Add;
    let deletes = matches!(kind, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
    if adds {
        message.cookie = Cookie(cookie);
        text += &format!(",cookie={cookie:#x}");
        for (flag, name) in
            [(FlowFlags::CHECK_OVERLAP, "check_overlap"), (FlowFlags::RESET_COUNTS, "reset_counts")]
        {
            if random.chance(25) {
                message.flags = message.flags | flag;
                text += &format!(",{name}");
            }
        }
        if random.chance(20) {
            message.idle_timeout = 100;
            text += ",idle_timeout=100";
        }
    } else if random.chance(40) {
        (message.cookie, message.cookie_mask) = (Cookie(cookie), u64::MAX);
        text += &format!(",cookie={cookie:#x}/-1");
    }
    if adds || !options.is_empty() {
        message.priority = priority;
        text += &format!(",priority={priority}");
    }
    if deletes && random.chance(30) {
        match random.below(2) {
            0 => {
                message.out_port = OfPort(1);
                text += ",out_port=1";
            }
            _ => {
                message.out_group = GroupId(1);
                text += ",out_group=1";
            }
        }
    }
    if !matching.is_empty() {
        text += &format!(",{matching}");
    }
    if !deletes {
        message.instructions = actions.parse::<Instructions>().unwrap();
        text += &format!(",actions={actions}");
    }
    Change { options, command, text, message }
}

#[test]
fn flows_are_changed_as_in_open_vswitch() {
    let Some(ovs) = live() else { return };
    let (seed, rounds) = (setting("SLUICE_SIM_SEED", 1), setting("SLUICE_SIM_CHANGES", 5));
    let (mut changes, mut refused, mut differences) = (0, 0, Vec::new());
    for round in 0..rounds {
        let mut random = Random(seed << 48 | round);
        ovs.load("", "group_id=1,type=all,bucket=actions=output:3\n");
        let mut switch = Switch::new()
            .with_ports((1..=PORTS).map(OfPort))
            .with_group(
                GroupId(1),
                GroupType::All,
                [Bucket::new(0, vec![ofctl::wire::Action::Output(OfPort(3))])],
            )
            .unwrap();
        let mut done = Vec::new();
        for _ in 0..40 {
            let Change { options, command, text, message } = draw(&mut random);
            let ours = match &switch.handle(Message::FlowMod(message))[..] {
                [] => None,
                [Message::Error(error)] => error.error.name(),
                other => panic!("{other:?}"),
            };
            let theirs = ovs.ofctl_with(options, command, Some(&text));
            done.push(format!("{command} {options:?} {text}"));
            changes += 1;
            refused += usize::from(ours.is_some());
            let same = match (&ours, &theirs) {
                (None, Ok(_)) => true,
                (Some(name), Err(theirs)) => theirs.contains(name),
                _ => false,
            };
            if !same {
                differences.push(format!("{}\n  we {ours:?}, they {theirs:?}", done.join("\n")));
            }
        }
        let strip = |flows: Vec<(String, u64)>| flows.into_iter().map(|(flow, _)| flow).collect::<Vec<_>>();
        let (theirs, ours) = (strip(dumped(&ovs)), strip(simulated(&switch)));
        if theirs != ours {
            differences.push(format!("{}\nthere: {theirs:#?}\nhere: {ours:#?}", done.join("\n")));
        }
    }
    eprintln!("{changes} changes agree, {refused} of them refused by both");
    let first = differences.first().map_or("", String::as_str);
    assert!(differences.is_empty(), "{} differ; the first:\n{first}", differences.len());
    assert!(refused > 5 && refused < changes / 2, "{refused} of {changes} refused: too few to show anything");
}
