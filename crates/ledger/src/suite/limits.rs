//! Limits: what is at the limit is kept, what is past it is refused as such, and nothing of it
//! is written.

use bytes::Bytes;

use super::Subject;
use super::check::{Failure, equal, too_large};
use super::probe::{PAGE, key, put, putting, record, scan, unmoved, value};
use crate::limits::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_WRITES_MAX, VALUE_BYTES_MAX};
use crate::{Direction, Key, KeyRange, Transaction};

fn key_of_length(length: usize) -> Key {
    Key::from_encoded(vec![0xFF; length].into())
}

pub(super) async fn keys(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let longest = key_of_length(KEY_BYTES_MAX);
    let too_long = key_of_length(KEY_BYTES_MAX + 1);
    put(&ledger, &longest, "kept").await?;
    let mut beside = putting(&key(1), "never");
    beside.put(too_long.clone(), "never");
    too_large(ledger.commit(beside).await, "a put of a key too long")?;
    let mut deletion = Transaction::new();
    deletion.delete(too_long.clone());
    too_large(ledger.commit(deletion).await, "a delete of a key too long")?;
    let mut sequenced = Transaction::new();
    sequenced.put_sequenced(
        key_of_length(KEY_BYTES_MAX - 9),
        Bytes::from_static(b"xx"),
        "never",
    );
    too_large(
        ledger.commit(sequenced).await,
        "a sequenced put whose key gets too long",
    )?;
    unmoved(&ledger, 1).await?;
    // Asking for one is no error: it isn't there.
    equal(value(&ledger, &too_long).await?, None, "a key too long")?;
    equal(
        value(&ledger, &key(1)).await?,
        None,
        "what came with a key too long",
    )?;
    let mut sequenced = Transaction::new();
    sequenced.put_sequenced(key_of_length(KEY_BYTES_MAX - 9), Bytes::from_static(b"x"), "kept");
    ledger.commit(sequenced).await?;
    let snapshot = ledger.snapshot().await?;
    let found = scan(snapshot.as_ref(), &KeyRange::all(), Direction::Backward, PAGE).await?;
    let lengths: Vec<usize> = found.iter().map(|entry| entry.key.as_bytes().len()).collect();
    equal(
        lengths,
        vec![KEY_BYTES_MAX, KEY_BYTES_MAX],
        "the lengths of the keys there are",
    )?;
    equal(
        found.first().map(|entry| &entry.key),
        Some(&longest),
        "the longest key",
    )
}

pub(super) async fn values(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let largest = Bytes::from(vec![0xA5; VALUE_BYTES_MAX]);
    let too_large_value = vec![0xA5; VALUE_BYTES_MAX + 1];
    let mut transaction = Transaction::new();
    transaction.put(key(1), largest.clone());
    ledger.commit(transaction).await?;
    let mut transaction = putting(&key(2), "never");
    transaction.put(key(1), too_large_value.clone());
    too_large(ledger.commit(transaction).await, "a value too large")?;
    let mut transaction = Transaction::new();
    transaction.put_sequenced(key(3), Bytes::new(), too_large_value);
    too_large(ledger.commit(transaction).await, "a sequenced value too large")?;
    unmoved(&ledger, 1).await?;
    equal(value(&ledger, &key(2)).await?, None, "what came with it")?;
    let found = ledger.snapshot().await?.get(&key(1)).await?;
    equal(
        found.is_some_and(|found| found.value == largest),
        true,
        "the largest value is read back",
    )
}

pub(super) async fn transactions(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    put(&ledger, &key(1), "kept").await?;
    let part = Bytes::from(vec![1; VALUE_BYTES_MAX]);
    let mut bytes = putting(&key(1), "never");
    for number in 0..=TRANSACTION_BYTES_MAX / VALUE_BYTES_MAX {
        bytes.put(key(number as u64), part.clone());
    }
    too_large(ledger.commit(bytes).await, "a transaction of too many bytes")?;
    let mut records = putting(&key(1), "never");
    for _ in 0..=TRANSACTION_BYTES_MAX / 1_000_000 {
        records.record(record(&"r".repeat(1_000_000)));
    }
    too_large(
        ledger.commit(records).await,
        "a transaction of too many bytes of log records",
    )?;
    let mut writes = Transaction::new();
    for number in 0..=TRANSACTION_WRITES_MAX {
        writes.delete(key(number as u64));
    }
    too_large(ledger.commit(writes).await, "a transaction of too many writes")?;
    unmoved(&ledger, 1).await?;
    equal(
        value(&ledger, &key(1)).await?,
        Some("kept".to_owned()),
        "what was there before",
    )
}
