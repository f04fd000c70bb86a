//! Applications by name.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::kit::apps::{
    Hub, IsolatedSwitch, LearningSwitch, Member, RoutingSwitch, SelfLearningSwitch, SliceableSwitch, Slices,
    SwitchPort,
};
use crate::kit::{Application, DatapathId, Effects, Event};
use crate::wire::OfPort;

/// An application that a scenario may run.
pub(super) type Boxed = Box<dyn Application<Notice = ()> + Send>;

/// Runs nothing: the switches do what their flows say.
#[derive(Debug)]
pub(super) struct Nothing;

impl Application for Nothing {
    type Notice = ();

    fn handle(&mut self, _now: Duration, _event: &Event) -> Effects {
        Effects::none()
    }
}

/// Passes over what an application notices.
#[derive(Debug)]
struct Quiet<A>(A);

impl<A: Application> Application for Quiet<A> {
    type Notice = ();

    fn handle(&mut self, now: Duration, event: &Event) -> Effects {
        let mut effects = Effects::none();
        // There is nobody to tell.
        drop(effects.absorb(self.0.handle(now, event)));
        effects
    }
}

fn boxed<A: Application + Send + 'static>(application: A) -> Boxed {
    Box::new(Quiet(application))
}

/// How an application is begun.
type Begin = fn() -> Boxed;

const APPLICATIONS: &[(&str, Begin)] = &[
    ("hub", || boxed(Hub)),
    ("learning", || boxed(LearningSwitch::default())),
    ("self-learning", || boxed(SelfLearningSwitch)),
    ("isolated", || boxed(isolated())),
    ("routing", || boxed(RoutingSwitch::default())),
    ("slices", || boxed(sliced())),
];

/// Switches of a scenario are numbered from 1 in the order of their steps; those beyond have no groups or slices.
const SWITCHES: std::ops::RangeInclusive<u64> = 1..=16;

/// On every switch ports 1 and 2 are one group, 3 and 4 another, and the rest is shared.
fn isolated() -> IsolatedSwitch {
    SWITCHES.map(DatapathId).fold(IsolatedSwitch::default(), |switch, number| {
        let (first, second) = (NonZeroU32::MIN, NonZeroU32::MIN.saturating_add(1));
        switch.group(number, first, [1, 2].map(OfPort)).group(number, second, [3, 4].map(OfPort))
    })
}

/// On every switch port 1 is red, port 2 blue, and port 3 both.
fn sliced() -> SliceableSwitch {
    let mut slices = Slices::default();
    for switch in SWITCHES.map(DatapathId) {
        for (slice, port) in [("red", 1), ("blue", 2), ("red", 3), ("blue", 3)] {
            slices.add(slice.into(), Member::Port(SwitchPort::new(switch, OfPort(port))));
        }
    }
    SliceableSwitch::new(RoutingSwitch::new(slices))
}

/// The application of that name.
///
/// # Errors
/// A text that says which there are.
pub(super) fn by_name(name: &str) -> Result<Boxed, String> {
    match APPLICATIONS.iter().find(|(known, _)| *known == name) {
        Some((_, begin)) => Ok(begin()),
        None => {
            let names: Vec<&str> = APPLICATIONS.iter().map(|(name, _)| *name).collect();
            Err(format!("there is no application {name}; there is: {}", names.join(", ")))
        }
    }
}
