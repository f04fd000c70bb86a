//! Many endpoints at once, and two hosts at one pool.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{Attach, Endpoint, PATIENCE, Plan, eventually};
use crate::networks::{dual_stack, endpoint, on_every_host};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn three_hundred_endpoints_by_sixteen_callers() {
    const ENDPOINTS: usize = 300;
    let Some(lab) = Plan::hosts(1).start() else { return };
    let networks = on_every_host(&lab, &dual_stack("blue", "vxlan"));
    let next = AtomicUsize::new(0);
    let made: Mutex<Vec<Endpoint>> = Mutex::new(Vec::new());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < ENDPOINTS {
                    let endpoint = endpoint(&lab, 1, &networks);
                    made.lock().expect("no caller panicked").push(endpoint);
                }
            });
        }
    });
    let took = begin.elapsed();
    let made = made.into_inner().expect("no caller panicked");
    assert_eq!(made.len(), ENDPOINTS);
    let addresses: HashSet<_> = made.iter().flat_map(Endpoint::addresses).collect();
    assert_eq!(addresses.len(), 2 * ENDPOINTS, "an address was given twice");
    let edge = |endpoints: &[Endpoint]| median(endpoints.iter().map(|endpoint| endpoint.took).collect());
    println!(
        "{ENDPOINTS} endpoints by 16 callers in {took:.2?} ({:.0}/s, sandboxes included); CreateEndpoint + Join, median: \
         first 30 {:.1?}, last 30 {:.1?}; agent {} KiB",
        ENDPOINTS as f64 / took.as_secs_f64(),
        edge(&made[..30]),
        edge(&made[ENDPOINTS - 30..]),
        lab.host(1).agent_memory(),
    );
    made[0].ping(made[ENDPOINTS - 1].v4().into(), 3).expect("the first reaches the last");
    made[ENDPOINTS - 1].ping(made[150].v6().into(), 3).expect("the last reaches one between");
    for endpoint in made {
        lab.host(1).engine().detach(&networks[0], endpoint).expect("detaching");
    }
    eventually("ports and flows are gone", PATIENCE, || {
        let ports = lab.host(1).vsctl("list-ports br-int");
        let flows = lab.host(1).flows("br-int").lines().count();
        if ports.contains("slh-") || flows > 100 {
            Err(format!("{flows} flows, ports {ports}"))
        } else {
            Ok(())
        }
    });
}

#[test]
fn two_hosts_at_one_small_pool_share_it_exactly() {
    let Some(lab) = Plan::hosts(2).start() else { return };
    let spec = crate::lab::NetworkSpec::cluster("small", "vxlan", Some("10.9.0.0/26"), None);
    let networks = on_every_host(&lab, &spec);
    let taken: Mutex<Vec<Endpoint>> = Mutex::new(Vec::new());
    let refusals: Mutex<Vec<String>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in [1, 2, 1, 2] {
            let (lab, networks, taken, refusals) = (&lab, &networks, &taken, &refusals);
            scope.spawn(move || {
                loop {
                    match lab.host(n).engine().attach(&networks[n - 1], &Attach::default()) {
                        Ok(endpoint) => taken.lock().expect("no panic").push(endpoint),
                        Err(refusal) => break refusals.lock().expect("no panic").push(refusal),
                    }
                }
            });
        }
    });
    let (taken, refusals) = (taken.into_inner().expect("no panic"), refusals.into_inner().expect("no panic"));
    let addresses: HashSet<_> = taken.iter().map(Endpoint::v4).collect();
    assert_eq!(addresses.len(), taken.len(), "an address was given twice");
    // 64 less network, broadcast and gateway.
    assert_eq!(taken.len(), 61, "addresses were lost; refused with {refusals:?}");
    assert_eq!(refusals.len(), 4);
    assert!(refusals.iter().all(|refusal| refusal.contains("10.9.0.0/26")), "{refusals:?}");
    let (here, there) = (&taken[0], &taken[60]);
    eventually("the first reaches the last", PATIENCE, || here.ping(there.v4().into(), 1));
}
