//! Further Nicira actions with more than a number or two in them, ovs-actions(7).

use super::action_codec::{pack_bits, put_nicira, subtype, unpack_bits};
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::field::{Field, SubField};
use super::oxm;
use super::value::FieldValue;

fn refused(what: &'static str, error: &'static str) -> DecodeError {
    DecodeError::Refused { what, error }
}

/// `NXAST_REG_LOAD2`: a value for some bits of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaskedField {
    /// The field.
    pub field: Field,
    /// The value; no bits outside of the mask.
    pub value: FieldValue,
    /// Bits that are written.
    pub mask: FieldValue,
}

impl MaskedField {
    /// True if all of the field is written.
    pub fn is_exact(&self) -> bool {
        self.mask == self.field.exact_mask()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = put_nicira(out, subtype::REG_LOAD2);
        oxm::put_entry(self.field, self.value, (!self.is_exact()).then_some(self.mask), &mut out);
    }

    pub(super) fn take(body: &mut Reader<'_>) -> Result<Option<MaskedField>, DecodeError> {
        let taken = oxm::take_masked(body)?;
        if body.rest().iter().any(|&byte| byte != 0) {
            return Err(refused("reg_load2", "OFPBAC_BAD_SET_ARGUMENT"));
        }
        Ok(taken.map(|(field, value, mask)| MaskedField { field, value, mask }))
    }
}

/// `NXAST_CONTROLLER`, or `NXAST_CONTROLLER2` where the first form has no room for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControllerAction {
    /// Bytes at most; `0xffff` is the whole packet.
    pub max_len: u16,
    /// Which controller, by the number that it gave itself; 0 for those that gave none.
    pub id: u16,
    /// `OFPR_*`; 1 is an action.
    pub reason: u8,
    /// Comes back in the packet-in.
    pub userdata: Box<[u8]>,
    /// Whether the packet waits for a resume.
    pub pause: bool,
    /// A meter for these packet-ins; not 0.
    pub meter: Option<u32>,
}

/// `NXAC2PT_*`.
mod property {
    pub(super) const MAX_LEN: u16 = 0;
    pub(super) const CONTROLLER_ID: u16 = 1;
    pub(super) const REASON: u16 = 2;
    pub(super) const USERDATA: u16 = 3;
    pub(super) const PAUSE: u16 = 4;
    pub(super) const METER: u16 = 5;
}

impl Default for ControllerAction {
    /// As [`Action::Controller`](super::Action::Controller) of the whole packet.
    fn default() -> Self {
        ControllerAction {
            max_len: u16::MAX,
            id: 0,
            reason: Self::REASON_ACTION,
            userdata: Box::default(),
            pause: false,
            meter: None,
        }
    }
}

impl ControllerAction {
    /// `OFPR_ACTION`.
    pub const REASON_ACTION: u8 = 1;

    /// True if the plain output to the controller says as much.
    pub fn is_plain(&self) -> bool {
        self.id == 0 && self.reason == Self::REASON_ACTION && !self.is_second_form()
    }

    fn is_second_form(&self) -> bool {
        !self.userdata.is_empty() || self.pause || self.meter.is_some()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if !self.is_second_form() {
            let mut out = put_nicira(out, subtype::CONTROLLER);
            out.put_u16(self.max_len);
            out.put_u16(self.id);
            out.put_u8(self.reason);
            return out.put_u8(0);
        }
        let mut out = put_nicira(out, subtype::CONTROLLER2);
        out.put_zeros(6);
        let mut put = |kind: u16, value: &[u8]| {
            let mut out = Nested::begin(&mut out, 2, Padding::Uncounted);
            out.put_u16(kind);
            out.put_u16(0);
            out.put(value);
        };
        if self.max_len != u16::MAX {
            put(property::MAX_LEN, &padded(self.max_len));
        }
        if self.id != 0 {
            put(property::CONTROLLER_ID, &padded(self.id));
        }
        if self.reason != Self::REASON_ACTION {
            put(property::REASON, &[self.reason]);
        }
        if !self.userdata.is_empty() {
            put(property::USERDATA, &self.userdata);
        }
        if self.pause {
            put(property::PAUSE, &[]);
        }
        if let Some(meter) = self.meter {
            put(property::METER, &meter.to_be_bytes());
        }
    }

    pub(super) fn take(body: &mut Reader<'_>) -> Result<Option<ControllerAction>, DecodeError> {
        let (max_len, id, reason) = (body.u16()?, body.u16()?, body.u8()?);
        body.skip(1)?;
        Ok(Some(ControllerAction { max_len, id, reason, ..ControllerAction::default() }))
    }

    pub(super) fn take_second(body: &mut Reader<'_>) -> Result<Option<ControllerAction>, DecodeError> {
        if body.array::<6>()? != [0; 6] {
            return Err(refused("controller", "NXBRC_MUST_BE_ZERO"));
        }
        let mut result = ControllerAction::default();
        let bad_length = |_| refused("controller property", "OFPBPC_BAD_LEN");
        while !body.is_empty() {
            let kind = body.u16()?;
            let length = usize::from(body.u16()?);
            let value = length.checked_sub(4).ok_or(refused("controller property", "OFPBPC_BAD_LEN"))?;
            let mut value = body.sub("controller property", value).map_err(bad_length)?;
            body.skip(length.next_multiple_of(8) - length).map_err(bad_length)?;
            let mut taken = || -> Result<bool, DecodeError> {
                match kind {
                    property::MAX_LEN => result.max_len = take_padded(&mut value)?,
                    property::CONTROLLER_ID => result.id = take_padded(&mut value)?,
                    property::REASON => result.reason = value.u8()?,
                    property::USERDATA => result.userdata = value.rest().into(),
                    property::PAUSE => result.pause = true,
                    property::METER => result.meter = Some(value.u32()?),
                    _ => return Ok(false),
                }
                Ok(true)
            };
            if !taken().map_err(bad_length)? {
                return Err(refused("controller property", "OFPBPC_BAD_TYPE"));
            }
        }
        Ok(Some(result))
    }
}

/// 16 bits as a property has them, whose length counts the padding.
fn padded(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0]
}

fn take_padded(value: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let number = value.u16()?;
    value.skip(2)?;
    Ok(number)
}

/// What a hash is of, `nx_hash_fields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashFields {
    /// The Ethernet source.
    EthSrc,
    /// Addresses and ports of all layers, the same in both directions.
    SymmetricL4,
    /// IP addresses and TCP or SCTP ports, the same in both directions.
    SymmetricL3L4,
    /// As that, and UDP ports.
    SymmetricL3L4Udp,
    /// The network source.
    NwSrc,
    /// The network destination.
    NwDst,
    /// IP addresses, the same in both directions.
    SymmetricL3,
}

impl HashFields {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [HashFields; 7] = [
        Self::EthSrc,
        Self::SymmetricL4,
        Self::SymmetricL3L4,
        Self::SymmetricL3L4Udp,
        Self::NwSrc,
        Self::NwDst,
        Self::SymmetricL3,
    ];

    /// Name in ovs-ofctl's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EthSrc => "eth_src",
            Self::SymmetricL4 => "symmetric_l4",
            Self::SymmetricL3L4 => "symmetric_l3l4",
            Self::SymmetricL3L4Udp => "symmetric_l3l4+udp",
            Self::NwSrc => "nw_src",
            Self::NwDst => "nw_dst",
            Self::SymmetricL3 => "symmetric_l3",
        }
    }

    fn take(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = usize::from(body.u16()?);
        Self::ALL.get(number).copied().ok_or(refused("hash fields", "OFPBAC_BAD_ARGUMENT"))
    }
}

/// How a hash becomes a link's number, `nx_mp_algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MultipathAlgorithm {
    /// The remainder.
    ModuloN,
    /// By thresholds.
    HashThreshold,
    /// Highest random weight.
    Hrw,
    /// Repeated hashes.
    IterHash,
}

impl MultipathAlgorithm {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [MultipathAlgorithm; 4] = [Self::ModuloN, Self::HashThreshold, Self::Hrw, Self::IterHash];

    /// Name in ovs-ofctl's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ModuloN => "modulo_n",
            Self::HashThreshold => "hash_threshold",
            Self::Hrw => "hrw",
            Self::IterHash => "iter_hash",
        }
    }
}

/// `NXAST_MULTIPATH`: a number from 0 to `max_link` into a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multipath {
    /// What the hash is of.
    pub fields: HashFields,
    /// What it begins with.
    pub basis: u16,
    /// How the hash becomes a number.
    pub algorithm: MultipathAlgorithm,
    /// The largest number: one less than the links.
    pub max_link: u16,
    /// For algorithms that take one.
    pub argument: u32,
    /// Where to.
    pub dst: SubField,
}

/// Refuses an experimenter's field, for whose header there is no room.
fn put_narrow_header(field: Field, action: &'static str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if field.is_experimenter() {
        return Err(EncodeError::FieldInAction { field: field.name(), action });
    }
    oxm::put_action_header(field, out);
    Ok(())
}

impl Multipath {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out = put_nicira(out, subtype::MULTIPATH);
        out.put_u16(self.fields as u16);
        out.put_u16(self.basis);
        out.put_u16(0);
        out.put_u16(self.algorithm as u16);
        out.put_u16(self.max_link);
        out.put_u32(self.argument);
        out.put_u16(0);
        out.put_u16(pack_bits(self.dst));
        put_narrow_header(self.dst.field, "multipath", &mut out)
    }

    pub(super) fn take(body: &mut Reader<'_>) -> Result<Option<Multipath>, DecodeError> {
        let fields = HashFields::take(body)?;
        let basis = body.u16()?;
        body.skip(2)?;
        let algorithm = MultipathAlgorithm::ALL.get(usize::from(body.u16()?)).copied();
        let algorithm = algorithm.ok_or(refused("multipath", "OFPBAC_BAD_ARGUMENT"))?;
        let (max_link, argument) = (body.u16()?, body.u32()?);
        body.skip(2)?;
        let packed = body.u16()?;
        let dst = unpack_bits(oxm::take_action_header(body)?, packed)?;
        // The field must have room for the largest number.
        if dst.is_some_and(|dst| dst.n_bits < 16 && u32::from(max_link) >= 1 << dst.n_bits) {
            return Err(refused("multipath", "OFPBAC_BAD_ARGUMENT"));
        }
        Ok(dst.map(|dst| Multipath { fields, basis, algorithm, max_link, argument, dst }))
    }
}

/// How a bundle's port is chosen, `nx_bd_algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BundleAlgorithm {
    /// The first that is alive.
    ActiveBackup,
    /// Highest random weight of those that are alive.
    Hrw,
}

impl BundleAlgorithm {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [BundleAlgorithm; 2] = [Self::ActiveBackup, Self::Hrw];

    /// Name in ovs-ofctl's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActiveBackup => "active_backup",
            Self::Hrw => "hrw",
        }
    }
}

/// `NXAST_BUNDLE` or `NXAST_BUNDLE_LOAD`: one of these ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleOutput {
    /// What the hash is of.
    pub fields: HashFields,
    /// What it begins with.
    pub basis: u16,
    /// How the port is chosen.
    pub algorithm: BundleAlgorithm,
    /// Where its number goes; `None` sends the packet there.
    pub dst: Option<SubField>,
    /// The ports, as 16 bits.
    pub members: Vec<u16>,
}

impl BundleOutput {
    /// Header of `NXM_OF_IN_PORT`, which says that members are ports.
    const MEMBER_TYPE: u32 = 0x0000_0002;
    const MAX_MEMBERS: usize = 2048;

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out =
            put_nicira(out, if self.dst.is_some() { subtype::BUNDLE_LOAD } else { subtype::BUNDLE });
        out.put_u16(self.algorithm as u16);
        out.put_u16(self.fields as u16);
        out.put_u16(self.basis);
        out.put_u32(Self::MEMBER_TYPE);
        out.put_u16(u16::try_from(self.members.len()).map_err(|_| EncodeError::TooLong(self.members.len()))?);
        match self.dst {
            Some(dst) => {
                out.put_u16(pack_bits(dst));
                put_narrow_header(dst.field, "bundle_load", &mut out)?;
            }
            None => out.put_zeros(6),
        }
        out.put_u32(0);
        self.members.iter().for_each(|member| out.put_u16(*member));
        Ok(())
    }

    pub(super) fn take(body: &mut Reader<'_>, load: bool) -> Result<Option<BundleOutput>, DecodeError> {
        let bad = || refused("bundle", "OFPBAC_BAD_ARGUMENT");
        let algorithm = BundleAlgorithm::ALL.get(usize::from(body.u16()?)).copied();
        let fields = HashFields::ALL.get(usize::from(body.u16()?)).copied();
        let basis = body.u16()?;
        let member_type = body.u32()?;
        let n_members = usize::from(body.u16()?);
        let packed = body.u16()?;
        let header = body.sub("bundle", 4)?;
        let zero = body.u32()?;
        let choice = algorithm
            .zip(fields)
            .filter(|_| member_type == Self::MEMBER_TYPE && n_members <= Self::MAX_MEMBERS && zero == 0);
        let dst = if load {
            let mut header = header;
            let Some(dst) = unpack_bits(oxm::take_action_header(&mut header)?, packed)? else {
                return Ok(None);
            };
            if dst.n_bits < 16 {
                return Err(bad());
            }
            Some(dst)
        } else if packed != 0 || header.peek() != [0; 4] {
            return Err(bad());
        } else {
            None
        };
        let mut members = body.sub("bundle", 2 * n_members)?;
        let members = (0..n_members).map(|_| members.u16()).collect::<Result<_, _>>()?;
        body.rest();
        match choice {
            Some((algorithm, fields)) => Ok(Some(BundleOutput { fields, basis, algorithm, dst, members })),
            // Open vSwitch forgets this error of a bundle_load when it goes on to the field.
            None if load => Ok(None),
            None => Err(bad()),
        }
    }
}

/// When a sample is taken, `nx_action_sample_direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleDirection {
    /// Not said.
    Default,
    /// As the packet came in.
    Ingress,
    /// As it goes out.
    Egress,
}

/// `NXAST_SAMPLE`, or `NXAST_SAMPLE2` or `NXAST_SAMPLE3` where the first form has no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sample {
    /// Of 65,535 packets so many; not 0.
    pub probability: u16,
    /// Who gets them.
    pub collector_set_id: u32,
    /// Observation domain.
    pub obs_domain_id: u32,
    /// Observation point.
    pub obs_point_id: u32,
    /// The port that they are said to be of, as 16 bits; `None` for none.
    pub sampling_port: Option<u16>,
    /// Direction.
    pub direction: SampleDirection,
}

impl Sample {
    /// `OFPP_NONE` as 16 bits.
    const NO_PORT: u16 = 0xffff;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let subtype = match (self.sampling_port, self.direction) {
            (None, SampleDirection::Default) => subtype::SAMPLE,
            (_, SampleDirection::Default) => subtype::SAMPLE2,
            _ => subtype::SAMPLE3,
        };
        let mut out = put_nicira(out, subtype);
        out.put_u16(self.probability);
        out.put_u32(self.collector_set_id);
        out.put_u32(self.obs_domain_id);
        out.put_u32(self.obs_point_id);
        if subtype != subtype::SAMPLE {
            out.put_u16(self.sampling_port.unwrap_or(Self::NO_PORT));
            out.put_u8(self.direction as u8);
            out.put_zeros(5);
        }
    }

    pub(super) fn take(body: &mut Reader<'_>, kind: u16) -> Result<Option<Sample>, DecodeError> {
        let mut sample = Sample {
            probability: body.u16()?,
            collector_set_id: body.u32()?,
            obs_domain_id: body.u32()?,
            obs_point_id: body.u32()?,
            sampling_port: None,
            direction: SampleDirection::Default,
        };
        if sample.probability == 0 {
            return Err(refused("sample", "OFPBAC_BAD_ARGUMENT"));
        }
        let third = kind == subtype::SAMPLE3;
        if kind != subtype::SAMPLE {
            sample.sampling_port = Some(body.u16()?).filter(|&port| port != Self::NO_PORT);
            sample.direction = match body.u8()? {
                0 => SampleDirection::Default,
                1 => SampleDirection::Ingress,
                2 => SampleDirection::Egress,
                _ if third => return Err(refused("sample", "OFPBAC_BAD_ARGUMENT")),
                _ => return Ok(None),
            };
            if body.array::<5>()? != [0; 5] && third {
                return Err(refused("sample", "NXBRC_MUST_BE_ZERO"));
            }
        }
        Ok(Some(sample))
    }
}

/// A packet's outermost header: a name space and a type in it, OpenFlow 1.5 §7.2.3.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketType {
    /// `OFPHTN_*`.
    pub namespace: u16,
    /// Type in the name space.
    pub kind: u16,
}

impl PacketType {
    /// `PT_ETH`.
    pub const ETHERNET: PacketType = PacketType { namespace: 0, kind: 0 };
    /// `PT_NSH`.
    pub const NSH: PacketType = PacketType { namespace: 1, kind: 0x894f };
    /// `PT_MPLS`.
    pub const MPLS: PacketType = PacketType { namespace: 1, kind: 0x8847 };
    /// `PT_MPLS_MC`.
    pub const MPLS_MULTICAST: PacketType = PacketType { namespace: 1, kind: 0x8848 };
    /// `PT_USE_NEXT_PROTO`.
    pub const USE_NEXT: PacketType = PacketType { namespace: 0, kind: 0xfffe };

    /// What can be encapsulated in, by the names of ovs-ofctl's text.
    pub const NAMES: [(PacketType, &'static str); 4] = [
        (Self::ETHERNET, "ethernet"),
        (Self::NSH, "nsh"),
        (Self::MPLS, "mpls"),
        (Self::MPLS_MULTICAST, "mpls_mc"),
    ];

    fn put(self, out: &mut Vec<u8>) {
        out.put_u16(self.namespace);
        out.put_u16(self.kind);
    }

    fn take(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(PacketType { namespace: body.u16()?, kind: body.u16()? })
    }

    pub(super) fn encode_decap(self, out: &mut Vec<u8>) {
        let mut out = put_nicira(out, subtype::DECAP);
        out.put_u16(0);
        self.put(&mut out);
    }

    pub(super) fn take_decap(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        body.skip(2)?;
        Self::take(body)
    }
}

/// A property of a header that is put on, `ofp_ed_prop_header`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncapProperty {
    /// `OFPPPT_PROP_NSH_MDTYPE`: which kind of metadata.
    NshMdType(u8),
    /// `OFPPPT_PROP_NSH_TLV`: a piece of metadata.
    NshTlv {
        /// Its class.
        class: u16,
        /// Its type.
        kind: u8,
        /// Its value.
        value: Box<[u8]>,
    },
}

/// `NXAST_ENCAP`: a header in front of the packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encap {
    /// The header.
    pub packet_type: PacketType,
    /// What is in it.
    pub properties: Vec<EncapProperty>,
}

impl Encap {
    /// `OFPPPC_NSH`.
    const NSH_CLASS: u16 = 4;
    const NSH_MD_TYPE: u8 = 1;
    const NSH_TLV: u8 = 2;

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out = put_nicira(out, subtype::ENCAP);
        out.put_u16(0);
        self.packet_type.put(&mut out);
        for property in &self.properties {
            out.put_u16(Self::NSH_CLASS);
            match property {
                EncapProperty::NshMdType(md_type) => out.put(&[Self::NSH_MD_TYPE, 5, *md_type, 0, 0, 0]),
                EncapProperty::NshTlv { class, kind, value } => {
                    let padded = value.len().next_multiple_of(8);
                    let length = u8::try_from(8 + padded).map_err(|_| EncodeError::TooLong(value.len()))?;
                    out.put(&[Self::NSH_TLV, length]);
                    out.put_u16(*class);
                    out.put(&[*kind, value.len() as u8]);
                    out.put(value);
                    out.put_zeros(padded - value.len());
                }
            }
        }
        Ok(())
    }

    pub(super) fn take(body: &mut Reader<'_>) -> Result<Option<Encap>, DecodeError> {
        body.skip(2)?;
        let packet_type = PacketType::take(body)?;
        if !PacketType::NAMES.iter().any(|(known, _)| *known == packet_type) {
            return Err(refused("encap", "NXBAC_BAD_HEADER_TYPE"));
        }
        let mut properties = Vec::new();
        let bad_property = |_| refused("encap property", "NXBAC_BAD_ED_PROP");
        while !body.is_empty() {
            let class = body.u16()?;
            let (kind, length) = (body.u8()?, usize::from(body.u8()?));
            let rest = length.next_multiple_of(8).checked_sub(4).filter(|_| length >= 4);
            let rest = rest.ok_or(refused("encap property", "OFPBAC_BAD_LEN"))?;
            let mut value = body.sub("encap property", rest)?;
            properties.push(match (class, kind) {
                (Self::NSH_CLASS, Self::NSH_MD_TYPE) if length <= 8 => {
                    EncapProperty::NshMdType(value.u8().map_err(bad_property)?)
                }
                (Self::NSH_CLASS, Self::NSH_TLV) => {
                    let (class, kind) =
                        (value.u16().map_err(bad_property)?, value.u8().map_err(bad_property)?);
                    let n = usize::from(value.u8().map_err(bad_property)?);
                    if length != 8 + n.next_multiple_of(8) {
                        return Err(refused("encap property", "NXBAC_BAD_ED_PROP"));
                    }
                    EncapProperty::NshTlv { class, kind, value: value.take(n)?.into() }
                }
                (Self::NSH_CLASS, Self::NSH_MD_TYPE) => {
                    return Err(refused("encap property", "NXBAC_BAD_ED_PROP"));
                }
                _ => return Err(refused("encap property", "NXBAC_UNKNOWN_ED_PROP")),
            });
        }
        Ok(Some(Encap { packet_type, properties }))
    }
}
