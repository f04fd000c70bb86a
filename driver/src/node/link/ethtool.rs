//! Checksum offload by ioctl: rtnetlink cannot change a link's features, and the netlink ethtool family is
//! missing before Linux 5.6.
//!
//! All unsafe code of this layer is here.

use std::ffi::c_void;
use std::io;
use std::os::fd::OwnedFd;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::model::LinkName;

/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: Opcode = 0x8946;
/// `ETHTOOL_GTXCSUM` of linux/ethtool.h: is transmit checksum offload on?
const ETHTOOL_GTXCSUM: u32 = 0x16;
/// `ETHTOOL_STXCSUM`: set transmit checksum offload, of all protocols.
const ETHTOOL_STXCSUM: u32 = 0x17;

/// A socket for ethtool requests in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Ethtool(OwnedFd);

impl Ethtool {
    pub(super) fn open() -> io::Result<Ethtool> {
        Ok(Ethtool(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?))
    }

    /// Sets whether the link leaves checksums of what it sends to its device. Without it the kernel turns
    /// segmentation offload off as well: it never hands a device a large packet whose checksums it cannot fill in.
    pub(super) fn set_tx_checksum(&self, link: &LinkName, on: bool) -> io::Result<()> {
        self.call(link, ETHTOOL_STXCSUM, u32::from(on)).map(drop)
    }

    /// Whether the link leaves checksums of what it sends to its device.
    pub(super) fn tx_checksum(&self, link: &LinkName) -> io::Result<bool> {
        Ok(self.call(link, ETHTOOL_GTXCSUM, 0)? != 0)
    }

    fn call(&self, link: &LinkName, command: u32, data: u32) -> io::Result<u32> {
        let mut value = EthtoolValue { command, data };
        let mut name = [0; 16];
        // A LinkName has at most 15 bytes, so that the last one stays zero.
        name[..link.as_str().len()].copy_from_slice(link.as_str().as_bytes());
        let request = Request(IfReq { name, data: &raw mut value, unused: [0; 16] });
        // SAFETY: the request's pointer is to `value`, which outlives the call, and the kernel reads and writes
        // exactly the eight bytes of a `struct ethtool_value` for both commands.
        unsafe { ioctl(&self.0, request) }?;
        Ok(value.data)
    }
}

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// `struct ifreq` of linux/if.h with its union's pointer in use; at least as long as the kernel's (16 + 24 bytes
/// with 64-bit pointers, 16 + 16 with 32-bit ones).
#[repr(C)]
struct IfReq {
    name: [u8; 16],
    data: *mut EthtoolValue,
    unused: [u8; 16],
}

struct Request(IfReq);

// SAFETY: the opcode is SIOCETHTOOL, whose argument is a `struct ifreq`; `as_ptr` gives one that lives as long as
// `self`, and the output does not read what the kernel left behind the pointer.
unsafe impl Ioctl for Request {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        SIOCETHTOOL
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}
