//! The client against a server that the test plays, on a unix socket of its own.

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::ovsdb::frame::{Limits, Splitter};
use crate::ovsdb::vswitch::PortSpec;

/// The server's end.
struct Server {
    stream: BufReader<UnixStream>,
    splitter: Splitter,
}

impl Server {
    async fn hear(&mut self) -> Json {
        loop {
            if let Some(message) = self.splitter.next_message().unwrap() {
                return serde_json::from_slice(message).unwrap();
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "the client went away");
            self.splitter.push(&bytes[..count]);
        }
    }

    async fn say(&mut self, message: Json) {
        self.stream.write_all(message.to_string().as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, method: &str, result: Json) -> Json {
        let request = self.hear().await;
        assert_eq!(request["method"], method);
        self.say(json!({"id": request["id"], "result": result, "error": null})).await;
        request
    }
}

const ROOT: &str = "469611c5-95f6-4dd0-ba6f-5b4c9cd5caab";
const BRIDGE: &str = "8dc9fa2c-715a-4cbc-8c9c-4083cb83219f";
const ZERO: &str = "00000000-0000-0000-0000-000000000000";

fn target(folder: &tempfile::TempDir) -> Target {
    Target::Unix(folder.path().join("db.sock"))
}

fn listener(folder: &tempfile::TempDir) -> UnixListener {
    UnixListener::bind(folder.path().join("db.sock")).unwrap()
}

/// Sooner than the first probe of a silent server, which would be taken for a request.
fn within(milliseconds: u64) -> Instant {
    Instant::now() + std::time::Duration::from_millis(milliseconds)
}

/// A client whose replica has the root row and one bridge, and the server that it is connected to.
async fn connected() -> (Client, Server) {
    let folder = tempfile::tempdir().unwrap();
    let listener = listener(&folder);
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut server =
            Server { stream: BufReader::new(stream), splitter: Splitter::new(Limits::default()) };
        let schema: Json = serde_json::from_str(include_str!("../../ovsdb/recorded/schema.json")).unwrap();
        server.answer("get_schema", schema).await;
        let contents = json!({
            "Open_vSwitch": { ROOT: { "initial": { "bridges": ["uuid", BRIDGE], "next_cfg": 7, "cur_cfg": 7 } } },
            "Bridge": { BRIDGE: { "initial": { "name": "br0" } } },
        });
        server.answer("monitor_cond_since", json!([false, ZERO, contents])).await;
        server
    };
    let (client, server) =
        tokio::join!(Client::connect(target(&folder), Options::default(), within(4000)), serve);
    (client.unwrap(), server)
}

fn port(name: &str) -> VswitchTransaction {
    let mut plan = VswitchTransaction::new();
    plan.add_port(PortSpec::new("br0", name));
    plan
}

/// The names of the ports that a recorded transaction inserts.
fn inserted(request: &Json) -> Vec<&str> {
    let operations = request["params"].as_array().unwrap().iter().skip(1);
    let inserts = operations.filter(|operation| operation["op"] == "insert" && operation["table"] == "Port");
    inserts.map(|operation| operation["row"]["name"].as_str().unwrap()).collect()
}

/// The results of a transaction that passes, its last a select of `next_cfg`.
fn passed(request: &Json, next_cfg: i64) -> Json {
    let operations = request["params"].as_array().unwrap().iter().skip(1);
    let results = operations.map(|operation| match operation["op"].as_str().unwrap() {
        "insert" => json!({"uuid": ["uuid", ZERO]}),
        "select" => json!({"rows": [{"next_cfg": next_cfg}]}),
        "mutate" | "update" => json!({"count": 1}),
        _ => json!({}),
    });
    json!({"id": request["id"], "result": results.collect::<Vec<_>>(), "error": null})
}

fn cur_cfg(cur_cfg: i64) -> Json {
    json!({"id": null, "method": "update3", "params":
        [2, ZERO, {"Open_vSwitch": { ROOT: { "modify": { "cur_cfg": cur_cfg, "next_cfg": cur_cfg } } }}]})
}

#[tokio::test]
async fn an_absent_server_is_an_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let error =
        Client::connect(target(&folder), Options::default(), within(4000)).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot connect to ovsdb-server at unix:{}/db.sock: the socket does not exist; is openvswitch-switch \
             running? if its run directory is another one, set ovs-rundir",
            folder.path().display()
        )
    );
    drop(listener(&folder));
    let error =
        Client::connect(target(&folder), Options::default(), within(4000)).await.unwrap_err().to_string();
    assert!(error.ends_with("ovsdb-server has stopped; restart openvswitch-switch"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_meets_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let listener = listener(&folder);
    let error = Client::connect(target(&folder), Options::default(), within(50)).await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
    drop(listener);

    let (client, server) = connected().await;
    let error = client.transact(Transaction::new(), within(50)).await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
    let error =
        client.wait_for("a bridge br9", within(50), |replica| replica.vswitch().bridge("br9").map(drop));
    let error = error.await.unwrap_err().to_string();
    assert!(error.ends_with("did not answer in time: a bridge br9"), "{error}");
    drop(server);
}

#[tokio::test]
async fn whatever_ends_the_connection_is_told_to_all() {
    let row = json!({ BRIDGE: { "delete": null } });
    let unknown = json!({"id": null, "method": "update3", "params": [2, ZERO, { "Port": row }]});
    let cases = [
        (json!("text"), "ovsdb-server at {t} has ended: a message starts with byte 0x22"),
        (json!({"id": 99, "result": 1}), "ovsdb-server at {t} has ended: ovsdb-server answered request 99"),
        (unknown, "ovsdb-server at {t} has ended: ovsdb-server reports a change of row 8dc9fa2c"),
    ];
    for (message, wanted) in cases {
        let (client, mut server) = connected().await;
        let mut changes = client.subscribe();
        let (said, transacted, applied, next, closed) = tokio::join!(
            async {
                server.hear().await;
                server.say(message).await;
            },
            client.transact(Transaction::new(), within(4000)),
            client.apply(port("v0"), within(4000)),
            changes.next(),
            client.closed(),
        );
        let () = said;
        let wanted = format!("the connection to {}", wanted.replace("{t}", &client.target().to_string()));
        for error in [transacted.unwrap_err(), applied.unwrap_err(), next.unwrap_err(), closed] {
            assert!(error.to_string().starts_with(&wanted), "{error}, not {wanted}");
        }
    }
}

fn spawn_port(client: &Client, name: &str) -> tokio::task::JoinHandle<Result<Applied, ClientError>> {
    let (client, plan) = (client.clone(), port(name));
    tokio::spawn(async move { client.apply(plan, within(4000)).await })
}

#[tokio::test]
async fn plans_that_come_meanwhile_go_together() {
    let (client, mut server) = connected().await;
    let mut plans = vec![spawn_port(&client, "v0")];
    let first = server.hear().await;
    assert_eq!(inserted(&first), ["v0"]);
    plans.extend(["v1", "v2", "v3"].map(|name| spawn_port(&client, name)));
    // Another plan for v1 contradicts the one above, so it comes after.
    let removal = {
        let client = client.clone();
        let mut plan = VswitchTransaction::new();
        plan.remove_port("br0", "v1");
        tokio::spawn(async move { client.apply(plan, within(4000)).await })
    };
    // The tasks run, up to where they wait, before this one goes on.
    tokio::task::yield_now().await;
    server.say(passed(&first, 8)).await;
    server.say(cur_cfg(8)).await;
    let second = server.hear().await;
    assert_eq!(inserted(&second), ["v1", "v2", "v3"]);
    server.say(passed(&second, 9)).await;
    server.say(cur_cfg(9)).await;
    for plan in plans {
        plan.await.unwrap().unwrap();
    }
    // The played server did not put v1 into the replica, so there is nothing to remove.
    removal.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_conflict_is_met_by_building_anew() {
    let (client, mut server) = connected().await;
    let serve = async {
        let request = server.hear().await;
        assert_eq!(inserted(&request), ["v0"]);
        let conflict = json!([{"error": "timed out", "details": "\"where\" clause test failed"}, null]);
        server.say(json!({"id": request["id"], "result": conflict, "error": null})).await;
        // The other writer has made the port that this plan wants too.
        let (port, interface) =
            ("c36bbdee-4c8a-4df2-9469-dec332cf8043", "d042ed0a-362c-40ff-9399-83b42841e283");
        server
            .say(json!({"id": null, "method": "update3", "params": [2, ZERO, {
                "Bridge": { BRIDGE: { "modify": { "ports": ["uuid", port] } } },
                "Port": { port: { "insert": { "name": "v0", "interfaces": ["uuid", interface] } } },
                "Interface": { interface: { "insert": { "name": "v0", "ofport": 3 } } },
            }]}))
            .await;
    };
    let (applied, ()) = tokio::join!(client.apply(port("v0"), within(4000)), serve);
    assert_eq!(applied.unwrap().ofport("v0"), Ok(3));
}

/// A caller that went away before its plan was sent has not asked for it.
#[tokio::test]
async fn a_plan_given_up_is_not_done() {
    let (client, mut server) = connected().await;
    let first = spawn_port(&client, "v0");
    let request = server.hear().await;
    let given_up =
        tokio::time::timeout(std::time::Duration::from_millis(20), client.apply(port("v1"), within(4000)));
    assert!(given_up.await.is_err());
    let serve = async {
        server.say(passed(&request, 8)).await;
        server.say(cur_cfg(8)).await;
        let second = server.hear().await;
        server.say(passed(&second, 9)).await;
        server.say(cur_cfg(9)).await;
        second
    };
    let (second, applied) = tokio::join!(serve, client.apply(port("v2"), within(4000)));
    assert_eq!(inserted(&second), ["v2"]);
    applied.unwrap();
    first.await.unwrap().unwrap();
}
