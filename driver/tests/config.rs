//! The configuration: which layer counts, what is refused and how it is said.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use sluice::config::{
    AgentArgs, AgentConfig, ClientArgs, ClientConfig, ConfigError, DatapathChoice, StoreConfig,
};

#[derive(Debug, Parser)]
struct Agent {
    #[command(flatten)]
    args: AgentArgs,
}

#[derive(Debug, Parser)]
struct Operator {
    #[command(flatten)]
    args: ClientArgs,
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<AgentConfig, ConfigError> {
    let agent = Agent::try_parse_from([&["sluice"], flags].concat()).unwrap();
    AgentConfig::load(&agent.args, environment(variables))
}

/// A configuration file of its own.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sluice.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn load_file(text: &str) -> Result<AgentConfig, ConfigError> {
    let (_directory, path) = file(text);
    load(&["--config", path.to_str().unwrap()], &[])
}

#[track_caller]
fn refused(result: Result<AgentConfig, ConfigError>, parts: &[&str]) {
    let error = result.expect_err("this was taken").to_string();
    for part in parts {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
    assert!(!error.contains('\n'), "{error:?} has several lines");
}

#[test]
fn defaults_are_what_the_help_says() {
    let config = load(&["--node", "h1"], &[]).unwrap();
    assert_eq!(config.ovs_rundir, Path::new("/var/run/openvswitch"));
    assert_eq!(config.bridge.as_str(), "br-int");
    assert_eq!(config.plugin_socket, Path::new("/run/docker/plugins/sluice.sock"));
    assert_eq!(config.admin_socket, Path::new("/run/sluice/admin.sock"));
    assert_eq!(config.docker_socket.as_deref(), Some(Path::new("/var/run/docker.sock")));
    assert_eq!(config.state_dir, Path::new("/var/lib/sluice"));
    assert_eq!(config.store, StoreConfig::Embedded("/var/lib/sluice/store.redb".into()));
    assert_eq!(config.program_deadline, Duration::from_secs(10));
    assert_eq!(config.default_pools, sluice::ipam::DefaultPools::default());
    assert_eq!(config.datapath, DatapathChoice::Auto);
    assert!(config.underlay.is_none() && config.uplink_bridge.is_none() && !config.docker_sync);
    // Without --node, the host's name.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(load(&[], &[]).unwrap().node.as_str(), host.trim());
}

#[test]
fn a_flag_counts_before_the_environment_before_the_file_before_the_default() {
    let (_directory, path) = file("bridge = \"from-file\"\nunderlay = \"192.0.2.1\"\ndocker-sync = true\n");
    let path = path.to_str().unwrap();
    let variables = [("SLUICE_BRIDGE", "from-env"), ("SLUICE_CONFIG", path), ("SLUICE_UNDERLAY", "")];
    let flag = load(&["--bridge", "from-flag"], &variables).unwrap();
    assert_eq!(flag.bridge.as_str(), "from-flag");
    let variable = load(&[], &variables).unwrap();
    assert_eq!(variable.bridge.as_str(), "from-env");
    // An empty variable is none.
    assert_eq!(variable.underlay, Some("192.0.2.1".parse().unwrap()));
    let from_file = load(&["--config", path], &[]).unwrap();
    assert_eq!(from_file.bridge.as_str(), "from-file");
    assert!(
        from_file.docker_sync && !load(&["--config", path, "--docker-sync=false"], &[]).unwrap().docker_sync
    );
    assert!(load(&["--docker-sync"], &[]).unwrap().docker_sync);
    assert!(load(&[], &[("SLUICE_DOCKER_SYNC", "true")]).unwrap().docker_sync);
}

#[test]
fn every_key_is_taken_from_the_file_and_the_effective_configuration_says_the_same_again() {
    let text = r#"
node = "h1"
underlay = "2001:db8::7"
dataplane = "hardware-vtep"
linux-form = "sonic:Bridge"
sonic-config-db = "/var/run/redis0/redis.sock?db=5"
vtep-database = "ssl:192.0.2.9"
vtep-switch = "leaf-1"
vtep-ca = "/etc/sluice/switches-ca.pem"
vtep-cert = "/etc/sluice/agent.pem"
vtep-key = "/etc/sluice/agent.key"
ovs-rundir = "/run/ovs"
bridge = "br-x"
datapath = "netdev"
uplink-bridge = "br-ex"
encap = "geneve"
default-pool = ["10.64.0.0/12/24", "fd00:1::/48/64"]
store = "etcd://192.0.2.1:2379,[2001:db8::1]:2379,etcd.example:2379"
etcd-ca = "/etc/sluice/ca.pem"
etcd-cert = "/etc/sluice/cert.pem"
etcd-key = "/etc/sluice/key.pem"
etcd-user = "sluice"
etcd-password-file = "/etc/sluice/password"
plugin-socket = "/run/docker/plugins/other.sock"
admin-socket = "/run/sluice/other.sock"
docker-socket = "none"
docker-sync = true
state-dir = "/var/lib/other"
program-deadline = "500ms"
reconcile-interval = "1m"
audit-interval = "2h"
log-level = "info,sluice::store=debug"
log-format = "json"
"#;
    let config = load_file(text).unwrap();
    assert_eq!(config.docker_socket, None);
    let config_db = config.sonic_config_db.as_ref().unwrap();
    assert_eq!(config_db.server, sluice::sonic::Server::Unix("/var/run/redis0/redis.sock".into()));
    assert_eq!(config_db.database, 5);
    assert_eq!(config.audit_interval, Duration::from_secs(7200));
    let StoreConfig::Etcd(etcd) = &config.store else { panic!("{:?}", config.store) };
    assert_eq!(etcd.endpoints, ["192.0.2.1:2379", "[2001:db8::1]:2379", "etcd.example:2379"]);
    assert_eq!(etcd.user.as_ref().unwrap().name, "sluice");
    assert_eq!(etcd.tls.as_ref().unwrap().identity.as_ref().unwrap().1, Path::new("/etc/sluice/key.pem"));

    let vtep = config.vtep.as_ref().unwrap();
    assert_eq!(
        (vtep.address.to_string(), vtep.switch.as_deref()),
        ("ssl:192.0.2.9".to_owned(), Some("leaf-1"))
    );
    assert_eq!(vtep.tls.as_ref().unwrap().key, Path::new("/etc/sluice/agent.key"));

    let effective = config.to_toml();
    assert!(!effective.contains("is not set"), "{effective}");
    assert!(effective.contains("docker-sync = true  # "), "{effective}");
    let again = load_file(&effective).unwrap();
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&again.to_toml()), values(&effective));
}

#[test]
fn the_effective_configuration_says_where_each_value_came_from() {
    let (_directory, path) = file("\n\nunderlay = \"192.0.2.1\"\n");
    let config =
        load(&["--config", path.to_str().unwrap(), "--node", "h1"], &[("SLUICE_BRIDGE", "br-x")]).unwrap();
    let text = config.to_toml();
    for line in [
        "node = \"h1\"  # flag --node".to_owned(),
        "bridge = \"br-x\"  # environment variable SLUICE_BRIDGE".to_owned(),
        format!("underlay = \"192.0.2.1\"  # {}:3", path.display()),
        "store = \"embedded\"  # the default".to_owned(),
        "# uplink-bridge is not set".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{text} lacks {line}");
    }
}

#[test]
fn wrong_values_name_key_value_origin_and_what_is_wanted() {
    let cases: &[(&str, &str, &str)] = &[
        ("node", "a b", "letters, digits"),
        ("node", "", "a value is wanted"),
        ("underlay", "192.0.2.1/24", "without a prefix length"),
        ("underlay", "host7", "an IPv4 or IPv6 address"),
        ("underlay", "0.0.0.0", "every address"),
        ("underlay", "::", "every address"),
        ("underlay", "127.0.0.1", "loopback"),
        ("underlay", "224.0.0.1", "multicast"),
        ("underlay", "255.255.255.255", "broadcast"),
        ("underlay", "fe80::1", "link-local"),
        ("dataplane", "bridge", "ovs (a Docker host) or linux"),
        ("dataplane", "vtep", "hardware-vtep (a switch that speaks OVSDB)"),
        ("vtep-database", "192.0.2.9:6640", "tcp:HOST[:PORT]"),
        ("vtep-database", "unix:db.sock", "unix:PATH"),
        ("vtep-key", "key.pem", "an absolute path"),
        ("linux-form", "flat", "traditional, vlan-aware"),
        ("linux-form", "sonic:a/b", "link name"),
        ("sonic-config-db", "redis.sock", "an absolute path, HOST:PORT or none"),
        ("sonic-config-db", "/run/redis.sock?db=four", "a number is wanted"),
        ("ovs-rundir", "run/ovs", "an absolute path"),
        ("bridge", "a-name-that-is-too-long", "1 to 15 bytes"),
        ("bridge", "br/int", "1 to 15 bytes"),
        ("uplink-bridge", "br-int", "the agent's own bridge"),
        ("datapath", "kernel", "auto, system or netdev"),
        ("encap", "stt", "vxlan, geneve, gre, vlan, local"),
        ("encap", "vlan", "cannot be the default"),
        ("default-pool", "10.192.0.0/10", "10.192.0.0/10/20"),
        ("default-pool", "10.192.0.0/10/9", "from /10 to /30"),
        ("default-pool", "10.192.0.0/10/31", "from /10 to /30"),
        ("default-pool", "10.192.0.1/10/20", "did you mean 10.192.0.0/10"),
        ("default-pool", "224.0.0.0/8/16", "multicast"),
        ("default-pool", "fd00::/48/127", "from /48 to /126"),
        ("store", "consul://192.0.2.1:8500", "embedded, embedded:PATH or etcd://"),
        ("store", "embedded:store.redb", "an absolute path"),
        ("store", "etcd://", "is not HOST:PORT"),
        ("store", "etcd://192.0.2.1", "192.0.2.1:2379"),
        ("store", "etcd://192.0.2.1:0", "is not HOST:PORT"),
        ("store", "etcd://192.0.2.1:99999", "is not HOST:PORT"),
        ("store", "etcd://2001:db8::1:2379", "[2001:db8::1]:2379"),
        ("store", "etcd://[2001:db8::1:2379", "is not HOST:PORT"),
        ("store", "etcd://ho st:2379", "is not HOST:PORT"),
        ("store", "etcd://192.0.2.1:2379,", "is not HOST:PORT"),
        ("store", "etcd://192.0.2.1:2379,192.0.2.1:2379", "there twice"),
        ("plugin-socket", "sluice.sock", "an absolute path"),
        ("admin-socket", "run/admin.sock", "an absolute path"),
        ("docker-socket", "docker.sock", "an absolute path"),
        ("docker-sync", "yes", "true or false"),
        ("state-dir", "./state", "an absolute path"),
        ("program-deadline", "10", "the unit ms, s, m or h"),
        ("program-deadline", "ten seconds", "the unit ms, s, m or h"),
        ("program-deadline", "1h", "from 100ms to 60s"),
        ("program-deadline", "0s", "from 100ms to 60s"),
        ("reconcile-interval", "10ms", "from 1s to 86400s"),
        ("audit-interval", "99999999999999999999h", "the unit ms, s, m or h"),
        ("log-level", "infoo", "off, error, warn, info, debug or trace"),
        ("log-level", "sluice=loud", "off, error, warn, info, debug or trace"),
        ("log-format", "xml", "text or json"),
        ("etcd-ca", "ca.pem", "an absolute path"),
    ];
    for (key, value, wanted) in cases {
        let flag = format!("--{key}={value}");
        refused(load(&[&flag], &[]), &[key, value, wanted, &format!("(flag --{key})")]);
        let variable = format!("SLUICE_{}", key.to_uppercase().replace('-', "_"));
        // An empty variable counts as none, and a comma separates.
        if !value.is_empty() {
            let origin = format!("(environment variable {variable})");
            refused(load(&[], &[(&variable, value)]), &[key, wanted, &origin]);
        }
        let quoted = match *key {
            "default-pool" => format!("[\"{value}\"]"),
            "docker-sync" => continue,
            _ => format!("\"{value}\""),
        };
        refused(load_file(&format!("# first line\n{key} = {quoted}\n")), &[key, wanted, "sluice.toml:2)"]);
    }
    let long = format!("/{}", "x".repeat(90));
    refused(load(&["--admin-socket", &long], &[]), &["admin-socket", "at most 90 bytes"]);
    let twice = ["--default-pool", "10.0.0.0/9/24", "--default-pool", "10.128.0.0/9/24"];
    refused(load(&twice, &[]), &["10.128.0.0/9/24", "one IPv4 and one IPv6"]);
}

#[test]
fn a_password_in_the_address_is_not_shown_again() {
    let error = load(&["--store", "etcd://root:hunter2@192.0.2.1:2379"], &[]).unwrap_err();
    refused(Err(error), &["etcd://…@192.0.2.1:2379", "flag --store", "etcd-password-file"]);
    let error = load(&["--store", "etcd://root:hunter2@192.0.2.1:2379"], &[]).unwrap_err();
    assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn wrong_files_are_refused_with_their_line() {
    for (text, parts) in [
        (
            "node = \"h1\"\n\nunderlya = \"192.0.2.1\"\n",
            vec![":3:", "'underlya'", "did you mean 'underlay'?"],
        ),
        ("docker_sync = true", vec![":1:", "'docker_sync'", "did you mean 'docker-sync'?"]),
        ("listen = 5", vec![":1:", "'listen'", "the keys are node, underlay,"]),
        ("[etcd]\nca = \"/x\"", vec![":1:", "'etcd'"]),
        ("node = \"h1\"\nnode = \"h2\"", vec![":2:", "not TOML", "duplicate key"]),
        ("node = h1", vec![":1:", "not TOML"]),
        ("x", vec![":1:", "not TOML"]),
        ("node = 7", vec!["node", "7", "a string in quotes", ":1)"]),
        ("docker-sync = \"true\"", vec!["docker-sync", "without quotes", ":1)"]),
        ("default-pool = \"10.0.0.0/9/24\"", vec!["default-pool", "an array of strings", ":1)"]),
        ("default-pool = [1]", vec!["default-pool", "an array of strings"]),
        ("program-deadline = 10", vec!["program-deadline", "10", "a string in quotes"]),
    ] {
        refused(load_file(text), &parts);
    }
    refused(
        load(&["--config", "/nonexistent/x.toml"], &[]),
        &["/nonexistent/x.toml", "flag --config", "No such file"],
    );
    refused(load(&[], &[("SLUICE_CONFIG", "/nonexistent/y.toml")]), &["variable SLUICE_CONFIG"]);
}

#[test]
fn a_misspelt_variable_is_a_warning() {
    let config = load(&[], &[("SLUICE_UNDERLYA", "192.0.2.1"), ("SLUICE_REQUIRE_LIVE", "1")]).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains("SLUICE_UNDERLYA") && config.warnings[0].contains("SLUICE_UNDERLAY?")
    );
}

#[test]
fn keys_of_etcd_go_together() {
    let etcd = "--store=etcd://192.0.2.1:2379";
    for (flags, parts) in [
        (vec!["--etcd-ca=/ca.pem"], vec!["etcd-ca (flag --etcd-ca) needs store"]),
        (vec!["--etcd-user=me"], vec!["etcd-user", "needs store"]),
        (vec![etcd, "--etcd-ca=/ca", "--etcd-cert=/cert"], vec!["etcd-cert", "needs etcd-key"]),
        (vec![etcd, "--etcd-ca=/ca", "--etcd-key=/key"], vec!["etcd-key", "needs etcd-cert"]),
        (vec![etcd, "--etcd-cert=/cert", "--etcd-key=/key"], vec!["etcd-cert", "needs etcd-ca"]),
        (vec![etcd, "--etcd-user=me"], vec!["etcd-user", "needs etcd-password-file"]),
        (vec![etcd, "--etcd-password-file=/p"], vec!["etcd-password-file", "needs etcd-user"]),
    ] {
        refused(load(&flags, &[]), &parts);
    }
}

#[test]
fn keys_of_a_switchs_database_go_together() {
    let vtep = "--dataplane=hardware-vtep";
    let [tcp, ssl] = ["--vtep-database=tcp:192.0.2.9", "--vtep-database=pssl:6640"];
    for (flags, parts) in [
        (vec![vtep], vec!["dataplane (flag --dataplane) needs vtep-database", "tcp:192.0.2.9:6640"]),
        (vec![tcp], vec!["vtep-database", "needs dataplane", "hardware-vtep"]),
        (vec!["--dataplane=linux", "--vtep-switch=x"], vec!["vtep-switch", "needs dataplane"]),
        (vec![vtep, tcp, "--vtep-ca=/ca"], vec!["vtep-ca", "needs vtep-database", "ssl:HOST:PORT"]),
        (vec![vtep, ssl], vec!["vtep-database", "needs vtep-ca"]),
        (vec![vtep, ssl, "--vtep-ca=/ca"], vec!["vtep-database", "needs vtep-cert"]),
        (vec![vtep, ssl, "--vtep-ca=/ca", "--vtep-cert=/c"], vec!["vtep-database", "needs vtep-key"]),
    ] {
        refused(load(&flags, &[]), &parts);
    }
    let config = load(&[vtep, tcp], &[]).unwrap();
    assert!(config.vtep.as_ref().unwrap().tls.is_none() && config.underlay.is_none());
    let error = load(&[vtep, ssl, "--vtep-ca=/nowhere", "--vtep-cert=/c", "--vtep-key=/k"], &[]).unwrap();
    let error = error.check_files().unwrap_err().to_string();
    assert!(error.contains("vtep-ca") && error.contains("/nowhere"), "{error}");
}

#[test]
fn the_files_that_are_named_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let ca = write("ca.pem", &pem("CERTIFICATE"), 0o644);
    let key = write("key.pem", &pem("EC PRIVATE KEY"), 0o600);
    let open_key = write("open.pem", &pem("PRIVATE KEY"), 0o644);
    let password = write("password", "secret\n", 0o600);
    let open_password = write("open", "secret\n", 0o604);
    let empty = write("empty", "\n", 0o600);
    let check = |ca: &str, key: &str, password: &str| {
        let flags = [
            "--store=etcd://192.0.2.1:2379",
            "--etcd-user=me",
            &format!("--etcd-ca={ca}"),
            &format!("--etcd-cert={}/ca.pem", directory.path().display()),
            &format!("--etcd-key={key}"),
            &format!("--etcd-password-file={password}"),
        ];
        let config = load(&flags, &[]).unwrap();
        assert!(!format!("{config:?}{}", config.to_toml()).contains("secret"));
        config.check_files().map(|()| config)
    };
    check(&ca, &key, &password).unwrap();
    refused(
        check("/nonexistent", &key, &password),
        &["etcd-ca", "/nonexistent", "flag --etcd-ca", "correct the path"],
    );
    refused(check(&key, &key, &password), &["etcd-ca", "no CERTIFICATE in it", "PEM"]);
    refused(check(&ca, &ca, &password), &["etcd-key", "no PRIVATE KEY"]);
    refused(check(&ca, &open_key, &password), &["etcd-key", "mode 644", "chmod 600"]);
    refused(check(&ca, &key, &open_password), &["etcd-password-file", "mode 604", "chmod 600"]);
    refused(check(&ca, &key, &empty), &["etcd-password-file", "empty"]);
}

#[test]
fn an_operators_command_uses_the_store_only_if_its_caller_names_it() {
    let load = |flags: &[&str], variables: &[(&str, &str)]| {
        let operator = Operator::try_parse_from([&["sluice"], flags].concat()).unwrap();
        ClientConfig::load(&operator.args, environment(variables))
    };
    let (_directory, path) = file("store = \"etcd://192.0.2.1:2379\"\nadmin-socket = \"/run/x.sock\"\n");
    let by_file = load(&["--config", path.to_str().unwrap()], &[]).unwrap();
    assert!(by_file.store.is_none() && by_file.admin_socket == Path::new("/run/x.sock"));
    assert!(load(&["--store", "etcd://192.0.2.1:2379"], &[]).unwrap().store.is_some());
    assert!(load(&[], &[("SLUICE_STORE", "etcd://192.0.2.1:2379")]).unwrap().store.is_some());
    assert!(load(&[], &[("SLUICE_STORE", "embedded")]).unwrap().store.is_none());
    let error = load(&["--store", "embedded:/x"], &[]).unwrap_err().to_string();
    assert!(error.contains("embedded:/x") && error.contains("belongs to the agent"), "{error}");
}

#[test]
fn config_db_is_written_for_sonic_alone() {
    let written = ["--sonic-config-db", "127.0.0.1:6379", "--linux-form", "sonic"];
    let address = load(&written, &[]).unwrap().sonic_config_db.unwrap();
    assert_eq!(address.to_string(), "127.0.0.1:6379?db=4");
    let error = load(&written[..2], &[]).unwrap_err().to_string();
    assert!(error.contains("linux-form = \"sonic\""), "{error}");
    assert!(load(&written[2..], &[]).unwrap().sonic_config_db.is_none());
    let error = load(&["--sonic-config-db", "admin:secret@127.0.0.1:6379"], &[]).unwrap_err().to_string();
    assert!(error.contains("no users") && !error.contains("secret"), "{error}");
}
