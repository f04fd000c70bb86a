//! An application's tables moved by one, so that another's table comes before them.

use crate::kit::Event;
use crate::wire::{
    Action, Bucket, FlowMod, FlowModCommand, GroupMod, Instructions, Message, MultipartBody, MultipartReply,
    MultipartRequest, PacketOut, TableId,
};

/// The table as the switch counts.
fn down(table: TableId) -> TableId {
    match table {
        TableId::ALL => table,
        TableId(number) => TableId(number + 1),
    }
}

/// The table as the application counts; `None` for the one before its own.
fn up(table: TableId) -> Option<TableId> {
    match table {
        TableId::ALL => Some(table),
        TableId(number) => number.checked_sub(1).map(TableId),
    }
}

/// The highest table that an application whose tables are moved can have.
const LAST: TableId = TableId(252);

/// Messages to a switch. A deletion in all tables becomes one in each of the application's own, up to `last`, the
/// highest that it has named so far.
pub(super) fn messages_down(message: Message, last: &mut TableId) -> Vec<Message> {
    match message {
        Message::FlowMod(flow) => {
            let named = [Some(flow.table), flow.instructions.goto].into_iter().flatten();
            *last = named.filter(|table| *table <= LAST).fold(*last, TableId::max);
            let everywhere = flow.table == TableId::ALL
                && matches!(flow.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
            let tables = if everywhere { 0..=last.0 } else { flow.table.0..=flow.table.0 };
            let moved = |table| {
                let instructions = instructions_down(flow.instructions.clone());
                Message::FlowMod(FlowMod { table: down(TableId(table)), instructions, ..flow.clone() })
            };
            tables.map(moved).collect()
        }
        Message::PacketOut(packet) => {
            vec![Message::PacketOut(PacketOut { actions: actions_down(packet.actions), ..packet })]
        }
        Message::GroupMod(group) => {
            let buckets = group.buckets.into_iter();
            let buckets = buckets.map(|bucket| Bucket { actions: actions_down(bucket.actions), ..bucket });
            vec![Message::GroupMod(GroupMod { buckets: buckets.collect(), ..group })]
        }
        Message::MultipartRequest(MultipartRequest::Flow(mut request)) => {
            request.table = down(request.table);
            vec![Message::MultipartRequest(MultipartRequest::Flow(request))]
        }
        other => vec![other],
    }
}

fn instructions_down(instructions: Instructions) -> Instructions {
    Instructions {
        apply: actions_down(instructions.apply),
        write: actions_down(instructions.write),
        goto: instructions.goto.map(down),
        ..instructions
    }
}

fn instructions_up(instructions: Instructions) -> Instructions {
    Instructions { goto: instructions.goto.and_then(up), ..instructions }
}

fn actions_down(actions: Vec<Action>) -> Vec<Action> {
    actions.into_iter().map(action_down).collect()
}

fn action_down(action: Action) -> Action {
    match action {
        Action::ResubmitTable { table } => Action::ResubmitTable { table: down(table) },
        Action::ResubmitPort { port, table } => Action::ResubmitPort { port, table: down(table) },
        Action::ResubmitCt { port, table } => Action::ResubmitCt { port, table: down(table) },
        Action::Learn(mut learn) => {
            learn.table = down(learn.table);
            Action::Learn(learn)
        }
        Action::Ct(mut ct) => {
            ct.table = ct.table.map(down);
            Action::Ct(ct)
        }
        Action::Clone(actions) => Action::Clone(actions_down(actions)),
        other => other,
    }
}

/// The event as the application sees it; `None` if it is not about its tables.
pub(super) fn event_up(event: &Event) -> Option<Event> {
    let mut event = event.clone();
    match &mut event {
        Event::PacketIn(_, packet) => packet.table = up(packet.table)?,
        Event::FlowRemoved(_, removed) => removed.key.table = up(removed.key.table)?,
        Event::Message(_, message) => {
            if let Message::MultipartReply(MultipartReply { body: MultipartBody::Flow(flows), .. }) =
                &mut **message
            {
                flows.retain_mut(|flow| {
                    flow.entry.instructions = instructions_up(std::mem::take(&mut flow.entry.instructions));
                    let table = up(flow.entry.table);
                    flow.entry.table = table.unwrap_or(flow.entry.table);
                    table.is_some()
                });
            }
        }
        _ => {}
    }
    Some(event)
}
