//! Scenarios in memory and in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::applications::{Boxed, Nothing, started};
use super::run::{Sent, World, WorldError};
use super::step::ApplicationText;
use crate::flow::FlowStats;
use crate::kit::testbed::Testbed;
use crate::kit::{Application, DatapathId, Effects, Event};
use crate::session::append;
use crate::sim::RunError;
use crate::wire::versions::GroupMod;
use crate::wire::{FlowMod, Message, MeterMod, MultipartBody, MultipartReply, MultipartRequest, OfPort};

/// Time that is let pass after each step: more than messages and frames need.
const SETTLE: Duration = Duration::from_millis(20);

/// The application, which may be begun when the switches are there.
struct Slot(Boxed);

impl Application for Slot {
    type Notice = ();

    fn handle(&mut self, now: Duration, event: &Event) -> Effects {
        self.0.handle(now, event)
    }
}

/// Simulated switches.
pub struct MemoryWorld {
    bed: Testbed<Slot>,
    names: BTreeMap<DatapathId, String>,
    switches: BTreeMap<String, Simulated>,
    has_application: bool,
}

struct Simulated {
    id: DatapathId,
    packet_ins: usize,
}

impl std::fmt::Debug for MemoryWorld {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("MemoryWorld").field("switches", &self.names).finish_non_exhaustive()
    }
}

impl Default for MemoryWorld {
    fn default() -> Self {
        MemoryWorld {
            bed: Testbed::new(Slot(Box::new(Nothing))),
            names: BTreeMap::new(),
            switches: BTreeMap::new(),
            has_application: false,
        }
    }
}

impl MemoryWorld {
    /// A world without switches, at time zero.
    pub fn new() -> Self {
        Self::default()
    }

    fn id(&self, switch: &str) -> Result<DatapathId, WorldError> {
        let known = self.switches.get(switch);
        known.map(|known| known.id).ok_or_else(|| WorldError(format!("there is no switch {switch}")))
    }

    /// Takes a switch's answers to a change, of which only errors matter.
    fn changed(&mut self, switch: &str, what: &str, answers: Vec<Message>) -> Result<(), WorldError> {
        for answer in answers {
            if let Message::Error(error) = answer {
                return Err(WorldError(format!("switch {switch}: it refuses {what}: {}", error.error)));
            }
        }
        self.bed.run_for(SETTLE);
        Ok(())
    }
}

impl World for MemoryWorld {
    fn add_switch(&mut self, name: &str, ports: &[OfPort]) -> Result<(), WorldError> {
        let number = self.switches.len() as u64 + 1;
        let id = self.bed.switch_with_ports(number, ports.iter().copied());
        self.names.insert(id, name.to_owned());
        self.switches.insert(name.to_owned(), Simulated { id, packet_ins: 0 });
        Ok(())
    }

    fn add_link(&mut self, a: (&str, OfPort), b: (&str, OfPort)) -> Result<(), WorldError> {
        let ends = ((self.id(a.0)?, a.1.0), (self.id(b.0)?, b.1.0));
        for (switch, port) in [a, b] {
            let end = (self.id(switch)?, port.0);
            if self.bed.is_wired(end.0, end.1) {
                return Err(WorldError(format!("port {port} of {switch} has a link already")));
            }
        }
        self.bed.link(ends.0, ends.1);
        Ok(())
    }

    fn start(&mut self, application: &ApplicationText) -> Result<(), WorldError> {
        let application = started(application, &|name| self.id(name).ok())?;
        if std::mem::replace(&mut self.has_application, true) {
            return Err(WorldError("an application runs already".to_owned()));
        }
        let ids: Vec<DatapathId> = self.names.keys().copied().collect();
        for id in &ids {
            self.bed.disconnect(*id);
        }
        self.bed.begin(Slot(application));
        for id in ids {
            self.bed.connect(id);
        }
        self.bed.run_for(SETTLE);
        Ok(())
    }

    fn change_flows(&mut self, switch: &str, change: FlowMod) -> Result<(), WorldError> {
        let id = self.id(switch)?;
        let answers = self.bed.manage(id, Message::FlowMod(change));
        self.changed(switch, "the flow", answers)
    }

    fn change_group(&mut self, switch: &str, change: GroupMod) -> Result<(), WorldError> {
        let id = self.id(switch)?;
        let answers = self.bed.manage_group(id, &change);
        self.changed(switch, "the group", answers)
    }

    fn change_meter(&mut self, switch: &str, change: MeterMod) -> Result<(), WorldError> {
        let id = self.id(switch)?;
        let answers = self.bed.manage(id, Message::MeterMod(change));
        self.changed(switch, "the meter", answers)
    }

    fn ask(&mut self, switch: &str, request: MultipartRequest) -> Result<MultipartBody, WorldError> {
        let id = self.id(switch)?;
        let mut whole: Option<MultipartBody> = None;
        for answer in self.bed.manage(id, Message::MultipartRequest(request)) {
            match answer {
                Message::MultipartReply(MultipartReply { body, .. }) => match &mut whole {
                    Some(whole) => {
                        // All parts of an answer are of one kind.
                        append(whole, body);
                    }
                    None => whole = Some(body),
                },
                Message::Error(error) => {
                    return Err(WorldError(format!("switch {switch}: it does not answer: {}", error.error)));
                }
                _ => {}
            }
        }
        whole.ok_or_else(|| WorldError(format!("switch {switch}: it does not answer")))
    }

    fn report(&mut self) -> Result<Vec<String>, WorldError> {
        match self.has_application {
            true => Ok(self.bed.application().0.report(&self.names)),
            false => Err(WorldError("no application runs".to_owned())),
        }
    }

    fn inject(&mut self, switch: &str, port: OfPort, frame: &[u8]) -> Result<String, WorldError> {
        let id = self.id(switch)?;
        let verdict = self.bed.inject(id, port.0, frame);
        if let Some(error @ RunError::Unsupported { .. }) = verdict.error {
            return Err(WorldError(error.to_string()));
        }
        self.bed.run_for(SETTLE);
        Ok(verdict.to_string())
    }

    fn set_link(&mut self, switch: &str, port: OfPort, up: bool) -> Result<(), WorldError> {
        let id = self.id(switch)?;
        if up {
            self.bed.mend(id, port.0);
        } else {
            self.bed.cut(id, port.0);
        }
        self.bed.run_for(SETTLE);
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<(), WorldError> {
        self.bed.run_for(time);
        Ok(())
    }

    fn take_sent(&mut self) -> Result<Vec<Sent>, WorldError> {
        let lost = self.bed.take_lost().into_iter();
        Ok(lost
            .map(|(end, frame)| Sent { switch: self.names[&end.switch].clone(), port: end.port, frame })
            .collect())
    }

    fn take_packet_ins(&mut self) -> Result<BTreeMap<String, u64>, WorldError> {
        let mut counts = BTreeMap::new();
        for (name, switch) in &mut self.switches {
            let all = self.bed.packet_ins(switch.id);
            counts.insert(name.clone(), (all - std::mem::replace(&mut switch.packet_ins, all)) as u64);
        }
        Ok(counts)
    }

    fn flows(&mut self, switch: &str) -> Result<Vec<FlowStats>, WorldError> {
        Ok(self.bed.flows(self.id(switch)?))
    }
}
