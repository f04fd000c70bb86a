//! A switch that speaks OVSDB `hardware_vtep` as a node: Open vSwitch's own emulator of one, told by an agent that runs
//! elsewhere.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::lab::packet;
use crate::lab::{DockerNetwork, Endpoint, HardwareVtep, Lab, Plan, Server, eventually};
use crate::networks::{dual_stack, endpoint, on_every_host};

const MEGABYTE: usize = 1 << 20;
/// What VXLAN leaves of 1500 bytes.
const MTU: u16 = 1450;
/// The emulator looks at its database once a second, and starts a dozen commands each time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two Docker hosts with Open vSwitch, and a switch with a server on swp1.
struct Rack {
    containers: [Endpoint; 2],
    networks: Vec<DockerNetwork>,
    server: Server,
    // Before the lab, in whose PID namespace it runs.
    switch: HardwareVtep,
    lab: Lab,
}

/// The logical switch of another controller, with an address of its own and a VLAN of swp2.
const OTHERS: [&str; 4] = [
    "add-ls others -- set Logical_Switch others tunnel_key=4000",
    "bind-ls ps1 swp2 99 others",
    "add-ucast-remote others 02:99:00:00:00:01 172.31.0.99",
    "add-mcast-remote others unknown-dst 172.31.0.99",
];

impl Rack {
    fn build(ports: &[&str]) -> Option<Rack> {
        let lab = Plan::hosts(2).hardware_vteps().start()?;
        let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
        let mut switch = lab.hardware_vtep(8);
        switch.start_agent(&[]);
        let containers = [endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks)];
        let server = switch.panel().server(1, "swp1", MTU);
        eventually("the switch is a node", PATIENCE, || {
            let node = lab.host(1).sluice("node inspect hw8").ok()?;
            // Nobody has told the agent where the switch's tunnels end but the switch.
            if node.contains("hardware-vtep") && node.contains("172.31.0.8") { Ok(()) } else { Err(node) }
        });
        for port in ports {
            let words = format!("port attach {port} --network blue --node hw8");
            lab.host(1).sluice(&words).expect(&words);
        }
        let rack = Rack { containers, networks, server, switch, lab };
        rack.await_reached();
        Some(rack)
    }

    fn await_reached(&self) {
        eventually("the server is reached", PATIENCE, || {
            let address = self.server.endpoint.v4().into();
            self.containers.iter().try_for_each(|container| container.ping(address, 1))
        });
    }

    fn server_mac(&self) -> String {
        self.server.endpoint.mac.map(|octet| format!("{octet:02x}")).join(":")
    }

    /// The value of the server's key in the store.
    fn station(&self) -> Option<String> {
        self.lab.store_dump().remove(&format!("/sluice/v1/attached/blue/stations/{}", self.server_mac()))
    }

    fn await_station(&self, part: &str) {
        eventually("the server is published", PATIENCE, || {
            // A server that says nothing is forgotten by the switch.
            self.containers[0].ping(self.server.endpoint.v4().into(), 1)?;
            match self.station() {
                Some(station) if station.contains(part) => Ok(()),
                other => {
                    Err(format!("{other:?}\n{}", self.switch.vtep_ctl("list-local-macs sluice-hw8-blue")))
                }
            }
        });
    }

    /// Waits until a host sends what is for the server to this address alone.
    fn await_flow(&self, host: usize, tunnel: &str) {
        let towards = format!("dl_dst={}", self.server_mac());
        eventually("a flow for the server", PATIENCE, || {
            self.containers[0].ping(self.server.endpoint.v4().into(), 1)?;
            let flows = self.lab.host(host).flows("br-int");
            match flows.lines().find(|flow| flow.contains(&towards) && flow.contains("table=40")) {
                Some(flow) if flow.contains(tunnel) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

#[test]
fn a_server_on_a_port_of_a_hardware_vtep_is_a_member() {
    let Some(rack) = Rack::build(&["swp1"]) else { return };
    let (server, [first, second]) = (&rack.server.endpoint, &rack.containers);
    for container in [first, second] {
        for address in server.addresses() {
            container.ping(address, 3).unwrap_or_else(|said| panic!("{said}"));
            container.ping_full_size(address).unwrap_or_else(|said| panic!("full size: {said}"));
            container.tcp(server, address, MEGABYTE).unwrap_or_else(|said| panic!("{said}"));
        }
        for address in container.addresses() {
            server.ping(address, 3).unwrap_or_else(|said| panic!("{said}"));
            server.tcp(container, address, MEGABYTE).unwrap_or_else(|said| panic!("{said}"));
        }
    }

    // What the switch has learned becomes a station, at the only port that it can be; hosts send to it alone.
    rack.await_station("\"port\":\"swp1\"");
    (1..=2).for_each(|host| rack.await_flow(host, "172.31.0.8"));
    let bystander = rack.lab.cable(2);
    first.ping(server.v4().into(), 10).expect("ping");
    server.ping(first.v4().into(), 10).expect("ping");
    let is_of_ping =
        |frame: &packet::Frame| frame.vni() == Some(1) && frame.inner().get(12..14) == Some(&[0x08, 0x00]);
    let strayed = bystander.pending().iter().filter(|frame| is_of_ping(frame)).count();
    assert_eq!(strayed, 0, "host 2 got packets between host 1 and the server");

    // The switch knows the containers with their addresses, and makes the copies itself.
    let told = rack.switch.vtep_ctl("--format=csv --no-headings --columns=MAC,ipaddr list Ucast_Macs_Remote");
    for container in [first, second] {
        let mac = container.mac.map(|octet| format!("{octet:02x}")).join(":");
        assert!(told.contains(&mac) && told.contains(&container.v4().to_string()), "{told}");
    }
    let mode = rack.switch.vtep_ctl("get Logical_Switch sluice-hw8-blue replication_mode");
    assert_eq!(mode, "source_node");
    let status = rack.switch.sluice("status").expect("the switch's status");
    for part in
        ["hardware-vtep ok", "ps1", "172.31.0.8", "swp1", "bound", "2 remote MACs", &rack.server_mac()]
    {
        assert!(status.contains(part), "{status} lacks {part}");
    }
    assert!(status.contains("Nothing is wrong"), "{status}");
}

#[test]
fn a_server_moves_and_detached_ports_leave_nothing_but_what_is_others() {
    let Some(rack) = Rack::build(&["swp1", "swp2"]) else { return };
    for words in OTHERS {
        rack.switch.vtep_ctl(words);
    }
    let others = || {
        ["list-ls", "list-bindings ps1 swp2", "list-remote-macs others"].map(|words| {
            let said = rack.switch.vtep_ctl(words);
            said.lines().filter(|line| !line.contains("sluice")).collect::<Vec<_>>().join("\n")
        })
    };
    let before = others();
    // With two ports of the network the switch does not tell behind which of them the server is.
    rack.await_station("\"node\":\"hw8\"");
    assert!(!rack.station().expect("it is there").contains("\"port\""), "{:?}", rack.station());
    let address = rack.server.endpoint.v4().into();
    rack.switch.panel().unplug(&rack.server, "swp1");
    rack.switch.panel().plug(&rack.server, "swp2");
    let moved = Instant::now();
    eventually("the server is reached at its new port", PATIENCE, || {
        // A switch sends to where it has learned a MAC until it sees it elsewhere: a server says that it is up.
        let gateway = rack.containers[0].v4().to_string();
        rack.server.endpoint.exec(["ping", "-c", "1", "-W", "1", &gateway]);
        rack.containers[0].ping(address, 1)
    });
    println!("reachable {:.0?} after the move from swp1 to swp2", moved.elapsed());
    rack.containers[1].ping(address, 3).expect("from the other host");
    let status = rack.switch.sluice("status").expect("status");
    assert!(status.contains("logical switches of others: others"), "{status}");

    rack.lab.host(2).sluice("port detach swp1 --node hw8").expect("detaching");
    rack.await_station("\"port\":\"swp2\"");
    rack.lab.host(2).sluice("port detach swp2 --node hw8").expect("detaching");
    eventually("the switch is told nothing of ours", PATIENCE, || {
        let tables = ["Logical_Switch", "Ucast_Macs_Remote", "Ucast_Macs_Local", "Mcast_Macs_Remote"];
        let rows: BTreeSet<String> = tables
            .into_iter()
            .flat_map(|table| {
                let words = format!("--format=csv --no-headings --columns=_uuid list {table}");
                rack.switch.vtep_ctl(&words).lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        let ports = rack.switch.vtep_ctl("list-bindings ps1 swp1") + &rack.switch.vtep_ctl("list-ls");
        // The other controller's: a logical switch, an address, and where copies go.
        if rows.len() == 3 && !ports.contains("sluice") { Ok(()) } else { Err(format!("{rows:?} {ports}")) }
    });
    assert_eq!(others(), before);
    eventually("the hosts forget", PATIENCE, || {
        let flows = rack.lab.host(1).flows("br-int");
        if flows.contains("table=43") || flows.contains(&rack.server_mac()) { Err(flows) } else { Ok(()) }
    });
    let left: Vec<String> = rack.lab.store_dump().into_keys().filter(|key| key.contains("hw8")).collect();
    assert_eq!(left, ["/sluice/v1/nodes/hw8"], "a port is left");
    assert_eq!(rack.station(), None);
    rack.containers[0].ping(rack.containers[1].v4().into(), 3).expect("the containers go on");
}

#[test]
fn restarts_of_the_agent_and_of_the_switchs_database_cost_no_packet() {
    let Some(mut rack) = Rack::build(&["swp1"]) else { return };
    rack.await_station("\"port\":\"swp1\"");
    rack.await_flow(1, "172.31.0.8");
    let logical = |rack: &Rack| rack.switch.vtep_ctl("--columns=_uuid,name list Logical_Switch");
    let there = logical(&rack);
    let pause = Duration::from_millis(10);
    let server = &rack.server.endpoint;
    let to_server = rack.containers[0].stream(server, server.v4().into(), pause);
    let from_server = server.stream(&rack.containers[1], rack.containers[1].v4().into(), pause);
    let is_up = |rack: &Rack| {
        eventually("the switch is told again", PATIENCE, || {
            let status = rack.switch.sluice("status").ok()?;
            if status.contains("hardware-vtep ok") { Ok(()) } else { Err(status) }
        });
    };
    rack.switch.kill_agent();
    rack.switch.start_agent(&[]);
    is_up(&rack);
    rack.switch.kill_ovsdb();
    eventually("that it is away is said", PATIENCE, || {
        let status = rack.switch.sluice("status").ok()?;
        if status.contains("hardware-vtep away") { Ok(()) } else { Err(status) }
    });
    // While it is away a container comes, which the switch is told of when it is back.
    let newcomer = endpoint(&rack.lab, 2, &rack.networks);
    rack.switch.start_ovsdb();
    is_up(&rack);
    let mac = newcomer.mac.map(|octet| format!("{octet:02x}")).join(":");
    eventually("the newcomer is told", PATIENCE, || {
        let told = rack.switch.vtep_ctl("list-remote-macs sluice-hw8-blue");
        if told.contains(&mac) { Ok(()) } else { Err(told) }
    });
    for (what, stream) in [("to", to_server), ("from", from_server)] {
        let (sent, answered) = stream.stop();
        assert_eq!(sent, answered, "lost {what} the server while agent and database restarted");
        assert!(sent > 20, "{sent} packets");
    }
    newcomer.ping(rack.server.endpoint.v4().into(), 3).expect("the newcomer reaches the server");
    assert_eq!(logical(&rack), there, "the logical switch is the one that was there");
    rack.await_station("\"port\":\"swp1\"");
}

/// A server's cable goes from this switch to one with the linux dataplane, and back.
#[test]
fn a_server_moves_between_switches_of_two_kinds() {
    let Some(rack) = Rack::build(&["swp1"]) else { return };
    rack.await_station("\"node\":\"hw8\"");
    let mut other = rack.lab.white_box(9);
    other.start_agent();
    eventually("the other switch is a node", PATIENCE, || rack.lab.host(1).sluice("node inspect sw9").ok());
    rack.lab.host(1).sluice("port attach swp1 --network blue --node sw9").expect("attaching");
    eventually("the other switch has the network", PATIENCE, || {
        let status = other.sluice("status").ok()?;
        if status.contains("1 networks") { Ok(()) } else { Err(status) }
    });
    let speak = || {
        let to = rack.containers[0].v4().to_string();
        rack.server.endpoint.exec(["ping", "-c", "1", "-W", "1", &to]);
        rack.containers.iter().try_for_each(|one| one.ping(rack.server.endpoint.v4().into(), 1))
    };
    rack.switch.panel().unplug(&rack.server, "swp1");
    rack.switch.panel().hand_over(&rack.server, other.panel());
    other.plug(&rack.server, "swp1");
    eventually("the server is reached at the other switch", PATIENCE, speak);
    rack.await_station("\"node\":\"sw9\"");
    rack.await_flow(1, "172.31.0.9");
    eventually("the first switch is told where it is", PATIENCE, || {
        let told = rack.switch.vtep_ctl("list-remote-macs sluice-hw8-blue");
        let here = rack.switch.vtep_ctl("list-local-macs sluice-hw8-blue");
        match told.contains(&rack.server_mac()) && !here.contains(&rack.server_mac()) {
            true => Ok(()),
            false => Err(format!("{told} {here}")),
        }
    });
    other.unplug(&rack.server, "swp1");
    other.panel().hand_over(&rack.server, rack.switch.panel());
    rack.switch.panel().plug(&rack.server, "swp1");
    eventually("the server is reached where it was", PATIENCE, speak);
    rack.await_station("\"node\":\"hw8\"");
    rack.await_flow(2, "172.31.0.8");
    let told = rack.switch.vtep_ctl("list-remote-macs sluice-hw8-blue");
    assert!(!told.contains(&rack.server_mac()), "{told}");
}

#[test]
fn a_switch_is_told_by_tls_and_by_no_other_way_then() {
    let Some(lab) = Plan::hosts(1).hardware_vteps().start() else { return };
    let mut switch = lab.hardware_vtep(8);
    switch.vtep_ctl("set-manager pssl:6632");
    let [ca, certificate, key] = switch.certificates().map(|(_, file)| file);
    let database = format!("ssl:{}:6632", switch.tunnel_ip());
    let files = ["--vtep-ca", &ca, "--vtep-cert", &certificate, "--vtep-key", &key];
    switch.start_agent_at(&database, &files);
    eventually("the switch is told", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        if status.contains("hardware-vtep ok") { Ok(()) } else { Err(status) }
    });
    // The switch shows a certificate that somebody else has signed.
    switch.kill_agent();
    let wrong = ["--vtep-ca", &certificate, "--vtep-cert", &certificate, "--vtep-key", &key];
    switch.start_agent_at(&database, &wrong);
    eventually("the certificate is refused", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        let is_refused = status.contains("hardware-vtep away") && status.contains("certificate");
        if is_refused { Ok(()) } else { Err(status) }
    });
    // And without TLS nobody answers there.
    switch.kill_agent();
    switch.start_agent_at(&format!("tcp:{}:6632", switch.tunnel_ip()), &[]);
    eventually("the connection ends", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        let has_ended = status.contains("hardware-vtep away") && status.contains(":6632");
        if has_ended && !status.contains("not connected") { Ok(()) } else { Err(status) }
    });
}

/// Many switches are told where their controller is, and connect to it.
#[test]
fn a_switch_that_connects_to_its_agent_is_told() {
    let Some(lab) = Plan::hosts(1).hardware_vteps().start() else { return };
    let mut switch = lab.hardware_vtep(8);
    let host = lab.host(1);
    let address = switch.agent_address();
    switch.start_agent_at(&format!("ptcp:6641:{address}"), &[]);
    let status = switch.sluice("status").expect("status");
    assert!(status.contains("hardware-vtep away"), "{status}");
    // Somebody who says nothing does not keep the switch away.
    let silent = lab.stranger("172.31.0.66/24");
    let socket = silent.run(|| std::net::TcpStream::connect((address, 6641)).expect("a connection"));
    switch.vtep_ctl(&format!("set-manager tcp:{address}:6641"));
    eventually("the switch is told", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        if status.contains("hardware-vtep ok") { Ok(()) } else { Err(status) }
    });
    drop(socket);
    host.sluice("network create blue").expect("a network");
    eventually("the port is bound", PATIENCE, || {
        host.sluice("port attach swp1 --vlan 20 --network blue --node hw8").ok()?;
        let bindings = switch.vtep_ctl("list-bindings ps1 swp1");
        if bindings.contains("0020 sluice-hw8-blue") { Ok(()) } else { Err(bindings) }
    });
    // It comes again by itself.
    switch.kill_agent();
    host.sluice("port detach swp1 --vlan 20 --node hw8").expect("detaching while the agent is away");
    switch.start_agent_at(&format!("ptcp:6641:{address}"), &[]);
    eventually("nothing of ours is left", PATIENCE, || {
        let switches = switch.vtep_ctl("list-ls");
        if switches.is_empty() { Ok(()) } else { Err(switches) }
    });
}

#[test]
fn what_a_hardware_vtep_cannot_carry_is_refused_with_the_cure() {
    let Some(lab) = Plan::hosts(1).hardware_vteps().start() else { return };
    let mut switch = lab.hardware_vtep(8);
    let host = lab.host(1);
    // Said before anything is told: tunnels would end where nobody is.
    switch.start_agent(&["--underlay", "172.31.0.77"]);
    eventually("the contradiction is named", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        let parts = ["--underlay 172.31.0.77", "172.31.0.8", "tunnel_ips"];
        if parts.iter().all(|part| status.contains(part)) { Ok(()) } else { Err(status) }
    });
    host.sluice("node inspect hw8").ok().expect_err("a switch that cannot be reached is no node");
    switch.kill_agent();
    switch.start_agent(&["--vtep-switch", "ps1", "--underlay", "172.31.0.8"]);
    for (name, encap, parts) in [
        ("green", "geneve", ["encap=geneve", "--encap vxlan"]),
        ("grey", "gre", ["encap=gre", "--encap vxlan"]),
        ("red", "vlan --vlan 7", ["VLAN 7", "swp1"]),
    ] {
        host.sluice(&format!("network create {name} --encap {encap}")).expect("a network");
        eventually("the network is refused", PATIENCE, || {
            let attach = format!("port attach swp1 --network {name} --node hw8");
            match host.sluice(&attach).ok() {
                Ok(said) => panic!("{name} was attached: {said}"),
                Err(refusal) if parts.iter().all(|part| refusal.contains(part)) => Ok(()),
                // Until its agent has told the store, the switch is no node.
                Err(refusal) => Err(refusal),
            }
        });
    }
    host.sluice("network create blue").expect("a network");
    for words in OTHERS {
        switch.vtep_ctl(words);
    }
    for words in ["swp7 --network blue", "swp2 --vlan 99 --network blue", "swp1 --network blue"] {
        host.sluice(&format!("port attach {words} --node hw8")).expect(words);
    }
    let parts = ["no port swp7", "swp2 vlan 99", "others", "unbind it there"];
    for words in ["status", "port ls"] {
        eventually("what is wrong is named", PATIENCE, || {
            let said = switch.sluice(words).ok()?;
            if parts.iter().all(|part| said.contains(part)) { Ok(()) } else { Err(said) }
        });
    }
    let bindings = switch.vtep_ctl("list-bindings ps1 swp2");
    assert_eq!(bindings.split_whitespace().collect::<Vec<_>>(), ["0099", "others"]);
    assert!(switch.vtep_ctl("list-bindings ps1 swp1").contains("sluice-hw8-blue"));
    // What the switch says of itself is shown.
    switch.vtep_ctl("set Physical_Port swp1 port_fault_status=invalid_vlan_map");
    switch.vtep_ctl("set Physical_Switch ps1 switch_fault_status=tunnel_resource_exhaustion");
    eventually("faults are shown", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        let parts = ["invalid_vlan_map", "tunnel_resource_exhaustion"];
        if parts.iter().all(|part| status.contains(part)) { Ok(()) } else { Err(status) }
    });
}
