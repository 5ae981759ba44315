//! Scans: exactly the keys of the range, in order, page by page, in both directions.

use bytes::Bytes;

use super::Subject;
use super::check::{Failure, equal};
use super::probe::{PAGE, key, keys, put, putting, scan};
use crate::{Direction, Key, KeyRange, Keyspace, Scan, ScanLimit, Transaction};

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

/// `keys` in the order of `direction`.
fn in_order(mut keys: Vec<Key>, direction: Direction) -> Vec<Key> {
    if direction == Direction::Backward {
        keys.reverse();
    }
    keys
}

fn raw(bytes: &[u8]) -> Key {
    Key::from_encoded(Bytes::copy_from_slice(bytes))
}

pub(super) async fn both_directions(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    // Put in an order that isn't the keys'.
    for number in 0..100_u64 {
        put(&ledger, &key(number * 37 % 100), "v").await?;
    }
    let snapshot = ledger.snapshot().await?;
    for (start, end) in [(0, 100), (10, 20), (10, 11), (95, 200), (50, 99)] {
        let range = KeyRange::between(key(start), key(end));
        for direction in DIRECTIONS {
            let found = scan(snapshot.as_ref(), &range, direction, PAGE).await?;
            let wanted = (start..end.min(100)).map(key).collect();
            equal(
                keys(&found),
                in_order(wanted, direction),
                &format!("{start}..{end} {direction:?}"),
            )?;
        }
    }
    for direction in DIRECTIONS {
        let range = KeyRange {
            start: key(60),
            end: None,
        };
        let found = scan(snapshot.as_ref(), &range, direction, PAGE).await?;
        equal(
            keys(&found),
            in_order((60..100).map(key).collect(), direction),
            "a range without an end",
        )?;
        // The lazy scan doubles its pages; it must meet each key once.
        let mut lazy = Scan::new(snapshot.as_ref(), KeyRange::all(), direction);
        let mut found = Vec::new();
        while let Some(entry) = lazy.next().await? {
            found.push(entry.key);
        }
        equal(
            found,
            in_order((0..100).map(key).collect(), direction),
            "a lazy scan of all",
        )?;
    }
    Ok(())
}

pub(super) async fn limits_and_continuation(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut transaction = Transaction::new();
    for number in 0..40 {
        transaction.put(key(number), "value");
    }
    ledger.commit(transaction).await?;
    let snapshot = ledger.snapshot().await?;
    let range = KeyRange::between(key(3), key(37));
    for entries_max in [0, 1, 2, 7, 33, 34, 35] {
        for direction in DIRECTIONS {
            let limit = ScanLimit {
                entries_max,
                bytes_max: usize::MAX,
            };
            let found = scan(snapshot.as_ref(), &range, direction, limit).await?;
            equal(
                keys(&found),
                in_order((3..37).map(key).collect(), direction),
                &format!("pages of {entries_max} {direction:?}"),
            )?;
        }
    }
    // A full page in the middle must not end the scan early, nor hold fewer than asked.
    let limit = ScanLimit {
        entries_max: 7,
        bytes_max: usize::MAX,
    };
    let page = snapshot.scan_page(&range, Direction::Backward, limit).await?;
    equal(
        keys(&page.entries),
        (30..37).rev().map(key).collect::<Vec<_>>(),
        "the first page backwards",
    )
}

pub(super) async fn the_budget_of_bytes(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in 0..30 {
        put(&ledger, &key(number), &"x".repeat(1_000)).await?;
    }
    let snapshot = ledger.snapshot().await?;
    for bytes_max in [0, 1, 999, 1_000, 5_000, 100_000] {
        for direction in DIRECTIONS {
            let limit = ScanLimit {
                entries_max: 1_000,
                bytes_max,
            };
            let found = scan(snapshot.as_ref(), &KeyRange::all(), direction, limit).await?;
            equal(
                keys(&found),
                in_order((0..30).map(key).collect(), direction),
                &format!("pages of {bytes_max} bytes {direction:?}"),
            )?;
        }
    }
    Ok(())
}

pub(super) async fn ranges_with_nothing_in_them(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let ranges = [
        KeyRange::between(key(5), key(5)),
        KeyRange::between(key(6), key(5)),
        KeyRange::between(key(6), key(9)),
        KeyRange::between(key(100), key(900)),
        KeyRange::prefix(&raw(b"\x08")),
        KeyRange {
            start: key(10),
            end: None,
        },
        KeyRange::between(raw(b""), raw(b"")),
    ];
    // Before there is anything, and between what there is.
    for _ in 0..2 {
        let snapshot = ledger.snapshot().await?;
        for range in &ranges {
            for direction in DIRECTIONS {
                let page = snapshot.scan_page(range, direction, PAGE).await?;
                equal(
                    (page.entries.len(), page.rest),
                    (0, None),
                    &format!("{range:?} {direction:?}"),
                )?;
            }
        }
        put(&ledger, &key(5), "v").await?;
        put(&ledger, &key(9), "v").await?;
    }
    Ok(())
}

pub(super) async fn ranges_that_end_in_ff(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let stored: [&[u8]; 9] = [
        b"\x20",
        b"\x20\x00",
        b"\x20\xFE\xFF",
        b"\x20\xFF",
        b"\x20\xFF\x00",
        b"\x20\xFF\xFF",
        b"\x20\xFF\xFF\xFF\xFF",
        b"\x21",
        b"\xFF\xFF",
    ];
    let mut transaction = Transaction::new();
    for bytes in stored {
        transaction.put(raw(bytes), "v");
    }
    ledger.commit(transaction).await?;
    let snapshot = ledger.snapshot().await?;
    let prefixes: [&[u8]; 7] = [
        b"",
        b"\x20",
        b"\x20\xFF",
        b"\x20\xFF\xFF",
        b"\x20\xFF\xFF\xFF",
        b"\xFF",
        b"\xFF\xFF",
    ];
    for prefix in prefixes {
        let wanted: Vec<Key> = stored
            .into_iter()
            .filter(|bytes| bytes.starts_with(prefix))
            .map(raw)
            .collect();
        for direction in DIRECTIONS {
            let limit = ScanLimit {
                entries_max: 2,
                ..PAGE
            };
            let found = scan(
                snapshot.as_ref(),
                &KeyRange::prefix(&raw(prefix)),
                direction,
                limit,
            )
            .await?;
            equal(
                keys(&found),
                in_order(wanted.clone(), direction),
                &format!("prefix {} {direction:?}", prefix.escape_ascii()),
            )?;
        }
    }
    Ok(())
}

pub(super) async fn only_what_was_put(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    // Every keyspace, and first bytes beside them: an engine's own records must not show.
    let first_bytes = (0..=255_u8).step_by(15).chain(Keyspace::ALL.map(|k| k as u8));
    let mut wanted: Vec<Key> = first_bytes.map(|byte| raw(&[byte, 1])).collect();
    wanted.sort();
    wanted.dedup();
    for key in &wanted {
        ledger.commit(putting(key, "v")).await?;
    }
    let snapshot = ledger.snapshot().await?;
    for direction in DIRECTIONS {
        let found = scan(snapshot.as_ref(), &KeyRange::all(), direction, PAGE).await?;
        equal(
            keys(&found),
            in_order(wanted.clone(), direction),
            "every key there is",
        )?;
    }
    Ok(())
}
