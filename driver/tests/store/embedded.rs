//! What only the embedded store does.

use std::time::Duration;

use sluice::store::{Embedded, Store, StoreError};

use crate::suite::{next, put, set, snapshot};

#[tokio::test]
async fn entries_and_revisions_survive_and_presence_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/store.redb");
    let store = Embedded::open(&path).unwrap();
    let first = set(&store, vec![], vec![put("/k", "1")]).await;
    let held = store.clone().keep_present("/alive".into(), b"{}".to_vec(), Duration::from_secs(60));
    set(&store, vec![], vec![put("/after", "")]).await;
    assert!(store.get("/alive").await.unwrap().is_some());
    // As after a crash: what held the key was never dropped.
    let copy = dir.path().join("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    drop(held);

    let copied = Embedded::open(&copy).unwrap();
    assert_eq!(copied.get("/alive").await.unwrap(), None);
    assert_eq!(copied.get("/k").await.unwrap().unwrap().revision, first);
    let last = copied.get("/after").await.unwrap().unwrap().revision;
    assert!(set(&copied, vec![], vec![put("/k", "2")]).await > last);
}

#[tokio::test]
async fn a_file_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    let Err(error) = Embedded::open(&path) else { panic!("opened twice") };
    assert!(matches!(error, StoreError::Unusable { .. }));
    let text = error.to_string();
    assert!(
        text.contains("store.redb") && text.contains("another process") && text.contains("--state-dir"),
        "{text}"
    );
    drop(store);
    Embedded::open(&path).unwrap();
}

/// The feed to mirrors is bounded: one that reads too slowly begins again, and misses nothing by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_falls_far_behind_gets_a_new_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(&dir.path().join("store.redb")).unwrap();
    let mut mirror = store.clone().mirror("/".into());
    assert_eq!(snapshot(&mut mirror).await, vec![]);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let store = store.clone();
        writers.spawn(async move {
            for n in 0..100 {
                set(&store, vec![], vec![put(&format!("/{writer}"), n.to_string())]).await;
            }
        });
    }
    writers.join_all().await;
    let end = set(&store, vec![], vec![put("/end", "")]).await;
    let (mut seen, mut snapshots) = (std::collections::BTreeMap::new(), 0);
    while !seen.contains_key("/end") {
        match next(&mut mirror).await {
            sluice::store::MirrorEvent::Snapshot(entries) => {
                snapshots += 1;
                seen = entries.into_iter().map(|e| (e.key, e.value)).collect();
            }
            sluice::store::MirrorEvent::Changes(changes) => {
                for (key, entry) in changes {
                    seen.insert(key, entry.unwrap().value);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(snapshots, 1, "1600 transactions do not fit into the feed");
    let now = store.list("/").await.unwrap();
    assert_eq!(now.iter().map(|e| e.revision).max(), Some(end));
    assert_eq!(seen, now.into_iter().map(|e| (e.key, e.value)).collect());
}
