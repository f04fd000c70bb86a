//! Configuration, flags, sockets, names, and the operator's commands.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{Trial, endpoint, fails, network, own_pool, run, table, two_hosts};
use crate::lab::{PATIENCE, Plan, binary, eventually};

#[test]
fn an_agent_with_a_wrong_configuration() {
    let Some(lab) = Plan::hosts(1).without_agents().start() else { return };
    let host = lab.host(1);
    let trial = Trial::of(&lab);
    let write = |name: &str, text: &str, mode: u32| {
        let path = host.path(name);
        std::fs::write(host.seen(&path), text).expect("a file");
        std::fs::set_permissions(host.seen(&path), std::fs::Permissions::from_mode(mode)).expect("its mode");
        path
    };
    let (sluice, never) = (binary(), host.path("never"));
    let agent = |title: &str, names: &[&str], remedy: &str, arguments: &[&str]| {
        for check in [&[][..], &["--check-config"]] {
            let argv = [&[&sluice, "agent", "--state-dir", &never][..], arguments, check].concat();
            trial
                .refused(&format!("{title} {}", check.concat()), names, remedy, || fails(host.exec(argv), 2));
        }
    };
    let unreadable = ["--store", "etcd://127.0.0.1:1", "--etcd-user", "u", "--etcd-password-file"];
    for (title, text, names, remedy) in [
        (
            "an unknown key",
            "underlya = \"192.0.2.1\"\n",
            ["conf.toml:1", "'underlya'"],
            "did you mean 'underlay'?",
        ),
        ("a key like no other", "\nlisten = 1\n", ["conf.toml:2", "'listen'"], "the keys are node, underlay"),
        (
            "a wrong value",
            "datapath = \"fast\"\n",
            ["conf.toml:1", "datapath = \"fast\""],
            "auto, system or netdev",
        ),
        (
            "a value of another type",
            "docker-sync = \"maybe\"\n",
            ["conf.toml:1", "docker-sync"],
            "true or false",
        ),
        ("no TOML", "node h1\n", ["conf.toml:1", "not TOML"], "expected"),
        ("a bad node name", "node = \"a b\"\n", ["conf.toml:1", "node = \"a b\""], "choose one with --node"),
        ("a bad underlay", "underlay = \"eth0\"\n", ["conf.toml:1", "underlay = \"eth0\""], "address"),
        (
            "a bad store",
            "store = \"zookeeper://x\"\n",
            ["conf.toml:1", "store = \"zookeeper://x\""],
            "etcd://HOST:PORT",
        ),
        (
            "a bad time",
            "program-deadline = \"soon\"\n",
            ["conf.toml:1", "program-deadline = \"soon\""],
            "as in",
        ),
        (
            "a bad pool",
            "default-pool = [\"10.0.0.0/8\"]\n",
            ["conf.toml:1", "default-pool = \"10.0.0.0/8\""],
            "as in",
        ),
        ("VLAN by default", "encap = \"vlan\"\n", ["conf.toml:1", "encap = \"vlan\""], "name it per network"),
    ] {
        let path = write("conf.toml", text, 0o600);
        agent(title, &names, remedy, &["--config", &path]);
    }
    let missing = host.path("missing.toml");
    agent("a file that is not there", &[&missing, "--config"], "correct the path", &["--config", &missing]);
    let password = host.path("password");
    agent(
        "no password file",
        &["etcd-password-file", &password],
        "create it, or correct the path",
        &[&unreadable[..], &[&password]].concat(),
    );
    let open = write("open", "secret", 0o644);
    agent(
        "a password that all can read",
        &["etcd-password-file", &open, "644"],
        "chmod 600",
        &[&unreadable[..], &[&open]].concat(),
    );
    let empty = write("empty", "\n", 0o600);
    agent(
        "an empty password",
        &["etcd-password-file", &empty],
        "write the password into it",
        &[&unreadable[..], &[&empty]].concat(),
    );
    agent(
        "a user without a password",
        &["etcd-user", "etcd-password-file"],
        "name the file",
        &["--store", "etcd://127.0.0.1:1", "--etcd-user", "u"],
    );
    let ca = write("ca", "no certificate", 0o600);
    agent(
        "a CA that is none",
        &["etcd-ca", &ca, "no CERTIFICATE"],
        "a PEM file is wanted",
        &["--store", "etcd://127.0.0.1:1", "--etcd-ca", &ca],
    );
    agent(
        "a flag with a wrong value",
        &["flag --underlay", "underlay = \"x\""],
        "address",
        &["--underlay", "x"],
    );
    agent(
        "its own bridge as uplink",
        &["uplink-bridge = \"br-int\"", "--uplink-bridge"],
        "is wanted",
        &["--uplink-bridge", "br-int"],
    );
    for (title, words, names) in [
        ("an unknown flag", "agent --colour blue", "--colour"),
        ("a flag without its value", "agent --node", "--node"),
        ("an unknown command", "frob", "frob"),
        ("no command for networks", "network", "Usage"),
        ("no name for a network", "network create", "<NAME>"),
        ("a bad name for a network", "network inspect a/b", "a/b"),
    ] {
        let printed = host.sluice(words);
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(2), ""), "{title}: {}", printed.stderr);
        assert!(
            printed.stderr.contains(names) && printed.stderr.contains("--help"),
            "{title}: {}",
            printed.stderr
        );
    }
    let file = write("file", "", 0o600);
    trial.refused("a state directory that is a file", &["state-dir", &file], "give a directory", || {
        fails(host.exec([&binary(), "agent", "--log-level", "off", "--state-dir", &file]), 1)
    });
    assert!(!host.seen(host.path("never")).exists(), "a refused agent made its state directory");
    trial.end();
}

#[test]
fn two_agents_where_one_can_be() {
    let Some(lab) = two_hosts() else { return };
    let trial = Trial::of(&lab);
    let host = lab.host(2);
    let ovs = host.path("ovs");
    let words = |state: &str, plugin: &str, admin: &str| {
        ["--node", "second", "--bridge", "br-int", "--docker-socket", "none", "--log-level", "off"]
            .into_iter()
            .chain(["--ovs-rundir", &ovs, "--state-dir", state, "--plugin-socket", plugin])
            .chain(["--admin-socket", admin])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let second = |state: &str, plugin: &str, admin: &str| {
        let sluice = ["timeout", "5", &binary(), "agent"].map(str::to_owned);
        let argv = [&sluice[..], &words(state, plugin, admin)].concat();
        host.exec(argv)
    };
    let (other, own) = (host.path("second"), host.path("second.sock"));
    let plugin = "/run/docker/plugins/sluice.sock";
    trial.refused(
        "a plugin socket in use",
        &[plugin, "another agent is running"],
        "stop that one first",
        || fails(second(&other, plugin, &own), 1),
    );
    let admin = host.path("sluice.sock");
    let free = host.path("free.sock");
    trial.refused(
        "an admin socket in use",
        &[&admin, "another agent is running"],
        "stop that one first",
        || fails(second(&other, &free, &admin), 1),
    );
    let state = host.path("sluice");
    trial.refused("a state directory in use", &[&state], "another", || fails(second(&state, &free, &own), 1));
    let long = format!("/run/{}.sock", "x".repeat(100));
    trial.refused("a socket whose path is too long", &[&long], "at most 90 bytes", || {
        fails(second(&other, &long, &own), 2)
    });
    let file = "/run/file";
    std::fs::write(host.seen(file), "").expect("a file");
    trial.refused(
        "a socket where a file is",
        &[file, "not a socket"],
        "remove it, or choose another",
        || fails(second(&other, file, &own), 1),
    );
    trial.refused(
        "the bridge of another node",
        &["bridge br-int is node h2's"],
        "--bridge of its own",
        || {
            let mut command = Command::new(binary());
            command.arg("agent").args(words(&other, &free, &own));
            let _agent = host.daemon("second", command);
            let said = eventually("the second agent says why it does nothing", PATIENCE, || {
                let printed = host.sluice(&format!("status --admin-socket {own}"));
                let said = format!("{}{}", printed.stdout, printed.stderr);
                let line = said.lines().find(|line| line.contains("is node")).map(str::to_owned);
                line.ok_or(said)
            });
            Err::<(), _>(said)
        },
    );
    assert!(host.sluice("status").ok().is_ok(), "the first agent goes on");
    trial.end();
}

#[test]
fn two_hosts_of_one_name() {
    let Some(lab) = two_hosts() else { return };
    let host = lab.host(2);
    let before = lab.store_dump();
    let mut command = Command::new(binary());
    let socket = host.path("twin.sock");
    command
        .args([
            "agent",
            "--node",
            "h1",
            "--bridge",
            "br-twin",
            "--datapath",
            "netdev",
            "--docker-socket",
            "none",
        ])
        .args([
            "--underlay",
            "172.31.0.2",
            "--store",
            "etcd://172.31.0.254:2379",
            "--ovs-rundir",
            &host.path("ovs"),
        ])
        .args(["--state-dir", &host.path("twin"), "--plugin-socket", &host.path("twin-plugin.sock")])
        .args(["--admin-socket", &socket]);
    let twin = host.daemon("twin", command);
    let seen = eventually("status tells of the name", PATIENCE, || {
        let seen = host.exec([&binary(), "status", "--admin-socket", &socket]).ok()?;
        if seen.contains("node h1") { Ok(seen) } else { Err(seen) }
    });
    for part in ["172.31.0.1", "--node"] {
        assert!(seen.contains(part), "{part:?} is not in {seen}");
    }
    drop(twin);
    assert_eq!(lab.store_dump(), before, "the twin wrote into the store");
}

#[test]
fn a_command_that_cannot_be_done() {
    let Some(mut lab) = two_hosts() else { return };
    let blue = network("b1", &[("network", "blue")], &[own_pool("10.5.0.0/24", "10.5.0.1")]);
    lab.host(2).engine().call("NetworkDriver.CreateNetwork", &blue).expect("blue");
    run(lab.host(2), "network=blue,pool=10.5.0.0/24", "", |v4| endpoint("b1", "1", v4, ""))
        .expect("an endpoint");
    let red = network("b2", &[("network", "red")], &[own_pool("10.6.0.0/24", "10.6.0.1")]);
    lab.host(1).engine().call("NetworkDriver.CreateNetwork", &red).expect("red");
    table(&mut lab, |trial| {
        let host = trial.lab.host(1);
        let refused = |words: &str, names: &[&str], remedy: &str| {
            trial.refused(&format!("sluice {words}"), names, remedy, || fails(host.sluice(words), 1));
        };
        refused("network inspect nope", &["network nope"], "sluice network ls");
        refused("network rm nope", &["network nope"], "sluice network ls");
        refused("network rm blue", &["network blue", "1 endpoint", "node h2"], "remove these containers");
        refused("network rm red", &["network red", "this host's Docker network"], "docker network rm b2");
        refused(
            "network create blue --subnet 10.9.0.0/24",
            &["network blue", "10.5.0.0/24", "10.9.0.0/24"],
            "leave subnet out",
        );
        refused("network create new --vni 1", &["network new", "vni=1"], "choose another");
        refused("network create new --encap vlan", &["network new", "encap=vlan"], "add vlan=ID");
        refused("network create local-x", &["local-x"], "choose another name");
        refused(
            "network create new --reserve a=10.7.0.1 --subnet 10.7.0.0/24",
            &["network new", "gateway 10.7.0.1"],
            "choose another",
        );
        refused("endpoint inspect ffff", &["ffff"], "sluice endpoint ls");
        refused("endpoint rm ffff", &["ffff"], "sluice endpoint ls");
        refused("endpoint ls --network nope", &["nope"], "sluice network ls");
        refused("node inspect nope", &["node nope"], "sluice node ls");
        refused("node rm nope", &["node nope"], "sluice node ls");
        refused("node rm h1", &["node h1"], "ask another");
        refused("node rm h2", &["node h2"], "stop");
        refused("node rm --force h2", &["node h2"], "stop");
        let absent = host.path("absent.sock");
        refused(&format!("status --admin-socket {absent}"), &[&absent], "is `sluice agent` running?");
        let words = "network create new --subnet 10.7.0.9/24";
        trial.refused(
            &format!("sluice {words}"),
            &["network new", "10.7.0.9/24"],
            "did you mean 10.7.0.0/24",
            || fails(host.sluice(words), 2),
        );
    });
}
