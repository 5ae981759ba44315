//! What an account's clients set for all of its blobs.

use jiff::SignedDuration;
use ledger::{Sequence, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use crate::Blobs;
use crate::error::BlobsError;
use crate::rules::cors::CorsRule;
use crate::store::containers::log_record;
use crate::store::keys;
use crate::store::records::{decode, encode};

/// The properties of an account's blob service; the default where nobody set any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceRecord {
    #[serde(default)]
    pub(crate) cors: Vec<CorsRule>,
    /// How long deleted blobs and containers are kept; `None`: not at all.
    #[serde(default)]
    pub(crate) delete_retention_days: Option<u32>,
    /// Whether what is kept may be made to go at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allows_permanent_delete: bool,
    #[serde(default)]
    pub(crate) default_version: Option<String>,
    /// The website, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) website: Option<WebsiteRecord>,
}

/// An account's static website.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WebsiteRecord {
    /// The name of each folder's index page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index_document: Option<String>,
    /// The one index page of all folders, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default_index_path: Option<String>,
    /// The page that stands for those that aren't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_document: Option<String>,
}

impl Blobs {
    pub(crate) async fn service_record(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
    ) -> Result<(ServiceRecord, Option<Sequence>), BlobsError> {
        match snapshot.get(&keys::service(account)).await? {
            Some(found) => Ok((decode(&found)?, Some(found.version))),
            None => Ok((ServiceRecord::default(), None)),
        }
    }

    pub(crate) fn stage_service_record(
        &self,
        tx: &mut Transaction,
        account: &str,
        before: Option<Sequence>,
        record: &ServiceRecord,
    ) -> Result<(), BlobsError> {
        let key = keys::service(account);
        tx.require_version(key.clone(), before);
        tx.put(key, encode(record)?);
        tx.record(log_record("setServiceProperties", account, "", None));
        Ok(())
    }

    /// How long deleted blobs and containers are kept.
    pub(crate) async fn retention(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
    ) -> Result<Option<SignedDuration>, BlobsError> {
        let (record, _) = self.service_record(snapshot, account).await?;
        let days = record.delete_retention_days;
        Ok(days.map(|days| SignedDuration::from_hours(24 * i64::from(days))))
    }
}
