//! TCP as connection tracking follows it: states of both ends, and sequence numbers within windows, after Guido
//! van Rooij's "Real Stateful TCP Packet Filtering in IP Filter" as Open vSwitch's userspace datapath has it.

use super::conntrack::{Lifetime, Update};

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const PSH: u16 = 0x08;
const ACK: u16 = 0x10;
const URG: u16 = 0x20;

/// Largest window scale, RFC 7323 §2.3.
const MAX_SCALE: u8 = 14;
/// How far an acknowledgement may lie off: a window and a segment.
const MAX_ACK_SKEW: i64 = 0xffff + 1500;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) flags: u16,
    sequence: u32,
    acknowledged: u32,
    window: u16,
    scale: Option<u8>,
    payload: u32,
}

impl Segment {
    /// Reads a segment; `None` if its header does not fit.
    pub(super) fn read(bytes: &[u8]) -> Option<Segment> {
        let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let header = usize::from(*bytes.get(12)? >> 4) * 4;
        let options = bytes.get(20..header)?;
        Some(Segment {
            flags: half(12)? & 0xfff,
            sequence: word(4)?,
            acknowledged: word(8)?,
            window: half(14)?,
            scale: window_scale(options),
            payload: (bytes.len() - header) as u32,
        })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Flags that no stack sends together.
    fn is_odd(&self) -> bool {
        let contradicts = if self.has(SYN) { self.has(RST | FIN) } else { !self.has(ACK | RST) };
        contradicts || !self.has(ACK) && self.has(FIN | PSH | URG)
    }

    /// True if the segment may begin a connection: a SYN, or one of a connection that is older than the tracker.
    pub(super) fn may_begin(&self) -> bool {
        !self.is_odd() && self.flags & (SYN | ACK) != SYN | ACK
    }
}

/// RFC 7323 §2.2.
fn window_scale(mut options: &[u8]) -> Option<u8> {
    loop {
        match *options {
            [3, _, scale, ..] => return Some(scale.min(MAX_SCALE)),
            [1, ref rest @ ..] => options = rest,
            [0, ..] | [] | [_] => return None,
            [_, length, ..] => options = options.get(usize::from(length.max(2))..)?,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Closed,
    SynSent,
    Established,
    Closing,
    FinWait2,
    TimeWait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// The end said nothing.
    None,
    /// The connection was met on its way.
    Unknown,
    Known(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer {
    state: State,
    /// Largest sequence number that it sent.
    low: u32,
    /// Largest that the other end lets it send.
    high: u32,
    window: u32,
    scale: Scale,
}

/// Both ends of a connection, the one that began first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tcp([Peer; 2]);

/// True if `a` does not lie before `b` on the circle of sequence numbers.
fn not_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl Tcp {
    pub(super) fn new(segment: &Segment) -> Tcp {
        let syn = segment.has(SYN);
        let scale = match segment.scale {
            _ if !syn => Scale::Unknown,
            Some(scale) => Scale::Known(scale),
            None => Scale::None,
        };
        let mut window = u32::from(segment.window).max(1);
        if let Scale::Known(scale) = scale {
            // The first window is not scaled.
            window = window.div_ceil(1 << scale);
        }
        let high =
            segment.sequence.wrapping_add(segment.payload + 1 + u32::from(syn) + u32::from(segment.has(FIN)));
        let first = Peer { state: State::SynSent, low: segment.sequence, high, window, scale };
        let other = if syn { Scale::None } else { Scale::Unknown };
        Tcp([first, Peer { state: State::Closed, low: 0, high: 1, window: 1, scale: other }])
    }

    /// Follows a segment.
    pub(super) fn update(&mut self, segment: &Segment, reply: bool) -> (Update, Option<Lifetime>) {
        if segment.is_odd() {
            return (Update::Invalid, None);
        }
        let [a, b] = &mut self.0;
        let (src, dst) = if reply { (b, a) } else { (a, b) };
        if segment.flags & (SYN | ACK) == SYN {
            if src.state >= State::FinWait2 && dst.state >= State::FinWait2 {
                (src.state, dst.state) = (State::Closed, State::Closed);
                return (Update::New, None);
            }
            if src.state <= State::SynSent {
                src.state = State::SynSent;
                return (Update::StillNew, Some(Lifetime::TcpFirst));
            }
        }
        let (mut src_scale, mut dst_scale) = match (src.scale, dst.scale) {
            _ if segment.has(SYN) => (0, 0),
            (Scale::Known(src), Scale::Known(dst)) => (src, dst),
            (Scale::Unknown, Scale::Unknown) => (MAX_SCALE, MAX_SCALE),
            _ => (0, 0),
        };
        let mut window = u32::from(segment.window);
        let mut sequence = segment.sequence;
        let mut end = sequence
            .wrapping_add(segment.payload + u32::from(segment.has(SYN)) + u32::from(segment.has(FIN)));
        let mut checks_skew = true;
        if src.state < State::SynSent {
            // The first segment of this end.
            if let (true, Scale::Known(other)) = (segment.has(SYN), dst.scale) {
                if let Some(scale) = segment.scale {
                    src.scale = Scale::Known(scale);
                    (src_scale, dst_scale) = (scale, other);
                    window = window.div_ceil(1 << scale);
                } else {
                    // Both scale, or neither does.
                    src.scale = Scale::None;
                    dst.window = dst.window.wrapping_shl(other.into());
                    dst.scale = Scale::None;
                }
            }
            src.low = sequence;
            src.state = State::SynSent;
            let allowed = end.wrapping_add((dst.window << dst_scale).max(1));
            if src.high == 1 || not_before(allowed, src.high) {
                src.high = allowed;
                checks_skew = false;
            }
            src.window = src.window.max(window);
        }
        let mut acknowledged = segment.acknowledged;
        if !segment.has(ACK) || acknowledged == 0 && segment.has(RST) {
            // Resets of some stacks acknowledge nothing.
            acknowledged = dst.low;
        }
        if sequence == end {
            // Without data the sequence number matters little.
            (sequence, end) = (src.low, src.low);
        }
        let skew = if checks_skew { i64::from(dst.low.wrapping_sub(acknowledged) as i32) } else { 0 };
        let reset_fits = !segment.has(RST)
            || segment.sequence == src.low
            || segment.sequence == src.low.wrapping_add(1)
            || segment.sequence.wrapping_add(1) == src.low;
        let in_window = not_before(src.high, end)
            && not_before(sequence, src.low.wrapping_sub(dst.window << dst_scale))
            && skew >= -MAX_ACK_SKEW
            && skew <= MAX_ACK_SKEW << src_scale
            && reset_fits;
        let loose =
            (dst.state < State::SynSent || dst.state >= State::FinWait2 || src.state >= State::FinWait2)
                && not_before(src.high.wrapping_add(MAX_ACK_SKEW as u32), end)
                && not_before(sequence, src.low.wrapping_sub(MAX_ACK_SKEW as u32));
        if !in_window && !loose {
            return (Update::Invalid, None);
        }
        src.window = src.window.max(window);
        if !not_before(src.low, end) {
            src.low = end;
        }
        let offered = window << src_scale;
        if not_before(acknowledged.wrapping_add(offered), dst.high) {
            dst.high = acknowledged.wrapping_add(offered.max(1));
        }
        if segment.has(FIN) && src.state < State::Closing {
            src.state = State::Closing;
        }
        if in_window && segment.has(ACK) {
            match dst.state {
                State::SynSent => dst.state = State::Established,
                State::Closing => dst.state = State::FinWait2,
                _ => {}
            }
        }
        if segment.has(RST) {
            (src.state, dst.state) = (State::TimeWait, State::TimeWait);
        }
        // What only nearly fits keeps nothing alive.
        let lifetime = in_window.then(|| {
            let (least, most) = (src.state.min(dst.state), src.state.max(dst.state));
            if least >= State::FinWait2 {
                Lifetime::TcpClosed
            } else if least >= State::Closing {
                Lifetime::TcpFinWait
            } else if least < State::Established {
                Lifetime::TcpOpening
            } else if most >= State::Closing {
                Lifetime::TcpClosing
            } else {
                Lifetime::TcpEstablished
            }
        });
        (Update::Valid, lifetime)
    }
}
