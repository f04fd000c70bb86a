//! Commands on flows.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use ofctl::flow::{FlowEntry, FlowFlags, FlowStats};
use ofctl::table::difference;
use ofctl::wire::{
    Field, FlowMod, FlowModCommand, FlowStatsRequest, Message, MultipartBody, MultipartReply,
    MultipartRequest, TableId,
};

use super::args::{Connect, Dry, Write};
use super::error::{CliError, Place, SyntaxError};
use super::names::Shown;
use super::output::{Kind, Output};
use super::progress::{Progress, wait};
use super::switch::{Names, Switch, TextReader, is_file, print_messages};
use super::{Outcome, groups, json, packet, print, syntax};

/// Texts, and where each came from.
pub(crate) struct Texts(pub(crate) Vec<(Place, String)>);

/// All of a file, or of standard input.
pub(crate) fn read_all(file: &Path) -> Result<(String, String), CliError> {
    let mut text = String::new();
    let failed = |source| CliError::Read { path: file.to_owned(), source };
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
        return Ok(("standard input".to_owned(), text));
    }
    Ok((file.display().to_string(), std::fs::read_to_string(file).map_err(failed)?))
}

impl Texts {
    /// An argument, or the lines of standard input if it is `-`.
    pub(crate) fn of(argument: String, what: &'static str) -> Result<Texts, CliError> {
        if argument == "-" {
            return Texts::read(Path::new("-"));
        }
        Ok(Texts(vec![(Place::Argument(what), argument)]))
    }

    /// The lines of a file.
    pub(crate) fn read(file: &Path) -> Result<Texts, CliError> {
        let (file, text) = read_all(file)?;
        let file: Arc<str> = file.into();
        let place = |line| Place::Line { file: Arc::clone(&file), line };
        Ok(Texts(syntax::lines(&text).map(|(line, text)| (place(line), text.to_owned())).collect()))
    }
}

/// What a flow without a command word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Modify { strict: bool },
    Delete { strict: bool },
}

impl Verb {
    fn read(self, text: &str) -> Result<FlowMod, SyntaxError> {
        match self {
            Verb::Add => syntax::flow_mod(text, FlowModCommand::Add),
            Verb::Modify { strict: false } => syntax::flow_mod(text, FlowModCommand::Modify),
            Verb::Modify { strict: true } => syntax::flow_mod(text, FlowModCommand::ModifyStrict),
            Verb::Delete { strict: false } => syntax::flow_mod(text, FlowModCommand::Delete),
            Verb::Delete { strict: true } => syntax::flow_mod(text, FlowModCommand::DeleteStrict),
        }
    }
}

/// The switch, unless nothing is to be sent and it need not be there.
async fn switch_unless_dry(connect: &Connect, name: &str, dry: Dry) -> Result<Option<Switch>, CliError> {
    if dry.dry_run { Ok(None) } else { Switch::connect(connect, name).await.map(Some) }
}

/// Texts for which a thread is worth its while.
const WORTH_A_THREAD: usize = 2000;

/// Reads each text by itself, on as many processors as it is worth: until all is read, the switch has nothing to do.
fn read_each<T: Send>(
    texts: &[(Place, String)],
    parse: &(impl Fn(&str) -> Result<T, SyntaxError> + Sync),
) -> Vec<Result<T, SyntaxError>> {
    let read = |texts: &[(Place, String)]| texts.iter().map(|(_, text)| parse(text)).collect::<Vec<_>>();
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads = processors.min(texts.len() / WORTH_A_THREAD).max(1);
    let mut parts = texts.chunks(texts.len().div_ceil(threads).max(1));
    let first = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || read(part))).collect();
        let mut progress = Progress::new();
        let mut all = Vec::with_capacity(texts.len());
        for (_, text) in first {
            progress.at("read", all.len() * threads, texts.len());
            all.push(parse(text));
        }
        for other in others {
            // A parser that panics does so here, too.
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

/// Reads the texts, and carries them out or prints them.
pub(crate) async fn carry_out(
    connect: &Connect,
    name: &str,
    texts: Texts,
    write: Write,
    output: &mut Output,
    parse: impl Fn(&str) -> Result<Message, SyntaxError> + Sync,
) -> Result<Outcome, CliError> {
    let switch = switch_unless_dry(connect, name, write.dry).await?;
    let names = switch.as_ref().map_or(Names::IfThere(connect, name), Names::Of);
    let mut reader = TextReader::new(names);
    let total = texts.0.len();
    let (mut messages, mut places) = (Vec::with_capacity(total), Vec::with_capacity(total));
    for ((place, text), read) in texts.0.iter().zip(read_each(&texts.0, &parse)) {
        let message = match read {
            Ok(message) => message,
            // A port's name, perhaps: the switch knows.
            Err(_) => reader.read(text, place, &parse).await?,
        };
        messages.push(message);
        places.push(place.clone());
    }
    match switch {
        Some(switch) => {
            let what = format!("sent {total}, waiting for the switch");
            wait(&what, switch.send(messages, write.bundle, &places)).await?;
        }
        None => print_messages(messages, write.bundle, write.dry, output)?,
    }
    Ok(Outcome::Done)
}

/// `add-flow`, `add-flows`, `mod-flows` and `del-flows`.
pub(crate) async fn change(
    connect: &Connect,
    name: &str,
    texts: Texts,
    verb: Verb,
    write: Write,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let parse = |text: &str| verb.read(text).map(Message::FlowMod);
    carry_out(connect, name, texts, write, output, parse).await
}

/// `bundle`: lines of flows, groups and packets as one transaction.
pub(crate) async fn bundle(
    connect: &Connect,
    name: &str,
    file: &Path,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let write = Write { bundle: true, dry };
    carry_out(connect, name, Texts::read(file)?, write, output, bundle_line).await
}

/// A line of a bundle's file: what it is about, and the rest.
pub(crate) fn bundle_line(text: &str) -> Result<Message, SyntaxError> {
    let start = text.len() - text.trim_start().len();
    let word = text[start..].split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default();
    let offset = start + word.len();
    let rest = &text[offset..];
    let shifted = |error: SyntaxError| error.shifted(offset);
    match word {
        "flow" => Verb::Add.read(rest).map(Message::FlowMod).map_err(shifted),
        "group" => groups::Verb::Add.read(rest).map(Message::GroupMod).map_err(shifted),
        "packet-out" => packet::parse(rest).map(Message::PacketOut).map_err(shifted),
        _ => Err(SyntaxError::new(start, format!("'{word}' is not flow, group or packet-out"))),
    }
}

/// In which order flows are printed: fields, and whether the largest comes first.
pub(crate) struct Order(Vec<(Key, bool)>);

#[derive(Debug, Clone, Copy)]
enum Key {
    Priority,
    Table,
    Cookie,
    Field(Field),
}

impl Order {
    pub(crate) fn new(sort: &[String], rsort: &[String]) -> Result<Order, CliError> {
        let key = |name: &str| {
            match name {
            "priority" => Ok(Key::Priority),
            "table" => Ok(Key::Table),
            "cookie" => Ok(Key::Cookie),
            "in_port" => Ok(Key::Field(Field::InPort)),
            _ => Field::from_name(name).or_else(|| Field::from_header_name(name)).map(Key::Field).ok_or_else(|| {
                CliError::Usage(format!(
                    "'{name}' cannot be sorted by: it is neither priority, table, cookie nor a field of ovs-fields(7)"
                ))
            }),
        }
        };
        let all = sort.iter().map(|name| (name, false)).chain(rsort.iter().map(|name| (name, true)));
        Ok(Order(all.map(|(name, reverse)| Ok((key(name)?, reverse))).collect::<Result<_, CliError>>()?))
    }

    fn compare(&self, a: &FlowEntry, b: &FlowEntry) -> Ordering {
        self.0.iter().fold(Ordering::Equal, |so_far, (key, reverse)| {
            so_far.then_with(|| {
                let turn = |order: Ordering| if *reverse { order.reverse() } else { order };
                match key {
                    Key::Priority => turn(a.priority.cmp(&b.priority)),
                    Key::Table => turn(a.table.cmp(&b.table)),
                    Key::Cookie => turn(a.cookie.cmp(&b.cookie)),
                    // Flows without the field come last, whichever way the others go.
                    Key::Field(field) => match (a.matching.get(*field), b.matching.get(*field)) {
                        (Some(a), Some(b)) => turn((a.value, a.mask).cmp(&(b.value, b.mask))),
                        (Some(_), None) => Ordering::Less,
                        (None, Some(_)) => Ordering::Greater,
                        (None, None) => Ordering::Equal,
                    },
                }
            })
        })
    }
}

/// Which flows a text means; all without one.
pub(crate) async fn read_request(switch: &Switch, flow: Option<&str>) -> Result<FlowStatsRequest, CliError> {
    let Some(flow) = flow else { return Ok(FlowStatsRequest::default()) };
    TextReader::new(Names::Of(switch))
        .read(flow, &Place::Argument("the flow"), syntax::flow_stats_request)
        .await
}

pub(crate) async fn dump(
    connect: &Connect,
    name: &str,
    flow: Option<&str>,
    stats: bool,
    order: &Order,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let request = read_request(&switch, flow).await?;
    let flows = wait("waiting for the switch", switch.connection.dump_flows(request)).await;
    let mut flows = flows.map_err(|error| switch.failed(error))?;
    if !order.0.is_empty() {
        flows.sort_by(|a, b| order.compare(&a.entry, &b.entry));
    }
    let names = if connect.show_names && !as_json { Some(Shown::of(&switch).await?) } else { None };
    for flow in &flows {
        match &names {
            _ if as_json => output.line(json::flow(flow, stats))?,
            Some(names) if stats => {
                output.line(format_args!(" {}", names.put(&print::WithStats(flow).to_string())))?;
            }
            Some(names) => output.line(format_args!(" {}", names.put(&flow.entry.to_string())))?,
            None if stats => output.line(format_args!(" {}", print::WithStats(flow)))?,
            None => output.line(format_args!(" {}", flow.entry))?,
        }
    }
    Ok(Outcome::Done)
}

pub(crate) async fn aggregate(
    connect: &Connect,
    name: &str,
    flow: Option<&str>,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let request = Message::MultipartRequest(MultipartRequest::Aggregate(read_request(&switch, flow).await?));
    let reply = switch.connection.transact(request).await.map_err(|error| switch.failed(error))?;
    let Message::MultipartReply(MultipartReply { body: MultipartBody::Aggregate(stats), .. }) = reply else {
        return Err(CliError::WrongAnswer {
            target: name.to_owned(),
            what: "the request for the sum of its flows",
            got: print::one_line(&reply),
        });
    };
    if as_json { output.line(json::aggregate(&stats)) } else { output.line(print::aggregate(&stats)) }?;
    Ok(Outcome::Done)
}

/// Flags that a switch reports; the others count at the moment of adding only.
fn reported(flags: FlowFlags) -> FlowFlags {
    let all = FlowFlags::SEND_FLOW_REM | FlowFlags::NO_PKT_COUNTS | FlowFlags::NO_BYT_COUNTS;
    FlowFlags(flags.0 & all.0)
}

/// The entries of a file, with port names if there is a switch to ask.
async fn read_entries(file: &Path, names: Names<'_>) -> Result<Vec<FlowEntry>, CliError> {
    let mut reader = TextReader::new(names);
    let mut entries = Vec::new();
    for (place, text) in Texts::read(file)?.0 {
        let entry = reader.read(&text, &place, |text| {
            let flow = Verb::Add.read(text)?;
            match flow.command {
                FlowModCommand::Add => Ok(flow.entry()),
                _ => Err(SyntaxError::new(0, "a set of flows has no line that modifies or deletes")),
            }
        });
        let mut entry: FlowEntry = entry.await?;
        entry.flags = reported(entry.flags);
        entries.push(entry);
    }
    Ok(entries)
}

/// What a file says, or a switch holds.
pub(crate) async fn observed(connect: &Connect, source: &str) -> Result<Vec<FlowStats>, CliError> {
    if is_file(source) {
        let entries = read_entries(Path::new(source), Names::Unknown).await?;
        let without_counters =
            |entry| FlowStats { entry, duration: Default::default(), packets: 0, bytes: 0 };
        return Ok(entries.into_iter().map(without_counters).collect());
    }
    let switch = Switch::connect(connect, source).await?;
    let request = FlowStatsRequest::default();
    switch.connection.dump_flows(request).await.map_err(|error| switch.failed(error))
}

/// `replace-flows`.
pub(crate) async fn replace(
    connect: &Connect,
    name: &str,
    file: &Path,
    readd: bool,
    write: Write,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let desired = read_entries(file, Names::Of(&switch)).await?;
    let there = switch.connection.dump_flows(FlowStatsRequest::default()).await;
    let there = there.map_err(|error| switch.failed(error))?;
    let mut change = difference(&desired, &there);
    if readd {
        change.modify.clear();
        change.add = desired;
    }
    let messages: Vec<Message> = change.into_flow_mods().map(Message::FlowMod).collect();
    if write.dry.dry_run {
        print_messages(messages, write.bundle, write.dry, output)?;
    } else {
        switch.send(messages, write.bundle, &[]).await?;
    }
    Ok(Outcome::Done)
}

/// A flow as `ovs-ofctl diff-flows` prints it.
pub(crate) fn difference_line(sign: char, entry: &FlowEntry) -> String {
    let mut line = sign.to_string();
    // Writing to a String cannot fail.
    if entry.table != TableId(0) {
        let _ = write!(line, "table={} ", entry.table);
    }
    let has_priority = entry.priority != ofctl::text::DEFAULT_PRIORITY;
    if has_priority {
        let _ =
            write!(line, "priority={}{}", entry.priority, if entry.matching.is_empty() { "" } else { "," });
    }
    let _ = write!(line, "{}", entry.matching);
    if has_priority || !entry.matching.is_empty() {
        line.push(' ');
    }
    if entry.cookie.0 != 0 {
        let _ = write!(line, "cookie={} ", entry.cookie);
    }
    for (name, value) in [("idle_timeout", entry.idle_timeout), ("hard_timeout", entry.hard_timeout)] {
        if value != 0 {
            let _ = write!(line, "{name}={value} ");
        }
    }
    for (flag, name) in print::flag_names() {
        if entry.flags.contains(flag) {
            let _ = write!(line, "{name} ");
        }
    }
    let _ = write!(line, "actions={}", entry.instructions);
    line
}

/// `diff-flows`.
pub(crate) async fn diff(
    connect: &Connect,
    first: &str,
    second: &str,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let before = observed(connect, first).await?;
    let after = observed(connect, second).await?;
    let change = difference(after.iter().map(|stats| &stats.entry), &before);
    if change.is_empty() {
        return Ok(Outcome::Done);
    }
    let gone: std::collections::HashSet<_> = change.delete.iter().collect();
    let changed: std::collections::HashSet<_> = change.modify.iter().map(FlowEntry::key).collect();
    // Both sides of a change stand together, in the order of tables and priorities.
    let mut lines: Vec<(&FlowEntry, char)> =
        change.add.iter().chain(&change.modify).map(|entry| (entry, '+')).collect();
    lines.extend(before.iter().map(|stats| &stats.entry).filter_map(|entry| {
        let key = entry.key();
        (gone.contains(&key) || changed.contains(&key)).then_some((entry, '-'))
    }));
    lines.sort_by(|(a, a_sign), (b, b_sign)| {
        let place = |entry: &FlowEntry| (entry.table, std::cmp::Reverse(entry.priority));
        // '-' comes after '+' in ASCII, and before it here.
        place(a).cmp(&place(b)).then_with(|| a.matching.cmp(&b.matching)).then(b_sign.cmp(a_sign))
    });
    for (entry, sign) in lines {
        let kind = if sign == '+' { Kind::Added } else { Kind::Removed };
        output.coloured(kind, difference_line(sign, entry))?;
    }
    Ok(Outcome::Different)
}
