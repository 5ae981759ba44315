//! The change feed, latest version: each item once, at the commit that last wrote it.

use ledger::{Direction, KeyRange, Scan, Sequence, Snapshot};

use super::container::Container;
use super::keys;
use super::records::ItemRecord;
use crate::error::DocumentsError;
use crate::limits::PAGE_BYTES_MAX;

/// Some changes.
#[derive(Debug)]
pub(crate) struct ChangePage {
    /// Item and the commit that wrote it.
    pub(crate) items: Vec<(ItemRecord, Sequence)>,
    /// Everything through this commit is covered.
    pub(crate) through: Sequence,
}

/// Reads changes after commit `after`. A page ends between commits, never within one, so it may
/// have more than `items_max` items.
pub(crate) async fn read_changes(
    snapshot: &dyn Snapshot,
    container: &Container,
    after: Sequence,
    items_max: usize,
    mut wanted: impl FnMut(&ItemRecord) -> Result<bool, DocumentsError>,
) -> Result<ChangePage, DocumentsError> {
    let prefix = keys::feed(container.number);
    let range = KeyRange::prefix_from(&prefix, keys::feed_after(container.number, after));
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let mut page = ChangePage {
        items: Vec::new(),
        through: after,
    };
    let mut bytes = 0;
    while let Some(entry) = scan.next().await? {
        let Some((sequence, number)) = keys::read_feed_entry(&entry.key) else {
            break;
        };
        let full = page.items.len() >= items_max || bytes >= PAGE_BYTES_MAX;
        if full && sequence > page.through {
            return Ok(page);
        }
        page.through = sequence;
        // Gone if the same commit created and deleted it.
        let Some(found) = snapshot.get(&keys::item(container.number, number)).await? else {
            continue;
        };
        if found.version != sequence {
            continue;
        }
        let record = ItemRecord::decode(&found.value)?;
        if wanted(&record)? {
            bytes += record.text.len();
            page.items.push((record, sequence));
        }
    }
    Ok(page)
}
