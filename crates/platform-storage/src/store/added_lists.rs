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

use ledger::{Direction, Entry, Key, Scan, Transaction};

use super::instances::row_key;
use super::keys::{self, List};
use super::{Attempts, View, log};
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::{ADDED_ROWS_PER_COMMIT_MAX, ADDING_SECONDS_MAX};
use crate::rules::row::Row;

/// What is walked to complete the added lists: they themselves for rows that are no longer right, as a release that
/// doesn't know them leaves them behind, then the apps' lists for rows that they lack.
const WALKED: [List; 3] = [List::ADDED[0], List::ADDED[1], List::App];

/// How far this process is; another one begins anew, and writes the same rows.
#[derive(Debug, Default)]
pub(crate) struct Adding {
    /// How many of [`WALKED`] were walked whole.
    walked: usize,
    /// The last row of the next that was passed by.
    passed: Option<Key>,
    /// Rows that can't be read.
    damaged: u64,
}

/// How the added lists stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// They are complete.
    Complete,
    /// The next call goes on.
    Unfinished,
    /// So many rows of apps' lists can't be read, so that they can't be completed; it is for the next process to try.
    Damaged(u64),
}

impl Platform {
    /// Whether the added lists are complete in a view.
    pub(super) async fn has_added_lists(&self, view: &View) -> Result<bool, PlatformError> {
        let sequence = view.snapshot.sequence();
        if sequence >= self.added_since.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let found = view.snapshot.get(&keys::added_lists()).await?.is_some();
        if found {
            // While this process runs it doesn't go again; views from before it came are older.
            self.added_since.fetch_min(sequence, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// Says that the added lists are complete: there are all rows, or no instance yet.
    pub(super) fn stage_added_lists(tx: &mut Transaction) {
        tx.put(keys::added_lists(), Vec::new());
    }

    /// Has the added lists completed anew: a release that doesn't write their rows was in between. They aren't used until
    /// [`Platform::complete_lists`] is through.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn begin_lists_anew(&self) -> Result<(), PlatformError> {
        let mut tx = Transaction::new();
        tx.delete(keys::added_lists());
        log(&mut tx, "rebuildLists", "", &Caller::default());
        self.ledger.commit(tx).await?;
        self.added_since.store(u64::MAX, Ordering::Relaxed);
        *self.adding.lock() = Adding::default();
        Ok(())
    }

    /// Writes rows that the added lists lack and removes those that are no longer right, for [`ADDING_SECONDS_MAX`] at
    /// most.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn complete_lists(&self) -> Result<Completion, PlatformError> {
        if self.has_added_lists(&self.view().await?).await? {
            return Ok(Completion::Complete);
        }
        let until = self.clock.monotonic() + Duration::from_secs(ADDING_SECONDS_MAX);
        let mut attempts = Attempts::default();
        while self.clock.monotonic() < until {
            let (walked, passed, damaged) = {
                let adding = self.adding.lock();
                (adding.walked, adding.passed.clone(), adding.damaged)
            };
            let Some(list) = WALKED.get(walked).copied() else {
                return Ok(Completion::Damaged(damaged));
            };
            let view = self.view().await?;
            let mut range = keys::lists(list);
            if let Some(passed) = &passed {
                range.start = passed.successor();
            }
            let mut scan = Scan::new(view.snapshot(), range, Direction::Forward);
            let mut tx = Transaction::new();
            let (mut rows, mut last, mut bad) = (0, None, 0);
            while rows < ADDED_ROWS_PER_COMMIT_MAX
                && let Some(entry) = scan.next().await?
            {
                if list != List::App {
                    stage_right(&mut tx, &view, list, &entry).await?;
                } else if !stage_added(&mut tx, &entry) {
                    bad += 1;
                }
                rows += 1;
                last = Some(entry.key);
            }
            let is_end = rows < ADDED_ROWS_PER_COMMIT_MAX;
            let is_complete = is_end && list == List::App && damaged + bad == 0;
            if is_complete {
                Self::stage_added_lists(&mut tx);
            }
            if !tx.is_empty() && !self.commit(tx, &mut attempts).await? {
                continue;
            }
            attempts = Attempts::default();
            if is_complete {
                tracing::info!("the lists that this release added are complete");
                return Ok(Completion::Complete);
            }
            let mut adding = self.adding.lock();
            adding.damaged = damaged + bad;
            adding.walked = walked + usize::from(is_end);
            adding.passed = last.filter(|_| !is_end);
            if adding.walked == WALKED.len() {
                let rows = adding.damaged;
                tracing::error!(
                    rows,
                    "the lists that this release added can't be completed: list rows are malformed; wider lists are \
                     walked, `stabbur ledger verify` names the instances"
                );
            }
        }
        Ok(Completion::Unfinished)
    }
}

/// Stages an instance's rows in the added lists; false if its row can't be read.
fn stage_added(tx: &mut Transaction, entry: &Entry) -> bool {
    let row = serde_json::from_slice::<Row>(&entry.versioned.value).ok();
    let Some(((changed, guid), row)) = keys::read_list_row(&entry.key).zip(row) else {
        tracing::warn!(key = ?entry.key, "a list row is malformed");
        return false;
    };
    tx.require_version(entry.key.clone(), Some(entry.versioned.version));
    for list in List::ADDED {
        if let Some(key) = row_key(list, &row, changed, &guid) {
            tx.put(key, entry.versioned.value.clone());
        }
    }
    true
}

/// Stages the removal of an added list's row unless its instance's row in the app's list says the same.
async fn stage_right(
    tx: &mut Transaction,
    view: &View,
    list: List,
    entry: &Entry,
) -> Result<(), PlatformError> {
    let row = serde_json::from_slice::<Row>(&entry.versioned.value).ok();
    let Some(((changed, guid), row)) = keys::read_list_row(&entry.key).zip(row) else {
        // If there is an instance, its row is written again.
        tx.delete(entry.key.clone());
        return Ok(());
    };
    let of_app = keys::list_row(List::App, &row.app_id, changed, &guid);
    let found = view.snapshot.get(&of_app).await?;
    let is_right = found
        .as_ref()
        .is_some_and(|found| found.value == entry.versioned.value)
        && row_key(list, &row, changed, &guid).as_ref() == Some(&entry.key);
    if !is_right {
        tx.require_version(of_app, found.map(|found| found.version));
        tx.delete(entry.key.clone());
    }
    Ok(())
}
