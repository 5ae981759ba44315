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
use crate::limits::{BOX_INSTANCES_READ_MAX, BOX_ROWS_EXAMINED_MAX};
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

/// A search under way: page by page, the newest first.
pub(crate) struct BoxSearch<'a> {
    platform: &'a Platform,
    view: &'a View,
    query: &'a BoxQuery,
    /// The apps whose title has what is searched for.
    titled: &'a BTreeSet<String>,
    now: i64,
    walks: Vec<Walk<'a>>,
    heads: BinaryHeap<((i64, Uuid), usize)>,
    examined: usize,
    read: usize,
}

impl<'a> BoxSearch<'a> {
    /// Begins to search what `view` holds.
    pub(crate) async fn new(
        platform: &'a Platform,
        view: &'a View,
        query: &'a BoxQuery,
        titled: &'a BTreeSet<String>,
    ) -> Result<Self, PlatformError> {
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
        Ok(Self {
            platform,
            view,
            query,
            titled,
            now: platform.clock.now().as_microsecond(),
            walks,
            heads,
            examined: 0,
            read: 0,
        })
    }

    /// The next instances that the query takes, at most `most`; none if there are no more, or if enough was looked
    /// at ([`BOX_ROWS_EXAMINED_MAX`], [`BOX_INSTANCES_READ_MAX`]).
    pub(crate) async fn page(&mut self, most: usize) -> Result<Vec<Instance>, PlatformError> {
        let mut found = Vec::new();
        while found.len() < most
            && self.examined < BOX_ROWS_EXAMINED_MAX
            && self.read < BOX_INSTANCES_READ_MAX
            && let Some(((last_changed, guid), number)) = self.heads.pop()
        {
            let Some(walk) = self.walks.get_mut(number) else {
                break;
            };
            let Some((key, value)) = walk.at.take() else { break };
            if let Some(position) = walk.step().await? {
                self.heads.push((position, number));
            }
            self.examined += 1;
            let row: Row = serde_json::from_slice(&value).map_err(|_| damaged(&key))?;
            if self.query.takes_row(&row, last_changed, &guid, self.now) {
                self.read += 1;
                // A document that was changed past this server no longer is what its row says.
                if let Some(stored) = self
                    .platform
                    .stored_instance(self.view, &row.party, &guid)
                    .await?
                    && rows(&stored.value).is_ok_and(|(keys, row)| keys.contains(&key) && row == value)
                    && self.query.takes_texts(&stored.value, self.titled)
                {
                    found.push(stored.value);
                }
            }
        }
        Ok(found)
    }

    /// Looks at no more of a party's rows.
    pub(crate) fn give_up(&mut self, party: &str) {
        let prefix = keys::list(List::Party, party);
        let walks = &self.walks;
        let is_kept = |number: usize| {
            let at = walks.get(number).and_then(|walk| walk.at.as_ref());
            at.is_some_and(|(key, _)| !key.as_bytes().starts_with(prefix.as_bytes()))
        };
        self.heads.retain(|(_, number)| is_kept(*number));
    }
}
