//! Blobs for services above: staged into a transaction of theirs, read from a snapshot of theirs.

use http_semantics::Body;
use ledger::{Snapshot, Transaction};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::encryption::KeyAsked;
use crate::rules::lease::{self, Subject, Use};
use crate::store::blobs::Blob;
use crate::store::records::BlobHeaders;
use crate::store::staging::StagedContent;

/// A blob's content on its way out.
#[derive(Debug)]
pub struct OpenBlob {
    /// Its length.
    pub length_bytes: u64,
    /// The bytes, checked as they are read.
    pub body: Body,
}

impl Blobs {
    /// Stages a blob that was taken in with [`Blobs::write_content`], in the place of the one that
    /// is there. The container and the blob as `snapshot` has them become preconditions.
    ///
    /// # Errors
    /// `ContainerNotFound`; `LeaseIdMissing` if the blob is leased; `BlobImmutableDueToPolicy`,
    /// `BlobImmutableDueToLegalHold` if it is protected and wouldn't be kept as a version; the ledger's.
    pub async fn stage_put(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        (account, container): (&str, &str),
        name: &str,
        staged: &StagedContent,
        headers: BlobHeaders,
    ) -> Result<(), BlobsError> {
        let container = self.container(snapshot, account, container).await?;
        let before = self.blob(snapshot, &container, name).await?;
        self.permit_unleased(before.as_ref())?;
        let (mut record, inline) = self.whole_record(name, before.as_ref(), staged, headers)?;
        let states = (before.as_ref(), &mut record, inline);
        self.stage_overwrite(tx, snapshot, &container, states, "put")
            .await
    }

    /// Stages the removal of a blob and its snapshots; false if there is none, also if there is no container.
    ///
    /// # Errors
    /// `LeaseIdMissing` if the blob is leased; `SnapshotsPresent` if it has more than a commit
    /// removes; `BlobImmutableDueToPolicy`, `BlobImmutableDueToLegalHold`; the ledger's.
    pub async fn stage_delete(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        (account, container): (&str, &str),
        name: &str,
    ) -> Result<bool, BlobsError> {
        let container = match self.container(snapshot, account, container).await {
            Ok(container) => container,
            Err(error) if error.code == ErrorCode::ContainerNotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(blob) = self.blob(snapshot, &container, name).await? else {
            return Ok(false);
        };
        self.permit_unleased(Some(&blob))?;
        self.check_snapshots(snapshot, &container, name).await?;
        let (taken, complete) = self.states(snapshot, &container, (name, None), false).await?;
        if !complete {
            return Err(ErrorCode::SnapshotsPresent.into());
        }
        for found in &taken {
            self.stage_state_deletion(tx, snapshot, &container, found).await?;
        }
        self.stage_leaving(tx, snapshot, &container, &blob).await?;
        self.stage_blob_removal(tx, &container, &blob)?;
        Ok(true)
    }

    /// Services above hold no leases: what a client of the protocol has leased is closed to them.
    fn permit_unleased(&self, blob: Option<&Blob>) -> Result<(), BlobsError> {
        let held = blob.and_then(|blob| blob.record.lease.as_ref());
        lease::check(held, None, (Subject::Blob, Use::Writes), self.clock.now()).map_err(BlobsError::from)
    }

    /// Opens a blob as `snapshot` has it.
    ///
    /// # Errors
    /// `ContainerNotFound`, `BlobNotFound`; `BlobUsesCustomerSpecifiedEncryption`; content that is missing or damaged.
    pub async fn open(
        &self,
        snapshot: &dyn Snapshot,
        (account, container): (&str, &str),
        name: &str,
    ) -> Result<OpenBlob, BlobsError> {
        let container = self.container(snapshot, account, container).await?;
        let blob = self
            .blob(snapshot, &container, name)
            .await?
            .ok_or(ErrorCode::BlobNotFound)?;
        // Services above hold no customer's key.
        self.opens(account, &blob.record, &KeyAsked::Nothing)?;
        let length_bytes = blob.record.length;
        let body = self
            .content_body(snapshot, &container, &blob.record, 0..length_bytes, None)
            .await?;
        Ok(OpenBlob { length_bytes, body })
    }
}
