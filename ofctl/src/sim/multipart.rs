//! What the switch says about itself when asked, OpenFlow 1.3.5 §7.3.5.

use super::check::Refusal;
use super::flows::Criteria;
use super::meters::{MAX_BANDS, MAX_METERS};
use super::switch::{N_TABLES, Switch};
use crate::wire::{
    AggregateStats, FlowStatsRequest, GroupDescription, GroupFeatures, GroupId, GroupStats, Message,
    MeterConfig, MeterFeatures, MeterId, MeterStats, MultipartBody, MultipartReply, MultipartRequest, OfPort,
    PortStats, SwitchDescription, TableId, TableStats,
};

/// Entries of one reply at most, so that no reply outgrows a message.
const ENTRIES: usize = 64;

impl Switch {
    pub(super) fn multipart(&self, request: &MultipartRequest) -> Result<Vec<Message>, Refusal> {
        Ok(match request {
            MultipartRequest::Description => one(MultipartBody::Description(Box::new(SwitchDescription {
                manufacturer: "sluice".to_owned(),
                hardware: "simulator".to_owned(),
                software: env!("CARGO_PKG_VERSION").to_owned(),
                serial: "None".to_owned(),
                datapath: "None".to_owned(),
            }))),
            MultipartRequest::Flow(request) => parts(self.selected_flows(request)?, MultipartBody::Flow),
            MultipartRequest::Aggregate(request) => {
                let flows = self.selected_flows(request)?;
                one(MultipartBody::Aggregate(AggregateStats {
                    packets: flows.iter().map(|flow| flow.packets).sum(),
                    bytes: flows.iter().map(|flow| flow.bytes).sum(),
                    flows: flows.len() as u32,
                }))
            }
            MultipartRequest::Table => {
                let stats = |table: u8| {
                    let table = TableId(table);
                    let counters = self.tables.counters(table);
                    TableStats {
                        table,
                        active: self.tables.len(table) as u32,
                        lookups: counters.lookups,
                        matched: counters.matched,
                    }
                };
                parts((0..N_TABLES).map(stats).collect(), MultipartBody::Table)
            }
            MultipartRequest::PortDescription => {
                let ports = self.ports.values().map(|port| port.description.clone());
                parts(ports.collect(), MultipartBody::PortDescription)
            }
            MultipartRequest::PortStats(wanted) => {
                if *wanted != OfPort::ANY && !self.ports.contains_key(wanted) {
                    return Err(Refusal::Named("OFPBRC_BAD_PORT"));
                }
                let ports = self.ports.iter().filter(|(id, _)| *wanted == OfPort::ANY || *id == wanted);
                let stats = ports.map(|(_, port)| PortStats {
                    duration: Some(self.now.saturating_sub(port.created)),
                    ..port.stats
                });
                parts(stats.collect(), MultipartBody::PortStats)
            }
            MultipartRequest::Queue(port, _) => {
                if *port != OfPort::ANY && !self.ports.contains_key(port) {
                    return Err(Refusal::Named("OFPQOFC_BAD_PORT"));
                }
                one(MultipartBody::Queue(Vec::new()))
            }
            MultipartRequest::GroupStats(wanted) => {
                parts(self.group_stats(*wanted), MultipartBody::GroupStats)
            }
            MultipartRequest::GroupDescription => {
                let groups = self.groups.iter().map(|(id, group)| GroupDescription {
                    kind: group.kind,
                    group: *id,
                    buckets: group.buckets.clone(),
                });
                parts(groups.collect(), MultipartBody::GroupDescription)
            }
            MultipartRequest::GroupFeatures => one(MultipartBody::GroupFeatures(GroupFeatures {
                types: 0xf,
                // Weights, liveness and chaining, as Open vSwitch says.
                capabilities: 0x7,
                max_groups: [0xffff_ff00; 4],
                // Output, the pushes and pops, TTLs, queues, groups and set-field.
                actions: [0x0fff_9801; 4],
            })),
            MultipartRequest::MeterStats(wanted) => {
                parts(self.meter_stats(*wanted)?, MultipartBody::MeterStats)
            }
            MultipartRequest::MeterConfig(wanted) => {
                let meters = self.selected_meters(*wanted)?.into_iter().map(|meter| MeterConfig {
                    flags: self.meters[&meter].flags,
                    meter,
                    bands: self.meters[&meter].bands.clone(),
                });
                parts(meters.collect(), MultipartBody::MeterConfig)
            }
            MultipartRequest::MeterFeatures => one(MultipartBody::MeterFeatures(MeterFeatures {
                max_meters: MAX_METERS,
                // Band type 1 is drop.
                band_types: 1 << 1,
                capabilities: 0xf,
                max_bands: MAX_BANDS as u8,
                max_color: 0,
            })),
            MultipartRequest::FlowMonitor(_)
            | MultipartRequest::IpfixBridge
            | MultipartRequest::IpfixFlow
            | MultipartRequest::Experimenter { .. } => {
                return Err(Refusal::Named("OFPBRC_BAD_EXPERIMENTER"));
            }
            MultipartRequest::TableFeatures(_) | MultipartRequest::Unknown { .. } => {
                return Err(Refusal::Named("OFPBRC_BAD_STAT"));
            }
        })
    }

    fn selected_flows(&self, request: &FlowStatsRequest) -> Result<Vec<crate::flow::FlowStats>, Refusal> {
        if request.table != TableId::ALL && request.table.0 >= N_TABLES {
            return Err(Refusal::NoSuchTable(request.table));
        }
        Ok(self.tables.stats(&Criteria::of_request(request), self.now))
    }

    fn group_stats(&self, wanted: GroupId) -> Vec<GroupStats> {
        let all = matches!(wanted, GroupId::ALL | GroupId::ANY);
        let groups = self.groups.iter().filter(|(id, _)| all || **id == wanted);
        groups
            .map(|(id, group)| GroupStats {
                group: *id,
                references: self
                    .tables
                    .rules()
                    .filter(|rule| super::flows::uses_group(&rule.entry, *id))
                    .count() as u32,
                counters: group.counters,
                duration: self.now.saturating_sub(group.created),
                buckets: group.bucket_counters.clone(),
            })
            .collect()
    }

    fn selected_meters(&self, wanted: MeterId) -> Result<Vec<MeterId>, Refusal> {
        match wanted {
            MeterId::ALL => Ok(self.meters.keys().copied().collect()),
            one if self.meters.contains_key(&one) => Ok(vec![one]),
            unknown => Err(Refusal::UnknownMeter(unknown)),
        }
    }

    fn meter_stats(&self, wanted: MeterId) -> Result<Vec<MeterStats>, Refusal> {
        let stats = |id: MeterId| {
            let meter = &self.meters[&id];
            MeterStats {
                meter: id,
                flows: self.tables.rules().filter(|rule| rule.entry.instructions.meter == Some(id.0)).count()
                    as u32,
                input: meter.input,
                duration: self.now.saturating_sub(meter.created),
                bands: meter.band_counters(),
            }
        };
        Ok(self.selected_meters(wanted)?.into_iter().map(stats).collect())
    }
}

fn one(body: MultipartBody) -> Vec<Message> {
    vec![Message::MultipartReply(MultipartReply { more: false, body })]
}

/// As many replies as the entries need; one without entries if there are none.
fn parts<T: Clone>(entries: Vec<T>, body: impl Fn(Vec<T>) -> MultipartBody) -> Vec<Message> {
    if entries.len() <= ENTRIES {
        return one(body(entries));
    }
    let count = entries.len().div_ceil(ENTRIES);
    let replies = entries.chunks(ENTRIES).enumerate().map(|(i, part)| {
        Message::MultipartReply(MultipartReply { more: i + 1 < count, body: body(part.to_vec()) })
    });
    replies.collect()
}
