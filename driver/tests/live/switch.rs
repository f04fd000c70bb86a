//! A white-box switch as a node: bare-metal servers on its ports are members of the containers' network.

use std::time::{Duration, Instant};

use crate::lab::packet;
use crate::lab::{
    Attach, DockerNetwork, Endpoint, FdbWatch, Lab, PATIENCE, Plan, Server, WhiteBox, eventually,
};
use crate::networks::{dual_stack, endpoint, on_every_host};

const MEGABYTE: usize = 1 << 20;
/// What VXLAN leaves of 1500 bytes.
const MTU: u16 = 1450;

/// Two Docker hosts with Open vSwitch, and a switch with a server on swp1.
struct Rack {
    containers: [Endpoint; 2],
    networks: Vec<DockerNetwork>,
    server: Server,
    // Before the lab, in whose PID namespace it runs.
    switch: WhiteBox,
    lab: Lab,
}

impl Rack {
    fn build() -> Option<Rack> {
        let lab = Plan::hosts(2).start()?;
        let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
        let mut switch = lab.white_box(9);
        switch.start_agent();
        let containers = [endpoint(&lab, 1, &networks), endpoint(&lab, 2, &networks)];
        let server = switch.server(1, "swp1", MTU);
        eventually("the switch is a node", PATIENCE, || {
            lab.host(1).sluice("node inspect sw9").ok().and_then(|node| match node.contains("linux") {
                true => Ok(()),
                false => Err(node),
            })
        });
        for port in ["swp1", "swp2"] {
            let words = format!("port attach {port} --network blue --node sw9");
            lab.host(1).sluice(&words).expect(&words);
        }
        let rack = Rack { containers, networks, server, switch, lab };
        eventually("the server is reached", PATIENCE, || {
            let address = rack.server.endpoint.v4().into();
            rack.containers.iter().try_for_each(|container| container.ping(address, 1))
        });
        Some(rack)
    }

    fn server_mac(&self) -> String {
        let octets: Vec<String> =
            self.server.endpoint.mac.iter().map(|octet| format!("{octet:02x}")).collect();
        octets.join(":")
    }

    /// The value of the server's key in the store.
    fn station(&self) -> Option<String> {
        self.lab.store_dump().remove(&format!("/sluice/v1/attached/blue/stations/{}", self.server_mac()))
    }

    fn await_station_at(&self, port: &str) {
        let wanted = format!("\"port\":\"{port}\"");
        eventually("the server is published", PATIENCE, || match self.station() {
            Some(station) if station.contains(&wanted) && station.contains("\"node\":\"sw9\"") => Ok(()),
            other => Err(format!("{other:?}\n{}", self.switch.run("bridge fdb show br slbr1"))),
        });
    }
}

#[test]
fn a_server_on_a_switch_port_is_a_member() {
    let Some(rack) = Rack::build() else { return };
    let (server, [first, second]) = (&rack.server.endpoint, &rack.containers);
    for container in [first, second] {
        for address in server.addresses() {
            container.ping(address, 20).unwrap_or_else(|said| panic!("{said}"));
            container.ping_full_size(address).unwrap_or_else(|said| panic!("full size: {said}"));
            container.tcp(server, address, 5 * MEGABYTE).unwrap_or_else(|said| panic!("{said}"));
        }
        for address in container.addresses() {
            server.ping(address, 20).unwrap_or_else(|said| panic!("{said}"));
            server.tcp(container, address, 5 * MEGABYTE).unwrap_or_else(|said| panic!("{said}"));
        }
    }

    // The hosts know where it is, and send it there alone.
    rack.await_station_at("swp1");
    let towards = format!("dl_dst={}", rack.server_mac());
    for host in rack.lab.hosts() {
        eventually("a flow for the server", PATIENCE, || {
            let flows = host.flows("br-int");
            match flows.lines().find(|flow| flow.contains(&towards) && flow.contains("table=40")) {
                Some(flow) if flow.contains("172.31.0.9") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    let bystander = rack.lab.cable(2);
    first.ping(server.v4().into(), 10).expect("ping");
    // The other container is on host 2, and its connections may still be closing.
    let is_of_first =
        |inner: &[u8]| [0..6, 6..12].into_iter().any(|at| inner.get(at) == Some(&first.mac[..]));
    let is_of_ping = |frame: &packet::Frame| {
        frame.vni() == Some(1)
            && frame.inner().get(12..14) == Some(&[0x08, 0x00])
            && is_of_first(frame.inner())
    };
    let strayed = bystander.pending().iter().filter(|frame| is_of_ping(frame)).count();
    assert_eq!(strayed, 0, "host 2 got packets between host 1 and the server");

    // The switch answers for containers: the server's question reaches no host.
    eventually("the switch answers for the container", PATIENCE, || {
        let known = rack.switch.run("ip neigh show dev slbr1");
        if known.contains(&first.v4().to_string()) { Ok(()) } else { Err(known) }
    });
    server.exec(["ip", "neigh", "flush", "dev", "eth0"]).expect("forgetting");
    let cables = [rack.lab.cable(1), rack.lab.cable(2)];
    server.ping(first.v4().into(), 3).expect("ping after forgetting");
    for cable in &cables {
        let asked = cable.pending().into_iter().find(|frame| {
            frame.vni() == Some(1) && frame.is_neighbour_traffic() && frame.inner().starts_with(&[0xff; 6])
        });
        assert!(asked.is_none(), "an ARP request that the switch could answer reached a host");
    }

    let status = rack.switch.sluice("status").expect("the switch's status");
    for part in ["linux ok", "swp1", "swp2", "in hardware", &rack.server_mac()] {
        assert!(status.contains(part), "{status} lacks {part}");
    }
    println!("the switch's agent, resident: {}", rack.switch.agent_memory());
}

#[test]
fn what_a_switch_cannot_carry_is_refused_with_the_cure() {
    let Some(lab) = Plan::hosts(1).start() else { return };
    let mut switch = lab.white_box(9);
    switch.start_agent();
    let host = lab.host(1);
    host.sluice("network create green --encap geneve").expect("a network");
    eventually("a Geneve network is refused", PATIENCE, || {
        let refusal = match switch.sluice("port attach swp1 --network green").ok() {
            Ok(said) => panic!("a Geneve network was attached: {said}"),
            Err(refusal) => refusal,
        };
        // Until its agent has told the store, the switch is no node.
        if refusal.contains("encap=geneve") && refusal.contains("--encap vxlan") {
            Ok(())
        } else {
            Err(refusal)
        }
    });
    let refusal = host.sluice("port attach eth0 --network green").ok().unwrap_err();
    assert!(refusal.contains("--dataplane linux"), "{refusal}");
    // A port that is not there is no fault of the network's: the rest works, and status says so.
    host.sluice("network create blue").expect("a network");
    switch.sluice("port attach swp7 --network blue").expect("attaching what may come");
    eventually("the missing port is named", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        if status.contains("swp7") && status.contains("no link") { Ok(()) } else { Err(status) }
    });
}

#[test]
fn the_agent_restarts_and_no_packet_is_lost() {
    let Some(mut rack) = Rack::build() else { return };
    rack.await_station_at("swp1");
    let links = rack.switch.run("ip -o link show type vxlan");
    let to_server = rack.containers[0].stream(
        &rack.server.endpoint,
        rack.server.endpoint.v4().into(),
        Duration::from_millis(5),
    );
    let from_server = rack.server.endpoint.stream(
        &rack.containers[1],
        rack.containers[1].v4().into(),
        Duration::from_millis(5),
    );
    rack.switch.kill_agent();
    rack.switch.start_agent();
    eventually("the new agent has programmed the switch", PATIENCE, || {
        let status = rack.switch.sluice("status").ok()?;
        if status.contains("linux ok") { Ok(()) } else { Err(status) }
    });
    // A container that comes now reaches the server: the new agent follows.
    let newcomer = endpoint(&rack.lab, 2, &rack.networks);
    eventually("a newcomer", PATIENCE, || newcomer.ping(rack.server.endpoint.v4().into(), 1));
    // And a while longer, so that there are packets from before and from after, however quick all that was.
    std::thread::sleep(Duration::from_secs(1));
    for (what, stream) in [("to", to_server), ("from", from_server)] {
        let (sent, answered) = stream.stop();
        assert_eq!(sent, answered, "lost {what} the server while its switch's agent restarted");
        assert!(sent > 20, "{sent} packets");
    }
    assert_eq!(rack.switch.run("ip -o link show type vxlan"), links, "the links are those that were there");
    rack.await_station_at("swp1");
}

#[test]
fn a_server_moves_to_another_port_and_a_detached_port_leaves_nothing() {
    let Some(rack) = Rack::build() else { return };
    rack.await_station_at("swp1");
    let address = rack.server.endpoint.v4().into();
    rack.switch.unplug(&rack.server, "swp1");
    rack.switch.plug(&rack.server, "swp2");
    let moved = Instant::now();
    eventually("the server is reached at its new port", PATIENCE, || rack.containers[0].ping(address, 1));
    println!("reachable {:.0?} after the move from swp1 to swp2", moved.elapsed());
    rack.containers[1].ping(address, 5).expect("from the other host");
    rack.await_station_at("swp2");

    let with_ports = |flows: &str| flows.lines().any(|flow| flow.contains("table=43"));
    assert!(with_ports(&rack.lab.host(1).flows("br-int")));
    for port in ["swp1", "swp2"] {
        rack.lab.host(2).sluice(&format!("port detach {port} --node sw9")).expect("detaching");
    }
    eventually("the switch lets go", PATIENCE, || {
        let links = rack.switch.run("ip -o link show");
        if links.contains("slbr") || links.contains("slvx") { Err(links) } else { Ok(()) }
    });
    eventually("the hosts forget", PATIENCE, || {
        let flows = rack.lab.host(1).flows("br-int");
        if with_ports(&flows) || flows.contains(&rack.server_mac()) { Err(flows) } else { Ok(()) }
    });
    let left: Vec<String> = rack.lab.store_dump().into_keys().filter(|key| key.contains("sw9")).collect();
    assert_eq!(left, ["/sluice/v1/nodes/sw9"], "a station or a port is left");
    assert_eq!(rack.station(), None);
    rack.containers[0].ping(rack.containers[1].v4().into(), 3).expect("the containers go on");
}

/// A container's MAC is its own whatever a server sends, and is the server's when the container is gone.
#[test]
fn a_containers_mac_becomes_a_servers_when_the_container_is_gone() {
    let Some(rack) = Rack::build() else { return };
    let Rack { containers: [first, second], networks, server, switch, lab } = &rack;
    let mac: Vec<String> = second.mac.iter().map(|octet| format!("{octet:02x}")).collect();
    let (mac, address) = (mac.join(":"), second.v4());
    let newcomer = endpoint(lab, 2, networks);
    let (its_mac, its_address) = (newcomer.mac.map(|octet| format!("{octet:02x}")).join(":"), newcomer.v4());
    first.ping(its_address.into(), 3).expect("before");
    for line in [
        vec!["ip", "link", "set", "eth0", "down"],
        vec!["ip", "link", "set", "eth0", "address", &its_mac, "up"],
        vec!["ip", "address", "add", &format!("{its_address}/16"), "dev", "eth0"],
    ] {
        server.endpoint.exec(line).expect("the server takes the container's addresses");
    }
    server.endpoint.exec(["ping", "-c", "3", "-i", "0.1", "-W", "1", &address.to_string()]);
    first.ping(its_address.into(), 10).expect("the container keeps its traffic");
    eventually("status tells of it", PATIENCE, || {
        let status = switch.sluice("status").ok()?;
        if status.contains(&its_mac) && status.contains("an endpoint's") { Ok(()) } else { Err(status) }
    });
    assert_ne!(mac, its_mac);
    lab.host(2).engine().detach(&networks[1], newcomer).expect("the container goes");
    eventually("the MAC is the server's", PATIENCE, || {
        server.endpoint.exec(["ping", "-c", "1", "-W", "1", &first.v4().to_string()]);
        first.ping(its_address.into(), 1)
    });
    eventually("its station is published", PATIENCE, || {
        let keys = lab.store_dump();
        let key = format!("/sluice/v1/attached/blue/stations/{its_mac}");
        if keys.contains_key(&key) { Ok(()) } else { Err(format!("{:?}", keys.keys().collect::<Vec<_>>())) }
    });
}

/// Nothing newer than Linux 3.2 is needed, in a container with one capability. The kernel's age is played by a filter
/// of system calls: what netlink itself has learned since is not shown by this.
#[cfg(target_arch = "x86_64")]
#[test]
fn in_runc_without_new_system_calls_everything_is_programmed() {
    use crate::lab::Contained;
    // kcmp(2), of Linux 3.5, is number 312: the last one that switches' oldest kernels have.
    const FIRST_UNKNOWN: u32 = 313;
    let Some(lab) = Plan::hosts(1).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let container = endpoint(&lab, 1, &networks);
    let switch = lab.white_box(9);
    let agent = Contained::start(&lab, &switch, FIRST_UNKNOWN);
    eventually("the agent answers", PATIENCE, || agent.sluice("status").ok());
    assert_eq!(agent.status_line("Seccomp"), "2", "it runs under the filter");
    assert_eq!(agent.status_line("CapEff"), "0000000000001000", "CAP_NET_ADMIN and no other");
    assert_eq!(agent.status_line("NoNewPrivs"), "1");
    let refusal = agent.exec("/usr/bin/touch /x").ok().unwrap_err();
    assert!(refusal.contains("Read-only file system"), "{refusal}");

    let server = switch.server(1, "swp1", MTU);
    eventually("the switch is a node", PATIENCE, || agent.sluice("port attach swp1 --network blue").ok());
    eventually("the server is reached", PATIENCE, || container.ping(server.endpoint.v4().into(), 1));
    for address in server.endpoint.addresses() {
        container.ping(address, 10).expect("to the server");
        container.tcp(&server.endpoint, address, MEGABYTE).expect("TCP to the server");
    }
    let mac = container.mac.map(|octet| format!("{octet:02x}")).join(":");
    let fdb = switch.run("bridge fdb show dev slvx1");
    let has = |of: &str, what: &str| fdb.lines().any(|line| line.starts_with(of) && line.contains(what));
    for (of, what) in
        [("00:00:00:00:00:00", "dst 172.31.0.1"), (&mac, "dst 172.31.0.1"), (&mac, "master slbr1")]
    {
        assert!(has(of, what), "{of} {what} is not in {fdb}");
    }
    let neighbours = switch.run("ip neigh show dev slbr1");
    assert!(neighbours.contains(&container.v4().to_string()), "{neighbours}");
    let status = agent.sluice("status").expect("status");
    assert!(status.contains("linux ok") && status.contains("swp1"), "{status}");
    agent.sluice("port detach swp1").expect("detaching");
    eventually("the switch lets go", PATIENCE, || {
        let links = switch.run("ip -o link show");
        if links.contains("slbr") || links.contains("slvx") { Err(links) } else { Ok(()) }
    });
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{what}: p50 {:.1?}, p99 {:.1?}, most {:.1?} of {}",
        at(50),
        at(99),
        times[times.len() - 1],
        times.len()
    );
}

/// How long a container's MAC takes to the switch's forwarding table, and a moved server to be reached again.
/// Measures; asserts nothing about time, which is the machine's.
///
/// The first is told twice: from the moment Docker begins with the container (its first call, for an address), and from
/// the answer to Join, before which the container has no link. The second begins with the command that gives the new
/// port its carrier, so that it has the start of a process in it.
#[test]
#[ignore = "a measurement: cargo test --release --test live switch::convergence -- --ignored --nocapture"]
fn convergence() {
    let Some(rack) = Rack::build() else { return };
    rack.await_station_at("swp1");
    let watch = FdbWatch::open(rack.switch.net());
    let (mut from_start, mut from_join, mut there) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..100 {
        let begin = Instant::now();
        let engine = rack.lab.host(1).engine();
        let joined = engine.join(&rack.networks[0], &Attach::default()).expect("a container");
        let answered = Instant::now();
        let known = watch.wait_for(joined.mac(), PATIENCE).expect("the switch learns of the container");
        from_start.push(known - begin);
        from_join.push(known.saturating_duration_since(answered));
        there.push(joined);
    }
    // Not between: host and switch are one kernel here, which changes no table while it removes a link.
    for joined in there {
        rack.lab.host(1).engine().leave(&rack.networks[0], &joined).expect("the container goes");
    }
    percentiles("Docker's first call to the switch's FDB", from_start);
    percentiles("Join answered to the switch's FDB (0: was there before)", from_join);

    let mut reached = Vec::new();
    for round in 0..20 {
        let (from, to) = if round % 2 == 0 { ("swp1", "swp2") } else { ("swp2", "swp1") };
        rack.await_station_at(from);
        let server = &rack.server.endpoint;
        let stream = rack.containers[0].stream(server, server.v4().into(), Duration::from_millis(1));
        eventually("the stream is answered", PATIENCE, || match stream.answered() {
            0 => Err("no answer".to_owned()),
            _ => Ok(()),
        });
        rack.switch.unplug(&rack.server, from);
        let before = stream.answered();
        // An answer may be there before the command that plugs it in has ended.
        let plugged = rack.switch.plug(&rack.server, to);
        while stream.answered() == before {
            assert!(plugged.elapsed() < PATIENCE, "the server is not reached at {to}");
            std::thread::sleep(Duration::from_micros(200));
        }
        reached.push(plugged.elapsed());
        stream.stop();
    }
    percentiles("moved to another port to reachable", reached);
}

/// The endpoints of hosts that are only in the store: this many, over 20 nodes.
fn distant_endpoints(rack: &Rack, numbers: std::ops::Range<u32>) {
    use sluice::model::{Endpoint, Node, Phase, UnknownFields, mac_for};
    use sluice::store::{Etcd, EtcdConfig, Store, Write, keys};
    let node = |number: u32| -> sluice::model::NodeName {
        format!("far-{}", number % 20).parse().expect("a node's name")
    };
    let nodes = (0..20).map(|number| {
        let node = Node {
            name: node(number),
            installation: format!("far-{number}"),
            underlay: Some(std::net::IpAddr::from([172, 31, 1, number as u8])),
            underlay_mtu: None,
            encapsulations: sluice::model::Encapsulation::ALL.to_vec(),
            dataplane: sluice::model::Dataplane::OvsSystem,
            version: String::new(),
            unknown: UnknownFields::new(),
        };
        Write::Put(keys::node(&node.name), serde_json::to_vec(&node).expect("it has a JSON form"))
    });
    let endpoints = numbers.map(|number| {
        let address = std::net::Ipv4Addr::from(0x0a05_8000 + number);
        let network: sluice::model::NetworkName = "blue".parse().expect("a network's name");
        let endpoint = Endpoint {
            id: format!("{number:064x}").parse().expect("an EndpointID"),
            mac: mac_for(&network, &address.to_string()),
            network,
            node: node(number),
            addresses: vec![format!("{address}/16").parse().expect("an address")],
            spare: None,
            phase: Phase::Joined,
            options: Default::default(),
            unknown: UnknownFields::new(),
        };
        Write::Put(
            keys::endpoint(&endpoint.network, &endpoint.id),
            serde_json::to_vec(&endpoint).expect("it has a JSON form"),
        )
    });
    let writes: Vec<Write> = nodes.chain(endpoints).collect();
    rack.lab.with_store(|endpoint| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let config =
                EtcdConfig { endpoints: vec![endpoint], tls: None, user: None, call_timeout: PATIENCE };
            let store = Etcd::connect(config).expect("a store");
            for batch in writes.chunks(sluice::store::MAX_TXN_OPS) {
                store.commit(Vec::new(), batch.to_vec()).await.expect("writing endpoints");
            }
        });
    });
}

/// What the agent of a switch holds with a thousand and with ten thousand endpoints elsewhere, in resident memory.
#[test]
#[ignore = "a measurement: SLUICE_BIN=…/images/x86_64/sluice cargo test --test live switch::memory -- --ignored --nocapture"]
fn memory() {
    let Some(rack) = Rack::build() else { return };
    let mut done = 0;
    println!("the switch's agent, resident: {}", rack.switch.agent_memory());
    for number in [1_000, 10_000] {
        distant_endpoints(&rack, done..number);
        done = number;
        let begin = Instant::now();
        let patience = PATIENCE * 6;
        eventually("the switch knows them all", patience, || {
            let entries = rack.switch.run("bridge fdb show dev slvx1");
            match entries
                .lines()
                .filter(|line| line.contains("172.31.1.") && !line.starts_with("00:"))
                .count()
            {
                count if count >= number as usize => Ok(()),
                count => Err(format!("{count} entries")),
            }
        });
        println!(
            "with {number} remote endpoints: {} ({:.1?} to the last)",
            rack.switch.agent_memory(),
            begin.elapsed()
        );
    }
}
