//! The agent of one host: its tasks, and who tells whom.
//!
//! ```text
//!  dockerd ──▶ plugin socket ─▶ AgentDriver ─┬──▶ Ipam ───────┬──▶ store (etcd, or a file)
//!  operator ─▶ admin socket ──▶ AdminBackend ┤                │        │
//!                                            ▼                │        ▼ mirrors
//!                          ledger ◀── Registry ◀──────────────┼─── Follower
//!                                            │  changed       │
//!                                            ├──▶ Publisher ──┘
//!                              changes       ▼
//!                                       Programmer ──▶ links, OVSDB, OpenFlow
//!
//!  Reconciler ──▶ Docker's lists, compared with the Registry
//! ```
//!
//! On a switch, with `--dataplane linux`, there is neither Docker nor Open vSwitch:
//!
//! ```text
//!                                     Registry ◀── Follower
//!                              changes   │  ▲
//!                                        ▼  │ claims
//!        links, FDB, neighbours ◀── Programmer ── MACs seen ──▶ Stations ──▶ store
//! ```
//!
//! On a switch that is told by its database, with `--dataplane hardware-vtep`, it is the same with OVSDB rows for links
//! and FDB.
//!
//! The registry holds what is known and is the only one that tells the programmer; everything else only tells the
//! registry. No agent speaks to another: each follows the same store.

mod admin;
mod driver;
mod follower;
mod publisher;
mod reconciler;
mod registry;
mod stations;
mod surroundings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::admin::AdminBackend;
use self::driver::AgentDriver;
use self::follower::StoreHealth;
use self::publisher::Publisher;
use self::reconciler::Reconciler;
use self::registry::{Registry, Restored};
use self::stations::{StationState, Stations};
use self::surroundings::{KnownNetworks, Routes};
use crate::api;
use crate::api::admin::{StoreBackend, StoreSettings};
use crate::api::http::{self, BindError};
use crate::api::libnetwork::Edge;
use crate::config::{AgentConfig, DatapathChoice, DataplaneChoice, StoreConfig};
use crate::ipam::{Ipam, IpamConfig};
use crate::model::{Dataplane, Node, NodeName, UnknownFields};
use crate::node::docker::Docker;
use crate::node::link::{LinkError, Links};
use crate::node::programmer::{self, Change, LinuxConfig, Programmer, VtepConfig};
use crate::plan::Facts;
use crate::store::{Embedded, Etcd, Ledger, Store, StoreError};

/// How long one exchange with the switch may take.
const SWITCH_PATIENCE: Duration = Duration::from_secs(5);
/// How long calls under way may take to end when the agent is told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often the underlay's link is looked at.
const UNDERLAY_INTERVAL: Duration = Duration::from_secs(5);

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket cannot be put in its place.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The ledger or the embedded store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory is that of another node.
    #[error(
        "state-dir {}: it holds endpoints that were made under the node name {before}: start the agent with \
         --node {before}, or stop the containers of sluice's networks first",
        path.display()
    )]
    Renamed {
        /// The directory.
        path: PathBuf,
        /// The name.
        before: NodeName,
    },
    /// A part of the agent has ended, which none should.
    #[error(
        "the agent's {0} has ended, and the rest is of no use without it: start it again; the log has the reason"
    )]
    Ended(&'static str),
    /// It is not said where the switch's database is.
    #[error(
        "dataplane hardware-vtep needs vtep-database: name the switch's database, as in tcp:192.0.2.9:6640"
    )]
    NoDatabase,
    /// Netlink is not to be had.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The state directory cannot be used.
    #[error("state-dir {}: {source}: give a directory of this host's disk that root can write", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What tells this installation from another host with the same node name: drawn once, kept in the state directory.
fn installation(state_dir: &Path) -> Result<String, io::Error> {
    let path = state_dir.join("installation");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let drawn = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
    let draft = state_dir.join("installation.new");
    std::fs::write(&draft, format!("{drawn}\n"))?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(&draft, &path)?;
    Ok(drawn)
}

fn open_store(config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match config {
        StoreConfig::Embedded(path) => Embedded::open(path)?,
        StoreConfig::Etcd(etcd) => Etcd::connect(etcd.clone())?,
    })
}

/// Runs the agent until `stop` is ready. Networks and containers go on without it.
///
/// # Errors
/// The agent cannot start, or a part of it has failed. What can be missing for a while (the store, Open vSwitch, Docker, the underlay's address)
/// is not among the reasons: it is waited for, and `sluice status` tells of it.
pub async fn run(
    config: AgentConfig,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    let started = Instant::now();
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let state_dir = |source| StartError::StateDir { path: config.state_dir.clone(), source };
    std::fs::create_dir_all(&config.state_dir).map_err(state_dir)?;
    let installation = installation(&config.state_dir).map_err(state_dir)?;
    let ledger = Ledger::open(&config.state_dir.join("ledger.redb"))?;
    let restored = Restored::load(&ledger, &config.node)?;
    if let Some(before) = restored.other_node(&config.node) {
        return Err(StartError::Renamed { path: config.state_dir, before });
    }
    let store = open_store(&config.store)?;
    let links = Links::new()?;
    // Before anything is programmed: where another agent answers, this one must not have touched its switch. And before
    // all that waits: dockerd gives up on a driver for good if it cannot ask for its capabilities.
    let plugin = match config.dataplane {
        DataplaneChoice::Ovs => Some(http::bind(&config.plugin_socket)?),
        DataplaneChoice::Linux | DataplaneChoice::HardwareVtep => None,
    };
    let admin = http::bind(&config.admin_socket)?;

    let dataplane = match config.datapath {
        DatapathChoice::Auto => None,
        DatapathChoice::System => Some(Dataplane::OvsSystem),
        DatapathChoice::Netdev => Some(Dataplane::OvsNetdev),
    };
    let mut facts = Facts::new(config.node.clone());
    facts.underlay = config.underlay;
    facts.uplink_bridge = config.uplink_bridge.as_ref().map(|bridge| bridge.as_str().to_owned());
    // A switch that is told by its database has its address there, and not here.
    let is_elsewhere = config.dataplane == DataplaneChoice::HardwareVtep;
    let own_underlay = config.underlay.filter(|_| !is_elsewhere);
    let underlay_problem = match surroundings::underlay_mtu(&links, own_underlay).await {
        Ok(mtu) => {
            facts.underlay_mtu = mtu;
            None
        }
        Err(error) => Some(error.to_string()),
    };

    let (all_heard, heard) = watch::channel(false);
    let (programmer, sighted) = match config.dataplane {
        DataplaneChoice::Ovs => {
            let switch = programmer::Config {
                ovs_rundir: config.ovs_rundir.clone(),
                bridge: config.bridge.as_str().to_owned(),
                dataplane,
                patience: SWITCH_PATIENCE,
                audit_interval: config.audit_interval,
            };
            (Programmer::start(switch, facts.clone(), links.clone(), restored.changes()), None)
        }
        DataplaneChoice::Linux => {
            let form = config.linux_form.clone();
            let config_db = config.sonic_config_db.clone();
            let switch = LinuxConfig { form, audit_interval: config.audit_interval, config_db };
            let (programmer, sighted) =
                Programmer::start_linux(switch, facts.clone(), restored.changes(), heard);
            (programmer, Some(sighted))
        }
        DataplaneChoice::HardwareVtep => {
            let database = config.vtep.clone().ok_or(StartError::NoDatabase)?;
            let switch =
                VtepConfig { database, patience: SWITCH_PATIENCE, audit_interval: config.audit_interval };
            let (programmer, sighted) =
                Programmer::start_vtep(switch, facts.clone(), restored.changes(), heard);
            (programmer, Some(sighted))
        }
    };
    let registry = Registry::new(config.node.clone(), ledger.clone(), programmer.clone(), restored);
    let (facts, facts_receiver) = watch::channel(facts);
    let (problem, underlay_problem) = watch::channel(underlay_problem);
    let ipam = Ipam::new(
        config.node.clone(),
        store.clone(),
        ledger,
        Arc::new(KnownNetworks::new(registry.clone(), store.clone())),
        Arc::new(Routes::new(links.clone())),
        IpamConfig { default_pools: config.default_pools.clone(), ..IpamConfig::default() },
    )?;
    let driver = Arc::new(AgentDriver {
        registry: registry.clone(),
        store: store.clone(),
        ipam: ipam.clone(),
        facts: facts_receiver.clone(),
        default_encapsulation: config.default_encapsulation,
        patience: config.program_deadline,
        making_local: tokio::sync::Mutex::default(),
    });

    let (stopping, stopped) = watch::channel(false);
    let until_stopped = || {
        let mut stopped = stopped.clone();
        async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    };
    let edge = Edge::new(driver.clone());
    let plugin = plugin.map(|plugin| {
        info!(socket = %config.plugin_socket.display(), "Docker is answered");
        let answer = move |request| edge.clone().answer(request);
        tokio::spawn(http::serve(plugin, answer, until_stopped(), STOP_PATIENCE))
    });
    info!(node = %config.node, store = store.describe(), "the agent runs");

    let own_node = |facts: &Facts, state: &programmer::State| {
        let dataplane = state.dataplane.unwrap_or(Dataplane::OvsSystem);
        Node {
            name: config.node.clone(),
            installation: installation.clone(),
            // What the switch itself says, once it is known.
            underlay: match is_elsewhere {
                true => state.vtep.as_ref().map(|vtep| vtep.identity.tunnel),
                false => facts.underlay,
            },
            underlay_mtu: facts.underlay_mtu,
            encapsulations: dataplane.encapsulations().to_vec(),
            dataplane,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            unknown: UnknownFields::new(),
        }
    };
    let (node, node_receiver) = watch::channel(own_node(&facts.borrow(), &programmer.state()));
    registry.set_own_node(node.borrow().clone());
    let (health, health_receiver) = watch::channel(StoreHealth::default());
    let (publishing, publish_problem) = watch::channel(None);
    let mut parts = Parts::default();
    parts.spawn("programmer", ended(programmer.follow()));
    parts.spawn("follower", follower::run(registry.clone(), ipam.clone(), store.clone(), health));
    let mut published = node_receiver.clone();
    let publisher =
        Publisher::new(registry.clone(), store.clone(), node_receiver, health_receiver.clone(), publishing);
    parts.spawn("publisher", async move {
        // Until the switch has told where its tunnels end, the store's word from before a restart is the better one:
        // the others send to it.
        let is_known = |node: &Node| !is_elsewhere || node.underlay.is_some();
        if published.wait_for(is_known).await.is_ok() {
            publisher.run().await;
        }
    });
    parts.spawn("address management", ipam.clone().run());
    let (_, no_stations) = watch::channel(StationState::default());
    let stations = match sighted {
        Some(sighted) => {
            let stations = Stations::new(registry.clone(), store.clone(), sighted);
            let state = stations.state();
            parts.spawn("station publisher", stations.run());
            let registry = registry.clone();
            tokio::spawn(async move {
                registry.settled().await;
                all_heard.send_replace(true);
                // The programmer takes the end of this for the agent's.
                std::future::pending::<()>().await;
            });
            state
        }
        None => no_stations,
    };
    let docker_socket = config.docker_socket.as_ref().filter(|_| config.dataplane == DataplaneChoice::Ovs);
    let docker = docker_socket.map(Docker::new);
    let reconciler = Reconciler::new(driver.clone(), docker, config.reconcile_interval, config.docker_sync);
    let docker_state = reconciler.state();
    parts.spawn("reconciler", reconciler.run());
    let settings = StoreSettings {
        node: config.node.clone(),
        default_encapsulation: config.default_encapsulation,
        default_pools: config.default_pools.clone(),
    };
    let backend = AdminBackend {
        driver,
        cluster: StoreBackend::new(store.clone(), settings),
        store_kind: match config.store {
            StoreConfig::Embedded(_) => "embedded",
            StoreConfig::Etcd(_) => "etcd",
        },
        bridge: config.bridge.clone(),
        started,
        started_at: registry::now(),
        links: links.clone(),
        health: health_receiver,
        publish_problem,
        underlay_problem,
        docker: docker_state,
        stations,
    };
    let admin = tokio::spawn(api::admin::serve(admin, Arc::new(backend), until_stopped()));

    let mut switch = programmer.follow();
    let watching = async {
        loop {
            let seen = surroundings::underlay_mtu(&links, own_underlay).await;
            problem.send_if_modified(|problem| {
                let now = seen.as_ref().err().map(ToString::to_string);
                let differs = *problem != now;
                *problem = now;
                differs
            });
            if let Ok(mtu) = seen
                && mtu != facts.borrow().underlay_mtu
            {
                info!(mtu, "the underlay's MTU");
                facts.send_modify(|facts| facts.underlay_mtu = mtu);
                programmer.apply(vec![Change::UnderlayMtu(mtu)]);
            }
            let own = own_node(&facts.borrow(), &switch.borrow_and_update());
            if is_elsewhere && facts.borrow().underlay != own.underlay {
                facts.send_modify(|facts| facts.underlay = own.underlay);
            }
            if *node.borrow() != own {
                registry.set_own_node(own.clone());
                node.send_replace(own);
            }
            // The datapath becomes known with the first round, as does where the tunnels of a switch elsewhere end.
            let settled = async {
                let is_news = |state: &programmer::State| *node.borrow() != own_node(&facts.borrow(), state);
                if switch.wait_for(is_news).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = settled => {}
                () = tokio::time::sleep(UNDERLAY_INTERVAL) => {}
            }
        }
    };
    let outcome = tokio::select! {
        () = watching => Ok(()),
        () = stop => Ok(()),
        part = parts.first_end() => Err(StartError::Ended(part)),
    };
    info!("stopping; networks and containers go on");
    stopping.send_replace(true);
    if let Some(plugin) = plugin {
        let _ = plugin.await;
    }
    let _ = admin.await;
    outcome
}

/// The tasks that last as long as the agent. A panic ends one of them without a word to anybody else.
#[derive(Default)]
struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Parts {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(self.tasks.spawn(task).id(), name);
    }

    /// Waits until one ends, and tells which.
    async fn first_end(&mut self) -> &'static str {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => std::future::pending().await,
        };
        self.names.get(&id).copied().unwrap_or("task")
    }
}

/// Ready when the programmer's task is gone.
async fn ended(mut state: watch::Receiver<programmer::State>) {
    while state.changed().await.is_ok() {}
}
