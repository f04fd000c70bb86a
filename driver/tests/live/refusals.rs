//! What is refused, and that a refusal says what is wrong and what to do, and leaves nothing behind.
//!
//! Each module is a table. A row is a title, the words that must be in the answer for the thing (a key with its
//! value, an object, both sides of a disagreement), the words of the remedy, and the attempt itself. Around every
//! row [`Trial`] compares all that the hosts and the store hold: keys of the store, ports and flows of the switch,
//! links, networks and endpoints as `sluice` lists them; and around a table what the agent's ledger holds.
//!
//! Run with `--nocapture`, the tests print each row with the answer that it got.
//!
//! | module | what is tried |
//! |---|---|
//! | [`networks`] | `-o` options one by one and together, what an encapsulation needs, names, VNIs and VLANs of others, second creations that differ in each field, subnets, gateways and auxiliary addresses |
//! | [`addresses`] | pools: options, ranges, PoolIDs, overlaps with other pools and with routes, Docker's endless asking; addresses: outside, reserved, taken here and elsewhere with either IPAM, none left |
//! | [`endpoints`] | MAC addresses, driver options, unknown networks and endpoints, requests without a body, not JSON, without a field or with a wrong one |
//! | [`switch`] | ovsdb-server down, ovs-vswitchd down, a wrong run directory |
//! | [`store`] | etcd down at the start and later, a wrong CA, no client certificate, a stranger's, a wrong password |
//! | [`commands`] | configuration files, flags, sockets in use, one name for two hosts, and the operator's commands |

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice::store::{Ledger, Table};

use crate::lab::{Daemon, Host, Lab, PATIENCE, Plan, Printed, binary, eventually};

mod addresses;
mod commands;
mod endpoints;
mod networks;
mod store;
mod switch;

/// How long what a refusal undoes may take.
const UNDOING: Duration = Duration::from_secs(10);

/// All that hosts and store hold that a refusal could leave behind, by what and where.
type Held = BTreeMap<String, String>;

/// Attempts that must be refused, in one lab.
struct Trial<'l> {
    lab: &'l Lab,
    held: RefCell<Held>,
    tried: Cell<usize>,
    failures: RefCell<Vec<String>>,
}

impl<'l> Trial<'l> {
    /// Takes down what there is, once it has come to rest.
    fn of(lab: &'l Lab) -> Self {
        let mut before = held(lab);
        let held = eventually("the hosts come to rest", PATIENCE, || {
            let now = held(lab);
            if now == before {
                Ok(now)
            } else {
                Err(difference(&std::mem::replace(&mut before, now), &before))
            }
        });
        Self { lab, held: RefCell::new(held), tried: Cell::new(0), failures: RefCell::default() }
    }

    /// Makes an attempt. Its answer must be a refusal on one line, with all the words that name the thing and with
    /// the remedy's, and everything must be as it was.
    fn refused<T>(
        &self,
        title: &str,
        names: &[&str],
        remedy: &str,
        attempt: impl FnOnce() -> Result<T, String>,
    ) {
        self.tried.set(self.tried.get() + 1);
        let failed = |what: String| self.failures.borrow_mut().push(format!("{title}: {what}"));
        let begin = Instant::now();
        match attempt() {
            Ok(_) => failed("it was not refused".to_owned()),
            Err(answer) => {
                println!("{title}: {answer}");
                for words in names.iter().chain([&remedy]).filter(|words| !answer.contains(**words)) {
                    failed(format!("{words:?} is not in {answer:?}"));
                }
                if answer.contains('\n') {
                    failed(format!("several lines: {answer:?}"));
                }
            }
        }
        if begin.elapsed() > Duration::from_secs(15) {
            failed(format!("it took {:.1?}", begin.elapsed()));
        }
        let deadline = Instant::now() + UNDOING;
        let before = self.held.replace(loop {
            let now = held(self.lab);
            if now == *self.held.borrow() || Instant::now() > deadline {
                break now;
            }
        });
        if before != *self.held.borrow() {
            failed(format!("it left something behind: {}", difference(&before, &self.held.borrow())));
        }
    }

    /// A call that must be refused.
    fn call(&self, title: &str, names: &[&str], remedy: &str, host: &Host, method: &str, body: &Value) {
        self.refused(title, names, remedy, || host.engine().call(method, body));
    }

    /// A creation of a network that must be refused.
    fn create(&self, title: &str, names: &[&str], remedy: &str, host: &Host, body: &Value) {
        self.call(title, names, remedy, host, "NetworkDriver.CreateNetwork", body);
    }

    /// Says what went wrong, all at once.
    #[track_caller]
    fn end(self) {
        let (failures, tried) = (self.failures.into_inner(), self.tried.get());
        assert!(tried > 0, "nothing was tried");
        assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
    }
}

/// All that a lab's hosts and store hold.
fn held(lab: &Lab) -> Held {
    let mut held: Held =
        lab.store_dump().into_iter().map(|(key, value)| (format!("store: {key}"), value)).collect();
    for host in lab.hosts() {
        let ovs = host.path("ovs");
        let admin = host.path("sluice.sock");
        // One shell for all: a table has a hundred rows. Flows have counters and a generation that do not matter.
        let script = "for bridge in br-int br-phy; do ovs-vsctl --timeout=5 --db=unix:$1/db.sock list-ports $bridge | \
             sed \"s/^/port $bridge /\"; done; \
             timeout 1 ovs-ofctl -O OpenFlow13 --no-stats dump-flows unix:$1/br-int.mgmt | \
             sed -n 's/^ *cookie=[^,]*, */flow /p'; \
             ip -o link | sed -E 's/^[0-9]+: ([^:@]*).*/link \\1/'; \
             for what in network endpoint; do $0 $what ls --json --admin-socket $2 | sed \"s/^/$what /\"; done";
        let printed = host.exec(["sh", "-c", script, &binary(), &ovs, &admin]).expect("what a host holds");
        for line in printed.lines() {
            // Equal lines, such as the links' of two sandboxes, are counted.
            held.entry(format!("{}: {line}", host.name())).or_default().push('*');
        }
    }
    held
}

fn difference(before: &Held, after: &Held) -> String {
    let lost = before.iter().filter(|(key, value)| after.get(*key) != Some(value)).map(|entry| ("-", entry));
    let new = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|entry| ("+", entry));
    let lines: Vec<String> =
        lost.chain(new).map(|(sign, (key, value))| format!("{sign} {key} {value}")).collect();
    lines.join("\n    ")
}

/// What a host's agent owes Docker: its ledger, which can be read when the agent is stopped.
fn ledger(host: &Host) -> Held {
    let file = host.seen(Path::new(&host.path("sluice/ledger.redb")));
    let ledger = Ledger::open(&file).expect("the ledger of a stopped agent");
    let tables = [Table::Networks, Table::Endpoints, Table::Pools, Table::Leases];
    let rows = tables.into_iter().flat_map(|table| {
        let rows = ledger.load_json::<Value>(table).expect("a table of the ledger");
        rows.into_iter().map(move |(key, mut value)| {
            // An address that was taken and given back leaves its block in another revision.
            if let Some(known) = value.get_mut("known").and_then(Value::as_object_mut) {
                known.remove("revision");
            }
            (format!("{table:?} {key}"), value.to_string())
        })
    });
    rows.collect()
}

/// Runs a table on host 1 with nothing to be found of it afterwards in the ledger either.
#[track_caller]
fn table(lab: &mut Lab, rows: impl FnOnce(&Trial<'_>)) {
    let stopped = |lab: &mut Lab| {
        lab.host_mut(1).stop_agent();
        let ledger = ledger(lab.host(1));
        lab.host_mut(1).start_agent();
        ledger
    };
    let before = stopped(lab);
    let trial = Trial::of(lab);
    rows(&trial);
    trial.end();
    let after = stopped(lab);
    assert!(before == after, "left in the ledger: {}", difference(&before, &after));
}

/// A NetworkID or EndpointID that begins like this.
fn id(begin: &str) -> String {
    format!("{begin:0<64}")
}

/// A pool as CreateNetwork's data has it.
fn pool(space: &str, prefix: &str, gateway: &str, auxiliary: &[(&str, &str)]) -> Value {
    let length = prefix.split_once('/').map_or("32", |(_, length)| length);
    let with_length = |address: &str| format!("{address}/{length}");
    let auxiliary: BTreeMap<&str, String> =
        auxiliary.iter().map(|(name, address)| (*name, with_length(address))).collect();
    let mut pool = json!({"AddressSpace": space, "Pool": prefix});
    if !gateway.is_empty() {
        pool["Gateway"] = json!(with_length(gateway));
    }
    if !auxiliary.is_empty() {
        pool["AuxAddresses"] = json!(auxiliary);
    }
    pool
}

/// A pool that our IPAM gave out.
fn own_pool(prefix: &str, gateway: &str) -> Value {
    pool("sluice-local", prefix, gateway, &[])
}

/// CreateNetwork's body, as dockerd sends it after IPAM.
fn network(begin: &str, options: &[(&str, &str)], pools: &[Value]) -> Value {
    let options: BTreeMap<_, _> = options.iter().copied().collect();
    let of_family = |v6: bool| -> Vec<&Value> {
        pools
            .iter()
            .filter(|pool| pool["Pool"].as_str().is_some_and(|text| text.contains(':') == v6))
            .collect()
    };
    json!({
        "NetworkID": id(begin),
        "Options": {"com.docker.network.enable_ipv6": false, "com.docker.network.generic": options},
        "IPv4Data": of_family(false),
        "IPv6Data": of_family(true),
    })
}

/// CreateEndpoint's body.
fn endpoint(network: &str, begin: &str, v4: &str, mac: &str) -> Value {
    json!({
        "NetworkID": id(network),
        "EndpointID": id(begin),
        "Interface": {"Address": v4, "AddressIPv6": "", "MacAddress": mac},
        "Options": {"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": []},
    })
}

/// What dockerd does for a container with our IPAM: an address, the endpoint, and the address back if that fails.
fn run(host: &Host, pool: &str, asked: &str, body: impl FnOnce(&str) -> Value) -> Result<String, String> {
    let engine = host.engine();
    let request = json!({"PoolID": pool, "Address": asked, "Options": null});
    let reply = engine.call("IpamDriver.RequestAddress", &request)?;
    let address = reply["Address"].as_str().expect("an address").to_owned();
    let created = engine.call("NetworkDriver.CreateEndpoint", &body(&address));
    created.map(|_| address.clone()).inspect_err(|_| {
        let bare = address.split('/').next().expect("a first part");
        let request = json!({"PoolID": pool, "Address": bare});
        engine.call("IpamDriver.ReleaseAddress", &request).expect("the address is taken back");
    })
}

/// A command that must fail with this status: what it says on stderr.
#[track_caller]
fn fails(printed: Printed, status: i32) -> Result<(), String> {
    assert_eq!((printed.code, printed.stdout.as_str()), (Some(status), ""), "{}", printed.stderr);
    Err(printed.stderr)
}

/// An agent on a host that has none, with the embedded store and these arguments beside.
#[track_caller]
fn bare_agent(host: &Host, arguments: &[&str]) -> Daemon {
    agent(host, &host.path("ovs"), arguments)
}

/// The same with a switch elsewhere.
#[track_caller]
fn agent(host: &Host, ovs_rundir: &str, arguments: &[&str]) -> Daemon {
    let mut command = Command::new(binary());
    command
        .args(["agent", "--node", "bare", "--datapath", "netdev", "--docker-socket", "none"])
        .args(["--ovs-rundir", ovs_rundir, "--state-dir", &host.path("sluice")])
        .args(["--admin-socket", &host.path("sluice.sock")])
        .args(arguments);
    let mut agent = host.daemon("agent", command);
    eventually("the agent", PATIENCE, || {
        agent.assert_running();
        host.sluice("status").ok()
    });
    agent
}

/// A lab whose agents know each other.
fn two_hosts() -> Option<Lab> {
    let lab = Plan::hosts(2).start()?;
    for host in lab.hosts() {
        eventually("both nodes are known", PATIENCE, || {
            let listed = host.sluice("node ls --json").ok()?;
            let alive = listed.lines().filter(|line| line.contains("\"alive\":true")).count();
            if alive == 2 { Ok(()) } else { Err(listed) }
        });
    }
    Some(lab)
}
