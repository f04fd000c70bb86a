//! The manifest of SONiC's package manager (sonic-utilities, `sonic_package_manager`; SONiC Application Extension
//! design, "Manifest"), which is an image's label.
//!
//! What SONiC does with it decides what is said here: it writes the container's options, unquoted, into a shell
//! script that calls `docker create`. So whatever would need quotes is refused; the environment, which may hold
//! anything, is in the image's own configuration and not in the manifest.
//!
//! | of a bundle | in SONiC |
//! |---|---|
//! | `app`, `version` | `package.name`, `service.name`; `package.version`, a semantic version |
//! | `network = "host"` | always so; `"none"` is refused |
//! | read-only mounts, writable mounts | `container.volumes` with `:ro`; `container.mounts` |
//! | `tmpfs` | `container.tmpfs`, with the size that a bundle's have |
//! | `stop_timeout` | `service.stop-time` |
//! | `health.exec` | the image's `Healthcheck`, shown by `docker ps` |
//! | capabilities of Docker's own set | given, with the rest of that set: a [`Weaker`] |
//! | other capabilities | `container.privileged`, with consent only |
//! | read-only root, no new privileges, limits, other health probes | not to be had: a [`Weaker`] each |

mod package;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

pub use package::{Constraint, Dependency, ServiceName, SonicOrder, SonicPackage, SonicService};

use crate::bundle::{AppName, Capability, Manifest, Mount, Network, Probe, Version};

/// The label that holds the manifest.
pub const LABEL: &str = "com.azure.sonic.manifest";

/// The version of the manifest's own schema.
const SCHEMA: &str = "1.0.0";

/// What a tmpfs is mounted with; the same as in a bundle's container.
const TMPFS: &str = "rw,nosuid,nodev,exec,mode=1777,size=16m";

/// What Docker grants to a container that asks for nothing (docker-run(1), "Runtime privilege").
const DOCKER_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Where SONiC's own script mounts something in every container; a second mount there is an error of Docker's.
const TAKEN: [&str; 6] = [
    "etc/fips/fips_enable",
    "usr/share/sonic/hwsku",
    "usr/share/sonic/platform",
    "usr/share/sonic/templates/rsyslog-container.conf.j2",
    "var/run/redis",
    "var/run/redis-chassis",
];

/// Services of SONiC images, and of Cumulus, whose unit and scripts a package of that name would overwrite.
const RESERVED: [&str; 29] = [
    "acms",
    "bgp",
    "bmp",
    "containerd",
    "database",
    "docker",
    "eventd",
    "featured",
    "gbsyncd",
    "gnmi",
    "hostcfgd",
    "iccpd",
    "lldp",
    "macsec",
    "mgmt-framework",
    "mux",
    "nat",
    "pmon",
    "p4rt",
    "radv",
    "restapi",
    "sflow",
    "snmp",
    "ssh",
    "stp",
    "swss",
    "switchd",
    "syncd",
    "teamd",
];

/// Why SONiC cannot run an application as its bundle says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SonicRefusal {
    /// A name that is SONiC's.
    #[error(
        "`app` is `{0}`, which is the name of a service of the switch; choose another in the description"
    )]
    Name(AppName),
    /// A version that is none for SONiC.
    #[error(
        "`version` is `{0}`, and SONiC wants a semantic version (semver.org) like 1.4.0; change it in the description"
    )]
    Version(Version),
    /// No network.
    #[error(
        "`network` is \"none\", and SONiC's containers are always in the switch's network; \
         write network = \"host\" in the description when that is meant"
    )]
    Network,
    /// Capabilities that need consent.
    #[error(
        "`capabilities` has {}, and a SONiC manifest has no way to grant one but `privileged`, which grants all; \
         agree with --privileged", list(.0)
    )]
    Capabilities(BTreeSet<Capability>),
    /// Capabilities of somebody who is not root.
    #[error(
        "`capabilities` are for user {0}, and Docker makes them effective for root only; \
         write user = \"0\" or leave the capabilities out"
    )]
    User(u32),
    /// Further groups.
    #[error(
        "user {uid} is also in the groups {gids:?}, and an image's configuration names one group only; \
         write user = \"UID:GID\" in the description"
    )]
    Groups {
        /// Who.
        uid: u32,
        /// In which groups.
        gids: Vec<u32>,
    },
    /// A text that a shell or Docker would take apart.
    #[error(
        "`{field}` has `{text}`, and SONiC puts it unquoted on a command line; \
         only letters, digits and / . _ - + @ % are possible there"
    )]
    Text {
        /// Which field.
        field: &'static str,
        /// The text.
        text: String,
    },
    /// A place that SONiC uses.
    #[error("`{field}` has the target `/{target}`, where SONiC itself mounts something; choose another")]
    Taken {
        /// Which field.
        field: &'static str,
        /// The place.
        target: String,
    },
    /// A service of nobody.
    #[error("`asic-service` and `host-service` are both false, so SONiC would never start it; set one")]
    NoService,
}

fn list(capabilities: &BTreeSet<Capability>) -> String {
    capabilities.iter().map(Capability::as_str).collect::<Vec<_>>().join(", ")
}

/// Something of a bundle that its image has in a weaker way, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weaker {
    /// The root file system can be written to.
    WritableRoot,
    /// setuid programs and file capabilities work.
    NewPrivileges,
    /// It has all capabilities and all devices.
    Privileged,
    /// It has capabilities that the bundle does not grant.
    Capabilities(BTreeSet<&'static str>),
    /// A limit that nobody holds.
    Limit(&'static str),
    /// A probe that nobody makes.
    Probe(&'static str),
    /// A failed probe has no consequence.
    Health,
    /// A mount's missing source is made, as an empty directory.
    Source(String),
    /// A label that was left out.
    Label(String),
}

impl Weaker {
    /// The field of the description, or of the image, in question.
    pub fn field(&self) -> String {
        match self {
            Self::WritableRoot => "root".to_owned(),
            Self::NewPrivileges => "no_new_privileges".to_owned(),
            Self::Privileged | Self::Capabilities(_) => "capabilities".to_owned(),
            Self::Limit(limit) => format!("limits.{limit}"),
            Self::Probe(probe) => format!("health.{probe}"),
            Self::Health => "health.exec".to_owned(),
            Self::Source(_) => "mounts.source".to_owned(),
            Self::Label(_) => "labels".to_owned(),
        }
    }
}

impl fmt::Display for Weaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.field())?;
        match self {
            Self::WritableRoot => f.write_str("SONiC's containers have a writable root"),
            Self::NewPrivileges => f.write_str("SONiC's containers may gain privileges by setuid programs"),
            Self::Privileged => f.write_str("privileged gives all capabilities and all devices, as agreed"),
            Self::Capabilities(more) => {
                let more: Vec<&str> = more.iter().copied().collect();
                write!(f, "Docker grants {} besides", more.join(", "))
            }
            Self::Limit(_) => f.write_str("a SONiC manifest has no limits; nobody holds it"),
            Self::Probe(_) => f.write_str("Docker's health check is a command; this probe is not made"),
            Self::Health => {
                f.write_str("`docker ps` shows whether it succeeds; no release is rolled back for it")
            }
            Self::Source(source) => {
                write!(f, "if `{source}` is missing, Docker makes an empty directory of that name")
            }
            Self::Label(name) => {
                write!(f, "`{name}` is left out: another label's name begins with it or is its beginning")
            }
        }
    }
}

/// The manifest, by SONiC's names of fields.
#[derive(Debug, Serialize)]
pub(super) struct SonicManifest {
    version: &'static str,
    package: Package,
    service: Service,
    container: Container,
    processes: [(); 0],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: String,
    description: String,
    base_os: std::collections::BTreeMap<String, Constraint>,
    depends: Vec<Dependency>,
    breaks: Vec<Dependency>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Service {
    name: String,
    stop_time: String,
    #[serde(flatten)]
    of_package: SonicService,
}

#[derive(Debug, Serialize)]
struct Container {
    privileged: bool,
    volumes: Vec<String>,
    mounts: Vec<BindMount>,
    environment: std::collections::BTreeMap<String, String>,
    tmpfs: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BindMount {
    r#type: &'static str,
    source: String,
    target: String,
}

/// A manifest, and what it could not say.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) manifest: SonicManifest,
    pub(super) weaker: Vec<Weaker>,
}

/// Says in SONiC's words what the manifest of a bundle says.
pub(super) fn describe(
    manifest: &Manifest,
    package: &SonicPackage,
    privileged: bool,
) -> Result<Described, SonicRefusal> {
    if RESERVED.contains(&manifest.app.as_str()) {
        return Err(SonicRefusal::Name(manifest.app.clone()));
    }
    if !package::semantic(manifest.version.as_str()) {
        return Err(SonicRefusal::Version(manifest.version.clone()));
    }
    if manifest.run.network == Network::None {
        return Err(SonicRefusal::Network);
    }
    if !package.service.asic_service && !package.service.host_service {
        return Err(SonicRefusal::NoService);
    }
    let process = &manifest.process;
    if !process.additional_gids.is_empty() {
        return Err(SonicRefusal::Groups { uid: process.uid, gids: process.additional_gids.clone() });
    }
    let mut weaker = vec![Weaker::WritableRoot, Weaker::NewPrivileges];
    let privileged = capabilities(manifest, privileged, &mut weaker)?;
    let limits = &manifest.run.limits;
    for (name, limit) in [("memory", limits.memory), ("pids", limits.pids), ("cpus", limits.cpu_millis)] {
        weaker.extend(limit.map(|_| Weaker::Limit(name)));
    }
    weaker.extend(manifest.health.as_ref().and_then(|health| match health.probe {
        Probe::Running => None,
        Probe::Exec(_) => Some(Weaker::Health),
        Probe::Tcp(_) => Some(Weaker::Probe("tcp")),
        Probe::Http(_) => Some(Weaker::Probe("http")),
        Probe::File(_) => Some(Weaker::Probe("file")),
    }));
    let container = container(manifest, privileged, &mut weaker)?;
    let name = manifest.app.to_string();
    let description = match package.description.as_str() {
        "" => format!("{name} {}", manifest.version),
        given => given.to_owned(),
    };
    let manifest = SonicManifest {
        version: SCHEMA,
        package: Package {
            name: name.clone(),
            version: manifest.version.to_string(),
            description,
            base_os: package.base_os.clone(),
            depends: package.depends.clone(),
            breaks: package.breaks.clone(),
        },
        service: Service {
            name,
            // Whole seconds, as docker-stop(1) takes them, and never less than was asked for.
            stop_time: process.stop_timeout_ms.div_ceil(1000).to_string(),
            of_package: package.service.clone(),
        },
        container,
        processes: [],
    };
    Ok(Described { manifest, weaker })
}

/// Whether the container must be privileged.
fn capabilities(manifest: &Manifest, consent: bool, weaker: &mut Vec<Weaker>) -> Result<bool, SonicRefusal> {
    let granted = &manifest.run.capabilities;
    let beyond: BTreeSet<Capability> =
        granted.iter().filter(|c| !DOCKER_CAPABILITIES.contains(&c.as_str())).cloned().collect();
    let uid = manifest.process.uid;
    if uid != 0 && !granted.is_empty() {
        return Err(SonicRefusal::User(uid));
    }
    if beyond.is_empty() {
        let more: BTreeSet<&str> =
            DOCKER_CAPABILITIES.into_iter().filter(|d| !granted.iter().any(|c| c.as_str() == *d)).collect();
        // They are not effective for others than root.
        if uid == 0 && !more.is_empty() {
            weaker.push(Weaker::Capabilities(more));
        }
        return Ok(false);
    }
    if !consent {
        return Err(SonicRefusal::Capabilities(beyond));
    }
    weaker.push(Weaker::Privileged);
    Ok(true)
}

fn container(
    manifest: &Manifest,
    privileged: bool,
    weaker: &mut Vec<Weaker>,
) -> Result<Container, SonicRefusal> {
    let run = &manifest.run;
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for Mount { target, source, writable, .. } in &run.mounts {
        let source = plain("mounts.source", source)?.to_owned();
        let target = place("mounts", target.as_str())?;
        if *writable {
            mounts.push(BindMount { r#type: "bind", source, target });
        } else {
            // `mounts` of a SONiC manifest cannot be read-only.
            volumes.push(format!("{source}:{target}:ro"));
            weaker.push(Weaker::Source(source));
        }
    }
    let tmpfs = run.tmpfs.iter().map(|path| Ok(format!("{}:{TMPFS}", place("tmpfs", path.as_str())?)));
    let tmpfs = tmpfs.collect::<Result<_, _>>()?;
    Ok(Container { privileged, volumes, mounts, environment: Default::default(), tmpfs })
}

/// A path in the container, absolute, where nothing of SONiC's is.
fn place(field: &'static str, target: &str) -> Result<String, SonicRefusal> {
    plain(field, target)?;
    // /var/run is a link to /run in most images.
    let real = target.strip_prefix("run/").map(|rest| format!("var/run/{rest}"));
    if TAKEN.iter().any(|taken| *taken == target || real.as_deref() == Some(taken)) {
        return Err(SonicRefusal::Taken { field, target: target.to_owned() });
    }
    Ok(format!("/{target}"))
}

/// A text that neither a shell nor Docker's `-v` and `--mount` take apart.
fn plain<'a>(field: &'static str, text: &'a str) -> Result<&'a str, SonicRefusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    if text.chars().all(plain) { Ok(text) } else { Err(SonicRefusal::Text { field, text: text.to_owned() }) }
}

#[cfg(test)]
mod tests;
