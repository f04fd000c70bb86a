//! The documents' listings for a shell, and the list of commands. Listings in Rust are doctests.
//!
//! A fence `console` holds commands after `$ ` with what they print; `console live` also needs an Open vSwitch, and gets
//! a private one with dummy ports. Any other fence with a file's name is that file.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::client::Listen;
use ofctl::client::controller::{Controller, Options};
use ofctl::kit::apps::RoutingSwitch;

const TUTORIAL: &str = include_str!("../src/docs/tutorial_switches.md");
const IMPLEMENTED: &str = include_str!("../src/docs/implemented.md");

/// How long a command may take to print what it shall.
const PATIENCE: Duration = Duration::from_secs(20);

/// A fenced listing: what stands behind the fence, and its text.
fn listings() -> Vec<(&'static str, &'static str)> {
    let mut parts = TUTORIAL.split("```");
    let _ = parts.next();
    let mut listings = Vec::new();
    while let Some(listing) = parts.next() {
        listings.push(listing.split_once('\n').expect("a fence's line"));
        let _ = parts.next();
    }
    listings
}

/// The commands of a listing, each with what it prints.
fn commands(listing: &str) -> Vec<(&str, String)> {
    let mut commands: Vec<(&str, String)> = Vec::new();
    for line in listing.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, String::new())),
            (None, Some((_, printed))) => *printed += &format!("{line}\n"),
            (None, None) => panic!("a console listing begins with a command, not '{line}'"),
        }
    }
    assert!(!commands.is_empty(), "an empty listing");
    commands
}

/// A folder with the listed files.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (fence, text) in listings() {
        if let Some((_, name)) = fence.split_once(' ').filter(|(kind, _)| *kind != "console") {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
    }
    folder
}

/// Runs commands as a shell would, with our `ofctl` before any other; each may be repeated until it prints its lines.
fn run_all(listing: &str, folder: &Path) {
    let own = Path::new(env!("CARGO_BIN_EXE_ofctl")).parent().unwrap();
    let path = std::env::join_paths(
        [own.to_path_buf()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    for (command, wanted) in commands(listing) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).current_dir(folder).env("PATH", path.as_ref().unwrap());
            let output = shell.env("OVS_RUNDIR", folder).stdin(Stdio::null()).output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            if output.status.success() && printed == wanted {
                break;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(Instant::now() < deadline, "$ {command}\nwanted:\n{wanted}\nprinted:\n{printed}{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn listings_print_what_stands_below_them() {
    let folder = folder();
    let listings: Vec<_> = listings().into_iter().filter(|(fence, _)| *fence == "console").collect();
    assert_eq!(listings.len(), 2);
    listings.iter().for_each(|(_, listing)| run_all(listing, folder.path()));
}

/// A private ovsdb-server and ovs-vswitchd, whose ports are dummies; they end with this.
struct Ovs(Vec<Child>);

impl Drop for Ovs {
    fn drop(&mut self) {
        for daemon in self.0.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Starts it in a folder; `None`, with the reason printed, where it is not installed.
fn ovs(folder: &Path) -> Option<Ovs> {
    let tools = ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"];
    let is_missing = |tool: &&&str| Command::new(tool).arg("--version").output().is_err();
    if let Some(tool) = tools.iter().find(is_missing) {
        let required = std::env::var("SLUICE_REQUIRE_LIVE").as_deref() == Ok("1");
        assert!(!required, "SLUICE_REQUIRE_LIVE=1, and {tool} is not installed");
        eprintln!("skipped: {tool} is not installed");
        return None;
    }
    let prepared = |program: &str, arguments: &str| {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).current_dir(folder).stdin(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, folder);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let here = folder.display();
    let schema = "/usr/share/openvswitch/vswitch.ovsschema";
    assert!(prepared("ovsdb-tool", &format!("create conf.db {schema}")).status().unwrap().success());
    let server = format!("conf.db --remote=punix:{here}/db.sock --unixctl={here}/ovsdb.ctl --no-chdir");
    let mut running = Ovs(vec![prepared("ovsdb-server", &server).spawn().unwrap()]);
    let init = "--retry --timeout=20 --no-wait init";
    assert!(prepared("ovs-vsctl", init).status().unwrap().success());
    let switch = format!(
        "unix:{here}/db.sock --enable-dummy=override --disable-system --unixctl={here}/vswitchd.ctl --no-chdir"
    );
    running.0.push(prepared("ovs-vswitchd", &switch).spawn().unwrap());
    Some(running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_for_a_real_switch_do_what_they_say() {
    let folder = folder();
    let Some(_ovs) = ovs(folder.path()) else { return };
    // The listing before them starts this; its port is given by the system, so that two tests can run at once.
    let controller = Controller::start(RoutingSwitch::default(), Options::default());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let place = Listen::parse(&format!("ptcp:{}:127.0.0.1", free.port()), None).unwrap();
    controller.listen(place).await.unwrap();
    let listings: Vec<_> = listings().into_iter().filter(|(fence, _)| *fence == "console live").collect();
    assert_eq!(listings.len(), 2);
    for (_, listing) in listings {
        let listing = listing.replace("6653", &free.port().to_string());
        tokio::task::block_in_place(|| run_all(&listing, folder.path()));
    }
    assert_eq!(controller.switches().await.unwrap().len(), 1);
    controller.stop().await.unwrap();
}

/// The names in a help text: the first words of lines that are indented by two.
fn named(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.map(|line| line.trim_start_matches("[--may-create] "));
    let words = lines.filter_map(|line| line.split_whitespace().next().filter(|_| !line.starts_with(' ')));
    let is_name =
        |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    words.filter(is_name).map(str::to_owned).collect()
}

/// The commands of the page whose row says yes in a column.
fn listed(column: usize) -> BTreeSet<String> {
    let table = IMPLEMENTED.split_once("# Commands\n").expect("its heading").1;
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let yes = cells.filter(|cells| cells[column + 1] == "yes");
    yes.map(|cells| cells[1].trim_matches('`').to_owned()).collect()
}

fn help(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--help").output().ok()?;
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_list_of_commands_is_whole() {
    let ours = help(env!("CARGO_BIN_EXE_ofctl")).expect("ofctl is built");
    let ours = ours.split_once("Commands:\n").expect("its commands").1;
    let ours = named(ours.split("\n\n").next().expect("a paragraph"));
    assert_eq!(listed(2), ours, "implemented.md, Commands, the column of ofctl");
    let Some(theirs) = help("ovs-ofctl").filter(|help| help.contains("add-flow")) else {
        let required = std::env::var("SLUICE_REQUIRE_LIVE").as_deref() == Ok("1");
        assert!(!required, "SLUICE_REQUIRE_LIVE=1, and ovs-ofctl is not installed");
        eprintln!("skipped: ovs-ofctl is not installed");
        return;
    };
    let theirs = theirs.split_once("For OpenFlow switches:").expect("its commands").1;
    let theirs = named(theirs.split("Active OpenFlow").next().expect("the part before"));
    let known = listed(1);
    let missing: Vec<_> = theirs.difference(&known).collect();
    assert!(missing.is_empty(), "implemented.md, Commands, lacks rows of ovs-ofctl: {missing:?}");
}
