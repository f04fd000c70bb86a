//! Any of the larger Nicira actions, within what text can show.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::wire::{
    Action, BundleAlgorithm, BundleOutput, ControllerAction, Cookie, Ct, CtFlags, CtZone, Encap,
    EncapProperty, Field, FieldValue, HashFields, Learn, LearnFlags, LearnSpec, MaskedField, Multipath,
    MultipathAlgorithm, Nat, NatFlags, NatRange, OfPort, PacketType, Sample, SampleDirection, SubField,
    TableId,
};
use proptest::prelude::*;

use super::arbitrary_bits;

/// Two of a kind in order, and not the same: text shows a range of one as one.
fn pair<T: Copy + Ord>(a: T, b: T) -> (T, Option<T>) {
    (a.min(b), Some(a.max(b)).filter(|max| *max != a.min(b)))
}

fn arbitrary_range() -> impl Strategy<Value = NatRange> {
    let address = |bits: u128, v6: bool| -> IpAddr {
        if v6 { Ipv6Addr::from_bits(bits).into() } else { Ipv4Addr::from_bits(bits as u32).into() }
    };
    let ports = prop::option::of((1u16.., 1u16..).prop_map(|(a, b)| pair(a, b)));
    (1u128..1 << 32, 1u128..1 << 32, any::<(bool, bool)>(), ports).prop_map(
        move |(a, b, (v6, single), ports)| {
            let (first, last) = pair(address(a, v6), address(b, v6));
            NatRange { first, last: last.filter(|_| !single), ports }
        },
    )
}

fn arbitrary_nat() -> impl Strategy<Value = Nat> {
    let side = prop::sample::select(vec![NatFlags::SRC.0, NatFlags::DST.0]);
    let ports = prop::sample::select(vec![0, NatFlags::PROTO_HASH.0, NatFlags::PROTO_RANDOM.0]);
    prop_oneof![
        Just(Nat::default()),
        side.clone().prop_map(|side| Nat { flags: NatFlags(side), range: None }),
        (side, ports, any::<bool>(), arbitrary_range()).prop_map(|(side, ports, persistent, range)| {
            let persistent = if persistent { NatFlags::PERSISTENT.0 } else { 0 };
            Nat { flags: NatFlags(side | ports | persistent), range: Some(range) }
        }),
    ]
}

fn arbitrary_ct() -> impl Strategy<Value = Action> {
    let zone = prop_oneof![
        any::<u16>().prop_map(CtZone::Number),
        (0u16..16).prop_map(|start| CtZone::Field(Field::Reg4.bits(start..start + 16))),
    ];
    let marks = prop::collection::vec(
        prop_oneof![
            any::<u32>().prop_map(|mark| Action::set_field(Field::CtMark, mark)),
            any::<u64>().prop_map(|label| Action::load(Field::CtLabel.bits(3..67), label)),
        ],
        0..3,
    );
    let nat = prop::option::of(arbitrary_nat());
    let alg = prop::sample::select(vec![0u16, 21, 69, 4711]);
    (0u16..3, zone, prop::option::of(0u8..255), alg, nat, marks).prop_map(
        |(flags, zone, table, alg, nat, marks)| {
            let commit = flags > 0;
            let flags = CtFlags(if flags == 2 { 3 } else { flags });
            let nat = nat.filter(|nat| commit || nat.is_plain());
            let mut actions: Vec<Action> = nat.map(|nat| Action::Nat(Box::new(nat))).into_iter().collect();
            actions.extend(marks.into_iter().filter(|_| commit));
            Action::Ct(Box::new(Ct { flags, zone, table: table.map(TableId), alg, actions }))
        },
    )
}

fn arbitrary_spec() -> impl Strategy<Value = LearnSpec> {
    let same_width = |src: SubField, dst: SubField| {
        let n_bits = src.n_bits.min(dst.n_bits);
        (SubField { n_bits, ..src }, SubField { n_bits, ..dst })
    };
    let cut = |value: u128, dst: SubField| FieldValue::from(value & (u128::MAX >> (128 - dst.n_bits)));
    (0..5, arbitrary_bits(), arbitrary_bits(), any::<u128>()).prop_map(move |(kind, src, dst, value)| {
        let value = cut(value, dst);
        let (narrow_src, narrow_dst) = same_width(src, dst);
        match kind {
            0 => LearnSpec::MatchField { src: narrow_src, dst: narrow_dst },
            1 => LearnSpec::LoadField { src: narrow_src, dst: narrow_dst },
            2 => LearnSpec::MatchValue { value, dst },
            3 => LearnSpec::LoadValue { value, dst },
            _ => LearnSpec::Output(src),
        }
    })
}

fn arbitrary_learn() -> impl Strategy<Value = Action> {
    let numbers = (any::<[u16; 5]>(), any::<u64>(), 0u8..255, any::<u32>(), 0u16..4);
    let result = prop::option::of((0u16..32).prop_map(|bit| Field::Reg7.bits(bit..bit + 1)));
    (numbers, result, prop::collection::vec(arbitrary_spec(), 0..6)).prop_map(
        |((times, cookie, table, limit, flags), result_dst, specs)| {
            let [priority, idle_timeout, hard_timeout, fin_idle_timeout, fin_hard_timeout] = times;
            Action::Learn(Box::new(Learn {
                priority,
                cookie: Cookie(cookie),
                idle_timeout,
                hard_timeout,
                fin_idle_timeout,
                fin_hard_timeout,
                flags: LearnFlags(flags),
                limit,
                result_dst,
                specs,
                ..Learn::new(TableId(table))
            }))
        },
    )
}

fn arbitrary_controller() -> impl Strategy<Value = Action> {
    let rest = (any::<bool>(), prop::option::of(1u32..), prop::collection::vec(any::<u8>(), 0..20));
    (any::<u16>(), any::<u16>(), any::<u8>(), rest).prop_filter_map(
        "a plain one is another action",
        |(max_len, id, reason, (pause, meter, userdata))| {
            let action = ControllerAction { max_len, id, reason, userdata: userdata.into(), pause, meter };
            (!action.is_plain()).then(|| Action::ControllerWith(Box::new(action)))
        },
    )
}

fn arbitrary_masked() -> impl Strategy<Value = Action> {
    use Field::*;
    let fields = vec![NshC1, NshC4, TunErspanIdx, TunMetadata0, TunMetadata63];
    let field = prop::sample::select(fields);
    (field, any::<u32>(), 1u32..).prop_filter_map("an exact one is another action", |(field, value, mask)| {
        let mask = FieldValue::from(mask) & field.exact_mask();
        let masked = MaskedField { field, value: FieldValue::from(value) & mask, mask };
        (!masked.is_exact() && !mask.is_zero()).then(|| Action::SetMasked(Box::new(masked)))
    })
}

fn arbitrary_choice() -> impl Strategy<Value = Action> {
    let fields = prop::sample::select(HashFields::ALL.to_vec());
    let multipath = prop::sample::select(MultipathAlgorithm::ALL.to_vec());
    let bundle = prop::sample::select(BundleAlgorithm::ALL.to_vec());
    prop_oneof![
        (fields.clone(), any::<u16>(), multipath, 0u16..256, any::<u32>()).prop_map(
            |(fields, basis, algorithm, max_link, argument)| {
                let dst = Field::Reg1.bits(3..11);
                Action::Multipath(Box::new(Multipath { fields, basis, algorithm, max_link, argument, dst }))
            }
        ),
        (fields, any::<u16>(), bundle, any::<bool>(), prop::collection::vec(1u16..0xff00, 0..9)).prop_map(
            |(fields, basis, algorithm, load, members)| {
                let dst = load.then(|| Field::Reg1.bits(8..24));
                Action::Bundle(Box::new(BundleOutput { fields, basis, algorithm, dst, members }))
            }
        ),
    ]
}

fn arbitrary_sample() -> impl Strategy<Value = Action> {
    use SampleDirection::*;
    let port = prop::option::of(1u16..0xff00);
    (1u16.., any::<[u32; 3]>(), port, prop::sample::select(vec![Default, Ingress, Egress])).prop_map(
        |(probability, [collector_set_id, obs_domain_id, obs_point_id], sampling_port, direction)| {
            Action::Sample(Box::new(Sample {
                probability,
                collector_set_id,
                obs_domain_id,
                obs_point_id,
                sampling_port,
                direction,
            }))
        },
    )
}

fn arbitrary_encap() -> impl Strategy<Value = Action> {
    let value = prop::collection::vec(any::<u8>(), 1..30);
    // Text leaves leading zeros away.
    let tlv = (any::<(u16, u8)>(), 1u8.., value).prop_map(|((class, kind), first, mut value)| {
        value[0] = first;
        EncapProperty::NshTlv { class, kind, value: value.into() }
    });
    prop_oneof![
        prop::sample::select(vec![PacketType::ETHERNET, PacketType::MPLS, PacketType::MPLS_MULTICAST])
            .prop_map(|packet_type| Action::Encap(Box::new(Encap { packet_type, properties: Vec::new() }))),
        (any::<u8>(), prop::collection::vec(tlv, 0..3)).prop_map(|(md_type, tlvs)| {
            let properties = std::iter::once(EncapProperty::NshMdType(md_type)).chain(tlvs).collect();
            Action::Encap(Box::new(Encap { packet_type: PacketType::NSH, properties }))
        }),
        any::<(u16, u16)>().prop_map(|(namespace, kind)| Action::Decap(PacketType { namespace, kind })),
    ]
}

fn arbitrary_small() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Exit),
        Just(Action::CtClear),
        Just(Action::PopQueue),
        Just(Action::DecMplsTtl),
        Just(Action::DecNshTtl),
        any::<u32>().prop_map(Action::SetQueue),
        prop::sample::select(vec![0x8847, 0x8848]).prop_map(Action::PushMpls),
        any::<u16>().prop_map(Action::PopMpls),
        any::<u8>().prop_map(Action::SetMplsTtl),
        any::<u8>().prop_map(Action::SetNwTtl),
        prop::collection::vec(any::<u16>(), 1..6).prop_map(|ids| Action::DecTtlIds(ids.into())),
        (1u16..0xff00, 14u32..).prop_map(|(port, max_len)| Action::OutputTrunc { port, max_len }),
        (1u16..0xff00, 0u8..255).prop_map(|(port, table)| Action::ResubmitCt { port, table: TableId(table) }),
        (0u8..255).prop_map(|table| Action::ResubmitCt { port: 0xfff8, table: TableId(table) }),
        any::<(u16, u16)>().prop_map(|(idle, hard)| Action::FinTimeout { idle, hard }),
        (any::<u32>(), 2u8..=64, any::<u8>()).prop_map(|(id, n_clauses, clause)| Action::Conjunction {
            id,
            clause: clause % n_clauses,
            n_clauses
        }),
        (any::<u16>(), 0u16..32)
            .prop_map(|(length, bit)| Action::CheckPktLarger { length, dst: Field::Reg9.bits(bit..bit + 1) }),
        prop::sample::select(vec![Field::TunMetadata0, Field::TunMetadata63]).prop_map(Action::DeleteField),
    ]
}

pub(crate) fn arbitrary_action() -> impl Strategy<Value = Action> {
    let leaf = prop_oneof![
        4 => arbitrary_small(),
        2 => arbitrary_ct(),
        2 => arbitrary_learn(),
        1 => arbitrary_controller(),
        1 => arbitrary_masked(),
        1 => arbitrary_choice(),
        1 => arbitrary_sample(),
        1 => arbitrary_encap(),
        1 => (1u32..0xff00).prop_map(|port| Action::Output(OfPort(port))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Action::Clone))
}
