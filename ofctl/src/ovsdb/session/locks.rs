//! Locks (RFC 7047 §4.1.8 to §4.1.10), and requests that are given up (§4.1.4).

use serde_json::value::RawValue;

use super::{Event, Pending, RequestId, Session, SessionError, read};

/// The answer to `lock` and `steal`.
#[derive(serde::Deserialize)]
pub(super) struct Locked {
    pub(super) locked: bool,
}

impl Session {
    /// Asks for a lock (RFC 7047 §4.1.8). If somebody else has it, [`Event::LockChanged`] tells when it is this
    /// session's. It is released when the connection ends.
    ///
    /// A lock keeps nobody from anything by itself: transactions that depend on it say so by
    /// [`Operation::Assert`](crate::ovsdb::Operation::Assert).
    pub fn lock(&mut self, name: &str) -> RequestId {
        self.request("lock", &[name], Pending::Lock)
    }

    /// Takes a lock away from whoever has it (RFC 7047 §4.1.8), who is told by [`Event::LockChanged`].
    pub fn steal(&mut self, name: &str) -> RequestId {
        self.request("steal", &[name], Pending::Lock)
    }

    /// Gives a lock back, or the wish to have it (RFC 7047 §4.1.8).
    pub fn unlock(&mut self, name: &str) -> RequestId {
        self.request("unlock", &[name], Pending::Unlock)
    }

    /// Gives a transaction up that the server has not carried out yet, such as one that waits (RFC 7047 §4.1.4). By the
    /// RFC it is then answered by the error `canceled`; ovsdb-server 3.1 says nothing more of it. What was carried out
    /// before this was heard is answered as ever.
    pub fn cancel(&mut self, id: RequestId) {
        let message = format!("{{\"id\":null,\"method\":\"cancel\",\"params\":[{}]}}", id.0);
        self.transmit.push_back(message.into_bytes());
    }

    /// What the notifications `locked` and `stolen` say (RFC 7047 §4.1.9, §4.1.10).
    pub(super) fn lock_changed(
        &mut self,
        params: Option<&RawValue>,
        owned: bool,
    ) -> Result<(), SessionError> {
        let params = params.map_or("[]", RawValue::get).as_bytes();
        let (lock,): (String,) = read("a notification about a lock", params)?;
        self.events.push_back(Event::LockChanged { lock, owned });
        Ok(())
    }
}
