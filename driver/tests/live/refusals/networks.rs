//! CreateNetwork.

use serde_json::json;

use super::{Trial, id, network, own_pool, pool, table, two_hosts};
use crate::lab::Plan;

const BLUE: [(&str, &str); 5] =
    [("network", "blue"), ("encap", "vxlan"), ("vni", "5001"), ("mtu", "1300"), ("external", "docker")];
const SUBNET: &str = "10.5.0.0/24";

/// `-o network=new` and these.
fn with<'a>(options: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("network", "new")], options].concat()
}

#[test]
fn a_network_with_wrong_options() {
    let Some(mut lab) = two_hosts() else { return };
    table(&mut lab, |trial| {
        let new = [own_pool("10.7.0.0/24", "10.7.0.1")];
        let refused = |title: &str, options: &[(&str, &str)], names: &[&str], remedy: &str| {
            trial.create(title, names, remedy, trial.lab.host(1), &network("a1", options, &new));
        };
        refused(
            "an unknown option",
            &with(&[("colour", "blue")]),
            &["'colour=blue'"],
            "allowed are network, encap",
        );
        refused(
            "an option in capitals",
            &with(&[("VNI", "7")]),
            &["'VNI=7'"],
            "allowed are network, encap, vni",
        );
        refused("no name", &[("network", "")], &["network="], "wanted");
        refused("a name with a slash", &[("network", "a/b")], &["network=a/b"], "letters");
        refused("a name that is too long", &[("network", &"n".repeat(200))], &["network=nnn"], "1 to 63");
        refused(
            "a reserved name",
            &[("network", "local-7")],
            &["'local-7'", "'local-'"],
            "choose another name",
        );
        refused(
            "an unknown encapsulation",
            &with(&[("encap", "stt")]),
            &["encap=stt"],
            "one of vxlan, geneve",
        );
        refused(
            "an encapsulation in capitals",
            &with(&[("encap", "VXLAN")]),
            &["encap=VXLAN"],
            "one of vxlan",
        );
        refused("VNI 0", &with(&[("vni", "0")]), &["vni=0"], "1 to 16777215");
        refused("a VNI of 25 bits", &with(&[("vni", "16777216")]), &["vni=16777216"], "1 to 16777215");
        refused("a VNI that is no number", &with(&[("vni", "x")]), &["vni=x"], "1 to 16777215");
        refused("VLAN 0", &with(&[("vlan", "0")]), &["vlan=0"], "1 to 4094");
        refused("VLAN 4095", &with(&[("vlan", "4095")]), &["vlan=4095"], "1 to 4094");
        refused("a small MTU", &with(&[("mtu", "576")]), &["mtu=576"], "1280 to 65535");
        refused("a huge MTU", &with(&[("mtu", "65536")]), &["mtu=65536"], "1280 to 65535");
        refused("an MTU that is no number", &with(&[("mtu", "1e3")]), &["mtu=1e3"], "1280 to 65535");
        let key = "com.docker.network.driver.mtu";
        refused(
            "a small MTU by Docker's key",
            &with(&[(key, "9")]),
            &["com.docker.network.driver.mtu=9"],
            "1280",
        );
        refused(
            "two MTUs",
            &with(&[(key, "1400"), ("mtu", "1300")]),
            &["1400", "mtu=1300"],
            "give one of them",
        );
        refused(
            "an MTU that the underlay does not carry",
            &with(&[("mtu", "1451")]),
            &["mtu=1451", "new", "vxlan"],
            "at most 1450",
        );
        let external = |value| [("network", "new"), ("external", value)];
        refused(
            "our own gateway",
            &external("native"),
            &["external=native"],
            "use external=docker or external=none",
        );
        refused("an unknown gateway", &external("yes"), &["external=yes"], "docker or none is wanted");
        let encap = |encap, key, value| [("network", "new"), ("encap", encap), (key, value)];
        refused(
            "a VLAN with VXLAN",
            &encap("vxlan", "vlan", "5"),
            &["encap=vxlan", "vlan=5"],
            "drop one of them",
        );
        refused("a VNI with VLAN", &encap("vlan", "vni", "5"), &["encap=vlan", "vni=5"], "drop one of them");
        refused(
            "a VNI with local",
            &encap("local", "vni", "5"),
            &["encap=local", "vni=5"],
            "drop one of them",
        );
        refused(
            "a VNI and a VLAN",
            &with(&[("vlan", "5"), ("vni", "5")]),
            &["vlan=5", "vni=5"],
            "drop one of them",
        );
        refused("VLAN without an id", &with(&[("encap", "vlan")]), &["new", "encap=vlan"], "add vlan=ID");
        for (key, value) in [("encap", "vxlan"), ("vni", "77"), ("vlan", "77")] {
            let option = format!("{key}={value}");
            refused(&format!("{key} without a name"), &[(key, value)], &[&option], "add -o network=NAME");
        }
        let mut body = network("a1", &with(&[]), &new);
        body["Options"]["com.docker.network.generic"]["mtu"] = json!(1300);
        trial.create(
            "an option that is no string",
            &["mtu", "1300"],
            "a string is wanted",
            trial.lab.host(1),
            &body,
        );
    });
}

#[test]
fn a_network_with_wrong_subnets() {
    let Some(mut lab) = two_hosts() else { return };
    table(&mut lab, |trial| {
        let host = trial.lab.host(1);
        let create = |title: &str, pools: &[serde_json::Value], names: &[&str], remedy: &str| {
            for (whose, options) in [("cluster", with(&[])), ("local", Vec::new())] {
                trial.create(
                    &format!("{title} ({whose})"),
                    names,
                    remedy,
                    host,
                    &network("a2", &options, pools),
                );
            }
        };
        let of = |prefix: &str, gateway: &str| [own_pool(prefix, gateway)];
        create("host bits", &of("10.7.0.9/24", ""), &["10.7.0.9/24"], "did you mean 10.7.0.0/24");
        for (prefix, kind) in [
            ("224.1.0.0/24", "multicast"),
            ("127.1.0.0/24", "loopback"),
            ("169.254.0.0/16", "link-local"),
            ("fe80::/64", "link-local"),
            ("ff05::/64", "multicast"),
            ("240.0.0.0/8", "reserved"),
        ] {
            create(
                &format!("the {kind} subnet {prefix}"),
                &of(prefix, ""),
                &[prefix, kind],
                "choose a unicast prefix",
            );
        }
        create("no prefix length", &of("10.7.0.0", ""), &["IPv4Data[0].Pool", "10.7.0.0"], "such as");
        create("no prefix", &of("ten", ""), &["IPv4Data[0].Pool", "ten"], "such as");
        let twice = [own_pool("10.7.0.0/16", ""), own_pool("10.7.1.0/24", "")];
        create("overlapping subnets", &twice, &["10.7.0.0/16", "10.7.1.0/24"], "share no address");
        let out = of("10.7.0.0/24", "10.8.0.1");
        create("a gateway outside", &out, &["gateway 10.8.0.1", "10.7.0.0/24"], "choose one inside");
        let first = of("10.7.0.0/24", "10.7.0.0");
        create(
            "the network address as gateway",
            &first,
            &["gateway 10.7.0.0", "10.7.0.0/24"],
            "choose another",
        );
        let last = of("10.7.0.0/24", "10.7.0.255");
        create(
            "the broadcast address as gateway",
            &last,
            &["gateway 10.7.0.255", "10.7.0.0/24"],
            "choose another",
        );
        let auxiliary = |address| [pool("sluice-local", "10.7.0.0/24", "10.7.0.1", &[("printer", address)])];
        let names = ["auxiliary address printer", "10.8.0.9", "10.7.0.0/24"];
        create("an auxiliary address outside", &auxiliary("10.8.0.9"), &names, "choose one inside");
        let names = ["auxiliary address printer", "10.7.0.1", "gateway"];
        create("an auxiliary address that is the gateway", &auxiliary("10.7.0.1"), &names, "choose another");
    });
}

#[test]
fn a_network_that_disagrees_with_what_is_there() {
    let Some(mut lab) = two_hosts() else { return };
    let blue = [pool("sluice-local", SUBNET, "10.5.0.1", &[("printer", "10.5.0.9")])];
    let create = |n: usize, body| lab.host(n).engine().call("NetworkDriver.CreateNetwork", &body);
    create(1, network("b1", &BLUE, &blue)).expect("blue");
    let red = [("network", "red"), ("encap", "vlan"), ("vlan", "100")];
    create(1, network("b2", &red, &[own_pool("10.6.0.0/24", "10.6.0.1")])).expect("red");
    table(&mut lab, |trial| {
        let new = [own_pool("10.7.0.0/24", "10.7.0.1")];
        for n in [1, 2] {
            let host = trial.lab.host(n);
            let title = |what: &str| format!("{what}, on h{n}");
            let segment = |what: &str, options: &[(&str, &str)], names: &[&str]| {
                trial.create(&title(what), names, "choose another", host, &network("a3", options, &new));
            };
            segment("another's VNI", &with(&[("vni", "5001")]), &["new", "vni=5001", "blue"]);
            segment(
                "another's VLAN",
                &with(&[("encap", "vlan"), ("vlan", "100")]),
                &["new", "vlan=100", "red"],
            );
            for (key, value, there) in [
                ("encap", "geneve", "vxlan"),
                ("vni", "5002", "5001"),
                ("mtu", "1400", "1300"),
                ("external", "none", "docker"),
            ] {
                let options: Vec<_> =
                    BLUE.iter().map(|(k, v)| if *k == key { (*k, value) } else { (*k, *v) }).collect();
                let names = ["network blue", &format!("{key} {there}"), "node h1", &format!("{key} {value}")];
                let body = network("a4", &options, &blue);
                trial.create(
                    &title(&format!("another {key}")),
                    &names,
                    "sluice network rm blue",
                    host,
                    &body,
                );
            }
            let body = network("a4", &[("network", "blue"), ("vlan", "7")], &blue);
            let names = ["network blue", "without vlan", "node h1", "vlan 7"];
            trial.create(&title("a VLAN for a network without"), &names, "leave vlan out", host, &body);
            for (field, subnet, names) in [
                ("subnet", own_pool("10.9.0.0/24", "10.9.0.1"), ["subnet 10.5.0.0/24", "subnet 10.9.0.0/24"]),
                (
                    "prefix length",
                    own_pool("10.5.0.0/25", "10.5.0.1"),
                    ["subnet 10.5.0.0/24", "subnet 10.5.0.0/25"],
                ),
                ("gateway", own_pool(SUBNET, "10.5.0.2"), ["gateway 10.5.0.1", "gateway 10.5.0.2"]),
                (
                    "auxiliary address",
                    pool("sluice-local", SUBNET, "10.5.0.1", &[("printer", "10.5.0.8")]),
                    ["aux-address printer=10.5.0.9", "aux-address printer=10.5.0.8"],
                ),
                (
                    "new auxiliary address",
                    pool("sluice-local", SUBNET, "10.5.0.1", &[("scanner", "10.5.0.8")]),
                    ["without aux-address", "aux-address scanner=10.5.0.8"],
                ),
            ] {
                let names = [&["network blue", "node h1"], &names[..]].concat();
                let body = network("a4", &[("network", "blue")], &[subnet]);
                trial.create(&title(&format!("another {field}")), &names, "out", host, &body);
            }
        }
    });
}

/// What an agent must have been told for an encapsulation.
#[test]
fn a_network_that_this_node_cannot_carry() {
    let Some(lab) = Plan::hosts(1).without_agents().start() else { return };
    let host = lab.host(1);
    let _agent = super::bare_agent(host, &[]);
    let trial = Trial::of(&lab);
    for (encap, key, value, names, remedy) in [
        ("vxlan", "vni", "7", ["new", "vxlan"], "--underlay ADDRESS"),
        ("geneve", "vni", "7", ["new", "geneve"], "--underlay ADDRESS"),
        ("gre", "vni", "7", ["new", "gre"], "--underlay ADDRESS"),
        ("vlan", "vlan", "7", ["new", "encap=vlan"], "--uplink-bridge BRIDGE"),
    ] {
        let options = [("network", "new"), ("encap", encap), (key, value)];
        let body = network("a5", &options, &[own_pool("10.7.0.0/24", "10.7.0.1")]);
        trial.create(&format!("{encap} on a node that cannot"), &names, remedy, host, &body);
    }
    let gone = json!({"NetworkID": id("a5")});
    host.engine().call("NetworkDriver.DeleteNetwork", &gone).expect("no network is none to delete");
    trial.end();
}
