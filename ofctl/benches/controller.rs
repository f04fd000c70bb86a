//! How fast the learning controller answers: `cargo bench --bench controller [SECONDS]`.
//!
//! A switch that is none sends packet-ins over a unix socket, as cbench does: 1,000 hosts talk to each other, and
//! each packet is to be answered by a flow or a packet-out. In throughput mode it sends as fast as the socket takes
//! and counts the answers; in latency mode it waits for each answer. The controller has one thread, and how many
//! answers it gives for each second that this thread had of a processor is shown too, which says more where others
//! compete for the processors. Beside it are measured, in the same way and in the same run:
//!
//! - the floor: a loop that answers each packet-in with the same bytes, which neither reads it nor learns;
//! - ovs-testcontroller of Open vSwitch, if it is installed.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ofctl::MacAddr;
use ofctl::client::Listen;
use ofctl::client::controller::{Controller, Options};
use ofctl::flow::FlowEntry;
use ofctl::kit::apps::LearningSwitch;
use ofctl::packet::Frame;
use ofctl::wire::{
    Action, Cookie, Features, Field, FlowMod, FragmentMode, Hello, Match, Message, MultipartBody,
    MultipartReply, NO_BUFFER, OfPort, PacketIn, SwitchConfig, TableId, Xid,
};

const HOSTS: u32 = 1000;
const PORTS: u32 = 16;
const ROUNDS: usize = 30_000;

const PACKET_IN: u8 = 10;
const PACKET_OUT: u8 = 13;
const FLOW_MOD: u8 = 14;

fn encode(message: &Message, xid: Xid) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(xid, &mut bytes).unwrap();
    bytes
}

fn mac(host: u32) -> MacAddr {
    let [a, b, c, d] = host.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

/// A packet of 60 bytes from one host to another.
fn packet_in(from: u32, to: u32, buffer_id: u32) -> Vec<u8> {
    let ip = |host: u32| std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + host));
    let frame = Frame::between(mac(from), mac(to)).ip(ip(from), ip(to)).udp(1, 2).payload(&[0; 18]);
    let data = frame.build();
    let packet = PacketIn {
        buffer_id,
        total_len: data.len() as u16,
        reason: 0,
        table: TableId(0),
        cookie: Cookie(0),
        matching: Match::new().with(Field::InPort, OfPort(1 + from % PORTS)),
        data,
    };
    encode(&Message::PacketIn(packet), Xid(0))
}

/// The complete messages at the beginning of the bytes: calls `each` with them, and says how many bytes they are.
fn split(bytes: &[u8], mut each: impl FnMut(&[u8])) -> usize {
    let mut place = 0;
    while let Some(header) = bytes[place..].first_chunk::<8>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some(message) = bytes[place..].get(..length) else { break };
        each(message);
        place += length;
    }
    place
}

/// A stream, and what has come in over it of a message that is not complete.
struct Incoming {
    stream: UnixStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Incoming {
    fn new(stream: UnixStream) -> Self {
        Incoming { stream, buffer: vec![0; 256 << 10], filled: 0 }
    }

    fn read(&mut self, each: impl FnMut(&[u8])) -> io::Result<()> {
        let n = self.stream.read(&mut self.buffer[self.filled..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += n;
        let used = split(&self.buffer[..self.filled], each);
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }
}

/// The answer of a switch with that many ports and nothing else.
fn answer(request: &[u8]) -> Option<Message> {
    Some(match Message::decode(request).unwrap().1 {
        Message::FeaturesRequest => Message::FeaturesReply(Features {
            datapath_id: 1,
            n_buffers: 256,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: 0,
            reserved: 0,
        }),
        Message::EchoRequest(data) => Message::EchoReply(data),
        Message::BarrierRequest => Message::BarrierReply,
        Message::GetConfigRequest => {
            Message::GetConfigReply(SwitchConfig { fragments: FragmentMode::Normal, miss_send_len: 128 })
        }
        Message::MultipartRequest(_) => {
            let body = MultipartBody::PortDescription(Vec::new());
            Message::MultipartReply(MultipartReply { more: false, body })
        }
        _ => return None,
    })
}

fn is_response(message: &[u8]) -> bool {
    matches!(message[1], PACKET_OUT | FLOW_MOD)
}

/// The switch, shaken hands with, all of whose hosts are known to the controller.
fn switch(socket: &Path, buffered: bool) -> Incoming {
    let limit = Instant::now() + Duration::from_secs(10);
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < limit, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    stream.write_all(&encode(&Message::Hello(Hello::OPENFLOW_13), Xid(1))).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut incoming = Incoming::new(stream);
    // Until it asks nothing more.
    while serve(&mut incoming, |_| {}).is_ok() {}
    let buffer_id = if buffered { 1 } else { NO_BUFFER };
    for host in 0..HOSTS {
        incoming.stream.write_all(&packet_in(host, u32::MAX, buffer_id)).unwrap();
        let mut told = false;
        while !told {
            serve(&mut incoming, |message| told |= is_response(message)).unwrap();
        }
    }
    while serve(&mut incoming, |_| {}).is_ok() {}
    incoming
}

/// Reads once, answers requests, and shows all else.
fn serve(incoming: &mut Incoming, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut answers = Vec::new();
    incoming.read(|message| {
        let xid = Xid(u32::from_be_bytes([message[4], message[5], message[6], message[7]]));
        match answer_if_request(message) {
            Some(answer) => answer.encode(xid, &mut answers).unwrap(),
            None => each(message),
        }
    })?;
    incoming.stream.write_all(&answers)
}

fn answer_if_request(message: &[u8]) -> Option<Message> {
    if is_response(message) { None } else { answer(message) }
}

/// All the packets of a round, one after the other: each host to another.
fn conversation(buffered: bool) -> Vec<u8> {
    // The neighbour's port is another one.
    let pairs = (0..HOSTS).map(|host| (host, (host + 1) % HOSTS));
    pairs.flat_map(|(from, to)| packet_in(from, to, if buffered { from } else { NO_BUFFER })).collect()
}

/// Time that a thread or process has had of a processor, by its `stat` of proc(5).
fn processor_time(stat: &Path) -> f64 {
    let text = std::fs::read_to_string(stat).unwrap();
    // The name may have blanks; what follows it begins with the third field.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) / 100.0
}

/// Answers a second, and a second of the answering thread's.
fn throughput(socket: &Path, stat: &Path, buffered: bool, seconds: f64) -> (f64, f64) {
    let mut incoming = switch(socket, buffered);
    incoming.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let counted = Arc::new(AtomicU64::new(0));
    let mut outgoing = incoming.stream.try_clone().unwrap();
    let writer = {
        let (done, round) = (done.clone(), conversation(buffered));
        thread::spawn(move || {
            // The end of the connection ends this too.
            while !done.load(Ordering::Relaxed) && outgoing.write_all(&round).is_ok() {}
        })
    };
    let reader = {
        let (done, counted) = (done.clone(), counted.clone());
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let mut count = 0;
                // Not buffered, a packet is answered by a flow and a packet-out; the latter is counted.
                let wanted = |kind| kind == PACKET_OUT || buffered && kind == FLOW_MOD;
                if incoming.read(|message| count += u64::from(wanted(message[1]))).is_err() {
                    break;
                }
                counted.fetch_add(count, Ordering::Relaxed);
            }
            let _ = incoming.stream.shutdown(std::net::Shutdown::Both);
        })
    };
    thread::sleep(Duration::from_millis(500));
    let (begun, before) = (Instant::now(), counted.load(Ordering::Relaxed));
    let used_before = processor_time(stat);
    thread::sleep(Duration::from_secs_f64(seconds));
    let count = (counted.load(Ordering::Relaxed) - before) as f64;
    let rates = (count / begun.elapsed().as_secs_f64(), count / (processor_time(stat) - used_before));
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    writer.join().unwrap();
    rates
}

/// Median and 99th percentile of the time to an answer, when one packet is under way at a time.
fn latency(socket: &Path) -> (Duration, Duration) {
    let mut incoming = switch(socket, true);
    incoming.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let packets: Vec<Vec<u8>> = (0..HOSTS).map(|host| packet_in(host, (host + 1) % HOSTS, host)).collect();
    let mut times = Vec::with_capacity(ROUNDS);
    for packet in packets.iter().cycle().take(ROUNDS) {
        let begun = Instant::now();
        incoming.stream.write_all(packet).unwrap();
        let mut told = false;
        while !told {
            serve(&mut incoming, |message| told |= is_response(message)).unwrap();
        }
        times.push(begun.elapsed());
    }
    times.sort();
    (times[ROUNDS / 2], times[ROUNDS * 99 / 100])
}

/// A loop that answers each packet-in with the same flow, and every request of nothing.
fn floor(listener: &UnixListener) {
    let flow = FlowEntry::new(TableId(0), 10)
        .matching(
            Match::new()
                .with(Field::InPort, OfPort(1))
                .with(Field::EthDst, mac(1))
                .with(Field::EthSrc, mac(2)),
        )
        .apply([Action::Output(OfPort(2))]);
    let canned = encode(&Message::FlowMod(FlowMod::add(flow)), Xid(7));
    for stream in listener.incoming() {
        let mut incoming = Incoming::new(stream.unwrap());
        incoming.stream.write_all(&encode(&Message::Hello(Hello::OPENFLOW_13), Xid(1))).unwrap();
        let mut answers = Vec::new();
        loop {
            answers.clear();
            let read = incoming.read(|message| {
                if message[1] == PACKET_IN {
                    answers.extend_from_slice(&canned);
                }
            });
            if read.is_err() || incoming.stream.write_all(&answers).is_err() {
                break;
            }
        }
    }
}

/// Runs our controller on this thread for ever.
fn ours(socket: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let controller = Controller::start(LearningSwitch::default(), Options::default());
        controller.listen(Listen::Unix(socket)).await.unwrap();
        std::future::pending::<()>().await;
    });
}

/// ovs-testcontroller; it ends with this.
struct Rival(Child);

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rival(socket: &Path) -> Option<Rival> {
    let place = format!("punix:{}", socket.display());
    let mut command = Command::new("ovs-testcontroller");
    command.args(["-O", "OpenFlow13", &place, "--unixctl=none"]).stderr(Stdio::null());
    command.spawn().ok().map(Rival)
}

/// Starts a thread, and gives its `stat`.
fn start(work: impl FnOnce() + Send + 'static) -> PathBuf {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        sender.send(Path::new("/proc").join(std::fs::read_link("/proc/thread-self").unwrap())).unwrap();
        work();
    });
    receiver.recv().unwrap().join("stat")
}

fn main() {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(3.0);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let listener = UnixListener::bind(path("floor")).unwrap();
    let socket = path("ours");
    let mut contestants = vec![
        ("floor", "canned answers", start(move || floor(&listener))),
        ("ours", "ofctl LearningSwitch", start(move || ours(socket))),
    ];
    let rival = rival(&path("rival"));
    match &rival {
        Some(Rival(process)) => {
            let stat = PathBuf::from(format!("/proc/{}/stat", process.id()));
            contestants.push(("rival", "ovs-testcontroller", stat));
        }
        None => println!("ovs-testcontroller is not installed (package openvswitch-testcontroller)"),
    }
    println!("                            with buffers        without buffers      one at a time");
    println!("responses per second       wall   processor      wall   processor      p50      p99");
    for (file, name, stat) in contestants {
        let socket = path(file);
        let (wall, processor) = throughput(&socket, &stat, true, seconds);
        // The floor knows one answer only.
        let unbuffered = (file != "floor").then(|| throughput(&socket, &stat, false, seconds));
        let unbuffered = unbuffered
            .map_or_else(|| format!("{:>21}", ""), |(wall, cpu)| format!("{wall:>10.0} {cpu:>10.0}"));
        let (p50, p99) = latency(&socket);
        println!("{name:<20} {wall:>10.0}  {processor:>10.0} {unbuffered}  {p50:>8.1?} {p99:>8.1?}");
    }
}
