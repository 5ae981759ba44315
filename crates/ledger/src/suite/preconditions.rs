//! Preconditions: what holds commits, what doesn't is a conflict that names the key and leaves
//! no trace.

use super::Subject;
use super::check::{Failure, conflict, ensure, equal};
use super::probe::{delete, key, put, putting, record, unmoved, value};
use crate::{Conflict, Expectation, Transaction};

pub(super) async fn absent(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut transaction = putting(&key(1), "a");
    transaction.require_absent(key(1));
    let first = ledger.commit(transaction.clone()).await?.sequence;
    let found = conflict(
        ledger.commit(transaction.clone()).await,
        "absent on a key that exists",
    )?;
    let wanted = Conflict {
        key: key(1),
        expected: Expectation::Absent,
        found: Some(first),
    };
    equal(found, wanted, "the conflict")?;
    unmoved(&ledger, first).await?;
    delete(&ledger, &key(1)).await?;
    // A deleted key is as absent as one that never was.
    ledger.commit(transaction).await?;
    equal(value(&ledger, &key(1)).await?, Some("a".to_owned()), "the value")
}

pub(super) async fn present(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut transaction = putting(&key(2), "b");
    transaction.require_present(key(1));
    let missing = Conflict {
        key: key(1),
        expected: Expectation::Present,
        found: None,
    };
    let found = conflict(
        ledger.commit(transaction.clone()).await,
        "present on a missing key",
    )?;
    equal(found, missing.clone(), "the conflict")?;
    unmoved(&ledger, 0).await?;
    put(&ledger, &key(1), "a").await?;
    ledger.commit(transaction.clone()).await?;
    let head = delete(&ledger, &key(1)).await?;
    let found = conflict(ledger.commit(transaction).await, "present on a deleted key")?;
    equal(found, missing, "the conflict")?;
    unmoved(&ledger, head).await
}

pub(super) async fn version(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let with_version = |version| {
        let mut transaction = putting(&key(1), "next");
        transaction.require_version(key(1), version);
        transaction
    };
    // No version means absent, also in the conflict.
    let first = ledger.commit(with_version(None)).await?.sequence;
    let found = conflict(
        ledger.commit(with_version(None)).await,
        "no version on a key that exists",
    )?;
    equal(found.expected, Expectation::Absent, "what was expected")?;
    put(&ledger, &key(9), "another key").await?;
    let second = ledger.commit(with_version(Some(first))).await?.sequence;
    for wrong in [first, second + 1, second - 1, 0] {
        let found = conflict(
            ledger.commit(with_version(Some(wrong))).await,
            "another version than the key's",
        )?;
        let wanted = Conflict {
            key: key(1),
            expected: Expectation::Version(wrong),
            found: Some(second),
        };
        equal(found, wanted, "the conflict")?;
    }
    unmoved(&ledger, second).await?;
    delete(&ledger, &key(1)).await?;
    let found = conflict(
        ledger.commit(with_version(Some(second))).await,
        "the version of a deleted key",
    )?;
    equal(found.found, None, "the version found")
}

pub(super) async fn several_in_one_transaction(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let one = put(&ledger, &key(1), "one").await?;
    let two = put(&ledger, &key(2), "two").await?;
    let all = |version| {
        let mut transaction = putting(&key(4), "four");
        transaction.delete(key(1));
        transaction.record(record("several"));
        transaction.require_present(key(1));
        transaction.require_version(key(2), Some(version));
        transaction.require_absent(key(3));
        transaction.require_version(key(1), Some(one));
        transaction
    };
    let found = conflict(
        ledger.commit(all(two + 7)).await,
        "one precondition of four fails",
    )?;
    let wanted = Conflict {
        key: key(2),
        expected: Expectation::Version(two + 7),
        found: Some(two),
    };
    equal(found, wanted, "the conflict")?;
    unmoved(&ledger, two).await?;
    equal(value(&ledger, &key(4)).await?, None, "what a refused commit put")?;
    equal(
        value(&ledger, &key(1)).await?,
        Some("one".to_owned()),
        "what a refused commit deleted",
    )?;
    // When two fail, either may be named.
    let mut both = all(two + 7);
    both.require_present(key(3));
    let found = conflict(ledger.commit(both).await, "two preconditions fail")?;
    ensure(found.key == key(2) || found.key == key(3), || {
        format!("a conflict names {:?}, whose precondition holds", found.key)
    })?;
    // Two on the same key that exclude each other.
    let mut contrary = Transaction::new();
    contrary.require_absent(key(1));
    contrary.require_present(key(1));
    let found = conflict(ledger.commit(contrary).await, "absent and present at once")?;
    equal(found.expected, Expectation::Absent, "which of both fails")?;
    ledger.commit(all(two)).await?;
    equal(value(&ledger, &key(1)).await?, None, "the deleted key")?;
    equal(
        value(&ledger, &key(4)).await?,
        Some("four".to_owned()),
        "the put key",
    )
}

pub(super) async fn on_keys_that_are_not_written(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let guard = put(&ledger, &key(1), "guard").await?;
    let mut transaction = putting(&key(2), "kept");
    transaction.require_present(key(1));
    ledger.commit(transaction.clone()).await?;
    let snapshot = ledger.snapshot().await?;
    let found = snapshot.get(&key(1)).await?.map(|found| found.version);
    equal(
        found,
        Some(guard),
        "the version of a key that a precondition looked at",
    )?;
    delete(&ledger, &key(1)).await?;
    conflict(
        ledger.commit(transaction).await,
        "a guard that another commit removed",
    )?;
    Ok(())
}

pub(super) async fn see_the_ledger_before_their_transaction(
    subject: &mut dyn Subject,
) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut creation = putting(&key(1), "new");
    creation.require_absent(key(1));
    ledger.commit(creation).await?;
    let mut removal = Transaction::new();
    removal.delete(key(1));
    removal.require_present(key(1));
    ledger.commit(removal).await?;
    let mut hopeful = putting(&key(1), "new");
    hopeful.require_present(key(1));
    conflict(
        ledger.commit(hopeful).await,
        "present on what the transaction itself puts",
    )?;
    equal(value(&ledger, &key(1)).await?, None, "the value")
}

pub(super) async fn alone_commit_or_conflict(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut transaction = Transaction::new();
    transaction.require_absent(key(1));
    let first = ledger.commit(transaction.clone()).await?.sequence;
    equal(first, 1, "the number of a commit that only has a precondition")?;
    equal(
        ledger.commit(Transaction::new()).await?.sequence,
        2,
        "the number of an empty commit",
    )?;
    put(&ledger, &key(1), "a").await?;
    conflict(
        ledger.commit(transaction).await,
        "a transaction with nothing but a precondition",
    )?;
    unmoved(&ledger, 3).await
}
