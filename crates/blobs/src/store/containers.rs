//! Containers in the ledger.

use std::collections::BTreeMap;

use ledger::{Committed, Direction, LedgerError, LogRecord, Scan, Sequence, Snapshot, Transaction};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::rules::access_policy::PublicAccess;
use crate::store::keys;
use crate::store::records::{ContainerRecord, EncryptionPolicy, decode, encode};

/// A container as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) account: String,
    pub(crate) record: ContainerRecord,
    /// `None`: it isn't there before the commit that makes it.
    pub(crate) version: Option<Sequence>,
}

impl Container {
    /// Demands that the container is still as it was read.
    pub(crate) fn require(&self, tx: &mut Transaction) {
        tx.require_version(keys::container(&self.account, &self.record.name), self.version);
    }
}

/// The log record of an operation. Names only, never content.
pub(crate) fn log_record(op: &str, account: &str, container: &str, blob: Option<&str>) -> LogRecord {
    let mut payload = serde_json::json!({ "op": op, "account": account, "container": container });
    if let (Some(blob), Some(fields)) = (blob, payload.as_object_mut()) {
        fields.insert("blob".to_owned(), blob.into());
    }
    LogRecord {
        keyspace: ledger::Keyspace::Blobs,
        kind: 1,
        payload: payload.to_string().into(),
    }
}

/// Stages a container that isn't there yet.
pub(crate) fn stage_creation(
    tx: &mut Transaction,
    account: &str,
    record: ContainerRecord,
) -> Result<Container, BlobsError> {
    let container = Container {
        account: account.to_owned(),
        record,
        version: None,
    };
    let name = &container.record.name;
    container.require(tx);
    tx.put(keys::container(account, name), encode(&container.record)?);
    tx.record(log_record("createContainer", account, name, None));
    Ok(container)
}

impl Blobs {
    /// A new entity tag, without quotes.
    pub(crate) fn new_etag(&self) -> String {
        format!("0x8D{:013X}", self.random.u64() >> 12)
    }

    pub(crate) async fn container(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        name: &str,
    ) -> Result<Container, BlobsError> {
        let found = snapshot
            .get(&keys::container(account, name))
            .await?
            .ok_or(ErrorCode::ContainerNotFound)?;
        Ok(Container {
            account: account.to_owned(),
            record: decode(&found)?,
            version: Some(found.version),
        })
    }

    pub(crate) async fn create_container(
        &self,
        account: &str,
        name: &str,
        metadata: BTreeMap<String, String>,
        public_access: Option<PublicAccess>,
        encryption: Option<EncryptionPolicy>,
    ) -> Result<ContainerRecord, BlobsError> {
        let record = ContainerRecord {
            metadata,
            public_access,
            encryption,
            ..self.plain_container(name)
        };
        let mut tx = Transaction::new();
        let made = stage_creation(&mut tx, account, record)?;
        match self.ledger.commit(tx).await {
            Err(LedgerError::Conflict(_)) => Err(ErrorCode::ContainerAlreadyExists.into()),
            other => other.map(|_| made.record).map_err(BlobsError::from),
        }
    }

    /// A container of nobody's settings.
    pub(crate) fn plain_container(&self, name: &str) -> ContainerRecord {
        ContainerRecord {
            name: name.to_owned(),
            generation: *self.random.uuid().as_bytes(),
            etag: self.new_etag(),
            last_modified: self.clock.now(),
            metadata: BTreeMap::new(),
            lease: None,
            public_access: None,
            policies: Vec::new(),
            encryption: None,
        }
    }

    /// Whether a container is as it was made, without settings, and has nothing.
    ///
    /// # Errors
    /// As the ledger.
    pub(crate) async fn is_untouched(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
    ) -> Result<bool, BlobsError> {
        let record = &container.record;
        let is_plain = record.metadata.is_empty()
            && record.lease.is_none()
            && record.public_access.is_none()
            && record.policies.is_empty()
            && record.encryption.is_none();
        if !is_plain {
            return Ok(false);
        }
        for range in keys::generation(&record.generation) {
            if Scan::new(snapshot, range, Direction::Forward)
                .next()
                .await?
                .is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes a container if it isn't there.
    ///
    /// # Errors
    /// As the ledger.
    pub async fn ensure_container(&self, account: &str, name: &str) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        if snapshot.get(&keys::container(account, name)).await?.is_some() {
            return Ok(());
        }
        match self
            .create_container(account, name, BTreeMap::new(), None, None)
            .await
        {
            Err(error) if error.code == ErrorCode::ContainerAlreadyExists => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Writes a changed container record back.
    pub(crate) async fn replace_container(
        &self,
        container: &Container,
        record: &ContainerRecord,
        op: &str,
    ) -> Result<Result<Committed, LedgerError>, BlobsError> {
        let mut tx = Transaction::new();
        container.require(&mut tx);
        tx.put(keys::container(&container.account, &record.name), encode(record)?);
        tx.record(log_record(op, &container.account, &record.name, None));
        Ok(self.ledger.commit(tx).await)
    }

    /// Removes a container; it is kept for a while, or its blobs are purged by the sweep.
    pub(crate) async fn delete_container(
        &self,
        container: &Container,
    ) -> Result<Result<Committed, LedgerError>, BlobsError> {
        let mut tx = Transaction::new();
        container.require(&mut tx);
        self.stage_unmarking(&mut tx, container).await?;
        tx.delete(keys::container(&container.account, &container.record.name));
        self.stage_container_keeping(&mut tx, container).await?;
        tx.record(log_record(
            "deleteContainer",
            &container.account,
            &container.record.name,
            None,
        ));
        Ok(self.ledger.commit(tx).await)
    }
}
