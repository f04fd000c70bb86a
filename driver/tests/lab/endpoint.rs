//! A container without a container: a network namespace that holds an endpoint's link, and traffic from it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::namespace::{NetNs, Printed};
use super::packet::{Mac, PacketSocket};

/// An endpoint in its sandbox.
#[derive(Debug)]
pub struct Endpoint {
    pub ns: NetNs,
    pub network: String,
    pub id: String,
    /// The link's name on the host.
    pub link: String,
    pub mac: Mac,
    /// How long CreateEndpoint and Join took.
    pub took: Duration,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Endpoint {
    #[expect(clippy::too_many_arguments, reason = "the parts of one reply, put together in one place")]
    pub(super) fn new(
        ns: NetNs,
        network: String,
        id: String,
        link: String,
        mac: Mac,
        v4: &str,
        v6: &str,
        took: Duration,
    ) -> Self {
        fn bare<T: std::str::FromStr>(address: &str) -> Option<T> {
            address.split('/').next()?.parse().ok()
        }
        Self { ns, network, id, link, mac, took, v4: bare(v4), v6: bare(v6) }
    }

    /// Its IPv4 address.
    #[track_caller]
    pub fn v4(&self) -> Ipv4Addr {
        self.v4.expect("an IPv4 address")
    }

    /// Its IPv6 address.
    #[track_caller]
    pub fn v6(&self) -> Ipv6Addr {
        self.v6.expect("an IPv6 address")
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Runs a command in the sandbox.
    pub fn exec<S: AsRef<std::ffi::OsStr> + Sync>(&self, argv: impl AsRef<[S]>) -> Printed {
        self.ns.exec(argv)
    }

    /// Sees every frame on its link, and can send any.
    pub fn sniff(&self) -> PacketSocket {
        PacketSocket::open(&self.ns, "eth0")
    }

    /// The link's MTU.
    #[track_caller]
    pub fn mtu(&self) -> usize {
        let shown = self.exec(["ip", "-o", "link", "show", "eth0"]).expect("its link");
        let mtu = shown.split_whitespace().skip_while(|word| *word != "mtu").nth(1);
        mtu.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no MTU in {shown}"))
    }

    /// Echo requests; every one must be answered. Says which were not, and what the neighbour tables hold.
    pub fn ping(&self, to: IpAddr, count: u32) -> Result<(), String> {
        let (packets, to) = (count.to_string(), to.to_string());
        let mut argv = vec!["ping", "-n", "-i", "0.01", "-W", "1", "-c", &packets];
        // Without a deadline it waits for the last answer no longer than twice as long as for the slowest before, which
        // a busy machine does not keep. With one it goes on until so many are answered.
        let deadline = (2 + count / 50).to_string();
        if count > 1 {
            argv.extend(["-w", &deadline]);
        }
        argv.push(&to);
        let said = self.exec(argv);
        let answered =
            |number: u32| said.stdout.lines().any(|line| line.contains(&format!("_seq={number} ttl=")));
        let lost: Vec<u32> = (1..=count).filter(|number| !answered(*number)).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let neighbours = self.exec(["ip", "neigh"]).stdout;
        Err(format!("lost {lost:?} of {count} to {to}; {} neighbours here: {neighbours}", said.stderr))
    }

    /// One echo request as large as the link allows, not to be fragmented.
    pub fn ping_full_size(&self, to: IpAddr) -> Result<(), String> {
        let headers = if to.is_ipv4() { 28 } else { 48 };
        let size = (self.mtu() - headers).to_string();
        self.exec(["ping", "-n", "-q", "-M", "do", "-W", "1", "-c", "1", "-s", &size, &to.to_string()])
            .ok()
            .map(drop)
    }

    /// Sends `bytes` to another endpoint's address over TCP and checks that the same bytes arrive. The payload
    /// is a sequence that repeats at no packet boundary, so that a lost or doubled segment shows.
    pub fn tcp(&self, to: &Self, address: IpAddr, bytes: usize) -> Result<Duration, String> {
        let payload: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect();
        let failed =
            |what: &'static str| move |error: std::io::Error| format!("TCP to {address}: {what}: {error}");
        let listener = to.ns.run(|| TcpListener::bind((address, 0))).map_err(failed("bind"))?;
        let to = listener.local_addr().map_err(failed("local address"))?;
        let stream = self
            .ns
            .run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)))
            .map_err(failed("connect"))?;
        let (receiver, _) = listener.accept().map_err(failed("accept"))?;
        for socket in [&stream, &receiver] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed("timeout"))?;
            socket.set_write_timeout(Some(Duration::from_secs(10))).map_err(failed("timeout"))?;
        }
        let begin = Instant::now();
        let got = thread::scope(|scope| {
            let mut stream = stream;
            let payload = &payload;
            let sender = scope.spawn(move || stream.write_all(payload));
            let mut got = Vec::with_capacity(bytes);
            let read = (&receiver).read_to_end(&mut got);
            // A receiver that gave up must not leave the sender waiting.
            drop(receiver);
            sender.join().expect("the sender's thread").map_err(failed("send"))?;
            read.map_err(failed("receive")).map(|_| got)
        })?;
        if got == payload {
            Ok(begin.elapsed())
        } else {
            Err(format!("TCP to {address}: other bytes arrived"))
        }
    }

    /// Sends datagrams one at a time and waits for the echo of each.
    pub fn udp(&self, to: &Self, address: IpAddr, count: u32) -> Result<(), String> {
        let stream = self.stream(to, address, Duration::from_millis(2));
        let deadline = Instant::now() + Duration::from_secs(10);
        while stream.answered() < count {
            if Instant::now() > deadline {
                let (sent, answered) = stream.stop();
                return Err(format!("UDP to {address}: {answered} of {sent} answered"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        match stream.stop() {
            (sent, answered) if sent == answered => Ok(()),
            (sent, answered) => Err(format!("UDP to {address}: {answered} of {sent} answered")),
        }
    }

    /// A steady stream of datagrams to another endpoint, which sends each back.
    #[track_caller]
    pub fn stream(&self, to: &Self, address: IpAddr, interval: Duration) -> Stream {
        let server = to.ns.run(|| UdpSocket::bind((address, 0))).expect("a UDP socket at the far end");
        let from = if address.is_ipv4() { IpAddr::V4(self.v4()) } else { IpAddr::V6(self.v6()) };
        let client = self.ns.run(|| UdpSocket::bind((from, 0))).expect("a UDP socket");
        let to = server.local_addr().expect("its address");
        Stream::start(client, server, to, interval)
    }
}

/// Datagrams on their way, until [`Stream::stop`].
#[derive(Debug)]
pub struct Stream {
    over: Arc<AtomicBool>,
    drained: Arc<AtomicBool>,
    answered: Arc<std::sync::atomic::AtomicU32>,
    sender: JoinHandle<u32>,
    receiver: JoinHandle<()>,
    echo: JoinHandle<()>,
}

impl Stream {
    fn start(client: UdpSocket, server: UdpSocket, to: SocketAddr, interval: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let drained = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let tick = Some(Duration::from_millis(20));
        server.set_read_timeout(tick).expect("a timeout");
        client.set_read_timeout(tick).expect("a timeout");
        let echo = thread::spawn({
            let drained = Arc::clone(&drained);
            move || {
                let mut buffer = [0; 64];
                while !drained.load(Ordering::Relaxed) {
                    if let Ok((length, from)) = server.recv_from(&mut buffer) {
                        let _ = server.send_to(&buffer[..length], from);
                    }
                }
            }
        });
        let receiver = thread::spawn({
            let (client, answered, drained) =
                (client.try_clone().expect("a handle"), Arc::clone(&answered), Arc::clone(&drained));
            move || {
                // Each number counts once: a packet that arrives twice does not make up for a lost one.
                let mut seen = std::collections::HashSet::new();
                let mut buffer = [0; 64];
                while !drained.load(Ordering::Relaxed) {
                    if let Ok((4, _)) = client.recv_from(&mut buffer)
                        && seen.insert([buffer[0], buffer[1], buffer[2], buffer[3]])
                    {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let sender = thread::spawn({
            let over = Arc::clone(&over);
            move || {
                let mut sent = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    // What the kernel refuses to send (no neighbour, say) counts as sent and lost.
                    let _ = client.send_to(&sent.to_be_bytes(), to);
                    sent += 1;
                    thread::sleep(interval);
                }
                sent
            }
        });
        Self { over, drained, answered, sender, receiver, echo }
    }

    /// How many have been answered so far.
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Stops sending, gives the last ones time to come back, and says how many were sent and answered.
    pub fn stop(self) -> (u32, u32) {
        self.over.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender");
        let deadline = Instant::now() + Duration::from_millis(500);
        while self.answered.load(Ordering::Relaxed) < sent && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.drained.store(true, Ordering::Relaxed);
        self.receiver.join().expect("the receiver");
        self.echo.join().expect("the far end");
        (sent, self.answered.load(Ordering::Relaxed))
    }
}
