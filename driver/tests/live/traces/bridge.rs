//! A live integration bridge, and the simulated switch that has its flows and ports.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use ofctl::client::openflow::{Connection, Options, Target};
use ofctl::sim::{self, Switch, TunnelPort};
use ofctl::wire::{FlowStatsRequest, FragmentMode, OfPort};
use serde_json::{Deserializer, Value, json};

use super::Exit;
use super::datapath::{self, Effect};
use super::packets::Packet;
use crate::lab::{Endpoint, Host};

/// The bridge that the agents program.
const BRIDGE: &str = "br-int";

/// What kind of port it is, as far as the flows care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Endpoint,
    Tunnel,
    Trunk,
}

#[derive(Debug)]
pub(super) struct Bridge {
    switch: Switch,
    control: PathBuf,
    /// By name.
    ports: BTreeMap<String, (OfPort, Kind)>,
    /// OpenFlow's number by the datapath's.
    datapath: BTreeMap<u32, OfPort>,
}

impl Bridge {
    /// Reads flows and ports by OpenFlow, and what kind the ports are from the database.
    pub(super) fn of(host: &Host) -> Self {
        let target = Target::Unix(host.seen(host.path(&format!("ovs/{BRIDGE}.mgmt"))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (flows, ports, config) = runtime.block_on(async {
            let (connection, _events) =
                Connection::connect(target, Options::default()).await.expect("the bridge answers");
            (
                connection.dump_flows(FlowStatsRequest::default()).await.expect("its flows"),
                connection.port_desc().await.expect("its ports"),
                connection.config().await.expect("its configuration"),
            )
        });
        let kinds: BTreeMap<String, (OfPort, Kind)> = ports
            .iter()
            .filter(|port| port.port <= OfPort::MAX)
            .map(|port| {
                let kind = match host.vsctl(&format!("get interface {} type", port.name)).trim() {
                    "vxlan" | "geneve" | "gre" => Kind::Tunnel,
                    "patch" => Kind::Trunk,
                    _ => Kind::Endpoint,
                };
                (port.name.clone(), (port.port, kind))
            })
            .collect();
        let fragments = match config.fragments {
            FragmentMode::NxMatch => sim::FragmentMode::NxMatch,
            FragmentMode::Drop => sim::FragmentMode::Drop,
            FragmentMode::Normal | FragmentMode::Reassemble => sim::FragmentMode::Normal,
        };
        let local = host.underlay().parse().expect("an address");
        let tunnel = TunnelPort { local: Some(local), ..TunnelPort::default() };
        let mut switch = Switch::new()
            .with_flows(flows.into_iter().map(|flow| flow.entry))
            .expect("a switch that runs these flows takes them")
            .with_ports(ports.iter().map(|port| port.port))
            .with_fragments(fragments);
        for (port, kind) in kinds.values() {
            if *kind == Kind::Tunnel {
                switch = switch.with_tunnel_port(*port, tunnel);
            }
        }
        let control = host.seen(host.path("ovs/vswitchd.ctl"));
        let mut bridge = Self { switch, control, ports: kinds, datapath: BTreeMap::new() };
        // `  slh-1 2/5: (system)`, ports of one bridge after its own line.
        let shown = bridge.appctl("dpif/show", &[]);
        let ours = shown.lines().skip_while(|line| line.trim() != format!("{BRIDGE}:")).skip(1);
        let ours = ours.take_while(|line| line.contains('/'));
        bridge.datapath = ours
            .filter_map(|line| line.split_whitespace().nth(1)?.trim_end_matches(':').split_once('/'))
            .filter_map(|(openflow, datapath)| Some((datapath.parse().ok()?, OfPort(openflow.parse().ok()?))))
            .collect();
        assert!(!bridge.datapath.is_empty(), "no ports of {BRIDGE} in {shown}");
        bridge
    }

    /// The port of an endpoint, by its link, whose other end Docker was given.
    pub(super) fn endpoint(&self, endpoint: &Endpoint) -> OfPort {
        let name = endpoint.link.replacen("slc-", "slh-", 1);
        match self.ports.get(&name) {
            Some((port, Kind::Endpoint)) => *port,
            other => panic!("endpoint {} is at port '{name}': {other:?}", endpoint.id),
        }
    }

    /// The tunnel port of an encapsulation, if it is one with tunnels.
    pub(super) fn tunnel(&self, encapsulation: &str) -> Option<OfPort> {
        let found =
            self.ports.iter().find(|(name, (_, kind))| *kind == Kind::Tunnel && name.contains(encapsulation));
        found.map(|(_, (port, _))| *port)
    }

    /// The ports of one kind.
    pub(super) fn ports(&self, wanted: Kind) -> Vec<OfPort> {
        self.ports.values().filter(|(_, kind)| *kind == wanted).map(|(port, _)| *port).collect()
    }

    /// Where the simulator sends a packet, and the way there.
    pub(super) fn simulate(&self, packet: &Packet) -> (Vec<Exit>, String) {
        let verdict = self.switch.run(packet.in_port, packet.tunnel, &packet.frame);
        assert_eq!(verdict.error, None, "{packet}\n{verdict}");
        assert!(
            verdict.to_controller.is_empty(),
            "the pipeline forwards without its agent: {packet}\n{verdict}"
        );
        let mut exits: Vec<Exit> = verdict
            .outputs
            .iter()
            .map(|output| Exit {
                port: output.port,
                tunnel: output.tunnel.map(|tunnel| (tunnel.id, tunnel.dst)),
            })
            .collect();
        exits.sort();
        (exits, verdict.to_string())
    }

    /// Where Open vSwitch would send it, and its trace.
    pub(super) fn trace(&self, packet: &Packet) -> (Vec<Exit>, String) {
        let mut flow = format!("in_port={}", packet.in_port.0);
        if let Some(tunnel) = packet.tunnel {
            flow += &format!(",tun_id={:#x},tun_src={},tun_dst={}", tunnel.id, tunnel.src, tunnel.dst);
        }
        let trace = self.appctl("ofproto/trace", &[BRIDGE, &flow, &hex(&packet.frame)]);
        let actions = trace.lines().find_map(|line| line.strip_prefix("Datapath actions: "));
        let mut exits = self.exits(actions.unwrap_or_else(|| panic!("no verdict in {trace}")));
        // A patch port is none of the datapath's: what leaves by it is seen to come in at its other end. Tunnel
        // packets pass the other bridge as well.
        let crossings = trace.matches("bridge(\"br-phy\")").count();
        let tunnelled = trace.matches("tunneling to ").count();
        let trunk = self.ports(Kind::Trunk);
        exits.extend((tunnelled..crossings).map(|_| Exit { port: trunk[0], tunnel: None }));
        exits.sort();
        (exits, trace)
    }

    /// Where the datapath's actions send a packet. The ports behind the bridge's, on the underlay, are not its own.
    fn exits(&self, actions: &str) -> Vec<Exit> {
        let exit = |effect| match effect {
            Effect::Output { port, .. } => {
                self.datapath.get(&port).map(|port| Exit { port: *port, tunnel: None })
            }
            Effect::Push { port, key, dst } => {
                let port = self.datapath.get(&port).expect("tunnels are ports of the bridge");
                Some(Exit { port: *port, tunnel: Some((key, dst)) })
            }
            other => panic!("the pipeline does without {other:?}: {actions}"),
        };
        datapath::effects(actions).into_iter().filter_map(exit).collect()
    }

    /// A command of ovs-appctl(8), over the same socket.
    fn appctl(&self, method: &str, parameters: &[&str]) -> String {
        let mut stream = UnixStream::connect(&self.control).expect("ovs-vswitchd's control socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let request = json!({"id": 0, "method": method, "params": parameters});
        stream.write_all(request.to_string().as_bytes()).expect("it takes a command");
        let answer = Deserializer::from_reader(stream).into_iter::<Value>().next();
        let answer = answer.expect("an answer").expect("in JSON");
        assert!(answer["error"].is_null(), "{method} {parameters:?}: {}", answer["error"]);
        answer["result"].as_str().expect("a text").to_owned()
    }
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
