//! Group-mods: OpenFlow 1.5.1 §7.3.4.3 with bucket identifiers, commands about single buckets and properties, among
//! them the selection method of Netronome's extension; before 1.5 that of OpenFlow 1.3.5 §7.3.4.2.

use super::super::cursor::{Nested, Padding, Put, Reader};
use super::super::error::DecodeError;
use super::super::field::Field;
use super::super::flow_mod as v13;
use super::super::flow_mod::GroupType;
use super::super::ids::{GroupId, OfPort, Xid};
use super::super::message::{kind, put_message};
use super::super::oxm;
use super::super::value::FieldValue;
use super::actions::{Context, put_actions, take_actions};
use super::matching::{header, put_entry};
use super::{Version, VersionError, Warning, put_nicira_message};

/// A bucket of a group, OpenFlow 1.5.1 §7.3.4.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u32);

impl BucketId {
    /// `OFPG_BUCKET_MAX`: the largest of a real bucket.
    pub const MAX: BucketId = BucketId(0xffff_ff00);
    /// `OFPG_BUCKET_FIRST`.
    pub const FIRST: BucketId = BucketId(0xffff_fffd);
    /// `OFPG_BUCKET_LAST`.
    pub const LAST: BucketId = BucketId(0xffff_fffe);
    /// `OFPG_BUCKET_ALL`: all, and in commands that are about no single bucket.
    pub const ALL: BucketId = BucketId(0xffff_ffff);
}

impl std::fmt::Display for BucketId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// `ofp_group_mod_command` of OpenFlow 1.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupModCommand {
    /// `OFPGC_ADD`.
    Add,
    /// `OFPGC_MODIFY`.
    Modify,
    /// `OFPGC_DELETE`.
    Delete,
    /// `OFPGC_INSERT_BUCKET`: after the command's bucket.
    InsertBucket,
    /// `OFPGC_REMOVE_BUCKET`: the command's bucket.
    RemoveBucket,
    /// `OFPGC11_ADD_OR_MOD` of Open vSwitch.
    AddOrModify,
}

impl GroupModCommand {
    const NUMBERS: [(u16, GroupModCommand); 6] = [
        (0, Self::Add),
        (1, Self::Modify),
        (2, Self::Delete),
        (3, Self::InsertBucket),
        (5, Self::RemoveBucket),
        (0x8000, Self::AddOrModify),
    ];

    fn number(self) -> u16 {
        let row = Self::NUMBERS.iter().find(|(_, command)| *command == self);
        row.expect("every command has a row").0
    }

    fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = input.u16()?;
        let row = Self::NUMBERS.iter().find(|(known, _)| *known == number);
        row.map(|(_, command)| *command)
            .ok_or(DecodeError::Refused { what: "group_mod", error: "OFPGMFC_BAD_COMMAND" })
    }

    fn is_about_a_bucket(self) -> bool {
        matches!(self, Self::InsertBucket | Self::RemoveBucket)
    }
}

/// A property that this crate does not know, an experimenter's for example, carried as it came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Property {
    /// `OFPGPT_*` or `OFPGBPT_*`; `0xffff` is an experimenter's.
    pub kind: u16,
    /// What follows its length; an experimenter's number comes first.
    pub data: Box<[u8]>,
}

impl Property {
    /// `OFPGPT_EXPERIMENTER` and `OFPGBPT_EXPERIMENTER`.
    pub const EXPERIMENTER: u16 = 0xffff;

    fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 2, Padding::Uncounted);
        out.put_u16(self.kind);
        out.put_u16(0);
        out.put(&self.data);
    }

    fn take(input: &mut Reader<'_>) -> Result<Property, DecodeError> {
        let bad = |_| DecodeError::Refused { what: "property", error: "OFPBPC_BAD_LEN" };
        let kind = input.u16().map_err(bad)?;
        let length = usize::from(input.u16().map_err(bad)?);
        let body = length
            .checked_sub(4)
            .ok_or(DecodeError::Refused { what: "property", error: "OFPBPC_BAD_LEN" })?;
        let data = input.take(body).map_err(bad)?.into();
        input.skip(length.next_multiple_of(8) - length).map_err(bad)?;
        Ok(Property { kind, data })
    }
}

/// How a select group chooses a bucket: the experimenter property of Netronome that Open vSwitch has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectionMethod {
    /// Name, such as `hash` or `dp_hash`; at most 15 bytes of ASCII.
    pub method: String,
    /// What the method takes, for example a basis.
    pub parameter: u64,
    /// Fields that are hashed, each with the bits that count; none for the method's own choice.
    pub fields: Vec<(Field, FieldValue)>,
}

impl SelectionMethod {
    /// `NTR_VENDOR_ID` and `NTRT_SELECTION_METHOD`.
    const HEADER: [u8; 8] = [0, 0, 0x15, 0x4d, 0, 0, 0, 1];
    const NAME_LENGTH: usize = 16;

    fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), VersionError> {
        let name = self.method.as_bytes();
        if name.is_empty() || name.len() >= Self::NAME_LENGTH || name.contains(&0) {
            let what = format!("selection_method={}", self.method);
            return Err(version.lacks(what, "a method's name has 1 to 15 bytes"));
        }
        let mut out = Nested::begin(out, 2, Padding::Uncounted);
        out.put_u16(Property::EXPERIMENTER);
        out.put_u16(0);
        out.put(&Self::HEADER);
        out.put_u32(0);
        out.put(name);
        out.put_zeros(Self::NAME_LENGTH - name.len());
        out.put_u64(self.parameter);
        for (field, value) in &self.fields {
            put_entry(&header(version, *field), *field, *value, None, &mut out);
        }
        Ok(())
    }

    /// What a property says, if it is a selection method.
    fn of(property: &Property) -> Result<Option<SelectionMethod>, DecodeError> {
        let bad = |error| move |_| DecodeError::Refused { what: "selection method", error };
        let mut body = Reader::new("selection method", &property.data);
        if property.kind != Property::EXPERIMENTER || !property.data.starts_with(&Self::HEADER) {
            return Ok(None);
        }
        let length = bad("OFPBPC_BAD_LEN");
        body.skip(Self::HEADER.len() + 4).map_err(length)?;
        let name = body.array::<16>().map_err(length)?;
        let parameter = body.u64().map_err(length)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let name = std::str::from_utf8(&name[..end]).unwrap_or_default();
        if !["hash", "dp_hash"].contains(&name) {
            return Err(DecodeError::Refused { what: "selection method", error: "OFPBPC_BAD_VALUE" });
        }
        let mut fields = Vec::new();
        while !body.is_empty() {
            match oxm::take_exact(&mut body)? {
                Some(field) => fields.push(field),
                None => {
                    return Err(DecodeError::Refused {
                        what: "field of a selection method",
                        error: "OFPBMC_BAD_FIELD",
                    });
                }
            }
        }
        Ok(Some(SelectionMethod { method: name.to_owned(), parameter, fields }))
    }
}

/// `ofp_bucket` of OpenFlow 1.5.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// Its identifier, no greater than [`BucketId::MAX`].
    pub id: BucketId,
    /// What 1.3 says of it too.
    pub bucket: v13::Bucket,
    /// Properties that are not known.
    pub properties: Vec<Property>,
}

/// `OFPGBPT_*`.
mod property {
    pub(super) const WEIGHT: u16 = 0;
    pub(super) const WATCH_PORT: u16 = 1;
    pub(super) const WATCH_GROUP: u16 = 2;
}

impl Bucket {
    /// Appends the form of 1.5.
    fn encode(
        &self,
        context: &Context,
        kind: GroupType,
        out: &mut Vec<u8>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), VersionError> {
        let v13::Bucket { weight, watch_port, watch_group, actions } = &self.bucket;
        let mut out = Nested::begin(out, 0, Padding::None);
        out.put_u32(0);
        out.put_u32(self.id.0);
        let (length_at, start) = (out.len() - 6, out.len());
        put_actions(context, actions, &mut out, warnings)?;
        let length = out.len() - start;
        let length = u16::try_from(length).map_err(|_| super::EncodeError::TooLong(length))?;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        let mut put = |kind: u16, data: &[u8]| {
            out.put_u16(kind);
            out.put_u16(8);
            out.put(data);
        };
        if kind == GroupType::Select || *weight != 0 {
            let [high, low] = weight.to_be_bytes();
            put(property::WEIGHT, &[high, low, 0, 0]);
        }
        if *watch_port != OfPort::ANY {
            put(property::WATCH_PORT, &watch_port.0.to_be_bytes());
        }
        if *watch_group != GroupId::ANY {
            put(property::WATCH_GROUP, &watch_group.0.to_be_bytes());
        }
        self.properties.iter().for_each(|property| property.encode(&mut out));
        Ok(())
    }

    fn take(context: &Context, kind: GroupType, input: &mut Reader<'_>) -> Result<Bucket, DecodeError> {
        let bad = |_| DecodeError::Refused { what: "bucket", error: "OFPGMFC_BAD_BUCKET" };
        let length = usize::from(input.u16().map_err(bad)?);
        let body = length
            .checked_sub(2)
            .ok_or(DecodeError::Refused { what: "bucket", error: "OFPGMFC_BAD_BUCKET" })?;
        let mut body = input.sub("bucket", body).map_err(bad)?;
        let actions = usize::from(body.u16().map_err(bad)?);
        let id = BucketId(body.u32().map_err(bad)?);
        if id > BucketId::MAX {
            return Err(DecodeError::Refused { what: "bucket", error: "OFPGMFC_BAD_BUCKET" });
        }
        let actions = take_actions(context, body.sub("actions", actions).map_err(bad)?)?;
        let mut bucket = v13::Bucket::new(u16::from(kind == GroupType::Select), actions);
        let mut properties = Vec::new();
        while !body.is_empty() {
            let property = Property::take(&mut body)?;
            let bad = |_| DecodeError::Refused { what: "bucket property", error: "OFPBPC_BAD_LEN" };
            let mut data = Reader::new("bucket property", &property.data);
            match property.kind {
                property::WEIGHT => {
                    bucket.weight = data.u16().map_err(bad)?;
                    data.skip(2).map_err(bad)?;
                }
                property::WATCH_PORT => bucket.watch_port = OfPort(data.u32().map_err(bad)?),
                property::WATCH_GROUP => bucket.watch_group = GroupId(data.u32().map_err(bad)?),
                _ => {
                    properties.push(property);
                    continue;
                }
            }
            data.finish().map_err(bad)?;
        }
        Ok(Bucket { id, bucket, properties })
    }
}

/// A group-mod with what versions after 1.3 add to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupModCommand,
    /// Type; without meaning for a delete.
    pub kind: GroupType,
    /// The group; [`GroupId::ALL`] with a delete.
    pub group: GroupId,
    /// The bucket that the command is about; [`BucketId::ALL`] if it is about none.
    pub command_bucket: BucketId,
    /// Buckets.
    pub buckets: Vec<Bucket>,
    /// How a select group chooses; `None` as the switch likes.
    pub selection: Option<SelectionMethod>,
    /// Properties that are not known.
    pub properties: Vec<Property>,
}

impl From<v13::GroupMod> for GroupMod {
    /// Its buckets are numbered from 0.
    fn from(group: v13::GroupMod) -> Self {
        let number = |(id, bucket)| Bucket { id: BucketId(id), bucket, properties: Vec::new() };
        GroupMod {
            command: match group.command {
                v13::GroupModCommand::Add => GroupModCommand::Add,
                v13::GroupModCommand::Modify => GroupModCommand::Modify,
                v13::GroupModCommand::Delete => GroupModCommand::Delete,
                v13::GroupModCommand::AddOrModify => GroupModCommand::AddOrModify,
            },
            kind: group.kind,
            group: group.group,
            command_bucket: BucketId::ALL,
            buckets: (0..).zip(group.buckets).map(number).collect(),
            selection: None,
            properties: Vec::new(),
        }
    }
}

/// `NX_EXPERIMENTER` and `NXT_GROUP_MOD`, before its body.
pub(super) const NXT_GROUP_MOD: [u8; 8] = [0, 0, 0x23, 0x20, 0, 0, 0, 31];
const NXT_GROUP_MOD_SUBTYPE: u32 = 31;

impl GroupMod {
    pub(super) fn put(
        &self,
        version: Version,
        xid: Xid,
        out: &mut Vec<u8>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), VersionError> {
        let number = version.number();
        match version {
            Version::OpenFlow10 => put_message(number, kind::EXPERIMENTER, xid, out, |out| {
                put_nicira_message(NXT_GROUP_MOD_SUBTYPE, out);
                self.put_15(version, out, warnings)
            }),
            Version::OpenFlow15 => {
                put_message(number, kind::GROUP_MOD, xid, out, |out| self.put_15(version, out, warnings))
            }
            Version::OpenFlow13 | Version::OpenFlow14 => {
                self.check_13(version, warnings)?;
                put_message(number, kind::GROUP_MOD, xid, out, |out| {
                    out.put_u16(self.command.number());
                    out.put(&[self.kind as u8, 0]);
                    out.put_u32(self.group.0);
                    self.buckets.iter().try_for_each(|bucket| Ok(bucket.bucket.encode(out)?))
                })
            }
        }
    }

    /// What 1.3 and 1.4 have no word for.
    fn check_13(&self, version: Version, warnings: &mut Vec<Warning>) -> Result<(), VersionError> {
        let remedy = "use OpenFlow 1.5";
        if self.command.is_about_a_bucket() {
            return Err(version.lacks("a command about one bucket", remedy));
        }
        if self.selection.is_some() {
            return Err(version.lacks("a selection_method", remedy));
        }
        if !self.properties.is_empty() || self.buckets.iter().any(|bucket| !bucket.properties.is_empty()) {
            return Err(version.lacks("a property of a group or a bucket", remedy));
        }
        let out_of_order = (0..).zip(&self.buckets).find(|(place, bucket)| bucket.id.0 != *place);
        if let Some((_, bucket)) = out_of_order {
            warnings.push(Warning::BucketId(bucket.id));
        }
        Ok(())
    }

    fn put_15(
        &self,
        version: Version,
        out: &mut Vec<u8>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), VersionError> {
        let context = Context::without_match(version);
        out.put_u16(self.command.number());
        out.put(&[self.kind as u8, 0]);
        out.put_u32(self.group.0);
        let length_at = out.len();
        out.put_u32(0);
        out.put_u32(self.command_bucket.0);
        let start = out.len();
        self.buckets.iter().try_for_each(|bucket| bucket.encode(&context, self.kind, out, warnings))?;
        let length = out.len() - start;
        let length = u16::try_from(length).map_err(|_| super::EncodeError::TooLong(length))?;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        if let Some(selection) = &self.selection {
            selection.encode(version, out)?;
        }
        self.properties.iter().for_each(|property| property.encode(out));
        Ok(())
    }

    pub(super) fn take(version: Version, input: &mut Reader<'_>) -> Result<GroupMod, DecodeError> {
        if matches!(version, Version::OpenFlow13 | Version::OpenFlow14) {
            return v13::GroupMod::take(input).map(GroupMod::from);
        }
        let command = GroupModCommand::take(input)?;
        let kind = GroupType::take(input)?;
        input.skip(1)?;
        let group = GroupId(input.u32()?);
        let length = usize::from(input.u16()?);
        input.skip(2)?;
        let command_bucket = BucketId(input.u32()?);
        let right = match command_bucket {
            BucketId::ALL => command != GroupModCommand::InsertBucket,
            BucketId::FIRST | BucketId::LAST => command.is_about_a_bucket(),
            id => command.is_about_a_bucket() && id <= BucketId::MAX,
        };
        let bad = DecodeError::Refused { what: "group_mod", error: "OFPGMFC_BAD_BUCKET" };
        if !right {
            return Err(bad);
        }
        let context = Context::without_match(version);
        let mut list = input.sub("buckets", length)?;
        let mut buckets = Vec::new();
        while !list.is_empty() {
            buckets.push(Bucket::take(&context, kind, &mut list)?);
        }
        let mut ids: Vec<BucketId> = buckets.iter().map(|bucket| bucket.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(bad);
        }
        let (mut selection, mut properties) = (None, Vec::new());
        while !input.is_empty() {
            let property = Property::take(input)?;
            match SelectionMethod::of(&property)? {
                None => properties.push(property),
                Some(method) => {
                    let takes_one = matches!(
                        command,
                        GroupModCommand::Add | GroupModCommand::Modify | GroupModCommand::AddOrModify
                    );
                    let no_fields = method.method != "hash" && !method.fields.is_empty();
                    if kind != GroupType::Select || !takes_one || no_fields || selection.is_some() {
                        return Err(DecodeError::Refused {
                            what: "selection method",
                            error: "OFPBPC_BAD_VALUE",
                        });
                    }
                    selection = Some(method);
                }
            }
        }
        Ok(GroupMod { command, kind, group, command_bucket, buckets, selection, properties })
    }
}
