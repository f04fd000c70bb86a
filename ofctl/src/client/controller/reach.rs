//! How connections come about: by dialling, and by listening.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Options;
use super::link::{self, LinkId, Report};
use crate::client::openflow::CloseReason;
use crate::client::stream::{Incoming, Listener, Stream};
use crate::client::target::Target;

/// What every link is given.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) options: Options,
    pub(super) reports: mpsc::Sender<Report>,
    next_link: Arc<AtomicUsize>,
}

impl Reach {
    pub(super) fn new(options: Options, reports: mpsc::Sender<Report>) -> Self {
        Reach { options, reports, next_link: Arc::new(AtomicUsize::new(0)) }
    }

    pub(super) fn number(&self) -> LinkId {
        LinkId(self.next_link.fetch_add(1, Ordering::Relaxed) as u64)
    }

    /// Gives up what takes longer than a handshake may.
    async fn in_time<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let limited = tokio::time::timeout(self.options.session.handshake_timeout, work).await;
        limited.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Connects to a target, for ever.
pub(super) async fn dial(target: Target, reach: Reach) {
    let name = target.to_string();
    let mut wait = reach.options.backoff_first;
    loop {
        match reach.in_time(Stream::connect(&target)).await {
            Ok(stream) => {
                let begun = Instant::now();
                let reason = link::run(stream, name.clone(), &reach).await;
                tracing::info!(target = %name, %reason, "connection ended");
                // Who was there for a while is not the one that hangs up at once.
                if begun.elapsed() >= reach.options.backoff_most {
                    wait = reach.options.backoff_first;
                }
            }
            Err(error) => tracing::info!(target = %name, %error, again_in = ?wait, "cannot connect"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(reach.options.backoff_most);
    }
}

/// Takes in connections, for ever.
pub(super) async fn listen(listener: Listener, reach: Reach) {
    let places = Arc::new(Semaphore::new(reach.options.connections));
    let mut links = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok(incoming) => {
                let reach = reach.clone();
                links.spawn(async move {
                    let peer = incoming.peer();
                    let reason = take_in(incoming, &peer, &reach).await;
                    tracing::info!(%peer, %reason, "connection ended");
                    drop(place);
                });
            }
            Err(error) => {
                // Such as too many open files, which pass when other connections end.
                tracing::warn!(%error, "cannot take in a connection; trying again in a second");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        while links.try_join_next().is_some() {}
    }
}

async fn take_in(incoming: Incoming, peer: &str, reach: &Reach) -> CloseReason {
    match reach.in_time(incoming.accept()).await {
        Ok(stream) => link::run(stream, peer.to_owned(), reach).await,
        Err(error) => CloseReason::Socket(error),
    }
}
