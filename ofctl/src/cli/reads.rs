//! Commands that ask for what the switch holds besides flows, and print it.

use ofctl::wire::{
    GroupId, Message, MeterId, MultipartBody, MultipartReply, MultipartRequest, NiciraMessage, OfPort,
    QueueId, Xid,
};
use serde_json::Value;

use super::args::{Asked, Connect, Read};
use super::error::CliError;
use super::json::stats;
use super::output::Output;
use super::switch::Switch;
use super::{Outcome, print, progress};

/// A number as 7 or, with its name before it, as `group_id=7`.
pub(crate) fn named_number(name: &str, text: &str, what: &str) -> Result<Option<u32>, CliError> {
    let value = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).unwrap_or(text);
    if value.eq_ignore_ascii_case("all") || value.eq_ignore_ascii_case("any") {
        return Ok(None);
    }
    let number = match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    };
    number.map(Some).ok_or_else(|| CliError::Usage(format!("'{text}' is not {what}, as in {name}=7")))
}

fn group_id(text: Option<&str>) -> Result<GroupId, CliError> {
    let number = text.map(|text| named_number("group_id", text, "a group")).transpose()?.flatten();
    Ok(number.map_or(GroupId::ALL, GroupId))
}

fn meter_id(text: Option<&str>) -> Result<MeterId, CliError> {
    let number = text.map(|text| named_number("meter", text, "a meter")).transpose()?.flatten();
    Ok(number.map_or(MeterId::ALL, MeterId))
}

/// A port by its number or name; `None` for any.
async fn port_id(switch: &Switch, text: Option<&str>) -> Result<OfPort, CliError> {
    match text {
        None => Ok(OfPort::ANY),
        Some(text) => switch.port(text).await,
    }
}

/// Asks, and prints the answer: as ovs-ofctl has it, or item by item.
pub(crate) async fn run(connect: &Connect, command: &Read, output: &mut Output) -> Result<Outcome, CliError> {
    let asked = command.asked();
    // What cannot be read is said before anybody is asked.
    let (group, meter) = match command {
        Read::DumpGroups { group, .. } | Read::DumpGroupStats { group, .. } => {
            (group_id(group.as_deref())?, MeterId::ALL)
        }
        Read::DumpMeters { meter, .. } | Read::MeterStats { meter, .. } => {
            (GroupId::ALL, meter_id(meter.as_deref())?)
        }
        _ => (GroupId::ALL, MeterId::ALL),
    };
    let switch = Switch::connect(connect, &asked.switch).await?;
    let request = match command {
        Read::DumpTableFeatures { .. } => MultipartRequest::TableFeatures(Vec::new()),
        Read::DumpPorts { port, .. } => MultipartRequest::PortStats(port_id(&switch, port.as_deref()).await?),
        Read::QueueStats { port, queue, .. } => MultipartRequest::Queue(
            port_id(&switch, port.as_deref()).await?,
            queue.map_or(QueueId::ALL, QueueId),
        ),
        Read::QueueGetConfig { port, .. } => {
            let port = port_id(&switch, port.as_deref()).await?;
            return ask(&switch, Message::QueueGetConfigRequest(port), asked, output, &|_| true).await;
        }
        Read::DumpGroups { .. } => MultipartRequest::GroupDescription,
        Read::DumpGroupStats { .. } => MultipartRequest::GroupStats(group),
        Read::DumpGroupFeatures { .. } => MultipartRequest::GroupFeatures,
        Read::DumpMeters { .. } => MultipartRequest::MeterConfig(meter),
        Read::MeterStats { .. } => MultipartRequest::MeterStats(meter),
        Read::MeterFeatures { .. } => MultipartRequest::MeterFeatures,
        Read::DumpTlvMap { .. } => {
            let request = Message::Nicira(NiciraMessage::TlvTableRequest);
            return ask(&switch, request, asked, output, &|_| true).await;
        }
        Read::DumpIpfixBridge { .. } => MultipartRequest::IpfixBridge,
        Read::DumpIpfixFlow { .. } => MultipartRequest::IpfixFlow,
    };
    // OpenFlow 1.3 describes all groups at once; one is picked out here.
    let wanted = |id: GroupId| group == GroupId::ALL || id == group;
    ask(&switch, Message::MultipartRequest(request), asked, output, &wanted).await
}

async fn ask(
    switch: &Switch,
    request: Message,
    asked: &Asked,
    output: &mut Output,
    wanted: &dyn Fn(GroupId) -> bool,
) -> Result<Outcome, CliError> {
    let answer = progress::wait("waiting for the switch", switch.connection.transact(request)).await;
    let mut answer = answer.map_err(|error| switch.failed(error))?;
    if let Message::MultipartReply(MultipartReply { body: MultipartBody::GroupDescription(groups), .. }) =
        &mut answer
    {
        groups.retain(|one| wanted(one.group));
    }
    if asked.json {
        items(&answer).into_iter().try_for_each(|item| output.line(item))?;
        return Ok(Outcome::Done);
    }
    // The first line names the message, which the reader has just asked for.
    let text = print::lines(Xid(0), &answer);
    if let Some((_, items)) = text.split_once('\n').filter(|(_, items)| !items.is_empty()) {
        output.line(items.trim_end_matches('\n'))?;
    }
    Ok(Outcome::Done)
}

/// The answer's items, an object each.
fn items(answer: &Message) -> Vec<Value> {
    match answer {
        Message::QueueGetConfigReply { queues, .. } => queues.iter().map(stats::queue_config).collect(),
        Message::Nicira(NiciraMessage::TlvTableReply(table)) => {
            table.maps.iter().map(stats::tlv_map).collect()
        }
        Message::MultipartReply(reply) => match &reply.body {
            MultipartBody::TableFeatures(tables) => tables.iter().map(stats::table_features).collect(),
            MultipartBody::PortStats(ports) => ports.iter().map(stats::port_stats).collect(),
            MultipartBody::Queue(queues) => queues.iter().map(stats::queue_stats).collect(),
            MultipartBody::GroupDescription(groups) => groups.iter().map(stats::group).collect(),
            MultipartBody::GroupStats(groups) => groups.iter().map(stats::group_stats).collect(),
            MultipartBody::GroupFeatures(features) => vec![stats::group_features(features)],
            MultipartBody::MeterConfig(meters) => {
                meters.iter().map(|meter| stats::meter(meter.meter, meter.flags, &meter.bands)).collect()
            }
            MultipartBody::MeterStats(meters) => meters.iter().map(stats::meter_stats).collect(),
            MultipartBody::IpfixBridge(exporter) => vec![stats::ipfix(exporter)],
            MultipartBody::IpfixFlow(exporters) => exporters.iter().map(stats::ipfix).collect(),
            MultipartBody::MeterFeatures(features) => vec![stats::meter_features(features)],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
