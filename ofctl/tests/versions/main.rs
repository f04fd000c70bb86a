//! Flow-mods, group-mods, meters and bundles of OpenFlow 1.0, 1.3, 1.4 and 1.5 against the bytes of the real ovs-ofctl.
//!
//! `SLUICE_FLOWS` says how many flows a version (one round of all fields and actions otherwise), `SLUICE_SEED` which.
//! Without an ovs-ofctl those tests are skipped, unless `SLUICE_REQUIRE_LIVE=1`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
#[cfg(feature = "cli")]
mod filters;
mod mutated;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use ofctl::flow::FlowEntry;
use ofctl::wire::versions::{FlowFormat10, FlowMod, Message, Version};
use ofctl::wire::{Field, FlowMod as FlowMod13, Xid};
use support::flows::{ACTIONS, of_action, of_field};
use support::random::Random;
use support::recorder::Recorder;
use support::{hex, ovs_ofctl, seed, setting};

fn encode(version: Version, message: &Message) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    message.encode(version, Xid(0), &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// As `encode`, and a flow of 1.0 in the format that ovs-ofctl chose: its text can ask for more than the match needs.
fn encode_like(version: Version, message: &Message, wanted: &[u8]) -> Result<Vec<u8>, String> {
    let Message::FlowMod(flow) = message else { return encode(version, message) };
    if version != Version::OpenFlow10 {
        return encode(version, message);
    }
    let table_id = flow.flow.table.0 != 0;
    let format =
        if wanted[1] == 4 { FlowFormat10::Nxm { table_id } } else { FlowFormat10::Standard { table_id } };
    let mut bytes = Vec::new();
    flow.encode_openflow10(format, Xid(0), &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Why the bytes are not those of ovs-ofctl, where that is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// What ovs-ofctl sends is not what the text says.
    OvsIsWrong(&'static str),
    /// Two ways to say one thing.
    SaysTheSame(&'static str),
}

fn explained(version: Version, text: &str) -> Option<Why> {
    let (_, actions) = text.split_once("actions=")?;
    let masked = |names: &[&str]| {
        names.iter().any(|name| {
            let end = format!("->{name}");
            actions.split(',').any(|action| action.contains('/') && action.ends_with(&end))
        })
    };
    let old =
        ["eth_src", "eth_dst", "ip_src", "ip_dst", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "vlan_vid"];
    match version {
        Version::OpenFlow10 if masked(&old) => Some(Why::OvsIsWrong(
            "the mask of a set_field is lost where 1.0 has an action without one, so all of the field is written",
        )),
        Version::OpenFlow10 if actions.contains("clone(push_vlan") => {
            Some(Why::OvsIsWrong("a push_vlan that nothing sets the fields of is lost; here it is refused"))
        }
        Version::OpenFlow10 if actions.contains("set_tunnel") => {
            Some(Why::SaysTheSame("a load of the tunnel's key here, NXAST_SET_TUNNEL there"))
        }
        Version::OpenFlow10 if actions.contains("set_mpls") => {
            Some(Why::SaysTheSame("a load of the label here, NXAST_SET_MPLS_LABEL there"))
        }
        Version::OpenFlow15 if actions.contains("set_field:") && actions.contains('/') => {
            Some(Why::SaysTheSame("bits of a value that its mask does not have are zero here and not there"))
        }
        _ => None,
    }
}

fn compare(version: Version) {
    if !ovs_ofctl::is_there() {
        return;
    }
    let fields: Vec<Field> = Field::all().collect();
    let kinds = fields.len() + ACTIONS.len();
    let n = setting("SLUICE_FLOWS").map_or(kinds, |n| n as usize);
    let mut random = Random::seeded(seed());
    let switch = Recorder::start(version);
    let (mut compared, mut same, mut read_back, mut refused_too) = (0, 0, 0, 0);
    let mut wrong = String::new();
    let (mut more, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    for place in 0..n {
        let kind = place % kinds;
        let text = match fields.get(kind) {
            Some(field) => of_field(*field, &mut random),
            None => of_action(ACTIONS[kind - fields.len()], &mut random),
        };
        // Half without a table, which in 1.0 is another form.
        let text = if place % 2 == 0 { text.split_once(',').unwrap().1.to_owned() } else { text };
        let importance = if version >= Version::OpenFlow14 { random.below(3) as u16 * 7 } else { 0 };
        let said = if importance > 0 { format!("importance={importance},{text}") } else { text.clone() };
        let Ok(entry) = text.parse::<FlowEntry>() else { continue };
        let flow = FlowMod { flow: FlowMod13::add(entry), importance };
        let message = Message::FlowMod(flow);
        let wanted = match switch.sent(&["add-flow"], &[&said]) {
            Ok(mut wanted) => wanted.pop().unwrap(),
            Err(complaint) => {
                match encode(version, &message) {
                    Err(_) => refused_too += 1,
                    Ok(_) => drop(more.insert(complaint.trim().to_owned(), text)),
                }
                continue;
            }
        };
        compared += 1;
        let got = encode_like(version, &message, &wanted);
        if got.as_ref() == Ok(&wanted) {
            same += 1;
        } else if let Some(why) = explained(version, &text) {
            *reasons.entry(why).or_insert(0) += 1;
        } else {
            wrong += &format!(
                "\n{text}\n  wanted {}\n  got    {}",
                hex(&wanted),
                got.map_or_else(|error| error, |bytes| hex(&bytes))
            );
        }
        match Message::decode(&wanted) {
            Ok((read, _, message))
                if read == version && encode_like(version, &message, &wanted).as_ref() == Ok(&wanted) =>
            {
                read_back += 1;
            }
            Ok(_) if explained(version, &text).is_some() => {}
            Ok((.., message)) => {
                let again =
                    encode_like(version, &message, &wanted).map_or_else(|error| error, |bytes| hex(&bytes));
                wrong += &format!("\n{text}\n  reads  {}\n  as     {again}", hex(&wanted));
            }
            Err(error) => wrong += &format!("\n{text}\n  reads  {}\n  as     {error}", hex(&wanted)),
        }
    }
    let share = |part: usize| 100.0 * part as f64 / compared as f64;
    println!(
        "{version}: {compared} of {n} flows accepted by ovs-ofctl: {:.2} % the same bytes, {:.2} % read and written again; \
         {refused_too} refused by both, {} written here only",
        share(same),
        share(read_back),
        more.len()
    );
    reasons.iter().for_each(|(why, n)| println!("{version}: {n} flows: {why:?}"));
    if setting("SLUICE_VERBOSE").is_some() {
        println!("{wrong}");
        for (complaint, text) in &more {
            println!("only here: {text}\n  {complaint}");
        }
    }
    assert!(compared * 2 > n, "too few are compared: {compared} of {n}");
    assert!(wrong.is_empty(), "without an explanation:{wrong}");
    let ovs_is_wrong: usize =
        reasons.iter().filter(|(why, _)| matches!(why, Why::OvsIsWrong(_))).map(|(_, n)| n).sum();
    let right = 100.0 * same as f64 / (compared - ovs_is_wrong) as f64;
    println!("{version}: {right:.2} % of the flows that ovs-ofctl sends as they were said");
    assert!(right >= 98.0 && share(read_back) >= 98.0, "{reasons:?}");
}

#[test]
fn flows_of_1_0_are_those_of_ovs_ofctl() {
    compare(Version::OpenFlow10);
}

#[test]
fn flows_of_1_3_are_those_of_ovs_ofctl() {
    compare(Version::OpenFlow13);
}

#[test]
fn flows_of_1_4_are_those_of_ovs_ofctl() {
    compare(Version::OpenFlow14);
}

#[test]
fn flows_of_1_5_are_those_of_ovs_ofctl() {
    compare(Version::OpenFlow15);
}
