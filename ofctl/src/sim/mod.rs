//! A switch in memory: evaluates flow tables over real packets, so that tests can say where a packet goes and
//! how it is changed, and not how the flows are written.
//!
//! It does what Open vSwitch 3.1 does with its userspace datapath, down to its limits and to what it leaves out, and
//! is compared with `ovs-appctl ofproto/trace` and with the frames of a real datapath by `tests/sim_live`. A flow
//! that a switch would refuse is refused when it is added, by the same name; an action that is not simulated is an
//! error in the verdict, never passed over.
//!
//! [`Switch::run`] evaluates and changes nothing. [`Switch::handle`], [`Switch::receive`] and [`Switch::advance`]
//! are a switch that lives: it hears a controller's messages, counts, learns, meters, tracks connections, and
//! forgets what has timed out, all in the time that it is given.
//!
//! Simulated: priorities over all fields that this crate knows, conjunctive matches, goto, metadata, the action
//! set, resubmit (also by a connection's first packet), loads, moves and masked writes with checksums, the stack,
//! VLAN tags, MPLS labels, TTLs, groups of all types with weights and watched ports and groups, meters that drop,
//! learn, connection tracking with zones, marks, labels and address translation, clone, exit, multipath, bundle,
//! fin_timeout, check_pkt_larger, output_trunc, tunnel fields, packet-ins to chosen controllers; select groups by hash
//! and by dp_hash; `NORMAL` with addresses learned, access, trunk and native ports, without bonds, mirrors, spanning
//! trees and multicast snooping.
//!
//! Without effect: note, sample, queues, and `alg` in a ct: the connections that FTP's and TFTP's packets announce are
//! not expected. Errors in the verdict: encap and decap (so NSH), ct of fragments that are to be put together (smaller
//! ones are invalid, as there), controllers that pause a packet. Tunnel options have 128 bits. Where Open vSwitch begins a hash at
//! random when it starts (addresses and ports of a `nat` with a range), it begins at zero here.
//!
//! ```
//! use ofctl::flow::FlowEntry;
//! use ofctl::packet::Frame;
//! use ofctl::sim::Switch;
//! use ofctl::wire::{Action, Field, Match, OfPort, TableId};
//!
//! let switch = Switch::new().with_flows([
//!     FlowEntry::new(TableId(0), 100)
//!         .matching(Match::new().with(Field::EthType, 0x0800u16))
//!         .apply([Action::DecTtl, Action::Output(OfPort(7))]),
//! ])?;
//! let frame = Frame::between("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?)
//!     .ip("10.0.0.1".parse()?, "10.0.0.2".parse()?)
//!     .udp(1000, 2000);
//! let verdict = switch.run(OfPort(1), None, &frame.build());
//! let output = verdict.only().expect("one frame leaves");
//! assert_eq!(output.port, OfPort(7));
//! assert_eq!(output.frame, frame.ttl(63).build());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod actions;
mod check;
mod classifier;
mod compose;
mod conntrack;
mod controller;
mod flows;
mod group_mod;
mod groups;
mod hash;
mod key;
mod layout;
mod learn;
mod messages;
mod meters;
mod multipart;
mod nat;
mod normal;
mod packet;
mod pipeline;
mod ports;
mod rewrite;
mod switch;
mod tcp;
mod trace;
mod tracking;
mod verify;

pub use check::{Refusal, Refused};
pub use compose::ComposeError;
pub use verify::{ChecksumError, verify_checksums};

pub use normal::PortVlan;
pub use packet::{NoSuchField, Packet, Tunnel};
pub use pipeline::{MAX_DEPTH, MAX_RESUBMITS};
pub use switch::{FragmentMode, Reception, Switch, TunnelPort};
pub use trace::{Event, Output, PacketInReason, RunError, Step, ToController, Verdict};
