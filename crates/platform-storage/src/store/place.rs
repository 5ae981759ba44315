//! Where a ledger's Platform Storage keeps its documents and blobs. Written once: a server that is
//! set up for other accounts or another environment would find nothing of what is there.

use ledger::{LedgerError, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use super::keys;
use crate::error::PlatformError;
use crate::{Platform, Settings};

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    documents_account: String,
    blobs_account: String,
    environment: String,
}

impl Settings {
    /// The settings that a ledger's Platform Storage was used with, links aside; `None` if it never
    /// was.
    ///
    /// # Errors
    /// The ledger's; [`LedgerError::Corrupt`] if what is written can't be read.
    pub async fn stored(snapshot: &dyn Snapshot) -> Result<Option<Self>, LedgerError> {
        let Some(found) = snapshot.get(&keys::place()).await? else {
            return Ok(None);
        };
        let place: Place = serde_json::from_slice(&found.value)
            .map_err(|error| LedgerError::Corrupt(format!("Platform Storage's place: {error}")))?;
        Ok(Some(Self {
            documents_account: place.documents_account,
            blobs_account: place.blobs_account,
            environment: place.environment,
            platform_url: None,
            apps_url: None,
            scans: false,
            refuse_infected: false,
            portal_sync: false,
        }))
    }
}

impl Platform {
    /// Makes the database and its containers, so that clients of the documents find them.
    ///
    /// # Errors
    /// [`PlatformError::Conflict`] if this ledger's Platform Storage is of other accounts or another
    /// environment; the ledger's.
    pub async fn prepare(&self) -> Result<(), PlatformError> {
        let place = Place {
            documents_account: self.settings.documents_account.clone(),
            blobs_account: self.settings.blobs_account.clone(),
            environment: self.settings.environment.clone(),
        };
        let snapshot = self.ledger.snapshot().await?;
        match snapshot.get(&keys::place()).await? {
            Some(found) if serde_json::from_slice::<Place>(&found.value).ok() == Some(place.clone()) => {}
            Some(found) => {
                return Err(PlatformError::Conflict(format!(
                    "this folder's Platform Storage was set up with {}; set it up the same way, or give another folder",
                    String::from_utf8_lossy(&found.value)
                )));
            }
            None => {
                let text =
                    serde_json::to_vec(&place).map_err(|error| PlatformError::Internal(error.to_string()))?;
                let mut tx = Transaction::new();
                tx.require_absent(keys::place());
                tx.put(keys::place(), text);
                // No instance is older than this.
                Self::stage_added_lists(&mut tx);
                self.ledger.commit(tx).await?;
            }
        }
        for spec in &self.container_specs {
            self.documents.ensure_container(spec).await?;
        }
        Ok(())
    }
}
