//! A switch that takes everything and keeps what it was sent.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ofctl::MacAddr;
use ofctl::wire::{
    AggregateStats, AsyncConfig, BundleControl, BundleControlType, Features, FragmentMode, GroupFeatures,
    Hello, Message, MessageHeader, MeterFeatures, MultipartBody, MultipartReply, MultipartRequest,
    NiciraMessage, OfPort, PortDescription, SwitchConfig, TlvMap, TlvTable, Xid,
};

/// Messages and their bytes.
pub(crate) type Received = Vec<(Message, Vec<u8>)>;

/// A connection's bytes.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Listens at a socket until the process ends.
pub(crate) struct FakeSwitch {
    _folder: tempfile::TempDir,
    pub(crate) target: String,
    received: Arc<Mutex<Received>>,
    hellos: Arc<AtomicUsize>,
}

impl FakeSwitch {
    pub(crate) fn start() -> FakeSwitch {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("switch");
        let listener = UnixListener::bind(&path).unwrap();
        let switch = FakeSwitch::new(format!("unix:{}", path.display()), folder);
        let serve = switch.server();
        std::thread::spawn(move || listener.incoming().for_each(|stream| serve(Box::new(stream.unwrap()))));
        switch
    }

    /// The same on a port of the loopback interface.
    pub(crate) fn start_tcp() -> FakeSwitch {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let switch = FakeSwitch::new(format!("tcp:{address}"), tempfile::tempdir().unwrap());
        let serve = switch.server();
        std::thread::spawn(move || listener.incoming().for_each(|stream| serve(Box::new(stream.unwrap()))));
        switch
    }

    fn new(target: String, folder: tempfile::TempDir) -> FakeSwitch {
        FakeSwitch { _folder: folder, target, received: Arc::default(), hellos: Arc::default() }
    }

    /// Serves each stream that it is given on a thread of its own.
    fn server(&self) -> impl Fn(Box<dyn Stream>) + Send + 'static {
        let (kept, heard) = (Arc::clone(&self.received), Arc::clone(&self.hellos));
        let config = Arc::new(Mutex::new(SwitchConfig { fragments: FragmentMode::Normal, miss_send_len: 0 }));
        move |stream| {
            let (kept, config, heard) = (Arc::clone(&kept), Arc::clone(&config), Arc::clone(&heard));
            std::thread::spawn(move || serve(stream, &kept, &config, &heard));
        }
    }

    /// Connections that have said hello.
    pub(crate) fn hellos(&self) -> usize {
        self.hellos.load(Ordering::SeqCst)
    }

    /// What came since the last time, without hellos; transaction numbers are zero.
    pub(crate) fn take(&self) -> Received {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

fn serve(
    mut stream: impl Read + Write,
    kept: &Mutex<Received>,
    config: &Mutex<SwitchConfig>,
    hellos: &AtomicUsize,
) {
    send(&mut stream, Xid(0), &Message::Hello(Hello::OPENFLOW_13));
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        while let Some(header) = MessageHeader::peek(&bytes).unwrap()
            && bytes.len() >= header.length.into()
        {
            let rest = bytes.split_off(header.length.into());
            let mut one = std::mem::replace(&mut bytes, rest);
            let (xid, message) = Message::decode(&one).unwrap();
            if matches!(message, Message::Hello(_)) {
                hellos.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            // Before it is answered: whoever sent it may look as soon as the answer is there.
            one[4..8].fill(0);
            kept.lock().unwrap().push((message.clone(), one));
            if let Message::SetConfig(new) = message {
                *config.lock().unwrap() = new;
            }
            if let Some(answer) = answer(message, *config.lock().unwrap()) {
                send(&mut stream, xid, &answer);
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
}

fn send(stream: &mut impl Write, xid: Xid, message: &Message) {
    let mut bytes = Vec::new();
    message.encode(xid, &mut bytes).unwrap();
    // The command may be gone once it has what it wants.
    let _ = stream.write_all(&bytes);
}

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

fn port() -> PortDescription {
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
