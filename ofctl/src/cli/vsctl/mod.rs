//! `vsctl`: bridges and ports by plans of the library, other rows by their schema.

mod records;
mod show;

use std::time::Duration;

use ofctl::client::ovsdb::{Client, ClientError, Options, Target, parse_target};
use ofctl::ovsdb::operation::Transaction;
use ofctl::ovsdb::vswitch::{BridgeSpec, PortSpec, VswitchTransaction};
use ofctl::ovsdb::vtep;
use serde_json::json;
use tokio::time::Instant;

use super::Outcome;
use super::args::{Connect, Vsctl, VsctlCommand};
use super::error::CliError;
use super::output::Output;
use super::switch::tls;
use records::Elements;

/// A connected database, and how to change it.
struct Database<'a> {
    client: Client,
    how: &'a Vsctl,
    deadline: Instant,
}

fn failed(source: ClientError) -> CliError {
    CliError::Ovsdb(Box::new(source))
}

fn usage(text: String) -> CliError {
    CliError::Usage(text)
}

/// `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), CliError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(usage(format!("'{text}' is not KEY=VALUE"))),
    }
}

impl<'a> Database<'a> {
    async fn connect(connect: &Connect, how: &'a Vsctl) -> Result<Database<'a>, CliError> {
        let target = match &how.db {
            None => Target::Unix(connect.rundir.join("db.sock")),
            Some(text) => {
                let tls = if text.starts_with("ssl:") { tls(connect)? } else { None };
                parse_target(text, tls.as_ref()).map_err(|error| usage(error.to_string()))?
            }
        };
        let mut options = Options { database: how.database.clone(), ..Options::default() };
        if how.database == vtep::DATABASE {
            options.tables = vtep::monitored();
        }
        let deadline = Instant::now() + Duration::from_secs(connect.timeout);
        let client = Client::connect(target, options, deadline).await.map_err(failed)?;
        Ok(Database { client, how, deadline })
    }

    fn is_vswitch(&self) -> bool {
        self.how.database == ofctl::ovsdb::vswitch::DATABASE
    }

    /// Sends a transaction, or prints it.
    async fn carry_out(&self, transaction: Transaction, output: &mut Output) -> Result<(), CliError> {
        if self.how.dry_run {
            for operation in transaction.operations() {
                output.line(serde_json::to_string(operation).expect("operations have JSON"))?;
            }
            return Ok(());
        }
        if transaction.is_empty() {
            return Ok(());
        }
        let done = if self.how.no_wait || !self.is_vswitch() {
            self.client.transact(transaction, self.deadline).await
        } else {
            self.client.transact_and_wait(transaction, self.deadline).await
        };
        done.map(drop).map_err(failed)
    }

    /// Makes bridges and ports as planned, and says if ovs-vswitchd could not make one.
    async fn apply(
        &self,
        plan: VswitchTransaction,
        port: Option<&str>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        if self.how.dry_run || self.how.no_wait {
            let built = self.client.read(|replica| plan.build(replica));
            return self.carry_out(built.map_err(|error| failed(error.into()))?, output).await;
        }
        let applied = self.client.apply(plan, self.deadline).await.map_err(failed)?;
        if let Some(port) = port {
            applied.ofport(port).map_err(|error| usage(format!("{error}; it stays in the database")))?;
        }
        Ok(())
    }
}

pub(crate) async fn run(connect: &Connect, how: &Vsctl, output: &mut Output) -> Result<Outcome, CliError> {
    // Words that cannot be are said before anybody is asked.
    if let VsctlCommand::AddPort { options, external_ids, .. } = &how.command {
        for text in options.iter().chain(external_ids) {
            pair(text)?;
        }
    }
    let database = Database::connect(connect, how).await?;
    if !database.is_vswitch() && is_about_bridges(&how.command) {
        return Err(usage(format!(
            "database {} has no bridges: use list, get, set, add, remove and clear",
            how.database
        )));
    }
    match &how.command {
        VsctlCommand::Show => show::run(&database, output),
        VsctlCommand::List { table, records, columns } => {
            records::list(&database, table, records, columns, output).await
        }
        VsctlCommand::Get { table, record, columns } => {
            records::get(&database, table, record, columns, output).await
        }
        VsctlCommand::Set { table, record, settings } => {
            records::set(&database, table, record, settings, output).await
        }
        VsctlCommand::Add { table, record, column, values } => {
            records::change(Elements::Added, &database, table, record, column, values, output).await
        }
        VsctlCommand::Remove { table, record, column, values } => {
            records::change(Elements::Removed, &database, table, record, column, values, output).await
        }
        VsctlCommand::Clear { table, record, columns } => {
            records::clear(&database, table, record, columns, output).await
        }
        command => bridges(&database, command, output).await,
    }
}

fn is_about_bridges(command: &VsctlCommand) -> bool {
    use VsctlCommand::*;
    matches!(
        command,
        Show | AddBr { .. }
            | DelBr { .. }
            | ListBr
            | BrExists { .. }
            | AddPort { .. }
            | DelPort { .. }
            | ListPorts { .. }
            | PortToBr { .. }
    )
}

/// Commands on bridges and their ports.
async fn bridges(
    database: &Database<'_>,
    command: &VsctlCommand,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let Database { client, how, .. } = database;
    let has_bridge = |name: &str| client.read(|replica| replica.vswitch().bridge(name).is_some());
    let home_of = |port: &str| {
        client.read(|replica| {
            let vswitch = replica.vswitch();
            let port = vswitch.port(port)?;
            vswitch.bridge_of(port.uuid).map(|bridge| bridge.name().to_owned())
        })
    };
    let no_bridge = |name: &str| usage(format!("there is no bridge {name}; vsctl list-br lists the bridges"));
    let mut plan = VswitchTransaction::new();
    plan.comment(format!("ofctl vsctl {}", name_of(command)));
    match command {
        VsctlCommand::AddBr { bridge, datapath_type } => {
            if !how.may_exist && has_bridge(bridge) {
                return Err(usage(format!("there is a bridge {bridge} already; --may-exist lets it be")));
            }
            let mut spec = BridgeSpec::new(bridge.as_str());
            if let Some(datapath_type) = datapath_type {
                spec = spec.datapath_type(datapath_type.as_str());
            }
            plan.ensure_bridge(spec);
            database.apply(plan, None, output).await?;
        }
        VsctlCommand::DelBr { bridge } => {
            if !has_bridge(bridge) {
                return if how.if_exists { Ok(Outcome::Done) } else { Err(no_bridge(bridge)) };
            }
            plan.remove_bridge(bridge.as_str());
            database.apply(plan, None, output).await?;
        }
        VsctlCommand::ListBr => {
            let mut names: Vec<String> =
                client.read(|replica| replica.vswitch().bridges().map(|one| one.name().to_owned()).collect());
            names.sort();
            return list_names(names, "bridge", how.json, output);
        }
        VsctlCommand::BrExists { bridge } => {
            return Ok(if has_bridge(bridge) { Outcome::Done } else { Outcome::Different });
        }
        VsctlCommand::AddPort { bridge, port, interface_type, options, external_ids, ofport, tag } => {
            if !has_bridge(bridge) {
                return Err(no_bridge(bridge));
            }
            if let Some(home) = home_of(port)
                && !(how.may_exist && home == *bridge)
            {
                return Err(usage(format!(
                    "port {port} is in bridge {home} already; --may-exist lets it be if that is the bridge"
                )));
            }
            let mut spec = PortSpec::new(bridge.as_str(), port.as_str());
            for text in options {
                let (key, value) = pair(text)?;
                spec = spec.option(key, value);
            }
            for text in external_ids {
                let (key, value) = pair(text)?;
                spec = spec.external_id(key, value);
            }
            if let Some(interface_type) = interface_type {
                spec = spec.interface_type(interface_type.as_str());
            }
            if let Some(ofport) = ofport {
                spec = spec.ofport_request(*ofport);
            }
            if let Some(tag) = tag {
                spec = spec.tag(*tag);
            }
            plan.add_port(spec);
            database.apply(plan, Some(port), output).await?;
        }
        VsctlCommand::DelPort { names } => {
            let (wanted, port) = match names.as_slice() {
                [bridge, port] => (Some(bridge), port),
                // The arguments' own rule: one or two.
                other => (None, &other[0]),
            };
            let Some(home) = home_of(port) else {
                let missing = usage(format!("there is no port {port}; vsctl list-ports BRIDGE lists them"));
                return if how.if_exists { Ok(Outcome::Done) } else { Err(missing) };
            };
            if let Some(wanted) = wanted.filter(|wanted| **wanted != home) {
                return Err(usage(format!("port {port} is in bridge {home}, not in {wanted}")));
            }
            plan.remove_port(home, port.as_str());
            database.apply(plan, None, output).await?;
        }
        VsctlCommand::ListPorts { bridge } => {
            let names = client.read(|replica| {
                let vswitch = replica.vswitch();
                let bridge = vswitch.bridge(bridge)?;
                // A bridge's own port has its name, and goes without saying.
                let ports = vswitch.ports(&bridge).map(|port| port.name().to_owned());
                Some(ports.filter(|name| name != bridge.name()).collect::<Vec<_>>())
            });
            let mut names = names.ok_or_else(|| no_bridge(bridge))?;
            names.sort();
            return list_names(names, "port", how.json, output);
        }
        VsctlCommand::PortToBr { port } => {
            let home = home_of(port).ok_or_else(|| usage(format!("there is no port {port}")))?;
            return list_names(vec![home], "bridge", how.json, output);
        }
        other => unreachable!("{} is not about bridges", name_of(other)),
    }
    Ok(Outcome::Done)
}

fn name_of(command: &VsctlCommand) -> &'static str {
    match command {
        VsctlCommand::Show => "show",
        VsctlCommand::AddBr { .. } => "add-br",
        VsctlCommand::DelBr { .. } => "del-br",
        VsctlCommand::ListBr => "list-br",
        VsctlCommand::BrExists { .. } => "br-exists",
        VsctlCommand::AddPort { .. } => "add-port",
        VsctlCommand::DelPort { .. } => "del-port",
        VsctlCommand::ListPorts { .. } => "list-ports",
        VsctlCommand::PortToBr { .. } => "port-to-br",
        VsctlCommand::List { .. } => "list",
        VsctlCommand::Get { .. } => "get",
        VsctlCommand::Set { .. } => "set",
        VsctlCommand::Add { .. } => "add",
        VsctlCommand::Remove { .. } => "remove",
        VsctlCommand::Clear { .. } => "clear",
    }
}

fn list_names(
    names: Vec<String>,
    what: &str,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    for name in names {
        if as_json { output.line(json!({what: name})) } else { output.line(name) }?;
    }
    Ok(Outcome::Done)
}
