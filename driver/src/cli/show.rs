//! How each reply looks to people. To programs each is its JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::output::{Output, fields, joined, or_dash, table};
use crate::api::admin::{
    AttachedPort, CreatedNetwork, EndpointDetail, EndpointSummary, LinuxPort, LinuxStatus, NetworkDetail,
    NetworkSummary, NodeDetail, NodeSummary, PortView, Removed, State, StationView, Status, StoreStatus,
    VtepPort, VtepStatus,
};
use crate::linux::Form;
use crate::model::Phase;

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Created => "created",
        Phase::Joined => "joined",
        Phase::Left => "left",
    }
}

/// As many digits of an id as `docker network inspect` readers are used to.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn segment(network: &NetworkSummary) -> String {
    match (network.vni, network.vlan) {
        (Some(vni), _) => format!("vni {vni}"),
        (None, Some(vlan)) => format!("vlan {vlan}"),
        (None, None) => "-".to_owned(),
    }
}

pub(super) fn version(out: &mut Output<'_>, version: &str) -> io::Result<()> {
    #[derive(Serialize)]
    struct Version<'a> {
        version: &'a str,
    }
    out.object(&Version { version }, |out| writeln!(out, "sluice {version}"))
}

pub(super) fn networks(out: &mut Output<'_>, networks: &[NetworkSummary]) -> io::Result<()> {
    out.rows(
        networks,
        ["NAME", "ID", "ENCAP", "SEGMENT", "SUBNETS", "MTU", "EXTERNAL", "ENDPOINTS"],
        |network| {
            [
                network.name.to_string(),
                network.id.to_string(),
                network.encapsulation.to_string(),
                segment(network),
                joined(network.subnets.iter().map(|subnet| subnet.prefix)),
                network.mtu.map_or_else(|| "auto".to_owned(), |mtu| mtu.to_string()),
                network.external.to_string(),
                network.endpoint_count.to_string(),
            ]
        },
    )
}

fn network_fields(out: &mut dyn Write, network: &NetworkSummary) -> io::Result<()> {
    let mut lines = vec![
        ("Network", network.name.to_string()),
        ("Id", network.id.to_string()),
        ("Encapsulation", network.encapsulation.to_string()),
        ("Segment", segment(network)),
        (
            "MTU",
            network.mtu.map_or_else(|| "what each host's underlay leaves".to_owned(), |mtu| mtu.to_string()),
        ),
        ("External", network.external.to_string()),
        ("Docker sync", network.docker_sync.to_string()),
        ("Created on", network.created_on.to_string()),
    ];
    for subnet in &network.subnets {
        lines.push(("Subnet", format!("{} gateway {}", subnet.prefix, or_dash(subnet.gateway))));
        for (name, address) in &subnet.reserved {
            lines.push(("Reserved", format!("{address} {name}")));
        }
    }
    lines.push(("Endpoints", network.endpoint_count.to_string()));
    fields(out, &lines)
}

fn endpoint_table(out: &mut dyn Write, endpoints: &[EndpointSummary]) -> io::Result<()> {
    if endpoints.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table(out, ENDPOINT_HEAD, endpoints.iter().map(endpoint_row))
}

const ENDPOINT_HEAD: [&str; 6] = ["ENDPOINT", "NETWORK", "NODE", "ADDRESSES", "MAC", "PHASE"];

fn endpoint_row(endpoint: &EndpointSummary) -> [String; 6] {
    [
        short(endpoint.id.as_str()).to_owned(),
        endpoint.network.to_string(),
        endpoint.node.to_string(),
        joined(endpoint.addresses.iter().map(|address| address.addr())),
        endpoint.mac.to_string(),
        phase(endpoint.phase).to_owned(),
    ]
}

pub(super) fn network(out: &mut Output<'_>, detail: &NetworkDetail) -> io::Result<()> {
    out.object(detail, |out| {
        network_fields(out, &detail.network)?;
        endpoint_table(out, &detail.endpoints)
    })
}

pub(super) fn created(out: &mut Output<'_>, created: &CreatedNetwork) -> io::Result<()> {
    out.object(created, |out| {
        let what = if created.created { "created" } else { "was there already, and agrees" };
        writeln!(out, "network {} {what}", created.network.name)
    })
}

pub(super) fn removed(out: &mut Output<'_>, removed: &Removed) -> io::Result<()> {
    out.object(removed, |out| removed.removed.iter().try_for_each(|what| writeln!(out, "removed {what}")))
}

pub(super) fn endpoints(out: &mut Output<'_>, endpoints: &[EndpointSummary]) -> io::Result<()> {
    out.rows(endpoints, ENDPOINT_HEAD, endpoint_row)
}

pub(super) fn endpoint(out: &mut Output<'_>, detail: &EndpointDetail) -> io::Result<()> {
    out.object(detail, |out| {
        let EndpointDetail { endpoint, host_link, options, port } = detail;
        let mut lines = vec![
            ("Endpoint", endpoint.id.to_string()),
            ("Network", endpoint.network.to_string()),
            ("Node", endpoint.node.to_string()),
            ("Addresses", joined(&endpoint.addresses)),
            ("MAC", endpoint.mac.to_string()),
            ("Phase", phase(endpoint.phase).to_owned()),
            ("Host link", host_link.to_string()),
        ];
        lines.extend(options.iter().map(|(key, value)| ("Option", format!("{key}={value}"))));
        if let Some(port) = port {
            let up = if port.up { "up" } else { "down" };
            let programmed = if port.programmed { "programmed" } else { "not programmed yet" };
            lines.push((
                "Port",
                format!("{} {up}, mtu {}, {programmed}", or_dash(port.ofport), or_dash(port.mtu)),
            ));
            lines.push(("Error", port.error.clone().unwrap_or_default()));
        }
        fields(out, &lines)
    })
}

pub(super) fn nodes(out: &mut Output<'_>, nodes: &[NodeSummary]) -> io::Result<()> {
    out.rows(nodes, ["NAME", "ALIVE", "UNDERLAY", "MTU", "DATAPLANE", "VERSION", "ENDPOINTS"], |node| {
        [
            node.name.to_string(),
            if node.alive { "yes" } else { "no" }.to_owned(),
            or_dash(node.underlay),
            or_dash(node.underlay_mtu),
            node.dataplane.to_string(),
            node.version.clone(),
            node.endpoint_count.to_string(),
        ]
    })
}

pub(super) fn node(out: &mut Output<'_>, detail: &NodeDetail) -> io::Result<()> {
    out.object(detail, |out| {
        let node = &detail.node;
        fields(
            out,
            &[
                ("Node", node.name.to_string()),
                ("Alive", if node.alive { "yes" } else { "no" }.to_owned()),
                ("Underlay", or_dash(node.underlay)),
                ("Underlay MTU", or_dash(node.underlay_mtu)),
                ("Encapsulations", joined(&node.encapsulations)),
                ("Dataplane", node.dataplane.to_string()),
                ("Version", node.version.clone()),
                ("Endpoints", node.endpoint_count.to_string()),
            ],
        )?;
        endpoint_table(out, &detail.endpoints)
    })
}

pub(super) fn ports(out: &mut Output<'_>, ports: &[PortView]) -> io::Result<()> {
    out.rows(ports, ["NODE", "PORT", "VLAN", "NETWORK", "STATIONS", "ATTACHED ON"], |port| {
        [
            port.node.to_string(),
            port.at.port.to_string(),
            or_dash(port.at.vlan),
            port.network.to_string(),
            port.stations.len().to_string(),
            port.attached_on.to_string(),
        ]
    })?;
    out.notes(ports, |port| {
        let problem = port.problem.as_ref()?;
        Some(format!("port {} of node {} is not in its network: {problem}", port.at, port.node))
    })
}

pub(super) fn attached(out: &mut Output<'_>, attached: &AttachedPort) -> io::Result<()> {
    out.object(attached, |out| {
        let what = if attached.created { "attached" } else { "was attached already" };
        let PortView { node, at, network, .. } = &attached.port;
        writeln!(out, "port {at} of node {node} {what} to network {network}")
    })
}

fn away(error: &Option<String>) -> String {
    error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
}

/// What a host forwards with.
fn host_fields(status: &Status) -> Vec<(&'static str, String)> {
    let Status { ovs, openflow, docker, .. } = status;
    let repaired = match (openflow.repaired, openflow.refused) {
        (0, 0) => String::new(),
        (repaired, refused) => format!(", {repaired} repaired, {refused} refused"),
    };
    vec![
        (
            "Open vSwitch",
            format!(
                "{}: {} bridge {} datapath {}{}",
                ovs.state,
                or_dash(ovs.version.as_ref()),
                ovs.bridge,
                or_dash(ovs.datapath.as_ref()),
                away(&ovs.error)
            ),
        ),
        (
            "OpenFlow",
            format!(
                "{}: generation {}, {} flows{repaired}{}",
                openflow.state,
                openflow.generation,
                openflow.flows,
                away(&openflow.error)
            ),
        ),
        (
            "Docker",
            match docker.state {
                State::Off => "off".to_owned(),
                state => format!("{state}: {}{}", or_dash(docker.version.as_ref()), away(&docker.error)),
            },
        ),
    ]
}

/// What a switch forwards with.
fn switch_fields(linux: &LinuxStatus) -> Vec<(&'static str, String)> {
    let form = match &linux.form {
        Form::Traditional => "a bridge for each network".to_owned(),
        Form::VlanAware { bridge } => format!("VLAN-aware bridge {bridge}"),
        Form::Sonic { bridge } => format!("SONiC's bridge {bridge}"),
    };
    let repaired = match linux.repaired {
        0 => String::new(),
        repaired => format!(", {repaired} repaired"),
    };
    vec![
        ("Dataplane", format!("linux {}: {form}{repaired}{}", linux.state, away(&linux.error))),
        (
            "Forwarding",
            format!(
                "{} networks, {} remote MACs ({} in hardware), {} addresses answered for",
                linux.networks, linux.remotes, linux.offloaded, linux.neighbours
            ),
        ),
    ]
}

/// What a switch that is told by its database forwards with.
fn vtep_fields(vtep: &VtepStatus) -> Vec<(&'static str, String)> {
    let repaired = match vtep.repaired {
        0 => String::new(),
        repaired => format!(", {repaired} repaired"),
    };
    let switch = or_dash(vtep.switch.as_ref());
    let tunnel = or_dash(vtep.tunnel);
    let mut fields = vec![
        (
            "Dataplane",
            format!(
                "hardware-vtep {}: switch {switch}, tunnels at {tunnel}{repaired}{}",
                vtep.state,
                away(&vtep.error)
            ),
        ),
        (
            "Forwarding",
            format!(
                "{} networks, {} remote MACs, broadcasts to {} other nodes",
                vtep.networks, vtep.remotes, vtep.flooded
            ),
        ),
    ];
    if !vtep.others.is_empty() {
        fields.push(("Left alone", format!("logical switches of others: {}", vtep.others.join(", "))));
    }
    fields
}

fn vtep_tables(out: &mut dyn Write, vtep: &VtepStatus) -> io::Result<()> {
    if !vtep.ports.is_empty() {
        writeln!(out)?;
        let row = |port: &VtepPort| {
            let state = match (port.present, port.problem.is_some(), port.faults.is_empty()) {
                (false, ..) => "missing",
                (true, true, _) => "refused",
                (true, false, false) => "fault",
                (true, false, true) => "bound",
            };
            [port.at.port.to_string(), or_dash(port.at.vlan), port.network.to_string(), state.to_owned()]
        };
        table(out, ["PORT", "VLAN", "NETWORK", "STATE"], vtep.ports.iter().map(row))?;
    }
    station_table(out, &vtep.stations)
}

fn station_table(out: &mut dyn Write, stations: &[StationView]) -> io::Result<()> {
    if stations.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let row = |station: &StationView| {
        [
            station.mac.to_string(),
            or_dash(station.at.as_ref()),
            station.network.to_string(),
            joined(&station.addresses),
        ]
    };
    table(out, ["STATION", "PORT", "NETWORK", "ADDRESSES"], stations.iter().map(row))
}

fn switch_tables(out: &mut dyn Write, linux: &LinuxStatus) -> io::Result<()> {
    if !linux.ports.is_empty() {
        writeln!(out)?;
        let row = |port: &LinuxPort| {
            let state = match port.running {
                Some(true) => "up",
                Some(false) => "down",
                None => "missing",
            };
            [port.at.port.to_string(), or_dash(port.at.vlan), port.network.to_string(), state.to_owned()]
        };
        table(out, ["PORT", "VLAN", "NETWORK", "LINK"], linux.ports.iter().map(row))?;
    }
    station_table(out, &linux.stations)
}

pub(super) fn status(out: &mut Output<'_>, status: &Status) -> io::Result<()> {
    out.object(status, |out| {
        let store = &status.store;
        let mut lines = vec![
            ("Node", status.node.to_string()),
            ("Agent", format!("{}, up {}", status.version, duration(status.uptime_seconds))),
            ("Store", format!("{}: {}{}", store.state, store_name(store), away(&store.error))),
        ];
        lines.extend(match (&status.linux, &status.vtep) {
            (Some(linux), _) => switch_fields(linux),
            (None, Some(vtep)) => vtep_fields(vtep),
            (None, None) => host_fields(status),
        });
        lines.push(("Networks", status.networks.to_string()));
        if status.linux.is_none() && status.vtep.is_none() {
            lines.push(("Endpoints", status.endpoints.to_string()));
        }
        fields(out, &lines)?;
        if let Some(linux) = &status.linux {
            switch_tables(out, linux)?;
        }
        if let Some(vtep) = &status.vtep {
            vtep_tables(out, vtep)?;
        }
        if status.problems.is_empty() {
            return writeln!(out, "\nNothing is wrong.");
        }
        for problem in &status.problems {
            writeln!(out, "\n{}: {}: {}", problem.severity, problem.object, problem.what)?;
            writeln!(out, "  {}", problem.remedy)?;
        }
        Ok(())
    })
}

/// The kind and the address, without saying the kind twice.
fn store_name(store: &StoreStatus) -> String {
    if store.address.starts_with(&store.kind) {
        store.address.clone()
    } else {
        format!("{} {}", store.kind, store.address)
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}
