//! The scenarios of this folder, in the simulator and on Open vSwitch; and what the command says of those that fail.
//!
//! Without Open vSwitch the live part is skipped, unless `SLUICE_REQUIRE_LIVE=1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ofctl::scenario::Document;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the folder of this file");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "scenario"));
    files.sort();
    assert!(!files.is_empty(), "there is something to run");
    files
}

fn ofctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ofctl")).arg("test").args(arguments).output().expect("ofctl runs")
}

fn all_pass(options: &[&str]) {
    let files = files();
    let mut arguments = options.to_vec();
    arguments.extend(files.iter().map(|file| file.to_str().expect("a name in UTF-8")));
    let output = ofctl(&arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let scenarios: usize = files
        .iter()
        .map(|file| {
            let document: Document =
                std::fs::read_to_string(file).expect("a file").parse().expect("scenarios");
            document.scenarios.len()
        })
        .sum();
    assert_eq!(text.lines().last(), Some(format!("{scenarios} passed, 0 failed").as_str()), "{text}");
}

#[test]
fn they_come_true_in_the_simulator() {
    all_pass(&[]);
}

#[test]
fn they_come_true_on_open_vswitch() {
    let tools = ["ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl"];
    let is_missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    if let Some(tool) = tools.iter().find(|tool| is_missing(tool)) {
        assert!(
            std::env::var("SLUICE_REQUIRE_LIVE").as_deref() != Ok("1"),
            "SLUICE_REQUIRE_LIVE=1, and {tool} is not installed"
        );
        eprintln!("skipped: {tool} is not installed");
        return;
    }
    all_pass(&["--ovs"]);
}

/// Runs a scenario of one switch with three ports and a flow from port 1 to 2; gives what is printed.
fn fails(steps: &str, options: &[&str]) -> String {
    let text = format!(
        "Scenario: wrong\n  Given a switch with ports 1-3\n  And flows:\n    in_port=1,actions=output:2\n{steps}\n"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.scenario");
    std::fs::write(&file, text).expect("a file");
    let mut arguments = options.to_vec();
    arguments.push(file.to_str().expect("a name in UTF-8"));
    let output = ofctl(&arguments);
    assert_eq!(output.status.code(), Some(1), "{steps}");
    let printed = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&printed).into_owned()
}

#[test]
fn a_step_that_does_not_come_true_is_told_with_what_was_seen() {
    let arrives = "  When \"ip,nw_dst=10.0.0.9\" arrives at port 1\n";
    for (then, wanted) in [
        ("it leaves port 3", "it did not leave port 3"),
        ("nothing leaves", "port 2 of s1: 00:00:00:00:00:00>00:00:00:00:00:00,ip 0.0.0.0>10.0.0.9 ttl=64"),
        ("nothing leaves ports 2-3", "packets left:"),
        ("nothing else leaves", "other packets left:"),
        ("\"ip,nw_dst=10.0.0.8\" leaves port 2", "it did not leave port 2"),
        ("a packet reaches the controller", "0 packets reached it"),
        ("no flow \"in_port=1\" exists", "it exists:"),
        ("flow \"in_port=2,actions=output:2\" exists", "there is no such flow; table 0 has others:"),
        ("flow \"in_port=1,actions=output:3\" exists", "it does something else:"),
        ("flow \"in_port=1\" has counted 2 packets", "it has counted 1 packets"),
        ("it leaves port 2 of s2", "there is no switch s2; there is: s1"),
        ("it leaves port 7", "switch s1 has no port 7"),
        ("ghost leaves port 2", "there is no packet ghost"),
        ("it does not leave", "it left:"),
        ("it does not leave port 2", "port 2 of s1: 00:00:00:00:00:00>"),
        ("flow \"in_port=1\" has counted 1 packet and 35 bytes", "it has counted 1 packets and 34 bytes"),
        ("flow \"in_port=1\" has counted at least 2 packets", "it has counted 1 packets"),
        ("flow \"in_port=1\" has counted at most 33 bytes", "it has counted 1 packets and 34 bytes"),
        ("group 4 has counted no packets", "there is no group 4"),
        ("meter 4 has dropped no packets", "there is no meter 4"),
        ("port 1 has received no packets", "it has received 1 packets"),
        ("port 2 has sent 2 packets", "it has sent 1 packets"),
        ("port 9 has sent 2 packets", "switch s1 has no port 9"),
        ("group \"group_id=1,type=all\" exists", "there is no group 1"),
        ("meter \"meter=1,kbps,bands=type=drop,rate=1\" exists", "there is no meter 1"),
        ("the application reports \"all is well\"", "no application runs"),
    ] {
        let printed = fails(&format!("{arrives}  Then {then}"), &[]);
        assert!(printed.contains(wanted), "{then}: {printed}");
        assert!(printed.contains(&format!("line 6: Then {then}")), "{then}: {printed}");
    }
    let astray = fails(&format!("{arrives}  Then it leaves port 3"), &[]);
    assert!(
        astray.contains("The way of the packet:") && astray.contains("in_port=1 actions=output:2"),
        "{astray}"
    );
    let json = fails(&format!("{arrives}  Then it leaves port 3"), &["--json"]);
    let told: serde_json::Value =
        serde_json::from_str(json.lines().next().expect("a line")).expect("an object");
    assert_eq!((&told["passed"], &told["failure"]["line"]), (&false.into(), &6.into()), "{json}");
}

#[test]
fn what_is_no_scenario_is_refused_where_it_goes_wrong() {
    for (step, place) in [
        ("  Given a switch with port", "column 27: a port's number is missing"),
        ("  Given a switch with ports 0-3", "column 29: '0-3' is not a range of 1 to 256 ports"),
        ("  Given a car", "column 9: 'Given' is followed by"),
        ("  Given flows:", "the flows are missing"),
        ("  Given flows:\n    in_port=1", "line 6, column 14: actions= is missing"),
        ("  Given flows:\n    in_prt=1,actions=drop", "line 6, column 5: 'in_prt' is neither a field"),
        ("  Given packet a: tcp,nw_src=1.2.3", "column 30: '1.2.3' is not a value"),
        ("  Given groups:", "the groups are missing"),
        ("  Given groups:\n    group_id=1,type=some", "line 6, column 21: 'some' is not"),
        ("  Given meters:\n    meter=1,kbps", "line 6, column 17:"),
        (
            "  Given the application chess",
            "column 25: there is no application chess; there is: hub, learning",
        ),
        ("  Given the application hub:\n    fast", "line 6, column 5: this application has no settings"),
        ("  Given the application router:", "its settings are missing"),
        (
            "  Given the application router:\n    interface port 1 02:00:00:00:00:01 10.0.0.1",
            "column 40: '10.0.0.1'",
        ),
        ("  Given the application firewall:\n    10 allow tcp from any to any port 1-0", "line 6, column"),
        (
            "  When group \"group_id=1,type=all\" explodes",
            "column 36: 'is added', 'is modified' or 'is deleted'",
        ),
        ("  When meter \"meter=1,kbps\" is added", "column 27: bands= is missing"),
        ("  Then group 1 has counted packets", "column 28: a number is expected here"),
        ("  Then group 1 has counted 2 cars", "column 30: 'packets' or 'bytes' is expected here"),
        ("  Then port 1 has sent 1 packet and 2 packets", "have been counted before"),
        ("  Then the application reports all", "column 32: a line is expected here, in double quotes"),
        ("  When \"ip\" arrives at prt 1", "column 24: 'port' is expected here"),
        ("  When \"ip arrives at port 1", "the closing double quote is missing"),
        ("  When hex:0102 arrives at port 1", "column 12: this is not a packet's bytes"),
        ("  When 5 parsecs pass", "column 10: 'parsecs' is not a unit of time"),
        ("  When flow \"ip\" is painted", "is missing"),
        ("  Then it flies", "column 8: 'Then' is followed by"),
        ("  Then it leaves port 2 today", "column 25: the step ends before this"),
        ("  And packet p: ip\n  Perhaps it rains", "line 6, column 3: 'Scenario: NAME' is expected here"),
    ] {
        let printed = fails(step, &[]);
        assert!(printed.contains(place), "{step}: {printed}");
        assert!(printed.contains("line 5") || printed.contains("line 6"), "{step}: {printed}");
    }
}
