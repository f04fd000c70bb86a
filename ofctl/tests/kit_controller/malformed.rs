//! Messages that are none, sent to a live controller.

use ofctl::wire::{ErrorCode, Message, PortReason, PortStatus, Xid};

use super::support::random::Random;
use super::support::{recorder, unhex};
use super::{Running, answers, packet, quick};

/// What Open vSwitch's own tools put on the wire, and what a switch says by itself.
fn corpus() -> Vec<Vec<u8>> {
    let recorded = [include_str!("../vectors/messages.txt"), include_str!("../vectors/flow_mods.txt")];
    let lines = recorded.into_iter().flat_map(str::lines);
    let hex = lines.filter(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let own = [
        Message::PacketIn(packet(1)),
        Message::PortStatus(PortStatus { reason: PortReason::Modify, port: recorder::port() }),
        Message::EchoRequest(vec![1, 2, 3]),
        Message::BarrierReply,
    ];
    let own = own.iter().map(|message| {
        let mut bytes = Vec::new();
        message.encode(Xid(0), &mut bytes).unwrap();
        bytes
    });
    hex.map(unhex).chain(own).collect()
}

/// The error that a message is to be answered with; none if it is to be taken.
fn verdict(bytes: &[u8]) -> Option<ErrorCode> {
    let refused = match Message::decode(bytes) {
        Ok((_, Message::Unknown { .. })) => "OFPBRC_BAD_TYPE",
        Ok(_) => return None,
        // Errors are not answered by errors.
        Err(_) if bytes[1] == 1 => return None,
        Err(error) => error.name(),
    };
    Some(ErrorCode::from_name(refused).unwrap())
}

#[tokio::test]
async fn ten_thousand_malformed_messages_are_each_answered_by_their_error() {
    let running = Running::start(quick());
    running.listen().await;
    let mut fake = running.fake(1).await;
    assert!(fake.live(|told| !told.is_empty()).await);
    running.noticed("up 1").await;

    let corpus = corpus();
    assert!(corpus.len() > 100);
    let mut random = Random::seeded(1);
    let mut refused = 0;
    let mut errors = std::collections::BTreeSet::new();
    for number in 0u32.. {
        if refused == 10_000 {
            break;
        }
        let mut bytes = corpus[random.below(corpus.len() as u64) as usize].clone();
        match random.below(3) {
            // Cut, with a length that says so.
            0 => bytes.truncate(8 + random.below(bytes.len() as u64 - 7) as usize),
            // Longer than what it holds.
            1 => bytes.extend(std::iter::repeat_n(random.next() as u8, 1 + random.below(16) as usize)),
            _ => {}
        }
        for _ in 0..1 + random.below(4) {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] = random.next() as u8;
        }
        // The framing stays, or no error could be told from the next; so does the number.
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        bytes[2..4].copy_from_slice(&length);
        bytes[4..8].copy_from_slice(&(0x4000_0000 + number).to_be_bytes());
        let Some(wanted) = verdict(&bytes) else { continue };
        refused += 1;
        errors.insert(wanted.name());
        let (xid, answer) = fake.exchange(&bytes).await.expect("the session should live on");
        let Message::Error(error) = answer else { panic!("{bytes:02x?} was answered by {answer:?}") };
        assert_eq!((xid, error.error), (Xid(0x4000_0000 + number), wanted), "{bytes:02x?}");
        assert_eq!(error.data, bytes[..bytes.len().min(64)]);
    }
    assert!(errors.len() >= 10, "{errors:?}");
    // And it does its work.
    fake.say(&Message::PacketIn(packet(77))).await;
    assert!(fake.live(|told| answers(told) == [77]).await);
}

#[tokio::test]
async fn a_length_that_cannot_be_ends_that_connection_alone() {
    let running = Running::start(quick());
    running.listen().await;
    let (mut bad, mut good) = (running.fake(1).await, running.fake(2).await);
    for fake in [&mut bad, &mut good] {
        assert!(fake.live(|told| !told.is_empty()).await);
    }
    // Shorter than the header that says so: where the next one begins is not known.
    assert_eq!(bad.exchange(&[4, 10, 0, 7, 0, 0, 0, 1]).await, None);
    running.noticed("gone 1").await;
    good.say(&Message::PacketIn(packet(3))).await;
    assert!(good.live(|told| answers(told) == [3]).await);
}
