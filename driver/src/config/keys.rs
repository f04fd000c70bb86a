//! Every key, once: the flag, the environment variable, the key of the file and the help all come from here.

/// How a key takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One text.
    Text,
    /// `true` or `false`; as a flag also without a value.
    Switch,
    /// Several texts: a flag given again, commas in the environment, an array in the file.
    List,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) value_name: &'static str,
    pub(super) default: &'static [&'static str],
    pub(super) help: &'static str,
}

impl Key {
    /// The environment variable: `SLUICE_` and the name in capitals with underscores.
    pub(super) fn variable(&self) -> String {
        format!("SLUICE_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// The key of the file's own path; not a key of the file.
pub(super) const CONFIG: &str = "config";

macro_rules! keys {
    ($($name:literal $shape:ident $value_name:literal $default:expr, $help:literal;)*) => {
        /// All keys, in the order of the help and of the effective configuration.
        pub(super) const KEYS: &[Key] = &[$(Key {
            name: $name,
            shape: Shape::$shape,
            value_name: $value_name,
            default: &$default,
            help: $help,
        }),*];
    };
}

keys! {
    "node" Text "NAME" [], "This node's name, unique in the cluster [default: the host's name]";
    "underlay" Text "ADDR" [],
        "The address at which this node takes tunnel packets; without it, no tunnels (hardware-vtep: what the switch says)";
    "dataplane" Text "ovs|linux|hardware-vtep" ["ovs"],
        "What forwards packets: Open vSwitch on a Docker host, a switch's kernel, or a switch told by OVSDB hardware_vtep";
    "linux-form" Text "FORM" ["traditional"],
        "How --dataplane linux lays networks on bridges: traditional, vlan-aware[:BRIDGE] or sonic[:BRIDGE]";
    "sonic-config-db" Text "PATH|HOST:PORT|none" ["none"],
        "SONiC's CONFIG_DB, to be written with --linux-form sonic: Redis' socket, such as /var/run/redis/redis.sock";
    "vtep-database" Text "ADDR" [],
        "The switch's database, with --dataplane hardware-vtep: tcp:HOST[:PORT], ssl:…, unix:PATH; ptcp: or pssl: to wait for it";
    "vtep-switch" Text "NAME" [], "The switch's name in that database (Physical_Switch); needed if there are several";
    "vtep-ca" Text "FILE" [], "The CA certificates (PEM) that the switch's certificate is checked with, for ssl: and pssl:";
    "vtep-cert" Text "FILE" [], "The certificate (PEM) to show to the switch";
    "vtep-key" Text "FILE" [], "That certificate's private key (PEM)";
    "ovs-rundir" Text "DIR" ["/var/run/openvswitch"], "Open vSwitch's run directory, with db.sock and BRIDGE.mgmt";
    "bridge" Text "NAME" ["br-int"], "The bridge that the agent makes and programs";
    "datapath" Text "auto|system|netdev" ["auto"], "The bridge's datapath: the kernel's, userspace, or what there is";
    "uplink-bridge" Text "BRIDGE" [], "The OVS bridge that carries the trunk of VLAN networks";
    "encap" Text "ENCAP" ["vxlan"], "The encapsulation of networks that ask for none: vxlan, geneve, gre, vlan, local";
    "default-pool" List "PREFIX/LEN" ["10.192.0.0/10/20", "fd5c:1ce5:10c4::/48/64"],
        "Where subnets that nobody chose are cut from: a prefix and the length of each subnet (one of each family)";
    "store" Text "STORE" ["embedded"], "The cluster's store: embedded, embedded:PATH or etcd://HOST:PORT[,HOST:PORT]";
    "etcd-ca" Text "FILE" [], "The CA certificates (PEM) that etcd's certificate is checked with; turns TLS on";
    "etcd-cert" Text "FILE" [], "The client certificate (PEM) to show to etcd";
    "etcd-key" Text "FILE" [], "The client certificate's private key (PEM)";
    "etcd-user" Text "NAME" [], "The user to authenticate as at etcd";
    "etcd-password-file" Text "FILE" [], "The file with that user's password";
    "plugin-socket" Text "PATH" ["/run/docker/plugins/sluice.sock"], "Where Docker finds the plugin";
    "admin-socket" Text "PATH" ["/run/sluice/admin.sock"], "Where the operator's commands find the agent";
    "docker-socket" Text "PATH|none" ["/var/run/docker.sock"], "Docker's API socket; none: never ask Docker";
    "docker-sync" Switch "BOOL" ["false"], "Create the Docker networks of cluster networks that are marked for it";
    "state-dir" Text "DIR" ["/var/lib/sluice"], "Where the agent keeps what must survive a restart";
    "program-deadline" Text "TIME" ["10s"], "How long an answer to Docker waits for the switch to be programmed";
    "reconcile-interval" Text "TIME" ["30s"], "How often Docker's networks and endpoints are compared with ours";
    "audit-interval" Text "TIME" ["5m"], "How often the switch's flows and ports are compared with the plan";
    "log-level" Text "LEVEL" ["info"], "off, error, warn, info, debug or trace, or by module: info,sluice::store=debug";
    "log-format" Text "text|json" ["text"], "How log lines look";
}

pub(super) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known key that a wrong one most likely stands for: within a third of its letters.
pub(super) fn nearest(wrong: &str) -> Option<&'static Key> {
    let wrong = wrong.to_ascii_lowercase().replace('_', "-");
    let limit = (wrong.chars().count() / 3).max(1);
    KEYS.iter()
        .map(|key| (distance(&wrong, key.name), key))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// The least number of letters to add, drop or change (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, from) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in other.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_offered_and_a_far_one_is_not() {
        for (wrong, meant) in [
            ("underlya", "underlay"),
            ("docker_sync", "docker-sync"),
            ("Bridge", "bridge"),
            ("etcd-pasword-file", "etcd-password-file"),
            ("default-pools", "default-pool"),
        ] {
            assert_eq!(nearest(wrong).map(|key| key.name), Some(meant), "{wrong}");
        }
        assert!(nearest("listen-address").is_none() && nearest("x").is_none());
    }

    #[test]
    fn distances_count_edits() {
        for (one, other, edits) in
            [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one, other), edits, "{one} {other}");
        }
    }
}
