//! Delivers what the outboxes hold. At least once: a receiver that has taken a message which couldn't be removed
//! gets it again.
//!
//! Invariant: no message holds others up. A receiver that is away ends the round, and all wait; one that refuses a
//! message gets the others, and what it refuses for hours is put aside, as is a row that can't be read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use ledger::{LedgerError, Transaction};
use uuid::Uuid;

use crate::Platform;
use crate::error::PlatformError;
use crate::limits::{DELIVERIES_AT_ONCE, DELIVERY_REFUSALS_MAX, DELIVERY_ROUND_SECONDS};
use crate::model::FileScanResult;
use crate::rules::outbox::{self, ScanMessage, SyncRow};
use crate::store::{Due, Round, View};

/// Why a message wasn't taken, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The receiver can't be reached, or takes nothing now: no other message fares better.
    #[error("{0}")]
    Away(String),
    /// The receiver doesn't take this message.
    #[error("{0}")]
    Refused(String),
}

/// Who takes messages.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Gives a message (JSON) over, and gives up in bounded time.
    ///
    /// # Errors
    /// Why it wasn't taken.
    async fn deliver(&self, message: Vec<u8>) -> Result<(), Undelivered>;
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    /// Messages that were taken.
    pub delivered: u64,
    /// Messages that nobody needs any longer.
    pub dropped: u64,
    /// Messages that weren't taken and are tried again.
    pub failed: u64,
    /// Messages that were refused for hours, and rows that can't be read: kept, and not tried again.
    pub set_aside: u64,
}

/// What became of one message.
enum Became {
    Delivered,
    Dropped,
    Failed,
    SetAside,
}

impl DeliveryReport {
    /// Messages that don't wait any longer.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.delivered + self.dropped + self.set_aside
    }

    fn count(&mut self, became: &Became) {
        let counter = match became {
            Became::Delivered => &mut self.delivered,
            Became::Dropped => &mut self.dropped,
            Became::Failed => &mut self.failed,
            Became::SetAside => &mut self.set_aside,
        };
        *counter += 1;
    }
}

/// What is to be done about a message that wasn't taken.
struct Failure {
    attempts: u32,
    refusals: u32,
    cause: String,
    is_hopeless: bool,
}

impl Failure {
    fn new(error: Undelivered, attempts: u32, refusals: u32, ends: &AtomicBool) -> Self {
        let attempts = attempts.saturating_add(1);
        match error {
            Undelivered::Away(cause) => {
                ends.store(true, Ordering::Relaxed);
                Self {
                    attempts,
                    refusals,
                    cause,
                    is_hopeless: false,
                }
            }
            Undelivered::Refused(cause) => Self {
                attempts,
                refusals: refusals.saturating_add(1),
                cause,
                is_hopeless: refusals.saturating_add(1) >= DELIVERY_REFUSALS_MAX,
            },
        }
    }

    /// Says it in the log; `of` is what the message is about.
    fn say(&self, outbox: &str, of: &str) {
        let (cause, attempts) = (&self.cause, self.attempts);
        if self.is_hopeless {
            tracing::error!(
                cause,
                attempts,
                outbox,
                of,
                "a message was refused for hours and is put aside"
            );
        } else {
            tracing::warn!(
                cause,
                attempts,
                outbox,
                of,
                "a message wasn't taken; it is tried again"
            );
        }
    }
}

impl Platform {
    /// Asks `sink` to scan the contents that wait for it, until it is away, all are through, or
    /// [`DELIVERY_ROUND_SECONDS`] have passed.
    ///
    /// # Errors
    /// The ledger's; what was delivered by then is so.
    pub async fn deliver_scans(&self, sink: &dyn Sink) -> Result<DeliveryReport, PlatformError> {
        let view = self.view().await?;
        let round = self.due_scans(&view).await?;
        let ends = AtomicBool::new(false);
        self.deliver_round(round, &ends, |due| self.deliver_scan(sink, due, &ends))
            .await
    }

    /// Tells `sink`, the portal's adapter, of the instances that are due; as [`Platform::deliver_scans`].
    ///
    /// # Errors
    /// The ledger's; what was delivered by then is so.
    pub async fn deliver_syncs(&self, sink: &dyn Sink) -> Result<DeliveryReport, PlatformError> {
        let view = self.view().await?;
        let round = self.due_syncs(&view).await?;
        let ends = AtomicBool::new(false);
        self.deliver_round(round, &ends, |due| self.deliver_sync(sink, due, &ends))
            .await
    }

    /// One round: some messages at once, none begun when it is to end, all that were begun brought to an end.
    async fn deliver_round<T, F>(
        &self,
        round: Round<T>,
        ends: &AtomicBool,
        one: impl Fn(Due<T>) -> F,
    ) -> Result<DeliveryReport, PlatformError>
    where
        F: Future<Output = Result<Became, PlatformError>>,
    {
        let mut report = DeliveryReport::default();
        for row in &round.damaged {
            tracing::error!(key = ?row.key, cause = row.cause, "a row of an outbox can't be read and is put aside");
            let mut tx = Transaction::new();
            self.stage_damaged(&mut tx, row)?;
            self.settle(tx).await?;
            report.count(&Became::SetAside);
        }
        let until = self.clock.monotonic() + Duration::from_secs(DELIVERY_ROUND_SECONDS);
        let is_on = |_: &Due<T>| {
            let is_on = !ends.load(Ordering::Relaxed) && self.clock.monotonic() < until;
            std::future::ready(is_on)
        };
        let mut under_way = stream::iter(round.due)
            .take_while(is_on)
            .map(one)
            .buffer_unordered(DELIVERIES_AT_ONCE);
        let mut result = Ok(());
        while let Some(became) = under_way.next().await {
            match became {
                Ok(became) => report.count(&became),
                Err(error) => {
                    ends.store(true, Ordering::Relaxed);
                    result = Err(error);
                }
            }
        }
        result.map(|()| report)
    }

    async fn deliver_scan(
        &self,
        sink: &dyn Sink,
        due: Due<ScanMessage>,
        ends: &AtomicBool,
    ) -> Result<Became, PlatformError> {
        let mut tx = Transaction::new();
        let became = if self.is_to_be_scanned(&due.value).await? {
            match sink.deliver(written(due.value.message())?).await {
                Ok(()) => {
                    Self::stage_scan_end(&mut tx, &due);
                    Became::Delivered
                }
                Err(error) => {
                    let failure = Failure::new(error, due.value.attempts, due.value.refusals, ends);
                    failure.say("scan", &due.value.data_element_id);
                    let message = ScanMessage {
                        attempts: failure.attempts,
                        refusals: failure.refusals,
                        ..due.value.clone()
                    };
                    if failure.is_hopeless {
                        Self::stage_scan_end(&mut tx, &due);
                        let row = written(serde_json::to_vec(&message))?;
                        self.stage_dead_letter(&mut tx, &due.key, &failure.cause, &row)?;
                        Became::SetAside
                    } else {
                        let at = outbox::again(self.clock.now().as_microsecond(), failure.attempts);
                        Self::stage_scan_again(&mut tx, &due, &message, at)?;
                        Became::Failed
                    }
                }
            }
        } else {
            Self::stage_scan_end(&mut tx, &due);
            Became::Dropped
        };
        self.settle(tx).await?;
        Ok(became)
    }

    async fn deliver_sync(
        &self,
        sink: &dyn Sink,
        due: Due<SyncRow>,
        ends: &AtomicBool,
    ) -> Result<Became, PlatformError> {
        let mut tx = Transaction::new();
        let became = match sink.deliver(written(due.value.message())?).await {
            Ok(()) => {
                Self::stage_sync_end(&mut tx, &due);
                Became::Delivered
            }
            Err(error) => {
                let failure = Failure::new(error, due.value.attempts, due.value.refusals, ends);
                failure.say("portal", &due.value.instance_id);
                let row = SyncRow {
                    due: outbox::again(self.clock.now().as_microsecond(), failure.attempts),
                    attempts: failure.attempts,
                    refusals: failure.refusals,
                    ..due.value.clone()
                };
                if failure.is_hopeless {
                    Self::stage_sync_end(&mut tx, &due);
                    let row = written(serde_json::to_vec(&row))?;
                    self.stage_dead_letter(&mut tx, &due.key, &failure.cause, &row)?;
                    Became::SetAside
                } else {
                    Self::stage_sync_again(&mut tx, &due, &row)?;
                    Became::Failed
                }
            }
        };
        self.settle(tx).await?;
        Ok(became)
    }

    /// Whether the content that a message is about is still there and unscanned.
    async fn is_to_be_scanned(&self, message: &ScanMessage) -> Result<bool, PlatformError> {
        let view: View = self.view().await?;
        let guids = message.instance_id.rsplit_once('/').and_then(|(_, guid)| {
            Some((
                Uuid::parse_str(guid).ok()?,
                Uuid::parse_str(&message.data_element_id).ok()?,
            ))
        });
        let Some((instance, element)) = guids else {
            return Ok(false);
        };
        let element = self.stored_element(&view, &instance, &element).await?;
        Ok(element.is_some_and(|element| {
            element.value.blob_version_id.as_ref() == Some(&message.blob_version_id)
                && element.value.file_scan_result == FileScanResult::Pending
        }))
    }

    /// Commits what became of a message. If the message changed meanwhile, it stays as it is now.
    async fn settle(&self, tx: Transaction) -> Result<(), PlatformError> {
        match self.ledger.commit(tx).await {
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn written(message: Result<Vec<u8>, serde_json::Error>) -> Result<Vec<u8>, PlatformError> {
    message.map_err(|error| PlatformError::Internal(error.to_string()))
}
