//! `sluice doctor`: what the agent needs, each checked by itself, whether or not the agent runs.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use ofctl::client::ovsdb;
use ofctl::ovsdb::vswitch::Vswitch;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::output::Output;
use crate::api::admin::{Backend, Client, Severity};
use crate::config::{AgentConfig, ClientConfig, ConfigError, DatapathChoice, DataplaneChoice, StoreConfig};
use crate::model::Encapsulation;
use crate::node::docker::Docker;
use crate::node::link::Links;
use crate::node::vtep::{Database, connect};
use crate::store::{Etcd, Store, keys};
use crate::vtep::observed::{Identity, identify};

/// How long each check may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The oldest Open vSwitch that sluice is tested with.
const OLDEST_OVS: (u32, u32) = (3, 1);
/// The least MTU that IPv6 allows, RFC 8200 §5.
const LEAST_MTU: u16 = 1280;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What came of one check. With `--json` this is a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Display) -> Finding {
        Finding { check, verdict: Verdict::Ok, found: found.to_string(), remedy: None }
    }

    fn warn(check: &'static str, found: impl Display, remedy: impl Display) -> Finding {
        Finding { check, verdict: Verdict::Warn, found: found.to_string(), remedy: Some(remedy.to_string()) }
    }

    fn fail(check: &'static str, found: impl Display, remedy: impl Display) -> Finding {
        Finding { check, verdict: Verdict::Fail, found: found.to_string(), remedy: Some(remedy.to_string()) }
    }
}

/// Makes all checks and shows what they found. False if one failed.
pub(super) async fn run(config: Result<ClientConfig, ConfigError>, out: &mut Output<'_>) -> io::Result<bool> {
    let findings = match config {
        Ok(config) => examine(&config.agent).await,
        // Nothing else can be checked without knowing where things are.
        Err(error) => vec![Finding::fail("config", error, "correct it, and run this again")],
    };
    for finding in &findings {
        out.object(finding, |out| {
            writeln!(out, "{:4}  {:13}  {}", finding.verdict.name(), finding.check, finding.found)?;
            match &finding.remedy {
                Some(remedy) => writeln!(out, "{:21}{remedy}", ""),
                None => Ok(()),
            }
        })?;
    }
    Ok(findings.iter().all(|finding| finding.verdict != Verdict::Fail))
}

async fn examine(config: &AgentConfig) -> Vec<Finding> {
    let mut findings = vec![check_config(config)];
    findings.extend(check_agent(config).await);
    if config.dataplane == DataplaneChoice::Ovs {
        findings.push(check_plugin(config).await);
        findings.push(check_ovs(config).await);
        findings.push(check_datapath(config));
    }
    findings.push(check_store(config).await);
    match &config.vtep {
        Some(database) => findings.push(check_vtep(database, config).await),
        None => findings.push(check_underlay(config).await),
    }
    if config.dataplane == DataplaneChoice::Ovs {
        findings.push(check_docker(config).await);
    }
    findings
}

/// The switch's database, and whether it is that of one switch whose tunnels end where they should.
async fn check_vtep(database: &Database, config: &AgentConfig) -> Finding {
    let client = match connect(database, PATIENCE).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            let found = format!("the agent waits at {} for the switch to connect", database.address);
            return Finding::ok("switch", found);
        }
        Err(error) => {
            let remedy =
                "correct vtep-database, or let the switch listen there: vtep-ctl set-manager ptcp:6640";
            return Finding::fail("switch", super::with_sources(&error), remedy);
        }
    };
    match client.read(|replica| identify(replica, database.switch.as_deref(), config.underlay)) {
        Ok(Identity { switch, tunnel }) => {
            Finding::ok("switch", format_args!("{switch} at {}, tunnels at {tunnel}", database.address))
        }
        Err(error) => Finding::fail("switch", error, "as it says"),
    }
}

fn check_config(config: &AgentConfig) -> Finding {
    let checked = config.check_files();
    match (checked, config.warnings.first()) {
        (Err(error), _) => Finding::fail("config", error, "correct it, and start the agent again"),
        (Ok(()), Some(warning)) => Finding::warn("config", warning, "rename it, or remove it"),
        (Ok(()), None) => Finding::ok("config", format_args!("node {}", config.node)),
    }
}

async fn check_agent(config: &AgentConfig) -> Vec<Finding> {
    let status = match Client::new(&config.admin_socket).status().await {
        Ok(status) => status,
        Err(error) => {
            return vec![Finding::fail(
                "agent",
                error,
                "start it: systemctl start sluice, or `sluice agent`",
            )];
        }
    };
    let running = Finding::ok("agent", format_args!("{} runs as node {}", status.version, status.node));
    let problems = status.problems.into_iter().map(|problem| {
        let found = format!("{}: {}", problem.object, problem.what);
        match problem.severity {
            Severity::Error => Finding::fail("agent", found, problem.remedy),
            Severity::Warning => Finding::warn("agent", found, problem.remedy),
        }
    });
    std::iter::once(running).chain(problems).collect()
}

async fn check_plugin(config: &AgentConfig) -> Finding {
    let path = &config.plugin_socket;
    // Only where dockerd looks for it, `docker network create -d sluice` finds the plugin.
    let found_by_docker = ["/run/docker/plugins", "/var/run/docker/plugins"]
        .iter()
        .any(|directory| path.parent() == Some(Path::new(directory)));
    match UnixStream::connect(path).await {
        Ok(_) if !found_by_docker => Finding::warn(
            "plugin socket",
            format_args!("{} answers, but dockerd does not look there", path.display()),
            "use /run/docker/plugins/NAME.sock, or name the socket in /etc/docker/plugins/sluice.spec",
        ),
        Ok(_) => Finding::ok("plugin socket", format_args!("{} answers", path.display())),
        Err(error) => Finding::fail(
            "plugin socket",
            format_args!("{}: {error}", path.display()),
            "Docker reaches sluice by it while the agent runs: start the agent before Docker",
        ),
    }
}

async fn check_ovs(config: &AgentConfig) -> Finding {
    let target = ovsdb::Target::Unix(config.ovs_rundir.join("db.sock"));
    let client = match ovsdb::Client::connect(target, ovsdb::Options::default(), Instant::now() + PATIENCE)
        .await
    {
        Ok(client) => client,
        Err(error) => {
            return Finding::fail(
                "open vswitch",
                super::with_sources(&error),
                "start it: systemctl start openvswitch-switch; or name its run directory with --ovs-rundir",
            );
        }
    };
    let version = client.read(|replica| Vswitch::new(replica).ovs_version().map(str::to_owned));
    match version {
        Some(version) if is_older(&version, OLDEST_OVS) => Finding::warn(
            "open vswitch",
            format_args!("version {version}"),
            format_args!("sluice is tested with {}.{} and later: upgrade it", OLDEST_OVS.0, OLDEST_OVS.1),
        ),
        Some(version) => Finding::ok("open vswitch", format_args!("version {version}")),
        None => Finding::fail(
            "open vswitch",
            "the database answers, but ovs-vswitchd has not said its version",
            "start ovs-vswitchd: systemctl restart openvswitch-switch",
        ),
    }
}

fn is_older(version: &str, than: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < than,
        // A version that cannot be read is somebody's own build.
        _ => false,
    }
}

fn check_datapath(config: &AgentConfig) -> Finding {
    let kernel = Path::new("/sys/module/openvswitch").exists();
    match (config.datapath, kernel) {
        (DatapathChoice::System, false) => Finding::fail(
            "datapath",
            "system is asked for, but the kernel has no openvswitch module loaded",
            "load it: modprobe openvswitch; or use --datapath netdev",
        ),
        (DatapathChoice::Auto, false) => Finding::warn(
            "datapath",
            "netdev: the kernel has no openvswitch module loaded, so that packets take the slower way",
            "load it before the first start of the agent, if there is one: modprobe openvswitch",
        ),
        (DatapathChoice::Netdev, _) => Finding::ok("datapath", "netdev, as asked for"),
        (DatapathChoice::System | DatapathChoice::Auto, true) => Finding::ok("datapath", "system"),
    }
}

async fn check_store(config: &AgentConfig) -> Finding {
    match &config.store {
        StoreConfig::Embedded(path) if path.exists() => {
            Finding::ok("store", format_args!("embedded, {}", path.display()))
        }
        StoreConfig::Embedded(path) => Finding::warn(
            "store",
            format_args!("embedded, {} is not there yet", path.display()),
            "the agent makes it when it starts for the first time",
        ),
        StoreConfig::Etcd(etcd) => {
            let started = Instant::now();
            let answer = match Etcd::connect(etcd.clone()) {
                Ok(store) => store.get(keys::ROOT).await.map(|_| store.describe()),
                Err(error) => Err(error),
            };
            let took = started.elapsed();
            match answer {
                Ok(address) if took > Duration::from_millis(500) => Finding::warn(
                    "store",
                    format_args!("{address} took {} ms to answer", took.as_millis()),
                    "look at etcd's disk and network: every new container waits for it",
                ),
                Ok(address) => {
                    Finding::ok("store", format_args!("{address} answers in {} ms", took.as_millis()))
                }
                Err(error) => {
                    Finding::fail("store", error, "check store and the etcd- keys of the configuration")
                }
            }
        }
    }
}

async fn check_underlay(config: &AgentConfig) -> Finding {
    let Some(address) = config.underlay else {
        return Finding::warn(
            "underlay",
            "no address is given, so that networks end at this host",
            "give this host's address with --underlay",
        );
    };
    let found = match Links::new() {
        Ok(links) => links.address_owner(address).await,
        Err(error) => Err(error),
    };
    let link = match found {
        Ok(link) => link,
        Err(error) => return Finding::fail("underlay", error, "correct --underlay, or the host's addresses"),
    };
    let widest = Encapsulation::TUNNELS.map(|tunnel| tunnel.overhead(address)).into_iter().max().unwrap_or(0);
    let left = link.mtu.saturating_sub(widest);
    let found = format!("{address} on {}, mtu {}, leaves {left} to containers", link.name, link.mtu);
    if !link.up {
        return Finding::fail(
            "underlay",
            format_args!("{found}, but is down"),
            format_args!("ip link set {} up", link.name),
        );
    }
    if left < LEAST_MTU {
        return Finding::fail(
            "underlay",
            found,
            format_args!("IPv6 needs {LEAST_MTU}: set the link's MTU to {} or more", LEAST_MTU + widest),
        );
    }
    if left < 1500 {
        return Finding::warn(
            "underlay",
            found,
            format_args!(
                "containers get less than Ethernet's 1500; an MTU of {} on the whole underlay spares that",
                1500 + widest
            ),
        );
    }
    Finding::ok("underlay", found)
}

async fn check_docker(config: &AgentConfig) -> Finding {
    let Some(socket) = &config.docker_socket else {
        return Finding::warn(
            "docker",
            "docker-socket is none: what Docker forgets is not noticed",
            "name Docker's socket, if this host has Docker",
        );
    };
    match Docker::new(socket).with_deadline(PATIENCE).version().await {
        Ok(engine) => Finding::ok("docker", format_args!("version {}, API {}", engine.version, engine.api)),
        Err(error) => Finding::fail(
            "docker",
            super::with_sources(&error),
            "start it: systemctl start docker; or name its socket with --docker-socket, or none",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (version, older) in [
            ("2.17.9", true),
            ("3.0.1", true),
            ("3.1.0", false),
            ("3.10.0", false),
            ("4.0", false),
            ("dev", false),
        ] {
            assert_eq!(is_older(version, OLDEST_OVS), older, "{version}");
        }
    }
}
