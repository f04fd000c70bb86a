//! The box's side of a deployment: `sluice-switch __receive`, which sshd starts and which ends with its session.
//!
//! Nothing is written before the signature of a manifest is checked against this box's keys. Then files come into
//! `apps/<app>/incoming`, each under its digest and only when it has that digest. There they stay when the connection
//! breaks, so that the next try gets the rest. A release is put together from them and from the releases that are
//! here, by links; and from then on it is the same [`Machine`] that `sluice-switch install` uses.
//!
//! A switch-over goes on to its end when the connection breaks: whoever deployed sees at the next try what came of it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::codec::{CodecError, FrameReader, FrameWriter};
use super::message::{
    Answer, Hello, Need, Offered, Options, PROTOCOL, Plan, Reason, Refusal, Request, Strategy, Switched,
};
use super::room::{Catalogue, Disk, Room};
use crate::bundle::{
    AppName, Bundle, BundleError, Entry, MAX_MANIFEST, MAX_SIGNATURES, Manifest, Trust, UnpackError,
};
use crate::digest::{Digest, Hashing};
use crate::errors::chain;
use crate::release::{Lock, Machine, Outcome, ReleaseError, Store, SwitchError};

/// The largest window that a compressed content may ask for: 2 × [`MAX_PATCH`](super::room::MAX_PATCH).
const WINDOW_LOG: u32 = 26;

/// A box that receives.
pub struct Receiver<'a> {
    machine: Machine<'a>,
    trust: Box<dyn Fn() -> Result<Trust, crate::bundle::KeyError> + 'a>,
    busy: Option<Busy>,
}

/// A deployment under way: between `Open` and the end.
struct Busy {
    bundle: Bundle<io::Empty>,
    store: Store,
    options: Options,
    room: Room,
    /// None when nothing will be done.
    locks: Option<(File, Lock)>,
    begun: bool,
    missing: HashMap<u32, Need>,
    again: Vec<u32>,
}

/// What ends a session.
enum End {
    /// The workstation left.
    Connection(CodecError),
    /// We do not go on.
    Refused(Refusal),
}

impl From<CodecError> for End {
    fn from(error: CodecError) -> Self {
        Self::Connection(error)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn refusal(reason: Reason, message: impl ToString) -> Refusal {
    Refusal { reason, message: message.to_string() }
}

impl From<ReleaseError> for Refusal {
    fn from(error: ReleaseError) -> Self {
        let reason = match &error {
            ReleaseError::Busy(_) => Reason::Busy,
            ReleaseError::Bundle(BundleError::Unpack(UnpackError::Space { .. })) => Reason::NoRoom,
            _ => Reason::Disk,
        };
        refusal(reason, chain(&error))
    }
}

impl From<SwitchError> for Refusal {
    fn from(error: SwitchError) -> Self {
        let reason = match &error {
            SwitchError::RolledBack { .. } => Reason::RolledBack,
            SwitchError::Release(ReleaseError::Busy(_)) => Reason::Busy,
            SwitchError::Release(_) => Reason::Disk,
            _ => Reason::Failed,
        };
        refusal(reason, chain(&error))
    }
}

/// What this program says of itself and of the machine.
///
/// # Errors
/// When the program cannot read itself.
pub fn hello() -> io::Result<Hello> {
    let mut program = Hashing::new(File::open("/proc/self/exe")?);
    io::copy(&mut program, &mut io::sink())?;
    let uname = rustix::system::uname();
    Ok(Hello {
        protocol: PROTOCOL,
        program: program.finish().0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: uname.machine().to_string_lossy().into_owned(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
    })
}

impl<'a> Receiver<'a> {
    /// With a machine to install on, and whose bundles it believes.
    pub fn new(
        machine: Machine<'a>,
        trust: impl Fn() -> Result<Trust, crate::bundle::KeyError> + 'a,
    ) -> Self {
        Self { machine, trust: Box::new(trust), busy: None }
    }

    /// Answers requests until the workstation leaves.
    ///
    /// # Errors
    /// When the connection breaks in the middle of something.
    pub fn serve(mut self, hello: &Hello, input: impl Read, output: impl Write) -> Result<(), CodecError> {
        let (mut reader, mut writer) = (FrameReader::new(input), FrameWriter::new(output));
        writer.magic()?;
        writer.message(hello)?;
        loop {
            let request = match reader.message() {
                Ok(request) => request,
                Err(CodecError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            };
            match self.answer(request, &mut reader, &mut writer) {
                Ok(()) => {}
                Err(End::Connection(error)) => return Err(error),
                Err(End::Refused(refusal)) => {
                    writer.message(&Answer::Refused(refusal))?;
                    return Ok(());
                }
            }
        }
    }

    fn answer(
        &mut self,
        request: Request,
        reader: &mut FrameReader<impl Read>,
        writer: &mut FrameWriter<impl Write>,
    ) -> Result<(), End> {
        match request {
            Request::Offer { app, release } => {
                let offered = self.offered(&app, release)?;
                writer.message(&Answer::Offered(offered))?;
            }
            Request::Open { options, dry_run, who } => {
                let manifest = document(reader, MAX_MANIFEST)?;
                let signatures = document(reader, MAX_SIGNATURES)?;
                let plan = self.open(manifest, signatures, options, dry_run, &who)?;
                writer.message(&Answer::Plan(plan))?;
            }
            Request::Begin => {
                self.begin()?;
                writer.message(&Answer::Ready)?;
            }
            Request::File { entry, base } => self.busy()?.file(entry, base, reader)?,
            Request::Sent => {
                let busy = self.busy()?;
                let again = std::mem::take(&mut busy.again);
                if let Some(entry) = busy.missing.keys().find(|entry| !again.contains(entry)) {
                    let message = format!("the file of entry {entry} was never sent");
                    return Err(refusal(Reason::Protocol, message).into());
                }
                writer.message(&Answer::Arrived { again })?;
            }
            Request::Switch => {
                let switched = self.switch(writer)?;
                writer.message(&Answer::Switched(switched))?;
            }
        }
        Ok(())
    }

    fn busy(&mut self) -> Result<&mut Busy, Refusal> {
        let busy = self.busy.as_mut().filter(|busy| busy.begun);
        busy.ok_or_else(|| refusal(Reason::Protocol, "no deployment has begun in this session"))
    }

    fn offered(&self, app: &AppName, release: Digest) -> Result<Offered, Refusal> {
        let store = self.machine.store(app);
        let current = store.current()?;
        let manifest = current.and_then(|current| store.manifest(current).ok());
        let quiet = matches!(store.journal(), Ok(None));
        // That it cannot be told is no reason not to deploy.
        let runs = self.machine.running(app).ok().flatten() == Some(release);
        Ok(Offered {
            current: current == Some(release) && manifest.is_some() && runs && quiet,
            stored: store.manifest(release).is_ok(),
            version: manifest.map(|m| m.version),
        })
    }

    fn open(
        &mut self,
        manifest: Vec<u8>,
        signatures: Vec<u8>,
        options: Options,
        dry_run: bool,
        who: &str,
    ) -> Result<Plan, Refusal> {
        if self.busy.is_some() {
            return Err(refusal(Reason::Protocol, "a deployment is open in this session"));
        }
        let trust = (self.trust)().map_err(|e| {
            refusal(
                Reason::Untrusted,
                format!("{e}; `sluice-switch enroll KEY.pub --host …` brings it there"),
            )
        })?;
        let bundle = Bundle::of_documents(manifest, signatures, &trust).map_err(|e| match e {
            BundleError::Key(_) => refusal(
                Reason::Untrusted,
                format!("{}; `sluice-switch enroll KEY.pub --host …` makes a key trusted", chain(&e)),
            ),
            e => refusal(Reason::Unsuitable, chain(&e)),
        })?;
        self.machine.consent = options.allow_degraded;
        let notes = self.preflight(&bundle.manifest)?;
        let store = self.machine.store(&bundle.manifest.app);
        let locks = if dry_run { None } else { Some(lock(&self.machine.state, &store, who)?) };
        if let Some((_, lock)) = &locks {
            // An exchange that was interrupted is over before the next begins. That what is there cannot be started
            // is no reason not to replace it.
            let _ = self.machine.recover_locked(&store, lock);
        }
        downgrade(&store, &bundle.manifest, options)?;
        let room = self.room(&store, &bundle, options.strategy)?;
        let plan = Plan {
            need: room.need.clone(),
            shared: room.shared,
            arrived: room.arrived,
            takes: room.takes,
            free: room.free,
            removes: room.removes.clone(),
            stops: room.stops,
            notes,
        };
        let missing = room.need.iter().map(|need| (need.entry, need.clone())).collect();
        let begun = false;
        self.busy = Some(Busy { bundle, store, options, room, locks, begun, missing, again: Vec::new() });
        Ok(plan)
    }

    fn room(&self, store: &Store, bundle: &Bundle<io::Empty>, strategy: Strategy) -> Result<Room, Refusal> {
        let state = &self.machine.state;
        let disk = Disk::of(state).map_err(|e| {
            refusal(Reason::Disk, format!("asking for the space of `{}`: {e}", state.display()))
        })?;
        let catalogue = Catalogue::read(store)?;
        let room = catalogue.plan(bundle.digest, &bundle.manifest, disk, strategy, state);
        room.map_err(|e| refusal(Reason::NoRoom, e))
    }

    /// Whether the application could run here, before anything is sent. Gives what the operator should know.
    fn preflight(&self, manifest: &Manifest) -> Result<Vec<String>, Refusal> {
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let platform = &manifest.platform;
        if let Some(wanted) = super::program::platforms(&machine)
            && !(platform.os == "linux" && wanted.contains(&platform.architecture.as_str()))
        {
            let message = format!("the bundle is for {platform} and this machine is {machine}");
            return Err(refusal(Reason::Unsuitable, message));
        }
        let degraded = self.machine.cgroups.enforce(&manifest.run.limits).degraded;
        let notes: Vec<String> = degraded.iter().map(ToString::to_string).collect();
        if !notes.is_empty() && !self.machine.consent {
            let message = format!("{}; agree with --allow-degraded", notes.join("; "));
            return Err(refusal(Reason::Preflight, message));
        }
        Ok(notes)
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let Some(busy) = self.busy.as_mut().filter(|busy| !busy.begun) else {
            return Err(refusal(Reason::Protocol, "no deployment is open in this session"));
        };
        let Some((_, lock)) = &busy.locks else {
            return Err(refusal(Reason::Protocol, "this was to be a dry run"));
        };
        let incoming = busy.store.incoming();
        let failed = |what: &str, path: &Path| {
            let what = format!("{what} `{}`", path.display());
            move |e: io::Error| refusal(Reason::Disk, format!("{what}: {e}"))
        };
        let wanted: HashSet<String> = busy
            .bundle
            .manifest
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::File { digest, .. } => Some(digest.hex()),
                _ => None,
            })
            .collect();
        busy.store.clear_incoming(lock, |name| wanted.contains(name))?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&incoming);
        made.map_err(failed("making the directory", &incoming))?;
        for (digest, path) in &busy.room.rescued {
            fs::hard_link(path, incoming.join(digest.hex())).map_err(failed("keeping", path))?;
        }
        if busy.room.stops {
            self.machine.clear(&busy.store, lock)?;
        } else if busy.store.previous()?.is_some_and(|p| busy.room.removes.contains(&p)) {
            busy.store.unlink_previous(lock)?;
        }
        busy.store.remove_releases(lock, &busy.room.removes)?;
        busy.begun = true;
        Ok(())
    }

    fn switch(&mut self, writer: &mut FrameWriter<impl Write>) -> Result<Switched, Refusal> {
        self.busy()?;
        let Some(busy) = self.busy.take() else { unreachable!("it was there") };
        let Some((_held, lock)) = busy.locks else { unreachable!("it has begun") };
        if !busy.missing.is_empty() {
            return Err(refusal(Reason::Protocol, "there are files missing"));
        }
        let (store, app) = (busy.store, busy.bundle.manifest.app.clone());
        self.machine.consent = busy.options.allow_degraded;
        let to = store.assemble(&lock, busy.bundle)?;
        store.clear_incoming(&lock, |_| false)?;
        // Whether anyone listens does not matter from here on.
        let mut told = |step: crate::release::Step| drop(writer.message(&Answer::Step(step.to_string())));
        told(crate::release::Step::Unpacked);
        let outcome = self.machine.switch(&store, &lock, to, &mut told)?;
        let degraded = self.machine.degraded(&app)?.iter().map(ToString::to_string).collect();
        Ok(match outcome {
            Outcome::Unchanged => Switched { changed: false, from: Some(to), gap_ms: None, degraded },
            Outcome::Switched { from, gap } => {
                // Without an old release nothing was interrupted.
                let gap_ms = from.map(|_| gap.as_millis() as u64);
                Switched { changed: true, from, gap_ms, degraded }
            }
        })
    }
}

impl Busy {
    /// Takes in one file, or leaves it for another try when it came as a patch and is not what it should be.
    fn file(
        &mut self,
        number: u32,
        base: Option<Digest>,
        reader: &mut FrameReader<impl Read>,
    ) -> Result<(), End> {
        let wrong = |what: &str| End::from(refusal(Reason::Protocol, format!("entry {number} {what}")));
        let Some(need) = self.missing.get(&number) else { return Err(wrong("was not asked for")) };
        if base.is_some_and(|base| !need.bases.contains(&base)) {
            return Err(wrong("refers to a file that was not offered"));
        }
        let Some(Entry::File { size, digest, path, .. }) = self.bundle.manifest.entries.get(number as usize)
        else {
            return Err(wrong("is no file"));
        };
        // A base that cannot be read is as good as one that does not fit.
        let base = base.map(|base| self.room.bases.get(&base).and_then(|path| fs::read(path).ok()));
        let incoming = self.store.incoming();
        let mut content = reader.content();
        let arrived = match &base {
            None => Arrival::take(&mut content, None, &incoming, *digest, *size),
            Some(Some(base)) => Arrival::take(&mut content, Some(base), &incoming, *digest, *size),
            Some(None) => Ok(Arrival::Wrong("its base cannot be read".to_owned())),
        };
        // A connection that broke is the reason for whatever else seems wrong.
        content.finish()?;
        match arrived.map_err(|e| {
            let message = format!("writing /{path} to `{}`: {e}", incoming.display());
            refusal(
                if e.kind() == io::ErrorKind::StorageFull { Reason::NoRoom } else { Reason::Disk },
                message,
            )
        })? {
            Arrival::Right => {
                self.missing.remove(&number);
            }
            Arrival::Wrong(_) if base.is_some() => self.again.push(number),
            Arrival::Wrong(why) => {
                let message =
                    format!("/{path} did not arrive as it should be: {why}; is the bundle damaged?");
                return Err(refusal(Reason::Protocol, message).into());
            }
        }
        Ok(())
    }
}

/// What came of a file.
enum Arrival {
    Right,
    Wrong(String),
}

impl Arrival {
    /// Decompresses a content into a file, which gets its name only when it has its digest.
    fn take(
        content: &mut impl Read,
        base: Option<&[u8]>,
        incoming: &Path,
        digest: Digest,
        size: u64,
    ) -> io::Result<Self> {
        let part = incoming.join(format!("{}.part", digest.hex()));
        match fs::remove_file(&part) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        let mut file = Hashing::new(file);
        let result = match base {
            None => zstd::Decoder::new(content).map(|d| Self::pour(d, &mut file, size)),
            Some(base) => zstd::stream::read::Decoder::with_ref_prefix(io::BufReader::new(content), base)
                .map(|d| Self::pour(d, &mut file, size)),
        };
        let (is, count, _) = file.finish();
        let why = match result?? {
            Some(why) => why,
            None if count != size => format!("it has {count} bytes instead of {size}"),
            None if is != digest => format!("its digest is {is} instead of {digest}"),
            None => {
                fs::rename(&part, incoming.join(digest.hex()))?;
                return Ok(Self::Right);
            }
        };
        fs::remove_file(&part)?;
        Ok(Self::Wrong(why))
    }

    /// Copies. A failure of the disk is an error; one of what comes is told.
    fn pour<R: io::BufRead>(
        mut decoder: zstd::Decoder<'_, R>,
        file: &mut impl Write,
        size: u64,
    ) -> io::Result<Option<String>> {
        decoder.window_log_max(WINDOW_LOG)?;
        // One byte more tells a file that is too long from one that is right.
        let mut decoder = decoder.take(size + 1);
        let mut buffer = vec![0; 64 << 10];
        loop {
            match decoder.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(n) => file.write_all(&buffer[..n])?,
                Err(e) => return Ok(Some(e.to_string())),
            }
        }
    }
}

/// A compressed document, which may unpack to so many bytes.
fn document(reader: &mut FrameReader<impl Read>, limit: u64) -> Result<Vec<u8>, End> {
    let mut content = reader.content();
    let mut bytes = Vec::new();
    let decoded =
        zstd::Decoder::new(&mut content).and_then(|decoder| decoder.take(limit + 1).read_to_end(&mut bytes));
    content.finish()?;
    match decoded {
        Ok(_) if bytes.len() as u64 <= limit => Ok(bytes),
        Ok(_) => {
            let message = format!("a document of the bundle has more than {limit} bytes");
            Err(refusal(Reason::Unsuitable, message).into())
        }
        Err(e) => {
            Err(refusal(Reason::Protocol, format!("a document of the bundle cannot be read: {e}")).into())
        }
    }
}

/// Keeps others from deploying to this box, and from changing the application.
fn lock(state: &Path, store: &Store, who: &str) -> Result<(File, Lock), Refusal> {
    let path: PathBuf = state.join("deploy.lock");
    let failed = |e: io::Error| refusal(Reason::Disk, format!("the lock `{}`: {e}", path.display()));
    fs::create_dir_all(state).map_err(failed)?;
    let options =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = options.map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = file.take(200).read_to_string(&mut holder);
            let message = format!("{} deploys to this box; wait, or end its session", holder.trim());
            return Err(refusal(Reason::Busy, message));
        }
        Err(e) => return Err(failed(e.into())),
    }
    file.set_len(0).map_err(failed)?;
    let who: String = who.chars().filter(|c| !c.is_control()).take(150).collect();
    writeln!(file, "{who}").map_err(failed)?;
    Ok((file, store.lock()?))
}

fn downgrade(store: &Store, manifest: &Manifest, options: Options) -> Result<(), Refusal> {
    let current = store.current()?.and_then(|current| store.manifest(current).ok());
    match current {
        Some(current)
            if !options.allow_downgrade
                && super::version::order(manifest.version.as_str(), current.version.as_str()).is_lt() =>
        {
            let message = format!(
                "{} {} runs, and {} is older; agree with --allow-downgrade",
                manifest.app, current.version, manifest.version
            );
            Err(refusal(Reason::Downgrade, message))
        }
        _ => Ok(()),
    }
}
