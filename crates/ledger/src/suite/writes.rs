//! Writes: what is put is there, under the version of the commit that put it.

use bytes::Bytes;

use super::Subject;
use super::check::{Failure, equal};
use super::probe::{PAGE, delete, key, keys, put, putting, record, scan, value};
use crate::{Direction, Key, KeyRange, KeyWriter, Keyspace, Transaction};

pub(super) async fn put_and_delete(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let text = |text: &str| Some(text.to_owned());
    equal(value(&ledger, &key(1)).await?, None, "a key never put")?;
    put(&ledger, &key(1), "a").await?;
    equal(value(&ledger, &key(1)).await?, text("a"), "after a put")?;
    put(&ledger, &key(1), "b").await?;
    equal(value(&ledger, &key(1)).await?, text("b"), "after another put")?;
    put(&ledger, &key(1), "").await?;
    equal(
        value(&ledger, &key(1)).await?,
        text(""),
        "after putting an empty value",
    )?;
    delete(&ledger, &key(1)).await?;
    equal(value(&ledger, &key(1)).await?, None, "after a delete")?;
    // Deleting what isn't there is a commit like any other.
    let sequence = delete(&ledger, &key(1)).await?;
    equal(sequence, 5, "the number of a delete of nothing")?;
    put(&ledger, &key(1), "c").await?;
    equal(
        value(&ledger, &key(1)).await?,
        text("c"),
        "after putting it again",
    )?;
    let mut several = Transaction::new();
    several.delete(key(1));
    for number in 2..50 {
        several.put(key(number), Bytes::copy_from_slice(&[0, 255, 10, 0]));
    }
    ledger.commit(several).await?;
    let snapshot = ledger.snapshot().await?;
    let found = scan(snapshot.as_ref(), &KeyRange::all(), Direction::Forward, PAGE).await?;
    equal(
        keys(&found),
        (2..50).map(key).collect::<Vec<_>>(),
        "what one commit wrote",
    )?;
    let odd = found
        .iter()
        .find(|entry| entry.versioned.value.as_ref() != [0, 255, 10, 0]);
    equal(odd, None, "an entry whose bytes aren't those put")
}

pub(super) async fn the_last_write_to_a_key_holds(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut transaction = putting(&key(1), "first");
    transaction.put(key(1), "second");
    transaction.put(key(2), "gone");
    transaction.delete(key(2));
    transaction.delete(key(3));
    transaction.put(key(3), "back");
    ledger.commit(transaction).await?;
    let text = |text: &str| Some(text.to_owned());
    equal(value(&ledger, &key(1)).await?, text("second"), "put, put")?;
    equal(value(&ledger, &key(2)).await?, None, "put, delete")?;
    equal(value(&ledger, &key(3)).await?, text("back"), "delete, put")
}

pub(super) async fn put_sequenced(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let feed = |number| KeyWriter::new(Keyspace::Documents).u8(9).u32(number).finish();
    let mut wanted = Vec::new();
    for number in 0..20_u32 {
        let mut transaction = Transaction::new();
        transaction.put_sequenced(feed(1), Bytes::from_static(b"x"), format!("{number} x"));
        transaction.put_sequenced(feed(1), Bytes::from_static(b"y"), format!("{number} y"));
        transaction.put_sequenced(feed(2), Bytes::new(), format!("{number}"));
        let sequence = ledger.commit(transaction).await?.sequence;
        for suffix in [b"x", b"y"] {
            let key = KeyWriter::after(&feed(1)).u64(sequence).raw(suffix).finish();
            wanted.push((key, sequence));
        }
    }
    let snapshot = ledger.snapshot().await?;
    let found = scan(
        snapshot.as_ref(),
        &KeyRange::prefix(&feed(1)),
        Direction::Forward,
        PAGE,
    )
    .await?;
    let found: Vec<(Key, u64)> = found
        .into_iter()
        .map(|entry| (entry.key, entry.versioned.version))
        .collect();
    equal(found, wanted, "a feed's keys and versions")?;
    let found = scan(
        snapshot.as_ref(),
        &KeyRange::prefix(&feed(2)),
        Direction::Forward,
        PAGE,
    )
    .await?;
    equal(found.len(), 20, "entries of the other feed")
}

pub(super) async fn versions_are_the_writing_commit(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut transaction = putting(&key(1), "a");
    transaction.put(key(2), "b");
    let first = ledger.commit(transaction).await?.sequence;
    let second = put(&ledger, &key(2), "b").await?;
    delete(&ledger, &key(1)).await?;
    let third = put(&ledger, &key(1), "a").await?;
    let snapshot = ledger.snapshot().await?;
    let version = |key| {
        let snapshot = &snapshot;
        async move {
            let found = snapshot.get(&key).await?;
            Ok::<_, Failure>(found.map(|found| found.version))
        }
    };
    equal((first, second, third), (1, 2, 4), "the commits' numbers")?;
    equal(
        version(key(1)).await?,
        Some(third),
        "the version of a key put again",
    )?;
    // The same bytes again are still another version.
    equal(
        version(key(2)).await?,
        Some(second),
        "the version of a key overwritten",
    )?;
    let scanned = scan(snapshot.as_ref(), &KeyRange::all(), Direction::Backward, PAGE).await?;
    let scanned: Vec<u64> = scanned.iter().map(|entry| entry.versioned.version).collect();
    equal(scanned, vec![second, third], "versions in a scan")
}

pub(super) async fn sequences_have_no_gap(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut before = None;
    for number in 1..=60 {
        if number % 5 == 0 {
            // A refused commit takes no number.
            let mut transaction = putting(&key(1), "never");
            transaction.require_absent(key(1));
            let answer = ledger.commit(transaction).await;
            equal(answer.is_err(), true, "a failed precondition is refused")?;
        }
        let mut transaction = putting(&key(1), "value");
        transaction.record(record("a record"));
        let committed = ledger.commit(transaction).await?;
        equal(committed.sequence, number, "the next commit's number")?;
        equal(*ledger.head().borrow(), number, "the head after that commit")?;
        let in_order = before.is_none_or(|before| before <= committed.time);
        equal(in_order, true, "commits' times don't go back")?;
        before = Some(committed.time);
    }
    Ok(())
}

pub(super) async fn get_many_keeps_the_order_asked(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in [1, 3, 5] {
        put(&ledger, &key(number), &number.to_string()).await?;
    }
    let snapshot = ledger.snapshot().await?;
    let asked: Vec<Key> = [5, 4, 1, 1, 3, 2].map(key).to_vec();
    let found: Vec<Option<String>> = snapshot
        .get_many(&asked)
        .await?
        .into_iter()
        .map(|found| found.map(|found| String::from_utf8_lossy(&found.value).into_owned()))
        .collect();
    let wanted = [Some("5"), None, Some("1"), Some("1"), Some("3"), None];
    let wanted: Vec<Option<String>> = wanted.iter().map(|text| text.map(str::to_owned)).collect();
    equal(found, wanted, "the values of several keys")?;
    equal(snapshot.get_many(&[]).await?.len(), 0, "the values of no keys")
}
