//! Switches and servers on a wire.

use std::future::Future;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ofctl::MacAddr;
use sluice::linux::{
    Change, Desired, Difference, Form, Kernel, Member, Observed, Remote, Segment, difference,
};
use sluice::model::{LinkName, VlanId, Vni};

use crate::namespace::NetNs;

/// How long a test waits for what should be there at once, on a machine that may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// True if live tests can run; says so where they cannot, or fails where they must.
pub(crate) fn is_live() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var("SLUICE_REQUIRE_LIVE").as_deref() != Ok("1"), "live tests need root");
        println!("skipped: making network namespaces needs root");
    }
    root
}

/// Repeats an attempt until it succeeds; at the deadline, panics with what the last attempt said.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(said) if Instant::now() >= deadline => panic!("{what}: not within {PATIENCE:?}: {said}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

pub(crate) fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

pub(crate) fn vni(number: u32) -> Vni {
    number.try_into().unwrap()
}

pub(crate) fn vlan(number: u32) -> VlanId {
    number.try_into().unwrap()
}

pub(crate) fn port(name: &str) -> Member {
    Member::untagged(link(name))
}

pub(crate) fn tagged(name: &str, tag: u32) -> Member {
    Member::tagged(link(name), vlan(tag))
}

pub(crate) fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// True if this kernel has VLAN links; says what is left out where it has none.
pub(crate) fn has_vlan_links() -> bool {
    let ns = NetNs::new();
    ns.exec(["ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]).expect("a cable");
    let has =
        ns.exec(["ip", "link", "add", "link", "one", "name", "three", "type", "vlan", "id", "2"]).success;
    if !has {
        println!("this kernel has no VLAN links: tagged members are not tested");
    }
    has
}

/// The address family of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// The wire between switches.
pub(crate) struct Wire {
    ns: NetNs,
    family: Family,
}

impl Wire {
    pub(crate) fn new(family: Family) -> Wire {
        let ns = NetNs::new();
        ns.exec(["ip", "link", "add", "wire", "up", "type", "bridge", "mcast_snooping", "0"])
            .expect("a wire");
        Wire { ns, family }
    }

    /// A VTEP's address on the wire.
    pub(crate) fn vtep(&self, number: u8) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::from([192, 0, 2, number]),
            Family::V6 => ip(&format!("2001:db8::{number:x}")),
        }
    }
}

/// A switch: a namespace with an uplink to the wire.
pub(crate) struct Switch {
    pub(crate) ns: NetNs,
    pub(crate) kernel: Kernel,
    pub(crate) vtep: IpAddr,
}

impl Switch {
    pub(crate) fn new(wire: &Wire, number: u8) -> Switch {
        let ns = NetNs::new();
        let end = format!("to{number}");
        pair(&ns, "uplink", &wire.ns, &end);
        // Room for the inner network's 1450 bytes whatever the family of the outer header.
        wire.ns
            .exec(["ip", "link", "set", &end, "master", "wire", "mtu", "1600", "up"])
            .expect("on the wire");
        let vtep = wire.vtep(number);
        let length = if vtep.is_ipv4() { 24 } else { 64 };
        let address = format!("{vtep}/{length}");
        ns.exec(["ip", "address", "add", &address, "dev", "uplink", "nodad"]).expect("an underlay address");
        ns.exec(["ip", "link", "set", "uplink", "mtu", "1600", "up"]).expect("the uplink is up");
        let kernel = open(&ns);
        Switch { ns, kernel, vtep }
    }

    /// A switch with no wire.
    pub(crate) fn alone() -> Switch {
        let ns = NetNs::new();
        let kernel = open(&ns);
        Switch { ns, kernel, vtep: ip("192.0.2.100") }
    }

    /// Runs `ip` with arguments that have no spaces in them.
    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let argv: Vec<&str> = ["ip"].into_iter().chain(arguments.split(' ')).collect();
        self.ns.exec(argv).expect(arguments)
    }

    /// Runs `bridge`.
    #[track_caller]
    pub(crate) fn bridge(&self, arguments: &str) -> String {
        let argv: Vec<&str> = ["bridge"].into_iter().chain(arguments.split(' ')).collect();
        self.ns.exec(argv).expect(arguments)
    }

    pub(crate) fn observe(&self) -> Observed {
        run(self.kernel.observe()).unwrap()
    }

    /// What the operator and the store want of a switch.
    pub(crate) fn desired(&self, networks: impl IntoIterator<Item = (u32, Segment)>) -> Desired {
        let networks = networks.into_iter().map(|(number, segment)| (vni(number), segment)).collect();
        Desired { form: Form::Traditional, vtep: self.vtep, networks }
    }

    /// Makes a switch as desired; the kernel must take everything, and have nothing left to do after it.
    #[track_caller]
    pub(crate) fn settle(&self, desired: &Desired) -> Difference {
        let made = difference(desired, &self.observe());
        let applied = run(self.kernel.apply(made.changes.clone()));
        assert!(applied.failures.is_empty() && applied.left_out == 0, "{:#?}", applied.failures);
        let again = difference(desired, &self.observe());
        assert_eq!(steps(&again), Vec::<String>::new(), "after {:#?}", steps(&made));
        made
    }

    /// A counter of a link, from `ip -s`.
    pub(crate) fn packets(&self, name: &str, way: &str) -> u64 {
        let links: serde_json::Value =
            serde_json::from_str(&self.ip(&format!("-j -s link show {name}"))).unwrap();
        links[0]["stats64"][way]["packets"].as_u64().unwrap()
    }
}

/// Opens the kernel of a namespace, as an agent that starts there does.
pub(crate) fn open(ns: &NetNs) -> Kernel {
    ns.run(|| Kernel::open().unwrap())
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn steps(difference: &Difference) -> Vec<String> {
    difference.changes.iter().map(Change::to_string).collect()
}

/// A network's part on a switch, without anything remote.
pub(crate) fn segment(members: &[Member]) -> Segment {
    Segment { mtu: 1450, members: members.iter().cloned().collect(), ..Segment::default() }
}

/// The same, with what is behind other VTEPs.
pub(crate) fn with_remotes(segment: Segment, remotes: &[(MacAddr, IpAddr)]) -> Segment {
    Segment {
        flood: remotes.iter().map(|(_, vtep)| *vtep).collect(),
        remotes: remotes.iter().map(|(mac, vtep)| (*mac, Remote::new(*vtep))).collect(),
        ..segment
    }
}

/// A bare-metal server: a namespace whose eth0 is at a port.
pub(crate) struct Server {
    pub(crate) ns: NetNs,
    pub(crate) mac: MacAddr,
}

impl Server {
    /// A server with the addresses 10.77.0.`last` and 2001:db8:77::`last`.
    pub(crate) fn at(switch: &Switch, port: &str, last: u8) -> Server {
        let server = Server { ns: NetNs::new(), mac: mac(last) };
        server.plug_in(switch, port);
        server
    }

    /// Puts the server's cable into a port; it must have none in another.
    pub(crate) fn plug_in(&self, switch: &Switch, port: &str) {
        let last = self.mac.0[5];
        pair(&switch.ns, port, &self.ns, "eth0");
        let mac = self.mac.to_string();
        for command in [
            format!("ip link set eth0 address {mac} mtu 1450"),
            format!("ip address add 10.77.0.{last}/24 dev eth0"),
            format!("ip address add 2001:db8:77::{last:x}/64 dev eth0 nodad"),
            "ip link set eth0 up".to_owned(),
        ] {
            self.ns.exec(command.split(' ').collect::<Vec<_>>()).expect(&command);
        }
        switch.ip(&format!("link set {port} up"));
    }

    pub(crate) fn unplug(&self) {
        self.ns.exec(["ip", "link", "del", "eth0"]).expect("unplugged");
    }

    /// Sends a tagged VLAN's frames: eth0.`tag` with the address 10.77.0.`last`.
    pub(crate) fn tag(&self, tag: u16) {
        let last = self.mac.0[5];
        for command in [
            "ip address flush dev eth0 scope global".to_owned(),
            format!("ip link add eth0.{tag} link eth0 type vlan id {tag}"),
            format!("ip address add 10.77.0.{last}/24 dev eth0.{tag}"),
            format!("ip link set eth0.{tag} mtu 1446 up"),
        ] {
            self.ns.exec(command.split(' ').collect::<Vec<_>>()).expect(&command);
        }
    }

    /// True if an address answers one of a few pings.
    pub(crate) fn reaches(&self, address: &str) -> bool {
        self.ns.exec(["ping", "-n", "-c", "5", "-i", "0.2", "-W", "3", address]).stdout.contains("bytes from")
    }

    #[track_caller]
    pub(crate) fn must_reach(&self, address: &str) {
        assert!(self.reaches(address), "{} does not reach {address}", self.mac);
    }

    /// Without IPv6, whose hosts report groups and ask for routers on their own.
    pub(crate) fn speak_only_when_asked(&self) {
        let script = "for link in /proc/sys/net/ipv6/conf/eth0*; do echo 1 >$link/disable_ipv6; done";
        self.ns.exec(["sh", "-c", script]).expect("no IPv6");
    }

    /// Ends all that the server says of itself.
    pub(crate) fn silence(&self) {
        self.speak_only_when_asked();
        self.ns.exec(["ip", "address", "flush", "dev", "eth0"]).expect("no address");
        // Its VLAN links, if there are any, resolve addresses on their own.
        let links: serde_json::Value =
            serde_json::from_str(&self.ns.exec(["ip", "-j", "link"]).expect("links")).unwrap();
        for link in links.as_array().unwrap() {
            let name = link["ifname"].as_str().unwrap();
            if name.starts_with("eth0") {
                self.ns.exec(["ip", "link", "set", name, "arp", "off"]).expect("no ARP");
            }
        }
    }

    /// Says something that every switch on the way learns from.
    pub(crate) fn speak(&self) {
        let argv = ["ping", "-n", "-c", "1", "-W", "1", "10.77.0.250"];
        // Nobody has the address: it is the ARP request that is heard.
        self.ns.exec(argv);
    }
}

fn pair(ns: &NetNs, name: &str, peer_ns: &NetNs, peer: &str) {
    let argv = ["ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", &peer_ns.path()];
    ns.exec(argv).expect("a cable");
}
