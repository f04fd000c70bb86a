//! Messages of every kind made wrong at random: nothing panics, nothing takes long, what is taken is written and read
//! again as the same, and ovs-ofctl takes and refuses the same, with the same error.
//!
//! `SLUICE_MUTATIONS` says how many (20,000 otherwise), `SLUICE_SEED` which.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ofctl::text::Printed;
use ofctl::wire::{ErrorMessage, Message, MultipartBody, MultipartRequest};

use crate::support::mutations::{corpus, wrong_message};
use crate::support::random::Random;
use crate::support::{hex, ovs_ofctl, seed, setting};

/// What this crate makes of the bytes: the name of an error if it refuses them, and whether it merely carries them.
fn ours(bytes: &[u8], unstable: &mut Vec<String>) -> (Option<&'static str>, bool) {
    match Message::decode(bytes) {
        Err(error) => (Some(error.name()), false),
        Ok((xid, message)) => {
            let carried = is_carried(&message);
            let mut again = Vec::new();
            let written = message.encode(xid, &mut again).map_err(|error| error.to_string());
            let reread = written.and_then(|()| Message::decode(&again).map_err(|error| error.to_string()));
            if reread.as_ref() != Ok(&(xid, message)) {
                unstable.push(format!("{}\n  {}\n  {reread:?}", hex(bytes), hex(&again)));
            }
            if let Ok((xid, message)) = reread {
                let text = Printed(xid, &message).to_string();
                assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
            }
            (None, carried)
        }
    }
}

fn is_carried(message: &Message) -> bool {
    match message {
        Message::Unknown { .. } | Message::Experimenter { .. } => true,
        // Names of errors that Open vSwitch does not have are shown as numbers.
        Message::Error(ErrorMessage { error, .. }) => error.name().is_none(),
        Message::MultipartRequest(request) => {
            matches!(request, MultipartRequest::Unknown { .. } | MultipartRequest::Experimenter { .. })
        }
        Message::MultipartReply(reply) => {
            matches!(reply.body, MultipartBody::Unknown { .. } | MultipartBody::Experimenter { .. })
        }
        Message::BundleAdd(add) => is_carried(&add.message),
        _ => false,
    }
}

/// The error for which ovs-ofctl refuses the message, from what it printed.
fn theirs(bytes: &[u8], printed: &str) -> Option<String> {
    let (_, after) = printed.rsplit_once("***decode error: ")?;
    let (name, dump) = after.split_once("***")?;
    // It goes on after an error of a message inside of another, of which it shows fewer bytes. A bundle, though, is
    // refused by the switch for what is inside.
    let shown: usize = dump
        .lines()
        .filter_map(|line| line.get(10..58))
        .map(|hex| hex.split([' ', '-']).filter(|word| word.len() == 2).count())
        .sum();
    let is_bundle = bytes[1] == 4 && bytes[8..].starts_with(&[0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfd]);
    (is_bundle || shown == bytes.len()).then(|| name.to_owned())
}

/// True if ovs-ofctl says that it does not know such a message at all, where this crate carries it as it is.
fn is_unknown(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "OFPBRC_BAD_TYPE",
        "OFPBRC_BAD_STAT",
        "OFPBRC_BAD_VENDOR",
        "OFPBRC_BAD_SUBTYPE",
        "OFPBRC_BAD_EXPERIMENTER",
        "OFPBRC_BAD_EXPERIMENTER_TYPE",
    ];
    NAMES.contains(&name)
}

/// True for the errors of what this crate takes on purpose: fields and actions that Open vSwitch does not know are
/// carried unharmed, and OpenFlow 1.3 has ports of 32 bits, of which Open vSwitch has 16.
fn is_wider_here(name: &str) -> bool {
    const NAMES: [&str; 5] = [
        "OFPBMC_BAD_FIELD",
        "OFPBAC_BAD_TYPE",
        "OFPBAC_BAD_VENDOR",
        "OFPBAC_BAD_EXP_TYPE",
        "OFPBAC_BAD_OUT_PORT",
    ];
    NAMES.contains(&name)
}

#[test]
fn wrong_messages_are_taken_and_refused_as_by_ovs_ofctl() {
    let n = setting("SLUICE_MUTATIONS").unwrap_or(20_000) as usize;
    let mut random = Random::seeded(seed());
    let corpus = corpus(&mut random);
    let compare = ovs_ofctl::is_there();
    let folder = tempfile::tempdir().unwrap();
    let mut unstable = Vec::new();
    let (mut slowest, mut decoding) = (Duration::ZERO, Duration::ZERO);
    let (mut same_verdict, mut on_purpose, mut same_name, mut refused, mut done) = (0, 0, 0, 0, 0);
    let mut differences: BTreeMap<(u8, String, String), (usize, Vec<u8>)> = BTreeMap::new();
    while done < n {
        let batch: Vec<Vec<u8>> =
            (0..10_000.min(n - done)).map(|_| wrong_message(&corpus, &mut random)).collect();
        done += batch.len();
        let mut verdicts = Vec::with_capacity(batch.len());
        for bytes in &batch {
            let start = Instant::now();
            verdicts.push(ours(bytes, &mut unstable));
            let taken = start.elapsed();
            slowest = slowest.max(taken);
            decoding += taken;
        }
        if !compare {
            continue;
        }
        for ((bytes, (ours, carried)), printed) in
            batch.iter().zip(verdicts).zip(ovs_ofctl::printed_all(&batch, folder.path()))
        {
            let theirs = theirs(bytes, &printed);
            // It calls an error message whose error has no name too short.
            let unknown_to_both = carried && (bytes[1] == 1 || theirs.as_deref().is_some_and(is_unknown));
            same_verdict += usize::from(ours.is_some() == theirs.is_some() || unknown_to_both);
            on_purpose += usize::from(
                ours.is_none() && !unknown_to_both && theirs.as_deref().is_some_and(is_wider_here),
            );
            refused += usize::from(theirs.is_some() && !unknown_to_both);
            same_name += usize::from(theirs.is_some() && ours == theirs.as_deref());
            if ours != theirs.as_deref() && !unknown_to_both {
                let key = (bytes[1], theirs.unwrap_or("taken".into()), ours.unwrap_or("taken").to_owned());
                differences.entry(key).or_insert((0, bytes.clone())).0 += 1;
            }
        }
    }
    let shown: Vec<&str> = unstable.iter().take(10).map(|text| text.get(..3000).unwrap_or(text)).collect();
    println!("{done} wrong messages, the slowest in {slowest:?}, all in {decoding:?}");
    println!("{} are not read as they were written: {}", unstable.len(), shown.join("\n"));
    if !compare {
        assert!(unstable.is_empty());
        return;
    }
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
    let (verdicts, names) = (share(same_verdict, done), share(same_name, refused));
    let wider = share(on_purpose, done);
    println!("{verdicts:.2} % the same verdict as ovs-ofctl, {wider:.2} % taken here on purpose");
    println!("{names:.2} % of {refused} refusals by the same error");
    let mut worst: Vec<_> = differences.into_iter().collect();
    worst.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    let list: String = worst
        .iter()
        .take(setting("SLUICE_VERBOSE").map_or(15, |n| n as usize))
        .map(|((kind, theirs, ours), (n, bytes))| {
            let hex = hex(&bytes[..bytes.len().min(120)]);
            format!("\n{n:6} of type {kind}: ovs-ofctl {theirs}, here {ours}, such as {hex}")
        })
        .collect();
    println!("the most frequent differences:{list}");
    assert!(unstable.is_empty());
    assert!(verdicts >= 98.0 && verdicts + wider >= 98.5, "only {verdicts:.2} % and {wider:.2} %");
}
