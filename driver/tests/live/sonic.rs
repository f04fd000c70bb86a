//! A SONiC switch: the agent writes CONFIG_DB in a real Redis, and what SONiC's daemons would make of it gets the
//! forwarding entries. `vlanmgrd` and `vxlanmgrd` are played by the test, with the commands that they run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::lab::{Daemon, DockerNetwork, Endpoint, Lab, PATIENCE, Plan, WhiteBox, eventually};
use crate::networks::{dual_stack, endpoint, on_every_host};

/// What the switch had before: two ports, and a VLAN of the operator's on one of them.
const FACTORY: [(&str, &str); 5] = [
    ("DEVICE_METADATA|localhost", "hostname sw9"),
    ("PORT|swp1", "admin_status up"),
    ("PORT|swp2", "admin_status up"),
    ("VLAN|Vlan1000", "vlanid 1000"),
    ("VLAN_MEMBER|Vlan1000|swp2", "tagging_mode untagged"),
];

/// What is added for the network `blue`, VNI 1, as VLAN 100 on swp1 with a tag.
const BLUE: [(&str, &str); 6] = [
    ("SUPPRESS_VLAN_NEIGH|Vlan100", "suppress on"),
    ("VLAN_MEMBER|Vlan100|swp1", "tagging_mode tagged"),
    ("VLAN|Vlan100", "vlanid 100"),
    ("VXLAN_EVPN_NVO|sluice", "source_vtep sluice"),
    ("VXLAN_TUNNEL_MAP|sluice|map_1_Vlan100", "vlan Vlan100 vni 1"),
    ("VXLAN_TUNNEL|sluice", "src_ip 172.31.0.9"),
];

type Dump = BTreeMap<String, String>;

fn dump(entries: &[(&str, &str)]) -> Dump {
    entries.iter().map(|(key, fields)| ((*key).to_owned(), (*fields).to_owned())).collect()
}

struct Rack {
    containers: Vec<Endpoint>,
    networks: Vec<DockerNetwork>,
    redis: Option<Daemon>,
    // Before the lab, in whose PID namespace it runs.
    switch: WhiteBox,
    lab: Lab,
}

impl Rack {
    /// A Docker host with a container, and a switch with Redis and without its agent yet.
    fn build() -> Option<Rack> {
        let lab = Plan::hosts(1).start()?;
        let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
        let mut switch = lab.white_box(9);
        let options = format!("--linux-form sonic --sonic-config-db {}", switch.path("redis.sock"));
        switch.set_options(&options);
        let containers = vec![endpoint(&lab, 1, &networks)];
        let mut rack = Rack { containers, networks, redis: None, switch, lab };
        rack.start_redis();
        rack.load(&FACTORY);
        let filtering = if rack.has_vlan_filtering() { " vlan_filtering 1 vlan_default_pvid 0" } else { "" };
        rack.switch.run(&format!("ip link add Bridge up type bridge{filtering}"));
        Some(rack)
    }

    /// An empty Redis, set up as SONiC's is.
    fn start_redis(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket", &self.switch.path("redis.sock"), "--save", ""]).args([
            "--notify-keyspace-events",
            "AKE",
            "--dir",
            &self.switch.path(""),
        ]);
        self.redis = Some(Daemon::start(self.switch.space(), "redis-server", command));
        eventually("Redis", PATIENCE, || match self.cli(&["PING"]) {
            Ok(said) if said == "PONG" => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// What SONiC does at its start: loads its configuration, and says so.
    fn load(&self, entries: &[(&str, &str)]) {
        for (key, fields) in entries {
            self.set(key, fields);
        }
        self.cli(&["SET", "CONFIG_DB_INITIALIZED", "1"]).unwrap();
    }

    fn set(&self, key: &str, fields: &str) {
        let mut argv = vec!["HSET", key];
        argv.extend(fields.split(' '));
        self.cli(&argv).unwrap();
    }

    fn cli(&self, words: &[&str]) -> Result<String, String> {
        let socket = self.switch.path("redis.sock");
        let argv = [&["redis-cli", "-e", "-s", &socket, "-n", "4"], words].concat();
        self.switch.space().exec(argv).ok()
    }

    /// All hashes but the list of what is ours.
    fn config(&self) -> Dump {
        let keys = self.cli(&["KEYS", "*|*"]).unwrap();
        let hash = |key: &str| {
            let fields = self.cli(&["HGETALL", key]).unwrap();
            (key.to_owned(), fields.lines().collect::<Vec<_>>().join(" "))
        };
        keys.lines().filter(|key| *key != "SLUICE|owned").map(hash).collect()
    }

    fn ours(&self) -> BTreeSet<String> {
        self.cli(&["HKEYS", "SLUICE|owned"]).unwrap().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn await_config(&self, what: &str, wanted: &Dump) {
        eventually(what, PATIENCE, || match self.config() {
            config if config == *wanted => Ok(()),
            other => Err(format!("{other:#?}\n{}", self.switch.log_tail())),
        });
    }

    #[track_caller]
    fn await_status(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        eventually(what, PATIENCE, || {
            let status = self.switch.sluice("status").ok()?;
            if wanted(&status) { Ok(()) } else { Err(status) }
        });
    }

    fn attach(&self) {
        self.switch.sluice("port attach swp1 --network blue --vlan 100").expect("attaching");
    }

    fn has_vlan_filtering(&self) -> bool {
        let words = "ip link add probe type bridge vlan_filtering 1";
        let made = self.switch.net().exec(words.split(' ').collect::<Vec<_>>()).success;
        if made {
            self.switch.run("ip link del probe");
        }
        made
    }

    /// One pass of `vxlanmgrd`: a link for each map whose tunnel and VLAN there are, none for others.
    fn vxlanmgrd(&self) {
        let config = self.config();
        let field = |key: &str, field: &str| -> Option<String> {
            let words: Vec<&str> = config.get(key)?.split(' ').collect();
            words.chunks(2).find(|pair| pair[0] == field).map(|pair| pair[1].to_owned())
        };
        let mut wanted = BTreeSet::new();
        for key in config.keys() {
            let Some(name) = key.strip_prefix("VXLAN_TUNNEL_MAP|") else { continue };
            let (tunnel, _) = name.split_once('|').unwrap();
            let vlan = field(key, "vlan").unwrap();
            let source = field(&format!("VXLAN_TUNNEL|{tunnel}"), "src_ip");
            let (Some(source), true) = (source, config.contains_key(&format!("VLAN|{vlan}"))) else {
                continue;
            };
            let (number, vni) = (vlan.strip_prefix("Vlan").unwrap(), field(key, "vni").unwrap());
            let link = format!("{tunnel}-{number}");
            wanted.insert(link.clone());
            if self.switch.net().exec(["ip", "link", "show", &link]).success {
                continue;
            }
            let options = format!("type vxlan id {vni} local {source} nolearning dstport 4789");
            self.switch.run(&format!("ip link add {link} {options}"));
            self.switch.run(&format!("ip link set {link} master Bridge"));
            if self.has_vlan_filtering() {
                self.switch.run(&format!("bridge vlan add vid {number} untagged pvid dev {link}"));
            }
            self.switch.run(&format!("bridge link set dev {link} learning off"));
            self.switch.run(&format!("ip link set {link} up"));
        }
        for link in self.vxlan_links().difference(&wanted) {
            self.switch.run(&format!("ip link del {link}"));
        }
    }

    fn vxlan_links(&self) -> BTreeSet<String> {
        let links = self.switch.run("ip -o link show type vxlan");
        let name = |line: &str| line.split(": ").nth(1).unwrap().to_owned();
        links.lines().map(name).collect()
    }

    /// The flood list has the host, and the container's MAC is known behind it.
    #[track_caller]
    fn await_entries(&self, container: &Endpoint) {
        let mac = container.mac.map(|octet| format!("{octet:02x}")).join(":");
        let mut wanted = vec!["00:00:00:00:00:00 dst 172.31.0.1".to_owned()];
        if self.has_vlan_filtering() {
            wanted.push(format!("{mac} dst 172.31.0.1"));
            wanted.push(format!("{mac} vlan 100"));
        } else {
            println!("this kernel has no VLAN filtering: unicast entries, which name a VLAN, are not tested");
        }
        eventually("the entries of sluice-100", PATIENCE, || {
            let entries = self.switch.run("bridge fdb show dev sluice-100");
            match wanted.iter().find(|part| !entries.contains(*part)) {
                Some(part) => Err(format!("{part}: {entries}\n{}", self.switch.log_tail())),
                None => Ok(()),
            }
        });
    }

    /// How many writes Redis has seen since it started.
    fn writes(&self) -> u64 {
        let info = self.cli(&["INFO", "persistence"]).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        line.unwrap().trim().parse().unwrap()
    }
}

#[test]
fn config_db_gets_what_the_network_needs_and_loses_it_again() {
    let Some(mut rack) = Rack::build() else { return };
    rack.switch.start_agent();
    rack.attach();
    let before = dump(&FACTORY);
    let both: Dump = before.clone().into_iter().chain(dump(&BLUE)).collect();
    rack.await_config("CONFIG_DB has the network", &both);
    assert_eq!(rack.ours(), dump(&BLUE).into_keys().collect());

    // Until vxlanmgrd has made the link, status says what is waited for.
    rack.await_status("the link is waited for", |status| {
        status.contains("CONFIG_DB maps it to Vlan100") && status.contains("vxlanmgrd")
    });
    rack.vxlanmgrd();
    assert_eq!(rack.vxlan_links(), ["sluice-100".to_owned()].into());
    rack.await_entries(&rack.containers[0]);
    rack.await_status("nothing is waited for", |status| !status.contains("vxlanmgrd"));

    // A restarted agent writes nothing.
    let written = rack.writes();
    rack.switch.kill_agent();
    rack.switch.start_agent();
    rack.await_status("the new agent has seen CONFIG_DB", |status| status.contains("linux ok"));
    eventually("it is connected", PATIENCE, || match rack.switch.log_tail() {
        log if log.contains("connected to CONFIG_DB") => Ok(()),
        log => Err(log),
    });
    // What somebody removes is written again: with the one map that is missing it shows that it is at work.
    rack.cli(&["DEL", "VXLAN_TUNNEL_MAP|sluice|map_1_Vlan100"]).unwrap();
    rack.await_config("the map is written again", &both);
    // The removal, the map's two fields, and its field of the list: Redis counts all that is set.
    assert_eq!(rack.writes() - written, 1 + 2 + 1, "{}", rack.switch.log_tail());

    // Without Redis all goes on, and status says so.
    rack.redis = None;
    rack.await_status("Redis is missed", |status| {
        status.contains("CONFIG_DB at") && status.contains("--sonic-config-db")
    });
    let newcomer = endpoint(&rack.lab, 1, &rack.networks);
    rack.await_entries(&newcomer);
    rack.start_redis();
    rack.await_status("SONiC is waited for", |status| status.contains("CONFIG_DB_INITIALIZED is not 1"));
    assert_eq!(rack.config(), Dump::new(), "nothing is written before SONiC has loaded its own");
    rack.load(&FACTORY);
    rack.await_config("CONFIG_DB has the network again", &both);
    rack.await_status("Redis is back", |status| !status.contains("CONFIG_DB"));

    // Detached, nothing is left of it, and what is SONiC's removes its link.
    rack.switch.sluice("port detach swp1 --vlan 100").expect("detaching");
    rack.await_config("CONFIG_DB is as it was", &before);
    assert_eq!(rack.ours(), BTreeSet::new());
    rack.vxlanmgrd();
    assert_eq!(rack.vxlan_links(), BTreeSet::new());
    rack.containers.push(newcomer);
}

#[test]
fn what_is_the_operators_is_refused_or_used_and_never_changed() {
    let Some(mut rack) = Rack::build() else { return };
    let his = [("VXLAN_TUNNEL|vtep1", "src_ip 10.9.9.9"), ("VLAN|Vlan100", "vlanid 100 description servers")];
    his.iter().for_each(|(key, fields)| rack.set(key, fields));
    let before = rack.config();
    rack.switch.start_agent();
    rack.attach();
    rack.await_status("his tunnel is in the way", |status| {
        status.contains("VXLAN_TUNNEL|vtep1 ends at 10.9.9.9") && status.contains("config vxlan del vtep1")
    });
    assert_eq!(rack.config(), before);
    assert_eq!(rack.ours(), BTreeSet::new());

    // He corrects its address: it serves, under his name, and so does his VLAN.
    rack.set("VXLAN_TUNNEL|vtep1", "src_ip 172.31.0.9");
    let ours = [
        ("SUPPRESS_VLAN_NEIGH|Vlan100", "suppress on"),
        ("VLAN_MEMBER|Vlan100|swp1", "tagging_mode tagged"),
        ("VXLAN_EVPN_NVO|sluice", "source_vtep vtep1"),
        ("VXLAN_TUNNEL_MAP|vtep1|map_1_Vlan100", "vlan Vlan100 vni 1"),
    ];
    let mut his = before;
    his.insert("VXLAN_TUNNEL|vtep1".to_owned(), "src_ip 172.31.0.9".to_owned());
    let both: Dump = his.clone().into_iter().chain(dump(&ours)).collect();
    rack.await_config("his tunnel is used", &both);
    rack.vxlanmgrd();
    assert_eq!(rack.vxlan_links(), ["vtep1-100".to_owned()].into());
    eventually("the entries of vtep1-100", PATIENCE, || {
        let entries = rack.switch.run("bridge fdb show dev vtep1-100");
        if entries.contains("00:00:00:00:00:00 dst 172.31.0.1") { Ok(()) } else { Err(entries) }
    });

    // A port that is his untagged elsewhere is refused, and the rest stays.
    rack.switch.sluice("port attach swp2 --network blue").expect("attaching");
    rack.await_status("his untagged port is refused", |status| {
        status.contains("VLAN_MEMBER|Vlan1000|swp2") && status.contains("config vlan member del")
    });
    assert_eq!(rack.config(), both);
    for port in ["swp1 --vlan 100", "swp2"] {
        rack.switch.sluice(&format!("port detach {port}")).expect("detaching");
    }
    rack.await_config("all that is left is his", &his);
}
