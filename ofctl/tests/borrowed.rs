//! Views over bytes against the owned decoder: the same verdict, the same error and the same value, on messages with
//! every field and every action and on ones with a few bytes changed, cut off or moved.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use ofctl::flow::{FlowEntry, FlowStats};
use ofctl::wire::borrowed::{
    ActionView, FlowModRef, FlowStatsReplyRef, Instruction, InstructionsRef, MatchRef, PacketInRef,
};
use ofctl::wire::{
    Action, Cookie, DecodeError, Field, FlowMod, FlowModCommand, Instructions, Match, Message, MultipartBody,
    MultipartReply, OfPort, PacketIn, TableId, Xid,
};
use support::flows::{ACTIONS, of_action, of_field};
use support::random::Random;

/// A flow for each field and each action that the text can say.
fn flows(rounds: usize, seed: u64) -> Vec<FlowEntry> {
    let mut random = Random::seeded(seed);
    let mut texts = Vec::new();
    for _ in 0..rounds {
        texts.extend(Field::all().map(|field| of_field(field, &mut random)));
        texts.extend(ACTIONS.iter().map(|pattern| of_action(pattern, &mut random)));
    }
    let flows: Vec<FlowEntry> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    assert!(flows.len() * 10 > texts.len() * 9, "{} of {} can be read", flows.len(), texts.len());
    flows
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(Xid(0x1234), &mut bytes).unwrap();
    bytes
}

/// Some bytes changed, most often little; the length in the header stays right as often as not.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let place = random.below(bytes.len() as u64) as usize;
        match random.below(10) {
            0..4 => bytes[place] = random.next() as u8,
            4..6 => bytes[place] ^= 1 << random.below(8),
            6 => bytes[place] = 0,
            7 => bytes.truncate(place.max(8)),
            8 => {
                let (from, n) = (random.below(bytes.len() as u64) as usize, 8 * (1 + random.below(3)));
                let piece: Vec<u8> = bytes[from..].iter().copied().take(n as usize).collect();
                let place = place / 8 * 8;
                bytes.splice(place..place, piece);
            }
            _ => {
                let end = (place + 8).min(bytes.len());
                bytes.drain(place..end);
            }
        }
        if bytes.len() < 8 {
            return;
        }
    }
    if random.below(4) != 0 {
        let length = (bytes.len() as u16).to_be_bytes();
        bytes[2..4].copy_from_slice(&length);
    }
}

/// What the iterators of a match yield agrees with the value.
fn assert_match(view: MatchRef<'_>, owned: &Match) {
    assert_eq!(&view.to_match(), owned);
    let mut again = Match::new();
    let mut n = 0;
    for entry in view {
        n += 4 + entry.experimenter.map_or(0, |_| 4) + entry.value.len() + entry.mask.map_or(0, <[u8]>::len);
        let (Some(field), Some(value)) = (entry.field, entry.number()) else { continue };
        let mask = entry.mask.map_or(Some(field.exact_mask()), |_| entry.mask_number());
        again.set(field, value, mask.unwrap());
    }
    assert_eq!(n, view.bytes().len(), "entries without a gap");
    if owned.unknown().is_empty() {
        assert_eq!(&again, owned);
    }
}

/// What the iterators of instructions yield agrees with the value.
fn assert_instructions(view: InstructionsRef<'_>, owned: &Instructions) {
    let mut again = Instructions::default();
    for instruction in view {
        match instruction {
            Instruction::Meter(meter) => again.meter = Some(meter),
            Instruction::Clear => again.clear = true,
            Instruction::WriteMetadata { value, mask } => again.write_metadata = Some((value, mask)),
            Instruction::Goto(table) => again.goto = Some(table),
            Instruction::Apply(actions) => again.apply = actions.map(|action| assert_view(&action)).collect(),
            Instruction::Write(actions) => again.write = actions.map(|action| assert_view(&action)).collect(),
        }
    }
    assert_eq!(&again, owned);
}

fn assert_view(action: &ofctl::wire::borrowed::ActionRef<'_>) -> Action {
    let owned = action.to_action();
    match (action.view(), &owned) {
        (ActionView::Output { port, .. }, Action::Output(same)) => assert_eq!(port, *same),
        (ActionView::Output { port, max_len }, Action::OutputWith { port: same, max_len: length }) => {
            assert_eq!((port, max_len), (*same, *length));
        }
        (ActionView::Output { port, max_len }, Action::Controller { max_len: length }) => {
            assert_eq!((port, max_len), (OfPort::CONTROLLER, *length));
        }
        (ActionView::Group(group), Action::Group(same)) => assert_eq!(group, *same),
        (ActionView::SetField(field, value), same) => assert_eq!(&Action::SetField(field, value), same),
        (ActionView::RegLoad { dst, value }, same) => assert_eq!(&Action::load(dst, value), same),
        (ActionView::Resubmit { table, .. }, Action::ResubmitTable { table: same }) => {
            assert_eq!(table, *same)
        }
        (ActionView::Resubmit { port, table }, same) => {
            assert_eq!(&Action::ResubmitPort { port, table }, same);
        }
        (ActionView::Ct { flags, table, alg, actions, .. }, Action::Ct(ct)) => {
            assert_eq!((flags, table, alg), (ct.flags, ct.table, ct.alg));
            assert_eq!(actions.map(|action| action.to_action()).collect::<Vec<_>>(), ct.actions);
        }
        (ActionView::Other(bytes), _) => assert_eq!(bytes, action.bytes()),
        (view, owned) => panic!("{view:?} is not {owned:?}"),
    }
    owned
}

fn compare_flow_mod(bytes: &[u8]) -> Result<(), DecodeError> {
    match (FlowModRef::decode(bytes), Message::decode(bytes)) {
        (Ok((xid, view)), Ok((same, Message::FlowMod(owned)))) => {
            assert_eq!(xid, same);
            let numbers = FlowMod {
                command: view.command(),
                cookie: view.cookie(),
                cookie_mask: view.cookie_mask(),
                table: view.table(),
                priority: view.priority(),
                idle_timeout: view.idle_timeout(),
                hard_timeout: view.hard_timeout(),
                flags: view.flags(),
                buffer_id: view.buffer_id(),
                out_port: view.out_port(),
                out_group: view.out_group(),
                ..owned.clone()
            };
            assert_eq!((&numbers, &view.to_flow_mod()), (&owned, &owned));
            assert_match(view.matching(), &owned.matching);
            assert_instructions(view.instructions(), &owned.instructions);
            Ok(())
        }
        (Err(error), Err(same)) => {
            assert_eq!(error, same);
            Err(error)
        }
        (Err(DecodeError::BadValue { what: "type of the message", .. }), Ok((_, other))) => {
            assert!(!matches!(other, Message::FlowMod(_)));
            Ok(())
        }
        (view, owned) => panic!("the view says {view:?}, the owned decoder {owned:?}"),
    }
}

#[test]
fn flow_mods_are_the_same_whole_and_broken() {
    let commands = [FlowModCommand::Add, FlowModCommand::Modify, FlowModCommand::DeleteStrict];
    let mut random = Random(99);
    let (mut taken, mut refused) = (0, 0);
    for (place, entry) in flows(2, 5).into_iter().enumerate() {
        let flow = FlowMod { command: commands[place % 3], cookie_mask: 7, ..FlowMod::add(entry) };
        let bytes = bytes_of(&Message::FlowMod(flow));
        compare_flow_mod(&bytes).unwrap();
        for _ in 0..60 {
            let mut broken = bytes.clone();
            mutate(&mut broken, &mut random);
            *(if compare_flow_mod(&broken).is_ok() { &mut taken } else { &mut refused }) += 1;
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused: one side was hardly tried");
}

/// A message whose match has these entries, one after the other, and nothing else that counts.
fn with_entries(entries: &[&[u8]]) -> Vec<u8> {
    let mut bytes = bytes_of(&Message::FlowMod(FlowMod::new(FlowModCommand::Add, TableId(0))));
    bytes.truncate(48);
    let length: usize = 4 + entries.iter().map(|entry| entry.len()).sum::<usize>();
    bytes.extend([0, 1]);
    bytes.extend((length as u16).to_be_bytes());
    entries.iter().for_each(|entry| bytes.extend(*entry));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let length = (bytes.len() as u16).to_be_bytes();
    bytes[2..4].copy_from_slice(&length);
    bytes
}

#[test]
fn fields_may_stand_in_any_order_and_none_twice() {
    let whole = flows(1, 3);
    let (mut taken, mut refused) = (0, 0);
    for entry in whole {
        let bytes = bytes_of(&Message::FlowMod(FlowMod::add(entry)));
        let (_, view) = FlowModRef::decode(&bytes).unwrap();
        let mut left = view.matching().bytes();
        let mut entries = Vec::new();
        while !left.is_empty() {
            let (entry, rest) = left.split_at(4 + usize::from(left[3]));
            entries.push(entry);
            left = rest;
        }
        entries.reverse();
        compare_flow_mod(&with_entries(&entries)).unwrap();
        taken += 1;
        for twice in entries.clone() {
            let mut more = entries.clone();
            more.insert(0, twice);
            // Only what the field table does not know may be there twice, and long registers.
            refused += usize::from(compare_flow_mod(&with_entries(&more)).is_err());
            more.rotate_left(1);
            let _ = compare_flow_mod(&with_entries(&more));
        }
    }
    assert!(taken > 150 && refused > 300, "{taken} taken, {refused} refused");
}

#[test]
fn packet_ins_are_the_same_whole_and_broken() {
    let mut random = Random(7);
    for entry in flows(1, 6) {
        let packet = PacketIn {
            buffer_id: 1,
            total_len: 200,
            reason: 1,
            table: TableId(9),
            cookie: Cookie(8),
            matching: entry.matching,
            data: (0..60).collect(),
        };
        let bytes = bytes_of(&Message::PacketIn(packet));
        for attempt in 0..30 {
            let mut bytes = bytes.clone();
            if attempt > 0 {
                mutate(&mut bytes, &mut random);
            }
            match (PacketInRef::decode(&bytes), Message::decode(&bytes)) {
                (Ok((xid, view)), Ok((same, Message::PacketIn(owned)))) => {
                    assert_eq!((xid, &view.to_packet_in()), (same, &owned));
                    let numbers =
                        (view.buffer_id(), view.total_len(), view.reason(), view.table(), view.cookie());
                    let wanted = (owned.buffer_id, owned.total_len, owned.reason, owned.table, owned.cookie);
                    assert_eq!((numbers, view.data()), (wanted, &owned.data[..]));
                    assert_match(view.matching(), &owned.matching);
                }
                (Err(error), Err(same)) => assert_eq!(error, same),
                (Err(_), Ok((_, other))) => assert!(!matches!(other, Message::PacketIn(_)), "{other:?}"),
                (view, owned) => panic!("the view says {view:?}, the owned decoder {owned:?}"),
            }
        }
    }
}

#[test]
fn flow_statistics_are_the_same_whole_and_broken() {
    let mut random = Random(11);
    let all: Vec<FlowStats> = flows(1, 8)
        .into_iter()
        .map(|entry| FlowStats {
            entry,
            duration: std::time::Duration::new(5, 6),
            packets: random.next(),
            bytes: random.next(),
        })
        .collect();
    for some in all.chunks(3) {
        let reply = MultipartReply { more: some.len() == 3, body: MultipartBody::Flow(some.to_vec()) };
        let bytes = bytes_of(&Message::MultipartReply(reply));
        for attempt in 0..60 {
            let mut bytes = bytes.clone();
            if attempt > 0 {
                mutate(&mut bytes, &mut random);
            }
            match (FlowStatsReplyRef::decode(&bytes), Message::decode(&bytes)) {
                (Ok((xid, view)), Ok((same, Message::MultipartReply(owned)))) => {
                    assert_eq!((xid, view.more()), (same, owned.more));
                    let MultipartBody::Flow(owned) = owned.body else { panic!("{:?}", owned.body) };
                    assert_eq!(view.map(|entry| entry.to_flow_stats()).collect::<Vec<_>>(), owned);
                    for (view, owned) in view.zip(&owned) {
                        let again = FlowStats {
                            entry: FlowEntry {
                                table: view.table(),
                                priority: view.priority(),
                                cookie: view.cookie(),
                                idle_timeout: view.idle_timeout(),
                                hard_timeout: view.hard_timeout(),
                                flags: view.flags(),
                                ..owned.entry.clone()
                            },
                            duration: view.duration(),
                            packets: view.packets(),
                            bytes: view.bytes(),
                        };
                        assert_eq!(&again, owned);
                        assert_match(view.matching(), &owned.entry.matching);
                        assert_instructions(view.instructions(), &owned.entry.instructions);
                    }
                }
                (Err(error), Err(same)) => assert_eq!(error, same),
                (Err(_), Ok((_, Message::MultipartReply(other)))) => {
                    assert!(!matches!(other.body, MultipartBody::Flow(_)), "{other:?}");
                }
                (Err(_), Ok(_)) => {}
                (view, owned) => panic!("the view says {view:?}, the owned decoder {owned:?}"),
            }
        }
    }
}
