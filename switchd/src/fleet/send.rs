//! The workstation's side of a deployment to one box.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use super::codec::{CodecError, FrameReader, FrameWriter};
use super::message::{Amount, Answer, Hello, Options, PROTOCOL, Plan, Refusal, Request, Switched};
use super::parcel::{Encoded, Parcel, Parcels};
use super::program::{ProgramError, Programs, platforms, push_script};
use super::transport::{Ended, Running, Transport, Watched, quote, run};
use crate::digest::Digest;

/// What happens during a deployment to a box, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The program is brought to the box.
    Pushing {
        /// How many bytes it has.
        bytes: u64,
    },
    /// A part of what is sent has been handed to ssh.
    Sent {
        /// How many bytes.
        bytes: u64,
    },
    /// The box said what it needs.
    Planned {
        /// The application and its version.
        what: String,
        /// What it needs and has.
        plan: Plan,
    },
    /// The compressed size of what comes is known, as far as it is compressed.
    Total {
        /// Files that must come.
        files: u64,
        /// How many bytes they have uncompressed.
        bytes: u64,
    },
    /// A file has been handed to ssh.
    File {
        /// How many bytes it has uncompressed.
        bytes: u64,
    },
    /// A step of the switch-over is done.
    Step(String),
}

/// Why a deployment to a box failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The command cannot be started here.
    #[error("starting ssh: {0}; is it installed?")]
    Start(io::Error),
    /// ssh did not reach the box.
    #[error("ssh did not reach it: {0}")]
    Unreached(String),
    /// Something on the box failed before our program spoke.
    #[error("{what} failed with {status}{}", if stderr.is_empty() { String::new() } else { format!(": {stderr}") })]
    Script {
        /// What was tried.
        what: &'static str,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// No program for the box.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program there is another although it was just brought there.
    #[error(
        "the program at `{path}` has the digest {is} and not {wanted}, although it was just brought there; is the \
         path on a disk that keeps what is written?"
    )]
    OtherProgram {
        /// Where.
        path: String,
        /// What it is.
        is: Digest,
        /// What it should be.
        wanted: Digest,
    },
    /// The program there speaks other messages.
    #[error(
        "sluice-switch {version} on the box speaks protocol {is} and this one {PROTOCOL}; leave out --no-push"
    )]
    Protocol {
        /// Its version.
        version: String,
        /// What it speaks.
        is: u32,
    },
    /// The box refused.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The connection broke; what arrived stays there.
    #[error("{source}{}; what has arrived stays there, and the next try sends the rest", told(ended))]
    Broken {
        /// How.
        source: CodecError,
        /// What ssh said.
        ended: Option<Ended>,
    },
    /// An answer that makes no sense.
    #[error("its answer makes no sense: {0}")]
    Nonsense(String),
    /// No bundle fits the box.
    #[error("{app} is here for {have} and the machine is {machine}; pack it for that")]
    Platform {
        /// The application.
        app: String,
        /// What there is.
        have: String,
        /// What the box is.
        machine: String,
    },
    /// Our own disk.
    #[error("compressing for the transfer: {0}")]
    Local(io::Error),
}

fn told(ended: &Option<Ended>) -> String {
    match ended {
        Some(ended) if ended.silent => " (it said nothing for too long)".to_owned(),
        Some(ended) if !ended.stderr.is_empty() => format!(" ({})", ended.stderr),
        _ => String::new(),
    }
}

/// What a deployment to a box came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Whether another release runs than before.
    pub changed: bool,
    /// Files that were sent.
    pub sent: Amount,
    /// Of those, how many as patches.
    pub patches: u64,
    /// Files' bytes as they were sent: compressed, or as patches.
    pub payload: u64,
    /// Files that the box had, in releases or from an earlier try.
    pub had: Amount,
    /// For how many milliseconds the application was interrupted.
    pub gap_ms: Option<u64>,
    /// Limits that are held in a weaker way, and other things to know.
    pub notes: Vec<String>,
}

/// How a box's program is started and replaced.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its path on the box.
    pub program: String,
    /// Arguments after `__receive`.
    pub arguments: Vec<String>,
    /// Whether it is brought there when it is missing or another.
    pub push: bool,
    /// How long nothing may pass before a box is given up.
    pub patience: Duration,
}

/// A session with the program on a box.
pub struct Session<R, W> {
    reader: FrameReader<R>,
    writer: FrameWriter<W>,
    /// Who is there.
    pub hello: Hello,
}

/// A session by a command.
pub struct Connection {
    /// The session.
    pub session: Session<Watched<ChildStdout>, Watched<ChildStdin>>,
    running: Running,
}

impl Connection {
    /// Reaches a box and sees that the right program answers there; brings it there when it does not.
    ///
    /// # Errors
    /// When the box is not reached, or no program can be had for it.
    pub fn open(
        transport: &dyn Transport,
        place: &Place,
        programs: &Programs,
        told: &dyn Fn(Event),
    ) -> Result<Self, SendError> {
        let first = Self::attempt(transport, place)?;
        let machine = match first {
            Ok(connection) => {
                let hello = &connection.session.hello;
                let ours = programs.find(&hello.machine).map(|program| program.digest);
                match ours {
                    _ if !place.push && hello.protocol == PROTOCOL => return Ok(connection),
                    _ if !place.push => {
                        let (version, is) = (hello.version.clone(), hello.protocol);
                        return Err(SendError::Protocol { version, is });
                    }
                    Ok(digest) if digest == hello.program => return Ok(connection),
                    _ => hello.machine.clone(),
                }
            }
            Err(ended) if !place.push => {
                return Err(SendError::Script {
                    what: "starting sluice-switch on the box",
                    status: ended.status.to_string(),
                    stderr: ended.stderr,
                });
            }
            Err(_) => uname(transport, place)?,
        };
        let program = programs.find(machine.trim())?;
        told(Event::Pushing { bytes: program.size });
        let script = push_script(&place.program, program.size);
        let mut content = Counted { inner: program.content(), told: &|bytes| told(Event::Sent { bytes }) };
        let ran = run(transport, &script, &mut content, 0, place.patience).map_err(SendError::Start)?;
        ended_well(transport, "bringing sluice-switch to the box", ran.ended)?;
        match Self::attempt(transport, place)? {
            Ok(connection) if connection.session.hello.program == program.digest => Ok(connection),
            Ok(connection) => Err(SendError::OtherProgram {
                path: place.program.clone(),
                is: connection.session.hello.program,
                wanted: program.digest,
            }),
            Err(ended) => Err(SendError::Script {
                what: "starting the sluice-switch that was brought to the box (does it need a static one, --program?)",
                status: ended.status.to_string(),
                stderr: ended.stderr,
            }),
        }
    }

    /// Starts the program. When it is not there, or is no such program, gives how the command ended.
    fn attempt(transport: &dyn Transport, place: &Place) -> Result<Result<Self, Ended>, SendError> {
        let program = quote(&place.program);
        let arguments = super::transport::quote_all(&place.arguments);
        let script = format!("exec {program} __receive {arguments}");
        let (running, stdin, stdout) =
            Running::start(transport, &script, place.patience).map_err(SendError::Start)?;
        match Session::begin(stdout, stdin) {
            Ok(session) => Ok(Ok(Self { session, running })),
            Err(error @ (CodecError::NoMagic(_) | CodecError::Closed)) => {
                let ended = running.wait().map_err(SendError::Start)?;
                if transport.unreached().is_some() && ended.status.code() == transport.unreached() {
                    return Err(SendError::Unreached(reason(&ended, &error)));
                }
                if ended.silent {
                    return Err(SendError::Unreached("it said nothing for too long".to_owned()));
                }
                Ok(Err(ended))
            }
            Err(source) => {
                drop(running);
                Err(SendError::Broken { source, ended: None })
            }
        }
    }

    /// Ends the session. What the box's program or ssh said at its end goes into an error of the session.
    ///
    /// # Errors
    /// With the error.
    pub fn close<T>(self, result: Result<T, SendError>) -> Result<T, SendError> {
        let Self { session, running } = self;
        drop(session);
        match result {
            Err(SendError::Broken { source, ended: None }) => {
                Err(SendError::Broken { source, ended: running.wait().ok() })
            }
            other => {
                // The box's program ends when its input does.
                let _ = running.wait();
                other
            }
        }
    }
}

fn reason(ended: &Ended, error: &CodecError) -> String {
    if ended.stderr.is_empty() { error.to_string() } else { ended.stderr.clone() }
}

fn ended_well(transport: &dyn Transport, what: &'static str, ended: Ended) -> Result<(), SendError> {
    if ended.status.success() {
        return Ok(());
    }
    if transport.unreached().is_some() && ended.status.code() == transport.unreached() {
        return Err(SendError::Unreached(ended.stderr));
    }
    Err(SendError::Script { what, status: ended.status.to_string(), stderr: ended.stderr })
}

fn uname(transport: &dyn Transport, place: &Place) -> Result<String, SendError> {
    let ran = run(transport, "uname -m", &mut io::empty(), 4096, place.patience).map_err(SendError::Start)?;
    ended_well(transport, "`uname -m`", ran.ended)?;
    // A login script may have printed something before.
    let text = String::from_utf8_lossy(&ran.stdout);
    Ok(text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned())
}

/// Tells of what is read from it.
struct Counted<'a, R> {
    inner: R,
    told: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n > 0 {
            (self.told)(n as u64);
        }
        Ok(n)
    }
}

fn broken(source: CodecError) -> SendError {
    SendError::Broken { source, ended: None }
}

impl<R: Read, W: Write> Session<R, W> {
    /// Waits for a box's first words.
    ///
    /// # Errors
    /// When it says something else.
    pub fn begin(input: R, output: W) -> Result<Self, CodecError> {
        let (mut reader, writer) = (FrameReader::new(input), FrameWriter::new(output));
        reader.magic()?;
        let hello = reader.message()?;
        Ok(Self { reader, writer, hello })
    }

    /// How many bytes were handed to ssh in this session.
    pub fn sent(&self) -> u64 {
        self.writer.count()
    }

    fn request(&mut self, request: &Request) -> Result<(), SendError> {
        self.writer.message(request).or_else(|e| self.last_words(e))
    }

    /// Sends a content. A failure of our own disk is not the connection's.
    fn content(&mut self, content: &mut impl Read) -> Result<(), SendError> {
        let mut own = Own { inner: content, failed: None };
        let result = self.writer.content(&mut own);
        match own.failed {
            Some(error) => Err(SendError::Local(error)),
            None => result.or_else(|e| self.last_words(e)),
        }
    }

    /// A box that refuses closes its end, so that our writing fails before we read why.
    fn last_words(&mut self, error: CodecError) -> Result<(), SendError> {
        match self.reader.message() {
            Ok(Answer::Refused(refusal)) => Err(SendError::Refused(refusal)),
            _ => Err(broken(error)),
        }
    }

    fn answer(&mut self) -> Result<Answer, SendError> {
        match self.reader.message().map_err(broken)? {
            Answer::Refused(refusal) => Err(SendError::Refused(refusal)),
            answer => Ok(answer),
        }
    }

    /// Brings a release to the box, unless it is there, and puts it on trial.
    ///
    /// # Errors
    /// When the box refuses, the connection breaks, or the release did not work.
    pub fn deliver(
        &mut self,
        parcels: &Parcels,
        parcel: &Parcel,
        options: Options,
        dry_run: bool,
        told: &dyn Fn(Event),
    ) -> Result<Delivered, SendError> {
        let mut delivered = Delivered::default();
        let app = parcel.manifest.app.clone();
        self.request(&Request::Offer { app, release: parcel.release })?;
        match self.answer()? {
            Answer::Offered(offered) if offered.current => return Ok(delivered),
            Answer::Offered(_) => {}
            other => return Err(nonsense("Offered", &other)),
        }
        let who = format!("{} on {}", user(), rustix::system::uname().nodename().to_string_lossy());
        self.request(&Request::Open { options, dry_run, who })?;
        for document in parcel.documents() {
            self.content(&mut &document[..])?;
        }
        let plan = match self.answer()? {
            Answer::Plan(plan) => plan,
            other => return Err(nonsense("Plan", &other)),
        };
        let need = check(parcel, &plan)?;
        delivered.had.files = plan.shared.files + plan.arrived.files;
        delivered.had.bytes = plan.shared.bytes + plan.arrived.bytes;
        delivered.notes = plan.notes.clone();
        let what = format!("{} {}", parcel.manifest.app, parcel.manifest.version);
        told(Event::Planned { what, plan: plan.clone() });
        told(Event::Total { files: need.files, bytes: need.bytes });
        if dry_run {
            delivered.sent = need;
            return Ok(delivered);
        }
        self.request(&Request::Begin)?;
        match self.answer()? {
            Answer::Ready => {}
            other => return Err(nonsense("Ready", &other)),
        }
        let mut patched = HashSet::new();
        for need in &plan.need {
            let (digest, size) = parcel.file(need.entry).expect("the plan was checked");
            let encoded = parcels.encode(parcel, digest, need).map_err(SendError::Local)?;
            if encoded.base.is_some() {
                patched.insert(need.entry);
                delivered.patches += 1;
            }
            self.file(parcels, need.entry, encoded, told)?;
            delivered.payload += encoded.size;
            delivered.sent.add(size);
            told(Event::File { bytes: size });
        }
        // Those that were sent as patches and did not fit come once more, whole.
        for round in 0..2 {
            self.request(&Request::Sent)?;
            let again = match self.answer()? {
                Answer::Arrived { again } => again,
                other => return Err(nonsense("Arrived", &other)),
            };
            if again.is_empty() {
                break;
            }
            if round == 1 || again.iter().any(|entry| !patched.remove(entry)) {
                let message = "it wants files again that were sent whole".to_owned();
                return Err(SendError::Nonsense(message));
            }
            for entry in again {
                let (digest, _) = parcel.file(entry).expect("it was sent before");
                let encoded = parcels.whole(parcel, digest).map_err(SendError::Local)?;
                self.file(parcels, entry, encoded, told)?;
                delivered.payload += encoded.size;
                delivered.patches -= 1;
            }
        }
        self.request(&Request::Switch)?;
        loop {
            match self.answer()? {
                Answer::Step(step) => told(Event::Step(step)),
                Answer::Switched(Switched { changed, gap_ms, degraded, .. }) => {
                    delivered.changed = changed;
                    delivered.gap_ms = gap_ms;
                    delivered.notes = degraded;
                    return Ok(delivered);
                }
                other => return Err(nonsense("Switched", &other)),
            }
        }
    }

    fn file(
        &mut self,
        parcels: &Parcels,
        entry: u32,
        encoded: Encoded,
        told: &dyn Fn(Event),
    ) -> Result<(), SendError> {
        self.request(&Request::File { entry, base: encoded.base })?;
        let told = |bytes| told(Event::Sent { bytes });
        self.content(&mut Counted { inner: parcels.open(encoded), told: &told })
    }
}

/// Keeps a failure to read from being taken for the connection's.
struct Own<'a, R> {
    inner: &'a mut R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Own<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|e| {
            let kind = e.kind();
            self.failed = Some(e);
            kind.into()
        })
    }
}

fn user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "someone".to_owned())
}

fn nonsense(wanted: &str, is: &Answer) -> SendError {
    let text = format!("{is:?}");
    let text: String = text.chars().take(100).collect();
    SendError::Nonsense(format!("{wanted} was due and `{}` came", text.escape_debug()))
}

/// What a plan asks for, if that can be: files of this bundle, each content once.
fn check(parcel: &Parcel, plan: &Plan) -> Result<Amount, SendError> {
    let mut need = Amount::default();
    let mut seen = HashSet::new();
    for item in &plan.need {
        let entry = item.entry;
        let Some((digest, size)) = parcel.file(entry) else {
            return Err(SendError::Nonsense(format!(
                "it needs entry {entry}, which is no file of the bundle"
            )));
        };
        if !seen.insert(digest) {
            return Err(SendError::Nonsense(format!("it needs the content of entry {entry} twice")));
        }
        need.add(size);
    }
    Ok(need)
}

/// The bundles for a machine: one of each application.
///
/// # Errors
/// When there is none of an application for it.
pub(super) fn for_machine<'a>(
    parcels: &'a Parcels,
    wanted: impl Fn(&Parcel) -> bool,
    machine: &str,
) -> Result<Vec<&'a Parcel>, SendError> {
    let mut chosen: Vec<&Parcel> = Vec::new();
    let known = platforms(machine);
    for parcel in parcels.iter().filter(|p| wanted(p)) {
        let app = &parcel.manifest.app;
        if chosen.iter().any(|p| p.manifest.app == *app) {
            continue;
        }
        let of_app: Vec<&Parcel> = parcels.iter().filter(|p| p.manifest.app == *app).collect();
        let fits = |name: &&str| {
            of_app
                .iter()
                .find(|p| p.manifest.platform.os == "linux" && p.manifest.platform.architecture == **name)
        };
        let best = match known {
            Some(names) => names.iter().find_map(|name| fits(&name)),
            // The box itself will say.
            None => of_app.first(),
        };
        match best {
            Some(best) => chosen.push(best),
            None => {
                let have: Vec<String> = of_app.iter().map(|p| p.manifest.platform.to_string()).collect();
                let machine = machine.escape_default().to_string();
                return Err(SendError::Platform { app: app.to_string(), have: have.join(", "), machine });
            }
        }
    }
    Ok(chosen)
}
