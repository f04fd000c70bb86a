//! OVN's Docker overlay driver, as Debian 12 packages it, on a host of its own: its br-int would be the agent's, and
//! its controller would wake at every port of the agent's.
//!
//! As packaged (ovn-docker 23.03.1) it does not start, so what runs is a copy, made when the bench runs, with the
//! changes of [`CHANGES`] and no other.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::lab::{Daemon, Host, PATIENCE, eventually};

const DRIVER: &str = "/usr/bin/ovn-docker-overlay-driver";
/// The interpreter that Debian's packages are for, which the driver names too; `python3` may be another one.
const PYTHON: &str = "/usr/bin/python3";

/// What the packaged driver says, and what its copy says in that place.
const CHANGES: [(&str, &str); 2] = [
    // Python 3 gives a command's output as bytes, and the driver goes on with text.
    ("stdout=subprocess.PIPE)", "stdout=subprocess.PIPE, text=True)"),
    // A dockerd 20.10 without a cluster store refuses networks of global scope; later engines have no such store.
    (r#""Scope": "global""#, r#""Scope": "local""#),
];

/// A package, and a command that succeeds where it is installed.
const PACKAGES: [(&str, &[&str]); 6] = [
    ("ovn-docker", &["test", "-f", DRIVER]),
    ("ovn-central", &["ovn-northd", "--version"]),
    ("ovn-host", &["ovn-controller", "--version"]),
    ("ovn-common", &["ovn-nbctl", "--version"]),
    ("python3-flask", &[PYTHON, "-c", "import flask"]),
    ("python3-openvswitch", &[PYTHON, "-c", "import ovs.daemon"]),
];

/// The copy of the driver that can run here.
///
/// # Errors
///
/// One line that says what to install, or that the packaged driver is not the one that this bench knows.
pub fn adapted_driver() -> Result<String, String> {
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(_, probe)| !succeeds(probe)).map(|(package, _)| *package).collect();
    if !missing.is_empty() {
        return Err(format!("apt-get install {}", missing.join(" ")));
    }
    let mut driver = std::fs::read_to_string(DRIVER).map_err(|error| format!("{DRIVER}: {error}"))?;
    for (packaged, adapted) in CHANGES {
        match driver.matches(packaged).count() {
            1 => driver = driver.replace(packaged, adapted),
            times => {
                return Err(format!("{DRIVER} has `{packaged}` {times} times, not once: another version?"));
            }
        }
    }
    Ok(driver)
}

fn succeeds(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}

/// OVN on one host: its central databases, northd, the host's controller, and the driver. It ends with this value, which has to
/// end before the host.
#[derive(Debug)]
pub struct Ovn<'h> {
    host: &'h Host,
    daemons: Vec<Daemon>,
}

impl<'h> Ovn<'h> {
    /// Starts it all on a host without an agent, and waits until Docker can call the driver.
    pub fn start(host: &'h Host, driver: &str) -> Self {
        let mut ovn = Self { host, daemons: Vec::new() };
        std::fs::create_dir(host.seen(ovn.path(""))).expect("a directory for OVN");
        // OVN's own ports; TCP, as the driver's manual has it.
        let address = host.address();
        let [northbound, southbound] = [("ovn-nb", 6641), ("ovn-sb", 6642)].map(|(schema, port)| {
            let file = ovn.path(&format!("{schema}.db"));
            host.exec(["ovsdb-tool", "create", &file, &format!("/usr/share/ovn/{schema}.ovsschema")])
                .expect("a database");
            let mut server = ovn.command("ovsdb-server");
            server
                .arg(file)
                .arg(format!("--remote=ptcp:{port}:{address}"))
                .arg(format!("--unixctl={}", ovn.path(&format!("{schema}.ctl"))));
            ovn.launch(schema, server);
            format!("tcp:{address}:{port}")
        });
        let nbctl = |word: &str| host.exec(["ovn-nbctl", "--timeout=5", &format!("--db={northbound}"), word]);
        let sbctl = |word: &str| host.exec(["ovn-sbctl", "--timeout=5", &format!("--db={southbound}"), word]);
        eventually("the northbound database", PATIENCE, || nbctl("init").ok());
        eventually("the southbound database", PATIENCE, || sbctl("init").ok());

        let mut northd = ovn.command("ovn-northd");
        northd.arg(format!("--ovnnb-db={northbound}")).arg(format!("--ovnsb-db={southbound}"));
        ovn.launch("ovn-northd", northd);

        // As the driver makes br-int itself, on the datapath that the lab has.
        host.vsctl(
            "add-br br-int -- set Bridge br-int datapath_type=netdev fail_mode=secure \
             external_ids:bridge-id=br-int other_config:disable-in-band=true",
        );
        host.vsctl(&format!(
            "set Open_vSwitch . external_ids:system-id={} external_ids:ovn-nb=\"{northbound}\" \
             external_ids:ovn-remote=\"{southbound}\" external_ids:ovn-encap-type=geneve \
             external_ids:ovn-encap-ip={} external_ids:ovn-bridge-datapath-type=netdev",
            host.name(),
            host.address()
        ));
        let mut controller = ovn.command("ovn-controller");
        controller.arg(format!("unix:{}", host.path("ovs/db.sock")));
        ovn.launch("ovn-controller", controller);
        eventually("the chassis in the southbound database", PATIENCE, || match sbctl("show").ok()? {
            shown if shown.contains("Chassis") => Ok(()),
            shown => Err(format!("it has {shown:?}")),
        });

        ovn.start_driver(driver);
        ovn
    }

    fn start_driver(&mut self, driver: &str) {
        // The driver tells Docker of itself in /etc/docker/plugins, and the lab's hosts share the machine's /etc.
        let own = "mkdir -p /etc/docker && mount -t tmpfs -o mode=755 tmpfs /etc/docker";
        self.host.exec(["sh", "-c", own]).expect("an /etc/docker of the host's own");
        let copy = self.path("overlay-driver");
        std::fs::write(self.host.seen(&copy), driver).expect("the driver's copy");
        let mut python = self.command(PYTHON);
        python.arg(copy);
        self.launch("OVN's driver", python);
        let daemon = self.daemons.last_mut().expect("it was just launched");
        let told = self.host.seen("/etc/docker/plugins/openvswitch.spec");
        eventually("OVN's driver", PATIENCE, || {
            daemon.assert_running();
            std::fs::read_to_string(&told).map_err(|error| error.to_string())?;
            self.host.net().run(|| TcpStream::connect("127.0.0.1:5000")).map_err(|error| error.to_string())
        });
    }

    fn launch(&mut self, name: &str, command: Command) {
        self.daemons.push(self.host.daemon(name, command));
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // br-int's management socket and the switch's database are where the host's Open vSwitch has them.
        command.env("OVS_RUNDIR", self.host.path("ovs")).env("OVS_LOGDIR", self.path(""));
        command.env("OVN_RUNDIR", self.path("")).env("OVN_LOGDIR", self.path(""));
        command
    }

    fn path(&self, relative: &str) -> String {
        Path::new(&self.host.path("ovn")).join(relative).to_string_lossy().into_owned()
    }
}

impl Drop for Ovn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.daemons.iter().for_each(|daemon| eprint!("{}", daemon.log_tail(10)));
        }
    }
}
