//! The order of a rollout: canaries first, so many boxes at once, and an end when too many fail.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How a fleet is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How many boxes at once.
    pub jobs: usize,
    /// How many go first; only when all of them are well does another begin.
    pub canary: usize,
    /// How many may have failed when no other begins.
    pub max_fail: usize,
}

/// What came of one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T, E> {
    /// It went well.
    Ok(T),
    /// It failed.
    Failed(E),
    /// It was not begun.
    Skipped(Skip),
}

/// Why a box was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// A canary failed.
    Canary,
    /// So many had failed.
    Failures(usize),
    /// The operator interrupted.
    Interrupted,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canary => f.write_str("a canary failed"),
            Self::Failures(1) => f.write_str("1 host had failed"),
            Self::Failures(n) => write!(f, "{n} hosts had failed"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// Does `work` for the boxes from 0 to `count`, by the rules. What has begun is finished, also when `interrupted`.
pub fn roll<T: Send, E: Send>(
    count: usize,
    rules: Rules,
    interrupted: &AtomicBool,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Vec<Outcome<T, E>> {
    let results: Vec<Mutex<Option<Outcome<T, E>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let failures = AtomicUsize::new(0);
    let wave = |from: usize, to: usize, max_fail: usize| {
        let next = AtomicUsize::new(from);
        let worker = || {
            loop {
                let failed = failures.load(Ordering::SeqCst);
                if failed >= max_fail || interrupted.load(Ordering::SeqCst) {
                    return;
                }
                let at = next.fetch_add(1, Ordering::SeqCst);
                if at >= to {
                    return;
                }
                let outcome = match work(at) {
                    Ok(done) => Outcome::Ok(done),
                    Err(error) => {
                        failures.fetch_add(1, Ordering::SeqCst);
                        Outcome::Failed(error)
                    }
                };
                *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            }
        };
        thread::scope(|scope| {
            for _ in 0..rules.jobs.max(1).min(to - from) {
                scope.spawn(worker);
            }
        });
    };
    let canaries = rules.canary.min(count);
    wave(0, canaries, 1);
    let canary_failed = failures.load(Ordering::SeqCst) > 0;
    if !canary_failed {
        wave(canaries, count, rules.max_fail.max(1));
    }
    let failed = failures.load(Ordering::SeqCst);
    let why = if interrupted.load(Ordering::SeqCst) && !canary_failed && failed < rules.max_fail.max(1) {
        Skip::Interrupted
    } else if canary_failed {
        Skip::Canary
    } else {
        Skip::Failures(failed)
    };
    let taken = results.into_iter().map(|r| r.into_inner().unwrap_or_else(PoisonError::into_inner));
    taken.map(|result| result.unwrap_or(Outcome::Skipped(why))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(jobs: usize, canary: usize, max_fail: usize) -> Rules {
        Rules { jobs, canary, max_fail }
    }

    /// One letter a box: ok, failed, skipped.
    fn letters(count: usize, rules: Rules, bad: &[usize]) -> String {
        let none = AtomicBool::new(false);
        let outcomes = roll(count, rules, &none, |i| if bad.contains(&i) { Err(()) } else { Ok(()) });
        let letter = |o: &Outcome<(), ()>| match o {
            Outcome::Ok(()) => 'o',
            Outcome::Failed(()) => 'f',
            Outcome::Skipped(_) => 's',
        };
        outcomes.iter().map(letter).collect()
    }

    #[test]
    fn one_at_a_time_the_order_is_exact() {
        assert_eq!(letters(4, rules(1, 0, 1), &[]), "oooo");
        assert_eq!(letters(4, rules(1, 0, 1), &[1]), "ofss");
        assert_eq!(letters(4, rules(1, 0, 2), &[1, 2]), "offs");
        assert_eq!(letters(4, rules(1, 2, 9), &[1]), "ofss", "one failed canary is enough");
        assert_eq!(letters(4, rules(1, 2, 9), &[2, 3]), "ooff");
        assert_eq!(letters(2, rules(1, 9, 1), &[]), "oo", "more canaries than boxes");
        assert_eq!(letters(0, rules(1, 1, 1), &[]), "");
    }

    #[test]
    fn no_other_begins_before_all_canaries_are_done() {
        let done = AtomicUsize::new(0);
        let none = AtomicBool::new(false);
        let outcomes = roll(20, rules(4, 3, 1), &none, |i| {
            if i >= 3 && done.load(Ordering::SeqCst) < 3 {
                return Err(i);
            }
            thread::yield_now();
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Ok(()))), "{outcomes:?}");
    }

    #[test]
    fn an_interrupt_lets_what_has_begun_finish() {
        let stop = AtomicBool::new(false);
        let outcomes: Vec<Outcome<(), ()>> = roll(3, rules(1, 0, 1), &stop, |_| {
            stop.store(true, Ordering::SeqCst);
            Ok(())
        });
        let skipped = Outcome::Skipped(Skip::Interrupted);
        assert_eq!(outcomes, [Outcome::Ok(()), skipped.clone(), skipped]);
    }

    proptest! {
        #[test]
        fn however_many_at_once_no_more_than_those_under_way_fail(
            count in 0..30_usize, jobs in 1..6_usize, canary in 0..5_usize, max_fail in 1..5_usize,
            bad in prop::collection::vec(0..30_usize, 0..10),
        ) {
            let text = letters(count, rules(jobs, canary, max_fail), &bad);
            let failed = text.matches('f').count();
            prop_assert_eq!(text.len(), count);
            prop_assert!(failed < max_fail + jobs);
            let stops = text.contains('s');
            prop_assert!(!stops || failed >= max_fail || text[..canary.min(count)].contains('f'));
            prop_assert!(text.chars().enumerate().all(|(i, c)| c == 's' || (c == 'f') == bad.contains(&i)));
        }
    }
}
