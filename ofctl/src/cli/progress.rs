//! Progress of long work, on standard error and only where that is a terminal.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// What takes less than this shows nothing.
const LONG: Duration = Duration::from_millis(700);
/// How often a shown line is renewed.
const RENEWED: Duration = Duration::from_millis(150);

/// A line that is written over itself.
pub(crate) struct Progress {
    terminal: bool,
    begun: Instant,
    renewed: Instant,
    shown: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Progress { terminal: std::io::stderr().is_terminal(), begun: now, renewed: now, shown: false }
    }

    /// Shows how far it is, if it takes long.
    pub(crate) fn at(&mut self, what: &str, done: usize, total: usize) {
        // The clock is not looked at for each of many items.
        if self.terminal && done.is_multiple_of(256) {
            let now = Instant::now();
            if now - self.begun >= LONG && now - self.renewed >= RENEWED {
                self.show(now, &format!("{what}: {done} of {total} ({} %)", 100 * done / total.max(1)));
            }
        }
    }

    fn show(&mut self, now: Instant, text: &str) {
        (self.renewed, self.shown) = (now, true);
        // Nobody is told less if the terminal is gone.
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Waits, and shows for how long if it takes long.
pub(crate) async fn wait<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut progress = Progress::new();
    if !progress.terminal {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(RENEWED) => {
                let now = Instant::now();
                let taken = now - progress.begun;
                if taken >= LONG {
                    progress.show(now, &format!("{what}: {:.1} s", taken.as_secs_f64()));
                }
            }
        }
    }
}
