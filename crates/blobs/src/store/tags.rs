//! The index of tags: an entry for each tag of each blob, by key, value and name, below the
//! container's generation. It is written in the same commit as the blob's record.

use ledger::{Direction, Key, KeyRange, Scan, Snapshot, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{FIND_CONTAINERS_MAX, FIND_ENTRIES_MAX};
use crate::rules::tags::{Comparison, Search, Tags};
use crate::store::containers::Container;
use crate::store::keys::{self, Generation};
use crate::store::listing::{From, ListedContainer, States, Wanted};

/// Where a search goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FindFrom {
    pub(crate) container: String,
    /// What of the last entry's key comes behind the generation; empty: the container's begin.
    pub(crate) entry: Vec<u8>,
}

/// A blob that was found: container, name, tags.
type Found = (String, String, Tags);

/// Stages the index from a blob's old tags to its new ones.
pub(crate) fn stage(tx: &mut Transaction, generation: &Generation, name: &str, old: &Tags, new: &Tags) {
    for (key, value) in old {
        if new.get(key) != Some(value) {
            tx.delete(keys::tag(generation, key, value, name));
        }
    }
    for (key, value) in new {
        if old.get(key) != Some(value) {
            tx.put(keys::tag(generation, key, value, name), name.to_owned());
        }
    }
}

impl Blobs {
    /// A page of the blobs that a search finds, and where the next one begins.
    pub(crate) async fn find_by_tags(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        search: &Search,
        from: Option<FindFrom>,
        entries_max: usize,
    ) -> Result<(Vec<Found>, Option<FindFrom>), BlobsError> {
        let from_container = from.as_ref().map(|from| From {
            name: from.container.clone(),
            ..From::default()
        });
        let wanted = Wanted {
            prefix: search.container.as_deref().unwrap_or(""),
            delimiter: None,
            from: from_container.as_ref(),
            states: States::default(),
            entries_max: FIND_CONTAINERS_MAX,
        };
        let (containers, next_container) = self.list_containers(snapshot, account, wanted).await?;
        let mut found = Vec::new();
        let mut looked_at = 0;
        for listed in containers {
            let ListedContainer::Live(record) = listed else {
                continue;
            };
            if search.container.as_ref().is_some_and(|only| *only != record.name) {
                continue;
            }
            let generation = record.generation;
            let range = match search.lead.comparison {
                Comparison::Equal => keys::tag_value(&generation, &search.lead.key, &search.lead.value),
                _ => keys::tag_key(&generation, &search.lead.key),
            };
            let begin = from
                .as_ref()
                .filter(|from| from.container == record.name && !from.entry.is_empty())
                .map(|from| keys::tag_entry(&generation, &from.entry).successor());
            let Some(range) = after(range, begin) else {
                continue;
            };
            let container = Container {
                account: account.to_owned(),
                version: None,
                record,
            };
            let mut scan = Scan::new(snapshot, range, Direction::Forward);
            while let Some(entry) = scan.next().await? {
                looked_at += 1;
                let name = String::from_utf8_lossy(&entry.versioned.value).into_owned();
                if let Some(blob) = self.blob(snapshot, &container, &name).await?
                    && search.condition.holds(&blob.record.tags)
                {
                    found.push((container.record.name.clone(), name, blob.record.tags));
                }
                if found.len() >= entries_max || looked_at >= FIND_ENTRIES_MAX {
                    let next = FindFrom {
                        container: container.record.name,
                        entry: keys::behind_generation(&entry.key).to_vec(),
                    };
                    return Ok((found, Some(next)));
                }
            }
        }
        let next = next_container
            .filter(|_| search.container.is_none())
            .map(|next| FindFrom {
                container: next.name,
                entry: Vec::new(),
            });
        Ok((found, next))
    }
}

/// What of a range lies at or behind `begin`; `None` if that is nothing.
fn after(range: KeyRange, begin: Option<Key>) -> Option<KeyRange> {
    let Some(begin) = begin else { return Some(range) };
    if range.end.as_ref().is_some_and(|end| begin >= *end) {
        return None;
    }
    Some(KeyRange {
        start: begin.max(range.start),
        end: range.end,
    })
}
