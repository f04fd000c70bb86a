//! How the database of a `hardware_vtep` switch is reached: by connecting to it, or by waiting for it to connect.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ofctl::client::ovsdb::{Client, ClientError, Listen, Listener, OVSDB_PORT, Options, Tls, parse_target};
use ofctl::client::{TargetParseError, TlsError};
use ofctl::ovsdb::vtep;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::vtep::observed::{WhichSwitch, identify};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where the database is: `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]` or `unix:PATH`; or where it is waited for:
/// `ptcp:[PORT][:ADDRESS]` or `pssl:[PORT][:ADDRESS]`. The port is 6640 unless it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// True if certificates are needed.
    pub fn is_tls(&self) -> bool {
        self.0.starts_with("ssl:") || self.0.starts_with("pssl:")
    }

    /// True if the switch is waited for.
    fn is_passive(&self) -> bool {
        self.0.starts_with("ptcp:") || self.0.starts_with("pssl:")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        const WANTED: &str = "tcp:HOST[:PORT], ssl:HOST[:PORT] or unix:PATH of the switch's ovsdb-server is wanted, or \
                              ptcp:[PORT][:ADDRESS] or pssl:[PORT][:ADDRESS] if the switch connects to the agent";
        let (scheme, rest) = text.split_once(':').ok_or(WANTED)?;
        // Whether it can be read does not depend on certificates.
        let is_read = match scheme {
            "tcp" | "ssl" => parse_target(&format!("tcp:{rest}"), None).is_ok(),
            "unix" => rest.starts_with('/'),
            "ptcp" | "pssl" => Listen::parse(&with_port("ptcp", rest), None).is_ok(),
            _ => false,
        };
        if !is_read {
            return Err(WANTED.to_owned());
        }
        Ok(Address(match scheme {
            "ptcp" | "pssl" => with_port(scheme, rest),
            _ => text.to_owned(),
        }))
    }
}

/// OVSDB's port where a place to listen on names none.
fn with_port(scheme: &str, rest: &str) -> String {
    match rest.split_once(':') {
        _ if rest.is_empty() => format!("{scheme}:{OVSDB_PORT}"),
        Some(("", address)) => format!("{scheme}:{OVSDB_PORT}:{address}"),
        _ => format!("{scheme}:{rest}"),
    }
}

/// The files for TLS, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the authority that has signed the switch's.
    pub ca: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Where it is.
    pub address: Address,
    /// With TLS, who we are and whom we trust.
    pub tls: Option<TlsFiles>,
    /// The switch's name in it; none: the only one.
    pub switch: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The way there, or what is at its end.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Certificates or the key.
    #[error("vtep-database {address}: {source}")]
    Tls {
        /// The database.
        address: Address,
        /// What is wrong with them.
        source: TlsError,
    },
    /// The address says TLS and there are no certificates.
    #[error("vtep-database {address}: {source}")]
    Address {
        /// The database.
        address: Address,
        /// Why.
        source: TargetParseError,
    },
    /// A switch has connected that is another one.
    #[error("{from} has connected, but {source}")]
    Stranger {
        /// Whence.
        from: String,
        /// What it is.
        source: WhichSwitch,
    },
}

/// Connects once; none where the switch is waited for, which is the agent's part.
///
/// # Errors
/// There is no connection, or its certificates cannot be used.
pub async fn connect(database: &Database, patience: Duration) -> Result<Option<Client>, OpenError> {
    match database.address.is_passive() {
        true => Ok(None),
        false => open(database, &mut None, patience).await.map(Some),
    }
}

/// Keeps a connection for as long as somebody listens, and tells of each that is made, and why there is none.
pub(super) async fn keep_connected(
    database: Database,
    patience: Duration,
    out: mpsc::Sender<Result<Client, String>>,
) {
    let (mut listener, mut failures) = (None, 0);
    loop {
        let outcome = match open(&database, &mut listener, patience).await {
            Ok(client) => {
                info!(target = %client.target(), "connected to the switch's database");
                failures = 0;
                if out.send(Ok(client.clone())).await.is_err() {
                    return;
                }
                client.closed().await.to_string()
            }
            Err(error) => error.to_string(),
        };
        let told = tokio::select! {
            told = out.send(Err(outcome)) => told,
            () = out.closed() => return,
        };
        if told.is_err() {
            return;
        }
        sleep(LONGEST_PAUSE.min(Duration::from_millis(20 << failures.min(8)))).await;
        failures += 1;
    }
}

async fn open(
    database: &Database,
    listener: &mut Option<Listener>,
    patience: Duration,
) -> Result<Client, OpenError> {
    let address = &database.address;
    let options =
        Options { database: vtep::DATABASE.to_owned(), tables: vtep::monitored(), ..Options::default() };
    if let Some(listening) = listener {
        return admit(database, listening, options, patience).await;
    }
    // Read at every try: certificates are renewed.
    let tls = database.tls.as_ref().map(|files| Tls::from_files(&files.certificate, &files.key, &files.ca));
    let tls = tls.transpose().map_err(|source| OpenError::Tls { address: address.clone(), source })?;
    let unreadable = |source| OpenError::Address { address: address.clone(), source };
    if address.is_passive() {
        let place = Listen::parse(&address.0, tls.as_ref()).map_err(unreadable)?;
        let listening = listener.insert(Listener::bind(place).await?);
        return admit(database, listening, options, patience).await;
    }
    let target = parse_target(&address.0, tls.as_ref()).map_err(unreadable)?;
    Ok(Client::connect(target, options, Instant::now() + patience).await?)
}

/// Waits for the switch. Others that connect are sent away, so that they keep nobody waiting.
async fn admit(
    database: &Database,
    listener: &Listener,
    options: Options,
    patience: Duration,
) -> Result<Client, OpenError> {
    let incoming = listener.accept().await?;
    let from = incoming.target().to_string();
    let client = incoming.open(options, Instant::now() + patience).await?;
    match client.read(|replica| identify(replica, database.switch.as_deref(), None)) {
        Err(source @ WhichSwitch::Other { .. }) => Err(OpenError::Stranger { from, source }),
        _ => Ok(client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_ovsdb_tools_read_them() {
        for (text, read, is_tls) in [
            ("tcp:192.0.2.9", "tcp:192.0.2.9", false),
            ("ssl:tor1:6632", "ssl:tor1:6632", true),
            ("tcp:[2001:db8::9]:6640", "tcp:[2001:db8::9]:6640", false),
            ("unix:/run/vtep.sock", "unix:/run/vtep.sock", false),
            ("ptcp:", "ptcp:6640", false),
            ("pssl::192.0.2.1", "pssl:6640:192.0.2.1", true),
            ("ptcp:6632:[::]", "ptcp:6632:[::]", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string(), address.is_tls()), (read.to_owned(), is_tls));
        }
        for text in ["", "192.0.2.9", "tcp:", "tcp:h:x", "unix:vtep.sock", "ptcp:x", "punix:/x", "udp:h:1"] {
            let wanted = text.parse::<Address>().unwrap_err();
            assert!(wanted.contains("tcp:HOST[:PORT]"), "{text}: {wanted}");
        }
    }
}
