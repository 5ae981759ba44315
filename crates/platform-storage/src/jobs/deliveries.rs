//! Delivers what the outboxes hold. At least once: a receiver that has taken a message which couldn't be removed
//! gets it again.

use async_trait::async_trait;
use ledger::{LedgerError, Transaction};
use uuid::Uuid;

use crate::Platform;
use crate::error::PlatformError;
use crate::model::FileScanResult;
use crate::rules::outbox::{self, ScanMessage};
use crate::store::View;

/// Who takes messages.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Gives a message (JSON) over, and gives up in bounded time.
    ///
    /// # Errors
    /// Why it wasn't taken, for people.
    async fn deliver(&self, message: Vec<u8>) -> Result<(), String>;
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
}

impl Platform {
    /// Asks `sink` to scan the contents that wait for it, until one isn't taken.
    ///
    /// # Errors
    /// The ledger's; what was delivered by then is so.
    pub async fn deliver_scans(&self, sink: &dyn Sink) -> Result<DeliveryReport, PlatformError> {
        let mut report = DeliveryReport::default();
        let view = self.view().await?;
        for due in self.due_scans(&view).await? {
            let mut tx = Transaction::new();
            if self.is_to_be_scanned(&due.value).await? {
                let message = ScanMessage {
                    attempts: 0,
                    ..due.value.clone()
                };
                let message = serde_json::to_vec(&message)
                    .map_err(|error| PlatformError::Internal(error.to_string()))?;
                if let Err(cause) = sink.deliver(message).await {
                    let now = self.clock.now().as_microsecond();
                    let attempts = due.value.attempts.saturating_add(1);
                    tracing::warn!(
                        cause,
                        attempts,
                        element = due.value.data_element_id,
                        "a scan couldn't be asked for; it is tried again"
                    );
                    Self::stage_scan_again(&mut tx, &due, outbox::again(now, attempts))?;
                    report.failed += 1;
                } else {
                    Self::stage_scan_end(&mut tx, &due);
                    report.delivered += 1;
                }
            } else {
                Self::stage_scan_end(&mut tx, &due);
                report.dropped += 1;
            }
            self.settle(tx).await?;
            if report.failed > 0 {
                break;
            }
        }
        Ok(report)
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

    /// Tells `sink`, the portal's adapter, of the instances that are due, until one isn't taken.
    ///
    /// # Errors
    /// The ledger's; what was delivered by then is so.
    pub async fn deliver_syncs(&self, sink: &dyn Sink) -> Result<DeliveryReport, PlatformError> {
        let mut report = DeliveryReport::default();
        let view = self.view().await?;
        for due in self.due_syncs(&view).await? {
            let message = due.value.message();
            let message = message.map_err(|error| PlatformError::Internal(error.to_string()))?;
            let mut tx = Transaction::new();
            if let Err(cause) = sink.deliver(message).await {
                let now = self.clock.now().as_microsecond();
                let attempts = due.value.attempts.saturating_add(1);
                tracing::warn!(
                    cause,
                    attempts,
                    instance = due.value.instance_id,
                    "the portal couldn't be told of an instance; it is tried again"
                );
                Self::stage_sync_again(&mut tx, &due, outbox::again(now, attempts))?;
                report.failed += 1;
            } else {
                Self::stage_sync_end(&mut tx, &due);
                report.delivered += 1;
            }
            self.settle(tx).await?;
            if report.failed > 0 {
                break;
            }
        }
        Ok(report)
    }

    /// Commits what became of a message. If the message changed meanwhile, it stays as it is now.
    async fn settle(&self, tx: Transaction) -> Result<(), PlatformError> {
        match self.ledger.commit(tx).await {
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
