//! Closing and opening again: what was acknowledged is all there. Engines that keep nothing pass
//! the parts that need no reopening.

use super::Subject;
use super::check::{Failure, equal};
use super::probe::{delete, key, log, put, putting, record, value};
use crate::log::CHAIN_START;
use crate::random::SeededRandom;
use crate::{Follower, Health, LedgerError, LogEntry, Transaction};

use super::oracle::Oracle;

pub(super) async fn a_closed_ledger_refuses(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    equal(ledger.health(), Health::Ready, "the health of an open ledger")?;
    put(&ledger, &key(1), "kept").await?;
    ledger.close().await?;
    equal(
        ledger.commit(putting(&key(1), "never")).await,
        Err(LedgerError::Closed),
        "a commit after closing",
    )?;
    equal(
        matches!(ledger.health(), Health::Unavailable(_)),
        true,
        "the health of a closed ledger is unavailable",
    )?;
    // Closing twice is no error.
    ledger.close().await?;
    drop(ledger);
    if subject.reopen().await? {
        let ledger = subject.ledger();
        equal(
            value(&ledger, &key(1)).await?,
            Some("kept".to_owned()),
            "the value",
        )?;
        equal(*ledger.head().borrow(), 1, "the head")?;
    }
    Ok(())
}

pub(super) async fn reopening_keeps_all(subject: &mut dyn Subject) -> Result<(), Failure> {
    let random = SeededRandom::new(5);
    let mut oracle = Oracle::new();
    for _ in 0..3 {
        let ledger = subject.ledger();
        for _ in 0..120 {
            let transaction = oracle.transaction(&random);
            let answer = ledger.commit(transaction.clone()).await;
            oracle.replay(vec![(transaction, answer)])?;
        }
        drop(ledger);
        if !subject.reopen().await? {
            return Ok(());
        }
        let ledger = subject.ledger();
        oracle.compare(&ledger).await?;
        oracle.compare_log(&ledger, 0, CHAIN_START).await?;
        let report = ledger.verify(&|_| {}).await?;
        equal(report.faults, Vec::new(), "what verify finds")?;
    }
    // And again with nothing in between.
    subject.reopen().await?;
    oracle.compare(&subject.ledger()).await
}

pub(super) async fn reopening_keeps_trims_and_followers(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let mut entries: Vec<LogEntry> = Vec::new();
    for number in 0..30 {
        let mut transaction = putting(&key(number), "v");
        transaction.record(record("r"));
        ledger.commit(transaction).await?;
    }
    entries.extend(log(&ledger, 0, Some(CHAIN_START)).await?);
    let mut follower = Follower::open(ledger.clone(), "reader", 0).await?;
    follower.acknowledge(20).await?;
    equal(ledger.trim_log(25).await?, 20, "trimming past the follower")?;
    drop(follower);
    drop(ledger);
    if !subject.reopen().await? {
        return Ok(());
    }
    let ledger = subject.ledger();
    let follower = Follower::open(ledger.clone(), "reader", 0).await?;
    equal(follower.position(), 20, "the follower's position")?;
    equal(
        ledger.log_page(10, 10, 1_000).await,
        Err(LedgerError::LogTrimmed { through: 20 }),
        "reading what was trimmed",
    )?;
    let chain = entries.get(19).map(|entry| entry.chain);
    let rest = log(&ledger, 20, chain).await?;
    equal(rest.len(), 12, "entries behind the trim")?;
    equal(
        rest.get(..10),
        entries.get(20..),
        "the entries that were there before",
    )?;
    equal(put(&ledger, &key(1), "next").await?, 33, "the next number")
}

pub(super) async fn verify_finds_nothing(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for number in 0..50 {
        put(&ledger, &key(number), "v").await?;
    }
    delete(&ledger, &key(7)).await?;
    ledger.commit(Transaction::new()).await?;
    let report = ledger.verify(&|_| {}).await?;
    equal(
        (report.records, report.log_entries, report.faults),
        (49, 52, Vec::new()),
        "records, log entries and faults that verify tells",
    )
}
