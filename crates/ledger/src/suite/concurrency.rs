//! Commits at the same time: as if they had come one by one, in the order of their numbers.

use std::sync::Arc;

use super::Subject;
use super::check::{Failure, conflict, ensure, equal};
use super::oracle::Oracle;
use super::probe::{key, log, put, putting, record, value};
use crate::log::CHAIN_START;
use crate::random::SeededRandom;
use crate::{Follower, Ledger, LedgerError, Random as _, Transaction};

const WRITERS: u64 = 16;
const ROUNDS: u64 = 12;

/// Waits for tasks; a task that panicked is a failure.
async fn joined<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Result<Vec<T>, Failure> {
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(
            task.await
                .map_err(|error| Failure::new(format!("a task ended early: {error}")))?,
        );
    }
    Ok(done)
}

pub(super) async fn one_of_many_creators_wins(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    for round in 0..ROUNDS {
        let tasks = (0..WRITERS)
            .map(|writer| {
                let ledger = ledger.clone();
                let mut transaction = putting(&key(round), &writer.to_string());
                transaction.require_absent(key(round));
                tokio::spawn(async move { ledger.commit(transaction).await })
            })
            .collect();
        let answers = joined(tasks).await?;
        let winners: Vec<u64> = answers.iter().flatten().map(|c| c.sequence).collect();
        equal(
            winners.clone(),
            vec![round + 1],
            "the commits that created the key",
        )?;
        for answer in answers.into_iter().filter(Result::is_err) {
            let found = conflict(answer, "a creator that came too late")?;
            equal(
                (found.key, found.found),
                (key(round), winners.first().copied()),
                "the key and version that its conflict names",
            )?;
        }
    }
    Ok(())
}

/// Adds one to a counter by reading, then writing under the version that was read.
async fn increment(ledger: &Arc<dyn Ledger>, at: u64) -> Result<u64, Failure> {
    let mut conflicts = 0;
    loop {
        let found = ledger.snapshot().await?.get(&key(at)).await?;
        let (count, version) = match &found {
            Some(found) => (
                String::from_utf8_lossy(&found.value).parse::<u64>().unwrap_or(0),
                Some(found.version),
            ),
            None => (0, None),
        };
        let mut transaction = putting(&key(at), &(count + 1).to_string());
        transaction.require_version(key(at), version);
        match ledger.commit(transaction).await {
            Ok(_) => return Ok(conflicts),
            Err(LedgerError::Conflict(_)) => conflicts += 1,
            Err(error) => return Err(error.into()),
        }
        // Each conflict means that another writer got on, so there can't be more than writes.
        ensure(conflicts <= 2 * WRITERS * ROUNDS, || {
            format!("{conflicts} conflicts in a row on one counter: nobody gets on")
        })?;
        tokio::task::yield_now().await;
    }
}

pub(super) async fn counters_lose_nothing(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let tasks = (0..WRITERS)
        .map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut conflicts = 0;
                for round in 0..ROUNDS {
                    // Two counters: one that all want, one that few want.
                    conflicts += increment(&ledger, 0).await?;
                    conflicts += increment(&ledger, 1 + (writer + round) % 4).await?;
                }
                Ok::<u64, Failure>(conflicts)
            })
        })
        .collect();
    for done in joined(tasks).await? {
        done?;
    }
    let count = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let all = count(value(&ledger, &key(0)).await?);
    equal(all, WRITERS * ROUNDS, "the counter that all incremented")?;
    let mut others = 0;
    for at in 1..=4 {
        others += count(value(&ledger, &key(at)).await?);
    }
    equal(others, WRITERS * ROUNDS, "the other counters together")?;
    equal(
        *ledger.head().borrow(),
        2 * WRITERS * ROUNDS,
        "commits, as many as increments",
    )
}

/// Many small transactions at once over few keys, with all kinds of preconditions; then replayed
/// one by one in the order of their numbers against the oracle.
pub(super) async fn overlapping_commits_are_as_if_one_by_one(
    subject: &mut dyn Subject,
) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let random = SeededRandom::new(77);
    let mut oracle = Oracle::new();
    for _ in 0..ROUNDS * 3 {
        let transactions: Vec<Transaction> = (0..WRITERS).map(|_| oracle.contended(&random)).collect();
        let tasks = transactions
            .iter()
            .map(|transaction| {
                let (ledger, transaction) = (ledger.clone(), transaction.clone());
                tokio::spawn(async move { ledger.commit(transaction).await })
            })
            .collect();
        let answers = joined(tasks).await?;
        oracle.replay(transactions.into_iter().zip(answers).collect())?;
        oracle.compare(&ledger).await?;
        random.u64();
    }
    oracle.compare_log(&ledger, 0, CHAIN_START).await
}

pub(super) async fn the_head_never_goes_back(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let tasks = (0..WRITERS)
        .map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let head = ledger.head();
                let mut newest = 0;
                for round in 0..ROUNDS * 4 {
                    let sequence = put(&ledger, &key(writer), &round.to_string()).await?;
                    let seen = *head.borrow();
                    ensure(seen >= sequence.max(newest), || {
                        format!("the head is {seen} after {sequence} was acknowledged, {newest} seen")
                    })?;
                    let snapshot = ledger.snapshot().await?.sequence();
                    ensure(snapshot >= seen, || {
                        format!("a snapshot at {snapshot} after the head was {seen}")
                    })?;
                    newest = seen;
                }
                Ok::<(), Failure>(())
            })
        })
        .collect();
    for done in joined(tasks).await? {
        done?;
    }
    equal(*ledger.head().borrow(), WRITERS * ROUNDS * 4, "the head at last")
}

/// Followers read while commits are under way; they see every number once, in order, and every
/// record that was acknowledged.
pub(super) async fn followers_during_commits(subject: &mut dyn Subject) -> Result<(), Failure> {
    let ledger = subject.ledger();
    let total = WRITERS * ROUNDS;
    let followers = (0..3)
        .map(|number: usize| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut follower = Follower::open(ledger, &format!("follower {number}"), 0).await?;
                let mut position = 0;
                let mut records = Vec::new();
                while (records.len() as u64) < total {
                    follower.wait().await?;
                    let page = follower.page(1 + number * 7, 2_000).await?;
                    ensure(!page.entries.is_empty(), || {
                        format!("nothing behind {position} after the head moved past it")
                    })?;
                    for entry in &page.entries {
                        equal(entry.sequence, position + 1, "the next entry's number")?;
                        position = entry.sequence;
                        records.extend(entry.records.iter().map(|r| r.payload.clone()));
                    }
                    if number == 0 {
                        follower.acknowledge(position).await?;
                    } else {
                        follower.advance(position);
                    }
                }
                Ok::<_, Failure>(records)
            })
        })
        .collect::<Vec<_>>();
    let writers = (0..WRITERS)
        .map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let mut transaction = putting(&key(writer), "v");
                    transaction.record(record(&format!("{writer}/{round}")));
                    ledger.commit(transaction).await?;
                    tokio::task::yield_now().await;
                }
                Ok::<(), Failure>(())
            })
        })
        .collect();
    for done in joined(writers).await? {
        done?;
    }
    let wanted: Vec<_> = log(&ledger, 0, Some(CHAIN_START))
        .await?
        .into_iter()
        .flat_map(|entry| entry.records)
        .map(|record| record.payload)
        .collect();
    equal(wanted.len() as u64, total, "records in the log")?;
    for seen in joined(followers).await? {
        equal(seen?, wanted.clone(), "the records that a follower saw")?;
    }
    Ok(())
}
