//! IPAM: pools and addresses.

use serde_json::{Value, json};

use super::{endpoint, network, own_pool, pool, run, table, two_hosts};
use crate::lab::{Host, Lab, PATIENCE, eventually};

const BLUE: &str = "network=blue,pool=10.5.0.0/24";

fn request_pool(prefix: &str, range: &str, options: &[(&str, &str)]) -> Value {
    let options: std::collections::BTreeMap<_, _> = options.iter().copied().collect();
    json!({"AddressSpace": "sluice-local", "Pool": prefix, "SubPool": range, "Options": options, "V6": false})
}

fn request_address(pool: &str, address: &str, gateway: bool) -> Value {
    let options =
        if gateway { json!({"RequestAddressType": "com.docker.network.gateway"}) } else { json!(null) };
    json!({"PoolID": pool, "Address": address, "Options": options})
}

/// A network on both hosts, an endpoint on each: 10.5.0.77 on h1 and 10.5.0.88 on h2, 10.5.0.9 auxiliary.
fn with_blue() -> Option<Lab> {
    let lab = two_hosts()?;
    for (host, address) in lab.hosts().iter().zip(["10.5.0.77", "10.5.0.88"]) {
        let blue = [pool("sluice-local", "10.5.0.0/24", "10.5.0.1", &[("printer", "10.5.0.9")])];
        let body = network("b1", &[("network", "blue")], &blue);
        host.engine().call("NetworkDriver.CreateNetwork", &body).expect("blue");
        run(host, BLUE, address, |v4| endpoint("b1", &host.name()[1..], v4, ""))
            .expect("an endpoint on each");
    }
    Some(lab)
}

#[test]
fn a_pool_that_cannot_be() {
    let Some(mut lab) = with_blue() else { return };
    let host = lab.host(1);
    let pool =
        host.engine().call("IpamDriver.RequestPool", &request_pool("10.20.0.0/16", "", &[])).expect("a pool");
    let local = pool["PoolID"].as_str().expect("its id").to_owned();
    let body = network("b2", &[], &[own_pool("10.20.0.0/16", "10.20.0.1")]);
    host.engine().call("NetworkDriver.CreateNetwork", &body).expect("a network of this host");
    // The range from which Docker may not choose by itself.
    host.exec(["ip", "link", "add", "office", "type", "veth", "peer", "name", "wall"]).expect("a link");
    host.exec(["ip", "address", "add", "10.5.0.200/25", "dev", "office"]).expect("its address");
    host.exec(["ip", "link", "set", "office", "up"]).expect("the link up");
    host.exec(["ip", "link", "set", "wall", "up"]).expect("its peer up");
    table(&mut lab, |trial| {
        let host = trial.lab.host(1);
        let refused = |title: &str, names: &[&str], remedy: &str, body: &Value| {
            trial.call(title, names, remedy, host, "IpamDriver.RequestPool", body);
        };
        let new = "10.30.0.0/24";
        refused(
            "an unknown IPAM option",
            &["'colour=blue'"],
            "allowed is network=NAME",
            &request_pool(new, "", &[("colour", "blue")]),
        );
        refused(
            "an IPAM option without a value",
            &["network="],
            "letters",
            &request_pool(new, "", &[("network", "")]),
        );
        refused(
            "a bad name for IPAM",
            &["network=a/b"],
            "letters",
            &request_pool(new, "", &[("network", "a/b")]),
        );
        for (prefix, names, remedy) in [
            ("10.30.0.9/24", "10.30.0.9/24", "did you mean 10.30.0.0/24"),
            ("ten", "Pool is \"ten\"", "such as 10.5.0.0/16"),
            ("10.30.0.0/33", "Pool is \"10.30.0.0/33\"", "such as 10.5.0.0/16"),
            ("224.0.0.0/8", "multicast", "choose a unicast prefix"),
            ("127.0.0.0/8", "loopback", "choose a unicast prefix"),
            ("169.254.7.0/24", "link-local", "choose a unicast prefix"),
        ] {
            for options in [&[][..], &[("network", "new")]] {
                refused(
                    &format!("the pool {prefix} {options:?}"),
                    &[prefix, names],
                    remedy,
                    &request_pool(prefix, "", options),
                );
            }
        }
        for (range, what) in
            [("10.31.0.0/28", "outside"), ("10.30.0.7/28", "with host bits"), ("10.30.0.0/16", "too large")]
        {
            let body = request_pool(new, range, &[("network", "new")]);
            refused(
                &format!("an --ip-range {what}"),
                &["--ip-range", range, new],
                if what == "with host bits" { "choose a prefix of the subnet" } else { "a part of Pool" },
                &body,
            );
        }
        let names = ["10.20.0.0/16", "10.20.7.0/24"];
        refused(
            "a pool within a local pool",
            &names,
            "choose another subnet",
            &request_pool("10.20.7.0/24", "", &[]),
        );
        refused(
            "a pool around a local pool",
            &["10.16.0.0/12", "10.20.0.0/16"],
            "choose another subnet",
            &request_pool("10.16.0.0/12", "", &[]),
        );
        refused(
            "the same local pool again",
            &["10.20.0.0/16", &local],
            "remove the Docker network",
            &request_pool("10.20.0.0/16", "", &[]),
        );
        let of_blue = |prefix: &str| request_pool(prefix, "", &[("network", "blue")]);
        refused(
            "another subnet of a network",
            &["blue", "10.5.0.0/24", "10.6.0.0/24", "node h1"],
            "leave subnet out",
            &of_blue("10.6.0.0/24"),
        );
        refused(
            "a network's subnet that a route of this host overlaps",
            &["blue", "10.5.0.0/24", "10.5.0.128/25", "ip route"],
            "add --subnet 10.5.0.0/24",
            &of_blue(""),
        );
        let mut v6 = of_blue("");
        v6["V6"] = json!(true);
        refused("a family that a network lacks", &["blue", "IPv6"], "leave IPv6 out", &v6);
        trial.refused(
            "asking without end, as Docker does",
            &["times within seconds"],
            "give a subnet with --subnet",
            || {
                // What Docker does with a pool that overlaps something only it can see: the next, and the former given
                // back at the end.
                let mut given = Vec::new();
                let refusal = loop {
                    match host.engine().call("IpamDriver.RequestPool", &request_pool("", "", &[])) {
                        Ok(reply) if given.len() < 100 => given.push(reply["PoolID"].clone()),
                        reply => break reply,
                    }
                };
                for id in given {
                    host.engine().call("IpamDriver.ReleasePool", &json!({"PoolID": id})).expect("given back");
                }
                refusal
            },
        );
    });
}

#[test]
fn an_address_that_cannot_be_had() {
    let Some(mut lab) = with_blue() else { return };
    table(&mut lab, |trial| {
        let host = trial.lab.host(1);
        let refused = |title: &str, names: &[&str], remedy: &str, body: &Value| {
            trial.call(title, names, remedy, host, "IpamDriver.RequestAddress", body);
        };
        for (foreign, what) in
            [("LocalDefault/10.5.0.0/16", "Docker's"), ("blue", "no"), ("network=a b,pool=x", "a garbled")]
        {
            for method in ["RequestAddress", "ReleaseAddress", "ReleasePool"] {
                let body = json!({"PoolID": foreign, "Address": "10.5.0.7", "Options": null});
                let method = format!("IpamDriver.{method}");
                // A space is refused one layer before.
                trial.call(
                    &format!("{method} with {what} PoolID"),
                    &[foreign],
                    "wanted",
                    host,
                    &method,
                    &body,
                );
            }
        }
        let unknown = "local=7,pool=10.40.0.0/16";
        refused(
            "a pool that was not given",
            &[unknown],
            "create it again",
            &request_address(unknown, "", false),
        );
        let stale = "network=blue,pool=10.6.0.0/24";
        refused(
            "a pool of another shape of the network",
            &[stale, "blue"],
            "create it again",
            &request_address(stale, "", false),
        );
        let nobody = "network=nobody,pool=10.6.0.0/24";
        refused(
            "an endpoint's address before CreateNetwork",
            &["nobody"],
            "CreateNetwork",
            &request_address(nobody, "", false),
        );
        let of_blue = |address: &str| request_address(BLUE, address, false);
        let subnet = "10.5.0.0/24";
        refused("an address outside", &["10.6.0.7", subnet], "choose one inside", &of_blue("10.6.0.7"));
        refused(
            "an address of the other family",
            &["fd00::7", subnet],
            "choose one inside",
            &of_blue("fd00::7"),
        );
        refused("no address", &["10.5.0.x"], "wanted", &of_blue("10.5.0.x"));
        refused(
            "the gateway's address",
            &["10.5.0.1", "gateway", subnet],
            "choose another",
            &of_blue("10.5.0.1"),
        );
        refused(
            "the network address",
            &["10.5.0.0", "network address", subnet],
            "choose another",
            &of_blue("10.5.0.0"),
        );
        refused(
            "the broadcast address",
            &["10.5.0.255", "broadcast", subnet],
            "choose another",
            &of_blue("10.5.0.255"),
        );
        refused(
            "another gateway",
            &["blue", "gateway 10.5.0.1", "gateway 10.5.0.2", "node h1"],
            "leave gateway out",
            &request_address(BLUE, "10.5.0.2", true),
        );
        let title = "the auxiliary address, for an endpoint";
        trial.refused(title, &["10.5.0.9", "'printer'", "blue"], "choose another", || {
            run(host, BLUE, "10.5.0.9", |v4| endpoint("b1", "e1", v4, ""))
        });
        let one = |_: &str| endpoint("b1", "e1", "10.5.0.77/24", "");
        trial.refused(
            "an address that is taken on this host",
            &["10.5.0.77", "node h1"],
            "choose another",
            || run(host, BLUE, "10.5.0.77", one),
        );
        refused(
            "an address that is taken on another host",
            &["10.5.0.88", "blue", "node h2"],
            "choose another",
            &of_blue("10.5.0.88"),
        );
    });
}

/// Docker's own IPAM on a network of the cluster: each host's Docker chooses without knowing of the other.
#[test]
fn an_address_that_dockers_ipam_chose_twice() {
    let Some(mut lab) = two_hosts() else { return };
    for host in lab.hosts() {
        let pools = [pool("LocalDefault", "10.8.0.0/24", "10.8.0.1", &[])];
        let body = network("b3", &[("network", "clash")], &pools);
        host.engine().call("NetworkDriver.CreateNetwork", &body).expect("clash");
    }
    let create = |host: &Host, begin: &str, address: &str| {
        host.engine().call("NetworkDriver.CreateEndpoint", &endpoint("b3", begin, address, ""))
    };
    create(lab.host(1), "1", "10.8.0.2/24").expect("an endpoint here");
    create(lab.host(2), "2", "10.8.0.3/24").expect("an endpoint there");
    table(&mut lab, |trial| {
        let host = trial.lab.host(1);
        let remedy = "--ipam-driver sluice";
        trial.refused("the address of an endpoint here", &["10.8.0.2", "clash", "node h1"], remedy, || {
            create(host, "e1", "10.8.0.2/24")
        });
        trial.refused("the address of an endpoint there", &["10.8.0.3", "clash", "node h2"], remedy, || {
            create(host, "e1", "10.8.0.3/24")
        });
        trial.refused("the gateway", &["10.8.0.1", "clash", "gateway"], "choose another", || {
            create(host, "e1", "10.8.0.1/24")
        });
        trial.refused(
            "an address outside",
            &["10.9.0.9", "clash", "10.8.0.0/24"],
            "choose one inside",
            || create(host, "e1", "10.9.0.9/24"),
        );
    });
}

#[test]
fn a_pool_without_an_address_left() {
    let Some(mut lab) = two_hosts() else { return };
    let small = "network=small,pool=10.9.0.0/29";
    for host in lab.hosts() {
        let body = network("b4", &[("network", "small")], &[own_pool("10.9.0.0/29", "10.9.0.1")]);
        host.engine().call("NetworkDriver.CreateNetwork", &body).expect("small");
    }
    // Eight addresses without network, broadcast and gateway: three here, two there.
    let mut given = Vec::new();
    for (n, begin) in [(1, "1"), (1, "2"), (2, "3"), (1, "4"), (2, "5")] {
        let attempt = || run(lab.host(n), small, "", |v4| endpoint("b4", begin, v4, ""));
        given.push(eventually("one of five addresses", PATIENCE, attempt));
    }
    table(&mut lab, |trial| {
        for n in [1, 2] {
            let names = ["network=small", "10.9.0.0/29", "of 5", "3 by h1", "2 by h2"];
            let title = format!("a sixth address of five, on h{n}");
            trial.refused(&title, &names, "remove", || {
                run(trial.lab.host(n), small, "", |v4| endpoint("b4", "e1", v4, ""))
            });
        }
    });
    // One goes, and there is one again.
    let gone = json!({"NetworkID": super::id("b4"), "EndpointID": super::id("3")});
    lab.host(2).engine().call("NetworkDriver.DeleteEndpoint", &gone).expect("deleting");
    let address = given[2].split('/').next().expect("a first part");
    let back = json!({"PoolID": small, "Address": address});
    lab.host(2).engine().call("IpamDriver.ReleaseAddress", &back).expect("releasing");
    eventually("the address is to be had on the other host", PATIENCE, || {
        run(lab.host(1), small, "", |v4| endpoint("b4", "6", v4, ""))
    });
}
