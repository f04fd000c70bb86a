//! CreateEndpoint and Join, and requests that cannot be understood.

use serde_json::{Value, json};

use super::{endpoint, id, network, own_pool, pool, run, table, two_hosts};
use crate::lab::call;

const POOL: &str = "network=blue,pool=10.5.0.0/24";

#[test]
fn an_endpoint_that_cannot_be() {
    let Some(mut lab) = two_hosts() else { return };
    for host in lab.hosts() {
        let blue = network("b1", &[("network", "blue")], &[own_pool("10.5.0.0/24", "10.5.0.1")]);
        host.engine().call("NetworkDriver.CreateNetwork", &blue).expect("blue");
        run(host, POOL, "", |v4| {
            endpoint(
                "b1",
                host.name().trim_start_matches('h'),
                v4,
                &format!("02:00:00:00:00:0{}", &host.name()[1..]),
            )
        })
        .expect("an endpoint on each");
    }
    table(&mut lab, |trial| {
        let host = trial.lab.host(1);
        let create = |title: &str, names: &[&str], remedy: &str, change: &dyn Fn(&mut Value)| {
            trial.refused(title, names, remedy, || {
                run(host, POOL, "", |v4| {
                    let mut body = endpoint("b1", "e1", v4, "");
                    change(&mut body);
                    body
                })
            });
        };
        let with_mac =
            |mac: &'static str| move |body: &mut Value| body["Interface"]["MacAddress"] = json!(mac);
        let own = with_mac("02:00:00:00:00:01");
        create("another's MAC address", &["02:00:00:00:00:01", "node h1", "blue"], "choose another", &own);
        let across = with_mac("02:00:00:00:00:02");
        create(
            "a MAC address from the other host",
            &["02:00:00:00:00:02", "node h2", "blue"],
            "choose another",
            &across,
        );
        let group = with_mac("03:00:00:00:00:09");
        create(
            "a group MAC address",
            &["03:00:00:00:00:09", "group"],
            "the first octet must be even",
            &group,
        );
        let broadcast = with_mac("ff:ff:ff:ff:ff:ff");
        create(
            "the broadcast MAC address",
            &["ff:ff:ff:ff:ff:ff"],
            "the first octet must be even",
            &broadcast,
        );
        let zero = with_mac("00:00:00:00:00:00");
        create("the MAC address of zeros", &["00:00:00:00:00:00"], "such as 02:00:00:00:00:01", &zero);
        let short = with_mac("02:00:00");
        create("a short MAC address", &["Interface.MacAddress", "02:00:00"], "wanted", &short);
        create("a driver option", &["'colour=blue'"], "take none", &|body| {
            body["Options"]["colour"] = json!("blue")
        });
        create("an unknown network", &[&id("ff")[..12]], "docker network rm", &|body| {
            body["NetworkID"] = json!(id("ff"));
        });
        create("no interface address that is one", &["Interface.Address", "10.5.0"], "wanted", &|body| {
            body["Interface"]["Address"] = json!("10.5.0");
        });
        create(
            "an address of another subnet",
            &["10.9.0.9", "blue", "10.5.0.0/24"],
            "choose one inside",
            &|body| {
                body["Interface"]["Address"] = json!("10.9.0.9/24");
            },
        );
        create("no EndpointID", &["EndpointID"], "wanted", &|body| body["EndpointID"] = json!(""));
        create("an EndpointID with a slash", &["EndpointID", "a/b"], "wanted", &|body| {
            body["EndpointID"] = json!("a/b")
        });
        create(
            "an endpoint that exists with another address",
            &["endpoint 1000"],
            "remove the container",
            &|body| {
                body["EndpointID"] = json!(id("1"));
            },
        );
        let join = |endpoint: &str, network: &str| json!({"NetworkID": id(network), "EndpointID": id(endpoint), "SandboxKey": "/x", "Options": {}});
        let method = "NetworkDriver.Join";
        trial.call(
            "Join of an unknown endpoint",
            &["endpoint ee00"],
            "started again",
            host,
            method,
            &join("ee", "b1"),
        );
        trial.call(
            "Join in an unknown network",
            &["network ff00"],
            "docker network rm",
            host,
            method,
            &join("1", "ff"),
        );
    });
}

#[test]
fn a_request_that_cannot_be_understood() {
    let Some(mut lab) = two_hosts() else { return };
    table(&mut lab, |trial| {
        let host = trial.lab.host(1);
        let socket = host.seen("/run/docker/plugins/sluice.sock");
        let raw = |method: &str, body: &str| call(&socket, method, body);
        let methods = [
            "NetworkDriver.CreateNetwork",
            "NetworkDriver.DeleteNetwork",
            "NetworkDriver.CreateEndpoint",
            "NetworkDriver.DeleteEndpoint",
            "NetworkDriver.EndpointOperInfo",
            "NetworkDriver.Join",
            "NetworkDriver.Leave",
            "NetworkDriver.ProgramExternalConnectivity",
            "NetworkDriver.RevokeExternalConnectivity",
            "NetworkDriver.AllocateNetwork",
            "NetworkDriver.FreeNetwork",
            "IpamDriver.RequestPool",
            "IpamDriver.ReleasePool",
            "IpamDriver.RequestAddress",
            "IpamDriver.ReleaseAddress",
        ];
        for method in methods {
            trial.refused(
                &format!("{method} without a body"),
                &[method, "no body"],
                "run the docker command again",
                || raw(method, ""),
            );
        }
        // RequestPool needs nothing but an object.
        for method in methods.into_iter().filter(|method| *method != "IpamDriver.RequestPool") {
            let field = if method.starts_with("Ipam") { "PoolID" } else { "NetworkID" };
            trial.refused(&format!("{method} without {field}"), &[method, field], "wanted", || {
                raw(method, "{}")
            });
        }
        let method = "NetworkDriver.CreateNetwork";
        trial.refused("a body that is cut off", &[method], "not JSON", || raw(method, "{\"NetworkID\":"));
        trial.refused("a body that is no object", &[method, "[]"], "a JSON object is wanted", || {
            raw(method, "[]")
        });
        trial.refused("an unknown method", &["NetworkDriver.Frob"], "has no method", || {
            raw("NetworkDriver.Frob", "{}")
        });
        for (field, value, wanted) in [
            ("NetworkID", json!(7), "wanted"),
            ("Options", json!("x"), "an object is wanted"),
            ("IPv4Data", json!({}), "an array of objects is wanted"),
            ("IPv6Data", json!(["x"]), "wanted"),
        ] {
            let mut body = network("a1", &[("network", "new")], &[]);
            body[field] = value;
            trial.create(&format!("{field} of another type"), &[method, field], wanted, host, &body);
        }
        let wrong = pool("sluice-local", "10.7.0.0/24", "10.7.0.x", &[]);
        let body = network("a1", &[("network", "new")], &[wrong]);
        trial.create(
            "a gateway that is no address",
            &["IPv4Data[0].Gateway", "10.7.0.x"],
            "wanted",
            host,
            &body,
        );
    });
}
