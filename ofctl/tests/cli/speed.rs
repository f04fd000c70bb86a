//! How long commands take, beside ovs-ofctl on the same bridge: nothing here fails for being slow.
//!
//! `cargo test --release -p ofctl --test cli -- --ignored --nocapture speed` prints the table.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::live::Ovs;
use super::ofctl;

/// The shortest of some runs; `before` is not counted.
fn shortest(runs: usize, mut before: impl FnMut(), mut command: impl FnMut() -> Command) -> Duration {
    let one = |_| {
        before();
        let mut command = command();
        command.stdout(Stdio::null());
        let begun = Instant::now();
        let status = command.status().unwrap();
        let taken = begun.elapsed();
        assert!(status.success(), "{command:?}");
        taken
    };
    (0..runs).map(one).min().unwrap()
}

#[test]
#[ignore = "a measurement, of release builds only"]
fn beside_ovs_ofctl() {
    let Some(ovs) = Ovs::start() else { return };
    let ours = |arguments: &[&str]| {
        let mut command = ofctl(arguments);
        command.env("OVS_RUNDIR", ovs.folder());
        command
    };
    let theirs = |arguments: &[&str]| {
        let mut command = Command::new("ovs-ofctl");
        command.args(["-O", "OpenFlow13", "--no-names"]).args(arguments).env("OVS_RUNDIR", ovs.folder());
        command
    };
    let clear = || assert!(ours(&["del-flows", "br0"]).status().unwrap().success());
    let line = |what: &str, runs: usize, before: &dyn Fn(), arguments: &[&str]| {
        let (ours, theirs) =
            (shortest(runs, before, || ours(arguments)), shortest(runs, before, || theirs(arguments)));
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        eprintln!("{what:32} ofctl {ours:>12.2?}  ovs-ofctl {theirs:>12.2?}  {ratio:.2} times as fast");
    };
    line("one add-flow", 50, &|| (), &["add-flow", "br0", "in_port=1,actions=drop"]);
    for count in [10_000, 100_000] {
        let mut flows = String::new();
        for i in 0..count {
            let (port, zone) = (i % 40 + 1, i % 1000);
            let (a, b, c) = (i >> 16, i >> 8 & 255, i & 255);
            // Six fields, and load, ct and output, as the library's own bench has them.
            let _ = writeln!(
                flows,
                "table=5,priority=100,in_port={port},tcp,metadata=0x7/0xffffff,nw_dst=10.{a}.{b}.{c},tp_dst=80,\
                 actions=load:{i}->NXM_NX_REG5[],ct(zone={zone},table=6),output:2"
            );
        }
        let file = ovs.file("many", &flows);
        line(&format!("add {count}"), 3, &clear, &["add-flows", "br0", &file]);
        line(&format!("add {count} --bundle"), 3, &clear, &["--bundle", "add-flows", "br0", &file]);
        line(&format!("dump {count}"), 3, &|| (), &["dump-flows", "br0"]);
        line(&format!("dump {count} --no-stats"), 3, &|| (), &["dump-flows", "--no-stats", "br0"]);
    }
}
