//! `watch`: flows as they come, go, change and count.
//!
//! The flows are looked at again and again, so that counters are seen too; a flow monitor (`monitor watch:`)
//! tells of changes at once, and not of counters.

use std::collections::HashMap;
use std::time::Duration;

use ofctl::flow::{FlowEntry, FlowKey, FlowStats};
use serde_json::json;

use super::args::Connect;
use super::error::CliError;
use super::flows::{difference_line, read_request};
use super::output::{Kind, Output};
use super::switch::Switch;
use super::{Outcome, json};

/// What became of a flow between two looks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change<'a> {
    Came(&'a FlowStats),
    Went(&'a FlowStats),
    /// Other actions, cookie, timeouts or flags.
    Changed(&'a FlowStats, &'a FlowStats),
    /// Packets and bytes since the last look.
    Counted(&'a FlowStats, u64, u64),
}

/// Flows that differ, by table and by priority, the highest first.
fn changes<'a>(
    before: &'a HashMap<FlowKey, FlowStats>,
    after: &'a HashMap<FlowKey, FlowStats>,
) -> Vec<Change<'a>> {
    let mut all: Vec<(&FlowEntry, Change<'_>)> = Vec::new();
    for (key, now) in after {
        match before.get(key) {
            None => all.push((&now.entry, Change::Came(now))),
            Some(was) if was.entry != now.entry => all.push((&now.entry, Change::Changed(was, now))),
            // Counters that are less than they were belong to a flow that went and came again.
            Some(was) if now.packets < was.packets || now.duration < was.duration => {
                all.push((&was.entry, Change::Went(was)));
                all.push((&now.entry, Change::Came(now)));
            }
            Some(was) if now.packets > was.packets => {
                let (packets, bytes) = (now.packets - was.packets, now.bytes.saturating_sub(was.bytes));
                all.push((&now.entry, Change::Counted(now, packets, bytes)));
            }
            Some(_) => {}
        }
    }
    for (key, was) in before {
        if !after.contains_key(key) {
            all.push((&was.entry, Change::Went(was)));
        }
    }
    all.sort_by(|(a, _), (b, _)| {
        let place = |entry: &FlowEntry| (entry.table, std::cmp::Reverse(entry.priority));
        place(a).cmp(&place(b)).then_with(|| a.matching.cmp(&b.matching))
    });
    all.into_iter().map(|(_, change)| change).collect()
}

fn print(change: &Change<'_>, as_json: bool, output: &mut Output) -> Result<(), CliError> {
    if as_json {
        return output.line(match change {
            Change::Came(now) => json!({"event": "added", "flow": json::flow(now, true)}),
            Change::Went(was) => json!({"event": "deleted", "flow": json::flow(was, true)}),
            Change::Changed(was, now) => {
                json!({"event": "modified", "was": json::flow(was, true), "flow": json::flow(now, true)})
            }
            Change::Counted(now, packets, bytes) => json!({
                "event": "counted", "new_packets": packets, "new_bytes": bytes, "flow": json::flow(now, true),
            }),
        });
    }
    match change {
        Change::Came(now) => output.coloured(Kind::Added, difference_line('+', &now.entry)),
        Change::Went(was) => output.coloured(Kind::Removed, difference_line('-', &was.entry)),
        Change::Changed(was, now) => {
            output.coloured(Kind::Removed, difference_line('-', &was.entry))?;
            output.coloured(Kind::Added, difference_line('+', &now.entry))
        }
        Change::Counted(now, packets, bytes) => output
            .line(format_args!("{} n_packets+={packets} n_bytes+={bytes}", difference_line(' ', &now.entry))),
    }
}

/// How the looks are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    pub(crate) interval: f64,
    pub(crate) count: Option<u64>,
    pub(crate) counters: bool,
    pub(crate) json: bool,
}

pub(crate) async fn run(
    connect: &Connect,
    name: &str,
    flow: Option<&str>,
    looks: Looks,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let interval = Duration::try_from_secs_f64(looks.interval)
        .ok()
        .filter(|interval| !interval.is_zero())
        .ok_or_else(|| CliError::Usage(format!("an interval of {} seconds cannot be", looks.interval)))?;
    let switch = Switch::connect(connect, name).await?;
    let request = read_request(&switch, flow).await?;
    let look = async || -> Result<HashMap<FlowKey, FlowStats>, CliError> {
        let flows = switch.connection.dump_flows(request.clone()).await;
        let flows = flows.map_err(|error| switch.failed(error))?;
        Ok(flows.into_iter().map(|stats| (stats.entry.key(), stats)).collect())
    };
    let mut before = look().await?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut left = looks.count;
    while left != Some(0) {
        left = left.map(|left| left - 1);
        ticks.tick().await;
        let after = look().await?;
        for change in changes(&before, &after) {
            if looks.counters || !matches!(change, Change::Counted(..)) {
                print(&change, looks.json, output)?;
            }
        }
        output.flush()?;
        before = after;
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn look(flows: &[(&str, u64, u64)]) -> HashMap<FlowKey, FlowStats> {
        let stats = |&(text, packets, seconds): &(&str, u64, u64)| {
            let entry: FlowEntry = text.parse().unwrap();
            let duration = Duration::from_secs(seconds);
            (entry.key(), FlowStats { entry, duration, packets, bytes: packets * 60 })
        };
        flows.iter().map(stats).collect()
    }

    #[test]
    fn each_way_to_change_is_told() {
        let before = look(&[
            ("table=1,priority=9,ip,actions=drop", 1, 5),
            ("table=1,priority=8,ip,actions=drop", 1, 5),
            ("table=2,priority=8,ip,actions=drop", 7, 5),
            ("table=2,priority=7,ip,actions=drop", 7, 5),
            ("table=3,ip,actions=drop", 0, 5),
        ]);
        let after = look(&[
            ("table=0,ip,actions=drop", 0, 0),
            ("table=1,priority=9,ip,actions=output:1", 2, 6),
            ("table=1,priority=8,ip,actions=drop", 4, 6),
            ("table=2,priority=8,ip,actions=drop", 0, 1),
            ("table=2,priority=7,ip,actions=drop", 7, 6),
        ]);
        let told: Vec<String> = changes(&before, &after)
            .iter()
            .map(|change| match change {
                Change::Came(now) => format!("+{}", now.entry.table),
                Change::Went(was) => format!("-{}", was.entry.table),
                Change::Changed(_, now) => format!("~{}", now.entry.table),
                Change::Counted(now, packets, bytes) => format!("{}:{packets}/{bytes}", now.entry.table),
            })
            .collect();
        assert_eq!(told, ["+0", "~1", "1:3/180", "-2", "+2", "-3"]);
        assert!(changes(&after, &after).is_empty());
    }
}
