//! Item numbers of a container: growing, never given twice, reserved in blocks.
//!
//! A block is reserved with one commit; what is left of it when the process ends is skipped.

use std::ops::Range;

use ledger::{Key, Ledger, LedgerError, Transaction};
use parking_lot::Mutex;

use super::keys;
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, NUMBER_BLOCK_SIZE};

/// One container's numbers.
#[derive(Debug)]
pub(crate) struct Numbers {
    counter: Key,
    block: Mutex<Range<u64>>,
    refill: tokio::sync::Mutex<()>,
}

impl Numbers {
    pub(crate) fn new(container: u32) -> Self {
        Self {
            counter: keys::items_counter(container),
            block: Mutex::new(0..0),
            refill: tokio::sync::Mutex::new(()),
        }
    }

    /// The next number; 1 is the first.
    pub(crate) async fn next(&self, ledger: &dyn Ledger) -> Result<u64, DocumentsError> {
        loop {
            if let Some(number) = self.block.lock().next() {
                return Ok(number);
            }
            let _one_at_a_time = self.refill.lock().await;
            if self.block.lock().is_empty() {
                let block = reserve(ledger, &self.counter, NUMBER_BLOCK_SIZE).await?;
                *self.block.lock() = block;
            }
        }
    }
}

/// Reserves `count` numbers of a counter.
pub(crate) async fn reserve(
    ledger: &dyn Ledger,
    counter: &Key,
    count: u64,
) -> Result<Range<u64>, DocumentsError> {
    let mut last = None;
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        let stored = ledger.snapshot().await?.get(counter).await?;
        let first = match &stored {
            None => 1,
            Some(stored) => {
                let bytes: [u8; 8] = stored.value.as_ref().try_into().map_err(|_| {
                    DocumentsError::Damaged(format!("a counter has {} bytes", stored.value.len()))
                })?;
                u64::from_be_bytes(bytes)
            }
        };
        let end = first.saturating_add(count);
        let mut transaction = Transaction::new();
        transaction.require_version(counter.clone(), stored.map(|stored| stored.version));
        transaction.put(counter.clone(), end.to_be_bytes().to_vec());
        match ledger.commit(transaction).await {
            Ok(_) => return Ok(first..end),
            Err(error @ LedgerError::Conflict(_)) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.map_or(DocumentsError::RetryWith, DocumentsError::from))
}
