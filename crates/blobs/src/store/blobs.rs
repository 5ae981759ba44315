//! Blobs in the ledger: staging a new state, removing one, reading content.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use content::ContentReader;
use encryption::DataKey;
use futures::stream;
use http_semantics::{Body, BodyError};
use ledger::{Sequence, Snapshot, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::rules::lease;
use crate::rules::tags::Tags;
use crate::store::containers::Container;
use crate::store::holdings;
use crate::store::immutability;
use crate::store::keys;
use crate::store::records::{BlobHeaders, BlobRecord, decode, encode};
use crate::store::staging::StagedContent;
use crate::store::tags;

/// A blob as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) record: BlobRecord,
    pub(crate) version: Sequence,
}

impl Blobs {
    pub(crate) async fn blob(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<Option<Blob>, BlobsError> {
        let found = snapshot
            .get(&keys::blob(&container.record.generation, name))
            .await?;
        found
            .map(|found| {
                Ok(Blob {
                    record: decode(&found)?,
                    version: found.version,
                })
            })
            .transpose()
    }

    /// Stages `record` in the place of `before`: record, inline content, references, and what the
    /// old state no longer refers to.
    pub(crate) fn stage_blob(
        &self,
        tx: &mut Transaction,
        container: &Container,
        before: Option<&Blob>,
        record: &BlobRecord,
        inline: Option<Bytes>,
        op: &str,
    ) -> Result<(), BlobsError> {
        let generation = &container.record.generation;
        let key = keys::blob(generation, &record.name);
        container.require(tx);
        tx.require_version(key.clone(), before.map(|before| before.version));
        let keeps_inline = inline.is_none() && record.extents.iter().any(|extent| extent.content.is_none());
        match inline {
            Some(bytes) => tx.put(keys::inline(generation, &record.name, None), bytes),
            None if keeps_inline => {}
            None => tx.delete(keys::inline(generation, &record.name, None)),
        }
        holdings::change(tx, before.map(|before| &before.record), record, &key);
        let no_tags = Tags::new();
        let old_tags = before.map_or(&no_tags, |before| &before.record.tags);
        tags::stage(tx, generation, &record.name, old_tags, &record.tags);
        immutability::mark(tx, generation, record);
        tx.put(key, encode(record)?);
        let before = before.map(|before| &before.record);
        tx.record(self.blob_log_record(op, container, before, record));
        Ok(())
    }

    /// Stages a blob that is written as a whole: it gets its version, what was there is kept if it is a version
    /// or the account keeps it, and blocks that were staged go.
    pub(crate) async fn stage_overwrite(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        (before, record, inline): (Option<&Blob>, &mut BlobRecord, Option<Bytes>),
        op: &str,
    ) -> Result<(), BlobsError> {
        self.stage_replacing(tx, snapshot, container, before, record)
            .await?;
        self.stage_blob(tx, container, before, record, inline, op)?;
        let blocks = self.staged_blocks(snapshot, container, &record.name).await?;
        self.stage_block_removal(tx, &blocks)
    }

    /// Stages the removal of a blob.
    ///
    /// # Errors
    /// `BlobImmutableDueToPolicy`, `BlobImmutableDueToLegalHold`.
    pub(crate) fn stage_blob_removal(
        &self,
        tx: &mut Transaction,
        container: &Container,
        blob: &Blob,
    ) -> Result<(), BlobsError> {
        blob.record.protection.deletion(self.clock.now())?;
        let generation = &container.record.generation;
        let key = keys::blob(generation, &blob.record.name);
        container.require(tx);
        tx.require_version(key.clone(), Some(blob.version));
        holdings::release(tx, &blob.record, &key);
        tags::stage(tx, generation, &blob.record.name, &blob.record.tags, &Tags::new());
        tx.delete(keys::inline(generation, &blob.record.name, None));
        tx.delete(key);
        tx.record(self.blob_log_record("delete", container, None, &blob.record));
        Ok(())
    }

    /// The record of a blob that was put whole.
    pub(crate) fn whole_record(
        &self,
        name: &str,
        before: Option<&Blob>,
        staged: &StagedContent,
        headers: BlobHeaders,
    ) -> Result<(BlobRecord, Option<Bytes>), BlobsError> {
        let now = self.clock.now();
        let (extent, inline) = staged.as_extent()?;
        let record = BlobRecord {
            name: name.to_owned(),
            etag: self.new_etag(),
            created: before.map_or(now, |before| before.record.created),
            last_modified: now,
            length: staged.length_bytes,
            headers,
            extents: vec![extent],
            lease: lease::after_write(before.and_then(|before| before.record.lease.as_ref()), now),
            ..BlobRecord::default()
        };
        Ok((record, inline))
    }

    /// `range` of a blob's content. Inline bytes are read now, from the record's own snapshot;
    /// stored content is opened extent by extent as the client takes it.
    pub(super) async fn open_content(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        record: &BlobRecord,
        range: Range<u64>,
        customer: Option<Arc<DataKey>>,
    ) -> Result<Body, BlobsError> {
        let contents = self.contents.under(customer);
        if let Some(pages) = &record.pages {
            return self
                .page_body(snapshot, container, (record, pages), range, contents)
                .await;
        }
        let mut parts = Vec::new();
        let mut begins = 0;
        for extent in &record.extents {
            let ends = begins + extent.length;
            let (from, to) = (range.start.max(begins), range.end.min(ends));
            if from < to {
                parts.push((extent, from - begins..to - begins));
            }
            begins = ends;
        }
        if let [(extent, part)] = parts.as_slice()
            && extent.content.is_none()
        {
            let stored = snapshot
                .get(&keys::inline(
                    &container.record.generation,
                    &record.name,
                    record.below(),
                ))
                .await?;
            let bytes = stored.map(|stored| stored.value).unwrap_or_default();
            let bytes = contents.open_small(extent.inline, bytes).await?;
            let at = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
            if bytes.len() < at(part.end) {
                let cause = format!("the inline content of blob {:?} is missing or short", record.name);
                return Err(ledger::LedgerError::Corrupt(cause).into());
            }
            return Ok(Body::full(bytes.slice(at(part.start)..at(part.end))));
        }
        let parts: Vec<_> = parts
            .into_iter()
            .filter_map(|(extent, range)| extent.content.map(|content| (content, range)))
            .collect();
        let mut rest = parts.into_iter();
        // The first piece is fetched now: content that is missing, damaged or out of reach then has an
        // answer of its own instead of a broken connection.
        let mut first: Option<Box<dyn ContentReader>> = None;
        let mut piece = None;
        if let Some((id, range)) = rest.next() {
            let mut reader = contents.reader(id, range).await?;
            piece = reader.next().await?;
            first = Some(reader);
        }
        let state = (contents, piece, first, rest);
        Ok(Body::stream(stream::try_unfold(
            state,
            |(store, piece, mut reader, mut rest)| async move {
                let source = |error: content::ContentError| BodyError::Source(error.to_string());
                if let Some(piece) = piece {
                    return Ok(Some((piece, (store, None, reader, rest))));
                }
                loop {
                    let Some(open) = &mut reader else { return Ok(None) };
                    if let Some(piece) = open.next().await.map_err(source)? {
                        return Ok(Some((piece, (store, None, reader, rest))));
                    }
                    reader = match rest.next() {
                        Some((id, range)) => Some(store.reader(id, range).await.map_err(source)?),
                        None => None,
                    };
                }
            },
        )))
    }
}
