//! What a blob's state holds: contents, and the pages of a map. Each is entered under the state's key, and
//! the sweep removes what nobody has entered.

use std::collections::HashSet;

use content::ContentId;
use ledger::{Key, Transaction, Write};

use crate::store::keys;
use crate::store::records::{BlobRecord, PagesRecord};

/// Queues a content that lost an entry for the sweep, unless the same commit enters it for somebody else: the
/// blocks of a large blob that stays as a version would fill a commit otherwise.
pub(crate) fn queue(tx: &mut Transaction, content: ContentId) {
    let entries = keys::references(content);
    let is_entered = tx
        .writes()
        .range(entries.start..)
        .take_while(|(key, _)| entries.end.as_ref().is_none_or(|end| *key < end))
        .any(|(_, write)| matches!(write, Write::Put(_)));
    if !is_entered {
        tx.put(keys::dropped(content), Vec::new());
    }
}

/// Enters what a new state has.
pub(crate) fn hold(tx: &mut Transaction, record: &BlobRecord, key: &Key) {
    for content in record.contents() {
        tx.put(keys::reference(content, key), Vec::new());
    }
    if let Some(pages) = &record.pages {
        tx.put(keys::map_owner(pages, key), Vec::new());
    }
}

/// Takes the entries of a state that goes away back.
pub(crate) fn release(tx: &mut Transaction, record: &BlobRecord, key: &Key) {
    for content in record.contents() {
        tx.delete(keys::reference(content, key));
        tx.put(keys::dropped(content), Vec::new());
    }
    if let Some(pages) = &record.pages {
        release_pages(tx, pages, key);
    }
}

/// Changes the entries of a state that becomes another one.
pub(crate) fn change(tx: &mut Transaction, before: Option<&BlobRecord>, record: &BlobRecord, key: &Key) {
    let old: HashSet<_> = before.iter().flat_map(|before| before.contents()).collect();
    let new: HashSet<_> = record.contents().collect();
    for content in old.difference(&new) {
        tx.delete(keys::reference(*content, key));
        queue(tx, *content);
    }
    for content in new.difference(&old) {
        tx.put(keys::reference(*content, key), Vec::new());
    }
    let old = before.and_then(|before| before.pages.as_ref());
    if old == record.pages.as_ref() {
        return;
    }
    if let Some(old) = old {
        release_pages(tx, old, key);
    }
    if let Some(new) = &record.pages {
        tx.put(keys::map_owner(new, key), Vec::new());
    }
}

fn release_pages(tx: &mut Transaction, pages: &PagesRecord, key: &Key) {
    tx.delete(keys::map_owner(pages, key));
    tx.put(keys::map_release(&pages.map), Vec::new());
}
