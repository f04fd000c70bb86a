//! A stateless firewall in front of any application that forwards.

mod shift;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::acl::{Acl, InvalidRule, Layout, Rule, RuleId, Verdict};
use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event};
use crate::packet::lldp::Lldp;
use crate::wire::{
    Cookie, Field, FlowMod, FlowModCommand, FragmentMode, Instructions, Match, Message, SwitchConfig, TableId,
};

/// Puts an access list before another application: what the list allows in table 0 goes on to the other's tables, which
/// stand one further down than it thinks.
///
/// ARP, LLDP and IPv6's neighbour discovery pass, since without them nobody would reach anybody; the list is about IP.
/// It keeps no connections: who may ask must be allowed in one rule, and who may answer in another.
///
/// Rules come and go one flow at a time, in an order in which no packet meets anything but the rules before or after the
/// change; a switch that caches its decisions, as Open vSwitch does, may go by these for some milliseconds longer.
///
/// The first fragment of a packet is judged with its ports, the others, which have none, as if both were 0.
///
/// ```
/// use std::time::Duration;
/// use ofctl::acl::Verdict;
/// use ofctl::kit::apps::{Firewall, LearningSwitch};
/// use ofctl::kit::testbed::{Host, Testbed};
///
/// let mut bed = Testbed::new(Firewall::new(LearningSwitch::default(), Verdict::Deny));
/// let switch = bed.switch(1, 2);
/// let a = bed.host(switch, 1, Host::new([10, 0, 0, 1]));
/// let b = bed.host(switch, 2, Host::new([10, 0, 0, 2]));
/// assert!(bed.ping(a, b).is_none());
/// let rule = "10 allow icmp from 10.0.0.0/24 to 10.0.0.0/24".parse()?;
/// bed.command(|firewall| firewall.add(rule).expect("a rule that can be").1);
/// assert!(bed.ping(a, b).is_some());
/// # Ok::<(), ofctl::acl::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Firewall<A> {
    acl: Acl,
    inner: A,
    /// The highest table of the inner application that is known of.
    last: TableId,
    switches: BTreeSet<DatapathId>,
}

/// Above all rules.
const PASS: u16 = 0xffff;

const FIRST: TableId = TableId(0);
const NEXT: TableId = TableId(1);

impl<A: Application> Firewall<A> {
    /// No rules yet: IP packets are treated as `default` says.
    pub fn new(inner: A, default: Verdict) -> Self {
        let allow = Instructions { goto: Some(NEXT), ..Instructions::default() };
        let acl = Acl::new(Layout { table: FIRST, cookie: Cookie(0), allow, default });
        Firewall { acl, inner, last: FIRST, switches: BTreeSet::new() }
    }

    /// The rules.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// The application that forwards.
    pub fn inner(&self) -> &A {
        &self.inner
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// If the rule cannot be; then nothing changes.
    pub fn add(&mut self, rule: Rule) -> Result<(RuleId, Effects<A::Notice>), InvalidRule> {
        let (id, difference) = self.acl.add(rule)?;
        Ok((id, self.everywhere(difference.into_flow_mods().collect())))
    }

    /// Removes a rule; `None` if there is none of that number.
    pub fn remove(&mut self, id: RuleId) -> Option<Effects<A::Notice>> {
        let difference = self.acl.remove(id)?;
        Some(self.everywhere(difference.into_flow_mods().collect()))
    }

    fn everywhere(&self, flows: Vec<FlowMod>) -> Effects<A::Notice> {
        let mut effects = Effects::none();
        for switch in &self.switches {
            effects.append(Effects::send_all(*switch, flows.iter().cloned()));
        }
        effects
    }

    fn switch_up(&self, switch: DatapathId) -> Effects<A::Notice> {
        let mut effects = Effects::none();
        let fragments = FragmentMode::NxMatch;
        effects.push(switch, Message::SetConfig(SwitchConfig { fragments, miss_send_len: u16::MAX }));
        effects.push(switch, FlowMod::new(FlowModCommand::Delete, TableId::ALL));
        let eth_type = |number: u16| Match::new().with(Field::EthType, number);
        let icmpv6 = |kind: u8| {
            eth_type(0x86dd)
                .with(Field::IpProto, 58u8)
                .with(Field::Icmpv6Type, kind)
                .with(Field::Icmpv6Code, 0u8)
        };
        for matching in [eth_type(0x0806), eth_type(Lldp::ETH_TYPE), icmpv6(135), icmpv6(136)] {
            effects.push(switch, FlowMod::add(FlowEntry::new(FIRST, PASS).matching(matching).goto(NEXT)));
        }
        effects.append(Effects::add_flows(switch, self.acl.flows()));
        effects
    }
}

impl<A: Application> Application for Firewall<A> {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<A::Notice> {
        let mut effects = Effects::none();
        match event {
            Event::SwitchUp(switch, _) => {
                self.switches.insert(*switch);
                effects.append(self.switch_up(*switch));
            }
            Event::SwitchGone(switch) => {
                self.switches.remove(switch);
            }
            _ => {}
        }
        if let Some(event) = shift::event_up(event) {
            let mut inner = self.inner.handle(now, &event);
            for (switch, message) in std::mem::take(&mut inner.messages) {
                for message in shift::messages_down(message, &mut self.last) {
                    effects.push(switch, message);
                }
            }
            effects.append(inner);
        }
        effects
    }
}
