//! How long each message can be, which a switch looks at before anything else.

use super::error::DecodeError;
use super::{NICIRA_EXPERIMENTER, ONF_EXPERIMENTER};

/// Bytes that a body has at least, and what can follow them: so many bytes at a time; nothing if it is 0.
type Shape = (usize, usize);

/// By `OFPT_*`, from the end of the header; that of multiparts and experimenters depends on their own types.
const TYPES: [Option<Shape>; 30] = [
    Some((0, 1)),
    Some((4, 1)),
    Some((0, 1)),
    Some((0, 1)),
    None,
    Some((0, 0)),
    Some((24, 0)),
    Some((0, 0)),
    Some((4, 0)),
    Some((4, 0)),
    Some((16, 1)),
    Some((40, 8)),
    Some((72, 0)),
    Some((16, 1)),
    Some((40, 8)),
    Some((8, 8)),
    Some((32, 0)),
    Some((8, 0)),
    None,
    None,
    Some((0, 0)),
    Some((0, 0)),
    Some((8, 0)),
    Some((8, 8)),
    Some((16, 0)),
    Some((16, 0)),
    Some((0, 0)),
    Some((24, 0)),
    Some((24, 0)),
    Some((8, 8)),
];

/// By `OFPMP_*`, of a request and of a reply, from the end of the multipart header.
const MULTIPARTS: [(Shape, Shape); 14] = [
    ((0, 0), (1056, 0)),
    ((32, 8), (0, 1)),
    ((32, 8), (24, 0)),
    ((0, 0), (0, 24)),
    ((8, 0), (0, 112)),
    ((8, 0), (0, 40)),
    ((8, 0), (0, 8)),
    ((0, 0), (0, 8)),
    ((0, 0), (40, 0)),
    ((8, 0), (0, 8)),
    ((8, 0), (0, 8)),
    ((0, 0), (16, 0)),
    ((0, 8), (64, 8)),
    ((0, 0), (0, 64)),
];

/// From the end of the experimenter's own type.
const fn experimenter(experimenter: u32, kind: u32) -> Option<Shape> {
    Some(match (experimenter, kind) {
        (NICIRA_EXPERIMENTER, 10 | 11 | 16) => (4, 0),
        (NICIRA_EXPERIMENTER, 14) => (40, 8),
        (NICIRA_EXPERIMENTER, 15 | 20 | 29) => (8, 0),
        (NICIRA_EXPERIMENTER, 17) => (24, 1),
        (NICIRA_EXPERIMENTER, 18 | 25) => (0, 0),
        (NICIRA_EXPERIMENTER, 19) => (24, 0),
        (NICIRA_EXPERIMENTER, 24 | 32) => (8, 8),
        (NICIRA_EXPERIMENTER, 26) => (16, 8),
        (NICIRA_EXPERIMENTER, 27 | 28 | 30) => (0, 8),
        (ONF_EXPERIMENTER, 1870) => (4, 0),
        (ONF_EXPERIMENTER, 1871 | 1872) => (0, 0),
        (ONF_EXPERIMENTER, 1911) => (16, 8),
        (ONF_EXPERIMENTER, 2300 | 2350) => (8, 8),
        (ONF_EXPERIMENTER, 2301) => (8, 1),
        _ => return None,
    })
}

/// As above, of multiparts.
const fn multipart_experimenter(experimenter: u32, kind: u32, is_request: bool) -> Option<Shape> {
    Some(match (experimenter, kind, is_request) {
        (ONF_EXPERIMENTER, 1870, _) => (0, 8),
        (NICIRA_EXPERIMENTER, 3 | 4, true) => (0, 0),
        (NICIRA_EXPERIMENTER, 3, false) => (88, 0),
        (NICIRA_EXPERIMENTER, 4, false) => (0, 88),
        _ => return None,
    })
}

fn half(body: &[u8]) -> Option<u16> {
    body.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn pair(body: &[u8]) -> Option<(u32, u32)> {
    let (first, rest) = body.split_first_chunk()?;
    Some((u32::from_be_bytes(*first), u32::from_be_bytes(*rest.first_chunk()?)))
}

/// Checks the length of what follows a header of this type. Messages that are not known here can have any.
pub(super) fn check(kind: u8, body: &[u8]) -> Result<(), DecodeError> {
    const EXPERIMENTER: u8 = 4;
    const REQUEST: u8 = 18;
    let (shape, prefix) = match kind {
        EXPERIMENTER => (pair(body).and_then(|(whose, kind)| experimenter(whose, kind)), 8),
        18 | 19 => match half(body) {
            Some(0xffff) => {
                let (whose, kind_of_it) = body.get(8..).and_then(pair).unwrap_or_default();
                (multipart_experimenter(whose, kind_of_it, kind == REQUEST), 16)
            }
            Some(number) => {
                let both = MULTIPARTS.get(usize::from(number));
                (both.map(|(request, reply)| if kind == REQUEST { *request } else { *reply }), 8)
            }
            None => (None, 0),
        },
        _ => (TYPES.get(usize::from(kind)).copied().flatten(), 0),
    };
    let Some((least, step)) = shape else { return Ok(()) };
    let fits = match (body.len().checked_sub(prefix + least), step) {
        (None, _) => false,
        (Some(more), 0) => more == 0,
        (Some(more), step) => more % step == 0,
    };
    if fits { Ok(()) } else { Err(DecodeError::BadLength { what: "message", length: body.len() + 8 }) }
}
