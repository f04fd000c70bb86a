//! A learning switch whose ports are kept apart in groups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::self_learning::{
    destination, from_groups_dropped, in_place_of_all, learned, output_to_ingress, same, source, vlan,
};
use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event};
use crate::wire::{Action, Field, FlowMod, Learn, LearnSpec, Match, OfPort, PortReason, TableId};

/// Where a packet's group is found from its port.
const GROUPS: TableId = TableId(0);
/// Where addresses are learned from sources.
const SOURCES: TableId = TableId(1);
/// Where they are looked up as destinations.
const DESTINATIONS: TableId = TableId(2);
/// Holds the group of the port by which the packet came; 0 for a shared port.
const GROUP: Field = Field::Reg1;

/// A number for a group of ports, from 1 on.
pub type PortGroup = std::num::NonZeroU32;

/// A learning switch in the tables, in which ports of different groups cannot talk to each other.
///
/// Ports of one group talk to each other and to the *shared* ports, those of no group, such as an uplink. An address
/// is learned for its own group and for shared ports only, so a host cannot take away the address of a host of
/// another group by sending from it.
///
/// ```text
/// table=0 in_port=1 actions=load:1->REG1[],goto_table:1          a port of group 1
/// table=0 priority=0 actions=goto_table:1                        a shared port
/// table=1 priority=5,reg1=0 actions=learn(ETH_DST[]=ETH_SRC[]),goto_table:2
/// table=1 priority=0 actions=learn(REG1[],ETH_DST[]=ETH_SRC[]),learn(REG1[]=0,ETH_DST[]=ETH_SRC[]),goto_table:2
/// table=2 what was learned, else
/// table=2 priority=1,reg1=1 actions=output:…                     the group's ports and the shared ones
/// table=2 priority=0 actions=FLOOD
/// ```
#[derive(Debug, Clone, Default)]
pub struct IsolatedSwitch {
    groups: BTreeMap<(DatapathId, OfPort), PortGroup>,
    /// The ports that each switch has.
    ports: BTreeMap<DatapathId, BTreeSet<OfPort>>,
}

impl IsolatedSwitch {
    /// Puts ports of a switch into a group; before it connects.
    #[must_use]
    pub fn group(
        mut self,
        switch: DatapathId,
        group: PortGroup,
        ports: impl IntoIterator<Item = OfPort>,
    ) -> Self {
        self.groups.extend(ports.into_iter().map(|port| ((switch, port), group)));
        self
    }

    fn group_of(&self, switch: DatapathId, port: OfPort) -> Option<PortGroup> {
        self.groups.get(&(switch, port)).copied()
    }

    /// The flows of one switch, with those for its ports as far as they are known.
    pub fn flows(&self, switch: DatapathId) -> Vec<FlowEntry> {
        let address = [same(vlan(), vlan()), same(source(), destination()), output_to_ingress()];
        let learn = |more: Option<LearnSpec>, priority| {
            let specs = more.into_iter().chain(address).collect();
            Action::Learn(Box::new(Learn { specs, priority, ..learned(DESTINATIONS) }))
        };
        let group = GROUP.whole();
        let own_group = learn(Some(same(group, group)), 10);
        let shared_ports = learn(Some(LearnSpec::MatchValue { value: 0u32.into(), dst: group }), 10);
        let shared = Match::new().with(GROUP, 0u32);
        let fixed = [
            FlowEntry::new(GROUPS, 0).goto(SOURCES),
            from_groups_dropped(SOURCES),
            FlowEntry::new(SOURCES, 5).matching(shared).apply([learn(None, 5)]).goto(DESTINATIONS),
            FlowEntry::new(SOURCES, 0).apply([own_group, shared_ports]).goto(DESTINATIONS),
            FlowEntry::new(DESTINATIONS, 0).apply([Action::Output(OfPort::FLOOD)]),
        ];
        let members = self.groups.range((switch, OfPort(0))..=(switch, OfPort::ANY));
        let classified = members.map(|((_, port), number)| {
            FlowEntry::new(GROUPS, 10)
                .matching(Match::new().with(Field::InPort, *port))
                .apply([Action::load(group, number.get().into())])
                .goto(SOURCES)
        });
        fixed.into_iter().chain(classified).chain(self.floods(switch)).collect()
    }

    /// For each group, where packets go whose destination is not known.
    fn floods(&self, switch: DatapathId) -> impl Iterator<Item = FlowEntry> {
        let members = self.groups.range((switch, OfPort(0))..=(switch, OfPort::ANY));
        let groups: BTreeSet<PortGroup> = members.map(|(_, group)| *group).collect();
        groups.into_iter().map(move |group| {
            let reached = self.ports.get(&switch).into_iter().flatten().copied();
            let reached =
                reached.filter(move |port| self.group_of(switch, *port).is_none_or(|other| other == group));
            FlowEntry::new(DESTINATIONS, 1)
                .matching(Match::new().with(GROUP, group.get()))
                .apply(reached.map(Action::Output))
        })
    }
}

impl Application for IsolatedSwitch {
    type Notice = ();

    fn handle(&mut self, _now: Duration, event: &Event) -> Effects {
        match event {
            Event::SwitchUp(switch, connected) => {
                let ports = connected.ports.iter().map(|port| port.port).filter(|port| *port <= OfPort::MAX);
                self.ports.insert(*switch, ports.collect());
                in_place_of_all(*switch, self.flows(*switch))
            }
            Event::PortStatus(switch, status) if status.port.port <= OfPort::MAX => {
                let ports = self.ports.entry(*switch).or_default();
                let changed = match status.reason {
                    PortReason::Add | PortReason::Modify => ports.insert(status.port.port),
                    PortReason::Delete => ports.remove(&status.port.port),
                };
                let floods = self.floods(*switch).map(FlowMod::add);
                if changed { Effects::send_all(*switch, floods) } else { Effects::none() }
            }
            _ => Effects::none(),
        }
    }
}
