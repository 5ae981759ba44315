//! A search in message boxes: the parties' lists, each by last change, merged newest first.

use std::collections::{BTreeSet, BinaryHeap};

use bytes::Bytes;
use ledger::{Direction, Key, KeyRange, Scan, Snapshot};
use uuid::Uuid;

use super::View;
use super::instances::rows;
use super::keys::{self, List};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::{BOX_INSTANCES_MAX, BOX_INSTANCES_READ_MAX, BOX_ROWS_EXAMINED_MAX};
use crate::model::Instance;
use crate::rules::message_box::BoxQuery;
use crate::rules::row::Row;

/// One party's list, and the row that it is at.
struct Walk<'a> {
    scan: Scan<'a, dyn Snapshot + 'a>,
    at: Option<(Key, Bytes)>,
}

impl Walk<'_> {
    /// Goes on to the next row; its last change and guid.
    async fn step(&mut self) -> Result<Option<(i64, Uuid)>, PlatformError> {
        let Some(entry) = self.scan.next().await? else {
            self.at = None;
            return Ok(None);
        };
        let position = keys::read_list_row(&entry.key).ok_or_else(|| damaged(&entry.key))?;
        self.at = Some((entry.key, entry.versioned.value));
        Ok(Some(position))
    }
}

fn damaged(key: &Key) -> PlatformError {
    PlatformError::Internal(format!("the list row {key:?} is malformed"))
}

impl Platform {
    /// The newest instances that `query` takes, at most [`BOX_INSTANCES_MAX`]; `titled` are the apps whose title
    /// has what is searched for.
    pub(crate) async fn search_box(
        &self,
        view: &View,
        query: &BoxQuery,
        titled: &BTreeSet<String>,
    ) -> Result<Vec<Instance>, PlatformError> {
        let now = self.clock.now().as_microsecond();
        let (from, to) = query.last_changed_bounds();
        let mut walks = Vec::new();
        let mut heads = BinaryHeap::new();
        for party in &query.parties {
            let mut range = KeyRange::prefix(&keys::list(List::Party, party));
            range.start = range.start.max(keys::list_from(List::Party, party, from));
            if let Some(behind) = to.checked_add(1) {
                let end = keys::list_from(List::Party, party, behind);
                range.end = Some(range.end.map_or(end.clone(), |before| before.min(end)));
            }
            if range.is_empty() {
                continue;
            }
            let scan = Scan::new(view.snapshot(), range, Direction::Backward);
            let mut walk = Walk { scan, at: None };
            if let Some(position) = walk.step().await? {
                heads.push((position, walks.len()));
                walks.push(walk);
            }
        }
        let mut found = Vec::new();
        let (mut examined, mut read) = (0_usize, 0_usize);
        while let Some(((last_changed, guid), number)) = heads.pop() {
            let Some(walk) = walks.get_mut(number) else { break };
            let Some((key, value)) = walk.at.take() else { break };
            if let Some(position) = walk.step().await? {
                heads.push((position, number));
            }
            examined += 1;
            let row: Row = serde_json::from_slice(&value).map_err(|_| damaged(&key))?;
            if query.takes_row(&row, last_changed, &guid, now) {
                read += 1;
                // A document that was changed past this server no longer is what its row says.
                if let Some(stored) = self.stored_instance(view, &row.party, &guid).await?
                    && rows(&stored.value).is_ok_and(|(keys, row)| keys.contains(&key) && row == value)
                    && query.takes_texts(&stored.value, titled)
                {
                    found.push(stored.value);
                }
            }
            if found.len() >= BOX_INSTANCES_MAX
                || examined >= BOX_ROWS_EXAMINED_MAX
                || read >= BOX_INSTANCES_READ_MAX
            {
                break;
            }
        }
        Ok(found)
    }
}
