//! Containers in the ledger.

use std::collections::BTreeMap;

use ledger::{Committed, LedgerError, LogRecord, Sequence, Snapshot, Transaction};

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
    pub(crate) version: Sequence,
}

impl Container {
    /// Demands that the container is still as it was read.
    pub(crate) fn require(&self, tx: &mut Transaction) {
        tx.require_version(
            keys::container(&self.account, &self.record.name),
            Some(self.version),
        );
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
            version: found.version,
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
            name: name.to_owned(),
            generation: *self.random.uuid().as_bytes(),
            etag: self.new_etag(),
            last_modified: self.clock.now(),
            metadata,
            lease: None,
            public_access,
            policies: Vec::new(),
            encryption,
        };
        let key = keys::container(account, name);
        let mut tx = Transaction::new();
        tx.require_absent(key.clone());
        tx.put(key, encode(&record)?);
        tx.record(log_record("createContainer", account, name, None));
        match self.ledger.commit(tx).await {
            Err(LedgerError::Conflict(_)) => Err(ErrorCode::ContainerAlreadyExists.into()),
            other => other.map(|_| record).map_err(BlobsError::from),
        }
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
