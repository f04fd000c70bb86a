//! Named files: in a directory, or in an archive that is read at random.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::compression::{Compression, decompress};
use crate::rootfs::RootPath;
use crate::rootfs::Section;
use crate::tar::{Limits, Reader, TarError};

/// The largest document (index, manifest, configuration) that is read into memory.
const MAX_DOCUMENT: u64 = 16 << 20;

/// The named files that make up an image.
#[derive(Debug)]
pub struct Members {
    origin: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Archive { file: File, size: u64, index: BTreeMap<RootPath, Member> },
}

#[derive(Debug, Clone)]
enum Member {
    Content { offset: u64, size: u64 },
    Link(RootPath),
}

/// Why members cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The image's own file or directory.
    #[error("reading the image `{origin}`: {source}")]
    Io {
        /// The image.
        origin: String,
        /// Why.
        source: io::Error,
    },
    /// The archive is none.
    #[error("reading the image `{origin}`: {source}")]
    Tar {
        /// The image.
        origin: String,
        /// Why.
        source: TarError,
    },
    /// The temporary copy of an image that cannot be read at random.
    #[error("copying the image `{origin}` to a temporary file in `{directory}`: {source}")]
    Copy {
        /// The image.
        origin: String,
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A member that the image refers to is not there.
    #[error("the image `{origin}` refers to `{name}`, which it does not hold")]
    Missing {
        /// The image.
        origin: String,
        /// The member.
        name: String,
    },
    /// A document too large to be one.
    #[error(
        "`{name}` of the image `{origin}` has {size} bytes; no such document is larger than {MAX_DOCUMENT}"
    )]
    Large {
        /// The image.
        origin: String,
        /// The member.
        name: String,
        /// Its size.
        size: u64,
    },
}

impl Members {
    /// Opens a directory, an archive, or with `-` an archive on the standard input. An archive that is compressed
    /// or cannot be read at random is first copied to a temporary file in `temporary`.
    ///
    /// # Errors
    /// When it cannot be read or is no archive.
    pub fn open_path(path: &Path, temporary: &Path, limits: Limits) -> Result<Self, MembersError> {
        let origin = path.display().to_string();
        let failed = |source| MembersError::Io { origin: origin.clone(), source };
        if path == Path::new("-") {
            return Self::copied(io::stdin().lock(), origin, temporary, limits);
        }
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Ok(Self { origin, place: Place::Directory(path.to_owned()) });
        }
        if !metadata.is_file() {
            return Self::copied(file, origin, temporary, limits);
        }
        let mut start = Vec::new();
        file.by_ref().take(6).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if Compression::of(&start) == Compression::None {
            Self::archive(file, origin, limits)
        } else {
            Self::copied(file, origin, temporary, limits)
        }
    }

    fn copied(
        source: impl Read,
        origin: String,
        temporary: &Path,
        limits: Limits,
    ) -> Result<Self, MembersError> {
        let mut plain =
            decompress(source).map_err(|source| MembersError::Io { origin: origin.clone(), source })?;
        let mut copy = || -> io::Result<(File, u64)> {
            let mut file = tempfile::tempfile_in(temporary)?;
            let copied = io::copy(&mut plain.by_ref().take(limits.bytes + 1), &mut file)?;
            file.rewind()?;
            Ok((file, copied))
        };
        let directory = temporary.to_owned();
        let (file, size) =
            copy().map_err(|source| MembersError::Copy { origin: origin.clone(), directory, source })?;
        if size > limits.bytes {
            let limit = limits.bytes;
            let source = TarError::Limit { what: "bytes when unpacked", limit, option: "--max-bytes" };
            return Err(MembersError::Tar { origin, source });
        }
        Self::archive(file, origin, limits)
    }

    /// Reads the archive once to learn where its members are.
    fn archive(file: File, origin: String, limits: Limits) -> Result<Self, MembersError> {
        let failed = |source| MembersError::Io { origin: origin.clone(), source };
        let size = file.metadata().map_err(failed)?.len();
        let mut index = BTreeMap::new();
        let mut reader = Reader::new(BufReader::with_capacity(1 << 16, &file), limits);
        let bad = |source| MembersError::Tar { origin: origin.clone(), source };
        while let Some(entry) = reader.next().map_err(bad)? {
            // A name that cannot be one is refused where it matters: when it is a layer's.
            let Ok(Some(path)) = RootPath::from_archive(&entry.path) else { continue };
            let target = |from: Option<RootPath>| {
                let link = str::from_utf8(&entry.link).ok()?;
                resolve(from.as_ref().map_or("", RootPath::as_str), link)
            };
            let member = match entry.flag {
                b'0' | b'7' => Some(Member::Content { offset: entry.offset, size: entry.size }),
                // docker save, before version 25, stores a layer that two images share as a link.
                b'1' => target(None).map(Member::Link),
                b'2' => target(path.parent()).map(Member::Link),
                _ => None,
            };
            if let Some(member) = member {
                index.insert(path, member);
            }
        }
        Ok(Self { origin, place: Place::Archive { file, size, index } })
    }

    /// Whether there is a file of that name.
    pub fn has(&self, name: &str) -> bool {
        match &self.place {
            Place::Directory(directory) => directory.join(name).is_file(),
            Place::Archive { .. } => self.section(name).is_ok(),
        }
    }

    /// Reads a member.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be opened.
    pub fn open(&self, name: &str) -> Result<Box<dyn Read + '_>, MembersError> {
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(self.checked(name)?.as_str());
                match File::open(path) {
                    Ok(file) => Ok(Box::new(file)),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Err(self.missing(name)),
                    Err(source) => {
                        Err(MembersError::Io { origin: format!("{}/{name}", self.origin), source })
                    }
                }
            }
            Place::Archive { .. } => Ok(Box::new(BufReader::with_capacity(1 << 16, self.section(name)?))),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// When there is none of that name, or it is too large to be one.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, MembersError> {
        let mut bytes = Vec::new();
        let read = self.open(name)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        let size =
            read.map_err(|source| MembersError::Io { origin: format!("{}/{name}", self.origin), source })?;
        if size as u64 > MAX_DOCUMENT {
            let (origin, name) = (self.origin.clone(), name.to_owned());
            return Err(MembersError::Large { origin, name, size: size as u64 });
        }
        Ok(bytes)
    }

    /// The archive itself, for one that is a root file system.
    pub(super) fn whole(&self) -> Result<Box<dyn Read + '_>, MembersError> {
        match &self.place {
            Place::Archive { file, size, .. } => {
                Ok(Box::new(BufReader::with_capacity(1 << 16, Section { file, at: 0, left: *size })))
            }
            Place::Directory(_) => Err(self.missing("index.json")),
        }
    }

    fn section(&self, name: &str) -> Result<Section<'_>, MembersError> {
        let Place::Archive { file, index, .. } = &self.place else { return Err(self.missing(name)) };
        let mut path = self.checked(name)?;
        // A chain of links is short where it is honest.
        for _ in 0..8 {
            match index.get(&path) {
                Some(Member::Content { offset, size }) => {
                    return Ok(Section { file, at: *offset, left: *size });
                }
                Some(Member::Link(target)) => path = target.clone(),
                None => break,
            }
        }
        Err(self.missing(name))
    }

    /// Names come out of the image's documents, so they may be anything.
    fn checked(&self, name: &str) -> Result<RootPath, MembersError> {
        name.parse().map_err(|_| self.missing(name))
    }

    fn missing(&self, name: &str) -> MembersError {
        MembersError::Missing { origin: self.origin.clone(), name: name.to_owned() }
    }
}

/// A link's target as a path from the archive's root.
fn resolve(directory: &str, link: &str) -> Option<RootPath> {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(link.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    parts.join("/").parse().ok()
}
