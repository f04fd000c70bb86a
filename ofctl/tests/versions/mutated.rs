//! Broken messages of every version: no panic, and what is taken is written and read again as the same.

use ofctl::flow::FlowEntry;
use ofctl::wire::versions::{Bucket, BucketId, FlowMod, GroupMod, Message, SelectionMethod, Version};
use ofctl::wire::{
    Bucket as Bucket13, Field, FlowMod as FlowMod13, GroupId, GroupMod as GroupMod13, GroupModCommand,
    GroupType,
};

use super::encode;
use super::support::flows::{ACTIONS, of_action, of_field};
use super::support::hex;
use super::support::random::Random;

/// Messages that each version can say: flows of every field and action, and groups with their actions.
fn messages(version: Version, random: &mut Random) -> Vec<Vec<u8>> {
    let fields = Field::all().map(|field| of_field(field, random)).collect::<Vec<_>>();
    let actions = ACTIONS.iter().map(|pattern| of_action(pattern, random)).collect::<Vec<_>>();
    let entries = fields.iter().chain(&actions).filter_map(|text| text.parse::<FlowEntry>().ok());
    let mut all = Vec::new();
    for (place, entry) in entries.enumerate() {
        let apply = entry.instructions.apply.clone();
        let flow = FlowMod { flow: FlowMod13::add(entry), importance: 0 };
        all.extend(encode(version, &Message::FlowMod(flow)));
        if place % 4 != 0 {
            continue;
        }
        let mut group = GroupMod::from(GroupMod13 {
            command: GroupModCommand::Add,
            kind: GroupType::Select,
            group: GroupId(5),
            buckets: vec![Bucket13::new(7, apply)],
        });
        if version == Version::OpenFlow15 {
            group.buckets.push(Bucket {
                id: BucketId(77),
                bucket: Bucket13::new(1, Vec::new()),
                properties: Vec::new(),
            });
            group.selection = Some(SelectionMethod {
                method: "hash".to_owned(),
                parameter: 3,
                fields: vec![(Field::EthSrc, Field::EthSrc.exact_mask())],
            });
        }
        all.extend(encode(version, &Message::GroupMod(group)));
    }
    all
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(2) {
        let place = 8 + random.below(bytes.len() as u64 - 8) as usize;
        match random.below(8) {
            0..3 => bytes[place] = random.next() as u8,
            3..6 => bytes[place] ^= 1 << random.below(8),
            6 => bytes[place] = 0,
            _ => bytes.truncate((place / 8 * 8).max(16)),
        }
    }
    let length = (bytes.len() as u16).to_be_bytes();
    bytes[2..4].copy_from_slice(&length);
}

#[test]
fn what_is_taken_is_written_and_read_again_as_the_same() {
    let mut random = Random(4242);
    for version in Version::ALL {
        let (mut taken, mut refused) = (0, 0);
        for message in messages(version, &mut random) {
            for _ in 0..20 {
                let mut broken = message.clone();
                mutate(&mut broken, &mut random);
                let Ok((read, xid, message)) = Message::decode(&broken) else {
                    refused += 1;
                    continue;
                };
                taken += 1;
                assert_eq!(read, version);
                let mut again = Vec::new();
                // What is carried as it came can be longer in a version than where it came from.
                if message.encode(version, xid, &mut again).is_ok() {
                    // A set_field can come back as the load that it was written as, and is then written the same.
                    let (.., second) =
                        Message::decode(&again).unwrap_or_else(|error| panic!("{error}: {}", hex(&broken)));
                    let mut third = Vec::new();
                    second.encode(version, xid, &mut third).unwrap();
                    assert_eq!(hex(&third), hex(&again), "{}", hex(&broken));
                }
            }
        }
        assert!(taken > 500 && refused > 500, "{version}: {taken} taken, {refused} refused");
    }
}
