//! Applications by name.

use std::time::Duration;

use crate::kit::apps::{Hub, LearningSwitch};
use crate::kit::{Application, Effects, Event};

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

const APPLICATIONS: &[(&str, Begin)] =
    &[("hub", || boxed(Hub)), ("learning", || boxed(LearningSwitch::default()))];

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
