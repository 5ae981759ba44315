//! A page of an instance list: a walk over one index, by last change.

use ledger::{Direction, KeyRange, Scan};

use super::instances::rows;
use super::keys::{self, List};
use super::{View, instances};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::{LIST_INSTANCES_READ_MAX, LIST_ROWS_EXAMINED_MAX};
use crate::model::Instance;
use crate::rules::list_query::{Continuation, ListQuery};
use crate::rules::row::Row;

/// A page: instances without their elements, and where to go on.
#[derive(Debug, Default)]
pub(crate) struct ListPage {
    pub(crate) instances: Vec<Instance>,
    pub(crate) next: Option<Continuation>,
}

/// The range of an index that a query can find something in.
fn range(list: List, name: &str, query: &ListQuery) -> KeyRange {
    let mut range = KeyRange::prefix(&keys::list(list, name));
    let (from, to) = query.last_changed_bounds();
    range.start = range.start.max(keys::list_from(list, name, from));
    if let Some(behind) = to.checked_add(1) {
        let end = keys::list_from(list, name, behind);
        range.end = Some(range.end.map_or(end.clone(), |before| before.min(end)));
    }
    if let Some(at) = query.continuation {
        let row = keys::list_row(list, name, at.last_changed, &at.guid);
        if query.descending {
            range.end = Some(range.end.map_or(row.clone(), |end| end.min(row)));
        } else {
            range.start = range.start.max(row.successor());
        }
    }
    range
}

impl Platform {
    /// A page of `list` of `name`.
    pub(crate) async fn list_page(
        &self,
        view: &View,
        list: List,
        name: &str,
        query: &ListQuery,
    ) -> Result<ListPage, PlatformError> {
        let direction = if query.descending {
            Direction::Backward
        } else {
            Direction::Forward
        };
        let range = range(list, name, query);
        let mut page = ListPage::default();
        if range.is_empty() {
            return Ok(page);
        }
        let mut scan = Scan::new(view.snapshot(), range, direction);
        let (mut examined, mut read) = (0_usize, 0_usize);
        while let Some(entry) = scan.next().await? {
            let damaged = || PlatformError::Internal(format!("the list row {:?} is malformed", entry.key));
            let (last_changed, guid) = keys::read_list_row(&entry.key).ok_or_else(damaged)?;
            let row: Row = serde_json::from_slice(&entry.versioned.value).map_err(|_| damaged())?;
            let position = Some(Continuation { last_changed, guid });
            examined += 1;
            if query.takes_row(&row, last_changed, &guid) {
                read += 1;
                let stored = self.stored_instance(view, &row.party, &guid).await?;
                // A document that was changed past this server no longer is what its row says.
                let agrees = |instance: &Instance| {
                    rows(instance).is_ok_and(|(keys, value)| {
                        keys.contains(&entry.key) && value == entry.versioned.value
                    })
                };
                if let Some(stored) = stored
                    && agrees(&stored.value)
                    && query.takes_texts(&stored.value)
                {
                    page.instances.push(stored.value);
                }
            }
            let full = page.instances.len() >= query.size;
            if full || examined >= LIST_ROWS_EXAMINED_MAX || read >= LIST_INSTANCES_READ_MAX {
                page.next = position;
                break;
            }
        }
        Ok(page)
    }

    /// Fills in the elements of an instance of a list.
    pub(crate) async fn fill_elements(
        &self,
        view: &View,
        instance: &Instance,
        sees_deleted: bool,
    ) -> Result<Instance, PlatformError> {
        let elements = self.stored_elements(view, &instances::guid_of(instance)?).await?;
        Ok(Self::with_elements(instance, elements, sees_deleted))
    }
}
