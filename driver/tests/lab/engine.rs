//! dockerd's side of the plugin protocol: the calls that it makes, in its order, and what it does with the link
//! that it is given. What is known of dockerd's behaviour here was measured on 20.10, 26.1 and 28.5.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::host::Host;
use super::namespace::NetNs;
use super::packet::mac;
use super::{PATIENCE, eventually};

/// Makes the calls of one host's dockerd.
#[derive(Debug)]
pub struct Engine<'h> {
    host: &'h Host,
    socket: PathBuf,
}

/// What `docker network create` would say.
#[derive(Debug, Clone)]
pub struct NetworkSpec {
    pub options: Vec<(String, String)>,
    pub ipam_options: Vec<(String, String)>,
    pub v4: Option<String>,
    pub v6: Option<String>,
    pub internal: bool,
}

impl NetworkSpec {
    /// A network of the cluster: `-o network=NAME -o encap=ENCAP`, with our IPAM and these subnets.
    pub fn cluster(name: &str, encap: &str, v4: Option<&str>, v6: Option<&str>) -> Self {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Self {
            options: vec![pair("network", name), pair("encap", encap)],
            ipam_options: vec![pair("network", name)],
            v4: v4.map(str::to_owned),
            v6: v6.map(str::to_owned),
            internal: false,
        }
    }

    /// With one more `-o`.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.options.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A Docker network, as its engine knows it.
#[derive(Debug, Clone)]
pub struct DockerNetwork {
    pub id: String,
    pools: Vec<Pool>,
}

#[derive(Debug, Clone)]
struct Pool {
    id: String,
    gateway: String,
    subnet: String,
    v6: bool,
}

/// What `docker run` would say of an endpoint.
#[derive(Debug, Clone, Default)]
pub struct Attach {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    pub mac: Option<String>,
}

/// An endpoint that Docker has joined, before it has a sandbox.
#[derive(Debug)]
pub struct Joined {
    ids: Value,
    id: String,
    /// The link that Join named, which is on the host.
    pub link: String,
    address: String,
    v4: String,
    v6: String,
    reply: Value,
    /// How long CreateEndpoint and Join took.
    pub took: Duration,
}

impl Joined {
    /// The container's MAC.
    pub fn mac(&self) -> super::packet::Mac {
        mac(&self.address)
    }
}

impl<'h> Engine<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        Self { host, socket: host.seen("/run/docker/plugins/sluice.sock") }
    }

    /// One call; an error is the driver's own text.
    pub fn call(&self, method: &str, body: &Value) -> Result<Value, String> {
        call(&self.socket, method, &format!("{body}\n"))
    }

    /// `docker network create -d sluice --ipam-driver sluice`.
    pub fn create_network(&self, spec: &NetworkSpec) -> Result<DockerNetwork, String> {
        let mut pools = Vec::new();
        let wanted = [(spec.v4.as_ref(), false), (spec.v6.as_ref(), true)];
        for (subnet, v6) in wanted.into_iter().filter_map(|(subnet, v6)| Some((subnet?, v6))) {
            let options = generic(&spec.ipam_options);
            let request = json!({"AddressSpace": "sluice-local", "Pool": subnet, "SubPool": "", "Options": options, "V6": v6});
            let reply = self.call("IpamDriver.RequestPool", &request)?;
            let id = text(&reply, "PoolID");
            let gateway = match reply.pointer("/Data/com.docker.network.gateway") {
                Some(gateway) => gateway.as_str().expect("a string").to_owned(),
                None => {
                    let options = json!({"RequestAddressType": "com.docker.network.gateway"});
                    let request = json!({"PoolID": id, "Address": "", "Options": options});
                    text(&self.call("IpamDriver.RequestAddress", &request)?, "Address")
                }
            };
            pools.push(Pool { id, gateway, subnet: text(&reply, "Pool"), v6 });
        }
        let id = unique_id();
        let data = |v6: bool| -> Vec<Value> {
            let pools = pools.iter().filter(|pool| pool.v6 == v6);
            pools
                .map(|pool| json!({"AddressSpace": "sluice-local", "Gateway": pool.gateway, "Pool": pool.subnet}))
                .collect()
        };
        let mut options = json!({
            "com.docker.network.enable_ipv6": spec.v6.is_some(),
            "com.docker.network.generic": generic(&spec.options),
        });
        if spec.internal {
            options["com.docker.network.internal"] = json!(true);
        }
        let request =
            json!({"NetworkID": id, "Options": options, "IPv4Data": data(false), "IPv6Data": data(true)});
        self.call("NetworkDriver.CreateNetwork", &request)?;
        Ok(DockerNetwork { id, pools })
    }

    /// `docker network rm`.
    pub fn remove_network(&self, network: &DockerNetwork) -> Result<(), String> {
        for pool in &network.pools {
            let address = pool.gateway.split('/').next().expect("a first part");
            self.call("IpamDriver.ReleaseAddress", &json!({"PoolID": pool.id, "Address": address}))?;
            self.call("IpamDriver.ReleasePool", &json!({"PoolID": pool.id}))?;
        }
        self.call("NetworkDriver.DeleteNetwork", &json!({"NetworkID": network.id})).map(drop)
    }

    /// An endpoint, as `docker run` makes it: addresses, CreateEndpoint, Join, and the link moved into a sandbox.
    pub fn attach(&self, network: &DockerNetwork, attach: &Attach) -> Result<Endpoint, String> {
        let Joined { ids, id, link, address, v4, v6, reply, took } = self.join(network, attach)?;
        let ns = self.sandbox(&link, &address, &v4, &v6, &reply)?;
        self.call("NetworkDriver.EndpointOperInfo", &ids)?;
        Ok(Endpoint::new(ns, network.id.clone(), id, link, mac(&address), &v4, &v6, took))
    }

    /// The calls of an attachment up to the reply to Join. The link stays on the host.
    pub fn join(&self, network: &DockerNetwork, attach: &Attach) -> Result<Joined, String> {
        let (mut v4, mut v6) = (String::new(), String::new());
        for pool in &network.pools {
            let wanted = if pool.v6 { attach.v6.map(IpAddr::V6) } else { attach.v4.map(IpAddr::V4) };
            let wanted = wanted.map(|address| address.to_string()).unwrap_or_default();
            let request = json!({"PoolID": pool.id, "Address": wanted, "Options": null});
            let address = text(&self.call("IpamDriver.RequestAddress", &request)?, "Address");
            *(if pool.v6 { &mut v6 } else { &mut v4 }) = address;
        }
        let id = unique_id();
        let ids = json!({"NetworkID": network.id, "EndpointID": id});
        let begin = Instant::now();
        let mut request = ids.clone();
        let asked = attach.mac.clone().unwrap_or_default();
        request["Interface"] = json!({"Address": v4, "AddressIPv6": v6, "MacAddress": asked});
        request["Options"] =
            json!({"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": []});
        let created = self.call("NetworkDriver.CreateEndpoint", &request)?;
        let given = created.pointer("/Interface/MacAddress").and_then(Value::as_str).unwrap_or_default();
        let address = if asked.is_empty() { given.to_owned() } else { asked };

        let mut request = ids.clone();
        request["SandboxKey"] = json!(format!("/var/run/docker/netns/{}", &id[..12]));
        request["Options"] = json!({});
        let reply = self.call("NetworkDriver.Join", &request)?;
        let took = begin.elapsed();
        let link = reply.pointer("/InterfaceName/SrcName").and_then(Value::as_str);
        let link = link.ok_or("Join gave no link")?.to_owned();
        Ok(Joined { ids, id, link, address, v4, v6, reply, took })
    }

    /// The calls that end what [`Engine::join`] began; tells how long Leave and DeleteEndpoint took.
    pub fn leave(&self, network: &DockerNetwork, joined: &Joined) -> Result<Duration, String> {
        let begin = Instant::now();
        self.call("NetworkDriver.Leave", &joined.ids)?;
        self.call("NetworkDriver.DeleteEndpoint", &joined.ids)?;
        let took = begin.elapsed();
        for pool in &network.pools {
            let address = if pool.v6 { &joined.v6 } else { &joined.v4 };
            let address = address.split('/').next().expect("a first part");
            self.call("IpamDriver.ReleaseAddress", &json!({"PoolID": pool.id, "Address": address}))?;
        }
        Ok(took)
    }

    /// What dockerd does with the link: into the sandbox, renamed, MAC, addresses without DAD, up, routes. It
    /// touches neither the MTU nor the offloads.
    fn sandbox(
        &self,
        link: &str,
        address: &str,
        v4: &str,
        v6: &str,
        joined: &Value,
    ) -> Result<NetNs, String> {
        let ns = NetNs::new();
        self.host.net().exec(["ip", "link", "set", link, "netns", &ns.path()]).ok()?;
        ns.exec(["ip", "link", "set", link, "name", "eth0", "address", address]).ok()?;
        if !v4.is_empty() {
            ns.exec(["ip", "address", "add", v4, "dev", "eth0"]).ok()?;
        }
        if v6.is_empty() {
            ns.exec(["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1"]).ok()?;
        } else {
            ns.exec(["ip", "-6", "address", "add", v6, "dev", "eth0", "nodad"]).ok()?;
        }
        ns.exec(["ip", "link", "set", "eth0", "up"]).ok()?;
        // The kernel brings the host's end up after the call has returned, and drops what is sent there until then.
        // With dockerd that is long past when a container's process starts.
        let host_link = link.replacen("slc-", "slh-", 1);
        eventually("the host's end is up", PATIENCE, || {
            let seen = self.host.net().exec(["ip", "-br", "link", "show", &host_link]).stdout;
            if seen.contains(" UP ") { Ok(()) } else { Err(seen) }
        });
        for key in ["Gateway", "GatewayIPv6"] {
            if let Some(gateway) =
                joined.get(key).and_then(Value::as_str).filter(|gateway| !gateway.is_empty())
            {
                ns.exec(["ip", "route", "add", "default", "via", gateway]).ok()?;
            }
        }
        Ok(ns)
    }

    /// `docker stop`: Leave, the link back to the host, DeleteEndpoint, addresses released.
    pub fn detach(&self, network: &DockerNetwork, endpoint: Endpoint) -> Result<(), String> {
        let ids = json!({"NetworkID": endpoint.network, "EndpointID": endpoint.id});
        self.call("NetworkDriver.Leave", &ids)?;
        let addresses: Vec<IpAddr> = endpoint.addresses().collect();
        // Under the name that it had, and down; it may be gone by now, which is as good.
        let link = &endpoint.link;
        let host = self.host.net().path();
        let _ = endpoint.ns.exec(["ip", "link", "set", "eth0", "down", "name", link, "netns", &host]);
        drop(endpoint);
        self.call("NetworkDriver.DeleteEndpoint", &ids)?;
        for address in addresses {
            let pool = network.pools.iter().find(|pool| pool.v6 == address.is_ipv6()).expect("its pool");
            let request = json!({"PoolID": pool.id, "Address": address.to_string()});
            self.call("IpamDriver.ReleaseAddress", &request)?;
        }
        Ok(())
    }
}

fn generic(options: &[(String, String)]) -> Value {
    Value::Object(options.iter().map(|(key, value)| (key.clone(), json!(value))).collect())
}

fn text(reply: &Value, key: &str) -> String {
    reply[key].as_str().unwrap_or_else(|| panic!("{key} in {reply}")).to_owned()
}

/// A 64-digit id like Docker's, different for every call in every process.
fn unique_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    // The first digits differ most, because names are cut from there.
    format!("{:08x}{:08x}{:048x}", (next as u32).wrapping_mul(0x9e37_79b1), std::process::id(), next)
}

/// One HTTP request to a plugin socket, with dockerd's headers; an error is what dockerd would show.
pub fn call(socket: &std::path::Path, method: &str, body: &str) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("{method}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
    let request = format!(
        "POST /{method} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
         Accept: application/vnd.docker.plugins.v1.2+json\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map_err(failed)?;
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) =
        reply.split_once("\r\n\r\n").ok_or_else(|| format!("{method}: no HTTP reply: {reply:?}"))?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let value: Value = serde_json::from_str(body).map_err(|error| format!("{method}: {error}: {body:?}"))?;
    let error =
        ["Err", "Error"].iter().find_map(|key| value.get(key)?.as_str().filter(|text| !text.is_empty()));
    match (status, error) {
        ("200", None) => Ok(value),
        ("200", Some(error)) => Err(error.to_owned()),
        (status, error) => Err(format!("{method}: {status}: {}", error.unwrap_or(body))),
    }
}
