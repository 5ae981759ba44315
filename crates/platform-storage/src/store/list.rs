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

/// Lists that have all that a query can find, the narrowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidates(Vec<(List, String)>);

impl Candidates {
    /// A party's.
    pub(crate) fn of_party(party: &str) -> Self {
        Self(vec![(List::Party, party.to_owned())])
    }

    /// An org's, or one of its apps'.
    pub(crate) fn of_org(org: &str, query: &ListQuery) -> Self {
        let unconfirmed = query.is_complete == Some(true) && query.wants_unconfirmed(org);
        let mut lists = Vec::new();
        if let Some(app) = &query.app_id {
            if unconfirmed {
                lists.push((List::AppUnconfirmed, app.clone()));
                lists.push((List::OrgUnconfirmed, org.to_owned()));
            }
            if let Some(task) = &query.task {
                lists.push((List::AppTask, keys::task_name(app, task)));
            }
            lists.push((List::App, app.clone()));
        } else if unconfirmed {
            lists.push((List::OrgUnconfirmed, org.to_owned()));
        }
        lists.push((List::Org, org.to_owned()));
        Self(lists)
    }

    /// The narrowest that has rows of all instances.
    fn narrowest(&self, has_added: bool) -> Option<(List, &str)> {
        let mut lists = self.0.iter();
        lists
            .find(|(list, _)| has_added || !List::ADDED.contains(list))
            .map(|(list, name)| (*list, name.as_str()))
    }
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
    /// A page of what `query` finds, by the narrowest of `candidates`.
    pub(crate) async fn list_page(
        &self,
        view: &View,
        candidates: &Candidates,
        query: &ListQuery,
    ) -> Result<ListPage, PlatformError> {
        let has_added = self.has_added_lists(view).await?;
        let narrowest = candidates.narrowest(has_added);
        let (list, name) =
            narrowest.ok_or_else(|| PlatformError::Internal("a query without a list".to_owned()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_list_that_is_complete_is_walked() {
        let query = |app: bool, task: bool, confirmed: bool| ListQuery {
            app_id: app.then(|| "ttd/a".to_owned()),
            task: task.then(|| "Task_1".to_owned()),
            is_complete: confirmed.then_some(true),
            exclude_confirmed_by: confirmed.then(|| "ttd".to_owned()),
            ..ListQuery::default()
        };
        for (asked, new, old) in [
            (query(false, false, false), (List::Org, "ttd"), (List::Org, "ttd")),
            (query(false, true, false), (List::Org, "ttd"), (List::Org, "ttd")),
            (
                query(true, false, false),
                (List::App, "ttd/a"),
                (List::App, "ttd/a"),
            ),
            (
                query(true, true, false),
                (List::AppTask, "ttd/a Task_1"),
                (List::App, "ttd/a"),
            ),
            (
                query(false, false, true),
                (List::OrgUnconfirmed, "ttd"),
                (List::OrgUnconfirmed, "ttd"),
            ),
            (
                query(true, false, true),
                (List::AppUnconfirmed, "ttd/a"),
                (List::OrgUnconfirmed, "ttd"),
            ),
        ] {
            let candidates = Candidates::of_org("ttd", &asked);
            assert_eq!(candidates.narrowest(true), Some(new), "{asked:?}");
            assert_eq!(candidates.narrowest(false), Some(old), "{asked:?}");
        }
        assert_eq!(
            Candidates::of_party("1").narrowest(false),
            Some((List::Party, "1"))
        );
    }
}
