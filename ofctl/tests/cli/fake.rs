//! A switch that takes everything and keeps what it was sent.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ofctl::wire::{
    AggregateStats, BundleControl, BundleControlType, Features, FragmentMode, Hello, Message, MessageHeader,
    MultipartBody, MultipartReply, MultipartRequest, SwitchConfig, Xid,
};

/// Messages and their bytes.
type Received = Vec<(Message, Vec<u8>)>;

/// Listens at a socket until the process ends.
pub(crate) struct FakeSwitch {
    _folder: tempfile::TempDir,
    pub(crate) target: String,
    received: Arc<Mutex<Received>>,
}

impl FakeSwitch {
    pub(crate) fn start() -> FakeSwitch {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("switch");
        let listener = UnixListener::bind(&path).unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let config = Arc::new(Mutex::new(SwitchConfig { fragments: FragmentMode::Normal, miss_send_len: 0 }));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, config) = (Arc::clone(&kept), Arc::clone(&config));
                std::thread::spawn(move || serve(stream.unwrap(), &kept, &config));
            }
        });
        FakeSwitch { target: format!("unix:{}", path.display()), _folder: folder, received }
    }

    /// What came since the last time, without hellos; transaction numbers are zero.
    pub(crate) fn take(&self) -> Received {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

fn serve(mut stream: UnixStream, kept: &Mutex<Received>, config: &Mutex<SwitchConfig>) {
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

fn send(stream: &mut UnixStream, xid: Xid, message: &Message) {
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
            MultipartRequest::PortDescription => part(MultipartBody::PortDescription(Vec::new())),
            _ => None,
        },
        _ => None,
    }
}
