//! The log: one entry per commit, in order, chained, never skipped, never given twice.

use super::Subject;
use super::check::{Failure, ensure, equal};
use super::probe::{delete, key, log, put, putting, record};
use crate::log::CHAIN_START;
use crate::{Follower, LedgerError, LogEntry, Transaction};

/// Every field of every entry is what the commit's transaction and answer say.
pub(super) async fn entries_are_what_was_committed(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut wanted: Vec<LogEntry> = Vec::new();
    for number in 0..30_u64 {
        let mut transaction = Transaction::new();
        if number % 3 != 0 {
            transaction.put(key(number), "value");
            transaction.delete(key(number / 2));
        }
        if number % 4 == 1 {
            transaction.put_sequenced(key(1_000), &b"s"[..], "sequenced");
        }
        for part in 0..number % 5 {
            transaction.record(record(&format!("{number}/{part}")));
        }
        let committed = ledger.commit(transaction.clone()).await?;
        let previous = wanted.last().map_or(CHAIN_START, |entry| entry.chain);
        wanted.push(LogEntry::new(
            &previous,
            committed.sequence,
            committed.time,
            transaction.writes_hash(),
            transaction.records(),
        ));
    }
    equal(log(&ledger, 0, Some(CHAIN_START)).await?, wanted, "the log")
}

pub(super) async fn pages_are_bounded(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let page = ledger.log_page(0, 10, 1_000).await?;
    equal((page.entries.len(), page.head), (0, 0), "a page of an empty log")?;
    for number in 0..20 {
        let mut transaction = putting(&key(number), "v");
        transaction.record(record(&"x".repeat(1_000)));
        ledger.commit(transaction).await?;
    }
    for (after, entries_max, bytes_max, wanted) in [
        (0, 5, 1_000_000, 1..=5),
        (17, 5, 1_000_000, 18..=20),
        (3, 1, 1_000_000, 4..=4),
        // At least one, whatever the limits say, so that a follower gets on.
        (3, 0, 1_000_000, 4..=4),
        (3, 5, 0, 4..=4),
        (3, 5, 500, 4..=4),
    ] {
        let page = ledger.log_page(after, entries_max, bytes_max).await?;
        let found: Vec<u64> = page.entries.iter().map(|entry| entry.sequence).collect();
        equal(
            found,
            wanted.collect::<Vec<_>>(),
            &format!("a page behind {after} of {entries_max} entries, {bytes_max} bytes"),
        )?;
        equal(page.head, 20, "the head that a page names")?;
    }
    let page = ledger.log_page(0, 1_000, 5_000).await?;
    ensure((1..=6).contains(&page.entries.len()), || {
        format!("{} entries of 1,000 bytes in about 5,000", page.entries.len())
    })?;
    for after in [20, 21, 1_000] {
        let page = ledger.log_page(after, 10, 1_000).await?;
        equal(
            (page.entries.len(), page.head),
            (0, 20),
            "a page behind the log's end",
        )?;
    }
    Ok(())
}

pub(super) async fn the_chain_holds(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in 0..150 {
        let mut transaction = putting(&key(number % 11), &number.to_string());
        transaction.record(record("r"));
        ledger.commit(transaction).await?;
    }
    let entries = log(&ledger, 0, Some(CHAIN_START)).await?;
    equal(entries.len(), 150, "entries in the log")?;
    let report = ledger.verify(&|_| {}).await?;
    equal(report.faults, Vec::new(), "what verify finds")?;
    equal(report.log_entries, 150, "log entries that verify checked")
}

pub(super) async fn followers_never_skip_nor_repeat(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in 0..10 {
        put(&ledger, &key(number), "v").await?;
    }
    let mut slow = Follower::open(ledger.clone(), "slow", 0).await?;
    let late = Follower::open(ledger.clone(), "late", 8).await?;
    equal(
        (slow.position(), late.position()),
        (0, 8),
        "where new followers begin",
    )?;
    let mut seen = Vec::new();
    // Its own acknowledgements are commits, too: it follows until those of the puts are seen.
    while seen.len() < 12 {
        slow.wait().await?;
        let page = slow.page(3, 1_000_000).await?;
        let again = slow.page(3, 1_000_000).await?;
        equal(
            again.entries,
            page.entries.clone(),
            "the same page before it is acknowledged",
        )?;
        seen.extend(page.entries.iter().map(|entry| entry.sequence));
        let last = seen.last().copied().unwrap_or(0);
        slow.acknowledge(last).await?;
    }
    let wanted: Vec<u64> = (1..).take(seen.len()).collect();
    equal(seen, wanted, "what a follower saw")?;
    let position = slow.position();
    let again = Follower::open(ledger.clone(), "slow", 0).await?;
    equal(again.position(), position, "where a known follower goes on")?;
    let first = late.page(1, 1_000_000).await?;
    equal(
        first.entries.first().map(|entry| entry.sequence),
        Some(9),
        "the first entry of a follower from 8",
    )
}

pub(super) async fn a_follower_moves_with_its_own_commit(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    put(&ledger, &key(1), "v").await?;
    let mut follower = Follower::open(ledger.clone(), "mover", 0).await?;
    let mut work = putting(&key(2), "done");
    work.require_absent(key(1));
    follower.stage_acknowledge(&mut work, 1);
    let refused = ledger.commit(work).await;
    equal(refused.is_err(), true, "a failed precondition is refused")?;
    let stored = Follower::open(ledger.clone(), "mover", 0).await?;
    equal(stored.position(), 0, "the position after its commit was refused")?;
    let mut work = putting(&key(2), "done");
    follower.stage_acknowledge(&mut work, 1);
    ledger.commit(work).await?;
    follower.advance(1);
    let stored = Follower::open(ledger.clone(), "mover", 0).await?;
    equal(
        stored.position(),
        follower.position(),
        "the position after its commit",
    )
}

pub(super) async fn trimming_waits_for_followers(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in 0..20 {
        put(&ledger, &key(number), "v").await?;
    }
    let before = log(&ledger, 0, Some(CHAIN_START)).await?;
    equal(ledger.trim_log(0).await?, 0, "trimming nothing")?;
    let mut near = Follower::open(ledger.clone(), "near", 0).await?;
    let mut far = Follower::open(ledger.clone(), "far", 0).await?;
    near.acknowledge(15).await?;
    far.acknowledge(9).await?;
    equal(
        ledger.trim_log(12).await?,
        9,
        "trimming past a follower that is at 9",
    )?;
    for after in [0, 8] {
        equal(
            ledger.log_page(after, 10, 1_000).await,
            Err(LedgerError::LogTrimmed { through: 9 }),
            "reading what was trimmed",
        )?;
    }
    let chain = before.get(8).map(|entry| entry.chain);
    let after = log(&ledger, 9, chain).await?;
    equal(after.first(), before.get(9), "the first entry behind the trim")?;
    equal(ledger.trim_log(3).await?, 9, "trimming less than already was")?;
    // A follower that is gone holds nothing back.
    delete(&ledger, &crate::follower::position_key("far")).await?;
    equal(
        ledger.trim_log(u64::MAX).await?,
        15,
        "trimming past a follower that is at 15",
    )?;
    delete(&ledger, &crate::follower::position_key("near")).await?;
    let head = *ledger.head().borrow();
    equal(ledger.trim_log(u64::MAX).await?, head, "trimming everything")?;
    equal(log(&ledger, head, None).await?.len(), 0, "the log behind it")?;
    let sequence = put(&ledger, &key(1), "next").await?;
    equal(sequence, head + 1, "the next commit's number")?;
    equal(log(&ledger, head, None).await?.len(), 1, "the log after it")?;
    equal(
        ledger.verify(&|_| {}).await?.faults,
        Vec::new(),
        "what verify finds",
    )
}
