//! A switch that a command talks to.

use std::path::Path;
use std::time::Duration;

use ofctl::client::openflow::{ClientError, Connection, Events, Options};
use ofctl::client::{Target, TargetParseError, Tls};
use ofctl::session::Failure;
use ofctl::wire::{
    BundleAdd, BundleControl, BundleControlType, BundleFlags, BundleId, Message, OfPort, PortDescription, Xid,
};

use super::args::{Connect, Dry};
use super::error::{CliError, Place, SyntaxError};
use super::output::Output;
use super::syntax::{PortNames, with_names};
use super::{json, print};

/// Our certificate and key, if they were given.
pub(crate) fn tls(connect: &Connect) -> Result<Option<Tls>, CliError> {
    match (&connect.certificate, &connect.private_key, &connect.ca_cert) {
        (Some(certificate), Some(key), Some(authority)) => {
            Ok(Some(Tls::from_files(certificate, key, authority)?))
        }
        _ => Ok(None),
    }
}

/// Where a switch is reached, from how it was named.
pub(crate) fn target(connect: &Connect, name: &str) -> Result<Target, CliError> {
    if !name.is_empty() && !name.contains([':', '/']) {
        return Ok(Target::Unix(connect.rundir.join(format!("{name}.mgmt"))));
    }
    let tls = if name.starts_with("ssl:") { tls(connect)? } else { None };
    Target::parse(name, tls.as_ref()).map_err(|source| match source {
        TargetParseError::NoTls(name) => CliError::NoTls(name),
        _ => CliError::Target(name.to_owned()),
    })
}

/// True if a name means a file where a switch or a file may stand.
pub(crate) fn is_file(name: &str) -> bool {
    name == "-" || name.starts_with(['/', '.']) || (!name.contains(':') && Path::new(name).exists())
}

/// A connected switch.
pub(crate) struct Switch {
    pub(crate) name: String,
    pub(crate) connection: Connection,
    pub(crate) events: Events,
}

impl Switch {
    pub(crate) async fn connect(connect: &Connect, name: &str) -> Result<Switch, CliError> {
        let target = target(connect, name)?;
        let options = Options { timeout: Duration::from_secs(connect.timeout), ..Options::default() };
        let opened = Connection::connect(target, options).await;
        let (connection, events) =
            opened.map_err(|source| CliError::Client { target: name.to_owned(), source })?;
        Ok(Switch { name: name.to_owned(), connection, events })
    }

    pub(crate) fn failed(&self, source: ClientError) -> CliError {
        CliError::Client { target: self.name.clone(), source }
    }

    pub(crate) async fn names(&self) -> Result<PortNames, CliError> {
        let ports = self.connection.port_desc().await.map_err(|error| self.failed(error))?;
        Ok(ports.into_iter().map(|port| (port.name, port.port)).collect())
    }

    /// What the switch says of one of its ports, by number or name.
    pub(crate) async fn port_description(&self, wanted: &str) -> Result<PortDescription, CliError> {
        let ports = self.connection.port_desc().await.map_err(|error| self.failed(error))?;
        find_port(ports, wanted).ok_or_else(|| CliError::no_port(&self.name, wanted))
    }

    /// A port's number; the switch is asked if it is a name.
    pub(crate) async fn port(&self, wanted: &str) -> Result<OfPort, CliError> {
        match OfPort::from_reserved_name(wanted).or_else(|| wanted.parse().ok().map(OfPort)) {
            Some(port) => Ok(port),
            None => Ok(self.port_description(wanted).await?.port),
        }
    }

    /// Carries the messages out; an error shows where what was refused came from.
    pub(crate) async fn send(
        &self,
        messages: Vec<Message>,
        bundle: bool,
        places: &[Place],
    ) -> Result<(), CliError> {
        if messages.is_empty() {
            return Ok(());
        }
        // Flows and groups are shown by the session, as their texts.
        let shown = match messages.as_slice() {
            [Message::FlowMod(_) | Message::GroupMod(_)] => None,
            [one] => Some(print::one_line(one)),
            _ => None,
        };
        let sent = if bundle {
            self.connection.bundle_messages(messages).await
        } else {
            self.connection.send_messages(messages).await
        };
        sent.map_err(|error| match error {
            ClientError::Failed { what, failure: Failure::Refused(mut refused) } => {
                for one in &mut refused {
                    if let Some(shown) = &shown {
                        one.offending.clone_from(shown);
                    }
                    if let Some(place @ Place::Line { .. }) = one.index.and_then(|index| places.get(index)) {
                        one.offending = format!("{place}: {}", one.offending);
                    }
                }
                self.failed(ClientError::Failed { what, failure: Failure::Refused(refused) })
            }
            error => self.failed(error),
        })
    }
}

/// The port of this number or name.
pub(crate) fn find_port(ports: Vec<PortDescription>, wanted: &str) -> Option<PortDescription> {
    let number = OfPort::from_reserved_name(wanted).or_else(|| wanted.parse().ok().map(OfPort));
    ports.into_iter().find(|port| Some(port.port) == number || port.name == wanted)
}

/// Whom to ask for the names of ports.
#[derive(Clone, Copy)]
pub(crate) enum Names<'a> {
    /// Nobody: the text stands for itself.
    Unknown,
    /// A switch that is connected.
    Of(&'a Switch),
    /// A switch that is asked only if a name is met, and may not be there.
    IfThere(&'a Connect, &'a str),
}

/// Reads texts, and asks the switch for its ports' names when one may be meant.
pub(crate) struct TextReader<'a> {
    asked: Names<'a>,
    names: Option<PortNames>,
}

impl<'a> TextReader<'a> {
    pub(crate) fn new(asked: Names<'a>) -> Self {
        TextReader { asked, names: None }
    }

    async fn ask(&self) -> Result<PortNames, CliError> {
        match self.asked {
            Names::Unknown => Ok(PortNames::default()),
            Names::Of(switch) => switch.names().await,
            Names::IfThere(connect, name) => match Switch::connect(connect, name).await {
                Ok(switch) => switch.names().await,
                Err(_) => Ok(PortNames::default()),
            },
        }
    }

    pub(crate) async fn read<T>(
        &mut self,
        text: &str,
        place: &Place,
        parse: impl Fn(&str) -> Result<T, SyntaxError>,
    ) -> Result<T, CliError> {
        let mut result = match &self.names {
            Some(names) => with_names(text, names, &parse),
            None => parse(text),
        };
        if let Err(SyntaxError { word: Some(_), .. }) = &result
            && self.names.is_none()
        {
            let names = self.ask().await?;
            result = with_names(text, self.names.insert(names), &parse);
        }
        result.map_err(|source| CliError::Syntax { place: place.clone(), text: text.to_owned(), source })
    }
}

/// Prints what would be sent.
pub(crate) fn print_messages(
    messages: Vec<Message>,
    bundle: bool,
    dry: Dry,
    output: &mut Output,
) -> Result<(), CliError> {
    let messages = if bundle { as_bundle(messages) } else { messages };
    let mut bytes = Vec::new();
    for message in messages {
        bytes.clear();
        message.encode(Xid(0), &mut bytes).map_err(|error| CliError::encode(&message, error))?;
        if dry.hex {
            output.line(print::hex(&bytes))?;
        } else if dry.json {
            output.line(json::message(Xid(0), &message))?;
        } else {
            output.line(print::lines(Xid(0), &message))?;
        }
    }
    Ok(())
}

/// The messages of the transaction that carries these out.
fn as_bundle(messages: Vec<Message>) -> Vec<Message> {
    let (bundle, flags) = (BundleId(1), BundleFlags::ATOMIC_ORDERED);
    let control = |kind| Message::BundleControl(BundleControl { bundle, kind, flags });
    let adds = messages
        .into_iter()
        .map(|message| Message::BundleAdd(BundleAdd { bundle, flags, message: Box::new(message) }));
    [control(BundleControlType::OpenRequest)]
        .into_iter()
        .chain(adds)
        .chain([control(BundleControlType::CloseRequest), control(BundleControlType::CommitRequest)])
        .collect()
}
