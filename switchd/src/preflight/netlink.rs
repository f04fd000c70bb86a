//! What the kernel's networking can do, tried in a network namespace that ends with the try.

use std::collections::BTreeMap;
use std::io;
use std::thread;

use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::rtnl::{
    Attributes, IFLA_BR_VLAN_FILTERING, IFLA_BRPORT_NEIGH_SUPPRESS, IFLA_INFO_DATA, IFLA_INFO_SLAVE_DATA,
    IFLA_VXLAN_ID, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT, NTF_EXT_LEARNED, Rtnl,
};
use super::{Check, Finding, Needs, Place};

/// VXLAN's port (RFC 7348 §5).
const VXLAN_PORT: u16 = 4789;

/// Each feature, what it is needed for, and how the `linux` dataplane does without.
const FEATURES: [(&str, Option<&str>, &str); 5] = [
    ("bridge", None, "load the module bridge, or use a kernel with CONFIG_BRIDGE"),
    ("vxlan", None, "load the module vxlan, or use a kernel with CONFIG_VXLAN"),
    (
        "vlan_filtering",
        Some("one bridge for each network instead of one for all"),
        "use a kernel with CONFIG_BRIDGE_VLAN_FILTERING for VLAN-aware bridges",
    ),
    (
        "neigh_suppress",
        Some("ARP and neighbour discovery are flooded to all switches and hosts"),
        "use Linux 4.15 or later to answer them here",
    ),
    (
        "extern_learn",
        Some("a host that moves behind a port of this switch is found only when the agent has noticed"),
        "use Linux 4.19 or later",
    ),
];

/// The kernel's networking.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Netlink {
    /// Each feature that was tried, with the kernel's reason when it does not work.
    pub tried: BTreeMap<String, Option<String>>,
    /// Why nothing could be tried.
    pub error: Option<String>,
    /// Who has the UDP port of VXLAN: nobody, the kernel (inode 0) or a process (the socket's inode).
    pub vxlan_port: Option<u64>,
}

/// Tries everything on a thread of its own, with whose end the namespace and what is in it are gone.
fn scratch() -> Result<BTreeMap<String, Option<String>>, String> {
    let tries = thread::spawn(|| {
        // SAFETY: this thread shares no more than the network namespace with others afterwards than it did before,
        // and only this function runs on it.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|error| format!("making a network namespace: {}", io::Error::from(error)))?;
        let mut rtnl = Rtnl::open().map_err(|error| format!("opening a netlink socket: {error}"))?;
        Ok(attempt(&mut rtnl))
    });
    tries.join().unwrap_or_else(|_| Err("trying them ended early".to_owned()))
}

/// Kernels ignore attributes that they do not know, so each is read back.
fn kept(read: io::Result<Option<Vec<u8>>>, wanted: &[u8]) -> io::Result<()> {
    match read? {
        Some(value) if value == wanted => Ok(()),
        _ => Err(io::Error::other("the kernel takes it and forgets it")),
    }
}

fn attempt(rtnl: &mut Rtnl) -> BTreeMap<String, Option<String>> {
    let mut tried = BTreeMap::new();
    let mut note = |feature: &str, result: &io::Result<()>| {
        tried.insert(feature.to_owned(), result.as_ref().err().map(ToString::to_string));
    };
    let without = |what| Err(io::Error::other(format!("not tried without {what}")));

    let bridge = rtnl.add("slbr0", "bridge", Attributes::default());
    note("bridge", &bridge.as_ref().map(drop).map_err(copy));
    let port = VXLAN_PORT.to_be_bytes();
    let data = Attributes::default()
        .with(IFLA_VXLAN_ID, &1_u32.to_ne_bytes())
        .with(IFLA_VXLAN_LEARNING, &[0])
        .with(IFLA_VXLAN_PORT, &port);
    let vxlan = rtnl.add("slvx0", "vxlan", data);
    note(
        "vxlan",
        &match &vxlan {
            Ok(index) => kept(rtnl.read(*index, IFLA_INFO_DATA, IFLA_VXLAN_PORT), &port),
            Err(error) => Err(copy(error)),
        },
    );

    note(
        "vlan_filtering",
        &match &bridge {
            Ok(bridge) => rtnl
                .set(*bridge, IFLA_INFO_DATA, IFLA_BR_VLAN_FILTERING, 1)
                .and_then(|()| kept(rtnl.read(*bridge, IFLA_INFO_DATA, IFLA_BR_VLAN_FILTERING), &[1])),
            Err(_) => without("a bridge"),
        },
    );
    note(
        "neigh_suppress",
        &match (&bridge, &vxlan) {
            (Ok(bridge), Ok(vxlan)) => rtnl
                .join(*vxlan, *bridge)
                .and_then(|()| rtnl.set(*vxlan, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_NEIGH_SUPPRESS, 1))
                .and_then(|()| {
                    kept(rtnl.read(*vxlan, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_NEIGH_SUPPRESS), &[1])
                }),
            _ => without("a bridge and a VXLAN link"),
        },
    );
    let mac = [2, 0, 0, 0, 0, 1];
    note(
        "extern_learn",
        &match &vxlan {
            // RFC 5737's addresses are nobody's.
            Ok(vxlan) => rtnl.forward(*vxlan, mac, [192, 0, 2, 1], NTF_EXT_LEARNED).and_then(|()| {
                let flags = rtnl.forwarded(*vxlan, mac).map(|flags| flags.map(|f| vec![f & NTF_EXT_LEARNED]));
                kept(flags, &[NTF_EXT_LEARNED])
            }),
            Err(_) => without("a VXLAN link"),
        },
    );
    tried
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// The inode of the socket that has a UDP port, by /proc/net/udp: the kernel's own sockets have none.
fn udp(text: &str, port: u16) -> Option<u64> {
    let sockets = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        (u16::from_str_radix(local, 16) == Ok(port)).then(|| fields.get(9)?.parse().ok()).flatten()
    });
    sockets.max()
}

impl Check for Netlink {
    fn gather(place: &Place, _: &Needs) -> Self {
        let (tried, error) = match scratch() {
            Ok(tried) => (tried, None),
            Err(error) => (BTreeMap::new(), Some(error)),
        };
        let sockets = ["/proc/net/udp", "/proc/net/udp6"].map(|path| udp(&place.read(path), VXLAN_PORT));
        Self { tried, error, vxlan_port: sockets.into_iter().flatten().max() }
    }

    fn judge(&self, needs: &Needs) -> Vec<Finding> {
        if !needs.any() && !needs.dataplane {
            return vec![Finding::ok("network", "the bundle programs none")];
        }
        let mut findings = Vec::new();
        if self.tried.is_empty() {
            let error = self.error.as_deref().unwrap_or("nothing was tried");
            findings.push(Finding::degraded(
                "network",
                format!("what the kernel can is not known: {error}"),
                "run preflight as root, on a kernel with CONFIG_NET_NS",
            ));
            return findings;
        }
        for (feature, without, remedy) in FEATURES {
            findings.push(match (self.tried.get(feature), without) {
                (Some(None), _) => Finding::ok(feature, "works in a scratch namespace"),
                (tried, without) => {
                    let reason = tried.and_then(Option::as_deref).unwrap_or("not tried");
                    match without {
                        Some(without) => Finding::degraded(feature, format!("{reason}: {without}"), remedy),
                        None if needs.dataplane => Finding::fail(feature, reason, remedy),
                        None => Finding::degraded(feature, format!("{reason}: no networks here"), remedy),
                    }
                }
            });
        }
        findings.push(match self.vxlan_port {
            None => Finding::ok("VXLAN port", format!("UDP port {VXLAN_PORT} is free")),
            Some(0) => Finding::ok("VXLAN port", format!("UDP port {VXLAN_PORT} is the kernel's own")),
            Some(inode) => Finding::degraded(
                "VXLAN port",
                format!("a process has UDP port {VXLAN_PORT} (socket {inode}), so the kernel cannot"),
                "see who with `ss -ulpn`, for instance a userspace Open vSwitch; end it or choose another port",
            ),
        });
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_the_kernels_or_a_processs() {
        let head = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
        let line = |port: &str, inode: &str| {
            format!(
                " 3043: 00000000:{port} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0 0\n"
            )
        };
        assert_eq!(udp(head, 4789), None);
        assert_eq!(udp(&format!("{head}{}", line("12B5", "0")), 4789), Some(0));
        assert_eq!(udp(&format!("{head}{}{}", line("12B5", "4711"), line("0035", "1")), 4789), Some(4711));
    }
}
