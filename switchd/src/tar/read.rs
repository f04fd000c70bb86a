//! Reads archives that others wrote.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use super::header::{BLOCK, padding};

/// What a reader takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Members, with those that are skipped later.
    pub entries: u64,
    /// Bytes of the whole archive, headers included.
    pub bytes: u64,
    /// Bytes of one extended header or long name, which are held in memory.
    pub extension: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 8 << 30, extension: 1 << 20 }
    }
}

/// A member's header, with its extensions applied. Names are bytes: nothing is said yet of their sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The typeflag of the header; old archives' NUL is given as `0`.
    pub flag: u8,
    /// The path as written.
    pub path: Vec<u8>,
    /// A link's target as written.
    pub link: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes of content.
    pub size: u64,
    /// Extended attributes (`SCHILY.xattr.*`).
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Where the content begins, in bytes from the archive's beginning.
    pub offset: u64,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The bytes beneath could not be read; for a compressed archive this is also how damage shows.
    #[error("reading the archive at byte {at}: {source}")]
    Io {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The archive ends in the middle of a member.
    #[error("the archive ends at byte {at}, in the middle of a member")]
    Truncated {
        /// Where.
        at: u64,
    },
    /// A header's checksum is wrong: this is no tar archive, or it is damaged.
    #[error("no tar header at byte {at}: its checksum is wrong")]
    Checksum {
        /// Where.
        at: u64,
    },
    /// A field that cannot be parsed.
    #[error("member `{path}`: the header field `{field}` is not valid")]
    Field {
        /// The member.
        path: String,
        /// The field, by its name in the standard.
        field: &'static str,
    },
    /// A form that we do not read.
    #[error("member `{path}` is stored in {form} form, which is not read; write the archive without it")]
    Form {
        /// The member.
        path: String,
        /// The form's name.
        form: &'static str,
    },
    /// An extended header larger than any that an honest archive has.
    #[error(
        "the extended header `{path}` has {size} bytes, more than {limit}; the archive is damaged or hostile"
    )]
    Extension {
        /// The name in its header.
        path: String,
        /// Its size.
        size: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// More than the limit.
    #[error("the archive has more than {limit} {what}; if it is to be trusted, raise {option}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// Which option raises it.
        option: &'static str,
    },
}

/// Reads an archive front to back.
///
/// ```
/// use sluice_switch::tar::{Limits, Reader, TRAILER, plain_member};
/// let mut bytes = plain_member("hello", 0);
/// bytes.extend(TRAILER);
/// let mut reader = Reader::new(&bytes[..], Limits::default());
/// assert_eq!(reader.next().unwrap().unwrap().path, b"hello");
/// assert!(reader.next().unwrap().is_none());
/// ```
pub struct Reader<R> {
    source: R,
    at: u64,
    /// Content of the current member not yet read, and the zeros after it.
    content: u64,
    padding: u64,
    entries: u64,
    limits: Limits,
}

#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Begins at the archive's first byte.
    pub fn new(source: R, limits: Limits) -> Self {
        Self { source, at: 0, content: 0, padding: 0, entries: 0, limits }
    }

    /// The next member, or `None` at the end. What is left of the content of the one before is passed over.
    ///
    /// # Errors
    /// When the archive is damaged, cut short, larger than the limits, or in a form that is not read.
    #[expect(
        clippy::should_implement_trait,
        reason = "the content is read between two calls, so it is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extension = Extension::default();
        let mut extended = false;
        loop {
            self.skip_content()?;
            let start = self.at;
            let Some(block) = self.header_block()? else {
                return if extended { Err(TarError::Truncated { at: start }) } else { Ok(None) };
            };
            let name = until_nul(&block[..100]);
            let shown = String::from_utf8_lossy(name).into_owned();
            let field = |field| TarError::Field { path: shown.clone(), field };
            let sum = number(&block[148..156]).ok_or(TarError::Checksum { at: start })?;
            if sum != checksum(&block) {
                return Err(TarError::Checksum { at: start });
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                let limit = self.limits.entries;
                return Err(TarError::Limit { what: "members", limit, option: "--max-entries" });
            }
            let size = number(&block[124..136]).ok_or_else(|| field("size"))?;
            match block[156] {
                b'x' => {
                    let bytes = self.extension(size, &shown)?;
                    records(&bytes, &mut extension).map_err(field)?;
                    extended = true;
                    continue;
                }
                // A global header holds defaults of the whole archive; what git and docker write there (a comment)
                // has no sense for us.
                b'g' => {
                    self.extension(size, &shown)?;
                    continue;
                }
                b'L' => {
                    let bytes = self.extension(size, &shown)?;
                    extension.path = Some(until_nul(&bytes).to_vec());
                    extended = true;
                    continue;
                }
                b'K' => {
                    let bytes = self.extension(size, &shown)?;
                    extension.link = Some(until_nul(&bytes).to_vec());
                    extended = true;
                    continue;
                }
                b'S' => return Err(TarError::Form { path: shown, form: "GNU sparse" }),
                b'M' => return Err(TarError::Form { path: shown, form: "multi-volume" }),
                _ => {}
            }
            let flag = if block[156] == 0 { b'0' } else { block[156] };
            let ustar = &block[257..263] == b"ustar\0";
            let prefix = until_nul(&block[345..500]);
            let path = match (extension.path, ustar && !prefix.is_empty()) {
                (Some(path), _) => path,
                (None, true) => [prefix, b"/", name].concat(),
                (None, false) => name.to_vec(),
            };
            let size = extension.size.unwrap_or(size);
            let id = |bytes: &[u8]| number(bytes).and_then(|n| u32::try_from(n).ok());
            let entry = Entry {
                flag,
                link: extension.link.unwrap_or_else(|| until_nul(&block[157..257]).to_vec()),
                mode: (number(&block[100..108]).ok_or_else(|| field("mode"))? & 0o7777) as u32,
                uid: extension.uid.map_or_else(|| id(&block[108..116]).ok_or_else(|| field("uid")), Ok)?,
                gid: extension.gid.map_or_else(|| id(&block[116..124]).ok_or_else(|| field("gid")), Ok)?,
                // Some writers give links a size; no content follows them.
                size: if matches!(flag, b'0' | b'7') { size } else { 0 },
                xattrs: extension.xattrs,
                offset: self.at,
                path,
            };
            if !matches!(flag, b'0'..=b'7') {
                return Err(TarError::Form { path: shown, form: "an unknown" });
            }
            self.content = entry.size;
            self.padding = padding(entry.size) as u64;
            return Ok(Some(entry));
        }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Takes the archive apart for what follows it.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        io::copy(&mut (&mut *self), &mut io::sink()).map_err(|e| self.unwrap_io(e))?;
        let mut zeros = [0; BLOCK];
        let n = self.padding as usize;
        self.padding = 0;
        self.fill(&mut zeros[..n])
    }

    /// The next header's block; `None` at the end, which is a block of zeros or the end of the bytes.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block[..1]) {
            Ok(()) => {}
            Err(TarError::Truncated { .. }) => return Ok(None),
            Err(other) => return Err(other),
        }
        self.fill(&mut block[1..])?;
        Ok(block.iter().any(|b| *b != 0).then_some(block))
    }

    /// Reads an extended header's content into memory.
    fn extension(&mut self, size: u64, path: &str) -> Result<Vec<u8>, TarError> {
        if size > self.limits.extension {
            return Err(TarError::Extension { path: path.to_owned(), size, limit: self.limits.extension });
        }
        let mut bytes = vec![0; size as usize + padding(size)];
        self.fill(&mut bytes)?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        let mut done = 0;
        while done < buffer.len() {
            match self.source.read(&mut buffer[done..]) {
                Ok(0) => return Err(TarError::Truncated { at: self.at }),
                Ok(n) => {
                    done += n;
                    self.count(n as u64)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Io { at: self.at, source }),
            }
        }
        Ok(())
    }

    fn count(&mut self, n: u64) -> Result<(), TarError> {
        self.at += n;
        if self.at > self.limits.bytes {
            let limit = self.limits.bytes;
            return Err(TarError::Limit { what: "bytes when unpacked", limit, option: "--max-bytes" });
        }
        Ok(())
    }

    /// Takes back the [`TarError`] that [`Read`] had to wrap.
    pub fn unwrap_io(&self, error: io::Error) -> TarError {
        match error.downcast::<TarError>() {
            Ok(inner) => inner,
            Err(source) => TarError::Io { at: self.at, source },
        }
    }
}

/// The content of the current member.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = match self.source.read(&mut buffer[..want]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            // Wrapped, so that a caller who copies can tell our side's failures from the other's.
            read => read.map_err(|source| io::Error::other(TarError::Io { at: self.at, source }))?,
        };
        if n == 0 {
            return Err(io::Error::other(TarError::Truncated { at: self.at }));
        }
        self.content -= n as u64;
        self.count(n as u64).map_err(io::Error::other)?;
        Ok(n)
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or(bytes)
}

/// A numeric field: octal digits between spaces and NULs, or GNU's base 256 when the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        // 0xff would begin a negative number.
        let start = (field[0] != 0xff).then_some(first)?;
        return field[1..].iter().try_fold(start, |n, b| n.checked_mul(256)?.checked_add(u64::from(*b)));
    }
    let text: Cow<'_, str> = String::from_utf8_lossy(field);
    let digits = text.trim_matches([' ', '\0']);
    if digits.is_empty() {
        return Some(0);
    }
    // from_str_radix would take a sign.
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| u64::from_str_radix(digits, 8).ok())?
}

fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// Parses the records of an extended header; on failure gives the keyword in question.
fn records(mut bytes: &[u8], extension: &mut Extension) -> Result<(), &'static str> {
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ').ok_or("pax record")?;
        let length: usize =
            str::from_utf8(&bytes[..space]).ok().and_then(|s| s.parse().ok()).ok_or("pax record")?;
        if length > bytes.len() || length < space + 2 || bytes[length - 1] != b'\n' {
            return Err("pax record");
        }
        let body = &bytes[space + 1..length - 1];
        bytes = &bytes[length..];
        let equals = body.iter().position(|b| *b == b'=').ok_or("pax record")?;
        let (keyword, value) = (&body[..equals], &body[equals + 1..]);
        let decimal = || str::from_utf8(value).ok().and_then(|s| s.parse::<u64>().ok());
        let id = || decimal().and_then(|n| u32::try_from(n).ok());
        match keyword {
            b"path" => extension.path = Some(value.to_vec()),
            b"linkpath" => extension.link = Some(value.to_vec()),
            b"size" => extension.size = Some(decimal().ok_or("size")?),
            b"uid" => extension.uid = Some(id().ok_or("uid")?),
            b"gid" => extension.gid = Some(id().ok_or("gid")?),
            _ if keyword.starts_with(b"GNU.sparse.") => return Err("GNU.sparse (not read)"),
            _ => {
                if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    let name = str::from_utf8(name).map_err(|_| "SCHILY.xattr")?;
                    extension.xattrs.insert(name.to_owned(), value.to_vec());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
