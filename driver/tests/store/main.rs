//! The stores, from outside: one suite over both, and what only etcd can do wrong.
//!
//! The etcd tests start Debian's `etcd` on loopback. Without it they print why they are skipped, or fail if
//! `SLUICE_REQUIRE_LIVE=1`.

#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod embedded;
mod etcd;
mod kill;
mod server;
mod suite;

/// Runs every case of the suite over both stores, each case with a store of its own.
macro_rules! over_both {
    ($($case:ident),* $(,)?) => {
        mod over_embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                let store = sluice::store::Embedded::open(&dir.path().join("store.redb")).unwrap();
                crate::suite::$case(store).await;
            })*
        }

        mod over_etcd {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let Some(server) = crate::server::Server::single().await else { return };
                let store = sluice::store::Etcd::connect(server.config()).unwrap();
                crate::suite::$case(store).await;
            })*
        }
    };
}

over_both!(
    guards_decide_and_conflicts_tell_what_is_there,
    a_conflict_writes_nothing_of_a_transaction,
    a_transaction_is_never_shown_in_part,
    revisions_grow,
    a_mirror_sees_all_changes_of_eight_writers_in_order,
    a_mirror_begun_among_writes_has_no_gap_and_no_duplicate,
    a_mirror_ends_with_its_reader,
    presence_appears_and_goes,
    a_new_holder_of_a_presence_is_not_undone_by_the_old,
    prefixes_end_where_they_end,
    values_are_bytes,
    long_lists_are_whole_and_sorted,
    the_last_write_to_a_key_counts,
    too_large_a_transaction_is_refused,
);
