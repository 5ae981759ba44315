//! How many items there are, where a query asks for no more: counted by their keys, without a document.
//!
//! Items whose time to live is over are there until they are swept, and no key tells, so containers with
//! a time to live are read. So are queries with a condition, even one that an index meets: paths share
//! hashes, and only documents tell which of the entries are the path's own.

use std::time::Duration;

use documents_sql::Access;
use ledger::limits::{SCAN_PAGE_BYTES_MAX, SCAN_PAGE_ENTRIES_MAX};
use ledger::{Direction, KeyRange, ScanLimit, Snapshot};

use super::page::{Counters, ItemsRequest};
use super::plan::Scope;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::BLOCKING_QUERY_SECONDS_MAX;
use crate::store::keys;

impl Documents {
    /// The items of a container or of a partition, if that is all that the query depends on and their
    /// keys tell.
    pub(super) async fn count_of_keys(
        &self,
        snapshot: &dyn Snapshot,
        request: &ItemsRequest<'_>,
        access: &Access,
        counters: &mut Counters,
    ) -> Result<Option<u64>, DocumentsError> {
        let container = request.container;
        if !access.counts_only || container.default_ttl.is_some() {
            return Ok(None);
        }
        let prefix = match &request.scope {
            Scope::Whole => keys::partitions(container.number),
            Scope::Key(key) => keys::partition(container.number, &container.place(key)),
            // Keys of several partitions have to be checked.
            Scope::Prefix(_) | Scope::Effective(..) => return Ok(None),
        };
        let limit = ScanLimit {
            entries_max: SCAN_PAGE_ENTRIES_MAX,
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let begun = counters.timings.now();
        let mut count = 0;
        let mut rest = Some(KeyRange::prefix(&prefix));
        while let Some(range) = rest {
            let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
            count += page.entries.len() as u64;
            rest = page.rest;
            if counters.age(self.clock.as_ref()) > Duration::from_secs(BLOCKING_QUERY_SECONDS_MAX) {
                return Err(DocumentsError::QueryTimeout(BLOCKING_QUERY_SECONDS_MAX));
            }
            tokio::task::yield_now().await;
        }
        counters.index_keys += count;
        counters.items_counted = count;
        counters.timings.index += counters.timings.since(begun);
        Ok(Some(count))
    }
}
