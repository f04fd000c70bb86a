//! Applications by name, with settings in lines.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::parse::ParseError;
use super::phrase::Phrase;
use super::run::WorldError;
use super::step::ApplicationText;
use crate::MacAddr;
use crate::acl::{Prefix, Rule, Verdict};
use crate::kit::apps::{
    Firewall, Hub, Interface, IsolatedSwitch, LearningSwitch, Member, PathId, PathManager, Policy, Route,
    RoutingSwitch, SelfLearningSwitch, SimpleRouter, SliceableSwitch, Slices, SwitchPort, Topology,
    TrafficMonitor,
};
use crate::kit::{Application, DatapathId, Effects, Event};
use crate::wire::OfPort;

/// Names of switches by their numbers.
pub(super) type Names = BTreeMap<DatapathId, String>;

/// An application that a scenario may run, and ask about itself.
pub(super) trait Reporting: Application<Notice = ()> {
    /// What it says of itself, a line each.
    fn report(&self, names: &Names) -> Vec<String>;
}

/// Such an application.
pub(super) type Boxed = Box<dyn Reporting + Send>;

/// Runs nothing: the switches do what their flows say.
#[derive(Debug)]
pub(super) struct Nothing;

impl Application for Nothing {
    type Notice = ();

    fn handle(&mut self, _now: Duration, _event: &Event) -> Effects {
        Effects::none()
    }
}

impl Reporting for Nothing {
    fn report(&self, _names: &Names) -> Vec<String> {
        Vec::new()
    }
}

/// Passes over what an application notices, and asks it about itself when somebody wants to know.
struct Quiet<A> {
    application: A,
    report: fn(&A, &Names) -> Vec<String>,
}

impl<A: Application> Application for Quiet<A> {
    type Notice = ();

    fn handle(&mut self, now: Duration, event: &Event) -> Effects {
        let mut effects = Effects::none();
        // There is nobody to tell.
        drop(effects.absorb(self.application.handle(now, event)));
        effects
    }
}

impl<A: Application> Reporting for Quiet<A> {
    fn report(&self, names: &Names) -> Vec<String> {
        (self.report)(&self.application, names)
    }
}

fn telling<A: Application + Send + 'static>(application: A, report: fn(&A, &Names) -> Vec<String>) -> Boxed {
    Box::new(Quiet { application, report })
}

fn silent<A: Application + Send + 'static>(application: A) -> Boxed {
    telling(application, |_, _| Vec::new())
}

/// The number of a switch of that name.
type Find<'f> = dyn Fn(&str) -> Option<DatapathId> + 'f;

/// How an application is begun with its settings.
type Begin = fn(&[Phrase<'_>], &Find<'_>) -> Result<Boxed, ParseError>;

const APPLICATIONS: &[(&str, Begin)] = &[
    ("hub", |lines, _| no_settings(lines).map(|()| silent(Hub))),
    ("learning", |lines, _| no_settings(lines).map(|()| silent(LearningSwitch::default()))),
    ("self-learning", |lines, _| no_settings(lines).map(|()| silent(SelfLearningSwitch))),
    ("isolated", |lines, find| isolated(lines, find).map(silent)),
    ("router", |lines, find| router(lines, find).map(silent)),
    ("topology", |lines, _| no_settings(lines).map(|()| telling(Topology::default(), topology_lines))),
    ("paths", paths),
    ("routing", |lines, _| no_settings(lines).map(|()| telling(RoutingSwitch::default(), hosts))),
    ("slices", |lines, find| {
        slices(lines, find).map(|app| telling(app, |app, names| hosts(app.routing(), names)))
    }),
    ("firewall", |lines, _| firewall(lines).map(silent)),
    ("monitor", |lines, _| no_settings(lines).map(|()| telling(monitor(), monitor_lines))),
];

/// Begins the application of that name, which stands at a place, with these settings.
///
/// # Errors
/// If there is none of that name, or a setting is wrong.
pub(super) fn begin(
    name: &str,
    at: Phrase<'_>,
    settings: &[Phrase<'_>],
    find: &Find<'_>,
) -> Result<Boxed, ParseError> {
    match APPLICATIONS.iter().find(|(known, _)| *known == name) {
        Some((_, begin)) => begin(settings, find),
        None => {
            let names: Vec<&str> = APPLICATIONS.iter().map(|(name, _)| *name).collect();
            Err(at.error(format!("there is no application {name}; there is: {}", names.join(", "))))
        }
    }
}

/// The same of a step's text, once the switches have their numbers.
pub(super) fn started(text: &ApplicationText, find: &Find<'_>) -> Result<Boxed, WorldError> {
    let lines: Vec<Phrase<'_>> = text.settings.iter().map(|line| Phrase::new(1, line)).collect();
    begin(&text.name, Phrase::new(1, &text.name), &lines, find).map_err(|error| {
        WorldError(format!("the application {}: '{}': {}", text.name, error.text, error.problem))
    })
}

/// Stands for a switch whose number is not known yet.
pub(super) const ANY_SWITCH: DatapathId = DatapathId(1);

/// Switches of a scenario are numbered from 1 in the order of their steps. A setting that names none is about each of
/// these, or where it can only be about one, about the first.
const SWITCHES: std::ops::RangeInclusive<u64> = 1..=16;

fn no_settings(lines: &[Phrase<'_>]) -> Result<(), ParseError> {
    match lines.first() {
        Some(line) => Err(line.error("this application has no settings")),
        None => Ok(()),
    }
}

/// `of NAME`, or every switch.
fn switches(line: &mut Phrase<'_>, find: &Find<'_>) -> Result<Vec<DatapathId>, ParseError> {
    let before = *line;
    match line.switch("of")? {
        Some(name) => {
            let known = find(&name).ok_or_else(|| before.error(format!("there is no switch {name}")))?;
            Ok(vec![known])
        }
        None => Ok(SWITCHES.map(DatapathId).collect()),
    }
}

/// `port 1 of NAME`.
fn switch_port(line: &mut Phrase<'_>, find: &Find<'_>) -> Result<SwitchPort, ParseError> {
    line.expect("port")?;
    let port = line.port()?;
    Ok(SwitchPort::new(switches(line, find)?[0], port))
}

fn value<T: std::str::FromStr>(line: &mut Phrase<'_>, what: &str) -> Result<T, ParseError> {
    let before = *line;
    let word = line.whole_word(what)?;
    word.parse().map_err(|_| before.error(format!("'{word}' is not {what}")))
}

/// `10.0.0.0/8`.
fn prefix(line: &mut Phrase<'_>) -> Result<(Ipv4Addr, u8), ParseError> {
    let before = *line;
    let word = line.whole_word("an IPv4 prefix")?;
    let parts = word.split_once('/').and_then(|(address, length)| {
        Some((address.parse().ok()?, length.parse().ok().filter(|length| *length <= 32)?))
    });
    parts.ok_or_else(|| before.error(format!("'{word}' is not an IPv4 prefix, as in 10.0.0.0/8")))
}

fn mac(line: &mut Phrase<'_>) -> Result<MacAddr, ParseError> {
    value(line, "a MAC address")
}

/// `group 1: ports 1 and 2 of s1`. Without settings ports 1 and 2 of every switch are one group, 3 and 4 another.
fn isolated(lines: &[Phrase<'_>], find: &Find<'_>) -> Result<IsolatedSwitch, ParseError> {
    let default = [Phrase::new(1, "group 1: ports 1 and 2"), Phrase::new(1, "group 2: ports 3 and 4")];
    let mut app = IsolatedSwitch::default();
    for line in if lines.is_empty() { &default } else { lines } {
        let mut line = *line;
        line.expect("group")?;
        let number = line;
        let group = NonZeroU32::new(line.number("a group's number")?);
        let group = group.ok_or_else(|| number.error("groups are numbered from 1 on"))?;
        line.expect(":")?;
        let ports = line.ports_alone()?;
        for switch in switches(&mut line, find)? {
            app = app.group(switch, group, ports.iter().copied());
        }
        line.end()?;
    }
    Ok(app)
}

/// `slice red: ports 1 and 3 of s1` or `slice red: host 02:00:00:00:00:01`. Without settings port 1 of every switch is
/// in slice red, port 2 in blue, and port 3 in both.
fn slices(lines: &[Phrase<'_>], find: &Find<'_>) -> Result<SliceableSwitch, ParseError> {
    let default = [Phrase::new(1, "slice red: ports 1 and 3"), Phrase::new(1, "slice blue: ports 2 and 3")];
    let mut slices = Slices::default();
    for line in if lines.is_empty() { &default } else { lines } {
        let mut line = *line;
        line.expect("slice")?;
        let name = line.name("a slice's name")?;
        line.expect(":")?;
        if line.eat("host") {
            slices.add(name.as_str().into(), Member::Host(mac(&mut line)?));
        } else {
            let ports = line.ports_alone()?;
            for switch in switches(&mut line, find)? {
                for port in &ports {
                    slices.add(name.as_str().into(), Member::Port(SwitchPort::new(switch, *port)));
                }
            }
        }
        line.end()?;
    }
    Ok(SliceableSwitch::new(RoutingSwitch::new(slices)))
}

/// `interface port 1 of s1 02:00:00:00:ff:01 10.0.1.254/24` and `route 0.0.0.0/0 via 10.0.2.1`. Without settings port
/// N of the first switch, of 1 to 4, has 02:00:00:00:ff:0N and 10.0.N.254/24.
fn router(lines: &[Phrase<'_>], find: &Find<'_>) -> Result<SimpleRouter, ParseError> {
    let (mut interfaces, mut routes, mut on) = (Vec::new(), Vec::new(), None);
    for line in lines {
        let mut line = *line;
        if line.eat("interface") {
            let before = line;
            let SwitchPort { switch, port } = switch_port(&mut line, find)?;
            if *on.get_or_insert(switch) != switch {
                return Err(before.error("the router is one switch, and this is another"));
            }
            let mac = mac(&mut line)?;
            let (address, prefix_length) = prefix(&mut line)?;
            interfaces.push(Interface { port, mac, address, prefix_length });
        } else if line.eat("route") {
            let (to, length) = prefix(&mut line)?;
            line.expect("via")?;
            let via = value(&mut line, "an IPv4 address")?;
            let to = Prefix::new(to.into(), length).map_err(|error| line.error(error.to_string()))?;
            routes.push(Route { to, via });
        } else {
            return Err(
                line.error("'interface port N MAC ADDRESS/LENGTH' or 'route PREFIX via ADDRESS' is expected")
            );
        }
        line.end()?;
    }
    if lines.is_empty() {
        interfaces.extend((1..=4u8).map(|port| Interface {
            port: OfPort(port.into()),
            mac: MacAddr([2, 0, 0, 0, 0xff, port]),
            address: Ipv4Addr::new(10, 0, port, 254),
            prefix_length: 24,
        }));
    }
    Ok(SimpleRouter::new(on.unwrap_or(ANY_SWITCH), interfaces, routes))
}

/// Rules as [`Rule`] reads them, and perhaps `default allow`; before a learning switch. What no rule takes is denied if
/// nothing else is said.
fn firewall(lines: &[Phrase<'_>]) -> Result<Firewall<LearningSwitch>, ParseError> {
    let (mut rules, mut default) = (Vec::new(), Verdict::Deny);
    for line in lines {
        let mut words = *line;
        if words.eat("default") {
            default = if words.eat("allow") {
                Verdict::Allow
            } else {
                words.expect("deny")?;
                Verdict::Deny
            };
            words.end()?;
            continue;
        }
        let rule: Rule = line.rest().parse().map_err(|error: crate::acl::ParseError| {
            line.error_at(error.column.saturating_sub(1), error.problem.to_string())
        })?;
        rules.push((*line, rule));
    }
    let mut app = Firewall::new(LearningSwitch::default(), default);
    for (line, rule) in rules {
        // There are no switches yet that would have to hear of it.
        drop(app.add(rule).map_err(|error| line.error(error.to_string()))?);
    }
    Ok(app)
}

/// A learning switch beside which hosts' traffic is counted, each second.
fn monitor() -> TrafficMonitor<LearningSwitch> {
    TrafficMonitor::new(LearningSwitch::default(), Duration::from_secs(1))
}

fn monitor_lines(app: &TrafficMonitor<LearningSwitch>, _names: &Names) -> Vec<String> {
    let of = |host: MacAddr| {
        let traffic = app.traffic(host);
        [("sent", traffic.sent), ("received", traffic.received)].map(|(verb, volume)| {
            format!("host {host} {verb} {} packets, {} bytes", volume.packets, volume.bytes)
        })
    };
    app.hosts().flat_map(of).collect()
}

/// `port 2 of s1`.
fn port_text(port: SwitchPort, names: &Names) -> String {
    let switch = names.get(&port.switch).cloned().unwrap_or_else(|| port.switch.to_string());
    format!("port {} of {switch}", port.port)
}

fn topology_lines(app: &Topology, names: &Names) -> Vec<String> {
    let link = |from, to| format!("link {} to {}", port_text(from, names), port_text(to, names));
    app.links().map(|one| link(one.from, one.to)).collect()
}

fn hosts<P: Policy>(app: &RoutingSwitch<P>, names: &Names) -> Vec<String> {
    app.hosts().map(|host| format!("host {} at {}", host.address, port_text(host.at, names))).collect()
}

/// Paths that were asked for at the beginning, and how many.
struct Asked {
    manager: PathManager,
    paths: Vec<PathId>,
}

impl Application for Asked {
    type Notice = crate::kit::apps::PathChange;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<Self::Notice> {
        self.manager.handle(now, event)
    }
}

/// `path "ip" from port 1 of s1 to port 1 of s3`.
fn paths(lines: &[Phrase<'_>], find: &Find<'_>) -> Result<Boxed, ParseError> {
    let mut app = Asked { manager: PathManager::new(Topology::default()), paths: Vec::new() };
    for line in lines {
        let mut line = *line;
        line.expect("path")?;
        let matching = line.fields()?;
        line.expect("from")?;
        let from = switch_port(&mut line, find)?;
        line.expect("to")?;
        let to = switch_port(&mut line, find)?;
        line.end()?;
        // No switch is there yet: the way is found when there is one.
        let (id, _) = app.manager.request(matching, from, to);
        app.paths.push(id);
    }
    Ok(telling(app, |app, names| {
        let path = |id: &PathId| match app.manager.links(*id) {
            None => format!("path {id} has no way"),
            Some(links) => {
                let hops = links.iter().map(|link| port_text(link.from, names)).collect::<Vec<_>>();
                format!("path {id} goes by {}", hops.join(", "))
            }
        };
        app.paths.iter().map(path).collect()
    }))
}
