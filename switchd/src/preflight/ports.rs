//! Interfaces, TCP ports and paths that a bundle names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Check, Finding, Needs, Place};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Whether it is a port of the switch: the kernel says so, or it is called as they are.
    pub switch: bool,
    /// The driver, which tells the ASIC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// Interfaces and listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ports {
    /// Every interface but `lo`.
    pub links: Vec<Port>,
    /// Of the TCP ports that the bundle will listen on, those on which somebody does already.
    pub listeners: BTreeMap<u16, String>,
}

/// `swp7` and `swp7s0` on Cumulus, `Ethernet28` on SONiC.
fn called_like_one(name: &str) -> bool {
    let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.strip_prefix("swp").or_else(|| name.strip_prefix("Ethernet")).is_some_and(digit)
}

fn link(place: &Place, name: &str) -> Port {
    let file = |file: &str| place.path(&format!("/sys/class/net/{name}/{file}"));
    // It exists for every interface and can be read only for those of a switch.
    let id = fs::read_to_string(file("phys_switch_id")).is_ok_and(|id| !id.trim().is_empty());
    let driver = fs::read_link(file("device/driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    Port { name: name.to_owned(), switch: id || called_like_one(name), driver }
}

/// The inode of the socket that listens on a port, by /proc/net/tcp.
fn listening(text: &str, port: u16) -> Option<u64> {
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        // 0A is TCP_LISTEN.
        let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16) == Ok(port);
        listens.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// Who has a socket: the application whose control group its process is in, or the process.
fn owner(place: &Place, inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir(place.path("/proc")).ok()?.flatten().find_map(|process| {
        let files = fs::read_dir(process.path().join("fd")).ok()?;
        files
            .flatten()
            .find(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))?;
        let groups = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        // The group may itself lie below another, where this program runs in a container.
        let app = groups.lines().find_map(|line| line.split_once("/sluice/").map(|(_, app)| app.to_owned()));
        let comm = || fs::read_to_string(process.path().join("comm")).ok().map(|name| name.trim().to_owned());
        app.map(|app| format!("sluice/{app}")).or_else(comm)
    })
}

impl Check for Ports {
    fn gather(place: &Place, needs: &Needs) -> Self {
        let names = fs::read_dir(place.path("/sys/class/net")).into_iter().flatten().flatten();
        let mut names: Vec<String> = names.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        // A file there, bonding_masters, is no interface.
        names.retain(|name| name != "lo" && place.path(&format!("/sys/class/net/{name}")).is_dir());
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| place.read(path));
        let listener = |port: &u16| {
            let inode = tables.iter().find_map(|table| listening(table, *port))?;
            Some((*port, owner(place, inode).unwrap_or_else(|| format!("socket {inode}"))))
        };
        Self {
            links: names.iter().map(|name| link(place, name)).collect(),
            listeners: needs.listens.iter().filter_map(listener).collect(),
        }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let ports: Vec<&Port> = self.links.iter().filter(|link| link.switch).collect();
        let found = match ports.as_slice() {
            [] => "no interface is a switch's port".to_owned(),
            [one] => format!("{} is the switch's only port", one.name),
            [first, .., last] => format!("{} ports, {} to {}", ports.len(), first.name, last.name),
        };
        let driver = ports.iter().find_map(|port| port.driver.as_deref());
        let found = match driver {
            Some(driver) => format!("{found}, of {driver}"),
            None => found,
        };
        let missing: Vec<&str> = needs.ports.iter().map(|port| port.as_str()).collect();
        let missing: Vec<&str> =
            missing.into_iter().filter(|name| !self.links.iter().any(|link| link.name == *name)).collect();
        let mut findings = vec![if missing.is_empty() {
            Finding::ok("ports", found)
        } else {
            Finding::fail(
                "ports",
                format!("{found}; the bundle names {}, which are not there", missing.join(", ")),
                "correct `ports` in the bundle's description, or break the ports out as it says",
            )
        }];
        let app = needs.bundle.as_deref().and_then(|bundle| bundle.split(' ').next()).unwrap_or_default();
        for port in &needs.listens {
            findings.push(match self.listeners.get(port) {
                None => Finding::ok("TCP port", format!("{port} is free")),
                Some(owner) if *owner == format!("sluice/{app}") => {
                    Finding::ok("TCP port", format!("{port} is the application's that is to be replaced"))
                }
                Some(owner) => Finding::fail(
                    "TCP port",
                    format!("`{owner}` listens on {port}, on which the bundle's health is asked"),
                    "end it, or let the application listen on another port",
                ),
            });
        }
        findings
    }
}

/// Paths that a bundle mounts, and what is there: `file`, `directory`, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Paths(pub BTreeMap<String, Option<String>>);

impl Check for Paths {
    fn gather(place: &Place, needs: &Needs) -> Self {
        let kind = |path: &String| {
            let metadata = fs::metadata(place.path(path)).ok()?;
            Some(if metadata.is_dir() { "directory" } else { "file" }.to_owned())
        };
        Self(needs.mounts.keys().map(|path| (path.clone(), kind(path))).collect())
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        let judge = |(path, file): (&String, &bool)| {
            let wanted = if *file { "file" } else { "directory" };
            match self.0.get(path) {
                Some(Some(kind)) if kind == wanted => Finding::ok("mounts", format!("`{path}` is a {kind}")),
                Some(Some(kind)) => Finding::fail(
                    "mounts",
                    format!("`{path}` is a {kind}, and the bundle mounts it as a {wanted}"),
                    "correct `file` of this mount in the bundle's description",
                ),
                Some(None) => Finding::fail(
                    "mounts",
                    format!("`{path}` is not there, and the bundle mounts it"),
                    "make it, start what makes it, or correct `mounts` in the bundle's description",
                ),
                None => Finding::degraded(
                    "mounts",
                    format!("`{path}` was not looked at when these facts were recorded"),
                    "run preflight with this bundle on the switch",
                ),
            }
        };
        needs.mounts.iter().map(judge).collect()
    }
}
