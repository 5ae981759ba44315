//! Snapshots: what one shows never changes, and it shows all that was acknowledged before it.

use super::Subject;
use super::check::{Failure, equal};
use super::probe::{PAGE, delete, key, keys, put, scan, value_in};
use crate::{Direction, KeyRange};

pub(super) async fn do_not_see_later_commits(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let empty = ledger.snapshot().await?;
    for number in 1..=10 {
        put(&ledger, &key(number), "old").await?;
    }
    let old = ledger.snapshot().await?;
    for number in 1..=5 {
        put(&ledger, &key(number), "new").await?;
        delete(&ledger, &key(number + 5)).await?;
        put(&ledger, &key(number + 10), "added").await?;
    }
    equal(empty.sequence(), 0, "the number of a snapshot of nothing")?;
    equal(
        value_in(empty.as_ref(), &key(1)).await?,
        None,
        "a later put in an older snapshot",
    )?;
    let nothing = scan(empty.as_ref(), &KeyRange::all(), Direction::Forward, PAGE).await?;
    equal(nothing.len(), 0, "later puts in an older snapshot's scan")?;
    equal(old.sequence(), 10, "the number of the older snapshot")?;
    for number in 1..=10 {
        let found = value_in(old.as_ref(), &key(number)).await?;
        equal(found, Some("old".to_owned()), "a value in the older snapshot")?;
    }
    equal(
        value_in(old.as_ref(), &key(11)).await?,
        None,
        "a later put in an older snapshot",
    )?;
    for direction in [Direction::Forward, Direction::Backward] {
        let mut found = scan(old.as_ref(), &KeyRange::all(), direction, PAGE).await?;
        if direction == Direction::Backward {
            found.reverse();
        }
        equal(
            keys(&found),
            (1..=10).map(key).collect::<Vec<_>>(),
            "the older snapshot's keys",
        )?;
        let newer = found.iter().find(|entry| entry.versioned.version > 10);
        equal(newer, None, "an entry of a later commit")?;
    }
    Ok(())
}

pub(super) async fn contain_what_was_acknowledged(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in 1..=100 {
        let sequence = put(&ledger, &key(number % 7), &number.to_string()).await?;
        let snapshot = ledger.snapshot().await?;
        equal(snapshot.sequence(), sequence, "the snapshot's number")?;
        equal(
            value_in(snapshot.as_ref(), &key(number % 7)).await?,
            Some(number.to_string()),
            "what was just acknowledged",
        )?;
    }
    Ok(())
}

pub(super) async fn outlive_deletes_and_trims(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in 1..=300 {
        put(&ledger, &key(number), "kept").await?;
    }
    let old = ledger.snapshot().await?;
    // The scan is under way when the keys go.
    let limit = crate::ScanLimit {
        entries_max: 10,
        ..PAGE
    };
    let first = old.scan_page(&KeyRange::all(), Direction::Forward, limit).await?;
    for number in 1..=300 {
        delete(&ledger, &key(number)).await?;
    }
    ledger.trim_log(600).await?;
    let rest = first
        .rest
        .ok_or_else(|| Failure::new("the first page of 300 keys says that nothing is left"))?;
    let mut found = keys(&first.entries);
    found.extend(keys(&scan(old.as_ref(), &rest, Direction::Forward, limit).await?));
    equal(
        found,
        (1..=300).map(key).collect::<Vec<_>>(),
        "the keys of a scan that went on while they were deleted",
    )
}
