//! Random operations against the oracle, compared after each step. A seed names a run: the same
//! one gives the same steps.

use std::sync::Arc;

use super::Subject;
use super::check::{Failure, equal};
use super::oracle::Oracle;
use super::probe::key;
use crate::random::SeededRandom;
use crate::{Direction, KeyRange, LedgerError, Random, ScanLimit, Sequence, Snapshot, Transaction};

/// Seeds of the suite's own runs, and how many steps each has.
const SEEDS: [u64; 3] = [1, 20_261_128, 0xFEED];
const STEPS: u32 = 250;

/// Snapshots that are held while the ledger goes on.
const SNAPSHOTS_HELD_MAX: usize = 4;

pub(super) async fn random_operations(subject: &mut dyn Subject) -> Result<(), Failure> {
    let mut run = Run::new(0);
    for seed in SEEDS {
        // One ledger for all seeds: later ones begin with what the earlier left.
        run.random = SeededRandom::new(seed);
        run.steps(subject, STEPS)
            .await
            .map_err(|failure| failure.at(&format!("seed {seed}")))?;
    }
    Ok(())
}

pub(super) async fn operations(subject: &mut dyn Subject, seed: u64, steps: u32) -> Result<(), Failure> {
    Run::new(seed)
        .steps(subject, steps)
        .await
        .map_err(|failure| failure.at(&format!("seed {seed}")))
}

struct Run {
    random: SeededRandom,
    oracle: Oracle,
    /// Snapshots with the model as it was when each was taken.
    held: Vec<(Arc<dyn Snapshot>, Oracle)>,
    trimmed: Sequence,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            random: SeededRandom::new(seed),
            oracle: Oracle::new(),
            held: Vec::new(),
            trimmed: 0,
        }
    }

    fn below(&self, end: u64) -> u64 {
        self.random.u64() % end.max(1)
    }

    async fn steps(&mut self, subject: &mut dyn Subject, steps: u32) -> Result<(), Failure> {
        for step in 0..steps {
            let operation = self.below(100);
            self.step(subject, operation)
                .await
                .map_err(|failure| failure.at(&format!("step {step} (operation {operation})")))?;
        }
        self.compare_log(subject).await
    }

    async fn step(&mut self, subject: &mut dyn Subject, operation: u64) -> Result<(), Failure> {
        match operation {
            0..=64 => self.commit(subject).await?,
            65..=74 => self.commit_together(subject).await?,
            75..=84 => self.scan(subject).await?,
            85..=89 => self.hold(subject).await?,
            90..=93 => self.compare_held().await?,
            94..=95 => self.compare_log(subject).await?,
            96..=97 => self.trim(subject).await?,
            _ => {
                // A held snapshot would keep the old ledger open.
                self.compare_held().await?;
                self.held.clear();
                if subject.reopen().await? {
                    self.compare_log(subject).await?;
                }
            }
        }
        self.oracle.compare(&subject.ledger()).await
    }

    async fn commit(&mut self, subject: &mut dyn Subject) -> Result<(), Failure> {
        let transaction = if self.below(3) == 0 {
            self.oracle.contended(&self.random)
        } else {
            self.oracle.transaction(&self.random)
        };
        let answer = subject.ledger().commit(transaction.clone()).await;
        // Nothing else is under way, so the answer is known, not only whether it can be.
        equal(
            answer.is_ok(),
            self.oracle.would_commit(&transaction),
            "whether the commit is accepted",
        )?;
        self.oracle.replay(vec![(transaction, answer)])
    }

    async fn commit_together(&mut self, subject: &mut dyn Subject) -> Result<(), Failure> {
        let ledger = subject.ledger();
        let count = 2 + self.below(9);
        let transactions: Vec<Transaction> =
            (0..count).map(|_| self.oracle.contended(&self.random)).collect();
        let tasks: Vec<_> = transactions
            .iter()
            .map(|transaction| {
                let (ledger, transaction) = (ledger.clone(), transaction.clone());
                tokio::spawn(async move { ledger.commit(transaction).await })
            })
            .collect();
        let mut answered = Vec::new();
        for (transaction, task) in transactions.into_iter().zip(tasks) {
            let answer = task
                .await
                .map_err(|error| Failure::new(format!("a commit ended early: {error}")))?;
            answered.push((transaction, answer));
        }
        self.oracle.replay(answered)
    }

    async fn scan(&mut self, subject: &mut dyn Subject) -> Result<(), Failure> {
        let snapshot = subject.ledger().snapshot().await?;
        let (start, end) = (key(self.below(70)), key(self.below(70)));
        let range = match self.below(4) {
            0 => KeyRange { start, end: None },
            1 => KeyRange::prefix(&start),
            _ => KeyRange::between(start, end),
        };
        let direction = if self.below(2) == 0 {
            Direction::Forward
        } else {
            Direction::Backward
        };
        let limit = ScanLimit {
            entries_max: usize::try_from(self.below(20)).unwrap_or(1),
            bytes_max: usize::try_from(self.below(3_000)).unwrap_or(1),
        };
        self.oracle
            .compare_range(snapshot.as_ref(), &range, direction, limit)
            .await
    }

    async fn hold(&mut self, subject: &mut dyn Subject) -> Result<(), Failure> {
        if self.held.len() >= SNAPSHOTS_HELD_MAX {
            let oldest = usize::try_from(self.below(self.held.len() as u64)).unwrap_or(0);
            self.held.swap_remove(oldest);
        }
        let snapshot = subject.ledger().snapshot().await?;
        self.held.push((snapshot, self.oracle.clone()));
        Ok(())
    }

    async fn compare_held(&self) -> Result<(), Failure> {
        for (snapshot, then) in &self.held {
            then.compare_snapshot(snapshot.as_ref())
                .await
                .map_err(|failure| failure.at(&format!("a snapshot held since {}", then.head())))?;
        }
        Ok(())
    }

    async fn compare_log(&self, subject: &mut dyn Subject) -> Result<(), Failure> {
        let ledger = subject.ledger();
        if self.trimmed > 0 {
            equal(
                ledger.log_page(self.trimmed - 1, 1, 1).await,
                Err(LedgerError::LogTrimmed {
                    through: self.trimmed,
                }),
                "reading what was trimmed",
            )?;
        }
        let chain = self.oracle.chain_at(self.trimmed);
        self.oracle.compare_log(&ledger, self.trimmed, chain).await
    }

    async fn trim(&mut self, subject: &mut dyn Subject) -> Result<(), Failure> {
        let through = self.below(self.oracle.head() + 10);
        let wanted = through.min(self.oracle.head()).max(self.trimmed);
        let trimmed = subject.ledger().trim_log(through).await?;
        equal(trimmed, wanted, "how far the log was trimmed")?;
        self.trimmed = trimmed;
        Ok(())
    }
}
