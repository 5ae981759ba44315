//! Rows of lists that a later release added, for the instances of a ledger from before.
//!
//! Invariant: a list that was added is walked only once it has a row of each instance that belongs there. Until then the
//! wider lists are, which each ledger has.
//!
//! A row says all that decides which lists its instance is in, so the rows of apps' lists are walked and no document is
//! read. That a row is still the same when the others of its instance are written is a precondition: whoever changes an
//! instance's rows writes all of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ledger::{Direction, Scan, Transaction};

use super::instances::row_key;
use super::keys::{self, List};
use super::{Attempts, View};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::{ADDED_ROWS_PER_COMMIT_MAX, ADDING_SECONDS_MAX};
use crate::rules::row::Row;

impl Platform {
    /// Whether the added lists are complete.
    pub(super) async fn has_added_lists(&self, view: &View) -> Result<bool, PlatformError> {
        if self.has_added_lists.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let found = view.snapshot.get(&keys::added_lists()).await?.is_some();
        if found {
            // It never goes again.
            self.has_added_lists.store(true, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// Says that the added lists are complete: there are all rows, or no instance yet.
    pub(super) fn stage_added_lists(tx: &mut Transaction) {
        tx.put(keys::added_lists(), Vec::new());
    }

    /// Writes rows that the added lists lack, for [`ADDING_SECONDS_MAX`] at most. Whether they are complete now; if not,
    /// the next call goes on.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn complete_lists(&self) -> Result<bool, PlatformError> {
        if self.has_added_lists(&self.view().await?).await? {
            return Ok(true);
        }
        let until = self.clock.monotonic() + Duration::from_secs(ADDING_SECONDS_MAX);
        let mut attempts = Attempts::default();
        while self.clock.monotonic() < until {
            let view = self.view().await?;
            let mut range = keys::lists(List::App);
            // What this process has passed by; another one begins anew, and writes the same rows.
            let passed = self.added_until.lock().clone();
            if let Some(passed) = &passed {
                range.start = passed.successor();
            }
            let mut scan = Scan::new(view.snapshot(), range, Direction::Forward);
            let mut tx = Transaction::new();
            let (mut walked, mut last) = (0, None);
            while walked < ADDED_ROWS_PER_COMMIT_MAX
                && let Some(entry) = scan.next().await?
            {
                let damaged =
                    || PlatformError::Internal(format!("the list row {:?} is malformed", entry.key));
                let (changed, guid) = keys::read_list_row(&entry.key).ok_or_else(damaged)?;
                let row: Row = serde_json::from_slice(&entry.versioned.value).map_err(|_| damaged())?;
                tx.require_version(entry.key.clone(), Some(entry.versioned.version));
                for list in List::ADDED {
                    if let Some(key) = row_key(list, &row, changed, &guid) {
                        tx.put(key, entry.versioned.value.clone());
                    }
                }
                walked += 1;
                last = Some(entry.key);
            }
            let is_end = walked < ADDED_ROWS_PER_COMMIT_MAX;
            if is_end {
                Self::stage_added_lists(&mut tx);
            }
            if !self.commit(tx, &mut attempts).await? {
                continue;
            }
            attempts = Attempts::default();
            if is_end {
                tracing::info!("the lists that this release added are complete");
                return Ok(true);
            }
            *self.added_until.lock() = last;
        }
        Ok(false)
    }
}
