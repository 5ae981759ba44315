//! Counting what a container takes, for clients that ask.
//!
//! Nothing keeps these figures: writes that have nothing else to do with each other would meet at them. So
//! all that a container has is read, within a bound of time; what isn't counted by then isn't answered. What took
//! long is remembered a hundred times as long, so however often clients ask, counting takes no more than a
//! hundredth of a processor; the figures are then as old, as the service's are, too.

use std::collections::HashMap;
use std::time::Duration;

use ledger::limits::{SCAN_PAGE_BYTES_MAX, SCAN_PAGE_ENTRIES_MAX};
use ledger::{Direction, Entry, Key, KeyRange, ScanLimit, Snapshot};
use tokio::sync::Mutex;

use super::container::Container;
use super::keys;
use super::records::ItemRecord;
use super::scripts::ScriptKind;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{
    USAGE_MILLISECONDS_FREE, USAGE_MILLISECONDS_MAX, USAGE_REMEMBERED_MAX, USAGE_TIMES_REMEMBERED,
};
use crate::rules::resource_usage::ResourceUsage;

/// Figures that took long to count, by the container's number. Who counts holds it, so that clients that
/// ask at once don't count the same.
#[derive(Debug, Default)]
pub(crate) struct UsageMemory(Mutex<HashMap<u32, Remembered>>);

/// What isn't counted in time is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    documents: Option<u64>,
    documents_bytes: Option<u64>,
    container_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remembered {
    counted: Counted,
    /// On the monotonic clock.
    until: Duration,
}

impl Remembered {
    /// `None` of what is counted again as soon as it is looked up.
    fn new(counted: Counted, begun: Duration, ended: Duration) -> Option<Self> {
        let taken = ended.saturating_sub(begun);
        (taken > Duration::from_millis(USAGE_MILLISECONDS_FREE)).then(|| Self {
            counted,
            until: ended + taken * USAGE_TIMES_REMEMBERED,
        })
    }
}

fn bytes_of(entry: &Entry) -> u64 {
    (entry.key.as_bytes().len() + entry.versioned.value.len()) as u64
}

/// All that belongs to a container beside its items.
fn beside_items(container: &Container) -> Vec<Key> {
    let number = container.number;
    let composites = container.composites.iter().map(|composite| composite.index);
    let mut ranges: Vec<Key> = [container.index]
        .into_iter()
        .chain(composites)
        .map(keys::index)
        .collect();
    ranges.extend(container.versions.map(|versions| keys::versions(versions.number)));
    ranges.extend([
        keys::partitions(number),
        keys::uniques(number),
        keys::feed(number),
        keys::ids(number),
        keys::all_scripts(number),
    ]);
    ranges
}

impl Documents {
    /// What a container has.
    pub(crate) async fn resource_usage(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
    ) -> Result<ResourceUsage, DocumentsError> {
        let scripts = async |kind: ScriptKind| {
            let most = (kind.count_max(), usize::MAX);
            let listed = self.list_scripts(snapshot, container, kind, None, most).await?;
            Ok::<u64, DocumentsError>(listed.0.len() as u64)
        };
        let usage = ResourceUsage {
            functions: scripts(ScriptKind::UserDefinedFunction).await?,
            stored_procedures: scripts(ScriptKind::StoredProcedure).await?,
            triggers: scripts(ScriptKind::Trigger).await?,
            ..ResourceUsage::default()
        };
        let most = Duration::from_millis(USAGE_MILLISECONDS_MAX);
        // Whoever counts takes long, or many ask.
        let Ok(mut memory) = tokio::time::timeout(most, self.usage.0.lock()).await else {
            return Ok(usage);
        };
        let begun = self.clock.monotonic();
        memory.retain(|_, known| known.until > begun);
        let counted = match memory.get(&container.number) {
            Some(known) => known.counted,
            None => {
                let counted = self.count_container(snapshot, container).await?;
                if let Some(known) = Remembered::new(counted, begun, self.clock.monotonic()) {
                    if memory.len() >= USAGE_REMEMBERED_MAX {
                        memory.clear();
                    }
                    memory.insert(container.number, known);
                }
                counted
            }
        };
        Ok(ResourceUsage {
            documents: counted.documents,
            documents_bytes: counted.documents_bytes,
            container_bytes: counted.container_bytes,
            ..usage
        })
    }

    async fn count_container(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
    ) -> Result<Counted, DocumentsError> {
        let now = self.clock.now().as_second();
        let (mut documents, mut documents_bytes, mut container_bytes) = (0, 0, 0);
        let mut counted = Counted::default();
        let begun = self.clock.monotonic();
        let items = keys::items(container.number);
        let whole = self.walk(snapshot, &items, begun, |entry| {
            let record = ItemRecord::decode(&entry.versioned.value)?;
            container_bytes += bytes_of(entry);
            if !record.is_expired(container.default_ttl, now) {
                documents += 1;
                documents_bytes += record.text.len() as u64;
            }
            Ok(())
        });
        if !whole.await? {
            // Their keys alone are read much sooner, but don't tell whose time is over.
            if container.default_ttl.is_none() {
                documents = 0;
                let begun = self.clock.monotonic();
                let partitions = keys::partitions(container.number);
                let whole = self.walk(snapshot, &partitions, begun, |_| {
                    documents += 1;
                    Ok(())
                });
                counted.documents = whole.await?.then_some(documents);
            }
            return Ok(counted);
        }
        counted.documents = Some(documents);
        counted.documents_bytes = Some(documents_bytes);
        for prefix in beside_items(container) {
            let whole = self.walk(snapshot, &prefix, begun, |entry| {
                container_bytes += bytes_of(entry);
                Ok(())
            });
            if !whole.await? {
                return Ok(counted);
            }
        }
        counted.container_bytes = Some(container_bytes);
        Ok(counted)
    }

    /// Looks at all entries of a prefix; false if the time that began at `begun` was too short.
    async fn walk(
        &self,
        snapshot: &dyn Snapshot,
        prefix: &Key,
        begun: Duration,
        mut each: impl FnMut(&Entry) -> Result<(), DocumentsError>,
    ) -> Result<bool, DocumentsError> {
        let limit = ScanLimit {
            entries_max: SCAN_PAGE_ENTRIES_MAX,
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let mut rest = Some(KeyRange::prefix(prefix));
        while let Some(range) = rest {
            let taken = self.clock.monotonic().saturating_sub(begun);
            if taken > Duration::from_millis(USAGE_MILLISECONDS_MAX) {
                return Ok(false);
            }
            let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
            page.entries.iter().try_for_each(&mut each)?;
            rest = page.rest;
            tokio::task::yield_now().await;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_remembered_a_hundred_times_as_long() {
        let counted = Counted {
            documents: Some(7),
            ..Counted::default()
        };
        let milliseconds = Duration::from_millis;
        assert_eq!(Remembered::new(counted, milliseconds(5), milliseconds(55)), None);
        let known = Remembered::new(counted, milliseconds(1_000), milliseconds(3_000)).unwrap();
        assert_eq!(known.until, milliseconds(203_000));
        assert_eq!(known.counted, counted);
    }
}
