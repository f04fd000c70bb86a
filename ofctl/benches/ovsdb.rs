//! What a switch with 1,000 interfaces costs: reading its first copy, a change of each row, a plan of 100 ports.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ofctl::ovsdb::session::{Config, MonitorTable, Session};
use ofctl::ovsdb::vswitch::{PortSpec, VswitchTransaction};
use ofctl::ovsdb::{Event, Replica, Schema, Uuid};

const INTERFACES: usize = 1000;

fn uuid(kind: u8, number: usize) -> Uuid {
    let mut octets = [kind; 16];
    octets[8..].copy_from_slice(&(number as u64).to_be_bytes());
    Uuid(octets)
}

fn schema() -> Arc<Schema> {
    let text = include_str!("../src/ovsdb/recorded/schema.json");
    Arc::new(serde_json::from_str(text).expect("the recorded schema is one"))
}

/// One row update of each interface, as ovsdb-server writes them.
fn update(kind: &str, columns: impl Fn(usize) -> String) -> String {
    let rows: Vec<String> = (0..INTERFACES)
        .map(|number| format!("\"{}\":{{\"{kind}\":{{{}}}}}", uuid(1, number), columns(number)))
        .collect();
    format!("{{\"id\":null,\"method\":\"update2\",\"params\":[1,{{\"Interface\":{{{}}}}}]}}", rows.join(","))
}

fn inserted() -> String {
    update("insert", |number| {
        format!(
            "\"name\":\"veth{number}\",\"ofport\":{},\"mtu\":1450,\"link_state\":\"up\",\"admin_state\":\"up\",\
             \"ifindex\":{number},\"mac_in_use\":\"02:00:00:00:00:01\",\"external_ids\":[\"map\",[[\"endpoint\",\
             \"{number:064x}\"],[\"network\",\"blue\"],[\"owner\",\"node1\"]]],\"options\":[\"map\",[]]",
            number + 1
        )
    })
}

/// A session whose monitor 1 is running.
fn monitored() -> Session {
    let mut session = Session::new(Instant::now(), Config::default());
    session.monitor("Open_vSwitch", vec![MonitorTable::new("Interface", &["name"])], Uuid::ZERO);
    let answer = format!("{{\"id\":1,\"result\":[false,\"{}\",{{}}],\"error\":null}}", Uuid::ZERO);
    session.receive(Instant::now(), answer.as_bytes()).expect("a valid answer");
    session.poll_event();
    session
}

fn apply(session: &mut Session, replica: &mut Replica, message: &str) -> usize {
    // As a socket gives it.
    for piece in message.as_bytes().chunks(64 << 10) {
        session.receive(Instant::now(), piece).expect("a valid update");
    }
    match session.poll_event() {
        Some(Event::Updated { last_transaction, updates, .. }) => {
            replica.apply(last_transaction, updates).expect("it fits").len()
        }
        other => panic!("not an update: {other:?}"),
    }
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update2 of 1,000 interfaces");
    let (inserted, schema) = (inserted(), schema());
    let modified = |mtu: u32| update("modify", |_| format!("\"mtu\":{mtu},\"link_state\":\"down\""));
    group.throughput(Throughput::Bytes(inserted.len() as u64));
    group.bench_function("insert", |bencher| {
        let mut session = monitored();
        bencher.iter(|| {
            let mut replica = Replica::new(schema.clone());
            assert_eq!(apply(&mut session, &mut replica, black_box(&inserted)), INTERFACES);
            replica
        });
    });
    let messages = [modified(1400), modified(1500)];
    group.throughput(Throughput::Bytes(messages[0].len() as u64));
    group.bench_function("modify", |bencher| {
        let (mut session, mut replica) = (monitored(), Replica::new(schema.clone()));
        apply(&mut session, &mut replica, &inserted);
        let mut messages = messages.iter().cycle();
        bencher.iter(|| {
            let message = messages.next().expect("a cycle does not end");
            assert_eq!(apply(&mut session, &mut replica, black_box(message)), INTERFACES);
        });
    });
    group.finish();
}

fn plan(criterion: &mut Criterion) {
    let rows = |kind: u8, row: &dyn Fn(usize) -> serde_json::Value| {
        (0..INTERFACES)
            .map(|number| (uuid(kind, number).to_string(), serde_json::json!({ "initial": row(number) })))
            .collect::<BTreeMap<_, _>>()
    };
    let ports: Vec<_> = (0..INTERFACES).map(|number| serde_json::json!(["uuid", uuid(2, number)])).collect();
    let contents = serde_json::json!({
        "Open_vSwitch": { uuid(4, 0).to_string(): { "initial": { "bridges": ["uuid", uuid(3, 0)] } } },
        "Bridge": { uuid(3, 0).to_string(): { "initial": { "name": "br0", "ports": ["set", ports] } } },
        "Port": rows(2, &|number| serde_json::json!({
            "name": format!("veth{number}"), "interfaces": ["uuid", uuid(1, number)] })),
        "Interface": rows(1, &|number| serde_json::json!({ "name": format!("veth{number}"), "ofport": number + 1 })),
    });
    let mut replica = Replica::new(schema());
    let updates = serde_json::from_value(contents).expect("valid contents");
    replica.apply_initial(false, Uuid::ZERO, updates).expect("it fits");
    let mut plan = VswitchTransaction::new();
    for number in 0..100 {
        plan.add_port(PortSpec::new("br0", format!("new{number}")).external_id("owner", "node1"));
    }
    criterion.bench_function("plan of 100 ports beside 1,000", |bencher| {
        bencher.iter(|| plan.build(black_box(&replica)).expect("it fits").operations().len());
    });
}

criterion_group!(benches, parse, plan);
criterion_main!(benches);
