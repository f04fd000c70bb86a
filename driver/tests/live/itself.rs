//! The lab itself: what the other tests stand on.

use std::fs;
use std::net::IpAddr;

use crate::lab::{Lab, NetNs, Plan};
use crate::networks::{converse, reaches_members_only};

fn count_in(directory: &str, name: &str) -> usize {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().contains(name)).count()
}

#[test]
fn hosts_reach_each_other_on_the_wire_and_a_capture_sees_it() {
    let Some(lab) = Plan::hosts(2).without_agents().start() else { return };
    let cable = lab.cable(1);
    lab.host(1).exec(["ping", "-c", "2", "-i", "0.1", "-W", "2", &lab.host(2).address()]).expect("ping");
    let frames = cable.pending();
    assert!(frames.iter().any(|frame| frame.ethertype() == 0x0800), "no IPv4 frame among {}", frames.len());
    assert!(frames.iter().any(|frame| frame.is_neighbour_traffic()), "the underlay's own ARP is on the wire");
}

#[test]
fn traffic_crosses_a_plain_switch() {
    let Some(lab) = Plan::hosts(2).without_agents().start() else { return };
    let (one, beside, across) = (lab.host(1).plug(11), lab.host(1).plug(12), lab.host(2).plug(13));
    converse(&one, &beside);
    converse(&one, &across);
    reaches_members_only(&one, &[&beside, &across], &[]);
}

#[test]
#[should_panic(expected = "heard outside the network")]
fn a_leak_is_seen() {
    let Some(lab) = Plan::hosts(2).without_agents().start() else {
        // Skipped, which must look like the panic that is expected.
        panic!("not run, so not heard outside the network");
    };
    let (one, beside, across) = (lab.host(1).plug(11), lab.host(1).plug(12), lab.host(2).plug(13));
    reaches_members_only(&one, &[&beside], &[&across]);
}

#[test]
fn a_stranger_is_on_the_wire() {
    let Some(lab) = Plan::hosts(1).without_agents().start() else { return };
    let stranger: NetNs = lab.stranger("172.31.0.77/24");
    stranger.exec(["ping", "-c", "1", "-W", "2", &lab.host(1).address()]).expect("ping");
}

#[test]
fn two_labs_run_at_once_and_leave_nothing() {
    let Some(first) = Plan::hosts(1).docker().without_agents().start() else { return };
    let Some(second) = Plan::hosts(1).docker().without_agents().start() else { return };
    let run = |lab: &Lab, words: &str| lab.host(1).docker(words).expect(words);
    for lab in [&first, &second] {
        run(lab, "run -d --name same busybox sleep 1000");
        let address: IpAddr =
            run(lab, "inspect --format {{.NetworkSettings.IPAddress}} same").parse().expect("an address");
        lab.host(1)
            .exec(["ping", "-c", "1", "-W", "2", &address.to_string()])
            .expect("the container answers");
    }
    let names = [first.name().to_owned(), second.name().to_owned()];
    let pids = [first.host(1).pids(), second.host(1).pids()].concat();
    assert!(pids.len() >= 6, "{pids:?}");
    drop((first, second));
    for pid in pids {
        assert!(
            !fs::exists(format!("/proc/{pid}")).expect("/proc can be read"),
            "process {pid} is still there"
        );
    }
    for name in names {
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
            assert!(
                !hierarchy.path().join(&name).exists(),
                "{name} is left in {}",
                hierarchy.path().display()
            );
        }
        let temporary = std::env::temp_dir();
        assert_eq!(
            count_in(&temporary.to_string_lossy(), &name.replace("lab-", "lab.")),
            0,
            "{name} is left"
        );
    }
}
