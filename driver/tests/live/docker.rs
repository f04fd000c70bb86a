//! The same with real dockerds.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::lab::{Host, Lab, PATIENCE, Plan, eventually};

const BLUE: &str = "network create -d sluice --ipam-driver sluice --ipam-opt network=blue -o network=blue \
                    --subnet 10.5.0.0/16 blue";

fn with_blue(hosts: u8) -> Option<Lab> {
    let lab = Plan::hosts(hosts).docker().start()?;
    for host in lab.hosts() {
        host.docker(BLUE).expect("network create");
    }
    Some(lab)
}

#[track_caller]
fn run(host: &Host, name: &str) -> String {
    host.docker(&format!("run -d --name {name} --network blue busybox sleep 10000")).expect("docker run");
    address(host, name)
}

#[track_caller]
fn address(host: &Host, name: &str) -> String {
    host.docker(&format!("inspect --format {{{{.NetworkSettings.Networks.blue.IPAddress}}}} {name}"))
        .expect("inspect")
}

fn ping(host: &Host, name: &str, to: &str) -> Result<String, String> {
    host.docker(&format!("exec {name} ping -c 1 -W 1 {to}")).ok()
}

#[test]
fn containers_on_two_hosts_and_names_on_one() {
    let Some(lab) = with_blue(2) else { return };
    let (one, two) = (run(lab.host(1), "one"), run(lab.host(2), "two"));
    assert_ne!(one, two);
    eventually("across", PATIENCE, || ping(lab.host(1), "one", &two));
    ping(lab.host(2), "two", &one).expect("and back");
    run(lab.host(1), "three");
    ping(lab.host(1), "three", "one").expect("by name, on one host");
}

/// The first packet that a container ever sends is the test: its only process is one ping.
#[test]
fn a_containers_first_packet_is_answered() {
    let Some(lab) = with_blue(2) else { return };
    let (beside, across) = (run(lab.host(1), "beside"), run(lab.host(2), "across"));
    let mut lost = Vec::new();
    for number in 0..50 {
        for to in [&beside, &across] {
            let said =
                lab.host(1).docker(&format!("run --rm --network blue busybox ping -c 1 -W 1 {to}")).ok();
            if let Err(said) = said {
                lost.push(format!("{number}, to {to}: {said}"));
            }
        }
    }
    println!("{} of 100 containers lost their first packet", lost.len());
    assert!(lost.is_empty(), "{} of 100 lost: {lost:?}", lost.len());
}

#[test]
fn a_published_port_works_and_shows() {
    let Some(lab) = with_blue(1) else { return };
    let host = lab.host(1);
    host.docker("run -d --name web --network blue -p 8080:80 busybox httpd -f -p 80 -h /bin")
        .expect("docker run");
    assert!(host.docker("ps").expect("docker ps").contains("8080->80"), "the port must show in docker ps");
    let outside = lab.stranger("172.31.0.77/24");
    let address: SocketAddr = format!("{}:8080", host.address()).parse().expect("an address");
    let reply = eventually("the published port, from outside", PATIENCE, || {
        outside.run(|| fetch(address, "/busybox")).map_err(|error| error.to_string())
    });
    assert!(reply.starts_with("HTTP/1.0 200") || reply.starts_with("HTTP/1.1 200"), "{reply}");
}

/// The first line of the reply to a GET.
fn fetch(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

#[test]
fn an_internal_network_has_no_way_out() {
    let Some(lab) = Plan::hosts(1).docker().start() else { return };
    let host = lab.host(1);
    host.docker(&format!("{BLUE} --internal")).expect("network create");
    run(host, "one");
    let links = host.docker("exec one ls /sys/class/net").expect("its links");
    assert_eq!(links.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
}

#[test]
fn dockerd_killed_and_back_with_live_restore() {
    let Some(mut lab) = with_blue(2) else { return };
    let (one, two) = (run(lab.host(1), "one"), run(lab.host(2), "two"));
    eventually("across", PATIENCE, || ping(lab.host(2), "two", &one));
    lab.host_mut(1).kill_dockerd();
    ping(lab.host(2), "two", &one).expect("the container goes on without its dockerd");
    lab.host_mut(1).kill_agent();
    lab.host_mut(1).start_agent();
    lab.host_mut(1).start_dockerd();
    ping(lab.host(1), "one", &two).expect("and with a new agent and a new dockerd");
    assert_ne!(run(lab.host(1), "three"), one, "an address was given twice");
    lab.host(1).docker("rm -f one").expect("docker rm");
    assert!(ping(lab.host(2), "two", &one).is_err(), "a removed container still answers");
}

#[test]
fn what_docker_forgot_while_the_agent_was_down_is_collected() {
    let Some(mut lab) = with_blue(1) else { return };
    // Each endpoint has one flow that takes its packets in, untagged; a spare link has none.
    let ports = |lab: &Lab| {
        let flows = lab.host(1).flows("br-int");
        flows.lines().filter(|flow| flow.contains("in_port=") && flow.contains("vlan_tci=0x0000")).count()
    };
    run(lab.host(1), "one");
    run(lab.host(1), "two");
    assert_eq!(ports(&lab), 2);
    lab.host_mut(1).kill_agent();
    // Each of the two calls that Docker makes is tried for 15 s, and then forgotten.
    lab.host(1).docker("rm -f one").expect("docker rm");
    lab.host_mut(1).start_agent();
    eventually("the forgotten endpoint is collected", Duration::from_secs(60), || match ports(&lab) {
        1 => Ok(()),
        ports => Err(format!("{ports} ports")),
    });
    let listed = lab.host(1).sluice("endpoint ls --json").expect("endpoint ls");
    assert_eq!(listed.lines().count(), 1, "{listed}");
}
