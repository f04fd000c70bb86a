//! OpenFlow in the TCP streams of a capture file, as tcpdump(8) writes it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::wire::MessageHeader;

/// TCP ports of OpenFlow: the first that was in use, and IANA's.
pub(super) const PORTS: [u16; 2] = [6633, 6653];

/// Bytes of a stream that wait for those before them, at most.
const WAITING: usize = 4 << 20;

/// Why a file is no capture that can be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CaptureError {
    #[error("it is in the pcapng format; 'tcpdump -r FILE -w OTHER' makes a pcap file of it")]
    Pcapng,
    #[error("it is not in the pcap format that tcpdump -w writes")]
    NotPcap,
    #[error(
        "its packets have link type {0}, of which nothing is known here; Ethernet, raw IP and Linux's cooked captures are"
    )]
    LinkType(u32),
    #[error("it ends within a packet, at byte {0}")]
    Truncated(usize),
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Direction {
    pub(super) src: (IpAddr, u16),
    pub(super) dst: (IpAddr, u16),
}

impl fmt::Display for Direction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Direction { src, dst } = self;
        write!(out, "{}.{} > {}.{}", src.0, src.1, dst.0, dst.1)
    }
}

/// The frames of a capture.
pub(super) struct Capture<'a> {
    rest: &'a [u8],
    length: usize,
    little_endian: bool,
    link: Link,
}

/// What stands before the network's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Ethernet,
    Raw,
    /// Linux's cooked capture, by the place of its protocol and its length.
    Cooked {
        protocol_at: usize,
        length: usize,
    },
}

impl<'a> Capture<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, CaptureError> {
        let Some((header, rest)) = bytes.split_first_chunk::<24>() else {
            return Err(CaptureError::NotPcap);
        };
        // Of microseconds and of nanoseconds.
        let little_endian = match header[..4] {
            [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => true,
            [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => false,
            [0x0a, 0x0d, 0x0d, 0x0a] => return Err(CaptureError::Pcapng),
            _ => return Err(CaptureError::NotPcap),
        };
        let mut capture = Capture { rest, length: bytes.len(), little_endian, link: Link::Ethernet };
        // The upper half may say how long the frame check sequence is.
        capture.link = match capture.number([header[20], header[21], header[22], header[23]]) & 0xffff {
            1 => Link::Ethernet,
            12 | 14 | 101 => Link::Raw,
            113 => Link::Cooked { protocol_at: 14, length: 16 },
            276 => Link::Cooked { protocol_at: 0, length: 20 },
            other => return Err(CaptureError::LinkType(other)),
        };
        Ok(capture)
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    }

    /// The next frame.
    fn frame(&mut self) -> Option<Result<&'a [u8], CaptureError>> {
        if self.rest.is_empty() {
            return None;
        }
        let truncated = CaptureError::Truncated(self.length - self.rest.len());
        let Some((header, rest)) = self.rest.split_first_chunk::<16>() else {
            self.rest = &[];
            return Some(Err(truncated));
        };
        let length = self.number([header[8], header[9], header[10], header[11]]) as usize;
        let Some((frame, rest)) = rest.split_at_checked(length) else {
            self.rest = &[];
            return Some(Err(truncated));
        };
        self.rest = rest;
        Some(Ok(frame))
    }

    /// The next TCP segment; other frames are passed over.
    pub(super) fn segment(&mut self) -> Option<Result<Segment<'a>, CaptureError>> {
        loop {
            match self.frame()? {
                Ok(frame) => {
                    if let Some(segment) = Segment::of(self.link, frame) {
                        return Some(Ok(segment));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) direction: Direction,
    sequence: u32,
    syn: bool,
    payload: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

impl<'a> Segment<'a> {
    /// The segment in a frame; `None` if there is none in it, or not the whole of its headers.
    fn of(link: Link, frame: &'a [u8]) -> Option<Self> {
        let (mut kind, mut l3) = match link {
            Link::Ethernet => (word(frame, 12)?, frame.get(14..)?),
            Link::Cooked { protocol_at, length } => (word(frame, protocol_at)?, frame.get(length..)?),
            Link::Raw if frame.first()? >> 4 == 6 => (0x86dd, frame),
            Link::Raw => (0x0800, frame),
        };
        while matches!(kind, 0x8100 | 0x88a8) {
            (kind, l3) = (word(l3, 2)?, l3.get(4..)?);
        }
        let (src, dst, l4) = match kind {
            0x0800 => {
                let header = usize::from(l3.first()? & 0xf) * 4;
                let is_fragment = word(l3, 6)? & 0x3fff != 0;
                if l3[0] >> 4 != 4 || *l3.get(9)? != 6 || is_fragment {
                    return None;
                }
                let address = |at: usize| Some(Ipv4Addr::from(*l3.get(at..)?.first_chunk::<4>()?));
                let total = usize::from(word(l3, 2)?);
                // Short frames are padded; and where the network's card cuts packets up, the length may be zero.
                let end = if total == 0 { l3.len() } else { total.min(l3.len()) };
                (IpAddr::from(address(12)?), IpAddr::from(address(16)?), l3.get(header.max(20)..end)?)
            }
            0x86dd => {
                if *l3.get(6)? != 6 {
                    return None;
                }
                let address = |at: usize| Some(Ipv6Addr::from(*l3.get(at..)?.first_chunk::<16>()?));
                let payload = usize::from(word(l3, 4)?);
                let end = if payload == 0 { l3.len() } else { (40 + payload).min(l3.len()) };
                (IpAddr::from(address(8)?), IpAddr::from(address(24)?), l3.get(40..end)?)
            }
            _ => return None,
        };
        let header = usize::from(*l4.get(12)? >> 4) * 4;
        Some(Segment {
            direction: Direction { src: (src, word(l4, 0)?), dst: (dst, word(l4, 2)?) },
            sequence: u32::from_be_bytes(*l4.get(4..)?.first_chunk()?),
            syn: l4.get(13)? & 2 != 0,
            payload: l4.get(header.max(20)..)?,
        })
    }
}

/// The bytes of one direction, in their order.
#[derive(Debug, Default)]
struct Stream {
    /// The sequence number of the byte that comes next.
    next: u32,
    /// What is no whole message yet.
    bytes: Vec<u8>,
    /// What came before its time.
    waiting: Vec<(u32, Vec<u8>)>,
    /// No message begins where one should.
    is_lost: bool,
}

impl Stream {
    fn take(&mut self, sequence: u32, payload: &[u8]) {
        if self.is_lost || payload.is_empty() {
            return;
        }
        if sequence.wrapping_sub(self.next) as i32 > 0 {
            let held: usize = self.waiting.iter().map(|(_, bytes)| bytes.len()).sum();
            if held + payload.len() <= WAITING {
                self.waiting.push((sequence, payload.to_vec()));
            }
            return;
        }
        self.append(sequence, payload);
        while let Some(place) =
            self.waiting.iter().position(|(sequence, _)| sequence.wrapping_sub(self.next) as i32 <= 0)
        {
            let (sequence, payload) = self.waiting.swap_remove(place);
            self.append(sequence, &payload);
        }
    }

    /// Takes what of this is new; it begins at or before the next byte.
    fn append(&mut self, sequence: u32, payload: &[u8]) {
        let known = self.next.wrapping_sub(sequence) as usize;
        if let Some(new) = payload.get(known..) {
            self.bytes.extend_from_slice(new);
            self.next = self.next.wrapping_add(new.len() as u32);
        }
    }

    /// The next message, once all of it is there.
    fn message(&mut self) -> Option<Vec<u8>> {
        if self.is_lost {
            return None;
        }
        match MessageHeader::peek(&self.bytes) {
            Ok(Some(header)) if self.bytes.len() >= header.length.into() => {
                let rest = self.bytes.split_off(header.length.into());
                Some(std::mem::replace(&mut self.bytes, rest))
            }
            Ok(_) => None,
            Err(_) => {
                self.is_lost = true;
                None
            }
        }
    }
}

/// What is said in the directions of connections.
#[derive(Default)]
pub(super) struct Streams(HashMap<Direction, Stream>);

impl Streams {
    /// The messages that are whole by this segment.
    pub(super) fn take(&mut self, segment: Segment<'_>) -> Vec<Vec<u8>> {
        let Segment { direction, sequence, syn, payload } = segment;
        let first = if syn { sequence.wrapping_add(1) } else { sequence };
        let fresh = || Stream { next: first, ..Stream::default() };
        let stream = self.0.entry(direction).or_insert_with(fresh);
        // Ports are used again, but a SYN may also come twice.
        if syn && stream.next != first {
            *stream = fresh();
        }
        stream.take(first, payload);
        std::iter::from_fn(|| stream.message()).collect()
    }

    /// Directions of which not everything was read, each with the reason.
    pub(super) fn unread(&self) -> Vec<(Direction, &'static str)> {
        let mut unread: Vec<_> = self
            .0
            .iter()
            .filter_map(|(direction, stream)| {
                let why = match stream {
                    Stream { is_lost: true, .. } => "from some place on it is no OpenFlow",
                    Stream { waiting, .. } if !waiting.is_empty() => "segments are missing in the capture",
                    Stream { bytes, .. } if !bytes.is_empty() => "it ends within a message",
                    _ => return None,
                };
                Some((*direction, why))
            })
            .collect();
        unread.sort_by_key(|(direction, _)| (direction.src, direction.dst));
        unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: [u8; 12] = [4, 2, 0, 12, 0, 0, 0, 1, 1, 2, 3, 4];

    fn segment(sequence: u32, syn: bool, payload: &[u8]) -> Segment<'_> {
        let end = |last: u8, port| (IpAddr::from([127, 0, 0, last]), port);
        Segment { direction: Direction { src: end(1, 50000), dst: end(2, PORTS[1]) }, sequence, syn, payload }
    }

    #[test]
    fn segments_in_any_order_and_twice_make_a_stream_across_the_end_of_numbers() {
        let twice = [ECHO, ECHO].concat();
        let mut streams = Streams::default();
        assert!(streams.take(segment(u32::MAX - 5, true, b"")).is_empty());
        let first = u32::MAX - 4;
        assert!(streams.take(segment(first.wrapping_add(9), false, &twice[9..])).is_empty());
        assert_eq!(streams.unread()[0].1, "segments are missing in the capture");
        assert!(streams.take(segment(first, false, &twice[..5])).is_empty());
        // What is known comes again with what is not.
        assert_eq!(streams.take(segment(first, false, &twice[..11])), [ECHO, ECHO]);
        assert!(streams.take(segment(first, false, &twice)).is_empty());
        assert_eq!(streams.unread(), []);
        // The same ports, used again.
        assert!(streams.take(segment(77, true, b"")).is_empty());
        assert_eq!(streams.take(segment(78, false, &ECHO)), [ECHO]);
    }

    #[test]
    fn a_direction_that_was_not_read_whole_is_told_with_the_reason() {
        let reason = |payload: &[u8]| {
            let mut streams = Streams::default();
            streams.take(segment(1, false, payload));
            streams.unread().first().map(|(_, why)| *why)
        };
        assert_eq!(reason(&ECHO), None);
        assert_eq!(reason(&ECHO[..11]), Some("it ends within a message"));
        assert_eq!(reason(&[4, 0, 0, 4, 0, 0, 0, 1]), Some("from some place on it is no OpenFlow"));
    }

    #[test]
    fn segments_are_found_behind_tags_and_in_every_kind_of_capture() {
        use ofctl::packet::Frame;
        let (a, b) = (ofctl::MacAddr([2, 0, 0, 0, 0, 1]), ofctl::MacAddr([2, 0, 0, 0, 0, 2]));
        let v4 = Frame::between(a, b).ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let v4 = v4.tcp(50000, 6653).payload(&ECHO);
        let v6: [IpAddr; 2] = ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap());
        let v6 = Frame::between(a, b).ip(v6[0], v6[1]).tcp(50000, 6653).payload(&ECHO);
        for (frame, shown) in [
            (v4.clone(), "10.0.0.1.50000 > 10.0.0.2.6653"),
            (v4.vlan(7), "10.0.0.1.50000 > 10.0.0.2.6653"),
            (v6, "fd00::1.50000 > fd00::2.6653"),
        ] {
            let mut bytes = frame.build();
            // Padding is not payload.
            bytes.extend([0; 3]);
            let found = Segment::of(Link::Ethernet, &bytes).unwrap();
            assert_eq!((found.direction.to_string().as_str(), found.payload), (shown, &ECHO[..]));
            for cut in 0..bytes.len() {
                let _ = Segment::of(Link::Ethernet, &bytes[..cut]);
                let _ = Segment::of(Link::Raw, &bytes[cut..]);
            }
        }
    }

    #[test]
    fn what_is_no_capture_is_refused_with_a_remedy() {
        let error = |bytes: &[u8]| Capture::new(bytes).err();
        assert_eq!(error(b"GIF89a"), Some(CaptureError::NotPcap));
        let mut header = [0; 24];
        header[..4].copy_from_slice(&[0x0a, 0x0d, 0x0d, 0x0a]);
        assert_eq!(error(&header), Some(CaptureError::Pcapng));
        header[..4].copy_from_slice(&[0xa1, 0xb2, 0xc3, 0xd4]);
        header[23] = 105;
        assert_eq!(error(&header), Some(CaptureError::LinkType(105)));
        header[23] = 1;
        let cut = [&header[..], &[0; 15]].concat();
        let mut capture = Capture::new(&cut).unwrap();
        assert_eq!(capture.segment(), Some(Err(CaptureError::Truncated(24))));
        assert_eq!(capture.segment(), None);
    }
}
