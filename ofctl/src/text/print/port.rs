//! Ports, queues and exporters in messages.

use std::fmt::{self, Write as _};

use super::{Known, Queue, Seconds, bits};
use crate::wire::{
    IpfixStats, OfPort, PortDescription, PortMod, PortReason, PortStats, PortStatus, QueueConfig, QueueStats,
};

const CONFIG: [(u32, &str); 4] =
    [(1 << 0, "PORT_DOWN"), (1 << 2, "NO_RECV"), (1 << 5, "NO_FWD"), (1 << 6, "NO_PACKET_IN")];

const STATE: [(u32, &str); 3] = [(1 << 0, "LINK_DOWN"), (1 << 1, "BLOCKED"), (1 << 2, "LIVE")];

const FEATURES: [(u32, &str); 16] = [
    (1 << 0, "10MB-HD"),
    (1 << 1, "10MB-FD"),
    (1 << 2, "100MB-HD"),
    (1 << 3, "100MB-FD"),
    (1 << 4, "1GB-HD"),
    (1 << 5, "1GB-FD"),
    (1 << 6, "10GB-FD"),
    (1 << 7, "40GB-FD"),
    (1 << 8, "100GB-FD"),
    (1 << 9, "1TB-FD"),
    (1 << 10, "OTHER"),
    (1 << 11, "COPPER"),
    (1 << 12, "FIBER"),
    (1 << 13, "AUTO_NEG"),
    (1 << 14, "AUTO_PAUSE"),
    (1 << 15, "AUTO_PAUSE_ASYM"),
];

/// A port, as `ovs-ofctl show` prints it: lines that each end with a line feed.
pub fn port(port: &PortDescription) -> String {
    // Bits that OpenFlow 1.3 does not have are not shown.
    let known = |value: u32, names: &[(u32, &'static str)]| {
        bits(value & names.iter().fold(0, |all, (bit, _)| all | bit), names, " ")
    };
    let name: String = port.name.chars().take_while(|c| *c == ' ' || c.is_ascii_graphic()).collect();
    let mut out = format!(
        " {}({name}): addr:{}\n     config:     {}\n     state:      {}\n",
        port.port,
        port.address,
        known(port.config, &CONFIG),
        known(port.state, &STATE)
    );
    for (name, value) in [
        ("current:   ", port.current),
        ("advertised:", port.advertised),
        ("supported: ", port.supported),
        ("peer:      ", port.peer),
    ] {
        if value & 0xffff != 0 {
            out.push_str(&format!("     {name} {}\n", known(value, &FEATURES)));
        }
    }
    out.push_str(&format!(
        "     speed: {} Mbps now, {} Mbps max\n",
        port.current_speed / 1000,
        port.max_speed / 1000
    ));
    out
}

pub(super) fn status(status: &PortStatus, out: &mut String) -> fmt::Result {
    let reason = match status.reason {
        PortReason::Add => "ADD",
        PortReason::Delete => "DEL",
        PortReason::Modify => "MOD",
    };
    write!(out, " {reason}:{}", port(&status.port))
}

pub(super) fn change(change: &PortMod, out: &mut String) -> fmt::Result {
    let known = |value: u32| bits(value & 0x65, &CONFIG, " ");
    let advertise = match change.advertise & 0xffff {
        0 => "UNCHANGED".to_owned(),
        some => bits(some, &FEATURES, " "),
    };
    write!(
        out,
        " port: {}: addr:{}\n     config: {}\n     mask:   {}\n     advertise: {advertise}",
        change.port,
        change.address,
        known(change.config & change.mask),
        known(change.mask)
    )
}

fn counters(all: &[(&str, u64)], out: &mut String) -> fmt::Result {
    let words: Vec<String> = all.iter().map(|(name, count)| format!("{name}={}", Known(*count))).collect();
    writeln!(out, "{}", words.join(", "))
}

pub(super) fn stats(ports: &[PortStats], out: &mut String) -> fmt::Result {
    writeln!(out, " {} ports", ports.len())?;
    for stats in ports {
        let space = if stats.port.0 < 10 { " " } else { "" };
        write!(out, "  port {space}{}: rx ", stats.port)?;
        counters(
            &[
                ("pkts", stats.rx_packets),
                ("bytes", stats.rx_bytes),
                ("drop", stats.rx_dropped),
                ("errs", stats.rx_errors),
                ("frame", stats.rx_frame_err),
                ("over", stats.rx_over_err),
                ("crc", stats.rx_crc_err),
            ],
            out,
        )?;
        out.push_str("           tx ");
        counters(
            &[
                ("pkts", stats.tx_packets),
                ("bytes", stats.tx_bytes),
                ("drop", stats.tx_dropped),
                ("errs", stats.tx_errors),
                ("coll", stats.collisions),
            ],
            out,
        )?;
        if let Some(duration) = stats.duration {
            writeln!(out, "           duration={}", Seconds(duration))?;
        }
    }
    Ok(())
}

pub(super) fn queue_stats(queues: &[QueueStats], out: &mut String) -> fmt::Result {
    writeln!(out, " {} queues", queues.len())?;
    for stats in queues {
        write!(
            out,
            "  port {} queue {}: bytes={}, pkts={}, errors={}, duration=",
            stats.port,
            Queue(stats.queue),
            Known(stats.tx_bytes),
            Known(stats.tx_packets),
            Known(stats.tx_errors)
        )?;
        match stats.duration {
            Some(duration) => writeln!(out, "{}", Seconds(duration))?,
            None => out.push_str("?\n"),
        }
    }
    Ok(())
}

/// Queues in the order of their numbers; each has its port, but Open vSwitch names the one that was asked for.
pub(super) fn queue_configs(port: OfPort, queues: &[QueueConfig], out: &mut String) -> fmt::Result {
    let mut sorted: Vec<&QueueConfig> = queues.iter().collect();
    sorted.sort_by_key(|config| config.queue);
    out.push(' ');
    if !sorted.is_empty() {
        writeln!(out, "port={port}")?;
    }
    for config in sorted {
        write!(out, "queue {}:", config.queue.0)?;
        for (name, rate) in [("min_rate", config.min_rate), ("max_rate", config.max_rate)] {
            match rate {
                Some(rate @ 0..=1000) => write!(out, " {name}:{}.{}%", rate / 10, rate % 10)?,
                Some(u16::MAX) | None => {}
                Some(_) => write!(out, " {name}:(disabled)")?,
            }
        }
        out.push('\n');
    }
    Ok(())
}

pub(super) fn ipfix(stats: &IpfixStats, indent: usize, out: &mut String) -> fmt::Result {
    counters(
        &[
            ("flows", stats.total_flows),
            ("current flows", stats.current_flows),
            ("sampled pkts", stats.packets),
            ("ipv4 ok", stats.ipv4_packets),
            ("ipv6 ok", stats.ipv6_packets),
            ("tx pkts", stats.tx_packets),
        ],
        out,
    )?;
    write!(out, "{:indent$}", "")?;
    counters(
        &[
            ("pkts errs", stats.error_packets),
            ("ipv4 errs", stats.ipv4_error_packets),
            ("ipv6 errs", stats.ipv6_error_packets),
            ("tx errs", stats.tx_errors),
        ],
        out,
    )
}
