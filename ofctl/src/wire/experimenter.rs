//! Extensions of other experimenters, typed by a crate that uses this one.
//!
//! What this crate does not know it carries as bytes: actions, OXM fields, messages, multiparts, and since OpenFlow
//! 1.5 properties of groups and buckets. A program that knows one of them says so with a type and a trait, and then
//! puts values in and gets values out. There is no registry: two crates that know different experimenters do not meet,
//! and a program that knows none still passes everything on unharmed.
//!
//! A vendor's wireless switch, whose frames can be matched by their signal and whose actions choose a transmit power:
//!
//! ```
//! use ofctl::wire::experimenter::{ExperimenterAction, ExperimenterField};
//! use ofctl::wire::{Action, DecodeError, Match, Reader};
//!
//! const VENDOR: u32 = 0x00aa_bbcc;
//!
//! #[derive(Debug, PartialEq)]
//! struct SetTransmitPower {
//!     radio: u8,
//!     dbm: i8,
//! }
//!
//! impl ExperimenterAction for SetTransmitPower {
//!     const EXPERIMENTER: u32 = VENDOR;
//!
//!     fn encode(&self, out: &mut Vec<u8>) {
//!         out.extend([0, 1, self.radio, self.dbm as u8]); // The vendor's subtype 1.
//!     }
//!
//!     fn decode(body: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
//!         if body.u16()? != 1 {
//!             return Ok(None);
//!         }
//!         Ok(Some(SetTransmitPower { radio: body.u8()?, dbm: body.u8()? as i8 }))
//!     }
//! }
//!
//! /// Received signal strength in dBm, field 3 of the vendor.
//! struct Rssi;
//!
//! impl ExperimenterField for Rssi {
//!     const EXPERIMENTER: u32 = VENDOR;
//!     const NUMBER: u8 = 3;
//!     type Value = i8;
//!
//!     fn encode(value: &i8, out: &mut Vec<u8>) {
//!         out.push(*value as u8);
//!     }
//!
//!     fn decode(bytes: &[u8]) -> Option<i8> {
//!         if let [byte] = bytes { Some(*byte as i8) } else { None }
//!     }
//! }
//!
//! let action = Action::from_experimenter(&SetTransmitPower { radio: 1, dbm: -3 })?;
//! assert_eq!(action.to_experimenter()?, Some(SetTransmitPower { radio: 1, dbm: -3 }));
//!
//! let weak = Match::new().with_experimenter::<Rssi>(&-80, None)?;
//! assert_eq!(weak.experimenter::<Rssi>()?, Some((-80, None)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::action::Action;
use super::action_codec::action_type;
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::field::Class;
use super::matching::Match;
use super::message::Message;
use super::multipart::{MultipartBody, MultipartReply, MultipartRequest};
use super::versions::Property;

/// An experimenter's action, OpenFlow 1.3.5 §7.2.5.
pub trait ExperimenterAction: Sized {
    /// Whose it is: an OUI, or a number that the Open Networking Foundation gave.
    const EXPERIMENTER: u32;

    /// Appends what follows the experimenter's number. Zeros up to a multiple of 8 are added.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads what follows the experimenter's number; `None` if it is another of this experimenter's actions.
    ///
    /// What is left may be the zeros that fill the action up, fewer than 8.
    ///
    /// # Errors
    /// If it is this action, and malformed.
    fn decode(body: &mut Reader<'_>) -> Result<Option<Self>, DecodeError>;
}

/// An experimenter's match field, OpenFlow 1.3.5 §7.2.3.8.
pub trait ExperimenterField {
    /// Whose it is.
    const EXPERIMENTER: u32;
    /// Its number, 7 bits.
    const NUMBER: u8;
    /// What it holds; a mask is one too.
    type Value;

    /// Appends a value: always as many bytes.
    fn encode(value: &Self::Value, out: &mut Vec<u8>);

    /// The value that these bytes are; `None` if no value has such.
    fn decode(bytes: &[u8]) -> Option<Self::Value>;
}

/// What an experimenter sends in a message, a multipart request or reply, or a property: its number, its type, and then
/// whatever it likes (OpenFlow 1.3.5 §7.5.5 and §7.3.5.15, OpenFlow 1.5.1 §7.3.4.3.1).
pub trait ExperimenterBody: Sized {
    /// Whose it is.
    const EXPERIMENTER: u32;
    /// Its own type.
    const KIND: u32;

    /// Appends what follows the type.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads what follows the type, to the end.
    ///
    /// # Errors
    /// If it is malformed.
    fn decode(body: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// A field's value, and its mask if not all of it counts.
pub type ValueAndMask<V> = (V, Option<V>);

/// Bytes of a body, its experimenter and its type first.
fn body_bytes<B: ExperimenterBody>(body: &B) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(B::EXPERIMENTER);
    bytes.put_u32(B::KIND);
    body.encode(&mut bytes);
    bytes
}

/// The body in bytes that begin with its experimenter and its type; `None` if it is another.
fn body_of<B: ExperimenterBody>(bytes: &[u8]) -> Result<Option<B>, DecodeError> {
    let mut input = Reader::new("experimenter", bytes);
    if (input.u32()?, input.u32()?) != (B::EXPERIMENTER, B::KIND) {
        return Ok(None);
    }
    let body = B::decode(&mut input)?;
    input.finish()?;
    Ok(Some(body))
}

impl Action {
    /// An experimenter's action.
    ///
    /// # Errors
    /// If it is longer than an action can be.
    pub fn from_experimenter<A: ExperimenterAction>(action: &A) -> Result<Action, EncodeError> {
        let mut bytes = Vec::new();
        let mut out = Nested::begin(&mut bytes, 2, Padding::Counted);
        out.put_u16(action_type::EXPERIMENTER);
        out.put_u16(0);
        out.put_u32(A::EXPERIMENTER);
        action.encode(&mut out);
        drop(out);
        carried(bytes)
    }

    /// The experimenter's action that this is; `None` if it is another.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn to_experimenter<A: ExperimenterAction>(&self) -> Result<Option<A>, DecodeError> {
        let Action::Unknown(bytes) = self else { return Ok(None) };
        let mut input = Reader::new("experimenter action", bytes);
        let kind = input.u16()?;
        input.skip(2)?;
        if kind != action_type::EXPERIMENTER || input.u32()? != A::EXPERIMENTER {
            return Ok(None);
        }
        let Some(action) = A::decode(&mut input)? else { return Ok(None) };
        finish_padded(input)?;
        Ok(Some(action))
    }

    /// `OFPAT_SET_FIELD` of an experimenter's field.
    ///
    /// # Errors
    /// If the value is longer than a field can be.
    pub fn set_experimenter_field<F: ExperimenterField>(value: &F::Value) -> Result<Action, EncodeError> {
        let mut bytes = Vec::new();
        let mut out = Nested::begin(&mut bytes, 2, Padding::Counted);
        out.put_u16(action_type::SET_FIELD);
        out.put_u16(0);
        out.put(&entry::<F>(value, None)?);
        drop(out);
        carried(bytes)
    }

    /// The value that this action gives to an experimenter's field; `None` if it does something else.
    ///
    /// # Errors
    /// If the value is not one of the field.
    pub fn to_set_experimenter_field<F: ExperimenterField>(&self) -> Result<Option<F::Value>, DecodeError> {
        let Action::Unknown(bytes) = self else { return Ok(None) };
        let mut input = Reader::new("experimenter field", bytes);
        let kind = input.u16()?;
        input.skip(2)?;
        if kind != action_type::SET_FIELD {
            return Ok(None);
        }
        match take_entry::<F>(&mut input)? {
            Some((value, None)) => {
                finish_padded(input)?;
                Ok(Some(value))
            }
            _ => Ok(None),
        }
    }
}

/// An action of these bytes: of the variant that it has if this crate knows it.
fn carried(bytes: Vec<u8>) -> Result<Action, EncodeError> {
    if bytes.len() > usize::from(u16::MAX) {
        return Err(EncodeError::TooLong(bytes.len()));
    }
    Ok(Action::from_bytes(&bytes).unwrap_or_else(|_| Action::Unknown(bytes.into())))
}

/// Checks that nothing is left but the zeros that fill up to 8.
fn finish_padded(mut input: Reader<'_>) -> Result<(), DecodeError> {
    let rest = input.rest();
    if rest.len() < 8 && rest.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    Err(DecodeError::Trailing { what: "experimenter action", left: rest.len() })
}

/// Bytes of an OXM entry.
fn entry<F: ExperimenterField>(value: &F::Value, mask: Option<&F::Value>) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    out.put_u16(Class::EXPERIMENTER);
    out.put(&[F::NUMBER << 1 | u8::from(mask.is_some()), 0]);
    out.put_u32(F::EXPERIMENTER);
    F::encode(value, &mut out);
    if let Some(mask) = mask {
        F::encode(mask, &mut out);
    }
    out[3] = u8::try_from(out.len() - 4).map_err(|_| EncodeError::TooLong(out.len()))?;
    Ok(out)
}

/// Takes an OXM entry: value and mask if it is of this field.
fn take_entry<F: ExperimenterField>(
    input: &mut Reader<'_>,
) -> Result<Option<ValueAndMask<F::Value>>, DecodeError> {
    let class = input.u16()?;
    let [number, length] = input.array::<2>()?;
    let mut body = input.sub("OXM entry", length.into())?;
    if class != Class::EXPERIMENTER || number >> 1 != F::NUMBER || body.u32()? != F::EXPERIMENTER {
        return Ok(None);
    }
    let payload = body.rest();
    let bad = || DecodeError::BadLength { what: "experimenter field", length: payload.len() };
    let has_mask = number & 1 == 1;
    let (value, mask) = payload.split_at(if has_mask { payload.len() / 2 } else { payload.len() });
    let value = F::decode(value).ok_or_else(bad)?;
    let mask = if has_mask { Some(F::decode(mask).ok_or_else(bad)?) } else { None };
    Ok(Some((value, mask)))
}

impl Match {
    /// The same match, and an experimenter's field has this value, in the bits of the mask if there is one. An earlier
    /// condition on the field is replaced.
    ///
    /// # Errors
    /// If the value is longer than a field can be.
    pub fn with_experimenter<F: ExperimenterField>(
        mut self,
        value: &F::Value,
        mask: Option<&F::Value>,
    ) -> Result<Match, EncodeError> {
        let entry = entry::<F>(value, mask)?;
        // A field that this crate knows after all has its place among the others.
        if let Ok(known) = Match::take_entries(&mut Reader::new("match", &entry))
            && known.unknown().is_empty()
        {
            known.iter().for_each(|condition| self.set(condition.field, condition.value, condition.mask));
            return Ok(self);
        }
        let mut entries = Vec::with_capacity(self.unknown().len() + entry.len());
        for other in unknown_entries(&self) {
            if take_entry::<F>(&mut Reader::new("match", other)).is_ok_and(|same| same.is_none()) {
                entries.put(other);
            }
        }
        entries.put(&entry);
        self.set_unknown(entries);
        Ok(self)
    }

    /// Value and mask that an experimenter's field must have; `None` if any will do.
    ///
    /// # Errors
    /// If what stands there is not a value of the field.
    pub fn experimenter<F: ExperimenterField>(&self) -> Result<Option<ValueAndMask<F::Value>>, DecodeError> {
        for entry in unknown_entries(self) {
            if let Some(found) = take_entry::<F>(&mut Reader::new("match", entry))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The entries that the field table does not know, each with its header.
fn unknown_entries(matching: &Match) -> impl Iterator<Item = &[u8]> {
    let mut left = matching.unknown();
    std::iter::from_fn(move || {
        let length = 4 + usize::from(*left.get(3)?);
        let (entry, rest) = left.split_at_checked(length)?;
        left = rest;
        Some(entry)
    })
}

impl Message {
    /// `OFPT_EXPERIMENTER` of an experimenter.
    pub fn from_experimenter<B: ExperimenterBody>(body: &B) -> Message {
        let mut data = Vec::new();
        body.encode(&mut data);
        Message::Experimenter { experimenter: B::EXPERIMENTER, kind: B::KIND, data }
    }

    /// The experimenter's message that this is; `None` if it is another.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn to_experimenter<B: ExperimenterBody>(&self) -> Result<Option<B>, DecodeError> {
        match self {
            Message::Experimenter { experimenter, kind, data }
                if (*experimenter, *kind) == (B::EXPERIMENTER, B::KIND) =>
            {
                let mut input = Reader::new("experimenter message", data);
                let body = B::decode(&mut input)?;
                input.finish()?;
                Ok(Some(body))
            }
            _ => Ok(None),
        }
    }
}

/// `OFPMP_EXPERIMENTER`.
const MULTIPART_EXPERIMENTER: [u8; 8] = [0xff, 0xff, 0, 0, 0, 0, 0, 0];

impl MultipartRequest {
    /// `OFPMP_EXPERIMENTER` of an experimenter.
    ///
    /// # Errors
    /// If this crate knows requests of this type, and this is none.
    pub fn from_experimenter<B: ExperimenterBody>(body: &B) -> Result<MultipartRequest, DecodeError> {
        let mut bytes = MULTIPART_EXPERIMENTER.to_vec();
        bytes.put(&body_bytes(body));
        MultipartRequest::take(&mut Reader::new("multipart request", &bytes))
    }

    /// The experimenter's request that this is; `None` if it is another.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn to_experimenter<B: ExperimenterBody>(&self) -> Result<Option<B>, DecodeError> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes.strip_prefix(&MULTIPART_EXPERIMENTER).map_or(Ok(None), body_of)
    }
}

impl MultipartBody {
    /// `OFPMP_EXPERIMENTER` of an experimenter, a part of a reply.
    ///
    /// # Errors
    /// If this crate knows replies of this type, and this is none.
    pub fn from_experimenter<B: ExperimenterBody>(body: &B) -> Result<MultipartBody, DecodeError> {
        let mut bytes = MULTIPART_EXPERIMENTER.to_vec();
        bytes.put(&body_bytes(body));
        Ok(MultipartReply::take(&mut Reader::new("multipart reply", &bytes))?.body)
    }

    /// The experimenter's part that this is; `None` if it is another.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn to_experimenter<B: ExperimenterBody>(&self) -> Result<Option<B>, DecodeError> {
        let mut bytes = Vec::new();
        let reply = MultipartReply { more: false, body: self.clone() };
        if reply.encode(&mut bytes).is_err() {
            return Ok(None);
        }
        bytes.strip_prefix(&MULTIPART_EXPERIMENTER).map_or(Ok(None), body_of)
    }
}

impl Property {
    /// An experimenter's property of a group or of a bucket.
    pub fn from_experimenter<B: ExperimenterBody>(body: &B) -> Property {
        Property { kind: Property::EXPERIMENTER, data: body_bytes(body).into() }
    }

    /// The experimenter's property that this is; `None` if it is another.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn to_experimenter<B: ExperimenterBody>(&self) -> Result<Option<B>, DecodeError> {
        if self.kind == Property::EXPERIMENTER { body_of(&self.data) } else { Ok(None) }
    }
}
