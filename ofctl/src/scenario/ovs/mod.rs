//! Scenarios on a real Open vSwitch, one of our own with dummy ports; no privilege is needed.

mod capture;
mod daemons;
mod group;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use capture::Capture;
use daemons::{Daemons, text};
use tokio::runtime::Runtime;

use crate::client::Listen;
use crate::client::controller::{self, Controller, ListenError};
use crate::client::openflow::{ClientError, Connection, Events, Notification, Options, Target};
use crate::flow::FlowStats;
use crate::kit::DatapathId;
use crate::scenario::applications::{Boxed, Names, started};
use crate::scenario::{ApplicationText, Sent, World, WorldError};
use crate::sim::Packet;
use crate::wire::versions::GroupMod;
use crate::wire::{
    Field, FlowMod, FlowStatsRequest, FragmentMode, Message, MeterMod, MultipartBody, MultipartReply,
    MultipartRequest, OfPort,
};

/// How long switches may take to connect.
const PATIENCE: Duration = Duration::from_secs(10);
/// Turns of ovs-vswitchd's main loop without a change after which nothing is under way: a frame passes a link in two.
const QUIET_TURNS: usize = 6;
/// What ovs-vswitchd calls a stream that is up.
const LINKED: &str = " connected";
/// Real time beside each of these turns in which an application has its own.
const APPLICATION_TURN: Duration = Duration::from_millis(10);
/// What time is let pass in, at most, so that timeouts follow each other in order.
const TIME_STEP: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Bridge {
    number: DatapathId,
    connection: Connection,
    events: Events,
    packet_ins: u64,
    ports: BTreeMap<OfPort, Port>,
}

#[derive(Debug)]
struct Port {
    name: String,
    capture: Capture,
    /// The port at the other end.
    peer: Option<(String, OfPort)>,
    is_up: bool,
}

/// A real Open vSwitch, started for one scenario.
#[derive(Debug)]
pub struct OvsWorld {
    // Dropped in this order: connections before what they run on, and both before the switch.
    bridges: BTreeMap<String, Bridge>,
    application: Option<Controller<Boxed>>,
    runtime: Runtime,
    daemons: Daemons,
    is_time_stopped: bool,
}

fn refused(what: impl std::fmt::Display) -> impl FnOnce(ClientError) -> WorldError {
    move |error| WorldError(format!("{what}: {error}"))
}

impl OvsWorld {
    /// Starts it.
    ///
    /// # Errors
    /// If Open vSwitch is not installed or does not start; the text says which.
    pub fn start() -> Result<OvsWorld, WorldError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| WorldError(format!("cannot start: {error}")))?;
        let daemons = Daemons::start()?;
        Ok(OvsWorld { bridges: BTreeMap::new(), application: None, runtime, daemons, is_time_stopped: false })
    }

    fn bridge(&mut self, name: &str) -> Result<&mut Bridge, WorldError> {
        self.bridges.get_mut(name).ok_or_else(|| WorldError(format!("there is no switch {name}")))
    }

    fn port(&mut self, switch: &str, port: OfPort) -> Result<&mut Port, WorldError> {
        let ports = &mut self.bridge(switch)?.ports;
        ports.get_mut(&port).ok_or_else(|| WorldError(format!("switch {switch} has no port {port}")))
    }

    /// Lets real time pass, in which the application and the connections are served.
    fn wait(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Joins two dummy ports by a stream.
    fn plug(&mut self, listening: &str, dialling: &str) -> Result<(), WorldError> {
        let socket = text(&self.daemons.path(&format!("{listening}.link")));
        self.daemons.vsctl(&split(&format!(
            "set interface {listening} options:pstream=punix:{socket} -- \
             set interface {dialling} options:stream=unix:{socket}"
        )))?;
        let deadline = Instant::now() + PATIENCE;
        while !self.daemons.appctl("netdev-dummy/conn-state", &[dialling])?.trim().ends_with(LINKED) {
            if Instant::now() > deadline {
                return Err(WorldError(format!("{listening} and {dialling} cannot be linked")));
            }
            self.wait(APPLICATION_TURN);
        }
        Ok(())
    }

    fn unplug(&mut self, listening: &str, dialling: &str) -> Result<(), WorldError> {
        self.daemons.vsctl(&split(&format!(
            "remove interface {listening} options pstream -- remove interface {dialling} options stream"
        )))
    }

    /// Waits until nothing is under way.
    fn settle(&mut self) -> Result<(), WorldError> {
        let captured = |world: &OvsWorld| -> u64 {
            world
                .bridges
                .values()
                .flat_map(|bridge| bridge.ports.values())
                .map(|port| port.capture.len())
                .sum()
        };
        let (mut before, mut quiet) = (captured(self), 0);
        while quiet < QUIET_TURNS {
            // Any command: each has its own turn of the main loop, in which frames that have come are forwarded.
            self.daemons.appctl("version", &[])?;
            if self.application.is_some() {
                self.wait(APPLICATION_TURN);
            }
            let now = captured(self);
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }
}

impl World for OvsWorld {
    fn add_switch(&mut self, name: &str, ports: &[OfPort]) -> Result<(), WorldError> {
        let number = self.bridges.len() + 1;
        let mut words = format!(
            "add-br {name} -- set bridge {name} datapath_type=dummy fail_mode=secure \
             other_config:datapath-id={number:016x} other_config:disable-in-band=true"
        );
        let mut made = BTreeMap::new();
        for port in ports {
            let port_name = format!("p{number}.{port}");
            let capture = self.daemons.path(&format!("{port_name}.pcap"));
            words.push_str(&format!(
                " -- add-port {name} {port_name} -- set interface {port_name} type=dummy ofport_request={port} \
                 options:tx_pcap={}",
                text(&capture)
            ));
            let capture = Capture::new(capture);
            made.insert(*port, Port { name: port_name, capture, peer: None, is_up: true });
        }
        self.daemons.vsctl(&split(&words))?;
        let target = Target::Unix(self.daemons.path(&format!("{name}.mgmt")));
        let (connection, events) = self
            .runtime
            .block_on(async {
                let (connection, events) = Connection::connect(target, Options::default()).await?;
                // A connection of this kind is told of packets only if it asks for their bytes.
                connection.set_config(FragmentMode::Normal, u16::MAX).await?;
                Ok((connection, events))
            })
            .map_err(refused(format!("switch {name}")))?;
        self.bridges.insert(
            name.to_owned(),
            Bridge { number: DatapathId(number as u64), connection, events, packet_ins: 0, ports: made },
        );
        Ok(())
    }

    fn add_link(&mut self, a: (&str, OfPort), b: (&str, OfPort)) -> Result<(), WorldError> {
        for ((switch, port), other) in [(a, b), (b, a)] {
            let port = self.port(switch, port)?;
            if port.peer.is_some() {
                return Err(WorldError(format!("port {} has a link already", port.name)));
            }
            port.peer = Some((other.0.to_owned(), other.1));
        }
        let mut names = [self.port(a.0, a.1)?.name.clone(), self.port(b.0, b.1)?.name.clone()];
        names.sort();
        self.plug(&names[0], &names[1])
    }

    fn start(&mut self, application: &ApplicationText) -> Result<(), WorldError> {
        let number = |name: &str| self.bridges.get(name).map(|bridge| bridge.number);
        let application = started(application, &number)?;
        if self.application.is_some() {
            return Err(WorldError("an application runs already".to_owned()));
        }
        let socket = self.daemons.path("application");
        let controller = self.runtime.block_on(async {
            let controller = Controller::start(application, controller::Options::default());
            controller.listen(Listen::Unix(socket.clone())).await?;
            Ok::<_, ListenError>(controller)
        });
        let controller = controller.map_err(|error| WorldError(error.to_string()))?;
        let mut words = Vec::new();
        for name in self.bridges.keys() {
            words.push(format!("-- set-controller {name} unix:{}", text(&socket)));
            words.push(format!("-- set controller {name} connection_mode=out-of-band"));
        }
        self.daemons.vsctl(&split(&words.join(" ")))?;
        let deadline = Instant::now() + PATIENCE;
        let wanted = self.bridges.len();
        while self.runtime.block_on(controller.switches()).map_or(0, |switches| switches.len()) < wanted {
            if Instant::now() > deadline {
                return Err(WorldError("the switches do not connect to the application".to_owned()));
            }
            self.wait(APPLICATION_TURN);
        }
        self.application = Some(controller);
        self.settle()
    }

    fn change_flows(&mut self, switch: &str, change: FlowMod) -> Result<(), WorldError> {
        let connection = self.bridge(switch)?.connection.clone();
        self.runtime
            .block_on(connection.bundle(vec![change]))
            .map_err(refused(format!("switch {switch}")))?;
        self.settle()
    }

    fn change_group(&mut self, switch: &str, change: GroupMod) -> Result<(), WorldError> {
        self.bridge(switch)?;
        let socket = self.daemons.path(&format!("{switch}.mgmt"));
        group::change(&socket, change).map_err(|error| WorldError(format!("switch {switch}: {error}")))?;
        self.settle()
    }

    fn change_meter(&mut self, switch: &str, change: MeterMod) -> Result<(), WorldError> {
        let connection = self.bridge(switch)?.connection.clone();
        self.runtime
            .block_on(connection.send_messages(vec![Message::MeterMod(change)]))
            .map_err(refused(format!("switch {switch}")))?;
        self.settle()
    }

    fn ask(&mut self, switch: &str, request: MultipartRequest) -> Result<MultipartBody, WorldError> {
        // The counters of the datapath's cached flows are added to the tables' when those are let go.
        self.daemons.appctl("revalidator/purge", &[])?;
        let connection = self.bridge(switch)?.connection.clone();
        let answer = self
            .runtime
            .block_on(connection.transact(Message::MultipartRequest(request)))
            .map_err(refused(format!("switch {switch}")))?;
        match answer {
            Message::MultipartReply(MultipartReply { body, .. }) => Ok(body),
            other => Err(WorldError(format!("switch {switch} answers something else: {other:?}"))),
        }
    }

    fn report(&mut self) -> Result<Vec<String>, WorldError> {
        let names: Names = self.bridges.iter().map(|(name, bridge)| (bridge.number, name.clone())).collect();
        let application =
            self.application.as_ref().ok_or_else(|| WorldError("no application runs".to_owned()))?;
        self.runtime
            .block_on(application.inspect(move |application| application.report(&names)))
            .map_err(|error| WorldError(error.to_string()))
    }

    fn inject(&mut self, switch: &str, port: OfPort, frame: &[u8]) -> Result<String, WorldError> {
        let inlet = self.port(switch, port)?;
        if !inlet.is_up {
            return Ok(format!("port {port} is down: nothing comes in"));
        }
        let name = inlet.name.clone();
        // A cached verdict may be older than the last change of the flows.
        self.daemons.appctl("revalidator/purge", &[])?;
        // By its fields: a trace of a packet's bytes does all that the packet would do.
        let fields = traced(&Packet::new(port, frame.to_vec()));
        let trace = self.daemons.appctl("ofproto/trace", &[switch, &fields])?;
        let bytes: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        self.daemons.appctl("netdev-dummy/receive", &[&name, &bytes])?;
        self.settle()?;
        Ok(trace)
    }

    fn set_link(&mut self, switch: &str, port: OfPort, up: bool) -> Result<(), WorldError> {
        let state = if up { "up" } else { "down" };
        let here = self.port(switch, port)?;
        here.is_up = up;
        let (name, peer) = (here.name.clone(), here.peer.clone());
        // A dummy port that is down still carries frames, so the cable is pulled out too.
        if let Some((other, other_port)) = peer {
            let far = self.port(&other, other_port)?;
            far.is_up = up;
            let far = far.name.clone();
            let (listening, dialling) = if name < far { (&name, &far) } else { (&far, &name) };
            if up {
                self.plug(listening, dialling)?;
            } else {
                self.unplug(listening, dialling)?;
            }
            self.daemons.appctl("netdev-dummy/set-admin-state", &[&far, state])?;
        }
        self.daemons.appctl("netdev-dummy/set-admin-state", &[&name, state])?;
        self.settle()
    }

    fn pass(&mut self, time: Duration) -> Result<(), WorldError> {
        if self.application.is_some() {
            self.wait(time);
            return self.settle();
        }
        if !self.is_time_stopped {
            self.daemons.appctl("time/stop", &[])?;
            self.is_time_stopped = true;
        }
        let (time, step) = (time.as_millis().to_string(), TIME_STEP.as_millis().to_string());
        self.daemons.appctl("time/warp", &[&time, &step])?;
        // Expired flows go when the datapath's counters have been read once more.
        self.daemons.appctl("revalidator/wait", &[])?;
        self.settle()
    }

    fn take_sent(&mut self) -> Result<Vec<Sent>, WorldError> {
        let mut sent = Vec::new();
        for (name, bridge) in &mut self.bridges {
            for (number, port) in &mut bridge.ports {
                let frames = port.capture.take()?;
                if port.peer.is_none() && port.is_up {
                    sent.extend(frames.into_iter().map(|frame| Sent {
                        switch: name.clone(),
                        port: *number,
                        frame,
                    }));
                }
            }
        }
        Ok(sent)
    }

    fn take_packet_ins(&mut self) -> Result<BTreeMap<String, u64>, WorldError> {
        let mut counts = BTreeMap::new();
        for (name, bridge) in &mut self.bridges {
            // What was sent before the answer to a barrier has come when the answer has.
            self.runtime.block_on(bridge.connection.barrier()).map_err(refused(format!("switch {name}")))?;
            while let Some(event) = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    event = bridge.events.next() => event,
                    () = std::future::ready(()) => None,
                }
            }) {
                bridge.packet_ins += u64::from(matches!(event, Notification::PacketIn(_)));
            }
            counts.insert(name.clone(), std::mem::take(&mut bridge.packet_ins));
        }
        Ok(counts)
    }

    fn flows(&mut self, switch: &str) -> Result<Vec<FlowStats>, WorldError> {
        // The counters of the datapath's cached flows are added to the tables' when those are let go.
        self.daemons.appctl("revalidator/purge", &[])?;
        let connection = self.bridge(switch)?.connection.clone();
        let flows = connection.dump_flows(FlowStatsRequest::default());
        self.runtime.block_on(flows).map_err(refused(format!("switch {switch}")))
    }
}

/// A packet's fields as `ofproto/trace` takes them, which reads `tp_src` as TCP's port and `icmp_type` as that of ICMP
/// for IPv4, whatever the packet is.
fn traced(packet: &Packet) -> String {
    let text = packet.header_fields().to_string();
    let protocol = packet.get(Field::IpProto).to_u64();
    let renamed = match protocol {
        17 => Some(("tp_", "udp_")),
        132 => Some(("tp_", "sctp_")),
        58 => Some(("icmp_", "icmpv6_")),
        _ => None,
    };
    let Some((theirs, ours)) = renamed else { return text };
    let part = |part: &str| match part.strip_prefix(theirs) {
        Some(rest) => format!("{ours}{rest}"),
        None => part.to_owned(),
    };
    text.split(',').map(part).collect::<Vec<_>>().join(",")
}

fn split(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}
