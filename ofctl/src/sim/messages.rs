//! The switch as its controller hears it: one answer or none to each message, with Open vSwitch's errors.

use std::sync::Arc;

use super::check::Refusal;
use super::controller::OpenBundle;
use super::meters::{self, Meter};
use super::packet::Packet;
use super::ports::CHANGEABLE;
use super::switch::{FragmentMode, N_TABLES, Switch};
use crate::flow::FlowEntry;
use crate::wire::{
    self, BundleAdd, BundleControl, BundleControlType, ErrorMessage, Features, FlowModCommand,
    FlowRemovedReason, Hello, Message, MeterId, MeterMod, MeterModCommand, NO_BUFFER, NiciraMessage, OfPort,
    PacketOut, PortMod, PortReason, PortStatus, Role, RoleRequest, SwitchConfig, TlvTable, TlvTableCommand,
    TlvTableMod, Xid,
};

/// `OFPC_FLOW_STATS`, `_TABLE_STATS`, `_PORT_STATS`, `_GROUP_STATS` and `_QUEUE_STATS`, as Open vSwitch says.
const CAPABILITIES: u32 = 0x4f;

/// Bytes of all tunnel options together, as in Open vSwitch.
const OPTION_SPACE: u32 = 256;

/// What a message does: answers, or an error.
pub(super) type Answer = Result<Vec<Message>, Refusal>;

impl Switch {
    /// Hears a message of the controller and answers it as a switch does, at the time of the last
    /// [`Switch::advance`] or [`Switch::receive`]. Frames that a packet-out sends are in [`Switch::take_sent`].
    ///
    /// What it refuses it answers with an error, whose data is the beginning of the refused message with
    /// transaction number 0. An atomic bundle is applied whole or not at all.
    pub fn handle(&mut self, message: Message) -> Vec<Message> {
        // Only what can be refused needs to be kept for the error's data.
        let kept = message.clone();
        match self.answer(message) {
            Ok(answers) => answers,
            Err(refusal) => vec![error(&refusal, &kept)],
        }
    }

    fn answer(&mut self, message: Message) -> Answer {
        let changes = matches!(
            message,
            Message::FlowMod(_)
                | Message::GroupMod(_)
                | Message::MeterMod(_)
                | Message::PortMod(_)
                | Message::TableMod(_)
                | Message::PacketOut(_)
                | Message::BundleControl(_)
                | Message::BundleAdd(_)
                | Message::SetConfig(_)
        );
        if changes && self.controller.role == Role::Secondary {
            return Err(Refusal::Named("OFPBRC_IS_SECONDARY"));
        }
        Ok(match message {
            Message::Hello(hello) if hello.speaks_13() => vec![Message::Hello(Hello::OPENFLOW_13)],
            Message::Hello(_) => return Err(Refusal::Named("OFPHFC_INCOMPATIBLE")),
            Message::EchoRequest(data) => vec![Message::EchoReply(data)],
            Message::BarrierRequest => vec![Message::BarrierReply],
            Message::FeaturesRequest => vec![Message::FeaturesReply(Features {
                datapath_id: self.datapath_id,
                n_buffers: 0,
                n_tables: N_TABLES,
                auxiliary_id: 0,
                capabilities: CAPABILITIES,
                reserved: 0,
            })],
            Message::GetConfigRequest => vec![Message::GetConfigReply(SwitchConfig {
                fragments: match self.fragments {
                    FragmentMode::Normal => wire::FragmentMode::Normal,
                    FragmentMode::Drop => wire::FragmentMode::Drop,
                    FragmentMode::NxMatch => wire::FragmentMode::NxMatch,
                },
                miss_send_len: self.controller.miss_send_len,
            })],
            Message::SetConfig(config) => {
                self.controller.miss_send_len = config.miss_send_len;
                match config.fragments {
                    wire::FragmentMode::Normal => self.fragments = FragmentMode::Normal,
                    wire::FragmentMode::Drop => self.fragments = FragmentMode::Drop,
                    wire::FragmentMode::NxMatch => self.fragments = FragmentMode::NxMatch,
                    // Open vSwitch cannot reassemble for OpenFlow, and stays as it is.
                    wire::FragmentMode::Reassemble => {}
                }
                Vec::new()
            }
            Message::FlowMod(flow_mod) => self.flow_mod(&flow_mod)?,
            Message::GroupMod(group_mod) => self.group_mod(&group_mod.into())?,
            Message::MeterMod(meter_mod) => self.meter_mod(&meter_mod)?,
            Message::PortMod(port_mod) => self.port_mod(&port_mod)?,
            // OpenFlow 1.3 has no configuration that means anything.
            Message::TableMod(table_mod) if table_mod.table.0 < N_TABLES || table_mod.table.0 == 0xff => {
                Vec::new()
            }
            Message::TableMod(table_mod) => return Err(Refusal::NoSuchTable(table_mod.table)),
            Message::PacketOut(packet) => self.packet_out(packet)?,
            Message::MultipartRequest(request) => self.multipart(&request)?,
            Message::RoleRequest(request) => vec![Message::RoleReply(self.role(request)?)],
            Message::GetAsyncRequest => vec![Message::GetAsyncReply(self.controller.hears)],
            Message::SetAsync(config) => {
                self.controller.hears = config;
                Vec::new()
            }
            Message::BundleControl(control) => self.bundle_control(control)?,
            Message::BundleAdd(add) => self.bundle_add(add)?,
            Message::QueueGetConfigRequest(port)
                if port != OfPort::ANY && !self.ports.is_empty() && !self.ports.contains_key(&port) =>
            {
                return Err(Refusal::Named("OFPQOFC_BAD_PORT"));
            }
            Message::QueueGetConfigRequest(port) => {
                vec![Message::QueueGetConfigReply { port, queues: Vec::new() }]
            }
            Message::Nicira(message) => self.nicira(message)?,
            Message::Experimenter { .. } => return Err(Refusal::Named("OFPBRC_BAD_VENDOR")),
            // Answers, and what only a switch says: a switch that hears them does nothing.
            Message::Error(_) | Message::EchoReply(_) => Vec::new(),
            _ => return Err(Refusal::Named("OFPBRC_BAD_TYPE")),
        })
    }

    fn flow_mod(&mut self, flow_mod: &wire::FlowMod) -> Answer {
        let refers = match flow_mod.command {
            FlowModCommand::Add => true,
            // As Open vSwitch has it, only where there is something to modify.
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.tables.has_any(flow_mod),
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => false,
        };
        if refers {
            self.check_references(&flow_mod.entry())?;
        }
        if flow_mod.buffer_id != NO_BUFFER {
            return Err(Refusal::Named("OFPBRC_BUFFER_UNKNOWN"));
        }
        let mut gone = Vec::new();
        self.tables.apply(flow_mod, self.now, &mut gone)?;
        Ok(self.removed(gone))
    }

    pub(super) fn remove_flows(
        &mut self,
        reason: FlowRemovedReason,
        wanted: impl Fn(&FlowEntry) -> bool,
    ) -> Vec<Message> {
        let mut users: Vec<_> = self.tables.rules().filter(|rule| wanted(&rule.entry)).cloned().collect();
        users.sort_by(|a, b| a.entry.cmp(&b.entry));
        let mut gone = Vec::new();
        for rule in users {
            self.tables.remove(&rule, reason, self.now, &mut gone);
        }
        self.removed(gone)
    }

    fn meter_mod(&mut self, meter_mod: &MeterMod) -> Answer {
        let MeterMod { command, flags, meter, ref bands } = *meter_mod;
        if command == MeterModCommand::Delete {
            let doomed: Vec<MeterId> = match meter {
                MeterId::ALL => self.meters.keys().copied().collect(),
                one => vec![one],
            };
            let mut messages = Vec::new();
            for id in doomed {
                if Arc::make_mut(&mut self.meters).remove(&id).is_some() {
                    let uses = |entry: &FlowEntry| entry.instructions.meter == Some(id.0);
                    messages.extend(self.remove_flows(FlowRemovedReason::Delete, uses));
                }
            }
            return Ok(messages);
        }
        meters::check(meter, bands)?;
        match (command, self.meters.contains_key(&meter)) {
            (MeterModCommand::Add, true) => return Err(Refusal::MeterExists(meter)),
            (MeterModCommand::Modify, false) => return Err(Refusal::UnknownMeter(meter)),
            _ => {}
        }
        Arc::make_mut(&mut self.meters).insert(meter, Meter::new(flags, bands.clone(), self.now));
        Ok(Vec::new())
    }

    fn port_mod(&mut self, port_mod: &PortMod) -> Answer {
        let ports = Arc::make_mut(&mut self.ports);
        let port = ports.get_mut(&port_mod.port).ok_or(Refusal::NoSuchPort(port_mod.port))?;
        let description = &mut port.description;
        if description.address != port_mod.address {
            return Err(Refusal::PortAddress(port_mod.port));
        }
        let mask = port_mod.mask & CHANGEABLE;
        let before = description.config;
        description.config = before & !mask | port_mod.config & mask;
        if description.config == before {
            return Ok(Vec::new());
        }
        let status = PortStatus { reason: PortReason::Modify, port: description.clone() };
        Ok(self.port_status(status).into_iter().collect())
    }

    fn packet_out(&mut self, packet: PacketOut) -> Answer {
        if packet.buffer_id != NO_BUFFER {
            return Err(Refusal::Named("OFPBRC_BUFFER_UNKNOWN"));
        }
        let reserved = packet.in_port.0 >= OfPort::MAX.0;
        if reserved && !matches!(packet.in_port, OfPort::CONTROLLER | OfPort::LOCAL | OfPort::ANY) {
            return Err(Refusal::Named("OFPBRC_BAD_PORT"));
        }
        let probe = FlowEntry::new(wire::TableId(0), 0).apply(packet.actions.iter().cloned());
        self.check_references(&probe)?;
        let received = Packet::new(packet.in_port, packet.data);
        super::check::packet_out(&packet.actions, &received)?;
        Ok(self.execute(received, &packet.actions))
    }

    /// OpenFlow 1.3.5 §6.3.6: an election that is older than the newest is refused.
    fn role(&mut self, request: RoleRequest) -> Result<RoleRequest, Refusal> {
        if matches!(request.role, Role::Primary | Role::Secondary) {
            let newest = self.controller.generation;
            if newest.is_some_and(|newest| (request.generation.wrapping_sub(newest) as i64) < 0) {
                return Err(Refusal::Named("OFPRRFC_STALE"));
            }
            self.controller.generation = Some(request.generation);
        }
        if request.role != Role::NoChange {
            self.controller.role = request.role;
        }
        let generation = self.controller.generation.unwrap_or(u64::MAX);
        Ok(RoleRequest { role: self.controller.role, generation })
    }

    /// ONF extension 230.
    fn bundle_control(&mut self, control: BundleControl) -> Answer {
        use BundleControlType::*;
        let BundleControl { bundle, kind, flags } = control;
        let bundles = &mut self.controller.bundles;
        let mut messages = Vec::new();
        let reply = match kind {
            OpenRequest if bundles.contains_key(&bundle) => return Err(Refusal::Named("OFPBFC_BAD_ID")),
            OpenRequest => {
                bundles.insert(bundle, OpenBundle { flags, closed: false, messages: Vec::new() });
                OpenReply
            }
            CloseRequest => {
                let open = bundles.get_mut(&bundle).ok_or(Refusal::Named("OFPBFC_BAD_ID"))?;
                if open.closed {
                    return Err(Refusal::Named("OFPBFC_BUNDLE_CLOSED"));
                }
                if open.flags != flags {
                    bundles.remove(&bundle);
                    return Err(Refusal::Named("OFPBFC_BAD_FLAGS"));
                }
                open.closed = true;
                CloseReply
            }
            CommitRequest => {
                let open = bundles.remove(&bundle).ok_or(Refusal::Named("OFPBFC_BAD_ID"))?;
                if open.flags != flags {
                    return Err(Refusal::Named("OFPBFC_BAD_FLAGS"));
                }
                let (told, refused) = self.commit(open);
                messages = told;
                if refused {
                    messages
                        .push(error(&Refusal::Named("OFPBFC_MSG_FAILED"), &Message::BundleControl(control)));
                    return Ok(messages);
                }
                CommitReply
            }
            DiscardRequest => {
                bundles.remove(&bundle).ok_or(Refusal::Named("OFPBFC_BAD_ID"))?;
                DiscardReply
            }
            _ => return Err(Refusal::Named("OFPBFC_BAD_TYPE")),
        };
        messages.push(Message::BundleControl(BundleControl { bundle, kind: reply, flags }));
        Ok(messages)
    }

    /// Applies a bundle's messages to a copy, and takes that for itself if none was refused. Open vSwitch treats
    /// every bundle as atomic and ordered.
    fn commit(&mut self, bundle: OpenBundle) -> (Vec<Message>, bool) {
        let mut changed = self.clone();
        let mut told = Vec::new();
        for message in bundle.messages {
            let kept = message.clone();
            match changed.answer(message) {
                Ok(answers) => told.extend(answers),
                Err(refusal) => return (vec![error(&refusal, &kept)], true),
            }
        }
        *self = changed;
        (told, false)
    }

    fn bundle_add(&mut self, add: BundleAdd) -> Answer {
        let bundles = &mut self.controller.bundles;
        let open = bundles.entry(add.bundle).or_insert_with(|| OpenBundle {
            flags: add.flags,
            closed: false,
            messages: Vec::new(),
        });
        if open.closed {
            return Err(Refusal::Named("OFPBFC_BUNDLE_CLOSED"));
        }
        if open.flags != add.flags {
            return Err(Refusal::Named("OFPBFC_BAD_FLAGS"));
        }
        match *add.message {
            message @ (Message::FlowMod(_)
            | Message::GroupMod(_)
            | Message::PortMod(_)
            | Message::PacketOut(_)) => {
                open.messages.push(message);
                Ok(Vec::new())
            }
            _ => Err(Refusal::Named("OFPBFC_MSG_UNSUP")),
        }
    }

    fn nicira(&mut self, message: NiciraMessage) -> Answer {
        match message {
            NiciraMessage::SetPacketInFormat(format) => self.controller.format = format,
            NiciraMessage::SetControllerId(id) => self.controller.id = id,
            NiciraMessage::CtFlushZone(zone) => Arc::make_mut(&mut self.connections).flush(zone),
            NiciraMessage::TlvTableMod(change) => self.tlv_table_mod(&change)?,
            NiciraMessage::TlvTableRequest => {
                let maps = self.tlv_maps.clone();
                let table = TlvTable { max_option_space: OPTION_SPACE, max_fields: 64, maps };
                return Ok(vec![Message::Nicira(NiciraMessage::TlvTableReply(table))]);
            }
            _ => return Err(Refusal::Named("OFPBRC_BAD_SUBTYPE")),
        }
        Ok(Vec::new())
    }
}

impl Switch {
    /// Which tunnel options fields hold. They are kept and told; the fields themselves are there in any case.
    fn tlv_table_mod(&mut self, change: &TlvTableMod) -> Result<(), Refusal> {
        let mut maps = self.tlv_maps.clone();
        match change.command {
            TlvTableCommand::Clear => maps.clear(),
            TlvTableCommand::Delete => maps.retain(|map| !change.maps.contains(map)),
            TlvTableCommand::Add => {
                for new in &change.maps {
                    if maps.iter().any(|map| (map.class, map.kind) == (new.class, new.kind)) {
                        return Err(Refusal::Named("NXTTMFC_DUP_ENTRY"));
                    }
                    if maps.iter().any(|map| map.index == new.index) {
                        return Err(Refusal::Named("NXTTMFC_ALREADY_MAPPED"));
                    }
                    maps.push(*new);
                }
                let space: u32 = maps.iter().map(|map| u32::from(map.length)).sum();
                if space > OPTION_SPACE {
                    return Err(Refusal::Named("NXTTMFC_TABLE_FULL"));
                }
                maps.sort_by_key(|map| map.index);
            }
        }
        self.tlv_maps = maps;
        Ok(())
    }
}

/// The error that answers a message.
fn error(refusal: &Refusal, refused: &Message) -> Message {
    let mut data = Vec::new();
    // A message that cannot be written was never heard, and has no beginning to be shown.
    let _ = refused.encode(Xid(0), &mut data);
    data.truncate(64);
    Message::Error(ErrorMessage { error: refusal.code(), data })
}
