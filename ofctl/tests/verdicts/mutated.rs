//! Messages made wrong at random, said to a real switch and to the simulator.

use std::collections::BTreeMap;

use ofctl::sim::Switch;
use ofctl::verdict::{self, Violation};
use ofctl::wire::{
    ErrorMessage, FlowMod, FlowModCommand, FragmentMode, GroupId, GroupMod, GroupModCommand, GroupType,
    Message, MeterFlags, MeterId, MeterMod, MeterModCommand, NiciraMessage, SwitchConfig, TableId,
    TlvTableCommand, TlvTableMod, Xid,
};

use super::support::mutations::{corpus, wrong_once};
use super::support::random::Random;
use super::support::{hex, seed, setting};
use super::switch::{Ovs, Said, number, ports};

/// Messages said to one switch before both begin anew.
const ROUND: usize = 40;

fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(Xid(0), &mut bytes).unwrap();
    bytes
}

/// What makes a switch forget all that messages left in it.
pub(crate) fn forget() -> Vec<Vec<u8>> {
    let groups = GroupMod {
        command: GroupModCommand::Delete,
        kind: GroupType::All,
        group: GroupId::ALL,
        buckets: Vec::new(),
    };
    let meters = MeterMod {
        command: MeterModCommand::Delete,
        flags: MeterFlags::default(),
        meter: MeterId::ALL,
        bands: Vec::new(),
    };
    let tunnels = TlvTableMod { command: TlvTableCommand::Clear, maps: Vec::new() };
    let config = SwitchConfig { fragments: FragmentMode::Normal, miss_send_len: 0 };
    [
        Message::FlowMod(FlowMod::new(FlowModCommand::Delete, TableId::ALL)),
        Message::GroupMod(groups),
        Message::MeterMod(meters),
        Message::Nicira(NiciraMessage::TlvTableMod(tunnels)),
        Message::SetConfig(config),
    ]
    .iter()
    .map(bytes)
    .collect()
}

fn ours(switch: &mut Switch, message: &[u8]) -> Vec<String> {
    let answers = switch.hear(message).into_iter();
    let errors = answers.filter_map(|(_, answer)| match answer {
        Message::Error(ErrorMessage { error, .. }) => Some(error.to_string()),
        _ => None,
    });
    errors.collect()
}

/// What is for a switch to hear, and a few of what it only says, which is refused unread.
fn heard(corpus: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let (said, mut heard): (Vec<_>, Vec<_>) = corpus.into_iter().partition(|message| {
        let is_said =
            verdict::of(message).is_err_and(|violation| matches!(violation, Violation::Direction { .. }));
        is_said || message[1] <= 1
    });
    heard.extend(said.into_iter().step_by(10));
    heard
}

/// Differences that are as they should be, and why.
fn explained(message: &[u8], ours: &[String], theirs: &Said) -> Option<&'static str> {
    let (they, we) = (theirs.errors.first().map(String::as_str), ours.first().map(String::as_str));
    let by_itself = verdict::of(message).err().map(|violation| violation.name());
    match (message[1], they, we) {
        (0 | 1, Some("OFPBRC_BAD_TYPE" | "OFPBRC_BAD_LEN"), None) => {
            Some("a second hello says nothing new, and an error is never answered by one")
        }
        _ if theirs.hung_up && by_itself.is_none() => Some("it ends ovs-vswitchd itself"),
        (4, _, Some("OFPBRC_BAD_SUBTYPE" | "OFPBRC_BAD_TYPE")) if by_itself.is_none() => {
            Some("a message that the simulator does not know, and the codec does")
        }
        (18, _, Some("OFPBRC_BAD_VENDOR" | "OFPBRC_BAD_STAT")) if by_itself.is_none() => {
            Some("a multipart that the simulator does not know, and the codec does")
        }
        (18, _, Some("OFPBRC_MULTIPART_BUFFER_OVERFLOW")) => {
            Some("requests in parts: it waits for the rest, and here they are refused")
        }
        (18, None, Some("OFPBRC_BAD_PORT")) => Some("statistics of a port that there is not: it sends none"),
        (18, None, Some("OFPBRC_BAD_LEN")) => Some("it passes over what is left after a request"),
        (24, Some("OFPRRFC_STALE"), None) => Some("its elections outlive connections"),
        (_, Some("NXBRC_UNENCODABLE_ERROR"), Some(_)) => Some("it cannot say this error in OpenFlow 1.3"),
        (_, Some("OFPBMC_BAD_FIELD"), Some("OFPBMC_BAD_LEN")) => {
            Some("it looks fields up with their lengths")
        }
        (_, Some("OFPBRC_IS_SECONDARY"), _) | (_, _, Some("OFPBRC_IS_SECONDARY")) => {
            Some("roles by NXT_ROLE_REQUEST, which the simulator does not know")
        }
        (15, None, Some("OFPBAC_BAD_TYPE")) => {
            Some("an action in a bucket that no action set holds: it takes it, and never carries it out")
        }
        (_, Some("OFPBMC_BAD_LEN"), Some("OFPBMC_BAD_TYPE")) => {
            Some("it still reads OpenFlow 1.1's form of a match")
        }
        _ => None,
    }
}

#[test]
fn a_real_switch_and_the_simulator_refuse_the_same_by_the_same_error() {
    let Some(mut ovs) = Ovs::start() else { return };
    let n = setting("SLUICE_VERDICTS").unwrap_or(4_000) as usize;
    let mut random = Random::seeded(seed());
    let corpus = heard(corpus(&mut random));
    let forget = forget();
    let mut crashes = Vec::new();
    let (mut done, mut refused, mut same_verdict, mut same_name) = (0, 0, 0, 0);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differences: BTreeMap<(u8, String, String), (usize, Vec<u8>)> = BTreeMap::new();
    while done < n {
        let round: Vec<Vec<u8>> =
            (0..ROUND.min(n - done)).map(|_| wrong_once(&corpus, &mut random)).collect();
        let said = ovs.connect().exchange(&[&forget[..], &round[..]].concat());
        assert!(said.len() > forget.len(), "it does not even forget");
        assert!(said[..forget.len()].iter().all(|said| said.errors.is_empty()), "{said:?}");
        let hung_up = said.last().is_some_and(|said| said.hung_up);
        if hung_up && !ovs.survived() {
            crashes.push(hex(&round[said.len() - forget.len() - 1]));
        }
        let mut switch = Switch::new().with_ports(ports());
        for (place, (message, theirs)) in round.iter().zip(&said[forget.len()..]).enumerate() {
            let mut message = message.clone();
            number(&mut message, (forget.len() + place) as u32 + 1);
            let ours = ours(&mut switch, &message);
            done += 1;
            refused += usize::from(!theirs.errors.is_empty());
            let same = ours.is_empty() == theirs.errors.is_empty();
            same_verdict += usize::from(same);
            if ours == theirs.errors && !theirs.hung_up {
                same_name += 1;
            } else if let Some(why) = explained(&message, &ours, theirs) {
                *reasons.entry(why).or_default() += 1;
            } else {
                let hung_up = if theirs.hung_up { " and hangs up" } else { "" };
                let key = (message[1], format!("{:?}{hung_up}", theirs.errors), format!("{ours:?}"));
                differences.entry(key).or_insert((0, message)).0 += 1;
            }
        }
    }
    println!("{} messages end ovs-vswitchd itself: {crashes:#?}", crashes.len());
    let share = |part: usize| 100.0 * part as f64 / done as f64;
    println!("{done} messages, {refused} refused by a real switch");
    println!("{:.2} % the same verdict, {:.2} % the same errors", share(same_verdict), share(same_name));
    for (why, n) in &reasons {
        println!("{n:6} {why}");
    }
    let explained: usize = reasons.values().sum();
    let mut worst: Vec<_> = differences.into_iter().collect();
    worst.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    for ((kind, theirs, ours), (n, message)) in
        worst.iter().take(setting("SLUICE_VERBOSE").unwrap_or(15) as usize)
    {
        let shown = hex(&message[..message.len().min(160)]);
        println!("{n:6} of type {kind}: it says {theirs}, here {ours}, such as {shown}");
    }
    assert!(share(same_name + explained) >= 97.0, "too many differences");
}
