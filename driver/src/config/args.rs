//! The keys as flags of clap.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::Flags;
use super::keys::{CONFIG, KEYS, Key, Shape};

/// The flags of `sluice agent` that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentArgs(Flags);

/// The flags of an operator's command that were given: how to reach the agent, or the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientArgs(Flags);

/// The keys that an operator's command takes as flags.
const CLIENT_KEYS: [&str; 7] =
    ["admin-socket", "store", "etcd-ca", "etcd-cert", "etcd-key", "etcd-user", "etcd-password-file"];

impl AgentArgs {
    pub(super) fn flags(&self) -> &Flags {
        &self.0
    }
}

impl ClientArgs {
    pub(super) fn flags(&self) -> &Flags {
        &self.0
    }
}

fn is_client_key(key: &Key) -> bool {
    CLIENT_KEYS.contains(&key.name)
}

fn add_flags(command: Command, keys: impl Iterator<Item = &'static Key>, global: bool) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .global(global)
        .help("The configuration file, TOML with the other flags as keys [env: SLUICE_CONFIG]");
    keys.fold(command.arg(config), |command, key| {
        let mut help = format!("{} [env: {}]", key.help, key.variable());
        if !key.default.is_empty() {
            help += &format!(" [default: {}]", key.default.join(", "));
        }
        let arg = Arg::new(key.name).long(key.name).value_name(key.value_name).global(global).help(help);
        command.arg(match key.shape {
            Shape::Text => arg.action(ArgAction::Set),
            Shape::List => arg.action(ArgAction::Append),
            Shape::Switch => {
                arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
            }
        })
    })
}

fn read_flags(matches: &ArgMatches, keys: impl Iterator<Item = &'static Key>) -> Flags {
    let mut flags = Flags::new();
    for name in keys.map(|key| key.name).chain([CONFIG]) {
        if let Some(texts) = matches.get_many::<String>(name) {
            flags.insert(name, texts.cloned().collect());
        }
    }
    flags
}

impl FromArgMatches for AgentArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(AgentArgs(read_flags(matches, KEYS.iter())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(read_flags(matches, KEYS.iter()));
        Ok(())
    }
}

impl Args for AgentArgs {
    fn augment_args(command: Command) -> Command {
        add_flags(command, KEYS.iter(), false)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ClientArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(ClientArgs(read_flags(matches, KEYS.iter().filter(|key| is_client_key(key)))))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(read_flags(matches, KEYS.iter().filter(|key| is_client_key(key))));
        Ok(())
    }
}

impl Args for ClientArgs {
    fn augment_args(command: Command) -> Command {
        add_flags(command, KEYS.iter().filter(|key| is_client_key(key)), true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
