//! Which contents the registry refers to: each piece of a body has a row.
//!
//! Needs no settings: the sweep of all content asks this also where no registry is served, as one may be again.

use std::sync::Arc;

use async_trait::async_trait;
use content::ContentId;
use content::sweep::References;
use ledger::Ledger;

use crate::store::keys;

/// The registry's references to content in a ledger.
pub struct ContentReferences(Arc<dyn Ledger>);

impl std::fmt::Debug for ContentReferences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentReferences")
    }
}

impl ContentReferences {
    /// Those in `ledger`.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self(ledger)
    }
}

#[async_trait]
impl References for ContentReferences {
    async fn is_referenced(&self, id: ContentId) -> Result<bool, String> {
        let snapshot = self.0.snapshot().await.map_err(|error| error.to_string())?;
        let found = snapshot.get(&keys::reference(id)).await;
        found
            .map(|found| found.is_some())
            .map_err(|error| error.to_string())
    }
}
