//! Tables 43, 44 and 45: broadcast and multicast, one copy for each local member and one for each other node that has
//! members, or ports, of the network; and what only a switch with ports can know, one copy for each of those.
//!
//! The destinations are spread over [`CHUNKS`] flows a table, so that a change rewrites a sixteenth of them and no
//! flow's actions come near the 64 KiB that a message can hold. Table 40 looks up the chunks that exist. A packet
//! from another node, or from the trunk, is copied to local members only. The port that a packet came in by gets no
//! copy: a switch never sends there unless told to by name.
//!
//! ```text
//! table=40, priority=50,reg0=0x1/0xf,metadata=0x7/0xffffff,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00
//!     actions=load:0x5->NXM_NX_REG9[],resubmit(,44),load:0x2->NXM_NX_REG9[],resubmit(,45)
//! table=44, priority=100,reg9=0x5,metadata=0x7/0xffffff actions=output:5,output:21
//! table=45, priority=100,reg9=0x2,metadata=0x7/0xffffff
//!     actions=set_field:0x7->tun_id,set_field:172.31.0.2->tun_dst,output:1
//! table=43, priority=100,metadata=0x7/0xffffff actions=load:0x13->NXM_NX_REG9[],resubmit(,45)
//! table=45, priority=100,reg9=0x13,metadata=0x7/0xffffff
//!     actions=set_field:0x7->tun_id,set_field:172.31.0.9->tun_dst,output:1
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;

use ofctl::MacAddr;
use ofctl::flow::FlowEntry;
use ofctl::wire::{Action, Cookie, Field, Match, OfPort, TableId};

use super::l2::tag;
use super::tables::{FLOOD_CHUNK, FLOOD_LOCAL, FLOOD_REMOTE, L2, Source, TO_PORTS, in_network, object_of};
use super::tunnel::{destination, set_destination};
use crate::model::{Network, NodeName};

/// How many flows the destinations of one flood are spread over.
pub const CHUNKS: u8 = 16;

/// The chunk of a local member.
pub(super) fn chunk_of_port(port: OfPort) -> u8 {
    (port.0 % u32::from(CHUNKS)) as u8
}

/// The chunk of another node.
pub(super) fn chunk_of_node(node: &NodeName) -> u8 {
    (object_of(node.as_str()) % u32::from(CHUNKS)) as u8
}

/// The chunk of a switch with ports, among those of table 45.
pub(super) fn chunk_of_switch(node: &NodeName) -> u8 {
    CHUNKS + chunk_of_node(node)
}

/// Which chunks a network's floods have on this node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    pub local: BTreeSet<u8>,
    pub remote: BTreeSet<u8>,
    pub switches: BTreeSet<u8>,
}

/// Tables 40 and 43: group addresses, and the switches with ports, are looked up chunk by chunk.
pub(super) fn network(network: &Network, chunks: &Chunks, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    let group = |matching: Match| {
        let bit = MacAddr([1, 0, 0, 0, 0, 0]);
        matching.masked(Field::EthDst, bit, bit)
    };
    let look_up = |chunks: &BTreeSet<u8>, table: TableId| {
        let actions = |&chunk: &u8| {
            [Action::load(FLOOD_CHUNK.whole(), u64::from(chunk)), Action::ResubmitTable { table }]
        };
        chunks.iter().flat_map(actions).collect::<Vec<_>>()
    };
    if !chunks.switches.is_empty() {
        flows.push(
            FlowEntry::new(TO_PORTS, 100)
                .cookie(cookie)
                .matching(in_network(network.id))
                .apply(look_up(&chunks.switches, FLOOD_REMOTE)),
        );
    }
    if !chunks.local.is_empty() {
        flows.push(
            FlowEntry::new(L2, 45)
                .cookie(cookie)
                .matching(group(in_network(network.id)))
                .apply(look_up(&chunks.local, FLOOD_LOCAL)),
        );
    }
    if !chunks.remote.is_empty() {
        flows.push(
            FlowEntry::new(L2, 50)
                .cookie(cookie)
                .matching(group(Source::Local.restrict(in_network(network.id))))
                .apply(look_up(&chunks.local, FLOOD_LOCAL))
                .apply(look_up(&chunks.remote, FLOOD_REMOTE)),
        );
    }
}

fn copies(network: &Network, table: TableId, chunk: u8, cookie: Cookie) -> FlowEntry {
    FlowEntry::new(table, 100)
        .cookie(cookie)
        .matching(in_network(network.id).with(FLOOD_CHUNK, u32::from(chunk)))
}

/// Copies to the local members of a chunk.
pub(super) fn local(
    network: &Network,
    chunk: u8,
    ports: &BTreeSet<OfPort>,
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    if !ports.is_empty() {
        flows.push(
            copies(network, FLOOD_LOCAL, chunk, cookie).apply(ports.iter().map(|port| Action::Output(*port))),
        );
    }
}

/// Copies to the other nodes of a chunk; on a VLAN one copy to the trunk, for whoever is there.
pub(super) fn remote(
    network: &Network,
    chunk: u8,
    port: OfPort,
    nodes: &[IpAddr],
    cookie: Cookie,
    flows: &mut Vec<FlowEntry>,
) {
    let flow = copies(network, FLOOD_REMOTE, chunk, cookie);
    if let Some(tag) = tag(network) {
        flows.push(flow.apply(tag).apply([Action::Output(port)]));
    } else if let [first, rest @ ..] = nodes {
        let first = set_destination(network, *first).into_iter().chain([Action::Output(port)]);
        let rest = rest.iter().flat_map(|node| [destination(*node), Action::Output(port)]);
        flows.push(flow.apply(first).apply(rest));
    }
}
