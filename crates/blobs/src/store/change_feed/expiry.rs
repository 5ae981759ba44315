//! The end of a change feed's segments: they go when their time is over, oldest first.

use jiff::{SignedDuration, Timestamp};
use ledger::{LedgerError, Transaction};

use super::layout::{FIRST_YEAR, INDEX, end_of, segment_of, shard_path};
use super::{Found, Step};
use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::FEED_EXPIRED_FILES_MAX;
use crate::store::blobs::Blob;
use crate::store::listing::{From, Line, States, Wanted};

impl Blobs {
    /// Removes some of the oldest segment, if its time is over, in one commit.
    pub(super) async fn expire_step(&self, account: &str, days: u32) -> Result<Step, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let Some(found) = self.find_feed(snapshot.as_ref(), account).await? else {
            return Ok(Step::Last);
        };
        let behind_first = format!("{INDEX}{FIRST_YEAR}0");
        let oldest = self.feed_blobs(&found, INDEX, Some(behind_first), 1).await?;
        let Some(oldest) = oldest.into_iter().next() else {
            return Ok(Step::Last);
        };
        let Some(segment) = segment_of(&oldest.record.name) else {
            return Ok(Step::Last);
        };
        let kept = SignedDuration::from_hours(24 * i64::from(days));
        let goes = end_of(segment).checked_add(kept).unwrap_or(Timestamp::MAX);
        if self.clock.now() < goes || found.record.finished.is_none_or(|finished| finished < segment) {
            return Ok(Step::Last);
        }
        let mut tx = Transaction::new();
        let files = self
            .feed_blobs(&found, &shard_path(segment), None, FEED_EXPIRED_FILES_MAX)
            .await?;
        for file in &files {
            self.stage_blob_removal(&mut tx, &found.container, file)?;
        }
        if files.len() < FEED_EXPIRED_FILES_MAX {
            self.stage_blob_removal(&mut tx, &found.container, &oldest)?;
        }
        match self.ledger.commit(tx).await {
            Ok(_) => Ok(Step::More),
            Err(LedgerError::Conflict(_)) => Ok(Step::Last),
            Err(error) => Err(error.into()),
        }
    }

    /// The first blobs of a feed behind a name, whole.
    async fn feed_blobs(
        &self,
        found: &Found<'_>,
        prefix: &str,
        from: Option<String>,
        entries_max: usize,
    ) -> Result<Vec<Blob>, BlobsError> {
        let from = from.map(|name| From {
            name,
            ..From::default()
        });
        let wanted = Wanted {
            prefix,
            delimiter: None,
            from: from.as_ref(),
            entries_max,
            states: States::default(),
        };
        let (lines, _) = self.list_blobs(found.snapshot, &found.container, wanted).await?;
        let mut blobs = Vec::new();
        for line in lines {
            let Line::Blob(listed) = line else { continue };
            blobs.extend(self.blob(found.snapshot, &found.container, &listed.name).await?);
        }
        Ok(blobs)
    }
}
