//! What each action does with a packet under way, ovs-actions(7).

use super::hash;
use super::key::{MAX_LABELS, is_mpls, port_from_16};
use super::pipeline::{List, Op, Pipeline, resubmit_port};
use super::trace::RunError;
use crate::wire::{
    Action, BundleAlgorithm, BundleOutput, ControllerAction, Field, MaskedField, OfPort, Prerequisite,
    SubField,
};

/// Number of the reason of a packet whose TTL ran out, `OFPR_INVALID_TTL`.
const INVALID_TTL: u8 = 2;

impl Pipeline<'_> {
    pub(super) fn action(&mut self, action: &Action) -> Result<List, RunError> {
        match action {
            Action::Output(port) => self.output(*port, None)?,
            Action::OutputWith { port, .. } => self.output(*port, None)?,
            Action::OutputTrunc { port, max_len } => self.output_truncated(port_from_16(*port), *max_len)?,
            Action::OutputReg(part) => match u16::try_from(self.packet.key.bits(*part)) {
                Ok(port) => self.output(port_from_16(port), None)?,
                Err(_) => self.note("the port number is out of range"),
            },
            Action::Controller { max_len } => {
                self.punt(&ControllerAction { max_len: *max_len, ..ControllerAction::default() });
            }
            Action::ControllerWith(action) if action.pause => {
                return Err(self.unsupported("controller with a pause: nobody resumes the packet".to_owned()));
            }
            Action::ControllerWith(action) => self.punt(action),
            Action::SetField(field, value) => self.write(field.whole(), value.to_u128()),
            Action::SetMasked(masked) => self.write_masked(masked),
            Action::RegLoad { dst, value } => self.write(*dst, (*value).into()),
            Action::RegMove { src, dst } => {
                if self.packet.has(src.field) {
                    self.write(*dst, self.packet.key.bits(*src));
                } else {
                    self.note(format!("the packet has no {}", src.field.name()));
                }
            }
            Action::StackPush(part) => self.stack.push((self.packet.key.bits(*part), part.n_bits)),
            Action::StackPop(part) => match self.stack.pop() {
                Some((value, _)) => self.packet.key.set_bits(*part, value),
                None => self.note("the stack is empty"),
            },
            Action::PushVlan(tpid) => self.packet.key.push_tag(*tpid),
            Action::PopVlan => self.packet.key.pop_tag(),
            Action::SetNwTtl(ttl) => {
                if self.packet.key.is_ip() {
                    self.packet.key.put(Field::IpTtl, *ttl);
                }
            }
            Action::DecTtl => return Ok(self.dec_ttl(&[0])),
            Action::DecTtlIds(ids) => return Ok(self.dec_ttl(ids)),
            // Queues are the ports' own business: the frames are the same.
            Action::SetQueue(_) | Action::PopQueue => {}
            Action::ResubmitTable { table } => self.resubmit(self.packet.in_port(), *table)?,
            Action::ResubmitPort { port, table } => {
                self.resubmit(resubmit_port(*port, &self.packet), *table)?;
            }
            Action::Group(group) => return self.group(*group),
            Action::Note(_) => {}
            Action::Conjunction { .. } => self.note("a clause of a conjunctive match does nothing by itself"),
            Action::Multipath(multipath) => {
                let link = hash::multipath(&self.packet.key, multipath);
                self.packet.key.set_bits(multipath.dst, link.into());
                self.note(format!("link {link}"));
            }
            Action::Bundle(bundle) => self.bundle(bundle)?,
            Action::Sample(_) => self.note("nobody collects samples"),
            Action::FinTimeout { idle, hard } => self.fin_timeout(*idle, *hard),
            Action::Exit => self.exited = true,
            Action::DeleteField(field) => self.packet.key.set(*field, 0),
            Action::Clone(actions) => self.clone_packet(actions)?,
            Action::PushMpls(eth_type) => self.push_mpls(*eth_type)?,
            Action::PopMpls(eth_type) => self.pop_mpls(*eth_type)?,
            Action::SetMplsTtl(ttl) => self.write(Field::MplsTtl.whole(), (*ttl).into()),
            Action::DecMplsTtl => return Ok(self.dec_mpls_ttl()),
            Action::Ct(ct) => self.ct(ct)?,
            Action::CtClear => self.ct_clear(),
            Action::ResubmitCt { port, table } => self.resubmit_ct(*port, *table)?,
            Action::Learn(learn) => self.learn(learn),
            unsupported => return Err(self.unsupported(super::trace::action_text(unsupported))),
        }
        Ok(List::Continues)
    }

    /// Writes bits of a field, if the packet has it; otherwise nothing happens, as in Open vSwitch.
    fn write(&mut self, part: SubField, value: u128) {
        if self.packet.has(part.field) {
            self.packet.key.set_bits(part, value);
        } else {
            self.note(format!("the packet has no {}", part.field.name()));
        }
    }

    fn write_masked(&mut self, masked: &MaskedField) {
        let MaskedField { field, value, mask } = *masked;
        if self.packet.has(field) {
            let (old, mask) = (self.packet.key.value(field), mask.to_u128());
            self.packet.key.set(field, old & !mask | value.to_u128() & mask);
        } else {
            self.note(format!("the packet has no {}", field.name()));
        }
    }

    /// A TTL that runs out ends this list of actions, not those that resubmitted to it.
    fn dec_ttl(&mut self, controllers: &[u16]) -> List {
        if !self.packet.key.is_ip() {
            return List::Continues;
        }
        match self.packet.key.value(Field::IpTtl) {
            0 | 1 => {
                self.note("the TTL runs out");
                self.punt_invalid_ttl(controllers);
                List::Ends
            }
            ttl => {
                self.packet.key.put(Field::IpTtl, ttl - 1);
                List::Continues
            }
        }
    }

    pub(super) fn punt_invalid_ttl(&mut self, controllers: &[u16]) {
        for id in controllers {
            self.punt(&ControllerAction { id: *id, reason: INVALID_TTL, ..ControllerAction::default() });
        }
    }

    fn push_mpls(&mut self, eth_type: u16) -> Result<(), RunError> {
        match self.packet.key.label_count() {
            // What was done to the headers below is done before they are out of reach.
            0 => self.packet.commit(),
            MAX_LABELS.. => return Err(RunError::TooManyLabels(self.table)),
            _ => {}
        }
        self.packet.key.push_label(eth_type);
        Ok(())
    }

    fn pop_mpls(&mut self, eth_type: u16) -> Result<(), RunError> {
        let had = self.packet.key.label_count();
        if !self.packet.key.pop_label(eth_type) {
            // Open vSwitch takes back what this round has output, even if only a bucket ends here.
            self.outputs.truncate(self.kept.0);
            self.to_controller.truncate(self.kept.1);
            return Err(RunError::TooManyLabels(self.table));
        }
        self.unread |= had > 0 && !is_mpls(eth_type);
        Ok(())
    }

    fn dec_mpls_ttl(&mut self) -> List {
        if is_mpls(self.packet.key.eth_type()) {
            match self.packet.key.value(Field::MplsTtl) {
                0 | 1 => self.punt_invalid_ttl(&[0]),
                ttl => {
                    self.packet.key.set(Field::MplsTtl, ttl - 1);
                    return List::Continues;
                }
            }
        }
        self.note("there is no label whose TTL could be decremented");
        List::Ends
    }

    /// What was below the last label is read before anything looks at it; outputs and writes of what stands before it
    /// do not.
    pub(super) fn needs_reading(action: &Action) -> bool {
        let outer = |field: Field| {
            field.spec().prerequisite == Prerequisite::None
                || field.spec().prerequisite == Prerequisite::VlanVid
        };
        match action {
            Action::Output(_)
            | Action::OutputWith { .. }
            | Action::OutputTrunc { .. }
            | Action::OutputReg(_)
            | Action::SetQueue(_)
            | Action::Group(_) => false,
            Action::SetField(field, _) => !outer(*field),
            Action::SetMasked(masked) => !outer(masked.field),
            Action::RegLoad { dst, .. } => !outer(dst.field),
            _ => true,
        }
    }

    fn output_truncated(&mut self, port: OfPort, max_len: u32) -> Result<(), RunError> {
        match port {
            OfPort::TABLE
            | OfPort::NORMAL
            | OfPort::FLOOD
            | OfPort::ALL
            | OfPort::CONTROLLER
            | OfPort::ANY => {
                self.note(format!("output_trunc does not go to port {port}"));
                Ok(())
            }
            port => self.output(port, Some(max_len)),
        }
    }

    /// Chooses among ports that are alive.
    fn bundle(&mut self, bundle: &BundleOutput) -> Result<(), RunError> {
        let members = bundle.members.iter().map(|member| port_from_16(*member)).enumerate();
        let ports = &self.switch.ports;
        let mut alive = members
            .filter(|(_, port)| ports.is_empty() || ports.get(port).is_some_and(|known| known.is_alive()));
        let chosen = match bundle.algorithm {
            BundleAlgorithm::ActiveBackup => alive.next(),
            BundleAlgorithm::Hrw => {
                let hash = hash::fields(&self.packet.key, bundle.fields, bundle.basis);
                alive.max_by_key(|(place, _)| {
                    (hash::two_words(*place as u32, hash), std::cmp::Reverse(*place))
                })
            }
        };
        let port = chosen.map_or(OfPort::ANY, |(_, port)| port);
        self.note(format!("port {port}"));
        match bundle.dst {
            Some(dst) => {
                self.packet.key.set_bits(dst, (port.0 & 0xffff).into());
                Ok(())
            }
            None => self.output(port, None),
        }
    }

    /// Shortens the entry's timeouts if the packet says that its connection ends.
    fn fin_timeout(&mut self, idle: u16, hard: u16) {
        const FIN_OR_RST: u16 = 0x5;
        let Some(rule) = self.rule.as_ref().filter(|_| self.tcp_flags & FIN_OR_RST != 0) else { return };
        self.switch.tables.shorten(rule.id, idle, hard);
        self.note("the connection ends: the entry's timeouts are shorter now");
    }

    /// Does actions with a copy, whose action set is carried out too.
    fn clone_packet(&mut self, actions: &[Action]) -> Result<(), RunError> {
        // Of what cannot be taken back the datapath makes a copy, with all that was done until here.
        let takes_copy = |action: &Action| {
            use Action::*;
            matches!(action, Ct(_) | OutputTrunc { .. } | Encap(_) | Decap(_) | DecNshTtl)
        };
        let takes_copy = actions.iter().any(takes_copy);
        if takes_copy {
            self.packet.commit();
        }
        let (packet, stack, action_set) = (self.packet.clone(), self.stack.clone(), self.action_set.clone());
        let saved = (self.tracked, self.seen, self.unread, self.dropped);
        self.shown_depth += 1;
        self.actions(actions)?;
        self.run_action_set()?;
        self.shown_depth -= 1;
        (self.stack, self.action_set) = (stack, action_set);
        match takes_copy {
            true => self.packet = packet,
            // Whatever was written into the frame is written back before the next output.
            false => self.packet.key = packet.key,
        }
        // An exit within ends the actions after it too, as in Open vSwitch.
        (self.tracked, self.seen, self.unread, self.dropped) = saved;
        Ok(())
    }

    /// Open vSwitch lets its datapath look at the length, and translates the rest of the actions, and the action set,
    /// for either answer: entries of both count the packet, and learn from it. Only lists further out go on with
    /// the packet as it was.
    pub(super) fn check_length(
        &mut self,
        length: u16,
        dst: SubField,
        rest: &[Op<'_>],
    ) -> Result<(), RunError> {
        self.packet.commit();
        let bytes = self.packet.frame().len();
        let is_larger = bytes > usize::from(length);
        self.note(format!("{bytes} bytes are {}more than {length}", if is_larger { "" } else { "not " }));
        let (packet, stack, action_set) = (self.packet.clone(), self.stack.clone(), self.action_set.clone());
        let saved = (self.tracked, self.seen, self.unread, self.dropped, self.muted);
        let mut exited = self.exited;
        for answer in [true, false] {
            if answer != is_larger {
                self.dropped = self.dropped.or(Some("the packet has another length"));
                self.muted = true;
            }
            self.exited = false;
            self.packet.key.set_bits(dst, answer.into());
            self.ops(rest)?;
            self.run_action_set()?;
            if answer {
                // As in Open vSwitch, whatever the length is.
                exited = self.exited;
            }
            (self.packet, self.stack, self.action_set) = (packet.clone(), stack.clone(), action_set.clone());
            (self.tracked, self.seen, self.unread, self.dropped, self.muted) = saved;
        }
        self.exited = exited;
        Ok(())
    }
}
