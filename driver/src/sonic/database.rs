//! CONFIG_DB itself, in the switch's Redis server.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::desired::{Address, Server};
use super::entry::{Fields, Key, OURS, Table};
use super::observed::{Change, Observed};
use super::resp::{self, Reply};

/// How long one exchange may take. Redis answers within a millisecond, unless the switch is starved.
const PATIENCE: Duration = Duration::from_secs(5);
/// What SONiC sets to 1 when it has loaded its configuration, and to 0 while `config reload` replaces it.
const LOADED: &str = "CONFIG_DB_INITIALIZED";

/// Why the database was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server cannot be reached, or the connection broke.
    #[error(
        "CONFIG_DB at {address}: {source}: see on the switch that Redis runs (docker ps: database), and that the agent \
         may use its socket (--sonic-config-db); it is tried again"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("CONFIG_DB at {address} did not answer within {} s; it is tried again", PATIENCE.as_secs())]
    NoAnswer {
        /// Where.
        address: String,
    },
    /// What answers is no Redis server, or one of an unknown kind.
    #[error(
        "CONFIG_DB at {address}: {reason}: --sonic-config-db wants Redis' socket, such as /var/run/redis/redis.sock"
    )]
    NotRedis {
        /// Where.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The server refused a command.
    #[error("CONFIG_DB at {address} refused {command}: {said}")]
    Refused {
        /// Where.
        address: String,
        /// What was asked.
        command: String,
        /// What it said.
        said: String,
    },
    /// SONiC has not loaded its configuration.
    #[error(
        "CONFIG_DB at {address} is not loaded (CONFIG_DB_INITIALIZED is not 1): SONiC starts, or 'config reload' is \
         under way; what is written now would be lost, so that is waited for"
    )]
    NotLoaded {
        /// Where.
        address: String,
    },
}

/// How a transaction went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All changes are made.
    All,
    /// None is: somebody else changed one of the entries since they were read.
    Overtaken,
}

/// A connection to the database.
#[derive(Debug)]
pub struct ConfigDb {
    connection: Connection,
}

/// What is told of changes, by anybody, from a connection of its own.
#[derive(Debug)]
pub struct Events {
    connection: Connection,
}

impl ConfigDb {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses the database.
    pub async fn connect(address: &Address) -> Result<ConfigDb, DatabaseError> {
        let mut connection = Connection::open(address).await?;
        connection.ask(&["SELECT", &address.database.to_string()]).await?;
        Ok(ConfigDb { connection })
    }

    /// Whether the server tells subscribers of all changes, as SONiC's is set up to.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn notifies(&mut self) -> Result<bool, DatabaseError> {
        let answer = self.connection.ask(&["CONFIG", "GET", "notify-keyspace-events"]).await;
        let flags = match answer {
            Ok(reply) => reply.texts().and_then(|mut pair| pair.pop()).unwrap_or_default(),
            // It may be forbidden to ask.
            Err(DatabaseError::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(flags.contains('K') && (flags.contains('A') || ["h", "g"].iter().all(|flag| flags.contains(flag))))
    }

    /// Reads all that concerns us.
    ///
    /// # Errors
    /// SONiC has not loaded the database, or it cannot be read.
    pub async fn observe(&mut self) -> Result<Observed, DatabaseError> {
        let mut commands = vec![words(["GET", LOADED]), words(["HKEYS", OURS])];
        commands.extend(Table::ALL.iter().map(|table| words(["KEYS", &format!("{}|*", table.name())])));
        let mut replies = self.connection.ask_all(&commands).await?.into_iter();
        if replies.next() != Some(Reply::Text("1".to_owned())) {
            return Err(DatabaseError::NotLoaded { address: self.connection.address.clone() });
        }
        let keys = |replies: &mut dyn Iterator<Item = Reply>| -> Vec<Key> {
            let texts = replies.next().and_then(Reply::texts).unwrap_or_default();
            texts.iter().filter_map(|text| Key::parse(text)).collect()
        };
        let ours: BTreeSet<Key> = keys(&mut replies).into_iter().collect();
        let mut there = Vec::new();
        for _ in Table::ALL {
            there.extend(keys(&mut replies));
        }
        // Of the others it is enough that they are there.
        let has_fields = |key: &Key| key.table <= Table::VlanMember || key.table == Table::Vnet;
        let read: Vec<Vec<String>> = there
            .iter()
            .filter(|key| has_fields(key))
            .map(|key| words(["HGETALL", &key.to_string()]))
            .collect();
        let mut contents = self.connection.ask_all(&read).await?.into_iter();
        let mut observed = Observed { ours, ..Observed::default() };
        for key in there {
            let mut fields = Fields::new();
            if has_fields(&key) {
                let mut texts = contents.next().and_then(Reply::texts).unwrap_or_default().into_iter();
                while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                    fields.insert(name, value);
                }
                // Removed since its key was listed.
                if fields.is_empty() {
                    continue;
                }
            }
            observed.entries.insert(key, fields);
        }
        Ok(observed)
    }

    /// Makes changes in one transaction, if all entries are still as they were when the changes were made out.
    ///
    /// # Errors
    /// The connection broke, and whether the changes were made is unknown until the database is read again; or the
    /// server refuses them.
    pub async fn apply(&mut self, changes: &[Change]) -> Result<Written, DatabaseError> {
        let mut first = Vec::new();
        for change in changes {
            if !first.iter().any(|earlier: &&Change| earlier.key() == change.key()) {
                first.push(change);
            }
        }
        let mut watched = words(["WATCH", LOADED, OURS]);
        watched.extend(first.iter().map(|change| change.key().to_string()));
        let mut look = vec![watched, words(["GET", LOADED])];
        let mut expected = vec![Reply::Text("1".to_owned())];
        for change in first {
            let name = change.key().to_string();
            let (there, is_removal) = match change {
                Change::Add { .. } | Change::Forget { .. } => (0, false),
                Change::Remove { .. } => (1, true),
            };
            look.push(words(["EXISTS", &name]));
            expected.push(Reply::Integer(there));
            if is_removal {
                look.push(words(["HEXISTS", OURS, &name]));
                expected.push(Reply::Integer(1));
            }
        }
        let seen = self.connection.ask_all(&look).await?;
        if seen[1..] != expected {
            self.connection.ask(&["UNWATCH"]).await?;
            return Ok(Written::Overtaken);
        }
        let mut transaction = vec![words(["MULTI"])];
        for change in changes {
            let name = change.key().to_string();
            match change {
                Change::Add { fields, .. } => {
                    let mut set = words(["HSET", &name]);
                    set.extend(fields.iter().flat_map(|(field, value)| [field.clone(), value.clone()]));
                    transaction.push(set);
                    transaction.push(words(["HSET", OURS, &name, "yes"]));
                }
                Change::Remove { .. } => {
                    transaction.push(words(["DEL", &name]));
                    transaction.push(words(["HDEL", OURS, &name]));
                }
                Change::Forget { .. } => transaction.push(words(["HDEL", OURS, &name])),
            }
        }
        transaction.push(words(["EXEC"]));
        match self.connection.ask_all(&transaction).await?.pop() {
            Some(Reply::Array(done)) => match done.into_iter().find(|reply| matches!(reply, Reply::Error(_)))
            {
                Some(said) => Err(self.connection.refused("a change of its entries".to_owned(), &said)),
                None => Ok(Written::All),
            },
            Some(Reply::Nil) => Ok(Written::Overtaken),
            other => {
                let said = other.unwrap_or(Reply::Nil);
                Err(self.connection.refused("EXEC".to_owned(), &said))
            }
        }
    }
}

impl Events {
    /// Subscribes to every change of the database.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn subscribe(address: &Address) -> Result<Events, DatabaseError> {
        let mut connection = Connection::open(address).await?;
        connection.ask(&["PSUBSCRIBE", &format!("__keyspace@{}__:*", address.database)]).await?;
        Ok(Events { connection })
    }

    /// Waits for a change. It can be given up at any time.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<(), DatabaseError> {
        self.connection.read().await.map(drop)
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Stream for T {}

#[derive(Debug)]
struct Connection {
    address: String,
    stream: Box<dyn Stream>,
    /// What was read and is not parsed.
    unread: Vec<u8>,
}

impl Connection {
    async fn open(address: &Address) -> Result<Connection, DatabaseError> {
        let opening = async {
            Ok(match &address.server {
                Server::Unix(path) => Box::new(UnixStream::connect(path).await?) as Box<dyn Stream>,
                Server::Tcp(host) => Box::new(TcpStream::connect(host).await?),
            })
        };
        let address = address.to_string();
        match timeout(PATIENCE, opening).await {
            Ok(Ok(stream)) => Ok(Connection { address, stream, unread: Vec::new() }),
            Ok(Err(source)) => Err(DatabaseError::Unreachable { address, source }),
            Err(_) => Err(DatabaseError::NoAnswer { address }),
        }
    }

    async fn ask(&mut self, command: &[&str]) -> Result<Reply, DatabaseError> {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let mut replies = self.ask_all(&[command]).await?;
        Ok(replies.pop().expect("one reply for each command"))
    }

    /// Sends commands together and reads one reply for each; the first that is an error is this one's.
    async fn ask_all(&mut self, commands: &[Vec<String>]) -> Result<Vec<Reply>, DatabaseError> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| resp::encode(command, &mut bytes));
        let exchange = async {
            self.stream.write_all(&bytes).await.map_err(|source| self.broken(source))?;
            let mut replies = Vec::with_capacity(commands.len());
            for _ in commands {
                replies.push(self.read().await?);
            }
            Ok(replies)
        };
        let replies = match timeout(PATIENCE, exchange).await {
            Ok(replies) => replies?,
            Err(_) => return Err(DatabaseError::NoAnswer { address: self.address.clone() }),
        };
        match replies.iter().zip(commands).find(|(reply, _)| matches!(reply, Reply::Error(_))) {
            Some((said, command)) => Err(self.refused(command.join(" "), said)),
            None => Ok(replies),
        }
    }

    async fn read(&mut self) -> Result<Reply, DatabaseError> {
        loop {
            match resp::parse(&self.unread) {
                Ok(Some((reply, length))) => {
                    self.unread.drain(..length);
                    return Ok(reply);
                }
                Ok(None) => {}
                Err(reason) => {
                    let reason = reason.to_string();
                    return Err(DatabaseError::NotRedis { address: self.address.clone(), reason });
                }
            }
            let read = self.stream.read_buf(&mut self.unread).await;
            match read {
                Ok(0) => {
                    let source =
                        io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection");
                    return Err(self.broken(source));
                }
                Ok(_) => {}
                Err(source) => return Err(self.broken(source)),
            }
        }
    }

    fn broken(&self, source: io::Error) -> DatabaseError {
        DatabaseError::Unreachable { address: self.address.clone(), source }
    }

    fn refused(&self, command: String, said: &Reply) -> DatabaseError {
        DatabaseError::Refused { address: self.address.clone(), command, said: said.to_string() }
    }
}
