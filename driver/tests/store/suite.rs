//! What every store must do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluice::store::{Entry, Guard, MAX_TXN_OPS, MirrorEvent, Revision, Store, StoreError, TxnOutcome, Write};
use tokio::sync::mpsc::Receiver;

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn next(mirror: &mut Receiver<MirrorEvent>) -> MirrorEvent {
    tokio::time::timeout(DEADLINE, mirror.recv()).await.expect("no event in time").expect("the mirror ended")
}

pub(crate) async fn snapshot(mirror: &mut Receiver<MirrorEvent>) -> Vec<Entry> {
    match next(mirror).await {
        MirrorEvent::Snapshot(entries) => entries,
        other => panic!("expected a snapshot, got {other:?}"),
    }
}

pub(crate) async fn changes(mirror: &mut Receiver<MirrorEvent>) -> Vec<(String, Option<Entry>)> {
    match next(mirror).await {
        MirrorEvent::Changes(changes) => changes,
        other => panic!("expected changes, got {other:?}"),
    }
}

pub(crate) fn put(key: &str, value: impl AsRef<[u8]>) -> Write {
    Write::Put(key.into(), value.as_ref().to_vec())
}

fn delete(key: &str) -> Write {
    Write::Delete(key.into())
}

fn absent(key: &str) -> Guard {
    Guard::Absent(key.into())
}

/// Commits and expects it to be carried out.
pub(crate) async fn set(store: &Arc<impl Store>, guards: Vec<Guard>, writes: Vec<Write>) -> Revision {
    match store.commit(guards, writes).await.unwrap() {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Conflict(entries) => panic!("unexpected conflict: {entries:?}"),
    }
}

async fn conflict(store: &Arc<impl Store>, guards: Vec<Guard>, writes: Vec<Write>) -> Vec<Entry> {
    match store.commit(guards, writes).await.unwrap() {
        TxnOutcome::Conflict(entries) => entries,
        TxnOutcome::Committed(revision) => panic!("committed at {revision:?} against a guard"),
    }
}

fn entry(key: &str, value: &[u8], revision: Revision) -> Entry {
    Entry { key: key.into(), value: value.into(), revision }
}

pub(crate) async fn guards_decide_and_conflicts_tell_what_is_there(store: Arc<impl Store>) {
    let first = set(&store, vec![absent("/k/a")], vec![put("/k/a", "1")]).await;
    assert_eq!(store.get("/k/a").await.unwrap(), Some(entry("/k/a", b"1", first)));
    assert_eq!(store.get("/k").await.unwrap(), None);

    let found = conflict(&store, vec![absent("/k/a")], vec![put("/k/a", "2")]).await;
    assert_eq!(found, vec![entry("/k/a", b"1", first)]);

    let unchanged = Guard::Unchanged("/k/a".into(), first);
    let second = set(&store, vec![unchanged.clone()], vec![put("/k/a", "2")]).await;
    assert!(second > first);
    let found = conflict(&store, vec![unchanged.clone()], vec![put("/k/a", "3")]).await;
    assert_eq!(found, vec![entry("/k/a", b"2", second)]);

    let present = Guard::Present("/k/a".into());
    set(&store, vec![present.clone()], vec![delete("/k/a")]).await;
    assert_eq!(conflict(&store, vec![present], vec![put("/k/a", "4")]).await, vec![]);
    assert_eq!(conflict(&store, vec![unchanged], vec![put("/k/a", "4")]).await, vec![]);
    // Deleting what is not there is no error.
    set(&store, vec![], vec![delete("/k/a")]).await;
    set(&store, vec![absent("/k/a")], vec![put("/k/a", "5")]).await;
}

pub(crate) async fn a_conflict_writes_nothing_of_a_transaction(store: Arc<impl Store>) {
    let at = set(&store, vec![], vec![put("/m/a", "1"), put("/m/b", "1"), put("/m/keep", "1")]).await;
    let guards = vec![
        Guard::Unchanged("/m/a".into(), at),
        absent("/m/b"),
        absent("/m/c"),
        Guard::Present("/m/b".into()),
    ];
    let writes = vec![put("/m/a", "2"), put("/m/c", "2"), delete("/m/keep")];
    let found = conflict(&store, guards, writes).await;
    assert_eq!(found, vec![entry("/m/a", b"1", at), entry("/m/b", b"1", at)]);
    let all = vec![entry("/m/a", b"1", at), entry("/m/b", b"1", at), entry("/m/keep", b"1", at)];
    assert_eq!(store.list("/m/").await.unwrap(), all);
}

/// Eight writers set two keys to one value; whoever looks must see them equal.
pub(crate) async fn a_transaction_is_never_shown_in_part(store: Arc<impl Store>) {
    set(&store, vec![], vec![put("/pair/a", "start"), put("/pair/b", "start")]).await;
    let mut mirror = store.clone().mirror("/pair/".into());
    let mut seen: BTreeMap<String, Vec<u8>> =
        snapshot(&mut mirror).await.into_iter().map(|e| (e.key, e.value)).collect();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            for n in 0..25 {
                let value = format!("{writer}-{n}");
                set(&store, vec![], vec![put("/pair/a", &value), put("/pair/b", &value)]).await;
                let pair = store.list("/pair/").await.unwrap();
                assert_eq!(pair.len(), 2);
                assert_eq!(pair[0].value, pair[1].value);
                assert_eq!(pair[0].revision, pair[1].revision);
            }
        });
    }
    let mut told = 0;
    while told < 2 * 8 * 25 {
        let changes = changes(&mut mirror).await;
        told += changes.len();
        for (key, entry) in changes {
            seen.insert(key, entry.unwrap().value);
        }
        assert_eq!(seen["/pair/a"], seen["/pair/b"]);
    }
    assert_eq!(told, 2 * 8 * 25);
    writers.join_all().await;
}

pub(crate) async fn revisions_grow(store: Arc<impl Store>) {
    let mut last = set(&store, vec![], vec![put("/r/0", "")]).await;
    for n in 0..20 {
        let now = set(&store, vec![], vec![put(&format!("/r/{}", n % 3), "")]).await;
        assert!(now > last);
        assert_eq!(store.get(&format!("/r/{}", n % 3)).await.unwrap().unwrap().revision, now);
        last = now;
    }
}

/// Eight writers raise one number by compare-and-swap and note each success; the mirror must tell each of them once,
/// in the order of the store.
pub(crate) async fn a_mirror_sees_all_changes_of_eight_writers_in_order(store: Arc<impl Store>) {
    const EACH: u64 = 20;
    let mut mirror = store.clone().mirror("/race/".into());
    assert_eq!(snapshot(&mut mirror).await, vec![]);
    set(&store, vec![], vec![put("/race/number", "0")]).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            let mut revisions = Vec::new();
            while (revisions.len() as u64) < EACH {
                let now = store.get("/race/number").await.unwrap().unwrap();
                let number: u64 = String::from_utf8(now.value).unwrap().parse().unwrap();
                let guards = vec![Guard::Unchanged("/race/number".into(), now.revision)];
                let own = format!("/race/by/{writer}");
                let writes =
                    vec![put("/race/number", (number + 1).to_string()), put(&own, number.to_string())];
                if let TxnOutcome::Committed(revision) = store.commit(guards, writes).await.unwrap() {
                    revisions.push(revision);
                }
            }
            revisions
        });
    }
    let mut numbers: Vec<(u64, Revision)> = Vec::new();
    while numbers.last().is_none_or(|(number, _)| *number < 8 * EACH) {
        for (key, entry) in changes(&mut mirror).await {
            if key == "/race/number" {
                let entry = entry.unwrap();
                numbers.push((String::from_utf8(entry.value).unwrap().parse().unwrap(), entry.revision));
            }
        }
    }
    let in_order: Vec<u64> = (0..=8 * EACH).collect();
    assert_eq!(numbers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), in_order);
    assert!(numbers.is_sorted_by(|a, b| a.1 < b.1));
    let mut committed: Vec<Revision> = writers.join_all().await.concat();
    committed.sort();
    assert_eq!(numbers[1..].iter().map(|(_, revision)| *revision).collect::<Vec<_>>(), committed);
}

/// Each of four writers counts in its own key while mirrors begin, one after the other: what a mirror tells of a key
/// must go on by one from what its snapshot had.
pub(crate) async fn a_mirror_begun_among_writes_has_no_gap_and_no_duplicate(store: Arc<impl Store>) {
    const LAST: u64 = 150;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 1..=LAST {
                set(&store, vec![], vec![put(&format!("/count/{writer}"), n.to_string())]).await;
            }
        });
    }
    for reader in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            // Many that see the beginning, and one in the end that sees it out.
            for look in 0.. {
                let mut mirror = store.clone().mirror("/count/".into());
                let first = snapshot(&mut mirror).await;
                let mut counts: BTreeMap<String, u64> =
                    first.iter().map(|e| (e.key.clone(), number(e))).collect();
                let until = if look < 100 { counts.values().sum::<u64>() + 1 + reader } else { 4 * LAST };
                while counts.values().sum::<u64>() < until.min(4 * LAST) {
                    for (key, entry) in changes(&mut mirror).await {
                        let number = number(&entry.unwrap());
                        let before = counts.insert(key.clone(), number).unwrap_or(0);
                        assert_eq!(number, before + 1, "of {key}");
                    }
                }
                if counts.values().sum::<u64>() == 4 * LAST {
                    return;
                }
            }
        });
    }
    // A reader's panic is this test's.
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

fn number(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.value).unwrap().parse().unwrap()
}

pub(crate) async fn a_mirror_ends_with_its_reader(store: Arc<impl Store>) {
    let before = Arc::strong_count(&store);
    let mut mirror = store.clone().mirror("/".into());
    snapshot(&mut mirror).await;
    drop(mirror);
    let ended = async {
        while Arc::strong_count(&store) > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("the mirror still holds the store");
}

pub(crate) async fn presence_appears_and_goes(store: Arc<impl Store>) {
    let mut mirror = store.clone().mirror("/alive/".into());
    assert_eq!(snapshot(&mut mirror).await, vec![]);
    let held = store.clone().keep_present("/alive/me".into(), b"{}".to_vec(), Duration::from_secs(60));
    let told = changes(&mut mirror).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.as_ref().unwrap().value, b"{}");
    assert!(store.get("/alive/me").await.unwrap().is_some());
    drop(held);
    // Long before the time to live is over.
    assert_eq!(changes(&mut mirror).await, vec![("/alive/me".into(), None)]);
    assert_eq!(store.get("/alive/me").await.unwrap(), None);
}

pub(crate) async fn a_new_holder_of_a_presence_is_not_undone_by_the_old(store: Arc<impl Store>) {
    let mut mirror = store.clone().mirror("/alive/".into());
    snapshot(&mut mirror).await;
    let old = store.clone().keep_present("/alive/me".into(), b"old".to_vec(), Duration::from_secs(60));
    changes(&mut mirror).await;
    let new = store.clone().keep_present("/alive/me".into(), b"new".to_vec(), Duration::from_secs(60));
    assert_eq!(changes(&mut mirror).await[0].1.as_ref().unwrap().value, b"new");
    let holders = Arc::strong_count(&store);
    drop(old);
    let gone = async {
        while Arc::strong_count(&store) >= holders {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the old holder still holds the store");
    // A transaction after whatever the old one's end did.
    set(&store, vec![], vec![put("/alive/other", "")]).await;
    assert_eq!(changes(&mut mirror).await[0].0, "/alive/other");
    assert_eq!(store.get("/alive/me").await.unwrap().unwrap().value, b"new");
    drop(new);
    assert_eq!(changes(&mut mirror).await, vec![("/alive/me".into(), None)]);
}

pub(crate) async fn prefixes_end_where_they_end(store: Arc<impl Store>) {
    let keys = ["/a", "/a/", "/a/b", "/a/b/", "/a/b/1", "/a/b/2", "/a/bc", "/a/bc/1", "/b"];
    let mut under = store.clone().mirror("/a/b/".into());
    assert_eq!(snapshot(&mut under).await, vec![]);
    for key in keys {
        set(&store, vec![], vec![put(key, key)]).await;
    }
    let list = async |prefix| -> Vec<String> {
        store.list(prefix).await.unwrap().into_iter().map(|e| e.key).collect()
    };
    assert_eq!(list("/a/b/").await, ["/a/b/", "/a/b/1", "/a/b/2"]);
    assert_eq!(list("/a/b").await, ["/a/b", "/a/b/", "/a/b/1", "/a/b/2", "/a/bc", "/a/bc/1"]);
    assert_eq!(list("/a/c").await, [""; 0]);
    assert_eq!(list("").await, keys);
    let mut told = Vec::new();
    while told.len() < 3 {
        told.extend(changes(&mut under).await.into_iter().map(|(key, _)| key));
    }
    assert_eq!(told, ["/a/b/", "/a/b/1", "/a/b/2"]);
}

pub(crate) async fn values_are_bytes(store: Arc<impl Store>) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = every_byte.repeat(4096);
    for (key, value) in [("/v/empty", vec![]), ("/v/every", every_byte), ("/v/large", large)] {
        let mut mirror = store.clone().mirror(key.into());
        snapshot(&mut mirror).await;
        set(&store, vec![], vec![put(key, &value)]).await;
        assert_eq!(store.get(key).await.unwrap().unwrap().value, value);
        assert_eq!(changes(&mut mirror).await[0].1.as_ref().unwrap().value, value);
    }
    assert_eq!(store.list("/v/").await.unwrap().len(), 3);
}

pub(crate) async fn long_lists_are_whole_and_sorted(store: Arc<impl Store>) {
    let keys: Vec<String> = (0..1280).map(|n| format!("/list/{n:05}")).collect();
    for part in keys.chunks(MAX_TXN_OPS) {
        set(&store, vec![], part.iter().rev().map(|key| put(key, key)).collect()).await;
    }
    let listed = store.list("/list/").await.unwrap();
    assert_eq!(listed.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), keys);
    assert!(listed.iter().all(|e| e.value == e.key.as_bytes()));
    let mut mirror = store.clone().mirror("/list/".into());
    assert_eq!(snapshot(&mut mirror).await, listed);
}

pub(crate) async fn the_last_write_to_a_key_counts(store: Arc<impl Store>) {
    set(
        &store,
        vec![],
        vec![delete("/w/a"), put("/w/a", "1"), put("/w/b", "1"), put("/w/a", "2"), delete("/w/b")],
    )
    .await;
    let left: Vec<_> = store.list("/w/").await.unwrap().into_iter().map(|e| (e.key, e.value)).collect();
    assert_eq!(left, vec![("/w/a".to_string(), b"2".to_vec())]);
}

pub(crate) async fn too_large_a_transaction_is_refused(store: Arc<impl Store>) {
    let writes: Vec<Write> = (0..=MAX_TXN_OPS).map(|n| put(&format!("/big/{n}"), "")).collect();
    let guards: Vec<Guard> = (0..MAX_TXN_OPS).map(|n| absent(&format!("/big/{n}"))).collect();
    let error = store.commit(vec![], writes.clone()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unusable { reason, .. } if reason.contains("129 writes")),
        "{error}"
    );
    assert_eq!(store.list("/big/").await.unwrap(), vec![]);
    set(&store, guards, writes[..MAX_TXN_OPS].to_vec()).await;
    assert_eq!(store.list("/big/").await.unwrap().len(), MAX_TXN_OPS);
}
