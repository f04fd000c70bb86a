//! Compressed streams, known by how they begin: media types and file names lie.

use std::io::{self, Read};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// A format that is not read, by name.
    Other(&'static str),
}

impl Compression {
    /// What `start`, the first six bytes or fewer, tells.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Other("xz"),
            [b'B', b'Z', b'h', ..] => Self::Other("bzip2"),
            _ => Self::None,
        }
    }
}

/// The uncompressed bytes of `source`, whichever compression it has.
///
/// # Errors
/// When the beginning cannot be read, or the compression is one that is not read.
pub fn decompress<'a>(mut source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::with_capacity(6);
    source.by_ref().take(6).read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    let whole = io::Cursor::new(start).chain(source);
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        // Its window, and so the memory it takes, is bounded by zstd's own default of 128 MiB.
        Compression::Zstd => Box::new(zstd::Decoder::new(whole)?),
        Compression::Other(name) => {
            let message = format!("it is compressed with {name}, which is not read; use gzip, zstd or none");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        decompress(bytes)?.read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn each_compression_is_known_by_its_beginning() {
        let text = "some text, some text, some text";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(plain(&gzip).unwrap(), text);
        assert_eq!(plain(&[&gzip[..], &gzip[..]].concat()).unwrap(), text.repeat(2), "as pigz writes");
        assert_eq!(plain(&zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap(), text);
        assert_eq!(plain(text.as_bytes()).unwrap(), text);
        assert_eq!(plain(b"x").unwrap(), "x");
        assert_eq!(plain(b"").unwrap(), "");
        assert!(plain(b"\xfd7zXZ\0....").unwrap_err().to_string().contains("xz"));
        assert!(plain(&gzip[..gzip.len() - 6]).is_err(), "cut short");
    }
}
