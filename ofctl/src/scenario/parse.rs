//! Reading scenarios.

use std::str::FromStr;

use super::applications;
use super::phrase::Phrase;
use super::step::{ApplicationText, Count, Counter, Step, StepKind};
use crate::text::GroupCommand;
use crate::wire::MeterModCommand;

/// A text that is not a scenario, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}\n  {text}\n  {:>column$}", "^")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// In bytes from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
    /// The line.
    pub text: String,
}

/// A test: steps in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it shows.
    pub name: String,
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its steps, those of the background first.
    pub steps: Vec<Step>,
}

/// A file of scenarios.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// In the order of the file.
    pub scenarios: Vec<Scenario>,
}

/// What a step may be, by the word that it or the step before it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Given,
    When,
    Then,
}

const GIVEN: &str = "'Given' is followed by: a switch…, a link between…, flows:, groups:, meters:, the application…, packet NAME: …";
const WHEN: &str = "'When' is followed by: PACKET arrives at port…, port N goes down, N s pass, flow \"…\" is added, \
                    flows \"…\" are modified, flows \"…\" are deleted, group \"…\" is added, meter \"…\" is added";
const THEN: &str = "'Then' is followed by: PACKET leaves port…, PACKET does not leave, nothing leaves, nothing else \
                    leaves, N packets reach the controller, flow \"…\" exists, no flow \"…\" exists, flow \"…\" has \
                    counted N packets, group N has counted…, meter N has dropped…, port N has sent…, the application \
                    reports \"…\"";

/// The name of the switch that has none of its own.
const ONLY_SWITCH: &str = "s1";

struct Reader<'a> {
    lines: Vec<(usize, &'a str)>,
    next: usize,
}

impl FromStr for Document {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let lines = text
            .lines()
            .enumerate()
            .map(|(place, line)| (place + 1, line))
            .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
            .collect();
        Reader { lines, next: 0 }.document()
    }
}

/// The title of a line that begins a part, such as `Scenario: …`.
fn title<'a>(line: &'a str, part: &str) -> Option<&'a str> {
    let (name, title) = line.trim().split_once(':')?;
    name.eq_ignore_ascii_case(part).then(|| title.trim())
}

fn mood(word: &str) -> Option<Option<Mood>> {
    let moods = [("Given", Some(Mood::Given)), ("When", Some(Mood::When)), ("Then", Some(Mood::Then))];
    let moods = moods.into_iter().chain([("And", None), ("But", None)]);
    moods.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, mood)| mood)
}

/// True for a line that is no part of the step before it.
fn begins_something(line: &str) -> bool {
    let word = line.trim().split(|c: char| c.is_whitespace() || c == ':').next().unwrap_or_default();
    mood(word).is_some() || title(line, "Scenario").is_some() || title(line, "Background").is_some()
}

impl<'a> Reader<'a> {
    fn document(mut self) -> Result<Document, ParseError> {
        let mut document = Document::default();
        let mut background = Vec::new();
        while let Some(&(line, text)) = self.lines.get(self.next) {
            if title(text, "Background").is_some() && document.scenarios.is_empty() {
                self.next += 1;
                background.extend(self.steps()?);
            } else if let Some(name) = title(text, "Scenario") {
                self.next += 1;
                let steps = background.iter().cloned().chain(self.steps()?).collect();
                document.scenarios.push(Scenario { name: name.to_owned(), line, steps });
            } else {
                return Err(Phrase::new(line, text)
                    .error("'Scenario: NAME' is expected here (or, before the first one, 'Background:')"));
            }
        }
        match document.scenarios.is_empty() {
            true => Err(Phrase::new(1, "").error("there is no scenario: one begins with 'Scenario: NAME'")),
            false => Ok(document),
        }
    }

    /// The steps up to the next title.
    fn steps(&mut self) -> Result<Vec<Step>, ParseError> {
        let mut steps = Vec::new();
        let mut current = None;
        while let Some(&(line, text)) = self.lines.get(self.next) {
            let mut phrase = Phrase::new(line, text);
            let Some(given) = phrase.peek().and_then(mood) else { break };
            let begin = phrase;
            let mood = given
                .or(current)
                .ok_or_else(|| begin.error("'And' continues a step, and there is none before it"))?;
            phrase.word("a step")?;
            self.next += 1;
            current = Some(mood);
            let kind = match mood {
                Mood::Given => self.given(phrase)?,
                Mood::When => when(phrase)?,
                Mood::Then => then(phrase)?,
            };
            steps.push(Step { line, text: text.trim().to_owned(), kind });
        }
        Ok(steps)
    }

    /// The lines that belong to a step.
    fn block(&mut self) -> Vec<(usize, &'a str)> {
        let block: Vec<_> =
            self.lines[self.next..].iter().copied().take_while(|(_, line)| !begins_something(line)).collect();
        self.next += block.len();
        block
    }

    fn given(&mut self, mut phrase: Phrase<'_>) -> Result<StepKind, ParseError> {
        let kind = if phrase.eat("a switch") {
            let is_named = phrase.peek().is_some_and(|word| !word.eq_ignore_ascii_case("with"));
            let name = if is_named { phrase.name("a switch's name")? } else { ONLY_SWITCH.to_owned() };
            phrase.expect("with")?;
            StepKind::Switch { name, ports: phrase.ports_alone()? }
        } else if phrase.eat("a link between") {
            let first = phrase.a_port()?;
            phrase.expect("and")?;
            StepKind::Link(first, phrase.a_port()?)
        } else if phrase.eat("the application") {
            return self.application(phrase);
        } else if phrase.eat("flows") || phrase.eat("flow") {
            let (switch, flows) = self.each_line(phrase, "the flows", |line| line.flow(line.rest()))?;
            return Ok(StepKind::Flows { switch, flows });
        } else if phrase.eat("groups") || phrase.eat("group") {
            let (switch, groups) =
                self.each_line(phrase, "the groups", |line| line.group(line.rest(), GroupCommand::Add))?;
            return Ok(StepKind::Groups { switch, groups });
        } else if phrase.eat("meters") || phrase.eat("meter") {
            let (switch, meters) =
                self.each_line(phrase, "the meters", |line| line.meter(line.rest(), MeterModCommand::Add))?;
            return Ok(StepKind::Meters { switch, meters });
        } else if phrase.eat("packet") {
            let name = phrase.name("a packet's name")?;
            phrase.expect(":")?;
            let packet = if phrase.rest().starts_with("hex:") {
                phrase.packet()?
            } else {
                super::step::PacketText::Fields(phrase.matching(phrase.rest())?)
            };
            return Ok(StepKind::Packet { name, packet });
        } else {
            return Err(phrase.error(GIVEN));
        };
        phrase.end()?;
        Ok(kind)
    }

    /// `of SWITCH:`, and what stands on the lines below.
    fn each_line<T>(
        &mut self,
        mut phrase: Phrase<'_>,
        what: &str,
        read: impl Fn(Phrase<'a>) -> Result<T, ParseError>,
    ) -> Result<(Option<String>, Vec<T>), ParseError> {
        let switch = phrase.switch("of")?;
        phrase.expect(":")?;
        phrase.end()?;
        let lines = self.block().into_iter().map(|(line, text)| read(Phrase::new(line, text)));
        let all: Vec<T> = lines.collect::<Result<_, _>>()?;
        match all.is_empty() {
            true => Err(phrase.error(format!("{what} are missing: one a line, below this one"))),
            false => Ok((switch, all)),
        }
    }

    fn application(&mut self, mut phrase: Phrase<'_>) -> Result<StepKind, ParseError> {
        let begin = phrase;
        let name = phrase.name("an application's name")?;
        let mut lines = Vec::new();
        if phrase.eat(":") {
            lines = self.block().into_iter().map(|(line, text)| Phrase::new(line, text)).collect();
            if lines.is_empty() {
                return Err(phrase.error("its settings are missing: one a line, below this one"));
            }
        }
        phrase.end()?;
        // What it is wrong with is told here, where the line is known.
        applications::begin(&name, begin, &lines, &|_| Some(applications::ANY_SWITCH))?;
        let settings = lines.iter().map(|line| line.rest().to_owned()).collect();
        Ok(StepKind::Application(ApplicationText { name, settings }))
    }
}

fn when(mut phrase: Phrase<'_>) -> Result<StepKind, ParseError> {
    let begin = phrase;
    let kind = if phrase.eat("flow") || phrase.eat("flows") {
        let mut after = phrase;
        after.skip_quoted("a flow or a match")?;
        if after.eat("is deleted") || after.eat("are deleted") {
            let matching = phrase.quoted_match()?;
            phrase = after;
            StepKind::Delete { switch: phrase.switch("on")?, matching }
        } else {
            let flow = phrase.quoted_flow()?;
            let modifies = phrase.eat("is modified") || phrase.eat("are modified");
            if !modifies && !phrase.eat("is added") && !phrase.eat("are added") {
                let verbs = "'is added', 'are modified' or, after a match, 'are deleted' is expected here";
                return Err(phrase.error(verbs));
            }
            let switch = phrase.switch("on")?;
            if modifies { StepKind::Modify { switch, flow } } else { StepKind::Add { switch, flow } }
        }
    } else if phrase.eat("group") {
        let (text, verb) = object_and_verb(&mut phrase, "a group")?;
        let command = match verb {
            Verb::Added => GroupCommand::Add,
            Verb::Modified => GroupCommand::Modify,
            Verb::Deleted => GroupCommand::Delete,
        };
        let change = text.0.group(text.1, command)?;
        StepKind::ChangeGroup { switch: phrase.switch("on")?, change }
    } else if phrase.eat("meter") {
        let (text, verb) = object_and_verb(&mut phrase, "a meter")?;
        let command = match verb {
            Verb::Added => MeterModCommand::Add,
            Verb::Modified => MeterModCommand::Modify,
            Verb::Deleted => MeterModCommand::Delete,
        };
        let change = text.0.meter(text.1, command)?;
        StepKind::ChangeMeter { switch: phrase.switch("on")?, change }
    } else if phrase.eat("port") {
        phrase = begin;
        let at = phrase.a_port()?;
        phrase.expect("goes")?;
        let up = phrase.eat("up");
        if !up {
            phrase.expect("down")?;
        }
        StepKind::PortLink { at, up }
    } else if let Some(time) = pass(&mut phrase)? {
        StepKind::Pass(time)
    } else {
        let mut times = Count(1);
        if let Some(count) = phrase.count() {
            if phrase.eat("times") {
                times = count;
            } else {
                phrase = begin;
            }
        }
        let named = phrase;
        let packet = phrase.packet()?;
        if !phrase.eat("arrives at") && !phrase.eat("arrive at") {
            return Err(if phrase.is_at_end() { phrase } else { named }.error(WHEN));
        }
        StepKind::Arrives { times, packet, at: phrase.a_port()? }
    };
    phrase.end()?;
    Ok(kind)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Added,
    Modified,
    Deleted,
}

/// `"TEXT" is added`: the text, with where it stands, and what is done.
fn object_and_verb<'a>(
    phrase: &mut Phrase<'a>,
    what: &str,
) -> Result<((Phrase<'a>, &'a str), Verb), ParseError> {
    let text = phrase.quoted(what)?;
    let verbs = [("is added", Verb::Added), ("is modified", Verb::Modified), ("is deleted", Verb::Deleted)];
    match verbs.into_iter().find(|(words, _)| phrase.eat(words)) {
        Some((_, verb)) => Ok((text, verb)),
        None => Err(phrase.error("'is added', 'is modified' or 'is deleted' is expected here")),
    }
}

/// `10 s pass`.
fn pass(phrase: &mut Phrase<'_>) -> Result<Option<std::time::Duration>, ParseError> {
    let is_number = phrase.peek().is_some_and(|word| word.parse::<f64>().is_ok());
    let mut probe = *phrase;
    if !is_number || (probe.word("a number").is_ok() && probe.eat("times")) {
        return Ok(None);
    }
    let time = phrase.duration()?;
    if !phrase.eat("pass") && !phrase.eat("passes") {
        return Err(phrase.error("'pass' is expected here"));
    }
    Ok(Some(time))
}

fn then(mut phrase: Phrase<'_>) -> Result<StepKind, ParseError> {
    let begin = phrase;
    let kind = if phrase.eat("nothing else leaves") {
        StepKind::NothingElseLeaves
    } else if phrase.eat("nothing leaves") {
        let ends = if phrase.is_at_end() { None } else { Some(phrase.some_ports()?) };
        StepKind::NothingLeaves(ends)
    } else if phrase.eat("no flow") {
        let flow = phrase.quoted_key()?;
        phrase.expect("exists")?;
        StepKind::NoFlow { switch: phrase.switch("on")?, flow }
    } else if phrase.eat("no group") {
        let group = phrase.group_number()?;
        phrase.expect("exists")?;
        StepKind::NoGroup { switch: phrase.switch("on")?, group }
    } else if phrase.eat("no meter") {
        let meter = phrase.meter_number()?;
        phrase.expect("exists")?;
        StepKind::NoMeter { switch: phrase.switch("on")?, meter }
    } else if phrase.eat("flow") {
        let mut text = phrase;
        let key = phrase.quoted_key()?;
        if phrase.eat("has counted") {
            counted(&mut phrase, Counter::Flow(key))?
        } else {
            phrase.expect("exists")?;
            let switch = phrase.switch("on")?;
            StepKind::FlowExists { switch, flow: text.quoted_flow()? }
        }
    } else if phrase.eat("group") {
        if phrase.rest().starts_with('"') {
            let (inner, text) = phrase.quoted("a group")?;
            phrase.expect("exists")?;
            StepKind::GroupExists {
                switch: phrase.switch("on")?,
                group: inner.group(text, GroupCommand::Add)?,
            }
        } else {
            let group = phrase.group_number()?;
            phrase.expect("has counted")?;
            counted(&mut phrase, Counter::Group(group))?
        }
    } else if phrase.eat("bucket") {
        let place = phrase.number("a bucket's place, from 0")?;
        phrase.expect("of group")?;
        let group = phrase.group_number()?;
        phrase.expect("has counted")?;
        counted(&mut phrase, Counter::Bucket(group, place as usize))?
    } else if phrase.eat("meter") {
        if phrase.rest().starts_with('"') {
            let (inner, text) = phrase.quoted("a meter")?;
            phrase.expect("exists")?;
            let meter = inner.meter(text, MeterModCommand::Add)?;
            StepKind::MeterExists { switch: phrase.switch("on")?, meter }
        } else {
            let meter = phrase.meter_number()?;
            if phrase.eat("has dropped") {
                counted(&mut phrase, Counter::MeterDrops(meter))?
            } else {
                phrase.expect("has counted")?;
                counted(&mut phrase, Counter::Meter(meter))?
            }
        }
    } else if phrase.eat("port") {
        let port = phrase.port()?;
        let switch = phrase.switch("of")?;
        let counter = if phrase.eat("has received") {
            Counter::Received(port)
        } else {
            phrase.expect("has sent")?;
            Counter::Sent(port)
        };
        StepKind::Counted { switch, counter, volume: phrase.volume()? }
    } else if phrase.eat("the application") {
        let is_there = !phrase.eat("does not report");
        if is_there {
            phrase.expect("reports")?;
        }
        StepKind::Reports { line: phrase.quoted("a line")?.1.to_owned(), is_there }
    } else if let Some(count) = controller(&mut phrase) {
        StepKind::Controller { count, switch: phrase.switch("from")? }
    } else {
        phrase = begin;
        let packet = phrase.packet()?;
        if phrase.eat("does not leave") || phrase.eat("do not leave") {
            let ends = if phrase.is_at_end() { None } else { Some(phrase.some_ports()?) };
            StepKind::DoesNotLeave { packet, ends }
        } else if phrase.eat("leaves") || phrase.eat("leave") {
            StepKind::Leaves { packet, ends: phrase.some_ports()? }
        } else {
            return Err(if phrase.is_at_end() { phrase } else { begin }.error(THEN));
        }
    };
    phrase.end()?;
    Ok(kind)
}

/// What has been counted, and where.
fn counted(phrase: &mut Phrase<'_>, counter: Counter) -> Result<StepKind, ParseError> {
    let volume = phrase.volume()?;
    Ok(StepKind::Counted { switch: phrase.switch("on")?, counter, volume })
}

/// `2 packets reach the controller`.
fn controller(phrase: &mut Phrase<'_>) -> Option<Count> {
    let mut probe = *phrase;
    let count = probe.count()?;
    let found = (probe.eat("packets") || probe.eat("packet"))
        && (probe.eat("reach the controller") || probe.eat("reaches the controller"));
    found.then(|| {
        *phrase = probe;
        count
    })
}
