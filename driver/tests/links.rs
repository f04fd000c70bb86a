//! Endpoint links against the real kernel, in network namespaces of their own.
//!
//! Needs root; without it the tests print why they were skipped, or fail if `SLUICE_REQUIRE_LIVE=1`.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, UnshareFlags, capabilities, move_into_link_name_space,
    set_capabilities, unshare_unsafe,
};
use sluice::model::{EndpointId, LinkName};
use sluice::node::link::{Creation, LinkError, LinkOptions, Links};

const OFFLOAD_OFF: LinkOptions = LinkOptions { mac: None, checksum_offload: false };

/// Runs a test in a network namespace of its own, on a thread of its own.
fn in_namespace<F>(test: impl FnOnce(Links) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var("SLUICE_REQUIRE_LIVE").as_deref() != Ok("1"), "live tests need root");
        println!("skipped: making network namespaces needs root");
        return;
    }
    on_thread(move || {
        enter_new_namespace();
        run("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { test(Links::new().unwrap()).await });
    });
}

fn on_thread<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match std::thread::spawn(job).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn enter_new_namespace() {
    // SAFETY: only FILES, which is not asked for, affects other threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What `ip` says about a link; null if there is none.
fn ip(link: &LinkName) -> serde_json::Value {
    let output = Command::new("ip").args(["-d", "-j", "link", "show", link.as_str()]).output().unwrap();
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    links[0].clone()
}

fn endpoint(start: &str) -> EndpointId {
    format!("{start:0<64}").parse().unwrap()
}

/// A network namespace, held by a process that does nothing in it.
struct Sandbox(Child);

impl Sandbox {
    fn new() -> Sandbox {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        Sandbox(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let pid = self.pid();
        run("nsenter", &[&["-t", pid.as_str(), "-n", program], args].concat())
    }

    /// Runs a job on a thread inside.
    fn inside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            job()
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_pair_is_as_asked() {
    in_namespace(|links| async move {
        let id = endpoint("466a5367549");
        let mac = "02:00:0a:05:00:07".parse().unwrap();
        let options = LinkOptions { mac: Some(mac), checksum_offload: false };
        assert_eq!(links.create_endpoint_links(&id, 1400, options).await.unwrap(), Creation::Made);

        let (host, sandbox) = (ip(&id.host_link()), ip(&id.sandbox_link()));
        assert_eq!((&host["mtu"], &sandbox["mtu"]), (&1400.into(), &1400.into()));
        assert_eq!(host["ifalias"], format!("sluice endpoint {id}"));
        assert_eq!(sandbox["address"], mac.to_string());
        let flags = |link: &serde_json::Value| link["flags"].to_string().contains("\"UP\"");
        assert!(flags(&host) && !flags(&sandbox));
        assert_eq!(host["link"], id.sandbox_link().as_str());

        let conf = |link: LinkName| {
            std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6")).unwrap()
        };
        assert_eq!((conf(id.host_link()).trim(), conf(id.sandbox_link()).trim()), ("1", "0"));
        let features = run("ethtool", &["-k", id.sandbox_link().as_str()]);
        for feature in ["tx-checksumming", "tx-tcp-segmentation", "tx-tcp6-segmentation"] {
            assert!(features.contains(&format!("{feature}: off")), "{features}");
        }
        assert!(!links.checksum_offload(&id.sandbox_link()).await.unwrap());
        assert!(links.checksum_offload(&id.host_link()).await.unwrap());

        let listed = links.list_endpoint_links().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (&listed[0].endpoint, listed[0].mtu, listed[0].up, listed[0].peer_here),
            (&Some(id.clone()), 1400, true, true)
        );

        assert!(links.delete_endpoint_links(&id).await.unwrap());
        assert!(ip(&id.host_link()).is_null() && ip(&id.sandbox_link()).is_null());
        assert!(!links.delete_endpoint_links(&id).await.unwrap());
    });
}

#[test]
fn a_second_creation_finds_or_remakes() {
    in_namespace(|links| async move {
        let id = endpoint("aaaa");
        let (host, sandbox) = (id.host_link(), id.sandbox_link());
        links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap();
        let first = ip(&host)["ifindex"].clone();
        let options = LinkOptions { mac: Some("02:00:00:00:00:09".parse().unwrap()), checksum_offload: true };
        assert_eq!(links.create_endpoint_links(&id, 1450, options).await.unwrap(), Creation::Found);
        assert_eq!(ip(&host)["ifindex"], first);
        assert_eq!((&ip(&host)["mtu"], &ip(&sandbox)["mtu"]), (&1450.into(), &1450.into()));
        assert_eq!(ip(&sandbox)["address"], "02:00:00:00:00:09");
        assert!(links.checksum_offload(&sandbox).await.unwrap());

        // Half-made: without the mark; with another peer; the sandbox end alone.
        run("ip", &["link", "del", host.as_str()]);
        run("ip", &["link", "add", host.as_str(), "type", "veth", "peer", "name", "other"]);
        assert_eq!(links.list_endpoint_links().await.unwrap()[0].endpoint, None);
        assert_eq!(links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap(), Creation::Made);
        assert_eq!(ip(&host)["link"], sandbox.as_str());
        assert!(ip(&"other".parse().unwrap()).is_null());

        run("ip", &["link", "set", sandbox.as_str(), "name", "renamed"]);
        assert_eq!(links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap(), Creation::Made);
        assert!(ip(&"renamed".parse().unwrap()).is_null() && !ip(&sandbox).is_null());

        run("ip", &["link", "set", host.as_str(), "down", "name", "elsewhere"]);
        assert_eq!(links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap(), Creation::Made);
        assert!(ip(&"elsewhere".parse().unwrap()).is_null());
    });
}

#[test]
fn a_name_that_is_somebody_elses_is_refused_and_left_alone() {
    in_namespace(|links| async move {
        let id = endpoint("bbbb");
        let twin: EndpointId = format!("{:0<63}1", "bbbb").parse().unwrap();
        links.create_endpoint_links(&twin, 1400, OFFLOAD_OFF).await.unwrap();
        let error = links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap_err();
        assert!(matches!(&error, LinkError::Taken { link, .. } if *link == id.host_link()), "{error}");
        assert!(error.to_string().contains(&format!("endpoint {twin}")), "{error}");
        assert!(!links.delete_endpoint_links(&id).await.unwrap());
        assert!(!ip(&twin.host_link()).is_null() && !ip(&twin.sandbox_link()).is_null());
        assert!(links.delete_endpoint_links(&twin).await.unwrap());

        run("ip", &["link", "add", id.sandbox_link().as_str(), "type", "bridge"]);
        let error = links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap_err().to_string();
        assert!(error.contains("slc-bbbb") && error.contains("bridge link"), "{error}");
        assert!(ip(&id.host_link()).is_null());
        assert!(!links.delete_endpoint_links(&id).await.unwrap());
        assert!(!ip(&id.sandbox_link()).is_null());
    });
}

#[test]
fn offload_stays_off_in_a_container_and_deletion_reaches_it() {
    in_namespace(|links| async move {
        let sandbox = Sandbox::new();
        let id = endpoint("cccc");
        let link = id.sandbox_link();
        let features_off = |text: &str| {
            assert!(text.contains("tx-checksumming: off"), "{text}");
            assert!(text.contains("tx-tcp-segmentation: off"), "{text}");
        };
        links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap();
        run("ip", &["link", "set", link.as_str(), "netns", &sandbox.pid()]);
        sandbox.run("ip", &["link", "set", link.as_str(), "name", "eth0", "up"]);
        features_off(&sandbox.run("ethtool", &["-k", "eth0"]));
        assert!(!links.list_endpoint_links().await.unwrap()[0].peer_here);
        assert_eq!(links.create_endpoint_links(&id, 1380, OFFLOAD_OFF).await.unwrap(), Creation::Found);

        // As dockerd parks it after Leave: under its first name, down.
        let own = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let name = link.clone();
        sandbox
            .inside(move || {
                run("ip", &["link", "set", "eth0", "down", "name", name.as_str()]);
                let fd = std::os::fd::AsRawFd::as_raw_fd(&own);
                run(
                    "ip",
                    &[
                        "link",
                        "set",
                        name.as_str(),
                        "netns",
                        &format!("/proc/{}/fd/{fd}", std::process::id()),
                    ],
                );
            })
            .join()
            .unwrap();
        features_off(&run("ethtool", &["-k", link.as_str()]));
        assert!(links.list_endpoint_links().await.unwrap()[0].peer_here);
        assert!(links.delete_endpoint_links(&id).await.unwrap());
        assert!(ip(&link).is_null());

        // Deleted while it is in the container.
        links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await.unwrap();
        run("ip", &["link", "set", link.as_str(), "netns", &sandbox.pid()]);
        assert!(sandbox.run("ip", &["link"]).contains(link.as_str()));
        assert!(links.delete_endpoint_links(&id).await.unwrap());
        assert!(!sandbox.run("ip", &["link"]).contains(link.as_str()));
    });
}

#[test]
fn many_at_once_are_made_listed_and_removed() {
    in_namespace(|links| async move {
        let ids: Vec<EndpointId> = (0..200).map(|n| endpoint(&format!("{n:03}e"))).collect();
        let jobs: Vec<_> = ids
            .iter()
            .cloned()
            .map(|id| {
                let links = links.clone();
                tokio::spawn(async move { links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await })
            })
            .collect();
        // Reading while links come and go must neither fail nor hang.
        for _ in 0..5 {
            links.list_endpoint_links().await.unwrap();
        }
        for job in jobs {
            assert_eq!(job.await.unwrap().unwrap(), Creation::Made);
        }
        let listed = links.list_endpoint_links().await.unwrap();
        let found: Vec<_> = listed.iter().map(|link| link.endpoint.clone().unwrap()).collect();
        assert_eq!(found, ids);

        // Ten callers for the same endpoint make it once.
        let id = endpoint("same");
        let jobs: Vec<_> = (0..10)
            .map(|_| {
                let (links, id) = (links.clone(), id.clone());
                tokio::spawn(async move { links.create_endpoint_links(&id, 1400, OFFLOAD_OFF).await })
            })
            .collect();
        let mut made = 0;
        for job in jobs {
            made += usize::from(job.await.unwrap().unwrap() == Creation::Made);
        }
        assert_eq!(made, 1);

        for id in ids.into_iter().take(20).chain([id]) {
            assert!(links.delete_endpoint_links(&id).await.unwrap());
        }
        assert_eq!(links.list_endpoint_links().await.unwrap().len(), 180);
        assert!(links.delete_leftover(&listed[100]).await.unwrap());
        assert!(!links.delete_leftover(&listed[100]).await.unwrap());
    });
}

#[test]
fn routes_and_the_owner_of_an_address() {
    in_namespace(|links| async move {
        for command in [
            "link add under0 mtu 1450 type bridge",
            "link set under0 up",
            "addr add 192.0.2.7/24 dev under0",
            "addr add 2001:db8::7/64 dev under0 nodad",
            "route add 198.51.100.0/24 via 192.0.2.1",
            "route add 203.0.113.0/24 via 192.0.2.1 table 77",
            "route add default via 192.0.2.1",
            "route add blackhole 10.99.0.0/16",
        ] {
            run("ip", &command.split(' ').collect::<Vec<_>>());
        }
        let routes = links.routes().await.unwrap();
        for prefix in [
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "2001:db8::/64",
            "10.99.0.0/16",
            "127.0.0.0/8",
        ] {
            assert!(routes.contains(&prefix.parse().unwrap()), "{prefix} not in {routes:?}");
        }
        assert!(
            routes.iter().all(|route| route.prefix_len() > 0 && !route.addr().is_multicast()),
            "{routes:?}"
        );

        for address in ["192.0.2.7", "2001:db8::7"] {
            let owner = links.address_owner(address.parse().unwrap()).await.unwrap();
            assert_eq!((owner.name.as_str(), owner.mtu, owner.up), ("under0", 1450, true));
            assert_eq!(owner.kind.as_deref(), Some("bridge"));
        }
        let error = links.address_owner("192.0.2.8".parse().unwrap()).await.unwrap_err().to_string();
        for part in ["192.0.2.8 is on no link", "192.0.2.7 on under0", "2001:db8::7 on under0"] {
            assert!(error.contains(part), "{error}");
        }
    });
}

#[test]
fn without_the_capability_the_error_says_which() {
    in_namespace(|_| async {
        let error = on_thread(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::NET_ADMIN);
            sets.permitted.remove(CapabilitySet::NET_ADMIN);
            set_capabilities(None, sets).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                Links::new()
                    .unwrap()
                    .create_endpoint_links(&endpoint("dddd"), 1400, OFFLOAD_OFF)
                    .await
                    .unwrap_err()
            })
        });
        let text = error.to_string();
        assert!(text.contains("slh-dddd") && text.contains("CAP_NET_ADMIN"), "{text}");
        assert!(!error.is_transient());
    });
}

/// ovsdb-server and ovs-vswitchd of this test's own.
struct Ovs {
    directory: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Ovs {
    fn start() -> Ovs {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        run("ovsdb-tool", &["create", &path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema"]);
        let spawn = |program: &str, args: &[String]| {
            Command::new(program)
                .args(args)
                .env("OVS_RUNDIR", directory.path())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let socket = path("db.sock");
        let mut daemons = vec![spawn("ovsdb-server", &[path("conf.db"), format!("--remote=punix:{socket}")])];
        wait_for(&directory.path().join("db.sock"));
        let ovs_vsctl =
            |args: &[&str]| run("ovs-vsctl", &[&[format!("--db=unix:{socket}").as_str()], args].concat());
        ovs_vsctl(&["--no-wait", "init"]);
        daemons.push(spawn("ovs-vswitchd", &[format!("unix:{socket}"), "--disable-system".to_owned()]));
        Ovs { directory, daemons }
    }

    fn vsctl(&self, args: &[&str]) -> String {
        let db = format!("--db=unix:{}", self.directory.path().join("db.sock").display());
        run("ovs-vsctl", &[&[db.as_str(), "--timeout=20"], args].concat())
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn wait_for(path: &Path) {
    for _ in 0..500 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} did not appear", path.display());
}

#[test]
fn tcp_passes_a_userspace_bridge_only_with_offload_off() {
    const SIZE: usize = 5_000_000;
    in_namespace(|links| async move {
        let ovs = Ovs::start();
        ovs.vsctl(&["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]);
        for (offload, network) in [(false, 1), (true, 2)] {
            let options = LinkOptions { mac: None, checksum_offload: offload };
            let sandboxes = [Sandbox::new(), Sandbox::new()];
            for (host, sandbox) in sandboxes.iter().enumerate() {
                let id = endpoint(&format!("tcp{network}{host}"));
                links.create_endpoint_links(&id, 1400, options).await.unwrap();
                ovs.vsctl(&["add-port", "br0", id.host_link().as_str()]);
                run("ip", &["link", "set", id.sandbox_link().as_str(), "netns", &sandbox.pid()]);
                sandbox.run("ip", &["link", "set", id.sandbox_link().as_str(), "name", "eth0", "up"]);
                sandbox
                    .run("ip", &["addr", "add", &format!("10.9.{network}.{}/24", host + 1), "dev", "eth0"]);
            }
            let (listening_tx, listening_rx) = std::sync::mpsc::channel();
            let server = sandboxes[0].inside(move || {
                let listener = TcpListener::bind(("0.0.0.0", 5000)).unwrap();
                listener.set_nonblocking(true).unwrap();
                listening_tx.send(()).unwrap();
                // A connection that never comes is what the second round shows.
                let stream = (0..400).find_map(|_| {
                    listener.accept().ok().or_else(|| {
                        std::thread::sleep(Duration::from_millis(10));
                        None
                    })
                });
                let Some((mut stream, _)) = stream else { return 0 };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(0) as usize
            });
            listening_rx.recv().unwrap();
            let client = sandboxes[1].inside(move || {
                let server = format!("10.9.{network}.1:5000").parse().unwrap();
                let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(3))?;
                stream.set_write_timeout(Some(Duration::from_secs(10)))?;
                stream.write_all(&vec![7; SIZE])
            });
            let sent = client.join().unwrap();
            let received = server.join().unwrap();
            if offload {
                assert!(sent.is_err() && received == 0, "offload made no difference: {received} bytes came");
            } else {
                sent.unwrap();
                assert_eq!(received, SIZE);
            }
        }
    });
}
