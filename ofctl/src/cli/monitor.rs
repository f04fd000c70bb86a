//! `monitor` and `snoop`: what a switch says by itself, and what it says to others.

use std::time::SystemTime;

use ofctl::client::Target;
use ofctl::client::openflow::{CloseReason, Notification};
use ofctl::wire::{
    ErrorMessage, FlowMonitor, Message, MonitorFlags, MonitorId, MultipartReply, MultipartRequest,
    NiciraMessage, PacketInFormat, SwitchConfig, Xid,
};

use super::args::{Connect, Watching};
use super::error::{CliError, Place, SyntaxError};
use super::output::Output;
use super::raw::Peer;
use super::switch::{Switch, target};
use super::{Outcome, json, print, syntax};

fn show(message: &Message, xid: Xid, how: Watching, output: &mut Output) -> Result<(), CliError> {
    if how.timestamp && !how.json {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        output.text(format_args!("{} ", utc(now.as_secs(), now.subsec_millis())))?;
    }
    if how.json {
        output.line(json::message(xid, message))?;
    } else {
        output.line(print::lines(xid, message))?;
    }
    output.flush()
}

/// A time as ovs-ofctl writes it: the day by the Gregorian calendar, and the time of day.
fn utc(seconds: u64, millis: u32) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March, so that a leap day is the last of its year; 400 of them repeat.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}:")
}

/// What to be told of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    miss_len: Option<u16>,
    monitors: Vec<FlowMonitor>,
}

/// Parts of a `watch:` that take something away.
const LEFT_OUT: [(&str, MonitorFlags); 6] = [
    ("!initial", MonitorFlags::INITIAL),
    ("!add", MonitorFlags::ADD),
    ("!delete", MonitorFlags::DELETE),
    ("!modify", MonitorFlags::MODIFY),
    ("!actions", MonitorFlags::ACTIONS),
    ("!own", MonitorFlags::OWN),
];

/// What follows `watch:`, as ovs-ofctl(8) has it.
fn flow_monitor(id: MonitorId, text: &str) -> Result<FlowMonitor, SyntaxError> {
    let mut monitor = FlowMonitor::new(id);
    let mut rest = text.to_owned();
    let mut start = 0;
    for (place, character) in text.char_indices().chain([(text.len(), ',')]) {
        if character != ',' && !character.is_whitespace() {
            continue;
        }
        let word = &text[start..place];
        if let Some((_, flag)) = LEFT_OUT.iter().find(|(name, _)| *name == word) {
            monitor.flags = MonitorFlags(monitor.flags.0 & !flag.0);
            rest.replace_range(start..place, &" ".repeat(word.len()));
        } else if word.starts_with('!') {
            let known: Vec<&str> = LEFT_OUT.iter().map(|(name, _)| *name).collect();
            let problem = format!("'{word}' cannot be left out; {} can", known.join(", "));
            return Err(SyntaxError::new(start, problem));
        }
        start = place + character.len_utf8();
    }
    if let Some(place) = rest.find("out_group=").or_else(|| rest.find("cookie=")) {
        // ovs-ofctl leaves an out_group out without a word.
        return Err(SyntaxError::new(
            place,
            "a flow monitor of OpenFlow 1.3 picks by neither out_group nor cookie",
        ));
    }
    let changes = MonitorFlags::ADD.0 | MonitorFlags::DELETE.0 | MonitorFlags::MODIFY.0;
    if monitor.flags.0 & changes == 0 {
        return Err(SyntaxError::new(
            0,
            "of !add, !delete and !modify one must be left: a switch refuses the rest",
        ));
    }
    let request = syntax::flow_stats_request(&rest)?;
    (monitor.table, monitor.out_port) = (request.table, request.out_port);
    monitor.matching = request.matching;
    Ok(monitor)
}

/// A number asks for packets, a `watch:` for changes of flows.
fn wanted(texts: &[String]) -> Result<Wanted, CliError> {
    let mut wanted = Wanted::default();
    for text in texts {
        if let Some(flows) = text.strip_prefix("watch:") {
            // ovs-ofctl gives each the next number, too.
            let id = MonitorId(wanted.monitors.len() as u32);
            let monitor = flow_monitor(id, flows).map_err(|source| CliError::Syntax {
                place: Place::Argument("what to watch"),
                text: text.clone(),
                source: source.shifted("watch:".len()),
            })?;
            wanted.monitors.push(monitor);
            continue;
        }
        if text == "invalid_ttl" {
            return Err(CliError::Usage(
                "OpenFlow 1.3 has no setting invalid_ttl (it ended with 1.2): ask by set-async                  packet_in=0x7 for packets whose TTL ran out"
                    .to_owned(),
            ));
        }
        wanted.miss_len = Some(text.parse().map_err(|_| {
            CliError::Usage(format!("'{text}' is not a length of packets to be sent, 0 to 65535"))
        })?);
    }
    Ok(wanted)
}

/// Prints until the switch ends the connection, which is a failure, or the process is stopped.
pub(crate) async fn run(
    connect: &Connect,
    name: &str,
    texts: &[String],
    format: PacketInFormat,
    how: Watching,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let wanted = wanted(texts)?;
    let mut peer = Peer::connect(connect, name).await?;
    if let Some(miss_send_len) = wanted.miss_len {
        // Fragments stay as they are; packets come once their length is not zero.
        let Message::GetConfigReply(config) = peer.request(&Message::GetConfigRequest).await? else {
            return Err(CliError::Closed {
                target: name.to_owned(),
                reason: "it answered the request for its configuration with another message".to_owned(),
            });
        };
        peer.carry_out(&Message::SetConfig(SwitchConfig { miss_send_len, ..config })).await?;
    }
    for monitor in wanted.monitors {
        // What is there already is the answer.
        let request = Message::MultipartRequest(MultipartRequest::FlowMonitor(vec![monitor]));
        let mut more = true;
        let xid = peer.send(&request).await?;
        while more {
            let part = peer.answer(xid, &request).await?;
            more = matches!(&part, Message::MultipartReply(MultipartReply { more: true, .. }));
            show(&part, xid, how, output)?;
        }
    }
    peer.carry_out(&Message::Nicira(NiciraMessage::SetPacketInFormat(format))).await?;
    follow(&mut peer, how, output).await
}

/// Prints what a bridge and its controllers say to each other.
pub(crate) async fn snoop(
    connect: &Connect,
    name: &str,
    how: Watching,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let target = match target(connect, name)? {
        Target::Unix(path) if !name.contains(':') => Target::Unix(path.with_extension("snoop")),
        target => target,
    };
    let mut peer = Peer::connect_to(connect, name, target).await.map_err(|error| match error {
        // ovs-vswitchd takes the connection, and drops it if there is nobody to listen to.
        CliError::Stream { .. } | CliError::Closed { .. } => CliError::Closed {
            target: name.to_owned(),
            reason: "it hung up: a bridge that has no controller has nothing to be heard".to_owned(),
        },
        error => error,
    })?;
    peer.wait_for_ever();
    loop {
        // Echo requests are the controller's and the bridge's own, and not for us to answer.
        let (xid, message) = peer.next_message().await?;
        show(&message, xid, how, output)?;
    }
}

async fn follow(peer: &mut Peer, how: Watching, output: &mut Output) -> Result<Outcome, CliError> {
    peer.wait_for_ever();
    loop {
        let (xid, message) = peer.next_event().await?;
        show(&message, xid, how, output)?;
    }
}

/// Prints what comes to a session until the switch ends the connection.
pub(crate) async fn listen(
    switch: &mut Switch,
    how: Watching,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    loop {
        let message = match switch.events.next().await {
            Some(Notification::PacketIn(packet)) => Message::PacketIn(*packet),
            Some(Notification::PortStatus(status)) => Message::PortStatus(*status),
            Some(Notification::FlowRemoved(removed)) => Message::FlowRemoved(*removed),
            Some(Notification::Error(error)) => Message::Error(ErrorMessage { error, data: Vec::new() }),
            Some(Notification::Closed(reason)) => return Err(closed(&switch.name, &reason)),
            None => return Err(closed(&switch.name, &CloseReason::Peer)),
        };
        show(&message, Xid(0), how, output)?;
    }
}

pub(crate) fn closed(name: &str, reason: &CloseReason) -> CliError {
    CliError::Closed { target: name.to_owned(), reason: format!("the connection has ended: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_watch_is_read() {
        let read = |text: &str| flow_monitor(MonitorId(3), text);
        assert_eq!(read(""), Ok(FlowMonitor::new(MonitorId(3))));
        let monitor = read("!initial,table=3,out_port=4 !own tcp").expect("a monitor");
        assert_eq!((monitor.flags, monitor.table.0, monitor.out_port.0), (MonitorFlags(0x1e), 3, 4));
        assert_eq!(monitor.matching.to_string(), "tcp");
        for (text, column) in [
            ("!some", 1),
            ("tcp,!some", 5),
            ("table=3,out_group=5", 9),
            ("!add,!delete,!modify", 1),
            ("tcp,nw_dst=x", 12),
        ] {
            assert_eq!(read(text).map_err(|error| error.column), Err(column), "{text}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        // As `date -u -d @N` writes them.
        assert_eq!(utc(0, 7), "1970-01-01 00:00:00.007:");
        assert_eq!(utc(951_782_400, 0), "2000-02-29 00:00:00.000:");
        assert_eq!(utc(1_709_251_199, 0), "2024-02-29 23:59:59.000:");
        assert_eq!(utc(4_107_542_400, 0), "2100-03-01 00:00:00.000:");
    }
}
