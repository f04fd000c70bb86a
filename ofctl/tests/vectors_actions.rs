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
        if got != printed {
            wrong += &format!("\n{text}\nwanted {printed}\n   got {got}");
        }
        if encode(&flow) != bytes {
            wrong += &format!("\n{text}\nwas {bytes}\nnow {}", encode(&flow));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Open vSwitch's text does not say it all of these: the `max_len` of an `enqueue`, and the `ct` of a resubmit that
/// names no table.
const LOSSY: [&str; 2] = ["enqueue", "resubmit(5,,ct)"];

#[test]
fn what_is_printed_is_read_as_the_same() {
    let mut wrong = String::new();
    for [text, bytes, printed] in vectors() {
        if LOSSY.iter().any(|lossy| text.contains(lossy)) {
            continue;
        }
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
