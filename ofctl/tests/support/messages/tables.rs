//! Features of tables.

use ofctl::wire::{ActionId, Field, FieldId, InstructionId, TableFeatures, TableId, TableProperty, When};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::parts::*;

pub(super) fn field_ids(masked: bool) -> impl Strategy<Value = Vec<FieldId>> {
    let fields: Vec<Field> = Field::all().collect();
    let n = fields.len();
    (subsequence(fields, 0..n), any::<u64>()).prop_map(move |(fields, masks)| {
        let id = |(place, field): (usize, Field)| {
            let has_mask = masked && field.spec().maskable && masks >> (place % 64) & 1 == 1;
            FieldId::new(field, has_mask)
        };
        fields.into_iter().enumerate().map(id).collect()
    })
}

pub(super) fn properties() -> impl Strategy<Value = Vec<TableProperty>> {
    let sides = (
        subsequence((1..7).map(InstructionId).collect::<Vec<_>>(), 0..6),
        subsequence((0..255).map(TableId).collect::<Vec<_>>(), 0..255),
        subsequence((0..28).map(ActionId::new).collect::<Vec<_>>(), 0..28),
        subsequence((0..28).map(ActionId::new).collect::<Vec<_>>(), 0..28),
        field_ids(false),
        field_ids(false),
    )
        .boxed();
    let side = |miss: bool| {
        sides.clone().prop_map(move |(instructions, next, write, apply, write_fields, apply_fields)| {
            vec![
                TableProperty::Instructions { miss, list: instructions },
                TableProperty::NextTables { miss, list: next },
                TableProperty::Actions { when: When::Write, miss, list: write },
                TableProperty::Actions { when: When::Apply, miss, list: apply },
                TableProperty::SetField { when: When::Write, miss, list: write_fields },
                TableProperty::SetField { when: When::Apply, miss, list: apply_fields },
            ]
        })
    };
    (side(false), option::of(side(true)), field_ids(true), field_ids(false)).prop_map(
        |(mut all, miss, matched, wildcards)| {
            all.extend(miss.unwrap_or_default());
            all.push(TableProperty::Match(matched));
            all.push(TableProperty::Wildcards(wildcards));
            all
        },
    )
}

pub(super) fn table_features() -> impl Strategy<Value = Vec<TableFeatures>> {
    let one = (0u8..250, word(32), any::<(u64, u64, u32)>(), properties());
    // Some tables are like the one before, which is what there is most of.
    (vec(one, 0..3), 0u8..3).prop_map(|(all, repeated)| {
        let mut tables = Vec::new();
        for (table, name, (metadata_match, metadata_write, max_entries), properties) in all {
            for n in 0..=repeated {
                tables.push(TableFeatures {
                    table: TableId(table + n),
                    name: if n == 0 { name.clone() } else { String::new() },
                    metadata_match,
                    metadata_write,
                    config: 0,
                    max_entries,
                    properties: properties.clone(),
                });
            }
        }
        tables
    })
}
