//! The agent's configuration: flags, environment and file.
//!
//! Every key is a flag `--KEY`, an environment variable `SLUICE_KEY` (capitals, underscores) and a key of the TOML
//! file that `--config` or `SLUICE_CONFIG` names. A flag counts before the environment, the environment before the
//! file, the file before the default. The file is flat:
//!
//! ```toml
//! node = "rack1-host7"
//! underlay = "192.0.2.7"
//! store = "etcd://192.0.2.1:2379,192.0.2.2:2379"
//! etcd-ca = "/etc/sluice/ca.pem"
//! default-pool = ["10.192.0.0/10/20"]   # subnets of length 20, cut from 10.192.0.0/10
//! docker-sync = true
//! ```
//!
//! Secrets are in files of their own: no value of the configuration is one.

mod args;
mod check;
mod error;
mod keys;
mod layers;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::ipam::DefaultPools;
use crate::linux::Form;
use crate::model::{Encapsulation, LinkName, NodeName};
use crate::node::vtep::{Address, Database, TlsFiles};
use crate::sonic;
use crate::store::{DEFAULT_CALL_TIMEOUT, EtcdConfig, EtcdTls, EtcdUser};
use layers::{Given, Layers};
use value::{DefaultPool, StoreAddress};

pub use args::{AgentArgs, ClientArgs};
pub use error::{ConfigError, Origin};
pub use value::{DatapathChoice, DataplaneChoice, LogFilter, LogFormat};

/// How `sluice agent` is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// This node's name.
    pub node: NodeName,
    /// The address at which it takes tunnel packets; none: it takes part in no tunnel.
    pub underlay: Option<IpAddr>,
    /// What forwards packets.
    pub dataplane: DataplaneChoice,
    /// How networks are laid on bridges, with the linux dataplane.
    pub linux_form: Form,
    /// SONiC's CONFIG_DB, if it is to be written.
    pub sonic_config_db: Option<sonic::Address>,
    /// The switch's database, with the hardware-vtep dataplane.
    pub vtep: Option<Database>,
    /// Open vSwitch's run directory.
    pub ovs_rundir: PathBuf,
    /// The bridge that the agent programs.
    pub bridge: LinkName,
    /// Which datapath the bridge gets.
    pub datapath: DatapathChoice,
    /// The OVS bridge that carries the trunk of VLAN networks.
    pub uplink_bridge: Option<LinkName>,
    /// The encapsulation of networks that ask for none.
    pub default_encapsulation: Encapsulation,
    /// Where subnets that nobody chose are cut from.
    pub default_pools: DefaultPools,
    /// The cluster's store.
    pub store: StoreConfig,
    /// Where Docker finds the plugin.
    pub plugin_socket: PathBuf,
    /// Where the operator's commands find the agent.
    pub admin_socket: PathBuf,
    /// Docker's API socket.
    pub docker_socket: Option<PathBuf>,
    /// Whether to create the Docker networks of cluster networks that are marked for it.
    pub docker_sync: bool,
    /// Where the agent keeps what must survive a restart.
    pub state_dir: PathBuf,
    /// How long an answer to Docker waits for the switch.
    pub program_deadline: Duration,
    /// How often Docker's objects are compared with ours.
    pub reconcile_interval: Duration,
    /// How often the switch is compared with the plan.
    pub audit_interval: Duration,
    /// What is logged.
    pub log_filter: LogFilter,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What looks like a mistake and is none for certain; to be logged at start.
    pub warnings: Vec<String>,
    layers: Layers,
}

/// The cluster's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// A file of this host.
    Embedded(PathBuf),
    /// An etcd cluster.
    Etcd(EtcdConfig),
}

/// How the operator's commands reach the cluster's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The agent's admin socket.
    pub admin_socket: PathBuf,
    /// The store, if the caller named one by flag or variable: then no agent is asked.
    pub store: Option<EtcdConfig>,
    /// All of the configuration as far as it is known here, for `sluice doctor`.
    pub agent: AgentConfig,
}

impl AgentConfig {
    /// The configuration that flags, environment and file make together.
    ///
    /// # Errors
    /// The first mistake, with the key, the value, what is wanted and where it came from.
    pub fn load(
        args: &AgentArgs,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<AgentConfig, ConfigError> {
        AgentConfig::resolve(Layers::collect(args.flags(), environment)?)
    }

    fn resolve(mut layers: Layers) -> Result<AgentConfig, ConfigError> {
        if let Some(name) = hostname() {
            layers.set_default("node", name, Origin::Hostname);
        }
        let node = layers.required("node", |text| {
            text.parse().map_err(|error| format!("{error}; choose one with --node"))
        })?;
        let state_dir: PathBuf = layers.required("state-dir", value::parse_path)?;
        let store = layers.store(&state_dir)?;
        let default_pools = layers.pools()?;
        let time = |layers: &Layers, key, least, most| {
            layers.required(key, |text| value::parse_time(text, least, most))
        };
        let (moment, minute, day) =
            (Duration::from_millis(100), Duration::from_secs(60), Duration::from_secs(86_400));
        let dataplane = layers.parsed("dataplane")?;
        Ok(AgentConfig {
            node,
            underlay: layers.optional("underlay", value::parse_underlay)?,
            dataplane,
            vtep: layers.vtep(dataplane)?,
            linux_form: layers.required("linux-form", value::parse_form)?,
            sonic_config_db: layers.sonic_config_db()?,
            ovs_rundir: layers.required("ovs-rundir", value::parse_path)?,
            bridge: layers.parsed("bridge")?,
            datapath: layers.parsed("datapath")?,
            uplink_bridge: layers.uplink_bridge()?,
            default_encapsulation: layers.default_encapsulation()?,
            default_pools,
            store,
            plugin_socket: layers.required("plugin-socket", value::parse_socket)?,
            admin_socket: layers.required("admin-socket", value::parse_socket)?,
            docker_socket: layers.required("docker-socket", |text| match text {
                "none" => Ok(None),
                path => value::parse_socket(path).map(Some),
            })?,
            docker_sync: layers.required("docker-sync", |text| {
                text.parse().map_err(|_| "true or false is wanted".to_owned())
            })?,
            state_dir,
            program_deadline: time(&layers, "program-deadline", moment, minute)?,
            reconcile_interval: time(&layers, "reconcile-interval", Duration::from_secs(1), day)?,
            audit_interval: time(&layers, "audit-interval", Duration::from_secs(1), day)?,
            log_filter: layers.parsed("log-level")?,
            log_format: layers.parsed("log-format")?,
            warnings: std::mem::take(&mut layers.warnings),
            layers,
        })
    }

    /// The effective configuration as a TOML document, each value with its origin. There are no secrets in it.
    pub fn to_toml(&self) -> String {
        self.layers.to_toml()
    }
}

impl ClientConfig {
    /// The configuration of an operator's command. It takes the same environment and file as the agent.
    ///
    /// # Errors
    /// As [`AgentConfig::load`], and for `store` by flag or variable that is not etcd: the embedded store's file
    /// has one owner, the agent.
    pub fn load(
        args: &ClientArgs,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<ClientConfig, ConfigError> {
        let layers = Layers::collect(args.flags(), environment)?;
        let named = layers.is_from_caller("store");
        let given = layers.given("store").cloned();
        let by_flag = given.as_ref().is_some_and(|given| matches!(given.origin, Origin::Flag(_)));
        let agent = AgentConfig::resolve(layers)?;
        let store = match (&agent.store, given) {
            (StoreConfig::Etcd(etcd), _) if named => Some(etcd.clone()),
            (StoreConfig::Embedded(_), Some(given)) if by_flag => {
                return Err(ConfigError::Value {
                    key: "store",
                    value: given.texts.join(","),
                    wanted:
                        "the embedded store's file belongs to the agent, which is asked by its admin socket: \
                             leave store out, or give etcd://HOST:PORT"
                            .to_owned(),
                    origin: given.origin,
                });
            }
            _ => None,
        };
        Ok(ClientConfig { admin_socket: agent.admin_socket.clone(), store, agent })
    }
}

impl Layers {
    fn optional<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.given(key) else { return Ok(None) };
        let text = given.texts.first().map_or("", String::as_str);
        let parsed = if text.is_empty() { Err("a value is wanted".to_owned()) } else { parse(text) };
        parsed.map(Some).map_err(|wanted| given.refuse(key, text, wanted))
    }

    fn required<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.optional(key, parse)?.ok_or_else(|| ConfigError::Value {
            key,
            value: String::new(),
            wanted: format!("no value was given and there is no default; give --{key}"),
            origin: Origin::Default,
        })
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&self, key: &'static str) -> Result<T, ConfigError> {
        self.required(key, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    fn default_encapsulation(&self) -> Result<Encapsulation, ConfigError> {
        self.required("encap", |text| match text.parse() {
            Ok(Encapsulation::Vlan) => Err(
                "each VLAN network needs its own id, so that vlan cannot be the default; name it per network"
                    .to_owned(),
            ),
            parsed => parsed.map_err(|error: crate::model::EncapsulationParseError| error.to_string()),
        })
    }

    fn uplink_bridge(&self) -> Result<Option<LinkName>, ConfigError> {
        let bridge: LinkName = self.parsed("bridge")?;
        self.optional("uplink-bridge", |text| {
            let uplink: LinkName = text.parse().map_err(|error: crate::model::IdError| error.to_string())?;
            if uplink == bridge {
                return Err(
                    "that is the agent's own bridge; the bridge that has the trunk is wanted".to_owned()
                );
            }
            Ok(uplink)
        })
    }

    fn sonic_config_db(&self) -> Result<Option<sonic::Address>, ConfigError> {
        let address = self.required("sonic-config-db", value::parse_config_db)?;
        if address.is_some() {
            let form = self.required("linux-form", value::parse_form)?;
            self.needs(
                "sonic-config-db",
                matches!(form, Form::Sonic { .. }),
                "linux-form",
                "give linux-form = \"sonic\": only SONiC builds its links from CONFIG_DB",
            )?;
        }
        Ok(address)
    }

    /// The default pools: a family that was not given keeps its default.
    fn pools(&self) -> Result<DefaultPools, ConfigError> {
        let (mut v4, mut v6) = value::STANDARD_POOLS;
        let mut pools = DefaultPools::default();
        let Some(given) = self.given("default-pool") else { return Ok(pools) };
        let (mut has_v4, mut has_v6) = (false, false);
        for text in &given.texts {
            let refuse = |wanted| given.refuse("default-pool", text, wanted);
            let DefaultPool { prefix, subnet_length } = text.parse().map_err(refuse)?;
            let again = match prefix {
                IpNet::V4(prefix) => {
                    v4 = (prefix, subnet_length);
                    std::mem::replace(&mut has_v4, true)
                }
                IpNet::V6(prefix) => {
                    v6 = (prefix, subnet_length);
                    std::mem::replace(&mut has_v6, true)
                }
            };
            if again {
                return Err(refuse(
                    "another of this family is given: give one IPv4 and one IPv6 pool at most".into(),
                ));
            }
            pools = DefaultPools::new(v4.0, v4.1, v6.0, v6.1).map_err(|error| refuse(error.to_string()))?;
        }
        Ok(pools)
    }

    fn store(&self, state_dir: &std::path::Path) -> Result<StoreConfig, ConfigError> {
        let file = |key| self.optional(key, value::parse_path);
        let (ca, cert, key) = (file("etcd-ca")?, file("etcd-cert")?, file("etcd-key")?);
        let user = self.optional("etcd-user", |text| Ok(text.to_owned()))?;
        let password_file = file("etcd-password-file")?;
        let endpoints = match self.parsed("store")? {
            StoreAddress::Etcd(endpoints) => endpoints,
            StoreAddress::Embedded(path) => {
                for key in ["etcd-ca", "etcd-cert", "etcd-key", "etcd-user", "etcd-password-file"] {
                    self.needs(
                        key,
                        false,
                        "store",
                        "give store = \"etcd://HOST:PORT\", or leave the etcd keys out",
                    )?;
                }
                return Ok(StoreConfig::Embedded(path.unwrap_or_else(|| state_dir.join("store.redb"))));
            }
        };
        self.needs("etcd-cert", key.is_some(), "etcd-key", "name the certificate's private key")?;
        self.needs("etcd-key", cert.is_some(), "etcd-cert", "name the key's certificate")?;
        self.needs(
            "etcd-cert",
            ca.is_some(),
            "etcd-ca",
            "name the CA that etcd's own certificate is checked with",
        )?;
        self.needs(
            "etcd-user",
            password_file.is_some(),
            "etcd-password-file",
            "name the file with the password",
        )?;
        self.needs(
            "etcd-password-file",
            user.is_some(),
            "etcd-user",
            "name the user whose password that is",
        )?;
        Ok(StoreConfig::Etcd(EtcdConfig {
            endpoints,
            tls: ca.map(|ca_file| EtcdTls { ca_file, identity: cert.zip(key) }),
            user: user.zip(password_file).map(|(name, password_file)| EtcdUser { name, password_file }),
            call_timeout: DEFAULT_CALL_TIMEOUT,
        }))
    }

    fn vtep(&self, dataplane: DataplaneChoice) -> Result<Option<Database>, ConfigError> {
        let address: Option<Address> = self.optional("vtep-database", str::parse)?;
        let switch = self.optional("vtep-switch", |text| Ok(text.to_owned()))?;
        let file = |key| self.optional(key, value::parse_path);
        let files = (file("vtep-ca")?, file("vtep-cert")?, file("vtep-key")?);
        let keys = ["vtep-database", "vtep-switch", "vtep-ca", "vtep-cert", "vtep-key"];
        let is_vtep = dataplane == DataplaneChoice::HardwareVtep;
        for key in keys {
            self.needs(
                key,
                is_vtep,
                "dataplane",
                "give dataplane = \"hardware-vtep\", or leave the vtep keys out",
            )?;
        }
        if !is_vtep {
            return Ok(None);
        }
        let remedy = "name the switch's database, as in tcp:192.0.2.9:6640";
        self.needs("dataplane", address.is_some(), "vtep-database", remedy)?;
        let Some(address) = address else { return Ok(None) };
        for key in &keys[2..] {
            let remedy = "name the database as ssl:HOST:PORT (or pssl:), or leave the certificates out";
            self.needs(key, address.is_tls(), "vtep-database", remedy)?;
        }
        let tls = match files {
            (Some(ca), Some(certificate), Some(key)) => Some(TlsFiles { ca, certificate, key }),
            (ca, certificate, _) if address.is_tls() => {
                let needed = match (ca, certificate) {
                    (None, _) => "vtep-ca",
                    (_, None) => "vtep-cert",
                    _ => "vtep-key",
                };
                let remedy =
                    "with TLS both sides show a certificate: name the CA's, our own, and its private key";
                self.needs("vtep-database", false, needed, remedy)?;
                None
            }
            _ => None,
        };
        Ok(Some(Database { address, tls, switch }))
    }

    fn needs(
        &self,
        key: &'static str,
        satisfied: bool,
        needed: &'static str,
        remedy: &'static str,
    ) -> Result<(), ConfigError> {
        match self.given(key) {
            Some(given) if !satisfied => {
                Err(ConfigError::Lacks { key, origin: given.origin.clone(), needed, remedy })
            }
            _ => Ok(()),
        }
    }
}

impl Given {
    fn refuse(&self, key: &'static str, value: &str, wanted: String) -> ConfigError {
        ConfigError::Value { key, value: without_logins(value), wanted, origin: self.origin.clone() }
    }
}

/// The text without what stands before an '@' in a list of addresses: somebody may have put a password there.
fn without_logins(text: &str) -> String {
    let without = |part: &str| match part.rfind('@') {
        Some(at) => {
            let start = part.find("://").map_or(0, |scheme| scheme + 3).min(at);
            format!("{}…{}", &part[..start], &part[at..])
        }
        None => part.to_owned(),
    };
    text.split(',').map(without).collect::<Vec<_>>().join(",")
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

type Flags = BTreeMap<&'static str, Vec<String>>;
