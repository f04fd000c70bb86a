//! Reading scenarios.

use std::str::FromStr;

use super::phrase::Phrase;
use super::step::{Count, Step, StepKind};

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

const GIVEN: &str =
    "'Given' is followed by: a switch…, a link between…, flows:, the application…, packet NAME: …";
const WHEN: &str = "'When' is followed by: PACKET arrives at port…, port N goes down, N s pass, flow \"…\" is added, \
                    flows \"…\" are deleted";
const THEN: &str = "'Then' is followed by: PACKET leaves port…, nothing leaves, nothing else leaves, N packets reach \
                    the controller, flow \"…\" exists, no flow \"…\" exists, flow \"…\" has counted N packets";

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
            if !phrase.eat("ports") && !phrase.eat("port") {
                return Err(phrase.error("'port' or 'ports' is expected here"));
            }
            StepKind::Switch { name, ports: phrase.ports()? }
        } else if phrase.eat("a link between") {
            let first = phrase.a_port()?;
            phrase.expect("and")?;
            StepKind::Link(first, phrase.a_port()?)
        } else if phrase.eat("the application") {
            StepKind::Application(phrase.name("an application's name")?)
        } else if phrase.eat("flows") || phrase.eat("flow") {
            let switch = phrase.switch("of")?;
            phrase.expect(":")?;
            phrase.end()?;
            let flow = |(line, text): (usize, &str)| {
                let phrase = Phrase::new(line, text);
                phrase.flow(phrase.rest())
            };
            let flows: Vec<_> = self.block().into_iter().map(flow).collect::<Result<_, _>>()?;
            if flows.is_empty() {
                return Err(phrase.error("the flows are missing: one a line, below this one"));
            }
            StepKind::Flows { switch, flows }
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
            if !phrase.eat("is added") && !phrase.eat("are added") {
                return Err(phrase.error("'is added' or, after a match, 'are deleted' is expected here"));
            }
            StepKind::Add { switch: phrase.switch("on")?, flow }
        }
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
    } else if phrase.eat("flow") {
        let mut text = phrase;
        let key = phrase.quoted_key()?;
        if phrase.eat("has counted") {
            let packets = phrase.count().ok_or_else(|| phrase.error("a number is expected here"))?;
            if !phrase.eat("packets") && !phrase.eat("packet") {
                return Err(phrase.error("'packets' is expected here"));
            }
            StepKind::Counted { switch: phrase.switch("on")?, flow: key, packets }
        } else {
            phrase.expect("exists")?;
            let switch = phrase.switch("on")?;
            StepKind::FlowExists { switch, flow: text.quoted_flow()? }
        }
    } else if let Some(count) = controller(&mut phrase) {
        StepKind::Controller { count, switch: phrase.switch("from")? }
    } else {
        phrase = begin;
        let packet = phrase.packet()?;
        if !phrase.eat("leaves") && !phrase.eat("leave") {
            return Err(if phrase.is_at_end() { phrase } else { begin }.error(THEN));
        }
        StepKind::Leaves { packet, ends: phrase.some_ports()? }
    };
    phrase.end()?;
    Ok(kind)
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
