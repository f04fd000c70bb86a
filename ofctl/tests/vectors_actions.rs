//! Every action against the bytes and the text that ovs-ofctl made of it; `vectors/actions.txt` says how.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ofctl::flow::FlowEntry;
use ofctl::wire::{Action, FlowMod, Message, Xid};

const ACTIONS: &str = include_str!("vectors/actions.txt");

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two hex digits");
    (0..text.len()).step_by(2).map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text given, bytes sent, text printed.
fn vectors() -> Vec<[&'static str; 3]> {
    let lines: Vec<&str> = ACTIONS.lines().filter(|line| !line.starts_with('#')).collect();
    let all: Vec<[&str; 3]> =
        lines.chunks(3).map(|three| three.try_into().unwrap_or_else(|_| panic!("{three:?}"))).collect();
    assert!(all.len() > 50, "only {} vectors", all.len());
    all
}

fn decode(hex: &str) -> FlowMod {
    match Message::decode(&unhex(hex)).unwrap_or_else(|error| panic!("{hex}: {error}")) {
        (Xid(0), Message::FlowMod(flow)) => flow,
        other => panic!("{hex}: {other:?}"),
    }
}

fn encode(flow: &FlowMod) -> String {
    let mut bytes = Vec::new();
    flow.encode_message(Xid(0), &mut bytes).unwrap();
    hex(&bytes)
}

#[test]
fn text_makes_the_bytes_of_ovs_ofctl() {
    let mut wrong = String::new();
    for [text, wanted, _] in vectors() {
        match text.parse::<FlowEntry>() {
            Ok(entry) => {
                let got = encode(&FlowMod::add(entry));
                if got != wanted {
                    wrong += &format!("\n{text}\nwanted {wanted}\n   got {got}");
                }
            }
            Err(error) => wrong += &format!("\n{text}\n{error}"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn bytes_make_the_text_of_ovs_ofctl_and_the_same_bytes() {
    let mut wrong = String::new();
    for [text, bytes, printed] in vectors() {
        let flow = decode(bytes);
        let got = flow.entry().to_string();
        let printed = printed.replace(SAYS_LESS.0, SAYS_LESS.1);
        if got != printed {
            wrong += &format!("\n{text}\nwanted {printed}\n   got {got}");
        }
        if encode(&flow) != bytes {
            wrong += &format!("\n{text}\nwas {bytes}\nnow {}", encode(&flow));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Open vSwitch's text leaves away the `ct` of a resubmit that names no table, and ours does not.
const SAYS_LESS: (&str, &str) = ("resubmit:5,resubmit(,3)", "resubmit(5,,ct),resubmit(,3)");

/// Text does not say it all of this: its `max_len`.
const LOSSY: &str = "enqueue";

#[test]
fn what_is_printed_is_read_as_the_same() {
    let mut wrong = String::new();
    for [text, bytes, printed] in vectors() {
        if text.contains(LOSSY) {
            continue;
        }
        let printed = printed.replace(SAYS_LESS.0, SAYS_LESS.1);
        match printed.parse::<FlowEntry>() {
            Ok(entry) if encode(&FlowMod::add(entry.clone())) == bytes => {}
            Ok(entry) => {
                wrong += &format!("\n{printed}\nwanted {bytes}\n   got {}", encode(&FlowMod::add(entry)))
            }
            Err(error) => wrong += &format!("\n{printed}\n{error}"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn unknown(actions: &[Action]) -> bool {
    actions.iter().any(|action| match action {
        Action::Unknown(_) => true,
        Action::Clone(inside) => unknown(inside),
        Action::Ct(ct) => unknown(&ct.actions),
        _ => false,
    })
}

#[test]
fn no_action_is_merely_carried() {
    for [text, bytes, _] in vectors() {
        let instructions = decode(bytes).instructions;
        assert!(!unknown(&instructions.apply) && !unknown(&instructions.write), "{text}");
    }
}

/// Bytes, and the name of the error or `ok`.
fn malformed() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("vectors/malformed.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap())
}

/// Refused for what the flow or the table is, and not for what the bytes are: a check that a switch makes later.
const LATER: [&str; 3] = ["OFPBAC_BAD_OUT_PORT", "OFPBAC_BAD_SET_ARGUMENT", "OFPBAC_MATCH_INCONSISTENT"];

#[test]
fn malformed_actions_are_refused_with_the_same_error() {
    let (mut same, mut carried, mut wrong) = (0, 0, String::new());
    for (bytes, verdict) in malformed() {
        match (verdict, Message::decode(&unhex(bytes))) {
            ("ok", Ok(_)) => {}
            (wanted, Err(error)) if error.name() == wanted => same += 1,
            // What is not known here is carried through, whatever this version of Open vSwitch knows of it.
            (_, Ok((_, Message::FlowMod(flow)))) if unknown(&flow.instructions.apply) => carried += 1,
            (wanted, Ok(_)) if LATER.contains(&wanted) => {}
            (wanted, got) => {
                let got = got.map(|_| "ok").unwrap_or_else(|error| error.name());
                wrong += &format!("\n{wanted}, and here {got}: {bytes}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(same > 900, "only {same} are refused");
    assert!(carried < 1000, "{carried} are only carried");
}

#[test]
fn what_is_accepted_is_written_as_it_came_or_means_the_same() {
    for (bytes, _) in malformed() {
        let Ok((xid, message)) = Message::decode(&unhex(bytes)) else { continue };
        let mut again = Vec::new();
        message.encode(xid, &mut again).unwrap();
        assert_eq!(Message::decode(&again), Ok((xid, message)), "{bytes}");
    }
}
