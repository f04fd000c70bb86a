//! The ports of a switch, and bare-metal servers on them.

use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::namespace::NetNs;
use super::packet::mac;

/// The switch's ports.
pub(super) const PORTS: [&str; 2] = ["swp1", "swp2"];

/// A server with one cable.
#[derive(Debug)]
pub struct Server {
    /// What it can do on the network.
    pub endpoint: Endpoint,
    cable: String,
}

/// Where the cables of a switch's ports end.
#[derive(Debug)]
pub struct Panel(NetNs);

impl Panel {
    /// Gives a switch its ports, with nothing behind them.
    pub(super) fn new(switch: &NetNs) -> Panel {
        let panel = NetNs::new();
        for port in PORTS {
            let far = format!("to-{port}");
            let add = ["link", "add", port, "type", "veth", "peer", "name", &far, "netns", &panel.path()];
            switch.exec([&["ip"][..], &add].concat()).expect("a port");
        }
        Panel(panel)
    }

    /// A server with these last bytes of its addresses, on one of the ports.
    #[track_caller]
    pub fn server(&self, number: u8, port: &str, mtu: u16) -> Server {
        let ns = NetNs::new();
        let cable = format!("srv{number}");
        let (v4, v6) = (format!("10.5.200.{number}/16"), format!("fd00:5::c8{number:02x}/64"));
        let address = format!("00:1b:21:00:00:{number:02x}");
        let add = ["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "address", &address];
        self.0.exec([&["ip"][..], &add, &["netns", &ns.path()]].concat()).expect("a cable");
        ns.exec(["ethtool", "-K", "eth0", "tx", "off"]).expect("offload off");
        ns.exec(["ip", "link", "set", "eth0", "mtu", &mtu.to_string(), "up"]).expect("link up");
        ns.exec(["ip", "address", "add", &v4, "dev", "eth0"]).expect("its IPv4 address");
        ns.exec(["ip", "-6", "address", "add", &v6, "dev", "eth0", "nodad"]).expect("its IPv6 address");
        let nothing = String::new();
        let endpoint = Endpoint::new(
            ns,
            nothing.clone(),
            nothing,
            cable.clone(),
            mac(&address),
            &v4,
            &v6,
            Duration::ZERO,
        );
        let server = Server { endpoint, cable };
        self.0.exec(["ip", "link", "set", &server.cable, "up"]).expect("link up");
        self.plug(&server, port);
        server
    }

    /// Puts a server's cable into a port, and tells when the port was about to get its carrier.
    #[track_caller]
    pub fn plug(&self, server: &Server, port: &str) -> Instant {
        let (patch, far) = (format!("patch-{port}"), format!("to-{port}"));
        // A wire with nothing in it that learns: two ports of a bridge that floods.
        let lines = [
            vec!["ip", "link", "add", &patch, "type", "bridge", "ageing_time", "0", "mcast_snooping", "0"],
            vec!["ip", "link", "set", &patch, "up"],
            vec!["ip", "link", "set", &far, "master", &patch],
            vec!["ip", "link", "set", &server.cable, "master", &patch],
        ];
        for line in lines {
            self.0.exec(line).expect("a cable in a port");
        }
        let plugged = Instant::now();
        self.0.exec(["ip", "link", "set", &far, "up"]).expect("a carrier");
        plugged
    }

    /// Takes a server's cable out of a port, which loses its carrier.
    #[track_caller]
    pub fn unplug(&self, server: &Server, port: &str) {
        for line in [
            vec!["ip", "link", "set", &format!("to-{port}"), "down"],
            vec!["ip", "link", "set", &server.cable, "nomaster"],
            vec!["ip", "link", "del", &format!("patch-{port}")],
        ] {
            self.0.exec(line).expect("a cable out of a port");
        }
    }
    /// Carries a server's cable, which is in no port, to another switch.
    #[track_caller]
    pub fn hand_over(&self, server: &Server, to: &Panel) {
        self.0.exec(["ip", "link", "set", &server.cable, "netns", &to.0.path()]).expect("the cable's end");
        to.0.exec(["ip", "link", "set", &server.cable, "up"]).expect("link up");
    }
}
