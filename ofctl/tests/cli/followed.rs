//! Commands that go on until they are stopped: `monitor`, `snoop`, `watch`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use ofctl::wire::{Hello, Message, Xid};
use serde_json::Value;

use super::live::Ovs;
use super::ofctl;

/// A command that goes on, and its lines.
struct Followed {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Followed {
    fn start(ovs: &Ovs, arguments: &[&str]) -> Followed {
        let mut command = ofctl(arguments);
        command.env("OVS_RUNDIR", ovs.folder()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || stdout.map_while(Result::ok).for_each(|line| drop(send.send(line))));
        Followed { child, lines }
    }

    /// The first line that `wanted` takes something from, while `again` is done every now and then.
    fn find<T>(&self, again: impl Fn(), wanted: impl Fn(&str) -> Option<T>) -> T {
        let mut seen = Vec::new();
        for _ in 0..200 {
            again();
            loop {
                match self.lines.recv_timeout(Duration::from_millis(50)) {
                    Ok(line) => match wanted(&line) {
                        Some(found) => return found,
                        None => seen.push(line),
                    },
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => panic!("it ended after {seen:#?}"),
                }
            }
        }
        panic!("not within ten seconds; it said {seen:#?}")
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn a_flow_monitor_tells_what_was_there_and_what_changes() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.ofctl(&["add-flow", "br0", "table=7,priority=3,tcp,actions=drop"]);
    let followed =
        Followed::start(&ovs, &["monitor", "--json", "br0", "watch:table=7", "watch:table=8,!initial"]);
    let update = |event: &'static str| {
        move |line: &str| {
            let message = json(line);
            let updates = message["updates"].as_array()?;
            updates.iter().find(|update| update["event"] == event).cloned()
        }
    };
    let first = followed.find(|| (), update("added"));
    assert_eq!((&first["table"], &first["priority"]), (&7.into(), &3.into()), "{first}");
    let flow = "table=8,priority=4,udp,actions=output:2";
    let added = followed.find(|| drop(ovs.ofctl(&["add-flow", "br0", flow])), update("added"));
    assert_eq!(
        (&added["table"], &added["apply_actions"]),
        (&8.into(), &serde_json::json!(["output:2"])),
        "{added}"
    );
    ovs.ofctl(&["mod-flows", "br0", "table=8,udp,actions=output:3"]);
    let modified = followed.find(|| (), update("modified"));
    assert_eq!(modified["apply_actions"], serde_json::json!(["output:3"]), "{modified}");
    ovs.ofctl(&["del-flows", "br0", "table=7"]);
    let deleted = followed.find(|| (), update("deleted"));
    assert_eq!((&deleted["table"], &deleted["priority"]), (&7.into(), &3.into()), "{deleted}");
}

#[test]
fn watch_shows_flows_that_come_go_change_and_count() {
    let Some(ovs) = Ovs::start() else { return };
    ovs.ofctl(&["add-flow", "br0", "table=1,priority=1,actions=drop"]);
    let followed = Followed::start(&ovs, &["watch", "--json", "--interval", "0.05", "br0"]);
    let event = |event: &'static str, table: u64| {
        move |line: &str| {
            let change = json(line);
            (change["event"] == event && change["flow"]["table"] == table).then_some(change)
        }
    };
    // The first look may be taken only after the flow is there, so it comes and goes until it is seen.
    let again = || {
        ovs.ofctl(&["del-flows", "br0", "table=0"]);
        ovs.ofctl(&["add-flow", "br0", "table=0,in_port=west,actions=resubmit(,1)"]);
    };
    followed.find(again, event("added", 0));
    let packet = "in_port=west,packet=0102030405060708090a0b0c08004500,actions=TABLE";
    let counted = followed.find(|| drop(ovs.ofctl(&["packet-out", "br0", packet])), event("counted", 1));
    assert!(counted["new_packets"].as_u64().unwrap() > 0, "{counted}");
    ovs.ofctl(&["mod-flows", "br0", "table=1,actions=output:3"]);
    let modified = followed.find(|| (), event("modified", 1));
    assert_eq!(modified["was"]["apply_actions"], serde_json::json!([]), "{modified}");
    ovs.ofctl(&["del-flows", "br0", "table=1"]);
    followed.find(|| (), event("deleted", 1));
    // It ends by itself after so many looks.
    assert_eq!(ovs.ofctl(&["watch", "--interval", "0.01", "--count", "2", "br0", "table=9"]), "");
}

/// A controller that says hello, and asks every now and then whether the switch is there, until it is not.
fn controller(listener: UnixListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut say = |message: &Message| {
                let mut bytes = Vec::new();
                message.encode(Xid(7), &mut bytes).unwrap();
                stream.write_all(&bytes)
            };
            let mut said = say(&Message::Hello(Hello::OPENFLOW_13));
            while said.is_ok() {
                said = say(&Message::EchoRequest(b"snooped".to_vec()));
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
}

#[test]
fn what_a_bridge_and_its_controller_say_is_heard() {
    let Some(ovs) = Ovs::start() else { return };
    let (_, errors, status) = ovs.ours(&["snoop", "br0"], "");
    assert!(status == 1 && errors.contains("has no controller"), "{errors}");
    let socket = ovs.path("controller");
    controller(UnixListener::bind(&socket).unwrap());
    let db = format!("--db=unix:{}", ovs.path("db.sock"));
    ovs.theirs("ovs-vsctl", &[&db, "--timeout=20", "set-controller", "br0", &format!("unix:{socket}")]);
    let heard = || {
        let followed = Followed::start(&ovs, &["snoop", "--json", "br0"]);
        let line = followed.lines.recv_timeout(Duration::from_secs(1)).ok()?;
        Some((line, followed))
    };
    // The controller's connection is there a moment after it has been set.
    let (first, followed) = (0..20).find_map(|_| heard()).expect("something said within twenty seconds");
    assert!(first.contains("\"type\":\"echo_re"), "{first}");
    for kind in ["echo_request", "echo_reply"] {
        let said = |line: &str| (json(line)["type"] == kind).then(|| json(line)["data"].clone());
        assert_eq!(followed.find(|| (), said), "736e6f6f706564", "{kind}");
    }
}

#[test]
fn a_controller_runs_an_application_and_tells_who_is_there() {
    let Some(ovs) = Ovs::start() else { return };
    assert_eq!(ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]), "");
    let followed = Followed::start(&ovs, &["controller", "self-learn", "--json", "ptcp:0:127.0.0.1", "br0"]);
    let event = |wanted: &'static str| move |line: &str| (json(line)["event"] == wanted).then(|| json(line));
    let listening = followed.find(|| (), event("listening"));
    assert!(listening["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{listening}");
    let up = followed.find(|| (), event("up"));
    assert_eq!(up["ports"], 3, "{up}");
    let learns = || ovs.ovs_ofctl(&["dump-flows", "--no-stats", "br0"]).contains("learn(");
    assert!((0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        learns()
    }));
    // Ports that change are told of whatever runs.
    let change = || {
        ovs.ofctl(&["mod-port", "br0", "west", "down"]);
        ovs.ofctl(&["mod-port", "br0", "west", "up"]);
    };
    let status =
        |line: &str| (json(line)["type"] == "port_status").then(|| json(line)["port"]["name"].clone());
    assert_eq!(followed.find(change, status), "west");
}
