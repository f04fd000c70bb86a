//! Which boxes there are, and how each is reached.
//!
//! ```toml
//! [defaults]
//! user = "admin"
//! sudo = true                                  # `sudo -n` on the box; leave it out to log in as root
//! ssh_options = ["-i", "/home/me/.ssh/switches"]
//!
//! [groups.leaf]
//! apps = ["agent"]                             # which applications they take; all when it is left out
//!
//! [hosts.leaf1]
//! address = "10.0.0.11"                        # the host's name when it is left out; ssh's own aliases work
//! groups = ["leaf"]
//!
//! [hosts.leaf2]
//! groups = ["leaf"]
//! port = 2222
//! state_dir = "/mnt/persist/sluice-switch"
//! ```
//!
//! A host's own setting wins over that of its groups, the first of them over the next, and all over `[defaults]`.
//! Options for ssh are joined instead: ssh itself takes the first of each, so the host's come first.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::bundle::AppName;

/// Where the program is on a box unless the inventory says otherwise.
pub(super) const PROGRAM: &str = "/opt/sluice/bin/sluice-switch";

/// One box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name in the inventory, and in what is shown.
    pub name: String,
    /// What ssh connects to: `[user@]address`.
    pub destination: String,
    /// ssh's options.
    pub ssh_options: Vec<String>,
    /// Whether commands are run by `sudo -n`.
    pub sudo: bool,
    /// Where the program is there.
    pub program: String,
    /// Where it keeps releases, unless that is the program's default.
    pub state_dir: Option<String>,
    /// Where it keeps what a reboot may clear, unless that is the program's default.
    pub run_dir: Option<String>,
    /// The runtime's program there.
    pub runc: Option<String>,
    /// Where its trusted keys are.
    pub keys: Option<String>,
    /// Which applications it takes; all when there is no list.
    pub apps: Option<Vec<AppName>>,
    groups: Vec<String>,
}

/// All boxes, in the inventory's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The boxes.
    pub hosts: Vec<Host>,
}

/// Why an inventory is refused.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file.
    #[error("reading the inventory `{path}`: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no TOML, or has a field that there is not.
    #[error("{path}:{line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A field has a value that cannot be.
    #[error("{path}:{line}: `{field}` is `{value}`: {rule}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What it must be.
        rule: String,
    },
    /// There is none.
    #[error("{0}: there is no host in it; add one as `[hosts.NAME]`")]
    Empty(PathBuf),
    /// A name that was asked for.
    #[error("`{name}` is no host and no group of {path}; there are {known}")]
    Limit {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What there is.
        known: String,
    },
    /// A destination on the command line.
    #[error("--host `{0}`: write [user@]address, as ssh has it")]
    Destination(String),
}

type Text = Option<Spanned<String>>;

/// What may be set for all, for a group or for a host.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct $name {
            user: Text,
            port: Option<Spanned<u16>>,
            ssh_options: Option<Vec<String>>,
            sudo: Option<bool>,
            program: Text,
            state_dir: Text,
            run_dir: Text,
            runc: Text,
            keys: Text,
            apps: Option<Vec<Spanned<String>>>,
            $($field: $type,)*
        }
    };
}

settings!(
    /// Of all, or of a group.
    Settings {}
);
settings!(
    /// Of a host.
    HostTable { address: Text, groups: Option<Vec<Spanned<String>>> }
);

impl HostTable {
    fn own(&self) -> Settings {
        let own = self.clone();
        Settings {
            user: own.user,
            port: own.port,
            ssh_options: own.ssh_options,
            sudo: own.sudo,
            program: own.program,
            state_dir: own.state_dir,
            run_dir: own.run_dir,
            runc: own.runc,
            keys: own.keys,
            apps: own.apps,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    defaults: Settings,
    groups: BTreeMap<Spanned<String>, Settings>,
    hosts: BTreeMap<Spanned<String>, HostTable>,
}

/// Reads one inventory's text.
struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reading<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        self.text[..span.start.min(self.text.len())].matches('\n').count() + 1
    }

    fn wrong(&self, field: String, value: &Spanned<String>, rule: impl Into<String>) -> InventoryError {
        InventoryError::Field {
            path: self.path.to_owned(),
            line: self.line(value.span()),
            field,
            value: value.get_ref().escape_debug().to_string(),
            rule: rule.into(),
        }
    }

    /// A text that ssh must not take for an option or for several words.
    fn word(&self, field: String, value: &Spanned<String>) -> Result<(), InventoryError> {
        if is_word(value.get_ref()) {
            return Ok(());
        }
        self.wrong_word(field, value)
    }

    fn wrong_word(&self, field: String, value: &Spanned<String>) -> Result<(), InventoryError> {
        Err(self.wrong(field, value, "it is one word of visible characters that does not begin with `-`"))
    }

    fn settings(&self, of: &str, settings: &Settings) -> Result<(), InventoryError> {
        let field = |name: &str| format!("{of}.{name}");
        if let Some(user) = &settings.user {
            self.word(field("user"), user)?;
            if user.get_ref().contains('@') {
                return Err(self.wrong(
                    field("user"),
                    user,
                    "it is a name without `@`; the address is `address`",
                ));
            }
        }
        if let Some(port) = &settings.port
            && *port.get_ref() == 0
        {
            let value = Spanned::new(port.span(), "0".to_owned());
            return Err(self.wrong(field("port"), &value, "ports are 1 to 65535"));
        }
        let paths = [
            ("program", &settings.program),
            ("state_dir", &settings.state_dir),
            ("run_dir", &settings.run_dir),
            ("keys", &settings.keys),
        ];
        for (name, path) in paths {
            if let Some(path) = path
                && !(path.get_ref().starts_with('/') && !path.get_ref().contains(char::is_control))
            {
                return Err(self.wrong(field(name), path, "it is an absolute path on the box"));
            }
        }
        for app in settings.apps.iter().flatten() {
            if let Err(rule) = app.get_ref().parse::<AppName>() {
                return Err(self.wrong(field("apps"), app, rule));
            }
        }
        Ok(())
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

impl Inventory {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// With the line, the field, its value and what it must be.
    pub fn read(path: &Path) -> Result<Self, InventoryError> {
        let text = fs::read_to_string(path)
            .map_err(|source| InventoryError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks a file's text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, path: &Path) -> Result<Self, InventoryError> {
        let reading = Reading { path, text };
        let document: Document = toml::from_str(text).map_err(|error| InventoryError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| reading.line(span)),
            message: error.message().lines().collect::<Vec<_>>().join(" "),
        })?;
        reading.settings("defaults", &document.defaults)?;
        for (name, settings) in &document.groups {
            reading.settings(&format!("groups.{}", name.get_ref()), settings)?;
        }
        let groups: BTreeMap<&str, &Settings> =
            document.groups.iter().map(|(name, settings)| (name.get_ref().as_str(), settings)).collect();
        let mut tables: Vec<_> = document.hosts.iter().collect();
        // As they are in the file: the first ones are the canaries.
        tables.sort_by_key(|(name, _)| name.span().start);
        let mut hosts: Vec<Host> = Vec::new();
        for (name, table) in tables {
            let of = format!("hosts.{}", name.get_ref());
            reading.word(of.clone(), name)?;
            if groups.contains_key(name.get_ref().as_str()) {
                return Err(reading.wrong(of, name, "a group has this name too; rename one of them"));
            }
            let own = table.own();
            reading.settings(&of, &own)?;
            if let Some(address) = &table.address {
                reading.word(format!("{of}.address"), address)?;
            }
            let mut layers = vec![&own];
            for group in table.groups.iter().flatten() {
                let known = groups.keys().copied().collect::<Vec<_>>().join(", ");
                let settings = groups.get(group.get_ref().as_str()).ok_or_else(|| {
                    let rule = if known.is_empty() {
                        "there are no groups; add it as `[groups.NAME]`".to_owned()
                    } else {
                        format!("there is no such group; there are {known}")
                    };
                    reading.wrong(format!("{of}.groups"), group, rule)
                })?;
                layers.push(settings);
            }
            layers.push(&document.defaults);
            let host = host(name.get_ref(), table, &layers);
            let same = |h: &&Host| h.destination == host.destination && h.ssh_options == host.ssh_options;
            if let Some(other) = hosts.iter().find(same) {
                let rule = format!("it is the same box as {}, which would be deployed to twice", other.name);
                return Err(reading.wrong(of, name, rule));
            }
            hosts.push(host);
        }
        if hosts.is_empty() {
            return Err(InventoryError::Empty(path.to_owned()));
        }
        Ok(Self { hosts })
    }

    /// The boxes that an operator named, without a file.
    ///
    /// # Errors
    /// When one is no destination.
    pub fn of_destinations(names: &[String]) -> Result<Self, InventoryError> {
        let mut hosts = Vec::new();
        for name in names {
            if !is_word(name) || name.starts_with('@') || name.ends_with('@') {
                return Err(InventoryError::Destination(name.escape_debug().to_string()));
            }
            hosts.push(host(name, &HostTable::default(), &[]));
        }
        Ok(Self { hosts })
    }

    /// Keeps the hosts, and those of the groups, that are named; all when none is.
    ///
    /// # Errors
    /// When there is no such host or group.
    pub fn limit(mut self, names: &[String], path: &Path) -> Result<Self, InventoryError> {
        for name in names {
            if !self.hosts.iter().any(|host| host.is_named(name)) {
                let known: Vec<&str> = self.hosts.iter().map(|host| host.name.as_str()).collect();
                let (name, path) = (name.clone(), path.to_owned());
                return Err(InventoryError::Limit { name, path, known: known.join(", ") });
            }
        }
        if !names.is_empty() {
            self.hosts.retain(|host| names.iter().any(|name| host.is_named(name)));
        }
        Ok(self)
    }
}

impl Host {
    fn is_named(&self, name: &str) -> bool {
        self.name == name || self.groups.iter().any(|group| group == name)
    }

    /// Whether the box takes an application.
    pub fn takes(&self, app: &AppName) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// The options of our program that say where things are there.
    pub fn places(&self) -> Vec<String> {
        let options =
            [("--state-dir", &self.state_dir), ("--run-dir", &self.run_dir), ("--runc", &self.runc)];
        let set = options.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value.clone()?]));
        set.flatten().collect()
    }
}

fn host(name: &str, table: &HostTable, layers: &[&Settings]) -> Host {
    let text = |field: fn(&Settings) -> &Text| {
        layers.iter().find_map(|s| field(s).as_ref()).map(|value| value.get_ref().clone())
    };
    let address = table.address.as_ref().map_or(name, |address| address.get_ref().as_str());
    let destination = match text(|s| &s.user) {
        Some(user) => format!("{user}@{address}"),
        None => address.to_owned(),
    };
    let mut ssh_options: Vec<String> = Vec::new();
    if let Some(port) = layers.iter().find_map(|s| s.port.as_ref()) {
        ssh_options.extend(["-p".to_owned(), port.get_ref().to_string()]);
    }
    ssh_options.extend(layers.iter().filter_map(|s| s.ssh_options.clone()).flatten());
    let apps = layers.iter().find_map(|s| s.apps.as_ref());
    let apps = apps.map(|apps| apps.iter().filter_map(|app| app.get_ref().parse().ok()).collect());
    Host {
        name: name.to_owned(),
        destination,
        ssh_options,
        sudo: layers.iter().find_map(|s| s.sudo).unwrap_or(false),
        program: text(|s| &s.program).unwrap_or_else(|| PROGRAM.to_owned()),
        state_dir: text(|s| &s.state_dir),
        run_dir: text(|s| &s.run_dir),
        runc: text(|s| &s.runc),
        keys: text(|s| &s.keys),
        apps,
        groups: table.groups.iter().flatten().map(|group| group.get_ref().clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Inventory, InventoryError> {
        Inventory::parse(text, Path::new("inv.toml"))
    }

    const GOOD: &str = r#"
[defaults]
user = "admin"
ssh_options = ["-o", "A=1"]
sudo = true

[groups.leaf]
user = "leaf"
apps = ["agent"]
ssh_options = ["-o", "B=2"]

[hosts.spine1]

[hosts.leaf2]
address = "10.0.0.2"
groups = ["leaf"]
port = 2222
sudo = false
ssh_options = ["-i", "key"]
state_dir = "/mnt/state"
"#;

    #[test]
    fn a_hosts_own_settings_win_and_options_are_joined() {
        let inventory = parse(GOOD).unwrap();
        let [spine, leaf] = &inventory.hosts[..] else { panic!("{inventory:?}") };
        assert_eq!((spine.name.as_str(), spine.destination.as_str()), ("spine1", "admin@spine1"));
        assert_eq!(spine.ssh_options, ["-o", "A=1"]);
        assert!(spine.sudo && spine.takes(&"anything".parse().unwrap()));
        assert_eq!(spine.program, PROGRAM);
        assert_eq!(leaf.destination, "leaf@10.0.0.2");
        assert_eq!(leaf.ssh_options, ["-p", "2222", "-i", "key", "-o", "B=2", "-o", "A=1"]);
        assert!(
            !leaf.sudo && leaf.takes(&"agent".parse().unwrap()) && !leaf.takes(&"other".parse().unwrap())
        );
        assert_eq!(leaf.places(), ["--state-dir", "/mnt/state"]);
        let names = |inventory: Inventory| inventory.hosts.into_iter().map(|h| h.name).collect::<Vec<_>>();
        let path = Path::new("inv.toml");
        assert_eq!(names(inventory.clone().limit(&["leaf".into()], path).unwrap()), ["leaf2"]);
        assert_eq!(
            names(inventory.clone().limit(&["spine1".into(), "leaf2".into()], path).unwrap()).len(),
            2
        );
        let error = inventory.limit(&["leav".into()], path).unwrap_err().to_string();
        assert!(error.contains("`leav`") && error.contains("spine1, leaf2"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_field_value_and_remedy() {
        for (text, parts) in [
            (
                "[hosts.a]\nuser = \"-oProxy\"\n",
                &["inv.toml:2", "`hosts.a.user`", "`-oProxy`", "begin with `-`"][..],
            ),
            ("[hosts.a]\naddress = \"a b\"\n", &["inv.toml:2", "`hosts.a.address`", "`a b`"]),
            ("[hosts.\"-a\"]\n", &["inv.toml:1", "`hosts.-a`"]),
            ("[hosts.a]\nport = 0\n", &["inv.toml:2", "`hosts.a.port`", "1 to 65535"]),
            ("[hosts.a]\nport = 70000\n", &["inv.toml:2", "70000"]),
            ("[hosts.a]\n\nusr = \"x\"\n", &["inv.toml:3", "unknown field `usr`", "`user`"]),
            ("[hosts.a]\ngroups = [\n  \"leaf\",\n]\n", &["inv.toml:3", "`leaf`", "[groups.NAME]"]),
            ("[groups.b]\n[hosts.a]\ngroups = [\"leaf\"]\n", &["inv.toml:3", "there are b"]),
            ("[groups.a]\n[hosts.a]\n", &["inv.toml:2", "rename"]),
            (
                "[defaults]\nstate_dir = \"var\"\n[hosts.a]\n",
                &["inv.toml:2", "`defaults.state_dir`", "absolute"],
            ),
            ("[groups.g]\napps = [\"Agent\"]\n[hosts.a]\n", &["inv.toml:2", "`groups.g.apps`", "a-z"]),
            ("[hosts.a]\naddress = \"x\"\n[hosts.b]\naddress = \"x\"\n", &["inv.toml:3", "same box as a"]),
            ("[hosts.a\n", &["inv.toml:1"]),
            ("[hosts.a]\nsudo = \"yes\"\n", &["inv.toml:2", "boolean"]),
            ("", &["inv.toml", "[hosts.NAME]"]),
        ] {
            let error = parse(text).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{text:?}: {error}");
            }
        }
        for bad in ["", "-x", "a b", "@x", "x@"] {
            assert!(Inventory::of_destinations(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
