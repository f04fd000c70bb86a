//! Group text as a group-mod of any version.

use std::collections::BTreeSet;

use super::{BucketPlace, GroupCommand, GroupText};
use crate::wire::versions::{Bucket, BucketId, GroupMod, GroupModCommand, SelectionMethod};

impl From<GroupText> for GroupMod {
    /// The group-mod; whether a version can carry it is found when it is written. Buckets without a number get the lowest
    /// that are free.
    fn from(text: GroupText) -> Self {
        let given: BTreeSet<u32> = text.buckets.iter().filter_map(|(id, _)| *id).collect();
        let mut free = (0..).filter(|id| !given.contains(id));
        let buckets = text.buckets.into_iter().filter_map(|(id, bucket)| {
            let id = BucketId(id.or_else(|| free.next())?);
            Some(Bucket { id, bucket, properties: Vec::new() })
        });
        GroupMod {
            command: match text.command {
                GroupCommand::Add => GroupModCommand::Add,
                GroupCommand::Modify => GroupModCommand::Modify,
                GroupCommand::AddOrModify => GroupModCommand::AddOrModify,
                GroupCommand::Delete => GroupModCommand::Delete,
                GroupCommand::InsertBucket => GroupModCommand::InsertBucket,
                GroupCommand::RemoveBucket => GroupModCommand::RemoveBucket,
            },
            kind: text.kind,
            group: text.group,
            command_bucket: match text.place {
                None | Some(BucketPlace::All) => BucketId::ALL,
                Some(BucketPlace::First) => BucketId::FIRST,
                Some(BucketPlace::Last) => BucketId::LAST,
                Some(BucketPlace::Id(id)) => BucketId(id),
            },
            buckets: buckets.collect(),
            selection: text.selection.map(|selection| SelectionMethod {
                method: selection.method,
                parameter: selection.parameter,
                fields: selection.fields,
            }),
            properties: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_without_a_number_get_the_lowest_that_are_free() {
        let text = "group_id=1,type=all,bucket=bucket_id=1,output:1,bucket=output:2,bucket=output:3";
        let group = GroupMod::from(GroupText::parse(text, Some(GroupCommand::Add)).unwrap());
        let ids: Vec<u32> = group.buckets.iter().map(|bucket| bucket.id.0).collect();
        assert_eq!(ids, [1, 0, 2]);
    }
}
