//! Commands that look at the switch as a whole: features, ports, tables, fragments.

use ofctl::wire::{Message, MultipartBody, MultipartReply, MultipartRequest, SwitchConfig, Xid};
use serde_json::json;

use super::args::{Connect, Dry, Fragments};
use super::error::CliError;
use super::output::Output;
use super::switch::{Switch, find_port, print_messages};
use super::{Outcome, json, print};

pub(crate) async fn show(
    connect: &Connect,
    name: &str,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let connection = &switch.connection;
    let features = connection.features().await.map_err(|error| switch.failed(error))?;
    let mut ports = connection.port_desc().await.map_err(|error| switch.failed(error))?;
    ports.sort_by_key(|port| port.port);
    let config = connection.config().await.map_err(|error| switch.failed(error))?;
    if as_json {
        output.line(json!({"features": json::features(&features)}))?;
        for port in &ports {
            output.line(json!({"port": json::port(port)}))?;
        }
        output.line(json!({"config": json::config(config)}))?;
        return Ok(Outcome::Done);
    }
    output.line(print::lines(Xid(0), &Message::FeaturesReply(features)))?;
    let body = MultipartBody::PortDescription(ports);
    output.line(print::lines(Xid(0), &Message::MultipartReply(MultipartReply { more: false, body })))?;
    output.line(print::lines(Xid(0), &Message::GetConfigReply(config)))?;
    Ok(Outcome::Done)
}

pub(crate) async fn description(
    connect: &Connect,
    name: &str,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let description = switch.connection.description().await.map_err(|error| switch.failed(error))?;
    if as_json {
        output.line(json::description(&description))?;
    } else {
        output.text(print::description(&description))?;
    }
    Ok(Outcome::Done)
}

pub(crate) async fn ports(
    connect: &Connect,
    name: &str,
    wanted: Option<&str>,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let mut ports = switch.connection.port_desc().await.map_err(|error| switch.failed(error))?;
    ports.sort_by_key(|port| port.port);
    if let Some(wanted) = wanted {
        ports = vec![find_port(ports, wanted).ok_or_else(|| CliError::no_port(name, wanted))?];
    }
    for port in &ports {
        if as_json {
            output.line(json::port(port))?;
        } else {
            output.text(print::port(port))?;
        }
    }
    Ok(Outcome::Done)
}

pub(crate) async fn tables(
    connect: &Connect,
    name: &str,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let request = Message::MultipartRequest(MultipartRequest::Table);
    let reply = switch.connection.transact(request).await.map_err(|error| switch.failed(error))?;
    let Message::MultipartReply(MultipartReply { body: MultipartBody::Table(tables), .. }) = reply else {
        return Err(CliError::WrongAnswer {
            target: name.to_owned(),
            what: "the request for its tables' counters",
            got: print::one_line(&reply),
        });
    };
    if as_json {
        tables.iter().try_for_each(|table| output.line(json::table(table)))?;
    } else {
        output.text(print::tables(&tables))?;
    }
    Ok(Outcome::Done)
}

pub(crate) async fn fragments(
    connect: &Connect,
    name: &str,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let config = switch.connection.config().await.map_err(|error| switch.failed(error))?;
    if as_json {
        output.line(json::config(config))?;
    } else {
        output.line(print::fragment_mode(config.fragments))?;
    }
    Ok(Outcome::Done)
}

/// Sets the treatment of fragments, and leaves the length of packet-ins as it is.
pub(crate) async fn set_fragments(
    connect: &Connect,
    name: &str,
    mode: Fragments,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let switch = Switch::connect(connect, name).await?;
    let config = switch.connection.config().await.map_err(|error| switch.failed(error))?;
    let wanted = SwitchConfig { fragments: mode.into(), ..config };
    if dry.dry_run {
        print_messages(vec![Message::SetConfig(wanted)], false, dry, output)?;
        return Ok(Outcome::Done);
    }
    let connection = &switch.connection;
    connection
        .set_config(wanted.fragments, wanted.miss_send_len)
        .await
        .map_err(|error| switch.failed(error))?;
    let now = connection.config().await.map_err(|error| switch.failed(error))?;
    if now.fragments != wanted.fragments {
        return Err(CliError::Usage(format!(
            "{name} took the request, but keeps to {}: it does not know {}",
            print::fragment_mode(now.fragments),
            print::fragment_mode(wanted.fragments)
        )));
    }
    Ok(Outcome::Done)
}
