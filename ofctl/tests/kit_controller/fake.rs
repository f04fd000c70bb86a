//! A switch of few words: it shakes hands, describes itself, and keeps what it is told.

use std::time::{Duration, Instant};

use ofctl::session::{Config, Event, Session};
use ofctl::wire::{
    Features, FragmentMode, Message, MultipartBody, MultipartReply, MultipartRequest, SwitchConfig, Xid,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) struct Fake<S> {
    number: u64,
    pub(crate) session: Session,
    stream: S,
    /// What it was told, requests of its description aside.
    pub(crate) told: Vec<Message>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Fake<S> {
    pub(crate) fn new(number: u64, stream: S) -> Self {
        let session = Session::new(Config::default(), Instant::now());
        Fake { number, session, stream, told: Vec::new() }
    }

    /// Sends a message of its own.
    pub(crate) async fn say(&mut self, message: &Message) {
        self.session.send(message).unwrap();
        self.flush().await;
    }

    pub(crate) async fn flush(&mut self) {
        let bytes = self.session.poll_transmit().to_vec();
        self.stream.write_all(&bytes).await.unwrap();
        self.session.transmitted(bytes.len());
    }

    /// Lives until it was told something, or a while; `false` at the end of the connection.
    pub(crate) async fn live(&mut self, enough: impl Fn(&[Message]) -> bool) -> bool {
        let mut buffer = vec![0; 65536];
        let limit = tokio::time::Instant::now() + Duration::from_secs(10);
        while !enough(&self.told) {
            self.flush().await;
            let read = tokio::time::timeout_at(limit, self.stream.read(&mut buffer)).await;
            match read.expect("it should have been told by now") {
                Ok(0) | Err(_) => return false,
                Ok(n) => self.session.receive(&buffer[..n], Instant::now()).unwrap(),
            }
            while let Some(event) = self.session.poll_event() {
                self.take(event);
            }
        }
        self.flush().await;
        true
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Message { xid, message } => match self.answer(&message) {
                Some(answer) => self.session.reply(xid, &answer).unwrap(),
                None => self.told.push(*message),
            },
            Event::StrayError { error, .. } => self.told.push(Message::Error(error)),
            _ => {}
        }
    }

    fn answer(&self, message: &Message) -> Option<Message> {
        Some(match message {
            Message::FeaturesRequest => Message::FeaturesReply(Features {
                datapath_id: self.number,
                n_buffers: 0,
                n_tables: 254,
                auxiliary_id: 0,
                capabilities: 0,
                reserved: 0,
            }),
            Message::GetConfigRequest => {
                Message::GetConfigReply(SwitchConfig { fragments: FragmentMode::NxMatch, miss_send_len: 0 })
            }
            Message::MultipartRequest(MultipartRequest::PortDescription) => {
                Message::MultipartReply(MultipartReply {
                    more: false,
                    body: MultipartBody::PortDescription(Vec::new()),
                })
            }
            _ => return None,
        })
    }

    /// Sends bytes as they are, and gives the next message that comes back; none at the end of the connection.
    pub(crate) async fn exchange(&mut self, bytes: &[u8]) -> Option<(Xid, Message)> {
        self.stream.write_all(bytes).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), self.next_message());
        answer.await.expect("there should have been an answer by now")
    }

    async fn next_message(&mut self) -> Option<(Xid, Message)> {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header).await.ok()?;
        let mut message = header.to_vec();
        message.resize(u16::from_be_bytes([header[2], header[3]]).into(), 0);
        self.stream.read_exact(&mut message[8..]).await.ok()?;
        Some(Message::decode(&message).unwrap())
    }
}
