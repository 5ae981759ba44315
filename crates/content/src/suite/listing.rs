//! Listing: every finished content once, by id, in pages of any size.

use super::check::{Failure, ensure, equal};
use super::{Subject, bytes, write};
use crate::ContentId;
use crate::frame::FRAME_BYTES;

pub(super) async fn by_id_in_pages(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let mut wanted = Vec::new();
    for number in 0..23 {
        let length = usize::try_from(number % 4).unwrap_or_default() * FRAME_BYTES
            + usize::try_from(number).unwrap_or_default();
        let info = write(&store, &bytes(number, length), 60_000).await?;
        wanted.push((info.id, info.length_bytes));
    }
    wanted.sort_unstable();
    for entries_max in [1, 2, 7, 23, 24, 1_000] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store.list(after, entries_max).await?;
            ensure(page.len() <= entries_max, || format!("{} entries", page.len()))?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.extend(page.iter().map(|info| (info.id, info.length_bytes)));
            ensure(found.len() <= wanted.len(), || {
                "the listing has no end".to_owned()
            })?;
        }
        equal(&found, &wanted, "the listing").map_err(|f| f.at(entries_max))?;
    }
    // From between two ids, from before the first and from behind the last.
    for (at, (id, _)) in wanted.iter().enumerate() {
        let before =
            ContentId::from_bytes((u128::from_be_bytes(*id.as_bytes()).saturating_sub(1)).to_be_bytes());
        let page = store.list(Some(before), 1).await?;
        let found: Vec<_> = page.iter().map(|info| (info.id, info.length_bytes)).collect();
        let expected: Vec<_> = wanted.get(at..=at).unwrap_or_default().to_vec();
        equal(&found, &expected, "the page behind an id that isn't there")?;
    }
    let last = store.list(Some(ContentId::from_bytes([0xff; 16])), 10).await?;
    equal(&last, &Vec::new(), "the page behind the last id")?;
    equal(&store.list(None, 0).await?, &Vec::new(), "a page of no entries")
}

pub(super) async fn of_an_empty_store(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    equal(&store.list(None, 10).await?, &Vec::new(), "the listing")?;
    let corrupt = store.stats().await?.corrupt_frames;
    equal(&corrupt, &0, "corrupt frames")
}
