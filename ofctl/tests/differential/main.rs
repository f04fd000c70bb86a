//! Random flows over every field and every action, groups and meters, messages of every kind, and messages made wrong,
//! against the real ovs-ofctl: the same bytes from the same text, the same text from the same bytes, and the same
//! verdict.
//!
//! `SLUICE_FLOWS` says how many flows (two rounds of all fields and actions otherwise), `SLUICE_MESSAGES` how many
//! messages of each kind, `SLUICE_MUTATIONS` how many wrong ones, `SLUICE_TEXTS` how many groups and meters, and
//! `SLUICE_SEED` which. Without an ovs-ofctl it is skipped, unless `SLUICE_REQUIRE_LIVE=1`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod messages;
mod mutations;
#[path = "../support/mod.rs"]
mod support;
mod texts;

use ofctl::flow::FlowEntry;
use ofctl::wire::versions::Version;
use ofctl::wire::{Field, FlowMod, Message, Xid};
use support::flows::{ACTIONS, of_action, of_field};
use support::random::Random;
use support::recorder::Recorder;
use support::{hex, ovs_ofctl, seed, setting};

/// What Open vSwitch leaves away in text, or prints under a name that it does not read: the `max_len` of an
/// `enqueue`, ERSPAN's fields without a version, GTP-U's fields, and NSH's contexts without a metadata type.
const LOSSY: [&str; 4] = ["enqueue", "tun_erspan_", "tun_gtpu_", "nsh_c"];

#[test]
fn random_flows_are_written_and_printed_as_ovs_ofctl_does() {
    if !ovs_ofctl::is_there() {
        return;
    }
    let fields: Vec<Field> = Field::all().collect();
    let kinds = fields.len() + ACTIONS.len();
    let n = setting("SLUICE_FLOWS").map_or(2 * kinds, |n| n as usize);
    let mut random = Random::seeded(seed());
    let switch = Recorder::start(Version::OpenFlow13);
    let (mut same_bytes, mut same_text, mut compared, mut no_text) = (0, 0, 0, 0);
    let (mut wrong, mut refused) = (String::new(), String::new());
    let mut covered = vec![false; kinds];
    for turn in 0..n {
        let kind = turn % kinds;
        let text = match fields.get(kind) {
            Some(field) => of_field(*field, &mut random),
            None => of_action(ACTIONS[kind - fields.len()], &mut random),
        };
        let wanted = match switch.sent(&["add-flow"], &[&text]) {
            Ok(mut wanted) => wanted.pop().expect("a flow-mod"),
            Err(complaint) => {
                refused += &format!("\n{text}\n  {}", complaint.trim());
                continue;
            }
        };
        compared += 1;
        let got = text.parse::<FlowEntry>().map_err(|error| error.to_string()).and_then(|entry| {
            let mut bytes = Vec::new();
            FlowMod::add(entry).encode_message(Xid(0), &mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        });
        if got.as_ref() == Ok(&wanted) {
            same_bytes += 1;
            covered[kind] = true;
        } else {
            wrong += &format!(
                "\n{text}\n  wanted {}\n  got    {}",
                hex(&wanted),
                got.map_or_else(|error| error, |bytes| hex(&bytes))
            );
        }
        let printed = ovs_ofctl::printed(&wanted);
        // Where it does not read what it wrote, or leaves something away, there is no text to compare with.
        if printed.contains("decode error") || LOSSY.iter().any(|word| text.contains(word)) {
            no_text += 1;
            continue;
        }
        let ours = match Message::decode(&wanted) {
            Ok((_, Message::FlowMod(flow))) => flow.into_entry().to_string(),
            other => format!("{other:?}"),
        };
        // It prints defaults differently in a message than in a dump: the table is never left away there.
        let without_table = |text: &str| text.strip_prefix("table:0 ").unwrap_or(text).to_owned();
        if normalise(&without_table(&printed)) == normalise(&ours) {
            same_text += 1;
        } else {
            wrong += &format!("\n{text}\n  it prints {printed}\n  here      {ours}");
        }
    }
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
    let (bytes, texts) = (share(same_bytes, compared), share(same_text, compared - no_text));
    println!("{n} flows, {compared} accepted by ovs-ofctl: {bytes:.2} % the same bytes");
    println!("{} of them with a text to compare: {texts:.2} % the same", compared - no_text);
    let never: Vec<String> = covered
        .iter()
        .enumerate()
        .filter(|(kind, covered)| !**covered && *kind < n)
        .map(|(kind, _)| {
            fields
                .get(kind)
                .map_or_else(|| ACTIONS[kind - fields.len()].to_owned(), |field| field.name().to_owned())
        })
        .collect();
    println!("without a flow that is the same: {never:?}");
    if std::env::var("SLUICE_VERBOSE").is_ok() {
        println!("refused by ovs-ofctl:{refused}\ndifferent:{wrong}");
    }
    assert!(compared * 10 >= n * 9, "too many are refused:{refused}");
    assert!(bytes >= 99.5 && texts >= 99.5, "{wrong}");
}

/// The words of a flow, in whatever order a dump and a message have the properties before the match.
fn normalise(text: &str) -> Vec<String> {
    let (before, actions) = text.split_once("actions=").unwrap_or((text, ""));
    let mut words: Vec<String> = before
        .split([',', ' '])
        .filter(|word| !word.is_empty())
        .map(|word| word.replace("table:", "table=").replace("cookie:", "cookie="))
        .collect();
    words.sort();
    words.push(actions.to_owned());
    words
}
