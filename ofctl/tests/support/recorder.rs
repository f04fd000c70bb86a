//! A switch that takes everything and keeps what it was sent, in any version.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ofctl::MacAddr;
use ofctl::wire::versions::Version;
use ofctl::wire::{
    AggregateStats, AsyncConfig, BundleControl, BundleControlType, Features, FragmentMode, GroupFeatures,
    Message, MessageHeader, MeterFeatures, MultipartBody, MultipartReply, MultipartRequest, NiciraMessage,
    OfPort, PortDescription, SwitchConfig, TlvMap, TlvTable,
};

use super::ovs_ofctl::ovs_ofctl;

const HELLO: u8 = 0;
const ECHO_REQUEST: u8 = 2;
const EXPERIMENTER: u8 = 4;
const FEATURES_REQUEST: u8 = 5;
const FLOW_MOD: u8 = 14;
const GROUP_MOD: u8 = 15;
const METER_MOD: u8 = 29;
const BUNDLE_CONTROL: u8 = 33;
const BUNDLE_ADD: u8 = 34;

/// Nicira messages by which ovs-ofctl makes a switch ready for a flow-mod of 1.0: `NXT_SET_FLOW_FORMAT` and
/// `NXT_FLOW_MOD_TABLE_ID`.
const PREPARATIONS: [[u8; 4]; 2] = [[0, 0, 0, 12], [0, 0, 0, 15]];

/// `ONF_ET_BUNDLE_ADD_MESSAGE`.
const BUNDLE_ADD_13: [u8; 8] = [0x4f, 0x4e, 0x46, 0, 0, 0, 0x08, 0xfd];

/// The bytes of messages, but for hellos, with transaction numbers of zero.
pub(crate) type Received = Vec<Vec<u8>>;

/// A connection's bytes.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Listens at a socket until the process ends.
pub(crate) struct Recorder {
    _folder: tempfile::TempDir,
    version: Version,
    pub(crate) target: String,
    received: Arc<Mutex<Received>>,
    hellos: Arc<AtomicUsize>,
}

impl Recorder {
    pub(crate) fn start(version: Version) -> Recorder {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("switch");
        let listener = UnixListener::bind(&path).unwrap();
        let switch = Recorder::new(version, format!("unix:{}", path.display()), folder);
        let serve = switch.server();
        std::thread::spawn(move || listener.incoming().for_each(|stream| serve(Box::new(stream.unwrap()))));
        switch
    }

    /// The same on a port of the loopback interface.
    pub(crate) fn start_tcp(version: Version) -> Recorder {
        Self::start_on_tcp(version, "tcp", |stream| stream)
    }

    /// The same with something between the port and the messages, such as TLS.
    pub(crate) fn start_on_tcp<S: Read + Write + Send + 'static>(
        version: Version,
        scheme: &str,
        dress: impl Fn(TcpStream) -> S + Send + 'static,
    ) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("{scheme}:{}", listener.local_addr().unwrap());
        let switch = Recorder::new(version, target, tempfile::tempdir().unwrap());
        let serve = switch.server();
        std::thread::spawn(move || {
            listener.incoming().for_each(|stream| serve(Box::new(dress(stream.unwrap()))));
        });
        switch
    }

    fn new(version: Version, target: String, folder: tempfile::TempDir) -> Recorder {
        Recorder { _folder: folder, version, target, received: Arc::default(), hellos: Arc::default() }
    }

    /// Serves each stream that it is given on a thread of its own.
    fn server(&self) -> impl Fn(Box<dyn Stream>) + Send + 'static {
        let (kept, heard, version) = (Arc::clone(&self.received), Arc::clone(&self.hellos), self.version);
        let config = Arc::new(Mutex::new(SwitchConfig { fragments: FragmentMode::Normal, miss_send_len: 0 }));
        move |stream| {
            let (kept, config, heard) = (Arc::clone(&kept), Arc::clone(&config), Arc::clone(&heard));
            std::thread::spawn(move || serve(version, stream, &kept, &config, &heard));
        }
    }

    /// Connections that have said hello.
    pub(crate) fn hellos(&self) -> usize {
        self.hellos.load(Ordering::SeqCst)
    }

    /// What came since the last time.
    pub(crate) fn take(&self) -> Received {
        std::mem::take(&mut self.received.lock().unwrap())
    }

    /// The changes that ovs-ofctl asks for by a command with these arguments after the switch, or why it refuses.
    pub(crate) fn sent(&self, command: &[&str], arguments: &[&str]) -> Result<Received, String> {
        let output = ovs_ofctl()
            .args(["-O", self.version.name()])
            .args(command)
            .arg(&self.target)
            .args(arguments)
            .output()
            .expect("ovs-ofctl is there");
        let changes: Received = self.take().into_iter().filter(|message| is_change(message)).collect();
        if changes.is_empty() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(changes)
    }
}

/// True for what asks a switch to change, and no longer only to make ready for that.
fn is_change(message: &[u8]) -> bool {
    match message[1] {
        EXPERIMENTER => !PREPARATIONS.iter().any(|known| message[12..16] == *known),
        kind => [FLOW_MOD, GROUP_MOD, METER_MOD, BUNDLE_CONTROL, BUNDLE_ADD].contains(&kind),
    }
}

fn serve(
    version: Version,
    mut stream: impl Read + Write,
    kept: &Mutex<Received>,
    config: &Mutex<SwitchConfig>,
    hellos: &AtomicUsize,
) {
    // Whoever has gone once he has what he wants is seen at the next read.
    let _ = stream.write_all(&[version.number(), HELLO, 0, 8, 0, 0, 0, 0]);
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        while let Some(header) = MessageHeader::peek(&bytes).unwrap()
            && bytes.len() >= header.length.into()
        {
            let rest = bytes.split_off(header.length.into());
            let mut one = std::mem::replace(&mut bytes, rest);
            if one[1] == HELLO {
                hellos.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let answer = match version {
                // What is refused here is recorded all the same.
                Version::OpenFlow13 => Message::decode(&one).ok().and_then(|(xid, message)| {
                    if let Message::SetConfig(new) = message {
                        *config.lock().unwrap() = new;
                    }
                    let mut bytes = Vec::new();
                    answer(message, *config.lock().unwrap())?.encode(xid, &mut bytes).unwrap();
                    Some(bytes)
                }),
                other => answer_in(other, &one),
            };
            // Before it is answered: whoever sent it may look as soon as the answer is there.
            forget_numbers(&mut one);
            kept.lock().unwrap().push(one);
            if let Some(answer) = answer {
                let _ = stream.write_all(&answer);
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
}

/// Makes a message's transaction number zero, and that of a message inside of it.
fn forget_numbers(message: &mut [u8]) {
    let inside = match message[1] {
        EXPERIMENTER if message[8..16] == BUNDLE_ADD_13 => 28,
        BUNDLE_ADD => 20,
        _ => 4,
    };
    for at in [4, inside] {
        if let Some(number) = message.get_mut(at..at + 4) {
            number.fill(0);
        }
    }
}

/// What ovs-ofctl waits for in a version in which this crate does not read everything.
fn answer_in(version: Version, message: &[u8]) -> Option<Vec<u8>> {
    let mut answer = message.to_vec();
    let barrier = if version == Version::OpenFlow10 { 18 } else { 20 };
    match message[1] {
        kind if kind == ECHO_REQUEST || kind == barrier => answer[1] += 1,
        FEATURES_REQUEST => {
            answer[1] += 1;
            answer.resize(32, 0);
        }
        // Each answer is the number after its request's.
        BUNDLE_CONTROL => answer[13] += 1,
        _ => return None,
    }
    let length = u16::try_from(answer.len()).expect("a short answer");
    answer[2..4].copy_from_slice(&length.to_be_bytes());
    Some(answer)
}

/// What a switch of 1.3 that has nothing but a port answers.
fn answer(message: Message, config: SwitchConfig) -> Option<Message> {
    let part = |body| Some(Message::MultipartReply(MultipartReply { more: false, body }));
    match message {
        Message::EchoRequest(data) => Some(Message::EchoReply(data)),
        Message::BarrierRequest => Some(Message::BarrierReply),
        Message::GetConfigRequest => Some(Message::GetConfigReply(config)),
        Message::FeaturesRequest => Some(Message::FeaturesReply(Features {
            datapath_id: 1,
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: 0x4f,
            reserved: 0,
        })),
        Message::BundleControl(control) => {
            let kind = match control.kind {
                BundleControlType::OpenRequest => BundleControlType::OpenReply,
                BundleControlType::CloseRequest => BundleControlType::CloseReply,
                BundleControlType::CommitRequest => BundleControlType::CommitReply,
                _ => BundleControlType::DiscardReply,
            };
            Some(Message::BundleControl(BundleControl { kind, ..control }))
        }
        Message::MultipartRequest(request) => match request {
            MultipartRequest::Description => part(MultipartBody::Description(Box::default())),
            MultipartRequest::Flow(_) => part(MultipartBody::Flow(Vec::new())),
            MultipartRequest::Aggregate(_) => part(MultipartBody::Aggregate(AggregateStats::default())),
            MultipartRequest::Table => part(MultipartBody::Table(Vec::new())),
            MultipartRequest::PortDescription => part(MultipartBody::PortDescription(vec![port()])),
            MultipartRequest::PortStats(_) => part(MultipartBody::PortStats(Vec::new())),
            MultipartRequest::Queue(..) => part(MultipartBody::Queue(Vec::new())),
            MultipartRequest::GroupStats(_) => part(MultipartBody::GroupStats(Vec::new())),
            MultipartRequest::GroupDescription => part(MultipartBody::GroupDescription(Vec::new())),
            MultipartRequest::GroupFeatures => part(MultipartBody::GroupFeatures(GroupFeatures {
                types: 0xf,
                capabilities: 7,
                max_groups: [9; 4],
                actions: [1; 4],
            })),
            MultipartRequest::MeterStats(_) => part(MultipartBody::MeterStats(Vec::new())),
            MultipartRequest::MeterConfig(_) => part(MultipartBody::MeterConfig(Vec::new())),
            MultipartRequest::MeterFeatures => part(MultipartBody::MeterFeatures(MeterFeatures {
                max_meters: 100,
                band_types: 2,
                capabilities: 15,
                max_bands: 1,
                max_color: 0,
            })),
            MultipartRequest::TableFeatures(_) => part(table_features()),
            MultipartRequest::IpfixBridge => part(MultipartBody::IpfixBridge(Box::default())),
            MultipartRequest::IpfixFlow => part(MultipartBody::IpfixFlow(Vec::new())),
            MultipartRequest::FlowMonitor(_) => part(MultipartBody::FlowMonitor(Vec::new())),
            _ => None,
        },
        Message::QueueGetConfigRequest(port) => {
            Some(Message::QueueGetConfigReply { port, queues: Vec::new() })
        }
        Message::Nicira(NiciraMessage::TlvTableRequest) => {
            let maps = vec![TlvMap { class: 0x105, kind: 1, length: 4, index: 0 }];
            let table = TlvTable { max_option_space: 256, max_fields: 64, maps };
            Some(Message::Nicira(NiciraMessage::TlvTableReply(table)))
        }
        Message::RoleRequest(request) => Some(Message::RoleReply(request)),
        Message::GetAsyncRequest => Some(Message::GetAsyncReply(AsyncConfig {
            packet_in: [3, 0],
            port_status: [7, 7],
            flow_removed: [15, 0],
        })),
        _ => None,
    }
}

/// `OFPMP_TABLE_FEATURES` of a table with the eight lists that there must be, all empty.
fn table_features() -> MultipartBody {
    let mut body = vec![0; 64];
    body[..2].copy_from_slice(&128_u16.to_be_bytes());
    body[8..13].copy_from_slice(b"first");
    for list in [0, 2, 4, 6, 8, 10, 12, 14] {
        body.extend([0, list, 0, 4, 0, 0, 0, 0]);
    }
    MultipartBody::Unknown { kind: 12, body }
}

/// The port that it has.
pub(crate) fn port() -> PortDescription {
    PortDescription {
        port: OfPort(1),
        address: MacAddr([2, 0, 0, 0, 0, 1]),
        name: "p1".to_owned(),
        config: 0,
        state: 0,
        current: 0,
        advertised: 0,
        supported: 0,
        peer: 0,
        current_speed: 0,
        max_speed: 0,
    }
}
