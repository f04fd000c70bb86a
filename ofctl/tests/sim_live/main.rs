//! The simulator against Open vSwitch: random flow sets and packets, compared with `ofproto/trace` and with the
//! frames that a real datapath sends.
//!
//! `SLUICE_SIM_SEED` and `SLUICE_SIM_ROUNDS` choose other or more flow sets, `SLUICE_SIM_FIRST` the first of them: one that
//! failed is run again alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/datapath.rs"]
mod datapath;
mod flow_mods;
mod generate;
mod ovs;
mod stateful;

use std::net::IpAddr;
use std::time::Instant;

use generate::{Random, Scenario};
use ofctl::sim::{FragmentMode, Output, Packet, Switch, Tunnel, TunnelPort, Verdict};
use ofctl::wire::{BandKind, Field, MeterBand, MeterFlags, OfPort};
use ovs::{Ovs, PORTS, TUNNEL_PORT};

const PACKETS_PER_FLOW_SET: usize = 20;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A private switch, unless there cannot be one here.
fn live() -> Option<Ovs> {
    if let Some(why) = ovs::missing() {
        assert!(std::env::var("SLUICE_REQUIRE_LIVE").is_err(), "live tests are required, but {why}");
        eprintln!("skipped: {why}");
        return None;
    }
    Some(Ovs::start())
}

/// What a trace's datapath actions do, in order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Output(u32, Option<(u64, IpAddr)>),
    Controller(u8),
}

fn traced_effects(trace: &str, ports: &[(u32, u32)]) -> Vec<Effect> {
    // A packet that goes round has a line each time.
    let lines = trace.lines().filter_map(|line| line.strip_prefix("Datapath actions: "));
    let openflow = |port: u32| {
        ports.iter().find(|(datapath, _)| *datapath == port).map_or(TUNNEL_PORT, |(_, openflow)| *openflow)
    };
    let effect = |effect| match effect {
        datapath::Effect::Output { port, tunnel } => match (openflow(port), tunnel) {
            // A packet that has no tunnel to go by is lost in the datapath.
            (TUNNEL_PORT, None) => None,
            (TUNNEL_PORT, tunnel) => Some(Effect::Output(TUNNEL_PORT, tunnel)),
            (port, _) => Some(Effect::Output(port, None)),
        },
        // OpenFlow 1.3 has one reason for what 1.4 calls action, action set and group.
        datapath::Effect::Controller(3 | 4) => Some(Effect::Controller(1)),
        datapath::Effect::Controller(reason) => Some(Effect::Controller(reason)),
        datapath::Effect::Round => None,
        push @ datapath::Effect::Push { .. } => panic!("this datapath adds no tunnel headers: {push:?}"),
    };
    lines.flat_map(datapath::effects).filter_map(effect).collect()
}

fn simulated_effects(verdict: &Verdict) -> (Vec<Effect>, Vec<Effect>) {
    let outputs = verdict.outputs.iter().map(|output| {
        let tunnel = output.tunnel.map(|tunnel| (tunnel.id, tunnel.dst));
        Effect::Output(output.port.0, tunnel)
    });
    let controller = verdict.to_controller.iter().map(|packet| Effect::Controller(packet.reason.number()));
    (outputs.collect(), controller.collect())
}

/// Compares the registers, metadata and Ethernet addresses of the trace's last line about the flow.
fn compare_final_flow(trace: &str, verdict: &Verdict) -> Result<(), String> {
    let Some(line) = trace.lines().find_map(|line| line.strip_prefix("Final flow: ")) else { return Ok(()) };
    if line == "unchanged" {
        return Ok(());
    }
    for part in datapath::split(line) {
        let Some((name, value)) = part.split_once('=') else { continue };
        let Some(field) = Field::from_name(name) else { continue };
        let ours = verdict.packet.get(field);
        let theirs: Option<ofctl::wire::FieldValue> = match field {
            Field::EthSrc | Field::EthDst => value.parse::<ofctl::MacAddr>().ok().map(Into::into),
            Field::IpTtl => value.parse::<u8>().ok().map(Into::into),
            _ if name.starts_with("reg") || field == Field::Metadata => {
                u64::from_str_radix(value.trim_start_matches("0x"), 16).ok().map(Into::into)
            }
            _ => None,
        };
        if theirs.is_some_and(|theirs| theirs != ours) {
            return Err(format!("final {name}={value}, simulated {ours:?}"));
        }
    }
    Ok(())
}

struct Judge {
    ovs: Ovs,
    ports: Vec<(u32, u32)>,
    pairs: usize,
    outputs: usize,
    frames: usize,
    /// Pairs whose frames are not compared.
    skipped: usize,
    /// Packets that Open vSwitch itself did not survive.
    crashes: usize,
}

#[derive(PartialEq, Eq)]
enum Judgement {
    Agreed,
    Crashed,
}

impl Judge {
    fn compare(
        &mut self,
        switch: &mut Switch,
        in_port: u32,
        tunnel: Option<Tunnel>,
        frame: &[u8],
    ) -> Result<Judgement, String> {
        let packet = Packet::new(OfPort(in_port), frame);
        let packet = tunnel.map_or(packet.clone(), |tunnel| packet.with_tunnel(tunnel));
        // A trace learns as a packet does.
        let now = switch.now();
        let verdict = switch.receive_packet(packet.clone(), now).verdict;
        let mut flow = format!("in_port={in_port}");
        if let Some(Tunnel { id, src, dst }) = tunnel {
            flow += &format!(",tun_id={id:#x},tun_src={src},tun_dst={dst}");
        }
        let Some(trace) = self.ovs.try_appctl("ofproto/trace", &["br0", &flow, &ovs::hex(frame)]) else {
            self.crashes += 1;
            return Ok(Judgement::Crashed);
        };
        let fail = |what: String| format!("{what}\n{flow} {}\n{verdict}\n----\n{trace}", ovs::hex(frame));
        let (mut theirs, mut their_controller): (Vec<_>, Vec<_>) = traced_effects(&trace, &self.ports)
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Output(..)));
        let (mut ours, mut our_controller) = simulated_effects(&verdict);
        let goes_round = trace.contains("recirc(0x");
        // Whom a flood reaches first is Open vSwitch's own affair.
        if goes_round || ["flooding", "FLOOD", "ALL"].iter().any(|word| trace.contains(word)) {
            // The trace comes to what goes round after all else.
            theirs.sort();
            ours.sort();
            their_controller.sort();
            our_controller.sort();
        }
        let rounds = |is: fn(&&str) -> bool| {
            trace.lines().filter(is).flat_map(|line| line.matches("recirc(0x")).count()
        };
        let (begun, shown) = (
            rounds(|line| line.starts_with("Datapath actions")),
            rounds(|line| line.starts_with("recirc(0x")),
        );
        // Some rounds the trace does not follow; the frames tell about them.
        if begun == shown && (ours != theirs || our_controller != their_controller) {
            return Err(fail(format!(
                "they {theirs:?} {their_controller:?}, we {ours:?} {our_controller:?}"
            )));
        }
        let failed = trace.contains("Translation failed");
        if failed != verdict.error.is_some() {
            return Err(fail(format!("translation failed: {failed}, simulated {:?}", verdict.error)));
        }
        if !failed && !goes_round {
            compare_final_flow(&trace, &verdict).map_err(fail)?;
        }
        self.pairs += 1;
        self.outputs += ours.len();
        if tunnel.is_none() && in_port != 0 {
            // Where a frame with two tags takes Open vSwitch's slow path, its datapath looks for IP behind the
            // first, and writes into the wrong bytes.
            let slow = trace.contains("slow path") || trace.contains("userspace(");
            let two_tags = |frame: &[u8]| {
                // A frame that was cut there may have had two.
                let tag =
                    |at: usize| matches!(frame.get(at..at + 2), None | Some([0x81, 0x00] | [0x88, 0xa8]));
                tag(12) && tag(16)
            };
            // A write of some bits of a neighbour option's type makes it write the others as zero.
            let option = trace
                .split_once("set(nd_ext(")
                .is_some_and(|(_, set)| set.split(')').next().is_some_and(|fields| fields.contains('/')));
            if option || slow && verdict.outputs.iter().any(|output| two_tags(&output.frame)) {
                self.skipped += 1;
            } else {
                let verdict = switch.receive_packet(packet, now).verdict;
                return self
                    .compare_frames(&verdict, in_port, frame)
                    .map_err(|what| format!("{what}\n{flow} {}\n{verdict}\n----\n{trace}", ovs::hex(frame)));
            }
        }
        Ok(Judgement::Agreed)
    }

    /// Sends the frame through the datapath, and compares what comes out byte by byte.
    fn compare_frames(&mut self, verdict: &Verdict, in_port: u32, frame: &[u8]) -> Result<Judgement, String> {
        // A dummy device refuses what is shorter than an Ethernet header, and with it all that is to follow at once.
        let sent = |port: u32| {
            let its = verdict.outputs.iter().filter(move |output: &&Output| output.port.0 == port);
            its.take_while(|output| output.frame.len() >= 14).map(move |output| (port, output.frame.clone()))
        };
        let mut wanted: Vec<_> = (1..=PORTS).flat_map(sent).collect();
        let received = self.ovs.try_receive(in_port, frame);
        let done = received.and_then(|_| self.ovs.try_appctl("version", &[]));
        let mut sent = self.ovs.sent(if done.is_some() { wanted.len() } else { 0 });
        if done.is_none() {
            self.crashes += 1;
            return Ok(Judgement::Crashed);
        }
        wanted.sort();
        sent.sort();
        if sent != wanted {
            let show = |frames: &[(u32, Vec<u8>)]| -> String {
                frames.iter().map(|(port, frame)| format!("\n  {port}: {}", ovs::hex(frame))).collect()
            };
            return Err(format!("frames sent:{}\nsimulated:{}", show(&sent), show(&wanted)));
        }
        self.frames += sent.len();
        Ok(Judgement::Agreed)
    }
}

#[test]
fn random_packets_fare_as_in_open_vswitch() {
    let Some(ovs) = live() else { return };
    let (seed, rounds) = (setting("SLUICE_SIM_SEED", 1), setting("SLUICE_SIM_ROUNDS", 30));
    let ports = ovs.datapath_ports();
    let meter = format!("meter={},pktps,bands=type=drop,rate=1000000", generate::METER);
    let metered = |ovs: Ovs| {
        ovs.ofctl("add-meter", Some(&meter)).unwrap();
        ovs
    };
    let (ovs, begun, mut frags) = (metered(ovs), || metered(Ovs::start()), FragmentMode::Normal);
    let mut judge = Judge { ovs, ports, pairs: 0, outputs: 0, frames: 0, skipped: 0, crashes: 0 };
    let mut differences = Vec::new();
    let start = Instant::now();
    let first = setting("SLUICE_SIM_FIRST", 0);
    for round in first..first + rounds {
        let mut random = Random(seed << 32 | round);
        let scenario = Scenario::draw(&mut random);
        let mode = random.pick(&[FragmentMode::Normal, FragmentMode::NxMatch]);
        let name = if mode == FragmentMode::Normal { "normal" } else { "nx-match" };
        if mode != frags {
            judge.ovs.ofctl("set-frags", Some(name)).unwrap();
            frags = mode;
        }
        if judge.ovs.try_load(&scenario.flow_text(), &scenario.group_text()).is_none() {
            eprintln!("seed {seed} round {round}: Open vSwitch crashed at its flows: {}", judge.ovs.log());
            judge.crashes += 1;
            (judge.ovs, frags) = (begun(), FragmentMode::Normal);
            continue;
        }
        let tunnel = TunnelPort { local: Some(IpAddr::from([172, 31, 0, 1])), ..TunnelPort::default() };
        let flags = MeterFlags::PKTPS;
        let band = MeterBand { kind: BandKind::Drop, rate: 1_000_000, burst_size: 0 };
        let mut switch = scenario
            .switch()
            .with_meter(generate::METER, flags, [band])
            .unwrap()
            .with_ports((1..=PORTS).map(OfPort).chain([OfPort::LOCAL]))
            .with_tunnel_port(OfPort(TUNNEL_PORT), tunnel)
            .with_fragments(mode);
        for (port, vlan) in ovs::port_vlans() {
            switch.set_port_vlan(OfPort(port), vlan);
        }
        for packet in 0..PACKETS_PER_FLOW_SET {
            let frame = generate::frame(&mut random);
            let (port, tunnel) = match random.chance(15) {
                true => (TUNNEL_PORT, Some(generate::tunnel(&mut random))),
                false => (random.below(PORTS as usize) as u32 + 1, None),
            };
            match judge.compare(&mut switch, port, tunnel, &frame) {
                Ok(Judgement::Agreed) => {}
                Ok(Judgement::Crashed) => {
                    eprintln!("seed {seed} round {round} packet {packet}: Open vSwitch crashed");
                    (judge.ovs, frags) = (begun(), FragmentMode::Normal);
                    break;
                }
                Err(difference) => {
                    differences.push(format!("seed {seed} round {round} packet {packet}: {difference}"));
                }
            }
        }
    }
    let Judge { pairs, outputs, frames, skipped, crashes, .. } = judge;
    let rate = pairs as f64 / start.elapsed().as_secs_f64();
    eprintln!(
        "{pairs} pairs agree ({rate:.0} a second), with {outputs} outputs and {frames} frames compared byte by byte; \
         frames of {skipped} pairs not compared"
    );
    let first: String = differences
        .iter()
        .take(setting("SLUICE_SIM_SHOW", 3) as usize)
        .map(|text| format!("\n======== {text}"))
        .collect();
    assert!(differences.is_empty(), "{} pairs differ; the first:{first}", differences.len());
    assert!(crashes * 200 <= pairs, "Open vSwitch crashed {crashes} times: too little was compared");
    // A comparison of drops alone would show nothing.
    assert!(outputs > pairs / 4, "only {outputs} outputs in {pairs} pairs");
}

#[test]
fn flows_are_refused_as_by_open_vswitch() {
    let Some(ovs) = live() else { return };
    let mut random = Random(setting("SLUICE_SIM_SEED", 1));
    let group = "group_id=1,type=all,bucket=actions=1\n";
    let groups: String = (1..=generate::GROUPS).map(|id| group.replacen('1', &id.to_string(), 1)).collect();
    ovs.load("", &groups);
    let (mut refused, mut taken, mut differences) = (0, 0, Vec::new());
    for _ in 0..setting("SLUICE_SIM_FLOWS", 300) {
        let flow = generate::doubtful_flow(&mut random);
        let ours = Switch::new().with_flows([flow.clone()]).map(|_| ());
        let theirs = ovs.ofctl("add-flow", Some(&flow.to_string()));
        match (&ours, &theirs) {
            (Ok(()), Ok(_)) => taken += 1,
            (Err(ours), Err(theirs)) => {
                refused += 1;
                // ovs-ofctl finds some wrong itself, and does not say by what name.
                let named = theirs.contains("OFPB") || theirs.contains("OFPG") || theirs.contains("OFPM");
                if named && !theirs.contains(ours.reason.name()) {
                    differences.push(format!("{flow}\n  we: {}\n  they: {theirs}\n", ours.reason.name()));
                }
            }
            _ => differences.push(format!("{flow}\n  we: {ours:?}\n  they: {theirs:?}\n")),
        }
    }
    eprintln!("{taken} flows are taken and {refused} refused by both");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.concat());
    assert!(taken > 20 && refused > 20, "{taken} taken, {refused} refused: too few to show anything");
}
