//! A key on a lease, for as long as somebody holds it.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Error, LeaseGrantOptions, PutOptions};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::connection::{Connection, Repeat};
use super::fault::Fault;
use super::{Etcd, mirror};

/// etcd does not grant less.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// Keeps the key until `let_go` resolves (its sender was dropped), then removes it.
pub(super) async fn keep(
    store: Arc<Etcd>,
    key: String,
    value: Vec<u8>,
    ttl: Duration,
    mut let_go: oneshot::Receiver<()>,
) {
    let ttl = ttl.max(SHORTEST_TTL);
    let mut lease: Option<i64> = None;
    let mut was_away = false;
    loop {
        let tick = async {
            if let Some(id) = lease
                && store.connections.call(Repeat::Freely, |c| still_there(c, id, &key)).await?
            {
                return Ok(id);
            }
            let set = |c| set(c, &key, &value, ttl);
            store.connections.call(Repeat::Freely, set).await
        };
        let next = match tick.await {
            Ok(id) => {
                if was_away {
                    tracing::info!(key, "present again");
                }
                (lease, was_away) = (Some(id), false);
                ttl / 3
            }
            Err(fault) => {
                if !was_away {
                    tracing::warn!(key, "not kept present: {}", Fault::into_error(fault, store.name()));
                }
                was_away = true;
                mirror::jittered(ttl / 6)
            }
        };
        tokio::select! {
            () = sleep_until(Instant::now() + next) => {}
            _ = &mut let_go => break,
        }
    }
    if let Some(id) = lease {
        let revoke = |mut c: Connection| async move { c.lease.revoke(id).await };
        if let Err(fault) = store.connections.call(Repeat::Freely, revoke).await {
            tracing::info!(key, "goes with its lease: {}", fault.into_error(store.name()));
        }
    }
}

/// Renews the lease. False if it is gone, or no longer on the key.
async fn still_there(mut c: Connection, id: i64, key: &str) -> Result<bool, Error> {
    match c.lease.keep_alive(id).await {
        Ok(_) => {}
        Err(Error::LeaseKeepAliveError(_)) => return Ok(false),
        Err(e) => return Err(e),
    }
    let found = c.kv.get(key, None).await?;
    Ok(found.kvs().first().is_some_and(|kv| kv.lease() == id))
}

/// Sets the key on a new lease.
async fn set(mut c: Connection, key: &str, value: &[u8], ttl: Duration) -> Result<i64, Error> {
    let granted = c.lease.grant(ttl.as_secs().max(1) as i64, None::<LeaseGrantOptions>).await?;
    c.kv.put(key, value, Some(PutOptions::new().with_lease(granted.id()))).await?;
    Ok(granted.id())
}
