//! The `sluice` command: the agent, and the operator's view of it.
//!
//! | command | what it does |
//! |---|---|
//! | `sluice agent` | runs the agent; `--check-config` prints the effective configuration and ends |
//! | `sluice network ls`, `inspect NAME`, `create NAME`, `rm NAME` | the cluster's networks |
//! | `sluice endpoint ls`, `inspect ID`, `rm ID` | the endpoints of all nodes; the beginning of an id does |
//! | `sluice node ls`, `inspect NAME`, `rm NAME` | the nodes |
//! | `sluice port attach PORT --network NAME`, `detach PORT`, `ls` | ports of switches in networks |
//! | `sluice status` | how this node is, and what is wrong |
//! | `sluice doctor` | checks what the agent needs, whether or not it runs |
//! | `sluice version` | the version |
//!
//! With `--json` a command prints one JSON object a line: `ls` and `doctor` one for each row, the others one in
//! all. Their fields are those of [`api::admin`](crate::api::admin), and stable. Errors are one line on stderr.
//! The exit status is 0 for success, 1 for failure, and 2 for wrong usage or configuration.
//!
//! The commands ask the local agent by its admin socket. With `--store etcd://HOST:PORT`, or `SLUICE_STORE`, they
//! work on the cluster's store instead, where no agent runs; `status` alone does not.

mod doctor;
mod output;
mod show;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::future::Future;
use std::io::Write;
use std::net::IpAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::api::admin::{
    AdminError, AttachPort, Backend, Client, CreateNetwork, StoreBackend, StoreSettings, SubnetView,
    resolve_endpoint,
};
use crate::config::{AgentArgs, AgentConfig, ClientArgs, ClientConfig, ConfigError, LogFormat};
use crate::model::{NetworkName, NetworkOptions, NodeName, PortName, PortTag, Subnet, VlanId};
use crate::store::Etcd;
use output::Output;

/// Resolves when the agent is to stop.
pub type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug, Parser)]
#[command(name = "sluice", version, about = "Networks across stand-alone Docker hosts, on Open vSwitch")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent of this host
    Agent(AgentCommand),
    /// The networks of the cluster
    Network(Group<NetworkAction>),
    /// The endpoints: attachments of containers to networks
    Endpoint(Group<EndpointAction>),
    /// The nodes: hosts that run an agent
    Node(Group<NodeAction>),
    /// The ports of switches that are members of networks
    Port(Group<PortAction>),
    /// How this node is, and what is wrong
    Status(Common),
    /// Check what the agent needs
    Doctor(Common),
    /// The version
    Version {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct AgentCommand {
    #[command(flatten)]
    config: AgentArgs,
    /// Check the configuration and the files that it names, print it, and end
    #[arg(long)]
    check_config: bool,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    client: ClientArgs,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Args)]
struct Group<A: Subcommand> {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    action: A,
}

#[derive(Debug, Subcommand)]
enum NetworkAction {
    /// List the networks
    Ls,
    /// Show a network and its endpoints
    Inspect {
        /// The network
        name: NetworkName,
    },
    /// Create a network, or make sure that the one there is agrees
    Create(Box<CreateArgs>),
    /// Remove a network that has no endpoints
    Rm {
        /// The network
        name: NetworkName,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The network, named the same on every host
    name: NetworkName,
    /// A subnet, such as 10.5.0.0/16 or fd00:5::/64; without any, one is chosen (repeatable)
    #[arg(long, value_name = "PREFIX")]
    subnet: Vec<String>,
    /// The gateway of the subnet that it lies in [default: the subnet's first address] (repeatable)
    #[arg(long, value_name = "ADDR")]
    gateway: Vec<IpAddr>,
    /// An address that no endpoint gets (repeatable)
    #[arg(long, value_name = "NAME=ADDR")]
    reserve: Vec<String>,
    /// vxlan, geneve, gre, vlan or local [default: the agent's]
    #[arg(long)]
    encap: Option<String>,
    /// The virtual network identifier, with tunnels [default: the network's id]
    #[arg(long)]
    vni: Option<String>,
    /// The VLAN identifier, with --encap vlan
    #[arg(long)]
    vlan: Option<String>,
    /// The MTU of the endpoints in bytes [default: what the underlay leaves]
    #[arg(long)]
    mtu: Option<String>,
    /// How containers reach what is outside: docker or none [default: docker]
    #[arg(long)]
    external: Option<String>,
    /// Have agents create the Docker network on every host
    #[arg(long)]
    docker_sync: bool,
}

#[derive(Debug, Subcommand)]
enum EndpointAction {
    /// List the endpoints
    Ls {
        /// Only those of this network
        #[arg(long, value_name = "NAME")]
        network: Option<NetworkName>,
    },
    /// Show an endpoint
    Inspect {
        /// The endpoint, or the beginning of its id
        id: String,
    },
    /// Remove an endpoint that Docker has forgotten
    Rm {
        /// The endpoint, or the beginning of its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum NodeAction {
    /// List the nodes
    Ls,
    /// Show a node and its endpoints
    Inspect {
        /// The node
        name: NodeName,
    },
    /// Remove a node whose agent does not run any more
    Rm {
        /// The node
        name: NodeName,
        /// Remove its endpoints too, and give their addresses back
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
enum PortAction {
    /// Make a port of a switch a member of a network
    Attach {
        /// The port, as the switch names it, such as swp1
        port: PortName,
        /// The network
        #[arg(long, value_name = "NAME")]
        network: NetworkName,
        /// Only the frames of this VLAN, which have its tag on the port [default: the frames without a tag]
        #[arg(long)]
        vlan: Option<VlanId>,
        /// The switch [default: the one whose agent is asked]
        #[arg(long, value_name = "NODE")]
        node: Option<NodeName>,
    },
    /// Take a port of a switch out of its network
    Detach {
        /// The port
        port: PortName,
        /// The VLAN of it
        #[arg(long)]
        vlan: Option<VlanId>,
        /// The switch [default: the one whose agent is asked]
        #[arg(long, value_name = "NODE")]
        node: Option<NodeName>,
    },
    /// List the attached ports
    Ls {
        /// Only those of this network
        #[arg(long, value_name = "NAME")]
        network: Option<NetworkName>,
        /// Only those of this switch
        #[arg(long, value_name = "NODE")]
        node: Option<NodeName>,
    },
}

/// Why a command ends without success.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Refused(#[from] AdminError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    #[error("{0}")]
    Agent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Everything was said already.
    #[error("")]
    Silent,
}

impl CliError {
    fn exit_code(&self) -> u8 {
        // systemd's RestartPreventExitStatus=2 keeps an agent with a wrong configuration from starting for ever.
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            _ => 1,
        }
    }
}

/// Runs the command that these arguments ask for. `agent` runs the agent until its second argument resolves.
pub fn run<F, E>(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    agent: impl FnOnce(AgentConfig, Shutdown) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, with status 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut stdout = std::io::stdout().lock();
    let done = match cli.command {
        Command::Agent(command) => run_agent(command, environment, &mut stdout, agent),
        command => run_client(command, environment, &mut stdout),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough, such as head(1).
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(CliError::Silent) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sluice: {}", with_sources(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// An error with its causes, on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error, or one that already tells its cause.
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}

fn run_agent<F, E>(
    command: AgentCommand,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut dyn Write,
    agent: impl FnOnce(AgentConfig, Shutdown) -> F,
) -> Result<(), CliError>
where
    F: Future<Output = Result<(), E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let config = AgentConfig::load(&command.config, environment)?;
    config.check_files()?;
    if command.check_config {
        for warning in &config.warnings {
            eprintln!("sluice: warning: {warning}");
        }
        out.write_all(config.to_toml().as_bytes())?;
        return Ok(());
    }
    log_to_stderr(&config);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(async {
        let shutdown = shutdown_signal().map_err(CliError::Runtime)?;
        agent(config, shutdown).await.map_err(|error| CliError::Agent(error.into()))
    })
}

fn log_to_stderr(config: &AgentConfig) {
    use std::io::IsTerminal;
    // The filter was checked with the configuration.
    let filter = tracing_subscriber::EnvFilter::new(config.log_filter.as_str());
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber can only be another test's in the same process.
    let _ = match config.log_format {
        LogFormat::Text => format.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => format.json().flatten_event(true).try_init(),
    };
}

fn shutdown_signal() -> std::io::Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(Box::pin(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    }))
}

fn run_client(
    command: Command,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    stdout: &mut dyn Write,
) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(async {
        match command {
            Command::Agent(_) => unreachable!("the agent is run by run_agent"),
            Command::Version { json } => {
                Ok(show::version(&mut Output::new(stdout, json), env!("CARGO_PKG_VERSION"))?)
            }
            Command::Doctor(common) => {
                let config = ClientConfig::load(&common.client, environment);
                let healthy = doctor::run(config, &mut Output::new(stdout, common.json)).await?;
                if healthy { Ok(()) } else { Err(CliError::Silent) }
            }
            Command::Status(common) => {
                let backend = connect(&common, environment)?;
                let status = backend.status().await?;
                Ok(show::status(&mut Output::new(stdout, common.json), &status)?)
            }
            Command::Network(group) => {
                let backend = connect(&group.common, environment)?;
                network(&*backend, group.action, &mut Output::new(stdout, group.common.json)).await
            }
            Command::Endpoint(group) => {
                let backend = connect(&group.common, environment)?;
                endpoint(&*backend, group.action, &mut Output::new(stdout, group.common.json)).await
            }
            Command::Port(group) => {
                let backend = connect(&group.common, environment)?;
                port(&*backend, group.action, &mut Output::new(stdout, group.common.json)).await
            }
            Command::Node(group) => {
                let backend = connect(&group.common, environment)?;
                node(&*backend, group.action, &mut Output::new(stdout, group.common.json)).await
            }
        }
    })
}

/// What answers: the store if one is named, else the agent.
fn connect(
    common: &Common,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Arc<dyn Backend>, CliError> {
    let config = ClientConfig::load(&common.client, environment)?;
    let Some(etcd) = config.store else { return Ok(Arc::new(Client::new(&config.admin_socket))) };
    config.agent.check_files()?;
    let settings = StoreSettings {
        node: config.agent.node,
        default_encapsulation: config.agent.default_encapsulation,
        default_pools: config.agent.default_pools,
    };
    Ok(Arc::new(StoreBackend::new(Etcd::connect(etcd)?, settings)))
}

async fn network(backend: &dyn Backend, action: NetworkAction, out: &mut Output<'_>) -> Result<(), CliError> {
    match action {
        NetworkAction::Ls => show::networks(out, &backend.networks().await?)?,
        NetworkAction::Inspect { name } => show::network(out, &backend.network(&name).await?)?,
        NetworkAction::Create(arguments) => {
            let request = arguments.to_request().map_err(CliError::Usage)?;
            show::created(out, &backend.create_network(request).await?)?;
        }
        NetworkAction::Rm { name } => show::removed(out, &backend.remove_network(&name).await?)?,
    }
    Ok(())
}

async fn endpoint(
    backend: &dyn Backend,
    action: EndpointAction,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    match action {
        EndpointAction::Ls { network } => {
            show::endpoints(out, &backend.endpoints(network.as_ref()).await?)?;
        }
        EndpointAction::Inspect { id } => {
            let id = resolve_endpoint(backend, &id).await?;
            show::endpoint(out, &backend.endpoint(&id).await?)?;
        }
        EndpointAction::Rm { id } => {
            let id = resolve_endpoint(backend, &id).await?;
            show::removed(out, &backend.remove_endpoint(&id).await?)?;
        }
    }
    Ok(())
}

async fn node(backend: &dyn Backend, action: NodeAction, out: &mut Output<'_>) -> Result<(), CliError> {
    match action {
        NodeAction::Ls => show::nodes(out, &backend.nodes().await?)?,
        NodeAction::Inspect { name } => show::node(out, &backend.node(&name).await?)?,
        NodeAction::Rm { name, force } => show::removed(out, &backend.remove_node(&name, force).await?)?,
    }
    Ok(())
}

async fn port(backend: &dyn Backend, action: PortAction, out: &mut Output<'_>) -> Result<(), CliError> {
    match action {
        PortAction::Attach { port, network, vlan, node } => {
            let request = AttachPort { node, port, vlan, network };
            show::attached(out, &backend.attach_port(request).await?)?;
        }
        PortAction::Detach { port, vlan, node } => {
            let removed = backend.detach_port(node.as_ref(), &PortTag { port, vlan }).await?;
            show::removed(out, &removed)?;
        }
        PortAction::Ls { network, node } => {
            show::ports(out, &backend.ports(network.as_ref(), node.as_ref()).await?)?;
        }
    }
    Ok(())
}

impl CreateArgs {
    fn to_request(&self) -> Result<CreateNetwork, String> {
        let about = |error: &dyn Display| format!("network {}: {error}", self.name);
        let given = [
            ("encap", &self.encap),
            ("vni", &self.vni),
            ("vlan", &self.vlan),
            ("mtu", &self.mtu),
            ("external", &self.external),
        ];
        let given: BTreeMap<String, String> =
            given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
        let options = NetworkOptions::parse(&given).map_err(|error| about(&error))?;
        let mut subnets = self
            .subnet
            .iter()
            .map(|text| Subnet::parse(text).map_err(|error| about(&error)))
            .collect::<Result<Vec<_>, _>>()?;
        let subnet_of = |subnets: &[Subnet], what: &str, address: IpAddr| {
            subnets.iter().position(|subnet| subnet.prefix.contains(&address)).ok_or_else(|| {
                about(&format_args!(
                    "{what} {address} is in none of its subnets: give the subnet with --subnet"
                ))
            })
        };
        for gateway in &self.gateway {
            let index = subnet_of(&subnets, "gateway", *gateway)?;
            if let Some(other) = subnets[index].gateway.replace(*gateway) {
                let prefix = subnets[index].prefix;
                return Err(about(&format_args!(
                    "gateways {other} and {gateway} are both in {prefix}: a subnet has one"
                )));
            }
        }
        for text in &self.reserve {
            let (name, address) = text
                .split_once('=')
                .and_then(|(name, address)| Some((name, address.parse::<IpAddr>().ok()?)))
                .ok_or_else(|| {
                    about(&format_args!("--reserve {text}: NAME=ADDR is wanted, as in router=10.5.0.9"))
                })?;
            let index = subnet_of(&subnets, "reserved address", address)?;
            subnets[index].reserved.insert(name.to_owned(), address);
        }
        Ok(CreateNetwork {
            name: self.name.clone(),
            subnets: subnets.iter().map(SubnetView::from).collect(),
            encapsulation: options.encapsulation,
            vni: options.vni,
            vlan: options.vlan,
            mtu: options.mtu,
            external: options.external,
            docker_sync: self.docker_sync,
        })
    }
}
