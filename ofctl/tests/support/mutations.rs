//! Messages of every kind made wrong at random.

use super::messages::some_of_each;
use super::random::Random;
use super::unhex;

const HEADER: usize = 8;

/// One wrong byte, length or piece.
pub(crate) fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = HEADER + random.below((bytes.len() - HEADER) as u64 + 1) as usize;
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next() as u8,
        2 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
        // Lengths are 16 bits on an even place.
        3 if at + 1 < bytes.len() => {
            let at = at & !1;
            let number = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let change = [1, 2, 4, 8, 16, 0xfff8, 0xffff][random.below(7) as usize];
            bytes[at..at + 2].copy_from_slice(&number.wrapping_add(change).to_be_bytes());
        }
        4 => bytes.truncate(at),
        5 => bytes.extend((0..random.below(17)).map(|_| 0)),
        6 if at < bytes.len() => {
            let n = (1 + random.below(16) as usize).min(bytes.len() - at);
            bytes.drain(at..at + n);
        }
        _ => {
            let other = &others[random.below(others.len() as u64) as usize];
            let from = random.below(other.len() as u64) as usize;
            let piece = &other[from..(from + 8).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}

/// A message that is wrong in one place, but for its version and length, by which streams are divided.
pub(crate) fn wrong_once(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(&corpus.iter().collect::<Vec<_>>()).clone();
    mutate(&mut bytes, corpus, random);
    frame(&mut bytes);
    bytes
}

/// Writes the message's length into its header, by which streams are divided.
pub(crate) fn frame(bytes: &mut Vec<u8>) {
    bytes.truncate(0xfff8);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

/// A message that is wrong in a few places, but for its version and length, by which streams are divided.
pub(crate) fn wrong_message(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len() as u64) as usize].clone();
    for _ in 0..=random.below(3) {
        mutate(&mut bytes, corpus, random);
    }
    frame(&mut bytes);
    bytes
}

/// Messages of every kind of OpenFlow 1.3, made and recorded, that are not too long, so that one place is not like the
/// other.
pub(crate) fn corpus(random: &mut Random) -> Vec<Vec<u8>> {
    let recorded = include_str!("../vectors/messages.txt").lines().filter(|line| line.starts_with("04"));
    let made = some_of_each(8, random.next()).into_iter().map(|(_, _, bytes)| bytes);
    made.chain(recorded.map(unhex)).filter(|bytes| bytes.len() < 1500 && bytes[0] == 4).collect()
}
