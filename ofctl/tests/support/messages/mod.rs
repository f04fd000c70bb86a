//! Any message of every kind, by the name under which Open vSwitch knows it.
mod bodies;
mod experimenters;
mod multiparts;
pub(crate) mod parts;
mod plain;
mod tables;

use ofctl::wire::{Message, Xid};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The name of a kind, and how to make any message of it.
type Kind = (&'static str, BoxedStrategy<Message>);

/// Every kind of message, and how to make any of it.
pub(crate) fn kinds() -> Vec<Kind> {
    [plain::kinds(), experimenters::kinds(), multiparts::request_kinds(), multiparts::reply_kinds()].concat()
}

/// Values of a strategy that are the same for the same seed.
pub(crate) fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Messages of every kind in turn, their kinds, and their bytes.
pub(crate) fn some_of_each(n: usize, seed: u64) -> Vec<(&'static str, Message, Vec<u8>)> {
    let mut runner = runner(seed);
    let mut all = Vec::new();
    for (name, strategy) in kinds() {
        for _ in 0..n {
            let message = strategy.new_tree(&mut runner).expect("a strategy that gives values").current();
            let mut bytes = Vec::new();
            // Some are longer than a message can be.
            if message.encode(Xid(all.len() as u32), &mut bytes).is_ok() {
                all.push((name, message, bytes));
            }
        }
    }
    all
}
