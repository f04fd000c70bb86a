//! The canonical form of a member's header.

use std::collections::BTreeMap;

/// The unit of the format.
pub const BLOCK: usize = 512;

/// What ends an archive: two blocks of zeros.
pub const TRAILER: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What a member is; only what a bundle may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// typeflag `0`.
    File,
    /// typeflag `1`.
    Hardlink,
    /// typeflag `2`.
    Symlink,
    /// typeflag `5`.
    Directory,
}

/// What a header says of a member, beside its path.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// The type.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes of content; zero unless a file.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// The target of a link; empty otherwise.
    pub link: &'a str,
    /// Extended attributes by name.
    pub xattrs: &'a BTreeMap<String, Vec<u8>>,
}

/// The bytes before a member's content: an extended header where ustar's fields are too small, then the header.
///
/// A function of its arguments alone, so a reader who knows what must come can compare bytes.
pub fn member(path: &str, attributes: &Attributes<'_>) -> Vec<u8> {
    let a = attributes;
    let path = if a.kind == Kind::Directory { format!("{path}/") } else { path.to_owned() };
    let mut records = Vec::new();
    // In the order of their keywords, as everything canonical is sorted.
    for (name, value) in a.xattrs {
        record(&mut records, &format!("SCHILY.xattr.{name}"), value);
    }
    let mut number = |keyword: &str, value: u64, digits: u32| {
        if value >= 1 << (3 * digits) {
            record(&mut records, keyword, value.to_string().as_bytes());
            0
        } else {
            value
        }
    };
    let gid = number("gid", a.gid.into(), 7);
    let mtime = number("mtime", a.mtime, 11);
    let size = number("size", a.size, 11);
    let uid = number("uid", a.uid.into(), 7);
    // ustar's `prefix` could hold longer paths; one way to write them is enough.
    if a.link.len() > 100 {
        record(&mut records, "linkpath", a.link.as_bytes());
    }
    if path.len() > 100 {
        record(&mut records, "path", path.as_bytes());
    }
    let mut bytes = Vec::new();
    if !records.is_empty() {
        let length = records.len() as u64;
        bytes.extend(ustar(b"PaxHeader", b'x', 0o644, 0, 0, length, 0, b""));
        bytes.extend(&records);
        bytes.resize(bytes.len() + padding(length), 0);
    }
    let flag = match a.kind {
        Kind::File => b'0',
        Kind::Hardlink => b'1',
        Kind::Symlink => b'2',
        Kind::Directory => b'5',
    };
    bytes.extend(ustar(path.as_bytes(), flag, a.mode, uid, gid, size, mtime, a.link.as_bytes()));
    bytes
}

/// The bytes before a plain file's content: root's, mode 0644, time zero.
pub fn plain_member(path: &str, size: u64) -> Vec<u8> {
    let xattrs = BTreeMap::new();
    let kind = Kind::File;
    member(path, &Attributes { kind, mode: 0o644, uid: 0, gid: 0, size, mtime: 0, link: "", xattrs: &xattrs })
}

/// How many zeros follow content of `size` bytes.
pub fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// One record of an extended header: `length keyword=value\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} {keyword}=").as_bytes());
    records.extend(value);
    records.push(b'\n');
}

#[expect(clippy::too_many_arguments, reason = "they are the header's fields, in the header's order")]
fn ustar(
    path: &[u8],
    flag: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
    link: &[u8],
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path[..path.len().min(100)]);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, format!("{uid:07o}").as_bytes());
    put(116, format!("{gid:07o}").as_bytes());
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{mtime:011o}").as_bytes());
    put(148, b"        ");
    put(156, &[flag]);
    put(157, &link[..link.len().min(100)]);
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
