//! Running scenarios in a world.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::parse::Scenario;
use super::step::{ApplicationText, Count, End, Ends, PacketText, Step, StepKind};
use crate::flow::{FlowEntry, FlowKey, FlowStats};
use crate::sim::Packet;
use crate::wire::versions::GroupMod;
use crate::wire::{FlowMod, FlowModCommand, Match, MeterMod, MultipartBody, MultipartRequest, OfPort};

/// What a world could not do, as a text for the reader of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WorldError(pub String);

/// A frame that left a switch by a port that has no link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Which switch.
    pub switch: String,
    /// By which port.
    pub port: OfPort,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// Where a scenario takes place: switches, real or not. All that a step causes has happened when its method returns.
pub trait World {
    /// Makes a switch that drops everything.
    ///
    /// # Errors
    /// If it cannot be made.
    fn add_switch(&mut self, name: &str, ports: &[OfPort]) -> Result<(), WorldError>;

    /// Links two ports.
    ///
    /// # Errors
    /// If they cannot be linked.
    fn add_link(&mut self, a: (&str, OfPort), b: (&str, OfPort)) -> Result<(), WorldError>;

    /// Runs an application on all switches.
    ///
    /// # Errors
    /// If there is none of that name, its settings are wrong, or one runs already.
    fn start(&mut self, application: &ApplicationText) -> Result<(), WorldError>;

    /// What the application says of itself, a line each.
    ///
    /// # Errors
    /// If none runs.
    fn report(&mut self) -> Result<Vec<String>, WorldError>;

    /// Has a switch change its flows.
    ///
    /// # Errors
    /// If it refuses.
    fn change_flows(&mut self, switch: &str, change: FlowMod) -> Result<(), WorldError>;

    /// Has a switch change a group.
    ///
    /// # Errors
    /// If it refuses.
    fn change_group(&mut self, switch: &str, change: GroupMod) -> Result<(), WorldError>;

    /// Has a switch change a meter.
    ///
    /// # Errors
    /// If it refuses.
    fn change_meter(&mut self, switch: &str, change: MeterMod) -> Result<(), WorldError>;

    /// Asks a switch, whose counters are up to date, for anything but its flows.
    ///
    /// # Errors
    /// If it does not answer.
    fn ask(&mut self, switch: &str, request: MultipartRequest) -> Result<MultipartBody, WorldError>;

    /// A frame comes in; gives its trace.
    ///
    /// # Errors
    /// If it cannot be brought in.
    fn inject(&mut self, switch: &str, port: OfPort, frame: &[u8]) -> Result<String, WorldError>;

    /// Takes a port's link up or down.
    ///
    /// # Errors
    /// If that cannot be done.
    fn set_link(&mut self, switch: &str, port: OfPort, up: bool) -> Result<(), WorldError>;

    /// Lets time pass.
    ///
    /// # Errors
    /// If something fails meanwhile.
    fn pass(&mut self, time: Duration) -> Result<(), WorldError>;

    /// Frames that left since this was last asked.
    ///
    /// # Errors
    /// If they cannot be read.
    fn take_sent(&mut self) -> Result<Vec<Sent>, WorldError>;

    /// Packets that each switch sent to the controller since this was last asked.
    ///
    /// # Errors
    /// If they cannot be counted.
    fn take_packet_ins(&mut self) -> Result<BTreeMap<String, u64>, WorldError>;

    /// A switch's flows.
    ///
    /// # Errors
    /// If they cannot be read.
    fn flows(&mut self, switch: &str) -> Result<Vec<FlowStats>, WorldError>;
}

/// A step that did not come true, or could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// Why.
    pub problem: String,
    /// What was observed, a line each.
    pub observed: Vec<String>,
    /// The ways of the packets that arrived since the last step before `Then`.
    pub traces: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}\n  {}", self.step.line, self.step.text, self.problem)?;
        for line in &self.observed {
            write!(out, "\n    {line}")?;
        }
        for trace in &self.traces {
            write!(out, "\n  The way of the packet:")?;
            for line in trace.lines() {
                write!(out, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// What is known in the middle of a scenario.
pub(super) struct Run<'w, W> {
    pub(super) world: &'w mut W,
    switches: BTreeMap<String, Vec<OfPort>>,
    packets: BTreeMap<String, Vec<u8>>,
    last: Option<Vec<u8>>,
    traces: Vec<String>,
    /// Whether the step before made something happen.
    pub(super) acting: bool,
    /// Observed by the first `Then` after a `When`; each frame with whether a step has named it.
    sent: Option<Vec<(Sent, bool)>>,
    packet_ins: BTreeMap<String, u64>,
}

/// Why a step fails: the problem, and what was observed.
pub(super) struct Unmet(pub(super) String, pub(super) Vec<String>);

impl From<WorldError> for Unmet {
    fn from(error: WorldError) -> Self {
        Unmet(error.0, Vec::new())
    }
}

impl<T> From<T> for Unmet
where
    T: Into<String>,
{
    fn from(problem: T) -> Self {
        Unmet(problem.into(), Vec::new())
    }
}

impl Scenario {
    /// Takes the steps in order, up to one that fails.
    ///
    /// # Errors
    /// At the first step that does not come true or cannot be taken.
    pub fn run<W: World>(&self, world: &mut W) -> Result<(), Box<Failure>> {
        let mut run = Run {
            world,
            switches: BTreeMap::new(),
            packets: BTreeMap::new(),
            last: None,
            traces: Vec::new(),
            acting: false,
            sent: None,
            packet_ins: BTreeMap::new(),
        };
        for step in &self.steps {
            run.take(&step.kind).map_err(|Unmet(problem, observed)| {
                let is_about_packets = matches!(
                    step.kind,
                    StepKind::Leaves { .. }
                        | StepKind::DoesNotLeave { .. }
                        | StepKind::NothingLeaves(_)
                        | StepKind::NothingElseLeaves
                        | StepKind::Controller { .. }
                );
                let traces = if is_about_packets { run.traces.clone() } else { Vec::new() };
                Box::new(Failure { step: step.clone(), problem, observed, traces })
            })?;
        }
        Ok(())
    }
}

impl<W: World> Run<'_, W> {
    fn take(&mut self, step: &StepKind) -> Result<(), Unmet> {
        match step {
            StepKind::Switch { name, ports } => self.add_switch(name, ports)?,
            StepKind::Link(a, b) => {
                let ends = (self.end(a)?, self.end(b)?);
                self.world.add_link((&ends.0, a.port), (&ends.1, b.port))?;
            }
            StepKind::Application(application) => self.world.start(application)?,
            StepKind::Groups { switch, groups } => {
                let switch = self.switch(switch.as_deref())?;
                for group in groups {
                    self.world.change_group(&switch, group.clone())?;
                }
            }
            StepKind::Meters { switch, meters } => {
                let switch = self.switch(switch.as_deref())?;
                for meter in meters {
                    self.world.change_meter(&switch, meter.clone())?;
                }
            }
            StepKind::Flows { switch, flows } => {
                let switch = self.switch(switch.as_deref())?;
                for flow in flows {
                    self.world.change_flows(&switch, FlowMod::add(flow.clone()))?;
                }
            }
            StepKind::Packet { name, packet } => {
                let frame = self.frame(packet)?;
                self.packets.insert(name.clone(), frame);
            }
            StepKind::Arrives { times, packet, at } => self.arrives(*times, packet, at)?,
            StepKind::PortLink { at, up } => {
                let switch = self.end(at)?;
                self.act()?;
                self.world.set_link(&switch, at.port, *up)?;
            }
            StepKind::Pass(time) => {
                self.act()?;
                self.world.pass(*time)?;
            }
            StepKind::Add { switch, flow } => {
                let switch = self.switch(switch.as_deref())?;
                self.act()?;
                self.world.change_flows(&switch, FlowMod::add(flow.clone()))?;
            }
            StepKind::Delete { switch, matching } => {
                let switch = self.switch(switch.as_deref())?;
                self.act()?;
                self.world.change_flows(&switch, deletion(matching))?;
            }
            StepKind::Modify { switch, flow } => {
                let switch = self.switch(switch.as_deref())?;
                self.act()?;
                let change = FlowMod { command: FlowModCommand::Modify, ..FlowMod::add(flow.clone()) };
                self.world.change_flows(&switch, change)?;
            }
            StepKind::ChangeGroup { switch, change } => {
                let switch = self.switch(switch.as_deref())?;
                self.act()?;
                self.world.change_group(&switch, change.clone())?;
            }
            StepKind::ChangeMeter { switch, change } => {
                let switch = self.switch(switch.as_deref())?;
                self.act()?;
                self.world.change_meter(&switch, change.clone())?;
            }
            StepKind::Leaves { packet, ends } => self.leaves(packet, ends)?,
            StepKind::DoesNotLeave { packet, ends } => self.does_not_leave(packet, ends.as_ref())?,
            StepKind::NothingLeaves(ends) => self.nothing_leaves(ends.as_ref())?,
            StepKind::NothingElseLeaves => {
                self.observe()?;
                let others = self.sent.iter().flatten().filter(|(_, named)| !named);
                let others: Vec<String> = others.map(|(sent, _)| sent.to_string()).collect();
                if !others.is_empty() {
                    return Err(Unmet("other packets left:".to_owned(), others));
                }
            }
            StepKind::Controller { count, switch } => self.controller(*count, switch.as_deref())?,
            StepKind::FlowExists { switch, flow } => {
                self.acting = false;
                self.flow_exists(switch.as_deref(), flow)?;
            }
            StepKind::NoFlow { switch, flow } => {
                self.acting = false;
                if let Ok(found) = self.find(switch.as_deref(), flow)? {
                    return Err(Unmet("it exists:".to_owned(), vec![found.entry.to_string()]));
                }
            }
            StepKind::GroupExists { switch, group } => self.group_exists(switch.as_deref(), group)?,
            StepKind::NoGroup { switch, group } => self.no_group(switch.as_deref(), *group)?,
            StepKind::MeterExists { switch, meter } => self.meter_exists(switch.as_deref(), meter)?,
            StepKind::NoMeter { switch, meter } => self.no_meter(switch.as_deref(), *meter)?,
            StepKind::Counted { switch, counter, volume } => {
                self.counted(switch.as_deref(), counter, *volume)?;
            }
            StepKind::Reports { line, is_there } => self.reports(line, *is_there)?,
        }
        Ok(())
    }

    fn add_switch(&mut self, name: &str, ports: &[OfPort]) -> Result<(), Unmet> {
        if self.switches.contains_key(name) {
            let remedy = "give each switch a name, as in 'a switch s2 with ports 1-3'";
            return Err(format!("there is a switch {name} already; {remedy}").into());
        }
        self.world.add_switch(name, ports)?;
        self.switches.insert(name.to_owned(), ports.to_vec());
        Ok(())
    }

    /// The switch of that name, or the only one.
    pub(super) fn switch(&self, name: Option<&str>) -> Result<String, Unmet> {
        let names = || self.switches.keys().cloned().collect::<Vec<_>>().join(", ");
        match name {
            Some(name) if self.switches.contains_key(name) => Ok(name.to_owned()),
            Some(name) => Err(format!("there is no switch {name}; there is: {}", names()).into()),
            None => match self.switches.keys().next() {
                Some(only) if self.switches.len() == 1 => Ok(only.clone()),
                Some(_) => Err(format!("which switch? There are {}: write 'of NAME'", names()).into()),
                None => Err("there is no switch yet: begin with 'Given a switch with ports …'".into()),
            },
        }
    }

    pub(super) fn known(&self, switch: Option<&str>, ports: &[OfPort]) -> Result<String, Unmet> {
        let switch = self.switch(switch)?;
        match ports.iter().find(|port| !self.switches[&switch].contains(port)) {
            Some(port) => Err(format!("switch {switch} has no port {port}").into()),
            None => Ok(switch),
        }
    }

    fn end(&self, end: &End) -> Result<String, Unmet> {
        self.known(end.switch.as_deref(), &[end.port])
    }

    /// The bytes of a packet that a step speaks of.
    fn frame(&self, packet: &PacketText) -> Result<Vec<u8>, Unmet> {
        match packet {
            PacketText::Bytes(bytes) => Ok(bytes.clone()),
            PacketText::Fields(fields) => match Packet::compose(fields) {
                Ok(packet) => Ok(packet.frame().to_vec()),
                Err(error) => Err(error.to_string().into()),
            },
            PacketText::It => self.last.clone().ok_or_else(|| "no packet has arrived yet".into()),
            PacketText::Any => Err("which packet? Give its name or its fields".into()),
            PacketText::Named(name, changed) => {
                let Some(frame) = self.packets.get(name) else {
                    let remedy = format!("name it before, by 'Given packet {name}: FIELDS'");
                    return Err(format!("there is no packet {name}; {remedy}").into());
                };
                let mut packet = Packet::new(OfPort(0), frame.clone());
                match packet.change(changed) {
                    Ok(()) => Ok(packet.frame().to_vec()),
                    Err(error) => Err(format!("{name} cannot have that: {error}").into()),
                }
            }
        }
    }

    /// Before a step that makes something happen: what was observed until now is over.
    fn act(&mut self) -> Result<(), Unmet> {
        if !std::mem::replace(&mut self.acting, true) {
            self.sent = None;
            self.traces.clear();
            self.world.take_sent()?;
            self.world.take_packet_ins()?;
        }
        Ok(())
    }

    fn observe(&mut self) -> Result<(), Unmet> {
        self.acting = false;
        if self.sent.is_none() {
            self.sent = Some(self.world.take_sent()?.into_iter().map(|sent| (sent, false)).collect());
            self.packet_ins = self.world.take_packet_ins()?;
        }
        Ok(())
    }

    fn arrives(&mut self, times: Count, packet: &PacketText, at: &End) -> Result<(), Unmet> {
        let (switch, frame) = (self.end(at)?, self.frame(packet)?);
        self.act()?;
        for _ in 0..times.0 {
            let trace = self.world.inject(&switch, at.port, &frame)?;
            self.traces.push(trace);
        }
        self.last = Some(frame);
        Ok(())
    }

    /// The frame that is meant; `None` if its text leaves something open.
    fn whole_frame(&self, packet: &PacketText) -> Result<Option<Vec<u8>>, Unmet> {
        match packet {
            PacketText::Fields(_) | PacketText::Any => Ok(None),
            _ => self.frame(packet).map(Some),
        }
    }

    fn leaves(&mut self, packet: &PacketText, ends: &Ends) -> Result<(), Unmet> {
        let switch = self.known(ends.switch.as_deref(), &ends.ports)?;
        let wanted = self.whole_frame(packet)?;
        let is_wanted = |frame: &[u8]| is_meant(packet, wanted.as_deref(), frame);
        self.observe()?;
        for port in &ends.ports {
            let sent = self.sent.get_or_insert_default();
            let here = |sent: &Sent| sent.switch == switch && sent.port == *port;
            let found = sent.iter_mut().find(|(sent, named)| !named && here(sent) && is_wanted(&sent.frame));
            match found {
                Some((_, named)) => *named = true,
                None => {
                    let mut observed: Vec<String> =
                        wanted.iter().map(|frame| format!("expected: {}", describe(frame))).collect();
                    observed.extend(sent.iter().map(|(sent, named)| {
                        format!("{sent}{}", if *named { " (named before)" } else { "" })
                    }));
                    if sent.is_empty() {
                        observed.push("nothing left at all".to_owned());
                    }
                    return Err(Unmet(format!("it did not leave port {port}"), observed));
                }
            }
        }
        Ok(())
    }

    fn does_not_leave(&mut self, packet: &PacketText, ends: Option<&Ends>) -> Result<(), Unmet> {
        let only = match ends {
            Some(ends) => Some((self.known(ends.switch.as_deref(), &ends.ports)?, &ends.ports)),
            None => None,
        };
        let unwanted = self.whole_frame(packet)?;
        self.observe()?;
        let here = |sent: &Sent| match &only {
            Some((switch, ports)) => sent.switch == *switch && ports.contains(&sent.port),
            None => true,
        };
        let left = self.sent.iter().flatten().map(|(sent, _)| sent);
        let left = left.filter(|sent| here(sent) && is_meant(packet, unwanted.as_deref(), &sent.frame));
        let left: Vec<String> = left.map(Sent::to_string).collect();
        if left.is_empty() { Ok(()) } else { Err(Unmet("it left:".to_owned(), left)) }
    }

    fn nothing_leaves(&mut self, ends: Option<&Ends>) -> Result<(), Unmet> {
        let only = match ends {
            Some(ends) => Some((self.known(ends.switch.as_deref(), &ends.ports)?, &ends.ports)),
            None => None,
        };
        self.observe()?;
        let here = |sent: &Sent| match &only {
            Some((switch, ports)) => sent.switch == *switch && ports.contains(&sent.port),
            None => true,
        };
        let left = self.sent.iter().flatten().filter(|(sent, _)| here(sent));
        let left: Vec<String> = left.map(|(sent, _)| sent.to_string()).collect();
        if left.is_empty() { Ok(()) } else { Err(Unmet("packets left:".to_owned(), left)) }
    }

    fn controller(&mut self, count: Count, switch: Option<&str>) -> Result<(), Unmet> {
        let switch = switch.map(|name| self.switch(Some(name))).transpose()?;
        self.observe()?;
        let of = |name: &String| switch.as_ref().is_none_or(|only| only == name);
        let reached: u64 = self.packet_ins.iter().filter(|(name, _)| of(name)).map(|(_, n)| n).sum();
        if reached == count.0 { Ok(()) } else { Err(format!("{reached} packets reached it").into()) }
    }

    /// The entry of that key, or those of the same table.
    pub(super) fn find(
        &mut self,
        switch: Option<&str>,
        key: &FlowKey,
    ) -> Result<Result<FlowStats, Vec<String>>, Unmet> {
        let switch = self.switch(switch)?;
        let flows = self.world.flows(&switch)?;
        let near: Vec<String> = flows
            .iter()
            .filter(|flow| flow.entry.table == key.table)
            .map(|flow| flow.entry.to_string())
            .collect();
        Ok(flows.into_iter().find(|flow| flow.entry.key() == *key).ok_or(near))
    }

    fn flow_exists(&mut self, switch: Option<&str>, flow: &FlowEntry) -> Result<(), Unmet> {
        let key = flow.key();
        let found = self.find(switch, &key)?.map_err(|near| missing(&key, near))?;
        if found.entry.instructions != flow.instructions {
            return Err(Unmet("it does something else:".to_owned(), vec![found.entry.to_string()]));
        }
        Ok(())
    }
}

pub(super) fn missing(key: &FlowKey, near: Vec<String>) -> Unmet {
    let what = if near.is_empty() { " has no flows" } else { " has others:" };
    Unmet(format!("there is no such flow; table {}{what}", key.table), near)
}

fn deletion(matching: &Match) -> FlowMod {
    let mut change = FlowMod::add(FlowEntry::new(crate::wire::TableId::ALL, 0).matching(matching.clone()));
    change.command = FlowModCommand::Delete;
    change
}

/// True if a step that speaks of this packet, with these bytes if it says all of them, means the frame.
fn is_meant(packet: &PacketText, whole: Option<&[u8]>, frame: &[u8]) -> bool {
    match (packet, whole) {
        (PacketText::Fields(fields), _) => has_fields(frame, fields),
        (_, Some(whole)) => frame == whole,
        _ => true,
    }
}

fn has_fields(frame: &[u8], fields: &Match) -> bool {
    let packet = Packet::new(OfPort(0), frame.to_vec());
    fields.iter().all(|condition| {
        packet.has(condition.field)
            && packet.get(condition.field).to_u128() & condition.mask.to_u128() == condition.value.to_u128()
    })
}

/// A frame in a line.
fn describe(frame: &[u8]) -> String {
    let text = Packet::new(OfPort(0), frame.to_vec()).to_string();
    let packet = text.split_once(',').map_or(text.as_str(), |(_, packet)| packet);
    format!("{packet}, {} bytes", frame.len())
}

impl fmt::Display for Sent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "port {} of {}: {}", self.port, self.switch, describe(&self.frame))
    }
}
