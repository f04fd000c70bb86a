//! A learning switch wholly in the tables.

use std::time::Duration;

use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event};
use crate::wire::{
    Action, Field, FlowMod, FlowModCommand, Learn, LearnSpec, Match, OfPort, SubField, TableId,
};

/// Where addresses are learned from sources.
const SOURCES: TableId = TableId(0);
/// Where they are looked up as destinations.
const DESTINATIONS: TableId = TableId(1);

/// Seconds without a packet from an address after which it is forgotten, the default of IEEE 802.1D §7.9.2.
pub(super) const AGEING: u16 = 300;

/// Makes the switch learn by itself, with Nicira's `learn` action: no packet comes to the controller.
///
/// ```text
/// table=0 priority=10,eth_src=01:00:00:00:00:00/01:00:00:00:00:00 actions=drop
/// table=0 priority=0  actions=learn(table=1,…,VLAN_TCI[0..11],ETH_DST[]=ETH_SRC[],output:IN_PORT[]),goto_table:1
/// table=1 priority=10 what was learned
/// table=1 priority=0  actions=FLOOD
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SelfLearningSwitch;

impl SelfLearningSwitch {
    /// The flows of one switch.
    pub fn flows() -> [FlowEntry; 3] {
        let learn = Learn {
            specs: vec![same(vlan(), vlan()), same(source(), destination()), output_to_ingress()],
            ..learned(DESTINATIONS)
        };
        [
            from_groups_dropped(SOURCES),
            FlowEntry::new(SOURCES, 0).apply([Action::Learn(Box::new(learn))]).goto(DESTINATIONS),
            FlowEntry::new(DESTINATIONS, 0).apply([Action::Output(OfPort::FLOOD)]),
        ]
    }
}

impl Application for SelfLearningSwitch {
    type Notice = ();

    fn handle(&mut self, _now: Duration, event: &Event) -> Effects {
        match event {
            Event::SwitchUp(switch, _) => in_place_of_all(*switch, Self::flows()),
            _ => Effects::none(),
        }
    }
}

/// Flows for a switch that is to have no others.
pub(super) fn in_place_of_all(switch: DatapathId, flows: impl IntoIterator<Item = FlowEntry>) -> Effects {
    let mut effects = Effects::send(switch, FlowMod::new(FlowModCommand::Delete, TableId::ALL));
    effects.append(Effects::add_flows(switch, flows));
    effects
}

/// Nobody sends from a group address, and nobody should learn one.
pub(super) fn from_groups_dropped(table: TableId) -> FlowEntry {
    let group_bit = 1u64 << 40;
    FlowEntry::new(table, 10).matching(Match::new().masked(Field::EthSrc, group_bit, group_bit))
}

/// A learned flow that ages.
pub(super) fn learned(table: TableId) -> Learn {
    Learn { priority: 10, idle_timeout: AGEING, ..Learn::new(table) }
}

/// The learned flow matches in `dst` what `src` holds now.
pub(super) fn same(src: SubField, dst: SubField) -> LearnSpec {
    LearnSpec::MatchField { src, dst }
}

/// The learned flow outputs to the port by which this packet came.
pub(super) fn output_to_ingress() -> LearnSpec {
    LearnSpec::Output(Field::InPort16.whole())
}

pub(super) fn vlan() -> SubField {
    Field::VlanTci.bits(0..12)
}

pub(super) fn source() -> SubField {
    Field::EthSrc.whole()
}

pub(super) fn destination() -> SubField {
    Field::EthDst.whole()
}
