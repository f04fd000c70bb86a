//! Tables 0 and 60: where a packet came from, and its way out.
//!
//! ```text
//! table=0, priority=100,in_port=5 actions=load:0x1->NXM_NX_REG0[0..3],write_metadata:0x7/0xffffff,goto_table:10
//! table=0, priority=100,in_port=1 actions=load:0x2->NXM_NX_REG0[0..3],goto_table:4
//! table=60, priority=0 actions=output:NXM_NX_REG5[]
//! ```

use ofctl::flow::FlowEntry;
use ofctl::wire::{Action, Cookie, Field, Match, OfPort, TableId};

use super::tables::{
    CLASSIFY, CookieKind, METADATA_NETWORK, OUT_PORT, OUTPUT, SPOOF, Source, TUN_SRC, UPLINK, cookie,
};
use super::view::Facts;
use crate::model::{Encapsulation, Network};

fn from_port(port: OfPort, source: Source, cookie: Cookie) -> FlowEntry {
    FlowEntry::new(CLASSIFY, 100)
        .cookie(cookie)
        .matching(Match::new().with(Field::InPort, port.0))
        .apply([Action::load(Source::register(), source as u64)])
}

/// Packets that a local endpoint sends, without a tag: the tags of a trunk are not an endpoint's to write.
pub(super) fn endpoint(network: &Network, port: OfPort, cookie: Cookie, flows: &mut Vec<FlowEntry>) {
    let from = from_port(port, Source::Local, cookie);
    let untagged = from.matching.clone().with(Field::VlanVid, 0u16);
    flows.push(
        from.matching(untagged).write_metadata(u64::from(network.id.get()), METADATA_NETWORK).goto(SPOOF),
    );
}

/// Packets that come in from other nodes, and those that leave.
pub(super) fn switch(facts: &Facts, flows: &mut Vec<FlowEntry>) {
    let cookie = cookie(CookieKind::Switch, 0);
    let mut entrance = |encapsulation, source, table: TableId| {
        if let Some(port) = facts.encapsulation_port(encapsulation) {
            flows.push(from_port(port, source, cookie).goto(table));
        }
    };
    for encapsulation in Encapsulation::TUNNELS {
        entrance(encapsulation, Source::Tunnel, TUN_SRC);
    }
    entrance(Encapsulation::Vlan, Source::Uplink, UPLINK);
    flows.push(FlowEntry::new(OUTPUT, 0).cookie(cookie).apply([Action::OutputReg(OUT_PORT.whole())]));
}
