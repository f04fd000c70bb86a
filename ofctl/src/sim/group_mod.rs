//! Changes of groups, as any version of OpenFlow has them.

use std::sync::Arc;

use super::check::Refusal;
use super::groups::Group;
use super::messages::Answer;
use super::switch::Switch;
use crate::flow::FlowEntry;
use crate::wire::versions::{self, Bucket, BucketId, GroupMod, GroupModCommand, Version};
use crate::wire::{ErrorMessage, FlowRemovedReason, GroupId, Message, Xid};

impl Switch {
    /// Hears a group-mod that OpenFlow 1.3 has no words for, one with a selection method or about a single bucket, and
    /// answers as [`Switch::handle`] does.
    ///
    /// ```
    /// use ofctl::sim::Switch;
    /// use ofctl::text::{GroupCommand, GroupText};
    /// let text = "group_id=1,type=select,selection_method=hash,fields(ip_src),bucket=output:1,bucket=output:2";
    /// let mut switch = Switch::new();
    /// assert_eq!(switch.change_group(&GroupText::parse(text, Some(GroupCommand::Add))?.into()), []);
    /// # Ok::<(), ofctl::text::ParseError>(())
    /// ```
    pub fn change_group(&mut self, change: &GroupMod) -> Vec<Message> {
        self.group_mod(change).unwrap_or_else(|refusal| {
            let mut data = Vec::new();
            // A message that cannot be written was never heard, and has no beginning to be shown.
            let message = versions::Message::GroupMod(change.clone());
            let _ = message.encode(Version::OpenFlow15, Xid(0), &mut data);
            data.truncate(64);
            vec![Message::Error(ErrorMessage { error: refusal.code(), data })]
        })
    }

    pub(super) fn group_mod(&mut self, change: &GroupMod) -> Answer {
        let exists = self.groups.contains_key(&change.group);
        match change.command {
            GroupModCommand::Delete => return Ok(self.delete_groups(change.group)),
            GroupModCommand::Add if exists => {
                super::groups::check(change.group, change.kind, &change.buckets)?;
                return Err(Refusal::GroupExists(change.group));
            }
            GroupModCommand::InsertBucket | GroupModCommand::RemoveBucket => {
                return self.change_buckets(change);
            }
            _ => {}
        }
        let mut new = Group::new(change.kind, &change.buckets, change.selection.as_ref(), self.now);
        super::check::group(change.group, change.kind, &change.buckets)?;
        if change.command == GroupModCommand::Modify && !exists {
            return Err(Refusal::UnknownGroup(change.group));
        }
        let groups = Arc::make_mut(&mut self.groups);
        if let Some(old) = groups.get(&change.group) {
            new.created = old.created;
        }
        groups.insert(change.group, new);
        Ok(Vec::new())
    }

    fn delete_groups(&mut self, group: GroupId) -> Vec<Message> {
        let doomed: Vec<GroupId> = match group {
            GroupId::ALL => self.groups.keys().copied().collect(),
            one => vec![one],
        };
        let mut messages = Vec::new();
        for id in doomed {
            if Arc::make_mut(&mut self.groups).remove(&id).is_some() {
                let uses = |entry: &FlowEntry| super::flows::uses_group(entry, id);
                messages.extend(self.remove_flows(FlowRemovedReason::GroupDelete, uses));
            }
        }
        messages
    }

    /// OpenFlow 1.5.1 §6.6: buckets come after one, or go; the others stay with their counters.
    fn change_buckets(&mut self, change: &GroupMod) -> Answer {
        let group = self.groups.get(&change.group).ok_or(Refusal::UnknownGroup(change.group))?;
        let numbered = |(id, bucket): (&BucketId, &crate::wire::Bucket)| Bucket {
            id: *id,
            bucket: bucket.clone(),
            properties: Vec::new(),
        };
        let mut buckets: Vec<Bucket> = group.ids.iter().zip(&group.buckets).map(numbered).collect();
        let place = |wanted: BucketId| {
            let place = group.ids.iter().position(|id| *id == wanted);
            place.ok_or(Refusal::Named("OFPGMFC_UNKNOWN_BUCKET"))
        };
        if change.command == GroupModCommand::RemoveBucket {
            match change.command_bucket {
                BucketId::ALL => buckets.clear(),
                BucketId::FIRST => drop(buckets.drain(..buckets.len().min(1))),
                BucketId::LAST => drop(buckets.pop()),
                one => drop(buckets.remove(place(one)?)),
            }
        } else {
            if change.buckets.iter().any(|bucket| group.ids.contains(&bucket.id)) {
                return Err(Refusal::Named("OFPGMFC_BUCKET_EXISTS"));
            }
            let at = match change.command_bucket {
                BucketId::FIRST => 0,
                BucketId::LAST | BucketId::ALL => buckets.len(),
                one => place(one)? + 1,
            };
            buckets.splice(at..at, change.buckets.iter().cloned());
        }
        super::check::group(change.group, group.kind, &buckets)?;
        let mut new = Group::new(group.kind, &buckets, group.selection.as_ref(), group.created);
        new.counters = group.counters;
        for (id, counters) in new.ids.iter().zip(&mut new.bucket_counters) {
            if let Some(place) = group.ids.iter().position(|old| old == id) {
                *counters = group.bucket_counters[place];
            }
        }
        Arc::make_mut(&mut self.groups).insert(change.group, new);
        Ok(Vec::new())
    }
}
