//! Each fault strikes when planned, with its own error, and leaves what it says that it leaves.

use super::*;
use crate::memory::MemoryLedger;
use crate::{KeyWriter, Keyspace, Scan, SystemClock};

fn ledger() -> FaultLedger {
    FaultLedger::over(Arc::new(MemoryLedger::new(Arc::new(SystemClock))))
}

fn key(number: u64) -> Key {
    KeyWriter::new(Keyspace::Blobs).u64(number).finish()
}

fn put(number: u64) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.put(key(number), "v");
    transaction
}

async fn stored(ledger: &FaultLedger) -> Vec<Key> {
    let snapshot = ledger.inner.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::all(), Direction::Forward);
    let mut found = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        found.push(entry.key);
    }
    found
}

#[tokio::test]
async fn faults_strike_when_planned_and_only_then() {
    let ledger = ledger();
    ledger.fail_commits(2, 2, CommitFault::BeforeApplied);
    ledger.fail_commits(1, 1, CommitFault::Full);
    let mut answers = Vec::new();
    for number in 0..8 {
        answers.push(ledger.commit(put(number)).await.map_err(|error| match error {
            LedgerError::Unavailable(_) => "unavailable",
            LedgerError::Full => "full",
            other => panic!("{other}"),
        }));
    }
    let found: Vec<&str> = answers
        .iter()
        .map(|answer| answer.as_ref().err().copied().unwrap_or("ok"))
        .collect();
    assert_eq!(
        found,
        ["ok", "ok", "unavailable", "unavailable", "ok", "full", "ok", "ok"]
    );
    // What failed took no number and left no trace.
    assert_eq!(stored(&ledger).await, [0, 1, 4, 6, 7].map(key));
    assert_eq!(*ledger.head().borrow(), 5);
    assert_eq!(ledger.struck(), (3, 0));
}

#[tokio::test]
async fn a_lost_answer_leaves_the_commit_applied() {
    let ledger = ledger();
    ledger.fail_next_commit(CommitFault::AfterApplied);
    let mut transaction = put(1);
    transaction.require_absent(key(1));
    let answer = ledger.commit(transaction.clone()).await;
    assert!(matches!(answer, Err(LedgerError::Unknown(_))), "{answer:?}");
    assert_eq!(stored(&ledger).await, [key(1)]);
    // Repeated, it meets its own work.
    let conflict = ledger.commit(transaction.clone()).await.unwrap_err();
    assert_eq!(conflict.conflict().unwrap().found, Some(1));
    // A commit that the ledger refuses anyway isn't an unknown outcome.
    ledger.fail_next_commit(CommitFault::AfterApplied);
    assert!(ledger.commit(transaction).await.unwrap_err().conflict().is_some());
    assert_eq!(ledger.struck(), (1, 0));
}

#[tokio::test]
async fn a_failed_sync_stops_all_writes_until_the_restart() {
    for (fault, written) in [
        (CommitFault::SyncFailed, false),
        (CommitFault::SyncFailedButWritten, true),
    ] {
        let ledger = ledger();
        ledger.commit(put(0)).await.unwrap();
        ledger.fail_next_commit(fault);
        for number in [1, 2] {
            let answer = ledger.commit(put(number)).await;
            assert!(matches!(answer, Err(LedgerError::Failed(_))), "{answer:?}");
        }
        assert!(matches!(ledger.trim_log(1).await, Err(LedgerError::Failed(_))));
        assert!(matches!(ledger.health(), Health::ReadOnly(_)));
        assert!(ledger.snapshot().await.is_ok(), "reads work on");
        ledger.heal();
        assert!(ledger.commit(put(3)).await.is_err(), "only a restart helps");
        ledger.restart();
        assert_eq!(ledger.health(), Health::Ready);
        ledger.commit(put(4)).await.unwrap();
        let wanted: &[u64] = if written { &[0, 1, 4] } else { &[0, 4] };
        let wanted: Vec<Key> = wanted.iter().map(|number| key(*number)).collect();
        assert_eq!(stored(&ledger).await, wanted);
    }
}

#[tokio::test]
async fn a_planned_conflict_breaks_the_first_precondition() {
    let ledger = ledger();
    let version = ledger.commit(put(1)).await.unwrap().sequence;
    let mut absent = put(2);
    absent.require_absent(key(2));
    let mut present = put(2);
    present.require_present(key(1));
    let mut versioned = put(2);
    versioned.require_version(key(1), Some(version));
    for transaction in [absent, present, versioned] {
        ledger.fail_next_commit(CommitFault::Conflict);
        let error = ledger.commit(transaction.clone()).await.unwrap_err();
        let conflict = error.conflict().unwrap();
        let first = &transaction.preconditions()[0];
        assert_eq!((&conflict.key, conflict.expected), (&first.key, first.expected));
        assert!(
            crate::memory::check(&first.key, first.expected, conflict.found).is_err(),
            "{conflict:?} is none"
        );
        assert_eq!(stored(&ledger).await, [key(1)]);
    }
    ledger.fail_next_commit(CommitFault::Conflict);
    ledger.commit(put(3)).await.unwrap();
    assert_eq!(ledger.struck(), (3, 0));
}

#[tokio::test]
async fn reads_fail_one_by_one_and_by_range() {
    let ledger = ledger();
    for number in 0..10 {
        ledger.commit(put(number)).await.unwrap();
    }
    let snapshot = ledger.snapshot().await.unwrap();
    ledger.fail_reads(1, 2, ReadFault::Unavailable);
    assert!(snapshot.get(&key(1)).await.is_ok());
    assert!(matches!(
        snapshot.get(&key(1)).await,
        Err(LedgerError::Unavailable(_))
    ));
    assert!(ledger.log_page(0, 1, 1).await.is_err());
    assert!(ledger.log_page(0, 1, 1).await.is_ok());
    ledger.fail_reads(0, 1, ReadFault::Unavailable);
    assert!(ledger.snapshot().await.is_err());

    ledger.damage(KeyRange::between(key(3), key(5)), ReadFault::Corrupt);
    let corrupt = |answer: Result<(), LedgerError>| matches!(answer, Err(LedgerError::Corrupt(_)));
    assert!(corrupt(snapshot.get(&key(4)).await.map(drop)));
    assert!(corrupt(snapshot.get_many(&[key(1), key(3)]).await.map(drop)));
    assert!(snapshot.get_many(&[key(1), key(5)]).await.is_ok());
    let page = async |from, to| {
        let limit = ScanLimit {
            entries_max: 10,
            bytes_max: 1_000,
        };
        let range = KeyRange::between(key(from), key(to));
        snapshot
            .scan_page(&range, Direction::Forward, limit)
            .await
            .map(drop)
    };
    assert!(corrupt(page(0, 4).await));
    assert!(corrupt(page(4, 9).await));
    assert!(page(0, 3).await.is_ok());
    assert!(page(5, 9).await.is_ok());
    // Writing there is still possible.
    ledger.commit(put(4)).await.unwrap();
    ledger.heal();
    assert!(page(0, 9).await.is_ok());
    assert_eq!(ledger.struck(), (0, 7));
}

/// Without a plan it keeps the contract: what a service's test sees is the service's doing.
#[tokio::test]
async fn without_a_plan_it_conforms() {
    struct Engine;
    struct Subject(Arc<FaultLedger>);
    #[async_trait]
    impl crate::suite::Engine for Engine {
        async fn create(&self) -> Result<Box<dyn crate::suite::Subject>, LedgerError> {
            Ok(Box::new(Subject(Arc::new(ledger()))))
        }
    }
    #[async_trait]
    impl crate::suite::Subject for Subject {
        fn ledger(&self) -> Arc<dyn Ledger> {
            self.0.clone()
        }
        async fn reopen(&mut self) -> Result<bool, LedgerError> {
            Ok(false)
        }
    }
    let failures = crate::suite::run(&Engine).await;
    assert!(failures.is_empty(), "{failures:?}");
}
