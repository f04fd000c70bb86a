//! Whole messages: the header of OpenFlow 1.3.5 §7.1, and one variant a message type.

use super::control::{AsyncConfig, PortMod, QueueConfig, RoleRequest, TableMod};
use super::cursor::{Put, Reader};
use super::error::{DecodeError, EncodeError, ErrorCode};
use super::flow_mod::{FlowMod, FlowRemoved, GroupMod};
use super::ids::{BundleId, OfPort, Xid};
use super::lengths;
use super::meter::MeterMod;
use super::multipart::{MultipartReply, MultipartRequest, take_each};
use super::nxt::NiciraMessage;
use super::onf::OnfMessage;
use super::port::{PacketIn, PacketOut, PortStatus};

/// The version number of OpenFlow 1.3 in message headers.
pub const VERSION: u8 = 0x04;

/// Bytes of a message header.
pub const HEADER_LENGTH: usize = 8;

/// `OFPT_*`.
pub(super) mod kind {
    pub(in crate::wire) const HELLO: u8 = 0;
    pub(in crate::wire) const ERROR: u8 = 1;
    pub(in crate::wire) const ECHO_REQUEST: u8 = 2;
    pub(in crate::wire) const ECHO_REPLY: u8 = 3;
    pub(in crate::wire) const EXPERIMENTER: u8 = 4;
    pub(in crate::wire) const FEATURES_REQUEST: u8 = 5;
    pub(in crate::wire) const FEATURES_REPLY: u8 = 6;
    pub(in crate::wire) const GET_CONFIG_REQUEST: u8 = 7;
    pub(in crate::wire) const GET_CONFIG_REPLY: u8 = 8;
    pub(in crate::wire) const SET_CONFIG: u8 = 9;
    pub(in crate::wire) const PACKET_IN: u8 = 10;
    pub(in crate::wire) const FLOW_REMOVED: u8 = 11;
    pub(in crate::wire) const PORT_STATUS: u8 = 12;
    pub(in crate::wire) const PACKET_OUT: u8 = 13;
    pub(in crate::wire) const FLOW_MOD: u8 = 14;
    pub(in crate::wire) const GROUP_MOD: u8 = 15;
    pub(in crate::wire) const PORT_MOD: u8 = 16;
    pub(in crate::wire) const TABLE_MOD: u8 = 17;
    pub(in crate::wire) const MULTIPART_REQUEST: u8 = 18;
    pub(in crate::wire) const MULTIPART_REPLY: u8 = 19;
    pub(in crate::wire) const BARRIER_REQUEST: u8 = 20;
    pub(in crate::wire) const BARRIER_REPLY: u8 = 21;
    pub(in crate::wire) const QUEUE_GET_CONFIG_REQUEST: u8 = 22;
    pub(in crate::wire) const QUEUE_GET_CONFIG_REPLY: u8 = 23;
    pub(in crate::wire) const ROLE_REQUEST: u8 = 24;
    pub(in crate::wire) const ROLE_REPLY: u8 = 25;
    pub(in crate::wire) const GET_ASYNC_REQUEST: u8 = 26;
    pub(in crate::wire) const GET_ASYNC_REPLY: u8 = 27;
    pub(in crate::wire) const SET_ASYNC: u8 = 28;
    pub(in crate::wire) const METER_MOD: u8 = 29;
}

/// `ONF_ET_BUNDLE_CONTROL` and `ONF_ET_BUNDLE_ADD_MESSAGE` of ONF extension 230.
pub(super) mod onf {
    pub(in crate::wire) const BUNDLE_CONTROL: u32 = 2300;
    pub(in crate::wire) const BUNDLE_ADD_MESSAGE: u32 = 2301;
}

/// `OFPT_HELLO`, OpenFlow 1.3.5 §7.5.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version in the header: the highest that the sender speaks.
    pub version: u8,
    /// Bit `n` is set if version `n` is spoken; `None` if the sender gave no bitmap.
    pub bitmap: Option<u32>,
}

impl Hello {
    /// `OFPHET_VERSIONBITMAP`.
    const VERSION_BITMAP: u16 = 1;

    /// What a side says that speaks 1.3 only.
    pub const OPENFLOW_13: Hello = Hello { version: VERSION, bitmap: Some(1 << VERSION) };

    /// True if the sender speaks OpenFlow 1.3 (§6.3.1).
    pub fn speaks_13(&self) -> bool {
        match self.bitmap {
            Some(bitmap) => bitmap & 1 << VERSION != 0,
            // Without a bitmap the lower of the two versions is spoken, and 1.3 is the only one here.
            None => self.version >= VERSION,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(bitmap) = self.bitmap {
            out.put_u16(Self::VERSION_BITMAP);
            out.put_u16(8);
            out.put_u32(bitmap);
        }
    }

    fn take_element<'a>(input: &mut Reader<'a>) -> Result<(u16, Reader<'a>), DecodeError> {
        let what = "hello element";
        let (element, length) = (input.u16()?, usize::from(input.u16()?));
        let body = length.checked_sub(4).ok_or(DecodeError::BadLength { what, length })?;
        let body = input.sub(what, body)?;
        // The padding may be missing after the last element.
        let padding = length.next_multiple_of(8) - length;
        input.skip(padding.min(input.peek().len()))?;
        Ok((element, body))
    }

    fn take(version: u8, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut bitmap = None;
        // What cannot be read must not keep two sides apart that could speak with each other.
        while let Ok((element, mut body)) = Self::take_element(input) {
            if element == Self::VERSION_BITMAP && bitmap.is_none() {
                bitmap = body.u32().ok();
            }
        }
        input.rest();
        Ok(Hello { version, bitmap })
    }
}

/// `OFPT_ERROR`, OpenFlow 1.3.5 §7.5.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorMessage {
    /// What is wrong.
    pub error: ErrorCode,
    /// The beginning of the message that was refused, or for a failed hello a text.
    pub data: Vec<u8>,
}

/// `OFPT_FEATURES_REPLY`, OpenFlow 1.3.5 §7.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// The switch's number.
    pub datapath_id: u64,
    /// Packets that it can keep.
    pub n_buffers: u32,
    /// Tables that it has.
    pub n_tables: u8,
    /// 0 for the main connection.
    pub auxiliary_id: u8,
    /// `OFPC_*`.
    pub capabilities: u32,
    /// Reserved.
    pub reserved: u32,
}

/// How IP fragments are treated, `ofp_config_flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FragmentMode {
    /// `OFPC_FRAG_NORMAL`: ports of fragments are zero.
    Normal,
    /// `OFPC_FRAG_DROP`.
    Drop,
    /// `OFPC_FRAG_REASM`.
    Reassemble,
    /// `OFPC_FRAG_NX_MATCH` of Nicira: ports are zero in later fragments only.
    NxMatch,
}

/// `ofp_switch_config`, OpenFlow 1.3.5 §7.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Treatment of fragments.
    pub fragments: FragmentMode,
    /// Bytes of a packet that missed that go into a packet-in.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    fn encode(self, out: &mut Vec<u8>) {
        out.put_u16(self.fragments as u16);
        out.put_u16(self.miss_send_len);
    }

    /// A switch refuses flags that mean nothing; from a switch they still mean nothing.
    fn take(is_reply: bool, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = input.u16()?;
        let fragments = match if is_reply { flags & 3 } else { flags } {
            0 => FragmentMode::Normal,
            1 => FragmentMode::Drop,
            2 => FragmentMode::Reassemble,
            3 => FragmentMode::NxMatch,
            _ => return Err(DecodeError::Refused { what: "switch config", error: "OFPSCFC_BAD_FLAGS" }),
        };
        Ok(SwitchConfig { fragments, miss_send_len: input.u16()? })
    }
}

/// What a bundle promises, `onf_bundle_flags` of ONF extension 230.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BundleFlags(pub u16);

impl BundleFlags {
    /// All messages are applied, or none.
    pub const ATOMIC: BundleFlags = BundleFlags(1);
    /// The messages are applied in order.
    pub const ORDERED: BundleFlags = BundleFlags(2);
    /// Both.
    pub const ATOMIC_ORDERED: BundleFlags = BundleFlags(3);
}

/// `onf_bundle_ctrl_type` of ONF extension 230.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum BundleControlType {
    OpenRequest,
    OpenReply,
    CloseRequest,
    CloseReply,
    CommitRequest,
    CommitReply,
    DiscardRequest,
    DiscardReply,
}

impl BundleControlType {
    pub(super) const ALL: [Self; 8] = [
        Self::OpenRequest,
        Self::OpenReply,
        Self::CloseRequest,
        Self::CloseReply,
        Self::CommitRequest,
        Self::CommitReply,
        Self::DiscardRequest,
        Self::DiscardReply,
    ];
}

/// `ONF_ET_BUNDLE_CONTROL` of ONF extension 230.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleControl {
    /// The bundle.
    pub bundle: BundleId,
    /// What is asked or answered.
    pub kind: BundleControlType,
    /// What the bundle promises.
    pub flags: BundleFlags,
}

/// `ONF_ET_BUNDLE_ADD_MESSAGE` of ONF extension 230.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleAdd {
    /// The bundle.
    pub bundle: BundleId,
    /// What the bundle promises; as in the request that opened it.
    pub flags: BundleFlags,
    /// The message to be carried out at the commit. It goes with the transaction number of what encloses it.
    pub message: Box<Message>,
}

/// A message of OpenFlow 1.3 without its transaction number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `OFPT_HELLO`.
    Hello(Hello),
    /// `OFPT_ERROR`.
    Error(ErrorMessage),
    /// `OFPT_ECHO_REQUEST` with data of the sender's choice.
    EchoRequest(Vec<u8>),
    /// `OFPT_ECHO_REPLY` with the request's data.
    EchoReply(Vec<u8>),
    /// `OFPT_FEATURES_REQUEST`.
    FeaturesRequest,
    /// `OFPT_FEATURES_REPLY`.
    FeaturesReply(Features),
    /// `OFPT_GET_CONFIG_REQUEST`.
    GetConfigRequest,
    /// `OFPT_GET_CONFIG_REPLY`.
    GetConfigReply(SwitchConfig),
    /// `OFPT_SET_CONFIG`.
    SetConfig(SwitchConfig),
    /// `OFPT_PACKET_IN`.
    PacketIn(PacketIn),
    /// `OFPT_FLOW_REMOVED`.
    FlowRemoved(FlowRemoved),
    /// `OFPT_PORT_STATUS`.
    PortStatus(PortStatus),
    /// `OFPT_PACKET_OUT`.
    PacketOut(PacketOut),
    /// `OFPT_FLOW_MOD`.
    FlowMod(FlowMod),
    /// `OFPT_GROUP_MOD`.
    GroupMod(GroupMod),
    /// `OFPT_MULTIPART_REQUEST`.
    MultipartRequest(MultipartRequest),
    /// `OFPT_MULTIPART_REPLY`.
    MultipartReply(MultipartReply),
    /// `OFPT_BARRIER_REQUEST`.
    BarrierRequest,
    /// `OFPT_BARRIER_REPLY`.
    BarrierReply,
    /// `OFPT_PORT_MOD`.
    PortMod(PortMod),
    /// `OFPT_TABLE_MOD`.
    TableMod(TableMod),
    /// `OFPT_METER_MOD`.
    MeterMod(MeterMod),
    /// `OFPT_QUEUE_GET_CONFIG_REQUEST` of a port, or of [`OfPort::ANY`].
    QueueGetConfigRequest(OfPort),
    /// `OFPT_QUEUE_GET_CONFIG_REPLY`.
    QueueGetConfigReply {
        /// The port that was asked for.
        port: OfPort,
        /// Its queues.
        queues: Vec<QueueConfig>,
    },
    /// `OFPT_ROLE_REQUEST`.
    RoleRequest(RoleRequest),
    /// `OFPT_ROLE_REPLY`.
    RoleReply(RoleRequest),
    /// `OFPT_GET_ASYNC_REQUEST`.
    GetAsyncRequest,
    /// `OFPT_GET_ASYNC_REPLY`.
    GetAsyncReply(AsyncConfig),
    /// `OFPT_SET_ASYNC`.
    SetAsync(AsyncConfig),
    /// One of Nicira's `OFPT_EXPERIMENTER`s.
    Nicira(NiciraMessage),
    /// One of the Open Networking Foundation's `OFPT_EXPERIMENTER`s, but for bundles.
    Onf(OnfMessage),
    /// `ONF_ET_BUNDLE_CONTROL`.
    BundleControl(BundleControl),
    /// `ONF_ET_BUNDLE_ADD_MESSAGE`.
    BundleAdd(BundleAdd),
    /// Any other `OFPT_EXPERIMENTER`.
    Experimenter {
        /// Whose it is.
        experimenter: u32,
        /// Its own type.
        kind: u32,
        /// What follows.
        data: Vec<u8>,
    },
    /// Any other message.
    Unknown {
        /// `OFPT_*`.
        kind: u8,
        /// What follows the header.
        body: Vec<u8>,
    },
}

/// A message's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    /// Version of OpenFlow.
    pub version: u8,
    /// `OFPT_*`.
    pub kind: u8,
    /// Length of the whole message, at least [`HEADER_LENGTH`].
    pub length: u16,
    /// Transaction number.
    pub xid: Xid,
}

impl MessageHeader {
    /// The header at the beginning of a stream; `None` if it is not complete yet.
    ///
    /// # Errors
    /// If the length is shorter than the header itself, after which no message boundary can be found any more.
    pub fn peek(stream: &[u8]) -> Result<Option<MessageHeader>, DecodeError> {
        if stream.len() < HEADER_LENGTH {
            return Ok(None);
        }
        let mut input = Reader::new("message header", stream);
        let (version, kind, length, xid) = (input.u8()?, input.u8()?, input.u16()?, Xid(input.u32()?));
        if usize::from(length) < HEADER_LENGTH {
            return Err(DecodeError::BadLength { what: "message", length: length.into() });
        }
        Ok(Some(MessageHeader { version, kind, length, xid }))
    }
}

/// Appends a message whose body is appended by `body`, and takes it all back on an error.
pub(super) fn put_message<E: From<EncodeError>>(
    version: u8,
    kind: u8,
    xid: Xid,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.put_u8(version);
    out.put_u8(kind);
    out.put_u16(0);
    out.put_u32(xid.0);
    let result = body(out).and_then(|()| {
        let length = out.len() - start;
        u16::try_from(length).map_err(|_| EncodeError::TooLong(length).into())
    });
    match result {
        Ok(length) => {
            out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

impl FlowMod {
    /// Appends the whole message.
    ///
    /// # Errors
    /// If it is too long or an action cannot be written; then nothing is appended.
    pub fn encode_message(&self, xid: Xid, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_message(VERSION, kind::FLOW_MOD, xid, out, |out| self.encode(out))
    }
}

/// Appends a `BundleAdd` of something that appends its own message.
///
/// # Errors
/// Those of `message`, or if the whole is too long; then nothing is appended.
pub fn encode_bundle_add(
    bundle: BundleId,
    flags: BundleFlags,
    xid: Xid,
    out: &mut Vec<u8>,
    message: impl FnOnce(Xid, &mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    put_message(VERSION, kind::EXPERIMENTER, xid, out, |out| {
        out.put_u32(super::ONF_EXPERIMENTER);
        out.put_u32(onf::BUNDLE_ADD_MESSAGE);
        out.put_u32(bundle.0);
        out.put_u16(0);
        out.put_u16(flags.0);
        message(xid, out)
    })
}

impl Message {
    /// Appends the message.
    ///
    /// # Errors
    /// If it is too long or an action cannot be written; then nothing is appended.
    pub fn encode(&self, xid: Xid, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        use kind::*;
        let version = if let Message::Hello(hello) = self { hello.version } else { VERSION };
        let mut put = |kind, body: &dyn Fn(&mut Vec<u8>) -> Result<(), EncodeError>| {
            put_message(version, kind, xid, out, body)
        };
        match self {
            Message::FlowMod(m) => m.encode_message(xid, out),
            Message::BundleAdd(add) => {
                encode_bundle_add(add.bundle, add.flags, xid, out, |xid, out| add.message.encode(xid, out))
            }
            Message::Hello(hello) => put(HELLO, &|out| {
                hello.encode(out);
                Ok(())
            }),
            Message::Error(error) => put(ERROR, &|out| {
                error.error.encode(out);
                out.put(&error.data);
                Ok(())
            }),
            Message::EchoRequest(data) => put(ECHO_REQUEST, &|out| put_bytes(data, out)),
            Message::EchoReply(data) => put(ECHO_REPLY, &|out| put_bytes(data, out)),
            Message::FeaturesRequest => put(FEATURES_REQUEST, &|_| Ok(())),
            Message::FeaturesReply(features) => put(FEATURES_REPLY, &|out| {
                out.put_u64(features.datapath_id);
                out.put_u32(features.n_buffers);
                out.put_u8(features.n_tables);
                out.put_u8(features.auxiliary_id);
                out.put_u16(0);
                out.put_u32(features.capabilities);
                out.put_u32(features.reserved);
                Ok(())
            }),
            Message::GetConfigRequest => put(GET_CONFIG_REQUEST, &|_| Ok(())),
            Message::GetConfigReply(config) => put(GET_CONFIG_REPLY, &|out| {
                config.encode(out);
                Ok(())
            }),
            Message::SetConfig(config) => put(SET_CONFIG, &|out| {
                config.encode(out);
                Ok(())
            }),
            Message::PacketIn(packet) => put(PACKET_IN, &|out| {
                packet.encode(out);
                Ok(())
            }),
            Message::FlowRemoved(removed) => put(FLOW_REMOVED, &|out| {
                removed.encode(out);
                Ok(())
            }),
            Message::PortStatus(status) => put(PORT_STATUS, &|out| {
                status.encode(out);
                Ok(())
            }),
            Message::PacketOut(packet) => put(PACKET_OUT, &|out| packet.encode(out)),
            Message::GroupMod(m) => put(GROUP_MOD, &|out| m.encode(out)),
            Message::MultipartRequest(request) => put(MULTIPART_REQUEST, &|out| {
                request.encode(out);
                Ok(())
            }),
            Message::MultipartReply(reply) => put(MULTIPART_REPLY, &|out| reply.encode(out)),
            Message::BarrierRequest => put(BARRIER_REQUEST, &|_| Ok(())),
            Message::BarrierReply => put(BARRIER_REPLY, &|_| Ok(())),
            Message::BundleControl(control) => put(EXPERIMENTER, &|out| {
                out.put_u32(super::ONF_EXPERIMENTER);
                out.put_u32(onf::BUNDLE_CONTROL);
                out.put_u32(control.bundle.0);
                out.put_u16(control.kind as u16);
                out.put_u16(control.flags.0);
                Ok(())
            }),
            Message::PortMod(m) => put(PORT_MOD, &sure(|out| m.encode(out))),
            Message::TableMod(m) => put(TABLE_MOD, &sure(|out| m.encode(out))),
            Message::MeterMod(m) => put(METER_MOD, &sure(|out| m.encode(out))),
            Message::QueueGetConfigRequest(port) => put(QUEUE_GET_CONFIG_REQUEST, &|out| {
                out.put_u32(port.0);
                out.put_u32(0);
                Ok(())
            }),
            Message::QueueGetConfigReply { port, queues } => put(QUEUE_GET_CONFIG_REPLY, &|out| {
                out.put_u32(port.0);
                out.put_u32(0);
                queues.iter().for_each(|queue| queue.encode(out));
                Ok(())
            }),
            Message::RoleRequest(role) => put(ROLE_REQUEST, &sure(|out| role.encode(out))),
            Message::RoleReply(role) => put(ROLE_REPLY, &sure(|out| role.encode(out))),
            Message::GetAsyncRequest => put(GET_ASYNC_REQUEST, &|_| Ok(())),
            Message::GetAsyncReply(config) => put(GET_ASYNC_REPLY, &sure(|out| config.encode(out))),
            Message::SetAsync(config) => put(SET_ASYNC, &sure(|out| config.encode(out))),
            Message::Nicira(message) => put(EXPERIMENTER, &|out| {
                out.put_u32(super::NICIRA_EXPERIMENTER);
                out.put_u32(message.subtype());
                message.encode(out);
                Ok(())
            }),
            Message::Onf(message) => put(EXPERIMENTER, &|out| {
                out.put_u32(super::ONF_EXPERIMENTER);
                out.put_u32(message.subtype());
                message.encode(out)
            }),
            Message::Experimenter { experimenter, kind, data } => put(EXPERIMENTER, &|out| {
                out.put_u32(*experimenter);
                out.put_u32(*kind);
                put_bytes(data, out)
            }),
            Message::Unknown { kind, body } => put(*kind, &|out| put_bytes(body, out)),
        }
    }

    /// Decodes exactly one message.
    ///
    /// # Errors
    /// If the bytes are not one message of OpenFlow 1.3. Only a hello may be of another version.
    pub fn decode(bytes: &[u8]) -> Result<(Xid, Message), DecodeError> {
        Self::decode_within(bytes, true)
    }

    /// Decodes a message that may stand inside another; `may_be_bundle` is false in there, so that nesting has an end.
    pub(super) fn decode_within(bytes: &[u8], may_be_bundle: bool) -> Result<(Xid, Message), DecodeError> {
        let mut input = Reader::new("message", bytes);
        let Some(header) = MessageHeader::peek(bytes)? else {
            return Err(DecodeError::Truncated {
                what: "message header",
                wanted: HEADER_LENGTH,
                left: bytes.len(),
            });
        };
        let mut body = input.sub("message", header.length.into())?;
        input.finish()?;
        body.skip(HEADER_LENGTH)?;
        if header.version != VERSION && header.kind != kind::HELLO {
            return Err(DecodeError::Version(header.version));
        }
        lengths::check(header.kind, body.peek())?;
        let message = match header.kind {
            kind::HELLO => Message::Hello(Hello::take(header.version, &mut body)?),
            kind::ERROR => {
                let error = ErrorCode::take(&mut body)?;
                Message::Error(ErrorMessage { error, data: body.rest().to_vec() })
            }
            kind::ECHO_REQUEST => Message::EchoRequest(body.rest().to_vec()),
            kind::ECHO_REPLY => Message::EchoReply(body.rest().to_vec()),
            kind::EXPERIMENTER => take_experimenter(&mut body, header.xid, may_be_bundle)?,
            kind::FEATURES_REQUEST => Message::FeaturesRequest,
            kind::FEATURES_REPLY => {
                let (datapath_id, n_buffers) = (body.u64()?, body.u32()?);
                let (n_tables, auxiliary_id) = (body.u8()?, body.u8()?);
                body.skip(2)?;
                let (capabilities, reserved) = (body.u32()?, body.u32()?);
                let features =
                    Features { datapath_id, n_buffers, n_tables, auxiliary_id, capabilities, reserved };
                Message::FeaturesReply(features)
            }
            kind::GET_CONFIG_REQUEST => Message::GetConfigRequest,
            kind::GET_CONFIG_REPLY => Message::GetConfigReply(SwitchConfig::take(true, &mut body)?),
            kind::SET_CONFIG => Message::SetConfig(SwitchConfig::take(false, &mut body)?),
            kind::PACKET_IN => Message::PacketIn(PacketIn::take(&mut body)?),
            kind::FLOW_REMOVED => Message::FlowRemoved(FlowRemoved::take(&mut body)?),
            kind::PORT_STATUS => Message::PortStatus(PortStatus::take(&mut body)?),
            kind::PACKET_OUT => Message::PacketOut(PacketOut::take(&mut body)?),
            kind::FLOW_MOD => Message::FlowMod(FlowMod::take(&mut body)?),
            kind::GROUP_MOD => Message::GroupMod(GroupMod::take(&mut body)?),
            kind::MULTIPART_REQUEST => Message::MultipartRequest(MultipartRequest::take(&mut body)?),
            kind::MULTIPART_REPLY => Message::MultipartReply(MultipartReply::take(&mut body)?),
            kind::BARRIER_REQUEST => Message::BarrierRequest,
            kind::BARRIER_REPLY => Message::BarrierReply,
            kind::PORT_MOD => Message::PortMod(PortMod::take(&mut body)?),
            kind::TABLE_MOD => Message::TableMod(TableMod::take(&mut body)?),
            kind::METER_MOD => Message::MeterMod(MeterMod::take(&mut body)?),
            kind::QUEUE_GET_CONFIG_REQUEST => {
                let port = OfPort(body.u32()?);
                body.skip(4)?;
                if port >= OfPort::MAX && port != OfPort::ANY {
                    return Err(DecodeError::Refused { what: "queues of a port", error: "OFPQOFC_BAD_PORT" });
                }
                Message::QueueGetConfigRequest(port)
            }
            kind::QUEUE_GET_CONFIG_REPLY => {
                let port = OfPort(body.u32()?);
                body.skip(4)?;
                Message::QueueGetConfigReply { port, queues: take_each(&mut body, QueueConfig::take)? }
            }
            kind::ROLE_REQUEST => Message::RoleRequest(RoleRequest::take(&mut body)?),
            kind::ROLE_REPLY => Message::RoleReply(RoleRequest::take(&mut body)?),
            kind::GET_ASYNC_REQUEST => Message::GetAsyncRequest,
            kind::GET_ASYNC_REPLY => Message::GetAsyncReply(AsyncConfig::take(&mut body)?),
            kind::SET_ASYNC => Message::SetAsync(AsyncConfig::take(&mut body)?),
            kind => Message::Unknown { kind, body: body.rest().to_vec() },
        };
        body.finish()?;
        Ok((header.xid, message))
    }
}

/// Writing that cannot fail, as writing that could.
fn sure(write: impl Fn(&mut Vec<u8>)) -> impl Fn(&mut Vec<u8>) -> Result<(), EncodeError> {
    move |out| {
        write(out);
        Ok(())
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.put(bytes);
    Ok(())
}

/// Takes the bytes of a message that stands inside another, perhaps before properties, which mean nothing here.
pub(super) fn take_inside<'a>(body: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let bytes = body.rest();
    let refused = DecodeError::Refused { what: "message inside of another", error: "OFPBFC_MSG_BAD_LEN" };
    match MessageHeader::peek(bytes) {
        Ok(Some(header)) => bytes.get(..header.length.into()).ok_or(refused),
        _ => Err(refused),
    }
}

/// Takes an experimenter message; those that hold a message are refused inside of one.
fn take_experimenter(body: &mut Reader<'_>, xid: Xid, may_be_bundle: bool) -> Result<Message, DecodeError> {
    let experimenter = body.u32()?;
    let kind = body.u32()?;
    match (experimenter, kind) {
        (super::ONF_EXPERIMENTER, onf::BUNDLE_CONTROL) => {
            let bundle = BundleId(body.u32()?);
            let number = body.u16()?;
            let kind = BundleControlType::ALL.get(usize::from(number)).copied();
            let kind =
                kind.ok_or(DecodeError::BadValue { what: "bundle control type", value: number.into() })?;
            let flags = BundleFlags(body.u16()?);
            // Properties are those of experimenters, and mean nothing to those who do not know them.
            body.rest();
            Ok(Message::BundleControl(BundleControl { bundle, kind, flags }))
        }
        (super::ONF_EXPERIMENTER, onf::BUNDLE_ADD_MESSAGE) => {
            let bundle = BundleId(body.u32()?);
            body.skip(2)?;
            let flags = BundleFlags(body.u16()?);
            let refused = |error| DecodeError::Refused { what: "message in a bundle", error };
            if !may_be_bundle {
                return Err(refused("OFPBFC_MSG_UNSUP"));
            }
            let inside = take_inside(body)?;
            if inside[0] != VERSION {
                return Err(DecodeError::Version(inside[0]));
            }
            if inside[4..8] != xid.0.to_be_bytes() {
                return Err(refused("OFPBFC_MSG_BAD_XID"));
            }
            let (_, message) = Message::decode_within(inside, false)?;
            Ok(Message::BundleAdd(BundleAdd { bundle, flags, message: Box::new(message) }))
        }
        (super::ONF_EXPERIMENTER, kind) => Ok(match OnfMessage::take(kind, body, may_be_bundle)? {
            Some(message) => Message::Onf(message),
            None => Message::Experimenter { experimenter, kind, data: body.rest().to_vec() },
        }),
        (super::NICIRA_EXPERIMENTER, kind) => Ok(match NiciraMessage::take(kind, body)? {
            Some(message) => Message::Nicira(message),
            None => Message::Experimenter { experimenter, kind, data: body.rest().to_vec() },
        }),
        _ => Ok(Message::Experimenter { experimenter, kind, data: body.rest().to_vec() }),
    }
}
