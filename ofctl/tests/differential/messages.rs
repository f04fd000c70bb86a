//! Every kind of message against what `ovs-ofctl ofp-parse` prints of its bytes.

use std::collections::BTreeMap;

use ofctl::text::Printed;
use ofctl::wire::{Message, Xid};

use crate::support::messages::some_of_each;
use crate::support::{hex, ovs_ofctl, seed, setting};

/// The text without blanks at the ends of lines.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

#[test]
fn every_kind_of_message_is_printed_as_ovs_ofctl_prints_it() {
    if !ovs_ofctl::is_there() {
        return;
    }
    let n = setting("SLUICE_MESSAGES").unwrap_or(40) as usize;
    let folder = tempfile::tempdir().unwrap();
    let all = some_of_each(n, seed());
    let bytes: Vec<Vec<u8>> = all.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    let printed = ovs_ofctl::printed_all(&bytes, folder.path());
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = String::new();
    for (number, ((kind, message, bytes), theirs)) in all.iter().zip(&printed).enumerate() {
        let tally = kinds.entry(kind).or_default();
        tally.1 += 1;
        let ours = Printed(Xid(number as u32), message).to_string();
        let (xid, decoded) = Message::decode(bytes).unwrap_or_else(|error| panic!("{message:?}: {error}"));
        let mut again = Vec::new();
        decoded.encode(xid, &mut again).unwrap();
        assert_eq!((&decoded, &again), (message, bytes), "{kind} is not read as it was written");
        assert!(ours.starts_with(kind.split(' ').next().unwrap()), "{kind}: {ours}");
        if tidy(&ours) == tidy(theirs) {
            tally.0 += 1;
        } else if tally.1 - tally.0 <= 2 {
            let hex = hex(bytes);
            let hex = hex.get(..400).unwrap_or(&hex);
            wrong += &format!("\n{kind} {hex}\n--- it prints\n{}\n--- here\n{}\n", tidy(theirs), tidy(&ours));
        }
    }
    let differing: Vec<String> = kinds
        .iter()
        .filter(|(_, (same, all))| same < all)
        .map(|(kind, (same, all))| format!("{kind}: {same} of {all}"))
        .collect();
    println!("{} kinds, {} messages; kinds with a difference: {differing:?}", kinds.len(), all.len());
    assert!(differing.is_empty(), "{differing:#?}{wrong}");
}
