//! What a switch refuses when a flow is added, so that a wrong flow fails a test at once.

use super::key::{Key, MAX_TAGS, TAG_PRESENT};
use crate::flow::FlowEntry;
use crate::wire::versions::Bucket;
use crate::wire::{
    Action, BandKind, CtFlags, CtZone, ErrorCode, Field, GroupId, GroupType, Learn, LearnSpec, Match,
    MeterId, OfPort, Prerequisite, SubField, TableId,
};

/// A flow or group that a switch would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a switch would refuse {object}: {reason}")]
pub struct Refused {
    /// The flow or group, as text.
    pub object: String,
    /// Why.
    #[source]
    pub reason: Refusal,
}

/// Why a switch would not take a flow or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `OFPBMC_BAD_PREREQ`.
    #[error("it matches {} without what that field needs: {needs:?}", field.name())]
    MatchPrerequisite {
        /// The field.
        field: Field,
        /// What the match must also hold.
        needs: Prerequisite,
    },
    /// Match fields that this crate does not know, and so cannot evaluate.
    #[error("its match has fields that are not known here")]
    UnknownMatch,
    /// `OFPBAC_MATCH_INCONSISTENT`.
    #[error("an action uses {} in packets that need not have it; the match must hold {needs:?}", field.name())]
    ActionPrerequisite {
        /// The field.
        field: Field,
        /// What the match must hold.
        needs: Prerequisite,
    },
    /// `OFPBAC_BAD_SET_ARGUMENT`, for a field that cannot be written.
    #[error("an action writes {}, which is read-only", field.name())]
    ReadOnly {
        /// The field.
        field: Field,
    },
    /// `OFPBAC_BAD_SET_ARGUMENT`, for a part of a field that is only written whole.
    #[error("an action writes some bits of {}, which is only written whole", field.name())]
    NotMaskable {
        /// The field.
        field: Field,
    },
    /// `OFPBAC_BAD_SET_ARGUMENT`, for a value that the field cannot hold.
    #[error("an action writes {value:#x} into {}, which cannot hold it", field.name())]
    Value {
        /// The field.
        field: Field,
        /// The value.
        value: u128,
    },
    /// Bits that do not exist, or differ in number where they must not.
    #[error("an action names bits {start}..{end} of {}, which do not fit", field.name())]
    Bits {
        /// The field.
        field: Field,
        /// First bit.
        start: u16,
        /// First bit that is not meant.
        end: u16,
    },
    /// `OFPBAC_BAD_ARGUMENT`: the only tag types are 0x8100 and 0x88a8.
    #[error("an action pushes a VLAN tag of type {0:#06x}")]
    TagType(u16),
    /// `OFPBAC_BAD_TAG`: Open vSwitch handles two tags at most.
    #[error("an action pushes a third VLAN tag")]
    TooManyTags,
    /// `OFPBIC_BAD_TABLE_ID`: a goto leads only to later tables.
    #[error("it goes to table {0}, which does not come after its own")]
    GotoBackwards(TableId),
    /// `OFPBAC_BAD_TYPE`: not an action for an action set.
    #[error("{0} cannot stand in an action set")]
    NotInActionSet(String),
    /// `OFPGMFC_INVALID_GROUP`: an indirect group has exactly one bucket.
    #[error("an indirect group has one bucket, not {0}")]
    IndirectBuckets(usize),
    /// `OFPGMFC_INVALID_GROUP`: only the buckets of select groups have weights.
    #[error("a bucket has weight {0}, and the group is no select group")]
    Weight(u16),
    /// `OFPGMFC_WATCH_UNSUPPORTED`: buckets that are all taken watch nothing.
    #[error("a bucket watches a port or group, and the group takes all its buckets whatever is alive")]
    Watches,
    /// `OFPGMFC_INVALID_GROUP`: a bucket of a fast failover group must watch something.
    #[error("a bucket watches neither port nor group, as those of a fast failover group must")]
    WatchesNothing,
    /// `OFPGMFC_INVALID_GROUP`: a reserved number.
    #[error("{0} is no number of a group")]
    BadGroup(GroupId),
    /// `OFPBAC_BAD_OUT_GROUP`, or `OFPGMFC_UNKNOWN_GROUP` for a message about the group.
    #[error("group {0} does not exist")]
    NoSuchGroup(GroupId),
    /// `OFPGMFC_UNKNOWN_GROUP`.
    #[error("there is no group {0} to modify")]
    UnknownGroup(GroupId),
    /// `OFPGMFC_GROUP_EXISTS`.
    #[error("group {0} exists")]
    GroupExists(GroupId),
    /// `OFPMMFC_INVALID_METER`: a reserved number, or no such meter.
    #[error("{0} is no meter that could be used")]
    BadMeter(MeterId),
    /// `OFPMMFC_UNKNOWN_METER`.
    #[error("there is no meter {0} to modify")]
    UnknownMeter(MeterId),
    /// `OFPMMFC_METER_EXISTS`.
    #[error("meter {0} exists")]
    MeterExists(MeterId),
    /// `OFPMMFC_OUT_OF_BANDS`.
    #[error("a meter has 8 bands at most, not {0}")]
    TooManyBands(usize),
    /// `OFPMMFC_BAD_BAND`: the datapaths of Open vSwitch only drop.
    #[error("the datapath has no meter bands of kind {0:?}")]
    BandKind(BandKind),
    /// `OFPBRC_BAD_TABLE_ID`.
    #[error("there is no table {0}")]
    NoSuchTable(TableId),
    /// `OFPFMFC_OVERLAP`.
    #[error("it overlaps another entry of its priority")]
    Overlap,
    /// `OFPBAC_BAD_OUT_PORT`.
    #[error("an action outputs to port {0}, which cannot be")]
    OutPort(OfPort),
    /// `OFPBAC_BAD_ARGUMENT`.
    #[error("{0} cannot be done: {1}")]
    Argument(String, &'static str),
    /// `OFPPMFC_BAD_PORT`.
    #[error("there is no port {0}")]
    NoSuchPort(OfPort),
    /// `OFPPMFC_BAD_HW_ADDR`.
    #[error("port {0} has another address")]
    PortAddress(OfPort),
    /// An error that stands for itself, such as `OFPBRC_IS_SECONDARY`.
    #[error("{0}")]
    Named(&'static str),
}

impl Refusal {
    /// Name of the error with which a switch answers, OpenFlow 1.3.5 §7.5.4.
    pub fn name(&self) -> &'static str {
        use Refusal::*;
        match self {
            MatchPrerequisite { .. } => "OFPBMC_BAD_PREREQ",
            UnknownMatch => "OFPBMC_BAD_FIELD",
            ActionPrerequisite { .. } => "OFPBAC_MATCH_INCONSISTENT",
            ReadOnly { .. } | NotMaskable { .. } | Value { .. } => "OFPBAC_BAD_SET_ARGUMENT",
            Bits { .. } | Argument(..) => "OFPBAC_BAD_ARGUMENT",
            TagType(_) => "OFPBAC_BAD_ARGUMENT",
            TooManyTags => "OFPBAC_BAD_TAG",
            GotoBackwards(_) => "OFPBIC_BAD_TABLE_ID",
            NotInActionSet(_) => "OFPBAC_BAD_TYPE",
            IndirectBuckets(_) | Weight(_) | WatchesNothing | BadGroup(_) => "OFPGMFC_INVALID_GROUP",
            Watches => "OFPGMFC_WATCH_UNSUPPORTED",
            NoSuchGroup(_) => "OFPBAC_BAD_OUT_GROUP",
            UnknownGroup(_) => "OFPGMFC_UNKNOWN_GROUP",
            GroupExists(_) => "OFPGMFC_GROUP_EXISTS",
            BadMeter(_) => "OFPMMFC_INVALID_METER",
            UnknownMeter(_) => "OFPMMFC_UNKNOWN_METER",
            MeterExists(_) => "OFPMMFC_METER_EXISTS",
            TooManyBands(_) => "OFPMMFC_OUT_OF_BANDS",
            BandKind(_) => "OFPMMFC_BAD_BAND",
            NoSuchTable(_) => "OFPBRC_BAD_TABLE_ID",
            Overlap => "OFPFMFC_OVERLAP",
            OutPort(_) => "OFPBAC_BAD_OUT_PORT",
            NoSuchPort(_) => "OFPPMFC_BAD_PORT",
            PortAddress(_) => "OFPPMFC_BAD_HW_ADDR",
            Named(name) => name,
        }
    }

    /// That error's numbers.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::from_name(self.name()).expect("every name above is in the table of errors")
    }
}

/// Calls `check` with every action, those within others too.
pub(super) fn for_each_action<'a>(
    actions: impl IntoIterator<Item = &'a Action>,
    check: &mut dyn FnMut(&'a Action) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for action in actions {
        check(action)?;
        match action {
            Action::Clone(inner) => for_each_action(inner, check)?,
            Action::Ct(ct) => for_each_action(&ct.actions, check)?,
            _ => {}
        }
    }
    Ok(())
}

/// Checks a match: fields that are known, with what they need.
pub(super) fn matching(matching: &Match) -> Result<(), Refusal> {
    if !matching.unknown().is_empty() {
        return Err(Refusal::UnknownMatch);
    }
    let known = known_fields(matching);
    let lacks = |condition: &&crate::wire::FieldMatch| !known.meets(condition.field.spec().prerequisite);
    match matching.iter().find(lacks) {
        Some(condition) => {
            let field = condition.field;
            Err(Refusal::MatchPrerequisite { field, needs: field.spec().prerequisite })
        }
        None => Ok(()),
    }
}

/// Checks a flow as `OFPT_FLOW_MOD` is checked, OpenFlow 1.3.5 §6.4 and ovs-actions(7).
pub(super) fn flow(entry: &FlowEntry) -> Result<(), Refusal> {
    matching(&entry.matching)?;
    let mut known = known_fields(&entry.matching);
    for action in &entry.instructions.apply {
        check_action(action, &mut known)?;
    }
    action_set(&entry.instructions.write)?;
    for action in &entry.instructions.write {
        check_action(action, &mut known)?;
    }
    match entry.instructions.goto {
        Some(table) if table <= entry.table && entry.table != TableId::ALL => {
            Err(Refusal::GotoBackwards(table))
        }
        _ => Ok(()),
    }
}

/// Checks a group's buckets. Their packets may be any, so prerequisites are not checked.
pub(super) fn group(id: GroupId, kind: GroupType, buckets: &[Bucket]) -> Result<(), Refusal> {
    super::groups::check(id, kind, buckets)?;
    buckets.iter().try_for_each(|bucket| action_set(&bucket.bucket.actions))
}

fn action_set(actions: &[Action]) -> Result<(), Refusal> {
    use Action::*;
    for action in actions {
        let never = matches!(
            action,
            StackPush(_)
                | StackPop(_)
                | Note(_)
                | OutputReg(_)
                | OutputTrunc { .. }
                | ControllerWith(_)
                | PopQueue
                | Learn(_)
                | Conjunction { .. }
                | Multipath(_)
                | Bundle(_)
                | Sample(_)
                | FinTimeout { .. }
                | Exit
                | CheckPktLarger { .. }
                | DeleteField(_)
                | Clone(_)
        );
        if never {
            return Err(Refusal::NotInActionSet(super::trace::action_text(action)));
        }
    }
    Ok(())
}

/// The fields that all packets of a match have, as far as prerequisites ask.
fn known_fields(matching: &Match) -> Key {
    let mut key = Key::new();
    for condition in matching {
        // A priority is no proof of a tag, though writing one makes one.
        let exact = condition.is_exact() && condition.field != Field::VlanPcp;
        if exact || matches!(condition.field, Field::VlanVid | Field::IpFrag) {
            key.set(condition.field, condition.value.to_u128());
        }
    }
    if let Some(condition) = matching.get(Field::CtState) {
        use super::conntrack::state::*;
        let (value, mask) = (condition.value.to_u64() as u8, condition.mask.to_u64() as u8);
        // Either bit that says that there is a connection, or the word that the packet is not invalid.
        let connected = value & (NEW | ESTABLISHED | RELATED | REPLY | NAT) != 0;
        let valid = value & TRACKED != 0 && mask & INVALID != 0 && value & INVALID == 0;
        key.put(Field::CtState, if connected || valid { value | NEW } else { value });
    }
    key
}

fn check_action(action: &Action, known: &mut Key) -> Result<(), Refusal> {
    let readable = |part: SubField, known: &Key| {
        let (field, end) = (part.field, part.start.saturating_add(part.n_bits));
        if part.n_bits == 0 || end > field.bits_wide() {
            return Err(Refusal::Bits { field, start: part.start, end });
        }
        let needs = field.spec().prerequisite;
        if known.meets(needs) { Ok(()) } else { Err(Refusal::ActionPrerequisite { field, needs }) }
    };
    let writable = |part: SubField, known: &Key| {
        readable(part, known)?;
        let field = part.field;
        if field.spec().writable { Ok(()) } else { Err(Refusal::ReadOnly { field }) }
    };
    // Setting or loading OXM_OF_VLAN_VID changes a tag, and does not make one; moving and popping may.
    let tagged = |field: Field, known: &Key| {
        if field == Field::VlanVid && known.tag_count() == 0 {
            return Err(Refusal::ActionPrerequisite { field, needs: Prerequisite::VlanVid });
        }
        Ok(())
    };
    let holds = |field: Field, value: u128, bits: u128, whole: bool| {
        let refused = match field {
            Field::ArpOp => value > 0xff,
            // OFPVID_PRESENT must be set: a tag cannot be taken away by writing it.
            Field::VlanVid => whole && value & 0x1000 == 0,
            _ => false,
        };
        if value & !bits != 0 || refused {
            return Err(Refusal::Value { field, value });
        }
        Ok(())
    };
    match action {
        // Open vSwitch lets loads and moves write it.
        Action::SetField(field @ Field::InPort, _) => Err(Refusal::ReadOnly { field: *field }),
        Action::SetField(field, value) => {
            writable(field.whole(), known)?;
            tagged(*field, known)?;
            holds(*field, value.to_u128(), field.exact_mask().to_u128(), true)?;
            if *field == Field::VlanTci {
                known.set(*field, value.to_u128());
            }
            Ok(())
        }
        Action::SetMasked(masked) => {
            let field = masked.field;
            if !masked.is_exact() && !field.spec().maskable {
                return Err(Refusal::NotMaskable { field });
            }
            writable(field.whole(), known)?;
            tagged(field, known)?;
            holds(field, masked.value.to_u128(), masked.mask.to_u128(), masked.is_exact())?;
            if field == Field::VlanTci {
                known.set(field, masked.value.to_u128());
            }
            Ok(())
        }
        Action::RegLoad { dst, value } => {
            writable(*dst, known)?;
            tagged(dst.field, known)?;
            holds(dst.field, (*value).into(), super::key::ones(dst.n_bits), false)?;
            if dst.field == Field::VlanTci {
                // As Open vSwitch has it: the bits that are not loaded count as zero here.
                known.set(dst.field, u128::from(*value) << dst.start);
            }
            Ok(())
        }
        Action::RegMove { src, dst } => {
            readable(*src, known)?;
            writable(*dst, known)?;
            if src.n_bits != dst.n_bits {
                let end = dst.start + dst.n_bits;
                return Err(Refusal::Bits { field: dst.field, start: dst.start, end });
            }
            Ok(())
        }
        Action::StackPush(part) | Action::OutputReg(part) => readable(*part, known),
        Action::StackPop(part) => writable(*part, known),
        // As Open vSwitch has it, only the innermost place counts.
        Action::PushVlan(0x8100 | 0x88a8) if known.tags[MAX_TAGS - 1].tci & TAG_PRESENT != 0 => {
            Err(Refusal::TooManyTags)
        }
        Action::PushVlan(tpid @ (0x8100 | 0x88a8)) => {
            known.push_tag(*tpid);
            Ok(())
        }
        Action::PushVlan(tpid) => Err(Refusal::TagType(*tpid)),
        Action::PopVlan if known.tag_count() == 0 => {
            Err(Refusal::ActionPrerequisite { field: Field::VlanVid, needs: Prerequisite::VlanVid })
        }
        Action::PopVlan => {
            known.pop_tag();
            Ok(())
        }
        Action::Multipath(multipath) => writable(multipath.dst, known),
        Action::Bundle(bundle) => bundle.dst.map_or(Ok(()), |dst| writable(dst, known)),
        Action::CheckPktLarger { dst, .. } => writable(*dst, known),
        Action::Learn(learn) => check_learn(learn, known),
        Action::Clone(actions) => {
            let mut copy = known.clone();
            actions.iter().try_for_each(|action| check_action(action, &mut copy))
        }
        Action::Ct(ct) => {
            if let CtZone::Field(part) = ct.zone {
                readable(part, known)?;
            }
            let nats = |action: &Action| matches!(action, Action::Nat(_));
            let invalid = known.value(Field::CtState) & u128::from(super::conntrack::state::INVALID) != 0;
            if !known.is_ip() || invalid && ct.flags.contains(CtFlags::COMMIT) {
                return Err(Refusal::ActionPrerequisite { field: Field::IpProto, needs: Prerequisite::Ip });
            }
            // FTP and TFTP, by their ports.
            let carrier = match ct.alg {
                21 => Some((6, Prerequisite::Tcp)),
                69 => Some((17, Prerequisite::Udp)),
                _ => None,
            };
            if let Some((protocol, needs)) = carrier
                && known.value(Field::IpProto) != protocol
            {
                return Err(Refusal::ActionPrerequisite { field: Field::IpProto, needs });
            }
            ct.actions
                .iter()
                .filter(|action| !nats(action))
                .try_for_each(|action| check_action(action, known))
        }
        Action::PushMpls(eth_type) => {
            known.put(Field::EthType, *eth_type);
            known.put(Field::IpProto, 0u8);
            Ok(())
        }
        Action::PopMpls(_) | Action::SetMplsTtl(_) | Action::DecMplsTtl
            if !known.meets(Prerequisite::Mpls) =>
        {
            Err(Refusal::ActionPrerequisite { field: Field::MplsLabel, needs: Prerequisite::Mpls })
        }
        Action::PopMpls(eth_type) => {
            known.put(Field::EthType, *eth_type);
            Ok(())
        }
        Action::FinTimeout { .. } if known.value(Field::IpProto) != 6 => {
            Err(Refusal::ActionPrerequisite { field: Field::TcpFlags, needs: Prerequisite::Tcp })
        }
        Action::ResubmitCt { .. } if !known.meets(Prerequisite::Ct) => {
            Err(Refusal::ActionPrerequisite { field: Field::CtNwSrc, needs: Prerequisite::Ct })
        }
        Action::DecTtlIds(_) | Action::SetNwTtl(_) if !known.is_ip() => {
            Err(Refusal::ActionPrerequisite { field: Field::IpTtl, needs: Prerequisite::Ip })
        }
        Action::DecTtl if !known.is_ip() => {
            Err(Refusal::ActionPrerequisite { field: Field::IpTtl, needs: Prerequisite::Ip })
        }
        _ => Ok(()),
    }
}

/// Checks what a learned flow would match and load: its match must hold what its fields need.
fn check_learn(learn: &Learn, known: &Key) -> Result<(), Refusal> {
    let mut learned = Key::new();
    let needs = |field: Field, key: &Key| {
        let needs = field.spec().prerequisite;
        if key.meets(needs) { Ok(()) } else { Err(Refusal::ActionPrerequisite { field, needs }) }
    };
    for spec in &learn.specs {
        if let LearnSpec::MatchField { src, .. } | LearnSpec::LoadField { src, .. } | LearnSpec::Output(src) =
            spec
        {
            needs(src.field, known)?;
        }
        match spec {
            LearnSpec::MatchField { dst, .. } => needs(dst.field, &learned)?,
            LearnSpec::MatchValue { dst, value } => {
                needs(dst.field, &learned)?;
                learned.set_bits(*dst, value.to_u128());
            }
            LearnSpec::LoadField { dst, .. } | LearnSpec::LoadValue { dst, .. } => {
                needs(dst.field, &learned)?;
                if !dst.field.spec().writable {
                    return Err(Refusal::ReadOnly { field: dst.field });
                }
            }
            LearnSpec::Output(_) => {}
        }
    }
    Ok(())
}

/// Checks a packet-out's actions against the packet that they are for.
pub(super) fn packet_out(actions: &[Action], packet: &super::packet::Packet) -> Result<(), Refusal> {
    let mut known = packet.key.clone();
    actions.iter().try_for_each(|action| check_action(action, &mut known))
}
