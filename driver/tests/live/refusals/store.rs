//! etcd away, and etcd that does not let the agent in.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Trial, bare_agent, endpoint, network, own_pool, run, two_hosts};
use crate::lab::{Daemon, Host, PATIENCE, Plan, binary, eventually};

/// What `sluice status` says of the store, in its state and among the problems.
fn store_problem(host: &Host) -> Result<String, String> {
    let status = host.sluice("status --json").ok()?;
    let status: Value = serde_json::from_str(&status).map_err(|error| error.to_string())?;
    let problems = status["problems"].as_array().expect("a list");
    let problem = problems.iter().find(|problem| problem["object"] == "store").ok_or("no problem yet")?;
    Ok(format!("{}: {}", problem["what"].as_str().expect("text"), problem["remedy"].as_str().expect("text")))
}

#[test]
fn a_network_while_the_store_is_away() {
    let Some(mut lab) = two_hosts() else { return };
    let blue = network("b1", &[("network", "blue")], &[own_pool("10.5.0.0/24", "10.5.0.1")]);
    let create = |host: &Host, body: &Value| host.engine().call("NetworkDriver.CreateNetwork", body);
    create(lab.host(1), &blue).expect("blue");
    run(lab.host(1), "network=blue,pool=10.5.0.0/24", "", |v4| endpoint("b1", "1", v4, ""))
        .expect("an endpoint");
    let url = "etcd http://172.31.0.254:2379";
    let before = lab.store_dump();
    lab.kill_etcd();
    let new = network("a1", &[("network", "new")], &[own_pool("10.7.0.0/24", "10.7.0.1")]);
    let known = "network=blue,pool=10.5.0.0/24";
    for round in ["killed later", "down at the start"] {
        let seen = eventually("status tells", PATIENCE, || store_problem(lab.host(1)));
        assert!(seen.contains(url) && seen.contains("start the store"), "{seen}");
        let trial = Trial::of(&lab);
        let host = trial.lab.host(1);
        let remedy = "is it running, and is the address right?";
        trial.create(&format!("a new network, etcd {round}"), &[url], remedy, host, &new);
        trial.refused(&format!("a pool of a new network, etcd {round}"), &[url], remedy, || {
            let body = json!({"AddressSpace": "sluice-local", "Pool": "", "SubPool": "", "Options": {"network": "new"}, "V6": false});
            host.engine().call("IpamDriver.RequestPool", &body)
        });
        trial.refused(&format!("sluice network create, etcd {round}"), &["sluice:", url], remedy, || {
            super::fails(host.sluice("network create new"), 1)
        });
        trial.end();
        run(lab.host(1), known, "", |v4| endpoint("b1", &format!("2{}", round.len()), v4, ""))
            .expect("an endpoint on a known network");
        if round == "killed later" {
            lab.host_mut(1).kill_agent();
            lab.host_mut(1).start_agent();
        }
    }
    lab.start_etcd();
    eventually("the new network, once etcd is back", PATIENCE, || create(lab.host(1), &new));
    let after = lab.store_dump();
    assert!(
        before.keys().all(|key| after.contains_key(key)),
        "{:?} became {:?}",
        before.keys(),
        after.keys()
    );
}

/// An etcd on the host, with these arguments beside.
fn etcd(host: &Host, name: &str, url: &str, arguments: &[&str]) -> Daemon {
    let mut command = Command::new("etcd");
    let peer = "http://127.0.0.1:0";
    command
        .args(["--name", "m", "--data-dir", &host.path(name), "--initial-cluster", &format!("m={peer}")])
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(arguments);
    let mut etcd = host.daemon(name, command);
    eventually("etcd", PATIENCE, || {
        etcd.assert_running();
        if etcd.log().contains("ready to serve client requests") { Ok(()) } else { Err(String::new()) }
    });
    etcd
}

/// Certificates: an authority `ca` that signed `server` and `client`, and a stranger that signed `intruder`.
fn certificates(host: &Host) -> String {
    let directory = host.path("certificates");
    let script = "set -e; mkdir \"$0\"; cd \"$0\"; exec 2>log; echo subjectAltName=IP:127.0.0.1 >san; \
         new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'; \
         for ca in ca stranger; do openssl req -x509 $new -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.crt; done; \
         sign() { openssl req $new -subj /CN=$1 -keyout $1.key -out $1.csr; \
             openssl x509 -req -days 2 -in $1.csr -CA $2.crt -CAkey $2.key -CAcreateserial -extfile san -out $1.crt; }; \
         sign server ca; sign client ca; sign intruder stranger; chmod 600 *.key; \
         printf wrong >wrong; printf right >right; chmod 600 wrong right";
    host.exec(["sh", "-c", script, &directory]).expect("certificates");
    directory
}

#[test]
fn an_agent_that_etcd_does_not_let_in() {
    let Some(lab) = Plan::hosts(1).without_agents().start() else { return };
    let host = lab.host(1);
    let (sluice, directory) = (binary(), certificates(host));
    let file = |name: &str| Path::new(&directory).join(name).display().to_string();
    let server = ["--cert-file", &file("server.crt"), "--key-file", &file("server.key")];
    let trusted = file("ca.crt");
    let strict = [&server[..], &["--client-cert-auth", "--trusted-ca-file", &trusted]].concat();
    let _tls = etcd(host, "tls", "https://127.0.0.1:2381", &strict);
    let _users = etcd(host, "users", "http://127.0.0.1:2383", &[]);
    let etcdctl = "set -e; export ETCDCTL_API=3; for what in 'user add root:right' 'user grant-role root root' 'auth enable'; do \
         etcdctl --endpoints http://127.0.0.1:2383 $what; done";
    host.exec(["sh", "-c", etcdctl]).expect("users");

    let ca = ["--etcd-ca", &file("ca.crt")];
    let identity = |name: &str| {
        [
            "--etcd-cert".to_owned(),
            file(&format!("{name}.crt")),
            "--etcd-key".to_owned(),
            file(&format!("{name}.key")),
        ]
    };
    let (client, intruder) = (identity("client"), identity("intruder"));
    let (client, intruder) = (client.each_ref().map(String::as_str), intruder.each_ref().map(String::as_str));
    let stranger = ["--etcd-ca", &file("stranger.crt")];
    let password = |name: &str| {
        ["--etcd-user".to_owned(), "root".to_owned(), "--etcd-password-file".to_owned(), file(name)]
    };
    let (right, wrong) = (password("right"), password("wrong"));
    let (right, wrong) = (right.each_ref().map(String::as_str), wrong.each_ref().map(String::as_str));
    let (tls, users) = ("127.0.0.1:2381", "127.0.0.1:2383");
    for (title, address, arguments, names, remedy) in [
        ("a wrong CA", tls, [&stranger[..], &client].concat(), &["certificate"][..], "check etcd-ca"),
        ("no client certificate", tls, ca.to_vec(), &["refuses this agent"], "check etcd-cert and etcd-key"),
        (
            "a stranger's certificate",
            tls,
            [&ca[..], &intruder].concat(),
            &["refuses this agent"],
            "check etcd-cert and etcd-key",
        ),
        (
            "a wrong password",
            users,
            wrong.to_vec(),
            &["authentication failed"],
            "check etcd-user and etcd-password-file",
        ),
        ("no user", users, Vec::new(), &["user name is empty"], "check etcd-user and etcd-password-file"),
    ] {
        let store = format!("etcd://{address}");
        let agent = bare_agent(host, &[&["--store", &store][..], &arguments].concat());
        let seen = eventually(title, PATIENCE, || {
            let seen = store_problem(host)?;
            if seen.contains("refuses") { Ok(seen) } else { Err(seen) }
        });
        println!("status with {title}: {seen}");
        for part in names.iter().chain([&address, &remedy]) {
            assert!(seen.contains(part), "{title}: {part:?} is not in {seen:?}");
        }
        assert!(!seen.contains("start the store"), "{title}: etcd runs: {seen:?}");
        let trial = Trial::of(&lab);
        let body =
            network("a1", &[("network", "new"), ("encap", "local")], &[own_pool("10.7.0.0/24", "10.7.0.1")]);
        let names = [&[address][..], names].concat();
        trial.create(&format!("a network with {title}"), &names, remedy, host, &body);
        trial.refused(&format!("sluice network ls with {title}"), &names, remedy, || {
            let argv = [&[sluice.as_str(), "network", "ls", "--store", &store][..], &arguments].concat();
            super::fails(host.exec(argv), 1)
        });
        trial.end();
        let log = agent.log();
        assert!(!log.contains("wrong\"") && log.lines().count() < 60, "{title}: {log}");
    }
    // The same with what is right, so that it was that and nothing else.
    for arguments in [
        [&["--store", "etcd://127.0.0.1:2381"][..], &ca, &client].concat(),
        [&["--store", "etcd://127.0.0.1:2383"][..], &right].concat(),
    ] {
        let _agent = bare_agent(host, &arguments);
        eventually("the agent is let in", PATIENCE, || host.sluice("network create new --encap local").ok());
    }
}
