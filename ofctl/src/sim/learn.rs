//! The action `learn`: a flow made out of a packet, ovs-actions(7).

use super::flows::Criteria;
use super::pipeline::Pipeline;
use crate::flow::{FlowEntry, FlowFlags};
use crate::wire::{
    Action, FieldValue, GroupId, Learn, LearnFlags, LearnSpec, MaskedField, Match, OfPort, SubField,
};

use super::key::{Key, ones, port_from_16};

/// Adds bits of a field to a match; those that are there already stay.
fn add_bits(matching: &mut Match, dst: SubField, value: u128) {
    let (old_value, old_mask) = matching
        .get(dst.field)
        .map_or((0, 0), |condition| (condition.value.to_u128(), condition.mask.to_u128()));
    let mask = ones(dst.n_bits).checked_shl(dst.start.into()).unwrap_or(0);
    let moved = value.checked_shl(dst.start.into()).unwrap_or(0) & mask;
    let (value, mask) = (old_value & !mask | moved, old_mask | mask);
    // All bits that the field has are an exact match, also where the wire has room for more.
    let whole = ones(dst.field.bits_wide());
    let mask = if mask & whole == whole { dst.field.exact_mask() } else { FieldValue::from(mask) };
    matching.set(dst.field, FieldValue::from(value), mask);
}

/// The write of bits of a field.
fn load(dst: SubField, value: u128) -> Action {
    if dst.n_bits <= 64 {
        return Action::RegLoad { dst, value: value as u64 };
    }
    let mask = FieldValue::from(ones(dst.n_bits) << dst.start);
    Action::SetMasked(Box::new(MaskedField {
        field: dst.field,
        value: FieldValue::from(value << dst.start),
        mask,
    }))
}

/// The flow that a packet's fields make.
pub(super) fn flow(learn: &Learn, key: &Key) -> FlowEntry {
    let mut entry = FlowEntry::new(learn.table, learn.priority)
        .cookie(learn.cookie)
        .idle_timeout(learn.idle_timeout)
        .hard_timeout(learn.hard_timeout);
    if learn.flags.contains(LearnFlags::SEND_FLOW_REM) {
        entry.flags = FlowFlags::SEND_FLOW_REM;
    }
    let mut matching = Match::new();
    let mut actions = Vec::new();
    if learn.fin_idle_timeout != 0 || learn.fin_hard_timeout != 0 {
        actions.push(Action::FinTimeout { idle: learn.fin_idle_timeout, hard: learn.fin_hard_timeout });
    }
    for spec in &learn.specs {
        match *spec {
            LearnSpec::MatchField { src, dst } => add_bits(&mut matching, dst, key.bits(src)),
            LearnSpec::MatchValue { value, dst } => add_bits(&mut matching, dst, value.to_u128()),
            LearnSpec::LoadField { src, dst } => actions.push(load(dst, key.bits(src))),
            LearnSpec::LoadValue { value, dst } => actions.push(load(dst, value.to_u128())),
            LearnSpec::Output(src) if key.bits(src) > 0xffff => {}
            LearnSpec::Output(src) => match port_from_16(key.bits(src) as u16) {
                OfPort::IN_PORT => actions.push(Action::Output(OfPort::IN_PORT)),
                port if port < OfPort::MAX => actions.push(Action::Output(port)),
                port @ (OfPort::FLOOD | OfPort::LOCAL | OfPort::ALL) => actions.push(Action::Output(port)),
                _ => {}
            },
        }
    }
    entry.matching(matching).apply(actions)
}

impl Pipeline<'_> {
    pub(super) fn learn(&mut self, learn: &Learn) {
        let entry = flow(learn, &self.packet.key);
        let mut learns = true;
        if learn.limit != 0 && !self.switch.tables.has_learned(&entry) {
            let everything = Match::new();
            let learned = self.switch.tables.select(&Criteria {
                table: learn.table,
                matching: &everything,
                strict: None,
                cookie: learn.cookie,
                cookie_mask: u64::MAX,
                out_port: OfPort::ANY,
                out_group: GroupId::ANY,
            });
            learns = learned.len() < learn.limit as usize;
        }
        match learns {
            true => {
                self.note(format!("learns {}", super::trace::flow_text(&entry)));
                let now = self.switch.now;
                if self.tables_before.is_none() {
                    self.tables_before = Some(self.switch.tables.snapshot());
                }
                self.switch.tables.learn(entry, now, &mut self.removed);
            }
            false => self.note(format!("learns nothing: {} flows are there already", learn.limit)),
        }
        if let Some(dst) = learn.result_dst {
            self.packet.key.set_bits(dst, learns.into());
        }
    }
}
