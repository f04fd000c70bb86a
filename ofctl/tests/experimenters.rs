//! Experimenters that this crate does not know: carried unharmed, and typed by this crate, which is another one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ofctl::wire::experimenter::{ExperimenterAction, ExperimenterBody, ExperimenterField};
use ofctl::wire::versions::{self, Property, Version};
use ofctl::wire::{
    Action, DecodeError, Field, FlowMod, FlowModCommand, Match, Message, MultipartBody, MultipartReply,
    MultipartRequest, Reader, TableId, Xid,
};
use proptest::prelude::*;

/// The experimenter of these tests, which has extensions for 6LoWPAN (RFC 6282).
const VENDOR: u32 = 0x00c0_ffee;

/// Decompresses the header of a 6LoWPAN packet, with the prefixes of these contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decompress {
    contexts: Vec<u16>,
}

impl ExperimenterAction for Decompress {
    const EXPERIMENTER: u32 = VENDOR;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(7u16.to_be_bytes());
        out.extend((self.contexts.len() as u16).to_be_bytes());
        self.contexts.iter().for_each(|context| out.extend(context.to_be_bytes()));
    }

    fn decode(body: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        if body.u16()? != 7 {
            return Ok(None);
        }
        let n = body.u16()?;
        let contexts = (0..n).map(|_| body.u16()).collect::<Result<_, _>>()?;
        Ok(Some(Decompress { contexts }))
    }
}

/// The dispatch byte of a 6LoWPAN frame.
struct Dispatch;

impl ExperimenterField for Dispatch {
    const EXPERIMENTER: u32 = VENDOR;
    const NUMBER: u8 = 11;
    type Value = u8;

    fn encode(value: &u8, out: &mut Vec<u8>) {
        out.push(*value);
    }

    fn decode(bytes: &[u8]) -> Option<u8> {
        <[u8; 1]>::try_from(bytes).ok().map(|[byte]| byte)
    }
}

/// An address of 802.15.4, 64 bits.
struct LongAddress;

impl ExperimenterField for LongAddress {
    const EXPERIMENTER: u32 = VENDOR;
    const NUMBER: u8 = 12;
    type Value = u64;

    fn encode(value: &u64, out: &mut Vec<u8>) {
        out.extend(value.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }
}

/// A channel and what is heard on it: asked for, answered, told, and set for a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Channel {
    number: u16,
    noise: u16,
}

impl ExperimenterBody for Channel {
    const EXPERIMENTER: u32 = VENDOR;
    const KIND: u32 = 99;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_be_bytes());
        out.extend(self.noise.to_be_bytes());
    }

    fn decode(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Channel { number: body.u16()?, noise: body.u16()? })
    }
}

fn round_trip(message: &Message) -> Message {
    let mut bytes = Vec::new();
    message.encode(Xid(1), &mut bytes).unwrap();
    Message::decode(&bytes).unwrap().1
}

#[test]
fn typed_actions_and_fields_go_through_a_flow() {
    let decompress = Decompress { contexts: vec![1, 2, 3] };
    let mut flow = FlowMod::new(FlowModCommand::Add, TableId(0));
    flow.matching = Match::new()
        .with_experimenter::<Dispatch>(&0x60, Some(&0xe0))
        .and_then(|matching| matching.with_experimenter::<LongAddress>(&5, None))
        .and_then(|matching| matching.with_experimenter::<Dispatch>(&0x41, None))
        .unwrap()
        .with(Field::InPort, 7u32);
    flow.instructions.apply = vec![
        Action::from_experimenter(&decompress).unwrap(),
        Action::set_experimenter_field::<LongAddress>(&0x0102_0304_0506_0708).unwrap(),
    ];
    let Message::FlowMod(read) = round_trip(&Message::FlowMod(flow.clone())) else { panic!() };
    assert_eq!(read, flow);
    assert_eq!(read.matching.experimenter::<Dispatch>(), Ok(Some((0x41, None))), "the later one counts");
    assert_eq!(read.matching.experimenter::<LongAddress>(), Ok(Some((5, None))));
    let [first, second] = &read.instructions.apply[..] else { panic!() };
    assert_eq!(first.to_experimenter(), Ok(Some(decompress.clone())));
    assert_eq!(first.to_set_experimenter_field::<LongAddress>(), Ok(None));
    assert_eq!(second.to_set_experimenter_field::<LongAddress>(), Ok(Some(0x0102_0304_0506_0708)));
    assert_eq!(second.to_set_experimenter_field::<Dispatch>(), Ok(None));
    assert_eq!(second.to_experimenter::<Decompress>(), Ok(None));
    // So they do in every version.
    let message = versions::Message::FlowMod(flow.into());
    for version in Version::ALL {
        let mut bytes = Vec::new();
        // Only a set_field of 1.3 has no form in 1.0.
        let written = message.encode(version, Xid(1), &mut bytes);
        if version == Version::OpenFlow10 {
            written.unwrap_err();
            continue;
        }
        written.unwrap();
        assert_eq!(versions::Message::decode(&bytes), Ok((version, Xid(1), message.clone())));
    }
}

#[test]
fn malformed_values_are_errors_and_not_nothing() {
    let short = Action::Unknown([0xff, 0xff, 0, 16, 0, 0xc0, 0xff, 0xee, 0, 7, 0, 9, 0, 1, 0, 2].into());
    assert!(short.to_experimenter::<Decompress>().is_err());
    let trailing = Action::Unknown([0xff, 0xff, 0, 16, 0, 0xc0, 0xff, 0xee, 0, 7, 0, 0, 0, 1, 0, 2].into());
    assert!(trailing.to_experimenter::<Decompress>().is_err());
    let other = Action::Unknown([0xff, 0xff, 0, 16, 0, 0xc0, 0xff, 0xee, 0, 8, 0, 0, 0, 1, 0, 2].into());
    assert_eq!(other.to_experimenter::<Decompress>(), Ok(None));
    let message = Message::Experimenter { experimenter: VENDOR, kind: 99, data: vec![1, 2, 3] };
    assert!(message.to_experimenter::<Channel>().is_err());
    let long = Message::Experimenter { experimenter: VENDOR, kind: 99, data: vec![0; 5] };
    assert!(long.to_experimenter::<Channel>().is_err());
}

#[test]
fn typed_bodies_go_through_messages_multiparts_and_properties() {
    let channel = Channel { number: 26, noise: 3 };
    let message = Message::from_experimenter(&channel);
    assert_eq!(round_trip(&message).to_experimenter(), Ok(Some(channel.clone())));
    let request = Message::MultipartRequest(MultipartRequest::from_experimenter(&channel).unwrap());
    let Message::MultipartRequest(request) = round_trip(&request) else { panic!() };
    assert_eq!(request.to_experimenter(), Ok(Some(channel.clone())));
    let body = MultipartBody::from_experimenter(&channel).unwrap();
    let Message::MultipartReply(reply) =
        round_trip(&Message::MultipartReply(MultipartReply { more: true, body }))
    else {
        panic!()
    };
    assert!(reply.more);
    assert_eq!(reply.body.to_experimenter(), Ok(Some(channel.clone())));
    assert_eq!(MultipartRequest::Description.to_experimenter::<Channel>(), Ok(None));
    assert_eq!(Property::from_experimenter(&channel).to_experimenter(), Ok(Some(channel)));
}

/// A number of nobody that this crate knows.
fn stranger() -> impl Strategy<Value = u32> {
    any::<u32>().prop_filter("known", |number| ![0x2320, 0x4f4e_4600, 0x005a_d650, 0x154d].contains(number))
}

fn bytes(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), n)
}

proptest! {
    #[test]
    fn unknown_actions_and_fields_come_back_as_they_went(
        experimenter in stranger(), body in bytes(0..40), number in 0u8..128, value in bytes(1..100), masked: bool,
    ) {
        let mut action = vec![0xff, 0xff, 0, 0];
        action.extend(experimenter.to_be_bytes());
        action.extend(body);
        action.resize(action.len().next_multiple_of(8), 0);
        action[3] = action.len() as u8;
        let mut entry = vec![0xff, 0xff, number << 1 | u8::from(masked), 0];
        entry.extend(experimenter.to_be_bytes());
        entry.extend(&value);
        if masked {
            // A mask of all bits, so that no value is outside of it.
            entry.extend(vec![0xff; value.len()]);
        }
        entry[3] = (entry.len() - 4) as u8;
        // A flow-mod by hand, the action applied and nested in a clone.
        let mut message = vec![0; 48];
        (message[0], message[1]) = (4, 14);
        message.extend([0, 1]);
        message.extend((4 + entry.len() as u16).to_be_bytes());
        message.extend(&entry);
        message.resize(message.len().next_multiple_of(8), 0);
        let nested = 16 + action.len() as u16;
        message.extend([0, 4]);
        message.extend((8 + action.len() as u16 + nested).to_be_bytes());
        message.extend([0; 4]);
        message.extend(&action);
        message.extend([0xff, 0xff]);
        message.extend(nested.to_be_bytes());
        message.extend([0, 0, 0x23, 0x20, 0, 42, 0, 0, 0, 0, 0, 0]);
        message.extend(&action);
        let length = (message.len() as u16).to_be_bytes();
        message[2..4].copy_from_slice(&length);

        let (xid, decoded) = Message::decode(&message).unwrap();
        let mut again = Vec::new();
        decoded.encode(xid, &mut again).unwrap();
        prop_assert_eq!(&again, &message);
        for version in [Version::OpenFlow14, Version::OpenFlow15] {
            message[0] = version.number();
            let (read, xid, decoded) = versions::Message::decode(&message).unwrap();
            prop_assert_eq!(read, version);
            let mut again = Vec::new();
            decoded.encode(version, xid, &mut again).unwrap();
            prop_assert_eq!(&again, &message);
        }
    }

    #[test]
    fn unknown_messages_multiparts_and_properties_come_back_as_they_went(
        experimenter in stranger(), kind: u32, data in bytes(0..60),
    ) {
        let mut body = experimenter.to_be_bytes().to_vec();
        body.extend(kind.to_be_bytes());
        body.extend(&data);
        let head = |kind: u8, before: &[u8]| {
            let mut message = vec![4, kind, 0, 0, 0, 0, 0, 9];
            message.extend(before);
            message.extend(&body);
            let length = (message.len() as u16).to_be_bytes();
            message[2..4].copy_from_slice(&length);
            message
        };
        let multipart = [0xff, 0xff, 0, 0, 0, 0, 0, 0];
        for message in [head(4, &[]), head(18, &multipart), head(19, &multipart)] {
            let (xid, decoded) = Message::decode(&message).unwrap();
            let mut again = Vec::new();
            decoded.encode(xid, &mut again).unwrap();
            prop_assert_eq!(again, message);
        }
        // A group of 1.5 with one bucket, the property at both.
        let property = |out: &mut Vec<u8>| {
            out.extend([0xff, 0xff]);
            out.extend((4 + body.len() as u16).to_be_bytes());
            out.extend(&body);
            out.resize(out.len().next_multiple_of(8), 0);
        };
        let mut message = vec![6, 15, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let mut bucket = vec![0, 0, 0, 0, 0, 0, 0, 3];
        property(&mut bucket);
        let length = (bucket.len() as u16).to_be_bytes();
        bucket[..2].copy_from_slice(&length);
        message[16..18].copy_from_slice(&length);
        message.extend(bucket);
        property(&mut message);
        let length = (message.len() as u16).to_be_bytes();
        message[2..4].copy_from_slice(&length);
        let (version, xid, decoded) = versions::Message::decode(&message).unwrap();
        let mut again = Vec::new();
        decoded.encode(version, xid, &mut again).unwrap();
        prop_assert_eq!(again, message);
    }
}
