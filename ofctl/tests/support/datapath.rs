//! The datapath actions of `ovs-appctl ofproto/trace`, in the words of ovs-dpctl(8): where packets go by them. Also for
//! the tests of other packages of this workspace, which read the same traces.
#![allow(dead_code, reason = "each test needs a part of it")]

use std::net::{IpAddr, Ipv4Addr};

/// Where a packet goes by datapath actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Out of a port of the datapath, by the tunnel that was set before: its key and its other end.
    Output { port: u32, tunnel: Option<(u64, IpAddr)> },
    /// Into a tunnel whose headers are added here: the port that it belongs to, its key and its other end.
    Push { port: u32, key: u64, dst: IpAddr },
    /// To a controller, for this reason.
    Controller(u8),
    /// Round, to be looked up again.
    Round,
}

/// Actions that change the packet only, or let it pass.
const SILENT: [&str; 8] =
    ["drop", "set(", "push_vlan(", "pop_vlan", "trunc(", "push_mpls(", "pop_mpls(", "meter("];

/// What the actions do, in order.
///
/// # Panics
/// At an action that is not known here: the test would pass it over.
pub(crate) fn effects(actions: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    collect(actions, None, &mut effects);
    effects
}

fn collect(actions: &str, mut tunnel: Option<(u64, IpAddr)>, effects: &mut Vec<Effect>) {
    for action in split(actions) {
        if let Some(inner) = action.strip_prefix("clone(") {
            collect(inner.strip_suffix(')').unwrap_or(inner), tunnel, effects);
        } else if let Ok(port) = action.parse() {
            effects.push(Effect::Output { port, tunnel });
        } else if let Some(set) = action.strip_prefix("set(tunnel(") {
            let key = between(set, "tun_id=0x").and_then(|key| u64::from_str_radix(key, 16).ok());
            let dst = between(set, "dst=").and_then(|dst| dst.parse().ok());
            tunnel = Some((key.unwrap_or(0), dst.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))));
        } else if let Some(push) = action.strip_prefix("tnl_push(tnl_port(") {
            let port = push.split(')').next().and_then(|port| port.parse().ok());
            let key = ["vni=0x", "key=0x"].iter().find_map(|name| between(push, name));
            let key = key.and_then(|key| u64::from_str_radix(key, 16).ok());
            let dst = push.split_once("ipv4(").and_then(|(_, outer)| between(outer, "dst="));
            let dst = dst.and_then(|dst| dst.parse().ok());
            let (Some(port), Some(key), Some(dst)) = (port, key, dst) else {
                panic!("the test cannot read {action}")
            };
            effects.push(Effect::Push { port, key, dst });
        } else if let Some(reason) = between(action, "controller(reason=") {
            let reason = reason.parse();
            effects
                .push(Effect::Controller(reason.unwrap_or_else(|_| panic!("the test cannot read {action}"))));
        } else if action.starts_with("recirc(") {
            effects.push(Effect::Round);
        } else {
            assert!(SILENT.iter().any(|known| action.starts_with(known)), "the test does not know {action}");
        }
    }
}

/// Splits at commas outside of parentheses.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// What stands after a name, up to a comma or a parenthesis.
pub(crate) fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(name)?.1.split([',', ')']).next()
}
