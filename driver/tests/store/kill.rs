//! What a ledger has after its process was killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use sluice::store::{Ledger, LedgerWrite, Table};

const PATH: &str = "SLUICE_TEST_LEDGER";

/// Not a test: the process that is killed. Prints a line for each acknowledged commit, until it is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by every_acknowledged_commit_survives_a_kill, as a process of its own"]
async fn child() {
    let path = std::env::var(PATH).expect("set by the parent");
    let ledger = Ledger::open(Path::new(&path)).unwrap();
    let begun = ledger.load(Table::Meta).unwrap().len();
    ledger.commit(vec![LedgerWrite::Put(Table::Meta, format!("life {begun}"), vec![])]).await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let ledger = ledger.clone();
        callers.spawn(async move {
            for n in 0u64.. {
                let key = format!("{begun} {caller}");
                let behind = LedgerWrite::Put(Table::Cache, key.clone(), n.to_string().into());
                ledger.write_behind(vec![behind]);
                // One number in two tables: a commit is there whole or not at all.
                let both = [Table::Endpoints, Table::Leases];
                let writes = both.map(|t| LedgerWrite::Put(t, key.clone(), n.to_string().into()));
                ledger.commit(writes.into()).await.unwrap();
                println!("acknowledged {key} {n}");
            }
        });
    }
    callers.join_all().await;
}

#[test]
fn every_acknowledged_commit_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    for life in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = std::collections::BTreeMap::new();
        let mut note = |line: &str| {
            // libtest's own words may stand before the first.
            if let Some((_, fact)) = line.split_once("acknowledged ") {
                let (key, number) = fact.rsplit_once(' ').unwrap();
                acknowledged.insert(key.to_owned(), number.parse::<u64>().unwrap());
            }
        };
        // Killed in the middle, at another point each time.
        for _ in 0..200 + 37 * life {
            note(&lines.next().expect("the child ended by itself").unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line may have been cut off: it is not an acknowledgement that anybody could read.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.iter().take(rest.len().saturating_sub(1)).for_each(|line| note(line));

        let ledger = Ledger::open(&path).unwrap();
        let table = |t| -> std::collections::BTreeMap<String, u64> {
            let rows = ledger.load(t).unwrap().into_iter();
            rows.map(|(key, value)| (key, String::from_utf8(value).unwrap().parse().unwrap())).collect()
        };
        let (endpoints, leases, cache) = (table(Table::Endpoints), table(Table::Leases), table(Table::Cache));
        assert_eq!(endpoints, leases);
        assert_eq!(acknowledged.len(), 8, "every caller came to a commit");
        for (key, number) in acknowledged {
            assert!(
                endpoints[&key] >= number,
                "{key}: {number} was acknowledged, {} is there",
                endpoints[&key]
            );
            assert!(cache[&key] >= number, "{key}: a write behind came before the commit of {number}");
        }
    }
}
