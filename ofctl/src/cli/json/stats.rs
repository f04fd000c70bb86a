//! What dumps of groups, meters, ports, queues and tables hold, to JSON: an object an item.

use ofctl::wire::*;
use serde_json::{Value, json};

use super::super::group;
use super::super::print::hex;
use super::write::{bucket, duration, port_number};

pub(crate) fn counters(counters: Counters) -> Value {
    json!({"packets": counters.packets, "bytes": counters.bytes})
}

pub(crate) fn port_stats(stats: &PortStats) -> Value {
    json!({
        "port": port_number(stats.port),
        "rx_packets": stats.rx_packets, "tx_packets": stats.tx_packets,
        "rx_bytes": stats.rx_bytes, "tx_bytes": stats.tx_bytes,
        "rx_dropped": stats.rx_dropped, "tx_dropped": stats.tx_dropped,
        "rx_errors": stats.rx_errors, "tx_errors": stats.tx_errors,
        "rx_frame_err": stats.rx_frame_err, "rx_over_err": stats.rx_over_err, "rx_crc_err": stats.rx_crc_err,
        "collisions": stats.collisions,
        "duration": stats.duration.map(duration),
    })
}

pub(crate) fn queue_stats(stats: &QueueStats) -> Value {
    json!({
        "port": port_number(stats.port), "queue": stats.queue.0,
        "tx_packets": stats.tx_packets, "tx_bytes": stats.tx_bytes, "tx_errors": stats.tx_errors,
        "duration": stats.duration.map(duration),
    })
}

pub(crate) fn queue_config(queue: &QueueConfig) -> Value {
    json!({
        "port": port_number(queue.port), "queue": queue.queue.0,
        "min_rate": queue.min_rate, "max_rate": queue.max_rate,
    })
}

pub(crate) fn group(group: &GroupDescription) -> Value {
    json!({
        "group_id": group.group.0,
        "group_type": group::type_name(group.kind),
        "buckets": group.buckets.iter().map(bucket).collect::<Vec<_>>(),
    })
}

pub(crate) fn group_stats(stats: &GroupStats) -> Value {
    json!({
        "group_id": stats.group.0,
        "references": stats.references,
        "packets": stats.counters.packets, "bytes": stats.counters.bytes,
        "duration": duration(stats.duration),
        "buckets": stats.buckets.iter().copied().map(counters).collect::<Vec<_>>(),
    })
}

pub(crate) fn group_features(features: &GroupFeatures) -> Value {
    let types = [GroupType::All, GroupType::Select, GroupType::Indirect, GroupType::FastFailover];
    let each = types.iter().enumerate().filter(|(place, _)| features.types & 1 << place != 0);
    let each = each.map(|(place, kind)| {
        json!({
            "group_type": group::type_name(*kind),
            "max_groups": features.max_groups[place],
            "actions": features.actions[place],
        })
    });
    json!({"capabilities": features.capabilities, "types": each.collect::<Vec<_>>()})
}

pub(super) const METER_FLAGS: [(MeterFlags, &str); 4] = [
    (MeterFlags::KBPS, "kbps"),
    (MeterFlags::PKTPS, "pktps"),
    (MeterFlags::BURST, "burst"),
    (MeterFlags::STATS, "stats"),
];

/// True if JSON can carry these flags.
pub(super) fn all_flags_named(flags: MeterFlags) -> bool {
    METER_FLAGS.iter().fold(flags.0, |rest, (flag, _)| rest & !flag.0) == 0
}

fn band(band: &MeterBand) -> Value {
    let mut out = json!({
        "type": match band.kind { BandKind::Drop => "drop", BandKind::DscpRemark { .. } => "dscp_remark" },
        "rate": band.rate,
        "burst_size": band.burst_size,
    });
    if let BandKind::DscpRemark { levels } = band.kind {
        out["prec_level"] = json!(levels);
    }
    out
}

/// A meter's number, or the name of a reserved one.
fn meter_number(meter: MeterId) -> Value {
    if meter == MeterId::ALL { json!("all") } else { json!(meter.0) }
}

pub(crate) fn meter(meter: MeterId, flags: MeterFlags, bands: &[MeterBand]) -> Value {
    let names: Vec<&str> =
        METER_FLAGS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
    json!({"meter": meter_number(meter), "flags": names, "bands": bands.iter().map(band).collect::<Vec<_>>()})
}

pub(crate) fn meter_stats(stats: &MeterStats) -> Value {
    json!({
        "meter": meter_number(stats.meter),
        "flows": stats.flows,
        "packets_in": stats.input.packets, "bytes_in": stats.input.bytes,
        "duration": duration(stats.duration),
        "bands": stats.bands.iter().copied().map(counters).collect::<Vec<_>>(),
    })
}

pub(crate) fn meter_features(features: &MeterFeatures) -> Value {
    json!({
        "max_meter": features.max_meters,
        "band_types": features.band_types,
        "capabilities": features.capabilities,
        "max_bands": features.max_bands,
        "max_color": features.max_color,
    })
}

pub(crate) fn tlv_map(map: &TlvMap) -> Value {
    json!({"class": map.class, "type": map.kind, "length": map.length, "field": format!("tun_metadata{}", map.index)})
}

pub(crate) fn ipfix(stats: &IpfixStats) -> Value {
    json!({
        "collector_set_id": stats.collector_set,
        "flows": stats.total_flows, "current_flows": stats.current_flows,
        "sampled_packets": stats.packets,
        "ipv4_packets": stats.ipv4_packets, "ipv6_packets": stats.ipv6_packets,
        "errors": stats.error_packets,
        "ipv4_errors": stats.ipv4_error_packets, "ipv6_errors": stats.ipv6_error_packets,
        "tx_packets": stats.tx_packets, "tx_errors": stats.tx_errors,
    })
}

/// A field by the name of its header, or the header itself.
fn field(id: &FieldId) -> Value {
    match (id.field(), id.experimenter) {
        (Some(field), _) => json!(field.spec().oxm.name),
        (None, None) => json!(format!("{:#010x}", id.header)),
        (None, Some(experimenter)) => json!(format!("{:#010x}/{experimenter:#x}", id.header)),
    }
}

fn fields(list: &[FieldId]) -> Value {
    list.iter().map(field).collect()
}

/// The lists of a table's entries; those of table-miss entries have names that end in `_miss`.
fn table_property(property: &TableProperty) -> (String, Value) {
    let named = |name: &str, miss: bool| format!("{name}{}", if miss { "_miss" } else { "" });
    let at = |when: When| match when {
        When::Write => "write",
        When::Apply => "apply",
    };
    match property {
        TableProperty::Instructions { miss, list } => {
            (named("instructions", *miss), list.iter().map(|id| json!(id.0)).collect())
        }
        TableProperty::NextTables { miss, list } => {
            (named("next_tables", *miss), list.iter().map(|table| json!(table.0)).collect())
        }
        TableProperty::Actions { when, miss, list } => (
            named(&format!("{}_actions", at(*when)), *miss),
            list.iter()
                .map(|id| {
                    if id.body.is_empty() {
                        json!(id.kind)
                    } else {
                        json!({"type": id.kind, "body": hex(&id.body)})
                    }
                })
                .collect(),
        ),
        TableProperty::SetField { when, miss, list } => {
            (named(&format!("{}_set_field", at(*when)), *miss), fields(list))
        }
        TableProperty::Match(list) => {
            let one = |id: &FieldId| json!({"field": field(id), "maskable": id.has_mask()});
            ("match".to_owned(), list.iter().map(one).collect())
        }
        TableProperty::Wildcards(list) => ("wildcards".to_owned(), fields(list)),
        TableProperty::Unknown { kind, body } => (format!("property_{kind}"), json!(hex(body))),
    }
}

pub(crate) fn table_features(table: &TableFeatures) -> Value {
    let mut out = json!({
        "table": table.table.0,
        "name": table.name,
        "metadata_match": format!("{:#x}", table.metadata_match),
        "metadata_write": format!("{:#x}", table.metadata_write),
        "config": table.config,
        "max_entries": table.max_entries,
    });
    for (name, list) in table.properties.iter().map(table_property) {
        out[name] = list;
    }
    out
}
