//! Makes a bundle of an image and a description.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::keys::{SecretKey, Signatures};
use super::manifest::{Entry, FORMAT, Manifest, ManifestError, Mode, Payload, Process, Source, Xattrs};
use super::payload;
use super::read::{MANIFEST, PAYLOAD, SIGNATURES};
use super::spec::Spec;
use super::unpack::sync_directory;
use crate::canonical::{self, CanonicalError};
use crate::digest::{Digest, Hashing};
use crate::image::{Choice, Container, Image, ImageError, Members, User, UserError};
use crate::rootfs::{Attributes, Blob, Item, PathError, RootPath, Skipped, Spool, Tree, TreeError};
use crate::tar::{self, Limits};

/// The PATH of a container whose image has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The largest /etc/passwd or /etc/group that is read.
const MAX_USERS: u64 = 4 << 20;

/// What a bundle is made of.
pub struct Input<'a> {
    /// The image.
    pub members: &'a Members,
    /// Which of the images.
    pub choice: &'a Choice,
    /// The configuration of an image that has none.
    pub config: Option<&'a [u8]>,
    /// The description.
    pub spec: &'a Spec,
    /// The time of every file.
    pub mtime: u64,
    /// Who signs; there must be one.
    pub keys: &'a [SecretKey],
    /// Where temporary files go.
    pub temporary: &'a Path,
    /// The limits of the image.
    pub limits: Limits,
}

/// A bundle that was made.
#[derive(Debug)]
pub struct Packed {
    /// Its manifest.
    pub manifest: Manifest,
    /// The manifest's digest.
    pub digest: Digest,
    /// What of the image is not in it.
    pub skipped: Vec<Skipped>,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The user.
    #[error("`user` is `{user}`: {source}")]
    User {
        /// As given.
        user: String,
        /// Why.
        source: UserError,
    },
    /// The stop signal.
    #[error("the image's stop signal is `{0}`, which is no signal of Linux; change it in the image")]
    Signal(String),
    /// A volume of the image.
    #[error("the image's volume `{volume}`: {source}")]
    Volume {
        /// As given.
        volume: String,
        /// Why.
        source: PathError,
    },
    /// The command is not in the image.
    #[error(
        "the command `{command}` is not in the image, or is no file that {user} may execute; correct `args`"
    )]
    Command {
        /// The command.
        command: String,
        /// As whom it would run.
        user: String,
    },
    /// A place that is needed cannot be made in the image.
    #[error("making `/{path}` in the image, which `{field}` needs: {source}")]
    Place {
        /// The place.
        path: RootPath,
        /// What needs it.
        field: &'static str,
        /// Why.
        source: TreeError,
    },
    /// A path that became too long.
    #[error("a path of the image: {0}")]
    Path(#[from] PathError),
    /// A manifest that our own check refuses.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A text of the manifest that has no canonical form.
    #[error("the image's labels: {0}; change them in the image")]
    Canonical(#[from] CanonicalError),
    /// Nobody signs.
    #[error("a bundle must be signed; give a key with --key, or make one with `sluice-switch keygen`")]
    Unsigned,
    /// A temporary file.
    #[error("a temporary file in `{directory}`: {source}")]
    Temporary {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bundle's own file.
    #[error("writing the bundle `{path}`: {source}")]
    Output {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes a bundle to `output`, whole or not at all. The result depends on the image, the description, the time and
/// the keys, and on nothing else.
///
/// # Errors
/// When the image is damaged or hostile, does not fit the description, or a file cannot be written.
pub fn pack(input: &Input<'_>, output: &Path) -> Result<Packed, PackError> {
    if input.keys.is_empty() {
        return Err(PackError::Unsigned);
    }
    let temporary = |source| PackError::Temporary { directory: input.temporary.to_owned(), source };
    let image = Image::find(input.members, input.choice, input.config)?;
    let mut spool = Spool::new(input.temporary).map_err(temporary)?;
    let (mut tree, skipped) = image.flatten(input.members, &mut spool, input.limits)?;
    let mut manifest = describe(input, &image, &mut tree, &spool)?;
    places(&manifest, &mut tree, &mut spool)?;
    executable(&manifest, &mut tree)?;

    let (entries, blobs): (Vec<Entry>, Vec<Option<Blob>>) =
        tree.items()?.into_iter().map(|(path, item)| entry(path, item)).unzip();
    let mut payload = Hashing::new(tempfile::tempfile_in(input.temporary).map_err(temporary)?);
    let open = |i: usize| blobs[i].map(|blob| Box::new(spool.open(blob)) as Box<dyn Read>);
    payload::write(&entries, input.mtime, BufWriter::new(&mut payload), open).map_err(temporary)?;
    let (digest, size, mut payload) = payload.finish();
    payload.rewind().map_err(temporary)?;
    manifest.entries = entries;
    manifest.payload = Payload { digest, size, unpacked_size: manifest.archive_size().unwrap_or(u64::MAX) };
    manifest.check()?;

    let text = canonical::to_string(&manifest)?;
    let signatures = canonical::to_string(&Signatures::sign(text.as_bytes(), input.keys))?;
    write(output, &text, &signatures, &mut payload, size)
        .map_err(|source| PackError::Output { path: output.to_owned(), source })?;
    Ok(Packed { manifest, digest: Digest::of(text.as_bytes()), skipped })
}

/// Everything but the entries and the payload.
fn describe(input: &Input<'_>, image: &Image, tree: &mut Tree, spool: &Spool) -> Result<Manifest, PackError> {
    let (spec, container) = (input.spec, &image.config.container);
    let user = spec.user.as_ref().unwrap_or(&container.user);
    let mut file = |path: &str| -> Result<String, PackError> {
        let path: RootPath = path.parse()?;
        let Ok((_, blob)) = tree.file(&path) else { return Ok(String::new()) };
        let bytes = spool.read(&blob, MAX_USERS);
        let bytes =
            bytes.map_err(|source| PackError::Temporary { directory: input.temporary.to_owned(), source })?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    let (passwd, group) = (file("etc/passwd")?, file("etc/group")?);
    let numbers = User::resolve(user, &passwd, &group)
        .map_err(|source| PackError::User { user: user.clone(), source })?;
    let signal = &container.stop_signal;
    let process = Process {
        args: spec.args.clone().unwrap_or_else(|| [&container.entrypoint[..], &container.cmd[..]].concat()),
        env: environment(spec, container),
        cwd: directory(spec, container),
        uid: numbers.uid,
        gid: numbers.gid,
        additional_gids: numbers.additional_gids,
        stop_signal: signal_number(signal).ok_or_else(|| PackError::Signal(signal.clone()))?,
        stop_timeout_ms: spec.stop_timeout_ms,
    };
    let mut run = spec.run.clone();
    for volume in container.volumes.keys() {
        let bad = |source| PackError::Volume { volume: volume.clone(), source };
        if let Some(path) = RootPath::from_archive(volume.as_bytes()).map_err(bad)?
            && !run.mounts.iter().any(|mount| mount.target == path)
        {
            run.tmpfs.insert(path);
        }
    }
    Ok(Manifest {
        format: FORMAT.to_owned(),
        app: spec.app.clone(),
        version: spec.version.clone(),
        platform: image.config.platform.clone(),
        process,
        run,
        health: spec.health.clone(),
        labels: container.labels.clone(),
        source: Source { kind: image.kind.as_str().to_owned(), image: image.id, layers: image.diff_ids() },
        mtime: input.mtime,
        payload: Payload { digest: Digest::of(b""), size: 0, unpacked_size: 0 },
        entries: Vec::new(),
    })
}

/// The image's environment with the description's over it, in the image's order.
fn environment(spec: &Spec, container: &Container) -> Vec<String> {
    let name = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let mut env: Vec<String> =
        container.env.iter().filter(|entry| !spec.env.contains_key(&name(entry))).cloned().collect();
    env.extend(spec.env.iter().map(|(name, value)| format!("{name}={value}")));
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(PATH.to_owned());
    }
    env
}

fn directory(spec: &Spec, container: &Container) -> String {
    let cwd = spec.cwd.as_ref().unwrap_or(&container.working_dir);
    if cwd.is_empty() { "/".to_owned() } else { cwd.clone() }
}

/// Makes the places that the runtime needs, as the root is read-only when it looks for them.
fn places(manifest: &Manifest, tree: &mut Tree, spool: &mut Spool) -> Result<(), PackError> {
    let fixed = ["dev", "proc", "sys", "tmp"].map(|name| name.parse().expect("it is plain"));
    let directories = fixed.iter().map(|path| (path, "the runtime"));
    let tmpfs = manifest.run.tmpfs.iter().map(|path| (path, "tmpfs"));
    let (files, mounts): (Vec<_>, Vec<_>) = manifest.run.mounts.iter().partition(|mount| mount.file);
    let mounts = mounts.into_iter().map(|mount| (&mount.target, "mounts"));
    let cwd = RootPath::from_archive(manifest.process.cwd.as_bytes())?;
    let cwd = cwd.iter().map(|path| (path, "cwd"));
    for (path, field) in directories.chain(tmpfs).chain(mounts).chain(cwd) {
        let place = |source| PackError::Place { path: path.clone(), field, source };
        tree.make_directory(path).map_err(place)?;
    }
    for mount in files {
        if tree.file(&mount.target).is_ok() {
            continue;
        }
        let place = |source| PackError::Place { path: mount.target.clone(), field: "mounts", source };
        let blob = spool.add(&mut io::empty()).expect("nothing is written for an empty file");
        let attributes = Attributes { mode: 0o644, ..Attributes::default() };
        tree.put_file(&mount.target, attributes, blob).map_err(place)?;
    }
    Ok(())
}

/// Checks that the command is there. A bundle without it would be found out only on the switch.
fn executable(manifest: &Manifest, tree: &mut Tree) -> Result<(), PackError> {
    let process = &manifest.process;
    let Some(command) = process.args.first() else { return Ok(()) };
    let candidates: BTreeSet<String> = if command.contains('/') {
        let from = if command.starts_with('/') { "" } else { &process.cwd };
        [format!("{from}/{command}")].into()
    } else {
        let path = process.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        path.split(':').map(|directory| format!("{directory}/{command}")).collect()
    };
    let groups = |gid: u32| gid == process.gid || process.additional_gids.contains(&gid);
    let may = |a: &Attributes| {
        // By the first class that fits, as the kernel decides; root may when anyone may.
        let bit = if a.uid == process.uid {
            0o100
        } else if groups(a.gid) {
            0o010
        } else {
            0o001
        };
        if process.uid == 0 { a.mode & 0o111 != 0 } else { a.mode & bit != 0 }
    };
    // A mount may bring the command along.
    let mounted = |path: &RootPath| {
        let mounts = manifest.run.mounts.iter();
        mounts.into_iter().any(|m| {
            path.as_str() == m.target.as_str() || path.as_str().starts_with(&format!("{}/", m.target))
        })
    };
    let found = candidates.iter().any(|candidate| {
        let Ok(Some(path)) = RootPath::from_archive(candidate.as_bytes()) else { return false };
        mounted(&path) || tree.file(&path).is_ok_and(|(attributes, _)| may(&attributes))
    });
    if found {
        return Ok(());
    }
    Err(PackError::Command { command: command.clone(), user: format!("user {}", process.uid) })
}

fn entry(path: RootPath, item: Item) -> (Entry, Option<Blob>) {
    match item {
        Item::Directory(a) => {
            let (mode, xattrs) = (Mode(a.mode), Xattrs(a.xattrs));
            (Entry::Directory { path, mode, uid: a.uid, gid: a.gid, xattrs }, None)
        }
        Item::File(a, blob) => {
            let (mode, xattrs) = (Mode(a.mode), Xattrs(a.xattrs));
            let (size, digest) = (blob.size, blob.digest);
            (Entry::File { path, mode, uid: a.uid, gid: a.gid, xattrs, size, digest }, Some(blob))
        }
        Item::Hardlink(target) => (Entry::Hardlink { path, target }, None),
        Item::Symlink(a, target) => (Entry::Symlink { path, uid: a.uid, gid: a.gid, target }, None),
    }
}

fn write(output: &Path, manifest: &str, signatures: &str, payload: &mut File, size: u64) -> io::Result<()> {
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new().prefix(".bundle-").tempfile_in(directory)?;
    let mut writer = BufWriter::new(file);
    let pad = |size: u64| &[0; tar::BLOCK][..tar::padding(size)];
    for (name, text) in [(MANIFEST, manifest), (SIGNATURES, signatures)] {
        writer.write_all(&tar::plain_member(name, text.len() as u64))?;
        writer.write_all(text.as_bytes())?;
        writer.write_all(pad(text.len() as u64))?;
    }
    writer.write_all(&tar::plain_member(PAYLOAD, size))?;
    io::copy(payload, &mut writer)?;
    writer.write_all(pad(size))?;
    writer.write_all(&tar::TRAILER)?;
    let file = writer.into_inner()?;
    // A bundle is signed, not secret.
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(output)?;
    sync_directory(directory)
}

/// A signal by name or number, as images have it (`SIGTERM`, `TERM`, `15`); none is SIGTERM. Numbers are those of
/// x86 and ARM, which signal(7) also gives for PowerPC.
fn signal_number(text: &str) -> Option<u32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if name.is_empty() {
        return Some(15);
    }
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset: u32 = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse().ok()? };
        return Some(34 + offset).filter(|n| *n <= 64);
    }
    let number = name.parse().ok().filter(|n| (1..=64).contains(n));
    number.or_else(|| NAMES.iter().position(|known| *known == name).map(|i| i as u32 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let known = [
            ("", 15),
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGQUIT", 3),
            ("SIGRTMIN+3", 37),
            ("WINCH", 28),
        ];
        for (text, number) in known {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for text in ["SIGNONE", "0", "65", "SIGRTMIN+31", "SIGRTMIN-1"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
