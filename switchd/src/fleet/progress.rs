//! How a deployment is shown while it runs: bars on a terminal, lines elsewhere, JSON for machines.
//!
//! The bars are drawn here and not by a crate of bars: all that is wanted is one line for each box that is at work,
//! redrawn in place, and this program must stay small, as it is also what is brought to the boxes.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::deploy::HostDone;
use super::send::{Event, SendError};

/// How often bars are redrawn at most.
const REDRAW: Duration = Duration::from_millis(100);
/// How often a machine is told of a box's progress at most.
const TELL: Duration = Duration::from_secs(1);
/// The widest bar.
const BAR: usize = 24;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line for each box at work, redrawn in place, so many columns wide; on stderr.
    Bars(usize),
    /// A line for each thing that happens; on stderr.
    Lines,
    /// A JSON object a line; on stdout.
    Json,
}

impl Style {
    /// What suits the terminal, or whatever else stderr is.
    pub fn of_stderr() -> Self {
        use std::io::IsTerminal;
        let stderr = std::io::stderr();
        if !stderr.is_terminal() || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            return Self::Lines;
        }
        let columns = rustix::termios::tcgetwinsize(&stderr).map_or(80, |size| size.ws_col);
        Self::Bars(usize::from(columns.max(20)))
    }
}

/// A box at work.
#[derive(Debug, Default)]
struct Row {
    working: bool,
    doing: String,
    /// Bytes of files, uncompressed, of those that must come.
    done: u64,
    total: u64,
    /// Bytes that were handed to ssh.
    sent: u64,
    told: Option<Instant>,
}

struct State {
    rows: Vec<Row>,
    finished: usize,
    /// Lines of bars that are on the screen.
    drawn: usize,
    at: Option<Instant>,
    out: Box<dyn Write + Send>,
}

/// Shows what happens.
pub struct Display {
    style: Style,
    names: Vec<String>,
    width: usize,
    state: Mutex<State>,
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

impl Display {
    /// For boxes of these names.
    pub fn new(style: Style, names: Vec<String>, out: Box<dyn Write + Send>) -> Self {
        let rows = names.iter().map(|_| Row::default()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(32);
        let state = State { rows, finished: 0, drawn: 0, at: None, out };
        Self { style, names, width, state: Mutex::new(state) }
    }

    /// Work on a box begins.
    pub fn begin(&self, at: usize) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rows[at].working = true;
        state.rows[at].doing = "connecting".to_owned();
        match self.style {
            Style::Json => self.json(state, at, json!({ "event": "begin" })),
            Style::Lines => self.line(state, at, "connecting"),
            Style::Bars(columns) => self.draw(state, columns, true),
        }
    }

    /// Something happened.
    pub fn event(&self, at: usize, event: &Event) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let row = &mut state.rows[at];
        let mut value = Value::Null;
        let mut text = String::new();
        match event {
            Event::Pushing { bytes } => {
                (row.done, row.total) = (0, 0);
                text = format!("bringing sluice-switch there, {}", size(*bytes));
                value = json!({ "event": "program", "bytes": bytes });
            }
            Event::Planned { what, plan } => {
                let (files, bytes) = (plan.need.len(), plan.takes);
                text = format!(
                    "{what}: {files} files to send, {} there already; takes {} of {} free",
                    plan.shared.files + plan.arrived.files,
                    size(bytes),
                    size(plan.free)
                );
                if !plan.removes.is_empty() {
                    let _ = write!(text, "; removes {} old releases first", plan.removes.len());
                }
                if plan.stops {
                    text += " and stops what runs";
                }
                value = json!({
                    "event": "plan", "release": what, "files": files, "shared": plan.shared, "arrived": plan.arrived,
                    "takes": plan.takes, "free": plan.free, "removes": plan.removes, "stops": plan.stops,
                    "notes": plan.notes,
                });
            }
            Event::Total { bytes, .. } => (row.done, row.total) = (0, *bytes),
            Event::File { bytes } => row.done += bytes,
            Event::Sent { bytes } => {
                row.sent += bytes;
                let now = Instant::now();
                if row.told.is_none_or(|last| now.duration_since(last) >= TELL) {
                    row.told = Some(now);
                    value = json!({ "event": "progress", "sent": row.sent, "done": row.done, "total": row.total });
                }
            }
            Event::Step(step) => {
                text.clone_from(step);
                value = json!({ "event": "step", "step": step });
            }
        }
        if !text.is_empty() {
            row.doing.clone_from(&text);
        }
        match self.style {
            Style::Json if !value.is_null() => self.json(state, at, value),
            Style::Lines if !text.is_empty() => self.line(state, at, &text),
            Style::Bars(columns) => self.draw(state, columns, !text.is_empty()),
            _ => {}
        }
    }

    /// Work on a box is over.
    pub fn end(&self, at: usize, done: &HostDone, error: Option<&SendError>) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rows[at].working = false;
        state.finished += 1;
        let text = match error {
            Some(error) => format!("failed: {error}"),
            None if done.apps.iter().any(|app| app.changed) => "ok".to_owned(),
            None => "ok, unchanged".to_owned(),
        };
        match self.style {
            Style::Json => {
                let result = if error.is_some() { "failed" } else { "ok" };
                let reason = error.map(ToString::to_string);
                let value = json!({ "event": "end", "result": result, "reason": reason, "done": done });
                self.json(state, at, value);
            }
            Style::Lines => self.line(state, at, &text),
            Style::Bars(columns) => {
                self.erase(state);
                self.line(state, at, &text);
                self.draw(state, columns, true);
            }
        }
    }

    fn json(&self, state: &mut State, at: usize, mut value: Value) {
        value["host"] = Value::String(self.names[at].clone());
        // Nobody may be listening any more, which is no reason to stop.
        let _ = writeln!(state.out, "{value}");
        let _ = state.out.flush();
    }

    fn line(&self, state: &mut State, at: usize, text: &str) {
        let _ = writeln!(state.out, "{:<width$}  {text}", self.names[at], width = self.width);
    }

    fn erase(&self, state: &mut State) {
        if state.drawn > 0 {
            // Up so many lines, and clear to the end of the screen.
            let _ = write!(state.out, "\x1b[{}A\x1b[J", state.drawn);
            state.drawn = 0;
        }
    }

    fn draw(&self, state: &mut State, columns: usize, now: bool) {
        let time = Instant::now();
        if !now && state.at.is_some_and(|last| time.duration_since(last) < REDRAW) {
            return;
        }
        state.at = Some(time);
        self.erase(state);
        let mut text = String::new();
        let mut lines = 0;
        for (name, row) in self.names.iter().zip(&state.rows).filter(|(_, row)| row.working) {
            let full = row.done.min(row.total) as f64 / row.total.max(1) as f64;
            let filled = if row.total == 0 { 0 } else { (full * BAR as f64) as usize };
            let bar = format!("{}{}", "=".repeat(filled), " ".repeat(BAR - filled));
            let line =
                format!("{name:<width$}  [{bar}] {:>9}  {}", size(row.sent), row.doing, width = self.width);
            text.extend(line.chars().take(columns - 1));
            text.push('\n');
            lines += 1;
        }
        if lines > 0 {
            let _ = writeln!(text, "{} of {} hosts done", state.finished, self.names.len());
            lines += 1;
        }
        state.drawn = lines;
        let _ = state.out.write_all(text.as_bytes());
        let _ = state.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn show(style: Style) -> String {
        let screen = Screen::default();
        let display = Display::new(style, vec!["leaf1".into(), "s2".into()], Box::new(screen.clone()));
        display.begin(0);
        display.event(0, &Event::Total { files: 2, bytes: 1000 });
        display.event(0, &Event::Sent { bytes: 300 });
        display.event(0, &Event::File { bytes: 500 });
        display.event(0, &Event::Step("committed".to_owned()));
        display.end(0, &HostDone::default(), None);
        display.begin(1);
        display.end(1, &HostDone::default(), Some(&SendError::Unreached("no route".to_owned())));
        let bytes = screen.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn elsewhere_than_on_a_terminal_there_is_a_line_for_each_thing() {
        assert_eq!(
            show(Style::Lines),
            "leaf1  connecting\nleaf1  committed\nleaf1  ok, unchanged\ns2     connecting\n\
             s2     failed: ssh did not reach it: no route\n"
        );
    }

    #[test]
    fn for_machines_each_line_is_an_object_with_its_host() {
        let text = show(Style::Json);
        let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<_> =
            values.iter().map(|v| (v["host"].as_str().unwrap(), v["event"].as_str().unwrap())).collect();
        assert_eq!(
            events,
            [
                ("leaf1", "begin"),
                ("leaf1", "progress"),
                ("leaf1", "step"),
                ("leaf1", "end"),
                ("s2", "begin"),
                ("s2", "end")
            ]
        );
        assert_eq!(values[5]["result"], "failed");
    }

    /// What a terminal shows in the end: our sequences are "up so many lines" and "clear below".
    fn screen(text: &str) -> Vec<String> {
        let mut lines: Vec<String> = vec![String::new()];
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("\x1b[") {
                let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                if after[end..].starts_with('A') {
                    let up: usize = after[..end].parse().unwrap();
                    lines.truncate(lines.len() - up);
                    *lines.last_mut().unwrap() = String::new();
                }
                rest = &after[end + 1..];
                continue;
            }
            match c {
                '\n' => lines.push(String::new()),
                c => lines.last_mut().unwrap().push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
        lines
    }

    #[test]
    fn bars_are_redrawn_in_place_and_no_line_is_wider_than_the_terminal() {
        let text = show(Style::Bars(40));
        assert!(text.contains("leaf1  [============            ]"), "{text}");
        assert!(text.contains("0 of 2 hosts done") && text.contains("1 of 2 hosts done"), "{text}");
        assert!(text.lines().filter(|l| l.contains('[') && !l.contains('\x1b')).all(|l| l.len() < 40));
        assert_eq!(
            screen(&text),
            ["leaf1  ok, unchanged", "s2     failed: ssh did not reach it: no route", ""]
        );
    }
}
