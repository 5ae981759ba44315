//! Staged blocks in the ledger.

use std::collections::HashMap;

use ledger::{
    Committed, Direction, Entry, Key, LedgerError, Scan, ScanLimit, Snapshot, Transaction, Versioned,
};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::BLOCKS_MAX;
use crate::store::containers::Container;
use crate::store::holdings;
use crate::store::keys;
use crate::store::records::{BlobEncryption, BlockRecord, decode, encode};
use crate::store::staging::{Place, StagedContent};
use crate::store::uploads;

/// A blob's staged blocks, by id, with the entries they were read from.
#[derive(Default)]
pub(crate) struct Staged {
    pub(crate) blocks: HashMap<String, BlockRecord>,
    pub(crate) entries: Vec<Entry>,
    /// What the name has beside them.
    upload: Option<(Key, Versioned)>,
}

/// Stages the removal of a staged block; its content goes unless a blob took it over.
pub(crate) fn stage_entry_removal(tx: &mut Transaction, entry: &Entry) -> Result<(), BlobsError> {
    let block: BlockRecord = decode(&entry.versioned)?;
    tx.require_version(entry.key.clone(), Some(entry.versioned.version));
    tx.delete(keys::reference(block.content.id(), &entry.key));
    holdings::queue(tx, block.content.id());
    tx.delete(entry.key.clone());
    Ok(())
}

impl Blobs {
    pub(crate) async fn staged_blocks(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<Staged, BlobsError> {
        let range = keys::blocks(&container.record.generation, name);
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let upload = keys::upload(&container.record.generation, name);
        let found = snapshot.get(&upload).await?;
        let mut staged = Staged {
            upload: found.map(|found| (upload, found)),
            ..Staged::default()
        };
        while let Some(entry) = scan.next().await? {
            if staged.entries.len() >= 2 * BLOCKS_MAX {
                return Err(ErrorCode::BlockListTooLong.into());
            }
            let block: BlockRecord = decode(&entry.versioned)?;
            staged.blocks.insert(block.id.clone(), block);
            staged.entries.push(entry);
        }
        Ok(staged)
    }

    /// One of a blob's staged blocks, if there is any.
    pub(crate) async fn a_staged_block(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<Option<BlockRecord>, BlobsError> {
        let range = keys::blocks(&container.record.generation, name);
        let limit = ScanLimit {
            entries_max: 1,
            bytes_max: 1,
        };
        let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
        Ok(page
            .entries
            .first()
            .map(|entry| decode(&entry.versioned))
            .transpose()?)
    }

    /// Stages a block in the place of one of the same id. The inner result is the commit's own:
    /// the caller decides whether to try again.
    pub(crate) async fn put_block(
        &self,
        container: &Container,
        name: &str,
        (id, encryption): (&str, Option<BlobEncryption>),
        content: &StagedContent,
    ) -> Result<Result<Committed, LedgerError>, BlobsError> {
        let Place::Stored(stored) = content.place else {
            return Err(ErrorCode::InternalError.into());
        };
        let key = keys::block(&container.record.generation, name, id);
        let snapshot = self.ledger.snapshot().await?;
        let before = snapshot.get(&key).await?;
        let mut tx = Transaction::new();
        container.require(&mut tx);
        tx.require_version(key.clone(), before.as_ref().map(|before| before.version));
        if let Some(before) = &before {
            let before: BlockRecord = decode(before)?;
            tx.delete(keys::reference(before.content.id(), &key));
            tx.put(keys::dropped(before.content.id()), Vec::new());
        }
        tx.put(keys::reference(stored.id(), &key), Vec::new());
        let of_name = (&container.record.generation, name);
        uploads::stage(&mut tx, snapshot.as_ref(), of_name, self.clock.now()).await?;
        let record = BlockRecord {
            id: id.to_owned(),
            length: content.length_bytes,
            content: stored,
            encryption,
        };
        tx.put(key, encode(&record)?);
        Ok(self.ledger.commit(tx).await)
    }

    /// Stages the removal of every staged block, behind the blob that took them over; other contents go.
    pub(crate) fn stage_block_removal(
        &self,
        tx: &mut Transaction,
        staged: &Staged,
    ) -> Result<(), BlobsError> {
        for entry in &staged.entries {
            stage_entry_removal(tx, entry)?;
        }
        if let Some((key, found)) = &staged.upload {
            uploads::stage_removal(tx, key, found)?;
        }
        Ok(())
    }
}
