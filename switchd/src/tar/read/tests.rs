use std::io::Read;

use proptest::prelude::*;

use super::super::{Attributes, Kind, TRAILER, member, plain_member};
use super::*;

fn all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(bytes, Limits::default());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(|e| reader.unwrap_io(e))?;
        entries.push((entry, content));
    }
    Ok(entries)
}

/// An archive by another implementation, with a GNU long name, a base-256 uid and a pax attribute.
#[test]
fn reads_what_the_tar_crate_writes() {
    let long = format!("{}/file", "directory".repeat(20));
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_mode(0o4755);
    header.set_uid(3_000_000_000);
    header.set_gid(7);
    header.set_size(5);
    builder.append_pax_extensions([("SCHILY.xattr.security.capability", &b"\x01\x00\xff"[..])]).unwrap();
    builder.append_data(&mut header, &long, &b"hello"[..]).unwrap();
    let mut link = ::tar::Header::new_gnu();
    link.set_entry_type(::tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "l", "t".repeat(150)).unwrap();
    let entries = all(&builder.into_inner().unwrap()).unwrap();
    let (file, content) = &entries[0];
    assert_eq!((file.flag, &file.path[..], &content[..]), (b'0', long.as_bytes(), &b"hello"[..]));
    assert_eq!((file.mode, file.uid, file.gid), (0o4755, 3_000_000_000, 7));
    assert_eq!(file.xattrs["security.capability"], b"\x01\x00\xff");
    assert_eq!((entries[1].0.flag, entries[1].0.link.len()), (b'2', 150));
}

#[test]
fn a_hostile_extension_is_refused_before_it_is_read() {
    for flag in *b"xgLK" {
        let mut bytes = plain_member("PaxHeader", 3 << 30);
        bytes[156] = flag;
        let sum = checksum(bytes[..BLOCK].try_into().unwrap());
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        // The content is not even there: reading it would say `Truncated`.
        assert!(matches!(all(&bytes), Err(TarError::Extension { .. })), "{}", flag as char);
    }
}

#[test]
fn limits_hold_for_members_and_for_bytes() {
    let mut bytes: Vec<u8> = (0..5).flat_map(|i| plain_member(&format!("f{i}"), 0)).collect();
    bytes.extend(TRAILER);
    let read = |limits| {
        let mut reader = Reader::new(&bytes[..], limits);
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(e) => return Err(e.to_string()),
            }
        }
    };
    let limits = Limits::default();
    assert!(read(Limits { entries: 5, bytes: bytes.len() as u64, ..limits }).is_ok());
    assert!(read(Limits { entries: 4, ..limits }).unwrap_err().contains("--max-entries"));
    assert!(read(Limits { bytes: 1000, ..limits }).unwrap_err().contains("--max-bytes"));
}

#[test]
fn an_archive_cut_anywhere_but_between_members_is_refused() {
    let mut bytes = plain_member("file", 700);
    bytes.resize(BLOCK + 1024, b'x');
    bytes.extend(TRAILER);
    for end in 1..BLOCK + 1024 {
        assert!(matches!(all(&bytes[..end]), Err(TarError::Truncated { .. })), "cut at {end}");
    }
    assert_eq!(
        all(&bytes[..BLOCK + 1024]).unwrap().len(),
        1,
        "GNU tar, too, takes an archive without its trailer"
    );
}

#[test]
fn sparse_files_are_refused_by_name() {
    let mut bytes = plain_member("sparse", 0);
    bytes[156] = b'S';
    let sum = checksum(bytes[..BLOCK].try_into().unwrap());
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(all(&bytes).unwrap_err().to_string().contains("GNU sparse"));
}

proptest! {
    #[test]
    fn any_member_reads_back_as_it_was_written(
        path in "[a-zA-Zäß.]{1,9}(/[a-z]{1,90}){0,4}",
        link in "[a-z/.]{0,200}",
        (kind, mode) in (0usize..4, 0u32..0o10000),
        (uid, gid, mtime) in any::<(u32, u32, u64)>(),
        content in any::<Vec<u8>>(),
        xattr in proptest::option::of(any::<Vec<u8>>()),
    ) {
        let kind = [Kind::File, Kind::Hardlink, Kind::Symlink, Kind::Directory][kind];
        let content = if kind == Kind::File { content } else { Vec::new() };
        let link = if matches!(kind, Kind::Hardlink | Kind::Symlink) { &link[..] } else { "" };
        let xattrs: BTreeMap<_, _> = xattr.map(|v| ("security.capability".to_owned(), v)).into_iter().collect();
        let size = content.len() as u64;
        let attributes = Attributes { kind, mode, uid, gid, size, mtime, link, xattrs: &xattrs };
        let mut bytes = member(&path, &attributes);
        bytes.extend(&content);
        bytes.resize(bytes.len() + padding(size), 0);
        bytes.extend(TRAILER);
        prop_assert_eq!(bytes.len() % BLOCK, 0);
        let entries = all(&bytes).unwrap();
        prop_assert_eq!(entries.len(), 1);
        let (entry, read) = &entries[0];
        let slash = if kind == Kind::Directory { "/" } else { "" };
        prop_assert_eq!(str::from_utf8(&entry.path).unwrap(), format!("{path}{slash}"));
        prop_assert_eq!(str::from_utf8(&entry.link).unwrap(), link);
        prop_assert_eq!((entry.mode, entry.uid, entry.gid), (mode, uid, gid));
        prop_assert_eq!(&entry.xattrs, &xattrs);
        prop_assert_eq!(read, &content);
        // The third opinion: the tar crate reads the same path and size. It takes every line feed for a record's end,
        // also one within a value.
        if !xattrs.values().any(|value| value.contains(&b'\n')) {
            let mut archive = ::tar::Archive::new(&bytes[..]);
            let theirs = archive.entries().unwrap().next().unwrap().unwrap();
            prop_assert_eq!(theirs.path_bytes().into_owned(), entry.path.clone());
            prop_assert_eq!(theirs.size(), size);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        flag in any::<u8>(),
    ) {
        // A right checksum, so that the rest of the header is reached.
        if let Some(block) = bytes.first_chunk_mut::<BLOCK>() {
            block[156] = flag;
            let sum = checksum(block);
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let _ = all(&bytes);
    }
}
