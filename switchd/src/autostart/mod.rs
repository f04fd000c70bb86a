//! Applications come back after a reboot: files for systemd, for sysv scripts, or for cron.
//!
//! At boot `sluice-switch up --fix` mounts control groups where nobody else does, sets right what a power cut left and
//! starts what is committed. Then nothing of ours stays: a timer of the system runs `sluice-switch tend`, which keeps
//! logs within bounds and, when supervision was asked for, starts again what has ended. One unit starts all
//! applications, so that installing or removing one changes nothing here.
//!
//! | init | what is written |
//! |---|---|
//! | systemd | `sluice-apps.service`, `sluice-apps-tend.timer` and its service, and links that enable them |
//! | sysv | `/etc/init.d/sluice-apps`, links in `/etc/rc?.d`, and `/etc/cron.d/sluice-apps` where cron is |
//! | none | nothing: lines for cron are printed, or written to `/etc/cron.d/sluice-apps` when asked |
//!
//! Everything written begins with a mark. What has the name but not the mark is somebody else's: it is neither
//! overwritten nor removed. Nothing is called `switchd`, which on Cumulus is the daemon that programs the ASIC.
//!
//! ```
//! use sluice_switch::autostart::{Autostart, Piece};
//! use sluice_switch::preflight::Init;
//!
//! let autostart = Autostart::new("/opt/sluice/bin/sluice-switch".as_ref(), &[])?;
//! let Piece::File { path, text, .. } = &autostart.pieces(Init::Systemd, false)[0] else { panic!() };
//! assert_eq!(*path, "etc/systemd/system/sluice-apps.service");
//! assert!(text.contains("\nExecStart=/opt/sluice/bin/sluice-switch up --fix\n"));
//! # Ok::<(), sluice_switch::autostart::AutostartError>(())
//! ```

mod text;

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::bundle::sync_directory;
use crate::preflight::Init;

/// What everything that we write begins with, after what must come first.
const MARK: &str =
    "# Written by `sluice-switch autostart enable`, removed by `sluice-switch autostart disable`.\n";

/// How often logs are looked at, in minutes.
pub const EVERY: u32 = 5;

/// What is to be started, and how.
#[derive(Debug, Clone)]
pub struct Autostart {
    program: String,
    arguments: Vec<String>,
    /// Whether what ends by itself is started again.
    pub supervise: bool,
    /// Minutes between two looks at the logs and, with supervision, at the applications: 1 to 59, or 0 for none.
    pub every: u32,
}

/// A file or link, by its path below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A file.
    File {
        /// Where.
        path: String,
        /// Its permissions.
        mode: u32,
        /// What is in it.
        text: String,
    },
    /// A symbolic link.
    Link {
        /// Where.
        path: String,
        /// Where it leads.
        target: String,
    },
}

impl Piece {
    /// Where.
    pub fn path(&self) -> &str {
        match self {
            Self::File { path, .. } | Self::Link { path, .. } => path,
        }
    }
}

/// Why nothing is started at boot.
#[derive(Debug, thiserror::Error)]
pub enum AutostartError {
    /// An argument that cannot be written down for all of them.
    #[error("`{}` has control characters, which no init system takes; use another path", .0.escape_default())]
    Argument(String),
    /// A program that would not be found at boot.
    #[error(
        "`{0}` is not an absolute path, and nobody looks for it at boot; name the program with --program"
    )]
    Program(PathBuf),
    /// The minutes do not fit cron.
    #[error("{0} is no number of minutes between 1 and 59, or 0 for never")]
    Every(u32),
    /// Something else is there.
    #[error("`{0}` is there, and sluice-switch did not write it; move it away")]
    Taken(PathBuf),
    /// The file system.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AutostartError + use<> {
    let path = path.to_owned();
    move |source| AutostartError::Io { what, path, source }
}

impl Autostart {
    /// Of this program with these arguments after the command's name.
    ///
    /// # Errors
    /// When the program's path is relative, or a word cannot be written into the files of every init system.
    pub fn new(program: &Path, arguments: &[String]) -> Result<Self, AutostartError> {
        if !program.is_absolute() {
            return Err(AutostartError::Program(program.to_owned()));
        }
        let text = program.to_str().ok_or_else(|| AutostartError::Argument(program.display().to_string()))?;
        let plain = |word: &str| !word.chars().any(char::is_control);
        if let Some(bad) = arguments.iter().map(String::as_str).chain([text]).find(|word| !plain(word)) {
            return Err(AutostartError::Argument(bad.to_owned()));
        }
        Ok(Self { program: text.to_owned(), arguments: arguments.to_vec(), supervise: false, every: EVERY })
    }

    /// Checks the minutes.
    ///
    /// # Errors
    /// When cron could not tell of them.
    pub fn check(&self) -> Result<(), AutostartError> {
        if self.every < 60 { Ok(()) } else { Err(AutostartError::Every(self.every)) }
    }

    /// What is written for an init system; `cron` says whether /etc/cron.d is used where the system has no timers of
    /// its own.
    pub fn pieces(&self, init: Init, cron: bool) -> Vec<Piece> {
        let file = |path: &str, mode, text| Piece::File { path: path.to_owned(), mode, text };
        let link = |path: String, target: &str| Piece::Link { path, target: target.to_owned() };
        let timer = self.every > 0;
        let mut pieces = Vec::new();
        match init {
            Init::Systemd => {
                pieces.push(file("etc/systemd/system/sluice-apps.service", 0o644, self.service()));
                let wants = "etc/systemd/system/multi-user.target.wants/sluice-apps.service";
                pieces.push(link(wants.to_owned(), "../sluice-apps.service"));
                if timer {
                    pieces.push(file(
                        "etc/systemd/system/sluice-apps-tend.service",
                        0o644,
                        self.tend_service(),
                    ));
                    pieces.push(file("etc/systemd/system/sluice-apps-tend.timer", 0o644, self.timer()));
                    let wants = "etc/systemd/system/timers.target.wants/sluice-apps-tend.timer";
                    pieces.push(link(wants.to_owned(), "../sluice-apps-tend.timer"));
                }
            }
            Init::Sysv => {
                pieces.push(file("etc/init.d/sluice-apps", 0o755, self.script()));
                for (level, order) in LEVELS {
                    pieces.push(link(format!("etc/rc{level}.d/{order}sluice-apps"), "../init.d/sluice-apps"));
                }
                if timer && cron {
                    pieces.push(file(CRON, 0o644, self.cron(false)));
                }
            }
            Init::None if cron => pieces.push(file(CRON, 0o644, self.cron(true))),
            Init::None => {}
        }
        pieces
    }

    /// Writes what an init system needs below `root` and removes what was written for another. Gives the paths that
    /// changed; none, when all was there.
    ///
    /// # Errors
    /// When a place is taken (nothing is then written), or the file system refuses.
    pub fn enable(&self, root: &Path, init: Init, cron: bool) -> Result<Vec<PathBuf>, AutostartError> {
        self.check()?;
        if let Some(path) = taken(root).into_iter().next() {
            return Err(AutostartError::Taken(root.join(path.trim_start_matches('/'))));
        }
        let pieces = self.pieces(init, cron);
        let mut changed = remove(root, |path| pieces.iter().any(|piece| piece.path() == path))?;
        for piece in &pieces {
            let path = root.join(piece.path());
            if write(&path, piece)? {
                changed.push(path);
            }
        }
        Ok(changed)
    }
}

/// Removes everything of ours below `root` and gives the paths; none, when there was nothing.
///
/// # Errors
/// When the file system refuses.
pub fn disable(root: &Path) -> Result<Vec<PathBuf>, AutostartError> {
    remove(root, |_| false)
}

/// What of ours is below `root`, and for which init system; `None` when nothing is.
pub fn enabled(root: &Path) -> Option<(Init, Vec<PathBuf>)> {
    let ours: Vec<String> = places().filter(|path| state(&root.join(path)) == State::Ours).collect();
    let has = |path: &str| ours.iter().any(|p| p == path);
    let init = if has(SERVICE_WANTED) {
        Init::Systemd
    } else if has("etc/init.d/sluice-apps") && has("etc/rc2.d/S99sluice-apps") {
        Init::Sysv
    } else if has(CRON) {
        Init::None
    } else {
        return None;
    };
    Some((init, ours.into_iter().map(|path| root.join(path)).collect()))
}

const CRON: &str = "etc/cron.d/sluice-apps";
const SERVICE_WANTED: &str = "etc/systemd/system/multi-user.target.wants/sluice-apps.service";
/// Run levels, and the order in each: started last, stopped first.
const LEVELS: [(char, &str); 7] =
    [('2', "S99"), ('3', "S99"), ('4', "S99"), ('5', "S99"), ('0', "K01"), ('1', "K01"), ('6', "K01")];

/// Every path that we may write, links last.
fn places() -> impl Iterator<Item = String> {
    let files = [
        "etc/systemd/system/sluice-apps.service",
        "etc/systemd/system/sluice-apps-tend.service",
        "etc/systemd/system/sluice-apps-tend.timer",
        "etc/init.d/sluice-apps",
        CRON,
        SERVICE_WANTED,
        "etc/systemd/system/timers.target.wants/sluice-apps-tend.timer",
    ];
    let links = LEVELS.into_iter().map(|(level, order)| format!("etc/rc{level}.d/{order}sluice-apps"));
    files.into_iter().map(str::to_owned).chain(links)
}

/// Whose a path is.
#[derive(PartialEq, Eq)]
enum State {
    Free,
    Ours,
    Taken,
}

fn state(path: &Path) -> State {
    let Ok(metadata) = path.symlink_metadata() else { return State::Free };
    let ours = if metadata.is_symlink() {
        let name = fs::read_link(path).ok().and_then(|to| to.file_name().map(|n| n.to_owned()));
        name.is_some_and(|name| name.to_string_lossy().starts_with("sluice-apps"))
    } else {
        fs::read_to_string(path).is_ok_and(|text| text.contains(MARK.trim_end()))
    };
    if ours { State::Ours } else { State::Taken }
}

/// Paths of ours below `root` at which something else is, as absolute paths.
pub fn taken(root: &Path) -> Vec<String> {
    places().filter(|path| state(&root.join(path)) == State::Taken).map(|path| format!("/{path}")).collect()
}

fn remove(root: &Path, keep: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, AutostartError> {
    let mut removed = Vec::new();
    // Links first: none then leads to nothing.
    let mut places: Vec<String> = places().collect();
    places.reverse();
    for place in places.into_iter().filter(|place| !keep(place)) {
        let path = root.join(place);
        if state(&path) == State::Ours {
            fs::remove_file(&path).map_err(io_error("removing", &path))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Gives whether anything changed.
fn write(path: &Path, piece: &Piece) -> Result<bool, AutostartError> {
    let same = match piece {
        Piece::File { text, mode, .. } => {
            use std::os::unix::fs::PermissionsExt;
            let has = |m: fs::Metadata| m.is_file() && m.permissions().mode() & 0o7777 == *mode;
            path.symlink_metadata().is_ok_and(has) && fs::read_to_string(path).is_ok_and(|is| is == *text)
        }
        Piece::Link { target, .. } => fs::read_link(path).is_ok_and(|is| is.as_os_str() == target.as_str()),
    };
    if same {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(io_error("making the directory", directory))?;
    // A name that neither systemd nor cron reads, in case the power fails here.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!(".{name}.new"));
    let _ = fs::remove_file(&new);
    match piece {
        Piece::File { text, mode, .. } => {
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(*mode).open(&new);
            let written = file.and_then(|file| {
                use std::os::unix::fs::PermissionsExt;
                io::Write::write_all(&mut &file, text.as_bytes())?;
                // The umask may have taken some away.
                file.set_permissions(fs::Permissions::from_mode(*mode))?;
                file.sync_all()
            });
            written.map_err(io_error("writing", &new))?;
        }
        Piece::Link { target, .. } => symlink(target, &new).map_err(io_error("making the link", &new))?,
    }
    fs::rename(&new, path).map_err(io_error("giving its name to", path))?;
    sync_directory(directory).map_err(io_error("writing to the disk", directory))?;
    Ok(true)
}

#[cfg(test)]
mod tests;
