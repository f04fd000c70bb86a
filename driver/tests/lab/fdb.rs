//! When a switch's kernel learns of a MAC: rtnetlink's own notifications, with the time at which each came.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::namespace::{NetNs, cvt};
use super::packet::Mac;

/// `RTMGRP_NEIGH` of linux/rtnetlink.h.
const RTMGRP_NEIGH: u32 = 4;
/// `RTM_NEWNEIGH`.
const RTM_NEWNEIGH: u16 = 28;
/// `NDA_DST` of linux/neighbour.h.
const NDA_DST: u16 = 1;
/// `NDA_LLADDR`.
const NDA_LLADDR: u16 = 2;

/// Notes what is written into the forwarding tables of a network namespace.
#[derive(Debug)]
pub struct FdbWatch {
    seen: Arc<Mutex<Vec<(Instant, Mac)>>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl FdbWatch {
    /// Begins to watch.
    pub fn open(ns: &NetNs) -> Self {
        let fd = ns.run(subscribe).unwrap_or_else(|error| panic!("a netlink socket: {error}"));
        let (seen, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let reader = std::thread::spawn({
            let (seen, over): (Arc<Mutex<Vec<_>>>, _) = (Arc::clone(&seen), Arc::clone(&over));
            move || {
                let mut buffer = vec![0; 65536];
                while !over.load(Ordering::Relaxed) {
                    // SAFETY: the buffer is live and of that length.
                    let length =
                        unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
                    // The time-out that lets this thread end, or that notifications were lost: then the wait fails.
                    let Ok(length) = usize::try_from(length) else { continue };
                    let now = Instant::now();
                    let macs = at_vteps(&buffer[..length]);
                    seen.lock().unwrap_or_else(PoisonError::into_inner).extend(macs.map(|mac| (now, mac)));
                }
            }
        });
        Self { seen, over, reader: Some(reader) }
    }

    /// When a MAC was put behind a VTEP, which may have been before this call.
    pub fn wait_for(&self, mac: Mac, limit: Duration) -> Option<Instant> {
        let deadline = Instant::now() + limit;
        loop {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((when, _)) = seen.iter().find(|(_, of)| *of == mac) {
                return Some(*when);
            }
            drop(seen);
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for FdbWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn subscribe() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointers, and a descriptor that it returns belongs to nobody else; the others' are to
    // live values of the sizes given, and all-zero is a valid sockaddr_nl.
    unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = OwnedFd::from_raw_fd(cvt(libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE))?);
        let tick = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
        cvt(libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const tick).cast(),
            size_of_val(&tick) as u32,
        ))?;
        let mut address = std::mem::zeroed::<libc::sockaddr_nl>();
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = RTMGRP_NEIGH;
        cvt(libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32))?;
        Ok(fd)
    }
}

/// The MACs of the entries of bridges and VXLAN links that name a VTEP, in one datagram of netlink messages.
fn at_vteps(datagram: &[u8]) -> impl Iterator<Item = Mac> {
    let message = |bytes: &[u8]| -> Option<(Option<Mac>, usize)> {
        // struct nlmsghdr has 16 bytes, struct ndmsg 12.
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let body = bytes.get(16..length)?;
        let is_new = u16::from_ne_bytes(bytes[4..6].try_into().ok()?) == RTM_NEWNEIGH;
        let is_bridge = body.first().is_some_and(|family| libc::c_int::from(*family) == libc::AF_BRIDGE);
        let (mut mac, mut has_vtep) = (None, false);
        let mut attributes = body.get(12..)?;
        while let [a, b, c, d, ..] = *attributes {
            let (size, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
            let value = attributes.get(4..size)?;
            match kind {
                NDA_DST => has_vtep = true,
                NDA_LLADDR => mac = value.try_into().ok(),
                _ => {}
            }
            attributes = attributes.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Some((mac.filter(|_| is_new && is_bridge && has_vtep), length.next_multiple_of(4)))
    };
    let mut macs = Vec::new();
    let mut rest = datagram;
    while let Some((mac, length)) = message(rest) {
        macs.extend(mac);
        rest = rest.get(length..).unwrap_or_default();
    }
    macs.into_iter()
}
